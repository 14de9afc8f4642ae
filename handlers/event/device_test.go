package event

import (
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/eventgrid/azsystemevents"
	"github.com/google/go-cmp/cmp"

	"github.com/go-json-experiment/json/jsontext"
)

// The samples of an IoT hub's events are those of
// https://learn.microsoft.com/azure/event-grid/event-schema-iot-hub, with other names, and
// one that the Azure SDK has of a deletion (azsystemevents v1.0.0, system_events_test.go).
const hubTopic = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB"

var hubSamples = map[string]string{
	"connected, event grid": `{"id":"00000000-0000-0000-0000-0000000000e1","topic":"` + hubTopic + `","subject":"devices/pump-01",
		"eventType":"Microsoft.Devices.DeviceConnected","eventTime":"2018-06-02T19:17:44.4383997Z",
		"data":{"deviceConnectionStateEventInfo":{"sequenceNumber":"000000000000000001D4132452F67CE200000002000000000000000000000001"},
			"hubName":"egtesthub1","deviceId":"pump-01","moduleId":"DeviceModuleID"},"dataVersion":"1","metadataVersion":"1"}`,
	"connected, cloudevents": `{"id":"00000000-0000-0000-0000-0000000000e1","source":"` + hubTopic + `","subject":"devices/pump-01",
		"type":"Microsoft.Devices.DeviceConnected","time":"2018-06-02T19:17:44.4383997Z","specversion":"1.0",
		"data":{"deviceConnectionStateEventInfo":{"sequenceNumber":"000000000000000001D4132452F67CE200000002000000000000000000000001"},
			"hubName":"egtesthub1","deviceId":"pump-01","moduleId":"DeviceModuleID"}}`,
	"disconnected": `{"id":"00000000-0000-0000-0000-0000000000e2","topic":"` + hubTopic + `","subject":"devices/pump-01",
		"eventType":"Microsoft.Devices.DeviceDisconnected","eventTime":"2018-07-03T23:20:52.646434+00:00",
		"data":{"deviceConnectionStateEventInfo":{"sequenceNumber":"000000000000000001D4132452F67CE200000002000000000000000000000002"},
			"hubName":"CONTOSO-HUB","deviceId":"pump-01","moduleId":""},"dataVersion":"","metadataVersion":"1"}`,
	"created": `{"id":"00000000-0000-0000-0000-0000000000e3","topic":"` + hubTopic + `","subject":"devices/pump-01",
		"eventType":"Microsoft.Devices.DeviceCreated","eventTime":"2018-01-02T19:17:44.4383997Z",
		"data":{"twin":{"deviceId":"pump-01","etag":"AAAAAAAAAAE=","deviceEtag":"null","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00",
			"connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00","cloudToDeviceMessageCount":0,"authenticationType":"sas",
			"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,
			"properties":{"desired":{"$metadata":{"$lastUpdated":"2018-01-02T19:17:44.4383997Z"},"$version":1},
				"reported":{"$metadata":{"$lastUpdated":"2018-01-02T19:17:44.4383997Z"},"$version":1}}},
			"hubName":"egtesthub1","deviceId":"pump-01"},"dataVersion":"1","metadataVersion":"1"}`,
	"deleted": `{"id":"00000000-0000-0000-0000-0000000000e4","topic":"` + hubTopic + `","subject":"devices/pump-01",
		"eventType":"Microsoft.Devices.DeviceDeleted","eventTime":"2018-07-03T23:21:33.2753956+00:00",
		"data":{"twin":{"deviceId":"pump-01","etag":"AAAAAAAAAAI=","deviceEtag":null,"version":3,"tags":{"testKey":"testValue"}},
			"hubName":"CONTOSO-HUB","deviceId":"pump-01"},"dataVersion":"","metadataVersion":"1"}`,
	"telemetry": `{"id":"00000000-0000-0000-0000-0000000000e5","topic":"` + hubTopic + `","subject":"devices/pump-01",
		"eventType":"Microsoft.Devices.DeviceTelemetry","eventTime":"2019-01-07T20:58:30.48Z",
		"data":{"body":{"Weather":{"Temperature":900},"Location":"USA"},"properties":{"Status":"Active"},
			"systemProperties":{"iothub-content-type":"application/json","iothub-content-encoding":"utf-8","iothub-connection-device-id":"d1",
				"iothub-connection-auth-method":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}",
				"iothub-connection-auth-generation-id":"123455432199234570","iothub-enqueuedtime":"2019-01-07T20:58:30.48Z",
				"iothub-message-source":"Telemetry"}},"dataVersion":"","metadataVersion":"1"}`,
	"telemetry in base64": `{"id":"00000000-0000-0000-0000-0000000000e6","topic":"` + hubTopic + `","subject":"devices/pump-01/modules/edge",
		"eventType":"Microsoft.Devices.DeviceTelemetry","eventTime":"2019-01-07T20:58:30.48Z",
		"data":{"body":"MjEuNQ==","properties":null},"dataVersion":"","metadataVersion":"1"}`,
}

