package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"hubwatch/handlers/secret"
	"hubwatch/handlers/table"
)

// newQuarantineShow returns the verb that shows one event.
func newQuarantineShow(o *operator) *cobra.Command {
	return &cobra.Command{
		Use:   "show <id>",
		Short: "Show all there is of one event that could not be judged",
		Long: `show shows one event of the quarantine: why it could not be judged, and the
event itself without secrets. JSON is indented and otherwise as it came, so
that it can be copied; what a terminal cannot show stands there as \u escapes.

An id may be shortened as long as no other one begins the same way.`,
		Example: `  hubwatch quarantine show 3f2a9c04`,
		Args:    one("id"),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := parseQuarantineID(args[0])
			if err != nil {
				return &usageError{command, err}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			return showQuarantined(command.Context(), command.OutOrStdout(), a.Quarantine, id)
		},
	}
}

// showQuarantined writes all there is of the event whose id begins with id.
func showQuarantined(ctx context.Context, w io.Writer, quarantine *table.Quarantine, id string) error {
	rows, err := findQuarantined(ctx, quarantine, id)
	if err != nil {
		return err
	}
	held, err := quarantine.Whole(ctx, rows[0])
	if err != nil {
		return err
	}
	redriven := "no"
	if !held.RedrivenAt.IsZero() {
		redriven = second(held.RedrivenAt) + ": " + held.Outcome
	}
	resolved := "no"
	if !held.ResolvedAt.IsZero() {
		resolved = second(held.ResolvedAt)
		if held.ResolvedBy != "" {
			resolved += " by " + held.ResolvedBy
		}
		resolved += ": " + held.Note
	}
	for _, line := range [][2]string{
		{"Id", held.ID}, {"Function", held.Function}, {"Event", held.EventID}, {"Quarantined", second(held.QuarantinedAt)},
		{"Reason", held.Reason}, {"Redriven", redriven}, {"Resolved", resolved}, {"Came as", fmt.Sprintf("%d bytes, SHA-256 %s", held.Size, held.BodySha256)},
	} {
		fmt.Fprintf(w, "%-11s  %s\n", line[0], cut(printable(line[1]), 4000))
	}
	if isRedacted(held) {
		fmt.Fprintln(w, "\nThis is not what came byte by byte: secrets have been taken out of\nit, or hidden characters are shown as escapes.")
	}
	fmt.Fprintln(w)
	return writeBody(w, held.Body)
}

// writeBody writes an event. Text that is not JSON keeps its lines and tabs, and
// nothing else that is not printable.
func writeBody(w io.Writer, body []byte) error {
	value := jsontext.Value(body).Clone()
	// A member that stands twice is a reason for an event to be here.
	if err := value.Format(jsontext.AllowDuplicateNames(true), jsontext.WithIndent("  ")); err == nil {
		_, err := w.Write(append([]byte(secret.VisibleJSON(string(value))), '\n'))
		return err
	}
	for line := range strings.Lines(string(body)) {
		cells := strings.Split(line, "\t")
		for i, cell := range cells {
			cells[i] = printable(cell)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// isRedacted reports whether the body is not what came.
func isRedacted(held table.Held) bool {
	sum := sha256.Sum256(held.Body)
	return hex.EncodeToString(sum[:]) != held.BodySha256
}
