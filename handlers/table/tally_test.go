package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// versioned returns one version of a tally of the alert of these tests. Each version comes in
// an event of its own.
func versioned(item string, seq, n int) alert.Occurrence {
	o := occurred("contoso-hub", fmt.Sprint(item, "-", seq), noon)
	o.Tally = alert.Tally{Item: item, N: n, Seq: seq}
	return o
}

// TestTally records versions step by step, and checks what each does to the alert.
func TestTally(t *testing.T) {
	type state struct {
		occurrences int
		status      alert.Status
		changes     int
	}
	person := func(status alert.Status) func(*testing.T, *Alerts) {
		return func(t *testing.T, s *Alerts) {
			t.Helper()
			c := alert.Change{Status: status, Reason: "seen", By: alert.Person{Name: "alice@contoso.example"}}
			if _, err := s.Change(t.Context(), refOf(versioned("a", 1, 1)), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	typed := func(t *testing.T, s *Alerts) {
		merge(t, s, versioned("a", 1, 1), map[string]any{"Status": "under review"})
	}
	deleted := func(t *testing.T, s *Alerts) {
		t.Helper()
		o := versioned("a", 1, 1)
		if _, err := s.table.client.DeleteEntity(t.Context(), partitionKey(o), alertKey(o.ID), nil); err != nil {
			t.Fatal(err)
		}
	}
	type step struct {
		before func(*testing.T, *Alerts)
		record alert.Occurrence
		want   alert.Outcome
		then   state // zero if there is no alert
	}
	for name, steps := range map[string][]step{
		"to and fro": {
			{nil, versioned("a", 1, 3), alert.New, state{3, alert.Active, 0}},
			{nil, versioned("a", 1, 3), alert.Known, state{3, alert.Active, 0}},
			{nil, versioned("a", 3, 5), alert.Counted, state{5, alert.Active, 0}},
			{nil, versioned("a", 2, 4), alert.Known, state{5, alert.Active, 0}},
			{nil, versioned("b", 1, 1), alert.Counted, state{6, alert.Active, 0}},
			{nil, versioned("a", 4, 1), alert.Counted, state{2, alert.Active, 0}},
			{nil, versioned("a", 5, 1), alert.Known, state{2, alert.Active, 0}},
			{nil, versioned("a", 4, 7), alert.Known, state{2, alert.Active, 0}},
			{nil, versioned("b", 2, 0), alert.Counted, state{1, alert.Active, 0}},
			{nil, versioned("a", 6, 0), alert.Counted, state{0, alert.Resolved, 1}},
			{nil, versioned("b", 3, 2), alert.Reopened, state{2, alert.Active, 2}},
			{nil, versioned("b", 4, 0), alert.Counted, state{0, alert.Resolved, 3}},
		},
		"taken back before it came": {
			{nil, versioned("a", 2, 0), alert.Known, state{}},
			{nil, versioned("a", 1, 3), alert.Known, state{}},
			{nil, versioned("a", 3, 2), alert.New, state{2, alert.Active, 0}},
		},
		"what a person decided stays": {
			{nil, versioned("a", 1, 1), alert.New, state{1, alert.Active, 0}},
			{person(alert.InProgress), versioned("a", 2, 0), alert.Counted, state{0, alert.InProgress, 1}},
			{nil, versioned("a", 3, 1), alert.Counted, state{1, alert.InProgress, 1}},
			{person(alert.Active), versioned("a", 4, 0), alert.Counted, state{0, alert.Active, 2}},
			{person(alert.Resolved), versioned("a", 5, 0), alert.Known, state{0, alert.Resolved, 3}},
			{nil, versioned("a", 6, 4), alert.Reopened, state{4, alert.Active, 4}},
		},
		"by hand: a typed status stays": {
			{nil, versioned("a", 1, 1), alert.New, state{1, alert.Active, 0}},
			{typed, versioned("a", 2, 0), alert.Counted, state{0, "under review", 0}},
		},
		"by hand: the alert was deleted": {
			{nil, versioned("a", 1, 1), alert.New, state{1, alert.Active, 0}},
			{nil, versioned("a", 2, 0), alert.Counted, state{0, alert.Resolved, 1}},
			{deleted, versioned("b", 1, 1), alert.New, state{1, alert.Active, 0}},
			{nil, versioned("b", 2, 0), alert.Counted, state{0, alert.Resolved, 2}},
		},
		"less of a closed alert does not open it": {
			{nil, versioned("a", 1, 4), alert.New, state{4, alert.Active, 0}},
			{person(alert.Resolved), versioned("a", 2, 1), alert.Counted, state{1, alert.Resolved, 1}},
			{nil, versioned("a", 3, 0), alert.Counted, state{0, alert.Resolved, 1}},
		},
		"beside an event that counts once": {
			{nil, occurred("contoso-hub", "plain", noon), alert.New, state{1, alert.Active, 0}},
			{nil, versioned("plain", 1, 2), alert.Counted, state{3, alert.Active, 0}},
			{nil, versioned("plain", 2, 0), alert.Counted, state{1, alert.Active, 0}},
			{nil, occurred("contoso-hub", "plain-2", noon), alert.Counted, state{2, alert.Active, 0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			byHand := strings.HasPrefix(name, "by hand")
			s := open(t, emulator(t).ConnectionString())
			for i, step := range steps {
				if step.before != nil {
					step.before(t, s)
				}
				got := put(t, s, step.record)[0]
				all := list(t, s, alert.Query{})
				var then state
				if len(all) > 0 {
					then = state{all[0].Occurrences, all[0].Status, all[0].Changes}
				}
				if got != step.want || then != step.then {
					t.Errorf("step %d: %s and %+v, want %s and %+v", i, got, then, step.want, step.then)
				}
				if len(all) > 0 && all[0].Status == alert.Resolved && all[0].Occurrences == 0 && all[0].StatusBy.Name == byHandler && all[0].StatusReason != correctedReason {
					t.Errorf("step %d: resolved since %q", i, all[0].StatusReason)
				}
				history, err := s.History(t.Context(), refOf(step.record))
				if err != nil || len(history) != then.changes && !byHand {
					t.Errorf("step %d: %d rows of history, want %d, %v", i, len(history), then.changes, err)
				}
			}
			if !byHand { // the summary does not know what people do in the table itself
				summariesAreExact(t, s)
			}
		})
	}
}

// TestTallyIsRefused checks that what is not a version is rejected.
func TestTallyIsRefused(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	recorded, err := s.Record(t.Context(), versioned("a", 0, 1), versioned("a", 1, -1))
	if err != nil || recorded[0].Outcome != alert.Rejected || recorded[1].Outcome != alert.Rejected || !errors.Is(recorded[1].Err, errRejected) {
		t.Errorf("%v, %v", recorded, err)
	}
}

// TestTalliesInAnyOrder records versions of several tallies, beside events that count once,
// in any order and repeatedly, in two instances whose requests and answers get lost. In the
// end the alert counts the newest version of each.
func TestTalliesInAnyOrder(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 6))
		want, newest := 0, map[string]alert.Tally{}
		var all []alert.Occurrence
		for i := range 5 {
			item := fmt.Sprint("item-", i)
			for seq := 1; seq <= 1+r.IntN(5); seq++ {
				o := versioned(item, seq, r.IntN(4))
				newest[item] = alert.Tally{N: o.Tally.N, Seq: seq}
				all = append(all, o, o)
			}
			want += newest[item].N
		}
		if seed%2 == 0 {
			for i := range 5 {
				all = append(all, occurred("contoso-hub", fmt.Sprint("plain-", i), noon), occurred("contoso-hub", fmt.Sprint("plain-", i), noon))
				want++
			}
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		uri, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
			switch {
			case n%9 == 0:
				return azurite.Lose
			case n%13 == 0:
				return azurite.LoseBroken
			}
			return azurite.Pass
		})
		s := open(t, uri)
		instances := []*Alerts{s, again(t, s, uri)}
		var wait sync.WaitGroup
		for i, part := range [][]alert.Occurrence{all[:len(all)/2], all[len(all)/2:]} {
			wait.Go(func() {
				for len(part) > 0 {
					n := 1 + len(part)/3
					for {
						if _, err := instances[i].Record(t.Context(), part[:n]...); err == nil || t.Context().Err() != nil {
							break
						}
					}
					part = part[n:]
				}
			})
		}
		wait.Wait()
		got := list(t, s, alert.Query{})
		if len(got) > 1 || len(got) == 1 && got[0].Occurrences != want || len(got) == 0 && want != 0 {
			t.Errorf("seed %d: %d alerts, want one with %d occurrences: %+v", seed, len(got), want, got)
		}
		summariesAreExact(t, s)
		if len(got) == 0 {
			continue
		}
		_, evidence := find(t, s, got[0].Ref())
		have := map[string]alert.Tally{}
		for _, e := range evidence {
			for item := range newest {
				if e.Tally.Seq > 0 && e.EventID == fmt.Sprint(item, "-", e.Tally.Seq) {
					have[item] = e.Tally
				}
			}
		}
		if diff := cmp.Diff(newest, have); diff != "" {
			t.Errorf("seed %d: evidence (-newest +have):\n%s", seed, diff)
		}
	}
}

