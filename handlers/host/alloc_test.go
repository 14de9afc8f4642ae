//go:build !race

// The race detector takes memory of its own.

package host_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// changeBody is a change in which a detector finds nothing.
var changeBody = []byte(`{"Data":{"event":{"specversion":"1.0","id":"1","source":"/subscriptions/00000000-0000-0000-0000-000000000001","type":"Microsoft.Resources.ResourceWriteSuccess",` +
	`"subject":"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub/certificates/root-ca",` +
	`"time":"2026-02-01T10:00:00Z","data":{"operationName":"Microsoft.Devices/IotHubs/certificates/write"}}}}`)

// deaf is a Listener for whom nothing is new.
type deaf struct{}

func (deaf) Hear(context.Context, string, alert.Source, time.Time) error { return nil }

// TestAllocations counts what an invocation takes from the heap in which nothing is found,
// from the request to the answer and the line in the log. What net/http does itself is not
// counted.
func TestAllocations(t *testing.T) {
	quiet := detector.Detector{
		Name: "Quiet", On: detector.Trigger{EventTypes: []string{connection.Failed}},
		Detect: func(event.Event) ([]alert.Finding, error) { return nil, nil },
	}
	change := quiet
	change.On = detector.Trigger{EventTypes: []string{event.ResourceWriteSuccess}}
	for _, test := range []struct {
		detector detector.Detector
		most     float64
	}{
		{change, 2}, // The hub of a change is heard of, so the body stays.
		{quiet, 1},  // the way of an event to a detector and back: the context
		// The same: to read a record, and to find its cause, takes nothing.
		{detector.DeviceTokenExpired, 1},
	} {
		j := judge.Judge{Alerts: &noStore{}, Quarantine: &noStore{}, Listener: deaf{}}
		handler, err := host.NewHandler([]host.Function{function(test.detector.Name, j.Detect(test.detector))}, j.Broken, host.NewLogger(io.Discard), host.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		body := silentBody(t)
		if test.detector.On.Heard() == alert.Changes {
			body = changeBody
		}
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
