package host_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/host"
)

// TestLanesAreApart fills a lane in every way there is, and holds that an invocation
// of another lane is done at once.
func TestLanesAreApart(t *testing.T) {
	for name, test := range map[string]struct {
		limits host.Limits
		body   func() io.Reader
		run    func(context.Context, host.Invocation) (host.Outcome, error)
		err    string // that the lane gives in the end
	}{
		"slots":  {host.Limits{Concurrency: 4}, nil, hangingRun, "no slot among 4"},
		"places": {host.Limits{Concurrency: 4, Waiting: 4}, nil, hangingRun, "no place: 8 invocations are under way"},
		"room":   {host.Limits{Concurrency: 4, Body: 1000, Room: 2000}, func() io.Reader { return slowReader(time.Minute) }, hangingRun, "no room for a body of 1000 bytes"},
		"panics": {host.Limits{Concurrency: 4}, nil, func(context.Context, host.Invocation) (host.Outcome, error) { panic("broken") }, "panic: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failures, changes := function("Failures", test.run), function("Changes", func(context.Context, host.Invocation) (host.Outcome, error) { return host.Outcome{Events: 1}, nil })
				failures.Lane, changes.Lane = "failures", "changes"
				r := newRigOf(t, &fakeStore{}, test.limits, failures, changes)
				var group sync.WaitGroup
				var seen atomic.Int32
				for range 20 {
					group.Go(func() {
						body := io.Reader(strings.NewReader(envelope("{}")))
						if test.body != nil {
							body = test.body()
						}
						recorder := httptest.NewRecorder()
						r.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/Failures", body))
						if got := checkAnswer(t, recorder.Result()); got.status == 500 && strings.Contains(got.err, test.err) {
							seen.Add(1)
						}
					})
				}
				synctest.Wait()
				start := time.Now()
				got := r.post(t, "Changes", envelope("{}"))
				if took := time.Since(start); got.status != 200 || took != 0 {
					t.Errorf("the other lane: status %d after %v: %s", got.status, took, got.err)
				}
				group.Wait()
				if seen.Load() == 0 {
					t.Errorf("no invocation was answered %q: the lane was not full", test.err)
				}
			})
		})
	}
}

func hangingRun(ctx context.Context, _ host.Invocation) (host.Outcome, error) {
	return host.Outcome{Events: 1}, hang(ctx)
}

// TestPanicFreesTheLane checks that a panic gives back its place, its room and its
// slot.
func TestPanicFreesTheLane(t *testing.T) {
	panics := true
	r := newRigOf(t, &fakeStore{}, host.Limits{Concurrency: 1, Waiting: 1, Body: 1000, Room: 1000, Timeout: 100 * time.Millisecond},
		function("Any", func(context.Context, host.Invocation) (host.Outcome, error) {
			if panics {
				panic("broken")
			}
			return host.Outcome{Events: 1}, nil
		}))
	body := envelope(`"` + strings.Repeat("x", 700) + `"`)
	for range 3 {
		if got := r.post(t, "Any", body); got.status != 500 || !strings.Contains(got.err, "panic: broken") {
			t.Errorf("status %d with the error %q, want 500 of the panic", got.status, got.err)
		}
	}
	panics = false
	if got := r.post(t, "Any", body); got.status != 200 {
		t.Errorf("afterwards: status %d: %s", got.status, got.err)
	}
}

// readers counts how many bodies are being read or were read and are in use.
type readers struct {
	mu        sync.Mutex
	now, most int
}

func (r *readers) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += n
	r.most = max(r.most, r.now)
}

