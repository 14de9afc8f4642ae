package table

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// watchingTrial is what is watched in one trial.
type watchingTrial struct {
	rule        window.Rule
	events      []alert.Occurrence
	queue       []alert.Occurrence
	start, last window.Cell // windows that begin after start and end with last at most are judged
	now, end    time.Time   // the clock now, and where it stops
	speed       time.Duration
	overtake    int // how far an event may overtake others
	ticks       int
}

// watchedAlert is what an alert says, apart from its texts.
type watchedAlert struct {
	Lows        string
	Occurrences int
	Start, End  string
	Status      alert.Status
}

// newWatchingTrial returns a trial of s: events of one or two devices in cells of one hour,
// from shortly before midnight on.
func newWatchingTrial(s *service) *watchingTrial {
	r := s.r
	tr := &watchingTrial{rule: window.Rule{Name: "Contoso", Width: 4 * time.Hour, Min: 1 + r.IntN(3)}, ticks: 60}
	begin := time.Date(2026, 2, 1, 12+r.IntN(12), 0, 0, 0, time.UTC)
	tr.start = tr.rule.CellOf(begin) - 1
	n, devices, most, cells := 1+r.IntN(16), 2, 3, int64(1+r.IntN(1+r.IntN(16)))
	if r.IntN(2) == 0 { // few events, once each: nothing heals what a race breaks
		n, devices, most, cells, tr.rule.Min = 2, 1, 1, int64(5+r.IntN(3)), 1
	}
	tr.last = tr.start + window.Cell(cells) + 6
	for i := range n {
		at := begin.Add(time.Duration(r.Int64N(cells))*time.Hour + time.Duration(r.Int64N(int64(time.Hour))))
		o := countedEvent(fmt.Sprint("device-", r.IntN(devices)), i, at)
		tr.events = append(tr.events, o)
		tr.queue = append(tr.queue, slices.Repeat([]alert.Occurrence{o}, 1+r.IntN(most))...)
	}
	slices.SortStableFunc(tr.queue, func(a, b alert.Occurrence) int { return a.Event.Time.Compare(b.Event.Time) })
	tr.overtake = 1 + r.IntN(len(tr.queue))
	tr.now, tr.end = begin, tr.rule.CellEnd(tr.last).Add(window.Lateness)
	tr.speed = []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour}[r.IntN(4)]
	if r.IntN(3) == 0 { // all is late
		tr.now = tr.end
	}
	return tr
}

// counts returns the store of a process. Its clock is up to 50 seconds ahead.
func (tr *watchingTrial) counts(p *process) *Counts {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.memory == nil {
		account := p.account()
		c := account.Counts("", account.Alerts(trialAlerts), nil, p)
		c.now = func() time.Time {
			if at := tr.now.Add(time.Duration(p.number) * 25 * time.Second); at.Before(tr.end) {
				return at
			}
			return tr.end
		}
		p.memory = counter{c}
	}
	return p.memory.(counter).counts
}

// watch delivers all events until each was acknowledged, while timers run in any process at
// any time, and lets the timer go on until the last cell is judged.
func (tr *watchingTrial) watch(s *service) {
	h := tr.rule.LowHash()
	name := hex.EncodeToString(h[:])
	template := countedEvent("", 0, tr.now)
	template.Hub, template.Entity = alert.Hub{}, alert.Entity{}
	tick := func(p *process) error {
		_, err := tr.counts(p).Watch(context.Background(), tr.rule, template)
		return err
	}
	faults, planned := s.faults, s.planned
	s.faults, s.planned = 0, -1
	p := s.start(0)
	if err := s.do(p, func() error { return tr.counts(p).mark(context.Background(), name, startMark, tr.start) }); err != nil {
		s.t.Error(err)
	}
	s.requests, s.faults, s.planned = 0, faults, planned
	for i := range 2 + s.r.IntN(2) {
		s.start(i)
	}
	s.stepped = func() {
		if s.r.IntN(3) == 0 {
			tr.now = tr.now.Add(time.Duration(s.r.Int64N(int64(tr.speed))))
		}
	}
	queue := slices.Clone(tr.queue)
	s.run(func() *task {
		if s.r.IntN(3) == 0 && tr.ticks > 0 {
			tr.ticks--
			return &task{tick, func(bool) {}}
		}
		if len(queue) == 0 {
			return nil
		}
		i := s.r.IntN(min(tr.overtake, len(queue)))
		o := queue[i]
		queue = slices.Delete(queue, i, i+1)
		return &task{
			do: func(p *process) error {
				return tr.counts(p).Count(context.Background(), tr.rule, []alert.Occurrence{o})
			},
			ended: func(ok bool) {
				if !ok {
					queue = append(queue, o)
				}
			},
		}
	})
	s.faults, s.planned, s.stepped = 0, -1, nil
	tr.now = tr.end
	last := s.processes[0]
	if err := s.do(last, func() error { return tick(last) }); err != nil {
		s.t.Error(err)
	}
}

