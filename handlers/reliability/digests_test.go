package reliability

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
)

// Ten minutes are told together, and a digest is told a minute after they are over.
const (
	together = 10 * time.Minute
	wait     = time.Minute
	// digestAfter is how many alerts of a hub and severity are told one by one in the runs with digests.
	digestAfter = 3
)

// busyHub is the hub that raises many alerts.
const busyHub = "busy-hub"

// grades orders the severities of the alerts of these runs.
var grades = map[alert.Severity]int{alert.Low: 1, alert.Medium: 2, alert.High: 3}

// ahead is the clock of whoever tells of alerts. A test turns it while nothing is on its way.
type ahead struct {
	file string
	by   time.Duration
}

// startClock returns a clock at the beginning of ten minutes.
func startClock(t *testing.T) *ahead {
	now := time.Now()
	c := &ahead{file: filepath.Join(t.TempDir(), "clock"), by: now.Truncate(together).Add(together).Sub(now) + time.Second}
	c.turn(t, 0)
	return c
}

func (c *ahead) turn(t *testing.T, d time.Duration) {
	t.Helper()
	c.by += d
	if err := os.WriteFile(c.file+"-", []byte(c.by.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.file+"-", c.file); err != nil {
		t.Fatal(err)
	}
}

// change returns the event of a change that is one alert of a severity about a hub. Each n is
// another alert.
func change(severity alert.Severity, hub string, n int) jsontext.Value {
	id := "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/" + hub
	kind, operation := "Microsoft.Resources.ResourceDeleteSuccess", "Microsoft.Devices/IotHubs/delete"
	switch severity {
	case alert.Medium:
		id += fmt.Sprintf("/certificates/root-%d", n)
		kind, operation = "Microsoft.Resources.ResourceWriteSuccess", "Microsoft.Devices/IotHubs/certificates/write"
	case alert.Low:
		id += fmt.Sprintf("/providers/Microsoft.Insights/diagnosticSettings/logs-%d", n)
		operation = "Microsoft.Insights/diagnosticSettings/delete"
	}
	return jsontext.Value(fmt.Sprintf(`{"id": "00000000-0000-4000-8000-%012[1]x", "topic": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot",
		"subject": %[2]q, "eventType": %[3]q, "eventTime": "2026-02-01T08:00:00Z", "dataVersion": "2", "metadataVersion": "1", "data": {
		"authorization": {"scope": %[2]q, "action": %[4]q, "evidence": {}}, "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "user%[1]d@contoso.example"},
		"correlationId": "00000000-0000-4000-8001-%012[1]x", "resourceProvider": "Microsoft.Devices", "resourceUri": %[2]q, "operationName": %[4]q, "status": "Succeeded",
		"subscriptionId": "00000000-0000-0000-0000-000000000001", "tenantId": "00000000-0000-0000-0000-0000000000aa"}}`, n, id, kind, operation))
}

// digest is what a receiver was told in one.
type digest struct {
	Count  int `json:"count"`
	Data   digested
	Alerts []digested `json:"alerts"`
}

type digested struct {
	ID       string         `json:"systemAlertId"`
	Severity alert.Severity `json:"severity"`
}

// digests are those that a receiver was told, by their ids.
type digests struct {
	t    *testing.T
	mu   sync.Mutex
	told map[string]digest
	// heard is called, if it is there, when a digest comes, before it is answered.
	heard atomic.Pointer[func()]
}

// read reads a webhook.
func (d *digests) read(r *http.Request, body []byte) ([]string, error) {
	ids, err := signed(r, body)
	if err != nil || !strings.HasPrefix(ids[0], "digest/") {
		return ids, err
	}
	var got digest
	if err := json.Unmarshal(body, &got, json.MatchCaseInsensitiveNames(true)); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if old, ok := d.told[ids[0]]; ok && fmt.Sprint(old) != fmt.Sprint(got) {
		d.t.Errorf("%s came again with %+v, and was %+v", ids[0], got, old)
	}
	d.told[ids[0]] = got
	d.mu.Unlock()
	if heard := d.heard.Swap(nil); heard != nil {
		(*heard)()
	}
	return ids, nil
}

// deferrals returns which raisings are in which digest, by the rows of the store.
func deferrals(t *testing.T, r *rig) map[string][]digested {
	t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(shared.azurite.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]digested{}
	for pages := service.NewListTablesPager(nil); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range page.Tables {
			if !strings.HasPrefix(*table.Name, r.names[0]+"told") {
				continue
			}
			for rows := service.NewClient(*table.Name).NewListEntitiesPager(nil); rows.More(); {
				page, err := rows.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, entity := range page.Entities {
					var row struct{ PartitionKey, Document string }
					if err := json.Unmarshal(entity, &row); err != nil {
						t.Fatal(err)
					}
					part := strings.Split(row.PartitionKey, "|")
					if part[0] != "d" {
						continue
					}
					slot, err := time.Parse("200601021504", part[2])
					if err != nil {
						t.Fatal(err)
					}
					var a digested
					if err := json.Unmarshal([]byte(row.Document), &a); err != nil {
						t.Fatal(err)
					}
					id := "digest/" + part[1] + "/" + slot.Format("2006-01-02T15:04Z")
					all[id] = append(all[id], a)
				}
			}
		}
	}
	return all
}

