package custom

import (
	"maps"
	"slices"
	"strings"
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
	mostCost = 20_000
	// quickCost is the most that an evaluation may cost beside others; one that costs more begins
	// anew and waits for its turn. Conditions as people write them cost less than a hundred.
	quickCost = 1_000
	mostSpent = 20 * mostCost
	// mostData is the most bytes of an event's data, or of a record, that an expression reads.
	mostData = 128 << 10
)

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
	// names reports whether the expression has a name.
	names(name string) bool
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
