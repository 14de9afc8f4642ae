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
	"cmp"
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

	"hubwatch/handlers/scan"
)

// Invocation is one call of a function by the host.
type Invocation struct {
	Function string         // its name, as in the path
	ID       string         // the host's id of the invocation, the same for its retries
	Data     jsontext.Value // the value of the trigger's binding
	// Scanned is Data as it was scanned, which saves whoever reads Data a pass over it. It
	// is not there if the request has something unusual, a member that stands twice
	// above all. It is good until the function returns. What its texts are parts of stays,
	// unless the Outcome is Forgotten.
	Scanned scan.Value
	// Checked is how long it took to check the request and to find Data in it. It is measured
	// for Fair functions alone.
	Checked time.Duration
	request []byte // the whole body, with what the host says beside Data
}

// Outcome is what a function did, for the answer and the log.
type Outcome struct {
	Events      int            // that came
	EventID     string         // of the first
	Findings    int            // alerts that were stored
	Quarantined int            // events that can never be judged
	Unmatched   int            // events that the function is not for
	Notes       []string       // for a person who reads the log
	Counts      map[string]int // how often something else happened, by its name, for the log
	// Forgotten says that nothing has a part of the request any more but the Outcome, so that
	// its memory is used again. The texts of an event, too, are such parts.
	Forgotten bool
	response  *response // to the request of an HTTP trigger
	request   []byte    // what is forgotten
}

// Limits of the invocations of a lane. The zero value of each stands for its
// default. docs/design.md, "Bounds", has what they add up to in memory.
type Limits struct {
	// Concurrency is how many invocations run at once. The others wait. Default 64.
	Concurrency int
	// Waiting is how many more wait. Those beyond are answered 500 at once, and come
	// again later. So memory has a bound while the table is away: an invocation that
	// waits takes some 40 KB. Default 512.
	Waiting int
	// Timeout bounds an invocation, its wait included. Default 20 s, since Event
	// Grid waits for 30 s (https://learn.microsoft.com/azure/event-grid/delivery-and-retry).
	Timeout time.Duration
	// BodyTimeout bounds the reading of a body, the wait for room not included.
	// Default 10 s: the host has all of a body before it sends the first byte.
	BodyTimeout time.Duration
	// Body is the most bytes that a request may have, unless its function takes more. Default 8 MiB. Event Grid and
	// Event Hubs take at most 1 MB
	// (https://learn.microsoft.com/azure/event-grid/quotas-limits,
	// https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas). The host makes at
	// most seven times as much of that: it writes a control character of a message
	// as \u and four digits, and the data of an event twice.
	Body int64
	// Room is how many bytes of bodies are in memory at once. Default 8 MiB: a thousand
	// usual events, or one body of the largest size. Less than Body counts as Body.
	Room int64
}

func (l Limits) orDefault() Limits {
	l.Concurrency = cmp.Or(l.Concurrency, 64)
	l.Waiting = cmp.Or(l.Waiting, 512)
	l.Timeout = cmp.Or(l.Timeout, 20*time.Second)
	l.BodyTimeout = cmp.Or(l.BodyTimeout, 10*time.Second)
	l.Body = cmp.Or(l.Body, 8<<20)
	l.Room = max(cmp.Or(l.Room, 8<<20), l.Body)
	return l
}

// Handler answers the requests of the Functions host.
type Handler struct {
	functions map[string]served
	broken    Broken
	log       *slog.Logger
	limits    Limits
	late      error // why an invocation ends that takes too long
}

// served is a function and its lane.
type served struct {
	Function
	*lane
	told slog.Attr // its name, for the log
}

// Broken keeps a request that is not an invocation, and never will be one. reason
// says why. in.Data is the body, or the beginning of a body that is too long. size is
// how many bytes came. An error means that the request is not kept, so that the host
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
	most := map[string]int64{} // by lane
	for _, f := range functions {
		most[f.Lane] = max(most[f.Lane], limits.Body, f.Body)
	}
	lanes := map[string]rooms{}
	h := &Handler{map[string]served{}, broken, log, limits, fmt.Errorf("not done within %v", limits.Timeout)}
	for _, f := range functions {
		if _, ok := lanes[f.Lane]; !ok {
			limits := limits
			limits.Room = max(limits.Room, most[f.Lane])
			lanes[f.Lane] = newRooms(limits)
		}
		f.Body = max(f.Body, limits.Body)
		h.functions[f.Name] = served{f, lanes[f.Lane].lane(f.Fair), slog.Any("function", cleaned(clean(f.Name)))}
	}
	return h, nil
}

