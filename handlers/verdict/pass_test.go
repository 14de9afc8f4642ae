package verdict

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
)

// quiet returns a world without faults and its only worker, whose clock is right, and who leaves each
// verdict to the timer.
func quiet(s Settings) (*world, *worker) {
	w := newWorld(1)
	w.faults, w.left = 0, true
	w.addWorker(s)
	w.workers[0].ahead = 0
	return w, w.workers[0]
}

// do runs one task to its end.
func (w *world) do(t testing.TB, task func(*worker) error) error {
	t.Helper()
	var result error
	once := true
	w.run(func(k *worker) (func() error, func(error)) {
		if !once {
			return nil, nil
		}
		once = false
		return func() error { return task(k) }, func(err error) { result = err }
	})
	return result
}

// TestPass follows one bucket through its levels: what is derived, published and left.
func TestPass(t *testing.T) {
	s := Defaults()
	s.SameNetwork = true
	w, _ := quiet(s)
	facts := []Fact{
		{Device: device(1), Second: 60, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 1},
		{Device: device(1), Second: 50, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 2},
		{Device: device(2), Second: 60, Sign: connection.Expiry, Address: 1, Record: 3},
		{Device: device(2), Second: 70, Sign: connection.Connect, Address: 2},
		{Device: device(3), Second: 60, Sign: connection.Expiry, Record: 4},
		{Device: device(4), Second: 60, Sign: connection.Expiry, Record: 5},
		{Device: device(4), Second: 61, Sign: connection.Connect},
	}
	var d delivery
	for _, f := range facts {
		d.entries = append(d.entries, entry(f))
	}
	at := func(clock string) {
		now, err := time.Parse(time.DateTime, "1970-01-01 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		w.now = now
	}
	pass := func() (p Pass, err error) {
		err = w.do(t, func(k *worker) (err error) {
			p, err = k.judge.Run(context.Background(), k.clock())
			return err
		})
		return p, err
	}
	at("00:01:30")
	if err := w.do(t, func(k *worker) error { return k.stage(s, d) }); err != nil {
		t.Fatal(err)
	}
	told := func() (all []string) {
		for _, n := range w.topic {
			if text := fmt.Sprintf("%d %s %d", n.Device[15], n.Cause, n.N); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
		w.topic = nil
		return all
	}
	for _, c := range []struct {
		clock string
		want  []string
	}{
		{"00:02:00", []string{"1 token invalid 2"}}, // the other places of the marks have their time later
		{"00:24:59", nil},
		{"00:25:00", []string{"2 taken up from elsewhere 1"}},
		{"01:44:59", nil},
		{"01:45:00", []string{"3 did not come back 1"}},
	} {
		at(c.clock)
		// The places before the first bucket have been settled for long, and have no items.
		p, err := pass()
		if err != nil || !p.Oldest.IsZero() {
			t.Errorf("%s: %+v, %v", c.clock, p, err)
		}
		if diff := gocmp.Diff(c.want, told()); diff != "" || p.Published != len(c.want) {
			t.Errorf("%s: published %d (-want +got):\n%s", c.clock, p.Published, diff)
		}
		if row := w.rows[Place{"contoso-hub", 0}]; row.Published != row.Seq {
			t.Errorf("%s: row %+v", c.clock, row)
		}
	}
	if row := w.rows[Place{"contoso-hub", 0}]; row.Renewed != 1 || row.Seq != 3 || len(w.marks) != 0 {
		t.Errorf("in the end: %+v, marks %v", row, w.marks)
	}

	// An instance whose clock is far behind takes back nothing of what was told.
	at("00:03:00")
	late := delivery{entries: []Entry{entry(Fact{Device: device(5), Second: 30, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 6})}}
	if err := w.do(t, func(k *worker) error { return k.stage(s, late) }); err != nil {
		t.Fatal(err)
	}
	if _, err := pass(); err != nil {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"5 token invalid 1"}, told()); diff != "" {
		t.Errorf("after a late record (-want +got):\n%s", diff)
	}
}

// TestPassKeepsMarks checks that what could not be published keeps its mark, and that the
// pass says since when.
func TestPassKeepsMarks(t *testing.T) {
	s := Defaults()
	w, k := quiet(s)
	w.now = Bucket(3).Start()
	d := delivery{[]Entry{entry(Fact{Device: device(1), Second: 60, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 1})}}
	if err := w.do(t, func(k *worker) error { return k.stage(s, d) }); err != nil {
		t.Fatal(err)
	}
	refuse := errors.New("no topic")
	k.judge.Publisher = publisher(func([]Notice) error { return refuse })
	var p Pass
	err := w.do(t, func(k *worker) (err error) {
		p, err = k.judge.Run(context.Background(), k.clock())
		return err
	})
	want := Pass{Derived: 1, Oldest: Bucket(0).Start()}
	if !errors.Is(err, refuse) || p != want || len(w.marks) != 1 {
		t.Errorf("%+v, %v, marks %v", p, err, w.marks)
	}
	k.judge.Publisher = k
	if err := w.do(t, (*worker).pass); err != nil || len(w.topic) == 0 || len(w.marks) != 0 {
		t.Errorf("afterwards: %v, %d notices, marks %v", err, len(w.topic), w.marks)
	}
}

type publisher func([]Notice) error

func (p publisher) Publish(_ context.Context, n []Notice) error { return p(n) }

// TestNotice checks what a notice carries: the earliest four records of its item and the last, and of
// a storm the devices, cut where they are very many bytes.
func TestNotice(t *testing.T) {
	s := Defaults()
	s.Storm = 300
	long := func(n int) string { return fmt.Sprintf("dev-%01000d", n) }
	var entries []Entry
	for n := range 300 {
		f := Fact{Device: connection.DeviceKey{14: byte(n >> 8), 15: byte(n), 0: 1}, Second: int64(599 - n), Sign: connection.Refused, Cause: connection.TokenExpired, Record: uint64(n)}
		entries = append(entries, Entry{f, []byte(fmt.Sprintf(`{"time":"1970-01-01T00:00:00Z","category":"Connections","properties":{"deviceId":%q}}`, long(n)))})
	}
	for n := range 7 {
		f := Fact{Device: device(1), Second: int64(n), Sign: connection.Refused, Cause: connection.TokenInvalid, Record: uint64(1000 - n)}
		entries = append(entries, entry(f))
	}
	w, k := quiet(s)
	w.now = Bucket(0).Start()
	var got []Notice
	k.judge.Publisher = publisher(func(n []Notice) error { got = n; return nil })
	if err := w.do(t, func(k *worker) error { return k.stage(s, delivery{entries}) }); err != nil {
		t.Fatal(err)
	}
	if err := w.do(t, (*worker).pass); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].Storm() || got[0].Cause != Cause(connection.TokenExpired) || got[0].N != 300 || got[1].N != 7 || got[1].Device != device(1) {
		t.Fatalf("%d notices: %+v", len(got), got)
	}
	size := 0
	for _, d := range got[0].Devices {
		size += len(d)
	}
	if n := len(got[0].Devices); n < 200 || n > 299 || size > mostDeviceBytes || got[0].Devices[0] != "devices/"+long(0) {
		t.Errorf("%d devices of %d bytes", n, size)
	}
	var records []string
	for _, e := range append(slices.Clone(entries[300:304]), entries[306]) {
		records = append(records, string(e.Raw))
	}
	for n, raw := range got[1].Records {
		if string(raw) != records[n] {
			t.Errorf("record %d is %s, want %s", n, raw, records[n])
		}
	}
	if len(got[1].Records) != 5 || len(got[0].Records) != 5 || string(got[0].Records[0]) != string(entries[299].Raw) || string(got[0].Records[4]) != string(entries[0].Raw) {
		t.Errorf("%d and %d records", len(got[0].Records), len(got[1].Records))
	}
}

