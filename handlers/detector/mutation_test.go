package detector_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// TestEveryConditionIsHeldByACase changes one condition of a trigger at a time and
// runs the cases of the detector and their variants, at least one of which has to
// notice. A change that none notices is one that somebody can make by mistake.
// What a detector could take too, and must not, is derived: the variants say of
// everything that no case fires on that it is not delivered. So an author writes a
// case for each event type and each operation of the trigger. make mutate changes
// the rest of a detector's code.
func TestEveryConditionIsHeldByACase(t *testing.T) {
	operations := cases.Operations(detector.All)
	eventTypes := append(slices.Clone(verdict.EventTypes), event.OperationTypes...)
	mutants := 0
	for _, d := range detector.All {
		list := read(t, d.Name)
		derived := variants(t, list)
		try := func(on detector.Trigger, what string, args ...any) {
			mutants++
			mutant := d
			mutant.On = on
			if !slices.ContainsFunc(derived, func(v cases.Variant) bool { return v.Run(mutant) != nil }) && !noticed(t, mutant, list) {
				t.Errorf("%s: %s: all cases of the detector still pass; add one that does not", d.Name, fmt.Sprintf(what, args...))
			}
		}
		// each makes a mutant without each of the trigger's own values, and one with
		// each of the others too.
		each := func(what string, own, all []string, on func([]string) detector.Trigger) {
			for i, value := range own {
				try(on(slices.Delete(slices.Clone(own), i, i+1)), "without the %s %s", what, value)
			}
			for _, value := range others(all, own) {
				try(on(append(slices.Clone(own), value)), "with the %s %s too", what, value)
			}
		}
		each("event type", d.On.EventTypes, eventTypes, func(list []string) detector.Trigger {
			on := d.On
			on.EventTypes = list
			return on
		})
		if d.On.Operations != nil {
			each("operation", d.On.Operations, operations, func(list []string) detector.Trigger {
				on := d.On
				on.Operations = list
				return on
			})
			on := d.On
			on.Operations = nil
			try(on, "with any operation")
		}
		if d.On.SubjectContains != "" {
			on := d.On
			on.SubjectContains = ""
			try(on, "with any subject")
		}
	}
	t.Logf("%d mutants", mutants)
}

// TestEveryRuleIsHeldByACase changes the table of connection.Classify, one condition
// at a time, and runs the cases of all detectors of failed connections.
func TestEveryRuleIsHeldByACase(t *testing.T) {
	lists := map[string][]cases.Case{}
	for _, d := range detector.All {
		if slices.Contains(d.On.EventTypes, connection.Failed) {
			lists[d.Name] = read(t, d.Name)
		}
	}
	original := connection.Rules
	defer func() { connection.Rules = original }()
	mutants := 0
	try := func(rules []connection.Rule, rule connection.Rule, what string, args ...any) {
		mutants++
		connection.Rules = rules
		for _, d := range detector.All {
			if noticed(t, d, lists[d.Name]) {
				return
			}
		}
		t.Errorf("%s %q: %s: all cases still pass; add one that does not", rule.Name, rule.Phrase, fmt.Sprintf(what, args...))
	}
	for i, rule := range original {
		try(slices.Delete(slices.Clone(original), i, i+1), rule, "removed")
		change := func(what string, f func(*connection.Rule)) {
			rules := slices.Clone(original)
			f(&rules[i])
			try(rules, rule, "%s", what)
		}
		if rule.Phrase != "" {
			change("with any text", func(r *connection.Rule) { r.Phrase = "" })
		}
		if rule.Codes != nil {
			change("with any code", func(r *connection.Rule) { r.Codes = nil })
		}
		for k, code := range rule.Codes {
			change("without the code "+code, func(r *connection.Rule) { r.Codes = slices.Delete(slices.Clone(r.Codes), k, k+1) })
		}
		if rule.Operation != "" {
			change("with either operation", func(r *connection.Rule) { r.Operation = "" })
		}
		if rule.Family != connection.UnknownFamily {
			change("with any credential", func(r *connection.Rule) { r.Family = connection.UnknownFamily })
		}
		if rule.Registered {
			change("with a certificate of an authority", func(r *connection.Rule) { r.Registered = false })
		}
		for _, cause := range []connection.Cause{connection.TokenExpired, connection.TokenInvalid, connection.CertificateExpired, connection.ThumbprintMismatch} {
			if cause != rule.Cause {
				change("as "+string(cause), func(r *connection.Rule) { r.Cause = cause })
			}
		}
	}
	t.Logf("%d mutants", mutants)
}

// noticed reports whether a case of the detector does not pass with the mutant.
func noticed(t *testing.T, mutant detector.Detector, list []cases.Case) bool {
	for _, c := range list {
		for _, raw := range events(t, c) {
			if c.Want.Diff(cases.Judge(mutant, raw)) != "" {
				return true
			}
		}
	}
	return false
}

// others returns what of all is not in own, regardless of case.
func others(all, own []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return slices.ContainsFunc(own, func(v string) bool { return strings.EqualFold(v, s) })
	})
}
