package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/fleet"
)

// The windows of the overview, in days.
var windows = []int{1, 7, 30, 90}

const usualWindow = 30

// silentAfter is how long a hub's Connections log may be silent. A hub with devices writes
// into it all the time.
const silentAfter = 6 * time.Hour

const (
	// mostHubs is how many hubs the overview shows.
	mostHubs = 10
	// mostSilent is how many silent logs it names.
	mostSilent = 3
)

// overviewPage says whether something is going on.
type overviewPage struct {
	recent
	DayChoices []link
	Verdict    string // in one sentence
	Calm       bool   // nothing needs anybody
	Freshness  []string
	Stale      bool
	Chips      []chip
	Chart      chart
	Bys        []link
	Needs      []need
	NeedsMore  int // open alerts that Needs does not show
	NeedsError *problem
	Frequent   []frequent
	Hubs       []HubRow
	HubsMore   int // hubs that Hubs does not have
	Total      int
	Unheard    bool // hubwatch has heard of nothing yet
}

// chip is a number with a link.
type chip struct {
	Name, Class, Href string
	N                 string
}

// link is a choice.
type link struct {
	Name, Href string
	Current    bool
}

// need is an open alert, or the many open alerts of a hub and day.
type need struct {
	Alert *alert.Alert
	Hub   string
	Day   time.Time
	N     int
	Href  string
}

// frequent is an alert type that there are many alerts of.
type frequent struct {
	Title, Href string
	Severity    alert.Severity
	N           int
	Spark       []sparkBar
}

// sparkBar is a bar of a small chart.
type sparkBar struct{ X, Y, H int }

// HubRow is what a list of hubs shows of one.
type HubRow struct {
	fleet.Hub
	Href   string
	Silent bool // its Connections log was heard of, and is silent now
}

// overview answers with the first page.
func (s *server) overview(w http.ResponseWriter, r *http.Request) error {
	days, by, err := window(r.URL.Query())
	if err != nil {
		return err
	}
	asked := r.URL.Query().Get("days") != ""
	var found recent
	var waiting string
	var waitingErr error // without the quarantine the page is still of use
	group, ctx := errgroup.WithContext(r.Context())
	group.Go(func() (err error) {
		found, err = s.recent(ctx, "", days, !asked)
		return err
	})
	group.Go(func() error { waiting, waitingErr = s.waiting(ctx); return nil })
	if err := group.Wait(); err != nil {
		return err
	}
	sums := found.sums
	p := overviewPage{recent: found, Total: total(fleet.Counts(sums, alert.Query{}, fleet.ByHub)), Unheard: found.unheard() && len(sums) == 0}
	for _, n := range windows {
		p.DayChoices = append(p.DayChoices, link{span(n), s.to("/", url.Values{"days": {strconv.Itoa(n)}, "by": {by}}), n == days && !found.Older})
	}
	for _, name := range []string{"severity", "type", "hub"} {
		values := url.Values{"by": {name}}
		if asked {
			values.Set("days", strconv.Itoa(days))
		}
		p.Bys = append(p.Bys, link{name, s.to("/", values), name == by})
	}
	p.Chart = s.newChart(sums, by, p.First, p.Last)
	hubs := fleet.Hubs(sums, found.heard, s.Detectors)
	open := map[alert.Severity]int{}
	for _, h := range hubs {
		p.Hubs = append(p.Hubs, s.hubRow(h))
		for severity, n := range h.BySeverity {
			open[severity] += n
		}
	}
	p.Chips = s.chips(sums, open, hubs, p.Since())
	switch {
	case waitingErr != nil:
		p.Chips = append(p.Chips, chip{Name: "in quarantine", N: "not read"})
	default:
		p.Chips = append(p.Chips, chip{Name: "in quarantine", N: waiting, Class: map[bool]string{true: "bad"}[waiting != "0"]})
	}
	p.Frequent = s.frequent(found)
	p.Freshness = s.freshness(p.Hubs)
	if n := len(p.Hubs) - mostHubs; n > 0 {
		p.Hubs, p.HubsMore = p.Hubs[:mostHubs], n
	}
	p.Needs, p.NeedsMore, err = s.needs(r.Context(), sums)
	if err != nil {
		p.NeedsError = problemOf(err)
	}
	p.Verdict, p.Calm = s.verdict(open, p)
	return s.render(w, r, http.StatusOK, "overview", page{
		Title: "Overview", Section: "overview", Command: fmt.Sprintf("%s alerts count --since=%s", s.Command, p.Since()), Body: p,
	})
}

