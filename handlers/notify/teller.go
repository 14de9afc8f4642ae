package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
)

// Bounds in time.
const (
	// mostSending is how long one channel may take. An invocation has 20 s, in which the other
	// channels may have to be told that this one does not work.
	mostSending = 8 * time.Second
	// lease is how long an invocation has what it tells for itself. It is longer than an
	// invocation. Event Grid tries again after 10 s, so a failed invocation gives it back.
	lease = 30 * time.Second
	// glance is how often an invocation looks whether another one has told the same.
	glance = 250 * time.Millisecond
	// slot is how long raisings are counted together.
	slot = 10 * time.Minute
	// grace is how long a digest waits after its slot for invocations that are about to put
	// something into it.
	grace = time.Minute
	// mostTries is how long a digest is tried, as long as Event Grid tries an event.
	mostTries = 24 * time.Hour
	// mostUnknown is how long the host of a channel may be one that nobody knows. Then its address
	// is wrong.
	mostUnknown = time.Hour
	// atOnce is how many messages a channel is sent at once: services limit them.
	atOnce = 4
)

// Teller tells channels of alerts, each of them once.
type Teller struct {
	// Prefix begins the ids under which it is remembered who was told, so that two tellers with
	// the same Told do not take each other's work away. It may be "".
	Prefix   string
	Channels []Configured
	// Faults says which settings of channels are wrong; nil if none is. The other channels are
	// told all the same, and of Faults too.
	Faults     error
	Told       alert.Told
	Quarantine alert.Quarantine
	// Patience is how long an invocation waits for another one that tells the same. Without it a
	// delivery that comes twice at once is a failure, and comes again.
	Patience time.Duration
	// DigestAfter is how many raisings of a hub, of one severity and those above it, are told one
	// by one in ten minutes; 0 for all.
	DigestAfter int
	Now         func() time.Time

	places     sync.Map               // chan struct{} by the name of the channel
	complained atomic.Pointer[string] // the day on which the channels were told of Faults
}

// cloudEvent is the event of a raising.
type cloudEvent struct {
	ID   string       `json:"id"`
	Type string       `json:"type"`
	Time time.Time    `json:"time"`
	Data export.Alert `json:"data"`
}

// parseEvent reads the event of a raising.
func parseEvent(raw jsontext.Value) (Message, error) {
	if raw.Kind() != '{' {
		return Message{}, errors.New("want a JSON object")
	}
	var e cloudEvent
	if err := json.Unmarshal(raw, &e, event.Lenient); err != nil {
		return Message{}, event.JSONError(err)
	}
	m := Message{ID: e.ID, Time: e.Time, Alert: e.Data}
	switch e.Type {
	case export.TypeRaised:
		m.Kind = Raised
	case export.TypeReopened:
		m.Kind = Reopened
	default:
		return m, fmt.Errorf("type: want %s or %s", export.TypeRaised, export.TypeReopened)
	}
	switch {
	case !isWord(e.ID): // It becomes a header, and a part of what is signed, in which a dot ends it.
		return m, errors.New("id: want the id of a raising")
	case e.Time.IsZero():
		return m, errors.New("time: is missing")
	case e.Data.SystemAlertID == "" || e.Data.HubName == "":
		return m, errors.New("data: want an alert with its id and its hub")
	}
	return m, nil
}

// keyOf returns under which key it is remembered who was told of a raising: under the day of
// its alert, which every event of the raising says. The time of the event can be another one
// when it comes again.
func keyOf(m Message, now time.Time) (alert.ToldKey, error) {
	ref, err := alert.ParseRef(m.Alert.Reference)
	if err == nil && (ref.Day.Year() < 2000 || ref.Day.After(now.AddDate(0, 0, 2))) {
		err = fmt.Errorf("the day %s cannot be", ref.Day.Format(time.DateOnly))
	}
	if err != nil {
		return alert.ToldKey{}, fmt.Errorf("data: reference: %w", err)
	}
	return alert.ToldKey{Day: ref.Day, ID: m.ID}, nil
}

// Notify is the work of the function that tells a raising to the channels. An error means
// that a channel was not reached: those that were are not told again.
func (t *Teller) Notify(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	events, err := event.Split(in.Data)
	if err != nil {
		out := host.Outcome{Events: 1}
		err := t.quarantine(ctx, &out, in.Function, "", in.Data, fmt.Errorf("binding %s: %w", host.Binding, err))
		return out, err
	}
	out := host.Outcome{Events: len(events), Counts: map[string]int{}}
	var errs []error
	for _, raw := range events {
		errs = append(errs, t.raising(ctx, &out, in.Function, raw))
	}
	return out, errors.Join(append(errs, t.mistakes(ctx, &out))...)
}

