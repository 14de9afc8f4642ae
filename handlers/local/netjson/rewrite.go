package netjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Rewrite returns an event as it leaves an Event Grid output binding. The host
// reads a handler's answer with Json.NET, which reads text that looks like a time
// as a time. The extension writes the event with System.Text.Json, which escapes
// more characters than necessary. So the bytes of an event change, and there are
// more of them. (Azure/azure-functions-host, HttpScriptInvocationResult;
// Azure/azure-sdk-for-net, CloudEventConverter and CloudEventRequestContent.)
// Members keep their order here, and no traceparent is added.
func Rewrite(event []byte, cloud bool) ([]byte, error) {
	event, err := Render(event)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	in, to := NewDecoder(event), jsontext.NewEncoder(&out, jsontext.PreserveRawStrings(true))
	var name string // of the member that the next token is the value of
	for {
		token, err := in.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSpace(out.Bytes()), nil
		}
		if err != nil {
			return nil, err
		}
		if token.Kind() != '"' {
			if err := to.WriteToken(token); err != nil {
				return nil, err
			}
			continue
		}
		text, write := token.String(), appendEscaped
		if kind, read := in.StackIndex(in.StackDepth()); kind == '{' && read%2 == 1 {
			name = text
		} else if cloud && in.StackDepth() == 1 && name == "time" {
			write = AppendText
			if text, err = cloudTime(text); err != nil {
				return nil, err
			}
		} else {
			text = netTime(text)
		}
		if err := to.WriteValue(write(nil, text)); err != nil {
			return nil, err
		}
	}
}

var netTimeShape = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,7})?(Z|[+-]\d\d:\d\d)?$`)

// netTime returns a time as Json.NET writes it: without zeros at the end of its
// fraction, and, if it has an offset, in the host's zone, which is UTC. netTime
// returns text that Json.NET does not read as a time unchanged.
func netTime(text string) string {
	zone := netTimeShape.FindStringSubmatch(text)
	if zone == nil {
		return text
	}
	layout := time.RFC3339
	if zone[1] == "" {
		layout = DateTime
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return text
	}
	written := t.UTC().Format(DateTime)
	switch zone[1] {
	case "", "Z":
		return written + zone[1]
	default:
		return written + "+00:00"
	}
}

// cloudTime returns the time of a CloudEvent, which is a DateTimeOffset and
// therefore written with an offset. It is an error if text is not a time.
func cloudTime(text string) (string, error) {
	t, err := time.Parse(time.RFC3339, netTime(text))
	if err != nil {
		if t, err = time.Parse(DateTime, text); err != nil {
			return "", fmt.Errorf("attribute time: %q is not a time", text)
		}
	}
	return t.UTC().Format(DateTime) + "+00:00", nil
}

// appendEscaped writes a JSON string with the default escapes of
// System.Text.Json, which escapes everything but ASCII, and characters with a
// meaning in HTML
// (learn.microsoft.com/dotnet/standard/serialization/system-text-json/character-encoding).
func appendEscaped(dst []byte, s string) []byte {
	const short = "\b\t\n\f\r\\"
	dst = append(dst, '"')
	for _, r := range s {
		i := strings.IndexRune(short, r)
		switch {
		case i >= 0:
			dst = append(dst, '\\', "btnfr\\"[i])
		case r < ' ' || r >= 0x7f && r <= 0xffff || strings.ContainsRune("\"&'+<>`", r):
			dst = fmt.Appendf(dst, `\u%04X`, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04X\u%04X`, high, low)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
