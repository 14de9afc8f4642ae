package custom

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// replace begins the texts of New that say what is to stand in their place. An alert that is
// enabled has none.
const replace = "REPLACE"

// New returns the beginning of an alert of a source: it is off, it has no mistakes, and its
// cases pass and notice each change of its file. Its texts say what is to stand in their
// place, and its comments what each part is for. Its error says what is wrong with the name or
// the source.
func New(name string, source Source) (Alert, error) {
	if err := CheckName(name); err != nil {
		return Alert{}, err
	}
	a := Alert{
		Name: name, Schema: Schema, AlertType: "Custom_" + name, Severity: alert.Low,
		Title:       replace + ": what happened, in a few words, without names",
		Description: replace + ": why it matters, in full sentences, for whoever gets the alert at night.",
		Remediation: []string{replace + ": what to do first.", replace + ": what to do if that was it."},
		Owner:       replace + ": who answers questions about this file, or take this line out",
		Limits:      replace + ": what the alert cannot see, or take this line out",
		On:          On{Source: source},
	}
	const hub = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"
	fires := Case{Name: "fires-example", About: replace + ": what happens in this event, and why it is worth an alert.", Want: Fires}
	silent := Case{Name: "silent-example", About: replace + ": what is different here, and why it is not worth an alert.", Want: Silent}
	a.Cases = []Case{fires, silent}
	value := func(s string) jsontext.Value { return jsontext.Value(s) }
	switch source {
	case Resources:
		const listed = "Microsoft.Devices/IotHubs/listkeys/action"
		a.On.Comment = Comment{
			"The operations of Azure Resource Manager that the alert is run on. Event Grid leaves all others out, and they cost nothing.",
			"Without operations, all operations of these types are watched. subjectContains watches one hub or one kind of resource alone.",
			"https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices has the operations.",
		}
		a.On.EventTypes = []string{event.ResourceActionSuccess}
		a.On.Operations = []string{listed}
		a.When = `actor != "pipeline@contoso.example"`
		a.Message = `actor + " read the keys of IoT hub " + hub`
		of := func(n int, operation, actor string) jsontext.Value {
			return value(fmt.Sprintf(`{"id": "00000000-0000-4000-8000-%012d", "topic": "/subscriptions/00000000-0000-0000-0000-000000000001", "subject": %q,
				"eventType": %q, "eventTime": "2026-02-01T08:00:00Z", "dataVersion": "2", "metadataVersion": "1",
				"data": {"operationName": %q, "resourceUri": %q, "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": %q}, "httpRequest": {"clientIpAddress": "192.0.2.10"}, "status": "Succeeded"}}`,
				n, hub, event.ResourceActionSuccess, operation, hub, actor))
		}
		other := Case{Name: "silent-other-operation", About: replace + ": what is not watched, though the condition is true.", Want: Silent}
		a.Cases = append(a.Cases, other)
		a.Cases[0].Event, a.Cases[1].Event = of(1, listed, "alice@contoso.example"), of(2, listed, "pipeline@contoso.example")
		a.Cases[2].Event = of(3, "Microsoft.Devices/IotHubs/exportDevices/action", "alice@contoso.example")
		a.Cases[0].Says = &Says{Severity: a.Severity, Message: "alice@contoso.example read the keys of IoT hub contoso-hub"}
	case Connections:
		a.On.Comment = Comment{
			"The causes for which connections of a device fail. There can be token-expired, token-invalid, certificate-expired, thumbprint-mismatch, foreign and missing, each behind hubwatch.iothub.connection.",
			"Without eventTypes, all of these are watched. What has no such cause is in the source logs, category Connections, alone.",
			"All refusals of a device with one cause in ten minutes are one event: data.n says how many there were, and record is the first of their records. Azure masks the end of addresses.",
		}
		a.On.EventTypes = []string{verdict.TokenInvalidType}
		a.When = `address != "192.0.2.XXX"`
		a.Message = `"Device " + device + " was refused from " + address + ", outside of our network"`
		of := func(n int, of, cause, kind, address string) jsontext.Value {
			const properties = `{"deviceId":"thermo-7","protocol":"Mqtt","authType":"{\"scope\":\"device\",\"type\":\"%s\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}","maskedIpAddress":"%s","statusCode":"401"}`
			text, _ := json.Marshal(fmt.Sprintf(properties, kind, address)) // as Azure Monitor writes it
			return value(fmt.Sprintf(`{"specversion": "1.0", "id": "00000000-0000-4000-8000-%012[1]d", "type": %[2]q, "source": %[3]q, "subject": "devices/thermo-7", "time": "2026-02-01T08:00:01Z",
				"datacontenttype": "application/json", "data": {"bucket": "2026-02-01T08:00:00Z", "cause": %[4]q, "n": 1, "seq": 2, "records": [{"time": "2026-02-01T08:00:01Z", "resourceId": %[3]q,
				"operationName": "deviceConnect", "category": "Connections", "level": "Error", "resultType": "401003", "resultDescription": "IotHubUnauthorized", "properties": %[5]s, "location": "westeurope"}]}}`,
				n, of, strings.ToUpper(hub), cause, text))
		}
		const outside, inside = "203.0.113.XXX", "192.0.2.XXX"
		a.Cases = append(a.Cases, Case{Name: "silent-other-cause", About: replace + ": what is not watched, though the condition is true.", Want: Silent})
		a.Cases[0].Event = of(1, verdict.TokenInvalidType, string(connection.TokenInvalid), "sas", outside)
		a.Cases[1].Event = of(2, verdict.TokenInvalidType, string(connection.TokenInvalid), "sas", inside)
		a.Cases[2].Event = of(3, verdict.CertificateExpiredType, string(connection.CertificateExpired), "x509", outside)
		a.Cases[0].Says = &Says{Severity: a.Severity, Entity: "thermo-7", Message: "Device thermo-7 was refused from 203.0.113.XXX, outside of our network"}
	case Logs:
		a.On.Comment = Comment{
			"The category of the hub's resource log, each record of which is judged by itself. The parameter logCategories of infra/main.bicep has to have it.",
			"operations are names of operations of the category, for example send: the relay publishes no others, so that they cost less.",
			"https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#resource-logs has the categories, and samples of their records.",
		}
		a.On.Category = "DirectMethods"
		a.When = `has(record.properties.statusCode) && record.properties.statusCode == "404"`
		a.Message = `"A method was called on device " + device + ", which does not exist"`
		of := func(n int, properties map[string]string) jsontext.Value {
			inner, _ := json.Marshal(properties)   // of texts
			text, _ := json.Marshal(string(inner)) // as Azure Monitor writes it
			return value(fmt.Sprintf(`{"time": "2026-02-01T08:00:%02dZ", "resourceId": %q, "operationName": "send", "category": "DirectMethods", "level": "Error", "properties": %s}`, n, strings.ToUpper(hub), text))
		}
		a.Cases[0].Records = []jsontext.Value{of(1, map[string]string{"deviceId": "thermo-7", "statusCode": "404"})}
		a.Cases[1].Records = []jsontext.Value{of(1, map[string]string{"deviceId": "thermo-7", "statusCode": "504"}), of(2, map[string]string{"deviceId": "thermo-7"})}
		a.Cases[0].Says = &Says{Severity: a.Severity, Entity: "thermo-7", Message: "A method was called on device thermo-7, which does not exist"}
	case Hub:
		a.On.Comment = Comment{
			"The events that the hub itself publishes. There can be DeviceCreated, DeviceDeleted, DeviceConnected, DeviceDisconnected and DeviceTelemetry.",
			"https://learn.microsoft.com/azure/event-grid/event-schema-iot-hub has samples of them.",
		}
		a.On.EventTypes = []string{event.DeviceCreated}
		a.When = `!device.startsWith("thermo-")`
		a.Message = `"Device " + device + " was created, which has no name of this fleet"`
		of := func(n int, device string) jsontext.Value {
			return value(fmt.Sprintf(`{"id": "00000000-0000-4000-8000-%012d", "topic": %q, "subject": "devices/%s", "eventType": %q, "eventTime": "2026-02-01T08:00:00Z", "dataVersion": "1", "metadataVersion": "1",
				"data": {"hubName": "contoso-hub", "deviceId": %q}}`, n, strings.ToUpper(hub), device, event.DeviceCreated, device))
		}
		a.Cases[0].Event, a.Cases[1].Event = of(1, "camera-thermo-1"), of(2, "thermo-7")
		a.Cases[0].Says = &Says{Severity: a.Severity, Entity: "camera-thermo-1", Message: "Device camera-thermo-1 was created, which has no name of this fleet"}
	default:
		return Alert{}, fmt.Errorf("the source %q: want %s", source, or(words(Sources)))
	}
	a.Comment = comments(source)
	a.Cases[0].Comment = Comment{"says holds what the alert says, so that nobody changes that by mistake."}
	return a, nil
}

