package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/window"
)

// quarter is the rule of most of these tests: more than ten in a quarter of an hour.
func quarter() window.Rule {
	ten := 10
	return window.Rule{Name: "Contoso", Key: "device", Width: 15 * time.Minute, Max: &ten}
}

// evenly returns n events of a device from a time on.
func evenly(device string, n int, from time.Time, apart time.Duration) (events []alert.Occurrence) {
	for i := range n {
		events = append(events, countedEvent(device, i, from.Add(time.Duration(i)*apart)))
	}
	return events
}

// do lets one process do something, alone.
func (s *service) do(p *process, f func() error) error {
	var failed error
	once := false
	s.run(func() *task {
		if once {
			return nil
		}
		once = true
		return &task{do: func(*process) error { failed = f(); return failed }, ended: func(bool) {}}
	})
	return failed
}

// TestRequestsOfACount counts requests.
func TestRequestsOfACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 1)
		s.faults = 0
		tr := countingTrial{now: noon}
		p, other := s.start(0), s.start(1)
		events := evenly("pump-1", 14, noon.Add(-10*time.Minute), 20*time.Second)
		count := func(what string, p *process, want int, events ...alert.Occurrence) {
			t.Helper()
			before := s.requests
			if err := s.do(p, func() error { return tr.counts(p).Count(context.Background(), quarter(), events) }); err != nil {
				t.Error(err)
			}
			if got := s.requests - before; got != want {
				t.Errorf("%s takes %d requests, want %d", what, got, want)
			}
		}
		count("the first event, whose table is not there", p, 5, events[0])
		for i, o := range events[1:10] {
			count(fmt.Sprintf("event %d", i+1), p, 2, o)
		}
		count("a redelivery", p, 1, events[3])
		count("a redelivery in another process", other, 1, events[3])
		before := s.requests
		if err := s.do(p, func() error { return tr.counts(p).Count(context.Background(), quarter(), events[:10]) }); err != nil {
			t.Error(err)
		}
		// The first may be read for before the others are there.
		if got := s.requests - before; got > 2 {
			t.Errorf("ten redeliveries at once take %d requests, want 2 at most", got)
		}
		// Two requests count it. The alert and the proof are read, the alert is written, and the
		// first alert of a table makes the table, the index and its end. Then it is told.
		count("the first event that is over", p, 13, events[10])
		count("another one", p, 2, events[11])
		count("its redelivery", p, 1, events[11])
		// It is told once more: whoever raised it may have told nobody.
		count("one in a process that does not know what is raised", other, 5, events[12])
		count("and the next one there", other, 2, events[13])
		count("the first one that is over of the next slot", p, 2+3, countedEvent("pump-1", 99, noon))
	})
}

// TestAnyCrashOfACount makes one fault of each kind at each request of a run in which two
// processes count events of two devices over midnight, one of which is over twice. In the
// end the alerts are those of the definition. Without HUBWATCH_TRIALS every fifth of these faults
// is made.
func TestAnyCrashOfACount(t *testing.T) {
	most := 2
	midnight := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)
	tr := countingTrial{rule: window.Rule{Name: "Contoso", Width: time.Hour, Max: &most}, now: midnight.Add(10 * time.Hour), processes: 2}
	for i, minutes := range []int{-50, -40, -20, -10, 20, 30, 200, 201, 202, 203} {
		tr.events = append(tr.events, countedEvent(fmt.Sprint("device-", i%5/4), i, midnight.Add(time.Duration(minutes)*time.Minute)))
	}
	tr.queue = slices.Concat(tr.events, tr.events[2:5])
	if n := len(tr.want()); n < 2 {
		t.Fatalf("%d alerts: too few to say anything", n)
	}
	runs, step := 0, step(5)
	for kind := range 4 {
		for planned, more := 1+kind%step, true; more; planned += step {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, 14)
				s.planned, s.kind = planned, kind
				tr.count(s)
				if diff := tr.differs(s); diff != "" {
					t.Fatalf("fault %d at request %d: (-definition +tables)\n%s", kind, planned, diff)
				}
				runs++
				more = s.requests >= planned
			})
		}
	}
	t.Logf("%d faults", runs-4)
	if runs*step < 150 {
		t.Errorf("%d runs: too few requests to say anything", runs)
	}
}

