package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
)

var (
	errDown     = errors.New("table is down")
	errRejected = errors.New("row of 2 MB: rejected by the store")
)

// panicking is CertificateAdded with an error in the code.
func panicking() detector.Detector {
	d := detector.CertificateAdded
	d.Detect = func(event.Event) ([]alert.Finding, error) {
		var nobody *alert.Hub
		return []alert.Finding{{Hub: *nobody}}, nil
	}
	return d
}

// TestFailure checks the result of an event when something else fails. The answer
// is 500 if a later attempt may succeed. Otherwise the event is quarantined.
func TestFailure(t *testing.T) {
	var nobody *alert.Hub
	panics := func(context.Context) error { panic(nobody.Key()) }
	broken := edit(added, `"id"`, `"i"`)
	for _, test := range []struct {
		name     string
		store    *fakeStore // nil for one that is up
		detector *detector.Detector
		event    string
		status   int
		err      string // a part of the answer's error
		kept     string // a part of the reason in the quarantine
		put      []string
	}{
		{name: "store down", store: &fakeStore{onPut: failWith(errDown)}, event: added, status: 500, err: "table is down"},
		{name: "store down for a part of a batch", store: &fakeStore{onPut: failSecond()}, event: "[" + added + "," + edit(added, "event-1", "event-2", "root-ca", "other-ca") + "," + added + "]", status: 500, err: "table is down", put: []string{"root-ca"}},
		{name: "store panics", store: &fakeStore{onPut: panics}, event: added, status: 500, err: "panic: runtime error: invalid memory address"},
		{name: "store rejects", store: &fakeStore{onPut: failWith(errRejected)}, event: added, status: 200, kept: "row of 2 MB: rejected by the store"},
		{name: "store rejects and quarantine down", store: &fakeStore{onPut: failWith(errRejected), onQuarantine: failWith(errDown)}, event: added, status: 500, err: "table is down"},
		{name: "quarantine down for an event", store: &fakeStore{onQuarantine: failWith(errDown)}, event: broken, status: 500, err: "table is down"},
		{name: "quarantine down for a binding", store: &fakeStore{onQuarantine: failWith(errDown)}, event: "17", status: 500, err: "table is down"},
		{name: "quarantine down for a request", store: &fakeStore{onQuarantine: failWith(errDown)}, event: "", status: 500, err: "table is down"},
		{name: "quarantine down for a part of a batch", store: &fakeStore{onQuarantine: failWith(errDown)}, event: "[" + added + "," + broken + "]", status: 500, err: "table is down", put: []string{"root-ca"}},
		{name: "quarantine panics", store: &fakeStore{onQuarantine: panics}, event: broken, status: 500, err: "panic: runtime error"},
		{name: "quarantine panics for a request", store: &fakeStore{onQuarantine: panics}, event: "", status: 500, err: "panic: runtime error"},
		{name: "quarantine rejects", store: &fakeStore{onQuarantine: failWith(errRejected)}, event: broken, status: 500, err: "rejected by the store"},
		{name: "detector panics", detector: new(panicking()), event: added, status: 200, kept: "detector CertificateAdded: panic: runtime error: invalid memory address"},
		{name: "detector panics and quarantine down", detector: new(panicking()), store: &fakeStore{onQuarantine: failWith(errDown)}, event: added, status: 500, err: "table is down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := detector.CertificateAdded
			if test.detector != nil {
				d = *test.detector
			}
			if test.store == nil {
				test.store = &fakeStore{}
			}
			// There is one slot, so an invocation that keeps it makes the second
			// invocation fail.
			r := newRig(t, test.store, host.Limits{Concurrency: 1}, d)
			for range 2 {
				r.store.put, r.store.kept = nil, nil
				got := r.post(t, "CertificateAdded", envelope(test.event))
				if got.status != test.status || !strings.Contains(got.err, test.err) {
					t.Errorf("status %d with the error %q, want %d with %q", got.status, got.err, test.status, test.err)
				}
				if test.status == 500 && !strings.Contains(fmt.Sprint(got.line["error"]), test.err) {
					t.Errorf("the log line does not say %q: %s", test.err, got.raw)
				}
				if diff := cmp.Diff(test.put, entities(r.store.put)); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
				switch {
				case test.kept == "" && len(r.store.kept) > 0:
					t.Errorf("quarantined: %+v", r.store.kept)
				case test.kept == "":
				case len(r.store.kept) != 1:
					t.Errorf("%d quarantined, want one", len(r.store.kept))
				default:
					q := r.store.kept[0]
					if !strings.Contains(q.Reason, test.kept) || string(q.Body) != test.event || q.EventID != "event-1" || q.Function != "CertificateAdded" {
						t.Errorf("quarantined %+v, want event-1 because of %q", q, test.kept)
					}
				}
			}
		})
	}
}

