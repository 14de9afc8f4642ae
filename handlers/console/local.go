package console

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Local is the door of a console on this computer. Every web site that the browser has
// open can send requests to 127.0.0.1, and so can every account of the computer. Local
// lets in a browser that came with the token of its address, and nobody else.
type Local struct {
	next    http.Handler
	address string // 127.0.0.1:port
	token   string
	cookie  string // its name has the port, because browsers send cookies to all ports
}

// NewLocal returns a door to next for a listener on 127.0.0.1. Its token dies with the
// process.
func NewLocal(next http.Handler, address net.Addr) *Local {
	_, port, _ := net.SplitHostPort(address.String())
	return &Local{next: next, address: "127.0.0.1:" + port, token: rand.Text(), cookie: "hubwatch-" + port}
}

// URL returns the address for the browser. Whoever has it may do what its person may.
func (l *Local) URL() string { return "http://" + l.address + "/?token=" + l.token }

// ServeHTTP implements http.Handler.
func (l *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, port, _ := strings.Cut(l.address, ":")
	switch {
	case r.Host != l.address && r.Host != "localhost:"+port && r.Host != "[::1]:"+port:
		// A name of another site that leads to 127.0.0.1 (DNS rebinding).
		l.refuse(w, http.StatusMisdirectedRequest, "This is not the address of the console.")
	case l.admits(r.URL.Query().Get("token")):
		// The token leaves the address, so that no history and no picture of the screen
		// has it.
		http.SetCookie(w, &http.Cookie{Name: l.cookie, Value: l.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}) // #nosec G124 -- without Secure, because 127.0.0.1 is served without TLS
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		query := r.URL.Query()
		query.Del("token")
		http.Redirect(w, r, (&url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/"), RawQuery: query.Encode()}).String(), http.StatusSeeOther)
	case !l.known(r):
		l.refuse(w, http.StatusForbidden, "Open the address that \"hubwatch console\" or \"make run\" has printed. It has the token of this console.")
	case !sameSite(r):
		l.refuse(w, http.StatusForbidden, "Another site has sent you here. Open it from here: <a href=\""+html.EscapeString(r.URL.RequestURI())+"\">"+html.EscapeString(r.URL.RequestURI())+"</a>")
	default:
		l.next.ServeHTTP(w, r)
	}
}

// admits reports whether a text is the token.
func (l *Local) admits(text string) bool {
	return subtle.ConstantTimeCompare([]byte(text), []byte(l.token)) == 1
}

// known reports whether a request comes from a browser that had the token, or has it as
// programs send it.
func (l *Local) known(r *http.Request) bool {
	if cookie, err := r.Cookie(l.cookie); err == nil && l.admits(cookie.Value) {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && l.admits(token)
}

// sameSite reports whether a request comes from a page of this console, from the address
// bar, or from a program that is no browser. A page on another port of this computer is
// of the same site, so SameSite alone would let it in.
func sameSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// refuse answers somebody who may not come in. text is HTML.
func (l *Local) refuse(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><title>hubwatch</title><h1>hubwatch</h1><p>%s</p>\n", text)
}
