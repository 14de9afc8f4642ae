package event

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The claims as Azure Resource Manager writes them into events.
const (
	claimUPN      = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
	claimEmail    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
	claimSPN      = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/spn"
	claimName     = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
	claimObjectID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
)

func TestDecodeOperation(t *testing.T) {
	got, err := DecodeOperation(jsontext.Value(`{
		"authorization": {"scope": "s", "action": "a", "evidence": {"role": "Owner", "principalId": "b2", "principalType": "User"}},
		"claims": {"` + claimUPN + `": "alice@contoso.example", "` + claimObjectID + `": "b1", "appid": "a1", "ipaddr": "203.0.113.7"},
		"correlationId": "c1",
		"httpRequest": {"clientRequestId": "r1", "clientIpAddress": "192.0.2.1", "method": "PUT", "url": "https://management.azure.com/"},
		"resourceProvider": "Microsoft.Devices",
		"resourceUri": "` + hubID + `",
		"operationName": "Microsoft.Devices/IotHubs/write",
		"status": "Succeeded"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Operation{
		Name: "Microsoft.Devices/IotHubs/write", ResourceURI: hubID, CorrelationID: "c1",
		Actor:         Actor{Name: "alice@contoso.example", Type: User, ObjectID: "b1", ApplicationID: "a1"},
		ClientAddress: "192.0.2.1", Role: "Owner", RolePrincipalID: "b2", RolePrincipalType: "User", HTTPRequest: Present,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Errorf("the operation differs (-want +got):\n%s", diff)
	}
}

func TestDecodeOperationLeast(t *testing.T) {
	got, err := DecodeOperation(jsontext.Value(`{"operationName":"x"}`))
	if diff := cmp.Diff(Operation{Name: "x"}, got, cmpopts.IgnoreUnexported(Event{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestDecodeOperationForms gives DecodeOperation every form of each member that
// once changed its kind.
func TestDecodeOperationForms(t *testing.T) {
	objects := map[string]string{
		"authorization": `{"evidence":{"role":"Owner","principalId":"b2"}}`,
		"claims":        `{"upn":"alice@contoso.example","oid":"b1","ipaddr":"203.0.113.7"}`,
		"httpRequest":   `{"clientIpAddress":"192.0.2.1"}`,
	}
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := Operation{
		Name: "x", Actor: Actor{Name: "alice@contoso.example", Type: User, ObjectID: "b1"},
		ClientAddress: "192.0.2.1", Role: "Owner", RolePrincipalID: "b2", HTTPRequest: Present,
	}
	// without is the operation that remains if a member says nothing.
	without := map[string]Operation{}
	for member := range objects {
		o := whole
		switch member {
		case "authorization":
			o.Role, o.RolePrincipalID = "", ""
		case "claims":
			o.Actor = Actor{} // The principal of the role does not stand in.
		case "httpRequest":
			o.ClientAddress, o.HTTPRequest = "203.0.113.7", Absent // ipaddr stands in.
		}
		without[member] = o
	}
	for member, asObject := range objects {
		for _, form := range []struct {
			name, value string
			presence    Presence
		}{
			{"object", asObject, Present},
			{"string", quoted(asObject), Present},
			{"string with spaces", quoted(" \n" + asObject + " "), Present},
			{"absent", "", Absent},
			{"null", "null", Absent},
			{"number", "7", Unclear},
			{"true", "true", Unclear},
			{"array", "[" + asObject + "]", Unclear},
			{"text", `"{azure_resource_manager_claims}"`, Unclear},
			{"empty string", `""`, Unclear},
			{"string of null", `"null"`, Unclear},
			{"string of a string", quoted(quoted(asObject)), Unclear},
			{"string of an array", `"[]"`, Unclear},
			{"string with a member twice", quoted(`{"a":1,"a":2}`), Unclear},
			{"cut string", quoted(asObject[:len(asObject)-1]), Unclear},
		} {
			t.Run(member+"/"+form.name, func(t *testing.T) {
				members := map[string]string{"operationName": `"x"`}
				maps.Copy(members, objects)
				got, err := DecodeOperation(object(members, set(member, form.value)))
				if err != nil {
					t.Fatal(err)
				}
				want := whole
				if form.presence != Present {
					want = without[member]
				}
				if form.presence == Unclear {
					want.Unreadable = []string{member}
				}
				if member == "httpRequest" {
					want.HTTPRequest = form.presence
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
					t.Errorf("the operation differs (-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("evidence/number", func(t *testing.T) {
		got, err := DecodeOperation(jsontext.Value(`{"operationName":"x","authorization":{"evidence":7}}`))
		if err != nil || !cmp.Equal(got.Unreadable, []string{"authorization.evidence"}) {
			t.Errorf("have %v unreadable, %v; want authorization.evidence", got.Unreadable, err)
		}
	})
	t.Run("evidence/string", func(t *testing.T) {
		got, err := DecodeOperation(jsontext.Value(`{"operationName":"x","authorization":{"evidence":"{\"role\":\"Owner\"}"}}`))
		if err != nil || got.Role != "Owner" || got.Unreadable != nil {
			t.Errorf("have role %q, %v unreadable, %v; want Owner", got.Role, got.Unreadable, err)
		}
	})
}

// TestActor takes the best name out of the claims, again and again.
func TestActor(t *testing.T) {
	claims := map[string]string{}
	for i, step := range []struct{ claim, value, want string }{
		// From the least to the best, each in the order of preference.
		{"azp", "azp", "azp"}, {"appid", "appid", "appid"},
		{"oid", "oid", "oid"}, {claimObjectID, "object id", "object id"},
		{"name", "name", "name (object id)"},
		{"spn", "spn", "spn"}, {claimSPN, "long spn", "long spn"},
		{"preferred_username", "preferred", "preferred"}, {"unique_name", "unique name", "unique name"}, {claimName, "long name", "long name"},
		{"email", "email", "email"}, {claimEmail, "long email", "long email"},
		{"upn", "upn", "upn"}, {claimUPN, "long upn", "long upn"},
	} {
		claims[step.claim] = `"` + step.value + `"`
		for _, noise := range []map[string]string{nil, set("http://example.com/other", `"x"`)} {
			o, err := DecodeOperation(jsontext.Value(`{"operationName":"x","claims":` + string(object(claims, noise)) + `}`))
			if err != nil || o.Actor.Name != step.want {
				t.Errorf("%d claims: the actor is %q, %v; want %q", i+1, o.Actor.Name, err, step.want)
			}
		}
	}
	const (
		guid     = "0a1b2c3d-0000-4000-8000-0000000000b2"
		identity = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-pipeline"
		site     = "/subscriptions/s/resourcegroups/g/providers/Microsoft.Web/sites/app/slots/staging"
	)
	for name, test := range map[string]struct {
		claims string
		want   Actor
	}{
		"none":             {`{}`, Actor{}},
		"a scope alone":    {`{"scp":"user_impersonation"}`, Actor{}},
		"empty upn":        {`{"upn":"","name":"Alice"}`, Actor{Name: "Alice", Type: User}},
		"blank upn":        {`{"upn":" ","name":"Alice"}`, Actor{Name: "Alice", Type: User}},
		"null upn":         {`{"upn":null,"name":"Alice"}`, Actor{Name: "Alice", Type: User}},
		"number":           {`{"upn":7,"name":"Alice"}`, Actor{Name: "Alice", Type: User}},
		"object":           {`{"upn":{"a":"b"},"oid":"b1"}`, Actor{Name: "b1", ObjectID: "b1"}},
		"blanks":           {`{"upn":" alice@contoso.example\n"}`, Actor{Name: "alice@contoso.example", Type: User}},
		"application":      {`{"appid":"a1","oid":"b1"}`, Actor{Name: "b1", Type: Application, ObjectID: "b1", ApplicationID: "a1"}},
		"application only": {`{"appid":"a1"}`, Actor{Name: "a1", Type: Application, ApplicationID: "a1"}},
		"application of v2": {`{"azp":"a1","oid":"b1","idtyp":"App"}`,
			Actor{Name: "b1", Type: Application, ObjectID: "b1", ApplicationID: "a1"}},
		"application with a name": {`{"name":"Deploy","oid":"b1","idtyp":"app"}`, Actor{Name: "Deploy (b1)", Type: Application, ObjectID: "b1"}},
		"a user's application":    {`{"appid":"a1","oid":"b1","scp":"user_impersonation"}`, Actor{Name: "b1", Type: User, ObjectID: "b1", ApplicationID: "a1"}},
		"a user without a name":   {`{"oid":"b1","idtyp":"user"}`, Actor{Name: "b1", Type: User, ObjectID: "b1"}},
		"all": {`{"upn":"alice@contoso.example","oid":"b1","appid":"a1"}`,
			Actor{Name: "alice@contoso.example", Type: User, ObjectID: "b1", ApplicationID: "a1"}},
		"other case": {`{"UPN":"alice@contoso.example"}`, Actor{}},
		"guest": {`{"` + claimEmail + `":"bob@example.com","` + claimName + `":"live.com#bob@example.com","name":"Bob","appid":"a1"}`,
			Actor{Name: "bob@example.com", Type: User, ApplicationID: "a1"}},
		"service by spn":               {`{"` + claimSPN + `":"Microsoft.Insights/alertRules"}`, Actor{Name: "Microsoft.Insights/alertRules", Type: Application}},
		"service by email":             {`{"` + claimEmail + `":"Microsoft.Advisor"}`, Actor{Name: "Microsoft.Advisor"}},
		"one display name, one person": {`{"name":"Alice","oid":"` + guid + `"}`, Actor{Name: "Alice (" + guid + ")", Type: User, ObjectID: guid}},
		"braces and capitals": {`{"oid":"{0A1B2C3D-0000-4000-8000-0000000000B2}","appid":"0A1B2C3D000040008000000000000002"}`,
			Actor{Name: guid, Type: Application, ObjectID: guid, ApplicationID: "0a1b2c3d-0000-4000-8000-000000000002"}},
		"an spn that is a GUID": {`{"spn":"0A1B2C3D0000400080000000000000B2"}`, Actor{Name: guid, Type: Application}},
		"not a GUID":            {`{"oid":"0A1B2C3D00004000800000000000000X"}`, Actor{Name: "0A1B2C3D00004000800000000000000X", ObjectID: "0A1B2C3D00004000800000000000000X"}},
		"managed identity": {`{"appid":"a1","oid":"` + guid + `","idtyp":"app","xms_mirid":"` + identity + `"}`,
			Actor{Name: "id-pipeline (" + guid + ")", Type: ManagedIdentity, ObjectID: guid, ApplicationID: "a1", ResourceID: identity}},
		"managed identity without an object id": {`{"xms_mirid":"` + identity + `"}`, Actor{Name: "id-pipeline (" + identity + ")", Type: ManagedIdentity, ResourceID: identity}},
		"managed identity of a slot":            {`{"oid":"b1","xms_mirid":"` + site + `"}`, Actor{Name: "app/staging (b1)", Type: ManagedIdentity, ObjectID: "b1", ResourceID: site}},
		"managed identity of no resource":       {`{"oid":"b1","xms_mirid":"a/b"}`, Actor{Name: "b (b1)", Type: ManagedIdentity, ObjectID: "b1", ResourceID: "a/b"}},
		"managed identity that ends in a slash": {`{"oid":"b1","xms_mirid":"a/"}`, Actor{Name: "a/ (b1)", Type: ManagedIdentity, ObjectID: "b1", ResourceID: "a/"}},
		"managed identity with an spn":          {`{"oid":"b1","spn":"s","xms_mirid":"` + identity + `"}`, Actor{Name: "id-pipeline (b1)", Type: ManagedIdentity, ObjectID: "b1", ResourceID: identity}},
		"a user beside an identity":             {`{"upn":"alice@contoso.example","xms_mirid":"` + identity + `"}`, Actor{Name: "alice@contoso.example", Type: User}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := DecodeOperation(jsontext.Value(`{"operationName":"x","claims":` + test.claims + `}`))
			if diff := cmp.Diff(test.want, o.Actor, cmpopts.IgnoreUnexported(Event{})); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestRolePrincipal checks that the principal of the role assignment is told apart
// from the caller, and that the assignment itself is read.
func TestRolePrincipal(t *testing.T) {
	o, err := DecodeOperation(jsontext.Value(`{"operationName":"x","claims":{"upn":"alice@contoso.example"},
		"authorization":{"evidence":{"role":"Contributor","principalId":"0000000000000000000000000000C9AB","principalType":"Group",
		"roleAssignmentId":"00000000000000000000000000000A01","roleAssignmentScope":"/subscriptions/S","roleDefinitionId":"00000000000000000000000000000d01"}}}`))
	want := Operation{
		Name: "x", Actor: Actor{Name: "alice@contoso.example", Type: User},
		Role: "Contributor", RolePrincipalID: "00000000-0000-0000-0000-00000000c9ab", RolePrincipalType: "Group",
		RoleAssignmentID: "00000000-0000-0000-0000-000000000a01", RoleAssignmentScope: "/subscriptions/S",
		RoleDefinitionID: "00000000-0000-0000-0000-000000000d01",
	}
	if diff := cmp.Diff(want, o, cmpopts.IgnoreUnexported(Event{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestClientAddress(t *testing.T) {
	for name, test := range map[string]struct{ members, want string }{
		"both":          {`"httpRequest":{"clientIpAddress":"192.0.2.1"},"claims":{"ipaddr":"203.0.113.7"}`, "192.0.2.1"},
		"request only":  {`"httpRequest":{"clientIpAddress":"192.0.2.1"}`, "192.0.2.1"},
		"claim only":    {`"claims":{"ipaddr":"203.0.113.7"}`, "203.0.113.7"},
		"empty request": {`"httpRequest":{"clientIpAddress":""},"claims":{"ipaddr":"203.0.113.7"}`, "203.0.113.7"},
		"wrong kind":    {`"httpRequest":{"clientIpAddress":["192.0.2.1"]},"claims":{"ipaddr":"203.0.113.7"}`, "203.0.113.7"},
		"version 6":     {`"httpRequest":{"clientIpAddress":"2001:db8::1"}`, "2001:db8::1"},
		"none":          {`"claims":{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := DecodeOperation(jsontext.Value(`{"operationName":"x",` + test.members + `}`))
			if err != nil || o.ClientAddress != test.want {
				t.Errorf("have %q, %v; want %q", o.ClientAddress, err, test.want)
			}
		})
	}
}

