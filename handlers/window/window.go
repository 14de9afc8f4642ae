// Package window counts events in windows of time: it says when there were more than a
// rule allows in any window of its length, or fewer than it expects. It is pure. What it
// says depends on the set of events alone, and not on their order, so that any number of
// instances can count, each event any number of times.
package window

import (
	"fmt"
	"time"
)

// Bounds of a rule. Check says why.
const (
	MostMax  = 1_000
	Shortest = time.Minute
	Longest  = 24 * time.Hour
)

// Rule says how many events of a key there may be. A rule that changes begins to count
// anew.
type Rule struct {
	Name  string        // of the detector that counts; of two rules with one name the counts are mixed
	Key   string        // how the key of an event is made, in words that change whenever that changes
	Width time.Duration // the length of the window
	// Max is the most events of a key in any window, ends included; nil for any number. 0
	// means that each event is one too many.
	Max *int
	// Min is the fewest events of a key in each window; 0 for none.
	Min int
}

// Check returns what is wrong with the rule, nil if nothing is.
func (r Rule) Check() error {
	switch {
	case r.Max == nil && r.Min == 0:
		return fmt.Errorf("count: want max or min, or both")
	case r.Max != nil && (*r.Max < 0 || *r.Max > MostMax):
		return fmt.Errorf("count.max: want 0 to %d, have %d: one row of the count holds as many events as that, and a row of Table Storage holds 64 KiB of them", MostMax, *r.Max)
	case r.Min < 0 || r.Min > MostMax:
		return fmt.Errorf("count.min: want 0 to %d, have %d: one row of the count holds as many events as that", MostMax, r.Min)
	case r.Max != nil && r.Min > *r.Max:
		return fmt.Errorf("count.min: want at most count.max, which is %d, have %d", *r.Max, r.Min)
	case r.Width < Shortest:
		return fmt.Errorf("count.window: want at least %v, have %v: an alert has a place for each window of its day, and shorter windows are more than it can hold", Shortest, r.Width)
	case r.Width > Longest:
		return fmt.Errorf("count.window: want at most %v, have %v: counts are kept for three days, and longer windows reach further back", Longest, r.Width)
	}
	return nil
}
