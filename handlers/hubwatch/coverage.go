package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/export"
)

// newCoverage returns the verb that says what is heard.
func newCoverage(o *operator) *cobra.Command {
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "coverage",
		Short: "Say when each hub was last heard of, and if events arrive",
		Long: `coverage says when an event of each hub last came, by source: changes (events
of Azure Resource Manager that came to a detector), connections (records of the
Connections log), log.<category> (records of another log that a detector wants)
and events (of the hub itself, that came to a detector). A row is written once a
minute at most.

Then it says how the paths are by which events come. Each hour hubwatch sends
itself a canary through each path that it can reach. For changes it writes a
tag, once a day, if it was given the right to do so:

  works     the last canary arrived; how long that took
  waiting   a canary is under way
  broken    the last canary did not arrive; there is an alert about it
  stopped   no canary was sent for 90 minutes, or no tag was written for a day:
            hubwatch does not run
  unproven  no canary can be sent, or none was

It ends with 1 if a path is broken or stopped.

In JSON it is an object with sources (hubName, source, lastEventUtc,
lastSeenUtc) and paths (path, state, text, sentUtc, arrivedUtc, tookSeconds,
and of the path changes lastSeenUtc).`,
		Example: `  hubwatch coverage
  hubwatch coverage -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			heard, err := a.Alerts.LastHeard(command.Context())
			if err != nil {
				return err
			}
			trips, err := a.Alerts.Trips(command.Context())
			if err != nil {
				return err
			}
			now := o.now()
			reports := coverage.NewReports(trips, heard, now)
			w := command.OutOrStdout()
			if output.word == "json" {
				err = export.WriteJSON(w, coverage.NewDocument(heard, trips, now))
			} else {
				if len(heard) == 0 {
					fmt.Fprintln(command.ErrOrStderr(), "hubwatch has not heard of any hub.")
				} else if err = heardGrid(heard, now).write(w, width(w)); err == nil {
					fmt.Fprintln(w)
				}
				for _, r := range reports {
					fmt.Fprintln(w, printable(fmt.Sprintf("%-8s  %s: %s", r.State, r.Path, r.Text)))
				}
			}
			if err == nil && slices.ContainsFunc(reports, coverage.Report.Wrong) {
				err = errSaid
			}
			return err
		},
	}
	addChoice(command, output, "o", "table or json")
	return command
}

// heardGrid returns when hubs were heard of as a table for people.
func heardGrid(heard []alert.Heard, now time.Time) grid {
	g := grid{columns: []column{{title: "HUB"}, {title: "SOURCE", whole: true}, {title: "LAST EVENT (UTC)", whole: true}, {title: "CAME", whole: true}}, below: 3}
	for _, h := range heard {
		g.rows = append(g.rows, []string{printable(h.Hub), printable(string(h.Source)), dated(h.Event, minutes), coverage.Ago(now.Sub(h.Seen)) + " ago"})
	}
	return g
}
