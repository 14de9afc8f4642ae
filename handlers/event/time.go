package event

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// ParseTime reads the time of an event or of a record. RFC 3339 is what Azure
// promises. Some of its services write other forms. ParseTime reads them if they
// can mean only one time:
//
//   - letters in lower case, and a space instead of the T, as RFC 3339 allows (section 5.6)
//   - no zone: the times of Azure's logs are in UTC
//     (https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs-schema)
//   - the month first, with AM or PM or with 24 hours
//     (https://github.com/elastic/integrations/issues/15977,
//     https://github.com/open-telemetry/opentelemetry-collector-contrib/issues/27589)
//   - a leap second. It is read as the last instant of its minute that a table can
//     keep, so that it stays on its day.
//
// The range is that of an Edm.DateTime
// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
// The error says what is wrong, and which two dates an ambiguous time can mean.
func ParseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, errors.New("missing or empty")
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if t, err = parseOtherTime(s); err != nil {
			return time.Time{}, err
		}
	}
	if t = t.UTC(); t.Year() < 1601 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("want a year from 1601 to 9999, have %q", Shorten(s))
	}
	return t, nil
}

// Layouts of times that are not RFC 3339. In each of them, a fraction may follow
// the second, and one of zones may follow the time.
var (
	isoLayouts      = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05"}
	americanLayouts = []string{"1/2/2006 3:04:05 PM", "1/2/2006 15:04:05"}
	zones           = []string{"", "Z07:00", " Z07:00"}
)

// leapSecond finds a leap second in a time, with the digits before it.
var leapSecond = regexp.MustCompile(`(\d:\d\d):60(\.\d+)?`)

// parseOtherTime reads a time that is not plain RFC 3339.
func parseOtherTime(s string) (time.Time, error) {
	plain := strings.Replace(strings.ToUpper(strings.TrimSpace(s)), ", ", " ", 1) // the portal has a comma behind the date
	leap := leapSecond.MatchString(plain)
	plain = leapSecond.ReplaceAllString(plain, "${1}:59.9999999")
	t, american, ok := parseLayouts(plain)
	if !ok || leap && !endsMonth(t) {
		return time.Time{}, fmt.Errorf("want an RFC 3339 time, have %q", Shorten(s))
	}
	if month, day := int(t.Month()), t.Day(); american && day <= 12 && day != month {
		other := time.Date(t.Year(), time.Month(day), month, 0, 0, 0, 0, time.UTC)
		return time.Time{}, fmt.Errorf("%q is ambiguous: %s or %s; want an RFC 3339 time", Shorten(s), t.Format("2 January"), other.Format("2 January"))
	}
	return t, nil
}

// parseLayouts tries all layouts, and says whether the layout that fits is
// American.
func parseLayouts(s string) (t time.Time, american, ok bool) {
	for _, zone := range zones {
		for _, layout := range isoLayouts {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t, false, true
			}
		}
		for _, layout := range americanLayouts {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t, true, true
			}
		}
	}
	return t, false, false
}

// endsMonth reports whether t is in the last second of a month of UTC, which is
// where leap seconds are inserted (RFC 3339, section 5.7).
func endsMonth(t time.Time) bool {
	t = t.UTC()
	return t.Hour() == 23 && t.Minute() == 59 && t.AddDate(0, 0, 1).Day() == 1
}
