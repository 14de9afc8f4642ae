package judge

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/scan"
)

// events returns a judge of events that each take some time.
func events(took time.Duration, spent *atomic.Int64) func() detector.Verdict {
	return func() detector.Verdict {
		time.Sleep(took)
		spent.Add(int64(took))
		return detector.Verdict{Matched: true}
	}
}

// TestCostlyAlertsRest lets custom alerts have events all the time. Those whose events are costly
// have an eighth of the time between them, one of them or many, whether it takes long to judge their
// events or to read them. One whose events are not has each of its events judged at once.
func TestCostlyAlertsRest(t *testing.T) {
	for _, test := range []struct {
		alerts int
		read   time.Duration
	}{{1, 0}, {10, 0}, {100, 0}, {1, 9 * time.Millisecond}, {10, 9 * time.Millisecond}, {100, 10 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			const day = time.Minute
			ctx, stop := context.WithTimeout(t.Context(), day)
			defer stop()
			var spent, usual atomic.Int64
			var group sync.WaitGroup
			q := newQueue()
			for range test.alerts {
				p := newPace(q)
				for range 3 { // senders of each
					group.Go(func() {
						for ctx.Err() == nil {
							if v, err := p.judge(ctx, test.read, events(10*time.Millisecond-test.read, &spent)); err == nil && !v.Matched {
								t.Error("not what was judged")
							} else if err == nil {
								spent.Add(int64(test.read)) // before it, by whoever calls
							}
						}
					})
				}
			}
			const each = costlyTime - 1
			judged, quick := 0, newPace(q)
			group.Go(func() {
				for ctx.Err() == nil {
					begin := time.Now()
					if _, err := quick.judge(ctx, 0, events(each, &usual)); err == nil {
						judged++
						if took := time.Since(begin); took != each {
							t.Errorf("an event of an alert beside them took %v, want %v", took, each)
							return
						}
					}
				}
			})
			group.Wait()
			if share := float64(spent.Load()) / float64(day); share < 0.1 || share > 0.13 {
				t.Errorf("%d alerts whose events take %v to read had %.2f of the time, want an eighth", test.alerts, test.read, share)
			}
			if judged == 0 {
				t.Error("the alert beside them judged nothing")
			}
		})
	}
}

// TestCostlyAlertRecovers judges events that are not costly after one that was: the first waits
// for the end of the rest, and no other.
func TestCostlyAlertRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spent atomic.Int64
		p := newPace(newQueue())
		for i, test := range []struct{ event, want time.Duration }{
			{20 * time.Millisecond, 20 * time.Millisecond},
			{0, 20 * restTimes * time.Millisecond},
			{0, 0},
			{costlyTime, costlyTime},
			{costlyTime, costlyTime * (1 + restTimes)},
		} {
			begin := time.Now()
			if _, err := p.judge(t.Context(), 0, events(test.event, &spent)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took != test.want {
				t.Errorf("event %d took %v, want %v", i, took, test.want)
			}
		}
	})
}

// TestPaceEnds ends invocations that wait: for the event before, for the end of the rest, and for
// another alert that waits for it. Their events are not judged, and the next one is.
func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spent atomic.Int64
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		q := newQueue()
		one, other := newPace(q), newPace(q)
		for _, p := range []*pace{one, other} {
			if _, err := p.judge(ctx, 0, events(time.Second, &spent)); err != nil {
				t.Fatal(err)
			}
		}
		var group sync.WaitGroup
		for range 2 {
			for _, p := range []*pace{one, other} {
				group.Go(func() {
					_, err := p.judge(ctx, 0, func() detector.Verdict { t.Error("judged"); return detector.Verdict{} })
					if !errors.Is(err, gone) {
						t.Errorf("error %v", err)
					}
				})
			}
		}
		synctest.Wait()
		cancel(gone)
		group.Wait()
		for _, p := range []*pace{one, other} {
			if v, err := p.judge(t.Context(), 0, events(0, &spent)); err != nil || !v.Matched {
				t.Errorf("%v, error %v", v, err)
			}
		}
	})
}

// TestOthersRunBetweenEvents checks that whoever is ready runs before each event of an alert that
// has one after the other.
func TestOthersRunBetweenEvents(t *testing.T) {
	const judged = 100
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	turns, end, ended := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				turns++
				runtime.Gosched()
			}
		}
	}()
	p := newPace(newQueue())
	for range judged {
		if _, err := p.judge(t.Context(), 0, func() detector.Verdict { return detector.Verdict{} }); err != nil {
			t.Fatal(err)
		}
	}
	close(end)
	<-ended
	if turns < judged/2 {
		t.Errorf("%d turns of others at %d events", turns, judged)
	}
}

// TestReadingIsCostly lets a custom alert have events that took a second to check. The next one
// waits, however the events come.
func TestReadingIsCostly(t *testing.T) {
	const event = `{"id":"1","eventType":"Microsoft.Resources.ResourceWriteSuccess","subject":"s","topic":"t","eventTime":"2026-02-01T10:00:00Z","data":{"operationName":"o"}}`
	d := detector.CertificateAdded // which these events are not for
	d.Custom = true
	defer func(before *queue) { costly = before }(costly)
	for name, test := range map[string]struct {
		data    string
		scanned bool
	}{
		"scanned":            {event, true},
		"not scanned":        {event, false},
		"two in one request": {"[" + event + "," + event + "]", false}, // the second is the next one
	} {
		synctest.Test(t, func(t *testing.T) {
			costly = newQueue()
			run := Judge{}.Detect(d)
			in := host.Invocation{Function: d.Name, Data: jsontext.Value(test.data), Checked: time.Second}
			if doc := new(scan.Doc); test.scanned && doc.Scan(in.Data, "", 100) {
				in.Scanned = doc.Root()
			}
			begin := time.Now()
			if _, err := run(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			in.Checked = 0
			out, err := run(t.Context(), in)
			if waited := time.Since(begin); err != nil || waited != (restTimes+1)*time.Second || out.Unmatched != out.Events {
				t.Errorf("%s: the next event waited for %v, error %v; want eight times as long as it took", name, waited, err)
			}
		})
	}
}
