// Package coverage is how hubwatch knows that it would hear. A canary is an event that
// hubwatch sends through a path to itself, each hour, or causes, each day. From the topic of a
// path on there is a way to each function that has an event subscription there, see Branch. What does not arrive is an alert, of
// the detector PathBroken. The package is pure: handlers/judge sends, and handlers/table
// remembers.
package coverage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
)

// Path is a way by which events reach hubwatch.
type Path string

// The paths.
const (
	// Topic is the way of verdicts to detectors: the custom topic, an event subscription, a
	// function, the table.
	Topic Path = "topic"
	// EventHub is the way of the Connections log from the event hub on: the event hub, the
	// relay, the table. The part before is Azure Monitor's, and nobody else can write there.
	EventHub Path = "event-hub"
	// Alerts is the way of alerts to whoever is told of them: the topic of alerts, an event
	// subscription, the function Notify, the table.
	Alerts Path = "alerts"
	// Changes is the way of changes of resources: Azure Resource Manager, the system topic, an
	// event subscription, a function. Only Azure Resource Manager publishes to the system topic,
	// so the canary is an operation: hubwatch writes a tag on a resource of its own, if it was
	// given the right to do so. The event of the operation is what has to arrive.
	Changes Path = "changes"
)

// Paths are all paths, without those into which they fork.
var Paths = []Path{Topic, EventHub, Alerts, Changes}

// check returns an error unless p is one of Paths. Whoever can publish to the topic can say
// anything, and the name of a path is kept as it is.
func (p Path) check() error {
	switch {
	case p == "":
		return errors.New("path: missing or empty")
	case !slices.Contains(Paths, p):
		return errUnknownPath
	}
	return nil
}

var errUnknownPath = errors.New("path: is none that this build knows")

// functionForm is what the name of a function looks like
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsofteventgrid,
// since the event subscription has the same name).
var functionForm = regexp.MustCompile(`^[A-Za-z0-9-]{3,64}$`)

// checkForked is check for a path that may be one into which another forks.
func (p Path) checkForked() error {
	from, function, ok := p.Forked()
	switch {
	case !ok:
		return p.check()
	case from != Topic && from != Alerts, !functionForm.MatchString(function):
		return errUnknownPath
	}
	return nil
}

// Words says what a path consists of.
func (p Path) Words() string {
	switch p {
	case Topic:
		return "custom topic, event subscription, function, table"
	case EventHub:
		return "event hub, relay, table"
	case Alerts:
		return "topic of alerts, event subscription, function Notify, table"
	case Changes:
		return "Azure Resource Manager, system topic, event subscription, function"
	}
	switch from, function, _ := p.Forked(); from {
	case Topic:
		return fmt.Sprintf("custom topic, event subscription %s and its filter, function %s, table", function, function)
	case Alerts:
		return fmt.Sprintf("topic of alerts, event subscription %s and its filter, function %s, table", function, function)
	}
	return "a path that this build does not know"
}

// Interval is how often a canary is sent through the path. A tag is written once a day, since
// each is a line in the activity log.
func (p Path) Interval() time.Duration {
	if p == Changes {
		return 24 * time.Hour
	}
	return Interval
}

// Overdue is how long no canary may be sent through the path. From then on the function that
// sends them counts as stopped. Whoever reads says so, since nobody else is left to say it.
func (p Path) Overdue() time.Duration { return p.Interval() + 30*time.Minute }

// Patience is how long a canary of the path may take, if usual is how long one of hubwatch's own
// events may. An operation may take six times as long, since nobody says how soon Azure Resource
// Manager publishes.
func (p Path) Patience(usual time.Duration) time.Duration {
	if p == Changes {
		return 6 * usual
	}
	return usual
}

const (
	// Interval is how often a canary is sent through each path but Changes.
	Interval = time.Hour
	// Patience is how long a canary may take if the settings say nothing else. Event Grid
	// tries a delivery again after 10 seconds, 30 seconds, a minute and five minutes
	// (https://learn.microsoft.com/azure/event-grid/delivery-and-retry#retry-schedule), and
	// the first delivery after a while can be refused.
	Patience = 10 * time.Minute
)

// Trip is what is known of the canaries of a path: the last that was sent, and the last that
// arrived.
type Trip struct {
	Path  Path
	Sent  time.Time // when the last canary was sent, UTC; zero for never
	Token string    // of that canary
	// Patience is how long it may take. A row of an older version does not say it; then it is
	// that of the path if the settings say nothing else.
	Patience time.Duration
	// Handed reports whether the path took the canary. If it did not, Fault says why, without
	// secrets. If neither is known, the sender ended between the two.
	Handed bool
	Fault  string
	// ArrivedToken is the token of the canary that arrived last, ArrivedSent is when it was
	// sent, and Took is how long it was on the way. They are zero if none ever arrived.
	ArrivedToken string
	ArrivedSent  time.Time
	Took         time.Duration
	// Branches are where else the last canary has to arrive, see Forks.
	Branches []Branch
	// Missing are the types of events as which the canary did not arrive, and New reports
	// whether the canary is the first one for each of these. Both are of what Forks returns.
	Missing []string
	New     bool
}

