package verdict

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
)

// Entry is an expiry or a refused connection that is staged, with its record.
type Entry struct {
	Fact
	Raw jsontext.Value // the record without credentials, as JSON
}

// Connect is the fact of a connection, which is all that is kept of it: its second in the
// bucket, its device and its address, of 16, 128 and 32 bits. Nearly all records are
// connections, so a Connect is small, and its order as three numbers is that of the rows.
type Connect [3]uint64

// ConnectOf returns the fact of a connection in a second of Unix time.
func ConnectOf(second int64, device connection.DeviceKey, address connection.AddressKey) Connect {
	first, last := binary.BigEndian.Uint64(device[:8]), binary.BigEndian.Uint64(device[8:])
	second -= bucketOf(second).first()
	return Connect{uint64(second)<<48 | first>>16, first<<48 | last>>16, last<<48 | uint64(address)<<16} // #nosec G115 -- a second is below 600
}

func (c Connect) compare(d Connect) int {
	switch {
	case c[0] != d[0]:
		return cmp.Compare(c[0], d[0])
	case c[1] != d[1]:
		return cmp.Compare(c[1], d[1])
	}
	return cmp.Compare(c[2], d[2])
}

// append appends the fact as a row has it.
func (c Connect) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, c[0]<<16|c[1]>>48)
	b = binary.BigEndian.AppendUint64(b, c[1]<<16|c[2]>>48)
	b = binary.BigEndian.AppendUint16(b, uint16(c[0]>>48))    // #nosec G115 -- the first 16 bits
	return binary.BigEndian.AppendUint32(b, uint32(c[2]>>16)) // #nosec G115 -- 32 of the bits
}

// Staged is a row that holds records of one place, packed. Its facts never change: its key
// is a hash of them, so a row that is staged again is the same row.
type Staged struct {
	Place
	Key string // 32 hexadecimal digits
	// HubID is the resource id of the hub as a record of the place has it. It is not a fact:
	// the key is the same in whatever letter case the id was logged. Pack leaves it empty.
	HubID    string
	Connects []byte // the facts of connections, 22 bytes each
	Expiries []byte // the facts of expiries, 31 bytes each
	Refusals []byte // the facts of refused connections, 31 bytes each
	Records  []byte // the records of Expiries and then of Refusals, deflated; nil if they were not read
}

const (
	connectSize = 16 + 2 + 4          // device, second of the bucket, address
	failureSize = connectSize + 1 + 8 // and the number of the cause, and the beginning of the record's hash
	// mostPacked is how many bytes a row holds before it is full. An entity has 1 MiB
	// (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
	mostPacked = 640 << 10
)

// MostRecord is how many bytes a record has at most that Pack takes.
const MostRecord = 512 << 10

// Pack returns the rows that hold connections and failed ones of one place, in any order. The
// same ones give the same rows. Pack sorts connects. Raw of each failure has MostRecord bytes
// at most.
func Pack(place Place, connects []Connect, failures []Entry) []Staged {
	slices.SortFunc(connects, Connect.compare)
	connects = slices.Compact(connects)
	order := sorted(place, failures)
	var rows []Staged
	for len(connects)+len(order) > 0 {
		const each = failureSize + binary.MaxVarintLen32
		n, m := min(len(connects), mostPacked/each), 0
		for size := n * each; n == len(connects) && m < len(order); m++ {
			size += each + len(failures[order[m]].Raw)
			if n+m > 0 && size > mostPacked {
				break
			}
		}
		rows = append(rows, pack(place, connects[:n], failures, order[:m]))
		connects, order = connects[n:], order[m:]
	}
	return rows
}

