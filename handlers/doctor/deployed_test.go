package doctor

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/iothub/armiothub"
)

// only wants the doctor to find one thing wrong, in a line with all parts.
func only(t *testing.T, s *sky, what string, parts ...string) {
	t.Helper()
	ill, _ := examine(t, s, contoso)
	if len(ill) != 1 || !strings.HasPrefix(ill[0], string(Wrong)) {
		t.Errorf("%s: want one thing wrong, have\n%s", what, strings.Join(ill, "\n"))
		return
	}
	for _, part := range parts {
		if !strings.Contains(ill[0], part) {
			t.Errorf("%s: want %q in %s", what, part, ill[0])
		}
	}
}

// TestEachMember changes each member of each resource in turn, and takes it away. The
// doctor names the resource and the member each time, and nothing else is wrong.
func TestEachMember(t *testing.T) {
	s := site{account: account}
	list := slices.Clone(Resources)
	for _, f := range Failures {
		list = append(list, f.resource(contoso, s))
	}
	for _, each := range Silencers {
		list = append(list, each.resource())
	}
	changed := 0
	for _, r := range list {
		id := idOf(r)
		try := func(path string, change func(members map[string]any)) {
			t.Helper()
			members := maps.Clone(r.Members)
			change(members)
			sky := newSky(t)
			sky.raw[strings.ToLower(id)] = nested(members)
			only(t, sky, r.Symbol+" "+path, path, "main.bicep")
			changed++
		}
		for path, want := range r.Members {
			switch want := want.(type) {
			case Varies:
				continue
			case []string:
				if slices.ContainsFunc(slices.Collect(maps.Keys(r.Members)), func(other string) bool { return strings.HasPrefix(other, path+".") }) {
					continue // an array of objects: see TestRulesOfTheApp
				}
				try(path, func(m map[string]any) { m[path] = append(slices.Clone(want), "another") })
			case bool:
				try(path, func(m map[string]any) { m[path] = !want })
			case int:
				try(path, func(m map[string]any) { m[path] = want + 1 })
			default:
				try(path, func(m map[string]any) { m[path] = "another" })
			}
			try(path, func(m map[string]any) { delete(m, path) })
		}
		for path, normal := range r.Defaults {
			try(path, func(m map[string]any) {
				m[path] = "another"
				if list, ok := normal.([]string); ok {
					m[path] = append(list, "another")
				}
			})
		}
	}
	if changed < 150 {
		t.Errorf("%d changes: this proves little", changed)
	}
}

// TestRulesOfTheApp adds a rule that lets somebody else in, and takes away the rule that
// lets Event Grid in.
func TestRulesOfTheApp(t *testing.T) {
	config := strings.ToLower(contoso.appID() + "/config/web")
	rules := func(s *sky) map[string]any { return s.raw[config]["properties"].(map[string]any) }
	s := newSky(t)
	rules(s)["ipSecurityRestrictions"] = append(rules(s)["ipSecurityRestrictions"].([]any), map[string]any{"name": "me", "ipAddress": "203.0.113.7/32", "action": "Allow"})
	only(t, s, "another rule", "ipSecurityRestrictions is event-grid, me, want event-grid")
	s = newSky(t)
	rules(s)["ipSecurityRestrictions"] = []any{}
	only(t, s, "no rule", "ipSecurityRestrictions is empty, want event-grid")
	s = newSky(t)
	shut := map[string]any{"name": "shut", "ipAddress": "Any", "action": "Deny", "priority": 1}
	rules(s)["ipSecurityRestrictions"] = append([]any{shut}, rules(s)["ipSecurityRestrictions"].([]any)...)
	only(t, s, "a rule that shuts out Event Grid", "ipSecurityRestrictions is event-grid, shut, want event-grid")
}

// TestRightsOfAnOwnRole changes what a role of main.bicep's own allows: the app then has
// a role that does not work, or that allows more than it should.
func TestRightsOfAnOwnRole(t *testing.T) {
	keeper := slices.IndexFunc(appRoles, func(r role) bool { return r.name == "package keeper" })
	for name, change := range map[string]func(*armauthorization.Permission){
		"a data action more": func(p *armauthorization.Permission) {
			p.DataActions = append(p.DataActions, to.Ptr(blobs+"blobs/delete"))
		},
		"a data action that is excepted": func(p *armauthorization.Permission) { p.NotDataActions = []*string{to.Ptr(blobs + "blobs/write")} },
		"an action that is excepted":     func(p *armauthorization.Permission) { p.NotActions = []*string{to.Ptr(blobs + "read")} },
		"data actions that are actions": func(p *armauthorization.Permission) {
			p.Actions, p.DataActions = slices.Concat(p.Actions, p.DataActions), nil
		},
	} {
		s := newSky(t)
		i := slices.IndexFunc(s.definitions, func(d *armauthorization.RoleDefinition) bool {
			return strings.EqualFold(*d.Name, ownID(appRoles[keeper]))
		})
		change(s.definitions[i].Properties.Permissions[0])
		ill, _ := examine(t, s, contoso)
		if all := strings.Join(ill, "\n"); !strings.Contains(all, "package keeper on the container "+packages+": it is missing") {
			t.Errorf("%s: have\n%s", name, all)
		}
	}
}

