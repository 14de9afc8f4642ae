package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// width is the default width of a terminal, in columns.
const width = 80

// show prints a list of alerts, and the last alert in full.
func show(w io.Writer, alerts []alert.Alert) {
	const line = "%-46s  %-8s  %-16s %5v\n" // 46 letters have the longest of the types that hubwatch ships
	fmt.Fprintf(w, line, "ALERT TYPE", "SEVERITY", "LAST SEEN", "COUNT")
	for _, a := range alerts {
		fmt.Fprintf(w, line, a.Type, a.Severity, a.End.Format("2006-01-02 15:04"), a.Occurrences)
		by := ""
		if a.Actor != "" {
			by = ", by " + a.Actor
		}
		fmt.Fprintf(w, "  %s: %s%s\n", a.Hub.Name, a.Entity.Name, by)
	}
	if len(alerts) == 0 {
		return
	}
	a := alerts[len(alerts)-1]
	fmt.Fprintf(w, "\n%s (%s)\n", a.DisplayName, a.Severity)
	wrap(w, "  ", a.Message)
	fmt.Fprintln(w, "  What to do:")
	for step := range strings.Lines(a.Remediation) {
		wrap(w, "    ", step)
	}
}

// wrap prints a text in lines that fit the terminal. If the text begins with a
// number and a point, the following lines are indented by as much.
func wrap(w io.Writer, indent, text string) {
	words := strings.Fields(text)
	line, next := indent, indent
	if len(words) > 1 && strings.Trim(words[0], "0123456789") == "." {
		next += strings.Repeat(" ", len(words[0])+1)
	}
	for i, word := range words {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			fmt.Fprintln(w, line)
			line = next + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}

// printable returns foreign text with an escape for each character that a terminal
// does not show as it is.
func printable(text string) string { return secret.Visible(text) }

// count returns a number with its unit.
func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprint(n, " ", unit, "s")
}
