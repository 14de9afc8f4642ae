package doctor

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appservice/armappservice/v5"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// examine runs the doctor on a sky. It returns the results that are not ok, each in
// one line, and how many results there are in all.
func examine(t *testing.T, s *sky, d Deployment) (ill []string, all int) {
	t.Helper()
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	for r := range run(t.Context(), d, s.world) {
		all++
		if r.Verdict != OK {
			ill = append(ill, r.String())
		}
	}
	return ill, all
}

// inAll is how many results there are: sign-in, app, functions, references to Key Vaults, three tables, the quarantine,
// late verdicts, four paths of canaries, their forks and when hubs were heard of, the system topic, each event subscription and others on three topics, the
// expected hubs, two hubs with their alerts, the resources and the alerts of Azure Monitor, the roles with
// others of the app, those of two topics and what Microsoft Sentinel needs, who may write three tables and the state, two stacks, the console,
// the deliveries of three topics, and three arrivals.
var inAll = 16 + subscribed + 3 + 1 + 4 + len(Resources) + len(Failures) + len(Silencers) + 2*(len(OfHub)-1) + len(appRoles) + 4 + 4 + 2 + 1 + 3 + 3

var subscribed = func() int {
	all, err := app.Subscriptions(usual)
	if err != nil {
		panic(err)
	}
	return len(all)
}()

func TestAllOK(t *testing.T) {
	unnamed, named := contoso, contoso
	unnamed.ControlPlaneTopic = ""
	named.Hubs = []string{westHub, strings.ToUpper(eastHub)}
	for _, d := range []Deployment{contoso, unnamed, named} {
		if ill, all := examine(t, newSky(t), d); len(ill) > 0 || all != inAll {
			t.Errorf("%+v: %d results, want %d; not ok are\n%s", d, all, inAll, strings.Join(ill, "\n"))
		}
	}
}

