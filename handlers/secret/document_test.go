package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// planted stands for a credential in the texts of these tests.
const planted = "S3CR3TPL4NT3D"

// credentials are texts with a credential, in the spellings that people and programs
// write.
var credentials = []string{
	"SharedAccessKey = " + planted,
	"SharedAccessKey\t=\t" + planted,
	"Shared Access Key: " + planted,
	`AccountKey="` + planted + `"`,
	`AccountKey="` + planted + ` and more ` + planted + `"`,
	"sig='" + planted + "'",
	"sig = '" + planted + "'",
	"sig: " + planted,
	"s%69g=" + planted,
	"s%2569g%253D" + planted,
	"%73%69%67=" + planted,
	`{"SharedAccessKey":{"value":"` + planted + `"}}`,
	`{"SharedAccessKey":{"a":{"b":["` + planted + `"]}}}`,
	`{"SharedAccessKey":["` + planted + `"]}`,
	`[{"name":"SharedAccessKey","value":"` + planted + `"}]`,
	`[{"value":"` + planted + `","name":"SharedAccessKey"}]`,
	`[{"value":{"a":["` + planted + `"]},"name":"SharedAccessKey"}]`,
	`{"Key":"x-functions-key","Values":["` + planted + `"]}`,
	`{"header":"Authorization","value":"Basic ` + planted + `"}`,
	"https://example.azurewebsites.net/runtime/webhooks/eventgrid?functionName=A&code=" + planted,
	"https://example.azurewebsites.net/api/F?code=" + planted + "&x=y",
	"?to=https%3A%2F%2Fcontoso.example%2Fapi%3Fcode%3D" + planted,
	`{"x-functions-key":"` + planted + `"}`,
	"x-functions-key: " + planted,
	`{"client_secret":"` + planted + `"}`,
	"client_secret=" + planted + "&grant_type=client_credentials",
	"clientSecret: '" + planted + "'",
	`{"access_token":"` + planted + `","token_type":"Bearer"}`,
	"access_token=" + planted, "refresh_token=" + planted, "id_token=" + planted,
	"password=" + planted, "Password: " + planted, `"password": "` + planted + `"`, `{"adminPassword":"` + planted + `"}`,
	`{"Authorization":"Basic ` + planted + `"}`,
	`{"Authorization":"` + planted + `"}`,
	"Authorization: Basic " + planted, "authorization: Digest username=x, response=" + planted,
	"Authorization: SharedAccessSignature sr=contoso&sig=" + planted + "&se=1",
	"Bearer " + planted, `Bearer\t` + planted, "Bearer\n" + planted,
	"-----BEGIN PRIVATE KEY-----\n" + planted + "\n-----END PRIVATE KEY-----",
	`-----BEGIN RSA PRIVATE KEY-----\n` + planted + `\n-----END RSA PRIVATE KEY-----`,
	"-----BEGIN EC PRIVATE KEY-----" + planted,
	"https://alice:" + planted + "@contoso.example/x",
	`{"connectionString":"` + planted + `"}`,
	`{"keys":{"primaryKey":"` + planted + `"}}`,
	`{\"SharedAccessKey\":\"` + planted + `\"}`,
	`{\\\"SharedAccessKey\\\":\\\"` + planted + `\\\"}`,
	`{&quot;sig&quot;:&quot;` + planted + `&quot;}`,
}

// wrappings put a text into a JSON document.
var wrappings = map[string]func(text string) any{
	"value":            func(s string) any { return map[string]any{"c": s} },
	"name of a member": func(s string) any { return map[string]any{s: 1} },
	"in an array":      func(s string) any { return map[string]any{"c": []any{"x", s}} },
	"in a string":      func(s string) any { return map[string]any{"c": marshal(map[string]any{"d": s})} },
	"in two strings":   func(s string) any { return map[string]any{"c": marshal(map[string]any{"d": marshal([]any{s})})} },
	"in base64":        func(s string) any { return map[string]any{"c": base64.StdEncoding.EncodeToString([]byte(s))} },
	"in base64 of base64": func(s string) any {
		return []any{base64.RawURLEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))}
	},
	"a document in base64": func(s string) any {
		return map[string]any{"c": base64.StdEncoding.EncodeToString([]byte(marshal(map[string]any{"d": s})))}
	},
	"by itself": func(s string) any { return s },
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// leaks reports whether a text has a part of the planted credential, by itself or in
// base64.
func leaks(text string) bool {
	for i := 0; i+6 <= len(planted); i++ {
		if strings.Contains(text, planted[i:i+6]) {
			return true
		}
	}
	for i := range 3 {
		code := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + planted))
		if strings.Contains(text, code[4:len(code)-4]) {
			return true
		}
	}
	return false
}

