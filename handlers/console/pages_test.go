package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/secret"
)

// addresses are those of all kinds of page, of a store with an alert.
func addresses(a alert.Alert) []string {
	entity := url.Values{"hub": {a.Hub.Name}, "entity-type": {string(a.Entity.Type)}, "entity": {a.Entity.Name}}
	return []string{
		"/", "/?by=type&days=7", "/?by=hub&days=90", "/alerts", "/alerts?status=open&since=7d", "/alerts?suppressed=1", "/alerts?" + url.Values{"entity": {a.Entity.Name}}.Encode(),
		"/alerts/" + url.PathEscape(a.Hub.Name) + "/" + a.Ref().Day.Format(time.DateOnly) + "/" + a.ID, "/hubs", "/hub?" + url.Values{"hub": {a.Hub.Name}}.Encode(),
		"/entity?" + entity.Encode(), "/actor?" + url.Values{"actor": {a.Actor}}.Encode(), "/connections?days=30", "/coverage", "/suppressions", "/suppressions/new", "/suppressions/new?" + entity.Encode(),
	}
}

// TestPages opens every kind of page, with alerts and without.
func TestPages(t *testing.T) {
	for name, s := range map[string]*store{"with alerts": few(), "with nothing but the names": {alerts: few().alerts[:1]}} {
		h := open(s)
		for _, address := range addresses(s.alerts[0]) {
			t.Run(name+" "+address, func(t *testing.T) {
				w := get(t, h, address)
				page := w.Body.String()
				if w.Code != http.StatusOK {
					t.Fatalf("%d\n%.2000s", w.Code, page)
				}
				if n := strings.Count(page, "<h1"); n != 1 {
					t.Errorf("%d headings of the first level", n)
				}
				for _, part := range []string{`<html lang="en">`, "<main ", "<header>", "<footer>", `<nav aria-label="Pages">`, "</html>"} {
					if strings.Count(page, part) != 1 {
						t.Errorf("it has %s %d times", part, strings.Count(page, part))
					}
				}
				if m := regexp.MustCompile(`<style|<script>|<script[^>]*>[^<]|\sstyle=|\son[a-z]+=|href="https?:|src="https?:`).FindString(page); m != "" {
					t.Errorf("the policy forbids %s", m)
				}
				if m := regexp.MustCompile(`<no value>|%!|ZgotmplZ|0001-01-01`).FindString(page); m != "" {
					t.Errorf("it has %s", m)
				}
			})
		}
	}
}

