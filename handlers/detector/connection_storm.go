package detector

import (
	"fmt"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/verdict"
)

// ConnectionStorm reports that very many devices of a hub failed for the same cause
// within ten minutes. The devices then have no alerts of their own.
var ConnectionStorm = Detector{
	Name:      "ConnectionStorm",
	AlertType: "Hubwatch_ConnectionStorm",
	Severity:  alert.Medium,
	Title:     "Many devices failed to connect",
	Description: "Very many devices of a hub were refused within ten minutes, or lost their sessions, for the same cause. So many devices " +
		"seldom have one wrong credential each. Perhaps an update of their software, an expired or replaced authority, a " +
		"changed policy or a wrong clock reaches all of them. Or somebody tries many identities.",
	Remediation: []string{
		"See what the devices have in common: the cause, their software, their authority, their network. The evidence lists the devices.",
		"See what changed on the hub before the first of them failed: certificates, keys, policies.",
		"If the addresses are not those of the fleet, somebody tries identities: restrict the addresses from which the hub takes connections.",
		"When most devices are back, look at those that are not. From then on each has an alert of its own again.",
	},
	Commands: []remedy.Command{
		showEvidence,
		as(remedy.Investigate, listCertificates),
		only(as(remedy.Investigate, queryDevices("List devices of the hub, whether they are connected, and how they authenticate themselves.")), alert.IoTHub),
		listSimilar,
		listAgain,
	},
	Limits: "The number of devices from which on a storm is one alert is the setting StormDevices. Causes are counted apart, so a single device " +
		"whose session was taken up from elsewhere keeps its own alert while others fail for another cause. A device that fails for the same cause " +
		"during a storm is in the evidence of the storm alone, whoever uses its name. An event has room for some 5,000 names of 36 characters. If there are " +
		"more devices, the evidence has a part of the names; ListedDevices says how many, and CountedDevices counts all.",
	On:     Trigger{EventTypes: []string{verdict.StormType}},
	Detect: detectStorm,
}

// storms say what happened to the devices of a storm, by its cause.
var storms = map[verdict.Cause]string{
	verdict.Cause(connection.Unclassified):       "were refused for a cause that hubwatch does not know",
	verdict.Cause(connection.TokenExpired):       "were refused with an expired SAS token",
	verdict.Cause(connection.TokenInvalid):       "were refused with an invalid SAS token",
	verdict.Cause(connection.CertificateExpired): "failed with an expired X.509 certificate",
	verdict.Cause(connection.ThumbprintMismatch): "were refused with an X.509 certificate that the hub does not expect",
	verdict.Foreign: "had an expired SAS token, and their sessions were taken up from another network",
	verdict.Missing: "had an expired SAS token, and did not connect again in time",
}

func detectStorm(e event.Event) ([]alert.Finding, error) {
	n, hub, records, err := verdict.ParseEvent(e)
	if err != nil {
		return nil, err
	}
	did, ok := storms[n.Cause]
	if !ok {
		return nil, fmt.Errorf("data: cause: %q is not known", event.Shorten(string(n.Cause)))
	}
	c := telling(records)
	properties := map[string]string{
		"Cause":          string(n.Cause),
		"Rule":           c.Rule,
		"FirstDevices":   strings.Join(n.Devices[:min(len(n.Devices), firstDevices)], ", "),
		"ListedDevices":  fmt.Sprint(len(n.Devices)),
		"CountedDevices": fmt.Sprint(n.N),
	}
	if sentence := verdict.Sentence(c.Record); sentence != "" {
		did = fmt.Sprintf("were refused with a sentence that hubwatch does not know, for example %q", sentence)
		properties["UnknownSentence"] = sentence
	}
	return []alert.Finding{{
		Hub:        alert.Hub{Name: hub.Name, ResourceID: hub.Resource(), SubscriptionID: hub.SubscriptionID},
		Entity:     alert.Entity{Type: alert.IoTHub, Name: hub.Name},
		Message:    fmt.Sprintf("%d devices of IoT hub %q %s, in the ten minutes from %s.", n.N, hub.Name, did, n.Bucket.Start().Format("2006-01-02 15:04 UTC")),
		Confidence: confidence(c.Classification),
		Properties: properties,
		Tally:      tally(n, string(n.Cause)+alert.OfDevices),
		Until:      until(records).Time,
		Devices:    n.Devices,
	}}, nil
}

// firstDevices is how many devices of a storm stand in the alert itself. The evidence has
// all of them.
const firstDevices = 10
