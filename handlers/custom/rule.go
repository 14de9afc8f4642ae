package custom

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
)

// Detector returns the detector of the alert. Its expressions are compiled when it is run
// for the first time, so that a program with many of them begins fast. An alert that Load
// returned can be compiled.
func (a Alert) Detector() detector.Detector {
	compiled := sync.OnceValues(a.compile)
	d := detector.Detector{
		Name: a.Name, AlertType: a.AlertType, Severity: a.Severity, Title: a.Title,
		Description: a.Description, Remediation: a.Remediation, Limits: a.Limits, Commands: detector.AnyAlert,
		On: a.trigger(), Count: a.rule, Custom: true,
		Detect: func(e event.Event) ([]alert.Finding, error) {
			r, err := compiled()
			if err != nil {
				return nil, err
			}
			return r.detect(e)
		},
	}
	if d.Limits == "" {
		d.Limits = "The file of this custom alert names none."
	}
	return d
}

// trigger returns which events the alert is run on.
func (a Alert) trigger() detector.Trigger {
	t := detector.Trigger{EventTypes: a.On.EventTypes, Operations: a.On.Operations, SubjectContains: a.On.SubjectContains, Own: a.On.Own}
	switch {
	case a.On.Source == Logs:
		t.EventTypes = []string{event.LogType(a.On.Category)}
	case a.On.Source == Connections && t.EventTypes == nil:
		t.EventTypes = deviceTypes
	case a.On.Source == Connections:
		// A person who judges log messages again makes events of single records.
		t.EventTypes = append([]string{connection.Failed}, t.EventTypes...)
	}
	return t
}

// rule is an alert whose expressions are compiled.
type rule struct {
	Alert
	when, entity, message, per program // nil if the file has none
	properties                 map[string]program
	usesRecord, usesData       bool
	ids                        map[string]bool // of the group: those without an asterisk
	patterns                   []string        // of the group: those with one
}

// compile compiles the expressions.
func (a Alert) compile() (*rule, error) {
	r := &rule{Alert: a, properties: map[string]program{}, ids: map[string]bool{}}
	for _, e := range a.expressions() {
		name := e.path[0].(string)
		compiled, faults := compile(e.text, e.kind)
		if len(faults) > 0 {
			return nil, fmt.Errorf("%s: %s", name, faults[0].text)
		}
		if _, ok := compiled.names("record"); ok {
			r.usesRecord = true
		}
		if _, ok := compiled.names("data"); ok {
			r.usesData = true
		}
		switch name {
		case "when":
			r.when = compiled
		case "entity":
			r.entity = compiled
		case "message":
			r.message = compiled
		case "count":
			r.per = compiled
		default:
			r.properties[e.path[1].(string)] = compiled
		}
	}
	if a.Group != nil {
		for _, pattern := range slices.Concat(a.Group.Devices, a.Group.listed) {
			if strings.Contains(pattern, "*") {
				r.patterns = append(r.patterns, pattern)
			} else {
				r.ids[pattern] = true
			}
		}
	}
	return r, nil
}

// detect returns what the rule finds in an event that its trigger matches. Records of a
// resource log are judged one by one.
func (r *rule) detect(e event.Event) ([]alert.Finding, error) {
	spent := new(uint64)
	switch r.On.Source {
	case Resources:
		f, o, err := detector.Operation(e)
		if err != nil {
			return nil, err
		}
		return r.judge(f, facts{event: e, spent: spent, operation: o.Name, outcome: outcomes[event.Outcome(e.Type)], resource: e.Subject, time: e.Time})
	case Connections:
		f, raw, cause, ok, err := detector.Connection(e)
		if err != nil {
			return nil, err
		}
		single := strings.EqualFold(e.Type, connection.Failed) && r.On.EventTypes != nil
		if !ok || single && !slices.Contains(r.On.EventTypes, cause.EventType()) {
			return nil, nil
		}
		return r.judge(f, facts{event: e, spent: spent, operation: f.Properties["OperationName"], outcome: "failed", resource: f.Hub.ResourceID, time: e.Time, raw: raw})
	case Hub:
		d, err := e.Device()
		if err != nil {
			return nil, err
		}
		f := finding(d.Hub, detector.Client(d.DeviceID, d.ModuleID, d.Hub.Name))
		kind := e.Type[strings.LastIndexByte(e.Type, '.')+1:]
		f.Message = fmt.Sprintf("IoT hub %q says %s of device %q.", d.Hub.Name, event.Shorten(kind), d.DeviceID)
		return r.judge(f, facts{event: e, spent: spent, operation: kind, resource: e.Source, time: e.Time, device: d.DeviceID, module: d.ModuleID})
	default:
		return r.detectRecords(e, spent)
	}
}

