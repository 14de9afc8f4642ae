package doctor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// checkResources returns a check for each resource of main.bicep, and for each alert of
// Azure Monitor about hubwatch itself.
func checkResources(d Deployment, a azure, deployed func(context.Context) (site, error)) []check {
	var checks []check
	main := once(func(ctx context.Context) (stack, error) { return a.stack(ctx, d, mainStack) })
	for _, r := range Resources {
		checks = append(checks, check{"resource " + r.Symbol, func(ctx context.Context) Result {
			if r.Symbol == "controlPlane" && d.ControlPlaneTopic != d.ownTopic() {
				return ok("the topic was there before, and main.bicep does not deploy it")
			}
			id := r.id(d, site{})
			if id == "" { // only the app knows the name
				s, err := deployed(ctx)
				if err != nil {
					return unknown("the app does not tell which storage account it is: %s", reason(err))
				}
				id = r.id(d, s)
				if id == "" {
					if id, err = a.elsewhere(ctx, d, s, r.Symbol); err != nil {
						return failed(err, deployMain)
					}
				}
				if id == "" {
					return unknown("the app does not tell which storage account it is")
				}
			}
			s, err := main(ctx)
			r.Members = inNetwork(r.Members, s.closed, err == nil)
			return checkResource(ctx, a, id, r)
		}})
	}
	for _, f := range Failures {
		checks = append(checks, check{"alert of Azure Monitor " + f.Name, func(ctx context.Context) Result {
			s, _ := deployed(ctx) // The scope is not compared if the app does not tell its account.
			r := f.resource(d, s)
			return checkFailure(ctx, d, a, r.id(d, s), r)
		}})
	}
	for _, s := range Silencers {
		checks = append(checks, check{"alert of Azure Monitor " + s.Name, func(ctx context.Context) Result {
			r := s.resource()
			return checkSilencer(ctx, d, a, r.id(d, site{}), r)
		}})
	}
	return checks
}

// inNetwork returns members with one of the two values of each InNetwork. If it is not known which
// of them was deployed, the value is not compared.
func inNetwork(members map[string]any, closed, known bool) map[string]any {
	members = maps.Clone(members)
	for path, value := range members {
		if value, ok := value.(InNetwork); ok {
			switch {
			case !known:
				members[path] = byParameter
			case closed:
				members[path] = value.Closed
			default:
				members[path] = value.Open
			}
		}
	}
	return members
}

// checkFailure compares an alert on a metric with the template, and who hears of it.
func checkFailure(ctx context.Context, d Deployment, a azure, id string, r Resource) Result {
	if main, err := a.stack(ctx, d, mainStack); err == nil {
		r.Members["properties.actions"] = main.actionGroups
	}
	return checkResource(ctx, a, id, r)
}

// checkSilencer compares an alert on the activity log with the template, and who hears of it.
func checkSilencer(ctx context.Context, d Deployment, a azure, id string, r Resource) Result {
	heardBy(ctx, d, a, r.Members)
	return checkResource(ctx, a, id, r)
}

// heardBy puts into the members of an alert who is to hear of it, if that is known.
func heardBy(ctx context.Context, d Deployment, a azure, members map[string]any) {
	if main, err := a.stack(ctx, d, mainStack); err == nil {
		members["properties.actions.actionGroups"] = main.actionGroups
	}
}

// checkHubSilencer compares an alert on the activity log about several hubs with the template, who
// hears of it, and whether it is about a hub.
func checkHubSilencer(ctx context.Context, d Deployment, a azure, s Silencer, hub string, hubs []string) Result {
	ids, scope, members := s.ofHub(d, hub, hubs)
	heardBy(ctx, d, a, members)
	var have map[string]any
	var err error
	for _, id := range ids {
		if have, err = a.get(ctx, id, silencerVersion); !notFound(err) {
			break
		}
	}
	if err != nil {
		return failed(err, "it is missing: "+deployMain)
	}
	var problems []string
	properties, _ := have["properties"].(map[string]any)
	scopes, _ := properties["scopes"].([]any)
	if !slices.ContainsFunc(scopes, func(of any) bool { id, ok := of.(string); return ok && sameID(id, scope) }) {
		problems = append(problems, fmt.Sprintf("properties.scopes lacks %s", scope))
	}
	return compared(have, Resource{Members: members}, problems)
}

