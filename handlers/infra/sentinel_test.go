package infra

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/notify"
)

// sentinel is what there is for Microsoft Sentinel.
type sentinel struct {
	template          template // infra/sentinel.bicep
	alerts, incidents string   // in KQL
}

// readSentinel reads the repository in a folder.
func readSentinel(root string) (s sentinel, err error) {
	templates, err := readTemplates(filepath.Join(root, "infra"))
	if err != nil {
		return s, err
	}
	s.template = templates["sentinel.bicep"]
	for name, text := range map[string]*string{"alerts.kql": &s.alerts, "incidents.kql": &s.incidents} {
		data, err := os.ReadFile(filepath.Join(root, "docs/sentinel", name))
		if err != nil {
			return s, err
		}
		*text = string(data)
	}
	return s, nil
}

// checkSentinel checks that main.bicep sends alerts to Microsoft Sentinel only if somebody
// wants that, and that the app is told what sentinel.bicep has made.
func (s site) checkSentinel(f *faults) {
	module := s.main.named("sentinel")
	if module == nil || module.is != "sentinel.bicep" || module.value.kind != conditional {
		f.add("main.bicep uses sentinel.bicep always, or never")
		return
	}
	f.same("main.bicep: when there is a sentinel", module.value.parts[0], "!(empty(sentinelWorkspace))")
	for _, parameter := range []string{"sentinelWorkspace", "sentinelEndpoint", "sentinelRuleId"} {
		f.same("main.bicep: without being asked, "+parameter, s.main.named(parameter).value, "''")
	}
	f.same("main.bicep: scope of sentinel", module.value.get("scope"),
		"resourceGroup(??(split(sentinelWorkspace, '/')[2], subscription().subscriptionId), ??(split(sentinelWorkspace, '/')[4], resourceGroup().name))")
	given := map[string]string{
		"workspaceName": "last(split(sentinelWorkspace, '/'))", "location": "sentinelLocation",
		"principalId": "identity.properties.principalId", "incidents": "sentinelIncidents", "tags": "tags",
	}
	for _, parameter := range s.sentinel.of("param") {
		if given[parameter.name] == "" {
			f.add("sentinel.bicep: say in this test what main.bicep gives for %s", parameter.name)
		}
	}
	for parameter, want := range given {
		f.same("main.bicep: "+parameter+" of sentinel.bicep", module.value.get("params", parameter), want)
	}
	for setting, of := range map[string]struct{ parameter, output, value string }{
		notify.SettingSentinelEndpoint: {"sentinelEndpoint", "endpoint", "ingestion.properties.endpoints.logsIngestion"},
		notify.SettingSentinelRule:     {"sentinelRuleId", "ruleId", "ingestion.properties.immutableId"},
	} {
		f.same("main.bicep: "+setting, s.settings()[setting], fmt.Sprintf("?(empty(sentinelWorkspace), %s, sentinel.outputs.%s)", of.parameter, of.output))
		outputs := s.sentinel.of("output")
		if i := slices.IndexFunc(outputs, func(d declaration) bool { return d.name == of.output }); i < 0 {
			f.add("sentinel.bicep has no output %s", of.output)
		} else {
			f.same("sentinel.bicep: the output "+of.output, outputs[i].value, of.value)
		}
	}
}

// sentinelColumns returns the columns of a row with their types, in the words of a table
// (https://learn.microsoft.com/azure/templates/microsoft.operationalinsights/workspaces/tables).
func sentinelColumns(row reflect.Type) map[string]string {
	columns := map[string]string{}
	for field := range row.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" && field.Anonymous:
			for name, kind := range sentinelColumns(field.Type) {
				columns[name] = kind
			}
		case field.Type == reflect.TypeFor[time.Time]():
			columns[name] = "dateTime"
		default:
			columns[name] = field.Type.Kind().String()
		}
	}
	return columns
}

