package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/table"
)

// someAlert is an alert with all that an alert can have.
func someAlert() alert.Alert {
	at := time.Date(2026, 2, 1, 8, 0, 1, 123456700, time.UTC)
	return alert.Alert{
		ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Detector: "CertificateAdded", Type: "IoT_CertificateSuccessfullyAddedToHub",
		DisplayName: "New certificate added to an IoT Hub", Severity: alert.Medium,
		Remediation: "1. Ask the actor, or the owner of the hub, whether the addition was planned.\n2. If it was not, delete the certificate from the hub.",
		Finding: alert.Finding{
			Hub: alert.Hub{
				Name: "Contoso-Hub", SubscriptionID: "00000000-0000-0000-0000-000000000001",
				ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/Contoso-Hub",
			},
			Entity: alert.Entity{Type: alert.Certificate, Name: "root-ca"}, Actor: "alice@contoso.example", ActorIPAddress: "203.0.113.7",
			CorrelationID: "00000000-0000-4000-8001-000000000001", Confidence: alert.Stated,
			Message:    `Certificate "root-ca" was added to IoT hub "Contoso-Hub" by alice@contoso.example from 203.0.113.7.`,
			Properties: map[string]string{"ChangeKind": "created", "ActorRole": "Contributor", "ActorObjectId": "00000000-0000-4000-8003-000000000002", "ActorType": "User"},
		},
		Start: at, End: at.Add(90 * time.Minute), Generated: at.Add(3 * time.Second), Status: alert.Active, Occurrences: 2,
		LastActorIPAddress: "192.0.2.14", ActorIPAddresses: []string{"192.0.2.14", "203.0.113.7"}, MoreActorIPAddresses: true,
		Changes: 2, StatusReason: "looking at it", StatusTime: at.Add(2 * time.Hour), Verdict: alert.TruePositive, SuppressedBy: "00000000-0000-4000-8002-000000000001",
		StatusBy: alert.Person{Name: "carol@contoso.example", ObjectID: "00000000-0000-4000-8003-000000000001"},
	}
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, have string) {
	t.Helper()
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

// TestFormats checks the formats for programs, and the output for people on a
// terminal of 80 columns.
func TestFormats(t *testing.T) {
	first, second := someAlert(), someAlert()
	second.ID, second.Detector, second.Type = "204bd4e6-3527-85aa-aeda-b74edc819ada", "DeviceCertificateMismatch", "IoT_Cert_Print_Mismatch"
	second.Entity, second.Actor, second.Status = alert.Entity{Type: alert.Device, Name: "valve-7-of-plant-12"}, "", alert.InProgress
	second.Remediation, second.Properties = "", nil
	second.Changes, second.StatusReason, second.StatusBy, second.StatusTime, second.Verdict, second.SuppressedBy = 0, "", alert.Person{}, time.Time{}, "", ""
	alerts := []alert.Alert{first, second}
	const source = "/hubwatch/contosostorage/alerts"
	for _, format := range []string{"json", "csv", "table"} {
		var out strings.Builder
		if err := (&alertOutput{choice: choice{word: format}}).write(&out, source, alerts); err != nil {
			t.Fatal(err)
		}
		golden(t, "alerts."+format, out.String())
	}
	var rows, page strings.Builder
	if err := alertGrid(alerts).write(&rows, 80); err != nil {
		t.Fatal(err)
	}
	golden(t, "alerts-80.table", rows.String())
	evidence := []alert.Evidence{
		{EventID: "00000000-0000-4000-8000-00000000000a", Time: first.End, Actor: first.Actor, ActorIPAddress: first.ActorIPAddress},
		{EventID: "00000000-0000-4000-8000-000000000001", Time: first.Start, Actor: first.Actor},
	}
	changes := []alert.History{
		{Number: 1, Time: first.Start.Add(time.Hour), From: alert.Active, To: alert.Dismissed, Verdict: alert.Benign, Reason: "a planned rotation of the root certificate of plant 12, see change 4711",
			By: alert.Person{Name: "bob@contoso.example", ObjectID: "00000000-0000-0000-0000-0000000000b0"}, Via: "cli"},
		{Number: 2, Time: first.End, From: alert.Dismissed, To: alert.Active, Reason: "it happened again", By: alert.Person{Name: "hubwatch"}, Via: "handler", EventID: "00000000-0000-4000-8000-00000000000a"},
		{Number: 3, Time: first.End.Add(time.Minute), From: alert.Active, To: alert.Active, Reason: "asking alice", By: alert.Person{ObjectID: "00000000-0000-0000-0000-0000000000c0"}, Via: "cli"},
	}
	again := first
	again.Status, again.StatusReason, again.StatusBy, again.StatusTime, again.Verdict, again.Changes = alert.Active, "it happened again", alert.Person{Name: "hubwatch"}, first.End, alert.Benign, 3
	if err := writeAlert(&page, 80, fleet.Whole{Alert: again, History: changes, Evidence: evidence, N: 2}, bash); err != nil {
		t.Fatal(err)
	}
	golden(t, "alert-80.text", page.String())
	evidence[0].Properties, evidence[0].RawEvent, evidence[0].RawEventSHA256 = first.Properties, `{"id":"10"}`, strings.Repeat("0f", 32)
	found, err := fleet.Find(t.Context(), single{a: first, evidence: evidence, changes: changes}, first.Ref(), 20)
	if err != nil {
		t.Fatal(err)
	}
	var object strings.Builder
	if err := (&alertOutput{choice: choice{word: "json"}}).writeOne(&object, source, bash, found); err != nil {
		t.Fatal(err)
	}
	golden(t, "alert.json", object.String())
	for line := range strings.Lines(rows.String() + page.String()) {
		// Neither a resource id nor a command is broken, since people copy them.
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && !strings.Contains(line, "/subscriptions/") && !strings.HasPrefix(line, "    az ") {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}

// single is a reader of one alert.
type single struct {
	alert.Reader
	a        alert.Alert
	evidence []alert.Evidence
	changes  []alert.History
}

func (r single) History(context.Context, alert.Ref) ([]alert.History, error) { return r.changes, nil }

func (r single) Find(context.Context, alert.Ref) (alert.Alert, iter.Seq2[alert.Evidence, error], error) {
	return r.a, func(yield func(alert.Evidence, error) bool) {
		for _, e := range r.evidence {
			if !yield(e, nil) {
				return
			}
		}
	}, nil
}

// endless is a reader of many alerts that counts how many are drawn.
type endless struct {
	alert.Reader
	drawn int
}

func (r *endless) List(context.Context, alert.Query) iter.Seq2[alert.Alert, error] {
	return func(yield func(alert.Alert, error) bool) {
		for ; r.drawn < 100; r.drawn++ {
			if !yield(alert.Alert{}, nil) {
				return
			}
		}
	}
}

// TestListStops checks that a limit bounds what is read.
func TestListStops(t *testing.T) {
	r := &endless{}
	alerts, more, err := list(t.Context(), r, alert.Query{}, 3)
	if len(alerts) != 3 || !more || err != nil || r.drawn != 3 {
		t.Errorf("%d alerts, more: %v, error %v, %d drawn", len(alerts), more, err, r.drawn)
	}
}

// TestFaultsHaveSettings checks that check shows every error about settings
// beside the setting, or the misspelled name, that the error is about.
func TestFaultsHaveSettings(t *testing.T) {
	for _, test := range []struct{ env, want []string }{
		{nil, []string{"AlertsStorage", "AlertsStorage__tableServiceUri"}},
		{[]string{"AlertsStorage", "x"}, []string{"AlertsStorage"}},
		{[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage__tableServiceUri", "https://contosostorage.table.core.windows.net"}, []string{"AlertsStorage", "AlertsStorage__tableServiceUri"}},
		{[]string{"AlertsStorage__tableServiceUri", ":"}, []string{"AlertsStorage__tableServiceUri", "StateStorage__tableServiceUri"}},
		{[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsTable", "same", "QuarantineTable", "same"}, []string{"AlertsTable", "QuarantineTable"}},
		{[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsTable", "-", "InferredAlerts", "-"}, []string{"AlertsTable", "InferredAlerts"}},
		{[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage:tableServiceUri", "x"}, []string{"AlertsStorage:tableServiceUri"}},
		{[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage__blobServiceUri", "x"}, []string{"AlertsStorage__blobServiceUri"}},
	} {
		o := &operator{getenv: environment(test.env...)}
		var out strings.Builder
		o.checkSettings(&out, 0)
		var got []string
		for line := range strings.Lines(out.String()) {
			if name, ok := strings.CutPrefix(line, "wrong    "); ok {
				got = append(got, strings.TrimSpace(name))
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +have):\n%s\n%s", test.env, diff, &out)
		}
		o.account = "https://contosostorage.table.core.windows.net"
		if wrong := o.checkSettings(io.Discard, 0); wrong > 0 && strings.HasPrefix(test.want[0], "AlertsStorage") {
			t.Errorf("%q: %d wrong although --account is used instead", test.env, wrong)
		}
	}
	if diff := cmp.Diff(map[string][]string{"settings": {"404 x"}}, faultsOf(&table.ServiceError{Status: 404, Code: "x"})); diff != "" {
		t.Errorf("an error about no setting (-want +have):\n%s", diff)
	}
}

// TestDevicesOfAStorm checks that people see which devices a storm is about, and not too many.
func TestDevicesOfAStorm(t *testing.T) {
	storm := alert.Evidence{EventID: "storm", Time: time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)}
	for n := range mostDevices + 23 {
		storm.Devices = append(storm.Devices, fmt.Sprintf("devices/pump-%03d\u202e", n))
	}
	var page strings.Builder
	if err := writeAlert(&page, 80, fleet.Whole{Alert: someAlert(), Evidence: []alert.Evidence{{EventID: "other"}, storm}, N: 2}, bash); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, want := range []string{"\n123 devices of the event at 2026-02-01T10:00:00Z\n  devices/pump-000\\u202e, devices/pump-001\\u202e, ", `devices/pump-099\u202e,`, "and 23 more, which -o json has"} {
		if !strings.Contains(strings.ReplaceAll(text, "\n  and", " and"), want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "pump-100") || strings.Count(text, " devices of the event") != 1 {
		t.Errorf("more than is wanted:\n%s", text)
	}
}
