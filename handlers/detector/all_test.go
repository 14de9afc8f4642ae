package detector

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// published is what Microsoft publishes of its alerts, typed here a second time
// and byte for byte, because rules, queries and dashboards of users compare
// AlertType as it stands
// (https://learn.microsoft.com/azure/defender-for-iot/device-builders/concept-security-alerts).
// Detectors of other alerts are not in it.
var published = map[string]struct {
	alertType string
	severity  alert.Severity
}{
	"CertificateAdded":          {"IoT_CertificateSuccessfullyAddedToHub", "Medium"},
	"CertificateDeleted":        {"IoT_CertificateSuccessfullyDeletedFromHub", "Medium"},
	"CertificateAddFailed":      {"Hub_CertificateFailedToBeAddedToHub", "Medium"},
	"CertificateDeleteFailed":   {"IoT.Hub_CertificateFailedToBeDeletedFromHub", "Medium"},
	"DiagnosticSettingChanged":  {"IoT_DiagnosticSettingAddedOrEditedOnHub", "Low"},
	"DeviceCertificateMismatch": {"IoT_Cert_Print_Mismatch", "Medium"},
	"DeviceCertificateExpired":  {"IoT_Cert_Expired", "Medium"},
	"DiagnosticSettingDeleted":  {"IoT_DiagnosticSettingDeletedFromHub", "Low"},
	"DeviceTokenExpired":        {"IoT_Expired_SAS_Token", "Low"},
	"DeviceTokenInvalid":        {"IoT_Invalid_SAS_Token", "Low"},
}

func TestPublishedNames(t *testing.T) {
	listed := map[string]Detector{}
	for _, d := range All {
		listed[d.Name] = d
	}
	for name, want := range published {
		if d := listed[name]; d.AlertType != want.alertType || d.Severity != want.severity {
			t.Errorf("%s: have %q, %q; Microsoft publishes %q, %q", name, d.AlertType, d.Severity, want.alertType, want.severity)
		}
	}
}

// TestNames checks what the name is used for: a Go identifier, a folder, a URL
// path and the name of an event subscription, some of which ignore case.
func TestNames(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{2,63}$`)
	names, alertTypes := map[string]bool{}, map[string]bool{}
	for _, d := range All {
		if !form.MatchString(d.Name) {
			t.Errorf("%q is not a name that matches %s", d.Name, form)
		}
		if names[strings.ToLower(d.Name)] {
			t.Errorf("two detectors are called %s", d.Name)
		}
		if alertTypes[strings.ToLower(d.AlertType)] {
			t.Errorf("%s: another detector has the alert type %s too", d.Name, d.AlertType)
		}
		names[strings.ToLower(d.Name)], alertTypes[strings.ToLower(d.AlertType)] = true, true
		if !d.Severity.Valid() {
			t.Errorf("%s: %q is not a severity", d.Name, d.Severity)
		}
		if d.Detect == nil {
			t.Errorf("%s has no Detect", d.Name)
		}
	}
}

// TestTexts checks that what people read is written: an alert type that no query has
// to escape, a title like a heading, and the rest in full sentences.
func TestTexts(t *testing.T) {
	alertType := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{2,127}$`)
	for _, d := range All {
		if !alertType.MatchString(d.AlertType) {
			t.Errorf("%s: AlertType %q: want one that matches %s", d.Name, d.AlertType, alertType)
		}
		if !beginsUpper(d.Title) || strings.HasSuffix(d.Title, ".") || strings.TrimSpace(d.Title) != d.Title {
			t.Errorf("%s: Title %q: want a heading: a capital first and no full stop", d.Name, d.Title)
		}
		sentences := map[string]string{"Description": d.Description, "Limits": d.Limits}
		if len(d.Remediation) == 0 {
			t.Errorf("%s has no Remediation", d.Name)
		}
		for _, step := range d.Remediation {
			sentences["Remediation step "+step] = step
		}
		for what, text := range sentences {
			if !beginsUpper(text) || !strings.HasSuffix(text, ".") || len(strings.Fields(text)) < 4 ||
				strings.Contains(text, "  ") || strings.ContainsAny(text, "\n\t") {
				t.Errorf("%s: %s: %q: want full sentences on one line", d.Name, what, text)
			}
		}
	}
}

func beginsUpper(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(first)
}

