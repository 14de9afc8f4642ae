package verdict

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/connection"
)

// Store keeps what verdicts are derived from, and verdicts. Its methods may be called at
// the same time, also by several processes. A write whose answer was lost may have been
// made.
type Store interface {
	// Stage keeps rows. That a row with the same facts is there already is not an error.
	// After an error some rows may be there.
	Stage(ctx context.Context, rows []Staged) error
	// Mark writes marks, also those that are there already. Each gets another ETag.
	Mark(ctx context.Context, marks []Mark) error

	// Open returns all marks, in no particular order. It ends at the first error.
	Open(ctx context.Context) iter.Seq2[Mark, error]
	// Marked returns the marks of a place, of a level or a lower one.
	Marked(ctx context.Context, place Place, level Level) ([]Marked, error)
	// Row returns the verdict row of a place and its ETag. It returns an empty row and no
	// ETag if there is none.
	Row(ctx context.Context, place Place) (Row, ETag, error)
	// Staged returns the rows of a place, without their Records unless they are asked
	// for. A row that is staged meanwhile may be among them. It ends at the first error.
	Staged(ctx context.Context, place Place, records bool) iter.Seq2[Staged, error]
	// Reconnected returns the N of Row.Reconnected in the verdict rows of a hub from one bucket to
	// another, but for those that are 0. Each row is read as it is some time meanwhile.
	Reconnected(ctx context.Context, hub string, from, to Bucket) (map[Bucket]int, error)
	// Begin returns where the log of a hub begins and its ETag. It returns no ETag if that was never
	// put.
	Begin(ctx context.Context, hub string) (Begin, ETag, error)
	// PutBegin writes where the log of a hub begins on condition that its ETag is still etag, or that
	// there is none if etag is empty. The error wraps ErrConflict if somebody else wrote it.
	PutBegin(ctx context.Context, begin Begin, etag ETag) error
	// Dropped reports whether records of the day of a bucket were dropped, some time.
	Dropped(ctx context.Context, b Bucket) (bool, error)
	// Put writes a verdict row on condition that its ETag is still etag, or that there is
	// none if etag is empty. It returns the new ETag. The error wraps ErrConflict if
	// somebody else wrote the row.
	Put(ctx context.Context, row Row, etag ETag) (ETag, error)
	// Unmark deletes a mark on condition that its ETag is still the same. The error wraps
	// ErrConflict if it is not, or if there is no such mark.
	Unmark(ctx context.Context, mark Marked) error
}

// ErrConflict is wrapped by the error of a write whose condition does not hold.
var ErrConflict = errors.New("somebody else wrote the row meanwhile")

// ETag is the version of a row. Each write of the row gives it another one.
type ETag string

// Marked is a mark as it was read.
type Marked struct {
	Mark
	ETag ETag
	At   time.Time // when it was written, by the clock of the store; zero if that is not known
}

// Row is the verdict on a place, as it was derived last.
type Row struct {
	Place
	// Seq is the number of the newest version of the row's items. Published is the
	// number of the newest version all of whose items are published, and of whose
	// Reconnected the later verdicts were told by their marks.
	Seq, Published int
	Level          Level // of the derivation; it never becomes lower
	Renewed        int   // expiries that are silent
	// Elsewhere counts the expiries whose session was taken up in time from another network.
	// They are silent, and so in Renewed, or items if Settings.SameNetwork.
	Elsewhere int
	// Reconnected says how many devices began a session in the bucket and renewed none by that.
	// Its N is 0 below Graced, and where no verdict depends on it: see Settings.weighs.
	Reconnected Version
	// Refused counts the connections that were refused, by cause, also those of a storm.
	Refused map[connection.Cause]int
	// Unknown counts the sentences of the service in refusals that connection.Rules does not
	// know: see Sentence. All beyond MostSentences different ones count as OtherSentences.
	Unknown map[string]int
	// Held is when items were first held back that are not in Items, see mostAtOnce. It is
	// zero if none are.
	Held time.Time
	// Items have all items that there ever were. What is no longer there has N = 0.
	Items map[Item]Version
}

// Version says how often something happened, and in which version of the row that came.
type Version struct {
	N   int // records of a device, or devices of a storm
	Seq int
}

// Publisher takes what is to be told of items.
type Publisher interface {
	// Publish makes notices durable. After an error some may be durable, and the caller
	// gives all of them again.
	Publish(ctx context.Context, notices []Notice) error
}

// Notice is a version of an item. Notices come in any order and more than once: of one
// place and item the highest Seq counts.
type Notice struct {
	Place
	Item
	Version
	HubID string // the resource id of the hub as it was staged; empty if nothing is staged any more
	// Records are the earliest of the item and the last one, in order and five at most, as they
	// were staged. There are fewer if they are long. If N is 0, they are those that the item once was about.
	// A surge has none, since of connections the facts are all that is kept.
	Records []jsontext.Value
	// Devices are the subjects of a storm's records in order, see
	// connection.Record.Subject. N says how many there are; a very long list is cut.
	Devices []string
}
