package main

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
)

// TestCommandsOfHubwatch has hubwatch itself parse the commands of hubwatch that
// detectors have, with an ordinary name and with a hostile one.
func TestCommandsOfHubwatch(t *testing.T) {
	count := 0
	for _, name := range []string{"valve-7", "--help '$(reboot)' \"a\""} {
		for _, d := range detector.All {
			for _, kind := range []alert.EntityType{alert.DiagnosticSetting, alert.Device} {
				a := someAlert()
				a.Type, a.Detector, a.Entity = d.AlertType, d.Name, alert.Entity{Type: kind, Name: name}
				for _, c := range commandsFor(a) {
					line, err := c.Bash()
					if err != nil || !strings.HasPrefix(line, "hubwatch ") {
						continue
					}
					count++
					args := readBash(t, line)
					command, rest, err := newRoot(&operator{getenv: environment(), now: time.Now}, &screen{Writer: io.Discard}).Find(args[1:])
					if err == nil {
						err = command.ParseFlags(rest)
					}
					if err == nil {
						err = command.ValidateArgs(command.Flags().Args())
					}
					if help, _ := command.Flags().GetBool("help"); err != nil || help || !command.Runnable() || command.HasSubCommands() {
						t.Errorf("%s: %v", line, err)
					}
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("%d commands of hubwatch: does this test still find them?", count)
	}
}

// readBash returns the words of a command line as bash hands them to a program.
func readBash(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// TestCommandsAreCopied takes the command lines out of what people see at 80 columns and
// compares them with those that were rendered: a copy is exact.
func TestCommandsAreCopied(t *testing.T) {
	for _, shell := range []string{bash, powerShell} {
		a := someAlert()
		a.Entity.Name = "a  b'c"
		var page strings.Builder
		writeCommands(&page, 80, commandsFor(a), shell)
		var want, have []string
		for _, c := range commandsFor(a) {
			line, err := c.Bash()
			if shell == powerShell {
				line, err = c.PowerShell()
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, line)
		}
		for line := range strings.Lines(page.String()) {
			if line, ok := strings.CutPrefix(line, "    "); ok {
				have = append(have, strings.TrimSuffix(line, "\n"))
			}
		}
		if diff := cmp.Diff(want, have); diff != "" || len(want) < 10 {
			t.Errorf("%s (-want +have):\n%s", shell, diff)
		}
	}
}

// TestCommandsOfUnknownDetector checks an alert of a detector that this build does not
// have.
func TestCommandsOfUnknownDetector(t *testing.T) {
	a := someAlert()
	a.Detector = "CertificateRenamed"
	if commands := commandsFor(a); commands != nil {
		t.Errorf("it has %d commands", len(commands))
	}
	writeCommands(io.Discard, 80, nil, bash)
}
