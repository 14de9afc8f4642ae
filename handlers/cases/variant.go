package cases

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// Variant is an event that a rule makes of a case that fires. What becomes of it
// is the same for every detector, so nobody writes it down.
type Variant struct {
	Name  string // the name of the case, and what the rule changed
	Event jsontext.Value
	// Outcome is one of the four kinds. Alert means the alert of the case: its texts
	// may differ in letter case.
	Outcome string
	ids     []string // of the alerts of the case
}

// Variants returns what the rules make of the cases of one detector. The detector
// fires on the event types, operations and resources that its cases fire on, and
// on no others: another event type or operation is not delivered, a subject that
// is not on an IoT hub neither, and another resource of a hub cannot be judged.
// Letter case decides nothing. operations are those that a detector could mistake
// for its own. Its error names a case whose event cannot be changed.
func Variants(list []Case, operations []string) ([]Variant, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(c Case) bool { return c.Want.Outcome != Alert })
	own, err := scopeOf(list)
	if err != nil {
		return nil, err
	}
	var variants []Variant
	for _, c := range list {
		made, err := own.variants(c, operations)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, err)
		}
		variants = append(variants, made...)
	}
	return variants, nil
}

// Run holds a detector to the variant. Its error says what became of the event
// instead.
func (v Variant) Run(d detector.Detector) error {
	got := Judge(d, v.Event)
	if got.Outcome != v.Outcome {
		return fmt.Errorf("%s: the outcome is %q, want %q %s", v.Name, got.Outcome, v.Outcome, got.Error)
	}
	if diff := cmp.Diff(v.ids, ids(got)); diff != "" && v.Outcome == Alert {
		return fmt.Errorf("%s: it is another alert than that of the case (-want +got):\n%s", v.Name, diff)
	}
	return nil
}

func ids(o Outcome) (ids []string) {
	for _, a := range o.Alerts {
		ids = append(ids, a.SystemAlertID)
	}
	return ids
}

// facts are the members of an event that decide whether it is for a detector.
type facts struct {
	Subject   string `json:"subject"`
	EventType string `json:"eventType"` // of the Event Grid schema
	Type      string `json:"type"`      // of CloudEvents
	Data      struct {
		OperationName string `json:"operationName"`
		ResourceURI   string `json:"resourceUri"`
	} `json:"data"`
}

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

// below are resources of an IoT hub, by what their ids have behind the hub's. The
// first is the hub itself.
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

// variants returns what the rules make of a case.
func (s scope) variants(c Case, operations []string) (list []Variant, err error) {
	var f facts
	if err := json.Unmarshal(c.Event, &f, options); err != nil {
		return nil, err
	}
	// add makes a variant by changing members, each a path and its new value.
	add := func(outcome, what string, members ...[2]string) {
		raw := c.Event
		for _, m := range members {
			if err == nil {
				raw, err = Replace(raw, strings.Split(m[0], "."), m[1])
			}
		}
		list = append(list, Variant{c.Name + ": " + what, raw, outcome, ids(c.Want)})
	}
	typeMember := "eventType"
	if f.Type != "" {
		typeMember = "type"
	}
	for _, other := range append([]string{connection.Failed}, event.OperationTypes...) {
		if !s.eventTypes[strings.ToLower(other)] {
			add(NotDelivered, "the event type "+other, [2]string{typeMember, other})
		}
	}
	letters := map[string]func(string) string{"upper": strings.ToUpper, "lower": strings.ToLower}
	for _, name := range slices.Sorted(maps.Keys(letters)) {
		add(Alert, "the event type in "+name+" case", [2]string{typeMember, letters[name](f.eventType())})
	}
	if !slices.ContainsFunc(event.OperationTypes, func(t string) bool { return strings.EqualFold(t, f.eventType()) }) {
		return list, err
	}

	const operation, subject, uri = "data.operationName", "subject", "data.resourceUri"
	for _, other := range operations {
		if !s.operations[strings.ToLower(other)] {
			add(NotDelivered, "the operation "+other, [2]string{operation, other})
		}
	}
	add(Refused, "no operation", [2]string{operation, ""})
	for _, name := range slices.Sorted(maps.Keys(letters)) {
		add(Alert, "the operation in "+name+" case", [2]string{operation, letters[name](f.Data.OperationName)})
	}
	id, ok := f.resource()
	if !ok {
		return list, err // other cases have a plain one
	}
	for _, name := range slices.Sorted(maps.Keys(letters)) {
		add(Alert, "the ids in "+name+" case", [2]string{subject, letters[name](f.Subject)}, [2]string{uri, letters[name](f.Data.ResourceURI)})
	}
	elsewhere := id
	elsewhere.Type = "Microsoft.Devices/provisioningServices"
	add(NotDelivered, "on a provisioning service", [2]string{subject, elsewhere.Resource() + "/certificates/other"})
	add(Alert, "a subject that is not an id", [2]string{subject, f.Subject + "/name"})
	add(Alert, "a resourceUri that is not an id", [2]string{uri, f.Data.ResourceURI + "/name"})
	hub := id.Resource()
	for _, rest := range below {
		other, err := event.ParseResourceID(hub + rest)
		if err != nil {
			return nil, err
		}
		if s.types[strings.ToLower(other.ChildType)] {
			continue
		}
		what := "on " + other.ChildType
		if rest == "" {
			what = "on the hub itself"
			add(Alert, "the hub as the subject", [2]string{subject, hub})
			add(Refused, "another hub as the subject", [2]string{subject, hub + "-other"})
		} else {
			add(Refused, what+", by the subject", [2]string{subject, hub + rest})
		}
		add(Refused, what, [2]string{subject, hub + rest}, [2]string{uri, hub + rest})
	}
	return list, err
}

// Operations returns what a detector could mistake for operations of its own:
// those of all detectors, and their neighbours. These are every other verb on the
// same type of resource and on those that it lies below, and the same on other
// providers.
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