// TestNoCredentialStays wraps each credential in each way. None stays, JSON stays
// JSON, and what has been redacted stays as it is.
func TestNoCredentialStays(t *testing.T) {
	for _, credential := range credentials {
		if got := RedactString(credential); leaks(got) {
			t.Errorf("the text %s becomes %s", credential, got)
		}
		for name, wrap := range wrappings {
			document := marshal(wrap(credential))
			got := Document([]byte(document), nil)
			if leaks(string(got)) {
				t.Errorf("%s: %s becomes %s", name, document, got)
			}
			if !jsontext.Value(got).IsValid() {
				t.Errorf("%s: %s is not JSON any more: %s", name, document, got)
			}
			if again := Document(got, nil); string(again) != string(got) {
				t.Errorf("%s: %s becomes %s the second time", name, got, again)
			}
		}
	}
}

// TestMarksTellSecretsApart checks that two secrets have two marks, and one secret has
// the same mark everywhere.
func TestMarksTellSecretsApart(t *testing.T) {
	a, b := RedactString("sig=one"), RedactString("sig=two")
	if a == b || RedactString("x sig=one") != "x "+a {
		t.Errorf("the marks are %q and %q", a, b)
	}
}

// TestNamesStay checks that what named reports is kept, wherever it stands, and
// nothing else is.
func TestNamesStay(t *testing.T) {
	named := func(parent, member, _ string) bool {
		return member == "deviceId" || parent == "claims" && member == "upn"
	}
	jwt := "eyJhbGciOi.one.1"
	for _, document := range []any{
		map[string]any{"deviceId": "sig=aaa"},
		map[string]any{"properties": marshal(map[string]any{"deviceId": jwt})},
		map[string]any{"properties": map[string]any{"deviceId": "bearer+lora-1"}},
		map[string]any{"claims": map[string]any{"upn": "password=x"}},
		map[string]any{"claims": marshal(map[string]any{"upn": "password=x"})},
	} {
		text := marshal(document)
		if got := string(Document([]byte(text), named)); got != text {
			t.Errorf("%s becomes %s", text, got)
		}
		if got := string(Document([]byte(text), nil)); got == text {
			t.Errorf("%s stays, and nothing says that it is a name", text)
		}
	}
}

// TestShapeStays checks that only values change: a reader finds the same members.
func TestShapeStays(t *testing.T) {
	in := ` { "a" : [ 1 , {"password" : {"x":[true,null,7,"s"]}} ] , "a":"b", "certificate":"` +
		base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("public")})) + `"} `
	got := marks.ReplaceAllString(string(Document([]byte(in), nil)), "*")
	want := strings.Replace(in, `7,"s"`, `"*","*"`, 1)
	if got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

// TestLongAndDeepDocuments gives Document documents of 1 MiB that are deep, or full of
// what looks like a secret. An algorithm whose time grows with the square of the length
// would take hours.
func TestLongAndDeepDocuments(t *testing.T) {
	for name, document := range longDocuments(1 << 20) {
		got := Document([]byte(document), nil)
		if jsontext.Value(document).IsValid() && !jsontext.Value(got).IsValid() {
			t.Errorf("%s: JSON is not JSON any more", name)
		}
	}
}

// longDocuments returns documents of n bytes or little more.
func longDocuments(n int) map[string]string {
	repeat := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{
		"sig=":                   `"` + repeat("sig=") + `"`,
		"sig=x and spaces":       repeat("sig=x "),
		"bearer":                 repeat("bearer "),
		"authorization":          repeat("authorization: x "),
		"begin private key":      repeat("-----BEGIN PRIVATE KEY-----"),
		"percent":                repeat("%25"),
		"addresses":              repeat("://a:") + "@",
		"quotation marks":        `sig="` + repeat(`\"`),
		"arrays":                 repeat("["),
		"arrays that end":        strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + repeat(" "),
		"pairs inside of values": nestedPairs(n),
		"members of a secret":    `{"password":[` + repeat(`"x",`) + `1]}`,
		"base64":                 `"` + base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(repeat("text "))))) + `"`,
	}
}

// nestedPairs returns pairs inside of each other, whose names come behind their
// values.
func nestedPairs(n int) string {
	const inner, outer = `{"value":`, `,"name":"password"}`
	depth := min(n/(len(inner)+len(outer)), 4_000)
	return strings.Repeat(inner, depth) + `"x"` + strings.Repeat(outer, depth) + strings.Repeat(" ", n)
}

// FuzzDocument looks for documents that make Document panic, that are not JSON any
// more, that change the second time, and in which a planted credential stays.
func FuzzDocument(f *testing.F) {
	for _, credential := range credentials {
		f.Add([]byte(marshal(map[string]any{"c": credential})), "name")
	}
	f.Add([]byte(`{"a":[1,{"b":"\ud800"}],"a":null}`), "\u202e")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		lenient := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
		got := Document(raw, nil)
		if jsontext.Value(raw).IsValid(lenient...) {
			if !jsontext.Value(got).IsValid(lenient...) {
				t.Fatalf("%q is not JSON any more: %q", raw, got)
			}
			if again := Document(got, nil); string(again) != string(got) {
				t.Fatalf("%q becomes %q the second time", got, again)
			}
		}
		document := fmt.Appendf(nil, `{%s:%s,"list":[%s],"password":%s}`, quote([]byte(name)), quote([]byte("sig="+planted)), quote([]byte("Bearer "+planted)), quote([]byte(planted)))
		if got := Document(document, nil); leaks(string(got)) {
			t.Fatalf("%s becomes %s", document, got)
		}
	})
}

