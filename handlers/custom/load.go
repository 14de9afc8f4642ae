package custom

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
	"hubwatch/handlers/window"
)

// Bounds of the file of a custom alert.
const (
	mostBytes      = 1 << 20 // of the file
	mostPatterns   = 10_000  // of a group, those of its file included
	mostProperties = 20
	// mostValues is the most values in the filters of an event subscription
	// (https://learn.microsoft.com/azure/event-grid/event-filtering#limitations).
	mostValues = 25
	// mostLetters is the most letters of such a value.
	mostLetters = 512
)

// Load reads the custom alerts of a repository: functions/*/alert.json below root. It is
// LoadFrom of its folder functions.
func Load(root fs.FS) ([]Alert, error) { return LoadFrom(root, "functions") }

// LoadFrom reads the custom alerts of a folder below root: */alert.json. It returns those
// without mistakes, by name. Its error tells of every mistake in every file, see Mistakes. A
// file that cannot be read is one.
func LoadFrom(root fs.FS, folder string) ([]Alert, error) {
	files, err := fs.Glob(root, path.Join(folder, "*", FileName))
	if err != nil {
		return nil, err
	}
	var alerts []Alert
	var mistakes []Mistake
	taken := takenNames()
	types := map[string]string{}
	named := map[string]string{} // who is asked for by a name, where a type of alerts would do too
	for _, d := range detector.All {
		types[strings.ToLower(d.AlertType)] = "the built-in detector " + d.Name
		named[strings.ToLower(d.Name)] = "the built-in detector " + d.Name
	}
	for _, file := range files {
		name := nameOf(file)
		named[strings.ToLower(name)] = "the custom alert in functions/" + name
	}
	for _, file := range files {
		d := &document{path: file}
		if d.text, err = fs.ReadFile(root, file); err != nil {
			mistakes = append(mistakes, Mistake{file, 1, 1, fmt.Sprintf("the file cannot be read: %v", err)})
			continue
		}
		a := d.load(root)
		if d.root != nil {
			own := "the custom alert in functions/" + a.Name
			if of, ok := taken[strings.ToLower(a.Name)]; ok {
				d.wrong(0, "the folder's name %s is taken by %s: choose another one", a.Name, of)
			} else if of, ok := types[strings.ToLower(a.AlertType)]; ok && a.AlertType != "" {
				d.wrongAt([]any{"alertType"}, "alertType: %s is taken by %s", a.AlertType, of)
			} else if of, ok := named[strings.ToLower(a.AlertType)]; ok && of != own {
				d.wrongAt([]any{"alertType"}, "alertType: %s is the name of %s, and people ask for alerts by either", a.AlertType, of)
			} else {
				taken[strings.ToLower(a.Name)] = own
				types[strings.ToLower(a.AlertType)] = own
			}
		}
		if len(d.mistakes) == 0 {
			a.doubts = d.doubts
			alerts = append(alerts, a)
		}
		mistakes = append(mistakes, d.mistakes...)
	}
	return alerts, join(mistakes)
}

// reserved are the names of functions that are not detectors. A test of handlers/app holds
// the list to those that there are.
var reserved = []string{"Canary", "CanaryTag", "Console", "Housekeeping", "Notify", "RelayResourceLogs", "Sentinel", "Verdicts", "Windows"}

// takenNames returns the names that a custom alert cannot have, in lower case, as the
// Functions host compares them, and who has them.
func takenNames() map[string]string {
	// The host loads no function of this name, in any letter case
	// (https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Utility.cs, FunctionNameValidationRegex).
	taken := map[string]string{"host": "the Functions host itself"}
	for _, d := range detector.All {
		taken[strings.ToLower(d.Name)] = "a built-in detector"
	}
	for _, name := range reserved {
		taken[strings.ToLower(name)] = "a function of hubwatch"
	}
	return taken
}

