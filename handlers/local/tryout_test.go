package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/app"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/table"
)

// terminal collects what a person would see.
type terminal struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *terminal) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a pattern matches the output after an offset. It returns the
// match with its groups, and the offset after the match.
func (s *terminal) await(t *testing.T, from int, pattern string) ([]string, int) {
	t.Helper()
	limit := time.After(time.Minute)
	re := regexp.MustCompile(pattern)
	for {
		text := s.String()[from:]
		if m := re.FindStringSubmatchIndex(text); m != nil {
			return re.FindStringSubmatch(text), from + m[1]
		}
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("nothing like %s in\n%s", pattern, text)
		}
	}
}

// TestTryOut uses make run as a person does. It reads the instructions, sends
// events and messages, and reads the results.
func TestTryOut(t *testing.T) {
	atRoot(t)
	before := children(t)
	screen := &terminal{more: make(chan struct{}, 1)}
	var stderr bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	code, ended := make(chan int, 1), make(chan struct{})
	t.Cleanup(func() { // even if the test has failed, so that no process is left
		stop()
		<-ended
	})
	go func() {
		defer close(ended)
		code <- run(ctx, nil, func(name string) string { return map[string]string{portSetting: "0"}[name] }, screen, &stderr)
	}()
	found, end := screen.await(t, 0, `(?s)curl (http://127\.0\.0\.1:\d+)/api/events.*\n  build/hubwatch --local alerts list\n.*Ctrl-C ends it all\.\n`)
	url := found[1]
	settings, err := os.ReadFile(settingsFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`^AlertsStorage=\S*TableEndpoint=http://127\.0\.0\.1:\d+/devstoreaccount1;?\nHUBWATCH_SITE=` + regexp.QuoteMeta(url) + `\n$`); !want.Match(settings) {
		t.Errorf("%s has\n%s, want\n%s", settingsFile, settings, want)
	}
	connection, _, _ := strings.Cut(strings.TrimPrefix(string(settings), storageSetting+"="), "\n")
	stores, err := app.Open(func(name string) string { return map[string]string{storageSetting: connection}[name] })
	if err != nil {
		t.Fatal(err)
	}
	for held, err := range stores.Quarantine.List(t.Context(), table.QuarantineQuery{}) {
		t.Errorf("the quarantine has %v (%v), want it there and empty", held.Reason, err)
	}
	for _, line := range strings.Split(screen.String(), "\n") {
		if utf8.RuneCountInString(line) > width {
			t.Errorf("more than %d columns: %s", width, line)
		}
	}

	added, err := os.ReadFile(samplesFolder + "/certificate-added.json")
	if err != nil {
		t.Fatal(err)
	}
	shift, err := os.ReadFile(logSamplesFolder + "/night-shift.json")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("handlers/detector/testdata/DeviceTokenExpired/silent-closed-remotely.json")
	if err != nil {
		t.Fatal(err)
	}
	var silent struct {
		Event jsontext.Value `json:"event"`
	}
	if err := json.Unmarshal(file, &silent); err != nil {
		t.Fatal(err)
	}
	renewal, err := os.ReadFile(logSamplesFolder + "/renewal.json")
	if err != nil {
		t.Fatal(err)
	}
	recent := strings.ReplaceAll(string(renewal), "2026-02-01T09:10:0", time.Now().UTC().Format("2006-01-02T15:04:0"))
	const id = `"id": "00000000-0000-4000-8000-000000000001"`
	edit := func(pairs ...string) string {
		text := string(added)
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("no %s in the sample", pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
		return text
	}
	for _, test := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"new alert", "/api/events", edit(id, `"id": "E1"`, "root-ca", "my-ca"), 200,
			`^\nEvent E1\n  Microsoft\.Resources\.ResourceWriteSuccess\n  CertificateAdded: alert raised\n    IoT_CertificateSuccessfullyAddedToHub \(Medium\)\n    hub contoso-hub, Certificate my-ca, 1 occurrence\n    contoso-hub/2026-02-01/\S+\n`},
		{"another event", "/api/events", edit(id, `"id": "E2"`, "root-ca", "my-ca"), 200,
			`^\nEvent E2\n.*\n  CertificateAdded: counted, the alert was there already\n.*\n.*Certificate my-ca, 2 occurrences\n.*\n`},
		{"the same again", "/api/events", string(added), 200,
			`^\nEvent \S+01\n.*\n  CertificateAdded: nothing new, the alert has this event already\n.*\n.*Certificate root-ca, 1 occurrence\n.*\n`},
		{"silent event", "/api/events", string(silent.Event), 200,
			`^\nEvent \S+\n.*\n  silent: nothing found by DeviceCertificateExpired, DeviceCertificateMismatch,\n  DeviceTokenExpired, DeviceTokenInvalid\n`},
		{"other event", "/api/events", edit(id, `"id": "E4"`, "ResourceWriteSuccess", "ResourceActionCancel"), 200,
			`^\nEvent E4\n.*\n  no subscription matches it: they are for the types\n    Microsoft\.Resources\.ResourceActionSuccess\n(    \S+\n){15}`},
		{"other operation", "/api/events", edit(id, `"id": "E5"`, "certificates/write", "routes/write"), 200,
			`^\nEvent E5\n.*\n  no subscription matches it: there are some for its type, but their other\n  filters do not fit, see infra/subscriptions\.json\n`},
		{"cannot be judged", "/api/events", edit(id, `"id": "E6\u001b"`, "2026-02-01T08:00:01.1234567Z", "soon"), 200,
			"^\nEvent E6" + regexp.QuoteMeta(`\u001b`) + "\n" + `.*\n  CertificateAdded: quarantined\n    event: time: .*"soon"\n    build/hubwatch --local quarantine show [0-9a-f]{12}\n`},
		{"refused", "/api/events", `{}`, 400, `^`},
		{"the same message again", "/eventhub/messages", string(shift), 201, `^\nLog message\n  silent: nothing new in it is worth an alert\n`},
		{"another device", "/eventhub/messages", strings.Replace(string(shift), "pump-02", "pump-77", 1), 201,
			`^\nEvent \S+\n  hubwatch\.iothub\.connection\.token-expired\n  DeviceTokenExpired: alert raised\n    IoT_Expired_SAS_Token \(Low\)\n    hub CONTOSO-HUB, Device pump-77, 1 occurrence\n.*\n`},
		{"a device that is to come back", "/eventhub/messages", recent, 201, `^\nLog message\n  kept: it is judged when the time to come back is over\n`},
		{"message without a failed connection", "/eventhub/messages", `{"records":[]}`, 201, `^\nLog message\n  (silent|kept): .*\n`},
		{"message that cannot be read", "/eventhub/messages", `x`, 201, `^\nLog message\n  RelayResourceLogs: quarantined\n    \S.*\n    build/hubwatch --local quarantine show [0-9a-f]{12}\n`},
	} {
		answer, err := http.Post(url+test.path, "application/json", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != test.status {
			t.Errorf("%s: answered %s %s", test.name, answer.Status, said)
		}
		_, end = screen.await(t, end, test.want)
	}
	if rest := screen.String()[end:]; rest != "" {
		t.Errorf("a rest: %q", rest)
	}
	stop()
	select {
	case got := <-code:
		if got != 0 || stderr.Len() > 0 {
			t.Errorf("exit code %d, %s", got, stderr.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	if after := children(t); after != before {
		t.Errorf("processes %s are left", after)
	}
	if _, err := os.Stat(settingsFile); err == nil {
		t.Errorf("%s is left", settingsFile)
	}
}

// TestTryOutUntold uses make run with a channel that does not work, and one whose setting is wrong.
// Each reason is said in one line, and all else goes on.
func TestTryOutUntold(t *testing.T) {
	atRoot(t)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(broken.Close)
	t.Setenv("NotifyUrls", "slack+"+broken.URL+"/hidden http://hidden.example.com/")
	screen := &terminal{more: make(chan struct{}, 1)}
	var stderr bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	code, ended := make(chan int, 1), make(chan struct{})
	t.Cleanup(func() {
		stop()
		<-ended
	})
	go func() {
		defer close(ended)
		code <- run(ctx, nil, func(name string) string { return map[string]string{portSetting: "0"}[name] }, screen, &stderr)
	}()
	const (
		failed = "Notify cannot tell of alerts, and goes on trying: channel slack: answered HTTP 500\n"
		wrong  = "Notify cannot tell of alerts, and goes on trying: setting NotifyUrls, URL 2: want https: http is for this machine alone\n"
	)
	_, end := screen.await(t, 0, failed+wrong)
	screen.await(t, end, `(?s)The table alerts now has:.*IoT_Expired_SAS_Token.*Ctrl-C ends it all\.\n`)
	stop()
	if got := <-code; got != 0 || stderr.Len() > 0 || strings.Count(screen.String(), "cannot tell") != 2 || strings.Contains(screen.String(), "hidden") {
		t.Errorf("exit code %d, %s\n%s", got, stderr.String(), screen)
	}
}

// TestRelayed counts what is published: a verdict, and no canary, which may come while a message is
// judged. The topic gets both as they are.
func TestRelayed(t *testing.T) {
	w := newWatcher(t.Context(), io.Discard)
	var got []string
	door := w.relayed(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, string(body))
	}))
	sent := coverage.Canary{Path: coverage.Topic, Token: "1", Sent: time.Now()}
	canary, disguised := string(sent.Event("/hubwatch")), string(sent.Disguise("/hubwatch", "paths/topic", "hubwatch.iothub.connection.failed"))
	const verdict = `{"id": "1", "type": "hubwatch.iothub.connection.failed", "data": "hubwatch.canary"}`
	want := []string{"[" + canary + "," + disguised + "]", "[" + verdict + "]", "[" + canary + "," + verdict + "]", "x"}
	for i, body := range want {
		door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/api/events", strings.NewReader(body)))
		if n := w.publish.Load(); n != int64(i) {
			t.Errorf("%s: counted %d, want %d", body, n, i)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the topic got %q, want %q", got, want)
	}
	for id, want := range map[string]bool{"1": true, "1/hubwatch.iothub.connection.failed": true, "2": false} {
		if _, got := w.canaries.Load(id); got != want {
			t.Errorf("event %s is known as a canary: %v, want %v", id, got, want)
		}
	}
}

// TestWrap covers lines that are too long, and lines of a numbered step.
func TestWrap(t *testing.T) {
	word := strings.Repeat("x", 30)
	for text, want := range map[string]string{
		"":                                      "  \n",
		"short":                                 "  short\n",
		word + " " + word + " " + word:          "  " + word + " " + word + "\n  " + word + "\n",
		"12. " + word + " " + word + " " + word: "  12. " + word + " " + word + "\n      " + word + "\n",
		strings.Repeat("y", 100) + " z":         "  " + strings.Repeat("y", 100) + "\n  z\n",
		"a\nb  c":                               "  a b c\n",
	} {
		var out strings.Builder
		if wrap(&out, "  ", text); out.String() != want {
			t.Errorf("%q: got %q, want %q", text, out.String(), want)
		}
	}
}