// check returns what is wrong with s.
func (s sentinel) check() []string {
	var f faults
	t := s.template
	want := sentinelColumns(reflect.TypeFor[notify.SentinelRow]())
	have := map[string]string{}
	for _, column := range t.named("columns").value.parts {
		name, _ := t.constant(column.get("name"))
		have[name], _ = t.constant(column.get("type"))
	}
	for name, kind := range want {
		if have[name] != kind {
			f.add("the column %s is %q, and hubwatch sends %q", name, have[name], kind)
		}
	}
	for name := range have {
		if want[name] == "" {
			f.add("hubwatch does not send the column %s", name)
		}
	}
	f.same("columns of the table", t.named("table").value.get("properties", "schema", "columns"), "columns")

	rule := t.named("ingestion").value
	f.same("kind of the rule", rule.get("kind"), "'Direct'")
	if stream, _ := t.constant(t.named("stream").value); stream != notify.SentinelStream {
		f.add("the stream is %q, and hubwatch sends to %q", stream, notify.SentinelStream)
	}
	declared := rule.get("properties", "streamDeclarations")
	if len(declared.keys) != 1 {
		f.add("there are %d streams", len(declared.keys))
	}
	list := declared.parts[0]
	at := slices.Index(list.keys, "columns")
	if at < 0 || list.parts[at].kind != loop {
		f.add("the columns of the stream are not those of the table")
	} else {
		f.same("columns of the stream", list.parts[at].parts[0], "columns")
		f.same("a column of the stream", list.parts[at].parts[1], "{name: column.name, type: toLower(column.type)}")
	}
	flow := rule.get("properties", "dataFlows").parts[0]
	f.same("streams of the flow", flow.get("streams"), "[stream]")
	f.same("what becomes of a row", flow.get("transformKql"), "'source'")
	f.same("where a row goes", flow.get("outputStream"), "stream")
	f.same("workspace of the rule", rule.get("properties", "destinations", "logAnalytics").parts[0].get("workspaceResourceId"), "workspace.id")
	if !t.needs(rule)["table"] {
		f.add("the rule does not depend on the table")
	}
	roles := t.of("resource", "Microsoft.Authorization/roleAssignments")
	if len(roles) != 1 {
		f.add("%d roles are given, want that of the app alone", len(roles))
	}
	for _, d := range roles {
		f.same("scope of the role", d.value.get("scope"), "ingestion")
		f.same("who is given the role", d.value.get("properties", "principalId"), "principalId")
		id, _ := t.constant(t.named("monitoringMetricsPublisher").value)
		f.same("the role", d.value.get("properties", "roleDefinitionId"), "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)")
		if roleNames[id] != "Monitoring Metrics Publisher" {
			f.add("the role is %s: %s", id, roleNames[id])
		}
	}
	for _, d := range t.declarations {
		d.value.within(func(e *expression) {
			switch {
			case e.kind == constant && hostName.MatchString(e.text):
				f.add("%s has the host name %q", d.name, e.text)
			case e.kind == call && strings.HasPrefix(strings.ToLower(e.text), "list"):
				f.add("%s calls %s", d.name, e.text)
			}
		})
	}
	s.checkQueries(&f, want)
	return f
}

// projected matches what a query returns.
var projected = regexp.MustCompile(`(?m)^\| project (.+)$`)

// kqlWords are the words of KQL that the queries use.
var kqlWords = []string{"ago", "and", "arg_max", "arg_min", "by", "extend", "iff", "in", "ingestion_time", "isempty", "isnull", "parse_ipv4", "parse_ipv6", "parse_json", "project", "summarize", "tostring", "where"}

var (
	// notNames are comments and texts in KQL.
	notNames = regexp.MustCompile(`//.*|'[^']*'`)
	// kqlName matches a name in KQL, also of a member of a column of JSON.
	kqlName = regexp.MustCompile(`\b[A-Za-z_]\w*(\.\w+)?\b`)
	// kqlDefined matches the name that extend gives to a column.
	kqlDefined = regexp.MustCompile(`\b([A-Za-z_]\w*) = `)
)

// checkNames checks that a query names nothing but columns of the table, those that it defines
// before, and in Properties what hubwatch writes into ExtendedProperties.
func checkNames(f *faults, query, text, tableName string, columns map[string]string, properties map[string]bool) {
	text = notNames.ReplaceAllString(text, "")
	known := map[string]bool{tableName: true}
	for _, word := range kqlWords {
		known[word] = true
	}
	for name := range columns {
		known[name] = true
	}
	for line := range strings.Lines(text) {
		var defined []string
		for _, m := range kqlDefined.FindAllStringSubmatch(line, -1) {
			defined = append(defined, m[1])
		}
		for _, name := range kqlName.FindAllString(line, -1) {
			column, member, _ := strings.Cut(name, ".")
			switch {
			case !known[column] && !slices.Contains(defined, column):
				f.add("%s names %s, which the table does not have", query, column)
			case member != "" && (column != "Properties" || !properties[member]):
				f.add("%s names %s, which hubwatch does not send", query, name)
			}
		}
		for _, name := range defined {
			known[name] = true
		}
	}
}

