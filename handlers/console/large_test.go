package console

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
)

// many returns a store with n alerts on one hub in 30 days, or on one day.
func many(n int, oneDay bool) *store {
	s := few()
	s.alerts = nil
	for i := range n {
		at := now.Add(-time.Minute - time.Duration(i)*(29*24*time.Hour/time.Duration(n)))
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

// old returns a store with an alert a day for n days.
func old(n int) *store {
	s := few()
	s.alerts = nil
	for i := range n {
		s.alerts = append(s.alerts, raised(i, 0, "contoso-hub", now.AddDate(0, 0, -i)))
	}
	return s
}

// TestLookingBack follows a list that ends before the oldest day, since it was looked
// through for long enough, to its end.
func TestLookingBack(t *testing.T) {
	h := open(old(75))
	found, pages := 0, 0
	for address := "/alerts?entity=root-ca-70"; address != ""; pages++ {
		page := pageAt(t, h, address)
		found += strings.Count(page, "<tr data-row>")
		_, rest, ok := strings.Cut(page, `were not looked through. <a href="`)
		href, _, _ := strings.Cut(rest, `"`)
		address = strings.ReplaceAll(href, "&amp;", "&")
		switch pages {
		case 0:
			holds(t, visible(page), "There are none back to 2026-01-10. Older days were not looked through.")
			if address != "/alerts?entity=root-ca-70&until=2026-01-09" || strings.Contains(page, "There are no ") {
				t.Errorf("further back is %s", address)
			}
		case 2:
			if ok {
				t.Error("the last days have older ones")
			}
		}
	}
	if found != 1 || pages != 3 {
		t.Errorf("%d alerts on %d pages", found, pages)
	}
	// The days of the filter are all there is. The API goes the same way.
	if page := pageAt(t, h, "/alerts?entity=nothing&since=2026-01-10"); strings.Contains(page, "Look further back") {
		t.Error("the page goes further back than the filter")
	}
	holds(t, visible(pageAt(t, h, "/alerts?entity=nothing&since=2026-01-09")), "Look further back")
	for address, want := range map[string]string{
		"/api/alerts?entity=nothing":                  `</api/alerts?entity=nothing&limit=100&until=2026-01-09>; rel="next"`,
		"/api/alerts?entity=nothing&until=2025-12-10": "",
		"/api/alerts?limit=20":                        `</api/alerts?limit=20&page=2>; rel="next"`,
		"/api/alerts?limit=20&page=2":                 `</api/alerts?limit=20&until=2026-01-09>; rel="next"`,
	} {
		if have := get(t, h, address).Header().Get("Link"); have != want {
			t.Errorf("%s: the next page is %s, want %s", address, have, want)
		}
	}

	// Summaries alone are looked through for longer, and the page says how far the number
	// goes.
	s := old(120)
	for i := range s.alerts {
		s.alerts[i].Status = alert.Resolved
	}
	s.alerts[119].Status, s.alerts[99].Status = alert.Active, alert.Active
	s.summarized = true
	holds(t, visible(pageAt(t, open(s), "/alerts?status=open")), "1 alerts that are open, back to 2025-11-01", "root-ca-99", "These are all back to 2025-11-01.")

	// The story of an actor ends too.
	holds(t, visible(pageAt(t, open(old(75)), "/actor?actor=nobody")), "0 alerts back to 2026-01-10, 0 open", "No alerts back to 2026-01-10.", "Days before 2026-01-10 were not looked through.")
	holds(t, visible(pageAt(t, open(old(20)), "/actor?actor=nobody")), "0 alerts in 90 days, 0 open", "No alerts in 90 days.")

	// It has the suppressed alerts, each once, in their order.
	hidden := old(3)
	hidden.alerts[1].SuppressedBy = "rule-1"
	story := visible(pageAt(t, open(hidden), "/actor?actor=alice@contoso.example"))
	holds(t, story, "3 alerts in 90 days, 2 open", "root-ca-0", "root-ca-1", "Suppressed", "root-ca-2")
	if n := strings.Count(story, "root-ca-"); n != 3 {
		t.Errorf("the story has %d alerts", n)
	}

	// A slow store: the page ends in time, with what it has, or says that it has nothing.
	synctest.Test(t, func(t *testing.T) {
		for day, test := range map[time.Duration]struct {
			want string
			most time.Duration
		}{
			2 * time.Second:           {"There are none back to 2026-02-06.", walkTime + 2*time.Second},
			sectionTime - time.Second: {"There are none back to 2026-02-08.", sectionTime},
		} {
			s := old(75)
			s.reading = func() { time.Sleep(day) }
			begun := time.Now()
			holds(t, visible(pageAt(t, open(s), "/alerts?entity=nothing")), test.want)
			if took := time.Since(begun); took > test.most {
				t.Errorf("the page takes %v", took)
			}
		}
		s := old(75)
		read := 0
		s.reading = func() {
			if read++; read == 2 {
				time.Sleep(sectionTime + 1)
			}
		}
		holds(t, visible(pageAt(t, open(s), "/alerts?entity=nothing")), "There are none back to 2026-02-08.")
		s.reading = func() { time.Sleep(sectionTime + 1) }
		if w := get(t, open(s), "/alerts?entity=nothing"); w.Code != http.StatusGatewayTimeout {
			t.Errorf("a day that takes too long: %d", w.Code)
		}
	})
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
