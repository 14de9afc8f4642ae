package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// via is how the history of an alert names this program.
const via = "cli"

// newStatusChoice returns a flag that takes one status.
func newStatusChoice(name string) *choice {
	return &choice{name: name, words: kebabs(alert.Statuses)}
}

// kebabs returns words in PascalCase as people type them.
func kebabs[T ~string](list []T) []string {
	return export.Each(list, func(word T) string { return alert.Kebab(string(word)) })
}

// pascal returns the value among values that a choice names, or "".
func pascal[T ~string](c *choice, values []T) T {
	for _, v := range values {
		if c.word != "" && alert.Plain(string(v)) == alert.Plain(c.word) {
			return v
		}
	}
	return ""
}

// setOptions say what to do to which alerts.
type setOptions struct {
	change alert.Change
	refs   []reference // or else filter
	filter *alertFilter
	dryRun bool // write nothing
	yes    bool // do not ask
}

// newAlertsSet returns the verb that changes the status of alerts.
func newAlertsSet(o *operator) *cobra.Command {
	options := setOptions{filter: newAlertFilter()}
	status := newStatusChoice("status")
	verdict := &choice{name: "verdict", words: []string{"true-positive", "benign", "false-positive"}}
	var seen int
	command := &cobra.Command{
		Use:   "set <reference>...|<filter flags>",
		Short: "Change the status of alerts, and say why",
		Long: `set changes the status of alerts, or the verdict about them. The reason is what
the next person reads. The history of the alert keeps all changes, and who made
them: who is signed in, or with a connection string the user of this computer.

The alerts are named by references, or chosen by the flags that "list" has. The
flags choose alerts that may become what --status says, so those that are closed
already stay as they are; --having chooses others. If there are several, set
asks before it changes them.

From active and in-progress an alert may become anything. From resolved and
dismissed it may only become active again. --status dismissed needs a verdict.
An alert that somebody else changes meanwhile is not changed. A new occurrence
is no obstacle: it counts, and makes a closed alert active again.

Each alert gets a line. If some cannot be changed, the others are, and set ends
with 3 if these are gone, 5 if somebody else changed them, and 1 otherwise.`,
		Example: `  hubwatch alerts set 41d31d3b --status in-progress --reason "asking alice"
  hubwatch alerts set 41d31d3b --status resolved --verdict benign \
    --reason "planned rotation, change 4711"
  hubwatch alerts set --type DeviceTokenExpired --hub plant-hub --since 7d \
    --status dismissed --verdict benign --reason "old firmware" --dry-run`,
		RunE: func(command *cobra.Command, args []string) error {
			var err error
			if options.refs, err = parseReferences(args); err != nil {
				return &usageError{command, err}
			}
			options.change.Status = pascal(status, alert.Statuses)
			options.change.Verdict = pascal(verdict, alert.Verdicts)
			options.change.Via = via
			if command.Flags().Changed("if-changes") {
				options.change.Seen = &seen
			}
			if err := options.check(options.filter.given(command)); err != nil {
				return &usageError{command, err}
			}
			return o.set(command, options)
		},
	}
	flags := command.Flags()
	addChoice(command, status, "", "the new status: active, in-progress, resolved or dismissed")
	addChoice(command, verdict, "", "what the alert was found to be: true-positive, benign or false-positive")
	flags.StringVar(&options.change.Reason, "reason", "", "`why`, in at most 1,000 characters; required")
	flags.IntVar(&seen, "if-changes", 0, "only if the alert was changed this `many` times so far, as \"show\" says")
	options.filter.add(command)
	options.filter.addStatus(command, "having", "choose alerts with this `status`, also if it cannot become the new one; may be repeated")
	options.filter.addTimes(command, o.now)
	flags.BoolVar(&options.dryRun, "dry-run", false, "write nothing, and say what would be done")
	flags.BoolVar(&options.yes, "yes", false, "change several alerts without asking")
	return command
}

// check returns what is wrong with the command line. filters are the flags that choose
// alerts.
func (s setOptions) check(filters []string) error {
	switch {
	case s.change.Status == "" && s.change.Verdict == "":
		return errors.New("want --status or --verdict; \"note\" adds a reason alone")
	case len(s.refs) > 0 && len(filters) > 0:
		return fmt.Errorf("want references or %s, have both", strings.Join(filters, ", "))
	case len(s.refs) == 0 && len(filters) == 0:
		return errors.New("want references, or flags that choose alerts")
	case s.change.Seen != nil && len(s.refs) != 1:
		return errors.New("--if-changes goes with one reference")
	case s.change.Seen != nil && *s.change.Seen < 0:
		return errors.New("--if-changes: want a number of changes")
	}
	return cmp.Or(s.change.Check(), s.filter.check())
}

