package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// bob is who changes alerts in these tests.
var bob = alert.Person{Name: "bob@contoso.example", ObjectID: "00000000-0000-0000-0000-00000000000b"}

// setting returns a change to a status by bob.
func setting(status alert.Status) alert.Change {
	return alert.Change{Status: status, Verdict: alert.Benign, Reason: "planned", By: bob, Via: "cli"}
}

// TestChange changes an alert step by step, and checks every row of its partition.
func TestChange(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("Contoso-Hub", "1", noon)
	put(t, s, o)
	merge(t, s, o, map[string]any{"Owner": "bob"})
	at := noon
	s.now = func() time.Time { at = at.Add(time.Minute); return at }
	counts := func(status string) string {
		return fmt.Sprintf(`{"IoT_CertificateSuccessfullyAddedToHub":{"%s":1}}`, status)
	}
	row, day := partitionKey(o)+" "+alertKey(o.ID), partitionKey(o)+" "+summaryKey
	for i, step := range []struct {
		change  alert.Change
		has     string         // before, as a person typed it into the row; "" is as the last step left it
		want    map[string]any // columns of the row that are others than before; nil if nothing changes
		history map[string]any // some columns of the new row of history
		counts  string         // "" if the summary stays
	}{
		{
			alert.Change{Status: alert.InProgress, Reason: "asked alice", By: bob, Via: "cli"}, "",
			map[string]any{"Status": "InProgress", "StatusReason": "asked alice", "StatusBy": bob.Name, "StatusByObjectId": bob.ObjectID, "Changes": 1.0},
			map[string]any{"FromStatus": "Active", "ToStatus": "InProgress", "Verdict": "", "Reason": "asked alice", "By": bob.Name, "ByObjectId": bob.ObjectID, "Via": "cli", "SystemAlertId": o.ID, "EventId": ""},
			counts("InProgress"),
		},
		{alert.Change{Status: alert.InProgress, Reason: "again", By: bob}, "", nil, nil, ""},
		{
			alert.Change{Reason: "alice says no", By: alert.Person{Name: "eve"}, Via: "console"}, "",
			map[string]any{"Changes": 2.0}, map[string]any{"FromStatus": "InProgress", "ToStatus": "InProgress", "Reason": "alice says no", "By": "eve", "ByObjectId": "", "Via": "console"}, "",
		},
		{
			alert.Change{Status: alert.Dismissed, Verdict: alert.FalsePositive, Reason: "token=\"SharedAccessSignature sr=x&sig=c2VjcmV0c2VjcmV0\"", By: alert.Person{Name: "eve"}}, "",
			map[string]any{"Status": "Dismissed", "Verdict": "FalsePositive", "StatusBy": "eve", "StatusByObjectId": "", "Changes": 3.0},
			map[string]any{"FromStatus": "InProgress", "ToStatus": "Dismissed", "Verdict": "FalsePositive"}, counts("Dismissed"),
		},
		{
			alert.Change{Verdict: alert.Benign, Reason: "it was the upgrade", By: bob}, "",
			map[string]any{"Verdict": "Benign", "StatusReason": "it was the upgrade", "StatusBy": bob.Name, "StatusByObjectId": bob.ObjectID, "Changes": 4.0},
			map[string]any{"FromStatus": "Dismissed", "ToStatus": "Dismissed", "Verdict": "Benign"}, "",
		},
		{
			alert.Change{Status: alert.Active, Reason: "once more", By: bob}, "dISMISSED",
			map[string]any{"Status": "Active", "StatusReason": "once more", "Changes": 5.0}, map[string]any{"FromStatus": "Dismissed", "ToStatus": "Active"}, counts("Active"),
		},
		{
			alert.Change{Status: alert.Active, Reason: "spelled right", By: bob}, "active",
			map[string]any{"Status": "Active", "StatusReason": "spelled right", "Changes": 6.0}, map[string]any{"FromStatus": "Active", "ToStatus": "Active"}, "",
		},
		{
			alert.Change{Status: alert.Resolved, Reason: "reviewed", By: bob}, "under review",
			map[string]any{"Status": "Resolved", "StatusReason": "reviewed", "Changes": 7.0}, map[string]any{"FromStatus": "under review", "ToStatus": "Resolved"},
			// What a person typed was not counted.
			`{"IoT_CertificateSuccessfullyAddedToHub":{"Active":1,"Resolved":1}}`,
		},
	} {
		if step.has != "" {
			merge(t, s, o, map[string]any{"Status": step.has})
		}
		want := dump(t, s.table)
		a, err := s.Change(t.Context(), refOf(o), step.change)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got := dump(t, s.table)
		if step.want != nil {
			maps.Copy(want[row], step.want)
			if step.want["StatusReason"] != nil || step.want["Status"] != nil {
				want[row]["StatusReason"] = got[row]["StatusReason"]
				want[row]["StatusTimeUtc"], want[row]["StatusTimeUtc@odata.type"] = edmTime(at), "Edm.DateTime"
			}
			if step.counts != "" {
				want[day]["Counts"] = step.counts
			}
			key := partitionKey(o) + " " + historyKey(o.ID, a.Changes)
			entry := got[key]
			for column, value := range step.history {
				if entry[column] != value {
					t.Errorf("step %d: column %s of the history is %v, want %v", i, column, entry[column], value)
				}
			}
			if entry["TimeUtc"] != edmTime(at) {
				t.Errorf("step %d: the time in the history is %v, want %s", i, entry["TimeUtc"], edmTime(at))
			}
			if text := fmt.Sprint(got); strings.Contains(text, "c2VjcmV0") {
				t.Errorf("step %d: a secret of the reason is in the rows", i)
			}
			want[key] = entry
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("step %d: rows (-want +got):\n%s", i, diff)
		}
		if found, _ := find(t, s, refOf(o)); !cmp.Equal(found, a) {
			t.Errorf("step %d: the alert that comes back is not as it stands in the table:\n%s", i, cmp.Diff(found, a))
		}
	}
	entries, err := s.History(t.Context(), refOf(o))
	if err != nil || len(entries) != 7 || entries[0].Number != 1 || entries[6].Number != 7 || entries[2].Verdict != alert.FalsePositive || entries[1].By.Name != "eve" || entries[0].Via != "cli" {
		t.Errorf("history %+v, error %v, want seven changes in order", entries, err)
	}
}

