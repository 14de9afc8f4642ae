package eventgrid

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The limits of one event subscription
// (learn.microsoft.com/azure/event-grid/event-filtering, Limitations).
const (
	filterLimit = 25  // advanced filters
	valueLimit  = 25  // values over all advanced filters
	textLimit   = 512 // characters of a string value
)

// Subscription is one Event Grid event subscription whose endpoint is a function.
type Subscription struct {
	Name     string `json:"name"`     // 3 to 64 letters, digits and hyphens
	Function string `json:"function"` // function that gets the events
	Source   string `json:"source"`   // name of the topic that it belongs to
	// Own says that in Azure the subject has to be in the resource group of hubwatch. Here
	// there is none, so any subject will do.
	Own    bool   `json:"own"`
	Filter Filter `json:"filter"`
}

// Filter says which events a subscription takes, in the form that Azure
// Resource Manager uses. All of its conditions must hold.
type Filter struct {
	// IncludedEventTypes are the event types to take; none, or All, means every type.
	IncludedEventTypes []string `json:"includedEventTypes"`
	// SubjectBeginsWith and SubjectEndsWith restrict the subject; empty means any.
	SubjectBeginsWith string `json:"subjectBeginsWith"`
	SubjectEndsWith   string `json:"subjectEndsWith"`
	// IsSubjectCaseSensitive applies to SubjectBeginsWith and SubjectEndsWith
	// only.
	IsSubjectCaseSensitive bool `json:"isSubjectCaseSensitive"`
	// AdvancedFilters are conditions on single fields.
	AdvancedFilters []AdvancedFilter `json:"advancedFilters"`
	// EnableAdvancedFilteringOnArrays lets a field be an array, whose elements
	// are compared one by one. Without it an array matches nothing.
	EnableAdvancedFilteringOnArrays bool `json:"enableAdvancedFilteringOnArrays"`
}

// AdvancedFilter compares one field of an event with values.
type AdvancedFilter struct {
	// OperatorType is one of Event Grid's operators, such as StringIn.
	OperatorType string `json:"operatorType"`
	// Key names an attribute of the event, such as subject, or a field of its
	// data, such as data.operationName.
	Key string `json:"key"`
	// Value is the operand of the operators that take one.
	Value any `json:"value"`
	// Values are the operands of the other operators: any of them may apply. A
	// range is an array of its two ends, both included.
	Values []any `json:"values"`
}

// LoadSubscriptions reads a JSON array of subscriptions. It returns an error if a
// member is unknown, if two subscriptions have the same name, or if a
// subscription is not valid.
func LoadSubscriptions(path string) ([]Subscription, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: %w", err)
	}
	var subscriptions []Subscription
	if err := json.Unmarshal(raw, &subscriptions, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("subscriptions: %s: %w", path, err)
	}
	if err := validateAll(subscriptions); err != nil {
		return nil, fmt.Errorf("subscriptions: %s: %w", path, err)
	}
	return subscriptions, nil
}

func validateAll(subscriptions []Subscription) error {
	var errs []error
	names := map[string]bool{}
	for _, s := range subscriptions {
		errs = append(errs, s.Validate())
		if key := strings.ToLower(s.Name); names[key] {
			errs = append(errs, fmt.Errorf("subscription %q: the name is used twice", s.Name))
		} else {
			names[key] = true
		}
	}
	return errors.Join(errs...)
}

var (
	functionName     = regexp.MustCompile(`^(?i)[a-z][a-z0-9_\-]{0,127}$`)
	subscriptionName = regexp.MustCompile(`^[A-Za-z0-9-]{3,64}$`)
	filterKey        = regexp.MustCompile(`^([A-Za-z0-9]+|(?i:data)(\.[^.]+)+)$`)
)

// Validate reports everything for which Event Grid would refuse the
// subscription, or which could never match.
func (s Subscription) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("subscription %q: "+format, append([]any{s.Name}, args...)...))
	}
	if !subscriptionName.MatchString(s.Name) {
		fault("the name must be 3 to 64 letters, digits or hyphens")
	}
	if !functionName.MatchString(s.Function) {
		fault("%q is not a function name", s.Function)
	}
	if n := len(s.Filter.AdvancedFilters); n > filterLimit {
		fault("%d advanced filters, at most %d are allowed", n, filterLimit)
	}
	texts := append([]string{s.Filter.SubjectBeginsWith, s.Filter.SubjectEndsWith}, s.Filter.IncludedEventTypes...)
	count := 0
	for i, a := range s.Filter.AdvancedFilters {
		operands, err := a.operands()
		if err != nil {
			fault("advanced filter %d: %w", i, err)
		}
		if !filterKey.MatchString(a.Key) {
			fault("advanced filter %d: key %q is neither an attribute nor a path below data", i, a.Key)
		}
		count += len(operands)
		for _, operand := range operands {
			if text, ok := operand.(string); ok {
				texts = append(texts, text)
			}
		}
	}
	if count > valueLimit {
		fault("%d filter values, at most %d are allowed", count, valueLimit)
	}
	for _, text := range texts {
		if n := len([]rune(text)); n > textLimit {
			fault("a string of %d characters, at most %d are allowed", n, textLimit)
		}
	}
	return errors.Join(errs...)
}

// Matches reports whether the subscription takes an event, given as the JSON of
// an Event Grid schema event or of a CloudEvent. Anything that is not a JSON
// object matches nothing. Matches expects a valid subscription.
func (s Subscription) Matches(event []byte) bool {
	fields, err := eventFields(event)
	return err == nil && s.Filter.matches(fields)
}

func eventFields(event []byte) (map[string]any, error) {
	var fields map[string]any
	err := json.Unmarshal(event, &fields, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err == nil && fields == nil {
		err = errors.New("an event is a JSON object")
	}
	return fields, err
}

func (f Filter) matches(event map[string]any) bool {
	eventType, _ := lookup(event, "type").(string)
	subject, _ := lookup(event, "subject").(string)
	begins, ends := f.SubjectBeginsWith, f.SubjectEndsWith
	if !f.IsSubjectCaseSensitive {
		subject, begins, ends = strings.ToLower(subject), strings.ToLower(begins), strings.ToLower(ends)
	}
	return f.includes(eventType) && strings.HasPrefix(subject, begins) && strings.HasSuffix(subject, ends) &&
		!slices.ContainsFunc(f.AdvancedFilters, func(a AdvancedFilter) bool {
			return !a.matches(lookup(event, a.Key), f.EnableAdvancedFilteringOnArrays)
		})
}

func (f Filter) includes(eventType string) bool {
	return len(f.IncludedEventTypes) == 0 || slices.ContainsFunc(f.IncludedEventTypes, func(t string) bool {
		return strings.EqualFold(t, eventType) || strings.EqualFold(t, "All")
	})
}

// attributes maps the names of one schema to those of the other.
var attributes = map[string]string{
	"topic": "source", "source": "topic",
	"eventtype": "type", "type": "eventType",
}

// lookup returns the value of an event's field, or nil if there is none. Names of
// attributes match in any letter case, and by their names in either schema. Names
// within data match exactly.
func lookup(event map[string]any, key string) any {
	first, path, nested := strings.Cut(key, ".")
	value, ok := attribute(event, first)
	if other, both := attributes[strings.ToLower(first)]; !ok && both {
		value, _ = attribute(event, other)
	}
	if !nested {
		return value
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func attribute(event map[string]any, name string) (any, bool) {
	if value, ok := event[name]; ok {
		return value, true
	}
	for key, value := range event {
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return nil, false
}
