package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	logs "hubwatch/handlers/connection"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/verdict"
)

var _ verdict.Store = (*State)(nil)

// openState returns a store of its own on the service at a connection string.
func openState(t testing.TB, connection string) *State {
	t.Helper()
	return account(t, connection).State(fmt.Sprintf("t%d", tables.Add(1)))
}

// stagedDay is where the places of these tests are: near midnight, and at the end of a month.
var stagedDay = verdict.BucketOf(time.Date(2026, 1, 31, 23, 50, 0, 0, time.UTC))

// refusals returns n entries of a place, each of a device of its own, with records of some size.
func refusals(place verdict.Place, n, size int) (entries []verdict.Entry) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		noise := make([]byte, size)
		for j := range noise {
			noise[j] = byte('!' + r.IntN(90))
			if noise[j] == '"' || noise[j] == '\\' {
				noise[j] = ' '
			}
		}
		at := place.Bucket.Start().Add(time.Duration(i%600) * time.Second)
		record := logs.Record{DeviceID: fmt.Sprintf("dev-%d", i)}
		raw := fmt.Sprintf(`{"time":%q,"category":"Connections","operationName":"deviceConnect","resultType":"401003","properties":{"deviceId":%q,"authType":"sas"},"noise":"%s"}`, at.Format(time.RFC3339), record.DeviceID, noise)
		entries = append(entries, verdict.Entry{
			Fact: verdict.Fact{Device: record.DeviceKey(), Second: at.Unix(), Sign: logs.Refused, Cause: logs.TokenInvalid, Record: uint64(i)},
			Raw:  []byte(raw),
		})
	}
	return entries
}

// stagedRows returns the rows of a place by key.
func stagedRows(t testing.TB, s *State, place verdict.Place, records bool) map[string]verdict.Staged {
	t.Helper()
	rows := map[string]verdict.Staged{}
	for row, err := range s.Staged(t.Context(), place, records) {
		if err != nil {
			t.Fatal(err)
		}
		rows[row.Key] = row
	}
	return rows
}

// TestStagedRows checks that rows come back as they were staged, from the places of several
// days, also large ones, many in one transaction, and twice.
func TestStagedRows(t *testing.T) {
	uri, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.ContentLength > 4<<20 {
			t.Errorf("%s %s has %d bytes, and a transaction may have 4 MiB", r.Method, r.URL.Path, r.ContentLength)
		}
		return azurite.Pass
	})
	s := openState(t, uri)
	here, tomorrow, other := verdict.Place{Hub: "contoso-hub", Bucket: stagedDay}, verdict.Place{Hub: "contoso-hub", Bucket: stagedDay + 1}, verdict.Place{Hub: "contoso-hub-2", Bucket: stagedDay}
	if rows := stagedRows(t, s, here, true); len(rows) != 0 {
		t.Errorf("before the first: %d rows", len(rows))
	}
	want := map[verdict.Place]map[string]verdict.Staged{here: {}, tomorrow: {}, other: {}}
	var rows []verdict.Staged
	add := func(place verdict.Place, more ...verdict.Staged) {
		for _, row := range more {
			row.HubID = "/hubs/" + place.Hub
			rows = append(rows, row)
			want[place][row.Key] = row
		}
	}
	add(here, verdict.Pack(nil, here, nil, refusals(here, 40, 100_000))...) // rows of several properties, more than a transaction has room for
	for i := range 120 {
		add(other, verdict.Pack(nil, other, nil, refusals(other, i+1, 10))...) // more than a transaction takes
	}
	connect := verdict.Fact{Device: logs.DeviceKey{1}, Second: tomorrow.Bucket.Start().Unix(), Address: 7, Sign: logs.Connect}
	expiry := verdict.Fact{Device: logs.DeviceKey{1}, Second: tomorrow.Bucket.Start().Unix() + 1, Sign: logs.Expiry, Record: 1}
	connects := verdict.AppendConnect(nil, connect.Second, connect.Device, connect.Address)
	add(tomorrow, verdict.Pack(nil, tomorrow, connects, []verdict.Entry{{Fact: expiry, Raw: []byte(`{}`)}})...)
	add(tomorrow, verdict.Pack(nil, tomorrow, connects, nil)...)
	for range 2 {
		if err := s.Stage(t.Context(), append(rows, rows[len(rows)-1])); err != nil {
			t.Fatal(err)
		}
	}
	if len(want[here]) < 2 || len(want[other]) != 120 || len(want[tomorrow]) != 2 {
		t.Fatalf("%d, %d and %d rows: too few to say anything", len(want[here]), len(want[other]), len(want[tomorrow]))
	}
	for place, rows := range want {
		if diff := cmp.Diff(rows, stagedRows(t, s, place, true)); diff != "" {
			t.Errorf("%v: (-staged +read): %.2000s", place, diff)
		}
		for key, row := range stagedRows(t, s, place, false) {
			if row.Records != nil || !bytes.Equal(row.Refusals, rows[key].Refusals) || !bytes.Equal(row.Connects, rows[key].Connects) {
				t.Errorf("%v: without records: %d and %d bytes, and %d of records", place, len(row.Refusals), len(row.Connects), len(row.Records))
			}
		}
	}
}

