package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
	"hubwatch/handlers/verdict"
)

// DeviceTokenExpired reports that a device used a shared access signature that has
// expired.
var DeviceTokenExpired = Detector{
	Name:      "DeviceTokenExpired",
	AlertType: "IoT_Expired_SAS_Token",
	Severity:  alert.Low,
	Title:     "Expired SAS Token",
	Description: "A device, or somebody in its name, used a SAS token that is no longer valid. Perhaps the clock of the device " +
		"is wrong, or its software does not renew the token. Or somebody replays a token that they captured while " +
		"it was valid.",
	Remediation: []string{
		"See whether the device is connected with a valid token at the same time. If so, the attempt was probably made by somebody else.",
		"Compare the address and the SDK version with the usual ones of the device. If the session was taken up from another network, the alert has the address of the " +
			"session that ended (EndedSessionIpAddress), and the log has the other one: docs/connections-log.md has a query for it, under \"Find who took up a session\".",
		"If the attempts go on and the device is healthy, correct the clock of the device, or the renewal of its token. " +
			"A hub compares the expiry of a token with the hub's own clock. A device with a wrong clock makes new tokens that are expired at once, " +
			"also after it was started again; whoever replays a token has one that was valid, and the device itself connects meanwhile.",
		"If it was not the device, generate new keys for it and find out where the token was read.",
	},
	Commands: slices.Concat(investigateConnection, []remedy.Command{
		when(notTheDevice, as(remedy.Fix, renewKey("Renew the secondary key, and move the device to it. The device can use the primary key meanwhile. A renewed key has no undo.", "secondary"))),
		when("the device uses the new secondary key", destructive(as(remedy.Fix, renewKey("Renew the primary key, which somebody else may know. A renewed key has no undo.", "primary")))),
		when(notTheDevice, as(remedy.Fix, renewModuleKey("Renew the secondary key of the module, and move the module to it. A renewed key has no undo.", "secondary"))),
		when("the module uses the new secondary key", destructive(as(remedy.Fix, renewModuleKey("Renew the primary key of the module, which somebody else may know. A renewed key has no undo.", "primary")))),
		as(remedy.Fix, showDeviceETag),
	}, stopDevice, verifyConnection),
	Limits: "Microsoft states that a hub ends an MQTT session with 401003 when its token expires, and that some of its SDKs " +
		"wait for that before they renew the token. Healthy devices with the .NET or Java SDK do so about every hour. So the " +
		"end of a session is an alert only if the device does not connect again in time, or, with RenewalAddress=network, if it " +
		"connects from another network. hubwatch infers everything else: that 401003 on deviceDisconnect means an " +
		"expired token unless the session used X.509, and that a log record repeats the sentence that " +
		"clients see (\"The specified SAS token is expired\"). Only that sentence tells a token that expired before the " +
		"connection from an invalid token. Without that sentence the alert is DeviceTokenInvalid. No record of 401003 is " +
		"public: capture one with a token of two minutes' life, during the session and at a new connection. " +
		"Microsoft says that records can be lost, late or out of order. Set InferredAlerts to false for stated alerts only.",
	On: onConnections(verdict.TokenExpiredType, verdict.ForeignType, verdict.MissingType),
	Detect: func(e event.Event) ([]alert.Finding, error) {
		findings, err := detectExpiry(e)
		for i := range findings {
			if findings[i].Tally.What == string(verdict.Foreign) {
				takenUp(&findings[i])
			}
		}
		return findings, err
	},
}

var detectExpiry = detectConnection(map[verdict.Cause]string{
	verdict.Cause(connection.TokenExpired): "its SAS token is expired",
	verdict.Foreign:                        "its SAS token expired, and its session was taken up from another network",
	verdict.Missing:                        "its SAS token expired, and it did not connect again in time",
})