// load reads the alert of d.text. root has the file of a group.
func (d *document) load(root fs.FS) Alert {
	a := Alert{Name: nameOf(d.path), Enabled: true}
	if len(d.text) > mostBytes {
		d.wrong(0, "the file has %d bytes: want %d at most", len(d.text), mostBytes)
		return a
	}
	if bytes.HasPrefix(d.text, markLittle) || bytes.HasPrefix(d.text, markBig) {
		d.wrong(0, wrongEncoding)
		return a
	}
	d.text = bytes.TrimPrefix(d.text, markUTF8)
	if !d.parse() {
		return a
	}
	d.fill(d.root, "", reflect.ValueOf(&a).Elem())
	if d.root.kind != '{' {
		return a
	}
	if a.Group != nil && a.Group.File != "" {
		a.Group.listed = d.patterns(root, a.Group.File)
	}
	d.checkTexts(a)
	d.checkOn(a.On)
	d.checkExpressions(a)
	a.rule = d.checkCount(a)
	d.checkGroup(a)
	d.checkCases(a)
	return a
}

// nameOf returns the name of the alert of a file: that of its folder.
func nameOf(file string) string { return path.Base(path.Dir(file)) }

const wrongEncoding = "the file is in UTF-16: save it in UTF-8"

// patterns reads the file of a group: a pattern a line, in UTF-8, with a byte order mark or
// without. Empty lines do not count.
func (d *document) patterns(root fs.FS, name string) []string {
	at := []any{"group", "file"}
	if name != path.Base(name) || !fs.ValidPath(name) || name == "." {
		d.wrongAt(at, "group.file: want the name of a file beside %s, have %q", FileName, name)
		return nil
	}
	file := path.Join(path.Dir(d.path), name)
	text, err := fs.ReadFile(root, file)
	if err != nil {
		d.wrongAt(at, "group.file: %v", err)
		return nil
	}
	if bytes.HasPrefix(text, markLittle) || bytes.HasPrefix(text, markBig) {
		d.mistakes = append(d.mistakes, Mistake{file, 1, 1, wrongEncoding})
		return nil
	}
	var list []string
	number := 0
	for line := range strings.Lines(string(bytes.TrimPrefix(text, markUTF8))) {
		number++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !isPattern(line) {
			d.mistakes = append(d.mistakes, Mistake{file, number, 1, fmt.Sprintf("%q is no pattern of a device id: "+patternForm, line)})
		}
		list = append(list, line)
	}
	if len(list) == 0 {
		d.wrongAt(at, "group.file: %s has no patterns", name)
	}
	return list
}

// isPattern reports whether an id of a device can be like the pattern: ids have no blanks, and
// nothing but ASCII
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry#device-identity-properties).
func isPattern(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

const patternForm = "want letters, digits and signs of ASCII without blanks, and asterisks; a list of devices has no comments"

// form is what a name looks like: an exported Go identifier, and the name of an event
// subscription, which has 3 to 64 letters, digits and hyphens
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsofteventgrid).
var form = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)

func isName(s string) bool { return len(s) >= 3 && len(s) <= 64 && form.MatchString(s) }

// CheckName returns why a custom alert cannot have a name; nil if it can.
func CheckName(name string) error {
	if !isName(name) {
		return fmt.Errorf("the name %q: want 3 to 64 letters and digits, the first a capital letter, without accents: it names a function and an event subscription", name)
	}
	if of, ok := takenNames()[strings.ToLower(name)]; ok {
		return fmt.Errorf("the name %s is taken by %s: choose another one", name, of)
	}
	return nil
}

var (
	alertTypeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	propertyForm  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	severities    = []string{string(alert.High), string(alert.Medium), string(alert.Low), string(alert.Informational)}
)

