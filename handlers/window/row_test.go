package window

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// over is the definition, by brute force: for each slot the proof for its first event that
// is over. The window of an event is (t-Width, t], and has the events before it in order.
func over(r Rule, events []Event) map[Slot]Proof {
	list := distinct(events)
	all := map[Slot]Proof{}
	for i, e := range list {
		n := 0
		for _, f := range list[:i+1] {
			if f.Time > e.Time-int64(r.Width) {
				n++
			}
		}
		if s := r.slot(e.Time); n > *r.Max && all[s] == nil {
			all[s] = list[i-*r.Max : i+1]
		}
	}
	return all
}

// distinct returns events in order, each once.
func distinct(events []Event) []Event {
	return slices.Compact(slices.SortedFunc(slices.Values(events), Event.Compare))
}

func same(a, b Row) bool {
	return a.Slot == b.Slot && slices.Equal(a.A, b.A) && slices.Equal(a.B, b.B)
}

// random returns a rule and events of a key, some of them at the same times, and bunches
// of them.
func random(r *rand.Rand) (Rule, []Event) {
	most := r.IntN(5)
	if r.IntN(10) == 0 {
		most = r.IntN(40)
	}
	rule := Rule{Name: "Contoso", Width: time.Duration(2 + r.IntN(12)), Max: &most}
	var events []Event
	span := int64(rule.Width) * int64(2+r.IntN(5))
	for i := range 4 + r.IntN(6*(most+1)) {
		at := r.Int64N(span)
		if r.IntN(3) == 0 {
			at = min(span-1, int64(i%3)*int64(rule.Width)+r.Int64N(3))
		}
		events = append(events, Event{Time: 1000*int64(rule.Width) + at, Hash: Hash{byte(i)}})
	}
	return rule, events
}

// TestRowsAreTheDefinition adds events to rows in any order, some of them repeatedly, and
// packs and unpacks the rows now and then. The proofs of the rows are those of the definition.
func TestRowsAreTheDefinition(t *testing.T) {
	breached := 0
	for seed := range uint64(5_000) {
		r := rand.New(rand.NewPCG(seed, 14))
		rule, events := random(r)
		rows := map[Slot]Row{}
		order := slices.Concat(events, events[:r.IntN(len(events))])
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, e := range order {
			before, own := rule.Rows(e)
			for _, s := range []Slot{before, own} {
				row, ok := rows[s]
				if !ok {
					row.Slot = s
				}
				added, changed := rule.Add(row, e)
				if again, more := rule.Add(added, e); more || !same(again, added) || changed == same(row, added) {
					t.Fatalf("seed %d: adding once more changes %+v to %+v", seed, added, again)
				}
				if r.IntN(4) == 0 {
					a, b := rule.Pack(added)
					unpacked, err := rule.Unpack(s, a, b)
					if err != nil || !same(added, unpacked) {
						t.Fatalf("seed %d: packed %+v, unpacked %+v, %v", seed, added, unpacked, err)
					}
				}
				rows[s] = added
			}
		}
		have := map[Slot]Proof{}
		for s, row := range rows {
			if p := rule.Proof(row); p != nil {
				have[s+1] = p
			}
		}
		want := over(rule, events)
		breached += len(want)
		if !maps.EqualFunc(want, have, func(p, q Proof) bool { return slices.Equal(p, q) }) {
			t.Fatalf("seed %d: max %d in %d: %v, want %v", seed, *rule.Max, rule.Width, have, want)
		}
		if first := rule.First(distinct(events), 0); (first == nil) != (len(want) == 0) {
			t.Fatalf("seed %d: First returns %v, and %d slots have an event that is over", seed, first, len(want))
		}
	}
	if breached < 5_000 {
		t.Errorf("%d slots with an event that is over: too few to say anything", breached)
	}
}

