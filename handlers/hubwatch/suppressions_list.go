package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
)

// newSuppressionsList returns the verb that lists suppressions.
func newSuppressionsList(o *operator) *cobra.Command {
	var all bool
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "list",
		Short: "List suppressions, and how much each hides",
		Long: `list lists the suppressions, those that end first at the top. HIDES is how many
alerts of the last 30 days each one hides: a suppression that hides none may not
be needed any more. Those that have ended or expired are left out without --all.`,
		Example: `  hubwatch suppressions list
  hubwatch suppressions list --all -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, now, err := o.opened()
			if err != nil {
				return err
			}
			ctx, out := command.Context(), command.OutOrStdout()
			list, broken, err := a.Suppressions.List(ctx, time.Time{})
			if err != nil {
				return err
			}
			hidden, err := hiddenBy(ctx, a.Alerts, now)
			if err != nil {
				return err
			}
			warnOfBroken(command.ErrOrStderr(), broken)
			over := 0
			list = slices.DeleteFunc(list, func(s alert.Suppression) bool {
				if s.End().After(now) {
					return false
				}
				over++
				return !all
			})
			slices.SortStableFunc(list, func(a, b alert.Suppression) int { return a.End().Compare(b.End()) })
			if output.word == "json" {
				objects := make([][]field, len(list))
				for i, s := range list {
					hides := hidden[s.ID]
					objects[i] = suppressionFields(s, stateOf(s, now), &hides)
				}
				return writeJSON(out, objects)
			}
			if len(list) > 0 {
				if err := suppressionGrid(list, hidden, now).write(out, width(out)); err != nil {
					return err
				}
				fmt.Fprintln(out)
			}
			text := plural(len(list), "suppression") + "."
			if over > 0 && !all {
				text += fmt.Sprintf(" --all shows %d more that are over.", over)
			}
			_, err = fmt.Fprintln(out, text)
			return err
		},
	}
	command.Flags().BoolVar(&all, "all", false, "also those that have ended or expired")
	addChoice(command, output, "o", "table or json")
	return command
}

// suppressionGrid returns suppressions as a table for people.
func suppressionGrid(list []alert.Suppression, hidden map[string]hiding, now time.Time) grid {
	g := grid{
		columns: []column{
			{title: "ID", whole: true}, {title: "STATE", whole: true}, {title: "UNTIL (UTC)", whole: true},
			{title: "HIDES", right: true, whole: true}, {title: "OWNER"}, {title: "CONDITIONS"}, {title: "REASON"},
		},
		below: 5,
	}
	for _, s := range list {
		row := []string{
			s.ID, stateOf(s, now), s.End().UTC().Format("2006-01-02 15:04"), strconv.Itoa(hidden[s.ID].alerts), s.Owner, conditionsOf(s), s.Reason,
		}
		for i, cell := range row {
			row[i] = cut(printable(cell), 200)
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// newSuppressionsShow returns the verb that shows one suppression.
func newSuppressionsShow(o *operator) *cobra.Command {
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "show <id>",
		Short: "Show one suppression, and the alerts that it hides",
		Long: `show shows one suppression, and the alerts of the last 30 days that it hides. The
id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch suppressions show 3f2a9c04`,
		Args:    oneSuppression,
		RunE: func(command *cobra.Command, args []string) error {
			a, now, err := o.opened()
			if err != nil {
				return err
			}
			ctx, out := command.Context(), command.OutOrStdout()
			s, err := findSuppression(ctx, a.Suppressions, args[0])
			if err != nil {
				return err
			}
			hides, hidden := hiding{}, []alert.Alert{}
			alerts, _, err := list(ctx, a.Alerts, alert.Query{Since: now.Add(-lookBack), Suppressed: true}, 0)
			if err != nil {
				return err
			}
			for _, a := range alerts {
				if a.SuppressedBy == s.ID {
					hidden, hides.alerts, hides.occurrences = append(hidden, a), hides.alerts+1, hides.occurrences+a.Occurrences
				}
			}
			if output.word == "json" {
				return writeJSON(out, suppressionFields(s, stateOf(s, now), &hides))
			}
			fmt.Fprintf(out, "%-10s  %s\n", "State", stateOf(s, now))
			if err := writeSuppression(out, s); err != nil {
				return err
			}
			fmt.Fprintln(out)
			if len(hidden) > 0 {
				if err := alertGrid(hidden[:min(len(hidden), mostForeseen)]).write(out, width(out)); err != nil {
					return err
				}
				if more := len(hidden) - mostForeseen; more > 0 {
					fmt.Fprintf(out, "and %d more\n", more)
				}
				fmt.Fprintln(out)
			}
			_, err = fmt.Fprintf(out, "It hides %s of the last 30 days (%s).\n", plural(hides.alerts, "alert"), plural(hides.occurrences, "occurrence"))
			return err
		},
	}
	addChoice(command, output, "o", "table or json")
	return command
}

// writeSuppression writes all there is of a suppression, a line for each thing.
func writeSuppression(w io.Writer, s alert.Suppression) error {
	by := func(at time.Time, p alert.Person) string {
		if at.IsZero() {
			return ""
		}
		return second(at) + " by " + cmp.Or(p.String(), "somebody")
	}
	for _, line := range [][2]string{
		{"Id", s.ID}, {"Hides", conditionsOf(s)}, {"From", second(s.Starts)}, {"Until", second(s.Expires)}, {"Reason", s.Reason}, {"Owner", s.Owner},
		{"Created", by(s.Created, s.CreatedBy)}, {"Ended", by(s.Ended, s.EndedBy)},
	} {
		if line[1] == "" {
			continue
		}
		const indent = "            "
		text := wrap(cut(printable(line[1]), 4000), cmp.Or(width(w), helpWidth), indent)
		if _, err := fmt.Fprintf(w, "%-10s  %s\n", line[0], text); err != nil {
			return err
		}
	}
	return nil
}

// newSuppressionsEnd returns the verb that ends a suppression.
func newSuppressionsEnd(o *operator) *cobra.Command {
	return &cobra.Command{
		Use:     "end <id>",
		Aliases: []string{"remove"},
		Short:   "End a suppression now",
		Long: `end ends a suppression. What happens from now on is told again, at the latest
after 30 seconds; what it has hidden stays hidden until it happens again. The
suppression stays in the list, with who ended it and when: see list --all.

The id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch suppressions end 3f2a9c04`,
		Args:    oneSuppression,
		RunE: func(command *cobra.Command, args []string) error {
			a, now, err := o.opened()
			if err != nil {
				return err
			}
			ctx, out := command.Context(), command.OutOrStdout()
			s, err := findSuppression(ctx, a.Suppressions, args[0])
			if err != nil {
				return err
			}
			if !s.End().After(now) {
				_, err := fmt.Fprintf(out, "Suppression %s has %s already, at %s.\n", printable(s.ID), stateOf(s, now), second(s.End()))
				return err
			}
			if s, err = a.Suppressions.End(ctx, s.ID, o.localPerson()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "Suppression %s was ended at %s by %s.\n", printable(s.ID), second(s.Ended), printable(s.EndedBy.String()))
			return err
		},
	}
}