// FuzzIsClean checks that a document or a text in which there is certainly no credential is one in
// which the search finds none, and that the words of the forms are found in one pass.
func FuzzIsClean(f *testing.F) {
	for _, value := range append(slices.Clone(credentials), "plain", "dev-1 \u212aey", "The token is expired", "a@b", "keys", "statusCode=1") {
		inner := marshal(map[string]any{"deviceId": value, "list": []any{value, map[string]any{"name": "password", "value": value}}, value: 1})
		for _, v := range []any{value, inner, marshal(inner), base64.StdEncoding.EncodeToString([]byte(inner)), []any{inner, 1.5, nil}} {
			f.Add([]byte(marshal(map[string]any{"time": "2026-02-01T08:00:00Z", "properties": v})))
			f.Add([]byte(marshal(map[string]any{"to-ken": v})))
			f.Add([]byte(marshal(v)))
		}
	}
	named := func(_, member, _ string) bool { return member == "deviceId" }
	inside := func(v scan.Value) scan.Value {
		var doc scan.Doc
		if !doc.Scan([]byte(v.Text()), "", mostValues) {
			return scan.Value{}
		}
		return doc.Root()
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got := (&reader{forms: forms}).inString(raw, ""); isCleanText(string(raw)) && !bytes.Equal(got, raw) {
			t.Fatalf("the text %q counts as clean and becomes %q", raw, got)
		}
		for _, named := range []Named{nil, named} {
			got, clean := document(raw, named, "", 0), isClean(raw, named)
			if clean && !bytes.Equal(got, raw) {
				t.Fatalf("%q counts as clean and becomes %q", raw, got)
			}
			isClean([]byte(`{"name":"x","list":[{"deviceId":"y"}]}`), named) // so that something is left of it
			if again := isClean(raw, named); again != clean {
				t.Fatalf("%q is clean: %v, and then %v", raw, clean, again)
			}
			redactor := NewRedactor(named, inside)
			for _, text := range [][]byte{raw, raw, []byte(`{"name":"x","list":["x",{"deviceId":"y","list":"x"}]}`), raw} {
				var doc scan.Doc
				if !doc.Scan(text, "", mostValues) {
					continue
				}
				want := document(doc.Root().Raw(), named, "", 0)
				if got := redactor.Document(doc.Root()); !bytes.Equal(got, want) {
					t.Fatalf("%q becomes %q, and by a Redactor %q", text, want, got)
				}
			}
		}
		lower := bytes.ReplaceAll(bytes.ToLower(raw), []byte("\u017f"), []byte("s"))
		found := in(raw, forms)
		for _, one := range forms {
			has := slices.ContainsFunc(one.words, func(word string) bool {
				if one.ends {
					return regexp.MustCompile(word + `(?:["'&]|\s*[=:%\\])`).Match(lower)
				}
				return bytes.Contains(lower, []byte(word))
			})
			is := slices.ContainsFunc(found, func(f form) bool { return f.words[0] == one.words[0] })
			if sign := bytes.ContainsAny(raw, "=:%\\"); is != (has && (sign || !one.sign)) {
				t.Fatalf("%q: the form of %v is found: %t", raw, one.words, is)
			}
			if !is && one.form().Match(raw) && has {
				t.Fatalf("%q: the form of %v matches, and is not looked for", raw, one.words)
			}
		}
	})
}

// TestVisible checks that hidden characters are shown, and others stay.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"root-ca":                "root-ca",
		"größe 温度 🙂":             "größe 温度 🙂",
		"a\u202eb":               `a\u202eb`,
		"a\u200bb\u2066c":        `a\u200bb\u2066c`,
		"a\x1b[31mb":             `a\u001b[31mb`,
		"a\u0085b\u2028c\ufeffd": `a\u0085b\u2028c\ufeffd`,
		"a\U000e0001b":           `a\udb40\udc01b`,
		"line\nand\ttab":         `line\u000aand\u0009tab`,
		"\u3164\ufe0f":           `\u3164\ufe0f`,
		"\ufffd":                 "\ufffd",
		"a\u00a0b":               `a\u00a0b`,
		"a\xffb":                 "a\ufffdb",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		var decoded string
		if err := json.Unmarshal([]byte(VisibleJSON(marshal(strings.ToValidUTF8(in, "\ufffd")))), &decoded); err != nil || decoded != strings.ToValidUTF8(in, "\ufffd") {
			t.Errorf("%q in JSON means %q afterwards: %v", in, decoded, err)
		}
	}
}
