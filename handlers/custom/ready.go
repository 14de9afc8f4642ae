package custom

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// ready is a custom alert of Microsoft Defender for IoT that can be judged from what a hub
// logs, or a part of one. Make makes it an alert; functions/<Name>/alert.json has what it
// makes with readyCount, and the importer makes those of people.
type ready struct {
	alert      Alert // without enabled, count and cases
	counted    logRecord
	passedOver []logRecord // records of the same category that do not count
	about      string      // of passedOver, for the case that has them: "a device that connected does not count"
}

// logRecord is what makes a record of a case: the rest is the same for all.
type logRecord struct {
	operation, level     string
	resultType           jsontext.Value // nil for none
	properties           map[string]any
	resultName, duration string // "" for none
}

// caseDevice is the device in the cases. The alert of a group names it until people put
// their own devices there. otherDevice is one that is counted apart.
const caseDevice, otherDevice = "example-device", "other-device"

// mostAllowed is the most records of a silent case beside a longer one that holds the same.
// mostRecords is the most in all cases, so that a file with a large range or with many hubs
// does not become too large to load.
const mostAllowed, mostRecords = 100, 1_400

// readyCount is the count of the alerts in functions. Each owner of a fleet has to find
// their own.
func readyCount() Count {
	most := 10
	return Count{Per: "device", Window: "PT15M", Max: &most}
}

// readyAlerts are the custom alerts of Microsoft Defender for IoT that can be judged, in
// whole or in part. docs/custom-alerts.md has all fourteen.
var readyAlerts = []ready{unauthorizedOperations, directMethodInvokes, deviceTwinUpdates, serviceTwinUpdates}

var unauthorizedOperations = ready{
	alert: Alert{
		Name:      "UnauthorizedOperations",
		AlertType: "IoT_CA_UnauthorizedOperationsNotInAllowedRange",
		Severity:  alert.Low,
		Title:     "Custom alert - The number of unauthorized operations is outside the allowed range",
		Description: "A device was refused more often than the rule allows: its hub answered that it is not authorized. Somebody may be trying " +
			"keys or certificates for it, or the device has a wrong credential or a wrong clock. Every failed authentication counts, " +
			"also one whose cause hubwatch cannot tell.",
		Remediation: []string{
			"See in the evidence from which addresses the device was refused, and whether they are its own.",
			"If they are not, disable the device in the identity registry, give it a new credential, and enable it again.",
			"If they are, look for an old credential or a wrong clock in the device.",
		},
		Limits: "Only the category Connections is read, since an alert has one category. Operations that a hub refuses in an open connection are in other " +
			"categories, and are not counted here. A session that the hub ends because its token expired is not counted: nothing was refused, and " +
			"a healthy device that renews tokens by reconnecting has one an hour or so. The log can lose records, and has times in whole " +
			"seconds, so two refusals of a device in one second that differ in nothing count once.",
		On:   On{Source: Logs, Category: "Connections", Operations: []string{"deviceConnect"}},
		When: `has(record.resultType) && record.resultType != null && string(record.resultType).startsWith("401")`,
	},
	counted: logRecord{
		operation: "deviceConnect", level: "Error", resultType: jsontext.Value(`"401003"`), resultName: "IotHubUnauthorized",
		properties: map[string]any{"protocol": "Mqtt", "authType": nil, "maskedIpAddress": "203.0.113.XXX", "statusCode": "401"},
	},
	passedOver: []logRecord{
		{
			operation: "deviceConnect", level: "Information",
			properties: map[string]any{"protocol": "Mqtt", "authType": nil, "maskedIpAddress": "203.0.113.XXX", "statusCode": nil},
		},
		{
			operation: "deviceConnect", level: "Information", resultType: jsontext.Value("null"),
			properties: map[string]any{"protocol": "Mqtt", "authType": nil, "maskedIpAddress": "203.0.113.XXX", "statusCode": nil},
		},
		{
			operation: "deviceConnect", level: "Error", resultType: jsontext.Value(`"409401"`),
			properties: map[string]any{"protocol": "Mqtt", "authType": nil, "maskedIpAddress": "203.0.113.XXX", "statusCode": "409"},
		},
		{
			operation: "deviceDisconnect", level: "Error", resultType: jsontext.Value(`"401003"`), resultName: "IotHubUnauthorized",
			properties: map[string]any{"protocol": "Mqtt", "authType": nil, "maskedIpAddress": "203.0.113.XXX", "statusCode": "401"},
		},
	},
	about: "connections that succeed, another error, and the end of a session whose token expired do not count",
}

