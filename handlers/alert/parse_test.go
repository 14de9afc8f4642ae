package alert

import (
	"slices"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-02-01T08:00:00Z":         "2026-02-01T08:00:00Z",
		"2026-02-01T08:00:00.5+02:00":  "2026-02-01T06:00:00.5Z",
		"2026-02-01":                   "2026-02-01T00:00:00Z",
		"24h":                          "2026-02-28T12:00:00Z",
		"7d":                           "2026-02-22T12:00:00Z",
		"1d12h30m":                     "2026-02-27T23:30:00Z",
		"0s":                           "2026-03-01T12:00:00Z",
		"":                             "",
		"d":                            "",
		"7":                            "",
		"-1h":                          "",
		"7d-1h":                        "",
		"yesterday":                    "",
		"2026-02-30":                   "",
		"2026-02-01 08:00:00":          "",
		"999999d":                      "",
		"2026-02-01T08:00:00":          "",
		"99999999999999999999999h":     "",
		"2026-02-01T08:00:00Z\u202e1h": "",
	} {
		got, err := ParseTime(text, now, false)
		if (err == nil) != (want != "") || err == nil && got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %v, error %v, want %q", text, got, err, want)
		}
	}
	got, err := ParseTime("2026-02-28", now, true)
	if want := time.Date(2026, 2, 28, 23, 59, 59, 999999999, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("the end of a day is %v, error %v, want %v", got, err, want)
	}
}

func TestParseStatuses(t *testing.T) {
	for text, want := range map[string][]Status{
		"open":                   {Active, InProgress},
		"CLOSED":                 {Resolved, Dismissed},
		"in-progress":            {InProgress},
		"InProgress,inprogress":  {InProgress},
		"resolved,open,resolved": {Resolved, Active, InProgress},
		"":                       nil,
		"open,":                  nil,
		"open resolved":          nil,
		"new":                    nil,
	} {
		got, err := ParseStatuses(text)
		if (err == nil) != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("%q is %v, error %v, want %v", text, got, err, want)
		}
	}
	for _, word := range StatusWords() {
		if _, err := ParseStatuses(word); err != nil {
			t.Errorf("%q: %v", word, err)
		}
	}
}
