// Package functions is a stand-in for the Azure Functions host on one machine.
// [Host] starts the custom handler of a function app and invokes it as the
// Functions host does: for deliveries to its Event Grid webhook, for HTTP
// requests, by the schedules of timers and, with [EventHub], for messages of an
// event hub. Host reads the answers of the handler as the Functions host does. Of
// output bindings it knows the answer to an HTTP request alone, and it knows only the
// public protocol of the handler.
package functions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hubwatch/handlers/local/loopback"
	"hubwatch/handlers/local/netjson"
)

// hostVersion is the version of the Functions host that was copied.
const hostVersion = "4.1045.200.25556"

// The host stops after the third error of the handler process, each at most 30
// minutes after the one before (Azure/azure-functions-host,
// HttpFunctionInvocationDispatcher).
const (
	errorLimit  = 3
	errorWindow = 30 * time.Minute
)

// Options says which function app to run.
type Options struct {
	// ScriptRoot is the folder with host.json and one folder per function.
	ScriptRoot string
	// Env are further NAME=value variables for the handler. They override the
	// variables of this process, which override the Values of
	// local.settings.json.
	Env []string
	// Logger takes the host's log, including the handler's output; nil discards it.
	Logger *slog.Logger
	// Output, if not nil, receives verbatim every line that the handler prints.
	Output io.Writer
	// FunctionTimeout, if positive, replaces functionTimeout of host.json.
	FunctionTimeout time.Duration
	// Key, if not empty, is asked for by every HTTP function whose authLevel is
	// not anonymous, and by POST /admin/functions/<name>: as the query parameter
	// code or the header x-functions-key. It stands for the master key of an app.
	// Without it no key is asked for, as under func start. The webhook of Event
	// Grid never asks for one.
	Key string
	// Strict makes a function that cannot be served an error of Start. Without it
	// the function is logged and left out, as the real host does.
	Strict bool
	// TimerScale multiplies the waits of timers and of their retries; 0 means 1.
	TimerScale float64

	// killGrace is the time from a timeout to the kill; 0 means the host's 2 s.
	killGrace time.Duration
}

// Host runs a function app as the Functions host does: one handler process,
// started, watched and restarted by the host's rules, which gets one HTTP request
// per invocation. As an [http.Handler] it is the public side of the host: the
// Event Grid webhook, and the routes of HTTP functions. Timers begin to run at
// the start.
//
// It differs from the host where the host would only waste time. An answer that
// makes the host hang fails at once with [ErrHang]. A handler that cannot be
// started is an error of [Start]. Redirects are failures.
type Host struct {
	root      string
	command   command
	functions map[string]function
	port      int
	killGrace time.Duration
	key       string
	timers    map[string]*timer // by the name of the function
	clock     timerClock
	client    *http.Client
	logger    *slog.Logger
	console   *console

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	timing sync.WaitGroup // of the timers

	mu     sync.Mutex
	worker *worker
	err    error
	errors []time.Time
}

