package eventgrid

import (
	"fmt"
	"slices"
	"strings"
)

// operator is one of Event Grid's advanced filter operators
// (learn.microsoft.com/azure/event-grid/event-filtering).
type operator struct {
	// single operators take value, the others values, and unary ones neither.
	single, unary bool
	// operand reports whether a value of the filter has the right type.
	operand func(any) bool
	// holds compares the event's value with one operand.
	holds func(value, operand any) bool
	// not turns the result around: no operand may hold.
	not bool
	// missing is the result if the event has no such field, or null in it.
	missing bool
}

var operators = map[string]operator{
	"NumberIn":                  {operand: isNumber, holds: equal},
	"NumberNotIn":               {operand: isNumber, holds: equal, not: true, missing: true},
	"NumberLessThan":            {operand: isNumber, holds: number(func(v, o float64) bool { return v < o }), single: true},
	"NumberLessThanOrEquals":    {operand: isNumber, holds: number(func(v, o float64) bool { return v <= o }), single: true},
	"NumberGreaterThan":         {operand: isNumber, holds: number(func(v, o float64) bool { return v > o }), single: true},
	"NumberGreaterThanOrEquals": {operand: isNumber, holds: number(func(v, o float64) bool { return v >= o }), single: true},
	"NumberInRange":             {operand: isRange, holds: inRange},
	"NumberNotInRange":          {operand: isRange, holds: inRange, not: true},
	"BoolEquals":                {operand: isBool, holds: equal, single: true},
	"StringIn":                  {operand: isText, holds: text(func(v, o string) bool { return v == o })},
	"StringNotIn":               {operand: isText, holds: text(func(v, o string) bool { return v == o }), not: true, missing: true},
	"StringContains":            {operand: isText, holds: text(strings.Contains)},
	"StringNotContains":         {operand: isText, holds: text(strings.Contains), not: true},
	"StringBeginsWith":          {operand: isText, holds: text(strings.HasPrefix)},
	"StringNotBeginsWith":       {operand: isText, holds: text(strings.HasPrefix), not: true},
	"StringEndsWith":            {operand: isText, holds: text(strings.HasSuffix)},
	"StringNotEndsWith":         {operand: isText, holds: text(strings.HasSuffix), not: true},
	"IsNullOrUndefined":         {unary: true, not: true, missing: true},
	"IsNotNull":                 {unary: true},
}

// operands returns the values that the filter compares with. Its error says what
// is wrong with them.
func (a AdvancedFilter) operands() ([]any, error) {
	op, ok := operators[a.OperatorType]
	if !ok {
		return nil, fmt.Errorf("unknown operator %q", a.OperatorType)
	}
	operands := a.Values
	switch {
	case op.unary && (a.Value != nil || a.Values != nil):
		return nil, fmt.Errorf("%s takes neither value nor values", a.OperatorType)
	case op.unary:
		return nil, nil
	case op.single && (a.Value == nil || a.Values != nil):
		return nil, fmt.Errorf("%s takes value and not values", a.OperatorType)
	case op.single:
		operands = []any{a.Value}
	case a.Value != nil || len(a.Values) == 0:
		return nil, fmt.Errorf("%s takes values and not value", a.OperatorType)
	}
	for _, operand := range operands {
		if !op.operand(operand) {
			return operands, fmt.Errorf("%s does not take the value %v", a.OperatorType, operand)
		}
	}
	return operands, nil
}

// matches judges the value of a field; nil stands for a missing one. If the value
// is an array, its elements are judged, and elements of another type are ignored.
func (a AdvancedFilter) matches(value any, arrays bool) bool {
	op := operators[a.OperatorType]
	if value == nil {
		return op.missing
	}
	if op.unary {
		return !op.not
	}
	values := []any{value}
	if list, ok := value.([]any); ok {
		if !arrays {
			return false
		}
		values = list
	}
	operands, err := a.operands()
	if err != nil {
		return false
	}
	found := slices.ContainsFunc(operands, func(operand any) bool {
		return slices.ContainsFunc(values, func(v any) bool { return op.holds(v, operand) })
	})
	return found != op.not
}

func isNumber(v any) bool { _, ok := v.(float64); return ok }

func isText(v any) bool { _, ok := v.(string); return ok }

func isBool(v any) bool { _, ok := v.(bool); return ok }

func isRange(v any) bool {
	ends, ok := v.([]any)
	return ok && len(ends) == 2 && isNumber(ends[0]) && isNumber(ends[1])
}

func equal(value, operand any) bool {
	switch value.(type) {
	case float64, bool:
		return value == operand
	}
	return false
}

func inRange(value, operand any) bool {
	v, ok := value.(float64)
	ends := operand.([]any)
	return ok && v >= ends[0].(float64) && v <= ends[1].(float64)
}

func number(compare func(value, operand float64) bool) func(any, any) bool {
	return func(value, operand any) bool {
		v, ok := value.(float64)
		return ok && compare(v, operand.(float64))
	}
}

// text compares regardless of case, as Event Grid always does.
func text(compare func(value, operand string) bool) func(any, any) bool {
	return func(value, operand any) bool {
		v, ok := value.(string)
		return ok && compare(strings.ToLower(v), strings.ToLower(operand.(string)))
	}
}
