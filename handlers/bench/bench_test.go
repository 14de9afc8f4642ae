package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/table"
)

// TestCorpus checks that the requests are JSON, the same at each call, of every function
// and of both schemas, and that hubwatch and each peer in Go judge them as they are labelled.
func TestCorpus(t *testing.T) {
	for kind, functions := range map[string]int{"silent": 4, "firing": len(detectors)} {
		list, again := corpus(kind, 200), corpus(kind, 200)
		names, schemas := map[string]bool{}, map[bool]bool{}
		for i, r := range list {
			names[r.function], schemas[bytes.Contains(r.body, []byte(`"specversion"`))] = true, true
			if !jsontext.Value(r.body).IsValid() || !bytes.Equal(r.body, again[i].body) || (r.title != "") != (kind == "firing") {
				t.Errorf("%s, request %d: %s", kind, i, r.body)
			}
			for name, h := range map[string]http.Handler{"sample": sampleHandler(), "v1": typedHandler(decodeV1), "v2": typedHandler(decodeV2)} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+r.function, bytes.NewReader(r.body)))
				if got := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(got, r.title) || r.title == "" && !strings.Contains(got, `"Logs":[]`) {
					t.Errorf("%s, %s, request %d: %d %s", name, kind, i, w.Code, got)
				}
			}
		}
		if len(names) != functions || len(schemas) != 2 {
			t.Errorf("%s: %d functions and %d schemas, want %d and 2", kind, len(names), len(schemas), functions)
		}
		decodings(1, map[string][]request{"silent": corpus("silent", 200), "firing": corpus("firing", 200)}) // it ends the process at a wrong verdict
	}
}

// TestWrongAnswersFail checks that a sender takes no answer but the one that is expected.
func TestWrongAnswersFail(t *testing.T) {
	said := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if said == "500" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(said))
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	silent, firing := request{function: "A"}, request{function: "A", title: "Something happened"}
	for _, test := range []struct {
		r    request
		said string
		want bool
	}{
		{silent, `{"Logs":[]}`, true}, {silent, `{"Logs":["Something happened"]}`, false}, {silent, `{}`, false}, {silent, "500", false},
		{firing, `{"Logs":["Low: Something happened"]}`, true}, {firing, `{"Logs":[]}`, false}, {firing, "500", false},
	} {
		s, err := dial(port)
		if err != nil {
			t.Fatal(err)
		}
		said = test.said
		if err := s.ask(&test.r, true); (err == nil) != test.want {
			t.Errorf("%q for %q: %v", test.said, test.r.title, err)
		}
		s.close()
	}
}

// TestReplace checks that the table goes between the comments, and nothing else changes.
func TestReplace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	for _, text := range []string{"a\n" + tableBegins + tableEnds + "b\n", "a\n" + tableBegins + "\nold\n\n" + tableEnds + "b\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := replace(file, tableBegins, "new\n"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if want := "a\n" + tableBegins + "\nnew\n\n" + tableEnds + "b\n"; err != nil || string(b) != want {
			t.Errorf("%v: %s, want %s", err, b, want)
		}
	}
	if err := os.WriteFile(file, []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if replace(file, tableBegins, "new\n") == nil {
		t.Error("a file without a place for the table is no error")
	}
}

// TestStores lets both writers store for a moment, and checks that the stand-in has what it
// acknowledged.
func TestStores(t *testing.T) {
	table, err := stores(t.TempDir(), 1, 20*time.Millisecond)
	if err != nil || strings.Count(table, "\n| stand-in, ") != 8 {
		t.Errorf("error %v, table:\n%s", err, table)
	}
}

