package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
)

// DeviceCertificateExpired reports that a device used an X.509 certificate whose
// time is over.
var DeviceCertificateExpired = Detector{
	Name:      "DeviceCertificateExpired",
	AlertType: "IoT_Cert_Expired",
	Severity:  alert.Medium,
	Title:     "X.509 certificate expired",
	Description: "A device, or somebody in its name, used an X.509 certificate that is no longer valid. It may be a device " +
		"whose certificate nobody renewed, which cannot connect until somebody does, or somebody with an old certificate " +
		"and its key.",
	Remediation: []string{
		"See whether the device is connected with a valid certificate at the same time: then the attempt was probably not its own.",
		"If it is the device, renew its certificate, and see which others expire next.",
		"If it is not, find out who had the old certificate's key, and make sure that the hub no longer trusts it.",
	},
	Limits: "A developer of Microsoft states (Azure/iotedge#621) that IoT Hub looks at the validity of a certificate beside its thumbprint. Microsoft publishes no " +
		"sentence that says that one has expired: the phrases that are taken as stated are the plain ones, such as " +
		"\"certificate has expired\". It is inferred from what Microsoft states of tokens that 401003 on deviceDisconnect of a " +
		"session of X.509 means an expired certificate. A certificate that had expired before the connection and is refused " +
		"without such a phrase is reported as DeviceCertificateMismatch, and one that is refused in the TLS handshake may " +
		"leave no record at all. No record of 401003 is public: capture one with an expired self-signed certificate, " +
		"and one with an expired leaf of a certificate authority. Microsoft says that records can be lost, late or out of " +
		"order. Set InferredAlerts to false for stated alerts only.",
	On:     onFailedConnection,
	Detect: detectConnection(connection.CertificateExpired, "its X.509 certificate is expired"),
}