// Start starts the handler of a function app. It does not wait until the handler
// is ready; each invocation waits for that. Functions that cannot be served are
// logged and left out. Start returns an error if no function is left, if
// host.json names no executable, or if the handler cannot be started. When ctx
// ends, the app stops as after Close.
func Start(ctx context.Context, options Options) (*Host, error) {
	root, err := filepath.Abs(options.ScriptRoot)
	if err != nil {
		return nil, fmt.Errorf("script root: %w", err)
	}
	logger := cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	command, err := loadCommand(options.ScriptRoot, variables(append(os.Environ(), options.Env...)))
	if err != nil {
		return nil, fmt.Errorf("host configuration: %w", err)
	}
	if options.FunctionTimeout > 0 {
		command.functionTimeout = options.FunctionTimeout
	}
	functions, faults, err := loadFunctions(options.ScriptRoot, command)
	if err != nil {
		return nil, fmt.Errorf("functions: %w", err)
	}
	if options.Strict && len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	for _, fault := range faults {
		logger.Error(fault.Error())
	}
	if len(functions) == 0 {
		return nil, fmt.Errorf("no functions found in %s: %w", options.ScriptRoot, errors.Join(append(faults, errNoFunctions)...))
	}
	port := command.port
	if port == 0 {
		if port, err = loopback.FreePort(); err != nil {
			return nil, fmt.Errorf("handler port: %w", err)
		}
	}
	h := &Host{
		root:      root,
		command:   command,
		functions: functions,
		port:      port,
		killGrace: cmp.Or(options.killGrace, 2*time.Second),
		key:       options.Key,
		timers:    map[string]*timer{},
		clock:     timerClock{time.Now(), cmp.Or(options.TimerScale, 1)},
		client:    &http.Client{Transport: &http.Transport{IdleConnTimeout: idleLimit}},
		logger:    logger,
		console:   &console{logger: logger, copy: options.Output, errorsOnly: command.stderrIsErrorOnly},
		done:      make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	if h.worker, err = h.start(); err != nil {
		h.cancel()
		return nil, fmt.Errorf("handler: %w", err)
	}
	for _, f := range functions {
		if f.trigger.is(timerTrigger) {
			t := newTimer(f, h.clock.now())
			h.timers[f.name] = t
			h.timing.Go(func() { h.runTimer(t) })
		}
	}
	go h.supervise(h.worker)
	return h, nil
}

var errNoFunctions = errors.New("a function is a folder with a function.json directly under the script root")

// Names returns the names of the functions, sorted.
func (h *Host) Names() []string { return slices.Sorted(maps.Keys(h.functions)) }

// URL returns the base URL of the handler process, which stays the same over
// restarts.
func (h *Host) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", h.port) }

// PID returns the process id of the current handler process. The process may
// have exited already.
func (h *Host) PID() int { return h.current().process.Process.Pid }

// Ready returns once the current handler process has answered GET /. It returns
// the reason if the app stops before, or the error of ctx.
func (h *Host) Ready(ctx context.Context) error {
	_, err := h.readyWorker(ctx)
	return err
}

// Done is closed when the app has stopped and no handler process is left.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err says why the app stopped by itself; it is nil while the app runs and
// after Close.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Close stops the handler with SIGKILL, as the host does, and waits until the
// process is gone. Invocations in flight fail.
func (h *Host) Close() {
	h.cancel()
	<-h.done
}

func (h *Host) current() *worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.worker
}

func (h *Host) start() (*worker, error) {
	w, err := startWorker(h.command, h.root, h.port, h.console)
	if err != nil {
		return nil, err
	}
	h.logger.Info("worker process started", "path", h.command.path, "pid", w.process.Process.Pid, "port", h.port)
	go w.awaitReady(h.command.initTimeout)
	return w, nil
}

// supervise watches the handler process and restarts it until the app stops.
func (h *Host) supervise(w *worker) {
	defer close(h.done)
	defer h.timing.Wait()
	for {
		restart, err := h.ended(w)
		if !restart {
			h.stop(w, err)
			return
		}
		next, err := h.start()
		if err != nil {
			h.stop(w, fmt.Errorf("restart handler: %w", err))
			return
		}
		h.mu.Lock()
		h.worker = next
		h.mu.Unlock()
		close(w.replaced)
		w = next
	}
}

// ended waits for the end of a handler process and says whether the host
// starts another one. The error is set if the host gives up.
func (h *Host) ended(w *worker) (restart bool, err error) {
	select {
	case <-h.ctx.Done():
		return false, nil
	case <-w.exited:
	}
	if h.ctx.Err() != nil {
		return false, nil
	}
	switch reason := w.killReason(); {
	case reason == killTimeout:
		return true, nil
	case reason == killInit:
		return h.countError(errors.New("initializing the handler timed out"))
	case w.exitCode == 0:
		h.logger.Error("handler exited with code 0: the host does not restart it, every invocation fails from now on")
		select {
		case <-h.ctx.Done():
			return false, nil
		case <-w.initFailed:
			return h.countError(errors.New("initializing the handler timed out"))
		}
	case w.exitCode == 200:
		h.logger.Info("handler asked to be restarted with exit code 200")
		return true, nil
	default:
		return h.countError(fmt.Errorf("handler exited with code %d", w.exitCode))
	}
}

