package console

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// TestSilentLogs checks from when on a hub's Connections log counts as silent.
func TestSilentLogs(t *testing.T) {
	for ago, want := range map[time.Duration]string{
		6 * time.Hour:                "log heard 6 hours ago",
		6*time.Hour + 1:              "log silent for 6 hours",
		5*time.Hour + 59*time.Minute: "log heard 5 hours ago",
	} {
		s := few()
		s.heard = []alert.Heard{{Hub: "contoso-hub", Source: alert.Connections, Event: now.Add(-ago), Seen: now.Add(-ago)}}
		for _, address := range []string{"/", "/hubs", "/hub?hub=contoso-hub", "/coverage"} {
			if page := visible(pageAt(t, open(s), address)); !strings.Contains(page, want) {
				t.Errorf("%s after %v does not say %q", address, ago, want)
			}
		}
	}
}

// TestOverviewLimits checks how much the overview shows, and that it says how much more
// there is.
func TestOverviewLimits(t *testing.T) {
	h := open(old(40))
	page := pageAt(t, h, "/?days=90")
	if n := strings.Count(page, "root-ca-"); n != mostNeeds {
		t.Errorf("%d open alerts", n)
	}
	holds(t, visible(page), "Needs somebody", "root-ca-39", "root-ca-32", "and 32 more")

	// The alerts of many hubs of one day are all read, since the oldest may be on any of
	// them, but not of more than mostRead hubs.
	for n, want := range map[int]int64{16: 16, 20: 16} {
		s := few()
		s.alerts = nil
		for i := range n {
			s.alerts = append(s.alerts, raised(i, 0, fmt.Sprintf("hub-%02d", i), now.Add(-time.Duration(n-i)*time.Minute)))
		}
		lists := s.lists.Load()
		holds(t, visible(pageAt(t, open(s), "/")), "Needs somebody", fmt.Sprintf("and %d more", n-mostNeeds))
		if have := s.lists.Load() - lists; have != want {
			t.Errorf("%d hubs: the alerts of %d are read, want %d", n, have, want)
		}
	}

	// As many open alerts of a hub and day as people read are named, and more are one line.
	for n, want := range map[int]string{200: "root-ca-0", 201: "201 open alerts of 2026-02-08"} {
		s := few()
		s.alerts = nil
		for i := range n {
			s.alerts = append(s.alerts, raised(i, 0, "contoso-hub", alert.Day(now).Add(time.Duration(i)*time.Second)))
		}
		holds(t, visible(pageAt(t, open(s), "/")), "Needs somebody", want)
	}

	// Five types are the most frequent ones, each with a bar for each day that has any, also
	// if it is small beside the highest.
	s := few()
	for i := range 100 {
		s.alerts = append(s.alerts, raised(100+i, 0, "contoso-hub", now.Add(-25*time.Hour)))
	}
	page = pageAt(t, open(s), "/")
	if n := strings.Count(page, `<svg class="spark"`); n != 5 {
		t.Errorf("%d types are the most frequent ones", n)
	}
	holds(t, page, `<svg class="spark"`, `x="112" y="0" width="3" height="16"`, `x="116" y="15" width="3" height="1"`, `<svg class="spark"`)

	// "High" is a number also if there are none; "Informational" is not.
	holds(t, visible(page), "0 open High")
	if strings.Contains(page, "open Informational") {
		t.Error("the overview counts informational alerts, of which there are none")
	}

	// As many silent logs as are named, and no word about others.
	s = few()
	s.heard = nil
	for i := range mostSilent {
		s.heard = append(s.heard, alert.Heard{Hub: fmt.Sprint("plant-", i), Source: alert.Connections, Seen: now.AddDate(0, 0, -1)})
	}
	page = visible(pageAt(t, open(s), "/"))
	// A hub without a Connections log is not a log that is heard.
	s.heard = []alert.Heard{{Hub: "contoso-hub", Source: alert.Changes, Seen: now.Add(-time.Hour)}}
	if page := visible(pageAt(t, open(s), "/")); strings.Contains(page, "The Connections log of") {
		t.Error("the overview speaks of the log of no hub")
	}
	if n := strings.Count(page, "has been silent for"); n != mostSilent || strings.Contains(page, "So are those") || strings.Contains(page, "is heard.") {
		t.Errorf("%d silent logs are named", n)
	}
}

