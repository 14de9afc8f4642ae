package table

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
)

// commit is a batch on its way into one partition.
type commit struct {
	*Alerts
	partition string
	alerts    map[string]*pending       // that are not written yet, by SystemAlertId
	summary   *summary                  // as it stands in the table; nil if it has to be read
	keptSum   bool                      // summary is kept, and may be old
	did       map[string]alert.Recorded // by row key of the evidence
	careful   bool                      // another process writes these alerts, too: read all of them
}

// pending is an alert with the occurrences of a batch that are not written yet.
type pending struct {
	id          string
	occurrences map[string]occurrence // by row key of the evidence: a batch may hold an event twice, or two versions of a tally
	read        bool                  // row and etag are those of the table
	kept        bool                  // row and etag are kept, and may be old
	row         Row
	etag        azcore.ETag // "" if there is no row
	taken       int         // numbers of changes that an alert with this id had before somebody deleted it
}

func newCommit(a *Alerts, batch []occurrence) *commit {
	c := &commit{Alerts: a, partition: batch[0].row.PartitionKey, alerts: map[string]*pending{}, did: map[string]alert.Recorded{}}
	for _, o := range batch {
		p := c.alerts[o.id]
		if p == nil {
			p = &pending{id: o.id, occurrences: map[string]occurrence{}}
			c.alerts[o.id] = p
		}
		if first, twice := p.occurrences[o.key]; !twice || o.tally != nil && o.tally.Seq > first.tally.Seq {
			p.occurrences[o.key] = o
		}
	}
	a.kept.fill(c)
	return c
}

// keys returns the row keys of the evidence, in order.
func (p *pending) keys() []string { return slices.Sorted(maps.Keys(p.occurrences)) }

// sum returns the row of the occurrences of p alone. Nobody has changed it: occurrences
// that come together do not reopen one another.
func (p *pending) sum() Row {
	keys := p.keys()
	first := p.occurrences[keys[0]].row
	sum := first
	for _, k := range keys[1:] {
		sum = sum.add(p.occurrences[k].row)
	}
	sum.change = first.change
	return sum
}

// outcomes returns what became of each occurrence of a batch. An occurrence that is not
// decided has no outcome, unless the batch is done: then its event was recorded before. Of
// two occurrences with the same event, the second was known.
func (c *commit) outcomes(batch []occurrence, done bool) []alert.Recorded {
	recorded := make([]alert.Recorded, len(batch))
	for i, o := range batch {
		if did, ok := c.did[o.key]; ok {
			recorded[i] = did
			c.did[o.key] = alert.Recorded{Outcome: alert.Known}
		} else if done {
			recorded[i].Outcome = alert.Known
		}
	}
	return recorded
}

