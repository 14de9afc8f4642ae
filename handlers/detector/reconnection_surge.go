package detector

import (
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/verdict"
)

// ReconnectionSurge reports that very many devices of a hub began a session within ten
// minutes that renews none, and more than twice as many as before: they had been away.
var ReconnectionSurge = Detector{
	Name:      "ReconnectionSurge",
	AlertType: "Hubwatch_ReconnectionSurge",
	Severity:  alert.Low,
	Title:     "Many devices connected at once",
	Description: "Very many devices of a hub connected within ten minutes, without the end of a session that an expired token explains, " +
		"and more than twice as many as usual. " +
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
	Limits: "The number of devices is the setting SurgeDevices. Devices whose SDK connects again before a token expires do so about each hour, so the " +
		"twenty minutes that end with these ten have to have more than twice as many as any twenty in the hour and a half before, but for the last " +
		"half hour. So a part of the devices of a hub whose return is less than that is not seen. Devices that connect at once once a day, such as those with " +
		"tokens of a day after an outage, are a surge each day: they need a higher number, or 0 for no such alerts. When the log of a hub " +
		"begins, there is nothing to compare with, so nothing is a surge in its first hour and a half. If the log of a hub was away for longer than that, " +
		"for example because its diagnostic setting was deleted, that is not told from an outage of its devices, and the first forty minutes of more " +
		"than 6,000 healthy devices of that kind can be a surge. Connections are counted from successful records of the log, of which some can be lost.",
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
			Tally:      tally(n, string(n.Cause)+alert.OfDevices),
		}}, nil
	},
}
