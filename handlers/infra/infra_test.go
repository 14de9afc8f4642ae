package infra

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/app"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/doctor"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/verdict"
)

// The tests of this file compare infra/ with the code, in both directions.

// root is the path of the repository from this package.
const root = "../.."

// site is what the tests compare: templates, generated files and settings.
type site struct {
	main, hub, hubAlerts, subscriptions, hubSubscriptions, console, sentinel, endpoints template

	text      string // of all templates
	catalogue []catalogueEntry
	code      map[string]bool     // settings that the handler reads
	functions map[string][]string // settings that function.json files refer to, and who does
}

// catalogueEntry is an entry of subscriptions.json.
type catalogueEntry struct {
	Name, Function, Source string
	Own                    bool // only of what is in the resource group of hubwatch
	Filter                 detector.Filter
}

// read reads the repository in a folder.
func read(root string) (s site, err error) {
	templates, err := readTemplates(filepath.Join(root, "infra"))
	if err != nil {
		return s, err
	}
	s.main, s.hub, s.console = templates["main.bicep"], templates["hub.bicep"], templates["console.bicep"]
	s.hubAlerts = templates["hub-alerts.bicep"]
	s.sentinel, s.endpoints = templates["sentinel.bicep"], templates["endpoints.bicep"]
	s.subscriptions, s.hubSubscriptions = templates["subscriptions.bicep"], templates["hub-subscriptions.bicep"]
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		text, err := os.ReadFile(filepath.Join(root, "infra", name))
		if err != nil {
			return s, err
		}
		s.text += string(text)
	}
	if err := readJSON(filepath.Join(root, "infra/subscriptions.json"), &s.catalogue); err != nil {
		return s, err
	}
	s.code = map[string]bool{}
	for _, setting := range app.Settings {
		if !setting.HostOnly && !strings.Contains(setting.Name, "<") { // not those whose names the owner chooses
			s.code[setting.Name] = true
		}
	}
	s.functions, err = functionSettings(filepath.Join(root, "functions"))
	return s, err
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// connectionProperties are the endings of the settings that a binding with an
// identity-based connection reads, by the type of the binding. The name of the
// connection stands before them
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections,
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-grid-output#connections).
var connectionProperties = map[string]string{
	"eventHubTrigger": "fullyQualifiedNamespace",
	"eventGrid":       "topicEndpointUri",
}

// functionSettings returns the settings that the bindings of functions refer to:
// as %name%, or as the name of a connection.
func functionSettings(folder string) (map[string][]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*/function.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("functions in %s: %d: %w", folder, len(files), err)
	}
	settings := map[string][]string{}
	for _, file := range files {
		var f struct {
			Bindings []map[string]any `json:"bindings"`
		}
		if err := readJSON(file, &f); err != nil {
			return nil, err
		}
		for _, b := range f.Bindings {
			by := fmt.Sprintf("%s of %s", b["name"], filepath.Base(filepath.Dir(file)))
			for _, value := range b {
				if text, ok := value.(string); ok && len(text) > 2 && strings.HasPrefix(text, "%") && strings.HasSuffix(text, "%") {
					settings[strings.Trim(text, "%")] = append(settings[strings.Trim(text, "%")], by)
				}
			}
			connection, ok := b["connection"].(string)
			if !ok {
				continue
			}
			property := connectionProperties[b["type"].(string)]
			if property == "" {
				return nil, fmt.Errorf("%s: say in connectionProperties of this test which settings a %s reads", file, b["type"])
			}
			for _, suffix := range []string{property, "credential", "clientId"} {
				settings[connection+"__"+suffix] = append(settings[connection+"__"+suffix], by)
			}
		}
	}
	return settings, nil
}

// settings returns the app settings that main.bicep sets.
func (s site) settings() map[string]*expression {
	settings := map[string]*expression{}
	list := s.main.named("app").value.get("properties", "siteConfig", "appSettings")
	if list == nil {
		return settings
	}
	for _, entry := range list.parts {
		name, _ := s.main.constant(entry.get("name"))
		settings[name] = entry.get("value")
	}
	return settings
}

// faults collects what is wrong.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// same complains if a template does not say want.
func (f *faults) same(what string, have *expression, want string) {
	if have.String() != want {
		f.add("%s is %s, want %s", what, have, want)
	}
}

// check returns all that is wrong with a site.
func check(s site) []string {
	var f faults
	s.checkRoles(&f)
	s.checkKeys(&f)
	s.checkDoors(&f)
	s.checkClouds(&f)
	s.checkStorage(&f)
	s.checkTags(&f)
	s.checkSettings(&f)
	s.checkTables(&f)
	s.checkSubscriptions(&f)
	s.checkDiagnostics(&f)
	s.checkHubTopics(&f)
	s.checkApp(&f)
	s.checkNeeds(&f)
	s.checkAlerts(&f)
	s.checkConsole(&f)
	s.checkSentinel(&f)
	s.checkNetwork(&f)
	return f
}

// grant is a role assignment. role is the name of a built-in role, or the symbol
// of a role that main.bicep defines.
type grant struct{ role, scope, principal string }

// grants are the role assignments of main.bicep, by the symbols of their
// resources, each at the narrowest scope that works. The app, the topic, readers
// and responders need nothing else.
var grants = map[string]grant{
	"hostStorage":        {"Storage Blob Data Owner", "hostAccount", "identity.properties.principalId"},
	"keepPackage":        {"packageKeeper", "packages", "identity.properties.principalId"},
	"writeAlerts":        {"alertWriter", "alertsTable", "identity.properties.principalId"},
	"writeQuarantine":    {"quarantineWriter", "quarantineTable", "identity.properties.principalId"},
	"obeySuppressions":   {"Storage Table Data Reader", "suppressionsTable", "identity.properties.principalId"},
	"keepState":          {"Storage Table Data Contributor", "stateAccount", "identity.properties.principalId"},
	"readState":          {"Storage Table Data Reader", "stateAccount", "reader"},
	"answerState":        {"Storage Table Data Reader", "stateAccount", "responder"},
	"writeTelemetry":     {"Monitoring Metrics Publisher", "insights", "identity.properties.principalId"},
	"readLogs":           {"Azure Event Hubs Data Receiver", "logs", "identity.properties.principalId"},
	"writeTags":          {"tagWriter", "identity", "identity.properties.principalId"},
	"sendCanaries":       {"Azure Event Hubs Data Sender", "logs", "identity.properties.principalId"},
	"publishConnections": {"EventGrid Data Sender", "connections", "identity.properties.principalId"},
	"publishAlerts":      {"EventGrid Data Sender", "alertEvents", "identity.properties.principalId"},
	"writeDeadAlerts":    {"Storage Blob Data Contributor", "deadLetters", "alertEvents.identity.principalId"},
	"writeDeadLetters":   {"Storage Blob Data Contributor", "deadLetters", "connections.identity.principalId"},
	"readAlerts":         {"Storage Table Data Reader", "alertsTable", "reader"},
	"readQuarantine":     {"Storage Table Data Reader", "quarantineTable", "reader"},
	"readSuppressions":   {"Storage Table Data Reader", "suppressionsTable", "reader"},
	"changeAlerts":       {"alertWriter", "alertsTable", "responder"},
	"makeSuppressions":   {"alertWriter", "suppressionsTable", "responder"},
	"pruneAlerts":        {"alertPruner", "alertsTable", "pruner"},
	"clearQuarantine":    {"Storage Table Data Contributor", "quarantineTable", "responder"},
}

// customRoles are the roles that main.bicep defines, by their symbols, with all
// rights of each. No role may delete but that of people who prune alerts. The rights that
// requests need:
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#permissions-for-calling-data-operations
var customRoles = map[string]struct{ actions, dataActions []string }{
	"alertWriter": {nil, []string{
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/read",          // Query Entities, Get Entity
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/add/action",    // Insert Entity
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/update/action", // Merge Entity
	}},
	"quarantineWriter": {nil, []string{
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/add/action", // Insert Entity
	}},
	"alertPruner": {nil, []string{
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/read",   // Query Entities
		"Microsoft.Storage/storageAccounts/tableServices/tables/entities/delete", // Delete Entity
	}},
	"tagWriter": {[]string{
		"Microsoft.Resources/tags/write", // Tags, Update At Scope
	}, nil},
	"packageKeeper": {[]string{
		"Microsoft.Storage/storageAccounts/blobServices/containers/read", // Get Container Properties
	}, []string{
		"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",  // Get Blob
		"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write", // Put Blob
	}},
}

// roleNames are Azure's built-in roles by their ids: the roles in grants, and the
// roles that nobody may have
// (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles).
var roleNames = map[string]string{
	"b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
	"ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
	"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
	"76199698-9eea-4c19-bc75-cec21354c6b6": "Storage Table Data Reader",
	"3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
	"a638d3c7-ab3a-418d-83e6-5f17a39d4fde": "Azure Event Hubs Data Receiver",
	"2b629674-e913-4c01-ae53-ef4638d8f975": "Azure Event Hubs Data Sender",
	"d5a91429-5739-47e2-a06b-3470a27159e7": "EventGrid Data Sender",

	"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
	"b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
	"18d7d88d-d35e-4fb5-a5a3-7773c20a72d9": "User Access Administrator",
	"f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
}

var guid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func (s site) checkRoles(f *faults) {
	const assignments = "Microsoft.Authorization/roleAssignments"
	given := map[string]bool{}
	for _, d := range s.main.of("resource", assignments) {
		given[d.name] = true
		want, ok := grants[d.name]
		if !ok {
			f.add("main.bicep: %s gives a role that no one is known to need: say in grants of this test who does, and why it is no less", d.name)
			continue
		}
		id := d.value.get("properties", "roleDefinitionId")
		if id == nil || id.kind != call || id.text != "subscriptionResourceId" || len(id.parts) != 2 {
			f.add("main.bicep: %s: the role is %s, want subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.…)", d.name, id)
			continue
		}
		value, _ := s.main.constant(id.parts[1])
		have := roleNames[value]
		if symbol, ok := strings.CutSuffix(id.parts[1].String(), ".name"); ok {
			if _, ok := customRoles[symbol]; ok {
				have = symbol
			}
		}
		if have != want.role {
			f.add("main.bicep: %s gives the role %q (%s), want %s", d.name, have, value, want.role)
		}
		f.same("main.bicep: scope of "+d.name, d.value.get("scope"), want.scope)
		f.same("main.bicep: principal of "+d.name, d.value.get("properties", "principalId"), want.principal)
		principal := strings.TrimSuffix(strings.TrimSuffix(want.principal, ".properties.principalId"), ".identity.principalId")
		switch principal {
		case "reader", "responder", "pruner":
			f.same("main.bicep: who is given "+d.name, d.value.parts[0], principal+"s")
		default:
			principal += ".id"
		}
		f.same("main.bicep: name of "+d.name, d.value.get("name"), fmt.Sprintf("guid(%s.id, %s, %s)", want.scope, principal, id.parts[1]))
	}
	for name := range grants {
		if !given[name] {
			f.add("main.bicep: %s is missing: %v", name, grants[name])
		}
	}
	const definitions = "Microsoft.Authorization/roleDefinitions"
	for _, t := range []template{s.hub, s.subscriptions, s.hubSubscriptions, s.endpoints} {
		if n := len(t.of("resource", assignments, definitions)); n > 0 {
			f.add("%d roles are given or defined in %s, and not in main.bicep", n, t.path)
		}
	}
	s.checkDefinitions(f, s.main.of("resource", definitions))
	// The app may write tags only if somebody wants that.
	f.same("main.bicep: canaryTag", s.main.named("canaryTag").value, "false")
	for _, name := range []string{"tagWriter", "writeTags"} {
		if d := s.main.named(name); d == nil || d.value.kind != conditional || d.value.parts[0].String() != "canaryTag" {
			f.add("main.bicep: %s is there without the parameter canaryTag", name)
		}
	}
	allowed := map[string]bool{}
	for _, g := range grants {
		allowed[g.role] = true
	}
	for _, id := range guid.FindAllString(strings.ToLower(s.text), -1) {
		if !allowed[roleNames[id]] {
			f.add("a template has the id %s: %s", id, roleNames[id])
		}
	}
}

