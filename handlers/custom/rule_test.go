package custom

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

const hubID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"

// listed is the event of somebody who reads the keys of a hub.
const listed = `{
  "id": "00000000-0000-4000-8000-000000000001", "eventTime": "2026-02-01T08:00:26Z", "topic": "/subscriptions/00000000-0000-0000-0000-000000000001",
  "eventType": "Microsoft.Resources.ResourceActionSuccess", "subject": "` + hubID + `",
  "data": {"operationName": "Microsoft.Devices/IotHubs/listkeys/action", "resourceUri": "` + hubID + `", "correlationId": "c",
    "claims": {"name": "Alice", "unique_name": "alice@contoso.com", "scp": "user"}, "httpRequest": {"clientIpAddress": "203.0.113.7"}}
}`

// alertOf returns a custom alert of the parts that a test is about.
func alertOf(t testing.TB, members string) Alert {
	t.Helper()
	text := `{"alertType": "Contoso_Test", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."],
	"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}], ` + members + "}"
	alerts, err := Load(repository(map[string]string{"TestAlert": text}))
	if err != nil {
		t.Fatal(err)
	}
	return alerts[0]
}

// logs returns an event with records of a category.
func logs(t testing.TB, category string, records ...string) jsontext.Value {
	t.Helper()
	var raw []jsontext.Value
	for _, r := range records {
		raw = append(raw, jsontext.Value(r))
	}
	events, err := Alert{On: On{Source: Logs, Category: category}}.wrap(raw)
	if err != nil {
		t.Fatal(err)
	}
	// The relay makes several events of many records. Here all are in the first.
	const begins = `"data":{"records":[`
	all, _, _ := bytes.Cut(events[0], []byte(begins))
	all = append(slices.Clone(all), begins...)
	for i, e := range events {
		if i > 0 {
			all = append(all, ',')
		}
		_, rest, found := bytes.Cut(e, []byte(begins))
		if !found {
			t.Fatalf("the event %s has no records", e)
		}
		all = append(all, bytes.TrimSuffix(rest, []byte("]}}"))...)
	}
	return append(all, "]}}"...)
}

// record returns a record of a log, of a second of a minute.
func record(category, operation, properties string, second int) string {
	return fmt.Sprintf(`{"time": "2026-02-01T10:00:%02dZ", "resourceId": %q, "operationName": %q, "category": %q, "level": "Error", "resultType": "404001", "properties": %q}`,
		second, strings.ToUpper(hubID), operation, category, properties)
}

const onKeys = `"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceActionSuccess"], "operations": ["Microsoft.Devices/IotHubs/listkeys/action"]}`

func TestOperation(t *testing.T) {
	a := alertOf(t, onKeys+`, "when": "actor.endsWith('@contoso.com') && outcome == 'succeeded' && hub == 'contoso-hub' && time > timestamp('2026-01-01T00:00:00Z')",
	  "message": "actor + ' took the keys of ' + hub", "properties": {"Scope": "data.claims.scp", "Nothing": "''"}`)
	d := a.Detector()
	v := d.Judge(jsontext.Value(listed))
	if v.Err != nil || len(v.Occurrences) != 1 {
		t.Fatalf("%+v", v)
	}
	o := v.Occurrences[0]
	want := alert.Finding{
		Hub:    alert.Hub{Name: "contoso-hub", ResourceID: hubID, SubscriptionID: "00000000-0000-0000-0000-000000000001"},
		Entity: alert.Entity{Type: alert.IoTHub, Name: "contoso-hub"}, Actor: "alice@contoso.com", ActorIPAddress: "203.0.113.7", CorrelationID: "c",
		Message: "alice@contoso.com took the keys of contoso-hub", Confidence: alert.Stated,
		Properties: map[string]string{"OperationName": "Microsoft.Devices/IotHubs/listkeys/action", "ActorType": "User", "Scope": "user"},
	}
	if diff := cmp.Diff(want, o.Finding); diff != "" {
		t.Error(diff)
	}
	if o.Type != "Contoso_Test" || o.Detector != "TestAlert" || o.Severity != alert.Low || o.DisplayName != "T" {
		t.Errorf("%+v", o)
	}
	for _, silent := range []string{
		strings.ReplaceAll(listed, "alice@contoso.com", "bob@example.com"),
		strings.Replace(listed, "listkeys", "regeneratekey", 1), // which the trigger does not match
	} {
		if v := d.Judge(jsontext.Value(silent)); v.Err != nil || len(v.Occurrences) != 0 {
			t.Errorf("%+v", v)
		}
	}
}

