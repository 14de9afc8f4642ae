package scan_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

const most = 10_000

// options are those with which hubwatch reads what comes from outside.
var options = jsontext.AllowInvalidUTF8(true)

// valid reports whether the package json takes b.
func valid(b []byte) bool {
	var v jsontext.Value
	return json.Unmarshal(b, &v, options) == nil
}

// unusual reports whether b, which is valid, has what Scan may say no to.
func unusual(b []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(b), options)
	for values := 0; ; {
		before := d.InputOffset()
		token, err := d.ReadToken()
		if err != nil {
			return false
		}
		if k := token.Kind(); k != '}' && k != ']' {
			values++
		}
		if values > most || d.StackDepth() > 100 {
			return true
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 && token.Kind() == '"' {
			raw := bytes.TrimLeft(b[before:d.InputOffset()], " \t\r\n,")
			if len(raw) > 1<<16 || bytes.ContainsRune(raw, '\\') || !bytes.Equal(bytes.ToValidUTF8(raw, nil), raw) {
				return true
			}
		}
	}
}

// same compares a value with what the package json says of it.
func same(t *testing.T, v scan.Value, raw jsontext.Value) {
	t.Helper()
	if !bytes.Equal(v.Raw(), raw) || v.Kind() != raw.Kind() {
		t.Errorf("%v %q, want %v %q", v.Kind(), v.Raw(), raw.Kind(), raw)
		return
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), options)
	token, err := d.ReadToken()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	if raw.Kind() == '"' {
		text = token.String()
	}
	if got := v.Text(); got != text {
		t.Errorf("text %q, want %q", got, text)
	}
	if got := string(v.AppendText([]byte("x"))); got != "x"+text {
		t.Errorf("appended %q, want %q", got, "x"+text)
	}
	shortest, _ := jsontext.AppendQuote(nil, text)
	if short := v.IsShort(); v.IsPlain() && string(raw) != `"`+text+`"` || short && string(raw) != string(shortest) ||
		!short && string(raw) == string(shortest) && !bytes.Contains(raw, []byte(`\u`)) {
		t.Errorf("%q is plain: %v, and short: %v", raw, v.IsPlain(), short)
	}
	child := v.First()
	for kind := d.PeekKind(); kind != jsontext.KindInvalid && kind != '}' && kind != ']'; kind = d.PeekKind() {
		name := ""
		if raw.Kind() == '{' {
			token, err := d.ReadToken()
			if err != nil {
				t.Fatal(err)
			}
			name = token.String()
			if got := v.Get(name); !bytes.Equal(got.Raw(), child.Raw()) {
				t.Errorf("Get(%q) is %q, want %q", name, got.Raw(), child.Raw())
			}
		}
		value, err := d.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		if child.Name() != name {
			t.Errorf("member %q, want %q", child.Name(), name)
		}
		same(t, child, value.Clone())
		child = child.Next()
	}
	if child.Kind() != jsontext.KindInvalid || child.Name() != "" || child.Raw() != nil {
		t.Errorf("one more: %q", child.Raw())
	}
}

// unique reports whether no object in b, which is JSON, has a member twice. Names are compared as
// encoding/json reads them: invalid UTF-8 is the replacement character.
func unique(b []byte) bool {
	d := stdjson.NewDecoder(bytes.NewReader(b))
	type level struct {
		names map[string]bool // nil in an array
		value bool            // whether the value of a member is next
	}
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return true
		}
		last := len(levels) - 1
		if last >= 0 && levels[last].names != nil && !levels[last].value && token != stdjson.Delim('}') {
			name := token.(string)
			if levels[last].names[name] {
				return false
			}
			levels[last].names[name], levels[last].value = true, true
			continue
		}
		switch token {
		case stdjson.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}})
			continue
		case stdjson.Delim('['):
			levels = append(levels, level{})
			continue
		case stdjson.Delim('}'), stdjson.Delim(']'):
			levels = levels[:last]
		}
		if n := len(levels); n > 0 {
			levels[n-1].value = false
		}
	}
}

// check compares what Scan says of b with what the package json says, and with what encoding/json
// says: that takes a member that stands twice, and is the same otherwise.
func check(t *testing.T, b []byte) {
	t.Helper()
	var d scan.Doc
	got, want := d.Scan(b, "", most), valid(b)
	switch std := stdjson.Valid(b); {
	case got && !std:
		t.Fatalf("Scan takes what encoding/json refuses: %.200q", b)
	case !got && std && unique(b) && !unusual(b):
		t.Fatalf("Scan refuses what encoding/json takes: %.200q", b)
	case got && !unique(b):
		t.Fatalf("Scan takes a member twice: %.200q", b)
	}
	switch {
	case got && !want:
		t.Fatalf("Scan takes what json refuses: %.200q", b)
	case !got && want && !unusual(b):
		t.Fatalf("Scan refuses what json takes: %.200q", b)
	case got:
		same(t, d.Root(), bytes.TrimSpace(b))
	}
}

