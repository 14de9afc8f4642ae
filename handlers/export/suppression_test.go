package export

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// TestSuppression writes a suppression that has everything, and one that has little.
func TestSuppression(t *testing.T) {
	starts := time.Date(2026, 2, 1, 9, 0, 0, 0, time.FixedZone("CET", 3600))
	least := alert.Suppression{ID: "3f2a9c04", Reason: "rotation", Owner: "team-pki", Created: starts, Starts: starts, Expires: starts.Add(time.Hour), Hub: "contoso-hub"}
	most := least
	most.CreatedBy, most.EndedBy = alert.Person{Name: "alice@contoso.example", ObjectID: "a1"}, alert.Person{Name: "bob@contoso.example", ObjectID: "b2"}
	most.AlertType, most.EntityType, most.Entity, most.Actor = "IoT_Expired_SAS_Token", alert.Device, "lab-\u202e*", "pipeline@contoso.example"
	most.Addresses, most.Ended = netip.MustParsePrefix("203.0.113.0/24"), starts.Add(time.Minute)
	for name, test := range map[string]struct {
		s    alert.Suppression
		want string
	}{
		"the most": {most, `{
  "id": "3f2a9c04",
  "state": "ended",
  "reason": "rotation",
  "owner": "team-pki",
  "createdBy": "alice@contoso.example",
  "createdByObjectId": "a1",
  "createdUtc": "2026-02-01T08:00:00Z",
  "startsUtc": "2026-02-01T08:00:00Z",
  "expiresUtc": "2026-02-01T09:00:00Z",
  "alertType": "IoT_Expired_SAS_Token",
  "hubName": "contoso-hub",
  "entityType": "Device",
  "entity": "lab-\u202e*",
  "actor": "pipeline@contoso.example",
  "addressRange": "203.0.113.0/24",
  "endedBy": "bob@contoso.example",
  "endedByObjectId": "b2",
  "endedUtc": "2026-02-01T08:01:00Z",
  "hiddenAlerts": 2,
  "hiddenOccurrences": 3
}
`},
		"the least": {least, `{
  "id": "3f2a9c04",
  "state": "active",
  "reason": "rotation",
  "owner": "team-pki",
  "createdUtc": "2026-02-01T08:00:00Z",
  "startsUtc": "2026-02-01T08:00:00Z",
  "expiresUtc": "2026-02-01T09:00:00Z",
  "hubName": "contoso-hub",
  "hiddenAlerts": 2,
  "hiddenOccurrences": 3
}
`},
	} {
		if diff := cmp.Diff(test.want, written(t, NewSuppression(test.s, starts.Add(2*time.Minute), 2, 3))); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}
