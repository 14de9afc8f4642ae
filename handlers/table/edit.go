package table

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// change are the columns of an alert's row that a change writes.
type change struct {
	Status           string
	Verdict          string
	StatusReason     string
	StatusBy         string
	StatusByObjectId string
	StatusTimeUtc    string `json:",omitzero"` // an Edm.DateTime is never empty
	Changes          int32  // the number of the newest row of history
}

// history is the row of one change of an alert. It has neither AlertType nor Severity
// nor Status, so that a reader who filters on those sees alerts only.
type history struct {
	key
	SystemAlertId string
	TimeUtc       string
	TimeType      string `json:"TimeUtc@odata.type"`
	FromStatus    string
	ToStatus      string
	Verdict       string
	Reason        string
	By            string
	ByObjectId    string
	Via           string
	EventId       string
	Attempt       string // of the process that wrote the row: it knows its own by it
}

// decodeHistory reads a row of history. Its error names the row and the column.
func decodeHistory(entity []byte) (history, alert.History, error) {
	var h history
	if err := decode(entity, &h); err != nil {
		return h, alert.History{}, err
	}
	at, err := h.time("TimeUtc", h.TimeUtc)
	if err != nil {
		return h, alert.History{}, err
	}
	number, err := h.number()
	if err != nil {
		return h, alert.History{}, err
	}
	return h, alert.History{
		Number: number, Time: at, From: alert.Status(h.FromStatus), To: alert.Status(h.ToStatus), Verdict: alert.Verdict(h.Verdict),
		Reason: h.Reason, By: alert.Person{Name: h.By, ObjectID: h.ByObjectId}, Via: h.Via, EventID: h.EventId,
	}, nil
}

// Change implements alert.Editor. A new occurrence of the alert changes its ETag as a
// person does. So a conflict is told by the number of changes, and Change begins again
// if only something else in the row is another than it read.
func (a *Alerts) Change(ctx context.Context, ref alert.Ref, c alert.Change) (alert.Alert, error) {
	if ref.Hub == "" || ref.Day.IsZero() {
		return alert.Alert{}, fmt.Errorf("alert %s: a change needs the whole reference: <hub>/<yyyy-mm-dd>/<id>", ref)
	}
	if err := c.Check(); err != nil {
		return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
	}
	p, own, taken := partitionOf(ref.Hub, ref.Day), rand.Text(), 0
	for attempt := 0; ; attempt++ {
		found, err := a.get(ctx, p, ref.ID)
		if errors.Is(err, alert.ErrNotFound) {
			return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
		}
		if err != nil {
			return alert.Alert{}, err
		}
		if c.Seen == nil {
			c.Seen = &found.Changes
		}
		if *c.Seen != found.Changes {
			row, last, err := a.lastChange(ctx, p, found.ID, found.Changes)
			switch {
			case err != nil:
				return alert.Alert{}, err
			case row.Attempt == own: // the change is made, and the answer was lost
				return found.Alert, nil
			}
			return alert.Alert{}, &alert.Conflict{Ref: ref, Last: last}
		}
		if err := c.Follows(found.Status, found.Verdict); err != nil {
			return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
		}
		same := (c.Status == "" || string(c.Status) == found.row.Status) && (c.Verdict == "" || c.Verdict == found.Verdict)
		if same && (c.Status != "" || c.Verdict != "") {
			return found.Alert, nil
		}
		changed, actions, err := a.changing(ctx, p, found, c, own, taken)
		if err != nil {
			return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
		}
		if _, err = a.table.submit(ctx, actions...); err == nil {
			return changed, nil
		}
		switch index, conflict := a.table.conflict(err); {
		case !conflict:
			return alert.Alert{}, a.table.explain("change", err)
		case index == historyPlace:
			taken++
		}
		if err := pause(ctx, attempt); err != nil {
			return alert.Alert{}, fmt.Errorf("table %q: alert %s is being written by others: %w", a.table.name, ref, err)
		}
	}
}

