package event_test

import (
	"fmt"

	"hubwatch/handlers/event"
)

func ExampleParseResourceID() {
	id, err := event.ParseResourceID("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/" +
		"providers/Microsoft.Devices/IotHubs/contoso-hub/certificates/root-ca")
	fmt.Println(id.OnHub(), id.Name, id.ChildType, id.ChildName, err)
	// Output: true contoso-hub certificates root-ca <nil>
}
