package detector

import (
	"fmt"
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// Source is where the events of a trigger come from: a topic of Event Grid.
type Source string

// The sources, as infra/subscriptions.json names them.
const (
	// ControlPlane is the system topic of a subscription or a resource group, to which Azure
	// Resource Manager publishes.
	ControlPlane Source = "controlPlane"
	// Connections is the custom topic to which hubwatch publishes verdicts on the
	// Connections log, the log records that detectors want, and canaries.
	Connections Source = "connections"
	// Hub is the system topic of each IoT hub, to which the hub itself publishes.
	Hub Source = "hub"
	// Alerts is the custom topic to which hubwatch publishes that an alert was raised or
	// reopened. No detector judges its events.
	Alerts Source = "alerts"
)

// Source returns the topic that has the events of t. Its error says that no single topic
// has all of them.
func (t Trigger) Source() (Source, error) {
	var found Source
	for i, of := range t.EventTypes {
		source := sourceOf(of)
		if i > 0 && source != found {
			source = ""
		}
		if found = source; found == "" {
			break
		}
	}
	if found == "" {
		return "", fmt.Errorf("no single topic has events of the types %q", t.EventTypes)
	}
	return found, nil
}

// Heard returns the source of which hubwatch hears when an event comes that t matches. It is
// "" if such events tell of no hub.
func (t Trigger) Heard() alert.Source {
	source, err := t.Source()
	if err != nil {
		return ""
	}
	switch source {
	case ControlPlane:
		return alert.Changes
	case Hub:
		return alert.HubEvents
	}
	if containsFold(coverage.EventTypes, t.EventTypes[0]) {
		return ""
	}
	if category, ok := event.LogCategory(t.EventTypes[0]); ok && category != connection.Category {
		return alert.LogSource(category)
	}
	return alert.Connections
}

// Sources returns the sources of which each hub should be heard, in their order: changes, the
// Connections log, and what else the detectors look at.
func Sources(detectors []Detector) []alert.Source {
	sources := []alert.Source{alert.Changes, alert.Connections}
	for _, d := range detectors {
		if source := d.On.Heard(); source != "" {
			sources = append(sources, source)
		}
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}

// sourceOf returns the topic that has events of a type, or "" if none has.
func sourceOf(eventType string) Source {
	_, ofLog := event.LogCategory(eventType)
	switch {
	case ofLog, containsFold(verdict.EventTypes, eventType), containsFold(coverage.EventTypes, eventType):
		return Connections
	case containsFold(event.OperationTypes, eventType):
		return ControlPlane
	case containsFold(event.HubTypes, eventType):
		return Hub
	}
	return ""
}
