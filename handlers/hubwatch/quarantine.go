package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/app"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/table"
)

// newQuarantine returns the verbs about what could not be judged.
func newQuarantine(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "quarantine",
		Short: "Show, judge again or take out what could not be judged",
		Example: `  hubwatch quarantine list --since 7d
  hubwatch quarantine show 3f2a
  hubwatch quarantine redrive --all --dry-run
  hubwatch quarantine resolve 3f2a --note "a test of ours"`,
	}, newQuarantineList(o), newQuarantineShow(o), newQuarantineRedrive(o), newQuarantineResolve(o))
}

// quarantineID is the form of an id, or of its beginning.
var quarantineID = regexp.MustCompile(`^[0-9a-f]{1,32}$`)

// parseQuarantineID reads an id, or its beginning.
func parseQuarantineID(s string) (string, error) {
	id := strings.ToLower(s)
	if !quarantineID.MatchString(id) {
		return "", fmt.Errorf("want an id as list shows it, or its beginning, have %q", s)
	}
	return id, nil
}

// quarantineFilter says which events in the quarantine a verb is about.
type quarantineFilter struct {
	table.QuarantineQuery        // its Function in any letter case
	reason                string // a part of the reason, in any letter case; "" for any
}

// add gives a verb the flags --function and --reason.
func (f *quarantineFilter) add(command *cobra.Command) {
	command.Flags().StringVar(&f.Function, "function", "", "`name` of the function that could not judge it, in any case")
	command.Flags().StringVar(&f.reason, "reason", "", "`part` of the reason, in any case")
	complete := cobra.FixedCompletions(functionNames(), cobra.ShellCompDirectiveNoFileComp)
	if err := command.RegisterFlagCompletionFunc("function", complete); err != nil {
		panic(err) // there is no such flag
	}
}

// functionNames returns the names of the functions that quarantine events.
func functionNames() []string {
	names := []string{judge.RelayName}
	for _, d := range app.Detectors() {
		names = append(names, d.Name)
	}
	return names
}

// find returns the events that f is about and that keep wants, without their bodies,
// the newest first. Each is there with all its rows: one for each day on which the
// event came, the newest first.
func (f quarantineFilter) find(ctx context.Context, quarantine *table.Quarantine, keep func(table.Held) bool) (events [][]table.Held, err error) {
	for _, name := range functionNames() {
		if strings.EqualFold(f.Function, name) {
			f.Function = name
		}
	}
	index := map[string]int{}
	for held, err := range quarantine.List(ctx, f.QuarantineQuery) {
		if err != nil {
			return nil, err
		}
		if !strings.Contains(strings.ToLower(held.Reason), strings.ToLower(f.reason)) || !keep(held) {
			continue
		}
		i, ok := index[held.ID]
		if !ok {
			i = len(events)
			index[held.ID] = i
			events = append(events, nil)
		}
		events[i] = append(events[i], held)
	}
	return events, nil
}

// findQuarantined returns the event whose id begins with id, without its body, with
// all its rows.
func findQuarantined(ctx context.Context, quarantine *table.Quarantine, id string) ([]table.Held, error) {
	f := quarantineFilter{QuarantineQuery: table.QuarantineQuery{ID: id}}
	events, err := f.find(ctx, quarantine, func(table.Held) bool { return true })
	switch {
	case err != nil:
		return nil, err
	case len(events) == 0:
		return nil, fmt.Errorf("no event in the quarantine has an id that begins with %s", id)
	case len(events) > 1:
		return nil, fmt.Errorf("several events in the quarantine have an id that begins with %s", id)
	}
	return events[0], nil
}
