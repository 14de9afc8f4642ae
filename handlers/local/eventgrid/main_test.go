package eventgrid

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// within returns a context with a deadline before the deadline of the test, so
// that a test that hangs says where.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// gateServer holds every request of the handler until open is called.
type gateServer struct {
	*httptest.Server
	arrived chan struct{}
	opened  chan struct{}
}

func newGate(t *testing.T) *gateServer {
	g := &gateServer{arrived: make(chan struct{}, 1000), opened: make(chan struct{})}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		g.arrived <- struct{}{}
		select {
		case <-g.opened:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(g.Close)
	return g
}
