package custom

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

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
	in, err := Import(data, nil)
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
// the same as those of the file that are switched on and of a type that can be mapped. What
// the file has is read here, without the importer.
func TestImportBack(t *testing.T) {
	for file, values := range map[string]*strings.Replacer{
		"all_types.json": strings.NewReplacer(), "single.json": strings.NewReplacer(), "terraform.tfstate": strings.NewReplacer(), "terraform_show.json": strings.NewReplacer(),
		"ranges.json": strings.NewReplacer(),
		// What the parameters and variables of the templates are; a parameter without a value makes its rule no rule.
		"template.json": strings.NewReplacer(`"[variables('window')]"`, `"PT05M"`, `"Microsoft.Security/inner"`, `"contoso-hub/Microsoft.Security/inner"`,
			`[concat(parameters('IotHubs_contoso_hub_name'), '/Microsoft.Security/default')]`, `contoso-hub/Microsoft.Security/default`),
		"bicep.json": strings.NewReplacer(`"[parameters('most')]"`, `1`, `[resourceId('Microsoft.Devices/IotHubs', parameters('hubName'))]`, `Microsoft.Devices/IotHubs/contoso-prod`,
			`[format('Microsoft.Devices/IotHubs/{0}', 'contoso-lab')]`, `Microsoft.Devices/IotHubs/contoso-lab`),
	} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata/import", file))
			if err != nil {
				t.Fatal(err)
			}
			var root any
			if err := json.Unmarshal([]byte(values.Replace(string(data))), &root); err != nil {
				t.Fatal(err)
			}
			want := rulesIn(root, "", "")
			var got []string
			for _, a := range importFile(t, filepath.Join("testdata/import", file)).Alerts {
				got = append(got, rulesOf(t, a)...)
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("the rules differ (-want +got):\n%s", diff)
			}
		})
	}
}

// rangeTypes are the types of rules that can be mapped, by the types of the alerts.
var rangeTypes = map[string]string{
	"IoT_CA_UnauthorizedOperationsNotInAllowedRange": "UnauthorizedOperationsNotInAllowedRange",
	"IoT_CA_DirectMethodInvokesNotInAllowedRange":    "DirectMethodInvokesNotInAllowedRange",
	"IoT_CA_TwinUpdatesNotInAllowedRange":            "TwinUpdatesNotInAllowedRange",
	"Hubwatch_ServiceTwinUpdatesNotInAllowedRange":   "TwinUpdatesNotInAllowedRange",
}

// rulesIn returns the rules of a file that are switched on, of a type that can be mapped, and
// within the bounds of a count. hub and group are those around v. A rule of twins stands
// twice and without its least, since it becomes two alerts.
func rulesIn(v any, hub, group string) (rules []string) {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			rules = append(rules, rulesIn(element, hub, group)...)
		}
	case map[string]any:
		if name, ok := v["name"].(string); ok && !strings.Contains(name, "[") {
			group = name[strings.LastIndex(name, "/")+1:]
		}
		for _, member := range []string{"id", "iothub_id", "scope", "name"} {
			text, _ := v[member].(string)
			if at := regexp.MustCompile(`(?:(?i)Microsoft\.Devices/IotHubs/|^)([a-z-]+)(?:$|/Microsoft\.Security|/providers)`).FindStringSubmatch(text); at != nil && (member != "name" || strings.Contains(text, "/")) {
				hub = at[1]
			}
		}
		first := func(names ...string) any {
			for _, name := range names {
				if value, ok := v[name]; ok {
					return value
				}
			}
			return nil
		}
		kind, _ := first("ruleType", "type").(string)
		low, isLow := first("minThreshold", "min").(float64)
		high, isHigh := first("maxThreshold", "max").(float64)
		window, _ := first("timeWindowSize", "duration").(string)
		minutes := map[string]int{"PT5M": 5, "PT05M": 5, "PT15M": 15, "PT1H": 60}[window]
		on, said := v["isEnabled"].(bool)
		if isLow && isHigh && minutes > 0 && low <= high && high <= 1000 && (on || !said && v["isEnabled"] == nil) {
			for _, of := range rangeTypes {
				if of == kind && kind == "TwinUpdatesNotInAllowedRange" {
					low = 0
				}
				if of == kind {
					rules = append(rules, fmt.Sprintf("%s %s: %s %v to %v in %d minutes", hub, group, kind, low, high, minutes))
				}
			}
		}
		for _, member := range v {
			rules = append(rules, rulesIn(member, hub, group)...)
		}
	}
	return rules
}