// invocationHeader is the header with the id of an invocation, in the form of the keys
// of an http.Header.
const invocationHeader = "X-Azure-Functions-Invocationid"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		// The host asks for / until it is answered, and now and then afterwards
		// (Azure/azure-functions-host, DefaultHttpWorkerService.IsWorkerReady).
		answer(w, http.StatusOK, []byte("{}"))
		return
	}
	start := time.Now()
	in := Invocation{Function: strings.TrimPrefix(r.URL.Path, "/")}
	if ids := r.Header[invocationHeader]; len(ids) > 0 {
		in.ID = ids[0]
	}
	out, notes, body, err := h.invoke(w, r, in, start)
	h.record(r.Context(), in, out, notes, err, start)
	forget(out.request)
	if err != nil {
		body, _ = json.Marshal(failure{Error: clean(err.Error())}) // clean leaves nothing that Marshal refuses
		answer(w, http.StatusInternalServerError, body)
		return
	}
	answer(w, http.StatusOK, body)
}

// invoke runs the function that r asks for, and returns the notes of its outcome, fit
// to be told, and the body of the answer. An error is an answer of 500.
func (h *Handler) invoke(w http.ResponseWriter, r *http.Request, in Invocation, start time.Time) (out Outcome, notes []string, body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, notes, body, err = Outcome{}, nil, nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	function, ok := h.functions[in.Function]
	if !ok {
		return out, nil, nil, fmt.Errorf("there is no function %q in this handler", in.Function)
	}
	if r.Method != http.MethodPost {
		return out, nil, nil, fmt.Errorf("method %s: the host invokes functions with POST", r.Method)
	}
	ctx := &deadline{parent: r.Context(), end: start.Add(h.limits.Timeout), cause: h.late}
	defer ctx.finish()
	if err := function.enter(); err != nil {
		w.Header().Set("Connection", "close") // so that idle connections do not add up instead
		return out, nil, nil, err
	}
	defer function.leave()
	// The body comes before the slot, so that one that comes slowly keeps nobody from
	// running.
	most := expected(r, function.Body)
	if err := function.reserve(ctx, most); err != nil {
		return out, nil, nil, err
	}
	defer function.release(most)
	request, size, err := h.read(ctx, w, r, most, function.Body)
	if err != nil {
		return out, nil, nil, fmt.Errorf("request body: %w", err)
	}
	if err := function.start(ctx); err != nil {
		return out, nil, nil, err
	}
	defer function.end()
	if out, err = h.run(ctx, &function.Function, in, request, size); err != nil {
		return out, out.notes(), nil, err
	}
	if out.Forgotten {
		out.request = request
	}
	notes = out.notes()
	body, err = encode(out, notes)
	return out, notes, body, err
}

// run gives request to function, or to broken if it is not an invocation.
func (h *Handler) run(ctx context.Context, function *Function, in Invocation, request []byte, size int64) (out Outcome, err error) {
	in.request = request
	doc := docs.Get().(*scan.Doc)
	defer docs.Put(doc)
	defer doc.Forget(mostPlaces)
	var begin time.Time
	if function.Fair {
		begin = time.Now()
	}
	in.Data, in.Scanned, err = bound(doc, request, size, function.Body)
	if function.Fair {
		in.Checked = time.Since(begin)
	}
	if err != nil {
		in.Data = request
		return h.broken(ctx, in, size, err)
	}
	if function.Serve != nil {
		return serveHTTP(ctx, function.Serve, in)
	}
	return function.Run(ctx, in)
}

