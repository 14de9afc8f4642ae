package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appservice/armappservice/v5"
	appfake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appservice/armappservice/v5/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	rolefake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	gridfake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/iothub/armiothub"
	hubfake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/iothub/armiothub/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	monitorfake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor/fake"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/table"
)

// contoso is the deployment of the tests.
var contoso = Deployment{
	Subscription:      "00000000-0000-0000-0000-000000000001",
	ResourceGroup:     "rg-iot",
	App:               "hubwatch-contoso",
	ControlPlaneTopic: "hubwatch-contoso-control-plane",
	detectors:         usual,
}

// usual are the detectors of this build, but for custom alerts that a hub has to send more for:
// a repository may have such alerts, and contoso has none. newWiderSky has some.
var usual = slices.DeleteFunc(slices.Clone(app.Detectors()), func(d detector.Detector) bool {
	return slices.ContainsFunc(d.On.EventTypes, func(of string) bool {
		category, log := event.LogCategory(of)
		return log && category != logsCategory || slices.Contains(event.HubTypes, of)
	})
})

const (
	account        = "hubwatchcontoso"
	appPrincipal   = "00000000-0000-0000-0000-0000000000a1"
	topicPrincipal = "00000000-0000-0000-0000-0000000000a2"
)

var (
	westHub = contoso.id("%s/contoso-hub-west", hubType)
	eastHub = contoso.id("%s/contoso-hub-east", hubType)
)

// sky is an Azure in which contoso is deployed as it should be, until a test
// plants a fault. It answers with the fake servers of the SDK.
type sky struct {
	t           *testing.T
	site        armappservice.Site
	functions   []*armappservice.FunctionEnvelope
	references  map[string]armappservice.ResolveStatus // of settings to Key Vaults, by the name of the setting
	source      string                                 // of the system topic
	topic       armeventgrid.Topic
	changes     []*armeventgrid.EventSubscription
	connections []*armeventgrid.EventSubscription
	raisings    []*armeventgrid.EventSubscription // on the topic of alerts
	hubTopics   []*armeventgrid.SystemTopic
	hubEvents   map[string][]*armeventgrid.EventSubscription // by group/name of the topic of a hub
	hubs        []*armiothub.Description
	settings    map[string][]*armmonitor.DiagnosticSettingsResource // by hub
	roles       map[string][]*armauthorization.RoleAssignment       // by principal
	definitions []*armauthorization.RoleDefinition                  // of roles that are not built in
	metrics     map[string]*armmonitor.Metric                       // by resource and name
	oldest      time.Time                                           // when the oldest verdict was due
	covered     sights                                              // what the app has heard
	backlogs    []table.Backlog                                     // what waits in the quarantine
	tables      map[string]error                                    // what reading them comes to
	statuses    map[string]int                                      // of what is answered with an error, by method of the client
	raw         map[string]map[string]any                           // what is read by id, by id in lower case
	others      []*armauthorization.RoleAssignment                  // on the tables, besides those of the app
	console     int                                                 // what the console in Azure answers a stranger with, 0 if there is none
	down        bool                                                // the network
	signedOut   bool
}

// throughAll is what is known if all works.
func throughAll(now time.Time) (c sights) {
	sent := now.Add(-10 * time.Minute)
	for _, path := range coverage.Paths {
		c.trips = append(c.trips, coverage.Trip{Path: path, Sent: sent, Token: "a", Handed: true, ArrivedToken: "a", ArrivedSent: sent, Took: time.Second})
	}
	for _, of := range []string{"hubwatch.iothub.connection.failed", "hubwatch.iothub.connection.missing"} {
		c.trips[0].Branches = append(c.trips[0].Branches, coverage.Branch{Function: "DeviceTokenExpired", Type: of, Since: sent.Add(-2 * time.Hour), ArrivedToken: "a", ArrivedSent: sent, Took: time.Second})
	}
	for _, hub := range []string{"contoso-hub-east", "contoso-hub-west"} {
		c.heard = append(c.heard, alert.Heard{Hub: hub, Source: alert.Connections, Event: now, Seen: now})
	}
	return c
}

