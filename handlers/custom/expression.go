package custom

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of an expression. A rule that reaches mostMatched or one that follows at an event
// cannot judge it, so the event is quarantined for that rule, and for no other.
const (
	mostText  = 4_096 // characters
	mostDepth = 64    // of parts within parts, as the parser counts them
	mostLoops = 2     // of loops within loops: all, exists, exists_one, map, filter
	// mostRegexp is the most instructions of a regular expression, and mostMatched the most
	// bytes of what it is compared with. RE2 takes a step of each instruction for each
	// character at most, which is 4 to 8 nanoseconds. mostCompared is the most such steps of one
	// comparison, during which nothing else may have the processor.
	mostRegexp   = 500
	mostMatched  = 4 << 10
	mostCompared = 200_000
	// mostCost is the most that one evaluation may cost: 1 for each step, and 1 for each ten
	// bytes that a step reads. Conditions as people write them cost less than a hundred.
	// mostSpent is the most for all evaluations at one event, which may have many records.
	mostCost  = 20_000
	mostSpent = 20 * mostCost
	// yieldCost is after how much of what calls cost others may run.
	yieldCost = 250
	// mostData is the most bytes of an event's data, or of a record, that an expression reads.
	mostData = 128 << 10
	// mostLevels is how deep lists and objects may nest in what an expression reads. Whatever
	// looks at all of a value would spend its time on levels that no event of Azure has.
	mostLevels = 100
)

// readable returns an error if an expression does not read a JSON text, since it is too long
// or too deep.
func readable(text []byte) error {
	if len(text) > mostData {
		return fmt.Errorf("%d bytes: an expression reads %d at most", len(text), mostData)
	}
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			if level++; level > mostLevels {
				return fmt.Errorf("more than %d levels: an expression reads no more", mostLevels)
			}
		case c == ']' || c == '}':
			level--
		}
	}
	return nil
}

// variableNames are what an expression can name. cel.go has their types.
var variableNames = []string{
	"hub", "resource", "operation", "outcome", "actor", "address", "device", "module", "record", "data", "eventType", "subject", "source", "time",
}

// lacking are the variables that the events of a source never have. Their value is always "",
// or an empty map, so an expression that names one does not mean what it says.
var lacking = map[Source][]string{
	Resources:   {"device", "module", "record"},
	Connections: {"actor"},
	Logs:        {"actor"},
	Hub:         {"outcome", "actor", "address", "record"},
}

// kind is what kind of value an expression has.
type kind string

const (
	boolValue kind = "bool"
	textValue kind = "string"
)

// program is an expression that is compiled. A build without the Common Expression
// Language has none: it is for a handler without custom alerts, which is half as large.
type program interface {
	// eval returns the value of the expression, and what computing it has cost. Its error
	// says why there is no value.
	eval(*facts) (value any, cost uint64, err error)
	// names returns at which character an expression names a variable for the first time,
	// and whether it does.
	names(name string) (at int, ok bool)
}

// fault is one thing that is wrong with an expression.
type fault struct {
	at   int // the character, from 0 on
	text string
}

// expression is an expression of the file, where it stands.
type expression struct {
	path []any // of names
	text string
	kind kind
}

// expressions returns the expressions of an alert that are not empty.
func (a Alert) expressions() []expression {
	all := []expression{
		{[]any{"when"}, a.When, boolValue},
		{[]any{"entity"}, a.Entity, textValue},
		{[]any{"message"}, a.Message, textValue},
	}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		all = append(all, expression{[]any{"properties", name}, a.Properties[name], textValue})
	}
	if a.Count != nil {
		all = append(all, expression{[]any{"count", "per"}, a.Count.Per, textValue})
	}
	return slices.DeleteFunc(all, func(e expression) bool { return e.text == "" })
}

// checkExpressions compiles all expressions.
func (d *document) checkExpressions(a Alert) {
	if a.Count != nil && a.Count.Per == "" {
		d.wrongAt([]any{"count", "per"}, "count.per: want device, hub, actor, address, or another expression for what is counted")
	}
	for _, path := range optional(a) {
		if n := d.at(path...); d.has(path...) && n.kind == '"' && n.end-n.start == len(`""`) {
			d.wrong(n.start, "%s: empty: want an expression, or leave it out", strings.Join(texts(path), "."))
		}
	}
	for _, e := range a.expressions() {
		n, name := d.at(e.path...), strings.Join(texts(e.path), ".")
		compiled, faults := compile(e.text, e.kind)
		for _, f := range faults {
			d.wrong(d.within(n, f.at), "%s: %s", name, f.text)
		}
		if compiled == nil {
			continue
		}
		for _, variable := range lacking[a.On.Source] {
			if at, ok := compiled.names(variable); ok {
				d.wrong(d.within(n, at), "%s: the source %s never has %s: it is always empty", name, a.On.Source, variable)
			}
		}
	}
}

// optional returns where the expressions stand that an alert may leave out.
func optional(a Alert) [][]any {
	paths := [][]any{{"when"}, {"entity"}, {"message"}}
	for _, name := range slices.Sorted(maps.Keys(a.Properties)) {
		paths = append(paths, []any{"properties", name})
	}
	return paths
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
