// Package verdict says which records of the Connections log are worth an alert. A
// session that ends because its token has expired is silent if its device begins
// another one in time. All other failed connections of one device, with one cause, in
// ten minutes, are one item. The items of very many devices are one item of their hub.
//
// The verdict is a function of the set of records. Their order, their repetition, the
// time at which somebody looks and the number of instances do not matter. Records come
// late and are repeated, so the verdict on a bucket of ten minutes is a derived row: it
// is derived again whenever a record arrives that may change it.
//
// The package is pure: tables, the clock and the topic are those of the caller.
package verdict

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"time"

	"hubwatch/handlers/connection"
)

// Bucket is a period of ten minutes: the number of such periods since the Unix epoch.
type Bucket int64

// bucketSeconds is the length of a bucket. Staged rows and verdict rows are kept by
// bucket, so a change of it would need other tables.
const bucketSeconds = 600

// BucketOf returns the bucket of a time.
func BucketOf(t time.Time) Bucket { return bucketOf(t.Unix()) }

// bucketOf returns the bucket of a second of Unix time, also of one before 1970.
func bucketOf(second int64) Bucket {
	b := second / bucketSeconds
	if second%bucketSeconds < 0 {
		b--
	}
	return Bucket(b)
}

func (b Bucket) first() int64 { return int64(b) * bucketSeconds }
func (b Bucket) last() int64  { return b.first() + bucketSeconds - 1 }

// Start returns the time at which the bucket begins, in UTC.
func (b Bucket) Start() time.Time { return time.Unix(b.first(), 0).UTC() }

// keptDays is for how many days records are kept after their day.
const keptDays = 3

// Droppable reports whether the records of the day of a bucket may be dropped: it has been
// over for three days. Event Grid tries for one day, and people redrive what is in
// quarantine within days.
func Droppable(b Bucket, now time.Time) bool {
	day := b.Start().Truncate(24 * time.Hour)
	return !now.Before(day.AddDate(0, 0, keptDays+1))
}

// end returns the time at which the next bucket begins.
func (b Bucket) end() time.Time { return (b + 1).Start() }

// Place is a bucket of one hub.
type Place struct {
	Hub    string // the name of the hub in lower case
	Bucket Bucket
}

// Level says how far the clock is for a bucket. What is too early to be said at a level
// is left out at that level.
type Level int

// The levels.
const (
	Open    Level = iota // refusals are said at once
	Graced               // sessions that were taken up from elsewhere are said
	Settled              // devices that did not come back are said: the verdict no longer depends on the clock
)

// Cause is why there is an item: Foreign, Missing or Reconnected, or the cause of the
// connections that were refused.
type Cause string

// The causes of items that are about sessions.
const (
	// Foreign is the end of a session that was taken up from another network.
	Foreign Cause = "taken up from elsewhere"
	// Missing is the end of a session after which the device did not come back in time.
	Missing Cause = "did not come back"
	// Reconnected is the beginning of sessions that renew none. One is nothing: only very
	// many devices of a hub are an item.
	Reconnected Cause = "reconnected"
)

// causes are all causes of items. The index of a cause is its number in staged rows and
// in verdict rows: append to the list, and change nothing.
var causes = []Cause{
	Foreign, Missing,
	Cause(connection.Unclassified), Cause(connection.TokenExpired), Cause(connection.TokenInvalid),
	Cause(connection.CertificateExpired), Cause(connection.ThumbprintMismatch),
	Reconnected,
}

// number returns the number of a cause, and 0xff for one that is not in the list.
func (c Cause) number() byte { return byte(slices.Index(causes, c)) } // #nosec G115 -- the list is short, and -1 becomes 0xff

// Settings are what the owner of a fleet decides.
type Settings struct {
	// RenewalGrace is how long a device may take to come back after its token expired.
	// Clients reconnect within seconds and back off to minutes.
	RenewalGrace time.Duration
	// MissingAfter is how long after an expiry it is said that a device did not come
	// back. If the record of its new connection is lost, only the end of the next session
	// shows that there was one, so waiting for that avoids false alerts. Zero says it as
	// soon as the grace is over. Above the longest session, 90 minutes, it also becomes
	// the time in which such an end counts.
	MissingAfter time.Duration
	// SameNetwork is for fleets that stand still: a session that is taken up from another
	// network is worth an alert. Without it addresses do not count.
	SameNetwork bool
	// Storm is from how many devices of a hub on, in one bucket and with one cause,
	// their items become one item of the hub.
	Storm int
	// Surge is from how many devices of a hub on that begin sessions in one bucket and
	// renew none by that, they are one item of the hub, if they are as many more than before
	// as surges says, and the log of the hub does not begin at that time, see Begin. 0 is never.
	Surge int
	// Lateness is how late records of the log usually are. Later ones correct the verdict.
	Lateness time.Duration
}

