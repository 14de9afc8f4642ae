package verdict

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Begin says where the log of a hub begins. A surge is many more devices than before, so there
// is none as long as there is no before: when hubwatch was just deployed, or the diagnostic
// setting of the hub was just made, a healthy fleet would be one.
type Begin struct {
	Hub string // the name of the hub in lower case
	// Bucket is the earliest one of which a record of the hub was ever staged. It only becomes
	// earlier. Records are dropped after some days, and this stays.
	Bucket Bucket
	// Told is the same when the verdicts that depend on it were marked last. It is later than
	// Bucket if they still have to be.
	Told Bucket
}

// precedes reports whether all that a surge in bucket b is compared with is later than the
// bucket in which the log of its hub begins. That bucket has a part of its records alone.
func (g Begin) precedes(b Bucket) bool { return g.Bucket < b-farthestEarlier }

// later returns the marks of the verdicts that were judged as if the log began at Told, and that
// are others because it begins at Bucket. Those of buckets before Told are not among them: who
// stages a record of one makes Bucket that early before he marks it.
func (g Begin) later() (marks []Mark) {
	for b := max(g.Told, g.Bucket+farthestEarlier+1); b <= g.Told+farthestEarlier; b++ {
		marks = append(marks, Mark{Place{g.Hub, b}, Graced})
	}
	return marks
}

// mostBegins bounds how many hubs a process remembers.
const mostBegins = 10_000

// begin notes that the log of the hubs of rows begins no later than they do. A process does it once
// for each hub, and again only for a record that is earlier. The rows are kept before, and what they
// change is marked afterwards. So who judges a verdict for such a mark knows of the record's bucket.
func (s *Stager) begin(ctx context.Context, rows []Staged) error {
	if s.Settings.Surge == 0 {
		return nil
	}
	first := map[string]Bucket{}
	s.mu.Lock()
	for _, row := range rows {
		known, is := s.begins[row.Hub]
		if earliest, has := first[row.Hub]; (!is || row.Bucket < known) && (!has || row.Bucket < earliest) {
			first[row.Hub] = row.Bucket
		}
	}
	s.mu.Unlock()
	for _, hub := range slices.Sorted(maps.Keys(first)) {
		begins, err := s.beginAt(ctx, hub, first[hub])
		if err != nil {
			return fmt.Errorf("where the log of %s begins: %w", hub, err)
		}
		s.mu.Lock()
		if s.begins == nil || len(s.begins) >= mostBegins {
			s.begins = map[string]Bucket{}
		}
		s.begins[hub] = begins
		s.mu.Unlock()
	}
	return nil
}

// beginAt makes the log of a hub begin at a bucket if it begins later, and returns where it does.
func (s *Stager) beginAt(ctx context.Context, hub string, bucket Bucket) (Bucket, error) {
	for {
		g, etag, err := s.Store.Begin(ctx, hub)
		switch {
		case err != nil:
			return 0, err
		case etag == "": // No verdict of the hub was judged by where its log begins.
			g = Begin{hub, bucket, bucket}
		case g.Told != g.Bucket:
			// R2: whoever made it earlier may have crashed before the marks, and a mark made before
			// could be removed by who read the later one.
			if err := s.Store.Mark(ctx, g.later()); err != nil {
				return 0, err
			}
			g.Told = g.Bucket
		case bucket < g.Bucket:
			g.Bucket = bucket
		default:
			return g.Bucket, nil
		}
		// R1: on condition, so nobody else made it earlier meanwhile. Who did has other verdicts to mark.
		if err := s.Store.PutBegin(ctx, g, etag); err != nil && !errors.Is(err, ErrConflict) {
			return 0, err
		}
	}
}
