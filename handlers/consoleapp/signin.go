package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/console"
)

// tokenHeader has the ID token of whoever is signed in. App Service Authentication sets
// it, and takes it off requests that come with one. It does the former only with a token
// store, and the latter only while it is on
// (https://learn.microsoft.com/azure/app-service/configure-authentication-oauth-tokens).
// So the door believes no header, and reads the token itself.
const tokenHeader = "X-Ms-Token-Aad-Id-Token" // #nosec G101 -- the name of a header

// Roles of the app registration.
const (
	roleRead    = "Alerts.Read"
	roleRespond = "Alerts.Respond"
)

// keyTime is how long the issuer may take to say which keys it has.
const keyTime = 5 * time.Second

// door says who asks. It lets in nobody of whom a token of its issuer does not say that
// they may come in, whatever stands before it.
type door struct {
	issuer, clientID string
	changes          bool // whether anybody may change anything
	client           *http.Client
	now              func() time.Time

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil before the issuer has answered once
}

func newDoor(issuer, clientID string, changes bool) *door {
	return &door{issuer: issuer, clientID: clientID, changes: changes, client: &http.Client{Timeout: keyTime}, now: time.Now}
}

// claims are what the door reads of a token
// (https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference).
type claims struct {
	ObjectID string   `json:"oid"`
	Name     string   `json:"preferred_username"` // for people to read. It may change, and decides nothing
	Roles    []string `json:"roles"`
}

// session returns who asks.
func (d *door) session(r *http.Request) (console.Session, error) {
	tokens := r.Header.Values(tokenHeader)
	if len(tokens) != 1 || tokens[0] == "" {
		return console.Session{}, d.signIn(r, "Nobody is signed in.")
	}
	verifier, err := d.keys()
	if err != nil {
		return console.Session{}, fmt.Errorf("%w, because the keys of %s cannot be read: %w", console.ErrNobodyNow, d.issuer, err)
	}
	token, err := verifier.Verify(r.Context(), tokens[0])
	var expired *oidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return console.Session{}, d.signIn(r, "Your sign-in is over.")
	case err != nil:
		return console.Session{}, d.signIn(r, "Your sign-in is not one of this console: "+err.Error()+".")
	}
	var c claims
	if err := token.Claims(&c); err != nil || c.ObjectID == "" {
		return console.Session{}, d.signIn(r, "Your sign-in does not say who you are.")
	}
	s := console.Session{Person: alert.Person{Name: c.Name, ObjectID: c.ObjectID}, ReadOnly: true}
	switch {
	case slices.Contains(c.Roles, roleRespond):
		s.ReadOnly = !d.changes
	case !slices.Contains(c.Roles, roleRead):
		return console.Session{}, fmt.Errorf("you are %s, and have neither the role %s nor %s of this console. Whoever manages its enterprise application in Microsoft Entra can give you one", s.Person, roleRead, roleRespond)
	}
	return s, nil
}

// keys returns what verifies tokens. It asks the issuer where its keys are, once: until
// that has worked, each request asks again.
func (d *door) keys() (*oidc.IDTokenVerifier, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.verifier == nil {
		// The keys are read with this context for as long as the process lives.
		provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), d.client), d.issuer)
		if err != nil {
			return nil, err
		}
		d.verifier = provider.VerifierContext(oidc.ClientContext(context.Background(), d.client),
			&oidc.Config{ClientID: d.clientID, SupportedSigningAlgs: []string{oidc.RS256}, Now: d.now})
	}
	return d.verifier, nil
}

// signIn returns the way to sign in, and back to the page that was asked for
// (https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out).
func (d *door) signIn(r *http.Request, detail string) error {
	back := app.ConsolePath + "/"
	if r.Method == http.MethodGet {
		back = (&url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}).String()
	}
	return &console.SignIn{Detail: detail, URL: "/.auth/login/aad?" + url.Values{"post_login_redirect_uri": {back}}.Encode()}
}
