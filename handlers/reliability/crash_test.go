package reliability

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/functions"
)

// delivery is an event for a function, or a message of resource logs for the
// relay.
type delivery struct {
	function string
	body     []byte
}

// scenario is one way of an event through the handler.
type scenario struct {
	noTables bool // the tables do not exist
	// noQuarantine says that the table of the quarantine does not exist. That of alerts does: it is
	// remembered there that the hub was heard of, without which nothing fails.
	noQuarantine bool
	forwards     bool       // the relay publishes log records as they are, too
	variant      bool       // nearly all its steps are those of another scenario
	rule         string     // when a suppression of all alerts of the hub starts; none if empty
	hidden       bool       // it hides the alert in the end
	first        []delivery // what has been delivered before
	crash        delivery   // the delivery that a crash interrupts
}

// sample returns a sample event or message, with pairs of strings replaced.
func sample(t testing.TB, name string, replace ...string) []byte {
	t.Helper()
	b, err := os.ReadFile("../local/samples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !bytes.Contains(b, []byte(replace[i])) {
			t.Fatalf("%s has no %q to replace", name, replace[i])
		}
	}
	return []byte(strings.NewReplacer(replace...).Replace(string(b)))
}

func scenarios(t testing.TB) map[string]scenario {
	const (
		id   = `"id": "00000000-0000-4000-8000-000000000001"`
		at   = `"eventTime": "2026-02-01T08:00:01.1234567Z"`
		read = `"data": {`
	)
	added := delivery{"CertificateAdded", sample(t, "certificate-added.json")}
	again := delivery{"CertificateAdded", sample(t, "certificate-added.json",
		id, strings.Replace(id, "8000", "8009", 1), at, strings.Replace(at, "T08", "T07", 1))}
	unreadable := delivery{"CertificateAdded", sample(t, "certificate-added.json", read, `"other": {`)}
	large := delivery{"CertificateAdded", sample(t, "certificate-added.json", read, `"text": "`+strings.Repeat("long ", 120<<10)+`", "other": {`)}
	nameless := delivery{"CertificateAdded", sample(t, "certificate-added.json", "/certificates/root-ca", "/certificates/..")}
	night := delivery{judge.RelayName, sample(t, "logs/night-shift.json")}
	// The first record stays in its place and becomes unreadable.
	broken := delivery{judge.RelayName, sample(t, "logs/night-shift.json",
		`"time": "2026-02-01T09:00:00Z"`, `"time": "2026-02-01T09:00:00Z and a half"`)}
	// A record of another category, and one of which no event can be made.
	const on = `"resourceId": "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB"`
	mixed := delivery{judge.RelayName, []byte(`{"records": [
		{"time": "2026-02-01T09:00:00Z", ` + on + `, "operationName": "endpointUnhealthy", "category": "Routes", "properties": "{}"},
		{"time": "2026-02-01T09:00:00Z", "operationName": "endpointUnhealthy", "category": "Routes", "properties": "{}"}]}`)}
	return map[string]scenario{
		"a new alert":                          {crash: added},
		"another occurrence":                   {first: []delivery{added}, crash: again},
		"a redelivery":                         {first: []delivery{added, again}, crash: added},
		"the first alert, without a table":     {noTables: true, crash: added},
		"a suppressed alert":                   {rule: "2026-02-01", hidden: true, crash: added},
		"another suppressed occurrence":        {rule: "2026-02-01", hidden: true, first: []delivery{added}, crash: again},
		"an occurrence that is not suppressed": {rule: "2026-02-01T07:30:00Z", first: []delivery{added}, crash: again},
		"only another one is suppressed":       {rule: "2026-02-01T07:30:00Z", first: []delivery{again}, crash: added},
		"a quarantined event":                  {crash: unreadable},
		"a quarantined event in several rows":  {crash: large},
		"a quarantined event, again":           {first: []delivery{large}, crash: large},
		"an alert and a quarantined event":     {crash: nameless},
		"both, without a table":                {noTables: true, crash: nameless},
		"both, again":                          {first: []delivery{nameless}, crash: nameless},
		"the first quarantine, no table":       {noQuarantine: true, crash: unreadable},
		"the relay":                            {crash: night},
		"the relay that forwards":              {forwards: true, crash: mixed},
		"the relay with one broken record":     {variant: true, crash: broken},
		"the relay, again, with a broken one":  {variant: true, first: []delivery{broken}, crash: broken},
	}
}

