package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// Canaries is what sends canaries, and remembers them.
type Canaries struct {
	Store coverage.Store
	// Ways send a canary into each path that the app can reach. An error has no secret of
	// the path.
	Ways     map[coverage.Path]func(context.Context, coverage.Canary) error
	Patience time.Duration // how long a canary may take
	Source   string        // which hubwatch this is: the resource id of the app, or another text
	Now      func() time.Time
	Token    func() string // a text that nobody can guess
}

// handing bounds how long it takes to send a canary.
const handing = 5 * time.Second

// Canary is the work of the function that sends canaries. A canary that did not arrive is an
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
		if t.Missed(now, j.Canaries.Patience) {
			out.Counts["missed"]++
			errs = append(errs, j.missed(ctx, &out, t))
		}
		if t.Due(now) {
			out.Counts["sent"]++
			errs = append(errs, j.send(ctx, &out, coverage.Canary{Path: path, Token: j.Canaries.Token(), Sent: now}))
		}
	}
	return out, errors.Join(errs...)
}

// missed raises the alert about a canary. The same canary counts once, however often it is
// found to be missing.
func (j Judge) missed(ctx context.Context, out *host.Outcome, t coverage.Trip) error {
	d, raw := detector.PathBroken, t.Miss(j.Canaries.Source).Event()
	return j.event(ctx, out, host.Invocation{Function: d.Name}, d, "", raw, d.Judge(raw))
}

// send sends a canary. It is remembered before, so that it cannot arrive as one that nobody
// knows. Why the path does not take it is remembered too, and told when the canary is missed.
func (j Judge) send(ctx context.Context, out *host.Outcome, c coverage.Canary) error {
	if err := j.Canaries.Store.Send(ctx, c); err != nil {
		return fmt.Errorf("canary of the path %s: %w", c.Path, err)
	}
	sending, cancel := context.WithTimeout(ctx, handing)
	defer cancel()
	err := j.Canaries.Ways[c.Path](sending, c)
	if err == nil {
		return nil
	}
	fault := event.Shorten(secret.RedactString(err.Error()))
	out.Notes = append(out.Notes, fmt.Sprintf("no canary was sent through the path %s: %s", c.Path, fault))
	if err := j.Canaries.Store.Refused(ctx, c, fault); err != nil {
		return fmt.Errorf("canary of the path %s: %w", c.Path, err)
	}
	return nil
}

// arrive remembers that a canary arrived.
func (j Judge) arrive(ctx context.Context, out *host.Outcome, c coverage.Canary) error {
	known, err := j.Canaries.Store.Arrive(ctx, c, j.Canaries.Now())
	if err != nil {
		return fmt.Errorf("canary of the path %s: %w", event.Shorten(string(c.Path)), err)
	}
	if !known {
		out.Notes = append(out.Notes, fmt.Sprintf("a canary of the path %s arrived that is not the last one that was sent", event.Shorten(string(c.Path))))
	}
	return nil
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
