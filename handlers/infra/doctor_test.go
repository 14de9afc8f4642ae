package infra

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/app"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/doctor"
)

// members puts what a template says of a resource into flat, by the paths that the
// doctor uses: the elements of an array are known by their names, and objects without one
// by their numbers.
func (t template) members(path string, e *expression, flat map[string]any) {
	switch {
	case e.kind == word && t.named(e.text) != nil && t.named(e.text).keyword == "param":
		flat[path] = doctor.Varies("") // also if the parameter has a default
		return
	case e.kind == word && t.named(e.text) != nil && t.named(e.text).keyword == "var" && t.named(e.text).value.kind == object:
		t.members(path, t.named(e.text).value, flat)
		return
	case e.kind == object && len(e.keys) > 0 && !slices.Contains(e.keys, ""):
		for i, name := range e.keys {
			t.members(strings.TrimPrefix(path+"."+name, "."), e.parts[i], flat)
		}
		return
	case e.kind == array:
		names := []string{}
		numbered := false
		for i, element := range e.parts {
			if element.kind == object && element.get("name") == nil {
				t.members(fmt.Sprint(path, ".", i), element, flat)
				numbered = true
				continue
			}
			name, ok := t.constant(element)
			if element.kind == object {
				if name, ok = t.constant(element.get("name")); ok {
					t.members(path+"."+name, without(element, "name"), flat)
				}
			}
			if !ok {
				flat[path] = doctor.Varies("")
				return
			}
			names = append(names, name)
		}
		if !numbered {
			slices.Sort(names)
			flat[path] = names
		}
		return
	}
	if text, ok := t.constant(e); ok {
		flat[path] = text
		return
	}
	flat[path] = doctor.Varies("")
}

// without returns an object without one of its members.
func without(e *expression, name string) *expression {
	copied := *e
	copied.keys, copied.parts = nil, nil
	for i, key := range e.keys {
		if key != name {
			copied.keys, copied.parts = append(copied.keys, key), append(copied.parts, e.parts[i])
		}
	}
	return &copied
}

// plain returns the members that the doctor expects in the form of members: each value
// as a text.
func plain(members map[string]any) map[string]any {
	flat := map[string]any{}
	for path, value := range members {
		switch value := value.(type) {
		case doctor.Varies, doctor.InNetwork:
			flat[path] = doctor.Varies("")
		case []string:
			flat[path] = slices.Sorted(slices.Values(value))
		default:
			flat[path] = fmt.Sprint(value)
		}
	}
	return flat
}

// TestDoctorComparesEverything compares the members that the doctor looks at with the
// members that main.bicep sets, in both directions: a member that is only in one of them
// is an error, and so is another value.
func TestDoctorComparesEverything(t *testing.T) {
	templates, err := readTemplates("../../infra")
	if err != nil {
		t.Fatal(err)
	}
	main := templates["main.bicep"]
	want := map[string]map[string]any{}
	for _, d := range main.of("resource") {
		switch kind := d.kind(); {
		case strings.HasPrefix(kind, "Microsoft.Authorization/"), kind == "Microsoft.Insights/metricAlerts", kind == "Microsoft.Insights/activityLogAlerts", kind == "Microsoft.ManagedIdentity/userAssignedIdentities":
			continue // roles and alerts have tests of their own, and an identity has no members
		}
		flat := map[string]any{}
		body := d.value
		if body.kind == conditional {
			body = body.parts[1]
		}
		for i, name := range body.keys {
			if name != "name" && name != "parent" && name != "dependsOn" && name != "scope" {
				main.members(name, body.parts[i], flat)
			}
		}
		// App Service returns the configuration of a site as a resource of its own.
		if config := maps.Clone(flat); d.name == "app" {
			maps.DeleteFunc(flat, func(path string, _ any) bool { return strings.HasPrefix(path, "properties.siteConfig.") })
			site := map[string]any{}
			for path, value := range config {
				if rest, ok := strings.CutPrefix(path, "properties.siteConfig."); ok && !strings.HasPrefix(rest, "appSettings.") {
					site["properties."+rest] = value
				}
			}
			site["properties.appSettings"] = doctor.Varies("")
			want["app.siteConfig"] = site
			for path := range flat {
				if strings.HasPrefix(path, "identity.userAssignedIdentities") {
					delete(flat, path)
				}
			}
		}
		if len(flat) > 0 {
			want[d.name] = flat
		}
	}
	want["logsNamespace"]["sku.capacity"] = doctor.Varies("") // Event Hubs adds units by itself
	have := map[string]map[string]any{}
	for _, r := range doctor.Resources {
		have[r.Symbol] = plain(r.Members)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("main.bicep (-) and the doctor (+):\n%s", diff)
	}
}