// TestHostileNames looks for names that somebody chose to steer what a person sees, on
// every kind of page.
func TestHostileNames(t *testing.T) {
	for _, hostile := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "\u202egnp.exe", "a\u200bb", "\x1b[2J", "a\x00b", "{{.}}",
		"javascript:alert(1)", "../../etc", "a/b", "%2e%2e%2f", "a?b#c&d=e", "\r\nSet-Cookie: a=b", "\u2028", "</textarea>", "$(reboot)", "-x", "😀", "\xff",
	} {
		s := few()
		for i := range s.alerts {
			a := &s.alerts[i]
			a.Entity.Name, a.Actor, a.Message, a.StatusReason, a.DisplayName, a.CorrelationID, a.ActorIPAddress = hostile, hostile, hostile, hostile, hostile, hostile, hostile
			a.Hub.ResourceID, a.StatusBy.Name, a.StatusTime, a.Remediation, a.LastActorIPAddress, a.ActorIPAddresses = hostile, hostile, now, hostile, hostile, []string{hostile, hostile}
			a.Properties = map[string]string{hostile: hostile}
			a.Entity.Type = alert.EntityTypes[i%len(alert.EntityTypes)]
			if i%2 == 1 {
				a.SuppressedBy = hostile
			}
		}
		s.evidence = []alert.Evidence{{EventID: hostile, Time: now, Actor: hostile, ActorIPAddress: hostile, RawEvent: hostile, Devices: []string{hostile}}}
		s.history = map[string][]alert.History{s.alerts[0].ID: {{Number: 1, Time: now, From: alert.Status(hostile), To: alert.Active, Reason: hostile, By: alert.Person{Name: hostile}}}}
		s.suppressions = []alert.Suppression{{ID: hostile, Reason: hostile, Owner: hostile, Actor: hostile, Entity: hostile, Starts: now.Add(-1), Expires: now.Add(1)}}
		s.broken = []error{errors.New(hostile)}
		s.figures[2].Unknown = map[string]int{hostile: 1}
		s.figures[3].Hub, s.heard[2].Hub = hostile, hostile
		h := open(s, func(o *Options) {
			o.Session = func(*http.Request) (Session, error) { return Session{Person: alert.Person{Name: hostile}}, nil }
		})
		shown := false
		for _, address := range append(addresses(s.alerts[0]), "/connections?"+url.Values{"hub": {hostile}}.Encode()) {
			w := get(t, h, address)
			page := w.Body.String()
			if w.Code != http.StatusOK {
				t.Errorf("%q, %s: %d\n%.500s", hostile, address, w.Code, page)
				continue
			}
			for _, r := range page {
				if secret.Hidden(r) && !strings.ContainsRune("\t\n", r) {
					t.Errorf("%q, %s: it has the character %U", hostile, address, r)
					break
				}
			}
			for _, planted := range []string{"<script>alert", "<img", "onmouseover='", "onerror=alert(1)>", `href="javascript:`, "</textarea></textarea>"} {
				if strings.Contains(page, planted) {
					t.Errorf("%q, %s: it has %s", hostile, address, planted)
				}
			}
			if w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%q, %s: it sets a cookie", hostile, address)
			}
			shown = shown || strings.Contains(page, "reboot") || hostile != "$(reboot)"
		}
		if !shown {
			t.Errorf("%q is on no page: does this test still find it?", hostile)
		}
	}
}

// TestOverview looks at what the first page says.
func TestOverview(t *testing.T) {
	quiet := few()
	quiet.alerts = nil
	closed := few()
	for i := range closed.alerts {
		closed.alerts[i].Status = alert.Resolved
	}
	old := few()
	for i := range old.alerts {
		a := &old.alerts[i]
		a.Start, a.End = a.Start.AddDate(-1, 0, 0), a.End.AddDate(-1, 0, 0)
	}
	one := few()
	one.alerts = one.alerts[:1]
	stale := few()
	stale.waiting, stale.alerts = 140, nil
	unread := few()
	unread.waitingErr = errors.New("no network")
	taken := few()
	taken.alerts = taken.alerts[:1]
	taken.alerts[0].Status, taken.alerts[0].StatusBy = alert.InProgress, bob
	hidden := few()
	for i := range hidden.alerts {
		hidden.alerts[i].SuppressedBy = "rule-1"
	}
	fleet := few()
	for i := range 40 {
		fleet.heard = append(fleet.heard, alert.Heard{Hub: fmt.Sprintf("plant-%02d", i), Source: alert.Connections, Event: now.AddDate(0, 0, -2), Seen: now.AddDate(0, 0, -2)})
	}
	for name, test := range map[string]struct {
		store   *store
		address string
		want    []string
	}{
		"many hubs":                 {fleet, "/", []string{"plant-00 has been silent for 2 days.", "So are those of 38 others.", "and 32 more"}},
		"nothing was ever heard":    {&store{}, "/", []string{"hubwatch has heard nothing yet.", "not the same as “no alerts”", "hubwatch doctor"}},
		"quiet":                     {quiet, "/", []string{"No alerts in the last 30 days.", "An event last came 60 seconds ago.", "The Connections log of plant-hub has been silent for 7 hours.", "Nothing is open."}},
		"quiet today":               {old, "/?days=1", []string{"No alerts today."}},
		"all closed":                {closed, "/", []string{"Nothing needs you. 10 alerts of the last 30 days, all closed."}},
		"open":                      {few(), "/", []string{"10 alerts need somebody: 6 Medium, 4 Low.", "The oldest has been open for 10 hours.", "6 open Medium", "4 open Low", "and 2 more"}},
		"one":                       {one, "/", []string{"1 alert needs somebody: 1 Medium. The oldest has been open for 60 minutes."}},
		"somebody looks at it":      {taken, "/", []string{"1 in progress", "bob@contoso.example looks at it"}},
		"open for a year":           {old, "/", []string{"10 alerts need somebody", "The oldest has been open for 365 days.", "in the 30 days up to 2025-02-08"}},
		"quarantine":                {stale, "/", []string{"100&#43; in quarantine"}},
		"quarantine cannot be read": {unread, "/", []string{"10 alerts need somebody", "not read in quarantine"}},
		"suppressed":                {hidden, "/", []string{"No alerts in the last 30 days.", "10 suppressed"}},
		"by type":                   {few(), "/?by=type", []string{"Alerts a day by type", "all others 5"}},
		"by hub":                    {few(), "/?by=hub", []string{"Alerts a day by hub", "contoso-hub 10"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := pageAt(t, open(test.store), test.address)
			text := visible(page) + " " + strings.Join(regexp.MustCompile(`aria-label="[^"]*"`).FindAllString(page, -1), " ")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%.3000s", want, text)
				}
			}
		})
	}
}

