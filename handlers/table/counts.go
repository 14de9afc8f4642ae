package table

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// Counts counts events in windows, and raises an alert of what is outside a rule. Its
// methods may be called at the same time, also by several processes. Its tables have dates
// in their names, so that old rows are dropped with their table:
//
//	counts20260201   <hash of the rule>|<hash of the key>   01c1f3e0   a row of two slots, see window.Row
//
// 01c1f3e0 is the number of the slot. The table has the date of the last event that the row
// can hold, so the table may go when such an event is too old to be counted.
type Counts struct {
	account  *Account
	prefix   string
	alerts   *Alerts
	suppress func(context.Context, []alert.Occurrence)
	teller   alert.Teller // nil for nobody
	now      func() time.Time

	mu      sync.Mutex
	waiting map[string]*counting // by PartitionKey; there while the key is being counted

	raised *memory // proofs that are known to be in the table of alerts
}

// Counts returns what counts in tables whose names begin with prefix, which may be empty,
// and raises alerts in another table. It calls suppress with what it raises; nil suppresses
// nothing. It tells teller what it has raised; nil tells nobody. It does not connect.
func (a *Account) Counts(prefix string, alerts *Alerts, suppress func(context.Context, []alert.Occurrence), teller alert.Teller) *Counts {
	if suppress == nil {
		suppress = func(context.Context, []alert.Occurrence) {}
	}
	return &Counts{account: a, prefix: prefix, alerts: alerts, suppress: suppress, teller: teller, now: time.Now, waiting: map[string]*counting{}, raised: &memory{}}
}

const (
	countsTable  = "counts"
	neverCounted = "nothing was ever counted here"

	// mostSpread is how many slots lie at most between the first and the last event that are
	// counted together: the rows between them are read as well, and each has up to 48 KB.
	mostSpread = 3
	// mostCountPause is the longest wait, without its random part, after somebody else wrote
	// the rows of a key. In a simulation of 1,000 events of a key a second in 16 instances,
	// one of a hundred waited for 1.4 seconds, and for 5.5 with the 320 ms of alerts.
	mostCountPause = 40 * time.Millisecond
)

// counting is the events of one key that wait while others of the same key are being
// counted.
type counting struct{ events []counted }

// counted is an event on its way into the rows of its key.
type counted struct {
	rule  window.Rule
	of    alert.Occurrence // of the event
	event window.Event
	low   bool // for what is fewer than Min, and not for what is more than Max
	tell  func(error)
}

