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
	aHub   = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/contoso-hub"
	aDPS   = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/contoso-dps"
	verify = "Microsoft.Devices/IotHubs/certificates/verify/action"
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
			if err != nil {
				return nil, err
			}
			return o.finding(fmt.Sprintf("%s of %q %s; it was done", o.entity.Name, o.hub.Name, event.Outcome(e.Type)), map[string]string{"Own": "1"}), nil
		},
	}
}

// TestAnyOperation holds that a detector can be of any event of Azure Resource
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
				Message:    fmt.Sprintf("%s of %q %s; it was done by Alice.", test.want.Name, "contoso-hub", event.Outcome(eventType)),
				Properties: map[string]string{"OperationName": strings.ToLower(operation), "ActorType": "User", "Own": "1"},
			}
			if diff := cmp.Diff(want, v.Occurrences[0].Finding); diff != "" {
				t.Errorf("%s, %s: the finding differs (-want +got):\n%s", eventType, operation, diff)
			}
		}
	}
}

// TestFind holds which of subject and data.resourceUri counts, and what is kept for
// a person to read because they do not say one thing.
func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		where        target
		subject, uri string
		want         string // the entity, or a part of the error
		refused      bool
	}{
		"subject":                              {hubCertificate, aHub + "/certificates/a", aHub + "/certificates/a", "a", false},
		"subject alone":                        {hubCertificate, aHub + "/certificates/a", "", "a", false},
		"subject before resourceUri":           {hubCertificate, aHub + "/certificates/a", aHub + "/certificates/b", "a", false},
		"subject is the hub":                   {hubCertificate, aHub, aHub + "/certificates/a", "a", false},
		"subject with the action":              {hubCertificate, aHub + "/certificates/a/verify", aHub + "/certificates/a", "a", false},
		"the hub, with the action":             {iotHub, aHub + "/listkeys", aHub, "contoso-hub", false},
		"the hub, only with the action":        {iotHub, aHub + "/listkeys", aHub + "/listkeys", "ends before the name", true},
		"certificate, only with the action":    {hubCertificate, aHub + "/certificates/a/verify", aHub + "/certificates/a/verify", "ends before the name", true},
		"subject is another hub":               {hubCertificate, aHub + "2", aHub + "/certificates/a", "data.resourceUri names another resource, which is a certificate of an IoT hub", true},
		"subject is another kind":              {hubCertificate, aHub + "/privateEndpointConnections/a", aHub + "/certificates/a", "names another resource", true},
		"subject is below the hub":             {iotHub, aHub + "/certificates/a", aHub, "names another resource, which is an IoT hub itself", true},
		"neither is a hub":                     {iotHub, aHub + "/certificates/a", aHub + "/certificates/a", "certificates of Microsoft.Devices/IotHubs is not an IoT hub itself", true},
		"neither is a certificate":             {hubCertificate, aHub, aHub, "the resource itself of Microsoft.Devices/IotHubs is not a certificate of an IoT hub", true},
		"a provisioning service":               {iotHub, aDPS, aDPS, "the resource itself of Microsoft.Devices/provisioningServices is not an IoT hub itself", true},
		"resourceUri is another kind of thing": {hubCertificate, aHub, aDPS + "/certificates/a", "certificates of Microsoft.Devices/provisioningServices is not a certificate of an IoT hub", true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := test.where.decode(event.Event{Subject: test.subject, Data: fmt.Appendf(nil, `{"operationName": "x", "resourceUri": %q}`, test.uri)})
			switch {
			case test.refused && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("have %q, %v; want an error with %q", o.entity.Name, err, test.want)
			case !test.refused && (err != nil || o.entity.Name != test.want):
				t.Errorf("have %q, %v; want %q", o.entity.Name, err, test.want)
			}
		})
	}
}
