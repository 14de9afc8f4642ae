package infra

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

// The tests of this file read every shell script that only users and workflows
// run: the commands in the pages, in the Makefile, in the workflows and in
// .ci/run.

// parseShell reads a script. name is where it stands, for errors.
func parseShell(script, name string, variant syntax.LangVariant) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(variant)).Parse(strings.NewReader(script), name)
}

// shellBlocks returns the blocks of commands of a page.
func shellBlocks(page string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// readFile returns the text of a file of the repository.
func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPagesHaveShell reads the commands of the pages. It does not list the root, whose folder
// build changes each time something is built: then Go would run the tests of this package again,
// which take long. TestPagesOfTheRoot of handlers knows of another page.
func TestPagesHaveShell(t *testing.T) {
	count := 0
	for _, pattern := range []string{"README.md", "SECURITY.md", "docs/*.md", ".github/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			page, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range shellBlocks(string(page)) {
				count++
				// A user may have any shell.
				if _, err := parseShell(block, file, syntax.LangPOSIX); err != nil {
					t.Errorf("%v in:\n%s", err, block)
				}
			}
		}
	}
	if count < 5 {
		t.Errorf("the pages have %d blocks of commands: does this test still find them?", count)
	}
}

// makeTargets returns the targets of the Makefile that make help names.
func makeTargets(t *testing.T) (targets []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^## ([a-z]+): `).FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	if len(targets) < 10 {
		t.Fatalf("the Makefile names %q: does this test still find its targets?", targets)
	}
	return targets
}

// recipe returns the commands of a target, and of the targets that it needs, as
// make gives them to the shell.
func recipe(t *testing.T, makefile, target string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "--dry-run", "--always-make", "-f", makefile, target, "APP=hubwatch-contoso", "NAME=CertificateRenamed")
	command.Dir = root
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("make --dry-run %s: %v\n%s", target, err, stderr.String())
	}
	return string(out)
}

// TestRecipesAreShell reads the recipes of all targets, as make expands them.
func TestRecipesAreShell(t *testing.T) {
	for _, target := range makeTargets(t) {
		commands := recipe(t, "Makefile", target)
		if strings.TrimSpace(commands) == "" {
			t.Errorf("make %s runs nothing", target)
		}
		if _, err := parseShell(commands, "make "+target, syntax.LangPOSIX); err != nil {
			t.Errorf("%v in:\n%s", err, commands)
		}
	}
}

// TestBrokenRecipeIsFound plants mistakes that make itself does not notice.
func TestBrokenRecipeIsFound(t *testing.T) {
	makefile := readFile(t, "Makefile")
	for _, test := range []struct{ name, target, old, new string }{
		{"an if that does not end", "audit", "\tfi; \\\n", "\t\\\n"},
		{"a quote that does not end", "publish", `--name "$$APP" --src`, `--name "$$APP --src`},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(makefile, test.old, test.new, 1)
			if changed == makefile {
				t.Fatalf("the Makefile has no %q to change", test.old)
			}
			file := filepath.Join(t.TempDir(), "Makefile")
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := parseShell(recipe(t, file, test.target), test.target, syntax.LangPOSIX); err == nil {
				t.Error("it is not noticed")
			}
		})
	}
}

// makes returns the arguments of each call of make in a script.
func makes(script *syntax.File) (calls []string) {
	syntax.Walk(script, func(node syntax.Node) bool {
		if call, ok := node.(*syntax.CallExpr); ok && len(call.Args) > 0 && call.Args[0].Lit() == "make" {
			var words []string
			for _, word := range call.Args[1:] {
				words = append(words, word.Lit())
			}
			calls = append(calls, strings.Join(words, " "))
		}
		return true
	})
	return calls
}

// TestWorkflowsRunWhatCIRuns checks that the workflows and .ci/run check a change
// with the same commands.
func TestWorkflowsRunWhatCIRuns(t *testing.T) {
	script, err := parseShell(readFile(t, ".ci/run"), ".ci/run", syntax.LangBash)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, commands := range readWorkflows(t)["ci.yml"].scripts() {
		script, err := parseShell(commands, "ci.yml", syntax.LangBash)
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, makes(script)...)
	}
	wanted := makes(script)
	if len(wanted) == 0 {
		t.Fatal(".ci/run makes nothing")
	}
	for _, want := range wanted {
		if !slices.Contains(have, want) {
			t.Errorf(".ci/run makes %q, ci.yml only %q", want, have)
		}
	}
	s := newScript(t)
	for _, want := range wanted {
		s.run(fmt.Sprintf("make %s", want))
	}
	for _, fault := range s.faults {
		t.Errorf(".ci/run: %s", fault)
	}
}
