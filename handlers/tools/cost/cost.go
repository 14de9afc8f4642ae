// Package cost computes the bill of a deployment, from what each event makes the
// services do and from list prices, and how far a large fleet is from the limits of these
// services. It writes docs/cost.md and docs/limits.md.
package cost

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	text "text/template"
)

// operations are what the services of a deployment do for one event, in the units
// of their bills.
type operations struct {
	Ingress       int // events published to a topic of Event Grid
	Matches       int // advanced matches: events that passed an advanced filter
	Deliveries    int // attempts to deliver
	Executions    int // of functions
	TableRequests int // to Table Storage
}

// gridOperations returns what Event Grid bills. All three have the same price.
func (o operations) gridOperations() int { return o.Ingress + o.Matches + o.Deliveries }

// The events, and the operations of each. handlers/reliability,
// TestCostOfEachEvent, reads these figures in the page and compares them with the
// figures of a run.
var (
	otherChange    = operations{Ingress: 1}
	firstOfHub     = operations{Ingress: 2, Matches: 1, Deliveries: 1, Executions: 1, TableRequests: 3}
	firstChange    = operations{Ingress: 2, Matches: 1, Deliveries: 1, Executions: 1, TableRequests: 1}
	furtherChange  = operations{Ingress: 1, Matches: 1, Deliveries: 1, Executions: 1, TableRequests: 1}
	redelivery     = operations{Deliveries: 1, Executions: 1, TableRequests: 2}
	notJudged      = operations{Ingress: 1, Matches: 1, Deliveries: 1, Executions: 1, TableRequests: 2}
	logMessage     = operations{Executions: 1, TableRequests: 1}
	firstFailure   = operations{Ingress: 2, Deliveries: 1, Executions: 1, TableRequests: 11}
	furtherFailure = operations{Ingress: 1, Deliveries: 1, Executions: 1, TableRequests: 11}
	otherFailure   = operations{TableRequests: 11}
	timerMinute    = operations{Executions: 1, TableRequests: 4}
	heardOf        = operations{TableRequests: 2}
	canaryHour     = operations{Ingress: 11, Deliveries: 15, Executions: 18, TableRequests: 43}
	canaryTag      = operations{Ingress: 1, Matches: 1, Deliveries: 1, Executions: 1, TableRequests: 6}
	told           = operations{Ingress: 1, Deliveries: 1, Executions: 1, TableRequests: 4}
	furtherChannel = operations{TableRequests: 1}
	heard          = operations{Deliveries: 1, Executions: 1}
)

// prices are list prices in US dollars.
var prices = struct {
	GridOperations, Executions, HubEvents float64 // for a million
	TableRequests, BlobWrites             float64 // for ten thousand
	GBSeconds, AlwaysReadyGBSeconds       float64 // while functions run; of an instance that is always ready, whether or not they run
	TableGB, ZonesGB                      float64 // a month, in one data centre and in three zones
	LogGB, SentinelGB                     float64 // ingested, and what Microsoft Sentinel takes for the same
	ThroughputUnit, MetricAlert, LogAlert float64 // a month
	PrivateEndpoint                       float64 // a month
}{
	GridOperations: 0.60, Executions: 0.40, HubEvents: 0.028,
	TableRequests: 0.00036, BlobWrites: 0.054,
	GBSeconds: 0.000026, AlwaysReadyGBSeconds: 0.000004,
	TableGB: 0.045, ZonesGB: 0.0562, LogGB: 2.99, SentinelGB: 2.99,
	ThroughputUnit: 21.90, MetricAlert: 0.10, LogAlert: 0.50, PrivateEndpoint: 7.30,
}

// Assumptions: figures that cannot be counted without Azure, or that differ
// between deployments.
const (
	recordBytes      = 1_000 // of a log record in an event hub
	occurrenceBytes  = 4_000 // of an occurrence's row of evidence
	sentinelBytes    = 3_000 // of an alert's row in Microsoft Sentinel, on average (TestSentinelRowLength)
	telemetryBytes   = 1_000 // of an execution's line in the workspace, columns included
	sampledPerSecond = 20    // lines that Application Insights keeps of an instance
	instanceGB       = 2     // parameter instanceMemory of main.bicep
	busyPerSecond    = 1_000 // executions on an instance that is kept busy
	minimumSeconds   = 1     // billed for an execution that wakes an instance by itself
	metricAlerts     = 10    // in main.bicep
	logAlerts        = 1     // in main.bicep, asked every 15 minutes
	endpoints        = 7     // private ones, in a network of one's own: endpoints.bicep
	batch            = 8     // messages of the log in an execution of a large fleet: maxEventBatchSize of host.json
	checkpoint       = 16    // batches of a partition for a checkpoint: batchCheckpointFrequency
	renewalRecords   = 3     // the end of a session, its close by the client, and the new connection
	renewalRequests  = 0.04  // table requests for a renewal beside its messages, at 10,000 devices (TestRequestsOfARenewal)
	stagedBytes      = 100   // of a renewal in the state
	stagedDays       = 4     // for which it is there
	daysInMonth      = 30
	unitBytesASecond = 1_000_000 // that a throughput unit takes
	peak             = 3         // times the mean rate
)

