package custom

import (
	"os"
	"strings"
	"testing"
)

// TestShippedAlerts checks the alerts in functions that hubwatch ships, by their types. Who
// switches one on, changes its count or adds alerts of their own does not fail it.
func TestShippedAlerts(t *testing.T) {
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		if err := a.Test(); err != nil {
			t.Errorf("%s: %v", a.Name, err)
		}
		if strings.HasPrefix(a.AlertType, "Hubwatch_") && a.Limits == "" {
			t.Errorf("%s does not say what it cannot see", a.Name)
		}
	}
}

// TestPageHasMicrosoftsAlerts checks that docs/custom-alerts.md has each of Microsoft's types
// once, and says of each that the importer maps that it can be judged, and of no other.
func TestPageHasMicrosoftsAlerts(t *testing.T) {
	page, err := os.ReadFile("../../docs/custom-alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		rule, rest, ok := strings.Cut(strings.TrimPrefix(line, "| `IoT_CA_"), "` | ")
		if !ok || !strings.HasPrefix(line, "| `IoT_CA_") {
			continue
		}
		rows++
		judged, _, _ := strings.Cut(rest, " |")
		if _, mapped := targets[rule]; mapped == (judged == "no") {
			t.Errorf("the page says of %s that it is judged: %s", rule, judged)
		}
		if _, known := unmapped[rule]; !known && judged == "no" {
			t.Errorf("the importer does not know %s", rule)
		}
	}
	if rows != 14 {
		t.Errorf("the page has %d of Microsoft's 14 types", rows)
	}
}
