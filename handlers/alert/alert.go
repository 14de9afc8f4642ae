// Package alert has what goes out: findings, the alerts that are made of
// findings, and the interfaces of the stores that keep them. Names follow
// Microsoft's Microsoft.Security/alerts schema where it has one
// (https://learn.microsoft.com/rest/api/defenderforcloud/alerts).
package alert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"hubwatch/handlers/secret"
)

// Severity is how much an alert matters, in Microsoft's four words.
type Severity string

// The severities of Microsoft.Security/alerts.
const (
	High          Severity = "High"
	Medium        Severity = "Medium"
	Low           Severity = "Low"
	Informational Severity = "Informational"
)

// Valid reports whether s is one of the four severities.
func (s Severity) Valid() bool {
	return s == High || s == Medium || s == Low || s == Informational
}

// Confidence tells whether the event itself says what the alert says.
type Confidence string

const (
	// Stated means that the event says so in as many words.
	Stated Confidence = "Stated"
	// Inferred means that the event only implies it; the alert names the rule.
	Inferred Confidence = "Inferred"
)

// Status says how far people have dealt with an alert. The store sets Active.
// People set the other three.
type Status string

// The statuses of Microsoft.Security/alerts.
const (
	Active     Status = "Active"
	InProgress Status = "InProgress"
	Resolved   Status = "Resolved"
	Dismissed  Status = "Dismissed"
)

// Statuses are all statuses.
var Statuses = []Status{Active, InProgress, Resolved, Dismissed}

// Closed reports whether nobody is looking at the alert any more, so that a new
// occurrence has to make it Active again. Letter case does not matter: people type
// a status into the table.
func (s Status) Closed() bool {
	return strings.EqualFold(string(s), string(Resolved)) || strings.EqualFold(string(s), string(Dismissed))
}

// ParseStatus reads a status in any letter case. Its error says which there are.
func ParseStatus(s string) (Status, error) {
	for _, status := range Statuses {
		if strings.EqualFold(s, string(status)) {
			return status, nil
		}
	}
	return "", fmt.Errorf("status %q: want %s", s, anyOf(Statuses))
}

// EntityType says what kind of thing an alert is about.
type EntityType string

// The kinds of entity that alerts are about.
const (
	// IoTHub is the hub itself: its existence, its settings, its keys. The name of
	// the entity is the name of the hub.
	IoTHub            EntityType = "IoTHub"
	Certificate       EntityType = "Certificate"
	DiagnosticSetting EntityType = "DiagnosticSetting"
	Device            EntityType = "Device"
	Module            EntityType = "Module" // of a device; its name is <device id>/<module id>
	// Caller and Address are what a detector counts by: who asks for operations, and from
	// where.
	Caller  EntityType = "Caller"
	Address EntityType = "Address"
	// Resource is another resource of Azure, or something below one. The name of the entity
	// is its id from the type on: sites/contoso-app. That of a resource group is its name.
	Resource EntityType = "Resource"
	// Path is a way by which events reach hubwatch itself.
	Path EntityType = "Path"
)

// EntityTypes are all kinds of entity.
var EntityTypes = []EntityType{IoTHub, Certificate, DiagnosticSetting, Device, Module, Caller, Address, Resource, Path}

// Entity is the thing an alert is about, by the name it has on its hub.
type Entity struct {
	Type EntityType
	Name string // as spelled in the event
}

// key is the name of the entity for comparisons. The names of Azure resources are
// compared regardless of case; the ids of devices and modules are not
// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry).
func (e Entity) key() string {
	if e.Type == Device || e.Type == Module {
		return e.Name
	}
	return strings.ToLower(e.Name)
}

// Hub is the IoT hub that an alert belongs to. An alert about another resource has that
// resource in its place, and one about hubwatch itself has the function app.
type Hub struct {
	Name           string // as spelled in the event
	ResourceID     string // /subscriptions/…/providers/Microsoft.Devices/IotHubs/<name>
	SubscriptionID string
}

// Key is the hub's name as table keys hold it. Hub names are
// unique in all of Azure, whatever their case, because each is a host name.
func (h Hub) Key() string { return strings.ToLower(h.Name) }

