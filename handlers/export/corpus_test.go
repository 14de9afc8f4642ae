package export

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/version"
)

var update = flag.Bool("update", false, "rewrite what the tests expect")

// sample is an alert that every format has to write.
type sample struct {
	alert    alert.Alert
	evidence []alert.Evidence
}

// hostile are names that somebody could have chosen in order to break a format.
var hostile = []string{
	"$(reboot)", "-x", "@.bashrc", "a'b", `"`, `\`, "</script>", "{}", "null", "=HYPERLINK(1)", "+1", "-1", "a,b", "a\nb", "a\r\nb", "\t",
	"\x00", "\x1b[2J", "\u202e", "\u2028", "\u200b", "\U000e0041", "\xff\xfe", "\xed\xa0\x80", "😀", strings.Repeat("x", 40_000),
	"a/b", `a\/b`, "@", "a@", "@b", "a@b@c", "%2e%2e", "203.0.113.XXX", "fe80::1%eth0",
}

// whole is an alert with all that an alert can have.
func whole() alert.Alert {
	at := time.Date(2026, 2, 1, 8, 0, 1, 123456700, time.UTC)
	const subscription = "00000000-0000-0000-0000-000000000001"
	return alert.Alert{
		ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Detector: "CertificateAdded", Type: "IoT_CertificateSuccessfullyAddedToHub",
		DisplayName: "New certificate added to an IoT Hub", Severity: alert.Medium,
		Remediation: "1. Ask the actor.\n2. Delete the certificate from the hub.",
		Finding: alert.Finding{
			Hub: alert.Hub{
				Name: "Contoso-Hub", SubscriptionID: subscription,
				ResourceID: "/subscriptions/" + subscription + "/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/Contoso-Hub",
			},
			Entity: alert.Entity{Type: alert.Certificate, Name: "root-ca"}, Actor: "alice@contoso.example", ActorIPAddress: "203.0.113.7",
			CorrelationID: "00000000-0000-4000-8001-000000000001", Confidence: alert.Stated,
			Message:    `Certificate "root-ca" was added to IoT hub "Contoso-Hub" by alice@contoso.example from 203.0.113.7.`,
			Properties: map[string]string{"ChangeKind": "created", "ActorObjectId": "00000000-0000-4000-8003-000000000002", "ActorType": "User"},
		},
		Start: at, End: at.Add(90 * time.Minute), Generated: at.Add(3 * time.Second), Status: alert.InProgress, Occurrences: 3,
		LastActorIPAddress: "192.0.2.14", ActorIPAddresses: []string{"192.0.2.14", "192.0.2.99", "203.0.113.7"}, MoreActorIPAddresses: true,
		Changes: 2, StatusReason: "looking at it", StatusTime: at.Add(2 * time.Hour), Verdict: alert.TruePositive,
		StatusBy: alert.Person{Name: "carol@contoso.example", ObjectID: "00000000-0000-4000-8003-000000000001"},
	}
}

// someEvidence returns n pieces of evidence of an alert, the newest first.
func someEvidence(a alert.Alert, n int) []alert.Evidence {
	list := make([]alert.Evidence, n)
	for i := range list {
		list[i] = alert.Evidence{
			EventID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n-i), Time: a.End.Add(-time.Duration(i) * time.Second), Actor: a.Actor,
			ActorIPAddress: a.ActorIPAddress, CorrelationID: a.CorrelationID, Properties: a.Properties,
			RawEvent: `{"id":"1"}`, RawEventSHA256: strings.Repeat("0f", 32),
		}
	}
	return list
}

// detailed returns a sample with all there is: a change whose texts are the names of
// the alert, and the commands of its detector.
func detailed(s sample) Detailed {
	d := Detailed{Alert: NewAlert(s.alert), Evidence: Each(s.evidence, NewEvidence)}
	d.History = Each([]alert.History{
		{Number: 1, Time: s.alert.Start, From: alert.Active, To: alert.Resolved, Verdict: alert.Benign, Reason: s.alert.Entity.Name, Via: "cli",
			By: alert.Person{Name: s.alert.Actor, ObjectID: s.alert.Properties["ActorObjectId"]}},
		{Number: 2, Time: s.alert.End, From: alert.Resolved, To: alert.Active, Reason: "it happened again", Via: "handler", EventID: s.alert.CorrelationID},
	}, NewChange)
	for _, detects := range detector.All {
		if detects.Name == s.alert.Detector {
			d.Commands = Each(remedy.For(s.alert, detects.Commands), NewCommand)
		}
	}
	return d
}

// of returns the alert of one occurrence.
func of(o alert.Occurrence) sample {
	var steps strings.Builder
	for i, step := range o.Remediation {
		fmt.Fprintf(&steps, "%d. %s\n", i+1, step)
	}
	a := alert.Alert{
		ID: o.ID, Detector: o.Detector, Type: o.Type, DisplayName: o.DisplayName, Severity: o.Severity, Remediation: steps.String(), Finding: o.Finding,
		Start: o.Event.Time, End: o.Event.Time, Generated: o.Event.Time.Add(time.Second), LastActorIPAddress: o.ActorIPAddress,
		Status: alert.Active, Occurrences: 1, SuppressedBy: o.SuppressedBy,
	}
	if o.ActorIPAddress != "" {
		a.ActorIPAddresses = []string{o.ActorIPAddress}
	}
	return sample{a, someEvidence(a, 1)}
}

// corpus returns alerts by what is special about them: those of the cases of all
// detectors, each kind of status and verdict, and what is hostile or missing.
func corpus(t *testing.T) map[string]sample {
	t.Helper()
	samples := map[string]sample{}
	for _, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range list {
			events, err := c.Events()
			if err != nil {
				t.Fatal(err)
			}
			for event, raw := range events {
				for i, o := range d.Judge(raw).Occurrences {
					found = true
					samples[fmt.Sprintf("%s/%s/%s/%d", d.Name, c.Name, event, i)] = of(o)
				}
			}
		}
		if !found {
			t.Fatalf("no case of %s is an alert", d.Name)
		}
	}
	add := func(name string, change func(a *alert.Alert)) {
		a := whole()
		a.Properties = maps.Clone(a.Properties)
		change(&a)
		samples[name] = sample{a, someEvidence(a, 2)}
	}
	add("whole", func(*alert.Alert) {})
	for _, status := range append(slices.Clone(alert.Statuses), "escalated to bob") {
		add("status "+string(status), func(a *alert.Alert) { a.Status = status })
	}
	for _, verdict := range append(slices.Clone(alert.Verdicts), "who knows", "") {
		add("verdict "+string(verdict), func(a *alert.Alert) { a.Verdict = verdict })
	}
	for _, severity := range []alert.Severity{alert.High, alert.Medium, alert.Low, alert.Informational} {
		add("severity "+string(severity), func(a *alert.Alert) { a.Severity = severity })
	}
	for _, confidence := range []alert.Confidence{alert.Stated, alert.Inferred, "guessed", ""} {
		add("confidence "+string(confidence), func(a *alert.Alert) { a.Confidence = confidence })
	}
	for _, kind := range []string{"User", "Application", "ManagedIdentity", "Robot", ""} {
		add("actor type "+kind, func(a *alert.Alert) { a.Properties["ActorType"] = kind })
	}
	add("suppressed", func(a *alert.Alert) { a.SuppressedBy = "00000000-0000-4000-8002-000000000001" })
	add("new", func(a *alert.Alert) {
		a.Status, a.Changes, a.StatusReason, a.StatusBy, a.StatusTime, a.Verdict = alert.Active, 0, "", alert.Person{}, time.Time{}, ""
	})
	add("reopened", func(a *alert.Alert) {
		a.Status, a.StatusReason, a.StatusBy = alert.Active, "occurred again", alert.Person{Name: "hubwatch"}
	})
	add("changed without a time", func(a *alert.Alert) { a.StatusTime = time.Time{} })
	add("addresses", func(a *alert.Alert) {
		a.ActorIPAddresses = nil
		for i := range 20 {
			a.ActorIPAddresses = append(a.ActorIPAddresses, fmt.Sprintf("203.0.113.%d", i))
		}
	})
	for _, address := range []string{"203.0.113.XXX", "2001:db8::1", "::ffff:203.0.113.7", "2001:db8:0:0:0:0:0:1", "fe80::1%eth0", "203.0.113.7:443", "unknown", ""} {
		add("address "+address, func(a *alert.Alert) {
			a.ActorIPAddress, a.LastActorIPAddress, a.ActorIPAddresses = address, address, []string{address}
		})
	}
	add("no actor", func(a *alert.Alert) { a.Actor, a.Properties = "", nil })
	add("an actor without a name", func(a *alert.Alert) { a.Actor = "" })
	add("nothing that can be missing", func(a *alert.Alert) {
		*a = alert.Alert{
			ID: a.ID, Type: a.Type, Severity: a.Severity, Finding: alert.Finding{Hub: alert.Hub{Name: "contoso-hub"}},
			Start: a.Start, End: a.End, Generated: a.Generated, Status: alert.Active, Occurrences: 1,
		}
	})
	add("hub", func(a *alert.Alert) { a.Entity = alert.Entity{Type: alert.IoTHub, Name: a.Hub.Name} })
	add("device", func(a *alert.Alert) { a.Entity = alert.Entity{Type: alert.Device, Name: "valve/7"} })
	add("module", func(a *alert.Alert) { a.Entity = alert.Entity{Type: alert.Module, Name: `valve\/7/$edgeAgent`} })
	add("diagnostic setting", func(a *alert.Alert) { a.Entity = alert.Entity{Type: alert.DiagnosticSetting, Name: "logs"} })
	add("part of hubwatch", func(a *alert.Alert) {
		a.Hub = alert.Hub{Name: "hubwatch-contoso", ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Web/sites/hubwatch-contoso", SubscriptionID: "00000000-0000-0000-0000-000000000001"}
		a.Entity = alert.Entity{Type: alert.Resource, Name: "topics/hubwatch-contoso-connections"}
		a.Properties["TargetResourceId"] = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.EventGrid/topics/hubwatch-contoso-connections"
	})
	for _, name := range hostile {
		add(fmt.Sprintf("hostile %.20q", name), func(a *alert.Alert) {
			a.Hub.Name, a.Entity.Name, a.Actor, a.Message, a.CorrelationID, a.StatusReason, a.DisplayName = name, name, name, name, name, name, name
			a.ActorIPAddress, a.LastActorIPAddress, a.ActorIPAddresses = name, name, []string{name}
			a.Hub.ResourceID += name
			a.Properties[name], a.Remediation, a.StatusBy.Name, a.SuppressedBy = name, name, name, name
			a.Verdict, a.Status, a.Confidence = alert.Verdict(name), alert.Status(name), alert.Confidence(name)
		})
	}
	for _, n := range []int{0, 1, MostEvidence, MostEvidence + 1} {
		a := whole()
		samples[fmt.Sprintf("evidence %d", n)] = sample{a, someEvidence(a, n)}
	}
	return samples
}

// written returns a document as WriteJSON writes it.
func written(t *testing.T, value any) string {
	t.Helper()
	var b strings.Builder
	if err := WriteJSON(&b, value); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// parsed reads a document for a schema.
func parsed(t *testing.T, text string) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return value
}

// compiled reads a JSON Schema.
func compiled(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// golden compares a document with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, have string) {
	t.Helper()
	have = strings.ReplaceAll(have, `"`+version.Version+`"`, `"VERSION"`)
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), have); diff != "" {
		t.Errorf("%s (-want +have):\n%s", path, diff)
	}
}

// fault is a change that makes a document wrong.
type fault struct {
	name   string
	change func(document map[string]any)
}

// refuses checks that a schema refuses each fault in a document that it accepts.
func refuses(t *testing.T, valid func(document any) error, text string, faults []fault) {
	t.Helper()
	for _, f := range faults {
		document := parsed(t, text).(map[string]any)
		if err := valid(document); err != nil {
			t.Fatal(err)
		}
		if f.change(document); valid(document) == nil {
			t.Errorf("%s: not refused", f.name)
		}
	}
}

// at returns the object at a path of members of a document. A number is an element.
func at(document map[string]any, path ...any) map[string]any {
	var value any = document
	for _, step := range path {
		switch step := step.(type) {
		case string:
			value = value.(map[string]any)[step]
		case int:
			value = value.([]any)[step]
		}
	}
	return value.(map[string]any)
}

// decoded reads JSON, such as a text inside a document.
func decoded[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v\n%.200s", err, text)
	}
	return value
}
