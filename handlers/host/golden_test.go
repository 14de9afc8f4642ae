package host_test

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// found is what an alert says in short.
type found struct {
	Type     string
	Severity alert.Severity
	Hub      string // in lower case
	Entity   string
}

// golden says what becomes of each request in testdata/golden, in the order of
// the files. What is in none of the columns is not for the function.
var golden = []struct {
	file        string
	want        []found
	quarantined string // a part of the reason
}{
	{file: "01_ping.http"},
	{file: "02_eg1.http"},
	{file: "03_eg1.http"},
	{file: "04_eg1.http"},
	{file: "05_eg1.http"},
	{file: "06_eg1.http"},
	{file: "07_egmany.http"},
	{file: "08_egretry.http"},
	{file: "09_egretry.http"},
	{file: "10_egretry.http"},
	{file: "11_timer1.http", quarantined: "event: eventType: missing or empty"},
	{file: "12_manual1.http", quarantined: "binding event: want a JSON object or an array of them"},
	{file: "13_eg1.http", quarantined: "event: eventType: missing or empty"},
	{file: "sample-01.http", want: []found{{"IoT_CertificateSuccessfullyAddedToHub", alert.Medium, "contoso-hub", "root-ca"}}},
	{file: "sample-02.http"},
	{file: "sample-03.http", want: []found{{"IoT_CertificateSuccessfullyDeletedFromHub", alert.Medium, "contoso-hub", "issuing-ca-2026"}}},
	{file: "sample-04.http"},
	{file: "sample-05.http", want: []found{{"Hub_CertificateFailedToBeAddedToHub", alert.Medium, "contoso-hub-west", "plant7-root"}}},
	{file: "sample-06.http"},
	{file: "sample-07.http", want: []found{{"IoT.Hub_CertificateFailedToBeDeletedFromHub", alert.Medium, "contoso-hub", "bare-ca"}}},
	{file: "sample-08.http", want: []found{{"IoT_DiagnosticSettingAddedOrEditedOnHub", alert.Low, "contoso-hub", "ds-to-law"}}},
	{file: "sample-09.http", want: []found{{"IoT_DiagnosticSettingDeletedFromHub", alert.Low, "contoso-hub", "ds-to-eventhub"}}},
	{file: "sample-10.http", quarantined: "event: data: "},
	{file: "sample-11.http", quarantined: "event: eventType: missing or empty"},
	{file: "sample-12.http", want: []found{{"IoT_CertificateSuccessfullyAddedToHub", alert.Medium, "contoso-hub", "adv-numbers"}}},
}

// goldenRequest returns a request of testdata/golden as it stood on the wire.
func goldenRequest(t testing.TB, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/golden", file))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// goldenBody returns the body of a request of testdata/golden.
func goldenBody(t testing.TB, file string) []byte {
	t.Helper()
	_, body, ok := bytes.Cut(goldenRequest(t, file), []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s has no empty line: have its line ends been changed?", file)
	}
	return body
}

// goldenRig is a handler of all detectors and of the functions that the other
// requests are for.
func goldenRig(t testing.TB, store *fakeStore) rig {
	detectors := detector.All[:len(detector.All):len(detector.All)]
	for _, name := range []string{"eg1", "egmany", "egretry", "timer1", "manual1"} {
		d := detector.CertificateAdded
		d.Name = name
		detectors = append(detectors, d)
	}
	return newRig(t, store, host.Limits{}, detectors...)
}

func TestGoldenIsComplete(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.http")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, file := range files {
		got = append(got, filepath.Base(file))
	}
	for _, test := range golden {
		want = append(want, test.file)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("testdata/golden differs from what is tested (-tested +there):\n%s", diff)
	}
}

// TestGolden replays each request twice over one connection, as the host keeps
// its connections.
func TestGolden(t *testing.T) {
	ids := map[string]string{}
	for _, test := range golden {
		t.Run(test.file, func(t *testing.T) {
			r := goldenRig(t, &fakeStore{})
			raw := goldenRequest(t, test.file)
			replay := replayer(t, r)
			for range 2 {
				before := len(r.log.String())
				if got := replay(raw); got.status != http.StatusOK {
					t.Fatalf("status %d: %s", got.status, got.text)
				}
				if test.file == "01_ping.http" {
					continue
				}
				silent := len(test.want) == 0 && test.quarantined == ""
				if line := r.log.String()[before:]; silent != strings.Contains(line, "is not for this function") {
					t.Errorf("unmatched is %v, want %v: %s", !silent, silent, line)
				}
			}
			var once []found
			var seen []string
			for _, a := range r.store.put {
				once = append(once, found{a.Type, a.Severity, strings.ToLower(a.Hub.Name), a.Entity.Name})
				seen = append(seen, a.ID)
			}
			if diff := cmp.Diff(append(append([]found{}, test.want...), test.want...), append([]found{}, once...)); diff != "" {
				t.Errorf("alerts of two deliveries (-want +got):\n%s", diff)
			}
			if len(seen) == 2 {
				if seen[0] != seen[1] {
					t.Errorf("delivered twice it has the ids %s, which are two alerts", seen)
				}
				if other, ok := ids[seen[0]]; ok {
					t.Errorf("has the id of the alert of %s", other)
				}
				ids[seen[0]] = test.file
			}
			if want := 2 * min(1, len(test.quarantined)); len(r.store.kept) != want {
				t.Fatalf("%d quarantined, want %d: %+v", len(r.store.kept), want, r.store.kept)
			}
			for _, q := range r.store.kept {
				if !strings.Contains(q.Reason, test.quarantined) {
					t.Errorf("quarantined because %q, want %q in it", q.Reason, test.quarantined)
				}
			}
		})
	}
}

// replayer serves h and returns a function that sends a request as it is, always
// on the same connection, and checks the answer.
func replayer(t *testing.T, h http.Handler) func(raw []byte) reply {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(connection)
	return func(raw []byte) reply {
		t.Helper()
		if _, err := connection.Write(raw); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return checkAnswer(t, response)
	}
}

// TestReadiness checks that the host's question is answered whatever the store
// does.
func TestReadiness(t *testing.T) {
	down := failWith(errors.New("table is down"))
	r := newRig(t, &fakeStore{onPut: down, onQuarantine: down}, host.Limits{})
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if got := r.ask(t, method, "/", http.NoBody); got.status != http.StatusOK {
			t.Errorf("%s /: status %d, want 200", method, got.status)
		}
	}
	if n := r.store.called(); n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

// TestLongAnswer checks that the length of an answer is known even where net/http
// does not find out itself.
func TestLongAnswer(t *testing.T) {
	store := &fakeStore{}
	r := newRig(t, store, host.Limits{})
	events := "[" + strings.Repeat("7,", 49) + "7]"
	server := httptest.NewServer(r)
	defer server.Close()
	response, err := http.Post(server.URL+"/CertificateAdded", "application/json", strings.NewReader(envelope(events)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := checkAnswer(t, response); len(got.text) < 2048 || len(got.logs) != 50 {
		t.Errorf("an answer of %d bytes with %d logs, want a long one with 50", len(got.text), len(got.logs))
	}
	if len(store.kept) != 50 {
		t.Errorf("%d quarantined, want 50", len(store.kept))
	}
}
