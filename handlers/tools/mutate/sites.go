package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
)

// site is an expression that is mutated.
type site struct {
	start, end int      // where it stands in its file
	typ        string   // its type, as the file names it
	mutants    []string // what stands there instead, in one mutant each
}

// sites returns what can be mutated in a declaration, an expression before those
// inside it:
//
//	condition       negated; true and false, but only true for an operand of &&,
//	                and only false for an operand of ||
//	true, false     the other
//	named constant  the next one of its type in the file that declares it (the
//	                first after the last); a literal if there is no other
//	string          ""; the next string of the declaration in the same kind of
//	                place, for example behind return, or "mutant" without one
//	number          one more; one less
func (p *program) sites(d *declaration) (sites []site) {
	var literals []literal
	p.inspect(d, func(x ast.Expr, stack []ast.Node) {
		if l, ok := x.(*ast.BasicLit); ok && l.Kind == token.STRING {
			literals = append(literals, literalIn(l, stack))
		}
	})
	p.inspect(d, func(x ast.Expr, stack []ast.Node) {
		value := p.info.Types[x]
		if !value.IsValue() {
			return
		}
		s := site{
			start: p.fset.Position(x.Pos()).Offset,
			end:   p.fset.Position(x.End()).Offset,
			typ:   typeName(value.Type, d.file.pkg),
		}
		if value.Value != nil {
			s.mutants = p.otherConstants(x, stack, d.file.pkg, literals)
		} else if s.typ == "bool" {
			s.mutants = otherConditions(d.file.text[s.start:s.end], stack)
		}
		if len(s.mutants) > 0 {
			sites = append(sites, s)
		}
	})
	return sites
}

// inspect calls visit with each expression whose value counts, and with the
// nodes around it.
func (p *program) inspect(d *declaration, visit func(ast.Expr, []ast.Node)) {
	ast.PreorderStack(d.node, nil, func(n ast.Node, stack []ast.Node) bool {
		if isFixed(n) || isProse(n, stack) {
			return false
		}
		if x, ok := n.(ast.Expr); ok && p.counts(x, stack) {
			visit(x, stack)
		}
		return true
	})
}

// isFixed reports whether the language demands constants in n: a type, a tag, or
// a declaration of constants.
func isFixed(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.TypeSpec, *ast.Field, *ast.ArrayType:
		return true
	case *ast.GenDecl:
		return n.Tok == token.CONST
	}
	return false
}

// prose are the members that decide nothing, by their types: texts and commands for people,
// and the name by which a detector's cases are found.
var prose = map[string][]string{
	"Detector": {"Name", "Title", "Description", "Remediation", "Commands", "Limits"},
	"target":   {"what"},
}

func isProse(n ast.Node, stack []ast.Node) bool {
	member, ok := n.(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	of, ok := stack[len(stack)-1].(*ast.CompositeLit)
	return ok && of.Type != nil && slices.Contains(prose[types.ExprString(of.Type)], types.ExprString(member.Key))
}

// counts reports whether x has a value of its own that somebody looks at. It is
// false for the left side of an assignment, for the operand of a negation (the
// negation is mutated instead) and for results returned beside an error.
func (p *program) counts(x ast.Expr, stack []ast.Node) bool {
	if _, isParen := x.(*ast.ParenExpr); isParen {
		return false
	}
	switch parent := enclosing(stack).(type) {
	case *ast.AssignStmt:
		return !slices.Contains(parent.Lhs, x)
	case *ast.UnaryExpr:
		return parent.Op != token.NOT && parent.Op != token.AND
	case *ast.ReturnStmt:
		last := parent.Results[len(parent.Results)-1]
		isError := types.Identical(p.info.Types[last].Type, types.Universe.Lookup("error").Type())
		return x == last || !isError
	}
	return true
}

// enclosing returns the node around an expression. It skips parentheses.
func enclosing(stack []ast.Node) ast.Node {
	for _, n := range slices.Backward(stack) {
		if _, isParen := n.(*ast.ParenExpr); !isParen {
			return n
		}
	}
	return nil
}

func typeName(t types.Type, in *types.Package) string {
	return types.TypeString(types.Default(t), func(p *types.Package) string {
		if p == in {
			return ""
		}
		return p.Name()
	})
}

func otherConditions(text string, stack []ast.Node) []string {
	negated := "!(" + text + ")"
	if parent, ok := enclosing(stack).(*ast.BinaryExpr); ok && parent.Op == token.LAND {
		return []string{negated, "true"}
	} else if ok && parent.Op == token.LOR {
		return []string{negated, "false"}
	}
	return []string{negated, "true", "false"}
}

func (p *program) otherConstants(x ast.Expr, stack []ast.Node, in *types.Package, literals []literal) []string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			return literalIn(x, stack).others(literals)
		}
		return []string{x.Value + " + 1", x.Value + " - 1"}
	case *ast.Ident:
		return p.otherNames("", p.info.Uses[x], in)
	case *ast.SelectorExpr:
		return p.otherNames(types.ExprString(x.X)+".", p.info.Uses[x.Sel], in)
	}
	return nil
}

// literal is a string as it is written, with the kind of place where it stands.
type literal struct{ place, value string }

func literalIn(l *ast.BasicLit, stack []ast.Node) literal {
	place := "operand"
	switch parent := stack[len(stack)-1].(type) {
	case *ast.KeyValueExpr:
		place = "key"
		if parent.Value == l {
			place = "value of " + types.ExprString(parent.Key)
		}
	case *ast.ReturnStmt:
		place = "return"
	case *ast.CallExpr:
		place = "argument"
	case *ast.CompositeLit:
		place = "element"
	}
	return literal{place, l.Value}
}

// others returns what the mutants have instead of l; all are the strings of its
// declaration, in order.
func (l literal) others(all []literal) []string {
	other := `"mutant"`
	at := slices.Index(all, l)
	for i := range all {
		if next := all[(at+i)%len(all)]; next.place == l.place && next.value != l.value && next.value != `""` {
			other = next.value
			break
		}
	}
	if l.value == `""` {
		return []string{other}
	}
	return []string{`""`, other}
}

// otherNames returns what the mutants have instead of a constant, which is
// written with the prefix of its package.
func (p *program) otherNames(prefix string, object types.Object, in *types.Package) []string {
	c, ok := object.(*types.Const)
	switch {
	case !ok, c.Pkg() != nil && c.Parent() != c.Pkg().Scope():
		return nil
	case c == types.Universe.Lookup("true"):
		return []string{"false"}
	case c == types.Universe.Lookup("false"):
		return []string{"true"}
	}
	var peers []types.Object
	scope := c.Pkg().Scope()
	for _, name := range scope.Names() {
		peer, ok := scope.Lookup(name).(*types.Const)
		if ok && types.Identical(peer.Type(), c.Type()) && (peer.Exported() || c.Pkg() == in) &&
			p.fset.Position(peer.Pos()).Filename == p.fset.Position(c.Pos()).Filename {
			peers = append(peers, peer)
		}
	}
	slices.SortFunc(peers, func(a, b types.Object) int { return int(a.Pos() - b.Pos()) })
	if next := peers[(slices.Index(peers, object)+1)%len(peers)]; next != object {
		return []string{prefix + next.Name()}
	}
	if c.Val().Kind() == constant.String {
		return []string{`""`, `"mutant"`}
	}
	return []string{prefix + c.Name() + " + 1", prefix + c.Name() + " - 1"}
}