// body returns a body that counts from its first byte on.
func (r *readers) body(text string) io.Reader {
	begun := false
	return readFunc(func(p []byte) (int, error) {
		if !begun {
			begun = true
			r.add(1)
		}
		if text == "" {
			return 0, io.EOF
		}
		n := copy(p, text)
		text = text[n:]
		return n, nil
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestRoom checks that no more bytes of bodies are in memory than there is room for,
// whatever the number of slots, and that those that wait for room get it.
func TestRoom(t *testing.T) {
	text := envelope(`"` + strings.Repeat("x", 700) + `"`)
	for name, test := range map[string]struct {
		limits host.Limits
		length int64 // as the request says it; -1 for not at all
		most   int
	}{
		"known length":               {host.Limits{Body: 1000, Room: 4 * int64(len(text))}, int64(len(text)), 4},
		"unknown length":             {host.Limits{Body: 1000, Room: 3000}, -1, 3},
		"more than the room":         {host.Limits{Body: 1000, Room: 10}, int64(len(text)), 1},
		"default, of 7 MiB":          {host.Limits{}, 7 << 20, 1},
		"default, of 1 MiB":          {host.Limits{}, 1 << 20, 8},
		"too long, of which a part":  {host.Limits{Body: 256 << 10, Room: 256 << 10}, 1 << 20, 4},
		"too long for a small limit": {host.Limits{Body: 500, Room: 1500}, int64(len(text)), 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies readers
				turn := make(chan struct{})
				run := func(context.Context) error {
					<-turn
					bodies.add(-1)
					return nil
				}
				r := newRigOf(t, &fakeStore{onQuarantine: run}, test.limits, function("Any", func(ctx context.Context, _ host.Invocation) (host.Outcome, error) {
					return host.Outcome{Events: 1}, run(ctx)
				}))
				const total = 24
				var group sync.WaitGroup
				for range total {
					group.Go(func() {
						request := httptest.NewRequest(http.MethodPost, "/Any", bodies.body(text))
						request.ContentLength = test.length
						recorder := httptest.NewRecorder()
						r.ServeHTTP(recorder, request)
						if got := checkAnswer(t, recorder.Result()); got.status != 200 {
							t.Errorf("status %d: %s", got.status, got.err)
						}
					})
				}
				for range total {
					synctest.Wait()
					turn <- struct{}{}
				}
				group.Wait()
				if bodies.most != test.most {
					t.Errorf("%d bodies at once, want %d", bodies.most, test.most)
				}
			})
		})
	}
}

// TestRoomThatIsNotUsed checks that an invocation whose time ends while it waits for
// room takes none away, and that the one behind it gets its turn.
func TestRoomThatIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeStore{}, host.Limits{Body: 10_000, Room: 10_000})
		post := func(ctx context.Context, body io.Reader, length int64) int {
			request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/CertificateAdded", body)
			request.ContentLength = length
			recorder := httptest.NewRecorder()
			r.ServeHTTP(recorder, request)
			return checkAnswer(t, recorder.Result()).status
		}
		var group sync.WaitGroup
		group.Go(func() { post(t.Context(), slowReader(5*time.Second), 6000) })
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			if got := post(gone, strings.NewReader(""), 10_000); got != 500 {
				t.Errorf("one that gave up: status %d, want 500", got)
			}
		})
		synctest.Wait()
		start := time.Now()
		time.AfterFunc(time.Second, cancel)
		body := envelope(added)
		if got, took := post(t.Context(), strings.NewReader(body), int64(len(body))), time.Since(start); got != 200 || took != time.Second {
			t.Errorf("one that waited behind it: status %d after %v, want 200 after 1s", got, took)
		}
		group.Wait()
		if got := post(t.Context(), strings.NewReader(body+strings.Repeat(" ", 10_000-len(body))), 10_000); got != 200 {
			t.Errorf("one that needs all of the room: status %d, want 200", got)
		}
	})
}

// TestSlowBodyHoldsNoSlot checks that an invocation whose body comes slowly keeps
// nobody from running, over a real connection.
func TestSlowBodyHoldsNoSlot(t *testing.T) {
	r := newRig(t, &fakeStore{}, host.Limits{Concurrency: 1})
	finish := running(t, serve(t, r).port)
	for range 3 {
		if got := r.post(t, "CertificateAdded", envelope(added)); got.status != 200 {
			t.Errorf("beside a body that does not come: status %d: %s", got.status, got.err)
		}
	}
	if got := finish(); got.status != 200 {
		t.Errorf("when the body has come: status %d: %s", got.status, got.err)
	}
}
