package table

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// pruned draws all of a pruning.
func pruned(t testing.TB, s *Alerts, options Pruning) (all []Pruned) {
	t.Helper()
	for done, err := range s.Prune(t.Context(), options) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, done)
	}
	return all
}

// keysOf returns the keys of all rows of the table, in order.
func keysOf(t testing.TB, s *Alerts) (keys []string) {
	t.Helper()
	for entity, err := range s.table.entities(t.Context(), &aztables.ListEntitiesOptions{Select: to.Ptr("PartitionKey,RowKey")}) {
		var k key
		if err == nil {
			err = decode(entity, &k)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k.PartitionKey+" "+k.RowKey)
	}
	return keys
}

// closed records an alert and closes it.
func closed(t testing.TB, s *Alerts, o alert.Occurrence, status alert.Status) {
	t.Helper()
	put(t, s, o)
	if _, err := s.Change(t.Context(), refOf(o), setting(status)); err != nil {
		t.Fatal(err)
	}
}

// daysBefore returns an occurrence of the alert on certificate number n, days before noon.
func daysBefore(hub string, days, n int) alert.Occurrence {
	return on(occurred(hub, fmt.Sprintf("%d-%d", days, n), noon.AddDate(0, 0, -days)), fmt.Sprint("certificate-", n))
}

// old is a table with days of several ages: of contoso-hub, today, 40 days ago and 50 days
// ago, all closed; and of two more hubs, 40 days ago, with an open and with a suppressed
// alert.
func old(t testing.TB, s *Alerts) {
	t.Helper()
	for _, days := range []int{0, 40, 50} {
		closed(t, s, daysBefore("contoso-hub", days, 0), alert.Resolved)
		closed(t, s, daysBefore("contoso-hub", days, 1), alert.Dismissed)
	}
	put(t, s, daysBefore("open-hub", 40, 0))
	closed(t, s, daysBefore("open-hub", 40, 1), alert.Resolved)
	hidden := daysBefore("quiet-hub", 40, 0)
	hidden.SuppressedBy = "rule-1"
	put(t, s, hidden)
}

// TestPrune deletes what is old and closed, and nothing else.
func TestPrune(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	old(t, s)
	before := keysOf(t, s)
	on := func(days int) time.Time { return noon.AddDate(0, 0, -days).Truncate(24 * time.Hour) }
	full := func(hub string, days int) Pruned {
		return Pruned{Hub: hub, Day: on(days), Alerts: 2, Evidence: 2, History: 2}
	}
	open40 := Pruned{Hub: "open-hub", Day: on(40), Alerts: 2, Evidence: 2, History: 1, Open: 1, Kept: true}
	quiet40 := Pruned{Hub: "quiet-hub", Day: on(40), Alerts: 1, Evidence: 1}
	options := Pruning{Before: noon.AddDate(0, 0, -39), DryRun: true}

	want := []Pruned{full("contoso-hub", 40), open40, quiet40, full("contoso-hub", 50)}
	if diff := cmp.Diff(want, pruned(t, s, options)); diff != "" {
		t.Errorf("without deleting (-want +have):\n%s", diff)
	}
	if diff := cmp.Diff(before, keysOf(t, s)); diff != "" {
		t.Errorf("a dry run changed the table (-before +after):\n%s", diff)
	}
	// The day of Before has not ended before it.
	some := options
	some.Before, some.Hub = noon.AddDate(0, 0, -40), "Contoso-Hub"
	if diff := cmp.Diff([]Pruned{full("contoso-hub", 50)}, pruned(t, s, some)); diff != "" {
		t.Errorf("before the day itself (-want +have):\n%s", diff)
	}

	options.DryRun = false
	if diff := cmp.Diff(want, pruned(t, s, options)); diff != "" {
		t.Errorf("deleted (-want +have):\n%s", diff)
	}
	kept := slices.DeleteFunc(slices.Clone(before), func(row string) bool {
		for _, p := range []partition{partitionOf("contoso-hub", on(40)), partitionOf("contoso-hub", on(50)), partitionOf("quiet-hub", on(40))} {
			if row == indexPartition+" "+p.indexKey() || strings.HasPrefix(row, p.String()+" ") {
				return true
			}
		}
		return false
	})
	if diff := cmp.Diff(kept, keysOf(t, s)); diff != "" {
		t.Errorf("rows that stay (-want +have):\n%s", diff)
	}
	summariesAreExact(t, s)
	if diff := cmp.Diff([]Pruned{open40}, pruned(t, s, options)); diff != "" {
		t.Errorf("once more (-want +have):\n%s", diff)
	}
	options.Open = true
	open40.Kept = false
	if diff := cmp.Diff([]Pruned{open40}, pruned(t, s, options)); diff != "" {
		t.Errorf("open ones as well (-want +have):\n%s", diff)
	}
	if again := pruned(t, s, options); len(again) > 0 {
		t.Errorf("there is still something: %v", again)
	}
	// A deleted day can have alerts again.
	put(t, again(t, s, emulator(t).ConnectionString()), daysBefore("contoso-hub", 50, 0))
	summariesAreExact(t, s)
}

