// Package judge is what becomes of an event, or of a message of resource logs,
// wherever it comes from: a detector judges it, what the detector finds is recorded,
// and what can never be judged is quarantined. The Functions host brings events, and
// so does a person who redrives the quarantine.
package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/window"
)

// Judge puts events before detectors.
type Judge struct {
	Alerts alert.Recorder
	// Failures records what functions find in events that somebody without rights can
	// cause (detector.Trigger.Unprivileged), so that a flood of these does not hold up
	// what Alerts records; nil for Alerts. Redrive records all with Alerts.
	Failures   alert.Recorder
	Quarantine alert.Quarantine // for what can never be judged
	Rules      *Rules           // of which alerts nobody is told; nil for none
	Listener   alert.Listener   // hears of each hub; nil for nobody
	Logs       *Logs            // what happens to the Connections log; nil where none comes, as in Redrive
	Counter    Counter          // of what detectors with a rule of a count find; nil where none is
	Windows    Windows          // of what Counter has counted; nil where no timer runs
	Canaries   *Canaries        // what has to arrive; nil where nothing is sent
	Teller     alert.Teller     // of what is raised or reopened, but for what Counter raises; nil for nobody
	Notifier   Notifier         // tells people; nil where nobody is told, as in Redrive
	SIEM       Hearer           // hears of raisings as Microsoft Sentinel; nil where Notifier is
}

// Counter counts what a detector with a rule of a count finds, and raises an alert of what
// the rule does not allow. It asks Rules.Suppress about that.
type Counter interface {
	// Count counts each occurrence by its hub and entity. An event that is counted already
	// changes nothing. An error that wraps window.ErrNever says that some of the events can
	// never be counted, and that all others are. After any other error the caller counts all
	// of them again.
	Count(ctx context.Context, rule window.Rule, occurrences []alert.Occurrence) error
}

// Windows is what timers do with counts.
type Windows interface {
	// Expire drops what is too old to be counted, and returns how many days that were.
	Expire(ctx context.Context, now time.Time) (dropped int, err error)
	// Watch judges the windows of a rule whose time has come, and returns how many cells that
	// were. alerts is what its alerts say, apart from what they are about. After an error it
	// goes on at its next time.
	Watch(ctx context.Context, rule window.Rule, alerts alert.Occurrence) (judged int, err error)
}

// Watches returns those of the detectors whose rule expects a number of events at least.
func Watches(detectors []detector.Detector) (watching []detector.Detector) {
	for _, d := range detectors {
		if d.Count != nil && d.Count.Min > 0 {
			watching = append(watching, d)
		}
	}
	return watching
}

// Watch returns the work of the function that judges where too few events came. A rule
// that fails does not keep the others from being judged.
func (j Judge) Watch(detectors []detector.Detector) func(context.Context, host.Invocation) (host.Outcome, error) {
	return func(ctx context.Context, _ host.Invocation) (host.Outcome, error) {
		out := host.Outcome{Counts: map[string]int{}}
		var errs []error
		for i, d := range detectors {
			own, cancel := share(ctx, len(detectors)-i)
			n, err := j.Windows.Watch(own, *d.Count, alert.Occurrence{
				Detector: d.Name, Type: d.AlertType, DisplayName: d.Title, Severity: d.Severity, Remediation: d.Remediation,
			})
			cancel()
			out.Counts["cells"] += n
			errs = append(errs, err)
		}
		return out, errors.Join(errs...)
	}
}

// share returns a context with one of n equal shares of the time that is left, so that no
// rule waits for ever behind another one that takes it all. What it leaves is for the others.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// hear remembers that a hub was heard of. What cannot be remembered is noted, and is not a
// reason to judge again.
func (j Judge) hear(ctx context.Context, out *host.Outcome, hub string, source alert.Source, at time.Time) {
	if j.Listener == nil {
		return
	}
	if err := j.Listener.Hear(ctx, hub, source, at); err != nil {
		out.Notes = append(out.Notes, "not remembered that the hub was heard of: "+err.Error())
	}
}

// hearing bounds how long the relay waits until it is remembered that hubs were heard of.
const hearing = 2 * time.Second

// hearAll remembers the time of the newest record of each hub.
func (j Judge) hearAll(ctx context.Context, out *host.Outcome, source alert.Source, hubs map[string]time.Time) {
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	for _, hub := range slices.Sorted(maps.Keys(hubs)) {
		j.hear(ctx, out, hub, source, hubs[hub])
	}
}

