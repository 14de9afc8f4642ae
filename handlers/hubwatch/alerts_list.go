package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
)

// newAlertsList returns the verb that lists alerts.
func newAlertsList(o *operator) *cobra.Command {
	var limit int
	var exitCode bool
	filter := newAlertFilter()
	var output *alertOutput
	command := &cobra.Command{
		Use:   "list",
		Short: "List alerts, the newest first",
		Long: `list lists alerts, those of the newest day first and of each day those with the
newest occurrence first; N is how many there were. Flags that filter may be
combined, and ignore the case of letters.

--status may be repeated, or name several with commas: active, in-progress,
resolved, dismissed; open for the first two, and closed for the others.
--address is that of any occurrence, or a range: 203.0.113.0/24.

A time is 2026-02-01T08:00:00Z, or 2026-02-01 for that whole day in UTC, or how
long ago: 24h, 7d. It is compared with the last occurrence of an alert.

Formats for programs, all described in docs/exports.md: json, ocsf (OCSF 1.8.0),
cloudevents (a batch of CloudEvents 1.0) and securityalert (the columns of
Microsoft's table) are one array; "jq -c '.[]'" puts each element on a line of
its own. jsonl is json with an alert a line. csv has a header, and a quote
before each cell that a spreadsheet would take for a formula.`,
		Example: `  hubwatch alerts list --since 7d
  hubwatch alerts list --hub contoso-hub --status open --limit 0
  hubwatch alerts list --type CertificateAdded --actor alice@contoso.example
  hubwatch alerts list --since 2026-02-01 --until 2026-02-28 -o csv > alerts.csv
  hubwatch alerts list -o json | jq '.[].reference'
  hubwatch alerts list --severity high --since 1h --exit-code || tell-me`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := filter.check(); err != nil {
				return &usageError{command, err}
			}
			if limit < 0 {
				return &usageError{command, errors.New("--limit: want a number of alerts, or 0 for all")}
			}
			if err := output.check(); err != nil {
				return &usageError{command, err}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			source, err := o.source()
			if err != nil {
				return err
			}
			alerts, more, err := list(command.Context(), a.Alerts, filter.query(a.Detectors), limit)
			if err != nil {
				return err
			}
			if err := output.write(command.OutOrStdout(), source, alerts); err != nil {
				return err
			}
			switch {
			case more:
				fmt.Fprintf(command.ErrOrStderr(), "There are more alerts than %d: see --limit.\n", limit)
			case len(alerts) == 0 && output.word == "table":
				fmt.Fprintln(command.ErrOrStderr(), "There is no such alert.")
			}
			if exitCode && len(alerts) > 0 {
				return said(exitFound)
			}
			return nil
		},
	}
	flags := command.Flags()
	filter.add(command)
	filter.addStatus(command, "status", "only alerts with this `status`; may be repeated")
	filter.addTimes(command, o.now)
	flags.IntVar(&limit, "limit", 50, "at most this `many` alerts; 0 for all")
	output = addAlertOutput(command, "table", "json", "jsonl", "csv", "ocsf", "cloudevents", "securityalert")
	output.addCSVRaw(command)
	flags.BoolVar(&exitCode, "exit-code", false, "end with 10 if there is such an alert, for scripts")
	return command
}

// list returns the alerts that q asks for, and whether there are more than limit.
// A limit of 0 means all.
func list(ctx context.Context, reader alert.Reader, q alert.Query, limit int) (alerts []alert.Alert, more bool, err error) {
	for a, err := range reader.List(ctx, q) {
		if err != nil {
			return nil, false, err
		}
		if limit > 0 && len(alerts) == limit {
			return alerts, true, nil
		}
		alerts = append(alerts, a)
	}
	return alerts, false, nil
}

// alertGrid returns alerts as a table for people. The reference says the hub, too.
func alertGrid(alerts []alert.Alert) grid {
	g := grid{
		columns: []column{
			{title: "LAST SEEN (UTC)", whole: true}, {title: "SEVERITY", whole: true, color: severityColor}, {title: "STATUS", whole: true, color: statusColor},
			{title: "N", right: true, whole: true}, {title: "ALERT"}, {title: "ENTITY"},
			{title: "REFERENCE", whole: true}, {title: "ACTOR"},
		},
		below: 6,
	}
	for _, a := range alerts {
		row := []string{
			a.End.UTC().Format(minutes), string(a.Severity), string(a.Status), strconv.Itoa(a.Occurrences),
			cmp.Or(a.Detector, a.Type), a.Entity.Name, a.Ref().String(), a.Actor,
		}
		for i, cell := range row {
			row[i] = printable(cell)
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// moment is a flag that takes a time.
type moment struct {
	now  func() time.Time
	time *time.Time // what was given
	end  bool       // a day stands for its end
	text string
}

// Set implements pflag.Value.
func (m *moment) Set(s string) (err error) {
	m.text = s
	*m.time, err = alert.ParseTime(s, m.now(), m.end)
	return err
}

// String implements pflag.Value.
func (m *moment) String() string { return m.text }

// Type implements pflag.Value.
func (m *moment) Type() string { return "time" }
