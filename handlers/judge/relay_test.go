package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// failedConnection is a record of a device that was refused.
func failedConnection(device string) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"operationName":"deviceConnect","category":"Connections","level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized","properties":{"deviceId":%q,"authType":"sas"}}`, device)
}

// hubMessages returns messages as the host gives them to a function with an
// Event Hubs trigger, cardinality many and dataType string: a string that holds
// an array of strings.
func hubMessages(t *testing.T, messages ...string) jsontext.Value {
	t.Helper()
	list, err := json.Marshal(messages)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(string(list))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// quarantineStore is a quarantine in memory, or one that has an error.
type quarantineStore struct {
	kept []alert.Quarantined
	err  error
}

func (s *quarantineStore) Quarantine(_ context.Context, q alert.Quarantined) error {
	if s.err == nil {
		s.kept = append(s.kept, q)
	}
	return s.err
}

// published returns the events of an outcome, and fails if an output binding has
// more than a topic takes.
func published(t *testing.T, out host.Outcome) []jsontext.Value {
	t.Helper()
	var all []jsontext.Value
	for _, name := range RelayOutputs {
		if n := publishedLength(out.Outputs[name]); n > 1<<20 {
			t.Errorf("binding %s is published with %d bytes, and a topic takes 1 MB", name, n)
		}
		var events []jsontext.Value
		if len(out.Outputs[name]) > 0 {
			if err := json.Unmarshal(out.Outputs[name], &events); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, events...)
	}
	return all
}

func TestRelayTakesEveryFormOfMessages(t *testing.T) {
	record := failedConnection("pump-01")
	message := `{"records":[` + record + `]}`
	for name, data := range map[string]jsontext.Value{
		"a string of an array of strings": hubMessages(t, message, `{"records":[`+failedConnection("pump-02")+`]}`),
		"an array of objects":             jsontext.Value(`[` + message + `,` + failedConnection("pump-02") + `]`),
		"an object":                       jsontext.Value(`{"records":[` + record + `,` + failedConnection("pump-02") + `]}`),
	} {
		store := &quarantineStore{}
		out, err := Judge{Quarantine: store}.Relay(t.Context(), host.Invocation{Function: RelayName, Data: data})
		if n := len(published(t, out)); err != nil || n != 2 || len(store.kept) != 0 {
			t.Errorf("%s: %d events, %d quarantined, error %v; want two events", name, n, len(store.kept), err)
		}
		if out.Counts["token invalid"] != 2 {
			t.Errorf("%s: counts %v, want two of token invalid", name, out.Counts)
		}
	}
}

// TestRelayFillsBindings relays messages as long as Event Hubs takes them, of
// nothing but failed connections. None may be too much for the topic, which a
// batch that it refuses would hold up for ever, and nothing may be lost.
func TestRelayFillsBindings(t *testing.T) {
	for name, test := range map[string]struct {
		device string
		fits   bool
	}{
		"short names":                     {"d", true},
		"names that are written longer":   {strings.Repeat("+", 100), true},
		"names that are written twice so": {strings.Repeat("'", 20000), false},
		"one name that fills the message": {strings.Repeat("'", 1000000), false},
	} {
		var records []string
		for size := 0; len(records) == 0 || size+len(records[0]) < 1<<20-100; {
			records = append(records, failedConnection(fmt.Sprint(test.device, len(records))))
			size += len(records[len(records)-1]) + 1
		}
		store := &quarantineStore{}
		out, err := Judge{Quarantine: store}.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, `{"records":[`+strings.Join(records, ",")+`]}`)})
		if err != nil {
			t.Errorf("%s: error %v: the same batch would come again for ever", name, err)
		}
		kept := 0
		for _, q := range store.kept {
			var left []jsontext.Value
			if err := json.Unmarshal(q.Body, &left); err != nil { // the event of one record is longer than any event may be
				left = []jsontext.Value{q.Body}
			}
			kept += len(left)
		}
		if n := len(published(t, out)); n+kept != len(records) || (kept == 0) != test.fits {
			t.Errorf("%s: %d events and %d in quarantine of %d records", name, n, kept, len(records))
		}
	}
}

// TestPublishedLength checks the estimate to what .NET writes: \\u and four digits.
func TestPublishedLength(t *testing.T) {
	for e, most := range map[string]int{
		`{"a":"b"}`:                9,
		`{"a":"+'&<>` + "`" + `"}`: 8 + 6*6,
		`{"a":"\"\\\n"}`:           8 + 6 + 2 + 2,
		`{"a":"é€😀"}`:              8 + 6 + 6 + 12,
		`{"a":+1}`:                 8,
	} {
		if n := publishedLength(jsontext.Value(e)) - 80; n < most || n > most+20 {
			t.Errorf("%s: %d, and .NET writes %d", e, n, most)
		}
	}
}

