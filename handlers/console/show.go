package console

import (
	"cmp"
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
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/remedy"
)

const (
	// mostEvidence is how many events a page shows of an alert.
	mostEvidence = 100
	// mostMoments is how many moments of an alert are not folded.
	mostMoments = 8
	// mostRelated is how many related alerts a page shows of each kind.
	mostRelated = 20
	// aroundActor is how far from an alert the others of its actor may be.
	aroundActor = 24 * time.Hour
	// entityDays is how many days of an entity are related.
	entityDays = 30
)

// alertPage is one alert.
type alertPage struct {
	fleet.Whole
	Ref       string
	Path      string
	Why       string // why such an alert matters
	Limits    string // what the detector cannot tell
	Steps     []string
	Goals     []goal
	Facts     []fact
	Timeline  []moment // the last moments
	Folded    []moment // those before
	More      int      // events that the timeline leaves out
	Related   []related
	RelatedTo *problem // why there are none
	Statuses  []alert.Status
	Form      change
	Problem   string
	Suppress  string
}

// goal is the commands of one goal.
type goal struct {
	Title    string
	Commands []export.Command
}

// fact is a particular of an alert.
type fact struct{ Name, Text, Href string }

// moment is something that happened to an alert.
type moment struct {
	Time     time.Time
	Kind     string // "event", "raised" or "change"
	Text     string
	Detail   string
	Evidence *alert.Evidence
}

// related is alerts that have something to do with one.
type related struct {
	Title  string
	Alerts []relatedAlert
	More   bool
	Href   string
}

// relatedAlert is one of them.
type relatedAlert struct {
	alert.Alert
	Href       string
	Deployment bool // its correlation id is the same
}

// goalTitles are the headings of commands.
var goalTitles = map[remedy.Goal]string{
	remedy.Investigate: "Investigate", remedy.Fix: "Fix", remedy.Verify: "Verify", remedy.Undo: "Undo the fix",
}

// show answers with one alert.
func (s *server) show(w http.ResponseWriter, r *http.Request) error {
	return s.showWith(w, r, http.StatusOK, change{}, "")
}

// set changes one alert.
func (s *server) set(w http.ResponseWriter, r *http.Request) error {
	ref, err := refOf(r)
	if err != nil {
		return err
	}
	form, err := changeOf(r)
	if err != nil {
		return err
	}
	made, err := form.alert(sessionOf(r).Person)
	if err != nil {
		return s.showWith(w, r, http.StatusBadRequest, form, sentence(err))
	}
	if made.Seen == nil {
		return s.showWith(w, r, http.StatusBadRequest, form, "The form does not say what it has seen.")
	}
	if _, err := s.Alerts.Change(r.Context(), ref, made); err != nil {
		var conflict *alert.Conflict
		var illegal *alert.Illegal
		if errors.As(err, &conflict) || errors.As(err, &illegal) {
			return s.showWith(w, r, http.StatusConflict, form, sentence(err))
		}
		return err
	}
	http.Redirect(w, r, s.alertPath(ref)+"#timeline", http.StatusSeeOther) // #nosec G710 -- a path of our own, with the hub escaped
	return nil
}

// showWith answers with one alert, and with a form that could not be taken.
func (s *server) showWith(w http.ResponseWriter, r *http.Request, status int, form change, wrong string) error {
	ref, err := refOf(r)
	if err != nil {
		return err
	}
	found, err := within(r.Context(), func(ctx context.Context) (fleet.Whole, error) { return fleet.Find(ctx, s.Alerts, ref, mostEvidence) })
	if err != nil {
		return err
	}
	a := found.Alert
	p := alertPage{
		Whole: found, Ref: a.Ref().String(), Path: s.alertPath(a.Ref()), Steps: export.Steps(a), Form: form, Problem: wrong,
		More: found.N - len(found.Evidence), Statuses: followers(a), Facts: s.facts(a), Timeline: timeline(found),
	}
	if n := len(p.Timeline) - mostMoments; n > 0 {
		p.Folded, p.Timeline = p.Timeline[:n], p.Timeline[n:]
	}
	if d, ok := fleet.Named(s.Detectors, a.Type); ok {
		p.Why, p.Limits = d.Description, d.Limits
	}
	for _, g := range remedy.Goals {
		var commands []export.Command
		for _, c := range detector.CommandsFor(a) {
			if c.Goal == g {
				commands = append(commands, export.NewCommand(c))
			}
		}
		if len(commands) > 0 {
			p.Goals = append(p.Goals, goal{goalTitles[g], commands})
		}
	}
	conditions := url.Values{"type": {a.Type}, "hub": {a.Hub.Name}, "entity-type": {string(a.Entity.Type)}, "entity": {a.Entity.Name}}
	if a.Actor != "" {
		conditions.Set("actor", a.Actor)
	}
	p.Suppress = s.to("/suppressions/new", conditions)
	if p.Related, err = s.related(r.Context(), a); err != nil {
		p.RelatedTo = problemOf(err)
	}
	return s.render(w, r, status, "alert", page{
		Title: a.DisplayName, Section: "alerts", Command: s.commandLine("alerts show", nil, p.Ref), Body: p,
	})
}

// followers returns the statuses that may follow that of an alert.
func followers(a alert.Alert) (list []alert.Status) {
	for _, status := range alert.Statuses {
		if status != a.Status && (alert.Change{Status: status}).Follows(a.Status, alert.Benign) == nil {
			list = append(list, status)
		}
	}
	return list
}

