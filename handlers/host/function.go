package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Function is one Azure Function: what starts it, and what it does.
type Function struct {
	// Name is the name of the function's folder and the path that the host posts to.
	Name    string
	Trigger Trigger
	Retry   *Retry // of triggers that the host itself retries; nil for none
	// Lane names what the function shares with all functions of the same lane: slots,
	// places and room for bodies. Invocations of one lane never wait for those of
	// another.
	Lane string
	// Fair functions have at most as much of what their lane shares as they leave free. So one
	// that gets more than it can do does not keep the others of its lane waiting.
	Fair bool
	// Body is the most bytes that a request may have, if that is more than Limits.Body.
	Body int64
	// Run does the work of an invocation. An error means that the host has to try
	// the invocation again.
	Run func(ctx context.Context, in Invocation) (Outcome, error)
	// Serve answers the requests of an HTTP trigger. Such a function has no Run.
	Serve http.Handler
}

// Trigger is what starts a function: EventGrid, EventHub, HTTP or Timer.
type Trigger interface {
	// bindings returns the bindings that the trigger has in function.json, itself
	// first.
	bindings() []binding
}

// EventGrid starts a function for each event of an event subscription
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-grid-trigger).
type EventGrid struct{}

// EventHub starts a function for each batch of messages of an event hub, whose
// texts the function gets
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-hubs-trigger).
type EventHub struct {
	Connection string // the name of the setting, or the prefix of the settings, of the connection
	Name       string // of the event hub, or the name of the setting that has it between percent signs
}

// HTTP starts a function for each request
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger).
type HTTP struct {
	Route   string   // below /api; "" for the function's name
	Methods []string // in lower case; nil for all
	Auth    string   // anonymous, function or admin
}

// Timer starts a function by the clock
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer).
type Timer struct {
	Schedule string // an NCRONTAB expression of six fields, UTC
}

// Binding is the name of the binding of a trigger of Event Grid.
const Binding = "event"

// Names of the bindings of the other triggers.
const (
	messagesBinding = "messages"
	requestBinding  = "request"
	responseBinding = "response"
	timerBinding    = "timer"
)

func (EventGrid) bindings() []binding {
	return []binding{{Type: "eventGridTrigger", Direction: "in", Name: Binding}}
}

func (t EventHub) bindings() []binding {
	return []binding{{
		Type: "eventHubTrigger", Direction: "in", Name: messagesBinding, Connection: t.Connection,
		EventHubName: t.Name, ConsumerGroup: "$Default", Cardinality: "many", DataType: "string",
	}}
}

func (t HTTP) bindings() []binding {
	return []binding{
		{Type: "httpTrigger", Direction: "in", Name: requestBinding, AuthLevel: t.Auth, Methods: t.Methods, Route: t.Route},
		{Type: "http", Direction: "out", Name: responseBinding},
	}
}

func (t Timer) bindings() []binding {
	return []binding{{Type: "timerTrigger", Direction: "in", Name: timerBinding, Schedule: t.Schedule}}
}

// Retry is what the host does with an invocation that failed: it tries again after
// waits that grow
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages#retry-policies).
type Retry struct {
	MaxCount                         int    // of further tries; -1 for no end
	MinimumInterval, MaximumInterval string // hh:mm:ss
}

// binding is a binding in the words of function.json
// (https://learn.microsoft.com/azure/azure-functions/functions-triggers-bindings).
type binding struct {
	Type          string   `json:"type"`
	Direction     string   `json:"direction"`
	Name          string   `json:"name"`
	Connection    string   `json:"connection,omitzero"`
	EventHubName  string   `json:"eventHubName,omitzero"`
	ConsumerGroup string   `json:"consumerGroup,omitzero"`
	Cardinality   string   `json:"cardinality,omitzero"`
	DataType      string   `json:"dataType,omitzero"`
	AuthLevel     string   `json:"authLevel,omitzero"`
	Methods       []string `json:"methods,omitempty"`
	Route         string   `json:"route,omitzero"`
	Schedule      string   `json:"schedule,omitzero"`
}

// retryPolicy is a Retry in the words of function.json.
type retryPolicy struct {
	Strategy        string `json:"strategy"`
	MaxRetryCount   int    `json:"maxRetryCount"`
	MinimumInterval string `json:"minimumInterval"`
	MaximumInterval string `json:"maximumInterval"`
}

// JSON returns the function.json of the function.
func (f Function) JSON() ([]byte, error) {
	v := struct {
		Bindings []binding    `json:"bindings"`
		Retry    *retryPolicy `json:"retry,omitempty"`
	}{Bindings: f.Trigger.bindings()}
	if f.Retry != nil {
		v.Retry = &retryPolicy{"exponentialBackoff", f.Retry.MaxCount, f.Retry.MinimumInterval, f.Retry.MaximumInterval}
	}
	b, err := json.Marshal(v, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", f.Name, err)
	}
	return append(b, '\n'), nil
}

// functionName is what the host takes for the name of a function, of at most longestName
// characters (Azure/azure-functions-host, Utility.cs, FunctionNameValidationRegex).
var functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

const longestName = 127

// Check returns an error that names each function that the host, or a Handler,
// could not serve.
func Check(functions []Function) error {
	var errs []error
	seen := map[string]bool{}
	for _, f := range functions {
		fault := func(text string) { errs = append(errs, fmt.Errorf("function %q: %s", f.Name, text)) }
		if len(f.Name) > longestName || !functionName.MatchString(f.Name) {
			fault("want a letter, then at most 126 letters, digits, hyphens and underscores for a name")
		}
		if seen[f.Name] {
			fault("there are two of this name")
		}
		seen[f.Name] = true
		_, isHTTP := f.Trigger.(HTTP)
		switch {
		case f.Trigger == nil:
			fault("no trigger")
		case isHTTP && (f.Serve == nil || f.Run != nil):
			fault("want Serve, and no Run, for a trigger of HTTP")
		case !isHTTP && (f.Run == nil || f.Serve != nil):
			fault("want Run, and no Serve, for a trigger that is not of HTTP")
		}
	}
	return errors.Join(errs...)
}
