package alert

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	someHub = Hub{
		Name:       "contoso-hub",
		ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub",
	}
	someEntity = Entity{Type: Certificate, Name: "root-ca"}
	someDay    = time.Date(2026, 2, 1, 8, 0, 1, 123456700, time.UTC)
)

const (
	someType  = "IoT_CertificateSuccessfullyAddedToHub"
	someActor = "alice@contoso.example"
)

// TestIDIsPinned checks that ids never change: stored alerts are found by their
// ids, also for events that are delivered again after an update.
func TestIDIsPinned(t *testing.T) {
	const want = "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39"
	if got := ID(someType, someHub, someEntity, someActor, someDay); got != want {
		t.Errorf("have %s, want %s", got, want)
	}
}

func TestIDSame(t *testing.T) {
	want := ID(someType, someHub, someEntity, someActor, someDay)
	upper := func(h Hub) Hub { h.ResourceID = strings.ToUpper(h.ResourceID); return h }
	for name, got := range map[string]string{
		"hub in upper case":    ID(someType, upper(someHub), someEntity, someActor, someDay),
		"other subscription":   ID(someType, Hub{ResourceID: someHub.ResourceID, SubscriptionID: "x", Name: "CONTOSO-HUB"}, someEntity, someActor, someDay),
		"entity in upper case": ID(someType, someHub, Entity{Type: Certificate, Name: "ROOT-CA"}, someActor, someDay),
		"actor in mixed case":  ID(someType, someHub, someEntity, "Alice@Contoso.Example", someDay),
		"start of the day":     ID(someType, someHub, someEntity, someActor, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)),
		"end of the day":       ID(someType, someHub, someEntity, someActor, time.Date(2026, 2, 1, 23, 59, 59, 999999999, time.UTC)),
		"day in another zone": ID(someType, someHub, someEntity, someActor,
			time.Date(2026, 2, 2, 0, 30, 0, 0, time.FixedZone("", 5*60*60))),
	} {
		if got != want {
			t.Errorf("%s: have %s, want %s", name, got, want)
		}
	}
}

func TestIDOther(t *testing.T) {
	ids := map[string]string{}
	for name, id := range map[string]string{
		"the alert":         ID(someType, someHub, someEntity, someActor, someDay),
		"other type":        ID("IoT_CertificateSuccessfullyDeletedFromHub", someHub, someEntity, someActor, someDay),
		"type in lower":     ID(strings.ToLower(someType), someHub, someEntity, someActor, someDay),
		"other hub":         ID(someType, Hub{ResourceID: someHub.ResourceID + "2"}, someEntity, someActor, someDay),
		"other entity":      ID(someType, someHub, Entity{Type: Certificate, Name: "root-ca2"}, someActor, someDay),
		"other kind":        ID(someType, someHub, Entity{Type: DiagnosticSetting, Name: "root-ca"}, someActor, someDay),
		"other actor":       ID(someType, someHub, someEntity, "bob@contoso.example", someDay),
		"a device":          ID(someType, someHub, Entity{Type: Device, Name: "d1"}, "", someDay),
		"a DEVICE":          ID(someType, someHub, Entity{Type: Device, Name: "D1"}, "", someDay), // Ids of devices differ by case.
		"a module":          ID(someType, someHub, Entity{Type: Module, Name: "d1"}, "", someDay),
		"a MODULE":          ID(someType, someHub, Entity{Type: Module, Name: "D1"}, "", someDay),
		"no actor":          ID(someType, someHub, someEntity, "", someDay),
		"no entity":         ID(someType, someHub, Entity{}, someActor, someDay),
		"the day before":    ID(someType, someHub, someEntity, someActor, someDay.AddDate(0, 0, -1)),
		"the day after":     ID(someType, someHub, someEntity, someActor, someDay.AddDate(0, 0, 1)),
		"a year later":      ID(someType, someHub, someEntity, someActor, someDay.AddDate(1, 0, 0)),
		"nothing":           ID("", Hub{}, Entity{}, "", time.Time{}),
		"parts shifted":     ID(someType, someHub, Entity{Type: Certificate, Name: "root-ca" + someActor[:1]}, someActor[1:], someDay),
		"parts joined":      ID(someType, someHub, Entity{Type: Certificate, Name: "root-ca" + someActor}, "", someDay),
		"type joined":       ID(someType+someHub.ResourceID, Hub{}, someEntity, someActor, someDay),
		"kind and name":     ID(someType, someHub, Entity{Type: "Certificater", Name: "oot-ca"}, someActor, someDay),
		"zero in a name":    ID(someType, someHub, Entity{Type: Certificate, Name: "root-ca\x00"}, someActor, someDay),
		"space in an actor": ID(someType, someHub, someEntity, someActor+" ", someDay),
	} {
		if other, ok := ids[id]; ok {
			t.Errorf("%q and %q have one id, %s", name, other, id)
		}
		ids[id] = name
	}
}

