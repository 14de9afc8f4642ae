package judge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// shelf is a store of suppressions that can be read, or not.
type shelf struct {
	alert.Suppressions // only List is there

	mu     sync.Mutex
	rules  []alert.Suppression
	broken []error
	err    error
	panics bool
	slow   bool // it answers only when the caller gives up
	reads  int
	since  time.Time // of the last read
}

func (s *shelf) List(ctx context.Context, since time.Time) ([]alert.Suppression, []error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	s.since = since
	switch {
	case s.panics:
		panic("an empty answer")
	case s.slow:
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	return s.rules, s.broken, s.err
}

// set changes what the store has.
func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// raised is a store of alerts that keeps what it is asked to record.
type raised struct {
	mu  sync.Mutex
	all []alert.Occurrence
}

func (r *raised) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, occurrences...)
	return slices.Repeat([]alert.Recorded{{Outcome: alert.New}}, len(occurrences)), nil
}

// ruleFor is a suppression of what alice adds to contoso-hub in February 2026.
func ruleFor(id string) alert.Suppression {
	start := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	return alert.Suppression{
		ID: id, Reason: "a rotation", Owner: "team-pki", Created: start, Starts: start, Expires: start.AddDate(0, 1, 0), Hub: "CONTOSO-hub", Actor: "ALICE@contoso.example",
	}
}

// added is the event of 2026-02-01 in which alice adds a certificate.
func added(t *testing.T) []byte { return certificateAdded(t, "fires-event-grid-schema") }

// warnings collects what Rules warns of.
type warnings struct{ texts []string }

func (w *warnings) warn(what string, err error) { w.texts = append(w.texts, what+": "+err.Error()) }

// TestSuppressed judges an event that a suppression matches: live, with the recorder of
// changes and of failures, and redriven. It is recorded each time, with the id of the
// oldest suppression that matches.
func TestSuppressed(t *testing.T) {
	expired, other := ruleFor("expired"), ruleFor("other")
	expired.Starts, expired.Expires = expired.Starts.AddDate(0, 0, -2), expired.Starts
	other.Hub = "contoso-hub-west"
	store := &shelf{rules: []alert.Suppression{expired, other, ruleFor("first"), ruleFor("second")}}
	for name, rules := range map[string]*Rules{"first": NewRules(store, nil), "": nil} {
		alerts := &raised{}
		j := Judge{Alerts: alerts, Rules: rules}
		out, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: added(t)})
		if err != nil || out.Findings != 1 || strings.HasSuffix(out.Notes[0], ", under suppression first") != (name != "") {
			t.Errorf("outcome %+v, error %v", out, err)
		}
		if _, err := j.Redrive(t.Context(), detector.All, alert.Quarantined{Function: "CertificateAdded", Body: added(t)}); err != nil {
			t.Error(err)
		}
		if len(alerts.all) != 2 || alerts.all[0].SuppressedBy != name || alerts.all[1].SuppressedBy != name {
			t.Errorf("recorded %+v, want it suppressed by %q", alerts.all, name)
		}
	}
	devices, failures := ruleFor("devices"), &raised{}
	devices.Actor = ""
	j := Judge{Alerts: &raised{}, Failures: failures, Rules: NewRules(&shelf{rules: []alert.Suppression{devices}}, nil)}
	failed := caseOf(t, "DeviceTokenExpired", "fires-case-of-the-device")
	if _, err := j.Detect(detector.DeviceTokenExpired)(t.Context(), host.Invocation{Function: "DeviceTokenExpired", Data: failed}); err != nil {
		t.Error(err)
	}
	if len(failures.all) != 1 || failures.all[0].SuppressedBy != "devices" {
		t.Errorf("recorded %+v", failures.all)
	}
}

// TestRulesAreReadSeldom checks how often suppressions are read, by how many at once,
// and that what was changed counts after 30 seconds.
func TestRulesAreReadSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &shelf{rules: []alert.Suppression{ruleFor("first")}}, &warnings{}
		r := NewRules(store, w.warn)
		by := func() string {
			o := occurrence()
			r.Suppress(t.Context(), o)
			return o[0].SuppressedBy
		}
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if have := by(); have != "first" {
					t.Errorf("suppressed by %q", have)
				}
			})
		}
		group.Wait()
		if want := time.Now().AddDate(0, 0, -30); store.reads != 1 || !store.since.Equal(want) {
			t.Errorf("%d reads, since %s, want one since %s", store.reads, store.since, want)
		}
		store.set(func(s *shelf) { s.rules = nil })
		time.Sleep(rulesFresh - time.Nanosecond)
		if have := by(); have != "first" || store.reads != 1 {
			t.Errorf("just before 30 s: suppressed by %q, %d reads", have, store.reads)
		}
		time.Sleep(time.Nanosecond)
		if have := by(); have != "" || store.reads != 2 {
			t.Errorf("after 30 s: suppressed by %q, %d reads", have, store.reads)
		}
		if all := NewAllRules(store, w.warn); all.current(t.Context()) != nil || !store.since.IsZero() {
			t.Errorf("all suppressions, since %s", store.since)
		}
		if len(w.texts) > 0 {
			t.Errorf("warned: %q", w.texts)
		}
	})
}

