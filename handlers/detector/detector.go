// Package detector is what is looked for: one value per alert, and the list of
// them. Detectors are pure. They have no clock, network, log or environment, so
// that a case file says all there is to know about what one does.
package detector

import (
	"fmt"
	"runtime/debug"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// Detector looks for one thing in one kind of event. Everything derived from
// the detectors (function.json, Event Grid filters, the catalogue) is generated
// from these values.
type Detector struct {
	// Name is the Go identifier of the value, the name of its function and of
	// the function's folder, the path that the Functions host posts to, the
	// folder of its cases, its heading in the catalogue and the name of its event
	// subscription, which allows 3 to 64 letters, digits and hyphens.
	Name string
	// AlertType is Microsoft's published id, verbatim. The prefixes are irregular
	// (https://learn.microsoft.com/azure/defender-for-iot/device-builders/concept-security-alerts).
	AlertType string
	Severity  alert.Severity
	Title     string // AlertDisplayName: what happened, without particulars
	// Description says why the alert matters, in full sentences.
	Description string
	Remediation []string // what to do about the alert, step by step
	Limits      string   // what the detector cannot see or tell, for the catalogue
	On          Trigger  // the events it is run on
	// Detect returns what it found in an event that On matches, and nothing and
	// no error if there is nothing to report. An error means that the event
	// cannot be judged, now or later.
	Detect func(event.Event) ([]alert.Finding, error)
}

// Trigger says which events a detector is run on. It gives the filter of the
// event subscription and the handler's own check.
type Trigger struct {
	EventTypes []string // any of them
	// Operations are values of data.operationName, any of them, compared
	// regardless of case, as Event Grid compares strings
	// (https://learn.microsoft.com/azure/event-grid/event-filtering).
	Operations []string
	// SubjectContains is a part of the subject, compared regardless of case.
	SubjectContains string
}

// Judge runs the detector on an event that On matches and dresses what it finds
// into alerts. Its error means that the event can never be judged; a panic in
// Detect is such an error too, since the same event would panic again.
func (d Detector) Judge(e event.Event) (alerts []alert.Occurrence, err error) {
	defer func() {
		if p := recover(); p != nil {
			alerts, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())
		}
	}()
	findings, err := d.Detect(e)
	if err != nil {
		return nil, fmt.Errorf("detector %s: %w", d.Name, err)
	}
	for _, f := range findings {
		alerts = append(alerts, alert.Occurrence{
			ID:          alert.ID(d.AlertType, f.Hub, f.Entity, f.Actor, e.Time),
			Detector:    d.Name,
			Type:        d.AlertType,
			DisplayName: d.Title,
			Severity:    d.Severity,
			Remediation: d.Remediation,
			Finding:     f,
			Event: alert.Event{Source: e.Source, ID: e.ID, Time: e.Time, Raw: e.Raw},
		})
	}
	return alerts, nil
}
