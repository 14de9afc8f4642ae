package custom

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/window"
)

// Run compares what the alert makes of a case with what the case wants. Its error says how
// they differ, or why the events of the case cannot be judged. Events are counted by the
// definition of the rule (package window), in any order.
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
	case got == c.Want && got == Fires && c.Says != nil:
		return c.Says.compare(found[0])
	case got == c.Want:
		return nil
	case !delivered:
		return fmt.Errorf("want %s, have %s: no event of the case is one that the alert watches (on)", c.Want, got)
	}
	return fmt.Errorf("want %s, have %s: %s", c.Want, got, why)
}

// compare returns an error that says how an occurrence differs; nil if it does not.
func (s Says) compare(o alert.Occurrence) error {
	var errs []error
	differs := func(name, want, have string) {
		if want != "" && want != have {
			errs = append(errs, fmt.Errorf("says.%s: want %q, have %q", name, want, have))
		}
	}
	differs("entity", s.Entity, o.Entity.Name)
	differs("message", s.Message, o.Message)
	differs("severity", string(s.Severity), string(o.Severity))
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		differs("properties."+name, s.Properties[name], o.Properties[name])
	}
	return errors.Join(errs...)
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

// wrap returns the events that the relay makes of records.
func (a Alert) wrap(records []jsontext.Value) ([]jsontext.Value, error) {
	message, err := json.Marshal(map[string][]jsontext.Value{"records": records}, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("records: %w", event.JSONError(err))
	}
	forwarded := relay.Forward([][]byte{message}, relay.Wanted{a.On.Category: nil})
	if len(forwarded.Unreadable) > 0 {
		return nil, fmt.Errorf("records: %w", forwarded.Unreadable[0].Err)
	}
	return forwarded.Events, nil
}

// breached reports whether there are more findings of a key in a window than the rule
// allows, or fewer than it wants. last is the time until which windows are judged.
func breached(r window.Rule, found []alert.Occurrence, last time.Time) bool {
	keys := map[string][]window.Event{} // in order, each once
	for _, o := range found {
		key := strings.ToLower(o.Hub.ResourceID) + "|" + string(o.Entity.Type) + "|" + o.Entity.Name
		e := window.Event{Time: o.Event.Time.UnixNano()}
		sum := sha256.Sum256([]byte(o.Event.Source + "|" + o.Event.ID))
		copy(e.Hash[:], sum[:])
		if at, known := slices.BinarySearchFunc(keys[key], e, window.Event.Compare); !known {
			keys[key] = slices.Insert(keys[key], at, e)
		}
	}
	for _, events := range keys {
		if r.Max != nil && r.First(events, 0) != nil || r.Min > 0 && tooFew(r, events, last) {
			return true
		}
	}
	return false
}

// tooFew reports whether a window that is over has fewer than r.Min of the events.
func tooFew(r window.Rule, events []window.Event, last time.Time) bool {
	cells := map[window.Cell]int{}
	for _, e := range events {
		cells[r.CellOf(e.At())]++
	}
	first := r.CellOf(events[0].At())
	for c := first; !r.CellEnd(c).After(last); c++ {
		if r.Low(c, first, func(c window.Cell) int { return cells[c] }) {
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