// TestPagesOfList turns pages: there is an older one just if there are more alerts.
func TestPagesOfList(t *testing.T) {
	for n, older := range map[int]bool{perPage: false, perPage + 1: true} {
		s := few()
		s.alerts = nil
		for i := range n {
			s.alerts = append(s.alerts, raised(i, 0, "contoso-hub", now.Add(-time.Duration(i)*time.Second)))
		}
		page := pageAt(t, open(s), "/alerts?hub=contoso-hub")
		if strings.Contains(page, `<a href="/alerts?hub=contoso-hub&amp;page=2" rel="next">`) != older || strings.Contains(page, `rel="prev"`) {
			t.Errorf("%d alerts: older is not %v, or there is a newer page", n, older)
		}
		if older {
			page := pageAt(t, open(s), "/alerts?hub=contoso-hub&page=2")
			holds(t, page, "root-ca-100", `<a href="/alerts?hub=contoso-hub&amp;page=1" rel="prev">`)
			if strings.Contains(page, `rel="next"`) || strings.Count(page, "<tr data-row>") != 1 {
				t.Error("the last page has an older one, or other alerts")
			}
		}
	}
	s := &server{}
	for number, want := range map[int]string{mostPages - 1: "/alerts?page=1000", mostPages: ""} {
		p := listPage{Page: number}
		if p.link(s, true); p.Older != want {
			t.Errorf("page %d: the older one is %q, want %q", number, p.Older, want)
		}
	}
	// A person who wants to see all of too many goes on to see them.
	page := pageAt(t, open(many(manyAlerts+1, true)), "/alerts?rows=all")
	holds(t, page, `<form method="post" action="/alerts?page=1&amp;rows=all">`, `<a href="/alerts?page=2&amp;rows=all" rel="next">`)
	// One alert less is not too many.
	if page := pageAt(t, open(many(manyAlerts, true)), "/alerts"); strings.Count(page, "<tr data-row>") != perPage {
		t.Error("the alerts of a day that has few enough are not shown")
	}
	// As many groups as a page shows.
	groups := few()
	for hub := range 2 {
		for i := range detector.All {
			groups.alerts = append(groups.alerts, raised(100+10*hub+i, i, fmt.Sprint("hub-", hub), now))
		}
	}
	for i := range 100 {
		groups.alerts = append(groups.alerts, raised(200+i, 0, "contoso-hub", now))
	}
	_, page, _ = strings.Cut(pageAt(t, open(groups), "/alerts"), `<ul class="groups">`)
	page, _, _ = strings.Cut(page, "</ul>")
	if n := strings.Count(page, "<li>"); n != 12 {
		t.Errorf("%d groups", n)
	}
}