// TestStoreFails checks what a person is told if the store cannot be read, and if it is too
// slow.
func TestStoreFails(t *testing.T) {
	s := few()
	s.err = errors.New("table \"alerts\": read: 403 AuthorizationPermissionMismatch: you need the role Storage Table Data Reader")
	h := open(s)
	for _, address := range addresses(s.alerts[0]) {
		if address == "/suppressions/new" {
			continue // it reads nothing
		}
		w := get(t, h, address)
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "Storage Table Data Reader") {
			t.Errorf("%s: %d\n%.500s", address, w.Code, visible(w.Body.String()))
		}
	}
	s.err = fmt.Errorf("table \"alerts\": %w: no alert was raised yet", alert.ErrAbsent)
	holds(t, visible(pageAt(t, h, "/")), "hubwatch has heard nothing yet.", "no alert was raised yet.")
	if w := get(t, h, "/alerts"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "No alert was ever raised") {
		t.Errorf("without a table: %d", w.Code)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if p := problemOf(fmt.Errorf("read: %w", ctx.Err())); p.Status != http.StatusGatewayTimeout {
		t.Errorf("a slow store is %d", p.Status)
	}
}

// TestSessions checks who gets in.
func TestSessions(t *testing.T) {
	refused := open(few(), func(o *Options) {
		o.Session = func(*http.Request) (Session, error) { return Session{}, errors.New("you have no role in hubwatch") }
	})
	reader := open(few(), func(o *Options) {
		o.Session = func(*http.Request) (Session, error) { return Session{Person: bob, ReadOnly: true}, nil }
	})
	closed := open(few(), func(o *Options) {
		o.Session = func(*http.Request) (Session, error) { return Session{}, fmt.Errorf("%w: no keys", ErrNobodyNow) }
	})
	a := few().alerts[0]
	path := "/alerts/contoso-hub/2026-02-08/" + a.ID
	for _, address := range append(addresses(a), "/api/alerts", "/api"+path, "/api/hubs", "/api/coverage") {
		if w := get(t, refused, address); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "you have no role") || strings.Contains(w.Body.String(), a.Entity.Name) {
			t.Errorf("%s: %d for somebody without a role", address, w.Code)
		}
		if w := get(t, closed, address); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no keys") || strings.Contains(w.Body.String(), a.Entity.Name) {
			t.Errorf("%s: %d while nobody can be let in", address, w.Code)
		}
		if w := get(t, reader, address); w.Code != http.StatusOK {
			t.Errorf("%s: %d for a reader", address, w.Code)
		}
	}
	form := url.Values{"status": {"resolved"}, "reason": {"x"}, "verdict": {"Benign"}, "seen": {"0"}, "ref": {a.Ref().String() + "@0"}}
	for _, address := range []string{path, "/alerts", "/alerts/all?status=open", "/suppressions", "/suppressions/rule-1/remove"} {
		if w := post(t, reader, address, form); w.Code != http.StatusForbidden {
			t.Errorf("POST %s: %d for a reader", address, w.Code)
		}
	}
	page := pageAt(t, reader, path) + pageAt(t, reader, "/alerts?status=open") + pageAt(t, reader, "/suppressions")
	if strings.Contains(page, `method="post"`) && strings.Contains(page, "<button>Save") || strings.Contains(page, "Change alerts") || strings.Contains(page, "that match…") || strings.Contains(page, "New suppression…") {
		t.Error("a reader sees forms")
	}
}

