package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/event"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/table"
)

// watchLimit bounds the reading of the tables for one event.
const watchLimit = 30 * time.Second

// watcher shows the results of events and log messages, as the tables have them.
// It ignores events and messages that came before begin.
type watcher struct {
	ctx     context.Context
	out     io.Writer
	publish atomic.Int64 // requests with which verdicts were published
	// canaries has the ids of the events that are canaries, until they are settled.
	canaries sync.Map

	mu    sync.Mutex
	site  *site // nil before begin
	types []string
	known map[string]bool // alert and event, or quarantined event, as in the tables before
}

func newWatcher(ctx context.Context, out io.Writer) *watcher {
	return &watcher{ctx: ctx, out: out, known: map[string]bool{}}
}

// begin makes the watcher show what comes from now on. The watcher remembers what
// the tables have already.
func (w *watcher) begin(s *site) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.site = s
	for _, subscription := range s.subscriptions {
		w.types = append(w.types, subscription.Filter.IncludedEventTypes...)
	}
	slices.Sort(w.types)
	w.types = slices.Compact(w.types)
	if _, err := w.alerts("", nil); err != nil {
		return err
	}
	_, err := w.quarantined("", nil)
	return err
}

// finding is an alert that has an event as evidence.
type finding struct {
	alert.Alert
	known bool // the event was in the alert before
}

// alerts returns the alerts that have an event as evidence, and remembers them.
// An empty id stands for any event. Without detectors it returns the alerts of
// all detectors.
func (w *watcher) alerts(id string, detectors []string) ([]finding, error) {
	ctx, cancel := context.WithTimeout(w.ctx, watchLimit)
	defer cancel()
	id = printable(id) // as the table has it
	var found []finding
	for a, err := range w.site.stores.Alerts.List(ctx, alert.Query{}) {
		if err != nil {
			return nil, err
		}
		if len(detectors) > 0 && !slices.Contains(detectors, a.Detector) {
			continue
		}
		_, evidence, err := w.site.stores.Alerts.Find(ctx, a.Ref())
		if err != nil {
			return nil, err
		}
		for e, err := range evidence {
			if err != nil {
				return nil, err
			}
			if id == "" || e.EventID == id {
				found = append(found, finding{a, w.remember("alert", a.ID, e.EventID)})
			}
		}
	}
	return found, nil
}

// quarantined returns what the named functions have quarantined of an event, and
// remembers it. Without functions it returns what any function has quarantined.
// An empty id stands for any event that was not there before.
func (w *watcher) quarantined(id string, functions []string) ([]table.Held, error) {
	ctx, cancel := context.WithTimeout(w.ctx, watchLimit)
	defer cancel()
	id = printable(id) // as the table has it
	var found []table.Held
	for held, err := range w.site.stores.Quarantine.List(ctx, table.QuarantineQuery{}) {
		if errors.Is(err, alert.ErrAbsent) {
			break // nothing was quarantined so far
		}
		if err != nil {
			return nil, err
		}
		if len(functions) > 0 && !slices.Contains(functions, held.Function) {
			continue
		}
		before := w.remember("quarantine", held.ID)
		if id != "" && held.EventID == id || held.EventID == "" && !before {
			found = append(found, held)
		}
	}
	return found, nil
}

// remember reports whether something was remembered before.
func (w *watcher) remember(parts ...string) bool {
	key := strings.Join(parts, "\x00")
	before := w.known[key]
	w.known[key] = true
	return before
}

