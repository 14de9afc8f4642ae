package alert

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hubwatch/handlers/secret"
)

// Suppression is a rule of people: occurrences that it matches are kept and counted,
// and nobody is told of them. A suppression never changes, except that it can be ended.
type Suppression struct {
	ID        string // given by the store, unique in it
	Reason    string // why nobody needs to hear of it, 1 to 1,000 characters
	Owner     string // whom to ask about it: a person or a team, 1 to 200 characters
	CreatedBy Person
	Created   time.Time // UTC
	// Starts and Expires bound the time of the events that the suppression matches.
	// Starts is included, and Expires is not.
	Starts, Expires time.Time

	// The conditions. An empty one stands for anything, and all others have to hold.
	// Letter case does not matter, except in the ids of devices and modules, as in ID.

	AlertType  string
	Hub        string // name
	EntityType EntityType
	// Entity is the name of the entity. A * at its end stands for any characters, or
	// none. A * at another place is a *.
	Entity string
	Actor  string
	// Addresses is the range that the actor's address is in. An address that the event
	// does not have, or has masked, is in no range.
	Addresses netip.Prefix

	EndedBy Person    // zero if nobody has ended it
	Ended   time.Time // when it was ended, UTC; zero if nobody has ended it
}

// Limits of a suppression.
const (
	mostOwner     = 200  // characters
	mostCondition = 1000 // characters; no name that Azure has is longer
	// longestSuppression is how long a suppression lasts at most. A pipeline that is
	// still there a year later is worth another look.
	longestSuppression = 366 * 24 * time.Hour
)

// Check returns an error if people may not make this suppression. The error says what
// is missing or wrong. A suppression that would hide all alerts of a type is refused:
// the type and the kind of the entity together are not enough of a condition, and
// neither is a pattern or a range that everything is in.
func (s Suppression) Check() error {
	switch {
	case strings.TrimSpace(s.Reason) == "":
		return errors.New("want a reason: it is what the next person reads")
	case utf8.RuneCountInString(s.Reason) > mostReason:
		return fmt.Errorf("reason: %d characters, want at most %d", utf8.RuneCountInString(s.Reason), mostReason)
	case strings.TrimSpace(s.Owner) == "":
		return errors.New("want an owner: whom to ask about it")
	case utf8.RuneCountInString(s.Owner) > mostOwner:
		return fmt.Errorf("owner: %d characters, want at most %d", utf8.RuneCountInString(s.Owner), mostOwner)
	case s.Expires.IsZero():
		return errors.New("want a time at which it expires")
	case s.Created.IsZero():
		return errors.New("want the time at which it was created")
	case s.Starts.IsZero():
		return errors.New("want a time at which it starts")
	case !s.Starts.Before(s.Expires):
		return fmt.Errorf("it expires at %s, which is not after its start at %s", s.Expires.UTC().Format(time.RFC3339), s.Starts.UTC().Format(time.RFC3339))
	case s.Expires.Sub(s.Starts) > longestSuppression, s.Expires.Sub(s.Created) > longestSuppression:
		return fmt.Errorf("it expires at %s, want at most 366 days", s.Expires.UTC().Format(time.RFC3339))
	}
	return s.CheckConditions()
}

// CheckConditions is Check for the conditions alone.
func (s Suppression) CheckConditions() error {
	for _, name := range []string{s.AlertType, s.Hub, s.Entity, s.Actor} {
		switch {
		case utf8.RuneCountInString(name) > mostCondition:
			return fmt.Errorf("condition %.40q…: %d characters, want at most %d", name, utf8.RuneCountInString(name), mostCondition)
		case secret.Visible(name) != name:
			return fmt.Errorf("condition %q: has a character that cannot be seen: want the part before it and a *", name)
		}
	}
	switch {
	case s.EntityType != "" && !slices.Contains(EntityTypes, s.EntityType):
		return fmt.Errorf("kind of entity %q: want %s", s.EntityType, anyOf(EntityTypes))
	case s.Entity != "" && strings.Trim(s.Entity, "*") == "":
		return fmt.Errorf("entity %q stands for everything: want at least one other character", s.Entity)
	case s.Addresses.IsValid() && s.Addresses.Bits() == 0:
		return fmt.Errorf("range %s has every address: want a smaller one", s.Addresses)
	case s.Addresses.Addr().Is4In6():
		return fmt.Errorf("range %s: want an IPv4 range in the form of IPv4", s.Addresses)
	case s.Hub == "" && s.Entity == "" && s.Actor == "" && !s.Addresses.IsValid():
		return errors.New("want at least one of hub, entity, actor and address: a suppression never hides all alerts of a type")
	}
	return nil
}

