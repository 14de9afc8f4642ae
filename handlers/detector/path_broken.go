package detector

import (
	"fmt"
	"slices"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// PathBroken reports that a canary of hubwatch did not arrive. The canaries themselves come to
// its function, too: they are what has to arrive, and no alert is about them. The function
// Canary gives what it misses to this detector itself, since the way to the detector may be
// what is broken.
var PathBroken = Detector{
	Name:      "PathBroken",
	AlertType: "Hubwatch_PathBroken",
	Severity:  alert.High,
	Title:     "Events do not reach hubwatch",
	Description: "Each hour hubwatch sends itself an event through each path by which events come, or once a day makes Azure Resource Manager send one, and one did not arrive. So events of hubs " +
		"do not arrive either: hubwatch is blind, and silence means nothing. A part of the path was deleted, stopped, filled up or " +
		"locked, by mistake or by somebody who does not want to be seen. A path topic/<name> or alerts/<name> is that of one function, whose event subscription has " +
		"the same name: no other one is blind, but its alerts are not raised, or not told.",
	Remediation: []string{
		"See which path is broken, and since when: hubwatch coverage. hubwatch doctor says which part of it is missing or changed.",
		"See in the activity log of the resource group of hubwatch who changed or deleted something before the canary was lost.",
		"Deploy what is missing again, for a path of one function infra/subscriptions.bicep. The next canary proves the path: within the hour, or on the path changes within a day.",
		"Look into what happened on the hubs meanwhile: Event Grid delivers for 24 hours, and the event hub keeps the log for seven days. What is older is lost.",
	},
	Commands: []remedy.Command{
		seePaths,
		{
			Goal: remedy.Investigate, Needs: "the role Reader on the resource group of hubwatch",
			Says: "See which part of the deployment is missing or changed.",
			Args: append(words("hubwatch doctor"), slices.Concat(inSubscription, option("resource-group", remedy.Group), option("app", remedy.Hub))...),
		},
		showEvidence,
		as(remedy.Verify, seePaths),
	},
	Limits: "A canary proves the path from where hubwatch can send: not the way from the hub to the event hub, and the way from Azure Resource " +
		"Manager only if canaryTag is set, and then by an event subscription of its own. So that of a detector of changes, or of events that a hub publishes itself, is not proved. The first " +
		"canary for a new event subscription may be lost. hubwatch coverage says when something last came by these. Nobody is told of the path of alerts if it is broken. If the app itself does not run, it sends no " +
		"canary and raises no alert: then the alerts of Azure Monitor, hubwatch coverage and hubwatch doctor say so. A canary that is late counts as lost.",
	On: Trigger{EventTypes: coverage.EventTypes},
	Detect: func(e event.Event) ([]alert.Finding, error) {
		if strings.EqualFold(e.Type, coverage.CanaryType) {
			_, err := coverage.ParseEvent(e)
			return nil, err
		}
		m, err := coverage.ParseMissed(e)
		if err != nil {
			return nil, err
		}
		hub := alert.Hub{Name: "hubwatch", ResourceID: m.Source}
		if id, err := event.ParseResourceID(m.Source); err == nil {
			hub = alert.Hub{Name: id.Name, ResourceID: id.Resource(), SubscriptionID: id.SubscriptionID}
		}
		path := string(m.Path)
		message := fmt.Sprintf("A canary was sent through the path %q at %s and did not arrive. The path is: %s.", path, m.Sent.Format("2006-01-02 15:04 UTC"), m.Path.Words())
		properties := map[string]string{"Path": path}
		if len(m.Types) > 0 {
			const most = 8 // more than any detector of connections has
			var types []string
			for _, of := range m.Types[:min(len(m.Types), most)] {
				types = append(types, event.Shorten(of))
			}
			message += fmt.Sprintf(" It did not come as an event of the type %s.", strings.Join(types, " or "))
			properties["EventTypes"] = strings.Join(types, ", ")
		}
		if m.Fault != "" {
			message += " It could not even be sent."
			properties["Fault"] = event.Shorten(m.Fault)
		}
		if !m.LastArrived.IsZero() {
			message += fmt.Sprintf(" The last one that arrived was sent at %s.", m.LastArrived.UTC().Format("2006-01-02 15:04 UTC"))
		}
		return []alert.Finding{{
			Hub: hub, Entity: alert.Entity{Type: alert.Path, Name: string(m.Path)}, Message: message, Confidence: alert.Stated, Properties: properties,
		}}, nil
	},
}

// seePaths is about hubwatch as a whole.
var seePaths = remedy.Command{
	Goal: remedy.Investigate, Needs: readsAlerts,
	Says: "See when a canary last went through each path, and when each hub was last heard of.",
	Args: words("hubwatch coverage"),
}
