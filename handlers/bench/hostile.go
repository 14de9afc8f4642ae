package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/fstest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// neighbour is a custom alert beside which a built-in detector is measured.
type neighbour struct {
	name, when string
	member     string // of the data of its events, which the condition reads
}

// neighbours are an alert as people write it, and others that somebody may write to do harm.
// The first is what the others are compared with.
var neighbours = []neighbour{
	{"a usual condition", `actor.endsWith("@fabrikam.example")`, `"n": 1`},
	{"loops in loops over 20,000 numbers", `data.l.all(x, data.l.all(y, x == y))`, `"l": [` + strings.Repeat("1,", 20_000) + `1]`},
	{"a regular expression, as often as it can", `data.s.all(x, !data.t.matches("(a|aa|a?){20}b$"))`, `"s": [` + strings.Repeat("1,", 5_000) + `1], "t": "` + strings.Repeat("a", 1_000) + `"`},
	{"huge texts, put together", `data.s.all(x, (data.t + data.t).size() > 0)`, `"s": [` + strings.Repeat("1,", 500) + `1], "t": "` + strings.Repeat("a", 100_000) + `"`},
	{"a condition as deep as it can be", strings.Repeat("[", deepest) + "data.n" + strings.Repeat("]", deepest) + " != " + strings.Repeat("[", deepest) + "1" + strings.Repeat("]", deepest), `"n": 1`},
	{"deep data", `data == data`, `"d": ` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000)},
}

// deepest is how many lists inside each other the parser of a condition takes.
const deepest = 62

// hostile measures the detector CertificateAdded while a custom alert gets more events than
// it can judge, with the handler as it is deployed, and says so in a table.
func hostile(rounds int, each time.Duration) (string, error) {
	requests := corpora()["firing"]
	requests = slices.DeleteFunc(slices.Clone(requests), func(r request) bool { return r.function != detector.CertificateAdded.Name })
	alone := make([]beside, rounds)
	all := make([][]beside, len(neighbours))
	for round := range rounds {
		var err error
		if alone[round], err = neighbours[0].measure(requests, 0, each); err != nil {
			return "", err
		}
		for i, n := range neighbours {
			b, err := n.measure(requests, 128, each)
			if err != nil {
				return "", fmt.Errorf("%s: %w", n.name, err)
			}
			all[i] = append(all[i], b)
		}
	}
	rates := func(list []beside) (rates []float64) {
		for _, b := range list {
			rates = append(rates, b.rate)
		}
		return rates
	}
	var text strings.Builder
	text.WriteString("The detector CertificateAdded, asked by 8 senders, and another custom alert, asked by one, while 128 send events to a custom alert as fast as they are answered. " +
		"The handler is called without a network, with one processor. Custom alerts whose events are costly share an eighth of the processor, so a usual condition may take more from the detector.\n\n")
	text.WriteString(head(hostileColumns...))
	row := func(name string, list []beside) {
		var slow, quiet, other, held []float64
		for _, b := range list {
			slow, quiet, other, held = append(slow, b.slow), append(quiet, b.quiet), append(other, b.other), append(held, b.held)
		}
		fmt.Fprintf(&text, "| %s | %.0f | %v | %.1f | %.1f | %.0f | %.0f %% |\n", name, median(rates(list)), newRatio(rates(list), rates(all[0])), median(slow), median(quiet), median(other), 100*median(held))
	}
	row("nothing", alone)
	for i, n := range neighbours {
		row(n.name, all[i])
	}
	return text.String(), nil
}

// beside is what was measured of a detector beside a custom alert.
type beside struct {
	rate  float64 // events a second of the detector
	slow  float64 // milliseconds that the slowest of a hundred took
	quiet float64 // the same of another custom alert
	other float64 // events a second of the custom alert
	held  float64 // the share of them that was quarantined
}

// holding is a store that counts what is quarantined, and keeps nothing.
type holding struct {
	discard
	n *atomic.Int64
}

func (h holding) Quarantine(context.Context, alert.Quarantined) error {
	h.n.Add(1)
	return nil
}

