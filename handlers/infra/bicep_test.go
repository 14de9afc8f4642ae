package infra

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// This file reads the part of Bicep that the templates in infra/ use
// (https://learn.microsoft.com/azure/azure-resource-manager/bicep/file). It makes
// trees of their text, so that tests can ask what a template says. It does not
// check what the compiler checks.

// kind says what an expression is.
type kind int

const (
	constant    kind = iota // number, true, false, null; text has it
	literal                 // string; parts are constants of its text and what is interpolated
	word                    // name of a symbol, in text
	member                  // parts[0].text, also with a question mark
	index                   // parts[0][parts[1]], also with a question mark
	call                    // text(parts...), or parts[0].text(parts[1:]...) if method is set
	object                  // keys and parts
	array                   // parts
	loop                    // [for names in parts[0]: parts[1]]
	conditional             // if (parts[0]) parts[1]
	lambda                  // names => parts[0]
	operation               // of parts
)

// expression is a node of the tree.
type expression struct {
	kind   kind
	text   string
	parts  []*expression
	keys   []string // of an object; "" for one that is computed
	names  []string // local to a loop or lambda
	method bool
}

// get returns a member of an object by its path, or nil if there is no such
// member. The object may be the body of a loop or of a condition.
func (e *expression) get(path ...string) *expression {
	for e != nil && (e.kind == loop || e.kind == conditional) {
		e = e.parts[1]
	}
	if e == nil || len(path) == 0 {
		return e
	}
	if i := slices.Index(e.keys, path[0]); e.kind == object && i >= 0 {
		return e.parts[i].get(path[1:]...)
	}
	return nil
}

// within calls visit with every node of the tree, beginning with the root.
func (e *expression) within(visit func(*expression)) {
	if e == nil {
		return
	}
	visit(e)
	for _, part := range e.parts {
		part.within(visit)
	}
}

// String returns the expression in a normal form: two expressions with the same
// meaning give the same string.
func (e *expression) String() string {
	if e == nil {
		return "nothing"
	}
	var parts []string
	for i, part := range e.parts {
		s := part.String()
		if e.kind == object {
			s = e.keys[i] + ": " + s
		}
		parts = append(parts, s)
	}
	list := strings.Join(parts, ", ")
	switch e.kind {
	case constant, word:
		return e.text
	case literal:
		if len(e.parts) == 1 && e.parts[0].kind == constant {
			return "'" + e.parts[0].text + "'"
		}
		return "'" + list + "'"
	case member:
		return list + "." + e.text
	case object:
		return "{" + list + "}"
	case array:
		return "[" + list + "]"
	case index:
		return parts[0] + "[" + parts[1] + "]"
	default:
		return e.text + "(" + list + ")"
	}
}

// declaration is a statement of a template.
type declaration struct {
	keyword  string // param, var, resource, module, output
	name     string
	is       string // type of a param or output, type and version of a resource, file of a module
	existing bool
	value    *expression // body, value or default; nil without one
}

// kind returns the type of a resource without its version.
func (d declaration) kind() string {
	name, _, _ := strings.Cut(d.is, "@")
	return name
}

// template is a file.
type template struct {
	path         string
	declarations []declaration
}

// named returns the declaration of a symbol, or nil if there is none.
func (t template) named(name string) *declaration {
	for i, d := range t.declarations {
		if d.name == name && d.keyword != "output" {
			return &t.declarations[i]
		}
	}
	return nil
}

// of returns the declarations with a keyword. For resources, kinds limits them to
// some types.
func (t template) of(keyword string, kinds ...string) []declaration {
	var found []declaration
	for _, d := range t.declarations {
		if d.keyword == keyword && (len(kinds) == 0 || slices.Contains(kinds, d.kind())) {
			found = append(found, d)
		}
	}
	return found
}

// constant returns the value of an expression, if it is known before the
// deployment: a text, a number or a boolean. It follows variables, defaults of
// parameters and names of resources. ok is false if the value is not known.
func (t template) constant(e *expression) (value string, ok bool) {
	switch {
	case e == nil:
		return "", false
	case e.kind == constant:
		return e.text, true
	case e.kind == literal:
		for _, part := range e.parts {
			s, ok := t.constant(part)
			if !ok {
				return "", false
			}
			value += s
		}
		return value, true
	case e.kind == word:
		if d := t.named(e.text); d != nil && (d.keyword == "var" || d.keyword == "param") {
			return t.constant(d.value)
		}
	case e.kind == member && e.parts[0].kind == word:
		switch d := t.named(e.parts[0].text); {
		case d == nil:
		case d.keyword == "var":
			return t.constant(d.value.get(e.text))
		case d.keyword == "resource" && e.text == "name":
			return t.constant(d.value.get("name"))
		}
	case e.kind == call && !e.method && len(e.parts) == 1 && (e.text == "string" || e.text == "toLower"):
		value, ok = t.constant(e.parts[0])
		if e.text == "toLower" {
			value = strings.ToLower(value)
		}
		return value, ok
	}
	return "", false
}

