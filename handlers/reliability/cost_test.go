package reliability

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/functions"
	"hubwatch/handlers/verdict"
)

// operations are what the services of a deployment count, in the order of the
// columns of docs/cost.md.
type operations struct{ Published, Matches, Deliveries, Executions, TableRequests int }

// plus returns o and n times other.
func (o operations) plus(n int, other operations) operations {
	return operations{
		o.Published + n*other.Published, o.Matches + n*other.Matches, o.Deliveries + n*other.Deliveries,
		o.Executions + n*other.Executions, o.TableRequests + n*other.TableRequests,
	}
}

// costs reads the table of operations in docs/cost.md, by what happens.
func costs(t testing.TB) map[string]operations {
	t.Helper()
	page, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]operations{}
	for _, m := range regexp.MustCompile(`(?m)^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$`).FindAllSubmatch(page, -1) {
		var numbers [5]int
		for i := range numbers {
			if numbers[i], err = strconv.Atoi(string(m[i+2])); err != nil {
				t.Fatal(err)
			}
		}
		rows[string(m[1])] = operations{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]}
	}
	return rows
}

// assumed reads an assumption of docs/cost.md that this test measures.
func assumed(t testing.TB, what string) int {
	t.Helper()
	page, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\| ` + what + ` \| ([\d,]+) bytes \|`).FindSubmatch(page)
	if m == nil {
		t.Fatalf("docs/cost.md assumes nothing of %s", what)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(string(m[1]), ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// meter is a deployment on this machine that counts what it would be billed for.
type meter struct {
	*grid
	rig *rig
	hub *functions.EventHub

	published, matches, tableRequests atomic.Int64
	executions                        counter // the lines in which the host says that one has ended
	log                               counter // the lines that the handler logs
}

// startMeter starts everything that a deployment has, with one instance.
func startMeter(t testing.TB) *meter {
	t.Helper()
	m := &meter{grid: &grid{}, rig: newRig(t, true)}
	m.executions.of, m.log.of = `msg="invocation `, `"msg":"invocation"`
	count := func(s step) azurite.Fault {
		if s.target == m.rig.told.url { // with one event each
			m.published.Add(1)
		} else {
			m.tableRequests.Add(1)
		}
		return azurite.Pass
	}
	m.rig.fault.Store(&count)

	// The relay publishes to the same topic as everything else.
	connections := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		var events []jsontext.Value
		if err := json.Unmarshal(body, &events); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.published.Add(int64(len(events)))
		r.Body = io.NopCloser(bytes.NewReader(body))
		m.topic.ServeHTTP(w, r)
	}))
	t.Cleanup(connections.Close)
	messages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.hub.ServeHTTP(w, r) }))
	t.Cleanup(messages.Close)
	// Azure Resource Manager publishes an event of each tag.
	const identity = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch"
	resources := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.published.Add(1)
		if status := publish(m.topic, fmt.Appendf(nil, `{"id":"tag","topic":"/subscriptions/00000000-0000-0000-0000-000000000001","subject":%q,"eventType":"Microsoft.Resources.ResourceWriteSuccess","eventTime":%q,"dataVersion":"2","metadataVersion":"1","data":{"operationName":"Microsoft.Resources/tags/write"}}`,
			r.URL.Path, time.Now().UTC().Format(time.RFC3339Nano))); status != http.StatusOK {
			t.Errorf("the topic answers %d to the event of a tag", status)
		}
	}))
	t.Cleanup(resources.Close)
	options := m.rig.options()
	options.Env = append(options.Env, topicSetting+"="+connections.URL+"/api/events", "CanaryEventHubUri="+messages.URL+"/eventhub/messages",
		"CanaryTagUri="+resources.URL+identity+"/providers/Microsoft.Resources/tags/default")
	// The second channel is told of grave alerts alone.
	channel := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(channel.Close)
	options.Env = append(options.Env, "NotifyUrls=slack+"+channel.URL+"/a slack+"+channel.URL+"/b#severity=High")
	options.Logger, options.Output = slog.New(slog.NewTextHandler(&m.executions, nil)), &m.log

	subscriptions, err := eventgrid.LoadSubscriptions("../../infra/subscriptions.json")
	if err != nil {
		t.Fatal(err)
	}
	advanced := map[string]bool{} // by function
	for _, s := range subscriptions {
		advanced[s.Function] = len(s.Filter.AdvancedFilters) > 0
	}
	m.watch = func(r *http.Request, _ int) {
		if advanced[r.URL.Query().Get("functionName")] && r.Header.Get("Aeg-Delivery-Count") == "0" {
			m.matches.Add(1)
		}
	}
	m.start(t, options, 1, senders, 1)
	if m.hub, err = functions.NewEventHub(functions.EventHubOptions{Host: m.instances[0].current.Load(), Function: judge.RelayName}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.hub.Close)
	return m
}

