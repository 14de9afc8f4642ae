package detector

import (
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

// hubCertificate is a certificate directly below an IoT hub. The certificates of
// provisioning services, web apps and key vaults have operations of their own.
var hubCertificate = target{
	entity: alert.Certificate,
	types:  []string{"certificates"},
	noun:   "a certificate",
	what:   "a certificate of an IoT hub",
}

// The operations on certificates of IoT hubs. To verify a certificate and to make a
// verification code are other operations, which add nothing
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices).
const (
	certificateWrite  = "Microsoft.Devices/IotHubs/certificates/write"
	certificateDelete = "Microsoft.Devices/IotHubs/certificates/delete"
)

// detectCertificate returns a Detect that reports every event. what is the format of
// its sentence: the first verb is the certificate, the second the name of the hub.
func detectCertificate(what string) func(event.Event) ([]alert.Finding, error) {
	return func(e event.Event) ([]alert.Finding, error) {
		o, err := hubCertificate.decode(e)
		return o.finding(fmt.Sprintf(what, o.thing, o.hub.Name), nil), err
	}
}
