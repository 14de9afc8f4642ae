package main

import (
	"context"
	"iter"
	"strconv"

	"hubwatch/handlers/verdict"
)

// ledger is a store of what verdicts are derived from, in memory: the time of a table is not
// in what is measured with it.
type ledger struct {
	writes int // for ETags
	staged map[verdict.Place][]verdict.Staged
	marks  map[verdict.Mark]verdict.ETag
	rows   map[verdict.Place]verdict.Row
	etags  map[verdict.Place]verdict.ETag
	begins map[string]verdict.Begin

	published int
	weigh     bool    // whether to look how much memory is in use when rows have been read
	heaviest  float64 // bytes
}

func newLedger() *ledger {
	return &ledger{
		staged: map[verdict.Place][]verdict.Staged{}, marks: map[verdict.Mark]verdict.ETag{},
		rows: map[verdict.Place]verdict.Row{}, etags: map[verdict.Place]verdict.ETag{}, begins: map[string]verdict.Begin{},
	}
}

func (l *ledger) etag() verdict.ETag {
	l.writes++
	return verdict.ETag(strconv.Itoa(l.writes))
}

func (l *ledger) Stage(_ context.Context, rows []verdict.Staged) error {
	for _, row := range rows {
		l.staged[row.Place] = append(l.staged[row.Place], row)
	}
	return nil
}

func (l *ledger) Mark(_ context.Context, marks []verdict.Mark) error {
	for _, mark := range marks {
		l.marks[mark] = l.etag()
	}
	return nil
}

func (l *ledger) Open(context.Context) iter.Seq2[verdict.Mark, error] {
	return func(yield func(verdict.Mark, error) bool) {
		for mark := range l.marks {
			if !yield(mark, nil) {
				return
			}
		}
	}
}

func (l *ledger) Marked(_ context.Context, place verdict.Place, level verdict.Level) (marked []verdict.Marked, err error) {
	for mark, etag := range l.marks {
		if mark.Place == place && mark.Level <= level {
			marked = append(marked, verdict.Marked{Mark: mark, ETag: etag})
		}
	}
	return marked, nil
}

func (l *ledger) Unmark(_ context.Context, mark verdict.Marked) error {
	delete(l.marks, mark.Mark)
	return nil
}

func (l *ledger) Row(_ context.Context, place verdict.Place) (verdict.Row, verdict.ETag, error) {
	return l.rows[place], l.etags[place], nil
}

func (l *ledger) Reconnected(_ context.Context, hub string, from, to verdict.Bucket) (map[verdict.Bucket]int, error) {
	all := map[verdict.Bucket]int{}
	for b := from; b <= to; b++ {
		if n := l.rows[verdict.Place{Hub: hub, Bucket: b}].Reconnected.N; n > 0 {
			all[b] = n
		}
	}
	return all, nil
}

func (l *ledger) Begin(_ context.Context, hub string) (verdict.Begin, verdict.ETag, error) {
	return l.begins[hub], l.etags[verdict.Place{Hub: hub}], nil
}

func (l *ledger) PutBegin(_ context.Context, begin verdict.Begin, _ verdict.ETag) error {
	l.begins[begin.Hub], l.etags[verdict.Place{Hub: begin.Hub}] = begin, l.etag()
	return nil
}

func (l *ledger) Put(_ context.Context, row verdict.Row, etag verdict.ETag) (verdict.ETag, error) {
	if l.etags[row.Place] != etag {
		return "", verdict.ErrConflict
	}
	l.rows[row.Place], l.etags[row.Place] = row, l.etag()
	return l.etags[row.Place], nil
}

func (l *ledger) Staged(_ context.Context, place verdict.Place, _ bool) iter.Seq2[verdict.Staged, error] {
	return func(yield func(verdict.Staged, error) bool) {
		rows := l.staged[place]
		for i, row := range rows {
			if l.weigh && i == len(rows)-1 {
				l.heaviest = max(l.heaviest, inUse())
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (l *ledger) Dropped(context.Context, verdict.Bucket) (bool, error) { return false, nil }

// Publish implements verdict.Publisher.
func (l *ledger) Publish(_ context.Context, notices []verdict.Notice) error {
	l.published += len(notices)
	return nil
}
