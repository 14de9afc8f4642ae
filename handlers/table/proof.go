package table

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// proof is what an alert of a counted rule says: a slot with an event that is over, and the
// events that show it.
type proof struct {
	rule  window.Rule
	slot  window.Slot
	proof window.Proof
}

// prove makes an alert say that a slot has an event that is over. o is what the alert says
// about it. A proof that is as good as that of the alert changes nothing. So proofs may
// come in any order and any number of times, from any number of processes: the best stays.
// The error wraps window.ErrNever if the alert can never say so. raising is what people are
// to be told, if they are: what a proof raised is told again with each proof that takes its
// place, since whoever wrote the first may have ended before anybody was told.
func (a *Alerts) prove(ctx context.Context, o alert.Occurrence, rule window.Rule, slot window.Slot, p window.Proof) (raising *alert.Raising, err error) {
	e := newEvidence(o)
	e.RowKey = evidenceOf(o.ID) + separator + rule.Of(slot).String()
	e.EventTimeUtc, e.RawEvent, e.RawEventSha256 = edmTime(p.Last().At()), "", ""
	e.Proof, e.ProofType = p.Pack(), edmBinary
	entity, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("evidence of alert %s: %w", o.ID, err)
	}
	type told struct {
		recorded alert.Recorded
		err      error
	}
	done := make(chan told, 1)
	a.enqueue(occurrence{
		id: o.ID, row: newRow(o, a.now()), key: e.RowKey, event: e.EventId, evidence: entity, proof: &proof{rule, slot, p}, revises: true,
		tell: func(r alert.Recorded, err error) { done <- told{r, err} },
	})
	select {
	case t := <-done:
		if t.recorded.Err != nil {
			return nil, fmt.Errorf("%w: %w", window.ErrNever, t.recorded.Err)
		}
		return t.recorded.Raising, t.err
	case <-ctx.Done():
		return nil, fmt.Errorf("table %q: %w", a.table.name, context.Cause(ctx))
	}
}

// proven records a proof. The alert's row has the slots of the day and what follows from
// them, and the row of evidence has the proof. Both are written in one transaction on
// condition that they are as they were read (R1).
func (a *Alerts) proven(ctx context.Context, o occurrence) (recorded alert.Recorded, err error) {
	partition := o.row.PartitionKey
	taken := 0
	for attempt := 0; ; attempt++ {
		var old evidence
		var read stored
		var evidenceTag azcore.ETag
		group, groupContext := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			old, evidenceTag, err = a.readEvidence(groupContext, partition, o.key)
			return err
		})
		group.Go(func() (err error) {
			read.row, read.etag, err = a.read(groupContext, partition, o.id)
			return err
		})
		if err := group.Wait(); err != nil {
			return recorded, err
		}
		before, err := window.UnpackProof(old.Proof)
		if err != nil {
			return recorded, fmt.Errorf("table %q: %w", a.table.name, old.wrong("Proof", err))
		}
		if evidenceTag != "" && read.etag != "" && !o.proof.proof.Better(before) {
			recorded.Outcome = alert.Known
			if old.Raised != nil {
				recorded.Raising, recorded.Err = read.row.raising(*old.Raised)
			}
			return recorded, nil
		}
		t, outcome, err := a.proving(ctx, o, read, taken)
		if err != nil {
			return recorded, err
		}
		t.prove(o.evidence, evidenceTag, old.Raised)
		switch again, err := a.send(ctx, partition, t, attempt, &taken); {
		case err != nil:
			return recorded, err
		case !again:
			a.seen.add(o.id)
			if recorded = t.recorded(outcome); t.raises == nil && old.Raised != nil && read.etag != "" {
				recorded.Raising, recorded.Err = read.row.raising(*old.Raised)
			}
			return recorded, nil
		}
	}
}

// proving returns what a transaction does to the alert of a proof, whose row is as it was
// read. If the alert has the slot, only its times can change.
func (a *Alerts) proving(ctx context.Context, o occurrence, read stored, taken int) (t transaction, outcome alert.Outcome, err error) {
	slots, err := window.UnpackSlots(read.row.Slots)
	if err != nil {
		return t, 0, fmt.Errorf("table %q: %w", a.table.name, read.row.wrong("Slots", err))
	}
	of, day := o.proof.rule.Of(o.proof.slot), o.proof.rule.Begin(o.proof.slot)
	_, there := slots[of]
	had, _, ended := slots.Breaches()
	slots[of] = o.proof.proof.Last()
	n, start, end := slots.Breaches()

	after, outcome, edited := read.row, alert.Counted, false
	head := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: &read.etag}
	var was *Row
	if read.etag == "" {
		after, outcome = o.row, alert.New
		after.StartTimeUtc, after.EndTimeUtc = shown(day, start), shown(day, end)
		head = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	} else {
		was = &read.row
		if !there {
			if edited = read.row.reopens(o.row); edited {
				outcome = alert.Reopened
			}
			after = read.row.add(o.row)
		}
		after.StartTimeUtc = min(read.row.StartTimeUtc, shown(day, start))
		if after.EndTimeUtc = shown(day, end); read.row.EndTimeUtc != shown(day, ended) {
			after.EndTimeUtc = max(read.row.EndTimeUtc, after.EndTimeUtc) // of something else
		}
	}
	after.Slots = slots.Pack()
	after.Occurrences = read.row.Occurrences + int32(n-had) // #nosec G115 -- at most one a minute
	t, err = a.changed(ctx, o, was, &after, head, edited, taken)
	return t, outcome, err
}

// shown returns a time as the alert of a UTC day has it. A slot belongs to the day in which
// it begins, and can end in the next one. All times of an alert are of its day, because the
// day of its first time is a part of its reference.
func shown(day, at time.Time) string { return edmTime(onDay(day, at)) }

func onDay(day, at time.Time) time.Time {
	if end := alert.Day(day).AddDate(0, 0, 1).Add(-100 * time.Nanosecond); at.After(end) {
		return end
	}
	return at
}
