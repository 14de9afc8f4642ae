package relay

import (
	"bytes"
	stdjson "encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

var update = flag.Bool("update", false, "rewrite what the cases want")

// testCase is testdata/<name>.json: messages, and what the relay makes of them.
type testCase struct {
	About    string           `json:"about"`              // the point of the case, one sentence
	From     string           `json:"from"`               // where the shape of its records was found
	Messages []jsontext.Value `json:"messages,omitempty"` // a message, or a string that holds one
	Files    []string         `json:"files,omitempty"`    // messages in files of their own
	Want     outcome          `json:"want"`
}

// outcome is a Result in JSON.
type outcome struct {
	Events     []jsontext.Value          `json:"events,omitempty"`
	Relayed    map[connection.Cause]int  `json:"relayed,omitempty"`
	PassedOver map[connection.Reason]int `json:"passedOver,omitempty"`
	Repeated   int                       `json:"repeated,omitzero"`
	Unreadable []unreadable              `json:"unreadable,omitempty"`
	Unknown    map[string]int            `json:"unknown,omitempty"`
}

type unreadable struct {
	Message int    `json:"message"`
	Raw     string `json:"raw"`
	Error   string `json:"error"`
}

func outcomeOf(r Result) outcome {
	o := outcome{Events: r.Events, Relayed: r.Relayed, PassedOver: r.PassedOver, Repeated: r.Repeated, Unknown: r.Unknown}
	for _, u := range r.Unreadable {
		o.Unreadable = append(o.Unreadable, unreadable{u.Message, string(u.Raw), u.Err.Error()})
	}
	return o
}

func readCase(t testing.TB, file string) (c testCase, messages [][]byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &c, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, m := range c.Messages {
		if m.Kind() == '"' {
			var s string
			if err := json.Unmarshal(m, &s); err != nil {
				t.Fatal(err)
			}
			m = jsontext.Value(s)
		}
		messages = append(messages, m)
	}
	for _, name := range c.Files {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, data)
	}
	return c, messages
}

func caseFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (error %v)", err)
	}
	return files
}

func TestCases(t *testing.T) {
	for _, file := range caseFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			c, messages := readCase(t, file)
			if c.About == "" || c.From == "" {
				t.Error("about and from must say what the case is for and where its records were found")
			}
			got := outcomeOf(relay(t, messages))
			if *update {
				c.Want = got
				data, err := json.Marshal(c, jsontext.WithIndent("  "), json.Deterministic(true), jsontext.AllowDuplicateNames(true))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(form(t, c.Want), form(t, got)); diff != "" {
				t.Errorf("differs from the case (-want +got; -update rewrites the case):\n%s", diff)
			}
		})
	}
}

// form returns an outcome in which whitespace does not matter, nor the words of
// the JSON package, which it changes on purpose.
func form(t testing.TB, o outcome) string {
	t.Helper()
	data, err := json.Marshal(o, json.Deterministic(true), jsontext.AllowDuplicateNames(true))
	if err != nil {
		t.Fatal(err)
	}
	v := jsontext.Value(data)
	if err := v.Indent(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(v), "unable to ", "cannot ")
}

// relay is Relay with all that holds for any result: each record counts once, and
// each event is sound and has its record in it.
func relay(t testing.TB, messages [][]byte) Result {
	t.Helper()
	before := make([][]byte, len(messages))
	for i, m := range messages {
		before[i] = bytes.Clone(m)
	}
	r := Relay(messages)
	records := 0
	for i, m := range messages {
		if !bytes.Equal(m, before[i]) {
			t.Errorf("message %d was changed", i)
		}
		for range connection.Records(m) {
			records++
		}
	}
	relayed, counted := 0, r.Repeated
	for _, n := range r.Relayed {
		relayed += n
	}
	for _, n := range r.PassedOver {
		counted += n
	}
	for _, u := range r.Unreadable {
		counted += u.Records
	}
	if relayed != len(r.Events) || relayed+counted != records {
		t.Errorf("%d events, %d relayed and %d other of %d records", len(r.Events), relayed, counted, records)
	}
	for _, u := range r.Unreadable {
		if u.Err == nil || len(u.Raw) == 0 || !bytes.Contains(messages[u.Message], u.Raw) {
			t.Errorf("unreadable: %q of message %d because of %v", u.Raw, u.Message, u.Err)
		}
	}
	for _, raw := range r.Events {
		if !raw.IsValid() {
			t.Errorf("%q is not JSON", raw)
		}
		e, err := event.Decode(raw)
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		record, err := connection.DecodeRecord(e.Data)
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		if e.Type != connection.Failed || e.Subject != record.Subject() || e.Source != record.ResourceID || !e.Time.Equal(record.Time) || len(e.ID) != 64 {
			t.Errorf("%q does not say what its record says", raw)
		}
		if connection.Classify(record).PassedOver != "" {
			t.Errorf("%q is not a failed connection", raw)
		}
	}
	return r
}

