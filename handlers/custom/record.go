package custom

import (
	"errors"
	"fmt"
	"strings"

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
	if err := readable(raw); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	value, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("record: %w", event.JSONError(err))
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("record: want an object")
	}
	properties, err := inner(members["properties"])
	if properties == nil || err != nil {
		return members, err
	}
	for name, value := range properties {
		decoded, err := inner(value)
		if err != nil {
			return nil, err
		}
		if decoded != nil {
			properties[name] = decoded
		}
	}
	members["properties"] = properties
	return members, nil
}

// inner returns the members of a value that is an object, or a text that holds one; nil for any
// other value.
func inner(value any) (members map[string]any, err error) {
	switch value := value.(type) {
	case map[string]any:
		return value, nil
	case string:
		if !strings.HasPrefix(strings.TrimSpace(value), "{") {
			return nil, nil
		}
		if err := readable([]byte(value)); err != nil {
			return nil, fmt.Errorf("properties of the record: %w", err)
		}
		decoded, _ := decode([]byte(value))
		members, _ = decoded.(map[string]any)
	}
	return members, nil
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
				case int64, float64:
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
