package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// rooms are what the functions of one lane share, and what no other lane can use up.
type rooms struct {
	places *room // one for each invocation that waits or runs
	bodies *room // bytes of the bodies that are in memory
	slots  *room // one for each invocation that runs
}

func newRooms(l Limits) rooms {
	return rooms{newRoom(int64(l.Concurrency + l.Waiting)), newRoom(l.Room), newRoom(int64(l.Concurrency))}
}

// lane is what a function has of the rooms of its lane. An invocation takes a place first, or
// is refused. It then waits for room, reads its body, waits for a slot and runs.
type lane struct{ places, bodies, slots part }

func (r rooms) lane(fair bool) *lane {
	return &lane{part{of: r.places, fair: fair}, part{of: r.bodies, fair: fair}, part{of: r.slots, fair: fair}}
}

// enter takes a place, which leave gives back. Its error means that there is none.
func (l *lane) enter() error {
	if l.places.try(1) {
		return nil
	}
	return fmt.Errorf("no place: %d invocations are under way", l.places.of.taken())
}

func (l *lane) leave() { l.places.give(1) }

// reserve waits for room for a body of n bytes, which release gives back. Its error
// means that ctx ended first.
func (l *lane) reserve(ctx context.Context, n int64) error {
	if err := l.bodies.take(ctx, n); err != nil {
		return fmt.Errorf("no room for a body of %d bytes: %w", n, err)
	}
	return nil
}

func (l *lane) release(n int64) { l.bodies.give(n) }

// start waits for a slot, which end gives back. Its error means that ctx ended first.
func (l *lane) start(ctx context.Context) error {
	if err := l.slots.take(ctx, 1); err != nil {
		return fmt.Errorf("no slot among %d: %w", l.slots.of.size, err)
	}
	return nil
}

func (l *lane) end() { l.slots.give(1) }

// room is how much there is of something. Who comes first is served first, so that a long
// body is not kept waiting by short ones for ever.
type room struct {
	size    int64
	mu      sync.Mutex
	free    int64
	waiting []*claim
}

func newRoom(size int64) *room { return &room{size: size, free: size} }

// taken returns how much is not free.
func (r *room) taken() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size - r.free
}

// part is what one function has of a room. A function that is fair has at most as much as it
// leaves free. So one that gets more than it can do has a half, two of them have two thirds,
// and there is always some left for one that has none yet.
type part struct {
	of    *room
	fair  bool
	taken int64 // guarded by the room
}

// claim is a wait for n.
type claim struct {
	by      *part
	n       int64
	granted chan struct{} // closed when n is the claimant's
}

// may reports whether the part may have n more, if there is as much.
func (p *part) may(n int64) bool { return !p.fair || p.taken == 0 || p.taken+n <= p.of.free-n }

// get takes n, if the part may have it and there is as much. The caller holds the lock.
func (p *part) get(n int64) bool {
	if n > p.of.free || !p.may(n) {
		return false
	}
	p.of.free -= n
	p.taken += n
	return true
}

// try takes n if that can be had at once.
func (p *part) try(n int64) bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	return p.get(n)
}

// take waits until the part can have n. Its error is the cause of the end of ctx.
func (p *part) take(ctx context.Context, n int64) error {
	r := p.of
	r.mu.Lock()
	if len(r.waiting) == 0 && p.get(n) {
		r.mu.Unlock()
		return nil
	}
	c := &claim{p, n, make(chan struct{})}
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
		p.put(n)
	}
	r.grant()
	return context.Cause(ctx)
}

// give returns n.
func (p *part) give(n int64) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.put(n)
	p.of.grant()
}

func (p *part) put(n int64) {
	p.of.free += n
	p.taken -= n
}

// grant serves those that wait, in their order, as far as what is free goes. Who has too much
// already is passed over. The caller holds the lock.
func (r *room) grant() {
	for i := 0; i < len(r.waiting); {
		c := r.waiting[i]
		switch {
		case !c.by.may(c.n):
			i++
		case !c.by.get(c.n):
			return
		default:
			close(c.granted)
			r.waiting = slices.Delete(r.waiting, i, i+1)
		}
	}
}
