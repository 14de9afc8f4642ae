package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// asked is an invocation as a handler gets it.
type asked struct {
	id       string
	body     string
	messages []string
	Metadata struct {
		PartitionContext struct{ PartitionId string }
		RetryContext     *struct {
			RetryCount, MaxRetryCount int
			Exception                 *struct{ InstanceId, Message string }
		}
	}
	Data struct{ Messages string }
}

// mind decides what the handler of a test answers to its n-th invocation, counted
// from 1. It remembers all invocations.
type mind struct {
	*httptest.Server
	mu   sync.Mutex
	seen []asked
}

const done = `{"Outputs":{},"Logs":[]}`

func newMind(t *testing.T, answer func(n int, in asked) (status int, body string)) *mind {
	t.Helper()
	m := &mind{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in := asked{id: r.Header.Get("X-Azure-Functions-InvocationId"), body: string(body)}
		if err := json.Unmarshal(body, &in, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Errorf("request %s: %v", body, err)
		}
		if err := json.Unmarshal([]byte(in.Data.Messages), &in.messages); err != nil {
			var one string
			if err := json.Unmarshal([]byte(in.Data.Messages), &one); err != nil {
				t.Errorf("data %s: %v", in.Data.Messages, err)
			}
			in.messages = []string{one}
		}
		m.mu.Lock()
		m.seen = append(m.seen, in)
		n := len(m.seen)
		m.mu.Unlock()
		status, text := answer(n, in)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mind) invocations() []asked {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.seen)
}

const (
	hubTrigger = `{"type":"eventHubTrigger","direction":"in","name":"messages","connection":"HubLogs","eventHubName":"%HubLogsEventHub%","cardinality":"many","dataType":"string"}`
	forEver    = `{"strategy":"exponentialBackoff","maxRetryCount":-1,"minimumInterval":"00:00:05","maximumInterval":"00:05:00"}`
	quickly    = 1e-7 // time scale
)

// hubApp writes an app with one function, Asking, for the messages of a hub.
func hubApp(t *testing.T, maxEventBatchSize int, bindings, retry string) string {
	t.Helper()
	var host map[string]any
	if maxEventBatchSize > 0 {
		host = map[string]any{"extensions": map[string]any{"eventHubs": map[string]any{"maxEventBatchSize": maxEventBatchSize}}}
	}
	root := app(t, host)
	if retry == "" {
		retry = "null"
	}
	write(t, filepath.Join(root, "Asking", "function.json"), `{"bindings":[`+bindings+`],"retry":`+retry+`}`)
	return root
}