// TestIDForm checks that an id is a UUID of version 8 (RFC 9562): one digit is
// the version, and two bits of another digit are the variant. The rest varies.
func TestIDForm(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	digits := make([]map[byte]bool, 36)
	for i := range 1000 {
		id := ID(someType, someHub, someEntity, someActor, someDay.AddDate(0, 0, i))
		if !form.MatchString(id) {
			t.Fatalf("%s is not a UUID of version 8", id)
		}
		for k := range digits {
			if digits[k] == nil {
				digits[k] = map[byte]bool{}
			}
			digits[k][id[k]] = true
		}
	}
	for k, seen := range digits {
		want := 16
		switch k {
		case 8, 13, 18, 23, 14:
			want = 1
		case 19:
			want = 4
		}
		if len(seen) != want {
			t.Errorf("character %d has %d values, want %d", k, len(seen), want)
		}
	}
}

func TestDay(t *testing.T) {
	for _, test := range []struct{ when, want time.Time }{
		{someDay, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
		{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)},
		{time.Date(2026, 2, 1, 23, 0, 0, 0, time.FixedZone("", -2*60*60)), time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)},
		{time.Date(1601, 1, 1, 12, 0, 0, 0, time.UTC), time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC)},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
	} {
		if got := (Occurrence{Event: Event{Time: test.when}}).Day(); !got.Equal(test.want) || got.Location() != time.UTC {
			t.Errorf("the day of %v is %v, want %v", test.when, got, test.want)
		}
	}
}

func TestWords(t *testing.T) {
	for severity, want := range map[Severity]bool{High: true, Medium: true, Low: true, Informational: true, "": false, "high": false, "Critical": false} {
		if severity.Valid() != want {
			t.Errorf("%q is valid: %v, want %v", severity, !want, want)
		}
	}
	for status, want := range map[Status]bool{Active: false, InProgress: false, Resolved: true, Dismissed: true, "resolved": true, "DISMISSED": true, "": false, "under review": false} {
		if status.Closed() != want {
			t.Errorf("%q is closed: %v, want %v", status, !want, want)
		}
	}
	if got := (Hub{Name: "Contoso-Hub"}).Key(); got != "contoso-hub" {
		t.Errorf("the key of Contoso-Hub is %s", got)
	}
}

// TestRedactKeepsNames checks that a property with a name in it stays as it is, even if
// the name looks like a credential, and that any other property loses its credentials.
func TestRedactKeepsNames(t *testing.T) {
	const token = "eyJhbGciOi.eyJzdWIi.c2ln"
	names := []string{
		"ActorObjectId", "ActorApplicationId", "ActorResourceId", "RoleAssignmentId", "RoleAssignmentScope", "RoleDefinitionId", "RolePrincipalId",
	}
	o := Occurrence{Finding: Finding{Properties: map[string]string{"Outcome": token}}}
	for _, name := range names {
		o.Properties[name] = "/subscriptions/s/resourceGroups/" + token
	}
	o.Redact()
	for _, name := range names {
		if got, want := o.Properties[name], "/subscriptions/s/resourceGroups/"+token; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(o.Properties["Outcome"], token) {
		t.Error("a property that holds no name keeps a credential")
	}
	for _, name := range []string{"RoleAssignmentId", "RoleAssignmentScope", "RoleDefinitionId", "RolePrincipalId"} {
		for _, value := range []string{token, "client_secret=c2VjcmV0c2VjcmV0", "/subscriptions/s?sig=c2VjcmV0c2VjcmV0", "00000000-0000-0000-0000-000000000001 " + token} {
			o.Properties = map[string]string{name: value}
			if o.Redact(); o.Properties[name] == value {
				t.Errorf("%s keeps %q", name, value)
			}
		}
	}
}

// BenchmarkID derives the id of an alert.
func BenchmarkID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ID(someType, someHub, someEntity, someActor, someDay)
	}
}
