// Command example copies the sources of hubwatch to build/demo and adds two custom alerts to
// the copy: the one of README.md, by the steps that the README gives its readers, and one
// that counts and ships switched off. make demo shows them there, so that the sources stay as
// they are. Run the command in the root of the repository.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if err := run(context.Background(), ".", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// folder is where the copy is made, below the root of the repository. What was there is
// removed.
const folder = "build/demo"

// sources are the files and folders of the repository that the copy needs.
var sources = []string{"README.md", "Makefile", "go.mod", "go.sum", "host.json", "docs", "functions", "handlers", "infra"}

// counted is the file of the alert that counts.
const counted = "functions/UnauthorizedOperations/alert.json"

// run makes the copy and adds the alerts. It says to out which they are. An alert that the
// sources have already, since a reader of the README has added it, is left as it is. The
// error says which step of the README does not work, and what it printed.
func run(ctx context.Context, root string, out io.Writer) error {
	copied := filepath.Join(root, folder)
	if err := os.RemoveAll(copied); err != nil {
		return err
	}
	for _, name := range sources {
		if err := duplicate(filepath.Join(root, name), filepath.Join(copied, name)); err != nil {
			return err
		}
	}
	page, err := os.ReadFile(filepath.Join(copied, "README.md"))
	if err != nil {
		return err
	}
	e, err := read(page)
	if err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	if err := enable(filepath.Join(copied, counted)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, e.file)); err == nil {
		e.steps = []step{{commands: []string{"make generate"}}}
	}
	for _, s := range e.steps {
		if err := s.do(ctx, copied, e.file); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "A copy of the sources in %s has two more alerts: %s,\nwhich the README adds, and %s, which counts.\n\n", folder, name(e.file), name(counted))
	return err
}

// name returns the name of the alert in a file.
func name(file string) string { return filepath.Base(filepath.Dir(file)) }

// duplicate copies a file or a folder.
func duplicate(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// enable switches an alert on, as its owner does with an editor.
func enable(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, bytes.Replace(text, []byte(`"enabled": false`), []byte(`"enabled": true`), 1), 0o644)
}

// example is what the README says about adding an alert.
type example struct {
	file  string // that the reader writes, below the root of the repository
	steps []step // in order
}

// step is a block of the README: commands to type, or what the file has.
type step struct {
	commands []string
	content  string
}

// section is the heading in README.md under which the example stands.
const section = "## Add an alert of your own"

var (
	block     = regexp.MustCompile("(?ms)^```(json|sh)\n(.*?)^```$")
	alertFile = regexp.MustCompile("`(functions/\\w+/alert\\.json)`")
)

// read reads the example in the page.
func read(page []byte) (example, error) {
	_, text, found := strings.Cut(string(page), "\n"+section+"\n")
	if !found {
		return example{}, fmt.Errorf("there is no heading %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	file := alertFile.FindStringSubmatch(text)
	if file == nil {
		return example{}, fmt.Errorf("%q names no file", section)
	}
	e := example{file: file[1]}
	for _, b := range block.FindAllStringSubmatch(text, -1) {
		if b[1] == "json" {
			e.steps = append(e.steps, step{content: b[2]})
			continue
		}
		var s step
		for line := range strings.Lines(b[2]) {
			s.commands = append(s.commands, strings.TrimSpace(line))
		}
		e.steps = append(e.steps, s)
	}
	if len(e.steps) == 0 {
		return example{}, fmt.Errorf("%q has no commands", section)
	}
	return e, nil
}

// do does the step in the copy. A command that fails is an error with what it printed.
func (s step) do(ctx context.Context, root, file string) error {
	if s.content != "" {
		return os.WriteFile(filepath.Join(root, file), []byte(s.content), 0o644)
	}
	for _, line := range s.commands {
		c := exec.CommandContext(ctx, "sh", "-c", line) // #nosec G204 -- a line of README.md
		c.Dir = root
		// The copy shares what is compiled already with the sources.
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false -vet=off")
		said, err := c.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("%s: %w\n%s", line, err, said)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}
