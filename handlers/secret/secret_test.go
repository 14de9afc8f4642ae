package secret

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The secrets of these tests are made up.
const (
	jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJleGFtcGxlIn0.c2lnbmF0dXJl"
	jwe = "eyJhbGciOiJkaXIifQ..aXZpdml2.Y2lwaGVydGV4dA.dGFn"
)

// marks matches each mark of a secret.
var marks = regexp.MustCompile(`REDACTED-[0-9a-f]{6}`)

func TestRedact(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"url":                     {"https://contoso.example/c?sv=2022&sig=SECRET%2Bx%3D&se=1", "https://contoso.example/c?sv=2022&sig=REDACTED&se=1"},
		"first parameter":         {"https://contoso.example/c?sig=SECRET", "https://contoso.example/c?sig=REDACTED"},
		"raw signature":           {"?sig=SEC/RET+x==&se=1", "?sig=REDACTED&se=1"},
		"upper case":              {"?SIG=SECRET&SE=1", "?SIG=REDACTED&SE=1"},
		"escaped equals":          {"sig%3DSECRET", "sig%3DREDACTED"},
		"escaped equals, small":   {"sig%3dSECRET", "sig%3dREDACTED"},
		"url in a url":            {"?to=https%3A%2F%2Fcontoso.example%3Fsv%3D1%26sig%3DSECRET&x=y", "?to=https%3A%2F%2Fcontoso.example%3Fsv%3D1%26sig%3DREDACTED&x=y"},
		"url in a url in a url":   {"%253Fsv%253D1%2526sig%253DSECRET", "%253Fsv%253D1%2526sig%253DREDACTED"},
		"first in a url in a url": {"%3Fsig%3DSECRET", "%3Fsig%3DREDACTED"},
		"html":                    {"?a=b&amp;sig=SECRET&amp;c=d", "?a=b&amp;sig=REDACTED&amp;c=d"},
		"fragment":                {"#sig=SECRET", "#sig=REDACTED"},
		"at the start":            {"sig=SECRET", "sig=REDACTED"},
		"two":                     {"sig=SECRET sig=SECRET2", "sig=REDACTED sig=REDACTED"},
		"in parentheses":          {"(see ?sig=SECRET)", "(see ?sig=REDACTED"},

		"escaped ampersand":            {`"?a=b\u0026sig=SECRET\u0026c=d"`, `"?a=b&sig=REDACTED&c=d"`},
		"escaped ampersand, in string": {`"{\"u\":\"?a=b\\u0026sig=SECRET\\u0026c=d\"}"`, `"{\"u\":\"?a=b&sig=REDACTED&c=d\"}"`},
		"escaped equals sign":          {`"?a=b\u0026sig\u003dSECRET"`, `"?a=b&sig=REDACTED"`},
		"escaped plus":                 {`"SharedAccessKey=SEC\u002BRET\u003D"`, `"SharedAccessKey=REDACTED"`},
		"escaped plus, in string":      {`"{\"k\":\"AccountKey=SEC\\u002bRET==\"}"`, `"{\"k\":\"AccountKey=REDACTED\"}"`},
		"escaped slash":                {`"AccountKey=SEC\/RET\/;x"`, `"AccountKey=REDACTED;x"`},
		"escaped percent":              {`"?sig=SEC\u0025RET"`, `"?sig=REDACTED"`},
		"escaped quote":                {`"a \u0022sig=SECRET\u0022 b"`, `"a \"sig=REDACTED\" b"`},
		"after a line end":             {`"url:\nsig=SECRET\nnext"`, `"url:\nsig=REDACTED\nnext"`},
		"after a tab":                  {`"\tsig=SECRET\t\tx"`, `"\tsig=REDACTED\t\tx"`},

		"connection string": {
			"HostName=contoso-hub.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=SECRET=;x=y",
			"HostName=contoso-hub.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=REDACTED;x=y",
		},
		"storage account": {
			"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=SEC/RET+==;EndpointSuffix=core.windows.net",
			"DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=REDACTED;EndpointSuffix=core.windows.net",
		},
		"key in lower case":            {"sharedaccesskey=SECRET", "sharedaccesskey=REDACTED"},
		"key after an escape":          {`"a\u003bSharedAccessKey=SECRET"`, `"a;SharedAccessKey=REDACTED"`},
		"escaped connection string":    {"a%3BSharedAccessKey%3DSECRET", "a%3BSharedAccessKey%3DREDACTED"},
		"access key":                   {"Endpoint=https://contoso.example;AccessKey=SECRET;Version=1.0", "Endpoint=https://contoso.example;AccessKey=REDACTED;Version=1.0"},
		"signature in a connection":    {"BlobEndpoint=https://contoso.example;SharedAccessSignature=sv=2022&sig=SECRET&se=1", "BlobEndpoint=https://contoso.example;SharedAccessSignature=REDACTED&sig=REDACTED&se=1"},
		"token of a device":            {"SharedAccessSignature sr=contoso-hub.azure-devices.net%2Fdevices%2Fd1&sig=SECRET%3D&se=1700000000", "SharedAccessSignature sr=contoso-hub.azure-devices.net%2Fdevices%2Fd1&sig=REDACTED&se=1700000000"},
		"token, escaped":               {"SharedAccessSignature%20sr%3Dcontoso%26sig%3DSECRET", "SharedAccessSignature%20sr%3Dcontoso%26sig%3DREDACTED"},
		"token, signature first":       {"SharedAccessSignature sig=SECRET&sr=contoso", "SharedAccessSignature sig=REDACTED&sr=contoso"},
		"member":                       {`{"sig":"SECRET","se":"1"}`, `{"sig":"REDACTED","se":"1"}`},
		"member with spaces":           {`{"sharedAccessKey" : "SECRET"}`, `{"sharedAccessKey" : "REDACTED"}`},
		"member in a string":           {`"{\"sig\":\"SECRET\"}"`, `"{\"sig\":\"REDACTED\"}"`},
		"member in an escaped string":  {`"{\u0022sig\u0022:\u0022SECRET\u0022}"`, `"{\"sig\":\"REDACTED\"}"`},
		"keys of a device":             {`{"primaryKey":"SECRET","secondaryKey":"SECRET2"}`, `{"primaryKey":"REDACTED","secondaryKey":"REDACTED"}`},
		"bearer":                       {"Authorization: Bearer SEC.RET_-~+/=", "Authorization: Bearer REDACTED"},
		"bearer in lower case":         {"authorization: bearer SECRET", "authorization: bearer REDACTED"},
		"bearer and spaces":            {"Bearer \t SECRET", "Bearer \t REDACTED"},
		"bearer member":                {`{"Authorization":"Bearer SECRET"}`, `{"Authorization":"Bearer REDACTED"}`},
		"bearer, escaped":              {"Bearer%20SECRET Bearer+SECRET", "Bearer%20REDACTED Bearer+REDACTED"},
		"bearer, escaped plus":         {`"Bearer SEC\u002BRET"`, `"Bearer REDACTED"`},
		"bearer after a line end":      {`"a\nBearer SECRET"`, `"a\nBearer REDACTED"`},
		"bearer with a web token":      {"Bearer " + jwt, "Bearer REDACTED"},
		"web token":                    {`{"token":"` + jwt + `"}`, `{"token":"REDACTED"}`},
		"web token unsigned":           {jwt[:strings.LastIndex(jwt, ".")+1] + " x", "REDACTED x"},
		"web token encrypted":          {"a " + jwe + " b", "a REDACTED b"},
		"web token after an escape":    {`"\u0022` + jwt + `\u0022"`, `"\"REDACTED\""`},
		"web token after a line end":   {`"\n` + jwt + `\n"`, `"\nREDACTED\n"`},
		"web token in a parameter":     {"?access_token=" + jwt + "&x=y", "?access_token=REDACTED&x=y"},
		"web token and what follows":   {jwt + `", "x"`, `REDACTED", "x"`},
		"broken characters":            {"\xff?sig=SEC\xffRET&x=\xff", "\xff?sig=REDACTED&x=\xff"},
		"dollar in what is kept":       {"$1${1}?sig=$0SECRET", "$1${1}?sig=REDACTED"},
		"key that ends in backslashes": {`"AccountKey=SECRET\\"`, `"AccountKey=REDACTED\\"`},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.in
			in := []byte(test.in)
			got := string(Document(in, nil))
			if plain := marks.ReplaceAllString(got, "REDACTED"); plain != test.want {
				t.Errorf("have %s\nwant %s", plain, test.want)
			}
			if string(in) != before {
				t.Error("Document changed what it was given")
			}
			if again := string(Document([]byte(got), nil)); again != got {
				t.Errorf("the second time it becomes %s", again)
			}
			if jsontext.Value(test.in).IsValid() {
				if !jsontext.Value(got).IsValid() {
					t.Errorf("JSON is not JSON any more: %s", got)
				}
			} else if s := RedactString(test.in); s != got {
				t.Errorf("RedactString gives %s", s)
			}
		})
	}
}

