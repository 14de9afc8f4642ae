package alert

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What people type: the flags of the command and the addresses of the console take the
// same words.

// statusGroups are words for several statuses.
var statusGroups = map[string][]Status{
	"open":   {Active, InProgress},
	"closed": {Resolved, Dismissed},
}

// StatusWords are the words that ParseStatuses takes: two for several statuses, and then
// those of the statuses.
func StatusWords() []string {
	words := []string{"open", "closed"}
	for _, status := range Statuses {
		words = append(words, Kebab(string(status)))
	}
	return words
}

// Kebab returns a word in PascalCase as people type it: InProgress is in-progress.
func Kebab(word string) string {
	var b strings.Builder
	for i, r := range word {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// Plain returns a word as it is compared with others of its kind: in-progress,
// InProgress and inprogress are one.
func Plain(word string) string { return strings.ToLower(strings.ReplaceAll(word, "-", "")) }

// ParseStatuses reads statuses with commas between them, each once. "open" stands for
// Active and InProgress, and "closed" for the others.
func ParseStatuses(s string) ([]Status, error) {
	var statuses []Status
	for word := range strings.SplitSeq(s, ",") {
		found := statusGroups[strings.ToLower(word)]
		for _, status := range Statuses {
			if Plain(word) == Plain(string(status)) {
				found = []Status{status}
			}
		}
		if found == nil {
			return nil, fmt.Errorf("want %s", anyOf(StatusWords()))
		}
		for _, status := range found {
			if !slices.Contains(statuses, status) {
				statuses = append(statuses, status)
			}
		}
	}
	return statuses, nil
}

// ago matches how long ago something was, like 7d or 24h.
var ago = regexp.MustCompile(`^(?:(\d{1,5})d)?(\S*)$`)

// ParseTime reads a time: RFC 3339, a date, or how long before now. A date is the
// beginning of that day in UTC, or with end the last moment of that day.
func ParseTime(s string, now time.Time, end bool) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		if end {
			t = t.AddDate(0, 0, 1).Add(-1)
		}
		return t, nil
	}
	if m := ago.FindStringSubmatch(s); m != nil && s != "" {
		days, _ := strconv.Atoi(cmp.Or(m[1], "0"))
		rest, err := time.ParseDuration(cmp.Or(m[2], "0s"))
		if err == nil && rest >= 0 {
			return now.AddDate(0, 0, -days).Add(-rest), nil
		}
	}
	return time.Time{}, errors.New("want 2026-02-01T08:00:00Z, 2026-02-01, or how long ago: 24h, 7d")
}
