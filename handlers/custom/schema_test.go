package custom

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
)

const schemaFile = "../../docs/alert.schema.json"

// schema returns the published schema, compiled and as it is written.
func schema(t *testing.T) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	written, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	return compiled, written.(map[string]any)
}

// TestSchemaHasTheMembersOfTheType compares the members of each object.
func TestSchemaHasTheMembersOfTheType(t *testing.T) {
	_, written := schema(t)
	var compare func(name string, s map[string]any, of reflect.Type)
	compare = func(name string, s map[string]any, of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct {
			if of.Kind() == reflect.Slice {
				s = s["items"].(map[string]any)
			}
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return
		}
		properties := s["properties"].(map[string]any)
		fields := names(of)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(properties))); diff != "" {
			t.Errorf("%s (-type +schema):\n%s", name, diff)
		}
		if s["additionalProperties"] != false {
			t.Errorf("%s: other members are let through", name)
		}
		for member, field := range fields {
			if inner, ok := properties[member].(map[string]any); ok {
				compare(name+"."+member, inner, of.Field(field).Type)
			}
		}
	}
	compare("alert", written, reflect.TypeFor[Alert]())
}

// TestSchemaHasTheWords compares the lists of words.
func TestSchemaHasTheWords(t *testing.T) {
	_, written := schema(t)
	list := func(path ...any) []string {
		var v any = written
		for _, step := range path {
			switch step := step.(type) {
			case string:
				v = v.(map[string]any)[step]
			case int:
				v = v.([]any)[step]
			}
		}
		var texts []string
		for _, word := range v.([]any) {
			texts = append(texts, word.(string))
		}
		return texts
	}
	for _, c := range []struct {
		path []any
		want []string
	}{
		{[]any{"properties", "severity", "enum"}, severities},
		{[]any{"properties", "entityType", "enum"}, words(alert.EntityTypes)},
		{[]any{"properties", "on", "properties", "source", "enum"}, words(Sources)},
		{[]any{"properties", "on", "properties", "category", "enum"}, event.LogCategories},
		{[]any{"properties", "on", "allOf", 0, "then", "properties", "eventTypes", "items", "enum"}, event.OperationTypes},
		{[]any{"properties", "on", "allOf", 1, "then", "properties", "eventTypes", "items", "enum"}, eventTypes[Connections]},
		{[]any{"properties", "on", "allOf", 3, "then", "properties", "eventTypes", "items", "enum"}, event.HubTypes},
		{[]any{"properties", "cases", "items", "properties", "want", "enum"}, []string{string(Fires), string(Silent)}},
	} {
		if diff := cmp.Diff(c.want, list(c.path...)); diff != "" {
			t.Errorf("%v (-type +schema):\n%s", c.path, diff)
		}
	}
}

