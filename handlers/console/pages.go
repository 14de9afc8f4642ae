package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/fleet"
)

// recent is what is known of some days.
type recent struct {
	Days        int
	First, Last time.Time // days
	Older       bool      // Last is not today, because there are no alerts since
	Absent      string    // why there may be nothing, "" if there is a store of alerts
	sums        []alert.Summary
	heard       []alert.Heard
}

// recent reads the summaries of the last days, of one hub or of all, and when hubs were
// last heard of. If these days have no alerts and older is true, the days are those up to
// the newest alert: an alert that is open for long needs somebody no less.
func (s *server) recent(ctx context.Context, hub string, days int, older bool) (recent, error) {
	last := alert.Day(s.Now())
	p := recent{Days: days, First: last.AddDate(0, 0, 1-days), Last: last}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { p.heard, err = within(ctx, s.Alerts.LastHeard); return err })
	group.Go(func() (err error) {
		p.sums, err = within(ctx, func(ctx context.Context) ([]alert.Summary, error) {
			return fleet.Summaries(ctx, s.Alerts, alert.Query{Hub: hub, Since: p.First})
		})
		if err != nil || len(p.sums) > 0 || !older {
			return err
		}
		newest, err := s.newest(ctx, hub)
		if err != nil || newest.IsZero() {
			return err
		}
		p.Last, p.First, p.Older = newest, newest.AddDate(0, 0, 1-days), true
		p.sums, err = within(ctx, func(ctx context.Context) ([]alert.Summary, error) {
			return fleet.Summaries(ctx, s.Alerts, alert.Query{Hub: hub, Since: p.First, Until: p.Last.AddDate(0, 0, 1).Add(-1)})
		})
		return err
	})
	err := group.Wait()
	if errors.Is(err, alert.ErrAbsent) {
		p.Absent, err = err.Error(), nil
	}
	return p, err
}

// Words names the days in a sentence.
func (p recent) Words() string {
	switch {
	case p.Days == 1 && !p.Older:
		return "today"
	case p.Older:
		return fmt.Sprintf("the %d days up to %s", p.Days, p.Last.Format(time.DateOnly))
	}
	return fmt.Sprintf("the last %d days", p.Days)
}

// In names the days as they follow "alerts".
func (p recent) In() string {
	if words := p.Words(); words != "today" {
		return "in " + words
	}
	return "today"
}

// older returns the flag --since of a command that looks at the same days, if these are not those
// that it looks at by itself.
func (p recent) older() (flags [][2]string) {
	if p.Older {
		flags = append(flags, [2]string{"since", p.Since()})
	}
	return flags
}

// Since is the first day as an address has it.
func (p recent) Since() string { return p.First.Format(time.DateOnly) }

// hubsPage is all hubs.
type hubsPage struct {
	recent
	Hubs []HubRow
}

// hubs answers with all hubs.
func (s *server) hubs(w http.ResponseWriter, r *http.Request) error {
	found, err := s.recent(r.Context(), "", usualWindow, true)
	if err != nil {
		return err
	}
	p := hubsPage{recent: found}
	for _, h := range fleet.Hubs(p.sums, p.heard, s.Detectors) {
		p.Hubs = append(p.Hubs, s.hubRow(h))
	}
	return s.render(w, r, http.StatusOK, "hubs", page{Title: "Hubs", Section: "hubs", Command: s.commandLine("hubs", p.older()), Body: p})
}

// hubPage is one hub.
type hubPage struct {
	HubRow
	recent
	Chart       chart
	Groups      []group
	Entities    []entityCount
	Connections figures       // of a week
	OpenAlerts  []alert.Alert // the newest of them
	More        bool          // there are others
}

// entityCount is how many of some alerts are about one entity.
type entityCount struct {
	Entity alert.Entity
	N      int
	Href   string
}

// mostOpen is how many open alerts the page of a hub shows.
const mostOpen = 50

