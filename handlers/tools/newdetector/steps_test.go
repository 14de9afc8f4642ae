package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/cases"
)

// TestReadmeSteps follows the section "Add a detector" of README.md as it is
// written: it runs each command in a copy of the repository, and does what the
// text asks of the author between the commands. It counts the files that the
// author edits.
func TestReadmeSteps(t *testing.T) {
	root := copied(t)
	commands := readmeCommands(t)
	before := contents(t, root)
	begin, rest := commands[0], commands[1:]
	if begin != "make detector NAME=HubKeysRead" {
		t.Fatalf("the steps begin with %q", begin)
	}
	run := func(line string) {
		t.Helper()
		if said, ok := command(t, root, "sh", "-c", line); !ok {
			t.Fatalf("%s:\n%s", line, said)
		}
	}
	run(begin)

	// byHand are the files that the author edits.
	byHand := map[string][]string{
		"handlers/detector/hub_keys_read.go": {
			"<what happened>: <why that matters>", "somebody read the keys of an IoT hub: whoever has them can be any device",
			`AlertType: ""`, `AlertType: "Hub_KeysListed"`,
			`Title: ""`, `Title: "Keys of an IoT Hub read"`,
			`Description: ""`, `Description: "Somebody read the keys of an IoT hub, with which anybody can be any device."`,
			"\t\t\"\",\n", "\t\t\"Ask the actor, or the owner of the hub, why the keys were read.\",\n",
			`Limits: ""`, `Limits: "Reading a single key by its name is another operation, which is not reported."`,
			"event.ResourceWriteSuccess", "event.ResourceActionSuccess",
			`"Microsoft.Devices/IotHubs/write"`, `"Microsoft.Devices/IotHubs/listkeys/action"`,
			`"IoT hub %q was changed"`, `"The keys of IoT hub %q were read"`,
		},
		"handlers/detector/testdata/HubKeysRead/fires-event-grid-schema.json": {
			`"about": ""`, `"about": "The plain case: the alert names the hub, who read its keys and from where."`,
			`"from": ""`, `"from": "https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups"`,
			"ResourceWriteSuccess", "ResourceActionSuccess",
			`IotHubs/write"`, `IotHubs/listkeys/action"`,
			`"PUT"`, `"POST"`,
			"contoso-hub?api-version", "contoso-hub/listkeys?api-version",
		},
		"handlers/detector/testdata/HubKeysRead/silent-opposite-outcome.json": {
			`"about": ""`, `"about": "Keys that somebody failed to read are not known to them."`,
			`"from": ""`, `"from": "https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups"`,
			"ResourceWriteFailure", "ResourceActionFailure",
			`IotHubs/write"`, `IotHubs/listkeys/action"`,
		},
	}
	for name, changes := range byHand {
		path := filepath.Join(root, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for pair := range slices.Chunk(changes, 2) {
			if !strings.Contains(string(text), pair[0]) {
				t.Errorf("%s has no %s to fill in", name, pair[0])
			}
		}
		if err := os.WriteFile(path, []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range rest {
		run(line)
	}

	// The cases want the right outcome, without an edit by hand.
	list, err := cases.Read(os.DirFS(filepath.Join(root, "handlers/detector/testdata")), "HubKeysRead")
	if err != nil || len(list) != 2 {
		t.Fatalf("%d cases, %v", len(list), err)
	}
	a := list[0].Want.Alerts
	if len(a) != 1 || a[0].EntityType != "IoTHub" || a[0].Entity != "contoso-hub" ||
		a[0].Message != `The keys of IoT hub "contoso-hub" were read by alice@contoso.example from 203.0.113.9.` {
		t.Errorf("the first case wants %+v", list[0].Want)
	}
	if list[1].Want.Outcome != cases.NotDelivered {
		t.Errorf("the second case wants %+v", list[1].Want)
	}

	// The commands write every other change.
	written := []string{
		"docs/alerts.md", "docs/cost.md", "functions/HubKeysRead/function.json", "handlers/detector/all.go", "infra/subscriptions.json",
	}
	after := contents(t, root)
	for name, text := range after {
		if byHand[name] == nil && !slices.Contains(written, name) && text != before[name] {
			t.Errorf("%s has changed too", name)
		}
	}
	for _, name := range written {
		if after[name] == "" || name != "docs/cost.md" && after[name] == before[name] {
			t.Errorf("nothing has changed %s", name)
		}
	}
	if lines := strings.Count(after["handlers/detector/all.go"], "\n") - strings.Count(before["handlers/detector/all.go"], "\n"); lines != 1 {
		t.Errorf("the list has %d more lines", lines)
	}
}

// readmeCommands returns the commands of the section, in order.
func readmeCommands(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Add a detector\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$").FindAllStringSubmatch(section, -1) {
		for line := range strings.Lines(block[1]) {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	if len(commands) == 0 {
		t.Fatal("README.md has no commands in its section Add a detector")
	}
	return commands
}

// contents returns the files below a folder with their contents.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range list(t, root) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}