// TestSameInATerminal checks the commands that pages show. A name that a person cannot see
// whole gives none.
func TestSameInATerminal(t *testing.T) {
	h := open(few())
	for address, want := range map[string]string{
		"/": "hubwatch alerts count --since=2026-01-10", "/alerts?status=open&hub=contoso-hub&suppressed=1": "hubwatch alerts list --hub=contoso-hub --status=open --suppressed",
		"/alerts?entity=%24%28reboot%29&actor=-x&since=7d": "hubwatch alerts list --entity=&#39;$(reboot)&#39; --actor=-x --since=7d", "/alerts?entity=a%E2%80%AEb": "",
		"/hub?hub=contoso-hub": "hubwatch alerts list --since=30d --hub=contoso-hub", "/entity?hub=contoso-hub&entity-type=Device&entity=a%27b": `hubwatch devices show contoso-hub &#39;a&#39;\&#39;&#39;b&#39;`,
		"/entity?hub=contoso-hub&entity-type=Device&entity=-x": "hubwatch devices show -- contoso-hub -x",
		"/actor?actor=a%E2%80%AEb":                             "", "/entity?hub=contoso-hub&entity-type=Certificate&entity=a%E2%80%AEb": "",
	} {
		_, rest, found := strings.Cut(pageAt(t, h, address), `<span>The same in a terminal</span> <span class="command"><code>`)
		have, _, _ := strings.Cut(rest, "</code>")
		if have != want || found != (want != "") {
			t.Errorf("%s: the command is %q, want %q", address, have, want)
		}
	}
}

// TestOlderDays checks pages of a fleet in which nothing happened lately: they show the days up to
// the newest alert or record, say so, and so do their commands.
func TestOlderDays(t *testing.T) {
	s := few()
	later := now.AddDate(0, 0, 200)
	h := open(s, func(o *Options) { o.Now = func() time.Time { return later } })
	for _, test := range []struct{ address, says, command string }{
		{"/hubs", "the 30 days up to 2026-02-08", "hubwatch hubs --since=2026-01-10"},
		{"/hub?hub=contoso-hub", "in the 7 days up to 2026-02-08", "hubwatch alerts list --since=2026-01-10 --hub=contoso-hub"},
		{"/connections", "By hub and day in the 7 days up to 2026-02-08", "hubwatch connections --since=2026-02-02"},
		{"/connections?hub=contoso-hub", "in the 7 days up to 2026-02-08", "hubwatch connections --since=2026-02-02 --hub=contoso-hub"},
		{"/connections?days=7", "No connection was refused, and no token was renewed.", "hubwatch connections --since=2026-08-21"},
		{"/entity?hub=contoso-hub&entity-type=Certificate&entity=root-ca-1", "1 alert in the 90 days up to 2026-02-08, 1 open", "hubwatch alerts list --since=2025-11-11 --hub=contoso-hub --entity=root-ca-1"},
		{"/entity?hub=contoso-hub&entity-type=Device&entity=nobody", "No alerts in the 90 days up to 2026-02-08.", "hubwatch devices show --since=2025-11-11 contoso-hub nobody"},
		{"/actor?actor=alice%40contoso.example", " in the 90 days up to 2026-02-08, ", "hubwatch alerts list --since=2025-11-11 --actor=alice@contoso.example"},
	} {
		page := pageAt(t, h, test.address)
		holds(t, visible(page), test.says, test.command)
	}
}

