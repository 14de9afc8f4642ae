package host_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/host"
)

// kept is an event that is expected in the quarantine.
type kept struct {
	reason []string // parts of it, which say what is wrong and where
	body   string   // "" for what the case has in its event
	id     string   // "" if the id of the event cannot be read
}

// one is the quarantine of the event of a case whose id can be read.
func one(reason ...string) []kept { return []kept{{reason: reason, id: "event-1"}} }

// nameless is one without an id.
func nameless(reason ...string) []kept { return []kept{{reason: reason}} }

// batch is 50 events, of which every tenth is broken in another way.
func batch() (events []string, put []string, broken []kept) {
	breaks := []struct{ old, new, reason string }{
		{`"id":`, `"i":`, "event: id: missing or empty"},
		{`"2026-02-01T08:00:00Z"`, `"yesterday"`, "event: eventTime: want an RFC 3339 time"},
		{`/certificates/root-ca`, `/certificates`, "ends before the name"},
		{`"operationName"`, `"operation"`, "event: data.operationName: missing or empty"},
		{`"subject":`, `"subject":"a","subject":`, `duplicate object member name "subject"`},
	}
	for i := range 50 {
		name, id := fmt.Sprintf("ca-%02d", i), fmt.Sprintf("event-%02d", i)
		e := edit(added, "event-1", id)
		if i%10 == 9 {
			b := breaks[i/10]
			e = edit(e, b.old, b.new)
			if b.old == `"id":` || b.old == `"subject":` {
				id = ""
			}
			broken = append(broken, kept{[]string{b.reason}, e, id})
			if b.old == "/certificates/root-ca" {
				put = append(put, "contoso-hub")
			}
		} else {
			e = edit(e, "root-ca", name)
			put = append(put, name)
		}
		events = append(events, e)
	}
	return events, put, broken
}

