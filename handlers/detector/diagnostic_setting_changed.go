package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// DiagnosticSettingChanged reports an attempt to add or edit a diagnostic
// setting of an IoT hub, successful or not.
var DiagnosticSettingChanged = Detector{
	Name:      "DiagnosticSettingChanged",
	AlertType: "IoT_DiagnosticSettingAddedOrEditedOnHub",
	Severity:  alert.Low,
	Title:     "Attempt to add or edit a diagnostic setting of an IoT Hub detected",
	Description: "Somebody added or edited a diagnostic setting of an IoT hub, or tried to. Diagnostic settings say " +
		"which of the hub's logs are kept and where: an edit can send them elsewhere, or switch off the very " +
		"category in which failed logins of devices are recorded.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the change was planned.",
		"Compare the setting with the one you deployed: its categories, above all Connections, and its destination.",
		"If it was not planned, put the setting back, make sure that only those who need it may change diagnostic " +
			"settings, and tell your security team.",
	},
	Limits: "The event does not say what the setting was or is, nor why an attempt failed. Settings of other resources " +
		"are not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceWriteSuccess, event.ResourceWriteFailure},
		Operations:      []string{"Microsoft.Insights/diagnosticSettings/write", "Microsoft.Devices/IotHubs/diagnosticSettings/write"},
		SubjectContains: onHub,
	},
	Detect: detectDiagnosticSetting("add or edit diagnostic setting %q of IoT hub %q"),
}
