package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"hubwatch/handlers/table"
)

// newQuarantineList returns the verb that lists what could not be judged.
func newQuarantineList(o *operator) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "list",
		Short: "List what could not be judged, and why",
		Long: `list lists the events that could not be judged, function by function, and why
not. Those that have been judged since are left out without --all.`,
		Example: `  hubwatch quarantine list
  hubwatch quarantine list --all`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			return listQuarantine(command.Context(), command.OutOrStdout(), a.Quarantine, all)
		},
	}
	command.Flags().BoolVar(&all, "all", false, "also those that have been judged since")
	return command
}

// listQuarantine writes what is in the quarantine, a line for each event: what waits,
// or with all also what has been redriven.
func listQuarantine(ctx context.Context, w io.Writer, quarantine *table.Quarantine, all bool) error {
	g := grid{
		columns: []column{
			{title: "ID", whole: true}, {title: "QUARANTINED", whole: true}, {title: "FUNCTION"}, {title: "EVENT"},
			{title: "BYTES", right: true, whole: true}, {title: "REDRIVEN", whole: true}, {title: "REASON"},
		},
		below: 2,
	}
	waiting, redriven := 0, 0
	for held, err := range quarantine.List(ctx, "") {
		if err != nil {
			return err
		}
		at := "-"
		if held.RedrivenAt.IsZero() {
			waiting++
		} else {
			redriven++
			if !all {
				continue
			}
			at = second(held.RedrivenAt)
		}
		g.rows = append(g.rows, []string{
			held.ID, second(held.QuarantinedAt), cut(printable(held.Function), 40), cut(printable(held.EventID), 40),
			strconv.FormatInt(held.Size, 10), at, cut(printable(held.Reason), 100),
		})
	}
	if len(g.rows) > 0 {
		if err := g.write(w, width(w)); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%s waiting, %d redriven.\n", plural(waiting, "event"), redriven)
	return err
}
