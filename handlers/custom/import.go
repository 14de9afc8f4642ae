package custom

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"hubwatch/handlers/event"
	"hubwatch/handlers/window"
)

// Imported is what the device security groups of a file become, beside the alerts that
// were there.
type Imported struct {
	// Alerts are the alerts of the rules of the file, and those of earlier imports that
	// change because of the file; by name. Alerts that are to stay as they are, and that
	// somebody edited, are not among them.
	Alerts []Alert
	// Removed are the names of alerts of earlier imports that nobody edited, and all of whose
	// rules are in other alerts now; in order.
	Removed []string
	Rules   []Mapping // one for each rule of each group, in the order of the file
	Empty   []string  // the groups that have no rules, for people: contoso-hub, group lab
	Remarks []string  // what beside rules could not be read, and where it stands
}

// Mapping says what became of a rule.
type Mapping struct {
	Hub   string // "" if the file does not say
	Group string // as spelled
	Rule  string // its type, or the list that it stands in if it has none
	// Alerts are the names of the alerts that the rule became, or is in already; nil if there
	// are none.
	Alerts []string
	// Range is what a rule of a range allows, for people; "" for others, and for a rule that
	// cannot be read.
	Range string
	// Blocked says that the rule can be mapped and was not, or not wholly, because of an alert
	// that is there and may not be changed. The last of the notes says which.
	Blocked bool `json:",omitzero"`
	// Notes say why the rule was not mapped, or how what it became differs from it, each in
	// full sentences.
	Notes []string
}

// target is what a rule becomes.
type target struct {
	alerts []ready
	// note is what is lost, and "" if nothing is.
	note string
	// without says why fewer than min cannot be counted; "" if it can.
	without string
}

// targets are the types of rules that can be mapped.
var targets = map[string]target{
	"UnauthorizedOperationsNotInAllowedRange": {
		alerts: []ready{unauthorizedOperations},
		note:   "Only failed authentications of connections are counted. Operations that are refused in an open connection are not.",
	},
	"DirectMethodInvokesNotInAllowedRange": {alerts: []ready{directMethodInvokes}},
	"TwinUpdatesNotInAllowedRange": {
		alerts:  []ready{deviceTwinUpdates, serviceTwinUpdates},
		note:    "The updates by the device and those by services are counted apart, since they are in two categories of the log. The rule counted both together.",
		without: "neither of the two counts can say how many of both there were",
	},
}

// Reasons why types of rules cannot be mapped.
const (
	noProtocol = "No log and no event of IoT Hub has the messages of a device with their protocol: the log category has errors alone, and the event " +
		"DeviceTelemetry has no protocol. The alert DeviceMessages counts the messages of all protocols together."
	noCommands = "The log category C2DCommands has errors alone. No log and no event of IoT Hub has cloud-to-device messages that were sent."
	noRejected = "The log category C2DCommands has errors of the hub. A device that rejects a message is not one: there is a metric of the hub for it, without the device."
	needsAgent = "The rule was judged from what the agent of Defender for IoT collected on the device. No log and no event of IoT Hub has it."
)

// unmapped are the types of rules that cannot be mapped, and why.
var unmapped = map[string]string{
	"AmqpC2DMessagesNotInAllowedRange":         noCommands,
	"MqttC2DMessagesNotInAllowedRange":         noCommands,
	"HttpC2DMessagesNotInAllowedRange":         noCommands,
	"AmqpC2DRejectedMessagesNotInAllowedRange": noRejected,
	"MqttC2DRejectedMessagesNotInAllowedRange": noRejected,
	"HttpC2DRejectedMessagesNotInAllowedRange": noRejected,
	"AmqpD2CMessagesNotInAllowedRange":         noProtocol,
	"MqttD2CMessagesNotInAllowedRange":         noProtocol,
	"HttpD2CMessagesNotInAllowedRange":         noProtocol,
	"FileUploadsNotInAllowedRange":             "The log category FileUploadOperations has errors alone. No log and no event of IoT Hub has uploads that succeeded.",
	"QueuePurgesNotInAllowedRange":             "No log and no event of IoT Hub has the purge of a device's queue: the log category C2DCommands has errors alone.",
	"ActiveConnectionsNotInAllowedRange":       needsAgent,
	"FailedLocalLoginsNotInAllowedRange":       needsAgent,
	"ConnectionFromIpNotAllowed":               needsAgent,
	"ConnectionToIpNotAllowed":                 needsAgent,
	"LocalUserNotAllowed":                      needsAgent,
	"ProcessNotAllowed":                        needsAgent,
}