// checkDefinitions checks that each role that main.bicep defines has the rights
// in customRoles and no others, and that it is for this resource group only.
func (s site) checkDefinitions(f *faults, definitions []declaration) {
	defined := map[string]bool{}
	for _, d := range definitions {
		defined[d.name] = true
		want, ok := customRoles[d.name]
		permissions := d.value.get("properties", "permissions")
		if !ok || permissions == nil || len(permissions.parts) != 1 {
			f.add("main.bicep: the role %s has the permissions %s: say in customRoles of this test who needs which", d.name, permissions)
			continue
		}
		f.same("main.bicep: scopes of the role "+d.name, d.value.get("properties", "assignableScopes"), "[resourceGroup().id]")
		for key, want := range map[string][]string{"actions": want.actions, "dataActions": want.dataActions, "notActions": nil, "notDataActions": nil} {
			var have []string
			if list := permissions.parts[0].get(key); list != nil {
				for _, part := range list.parts {
					action, _ := s.main.constant(part)
					have = append(have, action)
				}
			}
			if !slices.Equal(have, want) {
				f.add("main.bicep: the role %s has the %s %q, want %q", d.name, key, have, want)
			}
		}
	}
	for name := range customRoles {
		if !defined[name] {
			f.add("main.bicep: the role %s is not defined", name)
		}
	}
}

// keyless is how each service is told to refuse keys.
var keyless = map[string]struct {
	path []string
	want string
}{
	"Microsoft.Storage/storageAccounts":                      {[]string{"properties", "allowSharedKeyAccess"}, "false"},
	"Microsoft.EventGrid/topics":                             {[]string{"properties", "disableLocalAuth"}, "true"},
	"Microsoft.Insights/components":                          {[]string{"properties", "DisableLocalAuth"}, "true"},
	"Microsoft.OperationalInsights/workspaces":               {[]string{"properties", "features", "disableLocalAuth"}, "true"},
	"Microsoft.Web/sites/basicPublishingCredentialsPolicies": {[]string{"properties", "allow"}, "false"},
	// Azure Monitor can write to Event Hubs only with a key.
	"Microsoft.EventHub/namespaces": {[]string{"properties", "disableLocalAuth"}, "false"},
}

// operationName is the name of an operation in a template: an alert about the reading of keys reads
// none.
var operationName = regexp.MustCompile(`'Microsoft\.[A-Za-z./]+/action'`)

func (s site) checkKeys(f *faults) {
	for _, kind := range slices.Sorted(maps.Keys(keyless)) {
		found := s.main.of("resource", kind)
		if len(found) == 0 {
			f.add("main.bicep: there is no %s", kind)
		}
		for _, d := range found {
			f.same("main.bicep: "+strings.Join(keyless[kind].path, ".")+" of "+d.name, d.value.get(keyless[kind].path...), keyless[kind].want)
		}
	}
	if rules := s.main.of("resource", "Microsoft.EventHub/namespaces/authorizationRules", "Microsoft.EventHub/namespaces/eventhubs/authorizationRules"); len(rules) != 1 || rules[0].name != "sendRule" {
		f.add("main.bicep: %d rules with keys in the Event Hubs namespace, want sendRule alone", len(rules))
	}
	if found := regexp.MustCompile(`(?i)\blist\w*(key|sas|secret)\w*|accountkey|sharedaccess(key|signature)|instrumentationkey|@secure`).FindString(operationName.ReplaceAllString(s.text, "")); found != "" {
		f.add("a template has %q: hubwatch does without keys", found)
	}
	for _, d := range s.main.of("resource", "Microsoft.Storage/storageAccounts") {
		f.same("main.bicep: allowBlobPublicAccess of "+d.name, d.value.get("properties", "allowBlobPublicAccess"), "false")
		f.same("main.bicep: minimumTlsVersion of "+d.name, d.value.get("properties", "minimumTlsVersion"), "'TLS1_2'")
		f.same("main.bicep: supportsHttpsTrafficOnly of "+d.name, d.value.get("properties", "supportsHttpsTrafficOnly"), "true")
	}
	f.same("main.bicep: minimumTlsVersion of logsNamespace", s.main.named("logsNamespace").value.get("properties", "minimumTlsVersion"), "'1.2'")
}

// checkDoors checks who can reach the app. Event Grid reaches the functions, over
// TLS. People who publish reach the other site, without a password.
func (s site) checkDoors(f *faults) {
	app := s.main.named("app").value.get("properties")
	for key, want := range map[string]string{
		"minTlsVersion":                       "'1.2'",
		"scmMinTlsVersion":                    "'1.2'",
		"ipSecurityRestrictionsDefaultAction": "'Deny'",
		"ipSecurityRestrictions":              "[{name: 'event-grid', priority: 100, action: 'Allow', tag: 'ServiceTag', ipAddress: 'AzureEventGrid'}]",
		// People publish from any address, and with a token.
		"scmIpSecurityRestrictionsUseMain":       "false",
		"scmIpSecurityRestrictionsDefaultAction": "'Allow'",
		"scmIpSecurityRestrictions":              "nothing",
		// Flex Consumption has no FTP, and this is not a setting for it
		// (https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations).
		"ftpsState": "nothing",
	} {
		f.same("main.bicep: "+key, app.get("siteConfig", key), want)
	}
	f.same("main.bicep: httpsOnly", app.get("httpsOnly"), "true")
	passwords := map[string]bool{}
	for _, d := range s.main.of("resource", "Microsoft.Web/sites/basicPublishingCredentialsPolicies") {
		name, _ := s.main.constant(d.value.get("name"))
		passwords[name] = true
		f.same("main.bicep: parent of "+d.name, d.value.get("parent"), "app")
	}
	if !maps.Equal(passwords, map[string]bool{"scm": true, "ftp": true}) {
		f.add("main.bicep: there are policies for the passwords %v, want one for scm and one for ftp", passwords)
	}
}

// hostName matches a name that only one cloud of Azure has.
var hostName = regexp.MustCompile(`(?i)[a-z0-9]\.(net|com|org|io|us|cn|de)\b`)

// checkClouds checks that no template has a host name, because each cloud of
// Azure has its own host names
// (https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure#guidance-for-developers).
func (s site) checkClouds(f *faults) {
	for _, t := range []template{s.main, s.hub, s.subscriptions, s.hubSubscriptions, s.console, s.sentinel, s.endpoints} {
		for _, d := range t.declarations {
			d.value.within(func(e *expression) {
				if e.kind == constant && hostName.MatchString(e.text) {
					f.add("%s: %s has the host name %q, which other clouds of Azure do not have", t.path, d.name, e.text)
				}
			})
		}
	}
	f.same("main.bicep: HubLogs__fullyQualifiedNamespace", s.settings()["HubLogs__fullyQualifiedNamespace"], namespaceHost)
}

// ownResources are the resources of hubwatch whose names do not begin with that of the app,
// and the app.
const ownResources = "'storage.name, ,, stateAccount.name, ,, hostAccount.name, ,, controlPlaneName, ,, resourceId('Microsoft.Web/sites', name)'"

// expectedHubs are the names of the hubs whose logs are sent.
const expectedHubs = "join(map(iotHubs, (last(split(id, '/')))), ',')"

// namespaceHost is the host of an Event Hubs namespace. Azure returns its
// address: https://, the host, :443/.
const namespaceHost = "split(split(logsNamespace.properties.serviceBusEndpoint, '/')[2], ':')[0]"

// canaryTags is where Azure Resource Manager takes the tags of the identity of the app, if one is to
// be written.
const canaryTags = "?(canaryTag, 'environment().resourceManager, substring(identity.id, 1), /providers/Microsoft.Resources/tags/default', '')"

// canaryMessages is where the event hub takes messages.
const canaryMessages = "'https://, " + namespaceHost + ", /, logs.name, /messages'"

// checkStorage checks which data is in which account. Data that must not be
// deleted is not in the account where the Functions host has all rights, and
// deleted blobs can be restored.
func (s site) checkStorage(f *faults) {
	accounts := map[string]bool{}
	for _, d := range s.main.of("resource", "Microsoft.Storage/storageAccounts") {
		accounts[d.name] = true
	}
	if !maps.Equal(accounts, map[string]bool{"storage": true, "hostAccount": true, "stateAccount": true}) {
		f.add("main.bicep: the storage accounts are %v, want storage, hostAccount and stateAccount", accounts)
	}
	services := s.main.of("resource", "Microsoft.Storage/storageAccounts/blobServices", "Microsoft.Storage/storageAccounts/tableServices")
	for _, d := range services {
		f.same("main.bicep: parent of "+d.name, d.value.get("parent"), "storage")
	}
	blobs := s.main.named("blobs").value.get("properties")
	f.same("main.bicep: versions of blobs", blobs.get("isVersioningEnabled"), "true")
	for _, policy := range []string{"deleteRetentionPolicy", "containerDeleteRetentionPolicy"} {
		f.same("main.bicep: "+policy, blobs.get(policy), "{enabled: true, days: 30}")
	}
}

// checkTags checks that everything that can have tags has those of the parameter, and that
// the storage accounts have the redundancy of theirs. What has a region has tags.
func (s site) checkTags(f *faults) {
	for _, t := range []template{s.main, s.hub, s.console, s.sentinel, s.endpoints} {
		for _, d := range t.declarations {
			switch {
			case d.keyword == "resource" && d.value.get("location") != nil:
				f.same(t.path+": tags of "+d.name, d.value.get("tags"), "tags")
			case d.keyword == "module":
				f.same(t.path+": tags of "+d.name, d.value.get("params", "tags"), "tags")
			}
			if !d.existing && d.kind() == "Microsoft.Storage/storageAccounts" {
				f.same(t.path+": redundancy of "+d.name, d.value.get("sku", "name"), "storageSku")
			}
		}
	}
	f.same("main.bicep: pruners", s.main.named("pruners").value, "[]")
}

// notDeployed are settings that the code reads and a deployment does not set.
var notDeployed = map[string]string{
	"AlertsStorage":             "a connection string, for Azurite only: in Azure there are no keys",
	"StateStorage":              "a connection string, too",
	"StateTables":               "the account is for one app",
	"LogClock":                  "the log of a hub is continuous",
	"CanaryPatience":            "what Event Grid needs to deliver does not differ between deployments",
	"AlertsStorage__serviceUri": "another name of AlertsStorage__tableServiceUri",
	"AlertsStorage__managedIdentityResourceId": "the identity is named by its client id",
}

