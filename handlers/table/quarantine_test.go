package table

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// quarantined returns the events in the quarantine whose ids begin with id.
func quarantined(t *testing.T, s *Quarantine, id string) []Held {
	t.Helper()
	var all []Held
	for held, err := range s.List(t.Context(), QuarantineQuery{ID: id}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, held)
	}
	return all
}

// TestQuarantinedComesBack checks that an event of any length can be read as it
// was quarantined, and that Delete removes all of its rows.
func TestQuarantinedComesBack(t *testing.T) {
	s := openQuarantine(t, emulator(t).ConnectionString())
	begin := time.Now().UTC().Truncate(time.Microsecond)
	for _, q := range []alert.Quarantined{
		{Function: "CertificateAdded", EventID: "event-1", Reason: "event: eventType: missing or empty", Body: []byte(`{"id":"event-1"}`), Size: 16},
		{Function: "CertificateAdded", Reason: "the request is not an invocation", Body: []byte("not\xffJSON"), Size: 9},
		{Function: "CertificateAdded", Reason: "empty", Body: nil, Size: 0},
		{Function: "CertificateAdded", Reason: "just too long for a column", Body: []byte(strings.Repeat("x", maxText+1)), Size: maxText + 1},
		{Function: "CertificateAdded", Reason: "just one row more", Body: []byte(strings.Repeat("x", partColumn*partColumns)), Size: partColumn * partColumns},
		{Function: "CertificateAdded", Reason: "too large", Body: []byte(strings.Repeat(`"é\u0000`, 256<<10)), Size: 20 << 20},
		{Function: "Certificate/Added?", Reason: "secret", Body: []byte(`{"url":"https://contoso.example/?sig=abcdef"}`), Size: 45},
	} {
		if err := s.Quarantine(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		id := hash(q.Function, string(q.Body))
		if n := len(quarantined(t, s, "")); n != 1 {
			t.Errorf("%s: %d events, want one", q.Reason, n)
		}
		for _, beginning := range []string{id, id[:1], id[:31]} {
			if list := quarantined(t, s, beginning); len(list) != 1 || list[0].ID != id || list[0].Body != nil {
				t.Errorf("%s: %+v begin with %s, want %s", q.Reason, list, beginning, id)
			}
		}
		if list := quarantined(t, s, strings.Repeat("f", 32)); len(list) > 0 {
			t.Errorf("%s: %+v have an id that nothing has", q.Reason, list)
		}
		held, err := s.Whole(t.Context(), quarantined(t, s, id)[0])
		if err != nil {
			t.Fatal(err)
		}
		if held.Function != q.Function || held.EventID != q.EventID || held.Reason != q.Reason || held.Size != q.Size || held.BodySha256 != sha256Hex(q.Body) {
			t.Errorf("%s: comes back as %+v", q.Reason, held)
		}
		if got, want := string(held.Body), string(redactedBody(q.Body)); got != want {
			t.Errorf("%s: a body of %d bytes comes back as %d bytes: %.60q", q.Reason, len(want), len(got), got)
		}
		if held.QuarantinedAt.Before(begin) || !held.RedrivenAt.IsZero() || held.Outcome != "" {
			t.Errorf("%s: quarantined at %v, redriven at %v with %q", q.Reason, held.QuarantinedAt, held.RedrivenAt, held.Outcome)
		}

		if err := s.Redriven(t.Context(), held, "1 alert, ?sig=abcdef"); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), held); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: deleted although it has changed: %v", q.Reason, err)
		}
		if err := s.Redriven(t.Context(), held, "again"); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: marked although it has changed: %v", q.Reason, err)
		}
		if err := s.Quarantine(t.Context(), q); err != nil { // a redelivery
			t.Fatal(err)
		}
		again, err := s.Whole(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		if again.RedrivenAt.Before(begin) || again.Outcome != clean("1 alert, ?sig=abcdef") || string(again.Body) != string(held.Body) || again.Reason != held.Reason {
			t.Errorf("%s: marked, it is %+.300v", q.Reason, again)
		}

		if err := s.Delete(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if rows := dump(t, s.table); len(rows) > 0 {
			t.Errorf("%s: %d rows are left", q.Reason, len(rows))
		}
		for what, err := range map[string]error{
			"delete": s.Delete(t.Context(), again),
			"mark":   s.Redriven(t.Context(), again, ""),
			"take":   s.Resolve(t.Context(), again, "", ""),
			"read":   func() error { _, err := s.Whole(t.Context(), again); return err }(),
		} {
			if !errors.Is(err, ErrChanged) {
				t.Errorf("%s: %s after it was deleted: %v", q.Reason, what, err)
			}
		}
	}
}

