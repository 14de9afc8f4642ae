package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/verdict"
)

// failedConnection is a record of a device that was refused.
func failedConnection(device string) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"operationName":"deviceConnect","category":"Connections","level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized","properties":{"deviceId":%q,"authType":"sas"}}`, device)
}

// hubMessages returns messages as the host gives them to a function with an
// Event Hubs trigger, cardinality many and dataType string: a string that holds
// an array of strings.
func hubMessages(t *testing.T, messages ...string) jsontext.Value {
	t.Helper()
	list, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(string(list))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// quarantineStore is a quarantine in memory, or one that has an error.
type quarantineStore struct {
	kept []alert.Quarantined
	err  error
}

func (s *quarantineStore) Quarantine(_ context.Context, q alert.Quarantined) error {
	if s.err == nil {
		s.kept = append(s.kept, q)
	}
	return s.err
}

// topic is a Topic in memory.
type topic struct {
	events  []jsontext.Value
	refused func(event []byte) error // nil for what takes all
	err     error
}

func (p *topic) Publish(_ context.Context, events [][]byte) (refused map[int]error, err error) {
	refused = map[int]error{}
	if p.err != nil {
		return refused, p.err
	}
	for i, e := range events {
		if p.refused != nil {
			if err := p.refused(e); err != nil {
				refused[i] = err
				continue
			}
		}
		p.events = append(p.events, slices.Clone(e))
	}
	return refused, nil
}

// types returns the types of the published events, sorted.
func (p *topic) types(t *testing.T) (types []string) {
	t.Helper()
	for _, raw := range p.events {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, strings.TrimPrefix(e.Type, "hubwatch.iothub.connection."))
	}
	slices.Sort(types)
	return types
}

// rig is a judge of logs with everything in memory, a minute after the records of
// failedConnection.
type rig struct {
	Judge
	store      *memory
	topic      *topic
	quarantine *quarantineStore
	now        time.Time
}

func newRig() *rig {
	r := &rig{store: newMemory(), topic: &topic{}, quarantine: &quarantineStore{}, now: time.Date(2026, 2, 1, 10, 1, 0, 0, time.UTC)}
	logs := NewLogs(verdict.Defaults(), r.store, r.topic)
	logs.Now = func() time.Time { return r.now }
	logs.Stager.Now, logs.Noter.Now = logs.Now, logs.Now
	logs.Wait = func(_ context.Context, wait time.Duration) error { r.now = r.now.Add(wait); return nil }
	r.store.now = logs.Now
	r.Judge = Judge{Quarantine: r.quarantine, Logs: logs}
	return r
}

func (r *rig) relay(t *testing.T, messages ...string) (host.Outcome, error) {
	t.Helper()
	return r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, messages...)})
}

func TestRelayTakesEveryFormOfMessages(t *testing.T) {
	record := failedConnection("pump-01")
	message := `{"records":[` + record + `]}`
	for name, data := range map[string]jsontext.Value{
		"a string of an array of strings": hubMessages(t, message, `{"records":[`+failedConnection("pump-02")+`]}`),
		"an array of objects":             jsontext.Value(`[` + message + `,` + failedConnection("pump-02") + `]`),
		"an object":                       jsontext.Value(`{"records":[` + record + `,` + failedConnection("pump-02") + `]}`),
	} {
		r := newRig()
		out, err := r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: data})
		if err != nil || r.store.facts() != 2 || len(r.quarantine.kept) != 0 {
			t.Errorf("%s: %d records kept, %d quarantined, error %v; want two records", name, r.store.facts(), len(r.quarantine.kept), err)
		}
		if out.Counts["token invalid"] != 2 || out.Counts["published"] != 2 {
			t.Errorf("%s: counts %v, want two of token invalid, and two published", name, out.Counts)
		}
	}
}

// TestRelayNeedsNoTopic checks that records are kept and acknowledged while verdicts
// cannot be written or published, and that the function Verdicts makes that good.
func TestRelayNeedsNoTopic(t *testing.T) {
	for name, breaks := range map[string]func(*rig){
		"the topic is away":          func(r *rig) { r.topic.err = errors.New("away") },
		"verdicts cannot be written": func(r *rig) { r.store.fail = only("Put", errors.New("away")) },
	} {
		r := newRig()
		breaks(r)
		out, err := r.relay(t, `{"records":[`+failedConnection("pump-01")+`]}`)
		if err != nil || len(r.topic.events) > 0 || !strings.Contains(strings.Join(out.Notes, " "), "left to the function Verdicts: ") {
			t.Errorf("%s: error %v, %d events, notes %q", name, err, len(r.topic.events), out.Notes)
		}
		r.now = r.now.Add(30 * time.Minute)
		out, err = r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName})
		if err == nil || out.Counts["oldestMarkSeconds"] != 31*60 {
			t.Errorf("%s: Verdicts has the error %v and says that the oldest mark is late by %d s, want 31 minutes", name, err, out.Counts["oldestMarkSeconds"])
		}
		r.topic.err, r.store.fail = nil, nil
		out, err = r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName})
		if got := r.topic.types(t); err != nil || !slices.Equal(got, []string{"token-invalid"}) || out.Counts["oldestMarkSeconds"] != 0 {
			t.Errorf("%s: afterwards %q, error %v, counts %v", name, got, err, out.Counts)
		}
	}
}

// only returns a memory.fail that makes one method fail.
func only(method string, err error) func(string) error {
	return func(m string) error {
		if m == method {
			return err
		}
		return nil
	}
}

// TestRelayKeepsBeforeItAnswers checks that a batch comes again if it could not be kept.
func TestRelayKeepsBeforeItAnswers(t *testing.T) {
	for _, method := range []string{"Stage", "Mark"} {
		r := newRig()
		r.store.fail = only(method, errors.New("away"))
		if out, err := r.relay(t, `{"records":[`+failedConnection("pump-01")+`]}`); err == nil || len(r.topic.events) > 0 {
			t.Errorf("%s fails: outcome %+v, %d events: want a batch that is tried again", method, out, len(r.topic.events))
		}
	}
}

// TestVerdictsWait checks that the end of a session is told neither at once nor if the
// device comes back, and that it is told if it does not.
func TestVerdictsWait(t *testing.T) {
	disconnected := strings.Replace(failedConnection("pump-01"), "deviceConnect", "deviceDisconnect", 1)
	back := strings.NewReplacer("10:00:00", "10:00:07", `"401003"`, `""`, "IotHubUnauthorized", "").Replace(failedConnection("pump-01"))
	for name, test := range map[string]struct {
		records string
		want    []string
	}{
		"a device that comes back": {disconnected + "," + back, nil},
		"a device that stays away": {disconnected, []string{"missing"}},
		"one of each":              {disconnected + "," + back + "," + strings.Replace(disconnected, "pump-01", "pump-02", 1), []string{"missing"}},
	} {
		r := newRig()
		if _, err := r.relay(t, `{"records":[`+test.records+`]}`); err != nil || len(r.topic.events) > 0 {
			t.Errorf("%s: error %v, %d events at once", name, err, len(r.topic.events))
		}
		r.now = r.now.Add(3 * time.Hour)
		_, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName})
		if got := r.topic.types(t); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, error %v; want %q", name, got, err, test.want)
		}
	}
}

// TestPause checks that a flood of batches makes the relay judge their ten minutes once in
// five seconds, that the other places are not kept waiting, and that the function Verdicts
// knows no pause.
func TestPause(t *testing.T) {
	r := newRig()
	n := 0
	// refuse lets one more device be refused on a hub, and returns how many are published.
	refuse := func(hub string) int {
		n++
		record := strings.Replace(failedConnection(fmt.Sprint("pump-", n)), "CONTOSO-HUB", hub, 1)
		if _, err := r.relay(t, `{"records":[`+record+`]}`); err != nil {
			t.Fatal(err)
		}
		return len(r.topic.events)
	}
	for _, step := range []struct {
		later time.Duration
		hub   string
		want  int
	}{
		{0, "A", 1},
		{0, "A", 1},
		{pause - 1, "A", 1},
		{0, "B", 2},
		{1, "A", 5}, // and the two that waited
		{pause - 1, "A", 5},
		{-time.Hour, "A", 7}, // The clock was set.
	} {
		r.now = r.now.Add(step.later)
		if got := refuse(step.hub); got != step.want {
			t.Errorf("%v, hub %s: %d events are published, want %d", r.now, step.hub, got, step.want)
		}
	}
	refuse("A")
	if _, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName}); err != nil || len(r.topic.events) != n {
		t.Errorf("after Verdicts %d events, error %v; want %d", len(r.topic.events), err, n)
	}
	r.now = r.now.Add(pause)
	if refuse("A"); len(r.Logs.judged.paused) != 1 {
		t.Errorf("%d places are remembered, want the one that is paused", len(r.Logs.judged.paused))
	}
	// A verdict that took two seconds is not read again for forty times as long.
	r.now = r.now.Add(pause)
	r.topic.refused = func([]byte) error { r.now = r.now.Add(2 * time.Second); return nil }
	refuse("C")
	r.topic.refused = nil
	for _, step := range []struct {
		later time.Duration
		want  int
	}{{2*rest*time.Second - 1, 0}, {1, 2}} {
		r.now = r.now.Add(step.later)
		before := len(r.topic.events)
		if got := refuse("C") - before; got != step.want {
			t.Errorf("%v after a verdict that took two seconds, %d events are published, want %d", step.later, got, step.want)
		}
	}
}

// TestStormOfSmallMessages lets very many devices be refused at once, in messages of twenty,
// for seven seconds, while the function Verdicts comes at any of these: there is one notice,
// that of the storm, or that and its growth, and none of a device.
func TestStormOfSmallMessages(t *testing.T) {
	const devices, each, messages = 5000, 20, 250
	message := func(n int) string {
		var records []string
		for d := n * each; d < (n+1)*each; d++ {
			records = append(records, failedConnection(fmt.Sprint("pump-", d)))
		}
		return `{"records":[` + strings.Join(records, ",") + `]}`
	}
	for _, timer := range []int{0, 1, 4, 8} { // the second in which the function Verdicts comes
		r := newRig()
		begin := r.now
		var next int
		relayed := func(until time.Duration) { // what arrives until then
			for ; next < messages && time.Duration(next)*28*time.Millisecond <= until; next++ {
				if _, err := r.relay(t, message(next)); err != nil {
					t.Fatal(err)
				}
				r.now = begin.Add(time.Duration(next) * 28 * time.Millisecond)
			}
		}
		r.Logs.Wait = func(_ context.Context, wait time.Duration) error {
			relayed(r.now.Sub(begin) + wait)
			r.now = begin.Add(time.Minute)
			return nil
		}
		relayed(time.Duration(timer) * time.Second)
		if _, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName}); err != nil {
			t.Fatal(err)
		}
		relayed(time.Minute)
		r.now = begin.Add(time.Duration(timer)*time.Second + time.Minute)
		if _, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName}); err != nil {
			t.Fatal(err)
		}
		types := r.topic.types(t)
		if len(types) == 0 || len(types) > 4 || slices.ContainsFunc(types, func(s string) bool { return s != "storm" }) || len(r.store.marks) > 0 {
			t.Errorf("a timer after %d s: %d notices %.200q, %d marks; want those of a storm alone", timer, len(types), types, len(r.store.marks))
		}
		if last := string(r.topic.events[len(types)-1]); !strings.Contains(last, fmt.Sprintf(`"n":%d,`, devices)) {
			t.Errorf("a timer after %d s: the last notice is not of %d devices: %.300s", timer, devices, last)
		}
	}
}

// TestHeldBack checks that devices that are too many to be told at once and no storm are told
// by the function Verdicts, a minute after they came at the latest: also in the first seconds,
// after a crash of the relay before it had judged, and beside another cause.
func TestHeldBack(t *testing.T) {
	message := func(from, to int) string {
		var records []string
		for d := from; d < to; d++ {
			records = append(records, failedConnection(fmt.Sprint("pump-", d)))
		}
		return `{"records":[` + strings.Join(records, ",") + `]}`
	}
	expired := strings.Replace(message(0, 1), "IotHubUnauthorized", "The specified SAS token is expired", 1)
	for name, test := range map[string]struct {
		fail  string // of the store, while the relay works
		later time.Duration
		wait  time.Duration // of the function Verdicts
	}{
		"the timer comes at once":   {"", 0, 10 * time.Second},
		"the timer comes soon":      {"", 4 * time.Second, 6 * time.Second},
		"the timer comes late":      {"", time.Minute, 0},
		"the relay could not judge": {"Put", 4 * time.Second, 10 * time.Second},
		"nor for long":              {"Put", 20 * time.Second, 0},
	} {
		r := newRig()
		if test.fail != "" {
			r.store.fail = only(test.fail, errors.New("away"))
		}
		if _, err := r.relay(t, message(0, 10)); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(pause)
		if _, err := r.relay(t, message(10, 40), expired); err != nil {
			t.Fatal(err)
		}
		if got := len(r.topic.events); test.fail == "" && got != 11 {
			t.Errorf("%s: %d are told at once, want the ten of the first message and one of another cause", name, got)
		}
		r.store.fail = nil
		if len(r.store.marks) != 1 {
			t.Errorf("%s: %d marks, want one for the function Verdicts", name, len(r.store.marks))
		}
		r.now = r.now.Add(test.later)
		before := r.now
		out, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName})
		if waited := r.now.Sub(before); err != nil || waited != test.wait || out.Counts[OldestMark] != 0 || len(out.Notes) > 0 {
			t.Errorf("%s: waited for %v, want %v; error %v, %+v", name, waited, test.wait, err, out)
		}
		devices := map[string]int{}
		for _, raw := range r.topic.events {
			e, err := event.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			devices[e.Type+" "+e.Subject]++
		}
		if len(devices) != 41 || len(r.topic.events) != 41 || len(r.store.marks) != 0 {
			t.Errorf("%s: %d events of %d devices and causes, %d marks; want 41 of as many, and none", name, len(r.topic.events), len(devices), len(r.store.marks))
		}
	}
}

// TestHeldBackNoLonger checks that devices that the relay left to wait, because it had judged
// their ten minutes a moment before, are told a minute after they came at the latest. The
// function Verdicts comes as late as it can.
func TestHeldBackNoLonger(t *testing.T) {
	const devices = 40
	message := func(from, to int) string {
		var records []string
		for d := from; d < to; d++ {
			records = append(records, failedConnection(fmt.Sprint("pump-", d)))
		}
		return `{"records":[` + strings.Join(records, ",") + `]}`
	}
	for name, test := range map[string]struct {
		more  []time.Duration // after the devices came, when one more comes
		times bool            // whether the store tells when rows were written
	}{
		"nothing more comes":                   {nil, true},
		"one more comes just before":           {[]time.Duration{52 * time.Second}, true},
		"and nobody knows when":                {[]time.Duration{52 * time.Second}, false},
		"one more comes at once, and one late": {[]time.Duration{time.Second, 58 * time.Second}, true},
	} {
		r := newRig()
		if !test.times {
			r.store.now = nil
		}
		if _, err := r.relay(t, message(0, 3)); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Second)
		came := r.now
		if _, err := r.relay(t, message(3, devices)); err != nil {
			t.Fatal(err)
		}
		for n, later := range test.more {
			r.now = came.Add(later)
			if _, err := r.relay(t, message(devices+n, devices+n+1)); err != nil {
				t.Fatal(err)
			}
		}
		r.now = came.Add(time.Minute - 1)
		if _, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName}); err != nil {
			t.Fatal(err)
		}
		if took, want := r.now.Sub(came), devices+len(test.more); took > time.Minute || len(r.topic.events) != want || len(r.store.marks) != 0 {
			t.Errorf("%s: %d events after %v, and %d marks are left; want %d within a minute, and none", name, len(r.topic.events), took, len(r.store.marks), want)
		}
	}
}

// TestBusy checks that verdicts that others write meanwhile are no error of the function, are
// tried again within its time, keep their marks, and are counted as late while it lasts.
func TestBusy(t *testing.T) {
	for name, test := range map[string]struct {
		conflicts int // writes that meet one
		waits     int
		late      int // seconds
	}{
		"a short while":     {4, 1, 0},
		"some seconds":      {20, 5, 0},
		"longer than it is": {1 << 30, 12, 60 + 5 + 12},
	} {
		r := newRig()
		r.store.fail = only("Put", errors.New("away"))
		if _, err := r.relay(t, `{"records":[`+failedConnection("pump-01")+`]}`); err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(pause)
		left, waits := test.conflicts, 0
		r.store.fail = func(method string) error {
			if method != "Put" || left == 0 {
				return nil
			}
			left--
			return fmt.Errorf("412: %w", verdict.ErrConflict)
		}
		r.Logs.Wait = func(_ context.Context, wait time.Duration) error {
			waits++
			r.now = r.now.Add(wait)
			return nil
		}
		out, err := r.Verdicts(t.Context(), host.Invocation{Function: VerdictsName})
		if err != nil || waits != test.waits || out.Counts[OldestMark] != test.late {
			t.Errorf("%s: error %v, %d pauses, late by %d s; want %d pauses and %d s", name, err, waits, out.Counts[OldestMark], test.waits, test.late)
		}
		kept := test.late > 0
		if told := len(r.topic.events) == 1; told == kept || (len(r.store.marks) == 1) != kept || (len(out.Notes) == 1) != kept {
			t.Errorf("%s: %d events, %d marks, notes %q", name, len(r.topic.events), len(r.store.marks), out.Notes)
		}
	}
}

// TestUnclassified checks that a refusal for a cause that nobody looks for is kept and
// not published, and that very many are.
func TestUnclassified(t *testing.T) {
	var records []string
	for n := range verdict.Defaults().Storm {
		records = append(records, strings.Replace(failedConnection(fmt.Sprint("pump-", n)), "IotHubUnauthorized", "The moon is in the way.", 1))
	}
	r := newRig()
	if _, err := r.relay(t, `{"records":[`+records[0]+`]}`); err != nil || len(r.topic.events) > 0 || r.store.facts() != 1 {
		t.Errorf("one: error %v, %d events, %d kept", err, len(r.topic.events), r.store.facts())
	}
	r.now = r.now.Add(pause)
	if _, err := r.relay(t, `{"records":[`+strings.Join(records, ",")+`]}`); err != nil || !slices.Equal(r.topic.types(t), []string{"storm"}) {
		t.Errorf("very many: error %v, events %q", err, r.topic.types(t))
	}
}

// TestWhatCannotBePublished checks that an event that the topic never takes is
// quarantined, does not hold up the others, and can be redriven.
func TestWhatCannotBePublished(t *testing.T) {
	r := newRig()
	r.Alerts = recorder{recorded: alert.Recorded{Outcome: alert.New}}
	r.topic.refused = func(e []byte) error {
		if strings.Contains(string(e), "pump-01") {
			return errors.New("400 BadRequest")
		}
		return nil
	}
	out, err := r.relay(t, `{"records":[`+failedConnection("pump-01")+`,`+failedConnection("pump-02")+`]}`)
	if err != nil || out.Quarantined != 1 || len(r.quarantine.kept) != 1 || !slices.Equal(r.topic.types(t), []string{"token-invalid"}) {
		t.Fatalf("error %v, quarantined %+v, published %q", err, r.quarantine.kept, r.topic.types(t))
	}
	q := r.quarantine.kept[0]
	if q.Function != VerdictsName || q.Reason != "cannot be published: 400 BadRequest" {
		t.Errorf("quarantined for %s: %s", q.Function, q.Reason)
	}
	again, err := r.Redrive(t.Context(), detector.All, q)
	if err != nil || len(again.Occurrences) != 1 || again.Occurrences[0].Entity.Name != "pump-01" {
		t.Errorf("redriven: %+v, error %v", again, err)
	}
	r.quarantine.err = errors.New("table is down")
	r.now = r.now.Add(pause)
	if out, err := r.relay(t, `{"records":[`+strings.Replace(failedConnection("pump-01"), "10:00:00", "10:00:09", 1)+`]}`); err != nil || len(out.Notes) != 1 {
		t.Errorf("with a quarantine that is down: error %v, notes %q; want a verdict that stays", err, out.Notes)
	}
	if len(r.store.marks) != 1 {
		t.Errorf("%d marks, want that of the verdict that is not told", len(r.store.marks))
	}
}

func TestHousekeeping(t *testing.T) {
	r := newRig()
	r.store.dropped = 2
	if out, err := r.Housekeeping(t.Context(), host.Invocation{}); err != nil || out.Counts["dropped days"] != 2 {
		t.Errorf("%+v, error %v", out, err)
	}
	r.store.fail = only("Expire", errors.New("away"))
	if _, err := r.Housekeeping(t.Context(), host.Invocation{}); err == nil {
		t.Error("no error of a store that is away")
	}
}

func TestRelayQuarantines(t *testing.T) {
	good := failedConnection("pump-01")
	few := `{"records":[` + good + `,7,"x",` + failedConnection("pump-02") + `]}`
	many := `{"records":[` + good + strings.Repeat(`,7`, 50) + `]}`
	for name, test := range map[string]struct {
		data   jsontext.Value
		kept   int
		bodies []string
	}{
		"broken records alone":       {hubMessages(t, few), 2, []string{"7", `"x"`}},
		"a message of broken pieces": {hubMessages(t, many), 1, []string{many}},
		"a message that is not JSON": {hubMessages(t, "gibberish"), 0, []string{"gibberish"}},
		"no messages at all":         {jsontext.Value(`17`), 0, []string{"17"}},
	} {
		r := newRig()
		out, err := r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: test.data})
		kept := r.quarantine.kept
		if n := r.store.facts(); err != nil || n != test.kept || out.Quarantined != len(test.bodies) || len(kept) != len(test.bodies) {
			t.Errorf("%s: %d kept, %d quarantined, error %v; want %d and %d", name, n, len(kept), err, test.kept, len(test.bodies))
			continue
		}
		for i, q := range kept {
			if string(q.Body) != test.bodies[i] || q.Reason == "" || q.Function != RelayName {
				t.Errorf("%s: quarantined %+v, want the body %s and a reason", name, q, test.bodies[i])
			}
		}
		r.quarantine.err = errors.New("table is down")
		if _, err := r.Relay(t.Context(), host.Invocation{Data: test.data}); err == nil {
			t.Errorf("%s: no error with a quarantine that is down: want a batch that is tried again", name)
		}
	}
}

// TestRelayCountsWhatNamesNoDevice checks that failed connections whose records name
// no device are one alert about the hub a day, which counts each of them, and that none of
// them is quarantined. A record that names no hub is.
func TestRelayCountsWhatNamesNoDevice(t *testing.T) {
	var records []string
	for i := range 40 {
		r := strings.Replace(failedConnection(""), "10:00:00", fmt.Sprintf("10:00:%02d", i), 1)
		switch {
		case i%4 == 1:
			r = strings.Replace(r, `"deviceId":""`, `"deviceId":null`, 1)
		case i%4 == 2:
			r = strings.Replace(r, `"deviceId":"",`, ``, 1)
		case i%4 == 3:
			r = strings.Replace(r, `"deviceId":""`, `"deviceId":{}`, 1)
		}
		records = append(records, r, strings.Replace(r, "2026-02-01", "2026-02-02", 1))
	}
	nowhere := strings.Replace(failedConnection(""), "CONTOSO-HUB", "", 1)
	r := newRig()
	r.now = r.now.Add(24 * time.Hour)
	_, err := r.relay(t, `{"records":[`+strings.Join(append(records, nowhere), ",")+`]}`)
	if kept := r.quarantine.kept; err != nil || len(kept) != 1 || string(kept[0].Body) != nowhere {
		t.Errorf("quarantined %+v, error %v; want the record that names no hub", kept, err)
	}
	alerts := map[string]int{}
	for _, raw := range r.topic.events {
		v := detector.DeviceTokenInvalid.Judge(raw)
		if v.Err != nil {
			t.Error(v.Err)
		}
		for _, o := range v.Occurrences {
			if o.Entity != (alert.Entity{Type: alert.IoTHub, Name: "CONTOSO-HUB"}) || !strings.HasPrefix(o.Message, "A device that the log does not name was refused by ") {
				t.Errorf("an alert about %+v: %s", o.Entity, o.Message)
			}
			alerts[o.ID] += o.Tally.N
		}
	}
	if counts := slices.Collect(maps.Values(alerts)); !slices.Equal(counts, []int{40, 40}) {
		t.Errorf("alerts that count %v; want one of 40 for each of two days", counts)
	}
}

// TestRelayCountsUnknownSentences checks that the log of an invocation has the
// sentences that no rule knows.
func TestRelayCountsUnknownSentences(t *testing.T) {
	message := `{"records":[` + strings.Replace(failedConnection("pump-01"), `"IotHubUnauthorized"`, `"The moon is in the way."`, 1) + `]}`
	out, err := newRig().relay(t, message)
	if err != nil || out.Counts["unclassified"] != 1 || out.Counts["unknown sentence: the moon is in the way."] != 1 {
		t.Errorf("counts %v, error %v", out.Counts, err)
	}
}

// TestOddRecords relays records that are hard to write. Each is published with the record
// as it came, and none is lost.
func TestOddRecords(t *testing.T) {
	with := func(device, member string) string {
		return strings.Replace(failedConnection(device), `"category"`, `"more":`+member+`,"category"`, 1)
	}
	for name, record := range map[string]string{
		"plain":           with("pump-01", `[1,"2026-02-01T10:00:00Z"]`),
		"deep":            with("pump-01", strings.Repeat("[", 60)+strings.Repeat("]", 60)),
		"deeper":          with("pump-01", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)),
		"a long number":   with("pump-01", strings.Repeat("9", 400)),
		"a large number":  with("pump-01", "1e400"),
		"a time":          with("pump-01", `"/Date(9223372036854775807)/"`),
		"after the last":  with("pump-01", `"9999-12-31T24:00:00"`),
		"not UTF-8":       strings.Replace(failedConnection("pump-01"), "pump-01", "pump-\xff", 1),
		"half a pair":     strings.Replace(failedConnection("pump-01"), "pump-01", `pump-\ud800`, 1),
		"many quotations": failedConnection(strings.Repeat("'", 20000)),
	} {
		r := newRig()
		message := jsontext.Value(`[{"records":[` + record + `]}]`)
		if _, err := r.Relay(t.Context(), host.Invocation{Function: RelayName, Data: message}); err != nil || len(r.topic.events) != 1 || len(r.quarantine.kept) > 0 {
			t.Errorf("%s: error %v, %d events, %d quarantined", name, err, len(r.topic.events), len(r.quarantine.kept))
			continue
		}
		if v := detector.DeviceTokenInvalid.Judge(r.topic.events[0]); v.Err != nil || len(v.Occurrences) != 1 {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