// hostSettings are settings for the Functions host itself
// (https://learn.microsoft.com/azure/azure-functions/functions-app-settings).
var hostSettings = []string{
	"AzureWebJobsStorage__blobServiceUri", "AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId",
	"APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}

func (s site) checkSettings(f *faults) {
	set := s.settings()
	known := map[string]bool{}
	for name := range s.code {
		known[name] = true
		if _, ok := set[name]; !ok && notDeployed[name] == "" {
			f.add("main.bicep does not set %s, which handlers/app reads", name)
		}
	}
	for name, by := range s.functions {
		known[name] = true
		if _, ok := set[name]; !ok {
			f.add("main.bicep does not set %s, which %s reads", name, by[0])
		}
	}
	for _, name := range hostSettings {
		known[name] = true
		if _, ok := set[name]; !ok {
			f.add("main.bicep does not set %s, which the Functions host reads", name)
		}
	}
	for name, value := range set {
		switch {
		case notDeployed[name] != "":
			f.add("main.bicep sets %s: %s", name, notDeployed[name])
		case !known[name]:
			f.add("main.bicep sets %s, which nothing reads", name)
		case strings.HasSuffix(name, "__credential"):
			f.same("main.bicep: "+name, value, "'managedidentity'")
		case strings.HasSuffix(name, "__clientId"):
			f.same("main.bicep: "+name, value, "identity.properties.clientId")
		}
	}
	for name, want := range map[string]string{
		// If the host knew only the name of the account, it would look for the
		// account in the public cloud.
		"AzureWebJobsStorage__blobServiceUri": "hostAccount.properties.primaryEndpoints.blob",
		"AlertsStorage__tableServiceUri":      "storage.properties.primaryEndpoints.table",
		"ConnectionEvents__topicEndpointUri":  "connections.properties.endpoint",
		"AlertEvents__topicEndpointUri":       "alertEvents.properties.endpoint",
		"StateStorage__tableServiceUri":       "stateAccount.properties.primaryEndpoints.table",
		"HubLogsEventHub":                     "logs.name",
		"OwnResources":                        ownResources,
		"ExpectedHubs":                        expectedHubs,
		"CanaryEventHubUri":                   canaryMessages,
		"CanaryTagUri":                        canaryTags,
		"AlertsTable":                         "alertsTable.name",
		"QuarantineTable":                     "quarantineTable.name",
		"SuppressionsTable":                   "suppressionsTable.name",
	} {
		f.same("main.bicep: "+name, set[name], want)
	}
}

// localSettings are the values of local.settings.sample.json.
func localSettings(root string) (map[string]string, error) {
	var file struct{ Values map[string]string }
	err := readJSON(filepath.Join(root, "local.settings.sample.json"), &file)
	return file.Values, err
}

// defaultOf returns the default of a setting that handlers/app has.
func defaultOf(name string) string {
	i := slices.IndexFunc(app.Settings, func(s app.Setting) bool { return s.Name == name })
	return app.Settings[i].Default
}

func (s site) checkTables(f *faults) {
	names := map[string]bool{}
	for _, d := range s.main.of("resource", "Microsoft.Storage/storageAccounts/tableServices/tables") {
		name, _ := s.main.constant(d.value.get("name"))
		names[name] = true
		f.same("main.bicep: parent of "+d.name, d.value.get("parent"), "tables")
	}
	for _, setting := range []string{"AlertsTable", "QuarantineTable", "SuppressionsTable"} {
		value, ok := s.main.constant(s.settings()[setting])
		if !ok || !names[value] {
			f.add("main.bicep: %s is %q, and the tables are %q", setting, value, slices.Sorted(maps.Keys(names)))
		}
		if want := defaultOf(setting); value != want {
			f.add("main.bicep: %s is %q, and the default of handlers/app is %q", setting, value, want)
		}
		delete(names, value)
	}
	for name := range names {
		f.add("main.bicep: no setting tells of the table %s", name)
	}
}

// sources are the topics in subscriptions.json, with the template and the type of their
// event subscriptions, what that template calls the app, and whether they can have dead letters.
var sources = map[string]struct {
	template    string
	kind        string
	named       string // the event subscriptions, if others are of the same type
	parent      string
	app         string
	deadLetters bool
}{
	"controlPlane": {"subscriptions.bicep", "Microsoft.EventGrid/systemTopics/eventSubscriptions", "", "controlPlane", "app.id", false},
	"connections":  {"subscriptions.bicep", "Microsoft.EventGrid/topics/eventSubscriptions", "failedConnections", "connections", "app.id", true},
	"alerts":       {"subscriptions.bicep", "Microsoft.EventGrid/topics/eventSubscriptions", "raisings", "alertEvents", "app.id", true},
	"hub":          {"hub-subscriptions.bicep", "Microsoft.EventGrid/systemTopics/eventSubscriptions", "", "topic", "appId", false},
}

// sourceOf returns the source that has the events of a trigger, or "" if no
// source has all of them.
func sourceOf(t detector.Trigger) string {
	found := map[string]bool{}
	for _, kind := range t.EventTypes {
		switch {
		case strings.HasPrefix(kind, "Microsoft.Resources."):
			found["controlPlane"] = true
		case slices.Contains(verdict.EventTypes, kind), strings.HasPrefix(kind, "hubwatch.iothub.log."), strings.HasPrefix(kind, "hubwatch.canary"):
			found["connections"] = true
		case strings.HasPrefix(kind, "Microsoft.Devices."):
			found["hub"] = true
		default:
			return ""
		}
	}
	if len(found) != 1 {
		return ""
	}
	return slices.Collect(maps.Keys(found))[0]
}

func (s site) checkSubscriptions(f *faults) {
	// Every detector has an entry, and there are no other entries.
	entries := map[string]catalogueEntry{}
	for _, e := range s.catalogue {
		entries[e.Name] = e
		if _, ok := sources[e.Source]; !ok {
			f.add("subscriptions.json: %s has the source %q, of which subscriptions.bicep knows nothing", e.Name, e.Source)
		}
	}
	for _, d := range app.Detectors() {
		e, ok := entries[d.Name]
		delete(entries, d.Name)
		have, _ := json.Marshal(e.Filter)
		want, _ := json.Marshal(d.On.Filter())
		source := sourceOf(d.On)
		switch {
		case !ok:
			f.add("subscriptions.json has no %s", d.Name)
		case e.Function != d.Name || e.Source != source:
			f.add("subscriptions.json: %s is for the function %q and the source %q, want %q and %q", d.Name, e.Function, e.Source, d.Name, source)
		case e.Own != d.On.Own || e.Own && source != "controlPlane":
			f.add("subscriptions.json: %s is about hubwatch itself: %t, and its detector: %t", d.Name, e.Own, d.On.Own)
		case string(have) != string(want):
			f.add("subscriptions.json: %s has the filter %s, want that of its detector: %s", d.Name, have, want)
		}
	}
	// What is left is for the tags that are canaries, and for functions that hear of alerts.
	for _, fn := range app.Functions(app.Detectors(), judge.Judge{}) {
		e, left := entries[fn.Name]
		if _, ok := fn.Trigger.(host.EventGrid); !ok || !left {
			continue
		}
		delete(entries, fn.Name)
		if fn.Name == judge.CanaryTagName {
			have, _ := json.Marshal(e.Filter)
			want, _ := json.Marshal(judge.CanaryTagOn.Filter())
			if e.Function != fn.Name || e.Source != "controlPlane" || !e.Own || string(have) != string(want) {
				f.add("subscriptions.json: %s is for the function %q, the source %q and %s, want %q, controlPlane and %s", fn.Name, e.Function, e.Source, have, fn.Name, want)
			}
			continue
		}
		want := []string{"hubwatch.alert.raised", "hubwatch.alert.reopened"}
		if fn.Name == judge.NotifyName || fn.Name == judge.SentinelName {
			want = append(want, coverage.CanaryType)
		}
		if e.Function != fn.Name || e.Source != "alerts" || !slices.Equal(e.Filter.IncludedEventTypes, want) || e.Filter.AdvancedFilters != nil {
			f.add("subscriptions.json: %s is for the function %q, the source %q and %v, want %q, alerts and %v", fn.Name, e.Function, e.Source, e.Filter, fn.Name, want)
		}
	}
	for name := range entries {
		f.add("subscriptions.json: there is no function %s", name)
	}

	// The templates make an event subscription for each entry, and no others.
	s.checkLoops(f, s.subscriptions)
	s.checkLoops(f, s.hubSubscriptions)
	t := s.subscriptions

	// Both templates compute the same names.
	for _, name := range []string{"storageName", "connectionsTopicName", "alertsTopicName", "controlPlaneName", "name", "controlPlaneTopicName", "iotHubs", "hubTopicNames"} {
		here, there := t.named(name), s.main.named(name)
		if here == nil || there == nil || here.value.String() != there.value.String() {
			f.add("main.bicep and subscriptions.bicep do not agree on %s", name)
		}
	}
	// The parameters of subscriptions.bicep are an output of main.bicep.
	want := []string{}
	for _, d := range t.of("param") {
		want = append(want, fmt.Sprintf("%[1]s: {value: %[1]s}", d.name))
	}
	outputs := s.main.of("output")
	if i := slices.IndexFunc(outputs, func(d declaration) bool { return d.name == "subscriptions" }); i < 0 {
		f.add("main.bicep has no output subscriptions")
	} else {
		f.same("main.bicep: the output subscriptions", outputs[i].value, "{"+strings.Join(want, ", ")+"}")
	}
	for here, there := range map[string]string{"app": "app", "storage": "storage", "controlPlane": "", "connections": "connections", "alertEvents": "alertEvents"} {
		d := t.named(here)
		if d == nil || !d.existing {
			f.add("subscriptions.bicep: %s does not come from main.bicep", here)
			continue
		}
		want := "controlPlaneName"
		if there != "" {
			want = s.main.named(there).value.get("name").String()
		}
		f.same("subscriptions.bicep: name of "+here, d.value.get("name"), want)
	}
}

// checkLoops checks that a template makes an event subscription for each entry of its
// sources, and no others.
func (s site) checkLoops(f *faults, t template) {
	file := filepath.Base(t.path)
	if d := t.named("subscriptions"); d == nil || d.value.String() != "loadJsonContent('subscriptions.json')" {
		f.add("%s: subscriptions is not what subscriptions.json has", file)
	}
	retry := t.named("retryPolicy")
	if retry == nil || retry.value.String() != "{maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440}" {
		f.add("%s: retryPolicy is not the longest", file)
	}
	var count int
	for _, d := range t.of("resource") {
		if !strings.HasSuffix(d.kind(), "/eventSubscriptions") {
			continue
		}
		count++
		if d.value.kind != loop {
			f.add("%s: %s is not made for each of subscriptions.json", file, d.name)
			continue
		}
		found := false
		for name, source := range sources {
			if source.kind != d.kind() || source.template != file || source.named != "" && source.named != d.name {
				continue
			}
			found = true
			each := d.value.names[0]
			what := file + ": " + d.name + ": "
			f.same(what+"the list", d.value.parts[0], fmt.Sprintf("filter(subscriptions, (==(each.source, '%s')))", name))
			properties := d.value.get("properties")
			f.same(what+"parent", d.value.get("parent"), source.parent)
			f.same(what+"name", d.value.get("name"), each+".name")
			filter := each + ".filter"
			if name == "controlPlane" {
				filter = fmt.Sprintf("?(%s.own, union(%[1]s.filter, {subjectBeginsWith: 'resourceGroup().id, /'}), %[1]s.filter)", each)
			}
			f.same(what+"filter", properties.get("filter"), filter)
			f.same(what+"schema", properties.get("eventDeliverySchema"), "'CloudEventSchemaV1_0'")
			f.same(what+"endpoint", properties.get("destination", "endpointType"), "'AzureFunction'")
			f.same(what+"function", properties.get("destination", "properties", "resourceId"), fmt.Sprintf("'%s, /functions/, %s.function'", source.app, each))
			f.same(what+"events in a delivery", properties.get("destination", "properties", "maxEventsPerBatch"), "1")
			f.same(what+"retryPolicy", properties.get("retryPolicy"), "retryPolicy")
			if properties.get("deadLetterDestination") != nil {
				f.add("%sdead letters are written with a key, which the storage account refuses", what)
			}
			letter := properties.get("deadLetterWithResourceIdentity")
			if (letter != nil) != source.deadLetters {
				f.add("%sdead letters: %t, want %t", what, letter != nil, source.deadLetters)
			}
			if letter != nil {
				f.same(what+"identity", letter.get("identity", "type"), "'SystemAssigned'")
				f.same(what+"account", letter.get("deadLetterDestination", "properties", "resourceId"), "storage.id")
				have, _ := t.constant(letter.get("deadLetterDestination", "properties", "blobContainerName"))
				if want, _ := s.main.constant(s.main.named("deadLetters").value.get("name")); have != want {
					f.add("%sdead letters go to the container %q, and main.bicep makes %q", what, have, want)
				}
			}
		}
		if !found {
			f.add("%s: %s is for a source that subscriptions.json does not know", file, d.name)
		}
	}
	want := 0
	for _, source := range sources {
		if source.template == file {
			want++
		}
	}
	if count != want {
		f.add("%s has %d loops for %d sources", file, count, want)
	}
}

func (s site) checkDiagnostics(f *faults) {
	settings := s.hub.of("resource", "Microsoft.Insights/diagnosticSettings")
	if len(settings) != 1 {
		f.add("hub.bicep has %d diagnostic settings, want 1", len(settings))
		return
	}
	d := settings[0]
	f.same("hub.bicep: scope", d.value.get("scope"), "hub")
	logs := d.value.get("properties")
	if i := slices.Index(logs.keys, "logs"); i < 0 || logs.parts[i].kind != loop {
		f.add("hub.bicep: logs is not made for each category")
	} else {
		logs = logs.parts[i]
		f.same("hub.bicep: which logs are sent", logs.parts[0], "logCategories")
		f.same("hub.bicep: what is sent of a category", logs.parts[1], fmt.Sprintf("{category: %s, enabled: true}", logs.names[0]))
	}
	sent := map[string]bool{}
	if d := s.main.named("logCategories"); d != nil && d.value != nil {
		for _, entry := range d.value.parts {
			category, _ := s.main.constant(entry)
			sent[category] = true
			if !slices.Contains(event.LogCategories, category) {
				f.add("main.bicep: logCategories has %q, which is not a category of an IoT hub", category)
			}
		}
	}
	for _, category := range event.LogCategories {
		if read := connection.Classify(connection.Record{Category: category}).PassedOver != connection.OtherCategory; read != sent[category] {
			f.add("main.bicep: unless a parameter says so, the category %s is sent: %t, read by the relay: %t", category, sent[category], read)
		}
	}
	hubs := s.main.named("hubs")
	if hubs == nil || hubs.is != "hub.bicep" {
		f.add("main.bicep does not use hub.bicep")
		return
	}
	given := hubs.value.get("params")
	for _, parameter := range s.hub.of("param") {
		if given.get(parameter.name) == nil {
			f.add("main.bicep does not give %s to hub.bicep", parameter.name)
		}
	}
	f.same("main.bicep: what each hub is", hubs.value.parts[0], "iotHubs")
	f.same("main.bicep: eventHubName", given.get("eventHubName"), "logs.name")
	f.same("main.bicep: authorizationRuleId", given.get("authorizationRuleId"), "sendRule.id")
	f.same("main.bicep: logCategories", given.get("logCategories"), "logCategories")
	f.same("hub.bicep: eventHubName", d.value.get("properties", "eventHubName"), "eventHubName")
	f.same("hub.bicep: eventHubAuthorizationRuleId", d.value.get("properties", "eventHubAuthorizationRuleId"), "authorizationRuleId")
}

// checkHubTopics checks that there is a topic for the events that a hub publishes itself
// if an alert needs it and the hub has none, and that its events come to the functions.
func (s site) checkHubTopics(f *faults) {
	const hubName = "last(split(id, '/'))"
	topics := s.hub.of("resource", "Microsoft.EventGrid/systemTopics")
	alerts := s.hub.of("resource", "Microsoft.Insights/metricAlerts")
	if len(topics) != 1 || len(alerts) != 1 || topics[0].value.kind != conditional || alerts[0].value.kind != conditional {
		f.add("hub.bicep: %d topics and %d alerts, want one of each, on conditions", len(topics), len(alerts))
		return
	}
	topic, dropped := topics[0].value, alerts[0].value
	if d := s.hub.named("needsTopic"); d == nil || d.value.String() != "!(empty(filter(loadJsonContent('subscriptions.json'), (==(each.source, 'hub')))))" {
		f.add("hub.bicep: needsTopic is not whether subscriptions.json has the source hub")
	}
	f.same("hub.bicep: when there is a topic", topic.parts[0], "&&(needsTopic, empty(topicName))")
	f.same("hub.bicep: source of the topic", topic.get("properties", "source"), "hub.id")
	f.same("hub.bicep: type of the topic", topic.get("properties", "topicType"), "'Microsoft.Devices.IoTHubs'")
	f.same("hub.bicep: name of the topic", topic.get("name"), "'settingName, -, hubName'")
	f.same("hub.bicep: when there is an alert", dropped.parts[0], "needsTopic")
	f.same("hub.bicep: scope of the alert", dropped.get("properties", "scopes"), "[resourceId('Microsoft.EventGrid/systemTopics', ?(empty(topicName), 'settingName, -, hubName', topicName))]")
	criteria := dropped.get("properties", "criteria", "allOf")
	if criteria == nil || len(criteria.parts) != 1 || criteria.parts[0].get("metricName").String() != "'DroppedEventCount'" || criteria.parts[0].get("threshold").String() != "0" {
		f.add("hub.bicep: the alert compares %s", criteria)
	}
	if !s.hub.needs(dropped)["topic"] {
		f.add("hub.bicep: the alert does not depend on topic")
	}
	given := s.main.named("hubs").value.get("params")
	f.same("main.bicep: topicName", given.get("topicName"), "??(hubTopicNames["+hubName+"], '')")
	f.same("main.bicep: settingName, with which the name of a topic begins", given.get("settingName"), "name")
	f.same("main.bicep: hubName", given.get("hubName"), hubName)

	hubs := s.subscriptions.named("hubs")
	if hubs == nil || hubs.is != "hub-subscriptions.bicep" || hubs.value.kind != loop {
		f.add("subscriptions.bicep does not use hub-subscriptions.bicep for each hub")
		return
	}
	f.same("subscriptions.bicep: the hubs", hubs.value.parts[0], "?(empty(filter(subscriptions, (==(each.source, 'hub')))), [], iotHubs)")
	f.same("subscriptions.bicep: scope of hubs", hubs.value.get("scope"), s.main.named("hubs").value.get("scope").String())
	f.same("subscriptions.bicep: topicName", hubs.value.get("params", "topicName"), "??(hubTopicNames["+hubName+"], 'name, -, "+hubName+"')")
	f.same("subscriptions.bicep: appId", hubs.value.get("params", "appId"), "app.id")
	if d := s.hubSubscriptions.named("topic"); d == nil || !d.existing || d.value.get("name").String() != "topicName" {
		f.add("hub-subscriptions.bicep: topic is not that of the hub")
	}
}

func (s site) checkApp(f *faults) {
	app := s.main.named("app").value.get("properties")
	f.same("main.bicep: runtime", app.get("functionAppConfig", "runtime", "name"), "'custom'")
	f.same("main.bicep: version of the runtime", app.get("functionAppConfig", "runtime", "version"), "'1.0'")
	f.same("main.bicep: plan", app.get("serverFarmId"), "plan.id")
	f.same("main.bicep: keyVaultReferenceIdentity", app.get("keyVaultReferenceIdentity"), "identity.id")
	f.same("main.bicep: tier of the plan", s.main.named("plan").value.get("sku", "tier"), "'FlexConsumption'")
	f.same("main.bicep: where the package is", app.get("functionAppConfig", "deployment", "storage", "value"), "'storage.properties.primaryEndpoints.blob, packages.name'")
	f.same("main.bicep: who fetches the package", app.get("functionAppConfig", "deployment", "storage", "authentication", "type"), "'UserAssignedIdentity'")
	f.same("main.bicep: schema of the topic", s.main.named("connections").value.get("properties", "inputSchema"), "'CloudEventSchemaV1_0'")
	containers := map[string]bool{}
	for _, d := range s.main.of("resource", "Microsoft.Storage/storageAccounts/blobServices/containers") {
		containers[d.name] = true
	}
	if !maps.Equal(containers, map[string]bool{"packages": true, "deadLetters": true}) {
		f.add("main.bicep: the containers are %v, want one for packages and one for deadLetters", containers)
	}
	// A Flex Consumption app is refused with these
	// (https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations).
	for _, name := range []string{"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"} {
		if s.settings()[name] != nil {
			f.add("main.bicep sets %s, which Flex Consumption refuses", name)
		}
	}
}

// needs are dependencies between resources of main.bicep that the templates have
// to state. Without them, the deployment fails, always or sometimes.
var needs = []struct{ who, what, why string }{
	{"app", "plan", "it runs there"},
	{"app", "identity", "it fetches its package with it"},
	{"app", "packages", "the container is looked for when the app is made"},
	{"app", "hostStorage", "the host uses its storage from its first moment on"},
	{"app", "keepPackage", "an instance fetches the package first of all"},
	{"app", "alertsTable", "a setting names it"},
	{"app", "quarantineTable", "a setting names it"},
	{"app", "suppressionsTable", "a setting names it"},
	{"app", "logs", "a setting names it"},
	{"app", "connections", "a setting names it"},
	{"app", "alertEvents", "a setting names it"},
	{"app", "sentinel", "a setting names its rule"},
	{"sentinel", "identity", "it is given a role"},
	{"silencerAlerts", "endpoints", "an alert is made for something that is there"},
	{"app", "endpoints", "the host uses its storage from its first moment on, also if that is closed"},
	{"hubs", "logs", "a diagnostic setting names the event hub"},
	{"hubs", "sendRule", "a diagnostic setting names the rule"},
	{"writeDeadLetters", "connections", "the topic's own identity comes with the topic"},
	{"writeDeadAlerts", "alertEvents", "the topic's own identity comes with the topic"},
	{"failureAlerts", "alertEvents", "an alert is made for something that is there"},
	{"failureAlerts", "controlPlane", "an alert is made for something that is there"},
	{"failureAlerts", "connections", "an alert is made for something that is there"},
	{"failureAlerts", "insights", "an alert is made for something that is there"},
	{"insights", "workspace", "telemetry goes there"},
}

func (s site) checkNeeds(f *faults) {
	for _, n := range needs {
		d := s.main.named(n.who)
		if d == nil {
			f.add("main.bicep: there is no %s", n.who)
		} else if !s.main.needs(d.value)[n.what] {
			f.add("main.bicep: %s does not depend on %s: %s. Refer to it by its symbol, or use dependsOn", n.who, n.what, n.why)
		}
	}
}

// watched are the failures of hubwatch itself that main.bicep has alerts for: the
// metric, and its resource.
var watched = []string{
	"Microsoft.EventGrid/systemTopics DroppedEventCount of resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName)",
	"Microsoft.EventGrid/topics DroppedEventCount of connections.id",
	"Microsoft.EventGrid/topics DeadLetteredCount of connections.id",
	"Microsoft.EventGrid/systemTopics DeliveryAttemptFailCount above 3 in 'PT1H' of resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName)",
	"Microsoft.EventGrid/topics DeliveryAttemptFailCount above 5 in 'PT1H' of connections.id",
	"Microsoft.EventGrid/topics DeliveryAttemptFailCount above 5 in 'PT1H' of alertEvents.id",
	"microsoft.insights/components requests/failed of insights.id",
	"Microsoft.Storage/storageAccounts Transactions of storage.id with [{name: 'ApiName', operator: 'Include', values: ['InsertEntity']}, {name: 'ResponseType', operator: 'Include', values: ['Success']}]",
}

func (s site) checkAlerts(f *faults) {
	var have []string
	for _, entry := range s.main.named("failures").value.parts {
		namespace, _ := s.main.constant(entry.get("namespace"))
		metric, _ := s.main.constant(entry.get("metric"))
		alert := fmt.Sprintf("%s %s", namespace, metric)
		if above, in := entry.get("threshold").String(), entry.get("window").String(); above != "0" || in != "'PT15M'" {
			alert += fmt.Sprintf(" above %s in %s", above, in)
		}
		alert += fmt.Sprintf(" of %s", entry.get("scope"))
		if dimensions := entry.get("dimensions"); dimensions.String() != "[]" {
			alert += fmt.Sprintf(" with %s", dimensions)
		}
		have = append(have, alert)
	}
	for _, want := range watched {
		if !slices.Contains(have, want) {
			f.add("main.bicep has no alert for %s", want)
		}
	}
	d := s.main.named("failureAlerts")
	f.same("main.bicep: what failureAlerts are made for", d.value.parts[0], "failures")
	f.same("main.bicep: enabled of failureAlerts", d.value.get("properties", "enabled"), "true")
	criteria := d.value.get("properties", "criteria", "allOf")
	if criteria == nil || len(criteria.parts) != 1 || criteria.parts[0].get("threshold").String() != "failure.threshold" || criteria.parts[0].get("metricName").String() != "failure.metric" {
		f.add("main.bicep: failureAlerts compare %s", criteria)
	} else {
		f.same("main.bicep: dimensions of failureAlerts", criteria.parts[0].get("dimensions"), "failure.dimensions")
		f.same("main.bicep: window of failureAlerts", d.value.get("properties", "windowSize"), "failure.window")
	}
	properties := d.value.get("properties")
	if i := slices.Index(properties.keys, "actions"); i < 0 || properties.parts[i].kind != loop {
		f.add("main.bicep: nobody hears of failureAlerts")
	} else {
		f.same("main.bicep: who hears of failureAlerts", properties.parts[i].parts[0], "actionGroups")
		f.same("main.bicep: how they hear of failureAlerts", properties.get("actions"), "{actionGroupId: group}")
	}
	if n := len(s.main.of("resource", "Microsoft.Insights/metricAlerts")); n != 1 {
		f.add("main.bicep: %d resources are alerts on metrics, want failureAlerts alone", n)
	}
	s.checkSilencers(f)
	late := s.main.of("resource", "Microsoft.Insights/scheduledQueryRules")
	if len(late) != 1 {
		f.add("main.bicep: %d resources are alerts on logs, want verdictsLate alone", len(late))
		return
	}
	f.same("main.bicep: who hears of verdictsLate", late[0].value.get("properties", "actions", "actionGroups"), "actionGroups")
	f.same("main.bicep: what verdictsLate looks at", late[0].value.get("properties", "scopes"), "[insights.id]")
	criteria = late[0].value.get("properties", "criteria", "allOf")
	if criteria == nil || len(criteria.parts) != 1 {
		f.add("main.bicep: verdictsLate compares %s", criteria)
		return
	}
	// The doctor has all else of it.
	said := map[string]any{}
	for i, name := range late[0].value.keys {
		if name == "kind" || name == "location" || name == "properties" {
			s.main.members(name, late[0].value.parts[i], said)
		}
	}
	at := slices.IndexFunc(doctor.Resources, func(r doctor.Resource) bool { return r.Symbol == "verdictsLate" })
	for path, want := range plain(doctor.Resources[at].Members) {
		if _, varies := want.(doctor.Varies); !varies && said[path] != want {
			f.add("main.bicep: verdictsLate: %s is %v, want %v", path, said[path], want)
		}
	}
}

// ownScopes are the resources of hubwatch of which the activity log tells, in main.bicep.
const ownScopes = "concat([app.id, plan.id, identity.id, storage.id, stateAccount.id, hostAccount.id, logsNamespace.id, connections.id, alertEvents.id, " +
	"resourceId('Microsoft.EventGrid/systemTopics', controlPlaneName), insights.id, workspace.id], " +
	"map(?(empty(endpointSubnet), [], targets), (resourceId('Microsoft.Network/privateEndpoints', 'name, -, target.name'))))"

// watchedGroups are the resource groups out of which resources may be moved.
const watchedGroups = "union([resourceGroup().id], map(filter(iotHubs, (==(split(id, '/')[2], subscription().subscriptionId))), (join(take(split(id, '/'), 5), '/'))))"

// checkSilencers checks the alerts on the activity log. The doctor has the operations: see
// TestDoctorKnowsTheSilencers.
func (s site) checkSilencers(f *faults) {
	const kind = "Microsoft.Insights/activityLogAlerts"
	for _, of := range []struct {
		template template
		name     string
	}{{s.main, "silencerAlerts"}, {s.hubAlerts, "silencerAlerts"}} {
		file := filepath.Base(of.template.path)
		found := of.template.of("resource", kind)
		if len(found) != 1 || found[0].name != of.name {
			f.add("%s: %d resources are alerts on the activity log, want %s alone", file, len(found), of.name)
			continue
		}
		properties := found[0].value.get("properties")
		f.same(file+": location of "+of.name, found[0].value.get("location"), "'global'")
		conditions := properties.get("condition", "allOf")
		if conditions == nil || len(conditions.parts) != 3 {
			f.add("%s: %s has the conditions %s", file, of.name, conditions)
			continue
		}
		f.same(file+": category of "+of.name, conditions.parts[0], "{field: 'category', equals: 'Administrative'}")
		f.same(file+": status of "+of.name, conditions.parts[1], "{field: 'status', equals: 'Succeeded'}")
		f.same(file+": field of "+of.name, conditions.parts[2].get("field"), "'operationName'")
		groups := properties.get("actions")
		if i := slices.Index(groups.keys, "actionGroups"); i < 0 || groups.parts[i].kind != loop {
			f.add("%s: nobody hears of %s", file, of.name)
		} else {
			f.same(file+": who hears of "+of.name, groups.parts[i].parts[0], "actionGroups")
			f.same(file+": how they hear of "+of.name, groups.get("actionGroups"), "{actionGroupId: group}")
		}
	}
	for file, t := range map[string]template{"main.bicep": s.main, "hub-alerts.bicep": s.hubAlerts} {
		d := t.named("silencerAlerts")
		f.same(file+": what silencerAlerts are made for", d.value.parts[0], "silencers")
		for member, want := range map[string]string{"scopes": "silencer.scopes", "enabled": "silencer.enabled"} {
			f.same(file+": "+member+" of silencerAlerts", d.value.get("properties", member), want)
		}
		f.same(file+": operations of silencerAlerts", d.value.get("properties", "condition", "allOf").parts[2].get("containsAny"), "silencer.operations")
	}
	f.same("main.bicep: ownScopes", s.main.named("ownScopes").value, ownScopes)
	f.same("main.bicep: watchedGroups", s.main.named("watchedGroups").value, watchedGroups)
	for _, each := range s.main.named("silencers").value.parts {
		name, _ := s.main.constant(each.get("name"))
		scopes, enabled := "ownScopes", "true"
		switch name {
		case "moved":
			scopes = "watchedGroups"
		case "changed", "keys-listed":
			enabled = "tellChanges"
		}
		f.same("main.bicep: scopes of the silencer "+name, each.get("scopes"), scopes)
		f.same("main.bicep: enabled of the silencer "+name, each.get("enabled"), enabled)
	}
	f.same("main.bicep: tellChanges", s.main.named("tellChanges").value, "false")
	for _, each := range s.hubAlerts.named("silencers").value.parts {
		name, _ := s.hubAlerts.constant(each.get("name"))
		want := map[string][]string{"silenced": {"hubs", "true"}, "changed": {"hubs", "tellChanges"}, "moved": {groupsOfHubs, "tellMoves"}}[name]
		if want == nil {
			f.add("hub-alerts.bicep: the silencer %s is not known", name)
			continue
		}
		f.same("hub-alerts.bicep: scopes of the silencer "+name, each.get("scopes"), want[0])
		f.same("hub-alerts.bicep: enabled of the silencer "+name, each.get("enabled"), want[1])
	}
	module := s.main.named("hubAlerts")
	if module == nil || module.is != "hub-alerts.bicep" || module.value.kind != loop {
		f.add("main.bicep does not use hub-alerts.bicep for each subscription")
		return
	}
	f.same("main.bicep: hubSubscriptions", s.main.named("hubSubscriptions").value, hubSubscriptions)
	f.same("main.bicep: what hub-alerts.bicep is used for", module.value.parts[0], "hubSubscriptions")
	for member, want := range map[string]string{
		"name": "name", "hubs": hubsOfSubscription, "tags": "tags", "actionGroups": "actionGroups", "tellChanges": "tellChanges", "tellMoves": "!=(id, toLower(subscription().subscriptionId))",
	} {
		f.same("main.bicep: "+member+" of hubAlerts", module.value.get("params", member), want)
	}
	f.same("main.bicep: where alerts about hubs are", module.value.get("scope"), "resourceGroup(id, ?(==(id, toLower(subscription().subscriptionId)), resourceGroup().name, split("+hubsOfSubscription+"[0], '/')[4]))")
	f.same("main.bicep: who hears of dropped events of a hub", s.main.named("hubs").value.get("params", "actionGroups"), "actionGroups")
}

// What the alerts on the activity log about hubs are about: the subscriptions with hubs, the hubs of one
// of them, and their resource groups.
const (
	hubSubscriptions   = "union([], map(iotHubs, (toLower(split(id, '/')[2]))))"
	hubsOfSubscription = "filter(iotHubs, (==(toLower(split(hub, '/')[2]), id)))"
	groupsOfHubs       = "union([], map(hubs, (join(take(split(id, '/'), 5), '/'))))"
)

// requests are the methods and constants of the SDK that make requests to Table
// Storage, with the files that may use them. main.bicep gives rights for these
// requests only. Only the quarantine inserts single rows, so that an alert of
// Azure Monitor can count them. state.go, counts.go, lows.go and told.go have a storage
// account of their own, where they may write and delete whatever they want and where nobody counts.
var requests = map[string]string{
	"GetEntity":                    "*",
	"NewListEntitiesPager":         "*",
	"SubmitTransaction":            "account.go", // of the two that follow
	"TransactionTypeAdd":           "transaction.go edit.go summary.go heard.go canaries.go suppressions.go tally.go proof.go raising.go counts.go lows.go told.go",
	"TransactionTypeUpdateMerge":   "transaction.go edit.go summary.go heard.go canaries.go suppressions.go tally.go proof.go lows.go",
	"TransactionTypeUpdateReplace": "raising.go counts.go lows.go told.go",   // the right to update is also the one to replace
	"AddEntity":                    "quarantine.go state.go",                 // counts as InsertEntity
	"UpdateEntity":                 "quarantine.go state.go",                 // by people
	"DeleteEntity":                 "quarantine.go state.go lows.go told.go", // by people
	"TransactionTypeInsertReplace": "state.go",
	"UpsertEntity":                 "",
	"TransactionTypeDelete":        "prune.go", // by people
	"TransactionTypeInsertMerge":   "",
}

// TestRequestsFitTheRights checks that handlers/table makes no other requests
// than the roles in main.bicep allow, and that in the account of the alerts only the
// quarantine deletes and inserts single rows. The alert about the quarantine counts
// these insertions.
func TestRequestsFitTheRights(t *testing.T) {
	made := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "handlers/*/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || filepath.Base(filepath.Dir(name)) == "bench" { // is not deployed
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			where, known := requests[selector.Sel.Name]
			if !known {
				return true
			}
			made[selector.Sel.Name] = true
			if where != "*" && (filepath.Base(filepath.Dir(name)) != "table" || !slices.Contains(strings.Fields(where), filepath.Base(name))) {
				t.Errorf("%s has %s, which is for %q: does a role in main.bicep have the right, and is it still true what its alert about the quarantine counts?", name, selector.Sel.Name, where)
			}
			return true
		})
	}
	for name, where := range requests {
		if where != "" && !made[name] {
			t.Errorf("nothing has %s: does a role in main.bicep have a right too many?", name)
		}
	}
}

