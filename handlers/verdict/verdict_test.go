package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
)

// oracle is the definition of a verdict but for a surge, by brute force over a set of records.
// It shares nothing with derive but the types: no index, no order, no early end.
func oracle(s Settings, b Bucket, records []Fact, level Level) (items map[Item]int, renewed, elsewhere int) {
	set := map[Fact]bool{}
	for _, f := range records {
		set[f] = true
	}
	at := func(f Fact) time.Time { return time.Unix(f.Second, 0) }
	items = map[Item]int{}
	for x := range set {
		if start := time.Unix(int64(b)*600, 0); at(x).Before(start) || !at(x).Before(start.Add(10*time.Minute)) {
			continue
		}
		if x.Sign == connection.Refused {
			items[Item{x.Device, Cause(x.Cause)}]++
		}
		if x.Sign != connection.Expiry {
			continue
		}
		most := max(90*time.Minute, s.MissingAfter, s.RenewalGrace)
		var signs []Fact
		for c := range set {
			after := at(c).Sub(at(x))
			connects := c.Sign == connection.Connect && after >= -2*time.Second && after <= most
			ends := c.Sign == connection.Expiry && after > 0 && after <= most
			if c.Device == x.Device && (connects || ends) {
				signs = append(signs, c)
			}
		}
		harmless := func(c Fact) int { // 0 renewed, 1 foreign, 2 missing
			switch {
			case c.Sign == connection.Connect && at(c).Sub(at(x)) > s.RenewalGrace:
				return 2
			case c.Address != 0 && x.Address != 0 && c.Address != x.Address:
				return 1
			}
			return 0
		}
		verdict := 2
		if len(signs) > 0 {
			verdict = harmless(slices.MinFunc(signs, func(a, b Fact) int {
				return cmp.Or(at(a).Compare(at(b)), harmless(a)-harmless(b))
			}))
		}
		if verdict == 1 {
			elsewhere++
		}
		switch {
		case verdict == 0, verdict == 1 && !s.SameNetwork:
			renewed++
		case verdict == 1 && level >= Graced:
			items[Item{x.Device, Foreign}]++
		case verdict == 2 && level >= Settled:
			items[Item{x.Device, Missing}]++
		}
	}
	for _, cause := range causes {
		var of []Item
		for i := range items {
			if i.Cause == cause {
				of = append(of, i)
			}
		}
		if len(of) >= s.Storm {
			for _, i := range of {
				delete(items, i)
			}
			items[Item{Cause: cause}] = len(of)
		}
	}
	return items, renewed, elsewhere
}

// reconnected is the number of devices that reconnect in a bucket, by brute force over a set of
// records.
func reconnected(s Settings, b Bucket, records []Fact) int {
	at := func(f Fact) time.Time { return time.Unix(f.Second, 0) }
	devices := map[connection.DeviceKey]bool{}
	for _, c := range records {
		start := time.Unix(int64(b)*600, 0)
		if c.Sign != connection.Connect || at(c).Before(start) || !at(c).Before(start.Add(10*time.Minute)) {
			continue
		}
		renews := false
		for _, x := range records {
			if since := at(c).Sub(at(x)); x.Sign == connection.Expiry && x.Device == c.Device && since <= s.RenewalGrace && since >= -2*time.Second {
				renews = true
			}
		}
		if !renews {
			devices[c.Device] = true
		}
	}
	return len(devices)
}

// surge is the definition of a surge, by brute force over a set of records: how many devices
// reconnect in a bucket, or 0 if they are too few, or at most twice as many with those of the
// bucket before as in twenty minutes that begin from 90 to 40 minutes before the bucket. A
// number of less than a fourth of the least that is a surge counts as none. It is none either if
// no record is older than the 90 minutes and the ten of its bucket.
func surge(s Settings, b Bucket, records []Fact) int {
	in := func(minutes int) int {
		n := reconnected(s, b+Bucket(minutes/10), records)
		if float64(n) < float64(s.Surge)/4 {
			return 0
		}
		return n
	}
	for _, begin := range []int{-90, -80, -70, -60, -50, -40} {
		if in(0)+in(-10) <= 2*(in(begin)+in(begin+10)) {
			return 0
		}
	}
	if s.Surge == 0 || in(0) < s.Surge {
		return 0
	}
	if !slices.ContainsFunc(records, func(f Fact) bool { return f.Second < b.first()-90*60 }) {
		return 0
	}
	return in(0)
}

