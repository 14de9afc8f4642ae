package detector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

func TestJudgePanic(t *testing.T) {
	for name, detect := range map[string]func(event.Event) ([]alert.Finding, error){
		"panic with text":  func(event.Event) ([]alert.Finding, error) { panic("on purpose") },
		"panic with error": func(event.Event) ([]alert.Finding, error) { panic(errors.New("on purpose")) },
		"panic with nil":   func(event.Event) ([]alert.Finding, error) { panic(nil) },
		"index out of range": func(e event.Event) ([]alert.Finding, error) {
			return nil, errors.New(strings.Split(e.Subject, "/")[len(e.Subject)+1])
		},
		"write to a nil map": func(event.Event) ([]alert.Finding, error) {
			var f alert.Finding
			f.Properties["A"] = "B"
			return []alert.Finding{f}, nil
		},
		"no function": nil,
	} {
		t.Run(name, func(t *testing.T) {
			alerts, err := Detector{Name: "Careless", Detect: detect}.detect(event.Event{})
			if alerts != nil || err == nil {
				t.Fatalf("have %v, %v; want no alerts and an error", alerts, err)
			}
			for _, part := range []string{"detector Careless: panic: ", "detector_test.go"} {
				if name == "no function" && part == "detector_test.go" {
					continue // Nothing of this file is on the stack.
				}
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

func TestJudgeError(t *testing.T) {
	cause := errors.New("the reason")
	for _, findings := range [][]alert.Finding{nil, {{}}} {
		d := Detector{Name: "Strict", Detect: func(event.Event) ([]alert.Finding, error) { return findings, cause }}
		alerts, err := d.detect(event.Event{})
		if len(alerts) != len(findings) || !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "detector Strict: ") {
			t.Errorf("have %v, %v; want %d alerts and an error of Strict that wraps the cause", alerts, err, len(findings))
		}
	}
}

func TestJudgeNothing(t *testing.T) {
	d := Detector{Detect: func(event.Event) ([]alert.Finding, error) { return nil, nil }}
	if alerts, err := d.detect(event.Event{}); len(alerts) != 0 || err != nil {
		t.Errorf("have %v, %v; want neither", alerts, err)
	}
}

// TestJudgeDresses checks that a finding gets the texts of its detector and the
// event as its evidence, and that each finding becomes an alert of its own.
func TestJudgeDresses(t *testing.T) {
	e := event.Event{
		ID: "event", Source: "topic", Type: "type", Subject: "subject",
		Time: time.Date(2026, 2, 1, 8, 0, 1, 123456700, time.UTC),
		Raw:  jsontext.Value(`{"id":"event"}`),
	}
	hub := alert.Hub{Name: "contoso-hub", ResourceID: "/hub", SubscriptionID: "sub"}
	first := alert.Finding{Hub: hub, Entity: alert.Entity{Type: alert.Certificate, Name: "a"}, Actor: "alice", Message: "A."}
	second := alert.Finding{Hub: hub, Entity: alert.Entity{Type: alert.Certificate, Name: "b"}, Message: "B."}
	d := Detector{
		Name: "Two", AlertType: "Type", Severity: alert.High, Title: "Title", Remediation: []string{"Step."},
		Detect: func(event.Event) ([]alert.Finding, error) { return []alert.Finding{first, second}, nil },
	}
	var want []alert.Occurrence
	for _, f := range []alert.Finding{first, second} {
		want = append(want, alert.Occurrence{
			ID: alert.ID("Type", hub, f.Entity, f.Actor, e.Time), Detector: "Two", Type: "Type", DisplayName: "Title",
			Severity: alert.High, Remediation: []string{"Step."}, Finding: f,
			Event: alert.Event{Source: "topic", ID: "event", Time: e.Time, Raw: e.Raw},
		})
	}
	got, err := d.detect(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the alerts differ (-want +got):\n%s", diff)
	}
	if got[0].ID == got[1].ID {
		t.Error("alerts on two entities have one id")
	}
}

func TestMatches(t *testing.T) {
	trigger := Trigger{EventTypes: []string{"A.B"}, Operations: []string{"P/write"}, SubjectContains: "/Hub/"}
	for name, test := range map[string]struct {
		event event.Event
		want  bool
		fails bool
	}{
		"all alike":            {event.Event{Type: "A.B", Subject: "x/Hub/y", Data: jsontext.Value(`{"operationName":"P/write"}`)}, true, false},
		"other case":           {event.Event{Type: "a.b", Subject: "x/hUB/y", Data: jsontext.Value(`{"operationName":"p/WRITE"}`)}, true, false},
		"other type":           {event.Event{Type: "A.BC", Subject: "x/Hub/y", Data: jsontext.Value(`{"operationName":"P/write"}`)}, false, false},
		"other subject":        {event.Event{Type: "A.B", Subject: "x/Hub", Data: jsontext.Value(`{"operationName":"P/write"}`)}, false, false},
		"other operation":      {event.Event{Type: "A.B", Subject: "x/Hub/y", Data: jsontext.Value(`{"operationName":"P/write/action"}`)}, false, false},
		"no operation":         {event.Event{Type: "A.B", Subject: "x/Hub/y", Data: jsontext.Value(`{}`)}, false, true},
		"other type, bad data": {event.Event{Type: "C", Subject: "x/Hub/y", Data: jsontext.Value(`1`)}, false, false},
		"other subject, bad data": {event.Event{Type: "A.B", Subject: "x", Data: jsontext.Value(`1`)},
			false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := trigger.Matches(test.event)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("have %v, %v; want %v, an error: %v", got, err, test.want, test.fails)
			}
		})
	}
}
