package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// word is a word of an expression in the Common Expression Language
// (https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax): a literal, a name
// or an operator.
type word struct {
	text       string
	start, end int // where it stands, in bytes
}

var wordForm = regexp.MustCompile(`"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[A-Za-z_]\w*|\d+|[=!<>]=|&&|\|\||\.\?|\S`)

func words(text string) (list []word) {
	for _, at := range wordForm.FindAllStringIndex(text, -1) {
		list = append(list, word{text[at[0]:at[1]], at[0], at[1]})
	}
	return list
}

// others are what stands in place of an operator, a word or the name of a function.
var others = map[string][]string{
	"==": {"!="}, "!=": {"=="}, "<": {"<=", ">"}, "<=": {"<", ">="}, ">": {">=", "<"}, ">=": {">", "<="},
	"&&": {"||"}, "||": {"&&"}, "!": {""}, "true": {"false"}, "false": {"true"},
	"startsWith": {"endsWith", "contains"}, "endsWith": {"startsWith", "contains"}, "contains": {"startsWith", "endsWith"},
	"all": {"exists"}, "exists": {"all"}, "lowerAscii": {"upperAscii"}, "upperAscii": {"lowerAscii"},
}

// texts are the variables of expressions whose values are texts.
var texts = []string{"hub", "resource", "operation", "outcome", "actor", "address", "device", "module", "eventType", "subject", "source"}

// expressionMutants returns an expression with one change each:
//
//	the whole          true, false and negated, if it is a condition
//	operand            of && true, of || false, and negated
//	condition          of ? true and false
//	operator, function another one
//	text               "", and "mutant"
//	number             one more, one less
//	variable           "", if it is a text
func expressionMutants(text string, isBool bool) (mutants []string) {
	if text == "" {
		return nil
	}
	replace := func(start, end int, other string) {
		m := text[:start] + other + text[end:]
		if m != text && !slices.Contains(mutants, m) {
			mutants = append(mutants, m)
		}
	}
	if isBool {
		replace(0, len(text), "true")
		replace(0, len(text), "false")
		replace(0, len(text), "!("+text+")")
	}
	all := words(text)
	operand := func(from, to int, value string) { // of tokens
		if from < to {
			start, end := all[from].start, all[to-1].end
			replace(start, end, value)
			replace(start, end, "!("+text[start:end]+")")
		}
	}
	for i, w := range all {
		isMember := i > 0 && (all[i-1].text == "." || all[i-1].text == ".?")
		isCall := i+1 < len(all) && all[i+1].text == "("
		switch {
		case w.text == "&&":
			operand(before(all, i, "&&", "||", "?", ":", ","), i, "true")
			operand(i+1, after(all, i, "&&", "||", "?", ":", ","), "true")
		case w.text == "||":
			operand(before(all, i, "||", "?", ":", ","), i, "false")
			operand(i+1, after(all, i, "||", "?", ":", ","), "false")
		case w.text == "?":
			if from := before(all, i, "?", ":", ","); from < i {
				replace(all[from].start, all[i-1].end, "true")
				replace(all[from].start, all[i-1].end, "false")
			}
		case strings.ContainsAny(w.text[:1], `"'`):
			if len(w.text) > 2 {
				replace(w.start, w.end, `""`)
			}
			replace(w.start, w.end, `"mutant"`)
		case slices.Contains(texts, w.text) && !isMember && !isCall:
			replace(w.start, w.end, `""`)
		}
		if n, err := strconv.Atoi(w.text); err == nil {
			replace(w.start, w.end, strconv.Itoa(n+1))
			replace(w.start, w.end, strconv.Itoa(n-1))
		}
		isName := regexp.MustCompile(`^[A-Za-z]`).MatchString(w.text)
		if isName && isMember && !isCall {
			continue // a member of a record, and not a word of the language
		}
		for _, other := range others[w.text] {
			replace(w.start, w.end, other)
		}
	}
	return mutants
}

// before returns the index of the first word of the operand that ends before word i: the
// operand begins behind one of these operators, or behind the bracket around it.
func before(all []word, i int, operators ...string) int {
	depth := 0
	for j := i - 1; j >= 0; j-- {
		switch w := all[j].text; {
		case strings.ContainsAny(w, ")]}") && len(w) == 1:
			depth++
		case strings.ContainsAny(w, "([{") && len(w) == 1:
			if depth--; depth < 0 {
				return j + 1
			}
		case depth == 0 && slices.Contains(operators, w):
			return j + 1
		}
	}
	return 0
}

// after returns the index behind the last word of the operand that begins behind word i.
func after(all []word, i int, operators ...string) int {
	depth := 0
	for j := i + 1; j < len(all); j++ {
		switch w := all[j].text; {
		case strings.ContainsAny(w, "([{") && len(w) == 1:
			depth++
		case strings.ContainsAny(w, ")]}") && len(w) == 1:
			if depth--; depth < 0 {
				return j
			}
		case depth == 0 && slices.Contains(operators, w):
			return j
		}
	}
	return len(all)
}