// Count counts the events of occurrences for a rule, each by its hub and its entity, and
// raises an alert of what the rule does not allow. An event that is counted already changes
// nothing. An error that wraps window.ErrNever says that some of the events can never be
// counted, and that all others are. After any other error the caller counts all of
// them again.
func (c *Counts) Count(ctx context.Context, rule window.Rule, occurrences []alert.Occurrence) error {
	done := make(chan error, 2*len(occurrences)) // has room for all, so that no writer waits for a caller who has gone
	var never []error
	n := 0
	for _, o := range occurrences {
		if o.Tally.Item != "" && o.Tally.N == 0 { // It did not happen.
			continue
		}
		if err := window.Timely(o.Event.Time, c.now()); err != nil {
			never = append(never, err)
			continue
		}
		e := counted{rule, o, window.Event{Time: o.Event.Time.UnixNano(), Hash: digest(identity(o)...)}, false, func(err error) { done <- err }}
		if rule.Max != nil {
			c.enqueue(countKey(rule.OverHash(), o), e)
			n++
		}
		if rule.Min > 0 {
			e.low = true
			c.enqueue(countKey(rule.LowHash(), o), e)
			n++
		}
	}
	var errs []error
	for range n {
		select {
		case err := <-done:
			if errors.Is(err, window.ErrNever) {
				never = append(never, err)
			} else if err != nil {
				errs = append(errs, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("count of %s: %w", rule.Name, context.Cause(ctx))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if len(never) > 1 { // one line, however many there are
		return fmt.Errorf("%d of %d events: %w", len(never), len(occurrences), never[0])
	}
	return errors.Join(never...)
}

// countKey returns the partition of what a rule counts. The id of an alert on a fixed
// day and without an actor is the same for all events of a key.
func countKey(rule window.Hash, o alert.Occurrence) string {
	return hex.EncodeToString(rule[:]) + separator + hash(alert.ID(o.Type, o.Hub, o.Entity, "", time.Time{}))
}

// enqueue hands an event to the writer of its key, and starts one if there is none. All
// that waits is written together. So a key with a thousand events a second takes two
// requests for some fifty of them, and does not compete with itself.
func (c *Counts) enqueue(partition string, e counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, writing := c.waiting[partition]
	if !writing {
		q = &counting{}
		c.waiting[partition] = q
		go c.write(partition, q)
	}
	q.events = append(q.events, e)
}

// write counts the events of one key, batch by batch, until none wait.
func (c *Counts) write(partition string, q *counting) {
	for {
		c.mu.Lock()
		batch := q.take()
		if len(batch) == 0 {
			delete(c.waiting, partition)
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		count := c.settle
		if batch[0].low {
			count = c.watch
		}
		err := count(partition, batch)
		for _, e := range batch {
			e.tell(err)
		}
	}
}

// take removes the next batch from the queue: those of its events that are near the first.
func (q *counting) take() (batch []counted) {
	var rest []counted
	if len(q.events) > 0 && q.events[0].low { // the cells between two events are not read
		batch, q.events = q.events, nil
		return batch
	}
	for _, e := range q.events {
		at, _ := e.rule.Rows(e.event)
		if len(batch) > 0 {
			first, _ := e.rule.Rows(batch[0].event)
			if max(at-first, first-at) > mostSpread/2 {
				rest = append(rest, e)
				continue
			}
		}
		batch = append(batch, e)
	}
	q.events = rest
	return batch
}

// countRow is a row of counts.
type countRow struct {
	key
	A, B       []byte
	Raised     []byte      // the hash of a proof that the alert has, see R2
	AType      string      `json:"A@odata.type"`
	BType      string      `json:"B@odata.type"`
	RaisedType string      `json:"Raised@odata.type"`
	ETag       azcore.ETag `json:"odata.etag,omitzero"` // of the row that was read

	row window.Row
}

// slotKey returns the row key of a slot.
func slotKey(s window.Slot) string { return fmt.Sprintf("%08x", int64(s)) }

// settle counts a batch, and raises what is over. What it raises it has read from rows that
// have the events of the batch.
func (c *Counts) settle(partition string, batch []counted) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	rule := batch[0].rule
	events := make([]window.Event, len(batch))
	tables := map[string]map[window.Slot]bool{}
	for i, e := range batch {
		events[i] = e.event
		before, own := rule.Rows(e.event)
		for _, s := range []window.Slot{before, own} {
			day := rule.End(s).Format(dayFormat)
			if tables[day] == nil {
				tables[day] = map[window.Slot]bool{}
			}
			tables[day][s] = true
		}
	}
	for _, day := range slices.Sorted(maps.Keys(tables)) {
		t := c.account.table(c.prefix+countsTable+day, neverCounted)
		rows, err := c.add(ctx, t, partition, rule, slices.Sorted(maps.Keys(tables[day])), events)
		if err != nil {
			return fmt.Errorf("count of %s: %w", rule.Name, err)
		}
		for _, r := range rows {
			if err := c.raise(ctx, rule, batch[0].of, r); err != nil {
				return fmt.Errorf("count of %s: %w", rule.Name, err)
			}
		}
	}
	return nil
}

// add adds events to the rows of some slots, which are in one table, and returns these
// rows. All rows that change are written in one transaction, each on condition that it is
// as it was read.
func (c *Counts) add(ctx context.Context, t table, partition string, rule window.Rule, slots []window.Slot, events []window.Event) ([]countRow, error) {
	for attempt := 0; ; attempt++ {
		read, err := c.read(ctx, t, partition, rule, slots)
		if err != nil {
			return nil, err
		}
		rows := make([]countRow, len(slots))
		var actions []aztables.TransactionAction
		for i, s := range slots {
			r, ok := read[s]
			if !ok {
				r = countRow{key: key{partition, slotKey(s)}, row: window.Row{Slot: s}}
			}
			var changed bool
			if r.row, changed = rule.Add(r.row, events...); changed {
				action, err := c.action(rule, &r)
				if err != nil {
					return nil, err
				}
				actions = append(actions, action)
			}
			rows[i] = r
		}
		if len(actions) == 0 {
			return rows, nil
		}
		if _, err = t.submit(ctx, actions...); err == nil {
			return rows, nil
		}
		if _, conflict := t.conflict(err); !conflict && !t.missing(ctx, err) {
			return nil, t.explain("write", err)
		}
		if err := pauseAtMost(ctx, attempt, mostCountPause); err != nil {
			return nil, fmt.Errorf("table %q: %s is being written by others: %w", t.name, partition, err)
		}
	}
}

// read reads the rows from the first to the last of some slots.
func (c *Counts) read(ctx context.Context, t table, partition string, rule window.Rule, slots []window.Slot) (map[window.Slot]countRow, error) {
	rows := map[window.Slot]countRow{}
	for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey le %s", quoted(partition), quoted(slotKey(slots[0])), quoted(slotKey(slots[len(slots)-1])))),
		Format: to.Ptr(aztables.MetadataFormatFull),
	}) {
		if errors.Is(err, alert.ErrAbsent) {
			break
		}
		if err != nil {
			return nil, err
		}
		var r countRow
		if err := decode(entity, &r); err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, err)
		}
		var s window.Slot
		if _, err := fmt.Sscanf(r.RowKey, "%x", &s); err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, r.wrong("RowKey", err))
		}
		if r.row, err = rule.Unpack(s, r.A, r.B); err != nil {
			return nil, fmt.Errorf("table %q: row %s %s: %w", t.name, r.PartitionKey, r.RowKey, err)
		}
		rows[s] = r
	}
	return rows, nil
}