func startHub(t *testing.T, f *Host, options EventHubOptions) *EventHub {
	t.Helper()
	options.Host, options.Function, options.TimeScale = f, "Asking", quickly
	h, err := NewEventHub(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func send(t *testing.T, h *EventHub, messages ...string) {
	t.Helper()
	var bodies [][]byte
	for _, m := range messages {
		bodies = append(bodies, []byte(m))
	}
	if err := h.Send(bodies...); err != nil {
		t.Fatal(err)
	}
}

func waitHub(t *testing.T, h *EventHub) {
	t.Helper()
	if err := h.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

// TestEventHubBatches: the messages of a partition come in their order, one batch
// at a time, and each batch is as large as allowed.
func TestEventHubBatches(t *testing.T) {
	one := strings.Replace(hubTrigger, `"many"`, `"one"`, 1)
	tests := []struct {
		name                string
		trigger             string
		messages            int
		partitions, maxSize int
		want                map[string][]int // sizes of the batches of each partition
	}{
		{"nothing", hubTrigger, 0, 1, 2, map[string][]int{}},
		{"fewer than allowed", hubTrigger, 3, 1, 5, map[string][]int{"0": {3}}},
		{"more than allowed", hubTrigger, 5, 1, 2, map[string][]int{"0": {2, 2, 1}}},
		{"two partitions", hubTrigger, 7, 0, 3, map[string][]int{"0": {3, 1}, "1": {3}}},
		{"default size", hubTrigger, 250, 1, 0, map[string][]int{"0": {100, 100, 50}}},
		{"one at a time", hubTrigger, 3, 3, 1, map[string][]int{"0": {1}, "1": {1}, "2": {1}}},
		{"cardinality one", one, 3, 1, 100, map[string][]int{"0": {1, 1, 1}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			busy, batches, got := map[string]bool{}, map[string][]int{}, map[string][]string{}
			m := newMind(t, func(_ int, in asked) (int, string) {
				id := in.Metadata.PartitionContext.PartitionId
				mu.Lock()
				if busy[id] {
					t.Errorf("two invocations for partition %s at once", id)
				}
				busy[id] = true
				batches[id] = append(batches[id], len(in.messages))
				got[id] = append(got[id], in.messages...)
				mu.Unlock()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					busy[id] = false
				}()
				return 200, done
			})
			f := start(t, hubApp(t, test.maxSize, test.trigger, ""), Options{Env: []string{"ASK=" + m.URL}})
			h := startHub(t, f, EventHubOptions{Partitions: test.partitions})
			send(t, h, numbered(test.messages)...)
			waitHub(t, h)
			if diff := cmp.Diff(test.want, batches); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
			checkpoints := h.Checkpoints()
			for id := range checkpoints {
				var want []string
				for i := id; i < test.messages; i += len(checkpoints) {
					want = append(want, fmt.Sprint(i))
				}
				if diff := cmp.Diff(want, got[fmt.Sprint(id)]); diff != "" {
					t.Errorf("messages of partition %d (-want +got):\n%s", id, diff)
				}
				if checkpoints[id] != int64(len(want)) {
					t.Errorf("checkpoint %d of partition %d, want %d", checkpoints[id], id, len(want))
				}
			}
		})
	}
}

// TestEventHubInvocation covers the bytes of an invocation.
func TestEventHubInvocation(t *testing.T) {
	const context = `{"IsCheckpointingAfterInvocation":true,"FullyQualifiedNamespace":"local.servicebus.windows.net","EventHubName":"%HubLogsEventHub%","ConsumerGroup":"$Default","PartitionId":"0"}`
	const sys = `"sys":{"MethodName":"Asking","UtcNow":"NOW","RandGuid":"ID"}`
	tests := []struct{ name, trigger, retry, want string }{
		{"many", hubTrigger, "", `{"Data":{"messages":"[\"{\\\"records\\\":[]}\",\"é\\n�\"]"},"Metadata":{` +
			`"TriggerPartitionContext":` + context + `,"PartitionContext":` + context + `,` +
			`"PartitionKeyArray":"[null,null]","OffsetArray":"[\"0\",\"14\"]","OffsetStringArray":"[\"0\",\"14\"]",` +
			`"SequenceNumberArray":"[0,1]","EnqueuedTimeUtcArray":"[\"TIME\",\"TIME\"]","PropertiesArray":"[{},{}]",` +
			`"SystemPropertiesArray":"[{\"SequenceNumber\":0,\"Offset\":0,\"OffsetString\":\"0\",\"PartitionKey\":null,\"EnqueuedTimeUtc\":\"TIME\"},` +
			`{\"SequenceNumber\":1,\"Offset\":14,\"OffsetString\":\"14\",\"PartitionKey\":null,\"EnqueuedTimeUtc\":\"TIME\"}]",` + sys + `}}`},
		{"one with a retry policy", strings.NewReplacer(`"many"`, `"one"`, `,"dataType":"string"`, ``).Replace(hubTrigger), forEver,
			`{"Data":{"messages":"\"{\\\"records\\\":[]}\""},"Metadata":{` +
				`"TriggerPartitionContext":` + context + `,"PartitionContext":` + context + `,` +
				`"Offset":"\"0\"","OffsetString":"\"0\"","SequenceNumber":"0","EnqueuedTimeUtc":"TIME","Properties":{},` +
				`"SystemProperties":{"SequenceNumber":0,"Offset":0,"OffsetString":"0","PartitionKey":null,"EnqueuedTimeUtc":"TIME"},` + sys +
				`,"RetryContext":{"RetryCount":0,"MaxRetryCount":-1,"Exception":null,"Instance":null,"State":{}}}}`},
	}
	enqueued := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?(\\?")`)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMind(t, func(int, asked) (int, string) { return 200, done })
			f := start(t, hubApp(t, 0, test.trigger, test.retry), Options{Env: []string{"ASK=" + m.URL}})
			h := startHub(t, f, EventHubOptions{Partitions: 1})
			send(t, h, `{"records":[]}`, "é\n\xff")
			waitHub(t, h)
			first := m.invocations()[0]
			got := enqueued.ReplaceAllString(normalise([]byte(first.body)), "TIME$2")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("invocation (-want +got):\n%s", diff)
			}
			if !uuid.MatchString(first.id) {
				t.Errorf("invocation id %q is not a UUID", first.id)
			}
		})
	}
}

