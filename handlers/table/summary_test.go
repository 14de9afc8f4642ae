package table

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// certificate returns occurrence number event of the alert on certificate number n.
func certificate(hub string, n, event int) alert.Occurrence {
	return on(occurred(hub, fmt.Sprintf("%d-%d", n, event), noon.Add(time.Duration(event)*time.Minute)), fmt.Sprint("certificate-", n))
}

// TestStorm raises many alerts on one hub at the same time, each of them through two
// instances. All of them change one summary, and each is written by both instances. No
// occurrence takes more requests than a redelivery takes alone.
func TestStorm(t *testing.T) {
	const alerts = 200
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection).Failures() // has the larger share of the partition
	put(t, s, certificate("contoso-hub", alerts, 0))
	instances := []*Alerts{s, again(t, s, connection).Failures()}
	before := proxy.Requests()
	var wait sync.WaitGroup
	var raised, known atomic.Int64
	for i := range alerts {
		for _, instance := range instances {
			wait.Go(func() {
				recorded, err := instance.Record(t.Context(), certificate("contoso-hub", i, 0))
				switch {
				case err != nil:
					t.Error(err)
				case recorded[0].Outcome == alert.New:
					raised.Add(1)
				case recorded[0].Outcome == alert.Known:
					known.Add(1)
				}
			})
		}
	}
	wait.Wait()
	requests := proxy.Requests() - before
	t.Logf("%d alerts, each of them twice, took %d requests", alerts, requests)
	if raised.Load() != alerts || known.Load() != alerts {
		t.Errorf("%d are new and %d known, want %d of each", raised.Load(), known.Load(), alerts)
	}
	if most := 3 * 2 * alerts; requests > most {
		t.Errorf("%d occurrences took %d requests, want at most %d", 2*alerts, requests, most)
	}
	summariesAreExact(t, s)
}

// TestNewAlertsShareTransactions counts the requests of many new alerts that come at
// once.
func TestNewAlertsShareTransactions(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection).Failures()
	put(t, s, certificate("contoso-hub", 0, 0))
	var batch []alert.Occurrence
	for i := range maxBatch {
		batch = append(batch, certificate("contoso-hub", i+1, 0))
	}
	before := proxy.Requests()
	outcomes, err := s.commit(t.Context(), prepared(t, s, batch...))
	if err != nil || slices.ContainsFunc(outcomes, func(r alert.Recorded) bool { return r.Outcome != alert.New }) {
		t.Errorf("error %v, outcomes %v, want all new", err, outcomes)
	}
	// Two entities for each alert, and the summary: 49 alerts fit into a transaction.
	if got := proxy.Requests() - before; got != 2 {
		t.Errorf("%d new alerts take %d requests, want 2", maxBatch, got)
	}
	before = proxy.Requests()
	if got := put(t, again(t, s, connection), batch...); slices.ContainsFunc(got, func(o alert.Outcome) bool { return o != alert.Known }) {
		t.Errorf("outcomes %v of another instance, want all known", got)
	}
	t.Logf("the same again takes %d requests", proxy.Requests()-before)
	summariesAreExact(t, s)
}

