package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
)

// startAzurite returns an Azurite for one test.
func startAzurite(t *testing.T) *azurite.Service {
	t.Helper()
	script, err := azurite.Find("..")
	var tables *azurite.Service
	if err == nil {
		tables, err = azurite.Start(context.Background(), azurite.Options{Main: script})
	}
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	t.Cleanup(tables.Kill)
	return tables
}

// tables counts the tables of these tests, so that each has its own.
var tables atomic.Int64

// bench is a quarantine with its alerts, and hubwatch on it.
type bench struct {
	store  *table.Store
	getenv func(string) string
}

func newBench(t *testing.T, emulator *azurite.Service) bench {
	t.Helper()
	n := tables.Add(1)
	getenv := environment(settingStorage, emulator.ConnectionString(),
		settingAlertsTable, fmt.Sprint("alerts", n), settingQuarantineTable, fmt.Sprint("quarantine", n))
	store, err := table.Open(tableSettings(getenv))
	if err != nil {
		t.Fatal(err)
	}
	return bench{store, getenv}
}

// hubwatch runs hubwatch with arguments and returns what it says.
func (b bench) hubwatch(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, b.getenv, &out, &errs)
	return code, out.String(), errs.String()
}

// expect runs hubwatch and holds its exit code and what it says, on either stream.
func (b bench) expect(t *testing.T, code int, args string, parts ...string) string {
	t.Helper()
	got, stdout, stderr := b.hubwatch(t, strings.Fields(args)...)
	if got != code {
		t.Errorf("hubwatch %s: exit code %d, want %d:\n%s%s", args, got, code, stdout, stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stdout+stderr, part) {
			t.Errorf("hubwatch %s does not say %q:\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout
}

func (b bench) quarantine(t *testing.T, function, reason, body string) {
	t.Helper()
	q := alert.Quarantined{Function: function, EventID: "event-1", Reason: reason, Body: []byte(body), Size: int64(len(body))}
	if err := b.store.Quarantine(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

// deliver invokes a function of the handler, as it is served.
func (b bench) deliver(t *testing.T, function, data string) host.Outcome {
	t.Helper()
	out, err := functions(detector.All, b.store)[function](t.Context(), host.Invocation{Function: function, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// held returns what is in the quarantine, without bodies.
func (b bench) held(t *testing.T) []table.Held {
	t.Helper()
	var all []table.Held
	for held, err := range b.store.Quarantined(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, held)
	}
	return all
}

// alerts returns the alerts without when they were made, which is the one thing
// that differs between two runs over the same events.
func (b bench) alerts(t *testing.T) []table.Row {
	t.Helper()
	var rows []table.Row
	for row, err := range b.store.List(t.Context(), "") {
		if err != nil && strings.Contains(err.Error(), "TableNotFound") {
			return nil // nothing was ever written
		}
		if err != nil {
			t.Fatal(err)
		}
		row.TimeGeneratedUtc = ""
		rows = append(rows, row)
	}
	return rows
}

// sample returns a sample event.
func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("local/samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRedrive holds that what an older version could not judge becomes the very
// alert that a live event would have become, once, whichever comes first.
func TestRedrive(t *testing.T) {
	tables := startAzurite(t)
	added := sample(t, "certificate-added.json")
	clean := newBench(t, tables)
	clean.deliver(t, "CertificateAdded", added)
	want := clean.alerts(t)
	if len(want) != 1 {
		t.Fatalf("the sample gives %d alerts, want one", len(want))
	}

	b := newBench(t, tables)
	b.quarantine(t, "CertificateAdded", "a mistake of an older version", added)
	id := b.held(t)[0].ID
	b.expect(t, 0, "quarantine list", id, "CertificateAdded", "event-1", "a mistake of an older version", "1 event waiting, 0 redriven.")
	b.expect(t, 0, "quarantine show "+id[:6], id, "a mistake of an older version", `"operationName"`, "Redriven     no")

	b.expect(t, 0, "quarantine redrive --all --dry-run --delete", "1 alert", "Medium alert "+want[0].SystemAlertId, "1 event would be judged. Nothing was written.")
	if n := len(b.alerts(t)); n != 0 || len(b.held(t)) != 1 || !b.held(t)[0].RedrivenAt.IsZero() {
		t.Errorf("a dry run writes: %d alerts, and the quarantine has %+v", n, b.held(t))
	}

	b.expect(t, 0, "quarantine redrive "+id+" --dry-run=false", "1 alert", "1 event judged.")
	if got := b.alerts(t); !slices.Equal(got, want) {
		t.Errorf("redriven, the alert is %+v\nlive, it is %+v", got, want)
	}
	if held := b.held(t); len(held) != 1 || held[0].RedrivenAt.IsZero() || held[0].Outcome != "1 alert" {
		t.Errorf("the event is not marked: %+v", held)
	}
	b.expect(t, 0, "quarantine list", "0 events waiting, 1 redriven.")
	b.expect(t, 0, "quarantine list --all", id, "0 events waiting, 1 redriven.")
	b.expect(t, 0, "quarantine show "+id, ": 1 alert")
	b.expect(t, 0, "quarantine redrive --all", "0 events judged.")

	b.deliver(t, "CertificateAdded", added) // late
	b.expect(t, 0, "quarantine redrive --delete "+id, "1 event judged and deleted.")
	if got := b.alerts(t); !slices.Equal(got, want) {
		t.Errorf("after a late delivery and once more, the alert is %+v\nwant %+v", got, want)
	}
	if held := b.held(t); len(held) != 0 {
		t.Errorf("not deleted: %+v", held)
	}
	b.expect(t, 1, "quarantine show "+id, "no event in the quarantine has an id that begins with "+id)
}

// TestRedriveWhatCannotBeJudged holds that such an event stays as it is, that its
// reason is said, and that nothing is quarantined a second time.
func TestRedriveWhatCannotBeJudged(t *testing.T) {
	b := newBench(t, startAzurite(t))
	added := sample(t, "certificate-added.json")
	long := strings.Replace(added, `"eventTime"`, `"padding":"`+strings.Repeat(`é`, 600<<10)+`","at"`, 1)
	b.quarantine(t, "CertificateAdded", "first", strings.Replace(added, `"eventTime"`, `"at"`, 1))
	b.quarantine(t, "CertificateAdded", "second", long)
	b.quarantine(t, "CertificateAdded", "third", "\x1b[2Jno JSON at all?sig=U0VDUkVU")
	b.quarantine(t, "Renamed", "fourth", added)
	b.quarantine(t, "CertificateDeleted", "fifth", added)
	b.quarantine(t, host.RelayName, "sixth", `{"category":"Connections"}`)
	out := b.expect(t, 1, "quarantine redrive --all",
		"event: eventTime: missing or empty", "binding event: ", "there is no function Renamed", "not for this function", "record: time: ",
		"1 event judged.", "cannot be judged still: 5 of 6 events, left in the quarantine")
	if strings.Contains(out, "\x1b") || strings.Contains(out, "U0VDUkVU") {
		t.Errorf("the terminal gets %q", out)
	}
	held := b.held(t)
	if len(held) != 6 {
		t.Errorf("%d events in the quarantine, want the same 6", len(held))
	}
	for _, h := range held {
		if h.RedrivenAt.IsZero() == (h.Function == "CertificateDeleted") {
			t.Errorf("%s, %s: redriven at %v", h.Function, h.Reason, h.RedrivenAt)
		}
		out := b.expect(t, 0, "quarantine show "+h.ID, h.Reason)
		if strings.Contains(out, "\x1b") || strings.Contains(out, "U0VDUkVU") {
			t.Errorf("the terminal gets %q", out)
		}
		if h.Reason == "second" && strings.Count(out, "é") != 600<<10 {
			t.Errorf("a long event is not shown whole")
		}
	}
	if n := len(b.alerts(t)); n != 0 {
		t.Errorf("%d alerts", n)
	}
}

// TestRedriveRelay holds that a message of resource logs that an older version
// could not read becomes the alerts that the live way would have made, over host,
// topic and filters.
func TestRedriveRelay(t *testing.T) {
	tables := startAzurite(t)
	for _, name := range []string{"logs/day-shift.json", "logs/night-shift.json"} {
		message := sample(t, name)
		quoted, err := json.Marshal([]string{message})
		if err != nil {
			t.Fatal(err)
		}
		live := newBench(t, tables)
		var events []string
		for _, output := range live.deliver(t, host.RelayName, string(quoted)).Outputs {
			var list []json.RawMessage
			if err := json.Unmarshal(output, &list); err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				events = append(events, string(e))
				for _, d := range detector.All {
					live.deliver(t, d.Name, string(e))
				}
			}
		}
		want := live.alerts(t)
		if len(want) == 0 {
			t.Fatalf("%s gives no alert", name)
		}
		for form, body := range map[string]string{
			"a message":                     message,
			"events that were too many":     "[" + strings.Join(events, ",") + "]",
			"a message that is not Unicode": strings.Replace(message, `"`, "\"\xff\":1,\"", 1),
		} {
			b := newBench(t, tables)
			b.quarantine(t, host.RelayName, "a mistake of an older version", body)
			for range 2 {
				b.expect(t, 0, "quarantine redrive "+b.held(t)[0].ID, "1 event judged.")
			}
			if got := b.alerts(t); !slices.Equal(got, want) {
				t.Errorf("%s, %s: redriven, the alerts are %+v\nlive, they are %+v", name, form, got, want)
			}
		}
	}
}

// TestRedriveTwiceAtOnce holds that of two people who redrive an event the second
// is told, and that nothing is counted twice.
func TestRedriveTwiceAtOnce(t *testing.T) {
	b := newBench(t, startAzurite(t))
	b.quarantine(t, "CertificateAdded", "a mistake", sample(t, "certificate-added.json"))
	held, err := b.store.Whole(t.Context(), b.held(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	b.expect(t, 0, "quarantine redrive --all")
	if err := b.store.Redriven(t.Context(), held, "1 alert"); err == nil || !strings.Contains(err.Error(), table.ErrChanged.Error()) {
		t.Errorf("marking it on the ground of what is no longer so: %v", err)
	}
	if err := b.store.Delete(t.Context(), held); err == nil || !strings.Contains(err.Error(), table.ErrChanged.Error()) {
		t.Errorf("deleting it on the ground of what is no longer so: %v", err)
	}
	if rows := b.alerts(t); len(rows) != 1 || rows[0].Occurrences != 1 {
		t.Errorf("alerts %+v, want one of one occurrence", rows)
	}
}

// TestRedriveWithoutStorage holds that an event whose alert is not stored is not
// marked.
func TestRedriveWithoutStorage(t *testing.T) {
	tables := startAzurite(t)
	b := newBench(t, tables)
	b.quarantine(t, "CertificateAdded", "a mistake", sample(t, "certificate-added.json"))
	azuriteTarget, _, _ := strings.Cut(tables.Endpoint(), "/devstoreaccount1")
	proxy := azurite.StartFaultyProxy(azuriteTarget, failAlerts)
	defer proxy.Close()
	broken := bench{b.store, environment(settingStorage, strings.Replace(tables.ConnectionString(), azuriteTarget, proxy.URL, 1),
		settingAlertsTable, b.getenv(settingAlertsTable), settingQuarantineTable, b.getenv(settingQuarantineTable))}
	broken.expect(t, 1, "quarantine redrive --all --delete", "hubwatch: event "+b.held(t)[0].ID+": table ")
	if held := b.held(t); len(held) != 1 || !held[0].RedrivenAt.IsZero() {
		t.Errorf("the quarantine has %+v", held)
	}
}

// failAlerts lets everything through but what is about the table of alerts.
func failAlerts(_ int, r *http.Request) azurite.Fault {
	if strings.Contains(r.URL.Path, "/quarantine") {
		return azurite.Pass
	}
	return azurite.Broken
}

func TestQuarantineUsage(t *testing.T) {
	for _, args := range []string{
		"quarantine", "quarantine empty", "quarantine list x", "quarantine list --dry-run", "quarantine show", "quarantine show a b", "quarantine show --all",
		"quarantine show xyz", "quarantine redrive", "quarantine redrive --all abc", "quarantine redrive a b", "quarantine redrive abc --force",
		"quarantine show '", "quarantine redrive " + strings.Repeat("a", 33),
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), environment(settingStorage, "UseDevelopmentStorage=true"), &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), "hubwatch: usage: quarantine") || !strings.Contains(stderr.String(), "--dry-run") || stdout.Len() > 0 {
			t.Errorf("hubwatch %s: exit code %d, %s", args, code, stderr.String())
		}
	}
	newBench(t, startAzurite(t)).expect(t, 1, "quarantine list", "there is none: nothing was ever quarantined here")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"quarantine", "list"}, environment(), &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "AlertsStorage") {
		t.Errorf("without settings: exit code %d, %s", code, stderr.String())
	}
	if code := run(t.Context(), []string{"quarantine", "redrive", "--all"}, environment(settingStorage, "UseDevelopmentStorage=true", settingInferredAlerts, "maybe"), &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), settingInferredAlerts) {
		t.Errorf("with a wrong setting: exit code %d, %s", code, stderr.String())
	}
}

// TestAmbiguousID holds that a beginning of two ids is not taken for one of them.
func TestAmbiguousID(t *testing.T) {
	b := newBench(t, startAzurite(t))
	for i := range 17 {
		b.quarantine(t, "CertificateAdded", "a mistake", fmt.Sprint(i))
	}
	first := map[byte]bool{}
	for _, held := range b.held(t) {
		if first[held.ID[0]] {
			b.expect(t, 1, "quarantine show "+held.ID[:1], "several events in the quarantine have an id that begins with "+held.ID[:1])
			b.expect(t, 0, "quarantine show "+held.ID, held.ID)
			return
		}
		first[held.ID[0]] = true
	}
	t.Error("17 ids begin with 17 hexadecimal digits")
}