// Finding is what a detector saw in one event: the particulars, without the
// texts that are the same for every alert of its kind.
type Finding struct {
	Hub            Hub
	Entity         Entity
	Actor          string // who did it: the best name the event has, "" if it has none
	ActorIPAddress string // as the event has it, possibly masked, "" if it has none
	CorrelationID  string // joins the events of one deployment, "" if the event has none
	// Message is one sentence: what happened, to what, by whom, with what outcome. Its
	// names are the names in the event, as they are. A detector gives every other text
	// of the event to secret.RedactString before it puts the text into the sentence.
	Message    string
	Confidence Confidence
	Properties map[string]string // further particulars, by names in PascalCase
	Tally      Tally             // zero for what counts once
	// Until is the time of the last of what the finding tells of, and UntilIPAddress the
	// address there, "" if it is not known. Until is zero if the finding tells of one event.
	Until          time.Time
	UntilIPAddress string
	Devices        []string // of what happened to many at once, as IoT Hub's events name them; nil otherwise
	// Event is the record that the finding is about, if the event that was judged has many;
	// nil for the event itself.
	Event *Event
}

// Occurrence is what a detector found in one event: a finding with the texts of
// its detector, and the event. Occurrences with the same ID are one Alert.
type Occurrence struct {
	ID          string // SystemAlertId of the alert, see ID
	Detector    string // name of the detector and of its function
	Type        string // Microsoft's AlertType, verbatim
	DisplayName string
	Severity    Severity
	Remediation []string // steps, in order
	Finding
	Event Event
	// SuppressedBy is the id of the suppression that the occurrence falls under, "" for
	// none.
	SuppressedBy string
}

// Tally makes an occurrence one version of a count that may change, also to less. The
// zero value is no tally: an occurrence that counts once.
type Tally struct {
	Item string // what is counted, within Event.Source: the same for all versions; "" for no tally
	N    int    // how often it happened, by this version; 0 takes it back
	Seq  int    // of two versions the one with the higher number counts; from 1 on
	// What is what N counts in the ten minutes that begin at From, by the name that it has in
	// Alert.Course. An alert has one tally of each. It is "" for what is not in Course.
	What string
	From time.Time
}

// Event is the event that an occurrence was seen in.
type Event struct {
	Source string    // CloudEvents source or Event Grid topic, "" if the event has none
	ID     string    // unique within Source (CloudEvents 1.0, section 3.1.1)
	Time   time.Time // when it happened, UTC
	Raw    []byte    // the event as it was delivered: JSON
}

// Redact takes the credentials out of the texts of the occurrence: the address, the
// correlation id, and the properties that are not in nameProperties. Names stay as
// they are, and so does the identity, which consists of names: the hub, the entity,
// the actor, the source and the id of the event. Message stays as it is, since it is
// made of names and of texts that the detector has redacted. The store redacts
// Event.Raw.
func (o *Occurrence) Redact() {
	o.ActorIPAddress, o.UntilIPAddress = secret.RedactString(o.ActorIPAddress), secret.RedactString(o.UntilIPAddress)
	o.CorrelationID = secret.RedactString(o.CorrelationID)
	var redacted map[string]string // a copy, since the detector may keep its map
	for name, value := range o.Properties {
		if nameProperties[name] || roleProperties[name] && roleName().MatchString(value) {
			continue
		}
		if r := secret.RedactString(value); r != value {
			if redacted == nil {
				redacted = maps.Clone(o.Properties)
			}
			redacted[name] = r
		}
	}
	if redacted != nil {
		o.Properties = redacted
	}
}

// nameProperties are the properties that hold names of the caller.
var nameProperties = map[string]bool{"ActorObjectId": true, "ActorApplicationId": true, "ActorResourceId": true}

// roleProperties are the properties that name what gave the caller the right, or what an
// operation was on. The event has them in a part that describes, or with anything behind
// the name of a resource, so they are names only if they look like one.
var roleProperties = map[string]bool{
	"RoleAssignmentId": true, "RoleAssignmentScope": true, "RoleDefinitionId": true, "RolePrincipalId": true, "TargetResourceId": true,
}

