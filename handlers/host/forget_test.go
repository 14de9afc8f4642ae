package host_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/host"
)

// TestBodiesAreUsedAgain has functions at work side by side. What one keeps of its requests
// stays as it was. What the other has forgotten is gone, and only after the log has told of it.
func TestBodiesAreUsedAgain(t *testing.T) {
	const senders, each = 8, 200
	var mu sync.Mutex
	kept, forgotten := map[string]jsontext.Value{}, []jsontext.Value{}
	keep := func(_ context.Context, in host.Invocation) (host.Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		id := in.Scanned.Get("id").Text()
		kept[id] = in.Data
		return host.Outcome{EventID: id}, nil
	}
	forget := func(_ context.Context, in host.Invocation) (host.Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		forgotten = append(forgotten, in.Data)
		return host.Outcome{EventID: in.Scanned.Get("id").Text(), Forgotten: true}, nil
	}
	r := newRigOf(t, &fakeStore{}, host.Limits{}, function("Keep", keep), function("Forget", forget))
	event := func(id string, i int) string {
		return fmt.Sprintf(`{"id":%q,"data":%q}`, id, strings.Repeat(id, i%4*100)) // of each size of memory
	}
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for i := range each {
				for _, name := range []string{"Keep", "Forget"} {
					id := fmt.Sprintf("%s-%d-%03d", strings.ToLower(name), s, i)
					w := httptest.NewRecorder()
					r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+name, strings.NewReader(`{"Data":{"event":`+event(id, i)+`}}`)))
					if w.Code != http.StatusOK {
						t.Errorf("%s: status %d", id, w.Code)
					}
				}
			}
		})
	}
	group.Wait()
	log := r.log.String()
	for s := range senders {
		for i := range each {
			if id := fmt.Sprintf("keep-%d-%03d", s, i); string(kept[id]) != event(id, i) {
				t.Fatalf("%s has become %.100q", id, kept[id])
			}
			if id := fmt.Sprintf(`"eventId":"forget-%d-%03d"`, s, i); strings.Count(log, id) != 1 {
				t.Fatalf("the log has %s %d times", id, strings.Count(log, id))
			}
		}
	}
	gone := 0
	for _, data := range forgotten {
		if strings.Trim(string(data), "\x00") == "" {
			gone++
		}
	}
	if gone == 0 {
		t.Errorf("of %d requests that are forgotten all are still there", len(forgotten))
	}
}
