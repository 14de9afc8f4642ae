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
	"hubwatch/handlers/export"
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
be needed any more. Those that have ended or expired are left out without --all.
"show" and -o json have the reasons, too.

What stands in the table and is not a suppression hides nothing. list says what
is wrong with it.`,
		Example: `  hubwatch suppressions list
  hubwatch suppressions list --all -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			ctx, out, now := command.Context(), command.OutOrStdout(), o.now()
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
				objects := make([]export.Suppression, len(list))
				for i, s := range list {
					objects[i] = export.NewSuppression(s, now, hidden[s.ID].alerts, hidden[s.ID].occurrences)
				}
				return export.WriteJSON(out, objects)
			}
			if len(list) > 0 {
				if err := suppressionGrid(list, hidden, now).write(out, width(out)); err != nil {
					return err
				}
				fmt.Fprintln(out)
			}
			text := plural(len(list), "suppression") + "."
			switch {
			case all || over == 0:
			case over == 1:
				text += " Another is over: see --all."
			default:
				text += fmt.Sprintf(" %d more are over: see --all.", over)
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
			{title: "HIDES", right: true, whole: true}, {title: "OWNER"}, {title: "CONDITIONS"},
		},
		below: 5,
	}
	for _, s := range list {
		row := []string{
			s.ID, s.State(now), s.End().UTC().Format("2006-01-02 15:04"), strconv.Itoa(hidden[s.ID].alerts), s.Owner, conditionsOf(s),
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
		Long: `show shows one suppression, and the alerts of the last 30 days that it hides.
The id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch suppressions show 3f2a9c04`,
		Args:    oneSuppression,
		RunE: func(command *cobra.Command, args []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			ctx, out, now := command.Context(), command.OutOrStdout(), o.now()
			s, err := findSuppression(ctx, a.Suppressions, args[0])
			if err != nil {
				return err
			}
			alerts, err := lately(ctx, a.Alerts, alert.Query{Suppressed: true}, now)
			if err != nil {
				return err
			}
			var hides hiding
			var hidden []alert.Alert
			for _, a := range alerts {
				if a.SuppressedBy == s.ID {
					hidden, hides = append(hidden, a), hides.add(a)
				}
			}
			if output.word == "json" {
				return export.WriteJSON(out, export.NewSuppression(s, now, hides.alerts, hides.occurrences))
			}
			fmt.Fprintf(out, "%-10s  %s\n", "State", s.State(now))
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

// newSuppressionsRemove returns the verb that ends a suppression.
func newSuppressionsRemove(o *operator) *cobra.Command {
	return &cobra.Command{
		Use:   "remove <id>",
		Short: "End a suppression now, and keep it as a record",
		Long: `remove ends a suppression. It hides nothing that happens from now on; the app
knows that within 30 seconds. What it has hidden stays hidden until it happens
again. The suppression itself stays as a record, with who ended it and when:
"list --all" shows it.

The id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch suppressions remove 3f2a9c04`,
		Args:    oneSuppression,
		RunE: func(command *cobra.Command, args []string) error {
			ctx, out, now := command.Context(), command.OutOrStdout(), o.now()
			a, by, err := o.openAs(ctx)
			if err != nil {
				return err
			}
			s, err := findSuppression(ctx, a.Suppressions, args[0])
			if err != nil {
				return err
			}
			if s.End().After(now) {
				if s, err = a.Suppressions.End(ctx, s.ID, by); err != nil {
					return err
				}
				_, err = fmt.Fprintf(out, "Suppression %s was ended at %s by %s.\n", printable(s.ID), second(s.Ended), printable(s.EndedBy.String()))
				return err
			}
			text := fmt.Sprintf("Suppression %s has %s already, at %s", s.ID, s.State(now), second(s.End()))
			if s.State(now) == "ended" {
				text += " by " + cmp.Or(s.EndedBy.String(), "somebody")
			}
			_, err = fmt.Fprintln(out, wrap(printable(text+"."), width(out), ""))
			return err
		},
	}
}
