package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// newAlertsShow returns the verb that shows one alert.
func newAlertsShow(o *operator) *cobra.Command {
	var limit int
	var output *alertOutput
	var shell *choice
	command := &cobra.Command{
		Use:   "show <reference>",
		Short: "Show all there is of one alert, with its evidence",
		Long: `show shows one alert: what happened, what to do, also as commands, who has
dealt with it, and the evidence, which is one line for each event, the newest
first. Of a storm it names devices, at most 100 of each event; json has all.

A command is on one line, to be copied. Read it before you run it: hubwatch runs
none. Names from the alert are quoted; if no quoting makes a name safe, there is
no command, and show says why. Capital letters are for you to fill in.

A reference is <hub>/<yyyy-mm-dd>/<id>, as "hubwatch alerts list" shows it. The
id alone will do, or its beginning if no other alert has an id that begins so.
It is looked for day by day, which takes longer.

Formats for programs, all described in docs/exports.md: json has evidence with
each event, changes and commands, ocsf (OCSF 1.8.0) has at most 100 pieces of
evidence without the events, and cloudevents (CloudEvents 1.0) has no evidence.`,
		Example: `  hubwatch alerts show plant-hub/2026-02-01/41d31d3b-1f3f-8d41-9f1b-4a8d1c2b3e4f
  hubwatch alerts show 41d31d3b -o json`,
		Args: one("reference"),
		RunE: func(command *cobra.Command, args []string) error {
			ref, err := parseReference(args[0])
			if err == nil && limit < 0 {
				err = errors.New("--evidence: want a number of events, or 0 for all")
			}
			if err != nil {
				return &usageError{command, err}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			source, err := o.source()
			if err != nil {
				return err
			}
			whole, err := ref.resolve(command.Context(), a.Alerts)
			if err != nil {
				return err
			}
			found, err := fleet.Find(command.Context(), a.Alerts, whole, limit)
			if err != nil {
				return err
			}
			return output.writeOne(command.OutOrStdout(), source, shell.word, found)
		},
	}
	command.Flags().IntVar(&limit, "evidence", 20, "at most this `many` events; 0 for all")
	output = addAlertOutput(command, "text", "json", "ocsf", "cloudevents")
	shell = addCommandsFlag(command)
	return command
}

// writeAlert writes an alert for people, in lines of at most width characters:
// what happened, the particulars, what to do, with commands for shell, the history, and
// evidence.
func writeAlert(w io.Writer, width int, a fleet.Whole, shell string) error {
	fmt.Fprintln(w, wrap(printable(a.DisplayName), width, ""))
	fmt.Fprintln(w, wrap(fmt.Sprintf("%s, %s, %s", a.Severity, printable(string(a.Status)), seen(a.Alert)), width, ""))
	fmt.Fprintln(w)
	fmt.Fprintln(w, wrap(printable(a.Message), width, ""))
	fmt.Fprintln(w)

	status := "" // the line above says it, unless somebody has set it
	if !a.StatusTime.IsZero() {
		status = statusLine(a.Alert)
	}
	details := [][2]string{
		{"Reference", a.Ref().String()}, {"Status", status}, {"Verdict", string(a.Verdict)}, {"Suppressed by", a.SuppressedBy},
		{"Type", a.Type}, {"Detector", a.Detector}, {"Confidence", string(a.Confidence)},
		{"Hub", a.Hub.Name}, {"Resource", a.Hub.ResourceID}, {"Entity", a.Entity.Name}, {"Entity type", string(a.Entity.Type)},
		{"Actor", a.Actor}, {"Address", a.ActorIPAddress}, {"Addresses", addresses(a.Alert)}, {"Correlation", a.CorrelationID},
		{"First seen", precise(a.Start)}, {"Last seen", precise(a.End)}, {"Raised", precise(a.Generated)},
	}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		details = append(details, [2]string{name, a.Properties[name]})
	}
	longest := 0
	for _, d := range details {
		if d[1] != "" {
			longest = max(longest, len([]rune(printable(d[0]))))
		}
	}
	for _, d := range details {
		if d[1] == "" {
			continue
		}
		name := fmt.Sprintf("%-*s  ", longest, printable(d[0]))
		fmt.Fprintln(w, name+wrap(printable(d[1]), width, strings.Repeat(" ", longest+2)))
	}

	if list := export.Steps(a.Alert); len(list) > 0 {
		fmt.Fprintln(w, "\nWhat to do")
		for i, step := range list {
			number := fmt.Sprintf("  %d. ", i+1)
			fmt.Fprintln(w, number+wrap(printable(step), width, strings.Repeat(" ", len(number))))
		}
	}

	writeCommands(w, width, detector.CommandsFor(a.Alert), shell)

	if len(a.History) > 0 {
		fmt.Fprintln(w, "\nHistory, the oldest first")
		writeHistory(w, width, "  ", a.History)
	}

	fmt.Fprintf(w, "\nEvidence, the newest first: ")
	if len(a.Evidence) < a.N {
		fmt.Fprintf(w, "%d of %s, see --evidence\n", len(a.Evidence), plural(a.N, "event"))
	} else {
		fmt.Fprintln(w, plural(a.N, "event"))
	}
	if err := evidenceGrid(a.Evidence).write(w, width); err != nil {
		return err
	}
	writeDevices(w, width, a.Evidence)
	return nil
}

