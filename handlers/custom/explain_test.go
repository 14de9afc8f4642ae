package custom

import (
	"os"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	for _, source := range Sources {
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
		if n := len(a.replaced()); n != 6+len(a.Cases) || !a.Draft() {
			t.Errorf("%s: %d texts to replace", source, n)
		}
		for _, word := range []string{"docs/custom-alerts.md", "when", "message", "operation", "subject", "properties", "entity", "count"} {
			if !strings.Contains(strings.Join(a.Comment, "\n"), word) || a.On.Comment == nil {
				t.Errorf("%s: the comments do not name %s", source, word)
			}
		}
		if strings.Contains(string(Pack([]Alert{{Name: "A", Enabled: true, Comment: a.Comment, On: a.On}})), "comment") {
			t.Errorf("%s: comments are packed", source)
		}
		// Each text is named with its place once the alert is enabled.
		_, err = Load(repository(map[string]string{"TestAlert": strings.Replace(string(Format(a)), `"enabled": false`, `"enabled": true`, 1)}))
		found := Mistakes(err)
		if len(found) != 6+len(a.Cases) || found[0].Line < 10 || found[0].Text != "title: a text that begins with REPLACE is to be replaced before the alert is enabled" {
			t.Errorf("%s: enabled as it is: %v", source, err)
		}
	}
	for name, source := range map[string]Source{"certificateAdded": Resources, "Verdicts": Resources, "Host": Resources, "HOST": Hub, "no": Hub, "AlsoFine": "x"} {
		if _, err := New(name, source); err == nil {
			t.Errorf("%s of %s can be begun", name, source)
		}
	}
}

// TestExamplesOfComments loads the members that the comments of New show.
func TestExamplesOfComments(t *testing.T) {
	for source, example := range examples {
		on := map[Source]string{Resources: onKeys, Logs: `"on": {"source": "logs", "category": "TwinQueries"}`, Hub: `"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}`, Connections: `"on": {"source": "connections"}`}[source]
		alertOf(t, on+", "+example.entity+", "+example.properties)
		if example.count != "" {
			alertOf(t, on+", "+example.count)
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
			"A million events that it is given: $1.65, for 2 operations of Event Grid and one execution each. If it finds something in each: $1.69, for 1 request to Table Storage more.",
			"The hub.", "Nothing has to be switched on.",
		}, nil},
		{`"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceWriteSuccess"]}, "count": {"per": "actor", "window": "PT1H", "max": 101, "min": 1}`, []string{
			"It raises an alert for each actor on a hub if it finds more than 101 in any window of PT1H: the window slides",
			"for each actor on a hub if it finds fewer than 1 in a window of PT1H that begins at a quarter of its length, so each PT15M: these windows do not slide. A stretch with fewer than 1 holds such a window for certain if it lasts PT1H15M;",
			"Counting takes up to 4 requests to Table Storage more for each event in which it finds something: $0.14 for a million.",
			"For min a timer reads what is expected each PT15M: 100 requests, and 6 more for each thousand keys. In a month that is $0.01, and $0.62 for each million keys.",
			"What is counted (Caller).",
		}, []string{"count.max is 101: each event of a key rewrites a row of up to 4 KB.", "looks for what is missing", "each operation of these types"}},
		{`"on": {"source": "logs", "category": "DeviceTelemetry"}, "group": {"devices": ["a*", "b"]}`, []string{
			"; only devices whose id is like one of a* or b.", "add 'DeviceTelemetry' to the parameter logCategories of infra/main.bicep, for example logCategories = ['Connections', 'DeviceTelemetry']",
			"Each record in which it finds something takes 1 request to Table Storage more: $0.04 for a million.", "A million records in the event hub: $0.028",
		}, []string{"Each record of the log is an alert", "publishes each record of the log DeviceTelemetry"}},
		{`"on": {"source": "logs", "category": "DeviceTelemetry", "operations": ["ingress"]}, "count": {"per": "address", "window": "PT1H", "max": 1}`,
			[]string{"for each address on a hub if it finds more than 1", "Counting takes up to 2 requests to Table Storage more for each value of address in an event, all of whose records are counted together: $0.07 for a million."},
			[]string{"It counts by address", "a record of this log for each message"}},
		{`"on": {"source": "logs", "category": "Connections", "operations": ["deviceConnect"]}, "count": {"per": "device", "window": "PT5M", "min": 2}`,
			[]string{"logCategories of infra/main.bicep has Connections by itself", "for each device of a hub if it finds fewer than 2 in a window of PT5M", "so each PT1M15S", "up to 2 requests"}, []string{"looks for what is missing"}},
		{`"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceTelemetry"]}, "count": {"per": "hub", "window": "PT1H", "max": 1}`, []string{"of which a hub has one at most. To switch it on,", "hubTopicNames = { 'contoso-hub': 'its-topic' }", "It raises an alert for each hub if it finds more than 1 in any window"},
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

// TestExplainNamesParameters checks that the parameters that switch a source on are those of
// infra/main.bicep.
func TestExplainNamesParameters(t *testing.T) {
	template, err := os.ReadFile("../../infra/main.bicep")
	if err != nil {
		t.Fatal(err)
	}
	for parameter, on := range map[string]string{
		"logCategories": `"on": {"source": "logs", "category": "DirectMethods"}`,
		"hubTopicNames": `"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}`,
		"iotHubs":       `"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}`,
	} {
		if text := alertOf(t, on).Explain().From; !strings.Contains(text, parameter) || !strings.Contains(string(template), "\nparam "+parameter+" ") {
			t.Errorf("%s: %s", parameter, text)
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
