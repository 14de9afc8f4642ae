// Package relay reads resource logs: it packs the records of Azure Monitor into rows from
// which verdicts are derived (Stage). For messages that are judged again by hand it makes one
// CloudEvent of each failed connection (Relay). It is pure: the caller gives it the messages
// of an Event Hub, and keeps or judges what it returns.
package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/verdict"
)

// mostBytes is the largest event that Event Grid takes
// (https://learn.microsoft.com/azure/event-grid/quotas-limits). A larger one
// would fail its batch for ever.
const mostBytes = 1 << 20

// mostDepth is how many objects and arrays a record may have inside each other.
// Azure Monitor's have four at most. hubwatch's own reader of JSON ends at 10,000
// (github.com/go-json-experiment/json/jsontext), of which an event and what it stands in
// take some.
const mostDepth = 9_900

// mostPieces is how many unreadable pieces of one message are told one by one. A message
// can be nothing but pieces of one byte, and each costs a row of the quarantine.
const mostPieces = 8

// Result is what became of a batch of messages. Each record counts once: in
// Relayed, in PassedOver, in Repeated or in Unreadable.
type Result struct {
	Events  []jsontext.Value         // CloudEvents 1.0 in JSON, in the order of their records
	Relayed map[connection.Cause]int // events, by the cause that their record tells
	Read
}

// Read is what is told of a batch of messages, whatever becomes of its records.
type Read struct {
	PassedOver map[connection.Reason]int // records of no failed connection
	Repeated   int                       // records that are in the batch a second time
	Unreadable []Unreadable              // records of which nothing can be made, now or later
	// Unknown counts the sentences of the service in the failed connections that
	// connection.Rules does not know, so that somebody can add them: without secrets,
	// printable, and of bounded length. All beyond verdict.MostSentences different
	// ones count as verdict.OtherSentences.
	Unknown map[string]int
	// Heard is the time of the newest record of each hub, by the name of the hub in the
	// record, also of connections that succeeded.
	Heard map[string]time.Time
}

// Unreadable is a part of a message of which no event can be made: a record, or
// something in whose place there may have been one. If a message has too many of them,
// they are one Unreadable, which is the whole message.
type Unreadable struct {
	Message int    // the index of its message in the batch
	Raw     []byte // a part of the message, not a copy
	Records int    // how many of its records cannot be read
	Err     error  // what is wrong with the first of these
}

// Relay makes events of the failed connections in a batch of messages, each as
// Azure Monitor writes them to an Event Hub or to a file (see connection.Records).
//
// An event's id is a hash of its record, so the same record gives the same event in
// whatever message, batch or order it comes. Records have no id and their time is in
// whole seconds: two failures within a second that differ in nothing are one.
func Relay(messages [][]byte) Result {
	w := workers.Get().(*worker)
	r := w.relay(messages)
	w.end()
	return r
}

func (w *worker) relay(messages [][]byte) Result {
	w.begin()
	r := Result{Relayed: map[connection.Cause]int{}}
	for i, message := range messages {
		w.Unreadable = append(w.Unreadable, w.lost(i, message, func(p connection.Piece) error {
			ok, err := w.failure(p)
			if !ok {
				return err
			}
			f := &w.failed
			e := cloudEvent(f.id, f.Record, f.Subject(), f.raw)
			if len(e) > mostBytes {
				return fmt.Errorf("record: its event has %d bytes, and Event Grid takes %d", len(e), mostBytes)
			}
			w.take(f)
			r.Events = append(r.Events, e)
			r.Relayed[f.Cause]++
			return nil
		})...)
	}
	r.Read = w.Read
	return r
}

// worker reads a batch of messages. What it remembers of the messages before saves time, and
// changes nothing that it finds.
type worker struct {
	Read
	reader    connection.Reader
	decoder   connection.Decoder
	failed    failed                     // the record that was read last
	redactor  *secret.Redactor           // of the records that the decoder has read
	seen      map[[sha256.Size]byte]bool // records that were taken, by the hash of their content
	id        string                     // the last resource id that turned out to be a hub's
	hub       string                     // the name of that hub
	lower     string                     // the same in lower case
	newest    time.Time                  // of its records
	canonical []byte                     // the last record in canonical form
	address   string                     // the last address
	key       connection.AddressKey      // of that address
	places    groups                     // of a message that is staged
}

// workers are used again, since each has some memory, and has to see a record before it reads
// the next one faster. After a panic nobody ends its work, and so nobody uses it again.
var workers = sync.Pool{New: func() any {
	w := &worker{seen: map[[sha256.Size]byte]bool{}, places: groups{index: map[verdict.Place]int{}}}
	w.redactor = secret.NewRedactor(event.Named, w.decoder.Inside)
	return w
}}

// begin begins a batch.
func (w *worker) begin() {
	w.Read = Read{PassedOver: map[connection.Reason]int{}, Unknown: map[string]int{}, Heard: map[string]time.Time{}}
}

// Bounds of the memory that a worker keeps.
const (
	mostRecords  = 1_000    // failed connections
	mostBytesOf  = 64 << 10 // bytes of one thing
	mostOfPlaces = 4        // places of a message
)

// end lets others use the worker.
func (w *worker) end() {
	w.forget()
	workers.Put(w)
}

// forget lets go of the batch, and of memory that few batches need.
func (w *worker) forget() {
	w.Read, w.failed = Read{}, failed{}
	w.id, w.newest = "", time.Time{} // what is heard of a hub begins anew
	w.reader.Forget()
	w.decoder.Forget()
	w.redactor.Forget()
	w.places.forget()
	w.forgetSeen()
	if cap(w.canonical) > mostBytesOf {
		w.canonical = nil
	}
	if len(w.address) > mostBytesOf {
		w.address, w.key = "", 0
	}
}