// mistakes tells the channels, once a day, that settings of others are wrong, and returns
// what is wrong: the raising has to come again when the settings are right.
func (t *Teller) mistakes(ctx context.Context, out *host.Outcome) error {
	if t.Faults == nil {
		return nil
	}
	day := t.Now().UTC().Format(time.DateOnly)
	if told := t.complained.Load(); told == nil || *told != day {
		if err := t.complain(ctx, out, "", strings.ReplaceAll(t.Faults.Error(), "\n", "; "), func(Configured) bool { return true }); err != nil {
			return errors.Join(t.Faults, err)
		}
		t.complained.Store(&day)
	}
	return t.Faults
}

// raising tells the channels of one raising, or puts it into a digest.
func (t *Teller) raising(ctx context.Context, out *host.Outcome, function string, raw jsontext.Value) error {
	m, err := parseEvent(raw)
	if out.EventID == "" {
		out.EventID = m.ID
	}
	var key alert.ToldKey
	if err == nil {
		key, err = keyOf(m, t.Now())
	}
	if err != nil {
		return t.quarantine(ctx, out, function, m.ID, raw, err)
	}
	key.ID = t.Prefix + key.ID
	if len(t.Channels) == 0 {
		out.Counts["no channel"]++
		return nil
	}
	begin := alert.Telling{Begun: t.slot()} // not decided in which slot
	if t.DigestAfter == 0 {
		begin.Slot = alert.Alone
	}
	wanted := func(c Configured) bool { return c.wants(m.Alert.Severity) }
	e, again, err := t.take(ctx, key, begin, func(e alert.Telling) bool { return t.left(e, wanted) })
	if err != nil || e == nil {
		return err
	}
	if e.Slot.IsZero() {
		if err := t.decide(ctx, key, e, again, m); err != nil {
			return err
		}
	}
	if !e.Slot.Equal(alert.Alone) {
		out.Counts["left to a digest"]++
		return nil
	}
	return t.tell(ctx, out, function, key, *e, raw, func(c Configured) (Message, bool) { return m, wanted(c) })
}

// left reports whether a channel that is wanted may have to be told, or the others of one that
// can never be.
func (t *Teller) left(e alert.Telling, wanted func(Configured) bool) bool {
	for name := range e.Lost {
		if !e.Done[name+saidMark] {
			return true
		}
	}
	return slices.ContainsFunc(t.Channels, func(c Configured) bool { return !e.Done[c.Name()] && wanted(c) })
}

// take takes what key names for this invocation, and waits a while if another one has it. It
// returns nil if by what is known there is nothing left to do. begin is how what was never taken
// begins. again says that it was taken before.
func (t *Teller) take(ctx context.Context, key alert.ToldKey, begin alert.Telling, left func(alert.Telling) bool) (e *alert.Telling, again bool, err error) {
	begin.Until = t.Now().Add(lease)
	now, err := t.Told.Take(ctx, key, begin) // Most things are told once.
	if err == nil || !errors.Is(err, alert.ErrBeingTold) {
		return &now, false, err
	}
	for waited := time.Duration(0); ; waited += glance {
		if now, err = t.Told.Read(ctx, key); err != nil {
			return nil, true, err
		}
		if !left(now) || !now.Slot.IsZero() && !now.Slot.Equal(alert.Alone) {
			return nil, true, nil
		}
		if !now.Until.After(t.Now()) {
			break
		}
		if waited >= t.Patience {
			return nil, true, fmt.Errorf("%s: %w", key.ID, alert.ErrBeingTold)
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		}
	}
	now.Until = begin.Until
	now, err = t.Told.Take(ctx, key, now)
	return &now, true, err
}

// slot is when the present slot began.
func (t *Teller) slot() time.Time { return t.Now().UTC().Truncate(slot) }

// decide decides, once, whether a raising is told by itself, or in which digest. again says that
// somebody may have begun to decide that, and ended before he said so.
func (t *Teller) decide(ctx context.Context, key alert.ToldKey, e *alert.Telling, again bool, m Message) error {
	decided, err := t.choose(ctx, key, e, again, m)
	if err != nil {
		e.Until = time.Time{}
		_, released := t.Told.Take(ctx, key, *e)
		return errors.Join(err, released)
	}
	e.Slot = decided
	*e, err = t.Told.Take(ctx, key, *e)
	return err
}

