package connection

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
)

// FuzzDecodeRecord checks that a record that is read in one pass is the one that
// json.Unmarshal reads, and that a decoder keeps nothing of the record before.
func FuzzDecodeRecord(f *testing.F) {
	for _, properties := range []string{
		`{"deviceId":"d","moduleId":"m","protocol":"Mqtt","authType":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}","maskedIpAddress":"203.0.113.XXX","statusCode":"401"}`,
		`{"deviceId":1.50e+2,"moduleId":null,"sdkVersion":[],"authType":{"type":"x509","scope":{}},"errorMessage":"a","message":"b","details":{},"statusType":"t","statusDescription":"s"}`,
		`{"authenticationType":"sas","deviceId":"\u00e9\ud800"}`, `{"a":1,"a":2}`, `[]`, `null`, ``, `{"authType":"{\"type\":\"sas\",\"type\":\"x509\"}"}`, "{\"deviceId\":\"\xff\"}",
	} {
		quoted, _ := jsontext.AppendQuote(nil, properties) // an error says that a byte was replaced
		for _, value := range []string{properties, string(quoted)} {
			for _, rest := range []string{`,"resultType":"401003","resultDescription":"x"`, `,"resultType":401003,"deviceId":"old","authType":"x509","statusCode":[]`, `,"category":"Connections"`, `,"Category":"x","_ResourceId":"r"`, ` x`} {
				f.Add([]byte(`{"time":" 2026-02-01T08:00:00Z","resourceId":"/R","category":"Connections","operationName":"deviceConnect","level":"Error","properties":` + value + rest + `}`))
			}
		}
	}
	f.Add([]byte(`{"TimeGenerated":"2026-02-01T08:00:00Z","Category":"Connections","OperationName":"deviceConnect","ResourceId":"r","properties_s":"{\"deviceId\":\"d\"}"}`))
	f.Add([]byte(`{"metricName":"x"}`))
	for _, properties := range []string{`{\"deviceId\":\"` + "\xff" + `\"}`, `{\"deviceId\":\"\u00e9\"}`} {
		f.Add([]byte(`{"time":"2026-02-01T08:00:00Z","category":"Connections","properties":"` + properties + `"}`))
	}
	f.Add([]byte(`{"category":null}`))
	f.Add([]byte(`{"category":"c\u0061"}`))
	other := jsontext.Value(`{"time":"2026-02-01T09:00:00Z","resourceId":"/other","category":"Connections","operationName":"other","level":"other","resultType":"other","resultDescription":"other","metricName":"other","statusCode":"1","properties":"{\"deviceId\":\"other\\n\",\"moduleId\":\"other\",\"authType\":\"{\\\"type\\\":\\\"x509\\\"}\",\"message\":[]}"}`)
	f.Fuzz(func(t *testing.T, raw []byte) {
		want, wantErr := decodeByReflection(raw)
		var d Decoder
		for range 2 {
			if _, err := d.Decode(other); err != nil {
				t.Fatal(err)
			}
			got, err := d.Decode(raw)
			if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%q: error %v, want %v (-want +got):\n%s", raw, err, wantErr, diff)
			}
		}
		c := Classify(want)
		if wantErr != nil {
			c = Classification{}
		}
		var doc scan.Doc
		for _, scanned := range []bool{false, doc.Scan(raw, "", 4_096)} {
			var v scan.Value
			if scanned {
				v = doc.Root()
			}
			if cause, err := CauseOf(raw, v); cause != c.Cause || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%q, scanned %v: %q, error %v; want %q, %v", raw, scanned, cause, err, c.Cause, wantErr)
			}
		}
	})
}

