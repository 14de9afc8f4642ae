package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// many returns a store with n alerts on one hub in 30 days, or on one day.
func many(n int, oneDay bool) *store {
	s := few()
	s.alerts = nil
	for i := range n {
		at := now.Add(-time.Duration(i) * 30 * 24 * time.Hour / time.Duration(n))
		if oneDay {
			at = alert.Day(now).Add(time.Duration(i) * time.Millisecond)
		}
		s.alerts = append(s.alerts, raised(i, i, "contoso-hub", at))
	}
	return s
}

// TestManyAlerts looks at a table with ten thousand alerts: of 30 days, and of one.
func TestManyAlerts(t *testing.T) {
	h := open(many(10_000, false))
	holds(t, visible(pageAt(t, h, "/")), "10,000 alerts need somebody", "6,000 open Medium", "4,000 open Low")
	page := pageAt(t, h, "/alerts?status=open&since=2026-01-10")
	holds(t, visible(page), "alerts that are open", "By type and hub", "X.509", "contoso-hub", "page 1", "older ›")
	if n := strings.Count(page, "<tr data-row>"); n != perPage {
		t.Errorf("%d alerts on a page", n)
	}
	last := pageAt(t, h, "/alerts?page=100")
	if n := strings.Count(last, "<tr data-row>"); n != perPage || strings.Contains(last, "older ›") || !strings.Contains(last, "‹ newer") {
		t.Errorf("%d alerts on the last page", n)
	}
	holds(t, visible(pageAt(t, h, "/alerts?severity=low&status=open")), "4,000 alerts with severity low, that are open")
	// Summaries do not know addresses, so the page does not say how many there are.
	holds(t, visible(pageAt(t, h, "/alerts?address=203.0.113.0/24")), "alerts from 203.0.113.0/24, page 1")

	// So many of one day are not sorted. The page says how many there are, and reads none.
	s := many(10_000, true)
	h = open(s)
	holds(t, visible(pageAt(t, h, "/")), "10,000 alerts need somebody: 6,000 Medium, 4,000 Low.", "10,000 open alerts of 2026-02-08")
	lists := s.lists.Load()
	page = pageAt(t, h, "/alerts?status=open")
	holds(t, visible(page), "10,000 alerts that are open", "There are too many to put them in order.", "1,000", "Read all of them anyway")
	if strings.Contains(page, "<tr data-row>") || s.lists.Load() != lists {
		t.Errorf("the page reads alerts: %d lists", s.lists.Load()-lists)
	}
	if page := pageAt(t, h, "/alerts?rows=all&page=2"); strings.Count(page, "<tr data-row>") != perPage {
		t.Error("the page of all alerts has none")
	}
	holds(t, visible(pageAt(t, h, "/alerts?type=CertificateAdded")), "1,000 alerts of the type New certificate added", "page 1")
}

// mostBytes is how many bytes a page may have, with style and script.
const mostBytes = 150_000

// TestPageWeight weighs each kind of page of a table with ten thousand alerts, with style,
// script and icon, as a browser gets them for the first time.
func TestPageWeight(t *testing.T) {
	h := open(many(10_000, false))
	files := 0
	for name, a := range loadAssets() {
		w := get(t, h, "/assets/"+a.hash+"/"+name)
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %v", name, w.Code, w.Header())
		}
		files += w.Body.Len()
	}
	if files == 0 {
		t.Fatal("there are no assets")
	}
	heaviest := 0
	for _, address := range addresses(many(1, false).alerts[0]) {
		w := get(t, h, address)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", address, w.Code)
		}
		if n := w.Body.Len() + files; n > mostBytes {
			t.Errorf("%s: %d bytes with style and script, want at most %d", address, n, mostBytes)
		}
		heaviest = max(heaviest, w.Body.Len())
	}
	t.Logf("style, script and icon have %d bytes, and the heaviest page %d", files, heaviest)
}

// TestHeaders checks what every answer tells the browser.
func TestHeaders(t *testing.T) {
	h := open(few(), func(o *Options) { o.Base = "/api/console" })
	for _, address := range []string{"/api/console/", "/api/console/alerts", "/api/console/nothing", "/api/console/api/alerts", "/nothing"} {
		w := get(t, h, address)
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		} {
			if have := w.Header().Get(name); have != want {
				t.Errorf("%s: %s is %q", address, name, have)
			}
		}
	}
	// Below a path, all links stay below it.
	page := pageAt(t, h, "/api/console/")
	for _, attribute := range []string{`href="/`, `action="/`, `src="/`, `data-news="/`} {
		for rest := page; ; {
			_, after, ok := strings.Cut(rest, attribute)
			if !ok {
				break
			}
			if rest = after; !strings.HasPrefix(rest, "api/console/") {
				t.Errorf("a link leads to /%.60s", rest)
			}
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %s", policy)
	}
}
