package remedy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/remedy"
)

// The tests of this file give the commands of all detectors to the shell, and what the
// shell makes of them to az.

// ordinary and hostile are names of entities and actors. No shell may do anything with
// the hostile one, and az may not take it for an option.
const (
	ordinary = "valve-7"
	hostile  = "--help 'a';$(reboot) `reboot` \"%PATH%\" | & <b> !c \\ # ~ * ü\u2019"
)

// alertsOf returns alerts of a detector, so that each of its commands is for one of
// them.
func alertsOf(d detector.Detector, name string) (alerts []alert.Alert) {
	const subscription = "00000000-0000-0000-0000-000000000001"
	at := time.Date(2026, 2, 1, 8, 0, 1, 0, time.UTC)
	for _, kind := range []alert.EntityType{alert.IoTHub, alert.Certificate, alert.DiagnosticSetting, alert.Device, alert.Module} {
		entity := alert.Entity{Type: kind, Name: name}
		if kind == alert.Module {
			entity.Name = strings.NewReplacer(`\`, `\\`, `/`, `\/`).Replace(name) + "/" + strings.ReplaceAll(name, `\`, `\\`)
		}
		for _, actor := range []string{"User", "Application", "ManagedIdentity"} {
			a := alert.Alert{
				ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Detector: d.Name, Type: d.AlertType, Start: at, End: at.Add(time.Hour),
				Finding: alert.Finding{
					Hub: alert.Hub{Name: "contoso-hub", SubscriptionID: subscription,
						ResourceID: "/subscriptions/" + subscription + "/resourceGroups/rg-iot_(1)/providers/Microsoft.Devices/IotHubs/contoso-hub"},
					Entity: entity, Actor: strings.ReplaceAll(name, "'", ""), CorrelationID: "00000000-0000-4000-8001-000000000001",
					Properties: map[string]string{
						"ActorType": actor, "ActorObjectId": "00000000-0000-0000-0000-0000000000b1", "ActorApplicationId": "00000000-0000-0000-0000-0000000000b2",
					},
				},
			}
			if actor != "ManagedIdentity" {
				maps.Copy(a.Properties, map[string]string{
					"ActorRole": name, "RoleAssignmentId": "00000000-0000-0000-0000-000000000a01", "RoleAssignmentScope": "/subscriptions/" + subscription,
					"RolePrincipalId": "00000000-0000-0000-0000-0000000000c9", "RolePrincipalType": "Group",
				})
			}
			alerts = append(alerts, a)
		}
	}
	return alerts
}

// shellOut runs a command line in bash, where each program is a stand-in, and returns
// the program and its arguments as it gets them.
func shellOut(t *testing.T, line string) []string {
	t.Helper()
	got := filepath.Join(t.TempDir(), "got")
	command := exec.CommandContext(t.Context(), "bash", "-c", `
az() { printf '%s\0' az "$@" >> "$GOT"; }
hubwatch() { printf '%s\0' hubwatch "$@" >> "$GOT"; }
`+line)
	command.Dir, command.Env = t.TempDir(), append(os.Environ(), "GOT="+got)
	if out, err := command.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s\n%s", err, line, out)
	}
	words, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
}

// commandLines returns a line of each command of all detectors, for an alert with a name, as
// bash hands them over.
func commandLines(t *testing.T, name string) map[string][]string {
	t.Helper()
	lines := map[string][]string{} // by template: many alerts have the same command
	wanted := map[string]bool{}
	for _, d := range detector.All {
		for _, c := range d.Commands {
			wanted[c.Template()] = true
		}
		for _, a := range alertsOf(d, name) {
			for _, f := range remedy.For(a, d.Commands) {
				if lines[f.Template()] != nil {
					continue
				}
				line, err := f.Bash()
				if err != nil {
					t.Errorf("%s: %s: %v", d.Name, f.Template(), err)
					continue
				}
				lines[f.Template()] = shellOut(t, line)
			}
		}
	}
	for template := range wanted {
		if lines[template] == nil {
			t.Errorf("no alert has the command %s", template)
		}
	}
	if len(lines) < 30 {
		t.Fatalf("there are %d commands: does this test still find them?", len(lines))
	}
	return lines
}

// isExtension matches what follows az if the command is one of the extension.
var isExtension = regexp.MustCompile(`^iot hub (query|device-identity|device-twin|module-identity) `)

// TestCommandsAreCommands has each command of each detector parsed: with an ordinary
// name and with a hostile one. az has no login here. What it says of a command without
// mistakes is that it needs one.
func TestCommandsAreCommands(t *testing.T) {
	var forAz [][]string
	for _, name := range []string{ordinary, hostile} {
		for _, line := range commandLines(t, name) {
			switch text := strings.Join(line[1:], " ") + " "; {
			case line[0] == "hubwatch":
				// A test of the program itself parses these.
			case isExtension.MatchString(text):
				if err := checkExtension(t, line[1:]); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			default:
				forAz = append(forAz, line[1:])
			}
		}
	}
	slices.SortFunc(forAz, slices.Compare)
	for i, answer := range parse(t, forAz) {
		if !answer.parsed() {
			t.Errorf("az %q: exit code %d: %s", forAz[i], answer.Code, answer.Says)
		}
	}
}

// TestWrongCommandsAreFound plants mistakes.
func TestWrongCommandsAreFound(t *testing.T) {
	const device = "--hub-name=contoso-hub --device-id=valve-7 --auth-type=login "
	for _, wrong := range []string{
		"iot hub device-identity rename " + device,
		"iot hub device-identity show --hub-name=contoso-hub",
		"iot hub device-identity show --device=valve-7",
		"iot hub device-identity show --device-id valve-7",
		"iot hub device-identity update " + device + "--status=off",
		"iot hub device-identity renew-key " + device,
		"iot hub device-identity renew-key --device-id=valve-7 --key-type=both",
		"iot hub module-identity show " + device,
		"iot hub query --hub-name=contoso-hub --top=1",
		"iot hub query --hub-name=contoso-hub --query-command=x --auth-type=none",
	} {
		if err := checkExtension(t, strings.Fields(wrong)); err == nil {
			t.Errorf("az %s: nothing is found", wrong)
		}
	}
	const certificate = "--hub-name=contoso-hub --name=root-ca "
	wrong := [][]string{
		strings.Fields("iot hub certificate delete " + certificate),
		strings.Fields("iot hub certificate show --hubs=contoso-hub --name=root-ca"),
		strings.Fields("iot hub certificate rename " + certificate),
		strings.Fields("iot hub certificate show --hub-name=contoso-hub --name --etag"),
		strings.Fields("monitor activity-log list --correlations=x"),
		strings.Fields("monitor diagnostic-settings create --resource=x --name=y --logs=[{category:Connections,enabled:perhaps}]"),
		strings.Fields("role assignment list --assignee-object-id=x"),
		strings.Fields("ad user update --id=x --account-enabled=off"),
		strings.Fields("lock create --name=x --lock-type=Never --resource=y"),
		strings.Fields("rest --method=look --url=https://graph.microsoft.com"),
	}
	for i, answer := range parse(t, wrong) {
		if answer.parsed() {
			t.Errorf("az %q: exit code %d: %s", wrong[i], answer.Code, answer.Says)
		}
	}
}

// answer is what az says of a command line.
type answer struct {
	Code int    `json:"code"`
	Says string `json:"says"`
}

// parsed reports whether the command line has no mistake. az then says only that
// nobody is signed in. Most mistakes have the exit code 2, and wrong values of some
// options the exit code 1.
func (a answer) parsed() bool { return a.Code == 1 && strings.Contains(a.Says, "az login") }

// parse gives command lines to az. Without az it skips the test, unless HUBWATCH_AZ is
// "required". It needs no login and no network.
func parse(t *testing.T, lines [][]string) []answer {
	t.Helper()
	az, err := exec.LookPath("az")
	if err != nil {
		if os.Getenv("HUBWATCH_AZ") == "required" {
			t.Fatal(err)
		}
		t.Skip("make test installs the Azure CLI, or says where it is to be had: ", err)
	}
	env := append(os.Environ(), "AZURE_CONFIG_DIR="+t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=false", "AZURE_CORE_NO_COLOR=true",
		"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9")
	about := exec.CommandContext(t.Context(), az, "--version")
	about.Env = env
	version, err := about.Output()
	if err != nil {
		t.Fatalf("az --version: %v", err)
	}
	python := regexp.MustCompile(`Python location '(.+)'`).FindSubmatch(version)
	if python == nil {
		t.Fatalf("az --version does not say where its Python is:\n%s", version)
	}
	var in, stderr bytes.Buffer
	for _, line := range lines {
		if err := json.NewEncoder(&in).Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), string(python[1]), "testdata/parse.py") // #nosec G204 -- the Python of az
	command.Env, command.Stdin, command.Stderr = env, &in, &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("testdata/parse.py: %v\n%s", err, &stderr)
	}
	var answers []answer
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		var a answer
		if err := json.Unmarshal(scanner.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d commands\n%s", len(answers), len(lines), &stderr)
	}
	return answers
}

// checkExtension compares a command of the extension azure-iot with the list in
// testdata.
func checkExtension(t *testing.T, line []string) error {
	t.Helper()
	list, err := os.ReadFile("testdata/azure-iot.txt")
	if err != nil {
		t.Fatal(err)
	}
	first := slices.IndexFunc(line, func(word string) bool { return strings.HasPrefix(word, "-") })
	command := strings.Join(line[:max(first, 0)], " ")
	for row := range strings.Lines(string(list)) {
		if options, ok := strings.CutPrefix(row, command+": "); ok && command != "" {
			return checkOptions(line[first:], strings.Fields(options+" --subscription --query --output"))
		}
	}
	return fmt.Errorf("there is no such command in testdata/azure-iot.txt")
}

// checkOptions compares options with those that a command has. An option that has to be
// there ends in !, and = stands before its values.
func checkOptions(line, options []string) error {
	given := map[string]string{}
	for _, word := range line {
		name, value, ok := strings.Cut(word, "=")
		if !ok || !strings.HasPrefix(name, "--") {
			return fmt.Errorf("%q does not have the form --name=value", word)
		}
		given[name] = value
	}
	for _, option := range options {
		name, values, limited := strings.Cut(option, "=")
		name, required := strings.CutSuffix(name, "!")
		value, ok := given[name]
		switch {
		case !ok && required:
			return fmt.Errorf("%s is missing", name)
		case ok && limited && !slices.Contains(strings.Split(values, "|"), value):
			return fmt.Errorf("%s=%s: want %s", name, value, values)
		}
		delete(given, name)
	}
	for name := range given {
		return fmt.Errorf("there is no option %s", name)
	}
	return nil
}
