package browser

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

// crowd returns n alerts of a hub on a day, each about another device.
func crowd(n int, at time.Time) (all []alert.Occurrence) {
	for i := range n {
		all = append(all, happened{detector: "DeviceTokenExpired", hub: "plant-hub", name: fmt.Sprintf("pump-%d", i), at: at}.occurrence())
	}
	return all
}

// TestWhole changes all alerts of a filter, with script and without. Those that cannot be
// changed say why.
func TestWhole(t *testing.T) {
	setUp(t)
	const n = 250 // more than a page, and more than a round
	at := time.Now().Add(-36 * time.Hour)
	occurrences := crowd(n, at)
	s, err := open(t.Context(), "crowd", occurrences)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	statuses := func() string {
		t.Helper()
		counts := map[alert.Status]int{}
		for a, err := range s.stores.Alerts.List(t.Context(), alert.Query{Hub: "plant-hub"}) {
			if err != nil {
				t.Fatal(err)
			}
			counts[a.Status]++
		}
		return fmt.Sprint(counts)
	}
	for _, noScript := range []bool{false, true} {
		p := s.enter(t, look{noScript: noScript})
		for _, step := range []struct {
			query, status, verdict string
			offer, heading, after  string
			left                   string
		}{
			{"hub=plant-hub&type=DeviceTokenExpired", "dismissed", "Benign", "All 250 that match…", "250 alerts would become Dismissed, benign", "250 alerts changed", "map[Dismissed:250]"},
			{"hub=plant-hub&status=closed", "active", "", "All 250 that match…", "250 alerts would become Active", "250 alerts changed", "map[Active:250]"},
		} {
			p.opens(s.origin+"/alerts?"+step.query, http.StatusOK)
			if offer := p.text(".bulk [formaction]"); offer != step.offer {
				t.Errorf("the list offers %q, want %q", offer, step.offer)
			}
			before := statuses()
			p.choose(`.bulk [name="status"]`, step.status)
			p.choose(`.bulk [name="verdict"]`, step.verdict)
			p.fill(`.bulk [name="reason"]`, "the whole plant got new tokens")
			p.follows(".bulk [formaction]", http.StatusOK)
			if h1 := p.text("h1"); h1 != step.heading || statuses() != before {
				t.Errorf("the page says %q, want %q, and the alerts are %s", h1, step.heading, statuses())
			}
			if command := p.text(".same code"); !strings.HasSuffix(command, "--dry-run") {
				t.Errorf("the command is %q", command)
			}
			for _, l := range looks {
				p.looks(l)
				if !noScript {
					p.contained(l.String())
					p.accessible(l.String(), l.dark)
				}
			}
			p.follows(`[aria-label="Change them"] button`, http.StatusOK)
			p.waits(".button", "Back to the list")
			if h1 := p.text("h1"); h1 != step.after {
				t.Errorf("the page says %q, want %q", h1, step.after)
			}
			if have := statuses(); have != step.left {
				t.Errorf("the alerts are %s, want %s", have, step.left)
			}
			p.contained("the end")
			if !noScript {
				p.accessible("the end", false)
				p.flawless()
			}
		}
	}

	// Somebody closes one while a person thinks about the page.
	p := s.enter(t, look{})
	p.opens(s.origin+"/alerts?hub=plant-hub&status=open", http.StatusOK)
	p.choose(`.bulk [name="status"]`, "in-progress")
	p.fill(`.bulk [name="reason"]`, "the team looks at the plant")
	p.follows(".bulk [formaction]", http.StatusOK)
	if _, err := s.stores.Alerts.Change(t.Context(), s.refs["pump-7"], alert.Change{Status: alert.Resolved, Reason: "mended", By: alert.Person{Name: "carol@contoso.example"}, Via: "cli"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.stores.Alerts.Change(t.Context(), s.refs["pump-8"], alert.Change{Verdict: alert.TruePositive, Reason: "a thief", By: alert.Person{Name: "carol@contoso.example"}, Via: "cli"}); err != nil {
		t.Fatal(err)
	}
	p.follows(`[aria-label="Change them"] button`, http.StatusConflict)
	if h1, text := p.text("h1"), p.text("main"); h1 != "248 alerts changed" || !strings.Contains(text, "1 changed by somebody else") || !strings.Contains(text, "carol@contoso.example") {
		t.Errorf("the page says %q: %s", h1, text)
	}
	if have := statuses(); have != "map[Active:1 InProgress:248 Resolved:1]" {
		t.Errorf("the alerts are %s", have)
	}
	p.do("faults", nil, nil) // the browser itself reports the status
}

// slow is a store that takes a time for each change.
type slow struct {
	store
	change time.Duration
}

// Change implements alert.Editor.
func (s slow) Change(ctx context.Context, ref alert.Ref, c alert.Change) (alert.Alert, error) {
	select {
	case <-ctx.Done():
		return alert.Alert{}, ctx.Err()
	case <-time.After(s.change):
		return s.store.Change(ctx, ref, c)
	}
}

// TestWholeGoesOn changes more alerts than one step has the time for. The page goes on by
// itself; without script it has a button.
func TestWholeGoesOn(t *testing.T) {
	setUp(t)
	s, err := open(t.Context(), "goeson", crowd(150, time.Now().Add(-36*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	s.server.Close()
	s.serve(slow{s.stores.Alerts, 55 * time.Millisecond}) // a round of a hundred takes longer than a step
	t.Cleanup(s.server.Close)
	for _, noScript := range []bool{false, true} {
		p := s.enter(t, look{noScript: noScript})
		status, reason := "in-progress", "the team looks at the plant"
		if noScript {
			status, reason = "resolved", "mended"
		}
		p.opens(s.origin+"/alerts?hub=plant-hub", http.StatusOK)
		p.choose(`.bulk [name="status"]`, status)
		p.fill(`.bulk [name="reason"]`, reason)
		p.follows(".bulk [formaction]", http.StatusOK)
		p.click(`[aria-label="Change them"] button`)
		if noScript {
			p.waits("h1", "100 of 150 alerts changed so far")
			p.contained("a step")
			p.follows(`button:text("Go on")`, http.StatusOK)
		}
		p.waits(".button", "Back to the list")
		if h1 := p.text("h1"); h1 != "150 alerts changed" {
			t.Errorf("the page says %q", h1)
		}
		for a, err := range s.stores.Alerts.List(t.Context(), alert.Query{Hub: "plant-hub"}) {
			if err != nil || a.StatusReason != reason {
				t.Fatalf("%s is %s, %q (%v)", a.Ref(), a.Status, a.StatusReason, err)
			}
		}
	}
}

// TestPhone measures a list and an alert in a narrow window: an alert of the list has four
// lines at most, and the form of the status is above the commands.
func TestPhone(t *testing.T) {
	s := large(t)
	p := s.inside(t, look{width: 375})
	p.opens(s.origin+"/alerts?type=CertificateAdded&since=3d", http.StatusOK)
	lines := runs[[]float64](p, `[...document.querySelectorAll('tr[data-row]')].map((row) => (row.offsetHeight - 16) / 24)`)
	for _, n := range lines {
		if n > 4.5 {
			t.Errorf("an alert of the list has %.1f lines", n)
		}
	}
	if len(lines) < 10 {
		t.Errorf("the list has %d rows", len(lines))
	}
	if top := runs[float64](p, `document.querySelector('tr[data-row]').getBoundingClientRect().top`); top > 400 {
		t.Errorf("the list begins %.0f pixels below the top of the window", top)
	}

	name := aboutCertificate(t, 14*24*time.Hour)
	p.opens(s.page(name), http.StatusOK)
	above := runs[bool](p, `document.querySelector('#status').getBoundingClientRect().top < document.querySelector('#do').getBoundingClientRect().top`)
	if top := runs[float64](p, `document.querySelector('.fold summary').getBoundingClientRect().bottom`); !above || top > 800 {
		t.Errorf("the form of the status is above what to do: %v, and %.0f pixels below the top", above, top)
	}
	p.click(".fold summary")
	p.check(`[name="status"][value="in-progress"]`)
	p.fill(`.card [name="reason"]`, "I look at it")
	p.follows(`.card form button`, http.StatusOK)
	if status := p.text(".state .status"); status != "In progress" {
		t.Errorf("the status is %q", status)
	}
	p.flawless()
}

// TestNamesDoNotBreak measures the list in a wide window: names as they usually are stay
// on one line.
func TestNamesDoNotBreak(t *testing.T) {
	s := large(t)
	p := s.inside(t, look{})
	p.opens(s.origin+"/alerts?hub=contoso-hub-west&since=8d", http.StatusOK)
	broken := runs[[]string](p, `[...document.querySelectorAll('.c-entity .name, .c-entity .dim, .c-actor .name')].filter((e) => e.offsetHeight > 30).map((e) => e.innerText)`)
	if rows := p.texts("tr[data-row]"); len(rows) != 100 || len(broken) > 0 {
		t.Errorf("%d rows, with the broken names %q", len(rows), broken)
	}
}