// TestChartOfLittle draws nothing, and a single day.
func TestChartOfLittle(t *testing.T) {
	s := &server{Options: Options{Detectors: detector.All}}
	day := alert.Day(now)
	for _, days := range []int{1, 2, 30} {
		c := s.newChart(nil, "severity", day.AddDate(0, 0, 1-days), day)
		if c.Total != 0 || len(c.Series) != 0 || len(c.Bars) != days || len(c.Days) == 0 || c.Ticks[2].Text != "2" || c.Ticks[1].Text != "1" || c.Ticks[0].Text != "0" {
			t.Errorf("%d days without alerts: %+v", days, c)
		}
		for _, b := range c.Bars {
			if b.Total != 0 || len(b.Segments) != 0 || b.W < 1 {
				t.Errorf("a bar of nothing: %+v", b)
			}
		}
	}
	sums := []alert.Summary{{Hub: "contoso-hub", Day: day, Counts: map[string]map[alert.Status]int{
		detector.All[0].AlertType: {alert.Active: 3}, "IoT_OfAnotherBuild": {alert.Resolved: 1},
	}}}
	c := s.newChart(sums, "severity", day, day)
	if len(c.Bars) != 1 || c.Total != 4 || len(c.Series) != 2 || c.Days[0].Text != "8 Feb" {
		t.Fatalf("one day: %+v", c)
	}
	bar := c.Bars[0]
	if bar.X != chartLeft+1 || bar.X+bar.W != chartWidth-1 || bar.Total != 4 || bar.Href != "/alerts?since=2026-02-08&until=2026-02-08" {
		t.Errorf("the bar is %+v", bar)
	}
	height := chartHeight - chartTop - chartBottom
	bottom, top := bar.Segments[0], bar.Segments[1]
	if bottom.Y+bottom.H != chartHeight-chartBottom || bottom.H+top.H != height || top.Y != chartTop {
		t.Errorf("the highest bar does not fill the drawing: %+v", bar.Segments)
	}
	if names := []string{c.Series[0].Name, c.Series[1].Name, c.Series[0].Class, c.Series[1].Class}; fmt.Sprint(names) != "[unknown Medium sev-unknown sev-medium]" {
		t.Errorf("the series are %v", names)
	}
	if href := bar.Segments[1].Href; href != "/alerts?severity=Medium&since=2026-02-08&until=2026-02-08" {
		t.Errorf("a segment leads to %s", href)
	}
	// As many series as the chart tells apart need no others.
	counts := map[string]map[alert.Status]int{}
	for _, d := range detector.All[:mostSeries] {
		counts[d.AlertType] = map[alert.Status]int{alert.Active: 1}
	}
	if c := s.newChart([]alert.Summary{{Day: day, Counts: counts}}, "type", day, day); len(c.Series) != mostSeries || c.Series[mostSeries-1].Class != "c-4" {
		t.Errorf("%d series", len(c.Series))
	}
	// Small parts that are drawn larger than they are do not leave the drawing.
	for i, d := range detector.All[:mostSeries+1] {
		counts[d.AlertType] = map[alert.Status]int{alert.Active: map[bool]int{true: 995, false: 1}[i == 0]}
	}
	full := s.newChart([]alert.Summary{{Day: day, Counts: counts}}, "type", day, day)
	for _, seg := range full.Bars[0].Segments {
		if seg.Y < 0 || seg.H < 2 || full.Bars[0].Total != 1000 {
			t.Errorf("the segment %+v of %d alerts leaves the drawing", seg, full.Bars[0].Total)
		}
	}
	// 30 days have a date below every fifth.
	if c := s.newChart(nil, "type", day.AddDate(0, 0, -29), day); len(c.Days) != 6 || c.Days[1].Text != "15 Jan" {
		t.Errorf("the dates are %+v", c.Days)
	}
}

// TestHidden checks how many alerts a suppression hides: those of the last days that name
// it.
func TestHidden(t *testing.T) {
	s := few()
	s.suppressions = []alert.Suppression{
		{ID: "rule-1", Hub: "contoso-hub", Reason: "x", Owner: "y", Starts: now.AddDate(0, 0, -60), Expires: now.AddDate(0, 0, 1)},
		{ID: "rule-2", Hub: "other-hub", Reason: "x", Owner: "y", Starts: now, Expires: now},
		{ID: "rule-3", Hub: "later-hub", Reason: "x", Owner: "y", Starts: now.Add(3 * time.Hour), Expires: now.AddDate(0, 0, 1)},
		{ID: "rule-4", Hub: "past-hub", Reason: "x", Owner: "y", Starts: now.AddDate(0, 0, -2), Expires: now.AddDate(0, 0, -1)},
	}
	for i, at := range []time.Time{now, now.AddDate(0, 0, -previewDays), now.AddDate(0, 0, -previewDays).Add(-1)} {
		a := raised(50+i, 0, "contoso-hub", at)
		a.SuppressedBy, a.Occurrences = "rule-1", 10+i
		s.alerts = append(s.alerts, a)
	}
	h := open(s)
	list := document[[]export.Suppression](t, get(t, h, "/api/suppressions"))
	if len(list) != 4 || list[0].ID != "rule-1" || list[0].HiddenAlerts != 2 || list[0].HiddenOccurrences != 21 || list[1].HiddenAlerts != 0 {
		t.Errorf("%+v", list)
	}
	page := visible(pageAt(t, h, "/suppressions"))
	holds(t, page, "begins in 3 hours", "0 hidden in 30 days", "expires in 24 hours", "2 hidden in 30 days", "2 that are over", "expired")
	if strings.Contains(page, "at least") || strings.Contains(page, "removed by") {
		t.Error("the numbers are not those of all alerts, or one was removed")
	}
	// More than are read: the number says so.
	s = many(manyAlerts+1, false)
	for i := range s.alerts {
		s.alerts[i].SuppressedBy = "rule-1"
	}
	s.suppressions = []alert.Suppression{{ID: "rule-1", Hub: "contoso-hub", Starts: now, Expires: now.AddDate(0, 0, 1)}}
	holds(t, visible(pageAt(t, open(s), "/suppressions")), "at least 5,000 hidden in 30 days")
}