// checkTexts checks the members that are texts for people, and the words of the alert.
func (d *document) checkTexts(a Alert) {
	if !isName(a.Name) {
		d.wrong(0, "the folder's name %q: want 3 to 64 letters and digits, the first a capital letter, without accents: it names a function and an event subscription", a.Name)
	}
	for _, text := range []struct{ name, value string }{{"alertType", a.AlertType}, {"title", a.Title}, {"description", a.Description}} {
		if strings.TrimSpace(text.value) == "" {
			d.wrongAt([]any{text.name}, "%s: missing or empty", text.name)
		}
	}
	if a.AlertType != "" && (len(a.AlertType) < 3 || len(a.AlertType) > 128 || !alertTypeForm.MatchString(a.AlertType)) {
		d.wrongAt([]any{"alertType"}, "alertType: want 3 to 128 letters, digits, dots, hyphens and underscores, have %q", a.AlertType)
	}
	if !a.Severity.Valid() {
		d.wrongAt([]any{"severity"}, "severity: want %s, have %q%s", or(severities), a.Severity, meant(string(a.Severity), severities))
	}
	if len(a.Remediation) == 0 {
		d.wrongAt([]any{"remediation"}, "remediation: want at least one step: what is somebody to do about the alert?")
	}
	for i, step := range a.Remediation {
		if strings.TrimSpace(step) == "" {
			d.wrongAt([]any{"remediation", i}, "remediation[%d]: empty", i)
		}
	}
	if a.Enabled {
		for _, at := range a.replaced() {
			d.wrongAt(at, "%s: a text that begins with %s is to be replaced before the alert is enabled", strings.Join(texts(at), "."), replace)
		}
	}
	switch {
	case a.Count != nil && a.Entity != "":
		d.wrongAt([]any{"entity"}, "entity: an alert that counts is about what it counts, which is count.per")
	case a.Count != nil && a.EntityType == "" && a.Count.Per != "" && keyTypes[a.Count.Per] == "":
		d.wrongAt([]any{"count", "per"}, "count.per: want entityType too, which says what kind of thing is counted, unless that is device, hub, actor or address")
	case a.Count == nil && (a.Entity == "") != (a.EntityType == ""):
		d.wrongAt([]any{"entity"}, "entity and entityType: want both or none")
	}
	if a.EntityType != "" && !slices.Contains(alert.EntityTypes, a.EntityType) {
		d.wrongAt([]any{"entityType"}, "entityType: want %s, have %q", or(words(alert.EntityTypes)), a.EntityType)
	}
	if n := len(a.Properties); n > mostProperties {
		d.wrongAt([]any{"properties"}, "properties: want %d at most, have %d", mostProperties, n)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		switch {
		case len(name) > 64 || !propertyForm.MatchString(name):
			d.wrongAt([]any{"properties", name}, "properties.%s: want a name in PascalCase, of 64 letters and digits at most", name)
		case alert.KeptProperty(name):
			d.wrongAt([]any{"properties", name}, "properties.%s: hubwatch itself sets this property: choose another name", name)
		}
	}
}

// eventTypes are the types of events that a source has; nil if its events have one type
// that nobody names.
var eventTypes = map[Source][]string{
	Resources:   event.OperationTypes,
	Connections: deviceTypes[1:],
	Hub:         event.HubTypes,
}

// deviceTypes are connection.Failed and the verdicts about single devices. Events of
// connection.Failed are made only of messages that a person judges again, so a file does not
// name it: an alert of this type alone would never fire.
var deviceTypes = append([]string{connection.Failed}, slices.DeleteFunc(slices.Clone(verdict.EventTypes), func(of string) bool {
	return of == connection.Failed || of == verdict.StormType || of == verdict.SurgeType
})...)

