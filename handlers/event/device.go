package event

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// Device is the payload of an event that an IoT hub itself publishes, of a type of
// HubTypes (https://learn.microsoft.com/azure/event-grid/event-schema-iot-hub).
type Device struct {
	Hub      ResourceID // from the topic of the event, as spelled, which is in upper case
	DeviceID string     // never empty
	ModuleID string     // "" for a device
	// Sequence orders the connections of a device: of two numbers the later one is greater
	// as a string. It is "" except for DeviceConnected and DeviceDisconnected.
	// A hub says once a minute how a device is, and not each time that it comes and goes
	// (https://learn.microsoft.com/azure/iot-hub/iot-hub-event-grid#limitations-for-device-connection-state-events).
	Sequence string
	// Twin is the twin of a device that was created or deleted; nil for all other types, and
	// if the event has none. Microsoft says of the twin of a created device that its
	// authenticationType is a default, and not to rely on it
	// (https://learn.microsoft.com/azure/iot-hub/iot-hub-event-grid#device-created-schema).
	Twin jsontext.Value
	// Body, Properties and SystemProperties are those of the message of DeviceTelemetry; nil
	// for all other types. Body is a string in base64, unless the message says that it is
	// JSON in UTF-8.
	Body, Properties, SystemProperties jsontext.Value
}

// Device reads the payload of an event of a type of HubTypes. Its error says what is
// missing or wrong. An event has the name of the hub in data.hubName too, which is not
// compared: Microsoft's own samples have another one there.
func (e Event) Device() (Device, error) {
	i := slices.IndexFunc(HubTypes, func(known string) bool { return strings.EqualFold(known, e.Type) })
	if i < 0 {
		return Device{}, fmt.Errorf("event: type %q: is not one of an IoT hub", Shorten(e.Type))
	}
	hub, err := ParseResourceID(e.Source)
	if err == nil && !hub.OnHub() {
		err = fmt.Errorf("resource id %q: %s is not an IoT hub", Shorten(e.Source), Shorten(hub.Type))
	}
	if err != nil {
		return Device{}, fmt.Errorf("event: topic: %w", err)
	}
	var v struct {
		DeviceID   string `json:"deviceId"`
		ModuleID   string `json:"moduleId"`
		Connection struct {
			Sequence string `json:"sequenceNumber"`
		} `json:"deviceConnectionStateEventInfo"`
		Twin             scan.Span `json:"twin"`
		Body             scan.Span `json:"body"`
		Properties       scan.Span `json:"properties"`
		SystemProperties scan.Span `json:"systemProperties"`
	}
	if err := json.Unmarshal(e.Data, &v, Lenient); err != nil {
		return Device{}, fmt.Errorf("event: data: %w", JSONError(err))
	}
	device, module := subjectIDs(e.Subject)
	d := Device{Hub: hub, DeviceID: cmp.Or(v.DeviceID, device), ModuleID: v.ModuleID}
	switch {
	case d.DeviceID == "":
		return Device{}, fmt.Errorf("event: subject %q: names no device, and neither does data.deviceId", Shorten(e.Subject))
	case device != "" && device != d.DeviceID:
		return Device{}, errors.New("event: subject: names another device than data.deviceId")
	}
	if d.ModuleID == "" {
		d.ModuleID = module
	}
	switch HubTypes[i] {
	case DeviceConnected, DeviceDisconnected:
		d.Sequence = v.Connection.Sequence
	case DeviceCreated, DeviceDeleted:
		d.Twin = present(v.Twin.In(e.Data))
	case DeviceTelemetry:
		d.Body, d.Properties, d.SystemProperties = present(v.Body.In(e.Data)), present(v.Properties.In(e.Data)), present(v.SystemProperties.In(e.Data))
	}
	return d, nil
}

// present returns raw, or nil if it is null.
func present(raw jsontext.Value) jsontext.Value {
	if raw.Kind() == 'n' {
		return nil
	}
	return raw
}

// subjectIDs returns the ids in the subject of an event of a hub, devices/<device id> with
// /modules/<module id> behind it for a module. No id of a device has a slash
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry#device-identity-properties).
func subjectIDs(subject string) (device, module string) {
	const prefix = "devices/"
	if len(subject) < len(prefix) || !strings.EqualFold(subject[:len(prefix)], prefix) {
		return "", ""
	}
	device, module, _ = strings.Cut(subject[len(prefix):], "/modules/")
	return device, module
}
