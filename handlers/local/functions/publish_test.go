package functions

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/netjson"
)

// cloud writes a CloudEvent with an id.
func cloud(id string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/t","type":"T"}`, id)
}

// TestOutputs covers which values of Outputs become which requests.
func TestOutputs(t *testing.T) {
	text := func(s string) string { return string(netjson.AppendText(nil, s)) }
	both := `[` + cloud("1") + `,` + cloud("2") + `]`
	tests := []struct {
		name    string
		outputs string
		want    []string // bodies in any order
		fault   string   // of the invocation
	}{
		{"none", `{}`, nil, ""},
		{"null", `null`, nil, ""},
		{"array", `{"events":` + both + `}`, []string{both}, ""},
		{"single event", `{"events":` + cloud("1") + `}`, []string{`[` + cloud("1") + `]`}, ""},
		{"array of strings", `{"events":[` + text(cloud("1")) + `,` + cloud("2") + `]}`, []string{both}, ""},
		{"string of an array", `{"events":` + text(both) + `}`, []string{both}, ""},
		{"string of an event", `{"events":` + text(cloud("1")) + `}`, []string{`[` + cloud("1") + `]`}, ""},
		{"event grid schema", `{"events":` + gridBare + `}`, []string{`[` + gridBare + `]`}, ""},
		{"empty array", `{"events":[]}`, nil, ""},
		{"null value", `{"events":null}`, nil, ""},
		{"two bindings", `{"events":` + cloud("1") + `,"more":` + cloud("2") + `}`, []string{`[` + cloud("1") + `]`, `[` + cloud("2") + `]`}, ""},
		{"one of two malformed", `{"events":[1],"more":` + cloud("2") + `}`, []string{`[` + cloud("2") + `]`}, "output events: event 0 is number"},
		{"no event", `{"events":{}}`, nil, "output events: event 0: attribute id is missing"},
		{"no JSON", `{"events":"hello"}`, nil, "output events: event 0 is"},
		{"two schemas", `{"events":[` + cloud("1") + `,` + gridBare + `]}`, nil, "event 1 is not of the schema of the first"},
		{"no time", `{"events":` + strings.Replace(cloud("1"), `}`, `,"time":"soon"}`, 1) + `}`, nil, `"soon" is not a time`},
		{"other topic", `{"elsewhere":` + cloud("1") + `}`, nil, `output elsewhere: there is no topic for the connection "Elsewhere"`},
	}
	elsewhere := strings.NewReplacer(`"events"`, `"elsewhere"`, `"ConnectionEvents"`, `"Elsewhere"`).Replace(hubOutput)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Method != http.MethodPost || r.URL.Path != "/api/events" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(body))
			}))
			defer server.Close()
			m := newMind(t, func(int, asked) (int, string) { return 200, `{"Outputs":` + test.outputs + `}` })
			log := newLogs()
			f := start(t, hubApp(t, 0, hubTrigger+`,`+hubOutput+`,`+hubOutput2+`,`+elsewhere, ""), Options{
				Env: []string{"ASK=" + m.URL}, Logger: log.logger(), Topics: map[string]string{"ConnectionEvents": server.URL + "/api/events"},
			})
			h := startHub(t, f, EventHubOptions{Logger: log.logger()})
			send(t, h, "a")
			waitHub(t, h)
			slices.Sort(got)
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if (h.Lost() > 0) != (test.fault != "") || !log.has("", strings.ReplaceAll(test.fault, `"`, `\"`)) {
				t.Errorf("%d lost, want %q in %q", h.Lost(), test.fault, log.lines)
			}
		})
	}
}

// TestUnknownOutput: a name that is not an output binding is ignored, and logged.
func TestUnknownOutput(t *testing.T) {
	m := newMind(t, func(int, asked) (int, string) { return 200, `{"Outputs":{"Events":[1],"messages":{}}}` })
	log := newLogs()
	f := start(t, hubApp(t, 0, hubTrigger+`,`+hubOutput, ""), Options{Env: []string{"ASK=" + m.URL}, Logger: log.logger()})
	h := startHub(t, f, EventHubOptions{})
	send(t, h, "a")
	waitHub(t, h)
	if h.Lost() != 0 || !log.has("level=WARN", "output=Events") || !log.has("level=WARN", "output=messages") {
		t.Errorf("%d lost, logged %q", h.Lost(), log.lines)
	}
}

