package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// beginning is how much is kept of a body that is too long. Nobody can judge it, so
// this is for a person to see what it was.
const beginning = 64 << 10

// expected returns how many bytes of the body of r will be read into memory, of which most
// are taken.
func expected(r *http.Request, most int64) int64 {
	switch n := r.ContentLength; {
	case n < 0:
		return most
	case n > most:
		return min(beginning, most)
	default:
		return n
	}
}

// read returns the body of a request, of which at most n bytes are in memory, and its
// size. Of a body of more than most bytes it returns the beginning.
func (h *Handler) read(ctx context.Context, w http.ResponseWriter, r *http.Request, n, most int64) (body []byte, size int64, err error) {
	connection := http.NewResponseController(w)
	deadline := time.Now().Add(h.limits.BodyTimeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := connection.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, 0, err
	}
	// With bytes.MinRead more, ReadFrom has no reason to take more memory.
	buffer := bytes.NewBuffer(make([]byte, 0, n+bytes.MinRead))
	if _, err := buffer.ReadFrom(io.LimitReader(r.Body, n)); err != nil {
		return nil, 0, err
	}
	// The host takes no more than 100 MB itself (Azure/azure-functions-host,
	// DefaultMaxRequestBodySize), so counting the rest has an end.
	rest, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return nil, 0, err
	}
	// Clear the deadline: net/http keeps reading in the background to notice that
	// the host has gone, and that read must not time out.
	if err := connection.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, 0, err
	}
	body, size = buffer.Bytes(), int64(buffer.Len())+rest
	if size > most {
		body = bytes.Clone(body[:min(beginning, len(body))])
	}
	return body, size, nil
}

// bound returns the value of the trigger's binding in a body of size bytes, of which
// at most most are taken. It returns the members of the value too, if it can tell
// them in the same pass. It passes over Metadata, which repeats the event's data. The
// error says what is wrong with the request, and means that this will never change.
func bound(body []byte, size, most int64) (data jsontext.Value, members map[string]jsontext.Value, err error) {
	if size > most {
		return nil, nil, fmt.Errorf("the request has %d bytes, and at most %d are taken", size, most)
	}
	missing := fmt.Errorf("the request has no Data.%s", Binding)
	var strict struct{ Data map[string]value }
	if json.Unmarshal(body, &strict, jsontext.AllowInvalidUTF8(true)) == nil {
		v, ok := only(strict.Data)
		if !ok {
			return nil, nil, missing
		}
		data, members := v.in(body)
		return data, members, nil
	}
	// A member that stands twice is for whoever judges the event.
	var lenient struct{ Data map[string]jsontext.Value }
	if err := json.Unmarshal(body, &lenient, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, nil, fmt.Errorf("the request is not an invocation: %w", err)
	}
	data, ok := only(lenient.Data)
	if !ok {
		return nil, nil, missing
	}
	return data, nil, nil
}

// only returns the value of the binding called Binding, or of the only one.
func only[V any](data map[string]V) (v V, ok bool) {
	if v, ok = data[Binding]; ok || len(data) != 1 {
		return v, ok
	}
	for _, v = range data {
		ok = true
	}
	return v, ok
}

// mostMembers is how many members of a value are told. An event has a dozen.
const mostMembers = 1_000

// value is where a value and its members stand in the text that is unmarshalled.
type value struct {
	span
	members map[string]span // nil if the value is not an object, or has too many
}

// span is a part of a text: from the first byte to the one behind the last.
type span struct{ from, to int64 }

// in returns the value and its members as parts of body.
func (v value) in(body []byte) (data jsontext.Value, members map[string]jsontext.Value) {
	if v.members != nil {
		members = make(map[string]jsontext.Value, len(v.members))
		for name, m := range v.members {
			members[name] = body[m.from:m.to]
		}
	}
	return body[v.from:v.to], members
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (v *value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		return v.span.skip(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	v.from = d.InputOffset() - 1
	v.members = map[string]span{}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String() // before the next call, with which the token ends
		var m span
		if err := m.skip(d); err != nil {
			return err
		}
		if len(v.members) == mostMembers {
			v.members = nil
		}
		if v.members != nil {
			v.members[name] = m
		}
	}
	_, err := d.ReadToken()
	v.to = d.InputOffset()
	return err
}

// skip moves d over a value and notes where the value stands.
func (s *span) skip(d *jsontext.Decoder) error {
	raw, err := d.ReadValue()
	s.to = d.InputOffset()
	s.from = s.to - int64(len(raw))
	return err
}
