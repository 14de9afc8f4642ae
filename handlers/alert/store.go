package alert

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Recorder keeps what detectors found.
type Recorder interface {
	// Record makes occurrences durable. It returns the outcome of each, in their
	// order. It is idempotent: an occurrence whose alert and event are recorded
	// already changes nothing. An error means that some occurrences may not be
	// durable, and that the caller has to record all of them again. The outcome
	// of these is zero; the others have their outcomes. A rejected occurrence is
	// not a reason for an error. Record may be called at the same time, also by
	// several processes.
	Record(ctx context.Context, occurrences ...Occurrence) ([]Recorded, error)
}

// Recorded is what became of one occurrence.
type Recorded struct {
	Outcome Outcome
	// Err says why the store rejected the occurrence, or why nobody can be told of what it
	// raised. Else it is nil.
	Err error
	// Raising is set if the occurrence raised or reopened its alert, now or when it was
	// recorded before. So whoever tells people of it can do that again after a crash, and
	// further occurrences tell nobody. It is nil for an occurrence that is suppressed.
	Raising *Raising
}

// Raising is that an alert was raised, or reopened by an occurrence.
type Raising struct {
	Alert Alert // as it is now
	// Number is how many changes the alert had then, this one included: 0 if it was raised.
	// With the alert's id it is the identity of the raising.
	Number int
}

// Teller tells people, or programs, of raisings.
type Teller interface {
	// Tell tells of raisings, each of them once more if it is called again. After an error
	// the caller calls it again with all of them.
	Tell(ctx context.Context, raisings ...*Raising) error
}

// Outcome is what an occurrence did to its alert.
type Outcome int

// The outcomes of recording an occurrence. The zero value is none of them.
const (
	New      Outcome = iota + 1 // the alert was raised
	Counted                     // the alert was there and counts one more
	Reopened                    // the alert was closed and is Active again
	Known                       // this event is recorded already, perhaps by this call if an answer of the store was lost; nothing changed
	Rejected                    // the store will not take the occurrence, however often it is tried
)

