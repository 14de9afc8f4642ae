package detector_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
)

var update = flag.Bool("update", false, "rewrite what the cases want")

// read returns the cases of a detector.
func read(t testing.TB, detector string) []cases.Case {
	t.Helper()
	list, err := cases.Read(os.DirFS("testdata"), detector)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// events returns the events of a case, by what tells them apart.
func events(t testing.TB, c cases.Case) map[string]jsontext.Value {
	t.Helper()
	events, err := c.Events()
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return events
}

// variants returns the events that rules make of the cases of a detector.
func variants(t testing.TB, list []cases.Case) []cases.Variant {
	t.Helper()
	variants, err := cases.Variants(list, cases.Operations(detector.All))
	if err != nil {
		t.Fatal(err)
	}
	return variants
}

// TestCases runs the cases of each detector, and the variants that rules make of
// them.
func TestCases(t *testing.T) {
	for _, d := range detector.All {
		list := read(t, d.Name)
		outcomes := map[string]int{}
		for _, c := range list {
			outcomes[c.Want.Outcome]++
			t.Run(d.Name+"/"+c.Name, func(t *testing.T) {
				err := cases.Run(d, c)
				if err == nil {
					return
				}
				if !*update {
					t.Fatalf("%v\n(-update rewrites what the case wants)", err)
				}
				c.Want = cases.Judge(d, c.Event)
				data, err := c.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("testdata", d.Name, c.Name+".json"), data, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := cases.Run(d, c); err != nil {
					t.Fatal(err)
				}
			})
		}
		t.Run(d.Name+"/variants", func(t *testing.T) {
			for _, v := range variants(t, read(t, d.Name)) { // as -update left them
				if err := v.Run(d); err != nil {
					t.Error(err)
				}
			}
		})
		if outcomes[cases.Alert] < 1 || outcomes[cases.Silent]+outcomes[cases.NotDelivered] < 1 {
			t.Errorf("%s has the cases %v: want at least one alert and one without", d.Name, outcomes)
		}
	}
}
