package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/custom"
)

// TestCustomAlertSteps runs make demo in a copy of the repository. It adds the custom alert
// of README.md by the commands that the README has, switches one on that counts, and shows
// both. README.md quotes what it prints. Nothing outside of build changes.
func TestCustomAlertSteps(t *testing.T) {
	azurite, err := filepath.Abs(filepath.Join(repository, "build/azurite"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(azurite); err != nil {
		if os.Getenv("HUBWATCH_AZURITE") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	root := copied(t)
	before := contents(t, root)
	if err := os.Mkdir(filepath.Join(root, "build"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(azurite, filepath.Join(root, "build/azurite")); err != nil {
		t.Fatal(err)
	}
	said, ok := command(t, root, "make", "--no-print-directory", "--old-file=build/azurite/node_modules/.package-lock.json", "demo")
	if !ok {
		t.Fatalf("make demo:\n%s", said)
	}
	for _, alertType := range []string{"Contoso_HubChangedByHand", "IoT_CA_UnauthorizedOperationsNotInAllowedRange"} {
		if !strings.Contains(said, "\n"+alertType+" ") {
			t.Errorf("%s is not shown:\n%s", alertType, said)
		}
	}
	if want := firstScreen(t); asShipped(t) && !want.MatchString(said) {
		t.Errorf("it prints\n%s, and README.md shows what is like\n%s", said, want)
	}
	for _, link := range []string{"build/azurite", "build/demo/build/azurite"} {
		if err := os.Remove(filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range contents(t, root) {
		if !strings.HasPrefix(name, "build/") && text != before[name] {
			t.Errorf("%s has changed", name)
		}
	}

	// Whoever has followed the README has an alert of that name, and finds it in the demo.
	const file = "functions/HubChangedByHand/alert.json"
	example, err := os.ReadFile(filepath.Join(root, "build/demo", file))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.ReplaceAll(string(example), `"severity": "Medium"`, `"severity": "High"`)
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, file), []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, ok := command(t, root, "go", "run", "./handlers/tools/example"); !ok {
		t.Fatalf("with the alert of the README: %s", said)
	}
	if text, err := os.ReadFile(filepath.Join(root, "build/demo", file)); err != nil || string(text) != own {
		t.Errorf("the alert of a reader became %s, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(root, "build/demo/functions/HubChangedByHand/function.json")); err != nil {
		t.Error(err)
	}
}

// asShipped reports whether those custom alerts are switched on that docs/custom-alerts.md says
// are. With others, as owners of fleets have them, make demo shows others than the README.
func asShipped(t *testing.T) bool {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs/custom-alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	var shipped, on []string
	for _, row := range regexp.MustCompile(`(?m)^\| \[(\w+)\]\([^)]*\) \| yes \|`).FindAllStringSubmatch(string(page), -1) {
		shipped = append(shipped, row[1])
	}
	for _, a := range custom.Packed() {
		on = append(on, a.Name)
	}
	if len(shipped) == 0 {
		t.Fatal("docs/custom-alerts.md names no alert that is switched on")
	}
	slices.Sort(shipped)
	slices.Sort(on)
	return slices.Equal(shipped, on)
}

// firstScreen returns what matches the output of make demo that README.md begins with. A
// line of three points there is for any lines, and days are any days.
func firstScreen(t *testing.T) *regexp.Regexp {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, screen, _ := strings.Cut(string(page), "\n```\n$ make demo\n")
	screen, _, found := strings.Cut(screen, "\n```\n")
	if !found {
		t.Fatal("README.md does not begin with make demo")
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(screen), `\.\.\.`+"\n", "(?:.*\n)*?")
	pattern = regexp.MustCompile(`\d{4}-\d{2}-\d{2}`).ReplaceAllString(pattern, `\d{4}-\d{2}-\d{2}`)
	return regexp.MustCompile("^" + pattern + "\n$")
}
