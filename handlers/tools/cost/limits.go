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
	// Requests a second to a storage account, and entities of 1 KiB a second of a partition
	// (https://learn.microsoft.com/azure/storage/tables/scalability-targets). The page does not
	// say how larger entities count. Here they count by their size, which is the worst that
	// it can mean.
	accountPerSecond = 20_000
	partitionKiB     = 2_000
	// Memory of all instances of a subscription in a region, which support raises
	// (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#regional-subscription-memory-quotas).
	regionMB = 512_000
)

// What the design does, and what was measured. TestLimitAssumptions compares with their
// sources those that stand elsewhere.
const (
	partitions        = 4           // parameter logPartitions of main.bicep
	instances         = 40          // parameter maximumInstances
	failuresPerSecond = 1_500       // rows of a partition for failed connections, whatever their size (handlers/table)
	invocationSeconds = 20          // of an invocation (handlers/host)
	bucketSeconds     = 600         // that a verdict is about (handlers/verdict)
	nearBuckets       = 3           // that a verdict reads: its own, and those before and after (settings RenewalGrace and SurgeDevices)
	farBuckets        = 11          // that it reads if a device does not come back: those of MissingAfter, too (handlers/verdict)
	readAtOnce        = 4           // partitions that a verdict reads at the same time (handlers/verdict)
	timersInBucket    = 10          // invocations of the function Verdicts in these ten minutes (its function.json)
	storm             = 100         // devices of a hub whose failures are one item (setting StormDevices)
	pauseSeconds      = 5           // between two verdicts of the relay on the same ten minutes (handlers/judge)
	restFactor        = 40          // the same, as a multiple of the time of a verdict, if that is longer
	factBytes         = 200         // of memory for a record that a verdict reads (TestMemoryOfAVerdict)
	stageMicros       = 10          // of CPU for a record that is staged, at most (make bench, docs/performance.md)
	deriveMicros      = 4           // of CPU for a record that a verdict reads, at most (make growth, docs/performance.md)
	unknownMicros     = 10          // the same of a refusal for no known cause, whose sentence is read
	recordsInMessage  = 100         // of a large fleet
	itemEntities      = 2           // of an occurrence: its evidence, and the row of its alert
	handlerShare      = 1.0 / 2     // of the memory of an instance; the rest is for the Functions host
	mib               = 1024 * 1024 // bytes
)

// scenario is what the devices of a fleet do in ten minutes.
type scenario struct {
	Name, About string
	records     float64 // of the log, for each device
	rowBytes    float64 // of a row with the records of a message (TestBytesOfARow)
	peak        float64 // the highest rate of records, as a multiple of the mean of these ten minutes
	facts       float64 // for each device, of those records that a verdict needs
	near        float64 // ten minutes of which a verdict reads the records
	far         float64 // the same, of the last verdict
	passes      float64 // verdicts of the function Verdicts, beside the last, as multiples of one on all records
	told        bool    // whether the verdict is told: for that its own ten minutes are read once more
	renewals    float64 // of tokens, for each device
	failing     float64 // share of the devices whose connections fail
	tries       float64 // connections of such a device
}

const (
	renewalsInBucket = bucketSeconds / 3600.0
	refusedInBucket  = 10 // connections of a device that is refused each minute
	// The function Verdicts reads the records each minute in which devices are refused. From
	// the first minute to the last they grow to all, so these are half as many.
	refusedPasses = timersInBucket / 2
)

var scenarios = []scenario{
	{
		Name:    "All is well",
		About:   "Every device lets its token expire each hour, and connects again. A renewal is three records of the log, two of which a verdict needs. There are two verdicts: one when the grace of a renewal is over, and one when it is sure who did not come back.",
		records: renewalRecords * renewalsInBucket, rowBytes: 3_000, peak: peak, facts: 2 * renewalsInBucket, near: nearBuckets, far: nearBuckets, passes: 1, renewals: renewalsInBucket,
	},
	{
		Name:    "One device in a thousand fails",
		About:   "As before, and one device in a thousand is refused each minute. So at least one does not come back, and the last verdict reads the records of almost two hours to find it.",
		records: renewalRecords*renewalsInBucket + 0.001*refusedInBucket, rowBytes: 3_000, peak: peak, facts: 2*renewalsInBucket + 0.001*refusedInBucket,
		near: nearBuckets, far: farBuckets, passes: 1 + refusedPasses, told: true, renewals: renewalsInBucket, failing: 0.001, tries: refusedInBucket,
	},
	{
		Name:    "All devices are refused at once",
		About:   "A root certificate expires: within ten minutes every device is refused once.",
		records: 1, rowBytes: 4_900, peak: 1, facts: 1, near: 1, far: 1, passes: refusedPasses - 1, told: true, failing: 1, tries: 1,
	},
	{
		Name:    "All devices connect again at once",
		About:   "An outage of the network ends: within ten minutes every session ends, which is a record, and every device connects, which is another. A verdict needs the second.",
		records: 2, rowBytes: 1_450, peak: 1, facts: 1, near: 1, far: 1, passes: 1, told: true,
	},
}

