package reliability

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/eventgrid"
)

// hotDetector is the detector that gets hundreds of events of one device.
const hotDetector = "DeviceTokenInvalid"

// pool has the events of all cases, by their outcome.
type pool struct {
	fires   map[string][]jsontext.Value // by detector
	silent  []jsontext.Value            // no detector finds anything, whoever gets it
	refused []jsontext.Value            // at least one detector cannot judge it
}

// cases is the pool. It is the same for all plans.
var cases struct {
	once sync.Once
	pool
}

func allCases(t testing.TB) pool {
	t.Helper()
	cases.once.Do(func() { cases.pool = loadPool(t) })
	return cases.pool
}

// loadPool sorts the events of all cases by asking the detectors themselves.
func loadPool(t testing.TB) pool {
	t.Helper()
	// A topic without subscriptions accepts what Event Grid would accept.
	topic, err := eventgrid.NewTopic(eventgrid.TopicOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close()
	p := pool{fires: map[string][]jsontext.Value{}}
	files, err := filepath.Glob("../detector/testdata/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Event jsontext.Value `json:"event"`
		}
		if err := json.Unmarshal(raw, &c, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if publish(topic, c.Event) != http.StatusOK {
			continue
		}
		switch alerts, refused := verdictOf(c.Event); {
		case len(alerts) == 1 && alerts[0].tally.Item != "" && alerts[0].tally.N == 0:
			// It takes back what another event told. Whether there is an alert depends on which
			// comes first.
		case refused:
			p.refused = append(p.refused, c.Event)
		case len(alerts) == 0:
			p.silent = append(p.silent, c.Event)
		case len(alerts) == 1:
			p.fires[alerts[0].detector] = append(p.fires[alerts[0].detector], c.Event)
		}
	}
	for _, d := range detector.All {
		if p.fires[d.Name] == nil {
			t.Fatalf("no case fires for %s alone", d.Name)
		}
	}
	if len(p.silent) == 0 || len(p.refused) == 0 {
		t.Fatalf("the cases have %d silent and %d refused events", len(p.silent), len(p.refused))
	}
	return p
}

// deployed is the detectors that the handler serves, with the custom alerts that are enabled.
var deployed = app.Detectors()

// found is an alert that a detector raises on an event.
type found struct {
	detector, id string
	tally        alert.Tally
}

// verdictOf returns what all detectors find in an event: the alerts that have to
// be there in the end. It uses neither host nor table.
func verdictOf(raw jsontext.Value) (alerts []found, refused bool) {
	for _, d := range deployed {
		v := d.Judge(raw)
		if v.Err != nil {
			refused = true
		}
		for _, o := range v.Occurrences {
			alerts = append(alerts, found{d.Name, o.ID, o.Tally})
		}
	}
	return alerts, refused
}

// publish gives an event to a topic and returns its answer.
func publish(topic *eventgrid.Topic, e jsontext.Value) int {
	answer := httptest.NewRecorder()
	topic.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/events", strings.NewReader(string(e))))
	return answer.Code
}

// plan is what a run does. Everything in it is derived from the seed.
type plan struct {
	seed        uint64
	events      []jsontext.Value
	occurrences map[string]int // by SystemAlertId
	evidence    map[string]int // rows of evidence, by SystemAlertId
	deliveries  []int          // indexes of events, in order
}

// newPlan plans n events. One in twenty makes an alert, and half of these are of
// one hot device. One in a hundred cannot be judged. The others are harmless.
// Each is published one to five times, in random order.
func newPlan(t testing.TB, seed uint64, n int) plan {
	t.Helper()
	from := allCases(t)
	random := rand.New(rand.NewPCG(seed, 1))
	p := plan{seed: seed, occurrences: map[string]int{}, evidence: map[string]int{}}
	tallies := map[string]alert.Tally{} // the newest version of each
	for i := range n {
		var e jsontext.Value
		switch {
		case i < n/40:
			e = from.fires[hotDetector][0]
		case i < n/20:
			list := from.fires[detector.All[i%len(detector.All)].Name]
			e = list[random.IntN(len(list))]
		case i < n/20+n/100:
			e = from.refused[random.IntN(len(from.refused))]
		default:
			e = from.silent[random.IntN(len(from.silent))]
		}
		alerts, _ := verdictOf(e)
		if len(alerts) == 0 || alerts[0].tally.Item == "" { // A version of a tally has one id.
			e = renamed(t, e, fmt.Sprintf("event-%d", i))
		}
		p.events = append(p.events, e)
		for _, a := range alerts {
			// What is a version of a tally counts as much as the newest one says, and has one row.
			n, item := 1, a.id+a.tally.Item
			if a.tally.Item != "" {
				old, known := tallies[item]
				if known && old.Seq >= a.tally.Seq {
					continue
				}
				if n = a.tally.N - old.N; known {
					p.evidence[a.id]--
				}
				tallies[item] = a.tally
			}
			p.occurrences[a.id] += n
			p.evidence[a.id]++
		}
		p.deliveries = append(p.deliveries, slices.Repeat([]int{i}, 1+random.IntN(5))...)
	}
	random.Shuffle(len(p.deliveries), func(i, j int) { p.deliveries[i], p.deliveries[j] = p.deliveries[j], p.deliveries[i] })
	return p
}

// renamed returns an event with another id.
func renamed(t testing.TB, e jsontext.Value, id string) jsontext.Value {
	t.Helper()
	var members map[string]jsontext.Value
	options := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if err := json.Unmarshal(e, &members, options...); err != nil {
		t.Fatal(err)
	}
	members["id"] = jsontext.Value(fmt.Sprintf("%q", id))
	out, err := json.Marshal(members, append(options, json.Deterministic(true))...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// trouble is what happens to one request.
type trouble int

// The troubles of requests.
const (
	none trouble = iota
	crash
	drop
	lose
	busy
	broken
	loseBroken
	slow
	hang
	restart
)

// Every run has these two faults. Each comes once in so many requests. The seed
// decides where, early enough for a short run.
const (
	crashEvery   = 100
	restartEvery = 300 // of the table service, which takes a second or two
)

// names are those of the troubles, for the figures.
var names = [...]string{"none", "handler killed", "connection broken", "answer lost", "503 with Retry-After", "500", "500 after the write", "late answer", "no answer", "table service stopped and started"}

// trouble returns what happens to the nth request of the run.
func (p plan) trouble(n int) trouble {
	switch place := int(p.seed % 40); {
	case n%crashEvery == place:
		return crash
	case n%restartEvery == 60+place/2:
		return restart
	}
	random := rand.New(rand.NewPCG(p.seed, uint64(n)<<8|2))
	switch x := random.IntN(1000); {
	case x < 25:
		return drop
	case x < 50:
		return lose
	case x < 62:
		return busy
	case x < 75:
		return broken
	case x < 90:
		return loseBroken
	case x < 120:
		return slow
	case x < 122:
		return hang
	default:
		return none
	}
}

// rowsOfEvidence returns how many rows of evidence the plan's events have, by SystemAlertId:
// one for each occurrence, unless the plan says otherwise.
func (p plan) rowsOfEvidence() map[string]int {
	if p.evidence == nil {
		return p.occurrences
	}
	return p.evidence
}
