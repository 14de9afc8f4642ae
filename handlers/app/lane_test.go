package app

import (
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/window"
)

// TestLanes checks which functions share slots: those of changes with each other
// alone, whatever devices and the log of a hub do.
func TestLanes(t *testing.T) {
	seen := map[string]int{}
	for _, f := range Functions(detector.All, judge.Judge{}) {
		want := laneChanges
		switch {
		case f.Name == judge.RelayName:
			want = laneRelay
		case f.Name == judge.VerdictsName, f.Name == judge.HousekeepingName:
			want = laneVerdicts
		case strings.HasPrefix(f.Name, "Device"), f.Name == detector.ConnectionStorm.Name, f.Name == detector.ReconnectionSurge.Name:
			want = laneFailures
		}
		if f.Lane != want {
			t.Errorf("function %s has the lane %q, want %q", f.Name, f.Lane, want)
		}
		seen[f.Lane]++
	}
	if len(seen) != 4 || seen[laneRelay] != 1 || seen[laneVerdicts] != 2 {
		t.Errorf("functions by lane: %v, want four lanes, and the relay alone in its own", seen)
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
