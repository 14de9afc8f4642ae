package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// newAlerts returns the verbs about alerts.
func newAlerts(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "alerts",
		Short: "List, show, watch and close alerts",
		Example: `  hubwatch alerts list --severity medium --status open
  hubwatch alerts show plant-hub/2026-02-01/41d31d3b-1f3f-8d41-9f1b-4a8d1c2b3e4f
  hubwatch alerts set 41d31d3b --status resolved --reason "was planned"`,
	}, newAlertsList(o), newAlertsShow(o), newAlertsSet(o), newAlertsNote(o), newAlertsHistory(o), newAlertsCount(o), newAlertsWatch(o), newAlertsReindex(o), newAlertsPrune(o))
}

// choice is a flag that takes one of several words, in any case, with or without
// hyphens.
type choice struct {
	name  string
	words []string
	word  string // the one that was chosen
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	for _, word := range c.words {
		if alert.Plain(word) == alert.Plain(s) {
			c.word = word
			return nil
		}
	}
	return fmt.Errorf("want %s", anyOf(c.words))
}

// words returns texts of a type of their own as choices take them.
func words[T ~string](list []T) []string {
	return export.Each(list, func(word T) string { return string(word) })
}

// anyOf lists two words or more as a sentence does: "a, b or c".
func anyOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// String implements pflag.Value.
func (c *choice) String() string { return c.word }

// Type implements pflag.Value.
func (c *choice) Type() string { return c.name }

// addChoice adds a flag that takes one of c's words, and completes them.
func addChoice(command *cobra.Command, c *choice, short, usage string) {
	command.Flags().VarP(c, c.name, short, usage)
	complete := cobra.FixedCompletions(c.words, cobra.ShellCompDirectiveNoFileComp)
	if err := command.RegisterFlagCompletionFunc(c.name, complete); err != nil {
		panic(err) // there are two flags of this name
	}
}
