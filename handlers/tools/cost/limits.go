package cost

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	text "text/template"
)

// Limits of Azure, and what of them a deployment is given.
const (
	// Devices and modules of an IoT hub
	// (https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling#other-limits).
	mostDevices = million
	// A partition of an event hub, and so a throughput unit, of which there are as many. Event
	// Hubs Standard has 32 partitions at most
	// (https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas).
	mostPartitions = 32
	// Events a second that a custom topic takes
	// (https://learn.microsoft.com/azure/event-grid/quotas-limits).
	topicPerSecond = 5_000
	// Requests a second to a storage account, and entities a second of a partition, of 1 KiB
	// (https://learn.microsoft.com/azure/storage/tables/scalability-targets).
	accountPerSecond   = 20_000
	partitionPerSecond = 2_000
	// Memory of all instances of a subscription in a region, which support raises
	// (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#regional-subscription-memory-quotas).
	regionMB = 512_000
)

// What the design does, and what was measured. TestLimitAssumptions compares with their
// sources those that stand elsewhere.
const (
	partitions        = 4           // parameter logPartitions of main.bicep
	instances         = 40          // parameter maximumInstances
	failuresPerSecond = 1_500       // entities of a partition for failed connections (handlers/table)
	invocationSeconds = 20          // of an invocation (handlers/host)
	bucketSeconds     = 600         // that a verdict is about (handlers/verdict)
	nearBuckets       = 3           // that a verdict reads: its own, and those before and after
	storm             = 100         // devices of a hub whose failures are one item (setting StormDevices)
	pauseSeconds      = 5           // between two verdicts of the relay on the same ten minutes (handlers/judge)
	restFactor        = 10          // the same, as a multiple of the time of a verdict, if that is longer
	factBytes         = 200         // of memory for a record that a verdict reads (TestMemoryOfAVerdict)
	stageMicros       = 5           // of CPU for a record that is staged (make bench, docs/performance.md), rounded up
	recordsInMessage  = 100         // of a large fleet
	itemEntities      = 2           // of an occurrence: its evidence, and the row of its alert
	handlerShare      = 1.0 / 2     // of the memory of an instance; the rest is for the Functions host
	mib               = 1024 * 1024 // bytes
)

// scenario is what the devices of a fleet do in ten minutes.
type scenario struct {
	Name, About string
	records     float64 // of the log, for each device
	peak        float64 // the highest rate of records, as a multiple of the mean of these ten minutes
	facts       float64 // for each device, that a verdict reads
	near        float64 // records of the log for each device, in the buckets that a verdict reads
	renewals    float64 // of tokens, for each device
	failing     float64 // share of the devices whose connections fail
	tries       float64 // connections of such a device
}

const renewalsInBucket = bucketSeconds / 3600.0

var scenarios = []scenario{
	{
		Name:    "All is well",
		About:   "Every device lets its token expire each hour, and connects again. A renewal is three records of the log, two of which a verdict reads.",
		records: renewalRecords * renewalsInBucket, peak: peak, facts: 2 * nearBuckets * renewalsInBucket, near: renewalRecords * nearBuckets * renewalsInBucket, renewals: renewalsInBucket,
	},
	{
		Name:    "One device in a thousand fails",
		About:   "As before, and one device in a thousand is refused each minute.",
		records: renewalRecords*renewalsInBucket + 0.01, peak: peak, facts: 2*nearBuckets*renewalsInBucket + 0.01, near: nearBuckets * (renewalRecords*renewalsInBucket + 0.01), renewals: renewalsInBucket,
		failing: 0.001, tries: 10,
	},
	{
		Name:    "All devices are refused at once",
		About:   "A root certificate expires: within ten minutes every device is refused once.",
		records: 1, peak: 1, facts: 1, near: 1, failing: 1, tries: 1,
	},
	{
		Name:    "All devices connect again at once",
		About:   "An outage of the network ends: within ten minutes every session ends, which is a record, and every device connects, which is another. A verdict reads the second.",
		records: 2, peak: 1, facts: 1, near: 2,
	},
}

// rate returns how many records a second the log has.
func (s scenario) rate(devices float64) float64 { return s.peak * s.records * devices / bucketSeconds }

// events returns how many events a second are published about a hub. The number of a device's
// failures is told each time it has grown. From storm devices on, each instance that relays
// tells their number once in pauseSeconds at most.
func (s scenario) events(devices float64) float64 {
	if n := s.failing * devices; n < storm {
		return n * s.tries / bucketSeconds
	}
	return partitions / float64(pauseSeconds)
}