// TestTenInAQuarterOfAnHour states the definition in examples.
func TestTenInAQuarterOfAnHour(t *testing.T) {
	ten := 10
	rule := Rule{Name: "Contoso", Width: 15 * time.Minute, Max: &ten}
	start := time.Date(2026, 2, 1, 11, 58, 0, 0, time.UTC).UnixNano() // before the end of a slot
	evenly := func(n int, apart time.Duration) (events []Event) {
		for i := range n {
			events = append(events, Event{Time: start + int64(i)*int64(apart), Hash: Hash{byte(i), byte(i >> 8)}})
		}
		return events
	}
	for name, c := range map[string]struct {
		events []Event
		want   int // the index of the first event that is over, or -1
	}{
		"ten at once":    {evenly(10, 0), -1},
		"eleven at once": {evenly(11, 0), 10},
		"eleven, the last a quarter after the first":  {evenly(11, 90*time.Second), -1},
		"eleven, the last a little less than that":    {evenly(11, 90*time.Second-1), 10},
		"twelve, of which only the last is too many":  {append([]Event{{Time: start - int64(2*time.Minute)}}, evenly(11, 89*time.Second)...), 11},
		"one each two minutes, for a day":             {evenly(720, 2*time.Minute), -1},
		"one event ten times":                         {slices.Repeat(evenly(1, 0), 20), -1},
		"ten, and ten a quarter of an hour later":     {append(evenly(10, 0), Event{Time: start + int64(15*time.Minute), Hash: Hash{99}}), -1},
		"ten, and one a quarter of an hour less a ns": {append(evenly(10, 0), Event{Time: start + int64(15*time.Minute) - 1, Hash: Hash{99}}), 10},
	} {
		events := distinct(c.events)
		p := rule.First(events, 0)
		switch {
		case c.want < 0 && p != nil:
			t.Errorf("%s: %v is over", name, p.Last())
		case c.want >= 0 && (p == nil || p.Last() != events[c.want] || len(p) != 11):
			t.Errorf("%s: %v, want event %d", name, p, c.want)
		}
	}
}

// TestSlotsOfBreaches checks what is one breach, and that slots come back as they were
// packed.
func TestSlotsOfBreaches(t *testing.T) {
	one, two := 1, 2
	a, b := Rule{Name: "Contoso", Width: time.Minute, Max: &one}, Rule{Name: "Contoso", Width: time.Minute, Max: &two}
	for name, c := range map[string]struct {
		slots []SlotOf
		want  int
	}{
		"none":                     {nil, 0},
		"one":                      {[]SlotOf{a.Of(7)}, 1},
		"a run":                    {[]SlotOf{a.Of(7), a.Of(8), a.Of(9)}, 1},
		"two":                      {[]SlotOf{a.Of(7), a.Of(9)}, 2},
		"two runs":                 {[]SlotOf{a.Of(6), a.Of(7), a.Of(9), a.Of(10)}, 2},
		"a rule that was changed":  {[]SlotOf{a.Of(7), b.Of(8)}, 2},
		"two rules, a run of each": {[]SlotOf{a.Of(7), b.Of(7), a.Of(8), b.Of(8)}, 2},
	} {
		slots := Slots{}
		var first, last int64
		for i, of := range c.slots {
			e := Event{Time: a.begin(of.Slot) + 5, Hash: Hash{1, 2, 3}}
			slots[of] = e
			if i == 0 || e.Time < first {
				first = e.Time
			}
			last = max(last, e.Time)
		}
		n, start, end := slots.Breaches()
		if n != c.want || n > 0 && (start.UnixNano() != first || end.UnixNano() != last) {
			t.Errorf("%s: %d breaches from %v to %v, want %d", name, n, start, end, c.want)
		}
		unpacked, err := UnpackSlots(slots.Pack())
		if err != nil || !maps.Equal(slots, unpacked) {
			t.Errorf("%s: unpacked %v, %v", name, unpacked, err)
		}
	}
	day := Slots{}
	for s := range Slot(1440) {
		day[a.Of(s)] = Event{}
	}
	if n := len(day.Pack()); n > 64<<10 {
		t.Errorf("the slots of a day have %d bytes, and a binary property has 64 KiB", n)
	}
}

// TestBetterProofs checks that of any two proofs at most one is better, and that the best of
// many does not depend on their order.
func TestBetterProofs(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 15))
		var proofs []Proof
		for range 5 {
			var p Proof
			for len(p) < 3 {
				p = distinct(append(p, Event{Time: r.Int64N(4), Hash: Hash{byte(r.IntN(2))}}))
			}
			proofs = append(proofs, p)
		}
		best := func() (best Proof) {
			for _, p := range proofs {
				if p.Better(best) {
					best = p
				}
			}
			return best
		}
		want := best()
		for range 10 {
			r.Shuffle(len(proofs), func(i, j int) { proofs[i], proofs[j] = proofs[j], proofs[i] })
			if !slices.Equal(best(), want) {
				t.Fatalf("seed %d: %v and %v", seed, best(), want)
			}
		}
		for _, p := range proofs {
			if p.Better(want) || p.Better(p) || Proof(nil).Better(p) {
				t.Fatalf("seed %d: %v is better than %v", seed, p, want)
			}
			if back, err := UnpackProof(p.Pack()); err != nil || !slices.Equal(back, p) {
				t.Fatalf("unpacked %v, %v", back, err)
			}
		}
	}
}

