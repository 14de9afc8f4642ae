package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// mostBytes is how many bytes a page may have, with style and script.
const mostBytes = 150_000

// TestWeight weighs pages over many alerts, with all that the browser loads for
// them when it sees the console for the first time.
func TestWeight(t *testing.T) {
	s := large(t)
	cookies := s.cookies(t)
	for _, v := range s.views(t) {
		if !slices.Contains([]string{"overview", "list", "alert about a certificate", "hub", "actor"}, v.name) {
			continue // TestPageWeight of handlers/console weighs all of them
		}
		p := shared.driver.open(t, look{cookies: cookies})
		p.opens(s.origin+v.path, http.StatusOK)
		var loaded []struct {
			Name  string
			Bytes int
		}
		p.do("weight", nil, &loaded)
		sum, names := 0, ""
		for _, l := range loaded {
			sum += l.Bytes
			names += " " + l.Name
		}
		if !strings.Contains(names, "style.css") || !strings.Contains(names, "script.js") {
			t.Errorf("%s: the browser loaded%s", v.name, names)
		}
		if sum > mostBytes {
			t.Errorf("%s: %d bytes, want at most %d", v.name, sum, mostBytes)
		}
		t.Logf("%s: %d bytes", v.name, sum)
		p.close()
	}
}

// Bounds of the time until the browser shows something.
const (
	mostOverview = time.Second
	// mostStatic is how long a plain page takes at most on a computer that is fit to
	// measure on. It takes 170 ms on two processors that have ten times as much to do as
	// they can, and the overview then takes ten times as long.
	mostStatic = 100 * time.Millisecond
)

// TestFirstPicture checks that the browser shows the overview of many alerts within a
// second, on a computer that has nothing else to do. make trials does so with ten thousand.
func TestFirstPicture(t *testing.T) {
	overview, static := firstPictures(t, 3)
	t.Logf("first picture of the overview after %v, of a plain page after %v", overview, static)
	if static >= mostStatic {
		t.Skipf("a plain page takes %v: this computer has other things to do", static)
	}
	if overview >= mostOverview {
		t.Errorf("the first picture of the overview comes after %v, want less than %v; that of a plain page after %v", overview, mostOverview, static)
	}
}

// BenchmarkFirstPicture measures the time until the browser shows the overview of ten
// thousand alerts, beside that of a plain page, each in a browser that has seen neither.
func BenchmarkFirstPicture(b *testing.B) {
	large(b) // filling the table is not measured
	var overview, static time.Duration
	for b.Loop() {
		overview, static = firstPictures(b, 5)
	}
	b.ReportMetric(float64(overview.Microseconds())/1000, "overview-ms")
	b.ReportMetric(float64(static.Microseconds())/1000, "static-ms")
	b.ReportMetric(float64(overview)/float64(static), "ratio")
	b.ReportMetric(0, "ns/op")
}

// firstPictures returns the medians of n times each.
func firstPictures(t testing.TB, n int) (overview, static time.Duration) {
	t.Helper()
	s := large(t)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>plain</title><link rel="icon" href="data:,"><h1>A plain page</h1><p>It says this.</p>`)
	}))
	t.Cleanup(plain.Close)
	cookies := s.cookies(t)
	paint := func(address string) time.Duration {
		p := shared.driver.open(t, look{cookies: cookies})
		p.opens(address, http.StatusOK)
		var ms float64
		p.do("paint", nil, &ms)
		p.close()
		return time.Duration(ms * float64(time.Millisecond))
	}
	var all, plains []time.Duration
	for range n {
		plains = append(plains, paint(plain.URL))
		all = append(all, paint(s.origin+"/"))
	}
	slices.Sort(all)
	slices.Sort(plains)
	return all[n/2], plains[n/2]
}

// cookies returns those of a browser that was let in.
func (s *site) cookies(t testing.TB) []map[string]any {
	t.Helper()
	if s.entered != nil {
		return s.entered
	}
	var cookies []map[string]any
	s.enter(t, look{}).do("cookies", nil, &cookies)
	if len(cookies) != 1 || cookies[0]["httpOnly"] != true || cookies[0]["sameSite"] != "Strict" {
		t.Fatalf("the cookies are %v", cookies)
	}
	s.entered = cookies
	return cookies
}
