package table

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
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
	"hubwatch/handlers/secret"
)

// A quarantined event is one row, known by the hash of its function and its body. A
// body that is too long for a column is kept whole in further rows. They are written
// first: where there is a head, there is everything. Heads and further rows are two
// ranges of the partition of the function and the UTC day on which the event came:
//
//	CertificateAdded|79739798   e|<hash>
//	CertificateAdded|79739798   p|<hash>|00, p|<hash>|01, …
//
// The day is the day on which the event came, by the clock of this process. The time
// of the event is not used: an event can have any time, or none, and nobody would
// look at a day of long ago. An event that is delivered again after midnight gets a
// second row with the same hash, and a reader shows both rows as one event. Event
// Grid delivers for 24 hours, so an event has two rows at most. A message of the
// relay whose batch fails for days has one row a day.
const (
	heldRange = "e"
	partRange = "p"

	// A binary column takes 64 KiB and an entity 1 MiB in all, as base64 here
	// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
	partColumn  = 64 << 10
	partColumns = 8
)

// head is the row of a quarantined event.
type head struct {
	key
	Function       string
	EventId        string
	Reason         string
	Body           string // without secrets; if it is very long, with its longest strings cut, or its beginning
	BodySha256     string // of what came, in hexadecimal
	Size           string // bytes that came
	SizeType       string `json:"Size@odata.type"`
	Parts          int32  // further rows that hold the whole body, if it is longer
	QuarantinedUtc string
	TimeType       string `json:"QuarantinedUtc@odata.type"`

	redriven
	resolved
	ETag azcore.ETag `json:"odata.etag,omitzero"` // of the row that was read
}

// redriven has the columns of an event that has been judged again.
type redriven struct {
	RedrivenUtc     string `json:",omitzero"`
	RedrivenType    string `json:"RedrivenUtc@odata.type,omitzero"`
	RedrivenOutcome string `json:",omitzero"`
}

// resolved has the columns of an event that somebody took out.
type resolved struct {
	ResolvedUtc  string `json:",omitzero"`
	ResolvedType string `json:"ResolvedUtc@odata.type,omitzero"`
	ResolvedBy   string `json:",omitzero"`
	ResolvedNote string `json:",omitzero"`
}

// Quarantine is the table of what could not be judged. Its methods may be called
// at the same time.
type Quarantine struct {
	table table
	now   func() time.Time
	long  chan struct{} // held while a long body is kept
}

// longBody is how many bytes a body has that is kept alone. A body becomes a dozen copies
// on its way to the table, and each lane of the host can have one of 8 MiB at the same time.
// A usual event is never that long: Event Grid takes 1 MB.
const longBody = 1 << 20

// Quarantine returns the table of what could not be judged with this name. It does
// not connect: a table that cannot be reached shows at the first request.
func (a *Account) Quarantine(name string) *Quarantine {
	return &Quarantine{a.table(name, "nothing was ever quarantined here"), time.Now, make(chan struct{}, 1)}
}

// Quarantine implements alert.Quarantine.
func (q *Quarantine) Quarantine(ctx context.Context, e alert.Quarantined) error {
	if len(e.Body) > longBody {
		select {
		case q.long <- struct{}{}:
			defer func() { <-q.long }()
		case <-ctx.Done():
			return fmt.Errorf("quarantine: another long body is being kept: %w", context.Cause(ctx))
		}
	}
	now, id := q.now(), hash(e.Function, string(e.Body))
	partition := partition{escape(e.Function), invert(now)}.String()
	whole := redactedBody(e.Body)
	h := head{
		key:            key{partition, heldKey(id)},
		Function:       clean(e.Function),
		EventId:        column(e.EventID),
		Reason:         clean(e.Reason),
		Body:           jsonColumn(whole),
		BodySha256:     sha256Hex(e.Body),
		Size:           fmt.Sprint(e.Size),
		SizeType:       edmInt64,
		QuarantinedUtc: edmTime(now),
		TimeType:       edmDateTime,
	}
	if h.Body != string(whole) {
		for ; len(whole) > 0; h.Parts++ {
			part := map[string]any{"PartitionKey": partition, "RowKey": partKey(id, h.Parts)}
			for i := 0; i < partColumns && len(whole) > 0; i++ {
				n := min(len(whole), partColumn)
				name := partName(i)
				part[name], part[name+"@odata.type"] = whole[:n], edmBinary
				whole = whole[n:]
			}
			if err := q.insert(ctx, part); err != nil {
				return err
			}
		}
	}
	return q.insert(ctx, h)
}

// clean makes a foreign string fit to stand in a column: without secrets, too.
func clean(s string) string { return column(secret.RedactString(s)) }

