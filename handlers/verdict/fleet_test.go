package verdict

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"hubwatch/handlers/connection"
)

// memory is a store that counts what a table service would bill: a request for each
// transaction, for each page of a thousand rows, and for each row that is read or written
// alone.
type memory struct {
	reading  sync.Mutex // of Staged alone, which is called for several places at the same time
	requests int
	etag     int
	staged   map[Place]map[string]Staged
	marks    map[Mark]ETag
	rows     map[Place]stored
	begins   map[string]begun
	told     map[alerted]Version
	notices  int
	progresses
	entities map[string]int // that were read or written in this minute, by partition
	busiest  int            // the most of these of a partition and minute
}

// touch counts entities of a partition.
func (m *memory) touch(partition string, n int) {
	if m.entities == nil {
		m.entities = map[string]int{}
	}
	m.entities[partition] += n
	m.busiest = max(m.busiest, m.entities[partition])
}

func (m *memory) Progress(ctx context.Context) (map[string]Progress, error) {
	m.requests++
	m.touch("clock", len(m.all))
	return m.progresses.Progress(ctx)
}

func (m *memory) SetProgress(ctx context.Context, name string, p Progress) error {
	m.requests++
	m.touch("clock", 1)
	return m.progresses.SetProgress(ctx, name, p)
}

func newMemory() *memory {
	return &memory{staged: map[Place]map[string]Staged{}, marks: map[Mark]ETag{}, rows: map[Place]stored{}, begins: map[string]begun{}, told: map[alerted]Version{}}
}

func (m *memory) version() ETag {
	m.etag++
	return ETag(strconv.Itoa(m.etag))
}

func (m *memory) Stage(_ context.Context, rows []Staged) error {
	places := map[Place]int{}
	for _, row := range rows {
		if m.staged[row.Place] == nil {
			m.staged[row.Place] = map[string]Staged{}
		}
		m.staged[row.Place][row.Key] = row
		m.touch(fmt.Sprint(row.Place), 1)
		places[row.Place]++
	}
	for _, n := range places {
		m.requests += 1 + n/100
	}
	return nil
}

func (m *memory) Mark(_ context.Context, marks []Mark) error {
	m.requests += (len(marks) + 99) / 100
	m.touch("open", len(marks))
	for _, mark := range marks {
		m.marks[mark] = m.version()
	}
	return nil
}

func (m *memory) Open(context.Context) iter.Seq2[Mark, error] {
	m.requests += 1 + len(m.marks)/1000
	m.touch("open", len(m.marks))
	all := slices.SortedFunc(maps.Keys(m.marks), compareMarks)
	return func(yield func(Mark, error) bool) {
		for _, mark := range all {
			if !yield(mark, nil) {
				return
			}
		}
	}
}

func (m *memory) Marked(_ context.Context, place Place, level Level) (marked []Marked, err error) {
	m.requests++
	for l := Open; l <= level; l++ {
		mark := Mark{place, l}
		if etag, ok := m.marks[mark]; ok {
			marked = append(marked, Marked{Mark: mark, ETag: etag})
		}
	}
	return marked, nil
}

func (m *memory) Row(_ context.Context, place Place) (Row, ETag, error) {
	m.requests++
	return m.rows[place].Row, m.rows[place].etag, nil
}

func (m *memory) Dropped(context.Context, Bucket) (bool, error) { return false, nil }

