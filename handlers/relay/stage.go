package relay

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/verdict"
)

// newest is how far ahead of now the time of a record may be. A record of the far future
// would have rows that nobody drops.
const newest = 24 * time.Hour

// mostID is how many bytes the resource id of a hub has at most that is kept. Those of Azure
// have some 200.
const mostID = 4 << 10

// Staging is what verdicts are derived from, of a batch of messages. Each record counts
// once: in Expiries, in Refused, in PassedOver, in Repeated or in Unreadable. Records of
// connections are staged, and count as passed over.
type Staging struct {
	Rows     []verdict.Staged         // without credentials
	Marks    []verdict.Mark           // the verdicts that the rows may change, to be written after the rows
	Expiries int                      // sessions that ended because their token had expired
	Refused  map[connection.Cause]int // all other failed connections, by their cause
	// Untimely counts the connections that are not staged, since they are more than a day
	// ahead of now, or before 1970. Failed ones of such a time are unreadable.
	Untimely int
	Read
}

// Stage packs the records in a batch of messages, each as Azure Monitor writes them to
// an Event Hub: one row for each message, hub and ten minutes, or several if they are
// large. The same message gives the same rows, in whatever batch it comes and
// whenever. now bounds the times of records.
func Stage(messages [][]byte, settings verdict.Settings, now time.Time) Staging {
	w := workers.Get().(*worker)
	s := w.stage(messages, settings, now)
	w.end()
	return s
}

func (w *worker) stage(messages [][]byte, settings verdict.Settings, now time.Time) Staging {
	w.begin()
	s := Staging{Rows: make([]verdict.Staged, 0, len(messages)), Refused: map[connection.Cause]int{}} // most messages are one row
	soon := now.Add(newest).Unix()
	touched := map[verdict.Place]*spans{}
	places := &w.places
	for i, message := range messages {
		places.reset()
		w.forgetSeen() // so that a row does not depend on the other messages of the batch
		w.Unreadable = append(w.Unreadable, w.lost(i, message, func(p connection.Piece) error {
			failure, err := w.failure(p)
			f := &w.failed
			connected := err == nil && !failure && f.PassedOver == connection.Connected && f.hub != "" && f.DeviceID != ""
			if !failure && !connected {
				return err
			}
			second := f.Time.Unix()
			switch untimely := second < 0 || second > soon; {
			case untimely && connected:
				s.Untimely++
				return nil
			case untimely:
				return fmt.Errorf("record: time %s: want one of the past, or of the next day", f.Time.Format(time.RFC3339))
			}
			sign := connection.Connect
			var e verdict.Entry
			if failure {
				if e, err = s.entry(w, f); err != nil {
					return err
				}
				sign = e.Sign
				w.take(f)
			}
			g := places.of(verdict.Place{Hub: f.hub, Bucket: verdict.BucketOf(f.Time)})
			if failure {
				g.failures = append(g.failures, e)
			} else {
				g.connects = verdict.AppendConnect(g.connects, second, f.DeviceKey(), w.addressKey(&f.Record))
			}
			if g.hubID == "" && len(f.ResourceID) <= mostID {
				g.hubID = w.id // a name, which is never searched
			}
			g.spans[sign].add(span{second, second, true})
			return nil
		})...)
		for _, g := range places.sorted() {
			if touched[g.place] == nil {
				touched[g.place] = &spans{}
			}
			touched[g.place].add(g.spans)
			before := len(s.Rows)
			s.Rows = verdict.Pack(s.Rows, g.place, g.connects, g.failures)
			for i := before; i < len(s.Rows); i++ {
				s.Rows[i].HubID = g.hubID
			}
		}
	}
	marks := map[verdict.Mark]bool{}
	for place, of := range touched {
		of.mark(settings, place.Hub, marks)
	}
	s.Marks = slices.AppendSeq(make([]verdict.Mark, 0, len(marks)), maps.Keys(marks))
	slices.SortFunc(s.Marks, func(a, b verdict.Mark) int {
		return cmp.Or(comparePlaces(a.Place, b.Place), cmp.Compare(a.Level, b.Level))
	})
	s.Read = w.Read
	return s
}

// group is what a message has for a place.
type group struct {
	place    verdict.Place
	hubID    string
	connects []byte // as verdict.AppendConnect appends them
	failures []verdict.Entry
	spans    spans // of both
}