func TestInfra(t *testing.T) {
	s, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range check(s) {
		t.Error(fault)
	}
}

// TestLocalSettings checks that the sample for func start has settings of the
// same names.
func TestLocalSettings(t *testing.T) {
	s, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	values, err := localSettings(root)
	if err != nil {
		t.Fatal(err)
	}
	for name := range values {
		// There is no stand-in for Event Hubs, so a function that needs it is switched off
		// (https://learn.microsoft.com/azure/azure-functions/disable-function#localsettingsjson).
		if function, ok := strings.CutSuffix(strings.TrimPrefix(name, "AzureWebJobs."), ".Disabled"); ok {
			if _, err := os.Stat(filepath.Join(root, "functions", function)); err != nil {
				t.Errorf("local.settings.sample.json: %v", err)
			}
			continue
		}
		if !s.code[name] && s.functions[name] == nil && !slices.Contains([]string{"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"}, name) {
			t.Errorf("local.settings.sample.json sets %s, which nothing reads", name)
		}
	}
	for _, name := range []string{"AlertsTable", "QuarantineTable", "SuppressionsTable"} {
		if want, _ := s.main.constant(s.settings()[name]); values[name] != want {
			t.Errorf("local.settings.sample.json sets %s to %q, and main.bicep to %q", name, values[name], want)
		}
	}
	if values["AlertsStorage"] != "UseDevelopmentStorage=true" || values["AzureWebJobsStorage"] != "UseDevelopmentStorage=true" || values["FUNCTIONS_WORKER_RUNTIME"] != "custom" {
		t.Errorf("local.settings.sample.json does not work with Azurite: %v", values)
	}
}

