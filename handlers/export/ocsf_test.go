package export

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hubwatch/handlers/alert"
)

// ocsfSchemaVariable is the environment variable with the path of the schema of OCSF,
// where it is not beside the project.
const ocsfSchemaVariable = "HUBWATCH_OCSF_SCHEMA"

// ocsfSchema reads the JSON Schema of OCSF 1.8.0, Detection Finding, which is not a part
// of the project. It skips the test if the schema is not there.
func ocsfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	path, named := os.LookupEnv(ocsfSchemaVariable)
	if !named {
		path = "../../../shared/data/ocsf/detection_finding.schema.json"
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !named {
		t.Skipf("the schema of OCSF is not beside the project; %s can name another place", ocsfSchemaVariable)
	}
	return compiled(t, path)
}

// TestOCSF checks that OCSF's schema takes every alert, and refuses faults.
func TestOCSF(t *testing.T) {
	schema := ocsfSchema(t)
	for name, s := range corpus(t) {
		for _, evidence := range [][]alert.Evidence{nil, s.evidence} {
			text := written(t, NewDetectionFinding(s.alert, evidence))
			if err := schema.Validate(parsed(t, text)); err != nil {
				t.Errorf("%s: %v\n%.2000s", name, err, text)
			}
		}
	}
	a := whole()
	refuses(t, schema.Validate, written(t, NewDetectionFinding(a, someEvidence(a, 1))), []fault{
		{"no time", func(d map[string]any) { delete(d, "time") }},
		{"no product", func(d map[string]any) { delete(at(d, "metadata"), "product") }},
		{"no reference", func(d map[string]any) { delete(at(d, "finding_info"), "uid") }},
		{"no provider", func(d map[string]any) { delete(at(d, "cloud"), "provider") }},
		{"no remedy", func(d map[string]any) { delete(at(d, "remediation"), "desc") }},
		{"an unknown member", func(d map[string]any) { d["detector"] = "CertificateAdded" }},
		{"an unknown member below", func(d map[string]any) { at(d, "finding_info")["reference"] = "x" }},
		{"a severity that is not one", func(d map[string]any) { d["severity_id"] = 7 }},
		{"a verdict that is not one", func(d map[string]any) { d["verdict_id"] = 98 }},
		{"a type of another class", func(d map[string]any) { d["type_uid"] = 200501 }},
		{"a time as text", func(d map[string]any) { d["time"] = "2026-02-01T08:00:01Z" }},
		{"a masked address", func(d map[string]any) { at(d, "evidences", 0, "src_endpoint")["ip"] = "203.0.113.XXX" }},
		{"evidence of nothing", func(d map[string]any) { d["evidences"] = []any{map[string]any{}} }},
		{"a resource without a name", func(d map[string]any) { d["resources"] = []any{map[string]any{"type": "IoTHub"}} }},
		{"an observable of no kind", func(d map[string]any) { delete(at(d, "observables", 0), "type_id") }},
	})
}

