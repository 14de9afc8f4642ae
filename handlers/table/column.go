package table

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
)

// maxText is the most UTF-16 units of a text column. Table Storage takes 32,768
// (64 KiB, https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
const maxText = 32000

// cutMark stands at the end of what was cut.
const cutMark = "…"

// column makes a foreign string fit to stand in a column: visible, valid UTF-8, and of
// at most maxText UTF-16 units. The string has no secret any more, since a secret that
// is cut cannot be recognized.
func column(s string) string { return shorten(secret.Visible(s), maxText) }

// shorten cuts a string that has more than most UTF-16 units. A string that was cut
// ends in cutMark.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	units, end := 0, 0
	for i, r := range s {
		if units < most {
			end = i
		}
		if units++; r > 0xffff {
			units++
		}
		if units > most {
			return s[:end] + cutMark
		}
	}
	return s
}

// jsonColumn makes a JSON document fit to stand in a column. The column is JSON, too:
// if the document is too long, its longest strings are cut first. A document that has
// too many members for that becomes a JSON string with its beginning. What is not JSON
// becomes a text.
func jsonColumn(document []byte) string {
	s := secret.VisibleJSON(string(document))
	if !jsontext.Value(s).IsValid(lenient) {
		return column(s)
	}
	fits := func(s string) bool { return shorten(s, maxText) == s }
	if fits(s) {
		return s
	}
	const least = 16 // UTF-16 units that a string keeps
	if shortest := string(cutStrings(jsontext.Value(s), least)); !fits(shortest) {
		for most := maxText; ; most /= 2 {
			if quoted, _ := jsontext.AppendQuote(nil, shorten(shortest, most)); len(quoted) <= maxText {
				return string(quoted)
			}
		}
	}
	for most := maxText / 2; !fits(s); most = max(most/2, least) {
		s = string(cutStrings(jsontext.Value(s), most))
	}
	return s
}

// redactedBody returns the body of an event as the quarantine keeps it: without
// credentials, and with its names. Hidden characters in a JSON document are escaped.
func redactedBody(body []byte) []byte {
	redacted := secret.Document(body, event.Named)
	if jsontext.Value(redacted).IsValid(lenient) {
		return []byte(secret.VisibleJSON(string(redacted)))
	}
	return redacted
}

// lenient reads documents with members that stand twice.
var lenient = jsontext.AllowDuplicateNames(true)

// cutStrings returns a document whose strings have most UTF-16 units at most. A
// document in a string is cut in the same way, so that it stays one.
func cutStrings(document jsontext.Value, most int) []byte {
	var out bytes.Buffer
	d, e := jsontext.NewDecoder(bytes.NewBuffer(document), lenient), jsontext.NewEncoder(&out, lenient)
	for {
		token, err := d.ReadToken()
		if err != nil { // the end, since the document is JSON
			return bytes.TrimSpace(out.Bytes())
		}
		if token.Kind() == '"' {
			s := token.String()
			if kind := jsontext.Value(s).Kind(); len(s) > most && (kind == '{' || kind == '[') && jsontext.Value(s).IsValid(lenient) {
				s = string(cutStrings(jsontext.Value(s), most))
			} else {
				s = shorten(s, most)
			}
			token = jsontext.String(s)
		}
		if err := e.WriteToken(token); err != nil {
			return document // cannot be: the tokens are those of a document
		}
	}
}

// properties returns the particulars of an occurrence as a JSON object.
func properties(p map[string]string) string {
	clean := make(map[string]string, len(p))
	for name, value := range p {
		clean[strings.ToValidUTF8(name, string(utf8.RuneError))] = strings.ToValidUTF8(value, string(utf8.RuneError))
	}
	b, err := json.Marshal(clean, json.Deterministic(true))
	if err != nil {
		return column(fmt.Sprintf("%q", p)) // cannot be: the strings are valid
	}
	return jsonColumn(b)
}

// mostAddresses is how many distinct addresses the row of an alert names.
const mostAddresses = 20

// addresses are the columns with the distinct addresses of an alert's occurrences. They
// hold the first mostAddresses in the order of the alphabet, so that they depend on the
// occurrences and not on their order.
type addresses struct {
	ActorIpAddresses     string // a JSON array of strings, sorted
	ActorIpAddressCount  int32  // how many the array has
	MoreActorIpAddresses bool   // whether there are further addresses
}

// newAddresses returns the columns of an occurrence with an address, which may be "".
func newAddresses(address string) addresses {
	if address == "" {
		return addresses{ActorIpAddresses: "[]"}
	}
	const most = 64 // UTF-16 units, more than any address has
	return addresses{}.of([]string{shorten(secret.Visible(address), most)})
}

// list returns the addresses that are named.
func (a addresses) list() (list []string) {
	if json.Unmarshal([]byte(a.ActorIpAddresses), &list) != nil {
		return nil // a person has written something else
	}
	return list
}

// add returns the columns of the occurrences of a and of more.
func (a addresses) add(more addresses) addresses {
	a.MoreActorIpAddresses = a.MoreActorIpAddresses || more.MoreActorIpAddresses
	return a.of(append(a.list(), more.list()...))
}

// of returns a with other addresses.
func (a addresses) of(list []string) addresses {
	slices.Sort(list)
	if list = slices.Compact(list); len(list) > mostAddresses {
		list, a.MoreActorIpAddresses = list[:mostAddresses], true
	}
	b, _ := json.Marshal(list)                                              // strings that are valid UTF-8
	a.ActorIpAddresses, a.ActorIpAddressCount = string(b), int32(len(list)) // #nosec G115 -- at most mostAddresses
	return a
}
