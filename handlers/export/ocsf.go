package export

import (
	"cmp"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/version"
)

// ocsfVersion is the version of OCSF that DetectionFinding follows.
const ocsfVersion = "1.8.0"

// MostEvidence is how many pieces of evidence a DetectionFinding has at most.
const MostEvidence = 100

// DetectionFinding is an alert as an event of OCSF 1.8.0, class Detection Finding, with
// the profiles cloud and incident (https://schema.ocsf.io/1.8.0/classes/detection_finding).
// Times are milliseconds since 1970. A member that ends in _id has its caption in the
// member without that ending, as OCSF wants it; the id 99 means a word that OCSF does
// not have, which then stands in the caption.
type DetectionFinding struct {
	ActivityID   int            `json:"activity_id"` // 1 new, 2 changed, 3 closed
	ActivityName string         `json:"activity_name"`
	CategoryUID  int            `json:"category_uid"`
	CategoryName string         `json:"category_name"`
	ClassUID     int            `json:"class_uid"`
	ClassName    string         `json:"class_name"`
	TypeUID      int            `json:"type_uid"`
	TypeName     string         `json:"type_name"`
	Time         int64          `json:"time"` // when the alert was raised
	StartTime    int64          `json:"start_time"`
	EndTime      int64          `json:"end_time"`
	Count        int            `json:"count"`
	SeverityID   int            `json:"severity_id"`
	Severity     string         `json:"severity"`
	StatusID     int            `json:"status_id"`
	Status       string         `json:"status"`
	StatusCode   string         `json:"status_code"`            // the status in hubwatch's own word
	StatusDetail string         `json:"status_detail,omitzero"` // the reason of the newest change
	ConfidenceID int            `json:"confidence_id,omitzero"`
	Confidence   string         `json:"confidence,omitzero"`
	VerdictID    int            `json:"verdict_id,omitzero"`
	Verdict      string         `json:"verdict,omitzero"`
	IsAlert      bool           `json:"is_alert"` // false for a suppressed alert
	Message      string         `json:"message,omitzero"`
	Metadata     ocsfMetadata   `json:"metadata"`
	FindingInfo  ocsfFinding    `json:"finding_info"`
	Cloud        ocsfCloud      `json:"cloud"`
	Resources    []ocsfResource `json:"resources"`
	Observables  []ocsfObserved `json:"observables,omitempty"`
	Evidences    []ocsfEvidence `json:"evidences,omitempty"`
	Remediation  *ocsfRemedy    `json:"remediation,omitzero"`
	Unmapped     ocsfUnmapped   `json:"unmapped"`
}

type ocsfMetadata struct {
	Version     string      `json:"version"`
	UID         string      `json:"uid"` // of this state of the alert: the same as the id of its CloudEvent
	Product     ocsfProduct `json:"product"`
	Profiles    []string    `json:"profiles"`
	EventCode   string      `json:"event_code"`
	Correlation string      `json:"correlation_uid,omitzero"`
	LoggedTime  int64       `json:"logged_time"`
	Truncated   bool        `json:"is_truncated,omitzero"` // evidence is left out, since there is more than MostEvidence
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version"` // of the program that wrote the document
}

type ocsfFinding struct {
	UID           string       `json:"uid"`     // the reference
	AlternateUID  string       `json:"uid_alt"` // SystemAlertId
	Title         string       `json:"title,omitzero"`
	Desc          string       `json:"desc,omitzero"`
	Types         []string     `json:"types"`
	Analytic      ocsfAnalytic `json:"analytic"`
	FirstSeen     int64        `json:"first_seen_time"`
	LastSeen      int64        `json:"last_seen_time"`
	Created       int64        `json:"created_time"`
	Modified      int64        `json:"modified_time,omitzero"` // of the newest change
	RelatedEvents int          `json:"related_events_count"`
}

