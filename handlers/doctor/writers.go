package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

// tableContributor is the built-in role that responders have on the quarantine.
const tableContributor = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"

// writing are the data actions that change rows of a table
// (https://learn.microsoft.com/azure/role-based-access-control/permissions/storage#microsoftstorage).
var writing = []string{entities + "write", entities + "delete", entities + "add/action", entities + "update/action"}

// checkWriters returns a check for each table: who may write it besides the app, the
// people in the parameters responders and pruners, and those who could give themselves the right. The
// last one is of the state, which the app alone writes: who drops a record there, or
// writes one, decides what is an alert.
func checkWriters(d Deployment, a azure, deployed func(context.Context) (site, error)) (checks []check) {
	for _, name := range []string{alertsTable, quarantineTable, suppressionsTable} {
		checks = append(checks, check{"who may write the table " + name, func(ctx context.Context) Result {
			s, err := deployed(ctx)
			if err != nil {
				return unknown("the app does not tell its storage account: %s", reason(err))
			}
			if s.account == "" {
				return unknown("the app does not tell its storage account")
			}
			own := func(_, role string) bool {
				return strings.EqualFold(role, d.App+" alert writer") || name == alertsTable && strings.EqualFold(role, d.App+" alert pruner")
			}
			if name == quarantineTable {
				own = func(roleID, _ string) bool { return strings.EqualFold(lastOf(roleID), tableContributor) }
			}
			return a.writers(ctx, s, d.tableID(s.account, name), own)
		}})
	}
	return append(checks, check{"who may write the state", func(ctx context.Context) Result {
		s, err := deployed(ctx)
		if err != nil {
			return unknown(untoldState+": %s", reason(err))
		}
		id, err := a.elsewhere(ctx, d, s, "stateAccount")
		if err != nil {
			return unknown(untoldState+": %s", reason(err))
		}
		if id == "" {
			return unknown(untoldState)
		}
		return a.writers(ctx, s, id, func(string, string) bool { return false })
	}})
}

// writers looks at the roles on a table or an account, and on everything above it. own
// reports whether a role, by its id and name, is one of theirs.
func (a azure) writers(ctx context.Context, s site, scope string, own func(roleID, role string) bool) Result {
	options := &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: to.Ptr("atScope()")}
	assignments, err := all(ctx, a.roles.NewListForScopePager(strings.TrimPrefix(scope, "/"), options),
		func(page armauthorization.RoleAssignmentsClientListForScopeResponse) []*armauthorization.RoleAssignment {
			return page.Value
		})
	if err != nil {
		return failed(err, deployMain)
	}
	var problems []string
	people := 0
	for _, each := range assignments {
		p := value(each.Properties)
		if slices.Contains(s.principals, value(p.PrincipalID)) {
			continue // The roles of the app have checks of their own.
		}
		definition, err := a.definitions.GetByID(ctx, value(p.RoleDefinitionID), nil)
		if err != nil {
			return unknown("the role %s: %s", value(p.RoleDefinitionID), reason(err))
		}
		role := value(definition.Properties)
		if !slices.ContainsFunc(writing, func(action string) bool { return allowsData(role, action) }) {
			continue
		}
		if sameID(value(p.Scope), scope) && own(value(p.RoleDefinitionID), value(role.RoleName)) {
			people++
			continue
		}
		problems = append(problems, fmt.Sprintf("%s has the role %s on %s: az role assignment delete --assignee %s --scope %s",
			value(p.PrincipalID), value(role.RoleName), value(p.Scope), value(p.PrincipalID), value(p.Scope)))
	}
	return inFull(problems, "the app, and %d assignments by the parameters responders and pruners; owners of the resource group or the subscription could give themselves the right", people)
}

// allowsData reports whether a role allows a data action.
func allowsData(role armauthorization.RoleDefinitionProperties, action string) bool {
	return slices.ContainsFunc(role.Permissions, func(p *armauthorization.Permission) bool {
		covers := func(patterns []*string) bool {
			return slices.ContainsFunc(patterns, func(pattern *string) bool { return covered(value(pattern), action) })
		}
		return covers(value(p).DataActions) && !covers(value(p).NotDataActions)
	})
}

// covered reports whether an action is one of a pattern, in which * stands for anything
// (https://learn.microsoft.com/azure/role-based-access-control/role-definitions#actions-format).
func covered(pattern, action string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	action = strings.ToLower(action)
	if !strings.HasPrefix(action, parts[0]) {
		return false
	}
	action = action[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(action, part)
		}
		at := strings.Index(action, part)
		if at < 0 {
			return false
		}
		action = action[at+len(part):]
	}
	return action == ""
}
