package event

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// MostValues is how many values a text may have that is scanned; a text with more is
// read by the JSON package, which takes more time and says the same. An event has a
// hundred, and a value takes 20 bytes of memory.
const MostValues = 4_096

// payload is an object of an event, and where its members stand.
type payload struct {
	scanned scan.Value
	members map[string]jsontext.Value // of an object that scan does not understand
}

// readPayload reads an object. Its error says why raw is not one.
func readPayload(raw jsontext.Value) (payload, error) {
	var d scan.Doc
	if d.Scan(raw, "", MostValues) && d.Root().Kind() == '{' {
		return payload{scanned: d.Root()}, nil
	}
	var m scan.Spans
	if err := json.Unmarshal(raw, &m, Lenient); err != nil {
		return payload{}, err
	}
	if m == nil {
		return payload{}, errors.New("want an object, have null")
	}
	return payload{members: m.In(raw)}, nil
}

// kind returns the kind of a member, or jsontext.KindInvalid if it is not there.
func (o payload) kind(name string) jsontext.Kind {
	if o.members != nil {
		return o.members[name].Kind()
	}
	return o.scanned.Get(name).Kind()
}

// text returns the string that a member holds, or "" if it holds none.
func (o payload) text(name string) string {
	if o.members != nil {
		return text(o.members[name])
	}
	return o.scanned.Get(name).Text()
}

// object returns the object that a member holds. It can be a string with the text of
// an object.
func (o payload) object(name string) (payload, Presence) {
	var inner payload
	var err error
	switch o.kind(name) {
	case jsontext.KindInvalid, 'n':
		return payload{}, Absent
	case '"':
		inner, err = readPayload(jsontext.Value(o.text(name)))
	case '{':
		if o.members == nil {
			return payload{scanned: o.scanned.Get(name)}, Present
		}
		inner, err = readPayload(o.members[name])
	default:
		return payload{}, Unclear
	}
	if err != nil {
		return payload{}, Unclear
	}
	return inner, Present
}

// first returns the first of the members called names that is a string with more than
// blanks.
func (o payload) first(names []string) string {
	if o.members != nil {
		for _, name := range names {
			if s := strings.TrimSpace(o.text(name)); s != "" {
				return s
			}
		}
		return ""
	}
	best, found := len(names), ""
	for m := o.scanned.First(); m != (scan.Value{}); m = m.Next() {
		if i := slices.Index(names[:best], m.Name()); i >= 0 {
			if s := strings.TrimSpace(m.Text()); s != "" {
				best, found = i, s
			}
		}
	}
	return found
}

// text returns the string that raw holds, or "" if it holds none.
func text(raw jsontext.Value) string {
	var s string
	if raw.Kind() != '"' || json.Unmarshal(raw, &s, Lenient) != nil {
		return ""
	}
	return s
}
