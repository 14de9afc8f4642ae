package console

import (
	"fmt"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
)

// TestChart checks that a chart shows just the alerts there are, and stays inside its
// drawing.
func TestChart(t *testing.T) {
	s := &server{Options: Options{Detectors: detector.All}}
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, days := range []int{1, 7, 30, 90} {
		var sums []alert.Summary
		all := 0
		for day := range days {
			counts := map[string]map[alert.Status]int{}
			for i, d := range detector.All {
				n := (day*7 + i*i) % 13 * map[bool]int{true: 1000, false: 1}[day%10 == 3]
				counts[d.AlertType] = map[alert.Status]int{alert.Active: n, alert.Resolved: 1}
				all += n + 1
			}
			counts["IoT_OfAnotherBuild"] = map[alert.Status]int{alert.Active: 2}
			all += 2
			sums = append(sums, alert.Summary{Hub: fmt.Sprint("hub-", day%7), Day: first.AddDate(0, 0, day), Counts: counts, Suppressed: 5})
		}
		for _, by := range []string{"severity", "type", "hub"} {
			c := s.newChart(sums, by, first, first.AddDate(0, 0, days-1))
			drawn, listed, highest := 0, 0, 0
			for _, series := range c.Series {
				listed += series.Total
			}
			for i, b := range c.Bars {
				left := chartLeft
				if i > 0 {
					left = c.Bars[i-1].X + c.Bars[i-1].W
				}
				if b.X < left || b.X+b.W > chartWidth || b.W < 1 || len(b.Segments) != len(c.Series) {
					t.Errorf("%d days by %s: bar %d is from %d to %d, after %d", days, by, i, b.X, b.X+b.W, left)
				}
				top := chartHeight - chartBottom
				for j, seg := range b.Segments {
					drawn += seg.N
					if seg.Y+seg.H > top || seg.Y < 0 || (seg.N > 0) != (seg.H > 0) || seg.Class != c.Series[j].Class {
						t.Errorf("%d days by %s: segment %+v of bar %d, above %d", days, by, seg, i, top)
					}
					top = seg.Y
				}
				highest = max(highest, b.Total)
			}
			if c.Total != all || drawn != all || listed != all || len(c.Bars) != days || len(c.Series) > mostSeries+1 {
				t.Errorf("%d days by %s: %d in all, %d drawn, %d listed, want %d; %d bars, %d series", days, by, c.Total, drawn, listed, all, len(c.Bars), len(c.Series))
			}
			if c.Ticks[2].Y != chartTop || c.Ticks[0].Y != chartHeight-chartBottom || scale(highest) < highest {
				t.Errorf("%d days by %s: scale %+v for %d", days, by, c.Ticks, highest)
			}
		}
	}
	for n, want := range map[int]int{0: 2, 1: 2, 2: 2, 3: 4, 5: 10, 10: 10, 11: 20, 21: 40, 41: 100, 8412: 10000} {
		if have := scale(n); have != want {
			t.Errorf("the scale for %d is %d, want %d", n, have, want)
		}
	}
}
