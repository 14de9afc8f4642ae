package notify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
)

// posting is a service that takes a message as one JSON document.
type posting struct {
	name    string
	poster  *poster
	target  *url.URL // as the setting has it
	console string
	key     string // what the service gave besides its address, or ""
	format  format
}

// Name implements Channel.
func (p *posting) Name() string { return p.name }

// format returns a message as a service takes it: headers besides those of all, and the
// document.
type format func(p *posting, m Message, t text) (headers map[string]string, document any)

// object is a JSON object.
type object = map[string]any

// Send implements Channel.
func (p *posting) Send(ctx context.Context, m Message) error {
	headers, document := p.format(p, m, compose(m, p.console))
	body, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("%w: the message is not JSON", ErrNever)
	}
	return p.poster.post(ctx, "application/json", headers, body)
}

// service is a kind of posting.
type service struct {
	format format
	key    bool // it wants a key
	check  func(*url.URL) error
}

// services are the kinds of postings, by what stands before the + of their URL.
var services = map[string]service{
	"slack":      {format: slack},
	"teams":      {format: teams},
	"discord":    {format: discord},
	"googlechat": {format: googleChat},
	"mattermost": {format: mattermost},
	"ntfy":       {format: ntfy, check: wantTopic},
	"telegram":   {format: telegram, check: wantChat},
	"pagerduty":  {format: pagerDuty, key: true},
	"opsgenie":   {format: opsgenie, key: true},
}

// slackEscape takes from a text what Slack gives a meaning to
// (https://docs.slack.dev/messaging/formatting-message-text#escaping).
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slack is an incoming webhook of Slack
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). What is not
// ours stands in blocks of plain text, in which Slack reads neither mentions nor markup.
func slack(_ *posting, _ Message, t text) (map[string]string, any) {
	block := func(kind, textKind, text string) object {
		e := object{"type": textKind, "text": text}
		if textKind == "plain_text" {
			e["emoji"] = false
		} else {
			e["verbatim"] = true
		}
		return object{"type": kind, "text": e}
	}
	blocks := []object{block("header", "plain_text", t.title)}
	if plain := (text{lines: t.lines}).plain(); plain != "" {
		blocks = append(blocks, block("section", "plain_text", plain))
	}
	if label, value := t.next(); value != "" {
		mark := "`" + strings.ReplaceAll(slackEscape.Replace(value), "`", "'") + "`"
		if t.link != "" {
			mark = "<" + slackEscape.Replace(value) + "|the alert>"
		}
		blocks = append(blocks, block("section", "mrkdwn", label+": "+mark))
	}
	return nil, object{
		"text": slackEscape.Replace(t.title), "mrkdwn": false, // what a notification shows
		"blocks": blocks, "unfurl_links": false, "unfurl_media": false,
	}
}

// teams is a workflow of Microsoft Teams that waits for a webhook, and takes an Adaptive
// Card. The connectors of Office 365, which took a message card, are retired
// (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using).
// All text stands in text runs, in which Teams reads no markup. In a TextBlock what looks like
// Markdown would become a link (https://adaptivecards.io/explorer/TextRun.html).
func teams(_ *posting, _ Message, t text) (map[string]string, any) {
	bold := func(s, size string) object {
		return object{"type": "TextRun", "text": s, "weight": "bolder", "size": size}
	}
	paragraph := func(runs ...object) object { return object{"type": "RichTextBlock", "inlines": runs} }
	body := []object{paragraph(bold(t.title, "medium"))}
	for _, l := range t.lines {
		body = append(body, paragraph(bold(l.label+": ", "default"), object{"type": "TextRun", "text": l.value}))
	}
	card := object{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
	if t.link != "" {
		card["actions"] = []object{{"type": "Action.OpenUrl", "title": "Open", "url": t.link}}
	} else if t.command != "" {
		body = append(body, paragraph(object{"type": "TextRun", "text": t.command, "fontType": "monospace"}))
	}
	card["body"] = body
	return nil, object{
		"type":        "message",
		"attachments": []object{{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}},
	}
}

// markdownEscape takes from a text what dialects of Markdown give a meaning to. A character
// without a width after @ keeps a name from being a mention, and one in :// from being a link.
var markdownEscape = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "|", `\|`, "#", `\#`,
	"[", `\[`, "]", `\]`, "(", `\(`, ")", `\)`, "!", `\!`, "<", `\<`, ">", `\>`,
	"@", "@\u200b", "://", ":/\u200b/",
)

// markdown returns a message in Markdown, which is as long as Discord takes it: 2,000 characters.
func markdown(t text, bold string) string {
	title := bold + markdownEscape.Replace(t.title) + bold + "\n"
	next := ""
	if label, value := t.next(); value != "" {
		if t.link == "" {
			value = "`" + strings.ReplaceAll(value, "`", "'") + "`"
		}
		next = "\n" + label + ": " + value
	}
	return title + (text{lines: t.lines}).fit(markdownEscape.Replace, 2_000-width(title)-width(next), width) + next
}

// discord is a webhook of Discord (https://discord.com/developers/docs/resources/webhook#execute-webhook).
func discord(_ *posting, _ Message, t text) (map[string]string, any) {
	return nil, object{
		"content":          markdown(t, "**"),
		"allowed_mentions": object{"parse": []string{}}, // nobody
		"flags":            1 << 2,                      // no previews of links
	}
}