// TestSummaryFollowsAlerts lets an alert live, step by step.
func TestSummaryFollowsAlerts(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	p := partitionOf("contoso-hub", noon)
	hidden := func(o alert.Occurrence, by string) alert.Occurrence { o.SuppressedBy = by; return o }
	set := func(n int, status alert.Status) func() {
		return func() {
			if _, err := s.Change(t.Context(), refOf(certificate("contoso-hub", n, 0)), setting(status)); err != nil {
				t.Error(err)
			}
		}
	}
	record := func(want alert.Outcome, o alert.Occurrence) func() {
		return func() {
			if got := put(t, s, o); got[0] != want {
				t.Errorf("the outcome is %v, want %v", got[0], want)
			}
		}
	}
	counts := func(active, resolved int) map[string]map[alert.Status]int {
		c := map[alert.Status]int{}
		if active > 0 {
			c[alert.Active] = active
		}
		if resolved > 0 {
			c[alert.Resolved] = resolved
		}
		return map[string]map[alert.Status]int{"IoT_CertificateSuccessfullyAddedToHub": c}
	}
	for _, step := range []struct {
		what       string
		do         func()
		want       map[string]map[alert.Status]int
		suppressed int
	}{
		{"an alert", record(alert.New, certificate("contoso-hub", 1, 0)), counts(1, 0), 0},
		{"another", record(alert.New, certificate("contoso-hub", 2, 0)), counts(2, 0), 0},
		{"another occurrence", record(alert.Counted, certificate("contoso-hub", 1, 1)), counts(2, 0), 0},
		{"a person", set(1, alert.Resolved), counts(1, 1), 0},
		{"a redelivery", record(alert.Known, certificate("contoso-hub", 1, 0)), counts(1, 1), 0},
		{"a suppressed occurrence of a closed alert", record(alert.Counted, hidden(certificate("contoso-hub", 1, 2), "rule-1")), counts(1, 1), 0},
		{"it happens again", record(alert.Reopened, certificate("contoso-hub", 1, 3)), counts(2, 0), 0},
		{"a suppressed alert", record(alert.New, hidden(certificate("contoso-hub", 3, 0), "rule-1")), counts(2, 0), 1},
		{"another suppression", record(alert.Counted, hidden(certificate("contoso-hub", 3, 1), "rule-2")), counts(2, 0), 1},
		{"outside of the suppressions", record(alert.Reopened, certificate("contoso-hub", 3, 2)), counts(3, 0), 0},
		{"and inside again", record(alert.Counted, hidden(certificate("contoso-hub", 3, 3), "rule-2")), counts(3, 0), 0},
	} {
		step.do()
		got, err := s.summary(t.Context(), p.String())
		if diff := cmp.Diff(step.want, got.counts); err != nil || diff != "" || int(got.Suppressed) != step.suppressed {
			t.Errorf("after %s: error %v, %d suppressed, want %d; counts (-want +got):\n%s", step.what, err, got.Suppressed, step.suppressed, diff)
		}
		summariesAreExact(t, s)
	}
	for n, want := range map[int][]alert.History{
		1: {
			{Number: 1, From: alert.Active, To: alert.Resolved, Verdict: alert.Benign, Reason: "planned", By: bob, Via: "cli"},
			{Number: 2, From: alert.Resolved, To: alert.Active, Reason: "it happened again", By: alert.Person{Name: "hubwatch"}, Via: "handler", EventID: "1-3"},
		},
		3: {{Number: 1, From: alert.Active, To: alert.Active, Reason: "it happened outside of suppression rule-1", By: alert.Person{Name: "hubwatch"}, Via: "handler", EventID: "3-2"}},
	} {
		ref := refOf(certificate("contoso-hub", n, 0))
		got, err := s.History(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if time.Since(got[i].Time).Abs() > time.Minute {
				t.Errorf("a change of alert %d is of %v", n, got[i].Time)
			}
			got[i].Time = time.Time{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("history of alert %d (-want +got):\n%s", n, diff)
		}
		last := want[len(want)-1]
		if a, _ := find(t, s, ref); a.Changes != last.Number || a.StatusReason != last.Reason || a.StatusBy != last.By || a.SuppressedBy != "" || a.Status != alert.Active {
			t.Errorf("alert %d is %+v, want it as the newest change says", n, a)
		}
	}
}

// TestFaultsOfABatch makes each fault in each request, once, while a batch raises
// alerts, reopens one and counts another, and compares the rows with those of a write
// without faults. The writer has written the alerts before, and keeps rows that are old by
// now, or another process has.
func TestFaultsOfABatch(t *testing.T) {
	before := []alert.Occurrence{certificate("contoso-hub", 0, 0), certificate("contoso-hub", 1, 0)}
	batch := []alert.Occurrence{certificate("contoso-hub", 0, 1), certificate("contoso-hub", 1, 0), certificate("contoso-hub", 1, 2)}
	for i := range 6 {
		batch = append(batch, certificate("contoso-hub", i+2, 0))
	}
	run := func(clean, s, by *Alerts) map[string]map[string]any {
		put(t, by, before...)
		if _, err := clean.Change(t.Context(), refOf(before[0]), setting(alert.Dismissed)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.commit(t.Context(), prepared(t, s, batch...)); err != nil {
			t.Error(err)
		}
		summariesAreExact(t, clean)
		rows := dump(t, clean.table)
		for _, row := range rows { // what is of the clock or of chance
			delete(row, "TimeUtc")
			delete(row, "StatusTimeUtc")
			delete(row, "Attempt")
		}
		return rows
	}
	clean := open(t, emulator(t).ConnectionString())
	want := run(clean, clean, clean)
	for fault, name := range map[azurite.Fault]string{
		azurite.Drop: "connection breaks", azurite.Lose: "answer is lost", azurite.Busy: "throttled", azurite.Broken: "internal error", azurite.LoseBroken: "internal error after the write",
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rows of its own: %v", name, own), func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					var made atomic.Bool
					connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
						if n == at && made.CompareAndSwap(false, true) {
							return fault
						}
						return azurite.Pass
					})
					clean := open(t, emulator(t).ConnectionString())
					s := again(t, clean, connection)
					got := run(clean, s, map[bool]*Alerts{true: s, false: clean}[own])
					if !made.Load() {
						return // every request has had the fault
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("fault in request %d: rows (-want +got):\n%s", at, diff)
					}
				}
			})
		}
	}
}

