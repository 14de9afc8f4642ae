package secret

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Pieces of the expressions below. Texts quote each other, so a sign can be escaped,
// by JSON (some writers escape & and + as \u0026 and \u002B, and a document inside a
// string has several backslashes for one) or for a URL, more than once.
const (
	// edge is where a name can begin: at the edge of a word, or after an escape
	// that ends in a letter or a digit.
	edge = `(?:\b|\\[bfnrt]|u00[0-9a-f]{2}|%(?:25)*[0-9a-f]{2})`
	// is stands between a name and its value.
	is = `(?:\\*["']|\\+u002[27]|&quot;)?\s*(?:=|:|%(?:25)*3[ad]|\\+u003[ad])\s*`
	// bare is a value without quotation marks: all up to the end of a parameter.
	bare = `(?:[^&;\s"'\\]|\\+(?:[^"'\\bfnrtu\s]|u[0-9a-f]{4}))+`
	// value is a value with or without quotation marks. The marks at its beginning
	// are a group of their own.
	value = `(?:(\\+"|\\+u0022|&quot;)(?:[^"\\&]|\\+[^"'\\u]|\\+u00[013-9a-f][0-9a-f])+|(")(?:[^"\\]|\\.)+|(')(?:[^'\\]|\\.)+|` + bare + `)`
	// names are the names of secretNames that texts have, with and without separators.
	names = `(?:shared[-_. ]?access[-_. ]?(?:key|signature)` +
		`|(?:account|access|primary|secondary|master|private|api|functions?|subscription|sas)[-_. ]?key` +
		`|(?:client[-_. ]?)?secret|(?:access|refresh|id|auth|sas|bearer)[-_. ]?token` +
		`|passw(?:or)?d|pwd|passphrase|client[-_. ]?assertion|connection[-_. ]?string)`
)

// form is a form in which credentials stand in texts.
type form struct {
	words []string // one of which each credential of the form has, in lower case
	// sign tells that each credential of the form also has one of the signs that can
	// stand between a name and its value: = or : or the % or \ of an escape.
	sign bool
	// ends tells that the words are the ends of names, so that is follows one of them.
	ends bool
	// form matches a credential with what stands before it. Its groups are what
	// stands before the credential; the last group that matched ends where the
	// credential begins.
	form func() *regexp.Regexp
}