// sorted returns the indices of entries of one place in the order that rows have, without
// those of the same facts. An entry is large, and has pointers, so entries stay where they are.
func sorted(place Place, entries []Entry) (order []int) {
	// What decides nearly always: sign and second, and the beginning of the device's key.
	type beginning struct {
		when, device uint64
		index        int
	}
	list := make([]beginning, len(entries))
	for i := range entries {
		e := &entries[i]
		second := uint32(e.Second - place.Bucket.first())                                                 // #nosec G115 -- below 600
		list[i] = beginning{uint64(e.Sign)<<32 | uint64(second), binary.BigEndian.Uint64(e.Device[:]), i} // #nosec G115 -- a sign is one of a few small numbers
	}
	slices.SortFunc(list, func(a, b beginning) int {
		switch {
		case a.when != b.when:
			return cmp.Compare(a.when, b.when)
		case a.device != b.device:
			return cmp.Compare(a.device, b.device)
		}
		return entries[a.index].compare(entries[b.index].Fact)
	})
	order = make([]int, 0, len(list))
	for _, b := range list {
		if n := len(order); n == 0 || entries[order[n-1]].Fact != entries[b.index].Fact {
			order = append(order, b.index)
		}
	}
	return order
}

// compare orders facts as rows have them.
func (f Fact) compare(g Fact) int {
	if c := cmp.Or(cmp.Compare(f.Sign, g.Sign), cmp.Compare(f.Second, g.Second)); c != 0 {
		return c
	}
	if c := bytes.Compare(f.Device[:], g.Device[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(f.Address, g.Address), cmp.Compare(f.Cause, g.Cause), cmp.Compare(f.Record, g.Record))
}

// deflaters are writers to use again, since each has more than half a megabyte. storers do
// not deflate.
var deflaters, storers = writers(flate.BestSpeed), writers(flate.NoCompression)

func writers(level int) *sync.Pool {
	return &sync.Pool{New: func() any {
		w, _ := flate.NewWriter(nil, level) // an error would say that there is no such level
		return w
	}}
}

// leastDeflated is from how many bytes on records are deflated. Fewer than that are stored
// as they are: to deflate the one failure of a hundred records takes as long as to read ten.
const leastDeflated = 2 << 10

// pack returns a row of connections and of failures in order, which fit.
func pack(place Place, connects []Connect, failures []Entry, order []int) Staged {
	row := Staged{Place: place}
	if len(connects) > 0 {
		row.Connects = make([]byte, 0, len(connects)*connectSize)
	}
	for _, c := range connects {
		row.Connects = c.append(row.Connects)
	}
	for _, i := range order {
		if e := &failures[i]; e.Sign == connection.Expiry {
			row.Expiries = e.append(row.Expiries)
		} else {
			row.Refusals = e.append(row.Refusals)
		}
	}
	if len(order) > 0 {
		row.Records = deflated(failures, order)
	}
	h := sha256.New()
	for _, part := range [][]byte{row.Connects, row.Expiries, row.Refusals} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	row.Key = hex.EncodeToString(h.Sum(nil)[:16])
	return row
}

// append appends the fact of a failed connection as a row has it.
func (f *Fact) append(b []byte) []byte {
	b = append(ConnectOf(f.Second, f.Device, f.Address).append(b), Cause(f.Cause).number())
	return binary.BigEndian.AppendUint64(b, f.Record)
}

// deflated returns the records of the failed connections as a row has them.
func deflated(entries []Entry, order []int) []byte {
	size := 0
	for _, i := range order {
		size += len(entries[i].Raw)
	}
	pool := deflaters
	if size < leastDeflated {
		pool = storers
	}
	var b bytes.Buffer
	deflate := pool.Get().(*flate.Writer)
	defer pool.Put(deflate)
	deflate.Reset(&b)
	var length []byte
	for _, i := range order {
		// Writes into memory do not fail.
		length = binary.AppendUvarint(length[:0], uint64(len(entries[i].Raw)))
		_, _ = deflate.Write(length)
		_, _ = deflate.Write(entries[i].Raw)
	}
	_ = deflate.Close()
	return b.Bytes()
}

// Facts returns the facts of the row. Its error says that the row is not one that Pack
// made.
func (s Staged) Facts() ([]Fact, error) {
	facts := make([]Fact, 0, len(s.Connects)/connectSize+(len(s.Expiries)+len(s.Refusals))/failureSize)
	for _, part := range []struct {
		name string
		sign connection.Sign
		b    []byte
		size int
	}{{"connects", connection.Connect, s.Connects, connectSize}, {"expiries", connection.Expiry, s.Expiries, failureSize}, {"refusals", connection.Refused, s.Refusals, failureSize}} {
		if len(part.b)%part.size != 0 {
			return nil, s.wrong(fmt.Errorf("%s: %d bytes, want %d each", part.name, len(part.b), part.size))
		}
		for b := range slices.Chunk(part.b, part.size) {
			second := binary.BigEndian.Uint16(b[16:])
			f := Fact{Device: connection.DeviceKey(b), Second: s.Bucket.first() + int64(second), Address: connection.AddressKey(binary.BigEndian.Uint32(b[18:])), Sign: part.sign}
			if second >= bucketSeconds {
				return nil, s.wrong(fmt.Errorf("%s: second %d of %d", part.name, second, bucketSeconds))
			}
			if part.size == failureSize {
				f.Record = binary.BigEndian.Uint64(b[connectSize+1:])
			}
			if part.sign == connection.Refused {
				n := int(b[connectSize])
				if n >= len(causes) {
					return nil, s.wrong(fmt.Errorf("%s: cause %d is not known to this version", part.name, n))
				}
				f.Cause = connection.Cause(causes[n])
			}
			facts = append(facts, f)
		}
	}
	return facts, nil
}

// Failures returns the expiries and the refused connections of the row with their
// records. It ends at the first error, which says that the row is not one that Pack made.
func (s Staged) Failures() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		facts, err := s.Facts()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		records := bufio.NewReader(flate.NewReader(bytes.NewReader(s.Records)))
		for _, f := range facts[len(s.Connects)/connectSize:] {
			n, err := binary.ReadUvarint(records)
			if err == nil && n > MostRecord {
				err = errors.New("a record that is too long")
			}
			var raw []byte
			if err == nil {
				raw = make([]byte, n)
				_, err = io.ReadFull(records, raw)
			}
			if err != nil {
				yield(Entry{}, s.wrong(fmt.Errorf("records: %w", err)))
				return
			}
			if !yield(Entry{f, raw}, nil) {
				return
			}
		}
	}
}

