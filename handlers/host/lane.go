package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// lane is what the functions of one lane share, and what no other lane can use up.
// An invocation takes a place first, or is refused. It then waits for room, reads its
// body, waits for a slot and runs.
type lane struct {
	places chan struct{} // one for each invocation that waits or runs
	room   *room         // for the bodies that are in memory
	slots  chan struct{} // one for each invocation that runs
}

func newLane(l Limits) *lane {
	return &lane{
		places: make(chan struct{}, l.Concurrency+l.Waiting),
		room:   &room{free: l.Room},
		slots:  make(chan struct{}, l.Concurrency),
	}
}

// enter takes a place, which leave gives back. Its error means that there is none.
func (l *lane) enter() error {
	select {
	case l.places <- struct{}{}:
		return nil
	default:
		return fmt.Errorf("no place: %d invocations are under way", cap(l.places))
	}
}

func (l *lane) leave() { <-l.places }

// reserve waits for room for a body of n bytes, which release gives back. Its error
// means that ctx ended first.
func (l *lane) reserve(ctx context.Context, n int64) error {
	if err := l.room.take(ctx, n); err != nil {
		return fmt.Errorf("no room for a body of %d bytes: %w", n, err)
	}
	return nil
}

func (l *lane) release(n int64) { l.room.give(n) }

// start waits for a slot, which end gives back. Its error means that ctx ended first.
func (l *lane) start(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no slot among %d: %w", cap(l.slots), context.Cause(ctx))
	}
}

func (l *lane) end() { <-l.slots }

// room counts bytes. Who comes first is served first, so that a long body is not kept
// waiting by short ones for ever.
type room struct {
	mu      sync.Mutex
	free    int64
	waiting []*claim
}

// claim is a wait for n bytes.
type claim struct {
	n       int64
	granted chan struct{} // closed when the bytes are the claimant's
}

// take waits until n bytes are free. Its error is the cause of the end of ctx.
func (r *room) take(ctx context.Context, n int64) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && n <= r.free {
		r.free -= n
		r.mu.Unlock()
		return nil
	}
	c := &claim{n, make(chan struct{})}
	r.waiting = append(r.waiting, c)
	r.grant()
	r.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, c); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	} else { // granted at the last moment
		r.free += n
	}
	r.grant()
	return context.Cause(ctx)
}

// give returns n bytes.
func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.grant()
}

// grant serves those that wait, in their order, as far as the free bytes go. The
// caller holds the lock.
func (r *room) grant() {
	for len(r.waiting) > 0 && r.waiting[0].n <= r.free {
		r.free -= r.waiting[0].n
		close(r.waiting[0].granted)
		r.waiting = r.waiting[1:]
	}
}
