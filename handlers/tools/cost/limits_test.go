package cost

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
		{"handlers/judge/logs.go", `pause = (\d+) \* time\.Second`, pauseSeconds},
		{"handlers/judge/logs.go", `rest = (\d+)`, restFactor},
		{"handlers/verdict/fleet_test.go", `bytes are in memory for each record, want at most (\d+)`, factBytes},
		{"host.json", `"maxEventBatchSize": (\d+)`, batch},
	} {
		text, err := os.ReadFile(filepath.Join("../../..", test.file))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(test.pattern).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s has no %s", test.file, test.pattern)
		} else if got, err := strconv.ParseFloat(string(m[1]), 64); err != nil || got != test.want {
			t.Errorf("%s: %s gives %s, the page assumes %v", test.file, test.pattern, m[1], test.want)
		}
	}
}

// TestLimits compares what a fleet uses, and from how many devices on that is too much, with
// calculations by hand.
func TestLimits(t *testing.T) {
	well, thousandth, refused, again := scenarios[0], scenarios[1], scenarios[2], scenarios[3]
	tenHubs := fleetOf{10, million}
	for _, test := range []struct {
		limit    string
		scenario scenario
		use      float64 // of ten hubs of a million
		bend     float64 // as deployed
	}{
		{"Devices of an IoT hub", well, 1e6, 1e6},
		// 10 M devices × 3 records an hour × 1 kB × 3; 4 MB/s.
		{"Throughput units of the event hub", well, 25, 1.6e6},
		// One record a device in 600 s.
		{"Throughput units of the event hub", refused, 16.667, 2.4e6},
		{"Throughput units of the event hub", again, 33.333, 1.2e6},
		// 25,000 records a second of 5 µs each.
		{"Processors that relay: one for each partition", well, 0.125, 320e6},
		// 25,000 records a second in messages of 100, and eight messages in an execution; 40 instances × 1,000.
		{"Instances of the app, by executions", well, 0.03125, 12.8e9},
		// A hub has 1,000 failing devices: a storm, told by 4 instances every 5 s.
		{"Events of the custom topic", thousandth, 8, 6.25e9},
		{"Events of the custom topic", well, 0, math.Inf(1)},
		// 250 messages a second, and 10 M renewals an hour × 3 × 0.07.
		{"Requests to the account of the state", well, 250 + 583.333, 240e6},
		// 2,500 records a second of a hub, 100 in a row.
		{"Rows that are staged in a partition: a hub and ten minutes", well, 25, 80e6},
		// Half an hour of a hub has 1.5 M records, 100 in a row; 20 s × 2,000.
		{"Rows that a verdict reads in its time, from the partitions of its hub", well, 15_000, 2.667e6},
		// 10,000 rows take 5 s to read, so each of 4 instances reads them every 50 s.
		{"Rows that the relay reads from a partition in a storm", refused, 800, math.Inf(1)},
		{"Rows that the relay reads from a partition in a storm", well, 0, math.Inf(1)},
		// Half an hour of a hub has 1 M facts of 200 bytes; half of 2 GiB.
		{"Memory of a verdict", well, 190.73, 5.369e6},
		// Two entities for each of 0.8 events a second.
		{"Rows of alerts in a partition: a hub and a day", refused, 1.6, math.Inf(1)},
	} {
		found := false
		for _, l := range limits {
			if l.Name != test.limit {
				continue
			}
			found = true
			near := func(a, b float64) bool { return a == b || math.Abs(a-b) <= 0.001*math.Abs(b) }
			if got := l.of(test.scenario, tenHubs); !near(got, test.use) {
				t.Errorf("%s, %s: %v is used, want %v", test.limit, test.scenario.Name, got, test.use)
			}
			if got := l.bend(test.scenario, l.deployed); !near(got, test.bend) {
				t.Errorf("%s, %s: it bends at %v, want %v", test.limit, test.scenario.Name, got, test.bend)
			}
		}
		if !found {
			t.Errorf("there is no limit %q", test.limit)
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
		if got := s.events(devices); math.Abs(got-want) > 1e-9 {
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
