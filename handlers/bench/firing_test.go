//go:build !race

// The race detector takes memory of its own.

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"hubwatch/handlers/app"
	"hubwatch/handlers/host"
)

// asked is a handler that is asked for all requests of a kind in turns, without a network.
type asked struct {
	handler http.Handler
	list    []request
	request *http.Request
	reader  *bytes.Reader
	header  http.Header
	status  int
}

// newAsked returns hubwatch, as the peer of this name is, and what is asked of it.
func newAsked(t testing.TB, kind string, tells bool) *asked {
	t.Helper()
	j := deployed(discard{})
	if !tells {
		j.Teller = nil
	}
	handler, err := host.NewHandler(app.Functions(app.Detectors(), j), j.Broken, host.NewLogger(io.Discard), host.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{handler: handler, list: corpus(kind, 200), request: httptest.NewRequest(http.MethodPost, "/", nil), reader: bytes.NewReader(nil), header: http.Header{}}
	a.request.Header.Set("X-Azure-Functions-InvocationId", "00000000-0000-4000-8000-000000000001")
	a.request.Body = io.NopCloser(a.reader)
	return a
}

// ask asks for the nth request, and then for the first again.
func (a *asked) ask(n int) {
	r := &a.list[n%len(a.list)]
	a.reader.Reset(r.body)
	a.request.ContentLength, a.request.URL.Path = int64(len(r.body)), "/"+r.function
	a.handler.ServeHTTP(a, a.request)
}

// Header implements http.ResponseWriter.
func (a *asked) Header() http.Header { return a.header }

// Write implements http.ResponseWriter.
func (a *asked) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (a *asked) WriteHeader(status int) { a.status = status }

// SetReadDeadline is what http.ResponseController looks for.
func (a *asked) SetReadDeadline(time.Time) error { return nil }

// TestAllocationsOfAFiringEvent counts what an invocation takes from the heap that raises an alert, in the mean
// of the requests of make bench, with the stand-ins of the stores and the topic. What net/http does itself is not
// counted.
func TestAllocationsOfAFiringEvent(t *testing.T) {
	for _, test := range []struct {
		tells bool
		most  float64
	}{{true, 48}, {false, 34}} {
		a := newAsked(t, "firing", test.tells)
		all := testing.AllocsPerRun(5, func() {
			for n := range a.list {
				a.ask(n)
			}
		})
		got := all / float64(len(a.list))
		if a.status != http.StatusOK || got > test.most {
			t.Errorf("told %v: status %d, %v allocations; want %v at most", test.tells, a.status, got, test.most)
		}
		t.Logf("told %v: %v allocations", test.tells, got)
	}
}

// BenchmarkFiring takes the requests of make bench in which each raises an alert through ServeHTTP.
func BenchmarkFiring(b *testing.B) {
	for name, tells := range map[string]bool{"told": true, "untold": false} {
		b.Run(name, func(b *testing.B) {
			a, n := newAsked(b, "firing", tells), 0
			b.ReportAllocs()
			for b.Loop() {
				a.ask(n)
				n++
			}
			if a.status != http.StatusOK {
				b.Errorf("status %d", a.status)
			}
		})
	}
}
