package judge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hubwatch/handlers/alert"
)

// How the suppressions are read.
const (
	// rulesFresh is how long suppressions count that were read. Nobody who makes or ends
	// one waits longer for it.
	rulesFresh = 30 * time.Second
	// rulesWait is how long reading may take, and so how long it holds up an event.
	rulesWait = 2 * time.Second
	// rulesBack is how long ago a suppression may have expired that is read. No event is
	// delivered again that late: Event Grid gives up after a day, and an event hub keeps
	// its messages for seven.
	rulesBack = 30 * 24 * time.Hour
)

// Rules are the suppressions that occurrences are compared with. They are read when
// they are needed, and not again within 30 seconds, also if reading fails. If they
// cannot be read, nothing is suppressed: an alert too many does less harm than one that
// nobody hears of. The methods of Rules may be called at the same time.
type Rules struct {
	store alert.Suppressions
	warn  func(what string, err error)
	now   func() time.Time
	back  time.Duration // how long ago a suppression may have expired; 0 for ever

	broken map[string]bool // what was wrong with the rows that were read last; only one reading goes on

	mu      sync.Mutex
	tried   time.Time     // when reading ended last
	reading chan struct{} // closed when the reading that goes on has ended; nil if none does
	all     []alert.Suppression
}

// NewRules returns the suppressions of a store, for the handler: without those that
// have expired more than 30 days ago. It calls warn, never twice at the same time, each
// time that the suppressions cannot be read, and once for each row that is not a
// suppression.
func NewRules(store alert.Suppressions, warn func(what string, err error)) *Rules {
	return &Rules{store: store, warn: warn, now: time.Now, back: rulesBack}
}

// NewAllRules is NewRules for events of any age: with all suppressions of the store.
func NewAllRules(store alert.Suppressions, warn func(what string, err error)) *Rules {
	return &Rules{store: store, warn: warn, now: time.Now}
}

// Suppress sets SuppressedBy of each occurrence that a suppression matches: the oldest
// of these. A nil r suppresses nothing.
func (r *Rules) Suppress(ctx context.Context, occurrences []alert.Occurrence) {
	if r == nil || len(occurrences) == 0 {
		return
	}
	rules := r.current(ctx)
	for i := range occurrences {
		occurrences[i].SuppressedBy = ""
		for _, rule := range rules {
			if rule.Matches(occurrences[i]) {
				occurrences[i].SuppressedBy = rule.ID
				break
			}
		}
	}
}

// current returns the suppressions as they are known. It reads them if they are older
// than rulesFresh. One caller reads at a time, and the others wait for that. A caller
// whose ctx ends gets none.
func (r *Rules) current(ctx context.Context) []alert.Suppression {
	r.mu.Lock()
	switch age := r.now().Sub(r.tried); {
	case r.reading != nil:
	case !r.tried.IsZero() && age >= 0 && age < rulesFresh:
		defer r.mu.Unlock()
		return r.all
	default:
		r.reading = make(chan struct{})
		go r.read(context.WithoutCancel(ctx), r.reading)
	}
	reading := r.reading
	r.mu.Unlock()
	select {
	case <-reading:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.all
	case <-ctx.Done():
		return nil
	}
}

// read reads the suppressions, and closes done. Reading does not end with the caller
// who needed them first, since others wait for it too.
func (r *Rules) read(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, rulesWait)
	defer cancel()
	all, broken, err := r.list(ctx)
	known := r.broken
	if err != nil {
		r.warn("suppressions cannot be read, and so nothing is suppressed", err)
	} else {
		r.broken = map[string]bool{}
	}
	for _, b := range broken {
		text := b.Error()
		if r.broken[text] = true; !known[text] {
			r.warn("this is not a suppression, and so it suppresses nothing", b)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.tried, r.reading = all, r.now(), nil
	close(done)
}

// list reads the suppressions. After an error there are none.
func (r *Rules) list(ctx context.Context) (all []alert.Suppression, broken []error, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			all, broken = nil, nil
		}
	}()
	var since time.Time
	if r.back > 0 {
		since = r.now().Add(-r.back)
	}
	return r.store.List(ctx, since)
}
