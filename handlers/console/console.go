// Package console is the page of hubwatch, as an http.Handler: what is going on, which
// alerts there are, what to do about one, and what is watched. It shows what the command
// shows, from the same stores, and it has the same as JSON below /api/.
//
// Pages are made by the server and work without script. Nothing is asked of another host.
// The handler knows no table, no host and no way to sign in: Options say who asks.
package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/secret"
	"hubwatch/handlers/version"
)

// Options are what a console shows, and to whom.
type Options struct {
	Alerts interface {
		alert.Reader
		alert.Editor
		coverage.Reader
	}
	Suppressions alert.Suppressions
	Quarantine   interface {
		// Waiting returns how many events wait in the quarantine, and whether there are
		// more than most, which it does not count.
		Waiting(ctx context.Context, most int) (n int, more bool, err error)
	}
	Connections fleet.Figures // what the Connections logs say beside alerts
	Detectors   []detector.Detector
	// Session says who asks. Its error is shown, with the status 403, or 401 if it is a
	// SignIn, or 503 if it wraps ErrNobodyNow.
	Session func(*http.Request) (Session, error)
	// Base is the path that the console is served below, without a slash at its end. It
	// is "" for the root.
	Base string
	// Account names the storage account, for people.
	Account string
	// Command is how a person calls hubwatch for the same tables, for the commands that
	// pages show: "hubwatch --account contosostorage".
	Command string
	// StateAccount is what the command has to be told of the account with the figures of
	// connections, "" for nothing.
	StateAccount string
	Now          func() time.Time
	Log          *slog.Logger
}

// Session is who asks.
type Session struct {
	Person   alert.Person
	ReadOnly bool // the person may not change anything
}

// SignIn is an error about somebody who has to sign in, or sign in again.
type SignIn struct {
	Detail string // a sentence for the person
	URL    string // the page where they do that, "" for none
}

// Error implements error.
func (s *SignIn) Error() string { return s.Detail }

// ErrNobodyNow says that nobody can be let in now, whoever it is.
var ErrNobodyNow = errors.New("nobody can be let in now")

// sectionTime is how long one part of a page may take to read. A part that takes longer
// says so, and the others are shown.
const sectionTime = 8 * time.Second

// mostForm is how many bytes a form may have.
const mostForm = 256 << 10

// server is the handler.
type server struct {
	Options
	mux       *http.ServeMux
	templates *template.Template
	assets    assets
}

// New returns the console.
func New(o Options) http.Handler {
	s := &server{Options: o, mux: http.NewServeMux(), assets: loadAssets()}
	s.templates = s.parse()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                           s.overview,
		"GET /alerts":                        s.list,
		"POST /alerts":                       s.setMany,
		"GET /alerts/all":                    s.toList,
		"POST /alerts/all":                   s.setWhole,
		"GET /alerts/{hub}/{day}/{id}":       s.show,
		"POST /alerts/{hub}/{day}/{id}":      s.set,
		"GET /hubs":                          s.hubs,
		"GET /hub":                           s.hub,
		"GET /connections":                   s.connections,
		"GET /entity":                        s.entity,
		"GET /actor":                         s.actor,
		"GET /coverage":                      s.coverage,
		"GET /suppressions":                  s.suppressions,
		"GET /suppressions/new":              s.newSuppression,
		"POST /suppressions":                 s.addSuppression,
		"POST /suppressions/{id}/remove":     s.removeSuppression,
		"GET /api/alerts":                    s.apiList,
		"GET /api/alerts/{hub}/{day}/{id}":   s.apiShow,
		"PATCH /api/alerts/{hub}/{day}/{id}": s.apiSet,
		"GET /api/counts":                    s.apiCounts,
		"GET /api/hubs":                      s.apiHubs,
		"GET /api/coverage":                  s.apiCoverage,
		"GET /api/connections":               s.apiConnections,
		"GET /api/suppressions":              s.apiSuppressions,
		"GET /api/news":                      s.apiNews,
		"/":                                  func(http.ResponseWriter, *http.Request) error { return errNoPage },
	} {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = "", pattern
		}
		s.mux.HandleFunc(strings.TrimSpace(method+" "+o.Base+path), func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, mostForm)
			if err := serve(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	s.mux.HandleFunc("GET "+o.Base+assetsPath+"{hash}/{name}", s.assets.serve)
	// Requests that change something come from the pages themselves, or from programs
	// that are no browsers (https://pkg.go.dev/net/http#CrossOriginProtection).
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &problem{http.StatusForbidden, "Another site sent this request", "Nothing was changed. Open the page here, and try again."})
	}))
	return secured(guard.Handler(http.HandlerFunc(s.serve)))
}