// rulesOf is the inverse of an import: the rules that an alert stands for, one for each of
// its hubs.
func rulesOf(t *testing.T, a Alert) (rules []string) {
	t.Helper()
	base, _, _ := strings.Cut(a.AlertType, ".")
	name, ok := rangeTypes[base]
	if !ok {
		t.Fatalf("%s has the alert type %s", a.Name, a.AlertType)
	}
	group := "default"
	if at := regexp.MustCompile(`device security group "(.*?)"`).FindStringSubmatch(a.Limits); at != nil {
		group = at[1]
	}
	if (a.Group == nil) != (group == "default") || a.Enabled != (group == "default") {
		t.Errorf("%s: the group %q has %+v, enabled %v", a.Name, group, a.Group, a.Enabled)
	}
	width, err := parseDuration(a.Count.Window)
	if err != nil {
		t.Fatal(err)
	}
	hubs := []string{""}
	if list := regexp.MustCompile(`^hub\.lowerAscii\(\) in \[(.*?)\]`).FindStringSubmatch(a.When); list != nil {
		hubs = strings.Split(strings.ReplaceAll(list[1], `"`, ""), ", ")
	}
	for _, hub := range hubs {
		rules = append(rules, fmt.Sprintf("%s %s: %s %d to %d in %v minutes", hub, group, name, a.Count.Min, *a.Count.Max, width.Minutes()))
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
	in, err := Import([]byte(`{"properties":{"timeWindowRules":[{"ruleType":"UnauthorizedOperationsNotInAllowedRange","isEnabled":true,"minThreshold":1000,"maxThreshold":1000,"timeWindowSize":"PT5M"}]}}`), nil)
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
		in, err := Import([]byte("["+c.groups+"]"), nil)
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
		if _, err := Import([]byte(data), nil); err == nil || !strings.Contains(err.Error(), want) {
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

// exported returns a group as the REST API answers, with a rule of DirectMethodInvokes for
// each range: "0 5". A group of no hub is one whose hub the answer does not name.
func exported(hub, group string, ranges ...string) string {
	var rules []string
	for _, limits := range ranges {
		low, high, _ := strings.Cut(limits, " ")
		rules = append(rules, fmt.Sprintf(`{"ruleType": "DirectMethodInvokesNotInAllowedRange", "isEnabled": true, "minThreshold": %s, "maxThreshold": %s, "timeWindowSize": "PT15M"}`, low, high))
	}
	id := ""
	if hub != "" {
		id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/" + hub
		if group != "" {
			id += "/providers/Microsoft.Security/deviceSecurityGroups/" + group
		}
		id = fmt.Sprintf(`"id": %q, `, id)
	}
	return fmt.Sprintf(`{%s"name": %q, "properties": {"timeWindowRules": [%s]}}`, id, group, strings.Join(rules, ", "))
}

// importInto imports groups into a repository that has alerts, and returns those that it has
// then. All of them can be loaded: nothing that an import writes has a mistake.
func importInto(t *testing.T, have []Alert, groups ...string) ([]Alert, Imported) {
	t.Helper()
	in, err := Import([]byte("["+strings.Join(groups, ",")+"]"), have)
	if err != nil {
		t.Fatal(err)
	}
	return loadAll(t, in, have), in
}

func loadAll(t *testing.T, in Imported, have []Alert) []Alert {
	t.Helper()
	files := map[string]string{}
	for _, a := range slices.Concat(have, in.Alerts) {
		files[a.Name] = string(Format(a))
	}
	for _, name := range in.Removed {
		delete(files, name)
	}
	loaded, err := Load(repository(files))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// summary returns alerts as "Name: range, hubs", without those that are off and of no group.
func summary(alerts []Alert) (lines []string) {
	for _, a := range alerts {
		if a.Enabled || a.Group != nil {
			lines = append(lines, fmt.Sprintf("%s: %d %d %s", a.Name, a.Count.Min, *a.Count.Max, strings.Join(hubsOf(a), " ")))
		}
	}
	return lines
}

// TestImportedNamesAreTheirOwn imports rules whose hubs or groups have names that become the
// same name, or the same type, of an alert. Each rule gets an alert of its own, by the same
// name in any order of the file.
func TestImportedNamesAreTheirOwn(t *testing.T) {
	long := strings.Repeat("long", 16)
	for name, groups := range map[string][]string{
		"hyphen":        {exported("a-b", "default", "0 5"), exported("ab", "default", "0 7")},
		"letter case":   {exported("hub1", "default", "0 5"), exported("HUB1", "default", "0 7")},
		"three":         {exported("a-b", "default", "0 5"), exported("ab", "default", "0 7"), exported("a-b", "lab", "0 5"), exported("ab", "lab", "0 7")},
		"accents":       {exported("hub", "Ä", "0 5"), exported("hub", "Ö", "0 5"), exported("hub", "Ü", "0 6")},
		"long groups":   {exported("hub", long+"1", "0 5"), exported("hub", long+"2", "0 5")},
		"signs":         {exported("hub", "a b", "0 5"), exported("hub", "a-b", "0 5"), exported("hub", "a_b", "0 5")},
		"same rule":     {exported("hub", "default", "0 5", "0 6", "1 6")},
		"no name":       {exported("hub", "", "0 5"), exported("hub", "default", "0 5")},
		"group and hub": {exported("b", "a", "0 5"), exported("c", "a", "0 6"), exported("b", "a.b", "0 7"), exported("c", "a.b", "0 8")},
	} {
		t.Run(name, func(t *testing.T) {
			alerts, in := importInto(t, nil, groups...)
			rules := 0
			for _, m := range in.Rules {
				if rules++; len(m.Alerts) != 1 || m.Blocked {
					t.Errorf("%s, %s: %v: %v", m.Hub, m.Range, m.Alerts, m.Notes)
				}
				twice := slices.ContainsFunc(m.Notes, func(note string) bool { return strings.HasPrefix(note, "The file has another rule of this type") })
				if twice != (name == "letter case" || name == "same rule") {
					t.Errorf("%s, %s: says that the hub has two rules: %v", m.Hub, m.Range, twice)
				}
			}
			if len(alerts) != rules {
				t.Errorf("%d rules have %d alerts", rules, len(alerts))
			}
			slices.Reverse(groups)
			if name == "same rule" {
				groups = []string{exported("hub", "default", "1 6", "0 6", "0 5")}
			}
			reversed, _ := importInto(t, nil, groups...)
			if diff := cmp.Diff(summary(alerts), summary(reversed)); diff != "" {
				t.Errorf("in another order (-first +other):\n%s", diff)
			}
			if again, in := importInto(t, alerts, groups...); len(in.Removed) > 0 || !slices.EqualFunc(again, alerts, same) {
				t.Errorf("the second import changes something: %v > %v", summary(alerts), summary(again))
			}
		})
	}
}

// TestImportOfManyHubs imports the same rule of more hubs than the condition of one alert has
// room for. Each hub is in one alert. A second import with one more changes one of them.
func TestImportOfManyHubs(t *testing.T) {
	var groups []string
	for n := range 300 {
		groups = append(groups, exported(fmt.Sprintf("contoso-hub-%03d", n), "default", "0 5"))
	}
	alerts, in := importInto(t, nil, groups...)
	watched := map[string]int{}
	for _, a := range alerts {
		for _, hub := range hubsOf(a) {
			watched[hub]++
		}
	}
	if len(alerts) != 2 || len(watched) != 300 {
		t.Errorf("%d alerts watch %d hubs", len(alerts), len(watched))
	}
	for _, m := range in.Rules {
		if watched[m.Hub] != 1 || len(m.Alerts) != 1 || !slices.ContainsFunc(alerts, func(a Alert) bool { return a.Name == m.Alerts[0] && slices.Contains(hubsOf(a), m.Hub) }) {
			t.Errorf("%s is in %v", m.Hub, m.Alerts)
		}
	}
	more, _ := importInto(t, alerts, append(groups, exported("contoso-hub-000a", "default", "0 5"))...)
	changed := 0
	for i, a := range more {
		if !same(a, alerts[i]) {
			changed++
		}
	}
	if len(more) != 2 || changed != 1 {
		t.Errorf("one more hub changes %d of %d alerts", changed, len(more))
	}
}

// TestConditionsOfManyHubs checks that the longest conditions of imported alerts cost so
// little that they need not wait for their turn.
func TestConditionsOfManyHubs(t *testing.T) {
	for _, r := range readyAlerts {
		for _, name := range []string{"%03d", "contoso-hub-with-a-long-name-%03d"} {
			h := &holder{definition: definition{kind: r.alert.Name}}
			var hubs []string
			for n := range 999 {
				hubs = append(hubs, fmt.Sprintf(name, n))
			}
			left := h.take(hubs)
			condition, faults := compile(r.condition(h.hubs), boolValue)
			if len(faults) > 0 || len(left) == 0 || len(left)+len(h.hubs) != len(hubs) {
				t.Fatalf("%d hubs of %d are left: %v", len(left), len(hubs), faults)
			}
			f := &facts{hub: strings.ToUpper(h.hubs[len(h.hubs)-1]), operation: "update", members: map[string]any{"resultType": "401003"}, spent: new(uint64)}
			if fires, cost, err := condition.eval(f); fires != true || cost > mostCost/20 || err != nil {
				t.Errorf("%s on %d hubs: %v, costs %d, %v", r.alert.Name, len(h.hubs), fires, cost, err)
			}
		}
	}
}

// TestImportAgain imports a second file into what a first one made.
func TestImportAgain(t *testing.T) {
	shipped, _ := Ready("DirectMethodInvokes")
	edit := func(name string, change func(*Alert)) func([]Alert) {
		return func(alerts []Alert) {
			i := slices.IndexFunc(alerts, func(a Alert) bool { return a.Name == name })
			change(&alerts[i])
		}
	}
	both := []string{exported("hub1", "default", "0 5"), exported("hub2", "default", "0 9")}
	for name, c := range map[string]struct {
		first   []string
		edit    func([]Alert)
		second  []string
		want    []string // the summary
		blocked int      // how many rules are
		removed []string
	}{
		"the same":          {first: both, second: both, want: []string{"DirectMethodInvokesHub1: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}},
		"another range":     {first: both[:1], second: []string{exported("Hub1", "default", "0 9")}, want: []string{"DirectMethodInvokes: 0 9 hub1"}},
		"another hub":       {first: both[:1], second: both[1:], want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}},
		"one more hub":      {first: both[:1], second: both, want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}},
		"the other hub":     {first: both[:1], second: []string{exported("hub2", "default", "0 5")}, want: []string{"DirectMethodInvokes: 0 5 hub1 hub2"}},
		"both changed":      {first: both, second: []string{exported("hub1", "default", "0 6"), exported("hub2", "default", "0 7")}, want: []string{"DirectMethodInvokesHub1: 0 6 hub1", "DirectMethodInvokesHub2: 0 7 hub2"}},
		"turned around":     {first: both, second: []string{exported("hub1", "default", "0 9"), exported("hub2", "default", "0 5")}, want: []string{"DirectMethodInvokesHub1: 0 9 hub1", "DirectMethodInvokesHub2: 0 5 hub2"}},
		"apart":             {first: []string{exported("hub1", "default", "0 5"), exported("hub2", "default", "0 5")}, second: both, want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}},
		"apart by one file": {first: []string{exported("hub1", "default", "0 5"), exported("hub2", "default", "0 5")}, second: both[1:], want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}},
		"together":          {first: both, second: []string{exported("hub1", "default", "0 5"), exported("hub2", "default", "0 5")}, want: []string{"DirectMethodInvokesHub1: 0 5 hub1 hub2"}, removed: []string{"DirectMethodInvokesHub2"}},
		"all hubs":          {first: both, second: []string{exported("", "default", "0 5")}, want: []string{"DirectMethodInvokes: 0 5 "}, removed: []string{"DirectMethodInvokesHub1", "DirectMethodInvokesHub2"}},
		"of all hubs one":   {first: []string{exported("", "default", "0 5")}, second: both, want: []string{"DirectMethodInvokes: 0 5 "}, blocked: 1},
		"a group":           {first: both[:1], second: []string{exported("hub1", "lab", "0 9")}, want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesLab: 0 9 hub1"}},
		"switched off by somebody": {
			first: both[:1], second: both, edit: edit("DirectMethodInvokes", func(a *Alert) { a.Enabled = false }),
			want: []string{"DirectMethodInvokesHub2: 0 9 hub2"},
		},
		"edited, same range": {
			first: both[:1], second: both, edit: edit("DirectMethodInvokes", func(a *Alert) { a.Title = "Mine" }),
			want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"},
		},
		"edited, another range": {
			first: both[:1], second: []string{exported("hub1", "default", "0 9"), exported("hub2", "default", "0 9")}, edit: edit("DirectMethodInvokes", func(a *Alert) { a.Title = "Mine" }),
			want: []string{"DirectMethodInvokes: 0 5 hub1", "DirectMethodInvokesHub2: 0 9 hub2"}, blocked: 1,
		},
		"the devices of a group": {
			first: []string{exported("hub1", "lab", "0 5")}, second: []string{exported("hub1", "lab", "0 5")},
			edit: edit("DirectMethodInvokesLab", func(a *Alert) { a.Enabled, a.Group.Devices = true, []string{"example-*"} }),
			want: []string{"DirectMethodInvokesLab: 0 5 hub1"},
		},
		"the devices of a group, another range": {
			first: []string{exported("hub1", "lab", "0 5")}, second: []string{exported("hub1", "lab", "0 6")},
			edit: edit("DirectMethodInvokesLab", func(a *Alert) { a.Group.Devices = []string{"example-*"} }),
			want: []string{"DirectMethodInvokesLab: 0 5 hub1"}, blocked: 1,
		},
		"the shipped one is somebody's own": {
			first: []string{exported("hub1", "lab", "0 5")}, second: both[:1],
			edit: func(alerts []Alert) { alerts[0] = shipped; alerts[0].Enabled, alerts[0].Title = true, "Mine" },
			want: []string{"DirectMethodInvokes: 0 10 ", "DirectMethodInvokesLab: 0 5 hub1"}, blocked: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			alerts, _ := importInto(t, []Alert{shipped}, c.first...)
			if c.edit != nil {
				c.edit(alerts)
			}
			alerts, in := importInto(t, alerts, c.second...)
			if diff := cmp.Diff(c.want, summary(alerts)); diff != "" {
				t.Errorf("the alerts differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.removed, in.Removed); diff != "" {
				t.Errorf("removed are others (-want +got):\n%s", diff)
			}
			for _, m := range in.Rules {
				last := m.Notes[len(m.Notes)-1]
				if m.Blocked {
					c.blocked--
				}
				if m.Blocked != strings.Contains(last, "is not taken over") || m.Blocked == (len(m.Alerts) > 0) {
					t.Errorf("%s: blocked %v, %v: %s", m.Hub, m.Blocked, m.Alerts, last)
				}
			}
			if c.blocked != 0 {
				t.Errorf("%d rules more are blocked than wanted", -c.blocked)
			}
			if again, in := importInto(t, alerts, c.second...); len(in.Removed) > 0 || !slices.EqualFunc(again, alerts, same) {
				t.Errorf("the same import again changes something: %v > %v", summary(alerts), summary(again))
			}
		})
	}
}

// TestImportOfWhatIsOff imports a rule that is switched off since its import. Its alert stays,
// and the report says so.
func TestImportOfWhatIsOff(t *testing.T) {
	alerts, _ := importInto(t, nil, exported("hub1", "default", "0 5"), exported("hub2", "default", "0 5"))
	after, in := importInto(t, alerts, strings.Replace(exported("hub1", "default", "0 5"), "true", "false", 1))
	if !slices.EqualFunc(alerts, after, same) || in.Rules[0].Alerts != nil || !strings.Contains(in.Rules[0].Notes[1], "functions/DirectMethodInvokes/alert.json is about such a rule") {
		t.Errorf("%v, %+v", summary(after), in.Rules)
	}
	_, in = importInto(t, alerts, strings.Replace(exported("hub3", "default", "0 5"), "true", "false", 1))
	if len(in.Rules[0].Notes) != 1 {
		t.Errorf("an alert of other hubs is named: %v", in.Rules[0].Notes)
	}
}

// TestImportKnowsTheHub imports templates and states that name the hub, or the group, in a way
// that cannot be read. Such a rule becomes no alert: one on all hubs would watch more.
func TestImportKnowsTheHub(t *testing.T) {
	const properties = `"properties": {"timeWindowRules": [{"ruleType": "DirectMethodInvokesNotInAllowedRange", "isEnabled": true, "minThreshold": 0, "maxThreshold": 1, "timeWindowSize": "PT5M"}]}`
	template := func(members string) string {
		return `{"parameters": {"h": {"type": "string"}, "known": {"defaultValue": "Contoso-Hub"}}, "resources": [{"type": "Microsoft.Security/deviceSecurityGroups", ` + members + `, ` + properties + `}]}`
	}
	state := func(members string) string {
		return `{"version": 4, "terraform_version": "1.9.8", "resources": [{"type": "azurerm_iot_security_device_group", "instances": [{"attributes": {` + members + `, "range_rule": [{"type": "DirectMethodInvokesNotInAllowedRange", "min": 0, "max": 1, "duration": "PT5M"}]}}]}]}`
	}
	for data, want := range map[string]string{
		template(`"name": "default", "scope": "[format('Microsoft.Devices/IotHubs/{0}', parameters('known'))]"`):          "contoso-hub",
		template(`"name": "default", "scope": "[format('Microsoft.Devices/IotHubs/{0}', toLower(parameters('known')))]"`): "contoso-hub",
		template(`"name": "default"`): "",
		template(`"name": "default", "scope": "[format('Microsoft.Devices/IotHubs/{0}', parameters('h'))]"`):          `not: resources[0].scope: hubwatch cannot evaluate "[format('Microsoft.Devices/IotHubs/{0}', parameters('h'))]"`,
		template(`"name": "default", "scope": "[format('Microsoft.Devices/IotHubs/{0}', toLower(parameters('h')))]"`): `not: resources[0].scope: hubwatch cannot evaluate`,
		template(`"name": "default", "scope": "[resourceId('Microsoft.Devices/IotHubs', parameters('h'))]"`):          `not: resources[0].scope: hubwatch cannot evaluate`,
		template(`"name": "default", "scope": "Microsoft.Storage/storageAccounts/contoso"`):                           `not: resources[0].scope: want an IoT hub`,
		template(`"name": "default", "scope": 7`):                                                                     `not: resources[0].scope: want an IoT hub, have 7`,
		template(`"name": "default", "scope": "Microsoft.Devices/IotHubs/contoso_hub"`):                               `not: No IoT hub can be called "contoso_hub"`,
		template(`"name": "[parameters('g')]", "scope": "Microsoft.Devices/IotHubs/contoso-hub"`):                     `not: resources[0].name: hubwatch cannot evaluate "[parameters('g')]"`,
		template(`"name": "` + strings.Repeat("g", 261) + `"`):                                                        `not: The name of the group has 261 letters`,
		`{"resources": [{"type": "Microsoft.Devices/IotHubs", "name": "[parameters('h')]", "resources": [{"type": "providers/deviceSecurityGroups", "name": "Microsoft.Security/default", ` + properties + `}]}]}`: `not: resources[0].resources[0].name: hubwatch cannot evaluate`,
		`{"resources": [{"type": "Microsoft.Devices/IotHubs/providers/deviceSecurityGroups", "name": "[concat(parameters('h'), '/Microsoft.Security/default')]", ` + properties + `}]}`:                            `not: resources[0].name: hubwatch cannot evaluate`,
		`[{"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/contoso", "name": "default", ` + properties + `}]`:                                                                 `not: [0].id: want the id of a device security group of an IoT hub`,
		`[{"id": "contoso-hub", "name": "default", ` + properties + `}]`:                                                                                                                           `not: [0].id: want the id`,
		state(`"name": "default", "iothub_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/contoso-hub"`):                                                               "contoso-hub",
		state(`"name": "default", "iothub_id": "contoso-hub"`):                                                                                                                                     `not: resources[0].instances[0].attributes.iothub_id: want the id`,
		strings.Replace(state(`"name": "default", "iothub_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/contoso-hub"`), `"min": 0`, `"min": 0, "enabled": false`, 1): `not: The rule cannot be read. resources[0].instances[0].attributes.range_rule[0].enabled: hubwatch does not know this member`,
	} {
		in, err := Import([]byte(data), nil)
		if err != nil || len(in.Rules) != 1 {
			t.Errorf("%s: %+v, %v", data, in, err)
			continue
		}
		if reason, not := strings.CutPrefix(want, "not: "); not {
			if len(in.Alerts) > 0 || in.Rules[0].Alerts != nil || !strings.HasPrefix(in.Rules[0].Notes[0], reason) {
				t.Errorf("%s: %d alerts: %v, want none: %s", data, len(in.Alerts), in.Rules[0].Notes, reason)
			}
			continue
		}
		if len(in.Alerts) != 1 || strings.Join(hubsOf(in.Alerts[0]), " ") != want {
			t.Errorf("%s: %v, want one alert on %q", data, summary(in.Alerts), want)
		}
	}
}

// TestImportLeavesNothingOut imports files with a group that can be read beside what may be
// another one: each has a remark about it. A deployment whose condition is false makes no rule.
func TestImportLeavesNothingOut(t *testing.T) {
	const rules = `"properties": {"timeWindowRules": [{"ruleType": "DirectMethodInvokesNotInAllowedRange", "isEnabled": true, "minThreshold": 0, "maxThreshold": 1, "timeWindowSize": "PT5M"}]}`
	const group = `{"type": "Microsoft.Security/deviceSecurityGroups", "name": "default", "scope": "[format('Microsoft.Devices/IotHubs/{0}', parameters('HubName'))]", ` + rules + `}`
	template := func(other string) string {
		return `{"parameters": {"off": {"defaultValue": false}, "hubName": {"defaultValue": "contoso-hub"}}, "resources": [` + group + `, ` + other + `]}`
	}
	inner := func(members string) string {
		return template(`{"type": "Microsoft.Resources/deployments", "name": "m", ` + members + `, "properties": {"template": {"resources": [` + strings.Replace(group, "default", "lab", 1) + `]}}}`)
	}
	given := func(parameters string) string {
		return template(`{"type": "Microsoft.Resources/deployments", "name": "m", "properties": {"expressionEvaluationOptions": {"scope": "inner"}, "parameters": {` + parameters + `},
			"template": {"parameters": {"hubName": {"defaultValue": "wrong-hub"}}, "resources": [` + strings.Replace(group, "default", "lab", 1) + `]}}}`)
	}
	state := func(others string) string {
		return `{"version": 4, "terraform_version": "1.9.8", "resources": [{"type": "azurerm_iot_security_device_group", "instances": [{"attributes": {"name": "default",
			"iothub_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/contoso-hub", "range_rule": [{"type": "DirectMethodInvokesNotInAllowedRange", "min": 0, "max": 1, "duration": "PT5M"}]}}]}` + others + `]}`
	}
	for _, c := range []struct {
		data, remark, rules string // rules are hub and group of each
	}{
		{template(`{"type": "[variables('t')]", "name": "x", ` + rules + `}`), `resources[1].type: want the type of the resource, have "[variables('t')]"`, "contoso-hub default"},
		{template(`{"Type": "Microsoft.Security/deviceSecurityGroups", ` + rules + `}`), `resources[1].type: want the type of the resource, have nothing`, "contoso-hub default"},
		{template(`7`), `resources[1].type: want the type`, "contoso-hub default"},
		{inner(`"condition": "[parameters('off')]"`), `resources[1].condition: false, so the template does not deploy the group`, "contoso-hub default"},
		{inner(`"condition": "[equals(1, 1)]"`), `resources[1].condition: hubwatch cannot evaluate "[equals(1, 1)]", and reads`, "contoso-hub default, contoso-hub lab"},
		{inner(`"condition": true`), ``, "contoso-hub default, contoso-hub lab"},
		{given(`"HUBNAME": {"value": "other-hub"}`), ``, "contoso-hub default, other-hub lab"},
		{given(`"hubName": {"reference": {}}`), ``, "contoso-hub default,  lab"},
		{given(``), ``, "contoso-hub default, wrong-hub lab"},
		{state(``), ``, "contoso-hub default"},
		{state(`, {"type": "azurerm_iothub", "instances": [{"attributes": {"name": "contoso-hub"}}]}`), ``, "contoso-hub default"},
		{state(`, {"type": "azapi_resource", "instances": [{"attributes": {"type": "Microsoft.Security/deviceSecurityGroups@2019-08-01"}}]}`), `resources[1].type: hubwatch does not read "azapi_resource"`, "contoso-hub default"},
		{state(`, {"type": "azurerm_resource_group_template_deployment", "instances": [{"attributes": {"template_content": "{\"type\": \"microsoft.devices/iothubs/providers/devicesecuritygroups\"}"}}]}`),
			`resources[1].type: hubwatch does not read "azurerm_resource_group_template_deployment"`, "contoso-hub default"},
		{state(`, {"type": "azurerm_iot_security_device_group", "instances": 7}`), `resources[1].instances: want a list, have 7`, "contoso-hub default"},
	} {
		in, err := Import([]byte(c.data), nil)
		if err != nil {
			t.Errorf("%s: %v", c.data, err)
			continue
		}
		var got []string
		for _, m := range in.Rules {
			got = append(got, m.Hub+" "+m.Group)
		}
		if strings.Join(got, ", ") != c.rules || (len(in.Remarks) == 1) != (c.remark != "") || c.remark != "" && !strings.HasPrefix(in.Remarks[0], c.remark) {
			t.Errorf("%s:\nhave %q with the remarks %q\nwant %q with %q", c.data, got, in.Remarks, c.rules, c.remark)
		}
	}
}

// TestImportEncodings imports a file as Windows PowerShell writes it.
func TestImportEncodings(t *testing.T) {
	text := "[" + exported("contoso-hub", "Büro 🏠", "0 5") + "]"
	wide := func(order binary.AppendByteOrder) (b []byte) {
		for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
			b = order.AppendUint16(b, unit)
		}
		return b
	}
	for name, data := range map[string][]byte{"UTF-8": []byte(text), "UTF-8 with a mark": []byte("\uFEFF" + text), "UTF-16 LE": wide(binary.LittleEndian), "UTF-16 BE": wide(binary.BigEndian)} {
		in, err := Import(data, nil)
		if err != nil || len(in.Alerts) != 1 || in.Rules[0].Group != "Büro 🏠" {
			t.Errorf("%s: %+v, %v", name, in.Rules, err)
		}
	}
	for data, want := range map[string]string{"\xff\xfe[": "the end is missing", "\xff\xfe": "EOF", "\xfe\xff\x00[": "EOF"} {
		if _, err := Import([]byte(data), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", data, err, want)
		}
	}
}

// TestImportOfNothing imports groups that have no rules: they are named.
func TestImportOfNothing(t *testing.T) {
	_, in := importInto(t, nil, exported("contoso-hub", "lab"), exported("", "default"))
	if diff := cmp.Diff([]string{"contoso-hub, group lab", "a hub that the file does not name, group default"}, in.Empty); diff != "" || len(in.Rules) > 0 {
		t.Errorf("%d rules, and without rules are others (-want +got):\n%s", len(in.Rules), diff)
	}
}

// TestLargestImportedFiles imports what makes files large: large ranges, and many hubs with
// long names.
func TestLargestImportedFiles(t *testing.T) {
	var groups []string
	for n := range 80 {
		groups = append(groups, exported(fmt.Sprintf("%s%02d", strings.Repeat("h", 48), n), strings.Repeat("é", 130), "0 100", "400 400", "1000 1000"))
	}
	groups = []string{strings.ReplaceAll(strings.Join(groups, ","), "DirectMethodInvokes", "UnauthorizedOperations")}
	alerts, _ := importInto(t, nil, groups...)
	for _, a := range alerts {
		if err := a.Test(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzImport imports anything, twice. What is imported is right, and the second time nothing
// changes.
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
	f.Add([]byte("[" + exported("a-b", "Ä", "0 5") + "," + exported("ab", "Ö", "1 7", "0 7") + "," + exported("", "Ö", "1 7") + "]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Import(data, nil)
		if err != nil {
			return
		}
		have := loadAll(t, in, nil)
		if len(have) != len(in.Alerts) {
			t.Errorf("of %d alerts %d can be loaded", len(in.Alerts), len(have))
		}
		for _, m := range in.Rules {
			if len(m.Notes) == 0 || m.Blocked {
				t.Errorf("%+v", m)
			}
		}
		again, err := Import(data, have)
		if err != nil {
			t.Fatal(err)
		}
		if after := loadAll(t, again, have); len(again.Removed) > 0 || !slices.EqualFunc(have, after, same) {
			t.Errorf("the second import changes something: %v > %v", summary(have), summary(after))
		}
	})
}
