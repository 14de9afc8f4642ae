package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/table"
)

// startAzurite returns an Azurite for one test.
func startAzurite(t *testing.T, options azurite.Options) *azurite.Service {
	t.Helper()
	var err error
	var tables *azurite.Service
	if options.Main, err = azurite.Find("../.."); err == nil {
		tables, err = azurite.Start(context.Background(), options)
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
	*app.App
	getenv func(string) string
}

func newBench(t *testing.T, emulator *azurite.Service) bench {
	t.Helper()
	n := tables.Add(1)
	getenv := environment("AlertsStorage", emulator.ConnectionString(),
		"AlertsTable", fmt.Sprint("alerts", n), "QuarantineTable", fmt.Sprint("quarantine", n))
	a, err := app.Open(getenv)
	if err != nil {
		t.Fatal(err)
	}
	return bench{a, getenv}
}

// environment returns a getenv of pairs of names and values.
func environment(pairs ...string) func(string) string {
	values := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		values[pair[0]] = pair[1]
	}
	return func(name string) string { return values[name] }
}

// expect runs hubwatch and holds its exit code and what it says, on either stream.
func (b bench) expect(t *testing.T, code int, args string, parts ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), strings.Fields(args), b.getenv, nil, &stdout, &stderr); got != code {
		t.Errorf("hubwatch %s: exit code %d, want %d:\n%s%s", args, got, code, &stdout, &stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stdout.String()+stderr.String(), part) {
			t.Errorf("hubwatch %s does not say %q:\n%s%s", args, part, &stdout, &stderr)
		}
	}
	return stdout.String()
}

