package custom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/event"
)

// This file reads the device security groups of Microsoft Defender for IoT from the
// forms in which people have them:
//
//   - what the REST API answers, one group or a list
//     (https://learn.microsoft.com/javascript/api/@azure/arm-security/devicesecuritygrouplist),
//   - a template of Azure Resource Manager, exported or compiled from Bicep
//     (https://learn.microsoft.com/azure/templates/microsoft.security/devicesecuritygroups),
//   - the state of Terraform, version 4, and what terraform show -json prints
//     (https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs/resources/iot_security_device_group).
//
// What cannot be read is never left out: it becomes a remark or a flaw of its group, or a flaw
// of its rule. No rule of a group with a flaw is mapped: if the file names a hub in a way that
// hubwatch cannot read, an alert on all hubs would watch more than the rule did.

// securityGroup is one device security group.
type securityGroup struct {
	hub     string // the name of its hub, "" if the file does not say
	name    string // as spelled
	rules   []securityRule
	remarks []string // what of the group could not be read, and where it stands
	flaw    string   // why nobody can know which group of which hub it is, "" if the file says it, or says nothing of the hub
}

// securityRule is one rule of a group.
type securityRule struct {
	kind   string // the list that it stands in: timeWindowRules, thresholdRules, allowlistRules, denylistRules
	name   string // its ruleType; "" if it has none
	on     bool
	min    int
	max    int
	window string // timeWindowSize, as spelled; "" if it has none
	flaw   string // why the rule cannot be read, "" if it can
}

// Lists of rules of a group.
const (
	windowRules    = "timeWindowRules"
	thresholdRules = "thresholdRules"
	allowRules     = "allowlistRules"
	denyRules      = "denylistRules"
)

// groupType is the resource type of a group, and classicGroupType the same as a template
// has it whose resource names its hub in its own name.
const (
	groupType          = "Microsoft.Security/deviceSecurityGroups"
	classicGroupType   = "Microsoft.Devices/IotHubs/providers/deviceSecurityGroups"
	terraformGroupType = "azurerm_iot_security_device_group"
)

// export is what a file has of device security groups.
type export struct {
	groups  []securityGroup
	remarks []string // what beside groups could not be read, and may have some
}

// add puts what other has behind what e has.
func (e *export) add(other export) {
	e.groups, e.remarks = append(e.groups, other.groups...), append(e.remarks, other.remarks...)
}

// readExport reads a file. Its error says what is wrong with all of it: it is not JSON, has
// none of the known forms, goes on elsewhere, or has no group.
func readExport(data []byte) (e export, err error) {
	if data, err = inUTF8(data); err != nil {
		return e, err
	}
	var root any
	if err := json.Unmarshal(data, &root); err != nil {
		return e, event.JSONError(err)
	}
	top := part{root, ""}
	switch {
	case top.has("resources") && top.has("terraform_version"):
		if version, _ := top.get("version").number(); version != 4 {
			return e, fmt.Errorf("version: want the state of Terraform in version 4, have %s", top.get("version"))
		}
		for _, resource := range top.get("resources").list() {
			instances := resource.get("instances")
			if !instances.isList() {
				e.remarks = append(e.remarks, fmt.Sprintf("%s: want a list, have %s", instances.path, instances))
			}
			for _, instance := range instances.list() {
				e.add(terraformResource(resource.get("type"), instance.get("attributes")))
			}
		}
	case top.has("values") && top.has("format_version"):
		e = terraformModule(top.get("values").get("root_module"))
	case top.has("resources"):
		e = templateExport(top, scope{}, part{})
	case top.has("value"):
		if next := top.get("nextLink").text(); next != "" {
			return e, errors.New("nextLink: the list goes on at another address; get all of it, and put all groups into one value")
		}
		for _, n := range top.get("value").list() {
			e.groups = append(e.groups, apiGroup(n))
		}
	case top.isList():
		for _, n := range top.list() {
			e.groups = append(e.groups, apiGroup(n))
		}
	case top.has("properties"):
		e.groups = []securityGroup{apiGroup(top)}
	default:
		return e, errors.New("want device security groups: an answer of the REST API (value or properties), a template (resources), or the state of Terraform")
	}
	if len(e.groups) == 0 {
		return e, errors.New(strings.Join(append([]string{"there is no device security group in it"}, e.remarks...), "; "))
	}
	for i := range e.groups {
		e.groups[i].check()
	}
	return e, nil
}

// Byte order marks (https://www.unicode.org/faq/utf_bom.html).
var markUTF8, markLittle, markBig = []byte{0xEF, 0xBB, 0xBF}, []byte{0xFF, 0xFE}, []byte{0xFE, 0xFF}

// inUTF8 returns a text in UTF-8 and without a byte order mark. With such a mark the text may
// be in UTF-16, too: the > of Windows PowerShell writes that
// (https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_character_encoding).
func inUTF8(text []byte) ([]byte, error) {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(text, markBig):
		order = binary.BigEndian
	case !bytes.HasPrefix(text, markLittle):
		return bytes.TrimPrefix(text, markUTF8), nil
	}
	if len(text)%2 != 0 {
		return nil, fmt.Errorf("the file is in UTF-16, and has %d bytes: want an even number; the end is missing", len(text))
	}
	var units []uint16
	for unit := range slices.Chunk(text[2:], 2) {
		units = append(units, order.Uint16(unit))
	}
	return []byte(string(utf16.Decode(units))), nil
}

