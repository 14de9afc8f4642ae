package table

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// What is fewer than a rule expects is judged by a timer, from rows that events write:
//
//	counts20260201   <hash of the rule>|070f7f80|3   <hash of the key>   a cell: at most Min hashes of events
//	keys             <hash of the rule>|3            <hash of the key>   the first cell of a key, and what it is
//	keys             <hash of the rule>              closing             the last cell whose judging has begun
//
// 070f7f80 is the number of the cell, and 3 the first digit of the hash of the key. So the
// cells and the keys of a shard are ranges with the same order. The derived row is a row of
// evidence of the alert.
const (
	keysTable = "keys"
	shards    = "0123456789abcdef"

	startMark   = "start"   // windows that begin later are judged
	closingMark = "closing" // the judging of this cell has begun
	doneMark    = "done"    // the judging of this cell has ended

	// keptKeys is for how many days a key is watched that has no event.
	keptKeys = 7
)

func cellKey(c window.Cell) string { return fmt.Sprintf("%08x", int64(c)) }

// watched is a key of a rule, and where its rows are.
type watched struct {
	rule window.Rule
	hash string // of the rule
	id   string // hash of the key
}

func newWatched(rule window.Rule, o alert.Occurrence) watched {
	h := rule.LowHash()
	return watched{rule, hex.EncodeToString(h[:]), hash(alert.ID(o.Type, o.Hub, o.Entity, "", time.Time{}))}
}

func cellPartition(rule string, c window.Cell, shard string) string {
	return rule + separator + cellKey(c) + separator + shard
}

func (w watched) cell(c window.Cell) key { return key{cellPartition(w.hash, c, w.id[:1]), w.id} }

func (w watched) registry() key { return key{w.hash + separator + w.id[:1], w.id} }

// cellRow is the row of one key and cell.
type cellRow struct {
	key
	Hashes     []byte // of distinct events, at most Min
	HashesType string `json:"Hashes@odata.type"`
}

// number returns how many events the row has.
func (r cellRow) number() int { return len(r.Hashes) / len(window.Hash{}) }

// registryRow is a key that is watched, and what an alert says that is about it.
type registryRow struct {
	key
	First                           string // the cell of the first event
	Last                            string // the UTC day of the last event
	Hub, ResourceId, SubscriptionId string
	EntityType, Entity              string
}

// cellMark has the number of a cell.
type cellMark struct {
	key
	Cell string
}

func (c *Counts) cells(rule window.Rule, cell window.Cell) table {
	return c.account.table(c.prefix+countsTable+rule.Needed(cell).Format(dayFormat), neverCounted)
}

func (c *Counts) keys() table { return c.account.table(c.prefix+keysTable, neverCounted) }

// get reads a row. Its ETag is empty if there is none.
func get[R any](ctx context.Context, t table, k key) (row R, tag azcore.ETag, err error) {
	response, err := t.client.GetEntity(ctx, k.PartitionKey, k.RowKey, nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return row, "", nil
	case err != nil:
		return row, "", t.explain("read", err)
	}
	if err := decode(response.Value, &row); err != nil {
		return row, "", fmt.Errorf("table %q: %w", t.name, err)
	}
	return row, response.ETag, nil
}

// rewrite reads a row, and writes what f makes of it on condition that it is as it was read.
// It does so until that succeeds, or until f wants nothing to be written. f gets no row
// if there is none.
func rewrite[R any](ctx context.Context, t table, k key, f func(row R, there bool) (changed bool, next R, err error)) error {
	for attempt := 0; ; attempt++ {
		row, tag, err := get[R](ctx, t, k)
		if err != nil {
			return err
		}
		changed, next, err := f(row, tag != "")
		if err != nil || !changed {
			return err
		}
		entity, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("table %q: %w", t.name, err)
		}
		action := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}
		if tag != "" {
			action.ActionType, action.IfMatch = aztables.TransactionTypeUpdateReplace, &tag
		}
		if _, err = t.submit(ctx, action); err == nil {
			return nil
		}
		if _, conflict := t.conflict(err); !conflict && !t.missing(ctx, err) {
			return t.explain("write", err)
		}
		if err := pauseAtMost(ctx, attempt, mostCountPause); err != nil {
			return fmt.Errorf("table %q: %s %s is being written by others: %w", t.name, k.PartitionKey, k.RowKey, err)
		}
	}
}

