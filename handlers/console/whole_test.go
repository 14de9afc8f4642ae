package console

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
)

// dismissal is a form that dismisses alerts.
var dismissal = url.Values{"status": {"dismissed"}, "verdict": {"Benign"}, "reason": {"old <firmware>"}}

// passedOn returns the hidden fields of a page, and where its form goes to.
func passedOn(t testing.TB, page string) (action string, form url.Values) {
	t.Helper()
	form = url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		form.Add(m[1], html.UnescapeString(m[2]))
	}
	m := regexp.MustCompile(`<form method="post" action="([^"]*)"`).FindStringSubmatch(page)
	if m == nil || form.Get("at") == "" {
		t.Fatalf("the page has no form for the next step:\n%.3000s", visible(page))
	}
	return html.UnescapeString(m[1]), form
}

// goOn posts the form of a page until a page has none.
func goOn(t testing.TB, h http.Handler, w *httptest.ResponseRecorder) (last *httptest.ResponseRecorder, steps int) {
	t.Helper()
	for strings.Contains(w.Body.String(), `name="at"`) {
		action, form := passedOn(t, w.Body.String())
		if steps++; steps > 1000 {
			t.Fatal("the change does not come to an end")
		}
		w = post(t, h, action, form)
	}
	return w, steps
}

