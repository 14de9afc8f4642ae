package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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

// The tests of this file that need no network run in a bubble of synctest: its
// clock moves only when all goroutines wait, and it fails if one is left.

// TestHangingStore checks that an invocation ends within its time whatever the
// store does, and leaves nothing behind.
func TestHangingStore(t *testing.T) {
	for _, test := range []struct {
		name   string
		body   string
		limits host.Limits
		want   time.Duration
	}{
		{"put", envelope(added), host.Limits{}, 20 * time.Second},
		{"quarantine of an event", envelope("{}"), host.Limits{}, 20 * time.Second},
		{"quarantine of a request", "", host.Limits{}, 20 * time.Second},
		{"with its own limit", envelope(added), host.Limits{Timeout: 300 * time.Millisecond}, 300 * time.Millisecond},
		{"batch", envelope("[" + added + "," + added + "," + added + "]"), host.Limits{}, 20 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &fakeStore{onPut: hang, onQuarantine: hang}, test.limits)
				start := time.Now()
				got := r.post(t, "CertificateAdded", test.body)
				if took := time.Since(start); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
				if want := fmt.Sprintf("not done within %v", test.want); got.status != 500 || !strings.Contains(got.err, want) {
					t.Errorf("status %d with the error %q, want 500 with %q", got.status, got.err, want)
				}
				if ms := float64(test.want.Milliseconds()); got.line["ms"] != ms {
					t.Errorf("the log says %v ms, want %v", got.line["ms"], ms)
				}
			})
		})
	}
}

// TestClientGone checks that an invocation ends when the host does.
func TestClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeStore{onPut: hang}, host.Limits{})
		ctx, cancel := context.WithCancelCause(t.Context())
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/CertificateAdded", strings.NewReader(envelope(added)))
		recorder := httptest.NewRecorder()
		start := time.Now()
		time.AfterFunc(time.Second, func() { cancel(errors.New("the host is gone")) })
		r.ServeHTTP(recorder, request)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		if got := checkAnswer(t, recorder.Result()); got.status != 500 || !strings.Contains(got.err, "the host is gone") {
			t.Errorf("status %d with the error %q", got.status, got.err)
		}
	})
}

// crowd posts n invocations at once and returns a function that waits for all
// replies.
func crowd(t *testing.T, r rig, n int) (wait func() []reply) {
	replies := make([]reply, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			request := httptest.NewRequest(http.MethodPost, "/CertificateAdded", strings.NewReader(envelope(edit(added, "root-ca", fmt.Sprint("ca-", i)))))
			recorder := httptest.NewRecorder()
			r.ServeHTTP(recorder, request)
			replies[i] = checkAnswer(t, recorder.Result())
		})
	}
	return func() []reply { group.Wait(); return replies }
}

// TestConcurrency checks that no more invocations run at once than may, that all
// the others get their turn, and that the host's question never waits.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total, most = 100, 4
		var running, peak atomic.Int32
		turn := make(chan struct{})
		r := newRig(t, &fakeStore{onPut: func(context.Context) error {
			peak.Store(max(peak.Load(), running.Add(1)))
			<-turn
			running.Add(-1)
			return nil
		}}, host.Limits{Concurrency: most})
		wait := crowd(t, r, total)
		for range total / most {
			synctest.Wait()
			if n := running.Load(); n != most {
				t.Fatalf("%d run at once, want %d", n, most)
			}
			if got := r.ask(t, http.MethodGet, "/", http.NoBody); got.status != 200 {
				t.Errorf("GET /: status %d", got.status)
			}
			for range most {
				turn <- struct{}{}
			}
		}
		for i, got := range wait() {
			if got.status != 200 {
				t.Errorf("invocation %d: status %d: %s", i, got.status, got.err)
			}
		}
		if n := peak.Load(); n != most {
			t.Errorf("at most %d ran at once, want %d", n, most)
		}
		seen := map[string]bool{}
		for _, name := range entities(r.store.put) {
			seen[name] = true
		}
		if len(seen) != total || len(r.store.put) != total {
			t.Errorf("%d alerts about %d certificates, want %d", len(r.store.put), len(seen), total)
		}
	})
}

// TestDefaultConcurrency checks the default, which docs/design.md states.
func TestDefaultConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeStore{onPut: hang}, host.Limits{})
		wait := crowd(t, r, 100)
		synctest.Wait()
		if n := r.store.called(); n != 64 {
			t.Errorf("%d run at once, want 64", n)
		}
		wait()
	})
}

// TestWaitingEnds checks that an invocation without a slot is answered 500 in
// time, so that Event Grid delivers again.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		r := newRig(t, &fakeStore{onPut: func(context.Context) error { <-free; return nil }}, host.Limits{Concurrency: 4})
		start := time.Now()
		time.AfterFunc(25*time.Second, func() { close(free) })
		wait := crowd(t, r, 100)
		<-time.After(10 * time.Second)
		// This invocation comes late. It waits, and gets the slot of an
		// invocation that took too long.
		late := r.post(t, "CertificateAdded", envelope(added))
		if took := time.Since(start); late.status != 200 || took != 25*time.Second {
			t.Errorf("the late one: status %d after %v, want 200 after 25s", late.status, took)
		}
		done := 0
		for i, got := range wait() {
			if got.status == 200 {
				done++
			} else if want := "no slot among 4: not done within 20s"; got.err != want {
				t.Errorf("invocation %d: error %q, want %q", i, got.err, want)
			}
		}
		if done != 4 {
			t.Errorf("%d of the first were done, want the 4 that had a slot", done)
		}
	})
}

