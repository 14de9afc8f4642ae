package browser

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// TestNamesAreText opens the pages that show a device called <script>…</script>.
func TestNamesAreText(t *testing.T) {
	s := large(t)
	p := s.inside(t, look{})
	for _, address := range []string{
		s.page(scriptName), s.origin + "/alerts?since=1d", s.origin + "/alerts?since=2d&hub=contoso-hub&entity=" + url.QueryEscape(scriptName),
		s.origin + "/entity?hub=contoso-hub&entity-type=Device&entity=" + url.QueryEscape(scriptName),
	} {
		p.opens(address, http.StatusOK)
		if !strings.Contains(p.text("main"), scriptName) {
			t.Errorf("%s does not show the name as it is: %.1000s", address, p.text("main"))
		}
		if title := runs[string](p, `document.title`); !strings.HasSuffix(title, " · hubwatch") {
			t.Errorf("%s has the title %q", address, title)
		}
		p.flawless()
	}
}

// TestOtherSites has other sites send the browser of a person, who has the console open,
// to the console. None of them changes or reads anything.
func TestOtherSites(t *testing.T) {
	s := large(t)
	name := aboutCertificate(t, 12*24*time.Hour)
	form := url.Values{"status": {"dismissed"}, "verdict": {"FalsePositive"}, "reason": {"nothing to see here"}, "seen": {"0"}}
	untouched := func(how string) {
		t.Helper()
		if a, _, err := s.stores.Alerts.Find(t.Context(), s.refs[name]); err != nil || a.Status != alert.Active || a.Changes != 0 {
			t.Errorf("%s: the alert is %s after %d changes (%v)", how, a.Status, a.Changes, err)
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var fields strings.Builder
		for name, values := range form {
			fmt.Fprintf(&fields, `<input name="%s" value="%s">`, name, html.EscapeString(values[0]))
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><title>kittens</title>
			<form method="post" action="%s">%s<button id="post">Kittens</button></form><a id="link" href="%s">Kittens</a><iframe src="%s"></iframe>`,
			s.page(name), fields.String(), s.page(name), s.page(name))
	}))
	t.Cleanup(other.Close)

	// The one is the same site for the browser, which then sends the cookie; the other is not.
	_, port, _ := strings.Cut(strings.TrimPrefix(other.URL, "http://"), ":")
	for _, origin := range []string{"http://127.0.0.1:" + port, "http://localhost:" + port, "http://evil.example:" + port} {
		t.Run(strings.TrimPrefix(origin, "http://"), func(t *testing.T) {
			p := s.inside(t, look{})
			p.opens(origin, http.StatusOK)
			p.follows("#post", http.StatusForbidden)
			untouched("a form")

			p.opens(origin, http.StatusOK)
			p.follows("#link", http.StatusForbidden)
			if text := p.text("body"); strings.Contains(text, name) {
				t.Error("a link shows the alert")
			}

			// Script that sends the cookie along, and wants no permission for what it sends.
			p.opens(origin, http.StatusOK)
			runs[string](p, fmt.Sprintf(`fetch(%q, {method: 'POST', mode: 'no-cors', credentials: 'include', body: new URLSearchParams(%q)}).then((answer) => answer.type, String)`, s.page(name), form.Encode()))
			untouched("a request of a script")
			read := runs[string](p, fmt.Sprintf(`fetch(%q, {credentials: 'include'}).then((answer) => answer.text(), () => 'refused')`, s.origin+"/api/alerts"))
			if read != "refused" {
				t.Errorf("a script reads %.200s", read)
			}
			if shown := runs[int](p, `frames.length && (() => { try { return frames[0].document.body.innerText.length } catch { return 0 } })()`); shown != 0 {
				t.Errorf("a frame shows %d characters of the console", shown)
			}
		})
	}

	// The same form from a page of the console is taken.
	p := s.inside(t, look{})
	p.opens(s.page(name), http.StatusOK)
	p.check(`[name="status"][value="dismissed"]`)
	p.choose(`.card [name="verdict"]`, "FalsePositive")
	p.fill(`[name="reason"]`, form.Get("reason"))
	p.follows(`.card form button`, http.StatusOK)
	if a, _, err := s.stores.Alerts.Find(t.Context(), s.refs[name]); err != nil || a.Status != alert.Dismissed {
		t.Errorf("the alert is %s (%v)", a.Status, err)
	}
}

// TestStrangers opens the console without what opens it.
func TestStrangers(t *testing.T) {
	s := large(t)
	page := s.page(scriptName)
	for _, c := range []struct {
		name, url string
		want      int
	}{
		{"without the token", s.origin + "/", http.StatusForbidden},
		{"a page without the token", page, http.StatusForbidden},
		{"with a token that is made up", s.origin + "/?token=AAAAAAAAAAAAAAAAAAAAAAAAAA", http.StatusForbidden},
		{"with an empty token", s.origin + "/?token=", http.StatusForbidden},
		{"the API without the token", s.origin + "/api/alerts", http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := shared.driver.open(t, look{})
			p.opens(c.url, c.want)
			if text := p.text("body"); strings.Contains(text, "owned") || strings.Contains(text, "contoso") {
				t.Errorf("a stranger sees %q", text)
			}
		})
	}

	// A name of another site that leads to 127.0.0.1: DNS rebinding. The browser takes what
	// comes from there for that site's, so not even the token helps.
	t.Run("rebinding", func(t *testing.T) {
		rebound := strings.Replace(s.url, "127.0.0.1", "evil.example", 1)
		p := s.inside(t, look{})
		for _, address := range []string{rebound, strings.Split(rebound, "?")[0], strings.Replace(page, "127.0.0.1", "evil.example", 1)} {
			p.opens(address, http.StatusMisdirectedRequest)
		}
	})

	// The address is good for the same person in another window, until the console ends.
	p := s.enter(t, look{})
	p.opens(page, http.StatusOK)
}
