package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/fleet"
)

const (
	perPage   = 100 // alerts of a page
	mostPages = 1000
	// manyAlerts is how many alerts of a hub and day are shown as a number first. The
	// store would have to read all of them to sort them.
	manyAlerts = 5000
	// mostGroups is how many groups a page shows.
	mostGroups = 12
	// mostDaysRead is how many days with alerts a page reads, and mostDays how many it
	// looks through, with those of which the summaries say that they have none that are
	// asked for. Days are read one after another, so that a page is done as soon as it is
	// full. Older days are a link away.
	mostDaysRead, mostDays = 30, 100
	// walkTime is how long a page begins to read further days. It ends before sectionTime,
	// since a day that has begun takes its time.
	walkTime = 5 * time.Second
)

// via is how the history of an alert names the console.
const via = "console"

// listPage is a list of alerts.
type listPage struct {
	Filter      filter
	Words       string // the filter in words
	Choices     choices
	Alerts      []alert.Alert
	Counted     bool // Total is known
	Total       int
	Groups      []group
	rows        bool // alerts are shown, however many there are
	Storm       bool // there are too many to sort: groups only
	AllHref     string
	Page        int
	Newer       string // addresses
	Older       string
	Back        time.Time // the oldest day that was looked through, zero if that is all of them
	Further     string    // address of the list of the days before Back
	CountedBack time.Time // the oldest day that Total counts, zero if it counts all
	Self        string    // address of this page
	Whole       string    // where all alerts of the filter are changed, "" without a filter
	JSON        string
	Suppress    string // address of a new suppression with this filter
	Results     []result
	Form        change // what was asked for, after a mistake
	Problem     string
}

// choices are what the fields of the filter offer.
type choices struct {
	Detectors   []detector.Detector
	Severities  []alert.Severity
	Statuses    []string
	EntityTypes []alert.EntityType
}

// result is what became of an alert of many.
type result struct {
	Ref, Href, Text string
	Bad             bool
}

// list answers with a list of alerts.
func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	p, command, err := s.listOf(r)
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "alerts", page{Title: "Alerts", Section: "alerts", Command: command, Body: p})
}

// listOf returns the list that an address asks for, and the command that shows the same.
func (s *server) listOf(r *http.Request) (p listPage, command string, err error) {
	values := r.URL.Query()
	f, err := newFilter(values, s.Detectors, s.Now())
	if err != nil {
		return p, "", err
	}
	if p.Page, err = pageOf(values); err != nil {
		return p, "", err
	}
	p.rows = values.Get("rows") != ""
	p.Filter, p.Words = f, f.words(s.Detectors)
	p.Choices = choices{s.Detectors, severities, alert.StatusWords(), alert.EntityTypes}
	command = s.commandLine("alerts list", f.flags())
	if f.counted() {
		sums, back, err := s.newestSummaries(r.Context(), f.query)
		if err != nil {
			return p, "", err
		}
		p.Counted, p.CountedBack, p.Groups = true, back, f.groups(sums, s.Detectors)
		for i := range p.Groups {
			p.Total += p.Groups[i].Total
		}
		p.Storm = !p.rows && slices.ContainsFunc(sums, func(sum alert.Summary) bool {
			return total(fleet.Counts([]alert.Summary{sum}, f.query, fleet.ByHub)) > manyAlerts
		})
	}
	more := false
	if !p.Storm {
		if p.Alerts, more, p.Back, err = s.walk(r.Context(), f.query, (p.Page-1)*perPage, perPage); err != nil {
			return p, "", err
		}
	}
	p.link(s, more)
	return p, command, nil
}

// link sets the addresses of the page.
func (p *listPage) link(s *server, more bool) {
	own := p.Filter.Values()
	if p.rows {
		own.Set("rows", "all")
	}
	to := func(name, value string) string {
		values := maps.Clone(own)
		values.Set(name, value)
		return s.to("/alerts", values)
	}
	if p.Page > 1 {
		p.Newer = to("page", strconv.Itoa(p.Page-1))
	}
	if more && p.Page < mostPages {
		p.Older = to("page", strconv.Itoa(p.Page+1))
	}
	p.AllHref = to("rows", "all")
	if !p.Back.IsZero() {
		p.Further = to("until", dayBefore(p.Back))
	}
	if values := p.Filter.Values(); len(values) > 0 {
		p.Whole = s.to("/alerts/all", values)
	}
	p.Self = to("page", strconv.Itoa(p.Page))
	p.JSON = s.to("/api/alerts", p.Filter.Values())
	if !p.Filter.Suppressed && (p.Filter.Hub != "" || p.Filter.Entity != "" || p.Filter.Actor != "" || p.Filter.Address != "") {
		p.Suppress = s.to("/suppressions/new", p.Filter.conditions())
	}
	if len(p.Groups) > mostGroups {
		p.Groups = p.Groups[:mostGroups]
	}
}

