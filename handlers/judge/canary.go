package judge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/secret"
)

// CanaryName is the name of the function that sends canaries. It runs twice an hour: it
// sends, and a quarter of an hour later it looks whether they arrived.
const CanaryName = "Canary"

// CanaryTagName is the name of the function that gets the events of tags that were written on
// what hubwatch is made of. They are the canaries of the path coverage.Changes.
const CanaryTagName = "CanaryTag"

// Canaries is what sends canaries, and remembers them.
type Canaries struct {
	Store coverage.Store
	// Ways send a canary into each path that the app can reach. An error has no secret of
	// the path.
	Ways map[coverage.Path]func(context.Context, coverage.Canary) error
	// Branches are where a canary of a path has to arrive beside the function in which the
	// path ends.
	Branches map[coverage.Path][]coverage.Branch
	Patience time.Duration // how long a canary may take
	Hubs     []string      // the names of the hubs of which hubwatch should hear
	Source   string        // which hubwatch this is: the resource id of the app, or another text
	Now      func() time.Time
	Token    func() string // a text that nobody can guess
}

// handing bounds how long it takes to send a canary.
const handing = 5 * time.Second

// Canary is the work of the function that sends canaries. It also remembers of which hubs hubwatch
// should hear, so that one of which nothing ever comes is seen. A canary that did not arrive is an
// alert, which is given to the detector here, since the way to its function may be what is
// broken. The error means that what is known cannot be read or written, which the next run
// tries again. What fails on one path does not keep the others from being tried.
func (j Judge) Canary(ctx context.Context, _ host.Invocation) (host.Outcome, error) {
	out := host.Outcome{Counts: map[string]int{}}
	trips, err := j.Canaries.Store.Trips(ctx)
	if err != nil && !errors.Is(err, alert.ErrAbsent) { // To send makes the table, where the app may do so.
		return out, fmt.Errorf("canaries: %w", err)
	}
	known := map[coverage.Path]coverage.Trip{}
	for _, t := range trips {
		known[t.Path] = t
	}
	now := j.Canaries.Now()
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(j.Canaries.Ways)) {
		t := known[path]
		if t.Missed(now) {
			out.Counts["missed"]++
			errs = append(errs, j.missed(ctx, &out, t))
		}
		for _, f := range j.forks(t) {
			if t.Alive() && f.Missed(now) {
				out.Counts["missed"]++
				errs = append(errs, j.missed(ctx, &out, f))
			}
		}
		if t.Due(now) {
			out.Counts["sent"]++
			errs = append(errs, j.send(ctx, &out, coverage.Canary{Path: path, Token: j.Canaries.Token(), Sent: now}))
		}
	}
	errs = append(errs, j.untagged(ctx, known[coverage.Changes]))
	if err := j.Canaries.Store.Expect(ctx, j.Canaries.Hubs); err != nil {
		errs = append(errs, fmt.Errorf("hubs that should be heard of: %w", err))
	}
	return out, errors.Join(errs...)
}

// forks returns the trips to the functions at whose branches the last canary of a path had to
// arrive, and one of this build has to, too. A function that was taken out meanwhile is not missed.
func (j Judge) forks(t coverage.Trip) []coverage.Trip {
	var still []coverage.Branch
	for _, b := range t.Branches {
		if slices.ContainsFunc(j.Canaries.Branches[t.Path], b.Is) {
			still = append(still, b)
		}
	}
	t.Branches = still
	return t.Forks()
}

// untagged remembers that no tag is written any more, if one was written before the settings
// were changed. Otherwise readers would be told that the function does not run.
func (j Judge) untagged(ctx context.Context, t coverage.Trip) error {
	if _, ok := j.Canaries.Ways[coverage.Changes]; ok || t.Token == "" || t.Fault != "" {
		return nil
	}
	return j.refused(ctx, coverage.Canary{Path: coverage.Changes, Token: t.Token, Sent: t.Sent}, "the settings name no resource to tag")
}

// refused remembers why a path did not take a canary.
func (j Judge) refused(ctx context.Context, c coverage.Canary, fault string) error {
	if err := j.Canaries.Store.Refused(ctx, c, fault); err != nil {
		return fmt.Errorf("canary of the path %s: %w", c.Path, err)
	}
	return nil
}

