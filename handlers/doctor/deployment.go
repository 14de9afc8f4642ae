package doctor

import (
	"cmp"
	"fmt"
	"strings"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
)

// Deployment says which deployment to look at: what infra/main.bicep was told.
type Deployment struct {
	Subscription  string // id
	ResourceGroup string // name
	App           string // name of the function app, with which the other names begin
	// ControlPlaneTopic is the name of the system topic with the changes of
	// resources; "" for the one that main.bicep makes.
	ControlPlaneTopic string
	Hubs              []string // resource ids of the IoT hubs; empty for all of the resource group

	detectors []detector.Detector // of this build
}

// named returns d with all its names, and with the detectors of this build. Its further methods are the names that
// main.bicep gives; a test compares them.
func (d Deployment) named() Deployment {
	d.ControlPlaneTopic = cmp.Or(d.ControlPlaneTopic, d.ownTopic())
	if d.detectors == nil {
		d.detectors = app.Detectors()
	}
	return d
}

// ownTopic is the name of the system topic that main.bicep makes.
func (d Deployment) ownTopic() string { return d.App + "-control-plane" }

// Names in main.bicep that do not begin with the name of the app.
const (
	alertsTable       = "alerts"
	quarantineTable   = "quarantine"
	suppressionsTable = "suppressions"
	deadLetters       = "deadletter"
	packages          = "app-package"
	logsEventHub      = "connections"
	sendRule          = "azure-monitor"
	logsCategory      = "Connections" // the one that the relay always reads
)

// hubType is the resource type of an IoT hub.
const hubType = "Microsoft.Devices/IotHubs"

// id returns the resource id of something in the resource group.
func (d Deployment) id(format string, args ...any) string {
	return d.groupID() + "/providers/" + fmt.Sprintf(format, args...)
}

// groupID returns the id of the resource group.
func (d Deployment) groupID() string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s", d.Subscription, d.ResourceGroup)
}

func (d Deployment) appID() string            { return d.id("Microsoft.Web/sites/%s", d.App) }
func (d Deployment) insightsID() string       { return d.id("Microsoft.Insights/components/%s", d.App) }
func (d Deployment) connectionsTopic() string { return d.App + "-connections" }
func (d Deployment) connectionsID() string {
	return d.id("Microsoft.EventGrid/topics/%s", d.connectionsTopic())
}
func (d Deployment) alertsTopic() string { return d.App + "-alerts" }
func (d Deployment) alertsTopicID() string {
	return d.id("Microsoft.EventGrid/topics/%s", d.alertsTopic())
}
func (d Deployment) changesID() string {
	return d.id("Microsoft.EventGrid/systemTopics/%s", d.ControlPlaneTopic)
}
func (d Deployment) namespaceID() string {
	return d.id("Microsoft.EventHub/namespaces/%s-logs", d.App)
}
func (d Deployment) eventHubID() string { return d.namespaceID() + "/eventhubs/" + logsEventHub }
func (d Deployment) sendRuleID() string {
	return d.namespaceID() + "/authorizationRules/" + sendRule
}
func (d Deployment) storageID(account string) string {
	return d.id("Microsoft.Storage/storageAccounts/%s", account)
}
func (d Deployment) tableID(account, table string) string {
	return d.storageID(account) + "/tableServices/default/tables/" + table
}
func (d Deployment) containerID(account, container string) string {
	return d.storageID(account) + "/blobServices/default/containers/" + container
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

// groupOf returns the id of the resource group of a resource.
func groupOf(id string) string {
	const group = 5 // segments: the id begins with a slash
	segments := strings.Split(id, "/")
	return strings.Join(segments[:min(group, len(segments))], "/")
}

// lastOf returns the last part of a resource id: the name.
func lastOf(id string) string { return id[strings.LastIndex(id, "/")+1:] }
