package judge

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/verdict"
)

// Redriven is what became of a quarantined event that was judged again.
type Redriven struct {
	Occurrences []alert.Occurrence // that were found and recorded
	Unmatched   int                // events that the function is not for
	Reasons     []string           // why the event, or a part of it, cannot be judged still
}

// String says in a few words what became of the event.
func (r Redriven) String() string {
	alerts := ""
	switch n := len(r.Occurrences); n {
	case 0:
	case 1:
		alerts = "1 alert"
	default:
		alerts = fmt.Sprintf("%d alerts", n)
	}
	switch {
	case len(r.Reasons) > 0 && alerts != "":
		return alerts + ", and still cannot be judged: " + r.Reasons[0]
	case len(r.Reasons) > 0:
		return "still cannot be judged: " + r.Reasons[0]
	case alerts != "":
		return alerts
	case r.Unmatched > 0:
		return "not for this function"
	default:
		return "nothing found"
	}
}

// Redrive judges a quarantined event again, as the handler would. Each record of a
// message of resource logs is judged by itself, since the others are not there. Its event
// goes to each detector whose filter it passes, and not to the topic: other subscribers of the
// topic do not hear of it. So does an event that could not be published. What is
// found is recorded, unless Alerts is nil. Nothing is quarantined, since the event is
// in the quarantine. What could not be told of an alert is not told again. The error means that an occurrence is not recorded, and that
// the event may be redriven again.
func (j Judge) Redrive(ctx context.Context, detectors []detector.Detector, q alert.Quarantined) (Redriven, error) {
	var r Redriven
	if q.Function == RelayName || q.Function == VerdictsName {
		err := j.redriveMessage(ctx, &r, detectors, q.Body)
		return r, err
	}
	if q.Function == NotifyName || q.Function == SentinelName {
		r.Reasons = append(r.Reasons, q.Function+" tells of alerts that are in the table, and tells nobody late: resolve it")
		return r, nil
	}
	for _, d := range detectors {
		if d.Name != q.Function {
			continue
		}
		events, err := event.Split(q.Body)
		if err != nil {
			r.Reasons = append(r.Reasons, err.Error())
		}
		for _, raw := range events {
			if err := j.redrive(ctx, &r, d, d.Judge(raw)); err != nil {
				return r, err
			}
		}
		return r, nil
	}
	r.Reasons = append(r.Reasons, "there is no function "+q.Function)
	return r, nil
}

// redrive does what follows from a verdict and adds to r what that was.
func (j Judge) redrive(ctx context.Context, r *Redriven, d detector.Detector, v detector.Verdict) error {
	found, reason := v.Occurrences, v.Err
	if j.Alerts != nil {
		var err error
		if found, reason, err = j.settle(ctx, d, v); err != nil {
			return err
		}
	}
	r.Occurrences = append(r.Occurrences, found...)
	switch {
	case reason != nil:
		r.Reasons = append(r.Reasons, reason.Error())
	case !v.Matched:
		r.Unmatched++
	}
	return nil
}

// redriveMessage redrives what the relay quarantined.
func (j Judge) redriveMessage(ctx context.Context, r *Redriven, detectors []detector.Detector, body []byte) error {
	events := relayedEvents(body)
	if events == nil {
		result := relay.Relay([][]byte{body})
		for _, u := range result.Unreadable {
			r.Reasons = append(r.Reasons, u.Err.Error())
		}
		forwarded := relay.Forward([][]byte{body}, Wanted(detectors))
		for _, u := range forwarded.Unreadable {
			r.Reasons = append(r.Reasons, u.Err.Error())
		}
		events = append(result.Events, forwarded.Events...)
	}
	for _, raw := range events {
		for _, d := range detectors {
			v := d.Judge(raw)
			if v.Err == nil && !v.Matched {
				continue // Event Grid's filter
			}
			if err := j.redrive(ctx, r, d, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// relayedEvents returns the events in data if it is an event of a connection or of log
// records, which is what cannot be published, or an array of them, which versions before
// verdicts quarantined. Otherwise it returns nil.
func relayedEvents(data jsontext.Value) (events []jsontext.Value) {
	if data.Kind() == '{' {
		events = []jsontext.Value{data}
	} else if json.Unmarshal(data, &events, event.Lenient) != nil {
		return nil
	}
	for _, raw := range events {
		e, err := event.Decode(raw)
		if _, ofLog := event.LogCategory(e.Type); err != nil || !ofLog && !slices.Contains(verdict.EventTypes, e.Type) {
			return nil
		}
	}
	return events
}
