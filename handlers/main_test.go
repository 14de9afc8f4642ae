package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/app"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/loopback"
)

// role is an environment variable. A test starts the test binary again, and tells
// it with this variable what to be: a handler, or the parent of a handler.
const role = "HUBWATCH_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "handler":
		os.Args = os.Args[:1]
		main()
	case "parent":
		beParent()
	default:
		os.Exit(m.Run())
	}
}

// beParent starts a handler, says its process id, and stays until it is killed.
func beParent() {
	handler := exec.Command(os.Args[0])
	handler.Env = append(os.Environ(), role+"=handler")
	handler.Stdout = os.Stdout // which stays open until both are gone
	if err := handler.Start(); err != nil {
		fmt.Println(err)
		os.Exit(host.ExitFailed)
	}
	fmt.Println(handler.Process.Pid)
	_ = handler.Wait() // the test kills this process before
	os.Exit(host.ExitFailed)
}

// patience bounds how long a test waits for a condition. No test waits that long
// unless it fails.
const patience = 30 * time.Second

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !condition(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// answers reports whether a handler answers GET / on port.
func answers(port string) bool {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://127.0.0.1:" + port + "/")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// start starts the test binary in a role with settings, as the Functions host
// starts its handler, and waits until the handler answers on port. The output is
// what the process and its children print. The output ends when all of them have
// ended.
func start(t *testing.T, as, port string, settings ...string) (process *exec.Cmd, output io.Reader) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	process = exec.Command(program)
	process.Env = append(os.Environ(), role+"="+as, host.PortVariable+"="+port)
	process.Env = append(process.Env, settings...)
	process.Stdout, process.Stderr = writer, writer
	err = process.Start()
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill() })
	eventually(t, "an answer to GET /", func() bool { return answers(port) })
	return process, reader
}

// ended waits until a process has ended and returns its exit code.
func ended(t *testing.T, process *exec.Cmd) int {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = process.Wait() }()
	select {
	case <-done:
		return process.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the process runs after %v", patience)
		return 0
	}
}

// storage is a setting with which a handler starts. There is no storage account
// behind it.
const storage = "AlertsStorage=UseDevelopmentStorage=true"

// othersEvent is an invocation that needs no store, since no function is for its
// event.
const othersEvent = `{"Data":{"event":{"id":"event-1","subject":"devices/pump-01","eventType":"Microsoft.Devices.DeviceCreated","eventTime":"2026-02-01T08:00:00Z","data":{"deviceId":"pump-01"}}}}`

// TestSignals checks that a signal lets an invocation finish and ends the process
// with the code after which the host starts it again without counting a failure.
func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			process, output := start(t, "handler", port, storage)
			connection, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			// The handler asks for the body once the invocation runs.
			fmt.Fprintf(connection, "POST /CertificateAdded HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(othersEvent))
			answer := bufio.NewReader(connection)
			if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
				t.Fatalf("the handler does not ask for the body: %q, %v", line, err)
			}
			if _, err := answer.ReadString('\n'); err != nil {
				t.Fatal(err)
			}

			if err := process.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, "nobody listens", func() bool { return !answers(port) })
			if _, err := io.WriteString(connection, othersEvent); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(answer, nil)
			if err != nil {
				t.Fatalf("the running invocation has no answer: %v", err)
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("the running invocation has the status %s", response.Status)
			}
			if code := ended(t, process); code != 200 {
				t.Errorf("exit code %d, want 200", code)
			}
			printed, err := io.ReadAll(output)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
			for _, line := range lines {
				if !json.Valid([]byte(line)) {
					t.Errorf("the handler prints what is not JSON: %s", line)
				}
			}
			if last := lines[len(lines)-1]; !strings.Contains(last, "stopped by a signal") {
				t.Errorf("the last line is %s", last)
			}
		})
	}
}

// TestDiesWithItsParent kills the process that started a handler, as if the
// Functions host crashed.
func TestDiesWithItsParent(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	parent, output := start(t, "parent", port, storage)
	printed := bufio.NewReader(output)
	var pid int
	if _, err := fmt.Fscanln(printed, &pid); err != nil {
		t.Fatal(err)
	}
	handler, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handler.Kill() })

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if code := ended(t, parent); code != -1 {
		t.Fatalf("the parent ends with %d instead of by the signal", code)
	}
	gone := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, printed); gone <- err }()
	select {
	case err := <-gone:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("the handler runs %v after the death of its parent", patience)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the handler ended %v after its parent, want a few seconds", took)
	}
	if answers(port) {
		t.Error("somebody still answers on the port of the handler")
	}
}