// KeptProperty reports whether Redact keeps a property as it is, or may do so. Only
// hubwatch itself sets such properties.
func KeptProperty(name string) bool { return nameProperties[name] || roleProperties[name] }

// roleName is the form of a resource id or of a GUID. The letters of its names are those
// that a resource group may have
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources).
var roleName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(/[\pL\pN/_.()-]*|[0-9A-Fa-f-]{32,36})$`) })

// Day is the UTC day for which an occurrence counts: the day of its event. So a
// late delivery joins the right alert.
func (o Occurrence) Day() time.Time { return Day(o.Event.Time) }

// Day returns the UTC day of a time.
func Day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// Alert is what the store keeps of all occurrences with one ID.
type Alert struct {
	ID          string // SystemAlertId
	Detector    string // name of the detector that found it
	Type        string // Microsoft's AlertType, verbatim
	DisplayName string
	Severity    Severity
	Remediation string // steps, in order, a line each
	// Finding has the particulars of the first occurrence, without Tally, Until and Devices,
	// which are of one occurrence. Message and Properties say also what Course says.
	Finding
	Start time.Time // of the first occurrence, UTC
	End   time.Time // of the last occurrence, UTC
	// LastActorIPAddress is the address of the last occurrence. ActorIPAddresses are
	// the distinct addresses of all occurrences, sorted. They are 20 at most;
	// MoreActorIPAddresses says that there are more.
	LastActorIPAddress   string
	ActorIPAddresses     []string
	MoreActorIPAddresses bool
	Generated            time.Time // when the alert was raised, UTC
	Status               Status
	Occurrences          int // distinct events; 0 if late records took all of them back
	Course               Course
	Changes              int // how often people changed it, or an occurrence reopened it
	// StatusReason, StatusBy and StatusTime are those of the newest change, zero if
	// there was none.
	StatusReason string
	StatusBy     Person
	StatusTime   time.Time
	Verdict      Verdict // "" if nobody has said yet
	SuppressedBy string  // id of the suppression that all occurrences fall under, "" for none
}

// Ref returns the reference of the alert.
func (a Alert) Ref() Ref { return Ref{strings.ToLower(a.Hub.Name), Day(a.Start), a.ID} }

// Evidence is what the store keeps of one occurrence.
type Evidence struct {
	EventID        string
	Time           time.Time // of the event, UTC
	Actor          string
	ActorIPAddress string
	CorrelationID  string
	Properties     map[string]string
	RawEvent       string   // without secrets, and cut where it is very long
	RawEventSHA256 string   // of the event as it was delivered, in hexadecimal
	Tally          Tally    // N and Seq alone; zero for an ordinary event
	Devices        []string // as Finding.Devices; cut where there are very many
	// Counted are the events that were counted together, the earliest first, of which the last
	// is one too many. It is nil for an ordinary event. EventID is then the hash of the last.
	Counted []CountedEvent
}

// CountedEvent is an event that was counted.
type CountedEvent struct {
	Time time.Time // of the event, UTC
	Hash string    // of its source and its id, in hexadecimal
}

// ID derives the SystemAlertId of an alert from its type, the hub's resource id,
// the entity, the actor and the UTC day. Letter case does not matter, except in
// the ids of devices and modules. The result is a UUID of version 8 (RFC 9562,
// section 5.8) that holds 122 bits of a SHA-256.
func ID(alertType string, hub Hub, entity Entity, actor string, day time.Time) string {
	b := make([]byte, 0, 512) // longer names take more memory
	for _, part := range [...]string{
		alertType, strings.ToLower(hub.ResourceID), string(entity.Type), entity.key(),
		strings.ToLower(actor), string(day.UTC().AppendFormat(make([]byte, 0, len(time.DateOnly)), time.DateOnly)),
	} {
		// The length keeps ("ab", "c") apart from ("a", "bc").
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
	}
	u := sha256.Sum256(b)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	id := make([]byte, 0, len("00000000-0000-8000-8000-000000000000"))
	for i, part := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			id = append(id, '-')
		}
		id = hex.AppendEncode(id, part)
	}
	return string(id)
}