// TestTallyStalls stalls an instance before it writes, while another one records a newer
// version. The newer one stays, also where there is no alert whose row would tell.
func TestTallyStalls(t *testing.T) {
	for name, c := range map[string]struct{ first, stalled, newer alert.Occurrence }{
		"without an alert": {versioned("a", 1, 0), versioned("a", 2, 0), versioned("a", 3, 0)},
		"the same number":  {versioned("a", 1, 2), versioned("a", 2, 2), versioned("a", 3, 2)},
		"with an alert":    {versioned("a", 1, 2), versioned("a", 2, 5), versioned("a", 3, 1)},
	} {
		direct := open(t, emulator(t).ConnectionString())
		put(t, direct, c.first)
		once := false
		uri, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
			if strings.HasSuffix(r.URL.Path, "$batch") && !once {
				once = true
				put(t, direct, c.newer)
			}
			return azurite.Pass
		})
		got := put(t, again(t, direct, uri), c.stalled)[0]
		e, _, err := direct.readEvidence(t.Context(), partitionKey(c.newer), evidenceKey(c.newer))
		if got != alert.Known || err != nil || !once || int(e.Seq) != c.newer.Tally.Seq || int(e.Count) != c.newer.Tally.N {
			t.Errorf("%s: %s, and the evidence has version %d with %d, %v", name, got, e.Seq, e.Count, err)
		}
	}
}

