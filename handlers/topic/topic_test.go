package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// server is a topic of this machine. It answers with answer, and remembers what it got.
type server struct {
	*httptest.Server
	answer   func(ids []string, size int) int
	requests [][]string // ids of the events of each request that was answered 200
	headers  []http.Header
	bodies   []string
}

func newServer(t *testing.T) *server {
	s := &server{answer: func([]string, int) int { return http.StatusOK }}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var events []struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(body, &events); err != nil {
			t.Error(err)
		}
		var ids []string
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		s.headers, s.bodies = append(s.headers, r.Header), append(s.bodies, string(body))
		status := s.answer(ids, len(body))
		if status == http.StatusOK {
			s.requests = append(s.requests, ids)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", s.URL+"/elsewhere/api/events")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) open(t *testing.T) *Topic {
	t.Helper()
	p, err := Open(s.URL+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func event(id, text string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"type":"t","source":"s","subject":"devices/d","time":"2026-02-01T10:00:00Z","datacontenttype":"application/json","data":{"records":[{"n":1.50,"text":%q}]}}`, id, text)
}

func TestPublish(t *testing.T) {
	s := newServer(t)
	refused, err := s.open(t).Publish(t.Context(), [][]byte{event("1", "é <b>"), event("2", "")})
	if err != nil || len(refused) > 0 || len(s.requests) != 1 || !slices.Equal(s.requests[0], []string{"1", "2"}) {
		t.Fatalf("requests %v, refused %v, error %v", s.requests, refused, err)
	}
	if got := s.headers[0].Get("Content-Type"); got != "application/cloudevents-batch+json; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	if got := s.headers[0].Get("Authorization"); got != "" {
		t.Errorf("a token went over http: %q", got)
	}
	// The record goes as it is, and not as base64.
	if !strings.Contains(s.bodies[0], `"data":{"records":[{"n":1.50,"text":"é \u003cb\u003e"}]}`) || strings.Contains(s.bodies[0], "data_base64") {
		t.Errorf("body %s", s.bodies[0])
	}
	if refused, err := s.open(t).Publish(t.Context(), nil); err != nil || len(refused) > 0 || len(s.requests) != 1 {
		t.Errorf("nothing to publish: %v, %v, %d requests", refused, err, len(s.requests))
	}
}

// TestRequestsFit checks that no request is longer than a topic takes, and that an event
// that is too long for any is refused.
func TestRequestsFit(t *testing.T) {
	s := newServer(t)
	var events [][]byte
	for i := range 12 {
		events = append(events, event(fmt.Sprint(i), strings.Repeat("<", 40_000))) // 240 kB as it is sent
	}
	events = append(events, event("long", strings.Repeat("<", 200_000)), event("last", ""))
	refused, err := s.open(t).Publish(t.Context(), events)
	if err != nil || len(refused) != 1 || refused[12] == nil {
		t.Errorf("refused %v, error %v; want the long one alone", refused, err)
	}
	if got := slices.Concat(s.requests...); len(got) != 13 || len(s.requests) != 3 {
		t.Errorf("%d events in %d requests", len(got), len(s.requests))
	}
	for _, body := range s.bodies {
		if len(body) > 1_000_100 {
			t.Errorf("a request of %d bytes", len(body))
		}
	}
}

// TestOneBadEvent checks that an event that the topic refuses does not keep the others.
func TestOneBadEvent(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge} {
		s := newServer(t)
		s.answer = func(ids []string, _ int) int {
			if slices.Contains(ids, "bad") {
				return status
			}
			return http.StatusOK
		}
		refused, err := s.open(t).Publish(t.Context(), [][]byte{event("1", ""), event("bad", ""), event("2", ""), []byte(`{"id":"no event"}`)})
		if err != nil || len(refused) != 2 || refused[1] == nil || refused[3] == nil {
			t.Errorf("%d: refused %v, error %v; want the bad ones", status, refused, err)
		}
		if got := slices.Concat(s.requests...); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("%d: published %v", status, got)
		}
	}
}

// TestTopicAway checks that what another attempt can publish is an error, and is not
// refused. A redirection is not followed.
func TestTopicAway(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusFound, http.StatusNoContent} {
		s := newServer(t)
		s.answer = func([]string, int) int { return status }
		refused, err := s.open(t).Publish(t.Context(), [][]byte{event("1", "")})
		if err == nil || len(refused) > 0 || len(s.bodies) != 1 {
			t.Errorf("%d: refused %v, error %v, %d requests", status, refused, err, len(s.bodies))
		}
	}
	s := newServer(t)
	s.Close()
	if refused, err := s.open(t).Publish(t.Context(), [][]byte{event("1", "")}); err == nil || len(refused) > 0 {
		t.Errorf("nobody listens: refused %v, error %v", refused, err)
	}
}

// TestPublishKeepsNothing uses the memory of events again as soon as Publish has returned, also
// where the caller waits no more while they are sent. What comes is what was published.
func TestPublishKeepsNothing(t *testing.T) {
	var mu sync.Mutex
	came := 0
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var events []struct {
			ID   string `json:"id"`
			Data struct {
				Records []struct {
					Text string `json:"text"`
				} `json:"records"`
			} `json:"data"`
		}
		err := json.NewDecoder(r.Body).Decode(&events)
		mu.Lock()
		defer mu.Unlock()
		came += len(events)
		for _, e := range events {
			if err != nil || len(e.Data.Records) != 1 || e.Data.Records[0].Text != strings.Repeat(e.ID, 1000) {
				t.Errorf("%v: %.100v", err, e)
			}
		}
	}))
	defer server.Close()
	topic, err := Open(server.URL+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 100 {
		ctx := t.Context()
		if n%2 == 0 {
			ctx = over
		}
		id := string(rune('a' + n%26))
		raw := event(id, strings.Repeat(id, 1000))
		if _, err := topic.Publish(ctx, [][]byte{raw}); err != nil && ctx.Err() == nil {
			t.Errorf("event %d: %v", n, err)
		}
		for i := range raw {
			raw[i] = 'x'
		}
	}
	server.Close() // waits for what is sent
	mu.Lock()
	defer mu.Unlock()
	if came < 50 {
		t.Errorf("%d events came, want at least those that somebody waited for", came)
	}
}

// TestEventsGoTogether checks that events which are published while the topic takes its time go
// with one request, that each caller hears of its own events, and that nobody hears before the
// topic has them.
func TestEventsGoTogether(t *testing.T) {
	const callers = 100
	came, answer := make(chan struct{}, callers), make(chan struct{})
	var mu sync.Mutex
	taken, requests := map[string]bool{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-answer
		var events []struct {
			ID string `json:"id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		requests++
		for _, e := range events {
			if e.ID == "bad" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		for _, e := range events {
			taken[e.ID] = true
		}
	}))
	defer server.Close()
	topic, err := Open(server.URL+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range callers {
		group.Go(func() {
			id := fmt.Sprint(n)
			refused, err := topic.Publish(t.Context(), [][]byte{event(id, "")})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(refused) > 0 || !taken[id] {
				t.Errorf("%s is taken: %t, refused %v, error %v", id, taken[id], refused, err)
			}
		})
		if n < mostSending {
			<-came // so that each of these has a request of its own
		}
	}
	waits := func(n int) {
		for t.Context().Err() == nil {
			topic.mu.Lock()
			waiting := len(topic.waiting)
			topic.mu.Unlock()
			if waiting == n {
				return
			}
			runtime.Gosched()
		}
	}
	waits(callers - mostSending)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := topic.Publish(ctx, [][]byte{event("left", "")})
		left <- err
	}()
	waits(callers - mostSending + 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that does not wait has the error %v", err)
	}
	close(answer)
	group.Wait()
	if requests > 2*mostSending || taken["left"] {
		t.Errorf("%d requests for %d callers; that of the one who left is taken: %t", requests, callers, taken["left"])
	}
	refused, err := topic.Publish(t.Context(), [][]byte{event("bad", ""), event("good", "")})
	if err != nil || len(refused) != 1 || refused[0] == nil || !taken["good"] {
		t.Errorf("refused %v, error %v", refused, err)
	}
}

