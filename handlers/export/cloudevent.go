package export

import (
	"net/url"
	"strconv"
	"time"

	"hubwatch/handlers/alert"
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
	e := CloudEvent{
		SpecVersion:     "1.0",
		ID:              eventID(a),
		Source:          source,
		Type:            TypeRaised,
		Subject:         a.Ref().String(),
		Time:            a.Generated.UTC(),
		DataContentType: "application/json",
		Data:            NewAlert(a),
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
