package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// jsonOptions are those of every document. The members of maps are sorted. A byte that
// is not UTF-8 becomes U+FFFD, so that no text can keep an alert from being written.
var jsonOptions = json.JoinOptions(json.Deterministic(true), jsontext.AllowInvalidUTF8(true))

// WriteJSON writes a document, or a list of documents as an array, indented. Hidden
// characters are escaped, so the text is fit for a terminal.
func WriteJSON(w io.Writer, value any) error {
	text, err := json.Marshal(value, jsonOptions, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("json: %w", err)
	}
	_, err = fmt.Fprintln(w, secret.VisibleJSON(string(text)))
	return err
}

// WriteLines writes each document on a line of its own (https://jsonlines.org), with
// hidden characters escaped.
func WriteLines[T any](w io.Writer, documents []T) error {
	var b bytes.Buffer
	for _, d := range documents {
		text, err := json.Marshal(d, jsonOptions)
		if err != nil {
			return fmt.Errorf("json: %w", err)
		}
		b.WriteString(secret.VisibleJSON(string(text)) + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteCSV writes alerts as CSV (RFC 4180) with a header. The columns have the names
// and the order of the members of Alert. A list of texts has a line for each text, and
// any other list or map is JSON. A spreadsheet reads a cell that begins with one of
// some characters as a formula, so such a cell gets a quote before it. If raw is true, it
// gets none: that is for programs that are not spreadsheets. Hidden characters are
// escaped in any case.
func WriteCSV(w io.Writer, alerts []alert.Alert, raw bool) error {
	c := csv.NewWriter(w)
	if err := c.Write(names(reflect.TypeFor[Alert]())); err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	for _, a := range alerts {
		row := reflect.ValueOf(NewAlert(a))
		cells := make([]string, row.NumField())
		for i := range cells {
			text, err := cellText(row.Field(i).Interface())
			if err != nil {
				return fmt.Errorf("csv: %w", err)
			}
			if cells[i] = visibleLines(text); !raw {
				cells[i] = guard(text) + cells[i]
			}
		}
		if err := c.Write(cells); err != nil {
			return fmt.Errorf("csv: %w", err)
		}
	}
	c.Flush()
	return c.Error()
}

// names returns the JSON names of the fields of a struct, in their order.
func names(t reflect.Type) []string {
	list := make([]string, t.NumField())
	for i := range list {
		list[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return list
}

// cellText returns the text of a member of Alert in one cell.
func cellText(value any) (string, error) {
	switch value := value.(type) {
	case time.Time:
		if value.IsZero() {
			return "", nil
		}
		return value.Format(time.RFC3339Nano), nil
	case []string:
		return strings.Join(value, "\n"), nil
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Slice, reflect.Map:
		return document(value)
	default:
		return fmt.Sprint(value), nil
	}
}

// document returns a value as JSON, for a text inside another document.
func document(value any) (string, error) {
	text, err := json.Marshal(value, jsonOptions)
	return string(text), err
}

// visibleLines escapes the hidden characters of a text, and leaves its line ends.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = secret.Visible(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// guard returns what has to stand before a text so that no spreadsheet takes it for
// a formula: a quote, or nothing (https://owasp.org/www-community/attacks/CSV_Injection).
func guard(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", []rune(text)[0]) {
		return "'"
	}
	return ""
}

// Each returns what document makes of each element of a list, and never nil.
func Each[T, D any](list []T, document func(T) D) []D {
	documents := make([]D, len(list))
	for i, element := range list {
		documents[i] = document(element)
	}
	return documents
}