// checkOn checks which events the alert is run on.
func (d *document) checkOn(on On) {
	if !slices.Contains(Sources, on.Source) {
		d.wrongAt([]any{"on", "source"}, "on.source: want %s, have %q%s", or(words(Sources)), on.Source, meant(string(on.Source), words(Sources)))
		return
	}
	only := func(member string, sources ...Source) bool {
		if !d.has("on", member) || slices.Contains(sources, on.Source) {
			return true
		}
		d.wrongAt([]any{"on", member}, "on.%s: the source %s does not have this member: it is of %s", member, on.Source, or(words(sources)))
		return false
	}
	if only("eventTypes", Resources, Connections, Hub) {
		d.checkEventTypes(on)
	}
	if only("operations", Resources, Logs) {
		d.checkOperations(on)
	}
	only("own", Resources)
	if only("category", Logs) && on.Source == Logs && !slices.Contains(event.LogCategories, on.Category) {
		d.wrongAt([]any{"on", "category"}, "on.category: want a category of the resource logs of an IoT hub, which are %s, have %q%s", strings.Join(event.LogCategories, ", "), on.Category, meant(on.Category, event.LogCategories))
	}
	if only("subjectContains", Resources, Connections, Hub) && len(on.SubjectContains) > mostLetters {
		d.wrongAt([]any{"on", "subjectContains"}, "on.subjectContains: want %d letters at most: Event Grid compares no more", mostLetters)
	}
}

func (d *document) checkEventTypes(on On) {
	known := eventTypes[on.Source]
	if len(on.EventTypes) == 0 && (on.EventTypes != nil || on.Source == Resources || on.Source == Hub) {
		d.wrongAt([]any{"on", "eventTypes"}, "on.eventTypes: want at least one of %s", strings.Join(known, ", "))
	}
	for i, of := range on.EventTypes {
		at := []any{"on", "eventTypes", i}
		switch {
		case slices.Contains(on.EventTypes[:i], of):
			d.wrongAt(at, "on.eventTypes[%d]: %s stands twice", i, of)
		case on.Source == Connections && of == connection.Failed:
			d.wrongAt(at, "on.eventTypes[%d]: events of the type %s are made only of messages that are judged again, and are watched in any case: name the types of verdicts, or leave eventTypes out, which is all", i, of)
		case !slices.Contains(known, of):
			d.wrongAt(at, "on.eventTypes[%d]: the source %s has no event type %q%s", i, on.Source, of, meant(of, known))
		}
	}
}

// providers are resource providers whose names are easily misspelled. Others are taken as
// they are.
var providers = []string{"Microsoft.Devices", "Microsoft.Insights", "Microsoft.Authorization", "Microsoft.EventGrid", "Microsoft.EventHub", "Microsoft.Security", "Microsoft.Resources", "Microsoft.Network", "Microsoft.ManagedIdentity", "Microsoft.Web", "Microsoft.Storage"}

// resourceTypes are the resource types of Microsoft.Devices, which are easily misspelled, too
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices).
var resourceTypes = []string{"IotHubs", "provisioningServices", "ElasticPools"}

// operationForm is what the operations of Azure Resource Manager look like
// (https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations).
var operationForm = regexp.MustCompile(`(?i)^[a-z]+\.[a-z.]+(/[a-z0-9._$-]+)+/(write|delete|action)$`)