// TestWhole changes all alerts of a filter: the page says what would become of them, and
// changes them only then.
func TestWhole(t *testing.T) {
	s := few()
	s.alerts[0].Status = alert.InProgress
	s.alerts[1].Status, s.alerts[1].Changes = alert.Resolved, 1
	s.alerts[2].Hub.Name = "other-hub"
	h := open(s)
	list := pageAt(t, h, "/alerts?hub=contoso-hub")
	holds(t, list, `<form method="post" action="/alerts?hub=contoso-hub&amp;page=1">`, `<button class="plain" formaction="/alerts/all?hub=contoso-hub">All 9 that match…</button>`)

	w := post(t, h, "/alerts/all?hub=contoso-hub", dismissal)
	if w.Code != http.StatusOK || s.changes > 0 {
		t.Fatalf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "8 alerts would become Dismissed, benign", "alerts of the hub contoso-hub", "Nothing is changed yet.",
		"7 from Active to Dismissed, benign", "1 from InProgress to Dismissed, benign", "old &lt;firmware&gt;", "Change 8 alerts", s.alerts[0].DisplayName,
		"alerts set --hub=contoso-hub --status=dismissed --verdict=benign --reason=&#39;old &lt;firmware&gt;&#39; --dry-run")
	if strings.Contains(w.Body.String(), "other-hub") || strings.Contains(w.Body.String(), "There was no time") {
		t.Error("the page is about an alert of another hub, or not about all")
	}
	// What the form of one alert has seen is nothing here.
	seen := url.Values{"seen": {"7"}}
	for key, values := range dismissal {
		seen[key] = values
	}
	holds(t, visible(post(t, h, "/alerts/all?hub=contoso-hub", seen).Body.String()), "8 alerts would become Dismissed, benign")
	w, steps := goOn(t, h, w)
	if w.Code != http.StatusOK || steps != 1 || s.changes != 8 || s.alerts[2].Status != alert.Active || s.alerts[1].Status != alert.Resolved {
		t.Errorf("%d after %d steps, %d changes", w.Code, steps, s.changes)
	}
	holds(t, visible(w.Body.String()), "8 alerts changed", "8 changed")
	if entry := s.history[s.alerts[0].ID][0]; entry.By != bob || entry.Via != via || entry.Reason != "old <firmware>" || entry.Verdict != alert.Benign {
		t.Errorf("the history has %+v", entry)
	}

	// A status of the filter stands, also if it cannot become the new one. That is refused.
	w = post(t, h, "/alerts/all?hub=contoso-hub&status=closed,active", url.Values{"status": {"resolved"}, "reason": {"x"}})
	holds(t, visible(w.Body.String()), "No alert would become Resolved", "1 already Resolved", "8 refused, from Dismissed to Resolved: want Active first", "Back to the list",
		"--having=&#39;closed,active&#39; --status=resolved")
	if strings.Contains(w.Body.String(), `name="at"`) {
		t.Error("a change of nothing is offered")
	}
	w = post(t, h, "/alerts/all?status=closed,active", url.Values{"status": {"in-progress"}, "reason": {"x"}})
	holds(t, visible(w.Body.String()), "1 alert would become In progress", "1 from Active to In progress", "8 refused", "1 refused, from Resolved to InProgress: want Active first")
	if w, _ = goOn(t, h, w); w.Code != http.StatusConflict || s.changes != 9 {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "1 alert changed", "1 changed", "9 refused", "From Dismissed to InProgress: want Active first.")

	// A verdict alone changes alerts of any status.
	w = post(t, h, "/alerts/all?hub=contoso-hub", url.Values{"status": {"note"}, "verdict": {"FalsePositive"}, "reason": {"x"}})
	holds(t, visible(w.Body.String()), "9 alerts would become false-positive")
	if w, _ = goOn(t, h, w); w.Code != http.StatusOK || s.changes != 18 {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	w = post(t, h, "/alerts/all?hub=contoso-hub", url.Values{"verdict": {"FalsePositive"}, "reason": {"x"}})
	holds(t, visible(w.Body.String()), "No alert would become false-positive", "9 already false-positive")
}

// TestWholeIsRefused sends forms that change nothing.
func TestWholeIsRefused(t *testing.T) {
	s := few()
	h := open(s)
	for name, test := range map[string]struct{ address, field, value, want string }{
		"no filter":            {"/alerts/all", "", "", "Say first which alerts"},
		"no filter but a page": {"/alerts/all?page=2&rows=all", "", "", "Say first which alerts"},
		"no reason":            {"/alerts/all?status=open", "reason", " ", "Want a reason"},
		"a note":               {"/alerts/all?status=open", "status", "note", "Want a status or a verdict"},
		"no such status":       {"/alerts/all?status=open", "status", "gone", "Status: want one of"},
		"no such filter":       {"/alerts/all?severity=awful", "", "", "severity"},
	} {
		form := url.Values{"at": {now.Format(time.RFC3339Nano)}, "n": {"10"}}
		for key, values := range dismissal {
			form[key] = values
		}
		if test.field != "" {
			form.Set(test.field, test.value)
		}
		if name == "a note" {
			form.Del("verdict")
		}
		w := post(t, h, test.address, form)
		if w.Code != http.StatusBadRequest || s.changes > 0 || !strings.Contains(visible(w.Body.String()), test.want) {
			t.Errorf("%s: %d, %d changes: %s", name, w.Code, s.changes, visible(w.Body.String()))
		}
	}
	for field, value := range map[string]string{"at": "yesterday", "back": "x", "after": "x", "changed": "-1", "n": "many"} {
		form := url.Values{"at": {now.Format(time.RFC3339Nano)}, field: {value}}
		for key, values := range dismissal {
			form[key] = values
		}
		if w := post(t, h, "/alerts/all?status=open", form); w.Code != http.StatusBadRequest || s.changes > 0 {
			t.Errorf("%s %q: %d, %d changes", field, value, w.Code, s.changes)
		}
	}
	if w := get(t, h, "/alerts/all?status=open&since=7d"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/alerts?since=7d&status=open" {
		t.Errorf("a GET: %d, %s", w.Code, w.Header().Get("Location"))
	}
	if strings.Contains(pageAt(t, h, "/alerts"), "that match…") {
		t.Error("the list of all there are offers to change all of them")
	}
}

// TestWholeMeanwhile has others at work while many alerts are changed.
func TestWholeMeanwhile(t *testing.T) {
	s := few()
	h := open(s)
	w := post(t, h, "/alerts/all?status=open", dismissal)
	holds(t, visible(w.Body.String()), "10 alerts would become Dismissed")

	// One is raised, one gets another occurrence, one is changed, two are gone, and one was
	// dismissed by somebody else.
	s.alerts[1].Occurrences, s.alerts[1].End = 2, now.Add(time.Minute)
	other := &s.alerts[2]
	other.Status, other.StatusBy, other.StatusReason, other.StatusTime, other.Changes = alert.InProgress, alert.Person{Name: "carol@contoso.example"}, "I look", now.Add(time.Minute), 1
	s.alerts[3].Status, s.alerts[3].Verdict, s.alerts[3].StatusTime, s.alerts[3].Changes = alert.Dismissed, alert.Benign, now.Add(time.Minute), 1
	raisedLater := raised(11, 0, "contoso-hub", now.Add(-time.Hour))
	raisedLater.Generated = now.Add(time.Second)
	s.alerts = append(s.alerts, raisedLater)
	gone := s.alerts[4].ID
	s.vanished = map[string]bool{gone: true}
	w, _ = goOn(t, h, w)
	if w.Code != http.StatusConflict || s.changes != 7 || s.alerts[10].Status != alert.Active || s.alerts[2].Status != alert.InProgress || s.alerts[1].Status != alert.Dismissed {
		t.Errorf("%d, %d changes; raised later: %s, changed by carol: %s", w.Code, s.changes, s.alerts[10].Status, s.alerts[2].Status)
	}
	holds(t, visible(w.Body.String()), "7 alerts changed", "1 changed by somebody else", "1 gone", "carol@contoso.example set it to InProgress", "There is no such alert.")

	// Somebody else says the same meanwhile: that is no conflict.
	s = few()
	h = open(s)
	w = post(t, h, "/alerts/all?hub=contoso-hub", url.Values{"verdict": {"Benign"}, "reason": {"x"}})
	same := &s.alerts[3]
	same.Verdict, same.StatusTime, same.Changes = alert.Benign, now.Add(time.Minute), 1
	if w, _ = goOn(t, h, w); w.Code != http.StatusOK || s.changes != 9 {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "9 alerts changed", "1 already so")

	// The store fails in the middle. What was done is counted, and the rest can go on.
	s = few()
	h = open(s)
	w = post(t, h, "/alerts/all?status=open", dismissal)
	action, form := passedOn(t, w.Body.String())
	s.changeErr = func(n int) error {
		if n == 4 {
			return errors.New("no network")
		}
		return nil
	}
	w = post(t, h, action, form)
	if w.Code != http.StatusBadGateway || s.changes != 4 || strings.Contains(w.Body.String(), "data-next") {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "4 of 10 alerts changed so far", "no network", "Try again", "Stop here")
	s.changeErr = nil
	w, _ = goOn(t, h, w)
	if w.Code != http.StatusOK || s.changes != 10 {
		t.Errorf("%d, %d changes", w.Code, s.changes)
	}
	holds(t, visible(w.Body.String()), "10 alerts changed")
}

// TestWholeOfTenThousand changes ten thousand alerts: of a month, and of one day. No
// request takes longer than it may, though each change takes 40 ms.
func TestWholeOfTenThousand(t *testing.T) {
	for name, oneDay := range map[string]bool{"a month": false, "a day": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := many(10_000, oneDay)
				s.before = func(alert.Ref) { time.Sleep(40 * time.Millisecond) }
				h := open(s)
				if page := pageAt(t, h, "/alerts?status=open"); oneDay {
					holds(t, page, "There are too many", `formaction="/alerts/all?status=open">All 10,000 that match…`)
				}
				w := post(t, h, "/alerts/all?status=open", dismissal)
				holds(t, visible(w.Body.String()), "10,000 alerts would become Dismissed", "10,000 from Active")
				steps := 0
				for ; strings.Contains(w.Body.String(), `name="at"`); steps++ {
					action, form := passedOn(t, w.Body.String())
					begun, before := time.Now(), s.changes
					w = post(t, h, action, form)
					if took := time.Since(begun); took > 9*time.Second {
						t.Fatalf("a step takes %v", took)
					}
					if s.changes == before && strings.Contains(w.Body.String(), `name="at"`) {
						t.Fatal("a step changes nothing")
					}
				}
				if w.Code != http.StatusOK || s.changes != 10_000 || steps < 2 {
					t.Errorf("%d after %d steps, %d changes", w.Code, steps, s.changes)
				}
				holds(t, visible(w.Body.String()), "10,000 alerts changed", "10,000 changed")
				for _, a := range s.alerts {
					if a.Changes != 1 {
						t.Errorf("%s of %v was changed %d times", a.ID, a.Ref().Day, a.Changes)
					}
				}
			})
		})
	}
}

