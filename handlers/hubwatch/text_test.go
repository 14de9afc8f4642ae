package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/secret"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"plain text, ünïcödé 證書 e\u0301": "plain text, ünïcödé 證書 e\u0301",
		"line\r\n":                       "line",
		"two\nlines\tand a tab":          `two\u000alines\u0009and a tab`,
		"\x1b[2J\x07\x7f\u0085":          `\u001b[2J\u0007\u007f\u0085`,
		"\u202eright\u2066\u200f":        `\u202eright\u2066\u200f`,
		"\u200bzero\u200d\ufeff\u00ad":   `\u200bzero\u200d\ufeff\u00ad`,
		"\u3164\u115f\ufe0f\U000e0100":   `\u3164\u115f\ufe0f\udb40\udd00`,
		"\u2028\u2029\u3000\u00a0":       `\u2028\u2029\u3000\u00a0`,
		"\xff\xfe":                       "\uFFFD\uFFFD",
	} {
		if got := printable(text); got != want {
			t.Errorf("%+q is printed as %+q, want %+q", text, got, want)
		}
	}
}

// FuzzWriteBody prints any event. JSON keeps its meaning, and only printable
// characters reach the terminal.
func FuzzWriteBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "{\"a\":\"\u202e\u200b\U000e0001\"}", `{"a":1,"a":2}`, "[\"\\u001b\", \"\U0001f600\"]", "\x1b]0;title\x07", "\tno JSON\r\n\xff\n",
		`{"n":1e400,"s":"\ud800"}`, "\"\xff\"",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var out bytes.Buffer
		if err := writeBody(&out, body); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if secret.Hidden(r) && r != '\n' && r != '\t' {
				t.Fatalf("the terminal gets %+q", r)
			}
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			return
		}
		before, after := decoded(t, body), decoded(t, out.Bytes())
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("what came (-) and what is shown (+):\n%s", diff)
		}
	})
}

// decoded returns what JSON means, with numbers as they are written.
func decoded(t *testing.T, text []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return value
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text   string
		width  int
		indent string
		want   string
	}{
		{"one two three", 0, "", "one two three"},
		{"one two three", 8, "", "one two\nthree"},
		{"one two three", 8, "  ", "one\n  two\n  three"},
		{"a-word-that-is-too-long and more", 10, "", "a-word-that-is-too-long\nand more"},
		{"", 10, "  ", ""},
	} {
		if got := wrap(test.text, test.width, test.indent); got != test.want {
			t.Errorf("%q wrapped at %d: %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	for text, want := range map[string]string{"": "", "fünf!": "fünf!", "sechs!": "sech…", "\u8b49\u66f8\u8b49\u66f8\u8b49\u66f8": "\u8b49\u66f8\u8b49\u66f8…"} {
		if got := cut(text, 5); got != want {
			t.Errorf("%q cut to 5 characters: %q, want %q", text, got, want)
		}
	}
}

// TestGrid writes a table into lines of several widths.
func TestGrid(t *testing.T) {
	g := grid{
		columns: []column{{title: "ID", whole: true}, {title: "N", right: true}, {title: "NAME"}, {title: "REASON"}},
		rows: [][]string{
			{"0123456789", "7", "a name", "a reason of some length"},
			{"abcdef", "1234", "another, longer name", ""},
		},
		below: 3,
	}
	for width, want := range map[int]string{
		0: `
ID             N  NAME                  REASON
0123456789     7  a name                a reason of some length
abcdef      1234  another, longer name
`,
		60: `
ID             N  NAME
  REASON
0123456789     7  a name
  a reason of some length
abcdef      1234  another, longer name
`,
		30: `
ID             N  NAME
  REASON
0123456789     7  a name
  a reason of some length
abcdef      1234  another, lo…
`,
		20: `
ID             N  NAME
  REASON
0123456789     7  a name
  a reason of some …
abcdef      1234  another…
`,
	} {
		var out strings.Builder
		if err := g.write(&out, width); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + out.String(); got != want {
			t.Errorf("in %d columns:%s\nwant:%s", width, got, want)
		}
	}
}
