package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// An attacker may have written any text in a table. Every such text passes one of
// these functions before it reaches the terminal. Otherwise the text could
// control what the terminal shows.

// printable makes a foreign string one line that is safe for a terminal. A line
// break at the end is left out. Every other character that a terminal would not show
// as it is becomes an escape.
func printable(s string) string { return secret.Visible(strings.TrimRight(s, "\r\n")) }

// cut shortens a string to at most most characters. A shortened string ends in an
// ellipsis.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:max(most-1, 0)]) + "…"
}

// width returns how many characters a line of the terminal has, or 0 if w is not a
// terminal.
func width(w io.Writer) int {
	if s, ok := w.(*screen); ok {
		w = s.Writer
	}
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd())) // #nosec G115 -- the number of an open file
	if err != nil {
		return 0
	}
	return columns
}

// isTerminal reports whether a stream of the process is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) // #nosec G115 -- the number of an open file
}

// Colours of a terminal, as SGR parameters
// (https://ecma-international.org/publications-and-standards/standards/ecma-48/, 8.3.117).
// They only repeat what the words say.
const (
	red    = "31"
	yellow = "33"
	cyan   = "36"
	faint  = "2"
)

// painted returns a text in a colour, "" for none.
func painted(text, color string) string {
	if color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// severityColor returns the colour of a severity. A severity that is not urgent has
// none.
func severityColor(severity string) string {
	switch alert.Severity(severity) {
	case alert.High:
		return red
	case alert.Medium:
		return yellow
	}
	return ""
}

// statusColor returns the colour of a status. What waits for somebody has none.
func statusColor(status string) string {
	switch {
	case alert.Status(status) == alert.InProgress:
		return cyan
	case alert.Status(status).Closed():
		return faint
	}
	return ""
}

// wrap breaks a text at its spaces into lines of at most width characters. All
// lines after the first begin with indent. A width of 0 sets no bound. A word
// that is too long stays whole.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			used = utf8.RuneCountInString(indent) // of what stands before the text
		case width > 0 && used+1+n > width:
			b.WriteString("\n" + indent)
			used = utf8.RuneCountInString(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}

// minutes is the layout of a time in a table for people.
const minutes = "2006-01-02 15:04"

// second writes a time to the second.
func second(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// plural returns a number and a noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}