func TestDevice(t *testing.T) {
	hub := ResourceID{SubscriptionID: "00000000-0000-0000-0000-000000000001", ResourceGroup: "RG-IOT", Type: "MICROSOFT.DEVICES/IOTHUBS", Name: "CONTOSO-HUB"}
	sequence := func(last string) string {
		return "000000000000000001D4132452F67CE20000000200000000000000000000000" + last
	}
	member := func(sample, name string) jsontext.Value {
		e, err := Decode(jsontext.Value(hubSamples[sample]))
		if err != nil {
			t.Fatalf("%s: %v", sample, err)
		}
		return e.Scanned().Get(name).Raw()
	}
	for name, want := range map[string]Device{
		"connected, event grid":  {Hub: hub, DeviceID: "pump-01", ModuleID: "DeviceModuleID", Sequence: sequence("1")},
		"connected, cloudevents": {Hub: hub, DeviceID: "pump-01", ModuleID: "DeviceModuleID", Sequence: sequence("1")},
		"disconnected":           {Hub: hub, DeviceID: "pump-01", Sequence: sequence("2")},
		"created":                {Hub: hub, DeviceID: "pump-01", Twin: member("created", "twin")},
		"deleted":                {Hub: hub, DeviceID: "pump-01", Twin: member("deleted", "twin")},
		"telemetry": {
			Hub: hub, DeviceID: "pump-01", Body: member("telemetry", "body"),
			Properties: member("telemetry", "properties"), SystemProperties: member("telemetry", "systemProperties"),
		},
		"telemetry in base64": {Hub: hub, DeviceID: "pump-01", ModuleID: "edge", Body: jsontext.Value(`"MjEuNQ=="`)},
	} {
		e, err := Decode(jsontext.Value(hubSamples[name]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := e.Device()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
	if len(hubSamples) != 7 {
		t.Errorf("%d samples, and 7 are looked at", len(hubSamples))
	}
}

func TestDeviceIDsAreKept(t *testing.T) {
	const odd = `a-:.+%_#*?!(),=@;$'`
	raw := strings.ReplaceAll(hubSamples["connected, event grid"], "pump-01", odd)
	e, err := Decode(jsontext.Value(raw))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := e.Device(); err != nil || d.DeviceID != odd {
		t.Errorf("device %q, error %v", d.DeviceID, err)
	}
}

func TestDeviceErrors(t *testing.T) {
	sample := hubSamples["connected, event grid"]
	for want, raw := range map[string]string{
		`event: type "Microsoft.Devices.DeviceForgotten": is not one of an IoT hub`: strings.Replace(sample, "DeviceConnected", "DeviceForgotten", 1),
		`event: topic: resource id "": does not begin with /`:                       strings.Replace(sample, hubTopic, "", 1),
		`Microsoft.Web/sites is not an IoT hub`:                                     strings.Replace(sample, "MICROSOFT.DEVICES/IOTHUBS", "Microsoft.Web/sites", 1),
		`event: data: json: cannot unmarshal`:                                       strings.Replace(sample, `"pump-01","moduleId"`, `7,"moduleId"`, 1),
		`event: subject "device": names no device, and neither does data.deviceId`:  strings.NewReplacer("devices/pump-01", "device", `"pump-01"`, `""`).Replace(sample),
		`event: subject: names another device than data.deviceId`:                   strings.Replace(sample, "devices/pump-01", "devices/pump-02", 1),
	} {
		e, err := Decode(jsontext.Value(raw))
		if err != nil {
			t.Errorf("%s: the event itself: %v", want, err)
			continue
		}
		if d, err := e.Device(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want the error %s, have %v and %+v", want, err, d)
		}
	}
}

// TestHubTypes compares the event types with those of the Azure SDK.
func TestHubTypes(t *testing.T) {
	want := []string{
		azsystemevents.TypeIOTHubDeviceCreated, azsystemevents.TypeIOTHubDeviceDeleted, azsystemevents.TypeIOTHubDeviceConnected,
		azsystemevents.TypeIOTHubDeviceDisconnected, azsystemevents.TypeIOTHubDeviceTelemetry,
	}
	if !slices.Equal(want, HubTypes) {
		t.Errorf("have %q, and the Azure SDK has %q", HubTypes, want)
	}
}
