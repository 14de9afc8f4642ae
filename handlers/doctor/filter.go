package doctor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"

	"hubwatch/handlers/detector"
)

// filterDifferences says what a filter does not have of what it should, and what
// it has besides. The subject has to begin with prefix, if that is not empty. Event Grid compares strings regardless of case, and of several
// values or filters the order does not matter
// (https://learn.microsoft.com/azure/event-grid/event-filtering).
func filterDifferences(want detector.Filter, prefix string, have *armeventgrid.EventSubscriptionFilter) []string {
	var differences []string
	wanted, existing := conditions(want), conditionsOf(value(have))
	if prefix != "" {
		wanted = append(wanted, condition("subject", "BeginsWith", []any{prefix}))
	}
	for _, c := range wanted {
		if !slices.ContainsFunc(existing, func(e string) bool { return strings.EqualFold(c, e) }) {
			differences = append(differences, "lacks "+c)
		}
	}
	for _, c := range existing {
		if !slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(c, w) }) {
			differences = append(differences, "has "+c+", which this build does not")
		}
	}
	return differences
}

// conditions returns what a filter asks of an event, in one form: a condition
// for the event type, and one for each advanced filter.
func conditions(f detector.Filter) []string {
	list := []string{condition("eventType", "In", anyOf(f.IncludedEventTypes))}
	for _, a := range f.AdvancedFilters {
		list = append(list, condition(a.Key, a.OperatorType, anyOf(a.Values)))
	}
	return list
}

// conditionsOf returns what a filter of Azure asks of an event. Its flags about
// case and arrays matter to none of the keys that this project uses.
func conditionsOf(f armeventgrid.EventSubscriptionFilter) []string {
	var list []string
	var types []any
	for _, t := range f.IncludedEventTypes {
		types = append(types, value(t))
	}
	if len(types) > 0 { // otherwise all
		list = append(list, condition("eventType", "In", types))
	}
	if prefix := value(f.SubjectBeginsWith); prefix != "" {
		list = append(list, condition("subject", "BeginsWith", []any{prefix}))
	}
	if suffix := value(f.SubjectEndsWith); suffix != "" {
		list = append(list, condition("subject", "EndsWith", []any{suffix}))
	}
	for _, a := range f.AdvancedFilters {
		list = append(list, advanced(a))
	}
	return list
}

// advanced returns the condition of an advanced filter, of which Azure has two
// dozen kinds with the same members.
func advanced(filter armeventgrid.AdvancedFilterClassification) string {
	text, err := json.Marshal(filter)
	if err != nil {
		return fmt.Sprintf("%v", err)
	}
	var f struct {
		Key, OperatorType string
		Values            []any
		Value             any
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return string(text)
	}
	if f.Value != nil {
		f.Values = append(f.Values, f.Value)
	}
	return condition(f.Key, f.OperatorType, f.Values)
}

// condition writes a condition, such that two that mean the same differ at most
// in the case of letters.
func condition(key, operator string, values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	slices.SortFunc(texts, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	texts = slices.CompactFunc(texts, strings.EqualFold)
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", key, operator, strings.Join(texts, " or ")))
}

func anyOf(list []string) []any {
	values := make([]any, len(list))
	for i, v := range list {
		values[i] = v
	}
	return values
}
