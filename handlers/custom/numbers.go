//go:build !nocel

package custom

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// arithmetic are the operators whose operands are numbers of one type in the library. A
// number of an event is an int in one event and a double in the next, if one says 21 and the
// other 21.5, so here an int and a double together are two doubles. Comparisons are so in the
// library, too (https://github.com/google/cel-spec/blob/master/doc/langdef.md#numbers).
var arithmetic = map[string]func(a, b ref.Val) ref.Val{
	operators.Add:      operator(traits.Adder.Add),
	operators.Subtract: operator(traits.Subtractor.Subtract),
	operators.Multiply: operator(traits.Multiplier.Multiply),
	operators.Divide:   operator(traits.Divider.Divide),
}

// operator returns do for an operand that is a T. For all others its result is nil.
func operator[T any](do func(T, ref.Val) ref.Val) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		if a, ok := a.(T); ok {
			return do(a, b)
		}
		return nil
	}
}

// calculate returns the declarations of the operators of arithmetic: with the overloads of the
// library, and with those of an int and a double.
func calculate() (options []cel.EnvOption) {
	for _, declared := range stdlib.Functions() {
		do, ok := arithmetic[declared.Name()]
		if !ok {
			continue
		}
		var all []cel.FunctionOpt
		for _, o := range declared.OverloadDecls() {
			all = append(all, decls.Overload(o.ID(), o.ArgTypes(), o.ResultType()))
		}
		for _, operands := range [][]*cel.Type{{cel.IntType, cel.DoubleType}, {cel.DoubleType, cel.IntType}} {
			id := declared.Name() + operands[0].String() + "_" + operands[1].String()
			all = append(all, decls.Overload(id, operands, cel.DoubleType))
		}
		options = append(options, cel.Function(declared.Name(), append(all, decls.SingletonBinaryBinding(func(a, b ref.Val) ref.Val {
			a, b = alike(a, b)
			if result := do(a, b); result != nil {
				return result
			}
			return types.NewErr("no such overload: %s %s %s", a.Type().TypeName(), sign(declared.Name()), b.Type().TypeName())
		}))...))
	}
	return options
}

// alike returns an int and a double as two doubles, and other values as they are.
func alike(a, b ref.Val) (ref.Val, ref.Val) {
	switch n := a.(type) {
	case types.Int:
		if _, ok := b.(types.Double); ok {
			return types.Double(n), b
		}
	case types.Double:
		if m, ok := b.(types.Int); ok {
			return a, types.Double(m)
		}
	}
	return a, b
}

// sign returns how an operator is written.
func sign(operator string) string {
	text, _ := operators.FindReverse(operator)
	return text
}