// newSky is contoso as Azure tells of it: with other letter case, and in another
// order, than it was deployed.
func newSky(t *testing.T) *sky {
	s := &sky{
		t:        t,
		source:   "/subscriptions/" + contoso.Subscription + "/resourceGroups/RG-IOT",
		settings: map[string][]*armmonitor.DiagnosticSettingsResource{},
		metrics:  map[string]*armmonitor.Metric{},
		tables:   map[string]error{},
		covered:  throughAll(time.Now()),
		statuses: map[string]int{},

		references: map[string]armappservice.ResolveStatus{"NotifyUrls": armappservice.ResolveStatusResolved},
	}
	s.site.Identity = &armappservice.ManagedServiceIdentity{UserAssignedIdentities: map[string]*armappservice.UserAssignedIdentity{
		contoso.id("Microsoft.ManagedIdentity/userAssignedIdentities/%s", contoso.App): {PrincipalID: to.Ptr(appPrincipal)},
	}}
	s.site.Properties = &armappservice.SiteProperties{
		State: to.Ptr("Running"),
		FunctionAppConfig: &armappservice.FunctionAppConfig{Deployment: &armappservice.FunctionsDeployment{
			Storage: &armappservice.FunctionsDeploymentStorage{Value: to.Ptr("https://" + account + ".blob.core.windows.net/app-package")},
		}},
	}
	s.topic.Identity = &armeventgrid.IdentityInfo{PrincipalID: to.Ptr(topicPrincipal)}
	for _, f := range app.Functions(usual, judge.Judge{}) {
		s.addFunction(f.Name)
	}
	subscriptions, err := app.Subscriptions(usual)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range subscriptions {
		switch subscription := subscriptionOf(each); each.Source {
		case detector.Connections:
			s.connections = append(s.connections, subscription)
		case detector.Alerts:
			s.raisings = append(s.raisings, subscription)
		default:
			s.changes = append(s.changes, subscription)
		}
	}
	for _, hub := range []string{westHub, eastHub} {
		s.hubs = append(s.hubs, &armiothub.Description{ID: to.Ptr(hub), Location: to.Ptr("westeurope")})
		s.settings[hub] = []*armmonitor.DiagnosticSettingsResource{
			{Name: to.Ptr("somebody-elses"), Properties: &armmonitor.DiagnosticSettings{
				WorkspaceID: to.Ptr(contoso.id("Microsoft.OperationalInsights/workspaces/theirs")),
				Logs:        []*armmonitor.LogSettings{{CategoryGroup: to.Ptr("allLogs"), Enabled: to.Ptr(true)}},
			}},
			{Name: to.Ptr(contoso.App), Properties: &armmonitor.DiagnosticSettings{
				EventHubAuthorizationRuleID: to.Ptr(strings.ToLower(contoso.sendRuleID())),
				EventHubName:                to.Ptr("connections"),
				Logs: []*armmonitor.LogSettings{
					{Category: to.Ptr("Connections"), Enabled: to.Ptr(true)},
					{Category: to.Ptr("DeviceTelemetry"), Enabled: to.Ptr(false)},
				},
				Metrics: []*armmonitor.MetricSettings{{Category: to.Ptr("AllMetrics"), Enabled: to.Ptr(false)}},
			}},
		}
	}
	s.roles = map[string][]*armauthorization.RoleAssignment{topicPrincipal: {roleOf(topicRole)}}
	for _, r := range appRoles {
		s.roles[appPrincipal] = append(s.roles[appPrincipal], roleOf(r))
		if r.id == "" {
			s.definitions = append(s.definitions, definitionOf(r))
		}
	}
	s.raw = deployedAsTheTemplatesSay()
	for _, name := range []string{mainStack, subscriptionsStack} {
		s.raw[strings.ToLower(contoso.id("Microsoft.Resources/deploymentStacks/%s", name))] = map[string]any{"properties": map[string]any{
			"provisioningState": "Succeeded", "denySettings": map[string]any{"mode": "DenyWriteAndDelete", "applyToChildScopes": false},
			"actionOnUnmanage": map[string]any{"resources": "Delete"},
			"parameters": map[string]any{
				"iotHubs":      map[string]any{"type": "array", "value": []any{strings.ToUpper(westHub), eastHub}},
				"actionGroups": map[string]any{"type": "array", "value": []any{pager}},
			},
		}}
	}
	s.others = []*armauthorization.RoleAssignment{
		assignedTo("00000000-0000-0000-0000-0000000000b1", ownID(appRoles[1]), contoso.tableID(account, alertsTable)),
		assignedTo("00000000-0000-0000-0000-0000000000b1", tableContributor, contoso.tableID(account, quarantineTable)),
		assignedTo("00000000-0000-0000-0000-0000000000b1", ownID(appRoles[1]), contoso.tableID(account, suppressionsTable)),
		assignedTo("00000000-0000-0000-0000-0000000000b1", "76199698-9eea-4c19-bc75-cec21354c6b6", contoso.storageID(elsewhere["stateAccount"])),
		assignedTo("00000000-0000-0000-0000-0000000000b2", "76199698-9eea-4c19-bc75-cec21354c6b6", contoso.tableID(account, alertsTable)),
		assignedTo("00000000-0000-0000-0000-0000000000b3", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "/subscriptions/"+contoso.Subscription),
	}
	s.counted(contoso.changesID(), "PublishSuccessCount", 0, 7, 0)
	s.counted(contoso.namespaceID(), "IncomingMessages", 3, 0)
	s.counted(contoso.connectionsID(), "PublishSuccessCount", 1)
	return s
}

func (s *sky) addFunction(name string) {
	s.functions = append(s.functions, &armappservice.FunctionEnvelope{
		Name: to.Ptr(contoso.App + "/" + name), Properties: &armappservice.FunctionEnvelopeProperties{IsDisabled: to.Ptr(false)},
	})
}