// settled shows the result of an event that came to the topic. A canary, which hubwatch sends
// itself, is not shown.
func (w *watcher) settled(r eventgrid.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, canary := w.canaries.LoadAndDelete(r.ID); canary || w.site == nil {
		return
	}
	fmt.Fprintf(w.out, "\nEvent %s\n  %s\n", printable(r.ID), printable(r.Type))
	if len(r.Deliveries) == 0 {
		w.unmatched(r.Type)
		return
	}
	var names []string
	for _, d := range r.Deliveries {
		names = append(names, d.Function)
		if d.DeadLetter != "" {
			fmt.Fprintf(w.out, "  %s: given up after %d attempts, %s;\n    it is in %s\n", d.Function, d.Attempts, d.DeadLetter, deadLetterFolder)
		}
	}
	slices.Sort(names)
	found, err := w.alerts(r.ID, names)
	if err != nil {
		fmt.Fprintf(w.out, "  the alerts cannot be read: %v\n", err)
		return
	}
	held, err := w.quarantined(r.ID, names)
	if err != nil {
		fmt.Fprintf(w.out, "  the quarantine cannot be read: %v\n", err)
		return
	}
	for _, f := range found {
		what := "alert raised"
		switch {
		case f.known:
			what = "nothing new, the alert has this event already"
		case f.Occurrences > 1:
			what = "counted, the alert was there already"
		}
		fmt.Fprintf(w.out, "  %s: %s\n    %s (%s)\n    hub %s, %s %s, %s\n    %s\n", f.Detector, what, f.Type, f.Severity,
			f.Hub.Name, f.Entity.Type, printable(f.Entity.Name), count(f.Occurrences, "occurrence"), f.Ref())
	}
	for _, h := range held {
		w.held(h)
	}
	if dead := slices.ContainsFunc(r.Deliveries, func(d eventgrid.Delivery) bool { return d.DeadLetter != "" }); len(found) == 0 && len(held) == 0 && !dead {
		wrap(w.out, "  ", "silent: nothing found by "+strings.Join(names, ", "))
	}
}

// unmatched says that no subscription takes an event, and why.
func (w *watcher) unmatched(eventType string) {
	if slices.ContainsFunc(w.types, func(t string) bool { return strings.EqualFold(t, eventType) }) {
		fmt.Fprintf(w.out, "  no subscription matches it: there are some for its type, but their other\n  filters do not fit, see %s\n", subscriptionsFile)
		return
	}
	fmt.Fprintf(w.out, "  no subscription matches it: they are for the types\n    %s\n", strings.Join(w.types, "\n    "))
}

// held shows a quarantined event or message.
func (w *watcher) held(h table.Held) {
	fmt.Fprintf(w.out, "  %s: quarantined\n", h.Function)
	wrap(w.out, "    ", printable(h.Reason))
	fmt.Fprintf(w.out, "    %s --local quarantine show %.12s\n", hubwatchCommand, h.ID)
}

// relayed counts the requests with which verdicts are published. Canaries come to the same topic
// at any time, and say nothing of a message.
func (w *watcher) relayed(topic http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		ids, only := canaries(body)
		if !only {
			w.publish.Add(1)
		}
		for _, id := range ids {
			w.canaries.Store(id, true)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		topic.ServeHTTP(response, r)
	})
}

// canaries returns the ids of the events that are canaries in a body that the app published, and
// whether there are no others.
func canaries(body []byte) (ids []string, only bool) {
	var events []jsontext.Value
	if json.Unmarshal(body, &events) != nil {
		return nil, false
	}
	for _, raw := range events {
		e, err := event.Decode(raw)
		if err != nil {
			continue
		}
		if _, disguised := coverage.ParseDisguise(e); disguised || e.Type == coverage.CanaryType {
			ids = append(ids, e.ID)
		}
	}
	return ids, len(ids) > 0 && len(ids) == len(events)
}

// messages shows the result of log messages that gave no event of their own.
func (w *watcher) messages(hub http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, r *http.Request) {
		before := w.publish.Load()
		status := &statusWriter{ResponseWriter: response}
		hub.ServeHTTP(status, r)
		if status.code == http.StatusCreated {
			go w.message(before)
		}
	})
}

// message waits until a message is kept and judged. before is the number of requests with
// which verdicts had been published when the message came.
func (w *watcher) message(before int64) {
	w.mu.Lock()
	s := w.site
	w.mu.Unlock()
	if s == nil || s.hub.Wait(w.ctx) != nil {
		return
	}
	failed := s.functions.Fire(w.ctx, judge.VerdictsName)
	waiting, err := s.waiting(w.ctx)
	failed = errors.Join(failed, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	held, err := w.quarantined("", []string{judge.RelayName})
	switch {
	case err != nil:
		fmt.Fprintf(w.out, "\nLog message\n  the quarantine cannot be read: %v\n", err)
	case len(held) > 0:
		fmt.Fprint(w.out, "\nLog message\n")
		for _, h := range held {
			w.held(h)
		}
	case failed != nil:
		fmt.Fprintf(w.out, "\nLog message\n  not judged yet, and tried again: %v\n", failed)
	case w.publish.Load() > before:
	case waiting:
		fmt.Fprint(w.out, "\nLog message\n  kept: it is judged when the time to come back is over\n")
	default:
		fmt.Fprint(w.out, "\nLog message\n  silent: nothing new in it is worth an alert\n")
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (s *statusWriter) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