// window reads how many days a page is about, and what the chart is split by.
func window(values url.Values) (days int, by string, err error) {
	days, by = usualWindow, cmp.Or(values.Get("by"), "severity")
	if text := values.Get("days"); text != "" {
		if days, err = strconv.Atoi(text); err != nil || !slices.Contains(windows, days) {
			return 0, "", mistake("days %q: want one of %v", text, windows)
		}
	}
	if !slices.Contains([]string{"severity", "type", "hub"}, by) {
		return 0, "", mistake("by %q: want severity, type or hub", by)
	}
	return days, by, nil
}

// span names a number of days.
func span(days int) string {
	if days == 1 {
		return "today"
	}
	return fmt.Sprint(days, " days")
}

// mostWaiting is how many events of the quarantine are counted.
const mostWaiting = 100

// waiting says how many events wait in the quarantine.
func (s *server) waiting(ctx context.Context) (string, error) {
	type result struct {
		n    int
		more bool
	}
	found, err := within(ctx, func(ctx context.Context) (result, error) {
		n, more, err := s.Quarantine.Waiting(ctx, mostWaiting)
		return result{n, more}, err
	})
	text := number(found.n)
	if found.more {
		text += "+"
	}
	return text, err
}

// chips returns the numbers below the sentence.
func (s *server) chips(sums []alert.Summary, open map[alert.Severity]int, hubs []fleet.Hub, since string) (chips []chip) {
	for _, severity := range severities {
		if open[severity] > 0 || severity != alert.Informational {
			chips = append(chips, chip{
				"open " + string(severity), severityClass(severity),
				s.to("/alerts", url.Values{"status": {"open"}, "severity": {string(severity)}, "since": {since}}), number(open[severity]),
			})
		}
	}
	working := total(fleet.Counts(sums, alert.Query{Statuses: []alert.Status{alert.InProgress}}, fleet.ByHub))
	hidden := 0
	for _, h := range hubs {
		hidden += h.Suppressed
	}
	return append(chips,
		chip{"in progress", "", s.to("/alerts", url.Values{"status": {"in-progress"}, "since": {since}}), number(working)},
		chip{"suppressed", "", s.to("/alerts", url.Values{"suppressed": {"1"}, "since": {since}}), number(hidden)})
}

// verdict says in a sentence whether somebody is needed.
func (s *server) verdict(open map[alert.Severity]int, p overviewPage) (sentence string, calm bool) {
	n := sumOf(open)
	switch {
	case p.Unheard:
		return "hubwatch has heard nothing yet.", false
	case n == 0 && p.Total == 0:
		return fmt.Sprintf("No alerts %s.", p.In()), true
	case n == 0:
		return fmt.Sprintf("Nothing needs you. %s of %s, all closed.", plural(p.Total, "alert"), p.Words()), true
	}
	var parts []string
	for _, severity := range severities {
		if open[severity] > 0 {
			parts = append(parts, number(open[severity])+" "+string(severity))
		}
	}
	if open[""] > 0 {
		parts = append(parts, number(open[""])+" of unknown severity")
	}
	sentence = fmt.Sprintf("%s %s somebody: %s.", plural(n, "alert"), map[bool]string{true: "needs", false: "need"}[n == 1], strings.Join(parts, ", "))
	if len(p.Needs) > 0 && p.Needs[0].Alert != nil {
		sentence += fmt.Sprintf(" The oldest has been open for %s.", lasting(s.Now().Sub(p.Needs[0].Alert.Start)))
	}
	return sentence, false
}

