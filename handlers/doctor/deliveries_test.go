package doctor

import (
	"strings"
	"testing"
	"time"
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
		{"two errors", []series{failing("Timeout", 2), failing("Unauthorized", 2)}, time.Time{}, Wrong, []string{"4 failed", "(Timeout, Unauthorized)", "its log says why", "deploy infra/subscriptions.bicep again"}},
	} {
		var successes []series
		if !c.success.IsZero() {
			successes = []series{{[]string{"certificateadded"}, 1, c.success}}
		}
		r := judgeDeliveries(c.failures, successes)
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
