package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// CertificateDeleteFailed reports an unsuccessful attempt to delete a
// certificate from an IoT hub.
var CertificateDeleteFailed = Detector{
	Name:      "CertificateDeleteFailed",
	AlertType: "IoT.Hub_CertificateFailedToBeDeletedFromHub",
	Severity:  alert.Medium,
	Title:     "Unsuccessful attempt detected to delete a certificate from an IoT Hub",
	Description: "Somebody tried to delete a certificate from an IoT hub and did not succeed. Without the certificate, " +
		"the devices that it signed could no longer connect.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the attempt was theirs.",
		"Look up the correlation id in the activity log of the hub: it says why the attempt failed.",
		"Make sure that only people who need it may change the certificates of the hub.",
	},
	Commands: slices.Concat(investigateOperation, []remedy.Command{
		only(as(remedy.Investigate, listCertificates), alert.IoTHub),
		as(remedy.Investigate, showCertificate),
		as(remedy.Verify, showCertificate),
	}, stopActor, lockHub),
	Limits: "The event does not say why the attempt failed. Microsoft does not document whether a request that is " +
		"refused for lack of rights becomes an event. Cancelled deployments are not reported.",
	On: Trigger{
		EventTypes:      []string{event.ResourceDeleteFailure},
		Operations:      []string{certificateDelete},
		SubjectContains: onHub,
	},
	Detect: detectCertificate("an attempt to delete %s from IoT hub %q failed; it was made"),
}
