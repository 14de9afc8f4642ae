package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// All alerts of a filter are changed in steps, because one request has not the time for
// ten thousand of them. The first request changes nothing: its page says what would
// become of the alerts. The form of that page has the time, and each step changes only
// what was there at that time, as it was then. Between two steps the form has where the
// next one begins, so the server keeps nothing.

const (
	// stepTime is how long a step begins further rounds, and stepLimit when it ends. The
	// Functions host gives a request a minute.
	stepTime, stepLimit = 5 * time.Second, 20 * time.Second
	// roundSize is how many alerts are changed between two looks at the clock.
	roundSize = 100
	// parallelDays is how many hubs and days are changed at the same time. The changes of
	// one hub and day are made one after another, because they share a summary.
	parallelDays = 8
	// mostRefused is how many alerts a page names that could not be changed.
	mostRefused = 20
)

// wholePage says what becomes of all alerts of a filter.
type wholePage struct {
	Words    string // the alerts in words
	What     string // the change in words
	List     string // address of the list
	Action   string // address of the next step
	Form     change
	Outcomes []outcome
	Newest   []alert.Alert
	Results  []result // alerts that could not be changed, in this step
	Problem  *problem // why the step ended early
	Done     bool     // no step is left
	stepForm
}

// stepForm is what a step passes on to the next one.
type stepForm struct {
	At    time.Time // of the page that said what would become of the alerts
	Back  time.Time // the oldest day that it looked through, zero for all
	N     int       // how many alerts it said would be changed
	After alert.Ref // the last alert of the step before, zero for none
	Tally tally
}

// tally is how many alerts became what.
type tally struct{ Changed, Same, Refused, Conflict, Gone int }

// Unchanged returns how many alerts could not be changed.
func (t tally) Unchanged() int { return t.Refused + t.Conflict + t.Gone }

// outcome is what becomes of some alerts.
type outcome struct {
	Text string
	N    int
	Bad  bool
}

// Fields returns the form as the fields of a page.
func (f stepForm) Fields() map[string]string {
	fields := map[string]string{"at": f.At.UTC().Format(time.RFC3339Nano), "n": strconv.Itoa(f.N)}
	if !f.Back.IsZero() {
		fields["back"] = f.Back.Format(time.DateOnly)
	}
	if f.After.ID != "" {
		fields["after"] = f.After.String()
	}
	for name, n := range f.Tally.parts() {
		fields[name] = strconv.Itoa(*n)
	}
	return fields
}

// parts returns the numbers by the names of their fields.
func (t *tally) parts() map[string]*int {
	return map[string]*int{"changed": &t.Changed, "same": &t.Same, "refused": &t.Refused, "conflict": &t.Conflict, "gone": &t.Gone}
}

// stepOf reads the form of a step. Its error says which field is wrong.
func stepOf(values url.Values) (f stepForm, err error) {
	if f.At, err = time.Parse(time.RFC3339Nano, values.Get("at")); err != nil {
		return f, mistake("at: want a time")
	}
	if text := values.Get("back"); text != "" {
		if f.Back, err = time.Parse(time.DateOnly, text); err != nil {
			return f, mistake("back: want a day")
		}
	}
	if text := values.Get("after"); text != "" {
		if f.After, err = alert.ParseRef(text); err != nil || f.After.Day.IsZero() {
			return f, mistake("after: want the whole reference of an alert")
		}
	}
	numbers := f.Tally.parts()
	numbers["n"] = &f.N
	for name, n := range numbers {
		if *n, err = strconv.Atoi(cmp.Or(values.Get(name), "0")); err != nil || *n < 0 {
			return f, mistake("%s: want a number", name)
		}
	}
	return f, nil
}

// toList answers somebody who opens the address of a step with the list.
func (s *server) toList(w http.ResponseWriter, r *http.Request) error {
	f, err := newFilter(r.URL.Query(), s.Detectors, s.Now())
	if err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/alerts", f.Values()), http.StatusSeeOther) // #nosec G710 -- a path of our own, with an encoded query
	return nil
}

