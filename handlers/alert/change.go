package alert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Verdict is what people found an alert to be.
type Verdict string

// The verdicts. The zero value is none of them: nobody has said yet.
const (
	TruePositive  Verdict = "TruePositive"  // an attack, or a fault that has to be mended
	Benign        Verdict = "Benign"        // it happened, and it was meant to
	FalsePositive Verdict = "FalsePositive" // it did not happen
)

// Verdicts are all verdicts.
var Verdicts = []Verdict{TruePositive, Benign, FalsePositive}

// Person is who changes an alert.
type Person struct {
	Name     string // as Microsoft Entra has it, or of the local account: local:<name>
	ObjectID string // in Microsoft Entra, "" for a local account
}

// String returns the name, or the object id of a person without a name.
func (p Person) String() string {
	if p.Name == "" {
		return p.ObjectID
	}
	return p.Name
}

// Change is what a person does to an alert. The zero Status or Verdict leaves that of
// the alert as it is.
type Change struct {
	Status  Status
	Verdict Verdict
	Reason  string // 1 to 1,000 characters, without credentials
	By      Person
	Via     string // what made the change: "cli", "console"
	// Seen is the alert's number of changes that the person saw. The change is refused
	// if the alert was changed since then. Nil means any number.
	Seen *int
}

// mostReason is how many characters a reason has at most.
const mostReason = 1000

// Check returns an error if the change cannot be made to any alert. The error says
// what is missing or wrong.
func (c Change) Check() error {
	switch {
	case c.Status == "" && c.Verdict == "" && c.Reason == "":
		return errors.New("want a status, a verdict or a reason")
	case c.Status != "" && !slices.Contains(Statuses, c.Status):
		return fmt.Errorf("status %q: want %s", c.Status, anyOf(Statuses))
	case c.Verdict != "" && !slices.Contains(Verdicts, c.Verdict):
		return fmt.Errorf("verdict %q: want %s", c.Verdict, anyOf(Verdicts))
	case strings.TrimSpace(c.Reason) == "":
		return errors.New("want a reason: it is what the next person reads")
	case utf8.RuneCountInString(c.Reason) > mostReason:
		return fmt.Errorf("reason: %d characters, want at most %d", utf8.RuneCountInString(c.Reason), mostReason)
	}
	return nil
}

// next are the statuses that may follow a status. A status that a person typed into
// the table, and that is none of these, may be followed by any.
var next = map[Status][]Status{
	Active:     {InProgress, Resolved, Dismissed},
	InProgress: {Active, Resolved, Dismissed},
	Resolved:   {Active},
	Dismissed:  {Active},
}

// Illegal is the error of a change to a status, or without a verdict, that the
// alert's own status does not allow.
type Illegal struct {
	From, To Status
	Want     string // what would be right
}

// Error implements error.
func (i *Illegal) Error() string {
	return fmt.Sprintf("from %s to %s: %s", i.From, i.To, i.Want)
}

// Follows returns nil if an alert with the status from may be changed as c says, and
// an *Illegal otherwise. The same status again is no error.
func (c Change) Follows(from Status, verdict Verdict) error {
	if c.Status == "" || c.Status == from {
		return nil
	}
	if allowed, known := next[from]; known && !slices.Contains(allowed, c.Status) {
		return &Illegal{from, c.Status, "want " + anyOf(allowed) + " first"}
	}
	if c.Status == Dismissed && c.Verdict == "" && verdict == "" {
		return &Illegal{from, c.Status, "want a verdict too: " + anyOf(Verdicts)}
	}
	return nil
}

// Choosing returns q with the statuses that the change can make into its own, if q names
// none. So of the alerts that q asks for it chooses those that can be changed.
func (c Change) Choosing(q Query) Query {
	if len(q.Statuses) > 0 || c.Status == "" {
		return q
	}
	for _, status := range Statuses {
		// With a verdict, only the status itself can be in the way.
		if status != c.Status && c.Follows(status, Benign) == nil {
			q.Statuses = append(q.Statuses, status)
		}
	}
	return q
}

// Foresee returns an alert as the change would leave it. Its error is the one that
// Editor.Change would return: a *Conflict or an *Illegal.
func (c Change) Foresee(a Alert) (Alert, error) {
	if c.Seen != nil && *c.Seen != a.Changes {
		return a, &Conflict{Ref: a.Ref(), Last: History{
			Number: a.Changes, Time: a.StatusTime, To: a.Status, Reason: a.StatusReason, By: a.StatusBy,
		}}
	}
	if err := c.Follows(a.Status, a.Verdict); err != nil {
		return a, err
	}
	a.Status, a.Verdict = cmp.Or(c.Status, a.Status), cmp.Or(c.Verdict, a.Verdict)
	return a, nil
}

// History is one change of an alert, by a person or by hubwatch. It stays for ever.
type History struct {
	Number   int // 1 for the alert's first change
	Time     time.Time
	From, To Status // the same if the change was not about the status
	Verdict  Verdict
	Reason   string
	By       Person // "hubwatch" if an occurrence reopened the alert
	Via      string // "cli", "console"; "handler" if an occurrence reopened the alert
	EventID  string // of the occurrence that reopened the alert
}

// Conflict is the error of a change to an alert that somebody else has changed
// meanwhile.
type Conflict struct {
	Ref  Ref
	Last History // the newest change; zero if its row is missing
}

// Error implements error. It says who changed the alert, when, to what and why.
func (c *Conflict) Error() string {
	if c.Last.Number == 0 {
		return fmt.Sprintf("alert %s: somebody else changed it meanwhile", c.Ref)
	}
	what := "changed it"
	if c.Last.To != c.Last.From {
		what = "set it to " + string(c.Last.To)
	}
	return fmt.Sprintf("alert %s: %s %s at %s (%q): nothing was saved", c.Ref, c.Last.By, what, c.Last.Time.UTC().Format(time.RFC3339), c.Last.Reason)
}

// anyOf lists words as a sentence does.
func anyOf[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// Summary is how many alerts one hub has on one day.
type Summary struct {
	Hub string    // as the keys of the table have it: in lower case
	Day time.Time // UTC
	// Counts are the numbers of alerts by type and status, those without any left out.
	// Suppressed alerts are not among them.
	Counts     map[string]map[Status]int
	Suppressed int
	// Version is another after each alert that was raised or reopened, and after each
	// change of a status. It is "" if that is unknown.
	Version string
}
