package detector_test

import (
	"errors"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// TestStatedOnly runs all cases of all detectors with inferred findings turned
// off: those are gone, and nothing else has changed.
func TestStatedOnly(t *testing.T) {
	inferred := 0
	for _, d := range detector.All {
		for _, c := range read(t, d.Name) {
			name := c.Name
			want := cases.Judge(d, c.Event)
			if want.Outcome == "alert" && want.Alerts[0].Confidence == string(alert.Inferred) {
				want = cases.Outcome{Outcome: "silent"}
				inferred++
			}
			got := cases.Judge(detector.StatedOnly(d), c.Event)
			want.Because = got.Because
			if diff := want.Diff(got); diff != "" {
				t.Errorf("%s/%s differs (-want +got):\n%s", d.Name, name, diff)
			}
		}
	}
	if inferred == 0 {
		t.Error("no case is inferred")
	}
	failed := errors.New("failed")
	d := detector.StatedOnly(detector.Detector{Detect: func(event.Event) ([]alert.Finding, error) { return nil, failed }})
	d.On = detector.DeviceTokenExpired.On
	for _, c := range read(t, detector.DeviceTokenExpired.Name) {
		if v := d.Judge(c.Event); v.Matched && !errors.Is(v.Err, failed) {
			t.Errorf("the error is %v, want %v", v.Err, failed)
		}
	}
}

// TestOneDetectorPerCause checks that no failed connection is two alerts: each
// case of one of the four detectors is silent, or refused, in the other three.
func TestOneDetectorPerCause(t *testing.T) {
	four := []detector.Detector{detector.DeviceTokenExpired, detector.DeviceTokenInvalid, detector.DeviceCertificateExpired, detector.DeviceCertificateMismatch}
	for _, own := range four {
		for _, c := range read(t, own.Name) {
			name := c.Name
			alerts := 0
			for _, d := range four {
				alerts += len(cases.Judge(d, c.Event).Alerts)
			}
			if alerts > 1 || cases.Judge(own, c.Event).Outcome == "alert" && alerts != 1 {
				t.Errorf("%s/%s: %d alerts", own.Name, name, alerts)
			}
		}
	}
}