// TestOperationRefused checks that both readers of an operation refuse the same
// payloads, in words that say where.
func TestOperationRefused(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"no operationName":        {`{}`, "data.operationName: missing or empty"},
		"empty operationName":     {`{"operationName":""}`, "data.operationName: missing or empty"},
		"null operationName":      {`{"operationName":null}`, "data.operationName: missing or empty"},
		"number as operationName": {`{"operationName":7}`, `"/operationName"`},
		"object as operationName": {`{"operationName":{}}`, `"/operationName"`},
		"other case":              {`{"OperationName":"x"}`, "data.operationName: missing or empty"},
		"twice":                   {`{"operationName":"x","operationName":"x"}`, `duplicate object member name "operationName"`},
		"null":                    {`null`, "data.operationName: missing or empty"},
		"string":                  {`"text"`, "string"},
		"array":                   {`[]`, "array"},
		"number":                  {`1`, "number"},
		"nothing":                 {``, "data: "},
		"no JSON":                 {`{"operationName":`, "data: "},
		"more after it":           {`{"operationName":"x"}{}`, "data: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeOperation(jsontext.Value(test.data))
			wantError(t, err, "event: data", test.want)
			_, err = OperationName(jsontext.Value(test.data))
			wantError(t, err, "event: data", test.want)
		})
	}
	t.Run("number as resourceUri", func(t *testing.T) {
		_, err := DecodeOperation(jsontext.Value(`{"operationName":"x","resourceUri":7}`))
		wantError(t, err, `event: data: `, `within "/resourceUri"`)
	})
}

