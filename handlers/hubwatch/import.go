package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

Each alert is written into functions/<Name>/alert.json. Run again, it changes
nothing. A file that somebody edited is left as it is. An alert that hubwatch
ships switched off gets the range of the file, and is switched on.`,
		Example: `  hubwatch import deviceSecurityGroups terraform.tfstate
  hubwatch import deviceSecurityGroups groups.json --dry-run`,
		Args: one("file"),
		RunE: func(command *cobra.Command, args []string) error {
			data, err := readArgument(command, args[0])
			if err != nil {
				return err
			}
			imported, err := custom.Import(data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			out := command.OutOrStdout()
			files, err := plan(folder, imported.Alerts)
			if err != nil {
				return err
			}
			if err := writeImported(out, imported); err != nil {
				return err
			}
			return writeAlerts(out, files, dry)
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
	what    string // became of it, for people
}

// plan compares alerts with the files that are there.
func plan(folder string, alerts []custom.Alert) ([]placed, error) {
	if _, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("want the folder of the functions: %w; --functions names another one", err)
	}
	var files []placed
	for _, a := range alerts {
		f := placed{path: filepath.Join(folder, a.Name, custom.FileName)}
		content := custom.Format(a)
		shipped, ships := custom.Ready(a.Name)
		switch have, err := os.ReadFile(f.path); {
		case errors.Is(err, fs.ErrNotExist):
			f.content, f.what = content, "new"
		case err != nil:
			return nil, err
		case bytes.Equal(have, content):
			f.what = "unchanged"
		case ships && bytes.Equal(have, custom.Format(shipped)):
			f.content, f.what = content, "was shipped with hubwatch, and has the range of the file now"
		default:
			f.what = "left as it is, because somebody edited it"
		}
		files = append(files, f)
	}
	return files, nil
}

// writeAlerts writes the files, and says what became of each.
func writeAlerts(w io.Writer, files []placed, dry bool) error {
	written := 0
	for _, f := range files {
		if f.content != nil && !dry {
			if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil { // #nosec G301 -- sources are for all to read
				return err
			}
			if err := os.WriteFile(f.path, f.content, 0o644); err != nil { // #nosec G306 -- sources are for all to read
				return err
			}
			written++
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", printable(filepath.ToSlash(f.path)), f.what); err != nil {
			return err
		}
	}
	switch {
	case dry:
		fmt.Fprintln(w, "Nothing was written.")
	case written > 0:
		fmt.Fprintln(w, "Next: hubwatch rules check, then make generate.")
	}
	return nil
}

// writeImported writes what became of each rule, group by group.
func writeImported(w io.Writer, imported custom.Imported) error {
	const indent = "    "
	var b strings.Builder
	heading, mapped := "", 0
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
			mapped++
		}
		fmt.Fprintf(&b, "%s: %s\n", rule, became)
		for _, note := range m.Notes {
			b.WriteString(indent + wrap(printable(note), width(w), indent) + "\n")
		}
	}
	if len(imported.Remarks) > 0 {
		b.WriteString("Not read\n")
		for _, remark := range imported.Remarks {
			b.WriteString("  " + wrap(printable(remark), width(w), "  ") + "\n")
		}
	}
	fmt.Fprintf(&b, "%d of %s became %s.\n", mapped, plural(len(imported.Rules), "rule"), plural(len(imported.Alerts), "alert"))
	_, err := io.WriteString(w, b.String())
	return err
}