// insert adds a row to the quarantine, unless it is there.
func (q *Quarantine) insert(ctx context.Context, row any) error {
	entity, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("quarantine row: %w", err)
	}
	_, err = q.table.client.AddEntity(ctx, entity, nil)
	if q.table.missing(ctx, err) {
		_, err = q.table.client.AddEntity(ctx, entity, nil)
	}
	if err != nil && !hasCode(err, aztables.EntityAlreadyExists) {
		return q.table.explain("quarantine", err)
	}
	return nil
}

func heldKey(id string) string { return heldRange + separator + id }

func partKey(id string, part int32) string {
	return fmt.Sprintf("%s%s%s%s%02d", partRange, separator, id, separator, part)
}

func partName(column int) string { return fmt.Sprintf("Body%d", column) }

// Held is an event in the quarantine. Its Body is without secrets, and so not
// what came byte by byte.
type Held struct {
	ID string // in hexadecimal, of its function and what came
	alert.Quarantined
	BodySha256    string    // of what came, in hexadecimal
	QuarantinedAt time.Time // when it came for the first time on its day
	RedrivenAt    time.Time // when Redriven marked it; zero if nobody has
	Outcome       string    // of redriving it
	ResolvedAt    time.Time // when Resolve took it out; zero if nobody has
	ResolvedBy    string    // who took it out, as they said; may be empty
	Note          string    // why it was taken out

	key   key
	parts int32
	etag  azcore.ETag
}

// Waits reports whether the event has neither been judged nor taken out.
func (h Held) Waits() bool { return h.RedrivenAt.IsZero() && h.ResolvedAt.IsZero() }

// Waiting returns how many events wait to be judged or taken out, and whether there are
// more than most, which it does not count.
func (q *Quarantine) Waiting(ctx context.Context, most int) (n int, more bool, err error) {
	for held, err := range q.List(ctx, QuarantineQuery{}) {
		switch {
		case errors.Is(err, alert.ErrAbsent):
			return 0, false, nil
		case err != nil:
			return 0, false, err
		case !held.Waits():
		case n == most:
			return n, true, nil
		default:
			n++
		}
	}
	return n, false, nil
}

// Backlog is how many events a function could not judge, which wait to be judged or taken
// out.
type Backlog struct {
	Function string
	Waiting  int
	Recent   int       // those of them that came in the last 24 hours
	Oldest   time.Time // when the first of those that wait came
	// Raised says that an alert of the function is known of about the time of Oldest, or later.
	// It is all that is stored of events that could be judged: those in which nothing is found
	// leave no trace.
	Raised bool
}

// Misfit says that a function probably, or perhaps, does not fit its events; "" if nothing hints
// at that. Single events that could not be judged are odd, or somebody's tries. A custom alert
// that has raised no alert since then is another matter: its events can be as rare as the
// deletion of a hub.
func (b Backlog) Misfit(custom bool) string {
	const many = 10
	late := fmt.Sprintf("%s could not judge %d events in the last 24 hours", b.Function, b.Recent)
	switch {
	case custom && !b.Raised && b.Waiting > 0:
		events := "1 event"
		if b.Waiting != 1 {
			events = fmt.Sprintf("%d events", b.Waiting)
		}
		return fmt.Sprintf("%s could not judge %s since %s, and no alert of it is known since then. Its condition may fit none of its events.", b.Function, events, b.Oldest.UTC().Format(time.DateOnly))
	case b.Recent < many:
		return ""
	case custom:
		return late + ", and others it could: it has raised alerts. Some of its events probably lack what its condition reads."
	}
	return late + "."
}

// mostLooked is how far back Know looks for alerts.
const mostLooked = 30 * 24 * time.Hour

// Know finds out which functions with a backlog have raised an alert since then. kind returns
// the alert type of a function, "" if it has none.
func (a *Alerts) Know(ctx context.Context, list []Backlog, now time.Time, kind func(function string) string) error {
	for i, b := range list {
		alertType := kind(b.Function)
		if alertType == "" {
			continue
		}
		since := b.Oldest.Add(-time.Hour) // An alert has the time of its event, which can be late.
		if earliest := now.Add(-mostLooked); since.Before(earliest) {
			since = earliest
		}
		for _, suppressed := range []bool{false, true} {
			for _, err := range a.List(ctx, alert.Query{Type: alertType, Since: since, Suppressed: suppressed}) {
				if err != nil && !errors.Is(err, alert.ErrAbsent) {
					return err
				}
				list[i].Raised = list[i].Raised || err == nil
				break
			}
		}
	}
	return nil
}