// sentinelProperties returns the names of the properties that hubwatch sends of an alert of which
// all is known.
func sentinelProperties(f *faults) map[string]bool {
	row, err := export.NewSecurityAlert(export.Alert{
		Reference: "x", HubName: "x", SubscriptionID: "x", EntityType: alert.Module, CompromisedEntity: "x/y", Actor: "x", ActorIPAddress: "x",
		CorrelationID: "x", LastActorIPAddress: "x", Detector: "x",
	})
	var all map[string]string
	if err == nil {
		err = json.Unmarshal([]byte(row.ExtendedProperties), &all)
	}
	if err != nil {
		f.add("the properties of an alert: %v", err)
	}
	names := map[string]bool{}
	for name := range all {
		names[name] = true
	}
	return names
}

// checkQueries checks that the queries read the table and what it has, and that the rule of the
// incidents names nothing that its query does not return.
func (s sentinel) checkQueries(f *faults, columns map[string]string) {
	t := s.template
	tableName, _ := t.constant(t.named("tableName").value)
	for name, text := range map[string]string{"alerts.kql": s.alerts, "incidents.kql": s.incidents} {
		if !strings.Contains(text, "\n"+tableName+"\n| where Raising in ('raised', 'reopened')\n") {
			f.add("%s does not read the raisings of %s, without the tests", name, tableName)
		}
		checkNames(f, name, text, tableName, columns, sentinelProperties(f))
	}
	f.same("query of the function", t.named("alerts").value.get("properties", "query"), "loadTextContent('../docs/sentinel/alerts.kql')")
	rule := t.named("makeIncidents").value.get("properties")
	f.same("query of the rule", rule.get("query"), "loadTextContent('../docs/sentinel/incidents.kql')")
	returned := map[string]bool{}
	for _, m := range projected.FindAllStringSubmatch(s.incidents, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			returned[name] = true
			if columns[name] == "" && !strings.Contains(s.incidents, " "+name+" = ") {
				f.add("incidents.kql returns %s, which the table does not have", name)
			}
		}
	}
	named := map[string]bool{}
	for _, part := range rule.get("customDetails").parts {
		name, _ := t.constant(part)
		named[name] = true
	}
	for _, entity := range rule.get("entityMappings").parts {
		name, _ := t.constant(entity.get("fieldMappings").parts[0].get("columnName"))
		named[name] = true
	}
	override := rule.get("alertDetailsOverride")
	severity, _ := t.constant(override.get("alertSeverityColumnName"))
	named[severity] = true
	for _, part := range override.parts {
		text, _ := t.constant(part)
		for _, m := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(text, -1) {
			named[m[1]] = true
		}
	}
	for name := range named {
		if !returned[name] {
			f.add("the rule names %q, and incidents.kql does not return it", name)
		}
	}
	grouping := rule.get("incidentConfiguration", "groupingConfiguration")
	for _, part := range grouping.get("groupByCustomDetails").parts {
		name, _ := t.constant(part)
		if rule.get("customDetails", name) == nil {
			f.add("incidents are grouped by %q, which is not a custom detail", name)
		}
	}
	// The query sees what arrived since the last run, and of a raising that arrived again it
	// sees the first row.
	every, _ := t.constant(rule.get("queryFrequency"))
	if every != "PT5M" || !strings.Contains(s.incidents, "\n| summarize arg_min(Arrived, *) by RaisingId\n| where Arrived > ago(5m)\n") {
		f.add("the rule runs every %s, and incidents.kql does not take the first rows of the last five minutes", every)
	}
}

