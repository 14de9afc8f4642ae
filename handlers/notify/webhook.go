package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/secret"
)

// webhook posts JSON, signed as Standard Webhooks describes
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
type webhook struct {
	name    string
	poster  *poster
	keys    [][]byte
	console string
}

// Name implements Channel.
func (w *webhook) Name() string { return w.name }

// secretPrefix is what a key of Standard Webhooks begins with.
const secretPrefix = "whsec_"

// parseSecrets reads keys with commas between them. More than one are there while a receiver
// changes from one to the other.
func parseSecrets(s string) (keys [][]byte, err error) {
	for one := range strings.SplitSeq(s, ",") {
		key, err := parseSecret(one)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) > mostSecrets {
		return nil, fmt.Errorf("want %d secrets at most", mostSecrets)
	}
	return keys, nil
}

const mostSecrets = 5

// parseSecret reads a key: 24 to 64 bytes in base64, as Standard Webhooks wants.
func parseSecret(s string) ([]byte, error) {
	code, ok := strings.CutPrefix(s, secretPrefix)
	if !ok {
		return nil, errors.New("want a secret that begins with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(code)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("want 24 to 64 bytes in base64 after " + secretPrefix + ": openssl rand -base64 32")
	}
	return key, nil
}

// signatures returns the value of the header webhook-signature for a message: a signature with
// each key, with blanks between them.
func signatures(keys [][]byte, id string, at time.Time, body []byte) string {
	var all []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// payload is the body of a webhook.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Sentence  string    `json:"sentence"` // what a person is told, in one line
	Command   string    `json:"command,omitzero"`
	Link      string    `json:"link,omitzero"`
	Data      *listed   `json:"data,omitzero"`   // as hubwatch alerts show -o json prints it, without its evidence and history
	Count     int       `json:"count,omitzero"`  // of a digest: how many raisings
	Alerts    []listed  `json:"alerts,omitzero"` // of a digest: the gravest few
	Channel   string    `json:"channel,omitzero"`
	Reason    string    `json:"reason,omitzero"`
}

// listed is an alert that leaves out its status if that is not known, as in a digest.
type listed struct {
	export.Alert
	Status alert.Status `json:"status,omitzero"`
}

// payloadTypes are the types of the bodies. Those of a raising are the types of its event.
var payloadTypes = map[Kind]string{
	Raised: export.TypeRaised, Reopened: export.TypeReopened,
	Digest: "hubwatch.digest", Failed: "hubwatch.channel.failed", Test: "hubwatch.test",
}

// Send implements Channel. The id of the webhook is that of the message, so that a receiver
// can tell that it got a message twice.
func (w *webhook) Send(ctx context.Context, m Message) error {
	t := compose(m, w.console)
	p := payload{
		Type: payloadTypes[m.Kind], Timestamp: m.Time.UTC(), Sentence: t.title, Command: t.command, Link: t.link,
		Count: m.Count, Channel: m.Channel, Reason: clean(m.Reason, mostValue),
	}
	for _, l := range t.lines {
		if l.label == "What happened" {
			p.Sentence += ": " + l.value
		}
	}
	for _, a := range m.Alerts {
		p.Alerts = append(p.Alerts, listed{a, a.Status})
	}
	if m.Alert.SystemAlertID != "" {
		p.Data = &listed{m.Alert, m.Alert.Status}
	}
	body, err := json.Marshal(p, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("%w: the message is not JSON", ErrNever)
	}
	body = []byte(secret.VisibleJSON(string(body)))
	now := w.poster.now()
	return w.poster.post(ctx, "application/json", map[string]string{
		"webhook-id":        m.ID,
		"webhook-timestamp": strconv.FormatInt(now.Unix(), 10),
		"webhook-signature": signatures(w.keys, m.ID, now, body),
	}, body)
}
