package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// fakeStore records what it is given.
type fakeStore struct {
	// What Record and Quarantine do before they record, nil for nothing. An error is
	// returned, and nothing recorded.
	onPut, onQuarantine func(context.Context) error

	mu    sync.Mutex
	calls int // of Record and of Quarantine
	put   []alert.Occurrence
	kept  []alert.Quarantined
}

func (s *fakeStore) Record(ctx context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	err := s.do(ctx, s.onPut, func() { s.put = append(s.put, occurrences...) })
	recorded := make([]alert.Recorded, len(occurrences))
	for i := range recorded {
		recorded[i].Outcome = alert.New
		if errors.Is(err, errRejected) {
			recorded[i] = alert.Recorded{Outcome: alert.Rejected, Err: err}
		}
	}
	if errors.Is(err, errRejected) {
		err = nil
	}
	return recorded, err
}

func (s *fakeStore) Quarantine(ctx context.Context, q alert.Quarantined) error {
	q.Body = bytes.Clone(q.Body) // as it was when it came
	return s.do(ctx, s.onQuarantine, func() { s.kept = append(s.kept, q) })
}

func (s *fakeStore) do(ctx context.Context, before func(context.Context) error, record func()) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	record()
	return nil
}

// called returns how often the store was given anything.
func (s *fakeStore) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// hang is a store that does not answer.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("table: %w", context.Cause(ctx))
}

// failWith is a store that answers with err.
func failWith(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// rig is a handler with its store and its log.
type rig struct {
	*host.Handler
	store *fakeStore
	log   *buffer
}

// newRig returns a handler of detectors, all of them if none are given.
func newRig(t testing.TB, store *fakeStore, limits host.Limits, detectors ...detector.Detector) rig {
	t.Helper()
	if len(detectors) == 0 {
		detectors = detector.All
	}
	return newRigOf(t, store, limits, functions(store, detectors...)...)
}

// functions returns the functions of detectors.
func functions(store *fakeStore, detectors ...detector.Detector) []host.Function {
	var list []host.Function
	for _, d := range detectors {
		list = append(list, function(d.Name, judgeOf(store).Detect(d)))
	}
	return list
}

// function returns a function that Event Grid starts.
func function(name string, run func(context.Context, host.Invocation) (host.Outcome, error)) host.Function {
	return host.Function{Name: name, Trigger: host.EventGrid{}, Run: run}
}

func judgeOf(store *fakeStore) judge.Judge { return judge.Judge{Alerts: store, Quarantine: store} }

// newRigOf returns a handler of functions.
func newRigOf(t testing.TB, store *fakeStore, limits host.Limits, functions ...host.Function) rig {
	t.Helper()
	log := &buffer{}
	handler, err := host.NewHandler(functions, judgeOf(store).Broken, host.NewLogger(log), limits)
	if err != nil {
		t.Fatal(err)
	}
	return rig{handler, store, log}
}

// reply is an answer, and the log line that goes with it.
type reply struct {
	status int
	text   string // the whole body
	logs   []string
	err    string
	line   map[string]any
	raw    string // the line as it was written
}

// counted returns how many events the log line counts under name.
func (r reply) counted(name string) int {
	n, _ := r.line[name].(float64)
	return int(n)
}

// invocations counts the invocations of all tests, so that each has an id of its
// own by which its log line is found.
var invocations atomic.Int64

// post invokes a function as the host does and checks what holds for every
// invocation.
func (r rig) post(t testing.TB, function, body string) reply {
	t.Helper()
	return r.ask(t, http.MethodPost, "/"+function, strings.NewReader(body))
}

func (r rig) ask(t testing.TB, method, path string, body io.Reader) reply {
	t.Helper()
	request := httptest.NewRequest(method, path, body)
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", invocations.Add(1))
	request.Header.Set("X-Azure-Functions-InvocationId", id)
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, request)
	result := checkAnswer(t, recorder.Result())
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, id) {
			result.raw += line
		}
	}
	if path != "/" {
		checkLine(t, &result)
	} else if result.raw != "" {
		t.Errorf("%s / is logged: %s", method, result.raw)
	}
	return result
}