// counts waits until everything is done and returns the counts.
func (m *meter) counts(t testing.TB) operations {
	t.Helper()
	if err := m.hub.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.topic.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return operations{int(m.published.Load()), int(m.matches.Load()), int(m.deliveries.Load()), m.executions.lines(), int(m.tableRequests.Load())}
}

// change publishes an event of Azure Resource Manager and waits until it is done.
// Changes at the same time would be written together.
func (m *meter) change(t testing.TB, e []byte) {
	t.Helper()
	m.published.Add(1)
	if status := publish(m.topic, e); status != http.StatusOK {
		t.Fatalf("the topic answers %d", status)
	}
	if err := m.topic.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// again delivers an event that has been delivered, as Event Grid does when it
// has not seen the answer.
func (m *meter) again(t testing.TB, function string, e []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, m.webhook+"/runtime/webhooks/EventGrid?functionName="+function, strings.NewReader("["+string(e)+"]"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Aeg-Event-Type", "Notification")
	request.Header.Set("Aeg-Delivery-Count", "1")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		t.Fatalf("the host answers %s", answer.Status)
	}
}

// message sends one message of the Connections log with these records.
func (m *meter) message(t testing.TB, records ...string) {
	t.Helper()
	if err := m.hub.Send([]byte(`{"records":[` + strings.Join(records, ",") + `]}`)); err != nil {
		t.Fatal(err)
	}
	if err := m.hub.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.topic.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// raising returns the event of an alert of some severity.
func raising(t testing.TB, n int, severity alert.Severity) []byte {
	t.Helper()
	a := alert.Alert{
		ID: fmt.Sprintf("00000000-0000-0000-0000-%012x", len(severity)*100+n), Severity: severity, Finding: alert.Finding{Hub: alert.Hub{Name: "contoso-hub"}},
		Start: time.Now(), End: time.Now(), Generated: time.Now(), Status: alert.Active,
	}
	e, err := export.NewRaising(alert.Raising{Alert: a}, "/hubwatch/contoso/alerts").AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// raise publishes that an alert of some severity was raised, and waits until it is told.
func (m *meter) raise(t testing.TB, n int, severity alert.Severity) {
	t.Helper()
	m.published.Add(1)
	m.again(t, judge.NotifyName, raising(t, n, severity))
}

// TestCostOfEachEvent makes each kind of event of docs/cost.md happen several
// times, counts the operations, and compares them with the page. The page is of hubwatch as it is
// shipped: custom alerts of logs are given events, and canaries, that it does not count.
func TestCostOfEachEvent(t *testing.T) {
	const times = 5
	for _, d := range deployed {
		if source, err := d.On.Source(); d.Custom && err == nil && source == detector.Connections {
			t.Skipf("the custom alert %s makes events of logs cost more than docs/cost.md has", d.Name)
		}
	}
	m := startMeter(t)
	rows := costs(t)
	id := func(i int) []string {
		return []string{`"id": "00000000-0000-4000-8000-000000000001"`, fmt.Sprintf(`"id": "event-%d"`, i)}
	}
	added := func(replace ...string) []byte { return sample(t, "certificate-added.json", replace...) }
	// The log is of now. Records of long ago would have verdicts that are due at once.
	begin := verdict.BucketOf(time.Now()).Start()
	// The relay judges the same ten minutes once in a while, so each failed connection has its
	// own ten minutes of this day.
	step := 10 * time.Minute
	if begin.Hour() >= 12 {
		step = -step
	}
	moved := 0
	elsewhen := func(record string) string {
		moved++
		return strings.Replace(record, begin.Format(time.RFC3339), begin.Add(time.Duration(moved)*step).Format(time.RFC3339), 1)
	}
	connected := func(device, result string) string {
		return fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
			`"operationName":"deviceConnect","category":"Connections","level":"Information","properties":"{\"deviceId\":\"%s\",\"protocol\":\"Mqtt\",\"authType\":\"{\\\"scope\\\":\\\"device\\\",\\\"type\\\":\\\"sas\\\"}\"}"%s}`, begin.Format(time.RFC3339), device, result)
	}
	const (
		expired = `,"resultType":"401003","resultDescription":"The specified SAS token is expired"`
		denied  = `,"resultType":"401003","resultDescription":"Authorization header missing"`
	)
	logMessage := "A message of the Connections log, whatever is in it"
	below := func(i int) []byte {
		return added(append(id(i), "certificates/root-ca", "certificates/root-ca/below")...)
	}
	// A process asks once whether the index of days is complete. The first event that
	// cannot be judged raises an alert about the hub, and the others count in it.
	m.change(t, added())
	m.change(t, below(times))
	m.message(t, connected("pump-1", ""), connected("first-of-the-day", expired))
	if step < 0 { // The log of the hub begins before all of this.
		m.message(t, strings.Replace(connected("pump-1", ""), begin.Format(time.RFC3339), begin.Add(20*step).Format(time.RFC3339), 1))
	}
	for _, row := range []struct {
		what     string
		happen   func(i int)
		messages int  // of the log, with each
		heard    bool // of a hub that was not heard of before, with each
	}{
		{what: "A change that no alert is about", happen: func(i int) {
			m.change(t, sample(t, "quiet-key-vault-diagnostic-setting.json"))
		}},
		{what: "A change with an alert, the first of its hub that day", heard: true, happen: func(i int) {
			m.change(t, added("IotHubs/contoso-hub", fmt.Sprintf("IotHubs/contoso-hub-%d", i)))
		}},
		{what: "A change with an alert, the first of its kind that day", happen: func(i int) {
			m.change(t, added("root-ca", fmt.Sprintf("root-ca-%d", i)))
		}},
		{what: "The same kind of change again", happen: func(i int) {
			m.change(t, added(append(id(i), "root-ca", "root-ca-0")...))
		}},
		{what: "An event that Event Grid delivers once more", happen: func(i int) {
			m.again(t, "CertificateAdded", added(append(id(i), "root-ca", "root-ca-0")...))
		}},
		{what: "A change that cannot be judged", happen: func(i int) {
			m.change(t, below(i))
		}},
		{what: logMessage, happen: func(i int) {
			m.message(t, connected("pump-1", ""), connected("pump-2", ""), connected("pump-3", ""))
		}},
		{what: "and for each failed connection in it, the first of its kind that day", messages: 1, happen: func(i int) {
			m.message(t, elsewhen(connected(fmt.Sprintf("failing-%d", i), expired)))
		}},
		{what: "or the same kind again", messages: 1, happen: func(i int) {
			m.message(t, elsewhen(connected("failing-0", expired)))
		}},
		{what: "or of none of the four causes", messages: 1, happen: func(i int) {
			m.message(t, elsewhen(connected(fmt.Sprintf("stranger-%d", i), denied)))
		}},
	} {
		want, ok := rows[row.what]
		if !ok {
			t.Errorf("docs/cost.md does not say what this takes: %s", row.what)
			continue
		}
		delete(rows, row.what)
		if row.messages > 0 {
			want = want.plus(row.messages, costs(t)[logMessage])
		}
		before, heard := m.counts(t), m.rig.hearing.Load()
		for i := range times {
			row.happen(i)
		}
		got := m.counts(t).plus(-1, before)
		if row.heard {
			const what = "To remember that a hub was heard of, once a minute for each hub and source"
			if got, want := int(m.rig.hearing.Load()-heard), times*rows[what].TableRequests; got != want {
				t.Errorf("%s, %d times: %d requests, docs/cost.md has %d", what, times, got, want)
			}
			delete(rows, what)
		}
		if diff := cmp.Diff(operations{}.plus(times, want), got); diff != "" {
			t.Errorf("%s, %d times (-docs/cost.md +counted):\n%s", row.what, times, diff)
		}
	}
	{
		const what = "A minute of the timer, without a verdict or a digest that is due"
		want := rows[what]
		delete(rows, what)
		if err := m.instances[0].current.Load().Fire(t.Context(), judge.VerdictsName); err != nil { // what was left
			t.Fatal(err)
		}
		before := m.counts(t)
		for range times {
			if err := m.instances[0].current.Load().Fire(t.Context(), judge.VerdictsName); err != nil {
				t.Fatal(err)
			}
		}
		// The clock of the log, which takes two requests, is off here.
		want.TableRequests -= 2
		if diff := cmp.Diff(operations{}.plus(times, want), m.counts(t).plus(-1, before)); diff != "" {
			t.Errorf("%s, %d times (-docs/cost.md +counted):\n%s", what, times, diff)
		}
	}
	{
		const what, tag = "An hour of canaries, through three paths and to each function of two topics", "A tag of the day, if it is wanted"
		want := rows[what].plus(1, rows[tag])
		delete(rows, what)
		delete(rows, tag)
		before, delivered, heard := m.counts(t), map[string]bool{}, m.rig.hearing.Load()
		for range 2 { // It sends, and then it looks.
			if err := m.instances[0].current.Load().Fire(t.Context(), judge.CanaryName); err != nil {
				t.Fatal(err)
			}
			m.counts(t)
			for id, e := range m.rig.told.events() { // The topic of alerts is a sink here.
				canary, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				if e["type"] == coverage.CanaryType && !delivered[id] {
					delivered[id] = true
					m.again(t, judge.NotifyName, canary)
					m.again(t, judge.SentinelName, canary)
				}
			}
		}
		if n := m.rig.hearing.Load() - heard; n != 2 {
			t.Errorf("%s: %d requests about the hubs that are expected, want one in a process, and one more since this is the first", what, n)
		}
		got := m.counts(t).plus(-1, before)
		// Here a canary can arrive before it is written that the path took it. Then it takes two
		// requests more, since both change the same row.
		if more := got.TableRequests - want.TableRequests; more > 0 && more <= 6 && more%2 == 0 {
			got.TableRequests -= more
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, and %s (-docs/cost.md +counted):\n%s", what, tag, diff)
		}
	}
	m.raise(t, times, alert.Low) // which makes the tables
	for _, row := range []struct {
		what  string
		least alert.Severity
	}{{"An alert that is raised or reopened, to tell one channel of it", alert.Low}, {"and for each further channel", alert.High}} {
		want := rows[row.what]
		delete(rows, row.what)
		before := m.counts(t)
		for i := range times {
			m.raise(t, i, row.least)
		}
		got := m.counts(t).plus(-1, before)
		if row.least == alert.High { // two channels hear of it
			got = got.plus(-times, costs(t)["An alert that is raised or reopened, to tell one channel of it"])
		}
		if diff := cmp.Diff(operations{}.plus(times, want), got); diff != "" {
			t.Errorf("%s, %d times (-docs/cost.md +counted):\n%s", row.what, times, diff)
		}
	}
	heard := "and for the function Sentinel, without Microsoft Sentinel"
	want := rows[heard]
	delete(rows, heard)
	before := m.counts(t)
	for i := range times {
		m.again(t, judge.SentinelName, raising(t, i, alert.Low))
	}
	if diff := cmp.Diff(operations{}.plus(times, want), m.counts(t).plus(-1, before)); diff != "" {
		t.Errorf("%s, %d times (-docs/cost.md +counted):\n%s", heard, times, diff)
	}
	for what := range rows {
		t.Errorf("docs/cost.md has a row that nothing is counted for: %s", what)
	}

	executions := m.executions.lines()
	for tick := time.Tick(time.Millisecond); m.log.lines() < executions; { // they come through a pipe
		select {
		case <-tick:
		case <-t.Context().Done():
			t.Fatalf("the handler has logged %d of %d executions", m.log.lines(), executions)
		}
	}
	lines, length := m.log.lines(), m.log.bytes()
	if lines != executions {
		t.Errorf("%d lines of log for %d executions, want one each", lines, executions)
	}
	if most := assumed(t, "telemetry of an execution") / 2; length/lines > most {
		t.Errorf("a line of log has %d bytes on average, want at most %d", length/lines, most)
	}
	evidence, size := 0, 0
	for key, row := range m.rig.rows(t) {
		if strings.HasPrefix(key, "alerts ") && row["EventId"] != nil {
			text, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			evidence++
			size += len(text)
		}
	}
	if most := assumed(t, "evidence of an occurrence"); evidence == 0 || size/evidence > most {
		t.Errorf("%d rows of evidence have %d bytes, want at most %d each", evidence, size, most)
	}
	t.Logf("%d executions with %d bytes of log each; %d rows of evidence of %d bytes each", lines, length/lines, evidence, size/max(evidence, 1))
}

// counter counts the lines of a log that have a text in them.
type counter struct {
	of string

	mu         sync.Mutex
	n, written int
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(p) {
		if bytes.Contains(line, []byte(c.of)) {
			c.n++
			c.written += len(line)
		}
	}
	return len(p), nil
}

func (c *counter) lines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counter) bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}
