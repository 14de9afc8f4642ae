package table

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
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
	Body           string // without secrets, the first 32,000 characters
	BodySha256     string // of what came, in hexadecimal
	Size           string // bytes that came
	SizeType       string `json:"Size@odata.type"`
	Parts          int32  // further rows that hold the whole body, if it is longer
	QuarantinedUtc string
	TimeType       string `json:"QuarantinedUtc@odata.type"`
}

// Quarantine implements alert.Store.
func (s *Store) Quarantine(ctx context.Context, q alert.Quarantined) error {
	partition, id := escape(q.Function), hash(q.Function, string(q.Body))
	whole := alert.Redact(q.Body)
	h := head{
		key:            key{partition, id},
		Function:       column(q.Function),
		EventId:        column(q.EventID),
		Reason:         column(q.Reason),
		Body:           column(string(q.Body)),
		BodySha256:     sha256Hex(q.Body),
		Size:           fmt.Sprint(q.Size),
		SizeType:       edmInt64,
		QuarantinedUtc: edmTime(s.now()),
		TimeType:       edmDateTime,
	}
	if h.Body != string(whole) {
		for ; len(whole) > 0; h.Parts++ {
			part := map[string]any{"PartitionKey": partition, "RowKey": fmt.Sprintf("%s%s%02d", id, separator, h.Parts)}
			for i := 0; i < partColumns && len(whole) > 0; i++ {
				n := min(len(whole), partColumn)
				name := fmt.Sprintf("Body%d", i)
				part[name], part[name+"@odata.type"] = whole[:n], edmBinary
				whole = whole[n:]
			}
			if err := s.insert(ctx, part); err != nil {
				return err
			}
		}
	}
	return s.insert(ctx, h)
}

// insert adds a row to the quarantine, unless it is there.
func (s *Store) insert(ctx context.Context, row any) error {
	entity, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("quarantine row: %w", err)
	}
	_, err = s.quarantine.client.AddEntity(ctx, entity, nil)
	if s.quarantine.missing(ctx, err) {
		_, err = s.quarantine.client.AddEntity(ctx, entity, nil)
	}
	if err != nil && !hasCode(err, aztables.EntityAlreadyExists) {
		return s.quarantine.explain("quarantine", err)
	}
	return nil
}
