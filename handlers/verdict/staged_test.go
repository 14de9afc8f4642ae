package verdict

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
)

// entriesOf returns entries of one place that facts of any values make.
func entriesOf(place Place, facts []Fact) (entries []Entry) {
	for _, f := range facts {
		f.Second = place.Bucket.first() + (f.Second%bucketSeconds+bucketSeconds)%bucketSeconds
		e := Entry{Fact: f}
		if f.Sign != connection.Connect {
			e.Raw = []byte(fmt.Sprintf(`{"record":%d,"cause":%q,"text":%q}`, f.Record, f.Cause, strings.Repeat("x", int(f.Record%50))))
		}
		entries = append(entries, e)
	}
	return entries
}

// packed returns the rows of records of one place, of whatever sign.
func packed(place Place, entries []Entry) []Staged {
	var connects []byte
	var failures []Entry
	for _, e := range entries {
		if e.Sign == connection.Connect {
			connects = AppendConnect(connects, e.Second, e.Device, e.Address)
		} else {
			failures = append(failures, e)
		}
	}
	return Pack(nil, place, connects, failures)
}

// FuzzPack checks that rows give back what was packed, that the same gives the same rows, that
// the order and repetition of entries do not matter to what is read, and that no bytes in the
// columns of a row end the reading badly.
func FuzzPack(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), bytes.Repeat([]byte{0}, 31))
	f.Add(uint64(3), bytes.Repeat([]byte{2}, 62))
	f.Fuzz(func(t *testing.T, seed uint64, b []byte) {
		r := rand.New(rand.NewPCG(seed, 4))
		place := Place{"contoso-hub", Bucket(r.Int64N(1000) - 500)}
		entries := entriesOf(place, randomFacts(r, Defaults(), place.Bucket))
		rows := packed(place, entries)
		want := map[Fact]string{}
		for _, e := range entries {
			want[e.Fact] = string(e.Raw)
		}
		check := func(rows []Staged) {
			have := map[Fact]string{}
			for _, row := range rows {
				facts, err := row.Facts()
				if err != nil {
					t.Fatal(err)
				}
				for _, fact := range facts {
					have[fact] = ""
				}
				for e, err := range row.Failures() {
					if err != nil {
						t.Fatal(err)
					}
					have[e.Fact] = string(e.Raw)
				}
			}
			if diff := gocmp.Diff(want, have); diff != "" {
				t.Errorf("seed %d (-packed +unpacked):\n%s", seed, diff)
			}
		}
		check(rows)
		if again := packed(place, entries); len(again) != len(rows) || len(rows) > 0 && again[0].Key != rows[0].Key {
			t.Errorf("seed %d: the same entries give another row", seed)
		}
		entries = append(entries, entries...)
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		check(packed(place, entries))
		for _, row := range []Staged{{Connects: b}, {Expiries: b}, {Refusals: b}, {Expiries: make([]byte, failureSize), Records: b}, {Refusals: append(b, make([]byte, failureSize)...), Records: rows[0].Records}} {
			if _, err := row.Facts(); err != nil && !strings.HasPrefix(err.Error(), "staged row ") {
				t.Error(err)
			}
			for _, err := range row.Failures() {
				if err != nil && !strings.HasPrefix(err.Error(), "staged row ") {
					t.Error(err)
				}
			}
		}
	})
}

// TestPackOfMany checks that what one row cannot hold is in several, and that nothing is lost.
func TestPackOfMany(t *testing.T) {
	place := Place{"contoso-hub", 10}
	want := map[Fact]bool{}
	var entries []Entry
	add := func(f Fact, raw int) {
		f.Second = place.Bucket.first() + int64(len(entries)%bucketSeconds)
		binary.BigEndian.PutUint32(f.Device[4:], uint32(len(entries)))
		want[f] = true
		entries = append(entries, Entry{f, []byte(strings.Repeat("x", raw))})
	}
	for range 40_000 {
		add(Fact{Sign: connection.Connect, Address: 7}, 0)
	}
	for range 3 {
		add(Fact{Sign: connection.Expiry}, 300<<10)
	}
	add(Fact{Sign: connection.Refused, Cause: connection.TokenExpired}, MostRecord)
	rows := packed(place, entries)
	if len(rows) != 4 {
		t.Errorf("%d rows, want two with connections, of which the last has the first record, one with two more, and one", len(rows))
	}
	for _, row := range rows {
		if n := len(row.Connects) + len(row.Expiries) + len(row.Refusals); n > mostPacked {
			t.Errorf("a row has %d bytes of facts", n)
		}
		facts, err := row.Facts()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			if !want[f] {
				t.Fatalf("%v was not packed, or is there twice", f)
			}
			delete(want, f)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d facts are lost", len(want))
	}
}

// TestWrongRows checks that a row that Pack did not make is an error, and is not read in part.
func TestWrongRows(t *testing.T) {
	deflated := func(b []byte) []byte {
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
		w.Close()
		return out.Bytes()
	}
	with := func(i int, b byte) []byte {
		row := make([]byte, failureSize)
		row[i] = b
		return row
	}
	for want, row := range map[string]Staged{
		"connects: 23 bytes":               {Connects: make([]byte, 23)},
		"expiries: 30 bytes":               {Expiries: make([]byte, 30)},
		"second 600 of 600":                {Refusals: with(0, 1)},
		"cause 8 is not known":             {Refusals: with(connectSize, 8)},
		"records: EOF":                     {Expiries: with(0, 1), Records: deflated(nil)},
		"records: unexpected EOF":          {Expiries: with(0, 1), Records: deflated([]byte{5, 'a'})},
		"a record that is too long":        {Expiries: with(0, 1), Records: deflated(binary.AppendUvarint(nil, MostRecord+1))},
		"records: flate: corrupt input":    {Expiries: with(0, 1), Records: []byte{0xff}},
		"of contoso-hub, 1970-01-01T00:10": {Place: Place{"contoso-hub", 1}, Connects: []byte{1}},
	} {
		if want == "second 600 of 600" {
			row.Refusals[16], row.Refusals[17] = 600>>8, 600&0xff
		}
		var err error
		n := 0
		for _, e := range row.Failures() {
			err = e
			n++
		}
		if err == nil || !strings.Contains(err.Error(), want) || n != 1 {
			t.Errorf("want %q, have %v after %d", want, err, n)
		}
	}
}

func TestWrongItems(t *testing.T) {
	for want, b := range map[string][]byte{
		"24 bytes":             make([]byte, itemSize-1),
		"cause 8 is not known": append(make([]byte, 16), 8, 0, 0, 0, 1, 0, 0, 0, 1),
	} {
		if items, err := UnpackItems(b); items != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v and %v", want, err, items)
		}
	}
}

// BenchmarkNoticeID derives the id of the event of a notice.
func BenchmarkNoticeID(b *testing.B) {
	n := Notice{Place: Place{Hub: "contoso-hub", Bucket: 1}, Item: Item{Cause: Cause(connection.TokenExpired)}, Version: Version{N: 1, Seq: 1}}
	b.ReportAllocs()
	for b.Loop() {
		n.id()
	}
}