// limit is something of which Azure, or the design, has no more than so much.
type limit struct {
	Name     string
	Unit     string
	deployed float64 // what a deployment with the defaults of main.bicep has
	most     float64 // what it can be given
	hub      bool    // whether each hub has one of its own
	use      func(s scenario, devices float64) float64
	Moves    string // what moves the point at which it is reached
}

var limits = []limit{
	{
		Name: "Devices of an IoT hub", Unit: "devices", deployed: mostDevices, most: mostDevices, hub: true,
		use:   func(_ scenario, devices float64) float64 { return devices },
		Moves: "More hubs: IoT Hub itself takes no more. Nothing in hubwatch counts hubs; each has partitions of its own in every table.",
	},
	{
		Name: "Throughput units of the event hub", Unit: "MB/s", deployed: partitions, most: mostPartitions,
		use:   func(s scenario, devices float64) float64 { return s.rate(devices) * recordBytes / unitBytesASecond },
		Moves: "`logPartitions`, which is set at the first deployment; units follow by themselves. Devices that renew their tokens before they expire make the log shorter. Beyond that, a deployment for each group of hubs.",
	},
	{
		Name: "Processors that relay: one for each partition", Unit: "cores", deployed: partitions, most: mostPartitions,
		use:   func(s scenario, devices float64) float64 { return s.rate(devices) * stageMicros / 1e6 },
		Moves: "`logPartitions`, and `instanceMemory`: an instance of 4 GB has two cores.",
	},
	{
		Name: "Instances of the app, by executions", Unit: "instances", deployed: instances, most: regionMB / (instanceGB * 1024),
		use: func(s scenario, devices float64) float64 {
			executions := s.rate(devices)/recordsInMessage/batch + s.events(devices)*float64(furtherFailure.Executions)
			return executions / busyPerSecond
		},
		Moves: "`maximumInstances`; at most is what a region gives a subscription, which support raises.",
	},
	{
		Name: "Events of the custom topic", Unit: "events/s", deployed: topicPerSecond, most: topicPerSecond,
		use:   func(s scenario, devices float64) float64 { return s.events(devices) * float64(furtherFailure.Ingress) },
		Moves: "`StormDevices`: it is the reason why a storm does not reach the topic. Beyond that, a deployment for each group of hubs.",
	},
	{
		Name: "Requests to the account of the state", Unit: "requests/s", deployed: accountPerSecond, most: accountPerSecond,
		use: func(s scenario, devices float64) float64 {
			return s.rate(devices)/recordsInMessage*float64(logMessage.TableRequests) + s.peak*s.renewals*devices/bucketSeconds*renewalRequests + s.events(devices)*float64(furtherFailure.TableRequests)
		},
		Moves: "A deployment for each group of hubs.",
	},
	{
		Name: "Rows that are staged in a partition: a hub and ten minutes", Unit: "entities/s", deployed: partitionPerSecond, most: partitionPerSecond, hub: true,
		use:   func(s scenario, devices float64) float64 { return s.rate(devices) / recordsInMessage },
		Moves: "More hubs.",
	},
	{
		Name: "Rows that a verdict reads in its time, from the partitions of its hub", Unit: "entities", deployed: invocationSeconds * partitionPerSecond, most: invocationSeconds * partitionPerSecond, hub: true,
		use:   func(s scenario, devices float64) float64 { return s.near * devices / recordsInMessage },
		Moves: "More hubs: a message of the log is a row for each hub in it, however long.",
	},
	{
		Name: "Rows that the relay reads from a partition in a storm", Unit: "entities/s", deployed: partitionPerSecond, most: partitionPerSecond, hub: true,
		use: func(s scenario, devices float64) float64 {
			rows := s.near * devices / recordsInMessage
			if s.failing*devices < storm {
				return 0
			}
			return partitions * rows / max(pauseSeconds, restFactor*rows/partitionPerSecond)
		},
		Moves: "Nothing has to: an instance that reads for long rests for longer. More partitions of the event hub are more instances that read, and then staging waits for them.",
	},
	{
		Name: "Memory of a verdict", Unit: "MiB", deployed: handlerShare * instanceGB * 1024, most: handlerShare * 4096, hub: true,
		use:   func(s scenario, devices float64) float64 { return s.facts * devices * factBytes / mib },
		Moves: "`instanceMemory`, of which the handler has half, or more hubs.",
	},
	{
		Name: "Rows of alerts in a partition: a hub and a day", Unit: "entities/s", deployed: failuresPerSecond, most: failuresPerSecond, hub: true,
		use:   func(s scenario, devices float64) float64 { return s.events(devices) * itemEntities },
		Moves: "`StormDevices`, or more hubs.",
	},
}

