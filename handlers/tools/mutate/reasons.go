package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"hubwatch/handlers/detector"
)

// reason says why some mutants of a function survive.
type reason struct {
	function string // with its package: connection.Classify
	changes  []change
	// of says whether the cases of a detector may miss these mutants; nil means
	// the cases of every detector.
	of      func(detector.Detector) bool
	because string
}

// change is a mutant as the report shows it.
type change struct{ before, after string }

// reasons lists all mutants that may survive. An entry whose mutant is killed is
// an error, so that the list is never longer than necessary.
var reasons = []reason{
	{
		function: "detector.Detector.detect",
		changes: []change{
			{`if p := recover(); p != nil {`, `if p := recover(); false {`},
			{`occurrences, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())`, `occurrences, err = nil, fmt.Errorf("", d.Name, p, debug.Stack())`},
			{`occurrences, err = nil, fmt.Errorf("detector %s: panic: %v\n%s", d.Name, p, debug.Stack())`, `occurrences, err = nil, fmt.Errorf("detector %s: %w", d.Name, p, debug.Stack())`},
		},
		because: "No event is known on which a detector panics. TestJudgePanic holds what would become of it.",
	},
	{
		function: "detector.Detector.detect",
		changes:  []change{{`if f.Event != nil {`, `if false {`}},
		because:  "Only custom alerts find something in a part of an event. The tests of handlers/custom kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes:  []change{{`if operations == nil {`, `if false {`}},
		of:       func(d detector.Detector) bool { return d.On.Operations != nil },
		because:  "The trigger has operations. The cases of detectors without operations kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if false {`},
			{`if operations == nil {`, `if true {`},
		},
		of:      func(d detector.Detector) bool { return d.On.Operations == nil && d.On.SubjectContains == "" },
		because: "The trigger takes every subject and every operation. The cases of detectors that do not kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if !(t.SubjectContains != "") && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`},
		},
		of:      func(d detector.Detector) bool { return d.On.SubjectContains == "" },
		because: "Every subject contains the empty text. The cases of detectors that have a text kill it.",
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if true && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`},
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if t.SubjectContains != "mutant" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`},
		},
		because: "Every subject contains the empty text: to ask for it first only saves time.",
	},
	{
		function: "detector.hubOf",
		changes: []change{
			{`if r.OnHub() && r.ChildType == "" {`, `if false {`},
			{`if r.OnHub() && r.ChildType == "" {`, `if r.OnHub() && r.ChildType == "mutant" {`},
		},
		of:      isOnHubItself,
		because: "The id of a hub is what the detector looks for, so hubOf is not asked about it.",
	},
	{
		function: "verdict.Notice.fits",
		changes: []change{{
			`return fmt.Errorf("record: time %s: is not in the ten minutes from %s", r.Time.Format(time.RFC3339), n.Bucket.Start().Format(time.RFC3339))`,
			`return fmt.Errorf("record: time %s: is not in the ten minutes from %s", r.Time.Format(time.RFC3339), n.Bucket.Start().Format(time.RFC3339Nano))`,
		}},
		because: "Ten minutes begin with a whole second.",
	},
	{
		function: "verdict.hubOf",
		changes:  []change{{`if err != nil {`, `if false {`}, {`return ""`, `return "mutant"`}},
		because:  "Notice.fits has refused a record without a hub.",
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
		function: "connection.readNested",
		changes:  []change{{`if err != nil {`, `if false {`}},
		because:  "The JSON package reports an error of its decoder, whether it is returned or not.",
	},
}

// onHubItself matches an operation on an IoT hub itself, and not an operation on
// a resource below it.
var onHubItself = regexp.MustCompile(`(?i)^Microsoft\.Devices/IotHubs/[^/]+(/action)?$`)

func isOnHubItself(d detector.Detector) bool {
	return d.On.Operations != nil && !slices.ContainsFunc(d.On.Operations, func(o string) bool { return !onHubItself.MatchString(o) })
}

// fits reports whether the reason applies to every detector whose cases m
// survives.
func (r reason) fits(m *mutant) bool {
	excluded := func(d detector.Detector) bool { return r.of != nil && !r.of(d) && slices.Contains(m.survives, d.Name) }
	return len(m.survives) > 0 && r.function == m.declaration.file.pkg.Name()+"."+m.declaration.name &&
		slices.Contains(r.changes, change{m.before, m.after}) && !slices.ContainsFunc(detector.All, excluded)
}

// reasonFor returns why m survives, or "" if there is no reason.
func reasonFor(m *mutant, reasons []reason) string {
	if i := slices.IndexFunc(reasons, func(r reason) bool { return r.fits(m) }); i >= 0 {
		return reasons[i].because
	}
	return ""
}

// unexplained returns an error for each survivor without a reason.
func unexplained(mutants []*mutant, reasons []reason) error {
	var errs []error
	for _, m := range mutants {
		if len(m.survives) > 0 && reasonFor(m, reasons) == "" {
			errs = append(errs, fmt.Errorf("%s:%d: a mutant survives without a reason: add a case that kills it, or say in reasons why none can", m.declaration.file.path, m.line))
		}
	}
	return errors.Join(errs...)
}

// check returns an error for each survivor without a reason, and for each change
// that has a reason and does not survive. A reason for detectors that do not
// exist yet is not an error.
func check(mutants []*mutant, reasons []reason) error {
	errs := []error{unexplained(mutants, reasons)}
	for _, r := range reasons {
		if r.of != nil && !slices.ContainsFunc(detector.All, r.of) {
			continue
		}
		for _, c := range r.changes {
			one := reason{function: r.function, changes: []change{c}, of: r.of}
			if !slices.ContainsFunc(mutants, one.fits) {
				errs = append(errs, fmt.Errorf("reasons: %s: no mutant with %q survives: take it out", r.function, c.after))
			}
		}
	}
	return errors.Join(errs...)
}