// forms are the forms in which credentials stand in texts.
//
//   - private keys in PEM (RFC 7468)
//   - the header Authorization, with any scheme (RFC 9110, section 11.6.2)
//   - bearer tokens (RFC 6750), and JSON web tokens by themselves (RFC 7519: the
//     header of each begins with {" and so with eyJ), which have three parts, or five
//     if they are encrypted
//   - the signature of a shared access signature, in a URL or a token
//   - the key of a function in a URL
//   - the names of secrets with their values
//   - the password in a URL (RFC 3986, section 3.2.1)
//   - keys that Azure makes so that scanners can find them
//     (https://github.com/microsoft/security-utilities)
var forms = []form{
	{[]string{"private key"}, false, false, expression(`(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----)(?s:.+?)(?:-----END|$)`)},
	{[]string{"authorization"}, true, false, expression(`(?i)(authorization` + is + `(?:\\*["'])?(?:[a-z][a-z0-9_-]*(?:\s|\\+t|%(?:25)*20|\+)+)?)[^\r\n"'\\]+`)},
	{[]string{"bearer"}, false, false, expression(`(?i)(bearer(?:\s|\\+[nrt]|%(?:25)*20|\+)+)(?:[A-Za-z0-9._~+/=%-]|\\+/|\\+u00[0-9a-f]{2})+`)},
	{[]string{"eyj"}, false, false, expression(`()eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4}`)},
	{[]string{"sig"}, true, true, expression(`(?i)(` + edge + `sig` + is + `)` + value)},
	{[]string{"code=", "code%", `code\`}, true, false, expression(`(?i)((?:[?&]|%(?:25)*(?:3f|26)|\\+u0026|&amp;)code(?:=|%(?:25)*3d|\\+u003d))` + bare)},
	{[]string{"key", "signature", "secret", "token", "password", "passwd", "pwd", "passphrase", "assertion", "string"}, true, true, expression(`(?i)(` + names + is + `)` + value)},
	{[]string{"@"}, true, false, expression(`(://[^/\s:@"']+:)[^/\s@"']+@`)},
	{[]string{"azfu", "aiot", "+ast", "+aeh", "+arm"}, false, false, expression(`()[A-Za-z0-9+/_-]{20,}(?:AzFu|AIoT|\+ASt|\+AEh|\+ARm)[A-Za-z0-9+/_-]{4,}={0,2}`)},
}

// expression returns a regular expression that is compiled when it is asked for: next to no
// text has a word of a form, and the first answer would wait for all of them.
func expression(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// plainWords are what stands after "bearer" in sentences, and not in headers.
var plainWords = expression(`(?i)^(?:tokens?|auth(?:entication|orization)?|schemes?|realm|errors?|challenges?|is|was|or|and|not|of|for)[.,]?$`)

// RedactString takes the credentials out of a text that came from outside, and
// leaves a mark for each. It looks into a document, and into base64, as Document does.
// It returns s itself if it finds no credential. A name that has to be kept as it is
// must not be given to RedactString.
func RedactString(s string) string {
	if isCleanText(s) {
		return s
	}
	b := []byte(s)
	if r := (&reader{forms: forms}).inString(b, ""); !bytes.Equal(r, b) {
		return string(r)
	}
	return s
}

// text takes the credentials of some forms out of b, which is not searched as a
// document. It returns b itself if it finds none.
func text(b []byte, forms []form) []byte {
	if len(forms) == 0 {
		return b
	}
	out := plainText(b, forms)
	// A name can be written with percent-escapes, too: s%69g. If that hides a
	// credential, the text is kept without the escapes.
	decoded := out
	for range 3 {
		next := unescapePercent(decoded)
		if len(next) == len(decoded) {
			break
		}
		decoded = next
		if r := plainText(decoded, forms); !bytes.Equal(r, decoded) {
			out, decoded = r, r
		}
	}
	return out
}

// plainText replaces what the forms find in b.
func plainText(b []byte, forms []form) []byte {
	for _, f := range in(b, forms) {
		b = f.replace(b)
	}
	return b
}

// in returns the forms of which b has a word.
func in(b []byte, forms []form) (found []form) {
	if len(forms) == 0 {
		return nil
	}
	mask, all := wordsIn(b)
	if all&isForeign != 0 {
		// Some signs are ASCII in lower case only. U+017F is an s for an expression, and stays
		// as it is in lower case.
		mask, _ = wordsIn(bytes.ReplaceAll(bytes.ToLower(b), []byte("\u017f"), []byte("s")))
	}
	if mask == 0 { // nearly always
		return nil
	}
	for _, f := range forms {
		if mask&f.bit() != 0 {
			found = append(found, f)
		}
	}
	return found
}

// bit is the bit of f in the result of wordsIn.
func (f form) bit() uint16 { return wordBits[f.words[0]] }

// word is a word of a form.
type word struct {
	text string
	bit  uint16 // of the form
	ends bool   // see form
}

// The words of all forms, by the two letters at their beginnings, in upper and lower
// case. A word of one letter is "@".
var (
	wordBits  = map[string]uint16{} // the bit of the form that has the word
	following [256]uint64           // by the first letter: a bit for the last six bits of each letter that follows it in a word
	wordsFrom [256][]word           // by the first letter
	kinds     [256]byte             // of characters
	signed    uint16                // the forms that need a sign
)

// The kinds of characters of which wordsIn has to know that they are there.
const (
	isSign = 1 << iota
	isAt
	isPercent
	isForeign // not ASCII
)

func init() {
	for _, c := range []byte(`=:%\`) {
		kinds[c] = isSign
	}
	kinds['%'] |= isPercent
	kinds['@'] = isAt
	for c := 0x80; c <= 0xff; c++ {
		kinds[c] = isForeign
	}
	for i, f := range forms {
		if f.sign {
			signed |= 1 << i
		}
		for _, text := range f.words {
			wordBits[text] = 1 << i
			if len(text) == 1 {
				continue
			}
			upper := strings.ToUpper(text)
			first := []byte{text[0], upper[0]}
			for _, c := range slices.Compact(first) {
				following[c] |= 1<<(text[1]%64) | 1<<(upper[1]%64)
				wordsFrom[c] = append(wordsFrom[c], word{text, 1 << i, f.ends})
			}
		}
	}
}

// wordsIn returns a bit for each form of which b, whose letter case does not count, can
// hold a credential, and the kinds of all characters of b.
func wordsIn(b []byte) (mask uint16, all byte) {
	last := byte(0)
	for i, c := range b {
		all |= kinds[c]
		if following[last]>>(c%64)&1 != 0 {
			for _, word := range wordsFrom[last] {
				if hasWord(b[i-1:], word.text) && (!word.ends || isNext(b[i-1+len(word.text):])) {
					mask |= word.bit
				}
			}
		}
		last = c
	}
	if all&isAt != 0 {
		mask |= wordBits["@"]
	}
	if all&isSign == 0 {
		mask &^= signed
	}
	return mask, all
}

// hasWord reports whether b begins with word, which is in lower case.
func hasWord(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for k := range len(word) {
		c := b[k]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[k] {
			return false
		}
	}
	return true
}

// isNext reports whether what follows a word can be what is says. Sentences have many of the
// words, and nothing of that after them.
func isNext(b []byte) bool {
	rest := bytes.TrimLeft(b, "\t\n\f\r ")
	if len(rest) == 0 {
		return false
	}
	switch rest[0] {
	case '=', ':', '%', '\\':
		return true
	case '"', '\'', '&':
		return len(rest) == len(b) // a quotation mark after a blank begins something else
	}
	return false
}

// replace puts a mark in the place of each credential of the form.
func (f form) replace(b []byte) []byte {
	matches := f.form().FindAllSubmatchIndex(b, -1)
	var out []byte
	done := 0
	for _, m := range matches {
		start, end := m[0], m[1]
		for g := 2; g < len(m); g += 2 {
			start = max(start, m[g+1])
		}
		found := b[start:end]
		for _, tail := range []string{"-----END", "@"} { // what the form needs after the credential, and is not a part of it
			found = bytes.TrimSuffix(found, []byte(tail))
		}
		if tail := bytes.TrimRight(found, " \t"); len(tail) > 0 {
			found = tail
		}
		if len(found) == 0 || marked.Match(found) || plainWords().Match(found) && f.words[0] == "bearer" {
			continue
		}
		out = append(append(out, b[done:start]...), mark(found)...)
		done = start + len(found)
	}
	if done == 0 {
		return b
	}
	return append(out, b[done:]...)
}

// unescapePercent decodes each percent-escape once. A percent sign that does not
// begin an escape stays as it is.
func unescapePercent(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if hi, lo := strings.IndexByte(hexDigits, b[i+1]|0x20), strings.IndexByte(hexDigits, b[i+2]|0x20); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo)) // #nosec G115 -- both are below 16
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

const hexDigits = "0123456789abcdef"
