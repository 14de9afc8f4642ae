package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// A quarantined event is one row, in the partition of its function, known by
// the hash of its body. A body that is too long for a column is kept whole in
// further rows beside it, which are written first: where there is a head, there
// is everything.
//
//	CertificateAdded   <hash>
//	CertificateAdded   <hash>|00, <hash>|01, …
const (
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

	// The last two are there once the event has been redriven.
	RedrivenUtc     string `json:",omitzero"`
	RedrivenType    string `json:"RedrivenUtc@odata.type,omitzero"`
	RedrivenOutcome string `json:",omitzero"`
}

// Quarantine is the table of what could not be judged. Its methods may be called
// at the same time.
type Quarantine struct {
	table table
	now   func() time.Time
}

// Quarantine returns the table of what could not be judged with this name. It does
// not connect: a table that cannot be reached shows at the first request.
func (a *Account) Quarantine(name string) *Quarantine { return &Quarantine{a.table(name), time.Now} }

// Quarantine implements alert.Quarantine.
func (q *Quarantine) Quarantine(ctx context.Context, e alert.Quarantined) error {
	partition, id := escape(e.Function), hash(e.Function, string(e.Body))
	whole := redactedBody(e.Body)
	h := head{
		key:            key{partition, id},
		Function:       clean(e.Function),
		EventId:        clean(e.EventID),
		Reason:         clean(e.Reason),
		Body:           jsonColumn(whole),
		BodySha256:     sha256Hex(e.Body),
		Size:           fmt.Sprint(e.Size),
		SizeType:       edmInt64,
		QuarantinedUtc: edmTime(q.now()),
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

func partKey(id string, part int32) string { return fmt.Sprintf("%s%s%02d", id, separator, part) }

func partName(column int) string { return fmt.Sprintf("Body%d", column) }

// Held is an event in the quarantine. Its Body is without secrets, and so not
// what came byte by byte.
type Held struct {
	ID string // in hexadecimal, of its function and what came
	alert.Quarantined
	BodySha256    string    // of what came, in hexadecimal
	QuarantinedAt time.Time // when it came for the first time
	RedrivenAt    time.Time // when Redriven marked it; zero if nobody has
	Outcome       string    // of redriving it

	key   key
	parts int32
	etag  azcore.ETag
}

// ErrChanged is wrapped by the errors of Redriven and Delete for an event that
// somebody else has marked or deleted since it was read.
var ErrChanged = errors.New("changed by somebody else")

// heldColumns are all columns of a head but its body.
const heldColumns = "PartitionKey,RowKey,Function,EventId,Reason,BodySha256,Size,Parts,QuarantinedUtc,RedrivenUtc,RedrivenOutcome"

// List returns the events in the quarantine whose ids begin with id,
// which may be empty, without their bodies, function by function. It ends at the
// first error.
func (q *Quarantine) List(ctx context.Context, id string) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		options := &aztables.ListEntitiesOptions{Select: to.Ptr(heldColumns)}
		if id != "" {
			options.Filter = to.Ptr(fmt.Sprintf("RowKey ge %s and RowKey lt %s", quoted(id), quoted(id+afterHex)))
		}
		for pages := q.table.client.NewListEntitiesPager(options); pages.More(); {
			page, err := pages.NextPage(ctx)
			if hasCode(err, aztables.TableNotFound) {
				yield(Held{}, q.table.absent("nothing was ever quarantined here"))
				return
			}
			if err != nil {
				yield(Held{}, q.table.explain("list", err))
				return
			}
			for _, entity := range page.Entities {
				h, err := decodeHead(entity)
				if err == nil && strings.Contains(h.RowKey, separator) {
					continue // a further row of the one before
				}
				var held Held
				if err == nil {
					held, err = h.held()
				}
				if !yield(held, err) || err != nil {
					return
				}
			}
		}
	}
}

// afterHex is a character after all of those in an id.
const afterHex = "g"

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
	if held, err = h.held(); err != nil {
		return Held{}, err
	}
	held.etag = response.ETag
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

// Redriven marks an event that Whole returned as judged in the end, with what
// came of it. An error that is ErrChanged means that somebody else marked or
// deleted it meanwhile.
func (q *Quarantine) Redriven(ctx context.Context, held Held, outcome string) error {
	entity, err := json.Marshal(struct {
		key
		RedrivenUtc     string
		RedrivenType    string `json:"RedrivenUtc@odata.type"`
		RedrivenOutcome string
	}{held.key, edmTime(q.now()), edmDateTime, clean(outcome)})
	if err != nil {
		return fmt.Errorf("quarantine row %s: %w", held.ID, err)
	}
	_, err = q.table.client.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: &held.etag, UpdateMode: aztables.UpdateModeMerge})
	return q.changed("mark", held, err)
}

// Delete removes an event that Whole returned: its head first, so that where
// there is a head there is everything. An error that is ErrChanged means that
// somebody else marked or deleted it meanwhile.
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
		ID:          h.RowKey,
		Quarantined: alert.Quarantined{Function: h.Function, EventID: h.EventId, Reason: h.Reason},
		BodySha256:  h.BodySha256,
		Outcome:     h.RedrivenOutcome,
		key:         h.key,
		parts:       h.Parts,
	}
	var err error
	if held.Size, err = strconv.ParseInt(h.Size, 10, 64); err != nil {
		return Held{}, fmt.Errorf("quarantine row %s: Size: %w", h.RowKey, err)
	}
	if held.QuarantinedAt, err = time.Parse(time.RFC3339Nano, h.QuarantinedUtc); err != nil {
		return Held{}, fmt.Errorf("quarantine row %s: QuarantinedUtc: %w", h.RowKey, err)
	}
	if h.RedrivenUtc == "" {
		return held, nil
	}
	if held.RedrivenAt, err = time.Parse(time.RFC3339Nano, h.RedrivenUtc); err != nil {
		return Held{}, fmt.Errorf("quarantine row %s: RedrivenUtc: %w", h.RowKey, err)
	}
	return held, nil
}
