package table

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
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

// Told remembers what was told to which channel. It implements alert.Told. Its tables have
// dates in their names, so that old rows are dropped with their table:
//
//	told20260201   t|<hash of the id>            !                     who tells it until when, and in which digest
//	told20260201   t|<hash of the id>            c|ops                 the channel ops needs to be told no more
//	told20260201   s|contoso-hub|202602011220    1|00007               a seat of the hub in the slot of 12:20, at the level 1
//	told20260201   d|contoso-hub|202602011220    <hash of the id>      an alert in the digest of the slot
//	digests        due                           202602011220|contoso-hub   a digest that is not told yet
type Told struct {
	account *Account
	prefix  string

	mu    sync.Mutex
	seats map[seatList]int // that are known to be taken
	due   map[string]bool  // digests that are known to be due
}

// Told returns what remembers in tables whose names begin with prefix, which may be empty.
// It does not connect.
func (a *Account) Told(prefix string) *Told {
	return &Told{account: a, prefix: prefix, seats: map[seatList]int{}, due: map[string]bool{}}
}

const (
	toldTable    = "told"
	digestsTable = "digests"
	neverTold    = "nobody was ever told of an alert here"

	tellingKey   = "!"
	channelRange = "c"
	duePartition = "due"
	slotFormat   = "200601021504"

	// toldDays is how many days the rows of a day are kept: Event Grid delivers for 24 hours
	// (https://learn.microsoft.com/azure/event-grid/delivery-and-retry), an event may be three
	// days old, and a digest is tried for a day.
	toldDays = 5
	// mostSlots is of how many hubs and slots a process knows something by heart.
	mostSlots = 1_000
)

func (t *Told) day(at time.Time) table {
	return t.account.table(t.prefix+toldTable+at.UTC().Format(dayFormat), neverTold)
}

func (t *Told) digests() table { return t.account.table(t.prefix+digestsTable, neverTold) }

// telling is the row of an alert.Telling.
type telling struct {
	key
	Id        string
	SlotUtc   string `json:",omitzero"`
	BegunUtc  string `json:",omitzero"`
	UntilUtc  string
	UntilType string      `json:"UntilUtc@odata.type"`
	By        string      `json:",omitzero"` // a random text of the attempt that wrote it
	ETag      azcore.ETag `json:"odata.etag,omitzero"`
}

// toldChannel is the row of a channel that needs to be told no more.
type toldChannel struct {
	key
	Channel string
	Told    bool   // false: it can never be told
	Reason  string `json:",omitzero"` // why it never can
	TimeUtc string
}

func tellingPartition(k alert.ToldKey) string { return "t" + separator + hash(k.ID) }

// Read implements alert.Told.
func (t *Told) Read(ctx context.Context, k alert.ToldKey) (alert.Telling, error) {
	known, _, err := t.read(ctx, k)
	return known, err
}

// read returns also which attempt wrote the row.
func (t *Told) read(ctx context.Context, k alert.ToldKey) (known alert.Telling, by string, err error) {
	known.Done, known.Lost = map[string]bool{}, map[string]string{}
	day := t.day(k.Day)
	for entity, err := range day.entities(ctx, &aztables.ListEntitiesOptions{
		Filter: to.Ptr("PartitionKey eq " + quoted(tellingPartition(k))), Format: to.Ptr(aztables.MetadataFormatFull),
	}) {
		if errors.Is(err, alert.ErrAbsent) {
			break
		}
		if err != nil {
			return alert.Telling{}, "", err
		}
		var row struct {
			telling
			Channel, Reason string
			Told            bool
		}
		if err := decode(entity, &row); err != nil {
			return alert.Telling{}, "", fmt.Errorf("table %q: %w", day.name, err)
		}
		if row.RowKey != tellingKey {
			known.Done[row.Channel] = true
			if !row.Told {
				known.Lost[row.Channel] = cmp.Or(row.Reason, "it can never be told")
			}
			continue
		}
		known.Tag, by = string(row.ETag), row.By
		if known.Until, err = row.time("UntilUtc", row.UntilUtc); err == nil && row.SlotUtc != "" {
			known.Slot, err = row.time("SlotUtc", row.SlotUtc)
		}
		if err == nil && row.BegunUtc != "" {
			known.Begun, err = row.time("BegunUtc", row.BegunUtc)
		}
		if err != nil {
			return alert.Telling{}, "", fmt.Errorf("table %q: %w", day.name, err)
		}
	}
	return known, by, nil
}

