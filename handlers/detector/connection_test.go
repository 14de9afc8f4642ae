package detector

import (
	"errors"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
)

// TestStatedOnly runs all cases of all detectors with inferred findings turned
// off: those are gone, and nothing else has changed.
func TestStatedOnly(t *testing.T) {
	inferred := 0
	for _, d := range All {
		for name, c := range readCases(t, d.Name) {
			want := judge(d, c.Event)
			if want.Outcome == "alert" && want.Alerts[0].Confidence == string(alert.Inferred) {
				want = verdict{Outcome: "silent"}
				inferred++
			}
			got := judge(StatedOnly(d), c.Event)
			want.Because = got.Because
			if diff := want.diff(got); diff != "" {
				t.Errorf("%s/%s differs (-want +got):\n%s", d.Name, name, diff)
			}
		}
	}
	if inferred == 0 {
		t.Error("no case is inferred")
	}
	failed := errors.New("failed")
	d := StatedOnly(Detector{Detect: func(event.Event) ([]alert.Finding, error) { return nil, failed }})
	if _, err := d.Judge(event.Event{}); !errors.Is(err, failed) {
		t.Errorf("the error is %v, want %v", err, failed)
	}
}

// TestOneDetectorPerCause holds that no failed connection is two alerts: each
// case of one of the four detectors is silent, or refused, in the other three.
func TestOneDetectorPerCause(t *testing.T) {
	four := []Detector{DeviceTokenExpired, DeviceTokenInvalid, DeviceCertificateExpired, DeviceCertificateMismatch}
	for _, own := range four {
		for name, c := range readCases(t, own.Name) {
			alerts := 0
			for _, d := range four {
				alerts += len(judge(d, c.Event).Alerts)
			}
			if alerts > 1 || judge(own, c.Event).Outcome == "alert" && alerts != 1 {
				t.Errorf("%s/%s: %d alerts", own.Name, name, alerts)
			}
		}
	}
}

// TestConnectionEntity holds that two identities never have one name.
func TestConnectionEntity(t *testing.T) {
	ids := []string{"a", "A", "b", "a/b", "a/", "/b", "/", `\`, `a\`, `\b`, `a\/b`, `\/`, "a#?%'b", "ü"}
	seen := map[alert.Entity]connection.Record{}
	for _, device := range ids {
		for _, module := range append([]string{""}, ids...) {
			r := connection.Record{DeviceID: device, ModuleID: module}
			e := connectionEntity(r)
			if other, ok := seen[e]; ok {
				t.Errorf("%+v names both %q, %q and %q, %q", e, device, module, other.DeviceID, other.ModuleID)
			}
			seen[e] = r
		}
	}
}