// process is one run of the app on a rig.
type process struct {
	*rig
	functions *functions.Host
	hub       *functions.EventHub
	dying     *sync.Mutex // held from the kill until the next handler is started
}

func (s scenario) startProcess(t testing.TB) process {
	t.Helper()
	p := process{rig: newRig(t, !s.noTables && !s.noQuarantine), dying: &sync.Mutex{}}
	if s.noQuarantine {
		if _, err := p.alerts.CreateTable(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	options := p.options()
	if s.forwards {
		options.ScriptRoot, options.Env = shared.forwarding, append(options.Env, forwardingVariable+"=yes")
	}
	var err error
	if p.functions, err = functions.Start(context.Background(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.functions.Close)
	if p.hub, err = functions.NewEventHub(functions.EventHubOptions{Host: p.functions, Function: judge.RelayName, TimeScale: 0.001}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.hub.Close)
	return p
}

// settle returns once no handler is dying.
func (p process) settle() {
	p.dying.Lock()
	defer p.dying.Unlock()
}

// deliver delivers until the host answers with success, and returns how often it
// delivered. It makes the retries of Event Grid itself. The reader of the event
// hub makes the retries of the relay, and the function Verdicts judges what is left.
func (p process) deliver(t testing.TB, d delivery) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if d.function == judge.RelayName {
		if err := p.hub.Send(d.body); err != nil {
			t.Fatal(err)
		}
		if err := p.hub.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if p.hub.Lost() > 0 {
			t.Fatal("the message is lost")
		}
		// What the relay could not judge at once, the timer judges in the next minutes.
		for attempt := 1; ; attempt++ {
			err := p.functions.Fire(ctx, judge.VerdictsName)
			if err == nil {
				return 1
			}
			if attempt == 5 {
				t.Fatal(err)
			}
			p.settle()
		}
	}
	for attempt := 1; ; attempt++ {
		err := p.functions.Invoke(ctx, d.function, d.body)
		if err == nil {
			return attempt
		}
		if attempt == 3 {
			t.Fatal(err)
		}
		p.settle() // Event Grid waits as well, for ten seconds
	}
}

// run makes the deliveries of a scenario, with faults in the steps of the last
// delivery. It returns the rows, the number of steps, and how often the last
// delivery was made.
func (s scenario) run(t testing.TB, fault func(process, step) azurite.Fault) (rows map[string]map[string]any, steps, deliveries int) {
	t.Helper()
	p := s.startProcess(t)
	if s.rule != "" {
		p.suppress(t, s.rule)
	}
	for _, d := range s.first {
		p.deliver(t, d)
	}
	injected := func(s step) azurite.Fault { return fault(p, s) }
	p.fault.Store(&injected)
	deliveries = p.deliver(t, s.crash)
	p.fault.Store(nil)
	return p.rows(t), int(p.steps.Load()), deliveries
}

// suppress adds a suppression of all alerts of the hub. Its id is the same in all runs.
// Its key has a day to come, since the handler reads no others, and the samples have a
// day that is over.
func (p process) suppress(t testing.TB, starts string) {
	t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(shared.azurite.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := service.NewClient(p.names[2])
	if _, err := rules.CreateTable(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := rules.AddEntity(t.Context(), []byte(`{"PartitionKey": "rule", "RowKey": "99991231|rule-1", "HubName": "contoso-hub",
		"Reason": "a test", "Owner": "team-pki", "CreatedUtc": "2026-02-01", "StartsUtc": "`+starts+`", "ExpiresUtc": "2026-03-01"}`), nil); err != nil {
		t.Fatal(err)
	}
}

// stride is of how many steps a test tries one: make trials takes each. The relay and the
// verdicts have many steps, and of them it is one in five. The race detector sees the rig
// alone, and not the handler, which is another process.
func (s scenario) stride(usual int) int {
	switch {
	case everything():
		return 1
	case raceDetector, s.crash.function == judge.RelayName && !s.forwards:
		return 5
	}
	return usual
}

// TestFailureAtEveryStep makes every request to another service fail in turn, as
// often as a client tries it. The handler answers the invocation with 500, and
// the event comes again. If the suppressions cannot be read, the event is judged as if
// there were none.
func TestFailureAtEveryStep(t *testing.T) {
	t.Parallel()    // it waits
	const tries = 4 // of the client of the table
	setUp(t)
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, steps, _ := s.run(t, func(process, step) azurite.Fault { return azurite.Pass })
			raised := s
			raised.rule = ""
			told, _, _ := raised.run(t, func(process, step) azurite.Fault { return azurite.Pass })
			stride := s.stride(1)
			for n := 1 + 2%stride; n <= steps; n += stride {
				var unread atomic.Bool // it is the suppressions that cannot be read
				got, _, deliveries := s.run(t, func(p process, s step) azurite.Fault {
					if s.n == n && strings.Contains(s.request.URL.Path, p.names[2]) {
						unread.Store(true)
					}
					if s.n >= n && s.n < n+tries {
						return azurite.Broken
					}
					return azurite.Pass
				})
				want, times := rows, 2
				if unread.Load() {
					want, times = told, 1
				}
				if s.crash.function != judge.RelayName && deliveries != times {
					t.Errorf("step %d: done after %d deliveries, want %d", n, deliveries, times)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("step %d: rows without and with the failure (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

// TestCrashAtEveryStep counts the requests to other services for each kind of
// event. It kills the handler before and after each of these requests, and
// delivers again. The rows, and the events that the topic took, are the same as
// after a run without a crash. make trials makes both crashes at each request, and make test one
// of both at each request of an event of a change.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	setUp(t)
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, steps, _ := s.run(t, func(process, step) azurite.Fault { return azurite.Pass })
			if steps == 0 || len(want) == 0 {
				t.Fatalf("%d steps and %d rows without a crash: nothing to test", steps, len(want))
			}
			stride := s.stride(2)
			t.Logf("%d steps, of which one in %d is interrupted before, and one in %[2]d after", steps, stride)
			for key, row := range want {
				if by, ok := row["SuppressedBy"]; ok && (by == "rule-1") != s.hidden {
					t.Errorf("%s is suppressed by %q, want it hidden: %v", key, by, s.hidden)
				}
			}
			crashes := 0
			tried := 0
			for kind, after := range []bool{false, true} {
				for n := 1 + kind%min(stride, steps); n <= steps; n += stride {
					tried++
					t.Run(fmt.Sprintf("%s step %d", map[bool]string{false: "before", true: "after"}[after], n), func(t *testing.T) {
						var crashed atomic.Bool
						got, had, deliveries := s.run(t, func(p process, s step) azurite.Fault {
							if s.n != n {
								return azurite.Pass
							}
							if after {
								if err := s.perform(); err != nil {
									t.Error(err)
								}
							}
							p.dying.Lock()
							defer p.dying.Unlock()
							kill(p.functions)
							crashed.Store(true)
							return azurite.Drop
						})
						if !crashed.Load() {
							// On a busy machine the relay leaves verdicts to the timer, which
							// takes more steps.
							t.Skipf("this run has %d steps", had)
						}
						crashes++
						if s.crash.function != judge.RelayName && deliveries != 2 {
							t.Errorf("done after %d deliveries, want 2: the one that crashed and another", deliveries)
						}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("rows without and with the crash (-want +got):\n%s", diff)
						}
					})
				}
			}
			if 4*crashes < 3*tried {
				t.Errorf("%d crashes where %d were tried: the runs are not alike", crashes, tried)
			}
		})
	}
}
