package host_test

import (
	"context"
	"os"
	"testing"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
)

// FuzzInvocation posts anything to any detector. Whatever comes, the answer is
// 200 or 500 with a JSON object, and 200 only if each event that came is
// accounted for: stored as an alert, quarantined, or not for this function.
func FuzzInvocation(f *testing.F) {
	for _, test := range golden {
		if test.file != "01_ping.http" {
			for i := range detector.All {
				f.Add(byte(i), goldenBody(f, test.file))
			}
		}
	}
	failed := relay.Relay([][]byte{[]byte(`{"records":[` + failedConnection("pump-01") + `]}`)}).Events[0]
	for i := range detector.All {
		f.Add(byte(i), []byte(envelope(string(failed))))
	}
	for i, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil || len(list) == 0 {
			f.Fatalf("%s has no cases: %v", d.Name, err)
		}
		for _, c := range list {
			f.Add(byte(i), []byte(envelope(string(c.Event))))
		}
	}
	for i, body := range []string{
		"", "null", "[]", "{}", envelope("null"), envelope("[]"), envelope("{}"), envelope(`"\"plain text\""`), envelope(`""`),
		envelope(added), envelope(jsonString("[" + added + ",7," + added + "]")), envelope(edit(added, "root-ca", "\xff")), envelope(edit(added, "root-ca", `\ud800`)),
		envelope(edit(added, `"id":`, `"id":"a","id":`)), envelope(`[[[[[[[[]]]]]]]]`), `{"Data":{"a":` + added + `,"b":1}}`,
	} {
		f.Add(byte(i), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		d := detector.All[int(which)%len(detector.All)]
		store, ran := &fakeStore{}, false
		detect := judgeOf(store).Detect(d)
		r := newRigOf(t, store, host.Limits{Body: 1 << 20}, function(d.Name, func(ctx context.Context, in host.Invocation) (host.Outcome, error) {
			ran = true
			out, err := detect(ctx, in)
			if err != nil {
				t.Errorf("with a store that takes everything the function has the error %v", err)
			}
			// Each of these detectors sees one thing in an event, or nothing in one
			// that is not for it. An event in which it sees something may be quarantined
			// as well.
			if out.Findings+out.Unmatched > out.Events || out.Quarantined+out.Unmatched > out.Events {
				t.Errorf("%d findings, %d quarantined and %d unmatched of %d events", out.Findings, out.Quarantined, out.Unmatched, out.Events)
			}
			if lost := out.Events - out.Findings - out.Quarantined - out.Unmatched; lost > 0 && !mayStaySilent(d) {
				t.Errorf("%d of %d events are not accounted for", lost, out.Events)
			}
			if len(store.put) != out.Findings || len(store.kept) != out.Quarantined {
				t.Errorf("%d findings and %d quarantined, and the store has %d and %d", out.Findings, out.Quarantined, len(store.put), len(store.kept))
			}
			return out, err
		}))
		got := r.post(t, d.Name, string(body))
		if got.status != 200 {
			t.Errorf("status %d with a store that takes everything: %s", got.status, got.err)
		}
		if !ran && len(r.store.kept) != 1 {
			t.Errorf("no function ran and %d are quarantined, want one", len(r.store.kept))
		}
		for _, q := range r.store.kept {
			if q.Function != d.Name || q.Reason == "" {
				t.Errorf("quarantined without a function or a reason: %+v", q)
			}
		}
		for _, a := range r.store.put {
			if a.ID == "" || a.Event.ID == "" || a.Hub.Name == "" || a.Entity.Name == "" || a.Severity != d.Severity || a.Event.Time.IsZero() {
				t.Errorf("an alert without an id, an event, a hub or an entity: %+v", a)
			}
		}

		// A store that takes nothing makes it 500, unless there is nothing to take.
		down := newRig(t, &fakeStore{onPut: failWith(errDown), onQuarantine: failWith(errDown)}, host.Limits{Body: 1 << 20}, d)
		want := 200
		if len(r.store.put)+len(r.store.kept) > 0 {
			want = 500
		}
		if got := down.post(t, d.Name, string(body)); got.status != want {
			t.Errorf("status %d with a store that takes nothing, want %d", got.status, want)
		}
	})
}

// mayStaySilent reports whether a detector may find nothing in an event that is
// for it: each failed connection goes to every detector of connections.
func mayStaySilent(d detector.Detector) bool {
	return len(d.On.Operations) == 0
}