// due returns how many digests are not told yet.
func due(t *testing.T, r *rig) (n int) {
	t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(shared.azurite.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for rows := service.NewClient(r.names[0] + "digests").NewListEntitiesPager(nil); rows.More(); {
		page, err := rows.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Entities)
	}
	return n
}

// check compares the digests with the rows of the store, of which a receiver is told those from a
// severity on. It returns the ids of the digests, and how many raisings they have in all.
func (d *digests) check(what string, rows map[string][]digested, least alert.Severity) (ids map[string]bool, count int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids = map[string]bool{}
	for id, of := range rows {
		of = slices.DeleteFunc(slices.Clone(of), func(a digested) bool { return grades[a.Severity] < grades[least] })
		if len(of) == 0 {
			continue
		}
		ids[id] = true
		got := d.told[id]
		gravest := slices.MaxFunc(of, func(a, b digested) int { return cmp.Compare(grades[a.Severity], grades[b.Severity]) }).Severity
		if got.Count != len(of) || got.Data.Severity != gravest {
			d.t.Errorf("%s: %s says %d alerts, the gravest %q, want %d and %q", what, id, got.Count, got.Data.Severity, len(of), gravest)
		}
		count += got.Count
		if len(got.Alerts) != min(len(of), 5) || got.Alerts[0] != got.Data {
			d.t.Errorf("%s: %s lists %+v, want the five gravest of %+v", what, id, got.Alerts, of)
		}
		rest := slices.DeleteFunc(slices.Clone(of), func(a digested) bool { return slices.Contains(got.Alerts, a) })
		if len(rest) != len(of)-len(got.Alerts) {
			d.t.Errorf("%s: %s lists %+v, which are not all among %+v", what, id, got.Alerts, of)
		}
		for _, a := range rest {
			if last := got.Alerts[len(got.Alerts)-1]; grades[a.Severity] > grades[last.Severity] {
				d.t.Errorf("%s: %s lists %+v, and not %+v", what, id, last, a)
			}
		}
	}
	return ids, count
}

