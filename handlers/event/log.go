package event

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/scan"
)

// LogCategories are the categories of the resource logs of an IoT hub, as spelled in the
// member category of a record
// (https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/microsoft-devices-iothubs-logs).
// Some of them have records of failures alone
// (https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#resource-logs).
var LogCategories = []string{
	"Connections", "DeviceTelemetry", "C2DCommands", "DeviceIdentityOperations", "FileUploadOperations",
	"Routes", "D2CTwinOperations", "C2DTwinOperations", "TwinQueries", "JobsOperations", "DirectMethods",
	"DistributedTracing", "Configurations", "DeviceStreams",
}

const logTypePrefix = "hubwatch.iothub.log."

// LogType returns the type of the events that have records of a log category, which the
// relay publishes for the detectors that want them.
func LogType(category string) string { return logTypePrefix + category }

// LogCategory returns the log category of which an event of this type has records, as
// LogCategories spells it, and false for any other type. Letter case does not matter.
func LogCategory(eventType string) (category string, ok bool) {
	if len(eventType) <= len(logTypePrefix) || !strings.EqualFold(eventType[:len(logTypePrefix)], logTypePrefix) {
		return "", false
	}
	for _, category := range LogCategories {
		if strings.EqualFold(category, eventType[len(logTypePrefix):]) {
			return category, true
		}
	}
	return "", false
}

// Filterable returns the operations by which Event Grid can filter the events of these
// types; nil for all. An event of log records has many operations, so there are none for
// it: the relay publishes the records that are wanted.
func Filterable(eventTypes, operations []string) []string {
	for _, of := range eventTypes {
		if _, ok := LogCategory(of); ok {
			return nil
		}
	}
	return operations
}

// Log is what every record of a resource log says of itself, as spelled. All but Category
// may be empty.
type Log struct {
	Category   string // compare regardless of case
	Operation  string // compare regardless of case
	ResourceID string // of the hub; in upper case in all known samples
	stamp      string
}

// Hub returns the IoT hub that the record is of. Its error says what is wrong with the
// record's resource id.
func (l Log) Hub() (ResourceID, error) {
	id, err := ParseResourceID(l.ResourceID)
	if err != nil {
		return id, fmt.Errorf("record: %w", JSONError(err))
	}
	if !id.OnHub() {
		return id, fmt.Errorf("record: resource id %q: %s is not an IoT hub", Shorten(l.ResourceID), Shorten(id.Type))
	}
	return id, nil
}

// Time returns when what the record tells of happened, in UTC. Its error says what is
// wrong with the record's time.
func (l Log) Time() (time.Time, error) {
	t, err := ParseTime(strings.TrimSpace(l.stamp)) // the documented templates begin with a space
	if err != nil {
		return t, fmt.Errorf("record: time: %w", err)
	}
	return t, nil
}

// LogReader reads records of resource logs, one after the other. The zero value is ready
// for use.
type LogReader struct{ doc scan.Doc }

// Read reads what a record, or a row that Log Analytics made of one, says of itself
// (https://learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics).
// What it returns is good until raw changes. Its error says why raw is not a record of a
// resource log; a metric is none.
func (r *LogReader) Read(raw jsontext.Value) (Log, error) {
	var o payload
	if r.doc.Scan(raw, "", MostValues) && r.doc.Root().Kind() == '{' {
		o = payload{scanned: r.doc.Root()}
	} else if kind := raw.Kind(); kind != '{' {
		return Log{}, fmt.Errorf("record: want a JSON object, have %v", kind)
	} else {
		var members scan.Spans
		if err := json.Unmarshal(raw, &members, Lenient); err != nil {
			return Log{}, fmt.Errorf("record: %w", JSONError(err))
		}
		o.members = members.In(raw)
	}
	for _, names := range [...][5]string{
		{"category", "operationName", "resourceId", "time"},
		{"Category", "OperationName", "_ResourceId", "TimeGenerated", "ResourceId"},
	} {
		l := Log{o.text(names[0]), o.text(names[1]), o.text(names[2]), o.text(names[3])}
		if l.ResourceID == "" && names[4] != "" {
			l.ResourceID = o.text(names[4])
		}
		if l.Category != "" {
			return l, nil
		}
	}
	return Log{}, errors.New("record: category: missing or empty")
}

// LogRecord is one record of an event of a type that LogType gives.
type LogRecord struct {
	// ID is a hash of the record: 64 hexadecimal digits in lower case. The same record has
	// the same ID in whatever event it comes.
	ID string
	// Raw is the record as Azure Monitor wrote it, without credentials. Its members are
	// those of its category, and properties is a string that holds an object, or an object.
	Raw  jsontext.Value
	Log             // what Raw says of itself
	Time time.Time  // of the record, UTC
	Hub  ResourceID // as spelled in the record
}

// LogRecords returns the records of an event of a type that LogType gives, in their order.
// Its error says which of them cannot be read, and why; the others stand beside it.
// Whoever publishes to the topic says what stands in the event. So a record that is not of
// the event's hub and category cannot be read, nor can the second of two with the same ID.
func LogRecords(e Event) ([]LogRecord, error) {
	category, ok := LogCategory(e.Type)
	if !ok {
		return nil, fmt.Errorf("type %q: has no log records", Shorten(e.Type))
	}
	source, err := Log{ResourceID: e.Source}.Hub()
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	var data struct {
		Records []struct {
			ID     string    `json:"id"`
			Record scan.Span `json:"record"`
		} `json:"records"`
	}
	if err := json.Unmarshal(e.Data, &data, Lenient); err != nil {
		return nil, fmt.Errorf("data: %w", JSONError(err))
	}
	if len(data.Records) == 0 {
		return nil, errors.New("data: records: missing or empty")
	}
	seen := map[string]bool{}
	records := make([]LogRecord, 0, len(data.Records))
	var first error
	bad := 0
	for i, element := range data.Records {
		r, err := readElement(element.ID, element.Record.In(e.Data), source, category)
		if err == nil && seen[r.ID] {
			err = errors.New("id: stands twice")
		}
		if err == nil {
			seen[r.ID] = true
			records = append(records, r)
			continue
		}
		if bad++; first == nil {
			first = fmt.Errorf("data: records[%d]: %w", i, err)
		}
	}
	if bad > 1 {
		first = fmt.Errorf("%d of %d records cannot be read, the first: %w", bad, len(data.Records), first)
	}
	return records, first
}

// readElement reads the record raw of an event of source and category.
func readElement(id string, raw jsontext.Value, source ResourceID, category string) (r LogRecord, err error) {
	r = LogRecord{ID: id, Raw: raw}
	if !isLogID(r.ID) {
		return r, fmt.Errorf("id: want 64 hexadecimal digits in lower case, have %q", Shorten(r.ID))
	}
	if r.Log, err = new(LogReader).Read(r.Raw); err != nil {
		return r, err
	}
	if !strings.EqualFold(r.Category, category) {
		return r, fmt.Errorf("record: category: %q is not that of the event's type, which is %s", Shorten(r.Category), category)
	}
	if r.Time, err = r.Log.Time(); err != nil {
		return r, err
	}
	if r.Hub, err = r.Log.Hub(); err != nil {
		return r, err
	}
	if !strings.EqualFold(r.Hub.Resource(), source.Resource()) {
		return r, fmt.Errorf("record: resource id %q: is not the source of the event", Shorten(r.ResourceID))
	}
	return r, nil
}

// isLogID reports whether s can be the ID of a LogRecord.
func isLogID(s string) bool {
	return len(s) == hex.EncodedLen(32) && strings.Trim(s, "0123456789abcdef") == ""
}
