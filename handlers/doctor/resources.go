package doctor

import (
	"fmt"
	"slices"
	"strings"

	"hubwatch/handlers/judge"
)

// Resource is a resource that infra/main.bicep deploys, as the doctor compares it
// member by member. A test of handlers/infra compares Resources with the template, in
// both directions.
type Resource struct {
	Symbol  string // in main.bicep
	Version string // of the API by which it is read
	// Members are the members that the template sets, by their paths. A value is a
	// string, a bool, a number or a list of strings. Varies stands for a value that a
	// parameter or another resource decides, and InNetwork for one of two values.
	Members map[string]any
	// Defaults are members that the template leaves to Azure, with the values that they
	// have then. A member may also be missing. Another value would blind hubwatch or
	// open a door.
	Defaults map[string]any
	id       func(d Deployment, s site) string // "" if it cannot be told
}

// Varies is the value of a member that may differ from one deployment to the next, with
// the reason. The doctor does not compare it.
type Varies string

// InNetwork is the value of a member that closes a service to the rest of the world if the parameters
// of main.bicep put the app into a network and give the services private endpoints there.
type InNetwork struct{ Open, Closed string }

// Reasons of members that may differ.
const (
	byParameter = Varies("a parameter decides")
	byName      = Varies("the name or the id of another resource of the deployment")
	byRegion    = Varies("the region of the hubs")
)

// storageMembers returns the members of all storage accounts.
func storageMembers() (members, defaults map[string]any) {
	return map[string]any{
			"location": byRegion, "tags": byParameter, "kind": "StorageV2", "sku.name": byParameter,
			"properties.allowSharedKeyAccess": false, "properties.allowBlobPublicAccess": false,
			"properties.defaultToOAuthAuthentication": true, "properties.minimumTlsVersion": "TLS1_2",
			"properties.supportsHttpsTrafficOnly": true, "properties.networkAcls.defaultAction": InNetwork{"Allow", "Deny"},
			"properties.networkAcls.bypass": "AzureServices", "properties.networkAcls.ipRules": byParameter,
		}, map[string]any{
			"properties.publicNetworkAccess": "Enabled",
			"properties.isLocalUserEnabled":  false, "properties.isSftpEnabled": false,
		}
}

// topicMembers returns the members of both custom topics.
func topicMembers() map[string]any {
	return map[string]any{
		"location": byRegion, "tags": byParameter, "identity.type": "SystemAssigned", "properties.inputSchema": "CloudEventSchemaV1_0",
		"properties.disableLocalAuth": true, "properties.publicNetworkAccess": InNetwork{"Enabled", "Disabled"},
	}
}

