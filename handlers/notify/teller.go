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
	Patience    time.Duration
	DigestAfter int // how many raisings of a hub in ten minutes are told one by one; 0 for all
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
	case e.ID == "" || len(e.ID) > 200:
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
	begin := time.Time{} // not decided
	if t.DigestAfter == 0 {
		begin = alert.Alone
	}
	e, err := t.take(ctx, key, begin, func(Configured) bool { return true })
	if err != nil || e == nil {
		return err
	}
	if e.Slot.IsZero() {
		if err := t.decide(ctx, key, e, m); err != nil {
			return err
		}
	}
	if !e.Slot.Equal(alert.Alone) {
		out.Counts["left to a digest"]++
		return nil
	}
	return t.tell(ctx, out, function, key, *e, raw, func(c Configured) (Message, bool) { return m, c.wants(m.Alert.Severity) })
}

// take takes what key names for this invocation, and waits a while if another one has it. It
// returns nil if nobody has to be told any more. begin is the slot of what was never taken.
func (t *Teller) take(ctx context.Context, key alert.ToldKey, begin time.Time, wanted func(Configured) bool) (*alert.Telling, error) {
	until := t.Now().Add(lease)
	e, err := t.Told.Take(ctx, key, alert.Telling{Slot: begin, Until: until}) // Most things are told once.
	if err == nil || !errors.Is(err, alert.ErrBeingTold) {
		return &e, err
	}
	for waited := time.Duration(0); ; waited += glance {
		if e, err = t.Told.Read(ctx, key); err != nil {
			return nil, err
		}
		left := slices.ContainsFunc(t.Channels, func(c Configured) bool { return !e.Done[c.Name()] && wanted(c) })
		if !left || !e.Slot.IsZero() && !e.Slot.Equal(alert.Alone) {
			return nil, nil
		}
		if !e.Until.After(t.Now()) {
			break
		}
		if waited >= t.Patience {
			return nil, fmt.Errorf("%s: %w", key.ID, alert.ErrBeingTold)
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	e.Until = until
	e, err = t.Told.Take(ctx, key, e)
	return &e, err
}

// decide decides, once, whether a raising is told by itself, or in which digest.
func (t *Teller) decide(ctx context.Context, key alert.ToldKey, e *alert.Telling, m Message) error {
	d := alert.Due{Slot: t.Now().UTC().Truncate(slot), Hub: m.Alert.HubName}
	alone, err := t.Told.Seat(ctx, d, t.DigestAfter)
	slot := alert.Alone
	if err == nil && !alone {
		slot = d.Slot
		var document []byte
		if document, err = json.Marshal(short(m.Alert)); err == nil {
			err = t.Told.Defer(ctx, d, m.ID, document)
		}
	}
	if err != nil {
		e.Until = time.Time{}
		_, released := t.Told.Take(ctx, key, *e)
		return errors.Join(err, released)
	}
	e.Slot = slot
	*e, err = t.Told.Take(ctx, key, *e)
	return err
}

// short is what a digest says of an alert.
func short(a export.Alert) export.Alert {
	return export.Alert{
		SystemAlertID: a.SystemAlertID, AlertType: clean(a.AlertType, mostTitle), AlertDisplayName: clean(a.AlertDisplayName, mostTitle), Severity: a.Severity,
		CompromisedEntity: clean(a.CompromisedEntity, mostValue), EntityType: a.EntityType, HubName: a.HubName, ResourceID: clean(a.ResourceID, mostValue),
		StartTime: a.StartTime, EndTime: a.EndTime, Status: a.Status, Reference: a.Reference, Version: a.Version,
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
			err := t.send(ctx, c, m)
			sent := err == nil
			if sent {
				err = t.Told.Mark(ctx, key, c.Name(), true)
			}
			mu.Lock()
			defer mu.Unlock()
			if sent {
				out.Counts["sent"]++
			}
			switch {
			case sent && err != nil:
				failed[c.Name()] = fmt.Errorf("sent, but not remembered, so it may be sent again: %w", err)
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
	if len(never) > 0 {
		errs = append(errs, t.giveUp(ctx, out, function, key, raw, never))
	}
	err := errors.Join(errs...)
	if err != nil {
		t.release(ctx, out, key, e)
	}
	return err
}

// giveUp quarantines what can never be sent to some channels, and tells the others so, once a
// day for each channel that does not work.
func (t *Teller) giveUp(ctx context.Context, out *host.Outcome, function string, key alert.ToldKey, raw jsontext.Value, never map[string]error) error {
	names := slices.Sorted(maps.Keys(never))
	var reasons []error
	for _, name := range names {
		reasons = append(reasons, fmt.Errorf("channel %s: %w", name, never[name]))
	}
	if err := t.quarantine(ctx, out, function, key.ID, raw, errors.Join(reasons...)); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		err := t.complain(ctx, out, name, never[name].Error(), func(c Configured) bool { return never[c.Name()] == nil })
		if err == nil {
			err = t.Told.Mark(ctx, key, name, false)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
	e, err := t.take(ctx, key, alert.Alone, works)
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
		if !works(c) || e.Done[c.Name()] {
			continue
		}
		group.Go(func() {
			err := t.send(ctx, c, m)
			if err == nil || errors.Is(err, ErrNever) {
				err = t.Told.Mark(ctx, key, c.Name(), err == nil)
			} else {
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
	e, err := t.take(ctx, key, alert.Alone, func(c Configured) bool { _, wanted := message(c); return wanted })
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
