package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appservice/armappservice/v5"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/judge"
)

// The three steps of a deployment, which deploy what is missing.
const (
	deployMain          = "deploy infra/main.bicep"
	publishCode         = "make publish"
	deploySubscriptions = "deploy infra/subscriptions.bicep"
)

// checks returns all checks of a deployment. Each IoT hub has a check of its own,
// so checks asks for the hubs, unless d names them.
func checks(ctx context.Context, d Deployment, a azure) []check {
	deployed := once(func(ctx context.Context) (site, error) { return a.site(ctx, d) })
	hubs := once(func(ctx context.Context) ([]string, error) {
		if len(d.Hubs) > 0 {
			return d.Hubs, nil
		}
		return a.hubIDs(ctx, d)
	})
	list := []check{
		{"app " + d.App, func(ctx context.Context) Result { return checkApp(ctx, deployed) }},
		{"functions", func(ctx context.Context) Result { return checkFunctions(ctx, d, a) }},
		{"references to Key Vaults", func(ctx context.Context) Result { return checkReferences(ctx, d, a) }},
		{"table " + alertsTable, func(ctx context.Context) Result { return checkTable(ctx, a, deployed, alertsTable) }},
		{"table " + quarantineTable, func(ctx context.Context) Result { return checkTable(ctx, a, deployed, quarantineTable) }},
		{"table " + suppressionsTable, func(ctx context.Context) Result { return checkTable(ctx, a, deployed, suppressionsTable) }},
		{"quarantine", func(ctx context.Context) Result { return checkQuarantine(ctx, a, deployed) }},
		{"verdicts", func(ctx context.Context) Result { return checkVerdicts(ctx, d, a, deployed) }},
		{"system topic " + d.ControlPlaneTopic, func(ctx context.Context) Result { return checkChangesTopic(ctx, d, a, hubs) }},
	}
	list = append(list, checkCoverage(a, deployed, hubs)...)
	list = append(list, checkSubscriptions(d, a, deployed)...)
	list = append(list, checkExpectedHubs(d, a))
	list = append(list, checkHubs(ctx, d, a, deployed, hubs)...)
	list = append(list, checkResources(d, a, deployed)...)
	list = append(list, checkRoles(d, a, deployed)...)
	list = append(list, checkWriters(d, a, deployed)...)
	list = append(list, checkStacks(d, a)...)
	list = append(list, checkConsole(d, a))
	list = append(list, checkDeliveries(d, a)...)
	return append(list, checkArrivals(d, a)...)
}

// checkApp checks the app itself.
func checkApp(ctx context.Context, deployed func(context.Context) (site, error)) Result {
	s, err := deployed(ctx)
	if err != nil {
		return failed(err, deployMain)
	}
	var problems []string
	if !strings.EqualFold(s.state, "Running") {
		problems = append(problems, fmt.Sprintf("it is in the state %q: start it with az functionapp start", s.state))
	}
	if n := len(s.principals); n != 1 {
		problems = append(problems, fmt.Sprintf("it has %d identities, want one: %s", n, deployMain))
	}
	if s.account == "" {
		problems = append(problems, "its package is in no storage account that can be told: "+deployMain)
	}
	return inFull(problems, "it runs")
}

// checkFunctions compares the functions of the app with those of this build.
func checkFunctions(ctx context.Context, d Deployment, a azure) Result {
	functions, err := a.functions(ctx, d)
	if err != nil {
		return failed(err, deployMain)
	}
	var problems []string
	missing := map[string]bool{}
	for _, f := range app.Functions(d.detectors, judge.Judge{}) {
		missing[f.Name] = true
	}
	want := len(missing)
	for _, f := range functions {
		switch {
		case !missing[f.name]:
			problems = append(problems, f.name+" is none of this build: "+publishCode)
		case f.disabled:
			problems = append(problems, fmt.Sprintf("%s is disabled: remove the setting AzureWebJobs.%s.Disabled of the app", f.name, f.name))
		}
		delete(missing, f.name)
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		problems = append(problems, name+" is missing: "+publishCode)
	}
	slices.Sort(problems)
	return inFull(problems, "all %d are there and enabled, and none besides", want)
}

