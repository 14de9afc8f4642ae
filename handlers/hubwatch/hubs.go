package main

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
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
It counts whole days. An alert about hubwatch itself or about a resource group
is counted under the name of these.

CHANGE is when a change of the hub last came to a detector. CONNECTION is when
the Connections log of the hub last brought a record, also of a connection that
succeeded. A hub with devices that has none for hours is not watched: see
"hubwatch coverage" and "hubwatch doctor".

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
			usual := since.IsZero()
			if usual {
				since = o.now().AddDate(0, 0, -summaryDays)
			}
			sums, err := fleet.Summaries(command.Context(), a.Alerts, alert.Query{Since: since})
			if err != nil {
				return err
			}
			heard, err := a.Alerts.LastHeard(command.Context())
			if err != nil {
				return err
			}
			hubs := fleet.Hubs(sums, heard, a.Detectors)
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, export.Each(hubs, fleet.NewHubDocument))
			}
			if len(hubs) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "hubwatch has not heard of any hub.")
				return nil
			}
			if usual && len(sums) == 0 {
				fmt.Fprintf(command.ErrOrStderr(), "No hub has an alert of the last %d days: see --since.\n", summaryDays)
			}
			return hubGrid(hubs).write(w, width(w))
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "alerts of that day and later (default 30d)")
	addChoice(command, output, "o", "table or json")
	return command
}

// hubGrid returns hubs as a table for people.
func hubGrid(hubs []fleet.Hub) grid {
	number := func(title string) column { return column{title: title, right: true, whole: true} }
	g := grid{
		columns: []column{
			{title: "HUB"}, number("OPEN"), number("HIGH"), number("MEDIUM"), number("LOW"), number("OTHER"), number("CLOSED"), number("HIDDEN"), {title: "LAST ALERT", whole: true},
			{title: "CHANGE (UTC)", whole: true}, {title: "CONNECTION (UTC)", whole: true}},
		below: 9,
	}
	for _, h := range hubs {
		high, medium, low := h.BySeverity[alert.High], h.BySeverity[alert.Medium], h.BySeverity[alert.Low]
		row := []string{printable(h.Name)}
		for _, n := range []int{h.Open(), high, medium, low, h.Open() - high - medium - low, h.Closed, h.Suppressed} {
			row = append(row, strconv.Itoa(n))
		}
		for _, when := range []string{
			dated(h.Last, time.DateOnly), dated(h.Heard[alert.Changes], minutes), dated(h.Heard[alert.Connections], minutes),
		} {
			row = append(row, cmp.Or(when, "-"))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// dated writes a time in a layout, or "" if it is unknown.
func dated(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}
