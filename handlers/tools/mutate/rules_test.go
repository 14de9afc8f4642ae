package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/custom"
)

// TestExpressionMutants checks what is changed in an expression, and into what.
func TestExpressionMutants(t *testing.T) {
	for text, want := range map[string][]string{
		"":                   nil,
		`actor`:              {`""`},
		`record.actor == 7`:  {`record.actor != 7`, `record.actor == 8`, `record.actor == 6`},
		`f(hub, "/")[?1]`:    {`f("", "/")[?1]`, `f(hub, "")[?1]`, `f(hub, "mutant")[?1]`, `f(hub, "/")[?2]`, `f(hub, "/")[?0]`},
		`hub.contains("\"")`: {`"".contains("\"")`, `hub.startsWith("\"")`, `hub.endsWith("\"")`, `hub.contains("")`, `hub.contains("mutant")`},
		`has(record.all)`:    nil,
		`(a || b) && !c`: {
			`(false || b) && !c`, `(!(a) || b) && !c`, `(a || false) && !c`, `(a || !(b)) && !c`, `(a && b) && !c`,
			`true && !c`, `!((a || b)) && !c`, `(a || b) && true`, `(a || b) && !(!c)`, `(a || b) || !c`, `(a || b) && c`,
		},
		`a ? "x" : ""`: {`true ? "x" : ""`, `false ? "x" : ""`, `a ? "" : ""`, `a ? "mutant" : ""`, `a ? "x" : "mutant"`},
	} {
		if diff := cmp.Diff(want, expressionMutants(text, false)); diff != "" {
			t.Errorf("%s: the mutants differ (-want +got):\n%s", text, diff)
		}
	}
	if diff := cmp.Diff([]string{"true", "false", "!(a)"}, expressionMutants("a", true)); diff != "" {
		t.Errorf("a condition (-want +got):\n%s", diff)
	}
}

// TestRuleMutants checks which members of a custom alert are changed.
func TestRuleMutants(t *testing.T) {
	files := os.DirFS("../../../functions/UnauthorizedOperations")
	text, err := os.ReadFile("../../../functions/UnauthorizedOperations/alert.json")
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := custom.Load(fstest.MapFS{"functions/UnauthorizedOperations/alert.json": {Data: text}})
	if err != nil {
		t.Fatal(err)
	}
	a := alerts[0]
	a.On.Operations, a.On.SubjectContains = []string{"a", "b"}, "c"
	a.Group = &custom.Group{Devices: []string{"d", "e"}}
	var got []string
	for _, m := range ruleMutants(a) {
		if m.member != "when" {
			got = append(got, m.member+": "+m.before+" > "+m.after)
		}
		if cmp.Equal(custom.Format(m.alert), custom.Format(a)) {
			t.Errorf("%s: %s is not changed", m.member, m.after)
		}
	}
	want := []string{
		"on.operations: a > ", "on.operations: b > ", "on.operations: a, b > ", "on.subjectContains: c > ", "on.category: Connections > DeviceTelemetry",
		"count.max: 10 > 11", "count.max: 10 > 9", "count.window: PT15M > PT7M30S", "count.window: PT15M > PT30M", "count.per: device > hub",
		"group: the group > ", "group.devices: d > ", "group.devices: e > ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the mutants differ (-want +got):\n%s", diff)
	}

	// A case that no other one makes up for is taken out, and mutants survive.
	j, err := judgeRule(alerts[0], files)
	if err != nil || len(j.survivors) > 0 || j.made < 20 {
		t.Errorf("%d mutants, of which survive %v, %v", j.made, j.survivors, err)
	}
	alerts[0].Cases = slices.DeleteFunc(alerts[0].Cases, func(c custom.Case) bool { return c.Name == "silent-slowly" })
	if j, err = judgeRule(alerts[0], files); err != nil || len(j.survivors) != 1 || j.survivors[0].member != "count.window" {
		t.Errorf("without a case survive %v, %v", j.survivors, err)
	}
	var out strings.Builder
	if err := reportRules(&out, []judgement{j}); err != nil {
		t.Errorf("one of %d is too few: %v", j.made, err)
	}
	if !strings.Contains(out.String(), "functions/UnauthorizedOperations/alert.json: count.window: survives\n  - PT15M\n  + PT30M\n") {
		t.Errorf("the report has no survivor:\n%s", out.String())
	}
	j.made = 10
	if err := reportRules(&out, []judgement{j}); err == nil || !strings.Contains(err.Error(), "less than 95 % are killed: add cases to functions/UnauthorizedOperations/alert.json") {
		t.Errorf("one of ten is enough: %v", err)
	}
}