// subscriptionOf is an event subscription of this build.
func subscriptionOf(d app.Subscription) *armeventgrid.EventSubscription {
	filter := &armeventgrid.EventSubscriptionFilter{
		SubjectBeginsWith: to.Ptr(""), SubjectEndsWith: to.Ptr(""), EnableAdvancedFilteringOnArrays: to.Ptr(false),
	}
	if d.Own {
		filter.SubjectBeginsWith = to.Ptr(strings.ToUpper(contoso.groupID()) + "/")
	}
	for _, kind := range slices.Backward(d.Filter.IncludedEventTypes) {
		filter.IncludedEventTypes = append(filter.IncludedEventTypes, to.Ptr(strings.ToUpper(kind)))
	}
	for _, condition := range slices.Backward(d.Filter.AdvancedFilters) {
		var values []*string
		for _, each := range slices.Backward(condition.Values) {
			values = append(values, to.Ptr(strings.ToUpper(each)))
		}
		switch condition.OperatorType {
		case "StringContains":
			filter.AdvancedFilters = append(filter.AdvancedFilters, &armeventgrid.StringContainsAdvancedFilter{
				Key: to.Ptr(condition.Key), OperatorType: to.Ptr(armeventgrid.AdvancedFilterOperatorTypeStringContains), Values: values,
			})
		case "StringIn":
			filter.AdvancedFilters = append(filter.AdvancedFilters, &armeventgrid.StringInAdvancedFilter{
				Key: to.Ptr(condition.Key), OperatorType: to.Ptr(armeventgrid.AdvancedFilterOperatorTypeStringIn), Values: values,
			})
		default:
			panic("a condition that this fake does not know: " + condition.OperatorType)
		}
	}

	return &armeventgrid.EventSubscription{
		Name: to.Ptr(d.Name),
		Properties: &armeventgrid.EventSubscriptionProperties{
			ProvisioningState: to.Ptr(armeventgrid.EventSubscriptionProvisioningStateSucceeded),
			Destination:       toFunction(strings.ToLower(contoso.appID()) + "/functions/" + d.Function),
			Filter:            filter,
			// As infra/subscriptions.bicep has them.
			EventDeliverySchema:            to.Ptr(armeventgrid.EventDeliverySchemaCloudEventSchemaV10),
			RetryPolicy:                    &armeventgrid.RetryPolicy{MaxDeliveryAttempts: to.Ptr[int32](30), EventTimeToLiveInMinutes: to.Ptr[int32](1440)},
			DeadLetterWithResourceIdentity: deadLetterOf(d),
		},
	}
}

// deadLetterOf is where the dead letters of a subscription go.
func deadLetterOf(d app.Subscription) *armeventgrid.DeadLetterWithResourceIdentity {
	if d.Source != detector.Connections && d.Source != detector.Alerts {
		return nil
	}
	return &armeventgrid.DeadLetterWithResourceIdentity{
		Identity: &armeventgrid.EventSubscriptionIdentity{Type: to.Ptr(armeventgrid.EventSubscriptionIdentityTypeSystemAssigned)},
		DeadLetterDestination: &armeventgrid.StorageBlobDeadLetterDestination{
			EndpointType: to.Ptr(armeventgrid.DeadLetterEndPointTypeStorageBlob),
			Properties: &armeventgrid.StorageBlobDeadLetterDestinationProperties{
				BlobContainerName: to.Ptr(deadLetters), ResourceID: to.Ptr(strings.ToLower(contoso.storageID(account))),
			},
		},
	}
}

func toFunction(id string) *armeventgrid.AzureFunctionEventSubscriptionDestination {
	return &armeventgrid.AzureFunctionEventSubscriptionDestination{
		EndpointType: to.Ptr(armeventgrid.EndpointTypeAzureFunction),
		Properties: &armeventgrid.AzureFunctionEventSubscriptionDestinationProperties{
			ResourceID: to.Ptr(id), MaxEventsPerBatch: to.Ptr[int32](1), PreferredBatchSizeInKilobytes: to.Ptr[int32](64),
		},
	}
}

// of returns the event subscription that a detector wants.
func of(d detector.Detector) app.Subscription {
	source, _ := d.On.Source()
	return app.Subscription{Name: d.Name, Function: d.Name, Source: source, Filter: d.On.Filter()}
}

// subscription returns the event subscription of a function, to be changed.
func (s *sky) subscription(name string) *armeventgrid.EventSubscription {
	s.t.Helper()
	for _, subscription := range slices.Concat(s.changes, s.connections, s.raisings) {
		if *subscription.Name == name {
			return subscription
		}
	}
	s.t.Fatalf("there is no event subscription %s", name)
	return nil
}

func roleOf(r role) *armauthorization.RoleAssignment {
	on := account
	if r.elsewhere != "" {
		on = elsewhere[r.elsewhere]
	}
	return assigned(cmp.Or(r.id, ownID(r)), strings.ToLower(r.scope(contoso, on)))
}

// elsewhere are the storage accounts that the app does not tell, by their symbols.
var elsewhere = map[string]string{"hostAccount": "hubwatchhost", "stateAccount": "hubwatchstate"}

// idOf returns the id of a resource of the deployment.
func idOf(r Resource) string {
	if on := elsewhere[r.Symbol]; on != "" {
		return contoso.storageID(on)
	}
	return r.id(contoso, site{account: account})
}

// pager is an action group that hears of failures of hubwatch.
const pager = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Insights/actionGroups/pager"

// ownID is the id of a role that is not built in.
func ownID(r role) string {
	i := slices.IndexFunc(appRoles, func(each role) bool { return each.name == r.name })
	return fmt.Sprintf("00000000-0000-0000-0000-0000000000E%d", i)
}

