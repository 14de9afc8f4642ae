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
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// trips is a store of canaries in memory. The requests whose names are in down fail.
type trips struct {
	known map[coverage.Path]coverage.Trip
	hubs  []string // that should be heard of
	down  string
}

func (s *trips) fails(request string) error {
	if s.down == request {
		return errors.New("the table is away")
	}
	return nil
}

func (s *trips) Trips(context.Context) ([]coverage.Trip, error) {
	if s.down == "table" {
		return nil, fmt.Errorf("no table: %w", alert.ErrAbsent)
	}
	return slices.Collect(maps.Values(s.known)), s.fails("trips")
}

func (s *trips) Expect(_ context.Context, hubs []string) error {
	s.hubs = hubs
	return s.fails("expect")
}

func (s *trips) Handed(_ context.Context, c coverage.Canary) error {
	t := s.known[c.Path]
	if err := s.fails("handed"); err != nil {
		return err
	}
	t.Handed = t.Token == c.Token
	s.known[c.Path] = t
	return nil
}

func (s *trips) Send(_ context.Context, c coverage.Canary, patience time.Duration, branches []coverage.Branch) error {
	t := s.known[c.Path]
	t.Branches = coverage.Renew(t.Branches, branches, c.Sent)
	t.Path, t.Sent, t.Token, t.Patience, t.Handed, t.Fault = c.Path, c.Sent, c.Token, patience, false, ""
	if err := s.fails("send"); err != nil {
		return err
	}
	s.known[c.Path] = t
	return nil
}

func (s *trips) Refused(_ context.Context, c coverage.Canary, fault string) error {
	t := s.known[c.Path]
	if err := s.fails("refused"); err != nil {
		return err
	}
	t.Fault = fault
	s.known[c.Path] = t
	return nil
}

func (s *trips) Arrive(_ context.Context, c coverage.Canary, at time.Time) (bool, error) {
	t := s.known[c.Path]
	if t.Token != c.Token || s.fails("arrive") != nil {
		return false, s.fails("arrive")
	}
	t.ArrivedToken, t.ArrivedSent, t.Took = t.Token, t.Sent, at.Sub(t.Sent)
	s.known[c.Path] = t
	return true, nil
}

func (s *trips) Reach(_ context.Context, c coverage.Canary, b coverage.Branch, at time.Time) (bool, error) {
	t := s.known[c.Path]
	i := slices.IndexFunc(t.Branches, b.Is)
	if t.Token != c.Token || i < 0 || s.fails("reach") != nil {
		return false, s.fails("reach")
	}
	t.Branches = slices.Clone(t.Branches)
	t.Branches[i].ArrivedToken, t.Branches[i].ArrivedSent, t.Branches[i].Took = t.Token, t.Sent, at.Sub(t.Sent)
	s.known[c.Path] = t
	return true, nil
}

// sky is a hubwatch that sends canaries through two paths, with a clock.
type sky struct {
	Judge
	store  *trips
	alerts *journal
	now    time.Time
	sent   map[coverage.Path][]coverage.Canary
	refuse map[coverage.Path]error
}

func newSky() *sky {
	s := &sky{
		store: &trips{known: map[coverage.Path]coverage.Trip{}}, alerts: &journal{}, now: time.Date(2026, 2, 1, 10, 7, 0, 0, time.UTC),
		sent: map[coverage.Path][]coverage.Canary{}, refuse: map[coverage.Path]error{},
	}
	ways := map[coverage.Path]func(context.Context, coverage.Canary) error{}
	for _, path := range []coverage.Path{coverage.Topic, coverage.EventHub} {
		ways[path] = func(_ context.Context, c coverage.Canary) error {
			if err := s.refuse[path]; err != nil {
				return err
			}
			s.sent[path] = append(s.sent[path], c)
			return nil
		}
	}
	tokens := 0
	s.Judge = Judge{Alerts: s.alerts, Quarantine: s.alerts, Listener: &listener{}, Logs: newRig().Logs, Canaries: &Canaries{
		Store: s.store, Ways: ways, Patience: coverage.Patience, Source: "/hubwatch", Now: func() time.Time { return s.now },
		Token: func() string { tokens++; return fmt.Sprint("token-", tokens) },
	}}
	return s
}

