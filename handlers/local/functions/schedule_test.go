package functions

import (
	"strings"
	"testing"
	"time"
)

// TestSchedule covers when a schedule comes after a moment of a Thursday.
func TestSchedule(t *testing.T) {
	const from = "2026-11-26T10:07:30Z"
	env := map[string]string{"EVERY_HOUR": "0 0 * * * *", "EMPTY": ""}
	tests := []struct{ name, schedule, want string }{
		{"every five minutes", "0 */5 * * * *", "2026-11-26T10:10:00Z"},
		{"every second", "* * * * * *", "2026-11-26T10:07:31Z"},
		{"not at the moment itself", "30 7 10 * * *", "2026-11-27T10:07:30Z"},
		{"five fields", "15 10 * * *", "2026-11-26T10:15:00Z"},
		{"list and range", "0 0 8-9,17 * * *", "2026-11-26T17:00:00Z"},
		{"step from a number", "0 8/20 * * * *", "2026-11-26T10:08:00Z"},
		{"step of a range", "0 0-8/4 * * * *", "2026-11-26T10:08:00Z"},
		{"names", "0 0 0 * Jan-Feb Mon,Friday", "2027-01-01T00:00:00Z"},
		{"both days have to fit", "0 0 0 13 * Fri", "2027-08-13T00:00:00Z"},
		{"leap day", "0 0 0 29 2 *", "2028-02-29T00:00:00Z"},
		{"year", "0 0 0 1 1 *", "2027-01-01T00:00:00Z"},
		{"interval", "00:01:30", "2026-11-26T10:09:00Z"},
		{"setting", "%EVERY_HOUR%", "2026-11-26T11:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			begin, err := time.Parse(time.RFC3339, from)
			if err != nil {
				t.Fatal(err)
			}
			s, err := newSchedule(test.schedule, env)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.next(begin).Format(time.RFC3339); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	for wrong, want := range map[string]string{
		"":                 "0 fields",
		"hourly":           "neither",
		"00:00:00":         "neither",
		"-1":               "neither",
		"* * * *":          "4 fields",
		"60 * * * * *":     `seconds: "60"`,
		"* * * 0 * *":      `days: "0"`,
		"* * * * Smarch *": `months: "Smarch"`,
		"* * * * * 7":      `days of the week: "7"`,
		"*/0 * * * * *":    `"0" is not a step`,
		"5-1 * * * * *":    "ends before it begins",
		"0 0 0 30 2 *":     "never comes",
		"%EMPTY%":          "%EMPTY% does not resolve",
		"%UNKNOWN%":        "%UNKNOWN% does not resolve",
	} {
		if _, err := newSchedule(wrong, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", wrong, err, want)
		}
	}
	for often, want := range map[string]bool{
		"*/10 * * * * *": true, "0 * * * * *": false, "*/10 0 * * * *": false, "00:00:59": true, "00:01:00": false,
	} {
		s, err := newSchedule(often, nil)
		if err != nil || s.frequent() != want {
			t.Errorf("%q: frequent %v, %v, want %v", often, s.frequent(), err, want)
		}
	}
}
