package cost

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestLimitAssumptions compares what the page on limits takes from other files with them.
func TestLimitAssumptions(t *testing.T) {
	for _, test := range []struct {
		file, pattern string
		want          float64
	}{
		{"infra/main.bicep", `param logPartitions int = (\d+)`, partitions},
		{"infra/main.bicep", `@maxValue\((\d+)\)\nparam logPartitions`, mostPartitions},
		{"infra/main.bicep", `param maximumInstances int = (\d+)`, instances},
		{"handlers/table/limit.go", `failuresPerSecond = (\d+)`, failuresPerSecond},
		{"handlers/host/host.go", `l\.Timeout, (\d+)\*time\.Second`, invocationSeconds},
		{"handlers/verdict/verdict.go", `bucketSeconds = (\d+)`, bucketSeconds},
		{"handlers/verdict/verdict.go", `Storm: (\d+)`, storm},
		{"handlers/verdict/pass.go", `readAtOnce = (\d+)`, readAtOnce},
		{"handlers/judge/logs.go", `pause = (\d+) \* time\.Second`, pauseSeconds},
		{"handlers/judge/logs.go", `rest = (\d+)`, restFactor},
		{"handlers/verdict/fleet_test.go", `bytes are in memory for each record, want at most (\d+)`, factBytes},
		{"host.json", `"maxEventBatchSize": (\d+)`, batch},
		{"host.json", `"batchCheckpointFrequency": (\d+)`, checkpoint},
		{"infra/main.bicep", `param instanceMemory int = (\d+)`, instanceGB * 1024},
		{"handlers/table/limit.go", `A partition takes (\d,\d+) entities a second`, partitionKiB},
	} {
		text, err := os.ReadFile(filepath.Join("../../..", test.file))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(test.pattern).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s has no %s", test.file, test.pattern)
		} else if got, err := strconv.ParseFloat(strings.ReplaceAll(string(m[1]), ",", ""), 64); err != nil || got != test.want {
			t.Errorf("%s: %s gives %s, the page assumes %v", test.file, test.pattern, m[1], test.want)
		}
	}
}

// TestMeasuredAssumptions compares what the page on limits assumes with the figures in
// docs/performance.md: it assumes no less of work, and no more of speed.
func TestMeasuredAssumptions(t *testing.T) {
	text, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	most := func(pattern string) (most float64) {
		t.Helper()
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			n, err := strconv.ParseFloat(strings.ReplaceAll(string(m[1]), ",", ""), 64)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, n)
		}
		if most == 0 {
			t.Fatalf("docs/performance.md has no %s", pattern)
		}
		return most
	}
	if got := most(`- stage log records, .*: ([\d.]+) µs for`); got > stageMicros {
		t.Errorf("a record is staged in %v µs, the page assumes at most %v", got, stageMicros)
	}
	// A million devices that are refused at once: ms for as many records.
	if got := most(`(?s)A storm, by the devices.*\| 1,000,000 \| [\d,.]+ \| ([\d,.]+) \|`) / 1000; got > deriveMicros {
		t.Errorf("a verdict takes %v µs for a record, the page assumes at most %v", got, deriveMicros)
	}
	if got := most(`(?s)A storm, by the devices.*\| 1,000,000 \| [\d,.]+ \| [\d,.]+ \| ([\d,.]+) \|`) / 1000; got > unknownMicros {
		t.Errorf("a verdict takes %v µs for a record of no known cause, the page assumes at most %v", got, unknownMicros)
	}
	if got := most(`- stage log records, .* for (\d+) bytes`); got > recordBytes {
		t.Errorf("a record has %v bytes, the page assumes %v", got, recordBytes)
	}
	if got := most(`\n\| hubwatch \| ([\d]+) \|`); got < busyPerSecond {
		t.Errorf("the handler answers %v requests a second, the page assumes %v executions", got, busyPerSecond)
	}
	if want := fleets[1].records / recordsInMessage; fleets[1].messages() != want {
		t.Errorf("the bill has %v messages of the same fleet, the page on limits %v", fleets[1].messages(), want)
	}
}

