package coverage

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/event"
	"hubwatch/handlers/scan"
)

var at = time.Date(2026, 2, 1, 10, 7, 0, 0, time.UTC)

// TestReports says how paths are, at the edges of each time.
func TestReports(t *testing.T) {
	arrived := Trip{Path: Topic, Sent: at, Token: "b", Handed: true, ArrivedToken: "b", ArrivedSent: at, Took: 2100 * time.Millisecond}
	lost := arrived
	lost.ArrivedToken, lost.ArrivedSent = "a", at.Add(-time.Hour)
	never := Trip{Path: Topic, Sent: at, Token: "b", Handed: true}
	patient := never
	patient.Patience = time.Minute
	begun := Trip{Path: Topic, Sent: at, Token: "b"}
	tagged := Trip{Path: Changes, Sent: at, Token: "b", Handed: true}
	came := tagged
	came.ArrivedToken, came.ArrivedSent, came.Took = "b", at, 40*time.Second
	denied := Trip{Path: Changes, Sent: at, Token: "b", Fault: "403: the right is missing", ArrivedToken: "a", ArrivedSent: at}
	refused := Trip{Path: Topic, Sent: at, Token: "b", Fault: "topic: 401"}
	// The topic forks to three functions: one that gets both types, one that gets one of them, and one
	// that is new.
	branch := func(function, of, token string, since time.Duration) Branch {
		return Branch{Function: function, Type: of, Since: at.Add(-since), ArrivedToken: token, ArrivedSent: at, Took: time.Second}
	}
	fork := arrived
	fork.Branches = []Branch{branch("Whole", "x", "b", time.Hour), branch("Whole", "y", "b", 0), branch("Half", "x", "b", time.Hour), branch("Half", "y", "a", time.Hour), branch("Half", "z", "", 0), branch("New", "x", "", 0)}
	fork.Branches[1].Took, fork.Branches[3].ArrivedSent, fork.Branches[4].ArrivedSent, fork.Branches[5].ArrivedSent = 3*time.Second, at.Add(-time.Hour), time.Time{}, time.Time{}
	heard := []alert.Heard{{Hub: "a", Source: alert.Changes, Seen: at.Add(-3 * 24 * time.Hour)}, {Hub: "b", Source: alert.Changes, Seen: at.Add(-49 * time.Hour)}, {Hub: "a", Source: alert.Connections, Seen: at}}
	for name, test := range map[string]struct {
		trips []Trip
		heard []alert.Heard
		after time.Duration
		path  Path
		state State
		text  string
	}{
		"never tried":                    {nil, nil, 0, Topic, Unproven, "no canary was ever sent"},
		"works":                          {[]Trip{arrived}, nil, Topic.Overdue() - 1, Topic, Works, "a canary went through at 2026-02-01 10:07 UTC, in 2.1s"},
		"under way":                      {[]Trip{never}, nil, Patience - 1, Topic, Waiting, "a canary is under way since 2026-02-01 10:07 UTC; none ever arrived"},
		"lost":                           {[]Trip{lost}, nil, Patience, Topic, Broken, "the canary of 2026-02-01 10:07 UTC did not arrive; the last that arrived was sent at 2026-02-01 09:07 UTC"},
		"refused":                        {[]Trip{refused}, nil, Patience, Topic, Broken, "the canary of 2026-02-01 10:07 UTC did not arrive, for it could not be sent: topic: 401; none ever arrived"},
		"nobody sends":                   {[]Trip{arrived}, nil, Topic.Overdue(), Topic, Stopped, "no canary was sent for 1 hour: the function Canary does not run, or cannot write; the last that arrived was sent at 2026-02-01 10:07 UTC"},
		"of another path":                {[]Trip{arrived}, nil, 0, EventHub, Unproven, "no canary was ever sent"},
		"of another build":               {[]Trip{{Path: "pipe", Sent: at, Token: "b", Handed: true}}, nil, Patience, "pipe", Broken, "the canary of 2026-02-01 10:07 UTC did not arrive; none ever arrived"},
		"changes":                        {nil, heard, 0, Changes, Unproven, "not proven, since only Azure Resource Manager can publish there, and no tag is written for it; a change last came 2 days ago"},
		"lost, with patience of its own": {[]Trip{patient}, nil, time.Minute, Topic, Broken, "the canary of 2026-02-01 10:07 UTC did not arrive; none ever arrived"},
		"perhaps never sent":             {[]Trip{begun}, nil, Topic.Overdue() - 1, Topic, Waiting, "a canary is under way since 2026-02-01 10:07 UTC; none ever arrived"},
		"a tag went through":             {[]Trip{came}, heard, Changes.Overdue() - 1, Changes, Works, "a canary went through at 2026-02-01 10:07 UTC, in 40s"},
		"a tag is under way":             {[]Trip{tagged}, heard, time.Hour - 1, Changes, Waiting, "a canary is under way since 2026-02-01 10:07 UTC; none ever arrived"},
		"a tag is lost":                  {[]Trip{tagged}, heard, time.Hour, Changes, Broken, "the canary of 2026-02-01 10:07 UTC did not arrive; none ever arrived"},
		"no tag any more":                {[]Trip{came}, heard, Changes.Overdue(), Changes, Stopped, "no canary was sent for 1 day: the function Canary does not run, or cannot write; the last that arrived was sent at 2026-02-01 10:07 UTC"},
		"a tag is refused":               {[]Trip{denied}, heard, Changes.Overdue(), Changes, Unproven, "not proven, since no tag was written: 403: the right is missing; a change last came 3 days ago"},
		"all types came":                 {[]Trip{fork}, nil, Patience, "topic/Whole", Works, "a canary went through at 2026-02-01 10:07 UTC, in 3s"},
		"one type was lost":              {[]Trip{fork}, nil, Patience, "topic/Half", Broken, "the canary of 2026-02-01 10:07 UTC did not arrive as y and z; none ever arrived"},
		"the first for a function":       {[]Trip{fork}, nil, Patience, "topic/New", Waiting, "a canary is under way since 2026-02-01 10:07 UTC; none ever arrived"},
		"changes, none so far":           {nil, heard[2:], 0, Changes, Unproven, "not proven, since only Azure Resource Manager can publish there, and no tag is written for it; no change ever came"},
	} {
		found := false
		for _, r := range NewReports(test.trips, test.heard, at.Add(test.after)) {
			if r.Path != test.path {
				continue
			}
			found = true
			if r.State != test.state || r.Text != test.text || r.Wrong() != (test.state == Broken || test.state == Stopped) {
				t.Errorf("%s: %s, %q; want %s, %q", name, r.State, r.Text, test.state, test.text)
			}
		}
		if !found {
			t.Errorf("%s: nothing is said of the path", name)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", 59 * time.Second: "59 seconds", time.Minute: "1 minute", 119 * time.Second: "1 minute", 2 * time.Hour: "2 hours", 50 * time.Hour: "2 days",
	} {
		if got := Ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestDue checks when a canary is sent, and when it counts as missed.
func TestDue(t *testing.T) {
	sent := Trip{Path: Topic, Sent: at, Token: "a", Handed: true}
	refused := Trip{Path: Topic, Sent: at, Token: "a", Fault: "404"}
	begun := Trip{Path: Topic, Sent: at, Token: "a"}
	came := begun
	came.ArrivedToken = "a"
	tagged := Trip{Path: Changes, Sent: at, Token: "a", Handed: true}
	denied := Trip{Path: Changes, Sent: at, Token: "a", Fault: "403"}
	for name, test := range map[string]struct {
		trip        Trip
		after       time.Duration
		due, missed bool
	}{
		"never":                              {Trip{}, 0, true, false},
		"just sent":                          {sent, 0, false, false},
		"at the second look":                 {sent, 15 * time.Minute, false, true},
		"at the third":                       {sent, time.Hour - time.Second, true, true},
		"refused":                            {refused, 15 * time.Minute, false, true},
		"the clock was far ahead":            {sent, -time.Hour, true, false},
		"the sender ended":                   {begun, Patience, true, false},
		"the sender has just begun":          {begun, Patience - 1, false, false},
		"it came before that was remembered": {came, 15 * time.Minute, false, false},
		"a tag, an hour ago":                 {tagged, time.Hour, false, true},
		"a tag, a day ago":                   {tagged, 24*time.Hour - time.Second, true, true},
		"no tag":                             {denied, 15 * time.Minute, false, false},
		"no tag, an hour ago":                {denied, time.Hour - time.Second, true, false},
	} {
		if due, missed := test.trip.Due(at.Add(test.after)), test.trip.Missed(at.Add(test.after)); due != test.due || missed != test.missed {
			t.Errorf("%s: due %v, missed %v; want %v, %v", name, due, missed, test.due, test.missed)
		}
	}
	if usual := 2 * time.Minute; EventHub.Patience(usual) != usual || Changes.Patience(usual) != 12*time.Minute {
		t.Errorf("patience %v and %v", EventHub.Patience(usual), Changes.Patience(usual))
	}
}

// TestDocument checks what programs read.
func TestDocument(t *testing.T) {
	heard := []alert.Heard{
		{Hub: "contoso-hub", Source: alert.LogSource("Routes"), Event: at.Add(-time.Minute), Seen: at}, {Hub: "contoso-hub", Source: alert.Connections, Event: at, Seen: at},
		{Hub: "rg-iot", Source: alert.Resources, Event: at.Add(-time.Minute), Seen: at.Add(-time.Minute)},
	}
	trips := []Trip{{Path: EventHub, Sent: at, Token: "a", ArrivedToken: "a", ArrivedSent: at, Took: 1500 * time.Millisecond}}
	b, err := json.Marshal(NewDocument(heard, []alert.Source{alert.Changes, alert.Connections}, trips, at), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "sources": [
    {
      "hubName": "contoso-hub",
      "source": "changes"
    },
    {
      "hubName": "contoso-hub",
      "source": "connections",
      "lastEventUtc": "2026-02-01T10:07:00Z",
      "lastSeenUtc": "2026-02-01T10:07:00Z"
    },
    {
      "hubName": "contoso-hub",
      "source": "log.Routes",
      "lastEventUtc": "2026-02-01T10:06:00Z",
      "lastSeenUtc": "2026-02-01T10:07:00Z"
    }
  ],
  "paths": [
    {
      "path": "topic",
      "state": "unproven",
      "text": "no canary was ever sent"
    },
    {
      "path": "event-hub",
      "state": "works",
      "text": "a canary went through at 2026-02-01 10:07 UTC, in 1.5s",
      "sentUtc": "2026-02-01T10:07:00Z",
      "arrivedUtc": "2026-02-01T10:07:01.5Z",
      "tookSeconds": 1.5
    },
    {
      "path": "alerts",
      "state": "unproven",
      "text": "no canary was ever sent"
    },
    {
      "path": "changes",
      "state": "unproven",
      "text": "not proven, since only Azure Resource Manager can publish there, and no tag is written for it; a change last came 1 minute ago",
      "lastSeenUtc": "2026-02-01T10:06:00Z"
    }
  ]
}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b, err := json.Marshal(NewDocument(nil, nil, nil, at)); err != nil || !strings.HasPrefix(string(b), `{"sources":[],`) {
		t.Errorf("%s, %v", b, err)
	}
}

// TestWords says what each path consists of.
func TestWords(t *testing.T) {
	for _, p := range append(slices.Clone(Paths), "topic/A", "alerts/A") {
		if words := p.Words(); words == Path("pipe").Words() || strings.Contains(string(p), "/") != strings.Contains(words, "event subscription A") {
			t.Errorf("%s: %s", p, words)
		}
	}
	if words := Path("pipe/A").Words(); words != Path("pipe").Words() {
		t.Error(words)
	}
}

// TestDisguise reads canaries as events of other types, and what is none.
func TestDisguise(t *testing.T) {
	c := Canary{Topic, "token", at}
	raw := c.Disguise("/hubwatch", "paths/topic", "x")
	e, err := event.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := ParseDisguise(e); !ok || got != c || !MarkedRaw(raw) || e.Type != "x" || e.Source != "/hubwatch" || e.Subject != "paths/topic" {
		t.Errorf("%+v, %v, %+v", got, ok, e)
	}
	for name, data := range map[string]string{
		"no object": `7`, "no canary": `{}`, "another member": strings.TrimSuffix(string(e.Data), "}") + `,"records":[]}`, "a member inside": strings.Replace(string(e.Data), `{"path"`, `{"x":1,"path"`, 1),
		"no token": `{"hubwatchCanary":{"path":"topic","sent":"2026-02-01T10:07:00Z"}}`, "another token": strings.Replace(string(e.Data), `"token"`+`:"`, `"token":"x`, 1),
	} {
		other := e
		other.Data = jsontext.Value(data)
		if got, ok := ParseDisguise(other); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// A device may have any name.
	plain := jsontext.Value(`{"type":"hubwatch.iothub.connection.failed","data":{"deviceId":"hubwatchCanary"}}`)
	for _, test := range []struct {
		raw  jsontext.Value
		want bool
	}{{raw, true}, {plain, false}} {
		var doc scan.Doc
		if !doc.Scan(test.raw, "", event.MostValues) {
			t.Fatalf("%s is not scanned", test.raw)
		}
		n := testing.AllocsPerRun(10, func() {
			if Marked(doc.Root()) != test.want {
				t.Errorf("%s is marked: %v", test.raw, !test.want)
			}
		})
		if n > 0 {
			t.Errorf("%v allocations, want none", n)
		}
	}
}

// TestCanaryComesBack sends canaries as events and as messages and reads them, and reads what is
// none.
func TestCanaryComesBack(t *testing.T) {
	c := Canary{Topic, "token", at}
	e, err := event.Decode(c.Event("/hubwatch"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseEvent(e); got != c || err != nil || e.Type != CanaryType || e.ID != "token" {
		t.Errorf("%+v, %v, type %s", got, err, e.Type)
	}
	m := Missed{c, "/hubwatch", "topic: 401", at.Add(-time.Hour), nil}
	if e, err = event.Decode(m.Event()); err != nil {
		t.Fatal(err)
	}
	if got, err := ParseMissed(e); !cmp.Equal(got, m) || err != nil || e.Type != MissedType {
		t.Errorf("%+v, %v, type %s", got, err, e.Type)
	}
	for name, data := range map[string]string{"no object": `7`, "no token": `{"path":"topic","sent":"2026-02-01T10:07:00Z"}`, "no time": `{"path":"topic","token":"a"}`, "no path": `{"token":"a"}`} {
		e.Data = jsontext.Value(data)
		if _, err := ParseEvent(e); err == nil || !strings.HasPrefix(err.Error(), "data: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	record, canary := []byte(`{"records":[]}`), c.Message()
	for name, messages := range map[string][][]byte{
		"first": {canary, record, record}, "between": {record, canary, record}, "last": {record, record, canary},
	} {
		others, canaries := Split(messages)
		if len(others) != 2 || string(others[0])+string(others[1]) != string(record)+string(record) || len(canaries) != 1 || canaries[0] != c {
			t.Errorf("%s: %q, %v", name, others, canaries)
		}
	}
	messages := [][]byte{record, []byte(`{"hubwatchCanary":7}`), []byte(`{"hubwatchCanary":{"path":"a","token":"b","sent":"2026-02-01T10:07:00Z"},"records":[]}`), nil}
	if n := testing.AllocsPerRun(10, func() { Split(messages[:1]) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if others, canaries := Split(messages); len(others) != len(messages) || canaries != nil {
		t.Errorf("%q, %v; want no canary", others, canaries)
	}
}
