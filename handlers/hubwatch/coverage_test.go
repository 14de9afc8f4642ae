package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/local/azurite"
)

// TestCoverage checks what people and programs see of sources and paths.
func TestCoverage(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	b.expect(t, 1, "coverage", "no alert was ever raised here")
	now := time.Now()
	if err := b.Alerts.Hear(t.Context(), "Contoso-Hub", alert.LogSource("Routes"), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.Alerts.Hear(t.Context(), "rg-iot", alert.Resources, now); err != nil {
		t.Fatal(err)
	}
	b.expect(t, 0, "hubs", "contoso-hub     0 ", "No hub has an alert of the last 30 days: see --since.")
	// Custom alerts can have further sources, which make the columns wider.
	says := func(parts ...string) {
		t.Helper()
		said := strings.Join(strings.Fields(b.expect(t, 0, "coverage")), " ")
		for _, part := range parts {
			if !strings.Contains(said, part) {
				t.Errorf("hubwatch coverage does not say %q:\n%s", part, said)
			}
		}
	}
	says("HUB", "contoso-hub changes - never contoso-hub connections - never ", "contoso-hub log.Routes "+now.Add(-time.Hour).UTC().Format(minutes)+" ", " seconds ago unproven topic: no canary was ever sent ", "unproven changes: not proven")
	if err := b.Alerts.Expect(t.Context(), []string{"contoso-hub", "Contoso-Spare"}); err != nil {
		t.Fatal(err)
	}
	says("contoso-hub connections - never ", "contoso-spare changes - never contoso-spare connections - never ")
	b.expect(t, 0, "coverage -o json", `{
      "hubName": "contoso-spare",
      "source": "connections"
    }`)
	send := func(path coverage.Path, ago time.Duration) coverage.Canary {
		c := coverage.Canary{Path: path, Token: string(path), Sent: now.Add(-ago)}
		if err := errors.Join(b.Alerts.Send(t.Context(), c, 15*time.Minute, nil), b.Alerts.Handed(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if _, err := b.Alerts.Arrive(t.Context(), send(coverage.Topic, time.Minute), now.Add(-59*time.Second)); err != nil {
		t.Fatal(err)
	}
	b.expect(t, 0, "coverage", "works     topic: a canary went through at ", " UTC, in 1s\n")
	send(coverage.EventHub, 14*time.Minute) // of 15
	b.expect(t, 0, "coverage", "waiting   event-hub: a canary is under way since ")
	send(coverage.EventHub, 20*time.Minute)
	b.expect(t, 1, "coverage", "works     topic: ", "broken    event-hub: the canary of ", " did not arrive; none ever arrived\n")
	if out := b.expect(t, 1, "coverage -o json", `"hubName": "contoso-hub"`); strings.Contains(out, "rg-iot") {
		t.Errorf("a resource group is a hub: %s", out)
	}
	b.expect(t, 1, "coverage -o json", `"source": "log.Routes"`, `"state": "broken"`, `"tookSeconds": 1`)
	send(coverage.EventHub, 2*time.Hour)
	b.expect(t, 1, "coverage", "stopped   event-hub: no canary was sent for 2 hours")
}
