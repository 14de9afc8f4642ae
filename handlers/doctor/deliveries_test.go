package doctor

import (
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/app"
)

// TestRefusedDeliveries says of errors of deliveries what to do.
func TestRefusedDeliveries(t *testing.T) {
	at := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	failing := func(e string, n float64) series { return series{[]string{"CertificateAdded", e}, n, at} }
	for _, c := range []struct {
		name     string
		failures []series
		success  time.Time
		want     Verdict
		parts    []string
	}{
		{"nothing", nil, time.Time{}, OK, []string{"none failed in 6 hours"}},
		{"a replaced key", []series{failing("Unauthorized", 4)}, at.Add(-time.Hour), Wrong,
			[]string{"CertificateAdded: 4 failed and none succeeded since, the last in the five minutes from 2026-02-01 12:00 UTC (Unauthorized)", "azure-functions-host/pull/11904", "deploy infra/subscriptions.bicep again"}},
		{"a replaced key, by its status", []series{failing("401", 4)}, time.Time{}, Wrong, []string{"deploy infra/subscriptions.bicep again"}},
		{"three failures", []series{failing("Unauthorized", 3)}, time.Time{}, Unknown, []string{"azure-functions-host/issues/11834", "ask again in an hour"}},
		{"first deliveries", []series{failing("Unauthorized", 99)}, at, OK, []string{"99 failed in 6 hours, and later ones succeeded", "azure-functions-host/issues/11834", "alwaysReady"}},
		{"a closed door", []series{failing("Forbidden", 4)}, time.Time{}, Wrong, []string{"lets the service tag AzureEventGrid in"}},
		{"no function", []series{failing("NotFound", 4)}, time.Time{}, Wrong, []string{"make publish, and then deploy infra/subscriptions.bicep"}},
		{"a failing handler", []series{failing("GenericError", 4)}, time.Time{}, Wrong, []string{"its log says why"}},
		{"somebody else's", []series{{[]string{"theirs", "Unauthorized"}, 4, at}}, time.Time{}, OK, []string{"none failed in 6 hours; some failed of event subscriptions that are not hubwatch's: theirs"}},
		{"two errors", []series{failing("Timeout", 2), failing("Unauthorized", 2)}, time.Time{}, Wrong, []string{"4 failed", "(Timeout, Unauthorized)", "its log says why", "deploy infra/subscriptions.bicep again"}},
	} {
		var successes []series
		if !c.success.IsZero() {
			successes = []series{{[]string{"certificateadded"}, 1, c.success}}
		}
		r := judgeDeliveries(c.failures, successes, []app.Subscription{{Name: "CertificateAdded"}})
		if r.Verdict != c.want {
			t.Errorf("%s: %s, want %s", c.name, r, c.want)
		}
		for _, part := range c.parts {
			if !strings.Contains(r.Text, part) {
				t.Errorf("%s: want %q in %s", c.name, part, r.Text)
			}
		}
	}
}

// TestRefusalsAreNoticed replaces the key of Event Grid in a deployment of which only the hourly
// canary is delivered. The alert of Azure Monitor about each topic fires within the hour. The
// pauses are those of
// https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-schedule, of which 401
// shortens none below five minutes.
func TestRefusalsAreNoticed(t *testing.T) {
	var attempts []time.Duration
	for canary := range 2 {
		at := time.Duration(canary) * time.Hour
		for _, pause := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour} {
			attempts = append(attempts, at)
			at += max(pause, 5*time.Minute)
		}
	}
	alerts := 0
	for _, f := range Failures {
		if f.Metric != "DeliveryAttemptFailCount" {
			continue
		}
		alerts++
		fires := false
		for now := time.Duration(0); now <= time.Hour; now += 5 * time.Minute {
			n := 0
			for _, at := range attempts {
				if at <= now && at > now-time.Hour {
					n++
				}
			}
			fires = fires || n > f.Threshold
		}
		if !fires || f.Window != "PT1H" {
			t.Errorf("%s with threshold %d and window %s does not fire", f.Name, f.Threshold, f.Window)
		}
	}
	if alerts != 3 {
		t.Errorf("%d alerts are about refused deliveries, want one for each topic", alerts)
	}
}
