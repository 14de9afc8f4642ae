package detector

import (
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// hubDiagnosticSetting is a diagnostic setting of an IoT hub: an extension
// resource of Microsoft.Insights on the hub, which the hub's own provider lists
// as a child of it too
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices).
var hubDiagnosticSetting = target{
	entity: alert.DiagnosticSetting,
	types:  []string{"Microsoft.Insights/diagnosticSettings", "diagnosticSettings"},
	what:   "a diagnostic setting of an IoT hub",
}

// detectDiagnosticSetting returns a Detect that reports every event as an
// attempt to do what, words with the setting's name and the hub's, and its
// outcome. Attempts count whether they succeed or not, as in Microsoft's own
// text of these alerts ("There was ... attempt to add or edit diagnostic setting").
func detectDiagnosticSetting(what string) func(event.Event) ([]alert.Finding, error) {
	return func(e event.Event) ([]alert.Finding, error) {
		o, err := hubDiagnosticSetting.decode(e)
		if err != nil {
			return nil, err
		}
		result := event.Outcome(e.Type)
		message := fmt.Sprintf("An attempt to "+what+" %s; it was made", o.entity.Name, o.hub.Name, result)
		return o.finding(message, map[string]string{"Outcome": result}), nil
	}
}
