package host

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
)

// TestDeepEventsTakeLittleStack reads an event whose data has thousands of objects and arrays
// inside each other, in each way in which one comes. A stack that grows with them is copied again
// and again, and is a megabyte in the end.
func TestDeepEventsTakeLittleStack(t *testing.T) {
	const levels, most = 4_000, 256 << 10
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would make stacks smaller again
	deep := strings.Repeat(`{"a":[`, levels/2) + strings.Repeat("]}", levels/2)
	const record = `{"category":"Routes","operationName":"o","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB","time":"2026-02-01T10:00:00Z","deep":`
	whole := func(kind, subject, data string) string {
		return `{"id":"1","eventType":"` + kind + `","subject":"` + subject + `","topic":"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub","eventTime":"2026-02-01T10:00:00Z","data":` + data + `}`
	}
	for name, test := range map[string]struct {
		event string
		read  func(event.Event) (any, error)
	}{
		"operation": {whole("Microsoft.Resources.ResourceWriteSuccess", "s", `{"operationName":"o","deep":`+deep+`}`), func(e event.Event) (any, error) {
			return e.Operation()
		}},
		"telemetry": {whole(event.DeviceTelemetry, "devices/pump-1", `{"body":`+deep+`}`), func(e event.Event) (any, error) {
			return e.Device()
		}},
		"log records": {whole(event.LogType("Routes"), "s", `{"records":[{"id":"`+strings.Repeat("0", 64)+`","record":`+record+deep+`}}]}`), func(e event.Event) (any, error) {
			return event.LogRecords(e)
		}},
	} {
		for _, value := range []string{test.event, "[" + test.event + "]"} {
			body := []byte(`{"Data":{"event":` + value + `},"Metadata":{"data":` + deep + `}}`)
			var before, after runtime.MemStats
			var err error
			read := make(chan bool)
			go func() { // with a stack of its own
				defer close(read)
				runtime.ReadMemStats(&before)
				var data jsontext.Value
				if data, _, err = bound(new(scan.Doc), body, int64(len(body)), int64(len(body))); err == nil {
					var events []jsontext.Value
					if events, err = event.Split(data); err == nil {
						var e event.Event
						if e, err = event.Decode(events[0]); err == nil {
							_, err = test.read(e)
						}
					}
				}
				runtime.ReadMemStats(&after)
			}()
			<-read
			if took := int64(after.StackInuse) - int64(before.StackInuse); err != nil || took > most { // #nosec G115 -- far less
				t.Errorf("%s, %.1s: the stacks have %d bytes more, error %v; want %d at most", name, value, took, err, most)
			}
		}
	}
}

// TestMembersAreBounded checks that a value of very many members is read, and takes no
// memory for each of them.
func TestMembersAreBounded(t *testing.T) {
	for n, told := range map[int]bool{mostValues - 3: true, mostValues - 2: false} { // beside the whole, Data and event
		data := `{"0":0`
		for i := 1; i < n; i++ {
			data += fmt.Sprintf(`,"%d":0`, i)
		}
		data += "}"
		body := []byte(`{"Data":{"event":` + data + `}}`)
		got, scanned, err := bound(new(scan.Doc), body, int64(len(body)), int64(len(body)))
		if err != nil || string(got) != data || (scanned != scan.Value{}) != told {
			t.Errorf("%d members: told %v, error %v; want told %v", n, scanned != scan.Value{}, err, told)
		}
	}
}

// TestRoomIsNotLost checks that a claim which is granted while its time ends either has
// its bytes or leaves them.
func TestRoomIsNotLost(t *testing.T) {
	r := &room{}
	p := part{of: r}
	had, gave := 0, 0
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.take(ctx, 10) }()
		for waits := false; !waits; runtime.Gosched() {
			r.mu.Lock()
			waits = len(r.waiting) == 1
			r.mu.Unlock()
		}
		if i%2 == 0 {
			cancel()
		}
		p.give(10)
		cancel()
		if <-done == nil {
			p.give(10)
			had++
		} else {
			gave++
		}
		if r.free != 10 || len(r.waiting) > 0 {
			t.Fatalf("%d bytes are free, want 10; %d claims wait", r.free, len(r.waiting))
		}
		r.free = 0
	}
	if had == 0 || gave == 0 {
		t.Errorf("%d claims had their bytes and %d were given up: the test proves nothing", had, gave)
	}
}