// rate returns how many records a second the log has.
func (s scenario) rate(devices float64) float64 { return s.peak * s.records * devices / bucketSeconds }

// events returns how many events a second are published about a hub, at most, if the event hub
// has so many partitions. The number of a device's failures is told each time it has grown.
// From storm devices on, each instance that relays tells their number once in pauseSeconds at
// most.
func (s scenario) events(devices, partitions float64) float64 {
	if n := s.failing * devices; n < storm {
		return n * s.tries / bucketSeconds
	}
	return partitions / pauseSeconds
}

// kib returns how many KiB the rows have with the records of so many times ten minutes.
func (s scenario) kib(devices, buckets float64) float64 {
	return buckets * s.records * devices / recordsInMessage * s.rowBytes / 1024
}

// staged returns how many KiB a second are staged in a partition: that of a hub and ten minutes.
func (s scenario) staged(devices float64) float64 {
	return s.rate(devices) / recordsInMessage * s.rowBytes / 1024
}

// again returns how often a verdict reads its own ten minutes once more.
func (s scenario) again() float64 {
	if s.told {
		return 1
	}
	return 0
}

// turns returns how many partitions a verdict reads one after the other that looks at so many times
// ten minutes. It reads readAtOnce at the same time: those that are near, then the others, and then its own
// once more if it is told.
func (s scenario) turns(buckets float64) float64 {
	return math.Ceil(s.near/readAtOnce) + math.Ceil((buckets-s.near)/readAtOnce) + s.again()
}

// seconds returns how long a verdict takes that looks at so many times ten minutes: to read
// partitions, and to derive. What it takes to decode the answers of the table was not measured.
func (s scenario) seconds(devices, buckets float64) float64 {
	return s.kib(devices, s.turns(buckets))/partitionKiB + buckets*s.facts*devices*deriveMicros/1e6
}

// relayed returns how many KiB a second the instances that relay write into a partition and
// read from it while devices are refused, at worst: the partition of the ten minutes that they judge.
// An instance reads when it has staged a refusal. Then it rests for restFactor times as long,
// but pauseSeconds at least from one beginning to the next. It stops after three seconds
// (judgingAtOnce in handlers/judge), which changes nothing in the share of its time.
func (s scenario) relayed(devices, partitions float64) float64 {
	if s.failing == 0 {
		return 0
	}
	took := s.kib(devices, s.turns(s.near)) / partitionKiB
	reads := min(s.failing*devices*s.tries/bucketSeconds, partitions/max(pauseSeconds, (1+restFactor)*took))
	return s.staged(devices) + reads*s.kib(devices, 1+s.again())
}

// limit is something of which Azure, or the design, has no more than so much.
type limit struct {
	Name     string
	Unit     string
	deployed float64 // what a deployment with the defaults of main.bicep has
	most     float64 // what it can be given
	hub      bool    // whether each hub has one of its own
	use      func(s scenario, devices, partitions float64) float64
	Moves    string // what moves the point at which it is reached
}

// longestVerdict is the limit of a hub, since a verdict is about all its devices.
var longestVerdict = limit{
	Name: "Time of the longest verdict, which reads the partitions of its hub", Unit: "s", deployed: invocationSeconds, most: invocationSeconds, hub: true,
	use:   func(s scenario, devices, _ float64) float64 { return s.seconds(devices, s.far) },
	Moves: "More hubs. A shorter `MissingAfter` makes the last verdict read less, and devices that renew their tokens before they expire make the log shorter.",
}