// TestMarkRows checks that a mark that is made again is another one, and that it is removed
// only as it was read.
func TestMarkRows(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	place := verdict.Place{Hub: "contoso-hub", Bucket: stagedDay}
	var all []verdict.Mark
	for b := range verdict.Bucket(45) {
		for level := verdict.Open; level <= verdict.Settled; level++ {
			all = append(all, verdict.Mark{Place: verdict.Place{Hub: "contoso-hub", Bucket: stagedDay + b}, Level: level})
		}
	}
	all = append(all, verdict.Mark{Place: verdict.Place{Hub: "contoso-hub-2", Bucket: stagedDay}})
	open := func() (marks []verdict.Mark) {
		for m, err := range s.Open(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			marks = append(marks, m)
		}
		return marks
	}
	marked := func(level verdict.Level) []verdict.Marked {
		marks, err := s.Marked(t.Context(), place, level)
		if err != nil {
			t.Fatal(err)
		}
		return marks
	}
	if len(open())+len(marked(verdict.Settled)) != 0 {
		t.Errorf("before the first: %v", open())
	}
	if err := s.Mark(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := open(); len(got) != len(all) || !slices.Contains(got, all[3]) || !slices.Contains(got, all[len(all)-1]) {
		t.Errorf("%d marks, want %d: %v", len(got), len(all), got)
	}
	for level := verdict.Open; level <= verdict.Settled; level++ {
		if got := marked(level); len(got) != int(level)+1 || got[0].Mark != all[0] || got[0].ETag == "" {
			t.Errorf("level %d: %v", level, got)
		}
	}
	before := marked(verdict.Open)[0]
	if err := s.Mark(t.Context(), all[:1]); err != nil {
		t.Fatal(err)
	}
	if err := s.Unmark(t.Context(), before); !errors.Is(err, verdict.ErrConflict) {
		t.Errorf("a mark that was made again: %v", err)
	}
	now := marked(verdict.Open)[0]
	if age := time.Since(now.At).Abs(); age > time.Hour { // as the clock of the service has it
		t.Errorf("a mark that was made just now was made at %v", now.At)
	}
	if err := s.Unmark(t.Context(), now); err != nil {
		t.Error(err)
	}
	if err := s.Unmark(t.Context(), now); !errors.Is(err, verdict.ErrConflict) {
		t.Errorf("a mark that is gone: %v", err)
	}
	if got := marked(verdict.Settled); len(got) != 2 {
		t.Errorf("marks that stay: %v", got)
	}
}

// TestVerdictRows checks that a verdict row is written only as it was read.
func TestVerdictRows(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	place := verdict.Place{Hub: "contoso-hub", Bucket: stagedDay}
	if row, etag, err := s.Row(t.Context(), place); err != nil || etag != "" || row.Items != nil {
		t.Errorf("before the first: %+v %q %v", row, etag, err)
	}
	row := verdict.Row{Place: place, Seq: 3, Published: 2, Level: verdict.Graced, Renewed: 70_000, Elsewhere: 300, Reconnected: verdict.Version{N: 4000, Seq: 2}, Refused: map[logs.Cause]int{logs.TokenInvalid: 80_000}, Unknown: map[string]int{"what \"this\" is": 2, verdict.OtherSentences: 1}, Items: map[verdict.Item]verdict.Version{
		{Cause: verdict.Missing}: {N: 100, Seq: 3}, {Device: logs.DeviceKey{1}, Cause: verdict.Foreign}: {N: 0, Seq: 2},
	}}
	check := func(want verdict.Row, etag verdict.ETag) {
		t.Helper()
		got, at, err := s.Row(t.Context(), place)
		if diff := cmp.Diff(want, got); err != nil || diff != "" || at != etag || etag == "" {
			t.Errorf("%v, ETag %q, want %q (-want +got):\n%s", err, at, etag, diff)
		}
	}
	first, err := s.Put(t.Context(), row, "")
	if err != nil {
		t.Fatal(err)
	}
	check(row, first)
	if _, err := s.Put(t.Context(), row, ""); !errors.Is(err, verdict.ErrConflict) {
		t.Errorf("a second first row: %v", err)
	}
	large := row
	large.Held = time.Date(2026, 2, 1, 10, 0, 0, 1, time.UTC)
	large.Items = map[verdict.Item]verdict.Version{}
	for i := range 10_000 { // several properties
		large.Items[verdict.Item{Device: logs.DeviceKey{byte(i >> 8), byte(i)}, Cause: verdict.Missing}] = verdict.Version{N: 1, Seq: i}
	}
	second, err := s.Put(t.Context(), large, first)
	if err != nil {
		t.Fatal(err)
	}
	check(large, second)
	if _, err := s.Put(t.Context(), row, first); !errors.Is(err, verdict.ErrConflict) {
		t.Errorf("a row that somebody else wrote: %v", err)
	}
	third, err := s.Put(t.Context(), row, second) // fewer properties: none of the old ones stays
	if err != nil {
		t.Fatal(err)
	}
	check(row, third)
	for i := range 40_000 {
		large.Items[verdict.Item{Device: logs.DeviceKey{byte(i >> 8), byte(i)}, Cause: verdict.Missing}] = verdict.Version{N: 1, Seq: i}
	}
	if _, err := s.Put(t.Context(), large, third); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("40,000 items: %v", err)
	}
}

