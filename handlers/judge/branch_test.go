package judge

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
)

// Branches of the topic: one detector with two types of events, and one with a type of both.
const expiredType, failedType = "hubwatch.iothub.connection.token-expired", "hubwatch.iothub.connection.failed"

// forked returns a hubwatch whose topic forks.
func forked() *sky {
	s := newSky()
	s.Canaries.Branches = map[coverage.Path][]coverage.Branch{
		coverage.Topic: {
			{Function: detector.DeviceTokenExpired.Name, Type: failedType}, {Function: detector.DeviceTokenExpired.Name, Type: expiredType},
			{Function: detector.DeviceTokenInvalid.Name, Type: failedType},
		},
	}
	return s
}

// reaches lets the last canary of the topic come to a detector, as an event of a type, in a list or
// alone. It returns the outcome.
func (s *sky) reaches(t *testing.T, d detector.Detector, eventType string, listed bool) host.Outcome {
	t.Helper()
	raw := s.sent[coverage.Topic][len(s.sent[coverage.Topic])-1].Disguise("/hubwatch", "paths/topic", eventType)
	if listed {
		raw = slices.Concat(jsontext.Value("["), raw, jsontext.Value("]"))
	}
	out, err := s.Detect(d)(t.Context(), host.Invocation{Function: d.Name, Data: raw})
	if err != nil || out.Events != 1 || out.EventID == "" || out.Quarantined+out.Findings+out.Unmatched > 0 {
		t.Errorf("%s of %s: error %v, outcome %+v; want a canary", eventType, d.Name, err, out)
	}
	return out
}

// TestBranches lets canaries come to some of the functions of a topic. What did not come is an
// alert about that function, once for each canary, unless it is the first canary for it, or nothing
// came at all.
func TestBranches(t *testing.T) {
	s := forked()
	const quarter, rest = 15 * time.Minute, 45 * time.Minute
	expired, invalid := "alert about Path topic/DeviceTokenExpired", "alert about Path topic/DeviceTokenInvalid"
	step := func(what string, after time.Duration, want ...string) {
		t.Helper()
		if _, err := s.run(t, after); err != nil || !slices.Equal(s.alerts.kept, want) {
			t.Errorf("%s: error %v, kept %q, want %q", what, err, s.alerts.kept, want)
		}
	}
	arrive := func(types ...string) {
		t.Helper()
		for _, path := range []coverage.Path{coverage.Topic, coverage.EventHub} {
			if _, err := s.arrive(t, path, time.Second); err != nil {
				t.Error(err)
			}
		}
		for i, of := range types {
			if out := s.reaches(t, detector.DeviceTokenExpired, of, i == 0); len(out.Notes) > 0 {
				t.Errorf("notes %q", out.Notes)
			}
		}
	}
	step("the first run", 0)
	arrive(failedType)
	step("the first canary, before the event subscriptions are deployed", quarter)
	step("the second hour", rest)
	arrive(failedType, expiredType)
	s.reaches(t, detector.DeviceTokenInvalid, failedType, false)
	if heard := s.Listener.(*listener).heard; len(heard) > 0 {
		t.Errorf("heard of %q through canaries", heard)
	}
	step("all have come", quarter)
	step("the third hour", rest)
	arrive(failedType)
	s.reaches(t, detector.DeviceTokenInvalid, failedType, false)
	step("one type is filtered out", quarter, expired)
	step("the fourth hour, and the same canary", rest, expired)
	arrive(failedType, expiredType)
	step("one event subscription is gone", quarter, invalid)
	step("the fifth hour", rest, invalid)
	if _, err := s.arrive(t, coverage.EventHub, time.Second); err != nil {
		t.Error(err)
	}
	step("the topic is gone", quarter, "alert about Path topic")
	step("the sixth hour", rest, "alert about Path topic")
	if _, err := s.arrive(t, coverage.EventHub, time.Second); err != nil {
		t.Error(err)
	}
	s.reaches(t, detector.DeviceTokenInvalid, failedType, false)
	step("one function gets what two others do not", quarter, "alert about Path topic", expired)
	s.Canaries.Branches[coverage.Topic] = s.Canaries.Branches[coverage.Topic][2:]
	step("the detector was taken out", 0, "alert about Path topic")
}

