package table

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// TestExpectedHubs expects hubs that were never heard of. Others read that they were never heard of,
// until they are, and until they are expected no more.
func TestExpectedHubs(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	s.now = func() time.Time { return noon }
	other := again(t, s, connection)
	never := func(hub string) alert.Heard { return alert.Heard{Hub: hub, Source: alert.Connections} }
	heard := alert.Heard{Hub: "contoso-hub", Source: alert.Connections, Event: noon, Seen: noon}
	expect := func(hubs []string, requests int, want ...alert.Heard) {
		t.Helper()
		before := proxy.Requests()
		if err := s.Expect(t.Context(), hubs); err != nil {
			t.Fatal(err)
		}
		if got := proxy.Requests() - before; got != requests {
			t.Errorf("%v: %d requests, want %d", hubs, got, requests)
		}
		all, err := other.LastHeard(t.Context())
		if diff := cmp.Diff(want, all); err != nil || diff != "" {
			t.Errorf("%v: error %v, heard (-want +got):\n%s", hubs, err, diff)
		}
	}
	expect([]string{"Contoso-Spare", "contoso-hub"}, 3, never("contoso-hub"), never("contoso-spare")) // the table is made
	expect([]string{"contoso-hub", "Contoso-Spare"}, 0, never("contoso-hub"), never("contoso-spare"))
	if err := s.Hear(t.Context(), "contoso-hub", alert.Connections, noon); err != nil {
		t.Fatal(err)
	}
	expect([]string{"contoso-hub", "contoso-spare"}, 0, heard, never("contoso-spare"))
	expect(nil, 1, heard)
	if err := other.Expect(t.Context(), nil); err != nil { // another process writes it, too
		t.Error(err)
	}
	s = open(t, connection) // where there is a table, and no such row
	s.now = func() time.Time { return noon }
	other = again(t, s, connection)
	if err := s.Hear(t.Context(), "contoso-hub", alert.Connections, noon); err != nil {
		t.Fatal(err)
	}
	expect([]string{"contoso-spare"}, 2, heard, never("contoso-spare"))
	// A version that does not know the row takes it for what is no hub, and never came.
	for entity, err := range s.table.entities(t.Context(), &aztables.ListEntitiesOptions{Filter: to.Ptr("RowKey eq '" + expectedKey + "'")}) {
		var row struct {
			Source, LastEventUtc, LastSeenUtc string
		}
		if err := errors.Join(err, json.Unmarshal(entity, &row)); err != nil || row.Source != string(alert.Resources) || !strings.HasPrefix(row.LastSeenUtc, "1970-01-01T") || row.LastEventUtc != row.LastSeenUtc {
			t.Errorf("error %v, %s", err, entity)
		}
	}
}

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
		{"an older event", s, time.Minute, "contoso-hub", alert.Connections, noon.Add(-24 * time.Hour), noon, noon.Add(61 * time.Second), 2},
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

// TestHearLater hears of a hub several times within a minute, and of nothing more. The newest event
// is remembered when the minute is over.
func TestHearLater(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	now := noon
	s.now = func() time.Time { return now }
	var later []func()
	s.Later = func(d time.Duration, f func()) {
		if d != hearEvery {
			t.Errorf("later is in %v", d)
		}
		later = append(later, f)
	}
	requests := 0
	hear := func(event time.Duration) {
		before := proxy.Requests()
		if err := s.Hear(t.Context(), "Contoso-Hub", alert.Connections, noon.Add(event)); err != nil {
			t.Fatal(err)
		}
		requests += proxy.Requests() - before
		now = now.Add(10 * time.Second)
	}
	hear(-3 * time.Hour)
	first := requests
	hear(-time.Hour)
	hear(-2 * time.Hour)
	if len(later) != 1 || requests != first {
		t.Fatalf("%d times later, %d requests after the first %d", len(later), requests, first)
	}
	check := func(event, seen time.Duration) {
		t.Helper()
		want := []alert.Heard{{Hub: "contoso-hub", Source: alert.Connections, Event: noon.Add(event), Seen: noon.Add(seen)}}
		if all, err := s.LastHeard(t.Context()); err != nil || !cmp.Equal(all, want) {
			t.Errorf("have %v, error %v, want %v", all, err, want)
		}
	}
	check(-3*time.Hour, 0)
	now = noon.Add(70 * time.Second)
	later[0]()
	check(-time.Hour, 20*time.Second)
	hear(-time.Minute) // within a minute of what was remembered later
	if requests != first || len(later) != 2 {
		t.Errorf("%d times later, %d requests after the first %d", len(later), requests, first)
	}
	now = noon.Add(140 * time.Second)
	hear(-time.Hour) // it comes before what was to be later, which has nothing to do any more
	check(-time.Minute, 140*time.Second)
	before := proxy.Requests()
	later[1]()
	if n := proxy.Requests() - before; n != 0 {
		t.Errorf("%d requests about nothing", n)
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
		if heed, _, _ := e.heard(step.hub, step.source, noon, noon.Add(step.after)); (heed == remember) != step.want {
			t.Errorf("%s %s after %v: %v, want it remembered: %v", step.hub, step.source, step.after, heed, step.want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { e.heard("CONTOSO-HUB", alert.Changes, noon, noon.Add(62*time.Second)) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
