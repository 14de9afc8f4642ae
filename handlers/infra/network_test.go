package infra

import (
	"slices"
	"strings"
)

// subResources are the parts of the resources of main.bicep that the app reaches, by the symbols of
// the resources. Each has a private endpoint of its own
// (https://learn.microsoft.com/azure/private-link/private-endpoint-overview#private-link-resource).
var subResources = map[string][]string{
	"storage":       {"blob", "table"}, // the package, and the tables
	"stateAccount":  {"table"},
	"hostAccount":   {"blob"},
	"logsNamespace": {"namespace"},
	"connections":   {"topic"},
	"alertEvents":   {"topic"},
}

// networked are the types of the resources that can be closed.
var networked = []string{"Microsoft.Storage/storageAccounts", "Microsoft.EventHub/namespaces", "Microsoft.EventGrid/topics"}

// checkNetwork checks that nothing is closed unless somebody wants that, and that what is closed
// can be reached by the app and by the services of Azure that write to it.
func (s site) checkNetwork(f *faults) {
	const access = "?(closed, 'Disabled', 'Enabled')"
	for parameter, want := range map[string]string{"appSubnet": "''", "endpointSubnet": "''", "dnsZones": "{}", "allowedAddresses": "[]"} {
		f.same("main.bicep: without being asked, "+parameter, s.main.named(parameter).value, want)
	}
	f.same("main.bicep: closed", s.main.named("closed").value, "&&(!(empty(appSubnet)), !(empty(endpointSubnet)))")
	f.same("main.bicep: storageNetwork", s.main.named("storageNetwork").value,
		"{defaultAction: ?(closed, 'Deny', 'Allow'), bypass: 'AzureServices', ipRules: map(allowedAddresses, ({value: address, action: 'Allow'}))}")
	for _, d := range s.main.of("resource", networked...) {
		if d.kind() == "Microsoft.Storage/storageAccounts" {
			f.same("main.bicep: networkAcls of "+d.name, d.value.get("properties", "networkAcls"), "storageNetwork")
		} else {
			f.same("main.bicep: publicNetworkAccess of "+d.name, d.value.get("properties", "publicNetworkAccess"), access)
		}
	}
	rules := s.main.named("logsNetwork").value
	f.same("main.bicep: parent of logsNetwork", rules.get("parent"), "logsNamespace")
	f.same("main.bicep: logsNetwork", rules.get("properties"), "{publicNetworkAccess: "+access+", defaultAction: ?(closed, 'Deny', 'Allow'), trustedServiceAccessEnabled: true}")
	f.same("main.bicep: subnet of the app", s.main.named("app").value.get("properties", "virtualNetworkSubnetId"), "?(empty(appSubnet), null, appSubnet)")
	f.same("console.bicep: subnet of the console", s.console.named("app").value.get("properties", "virtualNetworkSubnetId"), "?(empty(subnetId), null, subnetId)")
	f.same("main.bicep: subnet of the console", s.main.named("console").value.get("params", "subnetId"), "appSubnet")
	s.checkEndpoints(f)
}

// checkEndpoints checks that each resource that can be closed has private endpoints, if somebody
// wants them.
func (s site) checkEndpoints(f *faults) {
	module := s.main.named("endpoints")
	if module == nil || module.is != "endpoints.bicep" || module.value.kind != conditional {
		f.add("main.bicep makes private endpoints always, or never")
		return
	}
	f.same("main.bicep: when there are private endpoints", module.value.parts[0], "!(empty(endpointSubnet))")
	given := module.value.get("params")
	for _, parameter := range s.endpoints.of("param") {
		if given.get(parameter.name) == nil {
			f.add("main.bicep does not give %s to endpoints.bicep", parameter.name)
		}
	}
	f.same("main.bicep: subnetId of endpoints.bicep", given.get("subnetId"), "endpointSubnet")
	f.same("main.bicep: dnsZones of endpoints.bicep", given.get("dnsZones"), "dnsZones")
	f.same("main.bicep: targets of endpoints.bicep", given.get("targets"), "targets")
	reached, names := map[string][]string{}, map[string]bool{}
	for _, target := range s.main.named("targets").value.parts {
		name, _ := s.main.constant(target.get("name"))
		if names[name] {
			f.add("main.bicep: two private endpoints are called %s", name)
		}
		names[name] = true
		symbol, ok := strings.CutSuffix(target.get("id").String(), ".id")
		kind, _ := s.main.constant(target.get("kind"))
		if !ok || !slices.Contains(subResources[symbol], kind) {
			f.add("main.bicep: the private endpoint %s is for the %s of %s: say in subResources of this test what the app does with it", name, kind, target.get("id"))
		}
		reached[symbol] = append(reached[symbol], kind)
	}
	for _, d := range s.main.of("resource", networked...) {
		if subResources[d.name] == nil {
			f.add("main.bicep: say in subResources of this test what the app reaches of %s", d.name)
		}
		for _, kind := range subResources[d.name] {
			if !slices.Contains(reached[d.name], kind) {
				f.add("main.bicep: the %s of %s has no private endpoint, and may be closed", kind, d.name)
			}
		}
	}
	t := s.endpoints
	endpoint, record := t.named("endpoints").value, t.named("records").value
	f.same("endpoints.bicep: what endpoints are made for", endpoint.parts[0], "targets")
	f.same("endpoints.bicep: name", endpoint.get("name"), "'name, -, target.name'")
	f.same("endpoints.bicep: subnet", endpoint.get("properties", "subnet"), "{id: subnetId}")
	f.same("endpoints.bicep: what is reached", endpoint.get("properties", "privateLinkServiceConnections"),
		"[{name: target.name, properties: {privateLinkServiceId: target.id, groupIds: [target.kind]}}]")
	f.same("endpoints.bicep: what is registered", record.parts[0], "targets")
	f.same("endpoints.bicep: when it is registered", record.parts[1].parts[0], "contains(dnsZones, target.kind)")
	f.same("endpoints.bicep: parent of a record", record.get("parent"), "endpoints[i]")
	f.same("endpoints.bicep: zones of a record", record.get("properties", "privateDnsZoneConfigs"),
		"[{name: target.kind, properties: {privateDnsZoneId: ??(dnsZones[target.kind], '')}}]")
}