// End returns when the suppression stops to match: when it expires, or was ended before.
func (s Suppression) End() time.Time {
	if !s.Ended.IsZero() && s.Ended.Before(s.Expires) {
		return s.Ended
	}
	return s.Expires
}

// State says in one word what the suppression does at a time: it is active, or starts
// later, or has expired, or was ended before it expired.
func (s Suppression) State(at time.Time) string {
	switch {
	case at.Before(s.Starts) && s.Starts.Before(s.End()):
		return "later"
	case at.Before(s.End()):
		return "active"
	case s.End().Equal(s.Expires):
		return "expired"
	}
	return "ended"
}

// Matches reports whether the occurrence falls under the suppression. It compares the
// time of the event and never asks the clock, so that an event that is delivered again
// gets the same answer. A suppression that Check refuses matches nothing.
func (s Suppression) Matches(o Occurrence) bool {
	at := o.Event.Time
	return !at.Before(s.Starts) && at.Before(s.End()) && s.matches(o.Type, o.Finding) &&
		(!s.Addresses.IsValid() || s.holds(o.ActorIPAddress) && (o.Until.IsZero() || s.holds(o.UntilIPAddress))) && s.Check() == nil
}

// MatchesAlert reports whether all occurrences of the alert meet the conditions, at any
// time: whether the suppression would have hidden the alert, if it had been there. An
// alert with more addresses than it names does not meet a range.
func (s Suppression) MatchesAlert(a Alert) bool {
	return s.CheckConditions() == nil && s.matches(a.Type, a.Finding) &&
		(!s.Addresses.IsValid() || !a.MoreActorIPAddresses && !slices.ContainsFunc(a.addresses(), func(address string) bool { return !s.holds(address) }))
}

// matches reports whether all conditions but the range hold.
func (s Suppression) matches(alertType string, f Finding) bool {
	is := func(want, have string) bool { return want == "" || fold(want) == fold(have) }
	return is(s.AlertType, alertType) && is(s.Hub, f.Hub.Name) && is(string(s.EntityType), string(f.Entity.Type)) &&
		is(s.Actor, f.Actor) && s.names(f.Entity)
}

// fold makes names that ID takes for the same the same. strings.EqualFold would take
// more for the same, like s and the long s.
func fold(name string) string { return strings.ToLower(name) }

// names reports whether the condition on the name of the entity holds.
func (s Suppression) names(e Entity) bool {
	if s.Entity == "" {
		return true
	}
	want := Entity{e.Type, s.Entity}.key()
	if beginning, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(e.key(), beginning)
	}
	return want == e.key()
}

// holds reports whether an address is in s.Addresses.
func (s Suppression) holds(address string) bool { return Query{Address: s.Addresses}.holds(address) }

// ParseAddresses reads an IP address, which is a range of one, or a range in the form
// 203.0.113.0/24. An IPv4 address in the form of IPv6 is the IPv4 address.
func ParseAddresses(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("want an IP address or a range: 203.0.113.7, 203.0.113.0/24, 2001:db8::/32")
	}
	const mapped = 96 // bits before an IPv4 address in the form of IPv6 (RFC 4291, section 2.5.5.2)
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), nil
}

// Suppressions keeps suppressions. They are never deleted.
type Suppressions interface {
	// List returns the suppressions that expire at since or later, or on the UTC day of
	// since, also those that were ended: the oldest first. A zero time asks for all.
	// broken says which of what is kept is not a suppression, and why; it suppresses
	// nothing. The error means that the suppressions could not be read; that there is
	// no store of them yet is not an error.
	List(ctx context.Context, since time.Time) (all []Suppression, broken []error, err error)

	// Add keeps a suppression, and returns it with its id. The error is that of Check if
	// it is not right.
	Add(ctx context.Context, s Suppression) (Suppression, error)

	// End ends the suppression with this id now, and returns it. A suppression that has
	// ended already stays as it is, which is not an error. The error wraps
	// ErrNoSuppression if there is none with this id.
	End(ctx context.Context, id string, by Person) (Suppression, error)
}

// ErrNoSuppression is wrapped by the errors of Suppressions for a suppression that is
// not there.
var ErrNoSuppression = errors.New("there is no such suppression")
