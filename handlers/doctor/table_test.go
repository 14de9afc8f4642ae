package doctor

import (
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
	open := func(settings table.Settings) *table.Account {
		account, err := table.Open(settings)
		if err != nil {
			t.Fatal(err)
		}
		return account
	}
	here := open(table.Settings{ConnectionString: tables.ConnectionString()})
	if err := here.Quarantine(quarantineTable).Quarantine(t.Context(), alert.Quarantined{Function: "CertificateAdded", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	wrongKey := open(table.Settings{ConnectionString: "AccountName=devstoreaccount1;AccountKey=c2VjcmV0;TableEndpoint=" + tables.Endpoint()})
	nowhere := open(table.Settings{ConnectionString: "AccountName=devstoreaccount1;AccountKey=c2VjcmV0;TableEndpoint=http://127.0.0.1:1/devstoreaccount1"})
	for _, c := range []struct {
		what    string
		account *table.Account
		name    string
		want    Verdict
	}{
		{"a table", here, quarantineTable, OK},
		{"a table that is not there", here, alertsTable, Wrong},
		{"a table that may not be read", wrongKey, quarantineTable, Wrong},
		{"a service that is not there", nowhere, alertsTable, Unknown},
	} {
		if got := tableResult(readRow(t.Context(), c.account, c.name)); got.Verdict != c.want {
			t.Errorf("%s: %s %s, want %s", c.what, got.Verdict, got.Text, c.want)
		}
	}
	if got := tableResult(readTable(t.Context(), "http://127.0.0.1:1", alertsTable)); got.Verdict != Unknown {
		t.Errorf("an endpoint without TLS: %s %s, want %s", got.Verdict, got.Text, Unknown)
	}
}
