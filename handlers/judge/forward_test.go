package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
)

// ofLog returns a detector that finds each record of a category.
func ofLog(name, category string, operations ...string) detector.Detector {
	return detector.Detector{
		Name: name, AlertType: name, Title: name, Severity: alert.Low,
		On: detector.Trigger{EventTypes: []string{event.LogType(category)}, Operations: operations},
		Detect: func(e event.Event) (findings []alert.Finding, err error) {
			records, err := event.LogRecords(e)
			for _, r := range records {
				findings = append(findings, alert.Finding{
					Hub:    alert.Hub{Name: r.Hub.Name, ResourceID: r.Hub.Resource(), SubscriptionID: r.Hub.SubscriptionID},
					Entity: alert.Entity{Type: alert.IoTHub, Name: r.Hub.Name}, Message: r.Operation, Confidence: alert.Stated,
				})
			}
			return findings, err
		},
	}
}

// logLine returns a record of a category other than Connections.
func logLine(category, operation string, second int) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:%02dZ","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"operationName":%q,"category":%q,"level":"Information","properties":"{\"deviceId\":\"pump-01\"}"}`, second, operation, category)
}

// records returns the operations in published events of log records, each with how often
// its record was published, by category and record ID.
func (p *topic) records(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, raw := range p.events {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if category, ok := event.LogCategory(e.Type); ok {
			records, err := event.LogRecords(e)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				found[category+" "+r.Operation+" "+r.ID]++
			}
		}
	}
	return found
}

func TestWanted(t *testing.T) {
	all := map[string]bool(nil)
	for name, test := range map[string]struct {
		detectors []detector.Detector
		want      relay.Wanted
	}{
		"nothing of the log":      {detector.All, relay.Wanted{}},
		"operations":              {[]detector.Detector{ofLog("A", "Routes", "One", "two"), ofLog("B", "TwinQueries")}, relay.Wanted{"Routes": {"one": true, "two": true}, "TwinQueries": all}},
		"operations together":     {[]detector.Detector{ofLog("A", "Routes", "one"), ofLog("B", "routes", "two")}, relay.Wanted{"Routes": {"one": true, "two": true}}},
		"all, and one of them":    {[]detector.Detector{ofLog("A", "Routes"), ofLog("B", "Routes", "two")}, relay.Wanted{"Routes": all}},
		"one, and then all":       {[]detector.Detector{ofLog("A", "Routes", "one"), ofLog("B", "Routes")}, relay.Wanted{"Routes": all}},
		"a category of no record": {[]detector.Detector{ofLog("A", "Gossip")}, relay.Wanted{}},
	} {
		if diff := cmp.Diff(test.want, Wanted(test.detectors)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestRelayForwards checks that the records that are wanted are published as they are, and
// that the verdicts on connections are as without.
func TestRelayForwards(t *testing.T) {
	r := newRig()
	r.Logs.Wanted = relay.Wanted{"Connections": nil, "Routes": {"b": true}}
	out, err := r.relay(t, `{"records":[`+strings.Join([]string{failedConnection("pump-01"), logLine("Routes", "A", 1), logLine("Routes", "B", 2), logLine("TwinQueries", "B", 3)}, ",")+`]}`,
		`{"records":[`+failedConnection("pump-02")+`,`+failedConnection("pump-01")+`]}`)
	if err != nil || out.Counts["forwarded: Connections"] != 2 || out.Counts["forwarded: Routes"] != 1 || out.Counts["token invalid"] != 3 || out.Quarantined > 0 {
		t.Errorf("%+v, error %v", out, err)
	}
	var found []string
	for record, n := range r.topic.records(t) {
		category, rest, _ := strings.Cut(record, " ")
		operation, _, _ := strings.Cut(rest, " ")
		found = append(found, fmt.Sprint(category, " ", operation, " ", n))
	}
	slices.Sort(found)
	if want := []string{"Connections deviceConnect 1", "Connections deviceConnect 1", "Routes B 1"}; !slices.Equal(found, want) {
		t.Errorf("forwarded %q, want %q", found, want)
	}
	if got := r.topic.types(t); len(got) != 4 || len(r.topic.events) != 4 {
		t.Errorf("published %q; want the records of two categories and two verdicts", got)
	}
	occurrences := 0
	for _, raw := range r.topic.events {
		if v := ofLog("Routes", "Routes").Judge(raw); v.Err == nil && v.Matched {
			occurrences += len(v.Occurrences)
		}
	}
	if occurrences != 1 {
		t.Errorf("a detector of Routes finds %d records, want 1", occurrences)
	}
}

// TestRelayForwardsNothing checks that there is no publication if nothing is wanted, or
// nothing of what is wanted comes.
func TestRelayForwardsNothing(t *testing.T) {
	for _, want := range []relay.Wanted{nil, {}, {"JobsOperations": nil}} {
		r := newRig()
		r.Logs.Wanted = want
		r.topic.err = errors.New("the topic is asked")
		if out, err := r.relay(t, `{"records":[`+logLine("Routes", "A", 1)+`]}`); err != nil || len(out.Notes) > 0 {
			t.Errorf("%v: %+v, error %v", want, out, err)
		}
	}
}

// TestForwardedIsQuarantined checks that what can never be forwarded is quarantined once, does
// not hold up the rest, and can be redriven.
func TestForwardedIsQuarantined(t *testing.T) {
	nowhere := strings.Replace(logLine("Routes", "A", 1), "CONTOSO-HUB", "", 1)
	timeless := strings.Replace(failedConnection("pump-02"), "2026-02-01T10:00:00Z", "soon", 1)
	r := newRig()
	r.Logs.Wanted = relay.Wanted{"Routes": nil, "Connections": nil}
	r.Alerts = recorder{recorded: alert.Recorded{Outcome: alert.New}}
	r.topic.refused = func(e []byte) error {
		if strings.Contains(string(e), "log.Connections") {
			return errors.New("400 BadRequest")
		}
		return nil
	}
	out, err := r.relay(t, `{"records":[`+strings.Join([]string{nowhere, logLine("Routes", "B", 2), timeless, failedConnection("pump-01")}, ",")+`]}`)
	if err != nil || out.Quarantined != 3 || len(r.quarantine.kept) != 3 {
		t.Fatalf("%d quarantined, error %v: %+v", out.Quarantined, err, r.quarantine.kept)
	}
	if got := r.topic.types(t); !slices.Equal(got, []string{"hubwatch.iothub.log.Routes", "token-invalid"}) {
		t.Errorf("published %q", got)
	}
	rules := []detector.Detector{ofLog("Connected", "Connections"), ofLog("Routed", "Routes")}
	for _, q := range r.quarantine.kept {
		again, err := r.Redrive(t.Context(), rules, q)
		if q.Function != RelayName || err != nil {
			t.Errorf("of %s: error %v", q.Function, err)
		}
		switch {
		case q.Reason == "cannot be published: 400 BadRequest":
			if len(again.Occurrences) != 1 || again.Occurrences[0].Detector != "Connected" || len(again.Reasons) > 0 {
				t.Errorf("the refused event: %+v", again)
			}
		case len(again.Occurrences) > 0 || len(again.Reasons) == 0:
			t.Errorf("%s: redriven: %+v; want a reason", q.Reason, again)
		}
	}
	// A record of which the relay's own rules change is judged by all detectors.
	again, err := r.Redrive(t.Context(), append(rules, detector.DeviceTokenInvalid), alert.Quarantined{Function: RelayName, Body: []byte(failedConnection("pump-03"))})
	if err != nil || len(again.Occurrences) != 2 || len(again.Reasons) > 0 {
		t.Errorf("a record: %+v, error %v", again, err)
	}
	r.quarantine.err = errors.New("table is down")
	if _, err := r.relay(t, `{"records":[`+nowhere+`]}`); err == nil {
		t.Error("no error with a quarantine that is down")
	}
}

// faulty is a topic and a store of which one request fails.
type faulty struct {
	*topic
	n      int // requests
	at     int // the one that fails; 0 for none
	before bool
}

var errFault = errors.New("away")

// request counts a request. do makes it.
func (f *faulty) request(do func() error) error {
	if f.n++; f.n != f.at {
		return do()
	}
	if !f.before {
		if err := do(); err != nil {
			return err
		}
	}
	return errFault
}

func (f *faulty) Publish(ctx context.Context, events [][]byte) (refused map[int]error, err error) {
	err = f.request(func() (err error) {
		refused, err = f.topic.Publish(ctx, events)
		return err
	})
	return refused, err
}

// TestFaultAtEachRequest makes each request of the relay fail in turn, before and after it is
// done, and lets the batch come again as often as the host would. Each record that is wanted
// is published, always with the same ID, and nothing else is.
func TestFaultAtEachRequest(t *testing.T) {
	messages := []string{
		`{"records":[` + strings.Join([]string{failedConnection("pump-01"), logLine("Routes", "A", 1), logLine("TwinQueries", "B", 3)}, ",") + `]}`,
		`{"records":[` + strings.Join([]string{logLine("Routes", "C", 4), strings.Replace(logLine("Routes", "D", 4), "CONTOSO-HUB", "OTHER-HUB", 1), "7"}, ",") + `]}`,
	}
	run := func(at int, before bool) (records map[string]int, verdicts []string, quarantined map[string]bool, requests int) {
		r := newRig()
		r.Logs.Wanted = relay.Wanted{"Connections": nil, "Routes": nil}
		f := &faulty{topic: r.topic, at: at, before: before}
		r.Logs.Topic = f
		r.store.fail = func(string) error { return f.request(func() error { return nil }) }
		r.Judge.Quarantine = quarantineFunc(func(ctx context.Context, q alert.Quarantined) error {
			return f.request(func() error { return r.quarantine.Quarantine(ctx, q) })
		})
		for attempt := 1; ; attempt++ {
			_, err := r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, messages...)})
			if err == nil {
				break
			}
			if attempt == 3 || !errors.Is(err, errFault) {
				t.Fatalf("request %d: %v", at, err)
			}
		}
		if _, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName}); err != nil {
			t.Fatalf("request %d: %v", at, err)
		}
		quarantined = map[string]bool{}
		for _, q := range r.quarantine.kept {
			quarantined[string(q.Body)] = true
		}
		for _, kind := range r.topic.types(t) {
			if !strings.HasPrefix(kind, "hubwatch.") {
				verdicts = append(verdicts, kind)
			}
		}
		return r.topic.records(t), slices.Compact(verdicts), quarantined, f.n
	}
	want, verdicts, quarantined, requests := run(0, false)
	if len(want) != 4 || !slices.Equal(verdicts, []string{"token-invalid"}) || !quarantined["7"] || len(quarantined) != 1 || requests < 6 {
		t.Fatalf("%d requests: records %v, verdicts %q, quarantined %v", requests, want, verdicts, quarantined)
	}
	t.Logf("%d requests", requests)
	for at := 1; at <= requests; at++ {
		for _, before := range []bool{false, true} {
			got, gotVerdicts, gotQuarantined, _ := run(at, before)
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) || !slices.Equal(gotVerdicts, verdicts) || !maps.Equal(gotQuarantined, quarantined) {
				t.Errorf("request %d fails, before it is done %v: records %v, verdicts %q, quarantined %v", at, before, got, gotVerdicts, gotQuarantined)
			}
			for record, n := range got {
				if n > 2 {
					t.Errorf("request %d fails: %s is published %d times", at, record, n)
				}
			}
		}
	}
}

// quarantineFunc is a function as an alert.Quarantine.
type quarantineFunc func(context.Context, alert.Quarantined) error

func (f quarantineFunc) Quarantine(ctx context.Context, q alert.Quarantined) error { return f(ctx, q) }

// TestForwardedInOneBatch checks that one invocation asks the topic once, whatever is wanted of
// its messages.
func TestForwardedInOneBatch(t *testing.T) {
	r := newRig()
	r.Logs.Wanted = relay.Wanted{}
	var messages []string
	for i, category := range event.LogCategories[1:] {
		r.Logs.Wanted[category] = nil
		messages = append(messages, `{"records":[`+logLine(category, "a", i)+`]}`)
	}
	f := &faulty{topic: r.topic}
	r.Logs.Topic = f
	data := hubMessages(t, messages...)
	if _, err := r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: jsontext.Value(data)}); err != nil || f.n != 1 || len(r.topic.events) != len(messages) {
		t.Errorf("%d publications of %d events, error %v", f.n, len(r.topic.events), err)
	}
}
