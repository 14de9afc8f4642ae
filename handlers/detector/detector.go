// Package detector is what is looked for: one value per alert, and the list of
// them. Detectors are pure. They have no clock, network, log or environment, so
// that a case file says all there is to know about what one does.
package detector

import (
	"fmt"
	"runtime/debug"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/scan"
	"hubwatch/handlers/window"
)

// Detector looks for one thing in one kind of event. It is a variable of this
// package, one in a file, and an element of All. From All the function of the
// detector, its event subscription and its page of the catalogue are generated.
// Event Grid delivers the events that On matches, Judge runs Detect on each, and
// what Detect finds becomes an alert.
//
// README.md, "Add a detector", has the steps. resource.go has what a detector of
// an operation on an IoT hub is made of, connection.go what a detector of failed
// connections is made of.
type Detector struct {
	// Name is the Go identifier of the value, the name of its function and of
	// the function's folder, the path that the Functions host posts to, the
	// folder of its cases, its heading in the catalogue and the name of its event
	// subscription, which allows 3 to 64 letters, digits and hyphens.
	Name string
	// AlertType is what rules, queries and dashboards compare, letter by letter, so
	// it stays what it is. An alert that Microsoft has too has Microsoft's published
	// id, verbatim; the prefixes are irregular
	// (https://learn.microsoft.com/azure/defender-for-iot/device-builders/concept-security-alerts).
	AlertType string
	Severity  alert.Severity
	Title     string // AlertDisplayName: what happened, without particulars
	// Description says why the alert matters, in full sentences.
	Description string
	Remediation []string // what to do about the alert, step by step
	// Commands are what to do about the alert as command lines. commands.go has those
	// that several detectors have.
	Commands []remedy.Command
	Limits   string  // what the detector cannot see or tell, for the catalogue
	On       Trigger // the events it is run on
	// Detect returns what it found in an event that On matches, and nothing and
	// no error if there is nothing to report. An error means that the event, or a
	// part of it, cannot be judged, now or later: the event is quarantined. Findings
	// beside an error are recorded all the same.
	Detect func(event.Event) ([]alert.Finding, error)
	// Custom says that the detector is made of a file of package custom. It is not in All.
	Custom bool
	// Count is nil if each finding is an alert. Otherwise findings are counted by hub and
	// entity, and only what is outside the rule is an alert.
	Count *window.Rule
}

// Trigger says which events a detector is run on. It gives the filter of the
// event subscription and the handler's own check.
type Trigger struct {
	// EventTypes are those of handlers/event, or of verdict.EventTypes; any of them.
	EventTypes []string
	// Operations are values of data.operationName, any of them, and nil for all. They
	// are compared regardless of case, as Event Grid compares strings
	// (https://learn.microsoft.com/azure/event-grid/event-filtering). Those of IoT hubs
	// are in https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices.
	Operations []string
	// SubjectContains is a part of the subject, compared regardless of case, and ""
	// for any subject. An operation on an IoT hub has onHub.
	SubjectContains string
	// Own says that only operations on what hubwatch itself is made of count. It is not in
	// Filter, since each deployment is made of other resources: infra/subscriptions.bicep
	// leaves out other resource groups, and Own.Of other resources.
	Own bool
}

// Verdict is what a detector makes of one event.
type Verdict struct {
	Event       event.Event // as far as it could be read
	Matched     bool        // whether the event is one that the detector is for
	Occurrences []alert.Occurrence
	// Err is why the event, or a part of it, can never be judged, and belongs into
	// the quarantine. It is nil if the event was judged. Occurrences may stand beside
	// it.
	Err error
}

// Judge reads an event, as Event Grid delivers it, and says what the detector
// makes of it. The same event always gives the same verdict.
func (d Detector) Judge(raw jsontext.Value) Verdict { return d.judge(event.Decode(raw)) }

// JudgeScanned is Judge for an event that was scanned already. The event is then
// parsed once less.
func (d Detector) JudgeScanned(v scan.Value) Verdict { return d.judge(event.DecodeScanned(v)) }

func (d Detector) judge(e event.Event, err error) Verdict {
	v := Verdict{Event: e, Err: err}
	if v.Err == nil {
		v.Matched, v.Err = d.On.Matches(e)
	}
	if v.Matched {
		v.Occurrences, v.Err = d.detect(e)
	}
	return v
}

// detect runs the detector on an event that On matches and dresses what it finds
// into occurrences. A panic in Detect is an error, since the same event would
// panic again.
func (d Detector) detect(e event.Event) (occurrences []alert.Occurrence, err error) {
	defer func() {
		if p := recover(); p != nil {
			occurrences, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())
		}
	}()
	findings, err := d.Detect(e)
	if err != nil {
		err = fmt.Errorf("detector %s: %w", d.Name, err)
	}
	for _, f := range findings {
		o := alert.Occurrence{
			Detector:    d.Name,
			Type:        d.AlertType,
			DisplayName: d.Title,
			Severity:    d.Severity,
			Remediation: d.Remediation,
			Finding:     f,
			Event:       alert.Event{Source: e.Source, ID: e.ID, Time: e.Time, Raw: e.Raw},
		}
		if f.Event != nil {
			o.Event, o.Finding.Event = *f.Event, nil
		}
		o.Redact()
		o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Event.Time)
		occurrences = append(occurrences, o)
	}
	return occurrences, err
}
