package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCustomAlertSteps adds the custom alert of docs/custom-alerts.md to a copy of the
// repository, as somebody who reads the page would, and switches one on that counts. make
// demo then shows both.
func TestCustomAlertSteps(t *testing.T) {
	root := copied(t)
	text, err := os.ReadFile(filepath.Join(repository, "docs/custom-alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Write one\n")
	section, _, _ = strings.Cut(section, "\n## ")
	folder := regexp.MustCompile("The folder is `(functions/\\w+)`").FindStringSubmatch(section)
	example := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindStringSubmatch(section)
	commands := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindStringSubmatch(section)
	if folder == nil || example == nil || commands == nil {
		t.Fatal("the page has no folder, no example or no commands")
	}
	if err := os.Mkdir(filepath.Join(root, folder[1]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, folder[1], "alert.json"), []byte(example[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	counted := filepath.Join(root, "functions/UnauthorizedOperations/alert.json")
	before, err := os.ReadFile(counted)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Replace(string(before), `"enabled": false`, `"enabled": true`, 1)
	if after == string(before) {
		t.Fatal("the alert that counts is not switched off")
	}
	if err := os.WriteFile(counted, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}

	run := func(line string) string {
		t.Helper()
		said, ok := command(t, root, "sh", "-c", "PATH=$PWD/build:$PATH; "+line)
		if !ok {
			t.Fatalf("%s:\n%s", line, said)
		}
		return said
	}
	run("go build -o build/hubwatch ./handlers/hubwatch")
	for line := range strings.Lines(commands[1]) {
		run(strings.TrimSpace(line))
	}
	run("make app && go build -o build/local ./handlers/local")

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
	if err := os.Symlink(azurite, filepath.Join(root, "build/azurite")); err != nil {
		t.Fatal(err)
	}
	said := run("build/local demo") // which make demo runs
	for _, alertType := range []string{"Contoso_HubChangedByHand", "IoT_CA_UnauthorizedOperationsNotInAllowedRange"} {
		if strings.Count(said, "\n"+alertType+" ") != 1 {
			t.Errorf("%s is not shown once:\n%s", alertType, said)
		}
	}
}