// TestIllegalChange checks that a change which the status does not allow is refused by
// name, and writes nothing.
func TestIllegalChange(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	if _, err := s.Change(t.Context(), refOf(o), setting(alert.Resolved)); err != nil {
		t.Fatal(err)
	}
	before := dump(t, s.table)
	_, err := s.Change(t.Context(), refOf(o), setting(alert.Dismissed))
	var illegal *alert.Illegal
	if !errors.As(err, &illegal) || !strings.Contains(err.Error(), refOf(o).ID) || !strings.Contains(err.Error(), "from Resolved to Dismissed: want Active first") {
		t.Errorf("error %v, want that the change is refused", err)
	}
	if diff := cmp.Diff(before, dump(t, s.table)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestChangeThatIsNone checks that a change which cannot be made returns an error
// and writes nothing.
func TestChangeThatIsNone(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	before := dump(t, s.table)
	ref := refOf(o)
	for _, test := range []struct {
		name     string
		ref      alert.Ref
		status   alert.Status
		reason   string
		want     string
		notFound bool
	}{
		{"a status that is none", ref, "Closed", "x", `status "Closed": want Active, InProgress, Resolved or Dismissed`, false},
		{"nothing", ref, "", "", "want a status, a verdict or a reason", false},
		{"no reason", ref, alert.Resolved, "", "want a reason", false},
		{"no hub", alert.Ref{Day: ref.Day, ID: ref.ID}, alert.Resolved, "x", "<hub>/<yyyy-mm-dd>/<id>", false},
		{"no day", alert.Ref{Hub: ref.Hub, ID: ref.ID}, alert.Resolved, "x", "<hub>/<yyyy-mm-dd>/<id>", false},
		{"another day", alert.Ref{Hub: ref.Hub, Day: ref.Day.AddDate(0, 0, 1), ID: ref.ID}, alert.Resolved, "x", "contoso-hub/2026-02-02/" + ref.ID, true},
		{"a hub that is a query", alert.Ref{Hub: "x' or '1' eq '1", Day: ref.Day, ID: ref.ID}, alert.Resolved, "x", "there is no such alert", true},
		{"an id that is a query", alert.Ref{Hub: ref.Hub, Day: ref.Day, ID: "x' or '1' eq '1"}, alert.Resolved, "x", "there is no such alert", true},
	} {
		_, err := s.Change(t.Context(), test.ref, alert.Change{Status: test.status, Reason: test.reason, By: bob})
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, alert.ErrNotFound) != test.notFound {
			t.Errorf("%s: error %v, want %q in it, not found: %v", test.name, err, test.want, test.notFound)
		}
	}
	if diff := cmp.Diff(before, dump(t, s.table)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestChangeMeetsOthers lets something happen to the alert between the requests that
// read it and the one that writes it.
func TestChangeMeetsOthers(t *testing.T) {
	by := func(c alert.Change) func(*testing.T, *Alerts, alert.Occurrence) {
		return func(t *testing.T, s *Alerts, o alert.Occurrence) {
			if _, err := s.Change(t.Context(), refOf(o), c); err != nil {
				t.Error(err)
			}
		}
	}
	eve := alert.Person{Name: "eve@contoso.example"}
	for _, test := range []struct {
		name      string
		meanwhile func(*testing.T, *Alerts, alert.Occurrence)
		want      alert.Status // "" if the row is gone
		conflict  string       // part of the error, "" if there is no conflict
		count     int
		requests  int
	}{
		{"nothing", func(*testing.T, *Alerts, alert.Occurrence) {}, alert.Dismissed, "", 1, 3},
		{"an occurrence", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			put(t, s, occurred(o.Hub.Name, "2", noon.Add(time.Minute)))
		}, alert.Dismissed, "", 2, 6},
		{"another alert on the same day", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			other := occurred(o.Hub.Name, "3", noon)
			other.ID = "00000000-0000-8000-8000-000000000001"
			put(t, s, other)
		}, alert.Dismissed, "", 1, 6},
		{"a person who sets the same", by(alert.Change{Status: alert.Dismissed, Verdict: alert.Benign, Reason: "known", By: eve}), alert.Dismissed, `eve@contoso.example set it to Dismissed at `, 1, 5},
		{"a person who sets another", by(alert.Change{Status: alert.Resolved, Reason: "rotated", By: eve}), alert.Resolved, `("rotated"): nothing was saved`, 1, 5},
		{"a person who notes something", by(alert.Change{Reason: "rotated", By: eve}), alert.Active, `eve@contoso.example changed it at`, 1, 5},
		{"a person who types into a column", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			merge(t, s, o, map[string]any{"Owner": "bob"})
		}, alert.Dismissed, "", 1, 6},
		{"a person who deletes the row", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			if _, err := s.table.client.DeleteEntity(t.Context(), partitionKey(o), alertKey(o.ID), nil); err != nil {
				t.Fatal(err)
			}
		}, "", "", 0, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := open(t, emulator(t).ConnectionString())
			o := occurred("contoso-hub", "1", noon)
			put(t, other, o)
			connection, proxy := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n == 3 {
					test.meanwhile(t, other, o)
				}
				return azurite.Pass
			})
			a, err := again(t, other, connection).Change(t.Context(), refOf(o), setting(alert.Dismissed))
			if got := proxy.Requests(); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
			var conflict *alert.Conflict
			switch {
			case test.want == "":
				if !errors.Is(err, alert.ErrNotFound) || len(list(t, other, alert.Query{})) > 0 {
					t.Errorf("error %v, want that the alert is gone, and it stays so", err)
				}
				return
			case test.conflict != "":
				if !errors.As(err, &conflict) || !strings.Contains(err.Error(), test.conflict) {
					t.Errorf("error %v, want a conflict with %q", err, test.conflict)
				}
			case err != nil || a.Status != test.want || a.Occurrences != test.count:
				t.Errorf("error %v, the alert is %s with %d occurrences, want %s with %d", err, a.Status, a.Occurrences, test.want, test.count)
			}
			if left, _ := find(t, other, refOf(o)); left.Status != test.want || left.Occurrences != test.count {
				t.Errorf("in the table it is %s with %d occurrences, want %s with %d", left.Status, left.Occurrences, test.want, test.count)
			}
			summariesAreExact(t, other)
		})
	}
}

