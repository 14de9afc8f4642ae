// Package fleet says what is known of a fleet as a whole: how many alerts there are, by
// day, type, hub or status, what is known of each hub, and of one device. The command and
// the console show the same, because both take it from here.
package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// Summaries reads the summaries that q asks for by its hub and times, the newest day
// first.
func Summaries(ctx context.Context, reader alert.Reader, q alert.Query) (sums []alert.Summary, err error) {
	for sum, err := range reader.Summaries(ctx, q) {
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

// By says what alerts are counted by.
type By string

// What alerts can be counted by.
const (
	ByDay    By = "day"
	ByType   By = "type"
	ByHub    By = "hub"
	ByStatus By = "status"
)

// Bys are all of them.
var Bys = []By{ByDay, ByType, ByHub, ByStatus}

// Count is how many alerts there are of one day, type, hub or status.
type Count struct {
	Key      string               // the day as 2006-01-02, the alert type, the hub or the status
	Statuses map[alert.Status]int // empty if the alerts are suppressed
	// Suppressed is how many suppressed alerts there are, if these were asked for. Their
	// statuses and types are not counted.
	Suppressed int
}

// Total returns how many alerts there are.
func (c Count) Total() int {
	n := c.Suppressed
	for _, of := range c.Statuses {
		n += of
	}
	return n
}

// Open returns how many alerts wait for somebody.
func (c Count) Open() int {
	n := 0
	for status, of := range c.Statuses {
		if !status.Closed() {
			n += of
		}
	}
	return n
}

// Counts counts alerts of summaries: those that q asks for by its type, statuses and
// Suppressed. Days come the newest first, statuses in their own order, and all others by
// their numbers.
func Counts(sums []alert.Summary, q alert.Query, by By) []Count {
	groups := map[string]*Count{}
	add := func(key string) *Count {
		if groups[key] == nil {
			groups[key] = &Count{Key: key, Statuses: map[alert.Status]int{}}
		}
		return groups[key]
	}
	for _, sum := range sums {
		place := map[By]string{ByDay: sum.Day.Format(time.DateOnly), ByHub: sum.Hub}[by]
		if q.Suppressed {
			if sum.Suppressed > 0 {
				add(place).Suppressed += sum.Suppressed
			}
			continue
		}
		for kind, statuses := range sum.Counts {
			if q.Type != "" && !strings.EqualFold(q.Type, kind) {
				continue
			}
			for status, n := range statuses {
				if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, status) {
					continue
				}
				key := place
				switch by {
				case ByType:
					key = kind
				case ByStatus:
					key = string(status)
				}
				add(key).Statuses[status] += n
			}
		}
	}
	order := func(a, b *Count) int {
		switch by {
		case ByDay:
			return strings.Compare(b.Key, a.Key)
		case ByStatus:
			at := func(c *Count) int { return slices.Index(alert.Statuses, alert.Status(c.Key)) }
			return cmp.Or(at(a)-at(b), strings.Compare(a.Key, b.Key))
		}
		return cmp.Or(b.Total()-a.Total(), strings.Compare(a.Key, b.Key))
	}
	var list []Count
	for _, c := range slices.SortedFunc(maps.Values(groups), order) {
		list = append(list, *c)
	}
	return list
}

// CountDocument is a Count as programs read it.
type CountDocument struct {
	Day       string               `json:"day,omitzero"`
	AlertType string               `json:"alertType,omitzero"`
	HubName   string               `json:"hubName,omitzero"`
	Status    string               `json:"status,omitzero"`
	Alerts    int                  `json:"alerts"`
	Open      *int                 `json:"open,omitzero"` // unknown of suppressed alerts
	ByStatus  map[alert.Status]int `json:"byStatus,omitzero"`
}

// CountDocuments returns counts as programs read them.
func CountDocuments(counts []Count, by By) []CountDocument {
	return export.Each(counts, func(c Count) CountDocument {
		d := CountDocument{Alerts: c.Total()}
		*map[By]*string{ByDay: &d.Day, ByType: &d.AlertType, ByHub: &d.HubName, ByStatus: &d.Status}[by] = c.Key
		if c.Suppressed == 0 {
			open := c.Open()
			d.Open, d.ByStatus = &open, c.Statuses
		}
		return d
	})
}

// Severities returns the severity of each alert type, whose letters are in lower case.
func Severities(detectors []detector.Detector) map[string]alert.Severity {
	severities := map[string]alert.Severity{}
	for _, d := range detectors {
		severities[strings.ToLower(d.AlertType)] = d.Severity
	}
	return severities
}

// Named returns the detector of an alert type, or the one with that name. It returns
// false if there is none.
func Named(detectors []detector.Detector, name string) (detector.Detector, bool) {
	i := slices.IndexFunc(detectors, func(d detector.Detector) bool {
		return strings.EqualFold(d.AlertType, name) || strings.EqualFold(d.Name, name)
	})
	if i < 0 {
		return detector.Detector{}, false
	}
	return detectors[i], true
}
