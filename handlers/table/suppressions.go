package table

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// A suppression is one row. The day on which it expires is the beginning of its key, so
// that the handler reads those that can still match as one range:
//
//	rule   20260501|<id>
const suppressionPartition = "rule"

// keyDay is the form of the day in the key of a suppression.
const keyDay = "20060102"

// suppression is the row of a suppression.
type suppression struct {
	key
	Id                string
	Reason            string
	Owner             string
	CreatedBy         string
	CreatedByObjectId string
	CreatedUtc        string
	CreatedType       string `json:"CreatedUtc@odata.type"`
	StartsUtc         string
	StartsType        string `json:"StartsUtc@odata.type"`
	ExpiresUtc        string
	ExpiresType       string `json:"ExpiresUtc@odata.type"`
	AlertType         string
	HubName           string
	EntityType        string
	Entity            string
	Actor             string
	AddressRange      string
}

// suppressionEnd has the columns of a suppression that was ended.
type suppressionEnd struct {
	key
	EndedBy         string
	EndedByObjectId string
	EndedUtc        string
	EndedType       string `json:"EndedUtc@odata.type"`
}

// Suppressions is the table of suppressions. Its methods may be called at the same
// time.
type Suppressions struct {
	table table
	now   func() time.Time
}

// Suppressions returns the table of suppressions with this name. It does not connect: a
// table that cannot be reached shows at the first request.
func (a *Account) Suppressions(name string) *Suppressions {
	return &Suppressions{a.table(name, "no suppression was ever made here"), time.Now}
}

// List implements alert.Suppressions.
func (s *Suppressions) List(ctx context.Context, since time.Time) (all []alert.Suppression, broken []error, err error) {
	rows, broken, err := s.rows(ctx, since)
	for _, row := range rows {
		all = append(all, row.Suppression)
	}
	slices.SortFunc(all, func(a, b alert.Suppression) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return all, broken, err
}

// Add implements alert.Suppressions. The id of s is not used.
func (s *Suppressions) Add(ctx context.Context, added alert.Suppression) (alert.Suppression, error) {
	added.Reason, added.Owner = clean(added.Reason), clean(added.Owner)
	if err := added.Check(); err != nil { // after what makes texts longer
		return alert.Suppression{}, fmt.Errorf("suppression: %w", err)
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails, since Go 1.24
	added.ID = hex.EncodeToString(id)
	row := suppression{
		key: key{suppressionPartition, suppressionKey(added.Expires, added.ID)}, Id: added.ID,
		Reason: added.Reason, Owner: added.Owner, CreatedBy: column(added.CreatedBy.Name), CreatedByObjectId: column(added.CreatedBy.ObjectID),
		CreatedUtc: edmTime(added.Created), CreatedType: edmDateTime, StartsUtc: edmTime(added.Starts), StartsType: edmDateTime,
		ExpiresUtc: edmTime(added.Expires), ExpiresType: edmDateTime,
		AlertType: added.AlertType, HubName: added.Hub, EntityType: string(added.EntityType), Entity: added.Entity, Actor: added.Actor,
	}
	if added.Addresses.IsValid() {
		row.AddressRange = added.Addresses.String()
	}
	entity, err := json.Marshal(row)
	if err != nil {
		return alert.Suppression{}, fmt.Errorf("table %q: %w", s.table.name, err)
	}
	// A transaction of one row: Azure Monitor counts single insertions into this storage
	// account as rows of the quarantine (infra/main.bicep).
	action := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}
	_, err = s.table.submit(ctx, action)
	if s.table.missing(ctx, err) {
		_, err = s.table.submit(ctx, action)
	}
	// A row that is there already is ours: the answer to the first try was lost.
	if _, there := s.table.conflict(err); err != nil && !there {
		return alert.Suppression{}, s.table.explain("write", err)
	}
	return added, nil
}

// End implements alert.Suppressions.
func (s *Suppressions) End(ctx context.Context, id string, by alert.Person) (alert.Suppression, error) {
	for attempt := 0; ; attempt++ {
		rows, _, err := s.rows(ctx, time.Time{})
		if err != nil {
			return alert.Suppression{}, err
		}
		i := slices.IndexFunc(rows, func(row storedSuppression) bool { return strings.EqualFold(row.ID, id) })
		if i < 0 {
			return alert.Suppression{}, fmt.Errorf("suppression %s: %w", id, alert.ErrNoSuppression)
		}
		row := rows[i]
		if !row.Ended.IsZero() && !row.Ended.After(s.now()) {
			return row.Suppression, nil
		}
		row.EndedBy, row.Ended = by, s.now().UTC()
		entity, err := json.Marshal(suppressionEnd{row.key, column(by.Name), column(by.ObjectID), edmTime(row.Ended), edmDateTime})
		if err != nil {
			return alert.Suppression{}, fmt.Errorf("table %q: %w", s.table.name, err)
		}
		_, err = s.table.submit(ctx, aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, Entity: entity, IfMatch: &row.etag})
		if err == nil {
			return row.Suppression, nil
		}
		// Somebody has changed the row, or the answer to our own change was lost.
		if _, conflict := s.table.conflict(err); !conflict {
			return alert.Suppression{}, s.table.explain("write", err)
		}
		if err := pause(ctx, attempt); err != nil {
			return alert.Suppression{}, fmt.Errorf("table %q: suppression %s is being written by others: %w", s.table.name, id, err)
		}
	}
}

// storedSuppression is a suppression as it stands in the table.
type storedSuppression struct {
	alert.Suppression
	key  key
	etag azcore.ETag
}

