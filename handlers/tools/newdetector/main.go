// Command newdetector begins a detector: it writes the Go file and two cases,
// with what is still to fill in, and adds the detector to the list. The new files
// build. The tests of handlers/detector say what is missing. Run it in the root
// of the repository.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"
)

func main() {
	if err := run(".", os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "newdetector:", err)
		os.Exit(1)
	}
}

// folder is the folder of the detectors, below the root.
const folder = "handlers/detector"

// run writes the files of the detector that args name, below root. It writes
// nothing if a new detector may not have the name.
func run(root string, args []string, stdout io.Writer) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("want the name of the detector: make detector NAME=CertificateRenamed")
	}
	name := args[0]
	if err := allowed(root, name); err != nil {
		return err
	}
	files, err := skeleton(root, name)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, files[path], 0o644); err != nil {
			return err
		}
		fmt.Fprintln(stdout, path)
	}
	fmt.Fprintf(stdout, "\nFill in what is empty there. Then:\n"+
		"  go test ./%s -run TestCases/%s -update   writes what the cases want: read it\n"+
		"  make generate\n  go test ./%s\n", folder, name, folder)
	return nil
}

// form says what a name looks like. The name is an exported Go identifier and
// the name of an event subscription, which has 3 to 64 characters.
var form = regexp.MustCompile(`^[A-Z][A-Za-z]{2,63}$`)

// allowed returns why a new detector cannot have a name. It returns nil if it
// can.
func allowed(root, name string) error {
	if !form.MatchString(name) {
		return fmt.Errorf("%q is not a name: want 3 to 64 letters without accents, the first a capital", name)
	}
	// Go would leave the file out of the package on most systems, or always.
	nowhere := build.Context{GOOS: "none", GOARCH: "none", Compiler: "gc", OpenFile: func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("package detector\n")), nil
	}}
	file := fileName(name)
	if everywhere, err := nowhere.MatchFile("", file); err != nil || !everywhere || strings.HasSuffix(file, "_test.go") {
		return fmt.Errorf("%s would be in %s, which Go does not read always (https://pkg.go.dev/cmd/go#hdr-Build_constraints)", name, file)
	}
	// Some file systems, and the paths of functions, ignore letter case.
	for _, names := range []string{folder + "/*.go", folder + "/testdata/*", "functions/*"} {
		found, err := filepath.Glob(filepath.Join(root, names))
		if err != nil {
			return err
		}
		for _, path := range found {
			if base := filepath.Base(path); strings.EqualFold(base, name) || strings.EqualFold(base, file) {
				return fmt.Errorf("%s is there already", path)
			}
		}
	}
	declared, err := declarations(filepath.Join(root, folder))
	if err != nil {
		return err
	}
	if file := declared[name]; file != "" {
		return fmt.Errorf("%s declares %s already", file, name)
	}
	return nil
}

// declarations returns what the files of a package declare, tests included, each
// with its file.
func declarations(folder string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	declared := map[string]string{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					declared[d.Name.Name] = path
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						declared[s.Name.Name] = path
					case *ast.ValueSpec:
						for _, name := range s.Names {
							declared[name.Name] = path
						}
					}
				}
			}
		}
	}
	return declared, nil
}

// fileName returns the name of a detector's file: words in lower case with
// underscores between them, as in iot_hub_key_listed.go.
func fileName(name string) string {
	var b strings.Builder
	letters := []rune(strings.ReplaceAll(name, "IoT", "Iot"))
	for i, letter := range letters {
		if i > 0 && unicode.IsUpper(letter) && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(letter))
	}
	return b.String() + ".go"
}

var (
	//go:embed detector.go.tmpl
	detectorText string
	//go:embed case.json.tmpl
	caseText string

	detectorTemplate = template.Must(template.New("detector.go.tmpl").Parse(detectorText))
	caseTemplate     = template.Must(template.New("case.json.tmpl").Parse(caseText))
)

// skeleton returns the files of a new detector by their paths below root, and the
// list of detectors with the new one at its end.
func skeleton(root, name string) (map[string][]byte, error) {
	source, err := fill(detectorTemplate, map[string]string{"Name": name})
	if err != nil {
		return nil, err
	}
	if source, err = format.Source(source); err != nil {
		return nil, err
	}
	files := map[string][]byte{folder + "/" + fileName(name): source}
	for file, values := range map[string]map[string]string{
		"fires-event-grid-schema": {"EventType": "ResourceWriteSuccess", "ID": "000000000000", "Outcome": "alert"},
		"silent-opposite-outcome": {"EventType": "ResourceWriteFailure", "ID": "000000000001", "Outcome": "not delivered"},
	} {
		if files[folder+"/testdata/"+name+"/"+file+".json"], err = fill(caseTemplate, values); err != nil {
			return nil, err
		}
	}
	const list = folder + "/all.go"
	old, err := os.ReadFile(filepath.Join(root, list))
	if err != nil {
		return nil, err
	}
	files[list], err = listed(old, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	return files, nil
}

func fill(t *template.Template, values map[string]string) ([]byte, error) {
	var b bytes.Buffer
	err := t.Execute(&b, values)
	return b.Bytes(), err
}

// listed returns a Go file with a name added at the end of its list All. It is an
// error if the file has no such list.
func listed(source []byte, name string) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	end := -1
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 && spec.Names[0].Name == "All" && len(spec.Values) == 1 {
			if list, ok := spec.Values[0].(*ast.CompositeLit); ok {
				end = files.Position(list.Rbrace).Offset
			}
		}
		return true
	})
	if end < 0 {
		return nil, errors.New("no list All")
	}
	return format.Source(slices.Concat(source[:end], []byte("\t"+name+",\n"), source[end:]))
}
