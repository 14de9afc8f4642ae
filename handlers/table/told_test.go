package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/notify"
)

var _ alert.Told = (*Told)(nil)

// openTold returns a store of its own on the service at a connection string.
func openTold(t testing.TB, connection string) *Told {
	t.Helper()
	return account(t, connection).Told(fmt.Sprintf("t%d", tables.Add(1)))
}

// TestTold tries each method on the emulator, with a second process.
func TestTold(t *testing.T) {
	connection := emulator(t).ConnectionString()
	first := openTold(t, connection)
	second := account(t, connection).Told(first.prefix)
	k := alert.ToldKey{Day: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), ID: "00000000-0000-0000-0000-000000000001/0"}
	if known, err := first.Read(t.Context(), k); err != nil || known.Tag != "" || len(known.Done) != 0 || !known.Slot.IsZero() {
		t.Fatalf("before anything: %+v, %v", known, err)
	}
	until := time.Date(2026, 2, 1, 12, 0, 30, 0, time.UTC)
	e, err := first.Take(t.Context(), k, alert.Telling{Until: until})
	if err != nil || e.Tag == "" {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := second.Take(t.Context(), k, alert.Telling{Until: until}); !errors.Is(err, alert.ErrBeingTold) {
		t.Errorf("taken twice: %v", err)
	}
	old := e
	e.Slot = alert.Alone
	if e, err = first.Take(t.Context(), k, e); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Take(t.Context(), k, old); !errors.Is(err, alert.ErrBeingTold) {
		t.Errorf("taken with an old version: %v", err)
	}
	for range 2 {
		if err := errors.Join(first.Mark(t.Context(), k, "ops", ""), second.Mark(t.Context(), k, "a|b/c", "HTTP 410")); err != nil {
			t.Fatal(err)
		}
	}
	e.Until = time.Time{}
	if _, err = first.Take(t.Context(), k, e); err != nil {
		t.Fatal(err)
	}
	known, err := second.Read(t.Context(), k)
	if err != nil || !known.Slot.Equal(alert.Alone) || known.Until.After(alert.Alone) || !maps.Equal(known.Done, map[string]bool{"ops": true, "a|b/c": true}) || !maps.Equal(known.Lost, map[string]string{"a|b/c": "HTTP 410"}) {
		t.Errorf("have %+v, %v", known, err)
	}

	d := alert.Due{Slot: time.Date(2026, 2, 1, 12, 10, 0, 0, time.UTC), Hub: "Contoso-Hub"}
	free := 0
	for i := range 12 {
		ok, err := []*Told{first, second}[i%2].Seat(t.Context(), d, 1, 5)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			free++
		}
	}
	if free != 5 {
		t.Errorf("%d had a seat, and there are 5", free)
	}
	third := account(t, connection).Told(first.prefix)
	for _, step := range []struct {
		store *Told
		level int
		want  bool
	}{ // the lower ones take no seat of the higher ones, and the higher ones take theirs
		{first, 0, false}, {second, 2, true}, {second, 2, true}, {third, 1, false}, {third, 2, true}, {first, 2, true}, {second, 2, true}, {third, 2, false}, {first, 2, false},
		{second, 3, true}, {third, 0, false},
	} {
		if ok, err := step.store.Seat(t.Context(), d, step.level, 5); err != nil || ok != step.want {
			t.Errorf("a seat at level %d: %v, %v, want %v", step.level, ok, err, step.want)
		}
	}
	for i := range 3 {
		for range 2 {
			if err := second.Defer(t.Context(), d, fmt.Sprint(i), fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := second.Defer(t.Context(), d, "long", make([]byte, mostDocument+1)); err == nil {
		t.Error("a document that is too long is taken")
	}
	for id, want := range map[string]bool{"0": true, "3": false} {
		if is, err := first.IsDeferred(t.Context(), d, id); err != nil || is != want {
			t.Errorf("%s is in the digest: %v, %v", id, is, err)
		}
	}
	if is, err := first.IsDeferred(t.Context(), alert.Due{Slot: d.Slot.AddDate(0, 1, 0), Hub: d.Hub}, "0"); err != nil || is {
		t.Errorf("in a table that is not there: %v, %v", is, err)
	}
	if dues, err := first.Dues(t.Context(), d.Slot); err != nil || len(dues) != 0 {
		t.Errorf("before its time: %v, %v", dues, err)
	}
	dues, err := first.Dues(t.Context(), d.Slot.Add(10*time.Minute))
	if diff := cmp.Diff([]alert.Due{d}, dues); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	var documents []string
	for document, err := range first.Deferred(t.Context(), d) {
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(document))
	}
	slices.Sort(documents)
	if diff := cmp.Diff([]string{`{"n":0}`, `{"n":1}`, `{"n":2}`}, documents); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if err := first.Close(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if dues, err := first.Dues(t.Context(), d.Slot.AddDate(0, 0, 1)); err != nil || len(dues) != 0 {
		t.Errorf("after it was closed: %v, %v", dues, err)
	}
	for _, step := range []struct{ days, want int }{{4, 0}, {5, 0}, {6, 1}, {7, 0}} {
		if n, err := first.Expire(t.Context(), k.Day.AddDate(0, 0, step.days)); err != nil || n != step.want {
			t.Errorf("after %d days %d tables are dropped, want %d: %v", step.days, n, step.want, err)
		}
	}
}

// TestToldLostAnswers loses the answer to each request. Whoever took it does not take it for
// another's for longer than a lease.
func TestToldLostAnswers(t *testing.T) {
	uri, _ := through(t, func(n int, r *http.Request) azurite.Fault {
		if n%2 == 0 && r.Method == http.MethodPost {
			return azurite.Lose
		}
		return azurite.Pass
	})
	s := openTold(t, uri)
	k := alert.ToldKey{Day: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), ID: "x/0"}
	for range 3 {
		if err := s.Mark(t.Context(), k, "ops", ""); err != nil {
			t.Fatal(err)
		}
	}
	known, err := s.Read(t.Context(), k)
	if err != nil || !known.Done["ops"] {
		t.Errorf("%+v, %v", known, err)
	}
}

// heardChannel is a channel that remembers what it was sent, whatever crashes.
type heardChannel struct {
	mu  sync.Mutex
	got []notify.Message
}

func (*heardChannel) Name() string { return "ops" }

func (c *heardChannel) Send(_ context.Context, m notify.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	return nil
}

// slotOfDigests is how long raisings are counted together.
const slotOfDigests = 10 * time.Minute

type noQuarantine struct{ t *testing.T }

func (q noQuarantine) Quarantine(_ context.Context, a alert.Quarantined) error {
	q.t.Errorf("quarantined: %s", a.Reason)
	return nil
}

// TestTellingInAnyOrder tells raisings in two or three processes that are interleaved at
// every request, each delivered several times, with crashes, lost answers and requests that
// fail, also until the next ten minutes have begun. Each raising is told, by itself or in one digest,
// and never in both ways. A message is sent again only where there was a fault, and says the same.
func TestTellingInAnyOrder(t *testing.T) {
	n := trials(t, 50)
	raisings, twice, crashes, digests := 0, 0, 0, 0
	wait := []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second, slotOfDigests} // as Event Grid waits
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, seed)
			faulty := seed%2 == 1
			if !faulty {
				s.faults = 0
			}
			c := &heardChannel{}
			after := s.r.IntN(4)
			order := rand.New(rand.NewPCG(seed, 78)) // the waits do not change what else happens
			teller := func(p *process) *notify.Teller {
				p.s.mu.Lock()
				defer p.s.mu.Unlock()
				if p.memory == nil {
					p.memory = &notify.Teller{
						Channels: []notify.Configured{{Channel: c, Least: alert.Low}}, Told: p.account().Told(""), Quarantine: noQuarantine{t}, DigestAfter: after, Now: time.Now,
					}
				}
				return p.memory.(*notify.Teller)
			}
			var queue []host.Invocation
			count, high := 1+s.r.IntN(12), 0
			for i := range count {
				severity := alert.Low
				if s.r.IntN(3) == 0 {
					severity = alert.High
					high++
				}
				id := fmt.Sprintf("00000000-0000-0000-0000-%012x", i)
				raw, err := export.CloudEvent{
					SpecVersion: "1.0", ID: id + "/0", Type: export.TypeRaised, Time: time.Now(),
					Data: export.Alert{SystemAlertID: id, HubName: "contoso-hub", Severity: severity, Reference: "contoso-hub/" + time.Now().UTC().Format(time.DateOnly) + "/" + id},
				}.AppendJSON(nil)
				if err != nil {
					t.Fatal(err)
				}
				for range 1 + s.r.IntN(3) {
					queue = append(queue, host.Invocation{Function: "Notify", Data: raw})
				}
			}
			s.r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
			for i := range 2 + s.r.IntN(2) {
				s.start(i)
			}
			s.run(func() *task {
				if len(queue) == 0 {
					return nil
				}
				in := queue[0]
				queue = queue[1:]
				return &task{
					do: func(p *process) error {
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
						defer cancel()
						_, err := teller(p).Notify(ctx, in)
						if err != nil {
							p.s.mu.Lock()
							d := wait[order.IntN(len(wait))]
							p.s.mu.Unlock()
							time.Sleep(d)
						}
						return err
					},
					ended: func(ok bool) {
						if !ok {
							queue = append(queue, in)
						}
					},
				}
			})
			left := 3
			s.run(func() *task { // the timer
				if left == 0 {
					return nil
				}
				left--
				return &task{
					do: func(p *process) error {
						time.Sleep(12 * time.Minute)
						_, err := teller(p).Digests(t.Context(), host.Invocation{})
						return err
					},
					ended: func(ok bool) {
						if !ok {
							left++
						}
					},
				}
			})
			alone, each, ways := 0, map[string]int{}, map[string]int{}
			counts := map[string]int{} // of digests
			for _, m := range c.got {
				each[m.ID]++
				switch {
				case m.Kind != notify.Digest:
					ways[hash(m.ID)] = 1
					if m.Alert.Severity == alert.High {
						alone++
					}
				case each[m.ID] > 1 && counts[m.ID] != m.Count:
					t.Errorf("seed %d: the digest %s has %d alerts, and had %d", seed, m.ID, m.Count, counts[m.ID])
				default:
					counts[m.ID] = m.Count
					digests++
				}
			}
			inDigests := 0
			for name, rows := range s.tables {
				for k := range rows {
					if strings.HasPrefix(name, toldTable) && strings.HasPrefix(k.PartitionKey, "d"+separator) {
						ways[k.RowKey]++
						inDigests++
					}
				}
			}
			for i := range count {
				if n := ways[hash(fmt.Sprintf("00000000-0000-0000-0000-%012x/0", i))]; n != 1 {
					t.Errorf("seed %d: the raising %d is told in %d ways, want by itself or in one digest", seed, i, n)
				}
			}
			for _, n := range counts {
				inDigests -= n
			}
			if inDigests != 0 {
				t.Errorf("seed %d: digests have %d alerts more than they say: %v", seed, inDigests, counts)
			}
			if !faulty && s.crashes == 0 && alone < min(high, after) { // a crash can leave a seat empty
				t.Errorf("seed %d: %d of %d grave alerts were told by themselves, and %d may be: the others took their seats", seed, alone, high, after)
			}
			again := 0
			for _, n := range each {
				again += n - 1
				if n > 1 && !faulty {
					t.Errorf("seed %d: without a fault something was told %d times: %v", seed, n, each)
				}
			}
			for _, row := range s.tables["digests"] {
				t.Errorf("seed %d: still due: %s", seed, s.marshal(row))
			}
			raisings, twice, crashes = raisings+count, twice+again, crashes+s.crashes
		})
	}
	t.Logf("%d raisings, %d digests, %d crashes: %d told once more", raisings, digests, crashes, twice)
	if n >= 20 && (digests == 0 || crashes == 0) { // the race detector has few trials
		t.Errorf("%d digests, %d crashes: too few to say anything", digests, crashes)
	}
}

