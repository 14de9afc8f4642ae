package detector_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
)

// eventTypes are all event types of Azure Resource Manager
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
var eventTypes = []string{
	"Microsoft.Resources.ResourceWriteSuccess",
	"Microsoft.Resources.ResourceWriteFailure",
	"Microsoft.Resources.ResourceWriteCancel",
	"Microsoft.Resources.ResourceDeleteSuccess",
	"Microsoft.Resources.ResourceDeleteFailure",
	"Microsoft.Resources.ResourceDeleteCancel",
	"Microsoft.Resources.ResourceActionSuccess",
	"Microsoft.Resources.ResourceActionFailure",
	"Microsoft.Resources.ResourceActionCancel",
}

// operations are what a detector could mistake for its own: all that can be done
// to certificates and diagnostic settings of IoT hubs, to the hubs themselves,
// and to what has the same name on other resources.
var operations = []string{
	"Microsoft.Devices/IotHubs/write",
	"Microsoft.Devices/IotHubs/delete",
	"Microsoft.Devices/IotHubs/certificates/read",
	"Microsoft.Devices/IotHubs/certificates/write",
	"Microsoft.Devices/IotHubs/certificates/delete",
	"Microsoft.Devices/IotHubs/certificates/verify/action",
	"Microsoft.Devices/IotHubs/certificates/generateVerificationCode/action",
	"Microsoft.Devices/IotHubs/diagnosticSettings/read",
	"Microsoft.Devices/IotHubs/diagnosticSettings/write",
	"Microsoft.Devices/IotHubs/diagnosticSettings/delete",
	"Microsoft.Insights/diagnosticSettings/read",
	"Microsoft.Insights/diagnosticSettings/write",
	"Microsoft.Insights/diagnosticSettings/delete",
	"Microsoft.Devices/provisioningServices/certificates/write",
	"Microsoft.Devices/provisioningServices/certificates/delete",
	"Microsoft.Devices/provisioningServices/diagnosticSettings/write",
	"Microsoft.Devices/provisioningServices/diagnosticSettings/delete",
	"Microsoft.Web/certificates/write",
	"Microsoft.Web/certificates/delete",
	"Microsoft.KeyVault/vaults/certificates/write",
	"Microsoft.KeyVault/vaults/certificates/delete",
}

// childTypes are what can lie below an IoT hub; the empty one is the hub itself.
var childTypes = []string{
	"",
	"certificates",
	"certificates/versions",
	"certificates/Microsoft.Insights/diagnosticSettings",
	"diagnosticSettings",
	"Microsoft.Insights/diagnosticSettings",
	"privateEndpointConnections",
	"Microsoft.Authorization/roleAssignments",
}

// equivalent are the mutants that no case can tell from the detector, by name,
// each with the reason.
var equivalent = map[string]string{}

// TestEveryConditionIsHeldByACase changes one condition of a detector at a time
// and runs the detector's own cases, at least one of which has to notice. A
// change that none notices is one that somebody can make by mistake.
func TestEveryConditionIsHeldByACase(t *testing.T) {
	mutants, excluded := 0, map[string]bool{}
	for _, d := range detector.All {
		list := read(t, d.Name)
		try := func(mutant detector.Detector, what string, args ...any) {
			name := d.Name + ": " + fmt.Sprintf(what, args...)
			mutants++
			if equivalent[name] != "" {
				excluded[name] = true
				return
			}
			if !noticed(t, mutant, list) {
				t.Errorf("%s: all cases of the detector still pass; add one that does not", name)
			}
		}

		for i, eventType := range d.On.EventTypes {
			m := d
			m.On.EventTypes = slices.Delete(slices.Clone(d.On.EventTypes), i, i+1)
			try(m, "without the event type %s", eventType)
		}
		for _, eventType := range others(eventTypes, d.On.EventTypes) {
			if !strings.HasPrefix(d.On.EventTypes[0], "Microsoft.Resources.") {
				break // Nobody mistakes these types for one that hubwatch makes itself.
			}
			m := d
			m.On.EventTypes = append(slices.Clone(d.On.EventTypes), eventType)
			try(m, "with the event type %s too", eventType)
		}

		if len(d.On.Operations) > 0 {
			m := d
			m.On.Operations = nil
			try(m, "with any operation")
		}
		if len(d.On.Operations) > 1 {
			for i, operation := range d.On.Operations {
				m := d
				m.On.Operations = slices.Delete(slices.Clone(d.On.Operations), i, i+1)
				try(m, "without the operation %s", operation)
			}
		}
		for _, operation := range others(operations, d.On.Operations) {
			if len(d.On.Operations) == 0 {
				break // It takes any.
			}
			m := d
			m.On.Operations = append(slices.Clone(d.On.Operations), operation)
			try(m, "with the operation %s too", operation)
		}

		if d.On.SubjectContains != "" {
			m := d
			m.On.SubjectContains = ""
			try(m, "with any subject")
		}

		where := targetOf(t, d, list)
		if where == nil {
			continue
		}
		childTypesOf := where.ChildTypes()
		original := *childTypesOf
		for i, childType := range original {
			*childTypesOf = slices.Delete(slices.Clone(original), i, i+1)
			try(d, "without the child type %q", childType)
		}
		for _, childType := range others(childTypes, original) {
			*childTypesOf = append(slices.Clone(original), childType)
			try(d, "with the child type %q too", childType)
		}
		*childTypesOf = original
	}
	for name := range equivalent {
		if !excluded[name] {
			t.Errorf("equivalent has %q, which is no mutant", name)
		}
	}
	t.Logf("%d mutants, %d of them excluded", mutants, len(excluded))
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

// targetOf returns the target that d reports on, or nil if what it reports on is
// none. The entity of its alerts tells.
func targetOf(t *testing.T, d detector.Detector, list []cases.Case) *detector.Target {
	t.Helper()
	for _, c := range list {
		if !strings.HasPrefix(c.Name, "fires-") || len(c.Want.Alerts) == 0 {
			continue
		}
		return detector.Targets[alert.EntityType(c.Want.Alerts[0].EntityType)]
	}
	t.Errorf("%s has no case that fires", d.Name)
	return nil
}
