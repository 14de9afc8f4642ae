//go:build !race

// The race detector takes memory of its own.

package host_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// TestAllocations counts what an invocation takes from the heap in which nothing is found,
// from the request to the answer and the line in the log. What net/http does itself is not
// counted.
func TestAllocations(t *testing.T) {
	quiet := detector.Detector{
		Name: "Quiet", On: detector.Trigger{EventTypes: []string{connection.Failed}},
		Detect: func(event.Event) ([]alert.Finding, error) { return nil, nil },
	}
	for _, test := range []struct {
		detector detector.Detector
		most     float64
	}{
		{quiet, 2}, // the way of an event to a detector and back: the body and the context
		// The same: to read a record, and to find its cause, takes nothing.
		{detector.DeviceTokenExpired, 2},
	} {
		j := judge.Judge{Alerts: &noStore{}, Quarantine: &noStore{}}
		handler, err := host.NewHandler([]host.Function{function(test.detector.Name, j.Detect(test.detector))}, j.Broken, host.NewLogger(io.Discard), host.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		body := silentBody(t)
		reader := bytes.NewReader(nil)
		request := httptest.NewRequest(http.MethodPost, "/"+test.detector.Name, nil)
		request.Header.Set("X-Azure-Functions-InvocationId", "00000000-0000-4000-8000-000000000001")
		request.Body, request.ContentLength = io.NopCloser(reader), int64(len(body))
		w := &writer{header: http.Header{}}
		got := testing.AllocsPerRun(200, func() {
			reader.Reset(body)
			handler.ServeHTTP(w, request)
		})
		if w.status != http.StatusOK || got > test.most {
			t.Errorf("%s: status %d, %v allocations; want %v at most", test.detector.Name, w.status, got, test.most)
		}
		t.Logf("%s: %v allocations", test.detector.Name, got)
	}
}
