package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// newAlertsHistory returns the verb that shows who changed an alert.
func newAlertsHistory(o *operator) *cobra.Command {
	output := &choice{name: "output", words: []string{"text", "json"}, word: "text"}
	command := &cobra.Command{
		Use:   "history <reference>",
		Short: "Show who changed an alert, when and why",
		Long: `history shows all changes of an alert, the oldest first: when, who, with what,
the status before and after, the verdict, and why. Notes are among them. "cli"
is this program, and "handler" is hubwatch itself, when an occurrence made a
closed alert active again.

docs/exports.md describes the JSON.`,
		Example: `  hubwatch alerts history 41d31d3b
  hubwatch alerts history plant-hub/2026-02-01/41d31d3b -o json`,
		Args: one("reference"),
		RunE: func(command *cobra.Command, args []string) error {
			r, err := parseReference(args[0])
			if err != nil {
				return &usageError{command, err}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			found, _, err := r.find(command.Context(), a.Alerts)
			if err != nil {
				return err
			}
			changes, err := a.Alerts.History(command.Context(), found.Ref())
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, export.Each(changes, export.NewChange))
			}
			if len(changes) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "Nobody has changed this alert.")
			}
			writeHistory(w, width(w), "", changes)
			return nil
		},
	}
	addChoice(command, output, "o", "text or json")
	return command
}

// writeHistory writes changes for people, in lines of at most width characters that
// begin with indent. The reason stands below what was done.
func writeHistory(w io.Writer, width int, indent string, changes []alert.History) {
	for _, h := range changes {
		what := "note"
		switch {
		case h.From != h.To && h.Verdict != "":
			what = fmt.Sprintf("%s to %s, %s", h.From, h.To, h.Verdict)
		case h.From != h.To:
			what = fmt.Sprintf("%s to %s", h.From, h.To)
		case h.Verdict != "":
			what = "verdict " + string(h.Verdict)
		}
		head := fmt.Sprintf("%d. %s %s (%s): %s", h.Number, second(h.Time), cmp.Or(h.By.String(), "somebody"), cmp.Or(h.Via, "unknown"), what)
		fmt.Fprintln(w, indent+wrap(printable(head), width, indent+"   "))
		for _, line := range []string{h.Reason, event(h.EventID)} {
			if line != "" {
				fmt.Fprintln(w, indent+"   "+wrap(printable(line), width, indent+"   "))
			}
		}
	}
}

// event returns an event id as the history shows it, or "".
func event(id string) string {
	if id == "" {
		return ""
	}
	return "event " + id
}