// watch counts events of one key for the rule of what is fewer.
func (c *Counts) watch(_ string, batch []counted) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	w := newWatched(batch[0].rule, batch[0].of)
	cells := map[window.Cell][]counted{}
	for _, e := range batch {
		cell := w.rule.CellOf(e.event.At())
		cells[cell] = append(cells[cell], e)
	}
	for cell, events := range cells {
		if err := c.watchCell(ctx, w, cell, events); err != nil {
			return fmt.Errorf("count of %s: %w", w.rule.Name, err)
		}
	}
	return nil
}

// watchCell puts events into a cell, and judges again what they change if they are late.
func (c *Counts) watchCell(ctx context.Context, w watched, cell window.Cell, events []counted) error {
	full := "full" + w.cell(cell).PartitionKey + w.id
	if !c.raised.has(full) {
		if err := rewrite(ctx, c.cells(w.rule, cell), w.cell(cell), func(row cellRow, there bool) (bool, cellRow, error) {
			if row.number() >= w.rule.Min {
				c.raised.add(full)
			}
			next := cellRow{w.cell(cell), slices.Clone(row.Hashes), edmBinary}
			for _, e := range events {
				known := slices.Collect(slices.Chunk(next.Hashes, len(window.Hash{})))
				if next.number() < w.rule.Min && !slices.ContainsFunc(known, func(h []byte) bool { return string(h) == string(e.event.Hash[:]) }) {
					next.Hashes = append(next.Hashes, e.event.Hash[:]...)
				}
			}
			if len(next.Hashes) == len(row.Hashes) {
				return false, next, nil
			}
			if !there {
				// The registry comes first: who finds the row of a cell knows that the key is registered.
				if err := c.register(ctx, w, cell, events[0].of); err != nil {
					return false, next, err
				}
			}
			return true, next, nil
		}); err != nil {
			return err
		}
	}
	if !w.rule.Late(cell, c.now()) { // Asked after the events are in their cell: nobody has judged it without them.
		return nil
	}
	return c.late(ctx, w, cell, events[0].of)
}

// register makes a key known from a cell on.
func (c *Counts) register(ctx context.Context, w watched, cell window.Cell, o alert.Occurrence) error {
	return rewrite(ctx, c.keys(), w.registry(), func(row registryRow, there bool) (bool, registryRow, error) {
		own, day := cellKey(cell), w.rule.CellBegin(cell).Format(dayFormat)
		if !there {
			return true, registryRow{
				key: w.registry(), First: own, Last: day, Hub: o.Hub.Name, ResourceId: o.Hub.ResourceID, SubscriptionId: o.Hub.SubscriptionID,
				EntityType: string(o.Entity.Type), Entity: o.Entity.Name,
			}, nil
		}
		changed := own < row.First || day > row.Last
		row.First, row.Last = min(row.First, own), max(row.Last, day)
		return changed, row, nil
	})
}

// parseCell reads what cellKey writes, and returns -1 for anything else.
func parseCell(s string) window.Cell {
	var c window.Cell
	if _, err := fmt.Sscanf(s, "%08x", &c); err != nil {
		return -1
	}
	return c
}

// marked returns a mark of a rule, -1 if it was not made.
func (c *Counts) marked(ctx context.Context, rule, name string) (window.Cell, error) {
	m, tag, err := get[cellMark](ctx, c.keys(), key{rule, name})
	if err != nil || tag == "" {
		return -1, err
	}
	return parseCell(m.Cell), nil
}

// mark raises a mark.
func (c *Counts) mark(ctx context.Context, rule, name string, cell window.Cell) error {
	k := key{rule, name}
	return rewrite(ctx, c.keys(), k, func(row cellMark, there bool) (bool, cellMark, error) {
		return !there || parseCell(row.Cell) < cell, cellMark{k, cellKey(cell)}, nil
	})
}

// late judges again what the events of a cell change, if its judging may have begun: up to
// four windows after the next cell with an event.
func (c *Counts) late(ctx context.Context, w watched, cell window.Cell, o alert.Occurrence) error {
	closing, err := c.marked(ctx, w.hash, closingMark)
	if err != nil || closing < cell {
		return err
	}
	last := closing
	for from := cell + 1; from <= closing && last == closing; from += parallelCells {
		numbers, err := c.numbers(ctx, w, from, min(from+parallelCells-1, closing))
		if err != nil {
			return err
		}
		for each := range numbers {
			last = min(last, each)
		}
	}
	return c.refresh(ctx, w, o, cell, min(window.Touches(last), closing), true)
}

// parallelCells is how many cells of a key are read at the same time.
const parallelCells = 16

