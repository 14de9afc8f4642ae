package functions

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/netjson"
)

// requestLimit is the host's limit of a request body in bytes
// (Azure/azure-functions-host, DefaultMaxRequestBodySize).
const requestLimit = 104857600

// validOrigins are the Event Grid origins that the extension confirms in the
// CloudEvents handshake.
var validOrigins = []string{
	"eventgrid.azure.net", "eventgrid.azure.us", "eventgrid.azure.cn",
	"eventgrid.azure.eaglex.ic.gov", "eventgrid.azure.microsoft.scloud",
}

// ServeHTTP answers what comes to the app from outside: deliveries to the webhook
// of the Event Grid extension, requests for HTTP functions, and POST
// /admin/functions/<name>, which invokes a function by hand. It answers anything
// else with 404. Once the app has stopped, it answers everything with 503.
//
// It asks for no keys, as under func start, unless the options name one.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, byHand := strings.CutPrefix(r.URL.Path, "/admin/functions/")
	switch {
	case h.ctx.Err() != nil:
		http.Error(w, errStopped.Error(), http.StatusServiceUnavailable)
	case strings.EqualFold(r.URL.Path, eventgrid.WebhookPath):
		h.serveWebhook(w, r)
	case byHand:
		h.invokeByHand(w, r, name)
	default:
		h.serveFunction(w, r)
	}
}

