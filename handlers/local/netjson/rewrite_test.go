package netjson

import (
	"strings"
	"testing"
)

// TestRewrite covers what .NET makes of an event that passes through it.
func TestRewrite(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"white space and numbers", `{ "a" : [ 1.50 , 12345678901234567890 ] }`, `{"a":[1.5,12345678901234567890]}`},
		{"escapes", `{"<é>":"\"&'+<>` + "`" + `\\/\b\t\n\f\r\u0001\u007fé中😀"}`,
			`{"\u003C\u00E9\u003E":"\u0022\u0026\u0027\u002B\u003C\u003E\u0060\\/\b\t\n\f\r\u0001\u007F\u00E9\u4E2D\uD83D\uDE00"}`},
		{"time of a record", `{"data":{"time":"2026-11-24T03:51:00.1200000Z"}}`, `{"data":{"time":"2026-11-24T03:51:00.12Z"}}`},
		{"time with an offset", `{"data":["2026-11-24T03:51:00+02:00"]}`, `{"data":["2026-11-24T01:51:00\u002B00:00"]}`},
		{"time of no zone", `{"data":"2026-11-24T03:51:00.000"}`, `{"data":"2026-11-24T03:51:00"}`},
		{"no time", `{"data":["2026-11-24","2026-13-24T03:51:00Z","2026-11-24T03:51:00.12345678Z"]}`,
			`{"data":["2026-11-24","2026-13-24T03:51:00Z","2026-11-24T03:51:00.12345678Z"]}`},
		{"time as a name", `{"2026-11-24T03:51:00.0Z":1}`, `{"2026-11-24T03:51:00.0Z":1}`},
		{"time of the event", `{"specversion":"1.0","time":"2026-11-24T03:51:00.500Z","data":{"time":"2026-11-24T03:51:00Z"}}`,
			`{"specversion":"1.0","time":"2026-11-24T03:51:00.5+00:00","data":{"time":"2026-11-24T03:51:00Z"}}`},
		{"fine time of the event", `{"specversion":"1.0","time":"2026-11-24T03:51:00.123456789+02:00"}`,
			`{"specversion":"1.0","time":"2026-11-24T01:51:00.1234567+00:00"}`},
		{"time of the event in no zone", `{"specversion":"1.0","time":"2026-11-24T03:51:00"}`,
			`{"specversion":"1.0","time":"2026-11-24T03:51:00+00:00"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Rewrite([]byte(test.raw), strings.Contains(test.raw, "specversion"))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}
