package window

import (
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	most := func(n int) *int { return &n }
	for _, c := range []struct {
		rule Rule
		want string // a part of the error; "" for none
	}{
		{Rule{Width: time.Minute, Max: most(0)}, ""},
		{Rule{Width: 24 * time.Hour, Max: most(1000), Min: 1000}, ""},
		{Rule{Width: time.Hour, Min: 1}, ""},
		{Rule{Width: time.Hour}, "want max or min"},
		{Rule{Width: time.Hour, Max: most(-1)}, "count.max: want 0 to 1000, have -1"},
		{Rule{Width: time.Hour, Max: most(1001)}, "64 KiB"},
		{Rule{Width: time.Hour, Min: -1}, "count.min: want 0 to 1000, have -1"},
		{Rule{Width: time.Hour, Min: 1001}, "count.min"},
		{Rule{Width: time.Hour, Max: most(2), Min: 3}, "want at most count.max, which is 2, have 3"},
		{Rule{Width: time.Minute - 1, Min: 1}, "want at least 1m0s"},
		{Rule{Width: 4*time.Minute - 1, Min: 1}, "want at least 4m0s for count.min"},
		{Rule{Width: 4 * time.Minute, Min: 1}, ""},
		{Rule{Width: 24*time.Hour + 1, Min: 1}, "want at most 24h0m0s"},
	} {
		err := c.rule.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.rule, err, c.want)
		}
	}
}
