package table

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
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

// countingTrial is what is counted in one trial, and by how many processes.
type countingTrial struct {
	rule      window.Rule
	events    []alert.Occurrence // distinct
	queue     []alert.Occurrence // in the order in which they come, repeatedly
	now       time.Time
	processes int
}

// counting is a process as these trials have it.
type counter struct {
	counts *Counts
}

const trialAlerts = "alerts"

// counts returns the store of a process.
func (tr countingTrial) counts(p *process) *Counts {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.memory == nil {
		account := p.account()
		c := account.Counts("", account.Alerts(trialAlerts), nil, p)
		c.now = func() time.Time { return tr.now }
		p.memory = counter{c}
	}
	return p.memory.(counter).counts
}

// event returns event number i of a device.
func countedEvent(device string, i int, at time.Time) alert.Occurrence {
	o := occurred("contoso-hub", fmt.Sprint("event-", i), at)
	o.Entity = alert.Entity{Type: alert.Device, Name: device}
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, at)
	return o
}

// randomCounting returns the events of a trial: at few times, in bunches, over several days,
// in any order or nearly in order.
func randomCounting(r *rand.Rand) countingTrial {
	most, n, unit := r.IntN(5), 4+r.IntN(24), time.Hour
	width := int64(2 + r.IntN(12))
	if r.IntN(20) == 0 { // a large one
		most, n, width, unit = r.IntN(40), 40+r.IntN(100), width*10, 6*time.Minute
	}
	tr := countingTrial{rule: window.Rule{Name: "Contoso", Width: time.Duration(width) * unit, Max: &most}, now: time.Date(2026, 2, 4, 20, 0, 0, 0, time.UTC), processes: 2 + r.IntN(2)}
	begin := tr.now.Add(-70 * time.Hour)
	span := min(width*int64(2+r.IntN(5)), int64(90*time.Hour/unit))
	devices := 1 + r.IntN(2)
	for i := range n {
		at := r.Int64N(span)
		if r.IntN(3) == 0 {
			at = min(span-1, int64(i%3)*width+r.Int64N(3))
		}
		o := countedEvent(fmt.Sprint("device-", r.IntN(devices)), i, begin.Add(time.Duration(at)*unit))
		tr.events = append(tr.events, o)
		tr.queue = append(tr.queue, slices.Repeat([]alert.Occurrence{o}, 1+r.IntN(3))...)
	}
	if r.IntN(3) == 0 {
		slices.SortStableFunc(tr.queue, func(a, b alert.Occurrence) int { return a.Event.Time.Compare(b.Event.Time) })
	} else {
		r.Shuffle(len(tr.queue), func(i, j int) { tr.queue[i], tr.queue[j] = tr.queue[j], tr.queue[i] })
	}
	return tr
}

// count delivers all events to the processes until each was acknowledged.
func (tr countingTrial) count(s *service) {
	for i := range tr.processes {
		s.start(i)
	}
	queue := slices.Clone(tr.queue)
	s.run(func() *task {
		if len(queue) == 0 {
			return nil
		}
		n := min(1+s.r.IntN(3), len(queue))
		batch := slices.Clone(queue[:n])
		queue = queue[n:]
		return &task{
			do: func(p *process) error { return tr.counts(p).Count(context.Background(), tr.rule, batch) },
			ended: func(ok bool) {
				if !ok {
					queue = append(queue, batch...)
				}
			},
		}
	})
}

// countedAlert is what an alert says, apart from its texts.
type countedAlert struct {
	Occurrences int
	Start, End  string
	Proofs      map[string]string // by slot
}

// want is the definition, by brute force over the set of all events.
func (tr countingTrial) want() map[string]countedAlert {
	all := map[string]countedAlert{}
	byDevice := map[string][]window.Event{}
	for _, o := range tr.events {
		byDevice[o.Entity.Name] = append(byDevice[o.Entity.Name], window.Event{Time: o.Event.Time.UnixNano(), Hash: digest(identity(o)...)})
	}
	for device, events := range byDevice {
		slices.SortFunc(events, window.Event.Compare)
		last := map[string]window.Slot{}
		for i, e := range events {
			n := 0
			for _, f := range events[:i+1] {
				if f.Time > e.Time-int64(tr.rule.Width) {
					n++
				}
			}
			if n <= *tr.rule.Max {
				continue
			}
			slot := window.Slot(e.Time / int64(tr.rule.Width))
			day := alert.Day(time.Unix(0, int64(slot)*int64(tr.rule.Width)))
			name := day.Format(time.DateOnly) + " " + device
			a := all[name]
			if a.Proofs == nil {
				a.Proofs = map[string]string{}
			}
			if of := tr.rule.Of(slot).String(); a.Proofs[of] == "" {
				a.Proofs[of] = fmt.Sprint(window.Proof(events[i-*tr.rule.Max : i+1]))
				if a.Occurrences == 0 || last[name] != slot-1 {
					a.Occurrences++
				}
				last[name] = slot
				at := e.At()
				if end := day.AddDate(0, 0, 1).Add(-100); at.After(end) {
					at = end
				}
				if a.End = edmTime(at); a.Start == "" {
					a.Start = a.End
				}
			}
			all[name] = a
		}
	}
	return all
}

