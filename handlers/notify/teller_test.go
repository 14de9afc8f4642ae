package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
)

// told is an alert.Told in memory. fault makes some of its calls fail, before or after they
// did what they do.
type told struct {
	mu       sync.Mutex
	entries  map[string]alert.Telling
	seats    map[seat]int
	deferred map[alert.Due]map[string][]byte
	due      map[alert.Due]bool
	calls    int
	fault    func(call string) (before, after bool)
	version  int
}

func newTold() *told {
	return &told{entries: map[string]alert.Telling{}, seats: map[seat]int{}, deferred: map[alert.Due]map[string][]byte{}, due: map[alert.Due]bool{}}
}

// seat are the seats of a hub and slot at a level.
type seat struct {
	alert.Due
	level int
}

var errFault = errors.New("503 Service Unavailable")

// do does something, unless a fault is made.
func (m *told) do(ctx context.Context, call string, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if err := ctx.Err(); err != nil {
		return err
	}
	var before, after bool
	if m.fault != nil {
		before, after = m.fault(call)
	}
	if before {
		return errFault
	}
	if err := f(); err != nil {
		return err
	}
	if after {
		return errFault
	}
	return nil
}

func (m *told) Read(ctx context.Context, k alert.ToldKey) (e alert.Telling, err error) {
	err = m.do(ctx, "read", func() error {
		e = m.entries[k.ID]
		e.Done, e.Lost = maps.Clone(e.Done), maps.Clone(e.Lost)
		return nil
	})
	return e, err
}

func (m *told) Take(ctx context.Context, k alert.ToldKey, e alert.Telling) (alert.Telling, error) {
	err := m.do(ctx, "take", func() error {
		now, ok := m.entries[k.ID]
		if e.Tag == "" && ok && now.Tag != "" || e.Tag != "" && now.Tag != e.Tag {
			return alert.ErrBeingTold
		}
		m.version++
		now.Slot, now.Begun, now.Until, now.Tag = e.Slot, e.Begun, e.Until, strconv.Itoa(m.version)
		m.entries[k.ID] = now
		e.Tag = now.Tag
		return nil
	})
	return e, err
}

func (m *told) Mark(ctx context.Context, k alert.ToldKey, channel, lost string) error {
	return m.do(ctx, "mark", func() error {
		e := m.entries[k.ID]
		e.Done = maps.Clone(e.Done)
		if e.Done == nil {
			e.Done = map[string]bool{}
		}
		e.Done[channel] = true
		if lost != "" {
			e.Lost = maps.Clone(e.Lost)
			if e.Lost == nil {
				e.Lost = map[string]string{}
			}
			e.Lost[channel] = lost
		}
		m.entries[k.ID] = e
		return nil
	})
}

func (m *told) Seat(ctx context.Context, d alert.Due, level, seats int) (ok bool, err error) {
	err = m.do(ctx, "seat", func() error {
		ok = m.seats[seat{d, level}] < seats
		for at := level; ok && at >= 0; at-- {
			m.seats[seat{d, at}]++
		}
		return nil
	})
	return ok, err
}

func (m *told) Defer(ctx context.Context, d alert.Due, id string, document []byte) error {
	return m.do(ctx, "defer", func() error {
		if m.deferred[d] == nil {
			m.deferred[d] = map[string][]byte{}
		}
		m.due[d], m.deferred[d][id] = true, document
		return nil
	})
}

func (m *told) IsDeferred(ctx context.Context, d alert.Due, id string) (is bool, err error) {
	err = m.do(ctx, "is deferred", func() error { _, is = m.deferred[d][id]; return nil })
	return is, err
}

func (m *told) Dues(ctx context.Context, before time.Time) (dues []alert.Due, err error) {
	err = m.do(ctx, "dues", func() error {
		for d := range m.due {
			if d.Slot.Before(before) {
				dues = append(dues, d)
			}
		}
		return nil
	})
	slices.SortFunc(dues, func(a, b alert.Due) int { return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Hub, b.Hub)) })
	return dues, err
}

