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

	"hubwatch/handlers/detector"
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
// have a fifth of the time between them, one of them or many. One whose events are not has
// each of its events judged at once.
func TestCostlyAlertsRest(t *testing.T) {
	for _, alerts := range []int{1, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			const day = time.Minute
			ctx, stop := context.WithTimeout(t.Context(), day)
			defer stop()
			var spent, usual atomic.Int64
			var group sync.WaitGroup
			q := newQueue()
			for range alerts {
				p := newPace(q)
				for range 3 { // senders of each
					group.Go(func() {
						for ctx.Err() == nil {
							if v, err := p.judge(ctx, events(10*time.Millisecond, &spent)); err == nil && !v.Matched {
								t.Error("not what was judged")
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
					if _, err := quick.judge(ctx, events(each, &usual)); err == nil {
						judged++
						if took := time.Since(begin); took != each {
							t.Errorf("an event of an alert beside them took %v, want %v", took, each)
							return
						}
					}
				}
			})
			group.Wait()
			if share := float64(spent.Load()) / float64(day); share < 0.15 || share > 0.21 {
				t.Errorf("%d alerts had %.2f of the time, want a fifth", alerts, share)
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
			if _, err := p.judge(t.Context(), events(test.event, &spent)); err != nil {
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
			if _, err := p.judge(ctx, events(time.Second, &spent)); err != nil {
				t.Fatal(err)
			}
		}
		var group sync.WaitGroup
		for range 2 {
			for _, p := range []*pace{one, other} {
				group.Go(func() {
					_, err := p.judge(ctx, func() detector.Verdict { t.Error("judged"); return detector.Verdict{} })
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
			if v, err := p.judge(t.Context(), events(0, &spent)); err != nil || !v.Matched {
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
		if _, err := p.judge(t.Context(), func() detector.Verdict { return detector.Verdict{} }); err != nil {
			t.Fatal(err)
		}
	}
	close(end)
	<-ended
	if turns < judged/2 {
		t.Errorf("%d turns of others at %d events", turns, judged)
	}
}
