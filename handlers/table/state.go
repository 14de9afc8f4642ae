package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	logs "hubwatch/handlers/connection"
	"hubwatch/handlers/verdict"
)

// State keeps what verdicts are derived from, and verdicts. It implements verdict.Store.
// Its tables have dates in their names, so that old rows are dropped with their table:
//
//	staged20260201   contoso-hub|02949180    <key>                    records of one message and bucket, packed
//	state            open                    02949180|contoso-hub|1   a mark: the verdict at this level has to be derived
//	state            clock                   partition 0              how far this partition of the log is staged
//	state            begins                  contoso-hub              where the log of the hub begins
//	state            dropped                 20260201                 records of this day were dropped
//	verdicts202602   contoso-hub|79739798    02949180                 the verdict on a bucket
//
// 02949180 is the number of a bucket, and the table has the date of the bucket.
type State struct {
	account *Account
	prefix  string
}

// State returns the store of verdicts. The names of its tables begin with prefix, which
// may be empty. It does not connect: an account that cannot be reached shows at the first
// request.
func (a *Account) State(prefix string) *State { return &State{a, prefix} }

const (
	openPartition = "open"
	// A binary property has 64 KiB, and an entity 1 MiB and 252 properties beside its keys
	// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
	maxBinary = 64 << 10
	nothing   = "nothing was ever staged here"
)

func (s *State) staged(b verdict.Bucket) table {
	return s.account.table(s.prefix+"staged"+b.Start().Format(dayFormat), nothing)
}

func (s *State) marks() table { return s.account.table(s.prefix+"state", nothing) }

func (s *State) verdicts(b verdict.Bucket) table {
	return s.account.table(s.prefix+"verdicts"+b.Start().Format("200601"), nothing)
}

// bucketKey returns a bucket as keys have it. Buckets before 1970 have no place.
func bucketKey(b verdict.Bucket) string { return fmt.Sprintf("%08d", b) }

func stagedPartition(p verdict.Place) string {
	return hubKey(p.Hub) + separator + bucketKey(p.Bucket)
}

func verdictKey(p verdict.Place) key {
	return key{partitionOf(p.Hub, p.Bucket.Start()).String(), bucketKey(p.Bucket)}
}

func markKey(p verdict.Place, level verdict.Level) string {
	return fmt.Sprintf("%s%s%s%s%d", bucketKey(p.Bucket), separator, hubKey(p.Hub), separator, level)
}

// Stage implements verdict.Store. Rows of one place are written together. The key of a row is
// a hash of its facts, so a row that is there already is replaced by itself.
func (s *State) Stage(ctx context.Context, rows []verdict.Staged) error {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b verdict.Staged) int {
		return strings.Compare(bucketKey(a.Bucket)+a.Hub+separator+a.Key, bucketKey(b.Bucket)+b.Hub+separator+b.Key)
	})
	rows = slices.CompactFunc(rows, func(a, b verdict.Staged) bool { return a.Place == b.Place && a.Key == b.Key })
	for len(rows) > 0 {
		var actions []aztables.TransactionAction
		size, n := 0, 0
		for n < len(rows) && n < maxEntities && rows[n].Place == rows[0].Place {
			entity, err := stagedEntity(rows[n])
			if err != nil {
				return fmt.Errorf("staged row: %w", err)
			}
			if size += len(entity); n > 0 && size > maxTransactionBytes {
				break
			}
			actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeInsertReplace, Entity: entity})
			n++
		}
		if err := s.staged(rows[0].Bucket).write(ctx, actions); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// write sends a transaction that has no condition.
func (t table) write(ctx context.Context, actions []aztables.TransactionAction) error {
	_, err := t.submit(ctx, actions...)
	if err != nil && t.missing(ctx, err) {
		_, err = t.submit(ctx, actions...)
	}
	if err != nil {
		return t.explain("write", err)
	}
	return nil
}

// chunks adds binary properties to columns, which together hold b.
func chunks(columns map[string]any, name string, b []byte) {
	i := 0
	for part := range slices.Chunk(b, maxBinary) {
		column := fmt.Sprint(name, i)
		columns[column], columns[column+"@odata.type"] = part, edmBinary
		i++
	}
}

// chunkNames returns the names of n columns that chunks writes.
func chunkNames(n int, names ...string) (all []string) {
	for _, name := range names {
		for i := range n {
			all = append(all, fmt.Sprint(name, i))
		}
	}
	return all
}

