package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests of this file are about the tree itself: which package may know what.
// They apply to the code that ships. Tests may import what they need.

const module = "hubwatch/handlers"

// ranks says how the packages stand above each other, by folder. A package
// imports only packages of a lower rank. So the code that decides about events
// can be read, tested and trusted without the code that carries them. A package
// in a folder below one of these has the rank of that folder, unless it has a
// rank of its own. The stand-ins below local have one, because they know nothing
// of the code that they test.
var ranks = map[string]int{
	".": 8, "hubwatch": 8, "consoleapp": 8, "local": 8, "tools": 8, "reliability": 8, "browser": 8, "infra": 8, "bench": 8,
	"doctor": 7,
	"app":    6,
	"judge":  5, "cases": 5, "fleet": 5, "custom": 5, "notify": 5, "console": 6,
	"detector": 4, "relay": 4, "table": 4, "topic": 4, "host": 4, "export": 4,
	"remedy": 3, "verdict": 3, "coverage": 3,
	"connection": 2, "alert": 2,
	"event": 1,
	"reach": 0, "secret": 0, "version": 0, "window": 0,
	"scan": -1,

	"local/functions": 2, "local/eventgrid": 1, "local/azurite": 1, "local/netjson": 0, "local/loopback": 0,
}

// source is a package as its files have it, without its tests.
type source struct {
	folder string // below handlers, "." for handlers itself
	files  map[string]*ast.File
}

// imports returns the import paths of the package, each with a file that has it.
func (s source) imports() map[string]string {
	imports := map[string]string{}
	for name, file := range s.files {
		for _, spec := range file.Imports {
			if p, err := strconv.Unquote(spec.Path.Value); err == nil {
				imports[p] = name
			}
		}
	}
	return imports
}

// tree reads all packages below handlers.
func tree(t *testing.T) []source {
	t.Helper()
	packages := map[string]source{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		folder := path.Dir(name)
		if packages[folder].files == nil {
			packages[folder] = source{folder, map[string]*ast.File{}}
		}
		packages[folder].files[name] = file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.SortedFunc(maps.Values(packages), func(a, b source) int { return strings.Compare(a.folder, b.folder) })
}

// rank returns where a folder stands, and whether it is known.
func rank(folder string) (int, bool) {
	if r, ok := ranks[folder]; ok {
		return r, true
	}
	top, _, _ := strings.Cut(folder, "/")
	r, ok := ranks[top]
	return r, ok
}

// top returns the first part of a folder's path.
func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range tree(t) {
		own, ok := rank(p.folder)
		if !ok {
			t.Errorf("handlers/%s is new: say in ranks of this test, and in docs/design.md, where it stands", p.folder)
			continue
		}
		for imported, file := range p.imports() {
			folder, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if top(folder) == top(p.folder) {
				continue // Neighbours. The compiler refuses circles.
			}
			if other, ok := rank(folder); ok && other >= own {
				t.Errorf("handlers/%s imports handlers/%s. Imports point down the list of docs/design.md, "+
					"so that each room can be changed without those above it: what both need belongs further down, or app hands it over", file, folder)
			}
		}
	}
}

// TestDetectorsCannotTalk looks through all packages that the deciding packages
// are made of, libraries included.
func TestDetectorsCannotTalk(t *testing.T) {
	const why = "What decides about events is pure, so that a case file says all there is to know about what it does, " +
		"and so that no event can make it reach out: the network is for host and table"
	for _, name := range []string{"event", "connection", "alert", "remedy", "verdict", "coverage", "detector", "custom", "relay"} {
		root := module + "/" + name
		for dependency, chain := range dependencies(t, root) {
			if dependency == "net/http" || strings.HasPrefix(dependency, "github.com/Azure/") || strings.HasPrefix(dependency, "github.com/AzureAD/") {
				t.Errorf("handlers/%s depends on %s (%s). %s", name, dependency, strings.Join(chain, " -> "), why)
			}
		}
	}
}

