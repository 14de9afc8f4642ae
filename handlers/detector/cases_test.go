package detector

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
)

var update = flag.Bool("update", false, "rewrite what the cases want")

// testCase is testdata/<detector>/<name>.json: an event, and what the detector
// makes of it.
type testCase struct {
	About string         `json:"about"` // the point of the case, one sentence
	From  string         `json:"from"`  // where the event's shape was found
	Event jsontext.Value `json:"event"`
	// Also has further values of members of the event, by the path of the member
	// ("eventType", "data.operationName"). With each of them the outcome is the
	// same: it spares a file per value where the cases are alike but for that.
	Also map[string][]string `json:"also,omitempty"`
	Want verdict             `json:"want"`
}

// events returns the event of the case and those that Also makes of it, by what
// tells them apart; the event itself has the name "".
func (c testCase) events(t testing.TB) map[string]jsontext.Value {
	t.Helper()
	events := map[string]jsontext.Value{"": c.Event}
	for path, values := range c.Also {
		for _, value := range values {
			event, err := replace(c.Event, strings.Split(path, "."), value)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			events[path+"="+value] = event
		}
	}
	return events
}

// replace returns object with the string value in place of the member at path,
// which has to be there.
func replace(object jsontext.Value, path []string, value string) (jsontext.Value, error) {
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
		members[path[0]], err = replace(old, path[1:], value)
	} else {
		members[path[0]], err = json.Marshal(value)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(members, json.Deterministic(true))
}

// verdict is what becomes of an event. Outcome is one of
//
//	alert             the detector reports it
//	silent            the detector is run and finds nothing
//	not delivered     the trigger does not match: Event Grid filters the event out
//	cannot be judged  the event is quarantined; Error is a part of the reason
//
// Because is said of connections on which the detector is silent: what
// connection.Classify makes of the record. It holds that a case is silent for the
// reason that it is about.
type verdict struct {
	Outcome string       `json:"outcome"`
	Because string       `json:"because,omitzero"`
	Error   string       `json:"error,omitzero"`
	Alerts  []alertShape `json:"alerts,omitempty"`
}

// outcomesOf says which outcomes a case may have by the first word of its name,
// so that -update cannot turn the point of a case around.
var outcomesOf = map[string][]string{
	"fires":   {"alert"},
	"silent":  {"silent", "not delivered"},
	"refused": {"cannot be judged"},
}

// alertShape is what a case says of an alert: what the event decides. The texts
// of the detector are in the catalogue.
type alertShape struct {
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
}

// judge does with an event what the handler does with it.
func judge(d Detector, raw jsontext.Value) verdict {
	e, err := event.Decode(raw)
	if err != nil {
		return verdict{Outcome: "cannot be judged", Error: err.Error()}
	}
	matches, err := d.On.Matches(e)
	if err != nil {
		return verdict{Outcome: "cannot be judged", Error: err.Error()}
	}
	if !matches {
		return verdict{Outcome: "not delivered"}
	}
	alerts, err := d.Judge(e)
	if err != nil {
		return verdict{Outcome: "cannot be judged", Error: err.Error()}
	}
	if len(alerts) == 0 {
		return verdict{Outcome: "silent", Because: because(e)}
	}
	v := verdict{Outcome: "alert"}
	for _, a := range alerts {
		v.Alerts = append(v.Alerts, alertShape{
			SystemAlertID: a.ID, AlertType: a.Type, Severity: string(a.Severity),
			Hub: a.Hub.Name, HubResourceID: a.Hub.ResourceID,
			EntityType: string(a.Entity.Type), Entity: a.Entity.Name,
			Actor: a.Actor, ActorIPAddress: a.ActorIPAddress, CorrelationID: a.CorrelationID,
			Confidence: string(a.Confidence), Message: a.Message, Properties: a.Properties,
		})
	}
	return v
}

// because says why a connection is none of a detector's: why its record is passed
// over, or else the cause and the rule that tells it. It is "" if the data of the
// event is no record.
func because(e event.Event) string {
	r, err := connection.DecodeRecord(e.Data)
	if err != nil {
		return ""
	}
	c := connection.Classify(r)
	if c.PassedOver != "" {
		return "passed over: " + string(c.PassedOver)
	}
	return string(c.Cause) + ": " + c.Rule
}

// diff reports the difference between two verdicts. An error agrees with any
// part of itself, so that a case need not repeat a library's words.
func (want verdict) diff(got verdict) string {
	if want.Error != "" && strings.Contains(got.Error, want.Error) {
		got.Error = want.Error
	}
	return cmp.Diff(want, got)
}

// readCases returns the cases of a detector by file name.
func readCases(t testing.TB, detector string) map[string]testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", detector, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]testCase{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c testCase
		// A case may hold an event that is not sound JSON by hubwatch's rules.
		if err := json.Unmarshal(data, &c, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		cases[strings.TrimSuffix(filepath.Base(file), ".json")] = c
	}
	return cases
}

func TestCases(t *testing.T) {
	for _, d := range All {
		cases := readCases(t, d.Name)
		outcomes := map[string]int{}
		for name, c := range cases {
			t.Run(d.Name+"/"+name, func(t *testing.T) {
				if c.About == "" || c.From == "" {
					t.Error("about and from must say what the case is for and where its event was found")
				}
				outcomes[c.Want.Outcome]++
				got := judge(d, c.Event)
				if prefix, _, _ := strings.Cut(name, "-"); !slices.Contains(outcomesOf[prefix], got.Outcome) {
					t.Errorf("the case is called %s-…, so it wants one of %q, but the outcome is %q", prefix, outcomesOf[prefix], got.Outcome)
				}
				diff := c.Want.diff(got)
				if diff == "" {
					for with, event := range c.events(t) {
						if diff := c.Want.diff(judge(d, event)); diff != "" {
							t.Errorf("with %s the outcome is not the same (-want +got):\n%s", with, diff)
						}
					}
					return
				}
				if !*update {
					t.Fatalf("differs from the case (-want +got; -update rewrites the case):\n%s", diff)
				}
				c.Want = got
				data, err := json.Marshal(c, jsontext.WithIndent("  "), json.Deterministic(true), jsontext.AllowDuplicateNames(true))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("testdata", d.Name, name+".json"), append(data, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			})
		}
		if len(cases) < 6 || outcomes["alert"] < 2 || outcomes["silent"]+outcomes["not delivered"] < 2 {
			t.Errorf("%s has %d cases (%v): want at least six, two of them alerts and two without", d.Name, len(cases), outcomes)
		}
	}
}
