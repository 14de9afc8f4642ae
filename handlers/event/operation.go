package event

import (
	"cmp"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Operation is the payload of the Microsoft.Resources.Resource* events: an
// operation on a resource that Azure Resource Manager carried out or refused
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups).
// There is no error code in it: whether the operation succeeded stands in the
// event type alone.
type Operation struct {
	Name          string // operationName, as spelled; compare regardless of case
	ResourceURI   string // the resource's id; may be empty
	CorrelationID string // may be empty
	Actor         Actor
	ClientAddress string // of the caller, may be empty
	Role          string // that allowed it, may be empty
	// HTTPRequest tells whether the event describes the request. The schema says
	// that it does so only for an update of an existing resource and for a
	// deletion.
	HTTPRequest Presence
	// Unreadable names the members that are there but could not be read, so that
	// a change of schema is seen.
	Unreadable []string
}

// Actor is who asked for an operation.
type Actor struct {
	Name          string // the best that the event has of UPN, name, object id and application id; may be empty
	ObjectID      string // in Microsoft Entra; may be empty
	ApplicationID string // may be empty
}

// Presence tells whether an optional member is there.
type Presence int

// A member is absent (or null), present, or there in a form that says nothing.
const (
	Absent Presence = iota
	Present
	Unclear
)

// Claim names that Azure Resource Manager puts into events; the short ones are
// those of the token itself
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
var (
	upnClaims = []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn"}
	// The first of the names is an address for people; the second is what a page shows.
	nameClaims        = []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "unique_name", "name"}
	objectIDClaims    = []string{"http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"}
	applicationClaims = []string{"appid", "azp"}
	addressClaims     = []string{"ipaddr"}
)

// OperationName reads only the operationName of an operation's payload, which
// is all that a trigger compares. Its error means that data is not the payload
// of an operation.
func OperationName(data jsontext.Value) (string, error) {
	var v struct {
		OperationName string `json:"operationName"`
	}
	if err := json.Unmarshal(data, &v, Lenient); err != nil {
		return "", fmt.Errorf("event: data: %w", JSONError(err))
	}
	if v.OperationName == "" {
		return "", fmt.Errorf("event: data.operationName: missing or empty")
	}
	return v.OperationName, nil
}

// DecodeOperation reads the payload of a Microsoft.Resources.Resource* event.
// authorization, claims and httpRequest are objects today and were strings once
// (schema 2018-01-01): it takes both, and null, and their absence. Its error
// says which required member is missing or of a wrong kind.
func DecodeOperation(data jsontext.Value) (Operation, error) {
	var v struct {
		OperationName string         `json:"operationName"`
		ResourceURI   string         `json:"resourceUri"`
		CorrelationID jsontext.Value `json:"correlationId"`
		Authorization jsontext.Value `json:"authorization"`
		Claims        jsontext.Value `json:"claims"`
		HTTPRequest   jsontext.Value `json:"httpRequest"`
	}
	if err := json.Unmarshal(data, &v, Lenient); err != nil {
		return Operation{}, fmt.Errorf("event: data: %w", JSONError(err))
	}
	if v.OperationName == "" {
		return Operation{}, fmt.Errorf("event: data.operationName: missing or empty")
	}
	o := Operation{Name: v.OperationName, ResourceURI: v.ResourceURI, CorrelationID: text(v.CorrelationID)}

	object := func(name string, raw jsontext.Value) (map[string]jsontext.Value, Presence) {
		members, presence := members(raw)
		if presence == Unclear {
			o.Unreadable = append(o.Unreadable, name)
		}
		return members, presence
	}
	authorization, _ := object("authorization", v.Authorization)
	evidence, _ := object("authorization.evidence", authorization["evidence"])
	claims, _ := object("claims", v.Claims)
	request, presence := object("httpRequest", v.HTTPRequest)

	o.HTTPRequest = presence
	o.Role = text(evidence["role"])
	o.Actor.ObjectID = cmp.Or(firstOf(claims, objectIDClaims), text(evidence["principalId"]))
	o.Actor.ApplicationID = firstOf(claims, applicationClaims)
	o.Actor.Name = cmp.Or(firstOf(claims, upnClaims), firstOf(claims, nameClaims), o.Actor.ObjectID, o.Actor.ApplicationID)
	o.ClientAddress = cmp.Or(text(request["clientIpAddress"]), firstOf(claims, addressClaims))
	return o, nil
}

// members reads an object, or a string that holds one.
func members(raw jsontext.Value) (map[string]jsontext.Value, Presence) {
	if len(raw) == 0 || raw.Kind() == 'n' {
		return nil, Absent
	}
	if raw.Kind() == '"' {
		raw = jsontext.Value(text(raw))
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(raw, &m, Lenient); err != nil || m == nil {
		return nil, Unclear
	}
	return m, Present
}

// text returns the string that raw holds, or "" if it holds none.
func text(raw jsontext.Value) string {
	var s string
	if raw.Kind() != '"' || json.Unmarshal(raw, &s, Lenient) != nil {
		return ""
	}
	return s
}

func firstOf(m map[string]jsontext.Value, names []string) string {
	for _, name := range names {
		if s := text(m[name]); s != "" {
			return s
		}
	}
	return ""
}