// TestHandlerLinksOnlyWhatItNeeds looks through everything that the deployed handler
// is made of.
func TestHandlerLinksOnlyWhatItNeeds(t *testing.T) {
	forbidden := map[string]string{
		module + "/local":              "a stand-in has no place in production",
		module + "/cases":              "cases are for tests",
		module + "/hubwatch":           "the command is a program of its own",
		module + "/console":            "pages are served where no event is judged",
		"github.com/coreos/go-oidc":    "nobody signs in to the handler",
		module + "/doctor":             "the doctor is a part of the command",
		module + "/tools":              "tools are for make",
		module + "/bench":              "it only measures",
		"net/http/httptest":            "it is for tests",
		"testing":                      "it is for tests",
		"github.com/spf13/cobra":       "the host starts the handler without arguments",
		"github.com/google/go-cmp/cmp": "it is for tests",
		"gonum.org/v1/plot":            "it draws pictures for the documentation",
		"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager": "only the doctor asks Azure Resource Manager",
	}
	for dependency, chain := range dependencies(t, module) {
		for library, why := range forbidden {
			if dependency == library || strings.HasPrefix(dependency, library+"/") {
				t.Errorf("the handler links %s (%s): %s", dependency, strings.Join(chain, " -> "), why)
			}
		}
	}
}

// TestHandlerWithoutCustomAlerts checks that the tag by which make app builds a handler
// without custom alerts leaves out what only they need.
func TestHandlerWithoutCustomAlerts(t *testing.T) {
	const library = "cel.dev/cel-go/cel"
	if dependencies(t, module)[library] == nil {
		t.Errorf("the handler does not link %s, and so judges no custom alert", library)
	}
	for dependency, chain := range dependencies(t, module, "-tags=nocel") {
		if strings.HasPrefix(dependency, "cel.dev/") || strings.HasPrefix(dependency, "github.com/antlr4-go/") {
			t.Errorf("with -tags nocel the handler links %s (%s)", dependency, strings.Join(chain, " -> "))
		}
	}
}

// TestHostImportsLittle checks that the protocol of the Functions host knows nothing
// of what hubwatch does with events.
func TestHostImportsLittle(t *testing.T) {
	for _, p := range tree(t) {
		if p.folder != "host" {
			continue
		}
		for imported, file := range p.imports() {
			library := strings.Contains(strings.Split(imported, "/")[0], ".")
			switch {
			case imported == module+"/secret", imported == module+"/scan", strings.HasPrefix(imported, "github.com/go-json-experiment/json"):
			case library, strings.HasPrefix(imported, module):
				t.Errorf("handlers/%s imports %s: host imports the standard library, the JSON package, secret and scan alone", file, imported)
			}
		}
	}
}

// dependencies returns all that a package is made of, each with the imports that
// lead to it.
func dependencies(t *testing.T, root string, flags ...string) map[string][]string {
	t.Helper()
	args := slices.Concat([]string{"list", "-deps", "-json=ImportPath,Imports,ImportMap"}, flags, []string{root})
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
			ImportMap  map[string]string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for _, imported := range p.Imports {
			if vendored, ok := p.ImportMap[imported]; ok {
				imported = vendored
			}
			imports[p.ImportPath] = append(imports[p.ImportPath], imported)
		}
	}
	chains := map[string][]string{root: {root}}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range imports[queue[0]] {
			if chains[imported] == nil {
				chains[imported] = append(slices.Clone(chains[queue[0]]), imported)
				queue = append(queue, imported)
			}
		}
	}
	if len(chains) < 2 {
		t.Fatalf("go list says that %s imports nothing", root)
	}
	return chains
}

// TestDetectorsHaveNoSurroundings looks for code that would make the outcome
// depend on when and where an event is judged.
func TestDetectorsHaveNoSurroundings(t *testing.T) {
	forbidden := map[string]string{
		"os": "an environment", "os/exec": "processes", "net": "a network", "log": "a log", "log/slog": "a log",
		"math/rand": "chance", "math/rand/v2": "chance", "crypto/rand": "chance",
	}
	for _, p := range tree(t) {
		if !slices.Contains([]string{"secret", "scan", "event", "connection", "alert", "remedy", "verdict", "coverage", "detector", "custom", "relay"}, p.folder) {
			continue
		}
		for imported, file := range p.imports() {
			if what, ok := forbidden[imported]; ok {
				t.Errorf("handlers/%s imports %s. The deciding packages have no use for %s: the same event gives the same alerts, "+
					"at any time and anywhere", file, imported, what)
			}
		}
		for name, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := call.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, call.Sel.Name) {
					t.Errorf("handlers/%s uses time.%s. Time is that of the event, so that a redelivery gives the same alert", name, call.Sel.Name)
				}
				return true
			})
		}
	}
}

