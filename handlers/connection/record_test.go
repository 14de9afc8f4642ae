package connection

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const loggedHub = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB"

func TestDecodeRecord(t *testing.T) {
	at := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, raw string
		want      Record
	}{
		// https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#connections
		{"the documented template", `{"time":" 2026-02-01T10:00:00Z","resourceId":"` + loggedHub + `","operationName":"deviceConnect","category":"Connections","level":"Information",
			"properties":"{\"deviceId\":\"dev-1\",\"sdkVersion\":\"v\",\"protocol\":\"Mqtt\",\"authType\":\"{\\\"scope\\\":\\\"device\\\",\\\"type\\\":\\\"sas\\\",\\\"issuer\\\":\\\"iothub\\\",\\\"acceptingIpFilterRule\\\":null}\",\"maskedIpAddress\":\"203.0.113.XXX\"}","location":"westeurope"}`,
			Record{Time: at, ResourceID: loggedHub, OperationName: "deviceConnect", Category: "Connections", Level: "Information",
				DeviceID: "dev-1", SDKVersion: "v", Protocol: "Mqtt", MaskedIPAddress: "203.0.113.XXX", AuthType: AuthType{"device", "sas", "iothub"}}},
		// https://learn.microsoft.com/azure/iot-hub/tutorial-use-metrics-and-diags
		{"the tutorial's", `{"time":"2026-02-01T10:00:00Z","resourceId":"` + loggedHub + `","operationName":"deviceDisconnect","category":"Connections","level":"Error","resultType":"404104","resultDescription":"DeviceConnectionClosedRemotely",
			"properties":{"deviceId":"dev-1","protocol":"Mqtt","authType":null,"maskedIpAddress":"203.0.113.XXX","statusCode":"404"},"location":"westus"}`,
			Record{Time: at, ResourceID: loggedHub, OperationName: "deviceDisconnect", Category: "Connections", Level: "Error", ResultType: "404104", ResultDescription: "DeviceConnectionClosedRemotely",
				StatusCode: "404", DeviceID: "dev-1", Protocol: "Mqtt", MaskedIPAddress: "203.0.113.XXX", Texts: []string{"DeviceConnectionClosedRemotely"}}},
		// github.com/MicrosoftDocs/azure-docs, articles/iot-hub/iot-hub-operations-monitoring.md
		{"the format of 2018", `{"durationMs":1234,"authType":"{\"scope\":\"hub\",\"type\":\"sas\",\"issuer\":\"iothub\"}","protocol":"Amqp","time":" 2026-02-01T10:00:00.5Z","operationName":"deviceConnect","category":"Connections","level":"Error",
			"statusCode":401,"statusType":401003,"statusDescription":"MessageDescription","deviceId":"dev-1"}`,
			Record{Time: at.Add(time.Second / 2), OperationName: "deviceConnect", Category: "Connections", Level: "Error", ResultType: "401003", StatusCode: "401",
				DeviceID: "dev-1", Protocol: "Amqp", AuthType: AuthType{"hub", "sas", "iothub"}, Texts: []string{"MessageDescription"}}},
		{"all texts and nothing else", `{"time":"2026-02-01T10:00:00Z","category":"connections","resultDescription":"a","statusDescription":"b","message":"no","details":"no","errorMessage":"no",
			"properties":{"errorMessage":"c","message":"d","details":"e","statusDescription":"f","deviceId":"g","other":"no"}}`,
			Record{Time: at, Category: "connections", ResultDescription: "a", DeviceID: "g", Texts: []string{"a", "b", "c", "d", "e", "f"}}},
		{"numbers for strings", `{"time":"2026-02-01T10:00:00Z","category":"Connections","resultType":401003,"properties":{"deviceId":62175304442320,"statusCode":401}}`,
			Record{Time: at, Category: "Connections", ResultType: "401003", StatusCode: "401", DeviceID: "62175304442320"}},
		{"nulls", `{"time":"2026-02-01T10:00:00Z","category":"Connections","resourceId":null,"operationName":null,"level":null,"resultType":null,"resultDescription":null,"properties":null}`,
			Record{Time: at, Category: "Connections"}},
		{"members of other kinds", `{"time":"2026-02-01T10:00:00Z","category":"Connections","level":[],"properties":{"deviceId":{},"message":["token is expired"],"authType":5,"moduleId":false}}`,
			Record{Time: at, Category: "Connections", Unreadable: []string{"level", "deviceId", "moduleId", "authType", "properties.message"}}},
		{"half a surrogate pair", `{"time":"2026-02-01T10:00:00Z","category":"Connections","properties":{"deviceId":"a\ud800b"}}`,
			Record{Time: at, Category: "Connections", DeviceID: "a\uFFFDb"}},
		{"bytes that are not Unicode, inside", `{"time":"2026-02-01T10:00:00Z","category":"Connections","properties":"{\"deviceId\":\"a` + "\xff" + `b\"}"}`,
			Record{Time: at, Category: "Connections", DeviceID: "a\uFFFDb"}},
		{"an empty string of properties", `{"time":"2026-02-01T10:00:00Z","category":"Connections","properties":""}`,
			Record{Time: at, Category: "Connections"}},
		// https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#direct-methods, whose properties are not JSON
		{"another category", `{"time":"UTC timestamp","operationName":"send","category":"DirectMethods","properties":"{\"deviceId\":<messageSize>}"}`,
			Record{OperationName: "send", Category: "DirectMethods"}},
		// https://learn.microsoft.com/azure/azure-monitor/reference/tables/azurediagnostics
		{"a row of Log Analytics", `{"TimeGenerated":"2026-02-01T10:00:00Z","Category":"Connections","OperationName":"deviceConnect","Level":"Error","ResultType":"401003","ResultDescription":"IotHubUnauthorized",
			"properties_s":"{\"deviceId\":\"dev-1\",\"statusCode\":\"401\"}","_ResourceId":"/subscriptions/s","Type":"AzureDiagnostics"}`,
			Record{Time: at, ResourceID: "/subscriptions/s", OperationName: "deviceConnect", Category: "Connections", Level: "Error", ResultType: "401003", ResultDescription: "IotHubUnauthorized",
				StatusCode: "401", DeviceID: "dev-1", Texts: []string{"IotHubUnauthorized"}}},
		{"a row that a query made", `{"TimeGenerated":"2026-02-01T10:00:00Z","Category":"Connections","ResourceId":"/S","properties":{"deviceId":"h"},"properties_s":"{}"}`,
			Record{Time: at, ResourceID: "/S", Category: "Connections", DeviceID: "h"}},
		{"a record beside the columns of a row", `{"time":"2026-02-01T10:00:00Z","category":"Connections","TimeGenerated":"x","Category":"x","ResourceId":"x","_ResourceId":"x","OperationName":"x",
			"ResultType":"x","ResultDescription":"x","Level":"x","MetricName":"x","properties_s":"x"}`,
			Record{Time: at, Category: "Connections"}},
		{"a row of another category", `{"TimeGenerated":"x","Category":"AuditEvent","OperationName":"SecretGet"}`, Record{OperationName: "SecretGet", Category: "AuditEvent"}},
		{"a row of a metric", `{"TimeGenerated":"x","MetricName":"d2c.telemetry.egress.success"}`, Record{}},
		{"a metric", `{"count":1,"total":2,"resourceId":"x","time":"y","metricName":"d2c.telemetry.egress.success","timeGrain":"PT1M"}`, Record{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeRecord(jsontext.Value(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRecordTimes checks that records are read whose times are not RFC 3339.
func TestRecordTimes(t *testing.T) {
	for _, stamp := range []string{"2026-02-13T10:00:00", "2026-02-13t10:00:00z", "2026-02-13 10:00:00Z", "2/13/2026 10:00:00 AM", " 02/13/2026 10:00:00"} {
		r, err := DecodeRecord(jsontext.Value(`{"category":"Connections","time":"` + stamp + `"}`))
		if err != nil || !r.Time.Equal(time.Date(2026, 2, 13, 10, 0, 0, 0, time.UTC)) {
			t.Errorf("%q: have %v, %v", stamp, r.Time, err)
		}
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"an array", `[]`, "want a JSON object"},
		{"nothing", ``, "want a JSON object"},
		{"broken JSON", `{"category":"Connections"`, "EOF"},
		{"no category", `{"time":"2026-02-01T10:00:00Z"}`, "category: missing"},
		{"a row without a category", `{"TimeGenerated":"2026-02-01T10:00:00Z","Message":"m","Type":"AppTraces"}`, "a row of Log Analytics without Category"},
		{"a row with a category of another kind", `{"Category":5}`, "/Category"},
		{"a row with a time that is none", `{"Category":"Connections","TimeGenerated":"yesterday"}`, "RFC 3339"},
		{"an ambiguous time", `{"category":"Connections","time":"3/4/2026 8:56:55 AM"}`, "is ambiguous"},
		{"a category of another kind", `{"category":5}`, "/category"},
		{"a member that stands twice", `{"category":"Connections","category":"Routes"}`, "duplicate"},
		{"no time", `{"category":"Connections"}`, "time: missing"},
		{"a time that is none", `{"category":"Connections","time":"yesterday"}`, "RFC 3339"},
		{"properties that are an array", `{"category":"Connections","time":"2026-02-01T10:00:00Z","properties":[]}`, "properties: "},
		{"properties that are cut off", `{"category":"Connections","time":"2026-02-01T10:00:00Z","properties":"{\"deviceId\":"}`, "properties: "},
		{"a device that stands twice", `{"category":"Connections","time":"2026-02-01T10:00:00Z","properties":"{\"deviceId\":\"a\",\"deviceId\":\"b\"}"}`, "duplicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r, err := DecodeRecord(jsontext.Value(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %+v and the error %v, want an error with %q", r, err, c.want)
			}
		})
	}
}

// TestAuthType takes every form of authType in both shapes of properties.
func TestAuthType(t *testing.T) {
	for _, c := range []struct {
		raw    string // inside of properties that are an object
		want   AuthType
		family Family
		broken bool
	}{
		{`null`, AuthType{}, UnknownFamily, false},
		{`""`, AuthType{}, UnknownFamily, false},
		{`"sas"`, AuthType{Type: "sas"}, TokenFamily, false},
		{`"X509"`, AuthType{Type: "X509"}, CertificateFamily, false},
		{`{"type":"x509Certificate","issuer":"external"}`, AuthType{Type: "x509Certificate", Issuer: "external"}, CertificateFamily, false},
		{`"other"`, AuthType{}, UnknownFamily, true},
		{`{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`, AuthType{"device", "sas", "iothub"}, TokenFamily, false},
		{`"{\"scope\":\"hub\",\"type\":\"symkey\",\"issuer\":\"iothub\"}"`, AuthType{"hub", "symkey", "iothub"}, TokenFamily, false},
		{`"{ \"scope\": \"device\", \"type\": \"x509\", \"issuer\": \"external\" }"`, AuthType{"device", "x509", "external"}, CertificateFamily, false},
		{`{"type":"tpm"}`, AuthType{Type: "tpm"}, UnknownFamily, false},
		{`"{\"type\":"`, AuthType{}, UnknownFamily, true},
		{`[]`, AuthType{}, UnknownFamily, true},
	} {
		for _, name := range []string{"authType", "authenticationType"} {
			properties := `{"` + name + `":` + c.raw + `}`
			quoted, err := jsontext.AppendQuote(nil, properties)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{properties, string(quoted)} {
				r, err := DecodeRecord(jsontext.Value(`{"time":"2026-02-01T10:00:00Z","category":"Connections","properties":` + p + `}`))
				if err != nil {
					t.Errorf("%s: %v", p, err)
				}
				if r.AuthType != c.want || r.AuthType.Family() != c.family || (len(r.Unreadable) > 0) != c.broken {
					t.Errorf("%s: have %+v of family %v, unreadable %q", p, r.AuthType, r.AuthType.Family(), r.Unreadable)
				}
			}
		}
	}
}

func TestHubAndSubject(t *testing.T) {
	r := Record{ResourceID: loggedHub, DeviceID: "a/b#?%'ü"}
	if id, err := r.Hub(); err != nil || id.Name != "CONTOSO-HUB" {
		t.Errorf("hub %+v, error %v", id, err)
	}
	if s := r.Subject(); s != "devices/a/b#?%'ü" {
		t.Errorf("subject %q", s)
	}
	r.ModuleID = "m"
	if s := r.Subject(); s != "devices/a/b#?%'ü/modules/m" {
		t.Errorf("subject %q", s)
	}
	r.DeviceID = ""
	if s := r.Subject(); s != "devices" {
		t.Errorf("without a device: subject %q", s)
	}
	r = Record{ResourceID: strings.Replace(loggedHub, "IOTHUBS", "PROVISIONINGSERVICES", 1)}
	if _, err := r.Hub(); err == nil {
		t.Error("a provisioning service is taken for a hub")
	}
}
