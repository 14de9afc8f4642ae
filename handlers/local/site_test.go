package main

import (
	"bytes"
	"cmp"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
)

// atRoot runs the rest of a test in a folder like the root of the repository, with links to
// what make run reads there: make puts the app and Azurite into build. What make run
// writes stays out of the repository, because go test tries a test again if a file there has
// changed. For the same reason atRoot looks at what the links lead to.
func atRoot(t *testing.T) {
	t.Helper()
	t.Chdir("../..")
	_, err := azurite.Find(".")
	if err == nil {
		_, err = os.Stat(appFolder + "/handler")
	}
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for _, folder := range []string{appFolder, "handlers/local/samples", "functions", "infra"} {
		if err := fs.WalkDir(os.DirFS(folder), ".", func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	repository, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"host.json", "functions", "handlers", "infra", "build/azurite", appFolder} {
		if err := os.Symlink(filepath.Join(repository, link), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
}

// TestDemo is the whole way: sample events, Event Grid's filters, the
// custom-handler protocol, the handler as it is deployed, rows in a table.
func TestDemo(t *testing.T) {
	atRoot(t)
	var out, log bytes.Buffer
	if err := demo(t.Context(), &out, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), log.String())
	}
	for _, d := range app.Detectors() {
		if !strings.Contains(out.String(), "\n"+d.AlertType+" ") && (d.Count == nil || d.Count.Max != nil) {
			t.Errorf("%s is not shown:\n%s", d.AlertType, out.String())
		}
	}
}

// TestEachOnce checks that the demo fails if an alert is missing, doubled or
// counted twice.
func TestEachOnce(t *testing.T) {
	t.Chdir("../..")
	events, _, err := allSamples()
	if err != nil {
		t.Fatal(err)
	}
	var rows []alert.Alert
	first := 0 // the row of an alert of which is known how many events make it
	for _, d := range app.Detectors() {
		of := made(d, events)
		if len(of) == 0 {
			of = map[string]int{d.Name: cmp.Or(map[string]int{detector.ConnectionStorm.Name: stormDevices, detector.ReconnectionSurge.Name: surgeDevices}[d.Name], 1)}
		}
		if d.Name == detector.CertificateAdded.Name {
			first = len(rows)
		}
		for id, n := range of {
			rows = append(rows, alert.Alert{ID: id, Type: d.AlertType, Occurrences: n})
		}
	}
	if err := eachOnce(rows, events, bounds{}); err != nil {
		t.Error(err)
	}
	if err := eachOnce(rows, append(slices.Clone(events), events...), bounds{}); err != nil {
		t.Errorf("each event twice: %v", err)
	}
	twice := append([]alert.Alert{}, rows...)
	twice[first].Occurrences++
	another := rows[first]
	another.ID = "another"
	for name, wrong := range map[string][]alert.Alert{
		"missing": slices.Delete(slices.Clone(rows), first, first+1), "doubled": append(slices.Clone(rows), rows[first]), "counted twice": twice,
		"of another entity": append(slices.Clone(rows), another), "of another kind": append(slices.Clone(rows), alert.Alert{Type: "IoT_Bruteforce_Fail", Occurrences: 1}),
	} {
		if eachOnce(wrong, events, bounds{}) == nil {
			t.Errorf("an alert that is %s goes unnoticed", name)
		}
	}
	expired := slices.IndexFunc(rows, func(a alert.Alert) bool { return a.Type == detector.DeviceTokenExpired.AlertType })
	rows[expired].Occurrences++
	if err := eachOnce(rows, events, bounds{}); err == nil {
		t.Error("a failed connection that is counted twice goes unnoticed")
	}
	if err := eachOnce(rows, events, bounds{failing: true}); err != nil {
		t.Errorf("custom alerts have failed connections among their samples: %v", err)
	}
}

// TestFailingTopicLosesNothing lets the topic refuse the first events of the
// relay. The host then fails the invocation, and the messages come again.
func TestFailingTopicLosesNothing(t *testing.T) {
	atRoot(t)
	var refused atomic.Int32
	s, err := startSite(t.Context(), siteOptions{
		relayed: func(topic http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if refused.Add(1) <= 5 {
					http.Error(w, "busy", http.StatusServiceUnavailable)
					return
				}
				topic.ServeHTTP(w, r)
			})
		},
		log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	messages, err := samples(logSamplesFolder)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.publish(t.Context(), nil, messages); err != nil {
		t.Fatal(err)
	}
	rows, err := s.alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, row := range rows {
		found[row.Detector] += row.Occurrences
	}
	want := map[string]int{"DeviceTokenExpired": 1, "DeviceTokenInvalid": 1, "DeviceCertificateExpired": 1, "DeviceCertificateMismatch": 1}
	if !maps.Equal(found, want) || s.hub.Lost() != 0 || refused.Load() <= 5 {
		t.Errorf("occurrences %v after %d requests, %d messages lost; want one of each and none lost", found, refused.Load(), s.hub.Lost())
	}
}