// TestQuarantineFaults checks that a failed request gives an error in words, that
// no part of a body is returned as a whole body, and that an interrupted deletion
// leaves no head without its body.
func TestQuarantineFaults(t *testing.T) {
	long := alert.Quarantined{Function: "CertificateAdded", Reason: "long", Body: []byte(strings.Repeat("x", 2*partColumn*partColumns)), Size: 1}
	for method, use := range map[string]func(*Quarantine, Held) error{
		"list":   func(s *Quarantine, h Held) error { return errorOf(s.List(t.Context(), QuarantineQuery{})) },
		"read":   func(s *Quarantine, h Held) error { _, err := s.Whole(t.Context(), h); return err },
		"mark":   func(s *Quarantine, h Held) error { return s.Redriven(t.Context(), h, "") },
		"take":   func(s *Quarantine, h Held) error { return s.Resolve(t.Context(), h, "", "") },
		"delete": func(s *Quarantine, h Held) error { return s.Delete(t.Context(), h) },
	} {
		for _, part := range []string{"", "%7C00", "%7C01"} {
			t.Run(method+part, func(t *testing.T) {
				t.Parallel()
				if part != "" && (method == "list" || method == "mark" || method == "take") {
					return // touches the head alone
				}
				clean := openQuarantine(t, emulator(t).ConnectionString())
				if err := clean.Quarantine(t.Context(), long); err != nil {
					t.Fatal(err)
				}
				held, err := clean.Whole(t.Context(), quarantined(t, clean, "")[0])
				if err != nil {
					t.Fatal(err)
				}
				connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
					if strings.Contains(r.URL.RequestURI(), part) {
						return azurite.Drop
					}
					return azurite.Pass
				})
				if err := use(account(t, connection).Quarantine(clean.table.name), held); err == nil || !strings.HasPrefix(err.Error(), `table "`+clean.table.name) {
					t.Errorf("error %v, want one that names the table", err)
				}
				for _, left := range quarantined(t, clean, "") {
					if got, err := clean.Whole(t.Context(), left); err != nil || len(got.Body) != len(long.Body) {
						t.Errorf("a head without its body is left: %d bytes, error %v", len(got.Body), err)
					}
				}
			})
		}
	}
}

// TestLongBodiesOneAtATime checks that a long body waits while another one is kept, as
// long as its invocation may take, that a short one does not, and that a failure lets the
// next one in.
func TestLongBodiesOneAtATime(t *testing.T) {
	clean := openQuarantine(t, emulator(t).ConnectionString())
	long := alert.Quarantined{Function: "CertificateAdded", Body: []byte(strings.Repeat("x", longBody+1))}
	short := alert.Quarantined{Function: "CertificateAdded", Body: []byte(strings.Repeat("x", longBody))}
	arrived := make(chan struct{})
	connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
		if n == 1 {
			close(arrived)
			return azurite.Hang
		}
		return azurite.Pass
	})
	s := account(t, connection).Quarantine(clean.table.name)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.Quarantine(ctx, long) }()
	<-arrived
	over, end := context.WithCancelCause(t.Context())
	end(errors.New("not done within 20s"))
	if err := s.Quarantine(over, long); err == nil || err.Error() != "quarantine: another long body is being kept: not done within 20s" {
		t.Errorf("a second long body: %v", err)
	}
	if err := s.Quarantine(t.Context(), short); err != nil {
		t.Errorf("a short body: %v", err)
	}
	cancel()
	if err := <-first; err == nil {
		t.Error("a body is kept whose request got no answer")
	}
	if err := s.Quarantine(t.Context(), long); err != nil {
		t.Errorf("a long body afterwards: %v", err)
	}
}