// historyPlace is the place of the row of history in the transaction of a change.
const historyPlace = 1

// changing returns an alert as it is after a change, and the transaction that makes
// the change: the alert's row, on condition that it is as it was read, a row of
// history, and the summary of the day if it counts another status now. taken is how
// many numbers of changes an alert with this id had before somebody deleted it.
func (a *Alerts) changing(ctx context.Context, p partition, found *stored, c alert.Change, attempt string, taken int) (alert.Alert, []aztables.TransactionAction, error) {
	row, now, reason := found.row, a.now(), column(secret.RedactString(c.Reason))
	row.Changes += int32(1 + taken) // #nosec G115 -- few
	if c.Status != "" || c.Verdict != "" {
		row.StatusReason, row.StatusBy, row.StatusByObjectId, row.StatusTimeUtc = reason, column(c.By.Name), column(c.By.ObjectID), edmTime(now)
		row.Status, row.Verdict = cmp.Or(string(c.Status), row.Status), cmp.Or(string(c.Verdict), row.Verdict)
	}
	changed, err := row.alert()
	if err != nil {
		return alert.Alert{}, nil, err
	}
	head, err := json.Marshal(struct {
		key
		change
		TimeType string `json:"StatusTimeUtc@odata.type,omitzero"`
	}{row.key, row.change, typeOf(row.StatusTimeUtc)})
	if err != nil {
		return alert.Alert{}, nil, err
	}
	entry, err := json.Marshal(history{
		key: key{p.String(), historyKey(found.ID, changed.Changes)}, SystemAlertId: found.ID, TimeUtc: edmTime(now), TimeType: edmDateTime,
		FromStatus: string(found.Status), ToStatus: string(changed.Status), Verdict: string(c.Verdict), Reason: reason,
		By: column(c.By.Name), ByObjectId: column(c.By.ObjectID), Via: c.Via, Attempt: attempt,
	})
	if err != nil {
		return alert.Alert{}, nil, err
	}
	actions := []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeUpdateMerge, Entity: head, IfMatch: &found.etag},
		{ActionType: aztables.TransactionTypeAdd, Entity: entry},
	}
	if found.Status == changed.Status {
		return changed, actions, nil
	}
	s, err := a.summary(ctx, p.String())
	if err != nil {
		return alert.Alert{}, nil, err
	}
	s.Incomplete = !s.exact()
	s.move(&found.row, &row)
	count, err := s.action()
	return changed, append(actions, count), err
}

// typeOf returns the type of a column that holds a time, or "" if there is none.
func typeOf(at string) string {
	if at == "" {
		return ""
	}
	return edmDateTime
}

// lastChange returns the row of history with a number. It is zero if there is none.
func (a *Alerts) lastChange(ctx context.Context, p partition, id string, number int) (history, alert.History, error) {
	response, err := a.table.client.GetEntity(ctx, p.String(), historyKey(id, number), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound):
		return history{}, alert.History{}, nil
	case err != nil:
		return history{}, alert.History{}, a.table.unread(err)
	}
	row, entry, err := decodeHistory(response.Value)
	if err != nil {
		err = fmt.Errorf("table %q: %w", a.table.name, err)
	}
	return row, entry, err
}

// History implements alert.Reader.
func (a *Alerts) History(ctx context.Context, ref alert.Ref) ([]alert.History, error) {
	if ref.Hub == "" || ref.Day.IsZero() {
		return nil, fmt.Errorf("alert %s: the history needs the whole reference: <hub>/<yyyy-mm-dd>/<id>", ref)
	}
	var all []alert.History
	p := partitionOf(ref.Hub, ref.Day)
	for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr(rowsOf(p, historyOf(escape(strings.ToLower(ref.ID)))))}) {
		if err != nil {
			return nil, err
		}
		_, entry, err := decodeHistory(entity)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		all = append(all, entry)
	}
	return all, nil
}