// numbers returns how many events the cells of a key have, without those that have none.
func (c *Counts) numbers(ctx context.Context, w watched, from, until window.Cell) (map[window.Cell]int, error) {
	rows := make([]cellRow, until-from+1)
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelCells)
	for i := range rows {
		group.Go(func() (err error) {
			each := from + window.Cell(i)
			rows[i], _, err = get[cellRow](groupContext, c.cells(w.rule, each), w.cell(each))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	numbers := map[window.Cell]int{}
	for i, r := range rows {
		if n := r.number(); n > 0 {
			numbers[from+window.Cell(i)] = n
		}
	}
	return numbers, nil
}

// refresh judges the windows of a key from one to another. always says that the derived row
// is written also if it is right (R3).
func (c *Counts) refresh(ctx context.Context, w watched, o alert.Occurrence, from, until window.Cell, always bool) error {
	for from <= until {
		day := alert.Day(w.rule.CellBegin(from))
		last := from
		for last < until && alert.Day(w.rule.CellBegin(last+1)).Equal(day) {
			last++
		}
		raising, err := c.alerts.derive(ctx, w.rule, c.suppress, o, day, func(ctx context.Context, old window.Lows) (window.Lows, bool, error) {
			registry, tag, err := get[registryRow](ctx, c.keys(), w.registry())
			if err != nil || tag == "" {
				return old, false, err // It was forgotten.
			}
			start, err := c.marked(ctx, w.hash, startMark)
			if err != nil {
				return nil, false, err
			}
			first := max(parseCell(registry.First), start)
			numbers, err := c.numbers(ctx, w, window.Reads(from), last)
			if err != nil {
				return nil, false, err
			}
			lows := w.rule.Judge(old, from, last, first, func(c window.Cell) int { return numbers[c] })
			return lows, always || !slices.Equal(old, lows), nil
		})
		if err != nil {
			return err
		}
		if err := c.tell(ctx, raising); err != nil {
			return err
		}
		from = last + 1
	}
	return nil
}

// Watch judges the windows of a rule whose time has come. alerts is what its alerts say,
// apart from what they are about. It returns how many cells it judged. After an error it goes
// on at its next time where it ended.
func (c *Counts) Watch(ctx context.Context, rule window.Rule, alerts alert.Occurrence) (judged int, err error) {
	h := rule.LowHash()
	name := hex.EncodeToString(h[:])
	due := rule.Due(c.now())
	done, err := c.marked(ctx, name, doneMark)
	if err != nil {
		return 0, err
	}
	start, err := c.marked(ctx, name, startMark)
	if err != nil {
		return 0, err
	}
	if done = max(done, start); start < 0 || due-done > rule.Reach() {
		return 0, c.mark(ctx, name, startMark, due)
	}
	for cell := done + 1; cell <= due; cell++ {
		if err := c.mark(ctx, name, closingMark, cell); err != nil { // before anything is read (R2, R3)
			return judged, err
		}
		group, groupContext := errgroup.WithContext(ctx)
		group.SetLimit(parallel)
		for _, shard := range strings.Split(shards, "") {
			group.Go(func() error { return c.judge(groupContext, rule, name, shard, cell, start, alerts) })
		}
		if err := group.Wait(); err != nil {
			return judged, err
		}
		if err := c.mark(ctx, name, doneMark, cell); err != nil {
			return judged, err
		}
		judged++
	}
	return judged, nil
}

// judge judges the window of a cell for the keys of a shard. It reads the registry and the
// cells as ranges that are in the same order. Only where a breach begins it reads all again,
// behind the derived row.
func (c *Counts) judge(ctx context.Context, rule window.Rule, name, shard string, cell, start window.Cell, alerts alert.Occurrence) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ranges := map[window.Cell]*cursor{}
	for each := window.Reads(cell); each <= cell; each++ {
		cells := &cursor{}
		cells.next, cells.stop = iter.Pull2(rangeOf[cellRow](ctx, c.cells(rule, each), cellPartition(name, each, shard)))
		defer cells.stop()
		ranges[each] = cells
	}
	for r, err := range rangeOf[registryRow](ctx, c.keys(), name+separator+shard) {
		if err != nil {
			return err
		}
		numbers := map[window.Cell]int{}
		for each, cells := range ranges {
			if numbers[each], err = cells.number(r.RowKey); err != nil {
				return err
			}
		}
		first, count := max(parseCell(r.First), start), func(c window.Cell) int { return numbers[c] }
		told := "low" + cellPartition(name, cell, shard) + r.RowKey
		if !rule.Low(cell, first, count) || rule.Low(cell-1, first, count) || c.raised.has(told) {
			continue
		}
		o := alerts
		o.Hub = alert.Hub{Name: r.Hub, ResourceID: r.ResourceId, SubscriptionID: r.SubscriptionId}
		o.Entity = alert.Entity{Type: alert.EntityType(r.EntityType), Name: r.Entity}
		if err := c.refresh(ctx, watched{rule, name, r.RowKey}, o, cell, cell, false); err != nil {
			return err
		}
		c.raised.add(told) // A timer that had no time for all keys goes on with the others.
	}
	return nil
}

// cursor is a range of cells that is read in order.
type cursor struct {
	next func() (cellRow, error, bool)
	stop func()
	row  cellRow
	over bool
}

// number returns how many events the cell of a key has. The keys are asked for in order.
func (c *cursor) number(key string) (int, error) {
	for !c.over && c.row.RowKey < key {
		row, err, ok := c.next()
		if err != nil {
			return 0, err
		}
		c.row, c.over = row, !ok
	}
	if c.over || c.row.RowKey != key {
		return 0, nil
	}
	return c.row.number(), nil
}

// rangeOf reads the rows of a partition. There are none if the table does not exist.
func rangeOf[R any](ctx context.Context, t table, partition string) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr("PartitionKey eq " + quoted(partition))}) {
			var row R
			if errors.Is(err, alert.ErrAbsent) {
				return
			}
			if err == nil {
				if err = decode(entity, &row); err != nil {
					err = fmt.Errorf("table %q: %w", t.name, err)
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// derive makes an alert say what f derives: at which windows of a day breaches begin. The
// derived row is the alert's row of evidence. It is read first, then f reads what it is
// derived from, and then it is written with the alert's row, on condition that both are as
// they were read (R3). f says whether to write. raising is what people are to be told, if they
// are: what the alert raised is told again if the derived row was right already, since
// whoever wrote it may have ended before anybody was told.
func (a *Alerts) derive(ctx context.Context, rule window.Rule, suppress func(context.Context, []alert.Occurrence), of alert.Occurrence, day time.Time,
	f func(context.Context, window.Lows) (window.Lows, bool, error)) (raising *alert.Raising, err error) {
	id := alert.ID(of.Type, of.Hub, of.Entity, "", day)
	h := rule.LowHash()
	rowKey := evidenceOf(id) + separator + hex.EncodeToString(h[:4]) + "-low"
	partition := partitionOf(of.Hub.Name, day).String()
	taken := 0
	for attempt := 0; ; attempt++ {
		old, tag, err := a.readEvidence(ctx, partition, rowKey)
		if err != nil {
			return nil, err
		}
		before, err := window.UnpackLows(old.Lows)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", a.table.name, old.wrong("Lows", err))
		}
		lows, write, err := f(ctx, before)
		if err != nil {
			return nil, err
		}
		untold := old.Raised != nil && slices.Equal(before, lows)
		if !write && untold {
			return a.raised(ctx, partition, id, *old.Raised)
		}
		if !write {
			return nil, nil
		}
		occurrences := []alert.Occurrence{missed(rule, of, day, lows)}
		suppress(ctx, occurrences)
		e := newEvidence(occurrences[0])
		e.RowKey = rowKey
		e.Seq, e.Count = old.Seq+1, int32(len(lows)) // #nosec G115 -- at most one a minute
		if e.Lows = lows.Pack(); len(lows) > 0 {
			e.LowsType = edmBinary
		}
		entity, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("evidence of alert %s: %w", id, err)
		}
		o := occurrence{id: id, row: newRow(occurrences[0], a.now()), key: rowKey, event: e.EventId}
		t, err := a.deriving(ctx, rule, o, before, lows, taken)
		if err != nil {
			return nil, err
		}
		t.prove(entity, tag, old.Raised)
		switch again, err := a.send(ctx, partition, t, attempt, &taken); {
		case err != nil:
			return nil, err
		case !again && untold:
			return a.raised(ctx, partition, id, *old.Raised)
		case !again:
			recorded := t.recorded(alert.New)
			return recorded.Raising, recorded.Err
		}
	}
}

// missed returns the occurrence of an alert that says at which windows of a day too few
// events came.
func missed(rule window.Rule, of alert.Occurrence, day time.Time, lows window.Lows) alert.Occurrence {
	type span struct {
		From  time.Time `json:"from"`
		Until time.Time `json:"until"`
	}
	const mostShown = 300 // so that they fit into a column
	at, first := day, day
	spans := []span{}
	for i, c := range lows {
		until := rule.CellEnd(c)
		if i == 0 {
			first = onDay(day, until)
		}
		at = onDay(day, until)
		if i < mostShown {
			spans = append(spans, span{until.Add(-rule.Width), until})
		}
	}
	raw, _ := json.Marshal(map[string]any{"fewerThan": rule.Min, "windows": spans}, json.Deterministic(true)) // times and a number
	o := of
	o.Actor, o.ActorIPAddress, o.CorrelationID, o.Devices, o.Tally, o.SuppressedBy = "", "", "", nil, alert.Tally{}, ""
	o.Confidence = cmp.Or(of.Confidence, alert.Inferred)
	o.Message = fmt.Sprintf("Fewer than %d within %s from %s.", rule.Min, rule.Span(), of.Entity.Name)
	o.Properties = map[string]string{"CountMin": fmt.Sprint(rule.Min), "CountWindow": rule.Span(), "FirstWindowEnd": edmTime(first)}
	o.Event = alert.Event{Source: of.Hub.ResourceID, ID: "fewer-than-" + fmt.Sprint(rule.Min), Time: at, Raw: raw}
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, "", day)
	return o
}

