package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/go-json-experiment/json"
)

// get reads a resource by its id, as Azure Resource Manager returns it.
func (a azure) get(ctx context.Context, id, version string) (map[string]any, error) {
	r, err := runtime.NewRequest(ctx, http.MethodGet, runtime.JoinPaths(a.manager.Endpoint(), id))
	if err != nil {
		return nil, err
	}
	query := r.Raw().URL.Query()
	query.Set("api-version", version)
	r.Raw().URL.RawQuery = query.Encode()
	r.Raw().Header.Set("Accept", "application/json")
	response, err := a.manager.Pipeline().Do(r)
	if err != nil {
		return nil, err
	}
	if !runtime.HasStatusCode(response, http.StatusOK) {
		return nil, runtime.NewResponseError(response)
	}
	body, err := runtime.Payload(response)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fmt.Errorf("the answer to GET %s: %w", id, err)
	}
	return members, nil
}

// differences compares a deployed resource with what the template says of it. Each
// difference names the member, what the member is, and what it should be.
func differences(have map[string]any, members, defaults map[string]any) (list []string) {
	flat := map[string]any{}
	flatten("", have, flat)
	for _, path := range slices.Sorted(maps.Keys(members)) {
		want := members[path]
		if _, varies := want.(Varies); varies {
			continue
		}
		if got, there := flat[strings.ToLower(path)]; !there {
			list = append(list, fmt.Sprintf("%s is missing, want %s", path, written(want)))
		} else if !same(got, want) {
			list = append(list, fmt.Sprintf("%s is %s, want %s", path, written(got), written(want)))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(defaults)) {
		if got, there := flat[strings.ToLower(path)]; there && !same(got, defaults[path]) {
			list = append(list, fmt.Sprintf("%s is %s, want %s", path, written(got), writtenDefault(defaults[path])))
		}
	}
	return list
}

// flatten puts the members of a value into flat, by their paths in lower case: Azure
// returns some names in other letters than the templates have. The elements of an array
// are known by their names, and by their numbers if they have none. The array itself is the
// list of its texts and names, sorted.
func flatten(path string, value any, flat map[string]any) {
	switch value := value.(type) {
	case map[string]any:
		if path != "" && len(value) > 0 {
			flat[path] = "an object"
			path += "."
		}
		for name, member := range value {
			if member != nil {
				flatten(path+strings.ToLower(name), member, flat)
			}
		}
	case []any:
		texts := []string{}
		for i, element := range value {
			object, isObject := element.(map[string]any)
			name, hasName := object["name"].(string)
			switch {
			case isObject && hasName:
				texts = append(texts, name)
				flatten(path+"."+strings.ToLower(name), object, flat)
			case isObject:
				texts = append(texts, "an object")
				flatten(path+"."+strconv.Itoa(i), object, flat)
			default:
				texts = append(texts, fmt.Sprint(element))
			}
		}
		slices.Sort(texts)
		flat[path] = texts
	default:
		flat[path] = value
	}
}

// same reports whether a deployed value is the wanted one. Azure returns texts in other
// letters than they were deployed with.
func same(have, want any) bool {
	if list, ok := want.([]string); ok {
		got, ok := have.([]string)
		return ok && slices.Equal(folded(got), folded(list))
	}
	return strings.EqualFold(plainValue(have), plainValue(want))
}

// folded returns texts in lower case, sorted.
func folded(texts []string) []string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = strings.ToLower(text)
	}
	slices.Sort(list)
	return list
}

// plainValue writes a value of a member. A number is the same as an integer and as a
// floating-point number.
func plainValue(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// written writes a value for a person.
func written(v any) string {
	switch v := v.(type) {
	case []string:
		if len(v) == 0 {
			return "empty"
		}
		return strings.Join(v, ", ")
	case string:
		return strconv.Quote(v)
	}
	return plainValue(v)
}

// writtenDefault writes a default for a person: a member without one has to be missing.
func writtenDefault(v any) string {
	if v == "" {
		return "none"
	}
	return written(v)
}
