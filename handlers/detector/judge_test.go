package detector_test

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
)

// TestJudgeIsPure checks that judging an event changes neither it nor what comes
// out the second time.
func TestJudgeIsPure(t *testing.T) {
	for _, d := range detector.All {
		for _, c := range read(t, d.Name) {
			name := c.Name
			before := string(c.Event)
			first, second := cases.Judge(d, c.Event), cases.Judge(d, c.Event)
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("%s/%s: the second cases.Outcome differs (-first +second):\n%s", d.Name, name, diff)
			}
			if string(c.Event) != before {
				t.Errorf("%s/%s: judging changed the event", d.Name, name)
			}
		}
	}
}

// BenchmarkJudge measures the whole way of an event through a detector, once per
// case, next to the least that can be done with its bytes: seeing that they are
// JSON.
func BenchmarkJudge(b *testing.B) {
	type input struct {
		d   detector.Detector
		raw jsontext.Value
	}
	var inputs []input
	size := 0
	for _, d := range detector.All {
		for _, c := range read(b, d.Name) {
			inputs = append(inputs, input{d, c.Event})
			size += len(c.Event)
		}
	}
	run := func(name string, f func(input)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				for _, in := range inputs {
					f(in)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(inputs)), "ns/event")
		})
	}
	run("judge", func(in input) { cases.Judge(in.d, in.raw) })
	run("valid", func(in input) { in.raw.IsValid() })
}
