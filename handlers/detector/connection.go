package detector

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// onConnections returns the trigger of a detector of failed connections: the verdicts of
// these types, and single records, whatever their cause. A person who judges log
// messages again makes events of single records (judge.Redrive), and so did the versions
// before verdicts, of which Event Grid may still deliver some.
func onConnections(types ...string) Trigger {
	return Trigger{EventTypes: append([]string{connection.Failed}, types...)}
}

// detectConnection returns a Detect that reports failed connections. whats says of each
// cause what is wrong with the device's credential.
func detectConnection(whats map[verdict.Cause]string) func(event.Event) ([]alert.Finding, error) {
	return func(e event.Event) ([]alert.Finding, error) {
		if strings.EqualFold(e.Type, connection.Failed) {
			cause, err := connection.CauseOf(e.Data, e.Scanned())
			if err != nil {
				return nil, fmt.Errorf("data: %w", err)
			}
			what, ok := whats[verdict.Cause(cause)]
			if !ok { // also if the record is passed over
				return nil, nil
			}
			return detectRecord(e, what)
		}
		n, hub, records, err := verdict.ParseEvent(e)
		if err != nil {
			return nil, err
		}
		// The filter is by type, and the type is by cause. So this is not a reason to be silent.
		wrong, ok := whats[n.Cause]
		if !ok {
			return nil, fmt.Errorf("data: cause: %q is not for this detector", event.Shorten(string(n.Cause)))
		}
		f := connectionFinding(telling(records), hub, wrong)
		what := string(n.Cause)
		if records[0].DeviceID == "" {
			what += alert.OfUnnamed
		}
		f.Tally = tally(n, what)
		last := until(records)
		f.Until, f.UntilIPAddress = last.Time, last.MaskedIPAddress
		return []alert.Finding{f}, nil
	}
}

