package functions

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// schedule says when a timer function runs: at the times of a crontab expression
// or, if every is not 0, in intervals.
type schedule struct {
	text   string
	fields []field // seconds, minutes, hours, days, months, days of the week
	every  time.Duration
}

// field is the set of the values that a field of a crontab expression takes.
type field uint64

func (f field) has(n int) bool { return f&(1<<n) != 0 }

// scheduleFields are the six fields with their bounds. Names stand for months,
// from January = 1, and for days of the week, from Sunday = 0.
var scheduleFields = []struct {
	name        string
	least, most int
	names       []string
}{
	{"seconds", 0, 59, nil},
	{"minutes", 0, 59, nil},
	{"hours", 0, 23, nil},
	{"days", 1, 31, nil},
	{"months", 1, 12, []string{"january", "february", "march", "april", "may", "june", "july",
		"august", "september", "october", "november", "december"}},
	{"days of the week", 0, 6, []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}},
}

// newSchedule reads the member schedule of function.json: an NCRONTAB expression
// of six fields, or of five without the seconds, or a time span. %NAME% stands
// for a setting (Azure/azure-webjobs-sdk-extensions, TimerSchedule.Create).
func newSchedule(text string, env map[string]string) (schedule, error) {
	s := schedule{text: text}
	if name, ok := strings.CutPrefix(text, "%"); ok && strings.HasSuffix(name, "%") {
		if s.text = env[strings.TrimSuffix(name, "%")]; s.text == "" {
			return schedule{}, fmt.Errorf("%s does not resolve to a value", text)
		}
	}
	parts := strings.Fields(s.text)
	if len(parts) == 1 {
		var err error
		if s.every, err = interval(parts[0]); err != nil || s.every == 0 {
			return schedule{}, fmt.Errorf("%q is neither a crontab expression of six fields nor a time span hh:mm:ss", s.text)
		}
		return s, nil
	}
	if len(parts) == 5 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) != len(scheduleFields) {
		return schedule{}, fmt.Errorf("%q has %d fields, want six", s.text, len(parts))
	}
	for i, part := range parts {
		f, err := newField(part, i)
		if err != nil {
			return schedule{}, fmt.Errorf("%q: %s: %w", s.text, scheduleFields[i].name, err)
		}
		s.fields = append(s.fields, f)
	}
	if s.next(time.Now().UTC()).IsZero() {
		return schedule{}, fmt.Errorf("%q never comes", s.text)
	}
	return s, nil
}

// newField reads the field at an index: a list of *, numbers, names and ranges,
// each with an optional step.
func newField(text string, index int) (f field, err error) {
	bounds := scheduleFields[index]
	number := func(text string) (int, error) {
		for i, name := range bounds.names {
			if len(text) >= 3 && strings.HasPrefix(name, strings.ToLower(text)) {
				return bounds.least + i, nil
			}
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < bounds.least || n > bounds.most {
			return 0, fmt.Errorf("%q is not within %d to %d", text, bounds.least, bounds.most)
		}
		return n, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		values, steps, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(steps); err != nil || step < 1 {
				return 0, fmt.Errorf("%q is not a step", steps)
			}
		}
		from, to := bounds.least, bounds.most
		if values != "*" {
			first, last, ranged := strings.Cut(values, "-")
			if from, err = number(first); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if to, err = number(last); err != nil {
					return 0, err
				}
				if from > to {
					return 0, fmt.Errorf("%q ends before it begins", values)
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += step {
			f |= 1 << n
		}
	}
	return f, nil
}

// scheduleYears bounds the search for the next time: 29 February falls on a given
// day of the week within 40 years, even around a year like 2100, which is not a
// leap year.
const scheduleYears = 40

// next returns the first time of the schedule after a time, in UTC, or the zero
// time if there is none. A day has to fit both of its fields, as with NCrontab.
func (s schedule) next(after time.Time) time.Time {
	if s.every > 0 {
		return after.Add(s.every)
	}
	t := after.UTC().Truncate(time.Second).Add(time.Second)
	year, month, day := t.Date()
	for date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC); date.Year() <= year+scheduleYears; date = date.AddDate(0, 0, 1) {
		if !s.fields[3].has(date.Day()) || !s.fields[4].has(int(date.Month())) || !s.fields[5].has(int(date.Weekday())) {
			continue
		}
		for n := max(0, int(t.Sub(date)/time.Second)); n < 24*60*60; n++ {
			if s.fields[2].has(n/3600) && s.fields[1].has(n/60%60) && s.fields[0].has(n%60) {
				return date.Add(time.Duration(n) * time.Second)
			}
		}
	}
	return time.Time{}
}

// frequent reports whether the schedule can have two times within a minute. The
// real host keeps no status of such a timer (Azure/azure-webjobs-sdk-extensions,
// TimerSchedule.ShouldDisableScheduleMonitor).
func (s schedule) frequent() bool {
	if s.every > 0 {
		return s.every < time.Minute
	}
	all := true
	for i, f := range s.fields[1:] {
		every, _ := newField("*", i+1)
		all = all && f == every
	}
	return all && s.fields[0]&(s.fields[0]-1) != 0
}
