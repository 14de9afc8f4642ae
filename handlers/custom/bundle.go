package custom

import (
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
)

// packed is what make generate has packed: the alerts that are deployed.
//
//go:embed alerts.json
var packed []byte

// entry is an alert in the file of all that are packed.
type entry struct {
	Name  string `json:"name"`
	Alert Alert  `json:"alert"`
}

// Pack returns the file of the alerts that are enabled: without their cases and comments, and with the
// devices of the files of their groups. The file is packed into every program, so that all
// know the same alerts.
func Pack(alerts []Alert) []byte {
	entries := []entry{}
	for _, a := range alerts {
		if !a.Enabled {
			continue
		}
		a.Cases, a.Schema, a.Comment, a.On.Comment = nil, "", nil, nil
		if a.Count != nil {
			count := *a.Count
			count.Comment = nil
			a.Count = &count
		}
		if a.Group != nil {
			group := *a.Group
			group.Devices, group.File, group.Comment = slices.Concat(group.Devices, group.listed), "", nil
			a.Group = &group
		}
		entries = append(entries, entry{a.Name, a})
	}
	return indent(entries)
}

// Packed returns the alerts that are packed into this program, by name, without their
// cases.
var Packed = sync.OnceValue(func() []Alert {
	alerts, err := unpack(packed)
	if err != nil { // make generate has written the file, and a test reads it
		panic(fmt.Errorf("alerts.json: %w", err))
	}
	return alerts
})

// unpack reads a file of Pack.
func unpack(text []byte) ([]Alert, error) {
	var entries []entry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, err
	}
	var alerts []Alert
	for _, e := range entries {
		a := e.Alert
		a.Name = e.Name
		if a.Count != nil {
			rule, err := a.newRule()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
			a.rule = rule
		}
		alerts = append(alerts, a)
	}
	return alerts, nil
}
