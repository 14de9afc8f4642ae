package console

import (
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
