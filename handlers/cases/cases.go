// Package cases reads the case files of detectors and runs detectors against them.
// A case is an event, and what the detector makes of it.
package cases

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
)

// Case is a case file: <name of the detector>/<name of the case>.json.
type Case struct {
	Name  string         `json:"-"`     // of the file, without its ending
	About string         `json:"about"` // the point of the case, one sentence
	From  string         `json:"from"`  // where the event's shape was found
	Event jsontext.Value `json:"event"`
	// Also has further values of members of the event, by the path of the member
	// ("eventType", "data.operationName"). With each of these values the outcome
	// is the same. So cases that differ only in one value need only one file.
	Also map[string][]string `json:"also,omitempty"`
	Want Outcome             `json:"want"`
}

// The four kinds of outcome.
const (
	Alert        = "alert"            // the detector reports the event, and quarantines it as well if there is an Error
	Silent       = "silent"           // the detector is run and finds nothing
	NotDelivered = "not delivered"    // the trigger does not match: Event Grid filters the event out
	Refused      = "cannot be judged" // the event is quarantined
)

// Outcome is what becomes of an event.
type Outcome struct {
	Outcome string `json:"outcome"` // one of the four kinds
	// Because is there for connections on which the detector is silent. It is
	// what connection.Classify says of the record, so that a case is silent for
	// the reason that the case is about.
	Because string `json:"because,omitzero"`
	// Error is the reason of the quarantine. A case may have a part of the reason. An
	// alert has an error if a part of the event cannot be judged.
	Error  string       `json:"error,omitzero"`
	Alerts []Occurrence `json:"alerts,omitempty"`
}

// Occurrence is what a case says of an occurrence: the parts that the event
// decides. The texts of the detector are in the catalogue.
type Occurrence struct {
	SystemAlertID  string            `json:"systemAlertId"`
	AlertType      string            `json:"alertType"`
	Severity       string            `json:"severity"`
	Hub            string            `json:"hub"`
	HubResourceID  string            `json:"hubResourceId"`
	EntityType     string            `json:"entityType"`
	Entity         string            `json:"entity"`
	Actor          string            `json:"actor,omitzero"`
	ActorIPAddress string            `json:"actorIpAddress,omitzero"`
	CorrelationID  string            `json:"correlationId,omitzero"`
	Confidence     string            `json:"confidence"`
	Message        string            `json:"message"`
	Properties     map[string]string `json:"properties,omitempty"`
	Until          time.Time         `json:"until,omitzero"` // of the last of several
	UntilIPAddress string            `json:"untilIpAddress,omitzero"`
	Tally          *Tally            `json:"tally,omitempty"` // nil for what counts once
	Devices        []string          `json:"devices,omitempty"`
}

// Tally is an alert.Tally.
type Tally struct {
	Item string `json:"item"`
	N    int    `json:"n"`
	Seq  int    `json:"seq"`
	What string `json:"what,omitzero"`
}

// outcomesOf says which outcomes a case may want by the first word of its name, so
// that nobody turns the point of a case around by mistake.
var outcomesOf = map[string][]string{
	"fires":   {Alert},
	"silent":  {Silent, NotDelivered},
	"refused": {Refused},
}

