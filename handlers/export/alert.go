// Package export writes alerts in the formats that other programs read: hubwatch's
// own JSON and CSV, OCSF, CloudEvents, and the columns of Microsoft's table
// SecurityAlert. docs/exports.md describes every member of every format. The same
// alert always gives the same bytes.
package export

import (
	"cmp"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/remedy"
)

// Version is the version of the documents Alert and Detailed. The second number
// rises when a member is added. The first number rises when a member is taken away
// or renamed, or gets another type or meaning.
const Version = "1.0"

// product is the name of the vendor and of the product in all formats.
const product = "hubwatch"

// Alert is an alert as programs read it. The members have the names of the columns
// of the alert's row, in camel case, and those that Microsoft.Security/alerts
// 2022-01-01 has too mean the same
// (https://learn.microsoft.com/rest/api/defenderforcloud/alerts). A text or a time
// that is unknown is absent. Lists, maps, numbers and booleans are always there.
// The order of the fields is the order of the columns in CSV, so new fields stand at
// the end.
type Alert struct {
	SystemAlertID        string            `json:"systemAlertId"`
	AlertType            string            `json:"alertType"`
	AlertDisplayName     string            `json:"alertDisplayName,omitzero"`
	Severity             alert.Severity    `json:"severity"`
	Confidence           alert.Confidence  `json:"confidence,omitzero"`
	Description          string            `json:"description,omitzero"` // what happened, in one sentence
	RemediationSteps     []string          `json:"remediationSteps"`     // in order, without numbers
	CompromisedEntity    string            `json:"compromisedEntity,omitzero"`
	EntityType           alert.EntityType  `json:"entityType,omitzero"`
	HubName              string            `json:"hubName"`
	ResourceID           string            `json:"resourceId,omitzero"` // of the hub
	SubscriptionID       string            `json:"subscriptionId,omitzero"`
	Actor                string            `json:"actor,omitzero"`
	ActorIPAddress       string            `json:"actorIpAddress,omitzero"`     // of the first occurrence, possibly masked
	LastActorIPAddress   string            `json:"lastActorIpAddress,omitzero"` // of the last occurrence, possibly masked
	ActorIPAddresses     []string          `json:"actorIpAddresses"`            // of all occurrences, 20 at most
	MoreActorIPAddresses bool              `json:"moreActorIpAddresses"`        // there are more than ActorIPAddresses has
	CorrelationID        string            `json:"correlationId,omitzero"`
	StartTime            time.Time         `json:"startTimeUtc"` // of the first occurrence
	EndTime              time.Time         `json:"endTimeUtc"`   // of the last occurrence
	TimeGenerated        time.Time         `json:"timeGeneratedUtc"`
	Status               alert.Status      `json:"status"`
	Occurrences          int               `json:"occurrences"`
	ExtendedProperties   map[string]string `json:"extendedProperties"`
	Detector             string            `json:"detector,omitzero"`
	Reference            string            `json:"reference"` // hub/day/id, see alert.Ref

	ActorObjectID       string               `json:"actorObjectId,omitzero"` // in Microsoft Entra
	Entities            []Entity             `json:"entities"`
	ResourceIdentifiers []ResourceIdentifier `json:"resourceIdentifiers"`
	Changes             int                  `json:"changes"`
	StatusReason        string               `json:"statusReason,omitzero"`     // of the newest change
	StatusBy            string               `json:"statusBy,omitzero"`         // who made the newest change
	StatusByObjectID    string               `json:"statusByObjectId,omitzero"` // in Microsoft Entra
	StatusTime          time.Time            `json:"statusTimeUtc,omitzero"`    // of the newest change
	Verdict             alert.Verdict        `json:"verdict,omitzero"`
	SuppressedBy        string               `json:"suppressedBy,omitzero"` // id of the suppression
	VendorName          string               `json:"vendorName"`
	ProductName         string               `json:"productName"`
	Version             string               `json:"version"` // of this document, see Version
}