// TestFailingTopic: however a topic fails the first requests, in the end it has
// the event of every message, and no message is lost.
func TestFailingTopic(t *testing.T) {
	const messages, failures = 20, 12
	faults := map[string]azurite.Fault{
		"broken": azurite.Broken, "busy": azurite.Busy, "dropped": azurite.Drop, "lost answer": azurite.Lose, "broken answer": azurite.LoseBroken,
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			url, delivered := endpoint(t)
			server := httptest.NewServer(topic(t, eventgrid.TopicOptions{Functions: url}))
			defer server.Close()
			proxy := azurite.StartFaultyProxy(server.URL, func(n int, _ *http.Request) azurite.Fault {
				if n <= failures {
					return fault
				}
				return azurite.Pass
			})
			defer proxy.Close()
			m := newMind(t, func(_ int, in asked) (int, string) {
				var events []jsontext.Value
				for _, message := range in.messages {
					events = append(events, jsontext.Value(cloud(message)))
				}
				text, err := json.Marshal(map[string]any{"Outputs": map[string]any{"events": events}})
				if err != nil {
					t.Error(err)
				}
				return 200, string(text)
			})
			f := start(t, hubApp(t, 3, hubTrigger+`,`+hubOutput, forEver), Options{
				Env: []string{"ASK=" + m.URL}, Topics: map[string]string{"ConnectionEvents": proxy.URL + "/api/events"},
			})
			h := startHub(t, f, EventHubOptions{})
			send(t, h, numbered(messages)...)
			waitHub(t, h)
			if diff := cmp.Diff([]int64{messages / 2, messages / 2}, h.Checkpoints()); diff != "" || h.Lost() != 0 {
				t.Errorf("%d lost, checkpoints (-want +got):\n%s", h.Lost(), diff)
			}
			missing := map[string]bool{}
			for _, id := range numbered(messages) {
				missing[id] = true
			}
			for len(missing) > 0 {
				var event struct {
					ID string `json:"id"`
				}
				if err := json.Unmarshal([]byte(receive(t, "delivery of all events", delivered)), &event); err != nil {
					t.Fatal(err)
				}
				delete(missing, event.ID)
			}
			if proxy.Requests() <= failures {
				t.Errorf("%d requests, want more than %d", proxy.Requests(), failures)
			}
		})
	}
}

// topicLimit is the most bytes that a topic takes in one request.
const topicLimit = 1 << 20

// TestOutputLimit: a topic takes 1 MB of what the binding writes. The binding
// writes a quote inside a string in six bytes.
func TestOutputLimit(t *testing.T) {
	url, _ := endpoint(t)
	server := httptest.NewServer(topic(t, eventgrid.TopicOptions{Functions: url}))
	defer server.Close()
	frame := len(`[`+cloud("1")+`]`) + len(`,"data":""`)
	tests := []struct {
		name string
		data string
		lost int
	}{
		{"1 MB", strings.Repeat("x", topicLimit-frame), 0},
		{"over 1 MB", strings.Repeat("x", topicLimit-frame+1), 1},
		{"over 1 MB with its escapes", strings.Repeat(`\"`, topicLimit/6), 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			event := strings.TrimSuffix(cloud("1"), "}") + `,"data":"` + test.data + `"}`
			m := newMind(t, func(int, asked) (int, string) { return 200, `{"Outputs":{"events":` + event + `}}` })
			log := newLogs()
			f := start(t, hubApp(t, 0, hubTrigger+`,`+hubOutput, ""), Options{
				Env: []string{"ASK=" + m.URL}, Logger: log.logger(), Topics: map[string]string{"ConnectionEvents": server.URL + "/api/events"},
			})
			h := startHub(t, f, EventHubOptions{})
			send(t, h, "a")
			waitHub(t, h)
			if h.Lost() != test.lost || log.has("the topic answered 413") != (test.lost > 0) {
				t.Errorf("%d lost, want %d; logged %.500q", h.Lost(), test.lost, log.lines)
			}
		})
	}
}

// TestOutputTimeout: functionTimeout counts for the outputs too.
func TestOutputTimeout(t *testing.T) {
	gate := newGate(t)
	m := newMind(t, func(int, asked) (int, string) { return 200, `{"Outputs":{"events":` + cloud("1") + `}}` })
	log := newLogs()
	f := start(t, hubApp(t, 0, hubTrigger+`,`+hubOutput, ""), Options{
		Env: []string{"ASK=" + m.URL}, Logger: log.logger(), Topics: map[string]string{"ConnectionEvents": gate.URL},
		FunctionTimeout: 500 * time.Millisecond,
	})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	h := startHub(t, f, EventHubOptions{})
	send(t, h, "a")
	waitHub(t, h)
	if h.Lost() != 1 || !log.has("invocation failed", errTimeout.Error()) {
		t.Errorf("%d lost, logged %q", h.Lost(), log.lines)
	}
}
