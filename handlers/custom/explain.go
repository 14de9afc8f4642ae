package custom

import (
	"fmt"
	"strings"
)

// Explanation is what an alert watches, in words for people. Each text is one paragraph.
type Explanation struct {
	Watches  string   // which events, and which of them
	From     string   // where the events come from, and what has to be there
	Counts   string   // how the events are counted; "" if each is an alert
	About    string   // what an alert is about
	Costs    string   // what a million events cost
	Warnings []string // what is costly, or wide
}

// Explain returns what the alert watches, where it gets that from, and what it costs.
func (a Alert) Explain() Explanation {
	return Explanation{a.watches(), a.from(), a.counts(), a.about(), a.costs(), a.warnings()}
}

func (a Alert) watches() string {
	var s string
	switch a.On.Source {
	case Resources:
		s = "operations that Azure Resource Manager has ended, of the type " + or(a.On.EventTypes)
	case Connections:
		s = "failed connections of single devices, an event for each device, cause and ten minutes, of the type " + or(a.trigger().EventTypes)
	case Logs:
		s = fmt.Sprintf("records of the resource log %s of an IoT hub, each by itself, those of requests that succeed too", a.On.Category)
	default:
		s = "what an IoT hub says of its devices itself: " + or(a.On.EventTypes)
	}
	if a.On.Operations != nil {
		s += "; only the operation " + or(a.On.Operations)
	}
	if a.On.SubjectContains != "" {
		s += fmt.Sprintf("; only subjects that contain %s", a.On.SubjectContains)
	}
	if a.On.Own {
		s += "; only operations on what hubwatch itself is made of"
	}
	if a.Group != nil {
		n := len(a.Group.Devices) + len(a.Group.listed)
		which := "devices whose id is like one of "
		if a.Group.Not {
			which = "devices whose id is like none of "
		}
		s += fmt.Sprintf("; only %s%d patterns", which, n)
		if n <= 5 {
			s = strings.TrimSuffix(s, fmt.Sprintf("%d patterns", n)) + or(append(append([]string(nil), a.Group.Devices...), a.Group.listed...))
		}
	}
	s += "."
	if a.When != "" {
		s += " It finds something if this is true: " + strings.Join(strings.Fields(a.When), " ")
	}
	return upperFirst(s)
}

func (a Alert) from() string {
	switch a.On.Source {
	case Resources:
		return "The system topic of the resource group or of the subscription, which the built-in alerts read too. Nothing has to be switched on."
	case Connections:
		return "The Connections log of each hub, by its diagnostic setting, which the built-in alerts read too. Nothing has to be switched on. It is some minutes late, and records can be lost."
	case Logs:
		if a.On.Category == "Connections" {
			return "The Connections log of each hub, by its diagnostic setting, which the built-in alerts read too. The relay publishes the records that are wanted. They are some minutes late, and can be lost."
		}
		return fmt.Sprintf("The log %s of each hub. A diagnostic setting of the hub has to send this category to the event hub of hubwatch: it is a parameter of infra/hub.bicep. The relay publishes the records that are wanted. They are some minutes late, and can be lost.", a.On.Category)
	}
	return "The hub's own event system topic, of which a hub has one at most: infra/hub.bicep makes it, or takes the name of the one that is there. The events come within seconds."
}

func (a Alert) counts() string {
	if a.Count == nil {
		return ""
	}
	what := "for each value of " + a.Count.Per
	switch a.Count.Per {
	case "device", "hub", "actor", "address":
		what = "for each " + a.Count.Per
	}
	var bounds []string
	if a.Count.Max != nil {
		bounds = append(bounds, fmt.Sprintf("more than %d", *a.Count.Max))
	}
	if a.Count.Min > 0 {
		bounds = append(bounds, fmt.Sprintf("fewer than %d", a.Count.Min))
	}
	return fmt.Sprintf("It raises an alert %s of a hub if it finds %s in any window of %s.", what, strings.Join(bounds, ", or "), a.Count.Window)
}

func (a Alert) about() string {
	switch {
	case a.Count != nil:
		return fmt.Sprintf("What is counted (%s). All of a day in UTC is one alert.", a.keyType())
	case a.Entity != "":
		return fmt.Sprintf("What this says (%s), or the hub if it says nothing: %s", a.EntityType, a.Entity)
	case a.On.Own:
		return "hubwatch itself: all of a day in UTC by one actor is one alert."
	case a.On.Source == Resources:
		return "The hub."
	}
	return "The device or the module, or the hub if none is named."
}

