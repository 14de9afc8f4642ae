package relay

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
)

// other is a record that has nothing to do with the one that matters.
const other = `{"category":"Routes","records":"none","operationName":"deviceConnect"}`

// wrappers are ways in which a record may stand in a message, alone and among
// others, whole and broken.
var wrappers = map[string]func(record string) string{
	"alone":                  func(r string) string { return r },
	"in an array":            func(r string) string { return "[" + r + "]" },
	"in records":             func(r string) string { return `{"records":[` + r + `]}` },
	"first of several":       func(r string) string { return `{"records":[` + r + "," + other + "," + other + `]}` },
	"last of several":        func(r string) string { return `{"records":[` + other + "," + other + "," + r + `]}` },
	"after one that is none": func(r string) string { return `{"records":["text",7,null,` + r + `]}` },
	"before one that breaks": func(r string) string { return `{"records":[` + r + `,{"category":oops}]}` },
	"after one that breaks":  func(r string) string { return `{"records":[{"category":oops},` + "\n" + r + `]}` },
	"with members before":    func(r string) string { return `{"time":"2026-02-01T10:00:00Z","count":1,"records":[` + r + `]}` },
	"with members behind":    func(r string) string { return `{"records":[` + r + `],"PartitionId":3,"EventEnqueuedUtcTime":null}` },
	"messages in an array":   func(r string) string { return `[{"records":[` + other + `]},{"records":[` + r + `]}]` },
	"a line of a file":       func(r string) string { return other + "\r\n\r\n" + r + "\r\n" + other },
	"behind a byte order":    func(r string) string { return "\uFEFF" + `{"records":[` + r + `]}` },
	"with space around":      func(r string) string { return " \t\r\n{ \"records\" :\n[ " + r + " ] }\n" },
	"not ended":              func(r string) string { return `{"records":[` + r },
	"twice":                  func(r string) string { return `{"records":[` + r + "," + r + `]}` },
}

// forms write a record in other ways that mean the same.
var forms = map[string]func(t testing.TB, record jsontext.Value) string{
	"as it is": func(_ testing.TB, r jsontext.Value) string { return string(r) },
	"on one line": func(t testing.TB, r jsontext.Value) string {
		if r = r.Clone(); r.Compact(jsontext.AllowDuplicateNames(true)) != nil {
			t.Fatalf("%s is not JSON", r)
		}
		return string(r)
	},
	"members in order": func(t testing.TB, r jsontext.Value) string {
		if r = r.Clone(); r.Canonicalize() != nil {
			t.Fatalf("%s is not JSON", r)
		}
		return string(r)
	},
	"further members": func(_ testing.TB, r jsontext.Value) string {
		further := `{"ignore":true,"hubwatch":{"category":"none"},`
		if !strings.Contains(string(r), `"Category"`) { // which a row of Log Analytics has
			further += `"Category":"none",`
		}
		return strings.Replace(string(r), "{", further, 1)
	},
}

// TestNoWrapperHelps puts the record of every case of a failed connection that is
// reported into messages of all forms: it is the same alert each time.
func TestNoWrapperHelps(t *testing.T) {
	variants := 0
	for _, d := range detector.All {
		if !slices.Contains(d.On.EventTypes, connection.Failed) {
			continue
		}
		files, err := filepath.Glob("../detector/testdata/" + d.Name + "/fires-*.json")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no cases that fire: %v", d.Name, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Event struct {
					Data jsontext.Value `json:"data"`
				} `json:"event"`
				Want struct {
					Alerts []struct {
						ID string `json:"systemAlertId"`
					} `json:"alerts"`
				} `json:"want"`
			}
			if strings.Contains(filepath.Base(file), "-verdict-") {
				continue // Its data is not a record.
			}
			if err := json.Unmarshal(data, &c, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for form, write := range forms {
				record := write(t, c.Event.Data)
				for wrapper, wrap := range wrappers {
					variants++
					var ids []string
					for _, raw := range Relay([][]byte{[]byte(wrap(record))}).Events {
						v := d.Judge(raw)
						if v.Err != nil {
							t.Errorf("%s, %s, %s: %v", file, form, wrapper, v.Err)
						}
						for _, a := range v.Occurrences {
							ids = append(ids, a.ID)
						}
					}
					if len(ids) != 1 || ids[0] != c.Want.Alerts[0].ID {
						t.Errorf("%s, %s, %s: the alerts %v, want just %s", file, form, wrapper, ids, c.Want.Alerts[0].ID)
					}
				}
			}
		}
	}
	t.Logf("%d variants", variants)
}
