package functions

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// ticks collects the invocations of a timer function.
type ticks struct {
	Data struct {
		Timer struct {
			Schedule       struct{ AdjustForDST bool }
			ScheduleStatus *struct{ Last, Next, LastUpdated time.Time }
			IsPastDue      bool
		} `json:"timer"`
	}
	Metadata map[string]any
}

// clockApp writes an app with a timer function Asking and starts it. Every
// invocation is given to answer.
func clockApp(t *testing.T, schedule, retry string, scale float64, answer func(n int, tick ticks) int) *Host {
	t.Helper()
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var tick ticks
		if err := json.UnmarshalRead(r.Body, &tick); err != nil {
			t.Error(err)
		}
		if r.Header.Get("Traceparent") != "" {
			t.Error("a trace header without a request behind it")
		}
		n++ // one at a time
		w.WriteHeader(answer(n, tick))
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(server.Close)
	root := app(t, nil)
	if retry != "" {
		retry = `,"retry":` + retry
	}
	write(t, filepath.Join(root, "Asking", "function.json"),
		`{"bindings":[{"type":"timerTrigger","name":"timer",`+schedule+`}]`+retry+`}`)
	return start(t, root, Options{Env: []string{"ASK=" + server.URL}, TimerScale: scale})
}

// TestTimer runs a timer by its schedule, much faster, and checks the status that
// the function gets.
func TestTimer(t *testing.T) {
	seen := make(chan ticks, 100)
	clockApp(t, `"schedule":"0 0 * * * *"`, "", 1e-5, func(_ int, tick ticks) int {
		seen <- tick
		return 200
	})
	first := receive(t, "first invocation", seen).Data.Timer
	if first.IsPastDue || !first.Schedule.AdjustForDST || first.ScheduleStatus == nil || !first.ScheduleStatus.Last.IsZero() {
		t.Errorf("first invocation: %+v", first)
	}
	last := first.ScheduleStatus.Next
	for range 3 {
		tick := receive(t, "further invocation", seen)
		status := tick.Data.Timer.ScheduleStatus
		if status.Last.Before(last) || status.Next.Sub(status.Last.Truncate(time.Hour)) != time.Hour || !status.LastUpdated.Equal(status.Last) {
			t.Errorf("after %v: %+v", last, status)
		}
		if len(tick.Metadata) != 1 {
			t.Errorf("metadata %v, want sys alone", tick.Metadata)
		}
		last = status.Next
	}
}

// TestTimerInterval: a timer with intervals of less than a minute gets no status,
// and there is never more than one invocation at a time.
func TestTimerInterval(t *testing.T) {
	seen := make(chan ticks, 100)
	gate := make(chan struct{})
	busy := make(chan struct{}, 1)
	f := clockApp(t, `"schedule":"00:00:01"`, "", 1e-2, func(n int, tick ticks) int {
		select {
		case busy <- struct{}{}:
		default:
			t.Error("two invocations at once")
		}
		seen <- tick
		if n == 1 {
			<-gate
		}
		<-busy
		return 200
	})
	tick := receive(t, "first invocation", seen).Data.Timer
	if tick.ScheduleStatus != nil || tick.Schedule.AdjustForDST {
		t.Errorf("got %+v, want no status", tick)
	}
	// Five intervals pass while the first invocation runs.
	sleep(within(t), f.clock.wait(f.clock.now().Add(5*time.Second)))
	if len(seen) > 0 {
		t.Error("a second invocation while the first one ran")
	}
	close(gate)
	receive(t, "second invocation", seen)
}

// TestTimerAtStart: runOnStartup invokes at once, the schedule stays, and a
// failure is tried again by the retry policy.
func TestTimerAtStart(t *testing.T) {
	seen := make(chan ticks, 10)
	f := clockApp(t, `"schedule":"0 0 0 1 1 *","runOnStartup":true`, `{"strategy":"fixedDelay","maxRetryCount":1,"delayInterval":"00:00:01"}`, 1e-2,
		func(n int, tick ticks) int {
			seen <- tick
			if n == 1 {
				return 500
			}
			return 200
		})
	next := f.timers["Asking"].status().next
	receive(t, "first attempt", seen)
	second := receive(t, "second attempt", seen)
	if second.Metadata["RetryContext"] == nil {
		t.Errorf("metadata %v, want a RetryContext", second.Metadata)
	}
	if err := f.Fire(within(t), "Asking"); err != nil {
		t.Error(err)
	}
	third := receive(t, "invocation by hand", seen).Data.Timer.ScheduleStatus
	if third == nil || !third.Next.Equal(next) {
		t.Errorf("status %+v, want the same next time %v", third, next)
	}
	if err := f.Fire(within(t), "Other"); err == nil {
		t.Error("an unknown function was invoked")
	}
	f.Close()
	if err := f.Fire(within(t), "Asking"); err == nil {
		t.Error("a stopped app was invoked")
	}
}

// TestLongWait checks that a timer of tomorrow waits, however slow the clock is.
func TestLongWait(t *testing.T) {
	for _, scale := range []float64{1, 1e6, 1e12} {
		c := timerClock{time.Now(), scale}
		for _, ahead := range []time.Duration{time.Hour, 14 * time.Hour, 25 * time.Hour} {
			if got := c.wait(c.begin.Add(ahead)); got < ahead-time.Minute {
				t.Errorf("scale %g: waits %v for what is %v ahead", scale, got, ahead)
			}
		}
	}
}
