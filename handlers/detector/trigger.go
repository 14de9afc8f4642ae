package detector

import (
	"fmt"
	"slices"
	"strings"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/event"
)

// Matches reports whether the detector is to be run on e, by the rules that
// Event Grid applies to the filter made from t. Its error means that e has a
// type of the trigger but not the payload of that type.
func (t Trigger) Matches(e event.Event) (bool, error) {
	if !containsFold(t.EventTypes, e.Type) {
		return false, nil
	}
	if t.SubjectContains != "" && !strings.Contains(strings.ToLower(e.Subject), strings.ToLower(t.SubjectContains)) {
		return false, nil
	}
	operations := event.Filterable(t.EventTypes, t.Operations)
	if operations == nil {
		return true, nil
	}
	name, err := e.OperationName()
	if err != nil {
		return false, err
	}
	return containsFold(operations, name), nil
}

// Unprivileged reports whether somebody without any rights on Azure can cause events
// that t matches, and as many as he likes: whoever reaches the endpoint of an IoT hub can
// fail to connect, and a device can connect, send and ask as often as it likes. The other
// events are of operations that Azure Resource Manager has let somebody do, or of hubwatch
// about itself.
func (t Trigger) Unprivileged() bool {
	return slices.ContainsFunc(t.EventTypes, func(of string) bool {
		return !containsFold(event.OperationTypes, of) && !containsFold(coverage.EventTypes, of)
	})
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, s) })
}

// Filter is the filter of an event subscription in Azure Resource Manager's own
// words (https://learn.microsoft.com/azure/templates/microsoft.eventgrid/eventsubscriptions).
type Filter struct {
	IncludedEventTypes []string         `json:"includedEventTypes"`
	AdvancedFilters    []AdvancedFilter `json:"advancedFilters,omitempty"`
}

// AdvancedFilter compares one member of the event with values, any of which may
// match.
type AdvancedFilter struct {
	OperatorType string   `json:"operatorType"`
	Key          string   `json:"key"`
	Values       []string `json:"values"`
}

// Filter returns the filter of the event subscription. Event Grid then delivers the
// events that t matches, and no others. The keys mean the same in both delivery
// schemas.
func (t Trigger) Filter() Filter {
	f := Filter{IncludedEventTypes: t.EventTypes}
	if operations := event.Filterable(t.EventTypes, t.Operations); operations != nil {
		f.AdvancedFilters = append(f.AdvancedFilters, AdvancedFilter{"StringIn", "data.operationName", operations})
	}
	if t.SubjectContains != "" {
		f.AdvancedFilters = append(f.AdvancedFilters, AdvancedFilter{"StringContains", "subject", []string{t.SubjectContains}})
	}
	return f
}

// String says in words which events t matches.
func (t Trigger) String() string {
	s := strings.Join(t.EventTypes, " or ")
	if t.Operations != nil {
		s += fmt.Sprintf(" of the operation %s", strings.Join(t.Operations, " or "))
	}
	if t.SubjectContains != "" {
		s += fmt.Sprintf(", on a subject that contains %s", t.SubjectContains)
	}
	if t.Own {
		s += ", on what hubwatch itself is made of"
	}
	return s
}
