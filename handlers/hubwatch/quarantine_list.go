package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/export"
	"hubwatch/handlers/table"
)

// quarantineListOptions say what to list, and how.
type quarantineListOptions struct {
	quarantineFilter
	all      bool // also what has been judged since, and what was taken out
	resolved bool // only what was taken out
	limit    int  // at most so many events; 0 for all
	format   string
}

// newQuarantineList returns the verb that lists what could not be judged.
func newQuarantineList(o *operator) *cobra.Command {
	var options quarantineListOptions
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "list",
		Short: "List what could not be judged, and why, the newest first",
		Long: `list lists the events that could not be judged, and why, the newest first. If
there are many, it first counts them by kind: by function, and by reason without
what differs from event to event. Events that have been judged since, and those
that were taken out, are left out without --all or --resolved.

A time is 2026-02-01T08:00:00Z, or 2026-02-01 for the beginning of that day in
UTC, or how long ago: 24h, 7d. It is compared with when the event came.`,
		Example: `  hubwatch quarantine list --since 24h
  hubwatch quarantine list --function CertificateAdded --reason "resource id"
  hubwatch quarantine list --resolved -o json | jq '.[].note'`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			switch {
			case options.limit < 0:
				return &usageError{command, errors.New("--limit: want a number of events, or 0 for all")}
			case options.all && options.resolved:
				return &usageError{command, errors.New("want --all or --resolved, not both")}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			options.format = output.word
			more, err := listQuarantine(command.Context(), command.OutOrStdout(), a.Quarantine, options)
			if more {
				fmt.Fprintf(command.ErrOrStderr(), "There are more events than %d: see --limit.\n", options.limit)
			}
			return err
		},
	}
	flags := command.Flags()
	flags.Var(&moment{now: o.now, time: &options.Since}, "since", "the event came then or later")
	options.add(command)
	flags.BoolVar(&options.all, "all", false, "also those that have been judged since, and those that were taken out")
	flags.BoolVar(&options.resolved, "resolved", false, "only those that were taken out, with who did it and why")
	flags.IntVar(&options.limit, "limit", 50, "at most this `many` events; 0 for all")
	addChoice(command, output, "o", "table or json")
	return command
}

// many is how many events a list has at least to count them by kind.
const many = 10

// mostKinds is how many kinds a list counts at most.
const mostKinds = 20

// listQuarantine writes what is in the quarantine. It reports whether there is more
// than o.limit allows.
func listQuarantine(ctx context.Context, w io.Writer, quarantine *table.Quarantine, o quarantineListOptions) (more bool, err error) {
	var waiting, redriven, resolved int
	events, err := o.find(ctx, quarantine, func(table.Held) bool { return true })
	if err != nil {
		return false, err
	}
	var list []table.Held
	for _, rows := range events {
		held := rows[0]
		if i := slices.IndexFunc(rows, table.Held.Waits); i >= 0 {
			held = rows[i] // it waits as long as one of its rows does
		}
		switch {
		case held.Waits():
			waiting++
		case !held.ResolvedAt.IsZero():
			resolved++
		default:
			redriven++
		}
		switch i := slices.IndexFunc(rows, func(row table.Held) bool { return !row.ResolvedAt.IsZero() }); {
		case o.resolved && i >= 0:
			list = append(list, rows[i])
		case !o.resolved && (held.Waits() || o.all):
			list = append(list, held)
		}
	}
	shown := list
	if more = o.limit > 0 && len(list) > o.limit; more {
		shown = list[:o.limit]
	}
	if o.format == "json" {
		documents := make([]heldDocument, len(shown))
		for i, held := range shown {
			documents[i] = newHeldDocument(held)
		}
		return more, export.WriteJSON(w, documents)
	}
	var grids []grid
	if len(list) >= many {
		grids = append(grids, kindGrid(list))
	}
	if len(shown) > 0 {
		grids = append(grids, heldGrid(shown))
	}
	for _, g := range grids {
		if err := g.write(w, width(w)); err != nil {
			return more, err
		}
		fmt.Fprintln(w)
	}
	_, err = fmt.Fprintf(w, "%s waiting, %d redriven, %d resolved.\n", plural(waiting, "event"), redriven, resolved)
	return more, err
}

