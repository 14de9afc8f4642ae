package alert

import (
	"context"
	"errors"
)

// Store keeps alerts and what could not be judged. All methods may be called at
// the same time, from several processes, and again for what is kept already.
type Store interface {
	// Put records occurrences. It is idempotent: an occurrence that is recorded
	// already, known by its alert and its event, changes nothing. When it
	// returns nil, all of them are durable. An error that is ErrRejected means
	// that trying again cannot help; after any other, the caller tries all of
	// them again.
	Put(ctx context.Context, alerts ...Occurrence) error

	// Quarantine keeps an event that can never be judged. It is idempotent for
	// the same Function and Body. After an error the caller tries again.
	Quarantine(ctx context.Context, q Quarantined) error
}

// ErrRejected is wrapped by the errors of Store.Put for an occurrence that the
// store will not take however often it is tried.
var ErrRejected = errors.New("rejected by the store")

// Quarantined is an event that a function could not judge and never will.
type Quarantined struct {
	Function string // the function that it was delivered to
	EventID  string // "" if it could not be read
	Reason   string // what is wrong with it, and where
	Body     []byte // the event, or all that came if no event could be made out
	Size     int64  // bytes that came; more than len(Body) if it was too large to be taken whole
}