// Arrived reports whether the last canary that was sent has arrived.
func (t Trip) Arrived() bool { return t.Token != "" && t.Token == t.ArrivedToken }

// Missed reports whether the last canary should have arrived and did not. One of which nobody
// knows whether the path got it is not missed, and is sent again. A tag that Azure Resource
// Manager did not write is not missed either: it says nothing about the way of the events. Nor is
// the first canary for an event subscription, which is deployed after its function.
func (t Trip) Missed(now time.Time) bool {
	sent := t.Handed || t.Fault != "" && t.Path != Changes
	return t.Token != "" && sent && !t.New && !t.Arrived() && now.Sub(t.Sent) >= t.patience()
}

func (t Trip) patience() time.Duration { return cmp.Or(t.Patience, t.Path.Patience(Patience)) }

// Due reports whether another canary has to be sent. The timer is not exact to the second.
func (t Trip) Due(now time.Time) bool {
	const early = 5 * time.Minute
	age, interval := now.Sub(t.Sent), t.Path.Interval()
	switch {
	case t.Sent.IsZero() || t.Sent.After(now):
		return true
	case !t.Handed && !t.Arrived() && t.Fault == "":
		return age >= t.patience()
	case t.Fault != "": // the right may have been given meanwhile
		interval = Interval
	}
	return age >= interval-early
}

// Store remembers canaries.
type Store interface {
	Reader
	// Send remembers that a canary is being sent, how long it may take, and at which branches
	// it has to arrive. Whatever was known of the canary before of this path counts no more,
	// except when one arrived, and since when branches are there.
	Send(ctx context.Context, c Canary, patience time.Duration, branches []Branch) error
	// Handed remembers that the path took a canary. It changes nothing if another one was sent
	// since.
	Handed(ctx context.Context, c Canary) error
	// Refused remembers why a path did not take a canary. It changes nothing if another one
	// was sent since.
	Refused(ctx context.Context, c Canary, fault string) error
	// Arrive remembers that a canary arrived at a time. known is false, and nothing is
	// changed, if it is not the last that was sent: an old one that was delivered again, or
	// one that somebody else made up.
	Arrive(ctx context.Context, c Canary, at time.Time) (known bool, err error)
	// Reach is Arrive for a branch. known is also false if the canary need not arrive there.
	Reach(ctx context.Context, c Canary, b Branch, at time.Time) (known bool, err error)
	// Expect remembers of which hubs, by their names, hubwatch should hear.
	Expect(ctx context.Context, hubs []string) error
}

// Reader says what is known of the paths.
type Reader interface {
	// Trips returns what is known of each path that was ever tried, in the order of their
	// names. The error wraps alert.ErrAbsent if there is no table.
	Trips(ctx context.Context) ([]Trip, error)
}

// State says in a word how a path is.
type State string

// The states.
const (
	Works    State = "works"
	Waiting  State = "waiting"  // a canary is under way
	Broken   State = "broken"   // the last canary did not arrive
	Stopped  State = "stopped"  // nobody sends canaries any more
	Unproven State = "unproven" // no canary was ever sent, or Azure Resource Manager wrote no tag
)

// Report says how a path is.
type Report struct {
	Path  Path
	State State
	// Text is a sentence without a full stop, without secrets.
	Text string
	Trip
	// Heard is when a change last came, for Changes; zero if none ever did.
	Heard time.Time
}

// Wrong reports whether somebody has to do something about the path.
func (r Report) Wrong() bool { return r.State == Broken || r.State == Stopped }

// NewReports says how each path is at a time. trips is what is known of canaries, and heard
// when hubs were heard of. The paths into which others fork come after those, and a path that
// only another build knows comes last.
func NewReports(trips []Trip, heard []alert.Heard, now time.Time) (reports []Report) {
	known := map[Path]Trip{}
	for _, t := range trips {
		known[t.Path] = t
	}
	paths := slices.Clone(Paths)
	for _, p := range Paths {
		for _, f := range known[p].Forks() {
			known[f.Path] = f
			paths = append(paths, f.Path)
		}
	}
	for _, t := range trips {
		if !slices.Contains(paths, t.Path) {
			paths = append(paths, t.Path)
		}
	}
	for _, p := range paths {
		r := Report{Path: p, Trip: known[p]}
		if p == Changes {
			for _, h := range heard {
				if (h.Source == alert.Changes || h.Source == alert.Resources) && h.Seen.After(r.Heard) {
					r.Heard = h.Seen
				}
			}
		}
		r.State, r.Text = r.judge(now)
		reports = append(reports, r)
	}
	return reports
}

