package detector

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// This file is what a detector of an operation on an IoT hub is made of. Such a
// detector is run on events of Azure Resource Manager, one for each operation that
// ended: a write, a deletion or an action, as the listing of keys is
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
//
// Its Trigger has the event types of handlers/event, the operations, and onHub as
// the subject. Its Detect decodes the operation with a target, which says on what
// the operation has to be, and makes it a finding:
//
//	o, err := iotHub.decode(e)
//	return o.finding(fmt.Sprintf("the keys of IoT hub %q were read", o.hub.Name), nil), err
//
// The finding and the error go together: the alert of an operation whose target has
// a name that cannot be read is about the hub, and the event is quarantined as well.
//
// There are the targets iotHub, hubCertificate and hubDiagnosticSetting. A
// detector of something else below a hub declares its own.

// onHub is in the subject of every operation on an IoT hub, or on something below
// one: the SubjectContains of a Trigger.
const onHub = "/providers/Microsoft.Devices/IotHubs/"

// target is what an operation is on: an IoT hub itself, or a kind of thing below
// one.
type target struct {
	entity alert.EntityType // what findings are about
	// types are what the resource id has behind the name of the hub, without names;
	// any of them. It is certificates for a child of the hub,
	// Microsoft.Insights/diagnosticSettings for an extension, a/b for a b of an a,
	// and empty for the hub itself. Letter case does not matter.
	types []string
	noun  string // what people call it, with an article: "a certificate"
	what  string // the same, with where it is: "a certificate of an IoT hub"
}

// iotHub is an IoT hub itself: its settings, its keys, its existence.
var iotHub = target{
	entity: alert.IoTHub,
	types:  []string{""},
	noun:   "an IoT hub",
	what:   "an IoT hub itself",
}

// operation is what Azure Resource Manager did, or refused to do, to a target.
type operation struct {
	event.Operation // its name, who asked for it, and from where
	// entity is what the operation was on, by its name as spelled in the event. For
	// iotHub it has the name of the hub, and for something deeper than a child of the
	// hub all names, joined by /. If the name cannot be read, the entity is the hub.
	entity alert.Entity
	hub    alert.Hub // the hub, as spelled in the event; empty if no hub can be read
	// thing is what people call what the operation was on, for a sentence: certificate
	// "root-ca", or a certificate whose name cannot be read.
	thing   string
	subject string // of the event if the name cannot be read; otherwise empty
}

// decode reads an operation on t. It returns an error if the event does not name
// one thing that is a t: the operation says that it was a t, so the event is kept
// for a person to read. Beside the error it returns the operation as one on the
// hub, if the event names a hub and only the name of the t cannot be read. Nobody
// can hide an operation behind such a name. If no hub can be read, the operation has
// no hub, and no finding.
func (t target) decode(e event.Event) (operation, error) {
	o, err := e.Operation()
	if err != nil {
		return operation{}, err
	}
	id, err := t.find(e.Subject, o.ResourceURI)
	op := operation{Operation: o, hub: alert.Hub{Name: id.Name, ResourceID: id.Resource(), SubscriptionID: id.SubscriptionID}}
	if err != nil {
		op.entity = alert.Entity{Type: alert.IoTHub, Name: id.Name}
		op.thing, op.subject = t.noun+" whose name cannot be read", e.Subject
		return op, err
	}
	op.entity = alert.Entity{Type: t.entity, Name: cmp.Or(id.ChildName, id.Name)}
	_, noun, _ := strings.Cut(t.noun, " ")
	op.thing = noun + " " + strconv.Quote(op.entity.Name)
	return op, nil
}

// find returns the id of the t that the subject names. The subject is "the
// resource ID of the resource that is the target of the operation", for an action
// without the name of the action
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
// data.resourceUri stands in for a subject that names less, which is the hub of
// the t, or that is not a resource id. It is an error if neither is the id of a t,
// or if the subject names something else. Beside the error, find returns the id of
// the hub if one is named, and no thing other than a t. Otherwise that id is empty.
func (t target) find(subject, uri string) (event.ResourceID, error) {
	id, subjectErr := t.parse(subject)
	if subjectErr == nil {
		return id, nil
	}
	hub, isID := hubOf(subject)
	id, uriErr := t.parse(uri)
	unknown := hub.Name == "" && !isID // the subject does not say what it is about
	switch {
	case uriErr != nil && unknown:
		hub, _ = hubOf(uri)
		fallthrough
	case uriErr != nil:
		return hub, fmt.Errorf("subject: %w; data.resourceUri: %w", subjectErr, uriErr)
	case unknown || hub.Holds(id):
		return id, nil
	}
	return hub, fmt.Errorf("subject: %w; data.resourceUri names another resource, which is %s", subjectErr, t.what)
}

