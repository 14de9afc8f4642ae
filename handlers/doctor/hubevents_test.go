package doctor

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// registered looks for events of hubs, and unhealthy for log records.
var (
	registered = detector.Detector{Name: "DeviceRegistered", On: detector.Trigger{EventTypes: []string{event.DeviceCreated, event.DeviceDeleted}}}
	unhealthy  = detector.Detector{Name: "RouteUnhealthy", On: detector.Trigger{EventTypes: []string{event.LogType("Routes")}}}
)

// newWiderSky is contoso with detectors of further sources, as it should be. The topic of
// one hub was there before, in another resource group.
func newWiderSky(t *testing.T) (*sky, Deployment) {
	d := contoso
	d.detectors = append(slices.Clone(usual), registered, unhealthy)
	s := newSky(t)
	s.addFunction(registered.Name)
	s.addFunction(unhealthy.Name)
	s.connections = append(s.connections, subscriptionOf(of(unhealthy)))
	topic := func(id, source string) *armeventgrid.SystemTopic {
		return &armeventgrid.SystemTopic{ID: to.Ptr(id), Properties: &armeventgrid.SystemTopicProperties{Source: to.Ptr(source)}}
	}
	s.hubTopics = []*armeventgrid.SystemTopic{
		topic(contoso.changesID(), s.source),
		topic(contoso.id("Microsoft.EventGrid/systemTopics/hubwatch-contoso-contoso-hub-west"), strings.ToUpper(westHub)),
		topic(strings.Replace(contoso.id("Microsoft.EventGrid/systemTopics/theirs"), "rg-iot", "rg-theirs", 1), eastHub),
	}
	theirs := subscriptionOf(of(registered))
	theirs.Name, theirs.Properties.Destination = to.Ptr("theirs"), toFunction(contoso.appID()+"-2/functions/Theirs")
	s.hubEvents = map[string][]*armeventgrid.EventSubscription{
		"rg-iot/hubwatch-contoso-contoso-hub-west": {subscriptionOf(of(registered))}, "rg-theirs/theirs": {theirs, subscriptionOf(of(registered))},
	}
	for i, hub := range []string{westHub, eastHub} {
		s.raw[strings.ToLower(droppedAlert(hub))] = asDeployed(HubDropped(strings.ToUpper(value(s.hubTopics[i+1].ID))).ofHub(d, hub).Members)
	}
	for hub := range s.settings {
		p := s.settings[hub][1].Properties
		p.Logs = append(p.Logs, &armmonitor.LogSettings{Category: to.Ptr("routes"), Enabled: to.Ptr(true)})
	}
	return s, d
}

// droppedAlert is the id of the alert about events of a hub that are dropped.
func droppedAlert(hub string) string {
	return groupOf(hub) + "/providers/Microsoft.Insights/metricAlerts/hubwatch-contoso-" + lastOf(hub) + "-dropped"
}

// asDeployed returns an alert on a metric as Azure tells of it, with who hears of it.
func asDeployed(members map[string]any) map[string]any {
	resource := nested(members)
	resource["properties"].(map[string]any)["actions"] = []any{map[string]any{"actionGroupId": strings.ToUpper(pager)}}
	return resource
}

func TestFurtherSources(t *testing.T) {
	s, d := newWiderSky(t)
	// One event subscription more on a topic, and three more checks of each hub.
	if ill, all := examine(t, s, d); len(ill) > 0 || all != inAll+7 {
		t.Errorf("%d results, want %d; not ok are\n%s", all, inAll+7, strings.Join(ill, "\n"))
	}
}