// ResourceIdentifier names the Azure resource that an alert is about, as
// Microsoft.Security/alerts does.
type ResourceIdentifier struct {
	Type            string `json:"type"` // AzureResource
	AzureResourceID string `json:"azureResourceId"`
}

// NewAlert returns a as programs read it.
func NewAlert(a alert.Alert) Alert {
	d := Alert{
		SystemAlertID:        a.ID,
		AlertType:            a.Type,
		AlertDisplayName:     a.DisplayName,
		Severity:             a.Severity,
		Confidence:           a.Confidence,
		Description:          a.Message,
		RemediationSteps:     Steps(a),
		CompromisedEntity:    a.Entity.Name,
		EntityType:           a.Entity.Type,
		HubName:              a.Hub.Name,
		ResourceID:           a.Hub.ResourceID,
		SubscriptionID:       a.Hub.SubscriptionID,
		Actor:                a.Actor,
		ActorIPAddress:       a.ActorIPAddress,
		LastActorIPAddress:   a.LastActorIPAddress,
		ActorIPAddresses:     a.ActorIPAddresses,
		MoreActorIPAddresses: a.MoreActorIPAddresses,
		CorrelationID:        a.CorrelationID,
		StartTime:            a.Start.UTC(),
		EndTime:              a.End.UTC(),
		TimeGenerated:        a.Generated.UTC(),
		Status:               a.Status,
		Occurrences:          a.Occurrences,
		ExtendedProperties:   a.Properties,
		Detector:             a.Detector,
		Reference:            a.Ref().String(),
		ActorObjectID:        a.Properties[actorObjectID],
		Entities:             entities(a),
		Changes:              a.Changes,
		StatusReason:         a.StatusReason,
		StatusBy:             a.StatusBy.String(),
		StatusByObjectID:     a.StatusBy.ObjectID,
		StatusTime:           a.StatusTime.UTC(),
		Verdict:              a.Verdict,
		SuppressedBy:         a.SuppressedBy,
		VendorName:           product,
		ProductName:          product,
		Version:              Version,
	}
	if a.Hub.ResourceID != "" {
		d.ResourceIdentifiers = []ResourceIdentifier{{"AzureResource", a.Hub.ResourceID}}
	}
	return d
}

// Steps returns the steps of an alert's remediation, without numbers. It returns an
// empty list, and not nil, if there are none.
func Steps(a alert.Alert) []string {
	list := make([]string, 0, 1+strings.Count(a.Remediation, "\n"))
	for line := range strings.Lines(a.Remediation) {
		line = strings.TrimRight(line, "\n")
		if text := strings.TrimLeft(line, "0123456789"); len(text) < len(line) && strings.HasPrefix(text, ". ") {
			line = text[len(". "):]
		}
		list = append(list, line)
	}
	return list
}

// Evidence is one event of an alert as programs read it. The members have the
// names of the columns of its row, in camel case. A text that is unknown is absent.
type Evidence struct {
	EventID        string            `json:"eventId,omitzero"`
	EventTime      time.Time         `json:"eventTimeUtc"`
	Actor          string            `json:"actor,omitzero"`
	ActorIPAddress string            `json:"actorIpAddress,omitzero"` // possibly masked
	CorrelationID  string            `json:"correlationId,omitzero"`
	Properties     map[string]string `json:"properties"`
	RawEvent       string            `json:"rawEvent,omitzero"`       // without secrets, and cut where it is very long
	RawEventSHA256 string            `json:"rawEventSha256,omitzero"` // of the event as it was delivered, in hexadecimal
	// Count is how often it happened in ten minutes, or of how many devices, by the newest
	// verdict; 0 if late records took it back. For events that were counted together it is
	// their number. It is nil for an event that counts once.
	Count   *int           `json:"count,omitzero"`
	Devices []string       `json:"devices,omitzero"` // of what happened to many at once
	Counted []CountedEvent `json:"counted,omitzero"` // the events that were counted together, the earliest first
}