// definitionOf is what Azure tells of a role that is not built in: in other letter
// case and another order than it was deployed.
func definitionOf(r role) *armauthorization.RoleDefinition {
	permission := &armauthorization.Permission{}
	for _, action := range slices.Backward(r.actions) {
		permission.Actions = append(permission.Actions, to.Ptr(strings.ToUpper(action)))
	}
	for _, action := range slices.Backward(r.data) {
		permission.DataActions = append(permission.DataActions, to.Ptr(strings.ToUpper(action)))
	}
	return &armauthorization.RoleDefinition{Name: to.Ptr(strings.ToLower(ownID(r))), Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: to.Ptr(r.of(contoso)), Permissions: []*armauthorization.Permission{permission},
	}}
}

func assignedTo(principal, id, scope string) *armauthorization.RoleAssignment {
	a := assigned(id, scope)
	a.Properties.PrincipalID = to.Ptr(principal)
	return a
}

// tableRoles are the data actions of roles that people can have on tables, by id.
var tableRoles = map[string][]string{
	tableContributor:                       {"Microsoft.Storage/storageAccounts/tableServices/tables/entities/*"},
	"76199698-9eea-4c19-bc75-cec21354c6b6": {entities + "read"},
	"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": nil,
	"17d1049b-9a84-46fb-8f53-869881c3d3ab": {"Microsoft.Storage/*"},
}

// deployedAsTheTemplatesSay returns the resources of the templates as Azure returns
// them, by id in lower case: with members that the templates do not have.
func deployedAsTheTemplatesSay() map[string]map[string]any {
	raw := map[string]map[string]any{}
	s := site{account: account}
	add := func(id string, members map[string]any) {
		resource := nested(members)
		resource["id"], resource["etag"] = id, "0x1"
		properties, _ := resource["properties"].(map[string]any)
		properties["provisioningState"] = "Succeeded"
		if rules, ok := properties["ipSecurityRestrictions"].([]any); ok {
			properties["ipSecurityRestrictions"] = append(rules, map[string]any{"name": "Deny all", "ipAddress": "Any", "action": "Deny", "priority": 2147483647})
		}
		raw[strings.ToLower(id)] = resource
	}
	for _, r := range Resources {
		add(idOf(r), inNetwork(r.Members, false, true))
	}
	for _, f := range Failures {
		r := f.resource(contoso, s)
		add(r.id(contoso, s), r.Members)
		properties := raw[strings.ToLower(r.id(contoso, s))]["properties"].(map[string]any)
		properties["actions"] = []any{map[string]any{"actionGroupId": strings.ToLower(pager)}}
	}
	silencer := func(id string, members map[string]any) {
		add(id, members)
		properties := raw[strings.ToLower(id)]["properties"].(map[string]any)
		properties["actions"] = map[string]any{"actionGroups": []any{map[string]any{"actionGroupId": strings.ToUpper(pager), "webhookProperties": map[string]any{}}}}
	}
	for _, each := range Silencers {
		r := each.resource()
		silencer(r.id(contoso, s), r.Members)
	}
	for _, each := range OfHub {
		ids, _, members := each.ofHub(contoso, westHub, nil)
		members["properties.scopes"] = []string{strings.ToLower(westHub), eastHub}
		if each.Name == Moved {
			members["properties.scopes"] = []string{groupOf(westHub)}
		}
		silencer(ids[0], members)
	}
	return raw
}

// hubAlert is the id of the alert on the activity log about the deletion of a hub of the subscription of
// hubwatch.
func hubAlert() string {
	ids, _, _ := OfHub[0].ofHub(contoso, westHub, nil)
	return ids[0]
}

// close deploys main.bicep into a network.
func (s *sky) close() {
	s.parameter("appSubnet", "/subnets/app")
	s.parameter("endpointSubnet", "/subnets/endpoints")
	for _, r := range Resources {
		for path, value := range r.Members {
			value, ok := value.(InNetwork)
			if !ok {
				continue
			}
			names := strings.Split(path, ".")
			object := s.raw[strings.ToLower(idOf(r))]
			for _, name := range names[:len(names)-1] {
				object = object[name].(map[string]any)
			}
			object[names[len(names)-1]] = value.Closed
		}
	}
}

// socGroup is a resource group with a workspace of Microsoft Sentinel.
const socGroup = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-soc"

// addSentinel deploys sentinel.bicep into a resource group, for a workspace there. It returns
// the properties of its rule.
func (s *sky) addSentinel(group string) map[string]any {
	workspace := group + "/providers/Microsoft.OperationalInsights/workspaces/contoso-soc"
	s.parameter("sentinelWorkspace", workspace)
	members := maps.Clone(SentinelRule.Members)
	members["properties.destinations.logAnalytics.workspace.workspaceResourceId"] = strings.ToLower(workspace)
	rule := nested(members)
	s.raw[strings.ToLower(group+sentinelRule)] = rule
	if strings.HasPrefix(group, "/subscriptions/"+contoso.Subscription+"/") {
		s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned(sentinelRole, strings.ToLower(group+sentinelRule)))
	}
	return rule["properties"].(map[string]any)
}

