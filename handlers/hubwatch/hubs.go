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
	"hubwatch/handlers/export"
)

// newHubs returns the verb that lists hubs.
func newHubs(o *operator) *cobra.Command {
	var since time.Time
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "hubs",
		Short: "List the IoT hubs, their alerts, and when each was last heard of",
		Long: `hubs lists the IoT hubs that hubwatch has ever heard of, those with the most
open alerts first: how many alerts of the last 30 days are open, by severity,
how many are closed or hidden by a suppression, and the UTC day of the newest.
It counts whole days.

CHANGE is when a detector last found something in a change of the hub's
settings. CONNECTION is when the Connections log of the hub last brought a
record, also of a connection that succeeded. A hub with devices that has none
for hours is not watched: see "hubwatch doctor".

In JSON it is an array of objects with hubName, open, openBySeverity,
openByType, closed, suppressed, lastAlertDay, lastChangeUtc and
lastConnectionUtc.`,
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
				return export.WriteJSON(w, export.Each(hubs, newHubDocument))
			}
			if len(hubs) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "hubwatch has not heard of any hub.")
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
	last               time.Time                  // the day of the newest alert
	heard              map[alert.Source]time.Time // when an event last came
}

// open returns how many alerts of the hub wait for somebody.
func (h hubState) open() int {
	n := 0
	for _, of := range h.byType {
		n += of
	}
	return n
}

// hubsSince returns the hubs, with their alerts since a day, those with the most open
// alerts first.
func hubsSince(ctx context.Context, reader alert.Reader, since time.Time, detectors []detector.Detector) ([]hubState, error) {
	severities := map[string]alert.Severity{}
	for _, d := range detectors {
		severities[strings.ToLower(d.AlertType)] = d.Severity
	}
	hubs := map[string]*hubState{}
	of := func(hub string) *hubState {
		if hubs[hub] == nil {
			hubs[hub] = &hubState{name: hub, bySeverity: map[alert.Severity]int{}, byType: map[string]int{}, heard: map[alert.Source]time.Time{}}
		}
		return hubs[hub]
	}
	heard, err := reader.LastHeard(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range heard {
		of(h.Hub).heard[h.Source] = h.Seen
	}
	for sum, err := range reader.Summaries(ctx, alert.Query{Since: since}) {
		if err != nil {
			return nil, err
		}
		h := of(sum.Hub)
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

// hubDocument is a hub as programs read it.
type hubDocument struct {
	HubName        string                 `json:"hubName"`
	Open           int                    `json:"open"`
	OpenBySeverity map[alert.Severity]int `json:"openBySeverity"`
	OpenByType     map[string]int         `json:"openByType"`
	Closed         int                    `json:"closed"`
	Suppressed     int                    `json:"suppressed"`
	LastAlertDay   string                 `json:"lastAlertDay,omitzero"`
	LastChange     time.Time              `json:"lastChangeUtc,omitzero"`
	LastConnection time.Time              `json:"lastConnectionUtc,omitzero"`
}

// newHubDocument returns h as programs read it.
func newHubDocument(h hubState) hubDocument {
	bySeverity := map[alert.Severity]int{}
	for severity, n := range h.bySeverity {
		bySeverity[cmp.Or(severity, "Unknown")] = n
	}
	return hubDocument{
		h.name, h.open(), bySeverity, h.byType, h.closed, h.suppressed,
		dated(h.last, time.DateOnly), h.heard[alert.Changes], h.heard[alert.Connections],
	}
}

// dated writes a time in a layout, or "" if it is unknown.
func dated(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// hubGrid returns hubs as a table for people.
func hubGrid(hubs []hubState) grid {
	number := func(title string) column { return column{title: title, right: true, whole: true} }
	g := grid{
		columns: []column{
			{title: "HUB"}, number("OPEN"), number("HIGH"), number("MEDIUM"), number("LOW"), number("OTHER"), number("CLOSED"), number("HIDDEN"), {title: "LAST ALERT", whole: true},
			{title: "CHANGE (UTC)", whole: true}, {title: "CONNECTION (UTC)", whole: true}},
		below: 9,
	}
	for _, h := range hubs {
		high, medium, low := h.bySeverity[alert.High], h.bySeverity[alert.Medium], h.bySeverity[alert.Low]
		row := []string{printable(h.name)}
		for _, n := range []int{h.open(), high, medium, low, h.open() - high - medium - low, h.closed, h.suppressed} {
			row = append(row, strconv.Itoa(n))
		}
		for _, when := range []string{
			dated(h.last, time.DateOnly), dated(h.heard[alert.Changes], minutes), dated(h.heard[alert.Connections], minutes),
		} {
			row = append(row, cmp.Or(when, "-"))
		}
		g.rows = append(g.rows, row)
	}
	return g
}