var directMethodInvokes = ready{
	alert: Alert{
		Name:      "DirectMethodInvokes",
		AlertType: "IoT_CA_DirectMethodInvokesNotInAllowedRange",
		Severity:  alert.Low,
		Title:     "Custom alert - The number of direct method invokes is outside the allowed range",
		Description: "Direct methods of a device were invoked more often than the rule allows. Whoever may invoke them commands the device. " +
			"A flood of them may come from a stolen service key, or from a program that has gone wrong.",
		Remediation: []string{
			"Ask the owner of the service whether so many invocations were planned.",
			"If they were not, find out who holds the service keys of the hub, and change them.",
		},
		Limits: "The log does not say who invoked a method, and not which one. Invocations that fail count as well. Microsoft documents one sample of a record of this category, without an error.",
		On:     On{Source: Logs, Category: "DirectMethods", Operations: []string{"send"}},
	},
	counted: logRecord{
		operation: "send", level: "Information", duration: "1",
		properties: map[string]any{"RequestSize": 1, "ResponseSize": 1, "sdkVersion": "2017-07-11"},
	},
	passedOver: []logRecord{{
		operation: "other", level: "Information", duration: "1",
		properties: map[string]any{"sdkVersion": "2017-07-11"},
	}},
	about: "an operation that is not an invocation does not count",
}

var deviceTwinUpdates = ready{
	alert: Alert{
		Name:      "DeviceTwinUpdates",
		AlertType: "IoT_CA_TwinUpdatesNotInAllowedRange",
		Severity:  alert.Low,
		Title:     "Custom alert - The number of module twin updates is outside the allowed range",
		Description: "A device updated its twin more often than the rule allows. It may have gone wrong, or somebody else may use its identity. " +
			"Each update counts against the throttles and the bill of the hub.",
		Remediation: []string{
			"See in the evidence whether the updates come at the pace of the device's own program.",
			"If they do not, give the device a new credential, and see what was written into its reported properties.",
		},
		Limits: "Only the updates that devices make are counted. Those that services make are in another category of the log, and an alert has one category: " +
			"ServiceTwinUpdates counts them apart. So a device with as many of both as are allowed is not found. The title is Microsoft's; updates of device twins count, too.",
		On: On{Source: Logs, Category: "D2CTwinOperations", Operations: []string{"update"}},
	},
	counted: logRecord{
		operation: "update", level: "Information", duration: "1",
		properties: map[string]any{"protocol": "Mqtt", "authenticationType": `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`},
	},
	passedOver: []logRecord{{
		operation: "read", level: "Information", duration: "1",
		properties: map[string]any{"protocol": "Mqtt", "authenticationType": `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`},
	}},
	about: "a read of the twin does not count",
}

var serviceTwinUpdates = ready{
	alert: Alert{
		Name:      "ServiceTwinUpdates",
		AlertType: "Hubwatch_ServiceTwinUpdatesNotInAllowedRange",
		Severity:  alert.Low,
		Title:     "The number of twin updates by services is outside the allowed range",
		Description: "Services updated the twin of a device more often than the rule allows. Desired properties and tags command a device. " +
			"A flood of updates may come from a stolen service key, or from a program that has gone wrong.",
		Remediation: []string{
			"Ask the owner of the service whether so many updates were planned.",
			"If they were not, find out who holds the service keys of the hub, change them, and see what was written into the desired properties.",
		},
		Limits: "The log does not say who made an update. Microsoft documents one record of this category, a read, so every operation that is not a read is taken to be an update. " +
			"Updates that devices make are in another category of the log: DeviceTwinUpdates counts them.",
		On:   On{Source: Logs, Category: "C2DTwinOperations"},
		When: `operation.lowerAscii() != "read"`,
	},
	counted: logRecord{
		operation: "update", level: "Information", duration: "1",
		properties: map[string]any{"sdkVersion": "2020-03-13", "messageSize": "10"},
	},
	passedOver: []logRecord{{
		operation: "read", level: "Information", duration: "1",
		properties: map[string]any{"sdkVersion": "2020-03-13", "messageSize": "10"},
	}},
	about: "a read of the twin does not count",
}