// countError records an error of the handler process and says whether the host
// still restarts it.
func (h *Host) countError(err error) (restart bool, final error) {
	h.logger.Error("language worker process exited", "error", err)
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.errors); n > 0 && now.Sub(h.errors[n-1]) > errorWindow {
		h.errors = nil
	}
	h.errors = append(h.errors, now)
	if len(h.errors) >= errorLimit {
		return false, fmt.Errorf("exceeded http worker restart retry count, shutting down: %w", err)
	}
	return true, nil
}

// stop kills the process if it still runs and waits for its end.
func (h *Host) stop(w *worker, err error) {
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	if err != nil {
		h.logger.Error("host stopped", "error", err)
	}
	w.kill(killStop)
	<-w.exited
	h.cancel()
	h.client.CloseIdleConnections()
	close(w.replaced)
}

// errStopped is returned for invocations of a stopped app.
var errStopped = errors.New("functions host is stopped")

// readyWorker waits for a handler process that has answered GET /. After exit
// code 0 it returns the dead process, whose port refuses connections.
func (h *Host) readyWorker(ctx context.Context) (*worker, error) {
	for {
		if h.ctx.Err() != nil {
			return nil, cmp.Or(h.Err(), errStopped)
		}
		w := h.current()
		ready := w.ready
		if w.gone() {
			ready = nil
		}
		select {
		case <-h.ctx.Done():
		case <-ctx.Done():
			if h.ctx.Err() != nil {
				continue
			}
			return nil, ctx.Err()
		case <-w.replaced:
		case <-ready:
			return w, nil
		}
	}
}

// call is one invocation: its id, the rendered value of the trigger binding, the
// members of Metadata before sys, RetryContext after it, and the trace header. An
// empty id stands for a new id. Other empty fields are left out.
type call struct {
	id           string
	function     function
	data         []byte
	metadata     []netjson.Member
	retryContext []byte
	traceparent  string
	forwarded    *forwarded // is sent instead, and what comes back is not judged
}

// InvocationError is the failure of one invocation.
type InvocationError struct {
	Function     string // name of the function
	InvocationID string // as sent to the handler
	Err          error  // why it failed
}

func (e *InvocationError) Error() string {
	return fmt.Sprintf("invocation %s of %s: %v", e.InvocationID, e.Function, e.Err)
}

func (e *InvocationError) Unwrap() error { return e.Err }

// errTimeout is the failure of an invocation that outlasted functionTimeout.
var errTimeout = errors.New("timeout value exceeded by function")

// invoke runs one invocation to its end: the handler's verdict and the outputs,
// functionTimeout, or the end of the handler. The wait for readiness counts
// against the timeout.
func (h *Host) invoke(c call) error {
	_, err := h.run(c)
	return err
}

// run is invoke with the answer to the caller of an HTTP function.
func (h *Host) run(c call) (httpAnswer, error) {
	if c.id == "" {
		c.id = newUUID()
	}
	begun := time.Now()
	got, err := h.attempt(c)
	log := h.logger.With("function", c.function.name, "invocationId", c.id, "duration", time.Since(begun))
	if err != nil {
		level := slog.LevelError
		if h.ctx.Err() != nil && h.Err() == nil {
			level = slog.LevelInfo // Close waits for no invocation.
		}
		log.Log(h.ctx, level, "invocation failed", "error", err)
		return httpAnswer{}, &InvocationError{c.function.name, c.id, err}
	}
	log.Info("invocation succeeded")
	return got, nil
}

