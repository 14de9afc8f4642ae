package export

import (
	"encoding/csv"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// TestGuard checks that no cell is a formula, unless raw cells are wanted, and that
// hidden characters are escaped.
func TestGuard(t *testing.T) {
	for text, want := range map[string]string{
		"root-ca": "root-ca", "a=b": "a=b", "two\nlines": "two\nlines", "two\r\nlines": "two\nlines",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": `'\u0009=1`, "\r=1": `'\u000d=1`, "\n=1": "'\n=1",
		"\uff1d1": "'\uff1d1", "\uff0b1": "'\uff0b1", "\uff0d1": "'\uff0d1", "\uff201": "'\uff201", "\x1b[2J": `\u001b[2J`, "\u202e": `\u202e`,
	} {
		a := whole()
		a.Entity.Name = text
		for raw, want := range map[bool]string{false: want, true: strings.TrimPrefix(want, "'")} {
			if got := cellsOf(t, a, raw)["compromisedEntity"]; got != want {
				t.Errorf("raw %v: %+q is the cell %+q, want %+q", raw, text, got, want)
			}
		}
	}
}

// cellsOf returns the cells of an alert by column.
func cellsOf(t *testing.T, a alert.Alert, raw bool) map[string]string {
	t.Helper()
	var b strings.Builder
	if err := WriteCSV(&b, []alert.Alert{a}, raw); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	cells := map[string]string{}
	for i, name := range rows[0] {
		cells[name] = rows[1][i]
	}
	return cells
}

// TestCSV checks the columns, and that each cell of every alert says what its member
// says.
func TestCSV(t *testing.T) {
	var header strings.Builder
	if err := WriteCSV(&header, nil, false); err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(names(reflect.TypeFor[Alert]()), ",") + "\n"; header.String() != want {
		t.Errorf("the header is %q, want %q", header.String(), want)
	}
	for name, s := range corpus(t) {
		members := parsed(t, written(t, NewAlert(s.alert))).(map[string]any)
		cells := cellsOf(t, s.alert, false)
		for column, cell := range cells {
			if cell == "" {
				if member, ok := members[column]; ok && !isEmptyList(member) && member != "" {
					t.Errorf("%s: no %s in the row", name, column)
				}
			} else if members[column] == nil {
				t.Errorf("%s: %s is %q and not in JSON", name, column, cell)
			}
			if strings.ContainsFunc(strings.ReplaceAll(cell, "\n", ""), secret.Hidden) {
				t.Errorf("%s: hidden characters in %s: %q", name, column, cell)
			}
		}
	}
	cells := cellsOf(t, whole(), false)
	want := map[string]string{
		"actorIpAddresses": "192.0.2.14\n192.0.2.99\n203.0.113.7", "remediationSteps": "Ask the actor.\nDelete the certificate from the hub.",
		"extendedProperties": `{"ActorObjectId":"00000000-0000-4000-8003-000000000002","ActorType":"User","ChangeKind":"created"}`,
		"occurrences":        "3", "moreActorIpAddresses": "true", "startTimeUtc": "2026-02-01T08:00:01.1234567Z", "severity": "Medium",
	}
	have := map[string]string{}
	for column := range want {
		have[column] = cells[column]
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}

func isEmptyList(value any) bool {
	list, ok := value.([]any)
	return ok && len(list) == 0 || ok && len(list) == 1 && list[0] == ""
}

// TestNothingHidden checks that no format lets a character through that could control
// a terminal, and that lines are lines.
func TestNothingHidden(t *testing.T) {
	for name, s := range corpus(t) {
		var out strings.Builder
		for _, document := range []any{detailed(s), NewDetectionFinding(s.alert, s.evidence), NewCloudEvent(s.alert, testSource), row(t, s.alert)} {
			if err := WriteJSON(&out, document); err != nil {
				t.Fatal(err)
			}
		}
		if i := strings.IndexFunc(strings.ReplaceAll(out.String(), "\n", ""), secret.Hidden); i >= 0 {
			t.Errorf("%s: a hidden character: %q", name, []rune(strings.ReplaceAll(out.String(), "\n", "")[i:])[0])
		}
		var lines strings.Builder
		if err := WriteLines(&lines, []Alert{NewAlert(s.alert), NewAlert(s.alert)}); err != nil {
			t.Fatal(err)
		}
		if strings.Count(lines.String(), "\n") != 2 || strings.ContainsFunc(strings.ReplaceAll(lines.String(), "\n", ""), secret.Hidden) {
			t.Errorf("%s: want two lines, have %.200q", name, lines.String())
		}
		for line := range strings.Lines(lines.String()) {
			if diff := cmp.Diff(written(t, NewAlert(s.alert)), written(t, decoded[Alert](t, line))); diff != "" {
				t.Errorf("%s: a line (-want +have):\n%.500s", name, diff)
			}
		}
	}
	var none strings.Builder
	if err := WriteLines[Alert](&none, nil); err != nil || none.String() != "" {
		t.Errorf("no alerts are %q, error %v", none.String(), err)
	}
	if text := written(t, []Alert{}); text != "[]\n" {
		t.Errorf("no alerts are %q", text)
	}
}