// TestShelfCounts checks that a row that was acknowledged and is not there is found.
func TestShelfCounts(t *testing.T) {
	s, connection, stop := startShelf(0)
	defer stop()
	_, stored, err := store(writers[1], connection, "alerts", 2, true, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check("hubwatch", stored, 2, true); err != nil {
		t.Error(err)
	}
	if err := s.check("hubwatch", stored+1, 2, true); err == nil {
		t.Error("a row of evidence that is missing is not found")
	}
}

// TestShelfIsRead checks that a writer that knows nothing of a row finds it on the shelf: hubwatch
// forgets what it wrote when that is much.
func TestShelfIsRead(t *testing.T) {
	s, connection, stop := startShelf(0)
	defer stop()
	for n := range 2 {
		put, err := writers[1].open(connection, "alerts")
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), n, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.check("hubwatch", 2, 1, false); err != nil {
		t.Error(err)
	}
}

// TestRules checks that custom alerts and the same conditions in Go judge as they have to:
// judgeRules returns an error if one does not.
func TestRules(t *testing.T) {
	results, err := judgeRules(1, []int{0, 3})
	if err != nil || len(results) != 2 || len(results[1].cel) != 1 || results[1].compile <= 0 {
		t.Errorf("%+v, %v", results, err)
	}
}

// TestBuilt builds the smallest program, and lets it answer for a moment.
func TestBuilt(t *testing.T) {
	table, err := measureBuilt("../..", "", programs[:1], 1, 20*time.Millisecond, map[string][]request{"silent": corpus("silent", 20), "firing": corpus("firing", 20)})
	if err != nil || strings.Count(table, "\n| plain | ") != 1 {
		t.Errorf("error %v, table:\n%s", err, table)
	}
}

// TestChart draws a chart, and writes its table.
func TestChart(t *testing.T) {
	c := chart{file: "a", title: "A", x: "n", y: "ms", xs: []float64{10, 1000}, series: []series{{"one", []float64{0.5, 1234}}}, more: []series{{"two", []float64{3, 12.34}}}}
	file := filepath.Join(t.TempDir(), "a.svg")
	if err := c.draw(file); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte("<svg")) || !bytes.Contains(b, []byte(">1,000</text>")) {
		t.Errorf("%v: %.2000s", err, b)
	}
	if got, want := c.table(), "| n | one | two |\n|---|---|---|\n| 10 | 0.50 | 3 |\n| 1,000 | 1,234 | 12.3 |\n"; got != want {
		t.Errorf("have\n%s, want\n%s", got, want)
	}
}

// TestArchive checks that an archive answers as the service does: it has the alerts of all hubs
// and days, and one more that is written.
func TestArchive(t *testing.T) {
	archive, connection, stop, err := startArchive(t.Context(), 0, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	account, err := table.Open(table.Settings{ConnectionString: connection})
	if err != nil {
		t.Fatal(err)
	}
	alerts := account.Alerts(archiveTable)
	if recorded, err := alerts.Record(t.Context(), occurrence(alertsOfADay, 1, false)); err != nil || recorded[0].Outcome != alert.New {
		t.Errorf("%v, %v", recorded, err)
	}
	hubs := map[string]int{}
	for a, err := range alerts.List(t.Context(), alert.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		hubs[a.Hub.Name+" "+a.End.Format(time.DateOnly)]++
	}
	want := map[string]int{"contoso-hub-0 2026-02-01": alertsOfADay + 1, "contoso-hub-0 2026-01-31": alertsOfADay, "contoso-hub-1 2026-02-01": alertsOfADay, "contoso-hub-1 2026-01-31": alertsOfADay}
	if !maps.Equal(hubs, want) || archive.requests.Load() == 0 {
		t.Errorf("alerts by hub and day: %v, want %v", hubs, want)
	}
}

// TestStormGrows lets few devices be refused, and very many of one hub.
func TestStormGrows(t *testing.T) {
	for devices, want := range map[int]int{20: 20, 200: 1} {
		if told, _, err := storm(devices); err != nil || told.published != want {
			t.Errorf("%d devices: %d events, want %d; %v", devices, told.published, want, err)
		}
	}
}
