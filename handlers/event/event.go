// Package event reads what comes in: the envelope that Event Grid delivers, in
// either of its two schemas, the ids of Azure resources, and the operations of
// Azure Resource Manager.
package event

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
	"hubwatch/handlers/secret"
)

// Event is one event, whichever schema it was delivered in. Event Grid's
// eventType, eventTime and topic are CloudEvents' type, time and source
// (https://learn.microsoft.com/azure/event-grid/cloud-event-schema).
type Event struct {
	ID      string         // unique within Source; never empty
	Type    string         // for example Microsoft.Resources.ResourceWriteSuccess; never empty
	Subject string         // for Azure Resource Manager the resource id; never empty
	Source  string         // the topic; may be empty
	Time    time.Time      // when it happened, UTC
	Data    jsontext.Value // its shape depends on Type; never empty or null
	Raw     jsontext.Value // the whole event as it was delivered

	scanned scan.Value // Data, if it was scanned with the whole event
}

// Scanned returns Data as it was scanned with the whole event. It is not there if
// the event was read in another way.
func (e Event) Scanned() scan.Value { return e.scanned }

// Operation returns DecodeOperation of the event's data, without parsing it again.
func (e Event) Operation() (Operation, error) {
	if e.scanned.Kind() == '{' {
		return decodeOperation(payload{scanned: e.scanned}, e.Data)
	}
	return DecodeOperation(e.Data)
}

// OperationName is the name of the operation that the event is about. It can be
// read even if another member of the data cannot. Its error means that the data is
// not the payload of an operation.
func (e Event) OperationName() (string, error) {
	if name := e.scanned.Get("operationName").Text(); name != "" {
		return name, nil
	}
	return OperationName(e.Data)
}

// Lenient reads strings that are not valid UTF-8, or hold half of a surrogate
// pair, as the replacement character. An event must not escape judgement
// because somebody put such bytes in a name. A member that stands twice is
// refused, since no reader can know which of the two counts.
var Lenient = jsontext.AllowInvalidUTF8(true)

// envelope has the members of both schemas; specversion tells them apart.
type envelope struct {
	ID      string         `json:"id"`
	Subject string         `json:"subject"`
	Data    jsontext.Value `json:"-"`
	Span    scan.Span      `json:"data"` // of Data, if the JSON package has read the event

	EventType string `json:"eventType"`
	EventTime string `json:"eventTime"`
	Topic     string `json:"topic"`

	SpecVersion string `json:"specversion"`
	Type        string `json:"type"`
	Time        string `json:"time"`
	Source      string `json:"source"`
	DataBase64  string `json:"data_base64"`
}

// Decode reads one event in Event Grid or CloudEvents 1.0 schema; the event
// itself tells which. Its error says which member is missing or wrong, and means
// that a later attempt would fail too. The event keeps raw, which the caller must
// not change.
func Decode(raw jsontext.Value) (Event, error) {
	var d scan.Doc
	if d.Scan(raw, "", MostValues) {
		return decodeScanned(raw, d.Root())
	}
	return decode(raw)
}

// DecodeScanned is Decode of a text that was scanned already. It saves a pass over
// the text.
func DecodeScanned(v scan.Value) (Event, error) { return decodeScanned(v.Raw(), v) }

// decodeScanned is Decode of raw, which is v, maybe with white space around it.
func decodeScanned(raw jsontext.Value, v scan.Value) (Event, error) {
	if v.Kind() != '{' {
		return decode(raw)
	}
	var e envelope
	var data scan.Value
	for m := v.First(); m != (scan.Value{}); m = m.Next() {
		var field *string
		switch m.Name() {
		case "id":
			field = &e.ID
		case "subject":
			field = &e.Subject
		case "data":
			data, e.Data = m, m.Raw()
		case "eventType":
			field = &e.EventType
		case "eventTime":
			field = &e.EventTime
		case "topic":
			field = &e.Topic
		case "specversion":
			field = &e.SpecVersion
		case "type":
			field = &e.Type
		case "time":
			field = &e.Time
		case "source":
			field = &e.Source
		case "data_base64":
			field = &e.DataBase64
		}
		if field == nil {
			continue
		}
		switch m.Kind() {
		case '"':
			*field = m.Text()
		case 'n':
		default:
			return decode(raw) // which says what is wrong
		}
	}
	return e.event(raw, data)
}

