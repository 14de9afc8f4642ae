package detector

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// This file is for detectors that are not made of the parts of resource.go and
// connection.go: what there is to say of any event of a source. Package custom builds on it.

// Operation returns what there is to say of an operation of Azure Resource Manager on any
// resource, or on a resource group: the finding of an alert about it, and the operation. The
// finding's hub is the resource or the group, also if it is not an IoT hub; what lies below
// the resource is in the property TargetResourceId. The error means that the event names
// neither, or is not of an operation.
func Operation(e event.Event) (alert.Finding, event.Operation, error) {
	o, err := e.Operation()
	if err != nil {
		return alert.Finding{}, o, err
	}
	if group, ok := groupOf(e.Subject); ok {
		op := operation{Operation: o, hub: group, entity: alert.Entity{Type: alert.Resource, Name: group.Name}}
		what := fmt.Sprintf("the operation %s on resource group %q %s", event.Shorten(o.Name), group.Name, cmp.Or(event.Outcome(e.Type), "ended"))
		return op.finding(what, nil)[0], o, nil
	}
	target := e.Subject
	id, err := event.ParseResourceID(target)
	if err != nil {
		if hub, _ := hubOf(e.Subject); hub.Name != "" {
			id, err = hub, nil
		}
	}
	if err != nil {
		var uriErr error
		target = o.ResourceURI
		if id, uriErr = event.ParseResourceID(target); uriErr != nil {
			return alert.Finding{}, o, fmt.Errorf("subject: %w; data.resourceUri: %w", err, uriErr)
		}
	}
	op := operation{
		Operation: o,
		hub:       alert.Hub{Name: id.Name, ResourceID: id.Resource(), SubscriptionID: id.SubscriptionID},
		entity:    alert.Entity{Type: alert.IoTHub, Name: id.Name},
	}
	noun, properties := "IoT hub", map[string]string(nil)
	if !id.OnHub() {
		noun = "the resource of type " + event.Shorten(id.Type)
		op.entity = alert.Entity{Type: alert.Resource, Name: fromType(target)}
		properties = map[string]string{"TargetResourceId": target}
	}
	what := fmt.Sprintf("the operation %s on %s %q %s", event.Shorten(o.Name), noun, id.Name, cmp.Or(event.Outcome(e.Type), "ended"))
	return op.finding(what, properties)[0], o, nil
}

// fromType returns the id of a resource from its type on, without what all resources of a
// provider have in common: sites/contoso-app.
func fromType(id string) string {
	const provider = 6 // segment: the id begins with a slash
	segments := strings.SplitN(strings.TrimRight(id, "/"), "/", provider+2)
	return segments[len(segments)-1]
}

// groupOf returns the resource group that an id is of, as the hub of a finding; false if it
// is the id of something else.
func groupOf(id string) (group alert.Hub, ok bool) {
	// An id of a group is the beginning of an id of any resource in it.
	r, err := event.ParseResourceID(strings.TrimRight(id, "/") + "/providers/a.b/c/d")
	if err != nil || r.ChildType != "" {
		return alert.Hub{}, false
	}
	return alert.Hub{
		Name:           r.ResourceGroup,
		ResourceID:     "/subscriptions/" + r.SubscriptionID + "/resourceGroups/" + r.ResourceGroup,
		SubscriptionID: r.SubscriptionID,
	}, true
}

// Connection returns what there is to say of a failed connection: the finding of an alert
// about the device, and the first of its records. The event is a verdict about one device,
// or a single record. ok is false if a single record tells of no failure. The error means
// that the event cannot be read.
func Connection(e event.Event) (f alert.Finding, raw []byte, cause verdict.Cause, ok bool, err error) {
	if strings.EqualFold(e.Type, connection.Failed) {
		r, err := connection.DecodeRecord(e.Data)
		if err != nil {
			return f, nil, "", false, fmt.Errorf("data: %w", err)
		}
		c := connection.Classify(r)
		if c.PassedOver != "" {
			return f, nil, "", false, nil
		}
		hub, err := r.Hub()
		return connectionFinding(classified{r, c}, hub, string(c.Cause)), e.Data, verdict.Cause(c.Cause), true, err
	}
	n, hub, records, err := verdict.ParseEvent(e)
	if err != nil {
		return f, nil, "", false, err
	}
	if len(records) == 0 {
		return f, nil, "", false, fmt.Errorf("type %s: is not about one device", event.Shorten(e.Type))
	}
	f = connectionFinding(classified{records[0], connection.Classify(records[0])}, hub, string(n.Cause))
	f.Tally = tally(n, "")
	f.Tally.From = time.Time{} // an alert may be about several devices, so alert.Course does not have it
	last := until(records)
	f.Until, f.UntilIPAddress = last.Time, last.MaskedIPAddress
	if n.N > 1 {
		f.Message += fmt.Sprintf(" That happened %d times in ten minutes.", n.N)
	}
	return f, n.Records[0], n.Cause, true, nil
}

// Client returns who is on the other side of a hub: a device, a module of one, or the hub
// itself if no device is named.
func Client(device, module, hub string) alert.Entity {
	return connectionEntity(connection.Record{DeviceID: device, ModuleID: module}, hub)
}
