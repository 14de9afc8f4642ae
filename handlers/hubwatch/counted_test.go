package main

import (
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// TestCountedEvidence checks that evidence of events that were counted together says how many
// they were.
func TestCountedEvidence(t *testing.T) {
	at := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	e := alert.Evidence{EventID: strings.Repeat("0f", 16), Time: at}
	for range 11 {
		e.Counted = append(e.Counted, alert.CountedEvent{Time: at, Hash: e.EventID})
	}
	g := evidenceGrid([]alert.Evidence{e, {EventID: "an event", Time: at}})
	if g.columns[1].title != "COUNT" || g.rows[0][1] != "11" || g.rows[1][1] != "1" || g.rows[0][4] != e.EventID {
		t.Errorf("%v", g.rows)
	}
}