// run runs the function Canary after a time.
func (s *sky) run(t *testing.T, after time.Duration) (host.Outcome, error) {
	t.Helper()
	s.now = s.now.Add(after)
	s.alerts.kept = nil
	return s.Canary(t.Context(), host.Invocation{Function: CanaryName})
}

// arrive lets the last canary of a path arrive after a time.
func (s *sky) arrive(t *testing.T, path coverage.Path, after time.Duration) (host.Outcome, error) {
	t.Helper()
	s.now = s.now.Add(after)
	c := s.sent[path][len(s.sent[path])-1]
	if path == coverage.Topic {
		return s.Detect(detector.PathBroken)(t.Context(), host.Invocation{Function: detector.PathBroken.Name, Data: c.Event("/hubwatch")})
	}
	text, err := json.Marshal([]string{string(c.Message())})
	if err != nil {
		t.Fatal(err)
	}
	return s.Relay(t.Context(), host.Invocation{Function: RelayName, Data: text})
}

// TestExpectedHubs checks that the function remembers of which hubs hubwatch should hear, and fails
// if that cannot be remembered. The canaries are sent all the same.
func TestExpectedHubs(t *testing.T) {
	s := newSky()
	s.Canaries.Hubs = []string{"contoso-hub"}
	if _, err := s.run(t, 0); err != nil || !slices.Equal(s.store.hubs, s.Canaries.Hubs) {
		t.Errorf("error %v, remembered %q", err, s.store.hubs)
	}
	s.store.down = "expect"
	out, err := s.run(t, coverage.Interval)
	if err == nil || !strings.Contains(err.Error(), "hubs that should be heard of: the table is away") || out.Counts["sent"] != 2 {
		t.Errorf("error %v, counts %v", err, out.Counts)
	}
}

// TestCanary lets canaries arrive and get lost, by the schedule of the function.
func TestCanary(t *testing.T) {
	s := newSky()
	const quarter, rest = 15 * time.Minute, 45 * time.Minute
	alerted := func(paths ...coverage.Path) (kept []string) {
		for _, p := range paths {
			kept = append(kept, "alert about Path "+string(p))
		}
		return kept
	}
	step := func(what string, after time.Duration, sent int, want []string) {
		t.Helper()
		if out, err := s.run(t, after); err != nil || out.Counts["sent"] != sent || !slices.Equal(s.alerts.kept, want) {
			t.Errorf("%s: error %v, counts %v, kept %q, want %d sent and %q", what, err, out.Counts, s.alerts.kept, sent, want)
		}
	}
	step("the first run", 0, 2, nil)
	for _, path := range []coverage.Path{coverage.Topic, coverage.EventHub} {
		if out, err := s.arrive(t, path, 2*time.Second); err != nil || len(out.Notes) > 0 || out.Findings > 0 {
			t.Errorf("%s: %v, notes %q", path, err, out.Notes)
		}
	}
	if len(s.alerts.kept)+len(s.Listener.(*listener).heard) > 0 {
		t.Errorf("canaries that arrive are kept as %q and heard as %q", s.alerts.kept, s.Listener.(*listener).heard)
	}
	step("both have arrived", quarter, 0, nil)
	step("the next hour", rest, 2, nil)
	if _, err := s.arrive(t, coverage.EventHub, time.Second); err != nil {
		t.Error(err)
	}
	step("one is lost", quarter, 0, alerted(coverage.Topic))
	step("it is still lost", rest, 2, alerted(coverage.Topic)) // the same event, which the store knows
	s.refuse[coverage.EventHub] = errors.New("event hub: 401 for https://contoso?sig=Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6")
	step("both are lost, and one cannot be sent", quarter, 0, alerted(coverage.EventHub, coverage.Topic))
	step("and again", rest, 2, alerted(coverage.EventHub, coverage.Topic))
	if fault := s.store.known[coverage.EventHub].Fault; !strings.HasPrefix(fault, "event hub: 401") || strings.Contains(fault, "Zm9vYmFy") {
		t.Errorf("fault %q, want one without the signature", fault)
	}
	delete(s.refuse, coverage.EventHub)
	if _, err := s.arrive(t, coverage.Topic, time.Second); err != nil {
		t.Error(err)
	}
	step("one is back", quarter, 0, alerted(coverage.EventHub))
	step("the clock went back by a day", -24*time.Hour, 2, nil)
}

