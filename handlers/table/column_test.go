package table

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
)

// TestJSONColumn checks that a document stays a document, however long it is and
// whatever it is made of, and that it stays as it is if it fits.
func TestJSONColumn(t *testing.T) {
	long := strings.Repeat("x", 50_000)
	for name, test := range map[string]struct {
		in  string
		has []string // parts of the column
	}{
		"short":                 {`{"a": "b"}`, []string{`{"a": "b"}`}},
		"hidden characters":     {`{"a":"` + "\u202e" + `"}`, []string{`{"a":"\u202e"}`}},
		"one long string":       {`{"a":"` + long + `","Rule":"r","z":[1,"y"]}`, []string{`"Rule":"r"`, `"z":[1,"y"]`}},
		"two long strings":      {`{"a":"` + long + `","b":"` + long + `","c":"short"}`, []string{`"c":"short"`, `"b":"xxx`}},
		"a document in strings": {`{"data":"{\"protocol\":\"` + long + `\",\"deviceId\":\"dev-1\"}"}`, []string{`\"deviceId\":\"dev-1\"`}},
		"a long name":           {`{"` + long + `":1,"b":2}`, []string{`"b":2`}},
		"a name twice":          {`{"a":"` + long + `","a":2}`, []string{`"a":2`}},
		"many members":          {`[` + strings.Repeat(`{"a":"b"},`, 20_000) + `0]`, []string{`"[{\"a\":\"b\"}`}},
		"emoji":                 {`["` + strings.Repeat("🙂", 50_000) + `","z"]`, []string{`"z"`}},
		"not JSON":              {strings.Repeat(`{"a`, 50_000), []string{`{"a`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := jsonColumn([]byte(test.in))
			if shorten(got, maxText) != got {
				t.Errorf("the column has %d bytes", len(got))
			}
			if jsontext.Value(test.in).IsValid(lenient) && !jsontext.Value(got).IsValid(lenient) {
				t.Errorf("not JSON any more: %.200s", got)
			}
			for _, part := range test.has {
				if !strings.Contains(got, part) {
					t.Errorf("want %s in %.200s", part, got)
				}
			}
		})
	}
}

// TestAddressesDependOnOccurrences adds occurrences with more addresses than a row
// names, in many orders. The row is always the same, and says that there are more.
func TestAddressesDependOnOccurrences(t *testing.T) {
	for _, n := range []int{1, mostAddresses, mostAddresses + 1, 50} {
		var rows []Row
		for i := range n {
			o := occurred("contoso-hub", fmt.Sprint(i), noon.Add(time.Duration(i/2)*time.Second))
			o.ActorIPAddress = fmt.Sprintf("203.0.113.%d", i)
			rows = append(rows, newRow(o, noon), newRow(o, noon))
		}
		o := occurred("contoso-hub", "without", noon)
		o.ActorIPAddress = ""
		rows = append(rows, newRow(o, noon))
		var want *alert.Alert
		for range 20 {
			rand.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
			sum := rows[0]
			for _, r := range rows[1:] {
				sum = sum.add(r)
			}
			got, err := sum.alert()
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = &got
			}
			if diff := cmp.Diff(*want, got); diff != "" {
				t.Fatalf("%d addresses, in another order (-want +got):\n%s", n, diff)
			}
		}
		if len(want.ActorIPAddresses) != min(n, mostAddresses) || want.MoreActorIPAddresses != (n > mostAddresses) || !slices.IsSorted(want.ActorIPAddresses) {
			t.Errorf("%d addresses: the row names %d, and says more: %v", n, len(want.ActorIPAddresses), want.MoreActorIPAddresses)
		}
		if want.LastActorIPAddress == "" {
			t.Errorf("%d addresses: the last address is missing", n)
		}
	}
}

// TestLastAddress checks that the row has the address of the first occurrence and of
// the last.
func TestLastAddress(t *testing.T) {
	first, last := occurred("contoso-hub", "1", noon), occurred("contoso-hub", "2", noon.Add(time.Hour))
	first.ActorIPAddress, last.ActorIPAddress = "203.0.113.9", "192.0.2.1"
	for _, row := range []Row{newRow(first, noon).add(newRow(last, noon)), newRow(last, noon).add(newRow(first, noon))} {
		if row.ActorIpAddress != "203.0.113.9" || row.LastActorIpAddress != "192.0.2.1" || row.ActorIpAddressCount != 2 {
			t.Errorf("the first address is %s, the last %s, of %d", row.ActorIpAddress, row.LastActorIpAddress, row.ActorIpAddressCount)
		}
	}
}

// TestRedrivenEventIsTheSame judges each event that fires once as it was delivered,
// and once as the quarantine keeps it. Both give the same alert and the same evidence.
func TestRedrivenEventIsTheSame(t *testing.T) {
	for _, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			live, redriven := d.Judge(c.Event), d.Judge(redactedBody(c.Event))
			if len(live.Occurrences) != len(redriven.Occurrences) {
				t.Errorf("%s, %s: %d occurrences, and %d when redriven: %v", d.Name, c.Name, len(live.Occurrences), len(redriven.Occurrences), redriven.Err)
				continue
			}
			for i, o := range live.Occurrences {
				if again := redriven.Occurrences[i]; o.ID != again.ID || evidenceKey(o) != evidenceKey(again) || partitionKey(o) != partitionKey(again) {
					t.Errorf("%s, %s: the alert %s with the evidence %s becomes %s with %s", d.Name, c.Name, o.ID, evidenceKey(o), again.ID, evidenceKey(again))
				}
			}
		}
	}
}