// binaries are the columns of a row with the names of chunks.
type binaries map[string][]byte

// join returns what chunks divided.
func (b binaries) join(name string) (all []byte) {
	for i := 0; ; i++ {
		part, ok := b[fmt.Sprint(name, i)]
		if !ok || part == nil {
			return all
		}
		all = append(all, part...)
	}
}

// The parts of a staged row by the names of their columns. A row has mostChunks of each
// at most.
const (
	connectsColumn, expiriesColumn, refusalsColumn, recordsColumn = "C", "X", "R", "D"

	mostChunks = 12
)

func stagedEntity(row verdict.Staged) ([]byte, error) {
	columns := map[string]any{"PartitionKey": stagedPartition(row.Place), "RowKey": row.Key, "Hub": row.HubID}
	chunks(columns, connectsColumn, row.Connects)
	chunks(columns, expiriesColumn, row.Expiries)
	chunks(columns, refusalsColumn, row.Refusals)
	chunks(columns, recordsColumn, row.Records)
	return json.Marshal(columns, json.Deterministic(true))
}

// decodeBinary reads the columns of a row that row, a pointer, has, and its binary columns.
func decodeBinary(entity []byte, row any, names []string) (binaries, error) {
	if err := decode(entity, row); err != nil {
		return nil, err
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(entity, &all); err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	columns := binaries{}
	for _, name := range names {
		if value := all[name]; value != nil {
			var b []byte
			if err := json.Unmarshal(value, &b); err != nil {
				return nil, fmt.Errorf("row: column %s: %w", name, err)
			}
			columns[name] = b
		}
	}
	return columns, nil
}

// Staged implements verdict.Store.
func (s *State) Staged(ctx context.Context, place verdict.Place, records bool) iter.Seq2[verdict.Staged, error] {
	names := chunkNames(mostChunks, connectsColumn, expiriesColumn, refusalsColumn)
	if records {
		names = append(names, chunkNames(mostChunks, recordsColumn)...)
	}
	return func(yield func(verdict.Staged, error) bool) {
		t := s.staged(place.Bucket)
		for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{
			Filter: to.Ptr("PartitionKey eq " + quoted(stagedPartition(place))), Select: to.Ptr("PartitionKey,RowKey,Hub," + strings.Join(names, ",")),
		}) {
			if errors.Is(err, alert.ErrAbsent) {
				return
			}
			if err != nil {
				yield(verdict.Staged{}, err)
				return
			}
			var row struct {
				key
				Hub string
			}
			columns, err := decodeBinary(entity, &row, names)
			if err != nil {
				yield(verdict.Staged{}, fmt.Errorf("table %q: %w", t.name, err))
				return
			}
			if !yield(verdict.Staged{
				Place: place, Key: row.RowKey, HubID: row.Hub, Connects: columns.join(connectsColumn), Expiries: columns.join(expiriesColumn),
				Refusals: columns.join(refusalsColumn), Records: columns.join(recordsColumn),
			}, nil) {
				return
			}
		}
	}
}

// markRow is a mark. What counts is that it is there, and its ETag.
type markRow struct {
	key
	Hub    string
	Bucket int32
	Level  int32
	ETag   azcore.ETag `json:"odata.etag,omitzero"` // of the row that was read
	// Timestamp is when the row was written, as the service says
	// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model#system-properties).
	Timestamp time.Time `json:",omitzero"`
}

func newMarkRow(m verdict.Mark) markRow {
	// A bucket has 32 bits until the year 42,000.
	return markRow{key: key{openPartition, markKey(m.Place, m.Level)}, Hub: m.Hub, Bucket: int32(m.Bucket), Level: int32(m.Level)} // #nosec G115 -- see above
}

// Mark implements verdict.Store.
func (s *State) Mark(ctx context.Context, marks []verdict.Mark) error {
	for part := range slices.Chunk(marks, maxEntities) {
		var actions []aztables.TransactionAction
		for _, m := range part {
			entity, err := json.Marshal(newMarkRow(m))
			if err != nil {
				return fmt.Errorf("mark: %w", err)
			}
			actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeInsertReplace, Entity: entity})
		}
		if err := s.marks().write(ctx, actions); err != nil {
			return err
		}
	}
	return nil
}