// TestPlainMessages checks what an alert says whose file says nothing.
func TestPlainMessages(t *testing.T) {
	for _, c := range []struct {
		members string
		event   jsontext.Value
		want    string
		about   alert.Entity
	}{
		{onKeys, jsontext.Value(listed), `The operation Microsoft.Devices/IotHubs/listkeys/action on IoT hub "contoso-hub" succeeded by alice@contoso.com from 203.0.113.7.`,
			alert.Entity{Type: alert.IoTHub, Name: "contoso-hub"}},
		{`"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceActionSuccess"]}`, jsontext.Value(strings.ReplaceAll(listed, "IotHubs/contoso-hub", "provisioningServices/contoso-dps")),
			`The operation Microsoft.Devices/IotHubs/listkeys/action on the resource of type Microsoft.Devices/provisioningServices "contoso-dps" succeeded by alice@contoso.com from 203.0.113.7.`,
			alert.Entity{Type: alert.Resource, Name: "provisioningServices/contoso-dps"}},
		{`"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceActionSuccess"]}`, jsontext.Value(strings.ReplaceAll(listed, "/providers/Microsoft.Devices/IotHubs/contoso-hub", "")),
			`The operation Microsoft.Devices/IotHubs/listkeys/action on resource group "rg-iot" succeeded by alice@contoso.com from 203.0.113.7.`,
			alert.Entity{Type: alert.Resource, Name: "rg-iot"}},
		{`"on": {"source": "logs", "category": "TwinQueries"}`, logs(t, "TwinQueries", record("TwinQueries", "query", `{"deviceId": "thermo-7"}`, 1)),
			`The log TwinQueries of IoT hub "CONTOSO-HUB" says query of device "thermo-7": failed.`, alert.Entity{Type: alert.Device, Name: "thermo-7"}},
		{`"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}`, hubEvent("Microsoft.Devices.DeviceCreated", "thermo-7"),
			`IoT hub "CONTOSO-HUB" says DeviceCreated of device "thermo-7".`, alert.Entity{Type: alert.Device, Name: "thermo-7"}},
	} {
		v := alertOf(t, c.members).Detector().Judge(c.event)
		if v.Err != nil || len(v.Occurrences) != 1 || v.Occurrences[0].Message != c.want || v.Occurrences[0].Entity != c.about {
			t.Errorf("%s: %v, %+v, want %s", c.members, v.Err, v.Occurrences, c.want)
		}
	}
}

func hubEvent(kind, device string) jsontext.Value {
	return jsontext.Value(fmt.Sprintf(`{"id": "1", "topic": %q, "subject": "devices/%s", "eventType": %q, "eventTime": "2026-02-01T08:00:00Z",
	"data": {"hubName": "contoso-hub", "deviceId": %q, "body": {"temperature": 900}}}`, strings.ToUpper(hubID), device, kind, device))
}

// TestRecords checks that records are judged one by one: each finding has the record as
// its event, and one that cannot be judged hides no other.
func TestRecords(t *testing.T) {
	a := alertOf(t, `"on": {"source": "logs", "category": "Connections", "operations": ["deviceConnect"]},
	  "when": "record.properties.statusCode == 404 && record.properties.authType.scope == 'device'",
	  "properties": {"Code": "string(record.properties.statusCode)", "Address": "address"}`)
	properties := `{"deviceId": "%s", "maskedIpAddress": "203.0.113.XXX", "authType": "{\"scope\": \"device\"}", "statusCode": 404}`
	v := a.Detector().Judge(logs(t, "Connections",
		record("Connections", "deviceConnect", fmt.Sprintf(properties, "a"), 1),
		record("Connections", "deviceConnect", `{"deviceId": "b"}`, 2), // has no statusCode
		record("Connections", "deviceDisconnect", fmt.Sprintf(properties, "c"), 3),
		record("Connections", "DEVICECONNECT", fmt.Sprintf(properties, "d"), 4),
		record("Connections", "deviceConnect", strings.Replace(fmt.Sprintf(properties, "e"), "404", "405", 1), 5),
	))
	if v.Err == nil || !strings.Contains(v.Err.Error(), "when: no such key: statusCode") {
		t.Errorf("the record without a statusCode: %v", v.Err)
	}
	var found []string
	for _, o := range v.Occurrences {
		if !strings.EqualFold(o.Event.Source, hubID) || len(o.Event.ID) != 64 || !strings.Contains(string(o.Event.Raw), "statusCode") || o.Finding.Event != nil {
			t.Errorf("the occurrence's event: %+v", o.Event)
		}
		if o.ID != alert.ID(o.Type, o.Hub, o.Entity, "", o.Event.Time) {
			t.Errorf("the alert's id is not that of the record's day")
		}
		found = append(found, fmt.Sprint(o.Entity.Name, o.Event.Time.Second(), o.Properties["Code"], o.Properties["Address"]))
	}
	if got := strings.Join(found, " "); got != "a1404203.0.113.XXX d4404203.0.113.XXX" {
		t.Errorf("found %s", got)
	}
}

