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
	// same says that the program does the same with these mutants, so that no case can ever
	// notice them. They are not counted.
	same bool
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
		same:    true,
	},
	{
		function: "detector.Trigger.Matches",
		changes: []change{
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if true && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`},
			{`if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`, `if t.SubjectContains != "mutant" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {`},
		},
		same:    true,
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
		same:    true,
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
	{
		function: "connection.CauseOf",
		same:     true,
		changes: []change{
			{`if scanned.Kind() == '{' {`, `if false {`},
			{`if scanned.Kind() == '{' {`, `if scanned.Kind() == '{' + 1 {`},
			{`if scanned.Kind() == '{' {`, `if scanned.Kind() == '{' - 1 {`},
		},
		because: "Decode reads what DecodeScanned reads. The fuzz test compares them; one pass less only saves time.",
	},
	{
		function: "connection.decide",
		same:     true,
		changes: []change{
			{`said := slices.ContainsFunc(statements, func(s statement) bool { return !s.isName })`, `said := true`},
			{`said := slices.ContainsFunc(statements, func(s statement) bool { return !s.isName })`, `said := slices.ContainsFunc(statements, func(s statement) bool { return true })`},
			{`if rule.Phrase != "" && !said {`, `if false {`},
		},
		because: "No name of an error has the phrase of a rule in it, so not to look for one only saves time.",
	},
	{
		function: "connection.statement.namesError",
		same:     true,
		changes: []change{
			{`if s.isName {`, `if false {`},
		},
		because: "errorNamed finds the same name again. To remember it only saves time.",
	},
	{
		function: "connection.Decoder.Decode",
		same:     true,
		changes: []change{
			{`if d.outer.Scan(raw, "", mostValues) {`, `if false {`},
			{`if d.outer.Scan(raw, "", mostValues) {`, `if d.outer.Scan(raw, "mutant", mostValues) {`},
			{`if d.outer.Scan(raw, "", mostValues) {`, `if d.outer.Scan(raw, "", mostKept) {`},
		},
		because: "The JSON package reads what one pass reads. The fuzz test compares them; the pass only saves time.",
	},
	{
		function: "connection.Decoder.DecodeScanned",
		same:     true,
		changes: []change{
			{`if v.Kind() != '{' || !d.take(v) {`, `if true {`},
			{`if v.Kind() != '{' || !d.take(v) {`, `if v.Kind() != '{' + 1 || !d.take(v) {`},
			{`if v.Kind() != '{' || !d.take(v) {`, `if v.Kind() != '{' - 1 || !d.take(v) {`},
		},
		because: "The JSON package reads what one pass reads. The fuzz test compares them; the pass only saves time.",
	},
	{
		function: "connection.Decoder.Forget",
		same:     true,
		changes: []change{
			{`if cap(d.texts[i]) > mostKept {`, `if !(cap(d.texts[i]) > mostKept) {`},
			{`if cap(d.texts[i]) > mostKept {`, `if true {`},
			{`if cap(d.texts[i]) > mostKept {`, `if false {`},
			{`if cap(d.texts[i]) > mostKept {`, `if cap(d.texts[i]) > mostValues {`},
			{`if cap(d.auth.raw) > mostKept {`, `if !(cap(d.auth.raw) > mostKept) {`},
			{`if cap(d.auth.raw) > mostKept {`, `if true {`},
			{`if cap(d.auth.raw) > mostKept {`, `if false {`},
			{`if cap(d.auth.raw) > mostKept {`, `if cap(d.auth.raw) > mostValues {`},
		},
		because: "What is kept is only memory that is used again.",
	},
	{
		function: "connection.Decoder.record",
		same:     true,
		changes: []change{
			{`if len(inside) > 0 && d.scanProperties(inside) {`, `if false {`},
			{`if len(inside) > 0 && d.scanProperties(inside) {`, `if !(len(inside) > 0) && d.scanProperties(inside) {`},
			{`if len(inside) > 0 && d.scanProperties(inside) {`, `if true && d.scanProperties(inside) {`},
			{`if len(inside) > 0 && d.scanProperties(inside) {`, `if len(inside) > 0 + 1 && d.scanProperties(inside) {`},
			{`if len(inside) > 0 && d.scanProperties(inside) {`, `if len(inside) > 0 - 1 && d.scanProperties(inside) {`},
		},
		because: "The JSON package reads what one pass reads. The fuzz test compares them; the pass only saves time.",
	},
	{
		function: "connection.Decoder.sameTime",
		same:     true,
		changes: []change{
			{`if text != string(d.stamp.raw) || text == "" {`, `if true {`},
			{`if text != string(d.stamp.raw) || text == "" {`, `if text != string(d.stamp.raw) || !(text == "") {`},
			{`if text != string(d.stamp.raw) || text == "" {`, `if text != string(d.stamp.raw) || false {`},
			{`if text != string(d.stamp.raw) || text == "" {`, `if text != string(d.stamp.raw) || text == "mutant" {`},
			{`if err != nil {`, `if true {`},
		},
		because: "To remember the last time only saves time.",
	},
	{
		function: "connection.Decoder.sameAuthType",
		same:     true,
		changes: []change{
			{`if last := &d.auth; !bytes.Equal(raw, last.raw) {`, `if last := &d.auth; true {`},
		},
		because: "To remember the last type only saves time.",
	},
	{
		function: "connection.Decoder.authType",
		same:     true,
		changes: []change{
			{`if d.word.Scan(raw, "", mostValues) {`, `if false {`},
			{`if d.word.Scan(raw, "", mostValues) {`, `if d.word.Scan(raw, "mutant", mostValues) {`},
			{`if d.word.Scan(raw, "", mostValues) {`, `if d.word.Scan(raw, "", mostKept) {`},
		},
		because: "The JSON package reads what one pass reads. The fuzz test compares them; the pass only saves time.",
	},
	{
		function: "connection.Record.appendStatements",
		same:     true,
		changes: []change{
			{`if name, _ := errorNamed(strings.Trim(text, " .")); name != "" {`, `if name, _ := errorNamed(strings.Trim(text, "")); name != "" {`},
			{`if name, _ := errorNamed(strings.Trim(text, " .")); name != "" {`, `if name, _ := errorNamed(strings.Trim(text, "mutant")); name != "" {`},
			{`if name, _ := errorNamed(strings.Trim(text, " .")); name != "" {`, `if name, _ := errorNamed(strings.Trim(text, " .")); false {`},
			{`list = append(list, statement{text, name, name, true})`, `list = append(list, statement{text, name, name, false})`},
		},
		because: "namesError finds the name of an error in a sentence, too. To know it before only saves time.",
	},
	{
		function: "connection.sentences",
		same:     true,
		changes: []change{
			{`if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {`, `if false {`},
			{`if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {`, `if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "") {`},
		},
		because: "A text that does not begin like an object is not one, so the JSON package refuses it. Not to ask only saves time.",
	},
	{
		function: "detector.detectConnection",
		same:     true,
		changes: []change{
			{`if !ok {`, `if false {`},
			{`return nil, fmt.Errorf("data: cause: %q is not for this detector", event.Shorten(string(n.Cause)))`, `return nil, fmt.Errorf("", event.Shorten(string(n.Cause)))`},
			{`return nil, fmt.Errorf("data: cause: %q is not for this detector", event.Shorten(string(n.Cause)))`, `return nil, fmt.Errorf("data: %w", event.Shorten(string(n.Cause)))`},
		},
		because: "The trigger has the types of the detector's causes alone, and verdict.ParseEvent has compared the cause with the type.",
	},
	{
		function: "detector.detectRecord",
		same:     true,
		changes: []change{
			{`if err != nil {`, `if false {`},
			{`return nil, fmt.Errorf("data: %w", err)`, `return nil, fmt.Errorf("", err)`},
			{`return nil, fmt.Errorf("data: %w", err)`, `return nil, fmt.Errorf("mutant", err)`},
		},
		because: "connection.CauseOf has read the record, so it can be read.",
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

// reasonFor returns why m survives: the zero reason if none is known.
func reasonFor(m *mutant, reasons []reason) reason {
	if i := slices.IndexFunc(reasons, func(r reason) bool { return r.fits(m) }); i >= 0 {
		return reasons[i]
	}
	return reason{}
}

// unexplained returns an error for each survivor without a reason.
func unexplained(mutants []*mutant, reasons []reason) error {
	var errs []error
	for _, m := range mutants {
		if len(m.survives) > 0 && reasonFor(m, reasons).because == "" {
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