// missed raises the alert about a canary. The same canary counts once, however often it is
// found to be missing.
func (j Judge) missed(ctx context.Context, out *host.Outcome, t coverage.Trip) error {
	d, raw := detector.PathBroken, t.Miss(j.Canaries.Source).Event()
	return j.event(ctx, out, host.Invocation{Function: d.Name}, d, "", raw, d.Judge(raw))
}

// send sends a canary. It is remembered before, so that it cannot arrive as one that nobody
// knows, and again when the path has taken it: if the process ends between the two, nobody
// takes the canary for one that got lost. Why the path does not take it is remembered too, and
// told when the canary is missed.
func (j Judge) send(ctx context.Context, out *host.Outcome, c coverage.Canary) error {
	if err := j.Canaries.Store.Send(ctx, c, c.Path.Patience(j.Canaries.Patience), j.Canaries.Branches[c.Path]); err != nil {
		return fmt.Errorf("canary of the path %s: %w", c.Path, err)
	}
	sending, cancel := context.WithTimeout(ctx, handing)
	defer cancel()
	err := j.Canaries.Ways[c.Path](sending, c)
	if err == nil {
		if err := j.Canaries.Store.Handed(ctx, c); err != nil {
			return fmt.Errorf("canary of the path %s: %w", c.Path, err)
		}
		return nil
	}
	fault := event.Shorten(secret.RedactString(err.Error()))
	out.Notes = append(out.Notes, fmt.Sprintf("no canary was sent through the path %s: %s", c.Path, fault))
	return j.refused(ctx, c, fault)
}

// arrive remembers that a canary arrived.
func (j Judge) arrive(ctx context.Context, out *host.Outcome, c coverage.Canary) error {
	known, err := j.Canaries.Store.Arrive(ctx, c, j.Canaries.Now())
	return arrived(out, string(c.Path), known, err)
}

// reach remembers that a canary arrived at a branch.
func (j Judge) reach(ctx context.Context, out *host.Outcome, c coverage.Canary, b coverage.Branch) error {
	known, err := j.Canaries.Store.Reach(ctx, c, b, j.Canaries.Now())
	return arrived(out, fmt.Sprintf("%s, as an event of the type %s,", c.Path, event.Shorten(b.Type)), known, err)
}

// arrived says what became of a canary that arrived.
func arrived(out *host.Outcome, path string, known bool, err error) error {
	path = event.Shorten(path)
	if err != nil {
		return fmt.Errorf("canary of the path %s: %w", path, err)
	}
	if !known {
		out.Notes = append(out.Notes, fmt.Sprintf("a canary of the path %s arrived that is not the last one that was sent", path))
	}
	return nil
}

// disguised returns what looks for canaries among the marked events that come to a detector: whether an
// event is one, which then is remembered and not judged. An event of which that cannot be
// remembered has to be delivered again. Nothing can hide in such an event, see
// coverage.ParseDisguise. One that hubwatch has not sent, or sent before the last one, proves
// nothing. It is noted. disguised returns nil if no canary is for the detector.
func (j Judge) disguised(function string) func(ctx context.Context, out *host.Outcome, raw jsontext.Value) (bool, error) {
	if j.Canaries == nil || !slices.ContainsFunc(j.Canaries.Branches[coverage.Topic], func(b coverage.Branch) bool { return b.Function == function }) {
		return nil
	}
	return func(ctx context.Context, out *host.Outcome, raw jsontext.Value) (bool, error) {
		e, err := event.Decode(raw)
		if err != nil {
			return false, nil // The detector says what is wrong.
		}
		c, ok := coverage.ParseDisguise(e)
		if !ok {
			return false, nil
		}
		out.EventID = cmp.Or(out.EventID, e.ID)
		return true, j.reach(ctx, out, c, coverage.Branch{Function: function, Type: e.Type})
	}
}

// arriveEvent remembers that a canary arrived, if that is what a detector got. An event of which
// that cannot be remembered has to be delivered again.
func (j Judge) arriveEvent(ctx context.Context, out *host.Outcome, v detector.Verdict) error {
	if j.Canaries == nil || v.Err != nil || !v.Matched || !strings.EqualFold(v.Event.Type, coverage.CanaryType) {
		return nil
	}
	c, err := coverage.ParseEvent(v.Event)
	if err != nil {
		return err
	}
	return j.arrive(ctx, out, c)
}