// TestWhoKnowsAzure checks who may import which of Azure's libraries.
func TestWhoKnowsAzure(t *testing.T) {
	const sdk = "github.com/Azure/azure-sdk-for-go/sdk/"
	rules := []struct{ library, by, why string }{
		{sdk + "data/aztables", "handlers/table", "all others know the interfaces of alert, so that alerts can be kept elsewhere and tests need no Azure"},
		{sdk + "azidentity", "handlers/table", "credentials are handled in one place"},
		{sdk + "azcore", "handlers/table, handlers/topic, handlers/notify", "its errors and retries are those of their clients"},
		{sdk + "messaging/eventgrid/azeventgrid", "handlers/topic", "nothing else publishes"},
		{sdk + "monitor/ingestion/azlogs", "handlers/notify", "nothing else sends rows"},
		{sdk + "messaging/eventgrid/azsystemevents", "tests alone", "event types are constants of handlers/event, which a test compares with the library: it brings an HTTP client"},
	}
	for _, p := range tree(t) {
		if p.folder == "doctor" || p.folder == "bench" {
			continue // The one asks Azure Resource Manager, the other compares with the library. Neither is deployed.
		}
		for imported, file := range p.imports() {
			if !strings.HasPrefix(imported, "github.com/Azure") {
				continue
			}
			known := false
			for _, rule := range rules {
				if imported != rule.library && !strings.HasPrefix(imported, rule.library+"/") {
					continue
				}
				known = true
				if !slices.Contains(strings.Split(rule.by, ", "), "handlers/"+p.folder) {
					t.Errorf("handlers/%s imports %s, which may be imported by %s: %s", file, imported, rule.by, rule.why)
				}
			}
			if !known {
				t.Errorf("handlers/%s imports %s: say in rules of this test which package may, and why", file, imported)
			}
		}
	}
}

// TestWhoKnowsTheHost checks who may name the variable by which the Functions host
// says where to listen.
func TestWhoKnowsTheHost(t *testing.T) {
	for _, p := range tree(t) {
		if top(p.folder) == "host" || top(p.folder) == "local" {
			continue // The one reads it; the other stands in for the host and sets it.
		}
		for name, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if ok && strings.Contains(literal.Value, "FUNCTIONS_CUSTOMHANDLER_PORT") {
					t.Errorf("handlers/%s names FUNCTIONS_CUSTOMHANDLER_PORT. Only handlers/host knows the Functions host, so that "+
						"there is one place to change when the host does: use host.PortVariable", name)
				}
				return true
			})
		}
	}
}

// TestPackageComments checks that a reader who opens a folder is told what it is.
func TestPackageComments(t *testing.T) {
	for _, p := range tree(t) {
		var with []string
		for name, file := range p.files {
			if file.Doc == nil {
				continue
			}
			with = append(with, name)
			begin := "Package " + file.Name.Name + " "
			if file.Name.Name == "main" {
				begin = "Command "
			}
			if text := file.Doc.Text(); !strings.HasPrefix(text, begin) || !strings.Contains(text, ".") {
				t.Errorf("handlers/%s: the package comment begins %.40q: want a sentence that begins %q, as go doc shows it", name, text, begin)
			}
		}
		switch len(with) {
		case 1:
		case 0:
			t.Errorf("handlers/%s has no package comment: say in one sentence what the package is", p.folder)
		default:
			slices.Sort(with)
			t.Errorf("handlers/%s has package comments in %v: go doc joins them in no order that reads well; keep one", p.folder, with)
		}
	}
}

// TestSourcesAreText looks for files that are no sources, for example a program that go
// build has left in the folder of its package.
func TestSourcesAreText(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(content, 0) >= 0 {
			t.Errorf("handlers/%s is not text: take it out", filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
