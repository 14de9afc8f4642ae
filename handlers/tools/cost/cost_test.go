package cost

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCostAssumptions compares the figures that the bill takes from other files
// with those files.
func TestCostAssumptions(t *testing.T) {
	for _, test := range []struct {
		file, pattern string // of which every match counts 1, unless it has a number
		want          int
	}{
		{"host.json", `"maxTelemetryItemsPerSecond": (\d+)`, sampledPerSecond},
		{"host.json", `"(?:Function|Host\.Results)": "(?:Warning|Error)"`, 2},
		{"infra/main.bicep", `param instanceMemory int = (\d+)`, instanceGB * 1024},
		{"infra/main.bicep", `(?m)^    metric: '`, metricAlerts},
		{"infra/main.bicep", `(?m)^resource \w+ 'Microsoft.Insights/scheduledQueryRules@`, logAlerts},
		{"infra/main.bicep", `capacity: (\d+)`, 1}, // throughput units without load
	} {
		text, err := os.ReadFile(filepath.Join("../../..", test.file))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, m := range regexp.MustCompile(test.pattern).FindAllSubmatch(text, -1) {
			n := 1
			if len(m) > 1 {
				if n, err = strconv.Atoi(string(m[1])); err != nil {
					t.Fatal(err)
				}
			}
			got += n
		}
		if got != test.want {
			t.Errorf("%s: %s gives %d, the bill assumes %d", test.file, test.pattern, got, test.want)
		}
	}
}

// TestBill compares a bill with a calculation by hand.
func TestBill(t *testing.T) {
	got := load{changes: 3_000_000, alertedChanges: 1_000_000, records: 2_000_000, perMessage: 10, failures: 500_000, months: 1}.bill()
	want := []line{
		// 3 M published, 1 M of them matched and delivered; 500 k published and delivered; 720 hours with 11
		// canaries that are published, and 15 deliveries of them.
		{"Event Grid operations", "6.02 million", "$3.61"},
		// 1 M for changes, 200 k for messages, 500 k for failures, 43,200 minutes, 720 hours of 18.
		{"Function executions", "1.76 million", "$0.70"},
		{"Execution time", "3.51 million GB-s", "$91.32"},
		// 1 for a change, 1 for a message, 11 for a failure, 4 for a minute, 43 for an hour.
		{"Table requests", "6.9 million", "$0.25"},
		{"Evidence, a month of keeping it", "6 GB", "$0.27"},
		{"Event Hubs messages", "200,000", "$0.01"},
		{"Records of renewals, for four days", "0 GB", "$0.00"},
		{"Checkpoints of the event hub", "12,500", "$0.07"},
		{"Telemetry", "1.76 GB", "$5.25"},
		{"Throughput units", "1", "$21.90"},
		{"Alerts about hubwatch itself", "11", "$1.50"},
		{"In all", "", "$125"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bill (-want +got):\n%s", diff)
	}
}

// TestAlwaysReady compares the price of an instance that is always ready with a calculation by
// hand: 2,592,000 seconds of 2 GB.
func TestAlwaysReady(t *testing.T) {
	if got := alwaysReady(2); got != "$20.74" {
		t.Errorf("%s, want $20.74", got)
	}
}

func TestAmounts(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 0.001: "< 0.01", 0.12: "0.12", 7: "7", 1234: "1,234", 999_999: "999,999", 12_340_000: "12.3 million", 7.2e9: "7.2 billion",
	} {
		if got := amount(n); got != want {
			t.Errorf("amount(%v) is %q, want %q", n, got, want)
		}
	}
	for usd, want := range map[float64]string{0: "$0.00", 0.004: "< $0.01", 0.005: "$0.01", 99.994: "$99.99", 100.4: "$100", 123_456: "$123,456"} {
		if got := dollars(usd); got != want {
			t.Errorf("dollars(%v) is %q, want %q", usd, got, want)
		}
	}
}