// setWhole says what would become of all alerts of a filter, or makes a step of the
// change.
func (s *server) setWhole(w http.ResponseWriter, r *http.Request) error {
	form, err := changeOf(r)
	if err != nil {
		return err
	}
	f, err := newFilter(r.URL.Query(), s.Detectors, s.Now())
	if err != nil {
		return err
	}
	made, wrong := form.alert(sessionOf(r).Person)
	switch {
	case wrong != nil:
	case len(f.Values()) == 0:
		wrong = errors.New("say first which alerts, with the filter: all there are is never meant")
	case made.Status == "" && made.Verdict == "":
		wrong = errors.New("want a status or a verdict: a note goes to chosen alerts")
	}
	if wrong != nil {
		p, command, err := s.listOf(r)
		if err != nil {
			return err
		}
		p.Form, p.Problem = form, sentence(wrong)
		return s.render(w, r, http.StatusBadRequest, "alerts", page{Title: "Alerts", Section: "alerts", Command: command, Body: p})
	}
	made.Seen = nil
	p := wholePage{
		Words: f.words(s.Detectors), What: changeWords(made), Form: form,
		List: s.to("/alerts", f.Values()), Action: s.to("/alerts/all", f.Values()),
	}
	f.query = made.Choosing(f.query)
	frame := page{Title: "Change " + p.Words, Section: "alerts"}
	if !r.PostForm.Has("at") {
		if err := s.foresee(r.Context(), &p, f.query, made); err != nil {
			return err
		}
		frame.Command, frame.Body = s.commandLine("alerts set", f.setFlags(made)), p
		return s.render(w, r, http.StatusOK, "foreseen", frame)
	}
	if p.stepForm, err = stepOf(r.PostForm); err != nil {
		return err
	}
	status := http.StatusOK
	if err := s.step(r.Context(), &p, f.query, made); err != nil {
		if r.Context().Err() != nil {
			return err // nobody waits for the answer
		}
		p.Problem = problemOf(err)
		status = p.Problem.Status
		s.Log.Warn("console", "path", r.URL.Path, "status", status, "error", secret.Visible(err.Error()))
	} else if p.Done && p.Tally.Unchanged() > 0 {
		status = http.StatusConflict
	}
	frame.Body = p
	return s.render(w, r, status, "step", frame)
}

// changeWords says in words what a change sets alerts to.
func changeWords(c alert.Change) string {
	var parts []string
	if c.Status != "" {
		parts = append(parts, statusWord(c.Status))
	}
	if c.Verdict != "" {
		parts = append(parts, alert.Kebab(string(c.Verdict)))
	}
	return strings.Join(parts, ", ")
}

// setFlags returns the flags with which the command says what a change would do.
func (f filter) setFlags(c alert.Change) (flags [][2]string) {
	for _, flag := range f.flags() {
		if flag[0] == "status" {
			flag[0] = "having"
		}
		flags = append(flags, flag)
	}
	for _, flag := range [][2]string{{"status", alert.Kebab(string(c.Status))}, {"verdict", alert.Kebab(string(c.Verdict))}, {"reason", c.Reason}} {
		if flag[1] != "" {
			flags = append(flags, flag)
		}
	}
	return append(flags, [2]string{"dry-run", ""})
}

// foresee looks through the alerts that q asks for, and says what a change would do. It
// has the time of a section. What it could not look through is not changed.
func (s *server) foresee(ctx context.Context, p *wholePage, q alert.Query, made alert.Change) error {
	const most = 10
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	p.At = s.Now()
	counts := map[outcome]int{}
	for day, err := range s.Alerts.ListDays(ctx, q) {
		if err != nil && ctx.Err() != nil && !p.Back.IsZero() {
			p.foreseen(counts)
			return nil
		}
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		p.Back = day.Day
		for _, a := range day.Alerts {
			after, err := made.Foresee(a)
			switch {
			case err != nil:
				counts[outcome{Text: "refused, " + err.Error(), Bad: true}]++
			case after.Status == a.Status && after.Verdict == a.Verdict:
				counts[outcome{Text: "already " + changeWords(made)}]++
			default:
				counts[outcome{Text: "from " + string(a.Status) + " to " + changeWords(made)}]++
				if p.N++; len(p.Newest) < most {
					p.Newest = append(p.Newest, a)
				}
			}
		}
	}
	p.Back = time.Time{}
	p.foreseen(counts)
	return nil
}

// foreseen puts outcomes into the page, those of most alerts first, and those that are
// refused last.
func (p *wholePage) foreseen(counts map[outcome]int) {
	for o, n := range counts {
		o.N = n
		p.Outcomes = append(p.Outcomes, o)
	}
	slices.SortFunc(p.Outcomes, func(a, b outcome) int {
		if a.Bad != b.Bad {
			return map[bool]int{true: 1, false: -1}[a.Bad]
		}
		return cmp.Or(b.N-a.N, strings.Compare(a.Text, b.Text))
	})
}

