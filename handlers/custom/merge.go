package custom

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file puts the rules of a file that is imported beside the alerts that are there.
//
// The alerts of one kind and group share their hubs out: each rule of the file is in one
// alert for each of its hubs. An alert of an earlier import that nobody edited is made anew:
// it loses the hubs for which the file has another range, and gets those for which the file
// has its own. So its name and the type of its alerts stay, and what it says of hubs that the
// file does not name, too. It is known by its content: it is exactly what an import makes of
// its own count, hubs and group.

// allHubs stands for all hubs in a list of hubs.
const allHubs = ""

// holder is an alert of a kind that imports make, which is there or is going to be.
type holder struct {
	definition
	alert Alert    // as it is there; the zero value if it is not
	hubs  []string // those that it watches, in lower case and in order; or allHubs alone
	// own says that the alert is what an import made, so that it can be made anew.
	own             bool
	name, alertType string
}

// merger is the alerts that are there together with the rules of a file.
type merger struct {
	holders []*holder
	taken   map[string]bool // names and types of alerts that are there and stay, in lower case
	// hubs are those for which the file has a rule of a kind and group.
	hubs   map[[2]string][]string
	places map[definition]map[string]placement
}

// placement is what became of a rule on one hub.
type placement struct {
	name    string // of the alert that has the rule
	blocked bool   // there is none, because of an alert that stays as it is
	note    string // for people; "" if there is nothing to say
}

// merge puts definitions and their hubs beside the alerts that are there.
func merge(wanted map[definition][]string, have []Alert) *merger {
	m := &merger{taken: takenNamesAndTypes(have), hubs: map[[2]string][]string{}, places: map[definition]map[string]placement{}}
	for _, a := range have {
		if h, ok := holderOf(a); ok {
			m.holders = append(m.holders, &h)
		}
	}
	definitions := slices.SortedFunc(maps.Keys(wanted), func(a, b definition) int {
		return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.group, b.group), slices.Compare(sorted(wanted[a]), sorted(wanted[b])),
			cmp.Compare(a.max, b.max), cmp.Compare(a.min, b.min), strings.Compare(a.window, b.window))
	})
	left := map[definition][]string{}
	for _, d := range definitions {
		hubs := sorted(wanted[d])
		if slices.Contains(hubs, allHubs) {
			hubs = []string{allHubs}
		}
		left[d] = hubs
		of := [2]string{d.kind, d.group}
		m.hubs[of] = append(m.hubs[of], hubs...)
		m.places[d] = map[string]placement{}
	}
	m.stay(left)
	m.block(left)
	for _, d := range definitions {
		left[d] = m.spread(d, left[d])
	}
	m.create(definitions, left)
	for _, h := range m.holders {
		if !h.own {
			continue
		}
		for _, hub := range h.hubs {
			if places := m.places[h.definition]; places != nil {
				places[hub] = placement{name: h.name}
			}
		}
	}
	return m
}

// stay takes from each alert that can be made anew the hubs for which the file has another
// range, and from left those hubs for which an alert has the range already.
func (m *merger) stay(left map[definition][]string) {
	for _, h := range m.holders {
		wanted, named := left[h.definition], m.hubs[[2]string{h.kind, h.group}]
		if h.own {
			h.hubs = slices.DeleteFunc(h.hubs, func(hub string) bool {
				return (slices.Contains(named, hub) || slices.Contains(named, allHubs)) && !slices.Contains(wanted, hub)
			})
		}
		left[h.definition] = slices.DeleteFunc(wanted, func(hub string) bool {
			if !slices.Contains(h.hubs, hub) && !slices.Contains(h.hubs, allHubs) {
				return false
			}
			at := placement{name: h.name}
			if !h.own {
				at.note = fmt.Sprintf("functions/%s/%s has this range already. Somebody edited it, so it is left as it is.", h.name, FileName)
				if !h.alert.Enabled && isDefault(h.group) {
					at.note += " It is switched off."
				}
			}
			m.places[h.definition][hub] = at
			return true
		})
	}
}

// block takes from left the hubs that an alert with another range watches, and that cannot
// be taken from it.
func (m *merger) block(left map[definition][]string) {
	for d, hubs := range left {
		left[d] = slices.DeleteFunc(hubs, func(hub string) bool {
			i := slices.IndexFunc(m.holders, func(h *holder) bool {
				return h.definition != d && h.kind == d.kind && h.group == d.group && h.blocks(hub)
			})
			if i < 0 {
				return false
			}
			h := m.holders[i]
			why := "Somebody edited it, so it is left as it is."
			if h.own {
				why = "It watches all hubs, so it is left as it is."
			}
			m.places[d][hub] = placement{blocked: true, note: fmt.Sprintf(
				"This is not taken over: functions/%s/%s is about this hub already, with %s. %s "+
					"Change its count, condition and cases, or delete the file and import again.", h.name, FileName, h.rangeText(), why)}
			return true
		})
	}
}