// load is what happens in a month, or in all.
type load struct {
	Name                    string
	changes, alertedChanges float64 // of resources; of those, what an alert is about
	records, perMessage     float64 // of the Connections log, and how many come in one message
	failures                float64 // records of failed connections of the four causes
	raisings                float64 // of alerts, of which one channel is told
	renewals                float64 // of tokens, by ending the session and connecting again: three records each
	busy                    bool    // whether instances are kept busy, or woken for each execution
	months                  float64 // of standing charges
}

// line is one line of a bill: what is billed, how much of it, and its price.
type line struct{ What, Quantity, Price string }

// operations returns what Event Grid, Azure Functions and Table Storage count.
func (l load) operations() (grid, executions, table float64) {
	add := func(n float64, o operations) {
		grid += n * float64(o.gridOperations())
		executions += n * float64(o.Executions)
		table += n * float64(o.TableRequests)
	}
	add(l.changes-l.alertedChanges, otherChange)
	add(l.alertedChanges, furtherChange)
	batched := logMessage
	batched.Executions = 0
	add(l.messages(), batched)
	executions += l.batches()
	add(l.failures, furtherFailure)
	add(l.raisings, told)
	add(l.raisings, heard)
	table += l.renewals * renewalRequests
	add(l.months*daysInMonth*24*60, timerMinute)
	add(l.months*daysInMonth*24, canaryHour)
	return grid, executions, table
}

// batches returns how many executions the messages of the log take.
func (l load) batches() float64 {
	if l.busy {
		return l.messages() / batch
	}
	return l.messages()
}

func (l load) messages() float64 {
	if l.records == 0 {
		return 0
	}
	return l.records / l.perMessage
}

// bill returns the bill of a load, without Azure's free grants. The last line is
// the sum.
func (l load) bill() (bill []line) {
	grid, executions, table := l.operations()
	seconds, lines := executions*minimumSeconds, executions
	if l.busy {
		// An instance that is called all day is billed all day.
		seconds = max(executions/busyPerSecond, l.months*daysInMonth*24*3600)
		lines = min(executions, seconds*sampledPerSecond)
	}
	units := 0.0
	if l.months > 0 {
		units = max(1, math.Ceil(peak*l.records*recordBytes/(l.months*daysInMonth*24*3600)/unitBytesASecond))
	}
	sum := 0.0
	add := func(what string, quantity float64, unit string, price float64) {
		sum += price
		bill = append(bill, line{what, amount(quantity) + unit, dollars(price)})
	}
	add("Event Grid operations", grid, "", grid/1e6*prices.GridOperations)
	add("Function executions", executions, "", executions/1e6*prices.Executions)
	add("Execution time", seconds*instanceGB, " GB-s", seconds*instanceGB*prices.GBSeconds)
	add("Table requests", table, "", table/1e4*prices.TableRequests)
	occurrences := (l.alertedChanges + l.failures) * occurrenceBytes / 1e9
	add("Evidence, a month of keeping it", occurrences, " GB", occurrences*prices.TableGB)
	add("Event Hubs messages", l.messages(), "", l.messages()/1e6*prices.HubEvents)
	add("Records of renewals, for four days", l.renewals*stagedBytes*stagedDays/daysInMonth/1e9, " GB", l.renewals*stagedBytes*stagedDays/daysInMonth/1e9*prices.TableGB)
	checkpoints := l.batches() / checkpoint
	add("Checkpoints of the event hub", checkpoints, "", checkpoints/1e4*prices.BlobWrites)
	telemetry := lines * telemetryBytes / 1e9
	add("Telemetry", telemetry, " GB", telemetry*prices.LogGB)
	if l.months > 0 {
		add("Throughput units", units, "", units*l.months*prices.ThroughputUnit)
		add("Alerts about hubwatch itself", metricAlerts+logAlerts, "", l.months*(metricAlerts*prices.MetricAlert+logAlerts*prices.LogAlert))
	}
	return append(bill, line{What: "In all", Price: dollars(sum)})
}

// canaryMonth returns the price of a month of canaries to one more function, as one type of events.
func canaryMonth() string {
	n := float64(daysInMonth * 24)
	each := prices.GridOperations/1e6 + prices.Executions/1e6 + minimumSeconds*instanceGB*prices.GBSeconds + 2*prices.TableRequests/1e4 + telemetryBytes*prices.LogGB/1e9
	return dollars(n * each)
}