// TestCanaryFaults makes each request to the store fail. The error is told, the next run goes on,
// and no message comes again because of a canary.
func TestCanaryFaults(t *testing.T) {
	for _, test := range []struct {
		down        string
		sent, again int // canaries of the event hub, and those of the next run
	}{{"trips", 0, 2}, {"send", 0, 2}, {"refused", 1, 1}} {
		s := newSky()
		s.store.down, s.refuse[coverage.Topic] = test.down, errors.New("topic: 401")
		if _, err := s.run(t, 0); err == nil || !strings.Contains(err.Error(), "the table is away") || len(s.sent[coverage.EventHub]) != test.sent {
			t.Errorf("%s: error %v, sent %v", test.down, err, s.sent)
		}
		s.store.down = ""
		delete(s.refuse, coverage.Topic)
		if out, err := s.run(t, 15*time.Minute); err != nil || out.Counts["sent"] != test.again || out.Counts["missed"] != 2-test.again {
			t.Errorf("%s: afterwards error %v, counts %v; want %d that are sent, and the others missed", test.down, err, out.Counts, test.again)
		}
	}
	s := newSky()
	s.store.down = "table"
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	s.store.down = "arrive"
	if _, err := s.arrive(t, coverage.Topic, 0); err == nil {
		t.Error("an event of a canary that is not remembered is not delivered again")
	}
	if out, err := s.arrive(t, coverage.EventHub, 0); err != nil || !strings.Contains(strings.Join(out.Notes, " "), "the table is away") {
		t.Errorf("error %v, notes %q", err, out.Notes)
	}
	s.alerts.downAlerts = errors.New("the alerts are away")
	s.store.down = ""
	if _, err := s.run(t, 15*time.Minute); !errors.Is(err, s.alerts.downAlerts) {
		t.Errorf("error %v, want that no alert was raised", err)
	}
}

// TestSenderEnds lets the sender end between the row of a canary and the canary, which looks as if
// it could not be remembered that the path took it. Nobody is told that the path is broken, and the
// canary is sent again.
func TestSenderEnds(t *testing.T) {
	s := newSky()
	s.store.down = "handed"
	if _, err := s.run(t, 0); err == nil {
		t.Fatal("nothing is said")
	}
	s.store.down = ""
	if out, err := s.run(t, 15*time.Minute); err != nil || out.Counts["missed"] != 0 || out.Counts["sent"] != 2 || len(s.alerts.kept) > 0 {
		t.Errorf("error %v, counts %v, kept %q; want two that are sent again, and no alert", err, out.Counts, s.alerts.kept)
	}
	if out, err := s.run(t, 15*time.Minute); err != nil || out.Counts["missed"] != 2 {
		t.Errorf("error %v, counts %v; want that the second ones are missed", err, out.Counts)
	}
}

// tag returns the event of a tag that was written at a time.
func tag(at time.Time, operation string) jsontext.Value {
	const id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch"
	return jsontext.Value(fmt.Sprintf(`{"specversion":"1.0","id":"1","type":"Microsoft.Resources.ResourceWriteSuccess","source":%q,"subject":%q,"time":%q,"data":{"operationName":%q}}`,
		id, id+"/providers/Microsoft.Resources/tags/default", at.Format(time.RFC3339Nano), operation))
}