// TestEachRecordHasItsDay checks the id of an alert of records of two days in one event.
func TestEachRecordHasItsDay(t *testing.T) {
	a := alertOf(t, `"on": {"source": "logs", "category": "TwinQueries"}`)
	of := record("TwinQueries", "query", "{}", 1)
	v := a.Detector().Judge(logs(t, "TwinQueries", of, strings.Replace(of, "02-01", "02-02", 1)))
	if len(v.Occurrences) != 2 || v.Occurrences[0].ID == v.Occurrences[1].ID || v.Occurrences[0].Event.ID == v.Occurrences[1].Event.ID {
		t.Errorf("%+v", v.Occurrences)
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		per   string
		want  alert.Entity
		actor string
	}{
		{`"hub"`, alert.Entity{Type: alert.IoTHub, Name: "contoso-hub"}, ""},
		{`"actor"`, alert.Entity{Type: alert.Caller, Name: "alice@contoso.com"}, "alice@contoso.com"},
		{`"address"`, alert.Entity{Type: alert.Address, Name: "203.0.113.7"}, ""},
	} {
		a := alertOf(t, onKeys+`, "count": {"per": `+c.per+`, "window": "PT05M", "max": 1}`)
		d := a.Detector()
		v := d.Judge(jsontext.Value(listed))
		if v.Err != nil || len(v.Occurrences) != 1 || v.Occurrences[0].Entity != c.want || v.Occurrences[0].Actor != c.actor {
			t.Errorf("per %s: %v, %+v", c.per, v.Err, v.Occurrences)
		}
		if d.Count == nil || d.Count.Width != 5*time.Minute || *d.Count.Max != 1 || d.Count.Name != "TestAlert" {
			t.Errorf("per %s: the rule %+v", c.per, d.Count)
		}
	}
	a := alertOf(t, onKeys+`, "entityType": "Certificate", "count": {"per": "actor + '|' + address", "window": "PT05M", "max": 1}`)
	if v := a.Detector().Judge(jsontext.Value(listed)); len(v.Occurrences) != 1 || v.Occurrences[0].Entity != (alert.Entity{Type: alert.Certificate, Name: "alice@contoso.com|203.0.113.7"}) {
		t.Errorf("%+v", v)
	}
}

