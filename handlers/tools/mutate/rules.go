package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/event"
)

// ruleMutant is a custom alert with one thing in its file changed.
type ruleMutant struct {
	member        string // of the file, by its path: on.operations
	before, after string
	alert         custom.Alert
}

// ruleMutants returns the mutants of a custom alert. Some of them are no alerts: Load finds
// a mistake in them.
//
//	expressions   as expressionMutants says
//	on            each event type and each operation left out; no operations at all; no
//	              subjectContains; another category
//	count         max and min one more and one less; the window half and twice as long,
//	              if that can change anything; counted by another of device and hub
//	group         no group; each pattern left out
//	severity      the next one
//
// The texts, the type and the kind of the entity have none: an alert has them word by word, and
// so does the catalogue, of which a test notices a change. Neither has on.own, which a deployment
// decides (detector.Own).
func ruleMutants(a custom.Alert) (mutants []ruleMutant) {
	add := func(member, before, after string, change func(*custom.Alert)) {
		m := ruleMutant{member, before, after, a}
		change(&m.alert)
		mutants = append(mutants, m)
	}
	expression := func(member, text string, isBool bool, set func(*custom.Alert, string)) {
		for _, other := range expressionMutants(text, isBool) {
			add(member, text, other, func(a *custom.Alert) { set(a, other) })
		}
	}
	without := func(member string, list []string, set func(*custom.Alert, []string)) {
		for i := range list {
			if len(list) > 1 {
				less := slices.Delete(slices.Clone(list), i, i+1)
				add(member, list[i], "", func(a *custom.Alert) { set(a, less) })
			}
		}
	}
	expression("when", a.When, true, func(a *custom.Alert, text string) { a.When = text })
	expression("entity", a.Entity, false, func(a *custom.Alert, text string) { a.Entity = text })
	expression("message", a.Message, false, func(a *custom.Alert, text string) { a.Message = text })
	for name, text := range a.Properties {
		expression("properties."+name, text, false, func(a *custom.Alert, other string) {
			properties := map[string]string{name: other}
			for n, t := range a.Properties {
				if n != name {
					properties[n] = t
				}
			}
			a.Properties = properties
		})
	}
	without("on.eventTypes", a.On.EventTypes, func(a *custom.Alert, list []string) { a.On.EventTypes = list })
	without("on.operations", a.On.Operations, func(a *custom.Alert, list []string) { a.On.Operations = list })
	if a.On.Operations != nil {
		add("on.operations", strings.Join(a.On.Operations, ", "), "", func(a *custom.Alert) { a.On.Operations = nil })
	}
	if a.On.SubjectContains != "" {
		add("on.subjectContains", a.On.SubjectContains, "", func(a *custom.Alert) { a.On.SubjectContains = "" })
	}
	if at := slices.Index(event.LogCategories, a.On.Category); at >= 0 {
		other := event.LogCategories[(at+1)%len(event.LogCategories)]
		add("on.category", a.On.Category, other, func(a *custom.Alert) { a.On.Category = other })
	}
	severities := []alert.Severity{alert.High, alert.Medium, alert.Low, alert.Informational}
	next := severities[(slices.Index(severities, a.Severity)+1)%len(severities)]
	add("severity", string(a.Severity), string(next), func(a *custom.Alert) { a.Severity = next })
	if a.Count != nil {
		countMutants(a, add)
	}
	if a.Group != nil {
		add("group", "the group", "", func(a *custom.Alert) { a.Group = nil })
		without("group.devices", a.Group.Devices, func(a *custom.Alert, list []string) {
			group := *a.Group
			group.Devices = list
			a.Group = &group
		})
	}
	return mutants
}

// countMutants adds the mutants of a count.
func countMutants(a custom.Alert, add func(member, before, after string, change func(*custom.Alert))) {
	count := func(member, before, after string, change func(*custom.Count)) {
		add("count."+member, before, after, func(a *custom.Alert) {
			c := *a.Count
			change(&c)
			a.Count = &c
		})
	}
	for _, step := range []int{1, -1} {
		if a.Count.Max != nil {
			n := *a.Count.Max + step
			count("max", fmt.Sprint(*a.Count.Max), fmt.Sprint(n), func(c *custom.Count) { c.Max = &n })
		}
		if a.Count.Min > 0 {
			n := a.Count.Min + step
			count("min", fmt.Sprint(a.Count.Min), fmt.Sprint(n), func(c *custom.Count) { c.Min = n })
		}
	}
	// With max 0 each event is an alert by itself, so the window changes nothing.
	if width := a.Rule().Width; a.Count.Max == nil || *a.Count.Max > 0 || a.Count.Min > 0 {
		for _, other := range []string{custom.FormatDuration(width / 2), custom.FormatDuration(2 * width)} {
			count("window", a.Count.Window, other, func(c *custom.Count) { c.Window = other })
		}
	}
	for _, per := range []string{"device", "hub"} {
		if per != a.Count.Per {
			count("per", a.Count.Per, per, func(c *custom.Count) { c.Per = per })
		}
	}
}

