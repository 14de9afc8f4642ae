package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// correctedReason is the reason for closing an alert of which nothing is left: a session was taken
// up after all, or the alert of a storm has the device.
const correctedReason = "corrected by later records, which explain it or make it a part of a storm"

// revise records an occurrence that is a proof, or a version of a tally of which the table
// may have another version, and tells its outcome.
func (a *Alerts) revise(o occurrence) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	write := a.tally
	if o.proof != nil {
		write = a.proven
	}
	recorded, err := write(ctx, o)
	if errors.Is(err, errRejected) {
		recorded, err = alert.Recorded{Outcome: alert.Rejected, Err: err}, nil
	}
	o.tell(recorded, err)
}

// tally records one version of a tally. The row of evidence says which version counts. It
// and the alert's row change in one transaction, on condition that both are as they were
// read. So the alert counts the newest version of each tally once, in whatever order and
// however often the versions come. A tally of nothing leaves its evidence, so that an older
// version that comes later does not count.
func (a *Alerts) tally(ctx context.Context, o occurrence) (recorded alert.Recorded, err error) {
	partition := o.row.PartitionKey
	taken := 0
	for attempt := 0; ; attempt++ {
		old, evidenceTag, err := a.readEvidence(ctx, partition, o.key)
		if err != nil {
			return recorded, err
		}
		if evidenceTag != "" && old.Seq >= o.tally.Seq {
			recorded.Outcome = alert.Known
			if old.Raised != nil { // perhaps by this version, which nobody was told of
				recorded.Raising, err = a.raised(ctx, partition, o.id, *old.Raised)
			}
			return recorded, err
		}
		row, tag, err := a.read(ctx, partition, o.id)
		if err != nil {
			return recorded, err
		}
		t, outcome, err := a.tallied(ctx, o, old.Count, row, tag, taken)
		if err != nil {
			return recorded, err
		}
		t.prove(o.evidence, evidenceTag, old.Raised)
		switch again, err := a.send(ctx, partition, t, attempt, &taken); {
		case err != nil:
			return recorded, err
		case !again:
			a.seen.add(o.id)
			a.seen.add(o.key)
			return t.recorded(outcome), nil
		}
	}
}

// send sends a transaction. It reports whether the caller has to read the rows again and
// make another one, since somebody else wrote some of them: then it has waited. taken is how
// many numbers of changes an alert with this id had before somebody deleted it.
func (a *Alerts) send(ctx context.Context, partition string, t transaction, attempt int, taken *int) (again bool, err error) {
	if err := a.limiter.wait(ctx, partition, len(t.actions)); err != nil {
		return false, fmt.Errorf("table %q: more than a partition takes: %w", a.table.name, err)
	}
	if _, err = a.table.submit(ctx, t.actions...); err == nil {
		a.kept.forget(partition, 0) // whose rows this has changed
		return false, nil
	}
	index, conflict := a.table.conflict(err)
	if !conflict && !a.table.missing(ctx, err) {
		return false, a.table.explain("write", err)
	}
	if conflict && index < len(t.about) && t.about[index].of == historyRange {
		*taken++
		return true, nil
	}
	if err := pause(ctx, attempt); err != nil {
		return false, fmt.Errorf("table %q: %s is being written by others: %w", a.table.name, partition, err)
	}
	return true, nil
}

// readEvidence reads a row of evidence. It has no ETag if there is none.
func (a *Alerts) readEvidence(ctx context.Context, partition, row string) (evidence, azcore.ETag, error) {
	response, err := a.table.client.GetEntity(ctx, partition, row, nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), a.table.missing(ctx, err):
		return evidence{}, "", nil
	case err != nil:
		return evidence{}, "", a.table.explain("read", err)
	}
	var e evidence
	if err := decode(response.Value, &e); err != nil {
		return evidence{}, "", fmt.Errorf("table %q: read: %w", a.table.name, err)
	}
	return e, response.ETag, nil
}

// tallied returns what a transaction does to the alert of a tally whose number was before
// and is that of o: to its row, which is as it was read, to the summary and to the history.
func (a *Alerts) tallied(ctx context.Context, o occurrence, before int32, row Row, tag azcore.ETag, taken int) (t transaction, outcome alert.Outcome, err error) {
	delta := o.tally.Count - before
	after, outcome := row, alert.Counted
	head := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(tag)}
	var was *Row
	changed := false // by hubwatch, which is a row of history
	switch {
	case tag == "" && o.tally.Count == 0, tag != "" && delta == 0:
		return t, alert.Known, nil
	case tag == "":
		after, outcome = o.row, alert.New
		after.Occurrences = o.tally.Count
		head = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	case delta > 0:
		was = &row
		if changed = row.reopens(o.row); changed {
			outcome = alert.Reopened
		}
		after = row.add(o.row)
		after.Occurrences = row.Occurrences + delta
	default:
		was = &row
		after.Occurrences, after.Corrected = max(row.Occurrences+delta, 0), true
		after.Course = row.Course.with(o.row.Course)
		if row.FirstEvidence == o.key {
			after.particulars = o.row.particulars
		}
		// What a person has decided stays.
		if changed = after.Occurrences == 0 && row.status() == alert.Active && (row.Changes == 0 || row.StatusBy == byHandler); changed {
			after.Status, after.Changes = string(alert.Resolved), after.Changes+1
			after.StatusBy, after.StatusByObjectId, after.StatusReason = byHandler, "", correctedReason
		}
	}
	t, err = a.changed(ctx, o, was, &after, head, changed, taken)
	return t, outcome, err
}

// changed returns what a transaction does to the row of the alert of o, to the summary and
// to the history. The row was as it was read, nil if there is none, and is after. edited says
// that this is a change of the alert by hubwatch.
func (a *Alerts) changed(ctx context.Context, o occurrence, was, after *Row, head aztables.TransactionAction, edited bool, taken int) (t transaction, err error) {
	var entry []byte
	if edited {
		after.Changes += int32(taken) // #nosec G115 -- few
		after.StatusTimeUtc = edmTime(a.now())
		if entry, err = json.Marshal(history{
			key: key{o.row.PartitionKey, historyKey(o.id, int(after.Changes))}, SystemAlertId: o.id, TimeUtc: after.StatusTimeUtc, TimeType: edmDateTime,
			FromStatus: string(was.status()), ToStatus: string(after.status()), Reason: after.StatusReason, By: after.StatusBy,
			Via: viaHandler, EventId: o.event,
		}); err != nil {
			return t, fmt.Errorf("alert %s: %w: %w", o.id, errRejected, err)
		}
	}
	if head.Entity, err = after.entity(); err != nil {
		return t, fmt.Errorf("alert %s: %w: %w", o.id, errRejected, err)
	}
	t.add(place{nil, alertRange}, head)
	if after.SuppressedBy == "" && (was == nil || edited && !after.status().Closed()) {
		t.raises = after
	}
	if was == nil || edited {
		c := commit{Alerts: a, partition: o.row.PartitionKey}
		if err := c.readSummary(ctx); err != nil {
			return t, err
		}
		c.summary.move(was, after)
		action, err := c.summary.action()
		if err != nil {
			return t, fmt.Errorf("summary of %s: %w", c.partition, err)
		}
		t.add(place{nil, summaryKey}, action)
	}
	if edited {
		t.add(place{nil, historyRange}, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entry})
	}
	return t, nil
}
