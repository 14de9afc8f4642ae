package export

import (
	"cmp"
	"maps"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/alert"
)

// SecurityAlert is an alert with the column names and types of Microsoft's table
// SecurityAlert
// (https://learn.microsoft.com/azure/azure-monitor/reference/tables/securityalert,
// https://learn.microsoft.com/azure/sentinel/security-alert-schema). Microsoft lets
// nobody else write into that table, so a row belongs into a custom table. A column
// that is unknown is absent.
type SecurityAlert struct {
	TimeGenerated        time.Time `json:"TimeGenerated"`
	ProcessingEndTime    time.Time `json:"ProcessingEndTime"`
	StartTime            time.Time `json:"StartTime"`
	EndTime              time.Time `json:"EndTime"`
	SystemAlertID        string    `json:"SystemAlertId"`
	VendorOriginalID     string    `json:"VendorOriginalId"`
	AlertName            string    `json:"AlertName,omitzero"`
	DisplayName          string    `json:"DisplayName,omitzero"` // the same as AlertName: queries use either
	AlertType            string    `json:"AlertType"`
	Description          string    `json:"Description,omitzero"`
	AlertSeverity        string    `json:"AlertSeverity"`            // High, Medium, Low or Informational
	Status               string    `json:"Status"`                   // New, InProgress, Resolved, Dismissed or Unknown
	ConfidenceLevel      string    `json:"ConfidenceLevel,omitzero"` // High or Low
	ProviderName         string    `json:"ProviderName"`
	ProductName          string    `json:"ProductName"`
	ProductComponentName string    `json:"ProductComponentName,omitzero"` // the detector
	VendorName           string    `json:"VendorName"`
	CompromisedEntity    string    `json:"CompromisedEntity,omitzero"`
	ResourceID           string    `json:"ResourceId,omitzero"` // of the hub
	Entities             string    `json:"Entities"`            // a JSON array, see sentinelEntity
	RemediationSteps     string    `json:"RemediationSteps"`    // a JSON array of texts
	ExtendedProperties   string    `json:"ExtendedProperties"`  // a JSON object of texts
}

// sentinelEntity is an Entity with the names that Sentinel's tables have.
type sentinelEntity struct {
	Type       string          `json:"Type"`
	ResourceID string          `json:"ResourceId,omitzero"`
	DeviceID   string          `json:"DeviceId,omitzero"`
	ModuleID   string          `json:"ModuleId,omitzero"`
	IoTHub     *sentinelEntity `json:"IoTHub,omitzero"`
	Name       string          `json:"Name,omitzero"`
	UPNSuffix  string          `json:"UPNSuffix,omitzero"`
	AadUserID  string          `json:"AadUserId,omitzero"`
	Address    string          `json:"Address,omitzero"`
}

// newSentinelEntity returns e with the names that Sentinel's tables have.
func newSentinelEntity(e Entity) sentinelEntity {
	s := sentinelEntity{
		Type: e.Type, ResourceID: e.ResourceID, DeviceID: e.DeviceID, ModuleID: e.ModuleID,
		Name: e.Name, UPNSuffix: e.UPNSuffix, AadUserID: e.AadUserID, Address: e.Address,
	}
	if e.IoTHub != nil {
		hub := newSentinelEntity(*e.IoTHub)
		s.IoTHub = &hub
	}
	return s
}

var (
	// sentinelStatuses are the words of the column Status. Active is New.
	sentinelStatuses = map[alert.Status]string{
		alert.Active: "New", alert.InProgress: "InProgress", alert.Resolved: "Resolved", alert.Dismissed: "Dismissed",
	}
	// sentinelConfidences are the words of the column ConfidenceLevel. Microsoft's
	// scale has no word between High and Low
	// (https://learn.microsoft.com/dotnet/api/azure.resourcemanager.securityinsights.models.securityinsightsalertconfidencelevel).
	sentinelConfidences = map[alert.Confidence]string{alert.Stated: "High", alert.Inferred: "Low"}
)

// NewSecurityAlert returns a as a row of Microsoft's table SecurityAlert. A suppressed
// alert is Dismissed. The error is one of JSON, which no alert is known to make.
func NewSecurityAlert(a Alert) (SecurityAlert, error) {
	status := cmp.Or(sentinelStatuses[a.Status], "Unknown")
	if a.SuppressedBy != "" {
		status = sentinelStatuses[alert.Dismissed]
	}
	s := SecurityAlert{
		TimeGenerated:        a.TimeGenerated,
		ProcessingEndTime:    a.TimeGenerated,
		StartTime:            a.StartTime,
		EndTime:              a.EndTime,
		SystemAlertID:        a.SystemAlertID,
		VendorOriginalID:     a.SystemAlertID,
		AlertName:            a.AlertDisplayName,
		DisplayName:          a.AlertDisplayName,
		AlertType:            a.AlertType,
		Description:          a.Description,
		AlertSeverity:        string(a.Severity),
		Status:               status,
		ConfidenceLevel:      sentinelConfidences[a.Confidence],
		ProviderName:         a.ProductName,
		ProductName:          a.ProductName,
		ProductComponentName: a.Detector,
		VendorName:           a.VendorName,
		CompromisedEntity:    a.CompromisedEntity,
		ResourceID:           a.ResourceID,
	}
	list := []sentinelEntity{}
	for _, e := range a.Entities {
		list = append(list, newSentinelEntity(e))
	}
	for _, column := range []struct {
		text  *string
		value any
	}{{&s.Entities, list}, {&s.RemediationSteps, a.RemediationSteps}, {&s.ExtendedProperties, sentinelProperties(a)}} {
		var err error
		if *column.text, err = document(column.value); err != nil {
			return SecurityAlert{}, err
		}
	}
	return s, nil
}

// sentinelProperties returns the properties of a and what has no column of its own.
// Microsoft's sample queries for IoT Hub read DeviceId
// (https://learn.microsoft.com/azure/defender-for-iot/device-builders/how-to-security-data-access).
func sentinelProperties(a Alert) map[string]string {
	device, module := deviceAndModule(alert.Entity{Type: a.EntityType, Name: a.CompromisedEntity})
	own := map[string]string{
		"Reference":        a.Reference,
		"HubName":          a.HubName,
		"SubscriptionId":   a.SubscriptionID,
		"EntityType":       string(a.EntityType),
		"DeviceId":         device,
		"ModuleId":         module,
		"Actor":            a.Actor,
		"ActorIpAddress":   a.ActorIPAddress,
		"CorrelationId":    a.CorrelationID,
		"Confidence":       string(a.Confidence),
		"Occurrences":      strconv.Itoa(a.Occurrences),
		"Changes":          strconv.Itoa(a.Changes),
		"OriginalStatus":   string(a.Status),
		"StatusReason":     a.StatusReason,
		"StatusBy":         a.StatusBy,
		"StatusByObjectId": a.StatusByObjectID,
		"Verdict":          string(a.Verdict),
		"SuppressedBy":     a.SuppressedBy,

		"LastActorIpAddress":   a.LastActorIPAddress,
		"ActorIpAddresses":     strings.Join(a.ActorIPAddresses, ", "),
		"MoreActorIpAddresses": strconv.FormatBool(a.MoreActorIPAddresses),
	}
	if !a.StatusTime.IsZero() {
		own["StatusTimeUtc"] = a.StatusTime.UTC().Format(time.RFC3339Nano)
	}
	maps.DeleteFunc(own, func(_, value string) bool { return value == "" })
	all := maps.Clone(a.ExtendedProperties)
	if all == nil {
		return own
	}
	maps.Copy(all, own)
	return all
}
