// Package scan reads JSON texts in one pass. It checks every byte, and tells where
// the members of each object stand, so that nothing is copied and nothing is read
// twice.
//
// It does the usual, and only that. Scan says no to a text that is not JSON, and to a
// few that are: those that nobody writes. Whoever is told no asks
// github.com/go-json-experiment/json, which has the last word, and the words for an
// error. A text to which Scan says yes is one that this package takes with
// jsontext.AllowInvalidUTF8: valid, and without a member that stands twice. A Span is for
// the other texts: with it that package, too, leaves values where they stand.
package scan

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// Doc is a text that was scanned. The zero value is ready for Scan.
type Doc struct {
	raw   []byte
	text  string // the same bytes
	nodes []node // in the order of the text; the first is that of the whole text
	few   [64]node
}

// node is a value with what it is called. All but the lengths are places in the text.
type node struct {
	name     uint32 // without the quotation marks; 0 for what has no name
	nameSize uint16
	form     form   // of a string
	from, to uint32 // the value; both 0 if it was left out
	next     uint32 // the index of the first node behind this one and all below it
}

// form tells how a string is spelled.
type form uint8

const (
	foreign form = 1 << iota // it has bytes that are not ASCII
	escaped                  // it has escapes
	long                     // some of these are not the shortest spelling of their character
)

// Value is a value in a text that was scanned. The zero value is one that is not
// there.
type Value struct {
	doc   *Doc
	index uint32
	limit uint32 // the index behind the last of its siblings
}

const (
	// mostDepth is how many objects and arrays may stand inside each other. Each takes a piece
	// of the stack.
	mostDepth = 100
	// mostCompared is up to how many members of an object are compared one by one. The
	// names of more than that are sorted.
	mostCompared = 64
	// usualValue is how many bytes of a text there usually are for a value, or more.
	usualValue = 48
	// longest is how many bytes a text may have, and longestName how many a name.
	longest, longestName = 1 << 30, 1<<16 - 1
)

// Scan reads raw, which must not change afterwards: the values, and all strings that
// they return, are parts of it. It reports whether it understands raw: if not, raw is
// not JSON, or has an object with a member twice, or has something unusual: a name with
// an escape or with bytes that are not UTF-8, a name of 64 KiB, more than 100 objects and
// arrays inside each other, or more than most values. The member of the whole text that is
// called without is checked like all others, but is then not there. A Doc that is used
// again uses its memory again, so values of the text before are not good any more.
func (d *Doc) Scan(raw []byte, without string, most int) bool {
	if len(raw) > longest {
		return false
	}
	d.raw = raw
	d.text = unsafe.String(unsafe.SliceData(raw), len(raw)) // #nosec G103 -- raw does not change, as the caller has promised
	if d.nodes == nil {
		d.nodes = d.few[:0]
	}
	if usual := len(raw) / usualValue; usual > len(d.few) {
		d.nodes = slices.Grow(d.nodes[:0], min(usual, most))
	}
	s := scanner{text: raw, nodes: append(d.nodes[:0], node{}), without: without, most: most}
	from := s.space(0)
	to := s.value(from)
	d.nodes = s.nodes
	if to < 0 || s.space(to) != len(raw) {
		return false
	}
	d.nodes[0] = node{from: place(from), to: place(to), next: place(len(d.nodes))}
	if raw[from] == '"' {
		_, d.nodes[0].form = s.quoted(from)
	}
	return true
}

// Forget lets go of the text, and of the memory of its values if it is for more than most of
// them. The values of the text are not good any more.
func (d *Doc) Forget(most int) {
	d.raw, d.text, d.nodes = nil, "", d.nodes[:0]
	if cap(d.nodes) > most {
		d.nodes = nil
	}
}

// place is i as a node has it: i is at most longest.
func place(i int) uint32 { return uint32(i) } // #nosec G115 -- see above

// Root returns the value that the whole text is.
func (d *Doc) Root() Value { return Value{doc: d, limit: 1} }

