package verdict

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
)

// Three rules keep a derived row right, whatever is interleaved with whatever. Each is a
// line of the code below, and a test takes each away and sees wrong verdicts.
//
//	R1  What one row decides is decided by one conditional write. So the level and the
//	    numbers of versions are in the row of the items, and a write of the row is on
//	    condition of the ETag that was read.
//	R2  "Done" is said after it is done. So the marks are written after the rows, the
//	    acknowledgement after the marks, Published after the publication, and a mark is
//	    removed last.
//	R3  A derived row is read (with its ETag), then its sources, and then it is written on
//	    condition, always: also if it is right as it is. Otherwise an instance that read
//	    old sources and stalled could write its result after another one had derived from
//	    newer sources, had found the row right, and had removed the mark.

// Judge derives verdicts and publishes what is new in them. Several may run at once.
type Judge struct {
	Settings  Settings
	Store     Store
	Publisher Publisher
	// Clock is the clock of the log if it is behind, see Clock.Tick: what waits for its time
	// waits for that. Zero is the clock of the caller.
	Clock time.Time
}

// level returns the level of a bucket at a time by the clock of the caller.
func (j Judge) level(b Bucket, now time.Time) Level {
	if !j.Clock.IsZero() && j.Clock.Before(now) {
		now = j.Clock
	}
	return j.Settings.level(b, now)
}

// Pass is what became of one pass.
type Pass struct {
	Derived   int       // verdicts that were derived
	Published int       // notices that were published
	Oldest    time.Time // when the oldest mark was due that could not be removed; zero if there is none
}

// mostAttempts is how often a pass derives one verdict if others write it meanwhile.
// Then its mark stays for the next pass.
const mostAttempts = 4

// Run derives the verdict on each marked place whose time has come. now is the time by
// the clock of the caller, read before. A place whose verdict could not be derived or
// published keeps its mark, so the next pass does it. The error says why, of each.
func (j Judge) Run(ctx context.Context, now time.Time) (Pass, error) {
	var p Pass
	places := map[Place]time.Time{} // when the first mark was due
	for mark, err := range j.Store.Open(ctx) {
		if err != nil {
			return p, fmt.Errorf("marks: %w", err)
		}
		if mark.Level > j.level(mark.Bucket, now) {
			continue
		}
		due := j.Settings.since(mark)
		if first, ok := places[mark.Place]; !ok || due.Before(first) {
			places[mark.Place] = due
		}
	}
	var errs []error
	for _, place := range slices.SortedFunc(maps.Keys(places), Place.compare) {
		if err := j.place(ctx, place, j.level(place.Bucket, now), now, &p); err != nil {
			errs = append(errs, fmt.Errorf("verdict on %s, %s: %w", place.Hub, place.Bucket.Start().Format(time.RFC3339), err))
			if due := places[place]; p.Oldest.IsZero() || due.Before(p.Oldest) {
				p.Oldest = due
			}
		}
	}
	return p, errors.Join(errs...)
}

// compare orders places by time.
func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Bucket, q.Bucket), cmp.Compare(p.Hub, q.Hub))
}

// place derives the verdict on a place at a level, publishes what is new in it, and removes
// its marks of that level and below.
func (j Judge) place(ctx context.Context, place Place, level Level, now time.Time, p *Pass) error {
	var err error
	for range mostAttempts {
		var marks []Marked
		if marks, err = j.Store.Marked(ctx, place, level); err != nil || len(marks) == 0 {
			return err
		}
		if err = j.derive(ctx, place, level, now, p); errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		for _, mark := range marks {
			// A conflict says that somebody staged meanwhile: the mark is for the next pass.
			if err := j.Store.Unmark(ctx, mark); err != nil && !errors.Is(err, ErrConflict) {
				return err
			}
		}
		return nil
	}
	return err
}

// derive writes the verdict row of a place anew, and publishes its versions that are not
// published. Its error wraps ErrConflict if somebody else wrote the row.
func (j Judge) derive(ctx context.Context, place Place, level Level, now time.Time, p *Pass) error {
	old, etag, err := j.Store.Row(ctx, place) // R3: first the row
	if err != nil {
		return err
	}
	// A clock that is behind the one of the last derivation takes nothing back.
	level = max(level, old.Level)
	d, err := j.read(ctx, place, level) // R3: then its sources
	if err != nil {
		return err
	}
	// This is asked after the sources were read: what was read before the records were
	// dropped is all of it.
	partial, err := j.partial(ctx, place.Bucket, now)
	if err != nil {
		return err
	}
	row := old.next(d, partial)
	row.Place, row.Level = place, level
	if etag, err = j.Store.Put(ctx, row, etag); err != nil { // R3: always
		return err
	}
	p.Derived++
	if row.Published == row.Seq {
		return nil
	}
	notices, err := j.notices(ctx, row, d)
	if err != nil {
		return err
	}
	if err := j.Publisher.Publish(ctx, notices); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	p.Published += len(notices)
	row.Published = row.Seq // R2
	_, err = j.Store.Put(ctx, row, etag)
	return err
}

