package remedy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/secret"
)

// Value is a piece of an argument that comes from the alert, or that a person fills in.
// Its type says which texts are safe there.
type Value struct {
	// name stands for the value where there is none: in the catalogue, and where a
	// person fills it in. It consists of capital letters, so that no shell does anything
	// with it.
	name string
	noun string // what the value is, for a refusal: "the device id"
	// of returns the value that an alert has, and "" if it has none. It is nil for a
	// value that only a person knows.
	of func(alert.Alert) string
	// ask says what a person fills in if the alert has no value: "the etag that was
	// shown last". If it is "", a command is for no alert that lacks the value.
	ask string
	// check returns what is wrong with a value, and "" if it is safe. nil stands for
	// any text that passes unsafe.
	check func(string) string
	most  int // the length of the longest value in bytes; 0 for mostName
}

// Ask returns a value that a person fills in. name is written in capital letters. what
// completes the sentence "Put … in place of NAME".
func Ask(name, what string) Value { return Value{name: name, ask: what} }

// ETag is the etag that a command before has shown. No command finds it out by itself:
// whoever reads the etag also sees what is about to be changed.
var ETag = Ask("ETAG", "the etag that was shown last")

// The values of the hub.
var (
	Hub = Value{name: "HUB", noun: "the name of the hub", check: hubName,
		of: func(a alert.Alert) string { return a.Hub.Name }}
	Group = Value{name: "GROUP", noun: "the resource group", check: groupName,
		of: func(a alert.Alert) string { return resource(a).ResourceGroup }}
	Subscription = Value{name: "SUBSCRIPTION", noun: "the subscription", check: guid,
		of: func(a alert.Alert) string { return resource(a).SubscriptionID }}
	// HubID is the resource id of the hub.
	HubID = Value{name: "HUB_ID", noun: "the resource id of the hub", check: hubID, most: mostID,
		of: func(a alert.Alert) string { return a.Hub.ResourceID }}
)

// The values of the entity. An operation on a certificate or a setting whose name
// cannot be read is an alert about the hub. A person then finds out the name.
var (
	Certificate = Value{name: "CERTIFICATE", noun: "the name of the certificate", of: named(alert.Certificate),
		ask: "the name of the certificate, which the list shows,"}
	Setting = Value{name: "SETTING", noun: "the name of the diagnostic setting", of: named(alert.DiagnosticSetting),
		ask: "the name of the diagnostic setting, which the list shows,"}
	// Device is the id of the device, also of the device of a module. An alert about the
	// hub names none.
	Device = Value{name: "DEVICE", noun: "the device id", of: func(a alert.Alert) string { id, _ := deviceOf(a.Entity); return id }}
	Module = Value{name: "MODULE", noun: "the module id", of: func(a alert.Alert) string { _, id := deviceOf(a.Entity); return id }}
	// Entity is the entity as the alert has it.
	Entity = Value{name: "ENTITY", noun: "the name of the entity", of: func(a alert.Alert) string { return a.Entity.Name }}
)

// The values of the operation and of who asked for it.
var (
	CorrelationID = Value{name: "CORRELATION_ID", noun: "the correlation id", check: guid,
		of: func(a alert.Alert) string { return a.CorrelationID }}
	// Caller is the actor as the activity log calls it: the name of a person, the object
	// id of anything else.
	Caller = Value{name: "CALLER", noun: "the actor", check: filterText, of: caller}
	// User is the object id of an actor that is a person.
	User = Value{name: "USER_ID", noun: "the object id of the actor", check: guid, of: actorID(event.User)}
	// ServicePrincipal is the object id of an actor that is an application.
	ServicePrincipal = Value{name: "SERVICE_PRINCIPAL_ID", noun: "the object id of the actor", check: guid, of: actorID(event.Application)}
	// Application is the application id of an actor that is an application.
	Application = Value{name: "APPLICATION_ID", noun: "the application id of the actor", check: guid,
		of: func(a alert.Alert) string {
			if a.Properties["ActorType"] != string(event.Application) {
				return ""
			}
			return a.Properties["ActorApplicationId"]
		}}
)

// The values of the role assignment that let the actor in. Only some events have it.
var (
	// RoleAssignment is the resource id of the role assignment.
	RoleAssignment = Value{name: "ROLE_ASSIGNMENT_ID", noun: "the id of the role assignment", of: roleAssignment,
		check: roleAssignmentID, most: mostID,
		ask: "the id of the role assignment, which the list of roles shows,"}
	// Scope is where the role was assigned: the hub, or something above it.
	Scope         = ofRole("SCOPE", "the scope of the role assignment", scope, "RoleAssignmentScope")
	Principal     = ofRole("PRINCIPAL_ID", "the object id of who has the role", guid, "RolePrincipalId")
	PrincipalType = ofRole("PRINCIPAL_TYPE", "the kind of who has the role", principalType, "RolePrincipalType")
	// Role is the id of the role, or its name.
	Role = ofRole("ROLE", "the role", nil, "RoleDefinitionId", "ActorRole")
)

