package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/verdict"
)

// tenFile is the alert.json of a custom alert: more than ten invocations of methods of a pump in
// a quarter of an hour.
const tenFile = `{
  "alertType": "Contoso_ManyMethods", "severity": "Low", "title": "Many methods of a pump", "description": "Somebody commands it.", "remediation": ["Ask."],
  "on": {"source": "logs", "category": "DirectMethods", "operations": ["send"]},
  "when": "record.properties.status == 200.0",
  "count": {"per": "device", "window": "PT15M", "max": 10},
  "group": {"devices": ["pump-*"]},
  "cases": [
    {"name": "fires-eleven", "about": "Eleven.", "want": "alert", "records": [%s]},
    {"name": "silent-ten", "about": "Ten.", "want": "silent", "records": [%s]}
  ]
}`

// tenDetectors returns the detectors of an app with the custom alert of tenFile.
func tenDetectors(t testing.TB) []detector.Detector {
	t.Helper()
	list := func(n int) string {
		var texts []string
		for i := range n {
			texts = append(texts, invoked{"pump-1", logStart.Unix() + int64(i), 0}.String())
		}
		return strings.Join(texts, ",")
	}
	alerts, err := custom.Load(fstest.MapFS{"functions/ManyMethods/alert.json": {Data: fmt.Appendf(nil, tenFile, list(11), list(10))}})
	if err != nil || len(alerts) != 1 || alerts[0].Test() != nil {
		t.Fatal(alerts, err, alerts[0].Test())
	}
	return append(slices.Clone(detector.All), alerts[0].Detector())
}

// invoked is a record of the log category DirectMethods.
type invoked struct {
	device string
	at     int64 // second of Unix time
	n      int   // makes records different that are otherwise the same
}

// String returns the record as Azure Monitor writes it.
func (i invoked) String() string {
	return fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",`+
		`"operationName":"send","category":"DirectMethods","level":"Information","durationMs":"%d","properties":"{\"deviceId\":%s,\"status\":200}"}`,
		time.Unix(i.at, 0).UTC().Format(time.RFC3339), i.n, strings.ReplaceAll(fmt.Sprintf("%q", i.device), `"`, `\"`))
}

// invocations returns a message with records.
func invocations(records ...invoked) string {
	var texts []string
	for _, i := range records {
		texts = append(texts, i.String())
	}
	return `{"records":[` + strings.Join(texts, ",") + `]}`
}

// tenWanted is the definition of all alerts, each with its breaches, by brute force over the set
// of records: a quarter of an hour has an event that is over if it has one that is the eleventh, or
// a later one, of the quarter of an hour that ends with it. Such quarters that follow each other
// are one breach.
func tenWanted(records []invoked) map[alarmed]int {
	set, over := map[invoked]bool{}, map[string]map[int64]bool{}
	for _, i := range records {
		set[i] = true
	}
	for e := range set {
		if !strings.HasPrefix(e.device, "pump-") {
			continue
		}
		// Of events at one time, any order gives as many that are over, in the same quarter.
		before, beside := 0, 0
		for f := range set {
			switch {
			case f.device != e.device || f.at <= e.at-900 || f.at > e.at:
			case f.at == e.at:
				beside++
			default:
				before++
			}
		}
		if before+beside > 10 {
			if over[e.device] == nil {
				over[e.device] = map[int64]bool{}
			}
			over[e.device][e.at/900] = true
		}
	}
	alerts := map[alarmed]int{}
	for device, slots := range over {
		for slot := range slots {
			day := time.Unix(slot*900, 0).UTC().Format(time.DateOnly)
			if !slots[slot-1] || time.Unix((slot-1)*900, 0).UTC().Format(time.DateOnly) != day {
				alerts[alarmed{day, "Contoso_ManyMethods", device}]++
			}
		}
	}
	return alerts
}

// tenDiffers returns how the alerts differ from the definition, or "".
func (w *way) tenDiffers(records []invoked) string {
	if want, have := tenWanted(records), w.have(); !maps.Equal(want, have) {
		return fmt.Sprintf("alerts %v, want %v", have, want)
	}
	return ""
}

