package export

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

const testSource = "/hubwatch/contosostorage/alerts"

// TestCloudEvents checks that the schema takes every alert, and refuses faults.
func TestCloudEvents(t *testing.T) {
	schema := compiled(t, "testdata/cloudevents.schema.json")
	for name, s := range corpus(t) {
		text := written(t, NewCloudEvent(s.alert, testSource))
		if err := schema.Validate(parsed(t, text)); err != nil {
			t.Errorf("%s: %v\n%.2000s", name, err, text)
		}
	}
	var faults []fault
	for _, name := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"} {
		faults = append(faults, fault{"no " + name, func(d map[string]any) { delete(d, name) }})
	}
	refuses(t, schema.Validate, written(t, NewCloudEvent(whole(), testSource)), append(faults,
		fault{"another version", func(d map[string]any) { d["specversion"] = "0.3" }},
		fault{"an empty id", func(d map[string]any) { d["id"] = "" }},
		fault{"a number as id", func(d map[string]any) { d["id"] = 1 }},
		fault{"a source that is no URI", func(d map[string]any) { d["source"] = "%zz" }},
		fault{"a type that is not ours", func(d map[string]any) { d["type"] = "hubwatch.alert" }},
		fault{"a time without a zone", func(d map[string]any) { d["time"] = "2026-02-01T08:00:01" }},
		fault{"an attribute with capital letters", func(d map[string]any) { d["hubName"] = "contoso-hub" }},
		fault{"an attribute that is an object", func(d map[string]any) { d["hub"] = map[string]any{} }},
		fault{"data twice", func(d map[string]any) { d["data_base64"] = "e30=" }},
	))
}