func TestRelayQuarantines(t *testing.T) {
	good := failedConnection("pump-01")
	few := `{"records":[` + good + `,7,"x",` + failedConnection("pump-02") + `]}`
	many := `{"records":[` + good + strings.Repeat(`,7`, 50) + `]}`
	for name, test := range map[string]struct {
		data   jsontext.Value
		events int
		bodies []string
	}{
		"broken records alone":       {hubMessages(t, few), 2, []string{"7", `"x"`}},
		"a message of broken pieces": {hubMessages(t, many), 1, []string{many}},
		"a message that is not JSON": {hubMessages(t, "gibberish"), 0, []string{"gibberish"}},
		"no messages at all":         {jsontext.Value(`17`), 0, []string{"17"}},
	} {
		store := &quarantineStore{}
		out, err := Judge{Quarantine: store}.Relay(t.Context(), host.Invocation{Function: RelayName, Data: test.data})
		if n := len(published(t, out)); err != nil || n != test.events || out.Quarantined != len(test.bodies) || len(store.kept) != len(test.bodies) {
			t.Errorf("%s: %d events, %d quarantined, error %v; want %d and %d", name, n, len(store.kept), err, test.events, len(test.bodies))
			continue
		}
		for i, q := range store.kept {
			if string(q.Body) != test.bodies[i] || q.Reason == "" || q.Function != RelayName {
				t.Errorf("%s: quarantined %+v, want the body %s and a reason", name, q, test.bodies[i])
			}
		}
		failing := &quarantineStore{err: errors.New("table is down")}
		if out, err := (Judge{Quarantine: failing}).Relay(t.Context(), host.Invocation{Data: test.data}); err == nil || len(out.Outputs) > 0 {
			t.Errorf("%s: with a quarantine that is down the error is %v and there are %d outputs: want a batch that is tried again", name, err, len(out.Outputs))
		}
	}
}