// needs returns the resources and modules that an expression refers to, also
// through variables. Bicep makes dependencies of these references.
func (t template) needs(e *expression) map[string]bool {
	found, seen := map[string]bool{}, map[string]bool{}
	var follow func(e *expression)
	follow = func(e *expression) {
		e.within(func(e *expression) {
			if e.kind != word || seen[e.text] {
				return
			}
			seen[e.text] = true
			switch d := t.named(e.text); {
			case d == nil || d.existing:
			case d.keyword == "var":
				follow(d.value)
			case d.keyword == "resource" || d.keyword == "module":
				found[d.name] = true
			}
		})
	}
	follow(e)
	return found
}

// readTemplates reads the templates of a folder by their file names.
func readTemplates(folder string) (map[string]template, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.bicep"))
	if err != nil {
		return nil, err
	}
	templates := map[string]template{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t, err := parseBicep(filepath.Base(file), string(text))
		if err != nil {
			return nil, err
		}
		templates[t.path] = t
	}
	return templates, nil
}

// bicepToken matches the next token of a template that is not a string.
var bicepToken = regexp.MustCompile(`^(?:[ \t\r]+|//[^\n]*|\n|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|=>|==|!=|=~|!~|<=|>=|&&|\|\||\?\?|\.\?|[@(){}\[\]:,.?=<>+*/%!-])`)

// parseBicep makes a template of a text. It returns an error if the text has
// syntax that this reader does not know.
func parseBicep(path, text string) (t template, err error) {
	p := &bicepParser{rest: text}
	defer func() {
		if problem := recover(); problem != nil {
			failure, ok := problem.(syntaxError)
			if !ok {
				panic(problem)
			}
			line := 1 + strings.Count(text[:len(text)-len(p.rest)], "\n")
			err = fmt.Errorf("%s:%d: %s", path, line, string(failure))
		}
	}()
	p.next()
	t = template{path: path}
	for p.skipLines(); p.token != ""; p.skipLines() {
		if d, ok := p.declaration(); ok {
			t.declarations = append(t.declarations, d)
		}
	}
	return t, nil
}

// syntaxError is what the parser panics with.
type syntaxError string

type bicepParser struct {
	rest   string
	token  string      // "" at the end, "\n" at the end of a line
	quoted *expression // the string, if token is a quote
}

func (p *bicepParser) fail(format string, args ...any) {
	panic(syntaxError(fmt.Sprintf(format, args...)))
}

// next reads a token. A string is read whole, with its interpolations.
func (p *bicepParser) next() {
	for {
		if p.rest == "" {
			p.token = ""
			return
		}
		if strings.HasPrefix(p.rest, "'''") {
			p.fail("strings of several lines are not known here")
		}
		if p.rest[0] == '\'' {
			p.rest = p.rest[1:]
			p.token, p.quoted = "'", p.string()
			return
		}
		t := bicepToken.FindString(p.rest)
		if t == "" {
			p.fail("%.10q is not known here", p.rest)
		}
		p.rest = p.rest[len(t):]
		if !strings.HasPrefix(t, "//") && strings.Trim(t, " \t\r") != "" {
			p.token = t
			return
		}
	}
}

// string reads a string after its opening quote.
func (p *bicepParser) string() *expression {
	e := &expression{kind: literal}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 || len(e.parts) == 0 {
			e.parts = append(e.parts, &expression{kind: constant, text: text.String()})
		}
		text.Reset()
	}
	for {
		switch {
		case p.rest == "" || p.rest[0] == '\n':
			p.fail("a string does not end")
		case strings.HasPrefix(p.rest, "\\") && len(p.rest) > 1:
			text.WriteByte(p.rest[1])
			p.rest = p.rest[2:]
		case strings.HasPrefix(p.rest, "${"):
			if text.Len() > 0 {
				flush()
			}
			p.rest = p.rest[2:]
			p.next()
			e.parts = append(e.parts, p.expression())
			if p.token != "}" {
				p.fail("want }, have %q", p.token)
			}
		case p.rest[0] == '\'':
			p.rest = p.rest[1:]
			flush()
			return e
		default:
			text.WriteByte(p.rest[0])
			p.rest = p.rest[1:]
		}
	}
}