// judgement is how many mutants of a custom alert there are, and which of them no case
// notices.
type judgement struct {
	alert     custom.Alert
	made      int
	survivors []ruleMutant
}

// judgeRule runs the cases of a custom alert with each mutant. folder has the files of the
// alert. A mutant in which Load finds a mistake is not counted, since nobody can deploy it.
func judgeRule(a custom.Alert, folder fs.FS) (judgement, error) {
	files := fstest.MapFS{}
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return judgement{}, err
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(folder, entry.Name())
		if err != nil {
			return judgement{}, err
		}
		files[path.Join("functions", a.Name, entry.Name())] = &fstest.MapFile{Data: text}
	}
	j := judgement{alert: a}
	for _, m := range ruleMutants(a) {
		files[path.Join("functions", a.Name, custom.FileName)] = &fstest.MapFile{Data: custom.Format(m.alert)}
		loaded, err := custom.Load(files)
		if err != nil {
			continue
		}
		j.made++
		if loaded[0].Test() == nil {
			j.survivors = append(j.survivors, m)
		}
	}
	return j, nil
}

// rules mutates the custom alerts with these names, or all if there are none, of those that
// are off too, apart from drafts. It reports to out. It returns how many alerts there were.
// Its error says that the cases of all alerts together notice too little.
func rules(root string, names []string, out io.Writer) (found int, err error) {
	alerts, err := custom.Load(os.DirFS(root))
	if err != nil {
		return 0, err
	}
	var judged []judgement
	for _, a := range alerts {
		if len(names) > 0 && !slices.Contains(names, a.Name) {
			continue
		}
		if len(names) == 0 && a.Draft() {
			fmt.Fprintf(out, "%s is left out: texts of its file begin with REPLACE\n\n", a.Name)
			continue
		}
		if err := a.Test(); err != nil {
			return 0, fmt.Errorf("the cases do not pass without a mutant: %w", err)
		}
		j, err := judgeRule(a, os.DirFS(filepath.Join(root, "functions", a.Name)))
		if err != nil {
			return 0, err
		}
		judged = append(judged, j)
	}
	return len(judged), reportRules(out, judged, len(names) == 0)
}

// reportRules prints the survivors and what case notices each, and how many mutants of each
// custom alert are killed. An alert has few mutants, so one survivor can be a large share of
// them: an alert of which too few are killed is named, and is an error only together with
// all others. all says whether these are all alerts.
func reportRules(out io.Writer, judged []judgement, all bool) error {
	for _, j := range judged {
		for _, m := range j.survivors {
			fmt.Fprintf(out, "functions/%s/%s: %s: survives\n  - %s\n  + %s\n  %s\n\n", j.alert.Name, custom.FileName, m.member, m.before, m.after, m.advice())
		}
	}
	made, survive := 0, 0
	for _, j := range judged {
		made, survive = made+j.made, survive+len(j.survivors)
		if score(out, j.alert.Name, j.made, len(j.survivors), least) != nil {
			fmt.Fprintf(out, "  below the goal of %.0f %%: add the cases to functions/%s/%s\n", 100*least, j.alert.Name, custom.FileName)
		}
	}
	if !all || made == 0 {
		return nil
	}
	return score(out, "all custom alerts", made, survive, least)
}

// advice says what case notices the mutant.
func (m ruleMutant) advice() string {
	member, _, _ := strings.Cut(m.member, ".")
	switch {
	case m.member == "on.operations" && m.alert.On.Operations == nil:
		return "Write a case that stays silent because its operation is none of these alone: all else is as in a case that fires."
	case m.member == "on.subjectContains":
		return "Write a case that stays silent because of its subject alone: all else is as in a case that fires."
	case m.member == "on.eventTypes" || m.member == "on.operations" || m.member == "group.devices":
		return "Write a case that fires on this one."
	case m.member == "on.category":
		return "Write a case with a record of which only this category makes an alert."
	case m.member == "group":
		return "Write a case that stays silent because of its device alone: all else is as in a case that fires."
	case m.member == "count.max":
		return "Write a case that fires with one event more than the file allows, and one that stays silent with as many as it allows."
	case m.member == "count.min":
		return "Write a case that fires with one event less than the file wants, and one that stays silent with as many as it wants."
	case m.member == "count.window":
		return "Write a case that fires with its first and last event almost a window apart, and one that stays silent with them a whole window apart."
	case m.member == "count.per":
		return "Write a case that stays silent with events of two of what is counted, too many only together."
	case member == "when":
		return "Write two cases that differ in this part of the condition alone: one fires, and one stays silent."
	}
	return "Say in a case that fires what the alert says: says." + m.member + "."
}

// score prints how many mutants are killed. It returns an error if that is less than the
// share that is wanted.
func score(out io.Writer, name string, made, survive int, least float64) error {
	share := 1 - float64(survive)/float64(max(made, 1))
	fmt.Fprintf(out, "%-30s %5d mutants %5d killed %4d survive %6.1f %%\n", name, made, made-survive, survive, 100*share)
	if share < least {
		return fmt.Errorf("%s: less than %.0f %% are killed", name, 100*least)
	}
	return nil
}
