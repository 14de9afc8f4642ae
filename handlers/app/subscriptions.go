package app

import (
	"fmt"

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
		case judge.NotifyName:
			heard.Filter.IncludedEventTypes = append(heard.Filter.IncludedEventTypes, coverage.CanaryType)
		case judge.CanaryTagName:
			heard.Source, heard.Own, heard.Filter = detector.ControlPlane, judge.CanaryTagOn.Own, judge.CanaryTagOn.Filter()
		}
		all = append(all, heard)
	}
	return all, nil
}
