package console

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
)

// TestRequests counts the requests to the tables that a page makes. The numbers are those
// of the formulas in docs/design.md, "The console".
func TestRequests(t *testing.T) {
	main, err := azurite.Find("../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	service, err := azurite.Start(context.Background(), azurite.Options{Main: main})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Kill)
	target, _, _ := strings.Cut(service.Endpoint(), "/devstoreaccount1")
	proxy := azurite.StartFaultyProxy(target, func(int, *http.Request) azurite.Fault { return azurite.Pass })
	t.Cleanup(proxy.Close)
	account, err := table.Open(table.Settings{ConnectionString: strings.Replace(service.ConnectionString(), target, proxy.URL, 1)})
	if err != nil {
		t.Fatal(err)
	}
	alerts, quarantine := account.Alerts("alerts"), account.Quarantine("quarantine")

	// Two alerts on each of three hubs, on each of ten days.
	const hubs, days = 3, 10
	const hubDays = hubs * days
	var first alert.Occurrence
	for hub := range hubs {
		for day := range days {
			for n := range 2 {
				o := occurred(fmt.Sprint("hub-", hub), fmt.Sprint("root-", n), now.AddDate(0, 0, -day))
				if first.ID == "" {
					first = o
				}
				if _, err := alerts.Record(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := alerts.Hear(t.Context(), "hub-0", alert.Connections, now); err != nil {
		t.Fatal(err)
	}
	h := New(Options{
		Alerts: alerts, Suppressions: account.Suppressions("suppressions"), Quarantine: quarantine, Connections: account.State(""), Detectors: detector.All,
		Session: func(*http.Request) (Session, error) { return Session{Person: bob}, nil },
		Command: "hubwatch", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	// A table of its own has more days than a page reads.
	older := account.Alerts("older")
	recordDays(t, older, "hub-0", mostDaysRead+5)
	back := New(Options{
		Alerts: older, Suppressions: account.Suppressions("suppressions"), Quarantine: quarantine, Connections: account.State(""), Detectors: detector.All,
		Session: func(*http.Request) (Session, error) { return Session{Person: bob}, nil },
		Command: "hubwatch", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	count := func(f func()) int {
		before := proxy.Requests()
		f()
		return proxy.Requests() - before
	}
	waiting := count(func() {
		if _, _, err := quarantine.Waiting(t.Context(), mostWaiting); err != nil {
			t.Fatal(err)
		}
	})
	const index = 2 // whether the index of days is complete, and the index
	for _, test := range []struct {
		name, address string
		want          int
	}{
		// The summary of each hub and day, when hubs were last heard of, and the alerts of
		// the oldest days, two here, that give eight lines.
		{"overview", "/", index + hubDays + 1 + 2*2*hubs + waiting},
		{"overview of a week", "/?days=7", index + 7*hubs + 1 + 2*2*hubs + waiting},
		// The summaries, and then summary and alerts of each hub and day, as there are fewer
		// than a page.
		{"list", "/alerts?status=open", index + hubDays + index + 2*hubDays},
		{"list of a hub", "/alerts?hub=hub-1&status=open", index + days + index + 2*days},
		{"list of a day", "/alerts?hub=hub-1&since=2026-02-08&until=2026-02-08", 1 + 2},
		{"list of an address", "/alerts?address=203.0.113.7", index + 2*hubDays},
		{"nothing resolved", "/alerts?status=resolved", index + hubDays + index + hubDays},
		// The alert, its history and its evidence. Then the alerts of its entity of a month,
		// and those of its actor of three days.
		{"one alert", "/alerts/hub-0/2026-02-08/" + first.ID, 3 + index + 2*days + index + 2*2*hubs},
		{"hubs", "/hubs", index + hubDays + 1},
		// When logs were heard, and the verdicts of the hub whose log was.
		{"connections", "/connections", 1 + 1},
		{"coverage", "/coverage", index + hubDays + 2}, {"coverage for programs", "/api/coverage", 2},
		{"API: one alert", "/api/alerts/hub-0/2026-02-08/" + first.ID, 3},
		{"API: news", "/api/news", index + 2*hubs},
		{"style", loadAssetPath(t), 0},
	} {
		have := count(func() {
			if w := get(t, h, test.address); w.Code != http.StatusOK {
				t.Errorf("%s: %d\n%.500s", test.name, w.Code, visible(w.Body.String()))
			}
		})
		if have != test.want {
			t.Errorf("%s: %d requests, want %d", test.name, have, test.want)
		}
	}
	for address, want := range map[string]int{
		"/alerts?entity=nothing": index + 2*mostDaysRead,
		"/alerts?entity=nothing&until=" + dayBefore(now.AddDate(0, 0, -mostDaysRead+1)): index + 2*5,
		"/alerts?status=resolved": 2 * (index + mostDaysRead + 5),
	} {
		have := count(func() {
			if w := get(t, back, address); w.Code != http.StatusOK {
				t.Errorf("%s: %d\n%.500s", address, w.Code, visible(w.Body.String()))
			}
		})
		if have != want {
			t.Errorf("%s: %d requests, want %d", address, have, want)
		}
	}
}

// recordDays records an alert on a hub for each of some days.
func recordDays(t *testing.T, alerts *table.Alerts, hub string, days int) {
	t.Helper()
	for day := range days {
		if _, err := alerts.Record(t.Context(), occurred(hub, "root", now.AddDate(0, 0, -day))); err != nil {
			t.Fatal(err)
		}
	}
}

// loadAssetPath returns the address of the style.
func loadAssetPath(t *testing.T) string {
	t.Helper()
	path, err := loadAssets().path("style.css")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// occurred returns an occurrence of the detector of added certificates.
func occurred(hub, certificate string, at time.Time) alert.Occurrence {
	a := raised(1, 0, hub, at)
	a.Entity.Name = certificate
	d := detector.All[0]
	o := alert.Occurrence{
		Detector: d.Name, Type: d.AlertType, DisplayName: d.Title, Severity: d.Severity, Remediation: d.Remediation, Finding: a.Finding,
		Event: alert.Event{Source: "/subscriptions/00000000-0000-0000-0000-000000000001", ID: "event", Time: at, Raw: []byte(`{}`)},
	}
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, at)
	return o
}
