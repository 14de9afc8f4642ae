package console

import (
	"errors"
	"fmt"
	"html/template"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/fleet"
)

// parse returns the templates. They have these functions.
func (s *server) parse() *template.Template {
	functions := template.FuncMap{
		"base":          func() string { return s.Base },
		"asset":         func(name string) (string, error) { path, err := s.assets.path(name); return s.Base + path, err },
		"alertPath":     func(a alert.Alert) string { return s.alertPath(a.Ref()) },
		"entityPath":    func(a alert.Alert) string { return s.entityPath(a.Hub.Name, a.Entity) },
		"class":         severityClass,
		"mark":          mark,
		"number":        number,
		"devices":       devices,
		"plural":        plural,
		"utc":           func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"minute":        func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"day":           func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"iso":           func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"ago":           func(t time.Time) string { return lasting(s.Now().Sub(t)) },
		"statusWord":    statusWord,
		"kebab":         func(status alert.Status) string { return alert.Kebab(string(status)) },
		"entityWord":    entityWord,
		"kind":          func(t alert.EntityType) string { return string(t) },
		"verdicts":      func() []alert.Verdict { return alert.Verdicts },
		"statuses":      func() []alert.Status { return alert.Statuses },
		"verdictWord":   verdictWord,
		"connections":   func() alert.Source { return alert.Connections },
		"changes":       func() alert.Source { return alert.Changes },
		"causes":        func() any { return fleet.Causes },
		"silentFor":     func() string { return lasting(silentAfter) },
		"chartWidth":    func() int { return chartWidth },
		"chartHeight":   func() int { return chartHeight },
		"chartLeft":     func() int { return chartLeft },
		"high":          func() alert.Severity { return alert.High },
		"medium":        func() alert.Severity { return alert.Medium },
		"low":           func() alert.Severity { return alert.Low },
		"informational": func() alert.Severity { return alert.Informational },
	}
	return template.Must(template.New("").Option("missingkey=error").Funcs(functions).ParseFS(files, "templates/*.html"))
}

// severityClass returns the class of style of a severity.
func severityClass(severity alert.Severity) string {
	if !severity.Valid() {
		return "sev-unknown"
	}
	return "sev-" + strings.ToLower(string(severity))
}

// mark returns the shape of a severity, which says the same as its colour.
func mark(severity alert.Severity) string {
	switch severity {
	case alert.High:
		return "▲"
	case alert.Medium:
		return "■"
	case alert.Low:
		return "●"
	}
	return "○"
}

// statusWord returns a status in words.
func statusWord(status alert.Status) string {
	if status == alert.InProgress {
		return "In progress"
	}
	return string(status)
}

// verdictWord returns a verdict in words.
func verdictWord(v alert.Verdict) string {
	switch v {
	case alert.TruePositive:
		return "True positive: an attack, or a fault"
	case alert.Benign:
		return "Benign: it was meant to happen"
	case alert.FalsePositive:
		return "False positive: it did not happen"
	}
	return string(v)
}

// entityWord returns a kind of entity in words.
func entityWord(kind alert.EntityType) string {
	switch kind {
	case alert.IoTHub:
		return "IoT hub"
	case alert.DiagnosticSetting:
		return "Diagnostic setting"
	}
	return string(kind)
}

// lowerEntityWord returns a kind of entity in words, as it stands within a sentence.
func lowerEntityWord(kind alert.EntityType) string {
	if kind == alert.IoTHub {
		return entityWord(kind)
	}
	return strings.ToLower(entityWord(kind))
}

// lasting writes how long something lasts, in the unit that suits: "2 hours".
func lasting(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "a second"
	case d < 2*time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < 2*time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}

// plural returns a number and a noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(number(n), " ", noun)
}

// sentence returns an error as a sentence.
func sentence(err error) string {
	text := err.Error()
	var p *problem
	if errors.As(err, &p) {
		text = p.Detail
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// number writes a number with commas.
func number(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// mostDevices is how many devices of an event a page names. A page shows a hundred events.
const mostDevices = 50

// devices names the devices of a storm.
func devices(of []string) string {
	text := strings.Join(of[:min(len(of), mostDevices)], ", ")
	if more := len(of) - mostDevices; more > 0 {
		text += ", and " + number(more) + " more, which the JSON of the alert has"
	}
	return text
}
