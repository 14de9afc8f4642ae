package functions

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The binding types that this host knows, in lower case.
const (
	eventGridTrigger = "eventgridtrigger"
	eventHubTrigger  = "eventhubtrigger"
	httpTrigger      = "httptrigger"
	timerTrigger     = "timertrigger"
	httpOutput       = "http"
)

var bindingTypes = []string{eventGridTrigger, eventHubTrigger, httpTrigger, timerTrigger, httpOutput}

// functionFile is the part of function.json that matters here.
type functionFile struct {
	Bindings []binding  `json:"bindings"`
	Retry    *retryFile `json:"retry"`
}

// binding is one entry of function.json. EventHubName and Connection keep the
// names of settings as they are written, because this host connects to nothing.
type binding struct {
	Type      string `json:"type"`
	Direction string `json:"direction"`
	Name      string `json:"name"`

	Cardinality   string `json:"cardinality"`
	DataType      string `json:"dataType"`
	EventHubName  string `json:"eventHubName"`
	ConsumerGroup string `json:"consumerGroup"`
	Connection    string `json:"connection"`

	AuthLevel string   `json:"authLevel"`
	Methods   []string `json:"methods"`
	Route     string   `json:"route"`

	Schedule     string `json:"schedule"`
	RunOnStartup bool   `json:"runOnStartup"`
	UseMonitor   *bool  `json:"useMonitor"`
}

// is reports whether the binding has a type, which is given in lower case.
func (b binding) is(bindingType string) bool { return strings.EqualFold(b.Type, bindingType) }

// function is a loaded function.
type function struct {
	name     string
	trigger  binding
	answer   *binding     // of an HTTP function: the output that is its answer; nil if it has none
	retry    *retryPolicy // of an Event Hubs or timer function; nil means that nothing is tried again
	route    route        // of an HTTP function
	schedule schedule     // of a timer function
}

// many reports whether one invocation takes several events.
func (f function) many() bool { return strings.EqualFold(f.trigger.Cardinality, "many") }

// httpInAndOut reports whether an HTTP request is the input and its answer the output.
// Only then can the request be forwarded
// (Azure/azure-functions-host,
// FunctionMetadataExtensions.IsHttpInAndOutFunction).
func (f function) httpInAndOut() bool {
	return f.trigger.is(httpTrigger) && f.answer != nil
}

