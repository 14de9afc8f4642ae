package cases

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	diff "github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// Variant is an event that a rule makes of a case that fires. Its outcome follows
// from the rule for every detector, so no file has to say the outcome.
type Variant struct {
	Name  string // the name of the case, and what the rule changed
	Event jsontext.Value
	want  want
}

// want is the outcome that a variant has to have.
type want struct {
	outcome string   // one of the four kinds
	ids     []string // of the alerts; nil if they are not those of the case
	// reason is the beginning of the reason of the quarantine, after the name of
	// the detector. It is "" if the detector is not run, and for an alert whose event
	// is not quarantined.
	reason string
	has    string       // a part of the reason, or of the alerts as a case has them
	hub    string       // the name of the hub if the alert is about the hub; otherwise ""
	all    []Occurrence // the alerts, as a case has them; nil if they may say something else
}

// Variants returns what the rules make of the cases of one detector. The detector
// fires on the event types, operations and resources that its cases fire on, and
// on no others. An event of another type, of another operation or with a subject
// that is not on an IoT hub is not delivered. An event about another resource of
// a hub cannot be judged. An event about a resource whose name cannot be read is an
// alert about the hub, and is quarantined as well. Letter case does not matter. operations are the
// operations that a detector could mistake for its own. Of the cases with the
// same event type and operation, only the first gets other types and operations.
// Its error names a case whose event cannot be changed.
func Variants(list []Case, operations []string) ([]Variant, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(c Case) bool { return c.Want.Outcome != Alert || c.Want.Error != "" })
	own, err := scopeOf(list)
	if err != nil {
		return nil, err
	}
	var variants []Variant
	done := map[[2]string]bool{}
	for _, c := range list {
		m := maker{scope: own, source: c}
		if m.err = json.Unmarshal(c.Event, &m.facts, options); m.err == nil {
			kind := [2]string{strings.ToLower(m.eventType()), strings.ToLower(m.Data.OperationName)}
			if !done[kind] {
				m.others(operations)
			}
			done[kind] = true
			m.same()
		}
		if m.err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, m.err)
		}
		variants = append(variants, m.made...)
	}
	return variants, nil
}

// Run runs a detector on the variant. Its error says what the outcome was
// instead.
func (v Variant) Run(d detector.Detector) error {
	got := Judge(d, v.Event)
	text := got.Error
	if got.Outcome == Alert {
		data, err := json.Marshal(got.Alerts, json.Deterministic(true), options)
		if err != nil {
			return err
		}
		text += string(data)
	}
	reason := v.want.reason
	if reason != "" {
		reason = "detector " + d.Name + ": " + reason
	}
	switch {
	case got.Outcome != v.want.outcome:
		return fmt.Errorf("%s: the outcome is %q, want %q\n%s", v.Name, got.Outcome, v.want.outcome, text)
	case !strings.HasPrefix(got.Error, reason), got.Outcome == Alert && reason == "" && got.Error != "":
		return fmt.Errorf("%s: the reason is %q, want one that begins with %q", v.Name, got.Error, reason)
	case !strings.Contains(text, v.want.has):
		return fmt.Errorf("%s: the outcome lacks %q:\n%s", v.Name, v.want.has, text)
	case v.want.hub != "" && (got.Alerts[0].EntityType != string(alert.IoTHub) || got.Alerts[0].Entity != v.want.hub || got.Alerts[0].Hub != v.want.hub):
		return fmt.Errorf("%s: the alert is about %s %q of hub %q, want the hub %q", v.Name, got.Alerts[0].EntityType, got.Alerts[0].Entity, got.Alerts[0].Hub, v.want.hub)
	case v.want.all != nil && diff.Diff(v.want.all, got.Alerts) != "":
		return fmt.Errorf("%s: the alerts are not those of the case (-want +got):\n%s", v.Name, diff.Diff(v.want.all, got.Alerts))
	case v.want.ids != nil && !slices.Equal(ids(got), v.want.ids):
		return fmt.Errorf("%s: the alerts are %q, want those of the case, %q", v.Name, ids(got), v.want.ids)
	}
	return nil
}