// Defaults returns the settings of an app that sets none.
func Defaults() Settings {
	return Settings{RenewalGrace: 10 * time.Minute, MissingAfter: session, Storm: 100, Surge: 1000, Lateness: 5 * time.Minute}
}

const (
	// session is longer than the sessions of clients that renew their token by connecting
	// again: an hour and ten minutes.
	session = 90 * time.Minute
	// slack is by how much the clocks of a hub's gateways differ. A connection may be
	// logged earlier than the end of the session that it replaces.
	slack = 2 * time.Second
)

// Clients that connect again before their token expires renew nothing by that, and do it
// each hour. So the twenty minutes that end with a bucket are compared with earlier ones, from
// farthestEarlier to nearestEarlier buckets before it. Those right before it do not count, since
// the return of a fleet takes some time. The others go back as far as the longest session: a
// fleet that came back at once comes again at once when its sessions end.
const (
	nearestEarlier  = Bucket(3)
	farthestEarlier = Bucket(session / (bucketSeconds * time.Second))
)

// surges reports whether n devices that reconnect in a bucket are a surge. of has those that
// did so in the buckets before, each that weighs. There have to be more than twice as many in
// the twenty minutes that end with the bucket as in any earlier twenty. A fleet that came back at
// once is never twice as many an hour later: any twenty minutes lie in two of these. And a fleet
// whose sessions last for an hour is three times as many if all of it comes back after an outage.
func (s Settings) surges(b Bucket, n int, of map[Bucket]int) bool {
	for earlier := b - farthestEarlier; earlier < b-nearestEarlier; earlier++ {
		if n+of[b-1] <= 2*(of[earlier]+of[earlier+1]) {
			return false
		}
	}
	return s.Surge > 0 && n >= s.Surge
}

// weighs reports whether n devices that reconnect in a bucket count for surges of later ones. A
// few do not, so that few connections make no more verdicts than they have to.
func (s Settings) weighs(n int) bool { return s.Surge > 0 && n > 0 && 4*n >= s.Surge }

// grace returns the grace in whole seconds, which records have.
func (s Settings) grace() int64 { return int64(s.RenewalGrace / time.Second) }

// window returns for how many seconds after an expiry a sign of another session counts.
func (s Settings) window() int64 {
	return int64(max(session, s.MissingAfter, s.RenewalGrace) / time.Second)
}

// Due returns when the clock reaches a level of a bucket. It is the zero time for Open.
func (s Settings) Due(b Bucket, level Level) time.Time {
	switch level {
	case Graced:
		return b.end().Add(s.RenewalGrace + s.Lateness)
	case Settled:
		return b.end().Add(max(s.RenewalGrace, s.MissingAfter) + s.Lateness)
	}
	return time.Time{}
}

// since returns when a mark was due. Open is due at any time, so that is the beginning of
// its bucket.
func (s Settings) since(m Mark) time.Time {
	if m.Level == Open {
		return m.Bucket.Start()
	}
	return s.Due(m.Bucket, m.Level)
}

// level returns the level of a bucket at a time.
func (s Settings) level(b Bucket, now time.Time) Level {
	level := Open
	for _, l := range []Level{Graced, Settled} {
		if !now.Before(s.Due(b, l)) {
			level = l
		}
	}
	return level
}

// near returns the buckets that can hold a sign of a session within the grace period of
// an expiry in b, and those that can hold an expiry that a connection in b renews.
func (s Settings) near(b Bucket) (from, to Bucket) {
	const early = int64(slack / time.Second)
	if s.Surge == 0 {
		return bucketOf(b.first() - early), bucketOf(b.last() + s.grace())
	}
	reach := max(early, s.grace())
	return bucketOf(b.first() - reach), bucketOf(b.last() + reach)
}

// far returns the last bucket that can hold a sign of a session after an expiry in b.
func (s Settings) far(b Bucket) Bucket { return bucketOf(b.last() + s.window()) }

