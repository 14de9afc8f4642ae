package custom

import (
	"fmt"
	"strconv"
	"strings"
)

// deploymentType is the resource type of a template in a template, as Bicep makes one of
// each module.
const deploymentType = "Microsoft.Resources/deployments"

// scope is what the expressions of a template can name.
type scope struct {
	parameters, variables map[string]part
	steps                 *int // how many values were evaluated, in all scopes of the file
}

// templateExport reads a template. outer is the scope of the template around it, and
// given are the values of its parameters; both are empty for the outermost.
func templateExport(t part, outer scope, given part) (e export) {
	s := scope{map[string]part{}, map[string]part{}, outer.steps}
	if s.steps == nil {
		s.steps = new(int)
	}
	for _, name := range t.get("parameters").names() {
		key := strings.ToLower(name)
		if value, ok := given.fold(name); ok {
			if value.has("value") { // and not a secret that stands elsewhere
				s.parameters[key] = outer.value(value.get("value"))
			}
		} else if declared := t.get("parameters").get(name); declared.has("defaultValue") {
			s.parameters[key] = s.value(declared.get("defaultValue"))
		}
	}
	for _, name := range t.get("variables").names() {
		s.variables[strings.ToLower(name)] = t.get("variables").get(name)
	}
	for _, resource := range t.get("resources").list() {
		e.add(templateResource(resource, "", "", s))
	}
	return e
}

// templateResource reads a resource of a template, and those in it. parent is the type of
// the resource around it, whose name is above.
func templateResource(n part, parent, above string, s scope) (e export) {
	kind, name := s.value(n.get("type")).text(), s.value(n.get("name"))
	if parent != "" {
		kind, name.v = parent+"/"+kind, above+"/"+name.text()
	}
	switch {
	case kind == "" || hasExpression(kind):
		e.remarks = append(e.remarks, fmt.Sprintf("%s: want the type of the resource, have %s: it may be a group", n.get("type").path, n.get("type")))
	case strings.EqualFold(kind, groupType):
		g := templateGroup(n, name.text(), s)
		g.below(s.value(n.get("scope")))
		e.groups = append(e.groups, g)
	case strings.EqualFold(kind, classicGroupType):
		hub, group, _ := strings.Cut(name.text(), "/")
		_, group, _ = strings.Cut(group, "/") // behind the name of the provider
		if hasExpression(name.text()) {
			hub, group = "", name.text()
		}
		g := templateGroup(n, group, s)
		g.hub = hub
		e.groups = append(e.groups, g)
	case strings.EqualFold(kind, deploymentType):
		return deployment(n, s)
	}
	for _, child := range n.get("resources").list() {
		e.add(templateResource(child, kind, name.text(), s))
	}
	return e
}

// deployment reads a template in a template. It is deployed if its condition is true. The
// condition of any other resource is not one of the resources in it
// (https://learn.microsoft.com/azure/azure-resource-manager/templates/conditional-resource-deployment).
func deployment(n part, s scope) (e export) {
	properties, condition := n.get("properties"), s.value(n.get("condition"))
	switch template := properties.get("template"); {
	case !template.isObject():
		e.remarks = append(e.remarks, properties.path+": hubwatch does not read a template that stands elsewhere")
	case strings.EqualFold(properties.get("expressionEvaluationOptions").get("scope").text(), "inner"):
		e = templateExport(template, s, properties.get("parameters"))
	default:
		for _, resource := range template.get("resources").list() {
			e.add(templateResource(resource, "", "", s))
		}
	}
	switch {
	case len(e.groups) == 0 || !n.has("condition") || condition.v == true:
	case condition.v == false:
		for i := range e.groups {
			e.groups[i].rules = nil
			e.groups[i].remark("%s: false, so the template does not deploy the group", condition.path)
		}
	default:
		e.remarks = append(e.remarks, fmt.Sprintf("%s: hubwatch cannot evaluate %s, and reads the groups as those that are deployed", condition.path, condition))
	}
	return e
}

// templateGroup reads a group of a template, without its hub.
func templateGroup(n part, name string, s scope) securityGroup {
	g := securityGroup{name: name}
	if hasExpression(name) {
		g.flaw = fmt.Sprintf("%s: hubwatch cannot evaluate %s, so it does not know which group of which hub this is", n.get("name").path, part{v: name})
	}
	condition := s.value(n.get("condition"))
	switch {
	case n.has("copy"):
		g.remark("%s: hubwatch does not repeat resources; export the groups that were deployed", n.get("copy").path)
		return g
	case n.get("existing").v == true:
		g.remark("%s: the template only refers to a group that is there already", n.get("existing").path)
		return g
	case condition.v == false:
		g.remark("%s: false, so the template does not deploy the group", condition.path)
		return g
	case n.has("condition") && condition.v != true:
		g.remark("%s: hubwatch cannot evaluate %s, and reads the group as one that is deployed", condition.path, condition)
	}
	g.properties(n.get("properties"), s)
	return g
}

