package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProtocol compares the bytes on the wire with requests that Functions host
// 4.1045.200 sent for the same deliveries.
func TestProtocol(t *testing.T) {
	tests := []struct {
		delivery, function string
		golden             []string
	}{
		{"in_connected.json", "eg1", []string{"02_eg1.http"}},
		{"in_telemetry.json", "eg1", []string{"03_eg1.http"}},
		{"in_two_events.json", "eg1", []string{"04_eg1.http", "05_eg1.http"}},
		{"in_cloudevent.json", "eg1", []string{"06_eg1.http"}},
		{"in_two_events.json", "egmany", []string{"07_egmany.http"}},
	}
	root := app(t, nil, "eg1", `egmany={"type":"eventGridTrigger","name":"events","direction":"in","cardinality":"many"}`)
	captured := t.TempDir()
	f := start(t, root, FunctionsOptions{Env: []string{behaviour + "=capture", "CAPTURE=" + captured}})
	if err := f.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	compareCaptured(t, captured, []string{"01_ping.http"})
	for _, test := range tests {
		t.Run(test.delivery+" to "+test.function, func(t *testing.T) {
			delivery, err := os.ReadFile(filepath.Join("testdata/protocol", test.delivery))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Invoke(within(t), test.function, delivery); err != nil {
				t.Fatal(err)
			}
			compareCaptured(t, captured, test.golden)
		})
	}
}

// compareCaptured compares the requests captured so far with golden ones, in
// any order, and removes them.
func compareCaptured(t *testing.T, dir string, golden []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	traces := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(file)
		checkLength(t, raw)
		if trace := traceparent.FindSubmatch(raw); trace != nil {
			traces[string(trace[1])] = true
		}
		got = append(got, normalise(raw))
	}
	for _, name := range golden {
		raw, err := os.ReadFile(filepath.Join("testdata/protocol", name))
		if err != nil {
			t.Fatal(err)
		}
		checkLength(t, raw)
		want = append(want, normalise(raw))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(traces) > 1 {
		t.Errorf("%d trace ids in one delivery, want one", len(traces))
	}
}

var traceparent = regexp.MustCompile(`traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-00\r\n`)

// normalise replaces what differs from run to run, if it has the right shape.
func normalise(raw []byte) string {
	for pattern, replacement := range map[string]string{
		`Host: 127\.0\.0\.1:\d+\r`:                                          "Host: HOST\r",
		`InvocationId: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\r`:         "InvocationId: ID\r",
		`traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r`:                    "traceparent: TRACE\r",
		`Content-Length: \d+\r`:                                             "Content-Length: N\r",
		`"UtcNow":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?Z"`:       `"UtcNow":"NOW"`,
		`"RandGuid":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"`:            `"RandGuid":"ID"`,
		`HostVersion: ` + regexp.QuoteMeta(hostVersion) + `\r`:              "HostVersion: V\r",
		`User-Agent: Azure-Functions-Host/` + regexp.QuoteMeta(hostVersion): "User-Agent: V",
	} {
		raw = regexp.MustCompile(pattern).ReplaceAll(raw, []byte(replacement))
	}
	return string(raw)
}

func checkLength(t *testing.T, raw []byte) {
	t.Helper()
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	length := regexp.MustCompile(`Content-Length: (\d+)`).FindSubmatch(head)
	if length == nil {
		if len(body) > 0 {
			t.Errorf("a body without Content-Length: %s", body)
		}
		return
	}
	if n, _ := strconv.Atoi(string(length[1])); n != len(body) {
		t.Errorf("Content-Length %d for a body of %d bytes", n, len(body))
	}
}

// TestMetadata covers the forms of Metadata.data.
func TestMetadata(t *testing.T) {
	tests := []struct{ name, event, want string }{
		{"object", `{"data":{"a":1}}`, `{"a":1}`},
		{"string", `{"data":"x"}`, `"\"x\""`},
		{"array", `{"data":[1,2]}`, `"[1,2]"`},
		{"null", `{"data":null}`, `"null"`},
		{"number", `{"data":5}`, `"5"`},
		{"absent", `{"id":"1"}`, ``},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			event, err := parseGridEvent([]byte(test.event))
			if err != nil {
				t.Fatal(err)
			}
			calls := eventGridCalls(function{name: "F"}, []gridEvent{event})
			got := ""
			for _, m := range calls[0].metadata {
				got += string(m.value)
			}
			if got != test.want || len(calls) != 1 {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestRender holds values that the host was seen to rewrite, and .NET's number
// format where it changes over.
func TestRender(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"white space and order", " { \"b\" : 1 ,\n\"a\" : [ true , null ] } ", `{"b":1,"a":[true,null]}`},
		{"repeated name", `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{"text", `"caf\u00e9 <b>&'\u0001\u0085\u2028\u2029\ud83d\ude00\/\"\\\n\t\b\f\r"`, `"café <b>&'\u0001\u0085\u2028\u2029😀/\"\\\n\t\b\f\r"`},
		{"lone surrogate", `"\ud800"`, "\"\ufffd\""},
		{"trailing zero", `900.50`, `900.5`},
		{"big integer", `12345678901234567890123`, `12345678901234567890123`},
		{"negative zero integer", `-0`, `0`},
		{"negative zero", `-0.0`, `-0.0`},
		{"overflow", `1e999`, `"Infinity"`},
		{"negative overflow", `-1e999`, `"-Infinity"`},
		{"small", `0.00000001`, `1E-08`},
		{"four zeros", `0.0001`, `0.0001`},
		{"five zeros", `0.00001`, `1E-05`},
		{"exponent", `1e5`, `100000.0`},
		{"whole double", `1.0`, `1.0`},
		{"fifteen digits", `1e14`, `100000000000000.0`},
		{"sixteen digits", `1e15`, `1E+15`},
		{"pi", `3.141592653589793`, `3.141592653589793`},
		{"many digits", `-1234567890123456.75`, `-1234567890123456.8`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := render([]byte(test.raw))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for _, raw := range []string{``, `1`, `{`, `{"a":1} x`, `{"a"}`, `[1,]`, `[1] []`, `{]`} {
		if members, err := splitObject([]byte(raw)); err == nil {
			t.Errorf("object %q gave %v", raw, members)
		}
		if elements, err := splitArray([]byte(raw)); err == nil {
			t.Errorf("array %q gave %v", raw, fmt.Sprint(elements))
		}
	}
}