// rows returns the rows of suppressions that expire on the day of since or later, and
// what is wrong with the others. A table that does not exist has none.
func (s *Suppressions) rows(ctx context.Context, since time.Time) (rows []storedSuppression, broken []error, err error) {
	filter := "PartitionKey eq " + quoted(suppressionPartition)
	if !since.IsZero() {
		filter += " and RowKey ge " + quoted(since.UTC().Format(keyDay))
	}
	for entity, err := range s.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: &filter}) {
		switch {
		case errors.Is(err, alert.ErrAbsent):
			return nil, nil, nil
		case err != nil:
			return nil, nil, err
		}
		row, err := decodeSuppression(entity)
		if err != nil {
			broken = append(broken, fmt.Errorf("table %q: %w", s.table.name, err))
			continue
		}
		rows = append(rows, row)
	}
	return rows, broken, nil
}

// suppressionKey returns the row key of a suppression.
func suppressionKey(expires time.Time, id string) string {
	return expires.UTC().Format(keyDay) + separator + id
}

// suppressionColumns are the columns that a suppression may have besides its key.
var suppressionColumns = []string{
	"Id", "Reason", "Owner", "CreatedBy", "CreatedByObjectId", "CreatedUtc", "StartsUtc", "ExpiresUtc",
	"AlertType", "HubName", "EntityType", "Entity", "Actor", "AddressRange", "EndedBy", "EndedByObjectId", "EndedUtc",
}

// decodeSuppression reads the row of a suppression, which a person may have typed: the
// letter case of column names, blanks around values, and the types of columns do not
// matter, and a time may be a date. Its error names the row and the column. A column
// that is not known is an error: it may be a condition, of a later version or
// misspelled, without which the suppression would hide more than it should.
func decodeSuppression(entity []byte) (storedSuppression, error) {
	var row storedSuppression
	var columns map[string]jsontext.Value
	if err := json.Unmarshal(entity, &row.key); err != nil {
		return row, fmt.Errorf("row: %w", err)
	}
	if err := json.Unmarshal(entity, &columns); err != nil {
		return row, fmt.Errorf("row: %w", err)
	}
	texts := map[string]string{}
	for name, value := range columns {
		switch {
		case name == "odata.etag":
			_ = json.Unmarshal(value, &row.etag) // the service's own
			continue
		case strings.Contains(name, "odata."), slices.Contains([]string{"PartitionKey", "RowKey", "Timestamp"}, name):
			continue
		}
		i := slices.IndexFunc(suppressionColumns, func(known string) bool { return strings.EqualFold(known, name) })
		if i < 0 {
			return row, row.key.wrong(secret.Visible(name), errors.New("it is not known: want one of "+strings.Join(suppressionColumns, ", ")))
		}
		name = suppressionColumns[i]
		if _, twice := texts[name]; twice {
			return row, row.key.wrong(name, errors.New("it is there twice"))
		}
		text, err := plain(value)
		if err != nil {
			return row, row.key.wrong(name, err)
		}
		texts[name] = strings.TrimSpace(text)
	}
	day, id, _ := strings.Cut(row.key.RowKey, separator)
	if id == "" || texts["Id"] != "" && texts["Id"] != id {
		return row, row.key.wrong("Id", errors.New("want the end of the row key, which is <day of expiry>|<id>"))
	}
	row.Suppression = alert.Suppression{
		ID: id, Reason: texts["Reason"], Owner: texts["Owner"],
		CreatedBy: alert.Person{Name: texts["CreatedBy"], ObjectID: texts["CreatedByObjectId"]},
		AlertType: texts["AlertType"], Hub: texts["HubName"], Entity: texts["Entity"], Actor: texts["Actor"],
		EndedBy: alert.Person{Name: texts["EndedBy"], ObjectID: texts["EndedByObjectId"]},
	}
	for _, column := range []struct {
		name string
		time *time.Time
	}{{"CreatedUtc", &row.Created}, {"StartsUtc", &row.Starts}, {"ExpiresUtc", &row.Expires}, {"EndedUtc", &row.Ended}} {
		var err error
		if *column.time, err = typedTime(texts[column.name]); err != nil {
			return row, row.key.wrong(column.name, err)
		}
	}
	if row.Expires.UTC().Format(keyDay) > day {
		return row, row.key.wrong("ExpiresUtc", errors.New("it is after the day in the row key: to hide more, add another suppression"))
	}
	var err error
	if text := texts["EntityType"]; text != "" {
		i := slices.IndexFunc(alert.EntityTypes, func(known alert.EntityType) bool { return strings.EqualFold(string(known), text) })
		if i < 0 {
			return row, row.key.wrong("EntityType", fmt.Errorf("%q is not a kind of entity: want one of %v", text, alert.EntityTypes))
		}
		row.EntityType = alert.EntityTypes[i]
	}
	if text := texts["AddressRange"]; text != "" {
		if row.Addresses, err = alert.ParseAddresses(text); err != nil {
			return row, row.key.wrong("AddressRange", fmt.Errorf("%q: %w", text, err))
		}
	}
	if err := row.Check(); err != nil {
		return row, fmt.Errorf("row %s %s: %w", row.key.PartitionKey, row.key.RowKey, err)
	}
	return row, nil
}

// plain returns a value of any simple type as a text.
func plain(value jsontext.Value) (string, error) {
	switch value.Kind() {
	case '"':
		var s string
		err := json.Unmarshal(value, &s)
		return s, err
	case jsontext.KindNull:
		return "", nil
	case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		return value.String(), nil
	default:
		return "", errors.New("want a text")
	}
}

// typedTime reads a time that a person may have typed. Without a zone it is UTC, and a
// date is the beginning of that day. An empty text is no time.
func typedTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: want 2026-02-01T08:00:00Z", text)
}
