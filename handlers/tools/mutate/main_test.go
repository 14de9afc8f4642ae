package main

import (
	"errors"
	"fmt"
	"go/types"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/detector"
)

// parse returns a program of one file, which imports nothing.
func parse(t *testing.T, text string) *program {
	t.Helper()
	p := newProgram()
	if _, err := p.add("tiny", []*file{{path: "tiny.go", text: "package tiny\n" + text}}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// mutateAll returns the mutants of all declarations, and the file that holds them.
func mutateAll(p *program) ([]*mutant, string) {
	users := map[*declaration][]string{}
	for _, d := range p.declarations {
		users[d] = []string{"CertificateAdded"}
	}
	mutants, files := p.mutate(users)
	return mutants, files["tiny.go"]
}

// TestMutants checks what is mutated and into what.
func TestMutants(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		want   []string
	}{
		"condition": {
			"func f(a bool) {\n if a {\n}\n}",
			[]string{"if !(a) {", "if true {", "if false {"},
		},
		"operands of and": {
			"func f(a, b bool) bool {\nreturn a && b\n}",
			[]string{"return !(a && b)", "return true", "return false", "return !(a) && b", "return true && b", "return a && !(b)", "return a && true"},
		},
		"operands of or, in parentheses": {
			"func f(a, b bool) {\nfor (a) || b {\n}\n}",
			[]string{"for !((a) || b) {", "for true {", "for false {", "for (!(a)) || b {", "for (false) || b {", "for (a) || !(b) {", "for (a) || false {"},
		},
		"negation": {
			"func f(a bool) {\nif !a {\n}\n}",
			[]string{"if !(!a) {", "if true {", "if false {"},
		},
		"case": {
			"func f(a int) {\nswitch {\ncase a == 1:\n}\n}",
			[]string{"case !(a == 1):", "case true:", "case false:", "case a == 1 + 1:", "case a == 1 - 1:"},
		},
		"what is assigned to": {
			"func f(m map[int]bool, a bool) (ok bool) {\na, ok = m[0]\nreturn\n}",
			[]string{"a, ok = m[0 + 1]", "a, ok = m[0 - 1]"},
		},
		"true and false": {
			"var a, b = true, false",
			[]string{"var a, b = false, false", "var a, b = true, true"},
		},
		"beside an error": {
			"func f(err error) (bool, error) {\nif err != nil {\nreturn false, err\n}\nreturn false, nil\n}",
			[]string{"if !(err != nil) {", "if true {", "if false {", "return true, nil"},
		},
		"named constants": {
			"type k string\nconst one, two k = `1`, `2`\nconst other = 3\nfunc f() (k, k, int) {\nreturn one, two, other\n}",
			[]string{"return two, two, other", "return one, one, other", "return one, two, other + 1", "return one, two, other - 1"},
		},
		"a constant without another of its type": {
			"const one = `1`\nfunc f() string {\nreturn one\n}",
			[]string{"return \"\"", `return "mutant"`},
		},
		"strings": {
			"func f(a string) string {\nif a == \"x\" {\nreturn \"y\"\n}\nreturn \"z\"\n}",
			[]string{
				`if !(a == "x") {`, "if true {", "if false {", `if a == "" {`, `if a == "mutant" {`,
				`return ""`, `return "z"`, `return ""`, `return "y"`,
			},
		},
		"the empty string": {
			"var a = \"\"",
			[]string{`var a = "mutant"`},
		},
		"strings of the same member": {
			"type r struct{ A, B string }\nvar l = []r{\n{A: \"a\", B: \"b\"},\n{A: \"c\", B: \"b\"},\n}",
			[]string{
				`{A: "", B: "b"},`, `{A: "c", B: "b"},`, `{A: "a", B: ""},`, `{A: "a", B: "mutant"},`,
				`{A: "", B: "b"},`, `{A: "a", B: "b"},`, `{A: "c", B: ""},`, `{A: "c", B: "mutant"},`,
			},
		},
		"what people read": {
			"type Detector struct{ Name, Title, AlertType string }\nvar d = Detector{\nName: \"a\", Title: \"b\",\nAlertType: \"c\",\n}",
			[]string{`AlertType: "",`, `AlertType: "mutant",`},
		},
		"what has to be constant": {
			"type s struct {\nA [2]int `json:\"a\"`\n}\nfunc f() [2]int {\nconst most = 3\nvar a [2]int\nreturn a\n}",
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			mutants, _ := mutateAll(parse(t, test.source))
			var got []string
			for i, m := range mutants {
				got = append(got, m.after)
				if m.number != i+1 || m.first > m.number || !strings.Contains(test.source, m.before[:4]) {
					t.Errorf("mutant %d: number %d, first %d, before %q", i+1, m.number, m.first, m.before)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the mutants differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRewrite checks that one file has all mutants, that only the chosen mutant is
// evaluated, and that the mutants of a part stand inside the original.
func TestRewrite(t *testing.T) {
	p := parse(t, "type k string\nfunc f(a bool, b k) bool { return a && b == `x` }")
	_, got := mutateAll(p)
	want := "package tiny\ntype k string\nfunc f(a bool, b k) bool { return " +
		"mutated(1, func() bool { return " +
		"mutated(4, func() bool { return a }, func() bool { return !(a) }, func() bool { return true }) && " +
		"mutated(6, func() bool { return b == " +
		"mutated(8, func() k { return `x` }, func() k { return \"\" }, func() k { return \"mutant\" })" +
		" }, func() bool { return !(b == `x`) }, func() bool { return true })" +
		" }, func() bool { return !(a && b == `x`) }, func() bool { return true }, func() bool { return false }) }"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the file differs (-want +got):\n%s", diff)
	}
}

// TestUses checks which detectors' cases have to notice which mutants.
func TestUses(t *testing.T) {
	p := parse(t, `
		type t struct{}
		func (t) UnmarshalJSONFrom() { called() }
		func (t) Other() {}
		func called() { _ = Detector{Commands: unused, On: decides} }
		type Detector struct{ Commands, On func() }
		func decides() {}
		func Root() { named(t{}) }
		func named(t) bool { return list != nil }
		var list = []func(){ listed }
		func listed() {}
		func unused() { Root() }
	`)
	var got []string
	for d := range p.uses("tiny.Root") {
		got = append(got, d.name)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"Detector", "Root", "called", "decides", "list", "listed", "named", "t", "t.UnmarshalJSONFrom"}, got); diff != "" {
		t.Errorf("what Root uses differs (-want +got):\n%s", diff)
	}
}

// TestSeveritiesOfDetectorsAreMutated checks that each built-in detector has a mutant with another
// severity, which its case files notice since they have it.
func TestSeveritiesOfDetectorsAreMutated(t *testing.T) {
	p, err := load("../../..", folders...)
	if err != nil {
		t.Fatal(err)
	}
	mutated := map[string]bool{}
	mutants, _ := p.mutate(users(p))
	for _, m := range mutants {
		before, after := severityIn.FindString(m.before), severityIn.FindString(m.after)
		if before != "" && after != "" && before != after {
			mutated[strings.TrimPrefix(m.declaration.name, "detector.")] = true
		}
	}
	for _, d := range detector.All {
		if !mutated[d.Name] {
			t.Errorf("%s: no mutant has another severity", d.Name)
		}
	}
}

// severityIn matches the severity of a detector.
var severityIn = regexp.MustCompile(`Severity:\s+alert\.\w+`)

// TestFailures checks that only a failed case of a detector counts as noticing.
func TestFailures(t *testing.T) {
	out := []byte("--- FAIL: TestCases (0.1s)\n    --- FAIL: TestCases/B/fires-a (0.00s)\n        cases_test.go:1: x\n" +
		"    --- FAIL: TestCases/A/fires-a (0.00s)\n    --- FAIL: TestCases/A/silent-b (0.00s)\n    cases_test.go:2: A has 0 cases\n")
	for name, test := range map[string]struct {
		command string
		fatal   bool
	}{
		"failed":   {"exit 1", false},
		"panicked": {"exit 2", true},
		"passed":   {"exit 0", false},
	} {
		failed, fatal := failures(out, exec.Command("sh", "-c", test.command).Run())
		if !slices.Equal(failed, []string{"A", "B"}) || fatal != test.fatal {
			t.Errorf("%s: have %v, %v; want A and B, %v", name, failed, fatal, test.fatal)
		}
	}
}

// TestReport checks what makes the command fail.
func TestReport(t *testing.T) {
	mutants := func(survivors ...string) (mutants []*mutant) {
		d := &declaration{name: "f", file: &file{path: detectorFolder + "/f.go", pkg: types.NewPackage("hubwatch/"+detectorFolder, "detector")}}
		for i := range 20 {
			m := &mutant{declaration: d, line: i + 1, before: "if a {", after: fmt.Sprintf("if %d {", i)}
			for _, judge := range detector.All {
				m.detectors = append(m.detectors, judge.Name)
			}
			mutants = append(mutants, m)
		}
		mutants[0].survives = survivors
		c := *d
		c.file = &file{path: readers[0].files[0], pkg: types.NewPackage("hubwatch/"+connectionFolder, "connection")}
		return append(mutants, &mutant{declaration: &c, detectors: []string{"DeviceTokenExpired"}})
	}
	one := []reason{{function: "detector.f", changes: []change{{"if a {", "if 0 {"}}, because: "It is equivalent."}}
	ofFew := []reason{one[0]}
	ofFew[0].of = func(d detector.Detector) bool { return d.Name == "CertificateAdded" }
	tooMany := mutants("CertificateAdded")
	for _, m := range tooMany[1:4] {
		m.survives = []string{"CertificateAdded"}
	}
	same := []reason{one[0], {function: "detector.f", same: true, because: "Nothing changes."}}
	for i := 1; i < 4; i++ {
		same[1].changes = append(same[1].changes, change{"if a {", fmt.Sprintf("if %d {", i)})
	}
	for name, test := range map[string]struct {
		mutants []*mutant
		reasons []reason
		want    string // part of the error; "" for none
	}{
		"all killed":                 {mutants(), nil, ""},
		"a survivor with a reason":   {mutants("CertificateAdded"), one, ""},
		"a survivor without":         {mutants("CertificateAdded"), nil, "handlers/detector/f.go:1: a mutant survives without a reason"},
		"a reason of one detector":   {mutants("CertificateAdded"), ofFew, ""},
		"a survivor of another":      {mutants("CertificateAdded", "CertificateDeleted"), ofFew, "survives without a reason"},
		"a reason for a killed one":  {mutants(), one, "no mutant with \"if 0 {\" survives: take it out"},
		"a reason for no mutant":     {mutants("CertificateAdded"), append([]reason{{function: "detector.g", changes: one[0].changes}}, one...), "detector.g: no mutant"},
		"many that change nothing":   {tooMany, same, ""},
		"too many with one detector": {tooMany, nil, "CertificateAdded: less than 85 % are killed"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := errors.Join(report(&out, test.mutants, test.reasons), check(test.mutants, test.reasons))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
			if changesNothing := strings.Contains(out.String(), "\n3 of them change nothing"); changesNothing != (name == "many that change nothing") {
				t.Errorf("of what changes nothing the report says:\n%s", out.String())
			}
			if !strings.Contains(out.String(), "\nall ") {
				t.Errorf("the report has no sum:\n%s", out.String())
			}
		})
	}
}

// TestReasons checks, without running the mutants, that each mutant with a reason
// is still made. The source that a reason is about may have changed.
func TestReasons(t *testing.T) {
	p, err := load("../../..", folders...)
	if err != nil {
		t.Fatal(err)
	}
	mutants, _ := p.mutate(users(p))
	for _, m := range mutants {
		m.survives = []string{"classifier"}
	}
	for _, r := range reasons {
		for _, c := range r.changes {
			one := reason{function: r.function, changes: []change{c}}
			if !slices.ContainsFunc(mutants, one.fits) {
				t.Errorf("%s: there is no mutant with %q any more", r.function, c.after)
			}
		}
	}
}
