package table

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// topicHost stands for whoever is told of raisings in the trials.
const topicHost = "contoso-alerts.example"

// Tell implements alert.Teller: one request for each raising, at which a process may crash like at
// any other.
func (p *process) Tell(ctx context.Context, raisings ...*alert.Raising) error {
	for _, r := range raisings {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+topicHost, strings.NewReader(raisingID(*r)))
		if err != nil {
			return err
		}
		response, err := p.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
	}
	return nil
}

func raisingID(r alert.Raising) string { return fmt.Sprint(r.Alert.ID, "/", r.Number) }

// raisings returns the raisings that the evidence in the tables knows, and complains of those
// that nobody was told of.
func (s *service) raisings() map[string]bool {
	known := map[string]bool{}
	for k, row := range s.tables[trialAlerts] {
		if !strings.HasPrefix(k.RowKey, evidenceRange+separator) || row["Raised"] == nil {
			continue
		}
		id := strings.Split(k.RowKey, separator)[1] + "/" + string(row["Raised"])
		if known[id] = true; s.told[id] == 0 {
			s.t.Errorf("nobody was told of raising %s", id)
		}
	}
	return known
}

// TestRaisings records step by step, and checks of which raisings people are to be told.
func TestRaisings(t *testing.T) {
	hidden := func(id string) alert.Occurrence {
		o := occurred("contoso-hub", id, noon)
		o.SuppressedBy = "rule-1"
		return o
	}
	plain := func(id string) alert.Occurrence { return occurred("contoso-hub", id, noon) }
	close := func(t *testing.T, s *Alerts) {
		t.Helper()
		if _, err := s.Change(t.Context(), refOf(plain("1")), alert.Change{Status: alert.Resolved, Reason: "seen", By: alert.Person{Name: "alice@contoso.example"}}); err != nil {
			t.Fatal(err)
		}
	}
	const none = -1
	type step struct {
		before func(*testing.T, *Alerts)
		record alert.Occurrence
		want   int // the number of the raising
	}
	for name, steps := range map[string][]step{
		"raised once": {
			{nil, plain("1"), 0}, {nil, plain("2"), none}, {nil, plain("1"), 0}, {nil, plain("2"), none},
		},
		"reopened": {
			{nil, plain("1"), 0}, {close, plain("1"), 0}, {nil, plain("2"), 2}, {nil, plain("3"), none}, {nil, plain("2"), 2}, {nil, plain("1"), 0},
		},
		"suppressed": {
			{nil, hidden("1"), none}, {nil, hidden("1"), none}, {nil, hidden("2"), none}, {nil, plain("3"), 1}, {nil, plain("3"), 1}, {nil, plain("1"), none},
		},
		"versions": {
			{nil, versioned("a", 1, 3), 0}, {nil, versioned("a", 1, 3), 0}, {nil, versioned("a", 2, 5), none}, {nil, versioned("a", 1, 3), 0},
			{nil, versioned("b", 1, 1), none}, {nil, versioned("b", 2, 0), none}, {nil, versioned("a", 3, 0), none}, {nil, versioned("b", 3, 1), 2}, {nil, versioned("b", 3, 1), 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			connection := emulator(t).ConnectionString()
			s := open(t, connection)
			for i, step := range steps {
				if step.before != nil {
					step.before(t, s)
				}
				if i%2 == 1 {
					s = again(t, s, connection) // another instance
				}
				recorded, err := s.Record(t.Context(), step.record)
				if err != nil || recorded[0].Err != nil {
					t.Fatalf("step %d: %v, %v", i, err, recorded[0].Err)
				}
				got := none
				if r := recorded[0].Raising; r != nil {
					got = r.Number
					now := list(t, s, alert.Query{})[0]
					if diff := cmp.Diff(now, r.Alert); diff != "" {
						t.Errorf("step %d: the alert of the raising (-table +raising):\n%s", i, diff)
					}
				}
				if got != step.want {
					t.Errorf("step %d: %s with raising %d, want %d", i, recorded[0].Outcome, got, step.want)
				}
			}
		})
	}
}

// TestRaisingsInAnyOrder records random occurrences in two or three processes that are
// interleaved at every request, with repeated deliveries and faults, while a person closes the alerts
// now and then. A process tells of what it is told to, and only then acknowledges. In the
// end each raising was told, and nothing else was.
//
// HUBWATCH_TRIALS is how many trials to make.
func TestRaisingsInAnyOrder(t *testing.T) {
	n := trials(t, 60)
	raised, reopened, requests, crashes := 0, 0, 0, 0
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, seed)
			alerts := func(p *process) *Alerts {
				s.mu.Lock()
				defer s.mu.Unlock()
				if p.memory == nil {
					p.memory = p.account().Alerts(trialAlerts)
				}
				return p.memory.(*Alerts)
			}
			var queue []alert.Occurrence
			for i := range 3 + s.r.IntN(12) {
				o := occurred("contoso-hub", fmt.Sprint(i), noon)
				if o = on(o, fmt.Sprint("root-", s.r.IntN(2))); s.r.IntN(4) == 0 {
					o.SuppressedBy = "rule-1"
				}
				if s.r.IntN(3) == 0 {
					o.Tally = alert.Tally{Item: fmt.Sprint("item-", s.r.IntN(2)), Seq: i + 1, N: s.r.IntN(3)}
				}
				queue = append(queue, slices.Repeat([]alert.Occurrence{o}, 1+s.r.IntN(3))...)
			}
			s.r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
			closing := alert.Change{Status: alert.Resolved, Reason: "seen", By: alert.Person{Name: "alice@contoso.example"}}
			changes := s.r.IntN(4)
			for i := range 2 + s.r.IntN(2) {
				s.start(i)
			}
			s.run(func() *task {
				if len(queue) == 0 {
					return nil
				}
				if changes > 0 && s.r.IntN(4) == 0 {
					changes--
					ref := refOf(queue[0])
					return &task{func(p *process) error { _, err := alerts(p).Change(t.Context(), ref, closing); return err }, func(bool) {}}
				}
				o := queue[0]
				queue = queue[1:]
				return &task{
					do: func(p *process) error {
						recorded, err := alerts(p).Record(t.Context(), o)
						if r := recorded[0].Raising; err == nil && r != nil {
							err = p.Tell(t.Context(), r)
						}
						return err
					},
					ended: func(ok bool) {
						if !ok {
							queue = append(queue, o)
						}
					},
				}
			})
			known := s.raisings()
			requests, crashes = requests+s.requests, crashes+s.crashes
			for id := range s.told {
				if strings.HasSuffix(id, "/0") {
					raised++
				} else {
					reopened++
				}
			}
			// A row of a tally knows its newest raising only.
			if told := slices.Collect(maps.Keys(s.told)); len(told) < len(known) {
				t.Errorf("seed %d: told %v, and the evidence knows %v", seed, told, known)
			}
		})
	}
	t.Logf("%d trials, %d raised, %d reopened, %d requests, %d crashes", n, raised, reopened, requests, crashes)
	if raised < n/2 || reopened < n/4 {
		t.Errorf("%d raised, %d reopened: too few to say anything", raised, reopened)
	}
}