// arriveMessages takes the canaries out of messages, and remembers that they arrived. Messages
// do not come again because of a canary.
func (j Judge) arriveMessages(ctx context.Context, out *host.Outcome, messages [][]byte) [][]byte {
	if j.Canaries == nil {
		return messages
	}
	others, canaries := coverage.Split(messages)
	for _, c := range canaries {
		if err := j.arrive(ctx, out, c); err != nil {
			out.Notes = append(out.Notes, "not remembered: "+err.Error())
		}
	}
	return others
}

// arriveAlerts remembers canaries among the events about alerts, in the way of arrive. mine
// reports that all of the events are canaries, so that nobody is told of them. An event of which
// that cannot be remembered has to be delivered again.
func (j Judge) arriveAlerts(ctx context.Context, in host.Invocation, arrive func(context.Context, *host.Outcome, coverage.Canary) error) (out host.Outcome, mine bool, err error) {
	if j.Canaries == nil || !bytes.Contains(in.Data, []byte(coverage.CanaryType)) {
		return out, false, nil
	}
	events, err := event.Split(in.Data)
	if err != nil {
		return out, false, nil // Whoever tells of alerts says what is wrong.
	}
	out.Events = len(events)
	var canaries []coverage.Canary
	for _, raw := range events {
		e, err := event.Decode(raw)
		if err != nil || !strings.EqualFold(e.Type, coverage.CanaryType) {
			return host.Outcome{}, false, nil
		}
		out.EventID = cmp.Or(out.EventID, e.ID)
		c, err := coverage.ParseEvent(e)
		if err != nil {
			out.Notes = append(out.Notes, "not a canary: "+err.Error())
			continue
		}
		canaries = append(canaries, c)
	}
	for _, c := range canaries {
		if err := arrive(ctx, &out, c); err != nil {
			return out, true, err
		}
	}
	return out, true, nil
}

// tags is how Azure Resource Manager calls the operation that writes tags. Its events have this
// name (https://github.com/EmergentSoftware/azure-tagger, src/event_exclusions.go, which passes
// over them, since its own tags make such events). A tag that is written in this way makes no
// event of the resource that has it.
const tags = "Microsoft.Resources/tags/write"

// CanaryTagOn matches the events of tags that were written on what hubwatch is made of.
var CanaryTagOn = detector.Trigger{EventTypes: []string{event.ResourceWriteSuccess}, Operations: []string{tags}, Own: true}

// clocks is by how much the clock of Azure Resource Manager may be behind that of the app.
const clocks = time.Minute

// Tag is the work of the function that gets the events of tags. Only Azure Resource Manager can
// publish them, so an event that is not older than the last tag that was written proves the path,
// whoever wrote the tag and on what. One that is older came late. Nothing else is in such an
// event, so one that cannot be read is noted alone. The error means that the event has to be
// delivered again.
func (j Judge) Tag(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	events, err := event.Split(in.Data)
	if err != nil {
		return host.Outcome{Events: 1, Notes: []string{fmt.Sprintf("binding %s: %v", host.Binding, err)}}, nil
	}
	out := host.Outcome{Events: len(events)}
	for _, raw := range events {
		e, err := event.Decode(raw)
		if err == nil {
			var matched bool
			if matched, err = CanaryTagOn.Matches(e); err == nil && !matched {
				out.Unmatched++
				out.Notes = append(out.Notes, fmt.Sprintf("event %s of type %s is not for this function: the deployed filter and the code differ", event.Shorten(e.ID), event.Shorten(e.Type)))
				continue
			}
		}
		if err != nil {
			out.Notes = append(out.Notes, "not the event of a tag: "+event.Shorten(secret.RedactString(err.Error())))
			continue
		}
		out.EventID = cmp.Or(out.EventID, e.ID)
		if err := j.arriveTag(ctx, &out, e.Time); err != nil {
			return out, err
		}
	}
	return out, nil
}

// arriveTag remembers that the event of a tag came, which was written at a time.
func (j Judge) arriveTag(ctx context.Context, out *host.Outcome, written time.Time) error {
	if j.Canaries == nil || j.Canaries.Ways[coverage.Changes] == nil {
		return nil
	}
	trips, err := j.Canaries.Store.Trips(ctx)
	if err != nil {
		return fmt.Errorf("canaries: %w", err)
	}
	for _, t := range trips {
		if t.Path == coverage.Changes && t.Token != "" && !t.Arrived() && !written.Before(t.Sent.Add(-clocks)) {
			return j.arrive(ctx, out, coverage.Canary{Path: t.Path, Token: t.Token, Sent: t.Sent})
		}
	}
	return nil
}