// TestPlantedErrors plants one mistake at a time into the templates, and expects
// a complaint about each.
func TestPlantedErrors(t *testing.T) {
	for _, test := range []struct {
		name, file, old, new string
		want                 string // part of a complaint
	}{
		{"the role Contributor", "infra/main.bicep", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "b24988ac-6180-42a0-ab88-20f7382dd24c", `clearQuarantine gives the role "Contributor"`},
		{"the app drops the alerts", "infra/main.bicep", "scope: stateAccount\n  name: guid(stateAccount.id, identity.id,", "scope: storage\n  name: guid(storage.id, identity.id,", "keepState"},
		{"alerts in the state", "infra/main.bicep", "resource alertsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {\n  parent: tables", "resource alertsTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {\n  parent: stateTables", "alertsTable"},
		{"the console deletes state", "infra/console.bicep", "roleAssignments@2022-04-01' = {\n  scope: stateAccount\n  name: guid(stateAccount.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)", "roleAssignments@2022-04-01' = {\n  scope: stateAccount\n  name: guid(stateAccount.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')", `readState gives the role`},
		{"the console reads another state", "infra/main.bicep", "stateStorageName: stateAccount.name", "stateStorageName: storage.name", "stateStorageName of console.bicep"},
		{"the console knows no state", "infra/console.bicep", "        { name: 'StateStorage__tableServiceUri', value: stateAccount.properties.primaryEndpoints.table }\n", "", "does not set StateStorage__tableServiceUri"},
		{"nobody hears of late verdicts", "infra/main.bicep", "      actionGroups: actionGroups\n", "      actionGroups: []\n", "who hears of verdictsLate"},
		{"late verdicts are not seen", "infra/main.bicep", "age < 600)", "age < 600000)", "verdictsLate: properties.criteria.allOf.0.query"},
		{"late verdicts are those in time", "infra/main.bicep", "where inTime == 0", "where inTime > 0", "verdictsLate: properties.criteria.allOf.0.query"},
		{"late verdicts of each line", "infra/main.bicep", "| summarize inTime = countif(age < 600) | where inTime == 0", "| where age >= 600", "verdictsLate: properties.criteria.allOf.0.query"},
		{"another line of the log", "infra/main.bicep", "message has \"oldestMarkSeconds\"", "message has \"oldestSeconds\"", "verdictsLate: properties.criteria.allOf.0.query"},
		{"late verdicts by their sum", "infra/main.bicep", "          timeAggregation: 'Count'\n          operator: 'GreaterThan'\n          threshold: 0\n          failingPeriods", "          timeAggregation: 'Total'\n          operator: 'GreaterThan'\n          threshold: 0\n          failingPeriods", "verdictsLate: properties.criteria.allOf.0.timeAggregation is Total"},
		{"late verdicts thrice", "infra/main.bicep", "          operator: 'GreaterThan'\n          threshold: 0\n          failingPeriods", "          operator: 'GreaterThan'\n          threshold: 2\n          failingPeriods", "verdictsLate: properties.criteria.allOf.0.threshold is 2"},
		{"no late verdicts", "infra/main.bicep", "          operator: 'GreaterThan'\n          threshold: 0\n          failingPeriods", "          operator: 'LessThan'\n          threshold: 0\n          failingPeriods", "verdictsLate: properties.criteria.allOf.0.operator is LessThan"},
		{"late verdicts of a whole day", "infra/main.bicep", "minFailingPeriodsToAlert: 1", "minFailingPeriodsToAlert: 6", "minFailingPeriodsToAlert is 6"},
		{"late verdicts of days", "infra/main.bicep", "windowSize: 'PT30M'", "windowSize: 'P2D'", "verdictsLate: properties.windowSize is P2D"},
		{"late verdicts are seen in a while", "infra/main.bicep", "evaluationFrequency: 'PT15M'", "evaluationFrequency: 'P1D'", "verdictsLate: properties.evaluationFrequency is P1D"},
		{"late verdicts are off", "infra/main.bicep", "    severity: 1\n    enabled: true\n    autoMitigate: true\n    scopes: [insights.id]", "    severity: 1\n    enabled: false\n    autoMitigate: true\n    scopes: [insights.id]", "verdictsLate: properties.enabled is false"},
		{"late verdicts of another app", "infra/main.bicep", "scopes: [insights.id]", "scopes: [workspace.id]", "what verdictsLate looks at"},
		{"the app deletes rows", "infra/main.bicep", "roleDefinitions', alertWriter.name)\n    principalId: identity", "roleDefinitions', roles.storageTableDataContributor)\n    principalId: identity", `writeAlerts gives the role "Storage Table Data Contributor"`},
		{"the app deletes what is quarantined", "infra/main.bicep", "roleDefinitions', quarantineWriter.name)", "roleDefinitions', roles.storageTableDataContributor)", `writeQuarantine gives the role "Storage Table Data Contributor"`},
		{"the app suppresses alerts itself", "infra/main.bicep", "scope: suppressionsTable\n  name: guid(suppressionsTable.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)", "scope: suppressionsTable\n  name: guid(suppressionsTable.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriter.name)", `obeySuppressions gives the role "alertWriter"`},
		{"readers suppress alerts", "infra/main.bicep", "[for responder in responders: {\n  scope: suppressionsTable", "[for responder in readers: {\n  scope: suppressionsTable", "who is given makeSuppressions is readers"},
		{"responders delete suppressions", "infra/main.bicep", "name: guid(suppressionsTable.id, responder, alertWriter.name)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriter.name)", "name: guid(suppressionsTable.id, responder, alertWriter.name)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)", `makeSuppressions gives the role "Storage Table Data Contributor"`},
		{"the app deletes its package", "infra/main.bicep", "roleDefinitions', packageKeeper.name)", "roleDefinitions', roles.storageBlobDataContributor)", `keepPackage gives the role "Storage Blob Data Contributor"`},
		{"the right to delete rows", "infra/main.bicep", "entities/update/action'\n", "entities/update/action'\n          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/delete'\n", "the role alertWriter has the dataActions"},
		{"the right to do anything with rows", "infra/main.bicep", "tables/entities/add/action'", "tables/entities/*'", "the role alertWriter has the dataActions"},
		{"the right to delete the package", "infra/main.bicep", "containers/blobs/write'", "containers/blobs/delete'", "the role packageKeeper has the dataActions"},
		{"the right to delete the container", "infra/main.bicep", "blobServices/containers/read'", "blobServices/containers/delete'", "the role packageKeeper has the actions"},
		{"all rights but some", "infra/main.bicep", "        dataActions: [", "        notDataActions: []\n        actions: ['*']\n        dataActions: [", "the role alertWriter has the actions"},
		{"a role for the whole subscription", "infra/main.bicep", "assignableScopes: [resourceGroup().id]", "assignableScopes: [subscription().id]", "scopes of the role alertWriter"},
		{"a role of somebody's own", "infra/main.bicep", "// Role assignments,", "resource other 'Microsoft.Authorization/roleDefinitions@2022-04-01' = { name: 'other', properties: { permissions: [{ actions: ['*'] }] } }\n//", "the role other has the permissions"},
		{"the host in the account of the alerts", "infra/main.bicep", "  scope: hostAccount\n", "  scope: storage\n", "scope of hostStorage is storage"},
		{"the host told of the account of the alerts", "infra/main.bicep", "value: hostAccount.properties.primaryEndpoints.blob", "value: storage.properties.primaryEndpoints.blob", "AzureWebJobsStorage__blobServiceUri is storage"},
		{"the package where the host is", "infra/main.bicep", "  parent: storage\n  name: 'default'\n  properties: {\n    isVersioningEnabled", "  parent: hostAccount\n  name: 'default'\n  properties: {\n    isVersioningEnabled", "parent of blobs is hostAccount"},
		{"no versions", "infra/main.bicep", "isVersioningEnabled: true", "isVersioningEnabled: false", "versions of blobs is false"},
		{"no soft delete", "infra/main.bicep", "    deleteRetentionPolicy: {\n      enabled: true", "    deleteRetentionPolicy: {\n      enabled: false", "deleteRetentionPolicy is {enabled: false"},
		{"no soft delete of containers", "infra/main.bicep", "containerDeleteRetentionPolicy: {\n      enabled: true\n      days: 30", "containerDeleteRetentionPolicy: {\n      enabled: true\n      days: 1", "containerDeleteRetentionPolicy is {enabled: true, days: 1}"},
		{"the app open to everybody", "infra/main.bicep", "ipSecurityRestrictionsDefaultAction: 'Deny'", "ipSecurityRestrictionsDefaultAction: 'Allow'", "ipSecurityRestrictionsDefaultAction is 'Allow'"},
		{"the app open to all of Azure", "infra/main.bicep", "'AzureEventGrid'", "'AzureCloud'", "ipSecurityRestrictions is"},
		{"the app open to one more", "infra/main.bicep", "          ipAddress: 'AzureEventGrid'\n        }\n", "          ipAddress: 'AzureEventGrid'\n        }\n        { name: 'me', priority: 200, action: 'Allow', ipAddress: '0.0.0.0/0' }\n", "ipSecurityRestrictions is"},
		{"publishing closed", "infra/main.bicep", "scmIpSecurityRestrictionsUseMain: false", "scmIpSecurityRestrictionsUseMain: true", "scmIpSecurityRestrictionsUseMain is true"},
		{"a password to publish with", "infra/main.bicep", "  name: 'scm'\n  properties: {\n    allow: false", "  name: 'scm'\n  properties: {\n    allow: true", "allow of publishingPassword is true"},
		{"a password for FTP", "infra/main.bicep", "  name: 'ftp'\n  properties: {\n    allow: false", "  name: 'ftp'\n  properties: {\n    allow: true", "allow of ftpPassword is true"},
		{"nothing about FTP", "infra/main.bicep", "  name: 'ftp'\n", "  name: 'scm'\n", "want one for scm and one for ftp"},
		{"a setting that Flex Consumption does not have", "infra/main.bicep", "      minTlsVersion: '1.2'\n", "      minTlsVersion: '1.2'\n      ftpsState: 'AllAllowed'\n", "ftpsState is 'AllAllowed'"},
		{"old TLS", "infra/main.bicep", "      minTlsVersion: '1.2'\n", "      minTlsVersion: '1.0'\n", "minTlsVersion is '1.0'"},
		{"old TLS to publish", "infra/main.bicep", "scmMinTlsVersion: '1.2'", "scmMinTlsVersion: '1.1'", "scmMinTlsVersion is '1.1'"},
		{"old TLS to the host's storage", "infra/main.bicep", "resource hostAccount", "resource oldAccount 'Microsoft.Storage/storageAccounts@2023-05-01' = { name: 'old', properties: { minimumTlsVersion: 'TLS1_0' } }\nresource hostAccount", "minimumTlsVersion of oldAccount is 'TLS1_0'"},
		{"no TLS", "infra/main.bicep", "httpsOnly: true", "httpsOnly: false", "httpsOnly is false"},
		{"a host name of the public cloud", "infra/main.bicep", "split(split(logsNamespace.properties.serviceBusEndpoint, '/')[2], ':')[0]", "'${logsNamespace.name}.servicebus.windows.net'", `the host name ".servicebus.windows.net"`},
		{"a suffix in a variable", "infra/subscriptions.bicep", "var retryPolicy", "var suffix = 'core.chinacloudapi.cn'\nvar retryPolicy", `suffix has the host name "core.chinacloudapi.cn"`},
		{"the storage by its name", "infra/main.bicep", "AzureWebJobsStorage__blobServiceUri', value: hostAccount.properties.primaryEndpoints.blob", "AzureWebJobsStorage__accountName', value: hostAccount.name", "does not set AzureWebJobsStorage__blobServiceUri"},
		{"nothing says that something is quarantined", "infra/main.bicep", "values: ['InsertEntity']", "values: ['MergeEntity']", "no alert for Microsoft.Storage/storageAccounts Transactions"},
		{"requests that fail count as quarantined", "infra/main.bicep", "values: ['Success']", "values: ['Success', 'ClientOtherError']", "no alert for Microsoft.Storage/storageAccounts Transactions"},
		{"refused deliveries unheard", "infra/main.bicep", "metric: 'DeliveryAttemptFailCount'", "metric: 'DeliverySuccessCount'", "no alert for Microsoft.EventGrid/systemTopics DeliveryAttemptFailCount"},
		{"refused connections unheard", "infra/main.bicep", "threshold: 5", "threshold: 1000000", "no alert for Microsoft.EventGrid/topics DeliveryAttemptFailCount"},
		{"refused deliveries of a minute", "infra/main.bicep", "threshold: 3\n    window: 'PT1H'", "threshold: 3\n    window: 'PT1M'", "no alert for Microsoft.EventGrid/systemTopics DeliveryAttemptFailCount"},
		{"every failure by itself", "infra/main.bicep", "threshold: failure.threshold", "threshold: 0", "failureAlerts compare"},
		{"every failure in one window", "infra/main.bicep", "windowSize: failure.window", "windowSize: 'PT15M'", "window of failureAlerts is 'PT15M'"},
		{"nobody hears of deletions", "infra/main.bicep", "    actions: {\n      actionGroups: [for group in actionGroups: {", "    actions: {\n      actionGroups: [for group in []: {", "who hears of silencerAlerts is []"},
		{"nobody hears of a hub's deletion", "infra/hub-alerts.bicep", "      actionGroups: [for group in actionGroups: {", "      actionGroups: [for group in []: {", "who hears of silencerAlerts is []"},
		{"deletions that failed", "infra/main.bicep", "equals: 'Succeeded'", "equals: 'Failed'", "status of silencerAlerts"},
		{"deletions in another log", "infra/main.bicep", "equals: 'Administrative'", "equals: 'ServiceHealth'", "category of silencerAlerts"},
		{"deletions are off", "infra/main.bicep", "    scopes: ownScopes\n    enabled: true", "    scopes: ownScopes\n    enabled: false", "enabled of the silencer deleted is false"},
		{"deletions of others", "infra/main.bicep", "    scopes: ownScopes\n    enabled: true", "    scopes: [subscription().id]\n    enabled: true", "scopes of the silencer deleted"},
		{"a part of hubwatch deleted unheard", "infra/main.bicep", "  connections.id\n  alertEvents.id\n", "  connections.id\n", "ownScopes is"},
		{"each deployment is told unasked", "infra/main.bicep", "param tellChanges bool = false", "param tellChanges bool = true", "tellChanges is true"},
		{"moves from other groups", "infra/main.bicep", "take(split(id, '/'), 5)", "take(split(id, '/'), 3)", "watchedGroups is"},
		{"a hub deleted unheard", "infra/hub-alerts.bicep", "    scopes: hubs\n    enabled: true", "    scopes: [hubs[0]]\n    enabled: true", "scopes of the silencer silenced is"},
		{"a hub's deletion is off", "infra/hub-alerts.bicep", "    scopes: hubs\n    enabled: true", "    scopes: hubs\n    enabled: false", "enabled of the silencer silenced is false"},
		{"a hub of another subscription moved unheard", "infra/main.bicep", "tellMoves: id != toLower(subscription().subscriptionId)", "tellMoves: false", "tellMoves of hubAlerts is false"},
		{"hubs of another subscription deleted unheard", "infra/main.bicep", "var hubSubscriptions = union([], map(iotHubs, id => toLower(split(id, '/')[2])))", "var hubSubscriptions = [toLower(subscription().subscriptionId)]", "hubSubscriptions is"},
		{"the first hub alone deleted heard", "infra/main.bicep", "    hubs: filter(iotHubs,", "    hubs: filter(take(iotHubs, 1),", "hubs of hubAlerts is"},
		{"a second alert on the activity log", "infra/main.bicep", "resource silencerAlerts ", "resource other 'Microsoft.Insights/activityLogAlerts@2020-10-01' = { name: 'other' }\nresource silencerAlerts ", "2 resources are alerts on the activity log"},
		{"dimensions left out", "infra/main.bicep", "dimensions: failure.dimensions", "dimensions: []", "dimensions of failureAlerts is []"},
		{"nobody hears of it", "infra/main.bicep", "actions: [for group in actionGroups: {", "actions: [for group in []: {", "who hears of failureAlerts is []"},
		{"somebody else hears of it", "infra/main.bicep", "      actionGroupId: group\n", "      actionGroupId: insights.id\n", "how they hear of failureAlerts"},
		{"responders who are readers", "infra/main.bicep", "[for responder in responders: {\n  scope: quarantineTable", "[for responder in readers: {\n  scope: quarantineTable", "who is given clearQuarantine is readers"},
		{"the role Owner beside", "infra/main.bicep", "var roles = {", "var roles = {\n  owner: '8e3af657-a8ff-443c-a75c-2fe8c4bcb635'", "Owner"},
		{"two roles exchanged", "infra/main.bicep", "roleDefinitions', roles.eventHubsDataReceiver)", "roleDefinitions', roles.eventGridDataSender)", "readLogs gives the role"},
		{"a role for all of the namespace", "infra/main.bicep", "scope: logs\n", "scope: logsNamespace\n", "scope of readLogs"},
		{"a role for the resource group", "infra/main.bicep", "  scope: alertsTable\n  name: guid(alertsTable.id, identity", "  name: guid(alertsTable.id, identity", "scope of writeAlerts is nothing"},
		{"a role gone", "infra/main.bicep", "resource writeQuarantine ", "resource writeQuarantin ", "writeQuarantine is missing"},
		{"shared keys on", "infra/main.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess of storage is true"},
		{"shared keys not mentioned", "infra/main.bicep", "allowSharedKeyAccess: false", "", "allowSharedKeyAccess of storage is nothing"},
		{"a key of the topic", "infra/main.bicep", "value: connections.properties.endpoint", "value: connections.listKeys().key1", "listKeys"},
		{"local auth of the topic", "infra/main.bicep", "inputSchema: 'CloudEventSchemaV1_0'\n    disableLocalAuth: true", "inputSchema: 'CloudEventSchemaV1_0'\n    disableLocalAuth: false", "disableLocalAuth of connections"},
		{"a setting removed", "infra/main.bicep", "{ name: 'AlertsStorage__tableServiceUri', value: storage.properties.primaryEndpoints.table }", "", "does not set AlertsStorage__tableServiceUri"},
		{"a setting that nothing reads", "infra/main.bicep", "'InferredAlerts', value", "'InferedAlerts', value", "sets InferedAlerts, which nothing reads"},
		{"a connection renamed in a function", "functions/RelayResourceLogs/function.json", `"HubLogs"`, `"ResourceLogs"`, "ResourceLogs__fullyQualifiedNamespace"},
		{"a connection string", "infra/main.bicep", "{ name: 'AlertsTable'", "{ name: 'AlertsStorage', value: 'x' }\n{ name: 'AlertsTable'", "for Azurite only"},
		{"a table renamed", "infra/main.bicep", "name: 'alerts'\n", "name: 'alert'\n", `AlertsTable is "alert"`},
		{"a table too many", "infra/main.bicep", "resource workspace ", "resource other 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = { parent: tables, name: 'other' }\nresource workspace ", "table other"},
		{"a filter edited by hand", "infra/subscriptions.json", "Microsoft.Devices/IotHubs/certificates/delete", "Microsoft.Devices/iotHubs/certificates/*", "has the filter"},
		{"a detector forgotten", "infra/subscriptions.json", `"name": "DeviceTokenExpired"`, `"name": "DeviceTokenExpird"`, "has no DeviceTokenExpired"},
		{"a source that is not deployed", "infra/subscriptions.json", `"source": "connections"`, `"source": "devices"`, "devices"},
		{"a filter in the template", "infra/subscriptions.bicep", "filter: s.filter", "filter: {}", "filter is {}"},
		{"changes of everything in the subscription", "infra/subscriptions.bicep", "s.own ? union(s.filter, { subjectBeginsWith: '${resourceGroup().id}/' }) : s.filter", "s.filter", "changes: filter is s.filter"},
		{"changes of a neighbour", "infra/subscriptions.bicep", "${resourceGroup().id}/'", "${resourceGroup().id}'", "changes: filter is"},
		{"hubwatch itself forgotten", "infra/subscriptions.json", `"own": true`, `"own": false`, "is about hubwatch itself: false"},
		{"no hub is expected", "infra/main.bicep", "join(map(iotHubs, id => last(split(id, '/'))), ',')", "''", "ExpectedHubs is"},
		{"a part of hubwatch forgotten", "infra/main.bicep", "${stateAccount.name},", "", "OwnResources is"},
		{"a loop over half of them", "infra/subscriptions.bicep", "each.source == 'connections'", "each.name == 'DeviceTokenExpired'", "the list"},
		{"another schema", "infra/subscriptions.bicep", "'CloudEventSchemaV1_0'", "'EventGridSchema'", "schema"},
		{"dead letters nowhere", "infra/main.bicep", "name: 'deadletter'", "name: 'dead-letters'", `main.bicep makes "dead-letters"`},
		{"a category too many", "infra/main.bicep", "param logCategories array = ['Connections']", "param logCategories array = ['Connections', 'DeviceTelemetry']", "DeviceTelemetry is sent: true"},
		{"the category off", "infra/hub.bicep", "enabled: true", "enabled: false", "what is sent of a category"},
		{"another category", "infra/main.bicep", "['Connections']", "['Routes']", "Connections is sent: false"},
		{"a category that does not exist", "infra/main.bicep", "['Connections']", "['Connections', 'Gossip']", `logCategories has "Gossip"`},
		{"a category whatever is asked", "infra/hub.bicep", "category: category", "category: 'Connections'", "what is sent of a category"},
		{"categories that nobody asked for", "infra/main.bicep", "logCategories: logCategories", "logCategories: ['Connections', 'Routes']", "main.bicep: logCategories is"},
		{"a second topic of a hub", "infra/hub.bicep", "needsTopic && empty(topicName)", "needsTopic", "when there is a topic is needsTopic"},
		{"a topic of each hub", "infra/hub.bicep", "each.source == 'hub'", "each.source != ''", "needsTopic is not whether"},
		{"a topic of something else", "infra/hub.bicep", "'Microsoft.Devices.IoTHubs'", "'Microsoft.Storage.StorageAccounts'", "type of the topic"},
		{"a topic called otherwise", "infra/subscriptions.bicep", "?? '${name}-${last", "?? '${name}-hub-${last", "subscriptions.bicep: topicName"},
		{"dropped events of a hub unheard", "infra/hub.bicep", "'DroppedEventCount'", "'MatchedEventCount'", "the alert compares"},
		{"a hub's filter in the template", "infra/hub-subscriptions.bicep", "filter: s.filter", "filter: {}", "filter is {}"},
		{"events of a hub given up early", "infra/hub-subscriptions.bicep", "maxDeliveryAttempts: 30", "maxDeliveryAttempts: 3", "retryPolicy is not the longest"},
		{"events of a hub for another app", "infra/hub-subscriptions.bicep", "'${appId}/functions/", "'${topic.id}/functions/", "hub-subscriptions.bicep: devices: function"},
		{"a role for the topic of a hub", "infra/hub.bicep", "resource dropped ", "resource r 'Microsoft.Authorization/roleAssignments@2022-04-01' = { name: 'x' }\nresource dropped ", "roles are given or defined in"},
		{"the storage account called otherwise", "infra/subscriptions.bicep", "'hubwatch${uniqueString(resourceGroup().id, name)}'", "'hubwatch${uniqueString(name)}'", "do not agree on storageName"},
		{"a dependency missing", "infra/main.bicep", "  dependsOn: [hostStorage, keepPackage, endpoints]\n", "", "app does not depend on hostStorage"},
		{"another dependency missing", "infra/main.bicep", "  dependsOn: [hostStorage, keepPackage, endpoints]\n", "  dependsOn: [hostStorage, endpoints]\n", "app does not depend on keepPackage"},
		{"the container in words", "infra/main.bicep", "blob}${packages.name}'", "blob}app-package'", "app does not depend on packages"},
		{"the event hub in words", "infra/main.bicep", "eventHubName: logs.name", "eventHubName: 'connections'", "hubs does not depend on logs"},
		{"another runtime", "infra/main.bicep", "name: 'custom'", "name: 'go'", "runtime is 'go'"},
		{"a console that nobody wants", "infra/main.bicep", "param consoleClientId string = ''", "param consoleClientId string = 'x'", "without being asked is 'x'"},
		{"a console that may change alerts unasked", "infra/main.bicep", "param consoleChanges bool = false", "param consoleChanges bool = true", "who may change alerts there without being asked is true"},
		{"a console without a sign-in", "infra/console.bicep", "requireAuthentication: true", "requireAuthentication: false", "requireAuthentication is false"},
		{"a console that lets strangers pass", "infra/console.bicep", "'RedirectToLoginPage'", "'AllowAnonymous'", "unauthenticatedClientAction is 'AllowAnonymous'"},
		{"a console with a back door", "infra/console.bicep", "      redirectToProvider", "      excludedPaths: ['/api/console']\n      redirectToProvider", "excludedPaths is"},
		{"a console for every tenant", "infra/console.bicep", "${tenant().tenantId}", "common", "issuer is"},
		{"tokens for other applications", "infra/console.bicep", "allowedAudiences: [clientId]", "allowedAudiences: []", "allowedAudiences is []"},
		{"a console with a secret", "infra/console.bicep", "clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'", "clientSecretSettingName: 'Secret'", "clientSecretSettingName is 'Secret'"},
		{"a console that sees no token", "infra/console.bicep", "tokenStore: {\n        enabled: true", "tokenStore: {\n        enabled: false", "login.tokenStore.enabled is false"},
		{"a console that always changes alerts", "infra/console.bicep", "resource changeAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (changes) {", "resource changeAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {", "changeAlerts is given if"},
		{"a console that clears the quarantine", "infra/console.bicep", "scope: quarantineTable\n  name: guid(quarantineTable.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataReader)", "scope: quarantineTable\n  name: guid(quarantineTable.id, identity.id, roles.storageTableDataReader)\n  properties: {\n    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', alertWriterName)", "readQuarantine gives the role alertWriterName"},
		{"alerts for Sentinel unasked", "infra/main.bicep", "param sentinelWorkspace string = ''", "param sentinelWorkspace string = 'x'", "without being asked, sentinelWorkspace is 'x'"},
		{"a Sentinel that is always there", "infra/main.bicep", "'sentinel.bicep' = if (!empty(sentinelWorkspace)) {", "'sentinel.bicep' = {", "uses sentinel.bicep always"},
		{"a Sentinel in the group of hubwatch", "infra/main.bicep", "resourceGroup(split(sentinelWorkspace, '/')[?2] ?? subscription().subscriptionId, split(sentinelWorkspace, '/')[?4] ?? resourceGroup().name)", "resourceGroup()", "scope of sentinel is resourceGroup()"},
		{"a right for somebody else", "infra/main.bicep", "    principalId: identity.properties.principalId\n    incidents", "    principalId: identity.properties.clientId\n    incidents", "principalId of sentinel.bicep is identity.properties.clientId"},
		{"a Sentinel that the app is not told of", "infra/main.bicep", "empty(sentinelWorkspace) ? sentinelRuleId : sentinel!.outputs.ruleId", "sentinelRuleId", "Sentinel__ruleId is sentinelRuleId"},
		{"an endpoint for an id", "infra/main.bicep", "sentinel!.outputs.ruleId", "sentinel!.outputs.endpoint", "Sentinel__ruleId is ?(empty(sentinelWorkspace)"},
		{"the id of the rule for its immutable id", "infra/sentinel.bicep", "string = ingestion.properties.immutableId", "string = ingestion.id", "the output ruleId is ingestion.id"},
		{"a Sentinel without tags", "infra/sentinel.bicep", "  tags: tags\n", "", "sentinel.bicep: tags of ingestion is nothing"},
		{"an app without its storage", "infra/main.bicep", "keepPackage, endpoints]", "keepPackage]", "app does not depend on endpoints"},
		{"a network unasked", "infra/main.bicep", "param endpointSubnet string = ''", "param endpointSubnet string = 'x'", "without being asked, endpointSubnet is 'x'"},
		{"closed to an app without a network", "infra/main.bicep", "var closed = !empty(appSubnet) && !empty(endpointSubnet)", "var closed = !empty(endpointSubnet)", "closed is !(empty(endpointSubnet))"},
		{"dead letters that cannot be written", "infra/main.bicep", "bypass: 'AzureServices'", "bypass: 'None'", "storageNetwork is"},
		{"an account that stays open", "infra/main.bicep", "    networkAcls: storageNetwork\n", "", "networkAcls of storage is nothing"},
		{"a topic that stays open", "infra/main.bicep", "    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'\n  }\n}\n\n// The way of alerts: the app", "    publicNetworkAccess: 'Enabled'\n  }\n}\n\n// The way of alerts: the app", "publicNetworkAccess of connections is 'Enabled'"},
		{"logs that cannot be written", "infra/main.bicep", "trustedServiceAccessEnabled: true", "trustedServiceAccessEnabled: false", "logsNetwork is"},
		{"an app outside of the network", "infra/main.bicep", "    virtualNetworkSubnetId: empty(appSubnet) ? null : appSubnet\n", "", "subnet of the app is nothing"},
		{"a console outside of the network", "infra/main.bicep", "subnetId: appSubnet", "subnetId: ''", "subnet of the console is ''"},
		{"tables without an endpoint", "infra/main.bicep", "  { name: 'state', id: stateAccount.id, kind: 'table' }\n", "", "the table of stateAccount has no private endpoint"},
		{"an endpoint for nothing", "infra/main.bicep", "id: hostAccount.id, kind: 'blob'", "id: hostAccount.id, kind: 'queue'", "is for the queue of hostAccount.id"},
		{"two endpoints of one name", "infra/main.bicep", "{ name: 'state', id", "{ name: 'table', id", "two private endpoints are called table"},
		{"an endpoint for another resource", "infra/endpoints.bicep", "privateLinkServiceId: target.id", "privateLinkServiceId: subnetId", "what is reached is"},
		{"a record that nobody wants", "infra/endpoints.bicep", "if (contains(dnsZones, target.kind))", "if (true)", "when it is registered is true"},
		{"an endpoint without tags", "infra/endpoints.bicep", "  tags: tags\n", "", "endpoints.bicep: tags of endpoints is nothing"},
		{"a console with the identity of the detectors", "infra/console.bicep", "name: 'AlertsStorage__clientId', value: identity.properties.clientId", "name: 'AlertsStorage__clientId', value: other.properties.clientId", "AlertsStorage__clientId is other"},
		{"a console with the host's storage of the detectors", "infra/console.bicep", "  scope: account\n", "  scope: storage\n", "scope of hostStorage is storage"},
		{"a console with a password", "infra/console.bicep", "    allow: false", "    allow: true", "allow of publishingPassword is true"},
		{"a console without TLS", "infra/console.bicep", "httpsOnly: true", "httpsOnly: false", "console.bicep: httpsOnly is false"},
		{"a console of other tables", "infra/console.bicep", "name: 'alerts'", "name: 'alert'", "alertsTable is \"alert\""},
		{"a console with a host name", "infra/console.bicep", "environment().authentication.loginEndpoint}", "'login.microsoftonline.com'}", "host name"},
		{"a resource without tags", "infra/main.bicep", "  name: name\n  location: location\n  tags: tags\n", "  name: name\n  location: location\n", "main.bicep: tags of identity is nothing"},
		{"a module without tags", "infra/main.bicep", "    tags: tags\n    topicName", "    tags: {}\n    topicName", "tags of hubs is {}"},
		{"a console in one zone", "infra/console.bicep", "name: storageSku", "name: 'Standard_LRS'", "console.bicep: redundancy of account"},
		{"the app prunes alerts", "infra/main.bicep", "  name: guid(alertsTable.id, pruner, alertPruner.name)", "  name: guid(alertsTable.id, identity.id, alertPruner.name)", "name of pruneAlerts"},
		{"responders who prune", "infra/main.bicep", "[for pruner in pruners: {", "[for pruner in responders: {", "who is given pruneAlerts is responders"},
		{"pruners by themselves", "infra/main.bicep", "param pruners array = []", "param pruners array = ['00000000-0000-0000-0000-0000000000a0']", "pruners is"},
		{"pruners who change alerts", "infra/main.bicep", "entities/delete'\n", "entities/delete'\n          'Microsoft.Storage/storageAccounts/tableServices/tables/entities/update/action'\n", "the role alertPruner has the dataActions"},
		{"a parameter of the subscriptions left out", "infra/main.bicep", "  hubTopicNames: { value: hubTopicNames }\n", "", "the output subscriptions is"},
		{"an alert gone", "infra/main.bicep", "metric: 'DeadLetteredCount'", "metric: 'PublishFailCount'", "no alert for Microsoft.EventGrid/topics DeadLetteredCount"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, part := range []string{"infra", "functions"} {
				if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
					t.Fatal(err)
				}
			}
			plant(t, filepath.Join(dir, test.file), test.old, test.new)
			s, err := read(dir)
			if err != nil {
				t.Fatal(err)
			}
			found := check(s)
			if !slices.ContainsFunc(found, func(fault string) bool { return strings.Contains(fault, test.want) }) {
				t.Errorf("want a complaint with %q, have %q", test.want, found)
			}
		})
	}
}

// plant changes the first old in a file to new.
func plant(t *testing.T, path, old, new string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.Replace(string(before), old, new, 1)
	if after == string(before) {
		t.Fatalf("%s has no %q to change", path, old)
	}
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		t.Fatal(err)
	}
}