// partial reports whether some of the records that a verdict on b depends on were dropped.
func (j Judge) partial(ctx context.Context, b Bucket, now time.Time) (bool, error) {
	from, _ := j.Settings.near(b)
	if !Droppable(from, now) {
		return false, nil
	}
	const aDay = Bucket(24 * 3600 / bucketSeconds)
	to := j.Settings.far(b)
	for each := from; each < to+aDay; each += aDay { // one of each day from that of from to that of to
		if dropped, err := j.Store.Dropped(ctx, min(each, to)); err != nil || dropped {
			return dropped, err
		}
	}
	return false, nil
}

// next returns the row with the items of a verdict. An item whose number is another one
// gets a new version. An item that is gone stays with the number 0, so that it can be
// taken back where it was told. If the verdict is of some of the records alone, because
// the others were dropped, nothing is taken back, and numbers only grow: a record that
// came very late says nothing about those that were there before.
func (r Row) next(d derived, partial bool) Row {
	items := maps.Clone(r.Items)
	if items == nil {
		items = map[Item]Version{}
	}
	seq := r.Seq
	put := func(i Item, n int) {
		if partial {
			n = max(n, items[i].N)
		}
		if items[i].N != n {
			items[i], seq = Version{n, r.Seq + 1}, r.Seq+1
		}
	}
	for i := range items {
		put(i, d.items[i])
	}
	for i, n := range d.items {
		put(i, n)
	}
	if partial {
		d.renewed = max(d.renewed, r.Renewed)
		for cause, n := range r.Refused {
			d.refused[cause] = max(d.refused[cause], n)
		}
		if sum(d.unknown) < sum(r.Unknown) {
			d.unknown = r.Unknown
		}
	}
	r.Items, r.Seq, r.Renewed, r.Refused, r.Unknown = items, seq, d.renewed, d.refused, d.unknown
	return r
}

// read derives the verdict on a place from what is staged. It reads the buckets near it,
// and the later ones only for devices that have no sign of another session.
func (j Judge) read(ctx context.Context, place Place, level Level) (derived, error) {
	var parts [][]Fact // one for each row, so that what is large is copied once
	collect := func(from, to Bucket, of map[connection.DeviceKey]bool) error {
		for b := from; b <= to; b++ {
			for row, err := range j.Store.Staged(ctx, Place{place.Hub, b}, false) {
				if err != nil {
					return err
				}
				more, err := row.Facts()
				if err != nil {
					return err
				}
				needed := slices.DeleteFunc(more, func(f Fact) bool {
					// A refusal in another bucket says nothing, and a storm has very many.
					return of != nil && !of[f.Device] || f.Sign == connection.Refused && b != place.Bucket
				})
				if len(needed) < len(more) {
					needed = slices.Clone(needed) // and nothing keeps the others
				}
				parts = append(parts, needed)
			}
		}
		return nil
	}
	from, to := j.Settings.near(place.Bucket)
	if err := collect(from, to, nil); err != nil {
		return derived{}, err
	}
	d := j.Settings.derive(place.Bucket, slices.Concat(parts...), level)
	if level == Settled && len(d.missing) > 0 {
		if err := collect(to+1, j.Settings.far(place.Bucket), d.missing); err != nil {
			return derived{}, err
		}
		d = j.Settings.derive(place.Bucket, slices.Concat(parts...), level)
	}
	for i := range d.single {
		if i.Cause == Cause(connection.Unclassified) {
			var err error
			d.unknown, err = j.unknown(ctx, place)
			return d, err
		}
	}
	return d, nil
}