// TestTag writes tags for a few days: one whose event comes, one whose event is lost, and one that
// Azure Resource Manager refuses.
func TestTag(t *testing.T) {
	s := newSky()
	var refuse error
	written := 0
	s.Canaries.Ways = map[coverage.Path]func(context.Context, coverage.Canary) error{
		coverage.Changes: func(context.Context, coverage.Canary) error { written++; return refuse },
	}
	step := func(what string, after time.Duration, writes, alerts int) {
		t.Helper()
		written = 0
		if _, err := s.run(t, after); err != nil || written != writes || len(s.alerts.kept) != alerts {
			t.Errorf("%s: error %v, %d written, kept %q; want %d, and %d alerts", what, err, written, s.alerts.kept, writes, alerts)
		}
	}
	comes := func(raw jsontext.Value, want bool) {
		t.Helper()
		if _, err := s.Tag(t.Context(), host.Invocation{Function: CanaryTagName, Data: raw}); err != nil || s.store.known[coverage.Changes].Arrived() != want {
			t.Errorf("%s: error %v, %+v; want arrived: %v", raw, err, s.store.known[coverage.Changes], want)
		}
	}
	step("the first day", 0, 1, 0)
	sent := s.now
	comes(tag(sent.Add(-2*time.Minute), tags), false) // of another tag, before
	comes(tag(sent, "Microsoft.Web/sites/write"), false)
	comes(jsontext.Value(`{"id":7}`), false)
	comes(jsontext.Value(`7`), false)
	s.now = s.now.Add(40 * time.Second)
	comes(tag(sent.Add(-time.Second), strings.ToUpper(tags)), true) // by a clock that is behind
	if took := s.store.known[coverage.Changes].Took; took != 40*time.Second {
		t.Errorf("took %v", took)
	}
	step("an hour later", time.Hour, 0, 0)
	step("the second day", 23*time.Hour, 1, 0)
	comes(tag(sent, tags), false) // that of the first day again
	step("a quarter later", 15*time.Minute, 0, 0)
	step("an hour later", 45*time.Minute, 0, 1)
	if want := "alert about Path changes"; s.alerts.kept[0] != want {
		t.Errorf("kept %q, want %q", s.alerts.kept, want)
	}
	refuse = errors.New("tag: 403 Forbidden")
	step("the third day", 23*time.Hour, 1, 1) // of the second
	step("a quarter later", 15*time.Minute, 0, 0)
	step("an hour later", 45*time.Minute, 1, 0)
	step("a day later", 24*time.Hour, 1, 0)
	if fault := s.store.known[coverage.Changes].Fault; fault != "tag: 403 Forbidden" {
		t.Errorf("fault %q", fault)
	}
	refuse = nil
	step("the right is given", time.Hour, 1, 0)
	s.store.down = "arrive"
	if _, err := s.Tag(t.Context(), host.Invocation{Data: tag(s.now, tags)}); err == nil {
		t.Error("an event that is not remembered is not delivered again")
	}
	s.store.down = "trips"
	if _, err := s.Tag(t.Context(), host.Invocation{Data: tag(s.now, tags)}); err == nil {
		t.Error("an event is not delivered again though nothing can be read")
	}
	s.store.down = ""
	delete(s.Canaries.Ways, coverage.Changes)
	comes(tag(s.now, tags), false)
	step("no tag is wanted any more", time.Hour, 0, 0)
	if r := coverage.NewReports(slices.Collect(maps.Values(s.store.known)), nil, s.now.Add(48*time.Hour)); r[3].State != coverage.Unproven {
		t.Errorf("%+v, want a path that is not proven", r[3])
	}
}

// told is a Notifier that remembers what it was given.
type told struct {
	Notifier
	events []string
}

func (n *told) Notify(_ context.Context, in host.Invocation) (host.Outcome, error) {
	n.events = append(n.events, string(in.Data))
	return host.Outcome{Events: 1}, nil
}

// TestCanaryOfAlerts gives canaries and others to the function that tells of alerts.
func TestCanaryOfAlerts(t *testing.T) {
	s, people := newSky(), &told{}
	s.Notifier = people
	var sent coverage.Canary
	s.Canaries.Ways = map[coverage.Path]func(context.Context, coverage.Canary) error{
		coverage.Alerts: func(_ context.Context, c coverage.Canary) error { sent = c; return nil },
	}
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	s.store.down = "arrive"
	canary := host.Invocation{Function: NotifyName, Data: sent.Event("/hubwatch")}
	if _, err := s.Notify(t.Context(), canary); err == nil {
		t.Error("a canary that is not remembered is not delivered again")
	}
	s.store.down = ""
	out, err := s.Notify(t.Context(), canary)
	if err != nil || out.Events != 1 || out.EventID != sent.Token || !s.store.known[coverage.Alerts].Arrived() || len(people.events) > 0 {
		t.Errorf("error %v, outcome %+v, %+v, told %q", err, out, s.store.known, people.events)
	}
	broken := jsontext.Value(strings.Replace(string(canary.Data), `"token":`, `"tokens":`, 1))
	if out, err := s.Notify(t.Context(), host.Invocation{Data: broken}); err != nil || len(out.Notes) != 1 || len(people.events) > 0 {
		t.Errorf("error %v, outcome %+v, told %q", err, out, people.events)
	}
	// What only speaks of canaries is an alert.
	for _, raw := range []string{`{"type":"hubwatch.alert.raised","data":"hubwatch.canary"}`, `["hubwatch.canary"`, string(sent.Event("/hubwatch")[:40])} {
		before := len(people.events)
		if _, err := s.Notify(t.Context(), host.Invocation{Data: jsontext.Value(raw)}); err != nil || len(people.events) != before+1 {
			t.Errorf("%s: error %v, told %d times, want once", raw, err, len(people.events)-before)
		}
	}
}