// hubForm is what the names of hubs look like, and mostGroup the most letters of a name of a
// group (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
// Shorter names of hubs than Azure gives are taken.
var hubForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?$`)

const mostGroup = 260

// check notes a name that no hub or no group can have.
func (g *securityGroup) check() {
	switch {
	case g.flaw != "":
	case g.hub != "" && !hubForm.MatchString(g.hub):
		g.flaw = fmt.Sprintf("No IoT hub can be called %q", event.Shorten(g.hub))
	case len(g.name) > mostGroup:
		g.flaw = fmt.Sprintf("The name of the group has %d letters: want %d at most", len(g.name), mostGroup)
	}
}

// apiGroup reads a group as the REST API has it.
func apiGroup(n part) securityGroup {
	g := securityGroup{name: n.get("name").text()}
	if kind := n.get("type").text(); kind != "" && !strings.EqualFold(kind, groupType) {
		g.remark("%s: %q is not a device security group", n.get("type").path, kind)
		return g
	}
	g.locate(n.get("id"))
	g.properties(n.get("properties"), scope{})
	return g
}

// locate takes hub and name from the first of some resource ids that is there: that of the
// group, or of its hub.
func (g *securityGroup) locate(ids ...part) {
	for _, id := range ids {
		if id.v == nil || id.v == "" {
			continue
		}
		r, err := event.ParseResourceID("/" + strings.TrimPrefix(id.text(), "/"))
		if err != nil || !r.OnHub() {
			g.flaw = fmt.Sprintf("%s: want the id of a device security group of an IoT hub, have %s", id.path, id)
			return
		}
		g.hub = r.Name
		if strings.EqualFold(r.ChildType, groupType) {
			g.name = r.ChildName
		}
		return
	}
}

// remark notes what of the group could not be read.
func (g *securityGroup) remark(format string, args ...any) {
	g.remarks = append(g.remarks, fmt.Sprintf(format, args...))
}

// properties reads the rules of a group as the API and templates have them.
func (g *securityGroup) properties(n part, s scope) {
	if !n.isObject() {
		g.remark("%s: want an object with the rules of the group, have %s", n.path, n)
		return
	}
	lists := []string{windowRules, thresholdRules, allowRules, denyRules}
	for _, name := range lists {
		for _, rule := range g.list(n.get(name)) {
			g.rules = append(g.rules, apiRule(name, rule, s))
		}
	}
	for _, name := range n.names() {
		if !slices.Contains(lists, name) {
			g.remark("%s: hubwatch does not know this member", n.get(name).path)
		}
	}
}

// list returns the elements of a list of rules, and notes anything else. Null is an empty
// list.
func (g *securityGroup) list(n part) []part {
	if !n.isList() && n.v != nil {
		g.remark("%s: want a list of rules, have %s", n.path, n)
		return nil
	}
	return n.list()
}

// apiRule reads a rule as the API and templates have it.
func apiRule(kind string, n part, s scope) securityRule {
	r := securityRule{kind: kind, name: s.value(n.get("ruleType")).text()}
	on, ok := s.value(n.get("isEnabled")).v.(bool)
	r.on = on
	switch {
	case r.name == "":
		r.flaw = fmt.Sprintf("%s: want the type of the rule, have %s", n.get("ruleType").path, n.get("ruleType"))
	case !ok:
		r.flaw = fmt.Sprintf("%s: want true or false, have %s", n.get("isEnabled").path, n.get("isEnabled"))
	case kind != windowRules:
	default:
		r.limits(s.value(n.get("minThreshold")), s.value(n.get("maxThreshold")), s.value(n.get("timeWindowSize")))
	}
	r.only(n, "ruleType", "isEnabled", "displayName", "description", "minThreshold", "maxThreshold", "timeWindowSize", "valueType", "allowlistValues", "denylistValues")
	return r
}

// only notes a member of the rule that is not one of these, unless something is wrong already.
func (r *securityRule) only(n part, known ...string) {
	for _, name := range n.names() {
		if r.flaw == "" && !slices.Contains(known, name) {
			r.flaw = fmt.Sprintf("%s: hubwatch does not know this member", n.get(name).path)
		}
	}
}

// limits reads the range and the window of a rule.
func (r *securityRule) limits(low, high, window part) {
	for _, limit := range []struct {
		n  part
		to *int
	}{{low, &r.min}, {high, &r.max}} {
		number, ok := limit.n.number()
		if !ok {
			r.flaw = fmt.Sprintf("%s: want a whole number, have %s", limit.n.path, limit.n)
			return
		}
		*limit.to = number
	}
	if r.window = window.text(); r.window == "" {
		r.flaw = fmt.Sprintf("%s: want a duration, have %s", window.path, window)
	}
}

// terraformModule returns the groups of a module, and of the modules in it, as terraform
// show -json prints them.
func terraformModule(module part) (e export) {
	for _, resource := range module.get("resources").list() {
		e.add(terraformResource(resource.get("type"), resource.get("values")))
	}
	for _, child := range module.get("child_modules").list() {
		e.add(terraformModule(child))
	}
	return e
}

// terraformResource returns the group of a resource. Other types of resources may have groups,
// too: azapi_resource is of any type of Azure, and a deployment has a template
// (https://registry.terraform.io/providers/Azure/azapi/latest/docs/resources/resource).
func terraformResource(kind, attributes part) (e export) {
	switch {
	case kind.text() == terraformGroupType:
		e.groups = []securityGroup{terraformGroup(attributes)}
	case attributes.mentions(groupType) || attributes.mentions(classicGroupType):
		e.remarks = []string{fmt.Sprintf("%s: hubwatch does not read %s, which may make a group: import what the REST API answers", kind.path, kind)}
	}
	return e
}

// allowed are the members of Terraform's allow_rule, and the types of the rules that they
// make. The first versions of the provider had the names in the singular.
var allowed = map[string]string{
	"connection_from_ips_not_allowed": "ConnectionFromIpNotAllowed",
	"connection_to_ips_not_allowed":   "ConnectionToIpNotAllowed",
	"connection_to_ip_not_allowed":    "ConnectionToIpNotAllowed",
	"local_users_not_allowed":         "LocalUserNotAllowed",
	"local_user_not_allowed":          "LocalUserNotAllowed",
	"processes_not_allowed":           "ProcessNotAllowed",
	"process_not_allowed":             "ProcessNotAllowed",
}

// terraformGroup reads the attributes of a group in Terraform. Terraform only has rules
// that are enabled.
func terraformGroup(n part) securityGroup {
	g := securityGroup{name: n.get("name").text()}
	if !n.isObject() {
		g.remark("%s: want an object with the rules of the group, have %s", n.path, n)
	}
	g.locate(n.get("id"), n.get("iothub_id"))
	for _, name := range n.names() {
		switch list := n.get(name); name {
		case "id", "name", "iothub_id", "timeouts":
		case "range_rule":
			for _, rule := range g.list(list) {
				r := securityRule{kind: windowRules, name: rule.get("type").text(), on: true}
				r.limits(rule.get("min"), rule.get("max"), rule.get("duration"))
				r.only(rule, "type", "min", "max", "duration")
				g.rules = append(g.rules, r)
			}
		case "allow_rule":
			for _, rule := range g.list(list) {
				for _, member := range rule.names() {
					kind, ok := allowed[member]
					if values := rule.get(member); !ok {
						g.remark("%s: hubwatch does not know this member", values.path)
					} else if len(values.list()) > 0 {
						g.rules = append(g.rules, securityRule{kind: allowRules, name: kind, on: true})
					}
				}
			}
		default:
			g.remark("%s: hubwatch does not know this member", list.path)
		}
	}
	return g
}

// part is a value of a JSON document, and the path to it.
type part struct {
	v    any
	path string
}

func (n part) isObject() bool { _, ok := n.v.(map[string]any); return ok }
func (n part) isList() bool   { _, ok := n.v.([]any); return ok }

// has reports whether n is an object with this member.
func (n part) has(name string) bool {
	o, _ := n.v.(map[string]any)
	_, ok := o[name]
	return ok
}

// get returns a member of an object, and null if there is none.
func (n part) get(name string) part {
	o, _ := n.v.(map[string]any)
	return part{o[name], strings.TrimPrefix(n.path+"."+name, ".")}
}

// names returns the names of the members of an object, sorted.
func (n part) names() (names []string) {
	o, _ := n.v.(map[string]any)
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// list returns the elements of a list, and the members of an object by name.
func (n part) list() (list []part) {
	values, _ := n.v.([]any)
	for i, v := range values {
		list = append(list, part{v, fmt.Sprintf("%s[%d]", n.path, i)})
	}
	for _, name := range n.names() {
		list = append(list, n.get(name))
	}
	return list
}

// fold returns a member of an object whose name is in any letter case, and whether it is there.
func (n part) fold(name string) (part, bool) {
	for _, other := range n.names() {
		if strings.EqualFold(other, name) {
			return n.get(other), true
		}
	}
	return part{}, false
}

// mentions reports whether a text in n has a word, in any letter case.
func (n part) mentions(word string) bool {
	return strings.Contains(strings.ToLower(n.text()), strings.ToLower(word)) ||
		slices.ContainsFunc(n.list(), func(inner part) bool { return inner.mentions(word) })
}

// text returns a string, and "" for anything else.
func (n part) text() string { s, _ := n.v.(string); return s }

// number returns a whole number.
func (n part) number() (int, bool) {
	f, ok := n.v.(float64)
	return int(f), ok && f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32
}

// String is how an error has the value.
func (n part) String() string {
	switch v := n.v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("%q", event.Shorten(v))
	default:
		return fmt.Sprint(v)
	}
}