// randomInvocations returns about ten records of each of two pumps in about a quarter of an hour,
// sometimes more, and thirty of a device that is not in the group.
func randomInvocations(r *rand.Rand, start int64) (records []invoked) {
	for pump := range 2 {
		for range 1 + r.IntN(2)*r.IntN(2) {
			begin, n := start+r.Int64N(3600), 9+r.IntN(4)
			for i := range n {
				at := begin + int64(i)*90 - r.Int64N(2) // the eleventh is at the border
				if r.IntN(2) == 0 {
					at = begin + r.Int64N(900)
				}
				records = append(records, invoked{fmt.Sprint("pump-", pump), at, r.IntN(1000)})
			}
		}
	}
	for i := range 30 {
		records = append(records, invoked{"valve-1", start + int64(i), 0})
	}
	return records
}

// TestTenInAnyOrder lets two instances relay, judge and count random records for the custom alert
// of tenFile, in any order, repeatedly, and with faults at four per cent of all requests. In the
// end each pump has the alerts of the definition, and the device that is not in the group has none.
// Writes of a row that are not on condition fail here (rule R1 of handlers/window).
//
// HUBWATCH_TRIALS is how many trials to make; all differing ones are counted.
func TestTenInAnyOrder(t *testing.T) {
	roomy(t)
	n, detectors := trials(t, 50), tenDetectors(t)
	differ, requests, crashes, first := 0, 0, 0, ""
	alerts := map[int]int{} // by how many there are of a trial
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, seed)
			start := logStart
			if s.r.IntN(3) == 0 {
				start = alert.Day(logStart).AddDate(0, 0, 1).Add(-20 * time.Minute) // over midnight
			}
			w := newWay(s, verdict.Defaults(), start.Add(time.Hour))
			w.detectors, w.repeat, w.speed = detectors, 20, time.Second
			records := randomInvocations(s.r, start.Unix())
			s.r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			for of := range slices.Chunk(records, 1+s.r.IntN(4)) {
				w.messages = append(w.messages, slices.Repeat([]string{invocations(of...)}, 1+s.r.IntN(3)/2)...)
			}
			w.flow(1+s.r.IntN(3), 0, false)
			w.settle()
			requests, crashes = requests+s.requests, crashes+s.crashes
			alerts[len(tenWanted(records))]++
			if diff := w.tenDiffers(records); diff != "" {
				if differ++; differ == 1 { // an error of the bubble would end the trials
					first = fmt.Sprintf("seed %d: %s", seed, diff)
				}
			}
		})
	}
	if differ > 0 {
		t.Error(first)
	}
	t.Logf("%d trials, %d requests, %d crashes, trials by their alerts %v: %d differ", n, requests, crashes, alerts, differ)
	if n >= 50 && (alerts[0] < n/10 || n-alerts[0] < n/10) {
		t.Errorf("trials by their alerts %v: too few to say anything", alerts)
	}
}

// eleven is the story of the tests below: eleven records of one pump within a quarter of an hour,
// over the border of two slots, ten of another one, eleven of a third one of which the last comes
// when the first does not count any more, and twelve of a device that is not in the group.
func eleven() (records []invoked) {
	at := logStart.Unix() - 8*60
	for i := range int64(11) {
		records = append(records, invoked{"pump-1", at + 89*i, 0}, invoked{"pump-3", at + 90*i, 0}, invoked{"valve-1", at + i, 0})
		if i < 10 {
			records = append(records, invoked{"pump-2", at + i, 0})
		}
	}
	return append(records, invoked{"valve-1", at + 20, 0})
}

// TestAnyCrashOfEleven makes one fault of each kind at each request, the first, the second and so
// on, until a run has none. In the end one alert is there, of one breach. Without HUBWATCH_TRIALS every
// fifth of these faults is made.
// What says "done" before it is done fails here (rule R2 of handlers/window).
func TestAnyCrashOfEleven(t *testing.T) {
	roomy(t)
	detectors, records := tenDetectors(t), eleven()
	want := map[alarmed]int{{logStart.Format(time.DateOnly), "Contoso_ManyMethods", "pump-1"}: 1}
	if !maps.Equal(tenWanted(records), want) {
		t.Fatalf("the definition says %v, want %v", tenWanted(records), want)
	}
	requests, faults, step := 0, 0, step(5)
	for kind := range 4 {
		for planned, more := 1+kind%step, true; more; planned += step {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, 11)
				s.planned, s.kind = planned, kind
				w := newWay(s, verdict.Defaults(), logStart.Add(time.Hour))
				w.detectors = detectors
				for of := range slices.Chunk(records, 9) {
					w.messages = append(w.messages, invocations(of...))
				}
				w.messages = append(w.messages, w.messages[1])
				w.flow(2, 0, true)
				w.settle()
				if diff := w.tenDiffers(records); diff != "" {
					t.Fatalf("fault %d at request %d: %s", kind, planned, diff)
				}
				if more = s.requests >= planned; more {
					faults++
				} else {
					requests = s.requests
				}
			})
		}
	}
	t.Logf("%d requests, %d faults", requests, faults)
	if faults*step < 4*30 {
		t.Errorf("%d faults: too few requests to say anything", faults)
	}
}