// TestNoticeFits checks that the records and devices of a notice fit into an event, also if
// they are long, and if JSON makes them longer.
func TestNoticeFits(t *testing.T) {
	s := Defaults()
	s.Storm = 20
	record := func(id string, size int) []byte {
		quoted, err := jsontext.AppendQuote(nil, id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, `{"time":"1970-01-01T00:00:00Z","category":"Connections","properties":{"deviceId":%s},"x":%q}`, quoted, strings.Repeat("x", size))
	}
	for _, c := range []struct{ devices, id, size, records, told int }{
		{1, 10, 100_000, 5, 0}, {1, 10, 200_000, 2, 0}, {1, 10, MostRecord - 200, 1, 0},
		{20, 1000, 1000, 5, 20}, {40, 3000, 1000, 5, 14}, {40, 2, 300_000, 1, 40},
	} {
		var entries []Entry
		for n := range max(c.devices, 6) {
			d := n % c.devices
			f := Fact{Device: device(1 + d), Second: int64(n), Sign: connection.Refused, Cause: connection.TokenExpired, Record: uint64(n)}
			entries = append(entries, Entry{f, record(fmt.Sprintf("%02d", d)+strings.Repeat("\x01", c.id), c.size)})
		}
		w, k := quiet(s)
		w.now = Bucket(0).Start()
		var got []Notice
		k.judge.Publisher = publisher(func(n []Notice) error { got = n; return nil })
		if err := w.do(t, func(k *worker) error { return k.stage(s, delivery{entries}) }); err != nil {
			t.Fatal(err)
		}
		if err := w.do(t, (*worker).pass); err != nil {
			t.Fatal(err)
		}
		event, err := json.Marshal(got)
		if err != nil || len(got) != 1 || len(event) > 1<<20-1<<14 || len(got[0].Records) != c.records || len(got[0].Devices) != c.told {
			t.Errorf("%+v: %d notices of %d bytes, %d records, %d devices, %v", c, len(got), len(event), len(got[0].Records), len(got[0].Devices), err)
		}
	}
}

