package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// DiagnosticSettingDeleted reports an attempt to delete a diagnostic setting of
// an IoT hub, successful or not.
var DiagnosticSettingDeleted = Detector{
	Name:      "DiagnosticSettingDeleted",
	AlertType: "IoT_DiagnosticSettingDeletedFromHub",
	Severity:  alert.Low,
	Title:     "Attempt to delete a diagnostic setting from an IoT Hub detected",
	Description: "Somebody deleted a diagnostic setting of an IoT hub, or tried to. Without the setting, the hub's logs are no " +
		"longer kept. Alerts that are made from the logs, like the alerts on failed logins of devices, then fall silent.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the deletion was planned.",
		"If the deletion succeeded and was not planned, create the setting again. Logs of the time until then are lost for good.",
		"Make sure that only people who need it may change diagnostic settings, and tell your security team.",
	},
	Commands: slices.Concat([]remedy.Command{
		as(remedy.Investigate, listSettings),
	}, investigateOperation, []remedy.Command{
		when("the setting is gone, and nobody planned that", as(remedy.Fix, createSetting)),
		as(remedy.Verify, listSettings),
		as(remedy.Verify, runDoctor),
		as(remedy.Undo, deleteSetting),
	}, stopActor, lockHub),
	Limits: "The event says neither what the setting was, nor why an attempt failed. Settings of other resources are " +
		"not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceDeleteSuccess, event.ResourceDeleteFailure},
		Operations:      []string{"Microsoft.Insights/diagnosticSettings/delete", "Microsoft.Devices/IotHubs/diagnosticSettings/delete"},
		SubjectContains: onHub,
	},
	Detect: detectDiagnosticSetting("delete %s of IoT hub %q"),
}
