package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// shelf is a reader of alerts in memory. It counts what is listed.
type shelf struct {
	alert.Reader
	alerts []alert.Alert
	err    error // of the next summaries
	lists  int
}

func (s *shelf) List(_ context.Context, q alert.Query) iter.Seq2[alert.Alert, error] {
	s.lists++
	return func(yield func(alert.Alert, error) bool) {
		for _, a := range s.alerts {
			if q.Matches(a) && !yield(a, nil) {
				return
			}
		}
	}
}

func (s *shelf) Summaries(_ context.Context, q alert.Query) iter.Seq2[alert.Summary, error] {
	return func(yield func(alert.Summary, error) bool) {
		if s.err != nil {
			yield(alert.Summary{}, s.err)
			return
		}
		sums := map[place]alert.Summary{}
		for _, a := range s.alerts {
			p := place{a.Ref().Hub, a.Ref().Day}
			if q.Hub != "" && !strings.EqualFold(q.Hub, p.hub) || p.day.Before(alert.Day(q.Since)) {
				continue
			}
			sum, ok := sums[p]
			if !ok {
				sum = alert.Summary{Hub: p.hub, Day: p.day, Counts: map[string]map[alert.Status]int{}}
			}
			if sum.Counts[a.Type] == nil {
				sum.Counts[a.Type] = map[alert.Status]int{}
			}
			sum.Counts[a.Type][a.Status]++
			sum.Version += fmt.Sprint(a.ID, a.Status, a.Changes, "; ")
			sums[p] = sum
		}
		for sum := range maps.Values(sums) {
			if !yield(sum, nil) {
				return
			}
		}
	}
}

// raised returns an alert with an id of its own.
func raised(n int, hub string, at time.Time) alert.Alert {
	a := someAlert()
	a.ID = fmt.Sprintf("00000000-0000-8000-8000-%012d", n)
	a.Hub.Name, a.Start, a.End, a.SuppressedBy = hub, at, at, ""
	return a
}

// TestWatch follows alerts tick by tick: each new or reopened one is told once, and
// nothing that was there before.
func TestWatch(t *testing.T) {
	now := time.Date(2026, 2, 8, 12, 0, 0, 0, time.UTC)
	store := &shelf{err: fmt.Errorf("x: %w", alert.ErrAbsent)} // no alert was ever raised
	w := &watcher{reader: store, query: alert.Query{Severity: alert.Medium}, now: func() time.Time { return now }}
	ticks, told, complaints := make(chan time.Time), make(chan []news), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan bool), make(chan error)
	go func() {
		ended <- w.watch(ctx, ticks, func() { ready <- true }, func(n []news) error { told <- n; return nil }, func(err error) { complaints <- err })
	}()
	<-ready
	look := func(name string, want ...string) {
		t.Helper()
		ticks <- now
		var got []string
		for _, n := range <-told {
			got = append(got, n.change+" "+n.ID[len(n.ID)-2:])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
	look("no table")
	store.err = nil
	store.alerts = append(store.alerts, raised(2, "contoso-hub", now), raised(1, "contoso-hub", now.Add(-time.Hour)), raised(3, "contoso-hub-west", now.Add(-3*24*time.Hour)))
	look("three are new", "new 03", "new 01", "new 02")
	lists := store.lists
	look("nothing new")
	if store.lists != lists {
		t.Errorf("%d lists although no summary has changed", store.lists-lists)
	}
	store.alerts[0].Status = alert.Resolved
	look("closed")
	store.alerts[0].Status = alert.InProgress
	look("reopened", "reopened 02")
	look("told once")
	store.alerts[0].Status, store.alerts[1].Status = alert.Resolved, alert.InProgress
	look("one closed, and another begun")
	store.alerts[0].Status, store.alerts[1].Status = alert.InProgress, alert.Resolved
	look("one closed and another reopened at once", "reopened 02")
	low, old := raised(4, "contoso-hub", now), raised(5, "contoso-hub", now.Add(-8*24*time.Hour))
	low.Severity = alert.Low
	store.alerts = append(store.alerts, low, old)
	look("of another severity, and too old")

	store.err = errors.New("no network")
	look("no network")
	if err := <-complaints; err.Error() != "no network" {
		t.Errorf("complaint %v", err)
	}
	store.alerts = append(store.alerts, raised(6, "contoso-hub", now))
	look("the same again is not said again")
	store.err = nil
	look("what came meanwhile", "new 06")
	store.err = errors.New("no network")
	look("no network, again")
	<-complaints
	store.err = nil

	now = now.Add(30 * 24 * time.Hour)
	look("a month later")
	if len(w.days) != 0 {
		t.Errorf("%d days are remembered for ever", len(w.days))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

// TestWatchBegins: what was there before is not told, and an error of the first look
// ends the command.
func TestWatchBegins(t *testing.T) {
	now := time.Date(2026, 2, 8, 12, 0, 0, 0, time.UTC)
	store := &shelf{alerts: []alert.Alert{raised(1, "contoso-hub", now)}}
	w := &watcher{reader: store, now: func() time.Time { return now }}
	if found, err := w.look(t.Context()); len(found) > 0 || err != nil {
		t.Errorf("the first look found %v, error %v", found, err)
	}
	store.err = errors.New("no network")
	w = &watcher{reader: store, now: w.now}
	never := func([]news) error { t.Error("told"); return nil }
	if err := w.watch(t.Context(), nil, func() { t.Error("ready") }, never, nil); !errors.Is(err, store.err) {
		t.Errorf("error %v, want %v", err, store.err)
	}
	store.err = nil
	w = &watcher{reader: store, now: w.now}
	ticks, broken := make(chan time.Time, 1), errors.New("closed pipe")
	ticks <- now
	if err := w.watch(t.Context(), ticks, func() {}, func([]news) error { return broken }, nil); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// TestWatchEnds runs the verb as Ctrl-C ends it.
func TestWatchEnds(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout strings.Builder
	said := &ending{cancel: cancel}
	if code := run(ctx, []string{"alerts", "watch", "--interval", "1h"}, b.getenv, nil, &stdout, said); code != 0 || stdout.Len() > 0 || said.String() != "Watching, every 1h. Ctrl-C ends it.\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), said.String())
	}
}

// ending ends the command as soon as it says something.
type ending struct {
	strings.Builder
	cancel func()
}

func (e *ending) Write(p []byte) (int, error) {
	defer e.cancel()
	return e.Builder.Write(p)
}

// TestWriteNews checks what a person and a program see of hostile names.
func TestWriteNews(t *testing.T) {
	a := raised(1, "contoso-hub", time.Date(2026, 2, 8, 12, 0, 0, 0, time.UTC))
	a.Entity.Name, a.Actor = "root\u202e\x1b[2J", "ev\nil"
	for format, want := range map[string]string{
		"table": "2026-02-08 12:00  Medium    new       CertificateAdded           root\\u202e\\u001b[2J\n" +
			"  contoso-hub/2026-02-08/00000000-0000-8000-8000-000000000001  ev\\u000ail\n",
		"jsonl": `{"change":"new","systemAlertId":"00000000-0000-8000-8000-000000000001",`,
	} {
		var out strings.Builder
		if err := writeNews(&out, format, []news{{a, "new"}}); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if !strings.HasPrefix(got, want) || strings.ContainsAny(got, "\x1b\u202e") || format == "jsonl" && strings.Count(got, "\n") != 1 {
			t.Errorf("%s:\n%s, want\n%s", format, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Hour: "10h", 1500 * time.Millisecond: "1.5s",
	} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
