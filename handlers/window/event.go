package window

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Hash tells one thing from all others: 128 bits of a SHA-256.
type Hash [16]byte

// Event is an event of a key. Two events with the same time and hash are one.
type Event struct {
	Time int64 // when it happened, and not when it came: in nanoseconds since 1970, UTC
	Hash Hash  // of what makes it this event and no other
}

// At returns when the event happened, UTC.
func (e Event) At() time.Time { return time.Unix(0, e.Time).UTC() }

// Compare orders events by time, and those of one time by their hashes.
func (e Event) Compare(f Event) int {
	return cmp.Or(cmp.Compare(e.Time, f.Time), bytes.Compare(e.Hash[:], f.Hash[:]))
}

// insert puts e into a list that is in order and has no event twice. It returns the list
// itself if e is in it, and a new one otherwise.
func insert(list []Event, e Event) ([]Event, bool) {
	i, found := slices.BinarySearchFunc(list, e, Event.Compare)
	if found {
		return list, false
	}
	return slices.Insert(slices.Clone(list), i, e), true
}

// packed is how many bytes an event has in a binary property: the nanoseconds since some
// time, and its hash.
const packed = 8 + len(Hash{})

// pack returns events as a binary property, with times since a time.
func pack(since int64, events []Event) []byte {
	b := make([]byte, 0, packed*len(events))
	for _, e := range events {
		b = binary.BigEndian.AppendUint64(b, uint64(e.Time-since)) // #nosec G115 -- no event is before since
		b = append(b, e.Hash[:]...)
	}
	return b
}

// unpack reads what pack writes.
func unpack(since int64, b []byte) ([]Event, error) {
	if len(b)%packed != 0 {
		return nil, fmt.Errorf("%d bytes: want a multiple of %d", len(b), packed)
	}
	var events []Event
	for part := range slices.Chunk(b, packed) {
		e := Event{Time: since + int64(binary.BigEndian.Uint64(part)), Hash: Hash(part[8:])} // #nosec G115 -- any time can be read
		if n := len(events); n > 0 && events[n-1].Compare(e) >= 0 {
			return nil, fmt.Errorf("event %d is not after the one before it", n)
		}
		events = append(events, e)
	}
	return events, nil
}