// TestChaosReachesTheDigests has one hub raise many alerts, grave ones among them, and two hubs a few, by
// events that come several times, while the requests to tables and topics and the channels fail in
// every way. The handler is killed when an alert was put into a digest and nothing says so yet, when
// it has taken a digest and not sent it, and when a receiver has a digest and no row says so. Each
// raising is told by itself or in one digest, with the id as key exactly once. The numbers add up, and
// the gravest are right.
func TestChaosReachesTheDigests(t *testing.T) {
	t.Parallel() // it waits
	setUp(t)
	n := seed(t)
	random := rand.New(rand.NewPCG(n, 6))
	severity := map[string]alert.Severity{} // of each raising, by its id
	of := map[string]string{}               // the hub of each
	var p plan
	add := func(s alert.Severity, hub string, times int) {
		e := change(s, hub, len(p.events)+1)
		alerts, _ := verdictOf(e)
		if len(alerts) != 1 {
			t.Fatalf("%s: %d alerts, want 1: %s", s, len(alerts), e)
		}
		id := alerts[0].id + "/0"
		severity[id], of[id] = s, hub
		p.deliveries = append(p.deliveries, slices.Repeat([]int{len(p.events)}, times)...)
		p.events = append(p.events, e)
	}
	some := func(s alert.Severity, hub string, count int) {
		for range count {
			add(s, hub, 1+random.IntN(3))
		}
	}
	p.seed = n
	chaotic := func(p plan) func(step) azurite.Fault {
		return func(s step) azurite.Fault { return quick[p.trouble(s.n)] }
	}(p)

	hook, grave := &digests{t: t, told: map[string]digest{}}, &digests{t: t, told: map[string]digest{}}
	all := startChannel(t, rand.New(rand.NewPCG(n, 7)), http.StatusNoContent, hook.read)
	high := startChannel(t, rand.New(rand.NewPCG(n, 8)), http.StatusNoContent, grave.read)
	r, g, clock := newRig(t, true), &grid{}, startClock(t)
	alerts := g.telling(t, r, 0.001, clockVariable+"="+clock.file, fmt.Sprint("DigestAfter=", digestAfter),
		"Notify__all="+all.URL+"/hook#severity=Informational&secret="+channelSecret, "Notify__high="+high.URL+"/hook#severity=High&secret="+channelSecret)
	settle := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := alerts.Wait(ctx); err != nil {
			t.Fatalf("raisings are not delivered: %v", err)
		}
	}
	start := time.Now()

	// Ten minutes of many alerts, in make chaos twice.
	r.fault.Store(&chaotic)
	rounds := 1
	if long() {
		rounds = 2
	}
	for range rounds {
		p.deliveries = nil
		some(alert.Low, busyHub, 20)
		some(alert.Medium, busyHub, 8)
		some(alert.High, busyHub, 5)
		for _, hub := range []string{"quiet-hub", "other-hub"} {
			some(alert.Low, hub, 1)
			some(alert.High, hub, 1)
		}
		random.Shuffle(len(p.deliveries), func(i, j int) { p.deliveries[i], p.deliveries[j] = p.deliveries[j], p.deliveries[i] })
		g.run(t, p, p.deliveries, 2*time.Minute)
		settle()
		clock.turn(t, together)
	}

	// An alert is put into a digest, and the handler ends before it says so. The event comes again in
	// the next ten minutes, in which there are seats.
	r.fault.Store(nil)
	p.deliveries = nil
	for range digestAfter {
		add(alert.Low, busyHub, 1)
	}
	g.run(t, p, p.deliveries, time.Minute)
	settle()
	killed := r.killAt(t, g, "d|"+busyHub+"|")
	add(alert.Low, busyHub, 1)
	g.run(t, p, []int{len(p.events) - 1}, time.Minute)
	killed("an alert was put into a digest")
	clock.turn(t, together)
	settle()
	clock.turn(t, together+wait)

	// Digests are told, and the handler ends between the row that takes one and the message, and
	// between the message and the row that says so.
	killed = r.killAt(t, g, `"digest/`+busyHub)
	fire := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		return g.instances[0].current.Load().Fire(ctx, judge.VerdictsName)
	}
	if err := fire(); err == nil {
		t.Error("the handler was killed, and the timer says that it did its work")
	}
	killed("a digest was taken")
	hearing := make(chan struct{})
	heard := func() { g.instances[0].kill(); close(hearing) }
	hook.heard.Store(&heard)
	for attempts, told := 1, false; !told; attempts++ {
		if attempts > 60 {
			t.Fatal("no digest came")
		}
		clock.turn(t, wait)
		err := fire()
		select {
		case <-hearing:
			if told = true; err == nil {
				t.Error("the handler was killed, and the timer says that it did its work")
			}
		case <-time.After(100 * time.Millisecond): // The handler is being started.
		}
	}
	r.fault.Store(&chaotic)
	for attempts := 1; due(t, r) > 0; attempts++ {
		if attempts > 60 {
			t.Fatalf("%d digests are not told", due(t, r))
		}
		clock.turn(t, wait) // as the timer waits
		_ = fire()          // what fails is tried again
	}

	rows := deferrals(t, r)
	alone, aloneHigh := map[string]bool{}, map[string]bool{}
	for id, s := range severity {
		alone[id] = true
		aloneHigh[id] = s == alert.High
	}
	in := 0 // digests
	for digest, of := range rows {
		for _, a := range of {
			if id := a.ID + "/0"; !alone[id] {
				t.Errorf("%s has %s, which is in another digest or was never raised", digest, id)
			} else {
				delete(alone, id)
				aloneHigh[id] = false
			}
			in++
		}
	}
	each := map[string]int{}
	for id := range alone {
		if each[of[id]+" "+string(severity[id])]++; of[id] == busyHub && each[of[id]+" "+string(severity[id])] > 4*digestAfter {
			t.Errorf("more than %d alerts of %s and %s are told one by one in 40 minutes", 4*digestAfter, of[id], severity[id])
		}
	}
	for id, hub := range of {
		if hub != busyHub && !alone[id] {
			t.Errorf("an alert of %s, which raised few, is in a digest", hub)
		}
	}
	for _, l := range []struct {
		what  string
		d     *digests
		c     *channel
		least alert.Severity
		want  map[string]bool
		in    int
	}{{"the channel of all", hook, all, alert.Low, alone, in}, {"the channel of the grave", grave, high, alert.High, aloneHigh, -1}} {
		ids, count := l.d.check(l.what, rows, l.least)
		for id, is := range l.want {
			if is {
				ids[id] = true
			}
		}
		if l.in >= 0 && count != l.in {
			t.Errorf("%s was told of %d alerts in digests, want %d", l.what, count, l.in)
		}
		again := l.c.compare(t, l.what, ids)
		t.Logf("%s was told of %d alerts by themselves and %d digests by %d requests, %d times of one that it had", l.what, len(ids)-len(l.d.told), len(l.d.told), l.c.requests, again)
		if len(l.d.told) == 0 || again == 0 {
			t.Errorf("%s: %d digests, and %d messages came again: this proves nothing", l.what, len(l.d.told), again)
		}
	}
	t.Logf("%d raisings, %d of them in digests, %d deliveries of which %d failed, %d kills, in %v", len(severity), in, g.deliveries.Load(), g.failed.Load(), g.instances[0].kills.Load(), time.Since(start).Round(time.Millisecond))
}

// killAt kills the handler once, after the first write to a table whose body has a text. The function
// that it returns waits for that, and ends all faults.
func (r *rig) killAt(t *testing.T, g *grid, text string) func(what string) {
	done, once := make(chan struct{}), sync.Once{}
	fault := func(s step) (made azurite.Fault) {
		body, err := io.ReadAll(s.request.Body)
		s.request.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || s.request.Method == http.MethodGet || !bytes.Contains(body, []byte(text)) {
			return azurite.Pass
		}
		once.Do(func() {
			if err := s.perform(); err != nil {
				t.Error(err)
			}
			g.instances[0].kill()
			made = azurite.Drop
			close(done)
		})
		return made
	}
	r.fault.Store(&fault)
	return func(what string) {
		t.Helper()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("nothing is written that says that %s", what)
		}
		r.fault.Store(nil)
	}
}
