package detector_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
)

// disguise rewrites an event, which it may change, into another form that means
// the same.
type disguise struct {
	name  string
	apply func(event map[string]any)
}

// idMembers are the members of an event that hold resource ids or operations,
// which Azure compares regardless of case.
var idMembers = []string{"subject", "topic", "source", "resourceUri", "operationName", "scope", "action", "resourceProvider"}

// entityMembers are the members that name what the alert is about.
var entityMembers = []string{"subject", "resourceUri"}

var disguises = []disguise{
	{"upper case", func(e map[string]any) { rewrite(e, idMembers, strings.ToUpper) }},
	{"lower case", func(e map[string]any) { rewrite(e, idMembers, strings.ToLower) }},
	{"mixed case", func(e map[string]any) { rewrite(e, idMembers, mixedCase) }},
	{"upper case event type", func(e map[string]any) { rewrite(e, []string{"eventType", "type"}, strings.ToUpper) }},
	{"upper case actor", func(e map[string]any) { rewriteClaims(e, strings.ToUpper) }},
	{"mixed case actor", func(e map[string]any) { rewriteClaims(e, mixedCase) }},
	{"other schema", otherSchema},
	{"members as strings", func(e map[string]any) { rewriteObjects(e, toString) }},
	{"members as objects", func(e map[string]any) { rewriteObjects(e, toObject) }},
	{"slash at the end", func(e map[string]any) { rewrite(e, entityMembers, func(id string) string { return id + "/" }) }},
	{"slashes at the end", func(e map[string]any) { rewrite(e, entityMembers, func(id string) string { return id + "///" }) }},
	{"one escaped letter", func(e map[string]any) { rewrite(e, entityMembers, func(id string) string { return escapeName(id, 1) }) }},
	{"escaped letters", func(e map[string]any) {
		rewrite(e, entityMembers, func(id string) string { return escapeName(id, -1) })
	}},
	{"further members", furtherMembers},
	{"another time zone", func(e map[string]any) {
		rewrite(e, []string{"eventTime", "time"}, func(stamp string) string {
			when, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				return stamp
			}
			return when.In(time.FixedZone("", 14*60*60)).Format(time.RFC3339Nano)
		})
	}},
}

// spellings write the same JSON value in several ways.
var spellings = []struct {
	name  string
	write func(v any) []byte
}{
	{"members in order", func(v any) []byte { return spell(v, false, false) }},
	{"members in reverse", func(v any) []byte { return spell(v, true, false) }},
	{"every character as \\u", func(v any) []byte { return spell(v, false, true) }},
	{"indented, with CRLF ends", func(v any) []byte { return indented(spell(v, true, false)) }},
}

// TestNoDisguiseHelps rewrites every event that fires: by each disguise and by
// all together in each spelling, and by each two of them in one spelling or
// another. Whoever makes an event may not decide by its form whether it is
// reported, or as which alert.
func TestNoDisguiseHelps(t *testing.T) {
	variants := 0
	for _, d := range detector.All {
		for _, c := range read(t, d.Name) {
			name := c.Name
			if c.Want.Outcome != "alert" {
				continue
			}
			t.Run(d.Name+"/"+name, func(t *testing.T) {
				want := alertIDs(c.Want)
				for i, set := range disguiseSets() {
					event := parsed(t, c.Event)
					var names []string
					for _, disguise := range set {
						disguise.apply(event)
						names = append(names, disguise.name)
					}
					for k, spelling := range spellings {
						if len(set) == 2 && k != i%len(spellings) {
							continue
						}
						variants++
						raw := spelling.write(event)
						got := cases.Judge(d, raw)
						if got.Outcome != "alert" || !slices.Equal(alertIDs(got), want) {
							t.Errorf("%s; %s: %s %v %s, want an alert %v\n%s", strings.Join(names, ", "), spelling.name,
								got.Outcome, alertIDs(got), got.Error, want, raw)
						}
					}
				}
			})
		}
	}
	t.Logf("%d variants", variants)
}

func disguiseSets() [][]disguise {
	sets := [][]disguise{nil, disguises}
	for i, one := range disguises {
		sets = append(sets, []disguise{one})
		for _, other := range disguises[i+1:] {
			sets = append(sets, []disguise{one, other})
		}
	}
	return sets
}

func alertIDs(v cases.Outcome) (ids []string) {
	for _, a := range v.Alerts {
		ids = append(ids, a.SystemAlertID)
	}
	return ids
}

func parsed(t *testing.T, raw jsontext.Value) map[string]any {
	t.Helper()
	var event map[string]any
	if err := json.Unmarshal(raw, &event); err != nil {
		t.Fatal(err)
	}
	return event
}

// rewrite applies f to the string members of the given names, at any depth.
func rewrite(value any, names []string, f func(string) string) {
	object, _ := value.(map[string]any)
	for name, member := range object {
		if s, ok := member.(string); ok && slices.Contains(names, name) {
			object[name] = f(s)
		}
		rewrite(member, names, f)
	}
}

// rewriteClaims applies f to who the caller is.
func rewriteClaims(event map[string]any, f func(string) string) {
	data, _ := event["data"].(map[string]any)
	claims, _ := data["claims"].(map[string]any)
	for name, claim := range claims {
		if s, ok := claim.(string); ok {
			claims[name] = f(s)
		}
	}
}

