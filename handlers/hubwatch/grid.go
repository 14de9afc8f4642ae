package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// grid is a table for people.
type grid struct {
	columns []column
	rows    [][]string // printable; a cell for each column
	// below is the first column of the second line. There is a second line only
	// if all columns are too wide for one line.
	below int
}

// column is a column of a grid.
type column struct {
	title string
	right bool // aligned to the right, as numbers are
	whole bool // never cut, since people copy what stands there
	// color returns the colour of a cell, see painted. Nil means no colours.
	color func(cell string) string
}

// gap stands between columns, and at the beginning of a second line.
const gap = "  "

// leastWidth is the smallest width of a column that is cut.
const leastWidth = 8

// write writes the grid in lines of at most width characters. If width is 0,
// lines may have any length.
func (g grid) write(w io.Writer, width int) error {
	widths := g.widths()
	lines := [][2]int{{0, len(g.columns)}}
	if width > 0 && total(widths) > width {
		lines = [][2]int{{0, g.below}, {g.below, len(g.columns)}}
		g.fit(widths, 0, g.below, width)
		g.fit(widths, g.below, len(g.columns), width-len(gap))
	}
	titles := make([]string, len(g.columns))
	for i, c := range g.columns {
		titles[i] = c.title
	}
	s, ok := w.(*screen)
	colors := ok && s.color
	for n, row := range append([][]string{titles}, g.rows...) {
		for i, line := range lines {
			text := g.line(row, widths, line[0], line[1], colors && n > 0)
			if i > 0 && text == "" {
				continue
			}
			if _, err := fmt.Fprintln(w, strings.Repeat(gap, i)+text); err != nil {
				return err
			}
		}
	}
	return nil
}

// widths returns how wide the columns are by themselves.
func (g grid) widths() []int {
	widths := make([]int, len(g.columns))
	for i, c := range g.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range g.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

// total returns how wide a line of columns is.
func total(widths []int) int {
	sum := len(gap) * (len(widths) - 1)
	for _, n := range widths {
		sum += n
	}
	return sum
}

// fit makes the columns from first to last, without last, narrower until they fit
// into width. It cuts the widest column that may be cut first.
func (g grid) fit(widths []int, first, last, width int) {
	for total(widths[first:last]) > width {
		widest := -1
		for i := first; i < last; i++ {
			if !g.columns[i].whole && widths[i] > leastWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// line returns the cells of a row from first to last, without last, in colours or not.
func (g grid) line(row []string, widths []int, first, last int, colors bool) string {
	cells := make([]string, 0, last-first)
	for i := first; i < last; i++ {
		cell := cut(row[i], widths[i])
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if color := g.columns[i].color; colors && color != nil {
			cell = painted(cell, color(row[i]))
		}
		if g.columns[i].right {
			cell = space + cell
		} else {
			cell += space
		}
		cells = append(cells, cell)
	}
	return strings.TrimRight(strings.Join(cells, gap), " ")
}