// decode is Decode by the JSON package, which says what is wrong and where.
func decode(raw jsontext.Value) (Event, error) {
	var v envelope
	if err := json.Unmarshal(raw, &v, Lenient); err != nil {
		return Event{}, fmt.Errorf("event: %w", JSONError(err))
	}
	if raw.Kind() != '{' {
		return Event{}, fmt.Errorf("event: want a JSON object, have %v", raw.Kind())
	}
	v.Data = v.Span.In(raw)
	return v.event(raw, scan.Value{})
}

// event returns the event with the members of v, whose data may have been scanned.
func (v envelope) event(raw jsontext.Value, scanned scan.Value) (Event, error) {
	if v.Data.Kind() == 'n' {
		v.Data, scanned = nil, scan.Value{} // null says no more than no data at all
	}
	e := Event{ID: v.ID, Type: v.EventType, Subject: v.Subject, Source: v.Topic, Data: v.Data, Raw: raw, scanned: scanned}
	typeMember, timeMember, stamp := "eventType", "eventTime", v.EventTime
	if v.SpecVersion != "" {
		if v.SpecVersion != "1.0" {
			return Event{}, fmt.Errorf("event: specversion: want 1.0, have %q", Shorten(v.SpecVersion))
		}
		e.Type, e.Source = v.Type, v.Source
		typeMember, timeMember, stamp = "type", "time", v.Time
		if v.DataBase64 != "" && len(v.Data) == 0 {
			data, err := base64.StdEncoding.DecodeString(v.DataBase64)
			if err != nil {
				return Event{}, fmt.Errorf("event: data_base64: %w", err)
			}
			e.Data = data
		}
	}
	for _, m := range [...]struct {
		name  string
		empty bool
	}{
		{typeMember, e.Type == ""}, {"id", e.ID == ""}, {"subject", e.Subject == ""}, {"data", len(e.Data) == 0},
	} {
		if m.empty {
			return e, fmt.Errorf("event: %s: missing or empty", m.name)
		}
	}
	t, err := ParseTime(stamp)
	if err != nil {
		return e, fmt.Errorf("event: %s: %w", timeMember, err)
	}
	e.Time = t
	return e, nil
}

// Shorten bounds the length of a foreign string, for an error or a sentence. It takes
// the credentials out first: a part of one could not be recognized.
func Shorten(s string) string {
	const most = 80
	s = secret.RedactString(s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// JSONError puts an error of the JSON package into words that are the same for
// the same bytes, and bounded. The package itself says "cannot" in some processes
// and "unable to" in others, so that nobody relies on its words. Here its words
// become the reason in a row of the quarantine. The package also quotes the names
// of members, however long they are. The beginning of its error says what is
// wrong, and the end says where. Credentials are taken out before anything is cut.
func JSONError(err error) error {
	const most = 300
	s := strings.ReplaceAll(withoutSecrets(err), "json: unable to ", "json: cannot ")
	if len(s) > 2*most {
		s = strings.ToValidUTF8(s[:most], "") + "…" + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return errors.New(s)
}

// withoutSecrets returns the text of an error without the credentials in the pointer of
// an error of the JSON package. That package cuts a long pointer when it writes the
// error, in the middle of the name of a member.
func withoutSecrets(err error) string {
	text := err.Error()
	redacted := func(p jsontext.Pointer) jsontext.Pointer {
		return jsontext.Pointer(secret.RedactString(string(p)))
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		e := *semantic
		e.JSONPointer = redacted(e.JSONPointer)
		text = strings.Replace(text, semantic.Error(), e.Error(), 1)
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		e := *syntactic
		e.JSONPointer = redacted(e.JSONPointer)
		text = strings.Replace(text, syntactic.Error(), e.Error(), 1)
	}
	return secret.RedactString(text)
}
