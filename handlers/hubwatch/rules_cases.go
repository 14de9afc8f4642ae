package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newRulesTest returns the verb that runs the cases of custom alerts.
func newRulesTest(files *ruleFiles) *cobra.Command {
	return &cobra.Command{
		Use:   "test [<name>...]",
		Short: "Run the cases of the files",
		Long: `test runs the cases of custom alerts, also of those that are not enabled, and
says how each case that fails differs from what it wants. It ends with 1 if one
fails, and with 2 if a file has a mistake.`,
		Example: `  hubwatch rules test
  hubwatch rules test HubKeysTaken`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: files.complete,
		RunE: func(command *cobra.Command, names []string) error {
			alerts, err := files.load()
			wrong, err := files.writeMistakes(command.ErrOrStderr(), err, names)
			if err != nil {
				return err
			}
			if wrong > 0 {
				return said(exitUsage)
			}
			if alerts, err = pick(alerts, names); err != nil {
				return &usageError{command, err}
			}
			w := command.OutOrStdout()
			failed := 0
			for _, a := range alerts {
				bad := 0
				for _, c := range a.Cases {
					if err := a.Run(c); err != nil {
						bad++
						fmt.Fprintf(w, "FAIL  %s/%s: %s\n", a.Name, printable(c.Name), printable(err.Error()))
					}
				}
				if failed += bad; bad == 0 {
					fmt.Fprintf(w, "ok    %s: %s\n", a.Name, plural(len(a.Cases), "case"))
				}
			}
			if failed > 0 {
				return errSaid
			}
			return nil
		},
	}
}
