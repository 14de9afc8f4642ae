package alert

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// at returns a course of one kind whose counts are given as "12:00 2".
func at(what string, counts ...string) Course {
	c := Course{what: {}}
	for _, count := range counts {
		from, n, _ := strings.Cut(count, " ")
		of := 0
		_, _ = fmt.Sscan(n, &of)
		c[what][from] = of
	}
	return c
}

// TestContinual checks from when on refusals are continual: over periods, and not only within one.
func TestContinual(t *testing.T) {
	every := []string{} // a token each six minutes, for four hours
	for m := range 24 {
		every = append(every, fmt.Sprintf("%02d:%d0 %d", 8+m/6, m%6, 1+m%2))
	}
	for name, test := range map[string]struct {
		course Course
		want   bool
	}{
		"nothing":                         {nil, false},
		"twice":                           {at(ExpiredTokens, "12:00 2"), false},
		"three times in ten minutes":      {at(ExpiredTokens, "12:00 3"), true},
		"every six minutes":               {at(ExpiredTokens, every...), true},
		"once, and five times":            {at(ExpiredTokens, "12:00 1", "12:10 5"), true},
		"once early, and five times late": {at(ExpiredTokens, "03:00 1", "21:10 5"), true},
		"once in each of three":           {at(ExpiredTokens, "09:50 1", "10:00 1", "10:10 1"), true},
		"with a gap":                      {at(ExpiredTokens, "09:50 2", "10:10 1"), true},
		"with two gaps":                   {at(ExpiredTokens, "09:50 2", "10:20 1"), false},
		"twice an hour":                   {at(ExpiredTokens, "09:00 2", "10:00 2", "11:00 2"), false},
		"at both ends of the day":         {at(ExpiredTokens, "00:00 2", "23:50 2"), false},
		"of another cause":                {at("token invalid", "12:00 5"), false},
		"of many devices":                 {at(ExpiredTokens+OfDevices, "12:00 500"), false},
		"of devices without a name":       {at(ExpiredTokens+OfUnnamed, "12:00 5"), false},
		"written by somebody":             {at(ExpiredTokens, "noon 5"), false},
	} {
		if got := test.course.Continual(); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestCourse checks that versions replace each other and what a course says.
func TestCourse(t *testing.T) {
	three := at("token invalid", "12:00 3")
	if got := three.With(nil); !maps.Equal(got["token invalid"], three["token invalid"]) {
		t.Errorf("with nothing: %v", got)
	}
	if got := three.With(at("token invalid", "12:00 5", "12:10 1")).With(at("token invalid", "12:10 0")); fmt.Sprint(got) != "map[token invalid:map[12:00:5]]" {
		t.Errorf("with later versions: %v", got)
	}
	if got := three.With(at("token invalid", "12:00 0")); got == nil || len(got) > 0 || fmt.Sprint(three) != "map[token invalid:map[12:00:3]]" {
		t.Errorf("taken back: %v, and before %v", got, three)
	}
	for name, test := range map[string]struct {
		course      Course
		occurrences int
		want        string
		properties  string
	}{
		"once":           {at("token invalid", "12:00 1"), 1, "", "map[]"},
		"in ten minutes": {three, 3, " That happened 3 times in the ten minutes from 12:00 UTC.", "map[]"},
		"in several": {at("token invalid", "12:00 3", "09:10 1", "21:30 2"), 6,
			" That happened 6 times in 3 periods of ten minutes, the first from 09:10 and the last from 21:30 UTC.", "map[]"},
		"of two causes": {at("token invalid", "12:00 3").With(at("did not come back", "12:00 1")), 4,
			" That happened 4 times in the ten minutes from 12:00 UTC (did not come back: 1, token invalid: 3).", "map[]"},
		"others are not known": {three, 4, "", "map[]"},
		"continually": {at(ExpiredTokens, "12:00 1", "12:10 5"), 6, " That happened 6 times in 2 periods of ten minutes, the first from 12:00 and the last from 12:10 UTC. " +
			"A device whose clock is wrong tries on and on like this. So does somebody who has a token that is no longer valid.", "map[RefusedContinually:true]"},
		"one storm": {at("token invalid"+OfDevices, "12:00 120"), 120, "", "map[CountedDevices:120]"},
		"a storm that grows": {at("token invalid"+OfDevices, "18:00 120", "18:10 3000"), 3120, " The most of that day were 3000 devices in the ten minutes from 18:10 UTC (token invalid). " +
			"In all periods of ten minutes they are 3120, where a device counts once in each.", "map[CountedDevices:3000]"},
		"two storms as large": {at("token invalid"+OfDevices, "18:10 120").With(at("certificate expired"+OfDevices, "18:20 120", "18:00 120")), 360,
			" The most of that day were 120 devices in the ten minutes from 18:00 UTC (certificate expired). In all periods of ten minutes they are 360, where a device counts once in each.", "map[CountedDevices:120]"},
		"one of the earlier": {at("token invalid"+OfDevices, "18:00 120").With(at("certificate expired"+OfDevices, "18:20 120")), 240,
			" The most of that day were 120 devices in the ten minutes from 18:00 UTC (token invalid). In all periods of ten minutes they are 240, where a device counts once in each.", "map[CountedDevices:120]"},
	} {
		if got := test.course.Sentences(test.occurrences); got != test.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, test.want)
		}
		if got := fmt.Sprint(test.course.Properties()); got != test.properties {
			t.Errorf("%s: %s, want %s", name, got, test.properties)
		}
	}
}
