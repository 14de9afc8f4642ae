package alert_test

import (
	"fmt"

	"hubwatch/handlers/alert"
)

// A reference says where an alert is kept. Its parts may be pasted in any case.
func ExampleParseRef() {
	ref, err := alert.ParseRef("contoso-hub/2026-02-01/0F6D2C0A-93A4-8D0E-9A52-000000000001")
	fmt.Println(ref.Hub, ref.Day.Weekday(), ref.ID, err)
	// Output: contoso-hub Sunday 0f6d2c0a-93a4-8d0e-9a52-000000000001 <nil>
}
