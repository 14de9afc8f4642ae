package main

import (
	"io/fs"
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
		"on.operations: a > ", "on.operations: b > ", "on.operations: a, b > ", "on.subjectContains: c > ", "on.category: Connections > DeviceTelemetry", "severity: Low > Informational",
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
	if err := reportRules(&out, []judgement{j}, true); err != nil {
		t.Errorf("one of %d is too few: %v", j.made, err)
	}
	if !strings.Contains(out.String(), "functions/UnauthorizedOperations/alert.json: count.window: survives\n  - PT15M\n  + PT30M\n  Write a case that fires with its first and last event almost a window apart") {
		t.Errorf("the report has no survivor:\n%s", out.String())
	}
	// A small file that is below the goal is named. Only all together fail.
	j.made = 10
	out.Reset()
	if err := reportRules(&out, []judgement{j, {alert: alerts[0], made: 20}}, true); err != nil || !strings.Contains(out.String(), "  below the goal of 95 %: add the cases to functions/UnauthorizedOperations/alert.json\n") {
		t.Errorf("one of ten, and one of thirty in all: %v\n%s", err, out.String())
	}
	if err := reportRules(&out, []judgement{j}, false); err != nil {
		t.Errorf("an alert by its name: %v", err)
	}
	if err := reportRules(&out, []judgement{j}, true); err == nil || !strings.Contains(err.Error(), "all custom alerts: less than 95 % are killed") {
		t.Errorf("one of ten in all is enough: %v", err)
	}
}

// TestSeverityIsMutated checks that the severity of each custom alert is changed, and that its cases
// notice it.
func TestSeverityIsMutated(t *testing.T) {
	alerts, err := custom.Load(os.DirFS("../../.."))
	if err != nil || len(alerts) == 0 {
		t.Fatalf("%d alerts, %v", len(alerts), err)
	}
	for _, a := range alerts {
		mutants := ruleMutants(a)
		i := slices.IndexFunc(mutants, func(m ruleMutant) bool { return m.member == "severity" })
		if i < 0 || mutants[i].alert.Severity == a.Severity || !mutants[i].alert.Severity.Valid() {
			t.Errorf("%s: no mutant has another severity", a.Name)
			continue
		}
		mutated, err := custom.Load(fstest.MapFS{"functions/" + a.Name + "/" + custom.FileName: {Data: custom.Format(mutants[i].alert)}})
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
		} else if err := mutated[0].Test(); err == nil || !strings.Contains(err.Error(), "says.severity: want") {
			t.Errorf("%s: no case says that the alert is %s: %v", a.Name, a.Severity, err)
		}
	}
}

// TestWhatUsersBeginWith mutates the example of the README and what hubwatch rules new writes: who
// follows the pages begins with cases that notice every change.
func TestWhatUsersBeginWith(t *testing.T) {
	page, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "Then put this into `functions/HubChangedByHand/alert.json`:\n\n```json\n")
	example, _, _ := strings.Cut(rest, "```")
	files := map[string]string{"HubChangedByHand": example}
	for _, source := range custom.Sources {
		a, err := custom.New("Begun"+string(source), source)
		if err != nil {
			t.Fatal(err)
		}
		files[a.Name] = string(custom.Format(a))
	}
	for name, text := range files {
		folder := fstest.MapFS{"functions/" + name + "/" + custom.FileName: {Data: []byte(text)}}
		alerts, err := custom.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := alerts[0].Test(); err != nil {
			t.Error(err)
		}
		below, err := fs.Sub(folder, "functions/"+name)
		if err != nil {
			t.Fatal(err)
		}
		j, err := judgeRule(alerts[0], below)
		if err != nil || j.made < 8 {
			t.Errorf("%s: %d mutants, %v", name, j.made, err)
		}
		for _, m := range j.survivors {
			t.Errorf("%s: %s: %s > %s survives", name, m.member, m.before, m.after)
		}
	}
}

// TestDraftsAreLeftOut runs all alerts of a repository that has a draft with poor cases.
func TestDraftsAreLeftOut(t *testing.T) {
	a, err := custom.New("MyDraft", custom.Resources)
	if err != nil {
		t.Fatal(err)
	}
	a.Cases = a.Cases[:2]
	root := t.TempDir()
	if err := os.MkdirAll(root+"/functions/MyDraft", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/functions/MyDraft/alert.json", custom.Format(a), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if n, err := rules(root, nil, &out); n != 0 || err != nil || !strings.HasPrefix(out.String(), "MyDraft is left out: ") {
		t.Errorf("%d, %v, %s", n, err, out.String())
	}
	out.Reset()
	if n, err := rules(root, []string{"MyDraft"}, &out); n != 1 || err != nil || !strings.Contains(out.String(), "stays silent because its operation is none of these alone") {
		t.Errorf("by its name: %d, %v, %s", n, err, out.String())
	}
}