func (m *memory) Staged(_ context.Context, place Place, _ bool) iter.Seq2[Staged, error] {
	m.reading.Lock()
	defer m.reading.Unlock()
	m.requests += 1 + len(m.staged[place])/1000
	m.touch(fmt.Sprint(place), len(m.staged[place]))
	return func(yield func(Staged, error) bool) {
		for _, row := range m.staged[place] {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (m *memory) Reconnected(_ context.Context, hub string, from, to Bucket) (map[Bucket]int, error) {
	m.requests++
	all := map[Bucket]int{}
	for b := from; b <= to; b++ {
		if n := m.rows[Place{hub, b}].Reconnected.N; n > 0 {
			all[b] = n
		}
	}
	return all, nil
}

func (m *memory) Begin(_ context.Context, hub string) (Begin, ETag, error) {
	m.requests++
	return m.begins[hub].Begin, m.begins[hub].etag, nil
}

func (m *memory) PutBegin(_ context.Context, begin Begin, etag ETag) error {
	m.requests++
	if m.begins[begin.Hub].etag != etag {
		return ErrConflict
	}
	m.begins[begin.Hub] = begun{begin, m.version()}
	return nil
}

func (m *memory) Put(_ context.Context, row Row, etag ETag) (ETag, error) {
	m.requests++
	m.touch("verdicts of "+row.Hub, 1)
	if m.rows[row.Place].etag != etag {
		return "", ErrConflict
	}
	m.rows[row.Place] = stored{row, m.version()}
	return m.rows[row.Place].etag, nil
}

func (m *memory) Unmark(_ context.Context, mark Marked) error {
	m.requests++
	m.touch("open", 1)
	if m.marks[mark.Mark] != mark.ETag {
		return ErrConflict
	}
	delete(m.marks, mark.Mark)
	return nil
}

func (m *memory) Publish(_ context.Context, notices []Notice) error {
	for _, n := range notices {
		m.notices++
		if at := (alerted{n.Place, n.Item}); n.Seq > m.told[at].Seq {
			m.told[at] = n.Version
		}
	}
	return nil
}

// day is the seconds of a day.
const day = 86_400

// halfHour is in seconds.
const halfHour = 1800

// logged is a record and where and when it was logged.
type logged struct {
	hub string
	Fact
}

// An sdk is how clients renew their token. One lets it expire: the hub ends the session ten
// minutes afterwards, and the client connects again. The others connect again before
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-troubleshoot-connectivity#mqtt-device-disconnect-behavior-with-azure-iot-sdks).
type sdk struct {
	lets bool
	life int64 // of a session, in seconds
}

var (
	dotnet = sdk{true, 4200} // and Java
	node   = sdk{false, 3600}
	python = sdk{false, 3480}
	sdks   = []sdk{dotnet, node, dotnet, python}
)

// fleet are healthy devices, as many of each of sdks, on some hubs.
type fleet struct {
	sdks          []sdk
	devices, hubs int
	// gone are the first devices, which are not back for half an hour if their session ends in
	// half an hour from noon.
	gone int
	// back is when an outage is over that ended all sessions half an hour before, and spread in
	// how many seconds all connect again. Both are 0 if there is none.
	back, spread int64
}

// day returns the log of a day, and how many sessions were renewed. The log goes on for three
// hours, since the end of a session can tell that there was one.
func (f fleet) day(r *rand.Rand) (log []logged, renewals int) {
	const end, noon = day + 3*3600, day / 2
	for d := range f.devices {
		sdk := f.sdks[d%len(f.sdks)]
		hub, key := "contoso-hub-"+strconv.Itoa(d/len(f.sdks)%f.hubs), connection.DeviceKey{0: 1, 12: byte(d >> 16), 13: byte(d >> 8), 14: byte(d)}
		address := connection.AddressKey(1 + d)
		connects := func(at int64) {
			log = append(log, logged{hub, Fact{Device: key, Second: at, Address: address, Sign: connection.Connect}})
		}
		away := f.spread > 0
		for at := r.Int64N(sdk.life); at < end; at += sdk.life + r.Int64N(60) {
			if away && at >= f.back-halfHour {
				away = false
				at = f.back + r.Int64N(f.spread)
				connects(at)
				continue
			}
			if sdk.lets {
				log = append(log, logged{hub, Fact{Device: key, Second: at, Address: address, Sign: connection.Expiry, Record: r.Uint64()}})
				renewals++
			}
			back := at + 1 + r.Int64N(8)
			if d < f.gone && at >= noon && at < noon+halfHour {
				back += halfHour
			}
			connects(back)
		}
	}
	return log, renewals
}

// attacks returns what happens to twenty other devices, on some hubs.
func attacks(r *rand.Rand, hubs int) (log []logged) {
	for i := range 20 {
		at := r.Int64N(day - 7200)
		f := Fact{Device: connection.DeviceKey{0: 2, 15: byte(i)}, Second: at, Address: 1, Sign: connection.Expiry, Record: r.Uint64()}
		hub := "contoso-hub-" + strconv.Itoa(i%hubs)
		switch i % 4 {
		case 0: // nobody comes back
		case 1: // somebody else comes back first
			log = append(log, logged{hub, Fact{Device: f.Device, Second: at + 5, Address: 2, Sign: connection.Connect}}, logged{hub, Fact{Device: f.Device, Second: at + 60, Address: 1, Sign: connection.Connect}})
		case 2: // an old token is offered
			f.Sign, f.Cause = connection.Refused, connection.TokenExpired
		case 3: // a wrong one
			f.Sign, f.Cause = connection.Refused, connection.TokenInvalid
		}
		log = append(log, logged{hub, f})
	}
	return log
}

// arrival is a message and when it comes.
type arrival struct {
	at   int64
	hub  string
	rows []Entry
}

// messages puts a log into messages of up to a hundred records of a hub, which come 30
// seconds to five minutes late, one in two hundred up to an hour, and one in a hundred twice.
// Records are lost with a probability.
func messages(r *rand.Rand, log []logged, lost float64) (all []arrival) {
	slices.SortStableFunc(log, func(a, b logged) int { return cmp.Compare(a.Second, b.Second) })
	filling := map[string]*arrival{}
	flush := func(m *arrival, now int64) {
		m.at = now + 30 + r.Int64N(270)
		if r.IntN(200) == 0 {
			m.at += 1800 + r.Int64N(1800)
		}
		all = append(all, *m)
		if r.IntN(100) == 0 {
			again := *m
			again.at += r.Int64N(600)
			all = append(all, again)
		}
		delete(filling, m.hub)
	}
	for _, l := range log {
		if r.Float64() < lost {
			continue
		}
		m := filling[l.hub]
		if m != nil && l.Second-m.at > 60 {
			flush(m, l.Second)
			m = nil
		}
		if m == nil {
			m = &arrival{at: l.Second, hub: l.hub}
			filling[l.hub] = m
		}
		if m.rows = append(m.rows, entry(l.Fact)); len(m.rows) == 100 {
			flush(m, l.Second)
		}
	}
	for _, m := range filling {
		flush(m, m.at+60)
	}
	return inOrder(all)
}

// inOrder returns messages in the order in which they come.
func inOrder(of ...[]arrival) []arrival {
	all := slices.Concat(of...)
	slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return all
}

// watch stages messages, eight at once at most, and judges each minute until nothing is
// marked.
func watch(t *testing.T, s Settings, all []arrival) *memory {
	t.Helper()
	m := newMemory()
	var now time.Time
	stager := Stager{Settings: s, Store: m, Now: func() time.Time { return now }}
	judge := Judge{Settings: s, Store: m, Publisher: m}
	noter := Noter{Store: m, Now: stager.Now}
	for at := int64(0); len(all) > 0 || len(m.marks) > 0; at += 60 {
		now = time.Unix(at, 0).UTC()
		clear(m.entities)
		for len(all) > 0 && all[0].at <= at {
			var rows []Staged
			marks := map[Mark]bool{}
			n, partition := 0, fmt.Sprint("of ", all[0].hub)
			for n < 8 && n < len(all) && all[n].at <= at {
				places := map[Place][]Entry{}
				for _, e := range all[n].rows {
					place := Place{all[n].hub, bucketOf(e.Second)}
					places[place] = append(places[place], e)
					s.Marks(marks, place.Hub, e.Sign, e.Second, e.Second)
				}
				for place, entries := range places {
					rows = append(rows, packed(place, entries)...)
				}
				n++
			}
			all = all[n:]
			if err := stager.Stage(t.Context(), rows, slices.SortedFunc(maps.Keys(marks), compareMarks)); err != nil {
				t.Fatal(err)
			}
			if err := noter.Note(t.Context(), partition, now); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if judge.Clock, err = (Clock{m}).Tick(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if _, err := judge.Run(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TestHealthyFleetIsSilent lets healthy devices renew their tokens for a day, ten thousand with
// each SDK, with twenty attacks among them: twenty alerts and no others, also in the end of
// those that were told too early. If one record in a thousand is lost, there are two others at
// most. Without HUBWATCH_TRIALS a fourth of the devices do so, and a fourth of the usual number
// is a surge.
//
// If an outage ends all sessions, their return is a surge, and what they do afterwards, at once
// and each hour, is none.
//
// The log of the hub begins with the day, with nothing that its first hour could be compared with.
func TestHealthyFleetIsSilent(t *testing.T) {
	part := 4 * slowdown
	if os.Getenv("HUBWATCH_TRIALS") != "" {
		part = slowdown
	}
	const each, returns = 10_000, day/2 + 400 // so that its minutes are in two buckets
	for _, test := range []struct {
		name   string
		fleet  fleet
		lost   float64
		others int // at most
	}{
		{"each SDK", fleet{sdks: sdks, devices: len(sdks) * each, hubs: 1}, 0, 0},
		{"each SDK, 0.1 % lost", fleet{sdks: sdks, devices: len(sdks) * each, hubs: 1}, 0.001, 2},
		{"Node.js", fleet{sdks: []sdk{node}, devices: each, hubs: 1}, 0, 0},
		{"Node.js, back in ten minutes", fleet{sdks: []sdk{node}, devices: each, hubs: 1, back: returns, spread: 600}, 0, 0},
	} {
		s := Defaults()
		s.SameNetwork, s.Surge = true, s.Surge/part
		test.fleet.devices /= part
		r := rand.New(rand.NewPCG(1, 7))
		log, _ := test.fleet.day(r)
		m := watch(t, s, inOrder(messages(r, log, test.lost), messages(r, attacks(r, test.fleet.hubs), 0)))
		attacked, others, surges := map[connection.DeviceKey]bool{}, 0, 0
		for at, v := range m.told {
			switch {
			case v.N == 0 || at.Bucket > bucketOf(day-1): // the log ends before the verdict on later ones
			case at.Device[0] == 2:
				attacked[at.Device] = true
			case at.Cause == Reconnected && test.fleet.spread > 0 && (at.Bucket == bucketOf(returns) || at.Bucket == bucketOf(returns)+1):
				surges++
			default:
				others++
			}
		}
		t.Logf("%s: %d sessions, %d attacked, %d others, %d surges, %d notices, %.4f requests a session", test.name, sessions(log), len(attacked), others, surges, m.notices, float64(m.requests)/float64(sessions(log)))
		if len(attacked) != 20 || others > test.others || surges > 0 != (test.fleet.spread > 0) {
			t.Errorf("%s: alerts of %d attacked devices, %d others, and surges %d times after an outage, want 20, at most %d, any %t",
				test.name, len(attacked), others, surges, test.others, test.fleet.spread > 0)
		}
	}
}

// TestReturnIsASurge lets a fleet come back after an outage at some minutes of a bucket, at once
// and in ten minutes, with clients that renew before an hour or after 45 minutes. That is a surge.
// What they do for a day afterwards, at once and each hour, is none.
func TestReturnIsASurge(t *testing.T) {
	const begin, devices = day / 2, 1200
	s := Defaults()
	s.Surge = devices / 10
	early := sdk{false, 2700}
	for _, of := range [][]sdk{{node}, {python}, {early}, sdks} {
		for _, spread := range []int64{1, 600} {
			for _, minute := range []int64{0, 3, 5, 8} {
				f := fleet{sdks: of, devices: devices, hubs: 1, back: begin + 60*minute, spread: spread}
				log, _ := f.day(rand.New(rand.NewPCG(uint64(minute), 7)))
				facts := map[Bucket][]Fact{}
				for _, l := range log {
					facts[bucketOf(l.Second)] = append(facts[bucketOf(l.Second)], l.Fact)
				}
				counts, told := map[Bucket]int{}, map[Bucket]int{}
				for b := range bucketOf(day) {
					n := s.derive(b, slices.Concat(facts[b-1], facts[b], facts[b+1]), Graced).reconnected
					if s.weighs(n) {
						counts[b] = n
					}
					if (Begin{}).precedes(b) && s.surges(b, n, counts) {
						told[b] = n
					}
				}
				n, b := 0, bucketOf(f.back)
				for ; b <= bucketOf(f.back+spread); b++ {
					n += told[b]
					delete(told, b)
				}
				if n == 0 || len(told) > 0 {
					t.Errorf("%v, back at minute %d in %d s: a surge of %d of %d devices, and others %v", of, minute, spread, n, devices, told)
				}
			}
		}
	}
}

// sessions returns how many sessions begin in a log.
func sessions(log []logged) (n int) {
	for _, l := range log {
		if l.Sign == connection.Connect {
			n++
		}
	}
	return n
}

// TestStormIsOneItem lets five thousand devices be refused at once: one item of the hub and
// no others, whatever was told while the records came. One device with another cause is
// told by itself.
func TestStormIsOneItem(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	var log []logged
	for d := range 5000 {
		log = append(log, logged{"contoso-hub", Fact{Device: connection.DeviceKey{0: 1, 13: byte(d >> 8), 14: byte(d)}, Second: 6000 + r.Int64N(60), Sign: connection.Refused, Cause: connection.CertificateExpired, Record: uint64(d)}})
	}
	// That is the limit of a partition for one second, and here a minute keeps to it
	// (https://learn.microsoft.com/azure/storage/tables/scalability-targets).
	const mostEntities = 2000
	other := Fact{Device: device(1), Second: 6030, Sign: connection.Refused, Cause: connection.TokenInvalid, Record: 9999}
	m := watch(t, Defaults(), messages(r, append(log, logged{"contoso-hub", other}), 0))
	if t.Logf("%d entities of a partition in a minute", m.busiest); m.busiest < 50 || m.busiest > mostEntities {
		t.Errorf("%d entities of one partition were read or written in a minute, want at most %d", m.busiest, mostEntities)
	}
	have := map[Item]int{}
	for at, v := range m.told {
		if v.N > 0 {
			have[at.Item] = v.N
		}
	}
	if want := map[Item]int{{Cause: Cause(connection.CertificateExpired)}: 5000, itemOf(other): 1}; !maps.Equal(have, want) {
		t.Errorf("have %d items, want one storm of 5000 and one device: %.500v", len(have), have)
	}
}

// weighed is a store that weighs what is in memory when all rows of a place but one have been
// read.
type weighed struct {
	*memory
	before, most int64 // bytes
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what was in a sync.Pool survives the first
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func (w *weighed) Staged(ctx context.Context, place Place, records bool) iter.Seq2[Staged, error] {
	return func(yield func(Staged, error) bool) {
		left := len(w.staged[place])
		for row, err := range w.memory.Staged(ctx, place, records) {
			if left--; left == 0 {
				w.reading.Lock()
				w.most = max(w.most, heap()-w.before)
				w.reading.Unlock()
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// TestMemoryOfAVerdict weighs what is in memory for the verdict on ten minutes of a hub, for
// each record that is read. docs/limits.md says from there how many devices a hub may have.
// Where all devices renew their tokens, that is all that is allocated. Where all are refused at
// once, much is allocated and soon garbage: there it is what is left when the records are read.
func TestMemoryOfAVerdict(t *testing.T) {
	const devices = 20_000 // with a record in these ten minutes
	r := rand.New(rand.NewPCG(3, 7))
	place := Place{"contoso-hub", 10}
	renew := func(key connection.DeviceKey, at int64) []Entry {
		return []Entry{{Fact: Fact{Device: key, Second: at, Sign: connection.Expiry, Record: r.Uint64()}}, {Fact: Fact{Device: key, Second: at + 1, Sign: connection.Connect}}}
	}
	refuse := func(key connection.DeviceKey, at int64) []Entry {
		raw := fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
			`"operationName":"deviceConnect","category":"Connections","level":"Error","properties":"{\"deviceId\":\"pump-%x\"}"}`, time.Unix(at, 0).UTC().Format(time.RFC3339), key[:3])
		return []Entry{{Fact: Fact{Device: key, Second: at, Sign: connection.Refused, Cause: connection.CertificateExpired, Record: r.Uint64()}, Raw: []byte(raw)}}
	}
	unknown := func(key connection.DeviceKey, at int64) []Entry {
		e := refuse(key, at)
		e[0].Cause = connection.Unclassified
		e[0].Raw = bytes.Replace(e[0].Raw, []byte(`"level":"Error"`), []byte(`"level":"Error","resultType":"401003","resultDescription":"The moon is in the way of this device."`), 1)
		return e
	}
	for _, test := range []struct {
		name    string
		entries func(connection.DeviceKey, int64) []Entry
		from    Bucket
		records int
		items   int
		garbage bool // whether what is garbage is left out
	}{
		{"renewals", renew, place.Bucket - 1, 3 * 2 * devices, 0, false},
		{"refusals", refuse, place.Bucket, devices, 1, true},
		{"refusals for no known cause", unknown, place.Bucket, devices, 1, true},
	} {
		m := &weighed{memory: newMemory()}
		for b := test.from; b <= 2*place.Bucket-test.from; b++ {
			var entries []Entry
			for d := range devices {
				entries = append(entries, test.entries(connection.DeviceKey{0: byte(d), 1: byte(d >> 8), 2: byte(b)}, b.first()+r.Int64N(bucketSeconds-1))...)
				if len(entries) >= 100 || d == devices-1 {
					if err := m.Stage(t.Context(), packed(Place{"contoso-hub", b}, entries)); err != nil {
						t.Fatal(err)
					}
					entries = nil
				}
			}
		}
		if err := m.Mark(t.Context(), []Mark{{place, Settled}}); err != nil {
			t.Fatal(err)
		}
		m.before = heap()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Judge{Settings: Defaults(), Store: m, Publisher: m}.Run(t.Context(), place.Bucket.end().Add(3*time.Hour))
		runtime.ReadMemStats(&after)
		if row := m.rows[place].Row; err != nil || len(row.Items) != test.items || row.Renewed+row.Refused[connection.CertificateExpired]+row.Refused[connection.Unclassified] != devices {
			t.Fatalf("%s: %d items, %d renewed, %v refused, %v", test.name, len(row.Items), row.Renewed, row.Refused, err)
		}
		each := float64(after.TotalAlloc-before.TotalAlloc) / float64(test.records)
		if test.garbage {
			each = float64(m.most) / float64(test.records)
		}
		if t.Logf("%s: %.0f bytes a record", test.name, each); each > 200 {
			t.Errorf("%s: %.0f bytes are in memory for each record, want at most 200", test.name, each)
		}
	}
}

// TestNamesOfAStorm checks that a storm of very many devices names some of them, and does not
// read the records of the others.
func TestNamesOfAStorm(t *testing.T) {
	const devices = 2 * mostNamed
	m := newMemory()
	place := Place{"contoso-hub", 10}
	var notices []Notice
	for d := range devices {
		e := Entry{Fact: Fact{Device: connection.DeviceKey{8: byte(d), 9: byte(d >> 8), 15: 1}, Second: place.Bucket.first(), Sign: connection.Refused, Cause: connection.CertificateExpired, Record: uint64(d)}}
		if e.Raw = []byte(`{"not":"a record"}`); isNamed(e.Device, devices) {
			e.Raw = fmt.Appendf(nil, `{"time":"1970-01-01T01:40:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
				`"operationName":"deviceConnect","category":"Connections","level":"Error","properties":"{\"deviceId\":\"%05d\"}"}`, d)
		}
		if err := m.Stage(t.Context(), packed(place, []Entry{e})); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Mark(t.Context(), []Mark{{place, Open}}); err != nil {
		t.Fatal(err)
	}
	_, err := Judge{Settings: Defaults(), Store: m, Publisher: publishing(func(n []Notice) { notices = append(notices, n...) })}.Run(t.Context(), place.Bucket.end())
	if err != nil || len(notices) != 1 || notices[0].N != devices {
		t.Fatalf("%d notices, %v", len(notices), err)
	}
	if names := notices[0].Devices; len(names) < mostNamed/2 || len(names) > mostNamed || !slices.IsSorted(names) {
		t.Errorf("%d devices are named, in order %t, want about half of %d", len(names), slices.IsSorted(names), devices)
	}
}

// publishing is a publisher.
type publishing func([]Notice)

func (p publishing) Publish(_ context.Context, notices []Notice) error { p(notices); return nil }
