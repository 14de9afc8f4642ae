package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// DiagnosticSettingChanged reports an attempt to add or edit a diagnostic
// setting of an IoT hub, successful or not.
var DiagnosticSettingChanged = Detector{
	Name:      "DiagnosticSettingChanged",
	AlertType: "IoT_DiagnosticSettingAddedOrEditedOnHub",
	Severity:  alert.Low,
	Title:     "Attempt to add or edit a diagnostic setting of an IoT Hub detected",
	Description: "Somebody added or edited a diagnostic setting of an IoT hub, or tried to. Diagnostic settings say " +
		"which logs of the hub are kept, and where. An edit can send the logs elsewhere, or switch off the category " +
		"that records failed logins of devices.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the change was planned.",
		"Compare the setting with what you deployed: its categories, above all Connections, and its destination.",
		"If the change was not planned, put the setting back, make sure that only people who need it may change " +
			"diagnostic settings, and tell your security team.",
	},
	Commands: slices.Concat([]remedy.Command{
		as(remedy.Investigate, listSettings),
		as(remedy.Investigate, showSetting),
	}, investigateOperation, []remedy.Command{
		when("the setting is not yours", as(remedy.Fix, deleteSetting)),
		when("the setting is yours, and somebody edited it", destructive(as(remedy.Fix, createSetting))),
		as(remedy.Verify, listSettings),
		as(remedy.Verify, runDoctor),
		as(remedy.Undo, createSetting),
	}, stopActor),
	Limits: "The event says neither what the setting was, nor what it is now, nor why an attempt failed. Settings of other resources " +
		"are not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceWriteSuccess, event.ResourceWriteFailure},
		Operations:      []string{"Microsoft.Insights/diagnosticSettings/write", "Microsoft.Devices/IotHubs/diagnosticSettings/write"},
		SubjectContains: onHub,
	},
	Detect: detectDiagnosticSetting("add or edit %s of IoT hub %q"),
}
