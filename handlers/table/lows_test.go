package table

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// TestFewerThanOne watches the whole way: a device that falls silent raises one alert, events
// that come late take it back, and what a person has decided stays.
func TestFewerThanOne(t *testing.T) {
	for _, decided := range []bool{false, true} {
		c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
		rule := window.Rule{Name: "Contoso", Width: time.Hour, Min: 1}
		begin := noon.Truncate(time.Hour)
		clock := begin
		c.now = func() time.Time { return clock }
		template := countedEvent("", 0, begin)
		template.Hub, template.Entity = alert.Hub{}, alert.Entity{}
		tick := func(at time.Duration, want int) {
			t.Helper()
			clock = begin.Add(at)
			if n, err := c.Watch(t.Context(), rule, template); err != nil || n != want {
				t.Errorf("%v: %d cells are judged, want %d, %v", at, n, want, err)
			}
		}
		count := func(device string, id int, at time.Duration) {
			t.Helper()
			if err := c.Count(t.Context(), rule, []alert.Occurrence{countedEvent(device, id, begin.Add(at))}); err != nil {
				t.Error(err)
			}
		}
		tick(0, 0) // watching begins
		for i := range 16 {
			count("pump-1", i, time.Duration(i)*15*time.Minute)
		}
		count("pump-2", 100, 20*time.Minute)
		count("pump-2", 101, 20*time.Minute)
		tick(90*time.Minute, 6)
		if err := errorOf(alerts.List(t.Context(), alert.Query{})); !errors.Is(err, alert.ErrAbsent) { // not even a table
			t.Fatalf("before an hour has passed: %v", err)
		}
		tick(100*time.Minute, 1)
		is := func(what string, occurrences int, status alert.Status) alert.Alert {
			t.Helper()
			all := list(t, alerts, alert.Query{})
			if len(all) != 1 || all[0].Entity.Name != "pump-2" || all[0].Hub.Name != "contoso-hub" || all[0].Occurrences != occurrences || all[0].Status != status {
				t.Fatalf("%s: %+v", what, all)
			}
			return all[0]
		}
		a := is("silent for an hour", 1, alert.Active)
		if !a.Start.Equal(begin.Add(90*time.Minute)) || a.Message != "Fewer than 1 within 1h from pump-2." {
			t.Errorf("%+v", a)
		}
		tick(150*time.Minute, 3)
		is("still silent", 1, alert.Active)
		_, evidence := find(t, alerts, a.Ref())
		if len(evidence) != 1 {
			t.Errorf("evidence %+v", evidence)
		}
		want := alert.Resolved
		if decided {
			want = alert.InProgress
			if _, err := alerts.Change(t.Context(), a.Ref(), alert.Change{Status: want, Reason: "seen", By: alert.Person{Name: "alice@contoso.example"}}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 7 {
			count("pump-2", 200+i, time.Duration(40+15*i)*time.Minute)
		}
		a = is("all came late", 0, want)
		if !decided && a.StatusReason != lateReason {
			t.Errorf("resolved since %q", a.StatusReason)
		}
		if want == alert.Resolved {
			want = alert.Active
		}
		tick(260*time.Minute, 7)
		a = is("silent again", 1, want)
		if !a.Start.Equal(a.End) {
			t.Errorf("from %v to %v", a.Start, a.End)
		}
		summariesAreExact(t, alerts)
	}
}

// TestWatchingBeginsAnew checks that after days without a timer nothing is said about them.
func TestWatchingBeginsAnew(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	rule := window.Rule{Name: "Contoso", Width: time.Hour, Min: 1}
	for _, after := range []time.Duration{0, 20 * time.Minute, 49 * time.Hour, 49 * time.Hour} {
		c.now = func() time.Time { return noon.Add(after) }
		if after > 0 {
			if err := c.Count(t.Context(), rule, []alert.Occurrence{countedEvent("pump-1", 1, noon)}); err != nil {
				t.Error(err)
			}
		}
		if n, err := c.Watch(t.Context(), rule, countedEvent("", 0, noon)); err != nil || n > 2 {
			t.Errorf("after %v: %d cells, %v", after, n, err)
		}
	}
	if err := errorOf(alerts.List(t.Context(), alert.Query{})); err == nil {
		if all := list(t, alerts, alert.Query{}); len(all) > 0 {
			t.Errorf("%+v", all)
		}
	}
}

// TestKeysAreForgotten checks that a key without an event for a week is not watched any more.
func TestKeysAreForgotten(t *testing.T) {
	c, _ := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	rule := window.Rule{Name: "Contoso", Width: time.Hour, Min: 1}
	first, second := countedEvent("pump-1", 1, noon.Add(-24*time.Hour)), countedEvent("pump-2", 2, noon)
	if err := c.Count(t.Context(), rule, []alert.Occurrence{first, second}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		days int
		want [2]bool
	}{{6, [2]bool{true, true}}, {7, [2]bool{false, true}}} {
		if err := c.forget(t.Context(), noon.AddDate(0, 0, step.days)); err != nil {
			t.Fatal(err)
		}
		for i, o := range []alert.Occurrence{first, second} {
			_, tag, err := get[registryRow](t.Context(), c.keys(), newWatched(rule, o).registry())
			if err != nil || (tag != "") != step.want[i] {
				t.Errorf("after %d days: key %d is there: %v, %v", step.days, i, tag != "", err)
			}
		}
	}
}

// TestRequestsOfWatching counts requests.
func TestRequestsOfWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 1)
		s.faults = 0
		tr := &watchingTrial{rule: window.Rule{Name: "Contoso", Width: 4 * time.Hour, Min: 2}, now: noon, end: noon.AddDate(0, 0, 1)}
		p, other := s.start(0), s.start(1)
		count := func(what string, p *process, want int, o alert.Occurrence) {
			t.Helper()
			before := s.requests
			if err := s.do(p, func() error { return tr.counts(p).Count(context.Background(), tr.rule, []alert.Occurrence{o}) }); err != nil {
				t.Error(err)
			}
			if got := s.requests - before; got != want {
				t.Errorf("%s takes %d requests, want %d", what, got, want)
			}
		}
		event := func(i int) alert.Occurrence { return countedEvent("pump-1", i, noon.Add(time.Duration(i)*time.Minute)) }
		count("the first event, whose tables are not there", p, 11, event(0))
		count("its redelivery", p, 1, event(0))
		count("the second event", p, 2, event(1))
		count("one more than has to be known", p, 1, event(2))
		count("another one, of which the process knows that", p, 0, event(3))
		count("one in another process", other, 1, event(4))
		count("the first event of the next hour", p, 3, event(70))
	})
}
