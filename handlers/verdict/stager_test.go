package verdict

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// marking counts the marks that are written, and fails if told to.
type marking struct {
	*memory
	written []Mark
	err     error
}

func (m *marking) Mark(ctx context.Context, marks []Mark) error {
	m.written = append(m.written, marks...)
	if m.err != nil {
		return m.err
	}
	return m.memory.Mark(ctx, marks)
}

// TestStagerRemembers checks that a mark that this process made is made again only when its
// time comes, and after nobody knows whether it was made.
func TestStagerRemembers(t *testing.T) {
	s := Defaults()
	b := Bucket(100)
	mark := func(level Level) Mark { return Mark{Place{"contoso-hub", b}, level} }
	all := []Mark{mark(Open), mark(Graced), mark(Settled)}
	for _, c := range []struct {
		name   string
		before time.Duration // the due time of Graced
		failed bool
		want   []Mark
	}{
		{"long before", time.Hour, false, []Mark{mark(Open)}},
		{"just before the clocks may differ", skew + 1, false, []Mark{mark(Open)}},
		{"when another clock may be there", skew, false, []Mark{mark(Open), mark(Graced)}},
		{"afterwards", -time.Second, false, []Mark{mark(Open), mark(Graced)}},
		{"after an error", time.Hour, true, all},
	} {
		now := s.Due(b, Graced).Add(-2 * time.Hour)
		store := &marking{memory: newMemory()}
		stager := Stager{Settings: s, Store: store, Now: func() time.Time { return now }}
		if c.failed {
			store.err = errors.New("no answer")
		}
		if err := stager.Stage(t.Context(), nil, all); !errors.Is(err, store.err) || len(store.written) != len(all) {
			t.Fatal(err, store.written)
		}
		store.err, store.written = nil, nil
		now = s.Due(b, Graced).Add(-c.before)
		if err := stager.Stage(t.Context(), nil, all); err != nil || !slices.Equal(store.written, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, err, store.written, c.want)
		}
		store.written = nil
		if err := stager.Stage(t.Context(), nil, []Mark{{Place{"contoso-hub", b + 1}, Settled}}); err != nil || len(store.written) != 1 {
			t.Errorf("%s: another place: %v, %v", c.name, err, store.written)
		}
	}
}
