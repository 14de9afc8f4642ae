package table

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/local/azurite"
)

// TestCanaries sends canaries and lets them arrive: late, twice, from elsewhere, and not at all.
func TestCanaries(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	canary := func(token string, hour int) coverage.Canary {
		return coverage.Canary{Path: coverage.Topic, Token: token, Sent: noon.Truncate(time.Second).Add(time.Duration(hour) * time.Hour)}
	}
	first, second := canary("first", 0), canary("second", 1)
	var known bool
	arrive := func(c coverage.Canary, after time.Duration) func() error {
		return func() (err error) { known, err = s.Arrive(t.Context(), c, first.Sent.Add(after)); return err }
	}
	const patience = 90 * time.Second
	sent := coverage.Trip{Path: coverage.Topic, Sent: first.Sent, Token: "first", Patience: patience}
	handed := sent
	handed.Handed = true
	arrived := handed
	arrived.ArrivedToken, arrived.ArrivedSent, arrived.Took = "first", first.Sent, 2500*time.Millisecond
	again := arrived
	again.Sent, again.Token, again.Handed = second.Sent, "second", false
	refused := again
	refused.Fault = "404"
	back := refused
	back.ArrivedToken, back.ArrivedSent, back.Took = "second", second.Sent, 0
	for _, step := range []struct {
		what     string
		do       func() error
		known    bool
		want     []coverage.Trip
		requests int
	}{
		{"nobody sent it", arrive(first, 0), false, nil, 2}, // makes the table
		{"sent", func() error { return s.Send(t.Context(), first, patience, nil) }, false, []coverage.Trip{sent}, 2},
		{"another is taken", func() error { return s.Handed(t.Context(), second) }, false, []coverage.Trip{sent}, 1},
		{"taken", func() error { return s.Handed(t.Context(), first) }, false, []coverage.Trip{handed}, 1},
		{"another is refused", func() error { return s.Refused(t.Context(), second, "404") }, false, []coverage.Trip{handed}, 1},
		{"made up", arrive(second, 0), false, []coverage.Trip{handed}, 1},
		{"arrived", arrive(first, 2500*time.Millisecond), true, []coverage.Trip{arrived}, 2},
		{"arrived again", arrive(first, time.Hour), true, []coverage.Trip{arrived}, 1},
		{"the next", func() error { return s.Send(t.Context(), second, patience, nil) }, false, []coverage.Trip{again}, 2},
		{"the old one again", arrive(first, time.Hour), false, []coverage.Trip{again}, 1},
		{"refused", func() error { return s.Refused(t.Context(), second, "404") }, false, []coverage.Trip{refused}, 2},
		{"arrived all the same, by a clock that is behind", arrive(second, 0), true, []coverage.Trip{back}, 2},
	} {
		known = false
		before := proxy.Requests()
		if err := step.do(); err != nil || known != step.known {
			t.Errorf("%s: known %v, want %v; error %v", step.what, known, step.known, err)
		}
		if got := proxy.Requests() - before; got != step.requests {
			t.Errorf("%s: %d requests, want %d", step.what, got, step.requests)
		}
		trips, err := s.Trips(t.Context())
		if diff := cmp.Diff(step.want, trips); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", step.what, err, diff)
		}
	}
	if alerts := list(t, s, alert.Query{}); len(alerts) > 0 {
		t.Errorf("%d alerts, want none", len(alerts))
	}
	if heard, err := s.LastHeard(t.Context()); err != nil || len(heard) > 0 {
		t.Errorf("error %v, heard %v, want nothing", err, heard)
	}
}

// TestCanariesMeet lets a canary arrive while it is told that it was refused, and a person break the
// row.
func TestCanariesMeet(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	c := coverage.Canary{Path: coverage.EventHub, Token: "first", Sent: noon}
	meet := false
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if meet && r.Method == http.MethodPost {
			meet = false
			if known, err := clean.Arrive(context.Background(), c, noon.Add(time.Second)); !known || err != nil {
				t.Errorf("known %v, error %v", known, err)
			}
		}
		return azurite.Pass
	})
	if err := clean.Send(t.Context(), c, coverage.Patience, nil); err != nil {
		t.Fatal(err)
	}
	meet = true
	if err := again(t, clean, connection).Refused(t.Context(), c, "timeout"); err != nil {
		t.Error(err)
	}
	if trips, err := clean.Trips(t.Context()); err != nil || len(trips) != 1 || trips[0].Fault != "timeout" || !trips[0].Arrived() {
		t.Errorf("error %v, trips %+v, want one that was refused and arrived", err, trips)
	}
	if _, err := clean.table.client.UpsertEntity(t.Context(), []byte(`{"PartitionKey":"!canary","RowKey":"event-hub","SentUtc":"yesterday"}`), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := clean.Trips(t.Context()); err == nil || !strings.Contains(err.Error(), "row !canary event-hub: column SentUtc: ") {
		t.Errorf("error %v, want one that names the row and the column", err)
	}
	if err := clean.Send(t.Context(), c, coverage.Patience, nil); err != nil {
		t.Error(err)
	}
	if trips, err := clean.Trips(t.Context()); err != nil || len(trips) != 1 || trips[0].Token != "first" {
		t.Errorf("error %v, trips %+v", err, trips)
	}
}

