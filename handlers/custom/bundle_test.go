package custom

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPack checks that what is packed is what was loaded, without the cases, and with the
// devices of the group's file.
func TestPack(t *testing.T) {
	text := `{"alertType": "Contoso_Test", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."],
	"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceTelemetry"]}, "group": {"devices": ["a"], "file": "devices.txt"},
	"count": {"per": "device", "window": "PT05M", "max": 3},
	"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]}`
	alerts, err := Load(repository(map[string]string{
		"TestAlert": text, "TestAlert/devices.txt": "b-*\n",
		"TestOff": strings.NewReplacer(`{"alertType": "Contoso_Test"`, `{"enabled": false, "alertType": "Contoso_Off"`, "devices.txt", "off.txt").Replace(text), "TestOff/off.txt": "c",
	}))
	if err != nil || len(alerts) != 2 {
		t.Fatalf("%d alerts, %v", len(alerts), err)
	}
	again, err := unpack(Pack(alerts))
	if err != nil || len(again) != 1 {
		t.Fatalf("%d alerts, %v", len(again), err)
	}
	a := again[0]
	if diff := cmp.Diff([]string{"a", "b-*"}, a.Group.Devices); diff != "" || a.Group.File != "" || len(a.Cases) != 0 || a.Name != "TestAlert" || !a.Enabled {
		t.Errorf("%s%+v", diff, a)
	}
	if diff := cmp.Diff(alerts[0].Rule(), a.Rule()); diff != "" {
		t.Error(diff)
	}
	if alerts[0].Group.File == "" || alerts[0].Cases == nil {
		t.Error("Pack has changed what it was given")
	}
	for device, want := range map[string]int{"a": 1, "b-1": 1, "c": 0} {
		if v := a.Detector().Judge(hubEvent("Microsoft.Devices.DeviceTelemetry", device)); v.Err != nil || len(v.Occurrences) != want {
			t.Errorf("%s: %v, %d occurrences", device, v.Err, len(v.Occurrences))
		}
	}
}

// TestPacked checks that what is packed into every program is what the files of the
// repository say.
func TestPacked(t *testing.T) {
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Pack(alerts)), string(packed)); diff != "" {
		t.Errorf("make generate would change alerts.json:\n%s", diff)
	}
	if got, want := len(Packed()), strings.Count(string(packed), `"name": `); got != want {
		t.Errorf("%d alerts are packed, want %d", got, want)
	}
}

// TestCases runs the cases of the custom alerts of the repository, also of those that are
// not enabled.
func TestCases(t *testing.T) {
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		for _, c := range a.Cases {
			t.Run(a.Name+"/"+c.Name, func(t *testing.T) {
				if err := a.Run(c); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