// TestNothingHidesBehindAMark lets somebody who may publish to the topic mark events. What has anything
// that a detector could find is judged, or quarantined. A canary that hubwatch has not sent proves
// nothing, is noted, and is not judged: nothing is in it.
func TestNothingHidesBehindAMark(t *testing.T) {
	s := forked()
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	d := detector.DeviceTokenExpired
	sent := s.sent[coverage.Topic][0]
	canary := string(sent.Disguise("/hubwatch", "paths/topic", expiredType))
	var e struct {
		Event jsontext.Value `json:"event"`
	}
	text, err := os.ReadFile("../detector/testdata/DeviceTokenExpired/fires-error-name.json")
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	attack, decoded := event.Decode(e.Event)
	if err := errors.Join(err, decoded); err != nil {
		t.Fatal(err)
	}
	data := strings.TrimSpace(string(attack.Data))
	member, _, _ := strings.Cut(canary[strings.Index(canary, `{"hubwatchCanary"`)+1:], "}}")
	member += "}"
	plain := string(e.Event)
	for what, raw := range map[string]string{
		"an attack with the mark in its data":   strings.Replace(plain, data, strings.TrimSuffix(data, "}")+","+member+"}", 1),
		"an attack with the mark first":         strings.Replace(plain, data, "{"+member+","+strings.TrimPrefix(data, "{"), 1),
		"an attack with the mark beside it":     strings.Replace(plain, `"specversion"`, member+`,"specversion"`, 1),
		"an attack on a device with that name":  strings.Replace(plain, attack.Subject, `\"hubwatchCanary\"`, 1),
		"a canary with a record":                strings.Replace(canary, `"path"`, `"record":{},"path"`, 1),
		"a canary with another id":              strings.Replace(canary, `"id":"`, `"id":"x`, 1),
		"a canary with the id of another type":  strings.Replace(canary, `/`+expiredType, `/`+failedType, 1),
		"a canary without a token":              strings.Replace(canary, `"token":"`+sent.Token+`"`, `"token":""`, 1),
		"a canary of a path that there is none": strings.Replace(canary, `"path":"topic"`, `"path":"pipe"`, 1),
		"a canary with its member twice":        strings.Replace(canary, member, member+","+member, 1),
	} {
		if raw == plain || raw == canary {
			t.Errorf("%s: is not there", what)
		}
		s.alerts.kept = nil
		out, err := s.Detect(d)(t.Context(), host.Invocation{Function: d.Name, Data: jsontext.Value(raw)})
		if err != nil || out.Findings+out.Quarantined == 0 || len(s.alerts.kept) == 0 || s.store.known[coverage.Topic].Alive() {
			t.Errorf("%s: error %v, outcome %+v, kept %q; want an alert, or the quarantine, and no canary", what, err, out, s.alerts.kept)
		}
	}
	for what, forged := range map[string]struct {
		canary    coverage.Canary
		detector  detector.Detector
		eventType string
	}{
		"a token that was never sent":            {coverage.Canary{Path: coverage.Topic, Token: "guess", Sent: s.now}, d, expiredType},
		"the token of another path":              {s.sent[coverage.EventHub][0], d, expiredType},
		"a type that the function need not get":  {sent, detector.DeviceTokenInvalid, expiredType},
		"a path whose canaries have no disguise": {coverage.Canary{Path: coverage.EventHub, Token: sent.Token, Sent: s.now}, d, expiredType},
	} {
		s.alerts.kept = nil
		out, err := s.Detect(forged.detector)(t.Context(), host.Invocation{Function: forged.detector.Name, Data: forged.canary.Disguise("/attacker", "devices/pump-1", forged.eventType)})
		if err != nil || !strings.Contains(strings.Join(out.Notes, " "), "not the last one that was sent") || len(s.alerts.kept) > 0 || s.store.known[coverage.Topic].Alive() {
			t.Errorf("%s: error %v, outcome %+v, kept %q; want that it proves nothing", what, err, out, s.alerts.kept)
		}
	}
	// A detector to which no canary goes looks for none.
	out, err := s.Detect(detector.ConnectionStorm)(t.Context(), host.Invocation{Data: sent.Disguise("/hubwatch", "paths/topic", detector.ConnectionStorm.On.EventTypes[0])})
	if err != nil || out.Quarantined != 1 {
		t.Errorf("error %v, outcome %+v, want the quarantine", err, out)
	}
}

// TestBranchFaults checks that a canary that cannot be remembered is delivered again, alone and in a
// list, and that it is not judged.
func TestBranchFaults(t *testing.T) {
	s := forked()
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	s.store.down = "reach"
	raw := string(s.sent[coverage.Topic][0].Disguise("/hubwatch", "paths/topic", expiredType))
	for _, data := range []string{raw, "[" + raw + "]"} {
		out, err := s.Detect(detector.DeviceTokenExpired)(t.Context(), host.Invocation{Data: jsontext.Value(data)})
		if err == nil || !strings.Contains(err.Error(), "canary of the path topic, as an event of the type "+expiredType+",: the table is away") || out.Quarantined > 0 {
			t.Errorf("error %v, outcome %+v", err, out)
		}
	}
}

// siem is Microsoft Sentinel. It counts what it hears.
type siem struct{ heard int }

func (s *siem) Notify(context.Context, host.Invocation) (host.Outcome, error) {
	s.heard++
	return host.Outcome{}, nil
}

// TestSentinelGetsCanaries sends a canary through the topic of alerts. It comes to two functions,
// and neither tells anybody.
func TestSentinelGetsCanaries(t *testing.T) {
	s := newSky()
	told := &siem{}
	s.SIEM = told
	s.Canaries.Ways[coverage.Alerts] = s.Canaries.Ways[coverage.Topic]
	s.Canaries.Branches = map[coverage.Path][]coverage.Branch{coverage.Alerts: {{Function: SentinelName, Type: coverage.CanaryType}}}
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	c := coverage.Canary{Path: coverage.Alerts, Token: s.store.known[coverage.Alerts].Token, Sent: s.now}
	if out, err := s.Sentinel(t.Context(), host.Invocation{Function: SentinelName, Data: c.Event("/hubwatch")}); err != nil || len(out.Notes) > 0 {
		t.Errorf("error %v, notes %q", err, out.Notes)
	}
	trip := s.store.known[coverage.Alerts]
	if forks := trip.Forks(); told.heard > 0 || trip.Arrived() || len(forks) != 1 || forks[0].Path != "alerts/Sentinel" || !forks[0].Arrived() {
		t.Errorf("told %d times, arrived at Notify: %v, forks %+v", told.heard, trip.Arrived(), forks)
	}
	if _, err := s.Sentinel(t.Context(), host.Invocation{Function: SentinelName, Data: jsontext.Value(`{"type":"hubwatch.alert.raised"}`)}); err != nil || told.heard != 1 {
		t.Errorf("error %v, told %d times, want once", err, told.heard)
	}
}
