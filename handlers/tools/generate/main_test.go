package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/custom"
	"hubwatch/handlers/window"
)

// TestUpToDate fails if somebody changed a detector, a case or a generated file
// and did not run make generate.
func TestUpToDate(t *testing.T) {
	if err := run("../../..", true); err != nil {
		t.Fatal(err)
	}
}

// generated returns a folder with the cases of the detectors, which the catalogue
// lists, and with all that run writes from there.
func generated(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	const cases = "handlers/detector/testdata"
	if err := os.CopyFS(filepath.Join(root, cases), os.DirFS(filepath.Join("../../..", cases))); err != nil {
		t.Fatal(err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	return root
}

// customAlert is a custom alert that is enabled.
const customAlert = `{
  "alertType": "Contoso_KeysListed", "severity": "Medium", "title": "Keys were read", "description": "Whoever has the keys has the devices.", "remediation": ["Ask why."],
  "on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceActionSuccess"], "operations": ["Microsoft.Devices/IotHubs/listkeys/action"]},
  "cases": [
    {"name": "fires-a", "about": "Keys are read.", "want": "alert", "event": {"id": "1", "topic": "/subscriptions/s", "eventType": "Microsoft.Resources.ResourceActionSuccess", "eventTime": "2026-02-01T08:00:00Z",
      "subject": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Devices/IotHubs/contoso-hub", "data": {"operationName": "Microsoft.Devices/IotHubs/listkeys/action"}}},
    {"name": "silent-a", "about": "Something else happens.", "want": "silent", "event": {"id": "1", "topic": "/subscriptions/s", "eventType": "Microsoft.Resources.ResourceActionSuccess", "eventTime": "2026-02-01T08:00:00Z",
      "subject": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Devices/IotHubs/contoso-hub", "data": {"operationName": "Microsoft.Devices/IotHubs/stop/action"}}}
  ]
}`

// TestCustomAlerts adds a custom alert, disables it and breaks it. What is generated
// follows.
func TestCustomAlerts(t *testing.T) {
	root := generated(t)
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, "functions/KeysListed"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "functions/KeysListed/alert.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has := func(file, text string) bool {
		b, err := os.ReadFile(filepath.Join(root, file))
		return err == nil && strings.Contains(string(b), text)
	}
	const function = "functions/KeysListed/function.json"
	write(customAlert)
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), function) || !strings.Contains(err.Error(), "handlers/custom/alerts.json") {
		t.Errorf("a new custom alert: -check says %v", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		function: "eventGridTrigger", "handlers/custom/alerts.json": `"name": "KeysListed"`, "infra/subscriptions.json": `"name": "KeysListed"`, "docs/alerts.md": "## KeysListed",
	} {
		if !has(file, text) {
			t.Errorf("%s has no %s", file, text)
		}
	}
	write(strings.Replace(customAlert, `"alertType"`, `"enabled": false, "alertType"`, 1))
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), function) || !has(function, "eventGridTrigger") {
		t.Errorf("a disabled custom alert: -check says %v", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if has(function, "") || has("infra/subscriptions.json", "KeysListed") || has("handlers/custom/alerts.json", "KeysListed") || !has("docs/alerts.md", "KeysListed") {
		t.Error("the disabled custom alert is deployed, or is not in the catalogue")
	}
	write(strings.Replace(customAlert, `"IotHubs/stop/action"`, "x", 1)[:len(customAlert)-1])
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "functions/KeysListed/alert.json:") {
		t.Errorf("a broken custom alert: %v", err)
	}
	write(strings.Replace(customAlert, "IotHubs/stop/action", "IotHubs/listkeys/action", 1))
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), "KeysListed: case silent-a: want silent, have alert") {
		t.Errorf("a case that fails: %v", err)
	}
}

// TestCheck changes a file that run wrote. -check has to name the file and to
// leave it as it is. run has to write it again.
func TestCheck(t *testing.T) {
	root := generated(t)
	if err := run(root, true); err != nil {
		t.Fatalf("right after it was written: %v", err)
	}
	for _, name := range []string{"functions/CertificateAdded/function.json", "functions/RelayResourceLogs/function.json", "handlers/consoleapp/functions/Console/function.json", "infra/subscriptions.json", "docs/alerts.md", "docs/cost.md", "docs/limits.md"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(root, name)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for what, damage := range map[string]func() error{
				"changed": func() error { return os.WriteFile(file, []byte("by hand"), 0o600) },
				"removed": func() error { return os.Remove(file) },
			} {
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				damaged, _ := os.ReadFile(file)
				if err := run(root, true); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: -check says %v, want it to name %s", what, err, name)
				}
				if after, _ := os.ReadFile(file); string(after) != string(damaged) {
					t.Errorf("%s: -check wrote the file", what)
				}
				if err := run(root, false); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if after, err := os.ReadFile(file); string(after) != string(before) {
					t.Errorf("%s: it is not written again: %v", what, err)
				}
			}
		})
	}
}

// TestStrays leaves the function of a detector that no longer exists. run and
// -check both report it, and neither removes it.
func TestStrays(t *testing.T) {
	root := generated(t)
	if err := os.CopyFS(filepath.Join(root, "functions/Gone"), os.DirFS(filepath.Join(root, "functions/CertificateAdded"))); err != nil {
		t.Fatal(err)
	}
	for _, check := range []bool{true, false} {
		if err := run(root, check); err == nil || !strings.Contains(err.Error(), "functions/Gone/function.json") {
			t.Errorf("-check=%t: %v, want it to name the function that is not generated", check, err)
		}
	}
}

// TestCasesAreRead checks that the catalogue is not written without a case that
// cannot be read.
func TestCasesAreRead(t *testing.T) {
	root := generated(t)
	if err := os.WriteFile(filepath.Join(root, "handlers/detector/testdata/CertificateAdded/fires-half.json"), []byte(`{"about": "`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "fires-half.json") {
		t.Errorf("%v, want it to name the case", err)
	}
}

// TestCatalogueSaysTheCondition checks what the catalogue says of a custom alert beside its
// events: a reader must not take every one of them for an alert.
func TestCatalogueSaysTheCondition(t *testing.T) {
	most := 10
	a := custom.Alert{Name: "KeysListed", When: `actor != "pipeline"`, Owner: "the platform team", Group: &custom.Group{Devices: []string{"thermo-*", "lamp"}, Not: true}}
	var b bytes.Buffer
	condition(&b, []custom.Alert{{Name: "Other", When: "false"}, a}, "KeysListed")
	b.WriteString(counted(&window.Rule{Key: "device", Width: 15 * time.Minute, Max: &most, Min: 2}))
	want := "\n**If this is true**\n\n```\nactor != \"pipeline\"\n```\n\n**Of** all devices but these: thermo-* or lamp.\n\n**Owner.** the platform team\n" +
		", if there are more than 10 or fewer than 2 in 15m of the same `device`"
	if b.String() != want {
		t.Errorf("have %s, want %s", b.String(), want)
	}
}