// notices keeps what is published.
type notices []verdict.Notice

func (n *notices) Publish(_ context.Context, more []verdict.Notice) error {
	*n = append(*n, more...)
	return nil
}

// TestVerdictsInTables stages and judges through a connection that loses requests and
// answers. In the end, what was told is what the row says.
func TestVerdictsInTables(t *testing.T) {
	uri, proxy := through(t, func(n int, _ *http.Request) azurite.Fault {
		switch {
		case n%6 == 0:
			return azurite.Lose
		case n%11 == 0:
			return azurite.Drop
		}
		return azurite.Pass
	})
	s := openState(t, uri)
	settings := verdict.Defaults()
	place := verdict.Place{Hub: "contoso-hub", Bucket: stagedDay}
	now := place.Bucket.Start()
	stager := verdict.Stager{Settings: settings, Store: s, Now: func() time.Time { return now }}
	var told notices
	judge := verdict.Judge{Settings: settings, Store: s, Publisher: &told}
	for part := range slices.Chunk(refusals(place, 20, 10), 7) {
		if err := stager.Stage(t.Context(), verdict.Pack(nil, place, nil, part), []verdict.Mark{{Place: place}}); err != nil {
			t.Fatal(err)
		}
		for derived := true; derived; {
			pass, err := judge.Run(t.Context(), now)
			if err != nil && !errors.Is(err, verdict.ErrConflict) { // a lost answer looks like another writer
				t.Fatal(err)
			}
			derived = pass.Derived > 0 || err != nil
			if !pass.Again.IsZero() {
				now = pass.Again // Twenty devices are held back for a while: they may be a storm.
			}
		}
	}
	highest := map[verdict.Item]verdict.Version{}
	for _, notice := range told {
		if notice.Seq > highest[notice.Item].Seq {
			highest[notice.Item] = notice.Version
		}
		if len(notice.Records) != 1 {
			t.Errorf("a notice has %d records", len(notice.Records))
		}
	}
	row, _, err := s.Row(t.Context(), place)
	if err != nil || row.Seq != row.Published || len(highest) != 20 {
		t.Errorf("%d items told, row %+v, %v", len(highest), row, err)
	}
	if diff := cmp.Diff(row.Items, highest); diff != "" {
		t.Errorf("told (-row +notices):\n%s", diff)
	}
	if n := proxy.Requests(); n < 20 {
		t.Errorf("%d requests went through the proxy", n)
	}
}