// TestFairParts lets fair functions take as much as they can get: one has a half, two have a
// third each, three a quarter. One that has none yet gets some, also while they wait for more.
func TestFairParts(t *testing.T) {
	for greedy := int64(1); greedy <= 3; greedy++ {
		r := newRoom(64)
		parts := make([]part, greedy)
		for i := range parts {
			parts[i] = part{of: r, fair: true}
		}
		for more := true; more; {
			more = false
			for i := range parts {
				more = parts[i].try(1) || more
			}
		}
		share := 64 / (greedy + 1)
		for i := range parts {
			if n := parts[i].taken; n < share-1 || n > share+1 {
				t.Errorf("%d parts: one has %d, want %d", greedy, n, share)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- parts[0].take(ctx, 1) }()
		for waits := false; !waits; runtime.Gosched() {
			r.mu.Lock()
			waits = len(r.waiting) == 1
			r.mu.Unlock()
		}
		modest := part{of: r, fair: true}
		if err := modest.take(t.Context(), 1); err != nil {
			t.Error(err)
		}
		modest.give(1)
		parts[0].give(1) // Now it may have one again.
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// TestBound checks what is made of a request: the value of the binding and its
// members, as parts of the body, so that nothing is copied and nobody has to look
// for them again.
func TestBound(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		data    string
		members []string // nil if they are not told
		err     string   // part of the error
	}{
		"an object":                {`{"Data":{"event":{"id":"1", "data" : {"a":[1,{}]}}},"Metadata":{"a":1}}`, `{"id":"1", "data" : {"a":[1,{}]}}`, []string{"data", "id"}, ""},
		"white space":              {"{ \"Data\" : {\n\"event\" :\t{ \"id\" : 1 } } }", `{ "id" : 1 }`, []string{"id"}, ""},
		"an empty object":          {`{"Data":{"event":{}}}`, `{}`, []string{}, ""},
		"an escaped name":          {`{"Data":{"event":{"\u0069d":1}}}`, `{"\u0069d":1}`, nil, ""},
		"another name":             {`{"Data":{"timer":{"IsPastDue":false}}}`, `{"IsPastDue":false}`, []string{"IsPastDue"}, ""},
		"event among others":       {`{"Data":{"a":1,"event":{"id":1}}}`, `{"id":1}`, []string{"id"}, ""},
		"a string":                 {`{"Data":{"event":"[{}]"}}`, `"[{}]"`, []string{}, ""},
		"an array":                 {`{"Data":{"event":[{"id":1}]}}`, `[{"id":1}]`, []string{""}, ""},
		"a member twice":           {`{"Data":{"event":{"id":1,"id":2}}}`, `{"id":1,"id":2}`, nil, ""},
		"a member twice below":     {`{"Data":{"event":{"data":{"a":1,"a":2}}}}`, `{"data":{"a":1,"a":2}}`, nil, ""},
		"no event":                 {`{"Data":{"a":1,"b":{}}}`, "", nil, "no Data.event"},
		"no data":                  {`{}`, "", nil, "no Data.event"},
		"not JSON":                 {`{"Data":{"event":{}}`, "", nil, "not an invocation"},
		"broken behind the event":  {`{"Data":{"event":{}},"Metadata":{"a"}}`, "", nil, "not an invocation"},
		"broken within the event":  {`{"Data":{"event":{"a":01}}}`, "", nil, "not an invocation"},
		"larger than what is read": {`{"Data":`, "", nil, "at most 7 are taken"},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(test.body)
			size := int64(len(body))
			most := size
			if strings.HasPrefix(name, "larger") {
				most--
			}
			data, scanned, err := bound(new(scan.Doc), body, size, most)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if string(data) != test.data || (scanned == scan.Value{}) != (test.members == nil) {
				t.Errorf("data %s, scanned: %v; want %s", data, scanned != scan.Value{}, test.data)
			}
			if test.members == nil {
				return
			}
			members := []string{}
			for m := scanned.First(); m != (scan.Value{}); m = m.Next() {
				members = append(members, m.Name())
			}
			slices.Sort(members)
			if diff := cmp.Diff(test.members, members); diff != "" || string(scanned.Raw()) != test.data {
				t.Errorf("%s, members (-want +got):\n%s", scanned.Raw(), diff)
			}
			// What is a part of the body changes with the body.
			for i := range body {
				body[i] = '_'
			}
			if strings.Trim(string(data), "_") != "" {
				t.Error("the data is not a part of the body")
			}
		})
	}
}
