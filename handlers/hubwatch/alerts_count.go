package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// summaryDays is how many days the verbs about summaries look back.
const summaryDays = 30

// newAlertsCount returns the verb that counts alerts.
func newAlertsCount(o *operator) *cobra.Command {
	filter := newAlertFilter()
	by := &choice{name: "by", words: words(fleet.Bys), word: string(fleet.ByDay)}
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
			usual := q.Since.IsZero()
			if usual {
				q.Since = o.now().AddDate(0, 0, -summaryDays)
			}
			sums, err := fleet.Summaries(command.Context(), a.Alerts, q)
			if err != nil {
				return err
			}
			counts := fleet.Counts(sums, q, fleet.By(by.word))
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, fleet.CountDocuments(counts, fleet.By(by.word)))
			}
			switch {
			case len(counts) == 0 && usual:
				fmt.Fprintf(command.ErrOrStderr(), "There is no such alert of the last %d days: see --since.\n", summaryDays)
				return nil
			case len(counts) == 0:
				fmt.Fprintln(command.ErrOrStderr(), "There is no such alert.")
				return nil
			}
			return countGrid(counts, by.word, a.Detectors).write(w, width(w))
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

// countGrid returns counts as a table for people, with a line for all of them.
func countGrid(counts []fleet.Count, by string, detectors []detector.Detector) grid {
	g := grid{columns: []column{{title: strings.ToUpper(by)}, {title: "ALERTS", right: true, whole: true}, {title: "OPEN", right: true, whole: true}}, below: 3}
	alerts, open, hidden := 0, 0, false
	for _, of := range counts {
		key := of.Key
		if by == "type" {
			key = detectorName(detectors, key)
		}
		g.rows = append(g.rows, []string{printable(key), strconv.Itoa(of.Total()), strconv.Itoa(of.Open())})
		alerts, open, hidden = alerts+of.Total(), open+of.Open(), hidden || of.Suppressed > 0
	}
	slices.SortStableFunc(g.rows, func(a, b []string) int { // by the names that are shown
		if by != "type" || a[1] != b[1] {
			return 0
		}
		return strings.Compare(a[0], b[0])
	})
	if len(counts) > 1 {
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
	if d, ok := fleet.Named(detectors, kind); ok {
		return d.Name
	}
	return kind
}
