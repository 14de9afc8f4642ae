package eventgrid

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/local/netjson"
)

// received is a request that the endpoint of a topic got.
type received struct {
	function string
	header   http.Header
	body     string
}

// endpoint is a stand-in for the Functions host. It answers with the statuses in
// turn, and then always with the last one. It returns what it got.
func endpoint(t *testing.T, statuses ...int) (string, <-chan received) {
	t.Helper()
	got := make(chan received, 100)
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/runtime/webhooks/EventGrid" {
			t.Errorf("delivered to %s", r.URL.Path)
		}
		got <- received{r.URL.Query().Get("functionName"), r.Header, string(body)}
		w.WriteHeader(statuses[min(int(n.Add(1)), len(statuses))-1])
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func topic(t *testing.T, options TopicOptions) *Topic {
	t.Helper()
	if options.TimeScale == 0 {
		options.TimeScale = 1e-7
	}
	if options.Subscriptions == nil {
		options.Subscriptions = []Subscription{{Name: "All-1", Function: "One"}}
	}
	topic, err := NewTopic(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(topic.Close)
	return topic
}

func publish(t *testing.T, topic *Topic, body string) int {
	t.Helper()
	w := httptest.NewRecorder()
	topic.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/events?api-version=2018-01-01", strings.NewReader(body)))
	return w.Code
}

func wait(t *testing.T, topic *Topic) {
	t.Helper()
	if err := topic.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
}

const (
	gridEvent1  = `{"id":"1","topic":"/t","subject":"s","eventType":"T.A","eventTime":"2026-01-01T00:00:00Z","data":{"a":1.50},"dataVersion":"2","metadataVersion":"1"}`
	gridBare    = `{"id":"2","subject":"s","eventType":"T.B","eventTime":"2026-01-01T00:00:00Z","data":null}`
	cloudEvent1 = `{"specversion":"1.0","id":"3","source":"/t","type":"T.A","time":"2026-01-01T00:00:00Z","data":"x"}`
)

func TestPublish(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
	}{
		{"array", `[` + gridEvent1 + `,` + gridBare + `]`, 200},
		{"single event", gridEvent1, 200},
		{"cloud event", cloudEvent1, 200},
		{"batch of cloud events", `[` + cloudEvent1 + `]`, 200},
		{"empty array", `[]`, 200},
		{"not JSON", `hello`, 400},
		{"truncated", `[` + gridEvent1, 400},
		{"two values", gridEvent1 + gridEvent1, 400},
		{"no object", `[1]`, 400},
		{"attribute missing", `[{"id":"1"}]`, 400},
		{"one of two malformed", `[` + gridEvent1 + `,{}]`, 400},
		{"attribute of another type", strings.Replace(cloudEvent1, `"3"`, `3`, 1), 400},
		{"old cloud event", strings.Replace(cloudEvent1, `"1.0"`, `"0.3"`, 1), 400},
		{"1 MB", `[` + gridEvent1 + `]` + strings.Repeat(" ", publishLimit-len(gridEvent1)-2), 200},
		{"over 1 MB", `[` + gridEvent1 + `]` + strings.Repeat(" ", publishLimit-len(gridEvent1)-1), 413},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, got := endpoint(t, 202)
			topic := topic(t, TopicOptions{Functions: url})
			if status := publish(t, topic, test.body); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			wait(t, topic)
			if test.status != 200 && len(got) > 0 {
				t.Errorf("delivered %v of a refused request", <-got)
			}
		})
	}
	w := httptest.NewRecorder()
	topic(t, TopicOptions{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/events", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET answered %d", w.Code)
	}
}

// TestDelivery covers body, headers and schema of what is delivered.
func TestDelivery(t *testing.T) {
	tests := []struct {
		name, published, want, contentType string
		schema                             DeliverySchema
	}{
		{"grid", gridEvent1, `[` + gridEvent1 + `]`, "application/json; charset=utf-8", AsReceived},
		{"grid stamped", gridBare, `[` + strings.TrimSuffix(gridBare, "}") + `,"topic":"/id","metadataVersion":"1"}]`, "application/json; charset=utf-8", AsReceived},
		{"cloud", `[` + cloudEvent1 + `]`, cloudEvent1, "application/cloudevents+json; charset=utf-8", AsReceived},
		{"cloud to cloud", cloudEvent1, cloudEvent1, "application/cloudevents+json; charset=utf-8", CloudEventSchemaV1_0},
		{"grid to cloud", gridEvent1, `{"specversion":"1.0","id":"1","source":"/t","type":"T.A","subject":"s","time":"2026-01-01T00:00:00Z","data":{"a":1.50}}`,
			"application/cloudevents+json; charset=utf-8", CloudEventSchemaV1_0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, got := endpoint(t, 202)
			topic := topic(t, TopicOptions{ID: "/id", Functions: url + "/", Schema: test.schema})
			if status := publish(t, topic, test.published); status != 200 {
				t.Fatalf("status %d", status)
			}
			r := receive(t, "delivery", got)
			if r.body != test.want || r.function != "One" {
				t.Errorf("function %s got\n%s, want\n%s", r.function, r.body, test.want)
			}
			for name, want := range map[string]string{
				"Content-Type": test.contentType, "aeg-event-type": "Notification", "aeg-subscription-name": "ALL-1", "aeg-delivery-count": "0",
			} {
				if r.header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, r.header.Get(name), want)
				}
			}
			wait(t, topic)
		})
	}
}

