package table

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// LeastPruned is the youngest that anything is deleted. Event Grid delivers an event for 24
// hours, so no delivery meets a day that is being deleted.
const LeastPruned = 30 * 24 * time.Hour

// Pruning says what Prune deletes.
type Pruning struct {
	Hub string // of this hub alone, by its name in any case; "" for all
	// Before is the time before which a UTC day has ended if it is deleted.
	Before time.Time
	// Open says to delete days that have open alerts, too. Without it such a day stays
	// whole.
	Open bool
	// DryRun says to count, and to delete nothing.
	DryRun bool
}

// Pruned is one hub and day that is old enough to be deleted.
type Pruned struct {
	Hub                       string // as keys have it
	Day                       time.Time
	Alerts, Evidence, History int // rows
	// Open is how many of the alerts are neither resolved nor dismissed nor suppressed. A
	// status that hubwatch does not know is open.
	Open int
	// Kept says that the day stays because of its open alerts.
	Kept bool
}

// Prune deletes whole days of hubs, with everything that is in them: alerts, evidence,
// history, the summary, and the row in the index of days. It yields each day after it is
// deleted, the newest first; with DryRun, it yields what it would have deleted. It ends at
// the first error. It may be interrupted at any request and run again.
//
// The alerts and the summary are deleted first, on condition that they are as they were
// read, so that a day in which a person or an occurrence changed an alert meanwhile is
// looked at again. A day without its alerts is not shown any more. Its row in the index
// goes last, so that the next run finds what is left.
func (a *Alerts) Prune(ctx context.Context, p Pruning) iter.Seq2[Pruned, error] {
	return func(yield func(Pruned, error) bool) {
		within := spanOf(time.Time{}, p.Before.UTC().AddDate(0, 0, -1))
		for day, err := range a.days(ctx, hubKey(p.Hub), within) {
			if err != nil {
				yield(Pruned{}, err)
				return
			}
			for _, each := range day {
				done, err := a.prune(ctx, each, p)
				if !yield(done, err) || err != nil {
					return
				}
			}
		}
	}
}

// doomed is a row of a partition, as far as a deletion has to know it.
type doomed struct {
	key
	ETag         azcore.ETag `json:"odata.etag"`
	Status       string
	SuppressedBy string
}

// open reports whether the row is of an alert that is open.
func (r doomed) open() bool {
	status, err := alert.ParseStatus(r.Status)
	return r.SuppressedBy == "" && (err != nil || !status.Closed())
}

// prune deletes one partition, or counts what is in it.
func (a *Alerts) prune(ctx context.Context, p partition, options Pruning) (Pruned, error) {
	done := Pruned{Hub: p.hub, Day: p.date()}
	for attempt := 0; ; attempt++ {
		first, others, found, err := a.survey(ctx, p)
		// What an earlier attempt has deleted counts, too.
		done.Alerts, done.Open = max(done.Alerts, found.Alerts), max(done.Open, found.Open)
		done.Evidence, done.History = max(done.Evidence, found.Evidence), max(done.History, found.History)
		done.Kept = found.Open > 0 && !options.Open
		if err != nil || options.DryRun || done.Kept {
			return done, err
		}
		if len(first)+len(others) == 0 {
			return done, a.unindex(ctx, p)
		}
		if err = a.erase(ctx, first, true); err == nil {
			err = a.erase(ctx, others, false)
		}
		if _, changed := a.table.conflict(err); err != nil && !changed {
			return done, a.table.explain("delete", err)
		}
		if err != nil {
			if err := pause(ctx, attempt); err != nil {
				return done, fmt.Errorf("table %q: %s is being written by others: %w", a.table.name, p, err)
			}
		}
	}
}

// survey returns the rows of a partition: the summary and the alerts, and all others. It
// counts them.
func (a *Alerts) survey(ctx context.Context, p partition) (first, others []doomed, found Pruned, err error) {
	options := &aztables.ListEntitiesOptions{
		Filter: to.Ptr("PartitionKey eq " + quoted(p.String())), Select: to.Ptr("PartitionKey,RowKey,Status,SuppressedBy"),
		Format: to.Ptr(aztables.MetadataFormatFull), // has the ETags
	}
	for entity, err := range a.table.entities(ctx, options) {
		var row doomed
		if err == nil {
			err = decode(entity, &row)
		}
		if err != nil {
			return nil, nil, found, err
		}
		kind, _, _ := strings.Cut(row.RowKey, separator)
		switch kind {
		case alertRange:
			found.Alerts++
			if row.open() {
				found.Open++
			}
			first = append(first, row)
			continue
		case summaryKey:
			// It goes with the first alerts: what reads a day that has none counts its alerts.
			first = slices.Insert(first, 0, row)
			continue
		case evidenceRange:
			found.Evidence++
		case historyRange:
			found.History++
		}
		others = append(others, row)
	}
	return first, others, found, nil
}

// erase deletes rows of one partition, as many in a transaction as fit. unchanged says
// that each must be as it was read.
func (a *Alerts) erase(ctx context.Context, rows []doomed, unchanged bool) error {
	for batch := range slices.Chunk(rows, maxEntities) {
		actions := make([]aztables.TransactionAction, len(batch))
		for i, row := range batch {
			entity, err := json.Marshal(row.key)
			if err != nil {
				return err
			}
			actions[i] = aztables.TransactionAction{ActionType: aztables.TransactionTypeDelete, Entity: entity}
			if unchanged {
				actions[i].IfMatch = &row.ETag
			}
		}
		if err := a.limiter.wait(ctx, batch[0].PartitionKey, len(batch)); err != nil {
			return err
		}
		if _, err := a.table.submit(ctx, actions...); err != nil {
			return err
		}
	}
	return nil
}

// unindex takes a partition without rows out of the index of days.
func (a *Alerts) unindex(ctx context.Context, p partition) error {
	err := a.erase(ctx, []doomed{{key: key{indexPartition, p.indexKey()}}}, false)
	if err == nil || hasCode(err, aztables.ResourceNotFound) { // of a table that is older than the index
		return nil
	}
	return a.table.explain("delete", err)
}
