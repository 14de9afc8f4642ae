package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newRulesCheck returns the verb that finds the mistakes in custom alerts.
func newRulesCheck(files *ruleFiles) *cobra.Command {
	return &cobra.Command{
		Use:   "check [<name>...]",
		Short: "Find every mistake in the files",
		Long: `check reads the files of custom alerts, compiles their expressions, and writes
each mistake in a line with its file, line and column. It ends with 2 if there
is one. It does not run the cases: see "hubwatch rules test". A text that begins
with REPLACE is a mistake once the alert is enabled. A type of resource or an
action on it that hubwatch does not know is a warning, in a line of the same
form: it can be misspelled, and then no event ever comes.`,
		Example: `  hubwatch rules check
  hubwatch rules check HubKeysTaken`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: files.complete,
		RunE: func(command *cobra.Command, names []string) error {
			alerts, err := files.load()
			wrong, err := files.writeMistakes(command.OutOrStdout(), err, names)
			if err != nil {
				return err
			}
			if wrong > 0 {
				complain(command.ErrOrStderr(), fmt.Errorf("rules check: %s", plural(wrong, "mistake")))
				return said(exitUsage)
			}
			alerts, err = pick(alerts, names)
			if err != nil {
				return &usageError{command, err}
			}
			enabled := 0
			for _, a := range alerts {
				if a.Enabled {
					enabled++
				}
			}
			w := command.OutOrStdout()
			for _, a := range alerts {
				for _, m := range a.Doubts() {
					m.Text = "warning: " + m.Text
					fmt.Fprintln(w, printable(files.placed(m).Error()))
				}
				if a.Draft() {
					fmt.Fprintf(w, "%s is a draft: it has texts that begin with REPLACE\n", a.Name)
				}
			}
			_, err = fmt.Fprintf(w, "%s, %d enabled: no mistakes\n", plural(len(alerts), "custom alert"), enabled)
			return err
		},
	}
}
