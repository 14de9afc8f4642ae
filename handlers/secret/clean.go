package secret

import (
	"bytes"
	"strings"
	"sync"

	"hubwatch/handlers/scan"
)

// cleaner proves of documents that there is no credential in them.
type cleaner struct {
	named   Named
	scanned Inside                    // nil if it knows no document
	docs    [mostStrings + 1]scan.Doc // of the document, and of documents inside strings
	texts   [mostStrings + 1][]byte   // of those documents: what the strings are without their escapes
	code    []byte                    // what was in base64
	names   map[string]cleanName      // plain names of members that turned out to be clean
	// Most documents have the names of the one before, in the same order. next is where the
	// name of the next member stands in order, if it does.
	order []cleanName
	next  int
}

// cleanName is the name of a member, which is clean.
type cleanName struct {
	name  string
	label bool // whether it is one of labels
}

var cleaners = sync.Pool{New: func() any { return &cleaner{names: map[string]cleanName{}} }}

const (
	// mostValues is how many values a document has at most that is looked at in this way.
	mostValues = 10_000
	// mostNames is how many names a cleaner knows, each of at most mostName bytes.
	mostNames, mostName = 256, 64
)

// isClean reports whether it is certain that Document finds nothing in raw. Most
// documents are like that, and certainty costs less than a search.
func isClean(raw []byte, named Named) bool {
	c := cleaners.Get().(*cleaner)
	defer cleaners.Put(c)
	c.named, c.scanned, c.next = named, nil, 0
	return c.document(raw, "", 0)
}

// isCleanScanned is isClean of a document that was scanned already.
func isCleanScanned(v scan.Value, inside Inside, named Named) bool {
	c := cleaners.Get().(*cleaner)
	defer cleaners.Put(c)
	c.named, c.scanned, c.next = named, inside, 0
	return c.value(v, "", 0)
}

// document is about a document inside of depth strings. parent is as in document.
func (c *cleaner) document(raw []byte, parent string, depth int) bool {
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
	object := v.Kind() == '{'
	for m := v.First(); m != (scan.Value{}); m = m.Next() {
		holder, member, of := parent, m.Name(), m.Name()
		label := false
		if !object {
			holder, member, of = "", parent, parent
		} else if clean, ok := c.name(member, depth); ok {
			label = clean.label
		} else {
			return false
		}
		switch m.Kind() {
		case '{', '[':
			if !c.inside(m, of, depth) {
				return false
			}
		case '"':
			if label && isSecretName(m.Text()) || !c.string(m, holder, member, depth) {
				return false
			}
		}
	}
	return true
}

// name is about the name of a member. It reports whether the name is clean.
func (c *cleaner) name(name string, depth int) (cleanName, bool) {
	if depth >= mostStrings {
		return cleanName{}, false
	}
	if c.next < len(c.order) && c.order[c.next].name == name {
		c.next++
		return c.order[c.next-1], true
	}
	clean, ok := c.names[name]
	if !ok {
		if isSecretName(name) || !c.text([]byte(name), "", depth) {
			return cleanName{}, false
		}
		clean = cleanName{label: isOneOf(labels, name)}
		// A name that is no document is as clean elsewhere.
		if len(name) > mostName || len(c.names) == mostNames || strings.ContainsAny(name, `{["`) {
			return clean, true
		}
		clean.name = strings.Clone(name)
		c.names[clean.name] = clean
	}
	c.order = append(c.order[:min(c.next, mostNames)], clean)
	c.next = len(c.order)
	return clean, true
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
	mask, ascii := wordsIn(s)
	return mask == 0 && ascii && bytes.IndexByte(s, '%') < 0
}
