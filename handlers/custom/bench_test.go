package custom

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// many returns n custom alerts, each with another condition on the same events, as Load
// returns them.
func many(b *testing.B, n int) []Alert {
	b.Helper()
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("Rule%04d", i)] = fmt.Sprintf(`{"alertType": "Contoso_%04d", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."],
			%s, "when": "actor == 'somebody-%d@contoso.com' && address.startsWith('203.0.113.') && hub == 'contoso-hub'",
			"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]}`, i, onKeys, i)
	}
	alerts, err := Load(repository(files))
	if err != nil {
		b.Fatal(err)
	}
	return alerts
}

// BenchmarkEvents measures one event that 0, 10, 100 or 1,000 alerts judge, beside the same
// conditions in Go, and beside a built-in detector alone. Each alert is a function of its
// own in a deployment, and so an event is decoded for each.
func BenchmarkEvents(b *testing.B) {
	raw := jsontext.Value(strings.Replace(listed, "alice@", "bob@", 1))
	run := func(detectors []detector.Detector) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				detector.CertificateAdded.Judge(raw)
				for _, d := range detectors {
					if v := d.Judge(raw); v.Err != nil || len(v.Occurrences) > 0 {
						b.Fatalf("%+v", v)
					}
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			if len(detectors) > 0 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(detectors)), "ns/alert")
			}
		}
	}
	for _, n := range []int{0, 10, 100, 1000} {
		var custom, compiled []detector.Detector
		for i, a := range many(b, n) {
			d := a.Detector()
			d.Judge(raw) // which compiles it
			custom = append(custom, d)
			who := fmt.Sprintf("somebody-%d@contoso.com", i)
			d.Detect = func(e event.Event) ([]alert.Finding, error) {
				f, _, err := detector.Operation(e)
				if err != nil || f.Actor != who || !strings.HasPrefix(f.ActorIPAddress, "203.0.113.") || f.Hub.Name != "contoso-hub" {
					return nil, err
				}
				return []alert.Finding{f}, nil
			}
			compiled = append(compiled, d)
		}
		b.Run(fmt.Sprintf("CEL/%d", n), run(custom))
		b.Run(fmt.Sprintf("Go/%d", n), run(compiled))
	}
}

// BenchmarkStart measures what the alerts add to the start of a handler, which reads what
// is packed, and what the first event of each costs, which compiles it.
func BenchmarkStart(b *testing.B) {
	text := Pack(many(b, 100))
	b.Run("read 100", func(b *testing.B) {
		for b.Loop() {
			alerts, err := unpack(text)
			if err != nil {
				b.Fatal(err)
			}
			for _, a := range alerts {
				a.Detector()
			}
		}
	})
	alerts, err := unpack(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("compile 1", func(b *testing.B) {
		for b.Loop() {
			if _, err := alerts[0].compile(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
