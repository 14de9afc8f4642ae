package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// rules returns n custom alerts, each with another condition on the same events, as they
// are loaded from files.
func rules(n int) ([]custom.Alert, error) {
	root, err := os.MkdirTemp("", "rules")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if err := os.Mkdir(filepath.Join(root, "functions"), 0o700); err != nil { // there may be none
		return nil, err
	}
	for i := range n {
		folder := filepath.Join(root, "functions", fmt.Sprintf("Rule%04d", i))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, err
		}
		text := fmt.Sprintf(`{"alertType": "Contoso_%04d", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."],
			"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceActionSuccess"], "operations": ["Microsoft.Devices/IotHubs/listkeys/action"]},
			"when": "actor == 'somebody-%d@contoso.example' && address.startsWith('203.0.113.') && hub == 'contoso-hub'",
			"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]}`, i, i)
		if err := os.WriteFile(filepath.Join(folder, "alert.json"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return custom.Load(os.DirFS(root))
}

// inGo returns the condition of the ith of rules as compiled Go.
func inGo(i int, d detector.Detector) detector.Detector {
	who := fmt.Sprintf("somebody-%d@contoso.example", i)
	d.Detect = func(e event.Event) ([]alert.Finding, error) {
		f, _, err := detector.Operation(e)
		if err != nil || f.Actor != who || !strings.HasPrefix(f.ActorIPAddress, "203.0.113.") || f.Hub.Name != "contoso-hub" {
			return nil, err
		}
		return []alert.Finding{f}, nil
	}
	return d
}

// keysListed is an event that all of rules judge, and none fires on.
const keysListed = `{"id": "00000000-0000-4000-8000-000000000001", "eventTime": "2026-02-01T08:00:26Z", "topic": "/subscriptions/` + subscription + `",
	"eventType": "Microsoft.Resources.ResourceActionSuccess", "subject": "/subscriptions/` + subscription + `/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub",
	"data": {"operationName": "Microsoft.Devices/IotHubs/listkeys/action", "resourceUri": "/subscriptions/` + subscription + `/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub",
	"correlationId": "c", "claims": {"name": "Alice", "unique_name": "alice@contoso.example", "scp": "user"}, "httpRequest": {"clientIpAddress": "203.0.113.7"}}}`

// ruled is what was measured of a number of custom alerts.
type ruled struct {
	n           int
	cel, inGo   []float64 // µs of CPU for an event, by round
	compile     float64   // ms of CPU for all of them, once
	compiledKiB float64   // of memory of each, when it is compiled
}

// judgeRules measures an event that so many custom alerts judge, and one built-in detector,
// beside the same conditions in Go. Each alert is a function of its own in a deployment, so
// the event is decoded for each. All are there before the first is measured, and take turns: so
// the garbage collector has the same heap for each, and a moment at which the processor is slow
// is not taken for what their number costs.
func judgeRules(rounds int, counts []int) ([]ruled, error) {
	raw := []jsontext.Value{jsontext.Value(keysListed)}
	results := make([]ruled, len(counts))
	detectors, compiled := make([][]detector.Detector, len(counts)), make([][]detector.Detector, len(counts))
	silent := func(list []detector.Detector) func(*jsontext.Value) bool {
		return func(raw *jsontext.Value) bool {
			detector.CertificateAdded.Judge(*raw)
			for _, d := range list {
				if v := d.Judge(*raw); v.Err != nil || len(v.Occurrences) > 0 {
					return false
				}
			}
			return true
		}
	}
	for k, n := range counts {
		alerts, err := rules(n)
		if err != nil {
			return nil, err
		}
		results[k].n = n
		for i, a := range alerts {
			d := a.Detector()
			detectors[k], compiled[k] = append(detectors[k], d), append(compiled[k], inGo(i, d))
		}
		heap, before := inUse(), spent()
		if !silent(detectors[k])(&raw[0]) { // which compiles them
			return nil, fmt.Errorf("%d custom alerts are not silent", n)
		}
		results[k].compile = float64(spent()-before) / 1e6
		if n == 0 {
			continue
		}
		results[k].compiledKiB = (inUse() - heap) / 1024 / float64(n)
		last := jsontext.Value(strings.Replace(keysListed, "alice@", fmt.Sprintf("somebody-%d@", n-1), 1))
		for _, d := range []detector.Detector{detectors[k][n-1], compiled[k][n-1]} {
			if v := d.Judge(last); v.Err != nil || len(v.Occurrences) != 1 {
				return nil, fmt.Errorf("custom alert %d of %d does not fire", n, n)
			}
		}
	}
	for range rounds {
		for k := range results {
			r := &results[k]
			if err := errors.Join(each(&r.cel, raw, silent(detectors[k])), each(&r.inGo, raw, silent(compiled[k]))); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// inUse returns how many bytes of the heap are in use.
func inUse() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what was in a sync.Pool survives the first
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// ruleTable returns what judgeRules measured, in Markdown.
func ruleTable(rounds int) (string, error) {
	results, err := judgeRules(rounds, []int{0, 10, 100, 1000})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("An event that so many custom alerts judge, and one built-in detector, on one core.\n\n")
	b.WriteString(head(ruleColumns...))
	for _, r := range results {
		fmt.Fprintf(&b, "| %d | %.0f | %.0f | %v | %.1f | %.1f |\n", r.n, 1e6/median(r.cel), 1e6/median(r.inGo), newRatio(r.inGo, r.cel), r.compile, r.compiledKiB)
	}
	return b.String(), nil
}
