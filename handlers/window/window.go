// Package window counts events in windows of time: it says when there were more than a
// rule allows in any window of its length, or fewer than it expects. It is pure. What it
// says depends on the set of events alone, and not on their order, so that any number of
// instances can count, each event any number of times.
package window

import (
	"errors"
	"fmt"
	"strings"
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
	// Max is the most events of a key within less than Width of each other; nil for any
	// number. 0 means that each event is one too many.
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
	case r.Min > 0 && r.Width < quarters*Shortest:
		return fmt.Errorf("count.window: want at least %v for count.min, have %v: such a window is judged in quarters, and the clock ticks once a minute", quarters*Shortest, r.Width)
	case r.Width > Longest:
		return fmt.Errorf("count.window: want at most %v, have %v: counts are kept for three days, and longer windows reach further back", Longest, r.Width)
	}
	return nil
}

// How far the time of an event that is counted may be from the clock.
const (
	oldest = 3 * 24 * time.Hour // Event Grid tries for one day, and people redrive what is in quarantine within days.
	ahead  = 24 * time.Hour
)

// ErrNever is wrapped by the error of events that can never be counted.
var ErrNever = errors.New("never to be counted")

// Timely returns an error that wraps ErrNever if an event of that time is not counted. The
// rows of an older event are dropped already, and rows of a far future would be kept for as
// long.
func Timely(at, now time.Time) error {
	switch age := now.Sub(at); {
	case age > oldest:
		return fmt.Errorf("%w: the event is of %s, and counts are kept for three days", ErrNever, at.UTC().Format(time.RFC3339))
	case age < -ahead:
		return fmt.Errorf("%w: the event is of %s, which is more than a day ahead of the clock", ErrNever, at.UTC().Format(time.RFC3339))
	}
	return nil
}

// Droppable reports whether no event is timely any more that belongs to rows whose last
// event is of this UTC day: the day has been over for three days. One hour more is for
// events that are being counted, and for clocks that differ.
func Droppable(day, now time.Time) bool {
	return !now.Before(day.UTC().Truncate(24 * time.Hour).Add(24*time.Hour + oldest + time.Hour))
}

// Span returns the length of the window as people say it: 15m, 1h30m.
func (r Rule) Span() string {
	s := r.Width.String()
	for _, zero := range []struct{ after, unit string }{{"m", "0s"}, {"h", "0m"}} {
		if strings.HasSuffix(s, zero.after+zero.unit) {
			s = strings.TrimSuffix(s, zero.unit)
		}
	}
	return s
}
