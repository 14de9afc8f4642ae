package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSettingsAreDocumented checks that the pages describe the settings.
func TestSettingsAreDocumented(t *testing.T) {
	for file, settings := range map[string][]Setting{"design.md": Settings, "console.md": ConsoleSettings} {
		page, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(page), "\n## Settings\n")
		section, _, _ = strings.Cut(section, "\n## ")
		var rows strings.Builder
		for _, s := range settings {
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
			t.Errorf("docs/%s, Settings: want just these rows:\n%s", file, rows.String())
		}
	}
}