// TestInput posts what the host, or whoever makes events, may send: right, odd
// and broken. All of it is answered 200, since no later attempt could judge it
// better. Each event ends as an alert, in the quarantine, or unmatched.
func TestInput(t *testing.T) {
	events, put, broken := batch()
	list := "[" + strings.Join(events, ",") + "]"
	alerts := []string{"root-ca"}
	hub := []string{"contoso-hub"} // an alert about it
	deep := func(levels int) string {
		return edit(added, `"data":{`, `"data":{"properties":`+strings.Repeat(`{"a":`, levels)+"1"+strings.Repeat("}", levels)+",")
	}
	long := edit(added, `"data":{`, `"data":{"properties":"`+strings.Repeat("x", 1<<20)+`",`)
	cloud := edit(added, `"id":"event-1"`, `"id":"event-1","specversion":"1.0","source":"/subscriptions/00000000-0000-0000-0000-000000000001"`,
		`"eventType"`, `"type"`, `"eventTime"`, `"time"`)
	request := `{"Data":{"event":` + added + `},"Metadata":`

	for _, test := range []struct {
		name      string
		event     string // the value of Data.event
		request   string // instead: the whole body
		put       []string
		kept      []kept
		unmatched int
	}{
		{name: "certificate added", event: added, put: alerts},
		{name: "cloudevent", event: cloud, put: alerts},

		// What is not an invocation.
		{name: "invalid json", request: `{"Data":{"event":{"id":`, kept: nameless("the request is not an invocation", "unexpected EOF")},
		{name: "cut off", request: envelope(added)[:400], kept: nameless("the request is not an invocation", "unexpected EOF", "/Data/event")},
		{name: "text", request: "hello", kept: nameless("the request is not an invocation", "invalid character 'h'")},
		{name: "more behind it", request: envelope(added) + "{}", kept: nameless("the request is not an invocation", "after top-level value")},
		{name: "empty body", request: "", kept: nameless("the request is not an invocation", "EOF")},
		{name: "null body", request: "null", kept: nameless("the request has no Data.event")},
		{name: "array body", request: "[" + envelope(added) + "]", kept: nameless("the request is not an invocation", "array")},
		{name: "string body", request: jsonString(envelope(added)), kept: nameless("the request is not an invocation", "string")},
		{name: "envelope without data", request: `{"Metadata":{}}`, kept: nameless("the request has no Data.event")},
		{name: "data of no kind", request: `{"Data":null}`, kept: nameless("the request has no Data.event")},
		{name: "data is a string", request: `{"Data":"x"}`, kept: nameless("the request is not an invocation", "string", "/Data")},
		{name: "data without a binding", request: `{"Data":{}}`, kept: nameless("the request has no Data.event")},
		{name: "two other bindings", request: `{"Data":{"a":{},"b":{}}}`, kept: nameless("the request has no Data.event")},
		{name: "one other binding", request: edit(envelope(added), `{"event":`, `{"myEvent":`), put: alerts},
		{name: "event beside another binding", request: edit(envelope(added), `{"event":`, `{"other":{},"event":`), put: alerts},

		// What is not an event.
		{name: "null event", event: "null", kept: nameless("binding event: want a JSON object or an array of them", "null")},
		{name: "number", event: "17", kept: nameless("binding event: want a JSON object or an array of them", "number")},
		{name: "true", event: "true", kept: nameless("binding event: want a JSON object or an array of them", "true")},
		{name: "plain text, encoded twice as the host does", event: `"\"plain text\""`, kept: nameless("binding event: want a JSON object or an array of them")},
		{name: "plain text", event: `"plain text"`, kept: nameless("binding event: want a JSON object or an array of them")},
		{name: "empty string", event: `""`, kept: nameless("binding event: want a JSON object or an array of them")},
		{name: "event in a string", event: jsonString(added), put: alerts},
		{name: "event in a string in a string", event: jsonString(jsonString(added)), put: alerts},
		{name: "event in too many strings", event: jsonString(jsonString(jsonString(added))), kept: nameless("binding event: want a JSON object or an array of them", "string")},
		{name: "empty event", event: "{}", kept: nameless("event: eventType: missing or empty")},
		{name: "array with no event in it", event: "[null,7]", kept: []kept{
			{reason: []string{"event: want a JSON object, have null"}, body: "null"},
			{reason: []string{"event:", "number"}, body: "7"},
		}},
		{name: "broken event in a string", event: `"{\"id\":"`, kept: []kept{{reason: []string{"event: ", "unexpected EOF"}, body: `{"id":`}}},
		{name: "broken array in a string", event: `"[{}"`, kept: nameless("binding event: ", "unexpected EOF")},

		// Many events.
		{name: "array", event: list, put: put, kept: broken},
		{name: "array in a string, as the host sends it", event: jsonString(list), put: put, kept: broken},
		{name: "array in a string in a string", event: jsonString(jsonString(list)), put: put, kept: broken},
		{name: "array with others' events", event: "[" + added + "," + edit(added, "write", "delete") + "," + edit(added, "WriteSuccess", "WriteFailure") + "]", put: alerts, unmatched: 2},

		// Size and depth.
		{name: "500 levels", event: deep(500), put: alerts},
		{name: "9900 levels", event: deep(9900), put: alerts},
		{name: "10001 levels", event: deep(10001), kept: []kept{{reason: []string{"the request is not an invocation", "depth"}, body: envelope(deep(10001))}}},
		{name: "1 MB", event: long, put: alerts},

		// Characters.
		{name: "invalid utf-8", event: edit(added, "root-ca", "root-\xff\xc0"), put: []string{"root-\ufffd\ufffd"}},
		{name: "invalid utf-8 in a string", event: edit(jsonString(edit(added, "root-ca", "root-ca!")), "root-ca!", "root-\xff"), put: []string{"root-\ufffd"}},
		{name: "lone surrogate", event: edit(added, "root-ca", `root-\ud800`), put: []string{"root-\ufffd"}},
		{name: "lone surrogate in a string", event: jsonString(edit(added, "root-ca", `root-\udc00`)), put: []string{"root-\ufffd"}},
		{name: "invalid utf-8 in metadata", request: request + `{"x":"` + "\xff" + `\ud800"}}`, put: alerts},
		{name: "byte order mark", request: "\ufeff" + envelope(added), kept: nameless("the request is not an invocation", "invalid character")},

		// Members that stand twice.
		{name: "duplicate id", event: edit(added, `"id":`, `"id":"event-0","id":`), kept: nameless(`duplicate object member name "id"`)},
		{name: "duplicate operation", event: edit(added, `"operationName"`, `"operationName":"a","operationName"`), kept: nameless(`duplicate object member name "operationName"`, "/data")},
		{name: "duplicate member in metadata", request: request + `{"data":{},"data":[],"sys":1,"sys":2}}`, put: alerts},
		{name: "metadata twice", request: request + `{},"Metadata":[]}`, put: alerts},

		// Metadata is nobody's business.
		{name: "no metadata", request: `{"Data":{"event":` + added + `}}`, put: alerts},
		{name: "metadata is null", request: request + "null}", put: alerts},
		{name: "metadata is a string", request: request + `"x"}`, put: alerts},
		{name: "metadata is an array", request: request + `[[]]}`, put: alerts},
		{name: "retried by the host", request: request + `{"RetryContext":{"RetryCount":2,"MaxRetryCount":2,"Exception":{"Data":null,"Data":{}}}}}`, put: alerts},

		// Members that are missing, empty or of a wrong kind.
		{name: "no id", event: edit(added, `"id":"event-1",`, ""), kept: nameless("event: id: missing or empty")},
		{name: "empty id", event: edit(added, "event-1", ""), kept: nameless("event: id: missing or empty")},
		{name: "number as id", event: edit(added, `"event-1"`, "1"), kept: nameless("event: ", "number", "/id")},
		{name: "no subject", event: edit(added, `"subject"`, `"about"`), kept: one("event: subject: missing or empty")},
		{name: "empty subject", event: edit(added, `"subject":"`+certificateID, `"subject":"`), kept: one("event: subject: missing or empty")},
		{name: "object as subject", event: edit(added, `"subject":"`+certificateID+`"`, `"subject":{}`), kept: nameless("event: ", "object", "/subject")},
		{name: "no event type", event: edit(added, `"eventType"`, `"kind"`), kept: one("event: eventType: missing or empty")},
		{name: "empty event type", event: edit(added, "Microsoft.Resources.ResourceWriteSuccess", ""), kept: one("event: eventType: missing or empty")},
		{name: "array as event type", event: edit(added, `"Microsoft.Resources.ResourceWriteSuccess"`, "[]"), kept: nameless("event: ", "array", "/eventType")},
		{name: "cloudevent without a type", event: edit(cloud, `"type"`, `"eventType"`), kept: one("event: type: missing or empty")},
		{name: "another specversion", event: edit(cloud, `"1.0"`, `"2.0"`), kept: nameless("event: specversion: want 1.0", "2.0")},
		{name: "no data", event: edit(added, `"data":{`, `"payload":{`), kept: one("event: data: missing or empty")},
		{name: "null data", event: edit(added, `"data":{`, `"data":null,"payload":{`), kept: one("event: data: missing or empty")},
		{name: "string as data", event: edit(added, `"data":{`, `"data":"x","payload":{`), kept: one("event: data: ", "string")},
		{name: "array as data", event: edit(added, `"data":{`, `"data":[],"payload":{`), kept: one("event: data: ", "array")},
		{name: "empty data", event: edit(added, `"data":{`, `"data":{},"payload":{`), kept: one("event: data.operationName: missing or empty")},
		{name: "number as operation", event: edit(added, `"operationName":"Microsoft.Devices/IotHubs/certificates/write"`, `"operationName":1`), kept: one("event: data: ", "number", "/operationName")},
		{name: "no time", event: edit(added, `"eventTime"`, `"when"`), kept: one("event: eventTime: missing or empty")},
		{name: "no time at all", event: edit(added, "2026-02-01T08:00:00Z", "yesterday"), kept: one("event: eventTime: want an RFC 3339 time", "yesterday")},
		{name: "no such day", event: edit(added, "2026-02-01", "2026-02-30"), kept: one("event: eventTime: want an RFC 3339 time", "2026-02-30")},
		{name: "year that no table takes", event: edit(added, "2026-02-01", "1600-02-01"), kept: one("event: eventTime: want a year from 1601", "1600-02-01")},
		{name: "number as time", event: edit(added, `"2026-02-01T08:00:00Z"`, "1769932800"), kept: nameless("event: ", "number", "/eventTime")},

		// Ids that do not name a certificate of a hub.
		{name: "id without a name", event: edit(added, "/certificates/root-ca", "/certificates"), put: hub, kept: one("detector CertificateAdded", "subject: ", "ends before the name of what lies below its resource", "data.resourceUri: ")},
		{name: "id of the hub", event: edit(added, "/certificates/root-ca", ""), put: hub, kept: one("detector CertificateAdded", "subject: ", "is not a certificate of an IoT hub")},
		{name: "id with an empty segment", event: edit(added, "/certificates/root-ca", "/certificates//root-ca"), put: hub, kept: one("detector CertificateAdded", "subject: ", "segment 10 is empty")},
		{name: "subject that ends early", event: edit(added, `"subject":"`+certificateID, `"subject":"`+strings.TrimSuffix(certificateID, "/root-ca")), put: alerts},
		{name: "resource uri that ends early", event: edit(added, `"resourceUri":"`+certificateID, `"resourceUri":"`+certificateID[:40]), put: alerts},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := test.request
			if test.event != "" {
				body = envelope(test.event)
			}
			r := newRig(t, &fakeStore{}, host.Limits{})
			got := r.post(t, "CertificateAdded", body)
			if got.status != 200 {
				t.Errorf("status %d: %s", got.status, got.err)
			}
			if diff := cmp.Diff(test.put, entities(r.store.put)); diff != "" {
				t.Errorf("alerts (-want +got):\n%s", diff)
			}
			if n := got.counted("unmatched"); n != test.unmatched {
				t.Errorf("%d unmatched, want %d", n, test.unmatched)
			}
			if n := got.counted("quarantined"); n != len(test.kept) || len(r.store.kept) != len(test.kept) {
				t.Fatalf("%d quarantined, and the log says %d, want %d: %+v", len(r.store.kept), n, len(test.kept), r.store.kept)
			}
			for i, want := range test.kept {
				q := r.store.kept[i]
				if want.body == "" {
					want.body = test.event
					if strings.HasPrefix(want.reason[0], "the request ") {
						want.body = body
					}
				}
				if slices.ContainsFunc(want.reason, func(part string) bool { return !strings.Contains(q.Reason, part) }) {
					t.Errorf("the reason is %q, want %q in it", q.Reason, want.reason)
				}
				if q.Function != "CertificateAdded" || q.EventID != want.id || q.Size != int64(len(q.Body)) {
					t.Errorf("quarantined with function %q, event id %q and size %d of %d, want CertificateAdded, %q and its length", q.Function, q.EventID, q.Size, len(q.Body), want.id)
				}
				if diff := cmp.Diff(want.body, string(q.Body)); diff != "" {
					t.Errorf("body (-want +got):\n%.2000s", diff)
				}
			}
		})
	}
}

