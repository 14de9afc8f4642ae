package event

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// Split returns the events of a binding's value: an object, an array of objects
// (cardinality many), or a string that holds either. The host sends an array as
// such a string (Azure/azure-functions-host, ScriptInvocationContextExtensions). The events are
// parts of data, if it is no string.
func Split(data jsontext.Value) ([]jsontext.Value, error) {
	for range 2 { // a plain string comes encoded twice
		if data.Kind() != '"' {
			break
		}
		var s string
		if err := json.Unmarshal(data, &s, jsontext.AllowInvalidUTF8(true)); err != nil {
			return nil, JSONError(err)
		}
		data = jsontext.Value(s)
	}
	switch data.Kind() {
	case '{':
		return []jsontext.Value{data}, nil
	case '[':
		var list list
		if err := json.Unmarshal(data, &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
			return nil, JSONError(err)
		}
		events := make([]jsontext.Value, len(list))
		for i, span := range list {
			events[i] = span.In(data)
		}
		return events, nil
	case jsontext.KindInvalid:
		return nil, errors.New("want a JSON object or an array of them")
	default:
		return nil, fmt.Errorf("want a JSON object or an array of them, have a %v", data.Kind())
	}
}

// mostEvents is how many events a binding may hold. Event Grid delivers 5,000 at most
// (https://learn.microsoft.com/azure/event-grid/delivery-and-retry#output-batching), and
// hubwatch has it deliver one.
const mostEvents = 5_000

// list is an array of events, of which no more are read than may be.
type list []scan.Span

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (l *list) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if len(*l) == mostEvents {
			return fmt.Errorf("more than %d events", mostEvents)
		}
		var s scan.Span
		if err := s.UnmarshalJSONFrom(d); err != nil {
			return err
		}
		*l = append(*l, s)
	}
	_, err := d.ReadToken()
	return err
}