func ids(o Outcome) (ids []string) {
	for _, a := range o.Alerts {
		ids = append(ids, a.SystemAlertID)
	}
	return ids
}

// facts are the members of an event that the rules change.
type facts struct {
	Subject   string `json:"subject"`
	EventType string `json:"eventType"` // of the Event Grid schema
	Type      string `json:"type"`      // of CloudEvents
	Data      struct {
		OperationName string         `json:"operationName"`
		ResourceURI   string         `json:"resourceUri"`
		Authorization jsontext.Value `json:"authorization"`
		Claims        jsontext.Value `json:"claims"`
		HTTPRequest   jsontext.Value `json:"httpRequest"`
	} `json:"data"`
}

// eventType returns the event type, which only one of the members has.
func (f facts) eventType() string { return f.EventType + f.Type }

// resource returns what the event is on, if subject and resourceUri agree on it.
func (f facts) resource() (id event.ResourceID, ok bool) {
	id, err := event.ParseResourceID(f.Subject)
	return id, err == nil && id.OnHub() && strings.EqualFold(f.Subject, f.Data.ResourceURI)
}

// scope is what the cases of a detector fire on, in lower case.
type scope struct{ eventTypes, operations, types map[string]bool }

func scopeOf(list []Case) (scope, error) {
	s := scope{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, c := range list {
		events, err := c.Events()
		if err != nil {
			return s, fmt.Errorf("case %s: %w", c.Name, err)
		}
		for _, raw := range events {
			var f facts
			if err := json.Unmarshal(raw, &f, options); err != nil {
				return s, fmt.Errorf("case %s: %w", c.Name, err)
			}
			s.eventTypes[strings.ToLower(f.eventType())] = true
			s.operations[strings.ToLower(f.Data.OperationName)] = true
			if id, ok := f.resource(); ok {
				s.types[strings.ToLower(id.ChildType)] = true
			}
		}
	}
	return s, nil
}

// maker makes the variants of one case.
type maker struct {
	scope
	facts
	source Case
	made   []Variant
	err    error
}

// The members that the rules change, by their paths. The event type has another
// name in each schema.
const (
	id            = "id"
	subject       = "subject"
	operationName = "data.operationName"
	resourceURI   = "data.resourceUri"
	authorization = "data.authorization"
	claims        = "data.claims"
	httpRequest   = "data.httpRequest"
)

// member is a member of an event, by its path, and what it becomes.
type member struct {
	path  string
	value any
}

// add makes a variant with other members.
func (m *maker) add(w want, what string, members ...member) {
	raw := m.source.Event
	for _, change := range members {
		if m.err == nil {
			raw, m.err = Replace(raw, strings.Split(change.path, "."), change.value)
		}
	}
	m.made = append(m.made, Variant{m.source.Name + ": " + what, raw, w})
}

// unchanged wants the alerts of the case.
func (m *maker) unchanged() want { return want{outcome: Alert, ids: ids(m.source.Want)} }

var (
	notDelivered = want{outcome: NotDelivered}
	refused      = want{outcome: Refused}
)

// letterCases are the ways to write a value whose letter case Azure ignores.
var letterCases = []struct {
	name  string
	apply func(string) string
}{{"upper case", strings.ToUpper}, {"lower case", strings.ToLower}}

// typeMember returns the path of the event type.
func (m *maker) typeMember() string {
	if m.Type != "" {
		return "type"
	}
	return "eventType"
}

// ofOperation reports whether the event is of Azure Resource Manager.
func (m *maker) ofOperation() bool {
	return slices.ContainsFunc(event.OperationTypes, func(t string) bool { return strings.EqualFold(t, m.eventType()) })
}

// others makes variants that the detector is not for.
func (m *maker) others(operations []string) {
	for _, other := range append(slices.Clone(verdict.EventTypes), event.OperationTypes...) {
		if !m.eventTypes[strings.ToLower(other)] {
			m.add(notDelivered, "the event type "+other, member{m.typeMember(), other})
		}
	}
	for _, other := range operations {
		if m.ofOperation() && !m.operations[strings.ToLower(other)] {
			m.add(notDelivered, "the operation "+other, member{operationName, other})
		}
	}
}

// same makes variants that the detector is for, whole or broken.
func (m *maker) same() {
	for _, letters := range letterCases {
		m.add(m.unchanged(), "the event type in "+letters.name, member{m.typeMember(), letters.apply(m.eventType())})
	}
	m.add(refused, "without an id", member{id, ""})
	m.escaped()
	if !m.ofOperation() {
		return
	}
	m.operation()
	m.actor()
	if on, ok := m.resource(); ok { // another case has a plain subject
		m.on(on)
	}
}

// escaped writes an escape into each name of a member, which is the same name in JSON. What
// reads events fast leaves such an event to the JSON package, so the alert has to be the
// same in all that it says.
func (m *maker) escaped() {
	raw, err := escapeNames(m.source.Event)
	if err != nil {
		m.err = err
		return
	}
	m.made = append(m.made, Variant{m.source.Name + ": names with escapes", raw, want{outcome: Alert, all: m.source.Want.Alerts}})
}

// documents are the members that can be strings with documents in them, in lower case.
var documents = []string{"properties", "properties_s", "authtype", "authenticationtype"}

// escapeNames returns a document with an escape for the first character of each name, also
// in the documents in its strings.
func escapeNames(document jsontext.Value) (jsontext.Value, error) {
	var out bytes.Buffer
	d := jsontext.NewDecoder(bytes.NewReader(document), options)
	e := jsontext.NewEncoder(&out, options, jsontext.PreserveRawStrings(true))
	name := ""
	for {
		switch d.PeekKind() {
		case '{', '}', '[', ']':
			token, err := d.ReadToken()
			if err == nil {
				err = e.WriteToken(token)
			}
			if err != nil {
				return nil, err
			}
			name = ""
			continue
		}
		value, err := d.ReadValue()
		if err == io.EOF {
			return bytes.TrimSpace(out.Bytes()), nil
		}
		if err != nil {
			return nil, err
		}
		kind, length := d.StackIndex(d.StackDepth())
		text, _ := jsontext.AppendUnquote(nil, value) // not a string, or one with bytes that are not UTF-8
		switch {
		case kind == '{' && length%2 == 1: // a name
			if name = string(text); name != "" && name[0] < utf8.RuneSelf {
				rest, err := jsontext.AppendQuote(nil, name[1:])
				if err != nil {
					return nil, err
				}
				value = fmt.Appendf(nil, `"\u%04x%s`, name[0], rest[1:])
			}
		case value.Kind() == '"' && slices.Contains(documents, strings.ToLower(name)) && jsontext.Value(text).IsValid():
			inside, err := escapeNames(text)
			if err != nil {
				return nil, err
			}
			if value, err = jsontext.AppendQuote(nil, inside); err != nil {
				return nil, err
			}
		}
		if err := e.WriteValue(value); err != nil {
			return nil, err
		}
	}
}

// operation changes how the operation is written.
func (m *maker) operation() {
	for _, letters := range letterCases {
		m.add(m.unchanged(), "the operation in "+letters.name, member{operationName, letters.apply(m.Data.OperationName)})
	}
	m.add(refused, "without an operation", member{operationName, ""})
	if m.Data.ResourceURI != "" {
		m.add(want{outcome: Refused, reason: "event: data: "}, "a number as resourceUri", member{resourceURI, 1})
		m.add(notDelivered, "another operation, and a number as resourceUri", member{operationName, m.Data.OperationName + "/other"}, member{resourceURI, 1})
	}
}

// actor takes away who asked for the operation, in two ways.
func (m *maker) actor() {
	var without, unreadable []member
	var names []string
	for _, part := range []struct {
		path  string
		value jsontext.Value
	}{{authorization, m.Data.Authorization}, {claims, m.Data.Claims}, {httpRequest, m.Data.HTTPRequest}} {
		if part.value != nil {
			without = append(without, member{part.path, nil})
			unreadable = append(unreadable, member{part.path, 1})
			names = append(names, strings.TrimPrefix(part.path, "data."))
		}
	}
	m.add(want{outcome: Alert, has: ` by an unknown actor."`}, "without an actor", without...)
	if len(names) > 0 {
		m.add(want{outcome: Alert, has: fmt.Sprintf(`"UnreadableMembers":%q`, strings.Join(names, ", "))}, "unreadable members", unreadable...)
	}
}

// below are resources of an IoT hub, by the part of their ids after the id of the
// hub. The first is the hub itself.
var below = []string{
	"",
	"/certificates/other",
	"/certificates/other/versions/1",
	"/certificates/other/providers/Microsoft.Insights/diagnosticSettings/other",
	"/diagnosticSettings/other",
	"/providers/Microsoft.Insights/diagnosticSettings/other",
	"/providers/Microsoft.Authorization/roleAssignments/other",
	"/privateEndpointConnections/other",
	"/IotHubKeys/other",
	"/eventHubEndpoints/events/ConsumerGroups/other",
}

// on changes what the operation was on.
func (m *maker) on(r event.ResourceID) {
	for _, letters := range letterCases {
		m.add(m.unchanged(), "the ids in "+letters.name, member{subject, letters.apply(m.Subject)}, member{resourceURI, letters.apply(m.Data.ResourceURI)})
	}
	// A word behind a name is half of a child: the name of an action, for example.
	m.add(m.unchanged(), "a subject that is not an id", member{subject, m.Subject + "/word"})
	m.add(m.unchanged(), "a resourceUri that is not an id", member{resourceURI, m.Data.ResourceURI + "/word"})
	m.unreadable(r)

	hub := r.Resource()
	provisioning := r
	provisioning.Type = "Microsoft.Devices/provisioningServices"
	other := provisioning.Resource()
	if parts := strings.SplitN(m.Subject, "/", 10); len(parts) > 9 { // behind the hub's name
		other += "/" + parts[9]
	}
	m.add(notDelivered, "on a provisioning service", member{subject, other})
	m.add(aboutHub(r.Name, "subject: resource id ", "; data.resourceUri: "+isNot(r.ChildType, provisioning.Type)),
		"a provisioning service as resourceUri", member{subject, m.Subject + "/word"}, member{resourceURI, other})

	m.add(aboutHub(r.Name+"-other", "subject: resource id ", "; data.resourceUri names another resource, "),
		"a name on another hub that cannot be read as the subject", member{subject, hub + "-other/word/.."})
	if !m.types[""] {
		m.add(m.unchanged(), "the hub as the subject", member{subject, hub})
		m.add(aboutHub(r.Name+"-other", "subject: "+isNot("", r.Type), "; data.resourceUri names another resource, "),
			"another hub as the subject", member{subject, hub + "-other"})
		m.add(aboutHub(r.Name, "subject: "+isNot("", r.Type), "; data.resourceUri: "+isNot("", r.Type)),
			"without a name", member{subject, hub}, member{resourceURI, hub})
	}
	for _, rest := range below {
		other, err := event.ParseResourceID(hub + rest)
		if err != nil {
			m.err = err
			return
		}
		if m.types[strings.ToLower(other.ChildType)] {
			continue
		}
		if rest == "" {
			continue // without a name
		}
		reason := isNot(other.ChildType, other.Type)
		m.add(want{outcome: Refused, reason: "subject: " + reason, has: "; data.resourceUri: " + reason},
			"on the hub"+rest, member{subject, hub + rest}, member{resourceURI, hub + rest})
		m.add(want{outcome: Refused, reason: "subject: " + reason, has: "; data.resourceUri names another resource, "},
			"the hub"+rest+" as the subject", member{subject, hub + rest})
	}
}

// unreadable gives what the operation was on names that cannot be read, the ways in
// which an id can end that a name spoils.
func (m *maker) unreadable(r event.ResourceID) {
	kind := strings.TrimRight(m.Subject, "/")
	kind = kind[:strings.LastIndex(kind, "/")]
	names := []string{m.Subject + "/word"}
	if !m.types[""] {
		names = append(names, kind, kind+"/", kind+"/.", kind+"/..", kind+"/%2e%2E", kind+"//", kind+"//name", kind+"/a%2Fb", kind+"/./..")
	}
	for _, id := range names {
		m.add(aboutHub(r.Name, "subject: resource id ", "; data.resourceUri: resource id "),
			"neither is an id: "+id[len(kind):], member{subject, id}, member{resourceURI, id})
	}
	m.add(aboutHub(r.Name, "subject: resource id ", "; data.resourceUri: resource id \"\""),
		"a subject that is not an id, and no resourceUri", member{subject, names[0]}, member{resourceURI, ""})

	// Event Grid's filter looks for a part of the subject, so the subject may begin
	// with anything. If the subject does not name a hub, the resourceUri may.
	broken := "x" + m.Subject
	provisioning := r
	provisioning.Type = "Microsoft.Devices/provisioningServices"
	service := provisioning.Resource()
	m.add(m.unchanged(), "a subject that begins otherwise", member{subject, broken})
	m.add(aboutHub(r.Name, "subject: resource id ", "; data.resourceUri: resource id "),
		"a subject that begins otherwise, and a resourceUri that is not an id", member{subject, broken}, member{resourceURI, names[0]})
	for _, uri := range []string{broken, service, service + "/providers/Microsoft.Devices/IotHubs/.."} {
		m.add(want{outcome: Refused, reason: "subject: resource id "},
			"a subject that begins otherwise, and the resourceUri "+uri, member{subject, broken}, member{resourceURI, uri})
	}
}

// aboutHub wants an alert about the hub, and a reason of the quarantine that begins
// with one text and has another.
func aboutHub(hub, reason, has string) want {
	return want{outcome: Alert, reason: reason, hub: hub, has: has}
}

// isNot is how a detector says that it is not for a resource.
func isNot(childType, resourceType string) string {
	return cmp.Or(childType, "the resource itself") + " of " + resourceType + " is not "
}

// Operations returns the operations that a detector could mistake for its own:
// the operations of all detectors, and similar operations. Similar operations
// have another verb on the same type of resource, or on a type that contains it,
// or the same type under another provider.
func Operations(detectors []detector.Detector) []string {
	// The actions are those of IoT hubs and their certificates
	// (https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices).
	verbs := []string{"read", "write", "delete", "listkeys/action", "verify/action", "generateVerificationCode/action"}
	const hubs = "Microsoft.Devices/IotHubs"
	providers := []string{hubs, "Microsoft.Devices/provisioningServices", "Microsoft.KeyVault/vaults", "Microsoft.Web"}

	found := map[string]string{} // by its lower case
	add := func(operation string) { found[strings.ToLower(operation)] = operation }
	for _, d := range detectors {
		for _, operation := range d.On.Operations {
			resource := resourceType(operation)
			for ; strings.Contains(resource, "/"); resource = resource[:strings.LastIndex(resource, "/")] {
				for _, verb := range verbs {
					add(resource + "/" + verb)
					if len(resource) < len(hubs) || !strings.EqualFold(resource[:len(hubs)], hubs) {
						continue
					}
					for _, provider := range providers {
						add(provider + resource[len(hubs):] + "/" + verb)
					}
				}
			}
		}
	}
	for _, d := range detectors {
		for _, operation := range d.On.Operations {
			add(operation) // as the detector spells it
		}
	}
	return slices.Sorted(maps.Values(found))
}

// resourceType returns the type of resource that an operation is on: P/T of
// P/T/write, and of P/T/listkeys/action.
func resourceType(operation string) string {
	parts := strings.Split(operation, "/")
	verb := 1
	if strings.EqualFold(parts[len(parts)-1], "action") {
		verb = 2
	}
	return strings.Join(parts[:max(len(parts)-verb, 0)], "/")
}
