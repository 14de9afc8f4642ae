package secret

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Named reports whether a member of a document holds a name, which is kept as it
// is: an identifier, whatever it looks like. parent is the name of the member
// that holds the object. It is "" for the document itself, and for the elements
// of an array at its top. A document inside a string counts as part of the
// document around it.
type Named func(parent, member, value string) bool

// Bounds of the search. A document deeper inside strings than mostStrings, or with
// more objects inside each other than the JSON package reads, is searched as a text.
const (
	mostStrings = 8
	leastBase64 = 16
)

// Document takes the credentials out of a JSON document, and leaves a mark for each.
// The result is JSON with the same shape. Document replaces
//
//   - all values of a member whose name says that it holds a secret, however deep
//     they are
//   - the value in a pair of a name and a value, if the name says so
//   - what RedactString finds in a string, or in the name of a member
//   - a string in base64, if it is the code of a text with a credential
//
// It looks also into documents inside strings. It keeps the strings that named
// reports. If raw is not JSON, it is searched as a text. Document returns raw itself
// if there is no credential.
func Document(raw []byte, named Named) []byte {
	if isClean(raw, named) {
		return raw
	}
	return document(raw, named, "", 0)
}

// edit is a part of a document, and what stands there afterwards.
type edit struct {
	start, end int
	text       []byte // nil if every value in the part is a secret
}

// level is an object or an array that is being read.
type level struct {
	object bool
	parent string // the member that holds it
	member string // of an object: the member that is being read
	named  bool   // of an object: the name of a member was read, and its value comes next
	// Of a pair: whether its name says that the value is a secret, and where the value
	// stands if it came first.
	labelled   bool
	start, end int
}

// reader reads a document once.
type reader struct {
	raw   []byte
	named Named
	depth int    // of strings around the document
	forms []form // that strings of the document can have
	all   bool   // every value is a secret
	edits []edit
	stack []level
}

func document(raw []byte, named Named, parent string, depth int) []byte {
	r := reader{raw: raw, named: named, depth: depth, forms: forms}
	if bytes.IndexByte(raw, '\\') < 0 && bytes.IndexByte(raw, '%') < 0 {
		r.forms = in(raw, forms) // No escape hides a word, so that one look is enough for all strings.
	}
	if err := r.read(parent); err != nil {
		return text(raw, forms)
	}
	return r.apply()
}

// read finds the parts of the document to replace. Its error says that the document
// is not JSON.
func (r *reader) read(parent string) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(r.raw), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	for {
		var inside *level
		if n := len(r.stack); n > 0 {
			inside = &r.stack[n-1]
		}
		kind := d.PeekKind()
		switch {
		case kind == '}' || kind == ']':
			if _, err := d.ReadToken(); err != nil {
				return err
			}
			if inside.labelled && inside.end > 0 {
				r.edits = append(r.edits, edit{start: inside.start, end: inside.end})
			}
			r.stack = r.stack[:len(r.stack)-1]
		case kind == '"' && inside != nil && inside.object && !inside.named:
			name, err := d.ReadValue()
			if err != nil {
				return err
			}
			r.name(inside, name, int(d.InputOffset()))
			continue
		case (kind == '{' || kind == '[') && !r.isSecret(inside):
			if _, err := d.ReadToken(); err != nil {
				return err
			}
			l := level{object: kind == '{', parent: parent}
			if inside != nil {
				l.parent = inside.of()
				inside.noteValue(int(d.InputOffset()) - 1)
			}
			r.stack = append(r.stack, l)
			continue
		default:
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			end := int(d.InputOffset())
			r.value(inside, parent, value, end-len(value), end)
		}
		n := len(r.stack)
		if n == 0 {
			if _, err := d.ReadToken(); err != io.EOF {
				return errors.New("more than one value")
			}
			return nil
		}
		r.stack[n-1].noteEnd(int(d.InputOffset()))
	}
}

// of returns the member that holds what is read inside of l.
func (l *level) of() string {
	if l.object {
		return l.member
	}
	return l.parent
}

// noteValue remembers where the value of a pair begins, if the member can be one.
func (l *level) noteValue(start int) {
	if l.object && isOneOf(values, l.member) && l.end == 0 {
		l.start, l.end = start, -1
	}
}

// noteEnd remembers where that value ends. The next string is the name of a member.
func (l *level) noteEnd(end int) {
	l.named = false
	if l.end < 0 {
		l.end = end
	}
}

// name reads the name of a member, which ends at an offset.
func (r *reader) name(l *level, quoted jsontext.Value, end int) {
	name := unquote(quoted)
	l.member, l.named = string(name), true
	if redacted := r.inString(name, ""); !bytes.Equal(redacted, name) {
		r.edits = append(r.edits, edit{end - len(quoted), end, quote(redacted)})
	}
}