// hub answers with one hub.
func (s *server) hub(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("hub")
	if name == "" {
		return mistake("hub: want the name of a hub")
	}
	found, err := s.recent(r.Context(), name, usualWindow, true)
	if err != nil {
		return err
	}
	heard := slices.DeleteFunc(found.heard, func(h alert.Heard) bool { return !strings.EqualFold(h.Hub, name) })
	hubs := fleet.Hubs(found.sums, heard, s.Detectors)
	if len(hubs) == 0 {
		return &problem{http.StatusNotFound, "hubwatch has not heard of this hub", "There are no alerts about " + name + " in the last 30 days, and no event of it came."}
	}
	p := hubPage{HubRow: s.hubRow(hubs[0]), recent: found, Chart: s.newChart(found.sums, "type", found.First, found.Last)}
	p.Connections = s.recentConnections(r, []string{p.Name}, usualConnections, func() ([]alert.Heard, error) { return heard, nil })
	p.Groups = filter{}.groups(found.sums, s.Detectors)
	if hubs[0].Open() <= manyAlerts {
		q := alert.Query{Hub: name, Statuses: []alert.Status{alert.Active, alert.InProgress}, Since: p.First}
		alerts, _, err := s.take(r.Context(), q, 0, manyAlerts)
		if err != nil {
			return err
		}
		p.Entities = s.mostNamed(alerts)
		p.OpenAlerts, p.More = alerts[:min(len(alerts), mostOpen)], len(alerts) > mostOpen
	} else {
		p.More = true
	}
	since := "30d"
	if p.recent.Older {
		since = p.Since()
	}
	return s.render(w, r, http.StatusOK, "hub", page{
		Title: hubs[0].Name, Section: "hubs", Command: s.commandLine("alerts list", [][2]string{{"since", since}, {"hub", name}}), Body: p,
	})
}

// mostNamed returns the entities that most of some alerts are about.
func (s *server) mostNamed(alerts []alert.Alert) (list []entityCount) {
	counts := map[alert.Entity]int{}
	hubs := map[alert.Entity]string{}
	for _, a := range alerts {
		counts[a.Entity]++
		hubs[a.Entity] = a.Hub.Name
	}
	const most = 10
	for e, n := range counts {
		list = append(list, entityCount{e, n, s.entityPath(hubs[e], e)})
	}
	slices.SortFunc(list, func(a, b entityCount) int {
		if a.N != b.N {
			return b.N - a.N
		}
		return strings.Compare(a.Entity.Name, b.Entity.Name)
	})
	return list[:min(len(list), most)]
}

// storyPage is all alerts of an entity or of an actor.
type storyPage struct {
	Kind, Name string
	Hub        string
	Days       int
	Last       time.Time // the newest day
	Older      bool      // Last is not today, because there are no alerts since
	Back       time.Time // the oldest day that was looked through, zero if that is all of Days
	Alerts     []alert.Alert
	More       bool
	Open       int
	Address    string
	AddressAt  time.Time
	Causes     []cause
	Suppress   string
	All        string // address of the list
}

// cause is how many alerts of a story are of one type.
type cause struct {
	Title string
	N     int
}

const (
	// storyDays is how many days a story goes back.
	storyDays = 90
	// mostStory is how many alerts a story shows.
	mostStory = 150
)

// since is where the days begin, as a flag of the command has it.
func (p storyPage) since() string {
	if p.Older {
		return p.Last.AddDate(0, 0, 1-p.Days).Format(time.DateOnly)
	}
	return fmt.Sprintf("%dd", p.Days)
}

// tell reads the alerts of a story with read, which gets the first day. If the last days have
// none, the days are those up to the newest alert of the story's hub, or of all hubs: whoever
// comes from an old alert finds it there.
func (s *server) tell(ctx context.Context, p *storyPage, read func(since time.Time) error) error {
	p.Last = alert.Day(s.Now())
	since := p.Last.AddDate(0, 0, 1-p.Days)
	if err := read(since); err != nil || len(p.Alerts) > 0 {
		return err
	}
	newest, err := s.newest(ctx, p.Hub)
	if err != nil || newest.IsZero() || !newest.Before(since) {
		return err
	}
	p.Last, p.Older = newest, true
	return read(newest.AddDate(0, 0, 1-p.Days))
}

