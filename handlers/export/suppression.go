package export

import (
	"time"

	"hubwatch/handlers/alert"
)

// Suppression is a suppression as JSON. The names are those of the columns of its row,
// in camel case. A text or a time that is unknown is absent, and so is a condition that
// the suppression does not have.
type Suppression struct {
	ID                string           `json:"id"`
	State             string           `json:"state"`
	Reason            string           `json:"reason"`
	Owner             string           `json:"owner"`
	CreatedBy         string           `json:"createdBy,omitzero"`
	CreatedByObjectID string           `json:"createdByObjectId,omitzero"`
	CreatedUTC        time.Time        `json:"createdUtc"`
	StartsUTC         time.Time        `json:"startsUtc"`
	ExpiresUTC        time.Time        `json:"expiresUtc"`
	AlertType         string           `json:"alertType,omitzero"`
	HubName           string           `json:"hubName,omitzero"`
	EntityType        alert.EntityType `json:"entityType,omitzero"`
	Entity            string           `json:"entity,omitzero"`
	Actor             string           `json:"actor,omitzero"`
	AddressRange      string           `json:"addressRange,omitzero"`
	EndedBy           string           `json:"endedBy,omitzero"`
	EndedByObjectID   string           `json:"endedByObjectId,omitzero"`
	EndedUTC          time.Time        `json:"endedUtc,omitzero"`
	HiddenAlerts      int              `json:"hiddenAlerts"`
	HiddenOccurrences int              `json:"hiddenOccurrences"`
}

// NewSuppression returns a suppression as it is at a time. alerts is how many alerts it
// hides, and occurrences how often these happened.
func NewSuppression(s alert.Suppression, at time.Time, alerts, occurrences int) Suppression {
	document := Suppression{
		ID: s.ID, State: s.State(at), Reason: s.Reason, Owner: s.Owner,
		CreatedBy: s.CreatedBy.Name, CreatedByObjectID: s.CreatedBy.ObjectID, CreatedUTC: s.Created.UTC(),
		StartsUTC: s.Starts.UTC(), ExpiresUTC: s.Expires.UTC(),
		AlertType: s.AlertType, HubName: s.Hub, EntityType: s.EntityType, Entity: s.Entity, Actor: s.Actor,
		EndedBy: s.EndedBy.Name, EndedByObjectID: s.EndedBy.ObjectID, EndedUTC: s.Ended.UTC(),
		HiddenAlerts: alerts, HiddenOccurrences: occurrences,
	}
	if s.Addresses.IsValid() {
		document.AddressRange = s.Addresses.String()
	}
	return document
}