// condition returns the condition of the alert on some hubs, whose names are in lower case;
// nil is all hubs.
func (r ready) condition(hubs []string) string {
	if len(hubs) == 0 {
		return r.alert.When
	}
	names := make([]string, len(hubs))
	for i, hub := range hubs {
		names[i] = fmt.Sprintf("%q", hub)
	}
	watched := fmt.Sprintf("hub.lowerAscii() in [%s]", strings.Join(names, ", "))
	if r.alert.When != "" {
		watched += " && " + r.alert.When
	}
	return watched
}

// make returns the alert with a count, whose max is not nil. The width of the count is its
// window. hubs are the hubs that it watches, as condition takes them. grouped says that it
// watches the devices of a list, which is caseDevice alone.
func (r ready) make(c Count, width time.Duration, hubs []string, grouped bool) Alert {
	a := r.alert
	a.Schema, a.Count, a.When = Schema, &c, r.condition(hubs)
	if grouped {
		a.Group = &Group{Devices: []string{caseDevice}}
	}
	a.Cases = r.cases(a, width, hubs)
	return a
}

// caseBegin is when the first record of a case is.
var caseBegin = time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)

// cases returns cases that tell the alert from one in which something is changed, as far as
// mostRecords allows.
func (r ready) cases(a Alert, width time.Duration, hubs []string) (cases []Case) {
	hub := "contoso-hub"
	if len(hubs) > 0 {
		hub = hubs[0]
	}
	most, room := *a.Count.Max, mostRecords
	add := func(c Case) bool {
		if room < len(c.Records) {
			return false
		}
		room -= len(c.Records)
		cases = append(cases, c)
		return true
	}
	// records returns n records of a device from a time on, one in each pace.
	records := func(n int, hub, device string, from time.Time, pace time.Duration) (list []jsontext.Value) {
		for i := range n {
			list = append(list, r.counted.record(a.On.Category, hub, device, from.Add(time.Duration(i)*pace)))
		}
		return list
	}
	gaps := time.Duration(max(most, 1))
	inWindow := ((width - time.Second) / gaps).Truncate(time.Millisecond) // the last is just inside the window of the first
	over := func(hub, device string) []jsontext.Value { return records(most+1, hub, device, caseBegin, inWindow) }
	says := &Says{Entity: caseDevice, Severity: a.Severity}
	add(Case{Name: "fires-above-max", About: fmt.Sprintf("%d of a device in one window are one more than allowed.", most+1), Records: over(hub, caseDevice), Want: Fires, Says: says})

	others, about := []jsontext.Value{}, "and "+r.about
	for _, other := range r.passedOver {
		others = append(others, other.record(a.On.Category, hub, caseDevice, caseBegin))
	}
	if most > 0 && a.Group == nil {
		others = append(others, r.counted.record(a.On.Category, hub, otherDevice, caseBegin))
		about = "another device is counted apart, " + about
	}
	pace := (width + gaps*time.Millisecond - 1) / gaps
	slowly := Case{
		Name: "silent-slowly", About: fmt.Sprintf("%d are in no window together: the last comes when the window of the first is over.", most+1),
		Records: records(most+1, hub, caseDevice, caseBegin, pace.Truncate(time.Millisecond)), Want: Silent,
	}
	long := most > mostAllowed && len(slowly.Records)+len(others) <= room
	if long {
		about = strings.TrimPrefix(about, "and ")
		slowly.About += " " + strings.ToUpper(about[:1]) + about[1:] + "."
		slowly.Records = append(slowly.Records, others...)
	} else {
		allowed := min(most, mostAllowed)
		add(Case{
			Name: "silent-at-max", About: fmt.Sprintf("%d are allowed, %s.", allowed, about),
			Records: append(records(allowed, hub, caseDevice, caseBegin, inWindow), others...), Want: Silent,
		})
	}
	if most > 0 && (long || most <= mostAllowed) {
		add(slowly)
	}

	if a.Group != nil {
		add(Case{Name: "silent-other-device", About: "A device that is not in the group may do it as often as it likes.", Records: over(hub, otherDevice), Want: Silent})
	}
	if len(hubs) > 0 {
		other := "other-hub"
		for slices.Contains(hubs, other) {
			other += "-2"
		}
		add(Case{Name: "silent-other-hub", About: "This hub is not watched.", Records: over(other, caseDevice), Want: Silent})
	}
	if a.Count.Min > 0 {
		for _, c := range r.minCases(a, width, hub, room/2) {
			add(c)
		}
	}
	for i, hub := range hubs {
		if i > 0 {
			add(Case{Name: "fires-on-" + hub, About: "This hub is watched, too.", Records: over(hub, caseDevice), Want: Fires, Says: says})
		}
	}
	return cases
}

