package custom

import (
	"os"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/event"
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

// TestPageHasAllSources checks that docs/custom-alerts.md says of each log category that a hub
// has what can be judged from it: those of the ready alerts, and no others.
func TestPageHasAllSources(t *testing.T) {
	page, err := os.ReadFile("../../docs/custom-alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		name, _, ok := strings.Cut(strings.TrimPrefix(cells[0], "| ["), "](https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#")
		if !ok || len(cells) != 4 || !slices.Contains(event.LogCategories, name) {
			continue
		}
		said[name] = true
		ready := slices.ContainsFunc(readyAlerts, func(r ready) bool { return r.alert.On.Category == name })
		if ready == strings.HasPrefix(cells[3], "none") {
			t.Errorf("a ready alert reads %s: %v, and the page says: %s", name, ready, cells[3])
		}
	}
	for _, name := range event.LogCategories {
		if !said[name] {
			t.Errorf("the page does not say what can be judged from %s", name)
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