// TestRelayCountsWhatNamesNoDevice checks that failed connections whose records name
// no device are one alert about the hub a day, with each of them as its evidence, and
// that none of them is quarantined. A record that names no hub is.
func TestRelayCountsWhatNamesNoDevice(t *testing.T) {
	var records []string
	for i := range 40 {
		r := strings.Replace(failedConnection(""), "10:00:00", fmt.Sprintf("10:00:%02d", i), 1)
		switch {
		case i%4 == 1:
			r = strings.Replace(r, `"deviceId":""`, `"deviceId":null`, 1)
		case i%4 == 2:
			r = strings.Replace(r, `"deviceId":"",`, ``, 1)
		case i%4 == 3:
			r = strings.Replace(r, `"deviceId":""`, `"deviceId":{}`, 1)
		}
		records = append(records, r, strings.Replace(r, "2026-02-01", "2026-02-02", 1))
	}
	nowhere := strings.Replace(failedConnection(""), "CONTOSO-HUB", "", 1)
	store := &quarantineStore{}
	out, err := Judge{Quarantine: store}.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, `{"records":[`+strings.Join(append(records, nowhere), ",")+`]}`)})
	if err != nil || len(store.kept) != 1 || string(store.kept[0].Body) != nowhere {
		t.Errorf("quarantined %+v, error %v; want the record that names no hub", store.kept, err)
	}
	alerts, evidence := map[string]int{}, map[string]bool{}
	for _, raw := range published(t, out) {
		for _, d := range detector.All {
			v := d.Judge(raw)
			if v.Err != nil {
				t.Errorf("%s: %v", d.Name, v.Err)
			}
			for _, o := range v.Occurrences {
				if o.Entity != (alert.Entity{Type: alert.IoTHub, Name: "CONTOSO-HUB"}) || !strings.HasPrefix(o.Message, "A device that the log does not name was refused by ") {
					t.Errorf("an alert about %+v: %s", o.Entity, o.Message)
				}
				alerts[o.ID]++
				evidence[o.Event.ID] = true
			}
		}
	}
	counts := slices.Collect(maps.Values(alerts))
	if !slices.Equal(counts, []int{40, 40}) || len(evidence) != 80 {
		t.Errorf("alerts that count %v, of %d events; want one of 40 for each of two days", counts, len(evidence))
	}
}

// TestRelayCountsUnknownSentences checks that the log of an invocation has the
// sentences that no rule knows.
func TestRelayCountsUnknownSentences(t *testing.T) {
	message := `{"records":[` + strings.Replace(failedConnection("pump-01"), `"IotHubUnauthorized"`, `"The moon is in the way."`, 1) + `]}`
	out, err := Judge{Quarantine: &quarantineStore{}}.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, message)})
	if err != nil || out.Counts["unclassified"] != 1 || out.Counts["unknown sentence: the moon is in the way."] != 1 {
		t.Errorf("counts %v, error %v", out.Counts, err)
	}
}

// TestRelayAnswersWhatTheHostCanRead checks that records of which the host could not
// read the events do not hold up the others, that all of a message take one row of the
// quarantine, and that they can be redriven, which needs no host.
func TestRelayAnswersWhatTheHostCanRead(t *testing.T) {
	with := func(device, member string) string {
		return strings.Replace(failedConnection(device), `"category"`, `"more":`+member+`,"category"`, 1)
	}
	message := `{"records":[` + strings.Join([]string{
		with("deep", strings.Repeat("[", 60)+strings.Repeat("]", 60)),
		with("deeper", strings.Repeat("[", 9000)+strings.Repeat("]", 9000)),
		with("long", strings.Repeat("9", 400)),
		with("large", "1e400"),
		with("time", `"/Date(9223372036854775807)/"`),
		with("last-day", `"9999-12-31T24:00:00"`),
		with("plain", `[1,"2026-02-01T10:00:00Z"]`),
	}, ",") + `]}`
	store := &quarantineStore{}
	j := Judge{Quarantine: store, Alerts: recorder{recorded: alert.Recorded{Outcome: alert.New}}}
	out, err := j.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, message)})
	if err != nil {
		t.Fatal(err)
	}
	events := published(t, out)
	if len(events) != 1 || !strings.Contains(string(events[0]), `devices/plain`) {
		t.Errorf("%d events, want that of the plain record", len(events))
	}
	if len(store.kept) != 1 || out.Quarantined != 1 || !strings.Contains(store.kept[0].Reason, "the Functions host cannot read 6 events, the first because of more than 61 objects and arrays") {
		t.Fatalf("quarantined %+v, want one row with six events", store.kept)
	}
	again, err := j.Redrive(t.Context(), detector.All, store.kept[0])
	if err != nil || len(again.Occurrences) != 6 || len(again.Reasons) > 0 {
		t.Errorf("redriven: %d alerts, reasons %q, error %v; want six alerts", len(again.Occurrences), again.Reasons, err)
	}
}