// Open implements verdict.Store.
func (s *State) Open(ctx context.Context) iter.Seq2[verdict.Mark, error] {
	return func(yield func(verdict.Mark, error) bool) {
		for m, err := range s.read(ctx, "PartitionKey eq "+quoted(openPartition)) {
			if !yield(m.Mark, err) {
				return
			}
		}
	}
}

// Marked implements verdict.Store.
func (s *State) Marked(ctx context.Context, place verdict.Place, level verdict.Level) (marks []verdict.Marked, err error) {
	for m, err := range s.read(ctx, fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey le %s",
		quoted(openPartition), quoted(markKey(place, verdict.Open)), quoted(markKey(place, level)))) {
		if err != nil {
			return nil, err
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// read returns the marks that a filter asks for. It ends at the first error.
func (s *State) read(ctx context.Context, filter string) iter.Seq2[verdict.Marked, error] {
	return func(yield func(verdict.Marked, error) bool) {
		t := s.marks()
		for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{Filter: &filter, Format: to.Ptr(aztables.MetadataFormatFull)}) {
			if errors.Is(err, alert.ErrAbsent) {
				return
			}
			var row markRow
			if err == nil {
				if err = decode(entity, &row); err != nil {
					err = fmt.Errorf("table %q: %w", t.name, err)
				}
			}
			if err != nil {
				yield(verdict.Marked{}, err)
				return
			}
			m := verdict.Mark{Place: verdict.Place{Hub: row.Hub, Bucket: verdict.Bucket(row.Bucket)}, Level: verdict.Level(row.Level)}
			if !yield(verdict.Marked{Mark: m, ETag: verdict.ETag(row.ETag), At: row.Timestamp}, nil) {
				return
			}
		}
	}
}

// Unmark implements verdict.Store.
func (s *State) Unmark(ctx context.Context, mark verdict.Marked) error {
	t := s.marks()
	_, err := t.client.DeleteEntity(ctx, openPartition, markKey(mark.Place, mark.Level), &aztables.DeleteEntityOptions{IfMatch: to.Ptr(azcore.ETag(mark.ETag))})
	return t.conditional(err)
}

// conditional explains the error of a write on condition.
func (t table) conditional(err error) error {
	if _, conflict := t.conflict(err); conflict {
		return fmt.Errorf("table %q: %w", t.name, verdict.ErrConflict)
	}
	if err != nil {
		return t.explain("write", err)
	}
	return nil
}

// verdictRow is a verdict row without its items.
type verdictRow struct {
	key
	Hub                         string
	Seq, Published, Level       int32
	Renewed, Elsewhere          int32
	Reconnected, ReconnectedSeq int32
	Refused                     counts[logs.Cause] `json:",omitzero"`
	Unknown                     counts[string]     `json:",omitzero"`
	Held                        time.Time          `json:",omitzero"`
}

// bucket returns the bucket that the row is about.
func (r verdictRow) bucket() (verdict.Bucket, error) {
	b, err := strconv.ParseInt(r.RowKey, 10, 64)
	if err != nil {
		return 0, r.wrong("RowKey", err)
	}
	return verdict.Bucket(b), nil
}

// counts are numbers by name, in a column as JSON.
type counts[K ~string] map[K]int

func (c counts[K]) MarshalText() ([]byte, error) {
	return json.Marshal(map[K]int(c), json.Deterministic(true))
}

func (c *counts[K]) UnmarshalText(b []byte) error { return json.Unmarshal(b, (*map[K]int)(c)) }

// itemsColumn is the name of the columns with the items of a verdict row.
const itemsColumn = "Items"

// Row implements verdict.Store.
func (s *State) Row(ctx context.Context, place verdict.Place) (verdict.Row, verdict.ETag, error) {
	t, k := s.verdicts(place.Bucket), verdictKey(place)
	response, err := t.client.GetEntity(ctx, k.PartitionKey, k.RowKey, nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return verdict.Row{}, "", nil
	case err != nil:
		return verdict.Row{}, "", t.explain("read", err)
	}
	var row verdictRow
	columns, err := decodeBinary(response.Value, &row, chunkNames(mostChunks, itemsColumn))
	if err != nil {
		return verdict.Row{}, "", fmt.Errorf("table %q: %w", t.name, err)
	}
	items, err := verdict.UnpackItems(columns.join(itemsColumn))
	if err != nil {
		return verdict.Row{}, "", fmt.Errorf("table %q: %w", t.name, k.wrong(itemsColumn, err))
	}
	return verdict.Row{
		Place: place, Seq: int(row.Seq), Published: int(row.Published), Level: verdict.Level(row.Level),
		Renewed: int(row.Renewed), Elsewhere: int(row.Elsewhere), Reconnected: verdict.Version{N: int(row.Reconnected), Seq: int(row.ReconnectedSeq)},
		Refused: row.Refused, Unknown: row.Unknown, Held: row.Held, Items: items,
	}, verdict.ETag(response.ETag), nil
}

// Reconnected implements verdict.Store. It asks one range for each UTC day of the buckets.
func (s *State) Reconnected(ctx context.Context, hub string, from, until verdict.Bucket) (map[verdict.Bucket]int, error) {
	all := map[verdict.Bucket]int{}
	for first := from; first <= until; {
		day := first.Start()
		last := min(until, verdict.BucketOf(alert.Day(day).AddDate(0, 0, 1))-1)
		t := s.verdicts(first)
		for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{
			Filter: to.Ptr(fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey le %s", quoted(partitionOf(hub, day).String()), quoted(bucketKey(first)), quoted(bucketKey(last)))),
			Select: to.Ptr("PartitionKey,RowKey,Reconnected"),
		}) {
			if errors.Is(err, alert.ErrAbsent) {
				break
			}
			if err != nil {
				return nil, err
			}
			var row verdictRow
			if err := decode(entity, &row); err != nil {
				return nil, fmt.Errorf("table %q: %w", t.name, err)
			}
			if row.Reconnected == 0 {
				continue
			}
			b, err := row.bucket()
			if err != nil {
				return nil, fmt.Errorf("table %q: %w", t.name, err)
			}
			all[b] = int(row.Reconnected)
		}
		first = last + 1
	}
	return all, nil
}

// beginsPartition has a row for each hub of which a record was ever staged.
const beginsPartition = "begins"

// beginRow is a verdict.Begin.
type beginRow struct {
	key
	Hub          string
	Bucket, Told int32
}

// Begin implements verdict.Store.
func (s *State) Begin(ctx context.Context, hub string) (verdict.Begin, verdict.ETag, error) {
	t := s.marks()
	response, err := t.client.GetEntity(ctx, beginsPartition, hubKey(hub), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return verdict.Begin{}, "", nil
	case err != nil:
		return verdict.Begin{}, "", t.explain("read", err)
	}
	var row beginRow
	if err := decode(response.Value, &row); err != nil {
		return verdict.Begin{}, "", fmt.Errorf("table %q: %w", t.name, err)
	}
	return verdict.Begin{Hub: row.Hub, Bucket: verdict.Bucket(row.Bucket), Told: verdict.Bucket(row.Told)}, verdict.ETag(response.ETag), nil
}

// PutBegin implements verdict.Store.
func (s *State) PutBegin(ctx context.Context, begin verdict.Begin, etag verdict.ETag) error {
	row := beginRow{key{beginsPartition, hubKey(begin.Hub)}, begin.Hub, int32(begin.Bucket), int32(begin.Told)} // #nosec G115 -- see newMarkRow
	entity, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("where the log begins: %w", err)
	}
	_, err = s.marks().put(ctx, entity, etag)
	return err
}