// particulars are the parts of a reason that differ between events of one kind: what
// stands between quotation marks, which may not end if the reason was cut, and
// numbers.
var particulars = regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|\\?$)|\d+`)

// kindOf returns a reason without its particulars.
func kindOf(reason string) string {
	return particulars.ReplaceAllStringFunc(reason, func(s string) string {
		if s[0] == '"' {
			return "…"
		}
		return "#"
	})
}

// kindGrid counts events by kind, the most frequent first, as a table for people.
func kindGrid(list []table.Held) grid {
	type kind struct{ function, reason string }
	counts, newest := map[kind]int{}, map[kind]time.Time{}
	var kinds []kind
	for _, held := range list {
		k := kind{held.Function, kindOf(held.Reason)}
		if counts[k] == 0 {
			kinds, newest[k] = append(kinds, k), held.QuarantinedAt
		}
		counts[k]++
	}
	slices.SortStableFunc(kinds, func(a, b kind) int { return cmp.Compare(counts[b], counts[a]) })
	g := grid{
		columns: []column{{title: "N", right: true, whole: true}, {title: "NEWEST", whole: true}, {title: "FUNCTION"}, {title: "KIND OF REASON"}},
		below:   3,
	}
	others := 0
	for i, k := range kinds {
		if i >= mostKinds {
			others += counts[k]
			continue
		}
		g.rows = append(g.rows, []string{strconv.Itoa(counts[k]), second(newest[k]), cut(printable(k.function), 40), cut(printable(k.reason), 200)})
	}
	if others > 0 {
		g.rows = append(g.rows, []string{strconv.Itoa(others), "", "", "of " + plural(len(kinds)-mostKinds, "other kind")})
	}
	return g
}

// heldGrid returns events as a table for people.
func heldGrid(list []table.Held) grid {
	g := grid{
		columns: []column{
			{title: "ID", whole: true}, {title: "QUARANTINED", whole: true}, {title: "FUNCTION"}, {title: "EVENT"},
			{title: "BYTES", right: true, whole: true}, {title: "STATE", whole: true}, {title: "REASON"},
		},
		below: 2,
	}
	resolved := slices.ContainsFunc(list, func(held table.Held) bool { return !held.ResolvedAt.IsZero() })
	if resolved {
		g.columns = append(g.columns, column{title: "NOTE"})
	}
	for _, held := range list {
		state, note := "waiting", ""
		switch {
		case !held.ResolvedAt.IsZero():
			state, note = "resolved "+second(held.ResolvedAt), held.Note
			if held.ResolvedBy != "" {
				note = held.ResolvedBy + ": " + note
			}
		case !held.RedrivenAt.IsZero():
			state = "redriven " + second(held.RedrivenAt)
		}
		row := []string{
			held.ID, second(held.QuarantinedAt), cut(printable(held.Function), 40), cut(printable(held.EventID), 40),
			strconv.FormatInt(held.Size, 10), state, cut(printable(held.Reason), 100),
		}
		if resolved {
			row = append(row, cut(printable(strings.TrimSpace(note)), 100))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// heldDocument is an event in the quarantine as programs read it, without its body.
// A text or a time that is unknown is absent.
type heldDocument struct {
	ID              string    `json:"id"`
	Function        string    `json:"function"`
	EventID         string    `json:"eventId,omitzero"`
	Reason          string    `json:"reason,omitzero"`
	Bytes           int64     `json:"bytes"`
	SHA256          string    `json:"sha256,omitzero"`
	Quarantined     time.Time `json:"quarantinedUtc"`
	Redriven        time.Time `json:"redrivenUtc,omitzero"`
	RedrivenOutcome string    `json:"redrivenOutcome,omitzero"`
	Resolved        time.Time `json:"resolvedUtc,omitzero"`
	ResolvedBy      string    `json:"resolvedBy,omitzero"`
	Note            string    `json:"note,omitzero"`
}

// newHeldDocument returns an event in the quarantine as programs read it.
func newHeldDocument(held table.Held) heldDocument {
	return heldDocument{
		ID:              held.ID,
		Function:        held.Function,
		EventID:         held.EventID,
		Reason:          held.Reason,
		Bytes:           held.Size,
		SHA256:          held.BodySha256,
		Quarantined:     held.QuarantinedAt.UTC(),
		Redriven:        held.RedrivenAt.UTC(),
		RedrivenOutcome: held.Outcome,
		Resolved:        held.ResolvedAt.UTC(),
		ResolvedBy:      held.ResolvedBy,
		Note:            held.Note,
	}
}