// TestTooManyWait checks that invocations without a place are answered 500 at
// once, and their connections closed, and that all other invocations succeed.
func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		r := newRig(t, &fakeStore{onPut: func(context.Context) error { <-free; return nil }}, host.Limits{Concurrency: 4, Waiting: 6})
		start := time.Now()
		wait := crowd(t, r, 10)
		synctest.Wait()
		for range 100 {
			recorder := httptest.NewRecorder()
			r.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/CertificateAdded", strings.NewReader(envelope(added))))
			got := checkAnswer(t, recorder.Result())
			if want := "no place: 10 invocations are under way"; got.status != 500 || got.err != want {
				t.Errorf("status %d with the error %q, want 500 with %q", got.status, got.err, want)
			}
			if got := recorder.Header().Get("Connection"); got != "close" {
				t.Errorf("Connection is %q, want close", got)
			}
		}
		if got := r.ask(t, http.MethodGet, "/", http.NoBody); got.status != 200 {
			t.Errorf("GET /: status %d", got.status)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want an answer at once", took)
		}
		close(free)
		for i, got := range wait() {
			if got.status != 200 {
				t.Errorf("invocation %d: status %d: %s", i, got.status, got.err)
			}
		}
		if got := r.post(t, "CertificateAdded", envelope(added)); got.status != 200 {
			t.Errorf("when all are done: status %d: %s", got.status, got.err)
		}
	})
}

// TestDefaultWaiting checks the default: 64 that run and 512 that wait.
func TestDefaultWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeStore{onPut: hang}, host.Limits{})
		wait := crowd(t, r, 600)
		refused := 0
		for _, got := range wait() {
			if got.err == "no place: 576 invocations are under way" {
				refused++
			}
		}
		if refused != 600-576 {
			t.Errorf("%d were refused, want %d", refused, 600-576)
		}
	})
}

// deadlines is a ResponseWriter that notes until when a body may come.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

// SetReadDeadline is what http.ResponseController looks for.
func (d *deadlines) SetReadDeadline(deadline time.Time) error {
	d.set = append(d.set, deadline)
	return nil
}

// TestBodyDeadline checks that a body has 10 seconds from when there is room for it,
// but no more than its invocation has left, and that the deadline is for the body
// alone.
func TestBodyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := envelope(added)
		r := newRig(t, &fakeStore{onPut: hang}, host.Limits{Body: 4000, Room: 1}) // room for one body
		for wait, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 15 * time.Second: 20 * time.Second} {
			if wait > 0 { // the room is taken until then
				request := httptest.NewRequest(http.MethodPost, "/CertificateAdded", slowReader(wait))
				go r.ServeHTTP(httptest.NewRecorder(), request)
				synctest.Wait()
			}
			start := time.Now()
			w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/CertificateAdded", strings.NewReader(body)))
			if len(w.set) != 2 || w.set[0].Sub(start) != want {
				t.Errorf("room after %v: read deadlines %v after %v, want one %v after it and the end of it", wait, w.set, start, want)
			} else if !w.set[1].IsZero() {
				t.Errorf("room after %v: the read deadline is still %v when the body has come", wait, w.set[1])
			}
		}
	})
}

// slowReader is a body of unknown length that ends with an error after some time.
type slowReader time.Duration

func (s slowReader) Read([]byte) (int, error) {
	<-time.After(time.Duration(s))
	return 0, io.ErrUnexpectedEOF
}

// TestBodyThatDoesNotCome checks that such a body frees its place and its room in
// time, over a real connection.
func TestBodyThatDoesNotCome(t *testing.T) {
	r := newRig(t, &fakeStore{}, host.Limits{Concurrency: 1, Timeout: 200 * time.Millisecond})
	server := httptest.NewServer(r)
	defer server.Close()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, "POST /CertificateAdded HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := checkAnswer(t, response); got.status != 500 || !strings.Contains(got.err, "request body: ") || !strings.Contains(got.err, "timeout") {
		t.Errorf("status %d with the error %q, want 500 that says so", got.status, got.err)
	}
	if got := r.post(t, "CertificateAdded", envelope(added)); got.status != 200 {
		t.Errorf("the next invocation: status %d: %s", got.status, got.err)
	}
	if len(r.store.kept) > 0 {
		t.Errorf("quarantined: %+v", r.store.kept)
	}
}

// TestHangingStoreOverNetwork checks that the end of the time is told as such over
// a real connection too, where net/http reads on while a function runs.
func TestHangingStoreOverNetwork(t *testing.T) {
	r := newRig(t, &fakeStore{onPut: hang}, host.Limits{Timeout: 50 * time.Millisecond})
	server := httptest.NewServer(r)
	defer server.Close()
	for range 5 {
		response, err := http.Post(server.URL+"/CertificateAdded", "application/json", strings.NewReader(envelope(added)))
		if err != nil {
			t.Fatal(err)
		}
		if got := checkAnswer(t, response); got.status != 500 || !strings.Contains(got.err, "not done within 50ms") {
			t.Errorf("status %d with the error %q, want 500 that says so", got.status, got.err)
		}
		response.Body.Close()
	}
}
