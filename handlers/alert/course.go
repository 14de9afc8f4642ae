package alert

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Course is how often something happened on the UTC day of an alert: by what is counted, and
// by the beginnings of the ten minutes in which it was, as 15:04. Nothing in it is 0. nil says
// that nothing is known.
type Course map[string]map[string]int

// What a Course counts, beside connections of one device that failed for other causes.
const (
	// ExpiredTokens is how often a device was refused since it offered an expired token.
	ExpiredTokens = "token expired"
	// OfDevices is behind the name of what devices are counted of, each once in ten minutes.
	OfDevices = " (devices)"
	// OfUnnamed is behind the name of what happened to devices that the log does not name. They
	// may be many, so it says nothing of one that tries on and on.
	OfUnnamed = " (devices without a name)"
)

// With returns the course in which tallies of later versions are in place of those before.
// A tally of 0 is taken out. What it returns is not nil if more is not.
func (c Course) With(more Course) Course {
	if len(more) == 0 {
		return c
	}
	sum := Course{}
	for _, part := range []Course{c, more} {
		for what, counts := range part {
			if sum[what] == nil {
				sum[what] = map[string]int{}
			}
			maps.Copy(sum[what], counts)
		}
	}
	for what, counts := range sum {
		maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
		if len(counts) == 0 {
			delete(sum, what)
		}
	}
	return sum
}

// continual is from how many refusals in half an hour on a client is taken to go on by
// itself. Microsoft's SDKs try again for as long as the device runs, after waits that
// grow up to some minutes
// (https://learn.microsoft.com/azure/iot/concepts-manage-device-reconnections).
const continual = 3

// Continual reports whether a device was refused continually with an expired token: three
// times in three adjacent periods of ten minutes.
func (c Course) Continual() bool {
	counts := c[ExpiredTokens]
	for from := range counts {
		at, err := time.Parse(minutes, from)
		if err != nil {
			continue // somebody wrote it into the table
		}
		n := 0
		for each := at; each.Before(at.Add(30*time.Minute)) && each.Day() == at.Day(); each = each.Add(10 * time.Minute) {
			n += counts[each.Format(minutes)]
		}
		if n >= continual {
			return true
		}
	}
	return false
}

const minutes = "15:04"

// Properties returns the properties of the alert that follow from its course, in place of
// those of its first occurrence.
func (c Course) Properties() map[string]string {
	p := map[string]string{}
	if most, _, _ := c.MostDevices(); most > 0 {
		p["CountedDevices"] = strconv.Itoa(most)
	}
	if c.Continual() {
		p["RefusedContinually"] = "true"
	}
	return p
}

// MostDevices returns the largest number of devices of ten minutes, what it counts, and when
// they begin: of several the earliest. It is 0 if no devices are counted.
func (c Course) MostDevices() (n int, what, from string) {
	for _, each := range slices.Sorted(maps.Keys(c)) {
		if !strings.HasSuffix(each, OfDevices) {
			continue
		}
		for _, at := range slices.Sorted(maps.Keys(c[each])) {
			if of := c[each][at]; of > n || of == n && at < from {
				n, what, from = of, strings.TrimSuffix(each, OfDevices), at
			}
		}
	}
	return n, what, from
}

// Sentences says in sentences, each behind a space, how an alert went on that has so many
// occurrences. It is "" if there is nothing to say, or not all of the occurrences are known.
func (c Course) Sentences(occurrences int) string {
	all, periods, text := 0, map[string]bool{}, ""
	for _, counts := range c {
		for from, n := range counts {
			all += n
			periods[from] = true
		}
	}
	if most, what, from := c.MostDevices(); all == occurrences && (most > 0 && most < all) {
		text = fmt.Sprintf(" The most of that day were %d devices in the ten minutes from %s UTC (%s). In all periods of ten minutes they are %d, where a device counts once in each.", most, from, what, all)
	} else if all == occurrences && most == 0 && all > 1 {
		happened := make([]string, 0, len(c))
		for _, what := range slices.Sorted(maps.Keys(c)) {
			n := 0
			for _, of := range c[what] {
				n += of
			}
			happened = append(happened, fmt.Sprintf("%s: %d", what, n))
		}
		first, last := slices.Min(slices.Collect(maps.Keys(periods))), slices.Max(slices.Collect(maps.Keys(periods)))
		when := fmt.Sprintf("in the ten minutes from %s UTC", first)
		if len(periods) > 1 {
			when = fmt.Sprintf("in %d periods of ten minutes, the first from %s and the last from %s UTC", len(periods), first, last)
		}
		text = fmt.Sprintf(" That happened %d times %s", all, when)
		if len(happened) > 1 {
			text += " (" + strings.Join(happened, ", ") + ")"
		}
		text += "."
	}
	if c.Continual() {
		text += " A device whose clock is wrong tries on and on like this. So does somebody who has a token that is no longer valid."
	}
	return text
}