// TestHotKey counts a thousand events of one key that come at once, in two processes.
func TestHotKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 3)
		s.faults = 0
		tr := countingTrial{rule: quarter(), now: noon, processes: 2}
		for i := range 1000 {
			tr.events = append(tr.events, countedEvent("pump-1", i, noon.Add(-time.Duration(i)*time.Second)))
		}
		s.start(0)
		s.start(1)
		done := 0
		s.run(func() *task {
			if done == 2 {
				return nil
			}
			half := tr.events[500*done : 500*done+500]
			done++
			return &task{do: func(p *process) error {
				counts := tr.counts(p)
				errs := make([]error, len(half))
				var group sync.WaitGroup
				for i, o := range half {
					group.Go(func() { errs[i] = counts.Count(context.Background(), tr.rule, []alert.Occurrence{o}) })
				}
				group.Wait()
				return errors.Join(errs...)
			}, ended: func(ok bool) {
				if !ok {
					t.Error("not all are counted")
				}
			}}
		})
		if diff := tr.differs(s); diff != "" || s.requests > 100 {
			t.Errorf("%d requests: (-definition +tables)\n%s", s.requests, diff)
		}
	})
}

// openCounts returns a store of counts of its own on the service at a connection string, and
// its alerts.
func openCounts(t testing.TB, connection string, now time.Time, suppress func(context.Context, []alert.Occurrence)) (*Counts, *Alerts) {
	t.Helper()
	alerts := open(t, connection)
	c := account(t, connection).Counts(fmt.Sprintf("t%d", tables.Add(1)), alerts, suppress, nil)
	c.now = func() time.Time { return now }
	return c, alerts
}

// TestTenInAQuarterOfAnHour counts the whole way: the tenth event raises nothing, and the
// eleventh raises one alert, whatever the order, the repetition and the number of processes.
func TestTenInAQuarterOfAnHour(t *testing.T) {
	start := noon.Truncate(15 * time.Minute).Add(-8 * time.Minute) // over the border of two slots
	for name, order := range map[string]func(events []alert.Occurrence) []alert.Occurrence{
		"in order":   func(e []alert.Occurrence) []alert.Occurrence { return e },
		"backwards":  func(e []alert.Occurrence) []alert.Occurrence { slices.Reverse(e); return e },
		"thrice":     func(e []alert.Occurrence) []alert.Occurrence { return slices.Concat(e, e, e) },
		"the middle": func(e []alert.Occurrence) []alert.Occurrence { return slices.Concat(e[6:], e[:6]) },
	} {
		t.Run(name, func(t *testing.T) {
			uri, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n%11 == 0 {
					return azurite.Lose
				}
				return azurite.Pass
			})
			c, alerts := openCounts(t, uri, noon, nil)
			second := account(t, uri).Counts(c.prefix, again(t, alerts, uri), nil, nil)
			second.now = c.now
			deliver := func(events []alert.Occurrence) {
				t.Helper()
				for i, o := range events {
					for attempt := 0; ; attempt++ {
						err := []*Counts{c, second}[i%2].Count(t.Context(), quarter(), []alert.Occurrence{o})
						if err == nil {
							break
						}
						if attempt == 5 {
							t.Fatal(err)
						}
					}
				}
			}
			eleven := evenly("pump-1", 11, start, 89*time.Second)
			deliver(order(slices.Clone(eleven[:10])))
			deliver(order(evenly("pump-2", 10, start, 0)))
			deliver(order(evenly("pump-3", 11, start, 90*time.Second)))
			if err := errorOf(alerts.List(t.Context(), alert.Query{})); !errors.Is(err, alert.ErrAbsent) { // not even a table
				t.Fatalf("ten events in a quarter of an hour: %v", err)
			}
			deliver(order(slices.Clone(eleven)))
			all := list(t, alerts, alert.Query{})
			if len(all) != 1 || all[0].Entity.Name != "pump-1" || all[0].Occurrences != 1 || !all[0].Start.Equal(eleven[10].Event.Time) || all[0].Actor != "" ||
				!strings.HasPrefix(all[0].Message, "More than 10 within 15m: ") || all[0].Properties["CountWindow"] != "15m" {
				t.Fatalf("of eleven: %+v", all)
			}
			a, evidence := find(t, alerts, all[0].Ref())
			if len(evidence) != 1 {
				t.Fatalf("%+v has evidence %+v", a, evidence)
			}
			for _, e := range evidence {
				if len(e.Counted) != 11 || !e.Counted[0].Time.Equal(eleven[0].Event.Time) || !e.Time.Equal(eleven[10].Event.Time) || e.EventID != e.Counted[10].Hash || e.RawEvent != "" {
					t.Errorf("evidence %+v", e)
				}
				if want := hash(identity(eleven[10])...); e.EventID != want {
					t.Errorf("the last is %s, want %s", e.EventID, want)
				}
			}
			summariesAreExact(t, alerts)
		})
	}
}