// TestDoctorComparesTheRuleOfSentinel compares the members of the data collection rule that
// the doctor looks at with the members that sentinel.bicep sets, in both directions.
func TestDoctorComparesTheRuleOfSentinel(t *testing.T) {
	templates, err := readTemplates("../../infra")
	if err != nil {
		t.Fatal(err)
	}
	template := templates["sentinel.bicep"]
	want := map[string]any{}
	for _, name := range []string{"location", "kind", "tags", "properties"} {
		template.members(name, template.named(doctor.SentinelRule.Symbol).value.get(name), want)
	}
	delete(want, "properties.description")
	if diff := cmp.Diff(want, plain(doctor.SentinelRule.Members)); diff != "" {
		t.Errorf("sentinel.bicep (-) and the doctor (+):\n%s", diff)
	}
}

// TestDoctorKnowsTheAlerts compares the alerts of Azure Monitor that the doctor looks
// for with the variable failures of main.bicep.
func TestDoctorKnowsTheAlerts(t *testing.T) {
	templates, err := readTemplates("../../infra")
	if err != nil {
		t.Fatal(err)
	}
	main := templates["main.bicep"]
	var want, have []string
	for _, failure := range main.named("failures").value.parts {
		line := ""
		for _, name := range []string{"name", "namespace", "metric", "aggregation"} {
			text, _ := main.constant(failure.get(name))
			line += text + " "
		}
		line += fmt.Sprintf("%s %s %s ", failure.get("threshold"), failure.get("window"), failure.get("severity"))
		for _, dimension := range failure.get("dimensions").parts {
			name, _ := main.constant(dimension.get("name"))
			value, _ := main.constant(dimension.get("values").parts[0])
			line += name + " " + value + " "
		}
		want = append(want, line)
	}
	for _, f := range doctor.Failures {
		line := strings.Join([]string{f.Name, f.Namespace, f.Metric, f.Aggregation, ""}, " ") + fmt.Sprintf("%d '%s' %d ", f.Threshold, f.Window, f.Severity)
		for _, text := range f.Dimensions {
			line += text + " "
		}
		have = append(have, line)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("main.bicep (-) and the doctor (+):\n%s", diff)
	}
	var f faults
	properties := templates["hub.bicep"].named("dropped").value.get("properties")
	dropped := doctor.HubDropped("x")
	criterion := properties.get("criteria", "allOf").parts[0]
	for member, of := range map[string]struct {
		have *expression
		want any
	}{
		"severity": {properties.get("severity"), dropped.Severity}, "windowSize": {properties.get("windowSize"), dropped.Window},
		"name": {criterion.get("name"), dropped.Name}, "metricNamespace": {criterion.get("metricNamespace"), dropped.Namespace},
		"metricName": {criterion.get("metricName"), dropped.Metric}, "timeAggregation": {criterion.get("timeAggregation"), dropped.Aggregation},
		"threshold": {criterion.get("threshold"), dropped.Threshold}, "enabled": {properties.get("enabled"), true},
		"autoMitigate": {properties.get("autoMitigate"), true}, "evaluationFrequency": {properties.get("evaluationFrequency"), "PT5M"},
	} {
		want := fmt.Sprint(of.want)
		if text, ok := of.want.(string); ok {
			want = "'" + text + "'"
		}
		f.same("hub.bicep: "+member+" of the alert dropped", of.have, want)
	}
	for _, fault := range f {
		t.Error(fault)
	}
}

// TestDoctorKnowsTheSilencers compares the alerts on the activity log that the doctor looks
// for with those of the templates, and their operations with those of the alerts that
// hubwatch makes of them.
func TestDoctorKnowsTheSilencers(t *testing.T) {
	templates, err := readTemplates("../../infra")
	if err != nil {
		t.Fatal(err)
	}
	main, hub := templates["main.bicep"], templates["hub-alerts.bicep"]
	members := func(in template, e *expression) map[string]any {
		flat := map[string]any{}
		for i, name := range e.keys {
			if name == "location" || name == "properties" {
				in.members(name, e.parts[i], flat)
			}
		}
		delete(flat, "properties.description")
		return flat
	}
	var have []doctor.Silencer
	for _, of := range []struct {
		in   template
		want []doctor.Silencer
	}{{hub, doctor.OfHub}, {main, doctor.Silencers}} {
		file := filepath.Base(of.in.path)
		generic := members(of.in, of.in.named("silencerAlerts").value.parts[1])
		have = nil
		for _, each := range of.in.named("silencers").value.parts {
			name, _ := of.in.constant(each.get("name"))
			s := doctor.Silencer{Name: name, Optional: each.get("enabled").String() != "true"}
			for _, part := range each.get("operations").parts {
				operation, _ := of.in.constant(part)
				s.Operations = append(s.Operations, operation)
			}
			have = append(have, s)
			want := plain(s.Members())
			for _, path := range []string{"properties.enabled", "properties.condition.allOf.2.containsAny"} {
				want[path] = doctor.Varies("") // of each silencer
			}
			if diff := cmp.Diff(generic, want); diff != "" {
				t.Errorf("silencerAlerts of %s (-) and the doctor (+):\n%s", file, diff)
			}
		}
		if diff := cmp.Diff(have, of.want); diff != "" {
			t.Errorf("%s (-) and the doctor (+):\n%s", file, diff)
		}
	}

	alerts, err := custom.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string][]string{}
	for _, a := range alerts {
		operations[a.Name] = a.On.Operations
	}
	for silencer, alert := range map[string]string{
		"deleted": "WatcherDeleted", "stopped": "WatcherStopped", "keys-changed": "WatcherKeysChanged", "keys-listed": "WatcherKeysListed", "changed": "WatcherChanged", "moved": "ResourcesMoved",
	} {
		i := slices.IndexFunc(have, func(s doctor.Silencer) bool { return s.Name == silencer })
		if i < 0 || operations[alert] == nil {
			t.Errorf("there is no %s, or no %s", silencer, alert)
			continue
		}
		// hubwatch watches these alerts and other alerts of Azure Monitor, which do not watch themselves.
		ofOthers := func(operation string) bool {
			return strings.Contains(operation, "Alerts/") || strings.Contains(operation, "scheduledQueryRules/")
		}
		if want := slices.DeleteFunc(slices.Clone(operations[alert]), ofOthers); !slices.Equal(have[i].Operations, want) {
			t.Errorf("%s of main.bicep and %s of hubwatch are about other operations:\n%s", silencer, alert, cmp.Diff(have[i].Operations, want))
		}
	}
}

