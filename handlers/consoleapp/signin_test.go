package main

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/console"
)

// TestDoor checks who may come in, and as whom. Everybody else stays outside.
func TestDoor(t *testing.T) {
	i := newIssuer(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := newIssuer(t)
	roles := func(names ...string) map[string]any { return map[string]any{"roles": names} }
	good := i.token(t, nil)
	for name, test := range map[string]struct {
		tokens  []string
		changes bool
		want    string // "", "reads" or "changes", or a part of the error
	}{
		"a reader":                             {[]string{good}, true, "reads"},
		"a responder":                          {[]string{i.token(t, roles(roleRespond))}, true, "changes"},
		"both roles":                           {[]string{i.token(t, roles(roleRead, roleRespond))}, true, "changes"},
		"a responder where nothing is changed": {[]string{i.token(t, roles(roleRespond))}, false, "reads"},
		"no role":                              {[]string{i.token(t, roles())}, true, "neither the role Alerts.Read nor Alerts.Respond"},
		"no roles at all":                      {[]string{i.token(t, map[string]any{"roles": nil})}, true, "neither the role"},
		"a role of another case":               {[]string{i.token(t, roles("alerts.read"))}, true, "neither the role"},
		"nobody":                               {nil, true, "Nobody is signed in"},
		"an empty token":                       {[]string{""}, true, "Nobody is signed in"},
		"two tokens":                           {[]string{good, good}, true, "Nobody is signed in"},
		"no token":                             {[]string{"alice"}, true, "not one of this console"},
		"over":                                 {[]string{i.token(t, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})}, true, "sign-in is over"},
		"without an end":                       {[]string{i.token(t, map[string]any{"exp": nil})}, true, "sign-in is over"},
		"not yet":                              {[]string{i.token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})}, true, "not one of this console"},
		"for another application":              {[]string{i.token(t, map[string]any{"aud": "00000000-0000-0000-0000-0000000000c3"})}, true, "not one of this console"},
		"of another tenant":                    {[]string{other.token(t, nil)}, true, "not one of this console"},
		"of another tenant, with our name":     {[]string{other.token(t, map[string]any{"iss": i.name()})}, true, "not one of this console"},
		"signed by a stranger":                 {[]string{sign(t, stranger, "RS256", i.claims(nil))}, true, "not one of this console"},
		"signed by nobody":                     {[]string{sign(t, nil, "none", i.claims(nil))}, true, "not one of this console"},
		"signed with another algorithm":        {[]string{sign(t, i.key, "HS256", i.claims(nil))}, true, "not one of this console"},
		"changed afterwards":                   {[]string{changed(good)}, true, "not one of this console"},
		"of nobody":                            {[]string{i.token(t, map[string]any{"oid": nil})}, true, "does not say who you are"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(i.name(), clientID, test.changes)
			d.client = i.Client()
			r := httptest.NewRequest(http.MethodGet, "/api/console/alerts?hub=contoso-hub", nil)
			// What App Service Authentication says about the caller decides nothing.
			r.Header.Set("X-MS-CLIENT-PRINCIPAL-ID", alice)
			r.Header.Set("X-MS-CLIENT-PRINCIPAL-NAME", "alice@contoso.example")
			for _, token := range test.tokens {
				r.Header.Add("X-MS-TOKEN-AAD-ID-TOKEN", token)
			}
			s, err := d.session(r)
			if test.want != "reads" && test.want != "changes" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the session is %v and the error %v, want %q", s, err, test.want)
				}
				return
			}
			want := console.Session{Person: alert.Person{Name: "alice@contoso.example", ObjectID: alice}, ReadOnly: test.want == "reads"}
			if err != nil || s != want {
				t.Errorf("the session is %+v, %v; want %+v", s, err, want)
			}
		})
	}
}

// changed returns a token with another role in it, and the signature of before.
func changed(token string) string {
	header, rest, _ := strings.Cut(token, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	last := claims[len(claims)-5:]
	return header + "." + strings.TrimSuffix(claims, last) + strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'B'
		}
		return 'A'
	}, last) + "." + signature
}

// TestDoorWithoutKeys checks that nobody comes in while the issuer does not answer, and
// that people come in again when it does.
func TestDoorWithoutKeys(t *testing.T) {
	i := newIssuer(t)
	d := newDoor(i.name(), clientID, false)
	d.client = i.Client()
	r := httptest.NewRequest(http.MethodGet, "/api/console/", nil)
	r.Header.Set(tokenHeader, i.token(t, nil))
	i.away.Store(true)
	if s, err := d.session(r); !errors.Is(err, console.ErrNobodyNow) {
		t.Errorf("without keys the session is %v, %v", s, err)
	}
	i.away.Store(false)
	for range 3 {
		if _, err := d.session(r); err != nil {
			t.Errorf("with keys: %v", err)
		}
	}
	if n := i.discovered.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times where its keys are, want once", n)
	}
}

// TestSignIn checks the way to sign in and back.
func TestSignIn(t *testing.T) {
	for name, test := range map[string]struct{ method, target, want string }{
		"a page":       {http.MethodGet, "/api/console/alerts?hub=a%26b", "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fconsole%2Falerts%3Fhub%3Da%2526b"},
		"a form":       {http.MethodPost, "/api/console/alerts", "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fconsole%2F"},
		"another site": {http.MethodGet, "https://evil.example/api/console/", "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fconsole%2F"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newDoor("", "", false).session(httptest.NewRequest(test.method, test.target, nil))
			var s *console.SignIn
			if !errors.As(err, &s) || s.URL != test.want {
				t.Errorf("the error is %#v, want the address %s", err, test.want)
			}
		})
	}
}
