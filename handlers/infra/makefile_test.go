package infra

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestHelp checks that make help lists every target, in lines that fit a terminal.
func TestHelp(t *testing.T) {
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "help")
	command.Dir = root
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("make help: %v\n%s", err, out)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
		if m := regexp.MustCompile(`^  ([a-z]+) +\S`).FindStringSubmatch(line); m != nil {
			listed[m[1]] = true
		}
	}
	makefile := readFile(t, "Makefile")
	phony := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\.PHONY: (.+)$`).FindAllStringSubmatch(makefile, -1) {
		for name := range strings.FieldsSeq(m[1]) {
			phony[name] = true
		}
	}
	targets := newScript(t).targets
	if !maps.Equal(listed, targets) || !maps.Equal(phony, targets) {
		t.Errorf("make help lists %v, .PHONY has %v, and the targets are %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(phony)), slices.Sorted(maps.Keys(targets)))
	}
}

// TestFuzzRunsAll runs make fuzz with a stand-in for the Go command, and compares
// what it would fuzz with the fuzz tests of the sources.
func TestFuzzRunsAll(t *testing.T) {
	folder := t.TempDir()
	calls := filepath.Join(folder, "calls")
	tools(t, folder, map[string]string{"go": fmt.Sprintf(`for last; do :; done
case "$*" in
*-list*) sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$last"/*_test.go; echo "ok $last" ;;
*) printf '%%s %%s %%s\n' "$last" "$5" "$7" >> %s ;;
esac`, calls)})
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "fuzz", "FUZZTIME=7s")
	command.Dir, command.Env = root, append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("make fuzz: %v\n%s", err, out)
	}
	written, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	err = filepath.WalkDir(filepath.Join(root, "handlers"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				want = append(want, fmt.Sprintf("./%s ^%s$ 7s", folder, f.Name.Name))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(strings.TrimSpace(string(written)), "\n")
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < 5 {
		t.Errorf("make fuzz runs\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// TestFuzzStops checks that make fuzz fails if the tests of a package do not
// compile, and does not skip the package.
func TestFuzzStops(t *testing.T) {
	folder := t.TempDir()
	tools(t, folder, map[string]string{"go": "exit 1"})
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "fuzz")
	command.Dir, command.Env = root, append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := command.CombinedOutput(); err == nil {
		t.Errorf("it does not fail:\n%s", out)
	}
}
