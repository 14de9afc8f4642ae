package main

import (
	"errors"
	"os"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
)

// TestReadRow reads from a table that is there, from one that is not, and from
// where there is no service.
func TestReadRow(t *testing.T) {
	script, err := azurite.Find("../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	tables, err := azurite.Start(t.Context(), azurite.Options{Main: script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tables.Kill)
	settings := table.Settings{ConnectionString: tables.ConnectionString()}
	writer := settings
	writer.AlertsTable, writer.QuarantineTable = alertsTable, quarantineTable
	store, err := table.Open(writer)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Quarantine(t.Context(), alert.Quarantined{Function: "CertificateAdded", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	nowhere := table.Settings{ConnectionString: "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=c2VjcmV0;" +
		"TableEndpoint=http://127.0.0.1:1/devstoreaccount1;"}
	for _, c := range []struct {
		what     string
		settings table.Settings
		name     string
		want     verdict
	}{
		{"a table", settings, quarantineTable, isOK},
		{"a table that is not there", settings, alertsTable, isWrong},
		{"a service that is not there", nowhere, alertsTable, isUnknown},
	} {
		if got := tableResult(readRow(t.Context(), c.settings, c.name)); got.verdict != c.want {
			t.Errorf("%s: %s %s, want %s", c.what, got.verdict, got.text, c.want)
		}
	}
	if err := readTable(t.Context(), "http://127.0.0.1:1", alertsTable); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("an endpoint without TLS: %v, want an error of the SDK", err)
	}
}
