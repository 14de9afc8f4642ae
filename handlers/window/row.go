package window

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// More than Max events of a key in a window.
//
// In the ordered list of the distinct events of a key, an event is over if it is at least
// the (Max+1)th of the window that ends with it: if the event that stands Max places
// before it is less than Width older. Another event can make it over and never take that
// back. So nothing that was said has to be corrected, and no order of events matters.
//
// Time is divided into slots of Width, from 1970 on. They give breaches their names and
// rows their keys. What is over does not depend on them.
//
// Three rules make this right in any number of instances that crash at any time. Tests of
// handlers/table hold each: TestCountsInAnyOrder and TestTenInAnyOrder R1, TestAnyCrashOfACount
// and TestAnyCrashOfEleven R2, TestAnyStallOfATimer R3. docs/design.md, "Rules, taken away", says
// which of them fail without which line.
//
//	R1  What is decided in one row is decided by one conditional write. Row j decides about
//	    slot j+1 by itself: the Max events before an event of that slot lie in the slots j and
//	    j+1, and a row has all of them that can matter. Where the truth needs two rows, two
//	    writers do not see each other.
//	R2  "Done" is said after it is done: Raised is written into a row only after the alert has
//	    the proof, and an event is acknowledged last of all.
//	R3  What is derived is read first, then what it is derived from, and then it is written on
//	    condition. Whoever changes the latter after it may have been read always writes the
//	    former, even if that stays as it is. See Low.

// Slot is the number of a slot.
type Slot int64

// slot returns the slot of a time.
func (r Rule) slot(at int64) Slot {
	s := at / int64(r.Width)
	if at%int64(r.Width) < 0 {
		s--
	}
	return Slot(s)
}

// begin returns when a slot begins, in nanoseconds since 1970.
func (r Rule) begin(s Slot) int64 { return int64(s) * int64(r.Width) }

// Begin returns when a slot begins. A slot belongs to the UTC day of that.
func (r Rule) Begin(s Slot) time.Time { return time.Unix(0, r.begin(s)).UTC() }

// End returns when the last event has happened that row s can hold, or later.
func (r Rule) End(s Slot) time.Time { return time.Unix(0, r.begin(s+2)-1).UTC() }

// OverHash returns the name of what rows of this rule count. It is another one after each
// change of the rule.
func (r Rule) OverHash() Hash {
	most := -1
	if r.Max != nil {
		most = *r.Max
	}
	return r.hash("max", most)
}

func (r Rule) hash(what string, n int) Hash {
	b := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %d in %d", r.Name, r.Key, what, n, r.Width))
	return Hash(b[:])
}

// Row is row j of a key. It is the smallest part of the events of the slots j and j+1 that
// says which event of slot j+1 is over first. It does not depend on the order and the
// repetition of the events that were added.
type Row struct {
	Slot Slot    // j
	A    []Event // the latest Max events of slot j
	B    []Event // the earliest Max+1 events of slot j+1
}

// Rows returns the rows that an event belongs to: it is in B of the first and in A of the
// second.
func (r Rule) Rows(e Event) (Slot, Slot) {
	s := r.slot(e.Time)
	return s - 1, s
}

// Add adds those of the events to a row that belong there. It reports whether the row is
// another one then.
func (r Rule) Add(row Row, events ...Event) (Row, bool) {
	changed := false
	for _, e := range events {
		switch r.slot(e.Time) {
		case row.Slot:
			if more, added := insert(row.A, e); added && more[0] != e || added && len(more) <= *r.Max {
				row.A, changed = more[max(0, len(more)-*r.Max):], true
			}
		case row.Slot + 1:
			if more, added := insert(row.B, e); added && (len(more) <= *r.Max+1 || more[*r.Max+1] != e) {
				row.B, changed = more[:min(len(more), *r.Max+1)], true
			}
		}
	}
	return row, changed
}

// Pack returns the lists of a row as binary properties. Each has at most 24,024 bytes.
func (r Rule) Pack(row Row) (a, b []byte) {
	since := r.begin(row.Slot)
	return pack(since, row.A), pack(since, row.B)
}

// Unpack reads what Pack writes. Its error says what is not a row of this rule.
func (r Rule) Unpack(s Slot, a, b []byte) (Row, error) {
	row := Row{Slot: s}
	for _, list := range []struct {
		name   string
		packed []byte
		events *[]Event
		slot   Slot
		most   int
	}{{"A", a, &row.A, s, *r.Max}, {"B", b, &row.B, s + 1, *r.Max + 1}} {
		events, err := unpack(r.begin(s), list.packed)
		switch {
		case err != nil:
			return Row{}, fmt.Errorf("%s: %w", list.name, err)
		case len(events) > list.most:
			return Row{}, fmt.Errorf("%s: %d events, want at most %d", list.name, len(events), list.most)
		case len(events) > 0 && (r.slot(events[0].Time) != list.slot || r.slot(events[len(events)-1].Time) != list.slot):
			return Row{}, fmt.Errorf("%s: an event is not of slot %d", list.name, list.slot)
		}
		*list.events = events
	}
	return row, nil
}

