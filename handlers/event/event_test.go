package event

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const hubID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"

// eventGrid and cloudEvents are the members of one event in either schema, as
// JSON. Tests copy them and change a member.
var (
	eventGrid = map[string]string{
		"id": `"1"`, "subject": `"` + hubID + `"`, "eventType": `"Microsoft.Resources.ResourceWriteSuccess"`,
		"eventTime": `"2026-02-01T08:00:01.1234567Z"`, "topic": `"/subscriptions/s"`, "data": `{"operationName":"x"}`,
		"dataVersion": `"2"`, "metadataVersion": `"1"`,
	}
	cloudEvents = map[string]string{
		"id": `"1"`, "subject": `"` + hubID + `"`, "type": `"Microsoft.Resources.ResourceWriteSuccess"`,
		"time": `"2026-02-01T08:00:01.1234567Z"`, "source": `"/subscriptions/s"`, "data": `{"operationName":"x"}`,
		"specversion": `"1.0"`,
	}
	schemas = map[string]map[string]string{"event grid": eventGrid, "cloudevents": cloudEvents}
)

// object returns a JSON object with the members of base, of which some have
// another value. A member whose value is "" is left out.
func object(base, changed map[string]string) jsontext.Value {
	members := maps.Clone(base)
	maps.Copy(members, changed)
	var b bytes.Buffer
	b.WriteByte('{')
	for name, value := range members {
		if value == "" {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", name, value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func set(name, value string) map[string]string { return map[string]string{name: value} }

func TestDecodeBothSchemas(t *testing.T) {
	for name, members := range schemas {
		t.Run(name, func(t *testing.T) {
			raw := object(members, nil)
			got, err := Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := Event{
				ID: "1", Type: "Microsoft.Resources.ResourceWriteSuccess", Subject: hubID, Source: "/subscriptions/s",
				Time: time.Date(2026, 2, 1, 8, 0, 1, 123456700, time.UTC),
				Data: jsontext.Value(`{"operationName":"x"}`), Raw: raw,
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
				t.Errorf("the event differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecodeSchemaIsTheEvents checks that specversion alone decides which members
// count, whatever else is there.
func TestDecodeSchemaIsTheEvents(t *testing.T) {
	both := maps.Clone(eventGrid)
	maps.Copy(both, cloudEvents)
	both["type"], both["eventType"] = `"cloud"`, `"grid"`
	both["source"], both["topic"] = `"cloud source"`, `"grid topic"`
	both["time"], both["eventTime"] = `"2026-01-01T00:00:00Z"`, `"2027-01-01T00:00:00Z"`
	for name, test := range map[string]struct {
		changed            map[string]string
		typ, source, stamp string
	}{
		"specversion":       {nil, "cloud", "cloud source", "2026-01-01T00:00:00Z"},
		"no specversion":    {set("specversion", ""), "grid", "grid topic", "2027-01-01T00:00:00Z"},
		"empty specversion": {set("specversion", `""`), "grid", "grid topic", "2027-01-01T00:00:00Z"},
		"null specversion":  {set("specversion", "null"), "grid", "grid topic", "2027-01-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Decode(object(both, test.changed))
			if err != nil {
				t.Fatal(err)
			}
			if e.Type != test.typ || e.Source != test.source || e.Time.Format(time.RFC3339) != test.stamp {
				t.Errorf("have %s, %s, %v; want %s, %s, %s", e.Type, e.Source, e.Time, test.typ, test.source, test.stamp)
			}
		})
	}
}

// TestDecodeMembers takes each required member away, and gives it each wrong kind
// of value. The error has to name the member.
func TestDecodeMembers(t *testing.T) {
	type change struct{ name, value, want string }
	for schema, members := range schemas {
		typ, stamp := "eventType", "eventTime"
		if schema == "cloudevents" {
			typ, stamp = "type", "time"
		}
		var changes []change
		for _, member := range []string{"id", "subject", typ, stamp} {
			changes = append(changes,
				change{member, "", member + ": missing or empty"},
				change{member, `""`, member + ": missing or empty"},
				change{member, "null", member + ": missing or empty"},
				change{member, "7", `number into Go string within "/` + member + `"`},
				change{member, "true", `boolean into Go string within "/` + member + `"`},
				change{member, `["1"]`, `array into Go string within "/` + member + `"`},
				change{member, `{"a":1}`, `object into Go string within "/` + member + `"`},
			)
		}
		changes = append(changes,
			change{"data", "", "data: missing or empty"},
			change{"data", "null", "data: missing or empty"},
			change{"specversion", `"0.3"`, `specversion: want 1.0, have "0.3"`},
			change{"specversion", `"1"`, `specversion: want 1.0, have "1"`},
			change{"specversion", "1.0", `number into Go string within "/specversion"`},
		)
		for _, c := range changes {
			t.Run(schema+"/"+c.name+"="+c.value, func(t *testing.T) {
				_, err := Decode(object(members, set(c.name, c.value)))
				wantError(t, err, "event: ", c.want)
			})
		}
	}
}

// wantError fails the test unless err says all parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// TestDecodeNamesTheEvent checks that Decode returns the id of an event that
// cannot be judged, if the id can be read. A person can then find the event.
func TestDecodeNamesTheEvent(t *testing.T) {
	for schema, members := range schemas {
		e, err := Decode(object(members, map[string]string{"subject": "", "id": `"42"`}))
		if err == nil || e.ID != "42" {
			t.Errorf("%s: have id %q and error %v; want id 42 and an error", schema, e.ID, err)
		}
	}
}

// TestDecodeOptional checks that the source may be missing, since no judgement
// depends on it.
func TestDecodeOptional(t *testing.T) {
	for schema, members := range schemas {
		e, err := Decode(object(members, map[string]string{"topic": "", "source": ""}))
		if err != nil || e.Source != "" {
			t.Errorf("%s: have source %q and error %v; want neither", schema, e.Source, err)
		}
	}
}

func TestDecodeData(t *testing.T) {
	for name, data := range map[string]string{
		"object": `{"a":[1,{"b":null}]}`, "string": `"text"`, "empty string": `""`, "array": `[1,2]`,
		"number": "7", "false": "false",
	} {
		for schema, members := range schemas {
			t.Run(name+"/"+schema, func(t *testing.T) {
				e, err := Decode(object(members, set("data", data)))
				if err != nil {
					t.Fatal(err)
				}
				if string(e.Data) != data {
					t.Errorf("have data %s, want %s", e.Data, data)
				}
			})
		}
	}
}

func TestDecodeDataBase64(t *testing.T) {
	encoded := `"` + base64.StdEncoding.EncodeToString([]byte(`{"operationName":"y"}`)) + `"`
	for name, test := range map[string]struct {
		changed map[string]string
		want    string // the data
		fails   string // or a part of the error
	}{
		"instead of data": {map[string]string{"data": "", "data_base64": encoded}, `{"operationName":"y"}`, ""},
		"beside data":     {set("data_base64", encoded), `{"operationName":"x"}`, ""},
		"beside null":     {map[string]string{"data": "null", "data_base64": encoded}, `{"operationName":"y"}`, ""},
		"not base64":      {map[string]string{"data": "", "data_base64": `"%%%"`}, "", "data_base64: illegal base64"},
		"empty":           {map[string]string{"data": "", "data_base64": `""`}, "", "data: missing or empty"},
		"object":          {map[string]string{"data": "", "data_base64": `{}`}, "", `within "/data_base64"`},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Decode(object(cloudEvents, test.changed))
			if test.fails != "" {
				wantError(t, err, test.fails)
				return
			}
			if err != nil || string(e.Data) != test.want {
				t.Errorf("have %s, %v; want %s", e.Data, err, test.want)
			}
			if scanned := e.Scanned().Raw(); scanned != nil && string(scanned) != test.want {
				t.Errorf("%s was scanned; want %s, or nothing", scanned, test.want)
			}
		})
	}
	t.Run("not in event grid schema", func(t *testing.T) {
		_, err := Decode(object(eventGrid, map[string]string{"data": "", "data_base64": encoded}))
		wantError(t, err, "data: missing or empty")
	})
}

func TestDecodeTime(t *testing.T) {
	for stamp, want := range map[string]string{
		"2026-02-01T08:00:01Z":                "2026-02-01T08:00:01Z",
		"2026-02-01T08:00:01.1Z":              "2026-02-01T08:00:01.1Z",
		"2026-02-01T08:00:01.1234567Z":        "2026-02-01T08:00:01.1234567Z",
		"2026-02-01T08:00:01.0000001Z":        "2026-02-01T08:00:01.0000001Z",
		"2026-02-01T08:00:01.123456789Z":      "2026-02-01T08:00:01.123456789Z",
		"2026-02-01T08:00:01.1234567+00:00":   "2026-02-01T08:00:01.1234567Z",
		"2026-02-01T08:00:01-00:00":           "2026-02-01T08:00:01Z",
		"2026-02-01T00:30:00+05:30":           "2026-01-31T19:00:00Z",
		"2026-01-31T20:00:00-08:00":           "2026-02-01T04:00:00Z",
		"1601-01-01T00:00:00Z":                "1601-01-01T00:00:00Z",
		"9999-12-31T23:59:59.9999999Z":        "9999-12-31T23:59:59.9999999Z",
		"2024-02-29T23:59:59.9999999+00:00":   "2024-02-29T23:59:59.9999999Z",
		"2026-02-01T08:00:01.12345678901234Z": "2026-02-01T08:00:01.123456789Z",
		// Letter case, the space and the zone.
		"2026-02-01t08:00:01.5z":        "2026-02-01T08:00:01.5Z",
		"2026-02-01 08:00:01Z":          "2026-02-01T08:00:01Z",
		"2026-02-01 08:00:01 +05:30":    "2026-02-01T02:30:01Z",
		"2026-02-01T08:00:01":           "2026-02-01T08:00:01Z",
		"2026-02-01t08:00:01.1234567":   "2026-02-01T08:00:01.1234567Z",
		"2026-02-01 08:00:01":           "2026-02-01T08:00:01Z",
		" 2026-02-01T08:00:01Z ":        "2026-02-01T08:00:01Z",
		"2016-12-31T23:59:60Z":          "2016-12-31T23:59:59.9999999Z",
		"2016-12-31t23:59:60.5z":        "2016-12-31T23:59:59.9999999Z",
		"2017-01-01T05:29:60+05:30":     "2016-12-31T23:59:59.9999999Z",
		"2016-06-30 23:59:60":           "2016-06-30T23:59:59.9999999Z",
		"12/31/2016 11:59:60 PM":        "2016-12-31T23:59:59.9999999Z",
		"11/23/2026 8:56:55 AM":         "2026-11-23T08:56:55Z",
		"11/23/2026 8:56:55 pm":         "2026-11-23T20:56:55Z",
		"11/23/2026 12:00:00 AM":        "2026-11-23T00:00:00Z",
		"11/23/2026 12:00:00 PM":        "2026-11-23T12:00:00Z",
		"11/23/2026, 8:56:55.123 AM":    "2026-11-23T08:56:55.123Z",
		"11/23/2026 8:56:55 AM +01:00":  "2026-11-23T07:56:55Z",
		"10/13/2023 13:26:34":           "2023-10-13T13:26:34Z",
		"01/13/2007 09:41:00":           "2007-01-13T09:41:00Z",
		"04/04/2026 09:41:00 AM":        "2026-04-04T09:41:00Z", // the same in both orders
		"12/31/2026 11:59:59 PM -08:00": "2027-01-01T07:59:59Z",
	} {
		t.Run(stamp, func(t *testing.T) {
			for schema, member := range map[string]string{"event grid": "eventTime", "cloudevents": "time"} {
				e, err := Decode(object(schemas[schema], set(member, `"`+stamp+`"`)))
				if err != nil {
					t.Fatal(err)
				}
				if got := e.Time.Format(time.RFC3339Nano); got != want || e.Time.Location() != time.UTC {
					t.Errorf("%s: have %s in %v, want %s in UTC", schema, got, e.Time.Location(), want)
				}
			}
		})
	}
	for stamp, want := range map[string]string{
		"yesterday":                  `want an RFC 3339 time, have "yesterday"`,
		"2026-02-01":                 `want an RFC 3339 time, have "2026-02-01"`,
		"2026-02-30T08:00:01Z":       "want an RFC 3339 time",
		"2026-02-01T08:00:60Z":       "want an RFC 3339 time",
		"2026-02-27T23:59:60Z":       "want an RFC 3339 time", // not at the end of a month
		"2026-02-28T22:59:60Z":       "want an RFC 3339 time",
		"2026-02-28T23:58:60Z":       "want an RFC 3339 time",
		"2026-02-28T23:59:61Z":       "want an RFC 3339 time",
		"2026-02-01T08:60:00Z":       "want an RFC 3339 time",
		"2026-02-01T08:00":           "want an RFC 3339 time",
		"23/11/2026 8:56:55 AM":      "want an RFC 3339 time", // no month 23
		"11/23/26 8:56:55 AM":        "want an RFC 3339 time",
		"11/23/2026 20:56:55 PM":     "want an RFC 3339 time",
		"11/23/2026":                 "want an RFC 3339 time",
		"Sun Feb 1 08:00:01 2026":    "want an RFC 3339 time",
		"3/4/2026 8:56:55 AM":        `"3/4/2026 8:56:55 AM" is ambiguous: 4 March or 3 April; want an RFC 3339 time`,
		"03/04/2026 08:56:55":        "is ambiguous: 4 March or 3 April",
		"12/11/2026, 8:56:55 AM":     "is ambiguous: 11 December or 12 November",
		"12/01/2026 23:30:00 -01:00": "is ambiguous: 1 December or 12 January",
		"10000-01-01T00:00:00Z":      "want an RFC 3339 time",
		"1769932801":                 "want an RFC 3339 time",
		"1600-12-31T23:59:59Z":       "want a year from 1601 to 9999",
		"0001-01-01T00:00:00Z":       "want a year from 1601 to 9999",
		"1601-01-01T00:00:00+01:00":  "want a year from 1601 to 9999", // 1600 in UTC
		"9999-12-31T23:59:59-01:00":  "want a year from 1601 to 9999", // 10000 in UTC
		strings.Repeat("9", 10000):   strings.Repeat("9", 80) + `…"`,
	} {
		t.Run(Shorten(stamp), func(t *testing.T) {
			_, err := Decode(object(eventGrid, set("eventTime", `"`+stamp+`"`)))
			wantError(t, err, "event: eventTime: ", want)
			_, err = Decode(object(cloudEvents, set("time", `"`+stamp+`"`)))
			wantError(t, err, "event: time: ", want)
		})
	}
}

// TestDecodeLenient checks that a name with broken characters does not keep an
// event from being judged.
func TestDecodeLenient(t *testing.T) {
	for name, broken := range map[string]string{
		"invalid utf-8":     "\xff\xfe",
		"cut character":     "\xe2\x82",
		"high surrogate":    `\ud800`,
		"low surrogate":     `\udfff`,
		"surrogates turned": `\udc00\ud800`,
	} {
		for schema, members := range schemas {
			t.Run(name+"/"+schema, func(t *testing.T) {
				raw := object(members, map[string]string{
					"subject": `"` + hubID + "/certificates/a" + broken + `b"`,
					"data":    `{"operationName":"x","resourceUri":"` + broken + `","claims":{"upn":"a` + broken + `b"}}`,
				})
				e, err := Decode(raw)
				if err != nil {
					t.Fatal(err)
				}
				r, err := ParseResourceID(e.Subject)
				if err != nil {
					t.Fatal(err)
				}
				if plain := strings.ReplaceAll(r.ChildName, "\uFFFD", ""); plain != "ab" || plain == r.ChildName {
					t.Errorf("the name is %q, want a and b with replacement characters between", r.ChildName)
				}
				o, err := DecodeOperation(e.Data)
				if err != nil {
					t.Fatal(err)
				}
				if plain := strings.ReplaceAll(o.Actor.Name, "\uFFFD", ""); plain != "ab" || plain == o.Actor.Name {
					t.Errorf("the actor is %q, want a and b with replacement characters between", o.Actor.Name)
				}
				if !bytes.Equal(e.Raw, raw) {
					t.Error("the event is not kept as it was delivered")
				}
			})
		}
	}
}

// TestDecodeDuplicates checks that an event is refused if two readers could read
// it in two ways, and that the error names the member.
func TestDecodeDuplicates(t *testing.T) {
	for name, test := range map[string]struct{ raw, want string }{
		"subject":     {`{"subject":"a",` + string(object(eventGrid, nil))[1:], `"subject"`},
		"specversion": {`{"specversion":"1.0",` + string(object(cloudEvents, nil))[1:], `"specversion"`},
		"unknown":     {`{"unheardOf":1,"unheardOf":1,` + string(object(eventGrid, nil))[1:], `"unheardOf"`},
		"in data":     {string(object(eventGrid, set("data", `{"operationName":"x","operationName":"y"}`))), `"operationName"`},
		"escaped":     {string(object(eventGrid, set("data", `{"upn":"x","\u0075pn":"y"}`))), `"upn" within "/data"`},
		"in claims":   {string(object(eventGrid, set("data", `{"claims":{"upn":"x","upn":"y"}}`))), `"upn" within "/data/claims`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(jsontext.Value(test.raw))
			wantError(t, err, "event: ", "duplicate", test.want)
		})
	}
	// Other letter case is another member, which no schema has.
	e, err := Decode(object(eventGrid, map[string]string{"Subject": `"none"`, "SUBJECT": `"none"`}))
	if err != nil || e.Subject != hubID {
		t.Errorf("have subject %q, %v; want %q", e.Subject, err, hubID)
	}
}

func TestDecodeDepth(t *testing.T) {
	nested := func(depth int) string {
		return strings.Repeat(`{"a":[`, depth/2) + strings.Repeat("]}", depth/2)
	}
	for schema, members := range schemas {
		e, err := Decode(object(members, set("data", nested(500))))
		if err != nil {
			t.Errorf("%s: 500 deep: %v", schema, err)
		}
		if string(e.Data) != nested(500) {
			t.Errorf("%s: 500 deep: the data is not what it was", schema)
		}
		_, err = Decode(object(members, set("data", nested(20_000))))
		wantError(t, err, "event: ", "depth", "/data")
	}
	// A string that holds JSON is read with the same bound.
	inString, err := json.Marshal(nested(20_000))
	if err != nil {
		t.Fatal(err)
	}
	o, err := DecodeOperation(jsontext.Value(`{"operationName":"x","claims":` + string(inString) + `}`))
	if err != nil || !cmp.Equal(o.Unreadable, []string{"claims"}) {
		t.Errorf("claims 20,000 deep: have %v unreadable, %v; want claims and no error", o.Unreadable, err)
	}
}

// TestErrorsAreShort checks that an error is short even if it quotes a long
// member of an event.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, raw := range map[string]jsontext.Value{
		"member twice":      jsontext.Value(`{"` + long + `":1,"` + long + `":2}`),
		"wrong inside":      object(eventGrid, set("data", `{"`+long+`":{"a":1,"a":2}}`)),
		"long specversion":  object(cloudEvents, set("specversion", `"`+long+`"`)),
		"long time":         object(cloudEvents, set("time", `"`+long+`"`)),
		"long data_base64":  object(cloudEvents, map[string]string{"data": "", "data_base64": `"` + long + `%"`}),
		"long wrong number": object(eventGrid, set("id", strings.Repeat("7", 1<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(raw)
			if err == nil || len(err.Error()) > 1000 {
				t.Errorf("want a short error, have %.200v… of %d characters", err, len(fmt.Sprint(err)))
			}
		})
	}
}

func TestOperationErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	data := jsontext.Value(`{"` + long + `":1,"` + long + `":2}`)
	_, err := DecodeOperation(data)
	_, nameErr := OperationName(data)
	for _, err := range []error{err, nameErr} {
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("want a short error, have one of %d characters", len(fmt.Sprint(err)))
		}
	}
}

// TestDecodeLarge takes the largest event that Event Grid delivers, 1 MB
// (https://learn.microsoft.com/azure/event-grid/concepts#events).
func TestDecodeLarge(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	e, err := Decode(object(eventGrid, set("data", `{"operationName":"x","claims":{"upn":"`+large+`"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	o, err := DecodeOperation(e.Data)
	if err != nil || o.Actor.Name != large {
		t.Errorf("have an actor of %d characters, %v; want %d", len(o.Actor.Name), err, len(large))
	}
}

func TestDecodeNoEvent(t *testing.T) {
	one := string(object(eventGrid, nil))
	for name, test := range map[string]struct{ raw, want string }{
		"nothing":             {"", "event: "},
		"spaces":              {" \n", "event: "},
		"null":                {"null", "want a JSON object, have null"},
		"string":              {`"text"`, "string"},
		"event in a string":   {`"{\"id\":\"1\"}"`, "string"},
		"number":              {"1", "number"},
		"true":                {"true", "boolean"},
		"array of 50 events":  {"[" + strings.Repeat(one+",", 49) + one + "]", "array"},
		"empty array":         {"[]", "array"},
		"empty object":        {"{}", "eventType: missing or empty"},
		"cut off":             {one[:len(one)/2], "event: "},
		"two events":          {one + one, "event: "},
		"trailing comma":      {one[:len(one)-1] + ",}", "event: "},
		"byte order mark":     {"\uFEFF" + one, "event: "},
		"no JSON":             {"<event/>", "invalid character '<'"},
		"single quotes":       {"{'id':'1'}", "invalid character '\\''"},
		"zero byte in string": {"{\"id\":\"\x00\"}", "event: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(jsontext.Value(test.raw))
			wantError(t, err, "event: ", test.want)
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
		})
	}
}

// TestJSONErrorIsTheSame checks that two processes give the same reason for the
// same bytes, even if the JSON package uses another phrase in each.
func TestJSONErrorIsTheSame(t *testing.T) {
	for _, said := range []string{"json: cannot unmarshal", "json: unable to unmarshal"} {
		if got := JSONError(errors.New(said + " a number")); got.Error() != "json: cannot unmarshal a number" {
			t.Errorf("%q becomes %q", said, got)
		}
	}
}

// TestErrorsHaveNoPartOfASecret puts a long token where an error quotes it: as the name
// of a member that stands twice, as the name of a member with a wrong value, and as a
// value. No part of the token is in the error, although the error is cut.
func TestErrorsHaveNoPartOfASecret(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJwbGFjZWhvbGRlciJ9." + strings.Repeat("PLACEHOLDERSIGNATURE0", 45)
	for name, raw := range map[string]string{
		"a member twice":             `{"id":"1","` + token + `":1,"` + token + `":2}`,
		"a member twice, below":      `{"id":"1","data":{"` + token + `":{"a":1,"a":2}}}`,
		"a broken value":             `{"id":"1","` + token + `":tru}`,
		"the end":                    `{"id":"1","` + token + `":`,
		"a time":                     string(object(eventGrid, map[string]string{"eventTime": `"` + token + `"`})),
		"a signature as a member":    `{"id":"1","sig=` + strings.Repeat("PLACEHOLDER", 60) + `":1,"sig=` + strings.Repeat("PLACEHOLDER", 60) + `":2}`,
		"a key with slashes, broken": `{"id":"1","AccountKey=` + strings.Repeat("PLACE/HOLDER", 60) + `":tru}`,
	} {
		_, err := Decode(jsontext.Value(raw))
		if err == nil || strings.Contains(err.Error(), "HOLDER") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: error %v, want one without the token", name, err)
		}
	}
}
