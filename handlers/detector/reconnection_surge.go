package detector

import (
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/verdict"
)

// ReconnectionSurge reports that very many devices of a hub began a session within ten
// minutes that renews none: they had been away.
var ReconnectionSurge = Detector{
	Name:      "ReconnectionSurge",
	AlertType: "Hubwatch_ReconnectionSurge",
	Severity:  alert.Low,
	Title:     "Many devices connected at once",
	Description: "Very many devices of a hub connected within ten minutes, without the end of a session that an expired token explains. " +
		"They come back after an outage of a network or of the hub, or somebody starts very many clients. A hub throttles " +
		"connections, so a surge can keep other devices out.",
	Remediation: []string{
		"See whether the hub, a network or a gateway was away before.",
		"See whether so many devices are expected, for example after new ones were put into service.",
		"If devices of a kind always come at once, let their programs wait for a random time first.",
	},
	Commands: []remedy.Command{
		only(as(remedy.Investigate, queryDevices("List devices of the hub, whether they are connected, and how they authenticate themselves.")), alert.IoTHub),
		showEvidence,
		listAgain,
	},
	Limits: "The number of devices is the setting SurgeDevices. Microsoft names no number from which on connections are unusual, so a fleet that " +
		"connects in this way every day needs a higher one, or 0 for no such alerts. Connections are counted from successful records of the log, " +
		"of which some can be lost.",
	On: Trigger{EventTypes: []string{verdict.SurgeType}},
	Detect: func(e event.Event) ([]alert.Finding, error) {
		n, hub, _, err := verdict.ParseEvent(e)
		if err != nil {
			return nil, err
		}
		return []alert.Finding{{
			Hub:        alert.Hub{Name: hub.Name, ResourceID: hub.Resource(), SubscriptionID: hub.SubscriptionID},
			Entity:     alert.Entity{Type: alert.IoTHub, Name: hub.Name},
			Message:    fmt.Sprintf("%d devices connected to IoT hub %q in the ten minutes from %s, and none of them because its token had expired.", n.N, hub.Name, n.Bucket.Start().Format("2006-01-02 15:04 UTC")),
			Confidence: alert.Stated,
			Properties: map[string]string{"CountedDevices": fmt.Sprint(n.N)},
			Tally:      tally(n),
		}}, nil
	},
}