// decodeByReflection is DecodeRecord with json.Unmarshal for all of a record.
func decodeByReflection(raw jsontext.Value) (Record, error) {
	var v struct {
		client
		row
		Time              member `json:"time"`
		ResourceID        member `json:"resourceId"`
		OperationName     member `json:"operationName"`
		Category          string `json:"category"`
		MetricName        member `json:"metricName"`
		Level             member `json:"level"`
		ResultType        member `json:"resultType"`
		ResultDescription member `json:"resultDescription"`
		Properties        nested `json:"properties"`
	}
	if kind := raw.Kind(); kind != '{' {
		return Record{}, fmt.Errorf("record: want a JSON object, have %v", kind)
	}
	if err := json.Unmarshal(raw, &v, lenient); err != nil {
		return Record{}, fmt.Errorf("record: %w", event.JSONError(err))
	}
	if v.Category != "" {
		v.row = row{} // A record does not need the columns of a row.
	}
	r := Record{
		Category:      firstOf(v.Category, v.row.Category),
		OperationName: firstOf(v.OperationName.text, v.row.OperationName.text),
	}
	if r.Category == "" && v.MetricName.text == "" && v.row.MetricName.text == "" {
		if v.TimeGenerated.text != "" {
			return Record{}, errors.New("record: a row of Log Analytics without Category is not of a resource log")
		}
		return Record{}, errors.New("record: category: missing or empty")
	}
	if !strings.EqualFold(r.Category, Category) {
		return r, nil
	}
	stamp, err := event.ParseTime(strings.TrimSpace(firstOf(v.Time.text, v.TimeGenerated.text))) // the documented template begins with a space
	if err != nil {
		return Record{}, fmt.Errorf("record: time: %w", err)
	}
	var p struct {
		client
		ErrorMessage member `json:"errorMessage"`
		Message      member `json:"message"`
		Details      member `json:"details"`
	}
	properties := v.Properties
	if len(properties) == 0 {
		properties = v.row.Properties
	}
	if len(properties) > 0 {
		if err := json.Unmarshal(properties, &p, lenient); err != nil {
			return Record{}, fmt.Errorf("record: properties: %w", event.JSONError(err))
		}
	}

	// Of several members, the first that is not empty counts. Each is checked for
	// another form.
	read := func(name string, members ...*member) (text string) {
		for _, m := range members {
			if m.odd {
				r.Unreadable = append(r.Unreadable, name)
			}
			text = firstOf(text, m.text)
		}
		return text
	}
	r.Time = stamp
	r.ResourceID = read("resourceId", &v.ResourceID, &v.row.ResourceID, &v.ResourceIDColumn)
	r.Level = read("level", &v.Level, &v.row.Level)
	r.ResultType = read("resultType", &v.ResultType, &v.row.ResultType, &v.StatusType, &p.StatusType)
	r.ResultDescription = read("resultDescription", &v.ResultDescription, &v.row.ResultDescription)
	r.StatusCode = read("statusCode", &p.StatusCode, &v.StatusCode)
	r.DeviceID = read("deviceId", &p.DeviceID, &v.DeviceID)
	r.ModuleID = read("moduleId", &p.ModuleID, &v.ModuleID)
	r.SDKVersion = read("sdkVersion", &p.SDKVersion, &v.SDKVersion)
	r.Protocol = read("protocol", &p.Protocol, &v.Protocol)
	r.MaskedIPAddress = read("maskedIpAddress", &p.MaskedIPAddress, &v.MaskedIPAddress)
	for _, auth := range []nested{p.AuthType, p.AuthenticationType, v.AuthType, v.AuthenticationType} {
		if len(auth) > 0 {
			var ok bool
			if r.AuthType, ok = authTypeByReflection(auth); !ok {
				r.Unreadable = append(r.Unreadable, "authType")
			}
			break
		}
	}
	for _, text := range []string{
		r.ResultDescription,
		read("statusDescription", &v.StatusDescription),
		read("properties.errorMessage", &p.ErrorMessage),
		read("properties.message", &p.Message),
		read("properties.details", &p.Details),
		read("properties.statusDescription", &p.StatusDescription),
	} {
		if text != "" {
			r.Texts = append(r.Texts, text)
		}
	}
	return r, nil
}

func authTypeByReflection(raw []byte) (AuthType, bool) {
	if jsontext.Value(raw).Kind() != '{' {
		if a := (AuthType{Type: string(raw)}); a.Family() != UnknownFamily {
			return a, true
		}
		return AuthType{}, false
	}
	var v struct {
		Scope  member `json:"scope"`
		Type   member `json:"type"`
		Issuer member `json:"issuer"`
	}
	if err := json.Unmarshal(raw, &v, lenient); err != nil {
		return AuthType{}, false
	}
	return AuthType{Scope: v.Scope.text, Type: v.Type.text, Issuer: v.Issuer.text}, true
}

// firstOf returns the first of texts that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// BenchmarkDecodeRecord reads a record of a failed connection, as the relay does.
func BenchmarkDecodeRecord(b *testing.B) {
	raw := refused(b)
	var d Decoder
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClassify finds the cause of a failed connection in its record, and in the text of the
// record as a detector does that is silent about it.
func BenchmarkClassify(b *testing.B) {
	raw := refused(b)
	r, err := DecodeRecord(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if Classify(r).Cause != TokenExpired {
				b.Fatal("another cause")
			}
		}
	})
	b.Run("text", func(b *testing.B) {
		var doc scan.Doc
		if !doc.Scan(raw, "", 4_096) {
			b.Fatal("it is not scanned")
		}
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if cause, err := CauseOf(raw, doc.Root()); cause != TokenExpired || err != nil {
				b.Fatal(cause, err)
			}
		}
	})
}

// refused returns the record of a session whose token has expired.
func refused(t testing.TB) jsontext.Value {
	t.Helper()
	return rawRecord(t, map[string]any{"operationName": "deviceDisconnect", "level": "Error", "resultType": "401003", "resultDescription": "IotHubUnauthorized"},
		map[string]any{"deviceId": "dev-1", "protocol": "Mqtt", "authType": `{"scope":"device","type":"sas","issuer":"iothub"}`, "maskedIpAddress": "203.0.113.XXX", "statusCode": "401"})
}