// stormy is a table with so many suppressed alerts on one old day that no transaction takes
// all of them.
func stormy(t testing.TB, s *Alerts) {
	t.Helper()
	var storm []alert.Occurrence
	for n := range maxEntities + 20 {
		o := daysBefore("contoso-hub", 50, n)
		o.SuppressedBy = "rule-1"
		storm = append(storm, o)
	}
	put(t, s, append(storm, daysBefore("contoso-hub", 0, 0))...)
}

// oldDays deletes what is older than 39 days.
var oldDays = Pruning{Before: noon.AddDate(0, 0, -39)}

// TestRequestsOfAPruning counts the requests of one day with 120 alerts.
func TestRequestsOfAPruning(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	stormy(t, s)
	count := func(options Pruning) int {
		before := proxy.Requests()
		pruned(t, s, options)
		return proxy.Requests() - before
	}
	look := oldDays
	look.DryRun = true
	// Whether the index is complete, the index, and the rows of the day.
	if got := count(look); got != 3 {
		t.Errorf("looking takes %d requests, want 3", got)
	}
	// And two transactions for the summary and 120 alerts, two for their evidence, one look at
	// what is left, and one for the row in the index.
	if got := count(oldDays); got != 9 {
		t.Errorf("deleting takes %d requests, want 9", got)
	}
}