func TestCheckEndpoint(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"https://contoso.westeurope-1.eventgrid.azure.net/api/events": true,
		"http://127.0.0.1:7071/api/events":                            true,
		"http://[::1]:7071/api/events":                                true,
		"http://contoso.westeurope-1.eventgrid.azure.net/api/events":  false,
		"http://127.0.0.1.contoso.example/api/events":                 false,
		"https://contoso.westeurope-1.eventgrid.azure.net":            false,
		"https://contoso.example/api/events?aeg-sas-key=x":            false,
		"https://user@contoso.example/api/events":                     false,
		"contoso":         false,
		"":                false,
		"https://%zz/api": false,
	} {
		if err := CheckEndpoint(endpoint); (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		} else if err != nil && strings.Contains(err.Error(), "aeg-sas-key") {
			t.Errorf("the error repeats a key: %v", err)
		}
		if p, err := Open(endpoint, nil); (err == nil) != ok || (p == nil) == ok {
			t.Errorf("Open of %q: %v", endpoint, err)
		}
	}
}

// BenchmarkPublish publishes events one by one, and 64 at once, to a topic that answers at once
// and is a part of the same process.
func BenchmarkPublish(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	topic, err := Open(server.URL+"/api/events", nil)
	if err != nil {
		b.Fatal(err)
	}
	events := [][]byte{event("1", strings.Repeat("x", 2_000))}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			b.ReportAllocs()
			var group sync.WaitGroup
			for n := range callers {
				group.Go(func() {
					for range (b.N + callers - 1 - n) / callers {
						if refused, err := topic.Publish(b.Context(), events); err != nil || len(refused) > 0 {
							b.Error(refused, err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}
