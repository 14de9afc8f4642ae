package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/host"
	"hubwatch/handlers/secret"
)

// marker stands for what a payload may hold and no log may.
const marker = "MARKER-7f3c9a51"

// withMarker is added with a payload that has the marker everywhere a payload
// can have it and be read nevertheless.
var withMarker = edit(added, `"data":{`, `"data":{"status":"`+marker+`","claims":{"name":"`+marker+`","x":["`+marker+`"]},"authorization":{"action":"`+marker+`"},`+
	`"httpRequest":{"clientIpAddress":"`+marker+`","url":"https://example.com/`+marker+`"},"correlationId":"`+marker+`","more":{"`+marker+`":1},`)

// TestLogLine checks what a person sees of an invocation.
func TestLogLine(t *testing.T) {
	for _, test := range []struct {
		name  string
		body  string
		store *fakeStore
		want  map[string]any // nil for what is not to be there
		notes string         // a part
		text  string         // a part of the answer
	}{
		{
			name: "alert", body: envelope(withMarker), store: &fakeStore{},
			want:  map[string]any{"level": "INFO", "eventId": "event-1", "findings": 1.0, "events": nil, "quarantined": nil, "unmatched": nil, "error": nil},
			notes: "Medium alert ", text: "New certificate added to an IoT Hub",
		},
		{
			name: "not for this function", body: envelope(edit(withMarker, "WriteSuccess", "WriteFailure")), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "eventId": "event-1", "findings": 0.0, "unmatched": 1.0, "quarantined": 0.0, "error": nil},
			notes: "event event-1 of type Microsoft.Resources.ResourceWriteFailure is not for this function: the deployed filter and the code differ",
			text:  "is not for this function",
		},
		{
			name: "quarantined", body: envelope(edit(withMarker, certificateID, "/subscriptions/x")), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "eventId": "event-1", "findings": 0.0, "unmatched": 1.0, "quarantined": 0.0},
			notes: "is not for this function",
		},
		{
			name: "without a time", body: envelope(edit(withMarker, `"eventTime"`, `"at"`)), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "eventId": "event-1", "findings": 0.0, "unmatched": 0.0, "quarantined": 1.0, "error": nil},
			notes: "quarantined: event: eventTime: missing or empty", text: "quarantined: event: eventTime: missing or empty",
		},
		{
			name: "a request that is cut off", body: envelope(withMarker)[:700], store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "eventId": "", "findings": 0.0, "unmatched": 0.0, "quarantined": 1.0, "error": nil},
			notes: "quarantined: the request is not an invocation",
		},
		{
			name: "a text that is not an event", body: envelope(jsonString(marker)), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "quarantined": 1.0},
			notes: "quarantined: binding event",
		},
		{
			name: "payload of a wrong kind", body: envelope(edit(added, `"data":{`, `"data":"`+marker+`","payload":{`)), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "quarantined": 1.0},
			notes: "quarantined: event: data: ",
		},
		{
			name: "operation of a wrong kind", body: envelope(edit(added, `"operationName":`, `"operationName":["`+marker+`"],"operation":`)), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "quarantined": 1.0},
			notes: "quarantined: event: data: ",
		},
		{
			name: "operation twice", body: envelope(edit(withMarker, `"operationName":`, `"operationName":"`+marker+`","operationName":`)), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "quarantined": 1.0},
			notes: `duplicate object member name "operationName"`,
		},
		{
			name: "batch", body: envelope("[" + withMarker + "," + withMarker + ",{}]"), store: &fakeStore{},
			want:  map[string]any{"level": "WARN", "eventId": "event-1", "findings": 2.0, "events": 3.0, "quarantined": 1.0, "unmatched": 0.0},
			notes: "; quarantined: event: eventType: missing or empty",
		},
		{
			name: "store down", body: envelope(withMarker), store: &fakeStore{onPut: failWith(errDown)},
			want: map[string]any{"level": "ERROR", "eventId": "event-1", "findings": 0.0, "error": "table is down", "notes": nil},
			text: `{"Error":"table is down"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, test.store, host.Limits{})
			got := r.post(t, "CertificateAdded", test.body)
			if got.line["function"] != "CertificateAdded" || got.line["msg"] != "invocation" {
				t.Errorf("the log line is of %v, function %v", got.line["msg"], got.line["function"])
			}
			for name, want := range test.want {
				if got.line[name] != want {
					t.Errorf("%s is %v, want %v: %s", name, got.line[name], want, got.raw)
				}
			}
			if notes, _ := got.line["notes"].(string); !strings.Contains(notes, test.notes) {
				t.Errorf("notes %q, want %q in them", notes, test.notes)
			}
			if !strings.Contains(got.text, test.text) {
				t.Errorf("the answer is %s, want %q in it", got.text, test.text)
			}
			for place, text := range map[string]string{"log": got.raw, "answer": got.text} {
				if strings.Contains(text, marker) {
					t.Errorf("the %s has a part of the payload: %s", place, text)
				}
			}
		})
	}
}

// TestSecretsStayInside plants credentials wherever a foreign string can reach a
// log line or an answer.
func TestSecretsStayInside(t *testing.T) {
	secrets := map[string]string{
		"signature":         "https://contoso.example/x?sv=2024&sig=U0VDUkVULXNpZ25hdHVyZQ%3D%3D&se=1",
		"token":             "SharedAccessSignature sr=contoso-hub.example&sig=U0VDUkVULXNpZ25hdHVyZQ%3d%3d&se=1",
		"bearer":            "Authorization: Bearer U0VDUkVULXNpZ25hdHVyZQ",
		"web token":         "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.U0VDUkVULXNpZ25hdHVyZQ",
		"connection string": "AccountName=contoso;AccountKey=U0VDUkVULXNpZ25hdHVyZQ==;X=1",
	}
	const secret = "U0VDUkVULXNpZ25hdHVyZQ"
	in := func(pairs ...string) func(string) string {
		return func(text string) string {
			filled := make([]string, len(pairs))
			for i, s := range pairs {
				filled[i] = strings.ReplaceAll(s, "SECRET", text)
			}
			return edit(added, filled...)
		}
	}
	events := map[string]func(text string) string{
		"event id":               in("event-1", "SECRET"),
		"id of a quarantined":    in("event-1", "SECRET", `"eventTime"`, `"at"`),
		"type":                   in("Microsoft.Resources.ResourceWriteSuccess", "SECRET"),
		"subject":                in(`"subject":"`, `"subject":"SECRET`),
		"certificate":            in("/certificates/root-ca", "/certificates/SECRET"),
		"subject of no resource": in(certificateID, "/providers/Microsoft.Devices/IotHubs/SECRET"),
		"time":                   in("2026-02-01T08:00:00Z", "SECRET"),
		"operation":              in("Microsoft.Devices/IotHubs/certificates/write", "SECRET"),
		"name of a member":       in(`"data":{`, `"data":{"SECRET":1,"SECRET":2,`),
		"binding":                jsonString,
	}
	errs := map[string]func(text string) error{
		"error":      func(text string) error { return errors.New("put " + text + ": 503") },
		"long error": func(text string) error { return errors.New(strings.Repeat("x ", 2000-len(text)/2) + text) }, // the cut falls into it
		"rejection":  func(text string) error { return fmt.Errorf("put %s: %w", text, errRejected) },
	}
	check := func(t *testing.T, got reply) {
		t.Helper()
		for where, s := range map[string]string{"log": got.raw, "answer": got.text} {
			if strings.Contains(s, secret[:12]) {
				t.Errorf("the %s has the secret: %s", where, s)
			}
		}
	}
	for kind, text := range secrets {
		for place, event := range events {
			t.Run(kind+" in the "+place, func(t *testing.T) {
				check(t, newRig(t, &fakeStore{}, host.Limits{}).post(t, "CertificateAdded", envelope(event(text))))
			})
		}
		for place, err := range errs {
			t.Run(kind+" in the "+place+" of the store", func(t *testing.T) {
				r := newRig(t, &fakeStore{onPut: failWith(err(text))}, host.Limits{})
				got := r.post(t, "CertificateAdded", envelope(added))
				check(t, got)
				if got.err == "" && len(r.store.kept) == 0 {
					t.Errorf("the store was not asked: %s", got.text)
				}
			})
		}
		t.Run(kind+" in the function", func(t *testing.T) {
			check(t, newRig(t, &fakeStore{}, host.Limits{}).post(t, url.PathEscape(text), envelope(added)))
		})
	}
}

// TestLongStringsAreCut checks that nobody can fill the log with one event.
func TestLongStringsAreCut(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	r := newRig(t, &fakeStore{onPut: failWith(errors.New(long))}, host.Limits{})
	for name, event := range map[string]string{
		"error": added,
		"id":    edit(added, "event-1", long),
		"type":  edit(added, "Microsoft.Resources.ResourceWriteSuccess", long),
		"time":  edit(added, "2026-02-01T08:00:00Z", long),
	} {
		if got := r.post(t, "CertificateAdded", envelope(event)); len(got.raw) > 20_000 || len(got.text) > 10_000 {
			t.Errorf("%s: a log line of %d bytes and an answer of %d", name, len(got.raw), len(got.text))
		}
	}
}

// TestLogIsVisible checks that a log line has no hidden characters, and no credential,
// however long the text is.
func TestLogIsVisible(t *testing.T) {
	var b bytes.Buffer
	host.NewLogger(&b).Info("event", "id", "a\u202eb\x1b[2J\u200b", "reason", strings.Repeat("x", 3_990)+" sig=PLACEHOLDERSIGNATURE")
	if line := b.String(); strings.ContainsFunc(strings.TrimSpace(line), secret.Hidden) || !strings.Contains(line, `a\\u202eb\\u001b[2J\\u200b`) {
		t.Errorf("the line has hidden characters: %+q", line)
	}
	if strings.Contains(b.String(), "PLACE") {
		t.Error("a part of a signature is in the line")
	}
}

// TestNotesAreBounded checks that neither the number nor the length of what an
// outcome says makes an answer or a log line long.
func TestNotesAreBounded(t *testing.T) {
	r := newRigOf(t, &fakeStore{}, host.Limits{}, function("Any", func(context.Context, host.Invocation) (host.Outcome, error) {
		return host.Outcome{Events: 1, EventID: strings.Repeat("e", 1<<20), Notes: slices.Repeat([]string{strings.Repeat("n", 1<<20)}, 100)}, nil
	}))
	got := r.post(t, "Any", envelope("{}"))
	if len(got.logs) != 65 || got.logs[64] != "and 36 more" {
		t.Errorf("the answer has %d logs, the last %.100q; want 64 and how many are left out", len(got.logs), got.logs[len(got.logs)-1])
	}
	if len(got.text) > 300_000 || len(got.raw) > 20_000 {
		t.Errorf("an answer of %d bytes and a log line of %d", len(got.text), len(got.raw))
	}
}
