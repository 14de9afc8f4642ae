package custom

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with the file of a custom alert.
type Mistake struct {
	File   string // its path, with slashes
	Line   int    // from 1 on
	Column int    // in characters, from 1 on
	Text   string // what is wrong
}

func (m Mistake) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
}

// Mistakes returns the mistakes that err tells of, as Load returns them, in the order of
// files, lines and columns.
func Mistakes(err error) []Mistake {
	var all []Mistake
	var m Mistake
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			all = append(all, Mistakes(err)...)
		}
	} else if errors.As(err, &m) {
		all = append(all, m)
	}
	return all
}

// join returns mistakes as one error, a line each; nil if there are none.
func join(mistakes []Mistake) error {
	slices.SortStableFunc(mistakes, func(a, b Mistake) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for _, m := range slices.Compact(mistakes) {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// place returns the line and the column of a byte of a text.
func place(text []byte, offset int) (line, column int) {
	before := string(text[:min(offset, len(text))])
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// nearest returns the word of a list that s is a misspelling of; "" if there is none.
func nearest(s string, list []string) string {
	best, least := "", 1+max(1, min(3, len(s)/4))
	for _, word := range list {
		if d := distance(strings.ToLower(s), strings.ToLower(word)); d < least {
			best, least = word, d
		}
	}
	return best
}

// meant returns a question about what s was meant to be, to end a mistake with.
func meant(s string, list []string) string {
	if word := nearest(s, list); word != "" {
		return fmt.Sprintf("; did you mean %s?", word)
	}
	return ""
}

// distance returns how many bytes are inserted, deleted or replaced between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