// Put implements verdict.Store.
func (s *State) Put(ctx context.Context, row verdict.Row, etag verdict.ETag) (verdict.ETag, error) {
	t, k := s.verdicts(row.Bucket), verdictKey(row.Place)
	items := verdict.PackItems(row.Items)
	if len(items) > mostChunks*maxBinary {
		return "", fmt.Errorf("table %q: row %s %s: %d items are too many", t.name, k.PartitionKey, k.RowKey, len(row.Items))
	}
	columns := map[string]any{
		"PartitionKey": k.PartitionKey, "RowKey": k.RowKey, "Hub": row.Hub,
		"Seq": row.Seq, "Published": row.Published, "Level": int(row.Level), "Renewed": row.Renewed,
	}
	if row.Elsewhere > 0 {
		columns["Elsewhere"] = row.Elsewhere
	}
	if row.Reconnected.Seq > 0 {
		columns["Reconnected"], columns["ReconnectedSeq"] = row.Reconnected.N, row.Reconnected.Seq
	}
	if len(row.Refused) > 0 {
		columns["Refused"] = counts[logs.Cause](row.Refused)
	}
	if len(row.Unknown) > 0 {
		columns["Unknown"] = counts[string](row.Unknown)
	}
	if !row.Held.IsZero() {
		columns["Held"] = row.Held.UTC()
	}
	chunks(columns, itemsColumn, items)
	entity, err := json.Marshal(columns, json.Deterministic(true))
	if err != nil {
		return "", fmt.Errorf("table %q: %w", t.name, err)
	}
	return t.put(ctx, entity, etag)
}

