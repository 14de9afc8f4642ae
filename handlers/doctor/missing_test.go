package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestEachThingIsMissed takes away each thing of a deployment in turn. The doctor says each
// time that something is wrong, or, without a deployment stack, that something is unknown.
func TestEachThingIsMissed(t *testing.T) {
	missed := func(what string, take func(*sky)) {
		t.Helper()
		s := newSky(t)
		take(s)
		ill, _ := examine(t, s, contoso)
		if !slices.ContainsFunc(ill, func(line string) bool {
			return strings.HasPrefix(line, string(Wrong)) || strings.Contains(what, "/deploymentstacks/") && strings.HasPrefix(line, string(Unknown))
		}) {
			t.Errorf("without %s nothing is wrong:\n%s", what, strings.Join(ill, "\n"))
		}
	}
	whole := newSky(t)
	for _, id := range slices.Sorted(maps.Keys(whole.raw)) {
		missed(id, func(s *sky) { delete(s.raw, id) })
	}
	for principal, roles := range whole.roles {
		for i := range roles {
			missed(fmt.Sprintf("role %d of %s", i, principal), func(s *sky) { s.roles[principal] = slices.Delete(s.roles[principal], i, i+1) })
		}
	}
	for i := range whole.functions {
		missed("function "+*whole.functions[i].Name, func(s *sky) { s.functions = slices.Delete(s.functions, i, i+1) })
	}
	for hub := range whole.settings {
		missed("the diagnostic setting of "+hub, func(s *sky) { s.settings[hub] = s.settings[hub][:1] })
	}
}
