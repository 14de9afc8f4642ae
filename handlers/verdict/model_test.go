package verdict

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/connection"
)

// world is a store, a topic and a detector as the tests of this package model them: rows with
// ETags, and reads of a range that see its rows one after the other. Workers are
// interleaved at every request, and requests go wrong. One seed gives one run.
//
// So these trials are of Judge and Stager alone, and of many settings, and a thousand of them take
// seconds. handlers/table has those of the functions that are deployed, with the tables, the relay
// and the detectors (log_model_test.go).
type world struct {
	r       *rand.Rand
	faults  float64 // probability of a fault at a request
	planned int     // the request at which the fault kind is made, if it is not 0
	kind    int
	now     time.Time
	speed   time.Duration // by how much the clock goes on at a request, at most

	requests int
	etag     int
	staged   map[Place]map[string]Staged
	marks    map[Mark]ETag
	rows     map[Place]stored
	begins   map[string]begun
	topic    []Notice // published, and not yet taken by a detector
	alerts   map[alerted]Version
	edits    int // writes of alerts, which are their common ETag
	wrong    []string
	dropped  bool // records of every day were dropped
	few      int  // Judge.few of the workers
	left     bool // the relay leaves each verdict to the timer

	workers []*worker
	prefer  []int // the order in which workers go on; nil is by chance
	stay    int   // for how many requests prefer stays, on average
}

type stored struct {
	Row
	etag ETag
}

type begun struct {
	Begin
	etag ETag
}

// alerted is an item of a bucket, as an alert counts it.
type alerted struct {
	Place
	Item
}

// crash ends a process in the middle of what it does.
type crash struct{}

var errUnknown = errors.New("no answer came")

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 5))
	return &world{
		r: r, faults: 0.03 + 0.01*r.Float64(), stay: []int{4, 12, 48}[r.IntN(3)],
		staged: map[Place]map[string]Staged{}, marks: map[Mark]ETag{}, rows: map[Place]stored{}, begins: map[string]begun{}, alerts: map[alerted]Version{},
	}
}

// worker is an instance of the app. A crash loses what it has in memory.
type worker struct {
	w      *world
	number int
	ahead  time.Duration // of its clock
	stager *Stager
	judge  Judge
	// next goes on with the task until its next request. It returns false if the task has ended.
	next  func() (struct{}, bool)
	pause func()
	ended func(error)
	err   error
}

func (w *world) addWorker(s Settings) {
	k := &worker{w: w, number: len(w.workers), ahead: time.Duration(w.r.Int64N(int64(skew)))}
	k.judge = Judge{Settings: s, Store: k, Publisher: k, few: w.few, alone: true}
	k.stager = &Stager{Settings: s, Store: k, Now: k.clock}
	w.workers = append(w.workers, k)
}

func (k *worker) clock() time.Time { return k.w.now.Add(k.ahead) }

// start begins a task. ended hears its error, which is errUnknown after a crash.
func (k *worker) start(task func() error, ended func(error)) {
	k.ended, k.err = ended, errUnknown
	k.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		k.pause = func() { yield(struct{}{}) }
		defer func() {
			if p := recover(); p != nil {
				if _, is := p.(crash); !is {
					panic(p)
				}
				k.stager = &Stager{Settings: k.stager.Settings, Store: k, Now: k.clock}
			}
		}()
		k.err = task()
	})
}

// run gives tasks to idle workers until there are none and all workers are idle.
func (w *world) run(task func(*worker) (do func() error, ended func(error))) {
	for {
		var busy []*worker
		for _, k := range w.workers {
			if k.next == nil {
				if do, ended := task(k); do != nil {
					k.start(do, ended)
				}
			}
			if k.next != nil {
				busy = append(busy, k)
			}
		}
		if len(busy) == 0 {
			return
		}
		if w.r.IntN(w.stay) == 0 {
			if w.prefer = w.r.Perm(len(w.workers)); w.r.IntN(2) == 0 {
				w.prefer = nil
			}
		}
		k := busy[w.r.IntN(len(busy))]
		if w.prefer != nil { // so that a worker can be held up for long
			k = slices.MinFunc(busy, func(a, b *worker) int { return w.prefer[a.number] - w.prefer[b.number] })
		}
		if w.speed > 0 && w.r.IntN(3) == 0 {
			w.now = w.now.Add(time.Duration(w.r.Int64N(int64(w.speed))))
		}
		if _, more := k.next(); !more {
			k.next = nil
			k.ended(k.err)
		}
	}
}