// TestSchemaAcceptsWhatLoadDoes validates right files, and files of which the schema has to
// see what is wrong.
func TestSchemaAcceptsWhatLoadDoes(t *testing.T) {
	compiled, _ := schema(t)
	validate := func(text string) error {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return compiled.Validate(value)
	}
	good := map[string]string{"right": right}
	for _, source := range Sources {
		a, err := New("TestAlert", source)
		if err != nil {
			t.Fatal(err)
		}
		good[string(source)] = string(Format(a))
	}
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		good[a.Name] = string(Format(a))
	}
	for name, text := range good {
		if err := validate(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct{ old, new string }{
		{`"severity"`, `"severty"`},
		{`"Medium"`, `"medium"`},
		{`"title": "Keys of a hub were read"`, `"title": 7`},
		{`"Contoso_HubKeysListed"`, `"a b c"`},
		{`"source": "resources"`, `"source": "logs"`},
		{`"Microsoft.Resources.ResourceActionSuccess"`, `"Microsoft.Resources.ResourceActionSucces"`},
		{`"operations": [`, `"category": "Connections", "operations": [`},
		{`"Who"`, `"who"`},
		{`"when": "actor != \"pipeline\""`, `"when": ""`},
		{`"Who": "actor"`, `"Who": ""`},
		{`"PT15M"`, `"15 minutes"`},
		{`"max": 10`, `"max": 1001`},
		{`"max": 10`, `"maximum": 10`},
		{`"want": "silent"`, `"want": "alert"`},
		{`"want": "silent"`, `"want": "silent", "says": {}`},
		{`"want": "alert"`, `"want": "alert", "says": {"actor": "alice"}`},
		{`"event": {"id": "1"},`, ``},
		{`"event": {"id": "1"},`, `"event": {"id": "1"}, "records": [{}],`},
	} {
		text := strings.Replace(right, c.old, c.new, 1)
		if text == right {
			t.Fatalf("the file has no %s", c.old)
		}
		if validate(text) == nil {
			t.Errorf("the schema accepts %s in place of %s", c.new, c.old)
		}
		if _, err := Load(repository(map[string]string{"HubKeysListed": text})); err == nil {
			t.Errorf("Load accepts %s in place of %s", c.new, c.old)
		}
	}
}

// TestSchemaRefusesNothingThatLoadTakes puts other values into each place of right files. What
// Load takes, no editor may mark.
func TestSchemaRefusesNothingThatLoadTakes(t *testing.T) {
	compiled, _ := schema(t)
	const texts = `"alertType": "Contoso_Test", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."], "owner": "O", "limits": "L.", "$comment": "C"`
	const cases = `"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert", "says": {"entity": "a", "message": "m", "properties": {"A": "b"}, "severity": "Low"}}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]`
	const count = `"count": {"per": "device", "window": "PT5M", "min": 3, "max": 10}`
	const group = `"group": {"devices": ["a*"], "not": true}`
	taken, tried := 0, 0
	for _, text := range []string{
		right,
		`{` + texts + `, "on": {"source": "connections", "eventTypes": ["hubwatch.iothub.connection.token-expired"], "subjectContains": "a"}, ` + group + `, "entity": "device", "entityType": "Device", "message": "hub", "properties": {"A": "hub"}, ` + cases + `}`,
		`{` + texts + `, "on": {"source": "logs", "category": "Connections", "operations": ["deviceConnect"]}, ` + count + `, ` +
			strings.Replace(strings.Replace(cases, `"event": {}`, `"events": [{}]`, 1), `"event": {}`, `"records": [{}]`, 1) + `}`,
		`{` + texts + `, "on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}, ` + count + `, ` + group + `, ` + cases + `}`,
	} {
		value, err := decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		try := func(what string) {
			tried++
			b, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Load(repository(map[string]string{"TestAlert": string(b)})); err != nil {
				if what == "as it is" {
					t.Fatal(err)
				}
				return
			}
			taken++
			again, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(again); err != nil {
				t.Errorf("%s: Load takes it: %v", what, err)
			}
		}
		try("as it is")
		var walk func(path string, v any, put func(any))
		walk = func(path string, v any, put func(any)) {
			for _, other := range []any{"", " ", "x", "PT60S", 0, -1, 1000, jsontext.Value("10.0"), jsontext.Value("1.5"), true, nil, []any{}, []any{""}, []any{"x", "x"}, map[string]any{}} {
				put(other)
				try(fmt.Sprintf("%s: %v", path, other))
			}
			put(v)
			switch v := v.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(v)) {
					member := v[name]
					delete(v, name)
					try(path + "." + name + " is not there")
					walk(path+"."+name, member, func(other any) { v[name] = other })
				}
			case []any:
				for i := range v {
					walk(fmt.Sprintf("%s[%d]", path, i), v[i], func(other any) { v[i] = other })
				}
			}
		}
		walk("", value, func(other any) { value = other })
	}
	if tried < 1000 || taken < 100 {
		t.Errorf("%d files, of which Load takes %d: this proves little", tried, taken)
	}
}
