package judge

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"hubwatch/handlers/verdict"
)

// memory is a Store in memory. fail, if not nil, is asked before each method that
// changes something.
type memory struct {
	mu       sync.Mutex
	staged   map[verdict.Place]map[string]verdict.Staged
	marks    map[verdict.Mark]verdict.Marked
	rows     map[verdict.Place]verdict.Row
	etags    map[verdict.Place]verdict.ETag
	begins   map[string]verdict.Begin
	writes   int
	progress map[string]verdict.Progress
	dropped  int
	fail     func(method string) error
	now      func() time.Time // nil for a store that does not tell when rows were written
}

func newMemory() *memory {
	return &memory{
		staged: map[verdict.Place]map[string]verdict.Staged{}, marks: map[verdict.Mark]verdict.Marked{},
		rows: map[verdict.Place]verdict.Row{}, etags: map[verdict.Place]verdict.ETag{}, begins: map[string]verdict.Begin{}, progress: map[string]verdict.Progress{},
	}
}

// write begins a method that changes something.
func (m *memory) write(method string) (etag verdict.ETag, err error) {
	m.writes++
	if m.fail != nil {
		err = m.fail(method)
	}
	return verdict.ETag(fmt.Sprint(m.writes)), err
}

func (m *memory) Stage(_ context.Context, rows []verdict.Staged) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.write("Stage"); err != nil {
		return err
	}
	for _, r := range rows {
		if m.staged[r.Place] == nil {
			m.staged[r.Place] = map[string]verdict.Staged{}
		}
		m.staged[r.Place][r.Key] = r
	}
	return nil
}

func (m *memory) Mark(_ context.Context, marks []verdict.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	etag, err := m.write("Mark")
	at := time.Time{}
	if m.now != nil {
		at = m.now()
	}
	for _, mark := range marks {
		if err == nil {
			m.marks[mark] = verdict.Marked{Mark: mark, ETag: etag, At: at}
		}
	}
	return err
}

func (m *memory) Open(context.Context) iter.Seq2[verdict.Mark, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := slices.Collect(maps.Keys(m.marks))
	return func(yield func(verdict.Mark, error) bool) {
		for _, mark := range marks {
			if !yield(mark, nil) {
				return
			}
		}
	}
}

func (m *memory) Marked(_ context.Context, place verdict.Place, level verdict.Level) (list []verdict.Marked, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for mark, marked := range m.marks {
		if mark.Place == place && mark.Level <= level {
			list = append(list, marked)
		}
	}
	return list, nil
}

func (m *memory) Row(_ context.Context, place verdict.Place) (verdict.Row, verdict.ETag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[place], m.etags[place], nil
}

func (m *memory) Begin(_ context.Context, hub string) (verdict.Begin, verdict.ETag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	begin, is := m.begins[hub]
	if !is {
		return verdict.Begin{}, "", nil
	}
	return begin, "1", nil
}

func (m *memory) PutBegin(_ context.Context, begin verdict.Begin, _ verdict.ETag) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.write("PutBegin")
	if err == nil {
		m.begins[begin.Hub] = begin
	}
	return err
}

func (m *memory) Staged(_ context.Context, place verdict.Place, _ bool) iter.Seq2[verdict.Staged, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := slices.Collect(maps.Values(m.staged[place]))
	return func(yield func(verdict.Staged, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memory) Reconnected(_ context.Context, hub string, from, to verdict.Bucket) (map[verdict.Bucket]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[verdict.Bucket]int{}
	for b := from; b <= to; b++ {
		if n := m.rows[verdict.Place{Hub: hub, Bucket: b}].Reconnected.N; n > 0 {
			all[b] = n
		}
	}
	return all, nil
}

func (m *memory) Put(_ context.Context, row verdict.Row, etag verdict.ETag) (verdict.ETag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := m.write("Put")
	if err == nil && m.etags[row.Place] != etag {
		err = verdict.ErrConflict
	}
	if err != nil {
		return "", err
	}
	m.rows[row.Place], m.etags[row.Place] = row, next
	return next, nil
}

func (m *memory) Unmark(_ context.Context, mark verdict.Marked) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.write("Unmark")
	if err == nil && m.marks[mark.Mark].ETag != mark.ETag {
		err = verdict.ErrConflict
	}
	if err == nil {
		delete(m.marks, mark.Mark)
	}
	return err
}

func (m *memory) Dropped(context.Context, verdict.Bucket) (bool, error) { return false, nil }

func (m *memory) Progress(context.Context) (map[string]verdict.Progress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.progress), nil
}

func (m *memory) SetProgress(_ context.Context, name string, p verdict.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress[name] = p
	return nil
}

func (m *memory) Expire(context.Context, time.Time) (int, error) {
	_, err := m.write("Expire")
	return m.dropped, err
}

// facts returns how many facts are kept.
func (m *memory) facts() (n int) {
	for _, rows := range m.staged {
		for _, r := range rows {
			facts, _ := r.Facts()
			n += len(facts)
		}
	}
	return n
}
