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
	"sync"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/verdict"
)

// connectionWindows are for how many days the page shows connections.
var connectionWindows = []int{1, 7, 30}

const usualConnections = 7

// connectionsPage is what the Connections logs say beside alerts.
type connectionsPage struct {
	Hub        string // "" for all
	Days       int
	DayChoices []link
	Hubs       []string // whose log was heard of
	figures
}

// figures are those of some hubs and days.
type figures struct {
	First, Last time.Time   // days
	Older       bool        // Last is not today, because the log says nothing of the days since
	Rows        []figureRow // the newest day first
	Total       figureRow
	Sentences   []fleet.Sentence
	Error       *problem // why there are none
}

// figureRow is a line of figures.
type figureRow struct {
	Hub, Href string
	Day       time.Time
	Renewed   int
	Elsewhere int   // sessions that were taken up in time from another network
	Refused   []int // by cause, in the order of fleet.Causes
}

// newFigureRow adds up the figures of days.
func newFigureRow(days ...verdict.Figures) figureRow {
	row := figureRow{Refused: make([]int, len(fleet.Causes))}
	refused := fleet.Refused(days)
	for i, c := range fleet.Causes {
		row.Refused[i] = refused[c.Cause]
	}
	for _, f := range days {
		row.Renewed += f.Renewed
		row.Elsewhere += f.Elsewhere
	}
	return row
}

// Words names the days in a sentence.
func (p figures) Words() string {
	return fmt.Sprintf("the %s up to %s", plural(1+int(p.Last.Sub(p.First)/(24*time.Hour)), "day"), p.Last.Format(time.DateOnly))
}

// recentConnections reads the figures of hubs for some days up to today. If there are none, the
// days are those up to the newest record of their logs.
func (s *server) recentConnections(r *http.Request, hubs []string, days int, heard func() ([]alert.Heard, error)) figures {
	p := s.readConnections(r, hubs, alert.Day(s.Now()), days)
	if p.Error != nil || len(p.Rows) > 0 {
		return p
	}
	all, err := heard()
	if err != nil {
		p.Error = problemOf(err)
		return p
	}
	var newest time.Time
	for _, h := range all {
		if h.Source == alert.Connections && slices.ContainsFunc(hubs, func(hub string) bool { return strings.EqualFold(hub, h.Hub) }) {
			newest = latest(newest, h.Event)
		}
	}
	if newest.IsZero() || !newest.Before(p.First) {
		return p
	}
	p = s.readConnections(r, hubs, alert.Day(newest), days)
	p.Older = true
	return p
}

// readConnections reads the figures of hubs for some days up to the last one. If they cannot be
// read, they say why: the rest of a page is of use without them.
func (s *server) readConnections(r *http.Request, hubs []string, last time.Time, days int) (p figures) {
	p.First, p.Last = last.AddDate(0, 0, 1-days), last
	found, err := within(r.Context(), func(ctx context.Context) ([]verdict.Figures, error) {
		return fleet.Connections(ctx, s.Connections, hubs, p.First, p.Last)
	})
	if err != nil {
		p.Error = problemOf(err)
		s.Log.Warn("console", "path", r.URL.Path, "error", secret.Visible(err.Error()))
		return p
	}
	for _, f := range found {
		row := newFigureRow(f)
		row.Hub, row.Day, row.Href = f.Hub, f.Day, s.to("/hub", url.Values{"hub": {f.Hub}})
		p.Rows = append(p.Rows, row)
	}
	slices.SortFunc(p.Rows, func(a, b figureRow) int { return cmp.Or(b.Day.Compare(a.Day), strings.Compare(a.Hub, b.Hub)) })
	p.Total, p.Sentences = newFigureRow(found...), fleet.Sentences(found)
	return p
}

// hubsOf returns the hub that a request asks about, or all whose log was heard of, and what reads
// when hubs were heard of, at most once.
func (s *server) hubsOf(r *http.Request) (hubs []string, heard func() ([]alert.Heard, error), err error) {
	heard = sync.OnceValues(func() ([]alert.Heard, error) { return within(r.Context(), s.Alerts.LastHeard) })
	if hub := r.URL.Query().Get("hub"); hub != "" {
		return []string{alert.Hub{Name: hub}.Key()}, heard, nil
	}
	all, err := heard()
	return fleet.LoggedHubs(all), heard, err
}

// connections answers with renewals, refused connections, and sentences that no rule knows.
func (s *server) connections(w http.ResponseWriter, r *http.Request) error {
	p := connectionsPage{Hub: r.URL.Query().Get("hub"), Days: usualConnections}
	if text := r.URL.Query().Get("days"); text != "" {
		var err error
		if p.Days, err = strconv.Atoi(text); err != nil || !slices.Contains(connectionWindows, p.Days) {
			return mistake("days %q: want one of %v", text, connectionWindows)
		}
	}
	hubs, heard, err := s.hubsOf(r)
	if err != nil {
		return err
	}
	p.Hubs = hubs
	asked := r.URL.Query().Get("days") != ""
	if asked {
		p.figures = s.readConnections(r, p.Hubs, alert.Day(s.Now()), p.Days)
	} else {
		p.figures = s.recentConnections(r, p.Hubs, p.Days, heard)
	}
	for _, n := range connectionWindows {
		values := url.Values{"days": {strconv.Itoa(n)}}
		if p.Hub != "" {
			values.Set("hub", p.Hub)
		}
		p.DayChoices = append(p.DayChoices, link{span(n), s.to("/connections", values), n == p.Days && !p.Older})
	}
	return s.render(w, r, http.StatusOK, "connections", page{Title: "Connections", Section: "connections", Command: s.connectionsCommand(p.Hub, p.First), Body: p})
}

// connectionsCommand returns the command that shows the same.
func (s *server) connectionsCommand(hub string, since time.Time) string {
	flags := [][2]string{{"since", since.Format(time.DateOnly)}}
	if hub != "" {
		flags = append(flags, [2]string{"hub", hub})
	}
	if s.StateAccount != "" {
		flags = append(flags, [2]string{"state-account", s.StateAccount})
	}
	return s.commandLine("connections", flags)
}

// apiConnections answers with the figures of each hub and day. hub and since are those of
// the command.
func (s *server) apiConnections(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	since := s.Now().AddDate(0, 0, -usualConnections)
	if text := values.Get("since"); text != "" {
		var err error
		if since, err = alert.ParseTime(text, s.Now(), false); err != nil {
			return mistake("since %q: %v", text, err)
		}
	}
	hubs, _, err := s.hubsOf(r)
	if err != nil {
		return err
	}
	days, err := within(r.Context(), func(ctx context.Context) ([]verdict.Figures, error) {
		return fleet.Connections(ctx, s.Connections, hubs, since, s.Now())
	})
	if err != nil {
		return err
	}
	return answer(w, r, "", export.Each(days, fleet.NewConnectionsDocument))
}
