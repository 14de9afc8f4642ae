package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"time"

	"hubwatch/handlers/alert"
)

// leastPrefix is how many characters of an id a reference needs.
const leastPrefix = 4

// mostCandidates is how many alerts the error of an ambiguous reference lists.
const mostCandidates = 10

// idPrefix is the form of the beginning of an id.
var idPrefix = regexp.MustCompile(`^[0-9a-f][0-9a-f-]*$`)

// reference is what a person gives for an alert.
type reference struct {
	alert.Ref
	whole bool // otherwise the id is only the beginning of one
}

// parseReference reads a reference: <hub>/<yyyy-mm-dd>/<id>, or the id alone. The id may
// be shortened.
func parseReference(s string) (reference, error) {
	if ref, err := alert.ParseRef(s); err == nil {
		return reference{ref, true}, nil
	}
	var r reference
	id := s
	if parts := strings.Split(s, "/"); len(parts) > 1 {
		day, err := time.Parse(time.DateOnly, parts[1])
		if len(parts) != 3 || parts[0] == "" || err != nil {
			return reference{}, fmt.Errorf("reference %q: want <hub>/<yyyy-mm-dd>/<id>, or the id alone", s)
		}
		r.Hub, r.Day, id = parts[0], day, parts[2]
	}
	r.ID = strings.ToLower(id)
	switch {
	case !idPrefix.MatchString(r.ID):
		return reference{}, fmt.Errorf("reference %q: %q is not the id of an alert, or its beginning", s, id)
	case len(r.ID) < leastPrefix:
		return reference{}, fmt.Errorf("reference %q: want %d characters of the id, or more", s, leastPrefix)
	}
	return r, nil
}

// parseReferences reads several references.
func parseReferences(args []string) ([]reference, error) {
	refs := make([]reference, len(args))
	for i, arg := range args {
		var err error
		if refs[i], err = parseReference(arg); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// resolve returns the whole reference of an alert. It looks for the beginning of an id
// in all alerts of the day that r names, or of all days. The error wraps
// alert.ErrNotFound if there is none. It is an *ambiguousError if there are several.
func (r reference) resolve(ctx context.Context, reader alert.Reader) (alert.Ref, error) {
	if r.whole {
		return r.Ref, nil
	}
	q := alert.Query{Hub: r.Hub}
	if !r.Day.IsZero() {
		q.Since, q.Until = r.Day, endOf(r.Day)
	}
	var found []alert.Ref
	for _, q.Suppressed = range []bool{false, true} {
		for a, err := range reader.List(ctx, q) {
			if err != nil {
				return alert.Ref{}, err
			}
			if !strings.HasPrefix(a.ID, r.ID) {
				continue
			}
			if found = append(found, a.Ref()); len(found) > mostCandidates {
				return alert.Ref{}, ambiguous(r, found)
			}
		}
	}
	switch len(found) {
	case 0:
		return alert.Ref{}, fmt.Errorf("alert %s: %w", r, alert.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return alert.Ref{}, ambiguous(r, found)
}

// endOf returns the last moment of a day.
func endOf(day time.Time) time.Time { return day.AddDate(0, 0, 1).Add(-1) }

// ambiguous returns the error of a reference that several alerts have.
func ambiguous(r reference, found []alert.Ref) error {
	more := ""
	if len(found) > mostCandidates {
		found, more = found[:mostCandidates], "\n  and more"
	}
	text := fmt.Sprintf("alert %s: several alerts have an id that begins like this:", r)
	for _, ref := range found {
		text += "\n  " + ref.String()
	}
	return &ambiguousError{text + more}
}

// find returns the alert that a reference names, and its evidence. Its errors are those
// of resolve.
func (r reference) find(ctx context.Context, reader alert.Reader) (alert.Alert, iter.Seq2[alert.Evidence, error], error) {
	ref, err := r.resolve(ctx, reader)
	if err != nil {
		return alert.Alert{}, nil, err
	}
	return reader.Find(ctx, ref)
}

// findAll returns the alerts that references name, each once. It goes on after a
// reference that names none, so that its error tells all of them.
func findAll(ctx context.Context, reader alert.Reader, refs []reference) ([]alert.Alert, error) {
	var alerts []alert.Alert
	var errs []error
	known := map[string]bool{}
	for _, r := range refs {
		a, _, err := r.find(ctx, reader)
		var several *ambiguousError
		switch {
		case errors.Is(err, alert.ErrNotFound), errors.As(err, &several):
			errs = append(errs, err)
		case err != nil:
			return nil, err
		case !known[a.ID]:
			known[a.ID] = true
			alerts = append(alerts, a)
		}
	}
	return alerts, errors.Join(errs...)
}