// These are the list prices of docs/cost.md by which Explain computes, in US dollars.
const (
	priceOfGrid       = 0.60      // for a million
	priceOfExecutions = 0.40      // for a million
	priceOfRequests   = 0.00036   // for ten thousand
	priceOfRecords    = 0.028     // for a million
	priceOfGBSecond   = 0.000026  // for one
	executionGB       = 2         // the memory of an instance
	busyPerSecond     = 1_000     // executions on an instance that is kept busy
	million           = 1_000_000 // events
)

// usage is what an event makes the services do.
type usage struct{ ingress, matches, deliveries, executions, requests int }

// usage returns what an event does that the filter of the subscription lets through. found
// says whether the alert finds something in it.
func (a Alert) usage(found bool) usage {
	u := usage{deliveries: 1, executions: 1}
	if filter := a.trigger().Filter(); len(filter.AdvancedFilters) > 0 {
		u.matches = 1
	}
	if a.On.Source == Logs || a.On.Source == Hub {
		u.ingress = 1 // They are published for the alerts that want them, and for nothing else.
	}
	if found {
		u.requests = 2
	}
	return u
}

// dollars returns what a million such events cost.
func (u usage) dollars() float64 {
	return float64(u.ingress+u.matches+u.deliveries)*priceOfGrid + float64(u.executions)*priceOfExecutions +
		float64(u.requests)*priceOfRequests*million/10_000 + float64(u.executions)*million/busyPerSecond*executionGB*priceOfGBSecond
}

func (a Alert) costs() string {
	unit := "events that it is given"
	if a.On.Source == Logs {
		unit = "events that it is given, each with the records of a batch of messages"
	}
	s := fmt.Sprintf("A million %s: $%.2f, for %s of Event Grid and one execution each. If it finds something in each: $%.2f, for two requests to Table Storage more.",
		unit, a.usage(false).dollars(), plural(a.usage(false).operations(), "operation"), a.usage(true).dollars())
	if a.On.Source == Logs {
		s += fmt.Sprintf(" A million records in the event hub: $%.3f, or more if they are long.", priceOfRecords)
	}
	return s
}

func (u usage) operations() int { return u.ingress + u.matches + u.deliveries }

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// manyEvents is from which maximum of a count on each event rewrites a long row.
const manyEvents = 100

func (a Alert) warnings() (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if a.Count != nil && a.Count.Max != nil && *a.Count.Max > manyEvents {
		const bytes = 48 // that an event takes in a row of package window
		add("count.max is %d: each event of a key rewrites a row of up to %d KB. Up to %d it is less than 5.", *a.Count.Max, (*a.Count.Max*bytes+bytes)/1000, manyEvents)
	}
	if a.Count != nil && a.Count.Per == "address" {
		add("It counts by address. A log masks the last part of an address, and all devices behind one router have one address, so many devices can be counted together, and their events wait for each other.")
	}
	if a.Count != nil && a.Count.Per == "hub" && a.On.Source != Resources {
		add("It counts by hub: the events of all devices of a hub wait for each other. Under load, count by device.")
	}
	if a.Count != nil && a.Count.Min > 0 {
		add("It looks for what is missing, so it learns of it when the window is over and ten minutes have passed, reads the keys each minute, and forgets a key that has been silent for a week.")
	}
	if a.Count == nil && a.On.Source == Logs && a.When == "" && a.On.Operations == nil {
		add("Each record of the log is an alert, or an occurrence of one. Say in operations, when or count which matter.")
	}
	switch {
	case a.On.Source == Hub && strings.Contains(strings.Join(a.On.EventTypes, " "), "DeviceTelemetry"):
		const messages = 43.2 // million a month
		add("Each message of each device becomes an event. 1,000 devices that send one a minute make %.0f million events a month, which is $%.0f. A routing query of the hub can leave messages out.", messages, messages*a.usage(false).dollars())
	case a.On.Source == Logs && a.On.Operations == nil:
		add("The relay publishes each record of the log %s. Name operations, so that it publishes only those.", a.On.Category)
	case a.On.Source == Logs && a.On.Category == "DeviceTelemetry":
		add("A fleet with a fault can write a record of this log for each message of each device.")
	case a.On.Source == Resources && a.On.Operations == nil:
		add("It is given each operation of these types on each resource that is watched, of all resource providers. Name operations, so that Event Grid leaves the others out.")
	}
	return list
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
