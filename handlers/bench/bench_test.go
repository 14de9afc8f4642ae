package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
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
	}
	list := map[string][]request{"silent": corpus("silent", 200), "firing": corpus("firing", 200)}
	if text, err := singleSteps(1, list); err != nil || strings.Count(text, "\n") != 7 {
		t.Errorf("%v:\n%s", err, text)
	}
	list["firing"][7].title = "Another title"
	if _, err := decodings(1, list); err == nil {
		t.Error("an alert with another title than the label has is no error")
	}
}

// TestMain makes the test binary also the process of a peer, as the program is.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-peer") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestPeers starts each peer, as the program does, and lets it answer for a moment. Each answer is
// compared with its label.
func TestPeers(t *testing.T) {
	script := filepath.Join(t.TempDir(), "peer.mjs")
	if err := os.WriteFile(script, nodePeer, 0o600); err != nil {
		t.Fatal(err)
	}
	requests := map[string][]request{"silent": corpus("silent", 40), "firing": corpus("firing", 40)}
	results := make([]measured, len(peers))
	for i, p := range peers {
		results[i] = measured{rate: map[string][]float64{}, micros: map[string][]float64{}}
		t.Run(p.name, func(t *testing.T) {
			if _, err := exec.LookPath("node"); p.serve == nil && err != nil && os.Getenv("HUBWATCH_AZURITE") != "required" {
				t.Skip(err) // Azurite needs it too
			}
			if err := results[i].measure(p, script, requests, 40*time.Millisecond); err != nil {
				t.Error(err)
			}
			wrong := peer{p.name, p.about, p.serve, []byte("{}")}
			if p.constant == nil {
				wrong.constant = nothing // to what fires, too
			}
			if err := results[i].measure(wrong, script, requests, 40*time.Millisecond); err == nil {
				t.Error("an answer that is not the expected constant is no error")
			}
		})
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
		r        request
		constant []byte
		said     string
		want     bool
	}{
		{silent, nil, `{"Logs":[]}`, true}, {silent, nil, `{"Logs":["Something happened"]}`, false}, {silent, nil, `{}`, false}, {silent, nil, "500", false},
		{firing, nil, `{"Logs":["Low: Something happened"]}`, true}, {firing, nil, `{"Logs":[]}`, false}, {firing, nil, "500", false},
		{firing, nothing, string(nothing), true}, {firing, nothing, `{"Logs":["Low: Something happened"]}`, false}, {silent, nothing, `{"Logs":[]}`, false},
	} {
		s, err := dial(port)
		if err != nil {
			t.Fatal(err)
		}
		said = test.said
		if err := s.ask(&test.r, test.constant); (err == nil) != test.want {
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

// TestPageHasTheTables checks that the tables in docs/performance.md have the columns that the program
// prints, in its order, and that there is no other table between the comments.
func TestPageHasTheTables(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := bytes.Cut(page, []byte(tableBegins))
	tables, _, ok := bytes.Cut(tables, []byte(tableEnds))
	if !ok {
		t.Fatal("the page has no place for the tables")
	}
	var got, want []string
	for _, columns := range [][]string{handlerColumns(), ruleColumns, builtColumns, storeColumns, hostileColumns} {
		want = append(want, head(columns...))
	}
	last := ""
	for line := range strings.Lines(string(tables)) {
		if strings.HasPrefix(line, "|---") {
			got = append(got, last+line)
		}
		last = line
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n%s\nand the program prints\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	results := make([]measured, len(peers))
	for i := range results {
		one := map[string][]float64{}
		for _, l := range loads {
			one[l.name] = []float64{1, 2, 4}
		}
		results[i] = measured{rate: one, micros: one, start: []float64{1}, idle: []float64{1}, mib: []float64{1}}
	}
	text := render(results, "", 3)
	if !strings.Contains(text, want[0]+"| echo | 2 | **1.00** (1.00 to 1.00) |") {
		t.Errorf("the table of handlers is\n%s", text)
	}
	if got := newRatio([]float64{2, 1, 3}, []float64{1, 1, 2}).String(); got != "**1.50** (1.00 to 2.00)" {
		t.Errorf("a ratio is %s", got)
	}
}

// TestPageHasTheBenchmarks checks that docs/performance.md names each Go benchmark of the handlers, and
// no other.
func TestPageHasTheBenchmarks(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(page, []byte("\n| step | benchmarks |\n|---|---|\n"))
	table, _, _ = bytes.Cut(table, []byte("\n\n"))
	var got, want []string
	for _, m := range regexp.MustCompile("`([a-z]+\\.[A-Za-z]+)`").FindAllSubmatch(table, -1) {
		got = append(got, string(m[1]))
	}
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func Benchmark(\w+)\(`).FindAllSubmatch(text, -1) {
			want = append(want, filepath.Base(filepath.Dir(file))+"."+string(m[1]))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the page names %q, and there are %q", got, want)
	}
}

// TestStores lets all writers store for a moment, and checks that the stand-in has what it
// acknowledged.
func TestStores(t *testing.T) {
	table, err := stores(t.TempDir(), 1, 20*time.Millisecond)
	if err != nil || strings.Count(table, "\n| stand-in, ") != 8 {
		t.Errorf("error %v, table:\n%s", err, table)
	}
}

// TestShelfCounts checks that a row that was acknowledged and is not there is found.
func TestShelfCounts(t *testing.T) {
	_, connection, stop := startShelf(0)
	defer stop()
	hubwatch := writers[2]
	_, stored, err := store(hubwatch, connection, "alerts", 2, true, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := hubwatch.check(connection, "alerts", stored, 2, true); err != nil {
		t.Error(err)
	}
	if err := hubwatch.check(connection, "alerts", stored+1, 2, true); err == nil {
		t.Error("a row of evidence that is missing is not found")
	}
}

// TestAzuriteCounts checks that a row that was acknowledged and is not in Azurite is found, for each
// way to store.
func TestAzuriteCounts(t *testing.T) {
	main, err := azurite.Find("../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	service, err := azurite.Start(t.Context(), azurite.Options{Main: main})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writers {
		name := "of" + w.name
		_, stored, err := store(w, service.ConnectionString(), name, 2, false, 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.check(service.ConnectionString(), name, stored, 2, false); err != nil {
			t.Error(err)
		}
		if err := w.check(service.ConnectionString(), name, stored+1, 2, false); err == nil {
			t.Errorf("%s: a row that is missing is not found", w.name)
		}
	}
	if err := service.Stop(); err != nil {
		t.Error(err)
	}
}

// TestShelfIsRead checks that a writer that knows nothing of a row finds it on the shelf: hubwatch
// forgets what it wrote when that is much.
func TestShelfIsRead(t *testing.T) {
	_, connection, stop := startShelf(0)
	defer stop()
	for n := range 2 {
		put, err := writers[2].open(connection, "alerts")
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), n, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := writers[2].check(connection, "alerts", 2, 1, false); err != nil {
		t.Error(err)
	}
}

// TestShelfKnowsWhatItHas records the same occurrence twice in one process, and once more in another
// one. The shelf says that it has it.
func TestShelfKnowsWhatItHas(t *testing.T) {
	s, connection, stop := startShelf(0)
	defer stop()
	for process := range 2 {
		account, err := table.Open(table.Settings{ConnectionString: connection})
		if err != nil {
			t.Fatal(err)
		}
		alerts := account.Alerts("alerts")
		for time := range 2 {
			want := alert.Known
			if process == 0 && time == 0 {
				want = alert.New
			}
			before := s.requests.Load()
			recorded, err := alerts.Record(t.Context(), occurrence(1, 1, false))
			if err != nil || recorded[0].Outcome != want {
				t.Errorf("process %d, time %d: %+v, %v", process, time, recorded, err)
			}
			if n := s.requests.Load() - before; n > 10 {
				t.Errorf("process %d, time %d: %d requests, want at most 10", process, time, n)
			}
		}
	}
	if err := writers[2].check(connection, "alerts", 1, 1, false); err != nil {
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

// TestNeighbour lets a custom alert be asked beside a detector for a moment. An answer of the detector
// with another title than its label has is an error.
func TestNeighbour(t *testing.T) {
	for _, title := range []string{detector.CertificateAdded.Title, "Another title"} {
		list := slices.DeleteFunc(corpus("firing", 40), func(r request) bool { return r.function != detector.CertificateAdded.Name })
		for i := range list {
			list[i].title = title
		}
		if _, err := neighbours[0].measure(list, 2, 20*time.Millisecond); (err == nil) != (title == detector.CertificateAdded.Title) {
			t.Errorf("%s: %v", title, err)
		}
	}
}

// TestStormGrows lets few devices be refused, and very many of one hub.
func TestStormGrows(t *testing.T) {
	for devices, want := range map[int]int{20: 20, 200: 1} {
		if told, _, err := storm(devices, "iothub"); err != nil || told.published != want {
			t.Errorf("%d devices: %d events, want %d; %v", devices, told.published, want, err)
		}
	}
}
