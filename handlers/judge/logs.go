package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/verdict"
)

// Names of the functions that are not detectors.
const (
	RelayName        = "RelayResourceLogs" // keeps records of the Connections log
	VerdictsName     = "Verdicts"          // says which of these are worth an alert
	HousekeepingName = "Housekeeping"      // drops records that are no longer needed
	WindowsName      = "Windows"           // says where too few events came; only if a rule asks
)

// OldestMark is the name of the count, in the log of the function Verdicts, of the seconds by
// which the oldest verdict is late. infra/main.bicep has an alert on it.
const OldestMark = "oldestMarkSeconds"

// Logs is what happens to the Connections log: its records are kept, verdicts are
// derived from them, and what is worth an alert is published.
type Logs struct {
	Settings verdict.Settings
	Store    Store
	Topic    Topic
	Wanted   relay.Wanted    // log records that are published as they are, for detectors
	Stager   *verdict.Stager // of the same settings and store
	Noter    *verdict.Noter  // of the same store; nil if the clock of the log is that of the wall
	Now      func() time.Time
	// Wait waits, and returns an error if ctx ends before.
	Wait func(ctx context.Context, wait time.Duration) error

	noted  atomic.Int64 // when the relay last looked how far it is, in Unix nanoseconds
	judged pauses       // of the places that the relay judges at once
}

// pause is how long the relay leaves a place alone that it has judged. A verdict reads all
// records of its ten minutes, and in a storm each batch of messages has more of them. What is
// staged meanwhile waits for the next batch or for the function Verdicts, a minute at most.
const pause = 5 * time.Second

// rest is how long a place is left alone, as a multiple of the time that its verdict took, if
// that is longer. A partition gives 2,000 rows a second
// (https://learn.microsoft.com/azure/storage/tables/scalability-targets), also to those that
// stage, and each instance reads the rows of a storm anew. There are 32 instances at most, one for each
// partition of the event hub. With a rest of 40 they read four fifths of that, however large the storm is.
// It is longer than pause if a verdict takes more than an eighth of a second, and the function Verdicts
// comes once a minute all the same.
const rest = 40

// pauses is the places that were judged a short time ago. The zero value has none.
type pauses struct {
	mu     sync.Mutex
	paused map[verdict.Place]paused
}

type paused struct {
	since, until time.Time
	left         time.Time // when records came first that were left to wait; zero if none were
}

// waiting is for how long it is remembered that records were left to wait. Then the function
// Verdicts has come.
const waiting = time.Minute

// begin returns the places that are not paused, and pauses them. It also returns since when
// records of these wait, if some do. A clock that went back ends a pause.
func (p *pauses) begin(places []verdict.Place, now time.Time) (begun []verdict.Place, left map[verdict.Place]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.paused, func(_ verdict.Place, of paused) bool {
		return now.Before(of.since) || !now.Before(of.until) && now.Sub(of.left) >= waiting
	})
	if p.paused == nil {
		p.paused = map[verdict.Place]paused{}
	}
	left = map[verdict.Place]time.Time{}
	for _, place := range places {
		of, ok := p.paused[place]
		if ok && now.Before(of.until) {
			if of.left.IsZero() {
				of.left = now
				p.paused[place] = of
			}
			continue
		}
		if !of.left.IsZero() {
			left[place] = of.left
		}
		p.paused[place] = paused{since: now, until: now.Add(pause)}
		begun = append(begun, place)
	}
	return begun, left
}

// end lets places rest whose verdicts took from begin to now.
func (p *pauses) end(places []verdict.Place, begin, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		of := p.paused[place]
		of.since, of.until = begin, now.Add(max(pause-now.Sub(begin), rest*now.Sub(begin)))
		p.paused[place] = of
	}
}

// looking is how often the relay looks how far it is: the host says so in the whole of a
// request. There are 32 partitions at most, each of which has to be noted once in two minutes.
const looking = 250 * time.Millisecond

// Store keeps records and verdicts, and drops old records.
type Store interface {
	verdict.Store
	verdict.Progresses
	// Expire drops the records of days that have been over for long enough, and returns how
	// many days that were.
	Expire(ctx context.Context, now time.Time) (dropped int, err error)
}

// Topic publishes events. refused says why no later attempt could publish an event, by the
// index of the event. Publish keeps no part of the events when it has returned.
type Topic interface {
	Publish(ctx context.Context, events [][]byte) (refused map[int]error, err error)
}

// NewLogs returns what happens to the Connections log, with the clock of this machine.
func NewLogs(settings verdict.Settings, store Store, topic Topic) *Logs {
	return &Logs{
		Settings: settings, Store: store, Topic: topic, Now: time.Now, Wait: wait,
		Stager: &verdict.Stager{Settings: settings, Store: store, Now: time.Now}, Noter: &verdict.Noter{Store: store, Now: time.Now},
	}
}

