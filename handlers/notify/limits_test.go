package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/export"
)

// units is how long a text is in UTF-16, which is the longest way in which services count
// characters.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

// limit is the most that a service takes of a text, by the path to it; "" is the whole document.
type limit struct {
	path    string
	most    int
	measure func(string) int
}

func bytesOf(s string) int { return len(s) }

// limitsOf are what services say that they take.
var limitsOf = map[string][]limit{
	// https://docs.slack.dev/reference/block-kit/blocks/header-block and .../section-block
	"slack": {{"blocks.0.text.text", 150, units}, {"blocks.1.text.text", 3_000, units}, {"blocks.2.text.text", 3_000, units}},
	// https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions
	"teams": {{"", 28_000, bytesOf}},
	// https://discord.com/developers/docs/resources/webhook#execute-webhook
	"discord": {{"content", 2_000, utf8.RuneCountInString}},
	// https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create
	"googlechat": {{"", 32_000, bytesOf}},
	// https://docs.rocket.chat/docs/message: 5,000 unless its setting says another number. Mattermost takes 16,383.
	"mattermost": {{"text", 5_000, units}},
	// https://docs.ntfy.sh/publish/#limitations: a longer message becomes a file. The server takes
	// twice as much for the document (transformBodyJSON in server/server.go of its sources).
	"ntfy": {{"message", 4_096, bytesOf}, {"", 8_192, bytesOf}},
	// https://core.telegram.org/bots/api#sendmessage
	"telegram": {{"text", 4_096, units}},
	// https://developer.pagerduty.com/docs/send-alert-event
	"pagerduty": {{"payload.summary", 1_024, units}, {"dedup_key", 255, units}, {"", 512_000, bytesOf}},
	// https://support.atlassian.com/opsgenie/docs/alerts-and-alert-fields
	"opsgenie": {{"message", 130, units}, {"alias", 512, units}, {"description", 15_000, units}, {"entity", 512, units}},
	"webhook":  {{"sentence", 1_000, units}},
}

// at returns what stands at a path of a document.
func at(t *testing.T, document, path string) string {
	t.Helper()
	if path == "" {
		return document
	}
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			v = in[name[0]-'0']
		}
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("%s is no text in %s", path, document)
	}
	return s
}

// TestLimits sends messages about names of all lengths, of characters that are long in every way
// of counting and that have to be escaped, and checks that each service takes them, and that
// people are told how to go on.
func TestLimits(t *testing.T) {
	type target struct {
		*receiver
		channel Channel
		console string
	}
	targets := map[string][]target{}
	for service, url := range postedTo {
		for _, console := range []string{"", "https://console.contoso.example"} {
			r := newReceiver(t, nil)
			channels, err := Read(map[string]string{SettingPrefix + "ops": url(r.URL)}, console)
			if err != nil {
				t.Fatal(err)
			}
			targets[service] = append(targets[service], target{r, channels[0].Channel, console})
		}
	}
	for _, c := range []string{"x", "_", "@", "://", `\`, `"`, "&", "<", "é", "証", "🔥", "\u202e", "\x00"} {
		for _, long := range []int{60, 4_000} {
			n := strings.Repeat(c, long)
			m := raised(1)
			a := &m.Alert
			a.Actor, a.CompromisedEntity, a.AlertDisplayName, a.ActorIPAddress = n, n, n, n
			a.Description, a.RemediationSteps = n+n+n+n+n+n+n, []string{n + n + n + n + n + n + n}
			for _, kind := range []Kind{Raised, Reopened, Digest, Failed, Test} {
				m.Kind, m.Count, m.Channel, m.Reason = kind, 30, "mail", n
				m.Alerts = slices.Repeat([]export.Alert{short(*a)}, mostListed)
				for service, all := range targets {
					for _, to := range all {
						what := fmt.Sprintf("%s, %d times %q, %s, console %q", service, long, c, kind, to.console)
						if err := to.channel.Send(t.Context(), m); err != nil {
							t.Fatalf("%s: %v", what, err)
						}
						got := to.requests()
						body := got[len(got)-1].body
						for _, l := range limitsOf[service] {
							if kind == Test && l.path == "blocks.2.text.text" {
								continue // There is nothing to open.
							}
							if got := l.measure(at(t, body, l.path)); got > l.most {
								t.Errorf("%s: %q has %d, and the service takes %d", what, l.path, got, l.most)
							}
						}
						if _, next := compose(m, to.console).next(); !strings.Contains(strings.Join(textsOf(t, body), "\n"), next) {
							t.Errorf("%s: %q is not told", what, next)
						}
					}
				}
			}
		}
	}
	for service := range services {
		if limitsOf[service] == nil {
			t.Errorf("%s: what does it take?", service)
		}
	}
}
