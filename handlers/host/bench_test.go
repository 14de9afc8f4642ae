package host_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// noStore takes everything and keeps nothing.
type noStore struct{}

func (noStore) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	return make([]alert.Recorded, len(occurrences)), nil
}
func (noStore) Quarantine(context.Context, alert.Quarantined) error { return nil }

// writer is the least that an http.ResponseWriter can be.
type writer struct {
	header http.Header
	status int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(p []byte) (int, error) { return len(p), nil }
func (w *writer) WriteHeader(status int)      { w.status = status }

// BenchmarkHandler takes requests through ServeHTTP with a store that costs
// nothing. The bare handler reads the same body and answers a constant, which is
// what no handler can do without.
func BenchmarkHandler(b *testing.B) {
	var functions []host.Function
	j := judge.Judge{Alerts: noStore{}, Quarantine: noStore{}}
	for _, d := range detector.All {
		functions = append(functions, function(d.Name, j.Detect(d)))
	}
	handler, err := host.NewHandler(functions, j.Broken, host.NewLogger(io.Discard), host.Limits{})
	if err != nil {
		b.Fatal(err)
	}
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
	}{
		{"bare", bare, "sample-01.http"},
		{"benign", handler, "sample-02.http"},
		{"firing", handler, "sample-01.http"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			body := goldenBody(b, bench.file)
			request := httptest.NewRequest(http.MethodPost, "/CertificateAdded", nil)
			request.Header.Set("X-Azure-Functions-InvocationId", "00000000-0000-4000-8000-000000000001")
			reader := bytes.NewReader(nil)
			request.Body = io.NopCloser(reader)
			w := &writer{header: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				bench.handler.ServeHTTP(w, request)
			}
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
			}
		})
	}
}
