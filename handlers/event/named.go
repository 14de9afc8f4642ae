package event

import (
	"slices"
	"strings"
)

// Named reports whether a member of an event, or of a log record, holds a name: a
// resource id, the id of a device, a module or an event, or the name of the caller.
// A name is kept as it is, whatever it looks like, because a person has to know what
// the event is about. parent is the name of the member around it. Named is a
// secret.Named.
func Named(parent, member, value string) bool {
	switch is := func(name string) bool { return len(member) == len(name) && strings.EqualFold(member, name) }; {
	case is("deviceId"), is("moduleId"):
		return true
	case is("id"), is("source"), is("topic"):
		return parent == ""
	case is("subject"):
		return strings.HasPrefix(value, "/") || strings.HasPrefix(value, "devices/")
	case is("resourceUri"), is("resourceId"), is("_resourceId"), is("scope"), is("roleAssignmentScope"):
		return strings.HasPrefix(value, "/")
	}
	return strings.EqualFold(parent, "claims") && slices.Contains(callerClaims, member)
}

// callerClaims are the claims that name the caller.
var callerClaims = slices.Concat(userClaims, spnClaims, displayClaims, managedIdentityClaims, objectIDClaims, applicationClaims)
