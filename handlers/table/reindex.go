package table

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Reindexed is what Reindex did for one hub and day.
type Reindexed struct {
	Hub    string // as keys have it
	Day    time.Time
	Alerts int  // how many there are; 0 if they were not counted
	Wrote  bool // the summary was missing or wrong
}

// Reindex makes the index of days and the summaries of alerts that are older than
// these. It goes from hub to hub and day to day, the newest day first. A day whose
// summary is complete is not counted, unless all is set: then each summary is compared
// with the alerts. So Reindex may be interrupted and run again, and it may run while
// alerts are written: a summary that somebody changed meanwhile is counted again. It
// ends at the first error, and says that the index is complete only if there was none.
func (a *Alerts) Reindex(ctx context.Context, all bool) iter.Seq2[Reindexed, error] {
	return func(yield func(Reindexed, error) bool) {
		for day, err := range a.table.days(ctx, "", spanOf(time.Time{}, time.Time{})) {
			if err != nil {
				yield(Reindexed{}, err)
				return
			}
			for _, p := range day {
				done, err := a.reindex(ctx, p, all)
				if !yield(done, err) || err != nil {
					return
				}
			}
		}
		if _, err := a.insert(ctx, key{indexPartition, indexComplete}); err != nil {
			yield(Reindexed{}, err)
		}
	}
}

// reindex makes the summary of a partition and its row in the index.
func (a *Alerts) reindex(ctx context.Context, p partition, all bool) (Reindexed, error) {
	done := Reindexed{Hub: p.hub, Day: p.date()}
	for attempt := 0; ; attempt++ {
		s, err := a.summary(ctx, p.String())
		if err != nil || s.exact() && !all {
			return done, err
		}
		if _, err := a.insert(ctx, indexed{key{indexPartition, p.indexKey()}, p.hub}); err != nil {
			return done, err
		}
		sum, err := a.counted(ctx, p, s)
		if err != nil {
			return done, err
		}
		done.Alerts = sum.total()
		action, err := sum.action()
		if err != nil {
			return done, fmt.Errorf("summary of %s: %w", p, err)
		}
		if s.exact() && s.Suppressed == sum.Suppressed && s.Counts == sum.Counts {
			return done, nil
		}
		if _, err = a.table.submit(ctx, action); err == nil {
			done.Wrote = true
			return done, nil
		}
		if _, conflict := a.table.conflict(err); !conflict {
			return done, a.table.explain("write", err)
		}
		if err := pause(ctx, attempt); err != nil {
			return done, fmt.Errorf("table %q: %s is being written by others: %w", a.table.name, p, err)
		}
	}
}