// checkReferences says which settings of the app have no value, since their secret could not be
// read from a Key Vault. Without NotifyUrls nobody is told of alerts.
func checkReferences(ctx context.Context, d Deployment, a azure) Result {
	references, err := a.references(ctx, d)
	if err != nil {
		return failed(err, deployMain)
	}
	var problems, waiting, fine []string
	for _, name := range slices.Sorted(maps.Keys(references)) {
		switch status := references[name]; status {
		case armappservice.ResolveStatusResolved:
			fine = append(fine, name)
		case armappservice.ResolveStatusInitialized:
			waiting = append(waiting, name)
		default:
			problems = append(problems, fmt.Sprintf("%s is not resolved (%s)", name, status))
		}
	}
	switch {
	case len(problems) > 0:
		return wrong("%s; look whether the secret is there and enabled, whether the identity of the app has the role Key Vault Secrets User on it, and whether its vault lets the app in; then restart the app (docs/notify.md)", strings.Join(problems, "; "))
	case len(waiting) > 0:
		return unknown("%s is being resolved: ask again in some minutes", strings.Join(waiting, ", "))
	case len(fine) == 0:
		return ok("no setting is one")
	}
	return ok("%s is resolved", strings.Join(fine, ", "))
}

// checkTable reads from a table with the identity of the person who runs the
// doctor.
func checkTable(ctx context.Context, a azure, deployed func(context.Context) (site, error), name string) Result {
	s, err := deployed(ctx)
	if err != nil {
		return unknown("the app does not tell its storage account: %s", reason(err))
	}
	if s.tables == "" {
		return unknown("the app does not tell its storage account")
	}
	return tableResult(a.table(ctx, s.tables, name))
}

// checkQuarantine says which functions could not judge events that still wait. What hints at a
// function that fits none of its events is wrong, as a custom alert can be.
func checkQuarantine(ctx context.Context, a azure, deployed func(context.Context) (site, error)) Result {
	s, err := deployed(ctx)
	if err != nil {
		return unknown("the app does not tell its storage account: %s", reason(err))
	}
	if s.tables == "" {
		return unknown("the app does not tell its storage account")
	}
	backlogs, more, err := a.backlogs(ctx, s.tables)
	if err != nil {
		return tableResult(err)
	}
	var waiting, problems []string
	for _, b := range backlogs {
		waiting = append(waiting, fmt.Sprintf("%s %d", b.Function, b.Waiting))
		if text := b.Misfit(detectorOf(b.Function).Custom); text != "" {
			problems = append(problems, fmt.Sprintf("%s hubwatch quarantine list --function %s has the reasons", text, b.Function))
		}
	}
	if more {
		waiting = append(waiting, "and more")
	}
	if len(waiting) == 0 {
		return ok("no event waits")
	}
	return inFull(problems, "events that wait to be judged again or taken out: %s", strings.Join(waiting, ", "))
}

// detectorOf returns the detector of a function; the zero value if it has none.
func detectorOf(function string) detector.Detector {
	all := app.Detectors()
	if i := slices.IndexFunc(all, func(d detector.Detector) bool { return d.Name == function }); i >= 0 {
		return all[i]
	}
	return detector.Detector{}
}

// lateVerdict is from when on a verdict is late. The function Verdicts runs each minute.
const lateVerdict = 10 * time.Minute

// untoldState is why nothing is known of the account of the state. Only the role of the app
// there tells which it is.
const untoldState = "the app does not tell the storage account of its state"

// checkVerdicts reads the state with the identity of the person who runs the doctor: whether
// a verdict on a failed connection waits that should have been told.
func checkVerdicts(ctx context.Context, d Deployment, a azure, deployed func(context.Context) (site, error)) Result {
	s, err := deployed(ctx)
	if err != nil {
		return unknown(untoldState+": %s", reason(err))
	}
	id, err := a.elsewhere(ctx, d, s, "stateAccount")
	if err != nil {
		return unknown(untoldState+": %s", reason(err))
	}
	if id == "" || s.tables == "" {
		return unknown(untoldState)
	}
	// The id is in lower case, as are the names of storage accounts.
	oldest, err := a.oldest(ctx, strings.Replace(s.tables, "//"+s.account+".", "//"+lastOf(id)+".", 1))
	if err != nil {
		return tableResult(err)
	}
	if age := time.Since(oldest); !oldest.IsZero() && age > lateVerdict {
		return wrong("one has been due since %s: the function %s does not run, or cannot read, write or publish; its log says why", oldest.Format(time.RFC3339), judge.VerdictsName)
	}
	return ok("none is late")
}

// checkChangesTopic checks the topic with the changes of resources.
func checkChangesTopic(ctx context.Context, d Deployment, a azure, hubs func(context.Context) ([]string, error)) Result {
	topic, err := a.systemTopics.Get(ctx, d.ResourceGroup, d.ControlPlaneTopic, nil)
	if err != nil {
		return failed(err, deployMain+", or name the topic with --control-plane-topic")
	}
	ids, err := hubs(ctx)
	if err != nil {
		return unknown("the hubs that it should cover: %s", reason(err))
	}
	source := value(value(topic.Properties).Source)
	var problems []string
	for _, id := range ids {
		if !contains(source, id) {
			problems = append(problems, fmt.Sprintf("it has the events of %s, where the hub %s is not: %s with watch=subscription", source, lastOf(id), deployMain))
		}
	}
	return inFull(problems, "it has the events of %s", source)
}

