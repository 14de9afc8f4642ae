package connection

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// Records returns the resource-log records in b, one by one and in order: the
// record, or what was lost and why. b is one message of Azure Monitor, an object
// with an array of records, or a file as Azure Monitor writes them to storage,
// one record a line
// (https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs#send-to-azure-event-hubs,
// https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs-blob-format).
// Arrays of records or of messages and any sequence of all these are taken too, as
// are members beside the array, which Azure Stream Analytics adds, blank lines, and
// a byte order mark. An object that has an array of records and a category is
// both a message and a record.
//
// Records takes every JSON object for a record. Anything else is lost, and no record
// is lost with it: Records goes on at the next record after a comma, or at the next
// line that begins with a record. A record is a part of b, not a copy. What was lost
// is a part of b too, or the whole of b if b ends too early.
func Records(b []byte) iter.Seq2[jsontext.Value, error] {
	return func(yield func(jsontext.Value, error) bool) {
		b := bytes.TrimPrefix(b, []byte("\uFEFF"))
		s := splitter{b: b, yield: yield, patience: 16*len(b) + 1<<16}
		for pos := s.space(0); pos < len(b) && !s.stopped; pos = s.space(pos) {
			switch b[pos] {
			case '{':
				pos = s.object(pos)
			case '[':
				pos, _ = s.array(pos+1, true)
			default:
				pos, _ = s.lose(pos, errors.New("want a JSON object or an array of them"), false)
			}
		}
	}
}

// Reader reads many messages, one after the other. The zero value is ready for use.
type Reader struct{ doc scan.Doc }

// Piece is a record, or what was lost in its place.
type Piece struct {
	Raw jsontext.Value // as Records returns it: a part of the message, or all of it
	// Scanned is Raw as it was scanned with the whole message, which saves whoever reads
	// Raw a pass over it. It is not there if the message has something unusual.
	Scanned scan.Value
}

// mostScanned is how many values a message has at most that is scanned as a whole. A
// message of 1 MB has some 60,000, and each takes 20 bytes of memory.
const mostScanned = 1 << 17

// mostPlaces is of how many values of a message a Reader keeps the memory. A hundred records
// have some 2,500 values.
const mostPlaces = 1 << 14

// Records is the function Records. It reads a message that is sound in one pass. Scanned is
// good until the Reader reads the next message.
func (r *Reader) Records(b []byte) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		records := r.scan(b)
		if records.Kind() != '[' {
			for raw, err := range Records(b) {
				if !yield(Piece{Raw: raw}, err) {
					return
				}
			}
			return
		}
		for v := records.First(); v != (scan.Value{}); v = v.Next() {
			if raw := v.Raw(); !yield(Piece{raw, v}, wantObject(raw)) {
				return
			}
		}
	}
}

// Forget lets go of the message that was read last, and of memory that few messages need.
func (r *Reader) Forget() { r.doc.Forget(mostPlaces) }

// scan returns the array of records of a message, or nothing if b is something else, or
// unusual.
func (r *Reader) scan(b []byte) scan.Value {
	if !r.doc.Scan(bytes.TrimPrefix(b, []byte("\uFEFF")), "", mostScanned) {
		return scan.Value{}
	}
	message := r.doc.Root()
	for _, name := range [...]string{"category", "Category"} { // then the message is a record as well
		if message.Get(name) != (scan.Value{}) {
			return scan.Value{}
		}
	}
	return message.Get("records")
}

// splitter reads b once. It reads only broken parts again.
type splitter struct {
	b       []byte
	yield   func(jsontext.Value, error) bool
	stopped bool // yield wants no more

	decoder jsontext.Decoder
	source  bytes.Buffer
	// patience is how many more bytes the splitter may read without finding a value.
	// It bounds the time for any b to linear time.
	patience int
}

// What a record may hold is for DecodeRecord to say.
var anyJSON = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// value returns the end of the JSON value at pos.
func (s *splitter) value(pos int) (end int, err error) {
	if pos >= len(s.b) {
		return pos, errors.New("ends too early")
	}
	if s.patience < 0 {
		return pos, errors.New("too much before this is broken")
	}
	s.source = *bytes.NewBuffer(s.b[pos:]) // which the decoder reads in place
	s.decoder.Reset(&s.source, anyJSON...)
	if _, err := s.decoder.ReadValue(); err != nil {
		s.patience -= 16
		if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			s.patience -= int(syntactic.ByteOffset)
		} else {
			s.patience -= len(s.b) - pos
		}
		return pos, err
	}
	return pos + int(s.decoder.InputOffset()), nil
}

// space returns the position of the first byte from pos on that is not JSON
// whitespace.
func (s *splitter) space(pos int) int {
	for pos < len(s.b) && isSpace(s.b[pos]) {
		pos++
	}
	return pos
}

func trimEnd(b []byte) []byte { return bytes.TrimRight(b, " \t\r\n") }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// is reports whether c stands at pos.
func (s *splitter) is(c byte, pos int) bool { return pos < len(s.b) && s.b[pos] == c }