func TestRedactNothing(t *testing.T) {
	for _, in := range []string{
		"", "{}", "signature=x", "design=x", "x_sig=y", "sigs=x", "sig", "sig x", "&sig=", "sig=&se=1", "signal=1",
		"https://contoso.example/design?signature=x&assign=y&msig=z",
		"SharedAccessKeyName=iothubowner;DeviceId=d1", "SharedAccessSignature", "SharedAccessKey=;x", "AccountKey",
		"bearer", "Bearer", "forbearance", "eyJ", "eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJleGFtcGxlIn0", "eyJ.a.b",
		`{"sig":"","a":"sig","b":["sig","c"],"sig2":"x","sig":null}`, `{"primaryKey":null}`, `"sig\"x"`,
		"statusCode=401, code: 401003", "bearer token expired", "a key: none", `{"authorization":{"scope":"/x","action":"write"}}`,
		"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub/certificates/sig",
	} {
		b := []byte(in)
		got := Document(b, nil)
		if string(got) != in {
			t.Errorf("%s becomes %s", in, got)
		}
		if len(b) > 0 && &got[0] != &b[0] {
			t.Errorf("%s: want the same slice, since nothing was replaced", in)
		}
	}
	if Document(nil, nil) != nil {
		t.Error("nil does not stay nil")
	}
}