// unsupported are the lists of rules that the API has and that Microsoft's service did not
// support (https://github.com/hashicorp/terraform-provider-azurerm/pull/10353).
var unsupported = map[string]string{
	thresholdRules: "Microsoft's service did not support rules with a threshold and without a window.",
	denyRules:      "Microsoft's service did not support denylists.",
}

// definition is what has to be the same for rules of several hubs to be one alert.
type definition struct {
	kind     string // the name of the ready alert that it is made of
	group    string
	window   string
	min, max int // max is -1 for an alert that is there and has none, or does not count devices
}

// rangeText says what a definition allows, for people.
func (d definition) rangeText() string {
	if d.max < 0 {
		return "a count of another kind"
	}
	return fmt.Sprintf("%d to %d in %s", d.min, d.max, d.window)
}

// Import makes custom alerts of the device security groups of Microsoft Defender for IoT,
// in any form in which people have them: what the REST API answers, a template, or the
// state of Terraform. It is pure: the same file beside the same alerts gives the same. Its
// error means that the file as a whole cannot be read. What of it cannot be mapped stands
// in the mappings, rule by rule.
//
// have are the alerts that are there, as Load returns them. Those of earlier imports that
// nobody edited change with the file, and keep their names; any other alert stays as it is.
// What the file says nothing of, another hub for example, stays as an earlier import made it.
//
// A rule gets an alert when its count is above maxThreshold, or below minThreshold if that
// is more than 0, in any window of timeWindowSize. Microsoft documents neither how its
// windows lay nor whether the thresholds are inside the range; the names of the rules say
// that they are.
func Import(data []byte, have []Alert) (Imported, error) {
	e, err := readExport(data)
	if err != nil {
		return Imported{}, err
	}
	in := Imported{Remarks: e.remarks}
	hubs := map[definition][]string{}
	for _, g := range e.groups {
		in.Remarks = append(in.Remarks, g.remarks...)
		if len(g.rules) == 0 && len(g.remarks) == 0 {
			in.Empty = append(in.Empty, fmt.Sprintf("%s, group %s", cmp.Or(g.hub, "a hub that the file does not name"), g.name))
		}
		for _, r := range g.rules {
			for _, d := range definitionsOf(g, r) {
				if hub := strings.ToLower(g.hub); !slices.Contains(hubs[d], hub) {
					hubs[d] = append(hubs[d], hub)
				}
			}
		}
	}
	merged := merge(hubs, have)
	for _, g := range e.groups {
		for _, r := range g.rules {
			in.Rules = append(in.Rules, mapRule(g, r, merged))
		}
	}
	in.Alerts, in.Removed = merged.alerts()
	return in, nil
}

// definitionsOf returns what the alerts of a rule say; nil if it cannot be mapped.
func definitionsOf(g securityGroup, r securityRule) (list []definition) {
	if r.kind != windowRules || !r.on || r.flaw != "" || g.flaw != "" || countOf(r).flaw != "" {
		return nil
	}
	to := targets[r.name]
	for _, kind := range to.alerts {
		d := definition{kind.alert.Name, g.name, FormatDuration(countOf(r).rule.Width), r.min, r.max}
		if to.without != "" {
			d.min = 0
		}
		list = append(list, d)
	}
	return list
}

// counted is what a rule counts, or why it cannot be counted.
type counted struct {
	rule window.Rule
	flaw string
}

// countOf reads the range of a rule.
func countOf(r securityRule) counted {
	width, err := parseDuration(r.window)
	if err != nil {
		return counted{flaw: fmt.Sprintf("timeWindowSize: %v.", err)}
	}
	c := counted{rule: window.Rule{Name: r.name, Width: width, Max: &r.max, Min: r.min}}
	if err := c.rule.Check(); err != nil {
		c.flaw = fmt.Sprintf("hubwatch does not count in that way: %v.", err)
	}
	return c
}

