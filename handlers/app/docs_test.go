package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSettingsAreDocumented checks that docs/design.md describes the settings.
func TestSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Settings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows strings.Builder
	for _, s := range Settings {
		row := fmt.Sprintf("| `%s` | %s", s.Name, s.Meaning)
		if s.Default != "" {
			row += fmt.Sprintf("; default `%s`", s.Default)
		}
		if s.HostOnly {
			row += "; read by the Functions host"
		}
		rows.WriteString(row + " |\n")
	}
	if !strings.Contains(section, "\n|---|---|\n"+rows.String()+"\n") {
		t.Errorf("docs/design.md, Settings: want just these rows, from app.Settings:\n%s", rows.String())
	}
}