func TestFaultsOfFurtherSources(t *testing.T) {
	const west = "rg-iot/hubwatch-contoso-contoso-hub-west"
	const missing = ": the hub has no system topic, without which there is no alert of DeviceRegistered: deploy infra/main.bicep with this hub in iotHubs, and then deploy infra/subscriptions.bicep"
	for name, test := range map[string]struct {
		plant func(*sky)
		want  []string // how the lines begin that are not ok
	}{
		"no topic":                 {func(s *sky) { s.hubTopics = s.hubTopics[:2] }, []string{"wrong    events of hub contoso-hub-east" + missing}},
		"no topic at all":          {func(s *sky) { s.hubTopics = nil }, []string{"wrong    events of hub contoso-hub-east" + missing, "wrong    events of hub contoso-hub-west" + missing}},
		"the topic of another hub": {func(s *sky) { s.hubTopics[1].Properties.Source = to.Ptr(westHub + "-2") }, []string{"wrong    events of hub contoso-hub-west" + missing}},
		"no event subscription": {func(s *sky) { s.hubEvents["rg-theirs/theirs"] = s.hubEvents["rg-theirs/theirs"][:1] },
			[]string{"wrong    events of hub contoso-hub-east: the event subscription DeviceRegistered is missing on the topic theirs: deploy infra/subscriptions.bicep with this hub in iotHubs"}},
		"another filter": {func(s *sky) {
			s.hubEvents[west][0].Properties.Filter.IncludedEventTypes = []*string{to.Ptr(event.DeviceCreated)}
		}, []string{"wrong    events of hub contoso-hub-west: event subscription DeviceRegistered: its filter lacks eventType In Microsoft.Devices.DeviceCreated or Microsoft.Devices.DeviceDeleted"}},
		"to another function": {func(s *sky) {
			s.hubEvents[west][0].Properties.Destination = toFunction(contoso.appID() + "/functions/CertificateAdded")
		}, []string{"wrong    events of hub contoso-hub-west: event subscription DeviceRegistered: it delivers to"}},
		"deliveries are refused": {func(s *sky) {
			topic := value(s.hubTopics[1].ID)
			s.delivered(topic, "DeviceRegistered", "Unauthorized", 1, 90, 85, 80, 70, 40)
			s.delivered(topic, "theirs", "NotFound", 9, 10)
		}, []string{"wrong    deliveries of events of hub contoso-hub-west: DeviceRegistered: 5 failed and none succeeded since"}},
		"nobody hears of dropped events": {func(s *sky) { delete(s.raw, strings.ToLower(droppedAlert(westHub))) },
			[]string{"wrong    alert of Azure Monitor dropped of hub contoso-hub-west: it is missing: deploy infra/main.bicep"}},
		"the alert about dropped events is off": {func(s *sky) {
			s.raw[strings.ToLower(droppedAlert(eastHub))]["properties"].(map[string]any)["enabled"] = false
		}, []string{"wrong    alert of Azure Monitor dropped of hub contoso-hub-east: properties.enabled is false, want true; deploy infra/main.bicep"}},
		"the alert about dropped events is of another topic": {func(s *sky) {
			s.raw[strings.ToLower(droppedAlert(eastHub))]["properties"].(map[string]any)["scopes"] = []any{contoso.changesID()}
		}, []string{"wrong    alert of Azure Monitor dropped of hub contoso-hub-east: properties.scopes is"}},
		"one is left over": {func(s *sky) {
			old := subscriptionOf(of(registered))
			old.Name = to.Ptr("DeviceEnrolled")
			s.hubEvents[west] = append(s.hubEvents[west], old)
		}, []string{"wrong    events of hub contoso-hub-west: DeviceEnrolled delivers to DeviceRegistered, but is none of this build: delete it"}},
		"topics may not be listed": {func(s *sky) { s.statuses["SystemTopicsClient.NewListBySubscriptionPager"] = http.StatusForbidden },
			[]string{"unknown  deliveries of events of hub contoso-hub-east: 403", "unknown  deliveries of events of hub contoso-hub-west: 403", "unknown  events of hub contoso-hub-east: 403", "unknown  events of hub contoso-hub-west: 403"}},
		"a category that is not sent": {func(s *sky) { s.settings[westHub][1].Properties.Logs[2].Enabled = to.Ptr(false) },
			[]string{"wrong    diagnostic settings of hub contoso-hub-west: hubwatch-contoso does not send Routes, without which there is no alert of RouteUnhealthy: deploy infra/main.bicep with this hub in iotHubs, and this category in logCategories"}},
		"neither category": {func(s *sky) { s.settings[westHub][1].Properties.Logs = nil },
			[]string{"wrong    diagnostic settings of hub contoso-hub-west: hubwatch-contoso does not send Connections: deploy infra/main.bicep with this hub in iotHubs; hubwatch-contoso does not send Routes"}},
		"a category by a setting of its own": {func(s *sky) {
			p := *s.settings[westHub][1].Properties
			s.settings[westHub][1].Properties.Logs = p.Logs[:2]
			p.Logs, p.Metrics = p.Logs[2:], nil
			s.settings[westHub] = append(s.settings[westHub], &armmonitor.DiagnosticSettingsResource{Name: to.Ptr("routes"), Properties: &p})
		}, nil},
		"a category too many": {func(s *sky) {
			s.settings[eastHub][1].Properties.Logs[1].Enabled = to.Ptr(true)
		}, []string{"wrong    diagnostic settings of hub contoso-hub-east: hubwatch-contoso sends more than Connections, Routes, which is paid for and passed over: DeviceTelemetry: deploy"}},
		"no event subscription to log records": {func(s *sky) { s.connections = s.connections[:len(s.connections)-1] },
			[]string{"wrong    event subscription RouteUnhealthy: it is missing on the topic hubwatch-contoso-connections: deploy infra/subscriptions.bicep"}},
		"log records without dead letters": {func(s *sky) {
			s.connections[len(s.connections)-1].Properties.DeadLetterWithResourceIdentity = nil
		}, []string{"wrong    event subscription RouteUnhealthy: properties.deadLetterWithResourceIdentity"}},
	} {
		s, d := newWiderSky(t)
		test.plant(s)
		ill, _ := examine(t, s, d)
		slices.Sort(ill)
		if !slices.EqualFunc(ill, test.want, strings.HasPrefix) {
			t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(test.want, ill))
		}
	}
}
