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
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/connection"
)

// Three rules keep a derived row right, whatever is interleaved with whatever. Tests of
// handlers/table hold each, on the functions that are deployed: TestAnyStallOfTheLog R1 and R3,
// TestAnyCrashOfTheLog R2. docs/design.md, "Rules, taken away", says which of them fail without
// which line.
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
	// Waiting says since when records of a place wait that the caller of Now had no time for.
	Waiting map[Place]time.Time

	relay bool // the pass is that of the relay, see held
	few   int  // in place of mostAtOnce, for tests; 0 is mostAtOnce, and -1 holds all back
	alone bool // one bucket is read after the other, for tests
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
	// Busy is how many verdicts others wrote each time that this pass wanted to. Their marks
	// stay, and that is not an error: the next pass derives them.
	Busy int
	// Again is from when on a pass says what this one has held back, see settling. It is zero
	// if nothing is held back.
	Again time.Time
}

// mostAtOnce is how many devices of a hub that are refused for one cause in ten minutes are
// told at once. If there are more and not yet a storm, they may be the beginning of one: of
// 5,000 devices that are refused at once, the first messages may hold twenty each, and each of
// these would be an alert that the storm takes back. So the relay leaves them to the timer,
// which comes within a minute. Ten is a handful for whoever is told, and more than a healthy
// hub has in ten minutes.
const mostAtOnce = 10

// settling is for how long the timer holds such devices back, from the pass on that saw them
// first, since it can come in the first second of a storm too. It waits no longer, and not at
// all if no refusal was staged for as long, so that each is told within a minute: what the relay
// saw is older than that at most timers, what it had no time for and a crash left behind too, and
// for the rest the caller of Run waits until Pass.Again.
const settling = 10 * time.Second

// readAtOnce is how many buckets of a hub a verdict reads at the same time. Each is a partition of
// its own, which gives so many rows a second
// (https://learn.microsoft.com/azure/storage/tables/scalability-targets). An answer of the table with
// a thousand rows has some MiB, and so many of them are in memory at once.
const readAtOnce = 4

// mostAttempts is how often a pass derives one verdict if others write it meanwhile.
// Then its mark stays for the next pass.
const mostAttempts = 4

