package custom

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Bounds of an expression. A rule that reaches one of the last three at an event cannot
// judge it, so the event is quarantined for that rule, and for no other.
const (
	mostText  = 4_096 // characters
	mostDepth = 64    // of parts within parts, as the parser counts them
	mostLoops = 2     // of loops within loops: all, exists, exists_one, map, filter
	// mostRegexp is the most instructions of a regular expression, and mostMatched the most
	// bytes of what it is compared with. RE2 takes a step of each instruction for each
	// character at most.
	mostRegexp  = 500
	mostMatched = 4 << 10
	// mostCost is the most that one evaluation may cost: 1 for each step, and 1 for each ten
	// bytes that a step reads. mostSpent is the most for all evaluations at one event, which
	// may have many records.
	mostCost  = 20_000
	mostSpent = 20 * mostCost
	// mostData is the most bytes of an event's data, or of a record, that an expression reads.
	mostData = 128 << 10
)

// variables are what an expression can name.
var variables = []struct {
	name string
	kind *cel.Type
}{
	{"hub", cel.StringType},       // the name of the IoT hub
	{"resource", cel.StringType},  // the id of the resource that the event is about
	{"operation", cel.StringType}, // the name of the operation
	{"outcome", cel.StringType},   // succeeded, failed, cancelled, or ""
	{"actor", cel.StringType},     // who asked for the operation
	{"address", cel.StringType},   // from where, as the event has it
	{"device", cel.StringType},
	{"module", cel.StringType},
	{"record", cel.MapType(cel.StringType, cel.DynType)}, // of a resource log, its properties decoded
	{"data", cel.DynType},                                // of the event
	{"eventType", cel.StringType},
	{"subject", cel.StringType}, // of the event
	{"source", cel.StringType},  // of the event
	{"time", cel.TimestampType}, // of the event, or of the record
}

// environment returns what expressions are compiled in. Nothing in it tells the time or
// reaches out.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	stringToString := func(name, id string, do func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(id, []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(s ref.Val) ref.Val { return types.String(do(string(s.(types.String)))) })))
	}
	matches := cel.SingletonBinaryBinding(func(s, pattern ref.Val) ref.Val {
		return match(string(s.(types.String)), string(pattern.(types.String)))
	})
	// A function of the library that is as long as its arguments are has no bound, and neither has a regular expression.
	library := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction("matches"))
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(library)),
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
		cel.Function("matches",
			cel.Overload("matches", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
			cel.MemberOverload("matches_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType), matches),
		stringToString("lowerAscii", "string_lower_ascii", lowerASCII),
		stringToString("upperAscii", "string_upper_ascii", upperASCII),
		stringToString("trim", "string_trim", strings.TrimSpace),
		cel.Function("split", cel.MemberOverload("string_split_string", []*cel.Type{cel.StringType, cel.StringType}, cel.ListType(cel.StringType),
			cel.BinaryBinding(func(s, separator ref.Val) ref.Val {
				return types.NewStringList(types.DefaultTypeAdapter, strings.Split(string(s.(types.String)), string(separator.(types.String))))
			}))),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	return cel.NewCustomEnv(options...)
})

// pattern is a compiled regular expression.
type pattern struct {
	*regexp.Regexp
	size int // how many instructions it has
}

// patterns are the compiled regular expressions, by their texts. Each is a literal of a
// rule, so there are not more than rules have.
var patterns sync.Map

// compilePattern returns the pattern of a text.
func compilePattern(text string) (pattern, error) {
	if known, ok := patterns.Load(text); ok {
		return known.(pattern), nil
	}
	r, err := regexp.Compile(text)
	if err != nil {
		return pattern{}, err
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return pattern{}, err
	}
	known, _ := patterns.LoadOrStore(text, pattern{r, len(program.Inst)})
	return known.(pattern), nil
}

// match reports whether a part of s is what the regular expression says.
func match(s, text string) ref.Val {
	if len(s) > mostMatched {
		return types.NewErr("matches: the text has %d bytes: a regular expression is compared with %d at most", len(s), mostMatched)
	}
	p, err := compilePattern(text)
	if err != nil {
		return types.NewErr("matches: %v", err)
	}
	return types.Bool(p.MatchString(s))
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}

// costs says what calls cost. The library's own costs leave out what lists and maps
// contain.
type costs struct{}

// CallCost implements [cost.ActualCostEstimator].
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	sum := uint64(1)
	if function == "matches" && len(args) == 2 {
		if text, ok := args[1].(types.String); ok {
			if p, err := compilePattern(string(text)); err == nil {
				sum += weight(args[0], mostMatched) * uint64(p.size) / 200 // #nosec G115 -- is a length
			}
		}
	}
	for _, arg := range args {
		sum += weight(arg, mostCost) / 10
	}
	return &sum
}

// weight returns how many bytes a value has, about; most, if it has more.
func weight(v ref.Val, most uint64) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	case traits.Mapper:
		return weightOf(v.Iterator(), most, func(key ref.Val) ref.Val { return v.Get(key) })
	case traits.Lister:
		return weightOf(v.Iterator(), most, nil)
	}
	return 1
}

func weightOf(elements traits.Iterator, most uint64, value func(ref.Val) ref.Val) (sum uint64) {
	for elements.HasNext() == types.True && sum < most {
		element := elements.Next()
		sum += 10 + weight(element, most)
		if value != nil {
			sum += weight(value(element), most)
		}
	}
	return min(sum, most)
}

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
	checked, issues := env.Compile(text)
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
	if f := forbidden(checked); len(f) > 0 {
		return nil, f
	}
	if !checked.OutputType().IsExactType(kind) && !checked.OutputType().IsExactType(cel.DynType) {
		return nil, []fault{{0, "want an expression whose value is a " + kind.String() + ", have one of type " + checked.OutputType().String()}}
	}
	return checked, nil
}

// forbidden returns calls whose arguments have to stand in the expression. The pattern of
// a regular expression could have any length otherwise. The name of a time zone means
// something only where a database of time zones is.
func forbidden(checked *cel.Ast) (faults []fault) {
	tree := checked.NativeRep()
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		args := call.Args()
		at := func(e ast.Expr) int {
			offset, _ := tree.SourceInfo().GetOffsetRange(e.ID())
			return int(offset.Start)
		}
		switch name := call.FunctionName(); {
		case name == "matches":
			if pattern := args[len(args)-1]; pattern.Kind() != ast.LiteralKind {
				faults = append(faults, fault{at(pattern), "matches: want the regular expression itself, in quotation marks"})
			}
		case strings.HasPrefix(name, "get") && call.IsMemberFunction() && len(args) == 1:
			if zone := args[0]; zone.Kind() != ast.LiteralKind || !offsetForm.MatchString(fmt.Sprint(zone.AsLiteral().Value())) {
				faults = append(faults, fault{at(zone), name + `: want a time zone as "+01:00", since names of time zones are not known everywhere`})
			}
		}
	}))
	return faults
}

var offsetForm = regexp.MustCompile(`^([+-]?\d\d:\d\d|UTC)$`)

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
