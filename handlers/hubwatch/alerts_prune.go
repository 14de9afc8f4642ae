package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/table"
)

// newAlertsPrune returns the verb that deletes old alerts.
func newAlertsPrune(o *operator) *cobra.Command {
	var age span
	var options table.Pruning
	var yes bool
	command := &cobra.Command{
		Use:   "prune --older-than <time>",
		Short: "Delete the alerts of old days",
		Long: `prune deletes old alerts with their evidence and history: all that a hub has of
a UTC day that ended longer ago than --older-than says, 30 days at least. It
only shows what it would delete, unless --yes is given. What is deleted cannot
be brought back.

A day with an alert that is neither resolved nor dismissed nor suppressed stays
whole. --open deletes such days, too.

prune may be interrupted and run again. It needs a right that nobody has
unless infra/main.bicep is given "pruners". The app never has it.`,
		Example: `  hubwatch alerts prune --older-than 400d
  hubwatch alerts prune --older-than 400d --yes --account contosostorage`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			switch {
			case age.duration == 0:
				return &usageError{command, errors.New("--older-than: say how old, like 400d")}
			case age.duration < table.LeastPruned:
				return &usageError{command, fmt.Errorf("--older-than: want 30d or more, have %s", &age)}
			}
			options.Before, options.DryRun = o.now().Add(-age.duration), !yes
			a, err := o.open()
			if err != nil {
				return err
			}
			var sum pruning
			for done, err := range a.Failures.Prune(command.Context(), options) { // writes faster than Alerts
				if err != nil {
					return err
				}
				sum.add(command.OutOrStdout(), done)
			}
			fmt.Fprintln(command.OutOrStdout(), sum.text(yes))
			return nil
		},
	}
	flags := command.Flags()
	flags.Var(&age, "older-than", "days that ended longer ago than this, like 400d")
	flags.StringVar(&options.Hub, "hub", "", "only of this `hub`")
	flags.BoolVar(&options.Open, "open", false, "also days with open alerts")
	flags.BoolVar(&yes, "yes", false, "delete")
	return command
}

// pruning counts what prune did.
type pruning struct{ days, alerts, evidence, history, kept int }

// add counts one day, and writes its line.
func (p *pruning) add(w io.Writer, day table.Pruned) {
	counts := fmt.Sprintf("%s, %s, %s", plural(day.Alerts, "alert"), plural(day.Evidence, "event"), plural(day.History, "change"))
	if day.Kept {
		p.kept++
		counts += fmt.Sprintf("; stays, %d open", day.Open)
	} else {
		p.days, p.alerts, p.evidence, p.history = p.days+1, p.alerts+day.Alerts, p.evidence+day.Evidence, p.history+day.History
	}
	fmt.Fprintf(w, "%s %s: %s\n", day.Day.Format(time.DateOnly), printable(day.Hub), counts)
}

// text says what was deleted, or would be.
func (p *pruning) text(deleted bool) string {
	verb, hint := "deleted", ""
	if !deleted {
		verb, hint = "would be deleted", " Nothing was deleted: --yes deletes."
	}
	text := fmt.Sprintf("%s %s: %s, %s, %s.%s", plural(p.days, "day"), verb, plural(p.alerts, "alert"), plural(p.evidence, "event"), plural(p.history, "change"), hint)
	if p.kept > 0 {
		text += fmt.Sprintf("\nDays that stay because of open alerts: %d.", p.kept)
	}
	return text
}
