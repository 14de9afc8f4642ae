package custom

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var updateImport = flag.Bool("update-import", false, "rewrite the reports in testdata/import")

// importReport is what the file of a report has: what became of each rule, and of what was
// made everything but texts and cases.
type importReport struct {
	Rules   []Mapping
	Remarks []string
	Alerts  []importedAlert
}

type importedAlert struct {
	Name, AlertType string
	Enabled         bool
	When            string
	Count           Count
	Group           *Group `json:",omitempty"`
}

// TestImport imports each file of testdata/import and compares what became of it with the
// report beside it, word by word.
func TestImport(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, ".report") })
	if len(files) == 0 {
		t.Fatal("there are no files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in := importFile(t, file)
			report := importReport{Rules: in.Rules, Remarks: in.Remarks}
			for _, a := range in.Alerts {
				report.Alerts = append(report.Alerts, importedAlert{a.Name, a.AlertType, a.Enabled, a.When, *a.Count, a.Group})
			}
			got, err := json.Marshal(report, jsontext.WithIndent("  "), json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			golden := file + ".report"
			if *updateImport {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(got)); diff != "" {
				t.Errorf("the report differs (-want +got); -update-import rewrites it:\n%s", diff)
			}
		})
	}
}

func importFile(t *testing.T, file string) Imported {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Import(data)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestImportLosesNothing checks that each rule of a file is in the report: it is mapped, or
// there is a note that says why not.
func TestImportLosesNothing(t *testing.T) {
	for _, file := range []string{"all_types.json", "ranges.json", "terraform.tfstate"} {
		data, err := os.ReadFile(filepath.Join("testdata/import", file))
		if err != nil {
			t.Fatal(err)
		}
		e, err := readExport(data)
		if err != nil {
			t.Fatal(err)
		}
		rules := 0
		for _, g := range e.groups {
			rules += len(g.rules)
		}
		in := importFile(t, filepath.Join("testdata/import", file))
		if len(in.Rules) != rules {
			t.Errorf("%s has %d rules, and the report %d", file, rules, len(in.Rules))
		}
		for _, m := range in.Rules {
			if len(m.Notes) == 0 {
				t.Errorf("%s: %+v: no note", file, m)
			}
			for _, note := range m.Notes {
				if !strings.HasSuffix(note, ".") && !strings.Contains(note, "az iot hub query") {
					t.Errorf("%s: %s: not a sentence: %s", file, m.Rule, note)
				}
			}
		}
	}
}

// TestImportKnowsAllTypes checks that each type of rule of the API is either mapped or has
// a reason. The types are those that the client of the API can read
// (github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/security/armsecurity, v0.15.0).
func TestImportKnowsAllTypes(t *testing.T) {
	types := strings.Fields(`
		ActiveConnectionsNotInAllowedRange AmqpC2DMessagesNotInAllowedRange AmqpC2DRejectedMessagesNotInAllowedRange
		AmqpD2CMessagesNotInAllowedRange DirectMethodInvokesNotInAllowedRange FailedLocalLoginsNotInAllowedRange
		FileUploadsNotInAllowedRange HttpC2DMessagesNotInAllowedRange HttpC2DRejectedMessagesNotInAllowedRange
		HttpD2CMessagesNotInAllowedRange MqttC2DMessagesNotInAllowedRange MqttC2DRejectedMessagesNotInAllowedRange
		MqttD2CMessagesNotInAllowedRange QueuePurgesNotInAllowedRange TwinUpdatesNotInAllowedRange
		UnauthorizedOperationsNotInAllowedRange
		ConnectionFromIpNotAllowed ConnectionToIpNotAllowed LocalUserNotAllowed ProcessNotAllowed`)
	if len(types) != len(targets)+len(unmapped) {
		t.Errorf("the API has %d types, hubwatch knows %d", len(types), len(targets)+len(unmapped))
	}
	for _, name := range types {
		_, mapped := targets[name]
		_, not := unmapped[name]
		if mapped == not {
			t.Errorf("%s: mapped %v, has a reason %v", name, mapped, not)
		}
	}
}

// TestImportBack makes a rule of Microsoft's of each alert that was imported. The rules are
// the same as those of the file that the report says are mapped.
func TestImportBack(t *testing.T) {
	for _, file := range []string{"all_types.json", "ranges.json", "single.json", "template.json", "bicep.json", "terraform.tfstate"} {
		t.Run(file, func(t *testing.T) {
			in := importFile(t, filepath.Join("testdata/import", file))
			made := map[string]Alert{}
			for _, a := range in.Alerts {
				made[a.Name] = a
			}
			var want, got []string
			for _, m := range in.Rules {
				for _, name := range m.Alerts {
					low, high, window := 0, 0, ""
					if _, err := fmt.Sscanf(m.Range, "%d to %d in %s", &low, &high, &window); err != nil {
						t.Fatalf("%s: %v", m.Range, err)
					}
					width, err := parseDuration(window)
					if err != nil {
						t.Fatal(err)
					}
					if made[name].Count.Min != low && !slices.ContainsFunc(m.Notes, func(note string) bool { return strings.Contains(note, "is not mapped") }) {
						t.Errorf("%s: the rule expects %d, its alert %s %d, and no note says why", m.Rule, low, name, made[name].Count.Min)
					}
					want = append(want, fmt.Sprintf("%s %s: %s %d %v", m.Hub, m.Group, m.Rule, high, width))
				}
			}
			for _, a := range in.Alerts {
				got = append(got, rulesOf(t, a, in)...)
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the rules differ (-want +got):\n%s", diff)
			}
		})
	}
}

var (
	watchedHubs = regexp.MustCompile(`^hub\.lowerAscii\(\) in \[(.*?)\]`)
	rangeTypes  = map[string]string{
		"IoT_CA_UnauthorizedOperationsNotInAllowedRange": "UnauthorizedOperationsNotInAllowedRange",
		"IoT_CA_DirectMethodInvokesNotInAllowedRange":    "DirectMethodInvokesNotInAllowedRange",
		"IoT_CA_TwinUpdatesNotInAllowedRange":            "TwinUpdatesNotInAllowedRange",
		"Hubwatch_ServiceTwinUpdatesNotInAllowedRange":   "TwinUpdatesNotInAllowedRange",
	}
)

// rulesOf is the inverse of an import: the rules that an alert stands for, one for each of
// its hubs.
func rulesOf(t *testing.T, a Alert, in Imported) (rules []string) {
	t.Helper()
	base, group, _ := strings.Cut(a.AlertType, ".")
	name, ok := rangeTypes[base]
	if !ok {
		t.Fatalf("%s has the alert type %s", a.Name, a.AlertType)
	}
	// The type of the alert has the name of the group with other signs, and perhaps a hub.
	spelled := "default"
	for _, m := range in.Rules {
		if !isDefault(m.Group) && (group == typeSafe(m.Group) || strings.HasPrefix(group, typeSafe(m.Group)+".")) {
			spelled = m.Group
		}
	}
	if (a.Group == nil) != (spelled == "default") || a.Enabled != (spelled == "default") {
		t.Errorf("%s: the group %q has %+v, enabled %v", a.Name, spelled, a.Group, a.Enabled)
	}
	width, err := parseDuration(a.Count.Window)
	if err != nil {
		t.Fatal(err)
	}
	hubs := []string{""}
	if list := watchedHubs.FindStringSubmatch(a.When); list != nil {
		hubs = strings.Split(strings.ReplaceAll(list[1], `"`, ""), ", ")
	}
	for _, hub := range hubs {
		rules = append(rules, fmt.Sprintf("%s %s: %s %d %v", hub, spelled, name, *a.Count.Max, width))
	}
	return rules
}

// TestImportedAlertsAreRight reads the alerts that an import made as Load reads files, and
// runs their cases.
func TestImportedAlertsAreRight(t *testing.T) {
	for _, file := range []string{"all_types.json", "ranges.json", "bicep.json", "terraform_show.json"} {
		in := importFile(t, filepath.Join("testdata/import", file))
		files := map[string]string{}
		for _, a := range in.Alerts {
			files[a.Name] = string(Format(a))
		}
		loaded, err := Load(repository(files))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for i, a := range loaded {
			if string(Format(a)) != string(Format(in.Alerts[i])) {
				t.Errorf("%s: %s reads differently than it was written", file, a.Name)
			}
			if err := a.Test(); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// TestLargestImport imports the largest range that hubwatch counts. Its cases fit the
// bounds of a file.
func TestLargestImport(t *testing.T) {
	in, err := Import([]byte(`{"properties":{"timeWindowRules":[{"ruleType":"UnauthorizedOperationsNotInAllowedRange","isEnabled":true,"minThreshold":1000,"maxThreshold":1000,"timeWindowSize":"PT5M"}]}}`))
	if err != nil || len(in.Alerts) != 1 {
		t.Fatalf("%+v, %v", in, err)
	}
	loaded, err := Load(repository(map[string]string{in.Alerts[0].Name: string(Format(in.Alerts[0]))}))
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded[0].Test(); err != nil {
		t.Error(err)
	}
}

// TestReadyAlerts compares the files that hubwatch ships switched off with what an import
// begins with. One that is switched on is somebody's own.
func TestReadyAlerts(t *testing.T) {
	for _, r := range readyAlerts {
		a, ok := Ready(r.alert.Name)
		if !ok || a.Enabled {
			t.Errorf("%s: ready %v, enabled %v", r.alert.Name, ok, a.Enabled)
		}
		file := filepath.Join("../../functions", a.Name, FileName)
		if *updateImport {
			if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, Format(a), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(have, []byte("\n  \"enabled\": true,\n")) {
			continue
		}
		if diff := cmp.Diff(string(Format(a)), string(have)); diff != "" {
			t.Errorf("%s differs; -update-import rewrites it:\n%s", file, diff)
		}
	}
}

// TestImportedHubs checks which hubs an alert watches: those on which its rule is switched
// on, and all if the file does not say on which that is.
func TestImportedHubs(t *testing.T) {
	group := func(hub string, on bool) string {
		id := ""
		if hub != "" {
			id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/" + hub + "/providers/Microsoft.Security/deviceSecurityGroups/default"
		}
		return fmt.Sprintf(`{"id":%q,"name":"default","properties":{"timeWindowRules":[{"ruleType":"DirectMethodInvokesNotInAllowedRange","isEnabled":%v,"minThreshold":0,"maxThreshold":1,"timeWindowSize":"PT5M"}]}}`, id, on)
	}
	for _, c := range []struct{ groups, want string }{
		{group("Contoso-Hub", true), `hub.lowerAscii() in ["contoso-hub"]`},
		{group("b", true) + "," + group("a", true), `hub.lowerAscii() in ["a", "b"]`},
		{group("b", true) + "," + group("a", false), `hub.lowerAscii() in ["b"]`},
		{group("b", true) + "," + group("", true), ``},
		{group("b", true) + "," + group("", false), `hub.lowerAscii() in ["b"]`},
	} {
		in, err := Import([]byte("[" + c.groups + "]"))
		if err != nil || len(in.Alerts) != 1 {
			t.Fatalf("%s: %+v, %v", c.groups, in, err)
		}
		if got := in.Alerts[0].When; got != c.want {
			t.Errorf("%s: watched on the condition %s, want %s", c.groups, got, c.want)
		}
	}
}

// TestImportMistakes imports what is not an export.
func TestImportMistakes(t *testing.T) {
	for data, want := range map[string]string{
		``:                 "EOF",
		`{"value":`:        "EOF",
		`{"a":1,"a":2}`:    "duplicate",
		`7`:                "want device security groups",
		`{"name":"x"}`:     "want device security groups",
		`{"value":[]}`:     "there is no device security group",
		`[]`:               "there is no device security group",
		`{"resources":[]}`: "there is no device security group",
		`{"value":[{}],"nextLink":"https://management.azure.com/x"}`:                                                      "nextLink: the list goes on",
		`{"version":3,"terraform_version":"0.11.0","resources":[]}`:                                                       "want the state of Terraform in version 4, have 3",
		`{"version":4,"terraform_version":"1.9.8","resources":[{"type":"azurerm_iothub","instances":[]}]}`:                "there is no device security group",
		`{"resources":[{"type":"Microsoft.Resources/deployments","name":"x","properties":{"templateLink":{"uri":"x"}}}]}`: "there is no device security group in it; resources[0].properties: hubwatch does not read",
	} {
		if _, err := Import([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}

// TestImportedNames checks that names of groups cannot make a name that is not the name of
// an alert, nor two names that are the same.
func TestImportedNames(t *testing.T) {
	for group, want := range map[string]string{
		"thermostats": "Thermostats", "thermo-stats": "ThermoStats", "7 up": "7Up", "a.b_c": "ABC", strings.Repeat("long", 20): "Longlonglonglonglonglong",
	} {
		if got := pascal(group); !strings.HasPrefix(got, want) || len(got) > 32 {
			t.Errorf("%s becomes %s, want %s", group, got, want)
		}
	}
	if a, b := pascal("ä"), pascal("ö"); a == b || a == "" {
		t.Errorf("two groups become %q and %q", a, b)
	}
}

// TestTemplateExpressions evaluates names of a template.
func TestTemplateExpressions(t *testing.T) {
	wide := strings.Repeat("parameters('b'), ", 100) + "'x'"
	for name, want := range map[string]string{
		"default":                            "default",
		"[[default]":                         "[default]",
		"['it''s']":                          "it's",
		"[ concat( 'a' , parameters('A') )]": "ab",
		"[format('{0}-{1}-{0}', variables('v'), 7)]": "b-7-b",
		"[parameters('none')]":                       "[parameters('none')]",
		"[parameters('self')]":                       "[parameters('self')]",
		"[concat('a'":                                "[concat('a'",
		"[concat('a')] ":                             "[concat('a')] ",
		"[concat('a') 'b']":                          "[concat('a') 'b']",
		"[concat('a' 'b')]":                          "[concat('a' 'b')]",
		"['a]":                                       "['a]",
		"[resourceGroup().name]":                     "[resourceGroup().name]",
		"[uniqueString('a')]":                        "[uniqueString('a')]",
		"[parameters('wide')]":                       "[parameters('wide')]",
	} {
		template := map[string]any{
			"parameters": map[string]any{
				"a": map[string]any{"defaultValue": "b"}, "self": map[string]any{"defaultValue": "[parameters('self')]"},
				"wide":  map[string]any{"defaultValue": "[concat(" + strings.ReplaceAll(wide, "'b'", "'wide2'") + ")]"},
				"wide2": map[string]any{"defaultValue": "[concat(" + strings.ReplaceAll(wide, "'b'", "'wide3'") + ")]"},
				"wide3": map[string]any{"defaultValue": "[concat(" + strings.ReplaceAll(wide, "'b'", "'a'") + ")]"},
			},
			"variables": map[string]any{"v": "[parameters('a')]"},
			"resources": []any{map[string]any{"type": groupType, "name": name, "properties": map[string]any{}}},
		}
		if e := templateExport(part{v: template}, scope{}, part{}); len(e.groups) != 1 || e.groups[0].name != want {
			t.Errorf("%s: have %+v, want the name %s", name, e, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/import/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Import(data)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, a := range in.Alerts {
			if !importedName.MatchString(a.Name) || seen[a.Name] {
				t.Errorf("an alert is called %q", a.Name)
			}
			seen[a.Name] = true
		}
	})
}

var importedName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{2,63}$`)
