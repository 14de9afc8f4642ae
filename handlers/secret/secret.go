// Package secret takes credentials out of texts that came from outside. It is a
// leaf: whatever keeps or shows a text can import it.
package secret

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Pieces of the expressions below. What surrounds a secret may be escaped, by
// JSON (some writers escape & and + as \u0026 and \u002B, and a document inside a
// string has several backslashes for one) or for a URL, more than once.
const (
	// edge is where a name can begin: at the edge of a word, or after an escape
	// that ends in a letter or a digit.
	edge = `(?:\b|\\[bfnrt]|u00[0-9a-f]{2}|%(?:25)*[0-9a-f]{2})`
	// is stands between a name and its value; the last form is that of members.
	is    = `(?:=|%(?:25)*3d|\\+u003d|` + quote + `\s*:\s*` + quote + `)`
	quote = `(?:\\*"|\\+u0022)`
	// value is all up to the end of a parameter or of a string. The escapes are
	// those of the characters of base64, Base64url and percent-encoding.
	value = `(?:[^&;\s"'\\]|` + escape + `)+`
	// A run of backslashes is taken whole or not at all, so that JSON stays JSON.
	escape = `\\+(?:/|u00(?:2[5bdf]|3[0-9d]|[46][1-9a-f]|[57][0-9af]))`
)

// form is a form in which credentials appear.
type form struct {
	words []string // one of which each secret of the form has, in lower case
	form  *regexp.Regexp
}

// in reports whether a text in lower case has one of the words of f.
func (f form) in(lower []byte) bool {
	return slices.ContainsFunc(f.words, func(word string) bool { return bytes.Contains(lower, []byte(word)) })
}

// secrets are the forms in which credentials appear inside events and errors.
// In each, group 1 is what is kept.
//
//   - the signature of a shared access signature, in a URL or a token
//     (https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas)
//   - keys of connection strings, of devices and of accounts
//   - bearer tokens, and JSON web tokens by themselves (RFC 7519: the header of
//     each begins with {" and so with eyJ), which have three parts, or five if
//     they are encrypted
var secrets = []form{
	{[]string{"sig"}, regexp.MustCompile(`(?i)(` + edge + `sig` + is + `)` + value)},
	{
		[]string{"accesskey", "accountkey", "primarykey", "secondarykey", "sharedaccesssignature"},
		regexp.MustCompile(`(?i)((?:AccessKey|AccountKey|PrimaryKey|SecondaryKey|SharedAccessSignature)` + is + `)` + value),
	},
	{[]string{"bearer"}, regexp.MustCompile(`(?i)(bearer(?:\s|%(?:25)*20|\+)+)(?:[A-Za-z0-9._~+/=-]|` + escape + `)+`)},
	{[]string{"eyj"}, regexp.MustCompile(`()eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4}`)},
}

// Redact returns b with the secrets in it replaced by the word REDACTED:
// signatures of shared access signatures, keys of connection strings, bearer
// tokens and JSON web tokens. Everything that reaches a row, a log or a page
// and came from outside goes through it. It returns b itself if there is
// nothing to replace. JSON stays JSON.
func Redact(b []byte) []byte {
	// Most events have none of the words, and to look for words is far cheaper
	// than to match forms.
	lower := bytes.ToLower(b)
	for _, f := range secrets {
		if f.in(lower) && f.form.Match(b) {
			b = f.form.ReplaceAll(b, []byte("${1}REDACTED"))
		}
	}
	return b
}

// RedactString is Redact for a string.
func RedactString(s string) string { return string(Redact([]byte(s))) }

// RedactStrings replaces the secrets in each of list, as Redact does, and reports
// whether there were any. To look for the words of secrets is done once for all.
func RedactStrings(list []string) (found bool) {
	lower := []byte(strings.ToLower(strings.Join(list, "\x00")))
	if !slices.ContainsFunc(secrets, func(f form) bool { return f.in(lower) }) {
		return false
	}
	for i, s := range list {
		if list[i] = RedactString(s); list[i] != s {
			found = true
		}
	}
	return found
}