// TestNoHub checks that what alerts are kept under beside hubs is not said to be a hub that was
// never heard.
func TestNoHub(t *testing.T) {
	s := few()
	other := s.alerts[0]
	other.Hub.Name = "rg-other"
	s.alerts = append(s.alerts, other)
	h := open(s)
	if page := visible(pageAt(t, h, "/coverage")); strings.Contains(page, "rg-other") {
		t.Error("the page of what is watched has a resource group")
	}
	for _, address := range []string{"/", "/hubs", "/hub?hub=rg-other"} {
		page := visible(pageAt(t, h, address))
		holds(t, page, "rg-other", "no hub of this name was heard")
		if strings.Contains(page, "its Connections log was never heard") {
			t.Errorf("%s: a resource group has a Connections log", address)
		}
	}
}

// TestNoSuchPage checks addresses that are none.
func TestNoSuchPage(t *testing.T) {
	h := open(few())
	for address, status := range map[string]int{
		"/nothing": 404, "/alerts/contoso-hub/2026-02-08": 404, "/alerts/contoso-hub/2026-02-08/x": 400, "/alerts/contoso-hub/yesterday/" + few().alerts[0].ID: 400,
		"/alerts/contoso-hub/2026-02-07/" + few().alerts[0].ID: 404, "/hub": 400, "/hub?hub=unheard": 404, "/entity?hub=x": 400, "/actor": 400,
		"/alerts?severity=Awful": 400, "/alerts?status=gone": 400, "/alerts?since=yesterday": 400, "/alerts?since=2026-02-02&until=2026-02-01": 400,
		"/alerts?address=contoso": 400, "/alerts?page=0": 400, "/alerts?page=1001": 400, "/alerts?page=x": 400, "/alerts?hub=a&hub=b": 400, "/?days=3": 400, "/?by=color": 400,
		"/assets/000000000000/style.css": 404, "/api/nothing": 404, "/api/alerts?limit=0": 400, "/api/counts?by=color": 400, "/api/counts?entity=x": 400,
		"/CertificateAdded": 404, "/admin/host/status": 404, "/alerts/": 404, "/..%2f..%2fetc/passwd": 404,
	} {
		if w := get(t, h, address); w.Code != status {
			t.Errorf("%s: %d, want %d", address, w.Code, status)
		} else if strings.HasPrefix(address, "/api/") != (w.Header().Get("Content-Type") == "application/problem+json") {
			t.Errorf("%s: %s", address, w.Header().Get("Content-Type"))
		}
	}
}

// TestCoverage checks that every detector has its limits there.
func TestCoverage(t *testing.T) {
	page := visible(pageAt(t, open(few()), "/coverage"))
	for _, d := range detector.All {
		if !strings.Contains(page, d.Title) || !strings.Contains(strings.Join(strings.Fields(page), " "), strings.Join(strings.Fields(escaped(d.Limits)), " ")) {
			t.Errorf("%s is not there with its limits", d.Name)
		}
	}
	holds(t, page, "contoso-hub", "log heard", "plant-hub", "log silent for 7 hours",
		"topic (custom topic, event subscription, function, table): the canary of ", "event-hub (event hub, relay, table): no canary was ever sent", "1 alert in the last 30 days", "from the canaries of hubwatch itself")
}

// escaped returns a text as HTML has it.
func escaped(text string) string {
	return strings.NewReplacer("&", "&amp;", `"`, "&#34;", "'", "&#39;", "<", "&lt;", ">", "&gt;", "+", "&#43;").Replace(text)
}
