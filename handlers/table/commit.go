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
	// one entity is the alert's row, and base64 and headers need room.
	maxBatch      = 99
	maxBatchBytes = 2 << 20

	// commitTimeout bounds the writing of one batch. It is shorter than the
	// deadline of an invocation, so that the invocation can still answer.
	commitTimeout = 15 * time.Second
)

// occurrence is an alert on its way into the store.
type occurrence struct {
	alert.Occurrence
	done chan<- error // has room; gets the outcome once
}

// queue holds the occurrences of one alert that wait while another batch of the
// same alert is being written.
type queue struct{ occurrences []occurrence }

// enqueue hands o to the writer of its alert, and starts one if there is none.
func (s *Store) enqueue(o occurrence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, writing := s.waiting[o.ID]
	if !writing {
		q = &queue{}
		s.waiting[o.ID] = q
		go s.write(o.ID, q)
	}
	q.occurrences = append(q.occurrences, o)
}

// write writes the occurrences of one alert, batch by batch, until none wait.
func (s *Store) write(id string, q *queue) {
	for {
		s.mu.Lock()
		batch := q.take()
		if len(batch) == 0 {
			delete(s.waiting, id)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.settle(batch)
	}
}

// take removes the occurrences of the next batch from the queue.
func (q *queue) take() []occurrence {
	n, size := 0, 0
	for n < len(q.occurrences) && n < maxBatch {
		size += len(q.occurrences[n].Evidence.Raw)
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
// rejects the batch, each is written alone, so that one that is impossible to
// store does not take the others with it.
func (s *Store) settle(batch []occurrence) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := s.commit(ctx, batch)
	if errors.Is(err, alert.ErrRejected) && len(batch) > 1 {
		for _, o := range batch {
			o.done <- s.commit(ctx, []occurrence{o})
		}
		return
	}
	for _, o := range batch {
		o.done <- err
	}
}

// commit records occurrences of one alert, all or none. It reads the alert's
// row, then writes the row and the evidence in one transaction that succeeds
// only if the row is still as it was read and none of the events is recorded.
// Otherwise it leaves out what is recorded and begins again; the outcome of a
// transaction whose answer was lost shows in the same way.
func (s *Store) commit(ctx context.Context, batch []occurrence) (err error) {
	defer func() {
		// aztables v1.4.1 panics on an empty answer to a transaction
		// (transactional_batch.go, getBoundaryName).
		if p := recover(); p != nil {
			err = fmt.Errorf("table %q: panic: %v\n%s", s.alerts.name, p, debug.Stack())
		}
	}()
	pending := map[string]alert.Occurrence{} // by row key of the evidence: a batch may hold an event twice
	for _, o := range batch {
		pending[evidenceKey(o.Occurrence)] = o.Occurrence
	}
	partition, id := partitionKey(batch[0].Occurrence), batch[0].ID
	for attempt := 0; ; attempt++ {
		row, etag, err := s.read(ctx, partition, id)
		if err != nil {
			return err
		}
		keys := slices.Sorted(maps.Keys(pending))
		actions, err := s.transaction(row, etag, pending, keys)
		if err != nil {
			return err
		}
		if err := s.limiter.wait(ctx, partition, len(actions)); err != nil {
			return fmt.Errorf("table %q: more than a partition takes: %w", s.alerts.name, err)
		}
		_, err = s.alerts.client.SubmitTransaction(ctx, actions, nil)
		conflict, ok := s.alerts.conflict(err)
		switch {
		case err == nil:
			return nil
		case !ok && !s.alerts.missing(ctx, err):
			return s.alerts.explain("write", err)
		case conflict > 0:
			// The evidence at this place is recorded. Where one is, more may be.
			if err := s.dropRecorded(ctx, partition, pending); err != nil {
				return err
			}
			if len(pending) == 0 {
				return nil
			}
		default:
			// Somebody else wrote the alert's row, or the table had to be created.
			if err := pause(ctx, attempt); err != nil {
				return fmt.Errorf("table %q: alert %s is being written by others: %w", s.alerts.name, id, err)
			}
		}
	}
}

// read returns the row of an alert and its ETag, or an empty ETag if there is
// no row.
func (s *Store) read(ctx context.Context, partition, id string) (Row, azcore.ETag, error) {
	response, err := s.alerts.client.GetEntity(ctx, partition, alertKey(id), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), s.alerts.missing(ctx, err):
		return Row{}, "", nil
	case err != nil:
		return Row{}, "", s.alerts.explain("read", err)
	}
	row, err := decodeRow(response.Value)
	return row, response.ETag, err
}

// transaction returns what records the pending occurrences: first the alert's
// row, then the evidence in the order of keys.
func (s *Store) transaction(row Row, etag azcore.ETag, pending map[string]alert.Occurrence, keys []string) ([]aztables.TransactionAction, error) {
	sum := newRow(pending[keys[0]], s.now())
	for _, k := range keys[1:] {
		sum = sum.add(newRow(pending[k], s.now()))
	}
	head := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	if etag != "" {
		head = aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: &etag}
		sum = row.add(sum)
	}
	var err error
	if head.Entity, err = sum.entity(); err != nil {
		return nil, fmt.Errorf("alert %s: %w: %w", sum.SystemAlertId, alert.ErrRejected, err)
	}
	actions := []aztables.TransactionAction{head}
	for _, k := range keys {
		entity, err := json.Marshal(newEvidence(pending[k]))
		if err != nil {
			return nil, fmt.Errorf("evidence of alert %s: %w: %w", sum.SystemAlertId, alert.ErrRejected, err)
		}
		actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity})
	}
	return actions, nil
}

// dropRecorded removes from pending the occurrences whose evidence is recorded. It
// asks for all of them at once, and for each by itself only where an alert has so
// much evidence that the first answer does not reach to the last of them.
func (s *Store) dropRecorded(ctx context.Context, partition string, pending map[string]alert.Occurrence) error {
	keys := slices.Sorted(maps.Keys(pending))
	pages := s.alerts.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey eq '%s' and RowKey ge '%s' and RowKey le '%s'", partition, keys[0], keys[len(keys)-1])),
		Select: to.Ptr("RowKey"),
	})
	page, err := pages.NextPage(ctx)
	if err != nil {
		return s.alerts.explain("read", err)
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
			_, err := s.alerts.client.GetEntity(ctx, partition, k, nil)
			if err != nil && !hasCode(err, aztables.ResourceNotFound) {
				return s.alerts.explain("read", err)
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

// pause waits before attempt+1: 5 ms at first, twice as long each time up to
// 320 ms, and as much again by chance, so that two writers do not keep step.
func pause(ctx context.Context, attempt int) error {
	d := 5 * time.Millisecond << min(attempt, 6)
	select {
	case <-time.After(d + rand.N(d)): // #nosec G404 -- nothing depends on nobody being able to guess the wait
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