// parameter says that main.bicep was deployed with the value of a parameter.
func (s *sky) parameter(name string, value any) {
	stack := s.raw[strings.ToLower(contoso.id("Microsoft.Resources/deploymentStacks/%s", mainStack))]["properties"].(map[string]any)
	stack["parameters"].(map[string]any)[name] = map[string]any{"value": value}
}

// nested returns members by their paths as objects in each other. A list of names with
// members of their own is an array of objects, and so are objects by their numbers.
func nested(members map[string]any) map[string]any {
	object := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(members)) {
		first, rest, deeper := strings.Cut(strings.Replace(path, "odata.type", "odata:type", 1), ".")
		if deeper {
			if object[first] == nil {
				object[first] = map[string]any{}
			}
			if inner, ok := object[first].(map[string]any); ok {
				inner[rest] = members[path]
			} else if names, ok := object[first].([]string); ok { // elements with names
				object[first] = map[string]any{"": names, rest: members[path]}
			}
			continue
		}
		value := members[path]
		if _, varies := value.(Varies); varies {
			value = "something"
		}
		object[strings.Replace(first, ":", ".", 1)] = value
	}
	for name, value := range object {
		inner, ok := value.(map[string]any)
		if !ok {
			continue
		}
		names, isArray := inner[""].([]string)
		delete(inner, "")
		object[name] = nested(inner)
		var unnamed []any
		for {
			element, ok := object[name].(map[string]any)[strconv.Itoa(len(unnamed))]
			if !ok {
				break
			}
			unnamed = append(unnamed, element)
		}
		if unnamed != nil {
			object[name] = unnamed
		}
		if isArray {
			var elements []any
			for _, element := range names {
				e, _ := object[name].(map[string]any)[element].(map[string]any)
				e["name"] = element
				elements = append(elements, e)
			}
			object[name] = elements
		}
	}
	return object
}

func assigned(id, scope string) *armauthorization.RoleAssignment {
	return &armauthorization.RoleAssignment{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID:      to.Ptr(appPrincipal),
		RoleDefinitionID: to.Ptr("/subscriptions/" + contoso.Subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + id),
		Scope:            to.Ptr(scope),
	}}
}

// counted sets what a metric counted in the hours from noon on.
func (s *sky) counted(resource, metric string, hours ...float64) {
	var data []*armmonitor.MetricValue
	for i, n := range hours {
		data = append(data, &armmonitor.MetricValue{
			TimeStamp: to.Ptr(time.Date(2026, 2, 1, 12+i, 0, 0, 0, time.UTC)), Total: to.Ptr(n),
		})
	}
	s.metrics[resource+" "+metric] = &armmonitor.Metric{
		Name: &armmonitor.LocalizableString{Value: to.Ptr(metric)}, ErrorCode: to.Ptr("Success"),
		Timeseries: []*armmonitor.TimeSeriesElement{{Data: data}},
	}
}

// delivered adds what a metric of deliveries counted for an event subscription, minutes ago.
// error is of a failure, and "" for a success.
func (s *sky) delivered(topic, subscription, failure string, n float64, minutes ...int) {
	metric, of := "DeliverySuccessCount", []*armmonitor.MetadataValue{{Name: &armmonitor.LocalizableString{Value: to.Ptr("eventsubscriptionname")}, Value: to.Ptr(subscription)}}
	if failure != "" {
		metric = "DeliveryAttemptFailCount"
		of = append([]*armmonitor.MetadataValue{{Name: &armmonitor.LocalizableString{Value: to.Ptr("error")}, Value: to.Ptr(failure)}}, of...)
	}
	element := &armmonitor.TimeSeriesElement{Metadatavalues: of}
	for _, m := range minutes {
		element.Data = append(element.Data, &armmonitor.MetricValue{TimeStamp: to.Ptr(time.Now().Add(-time.Duration(m) * time.Minute)), Total: to.Ptr(n)}, &armmonitor.MetricValue{})
	}
	m := s.metrics[topic+" "+metric]
	if m == nil {
		m = &armmonitor.Metric{Name: &armmonitor.LocalizableString{Value: to.Ptr(metric)}, ErrorCode: to.Ptr("Success")}
		s.metrics[topic+" "+metric] = m
	}
	m.Timeseries = append(m.Timeseries, element)
}

// world returns the sky as the doctor sees it.
func (s *sky) world() (world, error) {
	return world{
		credential: credential{s.signedOut},
		options: &arm.ClientOptions{ClientOptions: policy.ClientOptions{
			Transport: &servers{sky: s, byClient: s.servers()}, Retry: policy.RetryOptions{MaxRetries: -1},
		}},
		table: func(_ context.Context, endpoint, name string) error {
			if want := "https://" + account + ".table.core.windows.net"; endpoint != want {
				s.t.Errorf("the tables are looked for at %s, want %s", endpoint, want)
			}
			return s.tables[name]
		},
		oldest: func(_ context.Context, endpoint string) (time.Time, error) {
			if want := "https://" + elsewhere["stateAccount"] + ".table.core.windows.net"; endpoint != want {
				s.t.Errorf("verdicts are looked for at %s, want %s", endpoint, want)
			}
			return s.oldest, s.tables["state"]
		},
		coverage: func(_ context.Context, endpoint string) (sights, error) {
			if want := "https://" + account + ".table.core.windows.net"; endpoint != want {
				s.t.Errorf("the coverage is looked for at %s, want %s", endpoint, want)
			}
			return s.covered, s.tables["coverage"]
		},
		backlogs: func(_ context.Context, endpoint string) ([]table.Backlog, bool, error) {
			if want := "https://" + account + ".table.core.windows.net"; endpoint != want {
				s.t.Errorf("the quarantine is looked for at %s, want %s", endpoint, want)
			}
			return s.backlogs, len(s.backlogs) > 2, s.tables["backlogs"]
		},
		visit: func(_ context.Context, address string) (int, error) {
			if want := "https://hubwatch-contoso-console.azurewebsites.net/api/console/"; address != want {
				s.t.Errorf("a stranger asks for %s, want %s", address, want)
			}
			if s.console < 0 {
				return 0, errors.New("no such host")
			}
			return s.console, nil
		},
	}, nil
}