// rewriteObjects applies f to the members that were strings once.
func rewriteObjects(event map[string]any, f func(any) any) {
	data, _ := event["data"].(map[string]any)
	for _, name := range []string{"authorization", "claims", "httpRequest"} {
		if member, ok := data[name]; ok {
			data[name] = f(member)
		}
	}
}

func toString(v any) any {
	if object, ok := v.(map[string]any); ok {
		return string(spell(object, true, false))
	}
	return v
}

func toObject(v any) any {
	var object map[string]any
	if s, ok := v.(string); ok && json.Unmarshal([]byte(s), &object) == nil {
		return object
	}
	return v
}

// otherSchema turns an event of either schema into one of the other.
func otherSchema(event map[string]any) {
	names := [][2]string{{"eventType", "type"}, {"eventTime", "time"}, {"topic", "source"}}
	from, to := 0, 1
	if event["specversion"] != nil {
		from, to = 1, 0
		delete(event, "specversion")
		event["dataVersion"], event["metadataVersion"] = "2", "1"
	} else {
		event["specversion"] = "1.0"
		delete(event, "dataVersion")
		delete(event, "metadataVersion")
	}
	for _, n := range names {
		if v, ok := event[n[from]]; ok {
			event[n[to]] = v
			delete(event, n[from])
		}
	}
}

// furtherMembers adds members that no schema has to every object, one of them
// in the name of a member that counts, but in other letters.
func furtherMembers(event map[string]any) {
	for _, name := range slices.Collect(maps.Keys(event)) {
		if object, ok := event[name].(map[string]any); ok {
			furtherMembers(object)
		}
	}
	event["hubwatch"] = map[string]any{"ignore": true, "operationName": "none", "subject": "none"}
	event["Subject"], event["UPN"] = "none", "nobody"
	if event["Category"] == nil { // a row of Log Analytics has both
		event["OperationName"] = "none"
	}
	event["list"] = []any{nil, 1.5, "text"}
}

func mixedCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if i%2 == 0 {
			b[i] = strings.ToUpper(string(rune(c)))[0]
		} else {
			b[i] = strings.ToLower(string(rune(c)))[0]
		}
		if c >= 0x80 {
			b[i] = c
		}
	}
	return string(b)
}

// escapeName percent-encodes the first most letters and digits of the last name
// of an id, or all of them if most is negative. It leaves what is escaped already,
// and names with a % that is not an escape.
func escapeName(id string, most int) string {
	trimmed := strings.TrimRight(id, "/")
	name := trimmed[strings.LastIndex(trimmed, "/")+1:]
	if _, err := url.PathUnescape(name); err != nil {
		return id
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '%':
			b.WriteString(name[i : i+3])
			i += 2
		case most != 0 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'):
			fmt.Fprintf(&b, "%%%02x", c)
			most--
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSuffix(trimmed, name) + b.String() + id[len(trimmed):]
}

// spell writes a JSON value with the members of objects in order or in reverse,
// and each character of a string by itself or as an escape.
func spell(v any, reverse, escape bool) []byte {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		if reverse {
			slices.Reverse(names)
		}
		b := []byte("{")
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, spell(name, reverse, escape)...)
			b = append(b, ':')
			b = append(b, spell(v[name], reverse, escape)...)
		}
		return append(b, '}')
	case []any:
		b := []byte("[")
		for i, element := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, spell(element, reverse, escape)...)
		}
		return append(b, ']')
	case string:
		if escape {
			b := []byte(`"`)
			for _, unit := range utf16.Encode([]rune(v)) {
				b = append(b, `\u`...)
				b = hex.AppendEncode(b, []byte{byte(unit >> 8), byte(unit)})
			}
			return append(b, '"')
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func indented(b []byte) []byte {
	v := jsontext.Value(b)
	if err := v.Indent(); err != nil {
		panic(err)
	}
	return []byte(strings.ReplaceAll(string(v), "\n", "\r\n"))
}

// TestOperationCase checks that the letter case of operationName decides nothing,
// for events that fire and for those that do not.
func TestOperationCase(t *testing.T) {
	for _, d := range detector.All {
		for _, c := range read(t, d.Name) {
			name := c.Name
			for with, raw := range events(t, c) {
				var event struct {
					Data jsontext.Value `json:"data"`
				}
				var data struct {
					OperationName string `json:"operationName"`
				}
				if json.Unmarshal(raw, &event) != nil || json.Unmarshal(event.Data, &data) != nil || data.OperationName == "" {
					continue
				}
				want := cases.Judge(d, raw)
				for _, spelled := range []func(string) string{strings.ToUpper, strings.ToLower, mixedCase} {
					operation := spelled(data.OperationName)
					changed, err := cases.Replace(raw, []string{"data", "operationName"}, operation)
					if err != nil {
						t.Fatal(err)
					}
					got := cases.Judge(d, changed)
					for _, a := range got.Alerts {
						if a.Properties["OperationName"] != operation {
							t.Errorf("%s/%s: the alert spells %s as %s", d.Name, name, operation, a.Properties["OperationName"])
						}
						a.Properties["OperationName"] = data.OperationName
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s/%s %s: with %s the outcome differs (-want +got):\n%s", d.Name, name, with, operation, diff)
					}
				}
			}
		}
	}
}