// TestPreview counts what a new suppression would have hidden, of the last days only.
func TestPreview(t *testing.T) {
	s := old(40)
	s.alerts[39].End, s.alerts[39].Start = now, now
	page := visible(pageAt(t, open(s), "/suppressions/new?hub=contoso-hub"))
	holds(t, page, "It would have hidden 32 of 32 alerts in 30 days", "These are the newest.", "Add it: hide alerts of the hub contoso-hub")
	if n := strings.Count(page, "root-ca-"); n != 10 {
		t.Errorf("the preview has %d alerts", n)
	}
	// A condition that matches nothing, a mistake, and a range of all addresses have none.
	for address, want := range map[string]string{
		"/suppressions/new?address=0.0.0.0/0": "has every address", "/suppressions/new?entity=*": "stands for everything",
		"/suppressions/new?actor=a%E2%80%AEb": "cannot be seen", "/suppressions/new?hub=" + strings.Repeat("x", 1001): "1001 characters",
	} {
		page := visible(pageAt(t, open(s), address))
		if !strings.Contains(page, want) || strings.Contains(page, "It would have hidden") {
			t.Errorf("%s: the page does not say %q, or has a preview", address, want)
		}
	}
}

// TestAssetsAreAddressedByHash checks that the address of a file has the hash of its
// content, and that no other address has it.
func TestAssetsAreAddressedByHash(t *testing.T) {
	h := open(few())
	for name, a := range loadAssets() {
		hash := fmt.Sprintf("%x", sha256.Sum256(a.body))[:12]
		path, err := loadAssets().path(name)
		if err != nil || path != "/assets/"+hash+"/"+name {
			t.Errorf("%s is at %s (%v)", name, path, err)
		}
		if w := get(t, h, path); w.Code != http.StatusOK || w.Body.String() != string(a.body) || w.Header().Get("ETag") != `"`+hash+`"` {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
		for _, wrong := range []string{"/assets/" + hash[:11] + "/" + name, "/assets/" + hash + "0/" + name, "/assets/" + strings.ToUpper(hash) + "x/" + name, "/assets/" + hash + "/other.css"} {
			if w := get(t, h, wrong); w.Code != http.StatusNotFound || strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d", wrong, w.Code)
			}
		}
	}
	if _, err := loadAssets().path("nothing.css"); err == nil {
		t.Error("there is an asset that is not there")
	}
}

// TestSeverityIsToldThrice checks word, shape and colour of each severity. The style has
// each class.
func TestSeverityIsToldThrice(t *testing.T) {
	style := string(loadAssets()["style.css"].body)
	for severity, want := range map[alert.Severity][2]string{
		alert.High: {"sev-high", "▲"}, alert.Medium: {"sev-medium", "■"}, alert.Low: {"sev-low", "●"}, alert.Informational: {"sev-informational", "○"},
		"": {"sev-unknown", "○"}, `x" onclick="`: {"sev-unknown", "○"}, "high": {"sev-unknown", "○"},
	} {
		if have := severityClass(severity); have != want[0] || mark(severity) != want[1] {
			t.Errorf("%q has the class %s and the shape %s, want %v", severity, have, mark(severity), want)
		}
		if !strings.Contains(style, "rect."+want[0]) || !strings.Contains(style, "i."+want[0]) {
			t.Errorf("the style has no colour for %s", want[0])
		}
	}
	// Also in the list of a page, of an alert whose severity a person typed into the table.
	s := few()
	s.alerts[0].Severity = "severe"
	holds(t, pageAt(t, open(s), "/alerts"), `<span class="sev sev-unknown"><span aria-hidden="true">○</span> severe</span>`)
}

// TestLasting checks how long something lasts in words.
func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "a second", 2*time.Second - 1: "a second", 2 * time.Second: "2 seconds", 2*time.Minute - 1: "119 seconds", 2 * time.Minute: "2 minutes",
		2*time.Hour - 1: "119 minutes", 2 * time.Hour: "2 hours", 48*time.Hour - 1: "47 hours", 48 * time.Hour: "2 days", 400 * 24 * time.Hour: "400 days",
	} {
		if have := lasting(d); have != want {
			t.Errorf("%v is %q, want %q", d, have, want)
		}
	}
}

// TestEntityWords checks kinds of entities within a sentence: a name stays as it is.
func TestEntityWords(t *testing.T) {
	for kind, want := range map[alert.EntityType]string{alert.IoTHub: "IoT hub", alert.DiagnosticSetting: "diagnostic setting", alert.Certificate: "certificate"} {
		if got := lowerEntityWord(kind); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}
