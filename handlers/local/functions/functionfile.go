package functions

import (
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
	eventGridOutput  = "eventgrid"
)

var bindingTypes = []string{eventGridTrigger, eventHubTrigger, eventGridOutput}

// functionFile is the part of function.json that matters here.
type functionFile struct {
	Bindings []binding  `json:"bindings"`
	Retry    *retryFile `json:"retry"`
}

// binding is one entry of function.json. Names of settings in EventHubName and
// Connection stay as they are written: nothing is connected to.
type binding struct {
	Type          string `json:"type"`
	Direction     string `json:"direction"`
	Name          string `json:"name"`
	Cardinality   string `json:"cardinality"`
	DataType      string `json:"dataType"`
	EventHubName  string `json:"eventHubName"`
	ConsumerGroup string `json:"consumerGroup"`
	Connection    string `json:"connection"`
}

// is reports whether the binding has a type, which is given in lower case.
func (b binding) is(bindingType string) bool { return strings.EqualFold(b.Type, bindingType) }

// function is a loaded function.
type function struct {
	name    string
	trigger binding
	outputs []binding
	retry   *retryPolicy // of an Event Hubs function; nil means that nothing is tried again
}

// many reports whether one invocation takes several events.
func (f function) many() bool { return strings.EqualFold(f.trigger.Cardinality, "many") }

var (
	functionName = regexp.MustCompile(`^(?i)[a-z][a-z0-9_\-]{0,127}$`)
	bindingName  = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$`)
)

// loadFunctions reads the functions of an app: the direct child folders of root
// that hold a function.json, and no deeper ones (Azure/azure-functions-host,
// HostFunctionMetadataProvider.ReadFunctionsMetadata). A function that cannot
// be served is left out and named in errs; err is set if root cannot be read.
func loadFunctions(root string) (functions map[string]function, errs []error, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, nil, err
	}
	functions = map[string]function{}
	for _, entry := range entries {
		file := filepath.Join(root, entry.Name(), "function.json")
		if !isFile(file) {
			continue
		}
		f, err := loadFunction(entry.Name(), file)
		if err != nil {
			errs = append(errs, fmt.Errorf("the '%s' function is in error: %w", entry.Name(), err))
			continue
		}
		functions[f.name] = f
	}
	return functions, errs, nil
}

func loadFunction(name, file string) (function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return function{}, errors.New("its name is not allowed")
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
		} else if member, err := b.check(); err != nil {
			return function{}, fmt.Errorf("%s: bindings[%d].%s: %w", file, i, member, err)
		}
		if strings.HasSuffix(strings.ToLower(b.Type), "trigger") {
			triggers = append(triggers, b)
		} else {
			f.outputs = append(f.outputs, b)
		}
	}
	if len(unknown) > 0 {
		return function{}, fmt.Errorf("the binding type(s) %s are not registered", strings.Join(unknown, ", "))
	}
	if len(triggers) != 1 {
		return function{}, fmt.Errorf("it has %d triggers instead of one", len(triggers))
	}
	f.trigger = triggers[0]
	if content.Retry != nil && f.trigger.is(eventHubTrigger) {
		policy, member, err := content.Retry.policy()
		if err != nil {
			return function{}, fmt.Errorf("%s: retry.%s: %w", file, member, err)
		}
		f.retry = &policy
	}
	return f, nil
}

var errMissing = errors.New("it is missing")

// check returns the first member whose value this host cannot serve, and why.
// Messages of an event hub are only passed as text, and with cardinality many
// the real host needs to be told so.
func (b binding) check() (member string, err error) {
	switch {
	case b.is(eventGridOutput) && !strings.EqualFold(b.Direction, "out"):
		return "direction", fmt.Errorf("%q is not out", b.Direction)
	case b.is(eventGridOutput):
		if b.Connection == "" {
			return "connection", errMissing
		}
		if b.Name == "$return" {
			return "name", errors.New("only what is in Outputs is published, under a name")
		}
		return "", nil
	case b.Direction != "" && !strings.EqualFold(b.Direction, "in"):
		return "direction", fmt.Errorf("%q is not in", b.Direction)
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