// TestVeryLateRecords checks what a record does that comes after the others of its bucket
// were dropped: numbers grow, and nothing is taken back. As long as they are there, it counts
// as any other, however old it is.
func TestVeryLateRecords(t *testing.T) {
	s := Defaults()
	for _, dropped := range []bool{false, true} {
		w, _ := quiet(s)
		w.now = time.Unix(0, 0).AddDate(0, 0, 10)
		pass := func(facts ...Fact) Row {
			t.Helper()
			var d delivery
			for _, f := range facts {
				d.entries = append(d.entries, entry(f))
			}
			place := Place{"contoso-hub", 0}
			if err := w.do(t, func(k *worker) error {
				marks := map[Mark]bool{}
				for _, f := range facts {
					s.Marks(marks, "contoso-hub", f.Sign, f.Second, f.Second)
				}
				if err := k.stager.Stage(t.Context(), packed(place, d.entries), slices.Collect(maps.Keys(marks))); err != nil {
					return err
				}
				_, err := k.judge.Run(t.Context(), w.now)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return w.rows[place].Row
		}
		expiry := func(d int, record uint64) Fact {
			return Fact{Device: device(d), Second: 60, Sign: connection.Expiry, Record: record}
		}
		row := pass(expiry(1, 1), expiry(2, 2), Fact{Device: device(2), Second: 61, Sign: connection.Connect}, Fact{Device: device(3), Second: 50, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 4},
			Fact{Device: device(5), Second: 50, Sign: connection.Refused, Cause: connection.CertificateExpired, Record: 7})
		if row.Items[Item{device(1), Missing}].N != 1 || row.Renewed != 1 || len(row.Items) != 3 || row.Refused[connection.TokenInvalid] != 1 {
			t.Fatalf("at first: %+v", row)
		}
		w.dropped = dropped
		if dropped {
			clear(w.staged)
		}
		row = pass(Fact{Device: device(1), Second: 62, Sign: connection.Connect}, Fact{Device: device(3), Second: 51, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 5}, Fact{Device: device(4), Second: 51, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 6})
		missing, refused, renewed, all := 0, 2, 2, 3
		if dropped {
			missing, refused, renewed, all = 1, 1, 1, 2
		}
		if row.Items[Item{device(1), Missing}].N != missing || row.Items[Item{device(3), Cause(connection.TokenInvalid)}].N != refused ||
			row.Items[Item{device(4), Cause(connection.TokenInvalid)}].N != 1 || row.Renewed != renewed ||
			row.Refused[connection.TokenInvalid] != all || row.Refused[connection.CertificateExpired] != 1 {
			t.Errorf("dropped %t: %+v", dropped, row)
		}
	}
}
