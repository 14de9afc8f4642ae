package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
)

const (
	// An entity group transaction takes 100 entities and 4 MiB
	// (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions);
	// one entity is the row of the alert, and base64 and headers take room.
	maxBatch      = 99
	maxBatchBytes = 2 << 20

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
	evidence []byte // the entity of the evidence
	tell     func(alert.Recorded, error)
}

// prepare makes the rows of o. Its error means that o cannot have rows.
func (a *Alerts) prepare(o alert.Occurrence) (occurrence, error) {
	e := newEvidence(o)
	entity, err := json.Marshal(e)
	if err != nil {
		return occurrence{}, fmt.Errorf("evidence of alert %s: %w", o.ID, err)
	}
	return occurrence{id: o.ID, row: newRow(o, a.now()), key: e.RowKey, evidence: entity}, nil
}

// queue holds the occurrences of one alert that wait while another batch of the
// same alert is being written.
type queue struct{ occurrences []occurrence }

// enqueue hands o to the writer of its alert, and starts one if there is none.
func (a *Alerts) enqueue(o occurrence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, writing := a.waiting[o.id]
	if !writing {
		q = &queue{}
		a.waiting[o.id] = q
		go a.write(o.id, q)
	}
	q.occurrences = append(q.occurrences, o)
}

// write writes the occurrences of one alert, batch by batch, until none wait.
func (a *Alerts) write(id string, q *queue) {
	for {
		a.mu.Lock()
		batch := q.take()
		if len(batch) == 0 {
			delete(a.waiting, id)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		a.settle(batch)
	}
}

// take removes the occurrences of the next batch from the queue.
func (q *queue) take() []occurrence {
	n, size := 0, 0
	for n < len(q.occurrences) && n < maxBatch {
		size += len(q.occurrences[n].evidence)
		if n > 0 && size > maxBatchBytes {
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
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	outcomes, err := a.commit(ctx, batch)
	if errors.Is(err, errRejected) && len(batch) > 1 {
		for i := range batch {
			outcomes, err := a.commit(ctx, batch[i:i+1])
			tell(batch[i:i+1], outcomes, err)
		}
		return
	}
	tell(batch, outcomes, err)
}

// tell tells each occurrence of a batch its outcome.
func tell(batch []occurrence, outcomes []alert.Outcome, err error) {
	for i, o := range batch {
		switch {
		case errors.Is(err, errRejected):
			o.tell(alert.Recorded{Outcome: alert.Rejected, Err: err}, nil)
		case err != nil:
			o.tell(alert.Recorded{}, err)
		default:
			o.tell(alert.Recorded{Outcome: outcomes[i]}, nil)
		}
	}
}

// commit records occurrences of one alert, all or none, and returns the outcome
// of each. It reads the alert's row. Then it writes the row and the evidence in
// one transaction. The transaction succeeds only if the row is as it was read,
// and if none of the events is recorded. Otherwise commit leaves out the recorded
// events and begins again. If the answer to a transaction is lost, the next
// attempt finds its rows in the same way.
func (a *Alerts) commit(ctx context.Context, batch []occurrence) (outcomes []alert.Outcome, err error) {
	defer func() {
		// aztables v1.4.1 panics on an empty answer to a transaction
		// (transactional_batch.go, getBoundaryName).
		if p := recover(); p != nil {
			err = fmt.Errorf("table %q: panic: %v\n%s", a.table.name, p, debug.Stack())
		}
	}()
	pending := map[string]occurrence{} // by row key of the evidence: a batch may hold an event twice
	for _, o := range batch {
		pending[o.key] = o
	}
	partition, id := batch[0].row.PartitionKey, batch[0].id
	for attempt := 0; ; attempt++ {
		row, etag, err := a.read(ctx, partition, id)
		if err != nil {
			return nil, err
		}
		keys := slices.Sorted(maps.Keys(pending))
		actions, err := transaction(row, etag, pending, keys)
		if err != nil {
			return nil, err
		}
		if err := a.limiter.wait(ctx, partition, len(actions)); err != nil {
			return nil, fmt.Errorf("table %q: more than a partition takes: %w", a.table.name, err)
		}
		_, err = a.table.client.SubmitTransaction(ctx, actions, nil)
		conflict, ok := a.table.conflict(err)
		switch {
		case err == nil:
			first := alert.Counted
			switch {
			case etag == "":
				first = alert.New
			case alert.Status(row.Status).Closed():
				first = alert.Reopened
			}
			return outcomesOf(batch, keys, first), nil
		case !ok && !a.table.missing(ctx, err):
			return nil, a.table.explain("write", err)
		case conflict > 0:
			// The evidence at this place is recorded. More of the evidence may be
			// recorded, too.
			if err := a.dropRecorded(ctx, partition, pending); err != nil {
				return nil, err
			}
			if len(pending) == 0 {
				return outcomesOf(batch, nil, alert.Known), nil
			}
		default:
			// Somebody else wrote the alert's row, or the table had to be created.
			if err := pause(ctx, attempt); err != nil {
				return nil, fmt.Errorf("table %q: alert %s is being written by others: %w", a.table.name, id, err)
			}
		}
	}
}

// outcomesOf returns the outcome of each occurrence of a batch after a
// transaction that wrote the evidence at keys. The outcome of the first key is
// first. The other keys were counted. An occurrence without a key there, or with
// the key of an earlier occurrence, was known.
func outcomesOf(batch []occurrence, keys []string, first alert.Outcome) []alert.Outcome {
	did := map[string]alert.Outcome{}
	for i, k := range keys {
		if did[k] = alert.Counted; i == 0 {
			did[k] = first
		}
	}
	outcomes := make([]alert.Outcome, len(batch))
	for i, o := range batch {
		outcomes[i] = alert.Known
		if outcome, ok := did[o.key]; ok {
			outcomes[i] = outcome
			delete(did, o.key)
		}
	}
	return outcomes
}

// read returns the row of an alert and its ETag, or an empty ETag if there is
// no row.
func (a *Alerts) read(ctx context.Context, partition, id string) (Row, azcore.ETag, error) {
	response, err := a.table.client.GetEntity(ctx, partition, alertKey(id), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), a.table.missing(ctx, err):
		return Row{}, "", nil
	case err != nil:
		return Row{}, "", a.table.explain("read", err)
	}
	row, err := decodeRow(response.Value)
	if err != nil { // the row of a person, or no row at all but the page of something on the way
		return Row{}, "", fmt.Errorf("table %q: read: %w", a.table.name, err)
	}
	return row, response.ETag, nil
}

// transaction returns what records the pending occurrences: first the alert's
// row, then the evidence in the order of keys.
func transaction(row Row, etag azcore.ETag, pending map[string]occurrence, keys []string) ([]aztables.TransactionAction, error) {
	sum := pending[keys[0]].row
	for _, k := range keys[1:] {
		sum = sum.add(pending[k].row)
	}
	head := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	if etag != "" {
		head = aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: &etag}
		sum = row.add(sum)
	}
	var err error
	if head.Entity, err = sum.entity(); err != nil {
		return nil, fmt.Errorf("alert %s: %w: %w", sum.SystemAlertId, errRejected, err)
	}
	actions := []aztables.TransactionAction{head}
	for _, k := range keys {
		actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: pending[k].evidence})
	}
	return actions, nil
}

