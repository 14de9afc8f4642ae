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

func (s *trips) Send(_ context.Context, c coverage.Canary) error {
	t := s.known[c.Path]
	t.Path, t.Sent, t.Token, t.Fault = c.Path, c.Sent, c.Token, ""
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
	}{{"trips", 0, 2}, {"send", 0, 2}, {"refused", 1, 0}} {
		s := newSky()
		s.store.down, s.refuse[coverage.Topic] = test.down, errors.New("topic: 401")
		if _, err := s.run(t, 0); err == nil || !strings.Contains(err.Error(), "the table is away") || len(s.sent[coverage.EventHub]) != test.sent {
			t.Errorf("%s: error %v, sent %v", test.down, err, s.sent)
		}
		s.store.down = ""
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
