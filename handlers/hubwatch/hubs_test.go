package main

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// ledger is a reader of summaries, and of when hubs were heard of.
type ledger struct {
	alert.Reader
	sums  []alert.Summary
	heard []alert.Heard
}

func (l ledger) Summaries(context.Context, alert.Query) iter.Seq2[alert.Summary, error] {
	return func(yield func(alert.Summary, error) bool) {
		for _, sum := range l.sums {
			if !yield(sum, nil) {
				return
			}
		}
	}
}

func (l ledger) LastHeard(context.Context) ([]alert.Heard, error) { return l.heard, nil }

// TestHubs checks what people and programs see of a hub with alerts that was never heard
// of, of one that is heard of and has none, and of one that has both.
func TestHubs(t *testing.T) {
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	at := day.Add(8*time.Hour + 5*time.Second)
	hubs, err := hubsSince(t.Context(), ledger{
		sums: []alert.Summary{
			{Hub: "old-hub", Day: day, Suppressed: 2},
			{Hub: "plant-hub", Day: day, Counts: map[string]map[alert.Status]int{
				detector.All[0].AlertType: {alert.Active: 1, alert.Resolved: 4}, "IoT_OfAnotherBuild": {alert.InProgress: 2},
			}},
		},
		heard: []alert.Heard{
			{Hub: "plant-hub", Source: alert.Changes, Event: at.Add(-time.Hour), Seen: at},
			{Hub: "plant-hub", Source: alert.Connections, Event: at, Seen: at.Add(time.Hour)},
			{Hub: "quiet-hub", Source: alert.Connections, Event: at, Seen: at},
		},
	}, day, detector.All)
	if err != nil {
		t.Fatal(err)
	}
	var out, object strings.Builder
	if err := hubGrid(hubs).write(&out, 80); err != nil {
		t.Fatal(err)
	}
	want := `HUB        OPEN  HIGH  MEDIUM  LOW  OTHER  CLOSED  HIDDEN  LAST ALERT
  CHANGE (UTC)      CONNECTION (UTC)
plant-hub     3     0       1    0      2       4       0  2026-02-01
  2026-02-01 08:00  2026-02-01 09:00
old-hub       0     0       0    0      0       0       2  -
  -                 -
quiet-hub     0     0       0    0      0       0       0  -
  -                 2026-02-01 08:00
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
	if err := export.WriteJSON(&object, export.Each(hubs[2:], newHubDocument)); err != nil {
		t.Fatal(err)
	}
	want = `[
  {
    "hubName": "quiet-hub",
    "open": 0,
    "openBySeverity": {},
    "openByType": {},
    "closed": 0,
    "suppressed": 0,
    "lastConnectionUtc": "2026-02-01T08:00:05Z"
  }
]
`
	if diff := cmp.Diff(want, object.String()); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}