// fleetOf is a fleet: as many hubs, with as many devices each.
type fleetOf struct{ hubs, devices float64 }

// of returns how much of a limit a fleet uses in a scenario.
func (l limit) of(s scenario, f fleetOf) float64 {
	if l.hub {
		return l.use(s, f.devices)
	}
	return f.hubs * l.use(s, f.devices)
}

// bend returns from how many devices on a fleet uses more than most: of one hub if each hub
// has a limit of its own, and else in all, in hubs that are full. It is infinite if none does.
// What a fleet uses grows with it, but where failures become a storm: there it is small.
func (l limit) bend(s scenario, most float64) float64 {
	over := func(devices float64) bool {
		if l.hub {
			return l.use(s, devices) > most
		}
		return l.of(s, fleetOf{max(1, devices/mostDevices), min(devices, mostDevices)}) > most
	}
	low, high := 1.0, 1e12
	if !over(high) {
		return math.Inf(1)
	}
	for high-low > 1 {
		if middle := math.Floor((low + high) / 2); over(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return low
}

// row is a line of the table of a scenario: a limit, and what becomes of it.
type row struct {
	Name, Deployed, TenHubs, TenShare, OneHub, OneShare, Bends, Most string
	first                                                            float64 // bend with what is deployed
}

// table returns the limits in the order in which they are reached, as deployed. The limit of
// IoT Hub itself comes first: it is no part of the design.
func (s scenario) table() (rows []row) {
	tenHubs, oneHub := fleetOf{10, million}, fleetOf{1, 10 * million}
	for _, l := range limits {
		r := row{Name: l.Name, Deployed: amount(l.deployed) + " " + l.Unit, first: l.bend(s, l.deployed)}
		r.TenHubs, r.TenShare = amount(l.of(s, tenHubs)), share(l.of(s, tenHubs)/l.deployed)
		r.OneHub, r.OneShare = amount(l.of(s, oneHub)), share(l.of(s, oneHub)/l.deployed)
		where := " in all"
		if l.hub {
			where = " of a hub"
		}
		r.Bends, r.Most = devices(r.first, where), devices(l.bend(s, l.most), "")
		if l.most == l.deployed {
			r.Most = "the same"
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows[1:], func(a, b row) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
	return rows
}

// first says which limits are reached first.
func (s scenario) first() string {
	rows := s.table()
	say := func(r row) string {
		text := strings.ToLower(r.Name[:1]) + r.Name[1:] + ", at " + r.Bends
		if r.Most != "the same" {
			text += " (" + r.Most + " with the most it can be given)"
		}
		return text
	}
	return say(rows[1]) + "; then " + say(rows[2])
}

// devices writes a number of devices.
func devices(n float64, where string) string {
	if math.IsInf(n, 1) {
		return "never"
	}
	return amount(n) + where
}

// share writes a part of a whole.
func share(x float64) string {
	switch {
	case x == 0:
		return "0 %"
	case x < 0.001:
		return "< 0.1 %"
	case x < 0.1:
		return fmt.Sprintf("%.1f %%", 100*x)
	}
	return fmt.Sprintf("%s %%", amount(math.Round(100*x)))
}

//go:embed limits.md.tmpl
var limitsPage string

// Limits returns docs/limits.md: how far ten million devices are from the limits of Azure.
func Limits() ([]byte, error) {
	t, err := text.New("limits.md.tmpl").Parse(limitsPage)
	if err != nil {
		return nil, err
	}
	var tables []map[string]any
	for _, s := range scenarios {
		tables = append(tables, map[string]any{"Name": s.Name, "About": s.About, "First": s.first(), "Rows": s.table()})
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Scenarios": tables, "Limits": limits, "Needed": math.Ceil(limits[1].of(scenarios[1], fleetOf{10, million})),
		"Partitions": partitions, "MostPartitions": mostPartitions, "FactBytes": factBytes, "StageMicros": stageMicros,
		"RecordBytes": amount(recordBytes), "RecordsInMessage": recordsInMessage, "RenewalRequests": renewalRequests, "FailureRequests": furtherFailure.TableRequests,
		"Peak": peak, "Batch": batch, "BusyPerSecond": amount(busyPerSecond), "Storm": storm, "Pause": pauseSeconds, "Invocation": invocationSeconds,
	})
	return b.Bytes(), err
}