// hubOf returns the IoT hub that the beginning of id names, whatever stands behind
// it. The hub is empty if id does not begin with a hub, and if id is the id of
// something else than the hub. isID reports whether id is the id of a resource.
func hubOf(id string) (hub event.ResourceID, isID bool) {
	if r, err := event.ParseResourceID(id); err == nil {
		if r.OnHub() && r.ChildType == "" {
			hub = r
		}
		return hub, true
	}
	const last = 8 // segment: the name of the hub; the id begins with a slash
	segments := strings.Split(id, "/")
	r, _ := event.ParseResourceID(strings.Join(segments[:min(last+1, len(segments))], "/"))
	if r.OnHub() {
		hub = r
	}
	return hub, false
}

// parse reads the id of a t.
func (t target) parse(id string) (event.ResourceID, error) {
	r, err := event.ParseResourceID(id)
	if err != nil {
		return r, err
	}
	if !r.OnHub() || !containsFold(t.types, r.ChildType) {
		return r, fmt.Errorf("%s of %s is not %s", cmp.Or(r.ChildType, "the resource itself"), r.Type, t.what)
	}
	return r, nil
}

// finding makes the operation the one finding of its event, or none if no hub can be
// read. what says what happened to what, without a full stop at its end. finding
// begins it with a capital letter, and goes on with who did that and from where.
// properties are particulars beside those that any operation has, by names in
// PascalCase; nil if there are none.
func (o operation) finding(what string, properties map[string]string) []alert.Finding {
	if o.hub.Name == "" {
		return nil
	}
	who := " by " + o.who()
	if o.ClientAddress != "" {
		who += " from " + event.Shorten(o.ClientAddress)
	}
	if o.RoleAssignmentID == "" && (o.RolePrincipalID == "" || o.RolePrincipalID == o.Actor.ObjectID) {
		o.RolePrincipalID, o.RolePrincipalType = "", "" // They say nothing that is new.
	}
	p := known([]property{
		{"OperationName", o.Name},
		{"ActorType", string(o.Actor.Type)},
		{"ActorObjectId", o.Actor.ObjectID},
		{"ActorApplicationId", o.Actor.ApplicationID},
		{"ActorResourceId", o.Actor.ResourceID},
		{"ActorRole", o.Role},
		{"RolePrincipalId", o.RolePrincipalID},
		{"RolePrincipalType", o.RolePrincipalType},
		{"RoleAssignmentId", o.RoleAssignmentID},
		{"RoleAssignmentScope", o.RoleAssignmentScope},
		{"RoleDefinitionId", o.RoleDefinitionID},
		{"UnreadableSubject", o.subject},
		{"UnreadableMembers", strings.Join(o.Unreadable, ", ")},
	})
	maps.Copy(p, properties)
	return []alert.Finding{{
		Hub:            o.hub,
		Entity:         o.entity,
		Actor:          o.Actor.Name,
		ActorIPAddress: o.ClientAddress,
		CorrelationID:  o.CorrelationID,
		Message:        strings.ToUpper(what[:1]) + what[1:] + who + ".",
		Confidence:     alert.Stated,
		Properties:     p,
	}}
}

// property is a particular of a finding.
type property struct{ name, value string }

// known returns the properties that have a value.
func known(list []property) map[string]string {
	n := 0
	for _, p := range list {
		if p.value != "" {
			n++
		}
	}
	of := make(map[string]string, n)
	for _, p := range list {
		if p.value != "" {
			of[p.name] = p.value
		}
	}
	return of
}

// who names the caller in a sentence, with its kind if it is not a person.
func (o operation) who() string {
	switch {
	case o.Actor.Name == "":
		return "an unknown actor"
	case o.Actor.Type == event.ManagedIdentity:
		return "managed identity " + o.Actor.Name
	case o.Actor.Type == event.Application:
		return "application " + o.Actor.Name
	}
	return o.Actor.Name
}
