package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

// role is a role that infra/main.bicep gives, at the narrowest scope that works.
type role struct {
	// name is the name of a built-in role, or what stands behind the name of the app
	// in the name of one of main.bicep's own.
	name string
	// id is that of a built-in role
	// (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles). It
	// is "" for one of main.bicep's own, which is known by its name and its rights.
	id string
	// actions and data are the actions and data actions of one of main.bicep's own,
	// which has no others and excepts none.
	actions, data []string
	on            string // in words
	scope         func(d Deployment, account string) string
	// elsewhere is the symbol of a resource of Resources of the kind and group of scope, whose
	// name the app does not tell. The role is on that one. It is "" if scope says all.
	elsewhere string
}

const (
	entities = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/"
	blobs    = "Microsoft.Storage/storageAccounts/blobServices/containers/"
)

// appRoles are all roles of the app that every deployment gives.
var appRoles = []role{
	{name: "Storage Blob Data Owner", id: "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", on: "the storage account of the Functions host", scope: Deployment.storageID, elsewhere: "hostAccount"},
	{name: "alert writer", data: []string{entities + "read", entities + "add/action", entities + "update/action"}, on: "the table " + alertsTable,
		scope: func(d Deployment, account string) string { return d.tableID(account, alertsTable) }},
	{name: "quarantine writer", data: []string{entities + "add/action"}, on: "the table " + quarantineTable,
		scope: func(d Deployment, account string) string { return d.tableID(account, quarantineTable) }},
	{name: "package keeper", actions: []string{blobs + "read"}, data: []string{blobs + "blobs/read", blobs + "blobs/write"}, on: "the container " + packages,
		scope: func(d Deployment, account string) string { return d.containerID(account, packages) }},
	{name: "Monitoring Metrics Publisher", id: "3913510d-42f4-4e42-8a64-420c390055eb", on: "Application Insights",
		scope: func(d Deployment, _ string) string { return d.insightsID() }},
	{name: "Azure Event Hubs Data Receiver", id: "a638d3c7-ab3a-418d-83e6-5f17a39d4fde", on: "the event hub",
		scope: func(d Deployment, _ string) string { return d.eventHubID() }},
	{name: "EventGrid Data Sender", id: "d5a91429-5739-47e2-a06b-3470a27159e7", on: "the topic of connections",
		scope: func(d Deployment, _ string) string { return d.connectionsID() }},
	{name: "Storage Table Data Reader", id: "76199698-9eea-4c19-bc75-cec21354c6b6", on: "the table " + suppressionsTable,
		scope: func(d Deployment, account string) string { return d.tableID(account, suppressionsTable) }},
	{name: "Storage Table Data Contributor", id: "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", on: "the storage account of the state", scope: Deployment.storageID, elsewhere: "stateAccount"},
	{name: "EventGrid Data Sender", id: "d5a91429-5739-47e2-a06b-3470a27159e7", on: "the topic of alerts",
		scope: func(d Deployment, _ string) string { return d.alertsTopicID() }},
	{name: "Azure Event Hubs Data Sender", id: "2b629674-e913-4c01-ae53-ef4638d8f975", on: "the event hub",
		scope: func(d Deployment, _ string) string { return d.eventHubID() }},
}

// tagRole is one that the app has if the parameter canaryTag says so. Whether it is needed and
// missing, the check of the path changes says.
var tagRole = role{
	name: "tag writer", actions: []string{"Microsoft.Resources/tags/write"}, on: "its identity",
	scope: func(d Deployment, _ string) string {
		return d.id("Microsoft.ManagedIdentity/userAssignedIdentities/%s", d.App)
	},
}

// topicRole is that of each custom topic, which writes its dead letters.
var topicRole = role{
	name: "Storage Blob Data Contributor", id: "ba92f5b4-2d11-453d-a403-e96b0029c9fe", on: "the container " + deadLetters,
	scope: func(d Deployment, account string) string { return d.containerID(account, deadLetters) },
}

// of returns the name of the role in a deployment.
func (r role) of(d Deployment) string {
	if r.id == "" {
		return d.App + " " + r.name
	}
	return r.name
}

// assignment is a role that somebody has.
type assignment struct {
	role, scope string      // ids
	own         *definition // of a role that is not built in; nil if it is, or not known
}

// definition is what a role that is not built in allows.
type definition struct {
	name   string
	rights []string // see rightsOf
}

// rightsOf returns what a role allows and excepts: each action with its kind, in lower
// case and in order. An action and a data action with the same name are two.
func rightsOf(p armauthorization.Permission) (rights []string) {
	for kind, list := range map[string][]*string{"action": p.Actions, "data action": p.DataActions, "not action": p.NotActions, "not data action": p.NotDataActions} {
		for _, action := range list {
			rights = append(rights, kind+" "+strings.ToLower(value(action)))
		}
	}
	slices.Sort(rights)
	return rights
}