// Resources are the resources of main.bicep, without roles, which have checks of their
// own, and without resources that have no members.
var Resources = func() []Resource {
	members, defaults := storageMembers()
	return []Resource{
		{Symbol: "storage", Version: "2023-05-01", Members: members, Defaults: defaults,
			id: func(d Deployment, s site) string { return withAccount(s, d.storageID(s.account)) }},
		{Symbol: "blobs", Version: "2023-05-01", Members: map[string]any{
			"properties.isVersioningEnabled":           true,
			"properties.deleteRetentionPolicy.enabled": true, "properties.deleteRetentionPolicy.days": 30,
			"properties.containerDeleteRetentionPolicy.enabled": true, "properties.containerDeleteRetentionPolicy.days": 30,
		}, Defaults: map[string]any{"properties.deleteRetentionPolicy.allowPermanentDelete": false},
			id: func(d Deployment, s site) string {
				return withAccount(s, d.storageID(s.account)+"/blobServices/default")
			}},
		{Symbol: "hostAccount", Version: "2023-05-01", Members: members, Defaults: defaults,
			id: func(Deployment, site) string { return "" }}, // the app does not tell its name
		{Symbol: "stateAccount", Version: "2023-05-01", Members: members, Defaults: defaults,
			id: func(Deployment, site) string { return "" }}, // nor this
		{Symbol: "verdictsLate", Version: "2022-06-15", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "kind": "LogAlert", "properties.severity": 1, "properties.enabled": true, "properties.autoMitigate": true,
			"properties.description":         "Verdicts on failed connections are late: the function Verdicts does not run, or cannot read, write or publish. Its log says why.",
			"properties.evaluationFrequency": "PT15M", "properties.windowSize": "PT30M",
			"properties.scopes": byName, "properties.actions.actionGroups": byParameter,
			"properties.criteria.allOf.0.query": lateQuery, "properties.criteria.allOf.0.timeAggregation": "Count",
			"properties.criteria.allOf.0.operator": "GreaterThan", "properties.criteria.allOf.0.threshold": 0,
			"properties.criteria.allOf.0.failingPeriods.numberOfEvaluationPeriods": 1, "properties.criteria.allOf.0.failingPeriods.minFailingPeriodsToAlert": 1,
		}, id: func(d Deployment, _ site) string {
			return d.id("Microsoft.Insights/scheduledQueryRules/%s-verdicts-late", d.App)
		}},
		{Symbol: "workspace", Version: "2023-09-01", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "properties.sku.name": "PerGB2018", "properties.retentionInDays": 30, "properties.features.disableLocalAuth": true,
		}, id: func(d Deployment, _ site) string { return d.id("Microsoft.OperationalInsights/workspaces/%s", d.App) }},
		{Symbol: "insights", Version: "2020-02-02", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "kind": "web", "properties.Application_Type": "web", "properties.WorkspaceResourceId": byName, "properties.DisableLocalAuth": true,
		}, id: func(d Deployment, _ site) string { return d.insightsID() }},
		{Symbol: "logsNamespace", Version: "2024-01-01", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "sku.name": "Standard", "sku.tier": "Standard", "sku.capacity": Varies("Event Hubs adds units by itself"),
			"properties.isAutoInflateEnabled": true, "properties.maximumThroughputUnits": byParameter, "properties.disableLocalAuth": false, "properties.minimumTlsVersion": "1.2",
			"properties.publicNetworkAccess": InNetwork{"Enabled", "Disabled"},
		}, Defaults: map[string]any{"properties.status": "Active"},
			id: func(d Deployment, _ site) string { return d.namespaceID() }},
		{Symbol: "logsNetwork", Version: "2024-01-01", Members: map[string]any{
			"properties.publicNetworkAccess": InNetwork{"Enabled", "Disabled"}, "properties.defaultAction": InNetwork{"Allow", "Deny"}, "properties.trustedServiceAccessEnabled": true,
		}, id: func(d Deployment, _ site) string { return d.namespaceID() + "/networkRuleSets/default" }},
		{Symbol: "logs", Version: "2024-01-01", Members: map[string]any{
			"properties.partitionCount": byParameter, "properties.messageRetentionInDays": 7,
		}, Defaults: map[string]any{"properties.status": "Active"},
			id: func(d Deployment, _ site) string { return d.eventHubID() }},
		{Symbol: "sendRule", Version: "2024-01-01", Members: map[string]any{"properties.rights": []string{"Listen", "Manage", "Send"}},
			id: func(d Deployment, _ site) string { return d.sendRuleID() }},
		{Symbol: "connections", Version: "2022-06-15", Members: topicMembers(), Defaults: map[string]any{"properties.inboundIpRules": []string{}},
			id: func(d Deployment, _ site) string { return d.connectionsID() }},
		{Symbol: "alertEvents", Version: "2022-06-15", Members: topicMembers(), Defaults: map[string]any{"properties.inboundIpRules": []string{}},
			id: func(d Deployment, _ site) string { return d.alertsTopicID() }},
		{Symbol: "controlPlane", Version: "2022-06-15", Members: map[string]any{
			"location": "global", "tags": byParameter, "properties.source": byParameter, "properties.topicType": byParameter,
		}, id: func(d Deployment, _ site) string { return d.changesID() }},
		{Symbol: "plan", Version: "2023-12-01", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "kind": "functionapp", "sku.name": "FC1", "sku.tier": "FlexConsumption", "properties.reserved": true,
		}, id: func(d Deployment, _ site) string { return d.id("Microsoft.Web/serverfarms/%s", d.App) }},
		{Symbol: "app", Version: "2023-12-01", Members: map[string]any{
			"location": byRegion, "tags": byParameter, "kind": "functionapp,linux", "identity.type": "UserAssigned", "properties.serverFarmId": byName, "properties.httpsOnly": true, "properties.virtualNetworkSubnetId": byParameter, "properties.keyVaultReferenceIdentity": byName,
			"properties.functionAppConfig.runtime.name": "custom", "properties.functionAppConfig.runtime.version": "1.0",
			"properties.functionAppConfig.scaleAndConcurrency.alwaysReady":          byParameter,
			"properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB":     byParameter,
			"properties.functionAppConfig.scaleAndConcurrency.maximumInstanceCount": byParameter,
			"properties.functionAppConfig.deployment.storage.type":                  "blobContainer", "properties.functionAppConfig.deployment.storage.value": byName,
			"properties.functionAppConfig.deployment.storage.authentication.type":                           "UserAssignedIdentity",
			"properties.functionAppConfig.deployment.storage.authentication.userAssignedIdentityResourceId": byName,
		}, Defaults: map[string]any{"properties.enabled": true, "properties.state": "Running", "properties.publicNetworkAccess": "Enabled"},
			id: func(d Deployment, _ site) string { return d.appID() }},
		{Symbol: "app.siteConfig", Version: "2023-12-01", Members: map[string]any{
			"properties.ipSecurityRestrictions": []string{"event-grid"},
			"properties.minTlsVersion":          "1.2", "properties.scmMinTlsVersion": "1.2", "properties.ipSecurityRestrictionsDefaultAction": "Deny",
			"properties.ipSecurityRestrictions.event-grid.priority": 100, "properties.ipSecurityRestrictions.event-grid.action": "Allow",
			"properties.ipSecurityRestrictions.event-grid.tag": "ServiceTag", "properties.ipSecurityRestrictions.event-grid.ipAddress": "AzureEventGrid",
			"properties.scmIpSecurityRestrictionsUseMain": false, "properties.scmIpSecurityRestrictionsDefaultAction": "Allow",
			"properties.appSettings": Varies("settings can hold secrets, and reading them takes more than the role Reader: hubwatch check reads them"),
		}, id: func(d Deployment, _ site) string { return d.appID() + "/config/web" }},
		{Symbol: "publishingPassword", Version: "2023-12-01", Members: map[string]any{"properties.allow": false},
			id: func(d Deployment, _ site) string { return d.appID() + "/basicPublishingCredentialsPolicies/scm" }},
		{Symbol: "ftpPassword", Version: "2023-12-01", Members: map[string]any{"properties.allow": false},
			id: func(d Deployment, _ site) string { return d.appID() + "/basicPublishingCredentialsPolicies/ftp" }},
	}
}()