// alwaysReady returns the price of a month of an instance that is always ready, by its memory.
func alwaysReady(gb float64) string {
	return dollars(gb * daysInMonth * 24 * 3600 * prices.AlwaysReadyGBSeconds)
}

// amount writes a number with three significant digits and thousands apart.
func amount(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.3g billion", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.3g million", n/1e6)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", int(n)/1000, int(n)%1000)
	}
	if n > 0 && n < 0.01 {
		return "< 0.01"
	}
	return fmt.Sprintf("%.3g", n)
}

// dollars writes an amount of money to the cent, and to the dollar from 100 on.
func dollars(usd float64) string {
	switch {
	case usd >= 1000:
		return "$" + amount(math.Round(usd))
	case usd >= 100:
		return fmt.Sprintf("$%.0f", usd)
	case usd > 0 && usd < 0.005:
		return "< $0.01"
	}
	return fmt.Sprintf("$%.2f", usd)
}

const million = 1e6

// perMillion are the loads of a million events each.
var perMillion = []load{
	{Name: "Changes of resources, 1 % with an alert", changes: million, alertedChanges: million / 100, busy: true},
	{Name: "Records of the Connections log, 1 % of them failures", records: million, perMessage: 100, failures: million / 100, busy: true},
	{Name: "Failed connections", records: million, perMessage: 100, failures: million, busy: true},
}

// fleet is what devices do in a month. Each connects and disconnects four times a
// day, and one connection in a thousand fails.
func fleet(name string, devices, perMessage float64, renewalsPerDay float64, busy bool) load {
	const sessions, failing = 4, 0.001
	l := load{Name: name, months: 1, perMessage: perMessage, busy: busy}
	l.changes = 100 * daysInMonth
	l.alertedChanges = 10
	l.failures = devices * daysInMonth * sessions * failing
	l.raisings = l.alertedChanges + l.failures
	l.renewals = devices * daysInMonth * renewalsPerDay
	l.records = devices*daysInMonth*sessions*2 + l.failures + l.renewals*renewalRecords
	return l
}

var fleets = []load{
	fleet("Ten devices", 10, 1, 0, false),
	fleet("Ten million devices", 10*million, 100, 0, true),
	fleet("Ten million devices that let their token expire every hour", 10*million, 100, 24, true),
}

//go:embed cost.md.tmpl
var page string

// Page returns docs/cost.md: what a deployment is billed for.
func Page() ([]byte, error) {
	t, err := text.New("cost.md.tmpl").Parse(page)
	if err != nil {
		return nil, err
	}
	bills := func(loads []load) (list []map[string]any) {
		for _, l := range loads {
			list = append(list, map[string]any{"Name": l.Name, "Lines": l.bill()})
		}
		return list
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Events": []struct {
			What string
			operations
		}{
			{"A change that no alert is about", otherChange},
			{"A change with an alert, the first of its hub that day", firstOfHub},
			{"A change with an alert, the first of its kind that day", firstChange},
			{"The same kind of change again", furtherChange},
			{"An event that Event Grid delivers once more", redelivery},
			{"A change that cannot be judged", notJudged},
			{"A message of the Connections log, whatever is in it", logMessage},
			{"and for each failed connection in it, the first of its kind that day", firstFailure},
			{"or the same kind again", furtherFailure},
			{"or of none of the four causes", otherFailure},
			{"A minute of the timer, without a verdict or a digest that is due", timerMinute},
			{"To remember that a hub was heard of, once a minute for each hub and source", heardOf},
			{"An hour of canaries, through three paths and to each function of two topics", canaryHour},
			{"A tag of the day, if it is wanted", canaryTag},
			{"An alert that is raised or reopened, to tell one channel of it", told},
			{"and for each further channel", furtherChannel},
			{"and for the function Sentinel, without Microsoft Sentinel", heard},
		},
		"Prices":  prices,
		"Million": bills(perMillion), "Fleets": bills(fleets),
		"RecordBytes": amount(recordBytes), "OccurrenceBytes": amount(occurrenceBytes), "TelemetryBytes": amount(telemetryBytes), "SentinelBytes": amount(sentinelBytes),
		"SentinelMillion":  dollars(million * sentinelBytes / 1e9 * (prices.LogGB + prices.SentinelGB)),
		"Endpoints":        dollars(endpoints * prices.PrivateEndpoint),
		"SampledPerSecond": sampledPerSecond,
		"Batch":            batch, "Checkpoint": checkpoint, "RenewalRequests": renewalRequests, "StagedBytes": stagedBytes,
		"CanaryMonth": canaryMonth(),
		"AlwaysReady": alwaysReady(instanceGB), "SmallAlwaysReady": alwaysReady(0.5),
		"InstanceGB": instanceGB, "BusyPerSecond": amount(busyPerSecond), "Peak": peak,
	})
	return b.Bytes(), err
}
