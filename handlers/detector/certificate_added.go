package detector

import (
	"fmt"
	"slices"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/remedy"
)

// CertificateAdded reports that the certificate of an authority was added to an IoT
// hub, or replaced. Whoever holds its key can make devices that the hub trusts.
var CertificateAdded = Detector{
	Name:      "CertificateAdded",
	AlertType: "IoT_CertificateSuccessfullyAddedToHub",
	Severity:  alert.Medium,
	Title:     "New certificate added to an IoT Hub",
	Description: "A certificate was added to an IoT hub, or a certificate was replaced. Whoever holds the private key of a " +
		"certificate that the hub trusts can sign devices of their own. If nobody planned the addition, an attacker " +
		"may have made it to keep access.",
	Remediation: []string{
		"Ask the actor, or the owner of the hub, whether the addition was planned.",
		"If the addition was not planned, delete the certificate from the hub, and look for devices that have connected with it since.",
		"Take away the actor's right to change certificates, change their credentials, and tell your security team.",
	},
	Commands: slices.Concat([]remedy.Command{
		only(as(remedy.Investigate, listCertificates), alert.IoTHub),
		as(remedy.Investigate, showCertificate),
		as(remedy.Investigate, queryDevices("List the devices that were active since, and how they authenticate themselves.",
			remedy.Text(" WHERE lastActivityTime > '"), remedy.Start, remedy.Text("'"))),
	}, investigateOperation, []remedy.Command{
		as(remedy.Fix, keepCertificate),
		as(remedy.Fix, showCertificateETag),
		when(unplanned, as(remedy.Fix, deleteCertificate)),
		as(remedy.Verify, listCertificates),
		as(remedy.Undo, addCertificate(remedy.Copy)),
		as(remedy.Undo, showCertificateETag),
		as(remedy.Undo, startVerification),
		as(remedy.Undo, finishVerification),
	}, stopActor),
	Limits: "The event has neither the certificate nor its thumbprint. Azure uses one operation for adding, replacing " +
		"and marking as verified. ChangeKind is a hint: it says updated if the event describes the request, which Microsoft " +
		"documents for updates only, and created if it does not. Certificates of provisioning services are not watched.",
	On: Trigger{
		EventTypes:      []string{event.ResourceWriteSuccess},
		Operations:      []string{certificateWrite},
		SubjectContains: onHub,
	},
	Detect: func(e event.Event) ([]alert.Finding, error) {
		o, err := hubCertificate.decode(e)
		what := fmt.Sprintf("%s was added to IoT hub %q", o.thing, o.hub.Name)
		return o.finding(what, map[string]string{"ChangeKind": changeKind(o.HTTPRequest)}), err
	},
}

// changeKind says whether a write created the resource or updated it. The
// schema describes the request "only when updating an existing resource or
// deleting a resource"
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
func changeKind(request event.Presence) string {
	switch request {
	case event.Absent:
		return "created"
	case event.Present:
		return "updated"
	default:
		return "unknown"
	}
}