// TestEventHubRetry: the checkpoint moves once, after success or when no retry
// is left, and every attempt has the same id and counts.
func TestEventHubRetry(t *testing.T) {
	fixed := `{"strategy":"fixedDelay","maxRetryCount":%d,"delayInterval":"00:00:10"}`
	tests := []struct {
		name     string
		statuses []int // the last one for ever
		retry    string
		most     int
		attempts int
		lost     int
	}{
		{"success", []int{200}, forEver, -1, 1, 0},
		{"500 twice", []int{500, 500, 200}, forEver, -1, 3, 0},
		{"500 often", append(slices.Repeat([]int{500}, 40), 200), forEver, -1, 41, 0},
		{"within a limit", []int{500, 404, 200}, fmt.Sprintf(fixed, 2), 2, 3, 0},
		{"beyond a limit", []int{500}, fmt.Sprintf(fixed, 2), 2, 3, 2},
		{"no retries", []int{500}, fmt.Sprintf(fixed, 0), 0, 1, 2},
		{"no policy", []int{500}, "", 0, 1, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h *EventHub
			m := newMind(t, func(n int, in asked) (int, string) {
				want := []int64{0}
				if in.messages[0] == "last" {
					return 200, done
				}
				if diff := cmp.Diff(want, h.Checkpoints()); diff != "" {
					t.Errorf("checkpoint moved before attempt %d (-want +got):\n%s", n, diff)
				}
				return test.statuses[min(n, len(test.statuses))-1], done
			})
			log := newLogs()
			f := start(t, hubApp(t, 2, hubTrigger, test.retry), Options{Env: []string{"ASK=" + m.URL}})
			h = startHub(t, f, EventHubOptions{Partitions: 1, Logger: log.logger()})
			send(t, h, "a", "b", "last")
			waitHub(t, h)
			seen := m.invocations()
			if len(seen) != test.attempts+1 || seen[test.attempts].messages[0] != "last" {
				t.Fatalf("%d invocations, want %d and one for the next message", len(seen), test.attempts)
			}
			for i, in := range seen[:test.attempts] {
				if in.id != seen[0].id || !slices.Equal(in.messages, []string{"a", "b"}) {
					t.Errorf("attempt %d has id %s and messages %q, want id %s and all messages", i, in.id, in.messages, seen[0].id)
				}
				retry := in.Metadata.RetryContext
				if (retry != nil) != (test.retry != "") {
					t.Fatalf("attempt %d has RetryContext %v", i, retry)
				}
				if retry == nil {
					continue
				}
				if retry.RetryCount != i || retry.MaxRetryCount != test.most || (retry.Exception != nil) != (i > 0) {
					t.Errorf("attempt %d has RetryContext %+v", i, *retry)
				}
				if i > 0 && (retry.Exception.InstanceId != in.id || retry.Exception.Message != "Exception while executing function: Functions.Asking") {
					t.Errorf("attempt %d has exception %+v", i, *retry.Exception)
				}
			}
			if seen[test.attempts].id == seen[0].id {
				t.Error("the next batch has the same invocation id")
			}
			if h.Lost() != test.lost || h.Checkpoints()[0] != 3 {
				t.Errorf("%d lost, checkpoint %d, want %d and 3", h.Lost(), h.Checkpoints()[0], test.lost)
			}
			if log.has("level=ERROR", "messages lost", "messages=2") != (test.lost > 0) {
				t.Errorf("%d lost, but logged is %q", test.lost, log.lines)
			}
		})
	}
}

// TestRetryDelay covers the waits of both strategies.
func TestRetryDelay(t *testing.T) {
	tests := []struct {
		name   string
		policy retryPolicy
		want   []time.Duration
	}{
		{"fixed", retryPolicy{-1, 3, 3}, []time.Duration{3, 3, 3}},
		{"exponential", retryPolicy{-1, 5, 300}, []time.Duration{5, 10, 15, 25, 45, 85, 165, 300, 300}},
		{"no wait", retryPolicy{-1, 0, 300}, []time.Duration{0, 0, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i, want := range test.want {
				if got := test.policy.delay(i + 1); got != want {
					t.Errorf("wait %d is %d, want %d", i+1, got, want)
				}
			}
			if got := test.policy.delay(1e6); got > test.policy.maximum {
				t.Errorf("wait 1000000 is %v", got)
			}
		})
	}
}