// TestCorrelationID checks that an odd correlation id does not keep an operation
// from being judged.
func TestCorrelationID(t *testing.T) {
	for value, want := range map[string]string{`"c1"`: "c1", `""`: "", "null": "", "7": "", `{"a":1}`: ""} {
		o, err := DecodeOperation(jsontext.Value(`{"operationName":"x","correlationId":` + value + `}`))
		if err != nil || o.CorrelationID != want {
			t.Errorf("%s: have %q, %v; want %q", value, o.CorrelationID, err, want)
		}
	}
}

// readCases returns the events of all detectors' cases.
func readCases(t testing.TB) (events []jsontext.Value) {
	t.Helper()
	files, err := filepath.Glob("../detector/testdata/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases of detectors: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Event jsontext.Value `json:"event"`
		}
		if err := json.Unmarshal(data, &c, Lenient, jsontext.AllowDuplicateNames(true)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		events = append(events, c.Event)
	}
	return events
}

// FuzzDecode looks for events that make Decode panic, and for decoded events
// that break what Event promises.
func FuzzDecode(f *testing.F) {
	for _, c := range readCases(f) {
		f.Add([]byte(c))
	}
	f.Add([]byte(object(cloudEvents, map[string]string{"data": "", "data_base64": `"e30="`})))
	f.Add([]byte(" " + string(object(cloudEvents, nil)) + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		e, err := Decode(raw)
		if string(raw) != before {
			t.Error("Decode changed what it was given")
		}
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
			return
		}
		if e.ID == "" || e.Type == "" || e.Subject == "" || len(e.Data) == 0 {
			t.Errorf("a required member is empty: %+v", e)
		}
		if e.Time.Location() != time.UTC || e.Time.Year() < 1601 || e.Time.Year() > 9999 {
			t.Errorf("the time is %v", e.Time)
		}
		if string(e.Raw) != before {
			t.Error("the event is not kept as it was delivered")
		}
		for _, s := range []string{e.ID, e.Type, e.Subject, e.Source} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is not a text", s)
			}
		}
		again, err := Decode(e.Raw)
		if diff := cmp.Diff(e, again, cmpopts.IgnoreUnexported(Event{})); diff != "" || err != nil {
			t.Errorf("decoded again it differs: %v\n%s", err, diff)
		}
	})
}

