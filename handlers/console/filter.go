package console

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/secret"
)

// filter is which alerts a page is about. The names of the parameters are those of the
// flags of "hubwatch alerts list".
type filter struct {
	Hub, Type, Severity, Status, Entity, EntityType, Actor, Address, Since, Until string
	Suppressed                                                                    bool
	query                                                                         alert.Query
}

// parameters are the texts of a filter by the names of their parameters, in the order in
// which commands and addresses have them.
func (f *filter) parameters() []parameter {
	return []parameter{
		{"hub", &f.Hub}, {"type", &f.Type}, {"severity", &f.Severity}, {"status", &f.Status}, {"entity", &f.Entity}, {"entity-type", &f.EntityType},
		{"actor", &f.Actor}, {"address", &f.Address}, {"since", &f.Since}, {"until", &f.Until},
	}
}

// parameter is a text of a filter.
type parameter struct {
	name string
	text *string
}

// newFilter reads the filter in the query of an address.
func newFilter(values url.Values, detectors []detector.Detector, now time.Time) (filter, error) {
	f := filter{Suppressed: values.Get("suppressed") != ""}
	for _, p := range f.parameters() {
		// A form sends what was left empty, and several statuses one by one.
		given := slices.DeleteFunc(slices.Clone(values[p.name]), func(v string) bool { return v == "" })
		*p.text = strings.Join(given, ",")
		if len(given) > 1 && p.name != "status" {
			return f, mistake("%s: want it once", p.name)
		}
	}
	q := alert.Query{Hub: f.Hub, Entity: f.Entity, Actor: f.Actor, Suppressed: f.Suppressed, Type: f.Type}
	if d, ok := fleet.Named(detectors, f.Type); ok {
		q.Type = d.AlertType
	}
	for _, read := range []struct {
		name, text string
		into       func(string) error
	}{
		{"severity", f.Severity, func(s string) (err error) { q.Severity, err = word(s, severities); return err }},
		{"entity-type", f.EntityType, func(s string) (err error) { q.EntityType, err = word(s, alert.EntityTypes); return err }},
		{"status", f.Status, func(s string) (err error) { q.Statuses, err = alert.ParseStatuses(s); return err }},
		{"address", f.Address, func(s string) (err error) { q.Address, err = alert.ParseAddresses(s); return err }},
		{"since", f.Since, func(s string) (err error) { q.Since, err = alert.ParseTime(s, now, false); return err }},
		{"until", f.Until, func(s string) (err error) { q.Until, err = alert.ParseTime(s, now, true); return err }},
	} {
		if read.text == "" {
			continue
		}
		if err := read.into(read.text); err != nil {
			return f, mistake("%s %q: %v", read.name, read.text, err)
		}
	}
	if !q.Until.IsZero() && q.Until.Before(q.Since) {
		return f, mistake("until: want a time after since")
	}
	f.query = q
	return f, nil
}

// severities are all severities, the worst first.
var severities = []alert.Severity{alert.High, alert.Medium, alert.Low, alert.Informational}

// word returns the word of a list that a text names, as the command takes it.
func word[T ~string](text string, list []T) (T, error) {
	for _, w := range list {
		if alert.Plain(string(w)) == alert.Plain(text) {
			return w, nil
		}
	}
	return "", fmt.Errorf("want one of %v", list)
}

// Values returns the filter as an address has it.
func (f filter) Values() url.Values {
	values := url.Values{}
	for _, p := range f.parameters() {
		if *p.text != "" {
			values.Set(p.name, *p.text)
		}
	}
	if f.Suppressed {
		values.Set("suppressed", "1")
	}
	return values
}

// commandLine returns a command of hubwatch for bash: a verb, flags, and arguments. It
// returns "" if a value has characters that cannot be seen: such a command could not be
// copied.
func (s *server) commandLine(verb string, flags [][2]string, arguments ...string) string {
	line := s.Command + " " + verb
	for _, f := range flags {
		if secret.Visible(f[1]) != f[1] {
			return ""
		}
		if line += " --" + f[0]; f[1] != "" {
			line += "=" + remedy.Quote(f[1])
		}
	}
	if slices.ContainsFunc(arguments, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		line += " --" // what follows are no flags
	}
	for _, a := range arguments {
		if secret.Visible(a) != a {
			return ""
		}
		line += " " + remedy.Quote(a)
	}
	return line
}

// flags returns the filter as flags of the command.
func (f filter) flags() (flags [][2]string) {
	for _, p := range f.parameters() {
		if *p.text != "" {
			flags = append(flags, [2]string{p.name, *p.text})
		}
	}
	if f.Suppressed {
		flags = append(flags, [2]string{"suppressed", ""})
	}
	return flags
}

// counted reports whether summaries say how many alerts the filter has: they know hub,
// type, status and whole days, and nothing of entities, actors and addresses.
func (f filter) counted() bool {
	whole := func(t time.Time, end bool) bool {
		if end {
			t = t.Add(1)
		}
		return t.Equal(alert.Day(t))
	}
	q := f.query
	return q.Entity == "" && q.EntityType == "" && q.Actor == "" && !q.Address.IsValid() && (q.Since.IsZero() || whole(q.Since, false)) &&
		(q.Until.IsZero() || whole(q.Until, true)) && (!q.Suppressed || q.Type == "" && q.Severity == "" && len(q.Statuses) == 0)
}

// group is the alerts of one type on one hub.
type group struct {
	Type, Hub string
	Title     string // of the detector, or the type
	Severity  alert.Severity
	Total     int
	Open      int
}

// groups returns how many alerts of summaries the filter has, by type and hub, the most
// first. It is right only if counted is true.
func (f filter) groups(sums []alert.Summary, detectors []detector.Detector) []group {
	byHub := map[string][]alert.Summary{}
	for _, sum := range sums {
		byHub[sum.Hub] = append(byHub[sum.Hub], sum)
	}
	known := fleet.Severities(detectors)
	var list []group
	for hub, sums := range byHub {
		if f.query.Suppressed {
			if n := total(fleet.Counts(sums, f.query, fleet.ByHub)); n > 0 {
				list = append(list, group{Hub: hub, Title: "Suppressed alerts", Total: n})
			}
			continue
		}
		for _, c := range fleet.Counts(sums, f.query, fleet.ByType) {
			g := group{Type: c.Key, Hub: hub, Title: titleOf(detectors, c.Key), Severity: known[strings.ToLower(c.Key)], Total: c.Total(), Open: c.Open()}
			if f.query.Severity == "" || f.query.Severity == g.Severity {
				list = append(list, g)
			}
		}
	}
	slices.SortFunc(list, func(a, b group) int {
		if a.Total != b.Total {
			return b.Total - a.Total
		}
		return strings.Compare(a.Hub+"\x00"+a.Type, b.Hub+"\x00"+b.Type)
	})
	return list
}

// total returns how many alerts counts have together.
func total(counts []fleet.Count) (n int) {
	for _, c := range counts {
		n += c.Total()
	}
	return n
}

// titleOf returns the title of the detector of an alert type, or the type.
func titleOf(detectors []detector.Detector, kind string) string {
	if d, ok := fleet.Named(detectors, kind); ok {
		return d.Title
	}
	return kind
}

// pageOf reads which page of a list is asked for, 1 for the first.
func pageOf(values url.Values) (int, error) {
	text := values.Get("page")
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostPages {
		return 0, mistake("page %q: want a number from 1 to %d", text, mostPages)
	}
	return n, nil
}
