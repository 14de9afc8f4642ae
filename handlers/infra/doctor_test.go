package infra

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		case doctor.Varies:
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
		case strings.HasPrefix(kind, "Microsoft.Authorization/"), kind == "Microsoft.Insights/metricAlerts", kind == "Microsoft.ManagedIdentity/userAssignedIdentities":
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
		for _, dimension := range failure.get("dimensions").parts {
			name, _ := main.constant(dimension.get("name"))
			value, _ := main.constant(dimension.get("values").parts[0])
			line += name + " " + value + " "
		}
		want = append(want, line)
	}
	for _, f := range doctor.Failures {
		line := strings.Join([]string{f.Name, f.Namespace, f.Metric, f.Aggregation, ""}, " ")
		for _, text := range f.Dimensions {
			line += text + " "
		}
		have = append(have, line)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("main.bicep (-) and the doctor (+):\n%s", diff)
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
