package event

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Operation is the payload of the Microsoft.Resources.Resource* events: an
// operation on a resource that Azure Resource Manager carried out or refused
// (https://learn.microsoft.com/azure/event-grid/event-schema-resource-groups). It
// has no error code. Only the event type says whether the operation succeeded.
type Operation struct {
	Name          string // operationName, as spelled; compare regardless of case
	ResourceURI   string // the resource's id; may be empty
	CorrelationID string // may be empty
	Actor         Actor
	ClientAddress string // of the caller, may be empty
	// Role is the role that allowed the operation; it may be empty. The role was
	// assigned to the principal with RolePrincipalID: the caller, or a group of
	// the caller (a group:
	// https://github.com/cloud-custodian/cloud-custodian/issues/3172).
	Role              string
	RolePrincipalID   string // may be empty
	RolePrincipalType string // User, Group or ServicePrincipal; may be empty
	// RoleAssignmentID names the role assignment: a GUID, or a resource id, as the event
	// has it. RoleAssignmentScope is where the assignment was made, which may be above
	// the resource. RoleDefinitionID names the role. All may be empty.
	RoleAssignmentID    string
	RoleAssignmentScope string
	RoleDefinitionID    string
	// HTTPRequest tells whether the event describes the request. The schema says
	// that it does so only for an update of an existing resource and for a
	// deletion.
	HTTPRequest Presence
	// Unreadable names the members that are there but could not be read, so that
	// a change of schema is seen.
	Unreadable []string
}

// Actor is who asked for an operation, as the claims of the token say.
type Actor struct {
	// Name is the caller that Azure shows, or the best other name in the claims.
	// It is empty only if the claims name nobody; all other fields are then empty
	// too. A name that others can have too is followed by the object id:
	// "id-pipeline (00000000-0000-0000-0000-0000000000b2)".
	Name          string
	Type          ActorType // "" if the claims do not tell
	ObjectID      string    // in Microsoft Entra; may be empty
	ApplicationID string    // of the client that was used; may be empty
	ResourceID    string    // of a managed identity, as spelled; empty for others
}

// ActorType is the kind of principal that an actor is.
type ActorType string

// The kinds of actors.
const (
	User            ActorType = "User"
	Application     ActorType = "Application"
	ManagedIdentity ActorType = "ManagedIdentity"
)

// Presence tells whether an optional member is there.
type Presence int

// A member is absent (or null), present, or there in a form that says nothing.
const (
	Absent Presence = iota
	Present
	Unclear
)

// Names of the claims that Azure Resource Manager puts into events. The short
// names are the names in the token itself
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
//
// Azure shows as the caller "email address of the user who has performed the
// operation, UPN claim, or SPN claim based on availability"
// (https://learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema),
// "computed from the information in the Claims property (emailaddress/upn/spn)"
// (a developer of Microsoft, https://github.com/Azure/azure-powershell/issues/4810).
var (
	upnClaims = []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn"}
	// userClaims hold names that no two people of a tenant share, the best first.
	// The UPN is unique in its tenant and comes first. A guest or a personal
	// account has an address instead
	// (https://github.com/triggermesh/triggermesh/pull/278).
	userClaims = append(upnClaims[:2:2],
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "email",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "unique_name", "preferred_username")
	spnClaims = []string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/spn", "spn"}
	// Anybody can have any display name.
	displayClaims = []string{"name"}
	// xms_mirid is the resource id of a managed identity, or of the resource that
	// has a system-assigned one
	// (https://learn.microsoft.com/answers/questions/1282788/existence-of-xms-az-rid-field-in-activity-logs-of).
	managedIdentityClaims = []string{"xms_mirid"}
	objectIDClaims        = []string{"http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"}
	applicationClaims     = []string{"appid", "azp"}
	addressClaims         = []string{"ipaddr"}
	// A token of a user has scopes; one of an application has none.
	scopeClaims = []string{"http://schemas.microsoft.com/identity/claims/scope", "scp"}
	// idtyp is app for a token of an application
	// (https://learn.microsoft.com/entra/identity-platform/optional-claims-reference).
	tokenTypeClaims = []string{"idtyp"}
)

