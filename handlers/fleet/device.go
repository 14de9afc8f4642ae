package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// Device is what is known of one device.
type Device struct {
	Hub, ID string
	Since   time.Time
	Alerts  []alert.Alert // of the device and its modules, suppressed ones too, the newest first
	Similar string        // the id of a device with alerts that differs in letter case alone, if Alerts is empty
}

// FindDevice returns what is known of a device since a time. Letter case matters in its
// id, as it does in IoT Hub. One list of the hub is enough, because the store reads all
// alerts of a day to find those of one entity.
func FindDevice(ctx context.Context, reader alert.Reader, hub, id string, since time.Time) (Device, error) {
	d := Device{Hub: hub, ID: id, Since: since}
	for _, suppressed := range []bool{false, true} {
		for a, err := range reader.List(ctx, alert.Query{Hub: hub, Since: since, Suppressed: suppressed}) {
			if err != nil {
				return Device{}, err
			}
			name := a.Entity.Name
			switch a.Entity.Type {
			case alert.Device:
			case alert.Module:
				name, _, _ = strings.Cut(name, "/")
			default:
				continue
			}
			switch {
			case name == id:
				d.Alerts = append(d.Alerts, a)
			case strings.EqualFold(name, id):
				d.Similar = name
			}
		}
	}
	slices.SortStableFunc(d.Alerts, func(a, b alert.Alert) int { return b.End.Compare(a.End) })
	return d, nil
}

// Address returns from where the device was seen last, and when. It returns "" if no
// alert has an address.
func (d Device) Address() (string, time.Time) {
	for _, a := range d.Alerts {
		if address := cmp.Or(a.LastActorIPAddress, a.ActorIPAddress); address != "" {
			return address, a.End
		}
	}
	return "", time.Time{}
}

// DeviceDocument is a Device as programs read it.
type DeviceDocument struct {
	HubName            string         `json:"hubName"`
	DeviceID           string         `json:"deviceId"`
	LastActorIPAddress string         `json:"lastActorIpAddress,omitzero"`
	Alerts             []export.Alert `json:"alerts"`
}

// NewDeviceDocument returns d as programs read it.
func NewDeviceDocument(d Device) DeviceDocument {
	address, _ := d.Address()
	return DeviceDocument{d.Hub, d.ID, address, export.Each(d.Alerts, export.NewAlert)}
}