// failure is a record of a failed connection, of a device of its own.
func failure(i int) string {
	properties := fmt.Sprintf(`{"deviceId":"dev-%d","sdkVersion":".NET/1.21.2 (.NET 8.0)","protocol":"Mqtt","authType":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\",\"acceptingIpFilterRule\":null}","maskedIpAddress":"203.0.113.XXX","statusCode":"401"}`, i)
	return record("deviceDisconnect", `"level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized"`, properties)
}

// success is a record of a connection, of a device of its own.
func success(i int) string {
	return record("deviceConnect", `"level":"Information"`, fmt.Sprintf(`{"deviceId":"dev-%d","protocol":"Mqtt","authType":null,"maskedIpAddress":"203.0.113.XXX","statusCode":null}`, i))
}

func record(operation, members, properties string) string {
	quoted, err := jsontext.AppendQuote(nil, properties)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB","operationName":%q,"category":"Connections",%s,"properties":%s,"location":"westeurope"}`, operation, members, quoted)
}

// message is what Azure Monitor puts into an Event Hub.
func message(records ...string) []byte {
	return []byte(`{"records":[` + strings.Join(records, ",") + `]}`)
}

func TestOneBrokenOfAHundred(t *testing.T) {
	good := failure(50)
	for name, broken := range map[string]string{
		"a member without a value": strings.Replace(good, `"resultType":"401003"`, `"resultType":`, 1),
		"cut off":                  good[:len(good)/2],
		"cut off in a string":      good[:strings.Index(good, "203.0")],
		"no properties":            strings.Replace(good, `"properties":"{`, `"properties":"`, 1),
		"no time":                  strings.Replace(good, `"time":"2026-02-01T10:00:00Z"`, `"time":"soon"`, 1),
		"a number":                 "42",
		"a string":                 `"` + strings.Repeat("x", 100) + `"`,
		"a member twice":           strings.Replace(good, `"level":"Error"`, `"level":"Error","level":"Error"`, 1),
		"another resource":         strings.Replace(good, "IOTHUBS", "PROVISIONINGSERVICES", 1),
	} {
		for _, lines := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/lines=%t", name, lines), func(t *testing.T) {
				var records []string
				for i := range 100 {
					records = append(records, failure(i))
				}
				records[50] = broken
				m := message(records...)
				if lines {
					m = []byte(strings.Join(records, "\n"))
				}
				r := relay(t, [][]byte{m})
				if len(r.Events) != 99 || len(r.Unreadable) != 1 || string(r.Unreadable[0].Raw) != broken {
					t.Errorf("%d events, unreadable %v", len(r.Events), r.Unreadable)
				}
			})
		}
	}
}

func TestMessageOfAMegabyte(t *testing.T) {
	var records []string
	for i, size := 0, 0; size < 1<<20-2000; i++ {
		records = append(records, failure(i))
		size += len(records[i]) + 1
	}
	m := message(records...)
	r := relay(t, [][]byte{m})
	if len(r.Events) != len(records) || len(r.Unreadable) > 0 {
		t.Errorf("%d events of %d records in %d bytes, unreadable %v", len(r.Events), len(records), len(m), r.Unreadable)
	}
}

// TestTooLarge checks that no event is made that Event Grid would refuse: its
// batch would be tried again for ever.
func TestTooLarge(t *testing.T) {
	huge := strings.Replace(failure(1), "IotHubUnauthorized", strings.Repeat("x", mostBytes), 1)
	r := relay(t, [][]byte{message(failure(0), huge, failure(2))})
	if len(r.Events) != 2 || len(r.Unreadable) != 1 || string(r.Unreadable[0].Raw) != huge {
		t.Errorf("%d events, %d unreadable", len(r.Events), len(r.Unreadable))
	}
}

