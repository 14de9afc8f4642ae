package table

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/version"
)

// TestMain makes the test binary also the process that TestKeyless starts. Tokens
// are cached for a whole process, so each case of TestKeyless needs a process of
// its own.
func TestMain(m *testing.M) {
	if uri := os.Getenv("TEST_KEYLESS_URI"); uri != "" {
		keyless(uri)
		return
	}
	code := m.Run()
	if shared.azurite != nil {
		if err := shared.azurite.Stop(); err != nil {
			log.Print(err)
		}
	}
	os.Exit(code)
}

var shared struct {
	once    sync.Once
	azurite *azurite.Service
	err     error
}

// emulator returns the Azurite of this package's tests, which have a table each.
func emulator(t testing.TB) *azurite.Service {
	t.Helper()
	shared.once.Do(func() {
		var main string
		if main, shared.err = azurite.Find("../.."); shared.err == nil {
			shared.azurite, shared.err = azurite.Start(context.Background(), azurite.Options{Main: main})
		}
	})
	if shared.err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(shared.err)
		}
		t.Fatal(shared.err)
	}
	return shared.azurite
}

var tables atomic.Int64

// account returns the service at a connection string.
func account(t testing.TB, connection string) *Account {
	t.Helper()
	a, err := Open(Settings{ConnectionString: connection})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// open returns a table of alerts of its own on the service at a connection string.
func open(t testing.TB, connection string) *Alerts {
	t.Helper()
	return account(t, connection).Alerts(fmt.Sprintf("alerts%d", tables.Add(1)))
}

// again returns the table of s, as another process would open it.
func again(t testing.TB, s *Alerts, connection string) *Alerts {
	t.Helper()
	return account(t, connection).Alerts(s.table.name)
}

// openQuarantine returns a quarantine of its own on the service at a connection
// string.
func openQuarantine(t testing.TB, connection string) *Quarantine {
	t.Helper()
	return account(t, connection).Quarantine(fmt.Sprintf("quarantine%d", tables.Add(1)))
}

// through returns a connection string for azurite through a proxy that makes
// faults, and the proxy.
func through(t testing.TB, fault func(n int, r *http.Request) azurite.Fault) (string, *azurite.FaultyProxy) {
	t.Helper()
	a := emulator(t)
	target, _, _ := strings.Cut(a.Endpoint(), "/devstoreaccount1")
	p := azurite.StartFaultyProxy(target, fault)
	t.Cleanup(p.Close)
	return strings.Replace(a.ConnectionString(), target, p.URL, 1), p
}

// put records occurrences and returns what became of each.
func put(t testing.TB, s *Alerts, occurrences ...alert.Occurrence) []alert.Outcome {
	t.Helper()
	recorded, err := s.Record(t.Context(), occurrences...)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([]alert.Outcome, len(recorded))
	for i, r := range recorded {
		outcomes[i] = r.Outcome
	}
	return outcomes
}

// prepared returns occurrences on their way into the table.
func prepared(t testing.TB, s *Alerts, occurrences ...alert.Occurrence) []occurrence {
	t.Helper()
	batch := make([]occurrence, len(occurrences))
	for i, o := range occurrences {
		var err error
		if batch[i], err = s.prepare(o); err != nil {
			t.Fatal(err)
		}
	}
	return batch
}

// read returns the body of a request. The body can be read again.
func read(t testing.TB, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// merge writes columns into the row of the alert of o, as a person may.
func merge(t testing.TB, s *Alerts, o alert.Occurrence, columns map[string]any) {
	t.Helper()
	row := map[string]any{"PartitionKey": partitionKey(o), "RowKey": alertKey(o.ID)}
	maps.Copy(row, columns)
	entity, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.table.client.UpdateEntity(t.Context(), entity, &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
		t.Fatal(err)
	}
}

// refOf returns the reference of the alert of o.
func refOf(o alert.Occurrence) alert.Ref { return alert.Ref{Hub: o.Hub.Name, Day: o.Day(), ID: o.ID} }

// errorOf draws everything and returns the error at the end.
func errorOf[T any](seq iter.Seq2[T, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// answering returns a connection string for azurite through a proxy. status gives
// a status for the body of a request. The proxy answers with this status, or
// passes the request on if it is 0. A 400 says that the service will never store
// the entity.
func answering(t testing.TB, status func(body string) int) string {
	t.Helper()
	a := emulator(t)
	target, _, _ := strings.Cut(a.Endpoint(), "/devstoreaccount1")
	service, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(service)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := status(read(t, r)); code != 0 {
			if code == http.StatusBadRequest {
				w.Header().Set("x-ms-error-code", "PropertyValueTooLarge")
			}
			w.WriteHeader(code)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return strings.Replace(a.ConnectionString(), target, proxy.URL, 1)
}

// dump returns every row of a table by its key. It leaves out what differs
// between two runs over the same events: the service's own columns and
// TimeGeneratedUtc.
func dump(t testing.TB, table table) map[string]map[string]any {
	t.Helper()
	rows := map[string]map[string]any{}
	for pages := table.client.NewListEntitiesPager(nil); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if hasCode(err, aztables.TableNotFound) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, entity := range page.Entities {
			var row map[string]any
			if err := json.Unmarshal(entity, &row); err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(row, func(name string, _ any) bool {
				return strings.HasPrefix(name, "odata.") || strings.HasPrefix(name, "Timestamp") || strings.HasPrefix(name, "TimeGeneratedUtc") || strings.HasPrefix(name, "QuarantinedUtc")
			})
			rows[fmt.Sprint(row["PartitionKey"], " ", row["RowKey"])] = row
		}
	}
	return rows
}

// rowsIn returns the number of rows in one range of row keys.
func rowsIn(rows map[string]map[string]any, of string) (n int) {
	for _, row := range rows {
		if strings.HasPrefix(fmt.Sprint(row["RowKey"]), of+separator) {
			n++
		}
	}
	return n
}

// list returns the alerts that q asks for.
func list(t testing.TB, s *Alerts, q alert.Query) []alert.Alert {
	t.Helper()
	var alerts []alert.Alert
	for a, err := range s.List(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, a)
	}
	return alerts
}

// summariesAreExact checks that each summary is what a scan of the alerts gives, and
// that the index has every day.
func summariesAreExact(t testing.TB, s *Alerts) {
	t.Helper()
	indexed := map[partition]bool{}
	for day, err := range s.days(t.Context(), "", spanOf(time.Time{}, time.Time{})) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range day {
			indexed[p] = true
		}
	}
	for day, err := range s.table.days(t.Context(), "", spanOf(time.Time{}, time.Time{})) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range day {
			has, err := s.summary(t.Context(), p.String())
			if err != nil {
				t.Fatal(err)
			}
			want, err := s.counted(t.Context(), p, has)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.counts, has.counts); diff != "" || !has.exact() || has.Suppressed != want.Suppressed || !indexed[p] {
				t.Errorf("%s: in the index: %v; summary %+v, with %d suppressed, want %d; counts (-scan +summary):\n%s", p, indexed[p], has, has.Suppressed, want.Suppressed, diff)
			}
		}
	}
}