// TestNothingHidesInACanary sends a message of the Connections log that says it is a canary, and
// an event of another type with the data of one.
func TestNothingHidesInACanary(t *testing.T) {
	s := newSky()
	if _, err := s.run(t, 0); err != nil {
		t.Fatal(err)
	}
	canary := string(s.sent[coverage.EventHub][0].Message())
	record := logLine("Connections", "deviceConnect", 1)
	for what, message := range map[string]string{
		"records beside it":   strings.TrimSuffix(canary, "}") + `,"records":[` + record + `]}`,
		"records inside":      strings.Replace(canary, `"path"`, `"records":[`+record+`],"path"`, 1),
		"a record behind it":  canary + "\n" + record,
		"another member":      strings.TrimSuffix(canary, "}") + `,"category":"Connections"}`,
		"a canary of no path": strings.Replace(canary, `"event-hub"`, `""`, 1),
	} {
		text, err := json.Marshal([]string{message})
		if err != nil {
			t.Fatal(err)
		}
		s.alerts.kept, s.Listener.(*listener).heard = nil, nil
		if _, err := s.Relay(t.Context(), host.Invocation{Function: RelayName, Data: text}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if trip := s.store.known[coverage.EventHub]; trip.Arrived() || len(s.alerts.kept)+len(s.Listener.(*listener).heard) == 0 {
			t.Errorf("%s: the canary counts as arrived: %v; want the record read, or the message in the quarantine", what, trip.Arrived())
		}
	}
	// A forged one proves nothing, and the others of the batch are read.
	text, err := json.Marshal([]string{string(coverage.Canary{Path: coverage.EventHub, Token: "guess", Sent: s.now}.Message()), `{"records":[` + record + `]}`})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Relay(t.Context(), host.Invocation{Function: RelayName, Data: text})
	if heard := s.Listener.(*listener).heard; err != nil || len(heard) == 0 || s.store.known[coverage.EventHub].Arrived() || !strings.Contains(strings.Join(out.Notes, " "), "not the last one") {
		t.Errorf("error %v, notes %q, heard %q", err, out.Notes, heard)
	}
	// The detector of a failed connection is not silenced by a type.
	failed := jsontext.Value(strings.Replace(string(certificateAdded(t, "fires-application-only")), "Microsoft.Resources.ResourceWriteSuccess", coverage.CanaryType, 1))
	if out, err := s.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Data: failed}); err != nil || out.Unmatched != 1 {
		t.Errorf("error %v, outcome %+v; want one that is not for this function", err, out)
	}
}

// TestAlertOfACanary reads what is recorded.
func TestAlertOfACanary(t *testing.T) {
	s := newSky()
	var got []alert.Occurrence
	s.Alerts = keeper(func(o alert.Occurrence) { got = append(got, o) })
	for _, after := range []time.Duration{0, 15 * time.Minute, 45 * time.Minute, 15 * time.Minute} {
		if _, err := s.run(t, after); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]map[string]bool{}
	for _, o := range got {
		if o.Type != "Hubwatch_PathBroken" || o.Severity != alert.High || o.Hub.Name != "hubwatch" {
			t.Errorf("%+v", o)
		}
		if ids[o.ID] == nil {
			ids[o.ID] = map[string]bool{}
		}
		ids[o.ID][o.Event.ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("%d alerts, want one for each path", len(ids))
	}
	for id, events := range ids {
		if len(events) != 2 {
			t.Errorf("alert %s of the events %v, want two canaries", id, events)
		}
	}
}

// keeper is a store of alerts that shows what it is given.
type keeper func(alert.Occurrence)

func (k keeper) Record(_ context.Context, occurrences ...alert.Occurrence) (recorded []alert.Recorded, err error) {
	for _, o := range occurrences {
		k(o)
		recorded = append(recorded, alert.Recorded{Outcome: alert.New})
	}
	return recorded, nil
}
