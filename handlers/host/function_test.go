package host_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/host"
)

// TestFunctionJSON checks what function.json says of each kind of trigger, in the
// words of the host's documentation.
func TestFunctionJSON(t *testing.T) {
	for name, test := range map[string]struct {
		function host.Function
		want     string
	}{
		"event grid": {host.Function{Trigger: host.EventGrid{}}, `{"bindings":[{"type":"eventGridTrigger","direction":"in","name":"event"}]}`},
		"event hub": {host.Function{
			Trigger: host.EventHub{Connection: "HubLogs", Name: "%HubLogsEventHub%"},
			Retry:   &host.Retry{MaxCount: -1, MinimumInterval: "00:00:05", MaximumInterval: "00:05:00"},
		}, `{"bindings":[
			{"type":"eventHubTrigger","direction":"in","name":"messages","connection":"HubLogs","eventHubName":"%HubLogsEventHub%","consumerGroup":"$Default","cardinality":"many","dataType":"string"}],
			"retry":{"strategy":"exponentialBackoff","maxRetryCount":-1,"minimumInterval":"00:00:05","maximumInterval":"00:05:00"}}`},
		"http": {host.Function{Trigger: host.HTTP{Route: "alerts/{id}", Methods: []string{"get", "post"}, Auth: "anonymous"}}, `{"bindings":[
			{"type":"httpTrigger","direction":"in","name":"request","authLevel":"anonymous","methods":["get","post"],"route":"alerts/{id}"},
			{"type":"http","direction":"out","name":"response"}]}`},
		"timer": {host.Function{Trigger: host.Timer{Schedule: "0 * * * * *"}}, `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"0 * * * * *"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.function.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decoded(t, test.want), decoded(t, string(got))); diff != "" {
				t.Errorf("function.json (-want +got):\n%s", diff)
			}
		})
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCheck(t *testing.T) {
	run := func(context.Context, host.Invocation) (host.Outcome, error) { return host.Outcome{}, nil }
	good := host.Function{Name: "A", Trigger: host.EventGrid{}, Run: run}
	for name, test := range map[string]struct {
		functions []host.Function
		want      string // part of the error, "" for none
	}{
		"none":             {nil, ""},
		"good":             {[]host.Function{good, {Name: "B", Trigger: host.HTTP{}, Serve: http.NotFoundHandler()}}, ""},
		"two of one name":  {[]host.Function{good, good}, `function "A": there are two of this name`},
		"no name":          {[]host.Function{{Trigger: host.EventGrid{}, Run: run}}, `function "": want a letter`},
		"a path":           {[]host.Function{{Name: "a/b", Trigger: host.EventGrid{}, Run: run}}, `function "a/b": want a letter`},
		"a long name":      {[]host.Function{{Name: strings.Repeat("a", 127), Trigger: host.EventGrid{}, Run: run}}, ""},
		"too long a name":  {[]host.Function{{Name: strings.Repeat("a", 128), Trigger: host.EventGrid{}, Run: run}}, "want a letter"},
		"no trigger":       {[]host.Function{{Name: "A", Run: run}}, "no trigger"},
		"no work":          {[]host.Function{{Name: "A", Trigger: host.Timer{}}}, "want Run"},
		"work and serving": {[]host.Function{{Name: "A", Trigger: host.HTTP{}, Run: run, Serve: http.NotFoundHandler()}}, "want Serve"},
	} {
		_, err := host.NewHandler(test.functions, nil, host.NewLogger(io.Discard), host.Limits{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

// TestLanes checks that what waits in one lane costs the functions of another
// nothing.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		slow := function("Slow", func(context.Context, host.Invocation) (host.Outcome, error) {
			<-free
			return host.Outcome{Events: 1}, nil
		})
		quick := function("Quick", func(context.Context, host.Invocation) (host.Outcome, error) { return host.Outcome{Events: 1}, nil })
		beside := quick
		beside.Name = "Beside"
		slow.Lane, beside.Lane = "logins", "logins"
		r := newRigOf(t, &fakeStore{}, host.Limits{Concurrency: 2, Waiting: 2}, slow, quick, beside)
		done := make(chan reply)
		for range 4 {
			go func() { done <- r.post(t, "Slow", envelope("{}")) }()
		}
		synctest.Wait()
		if got := r.post(t, "Quick", envelope("{}")); got.status != 200 {
			t.Errorf("in another lane: status %d: %s", got.status, got.err)
		}
		if got := r.post(t, "Beside", envelope("{}")); got.status != 500 || !strings.HasPrefix(got.err, "no place: 4 ") {
			t.Errorf("in the same lane: status %d with the error %q, want no place", got.status, got.err)
		}
		close(free)
		for range 4 {
			if got := <-done; got.status != 200 {
				t.Errorf("in its turn: status %d: %s", got.status, got.err)
			}
		}
	})
}

// TestCheckedIsMeasured checks which functions are told how long it took to check a request.
func TestCheckedIsMeasured(t *testing.T) {
	var checked time.Duration
	usual := function("Usual", func(_ context.Context, in host.Invocation) (host.Outcome, error) {
		checked = in.Checked
		return host.Outcome{Events: 1}, nil
	})
	fair := usual
	fair.Name, fair.Fair = "Fair", true
	r := newRigOf(t, &fakeStore{}, host.Limits{}, usual, fair)
	body := envelope(`{"n":[` + strings.Repeat("1,", 100_000) + "1]}")
	for name, want := range map[string]bool{"Usual": false, "Fair": true} {
		begin := time.Now()
		if got := r.post(t, name, body); got.status != 200 || (checked > 0) != want || checked > time.Since(begin) {
			t.Errorf("%s: status %d, checked in %v; want that measured %v", name, got.status, checked, want)
		}
	}
}

// TestHTTP checks how a request reaches the handler of an HTTP trigger and how its
// answer reaches the host.
func TestHTTP(t *testing.T) {
	var method, target, host0, header, param, body string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		method, target, host0, header, param, body = r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("X-Test"), r.PathValue("id"), string(b)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea for <you>")
	})
	r := newRigOf(t, &fakeStore{}, host.Limits{}, host.Function{Name: "Page", Trigger: host.HTTP{}, Serve: handler})
	got := r.post(t, "Page", `{"Data":{"request":{"Url":"http://contoso.example/api/alerts/7?q=a%20b","Method":"POST","Query":{"q":"a b"},
		"Headers":{"Host":["contoso.example"],"X-Test":["yes"]},"Params":{"id":"7"},"Identities":[],"Body":"a=1"}},"Metadata":{}}`)
	if got.status != 200 || method != "POST" || target != "/api/alerts/7?q=a%20b" || host0 != "contoso.example" || header != "yes" || param != "7" || body != "a=1" {
		t.Errorf("status %d %s; the handler saw %q %q %q %q %q %q", got.status, got.err, method, target, host0, header, param, body)
	}
	var answer struct{ Outputs map[string]any }
	if err := json.Unmarshal([]byte(got.text), &answer); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"response": map[string]any{
		"statusCode": 418.0, "body": "tea for <you>", "headers": map[string]any{"Content-Type": "text/plain; charset=utf-8"},
	}}
	if diff := cmp.Diff(want, answer.Outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}

	for name, request := range map[string]string{
		"not a request": `"text"`, "no address": `{"Method":"GET","Url":"contoso"}`, "no method": `{"Method":"G T","Url":"http://contoso.example/"}`,
	} {
		if got := r.post(t, "Page", `{"Data":{"request":`+request+`}}`); got.status != 500 || !strings.Contains(got.err, "binding request") {
			t.Errorf("%s: status %d with the error %q, want 500", name, got.status, got.err)
		}
	}
}