// object yields the object at start if it is a record, and its records if it is a
// message. It returns the position after the object, or after what was lost of it.
func (s *splitter) object(start int) int {
	records := []byte(`"records"`)
	pos := s.space(start + 1)
	if !bytes.HasPrefix(s.b[pos:], records) {
		if end, err := s.value(start); err == nil && !bytes.Contains(s.b[start:end], records) {
			s.give(start, end)
			return end
		}
	}
	lost := start // where what is not given yet begins
	fail := func(err error) int { pos, _ := s.lose(lost, err, false); return pos }
	isMessage, isRecord := false, false
	var err error
	for first := true; !s.is('}', pos); first = false {
		if !first {
			if !s.is(',', pos) {
				return fail(s.unexpected(pos, "after a member"))
			}
			pos = s.space(pos + 1)
		}
		name := pos
		if !s.is('"', pos) {
			return fail(s.unexpected(pos, "instead of a member"))
		}
		if pos, err = s.value(pos); err != nil {
			return fail(err)
		}
		isRecords := bytes.Equal(s.b[name:pos], records)
		isRecord = isRecord || bytes.Equal(s.b[name:pos], []byte(`"category"`)) || bytes.Equal(s.b[name:pos], []byte(`"Category"`))
		if pos = s.space(pos); !s.is(':', pos) {
			return fail(s.unexpected(pos, "after the name of a member"))
		}
		switch pos = s.space(pos + 1); {
		case !isRecords:
			if pos, err = s.value(pos); err != nil {
				return fail(err)
			}
		case !s.is('[', pos):
			return fail(errors.New("records: want an array"))
		default:
			var ok bool
			if pos, ok = s.array(pos+1, false); !ok {
				return pos
			}
			isMessage = true
		}
		pos = s.space(pos)
		if isMessage {
			lost = pos
		}
	}
	if !isMessage || isRecord {
		s.give(start, pos+1)
	}
	return pos + 1
}

// array yields the records from pos to the end of their array. With messages, it
// yields the records of messages in the array as well. It returns the position after
// the array, and false if the end of the array was lost.
func (s *splitter) array(pos int, messages bool) (int, bool) {
	for !s.stopped {
		pos = s.space(pos)
		if s.is(']', pos) {
			return pos + 1, true
		}
		end, err := s.value(pos)
		if err == nil {
			if messages && s.is('{', pos) && bytes.Contains(s.b[pos:end], []byte(`"records"`)) {
				s.object(pos)
			} else {
				s.give(pos, end)
			}
			pos = s.space(end)
			if s.is(',', pos) {
				pos++
				continue
			}
			if s.is(']', pos) || s.is('{', pos) { // without a comma between them, two records are two records
				continue
			}
			err = s.unexpected(pos, "after a record")
		}
		var inside bool
		if pos, inside = s.lose(pos, err, true); !inside {
			return pos, false
		}
	}
	return len(s.b), false
}

func (s *splitter) unexpected(pos int, where string) error {
	if pos >= len(s.b) {
		return errors.New("ends too early")
	}
	return fmt.Errorf("%q %s", s.b[pos], where)
}

// give yields what stands from start to end.
func (s *splitter) give(start, end int) {
	record := jsontext.Value(s.b[start:end:end])
	s.tell(record, wantObject(record))
}

// wantObject returns an error if raw, which is JSON, is not a record.
func wantObject(raw jsontext.Value) error {
	if kind := raw.Kind(); kind != '{' {
		return fmt.Errorf("record: want a JSON object, have %v", kind)
	}
	return nil
}

func (s *splitter) tell(value jsontext.Value, err error) {
	if !s.stopped {
		s.stopped = !s.yield(value, err)
	}
}

// lose yields what is lost because of err. It returns the position at which the
// caller goes on: at a record after a comma if start is inside an array, and else at
// the beginning of a line. inside is true for a record after a comma.
func (s *splitter) lose(start int, err error, inArray bool) (pos int, inside bool) {
	before := byte(0) // the last byte before pos that is not whitespace
	newLine := false  // whether only whitespace stands between the beginning of the line and pos
	for pos = start; pos < len(s.b); pos++ {
		c := s.b[pos]
		if pos > start && (c == '{' || c == '[') {
			if inside = inArray && c == '{' && before == ',' && s.record(pos); inside {
				break
			}
			if newLine && (!inArray || before != ',' || bytes.HasPrefix(s.b[pos:], []byte(`{"records"`))) {
				break
			}
		}
		if !isSpace(c) {
			before, newLine = c, false
		} else if c == '\n' {
			newLine = true
		}
	}
	lost := trimEnd(s.b[start:pos])
	if inside && len(lost) > 1 {
		lost = trimEnd(lost[:len(lost)-1]) // without the comma
	}
	if len(lost) == 0 {
		lost = s.b
	}
	s.tell(lost, fmt.Errorf("record: %w", err))
	return pos, inside
}

// record reports whether a whole record stands at pos: an object with a member
// that records have, or rows of Log Analytics. A quotation mark inside a string is
// escaped, so no text that a client chose can look like one.
func (s *splitter) record(pos int) bool {
	end, err := s.value(pos)
	if err != nil {
		return false
	}
	has := func(name string) bool { return bytes.Contains(s.b[pos:end], []byte(name)) }
	return !has(`"records"`) && (has(`"category"`) || has(`"Category"`) || has(`"metricName"`))
}
