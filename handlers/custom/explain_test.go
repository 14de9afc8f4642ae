package custom

import (
	"os"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	for _, source := range []Source{Resources, Logs, Hub} {
		a, err := New("TestAlert", source)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(repository(map[string]string{"TestAlert": string(Format(a))}))
		if err != nil || len(loaded) != 1 || loaded[0].Enabled {
			t.Errorf("%s: %+v, %v", source, loaded, err)
			continue
		}
		if err := loaded[0].Test(); err != nil {
			t.Errorf("%s: %v", source, err)
		}
		if n := strings.Count(string(Format(a)), "REPLACE: "); n != 8 {
			t.Errorf("%s: %d texts to replace", source, n)
		}
	}
	for name, source := range map[string]Source{"certificateAdded": Resources, "Verdicts": Resources, "no": Hub, "Fine": Connections, "AlsoFine": "x"} {
		if _, err := New(name, source); err == nil {
			t.Errorf("%s of %s can be begun", name, source)
		}
	}
}

// TestExplain checks what is said of an alert, and what is warned of.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		members string
		want    []string
		warned  []string
	}{
		{onKeys, []string{
			"Operations that Azure Resource Manager has ended, of the type Microsoft.Resources.ResourceActionSuccess; only the operation Microsoft.Devices/IotHubs/listkeys/action.",
			"A million events that it is given: $1.65, for 2 operations of Event Grid and one execution each. If it finds something in each: $1.72, for two requests to Table Storage more.",
			"The hub.", "Nothing has to be switched on.",
		}, nil},
		{`"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceWriteSuccess"]}, "count": {"per": "actor", "window": "PT1H", "max": 101, "min": 1}`, []string{
			"It raises an alert for each actor of a hub if it finds more than 101, or fewer than 1 in any window of PT1H.", "What is counted (Caller).",
		}, []string{"count.max is 101: each event of a key rewrites a row of up to 4 KB.", "looks for what is missing", "each operation of these types"}},
		{`"on": {"source": "logs", "category": "DeviceTelemetry"}, "group": {"devices": ["a*", "b"]}`, []string{
			"; only devices whose id is like one of a* or b.", "A diagnostic setting of the hub has to send this category", "A million records in the event hub: $0.028",
		}, []string{"Each record of the log is an alert", "publishes each record of the log DeviceTelemetry"}},
		{`"on": {"source": "logs", "category": "DeviceTelemetry", "operations": ["ingress"]}, "count": {"per": "address", "window": "PT1H", "max": 1}`, nil,
			[]string{"It counts by address", "a record of this log for each message"}},
		{`"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceTelemetry"]}, "count": {"per": "hub", "window": "PT1H", "max": 1}`, []string{"of which a hub has one at most"},
			[]string{"It counts by hub", "43 million events a month, which is $71"}},
	} {
		e := alertOf(t, c.members).Explain()
		text := strings.Join([]string{e.Watches, e.From, e.Counts, e.About, e.Costs}, "\n")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: want %q in\n%s", c.members, want, text)
			}
		}
		if len(e.Warnings) != len(c.warned) {
			t.Errorf("%s: warnings %q, want %d", c.members, e.Warnings, len(c.warned))
			continue
		}
		for i, want := range c.warned {
			if !strings.Contains(e.Warnings[i], want) {
				t.Errorf("%s: warning %q, want %q", c.members, e.Warnings[i], want)
			}
		}
	}
}

// TestPricesAreThoseOfThePage checks that the prices are in docs/cost.md.
func TestPricesAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, price := range map[string]string{"Event Grid": "$0.60", "executions": "$0.40", "events of an event hub": "$0.028", "table requests": "$0.00036"} {
		if !strings.Contains(string(page), price) {
			t.Errorf("%s: docs/cost.md does not have the price %s", what, price)
		}
	}
}