// step changes alerts until its time is over, or until no alert is left. Its error is
// about more than one alert; what it did before is in the page.
func (s *server) step(ctx context.Context, p *wholePage, q alert.Query, made alert.Change) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	var round []alert.Alert
	for a, err := range s.left(ctx, q, p.stepForm) {
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if round = append(round, a); len(round) < roundSize {
			continue
		}
		if err := s.round(ctx, p, round, made); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if round = nil; time.Since(begun) > stepTime {
			return nil
		}
	}
	if err := s.round(ctx, p, round, made); err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	p.Done = true
	return nil
}

// left returns the alerts that are left for a step: day by day, and in a day by their ids,
// which stay as they are while alerts change.
func (s *server) left(ctx context.Context, q alert.Query, f stepForm) iter.Seq2[alert.Alert, error] {
	q.Since = latest(q.Since, f.Back)
	if end := f.After.Day.AddDate(0, 0, 1).Add(-1); f.After.ID != "" && (q.Until.IsZero() || q.Until.After(end)) {
		q.Until = end
	}
	return func(yield func(alert.Alert, error) bool) {
		for day, err := range s.Alerts.ListDays(ctx, q) {
			if err != nil {
				yield(alert.Alert{}, err)
				return
			}
			slices.SortFunc(day.Alerts, func(a, b alert.Alert) int { return strings.Compare(a.ID, b.ID) })
			for _, a := range day.Alerts {
				// What was raised later was not among those that the person decided about.
				if a.Generated.After(f.At) || day.Day.Equal(f.After.Day) && a.ID <= f.After.ID {
					continue
				}
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

// round changes some alerts, those of several hubs and days at the same time. Its error is
// about more than one alert. After an error the next step begins with this round again.
func (s *server) round(ctx context.Context, p *wholePage, alerts []alert.Alert, made alert.Change) error {
	type place struct {
		hub string
		day time.Time
	}
	places := map[place][]int{}
	for i, a := range alerts {
		at := place{a.Ref().Hub, a.Ref().Day}
		places[at] = append(places[at], i)
	}
	done := make([]func(*tally) *int, len(alerts))
	texts := make([]string, len(alerts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDays)
	for _, of := range places {
		group.Go(func() (err error) {
			for _, i := range of {
				if done[i], texts[i], err = s.setOf(ctx, alerts[i], made, p.At); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	for i, count := range done {
		if count == nil {
			continue // an error came before
		}
		*count(&p.Tally)++
		if texts[i] != "" && len(p.Results) < mostRefused {
			p.Results = append(p.Results, result{alerts[i].Ref().String(), s.alertPath(alerts[i].Ref()), texts[i], true})
		}
	}
	if err == nil && len(alerts) > 0 {
		p.After = alerts[len(alerts)-1].Ref()
	}
	return err
}

// setOf changes one alert as it was at a time. It returns which number counts it, and why
// it could not be changed. Its error is about more than this alert.
func (s *server) setOf(ctx context.Context, a alert.Alert, made alert.Change, at time.Time) (count func(*tally) *int, text string, err error) {
	after, err := made.Foresee(a)
	if err == nil && after.Status == a.Status && after.Verdict == a.Verdict {
		return func(t *tally) *int { return &t.Same }, "", nil
	}
	seen := a.Changes
	if a.StatusTime.After(at) {
		seen-- // the person saw it before its newest change
	}
	made.Seen = &seen
	_, err = s.Alerts.Change(ctx, a.Ref(), made)
	var illegal *alert.Illegal
	var conflict *alert.Conflict
	switch {
	case err == nil:
		return func(t *tally) *int { return &t.Changed }, "", nil
	case errors.As(err, &illegal):
		return func(t *tally) *int { return &t.Refused }, sentence(illegal), nil
	case errors.As(err, &conflict):
		return func(t *tally) *int { return &t.Conflict }, sentence(conflict), nil
	case errors.Is(err, alert.ErrNotFound):
		return func(t *tally) *int { return &t.Gone }, sentence(alert.ErrNotFound), nil
	}
	return nil, "", fmt.Errorf("alert %s: %w", a.Ref(), err)
}