// CountedEvent is an event that was counted, as programs read it.
type CountedEvent struct {
	Time time.Time `json:"timeUtc"`
	Hash string    `json:"hash"` // of its source and its id, in hexadecimal
}

// newCountedEvent returns e as programs read it.
func newCountedEvent(e alert.CountedEvent) CountedEvent { return CountedEvent{e.Time.UTC(), e.Hash} }

// NewEvidence returns e as programs read it.
func NewEvidence(e alert.Evidence) Evidence {
	var count *int
	if e.Tally.Seq > 0 {
		count = &e.Tally.N
	}
	var counted []CountedEvent
	if n := len(e.Counted); n > 0 {
		count, counted = &n, Each(e.Counted, newCountedEvent)
	}
	return Evidence{
		Count: count, Devices: e.Devices, Counted: counted,
		EventID:        e.EventID,
		EventTime:      e.Time.UTC(),
		Actor:          e.Actor,
		ActorIPAddress: e.ActorIPAddress,
		CorrelationID:  e.CorrelationID,
		Properties:     e.Properties,
		RawEvent:       e.RawEvent,
		RawEventSHA256: e.RawEventSHA256,
	}
}

// Change is a change of an alert as programs read it. A text that is unknown is absent.
type Change struct {
	Number     int           `json:"number"` // 1 for the alert's first change
	Time       time.Time     `json:"timeUtc"`
	From       alert.Status  `json:"from"`
	To         alert.Status  `json:"to"` // the same as From if the change was not about the status
	Verdict    alert.Verdict `json:"verdict,omitzero"`
	Reason     string        `json:"reason,omitzero"`
	By         string        `json:"by,omitzero"`
	ByObjectID string        `json:"byObjectId,omitzero"` // in Microsoft Entra
	Via        string        `json:"via,omitzero"`        // cli, console or handler, see alert.History
	EventID    string        `json:"eventId,omitzero"`    // of the occurrence that made the alert active again
}

// NewChange returns h as programs read it.
func NewChange(h alert.History) Change {
	return Change{
		Number: h.Number, Time: h.Time.UTC(), From: h.From, To: h.To, Verdict: h.Verdict, Reason: h.Reason,
		By: h.By.String(), ByObjectID: h.By.ObjectID, Via: h.Via, EventID: h.EventID,
	}
}

// Command is a command of what to do about an alert, as programs read it. A command
// line is absent if the shell cannot pass the names of the alert on as they are.
type Command struct {
	Goal        remedy.Goal `json:"goal"`
	Says        string      `json:"says"`           // what it does
	Needs       string      `json:"needs,omitzero"` // the role, and the extension of az
	When        string      `json:"when,omitzero"`  // when it is right
	Destructive bool        `json:"destructive"`    // something stops working, or is lost
	Bash        string      `json:"bash,omitzero"`
	PowerShell  string      `json:"powershell,omitzero"`
	Refused     string      `json:"refused,omitzero"` // why a command line is absent
}

// NewCommand returns a command, filled in for an alert, as programs read it.
func NewCommand(c remedy.Filled) Command {
	d := Command{Goal: c.Goal, Says: c.Says, Needs: c.Needs, When: c.When, Destructive: c.Destructive}
	var refused, onlyPowerShell error
	d.Bash, refused = c.Bash()
	d.PowerShell, onlyPowerShell = c.PowerShell()
	if err := cmp.Or(refused, onlyPowerShell); err != nil {
		d.Refused = err.Error()
	}
	return d
}

// Detailed is an alert with all that is known of it.
type Detailed struct {
	Alert    `json:",inline"`
	Evidence []Evidence `json:"evidence"` // the newest event first
	History  []Change   `json:"history"`  // the oldest change first
	Commands []Command  `json:"commands"` // what to do, by goal
}
