package table

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// A partition takes 2,000 entities a second
// (https://learn.microsoft.com/azure/storage/tables/scalability-targets). The shares
// and a burst of each stay below that in any second. Changes of a hub are made by
// people and pipelines. Failed connections are made by devices, and have the rest.
const (
	changesPerSecond  = 300
	failuresPerSecond = 1500
	burst             = maxEntities // of a transaction, which has to fit
)

// limiter keeps what this process writes into each partition below a share of what
// the partition takes. A burst on one hub then waits here for its turn. What has
// waited until its deadline is delivered again by Event Grid. Without the limiter the
// service would throttle it together with everybody else's rows.
type limiter struct {
	perSecond  int // entities, for each partition
	mu         sync.Mutex
	partitions map[string]*rate.Limiter
}

func newLimiter(perSecond int) *limiter {
	return &limiter{perSecond: perSecond, partitions: map[string]*rate.Limiter{}}
}

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
		r = rate.NewLimiter(rate.Limit(l.perSecond), burst)
		l.partitions[partition] = r
	}
	l.mu.Unlock()
	return r.WaitN(ctx, n)
}
