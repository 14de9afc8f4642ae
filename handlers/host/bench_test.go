package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// noStore takes everything, keeps nothing, and counts.
type noStore struct{ recorded, quarantined int }

func (s *noStore) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	s.recorded += len(occurrences)
	return make([]alert.Recorded, len(occurrences)), nil
}
func (s *noStore) Quarantine(context.Context, alert.Quarantined) error {
	s.quarantined++
	return nil
}

// writer is the least that an http.ResponseWriter can be.
type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(p []byte) (int, error) { return len(p), nil }
func (w *writer) WriteHeader(status int)      { w.status = status }

// SetReadDeadline is what http.ResponseController looks for.
func (w *writer) SetReadDeadline(time.Time) error { return nil }

// silentBody is what the host sends most often: a connection that failed, to a function that
// looks for another cause. The host repeats the data.
func silentBody(t testing.TB) []byte {
	t.Helper()
	list, err := cases.Read(os.DirFS("../detector/testdata"), "DeviceTokenExpired")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name != "silent-refused-token" {
			continue
		}
		raw := c.Event.Clone()
		var v struct {
			Data jsontext.Value `json:"data"`
		}
		if err := errors.Join(raw.Compact(), json.Unmarshal(raw, &v)); err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, `{"Data":{"event":%s},"Metadata":{"data":%s,"sys":{"MethodName":"DeviceTokenExpired","UtcNow":"2026-02-01T10:00:01.0000001Z","RandGuid":"00000000-0000-4000-8000-000000000002"}}}`, raw, v.Data)
	}
	t.Fatal("there is no such case")
	return nil
}

// BenchmarkHandler takes requests through ServeHTTP with a store that costs
// nothing. Each answer has to be the right one. The bare handler reads the same body and answers a constant, which is
// what no handler can do without.
func BenchmarkHandler(b *testing.B) {
	var functions []host.Function
	store := &noStore{}
	j := judge.Judge{Alerts: store, Quarantine: store}
	for _, d := range detector.All {
		functions = append(functions, function(d.Name, j.Detect(d)))
	}
	handler, err := host.NewHandler(functions, j.Broken, host.NewLogger(io.Discard), host.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	silent := silentBody(b)
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			b.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("{}"))
	})
	for _, bench := range []struct {
		name    string
		handler http.Handler
		file    string
		alerts  int // of each request
	}{
		{"bare", bare, "sample-01.http", 0},
		{"silent", handler, "DeviceTokenExpired", 0},
		{"unmatched", handler, "sample-02.http", 0},
		{"firing", handler, "sample-01.http", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			path, body := "/CertificateAdded", silent
			if bench.file == "DeviceTokenExpired" {
				path = "/DeviceTokenExpired"
			} else {
				body = goldenBody(b, bench.file)
			}
			request := httptest.NewRequest(http.MethodPost, path, nil)
			request.Header.Set("X-Azure-Functions-InvocationId", "00000000-0000-4000-8000-000000000001")
			reader := bytes.NewReader(nil)
			request.Body, request.ContentLength = io.NopCloser(reader), int64(len(body))
			*store = noStore{}
			n := 0
			w := &writer{header: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				bench.handler.ServeHTTP(w, request)
				n++
			}
			if w.status != http.StatusOK || store.quarantined > 0 || store.recorded != n*bench.alerts {
				b.Errorf("status %d, %d alerts of %d requests, %d quarantined", w.status, store.recorded, n, store.quarantined)
			}
		})
	}
}
