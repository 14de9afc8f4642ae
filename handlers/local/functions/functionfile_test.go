package functions

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEventHubFunction covers what is read of an Event Hubs function.
func TestEventHubFunction(t *testing.T) {
	trigger := binding{Type: "eventHubTrigger", Direction: "in", Name: "messages", Cardinality: "many", DataType: "string",
		EventHubName: "%HubLogsEventHub%", Connection: "HubLogs"}
	tests := []struct {
		name, bindings, retry string
		want                  function
	}{
		{"plain", hubTrigger, ``, function{name: "Asking", trigger: trigger}},
		{"backoff", hubTrigger, forEver, function{name: "Asking", trigger: trigger, retry: &retryPolicy{-1, 5 * time.Second, 5 * time.Minute}}},
		{"fixed", hubTrigger, `{"strategy":"FixedDelay","maxRetryCount":3,"delayInterval":"00:00:10"}`,
			function{name: "Asking", trigger: trigger, retry: &retryPolicy{3, 10 * time.Second, 10 * time.Second}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			functions, faults, err := loadFunctions(hubApp(t, 0, test.bindings, test.retry), command{})
			if err != nil || len(faults) > 0 {
				t.Fatal(err, faults)
			}
			if diff := cmp.Diff(test.want, functions["Asking"], cmp.AllowUnexported(function{}, retryPolicy{}, route{}, schedule{})); diff != "" {
				t.Errorf("function (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMalformedFunction: an error says which member of which file is wrong.
func TestMalformedFunction(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"cardinality", `"many"`, `"several"`, `bindings[0].cardinality: "several"`},
		{"data type", `"dataType":"string"`, `"dataType":"binary"`, `bindings[0].dataType: "binary"`},
		{"no data type", `,"dataType":"string"`, ``, `bindings[0].dataType: ""`},
		{"direction", `"direction":"in"`, `"direction":"inout"`, `bindings[0].direction: "inout"`},
		{"no event hub", `"eventHubName":"%HubLogsEventHub%",`, ``, `bindings[0].eventHubName: it is missing`},
		{"no connection", `"connection":"HubLogs",`, ``, `bindings[0].connection: it is missing`},
		{"other type", `"name":"messages"`, `"name":5`, `bindings/0/name`},
		{"unknown binding", `"eventHubTrigger"`, `"queue"`, `'queue'`},
		{"strategy", `"exponentialBackoff"`, `"never"`, `retry.strategy: "never"`},
		{"no strategy", `"strategy":"exponentialBackoff",`, ``, `retry.strategy: ""`},
		{"no count", `"maxRetryCount":-1,`, ``, `retry.maxRetryCount: it is missing`},
		{"negative count", `-1`, `-2`, `retry.maxRetryCount: -2`},
		{"count of another type", `-1`, `"ever"`, `retry/maxRetryCount`},
		{"no minimum", `"minimumInterval":"00:00:05",`, ``, `retry.minimumInterval: it is missing`},
		{"endless minimum", `"00:00:05"`, `"-1"`, `retry.minimumInterval: "-1"`},
		{"maximum", `"00:05:00"`, `"5m"`, `retry.maximumInterval: "5m"`},
		{"minimum above maximum", `"00:00:05"`, `"00:05:01"`, `retry.minimumInterval: it is greater`},
		{"delay", `"exponentialBackoff"`, `"fixedDelay"`, `retry.delayInterval: it is missing`},
	}
	whole := `{"bindings":[` + hubTrigger + `],"retry":` + forEver + `}`
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(whole, test.old) {
				t.Fatalf("no %s in %s", test.old, whole)
			}
			file := filepath.Join(t.TempDir(), "Asking", "function.json")
			write(t, file, strings.Replace(whole, test.old, test.new, 1))
			_, faults, err := loadFunctions(filepath.Dir(filepath.Dir(file)), command{})
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(faults)
			if !strings.Contains(got, test.want) || !strings.Contains(got, "'Asking'") {
				t.Errorf("got %s, want the function and %s", got, test.want)
			}
			if strings.Count(got, file) != 1 {
				t.Errorf("got %s, want the file once", got)
			}
		})
	}
}

// TestEventBatchSize covers the member of host.json.
func TestEventBatchSize(t *testing.T) {
	tests := []struct {
		name, extensions string
		want             int
		fault            string
	}{
		{"nothing", `{}`, 100, ""},
		{"another extension", `{"queues":{}}`, 100, ""},
		{"set", `{"eventHubs":{"maxEventBatchSize":7}}`, 7, ""},
		{"zero", `{"eventHubs":{"maxEventBatchSize":0}}`, 0, "host.json: extensions.eventHubs.maxEventBatchSize: 0"},
		{"text", `{"eventHubs":{"maxEventBatchSize":"7"}}`, 0, "maxEventBatchSize"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "host.json"),
				`{"customHandler":{"description":{"defaultExecutablePath":"x"}},"extensions":`+test.extensions+`}`)
			got, err := loadCommand(root, variables(os.Environ()))
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("got %v, want an error with %q", err, test.fault)
				}
			} else if err != nil || got.maxEventBatch != test.want {
				t.Errorf("got %d, %v, want %d", got.maxEventBatch, err, test.want)
			}
		})
	}
}
