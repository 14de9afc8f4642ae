package custom

import (
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/window"
)

// TestBreached counts findings at seconds of a minute or later: each letter is a key, and
// the last time ends what is judged.
func TestBreached(t *testing.T) {
	most := func(n int) *int { return &n }
	begin := time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		rule  window.Rule
		keys  string
		times []int // in seconds
		last  int
		want  bool
	}{
		"one too many":                        {window.Rule{Width: time.Minute, Max: most(1)}, "aa", []int{0, 59}, 59, true},
		"as long as the window":               {window.Rule{Width: time.Minute, Max: most(1)}, "aa", []int{0, 60}, 60, false},
		"two keys":                            {window.Rule{Width: time.Minute, Max: most(1)}, "ab", []int{0, 1}, 1, false},
		"none is allowed":                     {window.Rule{Width: time.Minute, Max: most(0)}, "a", []int{0}, 0, true},
		"in another order":                    {window.Rule{Width: time.Minute, Max: most(2)}, "aaaa", []int{500, 30, 0, 59}, 500, true},
		"enough in each window":               {window.Rule{Width: 4 * time.Minute, Min: 1}, "aaaa", []int{0, 120, 300, 480}, 600, false},
		"too few in a window":                 {window.Rule{Width: 4 * time.Minute, Min: 1}, "aa", []int{0, 400}, 500, true},
		"too few, and the window is not over": {window.Rule{Width: 4 * time.Minute, Min: 1}, "a", []int{0}, 299, false},
		"too few, and the window is over":     {window.Rule{Width: 4 * time.Minute, Min: 1}, "a", []int{0}, 300, true},
	} {
		var found []alert.Occurrence
		for i, second := range c.times {
			o := alert.Occurrence{Event: alert.Event{ID: string(rune('0' + i)), Time: begin.Add(time.Duration(second) * time.Second)}}
			o.Entity.Name = c.keys[i : i+1]
			found = append(found, o, o) // delivered twice
		}
		if got := breached(c.rule, found, begin.Add(time.Duration(c.last)*time.Second)); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestSays holds what an alert says against what its case has of it.
func TestSays(t *testing.T) {
	a, err := New("TestAlert", Resources)
	if err != nil {
		t.Fatal(err)
	}
	a.Properties = map[string]string{"Who": "actor"}
	says := func(s Says) error {
		c := a.Cases[0]
		c.Says = &s
		return a.Run(c)
	}
	for name, s := range map[string]Says{
		"nothing":    {},
		"entity":     {Entity: "contoso-hub"},
		"message":    {Message: "alice@contoso.example read the keys of IoT hub contoso-hub"},
		"properties": {Properties: map[string]string{"Who": "alice@contoso.example"}},
	} {
		if err := says(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, s := range map[string]Says{
		`says.entity: want "other-hub", have "contoso-hub"`:           {Entity: "other-hub"},
		`says.message: want "mallory", have "alice@contoso.example`:   {Message: "mallory"},
		`says.properties.Who: want "bob", have "alice@contoso`:        {Properties: map[string]string{"Who": "bob"}},
		`says.properties.Whom: want "alice@contoso.example", have ""`: {Properties: map[string]string{"Whom": "alice@contoso.example"}},
	} {
		if err := says(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
}
