package export

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// Types of the CloudEvents that hubwatch makes.
const (
	TypeRaised   = "hubwatch.alert.raised"   // nobody has changed the alert since
	TypeReopened = "hubwatch.alert.reopened" // the newest change was an occurrence that made it Active again
	TypeChanged  = "hubwatch.alert.changed"  // the newest change was made by a person
)

// CloudEvent is the newest thing that happened to an alert, as a CloudEvent 1.0 in
// structured mode. A list of them is a batch
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
type CloudEvent struct {
	SpecVersion string `json:"specversion"` // 1.0
	// ID is <SystemAlertId>/<number of changes>. So each raising and each change is one
	// event, however often it is exported. An occurrence that is only counted is not an
	// event of its own: it changes the data.
	ID              string    `json:"id"`
	Source          string    `json:"source"` // see CloudEventSource
	Type            string    `json:"type"`   // one of the types above
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"` // of the raising or the change
	DataContentType string    `json:"datacontenttype"`
	Data            Alert     `json:"data"`
}

// CloudEventSource returns the source of the events of one table: the name of the
// storage account and the name of the table of alerts.
func CloudEventSource(account, table string) string {
	return "/" + product + "/" + url.PathEscape(account) + "/" + url.PathEscape(table)
}

// NewCloudEvent returns the newest thing that happened to a. See CloudEventSource for
// the source.
func NewCloudEvent(a alert.Alert, source string) CloudEvent {
	data := NewAlert(a)
	e := CloudEvent{
		SpecVersion:     "1.0",
		ID:              eventID(a),
		Source:          source,
		Type:            TypeRaised,
		Subject:         data.Reference,
		Time:            a.Generated.UTC(),
		DataContentType: "application/json",
		Data:            data,
	}
	if a.Changes == 0 {
		return e
	}
	e.Type = TypeChanged
	if reopened(a) {
		e.Type = TypeReopened
	}
	if !a.StatusTime.IsZero() {
		e.Time = a.StatusTime.UTC()
	}
	return e
}

// mostProperties is how many bytes the properties of an alert may have in the event of a
// raising. Event Grid bills an event by 64 KB
// (https://azure.microsoft.com/pricing/details/event-grid/), and takes 1 MB at most.
const mostProperties = 16 << 10

// NewRaising returns the event that tells of a raising. It is the event that NewCloudEvent
// returned then, with the alert as it is now. It has no properties if they are very long: the
// reference in it leads to them. See CloudEventSource for the source.
func NewRaising(r alert.Raising, source string) CloudEvent {
	e := NewCloudEvent(r.Alert, source)
	e.ID = r.Alert.ID + "/" + strconv.Itoa(r.Number)
	switch {
	case r.Number == 0:
		e.Type, e.Time = TypeRaised, r.Alert.Generated.UTC()
	case r.Number != r.Alert.Changes: // Somebody has changed the alert since.
		e.Type, e.Time = TypeReopened, r.Alert.End.UTC()
	default:
		e.Type = TypeReopened
	}
	n := 0
	for name, value := range e.Data.ExtendedProperties {
		n += len(name) + len(value)
	}
	if n > mostProperties {
		e.Data.ExtendedProperties = map[string]string{}
	}
	return e
}

// AppendJSON appends the event to b on one line, with hidden characters escaped. The error is
// one of JSON, which no alert is known to make.
func (e CloudEvent) AppendJSON(b []byte) ([]byte, error) {
	if b, ok := e.append(b); ok {
		return b, nil
	}
	text, err := json.Marshal(e, jsonOptions)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return append(b, secret.VisibleJSON(string(text))...), nil
}

// eventID names the newest thing that happened to a. It is different after each
// change.
func eventID(a alert.Alert) string { return a.ID + "/" + strconv.Itoa(a.Changes) }

// handler is who changed an alert that an occurrence reopened, see alert.History.
var handler = alert.Person{Name: "hubwatch"}

// reopened reports whether the newest change of a was an occurrence that made it
// Active again.
func reopened(a alert.Alert) bool {
	return a.Changes > 0 && a.Status == alert.Active && a.StatusBy == handler
}
