package table

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// quarantined returns the events in the quarantine whose ids begin with id.
func quarantined(t *testing.T, s *Quarantine, id string) []Held {
	t.Helper()
	var all []Held
	for held, err := range s.List(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, held)
	}
	return all
}

// TestQuarantinedComesBack checks that an event of any length can be read as it
// was quarantined, and that Delete removes all of its rows.
func TestQuarantinedComesBack(t *testing.T) {
	s := openQuarantine(t, emulator(t).ConnectionString())
	begin := time.Now().UTC().Truncate(time.Microsecond)
	for _, q := range []alert.Quarantined{
		{Function: "CertificateAdded", EventID: "event-1", Reason: "event: eventType: missing or empty", Body: []byte(`{"id":"event-1"}`), Size: 16},
		{Function: "CertificateAdded", Reason: "the request is no invocation", Body: []byte("not\xffJSON"), Size: 9},
		{Function: "CertificateAdded", Reason: "empty", Body: nil, Size: 0},
		{Function: "CertificateAdded", Reason: "just too long for a column", Body: []byte(strings.Repeat("x", maxText+1)), Size: maxText + 1},
		{Function: "CertificateAdded", Reason: "just one row more", Body: []byte(strings.Repeat("x", partColumn*partColumns)), Size: partColumn * partColumns},
		{Function: "CertificateAdded", Reason: "too large", Body: []byte(strings.Repeat(`"é\u0000`, 256<<10)), Size: 20 << 20},
		{Function: "Certificate/Added?", Reason: "secret", Body: []byte(`{"url":"https://contoso.example/?sig=abcdef"}`), Size: 45},
	} {
		if err := s.Quarantine(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		id := hash(q.Function, string(q.Body))
		if n := len(quarantined(t, s, "")); n != 1 {
			t.Errorf("%s: %d events, want one", q.Reason, n)
		}
		for _, beginning := range []string{id, id[:1], id[:31]} {
			if list := quarantined(t, s, beginning); len(list) != 1 || list[0].ID != id || list[0].Body != nil {
				t.Errorf("%s: %+v begin with %s, want %s", q.Reason, list, beginning, id)
			}
		}
		if list := quarantined(t, s, strings.Repeat("f", 32)); len(list) > 0 {
			t.Errorf("%s: %+v have an id that nothing has", q.Reason, list)
		}
		held, err := s.Whole(t.Context(), quarantined(t, s, id)[0])
		if err != nil {
			t.Fatal(err)
		}
		if held.Function != q.Function || held.EventID != q.EventID || held.Reason != q.Reason || held.Size != q.Size || held.BodySha256 != sha256Hex(q.Body) {
			t.Errorf("%s: comes back as %+v", q.Reason, held)
		}
		if got, want := string(held.Body), string(redactedBody(q.Body)); got != want {
			t.Errorf("%s: a body of %d bytes comes back as %d bytes: %.60q", q.Reason, len(want), len(got), got)
		}
		if held.QuarantinedAt.Before(begin) || !held.RedrivenAt.IsZero() || held.Outcome != "" {
			t.Errorf("%s: quarantined at %v, redriven at %v with %q", q.Reason, held.QuarantinedAt, held.RedrivenAt, held.Outcome)
		}

		if err := s.Redriven(t.Context(), held, "1 alert, ?sig=abcdef"); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), held); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: deleted although it has changed: %v", q.Reason, err)
		}
		if err := s.Redriven(t.Context(), held, "again"); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: marked although it has changed: %v", q.Reason, err)
		}
		if err := s.Quarantine(t.Context(), q); err != nil { // a redelivery
			t.Fatal(err)
		}
		again, err := s.Whole(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		if again.RedrivenAt.Before(begin) || again.Outcome != clean("1 alert, ?sig=abcdef") || string(again.Body) != string(held.Body) || again.Reason != held.Reason {
			t.Errorf("%s: marked, it is %+.300v", q.Reason, again)
		}

		if err := s.Delete(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if rows := dump(t, s.table); len(rows) > 0 {
			t.Errorf("%s: %d rows are left", q.Reason, len(rows))
		}
		for what, err := range map[string]error{
			"delete": s.Delete(t.Context(), again),
			"mark":   s.Redriven(t.Context(), again, ""),
			"read":   func() error { _, err := s.Whole(t.Context(), again); return err }(),
		} {
			if !errors.Is(err, ErrChanged) {
				t.Errorf("%s: %s after it was deleted: %v", q.Reason, what, err)
			}
		}
	}
}

// TestQuarantineFaults checks that a failed request gives an error in words, that
// no part of a body is returned as a whole body, and that an interrupted deletion
// leaves no head without its body.
func TestQuarantineFaults(t *testing.T) {
	long := alert.Quarantined{Function: "CertificateAdded", Reason: "long", Body: []byte(strings.Repeat("x", 2*partColumn*partColumns)), Size: 1}
	for method, use := range map[string]func(*Quarantine, Held) error{
		"list":   func(s *Quarantine, h Held) error { return errorOf(s.List(t.Context(), "")) },
		"read":   func(s *Quarantine, h Held) error { _, err := s.Whole(t.Context(), h); return err },
		"mark":   func(s *Quarantine, h Held) error { return s.Redriven(t.Context(), h, "") },
		"delete": func(s *Quarantine, h Held) error { return s.Delete(t.Context(), h) },
	} {
		for _, part := range []string{"", "%7C00", "%7C01"} {
			t.Run(method+part, func(t *testing.T) {
				t.Parallel()
				if part != "" && (method == "list" || method == "mark") {
					return // touches the head alone
				}
				clean := openQuarantine(t, emulator(t).ConnectionString())
				if err := clean.Quarantine(t.Context(), long); err != nil {
					t.Fatal(err)
				}
				held, err := clean.Whole(t.Context(), quarantined(t, clean, "")[0])
				if err != nil {
					t.Fatal(err)
				}
				connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
					if strings.Contains(r.URL.RequestURI(), part) {
						return azurite.Drop
					}
					return azurite.Pass
				})
				if err := use(account(t, connection).Quarantine(clean.table.name), held); err == nil || !strings.HasPrefix(err.Error(), `table "`+clean.table.name) {
					t.Errorf("error %v, want one that names the table", err)
				}
				for _, left := range quarantined(t, clean, "") {
					if got, err := clean.Whole(t.Context(), left); err != nil || len(got.Body) != len(long.Body) {
						t.Errorf("a head without its body is left: %d bytes, error %v", len(got.Body), err)
					}
				}
			})
		}
	}
}
