package custom

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// Bounds of an expression.
const (
	mostText  = 4_096 // characters
	mostDepth = 64    // of parts within parts, as the parser counts them
	mostLoops = 2     // of loops within loops: all, exists, exists_one, map, filter
	// mostRegexp is the most instructions of a regular expression. RE2 takes a step of each
	// instruction for each character at most.
	mostRegexp = 500
	// mostCost is the most that one evaluation may cost. A comparison costs about 1.
	mostCost = 20_000
)

// variables are what an expression can name.
var variables = []struct {
	name string
	kind *cel.Type
}{
	{"hub", cel.StringType},
	{"resource", cel.StringType},
	{"operation", cel.StringType},
	{"outcome", cel.StringType},
	{"actor", cel.StringType},
	{"address", cel.StringType},
	{"device", cel.StringType},
	{"module", cel.StringType},
	{"record", cel.MapType(cel.StringType, cel.DynType)},
	{"data", cel.DynType},
	{"eventType", cel.StringType},
	{"subject", cel.StringType},
	{"source", cel.StringType},
	{"time", cel.TimestampType},
}

// environment returns what expressions are compiled in. Nothing in it tells the time or
// reaches out.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(mostText),
		cel.ParserRecursionLimit(mostDepth),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateRegexProgramSizeLimit(mostRegexp),
			cel.ValidateComprehensionNestingLimit(mostLoops),
			cel.ValidateTimestampLiterals(),
			cel.ValidateDurationLiterals(),
		),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	return cel.NewEnv(options...)
})

// fault is one thing that is wrong with an expression.
type fault struct {
	at   int // the character, from 0 on
	text string
}

// compile returns the checked form of an expression whose value is of a kind, or what is
// wrong with it.
func compile(text string, kind *cel.Type) (*cel.Ast, []fault) {
	if n := utf8.RuneCountInString(text); n > mostText {
		return nil, []fault{{0, "the expression is too long: want 4096 characters at most"}}
	}
	env, err := environment()
	if err != nil {
		return nil, []fault{{0, err.Error()}}
	}
	ast, issues := env.Compile(text)
	if issues != nil && issues.Err() != nil {
		lines := strings.Split(text, "\n")
		var faults []fault
		for _, e := range issues.Errors() {
			at := max(0, e.Location.Column())
			for _, line := range lines[:max(0, min(e.Location.Line()-1, len(lines)))] {
				at += utf8.RuneCountInString(line) + 1
			}
			faults = append(faults, fault{at, e.Message})
		}
		return nil, faults
	}
	if !ast.OutputType().IsExactType(kind) && !ast.OutputType().IsExactType(cel.DynType) {
		return nil, []fault{{0, "want an expression whose value is a " + kind.String() + ", have one of type " + ast.OutputType().String()}}
	}
	return ast, nil
}

// expression is an expression of the file, where it stands.
type expression struct {
	path []any // of names
	text string
	kind *cel.Type
}

// expressions returns the expressions of an alert that are not empty.
func (a Alert) expressions() []expression {
	all := []expression{
		{[]any{"when"}, a.When, cel.BoolType},
		{[]any{"entity"}, a.Entity, cel.StringType},
		{[]any{"message"}, a.Message, cel.StringType},
	}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		all = append(all, expression{[]any{"properties", name}, a.Properties[name], cel.StringType})
	}
	if a.Count != nil {
		all = append(all, expression{[]any{"count", "per"}, a.Count.Per, cel.StringType})
	}
	return slices.DeleteFunc(all, func(e expression) bool { return e.text == "" })
}

// checkExpressions compiles all expressions.
func (d *document) checkExpressions(a Alert) {
	if a.Count != nil && a.Count.Per == "" {
		d.wrongAt([]any{"count", "per"}, "count.per: want device, hub, actor, address, or another expression for what is counted")
	}
	for _, e := range a.expressions() {
		n := d.at(e.path...)
		_, faults := compile(e.text, e.kind)
		for _, f := range faults {
			d.wrong(d.within(n, f.at), "%s: %s", strings.Join(texts(e.path), "."), f.text)
		}
	}
}

func texts(path []any) []string {
	var list []string
	for _, step := range path {
		if name, ok := step.(string); ok {
			list = append(list, name)
		}
	}
	return list
}