func (p *bicepParser) skipLines() {
	for p.token == "\n" {
		p.next()
	}
}

func (p *bicepParser) take(want string) {
	if p.token != want {
		p.fail("want %q, have %q", want, p.token)
	}
	p.next()
}

// accept takes the next token if it is want.
func (p *bicepParser) accept(want string) bool {
	if p.token != want {
		return false
	}
	p.next()
	return true
}

func (p *bicepParser) name() string {
	name := p.token
	if name == "" || !regexp.MustCompile(`^[A-Za-z_]`).MatchString(name) {
		p.fail("want a name, have %q", name)
	}
	p.next()
	return name
}

func (p *bicepParser) text() string {
	if p.token != "'" {
		p.fail("want a string, have %q", p.token)
	}
	text := strings.Trim(p.quoted.String(), "'")
	p.next()
	return text
}

// declaration reads a statement. Decorators and targetScope declare nothing.
func (p *bicepParser) declaration() (d declaration, ok bool) {
	if p.accept("@") {
		p.expression()
		return d, false
	}
	switch d.keyword = p.name(); d.keyword {
	case "targetScope":
		p.take("=")
		p.expression()
		return d, false
	case "param":
		d.name, d.is = p.name(), p.name()
		if p.accept("=") {
			d.value = p.expression()
		}
	case "var":
		d.name = p.name()
		p.take("=")
		d.value = p.expression()
	case "output":
		d.name, d.is = p.name(), p.name()
		p.take("=")
		d.value = p.expression()
	case "resource", "module":
		d.name, d.is = p.name(), p.text()
		if p.token == "existing" {
			d.existing = true
			p.next()
		}
		p.take("=")
		d.value = p.expression()
	default:
		p.fail("%s is not known here", d.keyword)
	}
	return d, true
}

var operators = []string{"==", "!=", "=~", "!~", "<=", ">=", "<", ">", "&&", "||", "??", "+", "-", "*", "/", "%"}

// expression reads an expression. Operators have no precedence here. The tests
// only look for the operands.
func (p *bicepParser) expression() *expression {
	e := p.operand()
	for slices.Contains(operators, p.token) {
		operator := p.token
		p.next()
		p.skipLines()
		e = &expression{kind: operation, text: operator, parts: []*expression{e, p.operand()}}
	}
	if p.accept("?") {
		p.skipLines()
		yes := p.expression()
		p.skipLines()
		p.take(":")
		p.skipLines()
		return &expression{kind: operation, text: "?", parts: []*expression{e, yes, p.expression()}}
	}
	return e
}

// operand reads one operand of an operator.
func (p *bicepParser) operand() *expression {
	var e *expression
	switch {
	case p.token == "!" || p.token == "-":
		operator := p.token
		p.next()
		return &expression{kind: operation, text: operator, parts: []*expression{p.operand()}}
	case p.token == "'":
		e = p.quoted
		p.next()
	case p.accept("("):
		p.skipLines()
		e = p.expression()
		p.skipLines()
		p.take(")")
	case p.accept("{"):
		e = p.object()
	case p.accept("["):
		e = p.array()
	case p.token != "" && p.token[0] >= '0' && p.token[0] <= '9':
		e = &expression{kind: constant, text: p.token}
		p.next()
	default:
		e = p.word()
	}
	for {
		switch {
		case p.accept("."), p.accept(".?"):
			name := p.name()
			if p.accept("(") {
				e = &expression{kind: call, text: name, parts: append([]*expression{e}, p.list(")")...), method: true}
			} else {
				e = &expression{kind: member, text: name, parts: []*expression{e}}
			}
		case p.accept("["):
			p.accept("?")
			e = &expression{kind: index, parts: []*expression{e, p.expression()}}
			p.take("]")
		case p.accept("!"): // is not null; says nothing of the value
		default:
			return e
		}
	}
}