// device returns the key of a device by its number, from 1 on.
func device(n int) connection.DeviceKey { return connection.DeviceKey{15: byte(n)} }

// randomFacts returns records of a few devices around second 0 of bucket b. Their times
// are near each other, and near the ends of the windows of the definition.
func randomFacts(r *rand.Rand, s Settings, b Bucket) []Fact {
	var facts []Fact
	devices := 1 + r.IntN(8)
	for n := 1 + r.IntN(12); n > 0; n-- {
		d := device(1 + r.IntN(devices))
		x := Fact{Device: d, Second: b.first() + r.Int64N(600), Address: connection.AddressKey(r.IntN(3)), Sign: connection.Expiry, Record: r.Uint64N(4)}
		switch r.IntN(4) {
		case 0:
			x.Second = []int64{b.first(), b.last(), b.first() - 1, b.last() + 1}[r.IntN(4)]
		case 1:
			n := 2 + r.IntN(len(causes)-3) // without Reconnected, which comes last
			x.Sign, x.Cause = connection.Refused, connection.Cause(causes[n])
			x.Record += uint64(n) << 8 // a record has one cause, but see TestRulesThatChange
		}
		facts = append(facts, x)
		for range r.IntN(4) {
			edges := []int64{-2, 0, s.grace(), s.window(), s.window() / 2, int64(r.IntN(700))}
			c := Fact{Device: d, Second: x.Second + edges[r.IntN(len(edges))] + int64(r.IntN(3)-1), Address: connection.AddressKey(r.IntN(3)), Sign: connection.Connect}
			if r.IntN(4) == 0 {
				c.Sign, c.Record = connection.Expiry, r.Uint64N(4)
			}
			facts = append(facts, c)
		}
	}
	for range len(facts) {
		facts = append(facts, facts[r.IntN(len(facts))]) // a record can be staged again
	}
	r.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	return facts
}

func randomSettings(r *rand.Rand) Settings {
	minutes := func(choices ...time.Duration) time.Duration { return choices[r.IntN(len(choices))] * time.Minute }
	return Settings{RenewalGrace: minutes(0, 3, 10, 25), MissingAfter: minutes(0, 90, 130), SameNetwork: r.IntN(4) > 0, Storm: 2 + r.IntN(4), Surge: r.IntN(4), Lateness: minutes(0, 5)}
}

// between returns the facts of the buckets from one to another.
func between(facts []Fact, from, to Bucket) []Fact {
	return slices.DeleteFunc(slices.Clone(facts), func(f Fact) bool { return bucketOf(f.Second) < from || bucketOf(f.Second) > to })
}