// checkResource compares a resource with the template.
func checkResource(ctx context.Context, a azure, id string, r Resource) Result {
	have, err := a.get(ctx, id, r.Version)
	if err != nil {
		return failed(err, "it is missing: "+deployMain)
	}
	return compared(have, r, nil)
}

// compared compares a resource with the template. problems are what is known already.
func compared(have map[string]any, r Resource, problems []string) Result {
	withoutImpliedRules(have)
	namedActions(have)
	problems = append(problems, differences(have, r.Members, r.Defaults)...)
	if len(problems) > 0 {
		problems = append(problems, deployMain)
	}
	return inFull(problems, "each member is as in main.bicep")
}

// withoutImpliedRules takes out the rule that App Service adds behind a list of access
// restrictions by itself: everything else is denied
// (https://learn.microsoft.com/azure/app-service/overview-access-restrictions#unmatched-rule).
// The rule has the last priority. With any other it would shut out Event Grid.
func withoutImpliedRules(have map[string]any) {
	properties, _ := have["properties"].(map[string]any)
	rules, ok := properties["ipSecurityRestrictions"].([]any)
	if !ok {
		return
	}
	properties["ipSecurityRestrictions"] = slices.DeleteFunc(rules, func(rule any) bool {
		r, _ := rule.(map[string]any)
		return r["ipAddress"] == "Any" && r["action"] == "Deny" && r["priority"] == float64(math.MaxInt32)
	})
}

// namedActions replaces each action of an alert by the id of its action group, so that
// the actions can be compared. An alert on the activity log has a list of groups in its actions.
func namedActions(have map[string]any) {
	properties, _ := have["properties"].(map[string]any)
	actions, _ := properties["actions"].([]any)
	if inside, ok := properties["actions"].(map[string]any); ok {
		actions, _ = inside["actionGroups"].([]any)
	}
	for i, each := range actions {
		if action, ok := each.(map[string]any); ok {
			if id, ok := action["actionGroupId"].(string); ok {
				actions[i] = strings.ToLower(id)
			}
		}
	}
}

// elsewhere returns the id of the storage account with a symbol of main.bicep. The app does
// not tell it, but the app has a role there that it has nowhere else.
func (a azure) elsewhere(ctx context.Context, d Deployment, s site, symbol string) (string, error) {
	i := slices.IndexFunc(appRoles, func(r role) bool { return r.elsewhere == symbol })
	if i < 0 {
		return "", nil
	}
	role := appRoles[i]
	for _, principal := range s.principals {
		assignments, err := a.assignments(ctx, principal)
		if err != nil {
			return "", err
		}
		for _, each := range assignments {
			if each.is(d, s.account, role) {
				return each.scope, nil
			}
		}
	}
	return "", nil
}

// stack is a deployment stack: what somebody deployed, with which parameters.
type stack struct {
	hubs  []string // parameter iotHubs: resource ids
	watch string   // parameter watch, "" if it was left at its default
	// actionGroups is the parameter of this name: resource ids in lower case.
	actionGroups      []string
	sentinelWorkspace string // parameter sentinelWorkspace: a resource id, "" without one
	closed            bool   // both parameters appSubnet and endpointSubnet are given
	problems          []string
}

// Names of the deployment stacks in the README.
const (
	mainStack          = "hubwatch"
	subscriptionsStack = "hubwatch-subscriptions"
)

// stackVersion is the version of the API of deployment stacks
// (https://learn.microsoft.com/rest/api/resources/deployment-stacks/get-at-resource-group).
const stackVersion = "2024-03-01"