// hearEvent remembers that the hub of an event was heard of, whatever the detector found in
// the event. An event that names no hub tells of what was found.
func (j Judge) hearEvent(ctx context.Context, out *host.Outcome, source alert.Source, v detector.Verdict, found []alert.Occurrence) {
	hub := ""
	switch source {
	case alert.Changes:
		hub = event.HubOf(v.Event.Subject)
	case alert.HubEvents:
		hub = event.HubOf(v.Event.Source)
	default:
		return // The relay has heard of it.
	}
	if hub != "" {
		j.hear(ctx, out, hub, source, v.Event.Time)
		return
	}
	for _, o := range found {
		of := source
		if source == alert.Changes && event.HubOf(o.Hub.ResourceID) == "" {
			of = alert.Resources
		}
		j.hear(ctx, out, o.Hub.Name, of, o.Event.Time)
	}
}

// settle records what a detector found in an event, with the suppression that each
// occurrence falls under, and returns the occurrences that the store has. Then it tells of
// the alerts that they raised. What a detector
// with a rule of a count found is counted instead. reason says
// why the event, or a part of it, belongs into the quarantine: the detector could not
// judge it, or the store rejected an occurrence. reason is nil if the event does not
// belong there. err means that the event has to be judged again; err also says what
// reason would have said.
func (j Judge) settle(ctx context.Context, d detector.Detector, v detector.Verdict) (found []alert.Occurrence, reason, err error) {
	reason = v.Err
	if len(v.Occurrences) == 0 {
		return nil, reason, nil
	}
	if d.Count != nil {
		if err := j.count(ctx, d, v.Occurrences); errors.Is(err, window.ErrNever) {
			return nil, errors.Join(reason, err), nil
		} else if err != nil {
			return nil, nil, errors.Join(reason, err)
		}
		return v.Occurrences, reason, nil
	}
	j.Rules.Suppress(ctx, v.Occurrences)
	recorded, err := j.Alerts.Record(ctx, v.Occurrences...)
	var raisings []*alert.Raising
	found = v.Occurrences
	if slices.ContainsFunc(recorded, isRejected) {
		found = nil
		for i, r := range recorded {
			if !isRejected(r) {
				found = append(found, v.Occurrences[i])
			}
		}
	}
	for _, r := range recorded {
		reason = errors.Join(reason, r.Err)
		if r.Raising != nil {
			raisings = append(raisings, r.Raising)
		}
	}
	if j.Teller != nil && len(raisings) > 0 {
		err = errors.Join(err, j.Teller.Tell(ctx, raisings...))
	}
	if err != nil {
		return nil, nil, errors.Join(reason, err)
	}
	return found, reason, nil
}

func isRejected(r alert.Recorded) bool { return r.Outcome == alert.Rejected }

// count counts what a detector found.
func (j Judge) count(ctx context.Context, d detector.Detector, occurrences []alert.Occurrence) error {
	if j.Counter == nil {
		return fmt.Errorf("detector %s: nothing here counts", d.Name)
	}
	return j.Counter.Count(ctx, *d.Count, occurrences)
}

