package doctor

import (
	"context"
	"maps"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"

	"hubwatch/handlers/notify"
)

// SentinelRule is the data collection rule that infra/sentinel.bicep makes in the resource group
// of a workspace with Microsoft Sentinel. A test of handlers/infra compares it with the template,
// in both directions.
var SentinelRule = Resource{Symbol: "ingestion", Version: "2023-03-11", Members: map[string]any{
	"location": Varies("the region of the workspace"), "tags": byParameter, "kind": "Direct",
	"properties.streamDeclarations":                                      Varies("the columns of the table"),
	"properties.destinations.logAnalytics":                               []string{"workspace"},
	"properties.destinations.logAnalytics.workspace.workspaceResourceId": byParameter,
	"properties.dataFlows.0.streams":                                     []string{notify.SentinelStream},
	"properties.dataFlows.0.destinations":                                []string{"workspace"},
	"properties.dataFlows.0.transformKql":                                "source",
	"properties.dataFlows.0.outputStream":                                notify.SentinelStream,
}}

// sentinelRule is the id of SentinelRule below that of a resource group.
const sentinelRule = "/providers/Microsoft.Insights/dataCollectionRules/hubwatch-alerts"

// sentinelRole is the role of the app on SentinelRule, which lets it send rows there and nowhere else. The
// app may have it on the rule of any group: other people may have made the rule for their workspace.
const sentinelRole = "3913510d-42f4-4e42-8a64-420c390055eb" // Monitoring Metrics Publisher

// sendsToSentinel reports whether a is the role on a rule of Microsoft Sentinel.
func (a assignment) sendsToSentinel() bool {
	return strings.EqualFold(lastOf(a.role), sentinelRole) && sameID(a.scope, groupOf(a.scope)+sentinelRule)
}

// checkSentinel checks that alerts can be sent to the workspace that the deployment names, if it
// names one: the rule is there, and the app has the role on it.
func checkSentinel(d Deployment, a azure, ofApp func(context.Context) (held, error)) check {
	return check{"Microsoft Sentinel", func(ctx context.Context) Result {
		s, err := a.stack(ctx, d, mainStack)
		if err != nil {
			return unknown("whether the deployment names a workspace is not known (%s)", reason(err))
		}
		if s.sentinelWorkspace == "" {
			return ok("the deployment names no workspace")
		}
		workspace, err := arm.ParseResourceID(s.sentinelWorkspace)
		if err != nil || !sameID(workspace.ResourceType.String(), "Microsoft.OperationalInsights/workspaces") {
			return unknown("the parameter sentinelWorkspace is %q, which is not the resource id of a workspace", s.sentinelWorkspace)
		}
		rule := groupOf(s.sentinelWorkspace) + sentinelRule
		have, err := a.get(ctx, rule, SentinelRule.Version)
		if err != nil {
			return failed(err, deployMain)
		}
		members := maps.Clone(SentinelRule.Members)
		members["properties.destinations.logAnalytics.workspace.workspaceResourceId"] = s.sentinelWorkspace
		if problems := differences(have, members, nil); len(problems) > 0 {
			return wrong("%s; %s", strings.Join(problems, "; "), deployMain)
		}
		if !strings.EqualFold(workspace.SubscriptionID, d.Subscription) {
			return ok("the rule is there; the role of the app on it is in another subscription, and was not looked for")
		}
		h, err := ofApp(ctx)
		if err != nil {
			return unknown("%s", reason(err))
		}
		for _, each := range h.roles {
			if each.sendsToSentinel() && sameID(each.scope, rule) {
				return ok("the rule is there, and the app may send to it")
			}
		}
		return wrong("the app lacks the role Monitoring Metrics Publisher on %s: %s", rule, deployMain)
	}}
}
