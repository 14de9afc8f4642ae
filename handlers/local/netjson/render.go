// Package netjson reads and writes JSON as .NET services do. It reads as
// leniently as Json.NET, and writes with the escapes of Json.NET or of
// System.Text.Json.
package netjson

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Member is one name of a JSON object with the JSON text of its value.
type Member struct {
	Name  string
	Value []byte
}

// The forms in which Json.NET writes a time: up to seven fractional digits.
const (
	UTCTime  = "2006-01-02T15:04:05.9999999Z"
	DateTime = "2006-01-02T15:04:05.9999999" // of no zone
)

// NewDecoder returns a decoder that reads JSON as leniently as Json.NET: repeated
// names and invalid UTF-8 are not errors.
func NewDecoder(raw []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// SplitObject returns the members of a JSON object in their order, with the
// values as they were written. If a name is repeated, the last value counts, in
// the place of the first. It is an error if raw is not one object.
func SplitObject(raw []byte) ([]Member, error) {
	var members []Member
	index := map[string]int{}
	err := split(raw, '{', func(dec *jsontext.Decoder) error {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if i, ok := index[key]; ok {
			members[i].Value = bytes.Clone(value)
			return nil
		}
		index[key] = len(members)
		members = append(members, Member{key, bytes.Clone(value)})
		return nil
	})
	return members, err
}

// SplitArray returns the elements of a JSON array as they were written. It is
// an error if raw is not one array.
func SplitArray(raw []byte) ([][]byte, error) {
	var elements [][]byte
	err := split(raw, '[', func(dec *jsontext.Decoder) error {
		value, err := dec.ReadValue()
		elements = append(elements, bytes.Clone(value))
		return err
	})
	return elements, err
}

// split calls each for every member or element of the one object or array in raw.
func split(raw []byte, open jsontext.Kind, each func(*jsontext.Decoder) error) error {
	dec := NewDecoder(raw)
	first, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if first.Kind() != open {
		return fmt.Errorf("json value is %v, not %v", first.Kind(), open)
	}
	for kind := dec.PeekKind(); kind != '}' && kind != ']'; kind = dec.PeekKind() {
		if err := each(dec); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return fmt.Errorf("json value is followed by something else")
	}
	return nil
}

// Render rewrites one JSON value as the Functions host does, which parses the
// delivery with Json.NET and writes it again: no white space, order of names
// kept, numbers in .NET's notation, text unescaped except for quotes, control
// characters, U+0085, U+2028 and U+2029.
func Render(raw []byte) ([]byte, error) {
	return renderNext(make([]byte, 0, len(raw)), NewDecoder(raw))
}

func renderNext(dst []byte, dec *jsontext.Decoder) ([]byte, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return dst, err
	}
	switch token.Kind() {
	case '"':
		return AppendText(dst, token.String()), nil
	case '0':
		return appendNumber(dst, token.String()), nil
	case '[':
		return renderArray(dst, dec)
	case '{':
		return renderObject(dst, dec)
	default:
		return append(dst, token.String()...), nil
	}
}

func renderArray(dst []byte, dec *jsontext.Decoder) ([]byte, error) {
	dst = append(dst, '[')
	for n := 0; dec.PeekKind() != ']'; n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = renderNext(dst, dec); err != nil {
			return dst, err
		}
	}
	_, err := dec.ReadToken()
	return append(dst, ']'), err
}

func renderObject(dst []byte, dec *jsontext.Decoder) ([]byte, error) {
	var members []Member
	index := map[string]int{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return dst, err
		}
		key := name.String()
		value, err := renderNext(nil, dec)
		if err != nil {
			return dst, err
		}
		if i, ok := index[key]; ok {
			members[i].Value = value
			continue
		}
		index[key] = len(members)
		members = append(members, Member{key, value})
	}
	_, err := dec.ReadToken()
	return AppendObject(dst, members), err
}

// AppendObject writes an object whose values are already rendered.
func AppendObject(dst []byte, members []Member) []byte {
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendText(dst, m.Name)
		dst = append(dst, ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}')
}

// AppendArray writes an array whose elements are already rendered.
func AppendArray(dst []byte, elements [][]byte) []byte {
	dst = append(dst, '[')
	dst = append(dst, bytes.Join(elements, []byte(","))...)
	return append(dst, ']')
}

// Stringified returns a JSON string that holds the text of a JSON value.
func Stringified(json []byte) []byte { return AppendText(nil, string(json)) }

// AppendText writes a JSON string with Json.NET's default escapes
// (JamesNK/Newtonsoft.Json, JavaScriptUtils).
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r < ' ' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendNumber writes a number as Json.NET does after reading it: integers of
// any size keep their digits; everything with a point or an exponent becomes a
// double, and one that overflows becomes the string "Infinity".
func appendNumber(dst []byte, raw string) []byte {
	if !strings.ContainsAny(raw, ".eE") {
		if raw == "-0" {
			raw = "0"
		}
		return append(dst, raw...)
	}
	f, _ := strconv.ParseFloat(raw, 64)
	if math.IsInf(f, 0) {
		if f < 0 {
			return append(dst, `"-Infinity"`...)
		}
		return append(dst, `"Infinity"`...)
	}
	return appendDouble(dst, f)
}

// appendDouble writes a double in .NET's round-trip format "R": the shortest
// digits that read back the same, scientific when the decimal point would stand
// right of all digits and of the 15th, or more than three zeros left of them;
// Json.NET then adds ".0" where neither point nor exponent is left.
func appendDouble(dst []byte, f float64) []byte {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	exp, _ := strconv.Atoi(exponent)
	digits := len(strings.Trim(mantissa, "-")) - strings.Count(mantissa, ".")
	if point := exp + 1; f != 0 && (point > max(digits, 15) || point < -3) {
		return fmt.Appendf(dst, "%sE%+03d", mantissa, exp)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if !bytes.ContainsRune(dst[start:], '.') {
		dst = append(dst, ".0"...)
	}
	return dst
}
