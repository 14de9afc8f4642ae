package main

import (
	"strings"
	"testing"

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
		_, err := table.Open(tableSettings(getenv))
		if err != nil && !strings.HasPrefix(err.Error(), "setting") {
			t.Errorf("the error names no setting: %v", err)
		}
		// A key in a place that nobody would take for that of a key is none.
		secret := !strings.Contains(secret.RedactString(strings.Join([]string{storage, uri, alerts, quarantine}, "\n")), key)
		if err != nil && secret && strings.Contains(err.Error(), key) {
			t.Errorf("the error has the key: %v", err)
		}
		if all, err := detectors(getenv); (err == nil) != (len(all) > 0) {
			t.Errorf("%d detectors and the error %v", len(all), err)
		}
	})
}
