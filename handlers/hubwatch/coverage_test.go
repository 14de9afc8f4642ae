package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	b.expect(t, 0, "coverage", "HUB", "contoso-hub  changes      -                 never\ncontoso-hub  connections  -                 never\n", "contoso-hub  log.Routes   "+now.Add(-time.Hour).UTC().Format(minutes)+"  ", " seconds ago\n\nunproven  topic: no canary was ever sent\n", "unproven  changes: not proven")
	if err := b.Alerts.Expect(t.Context(), []string{"contoso-hub", "Contoso-Spare"}); err != nil {
		t.Fatal(err)
	}
	b.expect(t, 0, "coverage", "contoso-hub    connections  -                 never\n", "contoso-spare  changes      -                 never\ncontoso-spare  connections  -                 never\n")
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

// TestPathsFitTheTerminal checks that what is said of a path goes on below its beginning.
func TestPathsFitTheTerminal(t *testing.T) {
	var out strings.Builder
	writePaths(&out, []coverage.Report{
		{Path: coverage.Topic, State: coverage.Works, Text: "a canary went through at 2026-02-01 08:00 UTC, in 88ms"},
		{Path: coverage.Changes, State: coverage.Unproven, Text: "not proven, since only Azure Resource Manager can publish there, and no tag is written for it"},
	}, 80)
	want := `works     topic: a canary went through at 2026-02-01 08:00 UTC, in 88ms
unproven  changes: not proven, since only Azure Resource Manager can publish
          there, and no tag is written for it
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}
