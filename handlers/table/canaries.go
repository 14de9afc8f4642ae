package table

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/coverage"
)

// What is known of the canaries of a path is a row in a partition of its own. It is in the
// table of alerts, since that is where a canary has to arrive:
//
//	!canary   topic
const canaryPartition = "!canary"

// canaryRow is a row of this partition.
type canaryRow struct {
	key
	Path     string
	SentUtc  string
	SentType string `json:"SentUtc@odata.type"`
	Token    string
	// PatienceSeconds is how long the canary may take.
	PatienceSeconds float64
	// HandedToken is that of the last canary that the path took.
	HandedToken  string
	Fault        string
	ArrivedToken string
	// Once a canary has arrived, these are never empty again.
	ArrivedSentUtc string `json:",omitzero"`
	ArrivedType    string `json:"ArrivedSentUtc@odata.type,omitzero"`
	TookSeconds    float64
}

// newCanaryRow returns t as a row.
func newCanaryRow(t coverage.Trip) canaryRow {
	row := canaryRow{
		key: key{canaryPartition, escape(string(t.Path))}, Path: string(t.Path), SentUtc: edmTime(t.Sent), SentType: edmDateTime, Token: t.Token,
		PatienceSeconds: t.Patience.Seconds(), Fault: t.Fault, ArrivedToken: t.ArrivedToken, TookSeconds: t.Took.Seconds(),
	}
	if t.Handed {
		row.HandedToken = t.Token
	}
	if !t.ArrivedSent.IsZero() {
		row.ArrivedSentUtc, row.ArrivedType = edmTime(t.ArrivedSent), edmDateTime
	}
	return row
}

// decodeCanary reads a row. Its error names the row and the column.
func decodeCanary(entity []byte) (t coverage.Trip, err error) {
	var row canaryRow
	if err := decode(entity, &row); err != nil {
		return t, err
	}
	t = coverage.Trip{Path: coverage.Path(row.Path), Token: row.Token, Fault: row.Fault, ArrivedToken: row.ArrivedToken,
		Took: time.Duration(row.TookSeconds * float64(time.Second)), Patience: time.Duration(row.PatienceSeconds * float64(time.Second)),
		Handed: row.Token != "" && row.Token == row.HandedToken}
	if t.Sent, err = row.time("SentUtc", row.SentUtc); err != nil {
		return coverage.Trip{}, err
	}
	if row.ArrivedSentUtc != "" {
		if t.ArrivedSent, err = row.time("ArrivedSentUtc", row.ArrivedSentUtc); err != nil {
			return coverage.Trip{}, err
		}
	}
	return t, nil
}

// Trips implements coverage.Reader.
func (a *Alerts) Trips(ctx context.Context) (trips []coverage.Trip, err error) {
	for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr("PartitionKey eq " + quoted(canaryPartition))}) {
		if err != nil {
			return nil, err
		}
		t, err := decodeCanary(entity)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		trips = append(trips, t)
	}
	return trips, nil
}

// Send implements coverage.Store.
func (a *Alerts) Send(ctx context.Context, c coverage.Canary, patience time.Duration) error {
	return a.changeTrip(ctx, c.Path, func(t *coverage.Trip) bool {
		t.Path, t.Sent, t.Token, t.Patience, t.Handed, t.Fault = c.Path, c.Sent, c.Token, patience, false, ""
		return true
	})
}

// Handed implements coverage.Store. It does not read the row: the token says which canary it was.
func (a *Alerts) Handed(ctx context.Context, c coverage.Canary) error {
	entity, err := json.Marshal(struct {
		key
		HandedToken string
	}{key{canaryPartition, escape(string(c.Path))}, c.Token})
	if err != nil {
		return fmt.Errorf("table %q: %w", a.table.name, err)
	}
	if _, err = a.table.submit(ctx, aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(azcore.ETagAny), Entity: entity}); err != nil {
		return a.table.explain("write", err)
	}
	return nil
}

// Refused implements coverage.Store.
func (a *Alerts) Refused(ctx context.Context, c coverage.Canary, fault string) error {
	return a.changeTrip(ctx, c.Path, func(t *coverage.Trip) bool {
		t.Handed, t.Fault = false, fault
		return t.Token == c.Token
	})
}

// Arrive implements coverage.Store.
func (a *Alerts) Arrive(ctx context.Context, c coverage.Canary, at time.Time) (known bool, err error) {
	err = a.changeTrip(ctx, c.Path, func(t *coverage.Trip) bool {
		if known = t.Token != "" && t.Token == c.Token; !known || t.Arrived() {
			return false
		}
		t.ArrivedToken, t.ArrivedSent, t.Took = t.Token, t.Sent, max(0, at.Sub(t.Sent))
		return true
	})
	return known && err == nil, err
}

// canaryTries is how often a row is changed anew that somebody else changed meanwhile. The
// sender and the receiver of one canary can meet, and no others.
const canaryTries = 5

// changeTrip changes what is known of a path, unless change returns false. A row that a person
// broke counts as none.
func (a *Alerts) changeTrip(ctx context.Context, path coverage.Path, change func(*coverage.Trip) bool) error {
	name := escape(string(path))
	for range canaryTries {
		response, err := a.table.client.GetEntity(ctx, canaryPartition, name, nil)
		action := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(response.ETag)}
		var t coverage.Trip
		switch {
		case hasCode(err, aztables.ResourceNotFound), a.table.missing(ctx, err):
			action = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
		case err != nil:
			return a.table.explain("read", err)
		default:
			t, _ = decodeCanary(response.Value)
		}
		if !change(&t) {
			return nil
		}
		if action.Entity, err = json.Marshal(newCanaryRow(t)); err != nil {
			return fmt.Errorf("table %q: %w", a.table.name, err)
		}
		_, err = a.table.submit(ctx, action)
		if _, conflict := a.table.conflict(err); conflict {
			continue
		}
		if err != nil {
			return a.table.explain("write", err)
		}
		return nil
	}
	return fmt.Errorf("table %q: row %s %s: somebody else changes it all the time", a.table.name, canaryPartition, name)
}
