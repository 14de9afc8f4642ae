package detector

import (
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
)

// TestConnectionEntity checks that two identities never have one name.
func TestConnectionEntity(t *testing.T) {
	ids := []string{"a", "A", "b", "a/b", "a/", "/b", "/", `\`, `a\`, `\b`, `a\/b`, `\/`, "a#?%'b", "ü"}
	seen := map[alert.Entity]connection.Record{}
	if e := connectionEntity(connection.Record{ModuleID: "m"}, "contoso-hub"); e != (alert.Entity{Type: alert.IoTHub, Name: "contoso-hub"}) {
		t.Errorf("without a device the entity is %+v, want the hub", e)
	}
	for _, device := range append([]string{"contoso-hub"}, ids...) {
		for _, module := range append([]string{""}, ids...) {
			r := connection.Record{DeviceID: device, ModuleID: module}
			e := connectionEntity(r, "contoso-hub")
			if e.Type == alert.IoTHub {
				t.Errorf("%q, %q is taken for the hub", device, module)
			}
			if other, ok := seen[e]; ok {
				t.Errorf("%+v names both %q, %q and %q, %q", e, device, module, other.DeviceID, other.ModuleID)
			}
			seen[e] = r
		}
	}
}

// TestExpiredTokens checks that alert.Course calls refusals with an expired token as their
// tallies do.
func TestExpiredTokens(t *testing.T) {
	if string(connection.TokenExpired) != alert.ExpiredTokens {
		t.Errorf("%q is called %q", connection.TokenExpired, alert.ExpiredTokens)
	}
}
