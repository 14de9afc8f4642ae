package functions

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// hostFile is the part of host.json that concerns a custom handler
// (learn.microsoft.com/azure/azure-functions/functions-custom-handlers and
// Azure/azure-functions-host, HttpWorkerOptions).
type hostFile struct {
	FunctionTimeout string `json:"functionTimeout"`
	CustomHandler   *struct {
		Description *struct {
			Executable       string   `json:"defaultExecutablePath"`
			Arguments        []string `json:"arguments"`
			WorkingDirectory string   `json:"workingDirectory"`
			ErrorsOnly       *bool    `json:"useStdErrorStreamForErrorsOnly"`
		} `json:"description"`
		Port                  int    `json:"port"`
		InitializationTimeout string `json:"initializationTimeout"`
		Forwarding            bool   `json:"enableForwardingHttpRequest"`
		Proxying              bool   `json:"enableProxyingHttpRequest"`
	} `json:"customHandler"`
	Extensions struct {
		HTTP struct {
			RoutePrefix *string `json:"routePrefix"`
		} `json:"http"`
		EventHubs struct {
			MaxEventBatchSize *int `json:"maxEventBatchSize"`
		} `json:"eventHubs"`
	} `json:"extensions"`
}

// The host's own limits where host.json says nothing: 30 minutes is the default
// of every plan but the legacy Consumption one.
const (
	defaultFunctionTimeout = 30 * time.Minute
	defaultInitTimeout     = 30 * time.Second
)

// defaultEventBatch is how many messages of an event hub one invocation takes
// where host.json says nothing (Azure/azure-sdk-for-net, EventHubOptions).
const defaultEventBatch = 100

// defaultRoutePrefix stands before every route of an HTTP function where
// host.json says nothing (Azure/azure-webjobs-sdk-extensions, HttpOptions).
const defaultRoutePrefix = "api"

// command says how to start the handler and how long the host waits for it.
type command struct {
	path, dir         string
	arguments         []string
	environment       map[string]string
	port              int           // 0 means any free port
	initTimeout       time.Duration // from the start to the first answer to GET /
	functionTimeout   time.Duration // of one invocation; 0 means none
	stderrIsErrorOnly bool          // every line on stderr is an error
	maxEventBatch     int           // messages of an event hub in one invocation, at least 1
	routePrefix       string        // of every HTTP function; may be empty
	forwardHTTP       bool          // a request is handed on as it came, if nothing else goes in or out
}

// loadCommand reads host.json and local.settings.json under root. Variables in
// env override the Values of local.settings.json, as with func start.
func loadCommand(root string, env map[string]string) (command, error) {
	var file hostFile
	path := filepath.Join(root, "host.json")
	if err := readJSON(path, &file); err != nil {
		return command{}, fmt.Errorf("%s: %w", path, err)
	}
	if file.CustomHandler == nil || file.CustomHandler.Description == nil {
		return command{}, fmt.Errorf("%s: no customHandler.description", path)
	}
	folder, err := filepath.Abs(root)
	if err != nil {
		return command{}, err
	}
	description := file.CustomHandler.Description
	if description.Executable == "" {
		return command{}, fmt.Errorf("%s: no customHandler.description.defaultExecutablePath", path)
	}
	if file.CustomHandler.Proxying {
		return command{}, fmt.Errorf("%s: customHandler.enableProxyingHttpRequest is not supported here: use enableForwardingHttpRequest", path)
	}
	environment, err := withLocalSettings(root, env)
	if err != nil {
		return command{}, err
	}
	cmd := command{
		path:              expand(description.Executable, environment),
		arguments:         strings.Fields(expand(strings.Join(description.Arguments, " "), environment)),
		dir:               under(folder, expand(description.WorkingDirectory, environment)),
		environment:       environment,
		port:              file.CustomHandler.Port,
		stderrIsErrorOnly: description.ErrorsOnly == nil || *description.ErrorsOnly,
		maxEventBatch:     defaultEventBatch,
		routePrefix:       defaultRoutePrefix,
		forwardHTTP:       file.CustomHandler.Forwarding,
	}
	if prefix := file.Extensions.HTTP.RoutePrefix; prefix != nil {
		cmd.routePrefix = strings.Trim(*prefix, "/")
	}
	if size := file.Extensions.EventHubs.MaxEventBatchSize; size != nil {
		if cmd.maxEventBatch = *size; *size < 1 {
			return command{}, fmt.Errorf("%s: extensions.eventHubs.maxEventBatchSize: %d is less than 1", path, *size)
		}
	}
	if inRoot := under(folder, cmd.path); isFile(inRoot) {
		cmd.path = inRoot
	}
	if cmd.initTimeout, err = parseTimeSpan(file.CustomHandler.InitializationTimeout, defaultInitTimeout); err != nil {
		return command{}, fmt.Errorf("%s: customHandler.initializationTimeout: %w", path, err)
	}
	if cmd.functionTimeout, err = parseTimeSpan(file.FunctionTimeout, defaultFunctionTimeout); err != nil {
		return command{}, fmt.Errorf("%s: functionTimeout: %w", path, err)
	}
	return cmd, nil
}

func withLocalSettings(root string, env map[string]string) (map[string]string, error) {
	path := filepath.Join(root, "local.settings.json")
	var file struct {
		IsEncrypted bool                      `json:"IsEncrypted"`
		Values      map[string]jsontext.Value `json:"Values"`
	}
	err := readJSON(path, &file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if file.IsEncrypted {
		return nil, fmt.Errorf("%s: encrypted settings cannot be read", path)
	}
	environment := maps.Clone(env)
	for name, raw := range file.Values {
		value := string(raw)
		if raw.Kind() == '"' {
			text, err := jsontext.AppendUnquote(nil, raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, name, err)
			}
			value = string(text)
		}
		if _, ok := environment[name]; !ok {
			environment[name] = value
		}
	}
	return environment, nil
}

// readJSON reads a file of the app. The error does not name the file.
func readJSON(path string, target any) error {
	raw, err := os.ReadFile(path)
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	if err != nil {
		return err
	}
	raw = []byte(strings.TrimPrefix(string(raw), "\ufeff"))
	return json.Unmarshal(raw, target, json.MatchCaseInsensitiveNames(true))
}

var variable = regexp.MustCompile(`%[^%]+%`)

// expand replaces every %NAME% by the variable's value, or by nothing.
func expand(s string, env map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string { return env[strings.Trim(name, "%")] })
}

var timeSpan = regexp.MustCompile(`^(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?$`)

// parseTimeSpan reads .NET's [d.]hh:mm[:ss[.fffffff]]. The empty string gives
// fallback, "-1" gives 0, which means no limit.
func parseTimeSpan(s string, fallback time.Duration) (time.Duration, error) {
	switch s {
	case "":
		return fallback, nil
	case "-1":
		return 0, nil
	}
	parts := timeSpan.FindStringSubmatch(s)
	if parts == nil {
		return 0, fmt.Errorf("%q is not a time span hh:mm:ss", s)
	}
	number := func(i int) time.Duration {
		n, _ := strconv.Atoi(cmp.Or(parts[i], "0"))
		return time.Duration(n)
	}
	fraction, _ := strconv.Atoi((parts[5] + "0000000")[:7])
	return number(1)*24*time.Hour + number(2)*time.Hour + number(3)*time.Minute + number(4)*time.Second +
		time.Duration(fraction)*100*time.Nanosecond, nil
}

// under returns path if it is absolute. Otherwise it returns path below root.
func under(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// variables turns NAME=value strings into a map; later ones win.
func variables(list []string) map[string]string {
	env := map[string]string{}
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

func variableList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
