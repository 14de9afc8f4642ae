package event

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/secret"
)

const (
	logRecord = `{"time":"2026-02-01T10:00:00Z","resourceId":"` + hubTopic + `","operationName":"endpointUnhealthy","category":"Routes",` +
		`"level":"Error","properties":"{\"deviceId\":null,\"endpointName\":\"anon-sb-1\",\"statusCode\":\"403\"}","location":"westus"}`
	// logRow is the same record as Log Analytics has it.
	logRow = `{"TimeGenerated":"2026-02-01T10:00:00Z","_ResourceId":"` + hubTopic + `","OperationName":"endpointUnhealthy","Category":"Routes","properties_s":"{}"}`
)

func logID(n int) string { return fmt.Sprintf("%064x", n) }

// logEvent returns an event with records of the category Routes.
func logEvent(t *testing.T, records ...string) Event {
	t.Helper()
	var elements []string
	for i, r := range records {
		elements = append(elements, fmt.Sprintf(`{"id":%q,"record":%s}`, logID(i), r))
	}
	return decoded(t, `{"specversion":"1.0","id":"1","type":"hubwatch.iothub.log.Routes","source":"`+hubTopic+`","subject":"logs/Routes",`+
		`"time":"2026-02-01T10:00:00Z","data":{"records":[`+strings.Join(elements, ",")+`]}}`)
}

func decoded(t *testing.T, raw string) Event {
	t.Helper()
	e, err := Decode(jsontext.Value(raw))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLogTypes(t *testing.T) {
	for _, category := range LogCategories {
		if got, ok := LogCategory(strings.ToUpper(LogType(category))); !ok || got != category {
			t.Errorf("%s: %q, %v", LogType(category), got, ok)
		}
	}
	for _, other := range []string{"", "hubwatch.iothub.log.", "hubwatch.iothub.log.Gossip", "hubwatch.iothub.connection.failed", DeviceCreated, "routes"} {
		if got, ok := LogCategory(other); ok {
			t.Errorf("%q is said to have records of %s", other, got)
		}
	}
}

func TestLogRecords(t *testing.T) {
	records, err := LogRecords(logEvent(t, logRecord, logRow, strings.Replace(logRecord, `"time":"`, `"time":" `, 1), strings.Replace(logRecord, hubTopic, hubID, 1)))
	if err != nil || len(records) != 4 {
		t.Fatalf("%d records, error %v", len(records), err)
	}
	for i, r := range records {
		if r.ID != logID(i) || r.Operation != "endpointUnhealthy" || !r.Time.Equal(time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)) || !strings.EqualFold(r.Hub.Name, "contoso-hub") {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if string(records[0].Raw) != logRecord {
		t.Errorf("the record is not as it came: %s", records[0].Raw)
	}
}

// TestLogRecordsApart checks that a record that cannot be read does not keep the others.
func TestLogRecordsApart(t *testing.T) {
	for want, wrong := range map[string]string{
		`record: want a JSON object, have number`:                                          `7`,
		`record: category: missing or empty`:                                               strings.Replace(logRecord, "Routes", "", 1),
		`record: category: "Connections" is not that of the event's type, which is Routes`: strings.Replace(logRecord, "Routes", "Connections", 1),
		`record: time: missing or empty`:                                                   strings.Replace(logRecord, "2026-02-01T10:00:00Z", "", 1),
		`record: resource id "": does not begin with /`:                                    strings.Replace(logRecord, hubTopic, "", 1),
		`is not the source of the event`:                                                   strings.Replace(logRecord, "CONTOSO-HUB", "OTHER-HUB", 1),
		`is not an IoT hub`:                                                                strings.Replace(logRecord, "IOTHUBS", "PROVISIONINGSERVICES", 1),
	} {
		records, err := LogRecords(logEvent(t, logRecord, wrong, logRow))
		if len(records) != 2 || err == nil || !strings.HasPrefix(err.Error(), "data: records[1]: record: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("want 2 records and the error %s, have %d and %v", want, len(records), err)
		}
	}
	if records, err := LogRecords(logEvent(t, "7", logRecord, `"x"`)); len(records) != 1 || err == nil || !strings.HasPrefix(err.Error(), "2 of 3 records cannot be read, the first: data: records[0]: ") {
		t.Errorf("%d records, error %v", len(records), err)
	}
}

func TestLogRecordsErrors(t *testing.T) {
	good := string(logEvent(t, logRecord, logRow).Raw)
	for want, raw := range map[string]string{
		`type "hubwatch.iothub.log.Gossip": has no log records`:       strings.Replace(good, "log.Routes", "log.Gossip", 1),
		`source: record: resource id "/hub": ends before the name`:    strings.Replace(good, `"source":"`+hubTopic, `"source":"/hub`, 1),
		`data: records: missing or empty`:                             strings.Replace(good, `"records"`, `"record"`, 1),
		`data: json: cannot unmarshal`:                                strings.Replace(good, `"records":[`, `"records":[7,`, 1),
		`data: records[1]: id: stands twice`:                          strings.Replace(good, logID(1), logID(0), 1),
		`data: records[1]: id: want 64 hexadecimal digits in lower`:   strings.Replace(good, logID(1), strings.Repeat("A", 64), 1),
		`data: records[0]: id: want 64 hexadecimal digits in lower c`: strings.Replace(good, logID(0), "0", 1),
	} {
		if _, err := LogRecords(decoded(t, raw)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want the error %s, have %v", want, err)
		}
	}
}

// TestLogRecordsInQuarantine checks that an event of records can be read after it was in
// the quarantine, which takes out credentials.
func TestLogRecordsInQuarantine(t *testing.T) {
	const sas = "SharedAccessSignature sr=contoso&sig=Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE%3D&se=1"
	e := logEvent(t, logRecord, strings.Replace(logRecord, "anon-sb-1", sas, 1))
	raw := strings.ReplaceAll(string(e.Raw), logID(0), "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")
	kept := secret.Document([]byte(raw), Named)
	if strings.Contains(string(kept), "Zm9v") {
		t.Errorf("a credential is kept: %s", kept)
	}
	records, err := LogRecords(decoded(t, string(kept)))
	if err != nil || len(records) != 2 || !strings.HasPrefix(records[0].ID, "0011223344") {
		t.Errorf("%d records, error %v", len(records), err)
	}
}