// examples are the members of an alert that New leaves out, by source: what the alert is
// about without entity, and how each member looks.
var examples = map[Source]struct{ about, entity, properties, count, cases string }{
	Resources: {
		"the hub", `"entity": "actor", "entityType": "Caller"`, `"properties": {"From": "address"}`,
		`"count": {"per": "actor", "window": "PT15M", "max": 10}`, "events, a list, in place of event",
	},
	Connections: {
		"the device", `"entity": "address", "entityType": "Address"`, `"properties": {"Protocol": "record.properties.protocol"}`, "", "",
	},
	Logs: {
		"the device", `"entity": "address", "entityType": "Address"`, `"properties": {"From": "address"}`,
		`"count": {"per": "device", "window": "PT15M", "max": 10}`, "as many records",
	},
	Hub: {
		"the device", `"entity": "hub", "entityType": "IoTHub"`, `"properties": {"At": "string(time)"}`,
		`"count": {"per": "device", "window": "PT15M", "max": 10}`, "events, a list, in place of event",
	},
}

// comments returns what a person who opens the file of New has to know of the members that it
// has, and of those that it could have.
func comments(source Source) Comment {
	example := examples[source]
	names := slices.DeleteFunc(slices.Clone(variableNames), func(name string) bool { return slices.Contains(lacking[source], name) })
	list := Comment{
		"A draft: it is off. Replace the texts that begin with " + replace + ", and write on, when, message and the cases. Nothing reads the comments: take them out as you like.",
		"docs/custom-alerts.md has every member and every variable. An editor that reads $schema explains and completes the members.",
		"when says whether an event is worth an alert; without it each event is. message is the sentence that people read; without it there is a plain one.",
		"Both are expressions in CEL, https://cel.dev. They can name " + or(names) + ".",
		"Azure does not keep to one letter case in names of hubs and operations: hub.lowerAscii() == \"contoso-hub\".",
		"Further particulars of the alert: " + example.properties,
		"What the alert is about, if that is not " + example.about + ": " + example.entity,
	}
	if example.count == "" {
		list = append(list, "There is no count of this source, since one event is about all refusals in ten minutes: count those of the source logs, category Connections.")
	} else {
		list = append(list, "An alert of too many events in a window, or with min of too few: "+example.count+". There is no entity then, and a case has "+example.cases+".")
	}
	if source != Resources {
		list = append(list, `An alert of some devices alone: "group": {"devices": ["thermo-*"]}`)
	}
	return list
}

// Draft reports whether the alert is off and has texts that say what is to stand in their
// place.
func (a Alert) Draft() bool { return !a.Enabled && len(a.replaced()) > 0 }

// replaced returns where the texts stand that say what is to stand in their place.
func (a Alert) replaced() (paths [][]any) {
	look := func(text string, path ...any) {
		if strings.HasPrefix(strings.TrimSpace(text), replace) {
			paths = append(paths, path)
		}
	}
	look(a.Title, "title")
	look(a.Description, "description")
	for i, step := range a.Remediation {
		look(step, "remediation", i)
	}
	look(a.Owner, "owner")
	look(a.Limits, "limits")
	for i, c := range a.Cases {
		look(c.About, "cases", i, "about")
	}
	return paths
}