// minCases returns a case with fewer than the least records in a window, and one with as
// many; with as few as none and without the other one if they would have more than room
// records each. A window with too few is one of four quarters behind that of a first record,
// and is over (package window).
func (r ready) minCases(a Alert, width time.Duration, hub string, room int) []Case {
	rule := window.Rule{Width: width}
	first := rule.CellOf(caseBegin)
	last, end := rule.CellBegin(first+4), rule.CellBegin(first+5)
	records := func(n int) []jsontext.Value {
		list := []jsontext.Value{r.counted.record(a.On.Category, hub, caseDevice, rule.CellBegin(first))}
		pace := (end.Sub(last) / time.Duration(n+1)).Truncate(time.Millisecond)
		for i := range n {
			list = append(list, r.counted.record(a.On.Category, hub, caseDevice, last.Add(time.Duration(i)*pace)))
		}
		return list
	}
	least := a.Count.Min
	below := min(least-1, max(room-2, 0))
	if below < least-1 {
		below = 0
	}
	cases := []Case{{
		Name: "fires-below-min", About: fmt.Sprintf("A device that was seen before has %d in a window, and at least %d are expected.", below, least),
		Records: append(records(below), r.counted.record(a.On.Category, hub, caseDevice, end)), Want: Fires, Says: &Says{Entity: caseDevice, Severity: a.Severity},
	}}
	if below == least-1 {
		cases = append(cases, Case{
			Name: "silent-at-min", About: fmt.Sprintf("A device that was seen before has %d in a window, as many as are expected.", least),
			Records: append(records(least), r.passedOver[0].record(a.On.Category, hub, caseDevice, end)), Want: Silent,
		})
	}
	return cases
}

// record returns a record of a device, as a hub writes it
// (https://learn.microsoft.com/azure/iot-hub/monitor-iot-hub-reference#resource-logs).
func (r logRecord) record(category, hub, device string, at time.Time) jsontext.Value {
	properties := map[string]any{"deviceId": device}
	for name, value := range r.properties {
		properties[name] = value
	}
	inside, err := json.Marshal(properties, json.Deterministic(true))
	if err != nil {
		panic(err) // not possible: the values are those above
	}
	b, err := json.Marshal(struct {
		Time        string         `json:"time"`
		ResourceID  string         `json:"resourceId"`
		Operation   string         `json:"operationName"`
		Category    string         `json:"category"`
		Level       string         `json:"level"`
		ResultType  jsontext.Value `json:"resultType,omitzero"`
		Description string         `json:"resultDescription,omitzero"`
		Duration    string         `json:"durationMs,omitzero"`
		Properties  string         `json:"properties"`
		Location    string         `json:"location"`
	}{
		at.Format("2006-01-02T15:04:05.999Z"),
		"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/" + strings.ToUpper(hub),
		r.operation, category, r.level, r.resultType, r.resultName, r.duration, string(inside), "westeurope",
	})
	if err != nil {
		panic(err) // not possible: all values are texts
	}
	return b
}

// Ready returns the alert as functions/<Name>/alert.json of hubwatch has it, switched off;
// false if hubwatch ships none that an import makes by this name.
func Ready(name string) (Alert, bool) {
	for _, r := range readyAlerts {
		if r.alert.Name == name {
			return r.make(readyCount(), 15*time.Minute, nil, false), true
		}
	}
	return Alert{}, false
}
