package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
)

// Wanted says which records are forwarded: of each log category, as event.LogCategories
// spells it, those of these operations, in lower case. nil in place of operations means
// all, also records without one.
type Wanted map[string]map[string]bool

// Forwarded is what is forwarded of a batch of messages. Each record that is wanted counts
// once: in Records, in Repeated or in Unreadable.
type Forwarded struct {
	// Events are CloudEvents 1.0 in JSON of the types that event.LogType gives, without
	// credentials: one for each hub and category, or several if they are large.
	Events     []jsontext.Value
	Records    map[string]int // records in Events, by category
	Repeated   int            // records that are in the batch a second time
	Unreadable []Unreadable   // records that are wanted, and of which no event can be made, now or later
	// Heard is the time of the newest record of each hub, by category and by the name of the
	// hub in the record, also of operations that are not wanted. It is not told of Connections,
	// of which Stage tells.
	Heard map[string]map[string]time.Time
}

const (
	// mostPacked is how many bytes an event has at most that holds several records. Event
	// Grid bills an event for each 64 KB that it has begun
	// (https://azure.microsoft.com/pricing/details/event-grid/), so larger events cost no
	// less. A function gets all records of an event at once, and must be done in time.
	mostPacked = 64_000
	// mostSent is how many bytes an event has at most, as it is sent. handlers/topic puts
	// 1,000,000 into a request, and its library writes the envelope in its own way.
	mostSent = 990_000
)

// Forward makes events of the records in a batch of messages that are wanted, in the order
// of the records. It does not tell of what is no record, as Stage does of the same
// messages.
//
// The ID of a record in an event is a hash of the record as it came. So the same record has
// the same ID in whatever message, batch, order or event it comes. Records have no id and
// their time is in whole seconds: two within a second that differ in nothing are one.
func Forward(messages [][]byte, want Wanted) Forwarded {
	if len(want) == 0 {
		return Forwarded{}
	}
	f := forwarder{want: want, seen: map[[sha256.Size]byte]bool{}, open: map[place]*packed{}, Forwarded: Forwarded{Records: map[string]int{}, Heard: map[string]map[string]time.Time{}}}
	for i, message := range messages {
		var pieces []Unreadable
		for raw, err := range connection.Records(message) {
			if err != nil {
				continue
			}
			if err := f.record(raw); err != nil {
				pieces = append(pieces, Unreadable{i, raw, 1, err})
			}
		}
		if len(pieces) > mostPieces {
			pieces = []Unreadable{together(pieces)}
		}
		f.Unreadable = append(f.Unreadable, pieces...)
	}
	for _, p := range f.order {
		f.close(p)
	}
	return f.Forwarded
}

// together makes one of many pieces of a message: a message of these alone. Whoever judges it
// again does not judge the records that were forwarded.
func together(pieces []Unreadable) Unreadable {
	b := []byte(`{"records":[`)
	for i, p := range pieces {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p.Raw...)
	}
	first := pieces[0]
	return Unreadable{first.Message, append(b, `]}`...), len(pieces), fmt.Errorf("%d records of a message cannot be forwarded, the first: %w", len(pieces), first.Err)}
}

// forwarder forwards a batch of messages.
type forwarder struct {
	Forwarded
	want      Wanted
	reader    event.LogReader
	seen      map[[sha256.Size]byte]bool // records that were taken, by the hash of their content
	open      map[place]*packed
	order     []*packed // those in open, in the order of their first records
	canonical []byte    // the last record in canonical form
}

// place is what all records of an event have in common.
type place struct {
	hub      string // the resource id, in lower case
	category string
}

// packed is an event that is being made.
type packed struct {
	category, source string
	records          []byte    // the elements of the array
	ids              hash.Hash // of the records
	newest           time.Time
	sent             int // how many bytes the event has as it is sent
}