// OperationName reads only the operationName of an operation's payload. A trigger
// compares nothing else of it. Its error means that data is not the payload of an
// operation.
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
// authorization, claims and httpRequest are objects today and were strings in the
// schema 2018-01-01. DecodeOperation takes both forms, null, and events without
// these members. Its error says which required member is missing or of a wrong
// kind.
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
	o.RolePrincipalID = canonicalID(text(evidence["principalId"]))
	o.RolePrincipalType = text(evidence["principalType"])
	o.RoleAssignmentID = canonicalID(text(evidence["roleAssignmentId"]))
	o.RoleAssignmentScope = text(evidence["roleAssignmentScope"])
	o.RoleDefinitionID = canonicalID(text(evidence["roleDefinitionId"]))
	o.Actor = decodeActor(claims)
	o.ClientAddress = cmp.Or(text(request["clientIpAddress"]), firstOf(claims, addressClaims))
	return o, nil
}

// decodeActor finds the caller in the claims. It does not read the evidence of
// the authorization, which describes the role assignment.
func decodeActor(claims map[string]jsontext.Value) Actor {
	a := Actor{
		ObjectID:      canonicalID(firstOf(claims, objectIDClaims)),
		ApplicationID: canonicalID(firstOf(claims, applicationClaims)),
	}
	user, display, spn := firstOf(claims, userClaims), firstOf(claims, displayClaims), canonicalID(firstOf(claims, spnClaims))
	identity, tokenType := firstOf(claims, managedIdentityClaims), firstOf(claims, tokenTypeClaims)
	isUser := strings.EqualFold(tokenType, "user") || tokenType == "" &&
		(firstOf(claims, upnClaims) != "" || firstOf(claims, scopeClaims) != "" || strings.Contains(user, "@") || display != "")
	switch {
	case isUser:
		a.Type = User
	case identity != "":
		a.Type, a.ResourceID = ManagedIdentity, identity
	case tokenType != "" || spn != "" || a.ApplicationID != "":
		a.Type = Application
	}
	switch {
	case a.Type == ManagedIdentity:
		a.Name = fmt.Sprintf("%s (%s)", resourceName(identity), cmp.Or(a.ObjectID, identity))
	case user != "":
		a.Name = user
	case spn != "":
		a.Name = spn
	case display != "" && a.ObjectID != "":
		a.Name = fmt.Sprintf("%s (%s)", display, a.ObjectID)
	default:
		a.Name = cmp.Or(display, a.ObjectID, a.ApplicationID)
	}
	if a.Name == "" {
		return Actor{}
	}
	return a
}

// resourceName returns the name at the end of a resource id. If id is not a
// resource id, its name is the part after the last slash.
func resourceName(id string) string {
	r, err := ParseResourceID(id)
	if err != nil {
		return cmp.Or(id[strings.LastIndexByte(id, '/')+1:], id)
	}
	if r.ChildName != "" {
		return r.Name + "/" + r.ChildName
	}
	return r.Name
}

// canonicalID returns a GUID in one spelling: Azure writes the same id with and
// without hyphens, braces and capitals. A string that is not a GUID stays as it
// is.
func canonicalID(s string) string {
	digits := strings.ReplaceAll(strings.Trim(s, "{}()"), "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return s
	}
	d := strings.ToLower(digits)
	return d[:8] + "-" + d[8:12] + "-" + d[12:16] + "-" + d[16:20] + "-" + d[20:]
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

// firstOf returns the first of the members that is a string with more than blanks.
func firstOf(m map[string]jsontext.Value, names []string) string {
	for _, name := range names {
		if s := strings.TrimSpace(text(m[name])); s != "" {
			return s
		}
	}
	return ""
}