// wait implements Logs.Wait.
func wait(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// judgingAtOnce bounds how long the relay takes for the verdicts on what it has kept. The
// function Verdicts does what is left.
const judgingAtOnce = 3 * time.Second

// Relay is the work of the function that keeps the records in the messages that it is
// invoked with. What cannot be read is quarantined. A device that was refused is
// told at once, and the function Verdicts tells what has to wait. Records that detectors
// want as they are (Logs.Wanted) are published before the messages are acknowledged.
func (j Judge) Relay(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	messages, err := messages(in.Data)
	if err != nil {
		out := host.Outcome{Events: 1}
		err := j.quarantine(ctx, &out, in, "", in.Data, err)
		return out, err
	}
	out := host.Outcome{Events: len(messages), Counts: map[string]int{}}
	messages = j.arriveMessages(ctx, &out, messages)
	staging := relay.Stage(messages, j.Logs.Settings, j.Logs.Now())
	for cause, n := range staging.Refused {
		out.Counts[string(cause)] = n
	}
	for reason, n := range staging.PassedOver {
		out.Counts["passed over: "+string(reason)] = n
	}
	for sentence, n := range staging.Unknown {
		out.Counts["unknown sentence: "+sentence] = n
	}
	for name, n := range map[string]int{"expiries": staging.Expiries, "repeated": staging.Repeated, "untimely": staging.Untimely} {
		if n > 0 {
			out.Counts[name] = n
		}
	}
	for _, u := range staging.Unreadable {
		if err := j.quarantine(ctx, &out, in, "", u.Raw, u.Err); err != nil {
			return out, err
		}
	}
	if err := j.Logs.Stager.Stage(ctx, staging.Rows, staging.Marks); err != nil {
		return out, err
	}
	if err := j.forward(ctx, &out, in, messages, staging.Unreadable); err != nil {
		return out, err
	}
	j.note(ctx, &out, in)
	j.hearAll(ctx, &out, alert.Connections, staging.Heard)
	if len(staging.Refused) > 0 {
		j.atOnce(ctx, &out, in, staging.Marks)
	}
	return out, nil
}

// note notes how far the partition is staged from which the messages came. It is not a
// reason to try again if that cannot be noted.
func (j Judge) note(ctx context.Context, out *host.Outcome, in host.Invocation) {
	now, last := j.Logs.Now().UnixNano(), j.Logs.noted.Load()
	if j.Logs.Noter == nil || now-last < int64(looking) || !j.Logs.noted.CompareAndSwap(last, now) {
		return
	}
	partition, enqueued, ok := in.Progress()
	if !ok {
		return
	}
	if err := j.Logs.Noter.Note(ctx, partition, enqueued); err != nil {
		out.Notes = append(out.Notes, err.Error())
	}
}

// atOnce derives the verdicts that need not wait, but those of places that are paused. What
// fails is noted. Its marks stay for the function Verdicts.
func (j Judge) atOnce(ctx context.Context, out *host.Outcome, in host.Invocation, marks []verdict.Mark) {
	ctx, cancel := context.WithTimeout(ctx, judgingAtOnce)
	defer cancel()
	var places []verdict.Place
	for _, mark := range marks {
		if mark.Level == verdict.Open {
			places = append(places, mark.Place)
		}
	}
	now := j.Logs.Now()
	judge := j.judge(in, out)
	places, judge.Waiting = j.Logs.judged.begin(places, now)
	pass, err := judge.Now(ctx, now, places)
	j.Logs.judged.end(places, now, j.Logs.Now())
	count(out, pass)
	if err != nil {
		out.Notes = append(out.Notes, "left to the function "+VerdictsName+": "+err.Error())
	}
}

// judge returns what derives verdicts in an invocation and publishes them.
func (j Judge) judge(in host.Invocation, out *host.Outcome) verdict.Judge {
	return verdict.Judge{Settings: j.Logs.Settings, Store: j.Logs.Store, Publisher: publisher{j, in, out}}
}

// count adds what a pass did to an outcome.
func count(out *host.Outcome, pass verdict.Pass) {
	if out.Counts == nil {
		out.Counts = map[string]int{}
	}
	out.Counts["verdicts"] += pass.Derived
	out.Counts["published"] += pass.Published
}

// Verdicts is the work of the function that runs each minute: it derives verdicts whose time
// has come, publishes what is worth an alert, and then tells the digests whose time is over. A
// function of its own for these would cost as much again. Its error says what will be tried
// again at its next time.
func (j Judge) Verdicts(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	out, err := j.verdicts(ctx, in)
	if j.Notifier == nil {
		return out, err
	}
	in.Function = NotifyName // which quarantines what cannot be told
	told, untold := j.Notifier.Digests(ctx, in)
	out.Notes = append(out.Notes, told.Notes...)
	out.Quarantined += told.Quarantined
	for what, n := range told.Counts {
		out.Counts[what] += n
	}
	return out, errors.Join(err, untold)
}

// Bounds of the passes of one invocation of the function Verdicts.
const (
	// lastPass is how long after the beginning the last pass begins at the latest. An
	// invocation has 20 seconds (host.Limits), and a pass in a storm takes some.
	lastPass = 12 * time.Second
	// busyPause is how long a pass waits before it derives verdicts again that others wrote
	// meanwhile.
	busyPause = time.Second
)

// verdicts derives verdicts, and publishes what is worth an alert. If some is held back, or is
// being written by others, it waits and goes on, for as long as lastPass says. What is then
// left keeps its mark. It is no error, since the next minute mends it. If it lasts, the count
// OldestMark says so.
func (j Judge) verdicts(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	var out host.Outcome
	begin := j.Logs.Now()
	judge := j.judge(in, &out)
	if j.Logs.Noter != nil {
		var err error
		if judge.Clock, err = (verdict.Clock{Store: j.Logs.Store}).Tick(ctx, begin); err != nil {
			out.Notes = append(out.Notes, err.Error())
		}
	}
	for now := begin; ; now = j.Logs.Now() {
		pass, err := judge.Run(ctx, now)
		count(&out, pass)
		if j.await(ctx, pass, begin.Add(lastPass)) {
			continue
		}
		if pass.Busy > 0 {
			out.Notes = append(out.Notes, fmt.Sprintf("%d verdicts are left to the next minute: others write them at the same time", pass.Busy))
		}
		if pass.Oldest.IsZero() && err != nil {
			return out, err // It is not known how late the oldest is.
		}
		age := time.Duration(0)
		if !pass.Oldest.IsZero() {
			age = max(0, now.Sub(pass.Oldest))
		}
		out.Counts[OldestMark] = int(age / time.Second)
		return out, err
	}
}

// await waits until another pass can do more than a pass did, and reports whether there is
// time for it until last.
func (j Judge) await(ctx context.Context, pass verdict.Pass, last time.Time) bool {
	now := j.Logs.Now()
	next := pass.Again
	if pass.Busy > 0 && (next.IsZero() || next.After(now.Add(busyPause))) {
		next = now.Add(busyPause)
	}
	return !next.IsZero() && !next.After(last) && j.Logs.Wait(ctx, max(0, next.Sub(now))) == nil
}

// Housekeeping is the work of the function that drops old records, old counts, and what
// was told long ago.
func (j Judge) Housekeeping(ctx context.Context, _ host.Invocation) (host.Outcome, error) {
	now := j.Logs.Now()
	counts := map[string]int{}
	var uncounted error
	if j.Windows != nil {
		counts["dropped days of counts"], uncounted = j.Windows.Expire(ctx, now)
	}
	if j.Notifier != nil {
		dropped, err := j.Notifier.Expire(ctx, now)
		counts["dropped days of what was told"], uncounted = dropped, errors.Join(uncounted, err)
	}
	if j.Logs.Noter != nil {
		// The days that the log has not reached yet are not over.
		var err error
		if now, err = (verdict.Clock{Store: j.Logs.Store}).Tick(ctx, now); err != nil {
			return host.Outcome{Counts: counts}, errors.Join(uncounted, err)
		}
	}
	dropped, err := j.Logs.Store.Expire(ctx, now)
	counts["dropped days"] = dropped
	return host.Outcome{Counts: counts}, errors.Join(uncounted, err)
}

// publisher publishes the notices of an invocation. What can never be published is
// quarantined.
type publisher struct {
	Judge
	in  host.Invocation
	out *host.Outcome
}

// Publish implements verdict.Publisher.
func (p publisher) Publish(ctx context.Context, notices []verdict.Notice) error {
	in := p.in
	in.Function = VerdictsName // which redrives what it could not publish, whoever derived it
	events := make([][]byte, 0, len(notices))
	for _, n := range notices {
		if n.EventType() == "" {
			continue // no detector looks for it
		}
		e, err := n.Event()
		if err != nil {
			records, _ := json.Marshal(n.Records, jsontext.AllowInvalidUTF8(true)) // they are JSON
			if err := p.quarantine(ctx, p.out, in, "", records, err); err != nil {
				return err
			}
			continue
		}
		events = append(events, e)
	}
	refused, err := p.Logs.Topic.Publish(ctx, events)
	for i, reason := range refused {
		if err := p.quarantine(ctx, p.out, in, "", events[i], fmt.Errorf("cannot be published: %w", reason)); err != nil {
			return err
		}
	}
	return err
}

// messages returns the messages of an Event Hubs trigger with cardinality many:
// an array of strings, which comes as a string that holds it
// (Azure/azure-functions-host, ScriptInvocationContextExtensions). A message that
// the host has decoded is taken too.
func messages(data jsontext.Value) ([][]byte, error) {
	elements, err := event.Split(data)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(elements))
	for i, e := range elements {
		list[i] = e
		if e.Kind() == '"' {
			if list[i], err = jsontext.AppendUnquote(nil, e); err != nil && !errors.As(err, new(*jsontext.SyntacticError)) {
				return nil, err
			}
		}
	}
	return list, nil
}