func TestSentinel(t *testing.T) {
	s, err := readSentinel(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range s.check() {
		t.Error(fault)
	}
}

// TestPlantedErrorsOfSentinel plants one mistake at a time, and expects a complaint about
// each.
func TestPlantedErrorsOfSentinel(t *testing.T) {
	for _, test := range []struct{ name, file, old, new, want string }{
		{"a column gone", "infra/sentinel.bicep", "  { name: 'RaisingId', type: 'string' }\n", "", `the column RaisingId is "", and hubwatch sends "string"`},
		{"a column too many", "infra/sentinel.bicep", "  { name: 'RaisingId'", "  { name: 'Tactics', type: 'string' }\n  { name: 'RaisingId'", "does not send the column Tactics"},
		{"a number as a text", "infra/sentinel.bicep", "'Changes', type: 'int'", "'Changes', type: 'string'", "the column Changes"},
		{"another stream", "infra/sentinel.bicep", "'Custom-${tableName}'", "'Custom-Alerts'", "the stream is"},
		{"columns of the stream in words", "infra/sentinel.bicep", "[for column in columns: {", "[for column in []: {", "columns of the stream is []"},
		{"a rule without an endpoint", "infra/sentinel.bicep", "kind: 'Direct'", "kind: 'Linux'", "kind of the rule"},
		{"rows that are lost", "infra/sentinel.bicep", "transformKql: 'source'", "transformKql: 'source | where false'", "what becomes of a row"},
		{"the rule before its table", "infra/sentinel.bicep", "  dependsOn: [table]\n}\n\nresource sendAlerts", "}\n\nresource sendAlerts", "does not depend on the table"},
		{"a right for all of the workspace", "infra/sentinel.bicep", "scope: ingestion", "scope: workspace", "scope of the role"},
		{"the role Contributor", "infra/sentinel.bicep", "3913510d-42f4-4e42-8a64-420c390055eb", "b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor"},
		{"a second role", "infra/sentinel.bicep", "resource alerts ", "resource more 'Microsoft.Authorization/roleAssignments@2022-04-01' = { scope: ingestion, name: 'x', properties: { principalId: principalId, roleDefinitionId: 'x' } }\nresource alerts ", "2 roles are given"},
		{"a host name", "infra/sentinel.bicep", "ingestion.properties.endpoints.logsIngestion", "'https://contoso.ingest.monitor.azure.com'", "host name"},
		{"a key", "infra/sentinel.bicep", "ingestion.properties.immutableId", "workspace.listKeys().primarySharedKey", "calls listKeys"},
		{"a detail that the query does not return", "infra/sentinel.bicep", "HubName: 'HubName'", "HubName: 'Hub'", `names "Hub"`},
		{"groups by nothing", "infra/sentinel.bicep", "groupByCustomDetails: ['SystemAlertId']", "groupByCustomDetails: ['Id']", `grouped by "Id"`},
		{"tests are incidents", "docs/sentinel/incidents.kql", "| where Raising in ('raised', 'reopened')\n", "", "without the tests"},
		{"raisings twice", "docs/sentinel/incidents.kql", "| summarize arg_min(Arrived, *) by RaisingId\n", "", "does not take the first rows"},
		{"half of the raisings", "infra/sentinel.bicep", "queryFrequency: 'PT5M'", "queryFrequency: 'PT10M'", "runs every PT10M"},
		{"a column that is not there", "docs/sentinel/incidents.kql", "project TimeGenerated", "project Tactics", "returns Tactics"},
		{"a property that is not sent", "docs/sentinel/incidents.kql", "Properties.ActorIpAddress", "Properties.CallerIpAddress", "names Properties.CallerIpAddress, which hubwatch does not send"},
		{"members of a column of text", "docs/sentinel/incidents.kql", "Properties.Actor)", "ExtendedProperties.Actor)", "names ExtendedProperties.Actor, which hubwatch does not send"},
		{"a condition on a column that is not there", "docs/sentinel/incidents.kql", "where Arrived > ago(5m)", "where Arrived > ago(5m) and Tactics == ''", "names Tactics, which the table does not have"},
		{"the newest by a column that is not there", "docs/sentinel/alerts.kql", "arg_max(Changes, *)", "arg_max(Version, *)", "names Version, which the table does not have"},
		{"a name before it is defined", "docs/sentinel/incidents.kql", "| extend Arrived = ingestion_time()\n", "", "names Arrived, which the table does not have"},
		{"the wrong table", "docs/sentinel/alerts.kql", "HubwatchAlerts_CL", "SecurityAlert", "does not read the raisings"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, part := range []string{"infra", "docs/sentinel"} {
				if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
					t.Fatal(err)
				}
			}
			plant(t, filepath.Join(dir, test.file), test.old, test.new)
			s, err := readSentinel(dir)
			if err != nil {
				t.Fatal(err)
			}
			if found := s.check(); !slices.ContainsFunc(found, func(fault string) bool { return strings.Contains(fault, test.want) }) {
				t.Errorf("want a complaint with %q, have %q", test.want, found)
			}
		})
	}
}
