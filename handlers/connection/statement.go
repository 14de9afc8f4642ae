package connection

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// statement is what the service says in one of the texts of a record.
type statement struct {
	text   string // the whole text, as it came
	raw    string // what the service says, in lower case
	said   string // raw without what the service only repeats of a client
	isName bool   // it is only the name of an error, as that of most records
}

// messageMembers are the members, in lower case, that hold the sentence if the text
// is the body of an answer in JSON, as hubs write it
// (https://github.com/Azure/azure-iot-sdks/issues/615,
// https://github.com/Azure/azure-iot-sdk-c/issues/1815).
var messageMembers = []string{"message", "exceptionmessage"}

// appendStatements appends what the service says in the texts of r.
func (r *Record) appendStatements(list []statement) []statement {
	for _, text := range r.Texts {
		if name, _ := errorNamed(strings.Trim(text, " .")); name != "" {
			list = append(list, statement{text, name, name, true})
			continue
		}
		for _, raw := range sentences(strings.ToLower(text)) {
			list = append(list, statement{text: text, raw: raw, said: withoutEchoes(raw)})
		}
	}
	return list
}

// sentences returns the messages in a text that is a JSON object, and else the
// text itself.
func sentences(text string) (list []string) {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return []string{text}
	}
	var members map[string]jsontext.Value
	if json.Unmarshal([]byte(text), &members) == nil {
		for _, name := range messageMembers {
			if value := members[name]; value.Kind() == '"' {
				// Valid JSON can always be unquoted.
				unquoted, _ := jsontext.AppendUnquote(nil, value)
				list = append(list, string(unquoted))
			}
		}
	}
	if len(list) == 0 {
		return []string{text}
	}
	return list
}

// closing are the quotation marks that open a quotation, with those that close it.
var closing = map[rune]rune{'\'': '\'', '"': '"', '`': '`', '“': '”', '„': '“', '‘': '’', '«': '»'}

// withoutEchoes returns text without what stands between quotation marks or behind an
// equals sign: there the service repeats what a client chose, its id or the subject
// of its certificate. A quotation that does not end goes to the end of the text,
// since the text may have been cut. A value goes to a comma, a semicolon, an
// ampersand or the end of the line.
func withoutEchoes(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		b.WriteRune(c)
		end := quotation(text, i)
		if end == i {
			end = i + size
		}
		if c == '=' {
			end = valueEnd(text, end)
		}
		i = end
	}
	return b.String()
}

// quotation returns the end of the quotation that begins at start, or start if no
// quotation begins there. An apostrophe is not a quotation mark: it does not open a
// quotation after a letter or before a space, and no mark closes a quotation before a
// letter.
func quotation(text string, start int) (end int) {
	c, size := utf8.DecodeRuneInString(text[start:])
	closer, opens := closing[c]
	if !opens || c == '\'' && (endsWithWord(text[:start]) || strings.HasPrefix(text[start+size:], " ")) {
		return start
	}
	for i := start + size; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if next, _ := utf8.DecodeRuneInString(text[i:]); c == closer && !isWord(next) {
			return i
		}
	}
	return len(text)
}

// valueEnd returns the end of the value that begins at start. A delimiter between
// quotation marks or behind a backslash is a part of the value.
func valueEnd(text string, start int) (end int) {
	for i := start; i < len(text); {
		if end := quotation(text, i); end > i {
			i = end
			continue
		}
		if strings.ContainsRune(",;&\r\n", rune(text[i])) && !strings.HasSuffix(text[:i], `\`) {
			return i
		}
		i++
	}
	return len(text)
}

// endsWithWord reports whether a word ends where s does.
func endsWithWord(s string) bool {
	c, _ := utf8.DecodeLastRuneInString(s)
	return isWord(c)
}

// isWord reports whether c is a part of a word.
func isWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