// read reads the rows that the next transaction changes, as far as they are not known.
// An alert that this process has not seen is taken to be new. A wrong guess costs one
// request, once for each process.
func (c *commit) read(ctx context.Context) error {
	var unread []*pending
	for _, p := range c.alerts {
		if !p.read && (c.careful || c.seen.has(p.id)) {
			unread = append(unread, p)
		}
	}
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range unread {
		group.Go(func() (err error) {
			p.row, p.etag, err = c.Alerts.read(groupContext, c.partition, p.id)
			p.read = err == nil
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if c.summary != nil {
		return nil
	}
	for _, p := range c.alerts {
		if p.etag == "" || p.row.reopens(p.sum()) {
			return c.readSummary(ctx)
		}
	}
	return nil
}

// readSummary reads the summary of the partition. Before the first alert of a partition
// it writes the day into the index.
func (c *commit) readSummary(ctx context.Context) error {
	empty, err := c.index(ctx, c.partition)
	if err != nil {
		return err
	}
	s, err := c.Alerts.summary(ctx, c.partition)
	if err != nil {
		return err
	}
	if s.etag == "" && !empty {
		// Alerts that are older than summaries have none. A summary that leaves them
		// out says that it is not complete.
		p, _ := parsePartition(c.partition)
		for _, err := range c.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr(rowsOf(p, alertRange)), Select: to.Ptr("RowKey"), Top: to.Ptr(int32(1))}) {
			if hasCode(err, aztables.TableNotFound) {
				break
			}
			if err != nil {
				return err
			}
			s.Incomplete = true
			break
		}
	}
	c.summary, c.keptSum = &s, false
	return nil
}

// transaction is a transaction, and what each of its actions is about.
type transaction struct {
	actions []aztables.TransactionAction
	about   []place
	writes  []write  // of the first actions
	summary *summary // as it will stand in the table; nil if it does not change
	raises  *Row     // of the alert of a single occurrence, if people are to be told of it; nil otherwise
}

// place is what one action of a transaction writes: a row of an alert in one of the
// ranges of row keys, or the summary.
type place struct {
	alert *pending
	of    string
}

func (t *transaction) add(p place, a aztables.TransactionAction) {
	t.actions, t.about = append(t.actions, a), append(t.about, p)
}

// write is what a transaction does to one alert.
type write struct {
	alert         *pending
	before, after *Row // before is nil for a new alert
	head          aztables.TransactionAction
	reopened      bool
	history       []byte // the entity of the history, if the alert is reopened
	size          int    // bytes of all entities
}

// entities returns how many rows w writes.
func (w write) entities() int {
	n := 1 + len(w.alert.occurrences)
	if w.reopened {
		n++
	}
	return n
}

// counts reports whether w changes the summary.
func (w write) counts() bool { return w.before == nil || w.reopened }

// raises reports whether people are to be told of w.
func (w write) raises() bool { return w.counts() && w.after.SuppressedBy == "" }

// write returns what records the occurrences of an alert.
func (c *commit) write(p *pending) (write, error) {
	after := p.sum()
	w := write{alert: p, after: &after, head: aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}}
	var err error
	if p.etag != "" {
		before := p.row
		w.before, w.reopened = &before, before.reopens(after)
		w.head = aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: &p.etag}
		after = before.add(after)
	}
	if w.reopened {
		after.Changes += int32(p.taken) // #nosec G115 -- few
		after.StatusTimeUtc = edmTime(c.now())
		w.history, err = json.Marshal(history{
			key: key{c.partition, historyKey(p.id, int(after.Changes))}, SystemAlertId: p.id, TimeUtc: after.StatusTimeUtc, TimeType: edmDateTime,
			FromStatus: string(w.before.status()), ToStatus: string(after.status()), Reason: after.StatusReason, By: after.StatusBy,
			Via: viaHandler, EventId: p.loudest().event,
		})
	}
	if err == nil {
		w.head.Entity, err = after.entity()
	}
	if err != nil {
		return write{}, fmt.Errorf("alert %s: %w: %w", p.id, errRejected, err)
	}
	w.size = len(w.head.Entity) + len(w.history)
	for _, o := range p.occurrences {
		w.size += len(o.evidence)
	}
	return w, nil
}

// next returns the next transaction: the rows of as many alerts as fit, the summary if
// it changes, the evidence and the history.
func (c *commit) next() (transaction, error) {
	var t, rest transaction
	entities, size := 1, 0 // the summary
	for _, id := range slices.Sorted(maps.Keys(c.alerts)) {
		p := c.alerts[id]
		w, err := c.write(p)
		if err != nil {
			return transaction{}, err
		}
		if len(t.writes) > 0 && (entities+w.entities() > maxEntities || size+w.size > maxTransactionBytes) {
			continue
		}
		entities, size = entities+w.entities(), size+w.size
		t.writes = append(t.writes, w)
		t.add(place{p, alertRange}, w.head)
		loudest := p.loudest().key
		for _, k := range p.keys() {
			row := p.occurrences[k].evidence
			if k == loudest && w.raises() {
				row = marked(row, w.after.Changes)
			}
			rest.add(place{p, evidenceRange}, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: row})
		}
		if w.reopened {
			rest.add(place{p, historyRange}, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: w.history})
		}
		if w.counts() {
			if t.summary == nil {
				t.summary = c.summary.clone()
			}
			t.summary.move(w.before, w.after)
		}
	}
	if t.summary != nil {
		action, err := t.summary.action()
		if err != nil {
			return transaction{}, fmt.Errorf("summary of %s: %w", c.partition, err)
		}
		t.add(place{nil, summaryKey}, action)
	}
	t.actions, t.about = append(t.actions, rest.actions...), append(t.about, rest.about...)
	return t, nil
}

// loudest returns the first occurrence that is not suppressed, or the first of all if
// all are.
func (p *pending) loudest() occurrence {
	keys := p.keys()
	for _, k := range keys {
		if p.occurrences[k].row.SuppressedBy == "" {
			return p.occurrences[k]
		}
	}
	return p.occurrences[keys[0]]
}

// wrote notes that a transaction was written, with the ETags of its rows if they are known.
func (c *commit) wrote(t transaction, etags []azcore.ETag) {
	for _, w := range t.writes {
		for key, o := range w.alert.occurrences {
			c.did[key] = alert.Recorded{Outcome: alert.Counted}
			if o.tally != nil {
				c.seen.add(key)
			}
		}
		if w.counts() {
			c.did[w.alert.loudest().key] = w.raised()
		}
		delete(c.alerts, w.alert.id)
		c.seen.add(w.alert.id)
	}
	if etags != nil {
		c.kept.put(c.partition, t, etags)
	}
	switch {
	case t.summary == nil:
	case etags != nil:
		c.summary = t.summary // now with its ETag
	default:
		c.summary = nil
	}
}