// detectRecords is detect of an event with records of a resource log.
func (r *rule) detectRecords(e event.Event, spent *uint64) ([]alert.Finding, error) {
	records, err := event.LogRecords(e)
	var all []alert.Finding
	failed := 0
	for _, record := range records {
		if r.On.Operations != nil && !containsFold(r.On.Operations, record.Operation) {
			continue // Another rule wants it, and it comes in the same event.
		}
		found, failure := r.detectRecord(e, record, spent)
		for _, f := range found {
			f.Event = &alert.Event{Source: e.Source, ID: record.ID, Time: record.Time, Raw: record.Raw}
			all = append(all, f)
		}
		if failure != nil {
			if failed++; failed == 1 {
				err = errors.Join(err, fmt.Errorf("record %s: %w", record.ID, failure))
			}
		}
	}
	if failed > 1 {
		err = errors.Join(err, fmt.Errorf("%d further records cannot be judged", failed-1))
	}
	return all, err
}

func (r *rule) detectRecord(e event.Event, record event.LogRecord, spent *uint64) ([]alert.Finding, error) {
	c, err := readClient(record.Raw)
	if err != nil {
		return nil, err
	}
	f := finding(record.Hub, detector.Client(c.device, c.module, record.Hub.Name))
	f.ActorIPAddress = c.address
	who := ""
	if c.device != "" {
		who = fmt.Sprintf(" of device %q", c.device)
	}
	f.Message = fmt.Sprintf("The log %s of IoT hub %q says %s%s: %s.", record.Category, record.Hub.Name, event.Shorten(record.Operation), who, c.outcome())
	f.Properties = map[string]string{"OperationName": record.Operation}
	for name, value := range map[string]string{"ResultType": c.resultType, "ResultDescription": c.resultDescription} {
		if value != "" {
			f.Properties[name] = value
		}
	}
	return r.judge(f, facts{
		event: e, spent: spent, operation: record.Operation, outcome: c.outcome(), resource: record.ResourceID, time: record.Time,
		device: c.device, module: c.module, raw: record.Raw, members: c.members,
	})
}

// finding returns a finding about an entity of a hub.
func finding(hub event.ResourceID, entity alert.Entity) alert.Finding {
	return alert.Finding{
		Hub:    alert.Hub{Name: hub.Name, ResourceID: hub.Resource(), SubscriptionID: hub.SubscriptionID},
		Entity: entity, Confidence: alert.Stated,
	}
}

// outcomes are the values of the variable outcome by what event.Outcome calls them.
var outcomes = map[string]string{"succeeded": "succeeded", "failed": "failed", "was cancelled": "cancelled"}

// judge runs the expressions on the facts. f has what there is to say without them. What
// cannot be computed beside the condition and the key of the count is an error beside the
// finding: it is no reason not to raise the alert.
func (r *rule) judge(f alert.Finding, facts facts) ([]alert.Finding, error) {
	facts.hub, facts.actor, facts.address = f.Hub.Name, f.Actor, f.ActorIPAddress
	if facts.device == "" {
		facts.device, facts.module = facts.client(f.Entity)
	}
	if r.Group != nil && r.inGroup(facts.device) == r.Group.Not {
		return nil, nil
	}
	if err := facts.decode(r.usesRecord, r.usesData); err != nil {
		return nil, err
	}
	if r.when != nil {
		fires, err := evaluate[bool](r.when, &facts)
		if err != nil {
			return nil, fmt.Errorf("when: %w", err)
		}
		if !fires {
			return nil, nil
		}
	}
	if r.Count != nil && r.On.Source != Resources {
		f.Entity = alert.Entity{Type: alert.IoTHub, Name: f.Hub.Name}
	}
	var errs []error
	if r.per != nil {
		key, err := evaluate[string](r.per, &facts)
		if err == nil && len(key) > mostName {
			err = fmt.Errorf("the key has %d bytes: want %d at most", len(key), mostName)
		}
		if err != nil {
			return nil, fmt.Errorf("count.per: %w", err)
		}
		r.counted(&f, key)
	} else if r.entity != nil {
		name, err := evaluate[string](r.entity, &facts)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("entity: %w", err))
		case len(name) > mostName:
			errs = append(errs, fmt.Errorf("entity: the name has %d bytes: want %d at most", len(name), mostName))
		case name != "":
			f.Entity = alert.Entity{Type: r.EntityType, Name: name}
		}
	}
	if r.message != nil {
		text, err := evaluate[string](r.message, &facts)
		if err != nil {
			errs = append(errs, fmt.Errorf("message: %w", err))
		} else if text != "" {
			f.Message = shorten(text)
		}
	}
	properties := map[string]string{}
	for name, value := range f.Properties {
		properties[name] = value
	}
	for name, program := range r.properties {
		text, err := evaluate[string](program, &facts)
		if err != nil {
			errs = append(errs, fmt.Errorf("properties.%s: %w", name, err))
		} else if text != "" {
			properties[name] = shorten(text)
		}
	}
	f.Properties = properties
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return []alert.Finding{f}, errors.Join(errs...)
}