// record takes a record if it is wanted. Its error means that no event will ever be made of
// the record.
func (f *forwarder) record(raw jsontext.Value) error {
	l, err := f.reader.Read(raw)
	if err != nil {
		return nil // Stage tells of it. A metric is of no category.
	}
	category, known, ok := f.want.category(l)
	if known && category != connection.Category {
		f.hear(l, category)
	}
	if !ok {
		return nil
	}
	at, err := l.Time()
	if err != nil {
		return err
	}
	hub, err := l.Hub()
	if err != nil {
		return err
	}
	if n := depth(raw); n > mostDepth {
		return fmt.Errorf("record: %d objects and arrays inside each other, and at most %d are taken", n, mostDepth)
	}
	if f.canonical, err = canonical(f.canonical, raw); err != nil {
		// Some characters are not Unicode, which JSON has to be. They are replaced, as
		// every reader does.
		if raw, err = jsontext.AppendFormat(nil, raw, jsontext.AllowInvalidUTF8(true)); err == nil {
			f.canonical, err = canonical(f.canonical, raw)
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	id := sha256.Sum256(f.canonical)
	if f.seen[id] {
		f.Repeated++
		return nil
	}
	source := hub.Resource()
	if err := f.pack(place{strings.ToLower(source), category}, source, id, at, secret.Document(raw, event.Named)); err != nil {
		return err
	}
	f.seen[id] = true
	f.Records[category]++
	return nil
}

// hear notes the hub of a record. What cannot be read is not heard.
func (f *forwarder) hear(l event.Log, category string) {
	at, err := l.Time()
	hub := event.HubOf(l.ResourceID)
	if err != nil || hub == "" {
		return
	}
	hubs := f.Heard[category]
	if hubs == nil {
		hubs = map[string]time.Time{}
		f.Heard[category] = hubs
	}
	if newest, ok := hubs[hub]; !ok {
		hubs[strings.Clone(hub)] = at
	} else if at.After(newest) {
		hubs[hub] = at
	}
}

// category returns the category of a record, as event.LogCategories spells it, whether any
// records of it are wanted, and whether this one is.
func (w Wanted) category(l event.Log) (category string, known, ok bool) {
	category = l.Category
	operations, known := w[category]
	for each := range w {
		if known {
			break
		}
		if strings.EqualFold(each, category) {
			category, operations, known = each, w[each], true
		}
	}
	return category, known, known && (operations == nil || operations[strings.ToLower(l.Operation)])
}

// pack puts a record into the event of its place, and closes the one before if the record
// has no room there.
func (f *forwarder) pack(at place, source string, id [sha256.Size]byte, when time.Time, raw []byte) error {
	const element = len(`{"id":"","record":},`) + 2*sha256.Size
	size := element + sentSize(raw)
	p := f.open[at]
	if p == nil {
		p = &packed{category: at.category, source: source}
		f.open[at], f.order = p, append(f.order, p)
	}
	if p.ids != nil && p.sent+size > mostPacked {
		f.close(p)
	}
	if p.ids == nil {
		p.ids, p.sent = sha256.New(), sentSize(p.event("", nil))
	}
	if p.sent+size > mostSent {
		return fmt.Errorf("record: its event has %d bytes, and Event Grid takes %d", p.sent+size, mostSent)
	}
	if len(p.records) > 0 {
		p.records = append(p.records, ',')
	}
	p.records = append(p.records, `{"id":"`...)
	p.records = hex.AppendEncode(p.records, id[:])
	p.records = append(p.records, `","record":`...)
	p.records = append(p.records, raw...)
	p.records = append(p.records, '}')
	p.ids.Write(id[:])
	p.sent += size
	if when.After(p.newest) {
		p.newest = when
	}
	return nil
}

// close adds the event to those that are done. An event without records is none.
func (f *forwarder) close(p *packed) {
	if len(p.records) > 0 {
		f.Events = append(f.Events, p.event(hex.EncodeToString(p.ids.Sum(nil)), p.records))
	}
	*p = packed{category: p.category, source: p.source}
}

// event returns the event of records
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
// Its id is a hash of the ids of its records, and its time is that of the newest.
func (p *packed) event(id string, records []byte) jsontext.Value {
	b := append([]byte(nil), `{"specversion":"1.0","id":"`+id+`","type":"`+event.LogType(p.category)+`","source":`...)
	b = quote(b, p.source)
	b = append(b, `,"subject":"logs/`+p.category+`","time":"`...)
	b = p.newest.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"application/json","data":{"records":[`...)
	b = append(b, records...)
	return append(b, `]}}`...)
}

// sentSize returns how many bytes of a request raw has: the library writes some characters
// with escapes (encoding/json, HTMLEscape).
func sentSize(raw []byte) int {
	const escape = len(`\u003c`)
	n := len(raw)
	for _, c := range []byte("<>&") {
		n += (escape - 1) * bytes.Count(raw, []byte{c})
	}
	for _, s := range []string{"\u2028", "\u2029"} {
		n += (escape - len(s)) * bytes.Count(raw, []byte(s))
	}
	return n
}