// conditions returns the filter as the conditions of a suppression.
func (f filter) conditions() url.Values {
	values := f.Values()
	for _, name := range []string{"severity", "status", "since", "until", "suppressed"} {
		values.Del(name)
	}
	return values
}

// Href returns the address of the list of a group.
func (g group) Href(p listPage) string {
	values := p.Filter.Values()
	values.Set("hub", g.Hub)
	if g.Type != "" {
		values.Set("type", g.Type)
	}
	return "?" + values.Encode()
}

// words says in words which alerts the filter has.
func (f filter) words(detectors []detector.Detector) string {
	var parts []string
	for _, p := range []struct{ text, before string }{
		{f.Type, "of the type "}, {f.Hub, "of the hub "}, {f.Entity, "about "}, {f.EntityType, "about the kind "}, {f.Actor, "by "},
		{f.Address, "from "}, {f.Severity, "with severity "}, {f.Status, "that are "}, {f.Since, "since "}, {f.Until, "until "},
	} {
		text := p.text
		if p.before == "of the type " && text != "" {
			text = titleOf(detectors, text)
		}
		if text != "" {
			parts = append(parts, p.before+text)
		}
	}
	kind := "alerts"
	if f.Suppressed {
		kind = "suppressed alerts"
	}
	return strings.TrimSpace(kind + " " + strings.Join(parts, ", "))
}

// take returns at most n of the alerts that q asks for, after the first skip ones, and
// whether there are more. It has the time of a section.
func (s *server) take(ctx context.Context, q alert.Query, skip, n int) (alerts []alert.Alert, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	for a, err := range s.Alerts.List(ctx, q) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, false, ctx.Err()
		case err != nil:
			return nil, false, err
		case skip > 0:
			skip--
		case len(alerts) == n:
			return alerts, true, nil
		default:
			alerts = append(alerts, a)
		}
	}
	return alerts, false, nil
}

// walk is take for a filter that may match few of many alerts. It looks through the newest
// days first, and ends when it has n alerts, or has looked through enough days. back is
// then the oldest of these days, and there may be more alerts before it. It is zero if
// all days were looked through, or if there are more than n alerts.
func (s *server) walk(ctx context.Context, q alert.Query, skip, n int) (alerts []alert.Alert, more bool, back time.Time, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	days, read := 0, 0
	for day, err := range s.Alerts.ListDays(ctx, q) {
		switch {
		case err != nil && ctx.Err() != nil && days > 0:
			return alerts, false, back, nil
		case err != nil && ctx.Err() != nil:
			return nil, false, back, ctx.Err()
		case err != nil:
			return nil, false, back, err
		}
		for _, a := range day.Alerts {
			switch {
			case skip > 0:
				skip--
			case len(alerts) == n:
				return alerts, true, time.Time{}, nil
			default:
				alerts = append(alerts, a)
			}
		}
		back = day.Day
		if days++; day.Read > 0 {
			read++
		}
		if !q.Since.IsZero() && !day.Day.After(alert.Day(q.Since)) {
			continue // it is the last one
		}
		if days == mostDays || read == mostDaysRead || time.Since(begun) > walkTime {
			return alerts, false, back, nil
		}
	}
	return alerts, false, time.Time{}, nil
}

// newestSummaries reads the summaries that q asks for, of the newest days that a page
// looks through. back is the oldest of these days if there are others, and zero
// otherwise.
func (s *server) newestSummaries(ctx context.Context, q alert.Query) (sums []alert.Summary, back time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	days := 0
	for sum, err := range s.Alerts.Summaries(ctx, q) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, back, ctx.Err()
		case err != nil:
			return nil, back, err
		case !sum.Day.Equal(back):
			if days == mostDays {
				return sums, back, nil
			}
			days++
			back = sum.Day
		}
		sums = append(sums, sum)
	}
	return sums, time.Time{}, nil
}

