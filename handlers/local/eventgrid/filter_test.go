package eventgrid

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const gridSample = `{"id":"E1","topic":"/subscriptions/S","subject":"/Providers/Microsoft.Devices/IotHubs/Hub/certificates/Root",
"eventType":"Microsoft.Resources.ResourceWriteSuccess","eventTime":"2026-01-01T00:00:00Z","dataVersion":"2","data":{
"operationName":"Microsoft.Devices/IotHubs/certificates/write","count":5,"on":true,"none":null,"deep":{"er":"Value"},
"list":["red","Blue",7],"numbers":[1,20],"empty":""}}`

const cloudSample = `{"specversion":"1.0","id":"E1","source":"/subscriptions/S","subject":"/Providers/Microsoft.Devices/IotHubs/Hub/certificates/Root",
"type":"Microsoft.Resources.ResourceWriteSuccess","time":"2026-01-01T00:00:00Z","extension1":"yes","data":{"count":5}}`

func advanced(operator, key, values string) string {
	return fmt.Sprintf(`{"advancedFilters":[{"operatorType":%q,"key":%q%s}]}`, operator, key, values)
}

func loadOne(t *testing.T, filter string) (Subscription, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "subscriptions.json")
	write(t, path, `[{"name":"Sub-1","function":"One","source":"controlPlane","filter":`+filter+`}]`)
	subscriptions, err := LoadSubscriptions(path)
	if err != nil {
		return Subscription{}, err
	}
	return subscriptions[0], nil
}

