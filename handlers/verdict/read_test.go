package verdict

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubwatch/handlers/connection"
)

// slow is a store of which each partition takes a second, unless the context ends before.
type slow struct {
	*memory
	mu         sync.Mutex
	now, most  int // partitions that are being read, and the most of these
	all, ended int // that were read, and of these those whose context ended
	broken     Bucket
}

var errBroken = errors.New("the partition is broken")

func (s *slow) add(now, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.ended = s.now+now, s.ended+ended
	s.all, s.most = s.all+max(0, now), max(s.most, s.now)
}

func (s *slow) Staged(ctx context.Context, place Place, records bool) iter.Seq2[Staged, error] {
	return func(yield func(Staged, error) bool) {
		s.add(1, 0)
		defer s.add(-1, 0)
		if place.Bucket == s.broken {
			yield(Staged{}, errBroken)
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			s.add(0, 1)
			yield(Staged{}, context.Cause(ctx))
			return
		}
		for row, err := range s.memory.Staged(ctx, place, records) {
			if !yield(row, err) {
				return
			}
		}
	}
}

// TestBucketsAreReadSideBySide reads the buckets of a verdict that looks for a device which did not come
// back, from a store that takes a second for each of them. Four are read at the same time, and the facts are
// those that one reads after the other. If one cannot be read, the others end, and the error is its own.
func TestBucketsAreReadSideBySide(t *testing.T) {
	place := Place{"contoso-hub", 100}
	second := place.Bucket.first()
	settings := Defaults()
	for name, back := range map[string]bool{"missing": false, "back in the last bucket": true} {
		synctest.Test(t, func(t *testing.T) {
			s := &slow{memory: newMemory(), broken: -1}
			far := settings.far(place.Bucket)
			entries := map[Bucket][]Entry{place.Bucket: {{Fact: Fact{Device: device(1), Second: second, Sign: connection.Expiry, Record: 1}}}}
			if back {
				entries[far] = []Entry{{Fact: Fact{Device: device(1), Second: far.first(), Sign: connection.Connect}}}
			}
			for b, of := range entries {
				if err := s.Stage(t.Context(), packed(Place{place.Hub, b}, of)); err != nil {
					t.Fatal(err)
				}
			}
			alone, err := Judge{Settings: settings, Store: s, alone: true}.read(t.Context(), place, Settled)
			if err != nil {
				t.Fatal(err)
			}
			buckets := s.all
			begin := time.Now()
			s.all, s.most = 0, 0
			together, err := Judge{Settings: settings, Store: s}.read(t.Context(), place, Settled)
			if err != nil || len(together.items) != len(alone.items) || len(together.missing) != len(alone.missing) || together.renewed != alone.renewed {
				t.Errorf("%s: %+v, %v; want %+v", name, together, err, alone)
			}
			// Three are near. The others are read if the device is not there.
			if want := time.Duration(1+(buckets-3+readAtOnce-1)/readAtOnce) * time.Second; time.Since(begin) != want || s.all != buckets || s.most != readAtOnce || buckets != 11 {
				t.Errorf("%s: %d buckets in %v, %d at once; want %d in %v, %d at once", name, s.all, time.Since(begin), s.most, buckets, want, readAtOnce)
			}
			for _, broken := range []Bucket{place.Bucket, far} {
				s.broken, s.ended = broken, 0
				if _, err := (Judge{Settings: settings, Store: s}).read(t.Context(), place, Settled); !errors.Is(err, errBroken) {
					t.Errorf("%s: bucket %d is broken: %v", name, broken, err)
				}
				if s.now != 0 {
					t.Errorf("%s: bucket %d is broken, and %d are still read", name, broken, s.now)
				}
				if broken == place.Bucket && s.ended != 2 {
					t.Errorf("%s: %d of the others ended, want 2", name, s.ended)
				}
			}
		})
	}
}
