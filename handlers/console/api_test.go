package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// document decodes an answer of the API.
func document[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var d T
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %v\n%.500s", w.Code, w.Header().Get("Content-Type"), err, w.Body)
	}
	return d
}

// TestAPIList turns the pages of a list.
func TestAPIList(t *testing.T) {
	s := few()
	h := open(s)
	var ids []string
	next := "/api/alerts?status=open&limit=4"
	for next != "" {
		w := get(t, h, next)
		for _, a := range document[[]export.Alert](t, w) {
			ids = append(ids, a.SystemAlertID)
		}
		link, ok := strings.CutSuffix(w.Header().Get("Link"), `>; rel="next"`)
		if next = strings.TrimPrefix(link, "<"); !ok {
			next = ""
		}
	}
	if len(ids) != len(s.alerts) || ids[0] != s.alerts[0].ID || ids[9] != s.alerts[9].ID {
		t.Errorf("the pages have %v", ids)
	}
	w := get(t, h, "/api/alerts?severity=low")
	for _, a := range document[[]export.Alert](t, w) {
		if a.Severity != alert.Low {
			t.Errorf("%s is %s", a.SystemAlertID, a.Severity)
		}
	}
	// The same again is not sent again.
	r := httptest.NewRequest(http.MethodGet, "/api/alerts?severity=low", nil)
	r.Header.Set("If-None-Match", w.Header().Get("ETag"))
	if again := send(t, h, r); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("the same again: %d, %d bytes", again.Code, again.Body.Len())
	}
	s.alerts[6].Status = alert.Resolved
	if again := send(t, h, r); again.Code != http.StatusOK {
		t.Errorf("another status: %d", again.Code)
	}
	if w := get(t, open(&store{}), "/api/alerts"); w.Body.String() != "[]\n" {
		t.Errorf("no alerts are %q", w.Body)
	}
}

// TestAPIChange changes an alert. Another occurrence is no conflict.
func TestAPIChange(t *testing.T) {
	s := few()
	h := open(s)
	a := &s.alerts[0]
	path := "/api/alerts/contoso-hub/2026-02-08/" + a.ID
	w := get(t, h, path)
	whole := document[export.Detailed](t, w)
	tag := w.Header().Get("ETag")
	if tag != `"0"` || len(whole.Evidence) != 1 || len(whole.Commands) == 0 || whole.Reference != a.Ref().String() {
		t.Errorf("ETag %s, %+v", tag, whole)
	}
	a.Occurrences++
	patch := func(match, kind, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPatch, path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		return send(t, h, r)
	}
	const resolved = `{"status": "resolved", "verdict": "Benign", "reason": "planned"}`
	for name, test := range map[string]struct {
		match, kind, body string
		status            int
	}{
		"nothing seen":    {"", "application/json", resolved, http.StatusPreconditionRequired},
		"any":             {"*", "application/json", resolved, http.StatusBadRequest},
		"a form":          {tag, "application/x-www-form-urlencoded", "status=resolved", http.StatusUnsupportedMediaType},
		"no type":         {tag, "", resolved, http.StatusUnsupportedMediaType},
		"a text":          {tag, "text/plain", resolved, http.StatusUnsupportedMediaType},
		"no JSON":         {tag, "application/json", "{", http.StatusBadRequest},
		"another member":  {tag, "application/json", `{"status": "resolved", "reason": "x", "severity": "Low"}`, http.StatusBadRequest},
		"no reason":       {tag, "application/json", `{"status": "resolved", "verdict": "Benign"}`, http.StatusBadRequest},
		"no such status":  {tag, "application/json", `{"status": "gone", "reason": "x"}`, http.StatusBadRequest},
		"what was before": {`"9"`, "application/json", resolved, http.StatusPreconditionFailed},
		"very long":       {tag, "application/json", `{"reason": "` + strings.Repeat("x", mostForm) + `"}`, http.StatusRequestEntityTooLarge},
	} {
		w := patch(test.match, test.kind, test.body)
		if w.Code != test.status || w.Header().Get("Content-Type") != "application/problem+json" || s.changes > 0 {
			t.Errorf("%s: %d, want %d; %s", name, w.Code, test.status, w.Body)
		}
	}
	w = patch(tag, "application/json; charset=utf-8", resolved)
	if changed := document[export.Alert](t, w); changed.Status != alert.Resolved || w.Header().Get("ETag") != `"1"` || s.history[a.ID][0].Via != "console" || a.Occurrences != 2 {
		t.Errorf("%+v, ETag %s", changed, w.Header().Get("ETag"))
	}
	if w := patch(tag, "application/json", resolved); w.Code != http.StatusPreconditionFailed || !strings.Contains(w.Body.String(), "bob@contoso.example") {
		t.Errorf("once more: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest(http.MethodPatch, path, strings.NewReader(resolved))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("If-Match", `"1"`)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := send(t, h, r); w.Code != http.StatusForbidden {
		t.Errorf("of another site: %d", w.Code)
	}
}

// TestAPINumbers asks for counts, hubs, suppressions and news.
func TestAPINumbers(t *testing.T) {
	s := few()
	s.suppressions = []alert.Suppression{{ID: "rule-1", Hub: "contoso-hub", Reason: "x", Owner: "y", Starts: now, Expires: now.AddDate(0, 0, 1)}}
	h := open(s)
	days := document[[]fleet.CountDocument](t, get(t, h, "/api/counts"))
	if len(days) != 1 || days[0].Day != "2026-02-08" || days[0].Alerts != 10 || *days[0].Open != 10 {
		t.Errorf("counts %+v", days)
	}
	if types := document[[]fleet.CountDocument](t, get(t, h, "/api/counts?by=type&status=open&since=2026-02-08")); len(types) != 10 {
		t.Errorf("%d types", len(types))
	}
	hubs := document[[]fleet.HubDocument](t, get(t, h, "/api/hubs"))
	if len(hubs) != 2 || hubs[0].HubName != "contoso-hub" || hubs[0].Open != 10 || hubs[1].LastConnection.IsZero() {
		t.Errorf("hubs %+v", hubs)
	}
	if list := document[[]export.Suppression](t, get(t, h, "/api/suppressions")); len(list) != 1 || list[0].ID != "rule-1" || list[0].State != "active" {
		t.Errorf("suppressions %+v", list)
	}
	if news := document[struct {
		Alerts int `json:"alerts"`
	}](t, get(t, h, "/api/news")); news.Alerts != 10 {
		t.Errorf("news %+v", news)
	}
}

// TestAPICoverage reads what is heard, and how each path is.
func TestAPICoverage(t *testing.T) {
	s := few()
	d := document[coverage.Document](t, get(t, open(s), "/api/coverage"))
	if len(d.Sources) != 4 || !d.Sources[2].LastEvent.IsZero() || len(d.Paths) != 4 || d.Paths[0].Path != coverage.Topic || d.Paths[0].State != coverage.Broken || d.Paths[1].State != coverage.Unproven {
		t.Errorf("%+v", d)
	}
}