// TestTriggerLimits checks what Event Grid accepts: 25 advanced filters per event
// subscription with 25 values in all, and 512 characters per value
// (https://learn.microsoft.com/azure/event-grid/event-filtering#limitations).
func TestTriggerLimits(t *testing.T) {
	for _, d := range All {
		f := d.On.Filter()
		if len(f.IncludedEventTypes) == 0 {
			t.Errorf("%s: without an event type it is sent every event there is", d.Name)
		}
		for _, eventType := range f.IncludedEventTypes {
			if eventType == "" {
				t.Errorf("%s: an event type is empty", d.Name)
			}
		}
		if len(f.AdvancedFilters) > 25 {
			t.Errorf("%s: %d advanced filters: Event Grid takes 25", d.Name, len(f.AdvancedFilters))
		}
		values := 0
		for _, a := range f.AdvancedFilters {
			if len(a.Values) == 0 {
				t.Errorf("%s: filter on %s: no values, so no event passes", d.Name, a.Key)
			}
			values += len(a.Values)
			for _, v := range a.Values {
				if v == "" || utf8.RuneCountInString(v) > 512 {
					t.Errorf("%s: filter on %s: a value of %d characters: Event Grid takes 1 to 512", d.Name, a.Key, utf8.RuneCountInString(v))
				}
			}
		}
		if values > 25 {
			t.Errorf("%s: %d values: Event Grid takes 25 in all advanced filters together", d.Name, values)
		}
	}
}

func TestTriggerWords(t *testing.T) {
	trigger := Trigger{EventTypes: []string{"A", "B"}, Operations: []string{"p/write", "q/write"}, SubjectContains: "/hub/"}
	if got, want := trigger.String(), "A or B of the operation p/write or q/write, on a subject that contains /hub/"; got != want {
		t.Errorf("have %q, want %q", got, want)
	}
	want := Filter{IncludedEventTypes: []string{"A", "B"}, AdvancedFilters: []AdvancedFilter{
		{"StringIn", "data.operationName", []string{"p/write", "q/write"}},
		{"StringContains", "subject", []string{"/hub/"}},
	}}
	if diff := cmp.Diff(want, trigger.Filter()); diff != "" {
		t.Errorf("the filter differs (-want +got):\n%s", diff)
	}
	if got := (Trigger{EventTypes: []string{"A"}}).Filter(); len(got.AdvancedFilters) != 0 {
		t.Errorf("a trigger without further conditions has the filters %v", got.AdvancedFilters)
	}
}

// TestAllIsComplete compares All with the variables of type Detector in the
// source: one that is not in the list is never run, and nothing else says so.
func TestAllIsComplete(t *testing.T) {
	listed := map[string]bool{}
	for _, d := range All {
		listed[d.Name] = true
	}
	declared := declaredDetectors(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(listed))); diff != "" {
		t.Errorf("the detectors of the source and the names in All differ (-source +All):\n%s", diff)
	}
	for variable, name := range declared {
		if variable != name {
			t.Errorf("the variable %s holds the detector %q: want one name for both", variable, name)
		}
	}
}

// declaredDetectors returns the Name of each package-level variable that is
// initialised with a Detector, by the variable's own name.
func declaredDetectors(t *testing.T) map[string]string {
	t.Helper()
	declared := map[string]string{}
	for _, file := range sourceFiles(t) {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				v := spec.(*ast.ValueSpec)
				for i, value := range v.Values {
					literal, ok := value.(*ast.CompositeLit)
					if !ok {
						continue
					}
					if typ, ok := literal.Type.(*ast.Ident); !ok || typ.Name != "Detector" {
						continue
					}
					declared[v.Names[i].Name] = stringField(literal, "Name")
				}
			}
		}
	}
	return declared
}

func sourceFiles(t *testing.T) (files []*ast.File) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func stringField(literal *ast.CompositeLit, name string) string {
	for _, element := range literal.Elts {
		field, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, isIdent := field.Key.(*ast.Ident)
		value, isLit := field.Value.(*ast.BasicLit)
		if isIdent && isLit && key.Name == name {
			return strings.Trim(value.Value, `"`)
		}
	}
	return ""
}

// TestCaseFolders finds cases that no detector runs, such as those of one that
// was renamed.
func TestCaseFolders(t *testing.T) {
	entries, err := fs.ReadDir(os.DirFS("testdata"), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() == "fuzz" {
			continue // go test keeps the inputs of fuzz tests there.
		}
		if !entry.IsDir() || !slices.ContainsFunc(All, func(d Detector) bool { return d.Name == entry.Name() }) {
			t.Errorf("testdata/%s belongs to no detector in All", entry.Name())
		}
	}
}
