package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
)

// DeviceTokenExpired reports that a device used a shared access signature whose
// time is over.
var DeviceTokenExpired = Detector{
	Name:      "DeviceTokenExpired",
	AlertType: "IoT_Expired_SAS_Token",
	Severity:  alert.Low,
	Title:     "Expired SAS Token",
	Description: "A device, or somebody in its name, used a SAS token that is no longer valid. It may be a device whose " +
		"clock is wrong or whose software does not renew its token, or somebody who replays a token that was " +
		"captured while it was valid.",
	Remediation: []string{
		"See whether the device is connected with a valid token at the same time: then the attempt was probably not its own.",
		"Compare the address and the SDK version with those the device usually has.",
		"If the attempts go on and the device is healthy, correct its clock, since a hub refuses tokens by its own time, " +
			"or the renewal of its token.",
		"If it was not the device, generate new keys for it and find out where the token was read.",
	},
	Limits: "Microsoft states that a hub ends an MQTT session with 401003 when its token expires, and that some of its SDKs " +
		"wait for that to renew the token: healthy devices with the .NET or Java SDK do so every hour or so, which " +
		"makes one alert per device and day. Everything else is inferred: that 401003 on deviceDisconnect means an " +
		"expired token unless the session was one of X.509, and that a log record repeats the sentence that " +
		"clients see (\"The specified SAS token is expired\"). A token that had expired before the connection is told from " +
		"an invalid one by that sentence alone; without it the alert is DeviceTokenInvalid. No record of 401003 is " +
		"public: capture one with a token of two minutes' life, during the session and at a new connection. " +
		"Microsoft says that records can be lost, late or out of order. Set InferredAlerts to false for stated alerts only.",
	On:     onFailedConnection,
	Detect: detectConnection(connection.TokenExpired, "its SAS token is expired"),
}