// Kind returns the kind of the value, or jsontext.KindInvalid if it is not there.
func (v Value) Kind() jsontext.Kind {
	if v.doc == nil {
		return jsontext.KindInvalid
	}
	n := &v.doc.nodes[v.index]
	if n.to == 0 {
		return jsontext.KindInvalid
	}
	switch c := v.doc.raw[n.from]; c {
	case '"', '{', '[', 'n', 't', 'f':
		return jsontext.Kind(c)
	default:
		return '0'
	}
}

// Raw returns the value as it stands in the text, or nil if it is not there.
func (v Value) Raw() jsontext.Value {
	if v.doc == nil {
		return nil
	}
	n := &v.doc.nodes[v.index]
	return v.doc.raw[n.from:n.to:n.to]
}

// Text returns the string that v is, or "" if v is not a string. Bytes that are not
// UTF-8, and halves of surrogate pairs, become the replacement character.
func (v Value) Text() string {
	if v.Kind() != '"' {
		return ""
	}
	n := &v.doc.nodes[v.index]
	s := v.doc.text[n.from+1 : n.to-1]
	if n.form == 0 || n.form == foreign && utf8.ValidString(s) {
		return s
	}
	return string(v.AppendText(nil))
}

// IsPlain reports whether v is a string of ASCII without escapes. Its text then is a
// part of what was scanned.
func (v Value) IsPlain() bool { return v.Kind() == '"' && v.doc.nodes[v.index].form == 0 }

// IsShort reports whether v is a string without escapes that could be left out or could be
// shorter, and without bytes that are not UTF-8. No two of these have the same text.
func (v Value) IsShort() bool {
	return v.Kind() == '"' && v.doc.nodes[v.index].form&long == 0 && v.isUTF8()
}

// isUTF8 is about a string.
func (v Value) isUTF8() bool {
	return v.doc.nodes[v.index].form&foreign == 0 || utf8.Valid(v.Raw())
}

// AppendText appends Text to b.
func (v Value) AppendText(b []byte) []byte {
	if v.Kind() != '"' {
		return b
	}
	quoted := v.Raw()
	if v.isUTF8() {
		if text, ok := appendUnescaped(b, quoted[1:len(quoted)-1]); ok {
			return text
		}
	}
	b, _ = jsontext.AppendUnquote(b, quoted) // an error says that something was replaced
	return b
}

// appendUnescaped appends what stands between the quotation marks of a string, without the
// escapes that a document inside a string has: those of quotation marks, backslashes and
// slashes. It returns false if there are others.
func appendUnescaped(b, text []byte) ([]byte, bool) {
	n := len(b)
	b = slices.Grow(b, len(text)+8) // eight bytes are copied at a time, also of the last
	b = b[:cap(b)]
	for i := 0; i < len(text); {
		if i <= len(text)-8 {
			x := binary.LittleEndian.Uint64(text[i:])
			binary.LittleEndian.PutUint64(b[n:], x)
			slash := x ^ '\\'*ones
			k := bits.TrailingZeros64((slash-ones)&^slash&highs) / 8 // 8 if there is none
			if i, n = i+k, n+k; k == 8 {
				continue
			}
		} else if text[i] != '\\' {
			b[n] = text[i]
			i, n = i+1, n+1
			continue
		}
		c := text[i+1]
		if c != '"' && c != '\\' && c != '/' {
			return b, false
		}
		b[n] = c
		i, n = i+2, n+1
	}
	return b[:n], true
}

// Literal returns a value that is no string as it stands in the text: a number, say.
func (v Value) Literal() string {
	if v.doc == nil {
		return ""
	}
	n := &v.doc.nodes[v.index]
	return v.doc.text[n.from:n.to]
}

// Name returns the name of a member, or "" of what is not a member.
func (v Value) Name() string {
	if v.doc == nil {
		return ""
	}
	n := &v.doc.nodes[v.index]
	return v.doc.text[n.name : n.name+uint32(n.nameSize)]
}

// First returns the first member of an object, or the first element of an array.
func (v Value) First() Value {
	if v.doc == nil || v.index+1 >= v.doc.nodes[v.index].next {
		return Value{}
	}
	return Value{v.doc, v.index + 1, v.doc.nodes[v.index].next}
}

