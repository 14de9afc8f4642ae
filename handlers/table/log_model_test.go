package table

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/verdict"
)

// The tests of this file run the code that is deployed, from a message of the Connections
// log to the row of an alert: the functions of the relay, of the verdicts and of the
// detectors (package judge), which read records (package relay), stage them, derive verdicts
// (package verdict), and keep all of it in State and Alerts. Modelled are only the tables,
// below the SDK (service), the topic, the event hub that brings messages again, and the clock.

// way is one hub with its log, its topic and its instances of the app.
type way struct {
	s         *service
	settings  verdict.Settings
	detectors []detector.Detector
	now       clock
	speed     time.Duration   // by how much the clock goes on at a step, at most
	held      bool            // whether something was held back at some step
	ahead     []time.Duration // by how much the clock of each instance is
	repeat    int             // how often an event that was delivered comes once more, of a hundred

	messages []string   // of the event hub, which come until they are acknowledged
	events   []delivery // of the topic, which come until they are acknowledged
}

// clock is a time that the tests set.
type clock struct{ atomic.Int64 }

func (c *clock) at() time.Time       { return time.Unix(0, c.Load()).UTC() }
func (c *clock) set(at time.Time)    { c.Store(at.UnixNano()) }
func (c *clock) add(d time.Duration) { c.Add(int64(d)) }

// delivery is an event on its way to the function of a detector.
type delivery struct {
	to  detector.Detector
	raw jsontext.Value
}

// eventsHost stands for the topic in the trials.
const eventsHost = "contoso-topic.example"

const trialQuarantine = "quarantine"

func newWay(s *service, settings verdict.Settings, now time.Time) *way {
	w := &way{s: s, settings: settings, detectors: detector.All}
	w.now.set(now)
	s.published, s.now = w.publish, w.now.at
	s.stepped = func() {
		if w.speed > 0 && s.r.IntN(3) == 0 {
			w.now.add(time.Duration(s.r.Int64N(int64(w.speed))))
		}
		w.held = w.held || w.holds()
	}
	for i := range 2 {
		w.ahead = append(w.ahead, time.Duration(s.r.Int64N(int64(time.Minute))))
		s.start(i)
	}
	return w
}

// publish is what the topic does with a request: it keeps each event for each function whose
// subscription asks for its type.
func (w *way) publish(body []byte) {
	events, err := event.Split(body)
	if err != nil {
		w.s.t.Error(err)
	}
	for _, raw := range events {
		e, err := event.Decode(raw)
		if err != nil {
			w.s.t.Error(err)
		}
		for _, d := range w.detectors {
			if slices.ContainsFunc(d.On.EventTypes, func(of string) bool { return strings.EqualFold(of, e.Type) }) {
				w.events = append(w.events, delivery{d, slices.Clone(raw)})
			}
		}
	}
}

// Publish implements judge.Topic: a request for each two events, at which a process may crash
// like at any other.
func (p *process) Publish(ctx context.Context, events [][]byte) (map[int]error, error) {
	for part := range slices.Chunk(events, 2) {
		body := slices.Concat([]byte("["), bytes.Join(part, []byte(",")), []byte("]"))
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+eventsHost, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		response, err := p.Do(request)
		if err != nil {
			return nil, err
		}
		_ = response.Body.Close()
	}
	return nil, nil
}

// newInstance returns the functions of the app, as package app puts them together.
func newInstance(of *Account, names string, settings verdict.Settings, detectors []detector.Detector, topic judge.Topic, teller alert.Teller, now func() time.Time) judge.Judge {
	state, alerts := of.State(names), of.Alerts(names+trialAlerts)
	failures := alerts.Failures()
	counts := of.Counts(names, failures, nil, teller)
	alerts.now, failures.now, counts.now = now, now, now
	log := judge.NewLogs(settings, state, topic)
	log.Now, log.Stager.Now, log.Noter, log.Wanted = now, now, nil, judge.Wanted(detectors)
	return judge.Judge{
		Alerts: alerts, Failures: failures, Quarantine: of.Quarantine(names + trialQuarantine), Logs: log, Counter: counts, Windows: counts, Teller: teller,
	}
}

// app returns the app as it runs in a process.
func (w *way) app(p *process) judge.Judge {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if p.memory == nil {
		j := newInstance(p.account(), "", w.settings, w.detectors, p, p, func() time.Time { return w.now.at().Add(w.ahead[p.number]) })
		j.Logs.Wait = func(_ context.Context, d time.Duration) error { w.now.add(d); return nil }
		p.memory = j
	}
	return p.memory.(judge.Judge)
}

