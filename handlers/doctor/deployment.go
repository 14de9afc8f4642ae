package main

import (
	"fmt"
	"strings"
)

// deployment says which deployment is looked at: what infra/main.bicep was told.
// Its methods are the names that main.bicep gives; a test compares them.
type deployment struct {
	subscription string   // id
	group        string   // name of the resource group
	app          string   // name of the function app, with which the other names begin
	changesTopic string   // name of the system topic with the changes of resources
	hubs         []string // resource ids of the IoT hubs; empty for all of the resource group
}

// Names in main.bicep that do not begin with the name of the app.
const (
	alertsTable     = "alerts"
	quarantineTable = "quarantine"
	deadLetters     = "deadletter"
	logsEventHub    = "connections"
	sendRule        = "azure-monitor"
	logsCategory    = "Connections" // the one that the relay reads
)

// hubType is the resource type of an IoT hub.
const hubType = "Microsoft.Devices/IotHubs"

// id returns the resource id of something in the resource group.
func (d deployment) id(format string, args ...any) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/", d.subscription, d.group) + fmt.Sprintf(format, args...)
}

func (d deployment) appID() string            { return d.id("Microsoft.Web/sites/%s", d.app) }
func (d deployment) insightsID() string       { return d.id("Microsoft.Insights/components/%s", d.app) }
func (d deployment) connectionsTopic() string { return d.app + "-connections" }
func (d deployment) connectionsID() string {
	return d.id("Microsoft.EventGrid/topics/%s", d.connectionsTopic())
}
func (d deployment) changesID() string {
	return d.id("Microsoft.EventGrid/systemTopics/%s", d.changesTopic)
}
func (d deployment) namespaceID() string {
	return d.id("Microsoft.EventHub/namespaces/%s-logs", d.app)
}
func (d deployment) eventHubID() string { return d.namespaceID() + "/eventhubs/" + logsEventHub }
func (d deployment) sendRuleID() string {
	return d.namespaceID() + "/authorizationRules/" + sendRule
}
func (d deployment) storageID(account string) string {
	return d.id("Microsoft.Storage/storageAccounts/%s", account)
}
func (d deployment) tableID(account, table string) string {
	return d.storageID(account) + "/tableServices/default/tables/" + table
}
func (d deployment) deadLettersID(account string) string {
	return d.storageID(account) + "/blobServices/default/containers/" + deadLetters
}

// sameID reports whether two resource ids are the same: Azure compares them, as
// it does names of resources, regardless of case
// (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
func sameID(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, "/"), strings.Trim(b, "/"))
}

// contains reports whether the resource with the id inner is the scope, or below
// it.
func contains(scope, inner string) bool {
	scope, inner = strings.ToLower(strings.Trim(scope, "/")), strings.ToLower(strings.Trim(inner, "/"))
	return scope == inner || strings.HasPrefix(inner, scope+"/")
}

// lastOf returns the last part of a resource id: the name.
func lastOf(id string) string { return id[strings.LastIndex(id, "/")+1:] }
