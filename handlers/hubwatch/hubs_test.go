package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// TestHubs checks what people and programs see of a hub with alerts that was never heard
// of, of one that is heard of and has none, and of one that has both.
func TestHubs(t *testing.T) {
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	at := day.Add(8*time.Hour + 5*time.Second)
	hubs := fleet.Hubs(
		[]alert.Summary{
			{Hub: "old-hub", Day: day, Suppressed: 2},
			{Hub: "plant-hub", Day: day, Counts: map[string]map[alert.Status]int{
				detector.All[0].AlertType: {alert.Active: 1, alert.Resolved: 4}, "IoT_OfAnotherBuild": {alert.InProgress: 2},
			}},
		},
		[]alert.Heard{
			{Hub: "plant-hub", Source: alert.Changes, Event: at.Add(-time.Hour), Seen: at},
			{Hub: "plant-hub", Source: alert.Connections, Event: at, Seen: at.Add(time.Hour)},
			{Hub: "quiet-hub", Source: alert.Connections, Event: at, Seen: at},
		}, detector.All)
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
	if err := export.WriteJSON(&object, export.Each(hubs[2:], fleet.NewHubDocument)); err != nil {
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