// planters put a secret into text in the ways that events and errors have it.
var planters = []func(secret string) string{
	func(s string) string {
		return "https://contoso.example/c?sv=2022-11-02&sig=" + url.QueryEscape(s) + "&se=1"
	},
	func(s string) string { return "https://contoso.example/c?sig=" + url.QueryEscape(s) },
	func(s string) string {
		return "https://contoso.example/?to=" + url.QueryEscape("https://contoso.example/c?sv=1&sig="+url.QueryEscape(s)) + "&x=y"
	},
	func(s string) string { return "/c?sv=1&sig=" + s + "&se=1" },
	func(s string) string {
		return "HostName=contoso-hub.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=" + s
	},
	func(s string) string {
		return "AccountName=contoso;AccountKey=" + s + ";EndpointSuffix=core.windows.net"
	},
	func(s string) string {
		return "SharedAccessSignature sr=contoso-hub.azure-devices.net%2Fdevices%2Fd1&sig=" + url.QueryEscape(s) + "&se=1700000000"
	},
	func(s string) string {
		return "BlobEndpoint=https://contoso.example;SharedAccessSignature=sv=2022&sig=" + s
	},
	func(s string) string { return "request failed\nAuthorization: Bearer " + s + "\nHost: contoso.example" },
	func(s string) string {
		return "Bearer " + strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(s)), "=")
	},
	func(s string) string {
		return "token \"eyJhbGciOiJub25lIn0.eyJzdWIiOiJleGFtcGxlIn0." + base64.RawURLEncoding.EncodeToString([]byte(s)) + "\" rejected"
	},
}

// writers turn a text into a JSON string, each as some JSON library does.
var writers = []func(text string) string{
	func(s string) string { return quoted(s) },
	func(s string) string { return quoted(s, jsontext.EscapeForHTML(true)) }, // encoding/json
	func(s string) string { // System.Text.Json
		return strings.NewReplacer(`\"`, `\u0022`, "+", `\u002B`, "'", `\u0027`).Replace(quoted(s, jsontext.EscapeForHTML(true)))
	},
	func(s string) string { // Gson
		return strings.NewReplacer("=", `\u003d`, "'", `\u0027`).Replace(quoted(s, jsontext.EscapeForHTML(true)))
	},
	func(s string) string { return strings.ReplaceAll(quoted(s), "/", `\/`) }, // json_encode of PHP
}

