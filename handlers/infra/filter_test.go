package infra

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/eventgrid"
)

// TestFiltersLetThroughWhatDetectorsReport runs every case through the generated
// filter of its event subscription, by Event Grid's rules. A filter that is too
// narrow loses alerts silently, and no other tool can see that. A filter that is
// too wide costs money.
func TestFiltersLetThroughWhatDetectorsReport(t *testing.T) {
	subscriptions, err := eventgrid.LoadSubscriptions(filepath.Join(root, "infra/subscriptions.json"))
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := custom.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	ofCustom := map[string]custom.Alert{}
	for _, a := range alerts {
		ofCustom[a.Name] = a
	}
	for _, s := range subscriptions {
		if s.Source == string(detector.Alerts) || s.Function == judge.CanaryTagName {
			continue // Its events are of hubwatch's own doing, and it has no detector.
		}
		if a, ok := ofCustom[s.Function]; ok {
			letsThrough(t, s, a)
			continue
		}
		files, err := filepath.Glob(filepath.Join(root, "handlers/detector/testdata", s.Function, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has %d cases: %v", s.Function, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Event jsontext.Value `json:"event"`
				Want  struct {
					Outcome string `json:"outcome"`
				} `json:"want"`
			}
			if err := json.Unmarshal(data, &c, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			switch delivered := s.Matches(c.Event); c.Want.Outcome {
			case "alert", "silent":
				if !delivered {
					t.Errorf("%s: the detector is to see this event, and the filter holds it back", file)
				}
			case "not delivered":
				if delivered {
					t.Errorf("%s: the filter lets an event through that the trigger does not match", file)
				}
			}
		}
	}
}

// letsThrough checks that the filter of a custom alert lets the events through that its
// cases want to be an alert. Records of a log are in events whose filter is their type alone.
func letsThrough(t *testing.T, s eventgrid.Subscription, a custom.Alert) {
	for _, c := range a.Cases {
		events := c.Events
		if c.Event != nil {
			events = []jsontext.Value{c.Event}
		}
		for _, event := range events {
			if c.Want == custom.Fires && !s.Matches(event) {
				t.Errorf("%s: case %s: the filter holds an event back that the alert is to see", a.Name, c.Name)
			}
		}
	}
}
