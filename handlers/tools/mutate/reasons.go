package main

import (
	"fmt"
	"slices"

	"hubwatch/handlers/detector"
)

// reason says why some mutants of a function survive.
type reason struct {
	function string // with its package: connection.Classify
	changes  []change
	// of tells the detectors whose cases may miss them; nil stands for all.
	of      func(detector.Detector) bool
	because string
}

// change is a mutant as the report shows it.
type change struct{ before, after string }

// reasons are all mutants that may survive. An entry whose mutant is killed is an
// error, so that the list is never longer than it must be.
var reasons = []reason{
	{
		function: "detector.Detector.Judge",
		changes: []change{
			{`if p := recover(); p != nil {`, `if p := recover(); false {`},
			{`alerts, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())`, `alerts, err = nil, fmt.Errorf("", d.Name, p, debug.Stack())`},
			{`alerts, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())`, `alerts, err = nil, fmt.Errorf("detector %s: %w", d.Name, p, debug.Stack())`},
		},
		because: "No event is known on which a detector panics. TestJudgePanic holds what would become of it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if len(t.Operations) == 0 {`, `if false {`},
			{`if len(t.Operations) == 0 {`, `if len(t.Operations) == 0 - 1 {`},
		},
		of:      func(d detector.Detector) bool { return len(d.On.Operations) > 0 },
		because: "The trigger has operations, so it never has none. The cases of detectors without operations kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes:  []change{{`if len(t.Operations) == 0 {`, `if len(t.Operations) == 0 + 1 {`}},
		of:       func(d detector.Detector) bool { return len(d.On.Operations) > 1 },
		because:  "The trigger has more operations than one. The cases of other detectors kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if false {`},
			{`if len(t.Operations) == 0 {`, `if true {`},
		},
		of:      func(d detector.Detector) bool { return len(d.On.Operations) == 0 && d.On.SubjectContains == "" },
		because: "The trigger takes every subject and every operation. The cases of detectors that do not kill it.",
	},
	{
		function: "connection.Rule.applies",
		changes:  []change{{`return "", false`, `return "mutant", false`}},
		because:  "Nobody looks at the text of a rule that does not apply.",
	},
	{
		function: "connection.member.UnmarshalJSONFrom",
		changes:  []change{{`if err != nil {`, `if false {`}},
		because:  "The JSON package reports an error of its decoder, whether it is returned or not.",
	},
	{
		function: "connection.nested.UnmarshalJSONFrom",
		changes:  []change{{`if err != nil {`, `if false {`}},
		because:  "The JSON package reports an error of its decoder, whether it is returned or not.",
	},
}

// fits reports whether the reason is one for everybody whose cases m survives.
func (r reason) fits(m *mutant) bool {
	excluded := func(d detector.Detector) bool { return r.of != nil && !r.of(d) && slices.Contains(m.survives, d.Name) }
	return len(m.survives) > 0 && r.function == m.declaration.file.pkg.Name()+"."+m.declaration.name &&
		slices.Contains(r.changes, change{m.before, m.after}) && !slices.ContainsFunc(detector.All, excluded)
}

// reasonFor returns why m survives, or "" if nobody says.
func reasonFor(m *mutant, reasons []reason) string {
	if i := slices.IndexFunc(reasons, func(r reason) bool { return r.fits(m) }); i >= 0 {
		return reasons[i].because
	}
	return ""
}

// check returns an error for each survivor without a reason, and for each change
// with one that does not survive.
func check(mutants []*mutant, reasons []reason) (errs []error) {
	for _, m := range mutants {
		if len(m.survives) > 0 && reasonFor(m, reasons) == "" {
			errs = append(errs, fmt.Errorf("%s:%d: a mutant survives without a reason: add a case that kills it, or say in reasons why none can", m.declaration.file.path, m.line))
		}
	}
	for _, r := range reasons {
		for _, c := range r.changes {
			one := reason{function: r.function, changes: []change{c}, of: r.of}
			if !slices.ContainsFunc(mutants, one.fits) {
				errs = append(errs, fmt.Errorf("reasons: %s: no mutant with %q survives: take it out", r.function, c.after))
			}
		}
	}
	return errs
}