// lateQuery is the query of the alert verdictsLate. It has a row if no line in the log of the
// function Verdicts says that the oldest verdict is in time.
var lateQuery = fmt.Sprintf(`traces | where message has "%[1]s" | extend age = toint(extract("%[1]s.:([0-9]+)", 1, message)) | `+
	`summarize inTime = countif(age < %d) | where inTime == 0`, judge.OldestMark, int(lateVerdict.Seconds()))

// withAccount returns id if the app has told its storage account.
func withAccount(s site, id string) string {
	if s.account == "" {
		return ""
	}
	return id
}

// Failure is an alert of Azure Monitor about hubwatch itself: an element of failures in
// main.bicep.
type Failure struct {
	Name, Namespace, Metric, Aggregation string
	Dimensions                           []string // name and value of each
	Threshold                            int      // it fires if the metric is above
	Window                               string   // that is looked at
	Severity                             int
	scope                                func(d Deployment, s site) string
}

// Failures are the alerts of Azure Monitor about hubwatch itself.
var Failures = []Failure{
	{"changes-dropped", "Microsoft.EventGrid/systemTopics", "DroppedEventCount", "Total", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.changesID() }},
	{"connections-dropped", "Microsoft.EventGrid/topics", "DroppedEventCount", "Total", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.connectionsID() }},
	{"connections-dead-lettered", "Microsoft.EventGrid/topics", "DeadLetteredCount", "Total", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.connectionsID() }},
	{"alerts-dropped", "Microsoft.EventGrid/topics", "DroppedEventCount", "Total", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.alertsTopicID() }},
	{"alerts-dead-lettered", "Microsoft.EventGrid/topics", "DeadLetteredCount", "Total", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.alertsTopicID() }},
	{"changes-refused", "Microsoft.EventGrid/systemTopics", "DeliveryAttemptFailCount", "Total", nil, mostFirst, "PT1H", 2, func(d Deployment, _ site) string { return d.changesID() }},
	{"connections-refused", "Microsoft.EventGrid/topics", "DeliveryAttemptFailCount", "Total", nil, 5, "PT1H", 2, func(d Deployment, _ site) string { return d.connectionsID() }},
	{"alerts-refused", "Microsoft.EventGrid/topics", "DeliveryAttemptFailCount", "Total", nil, 5, "PT1H", 2, func(d Deployment, _ site) string { return d.alertsTopicID() }},
	{"handler-failures", "microsoft.insights/components", "requests/failed", "Count", nil, 0, "PT15M", 1, func(d Deployment, _ site) string { return d.insightsID() }},
	{"quarantined", "Microsoft.Storage/storageAccounts", "Transactions", "Total", []string{"ApiName", "InsertEntity", "ResponseType", "Success"}, 0, "PT15M", 1,
		func(d Deployment, s site) string { return withAccount(s, d.storageID(s.account)) }},
}