// put writes a row on condition that its ETag is still etag, or that there is none if etag is empty.
func (t table) put(ctx context.Context, entity []byte, etag verdict.ETag) (verdict.ETag, error) {
	if etag != "" {
		response, err := t.client.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: to.Ptr(azcore.ETag(etag)), UpdateMode: aztables.UpdateModeReplace})
		return verdict.ETag(response.ETag), t.conditional(err)
	}
	response, err := t.client.AddEntity(ctx, entity, nil)
	if err != nil && t.missing(ctx, err) {
		response, err = t.client.AddEntity(ctx, entity, nil)
	}
	return verdict.ETag(response.ETag), t.conditional(err)
}

// clockPartition has a row for each progress of the log.
const clockPartition = "clock"

// progressRow is a verdict.Progress.
type progressRow struct {
	key
	Name          string
	At, To, Until time.Time `json:",omitzero"`
}

// SetProgress implements verdict.Progresses.
func (s *State) SetProgress(ctx context.Context, name string, p verdict.Progress) error {
	entity, err := json.Marshal(progressRow{key{clockPartition, escape(name)}, name, p.At.UTC(), p.To.UTC(), p.Until.UTC()})
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	return s.marks().write(ctx, []aztables.TransactionAction{{ActionType: aztables.TransactionTypeInsertReplace, Entity: entity}})
}

// droppedPartition has a row for each day whose records were dropped.
const droppedPartition = "dropped"

// Dropped implements verdict.Store.
func (s *State) Dropped(ctx context.Context, b verdict.Bucket) (bool, error) {
	t := s.marks()
	_, err := t.client.GetEntity(ctx, droppedPartition, b.Start().Format(dayFormat), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return false, nil
	case err != nil:
		return false, t.explain("read", err)
	}
	return true, nil
}

// tableBeingDeleted is what the service says of a table for a while after it was deleted. Nothing
// can be read from it, and no other one can be made
// (https://learn.microsoft.com/rest/api/storageservices/delete-table#remarks).
const tableBeingDeleted aztables.TableErrorCode = "TableBeingDeleted"

// dayFormat is a day as names of tables have it.
const dayFormat = "20060102"

// Expire drops the tables of records whose day has been over for three days
// (verdict.Droppable), and returns how many it dropped. Verdict rows stay. A table that a
// marked verdict may still read stays until the next time. First it writes down that records of
// the day are dropped, because a verdict that is derived afterwards from a record that came
// very late must not take anything back.
//
// A record that is staged in the moment between the look at the marks and the drop is lost.
// That can only be a record that comes three days late. If the end of a session comes that
// late and the connection after it was dropped, the device counts as missing.
func (s *State) Expire(ctx context.Context, now time.Time) (dropped int, err error) {
	marked := map[string]bool{}
	for m, err := range s.Open(ctx) {
		if err != nil {
			return 0, err
		}
		// A verdict reads from the day before its own to two days after it.
		for n := -1; n <= 2; n++ {
			marked[m.Bucket.Start().AddDate(0, 0, n).Format(dayFormat)] = true
		}
	}
	return s.account.dropDays(ctx, s.prefix+"staged", nothing, func(day time.Time) (bool, error) {
		name := day.Format(dayFormat)
		if marked[name] || !verdict.Droppable(verdict.BucketOf(day), now) {
			return false, nil
		}
		entity, err := json.Marshal(key{droppedPartition, name})
		if err != nil {
			return false, err
		}
		err = s.marks().write(ctx, []aztables.TransactionAction{{ActionType: aztables.TransactionTypeInsertReplace, Entity: entity}})
		return err == nil, err
	})
}
