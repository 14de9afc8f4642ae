package reliability

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/functions"
)

// senders is the number of deliveries at the same time.
const senders = 64

// seed returns the seed of a run: HUBWATCH_SEED, or a new one.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64N(1_000_000)
	if s := os.Getenv("HUBWATCH_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("HUBWATCH_SEED: %v", err)
		}
	}
	t.Logf("the seed is %d: HUBWATCH_SEED=%d repeats the plan of deliveries and faults", n, n)
	return n
}

// grid is Event Grid with the deployed event subscriptions. It delivers to one or
// more instances, which share their tables.
type grid struct {
	topic       *eventgrid.Topic
	instances   []*instance
	deadLetters string
	deliveries  atomic.Int64 // that reached an instance
	failed      atomic.Int64 // of those, answered with anything but 2xx
	slowest     atomic.Int64 // answer, in milliseconds
	webhook     string       // the URL that it delivers to
	watch       func(r *http.Request, status int)
}

// startGrid starts instances on a rig, and a topic in front of them.
func startGrid(t testing.TB, r *rig, instances, concurrency int, timeScale float64) *grid {
	t.Helper()
	g := &grid{}
	g.start(t, r.options(), instances, concurrency, timeScale)
	return g
}

func (g *grid) start(t testing.TB, options functions.Options, instances, concurrency int, timeScale float64) {
	t.Helper()
	g.deadLetters = filepath.Join(t.TempDir(), "dead")
	for range instances {
		g.instances = append(g.instances, startInstance(t, options))
	}
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := g.instances[int(g.deliveries.Add(1))%len(g.instances)]
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		start := time.Now()
		i.ServeHTTP(answer, r)
		took := time.Since(start)
		if answer.status/100 != 2 {
			g.failed.Add(1)
		}
		for ms := took.Milliseconds(); ; {
			if old := g.slowest.Load(); ms <= old || g.slowest.CompareAndSwap(old, ms) {
				break
			}
		}
		if g.watch != nil {
			g.watch(r, answer.status)
		}
	}))
	t.Cleanup(webhook.Close)
	g.webhook = webhook.URL
	subscriptions, err := eventgrid.LoadSubscriptions("../../infra/subscriptions.json")
	if err != nil {
		t.Fatal(err)
	}
	// The topic of alerts is another one: canaries go through both.
	subscriptions = slices.DeleteFunc(subscriptions, func(s eventgrid.Subscription) bool { return s.Source == string(detector.Alerts) })
	if g.topic, err = eventgrid.NewTopic(eventgrid.TopicOptions{
		Subscriptions: subscriptions, Functions: webhook.URL, Schema: eventgrid.CloudEventSchemaV1_0,
		DeadLetters: g.deadLetters, TimeScale: timeScale, Concurrency: concurrency,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.topic.Close)
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// run publishes the events of a plan, by their indexes, and waits until all are
// delivered. No event may be given up.
func (g *grid) run(t testing.TB, p plan, indexes []int, limit time.Duration) {
	t.Helper()
	for _, i := range indexes {
		if status := publish(g.topic, p.events[i]); status != http.StatusOK {
			t.Fatalf("event %d: the topic answers %d", i, status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := g.topic.Wait(ctx); err != nil {
		t.Fatalf("events are not delivered after %v: %v", limit, err)
	}
	if dead, err := os.ReadDir(g.deadLetters); len(dead) > 0 || err != nil && !os.IsNotExist(err) {
		t.Errorf("%d events are in the dead-letter folder (%v), want none", len(dead), err)
	}
}

// cleanRun returns the rows of a plan whose events are delivered once each, in
// order, to one instance, without any fault.
func cleanRun(t testing.TB, p plan) map[string]map[string]any {
	t.Helper()
	r := newRig(t, true)
	g := startGrid(t, r, 1, senders, 1)
	var order []int
	for i := range p.events {
		order = append(order, i)
	}
	g.run(t, p, order, time.Minute)
	if g.failed.Load() > 0 {
		t.Fatalf("%d deliveries failed in the clean run", g.failed.Load())
	}
	return r.rows(t)
}

// counted compares rows with what the detectors say of the plan's events, without
// host or table. Every alert has exactly its occurrences, and a row of evidence
// for each. Every summary has exactly the alerts of its hub and day, and the index
// has that day. counted returns how many types of alerts there are, and how many
// events are in the quarantine.
func (p plan) counted(t testing.TB, rows map[string]map[string]any) (alertTypes, quarantined int) {
	t.Helper()
	got, evidence, types := map[string]int{}, map[string]int{}, map[any]bool{}
	scanned, summaries := map[string]map[string]map[string]int{}, map[string]map[string]map[string]int{}
	for key, row := range rows {
		id, _ := row["SystemAlertId"].(string)
		partition, _ := row["PartitionKey"].(string)
		switch {
		case strings.HasPrefix(key, "quarantine "):
			if row["Reason"] != nil {
				quarantined++
			}
		case row["AlertType"] != nil:
			got[id] = int(row["Occurrences"].(float64))
			types[row["AlertType"]] = true
			if scanned[partition] == nil {
				scanned[partition] = map[string]map[string]int{}
			}
			of := scanned[partition]
			kind, status := row["AlertType"].(string), row["Status"].(string)
			if of[kind] == nil {
				of[kind] = map[string]int{}
			}
			of[kind][status]++
			hub, day, _ := strings.Cut(partition, "|")
			if rows["alerts !days "+day+"|"+hub] == nil {
				t.Errorf("the index of days does not have %s", partition)
			}
		case row["Counts"] != nil:
			var counts map[string]map[string]int
			if err := json.Unmarshal([]byte(row["Counts"].(string)), &counts); err != nil {
				t.Error(err)
			}
			summaries[partition] = counts
		case row["EventId"] != nil:
			evidence[id]++
		}
	}
	if diff := cmp.Diff(scanned, summaries); diff != "" {
		t.Errorf("numbers of alerts by partition, type and status (-scan +summaries):\n%s", diff)
	}
	if diff := cmp.Diff(p.occurrences, got); diff != "" {
		t.Errorf("occurrences by alert (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(p.rowsOfEvidence(), evidence); diff != "" {
		t.Errorf("rows of evidence by alert (-want +got):\n%s", diff)
	}
	return len(types), quarantined
}

// chaos runs a plan with all of its faults and compares the rows with those of
// a clean run.
func chaos(t *testing.T, instances, events int, limit time.Duration) {
	setUp(t)
	p := newPlan(t, seed(t), events)
	want := cleanRun(t, p)
	if types, quarantined := p.counted(t, want); types < len(detector.All) || quarantined == 0 {
		t.Fatalf("%d types of alerts and %d events in quarantine, want at least %d and some", types, quarantined, len(detector.All))
	}

	tables := startService(t)
	r := newRigOn(t, tables.azurite, true)
	g := startGrid(t, r, instances, senders, 0.003)
	var made [len(names)]atomic.Int64
	over := make(chan struct{})
	fault := func(s step) azurite.Fault {
		what := p.trouble(s.n)
		made[what].Add(1)
		switch what {
		case crash:
			g.instances[s.n%instances].kill()
			return azurite.Drop
		case restart:
			tables.restart(t)
			return azurite.Drop
		case drop:
			return azurite.Drop
		case lose:
			return azurite.Lose
		case busy:
			return azurite.Busy
		case broken:
			return azurite.Broken
		case loseBroken:
			return azurite.LoseBroken
		case slow:
			select {
			case <-time.After(200 * time.Millisecond):
			case <-over:
			}
			return azurite.Lose
		case hang:
			return azurite.Hang
		default:
			return azurite.Pass
		}
	}
	r.fault.Store(&fault)
	start := time.Now()
	g.run(t, p, p.deliveries, limit)
	took := time.Since(start)
	r.fault.Store(nil)
	close(over)
	tableStarts := tables.settled()

	got := r.rows(t)
	p.counted(t, got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of a clean run and of this one (-want +got):\n%s", diff)
	}
	kills, starts := int64(0), int64(0)
	for _, i := range g.instances {
		kills += i.kills.Load()
		starts += i.starts.Load()
	}
	if kills == 0 || tableStarts < 2 || g.failed.Load() == 0 {
		t.Errorf("%d kills, %d starts of the table service and %d failed deliveries: this proves nothing", kills, tableStarts, g.failed.Load())
	}
	t.Logf("%d events published %d times became %d deliveries, of which %d failed and were repeated, in %v", len(p.events), len(p.deliveries), g.deliveries.Load(), g.failed.Load(), took.Round(time.Millisecond))
	t.Logf("%d instances: %d handlers killed, %d starts of the host, %d of the table service, %d storage requests", instances, kills, starts, tableStarts, r.steps.Load())
	for what := crash; int(what) < len(names); what++ {
		t.Logf("%6d × %s", made[what].Load(), names[what])
	}
	hottest := 0
	for _, n := range p.occurrences {
		hottest = max(hottest, n)
	}
	t.Logf("%d rows as in the clean run: %d alerts, the hottest with %d occurrences", len(got), len(p.occurrences), hottest)
}

// TestChaos publishes mixed events one to five times each, in random order and 64
// at a time, while the handler is killed and the table fails in every way.
// Nothing is lost, and nothing is stored twice.
func TestChaos(t *testing.T) {
	if long() {
		chaos(t, 1, 10_000, 20*time.Minute)
	} else {
		chaos(t, 1, 800, 3*time.Minute)
	}
}

// TestChaosOfTwoInstances is TestChaos with two instances on the same tables.
func TestChaosOfTwoInstances(t *testing.T) {
	if long() {
		chaos(t, 2, 10_000, 20*time.Minute)
	} else {
		chaos(t, 2, 600, 3*time.Minute)
	}
}

// TestSameSeedSamePlan checks that one seed always makes the same plan, and that
// two seeds make two plans.
func TestSameSeedSamePlan(t *testing.T) {
	a, b, c := newPlan(t, 7, 400), newPlan(t, 7, 400), newPlan(t, 8, 400)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed gives two plans")
	}
	if slices.Equal(a.deliveries, c.deliveries) {
		t.Error("two seeds give the same deliveries")
	}
	faults := func(p plan) (list []trouble) {
		for n := range 1000 {
			list = append(list, p.trouble(n))
		}
		return list
	}
	if !slices.Equal(faults(a), faults(b)) || slices.Equal(faults(a), faults(c)) {
		t.Error("faults do not follow from the seed alone")
	}
	for what := range names {
		if !slices.Contains(faults(a), trouble(what)) {
			t.Errorf("no %q among a thousand requests", names[what])
		}
	}
}
