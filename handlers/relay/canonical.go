package relay

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// canonical returns raw in the form of RFC 8785, in which neither the order of
// members nor whitespace nor the spelling of strings matters, into the space of
// buf. Integers stay as they are: as floating-point numbers, which the RFC makes
// of them, two that differ can be the same.
func canonical(buf []byte, raw jsontext.Value) ([]byte, error) {
	return jsontext.AppendFormat(buf[:0], raw, jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawFloats(true))
}

// appendCanonical appends what canonical returns of a value that was scanned. It returns
// false if the value has anything that records do not have: a number that is not an
// integer, a string that could be spelled in another way, or a character that is not
// Unicode, a name that is not ASCII, or an object with more than mostMembers.
func appendCanonical(b []byte, v scan.Value) (_ []byte, ok bool) {
	switch v.Kind() {
	case '{':
		return appendObject(b, v)
	case '[':
		b = append(b, '[')
		for e := v.First(); e != (scan.Value{}); e = e.Next() {
			if e != v.First() {
				b = append(b, ',')
			}
			if b, ok = appendCanonical(b, e); !ok {
				return b, false
			}
		}
		return append(b, ']'), true
	case '"':
		return append(b, v.Raw()...), v.IsShort()
	case '0':
		return append(b, v.Raw()...), len(bytes.Trim(v.Raw(), "0123456789")) == 0
	case 'n', 't', 'f':
		return append(b, v.Raw()...), true
	default: // nothing was scanned
		return b, false
	}
}

// mostMembers is how many members an object has at most that are sorted here.
const mostMembers = 32

func appendObject(b []byte, object scan.Value) ([]byte, bool) {
	type member struct {
		name  string
		value scan.Value
	}
	var space [mostMembers]member
	members := space[:0]
	for v := object.First(); v != (scan.Value{}); v = v.Next() {
		m := member{v.Name(), v}
		if len(members) == mostMembers || !isASCII(m.name) {
			return b, false
		}
		i := len(members)
		for members = append(members, m); i > 0 && m.name < members[i-1].name; i-- {
			members[i] = members[i-1]
		}
		members[i] = m
	}
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), m.name...), `":`...)
		var ok bool
		if b, ok = appendCanonical(b, m.value); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
