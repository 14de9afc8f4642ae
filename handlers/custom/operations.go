package custom

import (
	"slices"
	"strings"
)

// dataTypes are types on which there are operations that Azure Resource Manager does not carry
// out, so that no event of it is about them: the data actions of
// https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices.
var dataTypes = slices.Concat(
	under("Microsoft.Devices/IotHubs", "cloudToDeviceMessages", "configurations", "devices", "directMethods", "fileUpload", "jobs", "statistics", "twins"),
	under("Microsoft.Devices/provisioningServices", "attestationmechanism", "enrollmentGroups", "enrollments", "registrationStates"),
)

// onData reports whether an operation is one on data of a hub or of a provisioning service.
func onData(operation string) bool {
	return slices.ContainsFunc(dataTypes, func(of string) bool {
		return len(operation) > len(of) && strings.EqualFold(operation[:len(of)+1], of+"/")
	})
}

// knownTargets returns types of resources that are written and deleted, and actions on them, each
// without the last word of the operation, which is write, delete or action. Of Microsoft.Devices
// they are those of
// https://learn.microsoft.com/azure/role-based-access-control/permissions/internet-of-things#microsoftdevices,
// with those of older lists; of other providers, what hubs, hubwatch and what is beside them are made of
// (https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations).
func knownTargets() []string {
	return slices.Concat(
		under("Microsoft.Devices", "checkNameAvailability", "checkProvisioningServiceNameAvailability", "register"),
		under("Microsoft.Devices/IotHubs", "", "certificates", "certificates/generateVerificationCode", "certificates/verify", "diagnosticSettings", "eventGridFilters",
			"eventHubEndpoints/consumerGroups", "exportDevices", "failover", "importDevices", "iotHubKeys/listkeys", "listkeys", "networkSecurityPerimeterAssociationProxies",
			"networkSecurityPerimeterConfigurations", "notifyNetworkSecurityPerimeterUpdatesAvailable", "privateEndpointConnectionProxies",
			"privateEndpointConnectionProxies/validate", "privateEndpointConnections", "privateEndpointConnectionsApproval", "routing/$testall",
			"routing/$testnew", "routing/routes/$testall", "routing/routes/$testnew", "securitySettings"),
		under("Microsoft.Devices/ElasticPools", "", "diagnosticSettings", "eventGridFilters", "iotHubTenants", "iotHubTenants/certificates",
			"iotHubTenants/certificates/generateVerificationCode", "iotHubTenants/certificates/verify", "iotHubTenants/diagnosticSettings",
			"iotHubTenants/eventHubEndpoints/consumerGroups", "iotHubTenants/exportDevices", "iotHubTenants/getStats", "iotHubTenants/importDevices",
			"iotHubTenants/iotHubKeys/listkeys", "iotHubTenants/listKeys"),
		under("Microsoft.Devices/provisioningServices", "", "certificates", "certificates/generateVerificationCode", "certificates/verify", "diagnosticSettings",
			"keys/listkeys", "listkeys", "privateEndpointConnectionProxies", "privateEndpointConnectionProxies/validate", "privateEndpointConnections",
			"privateEndpointConnectionsApproval"),
		under("Microsoft.Authorization", "classicAdministrators", "denyAssignments", "locks", "policyAssignments", "policyDefinitions", "policyExemptions",
			"policySetDefinitions", "roleAssignments", "roleDefinitions"),
		under("Microsoft.DeviceUpdate", "accounts", "accounts/instances"),
		under("Microsoft.DigitalTwins", "digitalTwinsInstances", "digitalTwinsInstances/endpoints"),
		under("Microsoft.EventGrid", "domains", "eventSubscriptions", "namespaces", "systemTopics", "systemTopics/eventSubscriptions", "topics", "topics/eventSubscriptions",
			"topics/listKeys", "topics/regenerateKey"),
		under("Microsoft.EventHub/namespaces", "", "authorizationRules", "authorizationRules/listKeys", "authorizationRules/regenerateKeys", "eventhubs",
			"eventhubs/authorizationRules", "eventhubs/authorizationRules/listKeys", "eventhubs/authorizationRules/regenerateKeys", "eventhubs/consumerGroups", "networkrulesets"),
		under("Microsoft.Insights", "actionGroups", "activityLogAlerts", "alertRules", "components", "dataCollectionRules", "diagnosticSettings", "metricAlerts", "scheduledQueryRules"),
		under("Microsoft.KeyVault", "vaults", "vaults/accessPolicies", "vaults/keys", "vaults/secrets"),
		under("Microsoft.ManagedIdentity/userAssignedIdentities", "", "assign", "federatedIdentityCredentials"),
		under("Microsoft.Network", "networkSecurityGroups", "networkSecurityGroups/securityRules", "privateDnsZones", "privateEndpoints",
			"privateEndpoints/privateDnsZoneGroups", "publicIPAddresses", "virtualNetworks", "virtualNetworks/subnets"),
		under("Microsoft.OperationalInsights", "workspaces", "workspaces/sharedKeys", "workspaces/tables"),
		under("Microsoft.Resources", "deployments", "deployments/cancel", "deployments/validate", "deploymentStacks", "subscriptions/resourceGroups",
			"subscriptions/resourceGroups/moveResources", "subscriptions/resourceGroups/validateMoveResources", "tags"),
		under("Microsoft.Security", "iotSecuritySolutions", "pricings", "securityContacts"),
		under("Microsoft.ServiceBus/namespaces", "", "authorizationRules", "authorizationRules/listKeys", "authorizationRules/regenerateKeys", "queues", "topics"),
		under("Microsoft.Storage/storageAccounts", "", "blobServices", "blobServices/containers", "listAccountSas", "listKeys", "listServiceSas", "privateEndpointConnections",
			"regeneratekey", "tableServices/tables"),
		under("Microsoft.Web", "serverfarms", "sites", "sites/config", "sites/config/list", "sites/functions", "sites/functions/keys", "sites/functions/listkeys",
			"sites/functions/listsecrets", "sites/host/functionkeys", "sites/host/listkeys", "sites/host/systemkeys", "sites/networkConfig", "sites/publishxml",
			"sites/restart", "sites/slots", "sites/start", "sites/stop", "sites/virtualNetworkConnections"),
	)
}

// under returns the names of what is below a provider or a type. "" is the type itself.
func under(of string, names ...string) (targets []string) {
	for _, name := range names {
		targets = append(targets, strings.TrimSuffix(of+"/"+name, "/"))
	}
	return targets
}

// targetOf returns what an operation is about, as knownTargets has it.
func targetOf(operation string) string { return operation[:strings.LastIndexByte(operation, '/')] }

// doubt returns what is doubtful about an operation of Azure Resource Manager, "" for nothing.
func doubt(operation string) string {
	target, known := targetOf(operation), knownTargets()
	if slices.ContainsFunc(known, func(each string) bool { return strings.EqualFold(each, target) }) {
		return ""
	}
	question := meant(target, known)
	if question == "" {
		question = "."
	}
	return "hubwatch does not know " + target + question + " If Azure has no such type or action, no event ever comes: " +
		"see https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations"
}
