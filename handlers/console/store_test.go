package console

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/verdict"
)

// now is the time of the tests.
var now = time.Date(2026, 2, 8, 12, 0, 0, 0, time.UTC)

// bob is who looks at the console.
var bob = alert.Person{Name: "bob@contoso.example", ObjectID: "00000000-0000-0000-0000-0000000000b0"}

// store is all stores of a console in memory.
type store struct {
	alerts       []alert.Alert
	evidence     []alert.Evidence // of each alert
	heard        []alert.Heard
	trips        []coverage.Trip
	history      map[string][]alert.History
	suppressions []alert.Suppression
	broken       []error
	waiting      int
	figures      []verdict.Figures
	figuresErr   error // of reading figures
	err          error // of every read
	waitingErr   error
	changes      int               // how many were made
	before       func(alert.Ref)   // is called before each change
	summarized   bool              // days without what is asked for are not read
	vanished     map[string]bool   // alerts that are listed, and then gone
	changeErr    func(n int) error // of the change after n others
	mu           sync.Mutex        // held while an alert is changed
	reading      func()            // is called before each day is read
	lists        atomic.Int64      // how often alerts were listed
}

func (s *store) List(_ context.Context, q alert.Query) iter.Seq2[alert.Alert, error] {
	s.lists.Add(1)
	return func(yield func(alert.Alert, error) bool) {
		if s.err != nil {
			yield(alert.Alert{}, s.err)
			return
		}
		list := slices.Clone(s.alerts)
		slices.SortFunc(list, newestFirst)
		for _, a := range list {
			if q.Matches(a) && !yield(a, nil) {
				return
			}
		}
	}
}

// newestFirst is the order of alerts in a list.
func newestFirst(a, b alert.Alert) int {
	return cmp.Or(b.End.Compare(a.End), strings.Compare(a.ID, b.ID))
}

// ListDays has one day after another, also those without an alert that q asks for.
func (s *store) ListDays(ctx context.Context, q alert.Query) iter.Seq2[alert.DayList, error] {
	return func(yield func(alert.DayList, error) bool) {
		s.lists.Add(1)
		if s.err != nil {
			yield(alert.DayList{}, s.err)
			return
		}
		byDay := map[time.Time][]alert.Alert{}
		for _, a := range s.alerts {
			if q.Hub == "" || strings.EqualFold(q.Hub, a.Hub.Name) {
				byDay[a.Ref().Day] = append(byDay[a.Ref().Day], a)
			}
		}
		for _, day := range slices.Backward(slices.SortedFunc(maps.Keys(byDay), time.Time.Compare)) {
			if day.Before(alert.Day(q.Since)) || !q.Until.IsZero() && day.After(q.Until) {
				continue
			}
			if s.reading != nil {
				s.reading()
			}
			if err := ctx.Err(); err != nil {
				yield(alert.DayList{}, err)
				return
			}
			list := alert.DayList{Day: day, Read: 1}
			for _, a := range byDay[day] {
				if q.Matches(a) {
					list.Alerts = append(list.Alerts, a)
				}
			}
			slices.SortFunc(list.Alerts, newestFirst)
			if s.summarized && len(list.Alerts) == 0 {
				list.Read = 0
			}
			if !yield(list, nil) {
				return
			}
		}
	}
}

func (s *store) Find(_ context.Context, ref alert.Ref) (alert.Alert, iter.Seq2[alert.Evidence, error], error) {
	for _, a := range s.alerts {
		if a.ID == ref.ID && strings.EqualFold(a.Hub.Name, ref.Hub) && a.Ref().Day.Equal(ref.Day) {
			return a, func(yield func(alert.Evidence, error) bool) {
				for _, e := range s.evidence {
					if !yield(e, nil) {
						return
					}
				}
			}, s.err
		}
	}
	return alert.Alert{}, nil, cmp.Or(s.err, fmt.Errorf("alert %s: %w", ref, alert.ErrNotFound))
}

func (s *store) History(_ context.Context, ref alert.Ref) ([]alert.History, error) {
	return s.history[ref.ID], s.err
}

