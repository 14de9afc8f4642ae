package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/table"
)

// archive is a shelf that answers readers, too, and has more alerts than can be written in a
// benchmark: those of one hub and day are written by hubwatch, and are there again for every
// other hub and day, with its names. A partition is copied when somebody asks for a range of
// it. Whoever writes has to write into the partition that hubwatch has written.
type archive struct {
	*shelf
	days   map[string]*strings.Replacer // by partition, from what is written to what it has instead
	first  []archived                   // the partition that was written, as it was then
	copies map[string][]archived        // of first, for the partitions that somebody asked for
}

type archived struct {
	key  string
	text jsontext.Value
}

// Of what hubwatch writes into an archive.
const (
	archiveTable     = "alerts"
	archivePartition = "contoso-hub-0|79739798"
	alertsOfADay     = 1000
)

// startArchive returns an archive of alertsOfADay alerts on each of hubs and days, and its
// connection string.
func startArchive(ctx context.Context, delay time.Duration, hubs, days int) (a *archive, connection string, stop func(), err error) {
	a = &archive{shelf: &shelf{rows: map[string]shelved{}}, days: map[string]*strings.Replacer{}, copies: map[string][]archived{}}
	server := httptest.NewServer(a)
	connection = "DefaultEndpointsProtocol=http;AccountName=contoso;AccountKey=AAAA;TableEndpoint=" + server.URL + "/contoso;"
	account, err := table.Open(table.Settings{ConnectionString: connection})
	if err != nil {
		server.Close()
		return nil, "", nil, err
	}
	occurrences := make([]alert.Occurrence, alertsOfADay)
	for n := range occurrences {
		occurrences[n] = occurrence(n, 1, false)
	}
	recorded, err := account.Alerts(archiveTable).Record(ctx, occurrences...)
	for n, r := range recorded {
		if err == nil && r.Outcome != alert.New {
			err = fmt.Errorf("alert %d is %v: %w", n, r.Outcome, r.Err)
		}
	}
	if err != nil {
		server.Close()
		return nil, "", nil, err
	}
	first := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	index := a.rows[archiveTable+" !days 79739798|contoso-hub-0"]
	for hub := range hubs {
		for day := range days {
			date := first.AddDate(0, 0, -day)
			inverted := fmt.Sprint(99999999 - (date.Year()*10000 + int(date.Month())*100 + date.Day()))
			name := fmt.Sprint("contoso-hub-", hub)
			replacer := strings.NewReplacer("contoso-hub-0", name, "79739798", inverted, first.Format(time.DateOnly), date.Format(time.DateOnly))
			if partition := name + "|" + inverted; partition != archivePartition {
				a.days[partition] = replacer
			}
			a.rows[archiveTable+" !days "+inverted+"|"+name] = shelved{index.etag, [][]byte{[]byte(replacer.Replace(string(index.bodies[0])))}}
		}
	}
	a.first, err = a.written(archiveTable, archivePartition)
	a.delay = delay
	return a, connection, server.Close, err
}

// row returns a row, also of a partition that is not copied.
func (a *archive) row(partition, key string) (shelved, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	replacer := a.days[partition]
	if replacer == nil {
		row, ok := a.rows[archiveTable+" "+partition+" "+key]
		return row, ok
	}
	i, ok := find(a.first, key)
	if !ok {
		return shelved{}, false
	}
	return shelved{etag: `W/"0"`, bodies: [][]byte{[]byte(replacer.Replace(string(a.first[i].text)))}}, true
}

// find returns where the row with a key is, or would be.
func find(rows []archived, key string) (int, bool) {
	return slices.BinarySearchFunc(rows, key, func(r archived, key string) int { return strings.Compare(r.key, key) })
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		a.shelf.ServeHTTP(w, r)
		return
	}
	a.requests.Add(1)
	time.Sleep(a.delay)
	if m := point.FindStringSubmatch(r.URL.Path); m != nil {
		row, ok := a.row(m[2], m[3])
		row.answer(w, ok)
		return
	}
	m := span.FindStringSubmatch(r.URL.Query().Get("$filter"))
	if m == nil && len(a.days) == 0 { // whether the table has alerts yet
		_, _ = io.WriteString(w, `{"value":[]}`)
		return
	}
	if m == nil {
		refuse(w, http.StatusNotImplemented, "NotImplemented", 0)
		return
	}
	from := m[2]
	if next, err := base64.URLEncoding.DecodeString(r.URL.Query().Get("NextRowKey")); err == nil && len(next) > 0 {
		from = string(next)
	}
	before := m[4]
	if m[3] == "le" {
		before += "\x00"
	}
	rows, err := a.between(m[1], from, before)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "InternalError", 0)
		return
	}
	if len(rows) > 1000 { // https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
		w.Header().Set("x-ms-continuation-NextPartitionKey", base64.URLEncoding.EncodeToString([]byte(m[1])))
		w.Header().Set("x-ms-continuation-NextRowKey", base64.URLEncoding.EncodeToString([]byte(rows[1000].key)))
		rows = rows[:1000]
	}
	answerRows(w, rows, nil)
}

// between returns the rows of a partition between two keys, in order. No second key is the end.
func (a *archive) between(partition, from, to string) (rows []archived, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if replacer := a.days[partition]; replacer == nil {
		if rows, err = a.written(archiveTable, partition); err != nil {
			return nil, err
		}
	} else if rows = a.copies[partition]; rows == nil {
		for _, row := range a.first {
			rows = append(rows, archived{row.key, jsontext.Value(replacer.Replace(string(row.text)))})
		}
		a.copies[partition] = rows
	}
	begin, _ := find(rows, from)
	end := len(rows)
	if to != "" {
		end, _ = find(rows, to)
	}
	return rows[begin:max(begin, end)], nil
}
