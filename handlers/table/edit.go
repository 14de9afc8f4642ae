package table

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// Change implements alert.Editor. It writes only the status, on condition that the
// row is as it was read. If somebody else wrote the row, Change begins again.
func (a *Alerts) Change(ctx context.Context, ref alert.Ref, c alert.Change) (alert.Alert, error) {
	if ref.Hub == "" || ref.Day.IsZero() {
		return alert.Alert{}, fmt.Errorf("alert %s: a change needs the whole reference: <hub>/<yyyy-mm-dd>/<id>", ref)
	}
	status, err := alert.ParseStatus(string(c.Status))
	if err != nil {
		return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
	}
	p := partitionOf(ref.Hub, ref.Day)
	for attempt := 0; ; attempt++ {
		found, err := a.get(ctx, p, ref.ID)
		if errors.Is(err, alert.ErrNotFound) {
			return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
		}
		if err != nil {
			return alert.Alert{}, err
		}
		as := func(s alert.Status) bool { return strings.EqualFold(string(s), found.status) }
		switch {
		case attempt > 0 && as(status):
			// The last attempt may have written the status, and its answer was lost.
			return found.Alert, nil
		case c.From != "" && !as(c.From):
			return alert.Alert{}, &alert.Conflict{Ref: ref, Want: c.From, Has: found.Status}
		case found.status == string(status):
			return found.Alert, nil
		}
		entity, err := json.Marshal(struct {
			key
			Status alert.Status
		}{key{p.String(), alertKey(found.ID)}, status})
		if err != nil {
			return alert.Alert{}, fmt.Errorf("alert %s: %w", ref, err)
		}
		_, err = a.table.client.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: &found.etag, UpdateMode: aztables.UpdateModeMerge})
		switch {
		case err == nil:
			found.Status = status
			return found.Alert, nil
		case !hasCode(err, aztables.UpdateConditionNotSatisfied) && !hasCode(err, aztables.ResourceNotFound):
			return alert.Alert{}, a.table.explain("change", err)
		}
		if err := pause(ctx, attempt); err != nil {
			return alert.Alert{}, fmt.Errorf("table %q: alert %s is being written by others: %w", a.table.name, ref, err)
		}
	}
}