// failSecond returns a store that is down at every second call.
func failSecond() func(context.Context) error {
	calls := 0
	return func(context.Context) error {
		if calls++; calls%2 == 0 {
			return errDown
		}
		return nil
	}
}

// TestMisdirected checks that an invocation of an unknown function is an error in
// the log, and is tried again. Only a wrong deployment sends it.
func TestMisdirected(t *testing.T) {
	for _, test := range []struct{ method, path, err string }{
		{http.MethodPost, "/NoSuchFunction", `there is no function "NoSuchFunction" in this handler`},
		{http.MethodPost, "/certificateadded", `there is no function "certificateadded"`},
		{http.MethodPost, "/CertificateAdded/", `there is no function "CertificateAdded/"`},
		{http.MethodPost, "//CertificateAdded", `there is no function "/CertificateAdded"`},
		{http.MethodPost, "/api/CertificateAdded", `there is no function "api/CertificateAdded"`},
		{http.MethodPost, "/a%00b%ff", `there is no function "a\x00b\xff"`},
		{http.MethodGet, "/favicon.ico", `there is no function "favicon.ico"`},
		{http.MethodGet, "/CertificateAdded", "method GET: the host invokes functions with POST"},
		{http.MethodPut, "/CertificateAdded", "method PUT"},
		{http.MethodPatch, "/CertificateAdded", "method PATCH"},
		{http.MethodDelete, "/CertificateAdded", "method DELETE"},
		{http.MethodOptions, "/CertificateAdded", "method OPTIONS"},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r := newRig(t, &fakeStore{}, host.Limits{})
			got := r.ask(t, test.method, test.path, strings.NewReader(envelope(added)))
			if got.status != 500 || !strings.Contains(got.err, test.err) {
				t.Errorf("status %d with the error %q, want 500 with %q", got.status, got.err, test.err)
			}
			if n := r.store.called(); n != 0 {
				t.Errorf("the store was called %d times", n)
			}
		})
	}
}

// TestBrokenRequest checks that an incomplete body is neither judged nor
// quarantined. The event comes again.
func TestBrokenRequest(t *testing.T) {
	r := newRig(t, &fakeStore{}, host.Limits{})
	body := io.MultiReader(strings.NewReader(envelope(added)[:300]), iotest.ErrReader(io.ErrUnexpectedEOF))
	got := r.ask(t, http.MethodPost, "/CertificateAdded", body)
	if got.status != 500 || !strings.Contains(got.err, "request body: unexpected EOF") {
		t.Errorf("status %d with the error %q, want 500 that says so", got.status, got.err)
	}
	if n := r.store.called(); n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

// TestAnswerIsLegible checks that an answer to a request is a failure if the host could not
// read it, which it would not say, and that nearly the same is an answer.
func TestAnswerIsLegible(t *testing.T) {
	const request = `{"request":{"Url":"https://contoso.example/api/Page","Method":"GET","Query":{},"Headers":{},"Params":{}}}`
	for no, yes := range map[string]string{
		"/Date(9223372036854775807)/":               "/Date(1) /",
		"/Date(-99999999999999999+0100)/":           " /Date(99999999999999999)/",
		"9999-12-31T24:00:00Z":                      "9999-12-31T23:59:59.9999999Z",
		"9999-12-31T24:00:00 is a midnight as well": "0001-01-01T00:00:00",
	} {
		for _, header := range []bool{false, true} {
			var text string
			page := host.Function{Name: "Page", Trigger: host.HTTP{Auth: "anonymous"}, Lane: "pages", Serve: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if header {
					w.Header().Set("X-Text", text)
				} else {
					_, _ = io.WriteString(w, text)
				}
			})}
			r := newRigOf(t, &fakeStore{}, host.Limits{}, page)
			text = no
			if got := r.post(t, "Page", `{"Data":`+request+`,"Metadata":{}}`); got.status != 500 || !strings.Contains(got.err, "taken for a time") {
				t.Errorf("%s, in a header %v: status %d with the error %q, want 500 that says so", no, header, got.status, got.err)
			}
			text = yes
			if got := r.post(t, "Page", `{"Data":`+request+`,"Metadata":{}}`); got.status != 200 || !strings.Contains(got.text, `"Outputs":{"response":{"statusCode":200,`) {
				t.Errorf("%s, in a header %v: status %d: %s", yes, header, got.status, got.text)
			}
		}
	}
}

// failedConnection is a record of a device that was refused.
func failedConnection(device string) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"operationName":"deviceConnect","category":"Connections","level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized","properties":{"deviceId":%q,"authType":"sas"}}`, device)
}