// credential gives a token, unless nobody is signed in.
type credential struct{ signedOut bool }

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if c.signedOut {
		return azcore.AccessToken{}, fmt.Errorf("no credential\nin any of the places")
	}
	return azcore.AccessToken{Token: "a token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// servers sends each request to the fake server of its client.
type servers struct {
	*sky
	byClient map[string]policy.Transporter
}

// Do implements policy.Transporter. It holds the doctor to reading.
func (s *servers) Do(r *http.Request) (*http.Response, error) {
	if s.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("no such host")}
	}
	if r.Method != http.MethodGet {
		s.t.Errorf("%s %s: want nothing but GET", r.Method, r.URL.Path)
	}
	method, _ := r.Context().Value(runtime.CtxAPINameKey{}).(string)
	if status := s.statuses[method]; status != 0 {
		code := map[int]string{http.StatusForbidden: "AuthorizationFailed", http.StatusNotFound: "ResourceNotFound"}[status]
		return &http.Response{
			Request: r, StatusCode: status, Header: http.Header{},
			Body: io.NopCloser(strings.NewReader(fmt.Sprintf("{\"error\": {\"code\": %q,\n\"message\": \"of many\\nlines\"}}", code))),
		}, nil
	}
	if method == "" {
		return s.read(r)
	}
	client, _, _ := strings.Cut(method, ".")
	server, ok := s.byClient[client]
	if !ok {
		return nil, fmt.Errorf("there is no fake server for %q", method)
	}
	return server.Do(r)
}

// read answers a request for a resource by its id.
func (s *servers) read(r *http.Request) (*http.Response, error) {
	resource, ok := s.raw[strings.ToLower(r.URL.Path)]
	if r.URL.Query().Get("api-version") == "" {
		s.t.Errorf("GET %s: there is no version of the API", r.URL.Path)
	}
	status, body := http.StatusOK, any(resource)
	if !ok {
		status, body = http.StatusNotFound, map[string]any{"error": map[string]any{"code": "ResourceNotFound"}}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{Request: r, StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text))}, nil
}

// pages answers with each item on a page of its own, so that who reads only the
// first page is found out.
func pages[P, T any](items []*T, page func([]*T) P) (answer azfake.PagerResponder[P]) {
	if len(items) == 0 {
		answer.AddPage(http.StatusOK, page(nil), nil)
	}
	for _, item := range items {
		answer.AddPage(http.StatusOK, page([]*T{item}), nil)
	}
	return answer
}

func one[R any](r R) (answer azfake.Responder[R], _ azfake.ErrorResponder) {
	answer.SetResponse(http.StatusOK, r, nil)
	return answer, azfake.ErrorResponder{}
}

