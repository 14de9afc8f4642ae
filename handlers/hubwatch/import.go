package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/custom"
)

// newImport returns the verbs that take over what people have elsewhere.
func newImport() *cobra.Command {
	return group(&cobra.Command{
		Use:     "import",
		Short:   "Take over custom alerts from elsewhere",
		Long:    `import makes custom alerts of what people have elsewhere.`,
		Example: `  hubwatch import deviceSecurityGroups groups.json`,
	}, newImportGroups())
}

// newImportGroups returns the verb that imports device security groups.
func newImportGroups() *cobra.Command {
	var folder string
	var dry bool
	command := &cobra.Command{
		Use:   "deviceSecurityGroups <file>",
		Short: "Make alerts of the groups of Defender for IoT",
		Long: `deviceSecurityGroups makes custom alerts of the device security groups of
Microsoft Defender for IoT, and says for each of their rules what became of it,
or why nothing did.

The file is JSON, in one of these forms; - is the standard input:
  - what the REST API answers, one group or a list
  - a template of Azure Resource Manager, exported or compiled from Bicep
  - the state of Terraform (version 4), or what "terraform show -json" prints

Each alert is written into functions/<Name>/alert.json. An alert that hubwatch
ships switched off gets the range of the file, and is switched on. Run again, it
changes nothing. With a newer file, or one of another hub, the alerts that it
wrote change with it. A file that somebody edited is left as it is: if it has
another range than the rule, that is said, and the command ends with 1.`,
		Example: `  hubwatch import deviceSecurityGroups terraform.tfstate
  hubwatch import deviceSecurityGroups groups.json --dry-run`,
		Args: one("file"),
		RunE: func(command *cobra.Command, args []string) error {
			data, err := readArgument(command, args[0])
			if err != nil {
				return err
			}
			there := ruleFiles{folder}
			have, err := there.load()
			if wrong, err := there.writeMistakes(command.ErrOrStderr(), err, nil); err != nil {
				return err
			} else if wrong > 0 {
				complain(command.ErrOrStderr(), fmt.Errorf("%s in the alerts that are there: correct them first, since import has to know their names and types", plural(wrong, "mistake")))
				return said(exitUsage)
			}
			imported, err := custom.Import(data, have)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			out := command.OutOrStdout()
			if err := writeImported(out, imported); err != nil {
				return err
			}
			if err := writeAlerts(out, plan(folder, imported, have), dry); err != nil {
				return err
			}
			blocked := 0
			for _, m := range imported.Rules {
				if m.Blocked {
					blocked++
				}
			}
			if blocked > 0 {
				return fmt.Errorf("%s not taken over, because of alerts that are there: the report says which", plural(blocked, "rule"))
			}
			if len(imported.Rules) == 0 {
				return fmt.Errorf("%s: there is nothing to import: no group has a rule", args[0])
			}
			return nil
		},
	}
	command.Flags().StringVar(&folder, "functions", "functions", "the `folder` of the functions")
	command.Flags().BoolVar(&dry, "dry-run", false, "write nothing")
	return command
}

// readArgument returns what a file has, or the standard input if the file is called -.
func readArgument(command *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(command.InOrStdin())
	}
	return os.ReadFile(name) // #nosec G304 -- the file that a person names
}

// placed is the file of an alert, and what is to become of it.
type placed struct {
	path    string
	content []byte // nil if the file stays as it is
	remove  bool   // the file
	what    string // became of it, for people
}

// plan compares alerts with those that are there.
func plan(folder string, imported custom.Imported, have []custom.Alert) (files []placed) {
	at := func(name string) string { return filepath.Join(folder, name, custom.FileName) }
	for _, a := range imported.Alerts {
		f := placed{path: at(a.Name), content: custom.Format(a)}
		i := slices.IndexFunc(have, func(other custom.Alert) bool { return other.Name == a.Name })
		shipped, ships := custom.Ready(a.Name)
		switch is := func(other custom.Alert) bool { return bytes.Equal(custom.Format(other), f.content) }; {
		case i < 0:
			f.what = "new"
		case is(have[i]):
			f.content, f.what = nil, "unchanged"
		case ships && is(shipped):
			f.what = "switched off, as hubwatch ships it: its rules are in other alerts now"
		case ships && bytes.Equal(custom.Format(have[i]), custom.Format(shipped)):
			f.what = "was shipped with hubwatch, and has the range of the file now"
		default:
			f.what = "changed: nobody had edited it since it was imported"
		}
		files = append(files, f)
	}
	for _, name := range imported.Removed {
		files = append(files, placed{path: at(name), remove: true, what: "removed: its rules are in other alerts now, and nobody had edited it"})
	}
	return files
}

// write changes the file.
func (f placed) write() error {
	switch {
	case f.remove:
		return os.Remove(f.path)
	case f.content == nil:
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil { // #nosec G301 -- sources are for all to read
		return err
	}
	return os.WriteFile(f.path, f.content, 0o644) // #nosec G306 -- sources are for all to read
}

// writeAlerts writes the files, and says what became of each.
func writeAlerts(w io.Writer, files []placed, dry bool) error {
	changed := false
	for _, f := range files {
		if !dry {
			if err := f.write(); err != nil {
				return err
			}
			changed = changed || f.remove || f.content != nil
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", printable(filepath.ToSlash(f.path)), f.what); err != nil {
			return err
		}
	}
	switch {
	case dry:
		fmt.Fprintln(w, "Nothing was written.")
	case changed:
		fmt.Fprintln(w, "Next: hubwatch rules check, then make generate.")
	}
	return nil
}

// writeImported writes what became of each rule, group by group.
func writeImported(w io.Writer, imported custom.Imported) error {
	const indent = "    "
	var b strings.Builder
	heading, mapped, alerts := "", 0, map[string]bool{}
	for _, m := range imported.Rules {
		hub := m.Hub
		if hub == "" {
			hub = "a hub that the file does not name"
		}
		if h := fmt.Sprintf("%s, group %s\n", printable(hub), printable(m.Group)); h != heading {
			b.WriteString(h)
			heading = h
		}
		rule := "  " + printable(m.Rule)
		if m.Range != "" {
			rule += ", " + printable(m.Range)
		}
		became := "not mapped"
		if len(m.Alerts) > 0 {
			became = strings.Join(m.Alerts, " and ")
		}
		for _, name := range m.Alerts {
			alerts[name] = true
		}
		switch {
		case m.Blocked && len(m.Alerts) > 0:
			became += ", and not wholly taken over"
		case m.Blocked:
			became = "not taken over"
		case len(m.Alerts) > 0:
			mapped++
		}
		fmt.Fprintf(&b, "%s: %s\n", rule, became)
		for _, note := range m.Notes {
			b.WriteString(indent + wrap(printable(note), width(w), indent) + "\n")
		}
	}
	for _, g := range imported.Empty {
		fmt.Fprintf(&b, "%s: no rules\n", printable(g))
	}
	if len(imported.Remarks) > 0 {
		b.WriteString("Not read\n")
		for _, remark := range imported.Remarks {
			b.WriteString("  " + wrap(printable(remark), width(w), "  ") + "\n")
		}
	}
	fmt.Fprintf(&b, "%d of %s became %s.\n", mapped, plural(len(imported.Rules), "rule"), plural(len(alerts), "alert"))
	_, err := io.WriteString(w, b.String())
	return err
}