func (m *told) Deferred(ctx context.Context, d alert.Due) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var documents [][]byte
		if err := m.do(ctx, "deferred", func() error { documents = slices.Collect(maps.Values(m.deferred[d])); return nil }); err != nil {
			yield(nil, err)
			return
		}
		for _, document := range documents {
			if !yield(document, nil) {
				return
			}
		}
	}
}

func (m *told) Close(ctx context.Context, d alert.Due) error {
	return m.do(ctx, "close", func() error { delete(m.due, d); return nil })
}

func (*told) Expire(context.Context, time.Time) (int, error) { return 0, nil }

// kept is a quarantine in memory.
type kept struct {
	mu   sync.Mutex
	list []alert.Quarantined
	err  error
}

func (k *kept) Quarantine(_ context.Context, q alert.Quarantined) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	if !slices.ContainsFunc(k.list, func(o alert.Quarantined) bool { return o.Function == q.Function && string(o.Body) == string(q.Body) }) {
		k.list = append(k.list, q)
	}
	return nil
}

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// listener is a channel that remembers what it was sent. send says what becomes of a message;
// nil for sent.
type listener struct {
	name string
	mu   sync.Mutex
	got  []Message
	send func(ctx context.Context, m Message) error
}

func (l *listener) Name() string { return l.name }

func (l *listener) Send(ctx context.Context, m Message) error {
	if l.send != nil {
		if err := l.send(ctx, m); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, m)
	return nil
}

// ids returns how often each message came.
func (l *listener) ids() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := map[string]int{}
	for _, m := range l.got {
		ids[m.ID]++
	}
	return ids
}

// stage is what a test of tellers needs.
type stage struct {
	*clock
	told *told
	kept *kept
}

func newStage() *stage {
	return &stage{&clock{now: time.Date(2026, 2, 1, 12, 0, 5, 0, time.UTC)}, newTold(), &kept{}}
}

// teller returns an instance.
func (s *stage) teller(channels ...Channel) *Teller {
	t := &Teller{Told: s.told, Quarantine: s.kept, Now: s.Now}
	for _, c := range channels {
		t.Channels = append(t.Channels, Configured{Channel: c, Least: alert.Low})
	}
	return t
}

// invocation returns what the host brings about a message.
func invocation(t testing.TB, m Message) host.Invocation {
	t.Helper()
	kind := export.TypeRaised
	if m.Kind == Reopened {
		kind = export.TypeReopened
	}
	raw, err := json.Marshal(export.CloudEvent{SpecVersion: "1.0", ID: m.ID, Source: "/hubwatch/contoso/alerts", Type: kind, Subject: m.Alert.Reference, Time: m.Time, Data: m.Alert})
	if err != nil {
		t.Fatal(err)
	}
	return host.Invocation{Function: "Notify", Data: raw}
}

func run(t testing.TB, teller *Teller, m Message) (host.Outcome, error) {
	t.Helper()
	return teller.Notify(t.Context(), invocation(t, m))
}

// TestOnceInAnyOrder delivers raisings several times, in any order, to two instances at the
// same time. Each channel is told each of them once.
func TestOnceInAnyOrder(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStage()
		a, b := &listener{name: "a"}, &listener{name: "b"}
		tellers := []*Teller{s.teller(a, b), s.teller(a, b)}
		var queue []int
		for n := range 30 {
			queue = append(queue, n, n, n)
		}
		for round := 0; len(queue) > 0 && round < 20; round++ {
			r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
			var again []int
			var mu sync.Mutex
			var group sync.WaitGroup
			for i, n := range queue {
				group.Go(func() {
					if _, err := run(t, tellers[i%2], raised(n)); err != nil {
						if !errors.Is(err, alert.ErrBeingTold) {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						again = append(again, n)
					}
				})
			}
			group.Wait()
			queue = again
			s.turn(time.Minute)
		}
		for _, l := range []*listener{a, b} {
			if ids := l.ids(); len(ids) != 30 || slices.ContainsFunc(slices.Collect(maps.Values(ids)), func(n int) bool { return n != 1 }) {
				t.Errorf("seed %d: channel %s was told %v", seed, l.name, ids)
			}
		}
	}
}

