package custom

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// TestNumbers evaluates conditions on numbers of events, as people write them. The same
// condition holds whether an event says 21 or 21.5.
func TestNumbers(t *testing.T) {
	for _, c := range []struct{ number, when, want string }{
		{"1234567", `record.properties.n + 1 > 1000`, "true"},
		{"1234567.5", `record.properties.n + 1 > 1000`, "true"},
		{"1234567", `record.properties.n + 1.5 > 1234568.0`, "true"},
		{"1234567", `record.properties.n % 2 == 1`, "true"},
		{"1234567", `string(record.properties.n) == "1234567"`, "true"},
		{"1234567.5", `string(record.properties.n) == "1.2345675e+06"`, "true"},
		{"9007199254740993", `record.properties.n == 9007199254740993`, "true"},
		{"9007199254740993", `record.properties.n == 9007199254740992`, "false"},
		{"-7", `record.properties.n - 1 == -8 && 1 - record.properties.n == 8 && -record.properties.n == 7`, "true"},
		{"21", `record.properties.n == 21.0 && record.properties.n < 21.5 && record.properties.n in [21.0]`, "true"},
		{"21.0", `record.properties.n == 21 && record.properties.n >= 21`, "true"},
		{"21", `record.properties.n * 2.5 > 52.4 && 2.5 * record.properties.n < 52.6`, "true"},
		{"21.5", `record.properties.n * 2 == 43 && 2 * record.properties.n == 43.0`, "true"},
		{"7", `record.properties.n / 2 == 3 && record.properties.n / 2.0 == 3.5 && 7.0 / record.properties.n == 1.0`, "true"},
		{"7.5", `record.properties.n / 2 == 3.75 && 15 / record.properties.n == 2`, "true"},
		{"21.5", `string(record.properties.n + 1) == "22.5" && string(2 * record.properties.n) == "43"`, "true"},
		{"21", `string(record.properties.n + 1) == "22" && string(2.0 * record.properties.n) == "42"`, "true"},
		{"1e3", `record.properties.n == 1000 && record.properties.n + 1 == 1001`, "true"},
		{"18446744073709551615", `record.properties.n > 9223372036854775807`, "true"},
		{"9223372036854775807", `record.properties.n + 1 > 0`, "when: integer overflow (character 21 of the expression)"},
		{"7.5", `record.properties.n % 2 == 1`, "when: no such overload: _%_ (character 21 of the expression)"},
		{`"7"`, `record.properties.n + 1 > 1`, "when: no such overload"},
		{"true", `hub == 'é' || record.properties.n + 1 > 1`, "when: no such overload: bool + int (character 35 of the expression)"},
		{"7", `record.properties.n / 0 == 1`, "when: division by zero (character 21 of the expression)"},
		{"7", `record.properties.m == 1`, "when: no such key: m (character 18 of the expression)"},
		{"1e400", `record.properties.n == 1`, `within "/properties/n": the number 1e400 is too large`},
	} {
		d := alertOf(t, `"on": {"source": "logs", "category": "TwinQueries"}, "when": `+fmt.Sprintf("%q", c.when)).Detector()
		// The record has its properties as an object: a text with a number that is too large stays a text.
		of := strings.Replace(record("TwinQueries", "query", "PROPERTIES", 1), `"PROPERTIES"`, `{"n": `+c.number+`}`, 1)
		v := d.Judge(logs(t, "TwinQueries", of))
		got := fmt.Sprint(len(v.Occurrences) > 0)
		if v.Err != nil {
			got = v.Err.Error()
		}
		if got != c.want && !(v.Err != nil && strings.Contains(got, c.want)) {
			t.Errorf("%s of %s: %s, want %s", c.when, c.number, got, c.want)
		}
	}
}

// TestNumbersOfKnownTypes checks that arithmetic whose types are known is checked as ever.
func TestNumbersOfKnownTypes(t *testing.T) {
	for text, wrong := range map[string]bool{
		"1 + 1 == 2": false, "1 + 1.0 == 2.0": false, "hub + 1 == ''": true, "size(hub) / 2.0 > 1.0": false, "size(hub) % 2.0 == 1.0": true, "double(size(hub)) / 2.0 > 1.0": false,
		"time - duration('1h') < time": false, "hub + '1' == ''": false, "[1] + [2] == [1, 2]": false, "b'a' + b'b' == b'ab'": false,
	} {
		if _, faults := compile(text, boolValue); (len(faults) > 0) != wrong {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

// TestDecode reads values of any kind.
func TestDecode(t *testing.T) {
	got, err := decode([]byte(`{"a": [1, -0, 1.0, 1e2, 9223372036854775807, 9223372036854775808, true, null, "x\u0041", [], {}], "b": {"c": false}}`))
	want := map[string]any{
		"a": []any{int64(1), int64(0), 1.0, 100.0, int64(math.MaxInt64), math.Exp2(63), true, nil, "xA", []any{}, map[string]any{}},
		"b": map[string]any{"c": false},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"", "{", "[1", `{"a"`, `{"a":`, "1 2", `{"a": 1, "a": 2}`, "1e999", "[1e999]", `{"a": 1e999}`, "nul", strings.Repeat("[", 20_000)} {
		if v, err := decode([]byte(text)); err == nil {
			t.Errorf("%.20q is %v", text, v)
		}
	}
}

// BenchmarkDecode reads a record of a log.
func BenchmarkDecode(b *testing.B) {
	raw := jsontext.Value(record("Connections", "deviceConnect", `{"deviceId": "thermo-7", "protocol": "Mqtt", "authType": null, "maskedIpAddress": "203.0.113.XXX", "statusCode": "401"}`, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readRecord(raw); err != nil {
			b.Fatal(err)
		}
	}
}
