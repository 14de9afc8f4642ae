package secret

import (
	"bytes"
	"strings"
	"sync"

	"hubwatch/handlers/scan"
)

// cleaner proves of documents and texts that there is no credential in them.
type cleaner struct {
	named   Named
	scanned Inside                    // nil if it knows no document
	docs    [mostStrings + 1]scan.Doc // of the document, and of documents inside strings
	texts   [mostStrings + 1][]byte   // of those documents: what the strings are without their escapes
	used    int                       // how many of docs and texts are used at most
	code    []byte                    // what was in base64
	names   map[string]cleanName      // plain names of members that turned out to be clean
	// Most documents have the names of the one before, in the same order. next is where the
	// next member stands in order, if it does.
	order []cleanMember
	next  int
	other cleanMember // one that is not in order
	holds bool        // whether named is the same for all documents, so that values can be held
}

func newCleaner() *cleaner {
	// A member in order stays where it is while what is inside of it is read.
	return &cleaner{names: map[string]cleanName{}, order: make([]cleanMember, 0, mostOrder)}
}

// cleanName is the name of a member, which is clean.
type cleanName struct {
	name  string
	label bool // whether it is one of labels
}

// cleanMember is a member of the last document.
type cleanMember struct {
	cleanName
	// The string that it held, as it stood in the document, and where. It was clean. Many
	// members hold the same in all documents.
	value, parent []byte
	depth         int
	inside        int // how many members in order are of the document that the string holds
}

// held reports whether the member held the string v in the same place.
func (m *cleanMember) held(v scan.Value, parent string, depth int) bool {
	return m.depth == depth && bytes.Equal(m.value, v.Raw()) && string(m.parent) == parent
}

// hold notes that the member holds the string v, which is clean.
func (m *cleanMember) hold(v scan.Value, parent string, depth, inside int) {
	if raw := v.Raw(); len(raw) <= mostHeld {
		m.value, m.parent, m.depth, m.inside = append(m.value[:0], raw...), append(m.parent[:0], parent...), depth, inside
	}
}

var cleaners = sync.Pool{New: func() any { return newCleaner() }}

const (
	// mostValues is how many values a document has at most that is looked at in this way.
	mostValues = 10_000
	// mostNames is how many names a cleaner knows, each of at most mostName bytes.
	mostNames, mostName = 256, 64
	// mostOrder is how many members of a document are compared with those of the one before.
	mostOrder = 64
	// mostPlaces is of how many values of a document the memory is kept.
	mostPlaces = 1024
	// mostKept is of how many bytes of a text the memory is kept.
	mostKept = 64 << 10
	// mostHeld is how many bytes a string has at most that is held.
	mostHeld = 256
)

// isClean reports whether it is certain that Document finds nothing in raw. Most
// documents are like that, and certainty costs less than a search.
func isClean(raw []byte, named Named) bool {
	c := cleaners.Get().(*cleaner)
	defer cleaners.Put(c)
	defer c.forget()
	c.named, c.next, c.used = named, 0, 0
	return c.document(raw, "", 0)
}

// isCleanText reports whether it is certain that RedactString finds nothing in s.
func isCleanText(s string) bool {
	c := cleaners.Get().(*cleaner)
	defer cleaners.Put(c)
	defer c.forget()
	c.named, c.next, c.used = nil, 0, 1
	c.texts[0] = append(c.texts[0][:0], s...)
	return c.text(c.texts[0], "", 0)
}

// forget lets go of the documents, and of memory that few of them need.
func (c *cleaner) forget() {
	for i := range c.used {
		c.docs[i].Forget(mostPlaces)
		if cap(c.texts[i]) > mostKept {
			c.texts[i] = nil
		}
	}
	if cap(c.code) > mostKept {
		c.code = nil
	}
}

// Redactor is Document for many documents that were scanned already, one after the other.
// It saves a pass over each document. What it found in one helps with the next.
type Redactor struct{ cleaner *cleaner }

// Inside returns the document that the text of a string is, if that was scanned already,
// and else nothing.
type Inside func(scan.Value) scan.Value

// NewRedactor returns a Redactor that keeps what named reports, and that need not scan the
// documents that inside returns.
func NewRedactor(named Named, inside Inside) *Redactor {
	c := newCleaner()
	c.named, c.scanned, c.holds = named, inside, true
	return &Redactor{c}
}

// Document returns v without the credentials in it.
func (r *Redactor) Document(v scan.Value) []byte {
	r.cleaner.next = 0
	if r.cleaner.value(v, "", 0) {
		return v.Raw()
	}
	return document(v.Raw(), r.cleaner.named, "", 0)
}

