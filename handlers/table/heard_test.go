package table

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// TestHear hears of hubs, through two processes with a clock.
func TestHear(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	other := again(t, s, connection)
	now := noon
	s.now, other.now = func() time.Time { return now }, func() time.Time { return now }
	for _, step := range []struct {
		what     string
		by       *Alerts
		after    time.Duration
		hub      string
		source   alert.Source
		event    time.Time
		want     time.Time // of the newest event
		seen     time.Time
		requests int
	}{
		{"a hub", s, 0, "Contoso-Hub", alert.Connections, noon.Add(-time.Hour), noon.Add(-time.Hour), noon, 3}, // the table is made
		{"at once again", s, time.Second, "contoso-hub", alert.Connections, noon, noon.Add(-time.Hour), noon, 0},
		{"by another process", other, 0, "contoso-hub", alert.Connections, noon.Add(-time.Minute), noon.Add(-time.Minute), noon.Add(time.Second), 2},
		{"an older event", s, time.Minute, "contoso-hub", alert.Connections, noon.Add(-24 * time.Hour), noon.Add(-time.Minute), noon.Add(61 * time.Second), 2},
		{"an event of next year", s, time.Minute, "contoso-hub", alert.Connections, noon.AddDate(1, 0, 0), noon.Add(121 * time.Second), noon.Add(121 * time.Second), 2},
		{"a change", s, 0, "contoso-hub", alert.Changes, noon, noon, noon.Add(121 * time.Second), 2},
	} {
		now = now.Add(step.after)
		before := proxy.Requests()
		if err := step.by.Hear(t.Context(), step.hub, step.source, step.event); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		if got := proxy.Requests() - before; got != step.requests {
			t.Errorf("%s: %d requests, want %d", step.what, got, step.requests)
		}
		all, err := s.LastHeard(t.Context())
		found := false
		for _, h := range all {
			found = found || cmp.Equal(h, alert.Heard{Hub: "contoso-hub", Source: step.source, Event: step.want, Seen: step.seen})
		}
		if err != nil || !found {
			t.Errorf("%s: error %v, heard %+v, want an event at %v, seen at %v", step.what, err, all, step.want, step.seen)
		}
	}
	if alerts := list(t, s, alert.Query{}); len(alerts) > 0 {
		t.Errorf("%d alerts, want none", len(alerts))
	}
}

// TestHearMeetsOthers lets two processes hear of a hub at once, and a person break the
// row.
func TestHearMeetsOthers(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.Method == http.MethodPost {
			if err := again(t, clean, emulator(t).ConnectionString()).Hear(context.Background(), "contoso-hub", alert.Changes, noon); err != nil {
				t.Error(err)
			}
		}
		return azurite.Pass
	})
	put(t, clean, occurred("contoso-hub", "1", noon)) // makes the table
	for range 2 {                                     // the row is new, and then it is there
		if err := again(t, clean, connection).Hear(t.Context(), "contoso-hub", alert.Changes, noon); err != nil {
			t.Error(err)
		}
	}
	if _, err := clean.table.client.UpsertEntity(t.Context(), []byte(`{"PartitionKey":"!heard","RowKey":"contoso-hub|changes","LastEventUtc":"yesterday"}`), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := clean.LastHeard(t.Context()); err == nil || !strings.Contains(err.Error(), "row !heard contoso-hub|changes: column LastEventUtc: ") {
		t.Errorf("error %v, want one that names the row and the column", err)
	}
	if err := again(t, clean, emulator(t).ConnectionString()).Hear(t.Context(), "contoso-hub", alert.Changes, noon); err != nil {
		t.Error(err)
	}
	if all, err := clean.LastHeard(t.Context()); err != nil || len(all) != 1 || !all[0].Event.Equal(noon) {
		t.Errorf("error %v, heard %+v", err, all)
	}
}

// TestEars checks that a hub is remembered once a minute, however it is spelled, and that to
// know so takes no memory.
func TestEars(t *testing.T) {
	var e ears
	for _, step := range []struct {
		hub    string
		source alert.Source
		after  time.Duration
		want   bool
	}{
		{"Contoso-Hub", alert.Changes, 0, true}, {"contoso-hub", alert.Changes, time.Second, false}, {"CONTOSO-HUB", alert.HubEvents, time.Second, true},
		{"CONTOSO-HUB", alert.Changes, 59 * time.Second, false}, {"CONTOSO-HUB", alert.Changes, time.Minute, true}, {"Contoso-Hub", alert.Changes, 61 * time.Second, false},
	} {
		if got := e.due(step.hub, step.source, noon.Add(step.after)); got != step.want {
			t.Errorf("%s %s after %v: %v, want %v", step.hub, step.source, step.after, got, step.want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { e.due("CONTOSO-HUB", alert.Changes, noon.Add(62*time.Second)) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
