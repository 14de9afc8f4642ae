package event

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// TestSplitIsBounded checks that no more events of one binding are read than Event Grid
// delivers.
func TestSplitIsBounded(t *testing.T) {
	for n, want := range map[int]string{mostEvents: "", mostEvents + 1: "more than 5000 events"} {
		events, err := Split(jsontext.Value("[7" + strings.Repeat(",7", n-1) + "]"))
		if want == "" && (err != nil || len(events) != n) {
			t.Errorf("%d events: %d are read, error %v", n, len(events), err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d events: error %v, want one that says %q", n, err, want)
		}
	}
}