func TestGroup(t *testing.T) {
	for pattern, devices := range map[string]string{
		`{"devices": ["thermo-*"]}`:                      "thermo-7 thermo-",
		`{"devices": ["thermo-*"], "not": true}`:         "lamp Thermo-7",
		`{"devices": ["lamp"]}`:                          "lamp",
		`{"devices": ["*mo-*", "*p"]}`:                   "thermo-7 thermo- Thermo-7 lamp",
		`{"devices": ["thermo-*7*"]}`:                    "thermo-7",
		`{"devices": ["t*t*o*"]}`:                        "",
		`{"devices": ["thermo-7", "LAMP"], "not": true}`: "thermo- lamp Thermo-7",
	} {
		d := alertOf(t, `"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceTelemetry"]}, "when": "data.body.temperature > 100", "group": `+pattern).Detector()
		want := map[string]bool{}
		for _, device := range strings.Fields(devices) {
			want[device] = true
		}
		got := map[string]bool{}
		for _, device := range []string{"thermo-7", "thermo-", "lamp", "Thermo-7"} {
			if v := d.Judge(hubEvent("Microsoft.Devices.DeviceTelemetry", device)); v.Err != nil {
				t.Fatal(v.Err)
			} else if len(v.Occurrences) > 0 {
				got[device] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
}

// TestFailuresBesideAFinding checks that what cannot be said of an alert does not hide it.
func TestFailuresBesideAFinding(t *testing.T) {
	a := alertOf(t, onKeys+`, "entity": "data.missing", "entityType": "Device", "message": "data.nothing", "properties": {"A": "data.more", "B": "string(1 / (size(hub) - 11))", "C": "data.claims"}`)
	v := a.Detector().Judge(jsontext.Value(listed))
	if len(v.Occurrences) != 1 || v.Occurrences[0].Entity.Name != "contoso-hub" || !strings.HasPrefix(v.Occurrences[0].Message, "The operation") {
		t.Errorf("%+v", v.Occurrences)
	}
	for _, want := range []string{"entity: no such key: missing", "message: no such key: nothing", "properties.A: no such key: more", "properties.B: division by zero", "properties.C: have a value of type map"} {
		if v.Err == nil || !strings.Contains(v.Err.Error(), want) {
			t.Errorf("have the error %v, want %q in it", v.Err, want)
		}
	}
}

// TestTextsAreRedacted checks that an expression puts no credential into an alert, and
// nothing that is very long.
func TestTextsAreRedacted(t *testing.T) {
	const key = "SharedAccessKey=cm90YXRlZC1rZXktZm9yLXRoaXMtdGVzdC0wMTIzNDU2Nzg5MDE="
	a := alertOf(t, onKeys+`, "message": "'connected with HostName=contoso-hub.azure-devices.net;DeviceId=a;`+key+`'", "properties": {"Text": "'HostName=h;`+key+`'", "Long": "data.long"}`)
	v := a.Detector().Judge(jsontext.Value(strings.Replace(listed, `"correlationId"`, `"long": "`+strings.Repeat("é", 5000)+`", "correlationId"`, 1)))
	if len(v.Occurrences) != 1 || strings.Contains(fmt.Sprint(v.Occurrences[0].Message, v.Occurrences[0].Properties), "cm90YXRl") {
		t.Errorf("%v, %+v", v.Err, v.Occurrences)
	}
	if n := len(v.Occurrences[0].Properties["Long"]); n > mostWritten+5 {
		t.Errorf("a property of %d bytes", n)
	}
}

// TestConnections runs an alert on the events of the cases of built-in detectors.
func TestConnections(t *testing.T) {
	a := alertOf(t, `"on": {"source": "connections", "eventTypes": ["hubwatch.iothub.connection.token-expired"]}, "when": "device.startsWith('d') || true"`)
	d := a.Detector()
	if !d.On.Unprivileged() {
		t.Error("whoever reaches the hub can cause these events")
	}
	for name, want := range map[string]int{"DeviceTokenExpired": 1, "DeviceTokenInvalid": 0} {
		checked := 0
		for _, raw := range firing(t, name) {
			e, err := event.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == verdict.ForeignType || e.Type == verdict.MissingType {
				continue
			}
			v := d.Judge(raw)
			if v.Err != nil || len(v.Occurrences) != want {
				t.Errorf("%s: %v, %+v", name, v.Err, v.Occurrences)
				continue
			}
			for _, builtIn := range detector.All {
				if want == 0 || builtIn.Name != name {
					continue
				}
				b, c := builtIn.Judge(raw).Occurrences[0], v.Occurrences[0]
				b.Tally.What, b.Tally.From = "", time.Time{} // one of several devices is not in alert.Course
				if cmp.Diff(b.Tally, c.Tally)+cmp.Diff(b.Entity, c.Entity) != "" || !b.Until.Equal(c.Until) {
					t.Errorf("%s on %s: counted as %+v of %+v until %v", name, e.Type, c.Tally, c.Entity, c.Until)
				}
			}
			checked++
		}
		if checked == 0 {
			t.Errorf("%s has no events", name)
		}
	}
}

// TestLackingVariablesAreEmpty runs alerts that Load refuses, to see that what a source is said
// to lack is empty in its events.
func TestLackingVariablesAreEmpty(t *testing.T) {
	events := map[Source]jsontext.Value{
		Resources:   jsontext.Value(listed),
		Connections: firing(t, "DeviceTokenExpired")[0],
		Logs:        logs(t, "TwinQueries", record("TwinQueries", "query", `{"deviceId": "thermo-7", "maskedIpAddress": "203.0.113.XXX"}`, 1)),
		Hub:         hubEvent("Microsoft.Devices.DeviceCreated", "thermo-7"),
	}
	on := map[Source]On{
		Resources: {EventTypes: []string{event.ResourceActionSuccess}}, Connections: {},
		Logs: {Category: "TwinQueries"}, Hub: {EventTypes: []string{event.DeviceCreated}},
	}
	for source, names := range lacking {
		for _, name := range names {
			a := Alert{Name: "TestAlert", AlertType: "T", Severity: "Low", Title: "T", On: on[source], Message: "size(" + name + ") == 0 ? 'empty' : 'not empty'"}
			a.On.Source = source
			v := a.Detector().Judge(events[source])
			if len(v.Occurrences) != 1 || v.Err != nil || v.Occurrences[0].Message != "empty" {
				t.Errorf("%s of %s: %v, %+v", name, source, v.Err, v.Occurrences)
			}
		}
	}
}

// firing returns the events of the cases that a built-in detector fires on.
func firing(t *testing.T, name string) (events []jsontext.Value) {
	t.Helper()
	list, err := cases.Read(os.DirFS("../detector/testdata"), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Want.Outcome == cases.Alert && c.Want.Error == "" {
			events = append(events, c.Event)
		}
	}
	return events
}
