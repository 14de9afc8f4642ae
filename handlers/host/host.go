// Package host speaks the custom-handler protocol of Azure Functions
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers).
// It is the only package that knows the Functions host, whose rules it keeps:
//
//   - Every answer is a JSON object. After an empty 2xx, a 204 or the JSON null
//     the host waits until functionTimeout and then kills the process, and with
//     it every other invocation (Azure/azure-functions-host,
//     DefaultHttpWorkerService.ProcessDefaultInvocationRequest).
//   - 200 means done: judged and stored, or quarantined. 500 means try again: the
//     host turns whatever is not 2xx into a 500 for Event Grid, which retries it.
//     There is no third answer.
//   - The host has no limit on concurrent invocations and does not cancel one that
//     takes too long, so this package has both.
package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Invocation is one call of a function by the host.
type Invocation struct {
	Function string         // its name, as in the path
	ID       string         // the host's id of the invocation, the same for its retries
	Data     jsontext.Value // the value of the trigger's binding
	// Members are those of Data by name, parts of Data, if Data is an object in which
	// no member of any object stands twice. Otherwise it is nil. It spares whoever
	// reads Data a pass over it.
	Members map[string]jsontext.Value
}

// Outcome is what a function did, for the answer and the log.
type Outcome struct {
	Events      int                       // that came
	EventID     string                    // of the first
	Findings    int                       // alerts that were stored
	Quarantined int                       // events that can never be judged
	Unmatched   int                       // events that the function is not for
	Notes       []string                  // what a person who reads the log should know of this invocation
	Counts      map[string]int            // of what else there was, by name, for the log
	Outputs     map[string]jsontext.Value // what the host is to do with it, by output binding
}

// Limits of one invocation. The zero value of each stands for its default.
type Limits struct {
	// Concurrency is how many invocations of a lane run at once; the others wait.
	// Default 64.
	Concurrency int
	// Waiting is how many more of a lane wait. Those beyond are answered 500 at once, and come
	// again later, so that memory has a bound while the table is away: each that
	// waits takes some 40 KB. Default 512.
	Waiting int
	// Timeout bounds an invocation, its wait included. Default 20 s, since Event
	// Grid waits for 30 s (https://learn.microsoft.com/azure/event-grid/delivery-and-retry).
	Timeout time.Duration
	// Body is the most bytes of a request that are taken. Default 16 MiB: an event
	// has at most 1 MB, and the host sends its data twice.
	Body int64
}

func (l Limits) orDefault() Limits {
	if l.Concurrency == 0 {
		l.Concurrency = 64
	}
	if l.Waiting == 0 {
		l.Waiting = 512
	}
	if l.Timeout == 0 {
		l.Timeout = 20 * time.Second
	}
	if l.Body == 0 {
		l.Body = 16 << 20
	}
	return l
}

// Handler answers the requests of the Functions host.
type Handler struct {
	functions map[string]served
	broken    Broken
	log       *slog.Logger
	limits    Limits
}

// served is a function and its lane.
type served struct {
	Function
	*lane
}

// lane has the slots and places of the functions that share it.
type lane struct {
	slots  chan struct{} // held by those that run
	places chan struct{} // held by those that run and those that wait
}

// Broken keeps a request to a function that is not an invocation, because of
// reason, and never will be one. in.Data is the body, or the beginning of it, and
// size how many bytes came. An error means that it is not kept, so that the host
// has to try again.
type Broken func(ctx context.Context, in Invocation, size int64, reason error) (Outcome, error)

// NewHandler returns a Handler for functions. What cannot be given to a function
// goes to broken. Each invocation gives one line in log, without any payload. The
// error is that of Check.
func NewHandler(functions []Function, broken Broken, log *slog.Logger, limits Limits) (*Handler, error) {
	if err := Check(functions); err != nil {
		return nil, err
	}
	limits = limits.orDefault()
	lanes := map[string]*lane{}
	h := &Handler{map[string]served{}, broken, log, limits}
	for _, f := range functions {
		if lanes[f.Lane] == nil {
			lanes[f.Lane] = &lane{make(chan struct{}, limits.Concurrency), make(chan struct{}, limits.Concurrency+limits.Waiting)}
		}
		h.functions[f.Name] = served{f, lanes[f.Lane]}
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		// The host asks for / until it is answered, and now and then afterwards
		// (Azure/azure-functions-host, DefaultHttpWorkerService.IsWorkerReady).
		answer(w, http.StatusOK, []byte("{}"))
		return
	}
	start := time.Now()
	in := Invocation{
		Function: strings.TrimPrefix(r.URL.Path, "/"),
		ID:       r.Header.Get("X-Azure-Functions-InvocationId"),
	}
	out, err := h.invoke(w, r, in)
	var body []byte
	if err == nil {
		body, err = encode(out)
	}
	h.record(r.Context(), in, out, err, time.Since(start))
	if err != nil {
		body, _ = json.Marshal(failure{Error: clean(err.Error())}) // clean has made it fit
		answer(w, http.StatusInternalServerError, body)
		return
	}
	answer(w, http.StatusOK, body)
}

