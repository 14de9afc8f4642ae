package table

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
)

// large is a stand-in for a Table service that holds more rows than a test can write.
// It answers the requests that read, as the service does: from one range of keys in one
// partition, 1,000 rows at a time
// (https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination).
type large struct {
	partitions map[string][]largeRow // in order of their keys
	evidence   int                   // rows of each alert
	requests   atomic.Int64
	walked     atomic.Int64 // rows in the ranges of the requests
}

type largeRow struct {
	key    string
	entity jsontext.Value
}

var (
	largePoint = regexp.MustCompile(`\(PartitionKey='(.*)',RowKey='(.*)'\)$`)
	largeRange = regexp.MustCompile(`^PartitionKey eq '([^']*)' and RowKey ge '([^']*)' and RowKey lt '([^']*)'(?: and Hub eq '([^']*)')?$`)
)

// rows returns the rows of a partition between two keys.
func (l *large) rows(partition, from, to string) []largeRow {
	if id, ok := strings.CutPrefix(from, evidenceRange+separator); ok {
		made := make([]largeRow, l.evidence)
		for i := range made {
			made[i].key = fmt.Sprintf("e|%s%032x", id, i)
			made[i].entity = fmt.Appendf(nil, `{"PartitionKey":%q,"RowKey":%q,"EventTimeUtc":"2026-02-01T00:00:00Z"}`, partition, made[i].key)
		}
		return made
	}
	all := l.partitions[partition]
	at := func(key string) int {
		i, _ := slices.BinarySearchFunc(all, key, func(r largeRow, key string) int { return strings.Compare(r.key, key) })
		return i
	}
	return all[at(from):max(at(to), at(from))]
}

func (l *large) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	w.Header().Set("Content-Type", "application/json;odata=minimalmetadata")
	if m := largePoint.FindStringSubmatch(r.URL.Path); m != nil {
		l.walked.Add(1)
		all := l.partitions[m[1]]
		i, ok := slices.BinarySearchFunc(all, m[2], func(r largeRow, key string) int { return strings.Compare(r.key, key) })
		if !ok {
			w.Header().Set("x-ms-error-code", "ResourceNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", `W/"1"`)
		_, _ = w.Write(all[i].entity)
		return
	}
	m := largeRange.FindStringSubmatch(r.URL.Query().Get("$filter"))
	if m == nil {
		w.WriteHeader(http.StatusNotImplemented) // it would walk through all rows
		return
	}
	from := m[2]
	if next := r.URL.Query().Get("NextRowKey"); next != "" {
		text, _ := base64.URLEncoding.DecodeString(next)
		from = string(text)
	}
	rows := l.rows(m[1], from, m[3])
	if len(rows) > 1000 {
		w.Header().Set("x-ms-continuation-NextPartitionKey", base64.URLEncoding.EncodeToString([]byte(m[1])))
		w.Header().Set("x-ms-continuation-NextRowKey", base64.URLEncoding.EncodeToString([]byte(rows[1000].key)))
		rows = rows[:1000]
	}
	l.walked.Add(int64(len(rows)))
	var page struct {
		Value []jsontext.Value `json:"value"`
	}
	for _, row := range rows {
		if m[4] == "" || strings.HasSuffix(row.key, separator+m[4]) {
			page.Value = append(page.Value, row.entity)
		}
	}
	text, err := json.Marshal(page)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text)
}

