package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/local"
	"hubwatch/handlers/table"
)

// atRoot runs the rest of a test in the root of the repository, with what make
// puts there: the app and Azurite.
func atRoot(t *testing.T) {
	t.Helper()
	t.Chdir("..")
	_, err := local.FindAzurite(".")
	if err == nil {
		_, err = os.Stat(appFolder + "/hubwatch")
	}
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
}

// TestDemo is the whole way: sample events, Event Grid's filters, the
// custom-handler protocol, the handler as it is deployed, rows in a table.
func TestDemo(t *testing.T) {
	atRoot(t)
	var out, log bytes.Buffer
	if err := demo(t.Context(), &out, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), log.String())
	}
	for _, d := range detector.All {
		if n := strings.Count(out.String(), " "+d.AlertType+" "); n != 1 {
			t.Errorf("%s is shown %d times, want once:\n%s", d.AlertType, n, out.String())
		}
	}
}

// TestEachOnce holds the demo to failing when an alert is missing, doubled or
// counted twice.
func TestEachOnce(t *testing.T) {
	var rows []table.Row
	for _, d := range detector.All {
		rows = append(rows, table.Row{AlertType: d.AlertType, Occurrences: 1})
	}
	if err := eachOnce(rows); err != nil {
		t.Error(err)
	}
	twice := append([]table.Row{}, rows...)
	twice[0].Occurrences = 2
	for name, wrong := range map[string][]table.Row{
		"missing": rows[1:], "doubled": append(rows[:len(rows):len(rows)], rows[0]), "counted twice": twice,
		"of another kind": append(rows[:len(rows):len(rows)], table.Row{AlertType: "IoT_Bruteforce_Fail", Occurrences: 1}),
	} {
		if eachOnce(wrong) == nil {
			t.Errorf("an alert that is %s goes unnoticed", name)
		}
	}
}