// servers returns the fake servers, by the name of the client.
func (s *sky) servers() map[string]policy.Transporter {
	apps := appfake.NewWebAppsServerTransport(&appfake.WebAppsServer{
		Get: func(_ context.Context, _, name string, _ *armappservice.WebAppsClientGetOptions) (answer azfake.Responder[armappservice.WebAppsClientGetResponse], fault azfake.ErrorResponder) {
			if name == contoso.consoleApp() {
				if s.console == 0 {
					fault.SetResponseError(http.StatusNotFound, "ResourceNotFound")
					return answer, fault
				}
				host := to.Ptr("hubwatch-contoso-console.azurewebsites.net")
				return one(armappservice.WebAppsClientGetResponse{Site: armappservice.Site{Properties: &armappservice.SiteProperties{DefaultHostName: host}}})
			}
			return one(armappservice.WebAppsClientGetResponse{Site: s.site})
		},
		NewListFunctionsPager: func(string, string, *armappservice.WebAppsClientListFunctionsOptions) azfake.PagerResponder[armappservice.WebAppsClientListFunctionsResponse] {
			return pages(s.functions, func(items []*armappservice.FunctionEnvelope) armappservice.WebAppsClientListFunctionsResponse {
				return armappservice.WebAppsClientListFunctionsResponse{FunctionEnvelopeCollection: armappservice.FunctionEnvelopeCollection{Value: items}}
			})
		},
		NewGetAppSettingsKeyVaultReferencesPager: func(string, string, *armappservice.WebAppsClientGetAppSettingsKeyVaultReferencesOptions) azfake.PagerResponder[armappservice.WebAppsClientGetAppSettingsKeyVaultReferencesResponse] {
			var list []*armappservice.APIKVReference
			for name, status := range s.references {
				list = append(list, &armappservice.APIKVReference{
					Name: to.Ptr(contoso.App + "/appsettings/" + name), Properties: &armappservice.APIKVReferenceProperties{Status: to.Ptr(status), Details: to.Ptr("hidden")},
				})
			}
			return pages(list, func(items []*armappservice.APIKVReference) armappservice.WebAppsClientGetAppSettingsKeyVaultReferencesResponse {
				return armappservice.WebAppsClientGetAppSettingsKeyVaultReferencesResponse{APIKVReferenceCollection: armappservice.APIKVReferenceCollection{Value: items}}
			})
		},
	})
	systemTopics := gridfake.NewSystemTopicsServerTransport(&gridfake.SystemTopicsServer{
		Get: func(context.Context, string, string, *armeventgrid.SystemTopicsClientGetOptions) (azfake.Responder[armeventgrid.SystemTopicsClientGetResponse], azfake.ErrorResponder) {
			return one(armeventgrid.SystemTopicsClientGetResponse{SystemTopic: armeventgrid.SystemTopic{Properties: &armeventgrid.SystemTopicProperties{Source: to.Ptr(s.source)}}})
		},
		NewListBySubscriptionPager: func(*armeventgrid.SystemTopicsClientListBySubscriptionOptions) azfake.PagerResponder[armeventgrid.SystemTopicsClientListBySubscriptionResponse] {
			return pages(s.hubTopics, func(items []*armeventgrid.SystemTopic) armeventgrid.SystemTopicsClientListBySubscriptionResponse {
				return armeventgrid.SystemTopicsClientListBySubscriptionResponse{SystemTopicsListResult: armeventgrid.SystemTopicsListResult{Value: items}}
			})
		},
	})
	systemEvents := gridfake.NewSystemTopicEventSubscriptionsServerTransport(&gridfake.SystemTopicEventSubscriptionsServer{
		NewListBySystemTopicPager: func(group, topic string, _ *armeventgrid.SystemTopicEventSubscriptionsClientListBySystemTopicOptions) azfake.PagerResponder[armeventgrid.SystemTopicEventSubscriptionsClientListBySystemTopicResponse] {
			list := s.changes
			if events, ok := s.hubEvents[group+"/"+topic]; ok {
				list = events
			}
			return pages(list, func(items []*armeventgrid.EventSubscription) armeventgrid.SystemTopicEventSubscriptionsClientListBySystemTopicResponse {
				return armeventgrid.SystemTopicEventSubscriptionsClientListBySystemTopicResponse{EventSubscriptionsListResult: armeventgrid.EventSubscriptionsListResult{Value: items}}
			})
		},
	})
	topics := gridfake.NewTopicsServerTransport(&gridfake.TopicsServer{
		Get: func(context.Context, string, string, *armeventgrid.TopicsClientGetOptions) (azfake.Responder[armeventgrid.TopicsClientGetResponse], azfake.ErrorResponder) {
			return one(armeventgrid.TopicsClientGetResponse{Topic: s.topic})
		},
	})
	events := gridfake.NewTopicEventSubscriptionsServerTransport(&gridfake.TopicEventSubscriptionsServer{
		NewListPager: func(_, topic string, _ *armeventgrid.TopicEventSubscriptionsClientListOptions) azfake.PagerResponder[armeventgrid.TopicEventSubscriptionsClientListResponse] {
			list := s.connections
			if topic == contoso.alertsTopic() {
				list = s.raisings
			}
			return pages(list, func(items []*armeventgrid.EventSubscription) armeventgrid.TopicEventSubscriptionsClientListResponse {
				return armeventgrid.TopicEventSubscriptionsClientListResponse{EventSubscriptionsListResult: armeventgrid.EventSubscriptionsListResult{Value: items}}
			})
		},
	})
	roles := rolefake.NewRoleAssignmentsServerTransport(&rolefake.RoleAssignmentsServer{
		NewListForScopePager: func(scope string, o *armauthorization.RoleAssignmentsClientListForScopeOptions) azfake.PagerResponder[armauthorization.RoleAssignmentsClientListForScopeResponse] {
			if *o.Filter != "atScope()" {
				s.t.Errorf("roles were listed by %q", *o.Filter)
			}
			var list []*armauthorization.RoleAssignment
			for _, each := range append(s.others, s.roles[appPrincipal]...) {
				if contains(*each.Properties.Scope, scope) {
					list = append(list, each)
				}
			}
			return pages(list, func(items []*armauthorization.RoleAssignment) armauthorization.RoleAssignmentsClientListForScopeResponse {
				return armauthorization.RoleAssignmentsClientListForScopeResponse{RoleAssignmentListResult: armauthorization.RoleAssignmentListResult{Value: items}}
			})
		},
		NewListForSubscriptionPager: func(o *armauthorization.RoleAssignmentsClientListForSubscriptionOptions) azfake.PagerResponder[armauthorization.RoleAssignmentsClientListForSubscriptionResponse] {
			principal, _ := strings.CutPrefix(*o.Filter, "assignedTo('")
			return pages(s.roles[strings.TrimSuffix(principal, "')")], func(items []*armauthorization.RoleAssignment) armauthorization.RoleAssignmentsClientListForSubscriptionResponse {
				return armauthorization.RoleAssignmentsClientListForSubscriptionResponse{RoleAssignmentListResult: armauthorization.RoleAssignmentListResult{Value: items}}
			})
		},
	})
	definitions := rolefake.NewRoleDefinitionsServerTransport(&rolefake.RoleDefinitionsServer{
		GetByID: func(_ context.Context, id string, _ *armauthorization.RoleDefinitionsClientGetByIDOptions) (azfake.Responder[armauthorization.RoleDefinitionsClientGetByIDResponse], azfake.ErrorResponder) {
			for _, own := range s.definitions {
				if strings.EqualFold(*own.Name, lastOf(id)) {
					return one(armauthorization.RoleDefinitionsClientGetByIDResponse{RoleDefinition: *own})
				}
			}
			permission := &armauthorization.Permission{}
			for _, action := range tableRoles[lastOf(id)] {
				permission.DataActions = append(permission.DataActions, to.Ptr(action))
			}
			return one(armauthorization.RoleDefinitionsClientGetByIDResponse{RoleDefinition: armauthorization.RoleDefinition{
				Properties: &armauthorization.RoleDefinitionProperties{RoleName: to.Ptr("built-in"), Permissions: []*armauthorization.Permission{permission}},
			}})
		},
		NewListPager: func(scope string, o *armauthorization.RoleDefinitionsClientListOptions) azfake.PagerResponder[armauthorization.RoleDefinitionsClientListResponse] {
			if want := "subscriptions/" + contoso.Subscription + "/resourceGroups/" + contoso.ResourceGroup; scope != want || *o.Filter != "type eq 'CustomRole'" {
				s.t.Errorf("roles were listed in %s by %q, want %s", scope, *o.Filter, want)
			}
			return pages(s.definitions, func(items []*armauthorization.RoleDefinition) armauthorization.RoleDefinitionsClientListResponse {
				return armauthorization.RoleDefinitionsClientListResponse{RoleDefinitionListResult: armauthorization.RoleDefinitionListResult{Value: items}}
			})
		},
	})
	hubs := hubfake.NewResourceServerTransport(&hubfake.ResourceServer{
		NewListBySubscriptionPager: func(*armiothub.ResourceClientListBySubscriptionOptions) azfake.PagerResponder[armiothub.ResourceClientListBySubscriptionResponse] {
			return pages(s.hubs, func(items []*armiothub.Description) armiothub.ResourceClientListBySubscriptionResponse {
				return armiothub.ResourceClientListBySubscriptionResponse{DescriptionListResult: armiothub.DescriptionListResult{Value: items}}
			})
		},
		NewListByResourceGroupPager: func(string, *armiothub.ResourceClientListByResourceGroupOptions) azfake.PagerResponder[armiothub.ResourceClientListByResourceGroupResponse] {
			return pages(s.hubs, func(items []*armiothub.Description) armiothub.ResourceClientListByResourceGroupResponse {
				return armiothub.ResourceClientListByResourceGroupResponse{DescriptionListResult: armiothub.DescriptionListResult{Value: items}}
			})
		},
	})
	diagnostics := monitorfake.NewDiagnosticSettingsServerTransport(&monitorfake.DiagnosticSettingsServer{
		NewListPager: func(hub string, _ *armmonitor.DiagnosticSettingsClientListOptions) azfake.PagerResponder[armmonitor.DiagnosticSettingsClientListResponse] {
			var settings []*armmonitor.DiagnosticSettingsResource
			for id, list := range s.settings {
				if sameID(id, hub) {
					settings = list
				}
			}
			return pages(settings, func(items []*armmonitor.DiagnosticSettingsResource) armmonitor.DiagnosticSettingsClientListResponse {
				return armmonitor.DiagnosticSettingsClientListResponse{DiagnosticSettingsResourceCollection: armmonitor.DiagnosticSettingsResourceCollection{Value: items}}
			})
		},
	})
	metrics := monitorfake.NewMetricsServerTransport(&monitorfake.MetricsServer{
		List: func(_ context.Context, resource string, o *armmonitor.MetricsClientListOptions) (azfake.Responder[armmonitor.MetricsClientListResponse], azfake.ErrorResponder) {
			var list []*armmonitor.Metric
			if strings.HasPrefix(*o.Metricnames, "Delivery") != (o.Filter != nil) {
				s.t.Errorf("metric %s: filter %v", *o.Metricnames, o.Filter)
			}
			if m := s.metrics["/"+resource+" "+*o.Metricnames]; m != nil {
				list = append(list, m)
			}
			return one(armmonitor.MetricsClientListResponse{Response: armmonitor.Response{Value: list}})
		},
	})
	return map[string]policy.Transporter{
		"WebAppsClient": apps, "SystemTopicsClient": systemTopics, "SystemTopicEventSubscriptionsClient": systemEvents,
		"TopicsClient": topics, "TopicEventSubscriptionsClient": events, "RoleAssignmentsClient": roles, "RoleDefinitionsClient": definitions,
		"ResourceClient": hubs, "DiagnosticSettingsClient": diagnostics, "MetricsClient": metrics,
	}
}