type ocsfAnalytic struct {
	Name   string `json:"name"`
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfCloud struct {
	Provider string       `json:"provider"`
	Account  *ocsfAccount `json:"account,omitzero"`
}

type ocsfAccount struct {
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfResource struct {
	UID       string `json:"uid,omitzero"` // id of the Azure resource; a device has none
	Name      string `json:"name"`
	Type      string `json:"type"`
	Namespace string `json:"namespace,omitzero"` // the hub of an entity
}

type ocsfObserved struct {
	Name   string `json:"name"` // where the value stands in the document
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type ocsfEvidence struct {
	UID    string        `json:"uid,omitzero"` // id of the event
	Actor  *ocsfActor    `json:"actor,omitzero"`
	Source *ocsfEndpoint `json:"src_endpoint,omitzero"`
	Data   Evidence      `json:"data"` // without the event itself
}

type ocsfActor struct {
	User ocsfUser `json:"user"`
}

type ocsfUser struct {
	Name   string `json:"name,omitzero"`
	UID    string `json:"uid,omitzero"`
	TypeID int    `json:"type_id,omitzero"`
	Type   string `json:"type,omitzero"`
}

type ocsfEndpoint struct {
	IP string `json:"ip"`
}

type ocsfRemedy struct {
	Desc string `json:"desc"`
}

// ocsfUnmapped are the members of Alert that OCSF has no place for.
type ocsfUnmapped struct {
	Actor                string            `json:"actor,omitzero"`
	ActorObjectID        string            `json:"actorObjectId,omitzero"`
	ActorIPAddress       string            `json:"actorIpAddress,omitzero"`
	LastActorIPAddress   string            `json:"lastActorIpAddress,omitzero"`
	ActorIPAddresses     []string          `json:"actorIpAddresses"`
	MoreActorIPAddresses bool              `json:"moreActorIpAddresses"`
	ExtendedProperties   map[string]string `json:"extendedProperties"`
	Changes              int               `json:"changes"`
	StatusBy             string            `json:"statusBy,omitzero"`
	StatusByObjectID     string            `json:"statusByObjectId,omitzero"`
	SuppressedBy         string            `json:"suppressedBy,omitzero"`
}

// enum is a value of an enumeration of OCSF: its number and its caption.
type enum struct {
	id      int
	caption string
}

// The enumerations of OCSF 1.8.0, by hubwatch's own words
// (https://github.com/ocsf/ocsf-schema/blob/3dcb905d/dictionary.json, and
// events/findings/finding.json there for statuses and activities).
var (
	ocsfSeverities = map[string]enum{
		string(alert.Informational): {1, "Informational"}, string(alert.Low): {2, "Low"},
		string(alert.Medium): {3, "Medium"}, string(alert.High): {4, "High"},
	}
	ocsfStatuses = map[string]enum{
		string(alert.Active): {1, "New"}, string(alert.InProgress): {2, "In Progress"},
		string(alert.Dismissed): {3, "Suppressed"}, string(alert.Resolved): {4, "Resolved"},
	}
	ocsfConfidences = map[string]enum{string(alert.Inferred): {2, "Medium"}, string(alert.Stated): {3, "High"}}
	ocsfVerdicts    = map[string]enum{
		string(alert.FalsePositive): {1, "False Positive"}, string(alert.TruePositive): {2, "True Positive"}, string(alert.Benign): {5, "Benign"},
	}
	ocsfUserTypes = map[string]enum{"User": {1, "User"}, "Application": {4, "Service"}, "ManagedIdentity": {4, "Service"}}
)

// Values of OCSF that are the same for all alerts, or for a kind of observable.
var (
	ocsfCreate, ocsfUpdate, ocsfClose = enum{1, "Create"}, enum{2, "Update"}, enum{3, "Close"}

	ocsfFindings     = enum{2, "Findings"}
	ocsfDetection    = enum{2004, "Detection Finding"}
	ocsfSuppressed   = ocsfStatuses[string(alert.Dismissed)]
	ocsfRule         = enum{1, "Rule"}
	ocsfSubscription = enum{13, "Azure Subscription"}
	ocsfAddress      = enum{2, "IP Address"}
	ocsfUserName     = enum{4, "User Name"}
	ocsfResourceUID  = enum{10, "Resource UID"}
)

// lookup returns the value of OCSF for a word: none for no word, and Other for a word
// that OCSF does not have.
func lookup(values map[string]enum, word string) enum {
	if value, ok := values[word]; ok || word == "" {
		return value
	}
	return enum{99, word}
}

// NewDetectionFinding returns a as an event of OCSF, with the first MostEvidence
// pieces of evidence.
func NewDetectionFinding(a alert.Alert, evidence []alert.Evidence) DetectionFinding {
	activity, severity := ocsfActivity(a), lookup(ocsfSeverities, string(a.Severity))
	status, confidence := lookup(ocsfStatuses, string(a.Status)), lookup(ocsfConfidences, string(a.Confidence))
	verdict := lookup(ocsfVerdicts, string(a.Verdict))
	if a.SuppressedBy != "" {
		status = ocsfSuppressed
	}
	d := NewAlert(a)
	f := DetectionFinding{
		ActivityID: activity.id, ActivityName: activity.caption,
		CategoryUID: ocsfFindings.id, CategoryName: ocsfFindings.caption,
		ClassUID: ocsfDetection.id, ClassName: ocsfDetection.caption,
		TypeUID: ocsfDetection.id*100 + activity.id, TypeName: ocsfDetection.caption + ": " + activity.caption,
		Time: millis(a.Generated), StartTime: millis(a.Start), EndTime: millis(a.End), Count: a.Occurrences,
		SeverityID: severity.id, Severity: severity.caption,
		StatusID: status.id, Status: status.caption, StatusCode: string(a.Status), StatusDetail: a.StatusReason,
		ConfidenceID: confidence.id, Confidence: confidence.caption,
		VerdictID: verdict.id, Verdict: verdict.caption,
		IsAlert: a.SuppressedBy == "",
		Message: a.Message,
		Metadata: ocsfMetadata{
			Version: ocsfVersion, UID: eventID(a), Profiles: []string{"cloud", "incident"},
			Product:   ocsfProduct{Name: product, VendorName: product, Version: version.Version},
			EventCode: a.Type, Correlation: a.CorrelationID, LoggedTime: millis(a.Generated),
		},
		FindingInfo: ocsfFinding{
			UID: d.Reference, AlternateUID: a.ID, Title: a.DisplayName, Desc: a.Message, Types: []string{a.Type},
			Analytic:  newAnalytic(a),
			FirstSeen: millis(a.Start), LastSeen: millis(a.End), Created: millis(a.Generated), Modified: millis(a.StatusTime),
			RelatedEvents: a.Occurrences,
		},
		Cloud:       ocsfCloud{Provider: "Azure"},
		Resources:   ocsfResources(a),
		Observables: ocsfObservables(a),
		Unmapped: ocsfUnmapped{
			Actor: d.Actor, ActorObjectID: d.ActorObjectID, ActorIPAddress: d.ActorIPAddress, LastActorIPAddress: d.LastActorIPAddress,
			ActorIPAddresses: d.ActorIPAddresses, MoreActorIPAddresses: d.MoreActorIPAddresses, ExtendedProperties: d.ExtendedProperties,
			Changes: d.Changes, StatusBy: d.StatusBy, StatusByObjectID: d.StatusByObjectID, SuppressedBy: d.SuppressedBy,
		},
	}
	if a.Hub.SubscriptionID != "" {
		f.Cloud.Account = &ocsfAccount{a.Hub.SubscriptionID, ocsfSubscription.id, ocsfSubscription.caption}
	}
	if a.Remediation != "" {
		f.Remediation = &ocsfRemedy{strings.TrimRight(a.Remediation, "\n")}
	}
	if len(evidence) > MostEvidence {
		evidence, f.Metadata.Truncated = evidence[:MostEvidence], true
	}
	for _, e := range evidence {
		f.Evidences = append(f.Evidences, newOCSFEvidence(e))
	}
	return f
}

// ocsfActivity says what happened to a: it was closed, changed, or else raised.
func ocsfActivity(a alert.Alert) enum {
	switch {
	case a.Status.Closed():
		return ocsfClose
	case a.Changes > 0:
		return ocsfUpdate
	}
	return ocsfCreate
}

// newAnalytic returns the detector as OCSF has it.
func newAnalytic(a alert.Alert) ocsfAnalytic {
	name := cmp.Or(a.Detector, a.Type)
	return ocsfAnalytic{name, name, ocsfRule.id, ocsfRule.caption}
}

// ocsfResources returns the hub, and the entity if that is not the hub.
func ocsfResources(a alert.Alert) []ocsfResource {
	list := []ocsfResource{{UID: a.Hub.ResourceID, Name: a.Hub.Name, Type: string(alert.IoTHub)}}
	if a.Entity.Type != alert.IoTHub && a.Entity.Name != "" {
		list = append(list, ocsfResource{UID: childResource(a), Name: a.Entity.Name, Type: string(a.Entity.Type), Namespace: a.Hub.Name})
	}
	return list
}

// ocsfObservables returns what an analyst searches for: resources, the actor, and
// addresses that are not masked. Each name says where the value stands.
func ocsfObservables(a alert.Alert) []ocsfObserved {
	var list []ocsfObserved
	add := func(name string, kind enum, value string) {
		if value != "" {
			list = append(list, ocsfObserved{name, kind.id, kind.caption, value})
		}
	}
	for _, r := range ocsfResources(a) {
		add("resources[].uid", ocsfResourceUID, r.UID)
	}
	add("unmapped.actor", ocsfUserName, a.Actor)
	for _, address := range addresses(a) {
		name := "unmapped.actorIpAddresses[]"
		switch address {
		case a.ActorIPAddress:
			name = "unmapped.actorIpAddress"
		case a.LastActorIPAddress:
			name = "unmapped.lastActorIpAddress"
		}
		add(name, ocsfAddress, address)
	}
	return list
}

// newOCSFEvidence returns one piece of evidence, without the event itself. Only an
// address that is not masked is an address for OCSF.
func newOCSFEvidence(e alert.Evidence) ocsfEvidence {
	o := ocsfEvidence{UID: e.EventID, Data: NewEvidence(e)}
	o.Data.RawEvent = ""
	if id := e.Properties[actorObjectID]; e.Actor != "" || id != "" {
		kind := ocsfUserTypes[e.Properties[actorType]]
		o.Actor = &ocsfActor{ocsfUser{e.Actor, id, kind.id, kind.caption}}
	}
	if isAddress(e.ActorIPAddress) {
		o.Source = &ocsfEndpoint{e.ActorIPAddress}
	}
	return o
}

// millis returns a time as OCSF has it, in milliseconds since 1970, and 0 for no time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
