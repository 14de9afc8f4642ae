package secret

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Hidden reports whether a reader would not see r as it is: control characters, also
// line ends and tabs, characters without a width, characters that change the direction
// of the text (https://www.unicode.org/reports/tr36/), blanks other than the space, and
// separators of lines.
func Hidden(r rune) bool {
	if r >= ' ' && r <= '~' {
		return false
	}
	return !unicode.IsPrint(r) || r == '\u2800' || // a blank that counts as a sign
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Visible returns s with an escape in place of each hidden character: \u202e as in JSON,
// and two escapes for a character beyond U+FFFF. It drops none, so that two names stay
// different. A byte that is not UTF-8 becomes U+FFFD.
func Visible(s string) string { return visible(s, "") }

// VisibleJSON is Visible for a JSON document. The result means the same, because hidden
// characters can stand in strings only. It leaves the white space between the values.
func VisibleJSON(s string) string { return visible(s, "\t\n\r") }

// visible escapes the hidden characters that are not in allowed.
func visible(s, allowed string) string {
	if isPlain(s) { // nearly always
		return s
	}
	hidden := func(r rune) bool { return r != utf8.RuneError && Hidden(r) && !strings.ContainsRune(allowed, r) }
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	first := strings.IndexFunc(s, hidden)
	if first < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:first])
	for _, r := range s[first:] {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isPlain reports whether s has nothing but printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