// mostDevices is how many devices of an event are shown to people.
const mostDevices = 100

// writeDevices writes which devices the events of evidence are about, of those that are about
// very many.
func writeDevices(w io.Writer, width int, evidence []alert.Evidence) {
	for _, e := range evidence {
		if len(e.Devices) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s of the event at %s\n", plural(len(e.Devices), "device"), precise(e.Time))
		names := make([]string, min(len(e.Devices), mostDevices))
		for i := range names {
			names[i] = printable(e.Devices[i])
		}
		if more := len(e.Devices) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more, which -o json has", more))
		}
		fmt.Fprintln(w, "  "+wrap(strings.Join(names, ", "), width, "  "))
	}
}

// addresses says from where an alert was seen, if that was more than one address: the
// last address first.
func addresses(a alert.Alert) string {
	if len(a.ActorIPAddresses) < 2 {
		return ""
	}
	s := fmt.Sprintf("%s (the last); %s", cmp.Or(a.LastActorIPAddress, "unknown"), strings.Join(a.ActorIPAddresses, ", "))
	if a.MoreActorIPAddresses {
		s += ", and more"
	}
	return s
}

// seen says how often and when an alert was seen.
func seen(a alert.Alert) string {
	if a.Occurrences == 1 {
		return "seen once, at " + second(a.Start)
	}
	return fmt.Sprintf("seen %d times from %s to %s", a.Occurrences, second(a.Start), second(a.End))
}

// precise writes a time as exactly as it is known.
func precise(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// evidenceGrid returns evidence as a table for people.
func evidenceGrid(evidence []alert.Evidence) grid {
	g := grid{
		columns: []column{{title: "TIME", whole: true}, {title: "ADDRESS"}, {title: "ACTOR"}, {title: "EVENT", whole: true}},
		below:   3,
	}
	counted := slices.ContainsFunc(evidence, func(e alert.Evidence) bool { return e.Tally.Seq > 0 || e.Counted != nil })
	if counted {
		g.columns = slices.Insert(g.columns, 1, column{title: "COUNT"})
	}
	for _, e := range evidence {
		row := []string{precise(e.Time), e.ActorIPAddress, e.Actor, e.EventID}
		if counted {
			n := max(1, len(e.Counted))
			if e.Tally.Seq > 0 {
				n = e.Tally.N // 0 if late records took it back
			}
			row = slices.Insert(row, 1, fmt.Sprint(n))
		}
		for i, cell := range row {
			row[i] = printable(cmp.Or(cell, "-"))
		}
		g.rows = append(g.rows, row)
	}
	return g
}