// TestOversized checks that a request that is too large is kept as far as it is
// taken, with its size, and not tried again.
func TestOversized(t *testing.T) {
	r := newRig(t, &fakeStore{}, host.Limits{Body: 1000})
	body := envelope(edit(added, "root-ca", strings.Repeat("x", 1000)))
	if got := r.post(t, "CertificateAdded", body); got.status != 200 || got.counted("quarantined") != 1 {
		t.Errorf("status %d, log line %s; want 200 and one quarantined", got.status, got.raw)
	}
	if len(r.store.put) != 0 || len(r.store.kept) != 1 {
		t.Fatalf("%d alerts, %d quarantined, want one quarantined", len(r.store.put), len(r.store.kept))
	}
	q := r.store.kept[0]
	if string(q.Body) != body[:1000] || q.Size != int64(len(body)) || q.Function != "CertificateAdded" {
		t.Errorf("quarantined %d bytes of %d for %s, want the first 1000 of %d", len(q.Body), q.Size, q.Function, len(body))
	}
	if want := fmt.Sprintf("the request has %d bytes, and at most 1000 are taken", len(body)); q.Reason != want {
		t.Errorf("the reason is %q, want %q", q.Reason, want)
	}

	exact := envelope(added)
	r = newRig(t, &fakeStore{}, host.Limits{Body: int64(len(exact))})
	if got := r.post(t, "CertificateAdded", exact); got.status != 200 || len(r.store.put) != 1 {
		t.Errorf("a request that just fits: status %d, %d alerts, want one", got.status, len(r.store.put))
	}
}