// TestExpire checks that records are kept for three days after their day, and that nothing
// else is dropped.
func TestExpire(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	day := func(n int) time.Time { return time.Date(2026, 2, n, 0, 0, 0, 0, time.UTC) }
	stage := func(at time.Time) verdict.Place {
		place := verdict.Place{Hub: "contoso-hub", Bucket: verdict.BucketOf(at)}
		if err := s.Stage(t.Context(), verdict.Pack(nil, place, nil, refusals(place, 1, 1))); err != nil {
			t.Fatal(err)
		}
		return place
	}
	var places []verdict.Place
	for n := 1; n <= 6; n++ {
		places = append(places, stage(day(n).Add(12*time.Hour)))
	}
	row := verdict.Row{Place: places[0], Seq: 1}
	if _, err := s.Put(t.Context(), row, ""); err != nil {
		t.Fatal(err)
	}
	other := s.account.table(s.prefix+"staged2026020", nothing)
	if _, err := other.client.CreateTable(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		now     time.Time
		dropped int
		first   int // the place that is the first to be there
	}{
		{day(4), 0, 0}, {day(5).Add(-1), 0, 0}, {day(5), 1, 1}, {day(5), 0, 1}, {day(6).Add(time.Hour), 1, 2},
	} {
		dropped, err := s.Expire(t.Context(), c.now)
		if err != nil || dropped != c.dropped {
			t.Errorf("%s: %d dropped, want %d, %v", c.now, dropped, c.dropped, err)
		}
		for n, place := range places {
			if have := len(stagedRows(t, s, place, false)) == 1; have != (n >= c.first) {
				t.Errorf("%s: rows of day %d: %t", c.now, n+1, have)
			}
		}
	}
	if got, _, err := s.Row(t.Context(), places[0]); err != nil || got.Seq != 1 {
		t.Errorf("the verdict row: %+v, %v", got, err)
	}
	// What has marks is not judged yet, and its verdict reads the days around it.
	if err := s.Mark(t.Context(), []verdict.Mark{{Place: places[2]}}); err != nil {
		t.Fatal(err)
	}
	if dropped, err := s.Expire(t.Context(), day(11)); err != nil || dropped != 1 || len(stagedRows(t, s, places[2], false)) != 1 {
		t.Errorf("with a mark: %d dropped, want the other one, %v", dropped, err)
	}
	for n, want := range []bool{true, true, false, false, false, true} {
		if have, err := s.Dropped(t.Context(), places[n].Bucket); err != nil || have != want {
			t.Errorf("dropped, day %d: %t, want %t, %v", n+1, have, want, err)
		}
	}
	marks, err := s.Marked(t.Context(), places[2], verdict.Open)
	if err != nil || len(marks) != 1 || s.Unmark(t.Context(), marks[0]) != nil {
		t.Fatalf("the mark: %v, %v", marks, err)
	}
	if dropped, err := s.Expire(t.Context(), day(11)); err != nil || dropped != 3 {
		t.Errorf("without the mark: %d dropped, %v", dropped, err)
	}
	if _, err := other.client.CreateTable(t.Context(), nil); !hasCode(err, "TableAlreadyExists") {
		t.Errorf("another table: %v", err)
	}
}

// about reports whether a request is about a table: reads or writes its rows, makes it, or
// drops it.
func about(r *http.Request, name string) bool {
	body, _ := io.ReadAll(r.Body) // what cannot be read is not passed on either
	r.Body = io.NopCloser(bytes.NewReader(body))
	return strings.Contains(r.URL.Path, "/"+name) || strings.Contains(r.URL.Path, "Tables('"+name) || strings.Contains(string(body), name)
}

