package export

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// row returns an alert as a row of SecurityAlert.
func row(t *testing.T, a alert.Alert) SecurityAlert {
	t.Helper()
	s, err := NewSecurityAlert(NewAlert(a))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSecurityAlert checks that each column of every alert is one of Microsoft's, with
// its type, and that faults would be found.
func TestSecurityAlert(t *testing.T) {
	text, err := os.ReadFile("testdata/securityalert-columns.json")
	if err != nil {
		t.Fatal(err)
	}
	types := decoded[map[string]string](t, string(text))
	valid := func(document any) error {
		columns := document.(map[string]any)
		for name, value := range columns {
			s, isText := value.(string)
			_, err := time.Parse(time.RFC3339Nano, s)
			switch types[name] {
			case "string":
				if !isText {
					return fmt.Errorf("%s is a %T", name, value)
				}
			case "datetime":
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			default:
				return fmt.Errorf("%s: a column of the type %q", name, types[name])
			}
		}
		// Without these, Microsoft's own queries find nothing
		// (https://learn.microsoft.com/azure/sentinel/security-alert-schema).
		for _, name := range []string{"TimeGenerated", "SystemAlertId", "AlertSeverity", "Status", "ProductName"} {
			if columns[name] == nil {
				return fmt.Errorf("no %s", name)
			}
		}
		if s := columns["Status"].(string); !slices.Contains([]string{"New", "InProgress", "Resolved", "Dismissed", "Unknown"}, s) {
			return fmt.Errorf("status %q", s)
		}
		if s := columns["AlertSeverity"].(string); !slices.Contains([]string{"High", "Medium", "Low", "Informational"}, s) {
			return fmt.Errorf("severity %q", s)
		}
		return nil
	}
	for name, s := range corpus(t) {
		if err := valid(parsed(t, written(t, row(t, s.alert)))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refuses(t, valid, written(t, row(t, whole())), []fault{
		{"an unknown column", func(d map[string]any) { d["HubName"] = "contoso-hub" }},
		{"an object in a column", func(d map[string]any) { d["ExtendedProperties"] = map[string]any{} }},
		{"a time that is none", func(d map[string]any) { d["EndTime"] = "yesterday" }},
		{"a status that is none", func(d map[string]any) { d["Status"] = "Active" }},
		{"a severity that is none", func(d map[string]any) { d["AlertSeverity"] = "Critical" }},
		{"no id", func(d map[string]any) { delete(d, "SystemAlertId") }},
	})
}

// TestSecurityAlertWords checks the words that are not hubwatch's own.
func TestSecurityAlertWords(t *testing.T) {
	type words struct{ Status, Confidence string }
	samples := corpus(t)
	for name, want := range map[string]words{
		"status Active":           {"New", "High"},
		"whole":                   {"InProgress", "High"},
		"status Resolved":         {"Resolved", "High"},
		"status Dismissed":        {"Dismissed", "High"},
		"status escalated to bob": {"Unknown", "High"},
		"suppressed":              {"Dismissed", "High"},
		"confidence Inferred":     {"InProgress", "Low"},
		"confidence ":             {"InProgress", ""},
	} {
		s := row(t, samples[name].alert)
		if diff := cmp.Diff(want, words{s.Status, s.ConfidenceLevel}); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}

// TestSecurityAlertProperties checks that the properties have the alert's own, that the
// names of hubwatch win, and that a device can be found as Microsoft's queries do.
func TestSecurityAlertProperties(t *testing.T) {
	a := whole()
	a.Entity = alert.Entity{Type: alert.Module, Name: `valve\/7/$edgeAgent`}
	a.Properties = map[string]string{"ChangeKind": "created", "DeviceId": "another"}
	s := row(t, a)
	properties := decoded[map[string]string](t, s.ExtendedProperties)
	for name, want := range map[string]string{
		"ChangeKind": "created", "DeviceId": "valve/7", "ModuleId": "$edgeAgent", "Occurrences": "3", "Verdict": "TruePositive",
		"Reference": a.Ref().String(), "OriginalStatus": "InProgress", "StatusTimeUtc": "2026-02-01T10:00:01.1234567Z",
		"ActorIpAddresses": "192.0.2.14, 192.0.2.99, 203.0.113.7",
	} {
		if properties[name] != want {
			t.Errorf("%s is %q, want %q", name, properties[name], want)
		}
	}
	if _, ok := properties["SuppressedBy"]; ok {
		t.Error("an unknown property is there")
	}
	if a.Properties["DeviceId"] != "another" {
		t.Error("the alert has changed")
	}
	if diff := cmp.Diff([]string{"Ask the actor.", "Delete the certificate from the hub."}, decoded[[]string](t, s.RemediationSteps)); diff != "" {
		t.Errorf("remediation (-want +have):\n%s", diff)
	}
	want := []sentinelEntity{
		{Type: "azure-resource", ResourceID: a.Hub.ResourceID},
		{Type: "iotdevice", DeviceID: "valve/7", ModuleID: "$edgeAgent", IoTHub: &sentinelEntity{Type: "azure-resource", ResourceID: a.Hub.ResourceID}},
		{Type: "account", Name: "alice", UPNSuffix: "contoso.example"},
		{Type: "ip", Address: "203.0.113.7"}, {Type: "ip", Address: "192.0.2.14"}, {Type: "ip", Address: "192.0.2.99"},
	}
	if diff := cmp.Diff(want, decoded[[]sentinelEntity](t, s.Entities)); diff != "" {
		t.Errorf("entities (-want +have):\n%s", diff)
	}
}

func TestSecurityAlertGolden(t *testing.T) {
	golden(t, "securityalert.json", written(t, row(t, whole())))
}

// TestSecurityAlertOfDocument checks that the row of an alert that was written as a document
// and read again, as the event of a raising has it, is the row of the alert.
func TestSecurityAlertOfDocument(t *testing.T) {
	for name, s := range corpus(t) {
		have, err := NewSecurityAlert(decoded[Alert](t, written(t, NewAlert(s.alert))))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(written(t, row(t, s.alert)), written(t, have)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}
