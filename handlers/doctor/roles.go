package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

// role is a role that infra/main.bicep gives, at the narrowest scope that works.
// Ids: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
type role struct {
	name, id string
	on       string // in words
	scope    func(d Deployment, account string) string
}

// appRoles are those of the app, and all of them.
var appRoles = []role{
	{"Storage Blob Data Owner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "the storage account", Deployment.storageID},
	{"Storage Table Data Contributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "the table " + alertsTable,
		func(d Deployment, account string) string { return d.tableID(account, alertsTable) }},
	{"Storage Table Data Contributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "the table " + quarantineTable,
		func(d Deployment, account string) string { return d.tableID(account, quarantineTable) }},
	{"Monitoring Metrics Publisher", "3913510d-42f4-4e42-8a64-420c390055eb", "Application Insights",
		func(d Deployment, _ string) string { return d.insightsID() }},
	{"Azure Event Hubs Data Receiver", "a638d3c7-ab3a-418d-83e6-5f17a39d4fde", "the event hub",
		func(d Deployment, _ string) string { return d.eventHubID() }},
	{"EventGrid Data Sender", "d5a91429-5739-47e2-a06b-3470a27159e7", "the custom topic",
		func(d Deployment, _ string) string { return d.connectionsID() }},
}

// topicRole is that of the custom topic, which writes its dead letters.
var topicRole = role{"Storage Blob Data Contributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "the container " + deadLetters, Deployment.deadLettersID}

// assignment is a role that somebody has.
type assignment struct{ role, scope string } // ids

func (a assignment) is(d Deployment, account string, r role) bool {
	return strings.EqualFold(lastOf(a.role), r.id) && sameID(a.scope, r.scope(d, account))
}

// assignments returns the roles that a principal has anywhere in the
// subscription or above it, those of its groups as well
// (https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest).
func (a azure) assignments(ctx context.Context, principal string) ([]assignment, error) {
	if !guid.MatchString(principal) { // it goes into the filter as it is
		return nil, fmt.Errorf("the id of an identity is %q", principal)
	}
	options := &armauthorization.RoleAssignmentsClientListForSubscriptionOptions{Filter: to.Ptr("assignedTo('" + principal + "')")}
	items, err := all(ctx, a.roles.NewListForSubscriptionPager(options),
		func(page armauthorization.RoleAssignmentsClientListForSubscriptionResponse) []*armauthorization.RoleAssignment {
			return page.Value
		})
	var list []assignment
	for _, item := range items {
		p := value(item.Properties)
		list = append(list, assignment{value(p.RoleDefinitionID), value(p.Scope)})
	}
	return list, err
}

// held is the roles of a principal, and the storage account that some are on.
type held struct {
	account string
	roles   []assignment
}

// checkRoles returns a check for each role that must be there, and one for those
// of the app that must not.
func checkRoles(d Deployment, a azure, app func(context.Context) (site, error)) []check {
	ofApp := once(func(ctx context.Context) (held, error) {
		s, err := app(ctx)
		if err != nil {
			return held{}, err
		}
		h := held{account: s.account}
		for _, principal := range s.principals {
			roles, err := a.assignments(ctx, principal)
			if err != nil {
				return held{}, err
			}
			h.roles = append(h.roles, roles...)
		}
		return h, nil
	})
	ofTopic := once(func(ctx context.Context) (held, error) {
		s, err := app(ctx)
		if err != nil {
			return held{}, err
		}
		topic, err := a.topics.Get(ctx, d.ResourceGroup, d.connectionsTopic(), nil)
		if err != nil {
			return held{}, err
		}
		principal := value(value(topic.Identity).PrincipalID)
		if principal == "" {
			return held{account: s.account}, nil
		}
		roles, err := a.assignments(ctx, principal)
		return held{s.account, roles}, err
	})
	var checks []check
	for _, r := range appRoles {
		checks = append(checks, checkRole(d, "the app", r, ofApp))
	}
	checks = append(checks, check{"other roles of the app", func(ctx context.Context) Result {
		h, err := ofApp(ctx)
		if err != nil {
			return unknown("%s", reason(err))
		}
		var problems []string
		for _, each := range h.roles {
			if !each.expected(d, h.account) {
				problems = append(problems, fmt.Sprintf("%s on %s, which it does not need: az role assignment delete", roleName(each.role), each.scope))
			}
		}
		return inFull(problems, "none in this subscription")
	}})
	return append(checks, checkRole(d, "the custom topic", topicRole, ofTopic))
}

// checkRole looks for one role of a principal.
func checkRole(d Deployment, whose string, r role, of func(context.Context) (held, error)) check {
	return check{fmt.Sprintf("role of %s: %s on %s", whose, r.name, r.on), func(ctx context.Context) Result {
		h, err := of(ctx)
		if err != nil {
			return unknown("%s", reason(err))
		}
		for _, each := range h.roles {
			if each.is(d, h.account, r) {
				return ok("it is there")
			}
		}
		return wrong("it is missing: %s", deployMain)
	}}
}

// expected reports whether the app should have a role.
func (a assignment) expected(d Deployment, account string) bool {
	for _, r := range appRoles {
		if a.is(d, account, r) {
			return true
		}
	}
	return false
}

// roleName returns the name of a role that is known here, or its id.
func roleName(id string) string {
	known := map[string]string{
		"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
		"b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
		"acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
		topicRole.id:                           topicRole.name,
	}
	for _, r := range appRoles {
		known[r.id] = r.name
	}
	if name, ok := known[strings.ToLower(lastOf(id))]; ok {
		return name
	}
	return "role " + lastOf(id)
}
