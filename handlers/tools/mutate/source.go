package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// program is packages with their types.
type program struct {
	fset         *token.FileSet
	info         *types.Info
	declarations []*declaration // in the order of the source
}

// declaration is a function, a method, a type or a variable at the top of a
// package. Constants are not declarations here: the code that uses them is
// mutated.
type declaration struct {
	file   *file
	name   string // of a method with its type: Trigger.Matches
	object types.Object
	node   ast.Node
}

// file is a file of a package, by its path below the root of the repository.
type file struct {
	path, text string
	pkg        *types.Package
}

// change puts other in place of a site. It returns the lines of the site before
// and after, each joined into one line, and the number of the first line.
func (f *file) change(s site, other string) (line int, before, after string) {
	start := strings.LastIndexByte(f.text[:s.start], '\n') + 1
	rest, _, _ := strings.Cut(f.text[s.end:], "\n")
	join := func(lines string) string { return strings.Join(strings.Fields(lines), " ") }
	return strings.Count(f.text[:s.start], "\n") + 1,
		join(f.text[start:s.end] + rest),
		join(f.text[start:s.start] + other + rest)
}

// load reads the packages in folders below root. A package may import the
// packages before it.
func load(root string, folders ...string) (*program, error) {
	p := newProgram()
	known, err := p.imports(root, folders)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		pkg, err := build.ImportDir(filepath.Join(root, folder), 0)
		if err != nil {
			return nil, err
		}
		var files []*file
		for _, name := range pkg.GoFiles {
			text, err := os.ReadFile(filepath.Join(root, folder, name))
			if err != nil {
				return nil, err
			}
			files = append(files, &file{path: folder + "/" + name, text: string(text)})
		}
		name := "hubwatch/" + folder
		if known.checked[name], err = p.add(name, files, known); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newProgram() *program {
	return &program{fset: token.NewFileSet(), info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
	}}
}

// packages is an importer. It has some packages from their source, so that a name
// is the same object in all of them. It asks another importer for the rest.
type packages struct {
	types.Importer
	checked map[string]*types.Package
}

func (p packages) Import(name string) (*types.Package, error) {
	if pkg, ok := p.checked[name]; ok {
		return pkg, nil
	}
	return p.Importer.Import(name)
}

// imports returns an importer for the packages in folders below root. It takes
// what they import in compiled form.
func (p *program) imports(root string, folders []string) (packages, error) {
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}")
	for _, folder := range folders {
		list.Args = append(list.Args, "./"+folder)
	}
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		return packages{}, fmt.Errorf("go list: %w", err)
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), "=")
		compiled[name] = path
	}
	lookup := func(name string) (io.ReadCloser, error) { return os.Open(compiled[name]) }
	return packages{importer.ForCompiler(p.fset, "gc", lookup), map[string]*types.Package{}}, nil
}

// add adds the declarations of a package.
func (p *program) add(name string, files []*file, known types.Importer) (*types.Package, error) {
	var parsed []*ast.File
	for _, f := range files {
		syntax, err := parser.ParseFile(p.fset, f.path, f.text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, syntax)
	}
	pkg, err := (&types.Config{Importer: known}).Check(name, p.fset, parsed, p.info)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		f.pkg = pkg
		for _, decl := range parsed[i].Decls {
			p.declare(f, decl)
		}
	}
	return pkg, nil
}

func (p *program) declare(f *file, decl ast.Decl) {
	add := func(name string, ident *ast.Ident, node ast.Node) {
		p.declarations = append(p.declarations, &declaration{f, name, p.info.Defs[ident], node})
	}
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv != nil {
			name = strings.TrimPrefix(types.ExprString(decl.Recv.List[0].Type), "*") + "." + name
		}
		add(name, decl.Name, decl)
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok {
				add(s.Name.Name, s.Name, s)
			}
			if s, ok := spec.(*ast.ValueSpec); ok && decl.Tok == token.VAR {
				add(s.Names[0].Name, s.Names[0], s)
			}
		}
	}
}

// uses returns the declarations with the given names, and all declarations that
// they use, directly or not. Prose uses nothing.
func (p *program) uses(names ...string) map[*declaration]bool {
	byObject := map[types.Object]*declaration{}
	var queue []*declaration
	for _, d := range p.declarations {
		byObject[d.object] = d
		if slices.Contains(names, d.file.pkg.Name()+"."+d.name) {
			queue = append(queue, d)
		}
	}
	used := map[*declaration]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		user := queue[0]
		if used[user] {
			continue
		}
		used[user] = true
		ast.PreorderStack(user.node, nil, func(n ast.Node, stack []ast.Node) bool {
			if isProse(n, stack) {
				return false
			}
			if ident, ok := n.(*ast.Ident); ok && byObject[p.info.Uses[ident]] != nil {
				queue = append(queue, byObject[p.info.Uses[ident]])
			}
			return true
		})
		for _, d := range p.declarations {
			if d.file.pkg == user.file.pkg && d.name == user.name+".UnmarshalJSONFrom" {
				queue = append(queue, d) // No name leads to it: the JSON package calls it.
			}
		}
	}
	return used
}
