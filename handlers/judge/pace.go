package judge

import (
	"context"
	"runtime"
	"sync"
	"time"

	"hubwatch/handlers/detector"
)

const (
	// costlyTime is from when on an event is costly for a custom alert: the time in which it is
	// read and judged. With a condition as people write them, that is tens of microseconds.
	costlyTime = 500 * time.Microsecond
	// restTimes is how many times as long as a costly event took no other one is judged.
	restTimes = 7
)

// queue is what custom alerts with costly events share. After such an event there is a rest,
// before the next one is judged. So all of them together have at most an eighth of a processor,
// however many they are, and however many events come. The other detectors have what is left.
type queue struct {
	turn  turn // of who waits for the end of the rest, or is judging after it
	mu    sync.Mutex
	ready time.Time // when the rest is over; guarded by mu
}

// costly is the queue of this process, whose processors it is about.
var costly = newQueue()

func newQueue() *queue { return &queue{turn: make(turn, 1)} }

// enter returns when the rest is over, and nobody else is judging after it. leave lets the next
// one in. The error is the cause of the end of ctx.
func (q *queue) enter(ctx context.Context) error {
	if err := q.turn.take(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	rest := time.Until(q.ready)
	q.mu.Unlock()
	over := time.NewTimer(rest)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		q.leave()
		return context.Cause(ctx)
	}
}

func (q *queue) leave() { q.turn.give() }

// add adds the rest after an event that took so long. read is the part of that before its turn.
func (q *queue) add(took, read time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); q.ready.Before(now) {
		q.ready = now
	}
	// The next event is read while this rest goes by, so the rest is longer by that.
	q.ready = q.ready.Add(restTimes*took + read)
}

// turn is of one at a time.
type turn chan struct{}

// take waits for the turn, which give gives back. Its error is the cause of the end of ctx.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// pace is how a custom alert judges events: one at a time, since that takes nothing but the
// processor. So one alert has no more of it than any other.
type pace struct {
	queue  *queue
	turn   turn
	costly bool // its last event was; guarded by turn
}

func newPace(q *queue) *pace { return &pace{queue: q, turn: make(turn, 1)} }

// judge judges an event at the pace of its alert. read is how long it took to read the event before.
// An alert whose last event was costly waits in the queue first. The error is that ctx ended before
// the event was judged. Before each event, whoever else is ready runs: else one event after the other
// would have its turn for the ten milliseconds of a time slice, since whom the end of a turn wakes
// runs next.
func (p *pace) judge(ctx context.Context, read time.Duration, judge func() detector.Verdict) (detector.Verdict, error) {
	if err := p.turn.take(ctx); err != nil {
		return detector.Verdict{}, err
	}
	defer p.turn.give()
	if p.costly {
		if err := p.queue.enter(ctx); err != nil {
			return detector.Verdict{}, err
		}
		defer p.queue.leave()
	}
	runtime.Gosched()
	begin := time.Now()
	v := judge()
	took := read + time.Since(begin)
	if p.costly = took >= costlyTime; p.costly {
		p.queue.add(took, read)
	}
	return v, nil
}
