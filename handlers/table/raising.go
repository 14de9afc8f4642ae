package table

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/alert"
)

// An occurrence that raises or reopens its alert says so in its row of evidence, which is
// written in the same transaction. So a redelivery of its event can tell people again, if
// the first delivery ended before it had told them.

// marked returns a row of evidence that says that its occurrence made a raising.
func marked(evidence []byte, number int32) []byte {
	return append(fmt.Appendf(nil, `{"Raised":%d,`, number), evidence[1:]...)
}

// raising returns a raising of the row's alert, by its number.
func (r Row) raising(number int32) (*alert.Raising, error) {
	a, err := r.alert()
	if err != nil {
		return nil, fmt.Errorf("alert %s is recorded, and cannot be told: %w", r.SystemAlertId, err)
	}
	return &alert.Raising{Alert: a, Number: int(number)}, nil
}

// raised returns a raising of an alert that is in the table, by its number. It is nil if the
// alert is not there any more.
func (a *Alerts) raised(ctx context.Context, partition, id string, number int32) (*alert.Raising, error) {
	row, tag, err := a.read(ctx, partition, id)
	if err != nil || tag == "" {
		return nil, err
	}
	return row.raising(number)
}

// prove adds the row of evidence of a single occurrence, which replaces the one with the
// ETag tag if that is not empty. before is the raising that the row says so far.
func (t *transaction) prove(evidence []byte, tag azcore.ETag, before *int32) {
	if t.raises != nil {
		before = &t.raises.Changes
	}
	if before != nil {
		evidence = marked(evidence, *before)
	}
	action := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: evidence}
	if tag != "" {
		action.ActionType, action.IfMatch = aztables.TransactionTypeUpdateReplace, &tag
	}
	t.add(place{nil, evidenceRange}, action)
}

// recorded returns what became of a single occurrence whose transaction was written.
func (t transaction) recorded(outcome alert.Outcome) (r alert.Recorded) {
	r.Outcome = outcome
	if t.raises != nil {
		r.Raising, r.Err = t.raises.raising(t.raises.Changes)
	}
	return r
}