// dropRecorded removes from pending the occurrences whose evidence is recorded.
// It asks for all of them at once. If an alert has so much evidence that the
// first answer does not reach the last occurrence, it asks for each of the rest.
func (a *Alerts) dropRecorded(ctx context.Context, partition string, pending map[string]occurrence) error {
	keys := slices.Sorted(maps.Keys(pending))
	pages := a.table.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey eq '%s' and RowKey ge '%s' and RowKey le '%s'", partition, keys[0], keys[len(keys)-1])),
		Select: to.Ptr("RowKey"),
	})
	page, err := pages.NextPage(ctx)
	if err != nil {
		return a.table.explain("read", err)
	}
	var last key
	for _, entity := range page.Entities {
		if err := json.Unmarshal(entity, &last); err != nil {
			return fmt.Errorf("evidence row: %w", err)
		}
		delete(pending, last.RowKey)
	}
	if !pages.More() {
		return nil
	}
	undecided := slices.DeleteFunc(keys, func(k string) bool { return k <= last.RowKey })
	recorded := make([]bool, len(undecided))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, k := range undecided {
		group.Go(func() error {
			_, err := a.table.client.GetEntity(ctx, partition, k, nil)
			if err != nil && !hasCode(err, aztables.ResourceNotFound) {
				return a.table.explain("read", err)
			}
			recorded[i] = err == nil
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, k := range undecided {
		if recorded[i] {
			delete(pending, k)
		}
	}
	return nil
}

// pause waits before attempt+1. The wait is 5 ms at first and doubles up to 320
// ms. A random part, as long at most, keeps two writers from waiting in step.
func pause(ctx context.Context, attempt int) error {
	d := 5 * time.Millisecond << min(attempt, 6)
	select {
	case <-time.After(d + rand.N(d)): // #nosec G404 -- nothing depends on nobody being able to guess the wait
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
