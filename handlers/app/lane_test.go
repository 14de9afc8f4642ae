package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/window"
)

// TestLanes checks which functions share slots: those of changes with each other
// alone, whatever devices, the log of a hub and custom alerts do.
func TestLanes(t *testing.T) {
	seen := map[string]int{}
	byHand := detector.Detector{Name: "ByHand", Custom: true, On: detector.CertificateAdded.On}
	own := detector.Detector{Name: "AboutHubwatch", Custom: true, On: detector.Trigger{EventTypes: detector.CertificateAdded.On.EventTypes, Own: true}}
	for _, f := range Functions(append(slices.Clone(detector.All), byHand, own), judge.Judge{}) {
		want := laneChanges
		switch {
		case f.Name == byHand.Name:
			want = laneCustom
		case f.Name == judge.RelayName:
			want = laneRelay
		case f.Name == judge.VerdictsName, f.Name == judge.HousekeepingName, f.Name == judge.CanaryName:
			want = laneVerdicts
		case f.Name == judge.CanaryTagName:
			want = laneChanges
		case f.Name == judge.NotifyName, f.Name == judge.SentinelName:
			want = laneNotify
		case strings.HasPrefix(f.Name, "Device"), f.Name == detector.ConnectionStorm.Name, f.Name == detector.ReconnectionSurge.Name:
			want = laneFailures
		}
		if f.Lane != want {
			t.Errorf("function %s has the lane %q, want %q", f.Name, f.Lane, want)
		}
		seen[f.Lane]++
	}
	if len(seen) != 6 || seen[laneRelay] != 1 || seen[laneVerdicts] != 3 {
		t.Errorf("functions by lane: %v, want six lanes, and the relay alone in its own", seen)
	}
}

// TestFailuresHaveAWriterOfTheirOwn checks that the app does not record failed
// connections with the writer and the pace of changes.
func TestFailuresHaveAWriterOfTheirOwn(t *testing.T) {
	a, err := Open(func(name string) string {
		return map[string]string{settingStorage: "UseDevelopmentStorage=true"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	if j := a.Judge(nil); j.Alerts != a.Alerts || j.Failures != a.Failures || j.Alerts == j.Failures {
		t.Errorf("the judge records changes with %p and failures with %p, want two writers", j.Alerts, j.Failures)
	}
}

// TestWantedIsToldToTheRelay checks that the relay forwards what the detectors of the app
// want, and nothing as long as none wants log records.
func TestWantedIsToldToTheRelay(t *testing.T) {
	a, err := Open(func(name string) string {
		return map[string]string{settingStorage: "UseDevelopmentStorage=true"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Detectors = detector.All
	if want := a.Judge(nil).Logs.Wanted; len(want) > 0 {
		t.Errorf("the built-in detectors want the log records %v", want)
	}
	a.Detectors = append(a.Detectors[:len(a.Detectors):len(a.Detectors)], detector.Detector{Name: "Routed", On: detector.Trigger{EventTypes: []string{event.LogType("Routes")}}})
	if want := a.Judge(nil).Logs.Wanted; len(want) != 1 {
		t.Errorf("wanted are %v, want those of Routes", want)
	}
}

// TestNamesOfFunctionsAreTaken checks that no custom alert can have the name of a function.
func TestNamesOfFunctionsAreTaken(t *testing.T) {
	for _, f := range append(Functions(detector.All, judge.Judge{}), Console(nil)) {
		if err := custom.CheckName(f.Name); err == nil {
			t.Errorf("a custom alert can be called %s", f.Name)
		}
	}
}

// TestWindowsOnlyIfAsked checks that there is a timer for windows only if a rule expects a
// number of events at least.
func TestWindowsOnlyIfAsked(t *testing.T) {
	for least, want := range []bool{false, true} {
		d, most := detector.CertificateAdded, 10
		d.Count = &window.Rule{Name: d.Name, Width: time.Hour, Max: &most, Min: least}
		have := false
		for _, f := range Functions([]detector.Detector{d}, judge.Judge{}) {
			have = have || f.Name == judge.WindowsName && f.Lane == laneWindows && f.Trigger == host.Timer{Schedule: "0 * * * * *"}
		}
		if have != want {
			t.Errorf("a rule with at least %d events: there is the function: %v", least, have)
		}
	}
}

// TestNobodyJudgesTags checks that no detector gets the event of a tag that hubwatch writes itself.
func TestNobodyJudgesTags(t *testing.T) {
	for _, d := range Detectors() {
		for _, operation := range judge.CanaryTagOn.Operations {
			if slices.Contains(d.On.Operations, operation) {
				t.Errorf("detector %s gets %s, which hubwatch does each day", d.Name, operation)
			}
		}
	}
}

// TestWaysOfCanaries checks that canaries are sent through the paths that the settings name, and
// through no others.
func TestWaysOfCanaries(t *testing.T) {
	const (
		topic    = settingTopicEndpoint + "=http://127.0.0.1:1/api/events"
		eventHub = settingCanaryEventHub + "=http://127.0.0.1:1/connections/messages"
		alerts   = settingAlertEvents + "=http://127.0.0.1:1/api/events"
		tag      = settingCanaryTag + "=http://127.0.0.1:1/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i/providers/Microsoft.Resources/tags/default"
	)
	for _, test := range []struct {
		settings []string
		want     []coverage.Path
	}{
		{nil, nil}, {[]string{topic}, []coverage.Path{coverage.Topic}}, {[]string{eventHub}, []coverage.Path{coverage.EventHub}}, {[]string{topic, eventHub}, []coverage.Path{coverage.EventHub, coverage.Topic}},
		{[]string{alerts}, []coverage.Path{coverage.Alerts}}, {[]string{tag}, []coverage.Path{coverage.Changes}},
	} {
		a, err := Open(func(name string) string {
			for _, s := range append(test.settings, settingStorage+"=UseDevelopmentStorage=true") {
				if setting, value, _ := strings.Cut(s, "="); setting == name {
					return value
				}
			}
			return ""
		})
		if err != nil {
			t.Fatal(err)
		}
		canaries := a.Judge(nil).Canaries
		if got := slices.Sorted(maps.Keys(canaries.Ways)); !slices.Equal(got, test.want) {
			t.Errorf("%v: ways %v, want %v", test.settings, got, test.want)
		}
		one := canaries.Token()
		if other := canaries.Token(); one == other || len(one) < 20 {
			t.Errorf("tokens %q and %q, want texts that nobody can guess", one, other)
		}
		for path, send := range canaries.Ways { // Nobody listens there.
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if err := send(ctx, coverage.Canary{Path: path, Token: "a", Sent: time.Now()}); err == nil {
				t.Errorf("%s: no error", path)
			}
			cancel()
		}
	}
}