func TestFilter(t *testing.T) {
	tests := []struct {
		name, filter string
		want         bool
	}{
		{"nothing asked", `{}`, true},
		{"event type", `{"includedEventTypes":["Other","Microsoft.Resources.ResourceWriteSuccess"]}`, true},
		{"event type in another case", `{"includedEventTypes":["microsoft.resources.resourcewritesuccess"]}`, true},
		{"other event type", `{"includedEventTypes":["Microsoft.Resources.ResourceDeleteSuccess"]}`, false},
		{"all event types", `{"includedEventTypes":["All"]}`, true},
		{"subject begins", `{"subjectBeginsWith":"/providers/"}`, true},
		{"subject begins, exact case", `{"subjectBeginsWith":"/providers/","isSubjectCaseSensitive":true}`, false},
		{"subject ends", `{"subjectEndsWith":"/ROOT"}`, true},
		{"subject ends otherwise", `{"subjectEndsWith":"/leaf"}`, false},
		{"values are alternatives", advanced("StringIn", "data.operationName", `,"values":["x","microsoft.devices/iothubs/certificates/WRITE"]`), true},
		{"filters all hold", `{"advancedFilters":[{"operatorType":"BoolEquals","key":"data.on","value":true},{"operatorType":"NumberIn","key":"data.count","values":[6]}]}`, false},
		{"key of an attribute in another case", advanced("StringContains", "Subject", `,"values":["/providers/microsoft.devices/iothubs/"]`), true},
		{"topic", advanced("StringIn", "topic", `,"values":["/subscriptions/s"]`), true},
		{"source means topic", advanced("StringIn", "source", `,"values":["/subscriptions/s"]`), true},
		{"eventType", advanced("StringEndsWith", "eventType", `,"values":["Success"]`), true},
		{"type means eventType", advanced("StringEndsWith", "type", `,"values":["Success"]`), true},
		{"id", advanced("StringIn", "id", `,"values":["e1"]`), true},
		{"dataVersion", advanced("StringIn", "DataVersion", `,"values":["2"]`), true},
		{"nested key", advanced("StringIn", "data.deep.er", `,"values":["value"]`), true},
		{"key in data in another case", advanced("IsNotNull", "data.Count", ``), false},
		{"path through a string", advanced("IsNullOrUndefined", "data.operationName.x", ``), true},

		{"StringIn no", advanced("StringIn", "data.deep.er", `,"values":["val"]`), false},
		{"StringNotIn", advanced("StringNotIn", "data.deep.er", `,"values":["a","b"]`), true},
		{"StringNotIn no", advanced("StringNotIn", "data.deep.er", `,"values":["a","VALUE"]`), false},
		{"StringContains", advanced("StringContains", "data.deep.er", `,"values":["ALU"]`), true},
		{"StringNotContains", advanced("StringNotContains", "data.deep.er", `,"values":["x"]`), true},
		{"StringNotContains no", advanced("StringNotContains", "data.deep.er", `,"values":["x","alu"]`), false},
		{"StringBeginsWith", advanced("StringBeginsWith", "data.deep.er", `,"values":["VAL"]`), true},
		{"StringNotBeginsWith", advanced("StringNotBeginsWith", "data.deep.er", `,"values":["ue"]`), true},
		{"StringNotBeginsWith no", advanced("StringNotBeginsWith", "data.deep.er", `,"values":["va"]`), false},
		{"StringEndsWith", advanced("StringEndsWith", "data.deep.er", `,"values":["UE"]`), true},
		{"StringNotEndsWith", advanced("StringNotEndsWith", "data.deep.er", `,"values":["va"]`), true},
		{"StringNotEndsWith no", advanced("StringNotEndsWith", "data.deep.er", `,"values":["ue"]`), false},
		{"NumberIn", advanced("NumberIn", "data.count", `,"values":[1,5]`), true},
		{"NumberNotIn", advanced("NumberNotIn", "data.count", `,"values":[1,2]`), true},
		{"NumberNotIn no", advanced("NumberNotIn", "data.count", `,"values":[1,5]`), false},
		{"NumberLessThan", advanced("NumberLessThan", "data.count", `,"value":5.5`), true},
		{"NumberLessThan no", advanced("NumberLessThan", "data.count", `,"value":5`), false},
		{"NumberLessThanOrEquals", advanced("NumberLessThanOrEquals", "data.count", `,"value":5`), true},
		{"NumberGreaterThan", advanced("NumberGreaterThan", "data.count", `,"value":4`), true},
		{"NumberGreaterThan no", advanced("NumberGreaterThan", "data.count", `,"value":5`), false},
		{"NumberGreaterThanOrEquals", advanced("NumberGreaterThanOrEquals", "data.count", `,"value":5`), true},
		{"NumberInRange", advanced("NumberInRange", "data.count", `,"values":[[1,2],[5,6]]`), true},
		{"NumberInRange no", advanced("NumberInRange", "data.count", `,"values":[[1,4.9]]`), false},
		{"NumberNotInRange", advanced("NumberNotInRange", "data.count", `,"values":[[1,2]]`), true},
		{"NumberNotInRange no", advanced("NumberNotInRange", "data.count", `,"values":[[1,5]]`), false},
		{"number against a string", advanced("NumberIn", "data.operationName", `,"values":[5]`), false},
		{"string against a number", advanced("StringIn", "data.count", `,"values":["5"]`), false},
		{"BoolEquals", advanced("BoolEquals", "data.on", `,"value":true`), true},
		{"BoolEquals no", advanced("BoolEquals", "data.on", `,"value":false`), false},
		{"IsNullOrUndefined null", advanced("IsNullOrUndefined", "data.none", ``), true},
		{"IsNullOrUndefined missing", advanced("IsNullOrUndefined", "data.missing", ``), true},
		{"IsNullOrUndefined empty text", advanced("IsNullOrUndefined", "data.empty", ``), false},
		{"IsNotNull", advanced("IsNotNull", "data.empty", ``), true},
		{"IsNotNull null", advanced("IsNotNull", "data.none", ``), false},
		{"array without leave", advanced("StringIn", "data.list", `,"values":["blue"]`), false},
		{"array", `{"enableAdvancedFilteringOnArrays":true,"advancedFilters":[{"operatorType":"StringIn","key":"data.list","values":["blue"]}]}`, true},
		{"array NumberNotInRange", `{"enableAdvancedFilteringOnArrays":true,"advancedFilters":[{"operatorType":"NumberNotInRange","key":"data.numbers","values":[[15,25]]}]}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := loadOne(t, test.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Matches([]byte(gridSample)); got != test.want {
				t.Errorf("matches %v, want %v", got, test.want)
			}
		})
	}
}

// TestFilterMissingKey: only the two NotIn operators match an event that lacks
// the field (learn.microsoft.com/azure/event-grid/event-filtering).
func TestFilterMissingKey(t *testing.T) {
	for name, op := range operators {
		values := `,"values":["a"]`
		switch {
		case op.unary:
			values = ``
		case name == "BoolEquals":
			values = `,"value":false`
		case op.single:
			values = `,"value":1`
		case strings.HasSuffix(name, "Range"):
			values = `,"values":[[1,2]]`
		case strings.HasPrefix(name, "Number"):
			values = `,"values":[1]`
		}
		want := name == "NumberNotIn" || name == "StringNotIn" || name == "IsNullOrUndefined"
		for _, key := range []string{"data.missing", "data.none", "data.deep.missing"} {
			s, err := loadOne(t, advanced(name, key, values))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Matches([]byte(gridSample)); got != want {
				t.Errorf("%s of %s matches %v, want %v", name, key, got, want)
			}
		}
	}
}

func TestFilterCloudEvent(t *testing.T) {
	tests := []struct {
		name, filter string
		want         bool
	}{
		{"event type", `{"includedEventTypes":["Microsoft.Resources.ResourceWriteSuccess"]}`, true},
		{"source", advanced("StringIn", "source", `,"values":["/subscriptions/s"]`), true},
		{"topic means source", advanced("StringIn", "topic", `,"values":["/subscriptions/s"]`), true},
		{"extension", advanced("StringIn", "extension1", `,"values":["YES"]`), true},
		{"data", advanced("NumberIn", "data.count", `,"values":[5]`), true},
		{"dataVersion", advanced("IsNullOrUndefined", "dataVersion", ``), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := loadOne(t, test.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Matches([]byte(cloudSample)); got != test.want {
				t.Errorf("matches %v, want %v", got, test.want)
			}
		})
	}
	for _, event := range []string{``, `[]`, `null`, `"x"`, `{`} {
		if (Subscription{}).Matches([]byte(event)) {
			t.Errorf("%q matches", event)
		}
	}
}

func TestValidate(t *testing.T) {
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	tests := []struct{ name, filter, want string }{
		{"unknown operator", advanced("StringEquals", "subject", `,"values":["a"]`), `subscription "Sub-1": advanced filter 0: unknown operator "StringEquals"`},
		{"operator in another case", advanced("stringin", "subject", `,"values":["a"]`), `unknown operator "stringin"`},
		{"key", advanced("StringIn", "dta.x", `,"values":["a"]`), `key "dta.x"`},
		{"key with an empty step", advanced("StringIn", "data..x", `,"values":["a"]`), `key "data..x"`},
		{"no values", advanced("StringIn", "subject", ``), "takes values"},
		{"value instead of values", advanced("StringIn", "subject", `,"value":"a"`), "takes values"},
		{"values instead of value", advanced("BoolEquals", "data.x", `,"values":[true]`), "takes value"},
		{"value for a unary operator", advanced("IsNotNull", "data.x", `,"value":1`), "takes neither"},
		{"type of value", advanced("NumberIn", "data.x", `,"values":["5"]`), "does not take the value 5"},
		{"half a range", advanced("NumberInRange", "data.x", `,"values":[[1]]`), "does not take the value [1]"},
		{"26 filters", `{"advancedFilters":[` + many(26, `{"operatorType":"IsNotNull","key":"data.x"}`) + `]}`, "26 advanced filters"},
		{"26 values", `{"advancedFilters":[` + many(13, `{"operatorType":"StringIn","key":"data.x","values":["a","b"]}`) + `]}`, "26 filter values"},
		{"513 characters", advanced("StringIn", "subject", `,"values":["`+strings.Repeat("é", 513)+`"]`), "513 characters"},
		{"unknown member", `{"subjectStartsWith":"/a"}`, "subjectStartsWith"},
		{"limits", `{"advancedFilters":[` + many(25, `{"operatorType":"StringIn","key":"data.x","values":["`+strings.Repeat("é", 512)+`"]}`) + `]}`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadOne(t, test.filter)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	for name, valid := range map[string]bool{"abc": true, "A-9": true, "ab": false, "a_b": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if err := (Subscription{Name: name, Function: "F"}).Validate(); (err == nil) != valid {
			t.Errorf("name %q: %v, want valid %v", name, err, valid)
		}
	}
}

func TestLoadSubscriptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subscriptions.json")
	if _, err := LoadSubscriptions(path); !os.IsNotExist(err) && !strings.Contains(fmt.Sprint(err), "no such file") {
		t.Errorf("missing file: %v", err)
	}
	write(t, path, `[{"name":"One","function":"F"},{"name":"ONE","function":"F"},{"name":"x","function":"../F"}]`)
	_, err := LoadSubscriptions(path)
	for _, want := range []string{`"ONE": the name is used twice`, `"x": the name must be`, `"../F" is not a function name`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
