package export

import (
	"net/netip"
	"slices"
	"strings"

	"hubwatch/handlers/alert"
)

// Names of the properties of an alert that the formats have members for.
const (
	actorObjectID = "ActorObjectId"
	actorType     = "ActorType"
	targetID      = "TargetResourceId"
)

// Types of entities.
const (
	entityResource = "azure-resource"
	entityDevice   = "iotdevice"
	entityAccount  = "account"
	entityAddress  = "ip"
)

// Entity is something that an alert is about: the hub, a certificate, a device, an
// actor, an address. Types and members are those of Microsoft Sentinel, in camel case
// (https://learn.microsoft.com/azure/sentinel/entities-reference). Which members there
// are depends on the type.
type Entity struct {
	Type       string  `json:"type"`                // azure-resource, iotdevice, account or ip
	ResourceID string  `json:"resourceId,omitzero"` // azure-resource
	DeviceID   string  `json:"deviceId,omitzero"`   // iotdevice
	ModuleID   string  `json:"moduleId,omitzero"`   // iotdevice, if the alert is about a module; Sentinel has no such member
	IoTHub     *Entity `json:"iotHub,omitzero"`     // iotdevice: the azure-resource that is its hub
	Name       string  `json:"name,omitzero"`       // account, without the suffix
	UPNSuffix  string  `json:"upnSuffix,omitzero"`  // account: what stands behind the @ of a name
	AadUserID  string  `json:"aadUserId,omitzero"`  // account: object id in Microsoft Entra
	Address    string  `json:"address,omitzero"`    // ip: an address that is not masked
}

// entities returns what a is about: the hub, the entity, the actor, and the
// addresses. It leaves out what is unknown.
func entities(a alert.Alert) []Entity {
	list := make([]Entity, 0, 4) // the hub, the entity, the actor and an address
	var hub *Entity
	if a.Hub.ResourceID != "" {
		hub = &Entity{Type: entityResource, ResourceID: a.Hub.ResourceID}
		list = append(list, *hub)
	}
	switch device, module := deviceAndModule(a.Entity); {
	case device != "":
		list = append(list, Entity{Type: entityDevice, DeviceID: device, ModuleID: module, IoTHub: hub})
	case childResource(a) != "":
		list = append(list, Entity{Type: entityResource, ResourceID: childResource(a)})
	}
	if id := a.Properties[actorObjectID]; a.Actor != "" || id != "" {
		account := Entity{Type: entityAccount, Name: a.Actor, AadUserID: id}
		if at := strings.LastIndexByte(a.Actor, '@'); at > 0 && at+1 < len(a.Actor) {
			account.Name, account.UPNSuffix = a.Actor[:at], a.Actor[at+1:]
		}
		list = append(list, account)
	}
	for _, address := range addresses(a) {
		list = append(list, Entity{Type: entityAddress, Address: address})
	}
	return list
}

// deviceAndModule returns the ids in the name of a device or a module. They are ""
// for any other entity. The name of a module is <device id>/<module id>, and a slash
// or a backslash inside an id has a backslash before it.
func deviceAndModule(e alert.Entity) (device, module string) {
	switch e.Type {
	case alert.Device:
		return e.Name, ""
	case alert.Module:
	default:
		return "", ""
	}
	var ids [2][]byte
	part, escaped := 0, false
	for i := range len(e.Name) {
		switch c := e.Name[i]; {
		case c == '\\' && !escaped:
			escaped = true
			continue
		case c == '/' && !escaped && part == 0:
			part = 1
		default:
			ids[part] = append(ids[part], c)
		}
		escaped = false
	}
	return string(ids[0]), string(ids[1])
}

// childPaths say where the resources below a hub stand, behind the id of the hub.
var childPaths = map[alert.EntityType]string{
	alert.Certificate:       "/certificates/",
	alert.DiagnosticSetting: "/providers/Microsoft.Insights/diagnosticSettings/",
}

// childResource returns the resource id of the certificate, the diagnostic setting or the
// other resource that a is about, or "" if a is about something else.
func childResource(a alert.Alert) string {
	if target := a.Properties[targetID]; a.Entity.Type == alert.Resource && strings.HasSuffix(strings.ToLower(target), "/"+strings.ToLower(a.Entity.Name)) && !strings.EqualFold(target, a.Hub.ResourceID) {
		return target
	}
	path := childPaths[a.Entity.Type]
	if path == "" || a.Hub.ResourceID == "" || a.Entity.Name == "" || strings.Contains(a.Entity.Name, "/") {
		return ""
	}
	return a.Hub.ResourceID + path + a.Entity.Name
}

// addresses returns the distinct addresses of a that are not masked, as a has them.
func addresses(a alert.Alert) []string {
	list := make([]string, 0, 1)
	add := func(address string) {
		if isAddress(address) && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	add(a.ActorIPAddress)
	add(a.LastActorIPAddress)
	for _, address := range a.ActorIPAddresses { // 20 at most
		add(address)
	}
	return list
}

// isAddress reports whether s is one IP address. IoT Hub masks the addresses of
// devices (203.0.113.XXX), and a masked address is none.
func isAddress(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Zone() == ""
}
