package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
)

// DeviceCertificateMismatch reports that a device used an X.509 certificate that
// is not the one its hub knows it by.
var DeviceCertificateMismatch = Detector{
	Name:      "DeviceCertificateMismatch",
	AlertType: "IoT_Cert_Print_Mismatch",
	Severity:  alert.Medium,
	Title:     "X.509 device certificate thumbprint mismatch",
	Description: "A device, or somebody in its name, used an X.509 certificate whose thumbprint is neither of those that the " +
		"hub has for the device. It may be a renewed certificate that was not registered, or somebody with " +
		"a certificate of their own.",
	Remediation: []string{
		"Find out whether the device's certificate was renewed, and register the new thumbprint if it was.",
		"See whether other devices were refused from the same address.",
		"If nobody renewed it, treat the device's identity as under attack: compare its address with the usual one, " +
			"and replace the certificate if its key may be known.",
	},
	Limits: "Microsoft states the sentence that clients see (\"Thumbprint does not match configuration\"), and documents 401002 and " +
		"401003 as errors of authorization. It is inferred that a log record repeats that sentence, and that 401002 or 401003 " +
		"on deviceConnect with X.509 and without any sentence means a wrong thumbprint; it may also be an expired " +
		"certificate. Nothing is inferred of a certificate that an authority signed, which has no thumbprint on the hub. " +
		"If the record does not say how the client authenticated itself, nothing is inferred and there is no alert. No " +
		"record of 401003 is public: capture one with another self-signed certificate, and one with a leaf of an unknown " +
		"certificate authority. Microsoft says that records can be lost, late or out of order. Set InferredAlerts to false " +
		"for stated alerts only.",
	On:     onFailedConnection,
	Detect: detectConnection(connection.ThumbprintMismatch, "the thumbprint of its X.509 certificate does not match"),
}
