package reliability

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// nobody takes notices, of which there are none.
type nobody struct{ notices int }

func (n *nobody) Publish(_ context.Context, notices []verdict.Notice) error {
	n.notices += len(notices)
	return nil
}

// expiring are the messages of a hub whose devices all let their token expire and connect
// again, from begin on. A renewal is three records: the end of the session, its close by the
// client, and the new connection. A message has a hundred records, or those of a minute. It comes
// 30 seconds to 5 minutes late, one in two hundred up to an hour, and one in a hundred twice.
func expiring(r *rand.Rand, devices int, begin time.Time, seconds int64) (messages []logMessage) {
	type record struct {
		second int64
		text   string
	}
	var log []record
	for d := range devices {
		add := func(second int64, operation, level, result string) {
			log = append(log, record{second, fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
				`"operationName":%q,"category":"Connections","level":%q,%s"properties":"{\"deviceId\":\"pump-%d\",\"protocol\":\"Mqtt\",\"authType\":\"{\\\"scope\\\":\\\"device\\\",\\\"type\\\":\\\"sas\\\"}\",\"maskedIpAddress\":\"192.0.2.XXX\"}"}`,
				begin.Add(time.Duration(second)*time.Second).Format(time.RFC3339), operation, level, result, d)})
		}
		const life = 4200 // an hour, and the ten minutes after which the hub ends the session
		for at := r.Int64N(life); at < seconds; at += life + r.Int64N(60) {
			add(at, "deviceDisconnect", "Error", `"resultType":"401003","resultDescription":"IotHubUnauthorized",`)
			add(at, "deviceDisconnect", "Error", `"resultType":"404104","resultDescription":"DeviceConnectionClosedRemotely",`)
			add(at+1+r.Int64N(8), "deviceConnect", "Information", "")
		}
	}
	slices.SortStableFunc(log, func(a, b record) int { return cmp.Compare(a.second, b.second) })
	for len(log) > 0 {
		var records []string
		n := 0
		for ; n < len(log) && n < 100 && log[n].second < log[0].second+60; n++ {
			records = append(records, log[n].text)
		}
		m := logMessage{at: log[n-1].second + 30 + r.Int64N(270), partition: fmt.Sprint(r.IntN(4)), text: []byte(`{"records":[` + strings.Join(records, ",") + `]}`)}
		log = log[n:]
		if r.IntN(200) == 0 {
			m.at += 1800 + r.Int64N(1800)
		}
		messages = append(messages, m)
		if r.IntN(100) == 0 {
			m.at += r.Int64N(600)
			messages = append(messages, m)
		}
	}
	slices.SortStableFunc(messages, func(a, b logMessage) int { return cmp.Compare(a.at, b.at) })
	return messages
}

// assumedRenewal reads how many table requests of a renewal docs/cost.md assumes.
func assumedRenewal(t *testing.T) float64 {
	t.Helper()
	page, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\| table requests of a renewal \| ([\d.]+),`).FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/cost.md assumes nothing of a renewal")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// logMessage is a message of the log, and when and where it comes.
type logMessage struct {
	at        int64 // seconds after the beginning
	partition string
	text      []byte
}

// TestRequestsOfARenewal counts the requests to the account of the state for half an hour of a hub
// of ten thousand devices that all let their token expire, when verdicts of all levels are due.
// Each message is an execution of its own, as it is where messages come one by one. The clock of
// the log, which takes as many requests each minute whatever the log has, is counted apart as well.
func TestRequestsOfARenewal(t *testing.T) {
	setUp(t)
	const begin, end = 110 * 60, 140 * 60
	var requests, minutely atomic.Int64
	target, _, _ := strings.Cut(shared.azurite.Endpoint(), "/devstoreaccount1")
	proxy := azurite.StartFaultyProxy(target, func(int, *http.Request) azurite.Fault {
		requests.Add(1)
		return azurite.Pass
	})
	t.Cleanup(proxy.Close)
	account, err := table.Open(table.Settings{ConnectionString: strings.Replace(shared.azurite.ConnectionString(), target, proxy.URL, 1)})
	if err != nil {
		t.Fatal(err)
	}
	state := account.State(fmt.Sprint("renewals", shared.tables.Add(1)))
	start := time.Date(2026, 2, 1, 6, 0, 0, 0, time.UTC)
	now := start
	clock := func() time.Time { return now }
	settings, told := verdict.Defaults(), &nobody{}
	stager := verdict.Stager{Settings: settings, Store: state, Now: clock}
	noter := verdict.Noter{Store: state, Now: clock}
	apart := func(do func() error) { // what happens each minute
		before := requests.Load()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		minutely.Add(requests.Load() - before)
	}
	messages := expiring(rand.New(rand.NewPCG(1, 7)), 10_000, start, end)
	staged, sent := 0, 0
	for second := int64(0); second < end; second += 60 {
		if second == begin {
			requests.Store(0)
			minutely.Store(0)
			staged, sent = 0, 0
		}
		for len(messages) > 0 && messages[0].at <= second {
			now = start.Add(time.Duration(messages[0].at) * time.Second)
			staging := relay.Stage([][]byte{messages[0].text}, settings, now)
			if len(staging.Unreadable) > 0 {
				t.Fatal(staging.Unreadable[0].Err)
			}
			staged, sent = staged+staging.Expiries, sent+1
			if err := stager.Stage(t.Context(), staging.Rows, staging.Marks); err != nil {
				t.Fatal(err)
			}
			apart(func() error { return noter.Note(t.Context(), messages[0].partition, now) })
			messages = messages[1:]
		}
		now = start.Add(time.Duration(second) * time.Second)
		judge := verdict.Judge{Settings: settings, Store: state, Publisher: told}
		apart(func() (err error) {
			judge.Clock, err = (verdict.Clock{Store: state}).Tick(t.Context(), now)
			return err
		})
		if _, err := judge.Run(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	all, apartly, n := float64(requests.Load()), float64(minutely.Load()), float64(staged)
	t.Logf("%d renewals in %d messages: %.0f requests, %.4f a renewal, of which %.4f for messages; with %.1f each minute for the clock %.4f", staged, sent, all-apartly, (all-apartly)/n, float64(sent)/n, apartly/((end-begin)/60), all/n)
	if staged < 4000 || told.notices > 0 {
		t.Fatalf("%d renewals and %d notices: this is not what is to be counted", staged, told.notices)
	}
	if each := all / n; each > 0.1 {
		t.Errorf("%.4f requests a renewal with the clock of the log, want at most 0.1", each)
	}
	// docs/cost.md has the messages in a line of their own.
	if each := (all-apartly)/n - float64(sent)/n; each > assumedRenewal(t) {
		t.Errorf("%.4f requests a renewal beside its messages, docs/cost.md has %.2f", each, assumedRenewal(t))
	}
}
