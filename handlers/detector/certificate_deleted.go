package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// CertificateDeleted reports that a certificate was deleted from an IoT hub. The
// devices that it signed can no longer connect.
var CertificateDeleted = Detector{
	Name:      "CertificateDeleted",
	AlertType: "IoT_CertificateSuccessfullyDeletedFromHub",
	Severity:  alert.Medium,
	Title:     "Certificate deleted from an IoT Hub",
	Description: "A certificate was deleted from an IoT hub. Devices whose certificates it signed can no longer " +
		"connect. If nobody planned the deletion, it may be an attempt to put a fleet out of service.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the deletion was planned.",
		"If the deletion was not planned, add the certificate again and verify it, so that its devices can connect again.",
		"Take away the actor's right to change certificates, change their credentials, and tell your security team.",
	},
	Commands: slices.Concat([]remedy.Command{
		as(remedy.Investigate, listCertificates),
		as(remedy.Investigate, signedDevices),
	}, investigateOperation, []remedy.Command{
		when(unplanned, as(remedy.Fix, addCertificate(remedy.Ask("CERTIFICATE.cer", "the file with your copy of the certificate")))),
		as(remedy.Fix, showCertificateETag),
		when(unplanned, as(remedy.Fix, startVerification)),
		when(unplanned, as(remedy.Fix, finishVerification)),
		as(remedy.Verify, listCertificates),
		as(remedy.Verify, signedDevices),
		as(remedy.Undo, showCertificateETag),
		as(remedy.Undo, deleteCertificate),
	}, stopActor, lockHub),
	Limits: "The event does not say which devices depended on the certificate. Azure also reports success when " +
		"the certificate did not exist. Certificates of provisioning services are not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceDeleteSuccess},
		Operations:      []string{certificateDelete},
		SubjectContains: onHub,
	},
	Detect: detectCertificate("%s was deleted from IoT hub %q"),
}
