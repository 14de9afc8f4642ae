package custom

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
)

// decode reads a JSON value as expressions see it: an object is a map[string]any, a list a
// []any, and a number an int64 if it is written as a whole number that an int64 can hold,
// else a float64. JSON itself has one kind of numbers. As floats all of them, whole numbers
// beyond 2⁵³ would be mixed up, and string(record.properties.n) would be 1.234567e+06.
func decode(raw []byte) (v any, err error) {
	err = json.Unmarshal(raw, &v, event.Lenient, numbers)
	return v, err
}

var numbers = json.WithUnmarshalers(json.UnmarshalFromFunc(func(decoder *jsontext.Decoder, v *any) error {
	if decoder.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	raw, err := decoder.ReadValue()
	if err != nil {
		return err
	}
	text := string(raw)
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			*v = n
			return nil
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("the number %s is too large", event.Shorten(text))
	}
	*v = n
	return nil
}))