// Take implements alert.Told.
func (t *Told) Take(ctx context.Context, k alert.ToldKey, e alert.Telling) (alert.Telling, error) {
	day := t.day(k.Day)
	row := telling{key: key{tellingPartition(k), tellingKey}, Id: k.ID, UntilUtc: edmTime(e.Until), UntilType: edmDateTime, By: rand.Text()}
	if !e.Slot.IsZero() {
		row.SlotUtc = edmTime(e.Slot)
	}
	if !e.Begun.IsZero() {
		row.BegunUtc = edmTime(e.Begun)
	}
	if e.Until.IsZero() {
		row.UntilUtc = edmTime(alert.Alone)
	}
	entity, err := json.Marshal(row)
	if err != nil {
		return e, fmt.Errorf("table %q: %w", day.name, err)
	}
	action := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}
	if e.Tag != "" {
		action.ActionType, action.IfMatch = aztables.TransactionTypeUpdateReplace, to.Ptr(azcore.ETag(e.Tag))
	}
	etags, err := day.submit(ctx, action)
	if err != nil && day.missing(ctx, err) {
		etags, err = day.submit(ctx, action)
	}
	if _, conflict := day.conflict(err); err != nil && !conflict {
		return e, day.explain("write", err)
	}
	if err == nil && len(etags) == 1 {
		e.Tag = string(etags[0])
		return e, nil
	}
	// The answer did not say the new version, or the row is not as it was. If an answer was lost, the
	// row is as this call wrote it, and the next attempt has found that.
	now, by, err := t.read(ctx, k)
	if err == nil && by != row.By {
		err = fmt.Errorf("table %q: %s: %w", day.name, k.ID, alert.ErrBeingTold)
	}
	e.Tag = now.Tag
	return e, err
}

// Mark implements alert.Told.
func (t *Told) Mark(ctx context.Context, k alert.ToldKey, channel, lost string) error {
	row := toldChannel{key{tellingPartition(k), channelRange + separator + escape(channel)}, channel, lost == "", lost, edmTime(time.Now())}
	_, err := t.day(k.Day).insert(ctx, row)
	return err
}

// insert inserts rows of one partition, all or none, and reports whether none of them was
// there.
func (t table) insert(ctx context.Context, rows ...any) (bool, error) {
	var actions []aztables.TransactionAction
	for _, row := range rows {
		entity, err := json.Marshal(row)
		if err != nil {
			return false, fmt.Errorf("table %q: %w", t.name, err)
		}
		actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity})
	}
	_, err := t.submit(ctx, actions...)
	if err != nil && t.missing(ctx, err) {
		_, err = t.submit(ctx, actions...)
	}
	if _, conflict := t.conflict(err); conflict {
		return false, nil
	}
	if err != nil {
		return false, t.explain("write", err)
	}
	return true, nil
}

// of returns what the partition keys of a hub and slot end with.
func of(d alert.Due) string { return hubKey(d.Hub) + separator + d.Slot.UTC().Format(slotFormat) }

// seatList are the seats of a hub and slot at one level.
type seatList struct {
	partition string
	level     int
}

// key returns the key of a seat.
func (l seatList) key(n int) key {
	return key{l.partition, fmt.Sprintf("%d%s%05d", l.level, separator, n)}
}

// Seat implements alert.Told. The seats of a level are taken in order, with those of the lower
// levels in one transaction. A process that finds a next one taken looks which are.
func (t *Told) Seat(ctx context.Context, d alert.Due, level, seats int) (bool, error) {
	day, partition := t.day(d.Slot), "s"+separator+of(d)
	for {
		taken := map[seatList]int{}
		var rows []any
		for at := level; at >= 0; at-- {
			l := seatList{partition, at}
			n := t.taken(l)
			switch {
			case n < seats:
				taken[l] = n + 1
				rows = append(rows, l.key(n))
			case at == level:
				return false, nil
			}
		}
		added, err := day.insert(ctx, rows...)
		if err != nil {
			return false, err
		}
		if added {
			t.take(taken)
			return true, nil
		}
		clear(taken)
		for entity, err := range day.entities(ctx, &aztables.ListEntitiesOptions{
			Filter: to.Ptr("PartitionKey eq " + quoted(partition)), Select: to.Ptr("RowKey"),
		}) {
			if err != nil {
				return false, err
			}
			var k key
			if err := decode(entity, &k); err != nil {
				return false, fmt.Errorf("table %q: %w", day.name, err)
			}
			for at := range level + 1 {
				if l := (seatList{partition, at}); k.RowKey == l.key(taken[l]).RowKey {
					taken[l]++
				}
			}
		}
		t.take(taken)
	}
}