// googleChat is a webhook of Google Chat (https://developers.google.com/workspace/chat/quickstart/webhooks).
// It knows no escapes, so that the characters of its markup are replaced by others that look
// like them (https://developers.google.com/workspace/chat/format-messages).
func googleChat(_ *posting, _ Message, t text) (map[string]string, any) {
	replace := strings.NewReplacer("<", "‹", ">", "›", "*", "∗", "_", "_\u200b", "~", "∼", "`", "'", "@", "@\u200b", "://", ":/\u200b/").Replace
	s := "*" + replace(t.title) + "*\n" + (text{lines: t.lines}).fit(replace, mostPlain, width)
	if label, value := t.next(); value != "" {
		s += "\n" + label + ": " + value
	}
	return nil, object{"text": s}
}

// mattermost is an incoming webhook of Mattermost
// (https://developers.mattermost.com/integrate/webhooks/incoming/). Rocket.Chat takes the
// same document.
func mattermost(_ *posting, _ Message, t text) (map[string]string, any) {
	return nil, object{"text": markdown(t, "**")}
}

// ntfy is a server of ntfy (https://docs.ntfy.sh/publish/#publish-as-json). The document goes
// to the root of the server, and names the topic. A message of more than 4,096 bytes would
// become a file (https://docs.ntfy.sh/publish/#limitations).
func ntfy(p *posting, m Message, t text) (map[string]string, any) {
	message := t.fit(nil, 4_000, func(s string) int { return len(s) })
	d := object{"topic": strings.Trim(p.target.Path, "/"), "title": t.title, "message": message, "priority": 2 + min(grade(m), 2)}
	if t.link != "" {
		d["click"] = t.link
	}
	var headers map[string]string
	if p.key != "" {
		headers = map[string]string{"Authorization": "Bearer " + p.key}
	}
	return headers, d
}

func wantTopic(u *url.URL) error {
	if topic := strings.Trim(u.Path, "/"); topic == "" || strings.Contains(topic, "/") {
		return errors.New("want the address of a topic: ntfy+https://ntfy.sh/<topic>")
	}
	return nil
}

// inert takes from a text what makes a mention or a link of it in programs that look for these in
// plain text, see markdownEscape.
var inert = strings.NewReplacer("@", "@\u200b", "://", ":/\u200b/")

// telegram is the method sendMessage of a bot (https://core.telegram.org/bots/api#sendmessage).
// Without a parse mode, Telegram reads no markup. It looks for mentions and links all the same
// (https://core.telegram.org/api/entities).
func telegram(p *posting, _ Message, t text) (map[string]string, any) {
	return nil, object{
		"chat_id": p.target.Query().Get("chat_id"), "text": inert.Replace(t.title) + "\n" + t.fit(inert.Replace, mostPlain, width),
		"link_preview_options": object{"is_disabled": true},
	}
}

func wantChat(u *url.URL) error {
	if !strings.HasPrefix(u.Path, "/bot") || !strings.HasSuffix(u.Path, "/sendMessage") || u.Query().Get("chat_id") == "" {
		return errors.New("want telegram+https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>")
	}
	return nil
}

// pagerDuty is the Events API v2 of PagerDuty
// (https://developer.pagerduty.com/docs/send-alert-event). The key of the alert keeps it one
// incident, however often the event is sent.
func pagerDuty(p *posting, m Message, t text) (map[string]string, any) {
	severity := []string{"info", "warning", "error", "critical"}[grade(m)]
	details := object{}
	for _, l := range t.lines {
		if before, ok := details[l.label]; ok { // A digest has several alerts.
			l.value = fmt.Sprint(before, "\n", l.value)
		}
		details[l.label] = l.value
	}
	if t.command != "" {
		details["Show"] = t.command
	}
	d := object{
		"routing_key": p.key, "event_action": "trigger", "dedup_key": m.ID, "client": "hubwatch",
		"payload": object{"summary": t.title, "source": name(sourceOf(m)), "severity": severity, "custom_details": details},
	}
	if t.link != "" {
		d["client_url"] = t.link
	}
	return nil, d
}

// noHTML replaces the characters of HTML by others that look like them.
var noHTML = strings.NewReplacer("<", "‹", ">", "›")

// opsgenie is the API of alerts of Opsgenie (https://docs.opsgenie.com/docs/alert-api). The
// alias keeps it one alert there. It takes 130 characters for the message. It may read HTML
// (https://docs.opsgenie.com/docs/alerts-and-alert-fields).
func opsgenie(p *posting, m Message, t text) (map[string]string, any) {
	return map[string]string{"Authorization": "GenieKey " + p.key}, object{
		"message": noHTML.Replace(clean(t.title, 130)), "alias": m.ID, "description": t.fit(noHTML.Replace, mostPlain, width), "source": "hubwatch",
		"entity": noHTML.Replace(name(sourceOf(m))), "priority": []string{"P5", "P4", "P3", "P2"}[grade(m)],
	}
}

// grade is the rank of a message. A test wakes nobody.
func grade(m Message) int {
	if m.Kind == Test {
		return 0
	}
	return rank(m.Alert.Severity)
}

// sourceOf names the hub of a message.
func sourceOf(m Message) string {
	if m.Alert.HubName != "" {
		return m.Alert.HubName
	}
	return "hubwatch"
}
