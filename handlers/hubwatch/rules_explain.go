package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hubwatch/handlers/custom"
)

// newRulesExplain returns the verb that says in words what a custom alert watches.
func newRulesExplain(files *ruleFiles) *cobra.Command {
	return &cobra.Command{
		Use:   "explain <name>...",
		Short: "Say what an alert watches, from where, and what it costs",
		Long: `explain says in words what a custom alert watches, where it gets that from, how
it counts, and what a million events cost by the prices of docs/cost.md. It
warns of what is costly, or finds more than is meant.`,
		Example:           `  hubwatch rules explain HubKeysTaken`,
		Args:              someNames,
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
			for i, a := range alerts {
				if i > 0 {
					fmt.Fprintln(w)
				}
				explain(w, width(w), a)
			}
			return nil
		},
	}
}

// someNames is for verbs about one custom alert or more.
func someNames(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("want the name of a custom alert, or several: \"hubwatch rules list\" has them")
	}
	return nil
}

// explain writes what an alert watches.
func explain(w io.Writer, width int, a custom.Alert) {
	state := "It is deployed with the next make generate, make publish and deployment of infra/subscriptions.bicep."
	if !a.Enabled {
		state = "It is not deployed: set enabled to true, and run make generate."
	}
	fmt.Fprintf(w, "%s: %s\n%s\n", a.Name, printable(a.Title), wrap(fmt.Sprintf("%s, %s. %s", a.Severity, printable(a.AlertType), state), width, ""))
	e := a.Explain()
	say := func(title, text string) {
		if text != "" {
			fmt.Fprintf(w, "\n%s\n  %s\n", title, wrap(printable(text), width, "  "))
		}
	}
	say("What it watches", e.Watches)
	say("Where it gets that from", e.From)
	say("How it counts", e.Counts)
	say("What an alert is about", e.About)
	say("What it costs", e.Costs)
	for _, warning := range e.Warnings {
		say("Warning", warning)
	}
	say("What it cannot see", a.Limits)
	say("Who answers questions about it", a.Owner)
}