// unknown returns the sentences of a place that no rule knows. It reads the records, which
// read does not.
func (j Judge) unknown(ctx context.Context, place Place) (map[string]int, error) {
	var entries []Entry
	for row, err := range j.Store.Staged(ctx, place, true) {
		if err != nil {
			return nil, err
		}
		for e, err := range row.Failures() {
			if err != nil {
				return nil, err
			}
			if e.Cause != connection.Unclassified {
				e.Raw = nil // Nobody asks for its sentence, and a bucket can have very many.
			}
			entries = append(entries, e)
		}
	}
	return unknown(entries)
}

// What a notice carries has to fit into an event, which has 1 MiB at most.
const (
	mostRecords     = 5          // of a notice
	mostRecordBytes = MostRecord // of these records together, so one always fits
	mostDeviceBytes = 256 << 10  // of the devices of a notice, as JSON
	// mostNamed is about how many devices of a storm are looked at for their names: to read
	// the records of all would take half the time of a verdict.
	mostNamed = 20_000
)

// isNamed reports whether a device is one of those that are looked at for their names in a
// storm of n devices. It is all of mostNamed devices, and of more those with a small hash.
func isNamed(device connection.DeviceKey, n int) bool {
	if n <= mostNamed {
		return true
	}
	hash := sha256.Sum256(device[:])
	return binary.BigEndian.Uint64(hash[:]) <= math.MaxUint64/uint64(n)*mostNamed // #nosec G115 -- a number of devices
}

// notices returns the versions of a row that are not published, in the order of their
// items, with their records. d is the verdict of the row.
func (j Judge) notices(ctx context.Context, row Row, d derived) ([]Notice, error) {
	var items []Item
	for i, v := range row.Items {
		if v.Seq > row.Published {
			items = append(items, i)
		}
	}
	slices.SortFunc(items, Item.compare)
	records, devices := map[Item][]Entry{}, map[Item]map[string]bool{}
	add := func(i Item, e Entry) error {
		v, ok := row.Items[i]
		if !ok || v.Seq <= row.Published || i.Storm() && v.N > 0 && d.single[Item{e.Device, i.Cause}] == 0 {
			return nil
		}
		of := append(records[i], e)
		slices.SortFunc(of, func(a, b Entry) int { return a.compare(b.Fact) })
		of = slices.CompactFunc(of, func(a, b Entry) bool { return a.Record == b.Record })
		records[i] = of[:min(len(of), mostRecords)]
		if !i.Storm() || v.N == 0 {
			return nil
		}
		if !isNamed(e.Device, v.N) {
			return nil
		}
		r, err := connection.DecodeRecord(e.Raw)
		if err != nil {
			return err
		}
		if devices[i] == nil {
			devices[i] = map[string]bool{}
		}
		devices[i][r.Subject()] = true
		return nil
	}
	hub := ""
	for staged, err := range j.Store.Staged(ctx, row.Place, true) {
		if err != nil {
			return nil, err
		}
		if hub == "" || staged.HubID != "" && staged.HubID < hub { // in whatever order rows come
			hub = staged.HubID
		}
		for e, err := range staged.Failures() {
			if err != nil {
				return nil, err
			}
			causes := []Cause{Cause(e.Cause)}
			if e.Sign == connection.Expiry {
				causes = []Cause{Foreign, Missing}
			}
			for _, cause := range causes {
				if err := errors.Join(add(Item{e.Device, cause}, e), add(Item{Cause: cause}, e)); err != nil {
					return nil, err
				}
			}
		}
	}
	notices := make([]Notice, len(items))
	for n, i := range items {
		notice := Notice{Place: row.Place, Item: i, Version: row.Items[i], HubID: hub}
		size := 0
		for _, e := range records[i] {
			if size += len(e.Raw); size > mostRecordBytes {
				break
			}
			notice.Records = append(notice.Records, e.Raw)
		}
		size = 0
		for _, device := range slices.Sorted(maps.Keys(devices[i])) {
			quoted, _ := jsontext.AppendQuote(nil, device) // an error would say that characters were replaced
			if size += len(quoted) + 1; size > mostDeviceBytes {
				break
			}
			notice.Devices = append(notice.Devices, device)
		}
		notices[n] = notice
	}
	return notices, nil
}

// compare orders facts by their signs and times, and then in some way.
func (f Fact) compare(g Fact) int {
	if c := cmp.Or(cmp.Compare(f.Sign, g.Sign), cmp.Compare(f.Second, g.Second)); c != 0 {
		return c
	}
	if c := bytes.Compare(f.Device[:], g.Device[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(f.Address, g.Address), cmp.Compare(f.Cause, g.Cause), cmp.Compare(f.Record, g.Record))
}