// resource returns the metric alert as a resource.
func (f Failure) resource(d Deployment, s site) Resource {
	const criterion = "properties.criteria.allOf." // each criterion has the name of the failure
	members := map[string]any{
		"properties.enabled": true, "properties.severity": f.Severity, "properties.autoMitigate": true,
		"properties.evaluationFrequency": "PT5M", "properties.windowSize": f.Window,
		"properties.criteria.odata.type":        "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
		criterion + f.Name + ".metricNamespace": f.Namespace,
		criterion + f.Name + ".metricName":      f.Metric,
		criterion + f.Name + ".timeAggregation": f.Aggregation,
		criterion + f.Name + ".operator":        "GreaterThan",
		criterion + f.Name + ".threshold":       f.Threshold,
		criterion + f.Name + ".criterionType":   "StaticThresholdCriterion",
		"properties.actions":                    byParameter,
		"properties.criteria.allOf":             []string{f.Name},
		"properties.scopes":                     any(byName),
	}
	if scope := f.scope(d, s); scope != "" {
		members["properties.scopes"] = []string{scope}
	}
	dimensions := []string{}
	for pair := range slices.Chunk(f.Dimensions, 2) {
		dimensions = append(dimensions, pair[0])
		members[criterion+f.Name+".dimensions."+pair[0]+".operator"] = "Include"
		members[criterion+f.Name+".dimensions."+pair[0]+".values"] = []string{pair[1]}
	}
	members[criterion+f.Name+".dimensions"] = dimensions
	return Resource{Symbol: "failureAlerts", Version: "2018-03-01", Members: members,
		id: func(d Deployment, _ site) string { return d.id("Microsoft.Insights/metricAlerts/%s-%s", d.App, f.Name) }}
}

// HubDropped returns the alert of Azure Monitor that hub.bicep makes for the system topic of a hub, if
// there are alerts of events that hubs publish themselves.
func HubDropped(topic string) Failure {
	return Failure{"dropped", "Microsoft.EventGrid/systemTopics", "DroppedEventCount", "Total", nil, 0, "PT15M", 1, func(Deployment, site) string { return topic }}
}

// ofHub returns the alert as a resource of hub.bicep about a hub.
func (f Failure) ofHub(d Deployment, hub string) Resource {
	r := f.resource(d, site{})
	delete(r.Members, "properties.criteria.allOf."+f.Name+".dimensions") // hub.bicep leaves them out
	r.id = func(d Deployment, _ site) string {
		return groupOf(hub) + fmt.Sprintf("/providers/Microsoft.Insights/metricAlerts/%s-%s-%s", d.App, lastOf(hub), f.Name)
	}
	return r
}

// Silencer is an alert of Azure Monitor on the activity log, about what silences hubwatch: an
// element of silencers in main.bicep.
type Silencer struct {
	Name       string
	Operations []string
	Optional   bool // whether it is on only if a parameter says so
}

