// Package custom makes detectors of custom alerts. A custom alert is one file,
// functions/<Name>/alert.json: the events that it watches, a condition in the Common
// Expression Language, texts, and cases. docs/custom-alerts.md says how to write one, and
// docs/alert.schema.json is the schema of the file.
package custom

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// Alert is a custom alert as its file has it. Texts that are called expressions are in the
// Common Expression Language (https://cel.dev); expression.go has their variables.
type Alert struct {
	// Name is the name of the file's folder, of the function and of the event subscription.
	Name string `json:"-"`

	Schema  string  `json:"$schema,omitzero"` // where an editor finds the schema of the file
	Comment Comment `json:"$comment,omitempty"`
	// Enabled says whether the alert is deployed. In a file it is true if it is left out.
	Enabled     bool           `json:"enabled"`
	AlertType   string         `json:"alertType"`
	Severity    alert.Severity `json:"severity"`
	Title       string         `json:"title"`           // what happened, without particulars
	Description string         `json:"description"`     // why it matters, in full sentences
	Remediation []string       `json:"remediation"`     // what to do about it, step by step
	Owner       string         `json:"owner,omitzero"`  // who answers questions about the file
	Limits      string         `json:"limits,omitzero"` // what the alert cannot see or tell
	On          On             `json:"on"`
	When        string         `json:"when,omitzero"` // an expression, bool; "" for true
	// Entity is what the alert is about, by name: an expression, string. "" is what is
	// counted, else the device, else the hub. EntityType goes with it.
	Entity     string            `json:"entity,omitzero"`
	EntityType alert.EntityType  `json:"entityType,omitzero"`
	Message    string            `json:"message,omitzero"`     // an expression, string; "" for a plain sentence
	Properties map[string]string `json:"properties,omitempty"` // expressions, string, by names in PascalCase
	Count      *Count            `json:"count,omitzero"`       // nil if each event is an alert
	Group      *Group            `json:"group,omitzero"`       // nil for all devices
	Cases      []Case            `json:"cases"`

	rule   *window.Rule // what Count says, if it is right
	doubts []Mistake
}

// Doubts returns what may be wrong with the file, and is no mistake if Azure has what hubwatch
// does not know: types of resources, and actions on them.
func (a Alert) Doubts() []Mistake { return a.doubts }

// Comment is what people note in the file, line by line. Nothing reads it. JSON itself has no
// comments, and "$comment" is how JSON Schema has them
// (https://json-schema.org/draft/2020-12/json-schema-core#section-8.3).
type Comment []string

// Source is where the events of a custom alert come from.
type Source string

// The four sources.
const (
	Resources   Source = "resources"   // operations that ended, from Azure Resource Manager
	Connections Source = "connections" // verdicts about failed connections, from package verdict
	Logs        Source = "logs"        // records of a category of a hub's resource logs
	Hub         Source = "hub"         // IoT Hub's own events: devices created, connected, ...
)

// Sources are all sources.
var Sources = []Source{Resources, Connections, Logs, Hub}

// On says which events an alert is run on.
type On struct {
	Comment Comment `json:"$comment,omitempty"`

	Source Source `json:"source"`
	// EventTypes are the types of events, any of them. Resources and Hub need them; for
	// Connections nil is those of single devices; Logs has none.
	EventTypes []string `json:"eventTypes,omitempty"`
	// Operations are names of operations, any of them, nil for all. Resources and Logs have
	// them. Letter case does not matter.
	Operations      []string `json:"operations,omitempty"`
	Category        string   `json:"category,omitzero"`        // of Logs alone: the log category of the hub
	SubjectContains string   `json:"subjectContains,omitzero"` // a part of the event's subject, in any letter case; "" for any
	// Own says that only operations on what hubwatch itself is made of count; of Resources
	// alone.
	Own bool `json:"own,omitzero"`
}

