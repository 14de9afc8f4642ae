package functions

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hubwatch/handlers/local/netjson"
)

// timer runs a timer function by its schedule. Schedules are in UTC, as in Azure
// without WEBSITE_TIME_ZONE.
type timer struct {
	function function
	monitor  bool // the function is told the status

	mu       sync.Mutex
	recorded scheduleStatus // what the real host keeps in storage; here it ends with the host
}

// scheduleStatus says when a timer ran and when it runs next
// (Azure/azure-webjobs-sdk-extensions, ScheduleStatus).
type scheduleStatus struct {
	last, next, updated time.Time
}

// timerClock is the clock of the schedules. It runs faster than the system clock
// if scale is less than 1.
type timerClock struct {
	begin time.Time
	scale float64
}

func (c timerClock) now() time.Time {
	return c.begin.Add(time.Duration(float64(time.Since(c.begin)) / c.scale)).UTC()
}

// wait returns how long it is until a time of the clock, and at most what a time.Duration holds
// twice: with a large scale a day is more.
func (c timerClock) wait(until time.Time) time.Duration {
	return time.Duration(min(float64(until.Sub(c.now()))*c.scale, 1<<62))
}

func newTimer(f function, now time.Time) *timer {
	monitor := (f.trigger.UseMonitor == nil || *f.trigger.UseMonitor) && !f.schedule.frequent()
	return &timer{function: f, monitor: monitor, recorded: scheduleStatus{next: f.schedule.next(now), updated: now}}
}

// runTimer invokes a timer function until the app stops: first at once if
// runOnStartup says so, and then by its schedule. There is one invocation at a
// time. Times that pass while the function still runs are skipped, except the
// first, for which the function runs again at once
// (Azure/azure-webjobs-sdk-extensions, TimerListener). isPastDue is always false,
// because the host does not know what happened before it started.
func (h *Host) runTimer(t *timer) {
	status := scheduleStatus{next: t.status().next}
	for startup := t.function.trigger.RunOnStartup; ; startup = false {
		if !startup && !sleep(h.ctx, h.clock.wait(status.next)) {
			return
		}
		now := h.clock.now()
		// The result is in the log, and the schedule goes on.
		_ = h.persist(h.ctx, t.call(status), h.clock.scale)
		if h.ctx.Err() != nil {
			return
		}
		if !startup && status.next.After(now) {
			now = status.next
		}
		status = scheduleStatus{last: now, next: t.function.schedule.next(now), updated: now}
		t.mu.Lock()
		t.recorded = status
		t.mu.Unlock()
	}
}

// sleep waits and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, wait time.Duration) bool {
	pause := time.NewTimer(wait)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Fire invokes a timer function now, as POST /admin/functions/<name> does, and
// returns the verdict. It changes nothing in the schedule. The end of ctx ends
// the wait, not the invocation.
func (h *Host) Fire(ctx context.Context, functionName string) error {
	t, ok := h.timers[functionName]
	if !ok {
		return fmt.Errorf("cannot find timer function: '%s'", functionName)
	}
	return waitFor(ctx, func() error { return h.invoke(t.call(t.status())) })
}

func (t *timer) status() scheduleStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.recorded
}

// call lays out an invocation (Azure/azure-webjobs-sdk-extensions, TimerInfo). It
// has no trace header, because no request is behind it.
func (t *timer) call(status scheduleStatus) call {
	recorded := []byte("null")
	if t.monitor {
		moment := func(t time.Time) []byte { return netjson.AppendText(nil, t.Format(netjson.DateTime)+"+00:00") }
		recorded = netjson.AppendObject(nil, []netjson.Member{
			{Name: "Last", Value: moment(status.last)},
			{Name: "Next", Value: moment(status.next)},
			{Name: "LastUpdated", Value: moment(status.updated)},
		})
	}
	return call{function: t.function, data: netjson.AppendObject(nil, []netjson.Member{
		{Name: "Schedule", Value: netjson.AppendObject(nil, []netjson.Member{
			{Name: "AdjustForDST", Value: fmt.Append(nil, t.function.schedule.every == 0)},
		})},
		{Name: "ScheduleStatus", Value: recorded},
		{Name: "IsPastDue", Value: []byte("false")},
	})}
}