// TestPruneCrashes ends a pruning at each of its requests, before the request has an effect
// and after it. Whatever is left, a reader sees no alert without its evidence, and the next
// run deletes the rest.
func TestPruneCrashes(t *testing.T) {
	var at, n atomic.Int64 // the request at which the process ends; 0 for none
	var how azurite.Fault
	end := func() {}
	connection, _ := through(t, func(int, *http.Request) azurite.Fault {
		switch last := at.Load(); {
		case last == 0 || n.Add(1) < last:
			return azurite.Pass
		case n.Load() == last:
			return how
		}
		end() // the client tries again
		return azurite.Drop
	})
	for request := int64(1); request <= 9; request++ {
		for _, how = range []azurite.Fault{azurite.Drop, azurite.Lose} {
			s := open(t, connection).Failures() // is faster
			stormy(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			end = cancel
			n.Store(0)
			at.Store(request)
			err := errorOf(s.Prune(ctx, oldDays))
			at.Store(0)
			cancel()
			if err == nil {
				t.Errorf("request %d, fault %v: the pruning did not notice", request, how)
			}
			listed, counted, keys := 0, 0, keysOf(t, s)
			for a, err := range s.List(t.Context(), alert.Query{Suppressed: true}) {
				if err != nil {
					t.Fatal(err)
				}
				listed++
				if !slices.ContainsFunc(keys, func(row string) bool { return strings.Contains(row, " "+evidenceOf(a.ID)) }) {
					t.Errorf("request %d, fault %v: an alert without its evidence", request, how)
				}
			}
			for sum, err := range s.Summaries(t.Context(), alert.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				counted += sum.Suppressed
			}
			if listed != counted {
				t.Errorf("request %d, fault %v: %d alerts are listed, and %d counted", request, how, listed, counted)
			}
			pruned(t, s, oldDays)
			if diff := cmp.Diff(5, len(keysOf(t, s))); diff != "" { // today's alert, evidence and summary; its day, and that all days are there
				t.Errorf("request %d, fault %v: the next run leaves %q", request, how, keysOf(t, s))
			}
			summariesAreExact(t, s)
		}
	}
}

// TestPruneMeetsAChange lets an occurrence make an alert active again while its day is being
// deleted.
func TestPruneMeetsAChange(t *testing.T) {
	var s *Alerts
	changes := func() {}
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.Method == http.MethodPost {
			changes()
		}
		return azurite.Pass
	})
	s = open(t, emulator(t).ConnectionString())
	closed(t, s, daysBefore("contoso-hub", 40, 0), alert.Resolved)
	rows := len(keysOf(t, s))
	changes = sync.OnceFunc(func() {
		if got := put(t, s, daysBefore("contoso-hub", 40, 0), on(occurred("contoso-hub", "again", noon.AddDate(0, 0, -40)), "certificate-0")); got[1] != alert.Reopened {
			t.Errorf("the outcome is %v, want reopened", got)
		}
	})
	got := pruned(t, again(t, s, connection), oldDays)
	if len(got) != 1 || !got[0].Kept || got[0].Open != 1 {
		t.Errorf("the pruning says %+v, want a day that stays", got)
	}
	if have := len(keysOf(t, s)); have != rows+2 { // another row of evidence, and one of history
		t.Errorf("%d rows, want all %d", have, rows+2)
	}
	summariesAreExact(t, s)
}

// TestPruneMeetsALateChange lets an occurrence open an alert of a day of which the first alerts
// and the summary are deleted already. The alert stays, with its evidence, and is counted.
func TestPruneMeetsALateChange(t *testing.T) {
	var s *Alerts
	var posts atomic.Int64
	changes := func() {}
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.Method == http.MethodPost && posts.Add(1) == 2 {
			changes()
		}
		return azurite.Pass
	})
	s = open(t, emulator(t).ConnectionString())
	stormy(t, s)
	last := daysBefore("contoso-hub", 50, 0) // of the second transaction
	for n := range maxEntities + 20 {
		if o := daysBefore("contoso-hub", 50, n); refOf(o).ID > refOf(last).ID {
			last = o
		}
	}
	changes = func() {
		again := last
		again.Event.ID += "-again"
		put(t, s, again)
	}
	got := pruned(t, again(t, s, connection), oldDays)
	if len(got) != 1 || !got[0].Kept || got[0].Open != 1 {
		t.Errorf("the pruning says %+v, want a day that stays", got)
	}
	var open []string
	for a, err := range s.List(t.Context(), alert.Query{Until: noon.AddDate(0, 0, -40)}) {
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a.ID)
	}
	if !slices.Equal(open, []string{refOf(last).ID}) {
		t.Errorf("open are %q, want %q", open, refOf(last).ID)
	}
	for sum, err := range s.Summaries(t.Context(), alert.Query{Until: noon.AddDate(0, 0, -40)}) {
		if err != nil || sum.Suppressed != 20 || len(sum.Counts) != 1 {
			t.Errorf("the day is counted as %+v (%v), want one alert and 20 that are suppressed", sum, err)
		}
	}
	if _, err := s.Change(t.Context(), refOf(last), setting(alert.Resolved)); err != nil {
		t.Fatal(err)
	}
	pruned(t, s, oldDays)
	if rows := len(keysOf(t, s)); rows != 5 { // as TestPruneCrashes says
		t.Errorf("%d rows are left, want 5: %q", rows, keysOf(t, s))
	}
}