// Backlogs returns the backlog of each function that has one, by name. It reads the newest
// rows, most of them, and reports whether there are more.
func (q *Quarantine) Backlogs(ctx context.Context, now time.Time, most int) (list []Backlog, more bool, err error) {
	counts, seen, rows := map[string]*Backlog{}, map[string]bool{}, 0
	for held, err := range q.List(ctx, QuarantineQuery{}) {
		switch {
		case errors.Is(err, alert.ErrAbsent):
			return nil, false, nil
		case err != nil:
			return nil, false, err
		}
		if more = rows == most; more {
			break
		}
		rows++
		if !held.Waits() || seen[held.ID] { // it waits as long as one of its rows does
			continue
		}
		seen[held.ID] = true
		b := counts[held.Function]
		if b == nil {
			b = &Backlog{Function: held.Function, Oldest: held.QuarantinedAt}
			counts[held.Function] = b
		}
		b.Waiting++
		if held.QuarantinedAt.Before(b.Oldest) {
			b.Oldest = held.QuarantinedAt
		}
		if now.Sub(held.QuarantinedAt) < 24*time.Hour {
			b.Recent++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, *counts[name])
	}
	return list, more, nil
}

// ErrChanged is wrapped by the errors of Redriven, Resolve and Delete for an event
// that somebody else has marked or deleted since it was read.
var ErrChanged = errors.New("changed by somebody else")

// heldColumns are all columns of a head but its body.
const heldColumns = "PartitionKey,RowKey,Function,EventId,Reason,BodySha256,Size,Parts,QuarantinedUtc,RedrivenUtc,RedrivenOutcome,ResolvedUtc,ResolvedBy,ResolvedNote"

// QuarantineQuery says which events in the quarantine to list. Each empty field
// stands for any.
type QuarantineQuery struct {
	ID       string // the beginning of the id, in lower case
	Function string // the function that the event was delivered to, as it is spelled
	// Since and Until bound when the event came, both included.
	Since, Until time.Time
}

// List returns the events in the quarantine that query asks for, without their
// bodies, the newest first. An event that came on several days is there several
// times, with the same ID. List asks only for the days that query allows. It holds the
// events of one day in memory, and ends at the first error.
func (q *Quarantine) List(ctx context.Context, query QuarantineQuery) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		for day, err := range q.table.days(ctx, escape(query.Function), spanOf(query.Since, query.Until)) {
			var events []Held
			if err == nil {
				events, err = q.heldOn(ctx, day, query)
			}
			if err != nil {
				yield(Held{}, err)
				return
			}
			for _, held := range events {
				if !yield(held, nil) {
					return
				}
			}
		}
	}
}

// heldOn returns the events in the partitions of one day that query asks for, the
// newest first.
func (q *Quarantine) heldOn(ctx context.Context, day []partition, query QuarantineQuery) ([]Held, error) {
	functions, err := each(ctx, day, func(ctx context.Context, p partition) ([]Held, error) {
		filter := fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey lt %s",
			quoted(p.String()), quoted(heldKey(query.ID)), quoted(heldKey(query.ID)+afterSeparator))
		var events []Held
		for entity, err := range q.table.entities(ctx, &aztables.ListEntitiesOptions{Select: to.Ptr(heldColumns), Filter: &filter}) {
			if err != nil {
				return nil, err
			}
			h, err := decodeHead(entity)
			if err != nil {
				return nil, err
			}
			held, err := h.held()
			if err != nil {
				return nil, err
			}
			if !held.QuarantinedAt.Before(query.Since) && (query.Until.IsZero() || !held.QuarantinedAt.After(query.Until)) {
				events = append(events, held)
			}
		}
		return events, nil
	})
	events := slices.Concat(functions...)
	slices.SortFunc(events, func(a, b Held) int {
		return cmp.Or(b.QuarantinedAt.Compare(a.QuarantinedAt), strings.Compare(a.ID, b.ID))
	})
	return events, err
}

// Whole reads an event that List returned once more, now with its body.
func (q *Quarantine) Whole(ctx context.Context, held Held) (Held, error) {
	response, err := q.table.client.GetEntity(ctx, held.key.PartitionKey, held.key.RowKey, nil)
	if hasCode(err, aztables.ResourceNotFound) {
		return Held{}, fmt.Errorf("table %q: event %s: %w: deleted", q.table.name, held.ID, ErrChanged)
	}
	if err != nil {
		return Held{}, q.table.explain("read", err)
	}
	h, err := decodeHead(response.Value)
	if err != nil {
		return Held{}, err
	}
	h.ETag = response.ETag
	if held, err = h.held(); err != nil {
		return Held{}, err
	}
	if h.Parts == 0 {
		held.Body = []byte(h.Body)
		return held, nil
	}
	for i := range h.Parts {
		part, err := q.part(ctx, held.key.PartitionKey, partKey(held.ID, i))
		if err != nil {
			return Held{}, err
		}
		held.Body = append(held.Body, part...)
	}
	return held, nil
}