// whyNot returns why a rule cannot be mapped; "" if it can.
func whyNot(g securityGroup, r securityRule) string {
	_, known := targets[r.name]
	switch {
	case r.flaw != "":
		return fmt.Sprintf("The rule cannot be read. %s.", r.flaw)
	case !r.on:
		return "The rule is switched off."
	case unsupported[r.kind] != "":
		return unsupported[r.kind]
	case unmapped[r.name] != "":
		return unmapped[r.name]
	case r.kind != windowRules || !known:
		return "hubwatch does not know this type of rule."
	case g.flaw != "":
		return g.flaw + "."
	}
	return countOf(r).flaw
}

// mapRule says what became of a rule.
func mapRule(g securityGroup, r securityRule, merged *merger) Mapping {
	m := Mapping{Hub: g.hub, Group: g.name, Rule: cmp.Or(r.name, r.kind)}
	note := func(format string, args ...any) { m.Notes = append(m.Notes, fmt.Sprintf(format, args...)) }
	if r.kind == windowRules && r.flaw == "" {
		m.Range = fmt.Sprintf("%d to %d in %s", r.min, r.max, event.Shorten(r.window))
	}
	to := targets[r.name]
	if why := whyNot(g, r); why != "" {
		note("%s", why)
		for _, kind := range to.alerts {
			if h := merged.watching(kind.alert.Name, g); h != nil {
				note("functions/%s/%s is about such a rule of this group and hub, and stays: set enabled to false in it, if it is to end.", h.alert.Name, FileName)
			}
		}
		return m
	}
	list := definitionsOf(g, r)
	places := make([]placement, len(list))
	for i, d := range list {
		places[i] = merged.placed(d, g.hub)
	}
	if r.min > 0 && to.without != "" {
		note("That there are fewer than %d is not mapped: %s.", r.min, to.without)
	}
	if to.note != "" {
		note("%s", to.note)
	}
	if list[0].min > 0 {
		note("Fewer than %d are looked for in windows that begin every quarter of a window, for devices that were seen at least once.", r.min)
	}
	if list[0].window != r.window {
		note("The window %s is written as %s.", r.window, list[0].window)
	}
	if slices.ContainsFunc(places, func(at placement) bool { return at.note == "" }) {
		note("%s", groupNote(g))
		if g.hub == "" {
			note("The file does not say which hub the group is of, so all hubs are watched.")
		}
	}
	if merged.twice(list[0], g.hub) {
		note("The file has another rule of this type for this group and hub, with another range. Each of them is an alert.")
	}
	for _, at := range places {
		if !at.blocked {
			m.Alerts = append(m.Alerts, at.name)
		}
		if at.note != "" {
			note("%s", at.note)
		}
		m.Blocked = m.Blocked || at.blocked
	}
	return m
}

// isDefault reports whether a group is the one that each hub has.
func isDefault(group string) bool { return group == "default" }

// plain is a name that can stand in a command as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// groupNote says what became of the group of a rule, whose members hubwatch cannot know.
func groupNote(g securityGroup) string {
	if isDefault(g.name) {
		return "All devices are watched, also those of other groups: a device belongs to a group by the tag SecurityGroup of its twin, which hubwatch does not read."
	}
	text := "The alert is written switched off, and watches no device yet: a device belongs to a group by the tag SecurityGroup of its twin, which hubwatch does not read. " +
		"Put the ids of the group's devices, or patterns of them, in place of " + caseDevice + ", in group.devices and in the cases, and set enabled to true."
	if plain.MatchString(g.name) && plain.MatchString(g.hub) {
		text += fmt.Sprintf(` To list them: az iot hub query --hub-name %s --query-command "SELECT deviceId FROM devices WHERE tags.SecurityGroup = '%s'"`, g.hub, g.name)
	}
	return text
}

// pascal returns s as the end of a Go identifier: thermo-stats becomes ThermoStats. What is
// too long for the name of an alert is cut and ends in a hash. Different texts may become
// the same.
func pascal(s string) string {
	const most = 32
	words := strings.FieldsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var b strings.Builder
	for _, word := range words {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	name := b.String()
	if name == "" && s != "" || len(name) > most {
		sum := sha256.Sum256([]byte(s))
		name = fmt.Sprintf("%s%X", name[:min(len(name), most-8)], sum[:4])
	}
	return name
}

// typeSafe returns s as a part of a type of alerts, of 64 letters at most. Different texts
// may become the same.
func typeSafe(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r) {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
