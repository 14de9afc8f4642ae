package custom

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/event"
)

// client is what a record of a resource log says of a client of the hub, and of what came
// of its request. All may be empty.
type client struct {
	device, module, address       string
	level                         string
	resultType, resultDescription string
	members                       map[string]any // of the record
}

// readRecord returns the members of a record. If properties is a text that holds an
// object, as Azure Monitor writes it, it is that object. So is a text inside the
// properties, as authType is.
func readRecord(raw jsontext.Value) (map[string]any, error) {
	if len(raw) > mostData {
		return nil, fmt.Errorf("record: %d bytes: an expression reads %d at most", len(raw), mostData)
	}
	var members map[string]any
	if err := json.Unmarshal(raw, &members, event.Lenient); err != nil {
		return nil, fmt.Errorf("record: %w", event.JSONError(err))
	}
	properties, ok := inner(members["properties"])
	if !ok {
		return members, nil
	}
	for name, value := range properties {
		if decoded, ok := inner(value); ok {
			properties[name] = decoded
		}
	}
	members["properties"] = properties
	return members, nil
}

// inner returns a value that is an object, or a text that holds one.
func inner(value any) (map[string]any, bool) {
	switch value := value.(type) {
	case map[string]any:
		return value, true
	case string:
		var members map[string]any
		if strings.HasPrefix(strings.TrimSpace(value), "{") && json.Unmarshal([]byte(value), &members, event.Lenient) == nil {
			return members, true
		}
	}
	return nil, false
}

// readClient reads a record of any category. The members of a client stand in properties,
// except in rows that Log Analytics made
// (https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#resource-logs).
func readClient(raw jsontext.Value) (client, error) {
	members, err := readRecord(raw)
	if err != nil {
		return client{}, err
	}
	properties, _ := members["properties"].(map[string]any)
	text := func(names ...string) string {
		for _, in := range []map[string]any{properties, members} {
			for _, name := range names {
				switch value := in[name].(type) {
				case string:
					if value != "" {
						return value
					}
				case float64:
					return fmt.Sprint(value)
				}
			}
		}
		return ""
	}
	return client{
		device: text("deviceId"), module: text("moduleId"), address: text("maskedIpAddress", "callerIpAddress"),
		level: text("level"), resultType: text("resultType"), resultDescription: text("resultDescription"), members: members,
	}, nil
}

// outcome returns what came of the request: failed if the level or the result says so.
func (c client) outcome() string {
	result := strings.ToLower(strings.TrimSpace(c.resultType))
	fine := result == "" || result == "0" || result == "success" || len(result) == 3 && result[0] == '2'
	if strings.EqualFold(c.level, "Error") || !fine {
		return "failed"
	}
	return "succeeded"
}
