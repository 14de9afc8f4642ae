package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/table"
)

// FuzzSettings gives the handler any settings. Opening the tables never panics, a
// mistake is an error that names the setting, and no error has a key in it.
func FuzzSettings(f *testing.F) {
	const key = "UExBTlRFRC1LRVk"
	for _, s := range [][6]string{
		{"UseDevelopmentStorage=true"},
		{"usedevelopmentstorage=TRUE;", "", "", "", "alerts", "quarantine"},
		{"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=" + key + "==;EndpointSuffix=core.windows.net"},
		{"AccountName=contoso;SharedAccessSignature=sv=2022-11-02&sig=" + key + "%3D"},
		{"TableEndpoint=https://contoso.example/?sv=2022-11-02&sig=" + key},
		{"AccountKey=" + key, "", "", "", "a", "1"},
		{";;=;==;AccountName", "https://contoso.table.core.windows.net", "default", "", "alerts", "ALERTS"},
		{"", "https://contoso.table.core.windows.net", "managedidentity", "00000000-0000-0000-0000-0000000000c1", "alerts", "quarantine"},
		{"", "https://contoso.table.core.windows.net/?sig=" + key, "managedidentity"},
		{"", "contoso:\x00//%zz?sig=" + key, "managedidentity"},
		{"\xff=\xff", "", "", "", "\xff", "quarantine"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], "maybe")
	}
	f.Fuzz(func(t *testing.T, storage, uri, credential, clientID, alerts, quarantine, inferred string) {
		getenv := environment(settingStorage, storage, settingTableServiceURI, uri, settingCredential, credential,
			settingClientID, clientID, settingAlertsTable, alerts, settingQuarantineTable, quarantine, settingInferredAlerts, inferred)
		_, err := Open(getenv)
		if err != nil && !strings.HasPrefix(err.Error(), "setting") {
			t.Errorf("the error names no setting: %v", err)
		}
		// A key in a place that nobody would take for that of a key is none.
		secret := !strings.Contains(secret.RedactString(strings.Join([]string{storage, uri, alerts, quarantine}, "\n")), key)
		if err != nil && secret && strings.Contains(err.Error(), key) {
			t.Errorf("the error has the key: %v", err)
		}
	})
}

// environment returns a getenv of pairs of names and values.
func environment(pairs ...string) func(string) string {
	values := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		values[pair[0]] = pair[1]
	}
	return func(name string) string { return values[name] }
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want Config
	}{
		{"nothing", nil, Config{AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"connection string", []string{"AlertsStorage", "UseDevelopmentStorage=true"}, Config{Storage: table.Settings{ConnectionString: "UseDevelopmentStorage=true"}, AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"tables", []string{"AlertsTable", "a1b", "QuarantineTable", "q1r"}, Config{AlertsTable: "a1b", QuarantineTable: "q1r", InferredAlerts: true}},
		{"identity of a developer", []string{"AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net"}, Config{Storage: table.Settings{ServiceURI: "https://contoso.table.core.windows.net"}, AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"identity of the app, by the setting", []string{"AlertsStorage__credential", "managedidentity"}, Config{Storage: table.Settings{ManagedIdentity: true}, AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"identity of the app, by what Azure sets", []string{"IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"}, Config{Storage: table.Settings{ManagedIdentity: true}, AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"user-assigned identity", []string{"AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", "00000000-0000-0000-0000-0000000000c1"}, Config{Storage: table.Settings{ManagedIdentity: true, ClientID: "00000000-0000-0000-0000-0000000000c1"}, AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
		{"another credential", []string{"AlertsStorage__credential", "default"}, Config{AlertsTable: "alerts", QuarantineTable: "quarantine", InferredAlerts: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Read(environment(test.env...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDetectorSettings holds that InferredAlerts changes what detectors find, not
// which there are.
func TestDetectorSettings(t *testing.T) {
	for _, value := range []string{"", "true", "false", "True", "0"} {
		c, err := Read(environment("InferredAlerts", value))
		if err != nil {
			t.Errorf("InferredAlerts=%q: %v", value, err)
			continue
		}
		got := c.detectors()
		if len(got) != len(detector.All) {
			t.Errorf("InferredAlerts=%q: %d detectors, want %d", value, len(got), len(detector.All))
			continue
		}
		for i, d := range got {
			if d.Name != detector.All[i].Name {
				t.Errorf("InferredAlerts=%q: %s stands where %s should", value, d.Name, detector.All[i].Name)
			}
		}
	}
}
