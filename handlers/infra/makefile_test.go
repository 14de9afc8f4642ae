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

// makeParameters runs make parameters with a stand-in for the Azure CLI, and returns what
// it says, the file that it writes, and its error.
func makeParameters(t *testing.T, file, app, hubs string) (out []byte, written string, err error) {
	t.Helper()
	folder := t.TempDir()
	tools(t, folder, map[string]string{"az": `case "$*" in
"iot hub show --name contoso-hub "*) echo westeurope ;;
"iot hub list --resource-group rg-iot "*) printf '` + hubs + `' ;;
"ad signed-in-user show "*) printf '00000000-0000-0000-0000-0000000000a0\r\n' ;;
*) echo "az $*" >&2; exit 1 ;;
esac`})
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "parameters", "PARAMETERS="+file, "APP="+app, "RG=rg-iot", "HUB=contoso-hub")
	command.Dir, command.Env = root, append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err = command.CombinedOutput()
	text, _ := os.ReadFile(file)
	return out, string(text), err
}

// TestMakeParameters checks that the file of parameters is one of main.bicep, and that no
// run changes a file that is there.
func TestMakeParameters(t *testing.T) {
	const hub = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"
	file := filepath.Join(t.TempDir(), "my.bicepparam")
	out, written, err := makeParameters(t, file, "hubwatch-contoso", hub+`\r\n`+hub+`-west\r\n`)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, parameters, _ := strings.Cut(written, "using 'main.bicep'\n")
	want := "\nparam name = 'hubwatch-contoso'\nparam location = 'westeurope'\nparam iotHubs = [\n  '" + hub + "'\n  '" + hub + "-west'\n]\n" +
		"// Object ids of who may read the alerts, and of who may close them as well.\nparam readers = ['00000000-0000-0000-0000-0000000000a0']\nparam responders = []\n"
	if parameters != want {
		t.Errorf("the file is\n%s\nwant\n%s", written, want)
	}
	main := newScript(t).templates["main.bicep"]
	for _, m := range regexp.MustCompile(`(?m)^param (\w+) = `).FindAllStringSubmatch(written, -1) {
		if d := main.named(m[1]); d == nil || d.keyword != "param" {
			t.Errorf("main.bicep has no parameter %s", m[1])
		}
	}
	if out, again, err := makeParameters(t, file, "hubwatch-other", hub+`\n`); err == nil || again != written {
		t.Errorf("a second run: %v, %s; the file is\n%s", err, out, again)
	}
	for name, test := range map[string]struct{ app, hubs, want string }{
		"no hub":            {"hubwatch-contoso", "", "there is no IoT hub"},
		"no name":           {"", hub, "needs three names"},
		"a name with quote": {"hub'watch", hub, "needs three names"},
	} {
		file := filepath.Join(t.TempDir(), "my.bicepparam")
		if out, written, err := makeParameters(t, file, test.app, test.hubs); err == nil || written != "" || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %v, %s; the file is %q", name, err, out, written)
		}
	}
}
