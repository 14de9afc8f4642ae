package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
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

// The memory of usual bodies, to use again. A failed connection has less than 2 KiB, and
// most events have less than 4 KiB.
const small, usual = 2 << 10, 4 << 10

var (
	smallBodies = sync.Pool{New: func() any { return new([small]byte) }}
	usualBodies = sync.Pool{New: func() any { return new([usual]byte) }}
)

// memory returns n bytes for a body.
func memory(n int64) []byte {
	switch {
	case n <= small:
		return smallBodies.Get().(*[small]byte)[:n]
	case n <= usual:
		return usualBodies.Get().(*[usual]byte)[:n]
	}
	return make([]byte, n)
}

// forget gives the memory of a body back, of which nothing has a part any more. It is emptied,
// so whoever had one all the same would soon find nothing in it.
func forget(body []byte) {
	switch body = body[:cap(body)]; len(body) {
	case small:
		clear(body)
		smallBodies.Put((*[small]byte)(body))
	case usual:
		clear(body)
		usualBodies.Put((*[usual]byte)(body))
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
	body = memory(n)
	have := 0
	for have < len(body) {
		k, err := r.Body.Read(body[have:])
		have += k
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, err
		}
	}
	body, size = body[:have], int64(have)
	if size != r.ContentLength {
		// The host takes no more than 100 MB itself (Azure/azure-functions-host,
		// DefaultMaxRequestBodySize), so counting the rest has an end.
		rest, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return nil, 0, err
		}
		size += rest
	}
	// Clear the deadline: net/http keeps reading in the background to notice that
	// the host has gone, and that read must not time out.
	if err := connection.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, 0, err
	}
	if size > most {
		body = bytes.Clone(body[:min(beginning, len(body))])
	}
	return body, size, nil
}

// mostValues is how many values of a request may be noted. An event has a hundred, and
// each takes 20 bytes of memory.
const mostValues = 4_096

// mostPlaces is of how many values of a body the memory is kept.
const mostPlaces = 1024

// docs are the places of values in bodies, to use again.
var docs = sync.Pool{New: func() any { return new(scan.Doc) }}

// bound returns the value of the trigger's binding in a body of size bytes, of which
// at most most are taken. It checks all of the body in one pass, and notes where the
// values stand, except in Metadata, which repeats the event's data. scanned is not
// there if the body has something unusual, and is good as long as doc is. The error says
// what is wrong with the request, and means that this will never change. The body must not
// change.
func bound(doc *scan.Doc, body []byte, size, most int64) (data jsontext.Value, scanned scan.Value, err error) {
	if size > most {
		return nil, scan.Value{}, fmt.Errorf("the request has %d bytes, and at most %d are taken", size, most)
	}
	if doc.Scan(body, "Metadata", mostValues) {
		if scanned = only(doc.Root().Get("Data")); scanned.Kind() != jsontext.KindInvalid {
			return scanned.Raw(), scanned, nil
		}
	}
	// The JSON package says what is wrong. A member that stands twice is for whoever
	// judges the event.
	var lenient struct{ Data scan.Spans }
	if err := json.Unmarshal(body, &lenient, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, scan.Value{}, fmt.Errorf("the request is not an invocation: %w", err)
	}
	span, ok := lenient.Data[Binding]
	if !ok && len(lenient.Data) == 1 {
		for _, span = range lenient.Data {
			ok = true
		}
	}
	if !ok {
		return nil, scan.Value{}, fmt.Errorf("the request has no Data.%s", Binding)
	}
	return span.In(body), scan.Value{}, nil
}

// only returns the member called Binding, or the only member.
func only(data scan.Value) scan.Value {
	if v := data.Get(Binding); v.Kind() != jsontext.KindInvalid {
		return v
	}
	if v := data.First(); data.Kind() == '{' && v.Next() == (scan.Value{}) {
		return v
	}
	return scan.Value{}
}
