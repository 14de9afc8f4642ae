package console

import (
	"cmp"
	"context"
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

// previewDays is how many days back a page says what a suppression would have hidden.
const previewDays = 30

// suppressionsPage is all suppressions.
type suppressionsPage struct {
	Current, Over []suppressionRow
	Broken        []string
	Added         string // the id of the one that was just added
}

// suppressionRow is a suppression as a list shows it.
type suppressionRow struct {
	alert.Suppression
	Words  string
	State  string
	Hidden string // how many alerts of the last days it matches, "" if unknown
}

// inForce is the suppressions, and what they hide.
type inForce struct {
	all    []alert.Suppression
	broken []error // what is kept and is no suppression
	hides  map[string]hiding
	more   bool // hides is not all of the last days
}

// hiding is what a suppression hides.
type hiding struct{ alerts, occurrences int }

// inForce reads the suppressions, and the alerts of the last days that they hide.
func (s *server) inForce(ctx context.Context) (inForce, error) {
	found, err := within(ctx, func(ctx context.Context) (found inForce, err error) {
		found.all, found.broken, err = s.Suppressions.List(ctx, time.Time{})
		return found, err
	})
	if err != nil {
		return found, err
	}
	var hidden []alert.Alert
	hidden, found.more, err = s.take(ctx, alert.Query{Suppressed: true, Since: s.Now().AddDate(0, 0, -previewDays)}, 0, manyAlerts)
	found.hides = map[string]hiding{}
	for _, a := range hidden {
		h := found.hides[a.SuppressedBy]
		found.hides[a.SuppressedBy] = hiding{h.alerts + 1, h.occurrences + a.Occurrences}
	}
	return found, err
}

// suppressions answers with all suppressions.
func (s *server) suppressions(w http.ResponseWriter, r *http.Request) error {
	p := suppressionsPage{Added: r.URL.Query().Get("added")}
	found, err := s.inForce(r.Context())
	if err != nil {
		return err
	}
	for _, b := range found.broken {
		p.Broken = append(p.Broken, b.Error())
	}
	now := s.Now()
	for _, rule := range slices.Backward(found.all) {
		row := suppressionRow{rule, conditionWords(rule, s.Detectors), "", number(found.hides[rule.ID].alerts)}
		if found.more {
			row.Hidden = "at least " + row.Hidden
		}
		switch rule.State(now) {
		case "ended":
			row.State = "removed by " + rule.EndedBy.String()
		case "expired":
			row.State = "expired"
		case "later":
			row.State = "begins in " + lasting(rule.Starts.Sub(now))
		default:
			row.State = "expires in " + lasting(rule.End().Sub(now))
		}
		if rule.End().After(now) {
			p.Current = append(p.Current, row)
		} else {
			p.Over = append(p.Over, row)
		}
	}
	frame := page{Title: "Suppressions", Section: "suppressions", Command: s.Command + " suppressions list", Body: p}
	if p.Added != "" {
		frame.Notice = "The suppression was added. Alerts that it matches are kept and counted, and nobody is told of them."
	}
	return s.render(w, r, http.StatusOK, "suppressions", frame)
}

// conditionWords says which alerts a suppression hides.
func conditionWords(rule alert.Suppression, detectors []detector.Detector) string {
	f := filter{Type: rule.AlertType, Hub: rule.Hub, Entity: rule.Entity, EntityType: string(rule.EntityType), Actor: rule.Actor}
	if rule.Addresses.IsValid() {
		f.Address = rule.Addresses.String()
	}
	return f.words(detectors)
}

// newSuppressionPage is the form of a new suppression.
type newSuppressionPage struct {
	Form     suppressionForm
	Choices  choices
	Days     []int // how long it can last
	Problem  string
	Preview  bool // Matching was asked for
	Matching []alert.Alert
	N        int
	More     bool // N is not all
	Of       int
	Words    string
	Rule     alert.Suppression
}

// suppressionForm is what a person typed.
type suppressionForm struct {
	Type, Hub, Entity, EntityType, Actor, Address string
	Days, Reason, Owner                           string
}

// formOf reads a form.
func formOf(values url.Values) suppressionForm {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	return suppressionForm{
		get("type"), get("hub"), get("entity"), get("entity-type"), get("actor"), get("address"), cmp.Or(get("days"), "7"), get("reason"), get("owner"),
	}
}

// Conditions returns the conditions by the names of their fields.
func (f suppressionForm) Conditions() map[string]string {
	return map[string]string{"type": f.Type, "hub": f.Hub, "entity": f.Entity, "entity-type": f.EntityType, "actor": f.Actor, "address": f.Address}
}

// lengths are how many days a suppression can last.
var lengths = []int{1, 7, 30, 90, 365}

// suppression returns what the form asks for.
func (f suppressionForm) suppression(detectors []detector.Detector, by alert.Person, now time.Time) (alert.Suppression, error) {
	rule := alert.Suppression{
		AlertType: f.Type, Hub: f.Hub, Entity: f.Entity, Actor: f.Actor, Reason: strings.ReplaceAll(f.Reason, "\r\n", "\n"), Owner: f.Owner,
		CreatedBy: by, Created: now, Starts: now,
	}
	if f.Type != "" {
		d, ok := fleet.Named(detectors, f.Type)
		if !ok {
			return rule, mistake("type %q: there is no such alert type", f.Type)
		}
		rule.AlertType = d.AlertType
	}
	var err error
	if f.EntityType != "" {
		if rule.EntityType, err = word(f.EntityType, alert.EntityTypes); err != nil {
			return rule, mistake("kind of entity: %v", err)
		}
	}
	if f.Address != "" {
		if rule.Addresses, err = alert.ParseAddresses(f.Address); err != nil {
			return rule, err
		}
	}
	days, err := strconv.Atoi(f.Days)
	if err != nil || !slices.Contains(lengths, days) {
		return rule, mistake("days %q: want one of %v", f.Days, lengths)
	}
	rule.Expires = now.AddDate(0, 0, days)
	return rule, nil
}

// newSuppression answers with the form of a new suppression, and with what it would have
// hidden.
func (s *server) newSuppression(w http.ResponseWriter, r *http.Request) error {
	return s.suppressionForm(w, r, http.StatusOK, formOf(r.URL.Query()), "")
}

func (s *server) suppressionForm(w http.ResponseWriter, r *http.Request, status int, form suppressionForm, wrong string) error {
	p := newSuppressionPage{Form: form, Days: lengths, Problem: wrong, Choices: choices{Detectors: s.Detectors, EntityTypes: alert.EntityTypes}}
	rule, err := form.suppression(s.Detectors, sessionOf(r).Person, s.Now())
	if err == nil {
		err = rule.CheckConditions()
	}
	p.Rule, p.Words = rule, conditionWords(rule, s.Detectors)
	asked := form != formOf(nil)
	switch {
	case err != nil && asked:
		p.Problem = cmp.Or(wrong, sentence(err))
	case err == nil:
		p.Preview = true
		if p.Matching, p.N, p.Of, p.More, err = s.preview(r.Context(), rule); err != nil {
			return err
		}
	}
	return s.render(w, r, status, "suppression", page{Title: "New suppression", Section: "suppressions", Body: p})
}

// preview returns alerts that a suppression would have hidden, how many there are, and
// among how many. more means that there are older ones that were not looked at.
func (s *server) preview(ctx context.Context, rule alert.Suppression) (shown []alert.Alert, n, of int, more bool, err error) {
	const most, mostRead = 10, 20_000
	q := alert.Query{Type: rule.AlertType, Hub: rule.Hub, Since: s.Now().AddDate(0, 0, -previewDays)}
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	for a, err := range s.Alerts.List(ctx, q) {
		if err != nil {
			return nil, 0, 0, false, err
		}
		if of++; of > mostRead {
			return shown, n, mostRead, true, nil
		}
		if rule.MatchesAlert(a) {
			if n++; len(shown) < most {
				shown = append(shown, a)
			}
		}
	}
	return shown, n, of, false, nil
}

// addSuppression adds a suppression.
func (s *server) addSuppression(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return mistake("form: %v", err)
	}
	form := formOf(r.PostForm)
	rule, err := form.suppression(s.Detectors, sessionOf(r).Person, s.Now().UTC())
	if err == nil {
		err = rule.Check()
	}
	if err != nil {
		return s.suppressionForm(w, r, http.StatusBadRequest, form, sentence(err))
	}
	added, err := s.Suppressions.Add(r.Context(), rule)
	if err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/suppressions", url.Values{"added": {added.ID}}), http.StatusSeeOther)
	return nil
}

// removeSuppression ends a suppression. Its row stays, as a record.
func (s *server) removeSuppression(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Suppressions.End(r.Context(), r.PathValue("id"), sessionOf(r).Person); err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/suppressions", nil), http.StatusSeeOther)
	return nil
}
