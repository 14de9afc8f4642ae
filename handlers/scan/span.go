package scan

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Span is a value that json.Unmarshal checks, and leaves as it stands. To read such a value into
// a jsontext.Value, the JSON package calls itself for each object and array inside the others, and
// thousands of them make the stack grow to a megabyte
// (github.com/go-json-experiment/json/jsontext, decoderState.consumeValue). A Span takes no memory
// for them. The zero value is of a member that is not there.
type Span struct{ from, to int64 } // the first byte may be before the value

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (s *Span) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	s.from = d.InputOffset()
	err := d.SkipValue()
	s.to = d.InputOffset()
	return err
}

// In returns the value as it stands in text, which is what json.Unmarshal has read, or nil if it is
// not there. It is a part of the text, not a copy.
func (s Span) In(text []byte) jsontext.Value {
	if s.to == 0 {
		return nil
	}
	// The end of what stands before the value is left out: white space, and a colon or a comma.
	value := bytes.TrimLeft(text[s.from:s.to], " \t\r\n:,")
	return jsontext.Value(value[:len(value):len(value)])
}

// Spans are the members of an object, by their names.
type Spans map[string]Span

// In returns each value as Span.In does, or nil if there is no object.
func (s Spans) In(text []byte) map[string]jsontext.Value {
	if s == nil {
		return nil
	}
	values := make(map[string]jsontext.Value, len(s))
	for name, span := range s {
		values[name] = span.In(text)
	}
	return values
}
