package event

import (
	"cmp"
	"errors"
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
		return "", errNoOperation
	}
	return v.OperationName, nil
}

// DecodeOperation reads the payload of a Microsoft.Resources.Resource* event.
// authorization, claims and httpRequest are objects today and were strings in the
// schema 2018-01-01. DecodeOperation takes both forms, null, and events without
// these members. Its error says which required member is missing or of a wrong
// kind.
func DecodeOperation(data jsontext.Value) (Operation, error) {
	v, err := readPayload(data)
	if err != nil {
		return Operation{}, operationError(data)
	}
	return decodeOperation(v, data)
}

// decodeOperation is DecodeOperation of data whose members are those of v.
func decodeOperation(v payload, data jsontext.Value) (Operation, error) {
	for _, name := range [...]string{"operationName", "resourceUri"} {
		switch v.kind(name) {
		case '"', 'n', jsontext.KindInvalid:
		default:
			return Operation{}, operationError(data)
		}
	}
	o := Operation{Name: v.text("operationName"), ResourceURI: v.text("resourceUri"), CorrelationID: v.text("correlationId")}
	if o.Name == "" {
		return Operation{}, operationError(data)
	}

	inside := func(in payload, member, name string) (payload, Presence) {
		inner, presence := in.object(member)
		if presence == Unclear {
			o.Unreadable = append(o.Unreadable, name)
		}
		return inner, presence
	}
	authorization, _ := inside(v, "authorization", "authorization")
	evidence, _ := inside(authorization, "evidence", "authorization.evidence")
	claims, _ := inside(v, "claims", "claims")
	request, presence := inside(v, "httpRequest", "httpRequest")

	o.HTTPRequest = presence
	o.Role = evidence.text("role")
	o.RolePrincipalID = canonicalID(evidence.text("principalId"))
	o.RolePrincipalType = evidence.text("principalType")
	o.RoleAssignmentID = canonicalID(evidence.text("roleAssignmentId"))
	o.RoleAssignmentScope = evidence.text("roleAssignmentScope")
	o.RoleDefinitionID = canonicalID(evidence.text("roleDefinitionId"))
	o.Actor = decodeActor(claims)
	o.ClientAddress = cmp.Or(request.text("clientIpAddress"), claims.first(addressClaims))
	return o, nil
}

// operationError says why data is not the payload of an operation.
func operationError(data jsontext.Value) error {
	var v struct {
		OperationName string `json:"operationName"`
		ResourceURI   string `json:"resourceUri"`
	}
	if err := json.Unmarshal(data, &v, Lenient); err != nil {
		return fmt.Errorf("event: data: %w", JSONError(err))
	}
	return errNoOperation
}

// errNoOperation is of a payload that names no operation.
var errNoOperation = errors.New("event: data.operationName: missing or empty")

// decodeActor finds the caller in the claims. It does not read the evidence of
// the authorization, which describes the role assignment.
func decodeActor(claims payload) Actor {
	a := Actor{
		ObjectID:      canonicalID(claims.first(objectIDClaims)),
		ApplicationID: canonicalID(claims.first(applicationClaims)),
	}
	user, display, spn := claims.first(userClaims), claims.first(displayClaims), canonicalID(claims.first(spnClaims))
	identity, tokenType := claims.first(managedIdentityClaims), claims.first(tokenTypeClaims)
	isUser := strings.EqualFold(tokenType, "user") || tokenType == "" &&
		(claims.first(upnClaims) != "" || claims.first(scopeClaims) != "" || strings.Contains(user, "@") || display != "")
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
	if isCanonicalID(s) { // nearly always
		return s
	}
	digits := strings.ReplaceAll(strings.Trim(s, "{}()"), "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return s
	}
	d := strings.ToLower(digits)
	return d[:8] + "-" + d[8:12] + "-" + d[12:16] + "-" + d[16:20] + "-" + d[20:]
}

// isCanonicalID reports whether s is a GUID in the spelling that canonicalID returns.
func isCanonicalID(s string) bool {
	const form = "00000000-0000-0000-0000-000000000000"
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if hyphen := form[i] == '-'; hyphen != (c == '-') || !hyphen && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