// FuzzDecodeOperation looks for payloads that make DecodeOperation panic, and for
// payloads that the trigger reads in another way than the detector.
func FuzzDecodeOperation(f *testing.F) {
	for _, c := range readCases(f) {
		if e, err := Decode(c); err == nil {
			f.Add([]byte(e.Data))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := DecodeOperation(data)
		name, nameErr := OperationName(data)
		if err != nil {
			if diff := cmp.Diff(Operation{}, o, cmpopts.IgnoreUnexported(Event{})); diff != "" {
				t.Errorf("beside the error %v there is an operation:\n%s", err, diff)
			}
			return
		}
		if nameErr != nil || name != o.Name || o.Name == "" {
			t.Errorf("the trigger reads %q, %v, and the detector %q", name, nameErr, o.Name)
		}
		if o.Actor.Name == "" && o.Actor != (Actor{}) {
			t.Errorf("there is an actor without a name: %+v", o.Actor)
		}
		for _, s := range []string{o.Name, o.ResourceURI, o.CorrelationID, o.Actor.Name, o.Actor.ResourceID, o.ClientAddress, o.Role, o.RolePrincipalID,
			o.RoleAssignmentID, o.RoleAssignmentScope, o.RoleDefinitionID} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is not a text", s)
			}
		}
		if o.HTTPRequest < Absent || o.HTTPRequest > Unclear {
			t.Error(fmt.Sprint("no presence: ", o.HTTPRequest))
		}
	})
}

// TestEventOperationName checks that a broken member does not hide the name of the
// operation.
func TestEventOperationName(t *testing.T) {
	for data, want := range map[string]string{
		`{"operationName": "P/T/write"}`:                   "P/T/write",
		`{"operationName": "P/T/write", "resourceUri": 1}`: "P/T/write",
		`{"operationName": 1}`:                             "",
		`{}`:                                               "",
		`1`:                                                "",
	} {
		got, err := Event{Data: jsontext.Value(data)}.OperationName()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: have %q, %v; want %q", data, got, err, want)
		}
	}
}
