package custom

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// New returns the beginning of an alert of a source: it is off, it has no mistakes, and its
// two cases pass. Its texts say what is to stand in their place. There is none for
// Connections, whose events a person does not write. Its error says what is wrong with the
// name or the source.
func New(name string, source Source) (Alert, error) {
	if err := CheckName(name); err != nil {
		return Alert{}, err
	}
	a := Alert{
		Name: name, Schema: Schema, AlertType: "Custom_" + name, Severity: alert.Low,
		Title:       "REPLACE: what happened, in a few words, without names",
		Description: "REPLACE: why it matters, in full sentences, for whoever gets the alert at night.",
		Remediation: []string{"REPLACE: what to do first.", "REPLACE: what to do if that was it."},
		Owner:       "REPLACE: who answers questions about this file, or take this line out",
		Limits:      "REPLACE: what the alert cannot see, or take this line out",
		On:          On{Source: source},
	}
	const hub = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"
	fires := Case{Name: "fires-replace-me", About: "REPLACE: what happens in this event, and why it is worth an alert.", Want: Fires}
	silent := Case{Name: "silent-replace-me", About: "REPLACE: what is different here, and why it is not worth an alert.", Want: Silent}
	value := func(s string) jsontext.Value { return jsontext.Value(s) }
	switch source {
	case Resources:
		a.On.EventTypes = []string{event.ResourceActionSuccess}
		a.On.Operations = []string{"Microsoft.Devices/IotHubs/listkeys/action"}
		a.When = `!actor.endsWith("@contoso.example")`
		a.Message = `actor + " read the keys of IoT hub " + hub`
		of := func(n int, actor string) jsontext.Value {
			return value(fmt.Sprintf(`{"id": "00000000-0000-4000-8000-%012d", "topic": "/subscriptions/00000000-0000-0000-0000-000000000001", "subject": %q,
				"eventType": %q, "eventTime": "2026-02-01T08:00:00Z", "dataVersion": "2", "metadataVersion": "1",
				"data": {"operationName": "Microsoft.Devices/IotHubs/listkeys/action", "resourceUri": %q, "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": %q}, "httpRequest": {"clientIpAddress": "192.0.2.10"}, "status": "Succeeded"}}`,
				n, hub, event.ResourceActionSuccess, hub, actor))
		}
		fires.Event, silent.Event = of(1, "mallory@fabrikam.example"), of(2, "alice@contoso.example")
	case Logs:
		a.On.Category = "DirectMethods"
		a.When = `record.?properties.?statusCode.orValue("") == "404"`
		a.Message = `"A method was called on device " + device + ", which does not exist"`
		of := func(status string) []jsontext.Value {
			properties, _ := json.Marshal(fmt.Sprintf(`{"deviceId": "thermo-7", "statusCode": %q}`, status)) // a string
			return []jsontext.Value{value(fmt.Sprintf(`{"time": "2026-02-01T08:00:00Z", "resourceId": %q, "operationName": "send", "category": "DirectMethods", "level": "Error", "properties": %s}`, strings.ToUpper(hub), properties))}
		}
		fires.Records, silent.Records = of("404"), of("504")
	case Hub:
		a.On.EventTypes = []string{event.DeviceCreated}
		a.When = `!device.startsWith("thermo-")`
		a.Message = `"Device " + device + " was created, which has no name of this fleet"`
		of := func(n int, device string) jsontext.Value {
			return value(fmt.Sprintf(`{"id": "00000000-0000-4000-8000-%012d", "topic": %q, "subject": "devices/%s", "eventType": %q, "eventTime": "2026-02-01T08:00:00Z", "dataVersion": "1", "metadataVersion": "1",
				"data": {"hubName": "contoso-hub", "deviceId": %q}}`, n, strings.ToUpper(hub), device, event.DeviceCreated, device))
		}
		fires.Event, silent.Event = of(1, "camera-1"), of(2, "thermo-7")
	default:
		return Alert{}, fmt.Errorf("the source %q: want %s; for %s, begin with a file of another source", source, or(words([]Source{Resources, Logs, Hub})), Connections)
	}
	a.Cases = []Case{fires, silent}
	return a, nil
}