func (d *document) checkOperations(on On) {
	if on.Operations != nil && len(on.Operations) == 0 {
		d.wrongAt([]any{"on", "operations"}, "on.operations: empty: want at least one operation, or leave it out, which is all")
	}
	if values := len(on.Operations); values > mostValues || values == mostValues && on.SubjectContains != "" {
		d.wrongAt([]any{"on", "operations"}, "on.operations: want %d at most, together with subjectContains: the filter of an event subscription has no more values", mostValues)
	}
	for i, operation := range on.Operations {
		at := []any{"on", "operations", i}
		provider, rest, _ := strings.Cut(operation, "/")
		kind, _, _ := strings.Cut(rest, "/")
		similarType := ""
		if strings.EqualFold(provider, providers[0]) {
			similarType = nearest(kind, resourceTypes)
		}
		switch similar := nearest(provider, providers); {
		case slices.ContainsFunc(on.Operations[:i], func(other string) bool { return strings.EqualFold(other, operation) }):
			d.wrongAt(at, "on.operations[%d]: %s stands twice", i, operation)
		case operation == "" || len(operation) > mostLetters:
			d.wrongAt(at, "on.operations[%d]: want 1 to %d letters", i, mostLetters)
		case on.Source != Resources:
		case similar != "" && !strings.EqualFold(similar, provider):
			d.wrongAt(at, "on.operations[%d]: there is no resource provider %q; did you mean %s?", i, provider, similar)
		case similarType != "" && !strings.EqualFold(similarType, kind):
			d.wrongAt(at, "on.operations[%d]: %s has no resource type %q; did you mean %s?", i, provider, kind, similarType)
		case !operationForm.MatchString(operation):
			d.wrongAt(at, "on.operations[%d]: want a provider, a type and write, delete or action, for example Microsoft.Devices/IotHubs/listkeys/action, have %q", i, operation)
		case onData(operation):
			d.wrongAt(at, "on.operations[%d]: %s is an operation on data, of which Azure Resource Manager has no event: the sources %s and %s tell of devices", i, operation, Logs, Hub)
		case !slices.ContainsFunc(on.EventTypes, func(of string) bool { return ends(of, operation) }):
			d.wrongAt(at, "on.operations[%d]: no event of %s is about %s: events of the type Resource%s... are", i, strings.Join(on.EventTypes, " or "), operation, verb(operation))
		default:
			if text := doubt(operation); text != "" {
				line, column := place(d.text, d.at(at...).start)
				d.doubts = append(d.doubts, Mistake{d.path, line, column, fmt.Sprintf("on.operations[%d]: %s", i, text)})
			}
		}
	}
}

// ends reports whether an event of a type can be about the end of an operation.
func ends(eventType, operation string) bool {
	return strings.Contains(eventType, "Resource"+verb(operation))
}

// verb returns what the types of the events of an operation are called by: Write, Delete
// or Action.
func verb(operation string) string {
	last := strings.ToLower(operation[strings.LastIndexByte(operation, '/')+1:])
	return strings.ToUpper(last[:1]) + last[1:]
}

// checkCount returns the rule of the count.
func (d *document) checkCount(a Alert) *window.Rule {
	if a.Count == nil {
		return nil
	}
	if a.On.Source == Connections {
		d.wrongAt([]any{"count"}, "count: the source connections has one event for all refusals of a device in ten minutes, so a count of events would be wrong: count those of the source logs, category Connections")
	}
	rule, err := a.newRule()
	if err != nil {
		d.wrongAt([]any{"count", "window"}, "count.window: %v", err)
		return nil
	}
	if err := rule.Check(); err != nil {
		name, _, _ := strings.Cut(err.Error(), ":")
		var at []any
		for part := range strings.SplitSeq(name, ".") {
			at = append(at, part)
		}
		d.wrongAt(at, "%v", err)
	}
	return rule
}

// newRule returns the rule of the count. Its error says what is wrong with the window.
func (a Alert) newRule() (*window.Rule, error) {
	width, err := parseDuration(a.Count.Window)
	if err != nil {
		return nil, err
	}
	return &window.Rule{Name: a.Name, Key: a.Count.Per, Width: width, Max: a.Count.Max, Min: a.Count.Min}, nil
}

var durationForm = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// parseDuration reads a duration of ISO 8601 in days, hours, minutes and seconds.
func parseDuration(s string) (time.Duration, error) {
	parts := durationForm.FindStringSubmatch(s)
	const longest = 20 // letters, so that no number is too large
	if parts == nil || strings.HasSuffix(s, "T") || s == "P" || len(s) > longest || slices.ContainsFunc(parts[1:], func(digits string) bool { return len(digits) > 6 }) {
		return 0, fmt.Errorf("want a duration as ISO 8601 has it, for example PT15M or PT1H30M, have %q", s)
	}
	var sum time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		var n time.Duration
		for _, digit := range parts[i+1] {
			n = 10*n + time.Duration(digit-'0')
		}
		sum += n * unit
	}
	return sum, nil
}

