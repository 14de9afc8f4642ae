package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/table"
)

// newQuarantine returns the verbs about what could not be judged.
func newQuarantine(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "quarantine",
		Short: "Show what could not be judged, and have it judged again",
		Example: `  hubwatch quarantine list
  hubwatch quarantine show 3f2a
  hubwatch quarantine redrive --all --dry-run`,
	}, newQuarantineList(o), newQuarantineShow(o), newQuarantineRedrive(o))
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

// findQuarantined returns the event whose id begins with id, without its body.
func findQuarantined(ctx context.Context, quarantine *table.Quarantine, id string) (found table.Held, err error) {
	for held, err := range quarantine.List(ctx, id) {
		if err != nil {
			return table.Held{}, err
		}
		if found.ID != "" {
			return table.Held{}, fmt.Errorf("several events in the quarantine have an id that begins with %s", id)
		}
		found = held
	}
	if found.ID == "" {
		return found, fmt.Errorf("no event in the quarantine has an id that begins with %s", id)
	}
	return found, nil
}
