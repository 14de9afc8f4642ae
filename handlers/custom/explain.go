package custom

import (
	"fmt"
	"strings"
	"time"
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
		which := "like one of "
		if a.Group.Not {
			which = "like none of "
		}
		s += "; only devices whose id is " + which + a.Group.String()
	}
	s += "."
	if a.When != "" {
		s += " It finds something if this is true: " + strings.Join(strings.Fields(a.When), " ")
	}
	return upperFirst(s)
}

func (a Alert) from() string {
	const late = "The relay publishes the records that are wanted. They are some minutes late, and can be lost."
	switch a.On.Source {
	case Resources:
		return "The system topic of the resource group or of the subscription, which the built-in alerts read too. Nothing has to be switched on."
	case Connections:
		return "The Connections log of each hub, by its diagnostic setting, which the built-in alerts read too. Nothing has to be switched on. It is some minutes late, and records can be lost."
	case Logs:
		if a.On.Category == "Connections" {
			return "The Connections log of each hub, by its diagnostic setting, which the built-in alerts read too. Nothing has to be switched on: the parameter logCategories of infra/main.bicep has Connections by itself. " + late
		}
		return fmt.Sprintf("The log %s of each hub. To switch it on, add '%[1]s' to the parameter logCategories of infra/main.bicep, for example logCategories = ['Connections', '%[1]s'] in infra/my.bicepparam, and deploy infra/main.bicep again: "+
			"then the diagnostic setting of each hub sends the category to the event hub of hubwatch. All its records are sent, and each costs. %s", a.On.Category, late)
	}
	return "The hub's own event system topic, of which a hub has one at most. To switch it on, run make generate and deploy infra/main.bicep again: for an alert of this source it makes a topic for each hub of its parameter iotHubs. " +
		"A hub that has a topic already is named in the parameter hubTopicNames, for example hubTopicNames = { 'contoso-hub': 'its-topic' }. The events come within seconds."
}

func (a Alert) counts() string {
	if a.Count == nil {
		return ""
	}
	what := "for each value of " + a.Count.Per + " on a hub"
	switch a.Count.Per {
	case "hub":
		what = "for each hub"
	case "device":
		what = "for each device of a hub"
	case "actor", "address":
		what = fmt.Sprintf("for each %s on a hub", a.Count.Per)
	}
	var sentences []string
	if a.Count.Max != nil {
		sentences = append(sentences, fmt.Sprintf("It raises an alert %s if it finds more than %d in any window of %s: the window slides, so it does not matter when it begins.", what, *a.Count.Max, a.Count.Window))
	}
	if a.Count.Min > 0 {
		quarter := a.rule.Width / 4
		sentences = append(sentences, fmt.Sprintf("It raises an alert %s if it finds fewer than %d in a window of %s that begins at a quarter of its length, so each %s: these windows do not slide. "+
			"A stretch with fewer than %[2]d holds such a window for certain if it lasts %[5]s; a shorter one may lie between two windows, and is not found. Only what was seen at least once, and of late, is expected.",
			what, a.Count.Min, a.Count.Window, span(quarter), span(a.rule.Width+quarter)))
	}
	return strings.Join(sentences, " ")
}