// TestLimits compares what a fleet uses, and from how many devices on that is too much, with
// calculations by hand.
func TestLimits(t *testing.T) {
	well, thousandth, refused, again := scenarios[0], scenarios[1], scenarios[2], scenarios[3]
	tenHubs, never := fleetOf{10, million}, math.Inf(1)
	for _, test := range []struct {
		limit    string
		scenario scenario
		use      float64 // of ten hubs of a million
		bend     float64 // as deployed
		most     float64 // bend with 32 partitions, and the most of all else
	}{
		{"Devices of an IoT hub", well, 1e6, 1e6, 1e6},
		// 10 M devices × 3 records an hour × 1 kB × 3; 4 MB/s, 32 MB/s.
		{"Throughput units of the event hub", well, 25, 1.6e6, 12.8e6},
		// One record a device in 600 s.
		{"Throughput units of the event hub", refused, 16.667, 2.4e6, 19.2e6},
		{"Throughput units of the event hub", again, 33.333, 1.2e6, 9.6e6},
		// 25,000 records a second of 10 µs each.
		{"Processors that relay: one for each partition", well, 0.25, 160e6, 1_280e6},
		// 25,000 records a second in messages of 100, and eight messages in an execution; 40 and 250 instances × 1,000.
		{"Instances of the app, by executions", well, 0.03125, 12.8e9, 80e9},
		// A hub has 1,000 failing devices: a storm, told by 4 instances every 5 s, or by 32: 5,000 hubs × 1 M / 0.8, / 6.4.
		{"Events of the custom topic", thousandth, 8, 6.25e9, 781.25e6},
		{"Events of the custom topic", well, 0, never, never},
		// 250 messages a second, and 10 M renewals an hour × 3 × 0.04.
		{"Requests to the account of the state", well, 250 + 333.333, 342.86e6, 342.86e6},
		// 2,500 records a second of a hub, 100 in a row of 2.93 KiB.
		{"Rows that are staged in a partition: a hub and ten minutes", well, 73.242, 27.307e6, 27.307e6},
		// Ten minutes have 5,000 rows of 2.93 KiB, 2,000 KiB a second. Three are read at the same time, and have 1 M facts of 4 µs.
		{longestVerdict.Name, well, 7.3242 + 4, 1.76613e6, 1.76613e6},
		// 5,100 rows of 2.93 KiB in ten minutes. Three are read, twice four, and one again; 11 × 343,333 facts.
		{longestVerdict.Name, thousandth, 4*7.4707 + 15.107, 444_548, 444_548},
		// 10,000 rows of 4.79 KiB, read twice; 1 M facts.
		{longestVerdict.Name, refused, 47.852 + 4, 385_716, 385_716},
		// Ten hubs, two verdicts each; ten times 20 s.
		{timeOfVerdicts.Name, well, 2 * 113.242, 8.8306e6, 8.8306e6},
		// Ten hubs, five verdicts; ten times 20 s.
		{timeOfVerdicts.Name, refused, 5 * 518.52, 771_432, 771_432},
		// Each of 4 instances reads for a 41st of its time: 4 × 2,000 / 41, and 166.67 records staged a second, 100 in a row
		// of 4.79 KiB. With 32 instances 439 KiB/s are left for what is staged, of 0.07975 for a thousand devices.
		{partitionOfRelay.Name, refused, 195.12 + 79.753, 22.631e6, 5.5048e6},
		{partitionOfRelay.Name, thousandth, 195.12 + 74.707, 24.159e6, 5.8766e6},
		{partitionOfRelay.Name, well, 0, never, never},
		// Half an hour of a hub has 1 M facts of 200 bytes; half of 2 GiB, of 4 GiB.
		{"Memory of a verdict", well, 190.73, 5.369e6, 10.737e6},
		// Two entities for each of 0.8 events a second.
		{"Rows of alerts in a partition: a hub and a day", refused, 1.6, never, never},
	} {
		found := false
		for _, l := range limits {
			if l.Name != test.limit {
				continue
			}
			found = true
			near := func(a, b float64) bool { return a == b || math.Abs(a-b) <= 0.001*math.Abs(b) }
			if got := l.of(test.scenario, tenHubs, partitions); !near(got, test.use) {
				t.Errorf("%s, %s: %v is used, want %v", test.limit, test.scenario.Name, got, test.use)
			}
			if got := l.bend(test.scenario, l.deployed, partitions); !near(got, test.bend) {
				t.Errorf("%s, %s: it bends at %v, want %v", test.limit, test.scenario.Name, got, test.bend)
			}
			if got := l.bend(test.scenario, l.most, mostPartitions); !near(got, test.most) {
				t.Errorf("%s, %s: with the most it bends at %v, want %v", test.limit, test.scenario.Name, got, test.most)
			}
			for _, r := range test.scenario.table() {
				if want := devices(test.most, ""); r.Name == l.Name && r.Most != want && (r.Most != "the same" || test.most != test.bend) {
					t.Errorf("%s, %s: the table says %q, want %q", test.limit, test.scenario.Name, r.Most, want)
				}
			}
		}
		if !found {
			t.Errorf("there is no limit %q", test.limit)
		}
	}
}

// TestMorePartitionsBringNoLimitNearer checks that no limit of a hub that is full is exceeded with more partitions
// of the event hub and not with those that are deployed: the page gives no other reason against them than
// their cost.
func TestMorePartitionsBringNoLimitNearer(t *testing.T) {
	for _, s := range scenarios {
		for _, l := range limits {
			for more := float64(partitions); l.hub && more <= mostPartitions; more++ {
				if l.use(s, mostDevices, more) > l.deployed && l.use(s, mostDevices, partitions) <= l.deployed {
					t.Errorf("%s, %s: too much is used with %v partitions", s.Name, l.Name, more)
				}
			}
		}
	}
}

// TestLimitsInOrder checks that the table has every limit, that of IoT Hub first and the
// others in the order in which they are reached.
func TestLimitsInOrder(t *testing.T) {
	for _, s := range scenarios {
		rows := s.table()
		if len(rows) != len(limits) || rows[0].Name != limits[0].Name {
			t.Fatalf("%s: %d rows, the first of %s", s.Name, len(rows), rows[0].Name)
		}
		for i := 2; i < len(rows); i++ {
			if rows[i].first < rows[i-1].first {
				t.Errorf("%s: %s is reached before %s", s.Name, rows[i].Name, rows[i-1].Name)
			}
		}
	}
}

// TestFewFailuresAreTold checks that failures that are no storm are each told.
func TestFewFailuresAreTold(t *testing.T) {
	s := scenario{failing: 0.001, tries: 10}
	for devices, want := range map[float64]float64{60_000: 1, 99_000: 1.65, 100_000: 0.8} {
		if got := s.events(devices, partitions); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v devices: %v events a second, want %v", devices, got, want)
		}
	}
}

func TestShares(t *testing.T) {
	for x, want := range map[float64]string{0: "0 %", 0.0004: "< 0.1 %", 0.031: "3.1 %", 0.625: "63 %", 12.5: "1,250 %"} {
		if got := share(x); got != want {
			t.Errorf("share(%v) is %q, want %q", x, got, want)
		}
	}
}
