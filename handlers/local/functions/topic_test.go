package functions

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"hubwatch/handlers/local/eventgrid"
)

// gridBare is an event in the Event Grid schema with the required members only.
const gridBare = `{"id":"2","subject":"s","eventType":"T.B","eventTime":"2026-01-01T00:00:00Z","data":null}`

// topic returns a topic that delivers everything to the function One, unless
// options say otherwise. It hardly waits between attempts.
func topic(t *testing.T, options eventgrid.TopicOptions) *eventgrid.Topic {
	t.Helper()
	if options.TimeScale == 0 {
		options.TimeScale = 1e-7
	}
	if options.Subscriptions == nil {
		options.Subscriptions = []eventgrid.Subscription{{Name: "All-1", Function: "One"}}
	}
	topic, err := eventgrid.NewTopic(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(topic.Close)
	return topic
}

// TestTopicToFunctions runs events from the topic to the handler through a
// crash of the handler.
func TestTopicToFunctions(t *testing.T) {
	f := start(t, app(t, nil, "Exit1", "Empty"), Options{})
	host := httptest.NewServer(f)
	defer host.Close()
	dead := t.TempDir()
	topic := topic(t, eventgrid.TopicOptions{Functions: host.URL, TimeScale: 1e-3, Subscriptions: []eventgrid.Subscription{
		{Name: "Crash", Function: "Exit1", Filter: eventgrid.Filter{IncludedEventTypes: []string{"Crash"}}},
		{Name: "Work", Function: "Empty"},
	}, MaxAttempts: 20, DeadLetters: dead})
	w := f.current()
	if err := f.Invoke(within(t), "Exit1", []byte(`{}`)); err == nil {
		t.Error("no failure although the process died")
	}
	for range 20 {
		w := httptest.NewRecorder()
		topic.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/events", strings.NewReader(gridBare)))
		if w.Code != http.StatusOK {
			t.Fatalf("status %d", w.Code)
		}
	}
	receive(t, "restart", w.replaced)
	if err := topic.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dead); err != nil || len(files) != 0 {
		t.Errorf("lost %v, %v", files, err)
	}
}