// action returns what writes a row that has changed. The row says which proof is raised
// only if this process knows that from the table of alerts (R2).
func (c *Counts) action(rule window.Rule, r *countRow) (aztables.TransactionAction, error) {
	if p := rule.Proof(r.row); p != nil && c.raised.has(r.proofKey(p)) {
		h := p.Hash()
		r.Raised = h[:]
	}
	w := *r
	w.A, w.B = rule.Pack(r.row)
	w.AType, w.BType, w.RaisedType, w.ETag = edmBinary, edmBinary, edmBinary, ""
	entity, err := json.Marshal(w)
	if err != nil {
		return aztables.TransactionAction{}, fmt.Errorf("row of counts: %w", err)
	}
	if r.ETag == "" {
		return aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}, nil
	}
	return aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateReplace, Entity: entity, IfMatch: to.Ptr(r.ETag)}, nil
}

// proofKey names a proof of a row in the memory of a process.
func (r countRow) proofKey(p window.Proof) string {
	h := p.Hash()
	return r.PartitionKey + r.RowKey + string(h[:])
}

// raise raises what a row proves, unless it is known that the alert has the proof. of is
// any occurrence of the key.
func (c *Counts) raise(ctx context.Context, rule window.Rule, of alert.Occurrence, r countRow) error {
	p := rule.Proof(r.row)
	if p == nil {
		return nil
	}
	if h := p.Hash(); string(h[:]) == string(r.Raised) || c.raised.has(r.proofKey(p)) {
		return nil
	}
	slot := r.row.Slot + 1
	raised := []alert.Occurrence{breach(rule, of, slot, p)}
	c.suppress(ctx, raised)
	raising, err := c.alerts.prove(ctx, raised[0], rule, slot, p)
	if err != nil {
		return err
	}
	if err := c.tell(ctx, raising); err != nil {
		return err
	}
	c.raised.add(r.proofKey(p)) // after somebody was told: "done" is said after it is done
	return nil
}

// tell tells of a raising, which may be nil.
func (c *Counts) tell(ctx context.Context, raising *alert.Raising) error {
	if c.teller == nil || raising == nil {
		return nil
	}
	return c.teller.Tell(ctx, raising)
}

// breach returns the occurrence of an alert that says what a proof proves. It is about the
// key and not about one event. Its text has that of the event at hand, which is one of the key.
func breach(rule window.Rule, of alert.Occurrence, slot window.Slot, p window.Proof) alert.Occurrence {
	last := p.Last()
	o := of
	o.Actor, o.ActorIPAddress, o.CorrelationID, o.Devices, o.Tally, o.SuppressedBy = "", "", "", nil, alert.Tally{}, ""
	o.Message = strings.TrimSpace(fmt.Sprintf("More than %d within %s: %s", *rule.Max, rule.Span(), of.Message))
	o.Properties = map[string]string{"CountMax": fmt.Sprint(*rule.Max), "CountWindow": rule.Span()}
	o.Event = alert.Event{Source: of.Event.Source, ID: hex.EncodeToString(last.Hash[:]), Time: onDay(rule.Begin(slot), last.At())}
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Event.Time)
	return o
}

// Expire drops the tables whose events are too old to be counted, and returns how many it
// dropped. It also ends the watching of keys that had no event for a week.
func (c *Counts) Expire(ctx context.Context, now time.Time) (dropped int, err error) {
	if err := c.forget(ctx, now); err != nil {
		return 0, err
	}
	return c.account.dropDays(ctx, c.prefix+countsTable, neverCounted, func(day time.Time) (bool, error) {
		return window.Droppable(day, now), nil
	})
}
