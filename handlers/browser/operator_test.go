package browser

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// TestOperator uses the console as a person does who has been told that something is
// wrong, from the first look to the next occurrence of what nobody needs to hear of.
func TestOperator(t *testing.T) {
	s := large(t)
	p := s.enter(t, look{})

	// Is something going on? The token has left the address.
	if p.address() != s.origin+"/" {
		t.Errorf("the address is %s", p.address())
	}
	if h1 := p.text("h1"); !strings.Contains(h1, "alerts need somebody") {
		t.Errorf("the overview says %q", h1)
	}

	// What? Of all, those about one certificate, of four days ago.
	name := aboutCertificate(t, 4*24*time.Hour)
	p.follows(`header nav a:text-is("Alerts")`, http.StatusOK)
	p.choose(`.filter [name="type"]`, "CertificateAdded")
	p.fill(`.filter [name="hub"]`, s.refs[name].Hub)
	p.fill(`.filter [name="entity"]`, name)
	p.fill(`.filter [name="since"]`, "6d")
	p.follows(`.filter button`, http.StatusOK)
	for _, part := range []string{"type=CertificateAdded", "entity=" + name, "hub=" + s.refs[name].Hub, "since=6d"} {
		if !strings.Contains(p.address(), part) {
			t.Errorf("the address does not say %s: %s", part, p.address())
		}
	}
	if rows := p.texts("tr[data-row]"); len(rows) != 1 || !strings.Contains(rows[0], name) || !strings.Contains(rows[0], detector.CertificateAdded.Title) {
		t.Fatalf("the list has %q", rows)
	}
	p.follows("tr[data-row] a", http.StatusOK)
	if want := s.page(name); p.address() != want {
		t.Errorf("the row leads to %s, want %s", p.address(), want)
	}

	// What to do? Each command is copied as it is, however the page breaks its line.
	found, _, err := s.stores.Alerts.Find(t.Context(), s.refs[name])
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	for _, c := range detector.CommandsFor(found) {
		want := export.NewCommand(c).Bash
		if want == "" {
			continue
		}
		at := fmt.Sprintf(".do > .command >> nth=%d", copied)
		if copied++; copied > 3 {
			break
		}
		p.click(at + " >> button")
		p.waits(at+" >> button", "Copied")
		var have string
		if p.do("clipboard", nil, &have); have != want {
			t.Errorf("copied %q, want %q", have, want)
		}
	}
	if copied < 2 {
		t.Errorf("%d commands", copied)
	}

	// It is resolved, and its page says by whom and why.
	const reason = "deleted, and <b>alice</b> has a new password"
	p.check(`[name="status"][value="resolved"]`)
	p.choose(`.card [name="verdict"]`, "TruePositive")
	p.fill(`[name="reason"]`, reason)
	p.follows(`.card form button`, http.StatusOK)
	if status := p.text(".state .status"); status != "Resolved" {
		t.Errorf("the status is %q", status)
	}
	history := p.texts(".timeline .t-change")
	if len(history) != 1 || !strings.Contains(history[0], reason) || !strings.Contains(history[0], bob.Name) {
		t.Errorf("the history is %q", history)
	}
	if after, _, err := s.stores.Alerts.Find(t.Context(), s.refs[name]); err != nil || after.Status != "Resolved" || after.StatusReason != reason || after.StatusBy != bob || after.Verdict != "TruePositive" {
		t.Errorf("the table has %q, %q by %v, %q (%v)", after.Status, after.StatusReason, after.StatusBy, after.Verdict, err)
	}

	// Nobody needs to hear of the next one: alerts like this are suppressed.
	if n := s.suppressed(t, p); n != "0" {
		t.Fatalf("%s alerts are suppressed before", n)
	}
	p.opens(s.page(name), http.StatusOK)
	p.follows(`a:text("Suppress alerts like this")`, http.StatusOK)
	if preview := p.text("#preview"); !strings.HasPrefix(preview, "It would have hidden 1 of ") {
		t.Errorf("the preview says %q", preview)
	}
	p.fill(`[name="reason"]`, "the pipeline puts it there each day")
	p.fill(`[name="owner"]`, "plant operators")
	p.follows(`button:text("Add it")`, http.StatusOK)
	if rule := p.text(".rule.added"); !strings.Contains(rule, name) || !strings.Contains(rule, "plant operators") || !strings.Contains(rule, "0 hidden") {
		t.Errorf("the suppression is shown as %q", rule)
	}

	// The next occurrence comes the way that all events come.
	warn := func(what string, err error) { t.Errorf("%s: %v", what, err) }
	outcome, err := s.stores.Judge(judge.NewRules(s.stores.Suppressions, warn)).Detect(detector.CertificateAdded)(t.Context(),
		host.Invocation{Function: detector.CertificateAdded.Name, ID: "next", Data: added(t, found.Hub.Name, name, time.Now())})
	if err != nil || outcome.Findings != 1 {
		t.Fatalf("the next occurrence: %+v, %v", outcome, err)
	}
	p.opens(s.origin+"/alerts?since=6d&hub="+found.Hub.Name+"&entity="+name, http.StatusOK)
	if rows := p.texts("tr[data-row]"); len(rows) != 1 || !strings.Contains(rows[0], "Resolved") {
		t.Errorf("the list has %q", rows)
	}
	p.opens(s.origin+"/alerts?suppressed=1&since=6d&hub="+found.Hub.Name+"&entity="+name, http.StatusOK)
	if rows := p.texts("tr[data-row]"); !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, "Suppressed") }) {
		t.Errorf("the list of suppressed alerts has %q", rows)
	}
	p.opens(s.origin+"/suppressions", http.StatusOK)
	if rule := p.text(".rule"); !strings.Contains(rule, "1 hidden in 30 days") {
		t.Errorf("the suppression is shown as %q", rule)
	}
	if n := s.suppressed(t, p); n != "1" {
		t.Errorf("%s alerts are suppressed", n)
	}
	p.flawless()
}

