package custom

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shipped returns the custom alerts in functions.
func shipped(t *testing.T) []Alert {
	t.Helper()
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	return alerts
}

// TestShippedFiles checks the files in functions that hubwatch ships: they are written as
// Format writes them, say what they cannot see, and only those that a person should hear of
// on every hub are switched on.
func TestShippedFiles(t *testing.T) {
	var on []string
	for _, a := range shipped(t) {
		file := filepath.Join("../../functions", a.Name, FileName)
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := Format(a)
		if *updateImport {
			if err := os.WriteFile(file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			have = want
		}
		if diff := cmp.Diff(string(want), string(have)); diff != "" {
			t.Errorf("%s is not as Format writes it; -update-import rewrites it:\n%s", file, diff)
		}
		if a.Limits == "" {
			t.Errorf("%s does not say what it cannot see", a.Name)
		}
		if !strings.HasPrefix(a.AlertType, "Hubwatch_") && !strings.HasPrefix(a.AlertType, "IoT_CA_") {
			t.Errorf("%s: the alert type %s is neither Microsoft's nor hubwatch's", a.Name, a.AlertType)
		}
		if a.Enabled {
			on = append(on, a.Name)
		}
	}
	if want := []string{"CertificateVerified", "HubDeleted", "HubKeysListed"}; !slices.Equal(on, want) {
		t.Errorf("%q are switched on, want %q", on, want)
	}
}
