package coverage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
)

// Types of the events about canaries. No detector but PathBroken gets them. Nothing else can
// be told by such an event, so nobody can hide an event by calling it a canary. Other detectors
// get canaries in disguise, see Canary.Disguise.
const (
	CanaryType = "hubwatch.canary"        // an event that has to arrive
	MissedType = "hubwatch.canary.missed" // one did not
)

// EventTypes are these types.
var EventTypes = []string{CanaryType, MissedType}

// Canary is an event, or a message, that has to arrive.
type Canary struct {
	Path Path
	// Token is a random text that nobody can guess. A canary without the token of the last
	// one that was sent proves nothing.
	Token string
	Sent  time.Time // UTC
}

// canaryJSON is a Canary as it is sent.
type canaryJSON struct {
	Path  Path      `json:"path"`
	Token string    `json:"token"`
	Sent  time.Time `json:"sent"`
}

func (j canaryJSON) canary() (Canary, error) {
	if err := j.Path.check(); err != nil {
		return Canary{}, err
	}
	switch {
	case j.Token == "":
		return Canary{}, errors.New("token: missing or empty")
	case j.Sent.IsZero():
		return Canary{}, errors.New("sent: missing")
	}
	return Canary{j.Path, j.Token, j.Sent.UTC()}, nil
}

// envelope is a CloudEvent
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
type envelope struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Source      string    `json:"source"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

// encode returns v, of which each part is this package's own, as JSON.
func encode(v any) jsontext.Value {
	b, err := json.Marshal(v, event.Lenient)
	if err != nil {
		panic(err) // No text and no time of this century can do that.
	}
	return b
}

// Event returns the canary as a CloudEvent. source says which hubwatch sends it.
func (c Canary) Event(source string) jsontext.Value {
	return encode(envelope{"1.0", c.Token, CanaryType, source, "paths/" + string(c.Path), c.Sent, "application/json", canaryJSON(c)})
}

// ParseEvent reads an event that Event made. Its error names the member that is missing or
// wrong.
func ParseEvent(e event.Event) (Canary, error) {
	var j canaryJSON
	if err := json.Unmarshal(e.Data, &j, event.Lenient); err != nil {
		return Canary{}, fmt.Errorf("data: %w", event.JSONError(err))
	}
	c, err := j.canary()
	if err != nil {
		return Canary{}, fmt.Errorf("data: %w", err)
	}
	return c, nil
}

// message is a Canary as a message of the event hub. No record of a resource log has such a
// member.
type message struct {
	Canary canaryJSON `json:"hubwatchCanary"`
}

// messagePrefix is how each such message begins.
const messagePrefix = `{"` + mark + `":`

// Message returns the canary as a message of the event hub.
func (c Canary) Message() []byte { return encode(message{canaryJSON(c)}) }

// Split returns the messages that are no canaries, in their order, and the canaries. A message
// is a canary only if Canary.Message could have made it: one with anything else in it, for
// example records, is a message like any other. If there are no canaries, Split takes no
// memory.
func Split(messages [][]byte) (others [][]byte, canaries []Canary) {
	for i, raw := range messages {
		c, ok := parseMessage(raw)
		switch {
		case ok && canaries == nil:
			others = slices.Clone(messages[:i])
			fallthrough
		case ok:
			canaries = append(canaries, c)
		case canaries != nil:
			others = append(others, raw)
		}
	}
	if canaries == nil {
		return messages, nil
	}
	return others, canaries
}

func parseMessage(raw []byte) (Canary, bool) {
	if !bytes.HasPrefix(raw, []byte(messagePrefix)) {
		return Canary{}, false
	}
	var m message
	if err := json.Unmarshal(raw, &m, json.RejectUnknownMembers(true)); err != nil {
		return Canary{}, false
	}
	c, err := m.Canary.canary()
	return c, err == nil
}

// Missed says that a canary did not arrive.
type Missed struct {
	Canary
	Source      string    // which hubwatch sent it: the resource id of the app, or another text
	Fault       string    // why the path did not take it, without secrets; "" if it did
	LastArrived time.Time // when the last canary that arrived was sent; zero if none ever did
	// Types are those of events as which it did not arrive, if its path is one into which
	// another forks.
	Types []string
}

// missedJSON is the data of the event about a Missed. The token is its id.
type missedJSON struct {
	Path        Path      `json:"path"`
	Types       []string  `json:"types,omitempty"`
	Fault       string    `json:"fault,omitzero"`
	LastArrived time.Time `json:"lastArrived,omitzero"`
}

// Miss returns what is to be told of a trip whose last canary did not arrive.
func (t Trip) Miss(source string) Missed {
	return Missed{Canary{t.Path, t.Token, t.Sent}, source, t.Fault, t.ArrivedSent, t.Missing}
}

// Event returns the CloudEvent that tells of it. The same canary gives the same id. Its time is
// when the canary was sent.
func (m Missed) Event() jsontext.Value {
	return encode(envelope{"1.0", m.Token, MissedType, m.Source, "paths/" + string(m.Path), m.Sent, "application/json",
		missedJSON{m.Path, m.Types, m.Fault, m.LastArrived}})
}

// ParseMissed reads an event that Missed.Event made. Its error names the member that is missing
// or wrong.
func ParseMissed(e event.Event) (Missed, error) {
	var j missedJSON
	if err := json.Unmarshal(e.Data, &j, event.Lenient); err != nil {
		return Missed{}, fmt.Errorf("data: %w", event.JSONError(err))
	}
	if err := j.Path.checkForked(); err != nil {
		return Missed{}, fmt.Errorf("data: %w", err)
	}
	return Missed{Canary{j.Path, e.ID, e.Time}, e.Source, j.Fault, j.LastArrived, j.Types}, nil
}