// judge says how the path is.
func (r Report) judge(now time.Time) (State, string) {
	last := "none ever arrived"
	if !r.ArrivedSent.IsZero() {
		last = fmt.Sprintf("the last that arrived was sent at %s UTC", minute(r.ArrivedSent))
	}
	change := "no change ever came"
	if !r.Heard.IsZero() {
		change = fmt.Sprintf("a change last came %s ago", Ago(now.Sub(r.Heard)))
	}
	switch age := now.Sub(r.Sent); {
	case r.Path == Changes && r.Sent.IsZero():
		return Unproven, "not proven, since only Azure Resource Manager can publish there, and no tag is written for it; " + change
	case r.Path == Changes && r.Fault != "":
		return Unproven, fmt.Sprintf("not proven, since no tag was written: %s; %s", r.Fault, change)
	case r.Sent.IsZero():
		return Unproven, "no canary was ever sent"
	case age >= r.Path.Overdue():
		return Stopped, fmt.Sprintf("no canary was sent for %s: the function Canary does not run, or cannot write; %s", Ago(age), last)
	case r.Arrived():
		return Works, fmt.Sprintf("a canary went through at %s UTC, in %s", minute(r.Sent), r.Took.Round(time.Millisecond))
	case r.Missed(now):
		return Broken, fmt.Sprintf("the canary of %s UTC did not arrive%s%s; %s", minute(r.Sent), as(r.Missing), because(r.Fault), last)
	}
	return Waiting, fmt.Sprintf("a canary is under way since %s UTC; %s", minute(r.Sent), last)
}

// as says as which types of events a canary is missing.
func as(types []string) string {
	if len(types) == 0 {
		return ""
	}
	return " as " + strings.Join(types, " and ")
}

// because says why a canary could not arrive, if that is known.
func because(fault string) string {
	if fault == "" {
		return ""
	}
	return ", for it could not be sent: " + fault
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// Ago writes how long ago something was: days, hours, minutes or seconds.
func Ago(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.of); n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d seconds", max(0, int(d/time.Second)))
}

// Document is what is heard, and how each path is, as programs read it.
type Document struct {
	Sources []SourceDocument `json:"sources"`
	Paths   []PathDocument   `json:"paths"`
}

// SourceDocument is when a hub was last heard of by one source.
type SourceDocument struct {
	HubName   string       `json:"hubName"`
	Source    alert.Source `json:"source"`
	LastEvent time.Time    `json:"lastEventUtc,omitzero"` // neither is there if none ever came
	LastSeen  time.Time    `json:"lastSeenUtc,omitzero"`
}

// PathDocument is a Report as programs read it.
type PathDocument struct {
	Path     Path      `json:"path"`
	State    State     `json:"state"`
	Text     string    `json:"text"`
	Sent     time.Time `json:"sentUtc,omitzero"`
	Arrived  time.Time `json:"arrivedUtc,omitzero"` // of the canary that arrived last
	Took     float64   `json:"tookSeconds,omitzero"`
	LastSeen time.Time `json:"lastSeenUtc,omitzero"` // of the path changes
}

// Sources returns when each hub was last heard of, by hub and source: also by the expected
// sources of which nothing of this hub ever came, with zero times. What is no hub is left out.
func Sources(heard []alert.Heard, expected []alert.Source) (all []alert.Heard) {
	for _, h := range heard {
		if h.Source == alert.Resources {
			continue
		}
		all = append(all, h)
		for _, source := range expected {
			of := func(other alert.Heard) bool { return other.Hub == h.Hub && other.Source == source }
			if !slices.ContainsFunc(heard, of) && !slices.ContainsFunc(all, of) {
				all = append(all, alert.Heard{Hub: h.Hub, Source: source})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b alert.Heard) int {
		return cmp.Or(cmp.Compare(a.Hub, b.Hub), cmp.Compare(a.Source, b.Source))
	})
	return all
}

// NewDocument returns what is known at a time as programs read it. expected are the sources of
// which each hub should be heard.
func NewDocument(heard []alert.Heard, expected []alert.Source, trips []Trip, now time.Time) Document {
	d := Document{Sources: []SourceDocument{}}
	for _, h := range Sources(heard, expected) {
		d.Sources = append(d.Sources, SourceDocument{h.Hub, h.Source, h.Event, h.Seen})
	}
	for _, r := range NewReports(trips, heard, now) {
		p := PathDocument{Path: r.Path, State: r.State, Text: r.Text, Sent: r.Sent, Took: r.Took.Seconds(), LastSeen: r.Heard}
		if !r.ArrivedSent.IsZero() {
			p.Arrived = r.ArrivedSent.Add(r.Took)
		}
		d.Paths = append(d.Paths, p)
	}
	return d
}
