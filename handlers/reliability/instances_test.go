package reliability

import (
	"fmt"
	"testing"
	"time"

	"hubwatch/handlers/local/azurite"
)

// TestOneDeviceFailsFourHundredTimesOnTwoInstances is the worst case for a
// counter. Four hundred events for one row arrive at the same time at two
// handlers, which know nothing of each other. The count is exact. The number of
// requests has a bound, so that two writers cannot keep each other busy.
func TestOneDeviceFailsFourHundredTimesOnTwoInstances(t *testing.T) {
	const (
		failures = 400
		// Writing one by one would take 800 requests, without any conflict.
		most = failures / 2
		// latency is the latency of a near table.
		latency = 5 * time.Millisecond
	)
	p := plan{occurrences: map[string]int{}}
	var indexes []int
	for i := range failures {
		e := renamed(t, allCases(t).fires[hotDetector][0], fmt.Sprintf("failure-%d", i))
		alerts, _ := verdictOf(e)
		p.occurrences[alerts[0].id]++
		p.events = append(p.events, e)
		indexes = append(indexes, i)
	}
	if len(p.occurrences) != 1 {
		t.Fatalf("the events are of %d alerts, want one", len(p.occurrences))
	}
	r := newRig(t, true)
	g := startGrid(t, r, 2, 4*failures, 0.003)
	counting := func(step) azurite.Fault {
		<-time.After(latency)
		return azurite.Pass
	}
	r.fault.Store(&counting)
	start := time.Now()
	g.run(t, p, indexes, time.Minute)
	took := time.Since(start)

	rows := r.rows(t)
	p.counted(t, rows)
	if n := len(rows); n != failures+5 {
		t.Errorf("%d rows, want the alert, that it was told, the summary, two of the index and %d of evidence", n, failures)
	}
	if n := r.steps.Load(); n > most {
		t.Errorf("%d storage requests, want at most %d", n, most)
	}
	t.Logf("%d failures at once on 2 instances: %d storage requests (bound %d), %d deliveries, %d of them failed and were repeated, slowest answer %d ms, done in %v",
		failures, r.steps.Load(), most, g.deliveries.Load(), g.failed.Load(), g.slowest.Load(), took.Round(time.Millisecond))
}