// serveWebhook is the webhook of the Event Grid extension
// (Azure/azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.EventGrid,
// HttpRequestProcessor): it answers 202 after every event of a delivery
// succeeded, and 500 if one failed.
func (h *Host) serveWebhook(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodOptions {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := queryValue(r, "functionName")
	target, ok := h.functions[name]
	if !ok || !target.trigger.is(eventGridTrigger) {
		answerText(w, http.StatusNotFound, fmt.Sprintf("cannot find function: '%s'", name))
		return
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Webhook-Allowed-Origin", allowedOrigin(r.Header.Get("WebHook-Request-Origin")))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		answerText(w, http.StatusRequestEntityTooLarge, err.Error())
		return
	}
	switch strings.ToLower(r.Header.Get("aeg-event-type")) {
	case "subscriptionvalidation":
		answerValidation(w, body)
	case "notification":
		if isForm(r) {
			answerText(w, http.StatusInternalServerError, "a form is not a delivery")
			return
		}
		if err := h.deliver(target, body); err != nil {
			answerText(w, http.StatusInternalServerError, exception(err))
			return
		}
		w.WriteHeader(http.StatusAccepted)
	case "unsubscribe":
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

// Invoke delivers events to a function as the webhook does and waits for the
// verdict: delivery is the JSON of one event or of an array of events, in the
// Event Grid schema or CloudEvents 1.0. The error is an [*InvocationError] if the
// handler failed. If several invocations failed, it is the error of the first
// event. The end of ctx ends the wait, not the invocations.
func (h *Host) Invoke(ctx context.Context, functionName string, delivery []byte) error {
	target, ok := h.functions[functionName]
	if !ok || !target.trigger.is(eventGridTrigger) {
		return fmt.Errorf("cannot find function: '%s'", functionName)
	}
	return waitFor(ctx, func() error { return h.deliver(target, delivery) })
}

// deliver invokes a function with the events of one delivery: all of them in
// parallel without any bound, or in one invocation if the cardinality is many.
// The result is the first failure in the order of the events.
func (h *Host) deliver(target function, delivery []byte) error {
	raws := [][]byte{delivery}
	if bytes.HasPrefix(bytes.TrimSpace(delivery), []byte("[")) {
		var err error
		if raws, err = netjson.SplitArray(delivery); err != nil {
			return fmt.Errorf("delivery: %w", err)
		}
	}
	events := make([]gridEvent, len(raws))
	for i, raw := range raws {
		var err error
		if events[i], err = parseGridEvent(raw); err != nil {
			return fmt.Errorf("delivery: event %d: %w", i, err)
		}
	}
	if len(events) == 0 {
		return nil
	}
	calls := eventGridCalls(target, events)
	errs := make([]error, len(calls))
	var group sync.WaitGroup
	for i, c := range calls {
		group.Go(func() { errs[i] = h.invoke(c) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// gridEvent is an event as the host hands it on.
type gridEvent struct {
	text []byte // the rendered event
	data []byte // its rendered data; nil if it has none
}

func parseGridEvent(raw []byte) (gridEvent, error) {
	members, err := netjson.SplitObject(raw)
	if err != nil {
		return gridEvent{}, err
	}
	var data []byte
	for i, m := range members {
		value, err := netjson.Render(m.Value)
		if err != nil {
			return gridEvent{}, err
		}
		members[i].Value = value
		if m.Name == "data" {
			data = value
		}
	}
	return gridEvent{netjson.AppendObject(nil, members), data}, nil
}

// eventGridCalls lays out Data and Metadata.data: an object stays an object,
// everything else becomes a string that holds JSON, because the host first
// tries JObject.FromObject (Azure/azure-functions-host,
// ScriptInvocationContextExtensions). All calls of a delivery share a trace id.
func eventGridCalls(target function, events []gridEvent) []call {
	trace := randomHex(16)
	if target.many() {
		texts, datas := make([][]byte, len(events)), make([][]byte, len(events))
		for i, event := range events {
			texts[i], datas[i] = event.text, event.data
			if event.data == nil {
				datas[i] = []byte("null")
			}
		}
		return []call{{
			function:    target,
			data:        netjson.Stringified(netjson.AppendArray(nil, texts)),
			metadata:    []netjson.Member{{Name: "data", Value: netjson.Stringified(netjson.AppendArray(nil, datas))}},
			traceparent: newTraceparent(trace),
		}}
	}
	calls := make([]call, len(events))
	for i, event := range events {
		calls[i] = call{function: target, data: event.text, traceparent: newTraceparent(trace)}
		switch {
		case event.data == nil:
		case event.data[0] == '{':
			calls[i].metadata = []netjson.Member{{Name: "data", Value: event.data}}
		default:
			calls[i].metadata = []netjson.Member{{Name: "data", Value: netjson.Stringified(event.data)}}
		}
	}
	return calls
}

// newTraceparent returns the trace header of a new span in a trace, which is not
// recorded.
func newTraceparent(trace string) string { return "00-" + trace + "-" + randomHex(8) + "-00" }

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return fmt.Sprintf("%x", b)
}

// exception is the text that the extension sends back for a failure.
func exception(err error) string {
	if failed, ok := errors.AsType[*InvocationError](err); ok {
		return "Exception while executing function: Functions." + failed.Function
	}
	return err.Error()
}

// answerValidation confirms the handshake of an Event Grid schema subscription.
// The code stands in data, which is an object in an array's event and a string
// of JSON in a single event.
func answerValidation(w http.ResponseWriter, body []byte) {
	type validation struct {
		ValidationCode string `json:"validationCode"`
	}
	var code validation
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		var events []struct {
			Data validation `json:"data"`
		}
		if err = json.Unmarshal(body, &events); err == nil && len(events) == 0 {
			err = errors.New("no event")
		}
		if err == nil {
			code = events[0].Data
		}
	} else {
		var event struct {
			Data string `json:"data"`
		}
		if err = json.Unmarshal(body, &event); err == nil {
			err = json.Unmarshal([]byte(event.Data), &code)
		}
	}
	if err != nil {
		answerText(w, http.StatusInternalServerError, fmt.Sprintf("subscription validation: %v", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(netjson.AppendObject(nil, []netjson.Member{{Name: "validationResponse", Value: netjson.AppendText(nil, code.ValidationCode)}}))
}

func allowedOrigin(origin string) string {
	if slices.Contains(validOrigins, strings.ToLower(origin)) {
		return origin
	}
	return validOrigins[0]
}

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// unmarshalBody reads a JSON object of a few members.
func unmarshalBody(w http.ResponseWriter, r *http.Request, target any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, target, json.MatchCaseInsensitiveNames(true))
}

// queryValue returns a query parameter whose name may have any case.
func queryValue(r *http.Request, name string) string {
	for key, values := range r.URL.Query() {
		if strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

func isForm(r *http.Request) bool {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return media == "application/x-www-form-urlencoded" || media == "multipart/form-data"
}