func (s Staged) wrong(err error) error {
	return fmt.Errorf("staged row %s of %s, %s: %w", s.Key, s.Hub, s.Bucket.Start().Format("2006-01-02T15:04Z"), err)
}

// itemSize is the length of a packed item: device, number of the cause, N, Seq.
const itemSize = 16 + 1 + 4 + 4

// PackItems returns the items of a verdict row as bytes, in the order of the items.
func PackItems(items map[Item]Version) []byte {
	b := make([]byte, 0, len(items)*itemSize)
	for _, i := range slices.SortedFunc(maps.Keys(items), Item.compare) {
		v := items[i]
		b = append(append(b, i.Device[:]...), i.Cause.number())
		b = binary.BigEndian.AppendUint32(b, uint32(v.N))   // #nosec G115 -- the records of ten minutes
		b = binary.BigEndian.AppendUint32(b, uint32(v.Seq)) // #nosec G115 -- one for each derivation
	}
	return b
}

// UnpackItems returns what PackItems packed. Its error says that b is something else.
func UnpackItems(b []byte) (map[Item]Version, error) {
	if len(b)%itemSize != 0 {
		return nil, fmt.Errorf("%d bytes, want %d for each item", len(b), itemSize)
	}
	items := map[Item]Version{}
	for b := range slices.Chunk(b, itemSize) {
		n := int(b[16])
		if n >= len(causes) {
			return nil, fmt.Errorf("cause %d is not known to this version", n)
		}
		items[Item{connection.DeviceKey(b), causes[n]}] = Version{int(binary.BigEndian.Uint32(b[17:])), int(binary.BigEndian.Uint32(b[21:]))}
	}
	return items, nil
}
