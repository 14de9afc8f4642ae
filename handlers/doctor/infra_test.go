package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bicepResource finds a resource, bicepMember one of its members, and bicepRole
// a role assignment to the app or the custom topic.
var (
	bicepResource = regexp.MustCompile(`(?ms)^resource (\w+) '([^'@]+)@[^']*' = [^{\n]*\{\n(.*?)^\}`)
	bicepMember   = regexp.MustCompile(`(?m)^  (name|parent|scope): (.*)$`)
	bicepRole     = regexp.MustCompile(`guid\((\w+)\.id, (identity|connections|alertEvents)\.id, (?:roles\.(\w+)|(\w+)\.name)\)`)
	bicepRoleName = regexp.MustCompile(`(?m)^    roleName: '\$\{name\} ([^']+)'$`)
	bicepRight    = regexp.MustCompile(`(?m)^ +'(Microsoft\.(?:Storage|Resources)/[^']+)'$`)
	bicepID       = regexp.MustCompile(`(?m)^  (\w+): '([0-9a-f-]{36})'$`)
)

// TestNamesOfMain checks the names and roles here to infra/main.bicep.
func TestNamesOfMain(t *testing.T) {
	text, err := os.ReadFile("../../infra/main.bicep")
	if err != nil {
		t.Fatal(err)
	}
	roleIDs := map[string]string{}
	for _, m := range bicepID.FindAllStringSubmatch(string(text), -1) {
		roleIDs[m[1]] = m[2]
	}
	own := map[string][]string{} // name and rights of roles that are not built in, by their symbols
	variables := map[string]string{"name": contoso.App, "storageName": account, "hostStorageName": elsewhere["hostAccount"], "stateStorageName": elsewhere["stateAccount"], "connectionsTopicName": contoso.App + "-connections", "alertsTopicName": contoso.App + "-alerts"}
	ids := map[string]string{} // of resources, by their symbols
	var given []string         // roles: to whom, which, on what
	for _, m := range bicepResource.FindAllStringSubmatch(string(text), -1) {
		symbol, kind, members := m[1], m[2], map[string]string{}
		for _, member := range bicepMember.FindAllStringSubmatch(m[3], -1) {
			members[member[1]] = member[2]
		}
		if r := bicepRole.FindStringSubmatch(members["name"]); r != nil {
			role := roleIDs[r[3]]
			if r[4] != "" {
				role = strings.Join(own[r[4]], " ")
			}
			if ids[members["scope"]] == "" || role == "" || members["scope"] != r[1] {
				t.Fatalf("the role assignment %s is not understood: %q", symbol, members)
			}
			given = append(given, strings.ToLower(strings.Join([]string{r[2], role, ids[members["scope"]]}, " ")))
			continue
		}
		if name := bicepRoleName.FindStringSubmatch(m[3]); name != nil {
			var rights []string
			for _, right := range bicepRight.FindAllStringSubmatch(m[3], -1) {
				rights = append(rights, right[1])
			}
			slices.Sort(rights)
			own[symbol] = append([]string{name[1]}, rights...)
			continue
		}
		name, ok := variables[members["name"]]
		if !ok {
			name = strings.ReplaceAll(strings.Trim(members["name"], "'"), "${name}", contoso.App)
		}
		if parent := members["parent"]; parent != "" {
			ids[symbol] = ids[parent] + "/" + lastOf(kind) + "/" + name
		} else {
			ids[symbol] = contoso.id("%s/%s", kind, name)
		}
	}
	for symbol, want := range map[string]string{
		"app": contoso.appID(), "insights": contoso.insightsID(), "connections": contoso.connectionsID(), "alertEvents": contoso.alertsTopicID(), "controlPlane": contoso.changesID(),
		"logsNamespace": contoso.namespaceID(), "logs": contoso.eventHubID(), "sendRule": contoso.sendRuleID(), "storage": contoso.storageID(account),
		"alertsTable": contoso.tableID(account, alertsTable), "quarantineTable": contoso.tableID(account, quarantineTable),
		"suppressionsTable": contoso.tableID(account, suppressionsTable),
		"deadLetters":       contoso.containerID(account, deadLetters), "packages": contoso.containerID(account, packages),
	} {
		if !sameID(ids[symbol], want) {
			t.Errorf("%s is %s in main.bicep, %s here", symbol, ids[symbol], want)
		}
	}
	var want []string
	for _, topic := range []string{"connections", "alertEvents"} {
		want = append(want, strings.ToLower(strings.Join([]string{topic, topicRole.id, topicRole.scope(contoso, account)}, " ")))
	}
	for _, r := range append(slices.Clone(appRoles), tagRole) {
		on, role := account, r.id
		if r.elsewhere != "" {
			on = elsewhere[r.elsewhere]
		}
		if role == "" {
			role = strings.Join(append([]string{r.name}, slices.Sorted(slices.Values(slices.Concat(r.actions, r.data)))...), " ")
		}
		want = append(want, strings.ToLower(strings.Join([]string{"identity", role, r.scope(contoso, on)}, " ")))
	}
	slices.Sort(want)
	slices.Sort(given)
	if diff := cmp.Diff(want, given); diff != "" {
		t.Errorf("roles here (-) and in main.bicep (+):\n%s", diff)
	}
}

// TestLogsOfHub checks which logs are looked for at a hub to infra/main.bicep.
func TestLogsOfHub(t *testing.T) {
	text, err := os.ReadFile("../../infra/main.bicep")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nparam logCategories array = ['" + logsCategory + "']\n"; !strings.Contains(string(text), want) {
		t.Errorf("main.bicep has no %q", want)
	}
}