// TestChangeOfWhatWasSeen checks that a person who saw an older state of the alert is
// refused, and that an occurrence which arrived since then is no reason to.
func TestChangeOfWhatWasSeen(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	seen := 0
	put(t, s, occurred("contoso-hub", "2", noon))
	c := setting(alert.InProgress)
	c.Seen = &seen
	if a, err := s.Change(t.Context(), refOf(o), c); err != nil || a.Occurrences != 2 {
		t.Errorf("error %v, alert %+v", err, a)
	}
	c.Status = alert.Resolved
	var conflict *alert.Conflict
	if _, err := s.Change(t.Context(), refOf(o), c); !errors.As(err, &conflict) || conflict.Last.By != bob || conflict.Last.To != alert.InProgress {
		t.Errorf("error %v, want a conflict with the change before", err)
	}
}

// TestDeletedAlertKeepsItsHistory deletes the row of an alert that has a history. The
// event that raises the alert anew, and the changes that follow, find their numbers
// taken.
func TestDeletedAlertKeepsItsHistory(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	change := func(status alert.Status) {
		t.Helper()
		if _, err := s.Change(t.Context(), refOf(o), setting(status)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, o)
	change(alert.Resolved)
	if _, err := s.table.client.DeleteEntity(t.Context(), partitionKey(o), alertKey(o.ID), nil); err != nil {
		t.Fatal(err)
	}
	put(t, s, occurred("contoso-hub", "2", noon))
	merge(t, s, o, map[string]any{"Status": "Resolved"})
	put(t, s, occurred("contoso-hub", "3", noon)) // reopens it
	change(alert.Dismissed)
	entries, err := s.History(t.Context(), refOf(o))
	var numbers []int
	for _, e := range entries {
		numbers = append(numbers, e.Number)
	}
	if a, _ := find(t, s, refOf(o)); err != nil || !slices.Equal(numbers, []int{1, 2, 3}) || a.Changes != 3 || entries[1].Via != viaHandler || entries[1].EventID != "3" {
		t.Errorf("error %v, the history has the numbers %v, and the alert %d changes: want 1, 2, 3 and 3", err, numbers, a.Changes)
	}
}

// TestChangeEndsWithItsContext changes a row that others write all the time.
func TestChangeEndsWithItsContext(t *testing.T) {
	other := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, other, o)
	var writes atomic.Int64
	connection, _ := through(t, func(n int, r *http.Request) azurite.Fault {
		if r.Method != http.MethodGet {
			writes.Add(1)
			merge(t, other, o, map[string]any{"Owner": fmt.Sprint("bob ", n)})
		}
		return azurite.Pass
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := again(t, other, connection).Change(ctx, refOf(o), setting(alert.Resolved))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), other.table.name) || writes.Load() < 3 {
		t.Errorf("after %d writes: error %v, want that the time is up", writes.Load(), err)
	}
	if a, _ := find(t, other, refOf(o)); a.Status != alert.Active {
		t.Errorf("the alert is %s", a.Status)
	}
}