// raised returns what became of the occurrence that raised or reopened the alert.
func (w write) raised() (r alert.Recorded) {
	r.Outcome = alert.New
	if w.reopened {
		r.Outcome = alert.Reopened
	}
	if w.raises() {
		r.Raising, r.Err = w.after.raising(w.after.Changes)
	}
	return r
}

// met makes the rows be read again that a transaction met in another state than it
// expected. It reports whether the next transaction may follow at once: then it is
// another one than the last.
func (c *commit) met(ctx context.Context, at place) (again bool, err error) {
	switch at.of {
	case alertRange:
		// Whoever wrote this alert probably writes the others as well. If only this one
		// were read again, each of the others would cost an attempt.
		guessed := !at.alert.read || at.alert.kept
		if at.alert.kept {
			c.kept.forget(c.partition, afterOthers)
		}
		c.careful, c.summary = true, nil
		for _, p := range c.alerts {
			p.read, p.kept, p.etag = false, false, ""
		}
		return guessed, nil
	case summaryKey:
		guessed := c.keptSum
		if guessed {
			c.kept.forget(c.partition, afterOthers)
		}
		c.summary, c.keptSum = nil, false
		return guessed, nil
	case historyRange:
		at.alert.taken++
		return true, nil
	default:
		// The evidence at this place is recorded. More of the evidence may be recorded,
		// too.
		return true, c.dropRecorded(ctx)
	}
}

// dropRecorded removes the occurrences whose evidence is recorded.
func (c *commit) dropRecorded(ctx context.Context) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range c.alerts {
		group.Go(func() error {
			recorded, err := c.recorded(ctx, p.keys())
			if err != nil {
				return err
			}
			raisings := map[string]*alert.Raising{}
			for k, number := range recorded {
				if _, own := p.occurrences[k]; !own || number == nil {
					continue
				}
				if raisings[k], err = c.raising(ctx, p, *number); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k := range recorded {
				delete(p.occurrences, k)
				if raisings[k] != nil {
					c.did[k] = alert.Recorded{Outcome: alert.Known, Raising: raisings[k]}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	maps.DeleteFunc(c.alerts, func(_ string, p *pending) bool { return len(p.occurrences) == 0 })
	return nil
}

// raising returns a raising that an occurrence of p made before. The row of p is right if it
// is there: the transaction met the evidence, and so it had found the row as it was read.
func (c *commit) raising(ctx context.Context, p *pending, number int32) (*alert.Raising, error) {
	if p.etag != "" {
		return p.row.raising(number)
	}
	return c.Alerts.raised(ctx, c.partition, p.id, number)
}

// recorded returns which of the row keys of an alert's evidence are in the table, each with
// the raising that it made, or nil. It asks for all of them at once. If the alert has so much
// evidence that the first answer does not reach the last key, it asks for each of the rest.
func (c *commit) recorded(ctx context.Context, keys []string) (map[string]*int32, error) {
	pages := c.table.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey le %s", quoted(c.partition), quoted(keys[0]), quoted(keys[len(keys)-1]))),
		Select: to.Ptr("RowKey,Raised"),
	})
	page, err := pages.NextPage(ctx)
	if err != nil {
		return nil, c.table.explain("read", err)
	}
	all := map[string]*int32{}
	last := ""
	for _, entity := range page.Entities {
		var row struct {
			RowKey string
			Raised *int32
		}
		if err := json.Unmarshal(entity, &row); err != nil {
			return nil, fmt.Errorf("evidence row: %w", err)
		}
		all[row.RowKey], last = row.Raised, row.RowKey
	}
	if !pages.More() {
		return all, nil
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, k := range keys {
		if k <= last {
			continue
		}
		group.Go(func() error {
			found, tag, err := c.readEvidence(ctx, c.partition, k)
			if err != nil || tag == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all[k] = found.Raised
			return nil
		})
	}
	return all, group.Wait()
}

// read returns the row of an alert and its ETag, or an empty ETag if there is
// no row.
func (a *Alerts) read(ctx context.Context, partition, id string) (Row, azcore.ETag, error) {
	response, err := a.table.client.GetEntity(ctx, partition, alertKey(id), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), a.table.missing(ctx, err):
		return Row{}, "", nil
	case err != nil:
		return Row{}, "", a.table.explain("read", err)
	}
	row, err := decodeRow(response.Value)
	if err != nil { // the row of a person, or no row at all but the page of something on the way
		return Row{}, "", fmt.Errorf("table %q: read: %w", a.table.name, err)
	}
	return row, response.ETag, nil
}