func (s *store) Summaries(_ context.Context, q alert.Query) iter.Seq2[alert.Summary, error] {
	return func(yield func(alert.Summary, error) bool) {
		if s.err != nil {
			yield(alert.Summary{}, s.err)
			return
		}
		type place struct {
			hub string
			day time.Time
		}
		sums := map[place]*alert.Summary{}
		for _, a := range s.alerts {
			p := place{strings.ToLower(a.Hub.Name), a.Ref().Day}
			if q.Hub != "" && !strings.EqualFold(q.Hub, p.hub) || p.day.Before(alert.Day(q.Since)) || !q.Until.IsZero() && p.day.After(q.Until) {
				continue
			}
			if sums[p] == nil {
				sums[p] = &alert.Summary{Hub: p.hub, Day: p.day, Counts: map[string]map[alert.Status]int{}}
			}
			if a.SuppressedBy != "" {
				sums[p].Suppressed++
				continue
			}
			if sums[p].Counts[a.Type] == nil {
				sums[p].Counts[a.Type] = map[alert.Status]int{}
			}
			sums[p].Counts[a.Type][a.Status]++
		}
		for _, p := range slices.SortedFunc(maps.Keys(sums), func(a, b place) int { return cmp.Or(b.day.Compare(a.day), strings.Compare(a.hub, b.hub)) }) {
			if !yield(*sums[p], nil) {
				return
			}
		}
	}
}

func (s *store) Trips(context.Context) ([]coverage.Trip, error) { return s.trips, s.err }

func (s *store) LastHeard(context.Context) ([]alert.Heard, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.heard, nil
}

