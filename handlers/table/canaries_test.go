package table

import (
	"context"
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
		{"sent", func() error { return s.Send(t.Context(), first, patience) }, false, []coverage.Trip{sent}, 2},
		{"another is taken", func() error { return s.Handed(t.Context(), second) }, false, []coverage.Trip{sent}, 1},
		{"taken", func() error { return s.Handed(t.Context(), first) }, false, []coverage.Trip{handed}, 1},
		{"another is refused", func() error { return s.Refused(t.Context(), second, "404") }, false, []coverage.Trip{handed}, 1},
		{"made up", arrive(second, 0), false, []coverage.Trip{handed}, 1},
		{"arrived", arrive(first, 2500*time.Millisecond), true, []coverage.Trip{arrived}, 2},
		{"arrived again", arrive(first, time.Hour), true, []coverage.Trip{arrived}, 1},
		{"the next", func() error { return s.Send(t.Context(), second, patience) }, false, []coverage.Trip{again}, 2},
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
	if err := clean.Send(t.Context(), c, coverage.Patience); err != nil {
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
	if err := clean.Send(t.Context(), c, coverage.Patience); err != nil {
		t.Error(err)
	}
	if trips, err := clean.Trips(t.Context()); err != nil || len(trips) != 1 || trips[0].Token != "first" {
		t.Errorf("error %v, trips %+v", err, trips)
	}
}