// stack reads a deployment stack.
func (a azure) stack(ctx context.Context, d Deployment, name string) (stack, error) {
	have, err := a.get(ctx, d.id("Microsoft.Resources/deploymentStacks/%s", name), stackVersion)
	if err != nil {
		return stack{}, err
	}
	s := stack{problems: differences(have, map[string]any{
		"properties.provisioningState": "succeeded", "properties.denySettings.mode": "denyWriteAndDelete",
		"properties.actionOnUnmanage.resources": "delete",
	}, map[string]any{"properties.denySettings.applyToChildScopes": false})}
	properties, _ := have["properties"].(map[string]any)
	parameters, _ := properties["parameters"].(map[string]any)
	given := func(name string) any {
		parameter, _ := parameters[name].(map[string]any)
		return parameter["value"]
	}
	s.watch, _ = given("watch").(string)
	s.sentinelWorkspace, _ = given("sentinelWorkspace").(string)
	app, _ := given("appSubnet").(string)
	endpoint, _ := given("endpointSubnet").(string)
	s.closed = app != "" && endpoint != ""
	ids := func(name string) []string {
		list, _ := given(name).([]any)
		ids := []string{}
		for _, each := range list {
			if id, ok := each.(string); ok {
				ids = append(ids, id)
			}
		}
		return ids
	}
	s.hubs = ids("iotHubs")
	for _, id := range ids("actionGroups") {
		s.actionGroups = append(s.actionGroups, strings.ToLower(id))
	}
	return s, nil
}

// checkStacks returns a check for each deployment stack: nobody but those who deploy may
// change what was deployed.
func checkStacks(d Deployment, a azure) (checks []check) {
	for _, name := range []string{mainStack, subscriptionsStack} {
		checks = append(checks, check{"deployment stack " + name, func(ctx context.Context) Result {
			s, err := a.stack(ctx, d, name)
			if notFound(err) {
				return unknown("there is none of this name: the deployment was not made by the commands of the README, and nothing says who may change it")
			}
			if err != nil {
				return failed(err, deployMain)
			}
			if len(s.problems) > 0 {
				s.problems = append(s.problems, "repeat the command of the README")
			}
			return inFull(s.problems, "it denies writing and deleting to everybody but those who deploy")
		}})
	}
	return checks
}

// checkExpectedHubs returns the check that each hub which was deployed for is still
// there, and that each hub which is there was deployed for.
func checkExpectedHubs(d Deployment, a azure) check {
	return check{"expected IoT hubs", func(ctx context.Context) Result {
		there, err := a.allHubIDs(ctx)
		if err != nil {
			return failed(err, "the subscription is missing")
		}
		s, err := a.stack(ctx, d, mainStack)
		expected, watched := d.Hubs, d.id("")
		if len(expected) == 0 {
			if err != nil {
				return unknown("which hubs were deployed for is not known: name them with --hub (%s)", reason(err))
			}
			expected = s.hubs
		}
		if strings.EqualFold(s.watch, "subscription") {
			watched = "/subscriptions/" + d.Subscription
		}
		is := func(id string) func(string) bool { return func(other string) bool { return sameID(id, other) } }
		var problems []string
		for _, id := range expected {
			if slices.ContainsFunc(there, is(id)) {
				continue
			}
			moved := slices.IndexFunc(there, func(other string) bool { return strings.EqualFold(lastOf(other), lastOf(id)) })
			if moved >= 0 {
				problems = append(problems, fmt.Sprintf("%s has moved to %s: %s with this id in iotHubs", lastOf(id), there[moved], deployMain))
			} else {
				problems = append(problems, fmt.Sprintf("%s is gone: if nobody deleted it on purpose, find out who did", id))
			}
		}
		for _, id := range there {
			if contains(watched, id) && !slices.ContainsFunc(expected, is(id)) {
				problems = append(problems, fmt.Sprintf("%s is not in iotHubs: its failed connections are not watched: %s with this id in iotHubs", lastOf(id), deployMain))
			}
		}
		return inFull(problems, "all %d are there, and there are no others where changes are watched", len(expected))
	}}
}