// TestHubAlertsAreOfTheDetectors checks that the alerts on the activity log about hubs are about the
// operations of the detectors of what silences a hub.
func TestHubAlertsAreOfTheDetectors(t *testing.T) {
	alerts, err := custom.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string][]string{
		"DiagnosticSettingChanged": detector.DiagnosticSettingChanged.On.Operations,
		"DiagnosticSettingDeleted": detector.DiagnosticSettingDeleted.On.Operations,
	}
	for _, a := range alerts {
		operations[a.Name] = a.On.Operations
	}
	for silencer, names := range map[string][]string{
		"silenced": {"HubDeleted", "DiagnosticSettingDeleted"},
		"changed":  {"HubSettingsChanged", "HubKeysListed", "DiagnosticSettingChanged"},
	} {
		i := slices.IndexFunc(doctor.OfHub, func(s doctor.Silencer) bool { return s.Name == silencer })
		if i < 0 {
			t.Errorf("there is no %s", silencer)
			continue
		}
		var want []string
		for _, name := range names {
			if operations[name] == nil {
				t.Errorf("there is no %s", name)
			}
			want = append(want, operations[name]...)
		}
		if !slices.Equal(doctor.OfHub[i].Operations, want) {
			t.Errorf("hubs-%s and %v of hubwatch are about other operations:\n%s", silencer, names, cmp.Diff(doctor.OfHub[i].Operations, want))
		}
	}
}

// TestOperatorsKnowTheAlerts checks that docs/operate.md has a row for each alert of Azure
// Monitor about hubwatch, and for each alert that hubwatch makes about itself, and no other.
func TestOperatorsKnowTheAlerts(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ResourcesMoved", "verdicts-late", "<hub>-dropped"}
	for _, s := range doctor.OfHub {
		want = append(want, "hubs-"+s.Name)
	}
	for _, f := range doctor.Failures {
		want = append(want, f.Name)
	}
	for _, s := range doctor.Silencers {
		want = append(want, s.Name)
	}
	for _, d := range app.Detectors() {
		if d.On.Own {
			want = append(want, d.Name)
		}
	}
	var have []string
	section := ""
	for line := range strings.Lines(string(page)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(section, "Alerts of ") {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || first == "Alert" {
			continue
		}
		for name := range strings.SplitSeq(first, ", ") {
			name, _, _ = strings.Cut(strings.TrimPrefix(name, "["), "]")
			have = append(have, strings.Trim(name, "`"))
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("what is deployed (-) and docs/operate.md (+):\n%s", diff)
	}
}

// TestDoctorComparesSubscriptions compares the members of event subscriptions that the
// doctor looks at with the members that subscriptions.bicep sets, in both directions.
func TestDoctorComparesSubscriptions(t *testing.T) {
	templates, err := readTemplates("../../infra")
	if err != nil {
		t.Fatal(err)
	}
	template := templates["subscriptions.bicep"]
	for symbol, deadLettered := range map[string]bool{"changes": false, "failedConnections": true, "raisings": true} {
		want := map[string]any{}
		template.members("properties", template.named(symbol).value.get("properties"), want)
		members, _ := doctor.SubscriptionMembers(deadLettered)
		if diff := cmp.Diff(want, plain(members)); diff != "" {
			t.Errorf("%s of subscriptions.bicep (-) and the doctor (+):\n%s", symbol, diff)
		}
	}
}