// TestBreachesOfADay checks what more events do to an alert, also to one that somebody has
// closed.
func TestBreachesOfADay(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	most := 1
	rule := window.Rule{Name: "Contoso", Width: time.Hour, Max: &most}
	day := alert.Day(noon)
	id := 0
	at := func(minutes ...int) {
		t.Helper()
		for _, m := range minutes {
			id++
			if err := c.Count(t.Context(), rule, []alert.Occurrence{countedEvent("pump-1", id, day.Add(time.Duration(m)*time.Minute))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	is := func(what string, breaches int, status alert.Status, changes, first, last int) {
		t.Helper()
		all := list(t, alerts, alert.Query{})
		if len(all) != 1 || all[0].Occurrences != breaches || all[0].Status != status || all[0].Changes != changes ||
			!all[0].Start.Equal(day.Add(time.Duration(first)*time.Minute)) || !all[0].End.Equal(day.Add(time.Duration(last)*time.Minute)) {
			t.Errorf("%s: %+v", what, all)
		}
	}
	at(130, 150)
	is("two within an hour", 1, alert.Active, 0, 150, 150)
	closing := func() {
		t.Helper()
		a := list(t, alerts, alert.Query{})[0]
		if _, err := alerts.Change(t.Context(), a.Ref(), alert.Change{Status: alert.Resolved, Reason: "seen", By: alert.Person{Name: "alice@contoso.example"}}); err != nil {
			t.Fatal(err)
		}
	}
	closing()
	at(140)
	is("a late event makes an earlier one over", 1, alert.Resolved, 1, 140, 140)
	at(160)
	is("another one in the same slot", 1, alert.Resolved, 1, 140, 140)
	at(250, 251)
	is("a second breach", 2, alert.Active, 2, 140, 251)
	closing()
	at(195)
	is("the slot between them joins them", 1, alert.Active, 4, 140, 250)
	summariesAreExact(t, alerts)
	history, err := alerts.History(t.Context(), list(t, alerts, alert.Query{})[0].Ref())
	if err != nil || len(history) != 4 {
		t.Errorf("history %+v, %v", history, err)
	}
}

// TestSlotsOverMidnight counts in windows that do not divide the day: the alert is of the day
// in which the slot begins, and can be found by its reference.
func TestSlotsOverMidnight(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	none := 0
	rule := window.Rule{Name: "Contoso", Width: 7 * time.Hour, Max: &none}
	midnight := alert.Day(noon)
	for m := range 8 {
		at := midnight.Add(time.Duration(m) * time.Hour)
		if err := c.Count(t.Context(), rule, []alert.Occurrence{countedEvent(fmt.Sprint("pump-", m), m, at)}); err != nil {
			t.Fatal(err)
		}
	}
	days := map[string]int{}
	for _, a := range list(t, alerts, alert.Query{}) {
		found, evidence := find(t, alerts, a.Ref())
		if found.ID != a.ID || len(evidence) != 1 {
			t.Errorf("%s: %+v", a.Ref(), evidence)
		}
		days[a.Start.Format(time.DateOnly)]++
	}
	if !maps.Equal(days, map[string]int{"2026-01-31": 5, "2026-02-01": 3}) {
		t.Errorf("alerts by day: %v", days)
	}
}

// TestUntimelyEventsAreNotCounted checks that an event that is too old or too new is refused
// for good, and that those beside it are counted.
func TestUntimelyEventsAreNotCounted(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	none := 0
	rule := window.Rule{Name: "Contoso", Width: time.Hour, Max: &none}
	taken := countedEvent("pump-4", 4, noon)
	taken.Tally = alert.Tally{Item: "pump-4", Seq: 2}
	err := c.Count(t.Context(), rule, []alert.Occurrence{
		countedEvent("pump-1", 1, noon.Add(-73*time.Hour)), countedEvent("pump-2", 2, noon), countedEvent("pump-3", 3, noon.Add(25*time.Hour)), taken,
	})
	if !errors.Is(err, window.ErrNever) || strings.Contains(fmt.Sprint(err), "\n") {
		t.Errorf("error %v", err)
	}
	if all := list(t, alerts, alert.Query{}); len(all) != 1 || all[0].Entity.Name != "pump-2" {
		t.Errorf("%+v", all)
	}
}

// TestRefusedProof checks that what the table of alerts will never take is refused for good,
// and that any other failure is not.
func TestRefusedProof(t *testing.T) {
	for status, never := range map[int]bool{http.StatusBadRequest: true, http.StatusForbidden: false} {
		c, _ := openCounts(t, answering(t, func(body string) int {
			if strings.Contains(body, "SystemAlertId") {
				return status
			}
			return 0
		}), noon, nil)
		none := 0
		err := c.Count(t.Context(), window.Rule{Name: "Contoso", Width: time.Hour, Max: &none}, []alert.Occurrence{countedEvent("pump-1", 1, noon)})
		if err == nil || errors.Is(err, window.ErrNever) != never {
			t.Errorf("after %d: %v", status, err)
		}
	}
}

// TestSuppressedBreach checks that suppressions apply to what is raised.
func TestSuppressedBreach(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, func(_ context.Context, all []alert.Occurrence) {
		for i := range all {
			if !all[i].Event.Time.Equal(noon.Truncate(100)) || all[i].Actor != "" {
				t.Errorf("asked about %+v", all[i])
			}
			all[i].SuppressedBy = "0123456789abcdef"
		}
	})
	none := 0
	o := countedEvent("pump-1", 1, noon)
	o.SuppressedBy = "another"
	if err := c.Count(t.Context(), window.Rule{Name: "Contoso", Width: time.Hour, Max: &none}, []alert.Occurrence{o}); err != nil {
		t.Fatal(err)
	}
	if all := list(t, alerts, alert.Query{Suppressed: true}); len(all) != 1 || all[0].SuppressedBy != "0123456789abcdef" {
		t.Errorf("%+v", all)
	}
	summariesAreExact(t, alerts)
}

// TestChangedRuleCountsAnew changes a rule in the middle of a day: the breaches of both stand
// in the alert.
func TestChangedRuleCountsAnew(t *testing.T) {
	c, alerts := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	for most := range 2 {
		rule := window.Rule{Name: "Contoso", Width: time.Duration(most+1) * time.Hour, Max: &most}
		for i := range 3 {
			if err := c.Count(t.Context(), rule, []alert.Occurrence{countedEvent("pump-1", i, noon.Add(time.Duration(i)*time.Minute))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all := list(t, alerts, alert.Query{}); len(all) != 1 || all[0].Occurrences != 2 || !all[0].End.Equal(noon.Add(time.Minute).Truncate(100)) {
		t.Errorf("%+v", all)
	}
}

// TestExpireCounts checks that tables are dropped when their events are too old, and no
// others.
func TestExpireCounts(t *testing.T) {
	c, _ := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	other, _ := openCounts(t, emulator(t).ConnectionString(), noon, nil)
	other.prefix = c.prefix + "a"
	for _, c := range []*Counts{c, other} {
		for i := range 3 {
			if err := c.Count(t.Context(), quarter(), []alert.Occurrence{countedEvent("pump-1", i, noon.Add(-time.Duration(i)*24*time.Hour))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{24 * time.Hour, 0}, {48 * time.Hour, 1}, {48 * time.Hour, 0}, {96 * time.Hour, 2}} {
		if n, err := c.Expire(t.Context(), noon.Add(step.after)); err != nil || n != step.want {
			t.Errorf("after %v: %d tables are dropped, want %d, %v", step.after, n, step.want, err)
		}
	}
	if n, err := other.Expire(t.Context(), noon.Add(96*time.Hour)); err != nil || n != 3 {
		t.Errorf("of the other prefix: %d, %v", n, err)
	}
}
