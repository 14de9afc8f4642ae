package custom

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"hubwatch/handlers/event"
	"hubwatch/handlers/window"
)

// Imported is what the device security groups of a file became.
type Imported struct {
	Alerts  []Alert   // by name
	Rules   []Mapping // one for each rule of each group, in the order of the file
	Remarks []string  // what beside rules could not be read, and where it stands
}

// Mapping says what became of a rule.
type Mapping struct {
	Hub   string // "" if the file does not say
	Group string // as spelled
	Rule  string // its type, or the list that it stands in if it has none
	// Alerts are the names of the alerts that the rule became; nil if it became none.
	Alerts []string
	// Range is what a rule of a range allows, for people; "" for others, and for a rule that
	// cannot be read.
	Range string
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
	rule, group, window string
	min, max            int
}

// Import makes custom alerts of the device security groups of Microsoft Defender for IoT,
// in any form in which people have them: what the REST API answers, a template, or the
// state of Terraform. It is pure: the same file gives the same alerts. Its error means
// that the file as a whole cannot be read. What of it cannot be mapped stands in the
// mappings, rule by rule.
//
// A rule gets an alert when its count is above maxThreshold, or below minThreshold if that
// is more than 0, in any window of timeWindowSize. Microsoft documents neither how its
// windows lay nor whether the thresholds are inside the range; the names of the rules say
// that they are.
func Import(data []byte) (Imported, error) {
	e, err := readExport(data)
	if err != nil {
		return Imported{}, err
	}
	in := Imported{Remarks: e.remarks}
	hubs := map[definition][]string{}
	for _, g := range e.groups {
		in.Remarks = append(in.Remarks, g.remarks...)
		for _, r := range g.rules {
			if d, ok := definitionOf(g, r); ok && !slices.Contains(hubs[d], g.hub) {
				hubs[d] = append(hubs[d], g.hub)
			}
		}
	}
	names := nameAll(hubs)
	made := map[string]Alert{}
	for _, g := range e.groups {
		for _, r := range g.rules {
			in.Rules = append(in.Rules, mapRule(g, r, hubs, names, made))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		in.Alerts = append(in.Alerts, made[name])
	}
	return in, nil
}

// definitionOf returns what a rule says, if it can be mapped.
func definitionOf(g securityGroup, r securityRule) (definition, bool) {
	if _, ok := targets[r.name]; !ok || r.kind != windowRules || !r.on || r.flaw != "" || countOf(r).flaw != "" {
		return definition{}, false
	}
	return definition{r.name, g.name, FormatDuration(countOf(r).rule.Width), r.min, r.max}, true
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

// mapRule makes the alerts of a rule, puts them into made, and says what became of it.
func mapRule(g securityGroup, r securityRule, hubs map[definition][]string, names map[definition]string, made map[string]Alert) Mapping {
	m := Mapping{Hub: g.hub, Group: g.name, Rule: cmp.Or(r.name, r.kind)}
	note := func(format string, args ...any) { m.Notes = append(m.Notes, fmt.Sprintf(format, args...)) }
	if r.kind == windowRules && r.flaw == "" {
		m.Range = fmt.Sprintf("%d to %d in %s", r.min, r.max, event.Shorten(r.window))
	}
	to, known := targets[r.name]
	switch why := unmapped[r.name]; {
	case r.flaw != "":
		note("The rule cannot be read. %s.", r.flaw)
		return m
	case !r.on:
		note("The rule is switched off.")
		return m
	case unsupported[r.kind] != "":
		note("%s", unsupported[r.kind])
		return m
	case why != "":
		note("%s", why)
		return m
	case r.kind != windowRules || !known:
		note("hubwatch does not know this type of rule.")
		return m
	}
	c := countOf(r)
	if c.flaw != "" {
		note("%s", c.flaw)
		return m
	}
	d, _ := definitionOf(g, r)
	if names[d] == "-" {
		note("The file has another rule of this type for the same group and hub, with another range. Only one of the two can have the type of the alert.")
		return m
	}
	count := Count{Per: "device", Window: d.window, Max: &r.max, Min: r.min}
	if r.min > 0 && to.without != "" {
		count.Min = 0
		note("That there are fewer than %d is not mapped: %s.", r.min, to.without)
	}
	if to.note != "" {
		note("%s", to.note)
	}
	if count.Min > 0 {
		note("Fewer than %d are looked for in windows that begin every quarter of a window, for devices that were seen at least once.", r.min)
	}
	if d.window != r.window {
		note("The window %s is written as %s.", r.window, d.window)
	}
	note("%s", groupNote(g))
	watched := slices.DeleteFunc(slices.Clone(hubs[d]), func(hub string) bool { return hub == "" })
	if len(watched) < len(hubs[d]) {
		note("The file does not say which hub the group is of, so all hubs are watched.")
		watched = nil
	}
	for _, kind := range to.alerts {
		a := kind.make(count, c.rule.Width, watched)
		a.Enabled = true
		a.Name += pascal(names[d])
		if names[d] != "" {
			a.AlertType += "." + typeSafe(names[d])
		}
		if !isDefault(g.name) {
			a.Enabled, a.Group = false, &Group{Devices: []string{caseDevice}}
		}
		made[a.Name] = a
		m.Alerts = append(m.Alerts, a.Name)
	}
	return m
}

// isDefault reports whether a group is the one that each hub has.
func isDefault(group string) bool { return group == "default" }

// plain is a name that can stand in a command as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// groupNote says what became of the group of a rule, which hubwatch cannot know.
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

// nameAll returns what tells the alert of a definition from others of its type: "" for the
// group that each hub has, else the name of the group; with the first of its hubs if the
// group has rules of this type that differ between hubs. It is "-" for a definition that
// another one of the same hub leaves no name for. The names do not depend on the order of
// the file.
func nameAll(hubs map[definition][]string) map[definition]string {
	variants := map[[2]string][]definition{}
	for d := range hubs {
		slices.Sort(hubs[d])
		key := [2]string{d.rule, d.group}
		variants[key] = append(variants[key], d)
	}
	names, taken := map[definition]string{}, map[string]definition{}
	keys := slices.SortedFunc(maps.Keys(variants), func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	for _, key := range keys {
		list := variants[key]
		slices.SortFunc(list, func(a, b definition) int {
			return cmp.Or(slices.Compare(hubs[a], hubs[b]), cmp.Compare(a.max, b.max), cmp.Compare(a.min, b.min), strings.Compare(a.window, b.window))
		})
		for _, d := range list {
			name := d.group
			if isDefault(name) {
				name = ""
			}
			if len(list) > 1 {
				name = strings.Trim(name+"."+hubs[d][0], ".")
			}
			id := d.rule + "/" + strings.ToLower(pascal(name))
			other, ok := taken[id]
			switch {
			case ok && other.group == d.group:
				names[d] = "-"
				continue
			case ok: // Two groups whose names differ in signs alone.
				sum := sha256.Sum256([]byte(name))
				name += fmt.Sprintf(".%x", sum[:3])
			}
			taken[id], names[d] = d, name
		}
	}
	return names
}

// pascal returns s as the end of a Go identifier: thermo-stats becomes ThermoStats. What is
// too long for the name of an alert is cut and ends in a hash.
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

// typeSafe returns s as a part of a type of alerts.
func typeSafe(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r) {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
