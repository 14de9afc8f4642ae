package event_test

import (
	"os"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// TestDecodeMembers checks that an event is the same whether its members were
// known or not. It uses the events of all cases.
func TestDecodeMembers(t *testing.T) {
	compared := 0
	for _, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			var members map[string]jsontext.Value
			if json.Unmarshal(c.Event, &members, event.Lenient) != nil {
				continue // A member stands twice.
			}
			compared++
			want, wantErr := event.Decode(c.Event)
			got, err := event.DecodeMembers(c.Event, members)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(event.Event{})); diff != "" || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Errorf("%s/%s: %v, want %v (-Decode +DecodeMembers):\n%s", d.Name, c.Name, err, wantErr, diff)
			}
		}
	}
	if compared < 300 {
		t.Errorf("%d events were compared: does this test still find them?", compared)
	}
	for _, member := range []string{"id", "subject", "eventType", "eventTime"} {
		members := map[string]jsontext.Value{
			"id": jsontext.Value(`"1"`), "subject": jsontext.Value(`"s"`), "eventType": jsontext.Value(`"t"`),
			"eventTime": jsontext.Value(`"2026-02-01T08:00:00Z"`), "data": jsontext.Value(`{}`),
		}
		for _, odd := range []string{`7`, `null`, `{}`, `""`} {
			members[member] = jsontext.Value(odd)
			raw, err := json.Marshal(members, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			_, wantErr := event.Decode(raw)
			if _, err := event.DecodeMembers(raw, members); wantErr == nil || err == nil || err.Error() != wantErr.Error() {
				t.Errorf("%s is %s: error %v, want %v", member, odd, err, wantErr)
			}
		}
	}
}

// TestDataIsParsedOnce checks that an event whose members are known is decoded
// without reading its data, and that Operation parses the data only once. Data
// that is not parsed may be broken. Data that was parsed may change.
func TestDataIsParsedOnce(t *testing.T) {
	members := map[string]jsontext.Value{
		"id": jsontext.Value(`"1"`), "subject": jsontext.Value(`"s"`), "eventType": jsontext.Value(`"t"`),
		"eventTime": jsontext.Value(`"2026-02-01T08:00:00Z"`), "data": jsontext.Value(`{"operationName":`),
	}
	if _, err := event.DecodeMembers(jsontext.Value(`{}`), members); err != nil {
		t.Errorf("with broken data: %v; want no error, since the data is not parsed", err)
	}
	data := jsontext.Value(`{"operationName":"Microsoft.Devices/IotHubs/write"}`)
	members["data"] = data
	e, err := event.DecodeMembers(jsontext.Value(`{}`), members)
	if err != nil {
		t.Fatal(err)
	}
	first, err := e.Operation()
	if err != nil {
		t.Fatal(err)
	}
	copy(data, "broken now")
	if second, err := e.Operation(); err != nil || second.Name != first.Name {
		t.Errorf("asked for a second time the operation is %q, %v; want %q from the first parse", second.Name, err, first.Name)
	}
}
