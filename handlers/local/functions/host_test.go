package functions

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hubwatch/handlers/local/loopback"

	"github.com/google/go-cmp/cmp"
)

// gateServer holds every request of the handler until open is called.
type gateServer struct {
	*httptest.Server
	arrived chan struct{}
	opened  chan struct{}
}

func newGate(t *testing.T) *gateServer {
	g := &gateServer{arrived: make(chan struct{}, 1000), opened: make(chan struct{})}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		g.arrived <- struct{}{}
		select {
		case <-g.opened:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateServer) env() string { return "GATE=" + g.URL }

func TestHostConfiguration(t *testing.T) {
	tests := []struct{ name, host, want string }{
		{"missing file", "", "no such file"},
		{"broken file", "{", "host.json"},
		{"missing section", `{"version":"2.0"}`, "no customHandler.description"},
		{"missing description", `{"customHandler":{}}`, "no customHandler.description"},
		{"missing executable", `{"customHandler":{"description":{}}}`, "defaultExecutablePath"},
		{"bad timeout", `{"functionTimeout":"soon","customHandler":{"description":{"defaultExecutablePath":"x"}}}`, "functionTimeout"},
		{"absent program", `{"customHandler":{"description":{"defaultExecutablePath":"./no-such-program"}}}`, "no-such-program"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := app(t, nil, "One")
			os.Remove(filepath.Join(root, "host.json"))
			if test.host != "" {
				write(t, filepath.Join(root, "host.json"), test.host)
			}
			_, err := Start(t.Context(), Options{ScriptRoot: root})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestTimeSpan(t *testing.T) {
	tests := map[string]time.Duration{
		"":                 time.Second,
		"-1":               0,
		"00:01:00":         time.Minute,
		"1.02:03:04":       26*time.Hour + 3*time.Minute + 4*time.Second,
		"00:00:00.25":      250 * time.Millisecond,
		"00:00:00.0000001": 100 * time.Nanosecond,
	}
	for text, want := range tests {
		if got, err := parseTimeSpan(text, time.Second); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseTimeSpan("90s", 0); err == nil {
		t.Error("90s was accepted")
	}
}

// TestDiscovery covers which folders are functions and which are refused.
func TestDiscovery(t *testing.T) {
	const trigger = `{"bindings":[{"type":"eventGridTrigger","name":"event","direction":"in"}]}`
	root := t.TempDir()
	for _, folder := range []string{"Good", "dash-and_line", "functions/Nested", "host", "9digit", "bad name"} {
		write(t, filepath.Join(root, folder, "function.json"), trigger)
	}
	write(t, filepath.Join(root, "Empty", "readme.txt"), "no function")
	write(t, filepath.Join(root, "NoBinding", "function.json"), `{"bindings":[]}`)
	write(t, filepath.Join(root, "Hub", "function.json"), `{"bindings":[{"type":"fancyTrigger","name":"messages"}]}`)
	write(t, filepath.Join(root, "Under", "function.json"), `{"bindings":[{"type":"eventGridTrigger","name":"my_event"}]}`)
	write(t, filepath.Join(root, "Upper", "function.json"), `{"bindings":[{"type":"EVENTGRIDTRIGGER","name":"event"}]}`)
	functions, faults, err := loadFunctions(root, command{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"Good", "Upper", "dash-and_line"}, names); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
	report := fmt.Sprint(faults)
	for _, want := range []string{
		"the 'Hub' function is in error: " + filepath.Join(root, "Hub", "function.json") + ": the binding type(s) 'fancyTrigger' are not registered",
		"'host' function", "'9digit' function", "'bad name' function", "'NoBinding' function", "'Under' function",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in %s", want, report)
		}
	}
}

// TestRefusedFunctions: an app without a function that can be served does not
// start, and the error names the unknown trigger.
func TestRefusedFunctions(t *testing.T) {
	root := app(t, nil, `Hub={"type":"fancyTrigger","name":"messages"}`)
	_, err := Start(t.Context(), Options{ScriptRoot: root})
	if err == nil || !strings.Contains(err.Error(), "'Hub'") || !strings.Contains(err.Error(), "'fancyTrigger'") {
		t.Errorf("got %v, want an error that names function and trigger", err)
	}
}

// TestProcess covers environment, working directory, arguments and port.
func TestProcess(t *testing.T) {
	t.Setenv("FROM_PROCESS", "process")
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	root := app(t, map[string]any{"customHandler": map[string]any{
		"port": port,
		"description": map[string]any{
			"defaultExecutablePath": "%FROM_SETTINGS%",
			"workingDirectory":      "work",
			"arguments":             []string{"a b", "--x=%FROM_PROCESS%", "%UNSET%", "c"},
		},
	}}, "One")
	write(t, filepath.Join(root, "work", "file"), "")
	write(t, filepath.Join(root, "local.settings.json"), fmt.Sprintf(
		`{"IsEncrypted":false,"Values":{"FROM_SETTINGS":%q,"FROM_PROCESS":"settings","FROM_ENV":"settings","NUMBER":5}}`, binary))
	f := start(t, root, Options{Env: []string{"FROM_ENV=option", "PROBE=" + root}})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	var got probe
	if err := readJSON(filepath.Join(root, "probe.json"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{binary, "a", "b", "--x=process", "c"}, got.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if want := filepath.Join(root, "work"); got.Dir != want {
		t.Errorf("working directory %s, want %s", got.Dir, want)
	}
	for name, want := range map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT": fmt.Sprint(port),
		"FUNCTIONS_HTTPWORKER_PORT":    fmt.Sprint(port),
		"FUNCTIONS_HTTPWORKER_ID":      got.Env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"],
		"FUNCTIONS_APP_ROOT_PATH":      root,
		"FROM_SETTINGS":                binary,
		"FROM_PROCESS":                 "process",
		"FROM_ENV":                     "option",
		"NUMBER":                       "5",
	} {
		if got.Env[name] != want {
			t.Errorf("%s=%q, want %q", name, got.Env[name], want)
		}
	}
	if !uuid.MatchString(got.Env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"]) {
		t.Errorf("worker id %q is not a UUID", got.Env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"])
	}
	if want := fmt.Sprintf("http://127.0.0.1:%d", port); f.URL() != want {
		t.Errorf("URL %s, want %s", f.URL(), want)
	}
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// TestRelativeExecutable: a path below the script root, run in the script root.
func TestRelativeExecutable(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := app(t, map[string]any{"customHandler": map[string]any{
		"description": map[string]any{"defaultExecutablePath": "handler"},
	}}, "One")
	if err := os.Symlink(binary, filepath.Join(root, "handler")); err != nil {
		t.Fatal(err)
	}
	f := start(t, root, Options{Env: []string{"PROBE=" + root}})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	var got probe
	if err := readJSON(filepath.Join(root, "probe.json"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Args[0] != filepath.Join(root, "handler") || got.Dir != root {
		t.Errorf("ran %s in %s, want handler in %s", got.Args[0], got.Dir, root)
	}
}

// TestReadiness: any HTTP status counts (the test handler answers 404), and
// invocations wait for it.
func TestReadiness(t *testing.T) {
	g := newGate(t)
	f := start(t, app(t, nil, "Empty"), Options{Env: []string{g.env(), "GATE_START=1"}})
	receive(t, "start of the handler", g.arrived)
	verdict := make(chan error, 1)
	go func() { verdict <- f.Invoke(within(t), "Empty", []byte(`{}`)) }()
	select {
	case <-f.current().ready:
		t.Error("ready before the handler listens")
	case err := <-verdict:
		t.Errorf("invoked before readiness: %v", err)
	default:
	}
	close(g.opened)
	if err := receive(t, "invocation", verdict); err != nil {
		t.Error(err)
	}
}

// TestReadinessPoll counts the polls of a port that refuses until it listens,
// and looks at their bytes.
func TestReadinessPoll(t *testing.T) {
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		wire:  &wire{address: fmt.Sprintf("127.0.0.1:%d", port)},
		ready: make(chan struct{}), initFailed: make(chan struct{}), exited: make(chan struct{}), replaced: make(chan struct{}),
	}
	go w.awaitReady(10 * time.Second)
	listener, err := net.Listen("tcp", w.wire.address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listened := time.Now()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if waited := time.Since(listened); waited > 20*readyPoll {
		t.Errorf("polled %v after the port was open, want about %v", waited, readyPoll)
	}
	want := "GET / HTTP/1.1\r\nHost: " + w.wire.address + "\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	receive(t, "readiness", w.ready)
}

// TestReadinessLimit: a handler that never listens is killed, counted and
// restarted, and the third time the host stops.
func TestReadinessLimit(t *testing.T) {
	root := app(t, map[string]any{"customHandler": map[string]any{"initializationTimeout": "00:00:00.1"}}, "Empty")
	f := start(t, root, Options{Env: []string{behaviour + "=mute"}})
	first := f.current()
	verdict := make(chan error, 1)
	go func() { verdict <- f.Invoke(within(t), "Empty", []byte(`{}`)) }()
	receive(t, "first restart", first.replaced)
	if first.killReason() != killInit || first.exitCode != 137 {
		t.Errorf("killed for %v with exit code %d, want %v and 137", first.killReason(), first.exitCode, killInit)
	}
	receive(t, "stop of the host", f.Done())
	if err := f.Err(); err == nil || !strings.Contains(err.Error(), "restart retry count") {
		t.Errorf("stopped with %v", err)
	}
	if err := receive(t, "invocation", verdict); err == nil {
		t.Error("an invocation of a stopped host succeeded")
	}
}

// TestExitCodes: 0 is never restarted, 200 is not counted, others are, and the
// third one stops the host.
func TestExitCodes(t *testing.T) {
	t.Run("0", func(t *testing.T) {
		log := newLogs()
		f := start(t, app(t, nil, "Exit0", "Empty"), Options{Logger: log.logger()})
		if err := f.Invoke(within(t), "Exit0", []byte(`{}`)); err == nil {
			t.Error("no failure although the process died")
		}
		log.await(t, "level=ERROR", "exited with code 0")
		pid := f.PID()
		if err := f.Invoke(within(t), "Empty", []byte(`{}`)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want connection refused", err)
		}
		if f.PID() != pid || f.Err() != nil {
			t.Errorf("process %d became %d, stopped with %v", pid, f.PID(), f.Err())
		}
	})
	t.Run("200", func(t *testing.T) {
		f := start(t, app(t, nil, "Exit200", "Empty"), Options{})
		for range errorLimit + 1 {
			w := f.current()
			if err := f.Invoke(within(t), "Exit200", []byte(`{}`)); err == nil {
				t.Error("no failure although the process died")
			}
			receive(t, "restart", w.replaced)
		}
		if err := f.Invoke(within(t), "Empty", []byte(`{}`)); err != nil {
			t.Error(err)
		}
	})
	t.Run("1", func(t *testing.T) {
		f := start(t, app(t, nil, "Exit1", "Empty"), Options{})
		url := f.URL()
		for i := range errorLimit {
			if err := f.Invoke(within(t), "Empty", []byte(`{}`)); err != nil {
				t.Errorf("after %d errors: %v", i, err)
			}
			w := f.current()
			if err := f.Invoke(within(t), "Exit1", []byte(`{}`)); err == nil {
				t.Error("no failure although the process died")
			}
			receive(t, "end of the process", w.replaced)
		}
		receive(t, "stop of the host", f.Done())
		if f.Err() == nil || f.URL() != url {
			t.Errorf("stopped with %v at %s, want an error at %s", f.Err(), f.URL(), url)
		}
		if status := post(t, f, "Empty", "Notification", `[]`).StatusCode; status != http.StatusServiceUnavailable {
			t.Errorf("webhook of a stopped host answered %d", status)
		}
	})
}

// TestErrorWindow: an error counts together with the one before only if less than
// 30 minutes lie between them.
func TestErrorWindow(t *testing.T) {
	ago := func(minutes ...int) (times []time.Time) {
		for _, m := range minutes {
			times = append(times, time.Now().Add(-time.Duration(m)*time.Minute))
		}
		return times
	}
	tests := []struct {
		name    string
		before  []time.Time
		restart bool
	}{
		{"first", nil, true},
		{"second", ago(10), true},
		{"third", ago(20, 10), false},
		{"third over an hour", ago(55, 28), false},
		{"long pause", ago(40, 31), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &Host{logger: newLogs().logger(), errors: test.before}
			restart, err := f.countError(errors.New("test"))
			if restart != test.restart || (err == nil) != test.restart {
				t.Errorf("restart %v, %v, want %v", restart, err, test.restart)
			}
		})
	}
}

// TestTimeout: the invocation fails at once, then the handler is killed with
// everything in flight and restarted uncounted.
func TestTimeout(t *testing.T) {
	g := newGate(t)
	f := start(t, app(t, nil, "Gated", "Forever", "Empty"), Options{
		Env: []string{g.env()}, FunctionTimeout: 300 * time.Millisecond,
	})
	for range errorLimit + 1 {
		if err := f.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		w := f.current()
		sibling := make(chan error, 1)
		first := make(chan error, 1)
		go func() { first <- f.Invoke(within(t), "Forever", []byte(`{}`)) }()
		receive(t, "arrival of the slow invocation", g.arrived)
		go func() { sibling <- f.Invoke(within(t), "Gated", []byte(`{}`)) }()
		if err := receive(t, "timeout", first); !errors.Is(err, errTimeout) {
			t.Errorf("got %v, want a timeout", err)
		}
		if err := receive(t, "failure of the sibling", sibling); err == nil {
			t.Error("the sibling survived the kill")
		}
		receive(t, "restart", w.replaced)
		if w.exitCode != 137 {
			t.Errorf("exit code %d, want 137 for SIGKILL", w.exitCode)
		}
		for len(g.arrived) > 0 {
			<-g.arrived
		}
	}
	// The start of the handler counts against the timeout of an invocation.
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.Invoke(within(t), "Empty", []byte(`{}`)); err != nil {
		t.Errorf("after uncounted restarts: %v", err)
	}
}

// TestKilledHandler: a crash is answered 500 to Event Grid and survived.
func TestKilledHandler(t *testing.T) {
	g := newGate(t)
	f := start(t, app(t, nil, "Gated", "Empty"), Options{Env: []string{g.env()}})
	verdict := make(chan error, 1)
	go func() { verdict <- f.Invoke(within(t), "Gated", []byte(`{}`)) }()
	receive(t, "arrival", g.arrived)
	w := f.current()
	syscall.Kill(f.PID(), syscall.SIGKILL)
	if err := receive(t, "failure", verdict); err == nil {
		t.Error("an invocation survived its process")
	}
	receive(t, "restart", w.replaced)
	if err := f.Invoke(within(t), "Empty", []byte(`{}`)); err != nil {
		t.Error(err)
	}
}

// TestClose: SIGKILL and never SIGTERM, nothing left, and calls fail afterwards.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	f := start(t, app(t, nil, "Empty"), Options{Env: []string{"TERM_DIR=" + dir}})
	if err := f.Invoke(within(t), "Empty", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	w, pid := f.current(), f.PID()
	f.Close()
	f.Close()
	if w.exitCode != 137 {
		t.Errorf("exit code %d, want 137 for SIGKILL", w.exitCode)
	}
	if _, err := os.Stat(filepath.Join(dir, "signal")); err == nil {
		t.Error("the handler saw a signal before it was killed")
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d still exists: %v", pid, err)
	}
	if err := f.Invoke(within(t), "Empty", []byte(`{}`)); !errors.Is(err, errStopped) {
		t.Errorf("got %v after Close", err)
	}
	if f.Err() != nil {
		t.Errorf("Close left the error %v", f.Err())
	}
}

// TestConsole: where the handler's own output goes.
func TestConsole(t *testing.T) {
	log, output := newLogs(), newLogs()
	f := start(t, app(t, nil, "Empty"), Options{Logger: log.logger(), Output: output})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	log.await(t, "level=INFO", "plain line", "category=Host.Function.Console")
	log.await(t, "level=WARN", "this is a WARNing")
	log.await(t, "level=ERROR", "this is bad")
	output.await(t, "plain line\n")

	var levels bytes.Buffer
	lenient := &console{logger: newLogs().logger(), copy: &levels}
	lenient.stderr("only said")
	if levels.String() != "only said\n" {
		t.Errorf("copied %q", levels.String())
	}
}

// TestParallel: n events of one array are n invocations at the same time, the
// answer comes after the last, and one failure fails the whole.
func TestParallel(t *testing.T) {
	const n = 50
	g := newGate(t)
	f := start(t, app(t, nil, "Gated", "Picky"), Options{Env: []string{g.env()}})
	verdict := make(chan error, 1)
	events := "[" + strings.Repeat(`{"id":"1"},`, n-1) + `{"id":"2"}]`
	go func() { verdict <- f.Invoke(within(t), "Gated", []byte(events)) }()
	for range n {
		receive(t, "arrival of all invocations at once", g.arrived)
	}
	select {
	case err := <-verdict:
		t.Errorf("answered before all were done: %v", err)
	default:
	}
	close(g.opened)
	if err := receive(t, "verdict", verdict); err != nil {
		t.Error(err)
	}
	err := f.Invoke(within(t), "Picky", []byte(`[{"id":"1"},{"id":"poison"},{"id":"3"}]`))
	if failed, ok := errors.AsType[*InvocationError](err); !ok || failed.Function != "Picky" || !uuid.MatchString(failed.InvocationID) {
		t.Errorf("got %v, want an InvocationError", err)
	}
}

func post(t *testing.T, f *Host, function, eventType, body string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/runtime/webhooks/EventGrid?functionName="+function, strings.NewReader(body))
	if eventType != "" {
		r.Header.Set("aeg-event-type", eventType)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func TestWebhook(t *testing.T) {
	f := start(t, app(t, nil, "Picky"), Options{})
	const validation = "aeg-event-type: SubscriptionValidation"
	const notification = "AEG-Event-Type: notification"
	tests := []struct {
		name, method, target, header, body string
		status                             int
		want                               string
	}{
		{"success", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[{"id":"1"}]`, 202, ""},
		{"path in another case", "POST", "/runtime/webhooks/eventgrid?functionName=Picky", notification, `[{"id":"1"}]`, 202, ""},
		{"single object", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `{"id":"1"}`, 202, ""},
		{"empty array", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[]`, 202, ""},
		{"failure", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[{"id":"1"},{"id":"poison"}]`, 500, "Exception while executing function: Functions.Picky"},
		{"malformed", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[{"id":`, 500, ""},
		{"element is not an object", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[1]`, 500, ""},
		{"form", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", notification + "\nContent-Type: application/x-www-form-urlencoded", `[{"id":"1"}]`, 500, ""},
		{"unknown function", "POST", "/runtime/webhooks/EventGrid?functionName=Other", notification, `[]`, 404, "cannot find function: 'Other'"},
		{"function in another case", "POST", "/runtime/webhooks/EventGrid?functionName=picky", notification, `[]`, 404, "cannot find function: 'picky'"},
		{"missing function", "POST", "/runtime/webhooks/EventGrid", notification, `[]`, 404, "cannot find function: ''"},
		{"other path", "POST", "/api/Picky", notification, `[]`, 404, ""},
		{"other method", "PUT", "/runtime/webhooks/EventGrid?functionName=Picky", notification, `[]`, 405, ""},
		{"no header", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", "", `[{"id":"1"}]`, 400, ""},
		{"other header", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", "aeg-event-type: Hello", `[{"id":"1"}]`, 400, ""},
		{"unsubscribe", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", "aeg-event-type: Unsubscribe", ``, 202, ""},
		{"validation array", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", validation, `[{"data":{"validationCode":"c1"}}]`, 200, `{"validationResponse":"c1"}`},
		{"validation object", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", validation, `{"data":"{\"validationCode\":\"c2\"}"}`, 200, `{"validationResponse":"c2"}`},
		{"validation of nothing", "POST", "/runtime/webhooks/EventGrid?functionName=Picky", validation, `[]`, 500, ""},
		{"handshake", "OPTIONS", "/runtime/webhooks/EventGrid?functionName=Picky", "WebHook-Request-Origin: eventgrid.azure.us", ``, 200, "origin eventgrid.azure.us"},
		{"handshake of a stranger", "OPTIONS", "/runtime/webhooks/EventGrid?functionName=Picky", "WebHook-Request-Origin: example.com", ``, 200, "origin eventgrid.azure.net"},
		{"handshake of no function", "OPTIONS", "/runtime/webhooks/EventGrid?functionName=Other", "", ``, 404, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
			for line := range strings.Lines(test.header) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			f.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("status %d, want %d (%s)", w.Code, test.status, w.Body)
			}
			if origin, ok := strings.CutPrefix(test.want, "origin "); ok {
				if got := w.Header().Get("Webhook-Allowed-Origin"); got != origin {
					t.Errorf("allowed origin %q, want %q", got, origin)
				}
				if w.Header().Get("Webhook-Allowed-Rate") != "" {
					t.Error("a rate was allowed")
				}
			} else if test.want != "" && w.Body.String() != test.want {
				t.Errorf("body %q, want %q", w.Body, test.want)
			}
		})
	}
}

// TestReuse: invocations one after the other share a connection, and a
// connection that the handler closed while idle is noticed.
func TestReuse(t *testing.T) {
	var mu = make(chan struct{}, 1)
	conns := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu <- struct{}{}
		conns[r.RemoteAddr] = true
		<-mu
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	w := &wire{address: server.Listener.Addr().String()}
	defer w.close()
	request := []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	for range 5 {
		if _, err := w.do("POST", request); err != nil {
			t.Fatal(err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections for requests in sequence, want 1", len(conns))
	}
	server.CloseClientConnections()
	if err := <-w.idle[0].quiet; err == nil {
		t.Error("the idle connection did not notice its end")
	} else {
		w.idle[0].quiet <- err
	}
	if _, err := w.do("POST", request); err != nil {
		t.Errorf("after the handler closed an idle connection: %v", err)
	}
	if len(conns) != 2 {
		t.Errorf("%d connections, want a second one", len(conns))
	}
}