// The times of the alert, UTC, and what else identifies it.
var (
	HourBefore = at("HOUR_BEFORE", func(a alert.Alert) time.Time { return a.Start.Add(-time.Hour) })
	HourAfter  = at("HOUR_AFTER", func(a alert.Alert) time.Time { return a.End.Add(time.Hour) })
	WeekBefore = at("WEEK_BEFORE", func(a alert.Alert) time.Time { return a.Start.Add(-7 * 24 * time.Hour) })
	WeekAfter  = at("WEEK_AFTER", func(a alert.Alert) time.Time { return a.End.Add(7 * 24 * time.Hour) })
	Start      = at("TIME", func(a alert.Alert) time.Time { return a.Start })

	AlertType = Value{name: "ALERT_TYPE", noun: "the type of the alert", check: matches(`[A-Za-z0-9_.]{1,128}`, "is not the type of an alert"),
		of: func(a alert.Alert) string { return a.Type }}
	Reference = Value{name: "REFERENCE", noun: "the reference of the alert",
		check: matches(`[a-z0-9-]{1,50}/\d{4}-\d\d-\d\d/[0-9a-f-]{36}`, "is not the reference of an alert"),
		of:    func(a alert.Alert) string { return a.Ref().String() }}
	// Copy is the file that a command with Keep writes. Its name has nothing foreign.
	Copy = Value{name: "COPY.cer", noun: "the name of the copy",
		check: matches(`certificate-[0-9a-f]{8}\.cer`, "is not made of the id of an alert"),
		of:    func(a alert.Alert) string { return fmt.Sprintf("certificate-%.8s.cer", a.ID) }}
)

// asks reports whether a person fills in the value for an alert.
func (v Value) asks(a alert.Alert) bool { return v.ask != "" && (v.of == nil || v.of(a) == "") }

// in returns the value for an alert, the name of the value if a person fills it in, ""
// if there is no value, or why there cannot be one.
func (v Value) in(a alert.Alert) (string, *Refusal) {
	if v.asks(a) {
		return v.name, nil
	}
	s := v.of(a)
	if s == "" {
		return "", nil
	}
	reason := unsafe(s, cmp.Or(v.most, mostName))
	if v.check != nil {
		reason = cmp.Or(reason, v.check(s))
	}
	if reason != "" {
		return s, &Refusal{v.noun, s, reason}
	}
	return s, nil
}

// The lengths of the longest name and of the longest resource id that become parts of a
// command, in bytes. The longest id of a device has 128 characters.
const (
	mostName = 256
	mostID   = 1024
)

// escape matches what secret.Visible writes in place of a hidden character. The table
// keeps names so, and nobody can tell any more what the name was.
var escape = expression(`\\u[0-9a-f]{4}`)

// unsafe returns why no quoting makes a text of at most most bytes safe, and "" if
// quoting does.
//
// az reads the file that a value names if the value begins with @, and there is no
// escape (azure/cli/core/commands/__init__.py, _expand_file_prefixed_files,
// https://github.com/Azure/azure-cli).
func unsafe(s string, most int) string {
	switch {
	case len(s) > most:
		return fmt.Sprintf("is longer than %d bytes", most)
	case !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError):
		return "has bytes that are not UTF-8"
	case strings.ContainsFunc(s, secret.Hidden) || escape().MatchString(s):
		return "has characters that cannot be seen"
	case s[0] == '@':
		return "begins with @, so az would read the file of that name"
	}
	return ""
}

// Refusal is the error of a value that no quoting makes safe.
type Refusal struct {
	noun, value, reason string
}

// Error implements error. It says which value is refused and why, and shows the value
// with escapes in place of what cannot be seen.
func (r *Refusal) Error() string {
	return fmt.Sprintf(`%s, "%s", %s`, r.noun, secret.Visible(event.Shorten(r.value)), r.reason)
}

