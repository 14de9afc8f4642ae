package functions

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// TestProtocol compares the bytes on the wire with requests that Functions host
// 4.1045.200 sent for the same deliveries.
func TestProtocol(t *testing.T) {
	tests := []struct {
		delivery, function string
		golden             []string
	}{
		{"in_connected.json", "eg1", []string{"02_eg1.http"}},
		{"in_telemetry.json", "eg1", []string{"03_eg1.http"}},
		{"in_two_events.json", "eg1", []string{"04_eg1.http", "05_eg1.http"}},
		{"in_cloudevent.json", "eg1", []string{"06_eg1.http"}},
		{"in_two_events.json", "egmany", []string{"07_egmany.http"}},
	}
	root := app(t, nil, "eg1", `egmany={"type":"eventGridTrigger","name":"events","direction":"in","cardinality":"many"}`,
		`timer1={"type":"timerTrigger","name":"myTimer","direction":"in","schedule":"0 0 0 1 1 *"}`)
	captured := t.TempDir()
	f := start(t, root, Options{Env: []string{behaviour + "=capture", "CAPTURE=" + captured}})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	compareCaptured(t, captured, []string{"01_ping.http"})
	for _, test := range tests {
		t.Run(test.delivery+" to "+test.function, func(t *testing.T) {
			delivery, err := os.ReadFile(filepath.Join("testdata/protocol", test.delivery))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Invoke(within(t), test.function, delivery); err != nil {
				t.Fatal(err)
			}
			compareCaptured(t, captured, test.golden)
		})
	}
	t.Run("timer", func(t *testing.T) {
		if err := f.Fire(within(t), "timer1"); err != nil {
			t.Fatal(err)
		}
		compareCaptured(t, captured, []string{"11_timer1.http"})
	})
	for name, byHand := range map[string]struct{ function, input, golden string }{
		"timer by hand": {"TIMER1", "", "11_timer1.http"},
		"event by hand": {"eg1", `{"id":"via-admin","data":{"a":1}}`, "13_eg1.http"},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]string{"input": byHand.input})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			f.ServeHTTP(w, httptest.NewRequest("POST", "/admin/functions/"+byHand.function, bytes.NewReader(body)))
			if w.Code != http.StatusAccepted || w.Body.Len() > 0 {
				t.Errorf("answered %d %s, want 202", w.Code, w.Body)
			}
			awaitFile(t, captured)
			compareCaptured(t, captured, []string{byHand.golden})
		})
	}
}

// awaitFile returns once a request has been captured.
func awaitFile(t *testing.T, dir string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := within(t).Done(); ; {
		if files, _ := filepath.Glob(filepath.Join(dir, "*.http")); len(files) > 0 {
			return
		}
		select {
		case <-poll.C:
		case <-end:
			t.Fatal("nothing was captured")
		}
	}
}

// compareCaptured compares the requests captured so far with golden ones, in
// any order, and removes them.
func compareCaptured(t *testing.T, dir string, golden []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	traces := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(file)
		checkLength(t, raw)
		if trace := traceparent.FindSubmatch(raw); trace != nil {
			traces[string(trace[1])] = true
		}
		got = append(got, normalise(raw))
	}
	for _, name := range golden {
		raw, err := os.ReadFile(filepath.Join("testdata/protocol", name))
		if err != nil {
			t.Fatal(err)
		}
		checkLength(t, raw)
		want = append(want, normalise(raw))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(traces) > 1 {
		t.Errorf("%d trace ids in one delivery, want one", len(traces))
	}
}

var traceparent = regexp.MustCompile(`traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-00\r\n`)

// normalise replaces what differs from run to run, if it has the right shape.
func normalise(raw []byte) string {
	for pattern, replacement := range map[string]string{
		`Host: 127\.0\.0\.1:\d+\r`:                                               "Host: HOST\r",
		`InvocationId: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\r`:              "InvocationId: ID\r",
		`traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r`:                         "traceparent: TRACE\r",
		`Content-Length: \d+\r`:                                                  "Content-Length: N\r",
		`"UtcNow":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?Z"`:            `"UtcNow":"NOW"`,
		`"RandGuid":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"`:                 `"RandGuid":"ID"`,
		`"Next":"\d{4}-01-01T00:00:00\+00:00"`:                                   `"Next":"NEXT"`,
		`"LastUpdated":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?\+00:00"`: `"LastUpdated":"UPDATED"`,
		`HostVersion: ` + regexp.QuoteMeta(hostVersion) + `\r`:                   "HostVersion: V\r",
		`User-Agent: Azure-Functions-Host/` + regexp.QuoteMeta(hostVersion):      "User-Agent: V",
	} {
		raw = regexp.MustCompile(pattern).ReplaceAll(raw, []byte(replacement))
	}
	return string(raw)
}

func checkLength(t *testing.T, raw []byte) {
	t.Helper()
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	length := regexp.MustCompile(`Content-Length: (\d+)`).FindSubmatch(head)
	if length == nil {
		if len(body) > 0 {
			t.Errorf("a body without Content-Length: %s", body)
		}
		return
	}
	if n, _ := strconv.Atoi(string(length[1])); n != len(body) {
		t.Errorf("Content-Length %d for a body of %d bytes", n, len(body))
	}
}

// TestMetadata covers the forms of Metadata.data.
func TestMetadata(t *testing.T) {
	tests := []struct{ name, event, want string }{
		{"object", `{"data":{"a":1}}`, `{"a":1}`},
		{"string", `{"data":"x"}`, `"\"x\""`},
		{"array", `{"data":[1,2]}`, `"[1,2]"`},
		{"null", `{"data":null}`, `"null"`},
		{"number", `{"data":5}`, `"5"`},
		{"absent", `{"id":"1"}`, ``},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			event, err := parseGridEvent([]byte(test.event))
			if err != nil {
				t.Fatal(err)
			}
			calls := eventGridCalls(function{name: "F"}, []gridEvent{event})
			got := ""
			for _, m := range calls[0].metadata {
				got += string(m.Value)
			}
			if got != test.want || len(calls) != 1 {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
