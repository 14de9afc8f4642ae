package connection

import "testing"

func TestSign(t *testing.T) {
	const sas, x509 = "sas", "x509"
	for _, c := range []struct {
		operation, code, description, auth, device string
		want                                       Sign
		cause                                      Cause
	}{
		{"deviceConnect", "", "", sas, "dev-1", Connect, ""},
		{"DEVICECONNECT", "", "", x509, "dev-1", Connect, ""},
		{"deviceConnect", "", "", sas, "", NoSign, ""},
		{"deviceDisconnect", "401003", "IotHubUnauthorized", sas, "dev-1", Expiry, TokenExpired},
		{"devicedisconnect", "401003", "The specified SAS token is expired", sas, "dev-1", Expiry, TokenExpired},
		{"deviceDisconnect", "401003", "IotHubUnauthorized", "", "dev-1", Expiry, TokenExpired},
		{"deviceDisconnect", "401003", "IotHubUnauthorized", sas, "", Refused, TokenExpired},
		{"deviceDisconnect", "401003", "IotHubUnauthorized", x509, "dev-1", Refused, CertificateExpired},
		{"deviceDisconnect", "401003", "Device clock is wrong", sas, "dev-1", Refused, Unclassified},
		{"deviceDisconnect", "404104", "The specified SAS token has an invalid signature", sas, "dev-1", Refused, TokenInvalid},
		{"deviceDisconnect", "404104", "DeviceConnectionClosedRemotely", sas, "dev-1", NoSign, ""},
		{"deviceDisconnect", "", "", sas, "dev-1", NoSign, ""},
		{"deviceConnect", "401003", "The specified SAS token is expired", sas, "dev-1", Refused, TokenExpired},
		{"deviceConnect", "401003", "IotHubUnauthorized", sas, "dev-1", Refused, TokenInvalid},
		{"deviceConnect", "401003", "IotHubUnauthorized", "", "dev-1", Refused, Unclassified},
		{"deviceConnect", "429001", "ThrottlingException", sas, "dev-1", NoSign, ""},
		{"deviceUpdate", "", "The specified SAS token is expired", sas, "dev-1", Refused, TokenExpired},
	} {
		properties := map[string]any{"deviceId": c.device}
		if c.auth != "" {
			properties["authType"] = c.auth
		}
		r, err := DecodeRecord(rawRecord(t, map[string]any{"operationName": c.operation, "resultType": c.code, "resultDescription": c.description}, properties))
		if err != nil {
			t.Fatal(err)
		}
		classification := Classify(r)
		if got := r.Sign(classification); got != c.want || classification.Cause != c.cause {
			t.Errorf("%s %s %q %s %s: have %d and %q, want %d and %q", c.operation, c.code, c.description, c.auth, c.device, got, classification.Cause, c.want, c.cause)
		}
	}
}

func TestKeys(t *testing.T) {
	seen := map[DeviceKey]Record{}
	for _, r := range []Record{{}, {DeviceID: "a"}, {DeviceID: "A"}, {DeviceID: "a", ModuleID: "b"}, {DeviceID: "ab"}, {ModuleID: "a"}, {DeviceID: "a/modules/b"},
		{DeviceID: "fifteen-letters"}, {DeviceID: "fifteen-letters", ModuleID: "m"}, {DeviceID: "sixteen-letters-"}, {DeviceID: "sixteen-letters-2"}, {DeviceID: "a\x00"}} {
		k := r.DeviceKey()
		if other, ok := seen[k]; ok || k == (DeviceKey{}) {
			t.Errorf("%+v and %+v have one key, %x", r, other, k)
		}
		seen[k] = r
	}
	if a, b := (&Record{DeviceID: "a", Protocol: "Mqtt"}).DeviceKey(), (&Record{DeviceID: "a"}).DeviceKey(); a != b {
		t.Errorf("the key of a device depends on more than its ids: %x and %x", a, b)
	}
	address := func(s string) AddressKey { return (&Record{MaskedIPAddress: s}).AddressKey() }
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"203.0.113.XXX", "203.0.113.XXX", true},
		{" 203.0.113.xxx", "203.0.113.XXX", true},
		{"203.0.113.XXX", "192.0.2.XXX", false},
		{"203.0.113.XXX", "", true},
		{"", "192.0.2.XXX", true},
		{"", " ", true},
	} {
		if got := address(c.a).Compatible(address(c.b)); got != c.want {
			t.Errorf("%q and %q: have %t, want %t", c.a, c.b, got, c.want)
		}
	}
}
