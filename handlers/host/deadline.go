package host

import (
	"context"
	"sync"
	"time"
)

// deadline is the context of an invocation, which ends with its parent, at a time, or
// when the invocation is over. Most invocations never wait for anything, so the timer
// is started by the first that asks for more than the time.
type deadline struct {
	parent context.Context
	end    time.Time
	cause  error // of the end at the time

	mu    sync.Mutex
	timed context.Context // nil until somebody asks
	stop  context.CancelFunc
	over  bool
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) {
	if end, ok := d.parent.Deadline(); ok && end.Before(d.end) {
		return end, true
	}
	return d.end, true
}

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.context().Done() }

// Err implements context.Context.
func (d *deadline) Err() error { return d.context().Err() }

// Value implements context.Context. Package context asks for a value to find out what
// ended, so it must be asked of the context with the timer.
func (d *deadline) Value(key any) any { return d.context().Value(key) }

func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadlineCause(d.parent, d.end, d.cause)
		if d.over {
			d.stop()
		}
	}
	return d.timed
}

// finish ends the context.
func (d *deadline) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.stop != nil {
		d.stop()
	}
}