func quoted(s string, opts ...json.Options) string {
	b, err := json.Marshal(s, opts...)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestNoSecretSurvives plants random secrets in random members of documents, up
// to three documents deep in strings, and looks for any eight characters of them
// in what Redact leaves.
func TestNoSecretSurvives(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 4_000 {
		key := make([]byte, 16+random.IntN(17))
		for k := range key {
			key[k] = byte(random.Uint32())
		}
		secret := base64.StdEncoding.EncodeToString(key)
		plant := random.IntN(len(planters))
		text := planters[plant](secret)
		if random.IntN(4) == 0 {
			text = "see " + text + " for details"
		}
		forms := []string{secret, url.QueryEscape(secret), base64.URLEncoding.EncodeToString([]byte(secret))}

		doc := someDocument(random, text)
		for range random.IntN(3) {
			doc = someDocument(random, doc)
		}
		if !jsontext.Value(doc).IsValid() {
			t.Fatalf("the test made no JSON: %s", doc)
		}
		got := Document([]byte(doc), nil)
		if !jsontext.Value(got).IsValid() {
			t.Fatalf("%d: JSON is not JSON any more\n%s\n%s", i, doc, got)
		}
		if !bytes.Contains(got, []byte("REDACTED")) {
			t.Fatalf("%d: nothing was replaced in\n%s", i, doc)
		}
		for _, s := range append(everyString(t, got), string(got)) {
			for _, form := range forms {
				for k := 0; k+8 <= len(strings.TrimRight(form, "=")); k++ {
					if strings.Contains(s, form[k:k+8]) {
						t.Fatalf("%d: planter %d: %q of %q survives in\n%s\nwhich was\n%s", i, plant, form[k:k+8], form, got, doc)
					}
				}
			}
		}
	}
}

// someDocument returns a JSON object of which one member holds the text.
func someDocument(random *rand.Rand, text string) string {
	write := writers[random.IntN(len(writers))]
	members := []string{`"id":"1"`, `"list":[1,{"a":null}]`, `"other":"sign=x&assign=y"`}
	value := write(text)
	switch random.IntN(3) {
	case 0:
		value = `{"inner":` + value + `}`
	case 1:
		value = `["first",` + value + `,"last"]`
	}
	members = append(members, fmt.Sprintf(`%q:%s`, []string{"url", "claims", "statusMessage", "x"}[random.IntN(4)], value))
	random.Shuffle(len(members), func(i, k int) { members[i], members[k] = members[k], members[i] })
	return "{" + strings.Join(members, ",") + "}"
}

// everyString returns all strings of a JSON document, and those of the documents in
// them, each also without its percent-escapes.
func everyString(t *testing.T, doc []byte) (all []string) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				all = append(all, name)
				walk(member)
			}
		case []any:
			for _, element := range v {
				walk(element)
			}
		case string:
			all = append(all, v)
			for plain, err := url.QueryUnescape(v); err == nil && plain != all[len(all)-1]; plain, err = url.QueryUnescape(plain) {
				all = append(all, plain)
			}
			if strings.HasPrefix(v, "{") {
				all = append(all, everyString(t, []byte(v))...)
			}
		}
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	walk(v)
	return all
}

// BenchmarkDocument measures a document of 1 MB without secrets, the largest event
// that there is.
func BenchmarkDocument(b *testing.B) {
	one := `{"resourceUri":"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub","n":12345},`
	for name, doc := range map[string][]byte{
		"1MB": []byte("[" + strings.Repeat(one, 1_000_000/len(one)) + "0]"),
		"2kB": []byte("[" + strings.Repeat(one, 2_000/len(one)) + "0]"),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				Document(doc, nil)
			}
		})
	}
}

// TestWordsMissNothing checks that no form finds a credential in a text that seems to have none
// of its words.
func TestWordsMissNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := strings.Split("shared,access,signature,Key,key,account,api,client,secret,refresh,token,password,passwd,PWD,passphrase,assertion,connection,string,sig,code,authorization,Basic,bearer,"+
		"\u017fhared,\u212aey,pa\u017f\u017fwd,\u017fignature,-,_,.,?,&,://,@,u:p,eyJhbGciOiJub25lIn0,AIoT,abcdefghijklmnopqrstuvwx,0,é,%,25,3d,3A,\\,u003d,u0022,u0027,u0026,\",',&quot;,=,:", ",")
	pieces = append(pieces, " ", "\t", "\n", "\f", "\v", ",", ";")
	found := make([]int, len(forms))
	for range 60_000 {
		var text []byte
		for range 2 + random.IntN(7) {
			text = append(text, pieces[random.IntN(len(pieces))]...)
		}
		asked := in(text, forms)
		for i, f := range forms {
			if !f.form().Match(text) {
				continue
			}
			found[i]++
			if !slices.ContainsFunc(asked, func(g form) bool { return g.words[0] == f.words[0] }) {
				t.Errorf("the form of %q matches %q, and is not asked", f.words[0], text)
			}
		}
	}
	for i, f := range forms {
		if found[i] == 0 && f.words[0] != "private key" {
			t.Errorf("no text has the form of %q", f.words[0])
		}
	}
}
