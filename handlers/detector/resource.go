package detector

import (
	"cmp"
	"fmt"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// onHub is the part that the subject of every operation on an IoT hub has, or
// on something below one.
const onHub = "/providers/Microsoft.Devices/IotHubs/"

// target is a kind of resource that lies directly below an IoT hub.
type target struct {
	entity     alert.EntityType
	childTypes []string // of its resource id; any of them
	noun       string   // what people call it
}

// operation is an operation on a target, ready to be made a finding.
type operation struct {
	event.Operation
	entity alert.Entity
	hub    alert.Hub
}

// decode reads an operation on t. The subject is "the resource ID of the
// resource that is the target of the operation"
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups);
// data.resourceUri stands in for it where it names more. It returns an error if
// neither is the id of a t, since the operation says that it was one.
func (t target) decode(e event.Event) (operation, error) {
	o, err := e.Operation()
	if err != nil {
		return operation{}, err
	}
	id, err := t.parse(e.Subject)
	if err != nil {
		var uriErr error
		if id, uriErr = t.parse(o.ResourceURI); uriErr != nil {
			return operation{}, fmt.Errorf("subject: %w; data.resourceUri: %w", err, uriErr)
		}
	}
	return operation{
		Operation: o,
		entity:    alert.Entity{Type: t.entity, Name: id.ChildName},
		hub:       alert.Hub{Name: id.Name, ResourceID: id.Resource(), SubscriptionID: id.SubscriptionID},
	}, nil
}

// parse reads the id of a t.
func (t target) parse(id string) (event.ResourceID, error) {
	r, err := event.ParseResourceID(id)
	if err != nil {
		return r, err
	}
	if !r.OnHub() || !containsFold(t.childTypes, r.ChildType) {
		return r, fmt.Errorf("%s of %s is not a %s of an IoT hub", cmp.Or(r.ChildType, "the resource itself"), r.Type, t.noun)
	}
	return r, nil
}

// finding makes the operation a finding. what says what happened to what, and
// finding adds who asked for it and from where.
func (o operation) finding(what string, properties map[string]string) []alert.Finding {
	who := " by " + o.who()
	if o.ClientAddress != "" {
		who += " from " + o.ClientAddress
	}
	p := map[string]string{"OperationName": o.Name}
	for name, value := range properties {
		p[name] = value
	}
	for name, value := range map[string]string{
		"ActorType":          string(o.Actor.Type),
		"ActorObjectId":      o.Actor.ObjectID,
		"ActorApplicationId": o.Actor.ApplicationID,
		"ActorResourceId":    o.Actor.ResourceID,
		"ActorRole":          o.Role,
		"UnreadableMembers":  strings.Join(o.Unreadable, ", "),
	} {
		if value != "" {
			p[name] = value
		}
	}
	if o.RolePrincipalID != "" && o.RolePrincipalID != o.Actor.ObjectID {
		p["RolePrincipalId"], p["RolePrincipalType"] = o.RolePrincipalID, cmp.Or(o.RolePrincipalType, "unknown")
	}
	return []alert.Finding{{
		Hub:            o.hub,
		Entity:         o.entity,
		Actor:          o.Actor.Name,
		ActorIPAddress: o.ClientAddress,
		CorrelationID:  o.CorrelationID,
		Message:        what + who + ".",
		Confidence:     alert.Stated,
		Properties:     p,
	}}
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

// outcome is what an event type says of an operation: "succeeded" or "failed".
// The member data.status is no witness of it; Microsoft's own samples of
// failures have Succeeded there
// (github.com/Azure/azure-sdk-for-go, sdk/messaging/eventgrid/azsystemevents v1.0.0, system_events_test.go).
func outcome(eventType string) string {
	if strings.HasSuffix(strings.ToLower(eventType), "success") {
		return "succeeded"
	}
	return "failed"
}