// TestFaults plants each fault by itself and wants just its lines.
func TestFaults(t *testing.T) {
	type fault struct {
		name  string
		plant func(*sky)
		want  []string // how the lines begin that are not ok
	}
	detectors := usual
	last := detectors[len(detectors)-1]
	for _, f := range []fault{
		{"a function is missing", func(s *sky) {
			s.functions = s.functions[:len(s.functions)-1]
		}, []string{"wrong    functions: " + last.Name + " is missing: make publish"}},
		{"a function is disabled", func(s *sky) {
			for _, f := range s.functions {
				if strings.HasSuffix(value(f.Name), "/"+detector.CertificateAdded.Name) {
					f.Properties.IsDisabled = to.Ptr(true)
				}
			}
		}, []string{"wrong    functions: CertificateAdded is disabled: remove the setting AzureWebJobs.CertificateAdded.Disabled of the app"}},
		{"a function is none of this build", func(s *sky) {
			s.addFunction("Stranger")
		}, []string{"wrong    functions: Stranger is none of this build: make publish"}},
		{"nothing was published", func(s *sky) {
			s.functions = nil
		}, []string{"wrong    functions: Canary is missing: make publish; CanaryTag is missing: make publish; CertificateAddFailed is missing: make publish; CertificateAdded is missing"}},
		{"the app is stopped", func(s *sky) {
			s.site.Properties.State = to.Ptr("Stopped")
		}, []string{`wrong    app hubwatch-contoso: it is in the state "Stopped": start it with az functionapp start`}},
		{"the app has a second identity", func(s *sky) {
			s.site.Identity.PrincipalID = to.Ptr("00000000-0000-0000-0000-0000000000a3")
		}, []string{"wrong    app hubwatch-contoso: it has 2 identities, want one: deploy infra/main.bicep"}},
		{"the app has no identity", func(s *sky) {
			s.site.Identity = nil
		}, append([]string{
			"wrong    app hubwatch-contoso: it has 0 identities",
			"unknown  resource hostAccount: the app does not tell which storage account it is", "unknown  resource stateAccount: the app does not tell which storage account it is", "unknown  verdicts: the app does not tell the storage account of its state",
			"wrong    who may write the table quarantine: " + appPrincipal + " has the role hubwatch-contoso quarantine writer",
			"unknown  who may write the state: the app does not tell the storage account of its state",
		}, missingRoles(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)...)},
		{"the app has its package elsewhere", func(s *sky) {
			s.site.Properties.FunctionAppConfig = nil
		}, append([]string{
			"wrong    app hubwatch-contoso: its package is in no storage account that can be told",
			"unknown  table alerts: the app does not tell its storage account",
			"unknown  table quarantine: the app does not tell its storage account",
			"unknown  quarantine: the app does not tell its storage account",
			"unknown  canary of the path topic: the app does not tell its storage account",
			"unknown  canary of the path event-hub: the app does not tell its storage account",
			"unknown  canary of the path alerts: the app does not tell its storage account",
			"unknown  canary of the path changes: the app does not tell its storage account",
			"unknown  canaries of the event subscriptions: the app does not tell its storage account",
			"unknown  hubs that are heard of: the app does not tell its storage account",
			"unknown  table suppressions: the app does not tell its storage account",
			"unknown  verdicts: the app does not tell the storage account of its state",
			"wrong    other roles of the app: hubwatch-contoso alert writer on /subscriptions",
			"wrong    role of the topic of connections: Storage Blob Data Contributor on the container deadletter: it is missing",
			"wrong    role of the topic of alerts: Storage Blob Data Contributor on the container deadletter: it is missing",
			"unknown  resource storage: the app does not tell which storage account it is",
			"unknown  resource blobs: the app does not tell which storage account it is",
			"unknown  who may write the table alerts: the app does not tell its storage account",
			"unknown  who may write the table quarantine: the app does not tell its storage account",
			"unknown  who may write the table suppressions: the app does not tell its storage account",
		}, missingRoles(1, 2, 3, 7)...)},
		{"the app may write a tag on its identity", func(s *sky) {
			s.definitions = append(s.definitions, definitionOf(tagRole))
			s.roles[appPrincipal] = append(s.roles[appPrincipal], roleOf(tagRole))
		}, nil},
		{"other people take the alerts for Microsoft Sentinel", func(s *sky) {
			s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned(sentinelRole, strings.ToLower(socGroup+sentinelRule)))
		}, nil},
		{"alerts go to Microsoft Sentinel", func(s *sky) { s.addSentinel(socGroup) }, nil},
		{"alerts go to a workspace of another subscription", func(s *sky) { s.addSentinel(strings.Replace(socGroup, "0001", "0002", 1)) }, nil},
		{"the rule of Microsoft Sentinel is gone", func(s *sky) {
			s.addSentinel(socGroup)
			delete(s.raw, strings.ToLower(socGroup+sentinelRule))
		}, []string{"wrong    Microsoft Sentinel: deploy infra/main.bicep (404"}},
		{"the rule of Microsoft Sentinel drops all rows", func(s *sky) {
			s.addSentinel(socGroup)["dataFlows"].([]any)[0].(map[string]any)["transformKql"] = "source | where false"
		}, []string{`wrong    Microsoft Sentinel: properties.dataFlows.0.transformKql is "source | where false", want "source"; deploy infra/main.bicep`}},
		{"the rule of Microsoft Sentinel is for another workspace", func(s *sky) {
			s.addSentinel(socGroup)["destinations"].(map[string]any)["logAnalytics"].([]any)[0].(map[string]any)["workspaceResourceId"] = "/theirs"
		}, []string{`wrong    Microsoft Sentinel: properties.destinations.logAnalytics.workspace.workspaceResourceId is "/theirs", want`}},
		{"the app may not send to Microsoft Sentinel", func(s *sky) {
			s.addSentinel(socGroup)
			s.roles[appPrincipal] = s.roles[appPrincipal][:len(s.roles[appPrincipal])-1]
		}, []string{"wrong    Microsoft Sentinel: the app lacks the role Monitoring Metrics Publisher on " + socGroup + sentinelRule + ": deploy infra/main.bicep"}},
		{"the app may send to any rule of a group", func(s *sky) {
			s.addSentinel(socGroup)
			s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned(sentinelRole, socGroup))
		}, []string{"wrong    other roles of the app: Monitoring Metrics Publisher on " + socGroup + ", which it does not need"}},
		{"the workspace of Microsoft Sentinel is a name", func(s *sky) {
			s.parameter("sentinelWorkspace", "contoso-soc")
		}, []string{`unknown  Microsoft Sentinel: the parameter sentinelWorkspace is "contoso-soc", which is not the resource id of a workspace`}},
		{"the console sends strangers to sign in", func(s *sky) { s.console = http.StatusFound }, nil},
		{"the console refuses strangers", func(s *sky) { s.console = http.StatusUnauthorized }, nil},
		{"the console is open to everybody", func(s *sky) { s.console = http.StatusOK },
			[]string{"wrong    console: https://hubwatch-contoso-console.azurewebsites.net shows its pages to everybody: stop it with az functionapp stop, then deploy infra/main.bicep"}},
		{"the console was never published", func(s *sky) { s.console = http.StatusNotFound },
			[]string{"unknown  console: https://hubwatch-contoso-console.azurewebsites.net answers a stranger with 404, want 302 or 401: make publish PART=console"}},
		{"the console is not to be reached", func(s *sky) { s.console = -1 }, []string{"unknown  console: no such host"}},
		{"the alert on late verdicts asks something else", func(s *sky) {
			criteria := s.raw[strings.ToLower(contoso.id("Microsoft.Insights/scheduledQueryRules/%s-verdicts-late", contoso.App))]["properties"].(map[string]any)["criteria"].(map[string]any)
			criterion := criteria["allOf"].([]any)[0].(map[string]any)
			criterion["query"], criterion["threshold"] = "traces | take 0", 5.0
		}, []string{`wrong    resource verdictsLate: properties.criteria.allOf.0.query is "traces | take 0", want "traces | where message has \"oldestMarkSeconds\"`}},
		{"somebody may drop the state", func(s *sky) {
			s.others = append(s.others, assignedTo("00000000-0000-0000-0000-0000000000b4", tableContributor, contoso.storageID(elsewhere["stateAccount"])))
		}, []string{"wrong    who may write the state: 00000000-0000-0000-0000-0000000000b4 has the role "}},
		{"a responder may write the state", func(s *sky) {
			s.others = append(s.others, assignedTo("00000000-0000-0000-0000-0000000000b1", ownID(appRoles[1]), contoso.storageID(elsewhere["stateAccount"])))
		}, []string{"wrong    who may write the state: 00000000-0000-0000-0000-0000000000b1 has the role "}},
		{"a verdict is late", func(s *sky) { s.oldest = time.Now().Add(-11 * time.Minute) },
			[]string{"wrong    verdicts: one has been due since "}},
		{"a canary is lost", func(s *sky) {
			s.covered.trips[0].ArrivedToken, s.covered.trips[0].Sent = "another", time.Now().Add(-time.Hour)
		},
			[]string{"wrong    canary of the path topic: the canary of "}},
		{"a canary did not come to one function", func(s *sky) {
			s.covered.trips[0].Sent = time.Now().Add(-time.Hour)
			s.covered.trips[0].Branches[1].ArrivedToken = "another"
		}, []string{"wrong    canaries of the event subscriptions: topic/DeviceTokenExpired: the canary of "}},
		{"a canary did not come to a function that is new", func(s *sky) {
			s.covered.trips[0].Branches[1].Since, s.covered.trips[0].Branches[1].ArrivedToken = s.covered.trips[0].Sent, ""
		}, []string{"unknown  canaries of the event subscriptions: topic/DeviceTokenExpired: a canary is under way since "}},
		{"a canary is under way", func(s *sky) { s.covered.trips[1].ArrivedToken, s.covered.trips[1].Sent = "", time.Now() },
			[]string{"unknown  canary of the path event-hub: a canary is under way since "}},
		{"no tag could be written", func(s *sky) {
			s.covered.trips[3].ArrivedToken, s.covered.trips[3].Handed, s.covered.trips[3].Fault = "", false, "tag: 403 Forbidden"
		}, []string{"unknown  canary of the path changes: not proven, since no tag was written: tag: 403 Forbidden; no change ever came"}},
		{"no canary is sent any more", func(s *sky) { s.covered.trips[1].Sent = time.Now().Add(-2 * time.Hour) },
			[]string{"wrong    canary of the path event-hub: no canary was sent for 2 hours: the function Canary does not run, or cannot write; "}},
		{"a hub was never heard of", func(s *sky) { s.covered.heard = s.covered.heard[1:] },
			[]string{"unknown  hubs that are heard of: the Connections log of contoso-hub-east was never heard of: the first message may come 90 minutes after the diagnostic setting was made, and a hub to which no device connects logs nothing; contoso-hub-west, connections: 0 seconds ago"}},
		{"only changes of a hub came", func(s *sky) { s.covered.heard[0].Source = alert.Changes },
			[]string{"unknown  hubs that are heard of: the Connections log of contoso-hub-east was never heard of: "}},
		{"the app expects a hub that was never heard of", func(s *sky) {
			s.covered.heard = append(s.covered.heard, alert.Heard{Hub: "contoso-spare", Source: alert.Connections})
		}, []string{"unknown  hubs that are heard of: the Connections log of contoso-spare was never heard of: "}},
		{"no canary was ever sent, and no hub was heard of", func(s *sky) { s.covered = sights{} },
			[]string{"unknown  canary of the path topic: no canary was ever sent", "unknown  canary of the path event-hub: no canary was ever sent", "unknown  canary of the path alerts: no canary was ever sent", "unknown  canaries of the event subscriptions: no canary was ever sent there", "unknown  hubs that are heard of: the Connections log of contoso-hub-east, contoso-hub-west was never heard of: "}},
		{"the coverage cannot be read", func(s *sky) { s.tables["coverage"] = errors.New("no such host") },
			[]string{"unknown  canary of the path topic: no such host", "unknown  canary of the path event-hub: no such host", "unknown  canary of the path alerts: no such host", "unknown  canary of the path changes: no such host", "unknown  canaries of the event subscriptions: no such host", "unknown  hubs that are heard of: no such host"}},
		{"single events could not be judged", func(s *sky) {
			s.backlogs = []table.Backlog{{Function: "HubKeysListed", Waiting: 300, Recent: 9, Raised: true}, {Function: "CertificateAdded", Waiting: 1, Recent: 1}}
		}, nil},
		{"an alert can judge nothing", func(s *sky) {
			s.backlogs = []table.Backlog{{Function: "HubDeleted", Waiting: 1, Oldest: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}, {Function: "CertificateAdded", Waiting: 1, Recent: 1}}
		}, []string{"wrong    quarantine: HubDeleted could not judge 1 event since 2026-02-01, and no alert of it is known since then. "}},
		{"an alert cannot judge many events", func(s *sky) {
			s.backlogs = []table.Backlog{{Function: "HubKeysListed", Waiting: 300, Recent: 10, Raised: true}, {Function: "CertificateAdded", Waiting: 1, Recent: 1}}
		}, []string{"wrong    quarantine: HubKeysListed could not judge 10 events in the last 24 hours, and others it could"}},
		{"the quarantine cannot be read", func(s *sky) { s.tables["backlogs"] = errors.New("no such host") },
			[]string{"unknown  quarantine: no such host"}},
		{"a verdict is due just now", func(s *sky) { s.oldest = time.Now().Add(-2 * time.Minute) }, nil},
		{"the state is not to be read", func(s *sky) {
			s.tables["state"] = fmt.Errorf(`table "state": read: %w`, &table.ServiceError{Status: 403, Code: "AuthorizationPermissionMismatch"})
		}, []string{`wrong    verdicts: table "state": read: 403 AuthorizationPermissionMismatch; to look is enough with Storage Table Data Reader`}},
		{"a table is not to be read", func(s *sky) {
			s.tables["alerts"] = fmt.Errorf(`table "alerts": list: %w`, &table.ServiceError{Status: 403, Code: "AuthorizationPermissionMismatch"})
		}, []string{`wrong    table alerts: table "alerts": list: 403 AuthorizationPermissionMismatch; to look is enough with Storage Table Data Reader`}},
		{"a table is not to be reached", func(s *sky) {
			s.tables["quarantine"] = fmt.Errorf(`table "quarantine": list: %w`, errors.New("no such host AccountKey=c2VjcmV0"))
		}, []string{`unknown  table quarantine: table "quarantine": list: no such host AccountKey=REDACTED`}},
		{"the system topic covers another group", func(s *sky) {
			s.source = "/subscriptions/" + contoso.Subscription + "/resourceGroups/rg"
		}, []string{"wrong    system topic hubwatch-contoso-control-plane: it has the events of /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg, " +
			"where the hub contoso-hub-west is not: deploy infra/main.bicep with watch=subscription; it has"}},
		{"the system topic covers the subscription", func(s *sky) {
			s.source = "/subscriptions/" + contoso.Subscription
		}, nil},
		{"an event subscription is missing", func(s *sky) {
			s.changes = s.changes[1:]
		}, []string{"wrong    event subscription CertificateAdded: it is missing on the topic hubwatch-contoso-control-plane: deploy infra/subscriptions.bicep"}},
		{"an event subscription is on the other topic", func(s *sky) {
			s.connections, s.changes = append(s.connections, s.changes[0]), s.changes[1:]
		}, []string{
			"wrong    event subscription CertificateAdded: it is missing on the topic hubwatch-contoso-control-plane",
			"wrong    other event subscriptions on hubwatch-contoso-connections: CertificateAdded delivers to CertificateAdded, but is none of this build: delete it",
		}},
		{"an event subscription is left over", func(s *sky) {
			old := subscriptionOf(of(detector.CertificateAdded))
			old.Name = to.Ptr("CertificateRenamed")
			s.changes = append(s.changes, old)
		}, []string{"wrong    other event subscriptions on hubwatch-contoso-control-plane: CertificateRenamed delivers to CertificateAdded, but is none of this build: delete it"}},
		{"somebody else subscribes", func(s *sky) {
			theirs := subscriptionOf(of(detector.CertificateAdded))
			theirs.Name, theirs.Properties.Destination = to.Ptr("theirs"), toFunction(contoso.appID()+"-2/functions/Theirs")
			s.changes = append(s.changes, theirs)
		}, nil},
		{"a value of a filter was changed", func(s *sky) {
			filters := s.subscription("CertificateDeleted").Properties.Filter.AdvancedFilters
			filters[1].(*armeventgrid.StringInAdvancedFilter).Values[0] = to.Ptr("Microsoft.Devices/IotHubs/certificates/write")
		}, []string{"wrong    event subscription CertificateDeleted: its filter lacks data.operationName StringIn Microsoft.Devices/IotHubs/certificates/delete; " +
			"its filter has data.operationName StringIn Microsoft.Devices/IotHubs/certificates/write, which this build does not; deploy infra/subscriptions.bicep"}},
		{"a value of a filter was removed", func(s *sky) {
			filters := s.subscription("DiagnosticSettingChanged").Properties.Filter.AdvancedFilters
			operations := filters[1].(*armeventgrid.StringInAdvancedFilter)
			operations.Values = operations.Values[1:]
		}, []string{"wrong    event subscription DiagnosticSettingChanged: its filter lacks data.operationName"}},
		{"a filter was added", func(s *sky) {
			filter := s.subscription("DeviceTokenExpired").Properties.Filter
			filter.AdvancedFilters = append(filter.AdvancedFilters, &armeventgrid.NumberGreaterThanAdvancedFilter{
				Key: to.Ptr("data.count"), OperatorType: to.Ptr(armeventgrid.AdvancedFilterOperatorTypeNumberGreaterThan), Value: to.Ptr(3.0),
			})
		}, []string{"wrong    event subscription DeviceTokenExpired: its filter has data.count NumberGreaterThan 3, which this build does not; deploy"}},
		{"a filter was narrowed by subject", func(s *sky) {
			s.subscription("DeviceTokenInvalid").Properties.Filter.SubjectBeginsWith = to.Ptr("/hubs/west")
		}, []string{"wrong    event subscription DeviceTokenInvalid: its filter has subject BeginsWith /hubs/west, which this build does not; deploy"}},
		{"an event type was removed", func(s *sky) {
			filter := s.subscription("DiagnosticSettingDeleted").Properties.Filter
			filter.IncludedEventTypes = filter.IncludedEventTypes[:1]
		}, []string{"wrong    event subscription DiagnosticSettingDeleted: its filter lacks eventType In"}},
		{"a filter is gone", func(s *sky) {
			s.subscription("DeviceTokenInvalid").Properties.Filter = nil
		}, []string{"wrong    event subscription DeviceTokenInvalid: its filter lacks eventType In hubwatch.iothub.connection.failed or hubwatch.iothub.connection.token-invalid; deploy"}},
		{"an event subscription delivers to another function", func(s *sky) {
			s.subscription("CertificateAdded").Properties.Destination = toFunction(contoso.appID() + "/functions/CertificateDeleted")
		}, []string{"wrong    event subscription CertificateAdded: it delivers to /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/" +
			"Microsoft.Web/sites/hubwatch-contoso/functions/CertificateDeleted, not to the function CertificateAdded of hubwatch-contoso; deploy"}},
		{"an event subscription delivers to a web hook", func(s *sky) {
			s.subscription("CertificateAdded").Properties.Destination = &armeventgrid.WebHookEventSubscriptionDestination{
				EndpointType: to.Ptr(armeventgrid.EndpointTypeWebHook),
				Properties:   &armeventgrid.WebHookEventSubscriptionDestinationProperties{EndpointURL: to.Ptr("https://contoso.example/?sig=c2VjcmV0")},
			}
		}, []string{"wrong    event subscription CertificateAdded: it delivers to no function, not to the function CertificateAdded of hubwatch-contoso; properties.destination.endpointType is \"WebHook\", want \"AzureFunction\""}},
		{"an event subscription is not ready", func(s *sky) {
			s.subscription("CertificateAdded").Properties.ProvisioningState = to.Ptr(armeventgrid.EventSubscriptionProvisioningStateAwaitingManualAction)
		}, []string{`wrong    event subscription CertificateAdded: properties.provisioningState is "AwaitingManualAction", want "Succeeded"; deploy`}},
		{"a diagnostic setting is missing", func(s *sky) {
			s.settings[westHub] = s.settings[westHub][:1]
		}, []string{"wrong    diagnostic settings of hub contoso-hub-west: none sends to the event hub " + contoso.eventHubID() +
			": deploy infra/main.bicep with this hub in iotHubs"}},
		{"a diagnostic setting without Connections", func(s *sky) {
			s.settings[westHub][1].Properties.Logs[0].Enabled = to.Ptr(false)
		}, []string{"wrong    diagnostic settings of hub contoso-hub-west: hubwatch-contoso does not send Connections: deploy"}},
		{"a diagnostic setting with more than Connections", func(s *sky) {
			s.settings[eastHub][1].Properties.Logs[1].Enabled = to.Ptr(true)
			s.settings[eastHub][1].Properties.Metrics[0].Enabled = to.Ptr(true)
		}, []string{"wrong    diagnostic settings of hub contoso-hub-east: hubwatch-contoso sends more than Connections, which is paid for and passed over: DeviceTelemetry, AllMetrics: deploy"}},
		{"a diagnostic setting with all logs", func(s *sky) {
			s.settings[eastHub][1].Properties.Logs = []*armmonitor.LogSettings{{CategoryGroup: to.Ptr("allLogs"), Enabled: to.Ptr(true)}}
		}, []string{"wrong    diagnostic settings of hub contoso-hub-east: hubwatch-contoso sends more than Connections, which is paid for and passed over: allLogs: deploy"}},
		{"a diagnostic setting to another event hub", func(s *sky) {
			s.settings[westHub][1].Properties.EventHubName = to.Ptr("telemetry")
		}, []string{"wrong    diagnostic settings of hub contoso-hub-west: none sends to the event hub"}},
		{"a diagnostic setting to another namespace", func(s *sky) {
			s.settings[westHub][1].Properties.EventHubAuthorizationRuleID = to.Ptr(strings.ReplaceAll(contoso.sendRuleID(), "contoso-logs", "fabrikam-logs"))
		}, []string{"wrong    diagnostic settings of hub contoso-hub-west: none sends to the event hub"}},
		{"no hubs", func(s *sky) {
			s.hubs = nil
		}, []string{
			"unknown  IoT hubs: there is none in the resource group rg-iot: name them with --hub",
			"wrong    expected IoT hubs: " + strings.ToUpper(westHub) + " is gone",
		}},
		{"a role is missing", func(s *sky) {
			s.roles[appPrincipal] = slices.Delete(s.roles[appPrincipal], 2, 3)
		}, missingRoles(2)},
		{"a role is on too much", func(s *sky) {
			s.roles[appPrincipal][1].Properties.Scope = to.Ptr(contoso.storageID(account))
		}, append(missingRoles(1), "wrong    other roles of the app: hubwatch-contoso alert writer on "+contoso.storageID(account)+", which it does not need: az role assignment delete")},
		{"a role of our own may delete", func(s *sky) {
			permission := s.definitions[0].Properties.Permissions[0]
			permission.DataActions = append(permission.DataActions, to.Ptr(entities+"delete"))
		}, append(missingRoles(1), "wrong    other roles of the app: hubwatch-contoso alert writer on "+strings.ToLower(contoso.tableID(account, alertsTable))+", which it does not need")},
		{"a role of our own may write nothing", func(s *sky) {
			s.definitions[1].Properties.Permissions = nil
		}, append(missingRoles(2), "wrong    other roles of the app: hubwatch-contoso quarantine writer on "+strings.ToLower(contoso.tableID(account, quarantineTable))+", which it does not need")},
		{"a role of another app", func(s *sky) {
			s.definitions[2].Properties.RoleName = to.Ptr("hubwatch-fabrikam package keeper")
		}, append(missingRoles(3), "wrong    other roles of the app: hubwatch-fabrikam package keeper on "+strings.ToLower(contoso.containerID(account, packages))+", which it does not need")},
		{"the host's role is on the alerts' account", func(s *sky) {
			s.roles[appPrincipal][0].Properties.Scope = to.Ptr(contoso.storageID(account))
		}, append(missingRoles(0), "wrong    other roles of the app: Storage Blob Data Owner on "+contoso.storageID(account)+", which it does not need",
			"unknown  resource hostAccount: the app does not tell which storage account it is")},
		{"the app may still write as before", func(s *sky) {
			s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", contoso.tableID(account, alertsTable)))
		}, []string{"wrong    other roles of the app: Storage Table Data Contributor on " + contoso.tableID(account, alertsTable) + ", which it does not need"}},
		{"the definitions of roles may not be read", func(s *sky) {
			s.statuses["RoleDefinitionsClient.NewListPager"] = http.StatusForbidden
		}, unknownRoles("403 AuthorizationFailed to GET /subscriptions/" + contoso.Subscription + "/resourceGroups/rg-iot/providers/Microsoft.Authorization/roleDefinitions")},
		{"the app is a contributor", func(s *sky) {
			s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned("b24988ac-6180-42a0-ab88-20f7382dd24c", "/subscriptions/"+contoso.Subscription))
		}, []string{"wrong    other roles of the app: Contributor on /subscriptions/00000000-0000-0000-0000-000000000001, which it does not need"}},
		{"the app has a role of somebody's own", func(s *sky) {
			s.roles[appPrincipal] = append(s.roles[appPrincipal], assigned("00000000-0000-0000-0000-0000000000ff", "/"))
		}, []string{"wrong    other roles of the app: role 00000000-0000-0000-0000-0000000000ff on /, which it does not need"}},
		{"the role of the topic is missing", func(s *sky) {
			s.roles[topicPrincipal] = nil
		}, []string{"wrong    role of the topic of connections: Storage Blob Data Contributor on the container deadletter: it is missing: deploy infra/main.bicep", "wrong    role of the topic of alerts: Storage Blob Data Contributor on the container deadletter: it is missing: deploy infra/main.bicep"}},
		{"the topic has no identity", func(s *sky) {
			s.topic.Identity = nil
		}, []string{"wrong    role of the topic of connections: Storage Blob Data Contributor on the container deadletter: it is missing", "wrong    role of the topic of alerts: Storage Blob Data Contributor on the container deadletter: it is missing"}},
		{"an identity that is none", func(s *sky) {
			s.topic.Identity.PrincipalID = to.Ptr("') or 1 eq 1")
		}, []string{`unknown  role of the topic of connections: Storage Blob Data Contributor on the container deadletter: the id of an identity is "') or 1 eq 1"`, `unknown  role of the topic of alerts: Storage Blob Data Contributor on the container deadletter: the id of an identity is "') or 1 eq 1"`}},
		{"nothing ever came", func(s *sky) {
			s.counted(contoso.changesID(), "PublishSuccessCount", 0, 0)
			delete(s.metrics, contoso.namespaceID()+" IncomingMessages")
			s.counted(contoso.connectionsID(), "PublishSuccessCount")
		}, []string{
			"unknown  last change of a resource: none in 30 days: change something",
			"unknown  last message of the Connections log: none in 30 days: the first may come 90 minutes after",
			"unknown  last failed connection: none in 30 days: right if no device failed to connect",
		}},
		{"a metric fails", func(s *sky) {
			m := s.metrics[contoso.changesID()+" PublishSuccessCount"]
			m.ErrorCode, m.ErrorMessage = to.Ptr("InternalError"), to.Ptr("try again")
		}, []string{"unknown  last change of a resource: metric PublishSuccessCount: InternalError: try again"}},
		{"the app may not be read", func(s *sky) {
			s.statuses["WebAppsClient.Get"] = http.StatusForbidden
		}, append([]string{
			"unknown  console: 403 AuthorizationFailed to GET",
			"unknown  app hubwatch-contoso: 403 AuthorizationFailed to GET " + contoso.appID() + "; you need the role Reader there",
			"unknown  table alerts: the app does not tell its storage account: 403 AuthorizationFailed to GET",
			"unknown  table quarantine: the app does not tell its storage account: 403 AuthorizationFailed to GET",
			"unknown  quarantine: the app does not tell its storage account: 403",
			"unknown  canary of the path topic: the app does not tell its storage account: 403",
			"unknown  canary of the path event-hub: the app does not tell its storage account: 403",
			"unknown  canary of the path alerts: the app does not tell its storage account: 403",
			"unknown  canary of the path changes: the app does not tell its storage account: 403",
			"unknown  canaries of the event subscriptions: the app does not tell its storage account: 403",
			"unknown  hubs that are heard of: the app does not tell its storage account: 403",
			"unknown  table suppressions: the app does not tell its storage account: 403 AuthorizationFailed to GET",
			"unknown  resource storage: the app does not tell which storage account it is: 403",
			"unknown  resource blobs: the app does not tell which storage account it is: 403",
			"unknown  resource hostAccount: the app does not tell which storage account it is: 403", "unknown  resource stateAccount: the app does not tell which storage account it is: 403", "unknown  verdicts: the app does not tell the storage account of its state",
			"unknown  who may write the table alerts: the app does not tell its storage account: 403",
			"unknown  who may write the table quarantine: the app does not tell its storage account: 403",
			"unknown  who may write the table suppressions: the app does not tell its storage account: 403",
			"unknown  who may write the state: the app does not tell the storage account of its state: 403",
		}, unknownRoles("403 AuthorizationFailed to GET")...)},
		{"the app is missing", func(s *sky) {
			s.statuses["WebAppsClient.Get"], s.statuses["WebAppsClient.NewListFunctionsPager"] = http.StatusNotFound, http.StatusNotFound
		}, append([]string{
			"wrong    app hubwatch-contoso: deploy infra/main.bicep (404 ResourceNotFound to GET " + contoso.appID() + ")",
			"wrong    functions: deploy infra/main.bicep (404 ResourceNotFound to GET " + contoso.appID() + "/functions)",
			"unknown  table alerts: the app does not tell its storage account: 404",
			"unknown  table quarantine: the app does not tell its storage account: 404",
			"unknown  quarantine: the app does not tell its storage account: 404",
			"unknown  canary of the path topic: the app does not tell its storage account: 404",
			"unknown  canary of the path event-hub: the app does not tell its storage account: 404",
			"unknown  canary of the path alerts: the app does not tell its storage account: 404",
			"unknown  canary of the path changes: the app does not tell its storage account: 404",
			"unknown  canaries of the event subscriptions: the app does not tell its storage account: 404",
			"unknown  hubs that are heard of: the app does not tell its storage account: 404",
			"unknown  table suppressions: the app does not tell its storage account: 404",
			"unknown  resource storage: the app does not tell which storage account it is: 404",
			"unknown  resource blobs: the app does not tell which storage account it is: 404",
			"unknown  resource hostAccount: the app does not tell which storage account it is: 404", "unknown  resource stateAccount: the app does not tell which storage account it is: 404", "unknown  verdicts: the app does not tell the storage account of its state",
			"unknown  who may write the table alerts: the app does not tell its storage account: 404",
			"unknown  who may write the table quarantine: the app does not tell its storage account: 404",
			"unknown  who may write the table suppressions: the app does not tell its storage account: 404",
			"unknown  who may write the state: the app does not tell the storage account of its state: 404",
		}, unknownRoles("404 ResourceNotFound to GET")...)},
		{"the functions may not be read", func(s *sky) {
			s.statuses["WebAppsClient.NewListFunctionsPager"] = http.StatusForbidden
		}, []string{"unknown  functions: 403 AuthorizationFailed to GET " + contoso.appID() + "/functions; you need the role Reader there"}},
		{"the system topic is missing", func(s *sky) {
			s.statuses["SystemTopicsClient.Get"] = http.StatusNotFound
		}, []string{"wrong    system topic hubwatch-contoso-control-plane: deploy infra/main.bicep, or name the topic with --control-plane-topic (404 ResourceNotFound"}},
		{"the roles may not be read", func(s *sky) {
			s.statuses["RoleAssignmentsClient.NewListForSubscriptionPager"] = http.StatusForbidden
		}, append(unknownRoles("403 AuthorizationFailed to GET /subscriptions/"+contoso.Subscription+"/providers/Microsoft.Authorization/roleAssignments"),
			"unknown  role of the topic of connections: Storage Blob Data Contributor on the container deadletter: 403",
			"unknown  role of the topic of alerts: Storage Blob Data Contributor on the container deadletter: 403",
			"unknown  resource hostAccount: 403 AuthorizationFailed", "unknown  resource stateAccount: 403 AuthorizationFailed", "unknown  verdicts: the app does not tell the storage account of its state",
			"unknown  who may write the state: the app does not tell the storage account of its state: 403")},
		{"a hub is missing", func(s *sky) {
			s.statuses["DiagnosticSettingsClient.NewListPager"] = http.StatusNotFound
		}, []string{
			"wrong    diagnostic settings of hub contoso-hub-west: there is no such hub: see --hub (404 ResourceNotFound",
			"wrong    diagnostic settings of hub contoso-hub-east: there is no such hub: see --hub (404 ResourceNotFound",
		}},
		{"the hubs may not be listed", func(s *sky) {
			s.statuses["ResourceClient.NewListByResourceGroupPager"] = http.StatusForbidden
		}, []string{
			"unknown  system topic hubwatch-contoso-control-plane: the hubs that it should cover: 403 AuthorizationFailed",
			"unknown  IoT hubs: 403 AuthorizationFailed",
		}},
		{"a part of hubwatch may be filtered away", func(s *sky) {
			s.subscription("WatcherDeleted").Properties.Filter.SubjectBeginsWith = to.Ptr("")
		}, []string{"wrong    event subscription WatcherDeleted: its filter lacks subject BeginsWith /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/; deploy"}},
		{"the event subscription about what silences hubwatch is missing", func(s *sky) {
			s.changes = slices.DeleteFunc(s.changes, func(e *armeventgrid.EventSubscription) bool { return *e.Name == "WatcherStopped" })
		}, []string{"wrong    event subscription WatcherStopped: it is missing on the topic hubwatch-contoso-control-plane: deploy infra/subscriptions.bicep"}},
		{"the key of Event Grid was replaced", func(s *sky) {
			s.delivered(contoso.changesID(), "CertificateAdded", "", 2, 300)
			s.delivered(contoso.changesID(), "CertificateAdded", "Unauthorized", 1, 90, 85, 80, 70, 40)
			s.delivered(contoso.changesID(), "CertificateDeleted", "", 1, 10)
		}, []string{"wrong    deliveries of hubwatch-contoso-control-plane: CertificateAdded: 5 failed and none succeeded since, the last in the five minutes from"}},
		{"the first deliveries after a pause were refused", func(s *sky) {
			s.delivered(contoso.connectionsID(), "DeviceTokenExpired", "Unauthorized", 30, 60)
			s.delivered(contoso.connectionsID(), "DeviceTokenExpired", "", 30, 50)
		}, nil},
		{"the first deliveries after a pause were refused just now", func(s *sky) {
			s.delivered(contoso.connectionsID(), "DeviceTokenExpired", "Unauthorized", 1, 2)
		}, []string{"unknown  deliveries of hubwatch-contoso-connections: DeviceTokenExpired: 1 failed and none succeeded since"}},
		{"deliveries to other people are refused", func(s *sky) {
			s.delivered(contoso.alertsTopicID(), "to-my-queue", "Unauthorized", 1, 90, 85, 80, 70, 40)
			s.delivered(contoso.changesID(), "theirs", "NotFound", 9, 10)
		}, nil},
		{"deliveries to other people are refused, and those to hubwatch", func(s *sky) {
			s.delivered(contoso.changesID(), "theirs", "NotFound", 9, 10)
			s.delivered(contoso.changesID(), "CertificateAdded", "Unauthorized", 1, 90, 85, 80, 70, 40)
		}, []string{"wrong    deliveries of hubwatch-contoso-control-plane: CertificateAdded: 5 failed and none succeeded since"}},
		{"a setting cannot be read from the Key Vault", func(s *sky) {
			s.references["NotifyUrls"] = armappservice.ResolveStatusAccessToKeyVaultDenied
			s.references["Notify__ops"] = armappservice.ResolveStatusSecretNotFound
		}, []string{"wrong    references to Key Vaults: NotifyUrls is not resolved (AccessToKeyVaultDenied); Notify__ops is not resolved (SecretNotFound); look whether"}},
		{"a setting is just being read from the Key Vault", func(s *sky) {
			s.references["NotifyUrls"] = armappservice.ResolveStatusInitialized
		}, []string{"unknown  references to Key Vaults: NotifyUrls is being resolved: ask again in some minutes"}},
		{"no setting is in a Key Vault", func(s *sky) { clear(s.references) }, nil},
		{"the references to Key Vaults may not be read", func(s *sky) {
			s.statuses["WebAppsClient.NewGetAppSettingsKeyVaultReferencesPager"] = http.StatusForbidden
		}, []string{"unknown  references to Key Vaults: 403"}},
		{"the metric of deliveries fails", func(s *sky) {
			s.delivered(contoso.connectionsID(), "DeviceTokenExpired", "Unauthorized", 1, 2)
			m := s.metrics[contoso.connectionsID()+" DeliveryAttemptFailCount"]
			m.ErrorCode, m.ErrorMessage = to.Ptr("InternalError"), to.Ptr("try again")
		}, []string{"unknown  deliveries of hubwatch-contoso-connections: metric DeliveryAttemptFailCount: InternalError: try again"}},
		{"the alert about a hub is missing", func(s *sky) {
			delete(s.raw, strings.ToLower(hubAlert()))
		}, []string{
			"wrong    alert of Azure Monitor silenced of hub contoso-hub-west: it is missing: deploy infra/main.bicep",
			"wrong    alert of Azure Monitor silenced of hub contoso-hub-east: it is missing: deploy infra/main.bicep",
		}},
		{"the alert is not about each hub", func(s *sky) {
			properties := s.raw[strings.ToLower(hubAlert())]["properties"].(map[string]any)
			properties["scopes"], properties["enabled"] = []any{westHub, 7}, false
		}, []string{
			"wrong    alert of Azure Monitor silenced of hub contoso-hub-west: properties.enabled is false, want true; deploy infra/main.bicep",
			"wrong    alert of Azure Monitor silenced of hub contoso-hub-east: properties.scopes lacks " + eastHub + "; properties.enabled is false, want true; deploy infra/main.bicep",
		}},
		{"nobody hears of what silences hubwatch", func(s *sky) {
			r := Silencers[0].resource()
			properties := s.raw[strings.ToLower(r.id(contoso, site{}))]["properties"].(map[string]any)
			properties["actions"] = map[string]any{"actionGroups": []any{}}
		}, []string{"wrong    alert of Azure Monitor deleted: properties.actions.actionGroups is empty, want"}},
		{"the network of the storage account is closed", func(s *sky) {
			properties := s.raw[strings.ToLower(contoso.storageID(account))]["properties"].(map[string]any)
			properties["networkAcls"].(map[string]any)["defaultAction"] = "Deny"
		}, []string{`wrong    resource storage: properties.networkAcls.defaultAction is "Deny", want "Allow"; deploy infra/main.bicep`}},
		{"the deployment is in a network", (*sky).close, nil},
		{"the network of the storage account is open", func(s *sky) {
			s.close()
			properties := s.raw[strings.ToLower(contoso.storageID(account))]["properties"].(map[string]any)
			properties["networkAcls"].(map[string]any)["defaultAction"] = "Allow"
		}, []string{`wrong    resource storage: properties.networkAcls.defaultAction is "Allow", want "Deny"; deploy infra/main.bicep`}},
		{"Azure Monitor cannot reach the event hub", func(s *sky) {
			s.close()
			properties := s.raw[strings.ToLower(contoso.namespaceID()+"/networkRuleSets/default")]["properties"].(map[string]any)
			properties["trustedServiceAccessEnabled"] = false
		}, []string{`wrong    resource logsNetwork: properties.trustedServiceAccessEnabled is false, want true; deploy infra/main.bicep`}},
		{"the topic is closed to an app without a network", func(s *sky) {
			s.close()
			s.parameter("appSubnet", "")
			properties := s.raw[strings.ToLower(contoso.connectionsID())]["properties"].(map[string]any)
			for _, r := range Resources { // all others are open
				if r.Symbol != "connections" {
					s.raw[strings.ToLower(idOf(r))] = deployedAsTheTemplatesSay()[strings.ToLower(idOf(r))]
				}
			}
			properties["publicNetworkAccess"] = "Disabled"
		}, []string{`wrong    resource connections: properties.publicNetworkAccess is "Disabled", want "Enabled"; deploy infra/main.bicep`}},
		{"the topic takes keys", func(s *sky) {
			properties := s.raw[strings.ToLower(contoso.connectionsID())]["properties"].(map[string]any)
			properties["disableLocalAuth"] = false
		}, []string{`wrong    resource connections: properties.disableLocalAuth is false, want true; deploy infra/main.bicep`}},
		{"the event hub is disabled", func(s *sky) {
			properties := s.raw[strings.ToLower(contoso.eventHubID())]["properties"].(map[string]any)
			properties["status"] = "Disabled"
		}, []string{`wrong    resource logs: properties.status is "Disabled", want "Active"; deploy infra/main.bicep`}},
		{"metrics are throttled", func(s *sky) {
			s.statuses["MetricsClient.List"] = http.StatusTooManyRequests
		}, []string{
			"unknown  deliveries of hubwatch-contoso-control-plane: 429 Too Many Requests to GET",
			"unknown  deliveries of hubwatch-contoso-connections: 429 Too Many Requests to GET",
			"unknown  deliveries of hubwatch-contoso-alerts: 429 Too Many Requests to GET",
			"unknown  last change of a resource: 429 Too Many Requests to GET",
			"unknown  last message of the Connections log: 429 Too Many Requests to GET",
			"unknown  last failed connection: 429 Too Many Requests to GET",
		}},
		{"nobody is signed in", func(s *sky) {
			s.signedOut = true
		}, []string{"wrong    sign-in: there is no token for Azure Resource Manager: sign in with az login (no credential)"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			s := newSky(t)
			f.plant(s)
			ill, _ := examine(t, s, contoso)
			compare(t, ill, f.want)
		})
	}
}