// blocks reports whether no other alert of the kind and group can be made for a hub.
func (h *holder) blocks(hub string) bool {
	watched := slices.Contains(h.hubs, hub) || slices.Contains(h.hubs, allHubs) || hub == allHubs && len(h.hubs) > 0
	switch {
	case h.own:
		return watched && !slices.Contains(h.hubs, hub) && hub != allHubs
	case isDefault(h.group):
		return watched && h.alert.Enabled
	}
	return watched
}

// spread puts hubs into the alerts with the same definition that have room, and then into
// those that lost all their hubs, if they had one of them. It returns the hubs that are left.
func (m *merger) spread(d definition, hubs []string) []string {
	for _, same := range []bool{true, false} {
		for _, h := range m.holders {
			reused := len(h.hubs) == 0 && h.kind == d.kind && h.group == d.group && overlap(hubsOf(h.alert), hubs)
			if !h.own || len(hubs) == 0 || same && (h.definition != d || len(h.hubs) == 0) || !same && !reused {
				continue
			}
			h.definition = d
			hubs = h.take(hubs)
		}
	}
	return hubs
}

// take adds as many hubs to an alert as its condition has room for, and returns the others.
func (h *holder) take(hubs []string) []string {
	if slices.Contains(h.hubs, allHubs) || slices.Contains(hubs, allHubs) && len(h.hubs) > 0 {
		return hubs
	}
	for i, hub := range hubs {
		more := sorted(append(slices.Clone(h.hubs), hub))
		if len(kindOf(h.kind).condition(more)) > mostText {
			return hubs[i:]
		}
		h.hubs = more
	}
	return nil
}

// create makes alerts for hubs that no alert has.
func (m *merger) create(definitions []definition, left map[definition][]string) {
	variants := map[[2]string]int{}
	for _, h := range m.holders {
		if len(h.hubs) > 0 {
			m.taken[strings.ToLower(h.name)], m.taken[strings.ToLower(h.alertType)] = true, true
			variants[[2]string{h.kind, h.group}]++
		}
	}
	var fresh []*holder
	for _, d := range definitions {
		for hubs := left[d]; len(hubs) > 0; {
			h := &holder{definition: d, own: true}
			hubs = h.take(hubs)
			fresh = append(fresh, h)
			variants[[2]string{d.kind, d.group}]++
		}
	}
	for _, h := range fresh {
		m.name(h, variants[[2]string{h.kind, h.group}] > 1)
	}
	m.holders = append(m.holders, fresh...)
}

// name gives an alert a name and a type that no other one has. They have the name of the
// group, unless that is the one that each hub has, and that of the first hub if the alert is
// one of several of its kind and group. If that is taken, they end in a hash of what the
// alert is about.
func (m *merger) name(h *holder, several bool) {
	var parts []string
	if !isDefault(h.group) && h.group != "" {
		parts = append(parts, h.group)
	}
	if several && h.hubs[0] != allHubs {
		parts = append(parts, h.hubs[0])
	}
	text := strings.Join(parts, ".")
	kind := kindOf(h.kind)
	sum := ""
	for n := 0; ; n++ {
		h.name = kind.alert.Name + pascal(text) + strings.ToUpper(sum)
		h.alertType = strings.Join(slices.DeleteFunc([]string{kind.alert.AlertType, typeSafe(text), sum}, func(part string) bool { return part == "" }), ".")
		if !m.taken[strings.ToLower(h.name)] && !m.taken[strings.ToLower(h.alertType)] {
			break
		}
		hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d %s %d", h.group, h.hubs[0], h.min, h.max, h.window, n))
		sum = fmt.Sprintf("%x", hash[:3])
	}
	m.taken[strings.ToLower(h.name)], m.taken[strings.ToLower(h.alertType)] = true, true
}

// placed returns what became of a rule on a hub.
func (m *merger) placed(d definition, hub string) placement {
	if at, ok := m.places[d][strings.ToLower(hub)]; ok {
		return at
	}
	return m.places[d][allHubs]
}

// twice reports whether another definition of the kind and group is of the same hub.
func (m *merger) twice(d definition, hub string) bool {
	for other, places := range m.places {
		if _, ok := places[strings.ToLower(hub)]; ok && other != d && other.kind == d.kind && other.group == d.group {
			return true
		}
	}
	return false
}

// watching returns an alert of a kind and the group that watches its hub, and is switched
// on; nil if there is none.
func (m *merger) watching(kind string, g securityGroup) *holder {
	for _, h := range m.holders {
		hub := strings.ToLower(g.hub)
		if h.kind == kind && h.group == g.name && h.alert.Enabled && (slices.Contains(h.hubs, hub) || slices.Contains(h.hubs, allHubs)) {
			return h
		}
	}
	return nil
}