// TestTooDeep checks that no event is made that hubwatch itself could not read, and that
// brackets in strings do not count.
func TestTooDeep(t *testing.T) {
	nested := func(n int) string {
		return strings.Replace(failure(n), `"location"`, `"text":"[\"[[{","deep":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`,"location"`, 1)
	}
	for _, levels := range []int{60, mostDepth - 1, mostDepth, 9_990, 20_000} { // the record is one level itself
		r := relay(t, [][]byte{message(failure(0), nested(levels), failure(1))})
		if levels < mostDepth && (len(r.Events) != 3 || len(r.Unreadable) > 0) {
			t.Errorf("%d levels: %d events and %d unreadable, want 3 and none", levels, len(r.Events), len(r.Unreadable))
		}
		if levels >= mostDepth && (len(r.Events) != 2 || len(r.Unreadable) != 1) {
			t.Errorf("%d levels: %d events and %d unreadable, want 2 and 1", levels, len(r.Events), len(r.Unreadable))
		}
	}
}

// TestID checks that the id is that of the record's content: neither the order of
// members, whitespace nor spelling changes it, and everything else does.
func TestID(t *testing.T) {
	id := func(raw string) string {
		r := relay(t, [][]byte{[]byte(raw)})
		if len(r.Events) != 1 {
			t.Fatalf("%q: %d events, unreadable %v", raw, len(r.Events), r.Unreadable)
		}
		e, err := event.Decode(r.Events[0])
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	plain := failure(1)
	var members map[string]any
	if err := json.Unmarshal([]byte(plain), &members); err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(members))
	for range 20 {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		var b strings.Builder
		for i, name := range names {
			value, err := stdjson.Marshal(members[name]) // which escapes < and > and &
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\r\n %q : %s", map[bool]string{true: "{", false: " ,"}[i == 0], name, value)
		}
		b.WriteString("}")
		if id(b.String()) != id(plain) {
			t.Fatalf("another spelling has another id:\n%s\n%s", plain, b.String())
		}
	}
	if escaped := strings.Replace(plain, "IotHub", `\u0049otHub`, 1); id(escaped) != id(plain) {
		t.Error("an escape has another id")
	}
	for _, change := range []struct{ old, new string }{
		{"10:00:00Z", "10:00:01Z"}, {"dev-1", "dev-2"}, {"CONTOSO", "FABRIKAM"}, {"401003", "401002"}, {"location", "place"}, {"203.0.113", "192.0.2"},
	} {
		if changed := strings.Replace(plain, change.old, change.new, 1); id(changed) == id(plain) {
			t.Errorf("%q for %q has the same id", change.new, change.old)
		}
	}
	number := func(n string) string { return strings.Replace(plain, `"location"`, `"n":`+n+`,"location"`, 1) }
	if id(number("9007199254740993")) == id(number("9007199254740992")) {
		t.Error("two large numbers have the same id")
	}
}

// TestNoUnicode checks that an event is sound JSON even where its record is not.
func TestNoUnicode(t *testing.T) {
	for name, device := range map[string]string{"half a pair": `\\ud800`, "a byte": "\xff", "half a pair outside of properties": "dev-1"} {
		raw := strings.Replace(failure(1), "dev-1", device, 1)
		if device == "dev-1" {
			raw = strings.Replace(raw, "westeurope", `\udfff`, 1)
		}
		r := relay(t, [][]byte{message(raw)})
		if len(r.Events) != 1 {
			t.Errorf("%s: %d events, unreadable %v", name, len(r.Events), r.Unreadable)
		}
	}
}

// TestDataIsTheRecord checks that the record is not touched.
func TestDataIsTheRecord(t *testing.T) {
	raw := strings.Replace(failure(1), `,"location"`, ` ,  "note" : "<\u00e9\/>", "n": 1.50, "location"`, 1)
	e, err := event.Decode(relay(t, [][]byte{message(success(0), raw)}).Events[0])
	if err != nil || string(e.Data) != raw {
		t.Errorf("have %s, error %v", e.Data, err)
	}
}

// TestAnySplit is the property that replays, partitions and batches rest on:
// however records are spread over messages and batches, and however often they
// come, the set of events is the same.
func TestAnySplit(t *testing.T) {
	var records []string
	for i := range 60 {
		switch i % 4 {
		case 0, 1:
			records = append(records, failure(i))
		case 2:
			records = append(records, success(i))
		case 3:
			records = append(records, `{"broken":`)
		}
	}
	whole := func(batches [][][]byte) map[string]string {
		events := map[string]string{}
		for _, b := range batches {
			for _, raw := range relay(t, b).Events {
				e, err := event.Decode(raw)
				if err != nil {
					t.Fatal(err)
				}
				if other, ok := events[e.ID]; ok && other != string(raw) {
					t.Errorf("two events have the id %s", e.ID)
				}
				events[e.ID] = string(raw)
			}
		}
		return events
	}
	want := whole([][][]byte{{message(records...)}})
	if len(want) != 30 {
		t.Fatalf("%d events", len(want))
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		shuffled := slices.Clone(records)
		for range r.IntN(20) { // some come again
			shuffled = append(shuffled, records[r.IntN(len(records))])
		}
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		var batches [][][]byte
		var batch [][]byte
		for len(shuffled) > 0 {
			n := 1 + r.IntN(len(shuffled))
			part := shuffled[:n]
			shuffled = shuffled[n:]
			switch r.IntN(3) {
			case 0:
				batch = append(batch, message(part...))
			case 1:
				batch = append(batch, []byte("["+strings.Join(part, " ,\n")+"]"))
			case 2:
				batch = append(batch, []byte(strings.Join(part, "\r\n")))
			}
			if r.IntN(2) == 0 {
				batches, batch = append(batches, batch), nil
			}
		}
		if diff := cmp.Diff(want, whole(append(batches, batch))); diff != "" {
			t.Fatalf("seed %d: the events differ (-want +got):\n%s", seed, diff)
		}
	}
}

// FuzzRelay holds, for any bytes, what relay checks, and that the same bytes in
// two messages give no more than in one.
func FuzzRelay(f *testing.F) {
	for _, file := range caseFiles(f) {
		_, messages := readCase(f, file)
		for _, m := range messages {
			f.Add(m)
		}
	}
	f.Add(message(failure(1), success(2), "x", failure(1)))
	f.Fuzz(func(t *testing.T, m []byte) {
		once, twice := relay(t, [][]byte{m}), relay(t, [][]byte{m, m})
		if diff := cmp.Diff(once.Events, twice.Events); diff != "" {
			t.Errorf("the same message again makes other events (-once +twice):\n%s", diff)
		}
	})
}

// TestUnknownSentences checks that the sentences that the rules do not know are
// counted, each once for all devices, without secrets and what a log cannot show, and
// that there are never more than a log line takes.
func TestUnknownSentences(t *testing.T) {
	var records []string
	say := func(text string) {
		t.Helper()
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record("deviceConnect", fmt.Sprintf(`"level":"Error","resultType":"401003","resultDescription":%s`, quoted),
			fmt.Sprintf(`{"deviceId":"dev-%d","authType":"sas"}`, len(records))))
	}
	for i := range 5 {
		say(fmt.Sprintf("The moon is in the way of device 'dev-%d'.", i))
	}
	say("Look\n here: \u202e the token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJVMFZEVWtWVSJ9.U0VDUkVUU0VDUkVUU0VDUkVU was sent")
	say("IotHubUnauthorized")        // the name of the error
	say("the token is expired")      // a sentence that is known
	say(strings.Repeat("long ", 99)) // cut
	for i := range 20 {
		say(strings.Repeat("other ", i+1))
	}
	got := Relay([][]byte{[]byte(`{"records":[` + strings.Join(records, ",") + `]}`)})
	if n := got.Unknown["the moon is in the way of device '."]; n != 5 {
		t.Errorf("the same sentence of five devices counts %d: %v", n, got.Unknown)
	}
	sum := 0
	for sentence, n := range got.Unknown {
		sum += n
		if strings.ContainsAny(sentence, "\n\u202e") || strings.Contains(strings.ToLower(sentence), "u0vdukvu") || len([]rune(sentence)) > verdict.MostSentence {
			t.Errorf("the log gets %q", sentence)
		}
	}
	if len(got.Unknown) != verdict.MostSentences+1 || sum != len(records)-2 || got.Unknown[verdict.OtherSentences] != 20-5 {
		t.Errorf("%d sentences of %d records, want %d and others, of %d: %v", len(got.Unknown), sum, verdict.MostSentences, len(records)-2, got.Unknown)
	}
}

// TestRelayHears checks that the time of the newest record of each hub is told, also of
// connections that succeeded, whatever the order of the records.
func TestRelayHears(t *testing.T) {
	record := func(at, hub, result string) string {
		return fmt.Sprintf(`{"time":"%s","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/%s",`+
			`"operationName":"deviceConnect","category":"Connections","properties":"{\"deviceId\":\"pump-1\"}"%s}`, at, hub, result)
	}
	const failed = `,"resultType":"401003","resultDescription":"The specified SAS token is expired"`
	message := `{"records":[` + strings.Join([]string{
		record("2026-02-01T09:00:00Z", "CONTOSO-HUB", ""), record("2026-02-01T09:05:00Z", "CONTOSO-HUB", failed), record("2026-02-01T09:01:00Z", "CONTOSO-HUB", ""),
		record("2026-02-01T08:00:00Z", "CONTOSO-HUB-WEST", ""),
		`{"time":"2026-02-01T10:00:00Z","resourceId":"/SUBSCRIPTIONS/1","operationName":"deviceConnect","category":"Connections"}`, `7`,
	}, ",") + `]}`
	want := map[string]time.Time{"CONTOSO-HUB": time.Date(2026, 2, 1, 9, 5, 0, 0, time.UTC), "CONTOSO-HUB-WEST": time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, Relay([][]byte{[]byte(message)}).Heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}