// texts are some of each kind: what is valid, and what is nearly so.
func texts() []string {
	list := []string{
		"", " ", "null", "nul", "nulll", "true", "tru", "false", "fals", "x", "[", "]", "{", "}", "[]", "{}", "[1,2]", "[1,]", "[,1]", "[1 2]", "{,}",
		`{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{a:1}`, `{1:1}`, `{"a":1}}`, `{"a":1} x`, " \t\r\n{ \"a\" : [ 1 , { } ] } \n", "\v1", "\u00a01", "\ufeff{}",
		"0", "-0", "01", "-", "-a", "1.", ".1", "1.5", "1e", "1e+", "1E-5", "1e5.5", "+1", "0x1", "1.0e10", "00", "-01", "1_0", "NaN", "Infinity",
		`"`, `"a`, `"\`, `"\"`, `"\u"`, `"\u12"`, `"\u123"`, `"\u12g4"`, `"\u1234"`, `"\uABcd"`, `"\x"`, `"\a"`, `"\b\f\n\r\t\/\\\""`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\n\"",
		`"\ud800"`, `"\ud800\udc00"`, `"\ud800\u1"`, `"\udc00\ud800"`, `"\ud800x"`, "\"\xff\"", "\"\xe2\x82\"", "\"\xe2\"", "\"é\"", "\"\u2028\"", "\"\xed\xa0\x80\"", "\"abcdefgh\xffijklmnop\"",
		`{"a":1,"a":2}`, `{"a":{"b":1},"b":{"b":2}}`, `{"a":[{"b":1,"b":2}]}`, `{"a":1,"\u0061":2}`, `{"\u0061":1}`, "{\"\xff\":1,\"\xfe\":2}", "{\"\xff\":1}", `{"é":1,"é":2}`, `{"é":1,"è":2}`,
		`{"":1}`, `{"":1,"":2}`, `{"a\\":1}`, `{"ab":1,"ba":1}`, `{"Metadata":1,"Metadata":2}`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 101) + strings.Repeat("]", 101),
		strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001), strings.Repeat("[", 100_000),
	}
	for _, n := range []int{1<<16 - 1, 1 << 16} {
		list = append(list, `{"`+strings.Repeat("n", n)+`":1}`, `{"`+strings.Repeat("n", n)+`":1,"`+strings.Repeat("n", n)+`":1}`)
	}
	for n := range 20 { // every place of a byte within eight
		fill := strings.Repeat("x", n)
		for _, end := range []string{"\"", "\\\"\"", "\x01\"", "\x1f\"", "\\", "\\q\"", "é\"", "\xff\"", "", "\"z", "!\"", "#\"", "[\"", "]\"", "\x80\"", "\xa2\"", "\xdc\"", `\\\"\/\\x"`, `\"\n"`, `\"12345678\\"`} {
			list = append(list, "\""+fill+end, "{\""+fill+end+":1}")
		}
	}
	for _, n := range []int{63, 64, 65, 66, 200} {
		object := "{"
		for i := range n {
			object += fmt.Sprintf(`"m%d":%d,`, i, i)
		}
		for _, last := range []string{"m0", fmt.Sprintf("m%d", n-1), "m"} {
			list = append(list, fmt.Sprintf(`%s"%s":0}`, object, last))
		}
	}
	return list
}

// TestScan compares Scan with the package json for texts of each kind, and for each
// beginning of them.
func TestScan(t *testing.T) {
	for _, text := range texts() {
		check(t, []byte(text))
		if len(text) < 200 {
			for i := range text {
				check(t, []byte(text)[:i])
			}
		}
	}
}

// TestScanFiles compares Scan with the package json for the requests and events of
// other tests, with each byte of some of them changed.
func TestScanFiles(t *testing.T) {
	n := 0
	for _, b := range corpus(t) {
		check(t, b)
		if n++; n%40 > 0 {
			continue
		}
		for i := 0; i < len(b); i += 7 {
			for _, c := range []byte("\"\\{}[],:0a \x00\xff") {
				changed := slices.Clone(b)
				changed[i] = c
				check(t, changed)
			}
		}
	}
	if n < 100 {
		t.Fatalf("%d files: have they been moved?", n)
	}
}

// corpus returns the bodies of the golden requests of the Functions host, and all
// cases of detectors.
func corpus(t testing.TB) (list [][]byte) {
	t.Helper()
	for _, pattern := range []string{"../host/testdata/golden/*.http", "../detector/testdata/*/*.json"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, body, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok {
				b = body
			}
			list = append(list, b)
		}
	}
	return list
}

// TestScanWithout checks that the member that is left out is checked and is not there,
// and that the others are as they would be.
func TestScanWithout(t *testing.T) {
	for _, test := range []struct {
		text string
		want bool
		rest string // its other members
	}{
		{`{"Metadata":{"a":[1,{"b":2}]},"Data":{"Metadata":1}}`, true, `Data={"Metadata":1} `},
		{`{"Data":1,"Metadata":{"a":[1,{"b":2}]}}`, true, `Data=1 `},
		{`{"a":1,"Metadata":2,"b":3}`, true, `a=1 b=3 `},
		{`{"Metadata":1,"Metadata":2}`, false, ""},
		{`{"Metadata":{"a":1,"a":2}}`, false, ""},
		{`{"Metadata":{"a":x}}`, false, ""},
		{`[{"Metadata":2}]`, true, `={"Metadata":2} `},
	} {
		var d scan.Doc
		if got := d.Scan([]byte(test.text), "Metadata", most); got != test.want {
			t.Errorf("%s: %v, want %v", test.text, got, test.want)
		}
		if !test.want {
			continue
		}
		rest := ""
		for m := d.Root().First(); m != (scan.Value{}); m = m.Next() {
			if m.Kind() != jsontext.KindInvalid {
				rest += m.Name() + "=" + string(m.Raw()) + " "
			}
		}
		if rest != test.rest {
			t.Errorf("%s: the rest is %s, want %s", test.text, rest, test.rest)
		}
		if inner := d.Root().Get("Data").Get("Metadata"); strings.Contains(test.text, `"Data":{"Metadata":1}`) && string(inner.Raw()) != "1" {
			t.Errorf("%s: the member of the same name inside is %s", test.text, inner.Raw())
		}
		if m := d.Root().Get("Metadata"); len(m.Raw()) > 0 || m.Text() != "" || m.First() != (scan.Value{}) || m.Get("a") != (scan.Value{}) {
			t.Errorf("%s: it is there: %s", test.text, m.Raw())
		}
	}
}

// TestScanIsBounded checks that no text makes more nodes than the caller allows.
func TestScanIsBounded(t *testing.T) {
	text := []byte("[" + strings.Repeat("0,", 98) + "0]") // the whole, and 99 elements
	for most, want := range map[int]bool{100: true, 99: false} {
		if got := new(scan.Doc).Scan(text, "", most); got != want {
			t.Errorf("with at most %d values: %v, want %v", most, got, want)
		}
	}
}

// TestScanIsShallow checks how many objects and arrays may stand inside each other, since
// each takes a piece of the stack.
func TestScanIsShallow(t *testing.T) {
	for depth, want := range map[int]bool{100: true, 101: false, 5000: false} {
		for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			text := strings.Repeat(pair[0], depth) + "1" + strings.Repeat(pair[1], depth)
			if got := new(scan.Doc).Scan([]byte(text), "", most); got != want {
				t.Errorf("%d times %s: %v, want %v", depth, pair[0], got, want)
			}
		}
	}
}

// FuzzScan looks for texts of which Scan and the package json say different things.
func FuzzScan(f *testing.F) {
	for _, text := range texts() {
		f.Add([]byte(text))
	}
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

// BenchmarkScan scans a request, beside what validates the same bytes.
func BenchmarkScan(b *testing.B) {
	raw, err := os.ReadFile("../host/testdata/golden/sample-02.http")
	if err != nil {
		b.Fatal(err)
	}
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for _, bench := range []struct {
		name  string
		valid func() bool
	}{
		{"Scan", func() bool { return new(scan.Doc).Scan(body, "Metadata", most) }},
		{"jsontext", func() bool { return valid(body) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if !bench.valid() {
					b.Fatal("not valid")
				}
			}
		})
	}
}

// TestSpan reads each text as a member, alone and in a list, and compares that with what the JSON
// package says of it.
func TestSpan(t *testing.T) {
	for _, text := range texts() {
		for _, space := range []string{"", " \t\r\n"} {
			whole := []byte("{" + space + `"before" : 1 ,"a"` + space + ":" + space + text + space + "," + space + `"l":[` + space + text + space + "," + text + "]}")
			var want struct {
				A    jsontext.Value   `json:"a"`
				L    []jsontext.Value `json:"l"`
				None jsontext.Value   `json:"none"`
			}
			var got struct {
				A    scan.Span   `json:"a"`
				L    []scan.Span `json:"l"`
				None scan.Span   `json:"none"`
			}
			var members scan.Spans
			wantErr, err, memberErr := json.Unmarshal(whole, &want, options), json.Unmarshal(whole, &got, options), json.Unmarshal(whole, &members, options)
			if (err != nil) != (wantErr != nil) || (memberErr != nil) != (wantErr != nil) {
				t.Errorf("%.80q: error %v and %v, want %v", whole, err, memberErr, wantErr)
			}
			if wantErr != nil {
				continue
			}
			if a := got.A.In(whole); !bytes.Equal(a, want.A) || !bytes.Equal(a, members.In(whole)["a"]) {
				t.Errorf("%.80q: a is %.80q, want %.80q", whole, a, want.A)
			}
			for i, l := range got.L {
				if !bytes.Equal(l.In(whole), want.L[i]) {
					t.Errorf("%.80q: element %d is %.80q, want %.80q", whole, i, l.In(whole), want.L[i])
				}
			}
			if len(got.L) != 2 || got.None.In(whole) != nil || len(members.In(whole)) != 3 {
				t.Errorf("%.80q: %d elements, %d members, and %q, which is not there", whole, len(got.L), len(members), got.None.In(whole))
			}
		}
	}
	var none scan.Spans
	if err := json.Unmarshal([]byte("null"), &none); err != nil || none.In([]byte("null")) != nil {
		t.Errorf("null: error %v, members %v; want none", err, none)
	}
}
