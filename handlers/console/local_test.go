package console

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// door returns a door of a console with alerts on port 8000.
func door() *Local {
	return NewLocal(open(few()), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000})
}

// ask returns the answer of a door to a request with headers.
func ask(t *testing.T, l *Local, method, target, host string, headers map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return send(t, l, r)
}

const here = "127.0.0.1:8000"

// TestLocal comes in with the token, and looks around.
func TestLocal(t *testing.T) {
	l := door()
	address, err := url.Parse(l.URL())
	if err != nil || address.Host != here {
		t.Fatalf("%s: %v", l.URL(), err)
	}
	w := ask(t, l, http.MethodGet, address.RequestURI()+"&days=7", here, map[string]string{"Sec-Fetch-Site": "none"})
	cookies := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/?days=7" || len(cookies) != 1 {
		t.Fatalf("%d, %s, %v", w.Code, w.Header().Get("Location"), cookies)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || !strings.Contains(c.Name, "8000") || c.MaxAge != 0 {
		t.Errorf("the cookie is %v", c)
	}
	for _, site := range []string{"", "same-origin", "none"} {
		for _, host := range []string{here, "localhost:8000", "[::1]:8000"} {
			headers := map[string]string{"Cookie": c.Name + "=" + c.Value}
			if site != "" {
				headers["Sec-Fetch-Site"] = site
			}
			if w := ask(t, l, http.MethodGet, "/", host, headers); w.Code != http.StatusOK {
				t.Errorf("%s, %q: %d", host, site, w.Code)
			}
		}
	}
	if w := ask(t, l, http.MethodGet, "/api/hubs", here, map[string]string{"Authorization": "Bearer " + c.Value}); w.Code != http.StatusOK {
		t.Errorf("a program with the token: %d", w.Code)
	}
	if other := door(); other.URL() == l.URL() {
		t.Error("two consoles have the same token")
	}
}

// TestLocalKeepsOut is everybody who has to stay outside.
func TestLocalKeepsOut(t *testing.T) {
	l := door()
	cookie := l.cookie + "=" + l.token
	for name, test := range map[string]struct {
		target, host string
		headers      map[string]string
		status       int
	}{
		"no cookie":                        {"/", here, nil, 403},
		"no cookie, for style":             {"/assets/x/style.css", here, nil, 403},
		"another token":                    {"/?token=AAAA", here, nil, 403},
		"an empty token":                   {"/?token=", here, nil, 403},
		"the beginning of the token":       {"/?token=" + l.token[:20], here, nil, 403},
		"the cookie of another console":    {"/", here, map[string]string{"Cookie": "hubwatch-8001=" + l.token}, 403},
		"an empty cookie":                  {"/", here, map[string]string{"Cookie": l.cookie + "="}, 403},
		"an empty bearer":                  {"/", here, map[string]string{"Authorization": "Bearer "}, 403},
		"a link on another site":           {"/", here, map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403},
		"a page on another port":           {"/", here, map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "same-site"}, 403},
		"a name that leads here":           {"/", "evil.example:8000", map[string]string{"Cookie": cookie}, 421},
		"a name that leads here, no port":  {"/", "evil.example", map[string]string{"Cookie": cookie}, 421},
		"the right name of another port":   {"/", "127.0.0.1:8001", map[string]string{"Cookie": cookie}, 421},
		"a name that begins like this one": {"/", "127.0.0.1:8000.evil.example", map[string]string{"Cookie": cookie}, 421},
		"no name":                          {"/", "", map[string]string{"Cookie": cookie}, 421},
		"the token by another name":        {"/?token=" + l.token, "evil.example:8000", nil, 421},
	} {
		w := ask(t, l, http.MethodGet, test.target, test.host, test.headers)
		if w.Code != test.status || strings.Contains(w.Body.String(), "contoso-hub") || strings.Contains(w.Body.String(), l.token) || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, want %d", name, w.Code, test.status)
		}
		if w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, w.Header())
		}
	}
	// What another site has sent names itself in the answer, and stays text there.
	w := ask(t, l, http.MethodGet, "/alerts?hub=%3Cscript%3E&x=\"><script>", here, map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"})
	if strings.Contains(w.Body.String(), "<script>") || !strings.Contains(w.Body.String(), `href="/alerts?hub=`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	// The token leads to this console only.
	for _, target := range []string{"//evil.example/?token=" + l.token, "/\\evil.example?token=" + l.token, "/%2f%2fevil.example?token=" + l.token} {
		w := ask(t, l, http.MethodGet, target, here, nil)
		to := w.Header().Get("Location")
		if strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") || !strings.HasPrefix(to, "/") {
			t.Errorf("%s leads to %s", target, to)
		}
	}
}