func (d *document) checkGroup(a Alert) {
	if a.Group == nil {
		return
	}
	if a.On.Source == Resources {
		d.wrongAt([]any{"group"}, "group: events of the source resources are about no device")
	}
	if len(a.Group.Devices) == 0 && a.Group.File == "" {
		d.wrongAt([]any{"group"}, "group: want devices or file")
	}
	for i, pattern := range a.Group.Devices {
		if !isPattern(pattern) {
			d.wrongAt([]any{"group", "devices", i}, "group.devices[%d]: %q is no pattern of a device id: "+patternForm, i, pattern)
		}
	}
	if n := len(a.Group.Devices) + len(a.Group.listed); n > mostPatterns {
		d.wrongAt([]any{"group"}, "group: want %d patterns at most, have %d", mostPatterns, n)
	}
}

func (d *document) checkCases(a Alert) {
	found := map[Want]bool{}
	seen := map[string]bool{}
	for i, c := range a.Cases {
		at, name := []any{"cases", i}, fmt.Sprintf("cases[%d]", i)
		member := func(member, format string, args ...any) {
			d.wrongAt(append(slices.Clone(at), member), "%s.%s: %s", name, member, fmt.Sprintf(format, args...))
		}
		found[c.Want] = true
		if c.Want != Fires && c.Want != Silent {
			member("want", "want %s or %s, have %q", Fires, Silent, c.Want)
		} else if prefix := map[Want]string{Fires: "fires-", Silent: "silent-"}[c.Want]; !strings.HasPrefix(c.Name, prefix) || len(c.Name) == len(prefix) {
			member("name", "a case that wants %s is called %s..., so that nobody turns its point around by mistake; have %q", c.Want, prefix, c.Name)
		}
		if seen[c.Name] {
			member("name", "%s stands twice", c.Name)
		}
		seen[c.Name] = true
		if strings.TrimSpace(c.About) == "" {
			member("about", "missing or empty: want one sentence about what the case shows")
		}
		if c.Says != nil && c.Want == Silent {
			member("says", "a case that wants %s says nothing", Silent)
		}
		if d.has("cases", i, "says", "severity") && !c.Says.Severity.Valid() {
			d.wrongAt([]any{"cases", i, "says", "severity"}, "%s.says.severity: want %s, have %q%s", name, or(severities), c.Says.Severity, meant(string(c.Says.Severity), severities))
		}
		forms := 0
		for _, has := range []bool{c.Event != nil, c.Events != nil, c.Records != nil} {
			if has {
				forms++
			}
		}
		switch {
		case forms != 1:
			d.wrongAt(at, "%s: want one of event, events and records", name)
		case c.Events != nil && a.Count == nil:
			member("events", "the alert does not count, so each event is a case of its own")
		case c.Records != nil && a.On.Source != Logs:
			member("records", "only the source logs has records")
		case c.Event == nil && len(c.Events)+len(c.Records) == 0:
			d.wrongAt(at, "%s: has no events", name)
		}
		if c.Event != nil && c.Event.Kind() != '{' {
			member("event", "want an object, have %s", describe(c.Event.Kind()))
		}
		for member, values := range map[string][]jsontext.Value{"events": c.Events, "records": c.Records} {
			for j, value := range values {
				if value.Kind() != '{' {
					d.wrongAt(append(slices.Clone(at), member, j), "%s.%s[%d]: want an object, have %s", name, member, j, describe(value.Kind()))
				}
			}
		}
	}
	for _, want := range []Want{Fires, Silent} {
		if !found[want] {
			d.wrongAt([]any{"cases"}, "cases: there is no case that wants %s: a case of each kind shows that the condition tells them apart", want)
		}
	}
}

// words returns a list of words as plain texts.
func words[S ~string](list []S) []string {
	var texts []string
	for _, word := range list {
		texts = append(texts, string(word))
	}
	return texts
}

// or joins words: a, b or c.
func or(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