// checkSubscriptions returns a check for each event subscription, but for
// those to events that hubs publish themselves, and a check of all other event subscriptions
// for each topic.
func checkSubscriptions(d Deployment, a azure, deployed func(context.Context) (site, error)) []check {
	type topic struct {
		name string
		list func(context.Context) ([]armeventgrid.EventSubscription, error)
		own  map[string]bool // names in lower case
	}
	custom := func(name string) topic {
		return topic{name, once(func(ctx context.Context) ([]armeventgrid.EventSubscription, error) {
			return a.subscriptionsOfCustom(ctx, d, name)
		}), map[string]bool{}}
	}
	topics := map[detector.Source]topic{
		detector.ControlPlane: {d.ControlPlaneTopic, once(func(ctx context.Context) ([]armeventgrid.EventSubscription, error) {
			return a.subscriptionsOfChanges(ctx, d)
		}), map[string]bool{}},
		detector.Connections: custom(d.connectionsTopic()),
		detector.Alerts:      custom(d.alertsTopic()),
	}
	var checks []check
	subscriptions, _ := app.Subscriptions(d.detectors) // or generate fails
	for _, each := range subscriptions {
		on, ok := topics[each.Source]
		if !ok {
			continue
		}
		on.own[strings.ToLower(each.Name)] = true
		checks = append(checks, check{"event subscription " + each.Name, func(ctx context.Context) Result {
			existing, err := on.list(ctx)
			if err != nil {
				return failed(err, deployMain)
			}
			for _, s := range existing {
				if strings.EqualFold(value(s.Name), each.Name) {
					app, _ := deployed(ctx) // If the app cannot be asked, its storage account is not compared.
					return checkSubscription(d, each, s, app)
				}
			}
			return wrong("it is missing on the topic %s: %s", on.name, deploySubscriptions)
		}})
	}
	others := len(checks)
	// A subscription to a missing function is billed for every attempt. A
	// subscription that is not of this build makes a function judge twice.
	for _, on := range topics {
		checks = append(checks, check{"other event subscriptions on " + on.name, func(ctx context.Context) Result {
			existing, err := on.list(ctx)
			if err != nil {
				return failed(err, deployMain)
			}
			return inFull(leftOver(d, existing, on.own), "none delivers to the app")
		}})
	}
	slices.SortFunc(checks[others:], func(a, b check) int { return strings.Compare(a.name, b.name) })
	return checks
}

// leftOver says which event subscriptions deliver to the app and have none of the names, in
// lower case, of this build.
func leftOver(d Deployment, existing []armeventgrid.EventSubscription, names map[string]bool) (problems []string) {
	for _, s := range existing {
		if to := functionOf(value(s.Properties)); contains(d.appID(), to) && !names[strings.ToLower(value(s.Name))] {
			problems = append(problems, fmt.Sprintf("%s delivers to %s, but is none of this build: delete it", value(s.Name), lastOf(to)))
		}
	}
	return problems
}

// checkSubscription compares an event subscription with that of this build and with
// infra/subscriptions.bicep.
func checkSubscription(d Deployment, want app.Subscription, s armeventgrid.EventSubscription, app site) Result {
	have := value(s.Properties)
	prefix := ""
	if want.Own {
		prefix = d.groupID() + "/"
	}
	problems := filterDifferences(want.Filter, prefix, have.Filter)
	for i, p := range problems {
		problems[i] = "its filter " + p
	}
	if function, to := d.appID()+"/functions/"+want.Function, functionOf(have); !sameID(to, function) {
		where := "to no function"
		if to != "" {
			where = "to " + to
		}
		problems = append(problems, fmt.Sprintf("it delivers %s, not to the function %s of %s", where, want.Function, d.App))
	}
	var members map[string]any
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		return unknown("%s", err)
	}
	deadLettered := want.Source == detector.Connections || want.Source == detector.Alerts
	wanted, defaults := SubscriptionMembers(deadLettered)
	if deadLettered && app.account != "" {
		wanted[deadLetterAccount] = d.storageID(app.account)
	}
	problems = append(problems, differences(members, wanted, defaults)...)
	if len(problems) > 0 {
		problems = append(problems, deploySubscriptions)
	}
	return inFull(problems, "it has the filter of this build, delivers to the function, and each member is as in subscriptions.bicep")
}