// sink is a topic in memory.
type sink struct {
	mu     sync.Mutex
	events [][]byte
}

func (s *sink) Publish(_ context.Context, events [][]byte) (map[int]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		s.events = append(s.events, slices.Clone(e))
	}
	return nil, nil
}

// TestTenTheWholeWay brings records to the custom alert of tenFile against Azurite, through a
// connection that loses answers, in two instances and in several orders: the tenth record of a
// pump raises nothing, the eleventh raises one alert, and a device that is not in the group has none.
func TestTenTheWholeWay(t *testing.T) {
	detectors := tenDetectors(t)
	ours := detectors[len(detectors)-1]
	for name, order := range map[string]func([]string) []string{
		"in order":  func(m []string) []string { return m },
		"backwards": func(m []string) []string { slices.Reverse(m); return m },
		"thrice":    func(m []string) []string { return slices.Concat(m, m[2:], m, m[:3]) },
	} {
		t.Run(name, func(t *testing.T) {
			uri, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n%11 == 0 {
					return azurite.Lose
				}
				return azurite.Pass
			})
			topic, names := &sink{}, fmt.Sprintf("t%d", tables.Add(1))
			now := func() time.Time { return logStart.Add(time.Hour) }
			var apps []judge.Judge
			for range 2 {
				apps = append(apps, newInstance(account(t, uri), names, verdict.Defaults(), detectors, topic, nil, now))
			}
			try := func(f func() (host.Outcome, error)) {
				t.Helper()
				for attempt := 0; ; attempt++ {
					out, err := f()
					if err == nil && out.Quarantined == 0 {
						return
					}
					if attempt == 5 || out.Quarantined > 0 {
						t.Fatalf("%+v, %v", out, err)
					}
				}
			}
			deliver := func(records []invoked) {
				t.Helper()
				var messages []string
				for of := range slices.Chunk(records, 4) {
					messages = append(messages, invocations(of...))
				}
				for i, m := range order(messages) {
					try(func() (host.Outcome, error) { return apps[i%2].Relay(t.Context(), relayed(m)) })
				}
				events := topic.events
				topic.events = nil
				for i, e := range events {
					try(func() (host.Outcome, error) {
						return apps[(i+1)%2].Detect(ours)(t.Context(), host.Invocation{Function: ours.Name, Data: e})
					})
				}
			}
			alerts := apps[0].Alerts.(*Alerts)
			records := eleven()
			last := slices.IndexFunc(records, func(i invoked) bool { return i == invoked{"pump-1", logStart.Unix() - 8*60 + 890, 0} })
			deliver(slices.Concat(records[:last], records[last+1:]))
			if err := errorOf(alerts.List(t.Context(), alert.Query{})); !errors.Is(err, alert.ErrAbsent) { // not even a table
				t.Fatalf("ten of each: %v", err)
			}
			deliver(records)
			all := list(t, alerts, alert.Query{})
			if len(all) != 1 || all[0].Type != "Contoso_ManyMethods" || all[0].Entity.Name != "pump-1" || all[0].Occurrences != 1 || all[0].Status != alert.Active {
				t.Fatalf("of eleven: %+v", all)
			}
			if _, evidence := find(t, alerts, all[0].Ref()); len(evidence) != 1 || len(slices.Collect(maps.Values(evidence))[0].Counted) != 11 {
				t.Errorf("evidence %+v", evidence)
			}
			summariesAreExact(t, alerts)
		})
	}
}
