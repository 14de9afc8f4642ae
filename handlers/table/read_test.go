package table

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// find returns the alert that ref names, and its evidence by event id.
func find(t testing.TB, s *Alerts, ref alert.Ref) (alert.Alert, map[string]alert.Evidence) {
	t.Helper()
	a, evidence, err := s.Find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]alert.Evidence{}
	for e, err := range evidence {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := all[e.EventID]; ok {
			t.Errorf("event %s is twice in the evidence", e.EventID)
		}
		all[e.EventID] = e
	}
	return a, all
}

// TestAlertComesBack checks that all of an alert and of its evidence can be read.
func TestAlertComesBack(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	s.now = func() time.Time { return noon.Add(time.Hour) }
	first, second := occurred("Contoso-Hub", "1", noon), occurred("Contoso-Hub", "2", noon.Add(time.Second/2))
	second.Actor, second.Entity.Name, second.Properties = "ALICE@contoso.example", "ROOT-CA", map[string]string{"ChangeKind": "updated", "Über": "ü\"'"}
	put(t, s, second)
	put(t, s, first)
	want := alert.Alert{
		ID: first.ID, Detector: first.Detector, Type: first.Type, DisplayName: first.DisplayName, Severity: first.Severity,
		Remediation: "1. Ask the actor.\n2. Delete the certificate.", Finding: first.Finding,
		Start: noon, End: second.Event.Time, LastActorIPAddress: "203.0.113.7", ActorIPAddresses: []string{"203.0.113.7"}, Generated: noon.Add(time.Hour), Status: alert.Active, Occurrences: 2,
	}
	evidence := map[string]alert.Evidence{}
	for _, o := range []alert.Occurrence{first, second} {
		evidence[o.Event.ID] = alert.Evidence{
			EventID: o.Event.ID, Time: o.Event.Time, Actor: o.Actor, ActorIPAddress: o.ActorIPAddress, CorrelationID: o.CorrelationID,
			Properties: o.Properties, RawEvent: string(o.Event.Raw), RawEventSHA256: sha256Hex(o.Event.Raw),
		}
	}
	if diff := cmp.Diff([]alert.Alert{want}, list(t, s, alert.Query{})); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	parsed, err := alert.ParseRef(want.Ref().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []alert.Ref{
		parsed, {Hub: "CONTOSO-HUB", Day: second.Event.Time, ID: strings.ToUpper(first.ID)},
		{ID: first.ID}, {Hub: "contoso-hub", ID: first.ID}, {Day: noon, ID: first.ID},
	} {
		a, e := find(t, s, ref)
		if diff := cmp.Diff(want, a) + cmp.Diff(evidence, e); diff != "" {
			t.Errorf("found by %+v (-want +got):\n%s", ref, diff)
		}
	}
	for _, ref := range []alert.Ref{
		{}, {ID: "x' or RowKey ne '"}, {ID: "a/b"}, {ID: strings.Repeat("x", 5000)}, {Hub: "contoso", ID: first.ID}, {Hub: "contoso-hub-west", Day: noon, ID: first.ID},
		{Hub: "contoso-hub", Day: noon.AddDate(0, 0, 1), ID: first.ID}, {Day: noon.AddDate(0, 0, -1), ID: first.ID},
		{Hub: "contoso-hub", Day: noon, ID: strings.Replace(first.ID, "a", "b", 1)}, {Hub: "o'hub", ID: first.ID}, {Hub: "contoso-hub", Day: noon},
	} {
		if _, _, err := s.Find(t.Context(), ref); !errors.Is(err, alert.ErrNotFound) || !strings.Contains(err.Error(), ref.String()) {
			t.Errorf("found by %.200v: %v, want that there is no such alert", ref, err)
		}
	}
}

// TestLongProperties checks that the longest property is cut, and no other one.
func TestLongProperties(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	o.Properties = map[string]string{"Long": strings.Repeat("x", maxText), "Rule": "StatedTokenExpired", "Zone": "z"}
	put(t, s, o)
	a, evidence := find(t, s, refOf(o))
	for what, p := range map[string]map[string]string{"alert": a.Properties, "evidence": evidence["1"].Properties} {
		long := p["Long"]
		if len(p) != 3 || p["Rule"] != "StatedTokenExpired" || p["Zone"] != "z" || len(long) < maxText/4 || !strings.HasPrefix(o.Properties["Long"], strings.TrimSuffix(long, cutMark)) {
			t.Errorf("the properties of the %s are %.200v", what, p)
		}
	}
}

// TestListIsAsQueried compares lists with the result of a filter in Go over all
// alerts.
func TestListIsAsQueried(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	hubs := []string{"hub", "hub-1", "Hub1", "hub10", "hub~7c", "hub|", "hub}", "o'hub"}
	pick := func(from ...string) string { return from[rand.N(len(from))] }
	var all []alert.Alert
	var occurrences []alert.Occurrence
	for i := range 80 {
		// Several alerts have the same time.
		o := occurred(hubs[i%len(hubs)], fmt.Sprint(i), noon.AddDate(0, 0, -rand.N(5)*rand.N(9)).Add(time.Duration(rand.N(3)-1)*(12*time.Hour-1)))
		o.Type, o.Entity.Name, o.Actor = pick("IoT_Cert_Expired", "IoT_Expired_SAS_Token"), pick("d1", "it's", "root-ca"), pick("", "alice's", "bob")
		o.Severity = alert.Severity(pick("Medium", "Low"))
		o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor+fmt.Sprint(i), o.Event.Time)
		occurrences = append(occurrences, o)
		a, err := newRow(o, noon).alert()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	put(t, s, occurrences...)
	for i := range all {
		if i%3 == 0 {
			all[i].Status = alert.Resolved
			merge(t, s, occurrences[i], map[string]any{"Status": pick("Resolved", "resolved", "RESOLVED")})
		}
	}
	// The newest day first, then the newest occurrence, which is in that day.
	slices.SortFunc(all, func(a, b alert.Alert) int {
		if c := b.End.Compare(a.End); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	when := func() time.Time {
		if rand.N(2) == 0 {
			return time.Time{}
		}
		return noon.AddDate(0, 0, 2-rand.N(36)).Add(time.Duration(rand.N(5)-2) * 6 * time.Hour)
	}
	queries := []alert.Query{{}, {Since: noon, Until: noon}, {Since: noon.AddDate(1, 0, 0)}, {Until: noon.AddDate(-1, 0, 0)}, {Since: noon, Until: noon.AddDate(0, 0, -3)},
		{Since: time.Date(-20000, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}}
	for range 50 {
		queries = append(queries, alert.Query{
			Hub: pick(append(hubs, "", "", "", "", "", "HUB", "nohub")...), Type: pick("", "", "iot_cert_expired", "x' or '1' eq '1"),
			Severity: alert.Severity(pick("", "", "low", "Medium")), Statuses: [][]alert.Status{nil, nil, {alert.Resolved}, {"active"}, {alert.Active, alert.InProgress}}[rand.N(5)],
			Entity: pick("", "", "", "IT'S", "d1"), Actor: pick("", "", "", "Alice's"), Since: when(), Until: when(),
		})
	}
	// The summaries do not know what a person typed.
	for _, err := range s.Reindex(t.Context(), true) {
		if err != nil {
			t.Fatal(err)
		}
	}
	summariesAreExact(t, s)
	for _, q := range queries {
		want := slices.Clone(all)
		want = slices.DeleteFunc(want, func(a alert.Alert) bool { return !q.Matches(a) })
		var diff string
		got := list(t, s, q)
		for i := range got {
			got[i].Generated = noon
		}
		if len(got)+len(want) > 0 {
			diff = cmp.Diff(want, got)
		}
		if diff != "" {
			t.Errorf("%+v lists %d alerts, want %d (-want +got):\n%s", q, len(got), len(want), diff)
		}
	}
}

// TestListDays has all days, also those without an alert that is asked for, and says of
// how many hubs the alerts were read.
func TestListDays(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	day := func(back int) time.Time { return noon.AddDate(0, 0, -back) }
	put(t, s, occurred("hub-1", "a", day(0)), occurred("hub-2", "b", day(0)), occurred("hub-1", "c", day(1)), occurred("hub-1", "d", day(3)))
	change := alert.Change{Status: alert.Resolved, Reason: "rotated"}
	o := occurred("hub-2", "b", day(0))
	if _, err := s.Change(t.Context(), alert.Ref{Hub: "hub-2", Day: alert.Day(noon), ID: o.ID}, change); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		query alert.Query
		want  string
	}{
		{alert.Query{}, "0:2/2 1:1/1 3:1/1 "},
		{alert.Query{Entity: "nothing"}, "0:0/2 1:0/1 3:0/1 "},
		{alert.Query{Statuses: []alert.Status{alert.Resolved}}, "0:1/1 1:0/0 3:0/0 "},
		{alert.Query{Statuses: []alert.Status{alert.Active}, Hub: "HUB-2"}, "0:0/0 "},
		{alert.Query{Since: day(1), Until: day(1)}, "1:1/1 "},
	} {
		have := ""
		for list, err := range s.ListDays(t.Context(), test.query) {
			if err != nil {
				t.Fatal(err)
			}
			have += fmt.Sprintf("%d:%d/%d ", int(alert.Day(noon).Sub(list.Day).Hours()/24), len(list.Alerts), list.Read)
		}
		if have != test.want {
			t.Errorf("%+v: the days have %s, want %s", test.query, have, test.want)
		}
	}
	for range s.ListDays(t.Context(), alert.Query{}) {
		break // a caller who stops is asked no more
	}
}

// TestRequestsOfReading counts the requests of reading. Their number depends on
// hubs and days, and not on the amount of evidence.
func TestRequestsOfReading(t *testing.T) {
	const hubs, days = 3, 4
	for _, evidence := range []int{1, 50} {
		t.Run(fmt.Sprint(evidence, " events"), func(t *testing.T) {
			clean := open(t, emulator(t).ConnectionString())
			var oldest alert.Occurrence
			for hub := range hubs {
				for day := range days {
					var occurrences []alert.Occurrence
					for event := range evidence {
						occurrences = append(occurrences, occurred(fmt.Sprint("hub", hub), fmt.Sprint("event-", event), noon.AddDate(0, 0, -2*day)))
					}
					put(t, clean, occurrences...)
					oldest = occurrences[0]
				}
			}
			connection, proxy := through(t, func(_ int, r *http.Request) azurite.Fault {
				if q := r.URL.Query(); q.Has("$filter") && q.Get("$top") != "1" && !strings.HasPrefix(q.Get("$filter"), "PartitionKey eq '") {
					t.Errorf("a request goes through several partitions: %s", q.Get("$filter"))
				}
				return azurite.Pass
			})
			s := again(t, clean, connection)
			drawn := func(q alert.Query, most int) func() (int, error) {
				return func() (n int, err error) {
					for _, err := range s.List(t.Context(), q) {
						if err != nil {
							return n, err
						}
						if n++; n == most {
							break
						}
					}
					return n, nil
				}
			}
			found := func(ref alert.Ref) func() (int, error) {
				return func() (int, error) {
					_, _, err := s.Find(t.Context(), ref)
					return 1, err
				}
			}
			summed := func(q alert.Query) func() (int, error) {
				return func() (n int, err error) {
					for sum, err := range s.Summaries(t.Context(), q) {
						if err != nil {
							return n, err
						}
						n += sum.Counts["IoT_CertificateSuccessfullyAddedToHub"][alert.Active]
					}
					return n, nil
				}
			}
			changed := func(c alert.Change) func() (int, error) {
				return func() (int, error) {
					_, err := s.Change(t.Context(), refOf(oldest), c)
					return 1, err
				}
			}
			ref, last := refOf(oldest), noon.AddDate(0, 0, -2*(days-1))
			type test struct {
				what     string
				do       func() (int, error)
				n        int // that come
				requests int // with the index of days
				skipping int // without it
			}
			count := func(requests func(test) int, tests ...test) {
				t.Helper()
				for _, test := range tests {
					before := proxy.Requests()
					n, err := test.do()
					if err != nil {
						t.Errorf("%s: %v", test.what, err)
					}
					if got, want := proxy.Requests()-before, requests(test); got != want || n != test.n {
						t.Errorf("%s: %d alerts in %d requests, want %d in %d", test.what, n, got, test.n, want)
					}
				}
			}
			// With the index: one asks whether it is complete, and one reads it. Without it:
			// that one, one for the first partition of each hub, one that says that there are
			// no more hubs, and for each day one that looks for the next. Both: for each hub
			// and day one for the summary and one for the alerts, or one for the alert that is
			// looked for.
			tests := []test{
				{"all alerts", drawn(alert.Query{}, -1), hubs * days, 2 + 2*hubs*days, 1 + hubs + 1 + 3*hubs*days},
				{"the first alert", drawn(alert.Query{}, 1), 1, 2 + 2*hubs, 1 + hubs + 1 + 2*hubs},
				{"the alerts of the newest day", drawn(alert.Query{}, hubs), hubs, 2 + 2*hubs, 1 + hubs + 1 + 2*hubs},
				{"and one more", drawn(alert.Query{}, hubs+1), hubs + 1, 2 + 4*hubs, 1 + hubs + 1 + 5*hubs},
				{"those of a type that is none", drawn(alert.Query{Type: "x"}, -1), 0, 2 + hubs*days, 1 + hubs + 1 + 2*hubs*days},
				{"those that are resolved", drawn(alert.Query{Statuses: []alert.Status{alert.Resolved}}, -1), 0, 2 + hubs*days, 1 + hubs + 1 + 2*hubs*days},
				{"those that are suppressed", drawn(alert.Query{Suppressed: true}, -1), 0, 2 + hubs*days, 1 + hubs + 1 + 2*hubs*days},
				{"those of a hub", drawn(alert.Query{Hub: "HUB1"}, -1), days, 2 + 2*days, 2 + 3*days},
				{"the first of a hub", drawn(alert.Query{Hub: "hub1"}, 1), 1, 4, 4},
				{"those of a hub that is none", drawn(alert.Query{Hub: "hub"}, -1), 0, 2, 2},
				{"those since a day", drawn(alert.Query{Hub: "hub1", Since: last}, -1), days, 2 + 2*days, 1 + 3*days},
				{"those until a day", drawn(alert.Query{Hub: "hub1", Until: last}, -1), 1, 4, 5},
				{"those of a day", drawn(alert.Query{Hub: "hub1", Since: last, Until: last}, -1), 1, 2, 2},
				{"those of a day without alerts", drawn(alert.Query{Hub: "hub1", Since: last.AddDate(0, 0, 1), Until: last.AddDate(0, 0, 1)}, -1), 0, 2, 2},
				{"those of a day, all hubs", drawn(alert.Query{Since: last, Until: last}, -1), hubs, 2 + 2*hubs, 1 + hubs + 1 + 2*hubs},
				{"those of a week to come", drawn(alert.Query{Since: noon.AddDate(0, 0, 1)}, -1), 0, 2, 1 + hubs + 1},
				{"summaries", summed(alert.Query{}), hubs * days, 2 + hubs*days, 1 + hubs + 1 + 2*hubs*days},
				{"summaries of a hub", summed(alert.Query{Hub: "hub1"}), days, 2 + days, 2 + 2*days},
				{"find by reference", found(ref), 1, 1, 1},
				{"find by hub and id", found(alert.Ref{Hub: ref.Hub, ID: ref.ID}), 1, 2 + days, 1 + 2*days},
				{"find by day and id", found(alert.Ref{Day: ref.Day, ID: ref.ID}), 1, 2 + hubs, 1 + hubs + 1 + hubs},
				{"find by id", found(alert.Ref{ID: ref.ID}), 1, 2 + hubs*days, 1 + hubs + 1 + hubs*(2*days-1)},
			}
			count(func(test test) int { return test.requests }, tests...)
			if _, err := clean.table.client.DeleteEntity(t.Context(), indexPartition, indexComplete, nil); err != nil {
				t.Fatal(err)
			}
			count(func(test test) int { return test.skipping }, tests...)
			count(func(test test) int { return test.requests },
				test{"change", changed(setting(alert.Resolved)), 1, 3, 0},
				test{"change nothing", changed(setting(alert.Resolved)), 1, 1, 0},
			)
			before := proxy.Requests()
			if _, e := find(t, s, ref); len(e) != evidence || proxy.Requests()-before != 2 {
				t.Errorf("%d rows of evidence in %d requests, want %d in 2", len(e), proxy.Requests()-before, evidence)
			}
		})
	}
}

// TestMoreThanAPage lists a day with more alerts than one answer holds, beside
// evidence of one of them that does not fit into one answer either.
func TestMoreThanAPage(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	put(t, clean, occurred("contoso-hub", "1", noon)) // makes the table
	const many = 1_050                                // an answer has 1,000 rows at most
	var actions []aztables.TransactionAction
	insert := func(entity []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity})
		if len(actions) == 100 || len(actions) > 0 && entity == nil {
			if _, err := clean.table.client.SubmitTransaction(t.Context(), actions, nil); err != nil {
				t.Fatal(err)
			}
			actions = nil
		}
	}
	for i := range many - 1 {
		o := occurred("contoso-hub", fmt.Sprint(i+2), noon.Add(time.Duration(i)))
		insert(json.Marshal(newEvidence(o)))
		o.ID = alert.ID(o.Type, o.Hub, o.Entity, fmt.Sprint(i), noon)
		insert(newRow(o, noon).entity())
	}
	if _, err := clean.table.client.SubmitTransaction(t.Context(), actions, nil); err != nil {
		t.Fatal(err)
	}
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := again(t, clean, connection)
	if n := len(list(t, s, alert.Query{Hub: "contoso-hub", Since: noon, Until: noon.Add(time.Hour)})); n != many || proxy.Requests() != 3 {
		t.Errorf("%d alerts in %d requests, want %d in 3", n, proxy.Requests(), many)
	}
	before := proxy.Requests()
	_, evidence, err := s.Find(t.Context(), refOf(occurred("contoso-hub", "1", noon)))
	if err != nil {
		t.Fatal(err)
	}
	for n, draw := range []int{many, 1} { // and the evidence can be drawn more than once
		drawn := 0
		for _, err := range evidence {
			if err != nil {
				t.Fatal(err)
			}
			if drawn++; drawn == draw {
				break
			}
		}
		if requests, want := proxy.Requests()-before, 3+n; drawn != draw || requests != want {
			t.Errorf("%d rows of evidence, %d requests, want %d and %d", drawn, requests, draw, want)
		}
	}
}

// TestEmptyPages reads from a service that answers each query with an empty page
// first. Azure may do so; Azurite does not.
func TestEmptyPages(t *testing.T) {
	a := emulator(t)
	target, _, _ := strings.Cut(a.Endpoint(), "/devstoreaccount1")
	service, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(service)
	var empty atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if next := q.Get("NextPartitionKey"); r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "()") && next != "2" {
			empty.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("x-ms-continuation-NextPartitionKey", map[string]string{"": "1", "1": "2"}[next])
			fmt.Fprint(w, `{"value":[]}`)
			return
		}
		q.Del("NextPartitionKey")
		r.URL.RawQuery = q.Encode()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	s := open(t, strings.Replace(a.ConnectionString(), target, proxy.URL, 1))
	for day := range 2 {
		put(t, s, occurred("hub1", "1", noon.AddDate(0, 0, day)), occurred("hub2", "1", noon.AddDate(0, 0, day)))
	}
	if n := len(list(t, s, alert.Query{})); n != 4 || empty.Load() == 0 {
		t.Errorf("%d alerts behind %d empty pages, want 4", n, empty.Load())
	}
	if _, evidence := find(t, s, alert.Ref{ID: occurred("hub2", "1", noon).ID}); len(evidence) != 1 {
		t.Errorf("%d rows of evidence, want 1", len(evidence))
	}
}

