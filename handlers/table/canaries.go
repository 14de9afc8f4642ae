package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/coverage"
)

// What is known of the canaries of a path is a row in a partition of its own. It is in the
// table of alerts, since that is where a canary has to arrive. What arrived at each branch is a
// row in a second partition, which older versions do not read, and which sorts after the first so
// that one request reads both:
//
//	!canary          topic
//	!canary-branch   topic|DeviceTokenExpired|hubwatch.iothub.connection.foreign
const (
	canaryPartition = "!canary"
	branchPartition = canaryPartition + "-branch"
)

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
	// Branches has a line for each branch at which the last canary has to arrive: the
	// function, the type of events, and since when, with a space between them. Neither of
	// them can have a space. BranchToken is that of this canary: an older version of hubwatch
	// sends none there, and leaves the branches as they were.
	Branches, BranchToken string
}

// branchRow is a row of what arrived at a branch.
type branchRow struct {
	key
	Path, Function, Type string
	ArrivedToken         string
	ArrivedSentUtc       string
	ArrivedType          string `json:"ArrivedSentUtc@odata.type"`
	TookSeconds          float64
}

// branchKey is the row of what arrived at a branch of a path.
func branchKey(path coverage.Path, b coverage.Branch) key {
	return key{branchPartition, escape(string(path)) + separator + escape(b.Function) + separator + escape(b.Type)}
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
	var lines []string
	for _, b := range t.Branches {
		lines = append(lines, b.Function+" "+b.Type+" "+edmTime(b.Since))
	}
	row.Branches, row.BranchToken = strings.Join(lines, "\n"), t.Token
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
	if row.BranchToken != row.Token {
		return t, nil
	}
	for line := range strings.Lines(row.Branches) {
		parts := strings.Fields(line)
		if len(parts) != 3 {
			return coverage.Trip{}, row.wrong("Branches", errors.New("want a function, a type and a time in each line"))
		}
		b := coverage.Branch{Function: parts[0], Type: parts[1]}
		if b.Since, err = row.time("Branches", parts[2]); err != nil {
			return coverage.Trip{}, err
		}
		t.Branches = append(t.Branches, b)
	}
	return t, nil
}

// Trips implements coverage.Reader.
func (a *Alerts) Trips(ctx context.Context) ([]coverage.Trip, error) {
	trips, reached, err := a.trips(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, t := range trips {
		for i := range t.Branches {
			b := &t.Branches[i]
			last := reached[branchKey(t.Path, *b)]
			b.ArrivedToken, b.ArrivedSent, b.Took = last.ArrivedToken, last.ArrivedSent, last.Took
		}
	}
	return trips, nil
}

// arrival is what last arrived at a branch, and the ETag of the row that says so.
type arrival struct {
	coverage.Branch
	etag azcore.ETag
}

// decodeBranch reads a row of a branch. Its error names the row and the column. It returns the
// ETag all the same.
func decodeBranch(entity []byte, etag azcore.ETag) (arrival, error) {
	var row branchRow
	if err := decode(entity, &row); err != nil {
		return arrival{etag: etag}, err
	}
	sent, err := row.time("ArrivedSentUtc", row.ArrivedSentUtc)
	if err != nil {
		return arrival{etag: etag}, err
	}
	return arrival{coverage.Branch{ArrivedToken: row.ArrivedToken, ArrivedSent: sent, Took: time.Duration(row.TookSeconds * float64(time.Second))}, etag}, nil
}

// trips reads the rows of paths, and what arrived at branches, by its row. If broken is true, a row
// that a person broke says nothing.
func (a *Alerts) trips(ctx context.Context, broken bool) (trips []coverage.Trip, reached map[key]arrival, err error) {
	reached = map[key]arrival{}
	filter := "PartitionKey ge " + quoted(canaryPartition) + " and PartitionKey le " + quoted(branchPartition)
	for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: &filter}) {
		if err != nil {
			return nil, nil, err
		}
		var at struct {
			key
			ETag azcore.ETag `json:"odata.etag"`
		}
		if err = decode(entity, &at); err == nil && at.PartitionKey == branchPartition {
			reached[at.key], err = decodeBranch(entity, at.ETag)
		} else if err == nil {
			var t coverage.Trip
			if t, err = decodeCanary(entity); err == nil {
				trips = append(trips, t)
			}
		}
		if err != nil && !broken {
			return nil, nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
	}
	return trips, reached, nil
}

// Send implements coverage.Store.
func (a *Alerts) Send(ctx context.Context, c coverage.Canary, patience time.Duration, branches []coverage.Branch) error {
	return a.changeTrip(ctx, c.Path, func(t *coverage.Trip) bool {
		t.Branches = coverage.Renew(t.Branches, branches, c.Sent)
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

// Reach implements coverage.Store. The row is written only if it is still as it was read, so that a
// canary that comes late does not take away that the next one arrived.
func (a *Alerts) Reach(ctx context.Context, c coverage.Canary, at coverage.Branch, when time.Time) (known bool, err error) {
	for range canaryTries {
		trips, reached, err := a.trips(ctx, true)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(trips, func(t coverage.Trip) bool { return t.Path == c.Path && t.Token != "" && t.Token == c.Token })
		if i < 0 || !slices.ContainsFunc(trips[i].Branches, at.Is) {
			return false, nil
		}
		row := branchRow{
			key: branchKey(c.Path, at), Path: string(c.Path), Function: at.Function, Type: at.Type,
			ArrivedToken: c.Token, ArrivedSentUtc: edmTime(trips[i].Sent), ArrivedType: edmDateTime, TookSeconds: max(0, when.Sub(trips[i].Sent)).Seconds(),
		}
		action := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
		if before, ok := reached[row.key]; ok && before.ArrivedToken == c.Token {
			return true, nil
		} else if ok {
			action = aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(before.etag)}
		}
		if action.Entity, err = json.Marshal(row); err != nil {
			return false, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		_, err = a.table.submit(ctx, action)
		if _, conflict := a.table.conflict(err); conflict {
			continue
		}
		if err != nil {
			return false, a.table.explain("write", err)
		}
		return true, nil
	}
	return false, fmt.Errorf("table %q: row %s %s: somebody else changes it all the time", a.table.name, branchPartition, branchKey(c.Path, at).RowKey)
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