// measure asks the handler for events of a detector, from 8 senders, and of another custom
// alert, from one, while others send events to the custom alert as fast as they are answered.
func (n neighbour) measure(requests []request, others int, each time.Duration) (b beside, err error) {
	d, body, err := n.load("Neighbour")
	if err != nil {
		return b, err
	}
	quiet, usual, err := neighbours[0].load("Quiet")
	if err != nil {
		return b, err
	}
	var held atomic.Int64
	j := deployed(holding{n: &held})
	handler, err := host.NewHandler(app.Functions([]detector.Detector{detector.CertificateAdded, d, quiet}, j), j.Broken, slog.New(slog.NewJSONHandler(io.Discard, nil)), host.Limits{})
	if err != nil {
		return b, err
	}
	ask := func(function string, body []byte) (int, string) {
		runtime.Gosched() // as whoever waits for an answer from the network does; a sender would keep the processor otherwise
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+function, bytes.NewReader(body)))
		return w.Code, w.Body.String()
	}
	ask(d.Name, body) // which compiles it
	ask(quiet.Name, usual)
	var stop atomic.Bool
	var group sync.WaitGroup
	var done, answered atomic.Int64
	var wrong atomic.Int64
	var mu sync.Mutex
	var took, waited []float64
	for range others {
		group.Go(func() {
			for !stop.Load() {
				if code, _ := ask(d.Name, body); code == http.StatusOK {
					answered.Add(1)
				}
			}
		})
	}
	group.Go(func() {
		for !stop.Load() {
			begin := time.Now()
			if code, said := ask(quiet.Name, usual); code != http.StatusOK || !strings.Contains(said, `"Logs":[]`) {
				wrong.Add(1)
			}
			waited = append(waited, float64(time.Since(begin).Microseconds())/1000)
		}
	})
	for sender := range 8 {
		group.Go(func() {
			for i := sender; !stop.Load(); i++ {
				r, begin := &requests[i%len(requests)], time.Now()
				if code, said := ask(r.function, r.body); code != http.StatusOK || !strings.Contains(said, r.title) {
					wrong.Add(1)
				}
				done.Add(1)
				mu.Lock()
				took = append(took, float64(time.Since(begin).Microseconds())/1000)
				mu.Unlock()
			}
		})
	}
	begin := time.Now()
	time.Sleep(each)
	stop.Store(true)
	seconds := time.Since(begin).Seconds()
	b.rate, b.other = float64(done.Load())/seconds, float64(answered.Load())/seconds
	group.Wait()
	if wrong.Load() > 0 {
		return b, fmt.Errorf("%d events of the detector and of the other custom alert were refused, or judged wrongly", wrong.Load())
	}
	slices.Sort(took)
	slices.Sort(waited)
	if len(took) == 0 || len(waited) == 0 {
		return b, errors.New("the detector judged no event, or the other custom alert none")
	}
	b.slow, b.quiet = took[len(took)*99/100], waited[len(waited)*99/100]
	if n := answered.Load(); n > 0 {
		b.held = min(1, float64(held.Load())/float64(n))
	}
	return b, nil
}

// load returns the detector of the custom alert of a name, and the body of a request with an event
// for it.
func (n neighbour) load(name string) (d detector.Detector, body []byte, err error) {
	subject := fmt.Sprintf("/subscriptions/%s/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub", subscription)
	const operation, kind = "Microsoft.Devices/IotHubs/write", "Microsoft.Resources.ResourceWriteSuccess"
	file := text(map[string]any{
		"alertType": "Contoso_" + name, "severity": "Low", "title": "T", "description": "D.", "remediation": []string{"R."},
		"on":    map[string]any{"source": "resources", "eventTypes": []string{kind}, "operations": []string{operation}},
		"when":  n.when,
		"cases": []any{map[string]any{"name": "fires-a", "about": "A.", "event": map[string]any{}, "want": "alert"}, map[string]any{"name": "silent-a", "about": "A.", "event": map[string]any{}, "want": "silent"}},
	})
	alerts, err := custom.Load(fstest.MapFS{"functions/" + name + "/alert.json": {Data: []byte(file)}})
	if err != nil {
		return d, nil, err
	}
	data := fmt.Sprintf(`{"operationName": %q, "status": "Succeeded", %s}`, operation, n.member)
	return alerts[0].Detector(), envelope(0, "1", kind, "/subscriptions/"+subscription, subject, "2026-02-01T08:00:00Z", data), nil
}
