package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

const (
	// An entity group transaction takes 100 entities and 4 MiB
	// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions).
	// Base64 and headers take room.
	maxEntities         = 100
	maxTransactionBytes = 2 << 20

	// maxBatch is how many occurrences of one alert fit into a transaction, beside the
	// row of the alert, a row of its history and the summary of the day.
	maxBatch = maxEntities - 3

	// commitTimeout bounds the writing of one batch. It is shorter than the
	// deadline of an invocation, so that the invocation can still answer.
	commitTimeout = 15 * time.Second
)

// occurrence is an occurrence on its way into the table, with its rows. The rows
// are made once, however often they have to be sent.
type occurrence struct {
	id       string // of its alert
	row      Row    // of an alert that has this occurrence alone
	key      string // row key of the evidence
	event    string // id of the event
	evidence []byte // the entity of the evidence
	tally    *tally // nil for an occurrence that counts once
	proof    *proof // nil for an occurrence that is an event
	revises  bool   // it is a proof, or the table probably has another version of the tally, or it is a version of nothing
	tell     func(alert.Recorded, error)
}

// prepare makes the rows of o. Its error means that o cannot have rows.
func (a *Alerts) prepare(o alert.Occurrence) (occurrence, error) {
	if t := o.Tally; t.Item != "" && (t.Seq < 1 || t.N < 0) {
		return occurrence{}, fmt.Errorf("alert %s: %w: version %d with %d of a tally", o.ID, errRejected, t.Seq, t.N)
	}
	e := newEvidence(o)
	entity, err := json.Marshal(e)
	if err != nil {
		return occurrence{}, fmt.Errorf("evidence of alert %s: %w", o.ID, err)
	}
	prepared := occurrence{id: o.ID, row: newRow(o, a.now()), key: e.RowKey, event: e.EventId, evidence: entity}
	if o.Tally.Item != "" {
		prepared.tally, prepared.revises = &e.tally, e.Count == 0 || a.seen.has(e.RowKey)
		prepared.row.Occurrences, prepared.row.FirstEvidence = e.Count, e.RowKey
	}
	return prepared, nil
}

// queue holds the occurrences of one partition that wait while a batch of the same
// partition is being written.
type queue struct{ occurrences []occurrence }

// enqueue hands o to the writer of its partition, and starts one if there is none.
// All new alerts of a hub and day change one summary. With a writer each they would
// compete for it: in a simulation 1,000 new alerts then took 24 requests each and nine
// seconds, and with one writer for all of them one request each and a third of a
// second.
func (a *Alerts) enqueue(o occurrence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, writing := a.waiting[o.row.PartitionKey]
	if !writing {
		q = &queue{}
		a.waiting[o.row.PartitionKey] = q
		go a.write(o.row.PartitionKey, q)
	}
	q.occurrences = append(q.occurrences, o)
}

// write writes the occurrences of one partition, batch by batch, until none wait.
func (a *Alerts) write(partition string, q *queue) {
	for {
		a.mu.Lock()
		batch := q.take()
		if len(batch) == 0 {
			delete(a.waiting, partition)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		a.settle(batch)
	}
}

// take removes the occurrences of the next batch from the queue. One that revises another is
// a batch by itself, because what it changes depends on the evidence in the table.
func (q *queue) take() []occurrence {
	n, size := 0, 0
	for n < len(q.occurrences) && n < maxBatch {
		if q.occurrences[n].revises {
			n = max(n, 1)
			break
		}
		size += len(q.occurrences[n].evidence)
		if n > 0 && size > maxTransactionBytes {
			break
		}
		n++
	}
	batch := q.occurrences[:n:n]
	q.occurrences = q.occurrences[n:]
	return batch
}

// settle writes a batch and tells each occurrence its outcome. If the service
// rejects the batch, each occurrence is written alone, so that an impossible
// occurrence does not keep the others from being stored.
func (a *Alerts) settle(batch []occurrence) {
	if batch[0].revises {
		a.revise(batch[0])
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	all, err := a.commit(ctx, batch)
	for i, o := range batch {
		recorded, err := all[i], err
		if recorded.Outcome == 0 && errors.Is(err, errRejected) && len(batch) > 1 {
			var alone []alert.Recorded
			alone, err = a.commit(ctx, batch[i:i+1])
			recorded = alone[0]
		}
		switch {
		case recorded.Outcome == alert.Known && o.tally != nil: // the table has a version, and perhaps an older one
			a.revise(o)
		case recorded.Outcome != 0:
			o.tell(recorded, nil)
		case errors.Is(err, errRejected):
			o.tell(alert.Recorded{Outcome: alert.Rejected, Err: err}, nil)
		default:
			o.tell(alert.Recorded{}, err)
		}
	}
}

// commit records occurrences of one partition, and returns what became of each. It
// reads what the occurrences change: the rows of their alerts and the summary of the
// day. Then it writes these rows and the evidence in one transaction, or in several if
// they do not fit into one. A transaction succeeds only if the rows are as they were
// read, and if none of the events is recorded. Otherwise commit leaves out the recorded
// events and begins again. If the answer to a transaction is lost, the next attempt
// finds its rows in the same way. After an error, an occurrence whose transaction had
// been written before has its outcome, and the others have none.
func (a *Alerts) commit(ctx context.Context, batch []occurrence) (recorded []alert.Recorded, err error) {
	c := newCommit(a, batch)
	defer func() { recorded = c.outcomes(batch, err == nil) }()
	// Ranges of rows that a transaction met in another state, since one was written last. The
	// first time in each is usual, and what was read then says what to do. A service whose
	// reads are behind its writes would say the same again and again.
	met := map[string]bool{}
	for attempt := 0; len(c.alerts) > 0; attempt++ {
		if err := c.read(ctx); err != nil {
			return nil, err
		}
		t, err := c.next()
		if err != nil {
			return nil, err
		}
		if err := a.limiter.wait(ctx, c.partition, len(t.actions)); err != nil {
			return nil, fmt.Errorf("table %q: more than a partition takes: %w", a.table.name, err)
		}
		etags, err := a.table.submit(ctx, t.actions...)
		if err == nil {
			c.wrote(t, etags)
			attempt = -1
			clear(met)
			continue
		}
		index, conflict := a.table.conflict(err)
		switch {
		case !conflict && !a.table.missing(ctx, err):
			return nil, a.table.explain("write", err)
		case conflict && index < len(t.about):
			of := t.about[index].of
			again, err := c.met(ctx, t.about[index])
			if err != nil {
				return nil, err
			}
			if again && !met[of] {
				met[of] = true
				continue
			}
		}
		// Somebody else wrote one of the rows, or the table had to be created, or what was read
		// is old.
		if err := pause(ctx, attempt); err != nil {
			return nil, fmt.Errorf("table %q: %s is being written by others: %w", a.table.name, c.partition, err)
		}
	}
	return nil, nil
}

// pause waits before attempt+1, 320 ms at most without the random part.
func pause(ctx context.Context, attempt int) error {
	return pauseAtMost(ctx, attempt, 320*time.Millisecond)
}

// pauseAtMost waits before attempt+1. The wait is 5 ms at first and doubles up to most. A
// random part, as long at most, keeps two writers from waiting in step.
func pauseAtMost(ctx context.Context, attempt int, most time.Duration) error {
	d := min(5*time.Millisecond<<min(attempt, 6), most)
	select {
	case <-time.After(d + rand.N(d)): // #nosec G404 -- nothing depends on nobody being able to guess the wait
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
