package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/window"
)

// tallier is a Counter that writes down what it is asked to count.
type tallier struct {
	counted []string
	err     error
}

func (c *tallier) Count(_ context.Context, rule window.Rule, occurrences []alert.Occurrence) error {
	for _, o := range occurrences {
		c.counted = append(c.counted, fmt.Sprintf("%s: %s %s in event %s", rule.Name, o.Entity.Type, o.Entity.Name, o.Event.ID))
	}
	return c.err
}

func (c *tallier) Expire(context.Context, time.Time) (int, error) { return 2, c.err }

func (c *tallier) Watch(_ context.Context, rule window.Rule, alerts alert.Occurrence) (int, error) {
	c.counted = append(c.counted, fmt.Sprintf("watch %s: %s %s", rule.Name, alerts.Detector, alerts.Type))
	return 3, c.err
}

// counting is a detector that counts.
func counting() detector.Detector {
	d := detector.CertificateAdded
	ten := 10
	d.Count = &window.Rule{Name: d.Name, Width: time.Hour, Max: &ten}
	return d
}

// TestCounts checks that what a detector with a rule of a count finds is counted, and not
// recorded, and what becomes of an event that is not counted.
func TestCounts(t *testing.T) {
	never := fmt.Errorf("%w: too old", window.ErrNever)
	down := errors.New("the table is away")
	for name, c := range map[string]struct {
		sample      string
		err         error
		counted     int
		kept        []string // in the quarantine and among the alerts
		quarantined string   // a part of the reason
		fails       error
	}{
		"counted":                        {"fires-application-only", nil, 1, nil, "", nil},
		"never counted":                  {"fires-application-only", never, 1, []string{"quarantined 00000000-0000-4000-8000-000000000026"}, "never to be counted: too old", nil},
		"not counted now":                {"fires-application-only", down, 1, nil, "", down},
		"counted, and a part is unclear": {"fires-dot-dot", nil, 1, []string{"quarantined 00000000-0000-4000-8000-000000000037"}, "segment 10", nil},
		"neither":                        {"fires-dot-dot", never, 1, []string{"quarantined 00000000-0000-4000-8000-000000000037"}, "too old", nil},
	} {
		t.Run(name, func(t *testing.T) {
			store, counter, l := journal{}, tallier{err: c.err}, listener{}
			j := Judge{Alerts: &store, Quarantine: &store, Counter: &counter, Listener: &l}
			out, err := j.Detect(counting())(t.Context(), host.Invocation{Function: "CertificateAdded", Data: certificateAdded(t, c.sample)})
			if !errors.Is(err, c.fails) || len(counter.counted) != c.counted || !slices.Equal(store.kept, c.kept) || !strings.Contains(strings.Join(out.Notes, " "), c.quarantined) {
				t.Errorf("error %v, counted %q, kept %q, notes %q", err, counter.counted, store.kept, out.Notes)
			}
			if heard := len(l.heard) == 1; heard != (c.fails == nil) {
				t.Errorf("heard %q", l.heard)
			}
			if strings.Contains(strings.Join(out.Notes, " "), "alert ") {
				t.Errorf("what is only counted is told as an alert: %q", out.Notes)
			}
		})
	}
}

// TestNothingCounts checks that an event is not lost where nothing counts.
func TestNothingCounts(t *testing.T) {
	j := Judge{Alerts: &journal{}, Quarantine: &journal{}}
	if _, err := j.Detect(counting())(t.Context(), host.Invocation{Data: certificateAdded(t, "fires-application-only")}); err == nil || !strings.Contains(err.Error(), "nothing here counts") {
		t.Errorf("error %v", err)
	}
}

// TestRedriveCounts checks that a redriven event is counted too.
func TestRedriveCounts(t *testing.T) {
	counter := tallier{}
	j := Judge{Alerts: &journal{}, Counter: &counter}
	q := alert.Quarantined{Function: "CertificateAdded", Body: certificateAdded(t, "fires-application-only")}
	r, err := j.Redrive(t.Context(), []detector.Detector{counting()}, q)
	if err != nil || len(counter.counted) != 1 || len(r.Reasons) != 0 {
		t.Errorf("%+v, %v, counted %q", r, err, counter.counted)
	}
	counter.err = fmt.Errorf("%w: too old", window.ErrNever)
	if r, err = j.Redrive(t.Context(), []detector.Detector{counting()}, q); err != nil || r.String() != "still cannot be judged: never to be counted: too old" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestHousekeepingOfCounts checks that old counts are dropped, and that records are dropped
// also if that fails.
func TestHousekeepingOfCounts(t *testing.T) {
	for _, err := range []error{nil, errors.New("the table is away")} {
		r := newRig()
		j := Judge{Logs: r.Logs, Windows: &tallier{err: err}}
		out, failed := j.Housekeeping(t.Context(), host.Invocation{})
		if !errors.Is(failed, err) || out.Counts["dropped days of counts"] != 2 {
			t.Errorf("with %v: %v, %v", err, out.Counts, failed)
		}
		if _, ok := out.Counts["dropped days"]; !ok {
			t.Errorf("with %v: records were not dropped", err)
		}
	}
}

// TestWatches checks that each rule that expects events is judged, also if another one fails,
// and no other rule.
func TestWatches(t *testing.T) {
	first, second := counting(), counting()
	first.Count.Min, second.Count.Min, second.Name = 1, 2, "Second"
	watching := Watches([]detector.Detector{detector.CertificateDeleted, counting(), first, second})
	for _, err := range []error{nil, errors.New("the table is away")} {
		windows := tallier{err: err}
		out, failed := Judge{Windows: &windows}.Watch(watching)(t.Context(), host.Invocation{})
		want := []string{"watch CertificateAdded: CertificateAdded " + first.AlertType, "watch CertificateAdded: Second " + first.AlertType}
		if !errors.Is(failed, err) || out.Counts["cells"] != 6 || !slices.Equal(windows.counted, want) {
			t.Errorf("with %v: %v, %v, %q", err, out, failed, windows.counted)
		}
	}
}

// greedy is a tallier on which one rule takes all the time that it is given.
type greedy struct {
	tallier
	times []time.Duration // that each rule was given
}

func (g *greedy) Watch(ctx context.Context, rule window.Rule, _ alert.Occurrence) (int, error) {
	end, _ := ctx.Deadline()
	g.times = append(g.times, time.Until(end))
	if rule.Name == "Greedy" {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 1, nil
}

// TestWatchSharesItsTime checks that a rule which is not done in its time leaves time to the
// others, which get what quick ones leave.
func TestWatchSharesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var watching []detector.Detector
		for _, name := range []string{"Quick", "Greedy", "Last"} {
			d := counting()
			rule := *d.Count
			rule.Name, rule.Min = name, 1
			d.Count = &rule
			watching = append(watching, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 18*time.Second)
		defer cancel()
		windows := &greedy{}
		out, err := Judge{Windows: windows}.Watch(watching)(ctx, host.Invocation{})
		if !errors.Is(err, context.DeadlineExceeded) || out.Counts["cells"] != 2 || ctx.Err() != nil {
			t.Errorf("%v, %v", out, err)
		}
		if want := []time.Duration{6 * time.Second, 9 * time.Second, 9 * time.Second}; !slices.Equal(windows.times, want) {
			t.Errorf("the rules had %v, want %v", windows.times, want)
		}
	})
}
