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
