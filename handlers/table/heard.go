package table

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
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

// Which hubs hubwatch should hear of is a row there, too, with their names in Hubs. To a version that
// does not know it, it is a resource that was heard of in 1970, which that version lists nowhere:
//
//	!heard   !expected
const expectedKey = "!expected"

// expected is this row.
type expected struct {
	heard
	Hubs string // as keys have them, with commas between them
}

// Expect implements coverage.Store. A process writes the row once.
func (a *Alerts) Expect(ctx context.Context, hubs []string) error {
	var names []string
	for _, hub := range hubs {
		names = append(names, hubKey(hub))
	}
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), ",")
	if known := a.expected.Load(); known != nil && *known == text {
		return nil
	}
	never := edmTime(time.Unix(0, 0))
	entity, err := json.Marshal(expected{heard{
		key: key{heardPartition, expectedKey}, Source: string(alert.Resources),
		LastEventUtc: never, EventType: edmDateTime, LastSeenUtc: never, SeenType: edmDateTime,
	}, text})
	if err != nil {
		return fmt.Errorf("table %q: %w", a.table.name, err)
	}
	_, err = a.table.submit(ctx, aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: to.Ptr(azcore.ETagAny), Entity: entity})
	if hasCode(err, aztables.ResourceNotFound) || err != nil && a.table.missing(ctx, err) {
		_, err = a.table.submit(ctx, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity})
	}
	if err != nil {
		return a.table.explain("write", err)
	}
	a.expected.Store(&text)
	return nil
}

// ears is what a process knows of each hub and source.
type ears struct {
	mu    sync.Mutex
	known map[ear]*sound // by each spelling of the hub
}

// sound is what a process knows of a hub and source.
type sound struct {
	written time.Time // when it was last remembered
	event   time.Time // of the newest event that is not remembered yet; zero for none
	seen    time.Time // when the last of these came
}

// ear is a hub and a source. The hub is as keys have it, or as an event spells it.
type ear struct {
	hub    string
	source alert.Source
}

// What is to be done about what was heard.
type heed int

const (
	ignore   heed = iota
	remember      // at once
	later         // when the minute is over
)

// heard returns what is to be done about an event of a hub and source that happened at a time,
// and the newest event that is to be remembered. What is to be remembered now is not again for
// a while, whatever becomes of it.
func (e *ears) heard(hub string, source alert.Source, at, now time.Time) (heed, time.Time, *sound) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.known[ear{hub, source}] // To know a spelling spares the memory of a key.
	if s == nil {
		if e.known == nil || len(e.known) >= mostRemembered {
			e.known = map[ear]*sound{}
		}
		hub = strings.Clone(hub)
		if s = e.known[ear{hubKey(hub), source}]; s == nil {
			s = &sound{}
			e.known[ear{hubKey(hub), source}] = s
		}
		e.known[ear{hub, source}] = s
	}
	held := !s.event.IsZero()
	if s.seen = now; at.After(s.event) {
		s.event = at
	}
	newest := s.event
	switch {
	case now.Sub(s.written) >= hearEvery:
		s.written, s.event = now, time.Time{}
		return remember, newest, s
	case held:
		return ignore, newest, s
	}
	return later, newest, s
}

// take returns what is not remembered yet, and zero times if that is nothing. It counts as
// remembered now.
func (e *ears) take(s *sound, now time.Time) (event, seen time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !s.event.IsZero() {
		event, seen = s.event, s.seen
		s.written, s.event = now, time.Time{}
	}
	return event, seen
}

// Hear implements alert.Listener. It remembers a hub and source once a minute. If Later is set,
// what came meanwhile is remembered when the minute is over, even if nothing follows.
func (a *Alerts) Hear(ctx context.Context, hub string, source alert.Source, at time.Time) error {
	now := a.now()
	heed, newest, s := a.ears.heard(hub, source, at, now)
	switch {
	case heed == later && a.Later != nil:
		hub := strings.Clone(hub)
		a.Later(hearEvery, func() {
			if at, seen := a.ears.take(s, a.now()); !at.IsZero() {
				_ = a.hear(context.WithoutCancel(ctx), hub, source, at, seen) // The next event makes up for it.
			}
		})
	case heed == remember:
		return a.hear(ctx, hub, source, newest, now)
	}
	return nil
}

// hear remembers an event of a hub and source that came now.
func (a *Alerts) hear(ctx context.Context, hub string, source alert.Source, at, now time.Time) error {
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

// LastHeard returns when each hub was last heard of, by hub and source. Of a hub that should be heard
// of, and whose Connections log never was, it returns zero times.
func (a *Alerts) LastHeard(ctx context.Context) ([]alert.Heard, error) {
	var all []alert.Heard
	var hubs []string // that should be heard of
	for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr("PartitionKey eq " + quoted(heardPartition))}) {
		if err != nil {
			return nil, err
		}
		var row expected
		if err := decode(entity, &row); err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		if row.RowKey == expectedKey {
			hubs = strings.FieldsFunc(row.Hubs, func(r rune) bool { return r == ',' })
			continue
		}
		h, err := row.decoded()
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, err)
		}
		all = append(all, h)
	}
	for _, hub := range hubs {
		if !slices.ContainsFunc(all, func(h alert.Heard) bool { return h.Hub == hub && h.Source == alert.Connections }) {
			all = append(all, alert.Heard{Hub: hub, Source: alert.Connections})
		}
	}
	slices.SortFunc(all, func(a, b alert.Heard) int {
		return strings.Compare(a.Hub+separator+string(a.Source), b.Hub+separator+string(b.Source))
	})
	return all, nil
}

// decoded returns what the row says. Its error names the row and the column.
func (row heard) decoded() (h alert.Heard, err error) {
	h.Hub, h.Source = row.Hub, alert.Source(row.Source)
	if h.Event, err = row.time("LastEventUtc", row.LastEventUtc); err != nil {
		return alert.Heard{}, err
	}
	if h.Seen, err = row.time("LastSeenUtc", row.LastSeenUtc); err != nil {
		return alert.Heard{}, err
	}
	return h, nil
}