// Fact is what a verdict needs to know of a record.
type Fact struct {
	Device  connection.DeviceKey
	Second  int64 // of Unix time; a fraction of a second does not count
	Address connection.AddressKey
	Sign    connection.Sign  // not NoSign
	Cause   connection.Cause // if Refused
	// Record is the beginning of a hash of the record, so that a record that was staged
	// twice counts once. It is 0 for Connect: how often a device connects in one
	// second from one address does not matter.
	Record uint64
}

// Item is what the occurrences of an alert are counted by, in one bucket: a device and a
// cause. It is an item of the hub if Device is zero: a storm, or a surge if the cause is
// Reconnected.
type Item struct {
	Device connection.DeviceKey
	Cause  Cause
}

// Storm reports whether the item is of the hub.
func (i Item) Storm() bool { return i.Device == connection.DeviceKey{} }

// compare orders items as verdict rows and notices have them.
func (i Item) compare(j Item) int {
	if c := int(i.Cause.number()) - int(j.Cause.number()); c != 0 {
		return c
	}
	return slices.Compare(i.Device[:], j.Device[:])
}

// itemOf returns the item of a refused connection.
func itemOf(f Fact) Item { return Item{f.Device, Cause(f.Cause)} }

// identity is what records have in common that are one.
type identity struct {
	device  connection.DeviceKey
	second  int64
	address connection.AddressKey
	record  uint64
	connect bool
}

func (f Fact) identity() identity {
	return identity{f.Device, f.Second, f.Address, f.Record, f.Sign == connection.Connect}
}

// rank orders the facts of one record that was staged with different causes, because the
// rules changed meanwhile: the highest counts.
func (f Fact) rank() int { return int(f.Sign)<<8 | int(Cause(f.Cause).number()) }

// byDevice sorts facts by their devices, and yields those of each device, in order of time
// and each record once. What it yields is overwritten afterwards. A bucket of a large hub
// has millions of facts, so they are sorted where they are, and there is no index.
func byDevice(facts []Fact) iter.Seq2[connection.DeviceKey, []Fact] {
	slices.SortFunc(facts, func(a, b Fact) int {
		if c := bytes.Compare(a.Device[:], b.Device[:]); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Second, b.Second); c != 0 {
			return c
		}
		connects := func(f Fact) int {
			if f.Sign == connection.Connect {
				return 1
			}
			return 0
		}
		return cmp.Or(connects(a)-connects(b), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Record, b.Record), b.rank()-a.rank())
	})
	return func(yield func(connection.DeviceKey, []Fact) bool) {
		var of []Fact
		for rest := facts; len(rest) > 0; {
			device := rest[0].Device
			of = of[:0]
			for len(rest) > 0 && rest[0].Device == device {
				if n := len(of); n == 0 || of[n-1].identity() != rest[0].identity() {
					of = append(of, rest[0])
				}
				rest = rest[1:]
			}
			if !yield(device, of) {
				return
			}
		}
	}
}

// derived is the verdict on a bucket.
type derived struct {
	items   map[Item]int // for a device how many records, for a storm how many devices
	single  map[Item]int // items as they would be without storms
	renewed int          // expiries that are silent
	// elsewhere are the expiries whose session was taken up in time from another network.
	elsewhere int
	// reconnected are the devices that began a session in the bucket and renewed none by that.
	reconnected int
	weight      int                      // see Row.Reconnected
	refused     map[connection.Cause]int // see Row.Refused
	// missing are the devices with an expiry after which the facts have no sign of another
	// session.
	missing map[connection.DeviceKey]bool
	// unclassified are the refusals in the bucket of which no rule knows the cause.
	unclassified map[refusal]bool
	unknown      map[string]int // see Row.Unknown
}

// derive returns the verdict on bucket b that the facts give, and puts them in another
// order. Facts of other buckets count as signs of sessions alone. At level Settled they have
// to be those of all buckets up to far; below it what is missing is not said, so those up to
// near are enough. Whether there is a surge depends on other verdicts, so it is not said here.
func (s Settings) derive(b Bucket, facts []Fact, level Level) derived {
	d := derived{single: map[Item]int{}, refused: map[connection.Cause]int{}, missing: map[connection.DeviceKey]bool{}, unclassified: map[refusal]bool{}}
	for device, of := range byDevice(facts) {
		for _, f := range of {
			if f.Sign == connection.Refused && bucketOf(f.Second) == b {
				d.single[itemOf(f)]++
				d.refused[f.Cause]++
				if f.Cause == connection.Unclassified {
					d.unclassified[f.refusal()] = true
				}
			}
		}
		signs := slices.DeleteFunc(of, func(f Fact) bool { return f.Sign == connection.Refused })
		reconnects := false
		for _, f := range signs {
			if bucketOf(f.Second) != b {
				continue
			}
			if f.Sign == connection.Connect {
				reconnects = reconnects || !s.renews(f, signs)
				continue
			}
			cause, found := s.judge(f, signs)
			if !found {
				d.missing[device] = true
			}
			if cause == Foreign {
				if d.elsewhere++; !s.SameNetwork {
					cause = ""
				}
			}
			switch {
			case cause == "":
				d.renewed++
			case cause == Foreign && level >= Graced, cause == Missing && level >= Settled:
				d.single[Item{device, cause}]++
			}
		}
		if reconnects {
			d.reconnected++
		}
	}
	d.items = s.gather(d.single)
	return d
}