// below takes the hub from the scope of the group, which is a resource id or its end:
// Microsoft.Devices/IotHubs/contoso-hub. There may be none.
func (g *securityGroup) below(scope part) {
	const hubs = "microsoft.devices/iothubs/"
	text := scope.text()
	i := strings.LastIndex(strings.ToLower(text), hubs)
	switch {
	case scope.v == nil || g.flaw != "":
	case hasExpression(text):
		g.flaw = fmt.Sprintf("%s: hubwatch cannot evaluate %s, so it does not know the hub; give its parameters values, or import what was deployed", scope.path, scope)
	case i < 0:
		g.flaw = fmt.Sprintf("%s: want an IoT hub, have %s", scope.path, scope)
	default:
		g.hub, _, _ = strings.Cut(text[i+len(hubs):], "/")
	}
}

// isExpression reports whether the text of a template is an expression, which nobody has
// evaluated (https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions).
func isExpression(s string) bool {
	return strings.HasPrefix(s, "[") && !strings.HasPrefix(s, "[[") && strings.HasSuffix(s, "]")
}

// hasExpression reports whether one of the segments of a name is an expression that was not
// evaluated, or the name as a whole is one.
func hasExpression(name string) bool {
	return isExpression(name) || strings.HasPrefix(name, "[") && strings.Contains(name, "]/") || strings.Contains(name, "/[")
}

// mostSteps is how many values the expressions of a file may have, parameters and variables
// as often as they are named. So none goes on for ever.
const mostSteps = 10_000

// value returns what a value of a template means. An expression is evaluated if it only
// has literals, parameters, variables, and the functions that exported and compiled
// templates have in names. Any other expression stays as it is.
func (s scope) value(n part) part {
	text := n.text()
	switch {
	case s.steps == nil: // Only templates have expressions.
		return n
	case strings.HasPrefix(text, "[["):
		return part{text[1:], n.path}
	case !isExpression(text):
		return n
	}
	e := formula{text[1 : len(text)-1], s}
	if v, ok := e.next(); ok && strings.TrimSpace(e.rest) == "" {
		return part{v, n.path}
	}
	return n
}

// formula is what is left to be read of an expression.
type formula struct {
	rest  string
	scope scope
}

// next reads a value: a literal, or the call of a function.
func (e *formula) next() (any, bool) {
	if *e.scope.steps++; *e.scope.steps > mostSteps {
		return nil, false
	}
	e.rest = strings.TrimSpace(e.rest)
	if literal, ok := strings.CutPrefix(e.rest, "'"); ok {
		return e.literal(literal)
	}
	end := strings.IndexAny(e.rest, "(),' []")
	if end < 0 {
		end = len(e.rest)
	}
	word := e.rest[:end]
	e.rest = e.rest[end:]
	if number, err := strconv.Atoi(word); err == nil {
		return float64(number), true
	}
	if !e.skip("(") {
		return nil, false
	}
	var arguments []any
	for !e.skip(")") {
		if len(arguments) > 0 && !e.skip(",") {
			return nil, false
		}
		argument, ok := e.next()
		if !ok {
			return nil, false
		}
		arguments = append(arguments, argument)
	}
	return e.call(strings.ToLower(word), arguments)
}

// literal reads a text behind its first quotation mark.
func (e *formula) literal(rest string) (any, bool) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(rest, "'")
		if !ok {
			return nil, false
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, "'") {
			e.rest = after
			return b.String(), true
		}
		b.WriteByte('\'') // Two quotation marks stand for one.
		rest = after[1:]
	}
}

// skip reads a sign, and reports whether it was there.
func (e *formula) skip(sign string) (ok bool) {
	e.rest, ok = strings.CutPrefix(strings.TrimSpace(e.rest), sign)
	return ok
}

// call returns what a function returns.
func (e *formula) call(function string, arguments []any) (any, bool) {
	texts := make([]string, len(arguments))
	for i, argument := range arguments {
		texts[i] = fmt.Sprint(argument)
	}
	switch {
	case len(texts) == 0:
		return nil, false
	case function == "parameters" || function == "variables":
		from := e.scope.parameters
		if function == "variables" {
			from = e.scope.variables
		}
		n, ok := from[strings.ToLower(texts[0])]
		if !ok {
			return nil, false
		}
		n = e.scope.value(n)
		return n.v, !isExpression(n.text())
	case function == "concat":
		return strings.Join(texts, ""), true
	case function == "tolower":
		return strings.ToLower(texts[0]), true
	case function == "toupper":
		return strings.ToUpper(texts[0]), true
	case function == "format":
		pairs := make([]string, 0, 2*len(texts))
		for i, text := range texts[1:] {
			pairs = append(pairs, fmt.Sprintf("{%d}", i), text)
		}
		return strings.NewReplacer(pairs...).Replace(texts[0]), true
	case function == "resourceid" || function == "extensionresourceid":
		// Of a resource id only its end matters here: the hub.
		for i, text := range texts {
			if strings.EqualFold(text, "Microsoft.Devices/IotHubs") && i+1 < len(texts) {
				return text + "/" + texts[i+1], true
			}
		}
	}
	return nil, false
}
