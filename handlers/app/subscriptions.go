package app

import (
	"fmt"
	"maps"
	"slices"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// Subscription is an event subscription: the events of a topic that a function gets.
type Subscription struct {
	Name     string          `json:"name"`
	Function string          `json:"function"`
	Source   detector.Source `json:"source"`
	// Own says that the subject has to be in the resource group of hubwatch; the template
	// knows which that is.
	Own    bool            `json:"own"`
	Filter detector.Filter `json:"filter"`
}

// Subscriptions returns the event subscriptions of a deployment: one for each detector, one for
// the tags that are canaries, and one for each function that hears of alerts, which is every
// other function that Event Grid starts. The error names a detector whose events are not all on one topic.
func Subscriptions(detectors []detector.Detector) (all []Subscription, err error) {
	judging := map[string]bool{}
	for _, d := range detectors {
		judging[d.Name] = true
		source, err := d.On.Source()
		if err != nil {
			return nil, fmt.Errorf("detector %s: %w", d.Name, err)
		}
		all = append(all, Subscription{d.Name, d.Name, source, d.On.Own, d.On.Filter()})
	}
	for _, f := range Functions(detectors, judge.Judge{}) {
		if _, ok := f.Trigger.(host.EventGrid); !ok || judging[f.Name] {
			continue
		}
		heard := Subscription{f.Name, f.Name, detector.Alerts, false, detector.Filter{IncludedEventTypes: []string{export.TypeRaised, export.TypeReopened}}}
		switch f.Name {
		case judge.NotifyName, judge.SentinelName:
			heard.Filter.IncludedEventTypes = append(heard.Filter.IncludedEventTypes, coverage.CanaryType)
		case judge.CanaryTagName:
			heard.Source, heard.Own, heard.Filter = detector.ControlPlane, judge.CanaryTagOn.Own, judge.CanaryTagOn.Filter()
		}
		all = append(all, heard)
	}
	return all, nil
}

// Branches returns at which of the event subscriptions a canary has to arrive, by the path: at
// each that is on a custom topic, but for that in whose function the path ends.
func Branches(detectors []detector.Detector) map[coverage.Path][]coverage.Branch {
	all := map[coverage.Path][]coverage.Branch{coverage.Alerts: {{Function: judge.SentinelName, Type: coverage.CanaryType}}}
	for _, d := range disguising(detectors) {
		for _, of := range d.On.EventTypes {
			all[coverage.Topic] = append(all[coverage.Topic], coverage.Branch{Function: d.Name, Type: of})
		}
	}
	return all
}

// disguises returns the events as which a canary is published to the topic of verdicts: itself,
// and one for each type that a detector looks at. Each has a subject that fits into the event
// subscriptions of all of these detectors.
func disguises(detectors []detector.Detector, source string) func(coverage.Canary) [][]byte {
	subjects := map[string]string{}
	for _, d := range disguising(detectors) {
		for _, of := range d.On.EventTypes {
			if _, ok := subjects[of]; !ok {
				subjects[of] = "paths/" + string(coverage.Topic)
			}
			if part := d.On.SubjectContains; part != "" {
				subjects[of] += " " + part
			}
		}
	}
	return func(c coverage.Canary) [][]byte {
		events := [][]byte{c.Event(source)}
		for _, of := range slices.Sorted(maps.Keys(subjects)) {
			events = append(events, c.Disguise(source, subjects[of], of))
		}
		return events
	}
}

// disguising returns the detectors that get canaries in disguise: those of the topic of verdicts,
// but for PathBroken, which gets them as they are.
func disguising(detectors []detector.Detector) []detector.Detector {
	return slices.DeleteFunc(slices.Clone(detectors), func(d detector.Detector) bool {
		source, err := d.On.Source()
		return err != nil || source != detector.Connections || d.Name == detector.PathBroken.Name
	})
}