// TestEveryFunctionIsServed checks that the handler has a function for each
// function.json, and that each function has one. A custom alert that is switched off has
// none.
func TestEveryFunctionIsServed(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	start(t, "handler", port, storage)
	files, err := filepath.Glob("../functions/*/function.json")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		got = append(got, name)
		// An empty batch, which needs no store.
		response, err := http.Post("http://127.0.0.1:"+port+"/"+name, "application/json", strings.NewReader(`{"Data":{"event":"[]"}}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(response.Body)
		response.Body.Close()
		// These begin with the store.
		timer := slices.Contains([]string{judge.VerdictsName, judge.HousekeepingName, judge.CanaryName}, name)
		if response.StatusCode != http.StatusOK && !timer || timer && !strings.Contains(string(answer), "connection refused") {
			t.Errorf("%s: %s: %s", name, response.Status, answer)
		}
	}
	var want []string
	for _, f := range app.Functions(app.Detectors(), judge.Judge{}) {
		want = append(want, f.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("functions/ differs from the detectors and the relay (-want +got):\n%s", diff)
	}
}

// environment returns a getenv of pairs of names and values.
func environment(pairs ...string) func(string) string {
	values := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		values[pair[0]] = pair[1]
	}
	return func(name string) string { return values[name] }
}

// TestRun checks how the process ends when it cannot begin. The exit code is
// never 0, because the host would then not start it again. The message names the
// setting.
func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, inUse, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const (
		connection = "UseDevelopmentStorage=true"
		uri        = "https://contoso.table.core.windows.net"
	)
	for _, test := range []struct {
		name   string
		args   []string
		env    []string
		noPort bool
		code   int
		stderr []string // parts
	}{
		{name: "by hand", noPort: true, code: 2, stderr: []string{"Functions host", host.PortVariable, "go run ./handlers/hubwatch"}},
		{name: "by hand with settings", noPort: true, env: []string{"AlertsStorage", connection}, code: 2, stderr: []string{host.PortVariable}},
		{name: "unknown command", noPort: true, args: []string{"serve"}, code: 2, stderr: []string{host.PortVariable}},
		{name: "help", noPort: true, args: []string{"--help"}, code: 2, stderr: []string{"go run ./handlers/hubwatch"}},
		{name: "argument from the host", args: []string{"serve"}, env: []string{"AlertsStorage", connection}, code: 2, stderr: []string{"without\narguments"}},
		{name: "empty argument", args: []string{""}, env: []string{"AlertsStorage", connection}, code: 2, stderr: []string{host.PortVariable}},
		{name: "two arguments", args: []string{"quarantine", "demo"}, env: []string{"AlertsStorage", connection}, code: 2, stderr: []string{host.PortVariable}},

		{name: "no storage", code: 1, stderr: []string{"settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have none"}},
		{name: "both storages", env: []string{"AlertsStorage", connection, "AlertsStorage__tableServiceUri", uri}, code: 1, stderr: []string{"settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have both"}},
		{name: "connection string without an endpoint", env: []string{"AlertsStorage", "AccountKey=U0VDUkVU"}, code: 1, stderr: []string{"setting AlertsStorage: "}},
		{name: "connection string that is none", env: []string{"AlertsStorage", "U0VDUkVU"}, code: 1, stderr: []string{"setting AlertsStorage: "}},
		{name: "alerts table", env: []string{"AlertsStorage", connection, "AlertsTable", "my-alerts"}, code: 1, stderr: []string{"setting AlertsTable: ", `"my-alerts"`}},
		{name: "quarantine table", env: []string{"AlertsStorage", connection, "QuarantineTable", "1"}, code: 1, stderr: []string{"setting QuarantineTable: ", `"1"`}},
		{name: "one table for both", env: []string{"AlertsStorage", connection, "QuarantineTable", "Alerts"}, code: 1, stderr: []string{"AlertsTable and QuarantineTable"}},
		{name: "inferred alerts", env: []string{"AlertsStorage", connection, "InferredAlerts", "maybe"}, code: 1, stderr: []string{`setting InferredAlerts: want true or false, have "maybe"`}},
		{name: "port in use", env: []string{"AlertsStorage", connection, host.PortVariable, inUse}, code: 1, stderr: []string{"listen: ", "address already in use"}},
		{name: "port that is none", env: []string{"AlertsStorage", connection, host.PortVariable, "65536"}, code: 1, stderr: []string{"listen: ", "65536"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := append([]string{host.PortVariable, "0"}, test.env...)
			if test.noPort {
				env = test.env
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var stdout, stderr bytes.Buffer
			if code := run(ctx, test.args, environment(env...), &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, part := range test.stderr {
				if !strings.Contains(stderr.String(), part) {
					t.Errorf("stderr has no %q:\n%s", part, stderr.String())
				}
			}
			if test.code == 1 && (strings.Count(stderr.String(), "\n") != 1 || !strings.HasPrefix(stderr.String(), "hubwatch: ")) {
				t.Errorf("stderr is not one line of hubwatch:\n%s", stderr.String())
			}
			if strings.Contains(stderr.String(), "U0VDUkVU") {
				t.Errorf("stderr has the secret:\n%s", stderr.String())
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout has %s", stdout.String())
			}
		})
	}
}

// TestRunUntilSignal checks the exit code where the handler has been running.
func TestRunUntilSignal(t *testing.T) {
	ctx, signal := context.WithCancelCause(t.Context())
	port := freePort(t)
	var stdout, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, nil, environment(host.PortVariable, port, "AlertsStorage", "UseDevelopmentStorage=true"), &stdout, &stderr)
	}()
	eventually(t, "an answer to GET /", func() bool { return answers(port) })
	signal(errors.New("a signal"))
	select {
	case got := <-code:
		if got != 200 {
			t.Errorf("exit code %d, want 200", got)
		}
		if stderr.Len() > 0 {
			t.Errorf("stderr, which the host takes for errors, has %s", stderr.String())
		}
	case <-time.After(patience):
		t.Fatalf("still running after %v", patience)
	}
}

// TestMemoryLimit checks that the handler gives the Go runtime a limit of memory, and
// leaves the choice to whoever sets GOMEMLIMIT.
func TestMemoryLimit(t *testing.T) {
	const other = 1 << 40
	before := debug.SetMemoryLimit(other)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for setting, want := range map[string]int64{"1TiB": other, "": memoryLimit} { // the runtime itself reads the setting
		debug.SetMemoryLimit(other)
		run(t.Context(), nil, environment(host.PortVariable, "0", "GOMEMLIMIT", setting), io.Discard, io.Discard)
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("with GOMEMLIMIT=%q the limit is %d, want %d", setting, got, want)
		}
	}
}