// counted makes f a finding about what is counted. What has no name is counted for its
// hub. The actor of a finding is a part of what makes an alert; all that is counted
// together has to be one alert.
func (r *rule) counted(f *alert.Finding, key string) {
	kind := r.keyType()
	if kind != alert.Caller {
		f.Actor = ""
	}
	if key != "" {
		f.Entity = alert.Entity{Type: kind, Name: key}
	}
}

// keyType returns what kind of thing is counted.
func (a Alert) keyType() alert.EntityType {
	if a.EntityType != "" {
		return a.EntityType
	}
	return keyTypes[a.Count.Per]
}

// keyTypes are the kinds of things that are counted by a variable.
var keyTypes = map[string]alert.EntityType{"device": alert.Device, "hub": alert.IoTHub, "actor": alert.Caller, "address": alert.Address}

// Bounds of the texts that an expression makes.
const (
	mostName    = 1 << 10
	mostWritten = 1 << 10
)

// shorten takes the credentials out of a text that an expression made, and bounds it.
func shorten(s string) string {
	if s = secret.RedactString(s); len(s) > mostWritten {
		return strings.ToValidUTF8(s[:mostWritten], "") + "…"
	}
	return s
}

// inGroup reports whether a device is one of the group.
func (r *rule) inGroup(device string) bool {
	return device != "" && (r.ids[device] || slices.ContainsFunc(r.patterns, func(pattern string) bool { return glob(pattern, device) }))
}

// glob reports whether s is what the pattern says. An asterisk stands for any characters.
func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, s) })
}

// facts are the values of the variables at one event, or at one record.
type facts struct {
	event                             event.Event
	hub, resource, operation, outcome string
	actor, address, device, module    string
	time                              time.Time
	raw                               jsontext.Value // of the record; nil if there is none
	members                           map[string]any // of the record, if it is decoded already
	spent                             *uint64        // what evaluations at the event have cost
	data                              any
}

// client returns the ids of a device or a module that a finding is about.
func (f facts) client(e alert.Entity) (device, module string) {
	if e.Type != alert.Device && e.Type != alert.Module {
		return "", ""
	}
	c, err := readClient(f.raw)
	if err != nil {
		return e.Name, ""
	}
	return c.device, c.module
}

// decode reads what the expressions of the rule need.
func (f *facts) decode(record, data bool) error {
	if record && f.members == nil {
		f.members = map[string]any{}
		if f.raw != nil {
			var err error
			if f.members, err = readRecord(f.raw); err != nil {
				return err
			}
		}
	}
	if !data {
		return nil
	}
	if err := readable(f.event.Data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	var err error
	if f.data, err = decode(f.event.Data); err != nil {
		return fmt.Errorf("data: %w", event.JSONError(err))
	}
	return nil
}

// value returns the value of a variable.
func (f *facts) value(name string) (any, bool) {
	switch name {
	case "hub":
		return f.hub, true
	case "resource":
		return f.resource, true
	case "operation":
		return f.operation, true
	case "outcome":
		return f.outcome, true
	case "actor":
		return f.actor, true
	case "address":
		return f.address, true
	case "device":
		return f.device, true
	case "module":
		return f.module, true
	case "record":
		return f.members, true
	case "data":
		return f.data, true
	case "eventType":
		return f.event.Type, true
	case "subject":
		return f.event.Subject, true
	case "source":
		return f.event.Source, true
	case "time":
		return f.time, true
	}
	return nil, false
}

// evaluate returns the value of an expression. Its error says why there is none.
func evaluate[T bool | string](p program, f *facts) (T, error) {
	var zero T
	if *f.spent > mostSpent {
		return zero, fmt.Errorf("the event costs more than %d steps", mostSpent)
	}
	value, cost, err := p.eval(f)
	*f.spent += cost
	if err != nil {
		return zero, err
	}
	got, ok := value.(T)
	if !ok {
		return zero, fmt.Errorf("want a value of type %T, have one of type %T", zero, value)
	}
	return got, nil
}