// Silencers are the alerts on the activity log of main.bicep.
var Silencers = []Silencer{
	{Name: "deleted", Operations: []string{
		"Microsoft.EventGrid/eventSubscriptions/delete", "Microsoft.EventGrid/topics/eventSubscriptions/delete", "Microsoft.EventGrid/systemTopics/eventSubscriptions/delete",
		"Microsoft.EventGrid/topics/delete", "Microsoft.EventGrid/systemTopics/delete", "Microsoft.Web/sites/delete", "Microsoft.Web/sites/functions/delete",
		"Microsoft.Web/sites/config/delete", "Microsoft.Web/sites/networkConfig/delete", "Microsoft.Web/sites/virtualNetworkConnections/delete",
		"Microsoft.Web/serverfarms/delete", "Microsoft.Storage/storageAccounts/delete", "Microsoft.Storage/storageAccounts/tableServices/tables/delete",
		"Microsoft.Storage/storageAccounts/blobServices/containers/delete", "Microsoft.EventHub/namespaces/delete", "Microsoft.EventHub/namespaces/eventhubs/delete",
		"Microsoft.EventHub/namespaces/authorizationRules/delete", "Microsoft.Network/privateEndpoints/delete", "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/delete",
		"Microsoft.ManagedIdentity/userAssignedIdentities/delete", "Microsoft.Insights/components/delete", "Microsoft.OperationalInsights/workspaces/delete",
	}},
	{Name: "stopped", Operations: []string{"Microsoft.Web/sites/stop/Action"}},
	{Name: "keys-changed", Operations: []string{
		"Microsoft.EventGrid/topics/regenerateKey/action", "Microsoft.EventHub/namespaces/authorizationRules/regenerateKeys/action",
		"Microsoft.EventHub/namespaces/eventhubs/authorizationRules/regenerateKeys/action", "Microsoft.Storage/storageAccounts/regeneratekey/action",
		"Microsoft.Web/sites/host/systemkeys/write", "Microsoft.Web/sites/host/systemkeys/delete", "Microsoft.Web/sites/host/functionkeys/write",
		"Microsoft.Web/sites/host/functionkeys/delete", "Microsoft.Web/sites/functions/keys/write", "Microsoft.Web/sites/functions/keys/delete",
	}},
	{Name: "keys-listed", Optional: true, Operations: []string{
		"Microsoft.EventGrid/topics/listKeys/action", "Microsoft.EventHub/namespaces/authorizationRules/listKeys/action",
		"Microsoft.EventHub/namespaces/eventhubs/authorizationRules/listKeys/action", "Microsoft.Storage/storageAccounts/listKeys/action",
		"Microsoft.Storage/storageAccounts/listAccountSas/action", "Microsoft.Storage/storageAccounts/listServiceSas/action",
		"Microsoft.Web/sites/host/listkeys/action", "Microsoft.Web/sites/functions/listkeys/action", "Microsoft.Web/sites/functions/listsecrets/action",
	}},
	{Name: "changed", Optional: true, Operations: []string{
		"Microsoft.EventGrid/eventSubscriptions/write", "Microsoft.EventGrid/topics/eventSubscriptions/write", "Microsoft.EventGrid/systemTopics/eventSubscriptions/write",
		"Microsoft.EventGrid/topics/write", "Microsoft.EventGrid/systemTopics/write", "Microsoft.Web/sites/write", "Microsoft.Web/sites/config/write",
		"Microsoft.Web/sites/networkConfig/write", "Microsoft.Web/sites/virtualNetworkConnections/write",
		"Microsoft.Web/sites/functions/write", "Microsoft.Web/serverfarms/write", "Microsoft.Storage/storageAccounts/write",
		"Microsoft.Storage/storageAccounts/blobServices/write", "Microsoft.Storage/storageAccounts/privateEndpointConnections/write",
		"Microsoft.Storage/storageAccounts/privateEndpointConnections/delete", "Microsoft.EventHub/namespaces/write", "Microsoft.EventHub/namespaces/eventhubs/write",
		"Microsoft.EventHub/namespaces/authorizationRules/write", "Microsoft.EventHub/namespaces/networkrulesets/write",
		"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete",
	}},
	{Name: Moved, Operations: []string{"Microsoft.Resources/subscriptions/resourceGroups/moveResources/action"}},
}

// OfHub are the alerts on the activity log that hub-alerts.bicep makes for all hubs of a
// subscription. That about what is moved is on for those of another subscription than hubwatch's:
// Silencers has it for the others.
var OfHub = []Silencer{
	{Name: "silenced", Operations: []string{"Microsoft.Devices/IotHubs/delete", "Microsoft.Insights/diagnosticSettings/delete", "Microsoft.Devices/IotHubs/diagnosticSettings/delete"}},
	{Name: "changed", Optional: true, Operations: []string{
		"Microsoft.Devices/IotHubs/write", "Microsoft.Devices/IotHubs/listkeys/action", "Microsoft.Devices/IotHubs/IotHubKeys/listkeys/action",
		"Microsoft.Insights/diagnosticSettings/write", "Microsoft.Devices/IotHubs/diagnosticSettings/write",
	}},
	{Name: Moved, Optional: true, Operations: []string{"Microsoft.Resources/subscriptions/resourceGroups/moveResources/action"}},
}

