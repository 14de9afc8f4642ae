package browser

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"hubwatch/handlers/alert"
)

// looks are how the tests look at pages. The narrow ones are as wide as a phone.
var looks = []look{{width: 1280}, {width: 375}, {width: 1280, dark: true}, {width: 375, dark: true}}

// view is a page of the console.
type view struct {
	name, path string
	status     int // of HTTP, 0 for 200
	// alike says that it is a page like another one, with a name of its own. axe-core looks at
	// it in one look, and each such page has another.
	alike bool
}

// views returns every kind of page, with what makes each as wide and as full as it can
// be.
func (s *site) views(t *testing.T) []view {
	path := func(name string) string { return strings.TrimPrefix(s.page(name), s.origin) }
	query := func(path string, pairs ...string) string {
		values := url.Values{}
		for pair := range slices.Chunk(pairs, 2) {
			values.Set(pair[0], pair[1])
		}
		return path + "?" + values.Encode()
	}
	certificate, long := aboutCertificate(t, 6*24*time.Hour), hostile[len(hostile)-1]
	list := []view{
		{name: "overview", path: "/"},
		{name: "overview by type", path: "/?by=type&days=7"},
		{name: "overview by hub", path: "/?by=hub&days=90"},
		{name: "list", path: "/alerts?status=open"},
		{name: "list of a type", path: "/alerts?type=CertificateAdded&since=3d"},
		{name: "list of nothing", path: "/alerts?entity=nothing&since=1d"},
		{name: "list with a mistake", path: "/alerts?since=yesterdayish", status: http.StatusBadRequest},
		{name: "alert about a certificate", path: path(certificate)},
		{name: "hubs", path: "/hubs"},
		{name: "hub", path: "/hub?hub=contoso-hub"},
		{name: "connections", path: "/connections"},
		{name: "connections of a hub", path: query("/connections", "hub", long, "days", "1")},
		{name: "device", path: query("/entity", "hub", "contoso-hub", "entity-type", string(alert.Device), "entity", long)},
		{name: "actor", path: query("/actor", "actor", "alice@contoso.example")},
		{name: "coverage", path: "/coverage"},
		{name: "suppressions", path: "/suppressions"},
		{name: "new suppression", path: "/suppressions/new"},
		{name: "new suppression with a preview", path: query("/suppressions/new", "hub", "contoso-hub", "entity-type", string(alert.Device), "entity", long)},
		{name: "new suppression of everything", path: "/suppressions/new?entity=*"},
		{name: "no page", path: "/nothing", status: http.StatusNotFound},
	}
	for i, name := range hostile {
		list = append(list, view{name: fmt.Sprint("alert about hostile name ", i), path: path(name), alike: true})
	}
	return list
}