// set changes alerts, and writes a line for each.
func (o *operator) set(command *cobra.Command, s setOptions) error {
	ctx, w, progress := command.Context(), command.OutOrStdout(), command.ErrOrStderr()
	a, by, err := o.openAs(ctx)
	if err != nil {
		return err
	}
	s.change.By = by
	var alerts []alert.Alert
	if len(s.refs) > 0 {
		alerts, err = findAll(ctx, a.Alerts, s.refs)
	} else {
		alerts, _, err = list(ctx, a.Alerts, s.change.Choosing(s.filter.query(a.Detectors)), 0)
	}
	switch {
	case err != nil:
		return err
	case len(alerts) == 0:
		fmt.Fprintln(progress, "There is no such alert.")
		return nil
	case s.dryRun:
		t := tally{verb: "would be changed"}
		for _, found := range alerts {
			result, err := s.foresee(found)
			t.add(w, found, result, err)
		}
		fmt.Fprintf(w, "%s. Nothing was written.\n", t)
		return t.err()
	case len(alerts) > 1 && !s.yes:
		if err := confirm(command, "several alerts, and no terminal to ask on: want --yes, or --dry-run to see them", func(w io.Writer) { s.ask(w, alerts) }); err != nil {
			return err
		}
	}
	return apply(ctx, w, a.Alerts, alerts, s.change)
}

// apply makes a change to alerts, and writes a line for each. It goes on after an alert
// that cannot be changed. It ends at the first error that is about more than one alert.
func apply(ctx context.Context, w io.Writer, editor alert.Editor, alerts []alert.Alert, c alert.Change) error {
	t := tally{verb: "changed"}
	for _, found := range alerts {
		change := c
		if change.Seen == nil {
			change.Seen = &found.Changes
		}
		changed, err := editor.Change(ctx, found.Ref(), change)
		if err != nil && !about(err) {
			if t.n > 0 {
				fmt.Fprintf(w, "%s, and then:\n", t)
			}
			return err
		}
		result := unchanged
		if changed.Changes != found.Changes {
			result = "changed " + difference(found, changed)
		} else if err == nil {
			result = unchanged + statusLine(changed)
		}
		t.add(w, found, result, err)
	}
	if len(alerts) > 1 {
		fmt.Fprintf(w, "%s.\n", t)
	}
	return t.err()
}

// unchanged begins the line of an alert that is as it should be.
const unchanged = "already "

// foresee says what would become of an alert, as apply would say it.
func (s setOptions) foresee(a alert.Alert) (string, error) {
	after, err := s.change.Foresee(a)
	switch {
	case err != nil:
		return "", err
	case after.Status == a.Status && after.Verdict == a.Verdict:
		return unchanged + statusLine(a), nil
	}
	return "would change " + difference(a, after), nil
}

// difference says what a change did to an alert.
func difference(before, after alert.Alert) string {
	var parts []string
	if before.Status != after.Status {
		parts = append(parts, fmt.Sprintf("from %s to %s", before.Status, after.Status))
	}
	if before.Verdict != after.Verdict {
		parts = append(parts, fmt.Sprintf("verdict %s", after.Verdict))
	}
	return strings.Join(parts, ", ")
}

// statusLine says what the status of an alert is, who set it, when and why.
func statusLine(a alert.Alert) string {
	line := string(a.Status)
	if !a.StatusTime.IsZero() {
		line += fmt.Sprintf(" by %s at %s: %q", cmp.Or(a.StatusBy.String(), "somebody"), second(a.StatusTime), a.StatusReason)
	}
	return line
}

// about reports whether an error of a change is about one alert, and says nothing about
// others.
func about(err error) bool {
	var illegal *alert.Illegal
	var conflict *alert.Conflict
	return errors.As(err, &illegal) || errors.As(err, &conflict) || errors.Is(err, alert.ErrNotFound)
}

// tally counts what became of alerts.
type tally struct {
	verb                                      string // what is said of the alerts that are changed
	n, changed, same, refused, conflict, gone int
}

// add counts one alert, and writes its line.
func (t *tally) add(w io.Writer, a alert.Alert, result string, err error) {
	var illegal *alert.Illegal
	var conflict *alert.Conflict
	t.n++
	switch {
	case errors.As(err, &illegal):
		t.refused++
		result = "refused " + illegal.Error()
	case errors.As(err, &conflict):
		t.conflict++
		result = "not saved: " + strings.TrimPrefix(conflict.Error(), fmt.Sprintf("alert %s: ", conflict.Ref))
	case err != nil:
		t.gone++
		result = "gone: " + alert.ErrNotFound.Error()
	case strings.HasPrefix(result, unchanged):
		t.same++
	default:
		t.changed++
	}
	writeLine(w, a, result)
}