// TestBranches lets canaries come to branches of a path: late, twice, from elsewhere, and to none that
// is there.
func TestBranches(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	a, b := coverage.Branch{Function: "DeviceTokenExpired", Type: "hubwatch.iothub.connection.failed"}, coverage.Branch{Function: "DeviceTokenExpired", Type: "hubwatch.iothub.connection.missing"}
	other := coverage.Branch{Function: "ConnectionStorm", Type: "hubwatch.iothub.connection.storm"}
	canary := func(token string, hour int) coverage.Canary {
		return coverage.Canary{Path: coverage.Topic, Token: token, Sent: noon.Truncate(time.Second).Add(time.Duration(hour) * time.Hour)}
	}
	first, second := canary("first", 0), canary("second", 1)
	var known bool
	reach := func(c coverage.Canary, at coverage.Branch, after time.Duration) func() error {
		return func() (err error) { known, err = s.Reach(t.Context(), c, at, c.Sent.Add(after)); return err }
	}
	send := func(c coverage.Canary, branches ...coverage.Branch) func() error {
		return func() error { return s.Send(t.Context(), c, coverage.Patience, branches) }
	}
	since := func(b coverage.Branch, c coverage.Canary) coverage.Branch { b.Since = c.Sent; return b }
	reached := func(b coverage.Branch, c coverage.Canary, took time.Duration) coverage.Branch {
		b.ArrivedToken, b.ArrivedSent, b.Took = c.Token, c.Sent, took
		return b
	}
	a1, b1 := since(a, first), since(b, first)
	for _, step := range []struct {
		what     string
		do       func() error
		known    bool
		want     []coverage.Branch
		requests int
	}{
		{"sent", send(first, a, b), false, []coverage.Branch{a1, b1}, 2},
		{"arrived at one", reach(first, b, time.Second), true, []coverage.Branch{a1, reached(b1, first, time.Second)}, 2},
		{"again", reach(first, b, time.Hour), true, []coverage.Branch{a1, reached(b1, first, time.Second)}, 1},
		{"one that was made up", reach(second, a, 0), false, []coverage.Branch{a1, reached(b1, first, time.Second)}, 1},
		{"at one that is not there", reach(first, other, 0), false, []coverage.Branch{a1, reached(b1, first, time.Second)}, 1},
		{"by a clock that is behind", reach(first, a, -time.Second), true, []coverage.Branch{reached(a1, first, 0), reached(b1, first, time.Second)}, 2},
		{"the next, with another branch", send(second, other, a), false, []coverage.Branch{since(other, second), reached(a1, first, 0)}, 2},
		{"the first once more", reach(first, a, time.Hour), false, []coverage.Branch{since(other, second), reached(a1, first, 0)}, 1},
		{"the second arrives", reach(second, a, time.Minute), true, []coverage.Branch{since(other, second), reached(a1, second, time.Minute)}, 2},
	} {
		known = false
		before := proxy.Requests()
		if step.what == "sent" { // which makes the table
			if err := s.Expect(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			before = proxy.Requests()
		}
		if err := step.do(); err != nil || known != step.known {
			t.Errorf("%s: known %v, want %v; error %v", step.what, known, step.known, err)
		}
		if got := proxy.Requests() - before; got != step.requests {
			t.Errorf("%s: %d requests, want %d", step.what, got, step.requests)
		}
		before = proxy.Requests()
		trips, err := s.Trips(t.Context())
		if err != nil || len(trips) != 1 {
			t.Fatalf("%s: error %v, trips %+v", step.what, err, trips)
		}
		if diff := cmp.Diff(step.want, trips[0].Branches); diff != "" || proxy.Requests()-before != 1 {
			t.Errorf("%s: (-want +got):\n%s\n%d requests, want 1", step.what, diff, proxy.Requests()-before)
		}
	}
}

// TestManyBranches checks that the most branches that a path can have, with the longest names, fit into
// a row.
func TestManyBranches(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	var branches []coverage.Branch
	for i := range coverage.MostBranches + 1 {
		branches = append(branches, coverage.Branch{Function: fmt.Sprintf("%064d", i), Type: "hubwatch.iothub.connection.certificate-expired-and-more"})
	}
	if err := s.Send(t.Context(), coverage.Canary{Path: coverage.Topic, Token: "a", Sent: noon}, coverage.Patience, branches); err != nil {
		t.Fatal(err)
	}
	trips, err := s.Trips(t.Context())
	if err != nil || len(trips) != 1 || len(trips[0].Branches) != coverage.MostBranches {
		t.Fatalf("error %v, %d trips", err, len(trips))
	}
}

// TestBranchesMeet lets the next canary arrive at a branch while one that is late is written, and a
// person break rows.
func TestBranchesMeet(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	b := coverage.Branch{Function: "ConnectionStorm", Type: "hubwatch.iothub.connection.storm"}
	first := coverage.Canary{Path: coverage.Topic, Token: "first", Sent: noon}
	second := coverage.Canary{Path: coverage.Topic, Sent: noon.Add(time.Hour)}
	send := func(c coverage.Canary) {
		t.Helper()
		if err := clean.Send(context.Background(), c, coverage.Patience, []coverage.Branch{b}); err != nil {
			t.Fatal(err)
		}
	}
	token := func() string {
		t.Helper()
		trips, err := clean.Trips(t.Context())
		if err != nil || len(trips) != 1 || len(trips[0].Branches) != 1 {
			t.Fatalf("error %v, trips %+v", err, trips)
		}
		return trips[0].Branches[0].ArrivedToken
	}
	meet := false
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if meet && r.Method == http.MethodPost {
			meet = false
			send(second)
			if known, err := clean.Reach(context.Background(), second, b, second.Sent); !known || err != nil {
				t.Errorf("known %v, error %v", known, err)
			}
		}
		return azurite.Pass
	})
	late := again(t, clean, connection)
	send(first)
	for _, second.Token = range []string{"second", "third"} { // without a row of the branch, and with one
		meet = true
		if known, err := late.Reach(t.Context(), first, b, first.Sent); known || err != nil || token() != second.Token {
			t.Errorf("known %v, error %v, arrived %s; want that the first canary takes nothing away", known, err, token())
		}
		send(first)
	}
	row := branchKey(coverage.Topic, b)
	for column, value := range map[string]string{"ArrivedSentUtc": `"yesterday"`, "TookSeconds": `"long"`} {
		if _, err := clean.table.client.UpsertEntity(t.Context(), fmt.Appendf(nil, `{"PartitionKey":%q,"RowKey":%q,%q:%s}`, row.PartitionKey, row.RowKey, column, value), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := clean.Trips(t.Context()); err == nil || !strings.Contains(err.Error(), "row "+row.PartitionKey+" "+row.RowKey+": column "+column+": ") {
			t.Errorf("error %v, want one that names the row and the column %s", err, column)
		}
		if known, err := clean.Reach(t.Context(), first, b, first.Sent); !known || err != nil || token() != "first" {
			t.Errorf("known %v, error %v, arrived %s", known, err, token())
		}
		send(second)
		send(first)
		if known, err := clean.Reach(t.Context(), second, b, first.Sent); known || err != nil {
			t.Errorf("known %v, error %v", known, err)
		}
	}
	if _, err := clean.table.client.UpsertEntity(t.Context(), []byte(`{"PartitionKey":"!canary","RowKey":"topic","SentUtc":"2026-02-01T10:07:00Z","Token":"a","BranchToken":"a","Branches":"a b"}`), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := clean.Trips(t.Context()); err == nil || !strings.Contains(err.Error(), "row !canary topic: column Branches: want ") {
		t.Errorf("error %v, want one that names the row and the column", err)
	}
	if known, err := clean.Reach(t.Context(), first, b, first.Sent); known || err != nil {
		t.Errorf("known %v, error %v", known, err)
	}
	// An older version sends a canary through the topic alone.
	if _, err := clean.table.client.UpsertEntity(t.Context(), []byte(`{"PartitionKey":"!canary","RowKey":"topic","Path":"topic","Token":"old"}`), nil); err != nil {
		t.Fatal(err)
	}
	if trips, err := clean.Trips(t.Context()); err != nil || len(trips) != 1 || trips[0].Branches != nil {
		t.Errorf("error %v, trips %+v; want no branches", err, trips)
	}
}