// want is the definition, by brute force over the set of all events.
func (tr *watchingTrial) want() map[string]watchedAlert {
	all := map[string]watchedAlert{}
	cells := map[string]map[window.Cell]map[string]bool{}
	for _, o := range tr.events {
		device, c := o.Entity.Name, window.Cell(o.Event.Time.Unix()/3600)
		if cells[device] == nil {
			cells[device] = map[window.Cell]map[string]bool{}
		}
		if cells[device][c] == nil {
			cells[device][c] = map[string]bool{}
		}
		cells[device][c][o.Event.ID] = true
	}
	for device, of := range cells {
		first := slices.Min(slices.Collect(maps.Keys(of)))
		low := func(c window.Cell) bool {
			n := 0
			for each := c - 3; each <= c; each++ {
				n += len(of[each])
			}
			return c-3 > max(first, tr.start) && n < tr.rule.Min
		}
		for c := tr.start; c <= tr.last; c++ {
			if !low(c) || low(c-1) {
				continue
			}
			begin := time.Unix(int64(c)*3600, 0)
			name := alert.Day(begin).Format(time.DateOnly) + " " + device
			a := all[name]
			a.Occurrences++
			a.Status = alert.Active
			a.Lows += fmt.Sprint(c, " ")
			a.End = shown(alert.Day(begin), begin.Add(time.Hour))
			if a.Start == "" {
				a.Start = a.End
			}
			all[name] = a
		}
	}
	return all
}

// have is what the tables say. An alert of which nothing is left is resolved.
func (tr *watchingTrial) have(s *service) map[string]watchedAlert {
	s.raisings()
	all, ids := map[string]watchedAlert{}, map[string]string{}
	for k, row := range s.tables[trialAlerts] {
		if !strings.HasPrefix(k.RowKey, alertRange+separator) {
			continue
		}
		p, _ := parsePartition(k.PartitionKey)
		r, err := decodeRow(s.marshal(row))
		if err != nil {
			s.t.Error(err)
			continue
		}
		a, err := r.alert()
		if err != nil || !alert.Day(a.Start).Equal(p.date()) {
			s.t.Errorf("alert %+v: %v", a, err)
		}
		if a.Occurrences == 0 && a.Status == alert.Resolved && a.StatusReason == lateReason {
			continue
		}
		ids[a.ID] = p.date().Format(time.DateOnly) + " " + a.Entity.Name
		all[ids[a.ID]] = watchedAlert{"", a.Occurrences, r.StartTimeUtc, r.EndTimeUtc, a.Status}
	}
	for _, row := range s.tables[trialAlerts] {
		var e evidence
		if err := json.Unmarshal(s.marshal(row), &e); err != nil || !strings.HasPrefix(e.RowKey, evidenceRange+separator) {
			continue
		}
		lows, err := window.UnpackLows(e.Lows)
		if err != nil || len(lows) != int(e.Count) {
			s.t.Errorf("%d lows, and the row says %d, %v", len(lows), e.Count, err)
		}
		if len(lows) == 0 {
			continue
		}
		a := all[ids[e.SystemAlertId]]
		for _, c := range lows {
			a.Lows += fmt.Sprint(c, " ")
		}
		all[ids[e.SystemAlertId]] = a
	}
	return all
}

