package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// newAlertsReindex returns the verb that makes the index of days and the summaries
// anew.
func newAlertsReindex(o *operator) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "reindex",
		Short: "Count the alerts of days that have no summary",
		Long: `reindex makes the index of days, and the summary of each hub and day, from the
alerts. Alerts that were raised before version 0.2.0 have neither: without
them the lists are right but slower. Run it once after an upgrade.

It may be interrupted and run again: a day that has a summary is left out. It
may run while alerts are raised. With --all it counts every day, and corrects
the summaries of alerts whose status somebody typed into the table.`,
		Example: `  hubwatch alerts reindex
  hubwatch alerts reindex --all --account contosostorage`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			days, wrote, alerts := 0, 0, 0
			for done, err := range a.Alerts.Reindex(command.Context(), all) {
				if err != nil {
					return err
				}
				days, alerts = days+1, alerts+done.Alerts
				if done.Wrote {
					wrote++
					fmt.Fprintf(command.ErrOrStderr(), "%s %s: %s\n", printable(done.Hub), done.Day.Format(time.DateOnly), plural(done.Alerts, "alert"))
				}
			}
			fmt.Fprintf(command.OutOrStdout(), "%s, of which %d had no summary or a wrong one; %s counted.\n", plural(days, "day"), wrote, plural(alerts, "alert"))
			return nil
		},
	}
	command.Flags().BoolVar(&all, "all", false, "count days that have a summary, too")
	return command
}