// TestRequestsOfALargeTable reads a table of 100,000 alerts with a million rows of
// evidence, and counts the requests and the rows that the service walks through. With the
// race detector, which makes it ten times as slow, there are a tenth of these rows: make
// test runs it without as well.
func TestRequestsOfALargeTable(t *testing.T) {
	const (
		hubs, days = 10, 30
		alerts     = 100_000 / slowdown
		stormy     = 20_000 / slowdown // of them, on one hub and day
		calm       = (alerts - stormy) / (hubs*days - 1)
		rest       = (alerts - stormy) % (hubs*days - 1)
		openDays   = 5 // hubs and days with an alert that is not closed
		evidence   = 10
	)
	l := &large{partitions: map[string][]largeRow{}, evidence: evidence}
	add := func(partition, key string, row any) {
		t.Helper()
		entity, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		l.partitions[partition] = append(l.partitions[partition], largeRow{key, entity})
	}
	var some alert.Occurrence
	n := 0
	for day := range days {
		for hub := range hubs {
			o := occurred(fmt.Sprint("hub", hub), "1", noon.AddDate(0, 0, -day))
			p := partitionOf(o.Hub.Name, o.Event.Time)
			s := summary{key: key{p.String(), summaryKey}, counts: map[string]map[alert.Status]int{}}
			many := calm
			if day == 0 && hub == 0 {
				many = stormy
			} else if n < rest {
				many++
				n++
			}
			row := newRow(o, noon)
			for i := range many {
				o := on(o, strconv.Itoa(i))
				row.RowKey, row.SystemAlertId, row.CompromisedEntity = alertKey(o.ID), o.ID, o.Entity.Name
				if row.Status = string(alert.Resolved); i == 0 && day*hubs+hub < openDays {
					row.Status = string(alert.Active)
				}
				s.count(&row, 1)
				entity, err := row.entity()
				if err != nil {
					t.Fatal(err)
				}
				l.partitions[p.String()] = append(l.partitions[p.String()], largeRow{row.RowKey, entity})
				some = o
			}
			entity, err := s.entity()
			if err != nil {
				t.Fatal(err)
			}
			l.partitions[p.String()] = append(l.partitions[p.String()], largeRow{summaryKey, entity})
			add(indexPartition, p.indexKey(), indexed{key{indexPartition, p.indexKey()}, p.hub})
		}
	}
	add(indexPartition, indexComplete, key{indexPartition, indexComplete})
	total := 0
	for _, rows := range l.partitions {
		slices.SortFunc(rows, func(a, b largeRow) int { return strings.Compare(a.key, b.key) })
		total += len(rows)
	}
	if want := alerts + 2*hubs*days + 1; total != want {
		t.Fatalf("the table has %d rows without the evidence, want %d", total, want)
	}
	server := httptest.NewServer(l)
	defer server.Close()
	s := account(t, "DefaultEndpointsProtocol=http;AccountName=contoso;AccountKey=AAAA;TableEndpoint="+server.URL+"/contoso;").Alerts("alerts")

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
	since := noon.AddDate(0, 0, 1-days)
	// 2 are whether the index is complete, and the index. The stormy day is read as
	// sixteen ranges, each in pages of 1,000.
	const index, storm = 2, 16 * ((stormy + 15_999) / 16_000)
	for _, test := range []struct {
		what           string
		do             func() (int, error)
		n              int
		requests, rows int64
	}{
		{"overview: the numbers of all days", func() (n int, err error) {
			for sum, err := range s.Summaries(t.Context(), alert.Query{Since: since}) {
				if err != nil {
					return n, err
				}
				for _, of := range sum.Counts["IoT_CertificateSuccessfullyAddedToHub"] {
					n += of
				}
			}
			return n, nil
		}, alerts, index + hubs*days, 1 + 2*hubs*days},
		{"the newest 100", drawn(alert.Query{}, 100), 100, index + 2*hubs - 1 + storm, 1 + hubs*days + hubs + stormy + (hubs-1)*(calm+1)},
		{"the newest 100 of a hub with a storm", drawn(alert.Query{Hub: "hub0"}, 100), 100, index + 1 + storm, 1 + hubs*days + 1 + stormy},
		{"open alerts", drawn(alert.Query{Statuses: []alert.Status{alert.Active, alert.InProgress}}, -1), openDays, index + hubs*days + (openDays - 1) + storm, 1 + 2*hubs*days + stormy + (openDays-1)*(calm+1)},
		{"of a type that is none", drawn(alert.Query{Type: "IoT_Cert_Expired"}, -1), 0, index + hubs*days, 1 + 2*hubs*days},
		{"of one certificate of a hub", drawn(alert.Query{Hub: "hub9", Entity: "7"}, -1), days, index + 2*days, -1},
		{"one by its reference, with evidence and history", func() (n int, err error) {
			_, found, err := s.Find(t.Context(), refOf(some))
			if err != nil {
				return 0, err
			}
			for _, err := range found {
				if err != nil {
					return n, err
				}
				n++
			}
			history, err := s.History(t.Context(), refOf(some))
			return n + len(history), err
		}, evidence, 3, 1 + evidence},
		{"one by its id alone", func() (int, error) {
			_, _, err := s.Find(t.Context(), alert.Ref{ID: some.ID})
			return 1, err
		}, 1, index + hubs*days, 1 + 2*hubs*days},
	} {
		l.requests.Store(0)
		l.walked.Store(0)
		start := time.Now()
		n, err := test.do()
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		requests, walked := l.requests.Load(), l.walked.Load()
		t.Logf("%s: %d requests, %d rows, %v", test.what, requests, walked, time.Since(start).Round(time.Millisecond))
		if n != test.n || requests != test.requests || test.rows >= 0 && walked != test.rows {
			t.Errorf("%s: %d in %d requests and %d rows, want %d in %d and %d", test.what, n, requests, walked, test.n, test.requests, test.rows)
		}
	}
}
