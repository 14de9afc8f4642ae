package verdict

import (
	"context"
	"iter"
	"time"
)

// Figures are what the verdicts on one hub and UTC day say beside items.
type Figures struct {
	Hub     string // in lower case
	Day     time.Time
	Renewed int            // sessions that were renewed: expiries that are silent
	Unknown map[string]int // as Row.Unknown
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
func (f *Figures) Add(renewed int, unknown map[string]int) {
	f.Renewed += renewed
	if len(unknown) == 0 {
		return
	}
	if f.Unknown == nil {
		f.Unknown = map[string]int{}
	}
	for s, n := range unknown {
		f.Unknown[s] += n
	}
	f.Unknown = bounded(f.Unknown)
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