// TestTableBeingDeleted stages and judges while the table of the records, or that of the
// verdicts, is being deleted, is gone and cannot be made, and can be made again. Until then
// staging fails, so the relay gets its records again, nothing is marked that is not kept, and no
// mark is removed of which the verdict is not told.
func TestTableBeingDeleted(t *testing.T) {
	type phase func(*http.Request) (answer reply, ok bool)
	var now atomic.Pointer[phase]
	through := func(t *testing.T) *State {
		a := emulator(t)
		target, _, _ := strings.Cut(a.Endpoint(), "/devstoreaccount1")
		service, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		pass := httputil.NewSingleHostReverseProxy(service)
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer, ok := (*now.Load())(r); ok {
				answer.write(w)
				return
			}
			pass.ServeHTTP(w, r)
		}))
		t.Cleanup(proxy.Close)
		return openState(t, strings.Replace(a.ConnectionString(), target, proxy.URL, 1))
	}
	in := func(p phase) { now.Store(&p) }
	fine := func(*http.Request) (reply, bool) { return reply{}, false }
	place := verdict.Place{Hub: "contoso-hub", Bucket: stagedDay}
	at := place.Bucket.Start()
	entries := refusals(place, 3, 10)
	marks := []verdict.Mark{{Place: place}}
	for name, table := range map[string]func(*State) string{
		"records":  func(s *State) string { return s.staged(place.Bucket).name },
		"verdicts": func(s *State) string { return s.verdicts(place.Bucket).name },
		"marks":    func(s *State) string { return s.marks().name },
	} {
		t.Run(name, func(t *testing.T) {
			in(fine)
			s := through(t)
			stager := &verdict.Stager{Settings: verdict.Defaults(), Store: s, Now: func() time.Time { return at }}
			var told notices
			judge := verdict.Judge{Settings: verdict.Defaults(), Store: s, Publisher: &told}
			failed := 0
			for _, p := range []phase{
				func(r *http.Request) (reply, bool) {
					return by(http.StatusConflict, "TableBeingDeleted"), about(r, table(s))
				},
				func(r *http.Request) (reply, bool) {
					if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/Tables") {
						return by(http.StatusConflict, "TableBeingDeleted"), about(r, table(s))
					}
					return by(http.StatusNotFound, "TableNotFound"), about(r, table(s))
				},
			} {
				in(p)
				err := stager.Stage(t.Context(), verdict.Pack(nil, place, nil, entries), marks)
				_, judged := judge.Run(t.Context(), at)
				if err == nil && judged == nil {
					t.Errorf("staging and judging succeeded")
				}
				for what, err := range map[string]error{"staging": err, "judging": judged} {
					var answer *ServiceError
					if err == nil {
						continue
					}
					failed++
					if !errors.As(err, &answer) || errors.Is(err, errRejected) || errors.Is(err, verdict.ErrConflict) {
						t.Errorf("%s: error %v, want one that says to try again", what, err)
					}
				}
				in(fine)
				rows := len(stagedRows(t, s, place, true))
				marked, err := s.Marked(t.Context(), place, verdict.Open)
				if err != nil || len(marked) > 0 && rows == 0 || len(told) > 0 {
					t.Errorf("%d rows, %d marks and %d notices, %v", rows, len(marked), len(told), err)
				}
			}
			if failed < 2 {
				t.Errorf("%d calls failed, want one at least in each phase", failed)
			}
			// The relay gets the same records again.
			if err := stager.Stage(t.Context(), verdict.Pack(nil, place, nil, entries), marks); err != nil {
				t.Fatal(err)
			}
			if _, err := judge.Run(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			items := map[verdict.Item]bool{}
			for _, notice := range told {
				items[notice.Item] = true
			}
			marked, err := s.Marked(t.Context(), place, verdict.Open)
			if err != nil || len(marked) != 0 || len(items) != len(entries) {
				t.Errorf("in the end %d items are told of %d, and %d marks stay, %v", len(items), len(entries), len(marked), err)
			}
		})
	}
}

// TestExpireTwice drops tables that another instance is dropping: it goes on with the others,
// and says that the records are dropped.
func TestExpireTwice(t *testing.T) {
	var dropping atomic.Int64
	s := openState(t, between(t, by(http.StatusConflict, "TableBeingDeleted"), func(r *http.Request) bool {
		return r.Method == http.MethodDelete && dropping.Add(1) == 1
	}))
	first := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	for n := range 2 {
		place := verdict.Place{Hub: "contoso-hub", Bucket: verdict.BucketOf(first.AddDate(0, 0, n))}
		if err := s.Stage(t.Context(), verdict.Pack(nil, place, nil, refusals(place, 1, 1))); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Expire(t.Context(), first.AddDate(0, 0, 10)); err != nil || n != 2 {
		t.Errorf("%d dropped, want 2, %v", n, err)
	}
	for n := range 2 {
		if dropped, err := s.Dropped(t.Context(), verdict.BucketOf(first.AddDate(0, 0, n))); err != nil || !dropped {
			t.Errorf("day %d: dropped %t, %v", n+1, dropped, err)
		}
	}
}
