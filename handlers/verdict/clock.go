package verdict

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Progress says how far something was at a time.
type Progress struct {
	At time.Time // by the clock of whoever wrote it
	// To is the enqueued time of the last message of a partition that is staged, or the
	// clock of the log as the timer read it last.
	To time.Time
	// Until is when the timer's clock goes on again after an outage. Partitions have none.
	Until time.Time
}

// Progresses keeps the progress of the log.
type Progresses interface {
	// Progress returns all that is kept, by name. An empty store has none.
	Progress(ctx context.Context) (map[string]Progress, error)
	// SetProgress keeps p under a name, in place of what was there.
	SetProgress(ctx context.Context, name string, p Progress) error
}

const (
	// timerName is the progress of the timer. Partitions have partitionPrefix before theirs.
	timerName, partitionPrefix = "timer", "partition "

	noting     = time.Minute      // a partition is noted once in this time at most
	caughtUp   = time.Minute      // a partition that is less behind does not count
	moves      = 2 * time.Minute  // a partition that was noted longer ago does not count
	outage     = 3 * time.Minute  // a timer that was away for longer does not know what came meanwhile
	standstill = 15 * time.Minute // for which its clock then stands still, so that partitions can be noted
	// An event hub keeps seven days. What is later is said at the risk that it is taken back.
	mostBehind  = 7 * 24 * time.Hour
	mostOfNotes = 10_000 // partitions that a process remembers; a hub has 2,000 at most
)

// Noter notes how far partitions are staged. Its methods may be called at the same time.
type Noter struct {
	Store Progresses
	Now   func() time.Time

	mu   sync.Mutex
	last map[string]time.Time
}

// Note notes that all messages of a partition up to one of that enqueued time are staged, once a
// minute at most. The caller staged them before. An error only means that the clock of the
// log does not hear of it.
func (n *Noter) Note(ctx context.Context, partition string, enqueued time.Time) error {
	now := n.Now()
	n.mu.Lock()
	last, noted := n.last[partition]
	due := !noted || now.Sub(last) >= noting
	if due {
		if n.last == nil || len(n.last) >= mostOfNotes {
			n.last = map[string]time.Time{}
		}
		n.last[partition] = now
	}
	n.mu.Unlock()
	if !due {
		return nil
	}
	if err := n.Store.SetProgress(ctx, partitionPrefix+partition, Progress{At: now, To: enqueued}); err != nil {
		return fmt.Errorf("progress of partition %q: %w", partition, err)
	}
	return nil
}

// Clock is the clock of the log, which Judge.Clock takes. After an outage the wall clock is
// ahead of the log: the records that say that a device came back are not staged yet.
// It is behind only for levels above Open, and it decides only when something is said.
type Clock struct {
	Store Progresses
}

// Tick returns the clock of the log at the time now by the wall clock, and notes that it was
// read. The timer calls it before each pass. If there is an error, now is all that is known,
// and the caller may go on with it.
func (c Clock) Tick(ctx context.Context, now time.Time) (time.Time, error) {
	all, err := c.Store.Progress(ctx)
	if err != nil {
		return now, fmt.Errorf("clock of the log: %w", err)
	}
	tick := clock(all, now)
	if err := c.Store.SetProgress(ctx, timerName, tick); err != nil {
		return tick.To, fmt.Errorf("clock of the log: %w", err)
	}
	return tick.To, nil
}

// clock returns the progress of the timer at a time: the least of those partitions that move
// and are behind. It stands still where it was for a while if the timer was away. It is
// never more than mostBehind behind, so nothing is held for ever: a partition whose messages
// are that old would hold all verdicts for as long as it needs.
func clock(all map[string]Progress, now time.Time) Progress {
	tick := Progress{At: now, To: now}
	for name, p := range all {
		if name != timerName && now.Sub(p.At) <= moves && p.At.Sub(p.To) > caughtUp && p.To.Before(tick.To) {
			tick.To = p.To
		}
	}
	if last, ok := all[timerName]; ok {
		tick.Until = last.Until
		if now.Sub(last.At) > outage {
			tick.Until = now.Add(standstill)
		}
		if now.Before(tick.Until) && last.To.Before(tick.To) {
			tick.To = last.To
		}
	}
	if least := now.Add(-mostBehind); tick.To.Before(least) {
		tick.To = least
	}
	return tick
}