// Run derives the verdict on each marked place whose time has come. now is the time by
// the clock of the caller, read before. A place whose verdict could not be derived or
// published, or of which something is held back, keeps its mark, so the next pass does it.
// The error says why, of each that is not held back and not Pass.Busy.
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
		err := j.place(ctx, place, j.level(place.Bucket, now), now, &p)
		switch {
		case err == nil:
			continue
		case errors.Is(err, ErrConflict):
			p.Busy++
		default:
			errs = append(errs, fmt.Errorf("verdict on %s, %s: %w", place.Hub, place.Bucket.Start().Format(time.RFC3339), err))
		}
		if due := places[place]; p.Oldest.IsZero() || due.Before(p.Oldest) {
			p.Oldest = due
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
		var held bool
		if held, err = j.derive(ctx, place, level, now, refused(marks), p); errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil || held { // R2: what is held back is not done, so its mark stays.
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

// refused returns when a refusal was staged last, by the marks of its place. It is zero if that is
// not known.
func refused(marks []Marked) time.Time {
	for _, mark := range marks {
		if mark.Level == Open {
			return mark.At
		}
	}
	return time.Time{}
}

// derive writes the verdict row of a place anew, and publishes its versions that are not
// published. It reports whether some of the verdict is held back, and is not in the row. last is
// when a refusal was staged last. Its error wraps ErrConflict if somebody else wrote the row.
func (j Judge) derive(ctx context.Context, place Place, level Level, now, last time.Time, p *Pass) (held bool, err error) {
	old, etag, err := j.Store.Row(ctx, place) // R3: first the row
	if err != nil {
		return false, err
	}
	// A clock that is behind the one of the last derivation takes nothing back.
	level = max(level, old.Level)
	d, err := j.read(ctx, place, level) // R3: then its sources
	if err != nil {
		return false, err
	}
	// This is asked after the sources were read: what was read before the records were
	// dropped is all of it.
	partial, err := j.partial(ctx, place.Bucket, now)
	if err != nil {
		return false, err
	}
	holds := j.held(old, d.items, now, last)
	row := old.next(d, partial, holds)
	row.Place, row.Level, row.Held = place, level, time.Time{}
	if held = len(holds) > 0; held {
		if row.Held = old.Held; row.Held.IsZero() {
			row.Held = now
			if since, waits := j.Waiting[place]; waits && since.Before(now) {
				row.Held = since
			}
		}
		if again := row.Held.Add(settling); p.Again.IsZero() || again.Before(p.Again) {
			p.Again = again
		}
	}
	if etag, err = j.Store.Put(ctx, row, etag); err != nil { // R3: always
		return false, err
	}
	p.Derived++
	if row.Published == row.Seq {
		return held, nil
	}
	if row.Reconnected.Seq > row.Published {
		// R2: the row is written, so who reads these marks reads it afterwards.
		if err := j.Store.Mark(ctx, place.later()); err != nil {
			return false, err
		}
	}
	notices, err := j.notices(ctx, row, d)
	if err != nil {
		return false, err
	}
	if len(notices) > 0 {
		if err := j.Publisher.Publish(ctx, notices); err != nil {
			return false, fmt.Errorf("publish: %w", err)
		}
	}
	p.Published += len(notices)
	row.Published = row.Seq // R2
	_, err = j.Store.Put(ctx, row, etag)
	return held, err
}

// held returns the causes that are held back: refusals of more than mostAtOnce devices that
// are not yet a storm, if some of it is new. The relay holds them back always, and
// the timer for as long as settling. As with a level that has not come, what is held back is
// left out of the row: the items of the cause stay as they are there. So it has no version,
// and nothing has to be taken back if it becomes a storm.
func (j Judge) held(old Row, items map[Item]int, now, last time.Time) map[Cause]bool {
	// A clock that is behind the one that saw it first says it at once.
	if age := now.Sub(old.Held); !j.relay && !old.Held.IsZero() && (age < 0 || age >= settling) {
		return nil
	}
	// A storm that began would have brought more since.
	if !j.relay && !last.IsZero() && now.Sub(last) >= settling {
		return nil
	}
	devices, held := map[Cause]int{}, map[Cause]bool{}
	for i, n := range items {
		// The ends of sessions are judged when their ten minutes are long over.
		if i.Storm() || i.Cause == Foreign || i.Cause == Missing || i.Cause.EventType() == "" {
			continue
		}
		devices[i.Cause]++
		held[i.Cause] = held[i.Cause] || n != old.Items[i].N
	}
	maps.DeleteFunc(held, func(c Cause, changed bool) bool { return !changed || devices[c] <= cmp.Or(j.few, mostAtOnce) })
	return held
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
// came very late says nothing about those that were there before. Items of a cause that is
// held back stay as they are.
func (r Row) next(d derived, partial bool, held map[Cause]bool) Row {
	items := maps.Clone(r.Items)
	if items == nil {
		items = map[Item]Version{}
	}
	seq := r.Seq
	put := func(i Item, n int) {
		if held[i.Cause] {
			return
		}
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
		d.renewed, d.elsewhere, d.weight = max(d.renewed, r.Renewed), max(d.elsewhere, r.Elsewhere), max(d.weight, r.Reconnected.N)
		for cause, n := range r.Refused {
			d.refused[cause] = max(d.refused[cause], n)
		}
		if sum(d.unknown) < sum(r.Unknown) {
			d.unknown = r.Unknown
		}
	}
	if r.Reconnected.N != d.weight {
		r.Reconnected, seq = Version{d.weight, r.Seq + 1}, r.Seq+1
	}
	r.Items, r.Seq, r.Renewed, r.Elsewhere, r.Refused, r.Unknown = items, seq, d.renewed, d.elsewhere, d.refused, d.unknown
	return r
}

// read derives the verdict on a place from what is staged. It reads the buckets near it,
// and the later ones only for devices that have no sign of another session: readAtOnce at the same
// time. What is read first does not matter (R3), and an error ends all of it.
func (j Judge) read(ctx context.Context, place Place, level Level) (derived, error) {
	var parts [][]Fact // one for each row, so that what is large is copied once
	collect := func(from, to Bucket, of map[connection.DeviceKey]bool) error {
		buckets := make([][][]Fact, to-from+1)
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(readAtOnce)
		for i := range buckets {
			read := func() (err error) {
				b := from + Bucket(i)
				buckets[i], err = j.facts(ctx, Place{place.Hub, b}, func(f Fact) bool {
					// A refusal in another bucket says nothing, and a storm has very many.
					return (of == nil || of[f.Device]) && (f.Sign != connection.Refused || b == place.Bucket)
				})
				return err
			}
			if !j.alone {
				group.Go(read)
			} else if err := read(); err != nil {
				return err
			}
		}
		err := group.Wait()
		parts = append(parts, slices.Concat(buckets...)...)
		return err
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
	if level >= Graced {
		if err := j.compare(ctx, place, &d); err != nil {
			return derived{}, err
		}
	}
	if len(d.unclassified) == 0 {
		return d, nil
	}
	parts = nil // The records of a storm take as much room again.
	var err error
	d.unknown, err = j.unknown(ctx, place, d.unclassified)
	return d, err
}

// facts returns those facts of a place that are needed, a part for each row.
func (j Judge) facts(ctx context.Context, place Place, isNeeded func(Fact) bool) (parts [][]Fact, err error) {
	for row, err := range j.Store.Staged(ctx, place, false) {
		if err != nil {
			return nil, err
		}
		all, err := row.Facts()
		if err != nil {
			return nil, err
		}
		needed := slices.DeleteFunc(all, func(f Fact) bool { return !isNeeded(f) })
		if len(needed) < len(all) {
			needed = slices.Clone(needed) // and nothing keeps the others
		}
		parts = append(parts, needed)
	}
	return parts, nil
}

// compare says whether the devices that reconnected are a surge, by the rows of the buckets
// before, if the log of the hub has all of them. When the number of a row changes, it marks the
// later verdicts that depend on it.
func (j Judge) compare(ctx context.Context, place Place, d *derived) error {
	if j.Settings.weighs(d.reconnected) {
		d.weight = d.reconnected
	}
	if j.Settings.Surge == 0 || d.reconnected < j.Settings.Surge {
		return nil
	}
	begin, etag, err := j.Store.Begin(ctx, place.Hub)
	if err != nil || etag == "" || !begin.precedes(place.Bucket) {
		return err
	}
	of, err := j.Store.Reconnected(ctx, place.Hub, place.Bucket-farthestEarlier, place.Bucket-1)
	if err == nil && j.Settings.surges(place.Bucket, d.reconnected, of) {
		d.items[Item{Cause: Reconnected}] = d.reconnected
	}
	return err
}

// later returns the marks of the verdicts that depend on what the row of a place says of
// devices that reconnected.
func (p Place) later() (marks []Mark) {
	for n := Bucket(1); n <= farthestEarlier; n++ {
		if n == 1 || n >= nearestEarlier {
			marks = append(marks, Mark{Place{p.Hub, p.Bucket + n}, Graced})
		}
	}
	return marks
}

// unknown returns the sentences of a place that no rule knows: those of the refusals in of, which
// it empties. It reads the records, which read does not, and keeps none of them: in a storm each
// device of a hub has one.
func (j Judge) unknown(ctx context.Context, place Place, of map[refusal]bool) (map[string]int, error) {
	s := sentences{left: of, counts: map[string]int{}}
	for row, err := range j.Store.Staged(ctx, place, true) {
		if err != nil {
			return nil, err
		}
		for e, err := range row.Failures() {
			if err == nil {
				err = s.add(e)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return bounded(s.counts), nil
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
		if len(of) > mostRecords {
			of[mostRecords-1] = of[len(of)-1] // the last one stays
			of = of[:mostRecords]
		}
		records[i] = of
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
		notice.Records = fitting(records[i])
		size := 0
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

// fitting returns the records of entries that fit into a notice: the first, the last if it
// fits beside it, and of the others as many as have room, in their order.
func fitting(entries []Entry) (records []jsontext.Value) {
	if len(entries) == 0 {
		return nil
	}
	room := mostRecordBytes - len(entries[0].Raw)
	between, last := entries[1:], []Entry(nil)
	if n := len(between); n > 0 && len(between[n-1].Raw) <= room {
		between, last = between[:n-1], between[n-1:]
		room -= len(last[0].Raw)
	}
	records = append(records, entries[0].Raw)
	for _, e := range between {
		if room -= len(e.Raw); room < 0 {
			break
		}
		records = append(records, e.Raw)
	}
	for _, e := range last {
		records = append(records, e.Raw)
	}
	return records
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