// TestResolve checks that an event that is taken out stays in the table, with who
// took it out, when and why, that a redelivery on its day does not bring it back,
// and that of two people the second is told. Listing is enough to resolve.
func TestResolve(t *testing.T) {
	s := openQuarantine(t, emulator(t).ConnectionString())
	begin := time.Now().UTC().Truncate(time.Microsecond)
	q := alert.Quarantined{Function: "CertificateAdded", EventID: "event-1", Reason: "no JSON", Body: []byte("foreign"), Size: 7}
	if err := s.Quarantine(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	listed := quarantined(t, s, "")[0]
	if !listed.Waits() {
		t.Errorf("a new event does not wait: %+v", listed)
	}
	if err := s.Resolve(t.Context(), listed, "alice, ?sig=abcdef", "a foreign record, ?sig=abcdef"); err != nil {
		t.Fatal(err)
	}
	if err := s.Resolve(t.Context(), listed, "bob", "the same"); !errors.Is(err, ErrChanged) {
		t.Errorf("resolved a second time on the ground of what is no longer so: %v", err)
	}
	if err := s.Quarantine(t.Context(), q); err != nil { // a redelivery
		t.Fatal(err)
	}
	all := quarantined(t, s, "")
	if len(all) != 1 {
		t.Fatalf("%d events, want one", len(all))
	}
	got, err := s.Whole(t.Context(), all[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.ResolvedBy+got.Note, "abcdef") || !strings.HasPrefix(got.ResolvedBy, "alice, ") || !strings.HasPrefix(got.Note, "a foreign record, ") ||
		got.ResolvedAt.Before(begin) || got.Waits() || !got.RedrivenAt.IsZero() || string(got.Body) != "foreign" || got.Reason != q.Reason {
		t.Errorf("resolved, it is %+v", got)
	}
}

// TestQuarantineByDay checks that the partitions of the quarantine are those of a
// function and a day, that a list has the newest first, and that it asks only for the
// days that it needs, with one true range each.
func TestQuarantineByDay(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := openQuarantine(t, connection)
	noon := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	came := func(at time.Time, function, body string) {
		t.Helper()
		s.now = func() time.Time { return at }
		if err := s.Quarantine(t.Context(), alert.Quarantined{Function: function, Reason: body, Body: []byte(body), Size: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for days := range 5 {
		day := noon.AddDate(0, 0, -days)
		came(day, "CertificateAdded", fmt.Sprint("added ", days))
		came(day.Add(time.Hour), "RelayResourceLogs", fmt.Sprint("relayed ", days))
		came(day, "RelayResourceLogs", "the same") // a redelivery on each day
		came(day.Add(time.Minute), "RelayResourceLogs", "the same")
	}
	partitions := map[any]bool{}
	for _, row := range dump(t, s.table) {
		partitions[row["PartitionKey"]] = true
	}
	if len(partitions) != 10 {
		t.Errorf("%d partitions, want one for each function and day: %v", len(partitions), partitions)
	}
	for name, test := range map[string]struct {
		query    QuarantineQuery
		want     []string // reasons
		requests int      // to look for days, and one for each partition
	}{
		"one day of one function":   {QuarantineQuery{Function: "CertificateAdded", Since: noon, Until: noon}, []string{"added 0"}, 1},
		"newest first within a day": {QuarantineQuery{Function: "RelayResourceLogs", Since: noon, Until: noon.Add(time.Hour)}, []string{"relayed 0", "the same"}, 1},
		"two days of one function":  {QuarantineQuery{Function: "CertificateAdded", Since: noon.AddDate(0, 0, -1)}, []string{"added 0", "added 1"}, 2 + 3},
		"since":                     {QuarantineQuery{Since: noon.Add(time.Second)}, []string{"relayed 0"}, 2 + 7},
		"until":                     {QuarantineQuery{Function: "CertificateAdded", Until: noon.AddDate(0, 0, -4)}, []string{"added 4"}, 1 + 2},
		"until, and none":           {QuarantineQuery{Until: noon.AddDate(0, 0, -5)}, nil, 5},
		"an id":                     {QuarantineQuery{ID: hash("CertificateAdded", "added 3")[:8]}, []string{"added 3"}, 10 + 13},
		"an id on several days":     {QuarantineQuery{ID: hash("RelayResourceLogs", "the same"), Since: noon.AddDate(0, 0, -1)}, []string{"the same", "the same"}, 4 + 7},
		"all of one, newest first":  {QuarantineQuery{Function: "CertificateAdded"}, []string{"added 0", "added 1", "added 2", "added 3", "added 4"}, 5 + 6},
		"a function that is not it": {QuarantineQuery{Function: "certificateadded"}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := proxy.Requests()
			var got []string
			for held, err := range s.List(t.Context(), test.query) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, held.Reason)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("have %q, want %q", got, test.want)
			}
			if n := proxy.Requests() - before; n > test.requests {
				t.Errorf("%d requests, want at most %d", n, test.requests)
			}
		})
	}
}

// TestBacklogs counts what waits of several functions and days. An event that came on two
// days is one, and one that was judged or taken out since waits no more.
func TestBacklogs(t *testing.T) {
	s := openQuarantine(t, emulator(t).ConnectionString())
	now := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	if list, more, err := s.Backlogs(t.Context(), now, 5); len(list) > 0 || more || err != nil {
		t.Errorf("of no table: %v, %v, %v", list, more, err)
	}
	hold := func(function, body string, at time.Time) {
		t.Helper()
		s.now = func() time.Time { return at }
		if err := s.Quarantine(t.Context(), alert.Quarantined{Function: function, Reason: "a test", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	hold("HubKeysListed", "1", now.Add(-time.Hour))
	hold("HubKeysListed", "1", now.Add(-24*time.Hour))
	hold("HubKeysListed", "2", now.Add(-24*time.Hour))
	hold("HubDeleted", "1", now.Add(-23*time.Hour))
	hold("CertificateAdded", "1", now)
	for _, held := range quarantined(t, s, hash("CertificateAdded", "1")) {
		if err := s.Resolve(t.Context(), held, "alice", "a test"); err != nil {
			t.Fatal(err)
		}
	}
	want := []Backlog{{"HubDeleted", 1, 1, now.Add(-23 * time.Hour), false}, {"HubKeysListed", 2, 1, now.Add(-24 * time.Hour), false}}
	if list, more, err := s.Backlogs(t.Context(), now, 5); !slices.Equal(list, want) || more || err != nil {
		t.Errorf("they are %v, %v, %v; want %v", list, more, err, want)
	}
	if list, more, err := s.Backlogs(t.Context(), now, 4); len(list) == 0 || !more || err != nil {
		t.Errorf("of four rows of five: %v, %v, %v", list, more, err)
	}
}

// TestMisfit checks of which backlogs people hear, and that the sentence fits the numbers.
func TestMisfit(t *testing.T) {
	since := time.Date(2026, 2, 9, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		backlog Backlog
		custom  bool
		want    string
	}{
		{Backlog{"HubDeleted", 1, 0, since, false}, true, "HubDeleted could not judge 1 event since 2026-02-09, and no alert of it is known since then. Its condition may fit none of its events."},
		{Backlog{"HubDeleted", 9, 9, since, true}, true, ""},
		{Backlog{"HubDeleted", 30, 10, since, true}, true, "HubDeleted could not judge 10 events in the last 24 hours, and others it could: it has raised alerts. Some of its events probably lack what its condition reads."},
		{Backlog{"CertificateAdded", 9, 9, since, false}, false, ""},
		{Backlog{"CertificateAdded", 10, 10, since, false}, false, "CertificateAdded could not judge 10 events in the last 24 hours."},
		{Backlog{}, true, ""},
	} {
		if got := c.backlog.Misfit(c.custom); got != c.want {
			t.Errorf("%+v: %s, want %s", c.backlog, got, c.want)
		}
	}
}

// TestKnow looks for alerts of functions that could not judge events: none, one of long
// before, one of later, and one that is suppressed.
func TestKnow(t *testing.T) {
	a := open(t, emulator(t).ConnectionString())
	now := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	kind := strings.ToLower
	list := func() []Backlog {
		return []Backlog{{Function: "A", Oldest: now.Add(-time.Hour)}, {Function: "B", Oldest: now.Add(-time.Hour)}, {Function: "C", Oldest: now.AddDate(-1, 0, 0)}, {Function: "", Oldest: now}}
	}
	none := list()
	if err := a.Know(t.Context(), none, now, kind); err != nil || none[0].Raised {
		t.Errorf("of no table: %+v, %v", none, err)
	}
	for _, each := range []struct {
		kind, suppressed string
		at               time.Time
	}{{"a", "", now.Add(-24 * time.Hour)}, {"b", "rule", now}, {"c", "", now.AddDate(0, 0, -29)}} {
		o := countedEvent("pump-1", 1, each.at)
		o.Type = each.kind
		o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, each.at)
		o.SuppressedBy = each.suppressed
		if _, err := a.Record(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	got := list()
	if err := a.Know(t.Context(), got, now, kind); err != nil || got[0].Raised || !got[1].Raised || !got[2].Raised || got[3].Raised {
		t.Errorf("%+v, %v", got, err)
	}
}