// facts returns the particulars of an alert. What is unknown is left out.
func (s *server) facts(a alert.Alert) (list []fact) {
	hub := s.to("/hub", url.Values{"hub": {a.Hub.Name}})
	entity := s.entityPath(a.Hub.Name, a.Entity)
	actor := s.to("/actor", url.Values{"actor": {a.Actor}})
	address := cmp.Or(a.LastActorIPAddress, a.ActorIPAddress)
	from := ""
	if _, err := alert.ParseAddresses(address); err == nil {
		from = s.to("/alerts", url.Values{"address": {address}})
	}
	all := []fact{
		{"Hub", a.Hub.Name, hub}, {entityWord(a.Entity.Type), a.Entity.Name, entity}, {"Actor", a.Actor, actor},
		{"Address", address, from}, {"Addresses", strings.Join(a.ActorIPAddresses, ", "), ""},
		{"Confidence", string(a.Confidence), ""}, {"Suppressed by", a.SuppressedBy, ""},
		{"Alert type", a.Type, s.to("/alerts", url.Values{"type": {a.Type}})}, {"Detector", a.Detector, s.Base + "/coverage#" + a.Detector},
		{"Correlation id", a.CorrelationID, ""}, {"Resource", a.Hub.ResourceID, ""}, {"Reference", a.Ref().String(), ""},
	}
	names := make([]string, 0, len(a.Properties))
	for name := range a.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, fact{name, a.Properties[name], ""})
	}
	for _, f := range all {
		if f.Text != "" && !(f.Name == "Addresses" && len(a.ActorIPAddresses) < 2) {
			list = append(list, f)
		}
	}
	return list
}

// entityPath returns the address of the page of an entity.
func (s *server) entityPath(hub string, e alert.Entity) string {
	return s.to("/entity", url.Values{"hub": {hub}, "entity-type": {string(e.Type)}, "entity": {e.Name}})
}

// timeline returns what happened to an alert, the oldest first.
func timeline(found fleet.Whole) (list []moment) {
	a := found.Alert
	for i := range found.Evidence {
		e := &found.Evidence[i]
		m := moment{Time: e.Time, Kind: "event", Text: happened(*e), Evidence: e}
		if e.Actor != "" || e.ActorIPAddress != "" {
			m.Text = strings.TrimSpace("By " + cmp.Or(e.Actor, "somebody") + from(e.ActorIPAddress))
			if e.Tally.Seq > 0 && e.Tally.N != 1 {
				m.Text += ". " + happened(*e)
			}
		}
		list = append(list, m)
	}
	if !a.Generated.IsZero() {
		list = append(list, moment{Time: a.Generated, Kind: "raised", Text: "hubwatch raised the alert."})
	}
	for _, h := range found.History {
		m := moment{Time: h.Time, Kind: "change", Text: cmp.Or(h.By.String(), "somebody") + ": note", Detail: h.Reason}
		if h.From != h.To {
			m.Text = cmp.Or(h.By.String(), "somebody") + ": " + string(h.From) + " to " + string(h.To)
		}
		if h.Verdict != "" {
			m.Text += ", " + string(h.Verdict)
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b moment) int { return a.Time.Compare(b.Time) })
	return list
}

// from says from which address something was done, or nothing.
func from(address string) string {
	if address == "" {
		return ""
	}
	return " from " + address
}

// related returns the other alerts of the same entity, and of the same actor around that
// time.
func (s *server) related(ctx context.Context, a alert.Alert) ([]related, error) {
	entity := alert.Query{Hub: a.Hub.Name, Entity: a.Entity.Name, EntityType: a.Entity.Type, Since: alert.Day(a.Start).AddDate(0, 0, -entityDays)}
	actor := alert.Query{Actor: a.Actor, Since: a.Start.Add(-aroundActor), Until: a.End.Add(aroundActor)}
	lists := []*related{
		{Title: "About the same " + lowerEntityWord(a.Entity.Type), Href: s.entityPath(a.Hub.Name, a.Entity)},
		{Title: "By the same actor, a day before and after", Href: s.to("/actor", url.Values{"actor": {a.Actor}})},
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, q := range []alert.Query{entity, actor} {
		if q.Entity == "" && q.Actor == "" {
			continue
		}
		group.Go(func() error {
			alerts, more, err := s.take(ctx, q, 0, mostRelated+1)
			for _, other := range alerts {
				if other.ID != a.ID {
					lists[i].Alerts = append(lists[i].Alerts, relatedAlert{
						other, s.alertPath(other.Ref()), a.CorrelationID != "" && strings.EqualFold(other.CorrelationID, a.CorrelationID),
					})
				}
			}
			lists[i].More = more
			return err
		})
	}
	err := group.Wait()
	var list []related
	for _, l := range lists {
		if len(l.Alerts) > 0 {
			list = append(list, *l)
		}
	}
	return list, err
}

// happened says how often something happened, by the newest verdict.
func happened(e alert.Evidence) string {
	switch t := e.Tally; {
	case e.Properties["CountMin"] != "" && t.N > 0:
		return "Fewer events than expected, " + plural(t.N, "time") + "."
	case e.Counted != nil:
		return plural(len(e.Counted), "event") + " within a window, the last of which is one too many."
	case t.Seq > 0 && t.N == 0:
		return "Late records took it back."
	case t.N > 1:
		return fmt.Sprintf("It happened %d times in ten minutes.", t.N)
	}
	return "It happened."
}
