package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// DiagnosticSettingDeleted reports an attempt to delete a diagnostic setting of
// an IoT hub, successful or not.
var DiagnosticSettingDeleted = Detector{
	Name:      "DiagnosticSettingDeleted",
	AlertType: "IoT_DiagnosticSettingDeletedFromHub",
	Severity:  alert.Low,
	Title:     "Attempt to delete a diagnostic setting from an IoT Hub detected",
	Description: "Somebody deleted a diagnostic setting of an IoT hub, or tried to. Without it the hub's logs are no " +
		"longer kept, and alerts that are made from them, such as those on failed logins of devices, fall silent.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the deletion was planned.",
		"If it succeeded and was not planned, create the setting again: until then the hub's logs are lost for good.",
		"Make sure that only those who need it may change diagnostic settings, and tell your security team.",
	},
	Limits: "The event does not say what the setting was, nor why an attempt failed. Settings of other resources are " +
		"not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceDeleteSuccess, event.ResourceDeleteFailure},
		Operations:      []string{"Microsoft.Insights/diagnosticSettings/delete", "Microsoft.Devices/IotHubs/diagnosticSettings/delete"},
		SubjectContains: onHub,
	},
	Detect: detectDiagnosticSetting("delete diagnostic setting %q of IoT hub %q"),
}
