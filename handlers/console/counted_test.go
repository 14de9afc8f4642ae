package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// TestHappened checks what a page says about evidence.
func TestHappened(t *testing.T) {
	for want, e := range map[string]alert.Evidence{
		"It happened.":                        {},
		"It happened 3 times in ten minutes.": {Tally: alert.Tally{N: 3, Seq: 1}},
		"Late records took it back.":          {Tally: alert.Tally{Seq: 2}},
		"2 events within a window, the last of which is one too many.": {Counted: []alert.CountedEvent{{Time: time.Unix(0, 0)}, {Time: time.Unix(1, 0)}}},
		"Fewer events than expected, 2 times.":                         {Tally: alert.Tally{N: 2, Seq: 1}, Properties: map[string]string{"CountMin": "1"}},
	} {
		if got := happened(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestDevicesOfAStorm checks that the page of a storm names its devices, and not too many.
func TestDevicesOfAStorm(t *testing.T) {
	s := few()
	for n := range mostDevices + 1_200 {
		s.evidence[0].Devices = append(s.evidence[0].Devices, fmt.Sprintf("devices/pump-%04d", n))
	}
	page := get(t, open(s), "/alerts/"+s.alerts[0].Ref().String()).Body.String()
	for _, want := range []string{"<summary>The devices: 1,250</summary>", "devices/pump-0000, devices/pump-0001, ", "devices/pump-0049, and 1,200 more, which the JSON of the alert has"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page is without %q", want)
		}
	}
	if strings.Contains(page, "pump-0050") {
		t.Error("the page names more")
	}
}
