package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/export"
)

// newSuppressionsAdd returns the verb that makes a suppression.
func newSuppressionsAdd(o *operator) *cobra.Command {
	var conditions conditionFlags
	var reason, owner string
	var from, until instant
	var lasts span
	var yes bool
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:                   "add <conditions> --for 8h --reason <why> --owner <who>",
		DisableFlagsInUseLine: true,
		Short:                 "Make a suppression, after showing what it would have hidden",
		Long: `add makes a suppression. It shows the alerts of the last 30 days that the
suppression would have hidden, and asks.

The conditions are flags, and all of them have to hold. At least one of --hub,
--entity, --actor and --address is required: no suppression hides all alerts of
a type. Letter case matters in the ids of devices and modules alone.

The reason, the owner and the end are required, and the end is at most 366 days
away. A time is 2026-02-01T08:00:00Z, or 2026-02-01 for that whole day in UTC.
It is compared with the time of the event, and not with that of its delivery.
Alerts that are there already stay as they are.`,
		Example: `  hubwatch suppressions add --type CertificateAdded --hub contoso-hub \
    --actor pipeline@contoso.example --for 90d \
    --reason "rotation every night" --owner team-pki@contoso.example
  hubwatch suppressions add --hub contoso-hub --entity "lab-*" \
    --entity-type Device --until 2026-03-31 --yes \
    --reason "test bench, change 4711" --owner bob@contoso.example`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			if (lasts.duration == 0) == until.time.IsZero() {
				return &usageError{command, errors.New("want --for or --until: when it ends")}
			}
			ctx, out, now := command.Context(), command.OutOrStdout(), o.now().UTC().Truncate(time.Second)
			a, by, err := o.openAs(ctx)
			if err != nil {
				return err
			}
			s := conditions.suppression(a.Detectors)
			s.Reason, s.Owner, s.CreatedBy, s.Created = strings.TrimSpace(reason), strings.TrimSpace(owner), by, now
			if s.Starts = from.time; s.Starts.IsZero() {
				s.Starts = now
			}
			if s.Expires = until.end(); lasts.duration > 0 {
				s.Expires = s.Starts.Add(lasts.duration)
			}
			if err := errors.Join(s.Check(), knownType(a.Detectors, s)); err != nil {
				return &usageError{command, err}
			}
			if !s.Expires.After(now) {
				return &usageError{command, fmt.Errorf("it would expire at %s, which is over", second(s.Expires))}
			}
			f, err := foresee(ctx, a.Alerts, s, now)
			if err != nil {
				return err
			}
			before := out
			if output.word == "json" {
				before = command.ErrOrStderr()
			}
			if err := writeSuppression(before, s); err != nil {
				return err
			}
			fmt.Fprintln(before)
			if err := f.write(before); err != nil {
				return err
			}
			if !yes {
				question := func(w io.Writer) { fmt.Fprint(w, "Add this suppression? [y/N] ") }
				if err := confirm(command, "there is no terminal to ask on: want --yes", question); err != nil {
					return err
				}
			}
			added, err := a.Suppressions.Add(ctx, s)
			if err != nil {
				return err
			}
			if output.word == "json" {
				return export.WriteJSON(out, export.NewSuppression(added, now, 0, 0))
			}
			_, err = fmt.Fprintf(out, "Added suppression %s.\n", printable(added.ID))
			return err
		},
	}
	conditions.add(command)
	flags := command.Flags()
	flags.StringVar(&reason, "reason", "", "`why` nobody needs to hear of it; required")
	flags.StringVar(&owner, "owner", "", "`who` is asked about it later: a person or a team; required")
	flags.Var(&from, "from", "hides what happens then or later (default now)")
	flags.Var(&until, "until", "hides what happens before then, or on that day or before")
	flags.Var(&lasts, "for", "how long it hides, like 8h or 90d, instead of --until")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	addChoice(command, output, "o", "table or json, of the suppression that was added")
	return command
}

// newSuppressionsPreview returns the verb that shows what a suppression would have
// hidden.
func newSuppressionsPreview(o *operator) *cobra.Command {
	var conditions conditionFlags
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "preview <conditions>",
		Short: "Show what a suppression would have hidden in the last 30 days",
		Long: `preview shows the alerts of the last 30 days that a suppression with these
conditions would have hidden, if it had been there. Those that others hide are
left out. It writes nothing.

An alert is hidden if all of its occurrences are: with --address, only an alert
all of whose addresses are known and in the range.`,
		Example: `  hubwatch suppressions preview --type CertificateAdded --hub contoso-hub
  hubwatch suppressions preview --hub contoso-hub --entity "lab-*" -o json`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			a, err := o.open()
			if err != nil {
				return err
			}
			s := conditions.suppression(a.Detectors)
			if err := errors.Join(s.CheckConditions(), knownType(a.Detectors, s)); err != nil {
				return &usageError{command, err}
			}
			f, err := foresee(command.Context(), a.Alerts, s, o.now())
			if err != nil {
				return err
			}
			if output.word == "json" {
				return export.WriteJSON(command.OutOrStdout(), export.Each(f.alerts, export.NewAlert))
			}
			return f.write(command.OutOrStdout())
		},
	}
	conditions.add(command)
	addChoice(command, output, "o", "table or json")
	return command
}

// instant is a flag that takes a time, or a day.
type instant struct {
	time time.Time
	day  bool // it is a whole day
	text string
}

// Set implements pflag.Value.
func (i *instant) Set(s string) (err error) {
	i.text = s
	if i.time, err = time.Parse(time.RFC3339, s); err == nil {
		i.time, i.day = i.time.UTC(), false
		return nil
	}
	if i.time, err = time.Parse(time.DateOnly, s); err == nil {
		i.day = true
		return nil
	}
	return errors.New("want 2026-02-01T08:00:00Z, or 2026-02-01")
}

// end returns the time, or the end of the day.
func (i *instant) end() time.Time {
	if i.day {
		return i.time.AddDate(0, 0, 1)
	}
	return i.time
}

// String implements pflag.Value.
func (i *instant) String() string { return i.text }

// Type implements pflag.Value.
func (i *instant) Type() string { return "time" }

// span is a flag that takes how long something lasts.
type span struct {
	duration time.Duration
	text     string
}

// daysFlag matches a number of days.
var daysFlag = regexp.MustCompile(`^(\d{1,3})d$`)

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	s.text = text
	if m := daysFlag.FindStringSubmatch(text); m != nil {
		days, _ := strconv.Atoi(m[1]) // three digits
		s.duration = time.Duration(days) * 24 * time.Hour
	} else if d, err := time.ParseDuration(text); err == nil {
		s.duration = d.Truncate(time.Second)
	} else {
		return errors.New("want a number of hours or days: 8h, 90d")
	}
	if s.duration <= 0 {
		return errors.New("want more than nothing: 8h, 90d")
	}
	return nil
}

// String implements pflag.Value.
func (s *span) String() string { return s.text }

// Type implements pflag.Value.
func (s *span) Type() string { return "time" }