// Next returns the member, or the element, that follows v.
func (v Value) Next() Value {
	if v.doc == nil || v.doc.nodes[v.index].next >= v.limit {
		return Value{}
	}
	return Value{v.doc, v.doc.nodes[v.index].next, v.limit}
}

// Get returns the member of an object that is called name.
func (v Value) Get(name string) Value {
	if v.Kind() != '{' {
		return Value{}
	}
	m := v.First()
	for m.doc != nil && m.Name() != name {
		m = m.Next()
	}
	return m
}

// scanner is a pass over a text. Its methods take the place at which something begins
// and return the place behind it, or a negative number if it is not understood.
type scanner struct {
	text    []byte
	nodes   []node
	depth   int
	without string
	most    int
}

// space is the only one that cannot fail. Most texts have none.
func (s *scanner) space(i int) int {
	if i < len(s.text) && s.text[i] <= ' ' {
		return s.spaces(i)
	}
	return i
}

func (s *scanner) spaces(i int) int {
	for i < len(s.text) && s.text[i] <= ' ' && (s.text[i] == ' ' || s.text[i] == '\n' || s.text[i] == '\r' || s.text[i] == '\t') {
		i++
	}
	return i
}

func (s *scanner) value(i int) int {
	if i >= len(s.text) {
		return -1
	}
	switch s.text[i] {
	case '"':
		end, _ := s.quoted(i)
		return end
	case '{':
		return s.object(i)
	case '[':
		return s.array(i)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		return s.number(i)
	}
}

func (s *scanner) literal(i int, want string) int {
	if end := i + len(want); end <= len(s.text) && string(s.text[i:end]) == want {
		return end
	}
	return -1
}

func (s *scanner) number(i int) int {
	if s.text[i] == '-' {
		i++
	}
	whole := i
	if i = s.digits(i); i == whole || s.text[whole] == '0' && i > whole+1 {
		return -1
	}
	if i < len(s.text) && s.text[i] == '.' {
		fraction := i + 1
		if i = s.digits(fraction); i == fraction {
			return -1
		}
	}
	if i < len(s.text) && s.text[i]|0x20 == 'e' {
		i++
		if i < len(s.text) && (s.text[i] == '+' || s.text[i] == '-') {
			i++
		}
		exponent := i
		if i = s.digits(exponent); i == exponent {
			return -1
		}
	}
	return i
}

func (s *scanner) digits(i int) int {
	for i < len(s.text) && '0' <= s.text[i] && s.text[i] <= '9' {
		i++
	}
	return i
}

// Eight bytes at a time, each with a value of its own
// (https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord).
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// quoted reads a string.
func (s *scanner) quoted(i int) (end int, f form) {
	b := s.text
	var all uint64 // what the bytes have in common with those that are not ASCII
	for i++; ; {
		for i <= len(b)-8 {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, slash := x^'"'*ones, x^'\\'*ones
			stops := ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x) & highs
			if stops != 0 {
				n := bits.TrailingZeros64(stops) // the first that is found is one; the others need not be
				all |= x & (1<<n - 1) & highs
				i += n / 8
				break
			}
			all |= x
			i += 8
		}
		for ; i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\'; i++ {
			all |= uint64(b[i])
		}
		if i >= len(b) || b[i] < ' ' {
			return -1, 0
		}
		if b[i] == '"' {
			if all&highs != 0 {
				f |= foreign
			}
			return i + 1, f
		}
		f |= escaped
		if i+1 < len(b) && (b[i+1] == '/' || b[i+1] == 'u') {
			f |= long // \u is the only spelling of some characters, which nobody writes
		}
		if i = s.escape(i); i < 0 {
			return -1, 0
		}
	}
}

func (s *scanner) escape(i int) int {
	if i+1 >= len(s.text) {
		return -1
	}
	switch s.text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(s.text) {
			return -1
		}
		for _, c := range s.text[i+2 : i+6] {
			if lower := c | 0x20; (c < '0' || c > '9') && (lower < 'a' || lower > 'f') {
				return -1
			}
		}
		return i + 6
	}
	return -1
}