// TestReadingFaults makes each fault in each request, once, and compares what is
// read with what is there.
func TestReadingFaults(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	for _, hub := range []string{"hub1", "hub2"} {
		for day := range 2 {
			put(t, clean, occurred(hub, "1", noon.AddDate(0, 0, day)), occurred(hub, "2", noon.AddDate(0, 0, day)))
		}
	}
	want := list(t, clean, alert.Query{})
	wantAlert, wantEvidence := find(t, clean, alert.Ref{ID: want[3].ID})
	for fault, name := range map[azurite.Fault]string{azurite.Drop: "connection breaks", azurite.Lose: "answer is lost", azurite.Broken: "internal error"} {
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
				s := again(t, clean, connection)
				diff := cmp.Diff(want, list(t, s, alert.Query{}))
				a, e := find(t, s, alert.Ref{ID: want[3].ID})
				diff += cmp.Diff(wantAlert, a) + cmp.Diff(wantEvidence, e)
				if diff != "" {
					t.Errorf("fault in request %d (-want +got):\n%s", at, diff)
				}
				if !made.Load() {
					return // every request has had the fault
				}
			}
		})
	}
}

// TestReadingFails makes every request after some number fail. The caller gets
// what was read before, and then an error that names the table.
func TestReadingFails(t *testing.T) {
	clean := open(t, emulator(t).ConnectionString())
	for day := range 3 {
		put(t, clean, occurred("contoso-hub", "1", noon.AddDate(0, 0, day)))
	}
	for good := range 8 {
		t.Run(fmt.Sprint("after ", good), func(t *testing.T) {
			t.Parallel()
			connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n > good {
					return azurite.Drop
				}
				return azurite.Pass
			})
			s := again(t, clean, connection)
			alerts, errs := 0, 0
			for _, err := range s.List(t.Context(), alert.Query{Hub: "contoso-hub"}) {
				switch {
				case errs > 0:
					t.Error("the list goes on behind an error")
				case err == nil:
					alerts++
				default:
					if errs++; !strings.HasPrefix(err.Error(), `table "`+s.table.name+`"`) {
						t.Errorf("error %v, want one that names the table", err)
					}
				}
			}
			// Two requests read the index, and two each day.
			if want := max(good-2, 0) / 2; alerts != want || errs != 1 {
				t.Errorf("%d alerts and %d errors, want %d and one", alerts, errs, want)
			}
		})
	}
	connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
		if n > 1 {
			return azurite.Drop
		}
		return azurite.Pass
	})
	s := again(t, clean, connection)
	_, evidence, err := s.Find(t.Context(), refOf(occurred("contoso-hub", "1", noon)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errorOf(evidence); err == nil || !strings.HasPrefix(err.Error(), `table "`+s.table.name+`"`) {
		t.Errorf("evidence: error %v, want one that names the table", err)
	}
}

// TestNoTable checks that reading a missing table returns an error that says so,
// and does not create the table.
func TestNoTable(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	ref := refOf(occurred("contoso-hub", "1", noon))
	_, _, found := s.Find(t.Context(), ref)
	_, _, searched := s.Find(t.Context(), alert.Ref{ID: ref.ID})
	_, changed := s.Change(t.Context(), ref, setting(alert.Resolved))
	for what, err := range map[string]error{
		"list": errorOf(s.List(t.Context(), alert.Query{})), "list a hub": errorOf(s.List(t.Context(), alert.Query{Hub: "contoso-hub"})),
		"find": found, "search": searched, "change": changed, "list once more": errorOf(s.List(t.Context(), alert.Query{})),
	} {
		if err == nil || !strings.Contains(err.Error(), "there is none: no alert was ever raised here") || !strings.Contains(err.Error(), s.table.name) {
			t.Errorf("%s: error %v, want that there is no table", what, err)
		}
	}
}

// TestOtherRows checks that readers skip rows which are not alerts.
func TestOtherRows(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	var want []alert.Alert
	for day := range 3 {
		put(t, s, occurred("contoso-hub", "1", noon.AddDate(0, 0, 1-day)), occurred("o'hub", "1", noon.AddDate(0, 0, 1-day)))
	}
	want = list(t, s, alert.Query{})
	for _, partition := range []string{
		"!days", "contoso-hub", "contoso-hub|", "contoso-hub|7973979", "contoso-hub|79739798x", "contoso-hub|-0000001", "contoso-hub|x", "contoso-hub}", "it's", "zzz", "zzz|79739798|1",
	} {
		for _, row := range []string{"a|1", "s"} {
			if _, err := s.table.client.AddEntity(t.Context(), fmt.Appendf(nil, `{"PartitionKey":%q,"RowKey":%q}`, partition, row), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, row := range []string{"h|" + want[0].ID, "a", "a~", "b|1", "!", "e|", "e|" + want[0].ID + "}"} {
		if _, err := s.table.client.AddEntity(t.Context(), fmt.Appendf(nil, `{"PartitionKey":"contoso-hub|79739798","RowKey":%q}`, row), nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, list(t, s, alert.Query{})); diff != "" {
		t.Errorf("all alerts (-want +got):\n%s", diff)
	}
	if n := len(list(t, s, alert.Query{Hub: "contoso-hub", Since: noon.AddDate(0, 0, -9)})); n != 3 {
		t.Errorf("%d alerts of the hub, want 3", n)
	}
	for _, a := range want {
		if _, evidence := find(t, s, alert.Ref{ID: a.ID}); len(evidence) != 1 {
			t.Errorf("%d rows of evidence of %s, want 1", len(evidence), a.Ref())
		}
	}
}

// TestBrokenColumns deletes and overwrites columns, as a person may. The error
// has to name the row and the column.
func TestBrokenColumns(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	calls := map[string]func() error{
		"list": func() error { return errorOf(s.List(t.Context(), alert.Query{})) },
		"find": func() error { _, _, err := s.Find(t.Context(), refOf(o)); return err },
		"change": func() error {
			_, err := s.Change(t.Context(), refOf(o), alert.Change{Status: alert.Active, Reason: "none"})
			return err
		},
	}
	const deleted = "deleted"
	for row, columns := range map[string]map[string][]any{
		partitionKey(o) + " " + alertKey(o.ID): {
			"SystemAlertId": {deleted, "", 1, "00000000-0000-8000-8000-000000000000"}, "AlertType": {deleted, "", true}, "Severity": {deleted, "", "Critical", 3},
			"HubName": {deleted, ""}, "Status": {deleted, "", 1}, "Occurrences": {deleted, 0, -1, "1", 1.5}, "StartTimeUtc": {deleted, "", "yesterday", 2026},
			"EndTimeUtc": {deleted, "2026-02-01"}, "TimeGeneratedUtc": {deleted, "noon"}, "Description": {1}, "ExtendedProperties": {false},
		},
		partitionKey(o) + " " + evidenceKey(o): {"EventTimeUtc": {deleted, "", "yesterday", 1}, "RawEvent": {1}},
	} {
		calls := calls
		if strings.Contains(row, "e|") {
			calls = map[string]func() error{"evidence": func() error {
				_, evidence, err := s.Find(t.Context(), refOf(o))
				if err != nil {
					t.Fatal(err)
				}
				return errorOf(evidence)
			}}
		}
		whole := columnsOf(t, s, row)
		for column, values := range columns {
			for _, value := range values {
				broken := maps.Clone(whole)
				if broken[column] = value; value == deleted {
					delete(broken, column)
				}
				delete(broken, column+"@odata.type")
				replace(t, s, broken)
				for what, call := range calls {
					if err := call(); err == nil || !strings.Contains(err.Error(), `table "`+s.table.name+`": row `+row+": column "+column+": ") {
						t.Errorf("%s with %s = %v: error %v, want one that names the row and the column", what, column, value, err)
					}
				}
			}
		}
		// hubwatch ignores unknown columns. A column that may be empty may also
		// be missing.
		whole["Owner"], whole["Ticket"] = "bob", 7
		for _, column := range []string{"Description", "RemediationSteps", "Actor", "ExtendedProperties", "Properties", "Detector", "RawEvent", "CorrelationId"} {
			delete(whole, column)
		}
		replace(t, s, whole)
		for what, call := range calls {
			if err := call(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// columnsOf returns the columns of a row by its keys.
func columnsOf(t testing.TB, s *Alerts, row string) map[string]any {
	t.Helper()
	partition, key, _ := strings.Cut(row, " ")
	response, err := s.table.client.GetEntity(t.Context(), partition, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	var columns map[string]any
	if err := json.Unmarshal(response.Value, &columns); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(columns, func(name string, _ any) bool {
		return strings.HasPrefix(name, "odata.") || strings.HasPrefix(name, "Timestamp")
	})
	return columns
}

// replace writes a whole row.
func replace(t testing.TB, s *Alerts, columns map[string]any) {
	t.Helper()
	entity, err := json.Marshal(columns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.table.client.UpdateEntity(t.Context(), entity, &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeReplace}); err != nil {
		t.Fatal(err)
	}
}
