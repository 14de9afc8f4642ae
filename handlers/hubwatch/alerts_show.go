package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
)

// newAlertsShow returns the verb that shows one alert.
func newAlertsShow(o *operator) *cobra.Command {
	var limit int
	output := &choice{name: "output", words: []string{"text", "json"}, word: "text"}
	var shell *choice
	command := &cobra.Command{
		Use:   "show <reference>",
		Short: "Show all there is of one alert, with its evidence",
		Long: `show shows one alert: what happened, what to do, also as commands, and the
evidence, which is one line for each event, the newest first.

A command is on one line, to be copied. Read it before you run it: hubwatch runs
none. Names from the alert are quoted; if no quoting makes a name safe, there is
no command, and show says why. Capital letters are for you to fill in.

A reference is <hub>/<yyyy-mm-dd>/<id>, as "hubwatch alerts list" shows it. An
id alone will do; it is looked for day by day, which takes longer.`,
		Example: `  hubwatch alerts show plant-hub/2026-02-01/41d31d3b-1f3f-8d41-9f1b-4a8d1c2b3e4f
  hubwatch alerts show 41d31d3b-1f3f-8d41-9f1b-4a8d1c2b3e4f -o json`,
		Args: one("reference"),
		RunE: func(command *cobra.Command, args []string) error {
			ref, err := alert.ParseRef(args[0])
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
			return show(command.Context(), command.OutOrStdout(), a.Alerts, ref, limit, output.word, shell.word)
		},
	}
	command.Flags().IntVar(&limit, "evidence", 20, "at most this `many` events; 0 for all")
	addChoice(command, output, "o", "text or json")
	shell = addCommandsFlag(command)
	return command
}

// show writes one alert and at most limit pieces of its evidence. A limit of 0
// means all. The text has commands for shell.
func show(ctx context.Context, w io.Writer, reader alert.Reader, ref alert.Ref, limit int, format, shell string) error {
	a, all, err := reader.Find(ctx, ref)
	if err != nil {
		return err
	}
	evidence, n, err := newestEvidence(all, limit)
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(w, append(fields(a), field{"evidence", evidenceFields(evidence)}, field{"commands", commandFields(commandsFor(a))}))
	}
	return writeAlert(w, width(w), a, evidence, n, shell)
}

// newestEvidence returns the newest evidence, the newest first, and how many
// pieces there are in all. It returns at most limit pieces, or all if limit is 0.
// It keeps little more than it returns, because a device can fail to connect very
// often on one day.
func newestEvidence(all iter.Seq2[alert.Evidence, error], limit int) (newest []alert.Evidence, n int, err error) {
	sort := func() {
		slices.SortFunc(newest, func(a, b alert.Evidence) int {
			return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.EventID, b.EventID))
		})
		if limit > 0 && len(newest) > limit {
			newest = newest[:limit]
		}
	}
	for e, err := range all {
		if err != nil {
			return nil, 0, err
		}
		n++
		if newest = append(newest, e); limit > 0 && len(newest) >= limit+1000 {
			sort()
		}
	}
	sort()
	return newest, n, nil
}

// evidenceFields returns evidence as programs read it. The names are the names of
// the columns of its row, in camel case.
func evidenceFields(evidence []alert.Evidence) [][]field {
	list := make([][]field, len(evidence))
	for i, e := range evidence {
		list[i] = []field{
			{"eventId", e.EventID},
			{"eventTimeUtc", e.Time.UTC()},
			{"actor", e.Actor},
			{"actorIpAddress", e.ActorIPAddress},
			{"correlationId", e.CorrelationID},
			{"properties", e.Properties},
			{"rawEvent", e.RawEvent},
			{"rawEventSha256", e.RawEventSHA256},
		}
	}
	return list
}

// writeAlert writes an alert for people, in lines of at most width characters:
// what happened, the particulars, what to do, with commands for shell, and evidence.
// There are n pieces of evidence in all.
func writeAlert(w io.Writer, width int, a alert.Alert, evidence []alert.Evidence, n int, shell string) error {
	fmt.Fprintln(w, wrap(printable(a.DisplayName), width, ""))
	fmt.Fprintln(w, wrap(fmt.Sprintf("%s, %s, %s", a.Severity, printable(string(a.Status)), seen(a)), width, ""))
	fmt.Fprintln(w)
	fmt.Fprintln(w, wrap(printable(a.Message), width, ""))
	fmt.Fprintln(w)

	details := [][2]string{
		{"Reference", a.Ref().String()}, {"Type", a.Type}, {"Detector", a.Detector}, {"Confidence", string(a.Confidence)},
		{"Hub", a.Hub.Name}, {"Resource", a.Hub.ResourceID}, {"Entity", a.Entity.Name}, {"Entity type", string(a.Entity.Type)},
		{"Actor", a.Actor}, {"Address", a.ActorIPAddress}, {"Addresses", addresses(a)}, {"Correlation", a.CorrelationID},
		{"First seen", precise(a.Start)}, {"Last seen", precise(a.End)}, {"Raised", precise(a.Generated)},
	}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		details = append(details, [2]string{name, a.Properties[name]})
	}
	longest := 0
	for _, d := range details {
		longest = max(longest, len([]rune(printable(d[0]))))
	}
	for _, d := range details {
		if d[1] == "" {
			continue
		}
		name := fmt.Sprintf("%-*s  ", longest, printable(d[0]))
		fmt.Fprintln(w, name+wrap(printable(d[1]), width, strings.Repeat(" ", longest+2)))
	}

	if list := steps(a); len(list) > 0 {
		fmt.Fprintln(w, "\nWhat to do")
		for i, step := range list {
			number := fmt.Sprintf("  %d. ", i+1)
			fmt.Fprintln(w, number+wrap(printable(step), width, strings.Repeat(" ", len(number))))
		}
	}

	writeCommands(w, width, commandsFor(a), shell)

	fmt.Fprintf(w, "\nEvidence, the newest first: ")
	if len(evidence) < n {
		fmt.Fprintf(w, "%d of %s, see --evidence\n", len(evidence), plural(n, "event"))
	} else {
		fmt.Fprintln(w, plural(n, "event"))
	}
	return evidenceGrid(evidence).write(w, width)
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
	for _, e := range evidence {
		row := []string{precise(e.Time), e.ActorIPAddress, e.Actor, e.EventID}
		for i, cell := range row {
			row[i] = printable(cmp.Or(cell, "-"))
		}
		g.rows = append(g.rows, row)
	}
	return g
}