// TestFaultsOfTheStore has the store fail at each call, before and after it did what it does.
// Nothing is lost. A message comes twice only if the store failed between the sending and the
// row.
func TestFaultsOfTheStore(t *testing.T) {
	for _, digest := range []int{0, 1} {
		for at := 1; at < 20; at++ {
			for _, after := range []bool{false, true} {
				s := newStage()
				n, failed := 0, ""
				s.told.fault = func(call string) (bool, bool) {
					if n++; n == at {
						failed = call
						return !after, after
					}
					return false, false
				}
				l := &listener{name: "ops"}
				teller := s.teller(l)
				teller.DigestAfter = digest
				for round := 0; ; round++ {
					if round == 10 {
						t.Fatal("never done")
					}
					_, err := run(t, teller, raised(1))
					_, err2 := run(t, teller, raised(2))
					if err == nil && err2 == nil {
						break
					}
					s.turn(time.Minute)
				}
				s.turn(20 * time.Minute)
				for range 3 {
					_, _ = teller.Digests(t.Context(), host.Invocation{})
					s.turn(time.Minute)
				}
				count := 0
				for _, m := range l.got {
					count += max(m.Count, 1)
				}
				most := 2
				if failed == "mark" {
					most = 3
				}
				if count < 2 || count > most && digest == 0 {
					t.Errorf("digest after %d, the %s fails at call %d, after=%v: told of %d raisings", digest, failed, at, after, count)
				}
				if len(s.told.due) > 0 {
					t.Errorf("digest after %d, fault at %d: a digest is still due", digest, at)
				}
			}
		}
	}
}

