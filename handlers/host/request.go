package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
)

// read returns the body of a request, and its size, which is more than the
// length of what it returns if the body is over the limit.
func (h *Handler) read(ctx context.Context, w http.ResponseWriter, r *http.Request) (body []byte, size int64, err error) {
	// A body that does not come must not keep a slot.
	connection := http.NewResponseController(w)
	deadline, _ := ctx.Deadline()
	if err := connection.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, 0, err
	}
	if body, err = io.ReadAll(io.LimitReader(r.Body, h.limits.Body)); err != nil {
		return nil, 0, err
	}
	// The host takes no more than 100 MB itself (Azure/azure-functions-host,
	// DefaultMaxRequestBodySize), so counting the rest has an end.
	rest, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return nil, 0, err
	}
	// From here on net/http reads to see whether the host is still there, which
	// is not to end before ctx does.
	if err := connection.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, 0, err
	}
	return body, int64(len(body)) + rest, nil
}

// binding returns the value of the trigger's binding. Metadata, which repeats
// the event's data, is passed over. Its error says what is wrong with the
// request, and means that it will always be.
func binding(body []byte, size int64) (jsontext.Value, error) {
	if size > int64(len(body)) {
		return nil, fmt.Errorf("the request has %d bytes, and at most %d are taken", size, len(body))
	}
	var v struct{ Data map[string]jsontext.Value }
	if err := json.Unmarshal(body, &v, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, fmt.Errorf("the request is no invocation: %w", event.JSONError(err))
	}
	if data, ok := v.Data[Binding]; ok {
		return data, nil
	}
	if len(v.Data) == 1 {
		for _, data := range v.Data {
			return data, nil
		}
	}
	return nil, fmt.Errorf("the request has no Data.%s", Binding)
}

// Binding is the name of the trigger's binding in every function.json.
const Binding = "event"

// split returns the events of a binding's value: an object, an array of objects
// (cardinality many), or a string that holds either. The host sends an array as
// such a string (Azure/azure-functions-host, ScriptInvocationContextExtensions).
func split(data jsontext.Value) ([]jsontext.Value, error) {
	for range 2 { // a plain string comes encoded twice
		if data.Kind() != '"' {
			break
		}
		var s string
		if err := json.Unmarshal(data, &s, jsontext.AllowInvalidUTF8(true)); err != nil {
			return nil, event.JSONError(err)
		}
		data = jsontext.Value(s)
	}
	switch data.Kind() {
	case '{':
		return []jsontext.Value{data}, nil
	case '[':
		var events []jsontext.Value
		if err := json.Unmarshal(data, &events, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
			return nil, event.JSONError(err)
		}
		return events, nil
	case jsontext.KindInvalid:
		return nil, errors.New("want a JSON object or an array of them")
	default:
		return nil, fmt.Errorf("want a JSON object or an array of them, have a %v", data.Kind())
	}
}
