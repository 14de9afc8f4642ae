package export

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// TestDocumentedNames checks that docs/exports.md has a row for just the members that
// the formats have, and says rightly which members of an alert are always there.
func TestDocumentedNames(t *testing.T) {
	text, err := os.ReadFile("../../docs/exports.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^##+ `).Split(string(text), -1)[1:] {
		title, body, _ := strings.Cut(part, "\n")
		sections[title] = body
	}
	a := whole()
	a.Properties, a.Entity, a.SuppressedBy = nil, alert.Entity{Type: alert.Module, Name: "a/b"}, "x" // so that all properties are there
	var properties []string
	for name := range decoded[map[string]string](t, row(t, a).ExtendedProperties) {
		properties = append(properties, name)
	}
	members := map[string]reflect.Type{
		"Alert": reflect.TypeFor[Alert](), "Evidence": reflect.TypeFor[Evidence](), "History": reflect.TypeFor[Change](), "Commands": reflect.TypeFor[Command](),
		"Suppressions": reflect.TypeFor[Suppression](),
	}
	for title, want := range map[string][]string{
		"Alert":                       paths(reflect.TypeFor[Alert](), ""),
		"Entities":                    paths(reflect.TypeFor[Entity](), ""),
		"Evidence":                    paths(reflect.TypeFor[Evidence](), ""),
		"History":                     paths(reflect.TypeFor[Change](), ""),
		"Commands":                    paths(reflect.TypeFor[Command](), ""),
		"Suppressions":                paths(reflect.TypeFor[Suppression](), ""),
		"OCSF":                        paths(reflect.TypeFor[DetectionFinding](), ""),
		"CloudEvents":                 paths(reflect.TypeFor[CloudEvent](), ""),
		"SecurityAlert":               paths(reflect.TypeFor[SecurityAlert](), ""),
		"Properties of SecurityAlert": properties,
	} {
		documented := documented(sections[title])
		if members[title] == nil { // otherwise the order is that of the document
			slices.Sort(want)
			slices.Sort(documented)
		}
		if diff := cmp.Diff(want, documented); diff != "" {
			t.Errorf("docs/exports.md, %s (-code +page):\n%s", title, diff)
		}
	}
	for title, document := range members {
		for i, name := range names(document) {
			always := !strings.HasSuffix(document.Field(i).Tag.Get("json"), ",omitzero")
			if says := regexp.MustCompile("(?m)^\\| `" + name + "` \\| [^|]* \\| yes \\|").MatchString(sections[title]); says != always {
				t.Errorf("docs/exports.md, %s: %s is always there: the page says %v", title, name, says)
			}
			if kind := kindOf(document.Field(i).Type); !strings.Contains(sections[title], "\n| `"+name+"` | "+kind+" |") {
				t.Errorf("docs/exports.md, %s: want the type of %s to be %q", title, name, kind)
			}
		}
	}
}

// kindOf returns how the page names the type of a member.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Map:
		return "object of texts"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return "list of texts"
	case t.Kind() == reflect.Slice:
		return "list of objects"
	}
	return "text"
}

// documented returns the names in the first column of the tables of a section.
func documented(section string) (names []string) {
	for line := range strings.Lines(section) {
		cells := strings.SplitN(line, "|", 3)
		if len(cells) < 3 || cells[0] != "" {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// paths returns the paths of all members that have no members of their own. It does not
// go into an alert, into evidence, or into an entity, which have sections of their own.
func paths(t reflect.Type, prefix string) (list []string) {
	for i, name := range names(t) {
		member := t.Field(i).Type
		path := prefix + name
		if member.Kind() == reflect.Pointer {
			member = member.Elem()
		}
		if member.Kind() == reflect.Slice && member.Elem().Kind() == reflect.Struct && strings.HasPrefix(member.Elem().Name(), "ocsf") {
			member, path = member.Elem(), path+"[]"
		}
		if strings.HasPrefix(member.Name(), "ocsf") {
			list = append(list, paths(member, path+".")...)
		} else {
			list = append(list, path)
		}
	}
	return list
}
