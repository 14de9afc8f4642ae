package table

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hubwatch/handlers/alert"
)

// Alerts is the table of alerts and their evidence. Its methods may be called at
// the same time.
type Alerts struct {
	table   table
	limiter *limiter
	now     func() time.Time

	mu      sync.Mutex
	waiting map[string]*queue // by PartitionKey; there while the partition is being written

	seen    *memory // alerts, by SystemAlertId, and tallies, by row key
	kept    *kept
	indexes *memory // partitions that the index of days has, and indexComplete
	ears    ears
	// expected are the hubs that this process has written that it should hear of.
	expected atomic.Pointer[string]

	// Later, if not nil, has something done after a time, in another goroutine. It is set before
	// anything is heard.
	Later func(time.Duration, func())
}

// Alerts returns the table of alerts with this name. It does not connect: a table
// that cannot be reached shows at the first request.
func (a *Account) Alerts(name string) *Alerts {
	return newAlerts(a.table(name, "no alert was ever raised here"), changesPerSecond, &memory{}, &kept{}, &memory{})
}

// Failures returns the same table for a flood of alerts that anybody can cause: with a
// pace and writers of its own, so that neither its waits nor its faults touch those of
// a.
func (a *Alerts) Failures() *Alerts {
	return newAlerts(a.table, failuresPerSecond, a.seen, a.kept, a.indexes)
}

func newAlerts(t table, perSecond int, seen *memory, kept *kept, indexes *memory) *Alerts {
	return &Alerts{table: t, limiter: newLimiter(perSecond), now: time.Now, waiting: map[string]*queue{}, seen: seen, kept: kept, indexes: indexes}
}

// Record implements alert.Recorder. Occurrences on one hub and day that come at the
// same time are written together, even if different callers bring them. Otherwise a
// device that fails hundreds of times at once would make hundreds of writers compete
// for one row.
func (a *Alerts) Record(ctx context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	type told struct {
		index    int
		recorded alert.Recorded
		err      error
	}
	done := make(chan told, len(occurrences)) // has room for all, so that no writer waits for a caller who has gone
	for i, o := range occurrences {
		prepared, err := a.prepare(o)
		if err != nil {
			done <- told{i, alert.Recorded{Outcome: alert.Rejected, Err: err}, nil}
			continue
		}
		prepared.tell = func(r alert.Recorded, err error) { done <- told{i, r, err} }
		a.enqueue(prepared)
	}
	recorded := make([]alert.Recorded, len(occurrences))
	var errs []error
	for range occurrences {
		select {
		case t := <-done:
			recorded[t.index] = t.recorded
			errs = append(errs, t.err)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("table %q: %w", a.table.name, context.Cause(ctx)))
			return recorded, errors.Join(errs...)
		}
	}
	return recorded, errors.Join(errs...)
}