// TestEventHubHandlerKilled: a batch whose handler dies comes again after the
// handler's restart.
func TestEventHubHandlerKilled(t *testing.T) {
	var f *Host
	m := newMind(t, func(n int, _ asked) (int, string) {
		if n == 1 {
			if err := syscall.Kill(f.PID(), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		return 200, done
	})
	f = start(t, hubApp(t, 0, hubTrigger, forEver), Options{Env: []string{"ASK=" + m.URL}})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	first := f.PID()
	h := startHub(t, f, EventHubOptions{Partitions: 1})
	send(t, h, "a", "b")
	waitHub(t, h)
	seen := m.invocations()
	if len(seen) != 2 || seen[0].id != seen[1].id || !slices.Equal(seen[1].messages, []string{"a", "b"}) {
		t.Errorf("invocations %v, want the same one twice", seen)
	}
	if f.PID() == first || h.Lost() != 0 {
		t.Errorf("process %d became %d, %d lost", first, f.PID(), h.Lost())
	}
}

// TestEventHubStops: neither closing the hub nor closing the app moves a
// checkpoint, and Wait returns an error.
func TestEventHubStops(t *testing.T) {
	tests := []struct {
		name string
		stop func(*Host, *EventHub)
		want error
	}{
		{"hub", func(_ *Host, h *EventHub) { h.Close() }, errClosed},
		{"app", func(f *Host, _ *EventHub) { f.Close() }, errStopped},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			arrived, leave := make(chan struct{}, 1), make(chan struct{})
			m := newMind(t, func(int, asked) (int, string) {
				arrived <- struct{}{}
				<-leave
				return 200, done
			})
			f := start(t, hubApp(t, 0, hubTrigger, ""), Options{Env: []string{"ASK=" + m.URL}})
			h := startHub(t, f, EventHubOptions{})
			waitHub(t, h)
			send(t, h, "a")
			receive(t, "invocation", arrived)
			expired, cancel := context.WithCancel(t.Context())
			cancel()
			if err := h.Wait(expired); !errors.Is(err, context.Canceled) {
				t.Errorf("waited with %v", err)
			}
			test.stop(f, h)
			close(leave)
			if err := h.Wait(within(t)); !errors.Is(err, test.want) {
				t.Errorf("waited with %v, want %v", err, test.want)
			}
			h.Close()
			if diff := cmp.Diff([]int64{0, 0}, h.Checkpoints()); diff != "" || h.Lost() != 0 {
				t.Errorf("%d lost, checkpoints (-want +got):\n%s", h.Lost(), diff)
			}
			if err := h.Send([]byte("late")); err == nil {
				t.Error("a message was taken that nobody reads")
			}
		})
	}
}

// TestEventHubEndpoint covers what is taken over HTTP.
func TestEventHubEndpoint(t *testing.T) {
	m := newMind(t, func(int, asked) (int, string) { return 200, done })
	f := start(t, hubApp(t, 1, hubTrigger, ""), Options{Env: []string{"ASK=" + m.URL}})
	h := startHub(t, f, EventHubOptions{})
	tests := []struct {
		name, method, path, body string
		status                   int
	}{
		{"message", "POST", "/eventhub/messages", `{"records":[]}`, 201},
		{"no JSON", "POST", "/eventhub/messages", `anything`, 201},
		{"1 MB", "POST", "/eventhub/messages", strings.Repeat("x", messageLimit), 201},
		{"over 1 MB", "POST", "/eventhub/messages", strings.Repeat("x", messageLimit+1), 413},
		{"other path", "POST", "/eventhub", `{}`, 404},
		{"other method", "GET", "/eventhub/messages", ``, 404},
	}
	var want int64
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
			if w.Code != test.status {
				t.Errorf("status %d, want %d (%s)", w.Code, test.status, w.Body)
			}
			if test.status == 201 {
				want++
			}
		})
	}
	if err := h.Send([]byte("small"), make([]byte, messageLimit+1)); err == nil {
		t.Error("a message of more than 1 MB was taken")
	}
	waitHub(t, h)
	if got := h.Checkpoints(); got[0]+got[1] != want || len(m.invocations()) != int(want) {
		t.Errorf("checkpoints %v, want %d messages", got, want)
	}
	h.Close()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/eventhub/messages", strings.NewReader("{}")))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("a closed hub answered %d", w.Code)
	}
}

// TestEventHubRefused covers options that NewEventHub refuses, and that Event
// Grid cannot invoke the function of a hub.
func TestEventHubRefused(t *testing.T) {
	root := hubApp(t, 0, hubTrigger, "")
	write(t, filepath.Join(root, "Grid", "function.json"), `{"bindings":[{"type":"eventGridTrigger","name":"event"}]}`)
	f := start(t, root, Options{})
	for name, options := range map[string]EventHubOptions{
		"no app":              {Function: "Asking"},
		"no function":         {Host: f},
		"unknown function":    {Host: f, Function: "asking"},
		"another trigger":     {Host: f, Function: "Grid"},
		"negative partitions": {Host: f, Function: "Asking", Partitions: -1},
		"too many partitions": {Host: f, Function: "Asking", Partitions: 33},
		"negative time scale": {Host: f, Function: "Asking", TimeScale: -1},
	} {
		if h, err := NewEventHub(options); err == nil {
			t.Errorf("%s: no error", name)
			h.Close()
		}
	}
	if r := post(t, f, "Asking", "Notification", `[{"id":"1"}]`); r.StatusCode != http.StatusNotFound {
		t.Errorf("a delivery was answered %d", r.StatusCode)
	}
	if err := f.Invoke(within(t), "Asking", []byte(`{}`)); err == nil {
		t.Error("an event was delivered")
	}
}