// newest returns the newest day with alerts, of one hub or of all, or the zero time if there is
// none.
func (s *server) newest(ctx context.Context, hub string) (time.Time, error) {
	return within(ctx, func(ctx context.Context) (time.Time, error) {
		for sum, err := range s.Alerts.Summaries(ctx, alert.Query{Hub: hub}) {
			return sum.Day, err
		}
		return time.Time{}, nil
	})
}

// entity answers with all alerts of a certificate, a setting, a device or a module.
func (s *server) entity(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	hub, name := values.Get("hub"), values.Get("entity")
	kind, err := word(values.Get("entity-type"), alert.EntityTypes)
	if err != nil || hub == "" || name == "" {
		return mistake("want hub, entity-type and entity")
	}
	p := storyPage{Kind: entityWord(kind), Name: name, Hub: hub, Days: storyDays}
	if err := s.tell(r.Context(), &p, func(since time.Time) (err error) {
		if kind != alert.Device {
			p.Alerts, p.More, p.Back, err = s.story(r.Context(), alert.Query{Hub: hub, Entity: name, EntityType: kind, Since: since})
			return err
		}
		d, err := within(r.Context(), func(ctx context.Context) (fleet.Device, error) {
			return fleet.FindDevice(ctx, s.Alerts, hub, name, since)
		})
		p.Alerts, p.More = d.Alerts[:min(len(d.Alerts), mostStory)], len(d.Alerts) > mostStory
		p.Address, p.AddressAt = d.Address()
		return err
	}); err != nil {
		return err
	}
	command := s.commandLine("alerts list", [][2]string{{"since", p.since()}, {"hub", hub}, {"entity", name}})
	switch {
	case kind == alert.Device && p.Older:
		command = s.commandLine("devices show", [][2]string{{"since", p.since()}}, hub, name)
	case kind == alert.Device:
		command = s.commandLine("devices show", nil, hub, name)
	}
	p.Suppress = s.to("/suppressions/new", url.Values{"hub": {hub}, "entity-type": {string(kind)}, "entity": {name}})
	p.All = s.to("/alerts", url.Values{"hub": {hub}, "entity-type": {string(kind)}, "entity": {name}})
	p.count(s.Detectors)
	return s.render(w, r, http.StatusOK, "story", page{Title: name, Section: "alerts", Command: command, Body: p})
}

// actor answers with all alerts about what somebody did.
func (s *server) actor(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("actor")
	if name == "" {
		return mistake("want actor")
	}
	p := storyPage{Kind: "Actor", Name: name, Days: storyDays}
	if err := s.tell(r.Context(), &p, func(since time.Time) (err error) {
		p.Alerts, p.More, p.Back, err = s.story(r.Context(), alert.Query{Actor: name, Since: since})
		return err
	}); err != nil {
		return err
	}
	p.Suppress = s.to("/suppressions/new", url.Values{"actor": {name}})
	p.All = s.to("/alerts", url.Values{"actor": {name}})
	p.count(s.Detectors)
	return s.render(w, r, http.StatusOK, "story", page{
		Title: name, Section: "alerts", Command: s.commandLine("alerts list", [][2]string{{"since", p.since()}, {"actor", name}}), Body: p,
	})
}

