package table

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// A partition takes 2,000 entities a second
// (https://learn.microsoft.com/azure/storage/tables/scalability-targets).
// perSecond and burst together stay below that in any second.
const (
	perSecond = 1800
	burst     = 200
)

// limiter keeps what this process writes into each partition below what the
// partition takes. A burst on one hub then waits here for its turn, and what
// has waited until its deadline is delivered again by Event Grid, instead of
// being throttled by the service together with everybody else's rows.
type limiter struct {
	mu         sync.Mutex
	partitions map[string]*rate.Limiter
}

func newLimiter() *limiter { return &limiter{partitions: map[string]*rate.Limiter{}} }

// wait blocks until n entities, at most burst, may be written into partition.
// It returns an error if that would be after the deadline of ctx.
func (l *limiter) wait(ctx context.Context, partition string, n int) error {
	l.mu.Lock()
	r, ok := l.partitions[partition]
	if !ok {
		// A full bucket is as good as a new one.
		for p, old := range l.partitions {
			if old.Tokens() >= burst {
				delete(l.partitions, p)
			}
		}
		r = rate.NewLimiter(perSecond, burst)
		l.partitions[partition] = r
	}
	l.mu.Unlock()
	return r.WaitN(ctx, n)
}
