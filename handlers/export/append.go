package export

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/secret"
)

// An alert that is told, and the event of it, are written without reflection: it takes as much
// time as all that is judged before. The JSON package would write the same
// (TestEventsAreWrittenAsJSON).

// object is a JSON object that is being written.
type object struct {
	b []byte
	// odd says that the object has something of which the JSON package has to decide how it is
	// written.
	odd bool
}

// member begins a member.
func (o *object) member(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), `":`...)
}

// text writes a member that is a string.
func (o *object) text(name, value string) {
	o.member(name)
	o.b = appendString(o.b, value)
}

// some writes a member that is a string, and leaves it out if it is empty.
func (o *object) some(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) number(name string, n int) {
	o.member(name)
	o.b = strconv.AppendInt(o.b, int64(n), 10)
}

func (o *object) time(name string, t time.Time) {
	o.member(name)
	// What RFC 3339 has no form for is an error of the JSON package.
	o.odd = o.odd || t.Location() != time.UTC || t.Year() < 0 || t.Year() > 9999
	o.b = append(t.AppendFormat(append(o.b, '"'), time.RFC3339Nano), '"')
}

func (o *object) bool(name string, value bool) {
	o.member(name)
	o.b = strconv.AppendBool(o.b, value)
}

// texts writes a member that is a list of strings.
func (o *object) texts(name string, list []string) {
	objects(o, name, list, func(o *object, s string) { o.b = appendString(o.b, s) })
}

// objects writes a member that is a list, of which each writes an element.
func objects[T any](o *object, name string, list []T, each func(*object, T)) {
	o.member(name)
	o.b = append(o.b, '[')
	for i, element := range list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		each(o, element)
	}
	o.b = append(o.b, ']')
}

// strings writes a member that is an object of strings, in the order of their names.
func (o *object) strings(name string, of map[string]string) {
	o.member(name)
	o.b = append(o.b, '{')
	keys := slices.AppendSeq(make([]string, 0, 16), maps.Keys(of))
	slices.Sort(keys)
	for _, key := range keys {
		simple, _ := look(key)
		o.odd = o.odd || !simple
		o.text(key, of[key])
	}
	o.b = append(o.b, '}')
}

// appendString appends s as a JSON string, with hidden characters escaped.
func appendString(b []byte, s string) []byte {
	switch simple, hides := look(s); {
	case simple:
		return append(append(append(b, '"'), s...), '"')
	case !hides:
		b, _ = jsontext.AppendQuote(b, s) // an error would say that bytes were replaced
		return b
	}
	quoted, _ := jsontext.AppendQuote(nil, s)
	return append(b, secret.VisibleJSON(string(quoted))...)
}

// look reports whether s is the same in a JSON string, and whether a character in it may be hidden.
func look(s string) (simple, hides bool) {
	simple = true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			return false, true
		case c == '"' || c == '\\':
			simple = false
		}
	}
	return simple, false
}

// append appends the event on one line, or reports that the JSON package has to write it.
func (e CloudEvent) append(b []byte) ([]byte, bool) {
	o := &object{b: append(b, '{')}
	o.text("specversion", e.SpecVersion)
	o.text("id", e.ID)
	o.text("source", e.Source)
	o.text("type", e.Type)
	o.text("subject", e.Subject)
	o.time("time", e.Time)
	o.text("datacontenttype", e.DataContentType)
	o.member("data")
	e.Data.append(o)
	return append(o.b, '}'), !o.odd
}

// append writes the alert as a value of o.
func (a *Alert) append(o *object) {
	o.b = append(o.b, '{')
	o.text("systemAlertId", a.SystemAlertID)
	o.text("alertType", a.AlertType)
	o.some("alertDisplayName", a.AlertDisplayName)
	o.text("severity", string(a.Severity))
	o.some("confidence", string(a.Confidence))
	o.some("description", a.Description)
	o.texts("remediationSteps", a.RemediationSteps)
	o.some("compromisedEntity", a.CompromisedEntity)
	o.some("entityType", string(a.EntityType))
	o.text("hubName", a.HubName)
	o.some("resourceId", a.ResourceID)
	o.some("subscriptionId", a.SubscriptionID)
	o.some("actor", a.Actor)
	o.some("actorIpAddress", a.ActorIPAddress)
	o.some("lastActorIpAddress", a.LastActorIPAddress)
	o.texts("actorIpAddresses", a.ActorIPAddresses)
	o.bool("moreActorIpAddresses", a.MoreActorIPAddresses)
	o.some("correlationId", a.CorrelationID)
	o.time("startTimeUtc", a.StartTime)
	o.time("endTimeUtc", a.EndTime)
	o.time("timeGeneratedUtc", a.TimeGenerated)
	o.text("status", string(a.Status))
	o.number("occurrences", a.Occurrences)
	o.strings("extendedProperties", a.ExtendedProperties)
	o.some("detector", a.Detector)
	o.text("reference", a.Reference)
	o.some("actorObjectId", a.ActorObjectID)
	objects(o, "entities", a.Entities, func(o *object, e Entity) { e.append(o) })
	objects(o, "resourceIdentifiers", a.ResourceIdentifiers, func(o *object, r ResourceIdentifier) {
		o.b = append(o.b, '{')
		o.text("type", r.Type)
		o.text("azureResourceId", r.AzureResourceID)
		o.b = append(o.b, '}')
	})
	o.number("changes", a.Changes)
	o.some("statusReason", a.StatusReason)
	o.some("statusBy", a.StatusBy)
	o.some("statusByObjectId", a.StatusByObjectID)
	if !a.StatusTime.IsZero() {
		o.time("statusTimeUtc", a.StatusTime)
	}
	o.some("verdict", string(a.Verdict))
	o.some("suppressedBy", a.SuppressedBy)
	o.text("vendorName", a.VendorName)
	o.text("productName", a.ProductName)
	o.text("version", a.Version)
	o.b = append(o.b, '}')
}

// append writes the entity as a value of o.
func (e *Entity) append(o *object) {
	o.b = append(o.b, '{')
	o.text("type", e.Type)
	o.some("resourceId", e.ResourceID)
	o.some("deviceId", e.DeviceID)
	o.some("moduleId", e.ModuleID)
	if e.IoTHub != nil {
		o.member("iotHub")
		e.IoTHub.append(o)
	}
	o.some("name", e.Name)
	o.some("upnSuffix", e.UPNSuffix)
	o.some("aadUserId", e.AadUserID)
	o.some("address", e.Address)
	o.b = append(o.b, '}')
}