// compare wants that each line begins as one of want does, and the other way
// round, in any order.
func compare(t *testing.T, lines, want []string) {
	t.Helper()
	left := slices.Clone(lines)
	for _, begin := range want {
		i := slices.IndexFunc(left, func(line string) bool { return strings.HasPrefix(line, begin) })
		if i < 0 {
			t.Errorf("no line begins\n%s\nthere are\n%s", begin, strings.Join(left, "\n"))
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		t.Errorf("not wanted:\n%s", strings.Join(left, "\n"))
	}
}

func missingRoles(places ...int) []string {
	var lines []string
	for _, i := range places {
		lines = append(lines, fmt.Sprintf("wrong    role of the app: %s on %s: it is missing: deploy infra/main.bicep", appRoles[i].of(contoso), appRoles[i].on))
	}
	return lines
}

// unknownRoles is that of no role of the app it is known whether it is there. If
// the app is not known, nor is the role of the topic.
func unknownRoles(why string) []string {
	var lines []string
	for _, r := range appRoles {
		lines = append(lines, fmt.Sprintf("unknown  role of the app: %s on %s: %s", r.of(contoso), r.on, why))
	}
	lines = append(lines, "unknown  other roles of the app: "+why)
	if strings.HasSuffix(why, "GET") {
		for _, topic := range []string{"connections", "alerts"} {
			lines = append(lines, "unknown  role of the topic of "+topic+": Storage Blob Data Contributor on the container deadletter: "+why)
		}
	}
	return lines
}

// TestNetworkDown wants a result for each check, each of them unknown.
func TestNetworkDown(t *testing.T) {
	s := newSky(t)
	s.down = true
	ill, _ := examine(t, s, contoso)
	if want := inAll - 2 - 2*len(OfHub); len(ill) != want { // signed in, and one result for the hubs
		t.Errorf("%d results, want %d", len(ill), want)
	}
	for _, line := range ill {
		if !strings.HasPrefix(line, "unknown ") || !strings.Contains(line, "no such host") {
			t.Errorf("%s\nwant: unknown, since there is no such host", line)
		}
	}
}

// TestNoCredential wants one result if there is no way to sign in.
func TestNoCredential(t *testing.T) {
	none := func() (world, error) { return world{}, errors.New("no credential") }
	for r := range run(t.Context(), contoso, none) {
		if want := "wrong    sign-in: no credential"; r.String() != want {
			t.Errorf("%s\nwant: %s", r, want)
		}
	}
}

// TestDrawnLittle checks that whoever stops drawing results asks no more.
func TestDrawnLittle(t *testing.T) {
	drawn := 0
	for range run(t.Context(), contoso, newSky(t).world) {
		if drawn++; drawn == 3 {
			break
		}
	}
	if drawn != 3 {
		t.Errorf("%d results, want 3", drawn)
	}
}

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*Deployment){
		"nothing":              func(d *Deployment) { *d = Deployment{} },
		"no app":               func(d *Deployment) { d.App = "" },
		"no resource group":    func(d *Deployment) { d.ResourceGroup = "" },
		"subscription by name": func(d *Deployment) { d.Subscription = "contoso" },
		"hub by name":          func(d *Deployment) { d.Hubs = []string{"contoso-hub"} },
		"hub that is none":     func(d *Deployment) { d.Hubs = []string{westHub, contoso.appID()} },
	} {
		d := contoso
		if change(&d); d.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestOtherTopic asks for the system topic that was there before.
func TestOtherTopic(t *testing.T) {
	s := newSky(t)
	theirs := contoso
	theirs.ControlPlaneTopic = "contoso-events"
	s.counted(theirs.changesID(), "PublishSuccessCount", 1)
	delete(s.metrics, contoso.changesID()+" PublishSuccessCount")
	for _, f := range Failures {
		if f.Namespace == "Microsoft.EventGrid/systemTopics" {
			r := f.resource(theirs, site{account: account})
			raw := nested(r.Members)
			raw["properties"].(map[string]any)["actions"] = []any{map[string]any{"actionGroupId": pager}}
			s.raw[strings.ToLower(r.id(theirs, site{}))] = raw
		}
	}
	if ill, all := examine(t, s, theirs); len(ill) > 0 || all != inAll {
		t.Errorf("%d results, want %d; not ok are\n%s", all, inAll, strings.Join(ill, "\n"))
	}
}

// TestSite reads the answer of Azure about an app that is hardly there.
func TestSite(t *testing.T) {
	s := newSky(t)
	s.site = armappservice.Site{}
	w, _ := s.world()
	a, err := connect(contoso.Subscription, w)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.site(t.Context(), contoso)
	if diff := cmp.Diff(site{}, got, cmp.AllowUnexported(site{})); diff != "" || err != nil {
		t.Errorf("%v, want none\n%s", err, diff)
	}
}

// TestEachSubscriptionIsMissed takes away the event subscriptions of all detectors, through most of
// which no canary goes. Each is named.
func TestEachSubscriptionIsMissed(t *testing.T) {
	s := newSky(t)
	gone := slices.Concat(s.changes, s.connections)
	s.changes, s.connections = nil, nil
	ill, _ := examine(t, s, contoso)
	for _, e := range gone {
		want := "wrong    event subscription " + *e.Name + ": it is missing on the topic "
		if !slices.ContainsFunc(ill, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("nothing begins with %q", want)
		}
	}
	if len(gone) < len(usual) {
		t.Errorf("%d event subscriptions, and there are %d detectors", len(gone), len(usual))
	}
}

// TestAlertsOfHubs checks where the alert about a hub can be: in the resource group of hubwatch, or of any hub
// of the same subscription if that is another one, in which the alert about what is moved is on.
func TestAlertsOfHubs(t *testing.T) {
	const (
		provider = "/providers/Microsoft.Insights/activityLogAlerts/hubwatch-contoso-hubs-"
		other    = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/"
		foreign  = other + "rg-b/providers/Microsoft.Devices/IotHubs/contoso-hub-south"
	)
	hubs := []string{westHub, other + "rg-a/providers/Microsoft.Devices/IotHubs/contoso-hub-north", foreign, strings.ToUpper(foreign)}
	for _, s := range OfHub {
		ids, scope, members := s.ofHub(contoso, strings.ToUpper(westHub), hubs)
		moved := s.Name == Moved
		if want := []string{contoso.groupID() + provider + s.Name}; !slices.Equal(ids, want) || members["properties.enabled"] == false != moved {
			t.Errorf("%s: %q, enabled %v; want %q", s.Name, ids, members["properties.enabled"], want)
		}
		if want := map[bool]string{false: strings.ToUpper(westHub), true: strings.ToUpper(groupOf(westHub))}[moved]; scope != want {
			t.Errorf("%s: is about %s, want %s", s.Name, scope, want)
		}
		ids, scope, members = s.ofHub(contoso, foreign, hubs)
		if want := []string{other + "rg-b" + provider + s.Name, other + "rg-a" + provider + s.Name}; !slices.Equal(ids, want) || members["properties.enabled"] == false {
			t.Errorf("%s: %q, enabled %v; want %q", s.Name, ids, members["properties.enabled"], want)
		}
		if want := map[bool]string{false: foreign, true: other + "rg-b"}[moved]; scope != want {
			t.Errorf("%s: is about %s, want %s", s.Name, scope, want)
		}
	}
}
