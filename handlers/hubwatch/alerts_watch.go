package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// watchWindow is how old an event may be whose alert watch tells. Event Grid delivers an
// event for 24 hours (https://learn.microsoft.com/azure/event-grid/delivery-and-retry),
// and an event that was in the quarantine comes later still.
const watchWindow = 7 * 24 * time.Hour

// leastInterval is how often watch looks at most.
const leastInterval = time.Second

// newAlertsWatch returns the verb that follows alerts.
func newAlertsWatch(o *operator) *cobra.Command {
	filter := newAlertFilter()
	var interval time.Duration
	output := &choice{name: "output", words: []string{"table", "jsonl"}, word: "table"}
	command := &cobra.Command{
		Use:   "watch",
		Short: "Follow new alerts, and those that become active again",
		Long: `watch shows each alert that is raised from now on, and each that an occurrence
or a person makes active again, once. Further occurrences of an open alert are
not shown. It looks at the alerts of the last 7 days. Ctrl-C ends it, and the
exit code is 0.

With -o jsonl, each line is a JSON object: an alert as "list -o json" has it,
and "change", which is "new" or "reopened".

If the storage account cannot be reached, watch says so, and goes on.`,
		Example: `  hubwatch alerts watch --severity medium
  hubwatch alerts watch --hub plant-hub --interval 1m -o jsonl >> alerts.jsonl`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			if interval < leastInterval {
				return &usageError{command, fmt.Errorf("--interval: want %s or more", leastInterval)}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			out, progress := command.OutOrStdout(), command.ErrOrStderr()
			w := &watcher{reader: a.Alerts, query: filter.query(a.Detectors), now: o.now}
			ticks := time.NewTicker(interval)
			defer ticks.Stop()
			return w.watch(command.Context(), ticks.C,
				func() { fmt.Fprintf(progress, "Watching, every %s. Ctrl-C ends it.\n", short(interval)) },
				func(news []news) error { return writeNews(out, output.word, news) },
				func(err error) {
					complain(progress, fmt.Errorf("%w; trying again in %s", o.advised(err), short(interval)))
				})
		},
	}
	filter.add(command)
	command.Flags().DurationVar(&interval, "interval", 10*time.Second, "`how` often to look: 10s, 1m")
	addChoice(command, output, "o", "table or jsonl")
	return command
}

// short writes a duration without units of zero.
func short(d time.Duration) string {
	s := strings.TrimSuffix(d.String(), "0s")
	if s == "" || !strings.ContainsAny(s[len(s)-1:], "hm") {
		return d.String()
	}
	return strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
}

// news is an alert that watch tells.
type news struct {
	alert.Alert
	change string // "new" or "reopened"
}

// newsDocument is what watch tells as programs read it.
type newsDocument struct {
	Change       string `json:"change"`
	export.Alert `json:",inline"`
}

// watcher finds alerts that were raised or became open since it looked last.
type watcher struct {
	reader alert.Reader
	query  alert.Query // without statuses and times
	now    func() time.Time
	days   map[place]*watched // those of the window
}

// place is a hub and day.
type place struct {
	hub string
	day time.Time
}

// watched is what a watcher has seen of a hub and day.
type watched struct {
	version string                  // of the summary, before the alerts were read
	status  map[string]alert.Status // of each alert that the query asks for, by its id
}

// watch looks once, calls ready, and looks again at each tick until ctx is done. It
// tells what is new. It returns the error of the first look and of tell. It calls
// complain with the errors of later looks, each once as long as it stays the same.
func (w *watcher) watch(ctx context.Context, ticks <-chan time.Time, ready func(), tell func([]news) error, complain func(error)) error {
	if _, err := w.look(ctx); err != nil && !errors.Is(err, alert.ErrAbsent) {
		if interrupted(ctx) {
			return nil
		}
		return err
	}
	ready()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		found, err := w.look(ctx)
		if err := tell(found); err != nil {
			return err
		}
		switch {
		case err == nil || errors.Is(err, alert.ErrAbsent):
			last = ""
		case !interrupted(ctx) && err.Error() != last:
			last = err.Error()
			complain(err)
		}
	}
}

// look returns what is new since the last look, the oldest first. The first look
// returns nothing. It reads the alerts of those hubs and days alone whose summary is
// another than before. After an error it returns what it found so far, and the next
// look finds the rest.
func (w *watcher) look(ctx context.Context) (found []news, err error) {
	first := w.days == nil
	if first {
		w.days = map[place]*watched{}
	}
	since := alert.Day(w.now().Add(-watchWindow))
	maps.DeleteFunc(w.days, func(p place, _ *watched) bool { return p.day.Before(since) })
	for sum, err := range w.reader.Summaries(ctx, alert.Query{Hub: w.query.Hub, Since: since}) {
		if err != nil {
			return sorted(found), err
		}
		p := place{sum.Hub, sum.Day}
		before := w.days[p]
		if before == nil {
			before = &watched{status: map[string]alert.Status{}}
		} else if sum.Version != "" && sum.Version == before.version {
			continue
		}
		now, changed, err := w.read(ctx, p, before.status)
		if err != nil {
			return sorted(found), err
		}
		w.days[p] = &watched{sum.Version, now}
		if !first {
			found = append(found, changed...)
		}
	}
	return sorted(found), nil
}

// read returns the statuses of the alerts of a hub and day, and what is new, given the
// statuses before.
func (w *watcher) read(ctx context.Context, p place, before map[string]alert.Status) (map[string]alert.Status, []news, error) {
	q := w.query
	q.Hub, q.Since, q.Until = p.hub, p.day, endOf(p.day)
	now := map[string]alert.Status{}
	var changed []news
	for a, err := range w.reader.List(ctx, q) {
		if err != nil {
			return nil, nil, err
		}
		now[a.ID] = a.Status
		switch status, known := before[a.ID]; {
		case !known:
			changed = append(changed, news{a, "new"})
		case status.Closed() && !a.Status.Closed():
			changed = append(changed, news{a, "reopened"})
		}
	}
	return now, changed, nil
}

// sorted puts the oldest first.
func sorted(found []news) []news {
	slices.SortFunc(found, func(a, b news) int { return cmp.Or(a.End.Compare(b.End), strings.Compare(a.ID, b.ID)) })
	return found
}

// writeNews writes what watch tells.
func writeNews(w io.Writer, format string, found []news) error {
	for _, n := range found {
		if format == "jsonl" {
			if err := export.WriteLines(w, []newsDocument{{n.change, export.NewAlert(n.Alert)}}); err != nil {
				return err
			}
			continue
		}
		s, ok := w.(*screen)
		severity := fmt.Sprintf("%-8s", n.Severity)
		if ok && s.color {
			severity = painted(severity, severityColor(string(n.Severity)))
		}
		entity := printable(n.Entity.Name)
		if columns := width(w); columns > 0 {
			entity = cut(entity, max(columns-64, leastWidth)) // what stands before it has 64
		}
		ref := printable(n.Ref().String())
		if n.Actor != "" {
			ref += "  " + printable(n.Actor)
		}
		_, err := fmt.Fprintf(w, "%s  %s  %-8s  %-25s  %s\n  %s\n", n.End.UTC().Format(minutes), severity, n.change,
			printable(cmp.Or(n.Detector, n.Type)), entity, ref)
		if err != nil {
			return err
		}
	}
	return nil
}
