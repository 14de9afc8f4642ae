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

// AppendConnect appends the fact of a connection to b, as rows have it: that is all that is
// kept of it. Nearly all records are connections.
func AppendConnect(b []byte, second int64, device connection.DeviceKey, address connection.AddressKey) []byte {
	b = append(b, device[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(second-bucketOf(second).first())) // #nosec G115 -- below 600
	return binary.BigEndian.AppendUint32(b, uint32(address))
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

// Pack appends the rows that hold connections and failed ones of one place. The same ones in
// the same order give the same rows. connects is what AppendConnect appended; the rows keep no
// part of it. Pack puts the expiries among failures first. Raw of each has MostRecord bytes at
// most.
func Pack(rows []Staged, place Place, connects []byte, failures []Entry) []Staged {
	slices.SortStableFunc(failures, func(a, b Entry) int { return cmp.Compare(a.Sign, b.Sign) })
	for len(connects)+len(failures) > 0 {
		size := min(len(connects), mostPacked/connectSize*connectSize)
		n, m := size, 0
		for n == len(connects) && m < len(failures) {
			size += failureSize + binary.MaxVarintLen32 + len(failures[m].Raw)
			if n+m > 0 && size > mostPacked {
				break
			}
			m++
		}
		rows = append(rows, pack(place, connects[:n], failures[:m]))
		connects, failures = connects[n:], failures[m:]
	}
	return rows
}

// deflaters are writers to use again, since each has more than half a megabyte.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // an error would say that there is no such level
	return w
}}

// leastDeflated is from how many bytes on records are deflated. Fewer than that are stored
// as they are: to deflate the one failure of a hundred records takes as long as to read ten.
const leastDeflated = 2 << 10

// pack returns a row of what fits into one.
func pack(place Place, connects []byte, failures []Entry) Staged {
	// The facts, each kind behind how many bytes it has.
	const length = 8
	facts := make([]byte, 0, 3*length+len(connects)+len(failures)*failureSize)
	facts = append(binary.BigEndian.AppendUint64(facts, uint64(len(connects))), connects...)
	expiries := 0
	for expiries < len(failures) && failures[expiries].Sign == connection.Expiry {
		expiries++
	}
	row := Staged{Place: place, Connects: cut(facts, length, len(facts))}
	part := func(failures []Entry) []byte {
		facts = binary.BigEndian.AppendUint64(facts, uint64(len(failures)*failureSize))
		from := len(facts)
		for i := range failures {
			facts = failures[i].append(facts)
		}
		return cut(facts, from, len(facts))
	}
	row.Expiries, row.Refusals = part(failures[:expiries]), part(failures[expiries:])
	if len(failures) > 0 {
		row.Records = deflated(failures)
	}
	sum := sha256.Sum256(facts)
	row.Key = hex.EncodeToString(sum[:16])
	return row
}

// cut returns the bytes of b from one place to another: nil if there are none.
func cut(b []byte, from, to int) []byte {
	if from == to {
		return nil
	}
	return b[from:to:to]
}

// append appends the fact of a failed connection as a row has it.
func (f *Fact) append(b []byte) []byte {
	b = append(AppendConnect(b, f.Second, f.Device, f.Address), Cause(f.Cause).number())
	return binary.BigEndian.AppendUint64(b, f.Record)
}

// deflated returns the records of failed connections as a row has them, each behind its length.
func deflated(failures []Entry) []byte {
	size := 0
	for i := range failures {
		size += binary.MaxVarintLen32 + len(failures[i].Raw)
	}
	if size < leastDeflated {
		// One block that is stored, which is the last: its length, the complement of that, and
		// its bytes (RFC 1951, section 3.2.4).
		const header = 1 + 2 + 2
		b := make([]byte, header, header+size)
		for i := range failures {
			b = append(binary.AppendUvarint(b, uint64(len(failures[i].Raw))), failures[i].Raw...)
		}
		b[0] = 1
		n := uint16(len(b) - header) // #nosec G115 -- below leastDeflated
		binary.LittleEndian.PutUint16(b[1:], n)
		binary.LittleEndian.PutUint16(b[3:], ^n)
		return b
	}
	var b bytes.Buffer
	deflate := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(deflate)
	deflate.Reset(&b)
	var length []byte
	for i := range failures {
		// Writes into memory do not fail.
		length = binary.AppendUvarint(length[:0], uint64(len(failures[i].Raw)))
		_, _ = deflate.Write(length)
		_, _ = deflate.Write(failures[i].Raw)
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