func (s *scanner) array(i int) int {
	if s.depth++; s.depth > mostDepth {
		return -1
	}
	i = s.space(i + 1)
	if i < len(s.text) && s.text[i] == ']' {
		s.depth--
		return i + 1
	}
	for {
		if i = s.child(node{}, i); i < 0 {
			return -1
		}
		if i = s.space(i); i >= len(s.text) {
			return -1
		}
		switch s.text[i] {
		case ']':
			s.depth--
			return i + 1
		case ',':
			i = s.space(i + 1)
		default:
			return -1
		}
	}
}

// child reads the value of n at i, with a node for it.
func (s *scanner) child(n node, i int) int {
	k := len(s.nodes)
	if k >= s.most || i >= len(s.text) {
		return -1
	}
	n.from, n.next = place(i), place(k+1)
	if s.text[i] == '"' { // which most are
		end, form := s.quoted(i)
		if end > 0 {
			n.to, n.form = place(end), form
			s.nodes = append(s.nodes, n)
		}
		return end
	}
	s.nodes = append(s.nodes, n)
	end := s.value(i)
	if end > 0 {
		s.nodes[k].to, s.nodes[k].next = place(end), place(len(s.nodes))
	}
	return end
}

func (s *scanner) object(i int) int {
	if s.depth++; s.depth > mostDepth {
		return -1
	}
	first, count := len(s.nodes), 0
	var seen uint64 // a bit for each name; two names can have the same
	i = s.space(i + 1)
	if i < len(s.text) && s.text[i] == '}' {
		s.depth--
		return i + 1
	}
	for {
		if i >= len(s.text) || s.text[i] != '"' {
			return -1
		}
		end, form := s.quoted(i)
		if end < 0 {
			return -1
		}
		name := s.text[i+1 : end-1]
		if len(name) > longestName || form&escaped != 0 || form&foreign != 0 && !utf8.Valid(name) {
			return -1
		}
		bit := uint64(1) << (nameSum(name) % 64)
		if seen&bit != 0 && count <= mostCompared && s.has(first, name) {
			return -1
		}
		seen |= bit
		count++
		n := node{name: place(i + 1), nameSize: uint16(len(name))} // #nosec G115 -- at most longestName
		if i = s.space(end); i >= len(s.text) || s.text[i] != ':' {
			return -1
		}
		k := len(s.nodes)
		if i = s.child(n, s.space(i+1)); i < 0 {
			return -1
		}
		if s.depth == 1 && string(name) == s.without && s.without != "" {
			n.next = place(k + 1)
			s.nodes = append(s.nodes[:k], n)
		}
		if i = s.space(i); i >= len(s.text) {
			return -1
		}
		switch s.text[i] {
		case '}':
			s.depth--
			if count > mostCompared && !s.distinct(first) {
				return -1
			}
			return i + 1
		case ',':
			i = s.space(i + 1)
		default:
			return -1
		}
	}
}

// nameSum tells most of the names of an object apart.
func nameSum(name []byte) uint {
	n := uint(len(name))
	if n > 0 {
		n += uint(name[0])*5 + uint(name[n-1])*11 + uint(name[n/2])*29
	}
	return n
}

// has reports whether one of the siblings from the node first on is called name.
func (s *scanner) has(first int, name []byte) bool {
	for k := first; k < len(s.nodes); k = int(s.nodes[k].next) {
		if n := &s.nodes[k]; int(n.nameSize) == len(name) && string(s.name(n)) == string(name) {
			return true
		}
	}
	return false
}

func (s *scanner) name(n *node) []byte { return s.text[n.name : n.name+uint32(n.nameSize)] }

// distinct reports whether no two of the siblings from the node first on have the
// same name.
func (s *scanner) distinct(first int) bool {
	var names []string
	for k := first; k < len(s.nodes); k = int(s.nodes[k].next) {
		names = append(names, string(s.name(&s.nodes[k])))
	}
	slices.Sort(names)
	return len(slices.Compact(names)) == len(names)
}
