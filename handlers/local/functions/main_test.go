package functions

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// The test binary plays the handler when this variable names a behaviour.
const behaviour = "HUBWATCH_LOCAL_TEST_HANDLER"

func TestMain(m *testing.M) {
	switch os.Getenv(behaviour) {
	case "":
		os.Exit(m.Run())
	case "serve":
		serve()
	case "capture":
		capture()
	case "mute":
		await(os.Interrupt)
	}
	os.Exit(99)
}

func await(signals ...os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, signals...)
	<-c
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		panic(err)
	}
	return listener
}

// gate sends a request to the test's own server and returns when the server
// answers.
func gate() {
	r, err := http.Get(os.Getenv("GATE"))
	if err == nil {
		r.Body.Close()
	}
}

// serve answers each function by its name.
func serve() {
	if os.Getenv("GATE_START") != "" {
		gate()
	}
	if dir := os.Getenv("PROBE"); dir != "" {
		cwd, _ := os.Getwd()
		text, _ := json.Marshal(probe{os.Args, cwd, variables(os.Environ())})
		os.WriteFile(filepath.Join(dir, "probe.json"), text, 0o644)
	}
	if dir := os.Getenv("TERM_DIR"); dir != "" {
		go func() {
			await(syscall.SIGTERM, os.Interrupt)
			os.WriteFile(filepath.Join(dir, "signal"), nil, 0o644)
		}()
	}
	fmt.Println("plain line")
	fmt.Fprintln(os.Stderr, "this is a WARNing")
	fmt.Fprintln(os.Stderr, "this is bad")
	http.Serve(listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if code, ok := strings.CutPrefix(name, "Exit"); ok {
			n, _ := strconv.Atoi(code)
			os.Exit(n)
		}
		if name == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if strings.HasPrefix(name, "Asking") || strings.HasPrefix(name, "api/") {
			ask(w, r)
			return
		}
		a, ok := answers[name]
		switch {
		case name == "Gated":
			gate()
			a = testAnswer{200, "application/json", "{}"}
		case name == "Forever":
			gate()
		case name == "Picky":
			body, _ := io.ReadAll(r.Body)
			a = testAnswer{200, "application/json", "{}"}
			if strings.Contains(string(body), "poison") {
				a.status = 500
			}
		case !ok:
			a = testAnswer{200, "application/json", "{}"}
		}
		if a.contentType == "" {
			w.Header()["Content-Type"] = nil
		} else {
			w.Header().Set("Content-Type", a.contentType)
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
}

// ask passes an invocation to the test's own server ASK and answers as the server
// does. It answers a forwarded request with the same header fields, and any other
// request with JSON.
func ask(w http.ResponseWriter, r *http.Request) {
	out, err := http.NewRequest(r.Method, os.Getenv("ASK")+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(err)
	}
	out.Header, out.Host = r.Header, r.Host
	answer, err := http.DefaultClient.Do(out)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	if strings.HasPrefix(r.URL.Path, "/api/") {
		maps.Copy(w.Header(), answer.Header)
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

type testAnswer struct {
	status      int
	contentType string
	body        string
}

type probe struct {
	Args []string
	Dir  string
	Env  map[string]string
}

// capture writes every request verbatim into the folder CAPTURE and answers {}.
func capture() {
	listener := listen()
	var mu sync.Mutex
	n := 0
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				var raw strings.Builder
				length := 0
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					raw.WriteString(line)
					if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
						length, _ = strconv.Atoi(strings.TrimSpace(value))
					}
					if line == "\r\n" {
						break
					}
				}
				io.CopyN(&raw, in, int64(length))
				mu.Lock()
				n++
				file := filepath.Join(os.Getenv("CAPTURE"), fmt.Sprintf("%03d.http", n))
				os.WriteFile(file+".part", []byte(raw.String()), 0o644)
				os.Rename(file+".part", file)
				mu.Unlock()
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
			}
		}()
	}
}

// app writes a function app whose handler is this test binary. A function is
// given as Name, or as Name=binding with the JSON of its only binding.
func app(t *testing.T, host map[string]any, functions ...string) string {
	t.Helper()
	root := t.TempDir()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	handler, _ := host["customHandler"].(map[string]any)
	if handler == nil {
		handler = map[string]any{}
	}
	if handler["description"] == nil {
		handler["description"] = map[string]any{"defaultExecutablePath": binary}
	}
	content := map[string]any{"version": "2.0", "customHandler": handler}
	for key, value := range host {
		if key != "customHandler" {
			content[key] = value
		}
	}
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "host.json"), string(text))
	for _, f := range functions {
		name, trigger, ok := strings.Cut(f, "=")
		if !ok {
			trigger = `{"type":"eventGridTrigger","name":"event","direction":"in"}`
		}
		write(t, filepath.Join(root, name, "function.json"), `{"bindings":[`+trigger+`]}`)
	}
	return root
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start runs an app for the length of a test.
func start(t *testing.T, root string, options Options) *Host {
	t.Helper()
	options.ScriptRoot = root
	if len(variables(options.Env)[behaviour]) == 0 {
		options.Env = append(options.Env, behaviour+"=serve")
	}
	options.killGrace = 20 * time.Millisecond
	f, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// within returns a context with a deadline before the deadline of the test, so
// that a test that hangs says where.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// logs collects a host log.
type logs struct {
	mu    sync.Mutex
	lines []string
	added chan struct{}
}

func newLogs() *logs { return &logs{added: make(chan struct{}, 1)} }

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.lines = append(l.lines, string(p))
	l.mu.Unlock()
	select {
	case l.added <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// await returns once a line holds all of the given texts.
func (l *logs) await(t *testing.T, texts ...string) {
	t.Helper()
	for !l.has(texts...) {
		select {
		case <-l.added:
		case <-within(t).Done():
			t.Fatalf("no log line with %q in\n%s", texts, strings.Join(l.lines, ""))
		}
	}
}

func (l *logs) has(texts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}