// timeOfVerdicts is the limit that hubs have together. What does not fit into the rest of an
// invocation is begun anew in the next, so it is reached somewhat earlier.
var timeOfVerdicts = limit{
	Name: "Time of the function `Verdicts`, for all hubs", Unit: "s in ten minutes", deployed: timersInBucket * invocationSeconds, most: timersInBucket * invocationSeconds,
	use: func(s scenario, devices, _ float64) float64 {
		return s.passes*s.seconds(devices, s.near) + s.seconds(devices, s.far)
	},
	Moves: "A deployment for each group of hubs: the function derives one verdict after the other. What moves the point of the longest verdict moves this one, too, but for more hubs.",
}

// throughputUnits is the limit of the log, whoever reads it.
var throughputUnits = limit{
	Name: "Throughput units of the event hub", Unit: "MB/s", deployed: partitions, most: mostPartitions,
	use:   func(s scenario, devices, _ float64) float64 { return s.rate(devices) * recordBytes / unitBytesASecond },
	Moves: "`logPartitions`, which is set at the first deployment; units follow by themselves. Devices that renew their tokens before they expire make the log shorter. Beyond that, a deployment for each group of hubs.",
}

// partitionOfRelay is the limit that more partitions of the event hub make nearer.
var partitionOfRelay = limit{
	Name: "What the relay writes into a partition and reads from it while devices are refused", Unit: "KiB/s", deployed: partitionKiB, most: partitionKiB, hub: true,
	use:   func(s scenario, devices, partitions float64) float64 { return s.relayed(devices, partitions) },
	Moves: "More hubs, each with fewer devices, or fewer `logPartitions`. An instance that reads for long rests for forty times as long, so the instances of 32 partitions together read four fifths of what a partition gives, however large the hub. The rest is for what is staged.",
}

var limits = []limit{
	{
		Name: "Devices of an IoT hub", Unit: "devices", deployed: mostDevices, most: mostDevices, hub: true,
		use:   func(_ scenario, devices, _ float64) float64 { return devices },
		Moves: "More hubs: IoT Hub itself takes no more. Nothing in hubwatch counts hubs; each has partitions of its own in every table. The alerts on the activity log, of which a subscription can have 100, are as many however many hubs there are ([operate.md](operate.md#alerts-of-azure-monitor)).",
	},
	throughputUnits,
	{
		Name: "Processors that relay: one for each partition", Unit: "cores", deployed: partitions, most: mostPartitions,
		use:   func(s scenario, devices, _ float64) float64 { return s.rate(devices) * stageMicros / 1e6 },
		Moves: "`logPartitions`, and `instanceMemory`: an instance of 4 GB has two cores.",
	},
	{
		Name: "Instances of the app, by executions", Unit: "instances", deployed: instances, most: regionMB / (instanceGB * 1024),
		use: func(s scenario, devices, partitions float64) float64 {
			executions := s.rate(devices)/recordsInMessage/batch + s.events(devices, partitions)*float64(furtherFailure.Executions)
			return executions / busyPerSecond
		},
		Moves: "`maximumInstances`; at most is what a region gives a subscription, which support raises.",
	},
	{
		Name: "Events of the custom topic", Unit: "events/s", deployed: topicPerSecond, most: topicPerSecond,
		use: func(s scenario, devices, partitions float64) float64 {
			return s.events(devices, partitions) * float64(furtherFailure.Ingress)
		},
		Moves: "`StormDevices`: it is the reason why a storm does not reach the topic. Beyond that, a deployment for each group of hubs.",
	},
	{
		Name: "Requests to the account of the state", Unit: "requests/s", deployed: accountPerSecond, most: accountPerSecond,
		use: func(s scenario, devices, partitions float64) float64 {
			return s.rate(devices)/recordsInMessage*float64(logMessage.TableRequests) + s.peak*s.renewals*devices/bucketSeconds*renewalRequests + s.events(devices, partitions)*float64(furtherFailure.TableRequests)
		},
		Moves: "A deployment for each group of hubs.",
	},
	{
		Name: "Rows that are staged in a partition: a hub and ten minutes", Unit: "KiB/s", deployed: partitionKiB, most: partitionKiB, hub: true,
		use:   func(s scenario, devices, _ float64) float64 { return s.staged(devices) },
		Moves: "More hubs.",
	},
	longestVerdict,
	timeOfVerdicts,
	partitionOfRelay,
	{
		Name: "Memory of a verdict", Unit: "MiB", deployed: handlerShare * instanceGB * 1024, most: handlerShare * 4096, hub: true,
		use:   func(s scenario, devices, _ float64) float64 { return s.near * s.facts * devices * factBytes / mib },
		Moves: "`instanceMemory`, of which the handler has half, or more hubs.",
	},
	{
		Name: "Rows of alerts in a partition: a hub and a day", Unit: "entities/s", deployed: failuresPerSecond, most: failuresPerSecond, hub: true,
		use: func(s scenario, devices, partitions float64) float64 {
			return s.events(devices, partitions) * itemEntities
		},
		Moves: "`StormDevices`, or more hubs.",
	},
}

