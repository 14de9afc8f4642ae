package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hubwatch/handlers/alert"
)

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

// TestSuppressionsFitTheTerminal writes a list and a suppression with long texts for a
// terminal of 80 columns.
func TestSuppressionsFitTheTerminal(t *testing.T) {
	now := time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)
	s := alert.Suppression{
		ID: "3f2a9c0412345678", Reason: strings.Repeat("a word ", 50), Owner: "the team that looks after the certificates of all plants <team-pki@contoso.example>",
		Created: now, Starts: now, Expires: now.AddDate(0, 3, 0), AlertType: "IoT_CertificateSuccessfullyAddedToHub", Hub: "contoso-hub-with-a-long-name",
		EntityType: alert.Certificate, Entity: "intermediate-ca-of-plant-*", Actor: "pipeline-of-all-plants@contoso.example", Addresses: netip.MustParsePrefix("203.0.113.0/24"),
	}
	var out bytes.Buffer
	if err := suppressionGrid([]alert.Suppression{s}, nil, now).write(&out, helpWidth); err != nil {
		t.Error(err)
	}
	if err := writeSuppression(&out, s); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > helpWidth {
			t.Errorf("longer than %d characters: %s", helpWidth, line)
		}
	}
	for _, part := range []string{"3f2a9c0412345678  active  2026-05-01 08:00      0  ", "\n  type CertificateAdded, hub contoso-hub-with-a-long-name, entity type", "\nUntil       2026-05-01T08:00:00Z\n", "203.0.113.0/24\n"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("want %q:\n%s", part, out.String())
		}
	}
}
