package detector_test

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/detector"
)

// A detector needs nothing but an event, as Event Grid delivers it.
func ExampleDetector_Judge() {
	v := detector.CertificateDeleted.Judge(jsontext.Value(`{
		"id": "00000000-0000-0000-0000-000000000001",
		"eventType": "Microsoft.Resources.ResourceDeleteSuccess",
		"eventTime": "2026-02-01T08:00:02Z",
		"subject": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub/certificates/root-ca",
		"data": {"operationName": "Microsoft.Devices/IotHubs/certificates/delete", "claims": {"name": "alice@contoso.example"}}
	}`))
	fmt.Println(v.Matched, v.Err)
	for _, o := range v.Occurrences {
		fmt.Println(o.Severity, o.Type)
		fmt.Println(o.Message)
	}
	// Output:
	// true <nil>
	// Medium IoT_CertificateSuccessfullyDeletedFromHub
	// Certificate "root-ca" was deleted from IoT hub "contoso-hub" by alice@contoso.example.
}