// TestTallyShowsTheNewest records versions of two items in each order: the alert shows what
// the newest version of the first item says, also if an older one comes later.
func TestTallyShowsTheNewest(t *testing.T) {
	saying := func(item string, seq, n int, at time.Time, message string) alert.Occurrence {
		o := versioned(item, seq, n)
		o.Event.Time, o.Message = at, message
		return o
	}
	versions := []alert.Occurrence{
		saying("a", 1, 1, noon, "aaa, once"), saying("a", 2, 3, noon, "three times"), saying("b", 1, 1, noon.Add(time.Minute), "a later item"),
	}
	for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {0, 2, 1}, {2, 0, 1}, {1, 2, 0}} {
		s := open(t, emulator(t).ConnectionString())
		for _, i := range order {
			if _, err := s.Record(t.Context(), versions[i]); err != nil {
				t.Fatal(err)
			}
		}
		a, _, err := s.Find(t.Context(), refOf(versions[0]))
		if err != nil || a.Message != "three times" || a.Occurrences != 4 {
			t.Errorf("in the order %v: %q with %d occurrences, %v", order, a.Message, a.Occurrences, err)
		}
	}
}

// TestTallyShowsItsCourse records versions of the items of a day in random orders, repeatedly:
// the alert says the same of all of them in each. It is what a device does that is refused
// with a token that expired each six minutes, for four hours, and what a storm does that grows.
func TestTallyShowsItsCourse(t *testing.T) {
	of := func(what string, minute, seq, n int, last time.Duration, address string) alert.Occurrence {
		o := versioned(fmt.Sprint(what, minute), seq, n)
		o.Event.Time = noon.Add(time.Duration(minute) * time.Minute)
		o.Until, o.UntilIPAddress = o.Event.Time.Add(last), address
		o.Tally.What, o.Tally.From = what, o.Event.Time.Truncate(10*time.Minute)
		o.Message = fmt.Sprintf("%d at %s.", n, o.Event.Time.Format("15:04"))
		return o
	}
	var continual []alert.Occurrence
	for minute := 0; minute < 240; minute += 10 {
		continual = append(continual, of(alert.ExpiredTokens, minute, 1, 1, 0, "203.0.113.XXX"), of(alert.ExpiredTokens, minute, 2, 1+minute/10%2, 6*time.Minute, "198.51.100.XXX"))
	}
	storm := alert.ExpiredTokens + alert.OfDevices
	for name, test := range map[string]struct {
		versions []alert.Occurrence
		n        int
		message  string
		end      time.Duration
		address  string
	}{
		"continually": {continual, 36, "1 at 12:00. That happened 36 times in 24 periods of ten minutes, the first from 12:00 and the last from 15:50 UTC." +
			" A device whose clock is wrong tries on and on like this. So does somebody who has a token that is no longer valid.", 236 * time.Minute, "198.51.100.XXX"},
		"a storm that grows": {[]alert.Occurrence{of(storm, 0, 1, 120, 0, ""), of(storm, 10, 1, 3000, 9*time.Minute, ""), of(storm, 0, 2, 130, 9*time.Minute, "")}, 3130,
			"130 at 12:00. The most of that day were 3000 devices in the ten minutes from 12:10 UTC (token expired). In all periods of ten minutes they are 3130, where a device counts once in each.", 19 * time.Minute, ""},
		"one is taken back": {[]alert.Occurrence{of(storm, 0, 1, 120, 0, ""), of(storm, 10, 1, 130, time.Minute, ""), of(storm, 10, 2, 0, time.Minute, "")}, 120, "120 at 12:00.", 11 * time.Minute, ""},
	} {
		for seed := range uint64(6) {
			s := open(t, emulator(t).ConnectionString())
			r := rand.New(rand.NewPCG(seed, 9))
			all := slices.Concat(test.versions, test.versions)
			if seed > 0 {
				r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			}
			for rest := all; len(rest) > 0; {
				n := 1 + r.IntN(min(len(rest), 5))
				if _, err := s.Record(t.Context(), rest[:n]...); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			a, _, err := s.Find(t.Context(), refOf(all[0]))
			if err != nil || a.Occurrences != test.n || a.Message != test.message || a.LastActorIPAddress != test.address {
				t.Errorf("%s, seed %d: %d, %q, last from %q, %v", name, seed, a.Occurrences, a.Message, a.LastActorIPAddress, err)
			}
			if end := a.End.Sub(noon); end != test.end && !(name == "one is taken back" && end == 0) {
				t.Errorf("%s, seed %d: it ends after %v, want %v", name, seed, end, test.end)
			}
		}
	}
}

// TestDevicesAreKept records an alert of very many devices: the evidence lists them. A list that is
// too long for a row is cut.
func TestDevicesAreKept(t *testing.T) {
	for n, want := range map[int]int{0: 0, 5_000: 5_000, 200_000: 100} {
		s := open(t, emulator(t).ConnectionString())
		o := versioned("storm", 1, n+1)
		random := rand.New(rand.NewPCG(1, 2))
		for range n {
			o.Devices = append(o.Devices, fmt.Sprintf("devices/meter-%08x", random.Uint32()))
		}
		if _, err := s.Record(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		_, evidence, err := s.Find(t.Context(), refOf(o))
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range evidence {
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Devices) < want || len(e.Devices) > n || !slices.Equal(e.Devices, o.Devices[:len(e.Devices)]) {
				t.Errorf("%d devices: %d are kept", n, len(e.Devices))
			}
		}
	}
	if _, err := unpackDevices([]byte("no list")); err == nil {
		t.Error("a column that is no list is read")
	}
}
