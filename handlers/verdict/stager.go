package verdict

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Stager keeps records for verdicts. Its methods may be called at the same time.
type Stager struct {
	Settings Settings
	Store    Store
	Now      func() time.Time

	mu     sync.Mutex
	made   map[Mark]bool     // marks that this process made and that nobody has a reason to remove yet
	begins map[string]Bucket // where the logs of hubs begin, or later, see begin
}

// skew is by how much the clocks of two instances may differ.
const skew = 2 * time.Minute

// Stage keeps rows, and then marks the verdicts that they may change. After an error the
// caller gives the same rows again. Only after nil it may acknowledge the records.
func (s *Stager) Stage(ctx context.Context, rows []Staged, marks []Mark) error {
	if err := s.Store.Stage(ctx, rows); err != nil {
		return err
	}
	if err := s.begin(ctx, rows); err != nil {
		return err
	}
	// R2: a pass that removes a mark has read the rows after it read the mark.
	needed := s.needed(marks)
	if err := s.Store.Mark(ctx, needed); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mark := range needed {
		s.made[mark] = true
	}
	return nil
}

// needed returns those of marks that may not be there. A mark that this process made
// stands until the time of its level comes, so it is made again only if that may be near.
// The clock is read after the rows are kept.
func (s *Stager) needed(marks []Mark) (needed []Mark) {
	now := s.Now()
	near := func(m Mark) bool { return !now.Before(s.Settings.Due(m.Bucket, m.Level).Add(-skew)) }
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		s.made = map[Mark]bool{}
	}
	maps.DeleteFunc(s.made, func(m Mark, _ bool) bool { return near(m) })
	for _, mark := range marks {
		if !s.made[mark] {
			needed = append(needed, mark)
		}
	}
	return needed
}