// TestRouting: one request per event and matching subscription of the source.
func TestRouting(t *testing.T) {
	url, got := endpoint(t, 202)
	topic := topic(t, TopicOptions{Functions: url, Source: "controlPlane", Subscriptions: []Subscription{
		{Name: "Only-A", Function: "A", Source: "controlPlane", Filter: Filter{IncludedEventTypes: []string{"T.A"}}},
		{Name: "Any", Function: "Any", Source: "controlPlane"},
		{Name: "Elsewhere", Function: "Elsewhere", Source: "connections"},
	}})
	if status := publish(t, topic, `[`+gridEvent1+`,`+gridBare+`]`); status != 200 {
		t.Fatalf("status %d", status)
	}
	wait(t, topic)
	counts := map[string]int{}
	for range len(got) {
		counts[(<-got).function]++
	}
	if diff := cmp.Diff(map[string]int{"A": 1, "Any": 2}, counts); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

func TestRetry(t *testing.T) {
	tests := []struct {
		name     string
		statuses []int
		options  TopicOptions
		attempts int
		reason   string // of the dead letter, empty if delivered
		outcome  string
	}{
		{"200", []int{200}, TopicOptions{}, 1, "", ""},
		{"204", []int{204}, TopicOptions{}, 1, "", ""},
		{"500 twice", []int{500, 500, 202}, TopicOptions{}, 3, "", ""},
		{"206 is a failure", []int{206, 202}, TopicOptions{}, 2, "", ""},
		{"404 and 401 are tried again", []int{404, 401, 202}, TopicOptions{}, 3, "", ""},
		{"400", []int{400}, TopicOptions{}, 1, "UndeliverableDueToHttpBadRequest", "BadRequest"},
		{"403", []int{500, 403}, TopicOptions{}, 2, "UndeliverableDueToHttpForbidden", "Forbidden"},
		{"413", []int{413}, TopicOptions{}, 1, "UndeliverableDueToHttpRequestEntityTooLarge", "PayloadTooLarge"},
		{"attempts", []int{503}, TopicOptions{MaxAttempts: 4}, 4, "MaxDeliveryAttemptsExceeded", "Busy"},
		{"all attempts", []int{500}, TopicOptions{TimeToLive: 1000 * time.Hour}, 30, "MaxDeliveryAttemptsExceeded", "GenericError"},
		{"a day", []int{500}, TopicOptions{}, 11, "TimeToLiveExceeded", "GenericError"},
		{"ten minutes", []int{404}, TopicOptions{TimeToLive: 12 * time.Minute}, 3, "TimeToLiveExceeded", "NotFound"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, got := endpoint(t, test.statuses...)
			test.options.Functions, test.options.DeadLetters = url, filepath.Join(t.TempDir(), "dead")
			topic := topic(t, test.options)
			if status := publish(t, topic, gridEvent1); status != 200 {
				t.Fatalf("status %d", status)
			}
			wait(t, topic)
			if len(got) != test.attempts {
				t.Errorf("%d attempts, want %d", len(got), test.attempts)
			}
			for i := range len(got) {
				if count := (<-got).header.Get("aeg-delivery-count"); count != fmt.Sprint(i) {
					t.Errorf("attempt %d says %s", i, count)
				}
			}
			dead := deadLetters(t, test.options.DeadLetters)
			if test.reason == "" {
				if len(dead) != 0 {
					t.Errorf("dead letters %v of a delivered event", dead)
				}
				return
			}
			if len(dead) != 1 {
				t.Fatalf("%d dead letters, want 1", len(dead))
			}
			for name, want := range map[string]any{
				"id": "1", "deadLetterReason": test.reason, "deliveryAttempts": float64(test.attempts), "lastDeliveryOutcome": test.outcome,
				"lastHttpStatusCode": float64(test.statuses[len(test.statuses)-1]),
			} {
				if dead[0][name] != want {
					t.Errorf("%s %v, want %v", name, dead[0][name], want)
				}
			}
			for _, name := range []string{"publishTime", "lastDeliveryAttemptTime"} {
				if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(dead[0][name])); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func deadLetters(t *testing.T, folder string) (events []map[string]any) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var event map[string]any
		if err := json.Unmarshal(raw, &event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// TestDeadLetterNames: ids that look like paths stay inside the folder, and
// CloudEvents get their members in lower case.
func TestDeadLetterNames(t *testing.T) {
	url, _ := endpoint(t, 400)
	root := t.TempDir()
	folder := filepath.Join(root, "a", "dead")
	topic := topic(t, TopicOptions{Functions: url, DeadLetters: folder})
	for _, id := range []string{"../../escape", "/etc/passwd", "a\\b", "same", "same", strings.Repeat("x", 5000), "nul\x00"} {
		event := string(netjson.AppendObject(nil, []netjson.Member{
			{Name: "specversion", Value: []byte(`"1.0"`)}, {Name: "id", Value: netjson.AppendText(nil, id)}, {Name: "source", Value: []byte(`"s"`)}, {Name: "type", Value: []byte(`"t"`)},
		}))
		if status := publish(t, topic, event); status != 200 {
			t.Fatalf("id %q: status %d", id, status)
		}
	}
	wait(t, topic)
	dead := deadLetters(t, folder)
	if len(dead) != 7 {
		t.Errorf("%d dead letters, want 7", len(dead))
	}
	for _, event := range dead {
		if event["deadletterreason"] == nil || event["deadLetterReason"] != nil {
			t.Errorf("members of a CloudEvent are not in lower case: %v", event)
		}
	}
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("files beside the folder: %v", entries)
	}
}

// TestNoAnswer covers an endpoint that does not answer in time, and an endpoint
// that does not listen.
func TestNoAnswer(t *testing.T) {
	silent := newGate(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	for outcome, url := range map[string]string{"TimedOut": silent.URL, "SocketError": gone.URL} {
		folder := t.TempDir()
		topic := topic(t, TopicOptions{Functions: url, DeadLetters: folder, MaxAttempts: 2, ResponseLimit: 50 * time.Millisecond})
		if status := publish(t, topic, gridEvent1); status != 200 {
			t.Fatalf("status %d", status)
		}
		wait(t, topic)
		dead := deadLetters(t, folder)
		if len(dead) != 1 || dead[0]["lastDeliveryOutcome"] != outcome || dead[0]["lastHttpStatusCode"] != nil {
			t.Errorf("dead letters %v, want outcome %s", dead, outcome)
		}
	}
}

// TestConcurrency: no more deliveries at once than allowed, and publishing does
// not wait for them.
func TestConcurrency(t *testing.T) {
	g := newGate(t)
	topic := topic(t, TopicOptions{Functions: g.URL, Concurrency: 2})
	for range 10 {
		if status := publish(t, topic, gridEvent1); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	receive(t, "first delivery", g.arrived)
	receive(t, "second delivery", g.arrived)
	if n := len(g.arrived); n > 0 || len(topic.slots) != 2 {
		t.Errorf("%d deliveries under way, want 2", n+2)
	}
	close(g.opened)
	wait(t, topic)
	if n := len(g.arrived); n != 8 {
		t.Errorf("%d further deliveries, want 8", n)
	}
}

// TestTopicClose: retries end, nothing is accepted any more.
func TestTopicClose(t *testing.T) {
	url, got := endpoint(t, 500)
	folder := t.TempDir()
	topic := topic(t, TopicOptions{Functions: url, TimeScale: 1, DeadLetters: folder})
	publish(t, topic, gridEvent1)
	receive(t, "first attempt", got)
	topic.Close()
	wait(t, topic)
	if status := publish(t, topic, gridEvent1); status != http.StatusServiceUnavailable {
		t.Errorf("a closed topic answered %d", status)
	}
	if dead := deadLetters(t, folder); len(dead) != 0 {
		t.Errorf("dead letters %v of events that were not given up on", dead)
	}
}

func TestTopicOptions(t *testing.T) {
	for name, options := range map[string]TopicOptions{
		"subscription": {Subscriptions: []Subscription{{Name: "x"}}},
		"schema":       {Schema: "CustomInputSchema"},
		"attempts":     {MaxAttempts: 31},
		"concurrency":  {Concurrency: -1},
	} {
		if _, err := NewTopic(options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSettled: each event is reported once, with all of its deliveries, when all
// have succeeded or failed.
func TestSettled(t *testing.T) {
	url, _ := endpoint(t, 500, 400, 202)
	reports := make(chan Report, 10)
	topic := topic(t, TopicOptions{Functions: url, Concurrency: 1, Settled: func(r Report) { reports <- r }, Subscriptions: []Subscription{
		{Name: "First", Function: "One", Filter: Filter{IncludedEventTypes: []string{"T.A"}}},
		{Name: "Second", Function: "Two", Filter: Filter{IncludedEventTypes: []string{"T.A"}}},
	}})
	publish(t, topic, `[`+gridEvent1+`,`+gridBare+`]`)
	if got := receive(t, "report of an event without subscriptions", reports); got.ID != "2" || got.Type != "T.B" || got.Deliveries != nil {
		t.Errorf("got %+v", got)
	}
	got := receive(t, "report of the other event", reports)
	attempts, dead := 0, 0
	for _, d := range got.Deliveries {
		attempts += d.Attempts
		if d.DeadLetter == "UndeliverableDueToHttpBadRequest" {
			dead++
		}
	}
	if got.ID != "1" || got.Type != "T.A" || len(got.Deliveries) != 2 || attempts != 3 || dead != 1 {
		t.Errorf("got %+v, want two deliveries after three attempts, one of them given up on", got)
	}
	wait(t, topic)
	if len(reports) > 0 {
		t.Errorf("a further report: %+v", <-reports)
	}
}
