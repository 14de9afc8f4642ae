package fleet

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// Whole is an alert with all that is known of it.
type Whole struct {
	alert.Alert
	History  []alert.History  // the oldest first
	Evidence []alert.Evidence // the newest pieces, the newest first
	N        int              // pieces of evidence in all
}

// Find returns an alert, with at most limit pieces of its evidence. A limit of 0 means
// all. Its errors are those of alert.Reader.
func Find(ctx context.Context, reader alert.Reader, ref alert.Ref, limit int) (Whole, error) {
	a, all, err := reader.Find(ctx, ref)
	if err != nil {
		return Whole{}, err
	}
	history, err := reader.History(ctx, a.Ref())
	if err != nil {
		return Whole{}, err
	}
	evidence, n, err := newestEvidence(all, limit)
	return Whole{a, history, evidence, n}, err
}

// Document returns w as programs read it.
func (w Whole) Document() export.Detailed {
	return export.Detailed{
		Alert: export.NewAlert(w.Alert), Evidence: export.Each(w.Evidence, export.NewEvidence),
		History: export.Each(w.History, export.NewChange), Commands: export.Each(detector.CommandsFor(w.Alert), export.NewCommand),
	}
}

// newestEvidence returns the newest evidence, the newest first, and how many
// pieces there are in all. It returns at most limit pieces, or all if limit is 0.
// It keeps little more than it returns, because a device can fail to connect very
// often on one day.
func newestEvidence(all iter.Seq2[alert.Evidence, error], limit int) (newest []alert.Evidence, n int, err error) {
	sort := func() {
		slices.SortFunc(newest, func(a, b alert.Evidence) int {
			return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.EventID, b.EventID))
		})
		if limit > 0 && len(newest) > limit {
			newest = newest[:limit]
		}
	}
	for e, err := range all {
		if err != nil {
			return nil, 0, err
		}
		n++
		if newest = append(newest, e); limit > 0 && len(newest) >= limit+1000 {
			sort()
		}
	}
	sort()
	return newest, n, nil
}
