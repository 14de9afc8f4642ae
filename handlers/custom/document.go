package custom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a value of a JSON text, and where it stands.
type node struct {
	kind       jsontext.Kind
	start, end int // of its bytes
	members    []member
	elements   []*node
}

// member is a member of an object.
type member struct {
	name   string
	nameAt int // where the name begins
	value  *node
}

// document is the text of a file, and what is wrong with it.
type document struct {
	path     string
	text     []byte
	root     *node
	mistakes []Mistake
	doubts   []Mistake // see Alert.Doubts
}

// parse reads the text of a file into d.root. It returns whether the text is JSON.
func (d *document) parse() bool {
	decoder := jsontext.NewDecoder(bytes.NewReader(d.text), jsontext.AllowDuplicateNames(true))
	root, err := read(decoder)
	if err == nil {
		if _, err = decoder.ReadToken(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			d.wrong(int(decoder.InputOffset())-1, "not JSON: there is more behind the value")
			return false
		}
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		d.wrong(int(syntax.ByteOffset), "not JSON: "+syntax.Err.Error())
	case errors.Is(err, io.EOF):
		d.wrong(len(d.text), "not JSON: the file is empty")
	case err != nil:
		d.wrong(int(decoder.InputOffset()), "not JSON: "+err.Error())
	}
	d.root = root
	return err == nil
}

// read returns the next value.
func read(decoder *jsontext.Decoder) (*node, error) {
	n := &node{kind: decoder.PeekKind()}
	if n.kind != '{' && n.kind != '[' {
		raw, err := decoder.ReadValue()
		n.end = int(decoder.InputOffset())
		n.start = n.end - len(raw)
		return n, err
	}
	if _, err := decoder.ReadToken(); err != nil {
		return n, err
	}
	n.start = int(decoder.InputOffset()) - 1
	for {
		switch kind := decoder.PeekKind(); {
		case kind == '}' || kind == ']':
			_, err := decoder.ReadToken()
			n.end = int(decoder.InputOffset())
			return n, err
		case n.kind == '[':
			element, err := read(decoder)
			if err != nil {
				return n, err
			}
			n.elements = append(n.elements, element)
		default:
			name, err := decoder.ReadValue()
			if err != nil {
				return n, err
			}
			at := int(decoder.InputOffset()) - len(name)
			text, err := jsontext.AppendUnquote(nil, name)
			if err != nil {
				return n, err
			}
			value, err := read(decoder)
			if err != nil {
				return n, err
			}
			n.members = append(n.members, member{string(text), at, value})
		}
	}
}

// wrong notes a mistake at a byte of the file.
func (d *document) wrong(offset int, format string, args ...any) {
	line, column := place(d.text, offset)
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	d.mistakes = append(d.mistakes, Mistake{d.path, line, column, format})
}

// at returns the value at a path of names and indexes, or what is nearest to it if it is
// not there.
func (d *document) at(path ...any) *node {
	n := d.root
	for _, step := range path {
		next := n.step(step)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// has reports whether there is a value at a path.
func (d *document) has(path ...any) bool {
	n := d.root
	for _, step := range path {
		if n = n.step(step); n == nil {
			return false
		}
	}
	return true
}

func (n *node) step(step any) *node {
	switch step := step.(type) {
	case string:
		for _, m := range n.members {
			if m.name == step {
				return m.value
			}
		}
	case int:
		if step < len(n.elements) {
			return n.elements[step]
		}
	}
	return nil
}

// wrongAt notes a mistake at a path of names and indexes, or as near to it as the file
// has a value.
func (d *document) wrongAt(path []any, format string, args ...any) {
	d.wrong(d.at(path...).start, format, args...)
}

// fill puts a value of the file into v, which is of a type of this package. It notes
// members that the type does not have, members that stand twice, and values of a wrong
// kind. name is the path of the value, for mistakes.
func (d *document) fill(n *node, name string, v reflect.Value) {
	wrongKind := func(want string) {
		if name == "" {
			name = "the file"
		}
		d.wrong(n.start, "%s: want %s, have %s", name, want, describe(n.kind))
	}
	switch {
	case v.Type() == reflect.TypeFor[jsontext.Value]():
		v.SetBytes(bytes.Clone(d.text[n.start:n.end]))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.fill(n, name, v.Elem())
	case v.Kind() == reflect.String && n.kind == '"':
		s, _ := jsontext.AppendUnquote(nil, d.text[n.start:n.end])
		v.SetString(string(s))
	case v.Kind() == reflect.String:
		wrongKind("a text")
	case v.Kind() == reflect.Bool && (n.kind == 't' || n.kind == 'f'):
		v.SetBool(n.kind == 't')
	case v.Kind() == reflect.Bool:
		wrongKind("true or false")
	case v.Kind() == reflect.Int:
		f, err := strconv.ParseFloat(string(d.text[n.start:n.end]), 64)
		if n.kind != '0' || err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
			wrongKind("a whole number")
			return
		}
		v.SetInt(int64(f)) // JSON Schema has 10.0 as a whole number, too.
	case v.Type() == reflect.TypeFor[Comment]() && n.kind == '"': // a line alone
		s, _ := jsontext.AppendUnquote(nil, d.text[n.start:n.end])
		v.Set(reflect.ValueOf(Comment{string(s)}))
	case v.Kind() == reflect.Slice && n.kind == '[':
		v.Set(reflect.MakeSlice(v.Type(), len(n.elements), len(n.elements)))
		for i, element := range n.elements {
			d.fill(element, fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
	case v.Kind() == reflect.Slice:
		wrongKind("a list")
	case n.kind != '{':
		wrongKind("an object")
	default:
		d.fillMembers(n, name, v)
	}
}

// fillMembers puts the members of an object into a struct, or a map of strings.
func (d *document) fillMembers(n *node, name string, v reflect.Value) {
	seen := map[string]bool{}
	for _, m := range n.members {
		path := strings.TrimPrefix(name+"."+m.name, ".")
		if seen[m.name] {
			d.wrong(m.nameAt, "%s: stands twice", path)
			continue
		}
		seen[m.name] = true
		if v.Kind() == reflect.Map {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			d.fill(m.value, path, value)
			v.SetMapIndex(reflect.ValueOf(m.name), value)
			continue
		}
		fields := names(v.Type())
		field, ok := fields[m.name]
		if !ok {
			d.wrong(m.nameAt, "%s: there is no such member%s", path, meant(m.name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.fill(m.value, path, v.Field(field))
	}
}

// names returns the fields of a struct by the names of their members.
func names(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

func describe(kind jsontext.Kind) string {
	switch kind {
	case '"':
		return "a text"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "null"
}

// within returns the byte of the file at which a character of a text stands. The text is
// the string at n; the character is counted from 0 on.
func (d *document) within(n *node, character int) int {
	raw := d.text[n.start:n.end]
	at := 1 // behind the quotation mark
	for range character {
		if at >= len(raw)-1 {
			break
		}
		switch {
		case raw[at] != '\\':
			_, size := utf8.DecodeRune(raw[at:])
			at += size
		case raw[at+1] != 'u':
			at += 2
		default:
			unit, _ := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
			if at += 6; utf16.IsSurrogate(rune(unit)) {
				at += 6
			}
		}
	}
	return n.start + at
}
