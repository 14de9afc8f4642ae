package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// TestSet changes an alert on its page.
func TestSet(t *testing.T) {
	s := few()
	h := open(s)
	a := &s.alerts[0]
	path := "/alerts/contoso-hub/2026-02-08/" + a.ID
	page := pageAt(t, h, path)
	holds(t, page, `action="`+path+`"`, `name="seen" value="0"`, `value="in-progress"`, `value="resolved"`, `value="dismissed"`, `value="note"`)
	if strings.Contains(page, `type="radio" name="status" value="active"`) {
		t.Error("an active alert can be made active")
	}
	w := post(t, h, path, url.Values{"status": {"resolved"}, "verdict": {"TruePositive"}, "reason": {"deleted,\r\nand alice has a new password"}, "seen": {"0"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != path+"#timeline" {
		t.Fatalf("%d, %s: %s", w.Code, w.Header().Get("Location"), visible(w.Body.String()))
	}
	want := alert.History{Number: 1, Time: now, From: alert.Active, To: alert.Resolved, Verdict: alert.TruePositive, Reason: "deleted,\nand alice has a new password", By: bob, Via: "console"}
	if have := s.history[a.ID]; len(have) != 1 || have[0] != want {
		t.Errorf("the history is %+v, want %+v", have, want)
	}
	holds(t, visible(pageAt(t, h, path)), "Resolved", "bob@contoso.example: Active to Resolved, TruePositive", "and alice has a new password")

	// A note, as the alert is now.
	if w := post(t, h, path, url.Values{"status": {"note"}, "reason": {"told the team"}, "seen": {"1"}}); w.Code != http.StatusSeeOther || a.Status != alert.Resolved || a.Changes != 2 {
		t.Errorf("%d, %s, %d changes", w.Code, a.Status, a.Changes)
	}

	// Somebody else was faster. The form keeps what was typed.
	before := *a
	w = post(t, h, path, url.Values{"status": {"active"}, "reason": {"it was <not> planned"}, "seen": {"1"}})
	if w.Code != http.StatusConflict || !cmp.Equal(*a, before) {
		t.Errorf("%d, and the alert is %+v", w.Code, *a)
	}
	holds(t, visible(w.Body.String()), "bob@contoso.example", "at 2026-02-08T12:00:00Z", "told the team", "Your change was not saved.")
	holds(t, w.Body.String(), `value="2"`, `value="active" checked`, "it was &lt;not&gt; planned</textarea>")

	for name, form := range map[string]url.Values{
		"not allowed":       {"status": {"dismissed"}, "verdict": {"Benign"}, "reason": {"x"}, "seen": {"2"}},
		"no reason":         {"status": {"active"}, "reason": {" "}, "seen": {"2"}},
		"long reason":       {"status": {"active"}, "reason": {strings.Repeat("x", 1001)}, "seen": {"2"}},
		"no status":         {"status": {"gone"}, "reason": {"x"}, "seen": {"2"}},
		"no verdict":        {"status": {"active"}, "verdict": {"Bad"}, "reason": {"x"}, "seen": {"2"}},
		"nothing seen":      {"status": {"active"}, "reason": {"x"}},
		"seen is no number": {"status": {"active"}, "reason": {"x"}, "seen": {"two"}},
		"seen is negative":  {"status": {"active"}, "reason": {"x"}, "seen": {"-1"}},
	} {
		w := post(t, h, path, form)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusConflict || !cmp.Equal(*a, before) {
			t.Errorf("%s: %d, and the alert is %+v", name, w.Code, *a)
		}
		holds(t, visible(w.Body.String()), "Your change was not saved.")
	}
	if w := post(t, h, path, url.Values{"reason": {strings.Repeat("x", mostForm)}}); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of %d bytes: %d", mostForm, w.Code)
	}
}

// TestOthersRequests sends what another site could make a browser send.
func TestOthersRequests(t *testing.T) {
	s := few()
	h := open(s)
	path := "/alerts/contoso-hub/2026-02-08/" + s.alerts[0].ID
	form := url.Values{"status": {"resolved"}, "verdict": {"Benign"}, "reason": {"x"}, "seen": {"0"}, "ref": {s.alerts[0].Ref().String() + "@0"},
		"at": {now.Format(time.RFC3339)}, "hub": {"contoso-hub"}, "owner": {"x"}, "days": {"7"}}
	s.suppressions = []alert.Suppression{{ID: "rule-1"}}
	for _, headers := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none-such"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
		{"Origin": "http://example.com:81"},
	} {
		for _, address := range []string{path, "/alerts", "/alerts/all?status=open", "/suppressions", "/suppressions/rule-1/remove"} {
			r := httptest.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for name, value := range headers {
				r.Header.Set(name, value)
			}
			if w := send(t, h, r); w.Code != http.StatusForbidden {
				t.Errorf("%s with %v: %d", address, headers, w.Code)
			}
		}
	}
	// A link and a picture can make a GET, so a GET changes nothing.
	for _, address := range []string{path, "/alerts", "/alerts/all", "/suppressions", "/suppressions/rule-1/remove", "/api" + path} {
		get(t, h, address+"?"+form.Encode())
	}
	if s.changes > 0 || len(s.suppressions) != 1 || !s.suppressions[0].Ended.IsZero() {
		t.Errorf("%d changes, %+v", s.changes, s.suppressions)
	}
}

// TestSetMany changes several alerts of a list.
func TestSetMany(t *testing.T) {
	s := few()
	h := open(s)
	ref := func(i int) string { return s.alerts[i].Ref().String() }
	holds(t, pageAt(t, h, "/alerts?status=open"), `<input type="checkbox" name="ref" value="`+ref(0)+`@0"`)
	form := url.Values{"ref": {ref(0) + "@0", ref(1) + "@0"}, "status": {"dismissed"}, "verdict": {"Benign"}, "reason": {"a test bench"}}
	w := post(t, h, "/alerts?status=open", form)
	if w.Code != http.StatusOK || s.changes != 2 {
		t.Fatalf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "2 alerts changed.", ref(0)+" now Dismissed", ref(1)+" now Dismissed")
	if strings.Contains(w.Body.String(), ref(0)+"@") {
		t.Error("the list still has an alert that is closed now")
	}

	// One was changed meanwhile, one is gone, one is no alert, one can be changed.
	s.before = func(alert.Ref) { s.alerts[2].Changes = 7 }
	form["ref"] = []string{ref(2) + "@0", "contoso-hub/2026-02-08/00000000-0000-8000-8000-00000000ffff@0", "x@0", ref(3) + "@0"}
	w = post(t, h, "/alerts", form)
	if w.Code != http.StatusConflict || s.changes != 3 {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "1 of 4 alerts changed.", ref(2)+" ", "nothing was saved", "There is no such alert.", "This is no alert.", ref(3)+" now Dismissed")

	for name, form := range map[string]url.Values{
		"nothing chosen": {"status": {"active"}, "reason": {"x"}},
		"no reason":      {"ref": {ref(4) + "@0"}, "status": {"resolved"}, "verdict": {"Benign"}},
		"too many":       {"ref": make([]string, 101), "status": {"resolved"}, "reason": {"x"}},
	} {
		if w := post(t, h, "/alerts", form); w.Code != http.StatusBadRequest || s.changes != 3 {
			t.Errorf("%s: %d, %d changes", name, w.Code, s.changes)
		} else {
			holds(t, visible(w.Body.String()), "Nothing was changed.")
		}
	}
}

// TestSuppressions makes a suppression on the pages, and removes it.
func TestSuppressions(t *testing.T) {
	s := few()
	h := open(s)
	path := "/alerts/contoso-hub/2026-02-08/" + s.alerts[0].ID
	_, rest, _ := strings.Cut(pageAt(t, h, path), `class="aside" href="`)
	href, _, _ := strings.Cut(rest, `"`)
	page := pageAt(t, h, strings.ReplaceAll(href, "&amp;", "&"))
	holds(t, visible(page), "It would have hidden 1 of 1 alerts in 30 days", s.alerts[0].DisplayName, "root-ca-1")

	// All of a type is no suppression. A hub is one.
	page = pageAt(t, h, "/suppressions/new?type=CertificateAdded")
	if strings.Contains(page, "It would have hidden") {
		t.Error("a type alone has a preview")
	}
	holds(t, visible(page), "a suppression never hides all alerts of a type")
	holds(t, visible(pageAt(t, h, "/suppressions/new?hub=contoso-hub")), "It would have hidden 10 of 10 alerts")
	holds(t, visible(pageAt(t, h, "/suppressions/new?hub=other-hub")), "It would have hidden 0 of 0 alerts", "None of them.")

	form := url.Values{"hub": {"contoso-hub"}, "entity": {"root-*"}, "entity-type": {"Certificate"}, "address": {"203.0.113.0/24"}, "reason": {"rotation every night"}, "owner": {"team-pki"}, "days": {"30"}}
	w := post(t, h, "/suppressions", form)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/suppressions?added=rule-1" {
		t.Fatalf("%d, %s: %s", w.Code, w.Header().Get("Location"), visible(w.Body.String()))
	}
	rule := s.suppressions[0]
	if rule.CreatedBy != bob || !rule.Starts.Equal(now) || !rule.Expires.Equal(now.AddDate(0, 0, 30)) || rule.Check() != nil || rule.Entity != "root-*" {
		t.Errorf("the suppression is %+v", rule)
	}
	s.alerts[0].SuppressedBy, s.alerts[1].SuppressedBy = "rule-1", "rule-2"
	s.broken = []error{alert.ErrNoSuppression}
	holds(t, visible(pageAt(t, h, "/suppressions?added=rule-1")), "The suppression was added.", "They hide nothing.", "root-*", "rotation every night", "Owner team-pki", "expires in 30 days", "1 hidden in 30 days", "added by bob@contoso.example")

	for name, change := range map[string][2]string{
		"no reason": {"reason", ""}, "no owner": {"owner", " "}, "no such length": {"days", "1000"}, "no end": {"days", "0"}, "no such type": {"type", "Nothing"},
		"no such kind": {"entity-type", "Thing"}, "no address": {"address", "contoso"}, "everything": {"entity", "*"}, "hidden": {"actor", "a\u202eb"},
	} {
		wrong := url.Values{}
		for key, values := range form {
			wrong[key] = values
		}
		wrong[change[0]] = []string{change[1]}
		if w := post(t, h, "/suppressions", wrong); w.Code != http.StatusBadRequest || len(s.suppressions) != 1 {
			t.Errorf("%s: %d, %d suppressions", name, w.Code, len(s.suppressions))
		} else if !strings.Contains(w.Body.String(), `class="problem" role="alert"`) {
			t.Errorf("%s: the page does not say what is wrong", name)
		}
	}

	if w := post(t, h, "/suppressions/rule-1/remove", nil); w.Code != http.StatusSeeOther || s.suppressions[0].EndedBy != bob {
		t.Errorf("%d, %+v", w.Code, s.suppressions[0])
	}
	holds(t, visible(pageAt(t, h, "/suppressions")), "Nothing is suppressed.", "1 that are over", "removed by bob@contoso.example")
	if w := post(t, h, "/suppressions/rule-9/remove", nil); w.Code != http.StatusNotFound {
		t.Errorf("a suppression that is not there: %d", w.Code)
	}
}