func (b bench) quarantine(t *testing.T, function, reason, body string) {
	t.Helper()
	q := alert.Quarantined{Function: function, EventID: "event-1", Reason: reason, Body: []byte(body), Size: int64(len(body))}
	if err := b.Quarantine.Quarantine(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

// deliver invokes a function of the handler, as it is served.
func (b bench) deliver(t *testing.T, function, data string) host.Outcome {
	t.Helper()
	for _, f := range app.Functions(b.Detectors, b.Judge(nil)) {
		if f.Name != function {
			continue
		}
		out, err := f.Run(t.Context(), host.Invocation{Function: function, Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("there is no function %s", function)
	return host.Outcome{}
}

// held returns what is in the quarantine, without bodies.
func (b bench) held(t *testing.T) []table.Held {
	t.Helper()
	var all []table.Held
	for held, err := range b.Quarantine.List(t.Context(), table.QuarantineQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, held)
	}
	return all
}

// alerts returns the alerts without when they were raised, which is the one thing
// that differs between two runs over the same events.
func (b bench) alerts(t *testing.T) []alert.Alert {
	t.Helper()
	var alerts []alert.Alert
	for a, err := range b.Alerts.List(t.Context(), alert.Query{}) {
		if errors.Is(err, alert.ErrAbsent) {
			return nil // nothing was ever written
		}
		if err != nil {
			t.Fatal(err)
		}
		a.Generated = time.Time{}
		alerts = append(alerts, a)
	}
	return alerts
}

// sample returns a sample event.
func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../local/samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRedrive checks that what an older version could not judge becomes the very
// alert that a live event would have become, once, whichever comes first.
func TestRedrive(t *testing.T) {
	tables := startAzurite(t, azurite.Options{})
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
	b.expect(t, 0, "quarantine list", id, "CertificateAdded", "event-1", "a mistake of an older version", "1 event waiting, 0 redriven, 0 resolved.")
	b.expect(t, 0, "quarantine show "+id[:6], id, "a mistake of an older version", `"operationName"`, "Redriven     no")

	b.expect(t, 0, "quarantine redrive --all --dry-run --delete", "1 alert", "Medium alert "+want[0].ID, "1 event would be judged. Nothing was written.")
	if n := len(b.alerts(t)); n != 0 || len(b.held(t)) != 1 || !b.held(t)[0].RedrivenAt.IsZero() {
		t.Errorf("a dry run writes: %d alerts, and the quarantine has %+v", n, b.held(t))
	}

	b.expect(t, 0, "quarantine redrive "+id+" --dry-run=false", "1 alert", "1 event judged.")
	if diff := cmp.Diff(want, b.alerts(t)); diff != "" {
		t.Errorf("the alert, live (-) and redriven (+):\n%s", diff)
	}
	if held := b.held(t); len(held) != 1 || held[0].RedrivenAt.IsZero() || held[0].Outcome != "1 alert" {
		t.Errorf("the event is not marked: %+v", held)
	}
	b.expect(t, 0, "quarantine list", "0 events waiting, 1 redriven, 0 resolved.")
	b.expect(t, 0, "quarantine list --all", id, "0 events waiting, 1 redriven, 0 resolved.")
	b.expect(t, 0, "quarantine show "+id, ": 1 alert")
	b.expect(t, 0, "quarantine redrive --all", "0 events judged.")

	b.deliver(t, "CertificateAdded", added) // late
	b.expect(t, 0, "quarantine redrive --delete "+id, "1 event judged and deleted.")
	if diff := cmp.Diff(want, b.alerts(t)); diff != "" {
		t.Errorf("the alert, live (-) and after a late delivery and once more (+):\n%s", diff)
	}
	if held := b.held(t); len(held) != 0 {
		t.Errorf("not deleted: %+v", held)
	}
	b.expect(t, 1, "quarantine show "+id, "no event in the quarantine has an id that begins with "+id)
}

// TestRedriveWhatCannotBeJudged checks that such an event stays as it is, that its
// reason is said, and that nothing is quarantined a second time.
func TestRedriveWhatCannotBeJudged(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	added := sample(t, "certificate-added.json")
	long := strings.Replace(added, `"eventTime"`, `"padding":"`+strings.Repeat(`é`, 600<<10)+`","at"`, 1)
	b.quarantine(t, "CertificateAdded", "first", strings.Replace(added, `"eventTime"`, `"at"`, 1))
	b.quarantine(t, "CertificateAdded", "second", long)
	b.quarantine(t, "CertificateAdded", "third", "\x1b[2Jno JSON at all?sig=U0VDUkVU")
	b.quarantine(t, "Renamed", "fourth", added)
	b.quarantine(t, "CertificateDeleted", "fifth", added)
	b.quarantine(t, judge.RelayName, "sixth", `{"category":"Connections"}`)
	out := b.expect(t, 1, "quarantine redrive --all",
		"event: eventTime: missing or empty", "want a JSON object or an array of them", "there is no function Renamed", "not for this function", "record: time: ",
		"1 event judged.", "5 of 6 events still cannot be judged, left in the quarantine")
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

// TestRedriveRelay checks that a message of resource logs that an older version
// could not read becomes the alerts that the detectors make of each of its records.
func TestRedriveRelay(t *testing.T) {
	tables := startAzurite(t, azurite.Options{})
	for _, name := range []string{"logs/day-shift.json", "logs/night-shift.json"} {
		// Custom alerts can count these records, which none does that are of long ago.
		message := strings.ReplaceAll(sample(t, name), "2026-02-01T", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)+"T")
		live := newBench(t, tables)
		var events []string
		for _, e := range relay.Relay([][]byte{[]byte(message)}).Events {
			events = append(events, string(e))
			for _, d := range detector.All {
				if slices.Contains(d.On.EventTypes, connection.Failed) {
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
			b.quarantine(t, judge.RelayName, "a mistake of an older version", body)
			for range 2 {
				b.expect(t, 0, "quarantine redrive "+b.held(t)[0].ID, "1 event judged.")
			}
			got := slices.DeleteFunc(b.alerts(t), func(a alert.Alert) bool { // of custom alerts
				return !slices.ContainsFunc(detector.All, func(d detector.Detector) bool { return d.Name == a.Detector })
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: the alerts, live (-) and redriven (+):\n%s", name, form, diff)
			}
		}
	}
}

// TestRedriveTwiceAtOnce checks that of two people who redrive an event the second
// is told, and that nothing is counted twice.
func TestRedriveTwiceAtOnce(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	b.quarantine(t, "CertificateAdded", "a mistake", sample(t, "certificate-added.json"))
	held, err := b.Quarantine.Whole(t.Context(), b.held(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	b.expect(t, 0, "quarantine redrive --all")
	if err := b.Quarantine.Redriven(t.Context(), held, "1 alert"); err == nil || !strings.Contains(err.Error(), table.ErrChanged.Error()) {
		t.Errorf("marking it on the ground of what is no longer so: %v", err)
	}
	if err := b.Quarantine.Delete(t.Context(), held); err == nil || !strings.Contains(err.Error(), table.ErrChanged.Error()) {
		t.Errorf("deleting it on the ground of what is no longer so: %v", err)
	}
	if rows := b.alerts(t); len(rows) != 1 || rows[0].Occurrences != 1 {
		t.Errorf("alerts %+v, want one of one occurrence", rows)
	}
}

// TestRedriveWithoutStorage checks that an event whose alert is not stored is not
// marked.
func TestRedriveWithoutStorage(t *testing.T) {
	tables := startAzurite(t, azurite.Options{})
	b := newBench(t, tables)
	b.quarantine(t, "CertificateAdded", "a mistake", sample(t, "certificate-added.json"))
	azuriteTarget, _, _ := strings.Cut(tables.Endpoint(), "/devstoreaccount1")
	proxy := azurite.StartFaultyProxy(azuriteTarget, failAlerts)
	defer proxy.Close()
	broken := bench{b.App, environment("AlertsStorage", strings.Replace(tables.ConnectionString(), azuriteTarget, proxy.URL, 1),
		"AlertsTable", b.getenv("AlertsTable"), "QuarantineTable", b.getenv("QuarantineTable"))}
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
		code := run(t.Context(), strings.Fields(args), environment("AlertsStorage", "UseDevelopmentStorage=true"), nil, &stdout, &stderr)
		if code != exitUsage || !strings.HasPrefix(stderr.String(), "hubwatch: quarantine") || !strings.Contains(stderr.String(), "\nUsage: hubwatch quarantine") || stdout.Len() > 0 {
			t.Errorf("hubwatch %s: exit code %d, %s", args, code, stderr.String())
		}
	}
	newBench(t, startAzurite(t, azurite.Options{})).expect(t, 1, "quarantine list", "there is none: nothing was ever quarantined here")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"quarantine", "list"}, environment(), nil, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "AlertsStorage") {
		t.Errorf("without settings: exit code %d, %s", code, stderr.String())
	}
	if code := run(t.Context(), []string{"quarantine", "redrive", "--all"}, environment("AlertsStorage", "UseDevelopmentStorage=true", "InferredAlerts", "maybe"), nil, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "InferredAlerts") {
		t.Errorf("with a wrong setting: exit code %d, %s", code, stderr.String())
	}
}

// TestAmbiguousID checks that a beginning of two ids is not taken for one of them.
func TestAmbiguousID(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
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

// again puts the rows of the quarantine into the partitions of the day before, too, as
// if their events had been delivered on that day and on this.
func (b bench) again(t *testing.T) {
	t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(b.getenv("AlertsStorage"), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := service.NewClient(b.getenv("QuarantineTable"))
	page, err := client.NewListEntitiesPager(nil).NextPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, entity := range page.Entities {
		var row map[string]any
		if err := json.Unmarshal(entity, &row); err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339Nano, row["QuarantinedUtc"].(string))
		if err != nil {
			t.Fatal(err)
		}
		at = at.AddDate(0, 0, -1)
		function, _, _ := strings.Cut(row["PartitionKey"].(string), "|")
		row["PartitionKey"] = fmt.Sprintf("%s|%08d", function, 99999999-(at.Year()*10000+int(at.Month())*100+at.Day()))
		row["QuarantinedUtc"] = at.Format("2006-01-02T15:04:05.0000000Z")
		for name := range row {
			if strings.HasPrefix(name, "odata.") || strings.HasPrefix(name, "Timestamp") {
				delete(row, name)
			}
		}
		copied, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.AddEntity(t.Context(), copied, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEventOfTwoDays checks that an event that was delivered on two days is one event
// for whoever reads, judges or resolves it.
func TestEventOfTwoDays(t *testing.T) {
	tables := startAzurite(t, azurite.Options{})
	for name, test := range map[string]struct {
		run  string
		says []string
		left int // rows
	}{
		"resolve":                  {"quarantine resolve ID --note done --by alice", []string{"1 event resolved."}, 2},
		"resolve all":              {"quarantine resolve --older-than 0h --note done --by alice", []string{"1 event resolved."}, 2},
		"resolve the older part":   {"quarantine resolve --older-than 20h --note done --by alice", []string{"1 event resolved."}, 2},
		"redrive":                  {"quarantine redrive ID", []string{"1 alert", "1 event judged."}, 2},
		"redrive all and delete":   {"quarantine redrive --all --delete", []string{"1 alert", "1 event judged and deleted."}, 0},
		"redrive, and nothing yet": {"quarantine redrive --all --dry-run", []string{"1 event would be judged."}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tables)
			b.quarantine(t, "CertificateAdded", "a mistake", sample(t, "certificate-added.json"))
			b.again(t)
			held := b.held(t)
			if len(held) != 2 || held[0].ID != held[1].ID || !held[0].QuarantinedAt.After(held[1].QuarantinedAt) {
				t.Fatalf("the quarantine has %+v, want one event on two days", held)
			}
			list := b.expect(t, 0, "quarantine list", "1 event waiting, 0 redriven, 0 resolved.", second(held[0].QuarantinedAt))
			if n := strings.Count(list, held[0].ID); n != 1 {
				t.Errorf("the list has the event %d times:\n%s", n, list)
			}
			b.expect(t, 0, "quarantine show "+held[0].ID[:8], "Quarantined  "+second(held[0].QuarantinedAt))

			b.expect(t, 0, strings.Replace(test.run, "ID", held[0].ID[:8], 1), test.says...)
			if n := len(b.held(t)); n != test.left {
				t.Errorf("%d rows are left, want %d", n, test.left)
			}
			waiting := 0
			for _, h := range b.held(t) {
				if h.Waits() {
					waiting++
				}
			}
			want := map[string]int{"resolve the older part": 1, "redrive, and nothing yet": 2}[name]
			if waiting != want {
				t.Errorf("%d rows wait, want %d", waiting, want)
			}
			b.expect(t, 0, "quarantine list", plural(min(want, 1), "event")+" waiting")
		})
	}
}

func TestKindOf(t *testing.T) {
	for reason, want := range map[string]string{
		`subject: resource id "/a\"b": segment 10 is "."`: "subject: resource id …: segment # is …",
		`have "cut of`:                       "have …",
		`have "cut of\`:                      "have …",
		`""`:                                 "…",
		"34 objects, and at most 32":         "# objects, and at most #",
		"event: eventTime: missing or empty": "event: eventTime: missing or empty",
		`a "b" c "d"`:                        "a … c …",
	} {
		if got := kindOf(reason); got != want {
			t.Errorf("%s is of the kind %q, want %q", reason, got, want)
		}
	}
}

// TestKindsAreBounded checks that many kinds are counted as one, and none is lost.
func TestKindsAreBounded(t *testing.T) {
	var list []table.Held
	for i := range 100 {
		reason := strings.Repeat("x", i%(mostKinds+7))
		list = append(list, table.Held{Quarantined: alert.Quarantined{Function: "CertificateAdded", Reason: reason}})
	}
	g, sum := kindGrid(list), 0
	for _, row := range g.rows {
		n, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if last := g.rows[len(g.rows)-1]; len(g.rows) != mostKinds+1 || sum != 100 || last[3] != "of 7 other kinds" {
		t.Errorf("%d rows of %d events, the last %q", len(g.rows), sum, last)
	}
}