// TestWindowsInAnyOrder watches random events in two or three processes that are interleaved
// at every request, with repeated and late deliveries, timers at any time in all of them at
// once, clocks that differ, and faults at three per cent of all requests. In the end the
// alerts are those of the definition.
//
// HUBWATCH_TRIALS is how many trials to make; all differing ones are counted.
func TestWindowsInAnyOrder(t *testing.T) {
	n := trials(t, 30)
	differ, deliveries, requests, alerts, crashes, first := 0, 0, 0, 0, 0, ""
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, seed)
			s.faults = 0.03
			tr := newWatchingTrial(s)
			tr.watch(s)
			want, have := tr.want(), tr.have(s)
			deliveries, requests, crashes, alerts = deliveries+len(tr.queue), requests+s.requests, crashes+s.crashes, alerts+len(want)
			if !maps.Equal(want, have) {
				if differ++; differ == 1 { // an error of the bubble would end the trials
					first = fmt.Sprintf("seed %d: min %d: (-definition +tables)\n%s", seed, tr.rule.Min, cmp.Diff(want, have))
				}
			}
		})
	}
	if differ > 0 {
		t.Error(first)
	}
	t.Logf("%d trials, %d deliveries, %d requests, %d crashes, %d alerts: %d differ", n, deliveries, requests, crashes, alerts, differ)
	if alerts < n/2 {
		t.Errorf("%d alerts in %d trials: too few to say anything", alerts, n)
	}
}

// TestAnyStallOfATimer stalls a timer at each of its requests, while an event of the cell that
// it judges arrives in another process. In the end the alerts are those of the definition:
// no window is low. This is what rule R3 of handlers/window is for.
func TestAnyStallOfATimer(t *testing.T) {
	stalls := 0
	for seed := range uint64(3) {
		for at, more := 0, true; more; at++ {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, seed)
				s.faults = 0
				begin := time.Date(2026, 2, 1, 6, 0, 0, 0, time.UTC)
				tr := &watchingTrial{rule: window.Rule{Name: "Contoso", Width: 4 * time.Hour, Min: 1}, now: begin}
				tr.start = tr.rule.CellOf(begin) - 1
				tr.last = tr.start + 5
				tr.now, tr.end = begin, tr.rule.CellEnd(tr.last).Add(window.Lateness)
				tr.events = []alert.Occurrence{countedEvent("pump-1", 1, begin), countedEvent("pump-1", 2, tr.rule.CellBegin(tr.last))}
				a, b := tr.counts(s.start(0)), tr.counts(s.start(1))
				h := tr.rule.LowHash()
				do := func(f func() error) {
					t.Helper()
					if err := s.do(s.processes[0], f); err != nil {
						t.Error(err)
					}
				}
				do(func() error { return a.mark(t.Context(), hex.EncodeToString(h[:]), startMark, tr.start) })
				do(func() error { return a.Count(t.Context(), tr.rule, tr.events[:1]) })
				tr.now = tr.end.Add(-time.Hour)
				tick := func() error {
					_, err := a.Watch(t.Context(), tr.rule, countedEvent("", 0, begin))
					return err
				}
				do(tick)
				tr.now = tr.end
				s.requests = 0
				more = s.stall(at, tick, func() error { return b.Count(t.Context(), tr.rule, tr.events[1:]) })
				if !more {
					do(func() error { return b.Count(t.Context(), tr.rule, tr.events[1:]) })
				}
				stalls++
				if want, have := tr.want(), tr.have(s); len(want) > 0 || len(have) > 0 {
					t.Errorf("stalled at request %d: %v, want %v", at, have, want)
				}
			})
		}
	}
	t.Logf("%d stalls", stalls)
	if stalls < 60 {
		t.Errorf("%d stalls: too few to say anything", stalls)
	}
}