// choose returns the slot in whose digest a raising is, or Alone. Whoever began to decide before
// may have put it into the digest of that time. Then it is there, however many seats there are
// now.
func (t *Teller) choose(ctx context.Context, key alert.ToldKey, e *alert.Telling, again bool, m Message) (time.Time, error) {
	d := alert.Due{Slot: e.Begun, Hub: m.Alert.HubName}
	if again && !e.Begun.IsZero() {
		is, err := t.Told.IsDeferred(ctx, d, m.ID)
		if is || err != nil {
			return d.Slot, err
		}
	}
	if now := t.slot(); !e.Begun.Equal(now) { // The digest of a slot that is over may be told already.
		e.Begun, d.Slot = now, now
		taken, err := t.Told.Take(ctx, key, *e)
		if err != nil {
			return time.Time{}, err
		}
		*e = taken
	}
	alone, err := t.Told.Seat(ctx, d, rank(m.Alert.Severity), t.DigestAfter)
	if err != nil || alone {
		return alert.Alone, err
	}
	document, err := json.Marshal(short(m.Alert))
	if err != nil {
		return time.Time{}, err
	}
	return d.Slot, t.Told.Defer(ctx, d, m.ID, document)
}

// short is what a digest says of an alert. It has no status: that may be another one when the
// digest is told.
func short(a export.Alert) export.Alert {
	return export.Alert{
		SystemAlertID: a.SystemAlertID, AlertType: clean(a.AlertType, mostTitle), AlertDisplayName: clean(a.AlertDisplayName, mostTitle), Severity: a.Severity,
		CompromisedEntity: clean(a.CompromisedEntity, mostValue), EntityType: a.EntityType, HubName: a.HubName, ResourceID: clean(a.ResourceID, mostValue),
		StartTime: a.StartTime, EndTime: a.EndTime, Reference: a.Reference, Version: a.Version,
	}
}

// tell tells the channels that are not told yet, all at once. raw is what is quarantined if a
// channel can never be told. An error means that a channel has to be told later.
func (t *Teller) tell(ctx context.Context, out *host.Outcome, function string, key alert.ToldKey, e alert.Telling, raw jsontext.Value, message func(Configured) (Message, bool)) error {
	failed, never := map[string]error{}, map[string]error{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, c := range t.Channels {
		m, wanted := message(c)
		if !wanted || e.Done[c.Name()] {
			continue
		}
		group.Go(func() {
			sent, err := t.deliver(ctx, key, e, c, m)
			mu.Lock()
			defer mu.Unlock()
			if sent {
				out.Counts["sent"]++
			}
			switch {
			case errors.Is(err, ErrNever):
				never[c.Name()] = err
			case err != nil:
				failed[c.Name()] = err
			}
		})
	}
	group.Wait()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("channel %s: %w", name, failed[name]))
	}
	errs = append(errs, t.giveUp(ctx, out, function, key, e, raw, never))
	err := errors.Join(errs...)
	if err != nil {
		t.release(ctx, out, key, e)
	}
	return err
}

// deliver sends a message to a channel, and remembers who got it. sent says that all of the
// channel did, or parts of it.
func (t *Teller) deliver(ctx context.Context, key alert.ToldKey, e alert.Telling, c Configured, m Message) (sent bool, err error) {
	m.Past = map[string]bool{}
	for name := range e.Done {
		if part, ok := strings.CutPrefix(name, c.Name()+partMark); ok {
			m.Past[part] = true
		}
	}
	err = t.send(ctx, c, m)
	if errors.Is(err, errNoHost) && !e.Begun.IsZero() && t.Now().Sub(e.Begun) >= mostUnknown {
		err = fmt.Errorf("%w: %w, for an hour", ErrNever, err)
	}
	var parts *Partial
	var unmarked error
	switch {
	case err == nil:
		unmarked = t.Told.Mark(ctx, key, c.Name(), "")
	case errors.As(err, &parts):
		for _, part := range parts.Told {
			unmarked = errors.Join(unmarked, t.Told.Mark(ctx, key, c.Name()+partMark+part, ""))
		}
	}
	sent = err == nil || parts != nil && len(parts.Told) > 0
	if unmarked != nil {
		unmarked = fmt.Errorf("sent, but not remembered, so it may be sent again: %w", unmarked)
	}
	return sent, errors.Join(err, unmarked)
}

// What stands behind the name of a channel in rows. The name itself can have neither.
const (
	partMark = "/" // and a part of the channel, which was told
	saidMark = "!" // the other channels were told that it can never be
)