// TestColumns checks that each kind of row has the documented columns.
func TestColumns(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	put(t, s, occurred("Contoso-Hub", "event-1", noon))
	id := occurred("contoso-hub", "event-1", noon).ID
	hubID := "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/Contoso-Hub"
	want := map[string]map[string]any{}
	for _, row := range []map[string]any{{
		"PartitionKey": "contoso-hub|79739798", "RowKey": "a|" + id,
		"SystemAlertId": id, "AlertType": "IoT_CertificateSuccessfullyAddedToHub", "AlertDisplayName": "New certificate added to an IoT Hub",
		"Severity": "Medium", "Confidence": "Stated", "Description": "Certificate root-ca was added in event event-1.",
		"RemediationSteps": "1. Ask the actor.\n2. Delete the certificate.", "CompromisedEntity": "root-ca", "EntityType": "Certificate",
		"HubName": "Contoso-Hub", "ResourceId": hubID, "SubscriptionId": "00000000-0000-0000-0000-000000000001",
		"Actor": "alice@contoso.example", "ActorIpAddress": "203.0.113.7", "CorrelationId": "correlation of event-1",
		"LastActorIpAddress": "203.0.113.7", "ActorIpAddresses": `["203.0.113.7"]`, "ActorIpAddressCount": 1.0, "MoreActorIpAddresses": false,
		"StartTimeUtc": "2026-02-01T12:00:00.1234567Z", "StartTimeUtc@odata.type": "Edm.DateTime",
		"EndTimeUtc": "2026-02-01T12:00:00.1234567Z", "EndTimeUtc@odata.type": "Edm.DateTime",
		"Status": "Active", "Verdict": "", "StatusReason": "", "StatusBy": "", "StatusByObjectId": "", "Changes": 0.0, "SuppressedBy": "",
		"Occurrences": 1.0, "ExtendedProperties": `{"ChangeKind":"created"}`,
		"Detector": "CertificateAdded", "VendorName": "hubwatch", "ProductName": "hubwatch", "ProductVersion": version.Version,
	}, {
		"PartitionKey": "contoso-hub|79739798", "RowKey": evidenceKey(occurred("contoso-hub", "event-1", noon)),
		"SystemAlertId": id, "EventId": "event-1", "EventTimeUtc": "2026-02-01T12:00:00.1234567Z", "EventTimeUtc@odata.type": "Edm.DateTime",
		"Actor": "alice@contoso.example", "ActorIpAddress": "203.0.113.7", "CorrelationId": "correlation of event-1",
		"Properties": `{"ChangeKind":"created"}`, "RawEvent": `{"id":"event-1"}`,
		"RawEventSha256": sha256Hex([]byte(`{"id":"event-1"}`)), "Raised": 0.0,
	}, {
		"PartitionKey": "contoso-hub|79739798", "RowKey": "s",
		"Counts": `{"IoT_CertificateSuccessfullyAddedToHub":{"Active":1}}`, "Suppressed": 0.0, "Incomplete": false,
	}, {
		"PartitionKey": "!days", "RowKey": "79739798|contoso-hub", "Hub": "contoso-hub",
	}, {
		"PartitionKey": "!days", "RowKey": "!complete",
	}} {
		want[fmt.Sprint(row["PartitionKey"], " ", row["RowKey"])] = row
	}
	if diff := cmp.Diff(want, dump(t, s.table)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if made := list(t, s, alert.Query{})[0].Generated; time.Since(made).Abs() > time.Minute {
		t.Errorf("TimeGeneratedUtc is %v", made)
	}
}

// TestRedeliveryChangesNothing delivers occurrences of several alerts in random
// order, some of them again and at the same time, through two instances, and
// compares the rows with those of one delivery in order.
func TestRedeliveryChangesNothing(t *testing.T) {
	var alerts []alert.Occurrence
	for i := range 60 {
		at := noon.Add(time.Duration(i%7) * time.Minute)
		alerts = append(alerts, occurred([]string{"contoso-hub", "contoso-hub-west"}[i%2], fmt.Sprint("event-", i), at))
	}
	clean := open(t, emulator(t).ConnectionString())
	for _, a := range alerts {
		put(t, clean, a)
	}
	want := dump(t, clean.table)

	s := open(t, emulator(t).ConnectionString())
	instances := []*Alerts{s, again(t, s, emulator(t).ConnectionString())}
	var deliveries []alert.Occurrence
	for range 3 {
		deliveries = append(deliveries, alerts...)
	}
	rand.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
	var wait sync.WaitGroup
	for i, a := range deliveries {
		wait.Go(func() {
			if _, err := instances[i%2].Record(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	have := dump(t, s.table)
	for _, rows := range []map[string]map[string]any{want, have} {
		for _, row := range rows {
			delete(row, "Raised") // chance decides which of several events raised an alert
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("rows of a clean run and of three deliveries (-want +got):\n%s", diff)
	}
}

// TestRedeliveryOfMany redelivers all occurrences of an alert at once, together
// with new ones. The alert has more evidence than one answer of the service
// holds.
func TestRedeliveryOfMany(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	const many = 1_100 // an answer has 1,000 rows at most
	var alerts []alert.Occurrence
	for i := range many {
		alerts = append(alerts, occurred("contoso-hub", fmt.Sprint(i), noon))
	}
	slices.SortFunc(alerts, func(a, b alert.Occurrence) int { return strings.Compare(evidenceKey(a), evidenceKey(b)) })
	commit := func(alerts ...alert.Occurrence) (requests int) {
		ctx, cancel := context.WithTimeout(t.Context(), commitTimeout)
		defer cancel()
		before := proxy.Requests()
		if _, err := s.commit(ctx, prepared(t, s, alerts...)); err != nil {
			t.Fatal(err)
		}
		return proxy.Requests() - before
	}
	put(t, s, alerts[1])
	commit(alerts[1:maxBatch]...)
	if got := commit(alerts[1:maxBatch]...); got != 2 {
		t.Errorf("a redelivery of %d occurrences of one alert takes %d requests, want 2", maxBatch-1, got)
	}
	put(t, s, alerts[1:]...)
	commit(alerts[0], alerts[1], alerts[many-1]) // the new one comes first, the last is behind the end of the answer
	rows := list(t, s, alert.Query{Hub: "contoso-hub"})
	if len(rows) != 1 || rows[0].Occurrences != many {
		t.Fatalf("%d alerts, want 1 with %d occurrences: %+v", len(rows), many, rows)
	}
	if evidence := rowsIn(dump(t, s.table), evidenceRange); evidence != many {
		t.Errorf("%d rows of evidence, want %d", evidence, many)
	}
}

// TestOneDeviceFailsFourHundredTimesAtOnce is the worst case for a counter: all
// occurrences belong to one row, and two instances write it.
func TestOneDeviceFailsFourHundredTimesAtOnce(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	instances := []*Alerts{s, again(t, s, emulator(t).ConnectionString())}
	var wait sync.WaitGroup
	for i := range 400 {
		wait.Go(func() {
			if _, err := instances[i%2].Record(t.Context(), occurred("contoso-hub", fmt.Sprint(i), noon.Add(time.Duration(i)*time.Millisecond))); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	rows := list(t, s, alert.Query{Hub: "contoso-hub"})
	if len(rows) != 1 || rows[0].Occurrences != 400 {
		t.Fatalf("%d alerts, want 1 with 400 occurrences: %+v", len(rows), rows)
	}
	if evidence := rowsIn(dump(t, s.table), evidenceRange); evidence != 400 {
		t.Errorf("%d rows of evidence, want 400", evidence)
	}
}

// TestWhatAPersonSetStays sets a status and another column, as a person would,
// and then redelivers and adds occurrences.
func TestWhatAPersonSetStays(t *testing.T) {
	for status, after := range map[alert.Status]alert.Status{
		alert.InProgress: alert.InProgress, alert.Resolved: alert.Active, alert.Dismissed: alert.Active, "under review": "under review",
	} {
		s := open(t, emulator(t).ConnectionString())
		first := occurred("contoso-hub", "1", noon)
		put(t, s, first)
		merge(t, s, first, map[string]any{"Status": status, "Owner": "bob"})
		put(t, s, first)
		if a := list(t, s, alert.Query{})[0]; a.Status != status || a.Occurrences != 1 {
			t.Errorf("a redelivery makes %s with 1 occurrence %s with %d", status, a.Status, a.Occurrences)
		}
		put(t, s, occurred("contoso-hub", "2", noon.Add(-time.Hour)))
		a := list(t, s, alert.Query{})[0]
		if a.Status != after || a.Occurrences != 2 {
			t.Errorf("another occurrence makes %s %s with %d occurrences, want %s with 2", status, a.Status, a.Occurrences, after)
		}
		if !strings.Contains(fmt.Sprint(dump(t, s.table)), "Owner:bob") {
			t.Error("a column that a person added is gone")
		}
	}
}

// TestAlertThatWasDeleted deletes the alert's row, as a person may. The same
// event does not bring the row back. Another event does.
func TestAlertThatWasDeleted(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	first := occurred("contoso-hub", "1", noon)
	put(t, s, first)
	if _, err := s.table.client.DeleteEntity(t.Context(), partitionKey(first), alertKey(first.ID), nil); err != nil {
		t.Fatal(err)
	}
	put(t, s, first)
	if rows := list(t, s, alert.Query{}); len(rows) != 0 {
		t.Errorf("a redelivery brought %d deleted alerts back", len(rows))
	}
	put(t, s, occurred("contoso-hub", "2", noon))
	if rows := list(t, s, alert.Query{}); len(rows) != 1 || rows[0].Occurrences != 1 {
		t.Errorf("another event gives %+v, want one alert of one occurrence", rows)
	}
}

func TestListNewestDayFirst(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	for i, hub := range []string{"hub1", "hub10", "hub2", "HUB1", "hub-1"} {
		for day := range 4 {
			put(t, s, occurred(hub, fmt.Sprint(i, day), noon.AddDate(0, 0, (day*3)%4)))
		}
	}
	var days []string
	for _, a := range list(t, s, alert.Query{Hub: "Hub1"}) {
		if !strings.EqualFold(a.Hub.Name, "hub1") {
			t.Errorf("an alert of %s among those of hub1", a.Hub.Name)
		}
		days = append(days, a.Start.Format(time.DateOnly))
	}
	want := []string{"2026-02-04", "2026-02-03", "2026-02-02", "2026-02-01"}
	if diff := cmp.Diff(want, days); diff != "" {
		t.Errorf("days of hub1's alerts (-want +got):\n%s", diff)
	}
	if n := len(list(t, s, alert.Query{})); n != 16 {
		t.Errorf("%d alerts on all hubs, want 16", n)
	}
	if n := len(list(t, s, alert.Query{Hub: "x' or PartitionKey ne 'zzz"})); n != 0 {
		t.Errorf("a hub that is not a name but a query lists %d alerts", n)
	}
}

// TestNamesThatKeysForbid stores names with every character that Table Storage
// and OData do not allow in keys.
func TestNamesThatKeysForbid(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	names := []string{
		"o'brien", "a/b", `a\b`, "a#b", "a?b", "a%b", "100%", "a+b", "a b", "a|b", "a}b", "a\x00b", "a\tb\nc", "a\u0085b", "ü€😀",
		"a''b", strings.Repeat("n", 1000), strings.Repeat("😀", 40000), "not\xffUTF-8",
	}
	for _, name := range names {
		a := occurred("contoso-hub", "event "+name, noon)
		a.Entity.Name, a.Actor, a.Hub.Name = name, name, name
		a.ID = alert.ID(a.Type, a.Hub, a.Entity, a.Actor, noon)
		put(t, s, a)
		put(t, s, a)
		found := list(t, s, alert.Query{Hub: name})
		if len(found) != 1 || found[0].Entity.Name != column(name) || found[0].Occurrences != 1 {
			t.Errorf("the entity %.40q comes back as %d alerts: %.200v", name, len(found), found)
		}
		if _, _, err := s.Find(t.Context(), alert.Ref{Hub: name, Day: noon, ID: a.ID}); err != nil {
			t.Errorf("the alert of %.40q: %v", name, err)
		}
	}
}

func TestEvidenceOfOneMegabyte(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	var alerts []alert.Occurrence
	for i := range 5 { // more than one transaction takes
		a := occurred("contoso-hub", fmt.Sprint(i), noon)
		a.Event.Raw = []byte(strings.Repeat("é", 512<<10))
		alerts = append(alerts, a)
	}
	put(t, s, alerts...)
	rows := dump(t, s.table)
	row := rows[partitionKey(alerts[0])+" "+evidenceKey(alerts[0])]
	if n := len([]rune(row["RawEvent"].(string))); n != maxText || row["RawEventSha256"] != sha256Hex(alerts[0].Event.Raw) {
		t.Errorf("evidence has %d characters and the hash %v", n, row["RawEventSha256"])
	}
	if alerts, evidence := rowsIn(rows, alertRange), rowsIn(rows, evidenceRange); alerts != 1 || evidence != 5 {
		t.Errorf("%d alerts with %d rows of evidence, want one with five", alerts, evidence)
	}
}

// TestFaults makes each fault in each place of a write, once, and compares the
// rows with those of a write without faults.
func TestFaults(t *testing.T) {
	first, second := occurred("contoso-hub", "1", noon), occurred("contoso-hub", "2", noon.Add(time.Minute))
	clean := open(t, emulator(t).ConnectionString())
	put(t, clean, first)
	put(t, clean, second)
	want := dump(t, clean.table)

	for fault, name := range map[azurite.Fault]string{
		azurite.Drop: "connection breaks", azurite.Lose: "answer is lost", azurite.Busy: "throttled", azurite.Broken: "internal error", azurite.LoseBroken: "internal error after the write",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				var made atomic.Bool
				connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
					if n == at && made.CompareAndSwap(false, true) {
						return fault
					}
					return azurite.Pass
				})
				s := open(t, connection)
				put(t, s, first)
				put(t, s, second)
				put(t, s, first)
				if !made.Load() {
					return // every request of the writes has had the fault
				}
				if diff := cmp.Diff(want, dump(t, s.table)); diff != "" {
					t.Errorf("fault in request %d: rows (-want +got):\n%s", at, diff)
				}
			}
		})
	}
}

// TestUnreachable checks that each call ends by the caller's deadline, whatever
// the service does, and that its error says what is wrong.
func TestUnreachable(t *testing.T) {
	for name, test := range map[string]struct {
		fault azurite.Fault
		want  string // part of the error; "" takes any
	}{
		"hangs":            {azurite.Hang, ""},
		"breaks":           {azurite.Drop, ""},
		"throttles":        {azurite.Busy, ""},
		"fails internally": {azurite.Broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, _ := through(t, func(int, *http.Request) azurite.Fault { return test.fault })
			s, q := open(t, connection), openQuarantine(t, connection)
			for what, call := range map[string]func(context.Context) error{
				"Record": func(ctx context.Context) error {
					_, err := s.Record(ctx, occurred("contoso-hub", "1", noon))
					return err
				},
				"Quarantine": func(ctx context.Context) error { return q.Quarantine(ctx, alert.Quarantined{Function: "F"}) },
				"List":       func(ctx context.Context) error { return errorOf(s.List(ctx, alert.Query{})) },
				"Find": func(ctx context.Context) error {
					_, _, err := s.Find(ctx, refOf(occurred("contoso-hub", "1", noon)))
					return err
				},
				"Change": func(ctx context.Context) error {
					_, err := s.Change(ctx, refOf(occurred("contoso-hub", "1", noon)), setting(alert.Resolved))
					return err
				},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				err := call(ctx)
				if err == nil || !strings.Contains(err.Error(), "table ") || errors.Is(err, errRejected) || errors.Is(err, alert.ErrNotFound) {
					t.Errorf("%s: error %v, want one that names the table and is to be tried again", what, err)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%s took %v with a deadline of a second", what, took)
				}
			}
		})
	}
}

// TestOneImpossibleOccurrence rejects every transaction that holds one of three
// occurrences: the other two are stored.
func TestOneImpossibleOccurrence(t *testing.T) {
	connection := answering(t, func(body string) int {
		if strings.Contains(body, "impossible") {
			return http.StatusBadRequest
		}
		return 0
	})
	s := open(t, connection)
	batch := prepared(t, s, occurred("contoso-hub", "1", noon), occurred("contoso-hub", "impossible", noon), occurred("contoso-hub", "3", noon))
	recorded := make([]alert.Recorded, len(batch))
	for i := range batch {
		batch[i].tell = func(r alert.Recorded, err error) {
			if recorded[i] = r; err != nil {
				t.Error(err)
			}
		}
	}
	s.settle(batch)
	want := []alert.Outcome{alert.New, alert.Rejected, alert.Counted}
	for i, r := range recorded {
		if r.Outcome != want[i] || (r.Err != nil) != (r.Outcome == alert.Rejected) {
			t.Errorf("occurrence %d is %v, %v, want it %v", i, r.Outcome, r.Err, want[i])
		}
	}
	if alerts := list(t, s, alert.Query{}); len(alerts) != 1 || alerts[0].Occurrences != 2 {
		t.Errorf("%+v, want one alert of two occurrences", alerts)
	}
}

func TestQuarantine(t *testing.T) {
	s := openQuarantine(t, emulator(t).ConnectionString())
	for _, q := range []alert.Quarantined{
		{Function: "CertificateAdded", EventID: "event-1", Reason: "event: eventType: missing or empty", Body: []byte(`{"id":"event-1"}`), Size: 16},
		{Function: "CertificateAdded", Reason: "the request is not an invocation", Body: []byte("not\xffJSON"), Size: 9},
		{Function: "CertificateAdded", Reason: "the request is not an invocation", Body: nil, Size: 0},
		{Function: "CertificateDeleted", Reason: "too large", Body: []byte(strings.Repeat(`"é\u0000`, 256<<10)), Size: 20 << 20},
		{Function: "Certificate/Deleted?", Reason: "secret", Body: []byte(`{"url":"https://contoso.example/?sig=abcdef"}`), Size: 45},
	} {
		for range 3 {
			if err := s.Quarantine(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := quarantinedBody(t, s, q), string(redactedBody(q.Body)); got != want {
			t.Errorf("a body of %d bytes comes back as %d bytes: %.60q", len(want), len(got), got)
		}
	}
	heads := 0
	for _, row := range dump(t, s.table) {
		if row["Reason"] != nil {
			heads++
		}
		if strings.Contains(fmt.Sprint(row), "abcdef") {
			t.Error("a signature reached the quarantine")
		}
	}
	if heads != 5 {
		t.Errorf("%d events in quarantine after three deliveries of each, want 5", heads)
	}
}

// quarantinedBody puts the body of a quarantined event together again.
func quarantinedBody(t *testing.T, s *Quarantine, q alert.Quarantined) string {
	t.Helper()
	rows := dump(t, s.table)
	p, id := partition{escape(q.Function), invert(s.now())}.String()+" ", hash(q.Function, string(q.Body))
	h, ok := rows[p+heldKey(id)]
	if !ok || h["Function"] != q.Function || h["EventId"] != q.EventID || h["Reason"] != q.Reason || h["BodySha256"] != sha256Hex(q.Body) || h["Size"] != fmt.Sprint(q.Size) {
		t.Fatalf("the head is %.300v", h)
	}
	if h["Parts"] == 0.0 {
		return h["Body"].(string)
	}
	var body []byte
	for part := range int(h["Parts"].(float64)) {
		row := rows[p+partKey(id, int32(part))]
		for i := 0; row[fmt.Sprint("Body", i)] != nil; i++ {
			b, err := base64.StdEncoding.DecodeString(row[fmt.Sprint("Body", i)].(string))
			if err != nil {
				t.Fatal(err)
			}
			body = append(body, b...)
		}
	}
	return string(body)
}

// TestRequestsOfAWrite counts the requests of a write, because their cost is part
// of the design.
func TestRequestsOfAWrite(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	if _, err := s.table.client.CreateTable(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what string
		a    alert.Occurrence
		want int
	}{
		// Whether the index of days is complete, whether the table is empty, that it is; the
		// row of the index; the summary, the transaction.
		{"the first alert of all", occurred("contoso-hub", "1", noon), 6},
		{"another occurrence", occurred("contoso-hub", "2", noon), 1},
		{"a redelivery", occurred("contoso-hub", "2", noon), 2},
		{"a redelivery of what raised the alert", occurred("contoso-hub", "1", noon), 2},
		{"the first alert of a day", occurred("contoso-hub", "3", noon.AddDate(0, 0, 1)), 3},
		{"another alert of that day", on(occurred("contoso-hub", "4", noon.AddDate(0, 0, 1)), "intermediate-ca"), 1},
		{"another occurrence on that day", occurred("contoso-hub", "5", noon.AddDate(0, 0, 1)), 1},
	} {
		before := proxy.Requests()
		put(t, s, step.a)
		if got := proxy.Requests() - before; got != step.want {
			t.Errorf("%s takes %d requests, want %d", step.what, got, step.want)
		}
	}
}

// TestRequestsOfABurst counts the requests of very many occurrences of one alert that come
// at once: at most one for ten of them.
func TestRequestsOfABurst(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection).Failures()
	put(t, s, occurred("contoso-hub", "0", noon))
	const burst = 500
	before := proxy.Requests()
	var wait sync.WaitGroup
	for i := range burst {
		wait.Go(func() {
			if _, err := s.Record(t.Context(), occurred("contoso-hub", fmt.Sprint(i+1), noon)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := proxy.Requests() - before; got > burst/10 {
		t.Errorf("%d occurrences take %d requests, want at most %d", burst, got, burst/10)
	}
}

// on returns an occurrence as it is on another certificate.
func on(o alert.Occurrence, certificate string) alert.Occurrence {
	o.Entity.Name = certificate
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Event.Time)
	return o
}

// keyless is the process of TestKeyless: it writes an alert with the identity
// that its environment gives and prints the error, if any.
func keyless(uri string) {
	a, err := Open(Settings{ServiceURI: uri, ManagedIdentity: true, ClientID: os.Getenv("TEST_KEYLESS_CLIENT"), ResourceID: os.Getenv("TEST_KEYLESS_RESOURCE")})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err = a.Alerts(os.Getenv("TEST_KEYLESS_TABLE")).Record(ctx, occurred("contoso-hub", "1", noon))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// TestKeyless writes with the managed identity of azidentity, over TLS, without
// any key: Azurite checks the token's claims, but not roles.
func TestKeyless(t *testing.T) {
	emulator(t) // skips or fails if there is none
	main, err := azurite.Find("../..")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := azurite.WriteCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	service, err := azurite.Start(t.Context(), azurite.Options{Main: main, CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Kill() })
	identity, err := azurite.StartIdentity(azurite.IdentityOptions{ClientID: "00000000-0000-0000-0000-0000000000c1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(identity.Close)

	for i, test := range []struct {
		name, client string
		environment  []string
		want         string // part of the error, "" if it works
	}{
		{"user-assigned identity", "00000000-0000-0000-0000-0000000000c1", identity.Env(), ""},
		{"another identity", "00000000-0000-0000-0000-0000000000c2", identity.Env(), "ManagedIdentityCredential"},
		{"identity endpoint is dead", "", []string{"IDENTITY_ENDPOINT=http://127.0.0.1:1/msi/token", "IDENTITY_HEADER=x"}, "ManagedIdentityCredential"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0])
			command.Env = slices.Concat(os.Environ(), test.environment, []string{
				"TEST_KEYLESS_URI=" + service.Endpoint(), "TEST_KEYLESS_CLIENT=" + test.client,
				fmt.Sprintf("TEST_KEYLESS_TABLE=keyless%d", i), "SSL_CERT_FILE=" + cert,
			})
			start := time.Now()
			out, err := command.CombinedOutput()
			if (err == nil) != (test.want == "") || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %s; want %q", err, out, test.want)
			}
			if took := time.Since(start); took > 12*time.Second {
				t.Errorf("took %v with a deadline of ten seconds", took)
			}
		})
	}
	if identity.Issued() != 1 {
		t.Errorf("%d tokens were issued, want 1", identity.Issued())
	}
}

// TestReadsAreBehind records an occurrence in a service that has it, and whose reads do not show
// it yet: the transaction meets the evidence each time. It is tried again, with pauses that
// become longer, until the context ends.
func TestReadsAreBehind(t *testing.T) {
	var transactions atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/$batch"):
			transactions.Add(1)
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 409 Conflict\r\n\r\n"+
				`{"odata.error":{"code":"EntityAlreadyExists","message":{"lang":"en-us","value":"2:it is there"}}}`+"\r\n--c--\r\n--b--\r\n")
		case r.Method == http.MethodPost || r.Method == http.MethodPut:
			w.WriteHeader(http.StatusNoContent)
		case strings.HasSuffix(r.URL.Path, "()"):
			_, _ = io.WriteString(w, `{"value":[]}`)
		default:
			w.Header().Set("x-ms-error-code", "ResourceNotFound")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"odata.error":{"code":"ResourceNotFound","message":{"lang":"en-us","value":"no"}}}`)
		}
	}))
	defer server.Close()
	s := account(t, "DefaultEndpointsProtocol=http;AccountName=contoso;AccountKey=AAAA;TableEndpoint="+server.URL+"/contoso;").Alerts("alerts")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.commit(ctx, prepared(t, s, occurred("contoso-hub", "1", noon))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
	// Two at once, and then after 10, 20, 40, 80, 160 and 320 ms at least, and so on.
	if n := transactions.Load(); n < 3 || n > 12 {
		t.Errorf("%d transactions within a second, want 3 to 12", n)
	}
}
