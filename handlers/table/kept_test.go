package table

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// TestTurns lets two instances write the same alert in turns, so that what each keeps is
// always old. They then read first, and find out now and then that it is still so.
func TestTurns(t *testing.T) {
	connection, proxy := through(t, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	s := open(t, connection)
	instances := []*Alerts{s, again(t, s, connection)}
	event := 0
	next := func(instance *Alerts) {
		t.Helper()
		event++
		put(t, instance, occurred("contoso-hub", fmt.Sprint(event), noon))
	}
	next(instances[0])
	next(instances[1])
	before := proxy.Requests()
	const turns = 4 * afterOthers
	for range turns {
		next(instances[0])
		next(instances[1])
	}
	// A read and a write, and one write in afterOthers that fails.
	if got, most := proxy.Requests()-before, 2*turns*2+2*turns/afterOthers+2; got > most {
		t.Errorf("%d occurrences take %d requests, want at most %d", 2*turns, got, most)
	}
	for range afterOthers + 1 {
		next(instances[0])
	}
	before = proxy.Requests()
	next(instances[0])
	if got := proxy.Requests() - before; got != 1 {
		t.Errorf("when one instance is left, an occurrence takes %d requests, want 1", got)
	}
	rows := list(t, s, alert.Query{Hub: "contoso-hub"})
	if len(rows) != 1 || rows[0].Occurrences != event {
		t.Errorf("%+v, want one alert with %d occurrences", rows, event)
	}
	summariesAreExact(t, s)
}

// TestKeptIsBounded writes more alerts than a process keeps.
func TestKeptIsBounded(t *testing.T) {
	var k kept
	for day := range 3 {
		for n := range mostKept {
			row := newRow(on(occurred("contoso-hub", "1", noon.AddDate(0, 0, day)), fmt.Sprint(n)), noon)
			id := row.SystemAlertId
			k.put(row.PartitionKey, transaction{
				about:  []place{{&pending{id: id}, alertRange}, {nil, evidenceRange}},
				writes: []write{{after: &row}},
			}, []azcore.ETag{"1", "2"})
			if k.alerts > mostKept {
				t.Fatalf("%d alerts are kept, want at most %d", k.alerts, mostKept)
			}
			all := 0
			for _, of := range k.partitions {
				all += len(of.alerts)
			}
			if all != k.alerts || k.partitions[row.PartitionKey].alerts[id].etag != "1" {
				t.Fatalf("%d alerts are kept and %d counted; the last has the ETag %q", all, k.alerts, k.partitions[row.PartitionKey].alerts[id].etag)
			}
		}
	}
	k.forget(partitionOf("contoso-hub", noon.AddDate(0, 0, 2)).String(), 0)
	if k.alerts != 0 {
		t.Errorf("%d alerts are counted after the last partition was forgotten", k.alerts)
	}
}

// TestETagsOfATransaction compares the ETags of a transaction with those of the rows.
func TestETagsOfATransaction(t *testing.T) {
	s := open(t, emulator(t).ConnectionString())
	o := occurred("contoso-hub", "1", noon)
	put(t, s, o)
	of := s.kept.partitions[partitionKey(o)]
	sum, err := s.summary(t.Context(), partitionKey(o))
	if err != nil || of.summary == nil || of.summary.etag != sum.etag {
		t.Errorf("the summary %+v is kept, and the table has the ETag %q (error %v)", of.summary, sum.etag, err)
	}
	for range 2 {
		row, etag, err := s.read(t.Context(), partitionKey(o), o.ID)
		if kept := of.alerts[o.ID]; err != nil || etag == "" || kept.etag != etag || !reflect.DeepEqual(kept.row, row) {
			t.Errorf("kept %+v with %q\ntable %+v with %q, error %v", kept.row, kept.etag, row, etag, err)
		}
		put(t, s, occurred("contoso-hub", "2", noon.Add(time.Minute)))
	}
}