// String returns the outcome in one word.
func (o Outcome) String() string {
	switch o {
	case New:
		return "new"
	case Counted:
		return "counted"
	case Reopened:
		return "reopened"
	case Known:
		return "known"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// Reader finds alerts.
type Reader interface {
	// List returns the alerts that q asks for, the newest day first, and within a
	// day the newest occurrence first. It reads while the caller draws, so that a
	// caller who stops early does not read everything. It ends at the first
	// error.
	List(ctx context.Context, q Query) iter.Seq2[Alert, error]

	// ListDays returns the same alerts as List, day by day. The days without an alert
	// that q asks for are among them, so that a caller who stops early can say how far
	// back it looked. It ends at the first error.
	ListDays(ctx context.Context, q Query) iter.Seq2[DayList, error]

	// Find returns the alert that ref names, and its evidence, in no particular
	// order. The evidence is read while the caller draws. A reference without a
	// hub is looked for in all hubs. A reference without a day is looked for in
	// all days. The error wraps ErrNotFound if there is no such alert.
	Find(ctx context.Context, ref Ref) (Alert, iter.Seq2[Evidence, error], error)

	// History returns the changes of an alert, the oldest first. The reference needs
	// its hub and day. An alert that is not there has no changes.
	History(ctx context.Context, ref Ref) ([]History, error)

	// Summaries returns how many alerts there are of each hub and day that q asks for
	// by its Hub, Since and Until; the other fields do not count. The newest day comes
	// first. It ends at the first error.
	Summaries(ctx context.Context, q Query) iter.Seq2[Summary, error]

	// LastHeard returns when each hub was last heard of, by hub and source. Of a hub that should be
	// heard of, and whose Connections log never was, it returns zero times.
	LastHeard(ctx context.Context) ([]Heard, error)
}

// DayList is the alerts of one day.
type DayList struct {
	Day    time.Time // UTC
	Alerts []Alert   // the newest occurrence first
	// Read is of how many hubs the alerts were read. Of the other hubs of that day the
	// summaries say that they have none that were asked for.
	Read int
}

// Editor changes what people may change of an alert.
type Editor interface {
	// Change makes the change c to the alert that ref names, and returns the changed
	// alert. The reference needs its hub and day. The alert and its history change
	// together or not at all. A change that would change nothing is not made, and is
	// not an error. Occurrences that arrive meanwhile are not lost, and they are not a
	// conflict. The error wraps ErrNotFound if there is no such alert. It is a
	// *Conflict if somebody else changed the alert, and an *Illegal if the alert's
	// status does not allow the change.
	Change(ctx context.Context, ref Ref, c Change) (Alert, error)
}

// ErrNotFound is wrapped by the errors of Reader and Editor for an alert that is
// not there.
var ErrNotFound = errors.New("there is no such alert")

// ErrAbsent is wrapped by the errors of a store that has never kept anything, or that is
// not there.
var ErrAbsent = errors.New("there is none")

// Query says which alerts to list. Each empty field stands for any.
type Query struct {
	Hub        string // name, in any case
	Type       string // AlertType, in any case
	Severity   Severity
	Statuses   []Status // any of these, in any case, as people may have typed it into the table
	Entity     string   // name of the entity, in any case
	EntityType EntityType
	Actor      string       // in any case
	Address    netip.Prefix // holds an address that the alert was seen from
	// Since and Until bound the time of the alert's last occurrence, both included.
	Since, Until time.Time
	// Suppressed asks for the suppressed alerts instead of the others.
	Suppressed bool
}

// Matches reports whether q asks for a.
func (q Query) Matches(a Alert) bool {
	is := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	status := func(s Status) bool { return strings.EqualFold(string(s), string(a.Status)) }
	return is(q.Hub, a.Hub.Name) && is(q.Type, a.Type) && is(string(q.Severity), string(a.Severity)) &&
		(len(q.Statuses) == 0 || slices.ContainsFunc(q.Statuses, status)) &&
		is(q.Entity, a.Entity.Name) && is(string(q.EntityType), string(a.Entity.Type)) && is(q.Actor, a.Actor) &&
		(!q.Address.IsValid() || slices.ContainsFunc(a.addresses(), q.holds)) &&
		!a.End.Before(q.Since) && (q.Until.IsZero() || !a.End.After(q.Until)) && q.Suppressed == (a.SuppressedBy != "")
}

// addresses returns the addresses that a was seen from.
func (a Alert) addresses() []string {
	return append([]string{a.ActorIPAddress, a.LastActorIPAddress}, a.ActorIPAddresses...)
}

// holds reports whether an address is in q.Address. A masked address is in no range.
func (q Query) holds(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && q.Address.Contains(ip.Unmap())
}

// Ref names an alert. Its hub and day say where the alert is kept, so that one
// request finds it.
type Ref struct {
	Hub string    // name, in any case; "" if only the id is known
	Day time.Time // the UTC day of the occurrences; zero if only the id is known
	ID  string    // SystemAlertId
}

// String returns hub/day/id, or the id alone.
func (r Ref) String() string {
	if r.Hub == "" || r.Day.IsZero() {
		return r.ID
	}
	return r.Hub + "/" + r.Day.UTC().Format(time.DateOnly) + "/" + r.ID
}

// alertID is the form of a SystemAlertId, see ID.
var alertID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// ParseRef reads what Ref.String writes. Its error says what is wrong.
func ParseRef(s string) (Ref, error) {
	var r Ref
	switch parts := strings.Split(s, "/"); len(parts) {
	case 1:
		r.ID = parts[0]
	case 3:
		day, err := time.Parse(time.DateOnly, parts[1])
		if err != nil || parts[0] == "" {
			return Ref{}, fmt.Errorf("reference %q: want <hub>/<yyyy-mm-dd>/<id>", s)
		}
		r = Ref{parts[0], day, parts[2]}
	default:
		return Ref{}, fmt.Errorf("reference %q: want <hub>/<yyyy-mm-dd>/<id>, or the id alone", s)
	}
	r.ID = strings.ToLower(r.ID)
	if !alertID.MatchString(r.ID) {
		return Ref{}, fmt.Errorf("reference %q: %q is not the id of an alert", s, r.ID)
	}
	return r, nil
}

// Quarantine keeps what could not be judged.
type Quarantine interface {
	// Quarantine keeps an event that can never be judged, or of which a part cannot. It
	// is idempotent for the same Function and Body on one UTC day. After an error the
	// caller tries again.
	Quarantine(ctx context.Context, q Quarantined) error
}

// Quarantined is an event that a function could not judge, or not whole, and never
// will.
type Quarantined struct {
	Function string // the function that it was delivered to
	EventID  string // "" if it could not be read
	Reason   string // what is wrong with it, and where
	Body     []byte // the event, or all that came if no event could be made out
	Size     int64  // bytes that came; more than len(Body) if it was too large to be taken whole
}