// record writes the line of an invocation.
func (h *Handler) record(ctx context.Context, in Invocation, out Outcome, notes []string, err error, start time.Time) {
	level := slog.LevelInfo
	switch {
	case err != nil:
		level = slog.LevelError
	case out.Quarantined+out.Unmatched > 0:
		level = slog.LevelWarn
	}
	log := h.log.Handler()
	if !log.Enabled(ctx, level) {
		return
	}
	name := slog.String("function", in.Function)
	if function, ok := h.functions[in.Function]; ok {
		name = function.told
	}
	end := time.Now()
	line := slog.NewRecord(end, level, invocationMessage, 0)
	line.AddAttrs(
		name,
		slog.String("invocationId", in.ID),
		slog.String("eventId", out.EventID),
		slog.Int("findings", out.Findings),
		slog.Float64("ms", float64(end.Sub(start).Microseconds())/1000),
	)
	if out.Events > 1 {
		line.AddAttrs(slog.Int("events", out.Events))
	}
	if out.Quarantined+out.Unmatched > 0 {
		line.AddAttrs(slog.Int("quarantined", out.Quarantined), slog.Int("unmatched", out.Unmatched))
	}
	if len(out.Counts) > 0 {
		line.AddAttrs(slog.Any("counts", out.Counts))
	}
	if len(notes) > 0 {
		line.AddAttrs(slog.Any("notes", cleaned(cut(strings.Join(notes, "; ")))))
	}
	if err != nil {
		line.AddAttrs(slog.String("error", err.Error()))
	}
	_ = log.Handle(ctx, line) // who could be told that the log cannot be written?
}

// mostNotes is how many notes of an outcome are told. An invocation can have an event
// for each few bytes of its body.
const mostNotes = 64

// notes returns the notes of an outcome fit for a log: each without secrets and of
// bounded length, and the last says how many are left out.
func (out Outcome) notes() []string {
	if len(out.Notes) == 0 {
		return nil
	}
	told := out.Notes[:min(mostNotes, len(out.Notes))]
	notes := make([]string, len(told))
	for i, note := range told {
		notes[i] = clean(note)
	}
	if n := len(out.Notes) - len(told); n > 0 {
		notes = append(notes, fmt.Sprintf("and %d more", n))
	}
	return notes
}

// result is the answer to an invocation that is done
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload).
type result struct {
	Outputs     map[string]*response // by output binding
	Logs        []string             // the host logs each for the invocation
	ReturnValue jsontext.Value
}

// failure is the answer to an invocation that is to be tried again. The host
// looks at its status alone.
type failure struct{ Error string }

// encode returns the answer to an invocation that is done, with notes fit to be told.
// Its error means that the host could not read it.
func encode(out Outcome, notes []string) ([]byte, error) {
	if out.response == nil && len(notes) == 0 {
		return silent, nil
	}
	if out.response == nil { // what result says, without reflection
		body := append(make([]byte, 0, usualAnswer), `{"Outputs":{},"Logs":[`...)
		for i, note := range notes {
			if i > 0 {
				body = append(body, ',')
			}
			body, _ = jsontext.AppendQuote(body, note) // an error would say that characters were replaced
		}
		return append(body, `],"ReturnValue":null}`...), nil
	}
	answer := result{Outputs: map[string]*response{responseBinding: out.response}, Logs: notes}
	body, err := json.Marshal(answer, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return body, nil
}

// usualAnswer is how many bytes nearly every answer has at most that has something to say.
const usualAnswer = 256

// silent is the answer of an invocation that has nothing to say. Most have nothing.
var silent = []byte(`{"Outputs":{},"Logs":[],"ReturnValue":null}`)

// The values of the headers of an answer that is silent. They are shared, and never
// changed.
var (
	jsonContent  = []string{"application/json"}
	silentLength = []string{strconv.Itoa(len(silent))}
)

// answer writes body, a JSON object, with its length.
func answer(w http.ResponseWriter, status int, body []byte) {
	length := silentLength
	if len(body) != len(silent) {
		length = []string{strconv.Itoa(len(body))}
	}
	header := w.Header()
	header["Content-Type"] = jsonContent
	header["Content-Length"] = length // net/http finds out for short ones only
	w.WriteHeader(status)
	_, _ = w.Write(body) // #nosec G705 -- JSON, to the host and never a browser; if this fails, it is gone and has the event delivered again
}