// suppressed returns how many suppressed alerts the overview counts.
func (s *site) suppressed(t *testing.T, p *tab) string {
	t.Helper()
	p.opens(s.origin+"/", http.StatusOK)
	return p.text(`.chips li:has-text("suppressed") b`)
}

// aboutCertificate returns the name of a certificate that was added so long ago.
func aboutCertificate(t *testing.T, ago time.Duration) string {
	i := int(float64(manyAlerts(t)) * (ago - time.Hour).Hours() / (29 * 24))
	for kinds[i%len(kinds)].Name != detector.CertificateAdded.Name {
		i++
	}
	return fmt.Sprintf("root-ca-%d", i)
}

// added returns the event of a certificate that was added, as Event Grid delivers it.
func added(t *testing.T, hub, name string, at time.Time) []byte {
	t.Helper()
	sample, err := os.ReadFile("../local/samples/certificate-added.json")
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("contoso-hub/", hub+"/", "/root-ca", "/"+name, "2026-02-01T08:00:01.1234567Z", at.UTC().Format(time.RFC3339Nano))
	return []byte(replace.Replace(string(sample)))
}

// TestKeys uses the list without a mouse.
func TestKeys(t *testing.T) {
	s := large(t)
	p := s.inside(t, look{})
	p.opens(s.origin+"/alerts?type=CertificateDeleted&hub=contoso-hub&since=5d", http.StatusOK)
	current := func() []int {
		return runs[[]int](p, `[...document.querySelectorAll('tr[data-row]')].flatMap((row, i) => row.classList.contains('current') ? [i] : [])`)
	}
	for _, step := range []struct {
		key  string
		want int
	}{{"j", 0}, {"j", 1}, {"j", 2}, {"k", 1}} {
		if p.press(step.key); !slices.Equal(current(), []int{step.want}) {
			t.Fatalf("after %s the row %v is the current one, want %d", step.key, current(), step.want)
		}
	}
	p.press("x")
	if chosen := runs[[]bool](p, `[...document.querySelectorAll('[name="ref"]')].map((box) => box.checked)`); slices.Index(chosen, true) != 1 || p.text("[data-chosen]") != "1" {
		t.Errorf("x chose %v, and the button says %q", chosen[:4], p.text("[data-chosen]"))
	}
	p.press("/")
	if focus := runs[string](p, `document.activeElement.name`); focus != "hub" {
		t.Errorf("/ went to %q", focus)
	}
	p.press("j")
	if typed := runs[string](p, `document.activeElement.value`); !slices.Equal(current(), []int{1}) || !strings.Contains(typed, "j") {
		t.Errorf("j moved to %v while somebody typed %q", current(), typed)
	}
	runs[any](p, `document.activeElement.blur()`)
	p.press("?")
	p.waits("dialog.keys[open]", "Turn these keys off")
	p.press("Escape")
	// The browser closes the list of keys, and gives the focus back, after it has taken the key.
	runs[any](p, `new Promise((done) => {
		const look = () => document.querySelector('dialog.keys').open || document.activeElement !== document.body ? requestAnimationFrame(look) : done();
		look();
	})`)
	want := runs[string](p, `document.querySelectorAll('tr[data-row] .c-title a')[1].href`)
	p.press("Enter")
	p.arrives(want)
	p.waits("h1", detector.CertificateDeleted.Title)

	// Somebody whose program sends keys of its own turns them off.
	p.opens(s.origin+"/alerts?type=CertificateDeleted&hub=contoso-hub&since=2d", http.StatusOK)
	p.click("[data-keys]")
	p.check("[data-keys-off]")
	p.press("Escape")
	if p.press("j"); len(current()) != 0 {
		t.Error("a key works that was turned off")
	}
	p.flawless()
}

// TestWithoutScript finds an alert and resolves it in a browser that runs no script.
func TestWithoutScript(t *testing.T) {
	s := large(t)
	p := s.enter(t, look{noScript: true})
	name := aboutCertificate(t, 9*24*time.Hour)
	p.follows(`header nav a:text-is("Alerts")`, http.StatusOK)
	p.fill(`.filter [name="hub"]`, s.refs[name].Hub)
	p.fill(`.filter [name="entity"]`, name)
	p.fill(`.filter [name="since"]`, "11d")
	p.follows(`.filter button`, http.StatusOK)
	p.follows(`tr[data-row] a:text("`+detector.CertificateAdded.Title+`")`, http.StatusOK)
	p.check(`[name="status"][value="resolved"]`)
	p.fill(`[name="reason"]`, "it was planned")
	p.follows(`.card form button`, http.StatusOK)
	if status := p.text(".state .status"); status != "Resolved" {
		t.Errorf("the status is %q", status)
	}
	if after, _, err := s.stores.Alerts.Find(t.Context(), s.refs[name]); err != nil || after.Status != "Resolved" || after.StatusReason != "it was planned" {
		t.Errorf("the table has %q, %q (%v)", after.Status, after.StatusReason, err)
	}
	// What needs script is not offered.
	p.opens(s.page(name), http.StatusOK)
	if buttons := p.texts("button[data-copy]:visible"); len(buttons) > 0 {
		t.Errorf("%d buttons to copy are shown, and do nothing", len(buttons))
	}
	if buttons := p.texts("[data-keys]:visible"); len(buttons) > 0 {
		t.Error("the button to show the keys is there, and does nothing")
	}
}