// checkAnswer checks the host's rules for every answer: 200 or 500, and always a
// JSON object with a known length, whose logs are strings.
func checkAnswer(t testing.TB, response *http.Response) reply {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("answer: %v", err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d, want 200 or 500", response.StatusCode)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	if response.ContentLength != int64(len(body)) || len(response.TransferEncoding) > 0 {
		t.Errorf("Content-Length %d, Transfer-Encoding %q for a body of %d bytes", response.ContentLength, response.TransferEncoding, len(body))
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		t.Fatalf("status %d with the body %q (%v), want a JSON object", response.StatusCode, body, err)
	}
	r := reply{status: response.StatusCode, text: string(body)}
	if r.status != http.StatusOK {
		if err := json.Unmarshal(object["Error"], &r.err); err != nil || r.err == "" {
			t.Errorf("status %d without an Error: %s", r.status, body)
		}
		return r
	}
	if logs, ok := object["Logs"]; ok && (json.Unmarshal(logs, &r.logs) != nil || r.logs == nil) {
		t.Errorf("Logs is not an array of strings, which fails the invocation: %s", body)
	}
	return r
}

// checkLine checks that the log of one invocation is one line of JSON, with
// function, result and time, and with the level for the answer.
func checkLine(t testing.TB, r *reply) {
	t.Helper()
	if strings.Count(r.raw, "\n") != 1 || !strings.HasSuffix(r.raw, "\n") {
		t.Fatalf("the log of one invocation is not one line:\n%s", r.raw)
	}
	if err := json.Unmarshal([]byte(r.raw), &r.line); err != nil {
		t.Fatalf("log line: %v\n%s", err, r.raw)
	}
	for _, name := range []string{"time", "level", "msg", "function", "invocationId", "eventId", "findings", "ms"} {
		if _, ok := r.line[name]; !ok {
			t.Errorf("the log line has no %s: %s", name, r.raw)
		}
	}
	if id, _ := r.line["invocationId"].(string); !strings.HasPrefix(id, "00000000-0000-4000-8000-") {
		t.Errorf("invocationId %q in the log", id)
	}
	level := "INFO"
	switch _, failed := r.line["error"]; {
	case failed != (r.status != http.StatusOK):
		t.Errorf("status %d, and the log line says %s", r.status, r.raw)
	case failed:
		level = "ERROR"
	case r.counted("quarantined")+r.counted("unmatched") > 0:
		level = "WARN"
	}
	if r.line["level"] != level {
		t.Errorf("level %v, want %s: %s", r.line["level"], level, r.raw)
	}
}

// certificateID is the resource id of a certificate on an IoT hub.
const certificateID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub/certificates/root-ca"

// added is an event for which CertificateAdded raises an alert.
const added = `{"id":"event-1","topic":"/subscriptions/00000000-0000-0000-0000-000000000001","subject":"` + certificateID + `",` +
	`"eventType":"Microsoft.Resources.ResourceWriteSuccess","eventTime":"2026-02-01T08:00:00Z",` +
	`"data":{"operationName":"Microsoft.Devices/IotHubs/certificates/write","resourceUri":"` + certificateID + `"},"dataVersion":"2","metadataVersion":"1"}`

// edit replaces all occurrences of each second string by the one behind it, and
// panics if there is none, so that no case tests nothing.
func edit(s string, pairs ...string) string {
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(s, pair[0]) {
			panic(fmt.Sprintf("%q is not in %s", pair[0], s))
		}
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

// envelope is the request of an invocation with event as the value of its
// binding.
func envelope(event string) string {
	return `{"Data":{"event":` + event + `},"Metadata":{"data":{},"sys":{"MethodName":"CertificateAdded","UtcNow":"2026-02-01T08:00:01Z","RandGuid":"00000000-0000-4000-8000-000000000001"}}}`
}

// jsonString returns s as a JSON string.
func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// entities returns the names that alerts are about, in the order of alerts.
func entities(alerts []alert.Occurrence) []string {
	var names []string
	for _, a := range alerts {
		names = append(names, a.Entity.Name)
	}
	return names
}

// patience bounds what a test waits for. No test takes that long unless it fails.
const patience = 20 * time.Second

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !condition(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