// writeLine writes what became of an alert: in one line, or below its reference if both
// do not fit the terminal.
func writeLine(w io.Writer, a alert.Alert, result string) {
	ref, result := printable(a.Ref().String()), printable(fmt.Sprintf("%s %s: %s", cmp.Or(a.Detector, a.Type), a.Entity.Name, result))
	if n := width(w); n > 0 && len([]rune(ref))+len([]rune(result))+2 > n {
		fmt.Fprintf(w, "%s\n  %s\n", ref, wrap(result, n, "  "))
		return
	}
	fmt.Fprintf(w, "%s  %s\n", ref, result)
}

// String says how many alerts became what.
func (t tally) String() string {
	parts := []string{plural(t.changed, "alert") + " " + t.verb}
	for _, part := range []struct {
		n    int
		what string
	}{
		{t.same, "already so"}, {t.refused, "refused"}, {t.conflict, "changed by somebody else"}, {t.gone, "gone"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprint(part.n, " ", part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// err returns the exit code as an error, or nil. Several reasons why alerts could not be
// changed are the code of a failure.
func (t tally) err() error {
	var codes []int
	for code, n := range map[int]int{exitFailed: t.refused, exitConflict: t.conflict, exitNotFound: t.gone} {
		if n > 0 {
			codes = append(codes, code)
		}
	}
	switch len(codes) {
	case 0:
		return nil
	case 1:
		return said(codes[0])
	}
	return errSaid
}

// mostShown is how many alerts a question shows.
const mostShown = 20

// ask writes the alerts, and asks whether to change them.
func (s setOptions) ask(w io.Writer, alerts []alert.Alert) {
	for _, a := range alerts[:min(len(alerts), mostShown)] {
		writeLine(w, a, string(a.Status))
	}
	if more := len(alerts) - mostShown; more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	var what []string
	if s.change.Status != "" {
		what = append(what, string(s.change.Status))
	}
	if s.change.Verdict != "" {
		what = append(what, string(s.change.Verdict))
	}
	fmt.Fprintf(w, "Set these %s to %s? [y/N] ", plural(len(alerts), "alert"), strings.Join(what, ", "))
}

// confirm asks on the terminal. It returns nil if the answer is yes. Without a terminal
// it refuses, and refusal says what to do.
func confirm(command *cobra.Command, refusal string, ask func(io.Writer)) error {
	if !isTerminal(command.InOrStdin()) {
		return &usageError{command, errors.New(refusal)}
	}
	ask(command.ErrOrStderr())
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(command.InOrStdin()).ReadString('\n') // no answer is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-command.Context().Done():
		return context.Cause(command.Context())
	case word := <-answer:
		if slices.Contains([]string{"y", "yes"}, word) {
			return nil
		}
	}
	fmt.Fprintln(command.ErrOrStderr(), "Nothing was changed.")
	return errSaid
}

// newAlertsNote returns the verb that adds to the history of an alert.
func newAlertsNote(o *operator) *cobra.Command {
	change := alert.Change{Via: via}
	command := &cobra.Command{
		Use:   "note <reference>",
		Short: "Add a note to the history of an alert",
		Long: `note adds a note to the history of an alert, and leaves its status as it is.
"hubwatch alerts history" shows the notes.`,
		Example: `  hubwatch alerts note 41d31d3b --reason "alice is on leave until Monday"`,
		Args:    one("reference"),
		RunE: func(command *cobra.Command, args []string) error {
			if strings.TrimSpace(change.Reason) == "" {
				return &usageError{command, errors.New("--reason: say what to note")}
			}
			r, err := parseReference(args[0])
			if err = cmp.Or(err, change.Check()); err != nil {
				return &usageError{command, err}
			}
			ctx := command.Context()
			a, by, err := o.openAs(ctx)
			if err != nil {
				return err
			}
			change.By = by
			found, _, err := r.find(ctx, a.Alerts)
			if err != nil {
				return err
			}
			changed, err := a.Alerts.Change(ctx, found.Ref(), change)
			if err != nil {
				return err
			}
			writeLine(command.OutOrStdout(), changed, fmt.Sprintf("noted, as change %d", changed.Changes))
			return nil
		},
	}
	command.Flags().StringVar(&change.Reason, "reason", "", "the `note`, in at most 1,000 characters; required")
	return command
}