// invoke runs the function that r asks for. An error is an answer of 500.
func (h *Handler) invoke(w http.ResponseWriter, r *http.Request, in Invocation) (out Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = Outcome{}, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeoutCause(r.Context(), h.limits.Timeout, fmt.Errorf("not done within %v", h.limits.Timeout))
	defer cancel()

	function, ok := h.functions[in.Function]
	if !ok {
		return out, fmt.Errorf("there is no function %q in this handler", in.Function)
	}
	if r.Method != http.MethodPost {
		return out, fmt.Errorf("method %s: the host invokes functions with POST", r.Method)
	}
	select {
	case function.places <- struct{}{}:
		defer func() { <-function.places }()
	default:
		w.Header().Set("Connection", "close") // so that idle connections do not add up instead
		return out, fmt.Errorf("no place: %d invocations are under way", cap(function.places))
	}
	select {
	case function.slots <- struct{}{}:
		defer func() { <-function.slots }()
	case <-ctx.Done():
		return out, fmt.Errorf("no slot among %d: %w", h.limits.Concurrency, context.Cause(ctx))
	}
	body, size, err := h.read(ctx, w, r)
	if err != nil {
		return out, fmt.Errorf("request body: %w", err)
	}
	if in.Data, in.Members, err = bound(body, size); err != nil {
		in.Data = body
		return h.broken(ctx, in, size, err)
	}
	if function.Serve != nil {
		return serveHTTP(ctx, function.Serve, in)
	}
	return function.Run(ctx, in)
}

// record writes the line of an invocation.
func (h *Handler) record(ctx context.Context, in Invocation, out Outcome, err error, took time.Duration) {
	level := slog.LevelInfo
	attributes := []slog.Attr{
		slog.String("function", in.Function),
		slog.String("invocationId", in.ID),
		slog.String("eventId", out.EventID),
		slog.Int("findings", out.Findings),
		slog.Float64("ms", float64(took.Microseconds())/1000),
	}
	if out.Events > 1 {
		attributes = append(attributes, slog.Int("events", out.Events))
	}
	if out.Quarantined+out.Unmatched > 0 {
		level = slog.LevelWarn
		attributes = append(attributes, slog.Int("quarantined", out.Quarantined), slog.Int("unmatched", out.Unmatched))
	}
	if len(out.Counts) > 0 {
		attributes = append(attributes, slog.Any("counts", out.Counts))
	}
	if len(out.Notes) > 0 {
		attributes = append(attributes, slog.String("notes", strings.Join(out.Notes, "; ")))
	}
	if err != nil {
		level = slog.LevelError
		attributes = append(attributes, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(ctx, level, "invocation", attributes...)
}

// result is the answer to an invocation that is done
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload).
type result struct {
	Outputs     map[string]jsontext.Value // by output binding
	Logs        []string                  // the host logs each for the invocation
	ReturnValue jsontext.Value
}

// failure is the answer to an invocation that is to be tried again. The host
// looks at its status alone.
type failure struct{ Error string }

// encode returns the answer to an invocation that is done. Its error means that
// the outputs are no JSON.
func encode(out Outcome) ([]byte, error) {
	logs := make([]string, len(out.Notes))
	for i, note := range out.Notes {
		logs[i] = clean(note)
	}
	body, err := json.Marshal(result{Outputs: out.Outputs, Logs: logs})
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return body, nil
}

// answer writes body, a JSON object, with its length.
func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body))) // net/http finds out for short ones only
	w.WriteHeader(status)
	_, _ = w.Write(body) // #nosec G705 -- JSON, to the host and never a browser; if this fails, it is gone and has the event delivered again
}