// TestTakeWhoseAnswerIsLost loses the answers to what an invocation takes and gives back. The next
// attempt finds the row changed, by itself, and nobody waits until the time of the first is over.
func TestTakeWhoseAnswerIsLost(t *testing.T) {
	lose := false
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if lose && r.Method == http.MethodPost {
			lose = false
			return azurite.Lose
		}
		return azurite.Pass
	})
	s := openTold(t, connection)
	k := alert.ToldKey{Day: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), ID: "00000000-0000-0000-0000-000000000001/0"}
	if _, err := s.Take(t.Context(), alert.ToldKey{Day: k.Day, ID: "another"}, alert.Telling{}); err != nil { // makes the table
		t.Fatal(err)
	}
	e := alert.Telling{Until: time.Date(2026, 2, 1, 12, 0, 30, 0, time.UTC)}
	for _, what := range []string{"taken", "given back"} {
		lose = true
		taken, err := s.Take(t.Context(), k, e)
		if err != nil || taken.Tag == "" || taken.Tag == e.Tag || lose {
			t.Errorf("%s: error %v, version %q after %q", what, err, taken.Tag, e.Tag)
		}
		e = taken
		e.Until = time.Time{}
	}
	// Who comes later has the old version.
	if _, err := s.Take(t.Context(), k, alert.Telling{}); !errors.Is(err, alert.ErrBeingTold) {
		t.Errorf("taken twice: %v", err)
	}
}

// TestToldHasNoSecret checks that rows have the ids and names alone.
func TestToldHasNoSecret(t *testing.T) {
	connection := emulator(t).ConnectionString()
	s := openTold(t, connection)
	k := alert.ToldKey{Day: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), ID: "x/0"}
	if _, err := s.Take(t.Context(), k, alert.Telling{Slot: alert.Alone}); err != nil {
		t.Fatal(err)
	}
	if err := s.Mark(t.Context(), k, "ops", ""); err != nil {
		t.Fatal(err)
	}
	columns := map[string]bool{}
	for entity, err := range s.day(k.Day).entities(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		var row map[string]any
		if err := json.Unmarshal(entity, &row); err != nil {
			t.Fatal(err)
		}
		for name := range row {
			if !strings.Contains(name, "odata") {
				columns[name] = true
			}
		}
	}
	want := []string{"By", "Channel", "Id", "PartitionKey", "RowKey", "SlotUtc", "TimeUtc", "Timestamp", "Told", "UntilUtc"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(columns))); diff != "" {
		t.Error(diff)
	}
}
