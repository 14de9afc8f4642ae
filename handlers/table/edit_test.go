package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// TestChange changes a status step by step.
func TestChange(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("Contoso-Hub", "1", noon)
	put(t, s, o)
	merge(t, s, o, map[string]any{"Owner": "bob"})
	row := partitionKey(o) + " " + alertKey(o.ID)
	for _, step := range []struct {
		change alert.Change
		has    string // before, as it stands in the row; "" is as the last step left it
		want   alert.Status
		// conflict is whether the change is refused.
		conflict bool
	}{
		{alert.Change{Status: alert.InProgress, From: alert.Active}, "", alert.InProgress, false},
		{alert.Change{Status: alert.Resolved, From: alert.Active}, "", alert.InProgress, true},
		{alert.Change{Status: alert.Resolved}, "", alert.Resolved, false},
		{alert.Change{Status: alert.Resolved}, "", alert.Resolved, false},
		{alert.Change{Status: alert.Resolved, From: alert.Active}, "", alert.Resolved, true},
		{alert.Change{Status: alert.Resolved, From: "RESOLVED"}, "", alert.Resolved, false},
		{alert.Change{Status: "dismissed", From: "resolved"}, "", alert.Dismissed, false},
		{alert.Change{Status: alert.Active, From: alert.Dismissed}, "dISMISSED", alert.Active, false},
		{alert.Change{Status: alert.Active, From: alert.Active}, "active", alert.Active, false},
		{alert.Change{Status: alert.Active, From: alert.Active}, "under review", "under review", true},
		{alert.Change{Status: alert.Resolved, From: "Under Review"}, "under review", alert.Resolved, false},
	} {
		if step.has != "" {
			merge(t, s, o, map[string]any{"Status": step.has})
		}
		before := dump(t, s.table)
		found, _ := find(t, s, refOf(o))
		a, err := s.Change(t.Context(), refOf(o), step.change)
		want := maps.Clone(before[row])
		if want["Status"] = string(step.want); step.conflict {
			var conflict *alert.Conflict
			if !errors.As(err, &conflict) || *conflict != (alert.Conflict{Ref: refOf(o), Want: step.change.From, Has: step.want}) {
				t.Errorf("%+v: error %v, want a conflict with %s", step.change, err, step.want)
			}
		} else {
			found.Status = step.want
			if diff := cmp.Diff(found, a); err != nil || diff != "" {
				t.Errorf("%+v: error %v, alert (-want +got):\n%s", step.change, err, diff)
			}
		}
		before[row] = want
		if diff := cmp.Diff(before, dump(t, s.table)); diff != "" {
			t.Errorf("%+v: rows (-want +got):\n%s", step.change, diff)
		}
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
		want     string
		notFound bool
	}{
		{"a status that is none", ref, "Closed", `status "Closed": want Active, InProgress, Resolved or Dismissed`, false},
		{"no status", ref, "", `status ""`, false},
		{"no hub", alert.Ref{Day: ref.Day, ID: ref.ID}, alert.Resolved, "<hub>/<yyyy-mm-dd>/<id>", false},
		{"no day", alert.Ref{Hub: ref.Hub, ID: ref.ID}, alert.Resolved, "<hub>/<yyyy-mm-dd>/<id>", false},
		{"another day", alert.Ref{Hub: ref.Hub, Day: ref.Day.AddDate(0, 0, 1), ID: ref.ID}, alert.Resolved, "contoso-hub/2026-02-02/" + ref.ID, true},
		{"a hub that is a query", alert.Ref{Hub: "x' or '1' eq '1", Day: ref.Day, ID: ref.ID}, alert.Resolved, "there is no such alert", true},
		{"an id that is a query", alert.Ref{Hub: ref.Hub, Day: ref.Day, ID: "x' or '1' eq '1"}, alert.Resolved, "there is no such alert", true},
	} {
		_, err := s.Change(t.Context(), test.ref, alert.Change{Status: test.status})
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, alert.ErrNotFound) != test.notFound {
			t.Errorf("%s: error %v, want %q in it, not found: %v", test.name, err, test.want, test.notFound)
		}
	}
	if diff := cmp.Diff(before, dump(t, s.table)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestChangeMeetsOthers lets something happen to the row between the request that
// reads it and the one that writes it.
func TestChangeMeetsOthers(t *testing.T) {
	for _, test := range []struct {
		name      string
		meanwhile func(*testing.T, *Alerts, alert.Occurrence)
		from      alert.Status
		want      alert.Status // "" if the row is gone
		conflict  bool
		count     int
		requests  int
	}{
		{"an occurrence", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			put(t, s, occurred(o.Hub.Name, "2", noon.Add(time.Minute)))
		}, alert.Active, alert.Resolved, false, 2, 4},
		{"a person who sets the same", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			merge(t, s, o, map[string]any{"Status": "resolved"})
		}, alert.Active, alert.Resolved, false, 1, 3},
		{"a person who sets another", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			merge(t, s, o, map[string]any{"Status": "Dismissed"})
		}, alert.Active, alert.Dismissed, true, 1, 3},
		{"a person who sets another, and any will do", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			merge(t, s, o, map[string]any{"Status": "Dismissed"})
		}, "", alert.Resolved, false, 1, 4},
		{"a person who writes a column", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			merge(t, s, o, map[string]any{"Owner": "bob"})
		}, alert.Active, alert.Resolved, false, 1, 4},
		{"a person who deletes the row", func(t *testing.T, s *Alerts, o alert.Occurrence) {
			if _, err := s.table.client.DeleteEntity(t.Context(), partitionKey(o), alertKey(o.ID), nil); err != nil {
				t.Fatal(err)
			}
		}, alert.Active, "", false, 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := open(t, emulator(t).ConnectionString())
			o := occurred("contoso-hub", "1", noon)
			put(t, other, o)
			connection, proxy := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n == 2 {
					test.meanwhile(t, other, o)
				}
				return azurite.Pass
			})
			a, err := again(t, other, connection).Change(t.Context(), refOf(o), alert.Change{Status: alert.Resolved, From: test.from})
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
			case test.conflict:
				if !errors.As(err, &conflict) || conflict.Has != test.want {
					t.Errorf("error %v, want a conflict with %s", err, test.want)
				}
			case err != nil || a.Status != test.want || a.Occurrences != test.count:
				t.Errorf("error %v, the alert is %s with %d occurrences, want %s with %d", err, a.Status, a.Occurrences, test.want, test.count)
			}
			if left, _ := find(t, other, refOf(o)); left.Status != test.want || left.Occurrences != test.count {
				t.Errorf("in the table it is %s with %d occurrences, want %s with %d", left.Status, left.Occurrences, test.want, test.count)
			}
		})
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
	_, err := again(t, other, connection).Change(ctx, refOf(o), alert.Change{Status: alert.Resolved})
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
				a, err := again(t, clean, connection).Change(t.Context(), refOf(o), alert.Change{Status: alert.Dismissed, From: alert.Active})
				left, _ := find(t, clean, refOf(o))
				if err != nil || a.Status != alert.Dismissed || left.Status != alert.Dismissed {
					t.Errorf("fault in request %d: error %v, the alert is %s and in the table %s, want it Dismissed", at, err, a.Status, left.Status)
				}
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
	if _, err := s.Change(t.Context(), refOf(o), alert.Change{Status: alert.Dismissed}); err == nil || !strings.Contains(err.Error(), "change: 403") {
		t.Errorf("error %v, want one that says 403", err)
	}
}
