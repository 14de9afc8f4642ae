package export

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// TestUnknownIsAbsent checks that no document has a member that is null or "", and
// that each has the members that docs/exports.md promises.
func TestUnknownIsAbsent(t *testing.T) {
	always := []string{
		"systemAlertId", "alertType", "severity", "remediationSteps", "hubName", "actorIpAddresses", "moreActorIpAddresses", "startTimeUtc", "endTimeUtc",
		"timeGeneratedUtc", "status", "occurrences", "extendedProperties", "reference", "entities", "resourceIdentifiers", "changes",
		"vendorName", "productName", "version",
	}
	samples := corpus(t)
	for name, s := range samples {
		for format, document := range map[string]any{
			"json": detailed(s), "ocsf": NewDetectionFinding(s.alert, s.evidence),
			"cloudevents": NewCloudEvent(s.alert, testSource), "securityalert": row(t, s.alert),
		} {
			if path := empty(parsed(t, written(t, document)), format); path != "" && name != "actor type " && name != "address " {
				t.Errorf("%s: %s is there and unknown", name, path)
			}
		}
		members := parsed(t, written(t, NewAlert(s.alert))).(map[string]any)
		for _, member := range always {
			if _, ok := members[member]; !ok {
				t.Errorf("%s: no %s", name, member)
			}
		}
	}
	least := parsed(t, written(t, NewAlert(samples["nothing that can be missing"].alert))).(map[string]any)
	if len(least) != len(always) {
		t.Errorf("an alert of which nothing is known has %d members, want %d: %v", len(least), len(always), least)
	}
	var promised []string
	for i := range reflect.TypeFor[Alert]().NumField() {
		tag := reflect.TypeFor[Alert]().Field(i).Tag.Get("json")
		if name, ok := strings.CutSuffix(tag, ",omitzero"); !ok {
			promised = append(promised, name)
		}
	}
	if diff := cmp.Diff(always, promised); diff != "" {
		t.Errorf("members that are always there (-want +have):\n%s", diff)
	}
}

// empty returns the path of a member that is null or "", or "" if there is none.
func empty(value any, path string) string {
	switch value := value.(type) {
	case nil:
		return path
	case string:
		if value == "" {
			return path
		}
	case map[string]any:
		for name, member := range value {
			if found := empty(member, path+"."+name); found != "" {
				return found
			}
		}
	case []any:
		for _, element := range value {
			if found := empty(element, path+"[]"); found != "" {
				return found
			}
		}
	}
	return ""
}

// TestAlertReadsBack checks that a document says what was written: who reads it gets
// every text as it was, and every time to the last digit.
func TestAlertReadsBack(t *testing.T) {
	for name, s := range corpus(t) {
		want := detailed(s)
		text := written(t, want)
		again := written(t, decoded[Detailed](t, text))
		if text != again {
			t.Errorf("%s (-written +read back):\n%.1000s", name, cmp.Diff(text, again))
		}
		have := decoded[Alert](t, text)
		if have.CompromisedEntity != string([]rune(s.alert.Entity.Name)) {
			t.Errorf("%s: the entity is %.60q", name, have.CompromisedEntity)
		}
		if !have.EndTime.Equal(s.alert.End) || !strings.Contains(text, `"endTimeUtc": "`+s.alert.End.UTC().Format("2006-01-02T15:04:05")) {
			t.Errorf("%s: the end is %s", name, have.EndTime)
		}
	}
}

func TestEntities(t *testing.T) {
	samples := corpus(t)
	hub := Entity{Type: "azure-resource", ResourceID: whole().Hub.ResourceID}
	actor := Entity{Type: "account", Name: "alice", UPNSuffix: "contoso.example", AadUserID: "00000000-0000-4000-8003-000000000002"}
	from := []Entity{{Type: "ip", Address: "203.0.113.7"}, {Type: "ip", Address: "192.0.2.14"}, {Type: "ip", Address: "192.0.2.99"}}
	below := func(path string) Entity { return Entity{Type: "azure-resource", ResourceID: hub.ResourceID + path} }
	for name, want := range map[string][]Entity{
		"whole":              append([]Entity{hub, below("/certificates/root-ca"), actor}, from...),
		"diagnostic setting": append([]Entity{hub, below("/providers/Microsoft.Insights/diagnosticSettings/logs"), actor}, from...),
		"hub":                append([]Entity{hub, actor}, from...),
		"device":             append([]Entity{hub, {Type: "iotdevice", DeviceID: "valve/7", IoTHub: &hub}, actor}, from...),
		"module":             append([]Entity{hub, {Type: "iotdevice", DeviceID: "valve/7", ModuleID: "$edgeAgent", IoTHub: &hub}, actor}, from...),
		"part of hubwatch": append([]Entity{
			{Type: "azure-resource", ResourceID: samples["part of hubwatch"].alert.Hub.ResourceID},
			{Type: "azure-resource", ResourceID: samples["part of hubwatch"].alert.Properties["TargetResourceId"]}, actor,
		}, from...),
		"no actor": append([]Entity{hub, below("/certificates/root-ca")}, from...),
		"an actor without a name": append([]Entity{hub, below("/certificates/root-ca"),
			{Type: "account", AadUserID: "00000000-0000-4000-8003-000000000002"}}, from...),
		"address 203.0.113.XXX":       {hub, below("/certificates/root-ca"), actor},
		"address 2001:db8::1":         {hub, below("/certificates/root-ca"), actor, {Type: "ip", Address: "2001:db8::1"}},
		"nothing that can be missing": {},
	} {
		if diff := cmp.Diff(want, NewAlert(samples[name].alert).Entities); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
	for name, want := range map[string]Entity{
		"@": {Name: "@"}, "a@": {Name: "a@"}, "@b": {Name: "@b"}, "a@b@c": {Name: "a@b", UPNSuffix: "c"}, "CI (00000000)": {Name: "CI (00000000)"},
	} {
		a := alert.Alert{Finding: alert.Finding{Actor: name}}
		want.Type = "account"
		if diff := cmp.Diff([]Entity{want}, entities(a)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}

// TestDeviceAndModule takes names apart that the detectors of failed connections put
// together.
func TestDeviceAndModule(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, `/`, `\/`).Replace // as detector.connectionEntity does
	ids := append([]string{"valve-7", "", "/", `\`, `\\`, `a\`, `\/`, "a/b/c", "é/"}, hostile...)
	for _, device := range ids {
		for _, module := range ids {
			gotDevice, gotModule := deviceAndModule(alert.Entity{Type: alert.Module, Name: escape(device) + "/" + escape(module)})
			if gotDevice != device || gotModule != module {
				t.Errorf("device %.40q, module %.40q: got %.40q and %.40q", device, module, gotDevice, gotModule)
			}
		}
		if got, module := deviceAndModule(alert.Entity{Type: alert.Device, Name: device}); got != device || module != "" {
			t.Errorf("device %.40q: got %.40q, module %q", device, got, module)
		}
	}
}
