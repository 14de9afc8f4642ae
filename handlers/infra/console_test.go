package infra

import (
	"maps"
	"slices"
	"strings"

	"hubwatch/handlers/app"
)

// consoleGrants are the role assignments of console.bicep. The console reads tables. It
// changes alerts and suppressions only where that is wanted.
var consoleGrants = map[string]struct {
	grant
	condition string
}{
	"hostStorage":      {grant{"Storage Blob Data Owner", "account", "identity.properties.principalId"}, ""},
	"readAlerts":       {grant{"Storage Table Data Reader", "alertsTable", "identity.properties.principalId"}, ""},
	"readQuarantine":   {grant{"Storage Table Data Reader", "quarantineTable", "identity.properties.principalId"}, ""},
	"readSuppressions": {grant{"Storage Table Data Reader", "suppressionsTable", "identity.properties.principalId"}, ""},
	"readState":        {grant{"Storage Table Data Reader", "stateAccount", "identity.properties.principalId"}, ""},
	"writeTelemetry":   {grant{"Monitoring Metrics Publisher", "insights", "identity.properties.principalId"}, ""},
	"changeAlerts":     {grant{"alertWriterName", "alertsTable", "identity.properties.principalId"}, "changes"},
	"makeSuppressions": {grant{"alertWriterName", "suppressionsTable", "identity.properties.principalId"}, "changes"},
}

// consoleSettings are the settings of the console's app, beside hostSettings.
var consoleSettings = map[string]string{
	"AlertsStorage__tableServiceUri":            "storage.properties.primaryEndpoints.table",
	"AlertsStorage__credential":                 "'managedidentity'",
	"AlertsStorage__clientId":                   "identity.properties.clientId",
	"AlertsTable":                               "alertsTable.name",
	"QuarantineTable":                           "quarantineTable.name",
	"SuppressionsTable":                         "suppressionsTable.name",
	"StateStorage__tableServiceUri":             "stateAccount.properties.primaryEndpoints.table",
	"ConsoleIssuer":                             "issuer",
	"ConsoleClientId":                           "clientId",
	"ConsoleChanges":                            "toLower(string(changes))",
	"AzureWebJobsDisableHomepage":               "'true'",
	"OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID":    "identity.properties.clientId",
	"AzureWebJobsStorage__blobServiceUri":       "account.properties.primaryEndpoints.blob",
	"AzureWebJobsStorage__credential":           "'managedidentity'",
	"AzureWebJobsStorage__clientId":             "identity.properties.clientId",
	"APPLICATIONINSIGHTS_CONNECTION_STRING":     "insights.properties.ConnectionString",
	"APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "'ClientId=, identity.properties.clientId, ;Authorization=AAD'",
}

// signIn is what App Service Authentication is told: nobody comes in without a sign-in,
// and there is no secret
// (https://learn.microsoft.com/azure/templates/microsoft.web/sites/config-authsettingsv2).
var signIn = map[string]string{
	"platform.enabled":                                                            "true",
	"globalValidation.requireAuthentication":                                      "true",
	"globalValidation.unauthenticatedClientAction":                                "'RedirectToLoginPage'",
	"globalValidation.redirectToProvider":                                         "'azureactivedirectory'",
	"globalValidation.excludedPaths":                                              "nothing",
	"httpSettings.requireHttps":                                                   "true",
	"identityProviders.azureActiveDirectory.enabled":                              "true",
	"identityProviders.azureActiveDirectory.registration.openIdIssuer":            "issuer",
	"identityProviders.azureActiveDirectory.registration.clientId":                "clientId",
	"identityProviders.azureActiveDirectory.registration.clientSecretSettingName": "'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'",
	"identityProviders.azureActiveDirectory.validation.allowedAudiences":          "[clientId]",
	"login.tokenStore.enabled":                                                    "true", // without it the app never sees a token
}

// checkConsole compares console.bicep with the code of the console's app.
func (s site) checkConsole(f *faults) {
	t := s.console
	for _, d := range t.of("resource", "Microsoft.Authorization/roleAssignments") {
		want, ok := consoleGrants[d.name]
		if !ok {
			f.add("console.bicep: %s gives a role that nobody is known to need", d.name)
			continue
		}
		id := d.value.get("properties", "roleDefinitionId").parts[1]
		have := id.String()
		if value, ok := t.constant(id); ok {
			have = roleNames[value]
		}
		if have != want.role {
			f.add("console.bicep: %s gives the role %s, want %s", d.name, have, want.role)
		}
		condition := ""
		if d.value.kind == conditional {
			condition = d.value.parts[0].String()
		}
		if condition != want.condition {
			f.add("console.bicep: %s is given if %q, want %q", d.name, condition, want.condition)
		}
		f.same("console.bicep: scope of "+d.name, d.value.get("scope"), want.scope)
		f.same("console.bicep: principal of "+d.name, d.value.get("properties", "principalId"), want.principal)
	}
	if n := len(t.of("resource", "Microsoft.Authorization/roleAssignments")); n != len(consoleGrants) {
		f.add("console.bicep gives %d roles, want %d", n, len(consoleGrants))
	}
	if n := len(t.of("resource", "Microsoft.Authorization/roleDefinitions")); n > 0 {
		f.add("console.bicep defines %d roles, want them in main.bicep", n)
	}
	s.checkConsoleApp(f)
	s.checkConsoleModule(f)
}

