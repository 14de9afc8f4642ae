//go:build !nocel

package custom

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"hubwatch/handlers/event"
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
	for operator := range arithmetic {
		library.AddExcludedFunctions(env.NewFunction(operator))
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(library)),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(mostText),
		cel.ParserRecursionLimit(mostDepth),
		cel.ASTValidators(
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
	options = append(options, calculate()...)
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
	p, err := compilePattern(text)
	if err != nil {
		return types.NewErr("matches: %v", err)
	}
	if most := min(mostMatched, mostCompared/p.size); len(s) > most {
		return types.NewErr("matches: the text has %d bytes: this regular expression reads %d at most", len(s), most)
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
//
// Each time that calls have cost another yieldCost, it lets others run. Their events would else
// wait for the end of this one's time slice, which is ten milliseconds.
type costs struct{ sum atomic.Uint64 }

// CallCost implements [cost.ActualCostEstimator].
func (c *costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	cost := uint64(1)
	if function == "matches" && len(args) == 2 {
		if text, ok := args[1].(types.String); ok {
			if p, err := compilePattern(string(text)); err == nil {
				cost += weight(args[0], mostMatched) * uint64(p.size) / 50 // #nosec G115 -- is a length
			}
		}
	}
	for _, arg := range args {
		cost += weight(arg, mostCost) / 10
	}
	if after := c.sum.Add(cost); after/yieldCost != (after-cost)/yieldCost {
		runtime.Gosched()
	}
	return &cost
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

// compile returns an expression whose value is of a kind, or what is wrong with it.
func compile(text string, want kind) (program, []fault) {
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
	if have := checked.OutputType(); have.String() != string(want) && !have.IsExactType(cel.DynType) {
		return nil, []fault{{0, "want an expression whose value is a " + string(want) + ", have one of type " + have.String()}}
	}
	p, err := env.Program(checked, cel.CostLimit(mostCost), cel.CostTracking(&costs{}))
	if err != nil {
		return nil, []fault{{0, err.Error()}}
	}
	return &celProgram{p, checked.NativeRep().SourceInfo(), identifiers(checked)}, nil
}

// celProgram is a program of the Common Expression Language.
type celProgram struct {
	cel.Program
	source      *ast.SourceInfo
	identifiers map[string]int // the variables that it names, and at which characters
}

func (p *celProgram) names(name string) (int, bool) {
	at, ok := p.identifiers[name]
	return at, ok
}

func (p *celProgram) eval(f *facts) (any, uint64, error) {
	value, details, err := p.Eval(activation{f})
	cost := uint64(mostCost)
	if details != nil && details.ActualCost() != nil {
		cost = *details.ActualCost()
	}
	switch {
	case exceeded(err):
		return nil, cost, fmt.Errorf("the evaluation costs more than %d steps", mostCost)
	case err != nil: // which may quote the event
		return nil, cost, errors.New(event.Shorten(err.Error()) + p.place(err))
	}
	switch v := value.Value().(type) {
	case bool, string:
		return v, cost, nil
	}
	return nil, cost, fmt.Errorf("have a value of type %s", value.Type().TypeName())
}

// place says at which character of the expression an evaluation failed; "" if that is not known.
func (p *celProgram) place(err error) string {
	var failed *types.Err
	// The library has one value for all errors of this kind, and with it the place of the first.
	if !errors.As(err, &failed) || failed == types.NoSuchOverloadErr() {
		return ""
	}
	at, ok := p.source.GetOffsetRange(failed.NodeID())
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (character %d of the expression)", at.Start+1)
}

// exceeded reports whether err says that an evaluation costs more than its limit.
func exceeded(err error) bool {
	return err != nil && strings.Contains(err.Error(), "actual cost limit exceeded")
}

// activation gives a program the facts.
type activation struct{ facts *facts }

// ResolveName implements [cel.Activation].
func (a activation) ResolveName(name string) (any, bool) { return a.facts.value(name) }

// Parent implements [cel.Activation].
func (a activation) Parent() cel.Activation { return nil }

// identifiers returns the variables that an expression names, and at which character it does so
// first. A name that a loop gives to its elements is no variable.
func identifiers(checked *cel.Ast) map[string]int {
	tree := checked.NativeRep()
	found, own := map[string]int{}, map[string]bool{}
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			offset, _ := tree.SourceInfo().GetOffsetRange(e.ID())
			if at, ok := found[e.AsIdent()]; !ok || int(offset.Start) < at {
				found[e.AsIdent()] = int(offset.Start)
			}
		case ast.ComprehensionKind:
			own[e.AsComprehension().IterVar()], own[e.AsComprehension().IterVar2()] = true, true
		}
	}))
	for _, name := range []string{"record", "data"} { // which are decoded if they are named at all
		delete(own, name)
	}
	for name := range own {
		delete(found, name)
	}
	return found
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
			pattern := args[len(args)-1]
			if pattern.Kind() != ast.LiteralKind {
				faults = append(faults, fault{at(pattern), "matches: want the regular expression itself, in quotation marks"})
			} else if _, err := syntax.Parse(fmt.Sprint(pattern.AsLiteral().Value()), syntax.Perl); err != nil {
				faults = append(faults, fault{at(pattern), "matches: " + err.Error()})
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
