package app

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// FuzzSettings gives the handler any settings. Opening the tables never panics.
// Each line of an error names a setting. An error never repeats the value of a
// connection string, a URL or an identity.
func FuzzSettings(f *testing.F) {
	const key = "UExBTlRFRC1LRVk"
	for _, s := range [][7]string{
		{"UseDevelopmentStorage=true"},
		{"usedevelopmentstorage=TRUE;", "", "", "", "", "alerts", "quarantine"},
		{"UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://" + key},
		{"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=" + key + "==;EndpointSuffix=core.windows.net"},
		{" DefaultEndpointsProtocol = ftp ;; AccountKey = " + key + "; AccountName=" + key + ";\n"},
		{"AccountName=contoso;SharedAccessSignature=sv=2022-11-02&sig=" + key + "%3D"},
		{"AccountName=contoso;EndpointSuffix=core.windows.net;SharedAccessSignature=?sv=2022-11-02&sig=" + key + "%3D"},
		{"TableEndpoint=https://contoso.example/;SharedAccessSignature=sv=2022-11-02&se=" + key + "&sig=" + key},
		{"TableEndpoint=https://contoso.example/?sv=2022-11-02&sig=" + key},
		{"TableEndpoint=https://" + key + ".blob." + key + ";AccountName=contoso"},
		{"AccountKey=" + key, "", "", "", "", "a", "1"},
		{key}, {key + "==;" + key}, {"https://contoso.example/?sig=" + key},
		{";;=;==;AccountName", "https://contoso.table.core.windows.net", "default", "", "", "alerts", "ALERTS"},
		{"", "https://contoso.table.core.windows.net", "managedidentity", "00000000-0000-0000-0000-0000000000c1", "", "alerts", "quarantine"},
		{"", "https://contoso.table.core.windows.net", key, key, "/subscriptions/" + key},
		{"", "https://contoso.table.core.windows.net/?sig=" + key, "managedidentity"},
		{"", "https://me:" + key + "@contoso.example", "managedidentity"},
		{"", "contoso:\x00//%zz?sig=" + key, "managedidentity"},
		{"@Microsoft.KeyVault(SecretUri=https://contoso.example/" + key + ")"},
		{"\xff=\xff", "", "", "", "", "\xff", "quarantine"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], s[6], "maybe")
	}
	f.Fuzz(func(t *testing.T, storage, uri, credential, clientID, resourceID, alerts, quarantine, inferred string) {
		_, err := Open(environment(settingStorage, storage, settingTableServiceURI, uri, settingCredential, credential, settingClientID, clientID,
			settingResourceID, resourceID, settingAlertsTable, alerts, settingQuarantineTable, quarantine, settingInferredAlerts, inferred))
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.HasPrefix(line, "setting") {
				t.Errorf("a line of the error names no setting: %v", err)
			}
		}
		// A key in a setting that does not hold keys is not a secret.
		shown := strings.Join([]string{alerts, quarantine, inferred}, "\n")
		if strings.Contains(err.Error(), key) && !strings.Contains(secret.RedactString(shown), key) {
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

const resourceID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want Config
	}{
		{"nothing", nil, Config{AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"connection string", []string{"AlertsStorage", "UseDevelopmentStorage=true"}, Config{Storage: table.Settings{ConnectionString: "UseDevelopmentStorage=true"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"tables", []string{"AlertsTable", "a1b", "QuarantineTable", "q1r"}, Config{AlertsTable: "a1b", QuarantineTable: "q1r", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"identity of a developer", []string{"AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net"}, Config{Storage: table.Settings{ServiceURI: "https://contoso.table.core.windows.net"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"identity of the app, by the setting", []string{"AlertsStorage__credential", "managedidentity"}, Config{Storage: table.Settings{ManagedIdentity: true}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"identity of the app, by what Azure sets", []string{"IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"}, Config{Storage: table.Settings{ManagedIdentity: true}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"user-assigned identity", []string{"AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", "00000000-0000-0000-0000-0000000000c1"}, Config{Storage: table.Settings{ManagedIdentity: true, ClientID: "00000000-0000-0000-0000-0000000000c1"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"identity by the convention's other names", []string{"AlertsStorage__serviceUri", " https://contoso.table.core.windows.net\n", "AlertsStorage__credential", "ManagedIdentity", "AlertsStorage__managedIdentityResourceId", resourceID}, Config{Storage: table.Settings{ServiceURI: "https://contoso.table.core.windows.net", ManagedIdentity: true, ResourceID: resourceID}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"the name of the tables comes first", []string{"AlertsStorage__serviceUri", "https://fabrikam.example", "AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net"}, Config{Storage: table.Settings{ServiceURI: "https://contoso.table.core.windows.net"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"client id of the SDK", []string{"IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", "AZURE_CLIENT_ID", "00000000-0000-0000-0000-0000000000c2"}, Config{Storage: table.Settings{ManagedIdentity: true, ClientID: "00000000-0000-0000-0000-0000000000c2"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"client id before that of the SDK", []string{"IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", "AlertsStorage__clientId", "00000000-0000-0000-0000-0000000000c1", "AZURE_CLIENT_ID", "00000000-0000-0000-0000-0000000000c2"}, Config{Storage: table.Settings{ManagedIdentity: true, ClientID: "00000000-0000-0000-0000-0000000000c1"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"the SDK's own identities", []string{"AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net", "AZURE_CLIENT_ID", "c2"}, Config{Storage: table.Settings{ServiceURI: "https://contoso.table.core.windows.net"}, AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "suppressions", InferredAlerts: true}},
		{"table of suppressions", []string{"SuppressionsTable", "s1r"}, Config{AlertsTable: "alerts", QuarantineTable: "quarantine", SuppressionsTable: "s1r", InferredAlerts: true}},
		{"blanks around", []string{"AlertsStorage", "\tUseDevelopmentStorage=true\r\n", "AlertsTable", " a1b ", "QuarantineTable", "\n", "InferredAlerts", " false\n"}, Config{Storage: table.Settings{ConnectionString: "UseDevelopmentStorage=true"}, AlertsTable: "a1b", QuarantineTable: "quarantine", SuppressionsTable: "suppressions"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Read(environment(test.env...))
			if err != nil {
				t.Fatal(err)
			}
			test.want.Verdict, test.want.LogClock, test.want.Notify, test.want.CanaryPatience = verdict.Defaults(), true, Notify{DigestAfter: 20}, coverage.Patience
			if test.want.Storage.ConnectionString != "" {
				test.want.State = test.want.Storage
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestState checks in which account the state is, and with which identity.
func TestState(t *testing.T) {
	const uri, client = "https://contosostate.table.core.windows.net", "00000000-0000-0000-0000-0000000000c1"
	for name, test := range map[string]struct {
		env  []string
		want table.Settings
	}{
		"nothing":                                  {nil, table.Settings{}},
		"that of the alerts":                       {[]string{"AlertsStorage", "UseDevelopmentStorage=true"}, table.Settings{ConnectionString: "UseDevelopmentStorage=true"}},
		"not that of the alerts":                   {[]string{"AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net"}, table.Settings{}},
		"another, by its key":                      {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "StateStorage", "UseDevelopmentStorage=true"}, table.Settings{ConnectionString: "UseDevelopmentStorage=true", Setting: "StateStorage"}},
		"another, by the default":                  {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "StateStorage__tableServiceUri", uri}, table.Settings{ServiceURI: uri, Setting: "StateStorage"}},
		"another, by the identity":                 {[]string{"AlertsStorage__tableServiceUri", "https://contoso.table.core.windows.net", "AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", client, "StateStorage__tableServiceUri", uri}, table.Settings{ServiceURI: uri, ManagedIdentity: true, ClientID: client, Setting: "StateStorage"}},
		"by the identity, the alerts by their key": {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", client, "StateStorage__tableServiceUri", uri}, table.Settings{ServiceURI: uri, ManagedIdentity: true, ClientID: client, Setting: "StateStorage"}},
		"by that of the SDK":                       {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", "AZURE_CLIENT_ID", client, "StateStorage__tableServiceUri", uri}, table.Settings{ServiceURI: uri, ManagedIdentity: true, ClientID: client, Setting: "StateStorage"}},
	} {
		got, err := Read(environment(test.env...))
		if diff := cmp.Diff(test.want, got.State); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestIdentityOfTopic checks that the topic is reached with the identity that is named, also
// if the alerts are reached with a key.
func TestIdentityOfTopic(t *testing.T) {
	const client = "00000000-0000-0000-0000-0000000000c1"
	for _, name := range []string{"AlertsStorage__clientId", "AZURE_CLIENT_ID"} {
		c, err := Read(environment("AlertsStorage", "UseDevelopmentStorage=true", "IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", name, client,
			"ConnectionEvents__topicEndpointUri", "https://contoso.westeurope-1.eventgrid.azure.net/api/events"))
		if err != nil || c.Storage.ClientID != client || !c.Storage.ManagedIdentity {
			t.Errorf("%s: client id %q, %v", name, c.Storage.ClientID, err)
		}
	}
	// Without a topic and a state of its own nothing would use it.
	for name, value := range map[string]string{"AlertsStorage__clientId": client, "AlertsStorage__managedIdentityResourceId": resourceID, "AlertsStorage__credential": "managedidentity"} {
		_, err := Read(environment("AlertsStorage", "UseDevelopmentStorage=true", "IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", name, value))
		if err == nil || !strings.Contains(err.Error(), "settings AlertsStorage and "+name+": want one, have both") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestVerdictSettings checks what the owner of a fleet decides.
func TestVerdictSettings(t *testing.T) {
	c, err := Read(environment("RenewalGrace", "PT5M", "MissingAfter", "P1DT2H", "RenewalAddress", "network", "StormDevices", "250", "SurgeDevices", "0"))
	want := verdict.Defaults()
	want.RenewalGrace, want.MissingAfter, want.SameNetwork, want.Storm = 5*time.Minute, 26*time.Hour, true, 250
	want.Surge = 0
	if diff := cmp.Diff(want, c.Verdict); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for name, want := range map[string]string{"RenewalGrace": "from PT1M to PT1H, ", "MissingAfter": "from PT0M to PT26H, ", "CanaryPatience": "from PT1S to PT50M, "} {
		if _, err := Read(environment(name, "PT400H")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one that says %q", name, err, want)
		}
	}
	if c, err := Read(environment("MissingAfter", "PT0M")); err != nil || c.Verdict.MissingAfter != 0 {
		t.Errorf("PT0M: %v, %v", c.Verdict.MissingAfter, err)
	}
	for _, wrong := range [][2]string{
		{"RenewalGrace", "10m"}, {"RenewalGrace", "PT30S"}, {"RenewalGrace", "PT61M"}, {"RenewalGrace", "P"}, {"RenewalGrace", "PT"}, {"RenewalGrace", "P1DT"}, {"RenewalGrace", "P1M"},
		{"ExpectedHubs", "contoso hub"}, {"ExpectedHubs", "contoso-hub,-"}, {"ExpectedHubs", strings.Repeat("contoso-hub,", 501)},
		{"MissingAfter", "P"}, {"CanaryPatience", "PT51M"}, {"CanaryPatience", "PT0S"}, {"CanaryEventHubUri", "http://contoso.servicebus.windows.net/connections/messages"},
		{"MissingAfter", "PT"}, {"SurgeDevices", "-1"}, {"LogClock", "maybe"}, {"StateStorage__tenantId", "x"}, {"MissingAfter", "PT26H1S"}, {"MissingAfter", "-PT1M"}, {"RenewalAddress", "same"}, {"StormDevices", "1"}, {"StormDevices", "1001"}, {"StormDevices", "many"},
		{"DigestAfter", "-1"}, {"DigestAfter", "some"}, {"ConsoleUrl", "http://contoso.example"}, {"ConsoleUrl", "contoso"}, {"ConsoleUrl", "https://contoso.example/?x=1"},
		{"ConnectionEvents__topicEndpointUri", "http://contoso.example/api/events"}, {"StateStorage__tableServiceUri", "contoso"}, {"StateStorage", "contoso"}, {"StateStorage__clientId", "x"},
	} {
		if _, err := Read(environment(wrong[0], wrong[1])); err == nil || !strings.HasPrefix(err.Error(), "setting "+wrong[0]+": ") {
			t.Errorf("%s=%s: error %v, want one that names it", wrong[0], wrong[1], err)
		}
	}
}

// TestChannelSettings checks that the channels are found by their names, and that a mistake in
// one names the setting alone and keeps neither the others nor the handler.
func TestChannelSettings(t *testing.T) {
	t.Setenv("Notify__ops", "slack+https://hooks.slack.com/services/hidden#severity=High")
	t.Setenv("Notify__wrong", "https://hidden.example.com/")
	t.Setenv("NotifyUrls", "@Microsoft.KeyVault(SecretUri=https://hidden.vault.azure.net/secrets/x)")
	c, err := Read(os.Getenv)
	if err != nil || len(c.Notify.Channels) != 1 || c.Notify.Channels[0].Name() != "ops" {
		t.Fatalf("%+v, %v", c.Notify, err)
	}
	if c.Notify.Faults == nil || strings.Contains(c.Notify.Faults.Error(), "hidden") || !strings.Contains(c.Notify.Faults.Error(), "setting NotifyUrls: its reference to the Key Vault was not resolved") ||
		!strings.Contains(c.Notify.Faults.Error(), "setting Notify__wrong: ") {
		t.Errorf("have %v", c.Notify.Faults)
	}
	t.Setenv("AlertsStorage", "UseDevelopmentStorage=true")
	if _, err := Open(os.Getenv); err != nil {
		t.Errorf("nothing is judged, since a channel is wrong: %v", err)
	}
}

// TestExamples checks that each example and each default of a setting works, and
// that the handler checks each setting.
func TestExamples(t *testing.T) {
	for _, s := range Settings {
		if (s.Check == nil) != s.HostOnly {
			t.Errorf("%s: read by the host alone: %v, has a check: %v", s.Name, s.HostOnly, s.Check != nil)
		}
		for _, value := range []string{s.Example, s.Default} {
			if value == "" || s.HostOnly {
				continue
			}
			if err := s.check(value); err != nil {
				t.Errorf("%s=%s: %v", s.Name, value, err)
			}
		}
		if s.Example == "" || s.Meaning == "" {
			t.Errorf("%s has no example or no meaning", s.Name)
		}
	}
}

// TestMistakes checks that settings which cannot work are reported at the start.
// Each has a line that names the setting and says what is wrong.
func TestMistakes(t *testing.T) {
	const (
		uri    = "https://contoso.table.core.windows.net"
		state  = "https://contosostate.table.core.windows.net"
		client = "00000000-0000-0000-0000-0000000000c1"
		key    = "cGxhbnRlZCBrZXkgb2YgdGhlIHRlc3Q="
	)
	type mistakes = [][2]string // the name in the line, and another part of it
	for name, test := range map[string]struct {
		env  []string
		want mistakes
	}{
		"no scheme":                       {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", "contoso.table.core.windows.net"}, mistakes{{"setting AlertsStorage__tableServiceUri: ", "for example AlertsStorage__tableServiceUri=" + uri}}},
		"account name":                    {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", "contoso"}, mistakes{{"setting AlertsStorage__tableServiceUri: ", uri}}},
		"token over http":                 {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", "http://127.0.0.1:10002/devstoreaccount1"}, mistakes{{"setting AlertsStorage__tableServiceUri: ", uri}}},
		"service URI":                     {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__serviceUri", "contoso"}, mistakes{{"setting AlertsStorage__serviceUri: ", uri}}},
		"reserved":                        {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsTable", "tables"}, mistakes{{"setting AlertsTable: ", "reserved"}}},
		"reserved, others":                {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "QuarantineTable", "Tables"}, mistakes{{"setting QuarantineTable: ", "reserved"}}},
		"the part of a connection string": {[]string{"AlertsStorage", "AccountName=contoso;AccountKey=" + key + ";AccountKeyy=" + key}, mistakes{{"setting AlertsStorage: ", "part 3 of 3"}}},
		"two tables with one name":        {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "SuppressionsTable", "Quarantine", "AlertsTable", "Suppressions"}, mistakes{{"settings QuarantineTable and SuppressionsTable: ", "both"}}},
		"alerts in another table":         {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsTable", "Suppressions"}, mistakes{{"settings AlertsTable and SuppressionsTable: ", "both"}}},
		"all at once": {
			[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", "contoso", "AlertsStorage__credential", "secret", "AlertsStorage__clientId", "contoso-identity", "AlertsStorage__accountName", "contoso", "AlertsTable", "a", "QuarantineTable", "A", "InferredAlerts", "maybe"},
			mistakes{
				{"setting AlertsStorage__tableServiceUri: ", "is not a URL"}, {"setting AlertsStorage__credential: ", "want managedidentity"}, {"setting AlertsStorage__clientId: ", "a GUID"},
				{"setting AlertsTable: ", "is not a name"}, {"setting QuarantineTable: ", "is not a name"}, {"setting InferredAlerts: ", `want true or false, have "maybe"`},
				{"setting AlertsStorage__accountName: ", "is not supported"}, {"settings AlertsTable and QuarantineTable: ", "both"}, {"setting AlertsStorage__clientId: ", "names a managed identity"},
			},
		},
		"nothing but other mistakes":                {[]string{"AlertsTable", "a"}, mistakes{{"setting AlertsTable: ", ""}, {"settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have none", ""}}},
		"both storages":                             {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage__tableServiceUri", uri}, mistakes{{"settings AlertsStorage and AlertsStorage__tableServiceUri: want one, have both", ""}}},
		"an identity and a connection string":       {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", client}, mistakes{{"settings AlertsStorage and AlertsStorage__credential: ", ""}, {"settings AlertsStorage and AlertsStorage__clientId: ", ""}}},
		"two identities":                            {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", client, "AlertsStorage__managedIdentityResourceId", resourceID}, mistakes{{"settings AlertsStorage__clientId and AlertsStorage__managedIdentityResourceId: want one, have both", ""}}},
		"an identity that nobody would use":         {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__managedIdentityResourceId", resourceID}, mistakes{{"setting AlertsStorage__managedIdentityResourceId: ", "AlertsStorage__credential=managedidentity"}}},
		"a resource id as client id":                {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "managedidentity", "AlertsStorage__clientId", resourceID}, mistakes{{"setting AlertsStorage__clientId: ", "say AlertsStorage__managedIdentityResourceId"}}},
		"a client id as resource id":                {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "managedidentity", "AlertsStorage__managedIdentityResourceId", client}, mistakes{{"setting AlertsStorage__managedIdentityResourceId: ", "say AlertsStorage__clientId"}}},
		"a name as resource id":                     {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "managedidentity", "AlertsStorage__managedIdentityResourceId", "id1"}, mistakes{{"setting AlertsStorage__managedIdentityResourceId: ", "want the resource id"}}},
		"client id of the SDK":                      {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "IDENTITY_ENDPOINT", "http://127.0.0.1:1", "AZURE_CLIENT_ID", "id1"}, mistakes{{"setting AZURE_CLIENT_ID: ", "a GUID"}}},
		"another tenant":                            {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "managedIdentityAsFederatedIdentity"}, mistakes{{"setting AlertsStorage__credential: ", "another tenant"}}},
		"workload identity":                         {[]string{"StateStorage__tableServiceUri", state, "AlertsStorage__tableServiceUri", uri, "AlertsStorage__credential", "workloadidentity"}, mistakes{{"setting AlertsStorage__credential: ", "leave it out"}}},
		"two accounts of the state":                 {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "StateStorage", "UseDevelopmentStorage=true", "StateStorage__tableServiceUri", state}, mistakes{{"settings StateStorage and StateStorage__tableServiceUri: want one, have both", ""}}},
		"the state among the alerts":                {[]string{"StateStorage__tableServiceUri", uri + "/", "AlertsStorage__tableServiceUri", uri}, mistakes{{"settings StateStorage__tableServiceUri and AlertsStorage__tableServiceUri: both", "want two"}}},
		"no account of the state":                   {[]string{"AlertsStorage__tableServiceUri", uri}, mistakes{{"setting StateStorage__tableServiceUri: is missing", "infra/main.bicep"}}},
		"what hubwatch is made of, without the app": {[]string{"AlertsStorage", "UseDevelopmentStorage=true", "OwnResources", "hubwatchabc"}, mistakes{{"setting OwnResources: ", "lacks the resource id of the function app"}}},
		"Key Vault":                                 {[]string{"AlertsStorage", "@Microsoft.KeyVault(SecretUri=https://contoso.example/secrets/x)"}, mistakes{{"setting AlertsStorage: ", "could not resolve"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(environment(test.env...))
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			for i, line := range lines {
				if i >= len(test.want) || !strings.HasPrefix(line, test.want[i][0]) || !strings.Contains(line, test.want[i][1]) {
					t.Errorf("line %d is %s", i, line)
				}
				if strings.Contains(line, key) || secret.RedactString(line) != line {
					t.Errorf("line %d has a secret, or what the log takes for one: %s", i, line)
				}
			}
			if len(lines) != len(test.want) {
				t.Errorf("%d lines, want %d:\n%v", len(lines), len(test.want), err)
			}
		})
	}
}

// TestConvention checks that every setting of the convention either works or is
// refused by its name, also in wrong spellings that look right.
func TestConvention(t *testing.T) {
	for _, name := range []string{
		"accountName", "endpoint", "connectionString", "blobServiceUri", "queueServiceUri", "managedIdentityClientId", "managedIdentityObjectId", "tenantId",
		"clientSecret", "clientCertificate", "clientCertificateStoreName", "clientCertificateStoreLocation", "tokenFilePath", "additionallyAllowedTenants",
		"azureCloud", "serviceConnectionId", "systemAccessToken",
		"clientID", "clientid", "ClientId", "Credential", "TableServiceUri", "tableServiceURI", "tableserviceuri", "ServiceUri", "serviceURI", "managedIdentityResourceID",
	} {
		name = "AlertsStorage__" + name
		_, err := Read(environment(name, "U0VDUkVU"))
		if err == nil || !strings.HasPrefix(err.Error(), "setting "+name+": ") || strings.Contains(err.Error(), "U0VDUkVU") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line that names it and does not have its value", name, err)
		}
	}
	for _, name := range []string{"AlertsStorage_tableServiceUri", "AlertsStorage:clientId"} {
		if _, err := Read(environment(name, "x")); err == nil || !strings.HasPrefix(err.Error(), "setting "+name+": ") {
			t.Errorf("%s: error %v, want one that names it", name, err)
		}
	}
}

// TestDetectorSettings checks that InferredAlerts changes what detectors find, not
// which there are.
func TestDetectorSettings(t *testing.T) {
	all := Detectors()
	for _, value := range []string{"", "true", "false", "True", "0"} {
		c, err := Read(environment("InferredAlerts", value))
		if err != nil {
			t.Errorf("InferredAlerts=%q: %v", value, err)
			continue
		}
		got := c.detectors()
		if len(got) != len(all) {
			t.Errorf("InferredAlerts=%q: %d detectors, want %d", value, len(got), len(all))
			continue
		}
		for i, d := range got {
			if d.Name != all[i].Name {
				t.Errorf("InferredAlerts=%q: %s stands where %s should", value, d.Name, all[i].Name)
			}
		}
	}
}

// TestSentinelIsAsked checks that the function of Microsoft Sentinel has a channel if the
// settings name one, and that they name all of it.
func TestSentinelIsAsked(t *testing.T) {
	settings := map[string]string{settingStorage: "UseDevelopmentStorage=true"}
	getenv := func(name string) string { return settings[name] }
	a, err := Open(getenv)
	if err != nil {
		t.Fatal(err)
	}
	// A function whose settings are missing answers, and sends nothing.
	out, err := a.Judge(nil).Sentinel(t.Context(), host.Invocation{Function: judge.SentinelName, Data: []byte(`{
		"id": "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39/0", "type": "hubwatch.alert.raised", "time": "2026-02-01T08:00:01Z",
		"data": {"systemAlertId": "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", "hubName": "contoso-hub", "reference": "contoso-hub/2026-02-01/ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39"}}`)})
	if err != nil || len(a.Sentinel.Channels) > 0 || out.Counts["no channel"] != 1 {
		t.Errorf("without settings there are %d channels; %+v, %v", len(a.Sentinel.Channels), out, err)
	}
	settings[settingSentinelEndpoint] = "https://contoso.westeurope-1.ingest.monitor.azure.com"
	if _, err := Open(getenv); err == nil || !strings.Contains(err.Error(), "settings Sentinel__endpoint and Sentinel__ruleId: want both") {
		t.Errorf("without a rule: %v", err)
	}
	settings[settingSentinelRule] = "dcr-00000000000000000000000000000001"
	if a, err = Open(getenv); err != nil || len(a.Sentinel.Channels) != 1 || a.Sentinel.Channels[0].Name() != "sentinel" || a.Sentinel.DigestAfter != 0 {
		t.Fatalf("with both: %+v, %v", a, err)
	}
}

// TestOwnResources checks that the detectors of hubwatch itself are about the resources in
// the setting: an alert of each is about the deployment, and none about another resource.
func TestOwnResources(t *testing.T) {
	const group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/"
	c, err := Read(environment("OwnResources", "hubwatchcontoso,"+group+"Microsoft.Web/sites/hubwatch-contoso"))
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := custom.Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, d := range c.detectors() {
		if !d.On.Own {
			continue
		}
		own++
		i := slices.IndexFunc(alerts, func(a custom.Alert) bool { return a.Name == d.Name })
		for _, each := range alerts[i].Cases {
			v := d.Judge(each.Event)
			if (len(v.Occurrences) == 1) != (each.Want == custom.Fires) {
				t.Errorf("%s: case %s: %d alerts", d.Name, each.Name, len(v.Occurrences))
			}
			for _, o := range v.Occurrences {
				if !strings.EqualFold(o.Hub.ResourceID, group+"Microsoft.Web/sites/hubwatch-contoso") {
					t.Errorf("%s: case %s: the alert is of the hub %v", d.Name, each.Name, o.Hub)
				}
			}
			other := strings.NewReplacer("hubwatch", "fabrikam", "HUBWATCH", "FABRIKAM").Replace(string(each.Event))
			if v := d.Judge([]byte(other)); v.Err != nil || len(v.Occurrences) > 0 {
				t.Errorf("%s: case %s: %v, %d alerts about a resource that is not of hubwatch", d.Name, each.Name, v.Err, len(v.Occurrences))
			}
		}
	}
	if own != 5 {
		t.Errorf("%d detectors are about hubwatch itself, want 5", own)
	}
}
