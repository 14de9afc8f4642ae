package detector

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/remedy"
)

// TestCommands checks what every command has to be. Whether az knows it is checked by
// TestCommandsAreCommands in handlers/remedy.
func TestCommands(t *testing.T) {
	for _, d := range All {
		for i, c := range d.Commands {
			line := c.Template()
			fault := func(what string) { t.Errorf("%s: %s: %s", d.Name, line, what) }
			if !beginsUpper(c.Says) || !strings.HasSuffix(c.Says, ".") || strings.ContainsAny(c.Says, "\n\t") {
				fault("Says has to be full sentences on one line, and is " + c.Says)
			}
			for _, clause := range []string{c.Needs, c.When} {
				if clause != strings.TrimRight(clause, ".\n ") || beginsUpper(clause) {
					fault("it has to go on with a sentence: " + clause)
				}
			}
			if !slices.Contains(remedy.Goals, c.Goal) {
				fault("it has no goal")
			}
			if (c.Goal == remedy.Investigate || c.Goal == remedy.Verify) && (c.Destructive || c.When != "") {
				fault("a command that changes nothing has no condition")
			}
			if c.Keep != strings.HasSuffix(line, " | base64 --decode > COPY.cer") || strings.ContainsAny(line, "`;&") || strings.Contains(line, "$(") {
				fault("it is more than one command")
			}
			program := strings.Fields(line)[0]
			entra := strings.HasPrefix(line, "az ad ") || strings.HasPrefix(line, "az rest ")
			if program == "az" && !entra && !strings.Contains(line, " --subscription=SUBSCRIPTION") {
				fault("it does not say which subscription")
			}
			if strings.Contains(line, "activity-log list") && !(strings.Contains(line, "--start-time=") && strings.Contains(line, "--end-time=")) {
				fault("without times, az looks at the last six hours")
			}
			if strings.Contains(c.Needs, "extension") && !strings.Contains(line, " --auth-type=login ") {
				fault("the extension would list the keys of the hub")
			}
			if printsKeys.MatchString(line) && !silent.MatchString(line) || strings.Contains(line, "Key") {
				fault("it prints keys")
			}
			if strings.Contains(line, "--etag=") && !showsETag(d.Commands[:i], c.Goal) {
				fault("no command before it shows the etag")
			}
		}
	}
}

var (
	// printsKeys matches commands whose whole result has the keys of a device.
	printsKeys = regexp.MustCompile(` (device|module)-identity (show|update|renew-key) `)
	// silent matches the options that leave the keys out.
	silent = regexp.MustCompile(` --output=none$| --query='\{[^}]*\}'$`)
	// shows matches commands that change nothing.
	shows = regexp.MustCompile(`^az [a-z -]* (show|list|query) `)
)

// showsETag reports whether one of the commands shows an etag for the same goal.
func showsETag(before []remedy.Command, goal remedy.Goal) bool {
	return slices.ContainsFunc(before, func(c remedy.Command) bool {
		return c.Goal == goal && strings.Contains(c.Template(), "etag:etag")
	})
}

// TestGoals checks that an alert has commands for each goal, whatever it is about. Only
// for a failed connection whose record names no device, for very many devices, and for a path
// of hubwatch itself, of which any part may be missing, there is nothing to fix with a command.
func TestGoals(t *testing.T) {
	for _, d := range All {
		kinds := []alert.EntityType{alert.IoTHub}
		operations := strings.Join(d.On.Operations, " ")
		switch {
		case slices.Contains(d.On.EventTypes, connection.Failed): // others are about a hub
			kinds = []alert.EntityType{alert.Device, alert.Module}
		case strings.Contains(operations, "/certificates/"):
			kinds = append(kinds, alert.Certificate)
		case strings.Contains(operations, "/diagnosticSettings/"):
			kinds = append(kinds, alert.DiagnosticSetting)
		}
		for _, kind := range kinds {
			a := alert.Alert{ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Type: d.AlertType, Start: time.Date(2026, 2, 1, 8, 0, 1, 0, time.UTC), Finding: alert.Finding{
				Hub: alert.Hub{Name: "contoso-hub", ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001" +
					"/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"},
				Entity: alert.Entity{Type: kind, Name: "a/b"}, CorrelationID: "00000000-0000-4000-8001-000000000001",
				Properties: map[string]string{"ActorType": "User", "ActorObjectId": "00000000-0000-0000-0000-0000000000b1"},
			}}
			goals := map[remedy.Goal]int{}
			for _, f := range remedy.For(a, d.Commands) {
				if change := f.Goal == remedy.Fix || f.Goal == remedy.Undo; change && shows.MatchString(f.Template()) {
					continue // It only prepares the next one.
				}
				goals[f.Goal]++
				if _, err := f.PowerShell(); err != nil {
					t.Errorf("%s: %s: %v", d.Name, f.Template(), err)
				}
			}
			for _, goal := range remedy.Goals {
				if many := (!slices.Contains(d.On.EventTypes, connection.Failed) && d.On.Unprivileged() || d.Name == PathBroken.Name) && (goal == remedy.Fix || goal == remedy.Undo); goals[goal] == 0 && !many {
					t.Errorf("%s: an alert about a %s has no command to %s", d.Name, kind, goal)
				}
			}
		}
	}
}