// expression returns a regular expression that is compiled when it is asked for. The handler
// fills in no commands, and would wait for all of these before its first answer.
func expression(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// matches returns a check for texts that match the whole of a form.
func matches(form, reason string) func(string) string {
	whole := expression(`^(?:` + form + `)$`)
	return func(s string) string {
		if whole().MatchString(s) {
			return ""
		}
		return reason
	}
}

const guidForm = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`

// The names that Azure allows
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
var (
	guid      = matches(guidForm, "is not a GUID")
	hubName   = matches(`[A-Za-z0-9-]{1,50}`, "is not a name that an IoT hub can have")
	groupName = matches(`[\p{L}\p{N}_.()-]{1,90}`, "is not a name that a resource group can have")

	principalType = matches(`User|Group|ServicePrincipal`, "is not User, Group or ServicePrincipal")
)

// hubID checks the resource id of a hub, part by part.
func hubID(s string) string {
	id, err := event.ParseResourceID(s)
	if err != nil || id.Resource() != s || !id.OnHub() || cmp.Or(guid(id.SubscriptionID), groupName(id.ResourceGroup), hubName(id.Name)) != "" {
		return "is not the resource id of an IoT hub"
	}
	return ""
}

var segments = expression(`^(?:/[\p{L}\p{N}_.()-]+)+$`)

// scope checks a scope of Azure Resource Manager. It allows no segment that leads
// elsewhere in a URL.
func scope(s string) string {
	if s == "/" || segments().MatchString(s) && !slices.ContainsFunc(strings.Split(s, "/"), func(p string) bool { return p == "." || p == ".." }) {
		return ""
	}
	return "is not a scope of Azure"
}

// roleAssignments stands before the name of each role assignment.
const roleAssignments = "/providers/Microsoft.Authorization/roleAssignments/"

var inRoleAssignments = expression(`(?i)^(.*)` + regexp.QuoteMeta(roleAssignments) + `(` + guidForm + `)$`)

// roleAssignmentID checks the resource id of a role assignment.
func roleAssignmentID(s string) string {
	m := inRoleAssignments().FindStringSubmatch(s)
	if m == nil || scope(cmp.Or(m[1], "/")) != "" {
		return "is not the id of a role assignment"
	}
	return ""
}

// filterText checks a text that az puts into a filter in OData without escaping it
// (azure/cli/command_modules/monitor/custom.py, _add_condition,
// https://github.com/Azure/azure-cli).
func filterText(s string) string {
	if strings.Contains(s, "'") {
		return "has a ', which az does not escape in its filter"
	}
	return ""
}

// resource returns the parts of the hub's resource id, none if it cannot be read.
func resource(a alert.Alert) event.ResourceID {
	id, err := event.ParseResourceID(a.Hub.ResourceID)
	if err != nil {
		return event.ResourceID{}
	}
	return id
}

// named returns the name of an entity of one type.
func named(kind alert.EntityType) func(alert.Alert) string {
	return func(a alert.Alert) string {
		if a.Entity.Type != kind {
			return ""
		}
		return a.Entity.Name
	}
}

// deviceOf returns the ids of a device, or of a module and its device. The name of a
// module is <device id>/<module id>, with a backslash before each slash and backslash
// of an id.
func deviceOf(e alert.Entity) (device, module string) {
	switch e.Type {
	case alert.Device:
		return e.Name, ""
	case alert.Module:
	default:
		return "", ""
	}
	ids := []string{""}
	for i := 0; i < len(e.Name); i++ {
		switch c := e.Name[i]; {
		case c == '/':
			ids = append(ids, "")
			continue
		case c == '\\' && i+1 < len(e.Name) && strings.IndexByte(`\/`, e.Name[i+1]) >= 0:
			i++
		}
		ids[len(ids)-1] += string(e.Name[i : i+1])
	}
	if len(ids) != 2 {
		return "", ""
	}
	return ids[0], ids[1]
}

// caller returns the actor as the activity log calls it.
func caller(a alert.Alert) string {
	id := a.Properties["ActorObjectId"]
	if a.Properties["ActorType"] != string(event.User) {
		return cmp.Or(id, a.Actor)
	}
	if id != "" && strings.HasSuffix(a.Actor, " ("+id+")") {
		return "" // A display name. The log calls the person otherwise.
	}
	return a.Actor
}

// actorID returns the object id of an actor of one type.
func actorID(kind event.ActorType) func(alert.Alert) string {
	return func(a alert.Alert) string {
		if a.Properties["ActorType"] != string(kind) {
			return ""
		}
		return a.Properties["ActorObjectId"]
	}
}

// roleAssignment returns the resource id of the role assignment that let the actor in.
// The event has a GUID, or the whole id.
func roleAssignment(a alert.Alert) string {
	id, in := a.Properties["RoleAssignmentId"], a.Properties["RoleAssignmentScope"]
	switch {
	case strings.HasPrefix(id, "/"):
		return id
	case guid(id) == "" && strings.HasPrefix(in, "/"):
		return strings.TrimRight(in, "/") + roleAssignments + id
	}
	return ""
}

// ofRole returns a value of the role assignment: the first of the properties that an
// alert has. An alert whose role assignment is not known has none.
func ofRole(name, noun string, check func(string) string, properties ...string) Value {
	return Value{name: name, noun: noun, check: check, most: mostID, of: func(a alert.Alert) string {
		if roleAssignment(a) == "" {
			return ""
		}
		for _, property := range properties {
			if s := a.Properties[property]; s != "" {
				return s
			}
		}
		return ""
	}}
}

// at returns a value that is a time, to the second.
func at(name string, of func(alert.Alert) time.Time) Value {
	return Value{name: name, noun: "the time", of: func(a alert.Alert) string { return of(a).UTC().Format("2006-01-02T15:04:05Z") }}
}