func (s *store) Change(_ context.Context, ref alert.Ref, c alert.Change) (alert.Alert, error) {
	if s.before != nil {
		s.before(ref)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changeErr != nil {
		if err := s.changeErr(s.changes); err != nil {
			return alert.Alert{}, err
		}
	}
	if s.vanished[ref.ID] {
		return alert.Alert{}, alert.ErrNotFound
	}
	for i := range s.alerts {
		a := &s.alerts[i]
		if a.ID != ref.ID {
			continue
		}
		if c.Seen != nil && *c.Seen != a.Changes {
			return alert.Alert{}, &alert.Conflict{Ref: ref, Last: alert.History{
				Number: a.Changes, Time: a.StatusTime, From: alert.Active, To: a.Status, Reason: a.StatusReason, By: a.StatusBy,
			}}
		}
		if err := c.Follows(a.Status, a.Verdict); err != nil {
			return alert.Alert{}, err
		}
		h := alert.History{Number: a.Changes + 1, Time: now, From: a.Status, To: cmp.Or(c.Status, a.Status), Verdict: c.Verdict, Reason: c.Reason, By: c.By, Via: c.Via}
		a.Changes, a.Status, a.Verdict, a.StatusReason, a.StatusBy, a.StatusTime = h.Number, h.To, cmp.Or(c.Verdict, a.Verdict), c.Reason, c.By, now
		if s.history == nil {
			s.history = map[string][]alert.History{}
		}
		s.history[a.ID] = append(s.history[a.ID], h)
		s.changes++
		return *a, nil
	}
	return alert.Alert{}, alert.ErrNotFound
}

// rules are the suppressions of a store.
type rules struct{ *store }

func (r rules) List(context.Context, time.Time) ([]alert.Suppression, []error, error) {
	return r.suppressions, r.broken, r.err
}

func (r rules) Add(_ context.Context, s alert.Suppression) (alert.Suppression, error) {
	s.ID = fmt.Sprintf("rule-%d", len(r.suppressions)+1)
	r.suppressions = append(r.suppressions, s)
	return s, s.Check()
}

func (r rules) End(_ context.Context, id string, by alert.Person) (alert.Suppression, error) {
	for i := range r.suppressions {
		if s := &r.suppressions[i]; s.ID == id {
			s.Ended, s.EndedBy = now, by
			return *s, nil
		}
	}
	return alert.Suppression{}, fmt.Errorf("suppression %s: %w", id, alert.ErrNoSuppression)
}

// held is the quarantine of a store.
type held struct{ *store }

func (h held) Waiting(_ context.Context, most int) (int, bool, error) {
	return min(h.waiting, most), h.waiting > most, h.waitingErr
}

// Days has the figures of a store.
func (s *store) Days(_ context.Context, hub string, from, to time.Time) (days []verdict.Figures, err error) {
	for _, f := range s.figures {
		if strings.EqualFold(f.Hub, hub) && !f.Day.Before(alert.Day(from)) && !f.Day.After(to) {
			days = append(days, f)
		}
	}
	return days, s.figuresErr
}

// open returns a console on a store, as bob sees it.
func open(s *store, change ...func(*Options)) http.Handler {
	o := Options{
		Alerts: s, Suppressions: rules{s}, Quarantine: held{s}, Connections: s, Detectors: detector.All,
		Session: func(*http.Request) (Session, error) { return Session{Person: bob}, nil },
		Account: "contosostorage", Command: "hubwatch", Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

// raised returns alert number n of the detector number kind.
func raised(n, kind int, hub string, at time.Time) alert.Alert {
	d := kinds[kind%len(kinds)]
	a := alert.Alert{
		ID: fmt.Sprintf("00000000-0000-8000-8000-%012d", n), Detector: d.Name, Type: d.AlertType, DisplayName: d.Title, Severity: d.Severity,
		Remediation: "1. " + strings.Join(d.Remediation, "\n2. "),
		Finding: alert.Finding{
			Hub: alert.Hub{Name: hub, SubscriptionID: "00000000-0000-0000-0000-000000000001",
				ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/" + hub},
			Entity: alert.Entity{Type: alert.Certificate, Name: fmt.Sprint("root-ca-", n)}, Actor: "alice@contoso.example", ActorIPAddress: "203.0.113.7",
			Confidence: alert.Stated, Message: fmt.Sprintf("Certificate %d was added.", n), CorrelationID: "00000000-0000-4000-8001-000000000001",
		},
		Start: at, End: at, Generated: at.Add(time.Second), Status: alert.Active, Occurrences: 1, LastActorIPAddress: "203.0.113.7", ActorIPAddresses: []string{"203.0.113.7"},
	}
	if d.On.Unprivileged() {
		a.Entity, a.Actor = alert.Entity{Type: alert.Device, Name: fmt.Sprint("valve-", n)}, ""
	}
	return a
}

// few returns a store with an alert of each of kinds, and of two hubs that were heard of.
func few() *store {
	s := &store{
		heard: []alert.Heard{
			{Hub: "contoso-hub", Source: alert.Connections, Event: now.Add(-time.Minute), Seen: now.Add(-time.Minute)},
			{Hub: "contoso-hub", Source: alert.Changes, Event: now.Add(-time.Hour), Seen: now.Add(-time.Hour)},
			{Hub: "plant-hub", Source: alert.Connections, Event: now.Add(-7 * time.Hour), Seen: now.Add(-7 * time.Hour)},
		},
		trips: []coverage.Trip{{Path: coverage.Topic, Sent: now.Add(-20 * time.Minute), Token: "b", Handed: true, ArrivedToken: "a", ArrivedSent: now.Add(-80 * time.Minute), Took: 2 * time.Second}},
		figures: []verdict.Figures{
			{Hub: "contoso-hub", Day: alert.Day(now).AddDate(0, 0, -8), Renewed: 5_000},
			{Hub: "contoso-hub", Day: alert.Day(now).AddDate(0, 0, -6), Renewed: 1_200, Elsewhere: 70, Refused: map[connection.Cause]int{connection.TokenExpired: 3}},
			{Hub: "contoso-hub", Day: alert.Day(now), Renewed: 34, Refused: map[connection.Cause]int{connection.TokenInvalid: 2, connection.Unclassified: 9}, Unknown: map[string]int{"the moon is in the way": 7, "the sun is": 2}},
			{Hub: "plant-hub", Day: alert.Day(now), Renewed: 1, Refused: map[connection.Cause]int{connection.Unclassified: 1}, Unknown: map[string]int{"the sun is": 8}},
		},
		evidence: []alert.Evidence{{EventID: "event-1", Time: now.Add(-time.Hour), Actor: "alice@contoso.example", ActorIPAddress: "203.0.113.7", RawEvent: `{"id":"1"}`}},
	}
	for i := range kinds {
		s.alerts = append(s.alerts, raised(i+1, i, "contoso-hub", now.Add(-time.Duration(i+1)*time.Hour)))
	}
	return s
}

// get returns the answer to a request without a body.
func get(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return send(t, h, httptest.NewRequest(http.MethodGet, target, nil))
}

// post returns the answer to a form of a page of the console.
func post(t testing.TB, h http.Handler, target string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return send(t, h, r)
}

// send returns the answer to a request.
func send(t testing.TB, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// page returns the page at an address, which must be there.
func pageAt(t testing.TB, h http.Handler, target string) string {
	t.Helper()
	w := get(t, h, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d\n%.2000s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// holds checks that a page has texts, in their order.
func holds(t testing.TB, page string, texts ...string) {
	t.Helper()
	rest := page
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Errorf("the page does not have %q there:\n%.6000s", text, rest)
			return
		}
		rest = after
	}
}

// visible returns what a page shows, without its elements.
func visible(page string) string {
	var b bytes.Buffer
	inside := false
	for _, r := range page {
		switch {
		case r == '<':
			inside = true
		case r == '>':
			inside = false
			b.WriteByte(' ')
		case !inside:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// kinds are the detectors of the alerts in these tests: those of Microsoft's ten. With one
// more detector the numbers on the pages stay what they are.
var kinds = detector.All[:10]
