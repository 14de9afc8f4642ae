package custom

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/window"
)

// Run compares what the alert makes of a case with what the case wants. Its error says how
// they differ, or why the events of the case cannot be judged. Events are counted by the
// definition of the rule, in any order.
func (a Alert) Run(c Case) error {
	events, err := a.events(c)
	if err != nil {
		return err
	}
	d := a.Detector()
	var found []alert.Occurrence
	var last time.Time
	delivered := false
	for i, raw := range events {
		v := d.Judge(raw)
		if v.Err != nil {
			return fmt.Errorf("event %d cannot be judged: %w", i+1, v.Err)
		}
		delivered = delivered || v.Matched
		if v.Event.Time.After(last) {
			last = v.Event.Time
		}
		found = append(found, v.Occurrences...)
	}
	got := Silent
	why := fmt.Sprintf("%d findings", len(found))
	switch {
	case a.rule != nil:
		if breached(*a.rule, found, last) {
			got = Fires
		}
		why += " were counted"
	case len(found) > 0:
		got = Fires
		why += ", the first: " + found[0].Message
	}
	switch {
	case got == c.Want:
		return nil
	case !delivered:
		return fmt.Errorf("want %s, have %s: no event of the case is one that the alert watches (on)", c.Want, got)
	}
	return fmt.Errorf("want %s, have %s: %s", c.Want, got, why)
}

// Sample returns what makes the alert fire, from its first case that does: events, or records
// of a log.
func (a Alert) Sample() (events, records []jsontext.Value) {
	for _, c := range a.Cases {
		switch {
		case c.Want != Fires:
		case c.Records != nil:
			return nil, c.Records
		case c.Events != nil:
			return c.Events, nil
		default:
			return []jsontext.Value{c.Event}, nil
		}
	}
	return nil, nil // Load refuses an alert without such a case.
}

// events returns the events of a case.
func (a Alert) events(c Case) ([]jsontext.Value, error) {
	switch {
	case c.Records != nil:
		return a.wrap(c.Records)
	case c.Events != nil:
		return c.Events, nil
	}
	return []jsontext.Value{c.Event}, nil
}

// wrap returns the events that the relay would make of records: one for each hub.
func (a Alert) wrap(records []jsontext.Value) ([]jsontext.Value, error) {
	type element struct {
		ID     string         `json:"id"`
		Record jsontext.Value `json:"record"`
	}
	hubs := map[string][]element{}
	newest := map[string]time.Time{}
	var order []string
	seen := map[string]bool{}
	for i, raw := range records {
		log, err := new(event.LogReader).Read(raw)
		if err != nil {
			return nil, fmt.Errorf("records[%d]: %w", i, err)
		}
		at, err := log.Time()
		if err != nil {
			return nil, fmt.Errorf("records[%d]: %w", i, err)
		}
		canonical := raw.Clone()
		if err := canonical.Canonicalize(); err != nil {
			return nil, fmt.Errorf("records[%d]: %w", i, event.JSONError(err))
		}
		sum := sha256.Sum256(canonical)
		id := hex.EncodeToString(sum[:])
		if seen[id] {
			continue // The relay leaves out what is repeated.
		}
		seen[id] = true
		hub := strings.ToLower(log.ResourceID)
		if hubs[hub] == nil {
			order = append(order, hub)
		}
		hubs[hub] = append(hubs[hub], element{id, raw})
		if at.After(newest[hub]) {
			newest[hub] = at
		}
	}
	var events []jsontext.Value
	for _, hub := range order {
		var v struct {
			SpecVersion string    `json:"specversion"`
			ID          string    `json:"id"`
			Type        string    `json:"type"`
			Source      string    `json:"source"`
			Subject     string    `json:"subject"`
			Time        time.Time `json:"time"`
			Data        struct {
				Records []element `json:"records"`
			} `json:"data"`
		}
		v.SpecVersion, v.ID, v.Type = "1.0", hubs[hub][0].ID, event.LogType(a.On.Category)
		v.Source, v.Subject, v.Time = hub, "logs/"+a.On.Category, newest[hub]
		v.Data.Records = hubs[hub]
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		events = append(events, b)
	}
	return events, nil
}

// breached reports whether there are more findings of a key in a window than the rule
// allows, or fewer than it wants. It is the definition, for the few events of a case. last
// is the time until which windows are judged.
func breached(r window.Rule, found []alert.Occurrence, last time.Time) bool {
	keys := map[string]map[string]time.Time{} // the times of the distinct events of each key
	for _, o := range found {
		key := strings.ToLower(o.Hub.ResourceID) + "|" + string(o.Entity.Type) + "|" + o.Entity.Name
		if keys[key] == nil {
			keys[key] = map[string]time.Time{}
		}
		keys[key][o.Event.Source+"|"+o.Event.ID] = o.Event.Time
	}
	for _, events := range keys {
		var times []time.Time
		for _, t := range events {
			times = append(times, t)
		}
		slices.SortFunc(times, time.Time.Compare)
		if r.Max != nil {
			for i := *r.Max; i < len(times); i++ {
				if times[i].Sub(times[i-*r.Max]) < r.Width {
					return true
				}
			}
		}
		if r.Min > 0 && tooFew(r, times, last) {
			return true
		}
	}
	return false
}

// tooFew reports whether a window has fewer than r.Min of the times. Windows begin each
// quarter of their length, the first one behind the quarter of the first time.
func tooFew(r window.Rule, times []time.Time, last time.Time) bool {
	step := max(r.Width/4, time.Minute)
	for begin := times[0].Truncate(step).Add(step); !begin.Add(r.Width).After(last); begin = begin.Add(step) {
		n := 0
		for _, t := range times {
			if !t.Before(begin) && t.Before(begin.Add(r.Width)) {
				n++
			}
		}
		if n < r.Min {
			return true
		}
	}
	return false
}

// Test runs all cases of the alert. The error says of each case that fails how.
func (a Alert) Test() error {
	var errs []error
	for _, c := range a.Cases {
		if err := a.Run(c); err != nil {
			errs = append(errs, fmt.Errorf("%s: case %s: %w", a.Name, c.Name, err))
		}
	}
	return errors.Join(errs...)
}