const lateReason = "events came late"

// deriving returns what a transaction does to the alert of o if its breaches begin at other
// windows than before. If it says the same as before, nothing.
func (a *Alerts) deriving(ctx context.Context, rule window.Rule, o occurrence, before, lows window.Lows, taken int) (t transaction, err error) {
	if slices.Equal(before, lows) {
		return t, nil
	}
	row, tag, err := a.read(ctx, o.row.PartitionKey, o.id)
	if err != nil || tag == "" && len(lows) == 0 {
		return t, err
	}
	p, _ := parsePartition(o.row.PartitionKey)
	ends := func(lows window.Lows) (first, last string) {
		if len(lows) == 0 {
			return "", ""
		}
		return shown(p.date(), rule.CellEnd(lows[0])), shown(p.date(), rule.CellEnd(lows[len(lows)-1]))
	}
	first, last := ends(lows)
	had, ended := ends(before)
	after, edited := o.row, false
	head := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd}
	var was *Row
	if tag != "" {
		was, after = &row, row
		head = aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, IfMatch: &tag}
		if slices.ContainsFunc(lows, func(c window.Cell) bool { return !slices.Contains(before, c) }) {
			edited = row.reopens(o.row)
			after = row.add(o.row)
		}
		after.StartTimeUtc, after.EndTimeUtc = row.StartTimeUtc, row.EndTimeUtc
	} else {
		after.StartTimeUtc, after.EndTimeUtc = first, last
	}
	// Times that are of something else stay. Where nothing was left, there is nothing else.
	if first != "" && (row.Occurrences == 0 || after.StartTimeUtc > first || after.StartTimeUtc == had) {
		after.StartTimeUtc = first
	}
	if last != "" && (row.Occurrences == 0 || after.EndTimeUtc < last || after.EndTimeUtc == ended) {
		after.EndTimeUtc = last
	}
	after.Occurrences = max(row.Occurrences+int32(len(lows)-len(before)), 0) // #nosec G115 -- at most one a minute
	if tag == "" {
		after.Occurrences = int32(len(lows)) // #nosec G115 -- as above
	}
	after.Corrected = row.Corrected || after.Occurrences == 0
	// What a person has decided stays.
	if after.Occurrences == 0 && row.status() == alert.Active && (row.Changes == 0 || row.StatusBy == byHandler) {
		after.Status, after.Changes, edited = string(alert.Resolved), after.Changes+1, true
		after.StatusBy, after.StatusByObjectId, after.StatusReason = byHandler, "", lateReason
	}
	return a.changed(ctx, o, was, &after, head, edited, taken)
}

// forget ends the watching of keys that had no event for a week.
func (c *Counts) forget(ctx context.Context, now time.Time) error {
	t := c.keys()
	for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{
		Filter: to.Ptr("Last lt " + quoted(now.UTC().AddDate(0, 0, -keptKeys).Format(dayFormat))), Format: to.Ptr(aztables.MetadataFormatFull),
	}) {
		if errors.Is(err, alert.ErrAbsent) {
			return nil
		}
		if err != nil {
			return err
		}
		var row struct {
			key
			ETag azcore.ETag `json:"odata.etag"`
		}
		if err := decode(entity, &row); err != nil {
			return fmt.Errorf("table %q: %w", t.name, err)
		}
		_, err := t.client.DeleteEntity(ctx, row.PartitionKey, row.RowKey, &aztables.DeleteEntityOptions{IfMatch: &row.ETag})
		if _, changed := t.conflict(err); err != nil && !changed {
			return t.explain("delete", err)
		}
	}
	return nil
}