// checkConsoleApp checks the function app of the console: its doors and its settings.
func (s site) checkConsoleApp(f *faults) {
	t := s.console
	account := t.named("account").value.get("properties")
	for name, want := range map[string]string{"allowSharedKeyAccess": "false", "allowBlobPublicAccess": "false", "minimumTlsVersion": "'TLS1_2'", "supportsHttpsTrafficOnly": "true"} {
		f.same("console.bicep: "+name, account.get(name), want)
	}
	f.same("console.bicep: DisableLocalAuth", t.named("insights").value.get("properties", "DisableLocalAuth"), "true")
	site := t.named("app").value.get("properties")
	f.same("console.bicep: httpsOnly", site.get("httpsOnly"), "true")
	f.same("console.bicep: minTlsVersion", site.get("siteConfig", "minTlsVersion"), "'1.2'")
	f.same("console.bicep: scmMinTlsVersion", site.get("siteConfig", "scmMinTlsVersion"), "'1.2'")
	f.same("console.bicep: runtime", site.get("functionAppConfig", "runtime", "name"), "'custom'")
	f.same("console.bicep: where the package is", site.get("functionAppConfig", "deployment", "storage", "value"), "'account.properties.primaryEndpoints.blob, packages.name'")
	passwords := 0
	for _, d := range t.of("resource", "Microsoft.Web/sites/basicPublishingCredentialsPolicies") {
		passwords++
		f.same("console.bicep: allow of "+d.name, d.value.get("properties", "allow"), "false")
	}
	if passwords != 2 {
		f.add("console.bicep has %d policies for passwords, want one for scm and one for ftp", passwords)
	}
	settings := map[string]bool{}
	for _, entry := range site.get("siteConfig", "appSettings").parts {
		name, _ := t.constant(entry.get("name"))
		settings[name] = true
		if want, ok := consoleSettings[name]; ok {
			f.same("console.bicep: "+name, entry.get("value"), want)
		} else {
			f.add("console.bicep sets %s, which nothing reads", name)
		}
	}
	for name := range consoleSettings {
		if !settings[name] {
			f.add("console.bicep does not set %s", name)
		}
	}
	for _, setting := range app.ConsoleSettings {
		if !settings[setting.Name] {
			f.add("console.bicep does not set %s, which handlers/app reads", setting.Name)
		}
	}
	d := t.named("signIn")
	f.same("console.bicep: parent of signIn", d.value.get("parent"), "app")
	f.same("console.bicep: name of signIn", d.value.get("name"), "'authsettingsV2'")
	for _, path := range slices.Sorted(maps.Keys(signIn)) {
		f.same("console.bicep: "+path, d.value.get(append([]string{"properties"}, strings.Split(path, ".")...)...), signIn[path])
	}
	f.same("console.bicep: issuer", t.named("issuer").value, "'environment().authentication.loginEndpoint, tenant().tenantId, /v2.0'")
}

// checkConsoleModule checks that main.bicep makes the console only if it is wanted, and
// gives it all that it needs.
func (s site) checkConsoleModule(f *faults) {
	module := s.main.named("console")
	if module == nil || module.value.kind != conditional {
		f.add("main.bicep makes the console always, or never")
		return
	}
	f.same("main.bicep: when there is a console", module.value.parts[0], "!(empty(consoleClientId))")
	f.same("main.bicep: without being asked", s.main.named("consoleClientId").value, "''")
	f.same("main.bicep: who may change alerts there without being asked", s.main.named("consoleChanges").value, "false")
	for _, parameter := range s.console.of("param") {
		if module.value.get("params", parameter.name) == nil {
			f.add("main.bicep does not give %s to console.bicep", parameter.name)
		}
	}
	f.same("main.bicep: stateStorageName of console.bicep", module.value.get("params", "stateStorageName"), "stateAccount.name")
	f.same("console.bicep: name of stateAccount", s.console.named("stateAccount").value.get("name"), "stateStorageName")
	for _, table := range []string{"alertsTable", "quarantineTable", "suppressionsTable"} {
		have, _ := s.console.constant(s.console.named(table).value.get("name"))
		if want, _ := s.main.constant(s.main.named(table).value.get("name")); have != want {
			f.add("console.bicep: %s is %q, and in main.bicep %q", table, have, want)
		}
		if !s.main.needs(module.value)[table] {
			f.add("main.bicep: console does not depend on %s", table)
		}
	}
}
