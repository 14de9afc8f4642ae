package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// TestNewestEvidence gives newestEvidence much more evidence than it keeps, in
// any order.
func TestNewestEvidence(t *testing.T) {
	const n = 5000
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	all := func(yield func(alert.Evidence, error) bool) {
		for i := range n {
			k := i * 7919 % n // any order: 7919 and 5000 have no common divisor
			if !yield(alert.Evidence{EventID: fmt.Sprint(k), Time: day.Add(time.Duration(k) * time.Second)}, nil) {
				return
			}
		}
	}
	for _, limit := range []int{0, 1, 20, n, n + 1} {
		newest, found, err := newestEvidence(all, limit)
		want := n
		if limit > 0 {
			want = min(n, limit)
		}
		if err != nil || found != n || len(newest) != want {
			t.Fatalf("limit %d: %d of %d, error %v, want %d of %d", limit, len(newest), found, err, want, n)
		}
		for i, e := range newest {
			if e.EventID != fmt.Sprint(n-1-i) {
				t.Fatalf("limit %d: at %d stands %s", limit, i, e.EventID)
			}
		}
	}
	broken := errors.New("broken")
	if _, _, err := newestEvidence(func(yield func(alert.Evidence, error) bool) { yield(alert.Evidence{}, broken) }, 1); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}