// detectRecord reports the failed connection that an event of one record tells of.
func detectRecord(e event.Event, what string) ([]alert.Finding, error) {
	r, err := connection.DecodeRecord(e.Data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	hub, err := r.Hub()
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return []alert.Finding{connectionFinding(classified{r, connection.Classify(r)}, hub, what)}, nil
}

// classified is a record with its classification.
type classified struct {
	connection.Record
	connection.Classification
}

// telling returns the record of an item that tells most: the first one in which the service
// states the cause, or else the first of all. An inferred one before it does not make the item
// inferred, which StatedOnly would leave out.
func telling(records []connection.Record) classified {
	for _, r := range records {
		if c := connection.Classify(r); c.Stated {
			return classified{r, c}
		}
	}
	return classified{records[0], connection.Classify(records[0])}
}

// until returns the last of records.
func until(records []connection.Record) connection.Record {
	return slices.MaxFunc(records, func(a, b connection.Record) int { return a.Time.Compare(b.Time) })
}

// takenUp says in a finding about the end of a session that its address is that of the
// device, and not of whoever took up the session. The address of the new session is in the
// record of a connection. Of these hubwatch keeps no more than a hash of the address.
func takenUp(f *alert.Finding) {
	if f.ActorIPAddress != "" {
		f.Properties["EndedSessionIpAddress"] = f.ActorIPAddress
		f.Message += " That is the address of the session that ended."
	}
	f.ActorIPAddress, f.UntilIPAddress = "", ""
	f.Message += " The address of the session that took it up is in the log: look there for the deviceConnect of the device in the minutes that follow."
}

// tally returns how an alert counts a notice: the newest version of each item. what is what
// alert.Course calls it.
func tally(n verdict.Notice, what string) alert.Tally {
	return alert.Tally{Item: fmt.Sprintf("%d|%s|%x", n.Bucket, n.Cause, n.Device), N: n.N, Seq: n.Seq, What: what, From: n.Bucket.Start()}
}

// connectionFinding returns what there is to say of a record of a hub.
func connectionFinding(c classified, hub event.ResourceID, what string) alert.Finding {
	return alert.Finding{
		Hub:            alert.Hub{Name: hub.Name, ResourceID: hub.Resource(), SubscriptionID: hub.SubscriptionID},
		Entity:         connectionEntity(c.Record, hub.Name),
		ActorIPAddress: c.MaskedIPAddress,
		Message:        connectionMessage(c.Record, c.Classification, hub.Name, what),
		Confidence:     confidence(c.Classification),
		Properties:     connectionProperties(c.Record, c.Classification),
	}
}

// connectionEntity is who failed to connect: a device or a module, or the hub if the
// record names no device. All such failures of one cause are then one alert a day.
// Nobody is known to be the actor: the very question is whether it was the device.
func connectionEntity(r connection.Record, hub string) alert.Entity {
	switch {
	case r.DeviceID == "":
		return alert.Entity{Type: alert.IoTHub, Name: hub}
	case r.ModuleID == "":
		return alert.Entity{Type: alert.Device, Name: r.DeviceID}
	}
	// No id of an identity that exists has a slash or a backslash, but a client
	// can ask for any id, and no two may look the same.
	escape := strings.NewReplacer(`\`, `\\`, `/`, `\/`).Replace
	return alert.Entity{Type: alert.Module, Name: escape(r.DeviceID) + "/" + escape(r.ModuleID)}
}

func confidence(c connection.Classification) alert.Confidence {
	if c.Stated {
		return alert.Stated
	}
	return alert.Inferred
}

// connectionMessage says who could not connect to which hub, or was disconnected
// from it, how and from where, and what is wrong with its credential.
func connectionMessage(r connection.Record, c connection.Classification, hub, what string) string {
	who := "Device " + strconv.Quote(r.DeviceID)
	switch {
	case r.DeviceID == "" && r.ModuleID == "":
		who = "A device that the log does not name"
	case r.DeviceID == "":
		who = "Module " + strconv.Quote(r.ModuleID) + " of a device that the log does not name"
	case r.ModuleID != "":
		who = "Module " + strconv.Quote(r.ModuleID) + " of device " + strconv.Quote(r.DeviceID)
	}
	did := "was refused by"
	if strings.EqualFold(r.OperationName, "deviceDisconnect") {
		did = "was disconnected by"
	}
	protocol := cmp.Or(event.Shorten(r.Protocol), "an unknown protocol")
	address := cmp.Or(event.Shorten(r.MaskedIPAddress), "an unknown address")
	ground := "stated by IoT Hub"
	if !c.Stated {
		ground = "inferred from the result " + event.Shorten(cmp.Or(r.ResultType, r.ResultDescription, r.StatusCode))
	}
	return who + " " + did + " IoT hub " + strconv.Quote(hub) + ", over " + protocol + " from " + address + ": " + what + " (" + ground + ")."
}

// connectionProperties returns what the record says. With that, a reader can check
// the rule that decided.
func connectionProperties(r connection.Record, c connection.Classification) map[string]string {
	return known([]property{
		{"Rule", c.Rule},
		{"StatedText", c.Text},
		{"OperationName", r.OperationName},
		{"ResultType", r.ResultType},
		{"ResultDescription", r.ResultDescription},
		{"StatusCode", r.StatusCode},
		{"Protocol", r.Protocol},
		{"SdkVersion", r.SDKVersion},
		{"AuthType", r.AuthType.Type},
		{"AuthScope", r.AuthType.Scope},
		{"AuthIssuer", r.AuthType.Issuer},
		{"UnreadableMembers", strings.Join(slices.Compact(r.Unreadable), ", ")},
	})
}

// StatedOnly returns d without its inferred findings, for users who want to hear
// only what the service states.
func StatedOnly(d Detector) Detector {
	detect := d.Detect
	d.Detect = func(e event.Event) ([]alert.Finding, error) {
		findings, err := detect(e)
		return slices.DeleteFunc(findings, func(f alert.Finding) bool { return f.Confidence == alert.Inferred }), err
	}
	return d
}