// TestDerive compares the verdicts on random sets of records with the definition.
func TestDerive(t *testing.T) {
	storms, moved, found := 0, 0, map[Cause]int{}
	for seed := range uint64(trials(t, 4_000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSettings(r)
		b := Bucket(r.Int64N(8) - 4)
		facts := randomFacts(r, s, b)
		for of := b - 1; of <= b+1; of++ {
			for level := Open; level <= Settled; level++ {
				from, to := s.near(of)
				if level == Settled {
					to = s.far(of)
				}
				known := between(facts, from, to)
				want, renewed, elsewhere := oracle(s, of, known, level)
				if level == Settled { // what lies outside of the buckets that are read does not count
					want, renewed, elsewhere = oracle(s, of, facts, level)
				}
				got := s.derive(of, known, level)
				if diff := gocmp.Diff(want, got.items); diff != "" || got.renewed != renewed || got.elsewhere != elsewhere {
					t.Fatalf("seed %d, %+v, bucket %d, level %d: %d renewed, %d elsewhere, want %d, %d; items (-want +got):\n%s", seed, s, of, level, got.renewed, got.elsewhere, renewed, elsewhere, diff)
				}
				if n := reconnected(s, of, facts); s.Surge > 0 && got.reconnected != n {
					t.Fatalf("seed %d, %+v, bucket %d: %d reconnected, want %d", seed, s, of, got.reconnected, n)
				}
				if got.reconnected > 0 {
					found[Reconnected]++
				}
				moved += elsewhere
				for i := range got.items {
					found[i.Cause]++
					if i.Storm() {
						storms++
					}
				}
			}
		}
	}
	if storms < 50 || moved < 50 || len(found) != len(causes) || slices.Min(slices.Collect(maps.Values(found))) < 50 {
		t.Errorf("the trials had %d storms, %d sessions from elsewhere, and items by cause %v: too few to say anything", storms, moved, found)
	}
}

// TestNearIsEnough checks that an expiry that has a sign in the buckets near it needs no
// others, which are only read for the devices of derived.missing.
func TestNearIsEnough(t *testing.T) {
	for seed := range uint64(trials(t, 2_000)) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := randomSettings(r)
		s.Storm = 1000
		b := Bucket(r.Int64N(8))
		facts := randomFacts(r, s, b)
		from, to := s.near(b)
		near := s.derive(b, between(facts, from, to), Settled)
		rest := between(facts, to+1, s.far(b))
		rest = slices.DeleteFunc(rest, func(f Fact) bool { return !near.missing[f.Device] })
		got := s.derive(b, append(between(facts, from, to), rest...), Settled)
		want := s.derive(b, between(facts, from, s.far(b)), Settled)
		if diff := gocmp.Diff(want.items, got.items); diff != "" || want.renewed != got.renewed || want.elsewhere != got.elsewhere || s.Surge > 0 && want.reconnected != got.reconnected {
			t.Fatalf("seed %d: (-want +got):\n%s", seed, diff)
		}
	}
}

// TestForeignAtOnce checks that a session that was taken up from elsewhere at the last
// moment of the grace period is said at Graced, from the buckets near it.
func TestForeignAtOnce(t *testing.T) {
	for _, grace := range []time.Duration{0, 3 * time.Minute, 10 * time.Minute, 25 * time.Minute} {
		s := Settings{RenewalGrace: grace, SameNetwork: true, Storm: 100}
		x := Fact{Device: device(1), Second: Bucket(3).last(), Address: 1, Sign: connection.Expiry}
		c := Fact{Device: device(1), Second: x.Second + s.grace(), Address: 2, Sign: connection.Connect}
		from, to := s.near(3)
		if got := s.derive(3, between([]Fact{x, c}, from, to), Graced).items; !maps.Equal(got, map[Item]int{{device(1), Foreign}: 1}) {
			t.Errorf("grace %s: %v", grace, got)
		}
	}
}

// TestMarks checks that a record never changes a verdict whose bucket it does not mark,
// at the level that it marks or a higher one.
func TestMarks(t *testing.T) {
	for seed := range uint64(trials(t, 2_000)) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomSettings(r)
		b := Bucket(r.Int64N(8))
		facts := randomFacts(r, s, b)
		f := facts[0]
		marks := map[Mark]bool{}
		s.Marks(marks, "contoso-hub", f.Sign, f.Second, f.Second)
		rest := slices.DeleteFunc(slices.Clone(facts), func(other Fact) bool { return other == f })
		for of := b - 20; of <= b+20; of++ {
			for level := Open; level <= Settled; level++ {
				from, to := s.near(of)
				if level == Settled {
					to = s.far(of)
				}
				before, after := s.derive(of, between(rest, from, to), level), s.derive(of, between(append(rest, f), from, to), level)
				marked := false
				for l := Open; l <= Settled; l++ {
					// What a later expiry tells of earlier buckets is said again at Settled.
					marked = marked || marks[Mark{Place{"contoso-hub", of}, l}] && (l <= level || f.Sign == connection.Expiry && of != bucketOf(f.Second))
				}
				// What is said of a surge, and to later verdicts, begins at Graced.
				reconnects := level >= Graced && s.Surge > 0 && before.reconnected != after.reconnected
				if !marked && (reconnects || !maps.Equal(before.items, after.items)) {
					t.Fatalf("seed %d: %+v changes bucket %d at level %d, and marks %v", seed, f, of, level, marks)
				}
			}
		}
	}
}

