package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/verdict"
)

// Figures reads what the Connections log of a hub says beside alerts.
type Figures interface {
	// Days returns the figures of a hub, whose name may be in any case, for the UTC days of
	// from to to, in order. Days without a verdict are left out.
	Days(ctx context.Context, hub string, from, to time.Time) ([]verdict.Figures, error)
}

// NoFigures are those of a console that has no account of the state. Err says why.
type NoFigures struct{ Err error }

// Days implements Figures.
func (n NoFigures) Days(context.Context, string, time.Time, time.Time) ([]verdict.Figures, error) {
	return nil, n.Err
}

// hubsAtOnce is how many hubs are asked for at the same time.
const hubsAtOnce = 8

// Connections returns the figures of hubs for the UTC days of from to to, hub by hub.
func Connections(ctx context.Context, of Figures, hubs []string, from, to time.Time) ([]verdict.Figures, error) {
	days := make([][]verdict.Figures, len(hubs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(hubsAtOnce)
	for i, hub := range hubs {
		group.Go(func() (err error) {
			days[i], err = of.Days(ctx, hub, from, to)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(days...), err
}

// LoggedHubs returns the hubs whose Connections log was heard of, in lower case and in order.
func LoggedHubs(heard []alert.Heard) (hubs []string) {
	for _, h := range heard {
		if h.Source == alert.Connections && !h.Seen.IsZero() {
			hubs = append(hubs, alert.Hub{Name: h.Hub}.Key())
		}
	}
	slices.Sort(hubs)
	return slices.Compact(hubs)
}

// Sentence is a reason of failed connections that no rule knows, and how often it came.
type Sentence struct {
	Text string
	N    int
}

// Sentences returns the sentences of days that no rule knows, the most frequent first.
func Sentences(days []verdict.Figures) (list []Sentence) {
	all := map[string]int{}
	for _, f := range days {
		for text, n := range f.Unknown {
			all[text] += n
		}
	}
	for _, text := range slices.Sorted(maps.Keys(all)) {
		list = append(list, Sentence{text, all[text]})
	}
	slices.SortStableFunc(list, func(a, b Sentence) int { return cmp.Compare(b.N, a.N) })
	return list
}

// Refused returns how many connections of some days were refused, by cause.
func Refused(days []verdict.Figures) map[connection.Cause]int {
	all := map[connection.Cause]int{}
	for _, f := range days {
		for cause, n := range f.Refused {
			all[cause] += n
		}
	}
	return all
}

// Causes are those of refused connections as people read them, the gravest first.
var Causes = []struct {
	Cause connection.Cause
	Title string // of a column
	Words string // of one connection
}{
	{connection.ThumbprintMismatch, "Wrong certificate", "refused with a wrong certificate"},
	{connection.CertificateExpired, "Expired certificate", "refused with an expired certificate"},
	{connection.TokenInvalid, "Invalid token", "refused with an invalid token"},
	{connection.TokenExpired, "Expired token", "refused with an expired token"},
	{connection.Unclassified, "Other", "refused for another reason"},
}

// ConnectionsDocument is the figures of a hub and day as programs read them.
type ConnectionsDocument struct {
	HubName   string         `json:"hubName"`
	Day       string         `json:"day"`
	Renewals  int            `json:"renewals"`
	Elsewhere int            `json:"elsewhere"` // see verdict.Figures
	Refused   map[string]int `json:"refused"`
	Unknown   map[string]int `json:"unknown"`
}

// NewConnectionsDocument returns f as programs read it. Causes are in camel case.
func NewConnectionsDocument(f verdict.Figures) ConnectionsDocument {
	refused := map[string]int{}
	for cause, n := range f.Refused {
		refused[camel(string(cause))] = n
	}
	return ConnectionsDocument{f.Hub, f.Day.Format(time.DateOnly), f.Renewed, f.Elsewhere, refused, f.Unknown}
}

// camel returns words as the name of a member: "tokenExpired" of "token expired".
func camel(words string) string {
	parts := strings.Fields(words)
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}
