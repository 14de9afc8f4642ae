package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
)

// Hub is what is known of one hub.
type Hub struct {
	Name               string                 // in lower case
	BySeverity         map[alert.Severity]int // of the open alerts; "" if no detector has the type
	ByType             map[string]int         // of the open alerts
	Closed, Suppressed int
	Last               time.Time                  // the day of the newest alert
	Heard              map[alert.Source]time.Time // when an event last came
}

// Open returns how many alerts of the hub wait for somebody.
func (h Hub) Open() int {
	n := 0
	for _, of := range h.ByType {
		n += of
	}
	return n
}

// Hubs returns the hubs that there are summaries of, or that were heard of, those with
// the most open alerts first.
func Hubs(sums []alert.Summary, heard []alert.Heard, detectors []detector.Detector) []Hub {
	severities := Severities(detectors)
	hubs := map[string]*Hub{}
	of := func(name string) *Hub {
		if hubs[name] == nil {
			hubs[name] = &Hub{Name: name, BySeverity: map[alert.Severity]int{}, ByType: map[string]int{}, Heard: map[alert.Source]time.Time{}}
		}
		return hubs[name]
	}
	for _, h := range heard {
		if h.Source == alert.Resources {
			continue
		}
		of(h.Hub).Heard[h.Source] = h.Seen
	}
	for _, sum := range sums {
		h := of(sum.Hub)
		h.Suppressed += sum.Suppressed
		if len(sum.Counts) > 0 && sum.Day.After(h.Last) {
			h.Last = sum.Day
		}
		for kind, statuses := range sum.Counts {
			for status, n := range statuses {
				if status.Closed() {
					h.Closed += n
					continue
				}
				h.ByType[kind] += n
				h.BySeverity[severities[strings.ToLower(kind)]] += n
			}
		}
	}
	var list []Hub
	for _, h := range slices.SortedFunc(maps.Values(hubs), func(a, b *Hub) int {
		return cmp.Or(b.Open()-a.Open(), strings.Compare(a.Name, b.Name))
	}) {
		list = append(list, *h)
	}
	return list
}

// HubDocument is a Hub as programs read it.
type HubDocument struct {
	HubName        string                 `json:"hubName"`
	Open           int                    `json:"open"`
	OpenBySeverity map[alert.Severity]int `json:"openBySeverity"`
	OpenByType     map[string]int         `json:"openByType"`
	Closed         int                    `json:"closed"`
	Suppressed     int                    `json:"suppressed"`
	LastAlertDay   string                 `json:"lastAlertDay,omitzero"`
	LastChange     time.Time              `json:"lastChangeUtc,omitzero"`
	LastConnection time.Time              `json:"lastConnectionUtc,omitzero"`
}

// NewHubDocument returns h as programs read it.
func NewHubDocument(h Hub) HubDocument {
	d := HubDocument{
		HubName: h.Name, Open: h.Open(), OpenBySeverity: map[alert.Severity]int{}, OpenByType: h.ByType, Closed: h.Closed, Suppressed: h.Suppressed,
		LastChange: h.Heard[alert.Changes], LastConnection: h.Heard[alert.Connections],
	}
	for severity, n := range h.BySeverity {
		d.OpenBySeverity[cmp.Or(severity, "Unknown")] = n
	}
	if !h.Last.IsZero() {
		d.LastAlertDay = h.Last.Format(time.DateOnly)
	}
	return d
}
