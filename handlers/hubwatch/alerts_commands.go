package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/remedy"
)

// The words of the flag --commands.
const (
	bash       = "bash"
	powerShell = "powershell"
	noCommands = "none"
)

// addCommandsFlag adds the flag --commands, which says for which shell commands are
// written.
func addCommandsFlag(command *cobra.Command) *choice {
	shell := &choice{name: "commands", words: []string{bash, powerShell, noCommands}, word: bash}
	if runtime.GOOS == "windows" {
		shell.word = powerShell
	}
	addChoice(command, shell, "", "commands for bash or powershell, or none")
	return shell
}

// commandsFor returns what to do about an alert as commands, none if this build has no
// detector that finds such an alert.
func commandsFor(a alert.Alert) []remedy.Filled {
	i := slices.IndexFunc(detector.All, func(d detector.Detector) bool { return d.Name == a.Detector })
	if i < 0 {
		return nil
	}
	return remedy.For(a, detector.All[i].Commands)
}

// goalTitles are the headings above the commands.
var goalTitles = map[remedy.Goal]string{
	remedy.Investigate: "Commands to find out what happened",
	remedy.Fix:         "Commands to fix it",
	remedy.Verify:      "Commands to see whether it is fixed",
	remedy.Undo:        "Commands to undo the fix",
}

// writeCommands writes commands for people. The advice is in lines of at most width
// characters. A command is one line, however long, so that a copy is exact.
func writeCommands(w io.Writer, width int, commands []remedy.Filled, shell string) {
	if shell == noCommands {
		return
	}
	var goal remedy.Goal
	for _, c := range commands {
		if c.Goal != goal {
			goal = c.Goal
			fmt.Fprintf(w, "\n%s\n", goalTitles[goal])
		}
		render := c.Bash
		if shell == powerShell {
			render = c.PowerShell
		}
		line, err := render()
		text := printable(line)
		if err != nil {
			text = wrap(printable("No command: "+err.Error()+"."), width, "    ")
		}
		fmt.Fprintf(w, "\n  %s\n    %s\n", wrap(printable(c.Advice()), width, "  "), text)
	}
}
