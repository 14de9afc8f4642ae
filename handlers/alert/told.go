package alert

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Told remembers what was told to which channel. Its methods may be called at the same time,
// also by several processes.
type Told interface {
	// Read returns what is known of what key names: the zero Telling if nothing is.
	Read(ctx context.Context, key ToldKey) (Telling, error)
	// Take writes Slot, Begun and Until, if nobody wrote them since they were read, and returns them
	// as they are now. Otherwise the error wraps ErrBeingTold. A zero Tag means that nothing
	// was known.
	Take(ctx context.Context, key ToldKey, t Telling) (Telling, error)
	// Mark remembers that a channel needs to be told no more: it was told, or can never be, and
	// why. lost is "" if it was told.
	Mark(ctx context.Context, key ToldKey, channel, lost string) error
	// Seat takes one of a number of seats that a hub has in a slot at each level, and reports
	// whether one was free at this level. Whoever takes one takes one at each lower level too, as
	// far as they have any, down to 0. So those of a higher level never find theirs taken by a
	// lower one.
	Seat(ctx context.Context, d Due, level, seats int) (bool, error)
	// Defer puts an alert, as a JSON document, into a digest. The same id is put there once.
	Defer(ctx context.Context, d Due, id string, document []byte) error
	// IsDeferred reports whether Defer has put an id into a digest.
	IsDeferred(ctx context.Context, d Due, id string) (bool, error)
	// Dues returns the digests of slots that began before a time, the oldest first.
	Dues(ctx context.Context, before time.Time) ([]Due, error)
	// Deferred returns the documents of a digest.
	Deferred(ctx context.Context, d Due) iter.Seq2[[]byte, error]
	// Close forgets that a digest is due.
	Close(ctx context.Context, d Due) error
	// Expire drops what is too old to be delivered again, and returns how many days that were.
	Expire(ctx context.Context, now time.Time) (dropped int, err error)
}

// ToldKey names what is told: a raising, a digest, or that a channel does not work.
type ToldKey struct {
	Day time.Time // any time of the UTC day that it is kept under, always of the same day for one ID
	ID  string
}

// Telling is what is known of what a ToldKey names.
type Telling struct {
	// Slot is when the slot began in whose digest it is told, Alone if it is told by itself, and
	// zero if that is not decided.
	Slot time.Time
	// Begun is when the slot began in which somebody began to decide that. If Slot is zero, it may
	// be in the digest of that slot all the same: whoever put it there ended before he said so.
	Begun time.Time
	Until time.Time         // somebody is telling it until then
	Done  map[string]bool   // channels that need to be told no more
	Lost  map[string]string // of these, the channels that can never be told, and why
	Tag   string            // of the version that was read; "" if there is none
}

// Alone is the slot of what is told by itself.
var Alone = time.Unix(0, 0).UTC()

// Due is a digest, which has to be told when its slot is over.
type Due struct {
	Slot time.Time // when it began
	Hub  string    // its name
}

// ErrBeingTold says that somebody else is telling it at this moment.
var ErrBeingTold = errors.New("is being told by another invocation")