// story reads the alerts that q asks for, suppressed ones too. back is the oldest day that
// was looked through if that is not all of them, as walk has it.
func (s *server) story(ctx context.Context, q alert.Query) (alerts []alert.Alert, more bool, back time.Time, err error) {
	var parts [2]struct {
		alerts []alert.Alert
		more   bool
		back   time.Time
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		q, p := q, &parts[i]
		q.Suppressed = i == 1
		group.Go(func() (err error) {
			p.alerts, p.more, p.back, err = s.walk(ctx, q, 0, mostStory)
			return err
		})
	}
	err = group.Wait()
	for _, p := range parts {
		alerts, more, back = append(alerts, p.alerts...), more || p.more, latest(back, p.back)
	}
	slices.SortStableFunc(alerts, func(a, b alert.Alert) int { return b.End.Compare(a.End) })
	return alerts, more, back, err
}

// count counts the alerts of a story.
func (p *storyPage) count(detectors []detector.Detector) {
	counts := map[string]int{}
	for _, a := range p.Alerts {
		counts[titleOf(detectors, a.Type)]++
		if !a.Status.Closed() && a.SuppressedBy == "" {
			p.Open++
		}
	}
	for title, n := range counts {
		p.Causes = append(p.Causes, cause{title, n})
	}
	slices.SortFunc(p.Causes, func(a, b cause) int {
		if a.N != b.N {
			return b.N - a.N
		}
		return strings.Compare(a.Title, b.Title)
	})
}

// coveragePage is what is watched.
type coveragePage struct {
	recent
	Hubs      []HubRow
	Paths     []coverage.Report
	Detectors []watched
	Unheard   bool
}

// watched is a detector.
type watched struct {
	detector.Detector
	Source string // in words
	Heard  time.Time
	N      int // alerts in 30 days
	Href   string
}

// unheard reports whether hubwatch has heard of nothing yet.
func (p recent) unheard() bool {
	return !slices.ContainsFunc(p.heard, func(h alert.Heard) bool { return !h.Seen.IsZero() })
}

// sourceWords says where a detector has its events from.
func sourceWords(source alert.Source) string {
	switch source {
	case alert.Changes:
		return "changes of the hub"
	case alert.Connections:
		return "Connections log"
	case alert.HubEvents:
		return "events of the hub"
	case "":
		return "canaries of hubwatch itself"
	}
	return "log " + strings.TrimPrefix(string(source), string(alert.LogSource("")))
}

// coverage answers with what is watched.
func (s *server) coverage(w http.ResponseWriter, r *http.Request) error {
	found, err := s.recent(r.Context(), "", usualWindow, true)
	if err != nil {
		return err
	}
	trips, err := within(r.Context(), s.Alerts.Trips)
	if err != nil && !errors.Is(err, alert.ErrAbsent) {
		return err
	}
	p := coveragePage{recent: found, Paths: coverage.NewReports(trips, found.heard, s.Now()), Unheard: found.unheard()}
	for _, h := range fleet.Hubs(nil, found.heard, s.Detectors) { // what was never heard of as a hub is none
		p.Hubs = append(p.Hubs, s.hubRow(h))
	}
	slices.SortFunc(p.Hubs, func(a, b HubRow) int { return strings.Compare(a.Name, b.Name) })
	newest := map[alert.Source]time.Time{}
	for _, h := range found.heard {
		newest[h.Source] = latest(newest[h.Source], h.Seen)
	}
	for _, t := range trips {
		newest[""] = latest(newest[""], t.ArrivedSent.Add(t.Took))
	}
	counts := map[string]int{}
	for _, c := range fleet.Counts(found.sums, alert.Query{}, fleet.ByType) {
		counts[strings.ToLower(c.Key)] += c.Total()
	}
	for _, d := range s.Detectors {
		source := d.On.Heard()
		p.Detectors = append(p.Detectors, watched{
			d, sourceWords(source), newest[source], counts[strings.ToLower(d.AlertType)], s.to("/alerts", url.Values{"type": {d.AlertType}, "since": {p.Since()}}),
		})
	}
	return s.render(w, r, http.StatusOK, "coverage", page{Title: "Coverage", Section: "coverage", Command: s.Command + " coverage", Body: p})
}
