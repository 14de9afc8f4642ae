package detector

import (
	"cmp"
	"fmt"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// This file is for detectors that are not made of the parts of resource.go and
// connection.go: what there is to say of any event of a source. Package custom builds on it.

// Operation returns what there is to say of an operation of Azure Resource Manager on any
// resource: the finding of an alert about the resource itself, and the operation. The
// finding's hub is the resource, also if it is not an IoT hub. The error means that the
// event names no resource, or is not of an operation.
func Operation(e event.Event) (alert.Finding, event.Operation, error) {
	o, err := e.Operation()
	if err != nil {
		return alert.Finding{}, o, err
	}
	id, err := event.ParseResourceID(e.Subject)
	if err != nil {
		if hub, _ := hubOf(e.Subject); hub.Name != "" {
			id, err = hub, nil
		}
	}
	if err != nil {
		var uriErr error
		if id, uriErr = event.ParseResourceID(o.ResourceURI); uriErr != nil {
			return alert.Finding{}, o, fmt.Errorf("subject: %w; data.resourceUri: %w", err, uriErr)
		}
	}
	noun := "IoT hub"
	if !id.OnHub() {
		noun = "the resource of type " + event.Shorten(id.Type)
	}
	op := operation{
		Operation: o,
		hub:       alert.Hub{Name: id.Name, ResourceID: id.Resource(), SubscriptionID: id.SubscriptionID},
		entity:    alert.Entity{Type: alert.IoTHub, Name: id.Name},
	}
	what := fmt.Sprintf("the operation %s on %s %q %s", event.Shorten(o.Name), noun, id.Name, cmp.Or(event.Outcome(e.Type), "ended"))
	return op.finding(what, nil)[0], o, nil
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
		f, err = connectionFinding(r, c, string(c.Cause))
		return f, e.Data, verdict.Cause(c.Cause), true, err
	}
	n, records, err := verdict.ParseEvent(e)
	if err != nil {
		return f, nil, "", false, err
	}
	if len(records) == 0 {
		return f, nil, "", false, fmt.Errorf("type %s: is not about one device", event.Shorten(e.Type))
	}
	f, err = connectionFinding(records[0], connection.Classify(records[0]), string(n.Cause))
	f.Tally = tally(n)
	if n.N > 1 {
		f.Message += fmt.Sprintf(" That happened %d times in ten minutes.", n.N)
	}
	return f, n.Records[0], n.Cause, true, err
}

// Client returns who is on the other side of a hub: a device, a module of one, or the hub
// itself if no device is named.
func Client(device, module, hub string) alert.Entity {
	return connectionEntity(connection.Record{DeviceID: device, ModuleID: module}, hub)
}
