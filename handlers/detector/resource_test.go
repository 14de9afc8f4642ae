package detector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

const (
	// someHub is the beginning of an id up to the name of a hub.
	someHub = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/"
	aHub    = someHub + "contoso-hub"
	aDPS    = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/contoso-dps"
	verify  = "Microsoft.Devices/IotHubs/certificates/verify/action"
)

// operationEvent returns an event of Azure Resource Manager.
func operationEvent(t *testing.T, eventType, operation, subject, uri string) []byte {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"id": "1", "eventType": eventType, "eventTime": "2026-02-01T08:00:00Z", "subject": subject,
		"data": map[string]any{"operationName": operation, "resourceUri": uri, "claims": map[string]any{"name": "Alice"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// on is a detector of operations on a target.
func on(where target, eventType, operation string) Detector {
	return Detector{
		Name: "Any", AlertType: "Any",
		On: Trigger{EventTypes: []string{eventType}, Operations: []string{operation}, SubjectContains: onHub},
		Detect: func(e event.Event) ([]alert.Finding, error) {
			o, err := where.decode(e)
			return o.finding(fmt.Sprintf("the %s of %q %s; it was done", o.entity.Name, o.hub.Name, event.Outcome(e.Type)), map[string]string{"Own": "1"}), err
		},
	}
}

// TestAnyOperation checks that a detector can be of any event of Azure Resource
// Manager, and of anything that an operation is on.
func TestAnyOperation(t *testing.T) {
	role := target{entity: "RoleAssignment", types: []string{"Microsoft.Authorization/roleAssignments"}, what: "a role assignment on an IoT hub"}
	group := target{entity: "ConsumerGroup", types: []string{"eventHubEndpoints/ConsumerGroups"}, what: "a consumer group of an IoT hub"}
	for operation, test := range map[string]struct {
		where target
		below string
		want  alert.Entity
	}{
		"Microsoft.Devices/IotHubs/write":           {iotHub, "", alert.Entity{Type: "IoTHub", Name: "contoso-hub"}},
		"Microsoft.Devices/IotHubs/listkeys/Action": {iotHub, "", alert.Entity{Type: "IoTHub", Name: "contoso-hub"}},
		verify: {hubCertificate, "/certificates/root-ca", alert.Entity{Type: "Certificate", Name: "root-ca"}},
		"Microsoft.Insights/diagnosticSettings/delete":                       {hubDiagnosticSetting, "/providers/microsoft.insights/diagnosticSettings/logs", alert.Entity{Type: "DiagnosticSetting", Name: "logs"}},
		"Microsoft.Authorization/roleAssignments/write":                      {role, "/providers/Microsoft.Authorization/roleAssignments/7", alert.Entity{Type: "RoleAssignment", Name: "7"}},
		"Microsoft.Devices/IotHubs/eventHubEndpoints/consumerGroups/Write":   {group, "/eventHubEndpoints/events/consumerGroups/readers", alert.Entity{Type: "ConsumerGroup", Name: "events/readers"}},
		"Microsoft.Devices/IotHubs/certificates/generateVerificationCode/ac": {hubCertificate, "/certificates/verify", alert.Entity{Type: "Certificate", Name: "verify"}},
	} {
		for _, eventType := range event.OperationTypes {
			v := on(test.where, eventType, operation).Judge(operationEvent(t, eventType, strings.ToLower(operation), aHub+test.below, aHub+test.below))
			if v.Err != nil || !v.Matched || len(v.Occurrences) != 1 {
				t.Errorf("%s, %s: %+v", eventType, operation, v)
				continue
			}
			want := alert.Finding{
				Hub: alert.Hub{Name: "contoso-hub", ResourceID: aHub, SubscriptionID: "s"}, Entity: test.want, Actor: "Alice", Confidence: alert.Stated,
				Message:    fmt.Sprintf("The %s of %q %s; it was done by Alice.", test.want.Name, "contoso-hub", event.Outcome(eventType)),
				Properties: map[string]string{"OperationName": strings.ToLower(operation), "ActorType": "User", "Own": "1"},
			}
			if diff := cmp.Diff(want, v.Occurrences[0].Finding); diff != "" {
				t.Errorf("%s, %s: the finding differs (-want +got):\n%s", eventType, operation, diff)
			}
		}
	}
}

// TestFind checks which of subject and data.resourceUri counts, and what is kept for
// a person to read because they do not say one thing. If they name a hub, and no
// other thing than is looked for, the operation is one on the hub.
func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		where        target
		subject, uri string
		want         string // the entity
		err          string // a part of the error; "" for none
	}{
		"subject":                    {hubCertificate, aHub + "/certificates/a", aHub + "/certificates/a", "a", ""},
		"subject alone":              {hubCertificate, aHub + "/certificates/a", "", "a", ""},
		"subject before resourceUri": {hubCertificate, aHub + "/certificates/a", aHub + "/certificates/b", "a", ""},
		"subject is the hub":         {hubCertificate, aHub, aHub + "/certificates/a", "a", ""},
		"subject with the action":    {hubCertificate, aHub + "/certificates/a/verify", aHub + "/certificates/a", "a", ""},
		"subject is not an id":       {hubCertificate, "x" + aHub, aHub + "/certificates/a", "a", ""},
		"subject without a hub":      {hubCertificate, someHub + "//certificates/a", aHub + "/certificates/a", "a", ""},
		"the hub, with the action":   {iotHub, aHub + "/listkeys", aHub, "contoso-hub", ""},

		"the hub, only with the action":     {iotHub, aHub + "/listkeys", aHub + "/listkeys", "hub contoso-hub", "ends before the name"},
		"certificate, only with the action": {hubCertificate, aHub + "/certificates/a/verify", aHub + "/certificates/a/verify", "hub contoso-hub", "ends before the name"},
		"without a name":                    {hubCertificate, aHub + "/certificates", aHub + "/certificates", "hub contoso-hub", "ends before the name"},
		"a name of dots":                    {hubCertificate, aHub + "/certificates/%2e.", aHub + "/certificates/%2e.", "hub contoso-hub", "segment 10"},
		"neither is a certificate":          {hubCertificate, aHub, aHub, "hub contoso-hub", "the resource itself of Microsoft.Devices/IotHubs is not a certificate of an IoT hub"},
		"resourceUri is another kind":       {hubCertificate, aHub, aDPS + "/certificates/a", "hub contoso-hub", "certificates of Microsoft.Devices/provisioningServices is not a certificate of an IoT hub"},
		"resourceUri alone names the hub":   {hubCertificate, "x" + aHub, aHub + "/certificates/..", "hub contoso-hub", "segment 10"},
		"subject is another hub":            {hubCertificate, aHub + "2", aHub + "/certificates/a", "hub contoso-hub2", "data.resourceUri names another resource, which is a certificate of an IoT hub"},
		"subject begins with another hub":   {hubCertificate, aHub + "2/certificates/..", aHub + "/certificates/a", "hub contoso-hub2", "data.resourceUri names another resource, which is a certificate of an IoT hub"},

		"subject is another kind":             {hubCertificate, aHub + "/privateEndpointConnections/a", aHub + "/certificates/a", "", "names another resource"},
		"subject is another kind, and no uri": {hubCertificate, aHub + "/privateEndpointConnections/a", aHub + "/certificates/..", "", "privateEndpointConnections of"},
		"subject is below the hub":            {iotHub, aHub + "/certificates/a", aHub, "", "names another resource, which is an IoT hub itself"},
		"neither is a hub":                    {iotHub, aHub + "/certificates/a", aHub + "/certificates/a", "", "certificates of Microsoft.Devices/IotHubs is not an IoT hub itself"},
		"a provisioning service":              {iotHub, aDPS, aDPS, "", "the resource itself of Microsoft.Devices/provisioningServices is not an IoT hub itself"},
		"a hub of dots":                       {hubCertificate, aHub + "/../certificates/a", aHub + "/../certificates/a", "hub contoso-hub", "segment 9"},
		"no hub":                              {hubCertificate, someHub + "..", someHub + "..", "", "segment 8"},
		"a certificate of another service":    {hubCertificate, aDPS + "/certificates/..", aDPS + "/certificates/..", "", "segment 10"},
		"nothing":                             {hubCertificate, "x", "", "", "does not begin with /"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := test.where.decode(event.Event{Subject: test.subject, Data: fmt.Appendf(nil, `{"operationName": "x", "resourceUri": %q}`, test.uri)})
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("have the error %v, want %q", err, test.err)
			}
			findings := o.finding("x", nil)
			if test.want == "" {
				if len(findings) > 0 {
					t.Errorf("have %+v, want nothing", findings)
				}
				return
			}
			want := alert.Entity{Type: test.where.entity, Name: test.want}
			if hub, ok := strings.CutPrefix(test.want, "hub "); ok {
				want = alert.Entity{Type: alert.IoTHub, Name: hub}
			}
			if len(findings) != 1 || findings[0].Entity != want {
				t.Errorf("have %+v, want one about %+v", findings, want)
			}
			if subject := findings[0].Properties["UnreadableSubject"]; (subject == test.subject) != (err != nil) {
				t.Errorf("UnreadableSubject is %q, error %v", subject, err)
			}
		})
	}
}
