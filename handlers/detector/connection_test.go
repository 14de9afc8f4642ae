package detector

import (
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
)

// TestConnectionEntity holds that two identities never have one name.
func TestConnectionEntity(t *testing.T) {
	ids := []string{"a", "A", "b", "a/b", "a/", "/b", "/", `\`, `a\`, `\b`, `a\/b`, `\/`, "a#?%'b", "ü"}
	seen := map[alert.Entity]connection.Record{}
	for _, device := range ids {
		for _, module := range append([]string{""}, ids...) {
			r := connection.Record{DeviceID: device, ModuleID: module}
			e := connectionEntity(r)
			if other, ok := seen[e]; ok {
				t.Errorf("%+v names both %q, %q and %q, %q", e, device, module, other.DeviceID, other.ModuleID)
			}
			seen[e] = r
		}
	}
}