// policy lets a page load its own style and script, and nothing else from anywhere.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets the headers that every answer has.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sessionKey is the key of the Session in the context of a request.
type sessionKey struct{}

// serve answers a request of somebody who may see the console. Assets are for everybody:
// they are the same everywhere.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, s.Base+assetsPath) {
		s.mux.ServeHTTP(w, r)
		return
	}
	session, err := s.Session(r)
	if err != nil {
		var signIn *SignIn
		switch {
		case errors.Is(err, ErrNobodyNow):
			err = &problem{http.StatusServiceUnavailable, "Try again in a minute", err.Error()}
		case !errors.As(err, &signIn):
			err = &problem{http.StatusForbidden, "You may not see this", err.Error()}
		}
		s.fail(w, r, err)
		return
	}
	if session.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(w, r, &problem{http.StatusForbidden, "You may not change this", "Your role lets you read alerts, and not change them."})
		return
	}
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, session)))
}

// sessionOf returns who asks. It is zero if that is not known.
func sessionOf(r *http.Request) Session {
	session, _ := r.Context().Value(sessionKey{}).(Session)
	return session
}

// problem is an error with a status of HTTP, for the person who asks.
type problem struct {
	Status int
	Title  string
	Detail string
}

// Error implements error.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

var errNoPage = &problem{http.StatusNotFound, "There is no such page", "The address may be cut, or of another version of hubwatch."}

// mistake is the problem of a request that makes no sense.
func mistake(format string, args ...any) *problem {
	return &problem{http.StatusBadRequest, "This request makes no sense", fmt.Sprintf(format, args...)}
}

// problemOf returns what to tell about an error.
func problemOf(err error) *problem {
	var p *problem
	var conflict *alert.Conflict
	var illegal *alert.Illegal
	var tooLarge *http.MaxBytesError
	var signIn *SignIn
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &signIn):
		return &problem{http.StatusUnauthorized, "Sign in", signIn.Detail}
	case errors.Is(err, alert.ErrNotFound):
		return &problem{http.StatusNotFound, "There is no such alert", "It may have been deleted from the table, or the address may be cut."}
	case errors.Is(err, alert.ErrAbsent):
		return &problem{http.StatusNotFound, "No alert was ever raised", err.Error()}
	case errors.Is(err, alert.ErrNoSuppression):
		return &problem{http.StatusNotFound, "There is no such suppression", err.Error()}
	case errors.As(err, &conflict):
		return &problem{http.StatusConflict, "Somebody else was faster", err.Error()}
	case errors.As(err, &illegal):
		return &problem{http.StatusConflict, "The status does not allow this", err.Error()}
	case errors.As(err, &tooLarge):
		return &problem{http.StatusRequestEntityTooLarge, "This request is too large", fmt.Sprintf("It may have %d bytes.", tooLarge.Limit)}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{http.StatusGatewayTimeout, "The storage account took too long", "Try again, with fewer days or one hub."}
	}
	return &problem{http.StatusBadGateway, "The storage account could not be read", err.Error()}
}

// fail tells an error, as a page or as JSON.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for the answer
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		// The address has names, and no secret: a console has none in its addresses.
		s.Log.Warn("console", "path", r.URL.Path, "status", p.Status, "error", secret.Visible(err.Error()))
	}
	if strings.HasPrefix(r.URL.Path, s.Base+"/api/") {
		writeProblem(w, p)
		return
	}
	body := struct {
		*problem
		SignIn string
	}{problem: p}
	if signIn := new(SignIn); errors.As(err, &signIn) {
		body.SignIn = signIn.URL
	}
	if err := s.render(w, r, p.Status, "problem", page{Title: p.Title, Body: body}); err != nil {
		s.Log.Error("console", "error", err)
		http.Error(w, p.Error(), http.StatusInternalServerError)
	}
}

// page is what the frame around each page shows.
type page struct {
	Title   string
	Section string // the entry of the navigation that is the current one
	Command string // the command that shows the same, "" for none
	Notice  string // what was done
	Body    any

	// These are set by render.

	Session Session
	Account string
	Version string
	Now     time.Time
}

// render writes a page. Hidden characters become escapes wherever they come from, so
// that no name can steer what a person sees.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) error {
	p.Session, p.Account, p.Version, p.Now = sessionOf(r), s.Account, version.Version, s.Now().UTC()
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, p); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	text := strings.ReplaceAll(b.String(), "\r", `\u000d`)
	_, _ = w.Write([]byte(secret.VisibleJSON(text))) // a reader who left is no error
	return nil
}

// within calls f with the time that a section of a page has.
func within[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, sectionTime)
	defer cancel()
	value, err := f(ctx)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return value, err
}

// to returns a path of the console with a query.
func (s *server) to(path string, query url.Values) string {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return s.Base + path
}
