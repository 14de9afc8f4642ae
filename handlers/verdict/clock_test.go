package verdict

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"hubwatch/handlers/connection"
)

// progresses is a store in memory.
type progresses struct {
	all    map[string]Progress
	writes int
	err    error
}

func (p *progresses) Progress(context.Context) (map[string]Progress, error) {
	return maps.Clone(p.all), p.err
}

func (p *progresses) SetProgress(_ context.Context, name string, of Progress) error {
	if p.err != nil {
		return p.err
	}
	p.writes++
	if p.all == nil {
		p.all = map[string]Progress{}
	}
	p.all[name] = of
	return nil
}

// TestClock follows the clock of the log through an outage of an hour, after which the relay
// reads ten minutes of the log in a minute.
func TestClock(t *testing.T) {
	store := &progresses{}
	start := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	now := start
	noter := &Noter{Store: store, Now: func() time.Time { return now }}
	frontier := start // of the partition that is behind
	ticks := 0
	for minute := range 240 {
		now = start.Add(time.Duration(minute) * time.Minute)
		if minute >= 60 && minute < 120 {
			continue // nothing runs
		}
		if minute == 120 { // the timer is there first
			if got, err := (Clock{store}).Tick(t.Context(), now); err != nil || got.After(frontier) {
				t.Fatalf("after the outage: %s, staged to %s, %v", got, frontier, err)
			}
		}
		frontier = frontier.Add(10 * time.Minute)
		if frontier.After(now) {
			frontier = now
		}
		if minute < 3 || minute > 121 {
			if err := noter.Note(t.Context(), "0", frontier); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Clock{store}.Tick(t.Context(), now)
		if err != nil || got.After(frontier) && minute > 121 && frontier.Before(now.Add(-caughtUp)) {
			t.Errorf("minute %d: the clock is at %s, staged to %s, %v", minute, got, frontier, err)
		}
		ticks++
		if (minute < 60 || minute >= 140) && !got.Equal(now) {
			t.Errorf("minute %d: the clock is at %s, and nothing is behind", minute, got)
		}
	}
	if ticks != 180 {
		t.Errorf("%d ticks", ticks)
	}
}

// TestClockIsNotHeld checks what does not hold the clock, and for how long it is held.
func TestClockIsNotHeld(t *testing.T) {
	now := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		all  map[string]Progress
		want time.Time
	}{
		"nothing was written":            {nil, now},
		"a partition without traffic":    {map[string]Progress{"partition 0": {At: ago(moves + 1), To: ago(time.Hour)}}, now},
		"one that is behind":             {map[string]Progress{"partition 0": {At: ago(moves), To: ago(time.Hour)}, "partition 1": {At: now, To: now}}, ago(time.Hour)},
		"one that is not":                {map[string]Progress{"partition 0": {At: ago(moves), To: ago(moves + caughtUp)}}, now},
		"one that is days behind":        {map[string]Progress{"partition 0": {At: now, To: ago(999 * time.Hour)}}, ago(mostBehind)},
		"a timer that ran a minute ago":  {map[string]Progress{timerName: {At: ago(time.Minute), To: ago(time.Minute)}}, now},
		"a timer that was away":          {map[string]Progress{timerName: {At: ago(outage + 1), To: ago(time.Hour)}}, ago(time.Hour)},
		"a timer that was away for days": {map[string]Progress{timerName: {At: ago(999 * time.Hour), To: ago(999 * time.Hour)}}, ago(mostBehind)},
		"a standstill":                   {map[string]Progress{timerName: {At: ago(time.Minute), To: ago(time.Hour), Until: now.Add(1)}}, ago(time.Hour)},
		"a standstill that is over":      {map[string]Progress{timerName: {At: ago(time.Minute), To: ago(time.Hour), Until: now}}, now},
	} {
		if got := clock(c.all, now).To; !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	broken := &progresses{err: errors.New("no table")}
	if got, err := (Clock{broken}).Tick(t.Context(), now); !errors.Is(err, broken.err) || !got.Equal(now) {
		t.Errorf("without a store: %s, %v", got, err)
	}
}

// TestNoter checks that a partition is noted once a minute.
func TestNoter(t *testing.T) {
	store := &progresses{}
	now := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	n := &Noter{Store: store, Now: func() time.Time { return now }}
	for range 120 {
		for _, p := range []string{"0", "1"} {
			if err := n.Note(t.Context(), p, now); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Second)
	}
	if store.writes != 4 {
		t.Errorf("two partitions in two minutes: %d writes", store.writes)
	}
}

// TestJudgeByTheClockOfTheLog checks that a device is not missing while the record that it
// came back is not staged, and that a refusal is said at once all the same.
func TestJudgeByTheClockOfTheLog(t *testing.T) {
	s := Defaults()
	for _, held := range []bool{false, true} {
		w, k := quiet(s)
		w.now = Bucket(40).Start()
		if held {
			k.judge.Clock = Bucket(1).Start()
		}
		d := delivery{[]Entry{
			entry(Fact{Device: device(1), Second: 60, Sign: connection.Expiry, Record: 1}),
			entry(Fact{Device: device(2), Second: 60, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 2}),
		}}
		if err := w.do(t, func(k *worker) error { return k.stage(s, d) }); err != nil {
			t.Fatal(err)
		}
		if err := w.do(t, (*worker).pass); err != nil {
			t.Fatal(err)
		}
		row := w.rows[Place{"contoso-hub", 0}]
		missing := map[bool]int{false: 1}[held]
		if row.Items[Item{device(1), Missing}].N != missing || row.Items[Item{device(2), Cause(connection.TokenInvalid)}].N != 1 {
			t.Errorf("held %t: %+v", held, row)
		}
	}
}