func (a assignment) is(d Deployment, account string, r role) bool {
	if r.id == "" {
		rights := rightsOf(armauthorization.Permission{Actions: to.SliceOfPtrs(r.actions...), DataActions: to.SliceOfPtrs(r.data...)})
		if a.own == nil || !strings.EqualFold(a.own.name, r.of(d)) || !slices.Equal(a.own.rights, rights) {
			return false
		}
	} else if !strings.EqualFold(lastOf(a.role), r.id) {
		return false
	}
	want := r.scope(d, account)
	if r.elsewhere == "" {
		return sameID(a.scope, want)
	}
	kind := strings.TrimSuffix(want, lastOf(want))
	return !sameID(a.scope, want) && sameID(strings.TrimSuffix(a.scope, lastOf(a.scope)), kind)
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
	if err != nil {
		return nil, err
	}
	var list []assignment
	for _, item := range items {
		p := value(item.Properties)
		list = append(list, assignment{role: value(p.RoleDefinitionID), scope: value(p.Scope)})
	}
	return list, nil
}

// ownRoles returns the roles that are not built in and may be given in the resource
// group, by id in lower case.
func (a azure) ownRoles(ctx context.Context, d Deployment) (map[string]*definition, error) {
	scope := fmt.Sprintf("subscriptions/%s/resourceGroups/%s", d.Subscription, d.ResourceGroup)
	options := &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("type eq 'CustomRole'")}
	items, err := all(ctx, a.definitions.NewListPager(scope, options),
		func(page armauthorization.RoleDefinitionsClientListResponse) []*armauthorization.RoleDefinition {
			return page.Value
		})
	own := map[string]*definition{}
	for _, item := range items {
		p := value(item.Properties)
		role := &definition{name: value(p.RoleName)}
		for _, permission := range p.Permissions {
			role.rights = append(role.rights, rightsOf(value(permission))...)
		}
		slices.Sort(role.rights)
		own[strings.ToLower(value(item.Name))] = role
	}
	return own, err
}

// held is the roles of a principal, and the storage account that some are on.
type held struct {
	account string
	roles   []assignment
}

// checkRoles returns a check for each role that must be there, one for those of the
// app that must not, and one for Microsoft Sentinel, where the app needs a role, too.
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
		own, err := a.ownRoles(ctx, d)
		if err != nil {
			return held{}, err
		}
		for i, each := range h.roles {
			h.roles[i].own = own[strings.ToLower(lastOf(each.role))]
		}
		return h, nil
	})
	ofTopic := func(name string) func(context.Context) (held, error) {
		return func(ctx context.Context) (held, error) {
			s, err := app(ctx)
			if err != nil {
				return held{}, err
			}
			topic, err := a.topics.Get(ctx, d.ResourceGroup, name, nil)
			if err != nil {
				return held{}, err
			}
			principal := value(value(topic.Identity).PrincipalID)
			if principal == "" {
				return held{account: s.account}, nil
			}
			roles, err := a.assignments(ctx, principal)
			return held{s.account, roles}, err
		}
	}
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
				problems = append(problems, fmt.Sprintf("%s on %s, which it does not need: az role assignment delete", each.name(), each.scope))
			}
		}
		return inFull(problems, "none in this subscription")
	}})
	return append(checks, checkSentinel(d, a, ofApp), checkRole(d, "the topic of connections", topicRole, ofTopic(d.connectionsTopic())),
		checkRole(d, "the topic of alerts", topicRole, ofTopic(d.alertsTopic())))
}

// checkRole looks for one role of a principal.
func checkRole(d Deployment, whose string, r role, of func(context.Context) (held, error)) check {
	return check{fmt.Sprintf("role of %s: %s on %s", whose, r.of(d), r.on), func(ctx context.Context) Result {
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

// expected reports whether the app should have a role, or may.
func (a assignment) expected(d Deployment, account string) bool {
	if a.is(d, account, tagRole) || a.sendsToSentinel() {
		return true
	}
	for _, r := range appRoles {
		if a.is(d, account, r) {
			return true
		}
	}
	return false
}

// name returns the name of the role if it is known, or its id.
func (a assignment) name() string {
	if a.own != nil {
		return a.own.name
	}
	known := map[string]string{
		"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
		"b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
		"acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
		"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
		topicRole.id:                           topicRole.name,
	}
	for _, r := range appRoles {
		if r.id != "" {
			known[r.id] = r.name
		}
	}
	if name, ok := known[strings.ToLower(lastOf(a.role))]; ok {
		return name
	}
	return "role " + lastOf(a.role)
}
