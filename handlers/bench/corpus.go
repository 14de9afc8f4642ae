package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
)

// request is a request of the Functions host, and what an answer to it has to say.
type request struct {
	function string
	body     []byte
	title    string // of the alert; "" for no alert
}

// corpus returns n requests of a kind, the same at each call. What Event Grid delivers has
// passed its filters. So nearly all that a function is silent about are failed connections
// of another cause, and an operation that is delivered is one to be reported.
func corpus(kind string, n int) []request {
	random := rand.New(rand.NewPCG(42, 0)) // #nosec G404 -- the corpus is the same each time
	list := make([]request, n)
	for i := range list {
		d := detectors[i%len(detectors)]
		if kind == "silent" {
			list[i] = failedConnection(random, i, connectionDetectors()[i%4], false)
			continue
		}
		if d.On.Unprivileged() {
			list[i] = failedConnection(random, i, d, true)
		} else {
			list[i] = change(random, i, d)
		}
	}
	return list
}

// detectors are those of Microsoft's ten alerts, whose events the peers know too.
var detectors = slices.DeleteFunc(slices.Clone(detector.All), func(d detector.Detector) bool {
	return failures[d.Name].operation == "" && (d.On.Unprivileged() || len(d.On.Operations) == 0)
})

// connectionDetectors returns the detectors of failed connections.
func connectionDetectors() (list []detector.Detector) {
	for _, d := range detectors {
		if d.On.Unprivileged() {
			list = append(list, d)
		}
	}
	return list
}

// failures has what a record says, by the name of the detector that is to fire.
var failures = map[string]struct{ operation, authType, issuer string }{
	"DeviceTokenInvalid":        {"deviceConnect", "sas", "iothub"},
	"DeviceTokenExpired":        {"deviceDisconnect", "sas", "iothub"},
	"DeviceCertificateMismatch": {"deviceConnect", "x509", "iothub"},
	"DeviceCertificateExpired":  {"deviceDisconnect", "x509", "iothub"},
}

const subscription = "00000000-0000-0000-0000-000000000001"

// failedConnection returns the event of a failed connection, which d fires on or not.
func failedConnection(random *rand.Rand, i int, d detector.Detector, fires bool) request {
	name := d.Name
	for !fires && name == d.Name {
		name = connectionDetectors()[random.IntN(4)].Name
	}
	f := failures[name]
	hub := strings.ToUpper(fmt.Sprintf("/subscriptions/%s/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub-%d", subscription, random.IntN(9)))
	device := fmt.Sprintf("pump-%04d", random.IntN(10_000))
	stamp := fmt.Sprintf("2026-02-01T%02d:%02d:%02dZ", random.IntN(24), random.IntN(60), random.IntN(60))
	auth := text(map[string]any{"scope": "device", "type": f.authType, "issuer": f.issuer, "acceptingIpFilterRule": nil})
	properties := text(map[string]any{
		"deviceId": device, "protocol": "Mqtt", "authType": auth, "maskedIpAddress": "203.0.113.XXX", "statusCode": "401", "sdkVersion": ".NET/1.21.2 (.NET 8.0)",
	})
	data := text(map[string]any{
		"time": stamp, "resourceId": hub, "operationName": f.operation, "category": "Connections", "level": "Error",
		"resultType": "401003", "resultDescription": "IotHubUnauthorized", "properties": properties, "location": "westeurope",
	})
	id := fmt.Sprintf("%064x", random.Uint64())
	r := request{function: d.Name, body: envelope(i, id, connection.Failed, hub, "devices/"+device, stamp, data)}
	if fires {
		r.title = d.Title
	}
	return r
}

// change returns the event of an operation that d fires on.
func change(random *rand.Rand, i int, d detector.Detector) request {
	hub := fmt.Sprintf("/subscriptions/%s/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub-%d", subscription, random.IntN(9))
	subject := fmt.Sprintf("%s/certificates/root-%d", hub, random.IntN(100))
	if strings.HasPrefix(d.Name, "Diagnostic") {
		subject = fmt.Sprintf("%s/providers/Microsoft.Insights/diagnosticSettings/to-log-%d", hub, random.IntN(100))
	}
	person := fmt.Sprintf("alice%d@contoso.example", random.IntN(50))
	operation := d.On.Operations[0]
	data := text(map[string]any{
		"authorization": map[string]any{"scope": subject, "action": operation, "evidence": map[string]any{"role": "Subscription Admin"}},
		"claims": map[string]any{
			"aud": "https://management.core.windows.net/", "iss": "https://sts.windows.net/00000000-0000-0000-0000-0000000000aa/",
			"iat": "1769939000", "nbf": "1769939000", "exp": "1769942900", "_claim_names": `{"groups":"src1"}`,
			"http://schemas.microsoft.com/claims/authnclassreference": "1", "http://schemas.microsoft.com/claims/authnmethodsreferences": "pwd,mfa",
			"appid": "00000000-0000-0000-0000-0000000000a1", "appidacr": "2", "ipaddr": "203.0.113.7", "name": "Alice Example",
			"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname": "Example", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname": "Alice",
			"http://schemas.microsoft.com/identity/claims/objectidentifier": "00000000-0000-0000-0000-0000000000b1", "puid": "0000000000000001",
			"http://schemas.microsoft.com/identity/claims/scope": "user_impersonation", "http://schemas.microsoft.com/identity/claims/tenantid": "00000000-0000-0000-0000-0000000000aa",
			"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": person, "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": person,
			"uti": "AAAAAAAAAAAAAAAAAAAAAA", "ver": "1.0",
		},
		"correlationId": fmt.Sprintf("00000000-0000-4000-8001-%012d", i), "resourceProvider": strings.SplitN(operation, "/", 2)[0], "resourceUri": subject,
		"operationName": operation, "status": "Succeeded", "subscriptionId": subscription, "tenantId": "00000000-0000-0000-0000-0000000000aa",
	})
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", random.IntN(1_000_000_000))
	stamp := fmt.Sprintf("2026-02-01T08:%02d:%02d.0190056Z", random.IntN(60), random.IntN(60))
	return request{d.Name, envelope(i, id, d.On.EventTypes[0], "/subscriptions/"+subscription, subject, stamp, data), d.Title}
}

// envelope returns the body of a request with an event, every other one of each schema.
// The host copies the data into Metadata, beside members of its own
// (Azure/azure-functions-host, ScriptInvocationContextExtensions.ToHttpScriptInvocationContext).
func envelope(i int, id, typ, source, subject, stamp, data string) []byte {
	e := fmt.Sprintf(`{"id":%q,"subject":%q,"eventType":%q,"eventTime":%q,"topic":%q,"data":%s,"dataVersion":"2","metadataVersion":"1"}`, id, subject, typ, stamp, source, data)
	if i/len(detectors)%2 == 0 {
		e = fmt.Sprintf(`{"specversion":"1.0","id":%q,"type":%q,"source":%q,"subject":%q,"time":%q,"datacontenttype":"application/json","data":%s}`, id, typ, source, subject, stamp, data)
	}
	return invocation(e, data, stamp, i)
}

// invocation returns the body of a request with an event.
func invocation(event, data, stamp string, i int) []byte {
	return fmt.Appendf(nil, `{"Data":{"event":%s},"Metadata":{"data":%s,"sys":{"MethodName":"Detect","UtcNow":%q,"RandGuid":"00000000-0000-4000-8000-%012d"}}}`,
		event, data, stamp, i)
}

// text returns v as JSON.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // v is made of texts
	}
	return string(b)
}