// relayed is an invocation of the relay with a batch of messages: a string that holds an array of
// strings, as the host writes it.
func relayed(messages ...string) host.Invocation {
	list, err := json.Marshal(messages)
	if err == nil {
		list, err = json.Marshal(string(list))
	}
	if err != nil {
		panic(err) // a string is always JSON
	}
	return host.Invocation{Function: judge.RelayName, Data: list}
}

// relay is the function of the relay, with a batch of messages.
func (w *way) relay(p *process, messages ...string) error {
	_, err := w.app(p).Relay(context.Background(), relayed(messages...))
	return err
}

// pass is the function of the timer.
func (w *way) pass(p *process) error {
	_, err := w.app(p).Verdicts(context.Background(), host.Invocation{Function: judge.VerdictsName})
	return err
}

// detect is the function of a detector.
func (w *way) detect(p *process, d delivery) error {
	_, err := w.app(p).Detect(d.to)(context.Background(), host.Invocation{Function: d.to.Name, Data: d.raw})
	return err
}

// deliver takes an event out of the topic, any of them.
func (w *way) deliver() *task {
	i := w.s.r.IntN(len(w.events))
	d := w.events[i]
	w.events = slices.Delete(w.events, i, i+1)
	return &task{
		do: func(p *process) error { return w.detect(p, d) },
		ended: func(ok bool) {
			if !ok || w.s.r.IntN(100) < w.repeat {
				w.events = append(w.events, d)
			}
		},
	}
}

// flow lets the instances relay the messages in batches of some, in order or not, while the
// timer runs a number of times, and the detectors get what is published.
func (w *way) flow(most, passes int, ordered bool) {
	r := w.s.r
	w.s.run(func() *task {
		switch choice := r.IntN(3); {
		case choice == 0 && len(w.events) > 0:
			return w.deliver()
		case choice == 1 && passes > 0 && r.IntN(1+len(w.messages)) < 2:
			passes--
			return &task{do: w.pass, ended: func(bool) {}}
		case len(w.messages) > 0:
			if !ordered {
				r.Shuffle(len(w.messages), func(i, j int) { w.messages[i], w.messages[j] = w.messages[j], w.messages[i] })
			}
			n := min(1+r.IntN(most), len(w.messages))
			batch := slices.Clone(w.messages[:n])
			w.messages = slices.Delete(w.messages, 0, n)
			return &task{
				do: func(p *process) error { return w.relay(p, batch...) },
				ended: func(ok bool) {
					if !ok {
						w.messages = append(w.messages, batch...)
					}
				},
			}
		}
		return nil
	})
}

// settle lets the time of every verdict come, and the timer run until nothing is marked and
// nothing is in the topic.
func (w *way) settle() {
	w.now.add(5 * time.Hour) // records of a trial are of two hours
	for round := 0; w.marks()+len(w.events)+len(w.messages) > 0; round++ {
		if round == 100 {
			w.s.t.Errorf("%d marks, %d events and %d messages stay", w.marks(), len(w.events), len(w.messages))
			return
		}
		due := w.marks() > 0
		w.s.run(func() *task {
			switch {
			case due:
				due = false
				return &task{do: w.pass, ended: func(bool) {}}
			case len(w.events) > 0:
				return w.deliver()
			}
			return nil
		})
	}
}

// holds reports whether some verdict row says that something is held back.
func (w *way) holds() bool {
	for name, rows := range w.s.tables {
		if strings.HasPrefix(name, "verdicts") {
			for _, row := range rows {
				if row["Held"] != nil {
					return true
				}
			}
		}
	}
	return false
}

// marks returns how many marks there are.
func (w *way) marks() (n int) {
	for _, table := range w.s.tables {
		for k := range table {
			if k.PartitionKey == openPartition {
				n++
			}
		}
	}
	return n
}

// logged is a record of the Connections log.
type logged struct {
	device int
	at     int64 // second of Unix time
	from   int   // the network, 0 for none
	what   what
	n      int // makes records different that are otherwise the same
}

// what is what a record tells.
type what int

const (
	connected what = iota // a session began
	expired               // a session ended, since its token had expired
	badToken              // refused: the signature is invalid
	oldToken              // refused: the token that was offered had expired
	badCert               // refused: the thumbprint does not match
	unknown               // refused: the log does not tell why
)