func (h *Host) attempt(c call) (httpAnswer, error) {
	ctx, cancel := h.ctx, context.CancelFunc(func() {})
	if h.command.functionTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, h.command.functionTimeout)
	}
	defer cancel()
	w, err := h.readyWorker(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return httpAnswer{}, h.timedOut(h.current())
	case err != nil:
		return httpAnswer{}, err
	}
	method, out := http.MethodPost, []byte(nil)
	if c.forwarded != nil {
		method, out = c.forwarded.request.Method, c.forwarded.bytes(c)
	} else {
		out = request(c, w.wire.address)
	}
	type reply struct {
		answer answer
		err    error
	}
	replies := make(chan reply, 1)
	go func() {
		a, err := w.wire.do(method, out)
		replies <- reply{a, err}
	}()
	var got reply
	select {
	case got = <-replies:
	case <-ctx.Done():
		if h.ctx.Err() == nil {
			return httpAnswer{}, h.timedOut(w)
		}
		got = <-replies
	}
	if got.err != nil {
		return httpAnswer{}, fmt.Errorf("request to the handler: %w", got.err)
	}
	if c.forwarded != nil {
		return httpAnswer{got.answer.status, got.answer.header, got.answer.body}, nil
	}
	result, err := judge(got.answer)
	if errors.Is(err, ErrHang) {
		w.kill(killTimeout)
	}
	for _, line := range result.Logs {
		h.logger.Info(line, "category", "Function."+c.function.name+".User", "invocationId", c.id)
	}
	if err != nil {
		return httpAnswer{}, err
	}
	return answerOf(c.function, result)
}

// timedOut fails an invocation and lets the handler be killed a little later,
// with everything it has in flight. The request itself is not cancelled.
func (h *Host) timedOut(w *worker) error {
	h.logger.Error("a function timeout has occurred, restarting worker process")
	time.AfterFunc(h.killGrace, func() { w.kill(killTimeout) })
	return errTimeout
}

// request writes the HTTP request of an invocation with the header fields in
// the order and the case of the host (Azure/azure-functions-host,
// HttpScriptInvocationContextExtensions.ToHttpRequestMessage).
func request(c call, address string) []byte {
	sys := netjson.AppendObject(nil, []netjson.Member{
		{Name: "MethodName", Value: netjson.AppendText(nil, c.function.name)},
		{Name: "UtcNow", Value: netjson.AppendText(nil, time.Now().UTC().Format(netjson.UTCTime))},
		{Name: "RandGuid", Value: netjson.AppendText(nil, newUUID())},
	})
	metadata := append(slices.Clone(c.metadata), netjson.Member{Name: "sys", Value: sys})
	if c.retryContext != nil {
		metadata = append(metadata, netjson.Member{Name: "RetryContext", Value: c.retryContext})
	}
	body := netjson.AppendObject(nil, []netjson.Member{
		{Name: "Data", Value: netjson.AppendObject(nil, []netjson.Member{{Name: c.function.trigger.Name, Value: c.data}})},
		{Name: "Metadata", Value: netjson.AppendObject(nil, metadata)},
	})
	var head strings.Builder
	fmt.Fprintf(&head, "POST /%s HTTP/1.1\r\n", c.function.name)
	fmt.Fprintf(&head, "Host: %s\r\n", address)
	fmt.Fprintf(&head, "X-Azure-Functions-HostVersion: %s\r\n", hostVersion)
	fmt.Fprintf(&head, "X-Azure-Functions-InvocationId: %s\r\n", c.id)
	fmt.Fprintf(&head, "User-Agent: Azure-Functions-Host/%s\r\n", hostVersion)
	if c.traceparent != "" {
		fmt.Fprintf(&head, "traceparent: %s\r\n", c.traceparent)
	}
	fmt.Fprintf(&head, "Content-Type: application/json; charset=utf-8\r\n")
	fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", len(body))
	return append([]byte(head.String()), body...)
}