// forgetSeen forgets which records were taken.
func (w *worker) forgetSeen() {
	if len(w.seen) > mostRecords {
		w.seen = map[[sha256.Size]byte]bool{} // to clear it would take that long each time
	}
	clear(w.seen)
}

// lost returns the parts of message i that are no records, or that the function
// refuses.
func (w *worker) lost(i int, message []byte, record func(connection.Piece) error) []Unreadable {
	var pieces []Unreadable
	n := 0
	for p, err := range w.reader.Records(message) {
		if err == nil {
			err = record(p)
		}
		if err == nil {
			continue
		}
		if n++; n <= mostPieces {
			pieces = append(pieces, Unreadable{i, p.Raw, 1, err})
		}
	}
	if n <= mostPieces {
		return pieces
	}
	return []Unreadable{{i, message, n, fmt.Errorf("%d records of a message cannot be read, the first: %w", n, pieces[0].Err)}}
}

// failed is a record of a failed connection.
type failed struct {
	connection.Record // good until the next one is read
	connection.Classification
	hub     string            // the name of its hub in lower case; "" if it names none
	id      [sha256.Size]byte // the hash of its content
	raw     jsontext.Value    // the record; characters that are not Unicode are replaced
	scanned scan.Value        // raw, if it was scanned
}

// failure reads a record into w.failed. ok is false if it is not of a failed connection, or
// was taken before; then id and raw say nothing. The error means that nothing will ever be
// made of the record.
func (w *worker) failure(p connection.Piece) (ok bool, err error) {
	f := &w.failed
	*f = failed{raw: p.Raw, scanned: p.Scanned}
	if f.Record, err = w.decode(p); err != nil {
		return false, err
	}
	f.Classification = connection.Classify(f.Record)
	if err = w.hear(&f.Record); err == nil {
		f.hub = w.lower
	}
	if f.PassedOver != "" {
		w.PassedOver[f.PassedOver]++
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := w.identify(f); err != nil {
		return false, fmt.Errorf("record: %w", err)
	}
	if w.seen[f.id] {
		w.Repeated++
		return false, nil
	}
	return true, nil
}

// identify finds the id of a record. It replaces the characters of the record that are not
// Unicode, which JSON has to be, as every reader does.
func (w *worker) identify(f *failed) error {
	var usual bool
	if w.canonical, usual = appendCanonical(w.canonical[:0], f.scanned); !usual {
		if n := depth(f.raw); n > mostDepth {
			return fmt.Errorf("%d objects and arrays inside each other, and at most %d are taken", n, mostDepth)
		}
		var err error
		if w.canonical, err = canonical(w.canonical, f.raw); err != nil {
			f.scanned = scan.Value{}
			if f.raw, err = jsontext.AppendFormat(nil, f.raw, jsontext.AllowInvalidUTF8(true)); err == nil {
				w.canonical, err = canonical(w.canonical, f.raw)
			}
			if err != nil {
				return err
			}
		}
	}
	f.id = sha256.Sum256(w.canonical)
	return nil
}

// decode reads a record in the way that is open.
func (w *worker) decode(p connection.Piece) (connection.Record, error) {
	if p.Scanned.Kind() == '{' {
		return w.decoder.DecodeScanned(p.Scanned)
	}
	return w.decoder.Decode(p.Raw)
}

// take notes that something was made of f.
func (w *worker) take(f *failed) {
	w.seen[f.id] = true
	if f.Unknown == "" {
		return
	}
	s := strings.Clone(verdict.Sentence(f.Record))
	if _, known := w.Unknown[s]; !known && len(w.Unknown) >= verdict.MostSentences {
		s = verdict.OtherSentences
	}
	w.Unknown[s]++
}

// addressKey is the AddressKey of r. It remembers the last one, since many devices have the same.
func (w *worker) addressKey(r *connection.Record) connection.AddressKey {
	if r.MaskedIPAddress != w.address {
		w.address, w.key = strings.Clone(r.MaskedIPAddress), r.AddressKey()
	}
	return w.key
}

// hear notes the hub of a record. Its error says that there is none.
func (w *worker) hear(r *connection.Record) error {
	if r.ResourceID == "" || r.ResourceID != w.id {
		id, err := r.Hub()
		if err != nil {
			return err
		}
		w.id, w.hub, w.lower = strings.Clone(r.ResourceID), strings.Clone(id.Name), strings.Clone(strings.ToLower(id.Name))
		w.newest = w.Heard[w.hub]
	}
	if r.Time.After(w.newest) {
		w.newest, w.Heard[w.hub] = r.Time, r.Time
	}
	return nil
}

// depth returns how many objects and arrays stand inside each other in raw, which
// is JSON.
func depth(raw []byte) (deepest int) {
	level, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// cloudEvent returns the event of a record
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
// Its data is the record as it came.
func cloudEvent(id [sha256.Size]byte, r connection.Record, subject string, raw jsontext.Value) jsontext.Value {
	const fixed = 320 // the members' names and the values of fixed length, rounded up
	b := make([]byte, 0, fixed+2*len(r.ResourceID)+2*len(subject)+len(raw))
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, `","type":"`+connection.Failed+`","source":`...)
	b = quote(b, r.ResourceID)
	b = append(b, `,"subject":`...)
	b = quote(b, subject)
	b = append(b, `,"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"application/json","data":`...)
	b = append(b, raw...)
	return append(b, '}')
}

// quote appends s as a JSON string. An error would say that characters of s that
// are not Unicode were replaced.
func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
