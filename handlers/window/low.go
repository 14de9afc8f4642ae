package window

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Fewer than Min events of a key in a window.
//
// That something did not happen can only be said by a clock, and what comes later can
// correct it. Time is divided into cells of a quarter of Width. A window is four cells, and
// has the name of its last one. A key is watched from its first event on: a window counts if it
// begins after the cell of that event. A window is low if it counts and has fewer than Min
// distinct events. A breach is a run of low windows, and begins with the first of them. A key
// that is silent for ever has one breach, and not one a day. Any Width and a quarter without
// enough events contain such a window; a shorter time may not.
//
// Rows say which cells have events of a key, and a derived row says at which windows breaches
// begin. A timer judges a window when it and Lateness are over. An event that comes later
// judges again what it changes. R3 makes that right: the timer says which cell it judges
// before it reads anything, and an event looks for that after it is in its cell. So one of both
// knows of the other. And an event that is late always writes the derived row, also if that
// is right already: whoever has judged without the event, and has not written yet, then
// fails.

const (
	quarters = 4
	// Lateness is how long after the end of a window it is judged, so that few events come
	// later.
	Lateness = 10 * time.Minute
	// skew is by how much the clocks of instances may differ.
	skew = time.Minute
)

// Cell is the number of a cell.
type Cell int64

// size returns the length of a cell.
func (r Rule) size() int64 { return int64(r.Width) / quarters }

// CellOf returns the cell of a time.
func (r Rule) CellOf(at time.Time) Cell { return Cell(at.UnixNano() / r.size()) }

// CellBegin returns when a cell begins. A window is of the UTC day in which its last cell
// begins.
func (r Rule) CellBegin(c Cell) time.Time { return time.Unix(0, int64(c)*r.size()).UTC() }

// CellEnd returns when a cell ends.
func (r Rule) CellEnd(c Cell) time.Time { return r.CellBegin(c + 1) }

// Needed returns a time until which a cell is needed to judge windows that a timely event can
// change.
func (r Rule) Needed(c Cell) time.Time { return r.CellBegin(c + quarters + 1) }

// Due returns the last cell that a timer may judge.
func (r Rule) Due(now time.Time) Cell { return r.CellOf(now.Add(-Lateness)) - 1 }

// Late reports whether a timer, whose clock may be ahead, perhaps judges a cell already.
func (r Rule) Late(c Cell, now time.Time) bool {
	return !now.Before(r.CellEnd(c).Add(Lateness - skew))
}

// Reach returns how many cells a timer may be behind. After a longer time without a timer
// watching begins anew, since cells are dropped.
func (r Rule) Reach() Cell { return Cell(int64(2*24*time.Hour) / r.size()) }

// Reads returns the first cell that has to be read to judge the window of a cell and the one
// before it.
func Reads(c Cell) Cell { return c - quarters }

// Touches returns the last window that an event of a cell can change, if next is the next cell
// with an event: what is low after that does not depend on the earlier one.
func Touches(next Cell) Cell { return next + quarters }

// LowHash returns the name of the cells of this rule. It is another one after each change of
// the rule.
func (r Rule) LowHash() Hash { return r.hash("min", r.Min) }

// Low reports whether the window of a cell is low. count is how many events a cell has.
// Watching begins after the cell first.
func (r Rule) Low(c, first Cell, count func(Cell) int) bool {
	if c-quarters+1 <= first {
		return false
	}
	n := 0
	for each := c - quarters + 1; each <= c; each++ {
		n += count(each)
	}
	return n < r.Min
}

// Lows are the windows of one key and UTC day at which breaches begin, in order.
type Lows []Cell

// Judge returns the lows with those of the windows from one to another judged again.
func (r Rule) Judge(lows Lows, from, to, first Cell, count func(Cell) int) Lows {
	judged := slices.DeleteFunc(slices.Clone(lows), func(c Cell) bool { return from <= c && c <= to })
	for c := from; c <= to; c++ {
		if r.Low(c, first, count) && !r.Low(c-1, first, count) {
			judged = append(judged, c)
		}
	}
	slices.Sort(judged)
	return judged
}

// Pack returns the lows as a binary property: 1,440 have 5,760 bytes.
func (l Lows) Pack() []byte {
	b := make([]byte, 0, 4*len(l))
	for _, c := range l {
		b = binary.BigEndian.AppendUint32(b, uint32(c)) // #nosec G115 -- minutes since 1970 at most
	}
	return b
}

// UnpackLows reads what Pack writes.
func UnpackLows(b []byte) (Lows, error) {
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("%d bytes: want a multiple of 4", len(b))
	}
	var l Lows
	for part := range slices.Chunk(b, 4) {
		l = append(l, Cell(binary.BigEndian.Uint32(part)))
	}
	return l, nil
}