// alerts returns the alerts that are to be there of those that can be made anew, by name,
// and the names of those that are to go. One that hubwatch ships is as it is shipped.
func (m *merger) alerts() (alerts []Alert, removed []string) {
	byName := map[string]Alert{}
	for _, h := range m.holders {
		if h.own && len(h.hubs) > 0 && (h.alert.Name == "" || !same(h.make(), h.alert) || m.places[h.definition] != nil) {
			byName[h.name] = h.make()
		}
	}
	for _, h := range m.holders {
		if _, ok := byName[h.name]; ok || !h.own || len(h.hubs) > 0 {
			continue
		}
		if shipped, ok := Ready(h.name); ok {
			byName[h.name] = shipped
		} else {
			removed = append(removed, h.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		alerts = append(alerts, byName[name])
	}
	slices.Sort(removed)
	return alerts, removed
}

// make returns the alert.
func (h *holder) make() Alert {
	hubs := h.hubs
	if slices.Contains(hubs, allHubs) {
		hubs = nil
	}
	width, err := parseDuration(h.window)
	if err != nil { // the window was read before
		panic(fmt.Errorf("%s: %w", h.name, err))
	}
	a := kindOf(h.kind).make(Count{Per: "device", Window: h.window, Max: &h.max, Min: h.min}, width, hubs, !isDefault(h.group))
	a.Name, a.AlertType, a.Enabled = h.name, h.alertType, isDefault(h.group)
	if !isDefault(h.group) {
		a.Limits += fmt.Sprintf(groupLimit, h.group)
	}
	return a
}

// groupLimit is what an alert of a group cannot see, with the name of the group.
const groupLimit = ` The rule was of the device security group %q. A device belongs to such a group by a tag of its twin, which hubwatch does not read: ` +
	`it watches the devices of the list, and not those that get the tag later.`

var (
	ofGroup     = regexp.MustCompile(`The rule was of the device security group ("(?:[^"\\]|\\.)*")\.`)
	watchedHubs = regexp.MustCompile(`^hub\.lowerAscii\(\) in \[((?:"[^"]*"(?:, )?)+)\](?: && |$)`)
)

// hubsOf returns the hubs that an alert of an import watches.
func hubsOf(a Alert) []string {
	if list := watchedHubs.FindStringSubmatch(a.When); list != nil {
		return strings.Split(strings.ReplaceAll(list[1], `"`, ""), ", ")
	}
	return []string{allHubs}
}

// holderOf returns what an alert that is there says; false if it is none of those that
// imports make, or one as hubwatch ships it.
func holderOf(a Alert) (holder, bool) {
	if shipped, ok := Ready(a.Name); ok && same(shipped, a) {
		return holder{}, false
	}
	i := slices.IndexFunc(readyAlerts, func(r ready) bool {
		return a.AlertType == r.alert.AlertType || strings.HasPrefix(a.AlertType, r.alert.AlertType+".")
	})
	if i < 0 || a.Count == nil {
		return holder{}, false
	}
	h := holder{alert: a, name: a.Name, alertType: a.AlertType, hubs: hubsOf(a)}
	h.definition = definition{kind: readyAlerts[i].alert.Name, group: "default", window: a.Count.Window, min: a.Count.Min, max: -1}
	if width, err := parseDuration(a.Count.Window); err == nil {
		h.window = FormatDuration(width)
	}
	if a.Count.Max != nil && a.Count.Per == "device" {
		h.max = *a.Count.Max
	}
	if name := ofGroup.FindStringSubmatch(a.Limits); name != nil {
		h.group, _ = strconv.Unquote(name[1]) // as %q wrote it
	} else if a.Group != nil {
		return holder{}, false
	}
	h.own = h.max >= 0 && same(h.make(), a)
	return h, true
}

// kindOf returns a ready alert by its name.
func kindOf(name string) ready {
	return readyAlerts[slices.IndexFunc(readyAlerts, func(r ready) bool { return r.alert.Name == name })]
}

// same reports whether the files of two alerts say the same.
func same(a, b Alert) bool { return string(Format(a)) == string(Format(b)) }

// takenNamesAndTypes returns the names and types that a new alert cannot have, in lower
// case. An alert as hubwatch ships it gives its own away.
func takenNamesAndTypes(have []Alert) map[string]bool {
	taken := map[string]bool{}
	for name := range takenNames() {
		taken[name] = true
	}
	for _, a := range have {
		shipped, ok := Ready(a.Name)
		_, imported := holderOf(a)
		if !imported && !(ok && same(shipped, a)) {
			taken[strings.ToLower(a.Name)], taken[strings.ToLower(a.AlertType)] = true, true
		}
	}
	return taken
}

// sorted returns a sorted copy of a list without what stands twice.
func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
