package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
)

// newHubs returns the verb that lists hubs.
func newHubs(o *operator) *cobra.Command {
	var since time.Time
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "hubs",
		Short: "List the IoT hubs that have alerts",
		Long: `hubs lists the IoT hubs that had alerts in the last 30 days, those with the most
open alerts first: how many are open, by severity, how many are closed or hidden
by a suppression, and the UTC day of the newest alert. It counts whole days.

In JSON it is an array of objects with hubName, open, openBySeverity,
openByType, closed, suppressed and lastAlertDay.`,
		Example: `  hubwatch hubs
  hubwatch hubs --since 7d -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			if since.IsZero() {
				since = o.now().AddDate(0, 0, -summaryDays)
			}
			hubs, err := hubsSince(command.Context(), a.Alerts, since, a.Detectors)
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return writeJSON(w, hubFields(hubs))
			}
			if len(hubs) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "No hub has alerts since then.")
				return nil
			}
			return hubGrid(hubs).write(w, width(w))
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "alerts of that day and later (default 30d)")
	addChoice(command, output, "o", "table or json")
	return command
}

// hubState is what is known of one hub.
type hubState struct {
	name               string
	bySeverity         map[alert.Severity]int // of the open alerts; "" if no detector has the type
	byType             map[string]int         // of the open alerts
	closed, suppressed int
	last               time.Time // the day of the newest alert
}

// open returns how many alerts of the hub wait for somebody.
func (h hubState) open() int {
	n := 0
	for _, of := range h.byType {
		n += of
	}
	return n
}

// hubsSince returns the hubs that have alerts, those with the most open alerts first.
func hubsSince(ctx context.Context, reader alert.Reader, since time.Time, detectors []detector.Detector) ([]hubState, error) {
	severities := map[string]alert.Severity{}
	for _, d := range detectors {
		severities[strings.ToLower(d.AlertType)] = d.Severity
	}
	hubs := map[string]*hubState{}
	for sum, err := range reader.Summaries(ctx, alert.Query{Since: since}) {
		if err != nil {
			return nil, err
		}
		h := hubs[sum.Hub]
		if h == nil {
			h = &hubState{name: sum.Hub, bySeverity: map[alert.Severity]int{}, byType: map[string]int{}}
			hubs[sum.Hub] = h
		}
		h.suppressed += sum.Suppressed
		if len(sum.Counts) > 0 && sum.Day.After(h.last) {
			h.last = sum.Day
		}
		for kind, statuses := range sum.Counts {
			for status, n := range statuses {
				if status.Closed() {
					h.closed += n
					continue
				}
				h.byType[kind] += n
				h.bySeverity[severities[strings.ToLower(kind)]] += n
			}
		}
	}
	var list []hubState
	for _, h := range slices.SortedFunc(maps.Values(hubs), func(a, b *hubState) int {
		return cmp.Or(b.open()-a.open(), strings.Compare(a.name, b.name))
	}) {
		list = append(list, *h)
	}
	return list, nil
}

// hubFields returns hubs as programs read them.
func hubFields(hubs []hubState) [][]field {
	list := make([][]field, len(hubs))
	for i, h := range hubs {
		bySeverity := map[string]int{}
		for severity, n := range h.bySeverity {
			bySeverity[cmp.Or(string(severity), "Unknown")] = n
		}
		list[i] = []field{
			{"hubName", h.name}, {"open", h.open()}, {"openBySeverity", bySeverity}, {"openByType", h.byType},
			{"closed", h.closed}, {"suppressed", h.suppressed},
		}
		if !h.last.IsZero() {
			list[i] = append(list[i], field{"lastAlertDay", h.last.Format(time.DateOnly)})
		}
	}
	return list
}

// hubGrid returns hubs as a table for people.
func hubGrid(hubs []hubState) grid {
	number := func(title string) column { return column{title: title, right: true, whole: true} }
	g := grid{
		columns: []column{{title: "HUB"}, number("OPEN"), number("HIGH"), number("MEDIUM"), number("LOW"), number("OTHER"), number("CLOSED"), number("HIDDEN"), {title: "LAST ALERT", whole: true}},
		below:   9,
	}
	for _, h := range hubs {
		high, medium, low := h.bySeverity[alert.High], h.bySeverity[alert.Medium], h.bySeverity[alert.Low]
		row := []string{printable(h.name)}
		for _, n := range []int{h.open(), high, medium, low, h.open() - high - medium - low, h.closed, h.suppressed} {
			row = append(row, strconv.Itoa(n))
		}
		last := "-"
		if !h.last.IsZero() {
			last = h.last.Format(time.DateOnly)
		}
		g.rows = append(g.rows, append(row, last))
	}
	return g
}
