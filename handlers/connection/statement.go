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
	text string // the whole text, as it came
	raw  string // what the service says, in lower case
	said string // raw without what the service only repeats of a client
}

// messageMembers are the members, in lower case, that hold the sentence if the text
// is the body of an answer in JSON, as hubs write it
// (https://github.com/Azure/azure-iot-sdks/issues/615,
// https://github.com/Azure/azure-iot-sdk-c/issues/1815).
var messageMembers = []string{"message", "exceptionmessage"}

// statements returns what the service says in the texts of r.
func (r Record) statements() (list []statement) {
	for _, text := range r.Texts {
		for _, raw := range sentences(strings.ToLower(text)) {
			list = append(list, statement{text: text, raw: raw, said: withoutEchoes(raw)})
		}
	}
	return list
}

// sentences returns the messages in a text that is a JSON object, and else the
// text itself.
func sentences(text string) (list []string) {
	var members map[string]jsontext.Value
	if strings.HasPrefix(strings.TrimSpace(text), "{") && json.Unmarshal([]byte(text), &members) == nil {
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

// withoutEchoes returns text without what stands between quotation marks or behind
// name=: there the service repeats what a client chose, its id or the subject of
// its certificate. A quotation that does not end goes to the end of the text, since
// the text may have been cut. A value goes to a comma, a semicolon, an ampersand or
// the end of the line.
func withoutEchoes(text string) string {
	text = strings.NewReplacer(`\"`, `"`, `\'`, `'`).Replace(text)
	var b strings.Builder
	for i, previous := 0, ' '; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		if end := quotation(text, i, previous); end > i {
			b.WriteByte('*')
			i, previous = end, '*'
			continue
		}
		b.WriteRune(c)
		i += size
		if c == '=' && isWord(lastRune(strings.TrimRight(b.String()[:b.Len()-1], " "))) {
			i = valueEnd(text, i)
			b.WriteByte('*')
			c = '*'
		}
		previous = c
	}
	return b.String()
}

// quotation returns the end of the quotation that begins at start, behind previous,
// or start if none begins there. An apostrophe inside a word is not a quotation mark.
func quotation(text string, start int, previous rune) (end int) {
	c, size := utf8.DecodeRuneInString(text[start:])
	closer, opens := closing[c]
	next, _ := utf8.DecodeRuneInString(text[start+size:])
	if !opens || c == '\'' && (isWord(previous) || next == ' ') {
		return start
	}
	for i := start + size; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if next, _ := utf8.DecodeRuneInString(text[i:]); c == closer && !(strings.ContainsRune("'’", c) && isWord(next)) {
			return i
		}
	}
	return len(text)
}

// valueEnd returns the end of the value that begins at start. A delimiter between
// quotation marks or behind a backslash is a part of the value.
func valueEnd(text string, start int) (end int) {
	for i, previous := start, ' '; i < len(text); {
		if end := quotation(text, i, previous); end > i {
			i, previous = end, '*'
			continue
		}
		c, size := utf8.DecodeRuneInString(text[i:])
		if strings.ContainsRune(",;&\r\n", c) && previous != '\\' {
			return i
		}
		i, previous = i+size, c
	}
	return len(text)
}

func lastRune(s string) rune {
	c, _ := utf8.DecodeLastRuneInString(s)
	return c
}

// isWord reports whether c is a part of a word.
func isWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' }
