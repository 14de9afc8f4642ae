package detector

import (
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// hubDiagnosticSetting is a diagnostic setting of an IoT hub. It is an extension
// resource of Microsoft.Insights on the hub. The hub's own provider lists it as a
// child of the hub too
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices).
var hubDiagnosticSetting = target{
	entity: alert.DiagnosticSetting,
	types:  []string{"Microsoft.Insights/diagnosticSettings", "diagnosticSettings"},
	noun:   "a diagnostic setting",
	what:   "a diagnostic setting of an IoT hub",
}

// detectDiagnosticSetting returns a Detect that reports every event as an attempt,
// with its outcome. what is the format of what was attempted: the first verb is the
// setting, the second the name of the hub. An attempt counts whether it
// succeeds or not, as in Microsoft's own text of these alerts ("There was ... attempt to add or edit diagnostic setting").
func detectDiagnosticSetting(what string) func(event.Event) ([]alert.Finding, error) {
	return func(e event.Event) ([]alert.Finding, error) {
		o, err := hubDiagnosticSetting.decode(e)
		result := event.Outcome(e.Type)
		message := fmt.Sprintf("an attempt to "+what+" %s; it was made", o.thing, o.hub.Name, result)
		return o.finding(message, map[string]string{"Outcome": result}), err
	}
}