// Count says how many events there may be. The events are those for which When is true.
type Count struct {
	Comment Comment `json:"$comment,omitempty"`

	Per    string `json:"per"`          // an expression, string, for what is counted: device, hub, actor, address, or another one
	Window string `json:"window"`       // the length of the window, as ISO 8601 has it: PT15M
	Max    *int   `json:"max,omitzero"` // the most events in a window; nil for any number
	Min    int    `json:"min,omitzero"` // the fewest events in a window; 0 for none
}

// Group is a group of devices.
type Group struct {
	Comment Comment `json:"$comment,omitempty"`

	// Devices are patterns of ids. An asterisk stands for any characters. Letter case
	// matters, as it does in the ids of devices.
	Devices []string `json:"devices,omitempty"`
	File    string   `json:"file,omitzero"` // of further patterns, one a line, beside alert.json
	Not     bool     `json:"not,omitzero"`  // all devices but these

	listed []string // the patterns of File
}

// String says which devices are in the group, or in the list that Not turns around: up to
// five patterns, or how many there are.
func (g Group) String() string {
	all := slices.Concat(g.Devices, g.listed)
	const most = 5
	if len(all) > most {
		return fmt.Sprintf("%d patterns", len(all))
	}
	return or(all)
}

// Case is an event, or several, and what the alert makes of it.
type Case struct {
	Comment Comment `json:"$comment,omitempty"`

	Name  string `json:"name"`  // begins with fires- or silent-
	About string `json:"about"` // the point of the case, one sentence
	// One of these three is there. Events is for an alert that counts. Records are of one
	// event of Logs, which hubwatch puts around them.
	Event   jsontext.Value   `json:"event,omitzero"`
	Events  []jsontext.Value `json:"events,omitempty"`
	Records []jsontext.Value `json:"records,omitempty"`
	Want    Want             `json:"want"`
	Says    *Says            `json:"says,omitzero"` // nil if the case does not hold what the alert says
}

// Says is what the alert of a case says: of several the first. Only what is there is compared.
type Says struct {
	Entity     string            `json:"entity,omitzero"`  // the name of what the alert is about
	Message    string            `json:"message,omitzero"` // the whole sentence
	Properties map[string]string `json:"properties,omitempty"`
	Severity   alert.Severity    `json:"severity,omitzero"`
}

// Want is what a case wants.
type Want string

// The two outcomes of a case.
const (
	Fires  Want = "alert"
	Silent Want = "silent"
)

// Schema is the value of Alert.Schema in a file that hubwatch writes.
const Schema = "../../docs/alert.schema.json"

// FileName is the name of the file of a custom alert.
const FileName = "alert.json"

// Format returns the alert as its file has it. The same alert gives the same bytes.
func Format(a Alert) []byte { return indent(a) }

// indent returns v as JSON for people.
func indent(v any) []byte {
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil { // an event or a record is not JSON
		panic(fmt.Errorf("custom alert: %w", err))
	}
	return append(b, '\n')
}

// Rule returns the rule of the count of an alert that Load returned; nil if it counts
// nothing.
func (a Alert) Rule() *window.Rule { return a.rule }

// FormatDuration returns d as ISO 8601 has it, the shortest way: PT15M, PT1H30M, P1D. It
// is for whole seconds.
func FormatDuration(d time.Duration) string {
	s := "P"
	if days := d / (24 * time.Hour); days > 0 {
		s += fmt.Sprintf("%dD", days)
	}
	d %= 24 * time.Hour
	if d == 0 && s != "P" {
		return s
	}
	s += "T"
	for _, unit := range []struct {
		length time.Duration
		letter string
	}{{time.Hour, "H"}, {time.Minute, "M"}, {time.Second, "S"}} {
		if n := d / unit.length; n > 0 || unit.length == time.Second && s == "PT" {
			s += fmt.Sprintf("%d%s", n, unit.letter)
		}
		d %= unit.length
	}
	return s
}
