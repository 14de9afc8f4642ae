package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/verdict"
)

// DeviceCertificateMismatch reports that a device used an X.509 certificate with
// another thumbprint than the hub has for the device.
var DeviceCertificateMismatch = Detector{
	Name:      "DeviceCertificateMismatch",
	AlertType: "IoT_Cert_Print_Mismatch",
	Severity:  alert.Medium,
	Title:     "X.509 device certificate thumbprint mismatch",
	Description: "A device, or somebody in its name, used an X.509 certificate. Its thumbprint is neither the primary nor the " +
		"secondary thumbprint that the hub has for the device. Perhaps a renewed certificate was not registered, or " +
		"somebody used a certificate of their own.",
	Remediation: []string{
		"Find out whether the device's certificate was renewed, and register the new thumbprint if it was.",
		"See whether other devices were refused from the same address.",
		"If nobody renewed the certificate, treat the device's identity as under attack: compare the address with the " +
			"device's usual address, and replace the device's certificate if somebody may know its key.",
	},
	Commands: renewThumbprints,
	Limits: "Microsoft states the sentence that clients see (\"Thumbprint does not match configuration\"), and documents 401002 and " +
		"401003 as errors of authorization. hubwatch infers that a log record repeats that sentence. It also infers a wrong " +
		"thumbprint from 401002 or 401003 on deviceConnect with X.509 and without a sentence; the cause may also be an expired " +
		"certificate. hubwatch infers nothing if an authority signed the certificate, since the hub then has no thumbprint. " +
		"If the record does not say how the client authenticated itself, nothing is inferred and there is no alert. No " +
		"record of 401003 is public: capture one with another self-signed certificate, and one with a leaf of an unknown " +
		"certificate authority. Microsoft says that records can be lost, late or out of order. Set InferredAlerts to false " +
		"for stated alerts only.",
	On:     onConnections(verdict.ThumbprintMismatchType),
	Detect: detectConnection(map[verdict.Cause]string{verdict.Cause(connection.ThumbprintMismatch): "the thumbprint of its X.509 certificate does not match"}),
}