// TestRowsAreBounded checks that the largest row fits into a binary property for each list.
func TestRowsAreBounded(t *testing.T) {
	most := MostMax
	rule := Rule{Name: "Contoso", Width: time.Hour, Max: &most}
	row := Row{Slot: 500_000}
	var events []Event
	for i := range 3 * most {
		for s := range int64(2) {
			events = append(events, Event{Time: rule.begin(row.Slot) + s*int64(time.Hour) + int64(i), Hash: Hash{byte(i)}})
		}
	}
	row, _ = rule.Add(row, events...)
	a, b := rule.Pack(row)
	if len(row.A) != most || len(row.B) != most+1 || len(a) != 24_000 || len(b) != 24_024 {
		t.Errorf("%d and %d events, %d and %d bytes", len(row.A), len(row.B), len(a), len(b))
	}
	for name, c := range map[string]struct{ a, b []byte }{
		"half an event":             {a[:23], b},
		"events in another order":   {slices.Concat(a[24:48], a[:24]), b},
		"an event twice":            {slices.Concat(a[:24], a[:24]), b},
		"the events of other slots": {b[:24], a[:24]},
		"too many":                  {slices.Concat(a, bytes.Repeat([]byte{0xff}, 24)), b},
	} {
		if row, err := rule.Unpack(row.Slot, c.a, c.b); err == nil {
			t.Errorf("%s: unpacked %d and %d events", name, len(row.A), len(row.B))
		}
	}
	if _, err := UnpackSlots(make([]byte, 31)); err == nil {
		t.Error("a part of a slot is read")
	}
	if _, err := UnpackProof(make([]byte, 23)); err == nil {
		t.Error("a part of a proof is read")
	}
}

// TestRulesHaveHashes checks that rows of different rules are different ones.
func TestRulesHaveHashes(t *testing.T) {
	one, two := 1, 2
	seen := map[Hash]string{}
	for _, r := range []Rule{
		{Name: "A", Width: time.Minute, Max: &one}, {Name: "A", Width: time.Minute, Max: &two}, {Name: "A", Width: time.Hour, Max: &one},
		{Name: "B", Width: time.Minute, Max: &one}, {Name: "A", Key: "actor", Width: time.Minute, Max: &one}, {Name: "A", Width: time.Minute},
	} {
		text := fmt.Sprintf("%+v", r)
		if other, ok := seen[r.OverHash()]; ok {
			t.Errorf("%s and %s count in the same rows", text, other)
		}
		seen[r.OverHash()] = text
	}
}

// TestTimely checks that what is dropped is never asked for again: a table whose day is
// droppable cannot hold a row of a timely event.
func TestTimely(t *testing.T) {
	now := time.Date(2026, 2, 5, 12, 30, 0, 0, time.UTC)
	for at, want := range map[time.Time]bool{
		now: true, now.Add(-72 * time.Hour): true, now.Add(-72*time.Hour - 1): false, now.Add(24 * time.Hour): true, now.Add(24*time.Hour + 1): false,
	} {
		if err := Timely(at, now); (err == nil) != want {
			t.Errorf("%s: %v", at, err)
		}
	}
	most := 1
	for _, width := range []time.Duration{time.Minute, 25 * time.Minute, 7 * time.Hour, 24 * time.Hour} {
		rule := Rule{Width: width, Max: &most}
		for hours := range 24 * 10 {
			at := now.Add(-time.Duration(hours) * time.Hour)
			before, own := rule.Rows(Event{Time: at.UnixNano()})
			for _, s := range []Slot{before, own} {
				if rule.End(s).Before(at) {
					t.Errorf("%v: row %d of an event of %v holds none after %v", width, s, at, rule.End(s))
				}
				if Timely(at, now) == nil && Droppable(rule.End(s), now) {
					t.Errorf("%v: a row of an event of %v is dropped at %v", width, at, now)
				}
			}
		}
	}
	if day := now.AddDate(0, 0, -4); Droppable(day, now.Truncate(24*time.Hour)) || !Droppable(day, now) {
		t.Error("a day is not dropped when it has been over for three days and an hour")
	}
}

func TestSpan(t *testing.T) {
	for width, want := range map[time.Duration]string{
		15 * time.Minute: "15m", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 20 * time.Minute: "20m", 70 * time.Second: "1m10s", time.Hour + 30*time.Second: "1h0m30s",
	} {
		if got := (Rule{Width: width}).Span(); got != want {
			t.Errorf("%v is %q, want %q", width, got, want)
		}
	}
}