// TestAnyCrashOfAFirstEvent makes one fault of each kind at each request that counts the first
// event of a key, which then comes again. Nothing else comes of the key, and so its first
// window after that is low. It is if the key is registered before the row of its cell is
// written: a key that is not registered is never judged, and an event that finds itself in
// the row does not register it.
func TestAnyCrashOfAFirstEvent(t *testing.T) {
	faults := 0
	for kind := range 4 {
		for planned, more := 1, true; more; planned++ {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, 7)
				begin := time.Date(2026, 2, 1, 6, 0, 0, 0, time.UTC)
				tr := &watchingTrial{rule: window.Rule{Name: "Contoso", Width: 4 * time.Hour, Min: 1}, now: begin}
				tr.start = tr.rule.CellOf(begin) - 1
				tr.last = tr.start + 7
				tr.end = tr.rule.CellEnd(tr.last).Add(window.Lateness)
				tr.events = []alert.Occurrence{countedEvent("pump-1", 1, begin)}
				h := tr.rule.LowHash()
				count := func(p *process) error { return tr.counts(p).Count(t.Context(), tr.rule, tr.events) }
				again := func(p *process) func() error {
					return func() error { return count(p) }
				}
				s.planned = -1
				p := s.start(0)
				if err := s.do(p, func() error {
					return tr.counts(p).mark(t.Context(), hex.EncodeToString(h[:]), startMark, tr.start)
				}); err != nil {
					t.Fatal(err)
				}
				s.requests, s.planned, s.kind = 0, planned, kind
				err := s.do(p, again(p))
				more = s.requests >= planned
				s.planned = -1
				if err != nil {
					p = s.processes[0] // which was started in place of one that crashed
					if err := s.do(p, again(p)); err != nil {
						t.Fatal(err)
					}
				}
				tr.now = tr.end
				if err := s.do(p, func() error {
					_, err := tr.counts(p).Watch(t.Context(), tr.rule, countedEvent("", 0, begin))
					return err
				}); err != nil {
					t.Fatal(err)
				}
				if want, have := tr.want(), tr.have(s); len(want) != 1 || !maps.Equal(want, have) {
					t.Errorf("fault %d at request %d: (-definition +tables)\n%s", kind, planned, cmp.Diff(want, have))
				}
				faults++
			})
		}
	}
	t.Logf("%d faults", faults-4)
	if faults < 20 {
		t.Errorf("%d faults: too few to say anything", faults)
	}
}

// TestTimerGoesOn checks that a timer that ended before all keys of a cell were judged does
// not judge those again that it has judged, so that it comes to an end however many there are.
func TestTimerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 5)
		s.planned = -1
		begin := time.Date(2026, 2, 1, 6, 0, 0, 0, time.UTC)
		tr := &watchingTrial{rule: window.Rule{Name: "Contoso", Width: 4 * time.Hour, Min: 1}, now: begin}
		tr.start = tr.rule.CellOf(begin) - 1
		tr.last = tr.start + 5
		tr.end = tr.rule.CellEnd(tr.last).Add(window.Lateness)
		for i := range 40 {
			tr.events = append(tr.events, countedEvent(fmt.Sprint("pump-", i), i, begin))
		}
		h := tr.rule.LowHash()
		p := s.start(0)
		do := func(f func(c *Counts) error) error {
			return s.do(p, func() error { return f(tr.counts(p)) })
		}
		if err := do(func(c *Counts) error {
			return c.mark(t.Context(), hex.EncodeToString(h[:]), startMark, tr.start)
		}); err != nil {
			t.Fatal(err)
		}
		if err := do(func(c *Counts) error { return c.Count(t.Context(), tr.rule, tr.events) }); err != nil {
			t.Fatal(err)
		}
		// watch runs the timer until the deadline of an invocation. A step of the service takes ten milliseconds.
		watch := func(patience time.Duration) (requests int, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s.requests = 0
			s.stepped = func() { time.Sleep(10 * time.Millisecond) }
			err = do(func(c *Counts) error {
				_, err := c.Watch(ctx, tr.rule, countedEvent("", 0, begin))
				return err
			})
			s.stepped = nil
			return s.requests, err
		}
		tr.now = tr.rule.CellEnd(tr.last - 1).Add(window.Lateness)
		if _, err := watch(time.Hour); err != nil {
			t.Fatal(err)
		}
		tr.now = tr.end
		const patience = 4 * time.Second
		first, err := watch(patience)
		if err == nil {
			t.Fatalf("all was judged with %d requests", first)
		}
		invocations := 1
		for ; err != nil && invocations < 10; invocations++ {
			_, err = watch(patience)
		}
		if err != nil || invocations == 1 {
			t.Errorf("after %d invocations: %v", invocations, err)
		}
		if want, have := tr.want(), tr.have(s); len(want) != 40 || !maps.Equal(want, have) {
			t.Errorf("(-definition +tables)\n%s", cmp.Diff(want, have))
		}
		t.Logf("%d requests at first, %d invocations in all", first, invocations)
	})
}