// renews reports whether a connection at a time t renews a session: whether there is an
// expiry among the signs of its device from t - RenewalGrace to t + slack.
func (s Settings) renews(connect Fact, signs []Fact) bool {
	return slices.ContainsFunc(signs, func(x Fact) bool {
		return x.Sign == connection.Expiry && connect.Second-s.grace() <= x.Second && x.Second <= connect.Second+int64(slack/time.Second)
	})
}

// judge returns the verdict on the expiry x, as it is if addresses count: "" if its session
// was renewed, Foreign or Missing. It is decided by the first sign of another session among signs, which are
// the connections and expiries of the device in order of time. found is whether there is one.
//
// A sign is a connection, or another expiry: a session ended whose beginning must have
// been lost. Of several in one second the most harmless counts, since no record says
// which was first.
func (s Settings) judge(x Fact, signs []Fact) (cause Cause, found bool) {
	begin := x.Second - int64(slack/time.Second)
	i, _ := slices.BinarySearchFunc(signs, begin, func(f Fact, t int64) int { return int(f.Second - t) })
	cause = Missing
	last := x.Second + s.window()
	for _, f := range signs[i:] {
		if f.Second > last {
			break
		}
		if f.Sign == connection.Expiry && f.Second <= x.Second {
			continue
		}
		of := Cause("")
		switch {
		case f.Sign == connection.Connect && f.Second > x.Second+s.grace():
			of = Missing
		case !f.Address.Compatible(x.Address):
			of = Foreign
		}
		if harm(of) < harm(cause) {
			cause = of
		}
		found, last = true, f.Second // others count only if they are of the same second
	}
	return cause, found
}

// harm orders the verdicts on an expiry.
func harm(c Cause) int { return slices.Index([]Cause{"", Foreign, Missing}, c) }

// gather returns items in which those of a cause that has very many devices are one
// item of the hub. Causes are counted apart, so one device whose session was taken up from
// elsewhere does not disappear in an outage.
func (s Settings) gather(single map[Item]int) map[Item]int {
	devices := map[Cause]int{}
	for i := range single {
		devices[i.Cause]++
	}
	items := map[Item]int{}
	for i, n := range single {
		if devices[i.Cause] >= s.Storm {
			items[Item{Cause: i.Cause}] = devices[i.Cause]
		} else {
			items[i] = n
		}
	}
	return items
}

// Mark says that a verdict has to be derived: a record arrived that may change it at
// this level.
type Mark struct {
	Place
	Level Level
}

// Marks adds to marks what records of a sign may change, the first and the last of which are of
// these seconds of one bucket: the bucket of a refused connection at once, the buckets of the
// expiries that it may be a sign for, and those of the connections that it may make renewals.
// What a record touches are intervals that move with its second. So those of all records
// between the two are in the interval from where the first one's begins to where the last
// one's ends, and no bucket of that interval is in none of theirs.
func (s Settings) Marks(marks map[Mark]bool, hub string, sign connection.Sign, first, last int64) {
	touch := func(level Level, from, to int64) {
		for b := bucketOf(from); b <= bucketOf(to); b++ {
			marks[Mark{Place{hub, b}, level}] = true
		}
	}
	slack := int64(slack / time.Second)
	switch sign {
	case connection.Refused:
		touch(Open, first, last)
	case connection.Expiry:
		touch(Graced, first, last)
		touch(Settled, first-s.window(), last)
		if s.Surge > 0 {
			touch(Graced, first-slack, last+s.grace())
		}
	case connection.Connect:
		touch(Graced, first-s.grace(), last+slack)
		touch(Settled, first-s.window(), last+slack)
	}
}