// TestPages looks at every kind of page in a wide and in a narrow window, with light and
// with dark colours. Nothing stands outside the window, also when everything is unfolded,
// axe-core finds nothing serious, and nothing goes wrong in the page.
func TestPages(t *testing.T) {
	s := large(t)
	_, err := s.stores.Suppressions.Add(t.Context(), alert.Suppression{
		AlertType: shared.examples["DeviceTokenExpired"].Type, Hub: "plant-hub", EntityType: alert.Device, Entity: hostile[len(hostile)-1] + "*",
		Reason: strings.Repeat("a reason without an end ", 10) + scriptName, Owner: strings.Repeat("owner", 30), CreatedBy: bob, Created: time.Now().UTC(), Starts: time.Now().UTC(), Expires: time.Now().AddDate(0, 0, 7).UTC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := s.inside(t, look{})
	for i, v := range s.views(t) {
		t.Run(v.name, func(t *testing.T) {
			p := &tab{t, p.driver, p.name}
			want := v.status
			if want == 0 {
				want = http.StatusOK
			}
			p.opens(s.origin+v.path, want)
			for _, l := range looks {
				if !l.dark { // colours move nothing
					p.looks(l)
					p.contained(l.String())
				}
			}
			runs[any](p, `document.querySelectorAll('details').forEach((d) => { d.open = true; })`)
			for n, l := range looks {
				p.looks(l)
				if !l.dark {
					p.contained(l.String() + ", unfolded")
				}
				if v.alike && n != i%len(looks) {
					continue
				}
				// The colours alone tell a dark page from a light one.
				p.accessible(l.String(), l.dark)
			}
			if v.status == 0 {
				p.flawless()
			} else {
				p.do("faults", nil, nil) // the browser itself reports the status
			}
			if title := runs[string](p, `document.title`); !strings.HasSuffix(title, " · hubwatch") {
				t.Errorf("the title is %q", title)
			}
			if text := p.text("html"); strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' }) {
				t.Error("the page shows a character that cannot be seen")
			}
		})
	}
	p.opens(s.origin+"/", http.StatusOK)
	p.looks(look{width: 375})
	p.click("[data-keys]")
	p.contained("the keys")
	p.accessible("the keys", false)

	// Who has no token is told what to do.
	stranger := shared.driver.open(t, look{width: 375})
	stranger.opens(s.origin+"/", http.StatusForbidden)
	stranger.contained("without the token")
	stranger.accessible("without the token", false)
}

// looks changes the window and the colours of the page that is open.
func (p *tab) looks(l look) {
	p.t.Helper()
	args := arguments{"width": l.width, "height": cmp.Or(l.height, 800), "scheme": "light"}
	if l.dark {
		args["scheme"] = "dark"
	}
	p.do("look", args, nil)
}

// contained checks that nothing of the page stands outside the window.
func (p *tab) contained(how string) {
	p.t.Helper()
	var outside []string
	p.do("outside", nil, &outside)
	for _, what := range outside[:min(len(outside), 5)] {
		p.t.Errorf("%s: outside the window: %s", how, what)
	}
}

// accessible checks that axe-core finds nothing serious or critical.
func (p *tab) accessible(how string, coloursOnly bool) {
	p.t.Helper()
	var found []string
	p.do("axe", arguments{"coloursOnly": coloursOnly}, &found)
	for _, what := range found[:min(len(found), 5)] {
		p.t.Errorf("%s: %s", how, what)
	}
}

// TestChecksCanFail breaks a page in each way that TestPages looks for.
func TestChecksCanFail(t *testing.T) {
	s := large(t)
	p := s.inside(t, look{width: 375})
	p.opens(s.origin+"/hubs", http.StatusOK)
	count := func(command string) int {
		var found []string
		p.do(command, arguments{"coloursOnly": false}, &found)
		return len(found)
	}
	for _, command := range []string{"outside", "axe", "faults"} {
		if n := count(command); n != 0 {
			t.Errorf("%s finds %d things in a good page", command, n)
		}
	}
	for _, fault := range []struct{ command, script string }{
		{"outside", `document.querySelector('h1').style.width = '400px'`},
		{"outside", `document.querySelector('h1').style.marginLeft = '-40px'`},
		{"axe", `document.querySelector('h1').style.color = '#ddd'`},
		{"axe", `document.querySelector('main').insertAdjacentHTML('beforeend', '<input>')`},
		{"faults", `document.querySelector('main').insertAdjacentHTML('beforeend', '<p style="color: red">')`},
		{"faults", `document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x onerror="alert(1)">')`},
		{"faults", `new Promise((resolve) => { const image = new Image(); image.onerror = resolve; image.src = 'https://contoso.example/'; })`},
	} {
		p.opens(s.origin+"/hubs", http.StatusOK)
		count("faults")
		runs[any](p, fault.script+"; null")
		runs[any](p, `new Promise((resolve) => setTimeout(resolve, 0))`)
		if count(fault.command) == 0 {
			t.Errorf("%s finds nothing after %s", fault.command, fault.script)
		}
	}
}

// TestScreenshots makes pictures of the overview, the list and an alert, as the people of
// a fleet see them, into build/screenshots, and the two of the README into the folder that
// HUBWATCH_SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	setUp(t)
	now := time.Now()
	occurrences := fleet(now)
	s, err := open(t.Context(), "fleet", occurrences)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	s.settle(t, occurrences, now)
	folder, err := filepath.Abs("../../build/screenshots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	p := s.enter(t, look{})
	for _, v := range []view{{name: "overview", path: "/"}, {name: "connections", path: "/connections"}, {name: "hub", path: "/hub?hub=contoso-hub"}, {name: "list", path: "/alerts?since=7d"}, {name: "alert", path: strings.TrimPrefix(s.page("root-ca-2027"), s.origin)}} {
		p.opens(s.origin+v.path, http.StatusOK)
		for _, l := range looks {
			p.looks(l)
			file := filepath.Join(folder, v.name+"-"+l.String()+".png")
			p.do("shot", arguments{"file": file, "full": l.width < 1280}, nil)
			if info, err := os.Stat(file); err != nil || info.Size() < 10_000 {
				t.Errorf("%s: %v", file, errors.Join(err, errors.New("want a picture")))
			}
		}
	}
	if images := os.Getenv("HUBWATCH_SCREENSHOTS"); images != "" {
		p.opens(s.origin+"/", http.StatusOK)
		for _, dark := range []bool{false, true} {
			l := look{width: 1280, height: 792, dark: dark}
			p.looks(l)
			name, _, _ := strings.Cut(l.String(), "-")
			if err := p.picture(filepath.Join("../..", images, "console-"+name+".png")); err != nil {
				t.Error(err)
			}
		}
	}
	p.flawless()
}