// sixRecords are a renewal, a session that is taken up from elsewhere and again by the
// device itself, and a device that does not come back.
func sixRecords() []Fact {
	at := func(minute int64, sign connection.Sign, address connection.AddressKey, record uint64) Fact {
		return Fact{Device: device(1), Second: 60 * minute, Sign: sign, Address: address, Record: record}
	}
	return []Fact{
		at(5, connection.Expiry, 1, 1), at(7, connection.Connect, 1, 0),
		at(40, connection.Expiry, 1, 2), at(43, connection.Connect, 2, 0), at(55, connection.Connect, 1, 0),
		at(70, connection.Expiry, 1, 3),
	}
}

// permute calls f with each order of facts.
func permute(facts []Fact, f func([]Fact)) {
	var from func(k int)
	from = func(k int) {
		if k == len(facts) {
			f(facts)
			return
		}
		for i := k; i < len(facts); i++ {
			facts[k], facts[i] = facts[i], facts[k]
			from(k + 1)
			facts[k], facts[i] = facts[i], facts[k]
		}
	}
	from(0)
}

// TestEveryOrder derives the verdicts on six records in each of their 720 orders, each
// record one to three times.
func TestEveryOrder(t *testing.T) {
	s := Defaults()
	s.SameNetwork, s.Surge = true, 1
	n, outcomes := 0, map[string]int{}
	permute(sixRecords(), func(order []Fact) {
		var facts []Fact
		for i, f := range order {
			facts = append(facts, slices.Repeat([]Fact{f}, 1+(n+i)%3)...)
		}
		n++
		said := ""
		for b := Bucket(0); b < 12; b++ {
			d := s.derive(b, facts, Settled)
			said += fmt.Sprint(d.renewed, d.elsewhere, d.reconnected, " ")
			for _, i := range slices.SortedFunc(maps.Keys(d.items), Item.compare) {
				said += fmt.Sprintf("[%d %s %d] ", b, i.Cause, d.items[i])
			}
		}
		outcomes[said]++
	})
	want := "1 0 0 0 0 0 0 0 0 0 0 0 0 1 0 [4 taken up from elsewhere 1] 0 0 1 0 0 0 0 0 0 [7 did not come back 1] 0 0 0 0 0 0 0 0 0 0 0 0 "
	if n != 720 || len(outcomes) != 1 || outcomes[want] != 720 {
		t.Errorf("%d orders give %v, want always %q", n, outcomes, want)
	}
}

func TestDue(t *testing.T) {
	s := Defaults()
	b := BucketOf(time.Date(2026, 2, 1, 10, 7, 30, 0, time.UTC))
	if got := b.Start(); !got.Equal(time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("the bucket of 10:07:30 begins at %s", got)
	}
	for _, c := range []struct {
		at           string
		missingAfter time.Duration
		want         Level
	}{
		{"09:00:00", 90 * time.Minute, Open}, {"10:24:59", 90 * time.Minute, Open}, {"10:25:00", 90 * time.Minute, Graced},
		{"11:44:59", 90 * time.Minute, Graced}, {"11:45:00", 90 * time.Minute, Settled},
		{"10:24:59", 0, Open}, {"10:25:00", 0, Settled},
	} {
		s.MissingAfter = c.missingAfter
		now, err := time.Parse(time.DateTime, "2026-02-01 "+c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.level(b, now); got != c.want {
			t.Errorf("%s with %s: level %d, want %d", c.at, c.missingAfter, got, c.want)
		}
	}
}

// TestRulesThatChange checks that a record that two versions of the rules told apart is
// one, whichever of them staged it first.
func TestRulesThatChange(t *testing.T) {
	before := Fact{Device: device(1), Second: 60, Sign: connection.Refused, Cause: connection.Unclassified, Record: 1}
	after := before
	after.Cause = connection.TokenInvalid
	ended := before
	ended.Sign, ended.Cause = connection.Expiry, ""
	for _, facts := range [][]Fact{{before, after, ended}, {after, ended, before}, {ended, before, after}} {
		want := map[Item]int{{device(1), Cause(connection.TokenInvalid)}: 1}
		if got := Defaults().derive(0, facts, Settled).items; !maps.Equal(got, want) {
			t.Errorf("%v: have %v, want %v", facts, got, want)
		}
	}
}