var (
	functionName = regexp.MustCompile(`^(?i)[a-z][a-z0-9_\-]{0,127}$`)
	bindingName  = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$`)
)

// loadFunctions reads the functions of an app: the direct child folders of root
// that hold a function.json, and no deeper ones (Azure/azure-functions-host,
// HostFunctionMetadataProvider.ReadFunctionsMetadata). A function that cannot
// be served is left out, and errs names the function and its file; err is set if
// root cannot be read.
func loadFunctions(root string, app command) (functions map[string]function, errs []error, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, nil, err
	}
	functions = map[string]function{}
	var routes []function
	for _, entry := range entries {
		file := filepath.Join(root, entry.Name(), "function.json")
		if !isFile(file) {
			continue
		}
		f, err := loadFunction(entry.Name(), file, app)
		if err == nil && f.trigger.is(httpTrigger) {
			err = f.route.conflicts(routes)
			routes = append(routes, f)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the '%s' function is in error: %s: %w", entry.Name(), file, err))
			continue
		}
		functions[f.name] = f
	}
	return functions, errs, nil
}

// loadFunction reads one function. The error does not name the file.
func loadFunction(name, file string, app command) (function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return function{}, errors.New("the name of the folder is not allowed")
	}
	var content functionFile
	if err := readJSON(file, &content); err != nil {
		return function{}, err
	}
	if len(content.Bindings) == 0 {
		return function{}, errors.New("at least one binding must be declared")
	}
	f := function{name: name}
	var triggers []binding
	var unknown []string
	for i, b := range content.Bindings {
		if !bindingName.MatchString(b.Name) {
			return function{}, fmt.Errorf("the binding name %q is not allowed", b.Name)
		}
		if !slices.ContainsFunc(bindingTypes, b.is) {
			unknown = append(unknown, "'"+b.Type+"'")
		} else if member, err := f.bind(b, app); err != nil {
			return function{}, fmt.Errorf("bindings[%d].%s: %w", i, member, err)
		}
		if strings.HasSuffix(strings.ToLower(b.Type), "trigger") {
			triggers = append(triggers, b)
		}
	}
	if len(unknown) > 0 {
		return function{}, fmt.Errorf("the binding type(s) %s are not registered", strings.Join(unknown, ", "))
	}
	if len(triggers) != 1 {
		return function{}, fmt.Errorf("it has %d triggers instead of one", len(triggers))
	}
	f.trigger = triggers[0]
	if f.answer != nil && !f.trigger.is(httpTrigger) {
		return function{}, fmt.Errorf("the binding %s is an answer, and the function has no httpTrigger", f.answer.Name)
	}
	if content.Retry != nil && (f.trigger.is(eventHubTrigger) || f.trigger.is(timerTrigger)) {
		policy, member, err := content.Retry.policy()
		if err != nil {
			return function{}, fmt.Errorf("retry.%s: %w", member, err)
		}
		f.retry = &policy
	}
	return f, nil
}

var errMissing = errors.New("it is missing")

// bind adds a binding to its function. The error is about the named member, whose
// value this host cannot serve. This host passes messages of an event hub only as
// text. With cardinality many, function.json has to say so for the real host.
func (f *function) bind(b binding, app command) (member string, err error) {
	direction := "in"
	if b.is(httpOutput) {
		direction = "out"
	}
	switch {
	case !strings.EqualFold(b.Direction, direction) && (b.Direction != "" || direction == "out"):
		return "direction", fmt.Errorf("%q is not %s", b.Direction, direction)
	case b.is(httpOutput):
		if f.answer != nil {
			return "type", errors.New("there is one answer to a request already")
		}
		f.answer = &b
	case b.is(httpTrigger):
		if member, err = b.checkHTTP(); err != nil {
			return member, err
		}
		if f.route, err = newRoute(app.routePrefix, cmp.Or(b.Route, f.name), b.Methods); err != nil {
			return "route", err
		}
	case b.is(timerTrigger):
		if b.Schedule == "" {
			return "schedule", errMissing
		}
		if f.schedule, err = newSchedule(b.Schedule, app.environment); err != nil {
			return "schedule", err
		}
	default:
		return b.checkEvents()
	}
	return "", nil
}

// checkHTTP returns the first member of an HTTP trigger that cannot be served.
func (b binding) checkHTTP() (member string, err error) {
	levels := []string{"", "anonymous", "function", "admin"}
	if !slices.Contains(levels, strings.ToLower(b.AuthLevel)) {
		return "authLevel", fmt.Errorf("%q is none of anonymous, function and admin", b.AuthLevel)
	}
	return "", nil
}

// checkEvents returns the first member of a trigger of events or messages that
// cannot be served.
func (b binding) checkEvents() (member string, err error) {
	switch {
	case b.Cardinality != "" && !strings.EqualFold(b.Cardinality, "one") && !strings.EqualFold(b.Cardinality, "many"):
		return "cardinality", fmt.Errorf("%q is neither one nor many", b.Cardinality)
	case b.is(eventGridTrigger):
		return "", nil
	case b.EventHubName == "":
		return "eventHubName", errMissing
	case b.Connection == "":
		return "connection", errMissing
	case !strings.EqualFold(b.DataType, "string") && (b.DataType != "" || strings.EqualFold(b.Cardinality, "many")):
		return "dataType", fmt.Errorf("%q is not string", b.DataType)
	}
	return "", nil
}