// taken returns how many seats are known to be taken.
func (t *Told) taken(l seatList) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seats[l]
}

// take notes how many seats are taken.
func (t *Told) take(taken map[seatList]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seats) >= mostSlots {
		clear(t.seats)
	}
	for l, n := range taken {
		t.seats[l] = max(t.seats[l], n)
	}
}

// deferred is the row of an alert in a digest.
type deferred struct {
	key
	Document string
}

// mostDocument is the most characters of a document in one column, which has 64 KiB in UTF-16
// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
const mostDocument = 32_000

// dueRow is a digest that is not told yet.
type dueRow struct {
	key
	Hub     string
	SlotUtc string
}

// Defer implements alert.Told. The digest is due before anything is in it.
func (t *Told) Defer(ctx context.Context, d alert.Due, id string, document []byte) error {
	if len(document) > mostDocument {
		return fmt.Errorf("digest: a document of %d bytes, want %d at most", len(document), mostDocument)
	}
	t.mu.Lock()
	known := t.due[of(d)]
	t.mu.Unlock()
	if !known {
		if _, err := t.digests().insert(ctx, dueRow{key{duePartition, dueKey(d)}, d.Hub, edmTime(d.Slot)}); err != nil {
			return err
		}
	}
	if _, err := t.day(d.Slot).insert(ctx, deferred{deferredKey(d, id), string(document)}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.due) >= mostSlots {
		clear(t.due)
	}
	t.due[of(d)] = true
	return nil
}

// IsDeferred implements alert.Told.
func (t *Told) IsDeferred(ctx context.Context, d alert.Due, id string) (bool, error) {
	day, k := t.day(d.Slot), deferredKey(d, id)
	_, err := day.client.GetEntity(ctx, k.PartitionKey, k.RowKey, nil)
	switch {
	case err == nil:
		return true, nil
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return false, nil
	}
	return false, day.explain("read", err)
}

func deferredKey(d alert.Due, id string) key { return key{"d" + separator + of(d), hash(id)} }

func dueKey(d alert.Due) string { return d.Slot.UTC().Format(slotFormat) + separator + hubKey(d.Hub) }

// Dues implements alert.Told.
func (t *Told) Dues(ctx context.Context, before time.Time) (dues []alert.Due, err error) {
	digests := t.digests()
	for entity, err := range digests.entities(ctx, &aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey eq %s and RowKey lt %s", quoted(duePartition), quoted(before.UTC().Format(slotFormat)))),
	}) {
		if errors.Is(err, alert.ErrAbsent) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var row dueRow
		if err = decode(entity, &row); err != nil {
			return nil, fmt.Errorf("table %q: %w", digests.name, err)
		}
		d := alert.Due{Hub: row.Hub}
		if d.Slot, err = row.time("SlotUtc", row.SlotUtc); err != nil {
			return nil, fmt.Errorf("table %q: %w", digests.name, err)
		}
		if d.Slot.Before(before) {
			dues = append(dues, d)
		}
	}
	slices.SortFunc(dues, func(a, b alert.Due) int { return strings.Compare(dueKey(a), dueKey(b)) })
	return dues, nil
}

// Deferred implements alert.Told.
func (t *Told) Deferred(ctx context.Context, d alert.Due) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		day := t.day(d.Slot)
		for entity, err := range day.entities(ctx, &aztables.ListEntitiesOptions{
			Filter: to.Ptr("PartitionKey eq " + quoted("d"+separator+of(d))),
		}) {
			if errors.Is(err, alert.ErrAbsent) {
				return
			}
			var row deferred
			if err == nil {
				if err = decode(entity, &row); err != nil {
					err = fmt.Errorf("table %q: %w", day.name, err)
				}
			}
			if !yield([]byte(row.Document), err) || err != nil {
				return
			}
		}
	}
}

// Close implements alert.Told.
func (t *Told) Close(ctx context.Context, d alert.Due) error {
	digests := t.digests()
	if _, err := digests.client.DeleteEntity(ctx, duePartition, dueKey(d), nil); err != nil && !hasCode(err, aztables.ResourceNotFound) {
		return digests.explain("delete", err)
	}
	return nil
}

// Expire drops the tables of days that were over long ago, and returns how many it dropped.
func (t *Told) Expire(ctx context.Context, now time.Time) (dropped int, err error) {
	return t.account.dropDays(ctx, t.prefix+toldTable, neverTold, func(day time.Time) (bool, error) {
		return day.AddDate(0, 0, toldDays).Before(now), nil
	})
}
