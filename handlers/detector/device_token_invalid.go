package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/verdict"
)

// DeviceTokenInvalid reports that a device used a shared access signature that was
// made with neither of its keys.
var DeviceTokenInvalid = Detector{
	Name:      "DeviceTokenInvalid",
	AlertType: "IoT_Invalid_SAS_Token",
	Severity:  alert.Low,
	Title:     "Invalid SAS token signature",
	Description: "A device, or somebody in its name, used a SAS token that was signed with neither its primary nor its " +
		"secondary key. The device may have an old key, or somebody guesses.",
	Remediation: []string{
		"Find out whether the keys of the device were changed, and whether the device has the new ones.",
		"See whether other devices were refused from the same address. Many devices from one address are an attack.",
		"If the device is healthy and connected, the attempt was probably made by somebody else: allow only the networks of your devices in the hub's IP filter.",
	},
	Commands: slices.Concat(investigateConnection, []remedy.Command{
		as(remedy.Fix, showDeviceETag),
	}, stopDevice, []remedy.Command{
		when(leaked, destructive(as(remedy.Fix, renewKey("Renew both keys of the device and of its modules. They cannot connect until they have the new keys. A renewed key has no undo.",
			"both", text("include-modules", "true"))))),
		when(leaked, destructive(as(remedy.Fix, renewModuleKey("Renew both keys of the module. It cannot connect until it has a new key. A renewed key has no undo.", "both")))),
	}, verifyConnection),
	Limits: "Microsoft states the sentence that clients see (\"The specified SAS token has an invalid signature. It does not match " +
		"either the primary or secondary key.\"), and documents 401002 and 401003 as errors of authorization. hubwatch infers that a " +
		"log record repeats that sentence. It also infers an invalid signature from 401002 or 401003 on deviceConnect with a " +
		"SAS token and without that sentence. The cause may also be an expired token, a device that does not exist, or " +
		"a policy that does not allow the connection. If the record does not say how the client authenticated " +
		"itself, nothing is inferred and there is no alert. No record of 401003 is public: capture one with a wrong key, " +
		"and one with an unknown device id. Microsoft says that records can be lost, late or out of order. " +
		"Set InferredAlerts to false for stated alerts only.",
	On:     onConnections(verdict.TokenInvalidType),
	Detect: detectConnection(map[verdict.Cause]string{verdict.Cause(connection.TokenInvalid): "its SAS token is invalid"}),
}