// functionOf returns the resource id of the function that a subscription
// delivers to, or "" if it delivers to something else.
func functionOf(s armeventgrid.EventSubscriptionProperties) string {
	to := s.Destination
	if s.DeliveryWithResourceIdentity != nil {
		to = s.DeliveryWithResourceIdentity.Destination
	}
	if f, ok := to.(*armeventgrid.AzureFunctionEventSubscriptionDestination); ok {
		return value(value(f.Properties).ResourceID)
	}
	return ""
}

// checkHubs returns the checks of each IoT hub.
func checkHubs(ctx context.Context, d Deployment, a azure, deployed func(context.Context) (site, error), hubs func(context.Context) ([]string, error)) []check {
	ids, err := hubs(ctx)
	if err != nil {
		return []check{{"IoT hubs", func(context.Context) Result { return failed(err, "there is no resource group "+d.ResourceGroup) }}}
	}
	if len(ids) == 0 {
		return []check{{"IoT hubs", func(context.Context) Result {
			return unknown("there is none in the resource group %s: name them with --hub", d.ResourceGroup)
		}}}
	}
	var checks []check
	for _, id := range ids {
		checks = append(checks, check{"diagnostic settings of hub " + lastOf(id), func(ctx context.Context) Result {
			return checkDiagnostics(ctx, d, a, id)
		}})
		for _, s := range OfHub {
			checks = append(checks, check{fmt.Sprintf("alert of Azure Monitor %s of hub %s", s.Name, lastOf(id)), func(ctx context.Context) Result {
				return checkHubSilencer(ctx, d, a, s, id, ids)
			}})
		}
	}
	return append(checks, checkHubEvents(d, a, deployed, ids)...)
}

// checkDiagnostics looks for the diagnostic settings by which a hub sends its Connections
// log, the logs that detectors need, and nothing else, to the event hub of the relay.
func checkDiagnostics(ctx context.Context, d Deployment, a azure, hub string) Result {
	settings, err := a.diagnosticSettings(ctx, hub)
	if err != nil {
		return failed(err, "there is no such hub: see --hub")
	}
	remedy := deployMain + " with this hub in iotHubs"
	var found, sent []string
	for _, setting := range settings {
		p := value(setting.Properties)
		if sameID(value(p.EventHubAuthorizationRuleID), d.sendRuleID()) && strings.EqualFold(value(p.EventHubName), logsEventHub) {
			found, sent = append(found, value(setting.Name)), append(sent, enabled(p)...)
		}
	}
	if len(found) == 0 {
		return wrong("none sends to the event hub %s: %s", d.eventHubID(), remedy)
	}
	name, needed := strings.Join(found, " and "), d.categories()
	has := func(list []string, category string) bool {
		return slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, category) })
	}
	var problems []string
	for _, category := range slices.Sorted(maps.Keys(needed)) {
		switch by := needed[category]; {
		case has(sent, category), has(sent, allLogs):
		case len(by) == 0:
			problems = append(problems, fmt.Sprintf("%s does not send %s: %s", name, category, remedy))
		default:
			problems = append(problems, fmt.Sprintf("%s does not send %s, without which there is no alert of %s: %s, and this category in logCategories", name, category, strings.Join(by, ", "), remedy))
		}
	}
	all := slices.Sorted(maps.Keys(needed))
	if besides := slices.DeleteFunc(sent, func(category string) bool { return has(all, category) }); len(besides) > 0 {
		problems = append(problems, fmt.Sprintf("%s sends more than %s, which is paid for and passed over: %s: %s", name, strings.Join(all, ", "), strings.Join(besides, ", "), remedy))
	}
	return inFull(problems, "%s goes to the event hub of the relay, and nothing besides", strings.Join(all, ", "))
}

// categories returns the categories of logs that hubs have to send, with the names of the
// detectors that need them; none for the one that is always sent.
func (d Deployment) categories() map[string][]string {
	needed := map[string][]string{logsCategory: nil}
	for _, each := range d.detectors {
		for _, of := range each.On.EventTypes {
			if category, ok := event.LogCategory(of); ok && category != logsCategory {
				needed[category] = append(needed[category], each.Name)
			}
		}
	}
	return needed
}

// allLogs is the group of all categories
// (https://learn.microsoft.com/azure/azure-monitor/essentials/diagnostic-settings#category-groups).
const allLogs = "allLogs"

// enabled returns what a diagnostic setting sends: categories of logs, groups of
// them, and categories of metrics.
func enabled(s armmonitor.DiagnosticSettings) []string {
	var list []string
	for _, l := range s.Logs {
		if log := value(l); value(log.Enabled) {
			list = append(list, cmp.Or(value(log.Category), value(log.CategoryGroup)))
		}
	}
	for _, m := range s.Metrics {
		if metric := value(m); value(metric.Enabled) {
			list = append(list, cmp.Or(value(metric.Category), "metrics"))
		}
	}
	return list
}