// texts are what the service says.
var texts = map[what]string{
	badToken: "The specified SAS token has an invalid signature.", oldToken: "The specified SAS token is expired", badCert: "Thumbprint does not match configuration",
	unknown: "IotHubUnauthorized",
}

// String returns the record as Azure Monitor writes it.
func (l logged) String() string {
	properties := fmt.Sprintf(`{"deviceId":"dev-%d","protocol":"Mqtt","sdkVersion":"%d"`, l.device, l.n)
	if l.from > 0 {
		properties += fmt.Sprintf(`,"maskedIpAddress":"203.0.%d.XXX"`, l.from)
	}
	operation, result := "deviceConnect", ""
	switch {
	case l.what == expired:
		operation, result = "deviceDisconnect", `,"level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized"`
		properties += `,"authType":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}"`
	case l.what != connected:
		result = fmt.Sprintf(`,"level":"Error","resultType":"401003","resultDescription":%q`, texts[l.what])
	}
	quoted, _ := jsontext.AppendQuote(nil, properties+"}") // an error would say that characters were replaced
	return fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"category":"Connections","operationName":%q%s,"properties":%s}`, time.Unix(l.at, 0).UTC().Format(time.RFC3339), operation, result, quoted)
}

// message returns a message with records.
func message(records ...logged) string {
	var texts []string
	for _, l := range records {
		texts = append(texts, l.String())
	}
	return `{"records":[` + strings.Join(texts, ",") + `]}`
}

// alarmed is what an alert is about.
type alarmed struct {
	Day, Type, Entity string
}

// want is the definition of all alerts with how often each occurred, by brute force over the set
// of records. It shares nothing with the code but the settings.
func (w *way) want(records []logged) map[alarmed]int {
	set := map[logged]bool{}
	for _, l := range records {
		set[l] = true
	}
	const bucket = 600
	type item struct {
		bucket int64
		why    string // what puts failures of many devices into one storm
		device int
	}
	kinds := map[string]string{
		"missing": "IoT_Expired_SAS_Token", "foreign": "IoT_Expired_SAS_Token", texts[oldToken]: "IoT_Expired_SAS_Token",
		texts[badToken]: "IoT_Invalid_SAS_Token", texts[badCert]: "IoT_Cert_Print_Mismatch",
	}
	items := map[item]int{}
	for x := range set {
		switch x.what {
		case connected:
		case expired:
			if why := w.session(x, set); why != "" {
				items[item{x.at / bucket, why, x.device}]++
			}
		default:
			items[item{x.at / bucket, texts[x.what], x.device}]++
		}
	}
	alerts := map[alarmed]int{}
	for i, n := range items {
		devices := 0
		for j := range items {
			if i.bucket == j.bucket && i.why == j.why {
				devices++
			}
		}
		day := time.Unix(i.bucket*bucket, 0).UTC().Format(time.DateOnly)
		switch {
		case devices >= w.settings.Storm:
			alerts[alarmed{day, "Hubwatch_ConnectionStorm", "CONTOSO-HUB"}]++ // by each of its devices
		case kinds[i.why] != "":
			alerts[alarmed{day, kinds[i.why], fmt.Sprint("dev-", i.device)}] += n
		}
	}
	begins := map[int64]bool{}
	for x := range set {
		if begin := x.at - x.at%bucket; !begins[begin] {
			begins[begin] = true
			if n := w.surge(begin, set); n > 0 {
				alerts[alarmed{time.Unix(begin, 0).UTC().Format(time.DateOnly), surgeAlert, "CONTOSO-HUB"}] += n
			}
		}
	}
	return alerts
}

// surgeAlert is the type of the alert of a surge.
const surgeAlert = "Hubwatch_ReconnectionSurge"

// surge returns how many devices reconnect in the ten minutes that begin at a time if they are a
// surge: as many as there have to be, more than twice as many with the ten minutes before as in
// twenty minutes that begin from 90 to 40 minutes before, and after all of the log's first ten and
// 90 more minutes. It returns 0 if they are not.
func (w *way) surge(begin int64, set map[logged]bool) int {
	n := w.reconnected(begin, set)
	if w.settings.Surge == 0 || n < w.settings.Surge {
		return 0
	}
	for earlier := begin - 90*60; earlier <= begin-40*60; earlier += 600 {
		if n+w.reconnected(begin-600, set) <= 2*(w.reconnected(earlier, set)+w.reconnected(earlier+600, set)) {
			return 0
		}
	}
	for x := range set {
		if x.at < begin-90*60 {
			return n
		}
	}
	return 0
}

// reconnected returns how many devices connect in the ten minutes that begin at a time and renew no
// session. Fewer than a fourth of what is a surge are none.
func (w *way) reconnected(begin int64, set map[logged]bool) int {
	devices := map[int]bool{}
	for c := range set {
		renews := false
		for x := range set {
			renews = renews || x.what == expired && x.device == c.device && c.at-int64(w.settings.RenewalGrace/time.Second) <= x.at && x.at <= c.at+2
		}
		if c.what == connected && begin <= c.at && c.at < begin+600 && !renews {
			devices[c.device] = true
		}
	}
	if 4*len(devices) < w.settings.Surge {
		return 0
	}
	return len(devices)
}

// session returns what became of a session that ended with x: "" if it was renewed.
func (w *way) session(x logged, set map[logged]bool) string {
	grace, most := int64(w.settings.RenewalGrace/time.Second), int64(90*60)
	verdicts := []string{"", "foreign", "missing"}
	of := func(c logged) int {
		switch {
		case c.what == connected && c.at > x.at+grace:
			return 2
		case w.settings.SameNetwork && c.from != 0 && x.from != 0 && c.from != x.from:
			return 1
		}
		return 0
	}
	first := logged{at: -1}
	for c := range set {
		begins := c.what == connected && c.at >= x.at-2 && c.at <= x.at+most
		ends := c.what == expired && c.at > x.at && c.at <= x.at+most
		if c.device == x.device && (begins || ends) && (first.at < 0 || cmp.Or(cmp.Compare(c.at, first.at), of(c)-of(first)) < 0) {
			first = c
		}
	}
	if first.at < 0 {
		return verdicts[2]
	}
	return verdicts[of(first)]
}

// have returns what the table of alerts says, and complains of what is wrong with a row itself.
func (w *way) have() map[alarmed]int {
	alerts, summed := map[alarmed]int{}, 0
	for k, row := range w.s.tables[trialAlerts] {
		p, _ := parsePartition(k.PartitionKey)
		entity := w.s.marshal(row)
		switch {
		case k.RowKey == summaryKey:
			var sum summary
			err := decode(entity, &sum)
			if err == nil {
				err = json.Unmarshal([]byte(sum.Counts), &sum.counts)
			}
			if err != nil {
				w.s.t.Error(err)
			}
			summed += sum.total()
		case strings.HasPrefix(k.RowKey, alertRange+separator):
			summed--
			r, err := decodeRow(entity)
			if err != nil {
				w.s.t.Error(err)
			}
			a, err := r.alert()
			if want := map[bool]alert.Status{true: alert.Resolved, false: alert.Active}[a.Occurrences == 0]; err != nil || a.Status != want {
				w.s.t.Errorf("an alert with %d occurrences is %s, want %s, %v", a.Occurrences, a.Status, want, err)
			}
			if a.Occurrences > 0 {
				alerts[alarmed{p.date().Format(time.DateOnly), a.Type, strings.Replace(a.Entity.Name, "contoso-hub", "CONTOSO-HUB", 1)}] += a.Occurrences
			}
		}
	}
	if summed != 0 {
		w.s.t.Errorf("the summaries have %d alerts more than there are", summed)
	}
	w.s.raisings()
	if n := len(w.s.tables[trialQuarantine]); n > 0 {
		w.s.t.Errorf("%d rows are in the quarantine: %v", n, w.s.tables[trialQuarantine])
	}
	return alerts
}

// differs returns how the alerts differ from the definition, or "".
func (w *way) differs(records []logged) string {
	want, have := w.want(records), w.have()
	if maps.Equal(want, have) {
		return ""
	}
	return "(-definition +tables)\n" + gocmp.Diff(want, have)
}

// sixRecords are a session that is renewed, one that is taken up from elsewhere and then, too late,
// by the device itself, and one that is not taken up. They are on both sides of the end of a bucket.
func sixRecords() []logged {
	at := logStart.Unix()
	return []logged{
		{1, at + 540, 1, expired, 0}, {1, at + 545, 1, connected, 0},
		{1, at + 590, 1, expired, 0}, {1, at + 620, 2, connected, 0}, {1, at + 800, 1, connected, 0},
		{1, at + 1000, 1, expired, 0},
	}
}

// logStart is when the records of the trials begin: at the beginning of a bucket.
var logStart = time.Date(2026, 2, 1, 9, 0, 0, 0, time.UTC)

// permutations yields each order of a list.
func permutations[T any](list []T, yield func([]T)) {
	var permute func(n int)
	permute = func(n int) {
		if n == len(list) {
			yield(slices.Clone(list))
			return
		}
		for i := n; i < len(list); i++ {
			list[n], list[i] = list[i], list[n]
			permute(n + 1)
			list[n], list[i] = list[i], list[n]
		}
	}
	permute(0)
}

// roomy lets the garbage of a test of many trials become larger before it is collected, which
// saves a quarter of the time.
func roomy(t *testing.T) {
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

// TestEveryOrderOfTheLog brings six records, each in a message of its own, in each of their 720
// orders, some of them twice. Without HUBWATCH_TRIALS every fifth order is tried.
func TestEveryOrderOfTheLog(t *testing.T) {
	roomy(t)
	settings := verdict.Defaults()
	settings.SameNetwork, settings.Surge, settings.RenewalGrace = true, 0, 2*time.Minute
	n, tried, differ, requests, first := uint64(0), 0, 0, 0, ""
	permutations(sixRecords(), func(order []logged) {
		n++
		if n%uint64(step(5)) != 0 {
			return
		}
		tried++
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, n)
			w := newWay(s, settings, logStart.Add(time.Duration(s.r.Int64N(int64(3*time.Hour)))))
			w.speed, w.repeat = 20*time.Second, 20
			for _, l := range order {
				w.messages = append(w.messages, slices.Repeat([]string{message(l)}, 1+s.r.IntN(3)/2)...)
			}
			w.flow(1, 1, true)
			w.settle()
			requests += s.requests
			if diff := w.differs(order); diff != "" {
				if differ++; differ == 1 {
					first = fmt.Sprintf("order %d: %s", n, diff)
				}
			}
		})
	})
	t.Logf("%d of %d orders, %d requests: %d differ", tried, n, requests, differ)
	if differ > 0 || n != 720 {
		t.Error(first)
	}
}

// randomLog returns the records of a trial: sessions of few devices that end, are taken up, or
// not, or too late, or from elsewhere, and refusals, in bunches, so that there are storms.
func randomLog(r *rand.Rand, start int64, devices int) (records []logged) {
	base := start + r.Int64N(1200)
	for range 2 + r.IntN(5) {
		l := logged{device: 1 + r.IntN(devices), at: base + r.Int64N(900), from: r.IntN(3), n: r.IntN(2)}
		switch r.IntN(5) {
		case 0, 1:
			l.what = expired
			records = append(records, l)
			for range r.IntN(3) {
				after := []int64{-2, -1, 0, 1, 30, 119, 120, 121, 3000, 5400, 5401}[r.IntN(11)]
				records = append(records, logged{l.device, l.at + after, r.IntN(3), connected, 0})
			}
		case 2:
			l.what = connected
			records = append(records, l)
		default:
			l.what = []what{badToken, oldToken, badCert, unknown}[r.IntN(4)]
			for range 1 + r.IntN(3) {
				records = append(records, l)
				l.device, l.n = 1+l.device%devices, r.IntN(2)
			}
		}
	}
	return records
}

// reconnections are connections of few devices in ten minutes two hours after start, and in the ten
// minutes that these are compared with. Some renew a session. The log begins with one of them, or
// earlier.
func reconnections(r *rand.Rand, start int64, grace time.Duration) (records []logged) {
	for n := 2 + r.IntN(6); n > 0; n-- {
		ago := []int64{0, 0, 0, 1, 2, 3, 4, 9}[r.IntN(8)]
		l := logged{1 + r.IntN(4), start + 7200 - 600*ago + r.Int64N(600), 1, connected, 0}
		if records = append(records, l); r.IntN(4) == 0 {
			records = append(records, logged{l.device, l.at - r.Int64N(1+int64(grace/time.Second)), 1, expired, 0})
		}
	}
	for n := min(2, r.IntN(5)); n > 0; n-- {
		records = append(records, logged{9, start + 7200 - 600*(9+r.Int64N(4)), 1, badToken, 0})
	}
	return records
}

// manyRefusals are refusals of more devices than are told at once, in ten minutes and of one cause,
// and of few of another.
func manyRefusals(r *rand.Rand, start int64) (records []logged) {
	for device := range 11 + r.IntN(4) {
		records = append(records, logged{1 + device, start + r.Int64N(600), 1, badCert, 0})
	}
	for range r.IntN(3) {
		records = append(records, logged{1 + r.IntN(11), start + r.Int64N(600), 1, badToken, 0})
	}
	return records
}

// logTrial makes random records, lets everything happen to them, and compares.
func logTrial(t *testing.T, seed uint64) (diff string, w *way, alerts map[alarmed]int) {
	s := newService(t, seed)
	settings := verdict.Defaults()
	settings.SameNetwork, settings.Surge, settings.RenewalGrace, settings.Storm = s.r.IntN(2) == 0, 0, 2*time.Minute, 2+s.r.IntN(2)
	if s.r.IntN(3) == 0 {
		settings.MissingAfter = 0
	}
	start := logStart
	if s.r.IntN(4) == 0 {
		start = alert.Day(logStart).AddDate(0, 0, 1).Add(-20 * time.Minute) // over midnight
	}
	w = newWay(s, settings, start.Add(time.Duration(s.r.Int64N(int64(2*time.Hour)))))
	w.speed, w.repeat = []time.Duration{time.Second, 20 * time.Second, 2 * time.Minute}[s.r.IntN(3)], 20
	if s.r.IntN(3) == 0 {
		w.now.set(start.Add(4 * time.Hour)) // all is judged from the beginning
	}
	records := randomLog(s.r, start.Unix(), 1+s.r.IntN(4))
	switch s.r.IntN(8) {
	case 0, 1, 2:
		w.settings.Surge = 1 + s.r.IntN(3)
		records = reconnections(s.r, start.Unix(), w.settings.RenewalGrace)
	case 3:
		w.settings.Storm = 14
		records = manyRefusals(s.r, start.Unix())
	}
	if s.r.IntN(2) == 0 {
		s.r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	}
	most, copies := 1+s.r.IntN(3), 1+s.r.IntN(2)
	for of := range slices.Chunk(records, most) {
		w.messages = append(w.messages, slices.Repeat([]string{message(of...)}, 1+s.r.IntN(copies))...)
	}
	w.flow(1+s.r.IntN(2), 1+s.r.IntN(2), s.r.IntN(2) == 0)
	w.settle()
	return w.differs(records), w, w.want(records)
}

// TestAnyOrderOfTheLog lets two instances relay, judge and detect random records, with repeated
// messages and events, and with faults at four per cent of all requests: crashes, lost answers,
// requests that fail. In the end the alerts, how often they occurred, and their statuses are those
// of the definition over the set of records.
//
// HUBWATCH_TRIALS is how many trials to make; all differing ones are counted.
func TestAnyOrderOfTheLog(t *testing.T) {
	roomy(t)
	n := trials(t, 75)
	differ, requests, alerts, surges, held, crashes, first := 0, 0, 0, 0, 0, 0, ""
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			diff, w, of := logTrial(t, seed)
			requests, crashes, alerts = requests+w.s.requests, crashes+w.s.crashes, alerts+len(of)
			for a := range of {
				if a.Type == surgeAlert {
					surges++
				}
			}
			if w.held {
				held++
			}
			if diff == "" {
				return
			}
			if differ++; differ == 1 { // an error of the bubble would end the trials
				first = fmt.Sprintf("seed %d: %+v: %s", seed, w.settings, diff)
			}
		})
	}
	if differ > 0 {
		t.Error(first)
	}
	t.Logf("%d trials, %d requests, %d crashes, %d alerts, %d of them surges, something held back in %d: %d differ", n, requests, crashes, alerts, surges, held, differ)
	if alerts < n || n >= 50 && min(surges, held) < n/50 {
		t.Errorf("%d alerts, %d of them surges, and something held back in %d of %d trials: too few to say anything", alerts, surges, held, n)
	}
}

// TestAnyCrashOfTheLog makes one fault of each kind at each request, the first, the second and so
// on, until a run has none: a crash before and after what the request does, a request and an answer
// that are lost. Without HUBWATCH_TRIALS every fifth of these faults is made, and of the longer stories
// every fifteenth. What says "done" before it is done fails here (rule R2 of handlers/verdict). The first story has a session that is renewed, one that is not, a refusal, and a storm of two devices, one
// of which had an alert of its own before. In the others, devices reconnect: they are a surge once it is
// known that the log begins earlier, and none any more once it is known that as many did so before. In
// the last one more devices are refused than are told at once. If a fault keeps the relay from judging
// the second part of them, nothing was staged for long when the timer comes, and nothing is held back.
func TestAnyCrashOfTheLog(t *testing.T) {
	roomy(t)
	at := logStart.Unix()
	back := []logged{{1, at + 100, 1, connected, 0}, {2, at + 110, 1, connected, 0}}
	begins := logged{9, at - 6600, 1, badToken, 0}
	var refused []logged
	for device := range 11 {
		refused = append(refused, logged{1 + device, at + 100, 1, badCert, 0})
	}
	for _, c := range []struct {
		name         string
		surge, storm int
		story        [][]logged
		judged       bool // after each message by the timer, whose time has come
		alerts       int
		requests     int // at least
		step         int // see step
	}{
		{"all causes", 0, 2, [][]logged{
			{{1, at + 100, 1, expired, 0}, {1, at + 105, 1, connected, 0}},
			{{2, at + 110, 1, expired, 0}, {3, at + 120, 1, badToken, 0}, {4, at + 130, 1, badCert, 0}},
			{{5, at + 140, 1, badCert, 0}},
		}, false, 3, 80, 5},
		{"a surge, since the log begins earlier", 2, 100, [][]logged{back, {begins}}, true, 2, 40, 15},
		{"no surge, since as many came before", 2, 100, [][]logged{{begins}, back, {{1, at - 2300, 1, connected, 0}, {2, at - 2300, 1, connected, 0}}}, true, 1, 40, 15},
		{"what is held back", 0, 100, [][]logged{refused[:6], refused[6:]}, false, 11, 40, 5},
	} {
		story := slices.Concat(c.story...)
		settings := verdict.Defaults()
		settings.Surge, settings.Storm = c.surge, c.storm
		requests, faults, held, step := 0, 0, 0, step(c.step)
		for kind := range 4 {
			for planned, more := 1+kind%step, true; more; planned += step {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t, 13)
					s.planned, s.kind = planned, kind
					w := newWay(s, settings, logStart.Add(5*time.Minute))
					for _, records := range c.story {
						w.messages = append(w.messages, message(records...))
						w.flow(1, 0, true)
						w.now.add(time.Minute) // the relay judges at once again
						if c.judged {
							w.settle()
						}
					}
					w.settle()
					if diff := w.differs(story); diff != "" {
						t.Fatalf("%s, fault %d at request %d: %s", c.name, kind, planned, diff)
					}
					if w.held {
						held++
					}
					if more = s.requests >= planned; more {
						faults++
					} else if requests = s.requests; len(w.want(story)) != c.alerts || s.tables[trialAlerts] == nil {
						t.Errorf("%s, %v: too little to say anything", c.name, w.have())
					}
				})
			}
		}
		t.Logf("%s: %d requests, %d faults, something held back in %d", c.name, requests, faults, held)
		if faults*step < 4*c.requests || c.alerts > 10 && held*10 < faults*9 {
			t.Errorf("%s: %d faults, and something held back in %d: too few to say anything", c.name, faults, held)
		}
	}
}

// TestAnyStallOfTheLog holds an instance up at each of its requests, while another one does all of
// what it has to do. The name of a case begins with the rule of handlers/verdict that it is for:
// without it, the case fails (docs/design.md, "Rules, taken away").
func TestAnyStallOfTheLog(t *testing.T) {
	at := logStart.Unix()
	x, own := logged{1, at + 300, 1, expired, 0}, logged{1, at + 309, 1, connected, 0}
	foreign, earlier := logged{1, at + 306, 2, connected, 0}, logged{1, at + 303, 1, connected, 0}
	first, second := logged{2, at + 10, 1, badToken, 0}, logged{2, at + 20, 1, badToken, 1}
	late := logStart.Add(4 * time.Hour)
	begins, back := logged{9, at - 6600, 1, badToken, 0}, logged{1, at + 300, 1, connected, 0}
	before := []logged{{1, at - 2300, 1, connected, 0}, {2, at - 2300, 1, connected, 0}}
	for name, c := range map[string]struct {
		now     time.Time
		records []logged
		before  func(*way, *process) // in the other instance
		stalled func(*way, *process) error
		other   func(*way, *process) error
	}{
		// A verdict row is written always. The other one reads the newest records, and finds the row
		// right, since it is as it was before the records that the stalled one has read.
		"R3: a pass, while the verdict goes to and fro": {late, []logged{x, own, foreign, earlier},
			func(w *way, p *process) {
				w.must(w.relay(p, message(x, own)))
				w.must(w.pass(p))
				w.must(w.relay(p, message(foreign)))
			},
			func(w *way, p *process) error { return w.pass(p) },
			func(w *way, p *process) error { return errors.Join(w.relay(p, message(earlier)), w.pass(p)) }},
		// Marks are made after the rows.
		"R2: the relay, while another one judges": {late, []logged{x, own, foreign},
			func(w *way, p *process) { w.must(w.relay(p, message(x, own))) },
			func(w *way, p *process) error { return w.relay(p, message(foreign)) },
			func(w *way, p *process) error { return w.pass(p) }},
		// The verdicts that are compared with a row are marked after it, and where the log begins
		// is written before they are.
		"R2: a pass after which there is no surge any more, while another one judges": {late, append([]logged{begins, back}, before...),
			func(w *way, p *process) {
				w.must(w.relay(p, message(begins, back)))
				w.must(w.pass(p))
				w.must(w.relay(p, message(before...)))
			},
			func(w *way, p *process) error { return w.pass(p) },
			func(w *way, p *process) error { return w.pass(p) }},
		"R2: the relay of the first record of the log, while another one judges": {late, []logged{begins, back},
			func(w *way, p *process) { w.must(w.relay(p, message(back))); w.must(w.pass(p)) },
			func(w *way, p *process) error { return w.relay(p, message(begins)) },
			func(w *way, p *process) error { return w.pass(p) }},
		// A mark is removed as it was read, and is made again by whoever made it before.
		"R3: a pass, while a record comes": {late, []logged{x, own, foreign},
			func(w *way, p *process) { w.must(w.relay(p, message(x, own))) },
			func(w *way, p *process) error { return w.pass(p) },
			func(w *way, p *process) error { return w.relay(p, message(foreign)) }},
		// The level is in the row. The clock of the other one is a minute ahead.
		"R1: a pass whose clock is behind": {logStart.Add(time.Hour + 44*time.Minute + 30*time.Second), []logged{x},
			func(w *way, p *process) { w.must(w.relay(p, message(x))) },
			func(w *way, p *process) error { return w.pass(p) },
			func(w *way, p *process) error { return w.pass(p) }},
		// The number of the version is in the row, and so the highest one counts, and not the last.
		"R1: the detector of an older version": {logStart, []logged{first, second}, twoVersions(first, second),
			func(w *way, p *process) error { return w.version(p, 0) },
			func(w *way, p *process) error { return w.version(p, 1) }},
		"R1: the detector of a newer version": {logStart, []logged{first, second}, twoVersions(first, second),
			func(w *way, p *process) error { return w.version(p, 1) },
			func(w *way, p *process) error { return w.version(p, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			stalls := 0
			for at, more := 0, true; more; at++ {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t, uint64(at))
					s.faults = 0
					settings := verdict.Defaults()
					settings.SameNetwork, settings.Surge = true, 1
					w := newWay(s, settings, c.now)
					w.ahead = []time.Duration{0, time.Minute}
					p, other := s.processes[0], s.processes[1]
					w.must(s.do(other, func() error { c.before(w, other); return nil }))
					more = s.stall(s.requests+at, func() error { return c.stalled(w, p) }, func() error { return c.other(w, other) })
					if !more {
						return // It had done all of it before.
					}
					if strings.Contains(name, "detector") {
						w.events = nil // They were delivered.
					}
					w.settle()
					if diff := w.differs(c.records); diff != "" {
						t.Errorf("stalled at request %d: %s", at, diff)
					}
				})
				stalls++
			}
			if stalls < 3 {
				t.Errorf("%d stalls: too few to say anything", stalls)
			}
		})
	}
}

// must complains of an error.
func (w *way) must(err error) {
	if err != nil {
		w.s.t.Error(err)
	}
}

// version is the function of a detector that gets one of the events, which stays where it is.
func (w *way) version(p *process, i int) error {
	if i >= len(w.events) {
		return fmt.Errorf("%d events: want two versions", len(w.events))
	}
	return w.detect(p, w.events[i])
}

// twoVersions publishes two versions of one item, and delivers none.
func twoVersions(first, second logged) func(*way, *process) {
	return func(w *way, p *process) {
		for _, l := range []logged{first, second} {
			w.must(w.relay(p, message(l)))
			w.now.add(time.Minute) // the relay judges at once again
		}
	}
}