// TestChangeFaults makes each fault in each request of a change, once. One fault
// writes the row and loses the answer. That is not a conflict with oneself.
func TestChangeFaults(t *testing.T) {
	for fault, name := range map[azurite.Fault]string{
		azurite.Drop: "connection breaks", azurite.Lose: "answer is lost", azurite.Busy: "throttled", azurite.Broken: "internal error", azurite.LoseBroken: "internal error after the write",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				clean := open(t, emulator(t).ConnectionString())
				o := occurred("contoso-hub", "1", noon)
				put(t, clean, o)
				var made atomic.Bool
				connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
					if n == at && made.CompareAndSwap(false, true) {
						return fault
					}
					return azurite.Pass
				})
				a, err := again(t, clean, connection).Change(t.Context(), refOf(o), setting(alert.Dismissed))
				left, _ := find(t, clean, refOf(o))
				if err != nil || a.Status != alert.Dismissed || left.Status != alert.Dismissed {
					t.Errorf("fault in request %d: error %v, the alert is %s and in the table %s, want it Dismissed", at, err, a.Status, left.Status)
				}
				if entries, err := clean.History(t.Context(), refOf(o)); err != nil || len(entries) != 1 || left.Changes != 1 {
					t.Errorf("fault in request %d: error %v, %d rows of history, %d changes, want one", at, err, len(entries), left.Changes)
				}
				summariesAreExact(t, clean)
				if !made.Load() {
					return // every request has had the fault
				}
			}
		})
	}
}

// TestChangeRefused checks the error if the identity may read but not write.
func TestChangeRefused(t *testing.T) {
	connection := answering(t, func(body string) int {
		if strings.Contains(body, "Dismissed") {
			return http.StatusForbidden
		}
		return 0
	})
	s := open(t, connection)
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	if _, err := s.Change(t.Context(), refOf(o), setting(alert.Dismissed)); err == nil || !strings.Contains(err.Error(), "change: 403") {
		t.Errorf("error %v, want one that says 403", err)
	}
}
