package console

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/fleet"
)

// The chart of alerts a day is a drawing of this size. The page scales it.
const (
	chartWidth, chartHeight = 760, 190
	chartLeft, chartBottom  = 40, 22 // room for the numbers and the days
	chartTop                = 8
)

// mostSeries is how many types or hubs the chart tells apart. The rest is one series.
const mostSeries = 5

// chart is how many alerts there were a day, as stacked bars, and as a table.
type chart struct {
	By     string // "severity", "type" or "hub"
	Series []series
	Bars   []bar
	Ticks  []tick // of the scale
	Days   []tick // below the bars
	Total  int
}

// series is what one colour stands for.
type series struct {
	Name, Class string
	Total       int
}

// bar is a day.
type bar struct {
	Day      time.Time
	Segments []segment // one for each series, also those without alerts
	Total    int
	Href     string // of the list of that day
	X, W     int
}

// segment is a part of a bar.
type segment struct {
	Name, Class string
	N           int
	Y, H        int
	Href        string
}

// tick is a text beside the drawing.
type tick struct {
	Text string
	X, Y int
}

// newChart counts alerts of summaries for each day from first to last. Suppressed alerts
// are not among them.
func (s *server) newChart(sums []alert.Summary, by string, first, last time.Time) chart {
	known := fleet.Severities(s.Detectors)
	counts := map[time.Time]map[string]int{}
	totals := map[string]int{}
	for _, sum := range sums {
		for kind, statuses := range sum.Counts {
			key := kind
			switch by {
			case "severity":
				key = string(known[strings.ToLower(kind)])
			case "hub":
				key = sum.Hub
			}
			for _, n := range statuses {
				if counts[sum.Day] == nil {
					counts[sum.Day] = map[string]int{}
				}
				counts[sum.Day][key] += n
				totals[key] += n
			}
		}
	}
	c := chart{By: by}
	names := s.seriesOf(by, totals)
	for i, name := range names {
		c.Series = append(c.Series, series{s.seriesName(by, name), seriesClass(by, name, i), totals[name]})
		c.Total += totals[name]
	}
	if rest := sumOf(totals) - c.Total; rest > 0 {
		c.Series = append(c.Series, series{"all others", "c-rest", rest})
		c.Total += rest
	}
	days := int(last.Sub(first).Hours()/24) + 1
	most := 0
	for i := range days {
		day := first.AddDate(0, 0, i)
		b := bar{Day: day, Href: s.to("/alerts", dayOf(day, "", ""))}
		for _, name := range names {
			b.Segments = append(b.Segments, segment{N: counts[day][name], Href: s.to("/alerts", dayOf(day, by, name))})
			b.Total += counts[day][name]
		}
		if rest := sumOf(counts[day]) - b.Total; len(c.Series) > len(names) {
			b.Segments = append(b.Segments, segment{N: rest, Href: b.Href})
			b.Total += rest
		}
		most = max(most, b.Total)
		c.Bars = append(c.Bars, b)
	}
	c.draw(most)
	return c
}

// draw places the bars. The highest one has most alerts.
func (c *chart) draw(most int) {
	top := scale(most)
	height, width := chartHeight-chartTop-chartBottom, chartWidth-chartLeft
	for i := range c.Bars {
		b := &c.Bars[i]
		left, right := chartLeft+i*width/len(c.Bars), chartLeft+(i+1)*width/len(c.Bars)
		b.X, b.W = left+1, right-left-2
		y := chartTop + height
		for j := range b.Segments {
			seg := &b.Segments[j]
			seg.Name, seg.Class = c.Series[j].Name, c.Series[j].Class
			if seg.H = seg.N * height / top; seg.N > 0 {
				seg.H = max(seg.H, 2) // few among many stay visible
			}
			y -= seg.H
			seg.Y = max(y, 0)
		}
	}
	for _, n := range []int{0, top / 2, top} {
		c.Ticks = append(c.Ticks, tick{number(n), chartLeft - 6, chartTop + height - n*height/top})
	}
	step := max(len(c.Bars)/6, 1)
	for i := 0; i < len(c.Bars); i += step {
		c.Days = append(c.Days, tick{c.Bars[i].Day.Format("2 Jan"), c.Bars[i].X, chartHeight - 6})
	}
}

// scale returns the number at the top of the scale: an even one that is no less than n.
func scale(n int) int {
	for unit := 2; ; unit *= 10 {
		for _, top := range []int{unit, 2 * unit, 5 * unit} {
			if n <= top {
				return top
			}
		}
	}
}

// seriesOf returns the keys that the chart tells apart: severities in their order, the
// worst first, and types and hubs by their numbers.
func (s *server) seriesOf(by string, totals map[string]int) []string {
	var keys []string
	for key := range totals {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(totals[b]-totals[a], strings.Compare(a, b)) })
	if by != "severity" {
		return keys[:min(len(keys), mostSeries)]
	}
	at := func(key string) int { return slices.Index(severities, alert.Severity(key)) }
	slices.SortFunc(keys, func(a, b string) int { return at(a) - at(b) })
	return keys
}

// seriesName returns what a person calls a series.
func (s *server) seriesName(by, key string) string {
	switch {
	case key == "":
		return "unknown"
	case by == "type":
		return titleOf(s.Detectors, key)
	}
	return key
}

// seriesClass returns the class of style of series i.
func seriesClass(by, key string, i int) string {
	if by == "severity" {
		return severityClass(alert.Severity(key))
	}
	return fmt.Sprint("c-", i)
}

// sumOf returns the sum of numbers.
func sumOf[K comparable](counts map[K]int) (n int) {
	for _, of := range counts {
		n += of
	}
	return n
}

// dayOf returns the filter for a day, and for one severity, type or hub if value is not
// "".
func dayOf(day time.Time, by, value string) url.Values {
	text := day.Format(time.DateOnly)
	values := url.Values{"since": {text}, "until": {text}}
	if value != "" {
		values.Set(by, value)
	}
	return values
}