// fleetOf is a fleet: as many hubs, with as many devices each.
type fleetOf struct{ hubs, devices float64 }

// of returns how much of a limit a fleet uses in a scenario, if the event hub has so many
// partitions.
func (l limit) of(s scenario, f fleetOf, partitions float64) float64 {
	if l.hub {
		return l.use(s, f.devices, partitions)
	}
	return f.hubs * l.use(s, f.devices, partitions)
}

// bend returns from how many devices on a fleet uses more than most: of one hub if each hub
// has a limit of its own, and else in all, in hubs that are full. It is infinite if none does.
// The event hub has so many partitions.
// What a fleet uses grows with it, but where failures become a storm: there it is small.
func (l limit) bend(s scenario, most, partitions float64) float64 {
	over := func(devices float64) bool {
		if l.hub {
			return l.use(s, devices, partitions) > most
		}
		return l.of(s, fleetOf{max(1, devices/mostDevices), min(devices, mostDevices)}, partitions) > most
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
		r := row{Name: l.Name, Deployed: amount(l.deployed) + " " + l.Unit, first: l.bend(s, l.deployed, partitions)}
		r.TenHubs, r.TenShare = amount(l.of(s, tenHubs, partitions)), share(l.of(s, tenHubs, partitions)/l.deployed)
		r.OneHub, r.OneShare = amount(l.of(s, oneHub, partitions)), share(l.of(s, oneHub, partitions)/l.deployed)
		where := " in all"
		if l.hub {
			where = " of a hub"
		}
		most := l.bend(s, l.most, mostPartitions)
		r.Bends, r.Most = devices(r.first, where), devices(most, "")
		if most == r.first {
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
			text += " (" + r.Most + " with the most that can be given)"
		}
		return text
	}
	return say(rows[1]) + "; then " + say(rows[2])
}

// devices writes a number of devices with three significant digits: what it is computed from
// has no more.
func devices(n float64, where string) string {
	if math.IsInf(n, 1) {
		return "never"
	}
	unit := math.Pow(10, max(0, math.Floor(math.Log10(n))-2))
	return amount(math.Round(n/unit)*unit) + where
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
	well, thousandth, refused := scenarios[0], scenarios[1], scenarios[2]
	needed := math.Ceil(thousandth.rate(10*million) * recordBytes / unitBytesASecond)
	light := func(s scenario) scenario { // as if a row counted as one entity, whatever its size
		s.rowBytes = 1024
		return s
	}
	bend := func(l limit, s scenario, partitions float64) string {
		return devices(l.bend(s, l.deployed, partitions), "")
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Scenarios": tables, "Limits": limits, "Needed": needed, "Storm": storm,
		"AtOnce": bend(partitionOfRelay, refused, mostPartitions), "Deployed": bend(throughputUnits, thousandth, partitions),
		"Slow": bend(longestVerdict, well, partitions), "SlowLight": bend(longestVerdict, light(well), partitions),
		"Hub": bend(longestVerdict, thousandth, partitions), "HubLight": bend(longestVerdict, light(thousandth), partitions),
		"All": bend(timeOfVerdicts, thousandth, partitions), "AllLight": bend(timeOfVerdicts, light(thousandth), partitions),
		"Partitions": partitions, "MostPartitions": mostPartitions, "FactBytes": factBytes, "StageMicros": stageMicros, "DeriveMicros": deriveMicros, "UnknownMicros": unknownMicros,
		"RowBytes": []string{amount(well.rowBytes), amount(refused.rowBytes), amount(scenarios[3].rowBytes)}, "PartitionKiB": amount(partitionKiB), "FarBuckets": farBuckets, "ReadAtOnce": readAtOnce, "NearBuckets": nearBuckets,
		"RecordBytes": amount(recordBytes), "RecordsInMessage": recordsInMessage, "RenewalRequests": renewalRequests, "FailureRequests": furtherFailure.TableRequests,
		"Peak": peak, "Batch": batch, "BusyPerSecond": amount(busyPerSecond), "Pause": pauseSeconds, "Rest": restFactor, "Invocation": invocationSeconds,
	})
	return b.Bytes(), err
}