// TestCloudEventOfEachChange checks the type, the id and the time of an event, which
// are those of the newest change.
func TestCloudEventOfEachChange(t *testing.T) {
	a, samples := whole(), corpus(t)
	type event struct {
		Type, ID string
		Time     time.Time
	}
	for name, want := range map[string]event{
		"new":                    {TypeRaised, a.ID + "/0", a.Generated},
		"whole":                  {TypeChanged, a.ID + "/2", a.StatusTime},
		"status Active":          {TypeChanged, a.ID + "/2", a.StatusTime}, // by a person
		"status Resolved":        {TypeChanged, a.ID + "/2", a.StatusTime},
		"reopened":               {TypeReopened, a.ID + "/2", a.StatusTime},
		"changed without a time": {TypeChanged, a.ID + "/2", a.Generated},
	} {
		e := NewCloudEvent(samples[name].alert, testSource)
		if diff := cmp.Diff(want, event{e.Type, e.ID, e.Time}); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
	impostor := whole()
	impostor.Status, impostor.StatusBy = alert.Active, alert.Person{Name: "hubwatch", ObjectID: "00000000-0000-4000-8003-000000000009"}
	if e := NewCloudEvent(impostor, testSource); e.Type != TypeChanged {
		t.Errorf("a change by somebody who is called hubwatch is %s", e.Type)
	}
	if got := CloudEventSource("contosostorage", "alerts"); got != testSource {
		t.Errorf("the source is %q, want %q", got, testSource)
	}
}

// TestRaising checks that a raising has one id and one type, whatever happens to its alert
// afterwards.
func TestRaising(t *testing.T) {
	a, samples := whole(), corpus(t)
	type event struct {
		Type, ID string
		Time     time.Time
	}
	huge := whole()
	huge.Properties = map[string]string{"Long": strings.Repeat("x", mostProperties)}
	for _, c := range []struct {
		name string
		alert.Raising
		want event
	}{
		{"raised", alert.Raising{Alert: samples["new"].alert}, event{TypeRaised, a.ID + "/0", a.Generated}},
		{"raised, and changed since", alert.Raising{Alert: a}, event{TypeRaised, a.ID + "/0", a.Generated}},
		{"reopened", alert.Raising{Alert: samples["reopened"].alert, Number: 2}, event{TypeReopened, a.ID + "/2", a.StatusTime}},
		{"reopened, and changed since", alert.Raising{Alert: a, Number: 1}, event{TypeReopened, a.ID + "/1", a.End}},
		{"with long properties", alert.Raising{Alert: huge}, event{TypeRaised, a.ID + "/0", a.Generated}},
	} {
		e := NewRaising(c.Raising, testSource)
		if diff := cmp.Diff(c.want, event{e.Type, e.ID, e.Time}); diff != "" {
			t.Errorf("%s (-want +have):\n%s", c.name, diff)
		}
		text, err := e.AppendJSON(nil)
		if err != nil || len(text) > mostProperties {
			t.Errorf("%s: %v, %d bytes, want %d at most", c.name, err, len(text), mostProperties)
		}
	}
	if e := NewRaising(alert.Raising{Alert: a}, testSource); len(e.Data.ExtendedProperties) != len(a.Properties) {
		t.Errorf("an event has %d properties, want %d", len(e.Data.ExtendedProperties), len(a.Properties))
	}
}

func TestCloudEventGolden(t *testing.T) {
	golden(t, "cloudevent.json", written(t, NewCloudEvent(whole(), testSource)))
}

// TestEventsAreWrittenAsJSON checks that an event is written as the JSON package writes it,
// also if one of its members alone has a value.
func TestEventsAreWrittenAsJSON(t *testing.T) {
	events := map[string]CloudEvent{"empty": {}}
	for name, s := range corpus(t) {
		events[name] = NewCloudEvent(s.alert, testSource)
	}
	full := Entity{"t", "r", "d", "m", &Entity{Type: "h"}, "n", "u", "a", "x"}
	for _, value := range []reflect.Value{
		reflect.ValueOf("a \"text\"\\ \u202e\x7f\xff é<&"), reflect.ValueOf([]string{"a", "b"}), reflect.ValueOf(map[string]string{"b": "1", "a": "\t", "": "3"}),
		reflect.ValueOf(map[string]string{"\U0001F600": "1", "\uffee": "2", "\xff": "3"}), reflect.ValueOf(true), reflect.ValueOf(-7),
		reflect.ValueOf(time.Date(2026, 2, 1, 8, 0, 1, 1_000, time.UTC)), reflect.ValueOf(time.Date(2026, 2, 1, 8, 0, 1, 0, time.FixedZone("", 3600))),
		reflect.ValueOf(time.Date(12026, 2, 1, 8, 0, 1, 0, time.UTC)),
		reflect.ValueOf([]Entity{full, {}}), reflect.ValueOf([]ResourceIdentifier{{"t", "r"}, {}}),
	} {
		var e CloudEvent
		for of, v := range map[string]reflect.Value{"event": reflect.ValueOf(&e).Elem(), "alert": reflect.ValueOf(&e.Data).Elem()} {
			for i := range v.NumField() {
				if value.Type().ConvertibleTo(v.Field(i).Type()) && value.Kind() == v.Field(i).Kind() {
					e = CloudEvent{}
					v.Field(i).Set(value.Convert(v.Field(i).Type()))
					events[fmt.Sprintf("%s.%s of %v", of, v.Type().Field(i).Name, value)] = e
				}
			}
		}
	}
	if len(events) < 100 {
		t.Fatalf("%d events", len(events))
	}
	quick := 0
	for name, e := range events {
		text, want := json.Marshal(e, jsonOptions)
		have, err := e.AppendJSON(nil)
		if (err != nil) != (want != nil) || err == nil && string(have) != secret.VisibleJSON(string(text)) {
			t.Errorf("%s: error %v, want %v\nhave %s\nwant %s", name, err, want, have, text)
		}
		if _, ok := e.append(nil); ok {
			quick++
		}
	}
	if quick < len(events)/2 {
		t.Errorf("%d of %d events are written without the JSON package", quick, len(events))
	}
}