// TestOneChannelFails has one channel fail for a while. The others are told once all the same.
func TestOneChannelFails(t *testing.T) {
	s := newStage()
	good := &listener{name: "good"}
	broken := true
	bad := &listener{name: "bad", send: func(context.Context, Message) error {
		if broken {
			return errors.New("answered HTTP 500")
		}
		return nil
	}}
	teller := s.teller(bad, good)
	for range 3 {
		if _, err := run(t, teller, raised(1)); err == nil || err.Error() != "channel bad: answered HTTP 500" {
			t.Fatalf("have %v", err)
		}
		s.turn(10 * time.Second) // Event Grid's first retry
	}
	broken = false
	for range 2 {
		if _, err := run(t, teller, raised(1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(good.got) != 1 || len(bad.got) != 1 || len(s.kept.list) != 0 {
		t.Errorf("good was told %d times, bad %d times; quarantined: %v", len(good.got), len(bad.got), s.kept.list)
	}
}

// TestHangingChannel has a channel hang. The others are told at once, and the invocation ends
// within its time.
func TestHangingChannel(t *testing.T) {
	hanging := newReceiver(t, nil)
	hanging.answer = func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging.ended:
		case <-r.Context().Done():
		}
	}
	good := newReceiver(t, nil)
	s := newStage()
	teller := s.teller(channel(t, hanging.URL+"#secret="+testSecret), channel(t, "slack+"+good.URL+"/x"))
	teller.Channels[0].Channel.(*webhook).name = "hanging"
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := teller.Notify(ctx, invocation(t, raised(1)))
	if err == nil || !strings.Contains(err.Error(), "channel hanging: no answer in time") {
		t.Errorf("have %v", err)
	}
	if len(good.requests()) != 1 {
		t.Errorf("the other channel was told %d times", len(good.requests()))
	}
}

// TestNever has a channel answer that nobody listens there. That is quarantined, and told to
// the other channels, once.
func TestNever(t *testing.T) {
	gone := newReceiver(t, status(410))
	s := newStage()
	good := &listener{name: "good"}
	teller := s.teller(channel(t, gone.URL+"#secret="+testSecret), good)
	for n := range 5 {
		for range 2 {
			out, err := run(t, teller, raised(n))
			if err != nil {
				t.Fatal(err)
			}
			if out.Quarantined > 1 {
				t.Errorf("quarantined %d times", out.Quarantined)
			}
		}
	}
	if n := len(gone.requests()); n != 5 {
		t.Errorf("%d requests, want one for each raising", n)
	}
	complaints := 0
	for _, m := range good.got {
		if m.Kind == Failed {
			complaints++
			if m.Channel != "ops" || !strings.Contains(m.Reason, "HTTP 410") {
				t.Errorf("have %+v", m)
			}
		}
	}
	if complaints != 1 || len(good.got) != 6 || len(s.kept.list) != 5 {
		t.Errorf("%d complaints among %d messages, %d quarantined", complaints, len(good.got), len(s.kept.list))
	}
	for _, q := range s.kept.list {
		if q.Function != "Notify" || !strings.HasPrefix(q.Reason, "channel ops: can never be sent: answered HTTP 410") || strings.Contains(q.Reason+string(q.Body), testSecret) {
			t.Errorf("have %+v", q)
		}
	}
	again := raised(1)
	again.Time = again.Time.Add(24 * time.Hour) // it comes again, and somebody has changed the alert meanwhile
	if _, err := run(t, teller, again); err != nil || len(gone.requests()) != 5 {
		t.Errorf("%v, and %d requests", err, len(gone.requests()))
	}
	s.turn(24 * time.Hour) // the next day it is said again
	m := raised(9)
	m.Time = s.Now()
	if _, err := run(t, teller, m); err != nil || len(good.got) != 8 {
		t.Errorf("%v, and %d messages", err, len(good.got))
	}
	// All channels are gone, and the quarantine fails: Event Grid has to come again.
	s.kept.err = errFault
	if _, err := run(t, s.teller(channel(t, gone.URL+"#secret="+testSecret)), raised(10)); err == nil {
		t.Error("nobody was told, nothing was quarantined, and all is well")
	}
}

// TestNeverBesidesFailing has one channel be gone for good while another one fails for a time.
// The first is posted to once and quarantined once for each raising, and the second hears of it
// when it works again.
func TestNeverBesidesFailing(t *testing.T) {
	gone := newReceiver(t, status(410))
	s := newStage()
	broken := true
	other := &listener{name: "other", send: func(context.Context, Message) error {
		if broken {
			return errors.New("answered HTTP 429")
		}
		return nil
	}}
	teller := s.teller(channel(t, gone.URL+"#secret="+testSecret), other)
	quarantined := 0
	deliver := func(want string) {
		t.Helper()
		for n := range 5 {
			out, err := run(t, teller, raised(n))
			if fmt.Sprint(err) != want {
				t.Errorf("have %v, want %s", err, want)
			}
			quarantined += out.Quarantined
		}
		s.turn(time.Minute)
	}
	for range 3 {
		deliver("channel other: answered HTTP 429\nchannel other: answered HTTP 429") // of the raising, and of what is said of the first
	}
	if n := len(gone.requests()); n != 5 || quarantined != 5 {
		t.Errorf("%d requests, %d quarantined, want one of each for each raising", n, quarantined)
	}
	broken = false
	deliver("<nil>")
	deliver("<nil>")
	complaints := 0
	for _, m := range other.got {
		if m.Kind == Failed && m.Channel == "ops" && strings.Contains(m.Reason, "HTTP 410") {
			complaints++
		}
	}
	if complaints != 1 || len(other.got) != 6 || len(gone.requests()) != 5 || quarantined != 5 {
		t.Errorf("%d complaints among %d messages, %d requests, %d quarantined", complaints, len(other.got), len(gone.requests()), quarantined)
	}
}

// TestComplaintAlone has a channel take a raising, and then not the message about another one.
// The next delivery brings that message alone.
func TestComplaintAlone(t *testing.T) {
	gone := newReceiver(t, status(410))
	s := newStage()
	broken := true
	other := &listener{name: "other", send: func(_ context.Context, m Message) error {
		if broken && m.Kind == Failed {
			return errors.New("answered HTTP 500")
		}
		return nil
	}}
	teller := s.teller(channel(t, gone.URL+"#secret="+testSecret), other)
	for i := range 4 {
		broken = i < 2
		if _, err := run(t, teller, raised(1)); err != nil != broken {
			t.Errorf("delivery %d: %v", i, err)
		}
		s.turn(time.Minute)
	}
	if n := len(gone.requests()); n != 1 || len(other.got) != 2 || other.got[1].Kind != Failed || len(s.kept.list) != 1 {
		t.Errorf("%d requests, %d quarantined, and %+v", n, len(s.kept.list), other.got)
	}
}

// TestNoSuchHost has a channel whose host nobody knows. That is tried again, in case it passes. After an
// hour it is quarantined, and the other channel is told. A server of names that does not answer is no reason.
func TestNoSuchHost(t *testing.T) {
	for _, after := range []int{0, 20} {
		for _, known := range []bool{false, true} {
			s := newStage()
			unknown := &listener{name: "unknown", send: func(context.Context, Message) error {
				return reason(fmt.Errorf("dial: %w", &net.DNSError{Err: "no such host", Name: "chat.contoso.example", IsNotFound: !known}))
			}}
			good := &listener{name: "good"}
			teller := s.teller(unknown, good)
			teller.DigestAfter = after
			for range 3 {
				if out, err := run(t, teller, raised(1)); err == nil || out.Quarantined > 0 {
					t.Errorf("%v, %d quarantined, want that it is tried again", err, out.Quarantined)
				}
				s.turn(mostUnknown / 3)
			}
			s.turn(slot)
			out, err := run(t, teller, raised(1))
			if known {
				if err == nil || out.Quarantined > 0 || len(good.got) != 1 {
					t.Errorf("%v, %d quarantined, the other channel was told %+v", err, out.Quarantined, good.got)
				}
				continue
			}
			if err != nil || out.Quarantined != 1 || len(good.got) != 2 || good.got[1].Kind != Failed || !strings.Contains(good.got[1].Reason, errNoHost.Error()) {
				t.Errorf("%v, %d quarantined, the other channel was told %+v", err, out.Quarantined, good.got)
			}
		}
	}
}

// TestMistakes has a setting be wrong. The other channels are told the alert, and once a day
// that a setting is wrong; the raising comes again.
func TestMistakes(t *testing.T) {
	s := newStage()
	good := &listener{name: "good"}
	teller := s.teller(good)
	teller.Faults = errors.New("setting Notify__x: is not a URL")
	for n := range 3 {
		if _, err := run(t, teller, raised(n)); !errors.Is(err, teller.Faults) {
			t.Errorf("have %v", err)
		}
	}
	if len(good.got) != 4 || good.got[1].Kind != Failed || good.got[1].Reason != teller.Faults.Error() {
		t.Errorf("have %+v", good.got)
	}
	none := s.teller()
	if _, err := run(t, none, raised(1)); err != nil {
		t.Error(err)
	}
	none.Faults = teller.Faults
	if _, err := run(t, none, raised(1)); err == nil {
		t.Error("the only channel is wrong, and all is well")
	}
}

// TestForgedEvents quarantines what is no raising.
func TestForgedEvents(t *testing.T) {
	good, err := json.Marshal(map[string]any{"id": "x/0", "type": export.TypeRaised, "time": "2026-02-01T12:00:00Z", "data": map[string]any{
		"systemAlertId": "x", "hubName": "contoso-hub", "reference": "contoso-hub/2026-02-02/00000000-0000-0000-0000-000000000001",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		`null`, `"x"`, `[1]`, `{}`, `{"id":`, strings.Replace(string(good), "raised", "changed", 1), strings.Replace(string(good), "x/0", "", 1), strings.Replace(string(good), "hub/2026", "hub/9999", 1),
		strings.Replace(string(good), "hub/2026", "hub/1999", 1), strings.Replace(string(good), "00000001", "", 1), strings.Replace(string(good), "2026-02-01T", "x", 1), strings.Replace(string(good), "contoso-hub", "", 1), strings.Replace(string(good), "x/0", strings.Repeat("x", 201), 1),
		strings.Replace(string(good), "x/0", `x\r\n0`, 1), strings.Replace(string(good), "x/0", "x/0.1", 1),
	} {
		s := newStage()
		l := &listener{name: "ops"}
		out, err := s.teller(l).Notify(t.Context(), host.Invocation{Function: "Notify", Data: []byte(raw)})
		if err != nil || out.Quarantined != 1 || len(l.got) != 0 || len(s.kept.list) != 1 {
			t.Errorf("%s: %v, %d quarantined, %d told", raw, err, out.Quarantined, len(l.got))
		}
	}
}

// TestSeverities checks that each channel is told from its least severity on.
func TestSeverities(t *testing.T) {
	s := newStage()
	var listeners []*listener
	teller := s.teller()
	for _, least := range severities {
		l := &listener{name: string(least)}
		listeners = append(listeners, l)
		teller.Channels = append(teller.Channels, Configured{Channel: l, Least: least})
	}
	for i, severity := range severities {
		m := raised(i)
		m.Alert.Severity = severity
		if _, err := run(t, teller, m); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range listeners {
		if len(l.got) != i+1 {
			t.Errorf("%s was told %d alerts, want %d", l.name, len(l.got), i+1)
		}
	}
}

// TestTwiceAtOnce delivers an alert again while the first delivery has just told whoever wants it. There
// is nothing left to do, although another channel does not want it, so the delivery is not refused.
func TestTwiceAtOnce(t *testing.T) {
	s := newStage()
	low, high := &listener{name: "low"}, &listener{name: "high"}
	teller := s.teller(low, high)
	teller.Channels[1].Least, teller.DigestAfter = alert.High, 20
	for range 3 {
		if out, err := run(t, teller, raised(1)); err != nil {
			t.Errorf("%v, %v", out.Counts, err)
		}
	}
	if len(low.got) != 1 || len(high.got) != 0 {
		t.Errorf("%d and %d messages, want 1 and 0", len(low.got), len(high.got))
	}
}

// TestDigest has a hub raise many alerts. The first are told one by one, the others in one
// digest for each channel, whatever is delivered again and by whom.
func TestDigest(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStage()
		all, grave := &listener{name: "all"}, &listener{name: "grave"}
		var tellers []*Teller
		for range 2 {
			teller := s.teller(all, grave)
			teller.Channels[1].Least = alert.High
			teller.DigestAfter = 5
			tellers = append(tellers, teller)
		}
		var queue []int
		for n := range 50 {
			queue = append(queue, n, n, n)
		}
		for round := 0; len(queue) > 0 && round < 20; round++ {
			r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
			var again []int
			for _, n := range queue {
				m := raised(n)
				m.Alert.Severity = alert.Low
				if n%10 == 0 {
					m.Alert.Severity = alert.High
				}
				if r.IntN(20) == 0 { // the store fails now and then
					s.told.fault = func(call string) (bool, bool) { return call != "mark" && r.IntN(3) == 0, false }
				}
				_, err := run(t, tellers[r.IntN(2)], m)
				s.told.fault = nil
				if err != nil {
					again = append(again, n)
				}
				s.turn(time.Second)
			}
			queue = again
			s.turn(time.Minute)
		}
		if out, err := tellers[0].Digests(t.Context(), host.Invocation{}); err != nil || out.Counts["digests"] != 0 && s.Now().Minute() < 11 {
			t.Fatalf("before the time: %v %v", out.Counts, err)
		}
		s.turn(11 * time.Minute)
		for _, teller := range append(tellers, tellers...) {
			if _, err := teller.Digests(t.Context(), host.Invocation{}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(l *listener, want int) {
			singly, deferred, times := 0, 0, map[string]int{}
			for _, m := range l.got {
				times[m.ID]++
				if m.Kind == Digest {
					deferred += m.Count
					if m.Alert.Severity != m.Alerts[0].Severity || slices.ContainsFunc(m.Alerts, func(a export.Alert) bool { return rank(a.Severity) > rank(m.Alert.Severity) }) {
						t.Errorf("seed %d: the gravest is not the first: %+v", seed, m)
					}
				} else {
					singly++
				}
			}
			for id, n := range times {
				if n != 1 {
					t.Errorf("seed %d: %s was told %s %d times", seed, l.name, id, n)
				}
			}
			if singly+deferred != want {
				t.Errorf("seed %d: %s was told of %d and %d raisings, want %d in all", seed, l.name, singly, deferred, want)
			}
			if l == all && (singly == 0 || singly > 10) { // a wait may reach into a second slot
				t.Errorf("seed %d: %d were told one by one, want 5 in each ten minutes", seed, singly)
			}
		}
		check(all, 50)
		check(grave, 5)
	}
}

// TestGraverAlertsAreNotDelayed has a hub raise very many alerts of a low severity. Those that
// matter more are told by themselves all the same, as many as DigestAfter says.
func TestGraverAlertsAreNotDelayed(t *testing.T) {
	s := newStage()
	l := &listener{name: "ops"}
	teller := s.teller(l)
	teller.DigestAfter = 5
	n := 0
	raise := func(severity alert.Severity, count int) (alone int) {
		before := len(l.got)
		for range count {
			m := raised(n)
			m.Alert.Severity = severity
			n++
			if _, err := run(t, teller, m); err != nil {
				t.Fatal(err)
			}
		}
		return len(l.got) - before
	}
	for _, step := range []struct {
		severity    alert.Severity
		count, want int
	}{{alert.Low, 20, 5}, {alert.Medium, 3, 3}, {alert.High, 1, 1}, {alert.Low, 1, 0}, {alert.Medium, 4, 1}, {"Critical", 9, 4}, {alert.High, 1, 0}, {alert.Informational, 1, 0}} {
		if got := raise(step.severity, step.count); got != step.want {
			t.Errorf("of %d alerts %s %d are told by themselves, want %d", step.count, step.severity, got, step.want)
		}
	}
	s.turn(20 * time.Minute)
	if _, err := teller.Digests(t.Context(), host.Invocation{}); err != nil {
		t.Fatal(err)
	}
	// The channel wants none that is informational, so 14 and that one are not in its digest.
	if last := l.got[len(l.got)-1]; last.Kind != Digest || last.Count != n-15 || last.Alerts[0].Status != "" {
		t.Errorf("the digest has %d alerts, want %d, and the first has the status %q", last.Count, n-15, last.Alerts[0].Status)
	}
}

// TestDigestWhoseInvocationEnds ends the process of an invocation at each of its calls, and delivers
// the event again in the next ten minutes, when there are seats. What is in the digest of the
// first ten minutes is not told by itself as well.
func TestDigestWhoseInvocationEnds(t *testing.T) {
	twice := func(ends int) (calls int) {
		s := newStage()
		a := &listener{name: "a"}
		teller := s.teller(a)
		teller.DigestAfter = 1
		for n := range 2 {
			ctx, end := context.WithCancel(t.Context())
			if calls = 0; n == 1 {
				s.told.fault = func(string) (bool, bool) {
					if calls++; calls == ends {
						end() // this call is done, and none after it
					}
					return false, calls == ends
				}
			}
			_, err := teller.Notify(ctx, invocation(t, raised(n)))
			end()
			if n == 0 && err != nil {
				t.Fatal(err)
			}
		}
		s.told.fault = nil
		s.turn(slot)
		if _, err := run(t, teller, raised(1)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s.turn(slot + grace)
			if _, err := teller.Digests(t.Context(), host.Invocation{}); err != nil {
				t.Fatal(err)
			}
		}
		told := 0
		for _, m := range a.got {
			told += max(m.Count, 1)
		}
		if told != 2 {
			t.Errorf("the invocation ends at call %d: told of %d alerts, want 2: %v", ends, told, a.ids())
		}
		return calls
	}
	calls := twice(0)
	if calls < 4 {
		t.Fatalf("%d calls: want those that take, look for a seat, put into the digest and say so", calls)
	}
	for ends := 1; ends <= calls; ends++ {
		twice(ends)
	}
}

// TestDigestWaitsForSettings tells a digest while the setting of a channel is wrong. When it is right,
// that channel is told, too, and the other is not told again. After a day nobody waits any more.
func TestDigestWaitsForSettings(t *testing.T) {
	for name, wait := range map[string]time.Duration{"within a day": 23 * time.Hour, "after a day": 25 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			a, b := &listener{name: "a"}, &listener{name: "b"}
			digests := func(teller *Teller) {
				t.Helper()
				if _, err := teller.Digests(t.Context(), host.Invocation{}); err != nil {
					t.Fatal(err)
				}
			}
			ids := func(l *listener) map[string]int { // of digests
				ids := l.ids()
				maps.DeleteFunc(ids, func(id string, _ int) bool { return !strings.HasPrefix(id, "digest/") })
				return ids
			}
			broken := s.teller(a)
			broken.DigestAfter, broken.Faults = 1, errors.New("setting Notify__b: want a URL")
			for n := range 3 {
				if _, err := run(t, broken, raised(n)); err == nil {
					t.Fatal("the setting of a channel is wrong, and nothing has to come again")
				}
			}
			s.turn(slot + grace)
			for range 2 {
				digests(broken)
				s.turn(time.Minute)
			}
			want := map[string]int{"digest/contoso-hub/2026-02-01T12:00Z": 1}
			if got := ids(a); !maps.Equal(got, want) {
				t.Errorf("a was told %v, want %v", got, want)
			}
			s.turn(wait)
			digests(broken)
			mended := s.teller(a, b)
			mended.DigestAfter = 1
			digests(mended)
			if got := ids(a); !maps.Equal(got, want) {
				t.Errorf("a was told %v, want %v", got, want)
			}
			if wait > mostTries {
				want = map[string]int{}
			}
			if got := ids(b); !maps.Equal(got, want) {
				t.Errorf("b was told %v, want %v", got, want)
			}
			if len(s.told.due) > 0 {
				t.Errorf("still due: %v", s.told.due)
			}
		})
	}
}

// TestDigestFails has a channel fail to take a digest. It is tried again, and quarantined
// after a day.
func TestDigestFails(t *testing.T) {
	s := newStage()
	good := &listener{name: "good"}
	bad := &listener{name: "bad", send: func(context.Context, Message) error { return errors.New("answered HTTP 500") }}
	teller := s.teller(good, bad)
	teller.DigestAfter = 1
	s.told.seats[seat{alert.Due{Slot: s.Now().Truncate(slot), Hub: "contoso-hub"}, rank(alert.Medium)}] = 1
	if _, err := run(t, teller, raised(1)); err != nil {
		t.Fatal(err)
	}
	s.turn(20 * time.Minute)
	for range 3 {
		if _, err := teller.Digests(t.Context(), host.Invocation{}); err == nil {
			t.Error("all is well, and it is not")
		}
		s.turn(time.Minute)
	}
	if len(good.got) != 1 || len(s.kept.list) != 0 {
		t.Errorf("good was told %d times; quarantined %d", len(good.got), len(s.kept.list))
	}
	s.turn(24 * time.Hour)
	if _, err := teller.Digests(t.Context(), host.Invocation{}); err != nil || len(s.kept.list) != 1 || len(s.told.due) != 0 {
		t.Errorf("after a day: %v, %d quarantined, %d due", err, len(s.kept.list), len(s.told.due))
	}
}

// TestTry sends a test through every channel.
func TestTry(t *testing.T) {
	good, gone := newReceiver(t, nil), newReceiver(t, status(404))
	s := newStage()
	teller := s.teller(channel(t, good.URL+"#secret="+testSecret), channel(t, "slack+"+gone.URL+"/hidden"))
	tried := teller.Try(t.Context())
	if len(tried) != 2 || tried[0].Err != nil || tried[1].Err == nil {
		t.Fatalf("have %+v", tried)
	}
	if body := good.requests()[0].body; !strings.Contains(body, `"type":"hubwatch.test"`) || !strings.Contains(body, "test message") {
		t.Errorf("the test is not marked: %s", body)
	}
	if s.told.calls != 0 {
		t.Errorf("a test makes %d rows or reads", s.told.calls)
	}
	if got := fmt.Sprint(tried[1].Err); strings.Contains(got, "hidden") {
		t.Error(got)
	}
}

// TestCrowd checks that a channel is sent few messages at once.
func TestCrowd(t *testing.T) {
	s := newStage()
	var mu sync.Mutex
	most, now := 0, 0
	var once sync.Once
	gate := make(chan struct{})
	l := &listener{name: "ops", send: func(context.Context, Message) error {
		mu.Lock()
		now++
		most = max(most, now)
		if now == atOnce {
			once.Do(func() { close(gate) })
		}
		mu.Unlock()
		<-gate
		mu.Lock()
		defer mu.Unlock()
		now--
		return nil
	}}
	teller := s.teller(l)
	var group sync.WaitGroup
	for n := range 40 {
		group.Go(func() {
			if _, err := run(t, teller, raised(n)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most != atOnce || len(l.got) != 40 {
		t.Errorf("%d at once, want %d; %d were sent", most, atOnce, len(l.got))
	}
}