// TestOCSFWords checks the words of hubwatch against the numbers and captions of OCSF.
func TestOCSFWords(t *testing.T) {
	type words struct {
		Status     enum
		Activity   enum
		Verdict    enum
		Confidence enum
		Type       enum
		IsAlert    bool
	}
	samples := corpus(t)
	for name, want := range map[string]words{
		"new":                     {enum{1, "New"}, enum{1, "Create"}, enum{}, enum{3, "High"}, enum{200401, "Detection Finding: Create"}, true},
		"reopened":                {enum{1, "New"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"whole":                   {enum{2, "In Progress"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"status Resolved":         {enum{4, "Resolved"}, enum{3, "Close"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200403, "Detection Finding: Close"}, true},
		"status Dismissed":        {enum{3, "Suppressed"}, enum{3, "Close"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200403, "Detection Finding: Close"}, true},
		"status escalated to bob": {enum{99, "escalated to bob"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"suppressed":              {enum{3, "Suppressed"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, false},
		"verdict FalsePositive":   {enum{2, "In Progress"}, enum{2, "Update"}, enum{1, "False Positive"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"verdict Benign":          {enum{2, "In Progress"}, enum{2, "Update"}, enum{5, "Benign"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"verdict who knows":       {enum{2, "In Progress"}, enum{2, "Update"}, enum{99, "who knows"}, enum{3, "High"}, enum{200402, "Detection Finding: Update"}, true},
		"confidence Inferred":     {enum{2, "In Progress"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{2, "Medium"}, enum{200402, "Detection Finding: Update"}, true},
		"confidence ":             {enum{2, "In Progress"}, enum{2, "Update"}, enum{2, "True Positive"}, enum{}, enum{200402, "Detection Finding: Update"}, true},
	} {
		s, ok := samples[name]
		if !ok {
			t.Fatalf("there is no sample %q", name)
		}
		f := NewDetectionFinding(s.alert, nil)
		have := words{
			enum{f.StatusID, f.Status}, enum{f.ActivityID, f.ActivityName}, enum{f.VerdictID, f.Verdict},
			enum{f.ConfidenceID, f.Confidence}, enum{f.TypeUID, f.TypeName}, f.IsAlert,
		}
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(enum{})); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
		if f.StatusCode != string(s.alert.Status) {
			t.Errorf("%s: status_code is %q", name, f.StatusCode)
		}
	}
	for severity, want := range map[alert.Severity]enum{
		alert.Informational: {1, "Informational"}, alert.Low: {2, "Low"}, alert.Medium: {3, "Medium"}, alert.High: {4, "High"},
	} {
		a := whole()
		a.Severity = severity
		if f := NewDetectionFinding(a, nil); f.SeverityID != want.id || f.Severity != want.caption {
			t.Errorf("%s is %d %q, want %v", severity, f.SeverityID, f.Severity, want)
		}
	}
	for kind, want := range map[string]enum{"User": {1, "User"}, "Application": {4, "Service"}, "ManagedIdentity": {4, "Service"}, "Robot": {}, "": {}} {
		e := newOCSFEvidence(alert.Evidence{Actor: "x", Properties: map[string]string{"ActorType": kind}})
		if have := (enum{e.Actor.User.TypeID, e.Actor.User.Type}); have != want {
			t.Errorf("the type of a user that is a %q is %v, want %v", kind, have, want)
		}
	}
}

// TestOCSFObservables checks that each observable stands where its name says, and that
// every plain address, the actor and every resource id is one.
func TestOCSFObservables(t *testing.T) {
	for name, s := range corpus(t) {
		f := NewDetectionFinding(s.alert, s.evidence)
		document := parsed(t, written(t, f)).(map[string]any)
		have := map[string]int{}
		for _, o := range f.Observables {
			have[o.Value] = o.TypeID
			if !holds(document, strings.Split(o.Name, "."), string([]rune(o.Value))) { // the runes without what is not UTF-8
				t.Errorf("%s: %.60q does not stand at %s", name, o.Value, o.Name)
			}
		}
		want := map[string]int{}
		for _, address := range append(s.alert.ActorIPAddresses, s.alert.ActorIPAddress, s.alert.LastActorIPAddress) {
			if isAddress(address) {
				want[address] = 2
			}
		}
		if s.alert.Actor != "" {
			want[s.alert.Actor] = 4
		}
		for _, id := range []string{s.alert.Hub.ResourceID, childResource(s.alert)} {
			if id != "" {
				want[id] = 10
			}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +have):\n%.500s", name, diff)
		}
	}
}

// holds reports whether value stands at a path of a document. A step that ends in []
// is any element.
func holds(document any, path []string, value string) bool {
	if len(path) == 0 {
		return document == value
	}
	step, list := strings.CutSuffix(path[0], "[]")
	object, _ := document.(map[string]any)
	if !list {
		return holds(object[step], path[1:], value)
	}
	elements, _ := object[step].([]any)
	return slices.ContainsFunc(elements, func(element any) bool { return holds(element, path[1:], value) })
}

// TestOCSFEvidence checks how much evidence there is, and what is in it.
func TestOCSFEvidence(t *testing.T) {
	a := whole()
	for n, want := range map[int]int{0: 0, 1: 1, MostEvidence: MostEvidence, MostEvidence + 1: MostEvidence} {
		f := NewDetectionFinding(a, someEvidence(a, n))
		if len(f.Evidences) != want || f.Metadata.Truncated != (n > want) {
			t.Errorf("%d pieces: %d written, truncated: %v", n, len(f.Evidences), f.Metadata.Truncated)
		}
		if n > 0 && f.Evidences[0].UID != someEvidence(a, n)[0].EventID {
			t.Errorf("%d pieces: the first is %s", n, f.Evidences[0].UID)
		}
	}
	if text := written(t, NewDetectionFinding(a, nil)); strings.Contains(text, "evidences") {
		t.Errorf("a list has evidence:\n%s", text)
	}
	e := someEvidence(a, 1)[0]
	plain := newOCSFEvidence(e)
	want := ocsfEvidence{
		UID: e.EventID, Actor: &ocsfActor{ocsfUser{"alice@contoso.example", "00000000-0000-4000-8003-000000000002", 1, "User"}},
		Source: &ocsfEndpoint{"203.0.113.7"}, Data: NewEvidence(e),
	}
	want.Data.RawEvent = ""
	if diff := cmp.Diff(want, plain); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
	e.ActorIPAddress, e.Actor, e.Properties = "203.0.113.XXX", "", nil
	if masked := newOCSFEvidence(e); masked.Source != nil || masked.Actor != nil || masked.Data.ActorIPAddress != "203.0.113.XXX" {
		t.Errorf("a masked address and no actor: %+v", masked)
	}
}

func TestOCSFGolden(t *testing.T) {
	a := whole()
	golden(t, "ocsf.json", written(t, NewDetectionFinding(a, someEvidence(a, 1))))
}
