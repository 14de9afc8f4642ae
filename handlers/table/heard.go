package table

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// When a hub was last heard of is a row in a partition of its own, one for each source:
//
//	!heard   contoso-hub|connections
const heardPartition = "!heard"

// heard is a row of this partition.
type heard struct {
	key
	Hub          string // as keys have it
	Source       string
	LastEventUtc string
	EventType    string `json:"LastEventUtc@odata.type"`
	LastSeenUtc  string
	SeenType     string `json:"LastSeenUtc@odata.type"`
}

const (
	// hearEvery is how often a process remembers that it heard of a hub.
	hearEvery = time.Minute
	// hearing bounds how long an event waits until that is remembered.
	hearing = 2 * time.Second
)

// ears is when a process last remembered each hub and source.
type ears struct {
	mu   sync.Mutex
	last map[ear]time.Time
}

// ear is a hub and a source. The hub is as keys have it, or as an event spells it.
type ear struct {
	hub    string
	source alert.Source
}

// due reports whether a hub and source has to be remembered now. If so, it is not due
// again for a while, whatever becomes of it.
func (e *ears) due(hub string, source alert.Source, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if last, ok := e.last[ear{hub, source}]; ok && now.Sub(last) < hearEvery {
		return false // To know a spelling spares the memory of a key.
	}
	if e.last == nil || len(e.last) >= mostRemembered {
		e.last = map[ear]time.Time{}
	}
	hub = strings.Clone(hub)
	at := ear{hubKey(hub), source}
	last, ok := e.last[at]
	if ok && now.Sub(last) < hearEvery {
		now = last
	} else {
		ok, e.last[at] = false, now
	}
	e.last[ear{hub, source}] = now
	return !ok
}

// Hear implements alert.Listener. It remembers a hub and source once a minute.
func (a *Alerts) Hear(ctx context.Context, hub string, source alert.Source, at time.Time) error {
	now := a.now()
	if !a.ears.due(hub, source, now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	row := heard{
		key: key{heardPartition, hubKey(hub) + separator + string(source)}, Hub: hubKey(hub), Source: string(source),
		LastEventUtc: edmTime(at), EventType: edmDateTime, LastSeenUtc: edmTime(now), SeenType: edmDateTime,
	}
	if at.After(now) { // a clock that is wrong must not hide that the next ones are missing
		row.LastEventUtc = row.LastSeenUtc
	}
	response, err := a.table.client.GetEntity(ctx, row.PartitionKey, row.RowKey, nil)
	action := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(response.ETag)}
	switch {
	case hasCode(err, aztables.ResourceNotFound), a.table.missing(ctx, err):
		action = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	case err != nil:
		return a.table.explain("read", err)
	default:
		// A row that a person broke is written anew.
		var was heard
		if decode(response.Value, &was) == nil {
			event, err := was.time("LastEventUtc", was.LastEventUtc)
			if err == nil && event.After(at) && !event.After(now) {
				row.LastEventUtc = edmTime(event)
			}
		}
	}
	if action.Entity, err = json.Marshal(row); err != nil {
		return fmt.Errorf("table %q: %w", a.table.name, err)
	}
	_, err = a.table.submit(ctx, action)
	if _, conflict := a.table.conflict(err); err == nil || conflict { // another process has just heard of the hub, too
		return nil
	}
	return a.table.explain("write", err)
}

// LastHeard returns when each hub was last heard of, by hub and source.
func (a *Alerts) LastHeard(ctx context.Context) ([]alert.Heard, error) {
	var all []alert.Heard
	for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr("PartitionKey eq " + quoted(heardPartition))}) {
		if err != nil {
			return nil, err
		}
		h, err := decodeHeard(entity)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b alert.Heard) int {
		return strings.Compare(a.Hub+separator+string(a.Source), b.Hub+separator+string(b.Source))
	})
	return all, nil
}

// decodeHeard reads a row. Its error names the row and the column.
func decodeHeard(entity []byte) (h alert.Heard, err error) {
	var row heard
	if err := decode(entity, &row); err != nil {
		return h, err
	}
	h.Hub, h.Source = row.Hub, alert.Source(row.Source)
	if h.Event, err = row.time("LastEventUtc", row.LastEventUtc); err != nil {
		return alert.Heard{}, err
	}
	if h.Seen, err = row.time("LastSeenUtc", row.LastSeenUtc); err != nil {
		return alert.Heard{}, err
	}
	return h, nil
}