// age removes what a table that is older than the summaries does not have: the index
// of days and the summaries.
func age(t testing.TB, s *Alerts) {
	t.Helper()
	for key, row := range dump(t, s.table) {
		if strings.HasPrefix(key, indexPartition) || strings.HasSuffix(key, " "+summaryKey) {
			if _, err := s.table.client.DeleteEntity(t.Context(), row["PartitionKey"].(string), row["RowKey"].(string), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestReindex makes the index and the summaries of a table that is older than these,
// while alerts are raised. Before it, everything can be read all the same.
func TestReindex(t *testing.T) {
	old := open(t, emulator(t).ConnectionString())
	for day := range 3 {
		for n := range 3 {
			o := certificate("contoso-hub", n, 0)
			o.Event.Time = o.Event.Time.AddDate(0, 0, -day)
			o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Event.Time)
			put(t, old, o)
		}
	}
	put(t, old, certificate("contoso-hub-west", 0, 0))
	age(t, old)

	s := again(t, old, emulator(t).ConnectionString())
	put(t, s, certificate("contoso-hub", 7, 0)) // on a day that has alerts
	if _, err := s.Change(t.Context(), refOf(certificate("contoso-hub-west", 0, 0)), setting(alert.Resolved)); err != nil {
		t.Fatal(err)
	}
	total := func() (n int) {
		for sum, err := range s.Summaries(t.Context(), alert.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, statuses := range sum.Counts {
				for _, of := range statuses {
					n += of
				}
			}
		}
		return n
	}
	if listed, counted := len(list(t, s, alert.Query{})), total(); listed != 11 || counted != 11 {
		t.Errorf("before: %d alerts are listed and %d counted, want 11", listed, counted)
	}
	if resolved := list(t, s, alert.Query{Statuses: []alert.Status{alert.Resolved}}); len(resolved) != 1 {
		t.Errorf("before: %d are resolved, want 1", len(resolved))
	}

	// Stop after one day, and go on. While a summary is counted, somebody raises an alert.
	raised := 10
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "$batch") && raised < 12 {
			raised++
			put(t, s, certificate("contoso-hub", raised, 0))
		}
		return azurite.Pass
	})
	again := again(t, s, connection)
	for _, err := range again.Reindex(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if _, err := s.table.client.GetEntity(t.Context(), indexPartition, indexComplete, nil); !hasCode(err, aztables.ResourceNotFound) {
		t.Errorf("the index says that it is complete, after a run that was interrupted: %v", err)
	}
	reindex := func(all bool) (wrote, counted int) {
		t.Helper()
		for r, err := range again.Reindex(t.Context(), all) {
			if err != nil {
				t.Fatal(err)
			}
			counted += r.Alerts
			if r.Wrote {
				wrote++
			}
		}
		return wrote, counted
	}
	if wrote, _ := reindex(false); wrote != 3 {
		t.Errorf("the second run wrote %d summaries, want those of the 3 days that were left", wrote)
	}
	summariesAreExact(t, s)
	if wrote, counted := reindex(false); wrote+counted > 0 {
		t.Errorf("another run wrote %d summaries and counted %d alerts, want none", wrote, counted)
	}
	if listed, counted := len(list(t, s, alert.Query{})), total(); listed != 13 || counted != 13 || raised != 12 {
		t.Errorf("after: %d alerts are listed and %d counted, %d were raised, want 13, 13, and the last to be 12", listed, counted, raised)
	}

	// What people typed is counted by a run over all.
	merge(t, s, certificate("contoso-hub", 7, 0), map[string]any{"Status": "under review"})
	if wrote, counted := reindex(true); wrote != 1 || counted != 13 {
		t.Errorf("a run over all wrote %d summaries and counted %d alerts, want 1 and 13", wrote, counted)
	}
	summariesAreExact(t, s)
}

// TestSummaryThatAPersonBroke checks that a summary which cannot be read is counted
// again, and does not keep alerts from being raised.
func TestSummaryThatAPersonBroke(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	put(t, s, certificate("contoso-hub", 0, 0))
	row := key{partitionOf("contoso-hub", noon).String(), summaryKey}
	if _, err := s.table.client.UpsertEntity(t.Context(), fmt.Appendf(nil, `{"PartitionKey":%q,"RowKey":%q,"Counts":"seven"}`, row.PartitionKey, row.RowKey), nil); err != nil {
		t.Fatal(err)
	}
	put(t, s, certificate("contoso-hub", 1, 0))
	for sum, err := range s.Summaries(t.Context(), alert.Query{}) {
		if err != nil || sum.Counts["IoT_CertificateSuccessfullyAddedToHub"][alert.Active] != 2 {
			t.Errorf("error %v, summary %+v, want two alerts", err, sum)
		}
	}
	if n := len(list(t, s, alert.Query{Statuses: []alert.Status{alert.Active}})); n != 2 {
		t.Errorf("%d alerts, want 2", n)
	}
}

// TestSummaryVersion checks that the version of a summary tells two states apart that
// have the same numbers, and that an occurrence of an open alert leaves it as it is.
func TestSummaryVersion(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	version := func() string {
		t.Helper()
		for sum, err := range s.Summaries(t.Context(), alert.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			return sum.Version
		}
		return ""
	}
	first, second, again := certificate("contoso-hub", 1, 1), certificate("contoso-hub", 2, 1), certificate("contoso-hub", 1, 2)
	put(t, s, first)
	put(t, s, second)
	for _, change := range []struct {
		ref    alert.Ref
		status alert.Status
	}{{refOf(first), alert.Resolved}, {refOf(second), alert.Resolved}, {refOf(first), alert.Active}} {
		before := version()
		if _, err := s.Change(t.Context(), change.ref, setting(change.status)); err != nil {
			t.Fatal(err)
		}
		if after := version(); after == before || after == "" {
			t.Errorf("the version is %q before and %q after %v", before, after, change)
		}
	}
	before := version()
	put(t, s, again)
	if after := version(); after != before {
		t.Errorf("the version is %q before and %q after another occurrence", before, after)
	}
	// A summary that is not exact has no version.
	entity := fmt.Appendf(nil, `{"PartitionKey": %q, "RowKey": %q, "Incomplete": true}`, partitionKey(first), summaryKey)
	if _, err := s.table.client.UpdateEntity(t.Context(), entity, &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
		t.Fatal(err)
	}
	if v := version(); v != "" {
		t.Errorf("the version of an incomplete summary is %q", v)
	}
}

// TestSuppressedAndNotInOneBatch records occurrences of a new alert of which one is
// suppressed and one is not, in one batch. The alert is told, and nobody has changed it,
// whichever of the two comes first in the transaction.
func TestSuppressedAndNotInOneBatch(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	for n := range 8 {
		hidden, told := certificate("contoso-hub", n, 0), certificate("contoso-hub", n, 1)
		hidden.SuppressedBy = "rule-1"
		batch := prepared(t, s, hidden, told)
		recorded, err := s.commit(t.Context(), batch)
		if err != nil || recorded[0].Outcome != alert.Counted || recorded[1].Outcome != alert.New || recorded[1].Raising == nil {
			t.Errorf("alert %d: error %v; recorded %+v, want it counted and new", n, err, recorded)
		}
		a, _ := find(t, s, refOf(told))
		if a.SuppressedBy != "" || a.Changes != 0 || a.StatusReason != "" || a.Status != alert.Active || a.Occurrences != 2 {
			t.Errorf("alert %d, the suppressed one first: %v: suppressed by %q, %d changes, %q, %s, %d occurrences", n, batch[0].key < batch[1].key, a.SuppressedBy, a.Changes, a.StatusReason, a.Status, a.Occurrences)
		}
	}
	summariesAreExact(t, s)
}

// TestIndexOfATableThatIsNotThere writes into the index before anything else. Of several
// writers that begin at once, one may find that nobody has made the table yet.
func TestIndexOfATableThatIsNotThere(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	if empty, err := s.index(t.Context(), partitionKey(certificate("contoso-hub", 1, 1))); err != nil || !empty {
		t.Errorf("the partition is empty: %v, error %v", empty, err)
	}
}
