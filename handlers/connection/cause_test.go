package connection

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// rawRecord is a record with properties that are a string, as on the wire.
func rawRecord(t testing.TB, members, properties map[string]any) jsontext.Value {
	t.Helper()
	p, err := json.Marshal(properties, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{
		"time": "2026-02-01T10:00:00Z", "resourceId": loggedHub, "category": "Connections", "operationName": "deviceConnect", "properties": string(p),
	}
	for name, value := range members {
		all[name] = value
	}
	raw, err := json.Marshal(all, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func classify(t testing.TB, members, properties map[string]any) Classification {
	t.Helper()
	r, err := DecodeRecord(rawRecord(t, members, properties))
	if err != nil {
		t.Fatal(err)
	}
	return Classify(r)
}

// TestRules reads the table: every phrase decides in each member that the
// service writes, whatever its case, and in none that a client chooses.
func TestRules(t *testing.T) {
	var above []string
	for i, rule := range Rules {
		if rule.Name == "" || rule.Cause == "" || rule.Name == NoRule {
			t.Errorf("line %d lacks a name or a cause", i)
		}
		if stated := strings.HasPrefix(rule.Name, "Stated"); stated != (rule.Phrase != "") {
			t.Errorf("%s: a rule is called Stated… if it has a phrase", rule.Name)
		}
		if rule.Phrase == "" {
			if rule.Codes == nil || rule.Operation == "" {
				t.Errorf("%s: a rule without a phrase needs codes and an operation", rule.Name)
			}
			continue
		}
		if rule.Phrase != strings.ToLower(rule.Phrase) {
			t.Errorf("%s: the phrase %q is not in lower case", rule.Name, rule.Phrase)
		}
		for _, other := range above {
			if strings.Contains(rule.Phrase, other) {
				t.Errorf("%s: the phrase %q never decides: %q stands above it", rule.Name, rule.Phrase, other)
			}
		}
		above = append(above, rule.Phrase)

		text := "Some: " + strings.ToUpper(rule.Phrase) + "; more."
		want := Classification{Cause: rule.Cause, Rule: rule.Name, Stated: true, Text: text}
		code := map[string]any{"resultType": "401000"}
		with := func(name string) map[string]any { return map[string]any{"resultType": "401000", name: text} }
		for _, name := range []string{"resultDescription", "statusDescription"} {
			if got := classify(t, with(name), nil); got != want {
				t.Errorf("%q in %s: have %+v", text, name, got)
			}
		}
		for _, name := range []string{"errorMessage", "message", "details", "statusDescription"} {
			if got := classify(t, code, map[string]any{name: text}); got != want {
				t.Errorf("%q in properties.%s: have %+v", text, name, got)
			}
		}
		unclassified := Classification{Cause: Unclassified, Rule: NoRule}
		for _, name := range []string{"deviceId", "moduleId", "sdkVersion", "protocol", "authType", "maskedIpAddress", "other"} {
			if got := classify(t, code, map[string]any{name: text}); got != unclassified {
				t.Errorf("%q in properties.%s: have %+v", text, name, got)
			}
			if got := classify(t, with(name), nil); got != unclassified {
				t.Errorf("%q in %s: have %+v", text, name, got)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	const sas, x509, none = "sas", "x509", ""
	stated := func(cause Cause, rule, text string) Classification {
		return Classification{Cause: cause, Rule: rule, Stated: true, Text: text}
	}
	unknown := func(text string) Classification {
		return Classification{Cause: Unclassified, Rule: UnknownText, Unknown: strings.ToLower(text)}
	}
	for _, c := range []struct {
		name, operation, code, description, auth string
		want                                     Classification
	}{
		{"", "deviceDisconnect", "401003", "IotHubUnauthorized", sas, Classification{Cause: TokenExpired, Rule: "DisconnectedToken"}},
		{"", "deviceDisconnect", "401003", "IotHubUnauthorized", none, Classification{Cause: TokenExpired, Rule: "DisconnectedToken"}},
		{"", "deviceDisconnect", "401003", "IotHubUnauthorized", x509, Classification{Cause: CertificateExpired, Rule: "DisconnectedCertificate"}},
		{"", "deviceDisconnect", "401002", "IotHubUnauthorizedAccess", sas, Classification{Cause: Unclassified, Rule: NoRule}},
		{"", "deviceConnect", "401003", "IotHubUnauthorized", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"", "deviceConnect", "401002", "IotHubUnauthorizedAccess", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"", "deviceConnect", "401003", "IotHubUnauthorized", x509, Classification{Cause: ThumbprintMismatch, Rule: "RefusedCertificate"}},
		{"", "deviceConnect", "401002", "IotHubUnauthorizedAccess", x509, Classification{Cause: ThumbprintMismatch, Rule: "RefusedCertificate"}},
		{"", "deviceConnect", "401003", "IotHubUnauthorized", none, Classification{Cause: Unclassified, Rule: NoRule}},
		{"", "deviceConnect", "401000", "GenericUnauthorized", sas, Classification{Cause: Unclassified, Rule: NoRule}},
		{"a name for a code", "deviceConnect", "IoTHubUnauthorized", "", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"a name for a description", "deviceConnect", "", "iothubunauthorized", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"a status for a code", "deviceConnect", "401", "", sas, Classification{Cause: Unclassified, Rule: NoRule}},
		{"another operation", "deviceUpdate", "401003", "IotHubUnauthorized", sas, Classification{PassedOver: OtherOperation}},
		{"a stated cause in another operation", "deviceUpdate", "401003", "The specified SAS token is expired", sas, stated(TokenExpired, "StatedTokenExpired", "The specified SAS token is expired")},
		{"a stated cause without an operation", "", "", "The specified SAS token is expired", none, stated(TokenExpired, "StatedTokenExpired", "The specified SAS token is expired")},
		{"another stated cause in another operation", "deviceUpdate", "401003", "Authorization header missing", sas, Classification{PassedOver: OtherOperation}},
		{"an unknown text", "deviceConnect", "401003", "Device clock is wrong", sas, unknown("Device clock is wrong")},
		{"an unknown text", "deviceConnect", "401002", "Device clock is wrong", x509, unknown("Device clock is wrong")},
		{"an unknown text", "deviceDisconnect", "401003", "Device clock is wrong", sas, unknown("Device clock is wrong")},
		{"an unknown text", "deviceConnect", "401003", "Device clock is wrong", none, unknown("Device clock is wrong")},
		{"an unknown text of no failed login", "deviceConnect", "500001", "Device clock is wrong", sas, Classification{PassedOver: OtherError}},
		{"the name of another error", "deviceConnect", "401003", "CertificateRevoked", sas, unknown("CertificateRevoked")},
		{"the code for a description", "deviceConnect", "401003", "401003", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"a full stop", "deviceConnect", "401003", "IotHubUnauthorized.", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"advice is not a cause", "deviceConnect", "401003", "Authentication failed for this device, renew token or certificate and reconnect", sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"a body of JSON", "deviceConnect", "401003", `{"Message":"ErrorCode:IotHubUnauthorized","ExceptionMessage":"The specified SAS token is expired"}`, sas,
			stated(TokenExpired, "StatedTokenExpired", `{"Message":"ErrorCode:IotHubUnauthorized","ExceptionMessage":"The specified SAS token is expired"}`)},
		{"a body of JSON with the name of the error", "deviceConnect", "401003", `{"errorCode":401003,"trackingId":"a","message":"IotHubUnauthorized"}`, sas, Classification{Cause: TokenInvalid, Rule: "RefusedToken"}},
		{"a body of JSON without a message", "deviceConnect", "401003", `{"id":"token is expired"}`, sas, unknown(`{":"}`)},
		{"", "deviceConnect", "", "", sas, Classification{PassedOver: Connected}},
		{"", "deviceConnect", "0", "", sas, Classification{PassedOver: Connected}},
		{"", "deviceConnect", "200", "", sas, Classification{PassedOver: Connected}},
		{"", "deviceConnect", "Success", "", sas, Classification{PassedOver: Connected}},
		{"", "deviceDisconnect", "", "", sas, Classification{PassedOver: Disconnected}},
		{"", "deviceDisconnect", "404104", "DeviceConnectionClosedRemotely", sas, Classification{PassedOver: ClosedRemotely}},
		{"", "deviceDisconnect", "404103", "DeviceNotOnline", sas, Classification{PassedOver: ClosedRemotely}},
		{"", "deviceDisconnect", "400027", "ConnectionForcefullyClosedOnNewConnection", sas, Classification{PassedOver: Replaced}},
		{"", "deviceConnect", "403012", "DeviceDisabled", sas, Classification{PassedOver: DeviceDisabled}},
		{"", "deviceConnect", "404001", "DeviceNotFound", sas, Classification{PassedOver: DeviceUnknown}},
		{"", "deviceConnect", "429001", "ThrottlingException", sas, Classification{PassedOver: Throttled}},
		{"", "deviceConnect", "500001", "ServerError", sas, Classification{PassedOver: OtherError}},
		{"", "deviceConnect", "Mystery", "", sas, Classification{PassedOver: OtherError}},
		{"a text of another cause is not a failed connection by itself", "deviceConnect", "404001", "IotHub 'a' does not contain the specified device 'b'", sas, Classification{PassedOver: DeviceUnknown}},
	} {
		properties := map[string]any{}
		if c.auth != none {
			properties["authType"] = `{"scope":"device","type":"` + c.auth + `","issuer":"iothub"}`
		}
		got := classify(t, map[string]any{"operationName": c.operation, "resultType": c.code, "resultDescription": c.description}, properties)
		if got != c.want {
			t.Errorf("%s %s %s %s %s: have %+v, want %+v", c.name, c.operation, c.code, c.description, c.auth, got, c.want)
		}
	}
	if got := classify(t, map[string]any{"category": "DeviceTelemetry", "resultType": "401003"}, nil); got.PassedOver != OtherCategory {
		t.Errorf("another category: have %+v", got)
	}
	if got := Classify(Record{}); got.PassedOver != IsMetric {
		t.Errorf("a metric: have %+v", got)
	}
	if got := classify(t, nil, map[string]any{"statusCode": 401, "authType": "sas"}); got != (Classification{Cause: Unclassified, Rule: NoRule}) {
		t.Errorf("a status of 401 without a code: have %+v", got)
	}
}

// TestGraverCause checks that of two stated causes the graver counts, in whatever
// order and whichever texts they stand, and that no other cause excuses one.
func TestGraverCause(t *testing.T) {
	grave := []Cause{ThumbprintMismatch, CertificateExpired, TokenInvalid, TokenExpired, Unclassified}
	for _, a := range Rules {
		for _, b := range Rules {
			if a.Phrase == "" || b.Phrase == "" {
				continue
			}
			want := a.Cause
			if slices.Index(grave, b.Cause) < slices.Index(grave, a.Cause) {
				want = b.Cause
			}
			one := classify(t, map[string]any{"resultType": "401003", "resultDescription": a.Phrase + ". " + b.Phrase}, nil)
			two := classify(t, map[string]any{"resultType": "401003", "resultDescription": a.Phrase}, map[string]any{"details": b.Phrase})
			if one.Cause != want || two.Cause != want {
				t.Errorf("%q and %q: have %s in one text and %s in two, want %s", a.Phrase, b.Phrase, one.Cause, two.Cause, want)
			}
		}
	}
}

// TestEchoes checks that what the service repeats of a client neither states a cause
// nor excuses one, and that what stands beside it counts.
func TestEchoes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"thumbprint a: subject: cn=x y", "thumbprint a: subject: cn="},
		{"a=1, b c; d = e f\ng h&i=j\rk", "a=, b c; d =\ng h&i=\rk"},
		{`cn=a\, b, c`, "cn=, c"},
		{`cn="a, b", c`, "cn=, c"},
		{"cn='a, b' c, d", "cn=, d"},
		{"cn=ü, «ä", "cn=, «"},
		{"device 'a b' is", "device ' is"},
		{`device "a b" is`, `device " is`},
		{`device \"a b\" is`, `device \" is`},
		{"device `a b` is", "device ` is"},
		{"device “a b” is „c d“ or ‘e f’ or «g h».", "device “ is „ or ‘ or «."},
		{"device 'it's' is", "device ' is"},
		{"device 'a '( is ' is", "device '( is ' is"},
		{"the device's token, the devices' token", "the device's token, the devices' token"},
		{"token ' is", "token ' is"},
		{"device 'a b", "device '"},
		{"''", "'"},
		{"", ""},
	} {
		if got := withoutEchoes(c.text); got != c.want {
			t.Errorf("%q: have %q, want %q", c.text, got, c.want)
		}
	}
	for _, rule := range Rules {
		if rule.Phrase == "" {
			continue
		}
		for _, echo := range []string{"'%s'", `"%s"`, `\"%s\"`, "`%s`", "“%s”", "‘%s’", "«%s»", "cn=%s", "CN = %s, O=b", `CN=a\, %s`, `CN="a, %s"`, "'a%s", `"%s`} {
			echo = strings.Replace(echo, "%s", rule.Phrase, 1)
			for _, text := range []string{"Refused " + echo, echo, "Subject: " + echo + "\n"} {
				if c := classify(t, map[string]any{"resultType": "401003", "resultDescription": text}, map[string]any{"authType": "sas"}); c.Rule != UnknownText || c.Unknown != withoutEchoes(strings.ToLower(text)) || strings.Contains(c.Unknown, rule.Phrase) {
					t.Errorf("%q: have %+v", text, c)
				}
				mismatch := "Thumbprint does not match configuration: " + text
				if c := classify(t, map[string]any{"resultType": "401003", "resultDescription": mismatch}, nil); c.Cause != ThumbprintMismatch || c.Text != mismatch {
					t.Errorf("%q: have %+v", mismatch, c)
				}
			}
		}
	}
}

// TestSignedByAuthority checks that no thumbprint is inferred to be wrong where the hub
// has none.
func TestSignedByAuthority(t *testing.T) {
	for _, kind := range []string{"x509", "X509", "x509Certificate"} {
		for issuer, want := range map[string]Classification{
			"external": {Cause: Unclassified, Rule: NoRule},
			"External": {Cause: Unclassified, Rule: NoRule},
			"iothub":   {Cause: ThumbprintMismatch, Rule: "RefusedCertificate"},
			"":         {Cause: ThumbprintMismatch, Rule: "RefusedCertificate"},
		} {
			for _, code := range []string{"401002", "401003"} {
				auth := map[string]any{"authType": map[string]any{"type": kind, "issuer": issuer}}
				if c := classify(t, map[string]any{"resultType": code}, auth); c != want {
					t.Errorf("%s of %q: have %+v, want %+v", kind, issuer, c, want)
				}
			}
		}
	}
}

// TestNamesOfErrors checks that a text that is only the name of an error says no more than
// its record without the text, in whatever case: it is not searched for phrases.
func TestNamesOfErrors(t *testing.T) {
	for _, e := range errorNames {
		for _, rule := range Rules {
			if rule.Phrase != "" && strings.Contains(e.name, rule.Phrase) {
				t.Errorf("%s has the phrase of %s", e.name, rule.Name)
			}
		}
		for _, text := range []string{e.name, strings.ToUpper(e.name), " " + e.name + ". "} {
			want := classify(t, map[string]any{"resultType": e.code}, map[string]any{"authType": "sas"})
			for _, members := range []map[string]any{
				{"resultType": e.code, "resultDescription": text},
				{"resultType": strings.Trim(text, " ."), "resultDescription": text},
			} {
				if c := classify(t, members, map[string]any{"authType": "sas"}); c != want {
					t.Errorf("%v: have %+v, want %+v", members, c, want)
				}
			}
		}
		other := "x" + e.name
		if c := classify(t, map[string]any{"resultType": "401003", "resultDescription": other}, map[string]any{"authType": "sas"}); c.Rule != UnknownText || c.Unknown != other {
			t.Errorf("%s: have %+v", other, c)
		}
		both := map[string]any{"resultType": e.code, "resultDescription": e.name, "statusDescription": "The token has EXPIRED."}
		if c := classify(t, both, nil); c.Cause != TokenExpired || !c.Stated {
			t.Errorf("%v: have %+v", both, c)
		}
	}
}

// FuzzClassify checks that nothing that a client chooses for itself changes how
// its connection is classified.
func FuzzClassify(f *testing.F) {
	f.Add("401003", "IotHubUnauthorized", "sas", "dev-1", "mod-1", "v", true)
	for _, rule := range Rules {
		f.Add("401003", rule.Phrase, "x509", rule.Phrase, rule.Phrase, rule.Phrase, false)
	}
	for _, m := range seeds(f) {
		for raw, err := range Records(m) {
			if err != nil {
				continue
			}
			if r, err := DecodeRecord(raw); err == nil {
				f.Add(r.ResultType, strings.Join(r.Texts, " "), r.AuthType.Type, r.DeviceID, r.ModuleID, r.SDKVersion, r.OperationName == deviceConnect)
			}
		}
	}
	f.Fuzz(func(t *testing.T, code, text, auth, device, module, sdk string, connect bool) {
		members := map[string]any{"resultType": code, "resultDescription": text, "operationName": deviceDisconnect}
		if connect {
			members["operationName"] = deviceConnect
		}
		plain := map[string]any{"authType": map[string]any{"type": auth}, "deviceId": "dev-1", "moduleId": "", "sdkVersion": ""}
		chosen := map[string]any{"authType": map[string]any{"type": auth}, "deviceId": device, "moduleId": module, "sdkVersion": sdk}
		if a, b := classify(t, members, plain), classify(t, members, chosen); a != b {
			t.Errorf("a client chose its classification: %+v became %+v", a, b)
		}
	})
}