// isSecret reports whether the value that comes next is a secret as a whole.
func (r *reader) isSecret(inside *level) bool {
	return inside != nil && inside.object && (isSecretName(inside.member) && !isAuthorization(inside.member) ||
		inside.labelled && isOneOf(values, inside.member))
}

// value reads a value in one piece: a string, a number, or a value that is a
// secret as a whole.
func (r *reader) value(inside *level, parent string, value jsontext.Value, start, end int) {
	if inside != nil {
		parent = inside.parent
		inside.noteValue(start)
	}
	member := ""
	if inside != nil && inside.object {
		member = inside.member
	} else if inside != nil {
		member, parent = inside.parent, ""
	}
	kind := value.Kind()
	switch {
	case r.all:
		if kind != 'n' && kind != 't' && kind != 'f' {
			r.hide(value, start, end)
		}
	case r.isSecret(inside):
		r.edits = append(r.edits, edit{start: start, end: end})
	case kind != '"':
	default:
		r.string(inside, parent, member, value, start, end)
	}
}

// string reads a string that is not a secret as a whole.
func (r *reader) string(inside *level, parent, member string, quoted jsontext.Value, start, end int) {
	s := unquote(quoted)
	if inside != nil && inside.object && isOneOf(labels, inside.member) && isSecretName(string(s)) {
		inside.labelled = true
		return
	}
	if r.named != nil && r.named(parent, member, string(s)) {
		return
	}
	redacted := r.inString(s, member)
	if isSecretName(member) && len(s) > 0 && jsontext.Value(s).Kind() != '{' && !hasMark.Match(redacted) {
		redacted = []byte(mark(s)) // authorization is an object in an event, and a secret in a request
	}
	if !bytes.Equal(redacted, s) {
		r.edits = append(r.edits, edit{start, end, quote(redacted)})
	}
}

// inString returns a string without the credentials in it. member is the member that
// holds the string.
func (r *reader) inString(s []byte, member string) []byte {
	if r.depth >= mostStrings {
		return text(s, r.forms)
	}
	if len(s) > 1 {
		switch trimmed := bytes.TrimSpace(s); {
		case len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"'):
			return document(s, r.named, member, r.depth+1)
		case len(s) >= leastBase64 && isBase64(s):
			if decoded, ok := decodeBase64(nil, s); ok {
				if inner := document(decoded, r.named, member, r.depth+1); !bytes.Equal(inner, decoded) {
					return []byte(mark(s))
				}
			}
		}
	}
	return text(s, r.forms)
}

// isBase64 reports whether s has only characters of one alphabet of base64.
func isBase64(s []byte) bool {
	standard, url := false, false
	for _, c := range s {
		switch {
		case c == '+' || c == '/':
			standard = true
		case c == '-' || c == '_':
			url = true
		case (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '=':
			return false
		}
	}
	return !standard || !url
}

// decodeBase64 appends to b what s is the code of, in either alphabet and with or without
// padding. ok is false if that is not a text.
func decodeBase64(b, s []byte) (decoded []byte, ok bool) {
	trimmed := bytes.TrimRight(s, "=")
	code := base64.RawStdEncoding
	if bytes.ContainsAny(trimmed, "-_") {
		code = base64.RawURLEncoding
	}
	decoded, err := code.AppendDecode(b, trimmed)
	return decoded, err == nil && utf8.Valid(decoded)
}

// hide replaces a value that is a secret.
func (r *reader) hide(value jsontext.Value, start, end int) {
	s := []byte(value)
	if value.Kind() == '"' {
		s = unquote(value)
	}
	if len(s) > 0 && !marked.Match(s) {
		r.edits = append(r.edits, edit{start, end, quote([]byte(mark(s)))})
	}
}

// apply returns the document with the edits. It returns the document itself if there
// are none.
func (r *reader) apply() []byte {
	if len(r.edits) == 0 {
		return r.raw
	}
	slices.SortStableFunc(r.edits, func(a, b edit) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	var out []byte
	done := 0
	for _, e := range r.edits {
		if e.start < done {
			continue // inside of a part that was replaced as a whole
		}
		if e.text == nil {
			all := reader{raw: r.raw[e.start:e.end], all: true}
			if err := all.read(""); err == nil {
				e.text = all.apply()
			}
		}
		out = append(append(out, r.raw[done:e.start]...), e.text...)
		done = e.end
	}
	if out = append(out, r.raw[done:]...); bytes.Equal(out, r.raw) {
		return r.raw
	}
	return out
}

// unquote returns the text of a JSON string. What is not Unicode in it is replaced.
func unquote(quoted jsontext.Value) []byte {
	s, _ := jsontext.AppendUnquote(nil, quoted)
	return s
}

// quote returns a text as a JSON string. What is not Unicode in it is replaced.
func quote(s []byte) []byte {
	q, _ := jsontext.AppendQuote(nil, s)
	return q
}
