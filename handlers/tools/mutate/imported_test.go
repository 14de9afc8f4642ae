package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"hubwatch/handlers/custom"
)

// TestImportedAlertsAreMutated checks that the cases of alerts that an import makes notice
// every change.
func TestImportedAlertsAreMutated(t *testing.T) {
	const hub = `"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/%s/providers/Microsoft.Security/deviceSecurityGroups/%s"`
	rule := func(kind string, low, high int) string {
		return fmt.Sprintf(`{"ruleType": "%sNotInAllowedRange", "isEnabled": true, "minThreshold": %d, "maxThreshold": %d, "timeWindowSize": "PT15M"}`, kind, low, high)
	}
	group := func(of, name string, rules ...string) string {
		id := ""
		if of != "" {
			id = fmt.Sprintf(hub, of, name) + ","
		}
		return fmt.Sprintf(`{%s "name": %q, "properties": {"timeWindowRules": [%s]}}`, id, name, strings.Join(rules, ","))
	}
	for name, groups := range map[string][]string{
		"a range":         {group("contoso-hub", "default", rule("DirectMethodInvokes", 2, 150), rule("UnauthorizedOperations", 0, 5), rule("TwinUpdates", 0, 3))},
		"none":            {group("contoso-hub", "default", rule("DirectMethodInvokes", 0, 0), rule("UnauthorizedOperations", 0, 0), rule("TwinUpdates", 0, 0))},
		"a group":         {group("contoso-hub", "lab", rule("DirectMethodInvokes", 1, 1), rule("UnauthorizedOperations", 3, 4), rule("TwinUpdates", 0, 0))},
		"several hubs":    {group("a", "lab", rule("UnauthorizedOperations", 3, 4)), group("other-hub", "lab", rule("UnauthorizedOperations", 3, 4)), group("c", "lab", rule("UnauthorizedOperations", 3, 4))},
		"all hubs":        {group("", "default", rule("UnauthorizedOperations", 1, 2), rule("TwinUpdates", 0, 101))},
		"a large range":   {group("contoso-hub", "lab", rule("UnauthorizedOperations", 0, 250))},
		"a group, no hub": {group("", "lab", rule("DirectMethodInvokes", 0, 2))},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := custom.Import([]byte("["+strings.Join(groups, ",")+"]"), nil)
			if err != nil || len(in.Alerts) == 0 {
				t.Fatalf("%d alerts, %v", len(in.Alerts), err)
			}
			for _, a := range in.Alerts {
				file := fstest.MapFS{custom.FileName: {Data: custom.Format(a)}}
				loaded, err := custom.Load(fstest.MapFS{"functions/" + a.Name + "/" + custom.FileName: file[custom.FileName]})
				if err != nil {
					t.Fatal(err)
				}
				j, err := judgeRule(loaded[0], file)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range j.survivors {
					t.Errorf("%s, %d to %d: %s: survives: %s > %s", a.Name, a.Count.Min, *a.Count.Max, m.member, m.before, m.after)
				}
			}
		})
	}
}