// TestActionGroups takes away the people who hear of failures, and adds others.
func TestActionGroups(t *testing.T) {
	id := strings.ToLower(contoso.id("Microsoft.Insights/metricAlerts/%s-quarantined", contoso.App))
	for name, test := range map[string]struct {
		actions []any
		want    string
	}{
		"none":    {nil, "properties.actions is empty, want " + strings.ToLower(pager)},
		"another": {[]any{map[string]any{"actionGroupId": pager}, map[string]any{"actionGroupId": pager + "2"}}, "properties.actions is " + strings.ToLower(pager) + ", " + strings.ToLower(pager) + "2, want"},
	} {
		s := newSky(t)
		s.raw[id]["properties"].(map[string]any)["actions"] = test.actions
		only(t, s, name, "alert of Azure Monitor quarantined", test.want)
	}
}

// TestEachMemberOfASubscription changes one member of an event subscription at a time:
// the doctor names it.
func TestEachMemberOfASubscription(t *testing.T) {
	for member, change := range map[string]func(*armeventgrid.EventSubscriptionProperties){
		"expirationTimeUtc": func(p *armeventgrid.EventSubscriptionProperties) {
			p.ExpirationTimeUTC = to.Ptr(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		},
		"retryPolicy.maxDeliveryAttempts": func(p *armeventgrid.EventSubscriptionProperties) {
			p.RetryPolicy.MaxDeliveryAttempts = to.Ptr[int32](1)
		},
		"retryPolicy.eventTimeToLiveInMinutes": func(p *armeventgrid.EventSubscriptionProperties) {
			p.RetryPolicy.EventTimeToLiveInMinutes = to.Ptr[int32](1)
		},
		"eventDeliverySchema": func(p *armeventgrid.EventSubscriptionProperties) {
			p.EventDeliverySchema = to.Ptr(armeventgrid.EventDeliverySchemaEventGridSchema)
		},
		"provisioningState": func(p *armeventgrid.EventSubscriptionProperties) {
			p.ProvisioningState = to.Ptr(armeventgrid.EventSubscriptionProvisioningStateAwaitingManualAction)
		},
		"maxEventsPerBatch": func(p *armeventgrid.EventSubscriptionProperties) {
			p.Destination.(*armeventgrid.AzureFunctionEventSubscriptionDestination).Properties.MaxEventsPerBatch = to.Ptr[int32](100)
		},
		"preferredBatchSizeInKilobytes": func(p *armeventgrid.EventSubscriptionProperties) {
			p.Destination.(*armeventgrid.AzureFunctionEventSubscriptionDestination).Properties.PreferredBatchSizeInKilobytes = nil
		},
		"blobContainerName": func(p *armeventgrid.EventSubscriptionProperties) {
			p.DeadLetterWithResourceIdentity.DeadLetterDestination.(*armeventgrid.StorageBlobDeadLetterDestination).Properties.BlobContainerName = to.Ptr("another")
		},
		"deadLetterDestination.properties.resourceId": func(p *armeventgrid.EventSubscriptionProperties) {
			p.DeadLetterWithResourceIdentity.DeadLetterDestination.(*armeventgrid.StorageBlobDeadLetterDestination).Properties.ResourceID = to.Ptr(contoso.storageID("another"))
		},
		"deadLetterWithResourceIdentity.identity.type": func(p *armeventgrid.EventSubscriptionProperties) { p.DeadLetterWithResourceIdentity = nil },
		"properties.deadLetterDestination is": func(p *armeventgrid.EventSubscriptionProperties) {
			p.DeadLetterDestination = &armeventgrid.StorageBlobDeadLetterDestination{EndpointType: to.Ptr(armeventgrid.DeadLetterEndPointTypeStorageBlob)}
		},
	} {
		s := newSky(t)
		change(s.subscription("DeviceTokenExpired").Properties)
		only(t, s, member, "event subscription DeviceTokenExpired", member, deploySubscriptions)
	}
}

// TestExpectedHubs deletes, moves and adds a hub.
func TestExpectedHubs(t *testing.T) {
	const other = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-other/providers/Microsoft.Devices/IotHubs/"
	for name, test := range map[string]struct {
		hubs []string
		want []string
	}{
		"gone":                  {[]string{westHub}, []string{"contoso-hub-east is gone"}},
		"moved":                 {[]string{westHub, other + "contoso-hub-east"}, []string{"contoso-hub-east has moved to " + other}},
		"new, in another group": {[]string{westHub, eastHub, other + "contoso-hub-north"}, []string{"contoso-hub-north is not in iotHubs"}},
		"new":                   {[]string{westHub, eastHub, contoso.id("%s/contoso-hub-north", hubType)}, []string{"contoso-hub-north is not in iotHubs"}},
	} {
		s := newSky(t)
		s.hubs = nil
		for _, id := range test.hubs {
			s.hubs = append(s.hubs, &armiothub.Description{ID: to.Ptr(id)})
		}
		if name == "new, in another group" {
			stack := s.raw[strings.ToLower(contoso.id("Microsoft.Resources/deploymentStacks/%s", mainStack))]["properties"].(map[string]any)
			stack["parameters"].(map[string]any)["watch"] = map[string]any{"value": "subscription"}
		}
		ill, _ := examine(t, s, contoso)
		line := slices.IndexFunc(ill, func(line string) bool { return strings.HasPrefix(line, "wrong    expected IoT hubs") })
		if line < 0 {
			t.Errorf("%s: nothing is wrong with the expected hubs:\n%s", name, strings.Join(ill, "\n"))
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(ill[line], part) {
				t.Errorf("%s: want %q in %s", name, part, ill[line])
			}
		}
	}
	s := newSky(t)
	delete(s.raw, strings.ToLower(contoso.id("Microsoft.Resources/deploymentStacks/%s", mainStack)))
	ill, _ := examine(t, s, contoso)
	lines := strings.Join(ill, "\n")
	if len(ill) != 3 || !strings.Contains(lines, "unknown  expected IoT hubs") || !strings.Contains(lines, "unknown  deployment stack hubwatch") || !strings.Contains(lines, "unknown  Microsoft Sentinel") {
		t.Errorf("without a stack:\n%s", lines)
	}
}

// TestWriters gives people roles that let them write the tables, on the tables and above
// them.
func TestWriters(t *testing.T) {
	const stranger = "00000000-0000-0000-0000-0000000000b9"
	for name, test := range map[string]struct {
		assignment *armauthorization.RoleAssignment
		what       []string
	}{
		"above, with a pattern": {assignedTo(stranger, "17d1049b-9a84-46fb-8f53-869881c3d3ab", "/subscriptions/"+contoso.Subscription), []string{"the table alerts", "the table quarantine", "the table suppressions", "the state"}},
		"on the account":        {assignedTo(stranger, tableContributor, contoso.storageID(account)), []string{"the table alerts", "the table quarantine", "the table suppressions"}},
		"another role":          {assignedTo(stranger, tableContributor, contoso.tableID(account, suppressionsTable)), []string{"the table suppressions"}},
		"more than responders":  {assignedTo(stranger, tableContributor, contoso.tableID(account, alertsTable)), []string{"the table alerts"}},
	} {
		s := newSky(t)
		s.others = append(s.others, test.assignment)
		ill, _ := examine(t, s, contoso)
		if len(ill) != len(test.what) {
			t.Errorf("%s: have\n%s", name, strings.Join(ill, "\n"))
			continue
		}
		for i, what := range test.what {
			if want := fmt.Sprintf("wrong    who may write %s: %s has the role", what, stranger); !strings.HasPrefix(ill[i], want) {
				t.Errorf("%s: want %q, have %s", name, want, ill[i])
			}
		}
	}
}

// TestStacks changes who may change the deployment.
func TestStacks(t *testing.T) {
	for _, change := range []struct{ parent, member, want string }{
		{"denySettings", "mode", "properties.denySettings.mode is \"none\""},
		{"actionOnUnmanage", "resources", "properties.actionOnUnmanage.resources is \"none\""},
	} {
		s := newSky(t)
		properties := s.raw[strings.ToLower(contoso.id("Microsoft.Resources/deploymentStacks/%s", subscriptionsStack))]["properties"].(map[string]any)
		properties[change.parent].(map[string]any)[change.member] = "none"
		only(t, s, change.member, "deployment stack hubwatch-subscriptions", change.want)
	}
}

// TestResourcesThatCannotBeRead checks that a resource is unknown if Azure does not let
// the doctor look, and wrong if there is none.
func TestResourcesThatCannotBeRead(t *testing.T) {
	for _, r := range Resources {
		id := idOf(r)
		s := newSky(t)
		delete(s.raw, strings.ToLower(id))
		only(t, s, r.Symbol, "resource "+r.Symbol, "404")
	}
	s := newSky(t)
	s.statuses[""] = http.StatusForbidden
	ill, _ := examine(t, s, contoso)
	for _, line := range ill {
		if !strings.HasPrefix(line, string(Unknown)) || !strings.Contains(line, "you need the role Reader") {
			t.Errorf("want unknown, have %s", line)
		}
	}
	if len(ill) < len(Resources)+len(Failures)+len(Silencers) {
		t.Errorf("%d results are unknown", len(ill))
	}
}

// TestCovered compares patterns with actions.
func TestCovered(t *testing.T) {
	for _, test := range []struct {
		pattern, action string
		want            bool
	}{
		{"*", "a/b/c", true}, {"a/*", "A/b/c", true}, {"*/c", "a/b/c", true}, {"a/*/c", "a/b/c", true}, {"a/b/c", "a/b/C", true},
		{"a/*/d", "a/b/c", false}, {"b/*", "a/b/c", false}, {"*/b", "a/b/c", false}, {"a/b", "a/b/c", false}, {"", "a", false}, {"a*b*c", "axbxc", true}, {"a*b*d", "axbxc", false},
	} {
		if got := covered(test.pattern, test.action); got != test.want {
			t.Errorf("%s covers %s: %v", test.pattern, test.action, got)
		}
	}
}
