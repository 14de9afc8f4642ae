package detector

import (
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// CertificateAddFailed reports an unsuccessful attempt to add a certificate to
// an IoT hub.
var CertificateAddFailed = Detector{
	Name:      "CertificateAddFailed",
	AlertType: "Hub_CertificateFailedToBeAddedToHub",
	Severity:  alert.Medium,
	Title:     "Unsuccessful attempt detected to add a certificate to an IoT Hub",
	Description: "Somebody tried to add a certificate to an IoT hub, or to replace one, and did not succeed. The cause " +
		"may be a mistake in a deployment, or an attacker who tries out their rights.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the attempt was theirs.",
		"Look up the correlation id in the activity log of the hub: it says why the attempt failed.",
		"Make sure that only people who need it may change the certificates of the hub.",
	},
	Commands: slices.Concat(investigateOperation, []remedy.Command{
		as(remedy.Investigate, listCertificates),
		as(remedy.Verify, listCertificates),
	}, stopActor),
	Limits: "The event does not say why the attempt failed. Microsoft does not document whether a request that is " +
		"refused for lack of rights becomes an event. Cancelled deployments are not reported.",
	On: Trigger{
		EventTypes:      []string{event.ResourceWriteFailure},
		Operations:      []string{certificateWrite},
		SubjectContains: onHub,
	},
	Detect: detectCertificate("an attempt to add %s to IoT hub %q failed; it was made"),
}