// TestWholeOnce visits each alert once, also if it still matches the filter after the
// change: with a verdict alone, and if the change is refused.
func TestWholeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := many(450, false) // fifteen a day
		for i := range s.alerts {
			if i%10 == 0 {
				s.alerts[i].Status = alert.Dismissed
			}
		}
		s.before = func(alert.Ref) { time.Sleep(500 * time.Millisecond) }
		h := open(s)
		w, steps := goOn(t, h, post(t, h, "/alerts/all?hub=contoso-hub", url.Values{"verdict": {"Benign"}, "reason": {"x"}}))
		if w.Code != http.StatusOK || steps < 3 || s.changes != 450 {
			t.Errorf("%d after %d steps, %d changes", w.Code, steps, s.changes)
		}
		if text := visible(w.Body.String()); !strings.Contains(text, "450 alerts changed") || strings.Contains(text, "already so") {
			t.Errorf("the end says %s", text)
		}
		w, steps = goOn(t, h, post(t, h, "/alerts/all?hub=contoso-hub&status=open,closed", url.Values{"status": {"resolved"}, "reason": {"x"}}))
		if w.Code != http.StatusConflict || steps < 3 || s.changes != 450+405 {
			t.Errorf("%d after %d steps, %d changes", w.Code, steps, s.changes)
		}
		holds(t, visible(w.Body.String()), "405 alerts changed", "45 refused")

		// A page names some of those that are refused, and counts all.
		s.before = nil
		for i := range s.alerts {
			s.alerts[i].Status = alert.Dismissed
		}
		s.alerts[0].Status = alert.Active
		w, _ = goOn(t, h, post(t, h, "/alerts/all?hub=contoso-hub&status=open,closed", url.Values{"status": {"in-progress"}, "reason": {"x"}}))
		holds(t, visible(w.Body.String()), "1 alert changed", "449 refused")
		if n := strings.Count(w.Body.String(), "want Active first"); n != 20 {
			t.Errorf("%d refusals are named", n)
		}
	})
}

// TestWholeWithoutTime looks through alerts that there is no time for. What was not looked
// through is not changed.
func TestWholeWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := many(300, false) // ten a day
		s.reading = func() { time.Sleep(3 * time.Second) }
		h := open(s)
		w := post(t, h, "/alerts/all?status=open", dismissal)
		holds(t, visible(w.Body.String()), "would become Dismissed", "back to 2026-02-07", "There was no time to look through older ones. They stay as they are")
		s.reading = nil
		if w, _ = goOn(t, h, w); w.Code != http.StatusOK {
			t.Errorf("%d", w.Code)
		}
		for _, a := range s.alerts {
			if looked := !a.Ref().Day.Before(time.Date(2026, 2, 7, 0, 0, 0, 0, time.UTC)); looked != (a.Status == alert.Dismissed) {
				t.Errorf("the alert of %s is %s", a.Ref().Day.Format(time.DateOnly), a.Status)
			}
		}
		// Not even one day: the store is too slow.
		s.reading = func() { time.Sleep(sectionTime + time.Second) }
		if w := post(t, h, "/alerts/all?status=open", dismissal); w.Code != http.StatusGatewayTimeout {
			t.Errorf("%d", w.Code)
		}
	})
}