// Detect returns the work of the function that runs one detector on the events
// that it is invoked with. An event that can never be judged is quarantined. An
// event that the detector is not for is noted: the deployed filter and the code
// differ. A canary in disguise is not judged.
func (j Judge) Detect(d detector.Detector) func(context.Context, host.Invocation) (host.Outcome, error) {
	if d.On.Unprivileged() && j.Failures != nil {
		j.Alerts = j.Failures
	}
	source := d.On.Heard()
	// What a custom alert has seen may be in a table of its expressions, and of a change the
	// name of its hub is kept. A detector of connections has nothing but what it reports.
	forgets := source == alert.Connections && !d.Custom
	disguised := j.disguised(d.Name)
	var paced *pace // of a custom alert alone: a function to be called later takes memory of each event
	if d.Custom {
		paced = newPace(costly)
	}
	return func(ctx context.Context, in host.Invocation) (host.Outcome, error) {
		if in.Scanned.Kind() == '{' {
			out := host.Outcome{Events: 1}
			if disguised != nil && coverage.Marked(in.Scanned) {
				seen := host.Outcome{Events: 1} // not out, which then would take memory of each event
				if canary, err := disguised(ctx, &seen, in.Data); canary {
					return seen, err
				}
			}
			var v detector.Verdict
			if scanned := in.Scanned; paced == nil {
				v = d.JudgeScanned(scanned)
			} else {
				var err error
				if v, err = paced.judge(ctx, in.Checked, func() detector.Verdict { return d.JudgeScanned(scanned) }); err != nil {
					return out, err
				}
			}
			err := j.event(ctx, &out, in, d, source, in.Data, v)
			out.Forgotten = forgets && err == nil && v.Err == nil && v.Matched && len(v.Occurrences) == 0
			return out, err
		}
		begin := time.Now()
		events, err := event.Split(in.Data)
		read := in.Checked + time.Since(begin)
		if err != nil {
			out := host.Outcome{Events: 1}
			err := j.quarantine(ctx, &out, in, "", in.Data, fmt.Errorf("binding %s: %w", host.Binding, err))
			return out, err
		}
		out := host.Outcome{Events: len(events)}
		for _, raw := range events {
			if disguised != nil && coverage.MarkedRaw(raw) {
				if canary, err := disguised(ctx, &out, raw); err != nil {
					return out, err
				} else if canary {
					continue
				}
			}
			var v detector.Verdict
			if paced == nil {
				v = d.Judge(raw)
			} else if v, err = paced.judge(ctx, read, func() detector.Verdict { return d.Judge(raw) }); err != nil {
				return out, err
			}
			read = 0 // all are read together
			if err := j.event(ctx, &out, in, d, source, raw, v); err != nil {
				return out, err
			}
		}
		return out, nil
	}
}

// event does what follows from a verdict and adds to out what that was. It records
// first and quarantines then. source is of what hubwatch hears when such an event comes. The error means that the event has to be judged again:
// what is recorded then counts once all the same.
func (j Judge) event(ctx context.Context, out *host.Outcome, in host.Invocation, d detector.Detector, source alert.Source, raw jsontext.Value, v detector.Verdict) error {
	if out.EventID == "" {
		out.EventID = v.Event.ID
	}
	found, reason, err := j.settle(ctx, d, v)
	if err != nil {
		return err
	}
	out.Findings += len(found)
	for _, o := range found {
		if d.Count != nil { // It is not an alert yet.
			continue
		}
		note := string(o.Severity) + " alert " + o.ID + ": " + o.DisplayName
		if o.SuppressedBy != "" {
			note += ", under suppression " + o.SuppressedBy
		}
		out.Notes = append(out.Notes, note)
	}
	j.hearEvent(ctx, out, source, v, found)
	if err := j.arriveEvent(ctx, out, v); err != nil {
		return err
	}
	switch {
	case reason != nil:
		return j.quarantine(ctx, out, in, v.Event.ID, raw, reason)
	case !v.Matched:
		out.Unmatched++
		out.Notes = append(out.Notes, fmt.Sprintf("event %s of type %s is not for this function: the deployed filter and the code differ", v.Event.ID, v.Event.Type))
	}
	return nil
}

// quarantine keeps an event that can never be judged, because of reason.
func (j Judge) quarantine(ctx context.Context, out *host.Outcome, in host.Invocation, eventID string, raw jsontext.Value, reason error) error {
	return j.keep(ctx, out, alert.Quarantined{Function: in.Function, EventID: eventID, Body: raw, Size: int64(len(raw))}, reason)
}

// keep puts q into the quarantine because of reason, and adds that to out. If the
// quarantine fails, the error says first why the event belongs there. Otherwise
// nobody who mends the quarantine would hear of it.
func (j Judge) keep(ctx context.Context, out *host.Outcome, q alert.Quarantined, reason error) error {
	q.Reason = reason.Error()
	if err := j.Quarantine.Quarantine(ctx, q); err != nil {
		return errors.Join(reason, err)
	}
	out.Quarantined++
	out.Notes = append(out.Notes, "quarantined: "+q.Reason)
	return nil
}

// Broken quarantines a request that is not an invocation. It is a host.Broken.
func (j Judge) Broken(ctx context.Context, in host.Invocation, size int64, reason error) (host.Outcome, error) {
	out := host.Outcome{Events: 1}
	err := j.keep(ctx, &out, alert.Quarantined{Function: in.Function, Body: in.Data, Size: size}, event.JSONError(reason))
	return out, err
}
