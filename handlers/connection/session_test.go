package connection

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
)

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

// usualUUID is a UUID that is its own key.
var usualUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// unpackUUID returns the UUID of which packUUID made a key.
func unpackUUID(k DeviceKey) string {
	k[0], k[8] = k[0]&0x3f|k[8]&0xc0, k[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", k[:4], k[4:6], k[6:8], k[8:10], k[10:])
}

func TestKeys(t *testing.T) {
	seen := map[DeviceKey]Record{}
	for _, r := range []Record{{}, {DeviceID: "a"}, {DeviceID: "A"}, {DeviceID: "a", ModuleID: "b"}, {DeviceID: "ab"}, {ModuleID: "a"}, {DeviceID: "a/modules/b"},
		{DeviceID: "00000000-0000-4000-8000-00000000000a"}, {DeviceID: "00000000-0000-4000-8000-00000000000A"}, {DeviceID: "00000000-0000-4000-8000-00000000000b"},
		{DeviceID: "00000000-0000-4000-9000-00000000000a"}, {DeviceID: "40000000-0000-4000-8000-00000000000a"}, {DeviceID: "80000000-0000-4000-8000-00000000000a"},
		{DeviceID: "c0000000-0000-4000-8000-00000000000a"}, {DeviceID: "00000000-0000-4000-c000-00000000000a"}, {DeviceID: "00000000-0000-4000-0000-00000000000a"},
		{DeviceID: "00000000-0000-4000-8000-00000000000a", ModuleID: "m"}, {DeviceID: "00000000-0000-4000-8000-00000000000g"}, {DeviceID: "00000000000040008000-00000000000000a"},
		{DeviceID: "fifteen-letters"}, {DeviceID: "fifteen-letters", ModuleID: "m"}, {DeviceID: "sixteen-letters-"}, {DeviceID: "sixteen-letters-2"}, {DeviceID: "a\x00"}} {
		k := r.DeviceKey()
		if other, ok := seen[k]; ok || k == (DeviceKey{}) {
			t.Errorf("%+v and %+v have one key, %x", r, other, k)
		}
		seen[k] = r
	}
	// An id can be read back from a key that is not a hash, so no two ids have one.
	const other = "0123456789abcdefgGA-/:`\x00\xff"
	r := rand.New(rand.NewPCG(5, 7))
	for range 10_000 {
		id := []byte(fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<16), r.IntN(1<<16), r.Int64N(1<<48)))
		if r.IntN(2) == 0 {
			id[r.IntN(len(id))] = other[r.IntN(len(other))]
		}
		usual := usualUUID.Match(id)
		k := (&Record{DeviceID: string(id)}).DeviceKey()
		if back := unpackUUID(k); (k[0]>>6 == 1) != usual || usual && back != string(id) || !usual && k[0]>>7 == 0 {
			t.Fatalf("%q has the key %x, which is that of %s", id, k, back)
		}
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