// TestRulesThatCannotBeRead checks that an alert is raised if the suppressions cannot be
// read, also if they could be read before; that each failure is told once; and that it
// holds up an event for two seconds at most, once in 30 seconds.
func TestRulesThatCannotBeRead(t *testing.T) {
	for name, fail := range map[string]func(*shelf){
		"an error":  func(s *shelf) { s.err = errors.New("the table is away") },
		"no answer": func(s *shelf) { s.slow = true },
		"a panic":   func(s *shelf) { s.panics = true },
	} {
		synctest.Test(t, func(t *testing.T) {
			store, w := &shelf{rules: []alert.Suppression{ruleFor("first")}}, &warnings{}
			r := NewRules(store, w.warn)
			by := func() (string, time.Duration) {
				begin, o := time.Now(), occurrence()
				r.Suppress(t.Context(), o)
				return o[0].SuppressedBy, time.Since(begin)
			}
			if have, _ := by(); have != "first" {
				t.Fatalf("%s: suppressed by %q at first", name, have)
			}
			for failures := 1; failures <= 2; failures++ {
				store.set(fail)
				time.Sleep(rulesFresh)
				for i := range 10 {
					have, took := by()
					if have != "" || took > rulesWait || i > 0 && took > 0 {
						t.Errorf("%s: suppressed by %q after %s, in call %d", name, have, took, i)
					}
				}
				if len(w.texts) != failures || store.reads != 1+failures || !strings.HasPrefix(w.texts[0], "suppressions cannot be read, and so nothing is suppressed: ") {
					t.Errorf("%s: %d reads, warned: %q", name, store.reads, w.texts)
				}
			}
			store.set(func(s *shelf) { s.err, s.slow, s.panics = nil, false, false })
			time.Sleep(rulesFresh)
			if have, _ := by(); have != "first" {
				t.Errorf("%s: suppressed by %q in the end", name, have)
			}
		})
	}
}

// TestRulesOutliveTheirReader checks that a caller who gives up does not take the
// suppressions away from those who wait, and gets none himself.
func TestRulesOutliveTheirReader(t *testing.T) {
	w := &warnings{}
	r := NewRules(&shelf{rules: []alert.Suppression{ruleFor("first")}}, w.warn)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r.current(gone)
	o := occurrence()
	if r.Suppress(t.Context(), o); o[0].SuppressedBy != "first" {
		t.Errorf("suppressed by %q, warned: %q", o[0].SuppressedBy, w.texts)
	}
}

// TestBrokenRulesAreToldOnce checks that a row that is not a suppression is told of
// once, and again after it was right for a while.
func TestBrokenRulesAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := &shelf{broken: []error{errors.New("row 1")}, rules: []alert.Suppression{ruleFor("first")}}, &warnings{}
		r := NewRules(store, w.warn)
		for i, step := range []struct {
			broken []error
			err    error
			told   int
		}{
			{[]error{errors.New("row 1")}, nil, 1},
			{[]error{errors.New("row 1"), errors.New("row 2")}, nil, 2},
			{nil, errors.New("the table is away"), 3},
			{[]error{errors.New("row 1"), errors.New("row 2")}, nil, 3},
			{nil, nil, 3},
			{[]error{errors.New("row 1")}, nil, 4},
		} {
			store.set(func(s *shelf) { s.broken, s.err = step.broken, step.err })
			o := occurrence()
			r.Suppress(t.Context(), o)
			if len(w.texts) != step.told || (o[0].SuppressedBy == "first") != (step.err == nil) {
				t.Errorf("step %d: suppressed by %q, told %q", i, o[0].SuppressedBy, w.texts)
			}
			time.Sleep(rulesFresh)
		}
	})
}

// TestRedeliveryIsSuppressedAlike delivers an event again after the suppression has
// expired and was ended: the answer is the same, since the time of the event counts.
func TestRedeliveryIsSuppressedAlike(t *testing.T) {
	rule := ruleFor("first")
	for _, ended := range []time.Time{{}, rule.Expires, time.Date(2026, 2, 20, 0, 0, 0, 0, time.UTC)} {
		rule.Ended = ended
		r := NewRules(&shelf{rules: []alert.Suppression{rule}}, nil)
		r.now = func() time.Time { return rule.Expires.AddDate(0, 0, 7) }
		o := occurrence()
		if r.Suppress(t.Context(), o); o[0].SuppressedBy != "first" {
			t.Errorf("ended %s: suppressed by %q", ended, o[0].SuppressedBy)
		}
	}
}

// occurrence is one that ruleFor matches.
func occurrence() []alert.Occurrence {
	return []alert.Occurrence{{
		Type:    "IoT_CertificateSuccessfullyAddedToHub",
		Finding: alert.Finding{Hub: alert.Hub{Name: "contoso-hub"}, Actor: "alice@contoso.example"},
		Event:   alert.Event{Time: time.Date(2026, 2, 10, 8, 0, 0, 0, time.UTC)},
	}}
}