// span returns a duration as ISO 8601 has it, or with a point if it is not of whole seconds.
func span(d time.Duration) string {
	if d%time.Second == 0 {
		return FormatDuration(d)
	}
	return d.String()
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

// usage is what an event makes the services do, apart from the table.
type usage struct{ ingress, matches, deliveries, executions int }

// usage returns what an event does that the filter of the subscription lets through.
func (a Alert) usage() usage {
	u := usage{deliveries: 1, executions: 1}
	if filter := a.trigger().Filter(); len(filter.AdvancedFilters) > 0 {
		u.matches = 1
	}
	if a.On.Source == Logs || a.On.Source == Hub {
		u.ingress = 1 // They are published for the alerts that want them, and for nothing else.
	}
	return u
}

// dollars returns what a million such events cost.
func (u usage) dollars() float64 {
	return float64(u.ingress+u.matches+u.deliveries)*priceOfGrid + float64(u.executions)*priceOfExecutions +
		float64(u.executions)*million/busyPerSecond*executionGB*priceOfGBSecond
}

// requestsOfAlert is how many requests an occurrence of an alert takes that stands alone
// (docs/cost.md), and requestsOfCount each event of a key, once for max and once for min
// (TestRequestsOfACount and TestRequestsOfWatching of package table).
const requestsOfAlert, requestsOfCount = 1, 2

func (a Alert) costs() string {
	unit := "events that it is given"
	if a.On.Source == Logs {
		unit = "events that it is given, each with the records of a batch of messages"
	}
	s := fmt.Sprintf("A million %s: $%.2f, for %s of Event Grid and one execution each. ", unit, a.usage().dollars(), plural(a.usage().operations(), "operation"))
	switch {
	case a.Count == nil && a.On.Source == Logs:
		s += fmt.Sprintf("Each record in which it finds something takes %s to Table Storage more: $%.2f for a million.", plural(requestsOfAlert, "request"), requestsCost(requestsOfAlert*million))
	case a.Count == nil:
		s += fmt.Sprintf("If it finds something in each: $%.2f, for %s to Table Storage more.", a.usage().dollars()+requestsCost(requestsOfAlert*million), plural(requestsOfAlert, "request"))
	default:
		n := 0
		if a.Count.Max != nil {
			n += requestsOfCount
		}
		if a.Count.Min > 0 {
			n += requestsOfCount
		}
		each := "event in which it finds something"
		if a.On.Source == Logs {
			each = "value of " + a.Count.Per + " in an event, all of whose records are counted together"
		}
		s += fmt.Sprintf("Counting takes up to %s to Table Storage more for each %s: $%.2f for a million.", plural(n, "request"), each, requestsCost(n*million))
	}
	if a.Count != nil && a.Count.Min > 0 {
		s += " " + a.watching()
	}
	if a.On.Source == Logs {
		s += fmt.Sprintf(" A million records in the event hub: $%.3f, or more if they are long.", priceOfRecords)
	}
	return s
}

// requestsCost returns what requests to Table Storage cost.
func requestsCost(n int) float64 { return float64(n) * priceOfRequests / 10_000 }

// watching says what the timer costs that looks for what is missing. In each quarter of the
// window it reads the registry and five cells, in sixteen shards, a thousand rows with a request
// (table.Counts.Watch).
func (a Alert) watching() string {
	const shards, rows, marks, idle = 16, 6, 4, 2
	const month = 30 * 24 * time.Hour
	quarters := int(month / (a.rule.Width / 4))
	always := quarters*(shards*rows+marks) + int(month/time.Minute)*idle
	return fmt.Sprintf("For min a timer reads what is expected each %s: %d requests, and %d more for each thousand keys. In a month that is $%.2f, and $%.2f for each million keys.",
		span(a.rule.Width/4), shards*rows+marks, rows, requestsCost(always), requestsCost(quarters*rows*1000))
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
	for _, m := range a.doubts {
		add("%s.", m.Text)
	}
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
		add("It looks for what is missing, so it learns of it when the window is over and ten minutes have passed, and forgets a key that has been silent for a week.")
	}
	if a.Count == nil && a.On.Source == Logs && a.When == "" && a.On.Operations == nil {
		add("Each record of the log is an alert, or an occurrence of one. Say in operations, when or count which matter.")
	}
	switch {
	case a.On.Source == Hub && strings.Contains(strings.Join(a.On.EventTypes, " "), "DeviceTelemetry"):
		const messages = 43.2 // million a month
		add("Each message of each device becomes an event. 1,000 devices that send one a minute make %.0f million events a month, which is $%.0f. A routing query of the hub can leave messages out.", messages, messages*a.usage().dollars())
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