// part returns what one further row has of a body.
func (q *Quarantine) part(ctx context.Context, partition, row string) ([]byte, error) {
	response, err := q.table.client.GetEntity(ctx, partition, row, nil)
	if err != nil {
		return nil, q.table.explain("read", err)
	}
	var columns map[string]jsontext.Value
	if err := json.Unmarshal(response.Value, &columns); err != nil {
		return nil, fmt.Errorf("quarantine row %s: %w", row, err)
	}
	var body []byte
	for i := range partColumns {
		column, ok := columns[partName(i)]
		if !ok {
			break
		}
		var piece []byte // of base64
		if err := json.Unmarshal(column, &piece); err != nil {
			return nil, fmt.Errorf("quarantine row %s: column %s: %w", row, partName(i), err)
		}
		body = append(body, piece...)
	}
	return body, nil
}

// Redriven marks an event as judged in the end, with what came of it. An error that
// is ErrChanged means that somebody else marked or deleted it since it was read.
func (q *Quarantine) Redriven(ctx context.Context, held Held, outcome string) error {
	return q.mark(ctx, "mark", held, struct {
		key
		redriven
	}{held.key, redriven{edmTime(q.now()), edmDateTime, clean(outcome)}})
}

// Resolve takes an event out of what waits. The event stays in the table, with who
// took it out, which may be empty, when, and why. An error that is ErrChanged means
// that somebody else marked or deleted it since it was read.
func (q *Quarantine) Resolve(ctx context.Context, held Held, by, note string) error {
	return q.mark(ctx, "resolve", held, struct {
		key
		resolved
	}{held.key, resolved{edmTime(q.now()), edmDateTime, clean(by), clean(note)}})
}

// mark merges columns into the row of an event, on condition that the row is as it
// was read.
func (q *Quarantine) mark(ctx context.Context, verb string, held Held, columns any) error {
	entity, err := json.Marshal(columns)
	if err != nil {
		return fmt.Errorf("quarantine row %s: %w", held.ID, err)
	}
	_, err = q.table.client.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: &held.etag, UpdateMode: aztables.UpdateModeMerge})
	return q.changed(verb, held, err)
}

// Delete removes an event: its head first, so that where there is a head there is
// everything. An error that is ErrChanged means that somebody else marked or deleted
// it since it was read.
func (q *Quarantine) Delete(ctx context.Context, held Held) error {
	_, err := q.table.client.DeleteEntity(ctx, held.key.PartitionKey, held.key.RowKey, &aztables.DeleteEntityOptions{IfMatch: &held.etag})
	if err := q.changed("delete", held, err); err != nil {
		return err
	}
	for i := range held.parts {
		_, err := q.table.client.DeleteEntity(ctx, held.key.PartitionKey, partKey(held.ID, i), nil)
		if err != nil && !hasCode(err, aztables.ResourceNotFound) {
			return q.table.explain("delete", err)
		}
	}
	return nil
}

// changed explains the error of a write that is on condition that held is as it
// was read.
func (q *Quarantine) changed(verb string, held Held, err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, aztables.UpdateConditionNotSatisfied), hasCode(err, aztables.ResourceNotFound):
		return fmt.Errorf("table %q: %s event %s: %w", q.table.name, verb, held.ID, ErrChanged)
	default:
		return q.table.explain(verb, err)
	}
}

func decodeHead(entity []byte) (head, error) {
	var h head
	if err := json.Unmarshal(entity, &h); err != nil {
		return h, fmt.Errorf("quarantine row: %w", err)
	}
	return h, nil
}

// held returns what the columns of h say.
func (h head) held() (Held, error) {
	held := Held{
		ID:          strings.TrimPrefix(h.RowKey, heldKey("")),
		Quarantined: alert.Quarantined{Function: h.Function, EventID: h.EventId, Reason: h.Reason},
		BodySha256:  h.BodySha256,
		Outcome:     h.RedrivenOutcome,
		ResolvedBy:  h.ResolvedBy,
		Note:        h.ResolvedNote,
		key:         h.key,
		parts:       h.Parts,
		etag:        h.ETag,
	}
	var err error
	if held.Size, err = strconv.ParseInt(h.Size, 10, 64); err != nil {
		return Held{}, fmt.Errorf("quarantine row %s: Size: %w", h.RowKey, err)
	}
	for _, column := range []struct {
		name, text string
		time       *time.Time
	}{{"QuarantinedUtc", h.QuarantinedUtc, &held.QuarantinedAt}, {"RedrivenUtc", h.RedrivenUtc, &held.RedrivenAt}, {"ResolvedUtc", h.ResolvedUtc, &held.ResolvedAt}} {
		if column.text == "" && column.time != &held.QuarantinedAt {
			continue
		}
		if *column.time, err = time.Parse(time.RFC3339Nano, column.text); err != nil {
			return Held{}, fmt.Errorf("quarantine row %s: %s: %w", h.RowKey, column.name, err)
		}
	}
	return held, nil
}
