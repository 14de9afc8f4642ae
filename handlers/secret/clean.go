package secret

import (
	"strings"
	"sync"

	"hubwatch/handlers/scan"
)

// cleaner proves of documents that there is no credential in them.
type cleaner struct {
	named Named
	docs  [mostStrings + 1]scan.Doc // of the document, and of documents inside strings
	names map[string]bool           // plain names of members that turned out to be clean
}

var cleaners = sync.Pool{New: func() any { return &cleaner{names: map[string]bool{}} }}

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
	c.named = named
	return c.document(raw, "", 0)
}

// document is about a document inside of depth strings. parent is as in document.
func (c *cleaner) document(raw []byte, parent string, depth int) bool {
	doc := &c.docs[depth]
	if !doc.Scan(raw, "", mostValues) {
		return false
	}
	switch root := doc.Root(); root.Kind() {
	case '{', '[':
		return c.inside(root, parent, depth)
	case '"':
		return c.string(root.Text(), parent, "", depth)
	default:
		return true
	}
}

// inside is about an object or an array that the member parent holds.
func (c *cleaner) inside(v scan.Value, parent string, depth int) bool {
	object := v.Kind() == '{'
	for m := v.First(); m.Raw() != nil; m = m.Next() {
		holder, member, of := parent, m.Name(), m.Name()
		if !object {
			holder, member, of = "", parent, parent
		} else if !c.name(member, depth) {
			return false
		}
		switch m.Kind() {
		case '{', '[':
			if !c.inside(m, of, depth) {
				return false
			}
		case '"':
			s := m.Text()
			if object && isOneOf(labels, member) && isSecretName(s) || !c.string(s, holder, member, depth) {
				return false
			}
		}
	}
	return true
}

// name is about the name of a member.
func (c *cleaner) name(name string, depth int) bool {
	if depth < mostStrings && c.names[name] {
		return true
	}
	if isSecretName(name) || !c.text(name, "", depth) {
		return false
	}
	// A name that is no document is as clean elsewhere.
	if len(name) <= mostName && len(c.names) < mostNames && !strings.ContainsAny(name, `{["`) {
		c.names[strings.Clone(name)] = true
	}
	return true
}

// string is about a string. Its member, or the member that holds its array, is clean.
func (c *cleaner) string(s, parent, member string, depth int) bool {
	return c.named != nil && c.named(parent, member, s) || c.text(s, member, depth)
}

// text is about a string that is no name, or about the name of a member.
func (c *cleaner) text(s, member string, depth int) bool {
	if depth >= mostStrings {
		return false
	}
	if len(s) > 1 {
		switch trimmed := strings.TrimSpace(s); {
		case len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"'):
			return c.document([]byte(s), member, depth+1)
		case len(s) >= leastBase64 && isBase64(s):
			if _, ok := decodeBase64([]byte(s)); ok {
				return false
			}
		}
	}
	mask, ascii := wordsIn(s)
	return mask == 0 && ascii && strings.IndexByte(s, '%') < 0
}