// request is where workers are interleaved, and where faults happen.
func (k *worker) request(do func() error) error {
	k.pause()
	w := k.w
	w.requests++
	kind := -1
	if w.planned > 0 && w.requests == w.planned {
		kind = w.kind
	} else if w.planned == 0 && w.r.Float64() < w.faults {
		kind = w.r.IntN(4)
	}
	switch kind {
	case 0:
		panic(crash{})
	case 1:
		_ = do()
		panic(crash{})
	case 2:
		_ = do()
		return errUnknown
	case 3:
		return errUnknown
	}
	return do()
}

func (w *world) version() ETag {
	w.etag++
	return ETag(fmt.Sprint(w.etag))
}

// Stage implements Store. Rows of one place are one transaction.
func (k *worker) Stage(_ context.Context, rows []Staged) error {
	places := map[Place][]Staged{}
	for _, row := range rows {
		places[row.Place] = append(places[row.Place], row)
	}
	for _, place := range slices.SortedFunc(maps.Keys(places), Place.compare) {
		if err := k.request(func() error {
			if k.w.staged[place] == nil {
				k.w.staged[place] = map[string]Staged{}
			}
			for _, row := range places[place] {
				k.w.staged[place][row.Key] = row
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Mark implements Store.
func (k *worker) Mark(_ context.Context, marks []Mark) error {
	for _, mark := range marks {
		if err := k.request(func() error {
			k.w.marks[mark] = k.w.version()
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// scan reads the keys of a range in order, some at a time: others write meanwhile.
func scan[K any](k *worker, keys func() []K, compare func(a, b K) int, each func(K)) error {
	var last *K
	for {
		more := true
		if err := k.request(func() error {
			rest := slices.SortedFunc(slices.Values(keys()), compare)
			for _, key := range rest {
				if last != nil && compare(key, *last) <= 0 {
					continue
				}
				each(key)
				last = &key
				if k.w.r.IntN(4) == 0 {
					return nil
				}
			}
			more = false
			return nil
		}); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

func compareMarks(a, b Mark) int {
	return cmp.Or(a.Place.compare(b.Place), cmp.Compare(a.Level, b.Level))
}

// Open implements Store.
func (k *worker) Open(context.Context) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		var all []Mark
		if err := scan(k, func() []Mark { return slices.Collect(maps.Keys(k.w.marks)) }, compareMarks, func(m Mark) { all = append(all, m) }); err != nil {
			yield(Mark{}, err)
			return
		}
		for _, mark := range all {
			if !yield(mark, nil) {
				return
			}
		}
	}
}

// Marked implements Store.
func (k *worker) Marked(_ context.Context, place Place, level Level) (marked []Marked, err error) {
	err = scan(k, func() (of []Mark) {
		for mark := range k.w.marks {
			if mark.Place == place && mark.Level <= level {
				of = append(of, mark)
			}
		}
		return of
	}, compareMarks, func(m Mark) { marked = append(marked, Marked{Mark: m, ETag: k.w.marks[m]}) })
	return marked, err
}

// Row implements Store.
func (k *worker) Row(_ context.Context, place Place) (row Row, etag ETag, err error) {
	err = k.request(func() error {
		row, etag = k.w.rows[place].Row, k.w.rows[place].etag
		return nil
	})
	return row, etag, err
}

// Staged implements Store.
func (k *worker) Dropped(context.Context, Bucket) (bool, error) { return k.w.dropped, nil }

func (k *worker) Staged(_ context.Context, place Place, records bool) iter.Seq2[Staged, error] {
	return func(yield func(Staged, error) bool) {
		var rows []Staged
		if err := scan(k, func() []string { return slices.Collect(maps.Keys(k.w.staged[place])) }, strings.Compare, func(key string) {
			row := k.w.staged[place][key]
			if !records {
				row.Records = nil
			}
			rows = append(rows, row)
		}); err != nil {
			yield(Staged{}, err)
			return
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Reconnected implements Store.
func (k *worker) Reconnected(_ context.Context, hub string, from, to Bucket) (all map[Bucket]int, err error) {
	all = map[Bucket]int{}
	err = scan(k, func() (of []Place) {
		for place := range k.w.rows {
			if place.Hub == hub && place.Bucket >= from && place.Bucket <= to {
				of = append(of, place)
			}
		}
		return of
	}, Place.compare, func(p Place) {
		if n := k.w.rows[p].Reconnected.N; n > 0 {
			all[p.Bucket] = n
		}
	})
	return all, err
}

// Begin implements Store.
func (k *worker) Begin(_ context.Context, hub string) (begin Begin, etag ETag, err error) {
	err = k.request(func() error {
		begin, etag = k.w.begins[hub].Begin, k.w.begins[hub].etag
		return nil
	})
	return begin, etag, err
}

// PutBegin implements Store.
func (k *worker) PutBegin(_ context.Context, begin Begin, etag ETag) error {
	return k.request(func() error {
		if k.w.begins[begin.Hub].etag != etag {
			return ErrConflict
		}
		k.w.begins[begin.Hub] = begun{begin, k.w.version()}
		return nil
	})
}

// Put implements Store.
func (k *worker) Put(_ context.Context, row Row, etag ETag) (made ETag, err error) {
	err = k.request(func() error {
		if k.w.rows[row.Place].etag != etag {
			return ErrConflict
		}
		made = k.w.version()
		row.Items, err = UnpackItems(PackItems(row.Items))
		k.w.rows[row.Place] = stored{row, made}
		return err
	})
	return made, err
}

// Unmark implements Store.
func (k *worker) Unmark(_ context.Context, mark Marked) error {
	return k.request(func() error {
		if k.w.marks[mark.Mark] != mark.ETag {
			return ErrConflict
		}
		delete(k.w.marks, mark.Mark)
		return nil
	})
}

// Publish implements Publisher. Each notice arrives once or twice.
func (k *worker) Publish(_ context.Context, notices []Notice) error {
	half := k.w.r.IntN(len(notices) + 1)
	for _, part := range [][]Notice{notices[:half], notices[half:]} {
		if err := k.request(func() error {
			for _, n := range part {
				k.w.check(n)
				k.w.topic = append(k.w.topic, slices.Repeat([]Notice{n}, 1+k.w.r.IntN(2))...)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// check notes what is wrong with a notice by itself.
func (w *world) check(n Notice) {
	if (len(n.Records) == 0) != (n.Cause == Reconnected) || len(n.Records) > mostRecords || n.Seq == 0 || !w.dropped && n.HubID != hubID {
		w.wrong = append(w.wrong, fmt.Sprintf("notice of %d records: %+v", len(n.Records), n.Item))
	}
	for _, raw := range n.Records {
		r, err := connection.DecodeRecord(raw)
		if err != nil || !n.Storm() && r.DeviceID != fmt.Sprint("dev-", n.Device[15]) || n.Storm() && n.N > 0 && !slices.Contains(n.Devices, r.Subject()) {
			w.wrong = append(w.wrong, fmt.Sprintf("a record of %s: %+v", r.DeviceID, n.Item))
		}
	}
	if want := map[bool]int{true: n.N}[n.Storm() && n.Cause != Reconnected]; len(n.Devices) != want || !slices.IsSorted(n.Devices) {
		w.wrong = append(w.wrong, fmt.Sprintf("devices %v of a notice with %d", n.Devices, n.N))
	}
}

// detect is the side of the alerts: of one item and bucket the highest version counts.
func (k *worker) detect(n Notice) error {
	item := alerted{n.Place, n.Item}
	for {
		var have Version
		var ok bool
		edits := 0
		if err := k.request(func() error { have, ok = k.w.alerts[item]; edits = k.w.edits; return nil }); err != nil {
			return err
		}
		if ok && have.Seq >= n.Seq {
			return nil
		}
		err := k.request(func() error {
			if k.w.edits != edits {
				return ErrConflict
			}
			k.w.edits++
			k.w.alerts[item] = n.Version
			return nil
		})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// delivery is a message of the event hub, which comes again until it is acknowledged.
type delivery struct{ entries []Entry }

// hubID is the resource id of the hub.
const hubID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"

// stage is what the relay does with a message: it stages, and judges refusals at once.
func (k *worker) stage(s Settings, d delivery) error {
	places := map[Place][]Entry{}
	marks := map[Mark]bool{}
	for _, e := range d.entries {
		place := Place{"contoso-hub", bucketOf(e.Second)}
		places[place] = append(places[place], e)
		s.Marks(marks, place.Hub, e.Sign, e.Second, e.Second)
	}
	var rows []Staged
	for _, place := range slices.SortedFunc(maps.Keys(places), Place.compare) {
		for _, row := range packed(place, places[place]) {
			row.HubID = hubID
			rows = append(rows, row)
		}
	}
	all := slices.SortedFunc(maps.Keys(marks), compareMarks)
	if err := k.stager.Stage(context.Background(), rows, all); err != nil {
		return err
	}
	var open []Place
	for _, mark := range all {
		if mark.Level == Open && !k.w.left && k.w.r.IntN(2) == 0 { // The relay pauses.
			open = append(open, mark.Place)
		}
	}
	_, _ = k.judge.Now(context.Background(), k.clock(), open) // What it could not judge is left to the timer.
	return nil
}

// pass is what the timer does.
func (k *worker) pass() error {
	_, err := k.judge.Run(context.Background(), k.clock())
	return err
}

// glance is what the timer does about one marked place.
func (k *worker) glance() error {
	now := k.clock()
	var places []Place
	for mark := range k.w.marks {
		if mark.Level <= k.judge.Settings.level(mark.Bucket, now) {
			places = append(places, mark.Place)
		}
	}
	if len(places) == 0 {
		return nil
	}
	slices.SortFunc(places, Place.compare)
	place := places[k.w.r.IntN(len(places))]
	return k.judge.place(context.Background(), place, k.judge.level(place.Bucket, now), now, &Pass{})
}

// entry returns a fact with a record.
func entry(f Fact) Entry {
	e := Entry{Fact: f}
	if f.Sign != connection.Connect {
		e.Raw = []byte(fmt.Sprintf(`{"time":%q,"category":"Connections","operationName":"deviceConnect","level":"Error","resultType":"401003","resultDescription":"The moon %d is in the way","properties":{"deviceId":"dev-%d","authType":"sas"},"n":%d}`, time.Unix(f.Second, 0).UTC().Format(time.RFC3339), f.Record%3, f.Device[15], f.Record))
	}
	return e
}

// flow delivers messages in any order, lets timers run in any instance at any time, and
// detectors take what is published. Then nothing more comes, and the timers go on
// until nothing is marked.
func (w *world) flow(s Settings, queue []delivery, passes int) {
	again := func(failed func()) func(error) {
		return func(err error) {
			if err != nil {
				failed()
			}
		}
	}
	detect := func(k *worker) (func() error, func(error)) {
		i := w.r.IntN(len(w.topic))
		n := w.topic[i]
		w.topic = slices.Delete(w.topic, i, i+1)
		return func() error { return k.detect(n) }, again(func() { w.topic = append(w.topic, n) })
	}
	w.run(func(k *worker) (func() error, func(error)) {
		switch choice := w.r.IntN(3); {
		case choice == 0 && len(w.topic) > 0:
			return detect(k)
		case choice == 1 && passes > 0:
			if passes--; passes%8 > 0 {
				return k.glance, func(error) {}
			}
			return k.pass, func(error) {}
		case len(queue) > 0:
			i := 0
			if w.r.IntN(2) == 0 {
				i = w.r.IntN(len(queue))
			}
			d := queue[i]
			queue = slices.Delete(queue, i, i+1)
			return func() error { return k.stage(s, d) }, again(func() { queue = append(queue, d) })
		}
		return nil, nil
	})
	w.now = w.now.Add(100 * time.Hour)
	for round := 0; len(w.marks)+len(w.topic) > 0 && round < 200; round++ {
		once := len(w.marks) > 0
		w.now = w.now.Add(settling) // nothing is held back for longer
		w.run(func(k *worker) (func() error, func(error)) {
			switch {
			case once:
				once = false
				return k.pass, func(error) {}
			case len(w.topic) > 0:
				return detect(k)
			}
			return nil, nil
		})
	}
}

// differs returns how what the alerts and the verdict rows say differs from the
// definition over the set of all records. It returns "" if it does not.
func (w *world) differs(s Settings, records []Fact) string {
	if len(w.wrong) > 0 {
		return strings.Join(w.wrong, "\n")
	}
	if len(w.marks) > 0 {
		return fmt.Sprintf("marks stay: %v", w.marks)
	}
	want, have := map[alerted]int{}, map[alerted]int{}
	buckets := map[Bucket]bool{}
	for _, f := range records {
		buckets[bucketOf(f.Second)] = true
	}
	for b := range buckets {
		place := Place{"contoso-hub", b}
		items, renewed, elsewhere := oracle(s, b, records, Settled)
		if n := surge(s, b, records); n > 0 {
			items[Item{Cause: Reconnected}] = n
		}
		for i, n := range items {
			want[alerted{place, i}] = n
		}
		if got := w.rows[place].Row; got.Renewed != renewed || got.Elsewhere != elsewhere {
			return fmt.Sprintf("bucket %d: %d renewed, %d elsewhere, want %d, %d", b, got.Renewed, got.Elsewhere, renewed, elsewhere)
		}
		refused, sentences, counted := map[connection.Cause]int{}, map[string]int{}, map[Fact]bool{}
		for _, f := range records {
			if f.Sign != connection.Refused || bucketOf(f.Second) != b || counted[f] {
				continue
			}
			counted[f] = true
			refused[f.Cause]++
			if f.Cause == connection.Unclassified {
				sentences[fmt.Sprintf("the moon %d is in the way", f.Record%3)]++
			}
		}
		if got := w.rows[place].Refused; !maps.Equal(got, refused) {
			return fmt.Sprintf("bucket %d: %v refused, want %v", b, got, refused)
		}
		if got := w.rows[place].Unknown; !maps.Equal(got, sentences) {
			return fmt.Sprintf("bucket %d: sentences %v, want %v", b, got, sentences)
		}
	}
	for item, v := range w.alerts {
		if v.N > 0 {
			have[item] = v.N
		}
	}
	if !maps.Equal(want, have) {
		return fmt.Sprintf("alerts\n%v, want\n%v", have, want)
	}
	return ""
}

// deliveries puts facts into messages of up to four, each delivered up to thrice.
func (w *world) deliveries(facts []Fact, most, repeat int) (queue []delivery) {
	for rest := facts; len(rest) > 0; {
		n := 1 + w.r.IntN(min(most, len(rest)))
		var d delivery
		for _, f := range rest[:n] {
			d.entries = append(d.entries, entry(f))
		}
		queue = append(queue, slices.Repeat([]delivery{d}, 1+w.r.IntN(repeat))...)
		rest = rest[n:]
	}
	return queue
}

// trial makes random records of one hub, lets everything happen to them, and compares.
func trial(seed uint64) (string, *world, int) {
	w := newWorld(seed)
	s := randomSettings(w.r)
	b := Bucket(100 + w.r.Int64N(5))
	facts := randomFacts(w.r, s, b)
	most, repeat := 4, 3
	w.now = b.Start().Add(time.Duration(w.r.Int64N(int64(3 * time.Hour))))
	w.speed = []time.Duration{time.Second, 20 * time.Second, 2 * time.Minute}[w.r.IntN(3)]
	if w.r.IntN(3) == 0 { // the clocks of the instances come to a level one after the other
		w.now = s.Due(b, []Level{Graced, Settled}[w.r.IntN(2)]).Add(-time.Duration(w.r.Int64N(int64(2 * skew))))
		w.speed = 2 * time.Second
	}
	switch w.r.IntN(6) {
	case 0, 1: // few records, each once: nothing repairs what a race breaks
		few := map[identity]bool{}
		facts = slices.DeleteFunc(facts, func(f Fact) bool {
			i := identity{f.Device, f.Second, f.Address, f.Record, f.Sign == connection.Connect}
			if few[i] || len(few) == 4 || f.Device != facts[0].Device {
				return true
			}
			few[i] = true
			return false
		})
		most, repeat = 1, 1
	case 2: // the verdict goes to and fro: each connection is from another network, and earlier
		s.SameNetwork = true
		facts = []Fact{{Device: device(1), Second: b.first() + 300, Address: 1, Sign: connection.Expiry, Record: 1}}
		for n := range 1 + w.r.Int64N(4) {
			facts = append(facts, Fact{Device: device(1), Second: b.first() + 299 - n + s.grace()/2, Address: connection.AddressKey(1 + n%2), Sign: connection.Connect})
		}
		most, repeat = 1, 1
	case 3: // devices reconnect, also in the buckets that a surge is compared with
		s.Surge = 1 + w.r.IntN(5)
		facts = reconnections(w.r, s, b)
		most, repeat = 1+w.r.IntN(3), 1
	case 4: // the log begins earlier than was known, again and again
		s.Surge = 1
		facts = []Fact{{Device: device(1), Second: b.first() + 300, Sign: connection.Connect}}
		for n := range 1 + w.r.IntN(3) {
			in := b - []Bucket{1, 8, 9, 10, 10, 11, 15}[w.r.IntN(7)]
			facts = append(facts, Fact{Device: device(2 + n), Second: in.first(), Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 1})
		}
		most, repeat = 1, 1
	}
	if most == 1 && w.r.IntN(2) == 0 { // all is judged from the beginning
		w.now = b.Start().Add(10 * time.Hour)
	}
	if w.r.IntN(2) == 0 {
		slices.SortStableFunc(facts, func(a, b Fact) int { return int(a.Second - b.Second) })
	}
	queue := w.deliveries(facts, most, repeat)
	n := len(queue)
	w.few = w.r.IntN(3) - 1 // all that is refused is held back, or nothing, or what two devices are
	for range 2 + w.r.IntN(2) {
		w.addWorker(s)
	}
	w.flow(s, queue, 40)
	return w.differs(s, facts), w, n
}

// reconnections are the connections of a few devices in bucket b and in buckets before, which
// it is compared with or not. Some renew a session after all. The log begins long before, or with
// one of them.
func reconnections(r *rand.Rand, s Settings, b Bucket) (facts []Fact) {
	for n := min(2, r.IntN(6)); n > 0; n-- {
		f := Fact{Device: device(9), Second: (b - []Bucket{10, 11, 13, 14, 19, 30}[r.IntN(6)]).first() + r.Int64N(bucketSeconds), Sign: connection.Connect}
		if r.IntN(3) > 0 {
			f.Sign, f.Cause, f.Record = connection.Refused, connection.TokenInvalid, 1
		}
		facts = append(facts, f)
	}
	for n := 3 + r.IntN(10); n > 0; n-- {
		in := b + []Bucket{0, 0, -1, -2, -3, -4, -9, -10}[r.IntN(8)]
		c := Fact{Device: device(1 + r.IntN(6)), Second: in.first() + r.Int64N(bucketSeconds), Address: 1, Sign: connection.Connect}
		if facts = append(facts, c); r.IntN(4) == 0 {
			facts = append(facts, Fact{Device: c.Device, Second: c.Second - r.Int64N(1+s.grace()), Address: 1, Sign: connection.Expiry, Record: r.Uint64N(4)})
		}
	}
	r.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	return facts
}

// TestAnyInterleaving lets several instances stage, judge, publish and detect the same
// records, with repeated deliveries, crashes and lost answers at three to four per
// cent of all requests. In the end, the alerts and verdict rows are those of the
// definition, and nothing is marked.
//
// HUBWATCH_TRIALS is how many trials to make; all differing ones are counted.
func TestAnyInterleaving(t *testing.T) {
	differ, requests, deliveries := 0, 0, 0
	surges, usual, begins := 0, 0, 0 // very many reconnect, and so many as before, or the log begins
	n := trials(t, 800)
	for seed := range uint64(n) {
		diff, w, of := trial(seed)
		requests, deliveries = requests+w.requests, deliveries+of
		for _, row := range w.rows {
			least := w.workers[0].judge.Settings.Surge
			switch told := row.Items[Item{Cause: Reconnected}].N; {
			case told > 0:
				surges++
			case least > 0 && row.Reconnected.N >= least && !w.begins[row.Hub].precedes(row.Bucket):
				begins++
			case least > 0 && row.Reconnected.N >= least:
				usual++
			}
		}
		if diff == "" {
			continue
		}
		if differ++; differ == 1 {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
	t.Logf("%d trials, %d deliveries, %d requests, %d surges, %d times as many as before, %d times when the log begins: %d differ", n, deliveries, requests, surges, usual, begins, differ)
	if n >= 100 && min(surges, usual, begins) < n/20 {
		t.Errorf("%d surges, %d times as many devices as before, %d times when the log begins: too few to say anything", surges, usual, begins)
	}
}

// TestEveryOrderOfDeliveries delivers six records in each of their 720 orders, each one
// to three times.
func TestEveryOrderOfDeliveries(t *testing.T) {
	s := Defaults()
	s.SameNetwork, s.Surge = true, 1
	n, differ := uint64(0), 0
	outcomes := map[string]int{}
	permute(sixRecords(), func(order []Fact) {
		n++
		w := newWorld(n)
		w.speed = 20 * time.Second
		w.now = Bucket(0).Start().Add(time.Duration(w.r.Int64N(int64(3 * time.Hour))))
		w.addWorker(s)
		w.addWorker(s)
		w.flow(s, w.deliveries(order, 1, 3), 20)
		if diff := w.differs(s, order); diff != "" {
			if differ++; differ == 1 {
				t.Errorf("order %d: %s", n, diff)
			}
		}
		outcome := ""
		for _, a := range slices.SortedFunc(maps.Keys(w.alerts), func(a, b alerted) int { return cmp.Or(a.Place.compare(b.Place), a.Item.compare(b.Item)) }) {
			if v := w.alerts[a]; v.N > 0 {
				outcome += fmt.Sprint(a.Bucket, " ", a.Cause, " ", v.N, ". ")
			}
		}
		outcomes[outcome]++
	})
	if n != 720 || differ > 0 || len(outcomes) != 1 {
		t.Errorf("%d orders, %d differ, outcomes %v", n, differ, outcomes)
	}
}

// TestAnyCrash makes one fault of each kind at each request of a run in which everything
// happens: sessions that are renewed, foreign and missing, refusals, a storm that
// comes to be and one that is taken back, and a surge that is none until a record shows that the
// log begins earlier. Without HUBWATCH_TRIALS every fifth of these
// faults is made, and with it all.
func TestAnyCrash(t *testing.T) {
	s := Defaults()
	s.SameNetwork, s.Storm, s.Surge = true, 3, 2
	facts := sixRecords()
	for d := range 4 {
		f := Fact{Device: device(2 + d), Second: 65, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: uint64(10 + d)}
		x := Fact{Device: device(2 + d), Second: 70 + int64(d), Sign: connection.Expiry, Record: uint64(20 + d)}
		facts = append(facts, f, x)
	}
	for d := range 2 {
		facts = append(facts, Fact{Device: device(7 + d), Second: 150, Sign: connection.Connect})
	}
	late := []Fact{{Device: device(2), Second: 100, Sign: connection.Connect}, {Device: device(3), Second: 100, Sign: connection.Connect}}
	refused := func(second int64) Fact {
		return Fact{Device: device(7), Second: second, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 1}
	}
	earlier, earliest := []Fact{refused(-4801)}, []Fact{refused(-5401)}
	runs, step := 0, step(5)
	for kind := range 4 {
		for planned := 1 + kind%step; ; planned += step {
			w := newWorld(1)
			w.planned, w.kind, w.few = planned, kind, planned%2-1 // all is held back, or nothing
			w.now = Bucket(0).Start()
			w.addWorker(s)
			for _, batch := range [][]Fact{facts[:8], facts[8:], late, earlier, earliest} {
				w.now = w.now.Add(5 * time.Hour)
				w.flow(s, w.deliveries(batch, 3, 1), 1)
				w.now = w.now.Add(-100 * time.Hour)
			}
			if diff := w.differs(s, slices.Concat(facts, late, earlier, earliest)); diff != "" {
				t.Fatalf("fault %d at request %d: %s", kind, planned, diff)
			}
			if w.alerts[alerted{Place{"contoso-hub", 0}, Item{Cause: Reconnected}}].N != 2 {
				t.Fatalf("%v: no surge, so this says little", w.alerts)
			}
			if runs++; w.requests < planned {
				break
			}
		}
	}
	t.Logf("%d faults", runs-4)
	if runs < 50 {
		t.Errorf("%d runs: too few requests to say anything", runs)
	}
}

// finish lets the task of k go on to its end, alone.
func (k *worker) finish() error {
	for more := true; more; {
		_, more = k.next()
	}
	k.next = nil
	return k.err
}

// TestAnyStall stalls an instance at each request of its pass, while a record arrives after
// which the verdict is what it was before the pass, and another instance judges it. In the
// end the verdict is the one on all records. This is what rule R3 is for.
//
// In other cases a record that comes late shows that the log begins earlier than was known, so that
// a connection is a surge after all.
func TestAnyStall(t *testing.T) {
	s := Defaults()
	s.SameNetwork, s.Surge = true, 1
	facts := []Fact{
		{Device: device(1), Second: 300, Address: 1, Sign: connection.Expiry, Record: 1},
		{Device: device(1), Second: 309, Address: 1, Sign: connection.Connect}, // renewed
		{Device: device(1), Second: 306, Address: 2, Sign: connection.Connect}, // foreign
		{Device: device(1), Second: 303, Address: 1, Sign: connection.Connect}, // renewed again
	}
	first := Fact{Device: device(1), Second: 300, Sign: connection.Connect}
	refused := func(second int64) Fact {
		return Fact{Device: device(2), Second: second, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 1}
	}
	before, longBefore := refused(-5400), refused(-5401)
	message := func(facts ...Fact) (d delivery) {
		for _, f := range facts {
			d.entries = append(d.entries, entry(f))
		}
		return d
	}
	type step struct {
		staged []Fact // one message, if there are any
		passes bool
	}
	for name, c := range map[string]struct{ before, stalled, other []step }{
		"a pass, while the verdict goes to and fro": {
			[]step{{facts[:2], true}, {facts[2:3], false}}, []step{{nil, true}}, []step{{facts[3:], true}}},
		"a pass, while the log begins earlier": {
			[]step{{[]Fact{first}, false}}, []step{{nil, true}}, []step{{[]Fact{longBefore}, true}}},
		"an earlier begin, while another one judges": {
			[]step{{[]Fact{first}, true}}, []step{{[]Fact{longBefore}, false}}, []step{{nil, true}}},
		"the first records, while others come": {
			nil, []step{{[]Fact{first}, false}}, []step{{[]Fact{longBefore}, true}}},
		"an earlier begin, while the log begins still earlier": {
			[]step{{[]Fact{first}, true}}, []step{{[]Fact{before}, true}}, []step{{[]Fact{longBefore}, true}}},
		"a still earlier begin, while the log begins earlier": {
			[]step{{[]Fact{first}, true}}, []step{{[]Fact{longBefore}, true}}, []step{{[]Fact{before}, true}}},
	} {
		stalls := 0
		for seed := range uint64(8) {
			for at, ended := 0, false; !ended; at++ {
				stalls++
				w := newWorld(seed)
				w.faults = 0
				w.now = Bucket(100).Start()
				w.addWorker(s)
				w.addWorker(s)
				a, b := w.workers[0], w.workers[1]
				do := func(k *worker, task func() error) {
					t.Helper()
					k.start(task, nil)
					if err := k.finish(); err != nil {
						t.Fatal(err)
					}
				}
				var staged []Fact
				all := func(k *worker, steps []step) func() error {
					return func() error {
						for _, of := range steps {
							if staged = append(staged, of.staged...); of.staged != nil {
								if err := k.stage(s, message(of.staged...)); err != nil {
									return err
								}
							}
							if of.passes {
								if err := k.pass(); err != nil {
									return err
								}
							}
						}
						return nil
					}
				}
				do(a, all(a, c.before))
				a.start(all(a, c.stalled), nil)
				for range at {
					if _, more := a.next(); !more {
						ended, a.next = true, nil
						break
					}
				}
				do(b, all(b, c.other))
				if !ended {
					if err := a.finish(); err != nil {
						t.Fatal(err)
					}
				}
				w.flow(s, nil, 0)
				if diff := w.differs(s, staged); diff != "" {
					t.Fatalf("%s, stalled at request %d: %s", name, at, diff)
				}
			}
		}
		if stalls < 50 {
			t.Errorf("%s, %d stalls: too few to say anything", name, stalls)
		}
	}
}
