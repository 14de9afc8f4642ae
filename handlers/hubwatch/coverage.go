package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
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
and events (of the hub itself, that came to a detector). A source that a
detector looks at and of which nothing of the hub ever came is "never": is there
a diagnostic setting? A hub that is deployed (setting ExpectedHubs) is listed an
hour after the deployment, also if nothing of it ever came. A row is written
once a minute at most, so LAST EVENT is right a minute later.

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

The topics of hubwatch itself fork: topic/<name> and alerts/<name> are the paths
to one function, by its event subscription. A canary goes there as each type of
events that the subscription should take. Only Azure Resource Manager and IoT
hubs can publish to the other topics: whether their event subscriptions are as
they should be says "hubwatch doctor".

In JSON it is an object with sources (hubName, source, and lastEventUtc and
lastSeenUtc unless nothing ever came) and paths (path, state, text, sentUtc,
arrivedUtc, tookSeconds, and of the path changes lastSeenUtc).`,
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
				err = export.WriteJSON(w, coverage.NewDocument(heard, detector.Sources(a.Detectors), trips, now))
			} else {
				sources := coverage.Sources(heard, detector.Sources(a.Detectors))
				if len(sources) == 0 {
					fmt.Fprintln(command.ErrOrStderr(), "hubwatch has not heard of any hub.")
				} else if err = heardGrid(sources, now).write(w, width(w)); err == nil {
					fmt.Fprintln(w)
				}
				writePaths(w, reports, width(w))
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

// writePaths writes how the paths are, in lines of at most width characters.
func writePaths(w io.Writer, reports []coverage.Report, width int) {
	const indent = "          " // as wide as a state and the gap behind it
	for _, r := range reports {
		fmt.Fprintf(w, "%-8s  %s\n", r.State, wrap(printable(fmt.Sprintf("%s: %s", r.Path, r.Text)), width, indent))
	}
}

// heardGrid returns when hubs were heard of as a table for people.
func heardGrid(heard []alert.Heard, now time.Time) grid {
	g := grid{columns: []column{{title: "HUB"}, {title: "SOURCE", whole: true}, {title: "LAST EVENT (UTC)", whole: true}, {title: "CAME", whole: true}}, below: 3}
	for _, h := range heard {
		event, came := "-", "never"
		if !h.Seen.IsZero() {
			event, came = dated(h.Event, minutes), coverage.Ago(now.Sub(h.Seen))+" ago"
		}
		g.rows = append(g.rows, []string{printable(h.Hub), printable(string(h.Source)), event, came})
	}
	return g
}