// word reads an expression that begins with a name.
func (p *bicepParser) word() *expression {
	name := p.name()
	switch {
	case name == "true" || name == "false" || name == "null":
		return &expression{kind: constant, text: name}
	case name == "if":
		p.take("(")
		condition := p.expression()
		p.take(")")
		return &expression{kind: conditional, text: name, parts: []*expression{condition, p.operand()}}
	case p.accept("=>"):
		return &expression{kind: lambda, names: []string{name}, parts: []*expression{p.expression()}}
	case p.accept("("):
		return &expression{kind: call, text: name, parts: p.list(")")}
	default:
		return &expression{kind: word, text: name}
	}
}

// list reads expressions up to a closing token, separated by commas or line ends.
func (p *bicepParser) list(end string) []*expression {
	var list []*expression
	for p.skipLines(); !p.accept(end); p.skipLines() {
		list = append(list, p.expression())
		p.accept(",")
	}
	return list
}

func (p *bicepParser) array() *expression {
	p.skipLines()
	if p.token != "for" {
		return &expression{kind: array, parts: p.list("]")}
	}
	p.next()
	e := &expression{kind: loop, text: "for"}
	if p.accept("(") {
		e.names = append(e.names, p.name())
		p.take(",")
		e.names = append(e.names, p.name())
		p.take(")")
	} else {
		e.names = append(e.names, p.name())
	}
	p.take("in")
	of := p.expression()
	p.take(":")
	p.skipLines()
	e.parts = []*expression{of, p.expression()}
	p.skipLines()
	p.take("]")
	return e
}

func (p *bicepParser) object() *expression {
	e := &expression{kind: object}
	for p.skipLines(); !p.accept("}"); p.skipLines() {
		key := ""
		if p.token == "'" {
			if len(p.quoted.parts) == 1 && p.quoted.parts[0].kind == constant {
				key = p.quoted.parts[0].text
			}
			p.next()
		} else {
			key = p.name()
		}
		p.take(":")
		e.keys = append(e.keys, key)
		e.parts = append(e.parts, p.expression())
		p.accept(",")
	}
	return e
}

// TestReadsBicep checks the parts of the reader that the other tests use.
func TestReadsBicep(t *testing.T) {
	read, err := parseBicep("a.bicep", `// A comment.
targetScope = 'resourceGroup'
@description('It\'s a name.')
@maxLength(
  5
)
param name string = 'ab'
param list array
var roles = {
  reader: '1-2' // why
  'odd key': [1, 2
    3]
}
var both = [{ scope: one.id, is: !empty(list) ? 'x' : '${name}y' }]
resource one 'Some/things@2024-01-01' = if (name == 'ab') {
  name: '${name}-${roles.reader}'
}
resource two 'Some/things/parts@2024-01-01' = [for (item, i) in filter(list, x => x.a == 'b'): {
  parent: one
  name: 'p${i}'
  properties: { last: last(split(item, '/')), id: split(item, '/')[2], other: roles[?item] ?? 'none' }
}]
resource three 'Some/things@2024-01-01' existing = { name: 'three' }
resource four 'Some/things@2024-01-01' = {
  name: 'four'
  properties: { ids: both, other: three.id }
  dependsOn: [two]
}
module five 'five.bicep' = { name: 'five', params: { a: toLower(string(true)) } }
output all string = one!.name
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read.constant(read.named("one").value.get("name")); got != "ab-1-2" {
		t.Errorf("the name of one is %q", got)
	}
	if got, _ := read.constant(read.named("five").value.get("params", "a")); got != "true" {
		t.Errorf("the parameter of five is %q", got)
	}
	if _, ok := read.constant(read.named("two").value.get("properties", "id")); ok {
		t.Error("what depends on a parameter without a default is said to be known")
	}
	if got := fmt.Sprint(read.needs(read.named("four").value)); got != "map[one:true two:true]" {
		t.Errorf("four needs %s", got)
	}
	if got := read.named("two").value.parts[0].String(); got != "filter(list, (==(x.a, 'b')))" {
		t.Errorf("two is made for %s", got)
	}
	if got := read.named("two").value.get("properties", "other").String(); got != "??(roles[item], 'none')" {
		t.Errorf("other of two is %s", got)
	}
	if got := read.of("output")[0].value.String(); got != "one.name" {
		t.Errorf("the output is %s", got)
	}
	if got := read.named("two").kind(); got != "Some/things/parts" {
		t.Errorf("two is a %s", got)
	}
	for _, wrong := range []string{"var a = 'b", "var a = {\n", "resource a = {}", "import 'x'", "var a = #", "var a = '''b'''"} {
		if _, err := parseBicep("a.bicep", wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}
