package main

import (
	"bytes"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
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
		if n := strings.Count(out.String(), "\n"+d.AlertType+" "); n != 1 {
			t.Errorf("%s is shown %d times, want once:\n%s", d.AlertType, n, out.String())
		}
	}
}

// TestEachOnce checks that the demo fails if an alert is missing, doubled or
// counted twice.
func TestEachOnce(t *testing.T) {
	var rows []alert.Alert
	for _, d := range app.Detectors() {
		rows = append(rows, alert.Alert{Type: d.AlertType, Occurrences: 1})
	}
	if err := eachOnce(rows); err != nil {
		t.Error(err)
	}
	twice := append([]alert.Alert{}, rows...)
	twice[0].Occurrences = 2
	for name, wrong := range map[string][]alert.Alert{
		"missing": rows[1:], "doubled": append(rows[:len(rows):len(rows)], rows[0]), "counted twice": twice,
		"of another kind": append(rows[:len(rows):len(rows)], alert.Alert{Type: "IoT_Bruteforce_Fail", Occurrences: 1}),
	} {
		if eachOnce(wrong) == nil {
			t.Errorf("an alert that is %s goes unnoticed", name)
		}
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