// Proof is Max+1 events within less than Width: the last of them is over.
type Proof []Event

// Proof returns the proof for the first event of slot j+1 that is over, nil if none is.
func (r Rule) Proof(row Row) Proof {
	return r.First(slices.Concat(row.A, row.B), len(row.A))
}

// First returns the proof for the first event that is over of those from an index on, nil
// if none is. The events are in order, and none is there twice.
func (r Rule) First(events []Event, from int) Proof {
	for i := max(from, *r.Max); i < len(events); i++ {
		if events[i].Time-events[i-*r.Max].Time < int64(r.Width) {
			return events[i-*r.Max : i+1]
		}
	}
	return nil
}

// Last returns the event that is over.
func (p Proof) Last() Event { return p[len(p)-1] }

// Better reports whether p is another proof than q and tells of more: its last event is
// earlier, or that is the same one and the events before it are later. A nil proof tells
// of nothing.
func (p Proof) Better(q Proof) bool {
	switch {
	case p == nil || q == nil || len(p) != len(q):
		return p != nil
	case p.Last() != q.Last():
		return p.Last().Compare(q.Last()) < 0
	}
	for i := len(p) - 2; i >= 0; i-- {
		if c := p[i].Compare(q[i]); c != 0 {
			return c > 0
		}
	}
	return false
}

// Hash returns a hash of the proof.
func (p Proof) Hash() Hash {
	b := sha256.Sum256(p.Pack())
	return Hash(b[:])
}

// Pack returns the proof as a binary property.
func (p Proof) Pack() []byte { return pack(0, p) }

// UnpackProof reads what Pack writes.
func UnpackProof(b []byte) (Proof, error) { return unpack(0, b) }

// Slots are the slots of one key and UTC day with an event that is over, and the first such
// event of each. The slots of a rule and those of the rule that it was earlier in the day
// stand beside each other.
type Slots map[SlotOf]Event

// SlotOf is a slot of a rule.
type SlotOf struct {
	Rule [4]byte // of its OverHash
	Slot Slot
}

// Of returns a slot of the rule.
func (r Rule) Of(s Slot) SlotOf {
	h := r.OverHash()
	return SlotOf{[4]byte(h[:4]), s}
}

// String returns the rule and the slot in hexadecimal. Slots of one rule sort by their
// numbers.
func (s SlotOf) String() string { return fmt.Sprintf("%x-%08x", s.Rule, int64(s.Slot)) }

func (s SlotOf) compare(t SlotOf) int {
	if s.Rule != t.Rule {
		return slices.Compare(s.Rule[:], t.Rule[:])
	}
	return int(s.Slot - t.Slot)
}

// slotBytes is how many bytes a slot has: 1,440 of one minute have 46,080.
const slotBytes = 4 + 4 + packed

// Pack returns the slots as a binary property.
func (s Slots) Pack() []byte {
	b := make([]byte, 0, slotBytes*len(s))
	for _, of := range s.sorted() {
		b = append(b, of.Rule[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(of.Slot)) // #nosec G115 -- minutes since 1970 at most
		b = append(b, pack(0, []Event{s[of]})...)
	}
	return b
}

// UnpackSlots reads what Pack writes.
func UnpackSlots(b []byte) (Slots, error) {
	if len(b)%slotBytes != 0 {
		return nil, fmt.Errorf("%d bytes: want a multiple of %d", len(b), slotBytes)
	}
	s := Slots{}
	for part := range slices.Chunk(b, slotBytes) {
		events, err := unpack(0, part[8:])
		if err != nil {
			return nil, err
		}
		s[SlotOf{[4]byte(part[:4]), Slot(binary.BigEndian.Uint32(part[4:]))}] = events[0]
	}
	return s, nil
}

func (s Slots) sorted() []SlotOf {
	all := make([]SlotOf, 0, len(s))
	for of := range s {
		all = append(all, of)
	}
	slices.SortFunc(all, SlotOf.compare)
	return all
}

// Breaches returns how many breaches there are, and when the first event that is over
// of the first and of the last slot happened. A breach is a run of adjacent slots with an
// event that is over: it lasts until a whole slot has passed without one. Without slots all
// are zero.
func (s Slots) Breaches() (n int, start, end time.Time) {
	var last SlotOf
	for i, of := range s.sorted() {
		if i == 0 || of.Rule != last.Rule || of.Slot != last.Slot+1 {
			n++
		}
		if at := s[of].At(); i == 0 || at.Before(start) {
			start = at
		}
		if at := s[of].At(); at.After(end) {
			end = at
		}
		last = of
	}
	return n, start, end
}
