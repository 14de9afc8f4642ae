package detector

import (
	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// CertificateAddFailed reports an unsuccessful attempt to add a certificate to
// an IoT hub.
var CertificateAddFailed = Detector{
	Name:      "CertificateAddFailed",
	AlertType: "Hub_CertificateFailedToBeAddedToHub",
	Severity:  alert.Medium,
	Title:     "Unsuccessful attempt detected to add a certificate to an IoT Hub",
	Description: "Somebody tried to add a certificate to an IoT hub, or to replace one, and did not succeed. It may " +
		"be a mistake in a deployment, or somebody who tries what they are allowed to do.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the attempt was theirs.",
		"See the activity log of the hub, by the correlation id, for the reason of the failure.",
		"Make sure that only those who need it may change certificates of the hub.",
	},
	Limits: "The event does not say why the attempt failed. Whether a request that is refused for lack of rights " +
		"becomes an event is not documented by Microsoft. Cancelled deployments are not reported.",
	On: Trigger{
		EventTypes:      []string{event.ResourceWriteFailure},
		Operations:      []string{certificateWrite},
		SubjectContains: onHub,
	},
	Detect: detectCertificate("An attempt to add certificate %q to IoT hub %q failed; it was made"),
}