// giveUp quarantines what can never be sent to some channels, remembers that, and tells the
// others so, once a day for each channel that does not work. If one of these cannot be told for
// now, the next delivery tries that alone again.
func (t *Teller) giveUp(ctx context.Context, out *host.Outcome, function string, key alert.ToldKey, e alert.Telling, raw jsontext.Value, never map[string]error) error {
	reasons := map[string]string{}
	maps.Copy(reasons, e.Lost)
	names := slices.Sorted(maps.Keys(never))
	var errs []error
	for _, name := range names {
		reasons[name] = never[name].Error()
		errs = append(errs, fmt.Errorf("channel %s: %w", name, never[name]))
	}
	if len(names) > 0 {
		if err := t.quarantine(ctx, out, function, key.ID, raw, errors.Join(errs...)); err != nil {
			return err
		}
	}
	errs = nil
	for _, name := range names {
		errs = append(errs, t.Told.Mark(ctx, key, name, reasons[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if e.Done[name+saidMark] {
			continue
		}
		err := t.complain(ctx, out, name, reasons[name], func(c Configured) bool { // a channel of which parts work is told of the others
			return reasons[c.Name()] == "" || inParts(c, never[c.Name()], e)
		})
		if err == nil {
			err = t.Told.Mark(ctx, key, name+saidMark, "")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// inParts reports whether parts of a channel were told: by the error of this attempt, or by an
// earlier one.
func inParts(c Configured, err error, e alert.Telling) bool {
	var parts *Partial
	if errors.As(err, &parts) && len(parts.Told) > 0 {
		return true
	}
	for name := range e.Done {
		if strings.HasPrefix(name, c.Name()+partMark) {
			return true
		}
	}
	return false
}

// complain tells the channels that work, once a day, what does not: a channel, or with ""
// settings.
func (t *Teller) complain(ctx context.Context, out *host.Outcome, broken, why string, works func(Configured) bool) error {
	if !slices.ContainsFunc(t.Channels, works) {
		return nil
	}
	now := t.Now().UTC()
	m := Message{ID: "failed/" + broken + "/" + now.Format(time.DateOnly), Kind: Failed, Time: now, Channel: broken, Reason: why}
	key := alert.ToldKey{Day: now, ID: m.ID}
	untold := func(c Configured, e alert.Telling) bool { return works(c) && !e.Done[c.Name()] }
	e, _, err := t.take(ctx, key, alert.Telling{Slot: alert.Alone, Begun: t.slot()}, func(e alert.Telling) bool {
		return slices.ContainsFunc(t.Channels, func(c Configured) bool { return untold(c, e) })
	})
	if errors.Is(err, alert.ErrBeingTold) {
		return nil // Whoever tells it will see to it.
	}
	if err != nil || e == nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var group sync.WaitGroup
	for _, c := range t.Channels {
		if !untold(c, *e) {
			continue
		}
		group.Go(func() {
			_, err := t.deliver(ctx, key, *e, c, m)
			if errors.Is(err, ErrNever) {
				err = t.Told.Mark(ctx, key, c.Name(), err.Error())
			}
			if err != nil {
				err = fmt.Errorf("channel %s: %w", c.Name(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	group.Wait()
	if err = errors.Join(errs...); err != nil {
		t.release(ctx, out, key, *e)
		return err
	}
	out.Counts["told what does not work"]++
	return nil
}

// release lets others take what could not be told.
func (t *Teller) release(ctx context.Context, out *host.Outcome, key alert.ToldKey, e alert.Telling) {
	e.Until = time.Time{}
	if _, err := t.Told.Take(ctx, key, e); err != nil {
		out.Notes = append(out.Notes, "not released, which waits for "+lease.String()+": "+err.Error())
	}
}

// send sends a message to a channel, within the time that a channel has.
func (t *Teller) send(ctx context.Context, c Configured, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, mostSending)
	defer cancel()
	value, _ := t.places.LoadOrStore(c.Name(), make(chan struct{}, atOnce))
	places := value.(chan struct{})
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return errors.New("earlier messages are still being sent")
	}
	return c.Send(ctx, m)
}

// quarantine keeps what cannot be told, because of reason.
func (t *Teller) quarantine(ctx context.Context, out *host.Outcome, function, id string, raw jsontext.Value, reason error) error {
	q := alert.Quarantined{Function: function, EventID: id, Body: raw, Size: int64(len(raw)), Reason: reason.Error()}
	if err := t.Quarantine.Quarantine(ctx, q); err != nil {
		return errors.Join(reason, err)
	}
	out.Quarantined++
	out.Notes = append(out.Notes, "quarantined: "+q.Reason)
	return nil
}

// Digests tells the digests whose slot is over. Its error says what is tried again when it is
// called again, in a minute.
func (t *Teller) Digests(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	out := host.Outcome{Counts: map[string]int{}}
	dues, err := t.Told.Dues(ctx, t.Now().Add(-slot-grace))
	if err != nil {
		return out, err
	}
	var errs []error
	for _, d := range dues {
		if ctx.Err() != nil {
			break // the rest has its turn in a minute
		}
		if err := t.digest(ctx, &out, in.Function, d); err != nil && !errors.Is(err, alert.ErrBeingTold) {
			errs = append(errs, fmt.Errorf("digest of %s from %s: %w", d.Hub, d.Slot.Format(time.RFC3339), err))
		}
	}
	return out, errors.Join(errs...)
}

// gathered is what a digest has of one severity and those above it.
type gathered struct {
	count int
	top   []export.Alert
}

// digest tells one digest.
func (t *Teller) digest(ctx context.Context, out *host.Outcome, function string, d alert.Due) error {
	by := map[alert.Severity]*gathered{}
	for _, s := range severities {
		by[s] = &gathered{}
	}
	for document, err := range t.Told.Deferred(ctx, d) {
		var a export.Alert
		if err == nil {
			err = json.Unmarshal(document, &a)
		}
		if err != nil {
			return err
		}
		for _, s := range severities {
			if rank(a.Severity) >= rank(s) {
				by[s].add(a)
			}
		}
	}
	id := "digest/" + strings.ToLower(d.Hub) + "/" + d.Slot.UTC().Format("2006-01-02T15:04Z")
	message := func(c Configured) (Message, bool) {
		g := by[c.Least]
		if g == nil || g.count == 0 {
			return Message{}, false
		}
		return Message{ID: id, Kind: Digest, Time: d.Slot.UTC(), Alert: g.top[0], Count: g.count, Alerts: g.top}, true
	}
	key := alert.ToldKey{Day: d.Slot, ID: id}
	wanted := func(c Configured) bool { _, wanted := message(c); return wanted }
	e, _, err := t.take(ctx, key, alert.Telling{Slot: alert.Alone, Begun: d.Slot}, func(e alert.Telling) bool { return t.left(e, wanted) })
	if err != nil {
		return err
	}
	if e != nil {
		all := by[alert.Informational]
		raw, err := json.Marshal(map[string]any{"id": id, "hub": d.Hub, "slot": d.Slot.UTC(), "count": all.count, "alerts": all.top}, json.Deterministic(true))
		if err != nil {
			return err
		}
		err = t.tell(ctx, out, function, key, *e, raw, message)
		if err != nil && t.Now().Sub(d.Slot) > mostTries {
			err = t.quarantine(ctx, out, function, id, raw, err)
		}
		if err != nil {
			return err
		}
		out.Counts["digests"]++
	}
	if t.Faults != nil && t.Now().Sub(d.Slot) <= mostTries {
		return nil // A channel whose setting is wrong is told when it is right.
	}
	return t.Told.Close(ctx, d)
}

// add adds an alert.
func (g *gathered) add(a export.Alert) {
	g.count++
	g.top = append(g.top, a)
	slices.SortStableFunc(g.top, func(a, b export.Alert) int {
		return cmp.Or(cmp.Compare(rank(b.Severity), rank(a.Severity)), a.StartTime.Compare(b.StartTime), cmp.Compare(a.SystemAlertID, b.SystemAlertID))
	})
	g.top = g.top[:min(len(g.top), mostListed)]
}

// Expire drops what need not be remembered any more of who was told what.
func (t *Teller) Expire(ctx context.Context, now time.Time) (dropped int, err error) {
	return t.Told.Expire(ctx, now)
}

// Try sends a marked test through every channel, and says of each what became of it: nil if
// it arrived.
func (t *Teller) Try(ctx context.Context) []Tried {
	tried := make([]Tried, len(t.Channels))
	var group sync.WaitGroup
	now := t.Now().UTC()
	for i, c := range t.Channels {
		group.Go(func() {
			m := Message{ID: fmt.Sprintf("test/%s/%d", c.Name(), now.UnixNano()), Kind: Test, Time: now}
			tried[i] = Tried{c, t.send(ctx, c, m)}
		})
	}
	group.Wait()
	return tried
}

// Tried is what became of a test.
type Tried struct {
	Channel Configured
	Err     error
}
