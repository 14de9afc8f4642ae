package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hubwatch/handlers/table"
)

// resolveOptions say what to take out, and what to write down about that.
type resolveOptions struct {
	ids              []string // of events, or their beginnings
	quarantineFilter          // of --older-than
	by, note         string
	dryRun           bool // write nothing
}

// newQuarantineResolve returns the verb that takes events out.
func newQuarantineResolve(o *operator) *cobra.Command {
	var options resolveOptions
	command := &cobra.Command{
		Use:   "resolve <id>...|--older-than <time>",
		Short: "Take events out that are of no use",
		Long: `resolve takes events out of what waits in the quarantine, after a person has
read them. They are not deleted: "list --resolved" shows them, with who took
them out, when and why.

An id may be shortened as long as no other one begins the same way. With
--older-than, all events that wait and came before then are taken out: a time is
30d, 24h or 2026-02-01. --function and --reason narrow that.`,
		Example: `  hubwatch quarantine resolve 3f2a9c04 77ab --note "a foreign service"
  hubwatch quarantine resolve --older-than 30d --note "a scanner" --dry-run
  hubwatch quarantine resolve --older-than 1h --reason syntax --note "a test"`,
		RunE: func(command *cobra.Command, args []string) error {
			old := !options.Until.IsZero()
			switch {
			case (len(args) > 0) == old:
				return &usageError{command, errors.New("want ids, or --older-than")}
			case !old && (options.Function != "" || options.reason != ""):
				return &usageError{command, errors.New("--function and --reason go with --older-than")}
			case strings.TrimSpace(options.note) == "":
				return &usageError{command, errors.New("--note: say why the events are of no use")}
			}
			for _, arg := range args {
				id, err := parseQuarantineID(arg)
				if err != nil {
					return &usageError{command, err}
				}
				options.ids = append(options.ids, id)
			}
			options.by = cmp.Or(options.by, o.getenv("USER"), o.getenv("USERNAME"))
			a, err := o.open()
			if err != nil {
				return err
			}
			return resolve(command.Context(), command.OutOrStdout(), a.Quarantine, options)
		},
	}
	flags := command.Flags()
	flags.Var(&moment{now: o.now, time: &options.Until}, "older-than", "all events that wait and came before then")
	options.add(command)
	flags.StringVar(&options.note, "note", "", "`why` the events are of no use; required")
	flags.StringVar(&options.by, "by", "", "`who` takes them out (default the name of the user on this computer)")
	flags.BoolVar(&options.dryRun, "dry-run", false, "write nothing, and say which events would be taken out")
	return command
}

// resolve takes events out of what waits, and writes which. It looks for all of them
// before it takes the first one out.
func resolve(ctx context.Context, w io.Writer, quarantine *table.Quarantine, o resolveOptions) (err error) {
	events, err := toResolve(ctx, quarantine, o)
	if err != nil {
		return err
	}
	list := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer func() { err = errors.Join(err, list.Flush()) }()
	done := 0
	for _, rows := range events {
		outcome := ""
		for _, held := range rows {
			if o.dryRun {
				continue
			}
			err := quarantine.Resolve(ctx, held, o.by, o.note)
			if errors.Is(err, table.ErrChanged) {
				outcome = "somebody else has marked or deleted it meanwhile; "
			} else if err != nil {
				return err
			}
		}
		if outcome == "" {
			done++
		}
		fmt.Fprintf(list, "%s\t%s\t%s%s\n", rows[0].ID, cut(printable(rows[0].Function), 40), outcome, cut(printable(rows[0].Reason), 100))
	}
	if o.dryRun {
		fmt.Fprintf(list, "%s would be resolved. Nothing was written.\n", plural(done, "event"))
		return nil
	}
	fmt.Fprintf(list, "%s resolved.\n", plural(done, "event"))
	return nil
}

// toResolve returns the events that o names, with those of their rows that nobody has
// resolved. Its error says which event is resolved already.
func toResolve(ctx context.Context, quarantine *table.Quarantine, o resolveOptions) (events [][]table.Held, err error) {
	if len(o.ids) == 0 {
		return o.find(ctx, quarantine, table.Held.Waits)
	}
	taken := map[string]bool{}
	for _, id := range o.ids {
		rows, err := findQuarantined(ctx, quarantine, id)
		if err != nil {
			return nil, err
		}
		var open []table.Held
		for _, held := range rows {
			if held.ResolvedAt.IsZero() {
				open = append(open, held)
			}
		}
		if len(open) == 0 {
			return nil, fmt.Errorf("event %s is resolved already, since %s", rows[0].ID, second(rows[0].ResolvedAt))
		}
		if !taken[open[0].ID] {
			events = append(events, open)
		}
		taken[open[0].ID] = true
	}
	return events, nil
}
