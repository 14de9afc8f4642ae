package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hubwatch/handlers/app"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/table"
)

// redriveOptions say what to judge again, and what to do then.
type redriveOptions struct {
	id     string // of one event, or its beginning; "" if none is named
	all    bool   // all that wait
	dryRun bool   // write nothing
	delete bool   // delete what is judged instead of marking it
}

// newQuarantineRedrive returns the verb that has events judged again.
func newQuarantineRedrive(o *operator) *cobra.Command {
	var options redriveOptions
	command := &cobra.Command{
		Use:   "redrive <id>|--all",
		Short: "Have events judged again",
		Long: `redrive has events judged again by the detectors of this build, as if they came
now. An event that becomes an alert counts once, however often it is redriven.
What can be judged is marked, or with --delete removed; what cannot stays.

An id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch quarantine redrive --all --dry-run
  hubwatch quarantine redrive 3f2a9c04
  hubwatch quarantine redrive --all --delete`,
		RunE: func(command *cobra.Command, args []string) (err error) {
			if (len(args) != 1) != options.all {
				return &usageError{command, errors.New("want one id, or --all")}
			}
			if len(args) == 1 {
				if options.id, err = parseQuarantineID(args[0]); err != nil {
					return &usageError{command, err}
				}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			j := judge.Judge{} // records nothing
			if !options.dryRun {
				j = a.Judge(judge.NewAllRules(a.Suppressions, func(what string, err error) {
					complain(command.ErrOrStderr(), fmt.Errorf("%s: %w", what, err))
				}))
			}
			return redrive(command.Context(), command.OutOrStdout(), a, j, options)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&options.all, "all", false, "all events that wait: neither judged since nor taken out")
	flags.BoolVar(&options.dryRun, "dry-run", false, "write nothing, and say what would become of the events")
	flags.BoolVar(&options.delete, "delete", false, "remove what is judged from the quarantine")
	return command
}

// redrive has events judged again by j and writes what becomes of each. It returns an
// error if one of them still cannot be judged, and at the first event whose alert is
// not stored.
func redrive(ctx context.Context, w io.Writer, a *app.App, j judge.Judge, o redriveOptions) (err error) {
	events, err := toRedrive(ctx, a.Quarantine, o)
	if err != nil {
		return err
	}
	list := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer func() { err = errors.Join(err, list.Flush()) }()
	left := 0
	for _, rows := range events {
		held, err := a.Quarantine.Whole(ctx, rows[0])
		if errors.Is(err, table.ErrChanged) {
			continue // deleted by somebody else since the list was read
		}
		if err != nil {
			return err
		}
		redriven, err := j.Redrive(ctx, a.Detectors, held.Quarantined)
		if err != nil {
			return fmt.Errorf("event %s: %w", held.ID, err)
		}
		outcome := redriven.String()
		switch {
		case len(redriven.Reasons) > 0:
			left++
		case !o.dryRun:
			rows[0] = held
			err = settle(ctx, a.Quarantine, rows, outcome, o.delete)
		}
		if errors.Is(err, table.ErrChanged) {
			outcome += ", and somebody else has marked or deleted it meanwhile"
		} else if err != nil {
			return err
		}
		fmt.Fprintf(list, "%s\t%s\t%s\n", held.ID, cut(printable(held.Function), 40), cut(printable(outcome), 500))
		for _, o := range redriven.Occurrences {
			under := ""
			if o.SuppressedBy != "" {
				under = ", under suppression " + printable(o.SuppressedBy)
			}
			fmt.Fprintf(list, "\t\t%s alert %s: %s%s\n", o.Severity, o.ID, o.DisplayName, under)
		}
	}
	judged := len(events) - left
	switch {
	case o.dryRun:
		fmt.Fprintf(list, "%s would be judged. Nothing was written.\n", plural(judged, "event"))
	case o.delete:
		fmt.Fprintf(list, "%s judged and deleted.\n", plural(judged, "event"))
	default:
		fmt.Fprintf(list, "%s judged.\n", plural(judged, "event"))
	}
	if left > 0 {
		return fmt.Errorf("%d of %s still cannot be judged, left in the quarantine", left, plural(len(events), "event"))
	}
	return nil
}

// settle marks all rows of an event as judged, with what came of it, or deletes them.
// Its error is ErrChanged if somebody else marked or deleted one of them meanwhile.
func settle(ctx context.Context, quarantine *table.Quarantine, rows []table.Held, outcome string, remove bool) error {
	var changed error
	for _, held := range rows {
		var err error
		if remove {
			err = quarantine.Delete(ctx, held)
		} else {
			err = quarantine.Redriven(ctx, held, outcome)
		}
		if err != nil && !errors.Is(err, table.ErrChanged) {
			return err
		}
		changed = cmp.Or(changed, err)
	}
	return changed
}

// toRedrive returns the events that o names, without their bodies, each with all its
// rows.
func toRedrive(ctx context.Context, quarantine *table.Quarantine, o redriveOptions) ([][]table.Held, error) {
	if o.all {
		return quarantineFilter{}.find(ctx, quarantine, table.Held.Waits)
	}
	rows, err := findQuarantined(ctx, quarantine, o.id)
	return [][]table.Held{rows}, err
}