// dayBefore returns the day before a day, as addresses have it.
func dayBefore(day time.Time) string { return day.AddDate(0, 0, -1).Format(time.DateOnly) }

// alertPath returns the address of an alert.
func (s *server) alertPath(ref alert.Ref) string {
	return s.Base + "/alerts/" + url.PathEscape(ref.Hub) + "/" + ref.Day.Format(time.DateOnly) + "/" + ref.ID
}

// refOf returns the alert that an address names.
func refOf(r *http.Request) (alert.Ref, error) {
	ref, err := alert.ParseRef(r.PathValue("hub") + "/" + r.PathValue("day") + "/" + r.PathValue("id"))
	if err != nil {
		return ref, mistake("%v", err)
	}
	return ref, nil
}

// change is a form that changes alerts.
type change struct {
	Status, Verdict, Reason string
	Seen                    string // the number of changes that the page showed
}

// changeOf reads the form of a change.
func changeOf(r *http.Request) (change, error) {
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return change{}, err
		}
		return change{}, mistake("form: %v", err)
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	return change{get("status"), get("verdict"), strings.ReplaceAll(get("reason"), "\r\n", "\n"), get("seen")}, nil
}

// alert returns the change as the store takes it. A status of "note" leaves the status as
// it is.
func (c change) alert(by alert.Person) (alert.Change, error) {
	made := alert.Change{Reason: c.Reason, By: by, Via: via}
	var err error
	if c.Status != "" && c.Status != "note" {
		if made.Status, err = word(c.Status, alert.Statuses); err != nil {
			return made, mistake("status: %v", err)
		}
	}
	if c.Verdict != "" {
		if made.Verdict, err = word(c.Verdict, alert.Verdicts); err != nil {
			return made, mistake("verdict: %v", err)
		}
	}
	if c.Seen != "" {
		n, err := strconv.Atoi(c.Seen)
		if err != nil || n < 0 {
			return made, mistake("seen: want a number of changes")
		}
		made.Seen = &n
	}
	return made, made.Check()
}

// setMany changes the alerts of a list that were chosen, and shows what became of each.
func (s *server) setMany(w http.ResponseWriter, r *http.Request) error {
	form, err := changeOf(r)
	if err != nil {
		return err
	}
	made, wrong := form.alert(sessionOf(r).Person)
	chosen := r.PostForm["ref"]
	switch {
	case len(chosen) == 0:
		wrong = errors.New("choose one alert or more")
	case len(chosen) > perPage:
		wrong = mistake("%d alerts: want at most %d", len(chosen), perPage)
	}
	var results []result
	changed := 0
	if wrong == nil {
		for _, text := range chosen {
			done := s.setOne(r.Context(), text, made)
			if !done.Bad {
				changed++
			}
			results = append(results, done)
		}
	}
	p, command, err := s.listOf(r)
	if err != nil {
		return err
	}
	p.Results = results
	frame := page{Title: "Alerts", Section: "alerts", Command: command}
	status := http.StatusOK
	switch {
	case wrong != nil:
		p.Form, p.Problem, status = form, sentence(wrong), http.StatusBadRequest
	case changed == len(chosen):
		frame.Notice = plural(changed, "alert") + " changed."
	default:
		frame.Notice = fmt.Sprintf("%d of %s changed.", changed, plural(len(chosen), "alert"))
		status = http.StatusConflict
	}
	frame.Body = p
	return s.render(w, r, status, "alerts", frame)
}

// setOne changes one alert of many. Its text is a reference, "@" and the number of
// changes that the list showed.
func (s *server) setOne(ctx context.Context, text string, made alert.Change) result {
	name, seen, _ := strings.Cut(text, "@")
	ref, err := alert.ParseRef(name)
	n, numberErr := strconv.Atoi(seen)
	if err = cmp.Or(err, numberErr); err != nil {
		return result{Ref: name, Text: "This is no alert.", Bad: true}
	}
	made.Seen = &n
	done := result{Ref: ref.String(), Href: s.alertPath(ref)}
	after, err := s.Alerts.Change(ctx, ref, made)
	if err != nil {
		done.Bad, done.Text = true, sentence(err)
		return done
	}
	done.Text = "now " + string(after.Status)
	if after.Changes == n {
		done.Text = "already " + string(after.Status)
	}
	return done
}
