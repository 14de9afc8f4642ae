package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/verdict"
)

// DeviceCertificateExpired reports that a device used an X.509 certificate that has
// expired.
var DeviceCertificateExpired = Detector{
	Name:      "DeviceCertificateExpired",
	AlertType: "IoT_Cert_Expired",
	Severity:  alert.Medium,
	Title:     "X.509 certificate expired",
	Description: "A device, or somebody in its name, used an X.509 certificate that is no longer valid. Perhaps nobody renewed " +
		"the certificate of a device: the device cannot connect until somebody does. Or somebody has an old certificate " +
		"and its key.",
	Remediation: []string{
		"See whether the device is connected with a valid certificate at the same time. If so, the attempt was probably made by somebody else.",
		"If it was the device, renew its certificate, and see which other certificates expire next.",
		"If it was not the device, find out who had the key of the old certificate, and make sure that the hub no longer trusts that certificate.",
	},
	Commands: renewThumbprints,
	Limits: "A developer of Microsoft states (Azure/iotedge#621) that IoT Hub checks the validity of a certificate besides its thumbprint. Microsoft publishes no " +
		"sentence that says that a certificate has expired. hubwatch takes plain phrases as stated, for example " +
		"\"certificate has expired\". It infers an expired certificate from 401003 on deviceDisconnect of a session that used X.509, " +
		"because Microsoft states the same of tokens. A certificate that expired before the connection, and is refused " +
		"without a phrase, is reported as DeviceCertificateMismatch. A certificate that is refused in the TLS handshake may " +
		"leave no record. No record of 401003 is public: capture one with an expired self-signed certificate, " +
		"and one with an expired leaf of a certificate authority. Microsoft says that records can be lost, late or out of " +
		"order. Set InferredAlerts to false for stated alerts only.",
	On:     onConnections(verdict.CertificateExpiredType),
	Detect: detectConnection(map[verdict.Cause]string{verdict.Cause(connection.CertificateExpired): "its X.509 certificate is expired"}),
}
