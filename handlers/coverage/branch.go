package coverage

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
)

// Branch is an event subscription of a topic, and one of the types of events that it takes. A
// path ends in one function of its topic, and forks into a branch for each other one: a canary
// has to arrive there, too, as an event of this type.
type Branch struct {
	Function string // which gets what the event subscription takes
	Type     string // of events
	// Since is when the first canary was sent that had to arrive here.
	Since time.Time
	// ArrivedToken, ArrivedSent and Took are as those of a Trip.
	ArrivedToken string
	ArrivedSent  time.Time
	Took         time.Duration
}

// MostBranches is how many branches a path can have. Further ones are not proved.
const MostBranches = 200

// Is reports whether b and other are of the same function and type.
func (b Branch) Is(other Branch) bool { return b.Function == other.Function && b.Type == other.Type }

// Renew returns the branches at which a canary has to arrive that is sent at a time. before are
// those of the canary before. What is known of a branch that was among them stays known.
func Renew(before, wanted []Branch, sent time.Time) (branches []Branch) {
	for _, b := range wanted[:min(len(wanted), MostBranches)] {
		if i := slices.IndexFunc(before, b.Is); i >= 0 {
			branches = append(branches, before[i])
			continue
		}
		branches = append(branches, Branch{Function: b.Function, Type: b.Type, Since: sent})
	}
	return branches
}

// Alive reports whether the last canary arrived anywhere. If it did not, what is missing is
// missing before the path forks.
func (t Trip) Alive() bool {
	return t.Arrived() || slices.ContainsFunc(t.Branches, t.reached)
}

// reached reports whether the last canary arrived at a branch.
func (t Trip) reached(b Branch) bool { return t.Token != "" && b.ArrivedToken == t.Token }

// Forks returns a trip for each function into whose branches the path forks, in the order of
// the branches. The path of such a trip is that of t, a slash and the name of the function. Its
// canary has arrived when it has at each branch of the function. Its token is none of those that
// are sent: it tells the trips of one canary apart.
func (t Trip) Forks() (forks []Trip) {
	for _, b := range t.Branches {
		path := t.Path.fork(b.Function)
		i := slices.IndexFunc(forks, func(f Trip) bool { return f.Path == path })
		if i < 0 {
			i = len(forks)
			token := t.Token + separator + b.Function
			forks = append(forks, Trip{
				Path: path, Sent: t.Sent, Token: token, Patience: t.Patience, Handed: t.Handed, Fault: t.Fault, ArrivedToken: token, ArrivedSent: b.ArrivedSent,
			})
		}
		f := &forks[i]
		f.Took = max(f.Took, b.Took)
		if b.ArrivedSent.Before(f.ArrivedSent) {
			f.ArrivedSent = b.ArrivedSent
		}
		if !t.reached(b) {
			f.New = !b.Since.Before(t.Sent) && (f.New || f.Missing == nil)
			f.ArrivedToken, f.Missing = "", append(f.Missing, b.Type)
		}
	}
	return forks
}

// mark is the member of a message, or of the data of an event, that is a canary.
const mark = "hubwatchCanary"

// Marked reports whether an event that was scanned may be one that Canary.Disguise made. It looks
// at the name of one member, since each event of a detector is asked.
func Marked(e scan.Value) bool { return e.Get("data").First().Name() == mark }

// MarkedRaw is Marked for an event that was not scanned. It searches all of the event.
func MarkedRaw(raw []byte) bool { return bytes.Contains(raw, []byte(`"`+mark+`"`)) }

// Disguise returns the canary as a CloudEvent of a type that detectors look at, with a subject
// that has all that their event subscriptions ask for.
func (c Canary) Disguise(source, subject, eventType string) jsontext.Value {
	return encode(envelope{"1.0", c.disguised(eventType), eventType, source, subject, c.Sent, "application/json", message{canaryJSON(c)}})
}

// disguised returns the id of the event.
func (c Canary) disguised(eventType string) string { return c.Token + "/" + eventType }

// ParseDisguise returns the canary that an event is. ok is false unless Canary.Disguise could
// have made the event: its data is the canary and nothing else, so that nothing which a detector
// could find is in it.
func ParseDisguise(e event.Event) (c Canary, ok bool) {
	var m message
	if err := json.Unmarshal(e.Data, &m, json.RejectUnknownMembers(true)); err != nil {
		return Canary{}, false
	}
	c, err := m.Canary.canary()
	return c, err == nil && e.ID == c.disguised(e.Type)
}

// separator is between the name of a path and that of a function into whose branches it forks.
const separator = "/"

// fork returns the path to a function into whose branches p forks.
func (p Path) fork(function string) Path { return p + separator + Path(function) }

// Forked returns the path that forks and the name of the function, if p is what Trip.Forks
// names.
func (p Path) Forked() (from Path, function string, ok bool) {
	before, function, ok := strings.Cut(string(p), separator)
	return Path(before), function, ok
}