// have is what the tables say.
func (tr countingTrial) have(s *service) map[string]countedAlert {
	all, ids := map[string]countedAlert{}, map[string]string{}
	alerts, summaries := 0, 0
	for _, row := range s.tables[trialAlerts] {
		var k key
		entity := s.marshal(row)
		if err := json.Unmarshal(entity, &k); err != nil {
			s.t.Error(err)
		}
		p, _ := parsePartition(k.PartitionKey)
		switch {
		case strings.HasPrefix(k.RowKey, alertRange+separator):
			r, err := decodeRow(entity)
			if err != nil {
				s.t.Error(err)
			}
			a, err := r.alert()
			if err != nil || alert.Day(a.Start) != p.date() || a.Status != alert.Active {
				s.t.Errorf("alert %+v: %v", a, err)
			}
			name := p.date().Format(time.DateOnly) + " " + a.Entity.Name
			ids[a.ID] = name
			c := all[name]
			c.Occurrences, c.Start, c.End = a.Occurrences, r.StartTimeUtc, r.EndTimeUtc
			all[name] = c
			alerts++
		case k.RowKey == summaryKey:
			var sum summary
			if err := decode(entity, &sum); err == nil {
				err = json.Unmarshal([]byte(sum.Counts), &sum.counts)
				if err != nil {
					s.t.Error(err)
				}
			}
			summaries += sum.total()
		}
	}
	for _, row := range s.tables[trialAlerts] {
		var e evidence
		if err := json.Unmarshal(s.marshal(row), &e); err != nil || !strings.HasPrefix(e.RowKey, evidenceRange+separator) {
			continue
		}
		proof, err := window.UnpackProof(e.Proof)
		if err != nil {
			s.t.Error(err)
		}
		name := ids[e.SystemAlertId]
		a := all[name]
		if a.Proofs == nil {
			a.Proofs = map[string]string{}
		}
		a.Proofs[e.RowKey[strings.LastIndex(e.RowKey, separator)+1:]] = fmt.Sprint(proof)
		all[name] = a
	}
	if raised := s.raisings(); len(raised) != alerts || len(s.told) != alerts {
		s.t.Errorf("%d alerts, the evidence knows of %d raisings, and %v was told", alerts, len(raised), s.told)
	}
	if alerts != summaries {
		s.t.Errorf("%d alerts, and the summaries have %d", alerts, summaries)
	}
	return all
}

// differs returns how what the tables say differs from the definition, or "".
func (tr countingTrial) differs(s *service) string {
	want, have := tr.want(), tr.have(s)
	if maps.EqualFunc(want, have, func(a, b countedAlert) bool {
		return a.Occurrences == b.Occurrences && a.Start == b.Start && a.End == b.End && maps.Equal(a.Proofs, b.Proofs)
	}) {
		return ""
	}
	return cmp.Diff(want, have)
}

// TestCountsInAnyOrder counts random events in two or three processes that are interleaved
// at every request, with repeated deliveries, reads that see a range row by row, and faults
// at four per cent of all requests: crashes, lost answers, requests that fail. In the end
// the alerts, their numbers, times and proofs are those of the definition.
//
// HUBWATCH_TRIALS is how many trials to make; all differing ones are counted.
func TestCountsInAnyOrder(t *testing.T) {
	n := trials(t, 60)
	differ, deliveries, requests, alerts, crashes, first := 0, 0, 0, 0, 0, ""
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, seed)
			tr := randomCounting(s.r)
			tr.count(s)
			deliveries, requests, crashes, alerts = deliveries+len(tr.queue), requests+s.requests, crashes+s.crashes, alerts+len(tr.want())
			if diff := tr.differs(s); diff != "" {
				if differ++; differ == 1 { // an error of the bubble would end the trials
					first = fmt.Sprintf("seed %d: max %d in %v: (-definition +tables)\n%s", seed, *tr.rule.Max, tr.rule.Width, diff)
				}
			}
		})
	}
	if differ > 0 {
		t.Error(first)
	}
	t.Logf("%d trials, %d deliveries, %d requests, %d crashes, %d alerts: %d differ", n, deliveries, requests, crashes, alerts, differ)
	if alerts < n {
		t.Errorf("%d alerts in %d trials: too few to say anything", alerts, n)
	}
}
