package secret

import (
	"bytes"
	"testing"

	"hubwatch/handlers/scan"
)

// TestRedactor gives a Redactor documents one after the other that differ in where a string
// stands, or in how deep. It does not take what is clean in one place for clean in another.
func TestRedactor(t *testing.T) {
	named := func(parent, member, _ string) bool { return parent == "" && member == "id" }
	const credential, plain = "sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU", "y"
	inner := `"{\"a\":\"` + credential + `\"}"`
	many := ""
	for i := range mostOrder + 10 {
		many += `"n` + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `":"x",`
	}
	documents := []string{
		`{"id":"` + credential + `","b":"x"}`, `{"b":"x","id":"` + credential + `"}`, `{"a":{"id":"` + credential + `"}}`,
		`{"id":"x","b":"` + credential + `"}`, `{"id":["` + credential + `"]}`, `["` + credential + `",{"id":"` + credential + `"}]`,
		`{"id":` + inner + `,"b":"y"}`, `{"b":` + inner + `}`, `{"b":"{\"id\":\"` + credential + `\"}","id":"x"}`,
		`{"c":"{\"a\":\"x\",\"b\":\"y\"}","d":"x"}`, `{"c":"{\"a\":\"x\",\"b\":\"y\"}","d":"` + credential + `"}`, `{"c":"{\"a\":\"x\"}","d":"x"}`,
		`{"a":"x","id":"` + credential + `"}`, `{"a":{"id":"x"}}`,
		`{"deviceid":"` + plain + `"}`, `{"password":"` + plain + `"}`, "{\"c\":\"account\u212aey=U0VDUkVUU0VDUkVU\"}", // with the sign for kelvin
		`{"name":"x","value":"y"}`, `{"name":"password","value":"y"}`, `{"name":"x","password":"y"}`,
		`{` + many + `"id":"` + credential + `"}`, `{` + many + `"b":"` + credential + `"}`, `{` + many + `"c":{"b":"x","id":"` + credential + `"}}`,
	}
	for _, first := range documents {
		for _, second := range documents {
			r := NewRedactor(named, func(scan.Value) scan.Value { return scan.Value{} })
			for _, text := range []string{first, second, second, first} {
				var doc scan.Doc
				if !doc.Scan([]byte(text), "", mostValues) {
					t.Fatal(text)
				}
				if got, want := r.Document(doc.Root()), document([]byte(text), named, "", 0); !bytes.Equal(got, want) {
					t.Fatalf("after %.100s\n%.100s becomes\n%s, want\n%s", first, text, got, want)
				}
			}
		}
	}
}

// TestDeepCredentials puts a credential into documents that are strings of each other. It is
// taken out however deep it is.
func TestDeepCredentials(t *testing.T) {
	const credential = "SharedAccessKey=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"
	text := credential
	for depth := range mostStrings + 6 {
		if kept := Document([]byte(text), nil); bytes.Contains(kept, []byte("U0VDUkVU")) {
			t.Errorf("inside of %d strings the credential stays: %.200s", depth, kept)
		}
		text = marshal(map[string]any{"a": text})
		if len(text) > 1<<20 {
			break
		}
	}
}
