package detector

import (
	"testing"

	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

func TestSource(t *testing.T) {
	for name, test := range map[string]struct {
		types []string
		want  Source
	}{
		"all operations":      {event.OperationTypes, ControlPlane},
		"all verdicts":        {verdict.EventTypes, Connections},
		"all events of a hub": {event.HubTypes, Hub},
		"log records":         {[]string{event.LogType("Routes"), event.LogType("Connections")}, Connections},
		"records, verdicts":   {[]string{event.LogType("Routes"), verdict.StormType}, Connections},
		"two topics":          {[]string{event.DeviceCreated, verdict.StormType}, ""},
		"two others":          {[]string{event.ResourceWriteSuccess, event.DeviceCreated}, ""},
		"one that is unknown": {[]string{event.DeviceCreated, "Microsoft.Devices.DeviceForgotten"}, ""},
		"unknown at first":    {[]string{event.LogType("Gossip"), event.DeviceCreated}, ""},
		"none":                {nil, ""},
	} {
		got, err := Trigger{EventTypes: test.types}.Source()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, error %v; want %q", name, got, err, test.want)
		}
	}
}
