package infra

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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
	for _, s := range subscriptions {
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
