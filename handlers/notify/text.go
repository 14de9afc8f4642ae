package notify

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/secret"
)

// line is a line of a message: a label, which is ours, and a value, which may hold any name
// that somebody has given to a device or a certificate.
type line struct{ label, value string }

// text is what a message says to people, in no markup. Each value is one line without
// hidden characters.
type text struct {
	title string
	lines []line
	// How the reader goes on: a link if the console has an address, otherwise a command.
	command, link string
}

// Bounds of what a message says, by its width. Telegram takes 4,096 characters, Discord 2,000
// (https://discord.com/developers/docs/resources/message).
const (
	mostTitle  = 150
	mostValue  = 400
	mostPlain  = 1_900
	mostListed = 5 // alerts of a digest
)

// width is how long a text is in UTF-16. Services count characters in several ways, and this one
// counts most: a character is two if it is beyond the first 65,536.
func width(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r) // Invalid UTF-8 is read as U+FFFD.
	}
	return n
}

// clean makes a foreign text one line without credentials and hidden characters, of a width of
// most at most.
func clean(s string, most int) string {
	s = secret.Visible(secret.RedactString(s))
	if len(s) <= most || width(s) <= most { // A text is never wider than it has bytes.
		return s
	}
	room := most - width("…")
	for i, r := range s {
		if room -= utf16.RuneLen(r); room < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// name is clean for a name in a sentence.
func name(s string) string { return clean(s, 100) }

// compose returns what a message says. console is the address of the console, or "".
func compose(m Message, console string) text {
	t := text{title: "hubwatch: a test message"}
	add := func(label, value string) {
		if value = clean(value, mostValue); value != "" {
			t.lines = append(t.lines, line{label, value})
		}
	}
	switch m.Kind {
	case Raised, Reopened:
		t.title = headline(m.Alert)
		if m.Kind == Reopened {
			t.title = "Again: " + t.title
		}
		add("What happened", m.Alert.Description)
		add("Who", who(m.Alert))
		add("Where", "IoT hub "+m.Alert.HubName+entity(m.Alert))
		add("When", stamp(m.Alert.EndTime))
		if len(m.Alert.RemediationSteps) > 0 {
			add("First", m.Alert.RemediationSteps[0])
		}
		t.command = command(m.Alert)
		t.link = link(m.Alert, console)
	case Digest:
		alerts := "alerts"
		if m.Count == 1 {
			alerts = "alert"
		}
		t.title = fmt.Sprintf("IoT hub %s: %d more %s in ten minutes", name(m.Alert.HubName), m.Count, alerts)
		add("When", fmt.Sprintf("in the ten minutes from %s on, besides those that were told one by one", stamp(m.Time)))
		for i, a := range m.Alerts {
			label := "Also"
			if i == 0 {
				label = "Gravest"
			}
			add(label, headline(a)+entity(a)+", "+command(a))
		}
		t.command = "hubwatch alerts list"
		if isWord(m.Alert.HubName) {
			t.command += " --hub " + m.Alert.HubName
		}
		t.link = link(m.Alert, console)
	case Failed:
		t.title = "hubwatch cannot tell the channel " + name(m.Channel)
		first := "Mend the setting of the channel. What could not be told is in the quarantine, and every alert is in the table."
		if m.Channel == "" {
			t.title = "hubwatch cannot tell some channels: their settings are wrong"
			first = "Mend the settings. Alerts of the last 24 hours are then told there, too."
		}
		add("Why", m.Reason)
		add("First", first)
		t.command = "hubwatch notify test"
	case Test:
		add("What happened", "Nothing. Somebody tries whether messages arrive here.")
		add("When", stamp(m.Time))
	}
	t.title = clean(t.title, mostTitle)
	return t
}

// headline is the title of an alert.
func headline(a export.Alert) string {
	title := a.AlertDisplayName
	if title == "" {
		title = a.AlertType
	}
	return fmt.Sprintf("%s: %s (%s)", name(string(a.Severity)), name(title), name(a.HubName))
}

// who says who did it, as far as it is known.
func who(a export.Alert) string {
	switch {
	case a.Actor != "" && a.ActorIPAddress != "":
		return a.Actor + " from " + a.ActorIPAddress
	case a.ActorIPAddress != "":
		return "from " + a.ActorIPAddress
	}
	return a.Actor
}

// entity says what an alert is about, after the name of the hub.
func entity(a export.Alert) string {
	if a.CompromisedEntity == "" || a.EntityType == alert.IoTHub {
		return ""
	}
	kind := strings.ToLower(name(string(a.EntityType)))
	if a.EntityType == alert.DiagnosticSetting {
		kind = "diagnostic setting"
	}
	return ", " + kind + " " + name(a.CompromisedEntity)
}

// stamp writes a time for people.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// word is the form of a name that needs no quotes in any shell, and that no service gives a
// meaning to. The name of a hub has it, and so has a reference.
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9/-]*$`)

// longestWord is the most characters that a word has.
const longestWord = 151

func isWord(s string) bool { return len(s) <= longestWord && word.MatchString(s) }

// command is the command that shows an alert.
func command(a export.Alert) string {
	switch {
	case isWord(a.Reference):
		return "hubwatch alerts show " + a.Reference
	case isWord(a.SystemAlertID):
		return "hubwatch alerts show " + a.SystemAlertID
	}
	return "hubwatch alerts list"
}

// link is the address of an alert on the console, or "".
func link(a export.Alert, console string) string {
	if console == "" || strings.Count(a.Reference, "/") != 2 || !isWord(a.Reference) {
		return ""
	}
	return strings.TrimRight(console, "/") + "/alerts/" + a.Reference
}

// next says how the reader goes on.
func (t text) next() (label, value string) {
	if t.link != "" {
		return "Open", t.link
	}
	return "Show", t.command
}

// plain returns the message without its title as plain text.
func (t text) plain() string { return t.fit(nil, mostPlain, width) }

// fit returns the message without its title as text that measures most at most. Lines for which
// there is no room are left out, and never how the reader goes on. escape is applied to all that
// is not ours; nil for none.
func (t text) fit(escape func(string) string, most int, measure func(string) int) string {
	if escape == nil {
		escape = func(s string) string { return s }
	}
	label, value := t.next()
	end := ""
	if value != "" {
		end = label + ": " + value
	}
	var b strings.Builder
	room := most - measure(end)
	for _, l := range t.lines {
		s := l.label + ": " + escape(l.value) + "\n"
		if room -= measure(s); room < 0 {
			break
		}
		b.WriteString(s)
	}
	return strings.TrimRight(b.String()+end, "\n")
}