// freshness says when the hubs were last heard of. "No alerts" means little if nothing is
// heard.
func (s *server) freshness(hubs []HubRow) (sentences []string) {
	logs, fresh := 0, 0
	var newest time.Time
	for _, h := range hubs {
		if last := h.Heard[alert.Connections]; !last.IsZero() {
			logs++
			if !h.Silent {
				fresh++
			}
			newest = latest(newest, last)
		}
		newest = latest(newest, h.Heard[alert.Changes])
	}
	if newest.IsZero() {
		return nil
	}
	sentences = append(sentences, fmt.Sprintf("An event last came %s ago.", lasting(s.Now().Sub(newest))))
	if logs > 0 && fresh == logs {
		sentences = append(sentences, fmt.Sprintf("The Connections log of %s is heard.", plural(logs, "hub")))
	}
	silent := logs - fresh
	for _, h := range hubs {
		switch {
		case !h.Silent:
		case len(sentences) > mostSilent:
			return append(sentences, fmt.Sprintf("So are those of %d others.", silent))
		default:
			sentences = append(sentences, fmt.Sprintf("The Connections log of %s has been silent for %s.", h.Name, lasting(s.Now().Sub(h.Heard[alert.Connections]))))
			silent--
		}
	}
	return sentences
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// hubRow returns what a list shows of a hub.
func (s *server) hubRow(h fleet.Hub) HubRow {
	last := h.Heard[alert.Connections]
	return HubRow{h, s.to("/hub", url.Values{"hub": {h.Name}}), !last.IsZero() && s.Now().Sub(last) > silentAfter}
}

// frequent returns the alert types with the most alerts.
func (s *server) frequent(p recent) (list []frequent) {
	known := fleet.Severities(s.Detectors)
	const most, height, step = 5, 16, 4
	for _, c := range fleet.Counts(p.sums, alert.Query{}, fleet.ByType) {
		if len(list) == most {
			break
		}
		f := frequent{
			Title: titleOf(s.Detectors, c.Key), Severity: known[strings.ToLower(c.Key)], N: c.Total(),
			Href: s.to("/alerts", url.Values{"type": {c.Key}, "since": {p.Since()}}),
		}
		perDay := map[string]int{}
		top := 1
		for _, day := range fleet.Counts(p.sums, alert.Query{Type: c.Key}, fleet.ByDay) {
			perDay[day.Key] = day.Total()
			top = max(top, day.Total())
		}
		for i := range p.Days {
			if n := perDay[p.First.AddDate(0, 0, i).Format(time.DateOnly)]; n > 0 {
				h := max(n*height/top, 1)
				f.Spark = append(f.Spark, sparkBar{i * step, height - h, h})
			}
		}
		list = append(list, f)
	}
	return list
}

const (
	// mostNeeds is how many lines the list of open alerts of the overview has.
	mostNeeds = 8
	// mostRead is how many hubs and days are read for it.
	mostRead = 16
	// manyOpen is how many open alerts of a hub and day are one line.
	manyOpen = 200
)

// needs returns open alerts, the oldest first, and how many more there are. It reads the
// alerts of the oldest days until there are mostNeeds, of at most mostRead hubs and days.
func (s *server) needs(ctx context.Context, sums []alert.Summary) (list []need, more int, err error) {
	open := []alert.Status{alert.Active, alert.InProgress}
	n, read := 0, 0
	var last time.Time // the day that was read last
	for _, sum := range slices.Backward(sums) {
		of := total(fleet.Counts([]alert.Summary{sum}, alert.Query{Statuses: open}, fleet.ByHub))
		n += of
		// All hubs of a day are read, because the oldest alert may be on any of them.
		if of == 0 || len(list) >= mostNeeds && !sum.Day.Equal(last) || read >= mostRead {
			continue
		}
		read++
		last = sum.Day
		if of > manyOpen {
			values := dayOf(sum.Day, "hub", sum.Hub)
			values.Set("status", "open")
			list = append(list, need{Hub: sum.Hub, Day: sum.Day, N: of, Href: s.to("/alerts", values)})
			continue
		}
		q := alert.Query{Hub: sum.Hub, Since: sum.Day, Until: sum.Day.AddDate(0, 0, 1).Add(-1), Statuses: open}
		alerts, _, err := s.take(ctx, q, 0, manyOpen)
		if err != nil {
			return list, n, err
		}
		for _, a := range alerts {
			list = append(list, need{Alert: &a, N: 1, Href: s.alertPath(a.Ref())})
		}
	}
	slices.SortStableFunc(list, func(a, b need) int { return a.start().Compare(b.start()) })
	if len(list) > mostNeeds {
		list = list[:mostNeeds]
	}
	shown := 0
	for _, l := range list {
		shown += l.N
	}
	return list, n - shown, nil
}

// start returns when the alert happened, or the day of many.
func (n need) start() time.Time {
	if n.Alert == nil {
		return n.Day
	}
	return n.Alert.Start
}
