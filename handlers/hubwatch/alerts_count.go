package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// summaryDays is how many days the verbs about summaries look back.
const summaryDays = 30

// newAlertsCount returns the verb that counts alerts.
func newAlertsCount(o *operator) *cobra.Command {
	filter := newAlertFilter()
	by := &choice{name: "by", words: []string{"day", "type", "hub", "status"}, word: "day"}
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "count",
		Short: "Count alerts by day, type, hub or status",
		Long: `count counts alerts from the summary that each hub and day has, so that it is
quick however many alerts there are. A day is the UTC day of the events. Days
count as a whole. Without --since, the last 30 days are counted. Summaries say
nothing of entities and actors: "list" filters by those.

Of the alerts that a suppression hides there is one number for each hub and day,
so --suppressed goes with --by day and --by hub, and with neither --type nor
--status.

In JSON it is an array of objects with day, alertType, hubName or status, and
with alerts (how many), open (how many of these are open) and byStatus.`,
		Example: `  hubwatch alerts count --by type --status open
  hubwatch alerts count --by hub --since 7d -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			err := filter.check()
			if q := filter.asked; q.Suppressed && (q.Type != "" || len(q.Statuses) > 0 || by.word == "type" || by.word == "status") {
				err = errors.New("--suppressed goes with --by day and --by hub alone")
			}
			if err != nil {
				return &usageError{command, err}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			q := filter.query(a.Detectors)
			if q.Since.IsZero() {
				q.Since = o.now().AddDate(0, 0, -summaryDays)
			}
			groups, err := count(command.Context(), a.Alerts, q, by.word)
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, countDocuments(groups, by.word))
			}
			if len(groups) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "There is no such alert.")
				return nil
			}
			return countGrid(groups, by.word, a.Detectors).write(w, width(w))
		},
	}
	addChoice(command, by, "", "day, type, hub or status")
	filter.addHubAndType(command)
	filter.addStatus(command, "status", "only alerts with this `status`; may be repeated")
	filter.addSuppressed(command)
	command.Flags().Var(&moment{now: o.now, time: &filter.asked.Since}, "since", "that day and later (default 30d)")
	command.Flags().Var(&moment{now: o.now, time: &filter.asked.Until, end: true}, "until", "that day and earlier")
	addChoice(command, output, "o", "table or json")
	return command
}

// counted is how many alerts there are of one day, type, hub or status.
type counted struct {
	key      string
	statuses map[alert.Status]int
	hidden   int // by a suppression; then there are no statuses
}

// total returns how many alerts there are.
func (g counted) total() int {
	n := g.hidden
	for _, of := range g.statuses {
		n += of
	}
	return n
}

// open returns how many alerts wait for somebody.
func (g counted) open() int {
	n := 0
	for status, of := range g.statuses {
		if !status.Closed() {
			n += of
		}
	}
	return n
}

// count counts the alerts that q asks for by its hub, type, statuses, times and
// Suppressed. Days come the newest first, statuses in their own order, and all others
// by their numbers.
func count(ctx context.Context, reader alert.Reader, q alert.Query, by string) ([]counted, error) {
	groups := map[string]*counted{}
	add := func(key string) *counted {
		if groups[key] == nil {
			groups[key] = &counted{key: key, statuses: map[alert.Status]int{}}
		}
		return groups[key]
	}
	for sum, err := range reader.Summaries(ctx, q) {
		if err != nil {
			return nil, err
		}
		place := map[string]string{"day": sum.Day.Format(time.DateOnly), "hub": sum.Hub}[by]
		if q.Suppressed {
			if sum.Suppressed > 0 {
				add(place).hidden += sum.Suppressed
			}
			continue
		}
		for kind, statuses := range sum.Counts {
			if q.Type != "" && !strings.EqualFold(q.Type, kind) {
				continue
			}
			for status, n := range statuses {
				if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, status) {
					continue
				}
				key := place
				switch by {
				case "type":
					key = kind
				case "status":
					key = string(status)
				}
				add(key).statuses[status] += n
			}
		}
	}
	order := func(a, b *counted) int {
		switch by {
		case "day":
			return strings.Compare(b.key, a.key)
		case "status":
			at := func(g *counted) int { return slices.Index(alert.Statuses, alert.Status(g.key)) }
			return cmp.Or(at(a)-at(b), strings.Compare(a.key, b.key))
		}
		return cmp.Or(b.total()-a.total(), strings.Compare(a.key, b.key))
	}
	var list []counted
	for _, g := range slices.SortedFunc(maps.Values(groups), order) {
		list = append(list, *g)
	}
	return list, nil
}

// countDocument is how many alerts there are of one day, type, hub or status, as
// programs read it.
type countDocument struct {
	Day       string               `json:"day,omitzero"`
	AlertType string               `json:"alertType,omitzero"`
	HubName   string               `json:"hubName,omitzero"`
	Status    string               `json:"status,omitzero"`
	Alerts    int                  `json:"alerts"`
	Open      *int                 `json:"open,omitzero"` // unknown of hidden alerts
	ByStatus  map[alert.Status]int `json:"byStatus,omitzero"`
}

// countDocuments returns groups as programs read them.
func countDocuments(groups []counted, by string) []countDocument {
	return export.Each(groups, func(g counted) countDocument {
		d := countDocument{Alerts: g.total()}
		*map[string]*string{"day": &d.Day, "type": &d.AlertType, "hub": &d.HubName, "status": &d.Status}[by] = g.key
		if g.hidden == 0 {
			open := g.open()
			d.Open, d.ByStatus = &open, g.statuses
		}
		return d
	})
}

// countGrid returns groups as a table for people, with a line for all of them.
func countGrid(groups []counted, by string, detectors []detector.Detector) grid {
	g := grid{columns: []column{{title: strings.ToUpper(by)}, {title: "ALERTS", right: true, whole: true}, {title: "OPEN", right: true, whole: true}}, below: 3}
	alerts, open, hidden := 0, 0, false
	for _, of := range groups {
		key := of.key
		if by == "type" {
			key = detectorName(detectors, key)
		}
		g.rows = append(g.rows, []string{printable(key), strconv.Itoa(of.total()), strconv.Itoa(of.open())})
		alerts, open, hidden = alerts+of.total(), open+of.open(), hidden || of.hidden > 0
	}
	slices.SortStableFunc(g.rows, func(a, b []string) int { // by the names that are shown
		if by != "type" || a[1] != b[1] {
			return 0
		}
		return strings.Compare(a[0], b[0])
	})
	if len(groups) > 1 {
		g.rows = append(g.rows, []string{"all", strconv.Itoa(alerts), strconv.Itoa(open)})
	}
	if hidden || by == "status" { // of these, the name or nothing says which are open
		g.columns, g.below = g.columns[:2], 2
	}
	return g
}

// detectorName returns the name of the detector of an alert type, or the type if no
// detector has it.
func detectorName(detectors []detector.Detector, kind string) string {
	for _, d := range detectors {
		if strings.EqualFold(d.AlertType, kind) {
			return d.Name
		}
	}
	return kind
}