// Moved is the name of the alerts about what is moved out of a resource group.
const Moved = "moved"

// ofHub returns where the alert of hub-alerts.bicep about a hub can be: in the resource group of
// hubwatch, or of one of the hubs of the same subscription if that is another one. scope is what
// has to be among its scopes, and members are its other members.
func (s Silencer) ofHub(d Deployment, hub string, hubs []string) (ids []string, scope string, members map[string]any) {
	members, scope = s.Members(), hub
	foreign := !sameSubscription(hub, d.groupID())
	if s.Name == Moved {
		scope, members["properties.enabled"] = groupOf(hub), foreign
	}
	groups := []string{d.groupID()}
	if foreign {
		groups = nil
		for _, other := range append([]string{hub}, hubs...) {
			if sameSubscription(other, hub) {
				groups = append(groups, groupOf(other))
			}
		}
	}
	for _, group := range groups {
		if id := group + fmt.Sprintf("/providers/Microsoft.Insights/activityLogAlerts/%s-hubs-%s", d.App, s.Name); !slices.ContainsFunc(ids, func(other string) bool { return sameID(other, id) }) {
			ids = append(ids, id)
		}
	}
	return ids, scope, members
}

// sameSubscription reports whether two resources are in the same subscription.
func sameSubscription(id, other string) bool {
	const subscription = 3 // segments: the id begins with a slash
	of := func(id string) string {
		return strings.Join(strings.Split(id, "/")[:min(subscription, strings.Count(id, "/")+1)], "/")
	}
	return sameID(of(id), of(other))
}

// Members returns the members that the template sets.
func (s Silencer) Members() map[string]any {
	members := map[string]any{
		"location": "global", "properties.enabled": true, "properties.scopes": byName, "properties.actions.actionGroups": byParameter,
		"properties.condition.allOf.0.field": "category", "properties.condition.allOf.0.equals": "Administrative",
		"properties.condition.allOf.1.field": "status", "properties.condition.allOf.1.equals": "Succeeded",
		"properties.condition.allOf.2.field": "operationName", "properties.condition.allOf.2.containsAny": s.Operations,
	}
	if s.Optional {
		members["properties.enabled"] = byParameter
	}
	return members
}

// resource returns the alert of main.bicep as a resource.
func (s Silencer) resource() Resource {
	return Resource{Symbol: "silencerAlerts", Version: silencerVersion, Members: s.Members(),
		id: func(d Deployment, _ site) string {
			return d.id("Microsoft.Insights/activityLogAlerts/%s-%s", d.App, s.Name)
		}}
}

// silencerVersion is the version of the API of alerts on the activity log.
const silencerVersion = "2020-10-01"

// SubscriptionMembers returns the members of every event subscription that
// infra/subscriptions.bicep sets, besides the filter and the function, which are the
// detector's, and the members that it leaves to Azure. Only event subscriptions to
// custom topics have a place for dead letters.
func SubscriptionMembers(deadLettered bool) (members, defaults map[string]any) {
	members = map[string]any{
		"properties.eventDeliverySchema":                                  "CloudEventSchemaV1_0",
		"properties.destination.endpointType":                             "AzureFunction",
		"properties.destination.properties.resourceId":                    byName,
		"properties.destination.properties.maxEventsPerBatch":             1,
		"properties.destination.properties.preferredBatchSizeInKilobytes": 64,
		"properties.filter":                                               Varies("the detector decides"),
		"properties.retryPolicy.maxDeliveryAttempts":                      30,
		"properties.retryPolicy.eventTimeToLiveInMinutes":                 1440,
	}
	if deadLettered {
		const to = "properties.deadLetterWithResourceIdentity."
		members[to+"identity.type"] = "SystemAssigned"
		members[to+"deadLetterDestination.endpointType"] = "StorageBlob"
		members[to+"deadLetterDestination.properties.blobContainerName"] = deadLetters
		members[deadLetterAccount] = byName
	}
	return members, map[string]any{
		"properties.expirationTimeUtc": "", "properties.provisioningState": "Succeeded",
		"properties.deliveryWithResourceIdentity": "", "properties.deadLetterDestination": "",
		"properties.destination.properties.deliveryAttributeMappings": []string{},
	}
}

// deadLetterAccount is the member with the storage account of dead letters.
const deadLetterAccount = "properties.deadLetterWithResourceIdentity.deadLetterDestination.properties.resourceId"
