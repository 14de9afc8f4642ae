package verdict

import (
	"context"
	"iter"
	"time"

	"hubwatch/handlers/connection"
)

// Figures are what the verdicts on one hub and UTC day say beside items.
type Figures struct {
	Hub     string // in lower case
	Day     time.Time
	Renewed int // sessions that were renewed: expiries that are silent
	// Elsewhere are the sessions that were taken up in time from another network, see
	// Row.Elsewhere.
	Elsewhere int
	Refused   map[connection.Cause]int // as Row.Refused
	Unknown   map[string]int           // as Row.Unknown
}

// Reader reads what there is to show of verdicts.
type Reader interface {
	// Days returns the figures of a hub, whose name may be in any case, for the UTC days of
	// from to to, in order. Days without a verdict are left out.
	Days(ctx context.Context, hub string, from, to time.Time) ([]Figures, error)
	// Oldest returns when the oldest mark that is due was due: the zero time if none is.
	Oldest(ctx context.Context, settings Settings, now time.Time) (time.Time, error)
}

// Add adds what a row says to the figures.
func (f *Figures) Add(r Row) {
	f.Renewed += r.Renewed
	f.Elsewhere += r.Elsewhere
	f.Refused = added(f.Refused, r.Refused)
	f.Unknown = bounded(added(f.Unknown, r.Unknown))
}

// added returns the sums of two counts, in sum unless it is nil.
func added[K comparable](sum, more map[K]int) map[K]int {
	if sum == nil && len(more) > 0 {
		sum = map[K]int{}
	}
	for k, n := range more {
		sum[k] += n
	}
	return sum
}

// Oldest returns when the oldest of marks was due whose time has come: the zero time if
// there is none. It ends at the first error.
func (s Settings) Oldest(marks iter.Seq2[Mark, error], now time.Time) (oldest time.Time, err error) {
	for mark, err := range marks {
		if err != nil {
			return time.Time{}, err
		}
		if mark.Level > s.level(mark.Bucket, now) {
			continue
		}
		if due := s.since(mark); oldest.IsZero() || due.Before(oldest) {
			oldest = due
		}
	}
	return oldest, nil
}
