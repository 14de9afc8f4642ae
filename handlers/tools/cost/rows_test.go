package cost

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/relay"
	"hubwatch/handlers/verdict"
)

// TestBytesOfARow compares the size of the rows of each scenario with what the relay makes of a
// message with the records of that scenario.
func TestBytesOfARow(t *testing.T) {
	const (
		connected = iota
		expired
		closed
		refused
		ended
	)
	for i, of := range [][]int{
		{expired, closed, connected},
		// 0.5 records of renewals for each 0.01 of refusals.
		append([]int{refused}, slices.Repeat([]int{expired, closed, connected}, 17)[:50]...),
		{refused},
		{ended, connected},
	} {
		s := scenarios[i]
		var records []string
		for n := range recordsInMessage {
			id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n*7_919)
			operation, result, auth := "deviceConnect", `"level":"Information"`, "null"
			switch of[n%len(of)] {
			case expired:
				operation, result = "deviceDisconnect", `"level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized"`
				auth = `"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}"`
			case closed, ended:
				operation, result = "deviceDisconnect", `"level":"Error","resultType":"404104","resultDescription":"DeviceConnectionClosedRemotely"`
			case refused:
				result = `"level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized"`
				auth = `"{\"scope\":\"device\",\"type\":\"x509\",\"issuer\":\"iothub\"}"`
			}
			properties, err := json.Marshal(fmt.Sprintf(`{"deviceId":%q,"sdkVersion":".NET/1.21.2 (.NET 8.0)","protocol":"Mqtt","authType":%s,"maskedIpAddress":"203.0.113.XXX"}`, id, auth))
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, fmt.Sprintf(`{"time":"2026-02-01T10:00:%02dZ","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB","operationName":%q,"category":"Connections",%s,"properties":%s,"location":"westeurope"}`,
				n*60/recordsInMessage, operation, result, properties))
		}
		staging := relay.Stage([][]byte{[]byte(`{"records":[` + strings.Join(records, ",") + `]}`)}, verdict.Defaults(), time.Date(2026, 2, 1, 10, 11, 0, 0, time.UTC))
		if len(staging.Rows) != 1 || len(staging.Unreadable) > 0 {
			t.Fatalf("%s: %d rows, %v", s.Name, len(staging.Rows), staging.Unreadable)
		}
		row := staging.Rows[0]
		size := len(row.Connects) + len(row.Expiries) + len(row.Refusals) + len(row.Records)
		// Text is in UTF-16, and a row has two keys and the id of its hub.
		size += 2 * (len("contoso-hub|02949180") + len(row.Key) + len(row.HubID))
		t.Logf("%s: %d bytes", s.Name, size)
		if math.Abs(float64(size)-s.rowBytes) > 0.05*s.rowBytes {
			t.Errorf("%s: a row has %d bytes, the page assumes %v", s.Name, size, s.rowBytes)
		}
	}
}
