package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// The API has what the command writes with -o json, below /api/. Its parameters are the
// flags of the command. docs/exports.md describes the documents.

// writeProblem writes a problem (https://www.rfc-editor.org/rfc/rfc9457).
func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = export.WriteJSON(w, struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{p.Title, p.Status, p.Detail})
}

// answer writes a document. Its ETag is tag. If tag is "", it is that of the text, and a
// client that has this text already gets no other.
func answer(w http.ResponseWriter, r *http.Request, tag string, document any) error {
	var b bytes.Buffer
	if err := export.WriteJSON(&b, document); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	if tag != "" {
		h.Set("ETag", `"`+tag+`"`)
	} else {
		h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(b.Bytes()))[:25]+`"`)
		if r.Header.Get("If-None-Match") == h.Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	_, _ = w.Write(b.Bytes()) // a client that left is no error
	return nil
}

// mostLimit is how many alerts a page of the API has at most.
const mostLimit = 1000

// apiList answers with alerts. limit and page choose which, and the header Link has the
// next page. A page that is not full has a next one if older days were not looked through.
func (s *server) apiList(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	f, err := newFilter(values, s.Detectors, s.Now())
	if err != nil {
		return err
	}
	n, err := pageOf(values)
	if err != nil {
		return err
	}
	limit := perPage
	if text := values.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > mostLimit {
			return mistake("limit %q: want a number from 1 to %d", text, mostLimit)
		}
	}
	alerts, more, back, err := s.walk(r.Context(), f.query, (n-1)*limit, limit)
	if err != nil {
		return err
	}
	next := f.Values()
	next.Set("limit", strconv.Itoa(limit))
	switch {
	case more && n < mostPages:
		next.Set("page", strconv.Itoa(n+1))
	case !back.IsZero():
		next.Set("until", dayBefore(back))
	default:
		next = nil
	}
	if next != nil {
		w.Header().Set("Link", "<"+s.to("/api/alerts", next)+`>; rel="next"`)
	}
	return answer(w, r, "", export.Each(alerts, export.NewAlert))
}

// apiShow answers with one alert. Its ETag is the number of its changes, so that another
// occurrence does not stop somebody from changing it.
func (s *server) apiShow(w http.ResponseWriter, r *http.Request) error {
	ref, err := refOf(r)
	if err != nil {
		return err
	}
	found, err := within(r.Context(), func(ctx context.Context) (fleet.Whole, error) { return fleet.Find(ctx, s.Alerts, ref, mostEvidence) })
	if err != nil {
		return err
	}
	w.Header().Set("X-Hubwatch-Evidence", strconv.Itoa(found.N))
	return answer(w, r, strconv.Itoa(found.Changes), found.Document())
}

// apiSet changes one alert. The body is JSON with status, verdict and reason. If-Match is
// the ETag of the alert that was seen.
func (s *server) apiSet(w http.ResponseWriter, r *http.Request) error {
	ref, err := refOf(r)
	if err != nil {
		return err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" && kind != "application/merge-patch+json" {
		return &problem{http.StatusUnsupportedMediaType, "This is not JSON", "Content-Type: want application/json."}
	}
	match := r.Header.Get("If-Match")
	if match == "" {
		return &problem{http.StatusPreconditionRequired, "The request does not say what it has seen", "If-Match: want the ETag of the alert."}
	}
	seen, err := strconv.Atoi(strings.Trim(match, `"`))
	if err != nil || seen < 0 {
		return mistake("If-Match %q: want the ETag of the alert", match)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var asked struct {
		Status  string `json:"status"`
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
	}
	if err := json.Unmarshal(body, &asked, json.RejectUnknownMembers(true)); err != nil {
		return mistake("body: want an object with status, verdict and reason")
	}
	made, err := change{Status: asked.Status, Verdict: asked.Verdict, Reason: strings.TrimSpace(asked.Reason)}.alert(sessionOf(r).Person)
	if err != nil {
		return mistake("%s", sentence(err))
	}
	made.Seen = &seen
	after, err := s.Alerts.Change(r.Context(), ref, made)
	var conflict *alert.Conflict
	if errors.As(err, &conflict) {
		return &problem{http.StatusPreconditionFailed, "Somebody else was faster", err.Error()}
	}
	if err != nil {
		return err
	}
	return answer(w, r, strconv.Itoa(after.Changes), export.NewAlert(after))
}

// apiCounts answers with how many alerts there are, by day, type, hub or status.
func (s *server) apiCounts(w http.ResponseWriter, r *http.Request) error {
	f, err := newFilter(r.URL.Query(), s.Detectors, s.Now())
	if err != nil {
		return err
	}
	by := fleet.ByDay
	if text := r.URL.Query().Get("by"); text != "" {
		if by, err = word(text, fleet.Bys); err != nil {
			return mistake("by: %v", err)
		}
	}
	if !f.counted() || f.query.Severity != "" || f.Suppressed && (by == fleet.ByType || by == fleet.ByStatus) {
		return mistake("summaries know hub, type, status and whole days, and of suppressed alerts hub and days alone: want these parameters only")
	}
	sums, err := within(r.Context(), func(ctx context.Context) ([]alert.Summary, error) { return fleet.Summaries(ctx, s.Alerts, f.query) })
	if err != nil {
		return err
	}
	return answer(w, r, "", fleet.CountDocuments(fleet.Counts(sums, f.query, by), by))
}

// apiHubs answers with what is known of each hub.
func (s *server) apiHubs(w http.ResponseWriter, r *http.Request) error {
	found, err := s.recent(r.Context(), "", usualWindow, false)
	if err != nil {
		return err
	}
	return answer(w, r, "", export.Each(fleet.Hubs(found.sums, found.heard, s.Detectors), fleet.NewHubDocument))
}

// apiCoverage answers with when each hub was last heard of, and how each path is by which events
// come.
func (s *server) apiCoverage(w http.ResponseWriter, r *http.Request) error {
	heard, err := within(r.Context(), s.Alerts.LastHeard)
	if err != nil {
		return err
	}
	trips, err := within(r.Context(), s.Alerts.Trips)
	if err != nil {
		return err
	}
	return answer(w, r, "", coverage.NewDocument(heard, detector.Sources(s.Detectors), trips, s.Now()))
}

// apiSuppressions answers with the suppressions, and with what they hide.
func (s *server) apiSuppressions(w http.ResponseWriter, r *http.Request) error {
	found, err := s.inForce(r.Context())
	if err != nil {
		return err
	}
	return answer(w, r, "", export.Each(found.all, func(rule alert.Suppression) export.Suppression {
		return export.NewSuppression(rule, s.Now(), found.hides[rule.ID].alerts, found.hides[rule.ID].occurrences)
	}))
}

// apiNews answers with how many alerts there are today and yesterday, for pages that are
// open.
func (s *server) apiNews(w http.ResponseWriter, r *http.Request) error {
	sums, err := within(r.Context(), func(ctx context.Context) ([]alert.Summary, error) {
		return fleet.Summaries(ctx, s.Alerts, alert.Query{Since: alert.Day(s.Now()).AddDate(0, 0, -1)})
	})
	if err != nil {
		return err
	}
	return answer(w, r, "", struct {
		Alerts int `json:"alerts"`
	}{total(fleet.Counts(sums, alert.Query{}, fleet.ByHub))})
}
