package app

import (
	"slices"
	"testing"
	"time"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/verdict"
)

// TestBranches checks that a canary has to arrive at each event subscription of a custom topic, as
// each type that it takes, and that one is published which its filter lets through.
func TestBranches(t *testing.T) {
	all := append(Detectors(),
		detector.Detector{Name: "Pumps", On: detector.Trigger{EventTypes: []string{verdict.MissingType}, SubjectContains: "devices/Pump-"}},
		detector.Detector{Name: "Valves", On: detector.Trigger{EventTypes: []string{verdict.MissingType}, SubjectContains: "devices/valve-"}},
		detector.Detector{Name: "Routes", On: detector.Trigger{EventTypes: []string{event.LogType("Routes")}, Operations: []string{"endpointUnhealthy"}}},
		detector.Detector{Name: "Gone", On: detector.Trigger{EventTypes: []string{"Microsoft.Devices.DeviceDeleted"}}},
	)
	subscriptions, err := Subscriptions(all)
	if err != nil {
		t.Fatal(err)
	}
	ways := Branches(all)
	sent := coverage.Canary{Path: coverage.Topic, Token: "a", Sent: time.Now().UTC().Truncate(time.Second)}
	var published []event.Event
	for _, raw := range disguises(all, "/hubwatch")(sent) {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := coverage.ParseDisguise(e); ok == (e.Type == coverage.CanaryType) || ok && c != sent {
			t.Errorf("%s: %v, %+v", e.Type, ok, c)
		}
		published = append(published, e)
	}
	want := 0
	for _, s := range subscriptions {
		path := map[detector.Source]coverage.Path{detector.Connections: coverage.Topic, detector.Alerts: coverage.Alerts}[s.Source]
		if path == "" || s.Function == detector.PathBroken.Name || s.Function == judge.NotifyName {
			continue
		}
		types := s.Filter.IncludedEventTypes
		if path == coverage.Alerts { // Others subscribe there, too, and would take a canary for an alert.
			types = []string{coverage.CanaryType}
		}
		for _, of := range types {
			want++
			if !slices.ContainsFunc(ways[path], coverage.Branch{Function: s.Function, Type: of}.Is) {
				t.Errorf("no canary goes to %s as %s", s.Function, of)
			}
		}
	}
	if got := len(ways[coverage.Topic]) + len(ways[coverage.Alerts]); got != want {
		t.Errorf("canaries go to %d pairs of a function and a type, want %d", got, want)
	}
	for _, b := range ways[coverage.Topic] {
		d := all[slices.IndexFunc(all, func(d detector.Detector) bool { return d.Name == b.Function })]
		of := slices.DeleteFunc(slices.Clone(published), func(e event.Event) bool { return e.Type != b.Type })
		if len(of) != 1 {
			t.Errorf("%d canaries are published as %s", len(of), b.Type)
			continue
		}
		if matched, err := d.On.Matches(of[0]); err != nil || !matched {
			t.Errorf("the canary as %s does not pass the filter of %s: %v", b.Type, d.Name, err)
		}
	}
}