// options for case files: a case may hold an event that hubwatch refuses.
var options = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Read returns the cases of a detector, by name, from the folders of case files in
// root. Its error names the file that is wrong.
func Read(root fs.FS, detector string) ([]Case, error) {
	files, err := fs.Glob(root, path.Join(detector, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []Case
	for _, file := range files {
		data, err := fs.ReadFile(root, file)
		if err != nil {
			return nil, err
		}
		c := Case{Name: strings.TrimSuffix(path.Base(file), ".json")}
		if err := json.Unmarshal(data, &c, options, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("case %s: %w", file, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// Marshal returns the case as its file has it.
func (c Case) Marshal() ([]byte, error) {
	data, err := json.Marshal(c, jsontext.WithIndent("  "), json.Deterministic(true), options)
	return append(data, '\n'), err
}

// Events returns the event of the case, by the name "", and the events that Also
// makes of it, by the changed member and its value. Its error means that Also
// names a member that the event does not have.
func (c Case) Events() (map[string]jsontext.Value, error) {
	events := map[string]jsontext.Value{"": c.Event}
	for member, values := range c.Also {
		for _, value := range values {
			event, err := Replace(c.Event, strings.Split(member, "."), value)
			if err != nil {
				return nil, fmt.Errorf("also: %s: %w", member, err)
			}
			events[member+"="+value] = event
		}
	}
	return events, nil
}

// Replace returns object with value, as JSON, in place of the member at path,
// which has to be there.
func Replace(object jsontext.Value, path []string, value any) (jsontext.Value, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	old, ok := members[path[0]]
	if !ok {
		return nil, fmt.Errorf("no member %s to replace", path[0])
	}
	var err error
	if len(path) > 1 {
		members[path[0]], err = Replace(old, path[1:], value)
	} else {
		members[path[0]], err = json.Marshal(value)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(members, json.Deterministic(true))
}

// Run compares what a detector makes of the event with what the case wants. Its
// error says how the outcome differs from the one that the case wants, or what is
// wrong with the case.
func Run(d detector.Detector, c Case) error {
	var errs []error
	if c.About == "" || c.From == "" {
		errs = append(errs, errors.New("about and from must say what the case is for and where its event was found"))
	}
	if prefix, _, _ := strings.Cut(c.Name, "-"); !slices.Contains(outcomesOf[prefix], c.Want.Outcome) {
		errs = append(errs, fmt.Errorf("the case is called %s-…, so it wants one of %q and not %q", prefix, outcomesOf[prefix], c.Want.Outcome))
	}
	events, err := c.Events()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for with, event := range events {
		if diff := c.Want.Diff(Judge(d, event)); diff != "" {
			if with != "" {
				diff = "with " + with + ":\n" + diff
			}
			errs = append(errs, errors.New("the outcome is not what the case wants (-want +got):\n"+diff))
		}
	}
	return errors.Join(errs...)
}

// Judge returns what becomes of an event that a detector is given.
func Judge(d detector.Detector, raw jsontext.Value) Outcome {
	v := d.Judge(raw.Clone()) // The texts of a verdict are parts of the event, which the caller may change.
	reason := ""
	if v.Err != nil {
		reason = v.Err.Error()
	}
	switch {
	case len(v.Occurrences) > 0:
		return Outcome{Outcome: Alert, Error: reason, Alerts: alerts(v.Occurrences)}
	case v.Err != nil:
		return Outcome{Outcome: Refused, Error: reason}
	case !v.Matched:
		return Outcome{Outcome: NotDelivered}
	default:
		return Outcome{Outcome: Silent, Because: because(v.Event.Data)}
	}
}

func alerts(occurrences []alert.Occurrence) (list []Occurrence) {
	for _, o := range occurrences {
		list = append(list, Occurrence{
			SystemAlertID: o.ID, AlertType: o.Type, Severity: string(o.Severity),
			Hub: o.Hub.Name, HubResourceID: o.Hub.ResourceID,
			EntityType: string(o.Entity.Type), Entity: o.Entity.Name,
			Actor: o.Actor, ActorIPAddress: o.ActorIPAddress, CorrelationID: o.CorrelationID,
			Confidence: string(o.Confidence), Message: o.Message, Properties: o.Properties,
			Until: o.Until, UntilIPAddress: o.UntilIPAddress, Tally: tally(o.Tally), Devices: o.Devices,
		})
	}
	return list
}

// tally returns t as a case has it.
func tally(t alert.Tally) *Tally {
	if t == (alert.Tally{}) {
		return nil
	}
	return &Tally{t.Item, t.N, t.Seq, t.What}
}

// because says why a failed connection is not what a detector looks for. It is
// why the record is passed over, or else its cause and the rule that decided. It
// is "" if data is not a record.
func because(data jsontext.Value) string {
	r, err := connection.DecodeRecord(data)
	if err != nil {
		return ""
	}
	c := connection.Classify(r)
	if c.PassedOver != "" {
		return "passed over: " + string(c.PassedOver)
	}
	return string(c.Cause) + ": " + c.Rule
}

// Diff reports the difference between two outcomes, and "" if there is none. A
// case may want only a part of an error, so that it need not repeat the words of
// a library.
func (o Outcome) Diff(got Outcome) string {
	if o.Error != "" && strings.Contains(got.Error, o.Error) {
		got.Error = o.Error
	}
	return cmp.Diff(o, got)
}