// Forget lets go of the documents, and of memory that few of them need. It keeps what was
// found clean, which is bounded.
func (r *Redactor) Forget() { r.cleaner.forget() }

// document is about a document inside of depth strings. parent is as in document.
func (c *cleaner) document(raw []byte, parent string, depth int) bool {
	c.used = max(c.used, depth+1)
	doc := &c.docs[depth]
	return doc.Scan(raw, "", mostValues) && c.value(doc.Root(), parent, depth)
}

// value is about what a document is.
func (c *cleaner) value(root scan.Value, parent string, depth int) bool {
	switch root.Kind() {
	case '{', '[':
		return c.inside(root, parent, depth)
	case '"':
		return c.string(root, parent, "", depth)
	default:
		return true
	}
}

// inside is about an object or an array that the member parent holds.
func (c *cleaner) inside(v scan.Value, parent string, depth int) bool {
	if v.Kind() == '{' {
		return c.object(v, parent, depth)
	}
	for e := v.First(); e != (scan.Value{}); e = e.Next() {
		switch e.Kind() {
		case '{', '[':
			if !c.inside(e, parent, depth) {
				return false
			}
		case '"':
			if !c.string(e, "", parent, depth) {
				return false
			}
		}
	}
	return true
}

// object is about an object that the member parent holds.
func (c *cleaner) object(v scan.Value, parent string, depth int) bool {
	for m := v.First(); m != (scan.Value{}); m = m.Next() {
		name := m.Name()
		member := c.member(name, depth)
		if member == nil {
			return false
		}
		switch m.Kind() {
		case '{', '[':
			if !c.inside(m, name, depth) {
				return false
			}
		case '"':
			if member.held(m, parent, depth) {
				c.next += member.inside
				continue
			}
			at := c.next
			if member.label && isSecretName(m.Text()) || !c.string(m, parent, name, depth) {
				return false
			}
			if c.holds {
				member.hold(m, parent, depth, c.next-at)
			}
		}
	}
	return true
}

// member returns what is known of a member of this name, or nil if it may not be clean. It
// is good until the next member is read.
func (c *cleaner) member(name string, depth int) *cleanMember {
	if depth >= mostStrings {
		return nil
	}
	if c.next < len(c.order) && c.order[c.next].name == name {
		c.next++
		return &c.order[c.next-1]
	}
	clean, ok := c.names[name]
	if !ok {
		if isSecretName(name) || !c.text([]byte(name), "", depth) {
			return nil
		}
		clean = cleanName{label: isOneOf(labels, name)}
		// A name that is no document is as clean elsewhere.
		if len(name) <= mostName && len(c.names) < mostNames && !strings.ContainsAny(name, `{["`) {
			clean.name = strings.Clone(name)
			c.names[clean.name] = clean
		}
	}
	n := min(c.next, len(c.order))
	if clean.name == "" || n == mostOrder {
		c.other = cleanMember{cleanName: clean}
		return &c.other
	}
	c.order = append(c.order[:n], cleanMember{cleanName: clean})
	c.next = n + 1
	return &c.order[n]
}

// string is about a string. Its member, or the member that holds its array, is clean.
func (c *cleaner) string(v scan.Value, parent, member string, depth int) bool {
	if v.IsPlain() {
		quoted := v.Raw()
		return c.named != nil && c.named(parent, member, v.Text()) || depth < mostStrings && c.text(quoted[1:len(quoted)-1], member, depth)
	}
	if depth >= mostStrings {
		return c.named != nil && c.named(parent, member, v.Text())
	}
	if len(v.Raw()) > mostKept {
		return false // The search takes no more memory than this would.
	}
	return c.escaped(v, member, depth) || c.named != nil && c.named(parent, member, v.Text())
}

// escaped is about a string that may have escapes, and is no name.
func (c *cleaner) escaped(v scan.Value, member string, depth int) bool {
	if c.scanned != nil {
		if doc := c.scanned(v); doc.Kind() == '{' {
			return c.inside(doc, member, depth+1)
		}
	}
	c.texts[depth] = v.AppendText(c.texts[depth][:0])
	return c.text(c.texts[depth], member, depth)
}

// text is about a string that is no name, or about the name of a member.
func (c *cleaner) text(s []byte, member string, depth int) bool {
	if len(s) > 1 {
		switch trimmed := bytes.TrimSpace(s); {
		case len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"'):
			return c.document(s, member, depth+1)
		case len(s) >= leastBase64 && isBase64(s):
			var ok bool
			if c.code, ok = decodeBase64(c.code[:0], s); ok {
				return false
			}
		}
	}
	mask, all := wordsIn(s)
	return mask == 0 && all&(isForeign|isPercent) == 0
}