// spans are the spans of the records of a place, by their signs.
type spans [connection.Refused + 1]span

func (s *spans) add(of spans) {
	for sign := range s {
		s[sign].add(of[sign])
	}
}

// span has the first and the last second of some records.
type span struct {
	first, last int64
	any         bool
}

func (s *span) add(of span) {
	switch {
	case !s.any:
		*s = of
	case of.any:
		s.first, s.last = min(s.first, of.first), max(s.last, of.last)
	}
}

// mark adds the marks of the verdicts that the records may change.
func (s *spans) mark(settings verdict.Settings, hub string, marks map[verdict.Mark]bool) {
	for sign, s := range s {
		if s.any {
			settings.Marks(marks, hub, connection.Sign(sign), s.first, s.last)
		}
	}
}

// groups are the groups of a message. Nearly all messages have one.
type groups struct {
	list  []group
	index map[verdict.Place]int
	last  int // the group that was asked for last
}

// reset begins another message, with the memory of the one before.
func (s *groups) reset() {
	s.list = s.list[:0]
	clear(s.index)
	s.last = 0
}

// forget lets go of the message, and of memory that few messages need.
func (s *groups) forget() {
	s.reset()
	s.list = s.list[:cap(s.list)]
	if len(s.list) > mostOfPlaces {
		s.list, s.index = nil, map[verdict.Place]int{}
	}
	for i := range s.list {
		g := &s.list[i]
		clear(g.failures[:cap(g.failures)])
		if cap(g.connects) > mostBytesOf {
			g.connects = nil
		}
		if cap(g.failures) > mostRecords {
			g.failures = nil
		}
		*g = group{connects: g.connects[:0], failures: g.failures[:0]}
	}
	s.list = s.list[:0]
}

// of returns the group of a place, which is good until the next is asked for.
func (s *groups) of(place verdict.Place) *group {
	if s.last < len(s.list) && s.list[s.last].place == place {
		return &s.list[s.last]
	}
	i, ok := s.index[place]
	if !ok {
		i = len(s.list)
		s.index[place] = i
		s.list = slices.Grow(s.list, 1)[:i+1]
		s.list[i] = group{place: place, connects: s.list[i].connects[:0], failures: s.list[i].failures[:0]}
	}
	s.last = i
	return &s.list[i]
}

// sorted returns the groups in the order of their places.
func (s *groups) sorted() []group {
	slices.SortFunc(s.list, func(a, b group) int { return comparePlaces(a.place, b.place) })
	return s.list
}

func comparePlaces(a, b verdict.Place) int {
	return cmp.Or(strings.Compare(a.Hub, b.Hub), cmp.Compare(a.Bucket, b.Bucket))
}

// redacted returns the record that was read last without the credentials in it.
func (w *worker) redacted(f *failed) []byte {
	if f.scanned.Kind() == '{' {
		return w.redactor.Document(f.scanned)
	}
	return secret.Document(f.raw, event.Named)
}

// entry returns what is staged of a failed connection. The error means that nothing will
// ever be made of the record.
func (s *Staging) entry(w *worker, f *failed) (e verdict.Entry, err error) {
	e.Fact = verdict.Fact{Device: f.DeviceKey(), Second: f.Time.Unix(), Address: w.addressKey(&f.Record), Sign: f.Sign(f.Classification)}
	e.Record = binary.BigEndian.Uint64(f.id[:])
	e.Raw = w.redacted(f)
	if len(e.Raw) > verdict.MostRecord {
		return e, fmt.Errorf("record: %d bytes, and at most %d are taken", len(e.Raw), verdict.MostRecord)
	}
	if !bytes.Equal(e.Raw, f.raw) {
		// Whoever reads the record later sees what is kept, so that decides.
		if f.Record, err = connection.DecodeRecord(e.Raw); err != nil {
			return e, err
		}
		if f.Classification = connection.Classify(f.Record); f.PassedOver != "" {
			return e, errors.New("record: it tells of a failed connection only together with its credentials, which are not kept")
		}
		e.Sign = f.Sign(f.Classification)
	}
	if e.Sign == connection.Expiry {
		s.Expiries++
		return e, nil
	}
	e.Cause = f.Cause
	s.Refused[f.Cause]++
	return e, nil
}
