package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestAsk answers the question of add. Only a yes is a yes, and the end of the input is
// not one.
func TestAsk(t *testing.T) {
	for answer, agreed := range map[string]bool{
		"y\n": true, "Yes \r\n": true, "yes": true, "n\n": false, "\n": false, "": false, "yess\n": false, "no\ny\n": false,
	} {
		var out bytes.Buffer
		err := ask(t.Context(), strings.NewReader(answer), &out, "Add this suppression?")
		if agreed != (err == nil) || err != nil && !errors.Is(err, errSaid) {
			t.Errorf("answer %q: error %v", answer, err)
		}
		if nothing := strings.Contains(out.String(), "Nothing was written."); !strings.HasPrefix(out.String(), "Add this suppression? [y/N] ") || nothing == agreed {
			t.Errorf("answer %q: %q", answer, out.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	in, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	cancel()
	if err := ask(ctx, in, io.Discard, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: error %v", err)
	}
}

// TestTimesOfSuppressions reads the flags about when a suppression matches.
func TestTimesOfSuppressions(t *testing.T) {
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string][2]time.Time{ // as the beginning, and as the end
		"2026-02-01":                {day, day.AddDate(0, 0, 1)},
		"2026-02-01T08:00:00Z":      {day.Add(8 * time.Hour), day.Add(8 * time.Hour)},
		"2026-02-01T08:00:00+02:00": {day.Add(6 * time.Hour), day.Add(6 * time.Hour)},
	} {
		var i instant
		if err := i.Set(text); err != nil || !i.time.Equal(want[0]) || !i.end().Equal(want[1]) || i.time.Location() != time.UTC {
			t.Errorf("%s: from %s, until %s, error %v", text, i.time, i.end(), err)
		}
	}
	for text, want := range map[string]time.Duration{"8h": 8 * time.Hour, "1h30m": 90 * time.Minute, "90d": 90 * 24 * time.Hour} {
		var s span
		if err := s.Set(text); err != nil || s.duration != want {
			t.Errorf("%s: %s, error %v", text, s.duration, err)
		}
	}
	for _, text := range []string{"", "0d", "0h", "-1d", "1ms", "4711d", "1.5d", "8"} {
		var s span
		if err := s.Set(text); err == nil {
			t.Errorf("%q lasts %s", text, s.duration)
		}
	}
}
