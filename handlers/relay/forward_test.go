package relay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	stdjson "encoding/json"

	"hubwatch/handlers/event"
)

const forwardHub = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/"

// logLine returns a record of any category.
func logLine(hub, category, operation string, second int, more string) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:%02dZ","resourceId":"%s%s","operationName":%q,"category":%q,"level":"Information","properties":"{\"deviceId\":\"dev-1\"%s}"}`,
		second, forwardHub, hub, operation, category, more)
}

// forwarded returns the records of events, by hub and category, and checks the events.
func forwarded(t testing.TB, f Forwarded) map[string][]event.LogRecord {
	t.Helper()
	found := map[string][]event.LogRecord{}
	counts, ids := map[string]int{}, map[string]bool{}
	for _, raw := range f.Events {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatalf("%v: %.200s", err, raw)
		}
		records, err := event.LogRecords(e)
		if err != nil || len(records) == 0 {
			t.Fatalf("%v: %.200s", err, raw)
		}
		sent, err := stdjson.Marshal(stdjson.RawMessage(raw))
		if n := len(sent); err != nil || n > mostSent || n > mostPacked && len(records) > 1 {
			t.Errorf("an event of %d bytes with %d records, error %v", n, len(records), err)
		}
		var newest time.Time
		for _, r := range records {
			if r.Time.After(newest) {
				newest = r.Time
			}
			if ids[r.ID] {
				t.Errorf("record %s stands twice", r.ID)
			}
			ids[r.ID] = true
		}
		category, _ := event.LogCategory(e.Type)
		if e.Subject != "logs/"+category || !e.Time.Equal(newest) {
			t.Errorf("subject %s, time %s; want the category %s and %s", e.Subject, e.Time, category, newest)
		}
		key := strings.ToLower(records[0].Hub.Name) + " " + category
		found[key] = append(found[key], records...)
		counts[category] += len(records)
	}
	if !maps.Equal(counts, f.Records) {
		t.Errorf("the events have %v records, and %v are told", counts, f.Records)
	}
	return found
}

// operations returns the operations of records, in their order.
func operations(records []event.LogRecord) (list []string) {
	for _, r := range records {
		list = append(list, r.Operation)
	}
	return list
}

func TestForward(t *testing.T) {
	messages := [][]byte{
		message(
			logLine("HUB-A", "TwinQueries", "query", 1, ""), logLine("HUB-A", "DirectMethods", "send", 2, ""), logLine("hub-a", "twinQUERIES", "QUERY", 4, ""),
			logLine("HUB-B", "TwinQueries", "query", 3, ""), logLine("HUB-A", "Routes", "endpointUnhealthy", 3, ""), success(1)),
		message(logLine("HUB-A", "TwinQueries", "query", 1, ""), logLine("HUB-A", "TwinQueries", "read", 0, "")),
		[]byte(`{"TimeGenerated":"2026-02-01T10:00:09Z","_ResourceId":"` + forwardHub + `HUB-A","OperationName":"query","Category":"TwinQueries","properties_s":"{}"}`),
	}
	all := map[string][]string{
		"hub-a TwinQueries": {"query", "QUERY", "read", "query"}, "hub-b TwinQueries": {"query"}, "hub-a DirectMethods": {"send"},
	}
	for name, test := range map[string]struct {
		want     Wanted
		found    map[string][]string
		repeated int
	}{
		"nothing":               {nil, map[string][]string{}, 0},
		"categories":            {Wanted{"TwinQueries": nil, "DirectMethods": nil}, all, 1},
		"an operation":          {Wanted{"TwinQueries": {"read": true}}, map[string][]string{"hub-a TwinQueries": {"read"}}, 0},
		"no operation":          {Wanted{"TwinQueries": {}}, map[string][]string{}, 0},
		"one that has nothing":  {Wanted{"JobsOperations": nil}, map[string][]string{}, 0},
		"operations of several": {Wanted{"TwinQueries": {"query": true}, "DirectMethods": {"invoke": true}}, map[string][]string{"hub-a TwinQueries": {"query", "QUERY", "query"}, "hub-b TwinQueries": {"query"}}, 1},
	} {
		f := Forward(messages, test.want)
		found := map[string][]string{}
		for key, records := range forwarded(t, f) {
			found[key] = operations(records)
		}
		if diff := cmp.Diff(test.found, found); diff != "" || f.Repeated != test.repeated || len(f.Unreadable) > 0 || len(f.Events) != len(test.found) {
			t.Errorf("%s: %d events, %d repeated, unreadable %+v (-want +got):\n%s", name, len(f.Events), f.Repeated, f.Unreadable, diff)
		}
	}
}

// TestForwardConnections checks that all records of the category are forwarded: those of
// connections that succeeded, and those that no rule knows.
func TestForwardConnections(t *testing.T) {
	unknown := strings.Replace(failure(2), "IotHubUnauthorized", "The moon is in the way.", 1)
	f := Forward([][]byte{message(success(1), failure(1), unknown)}, Wanted{"Connections": nil})
	found := forwarded(t, f)
	if len(f.Events) != 1 || f.Records["Connections"] != 3 || len(found) != 1 {
		t.Errorf("%d events, records %v", len(f.Events), f.Records)
	}
	for _, records := range found {
		for i, raw := range []string{success(1), failure(1), unknown} {
			if string(records[i].Raw) != raw {
				t.Errorf("record %d is not as it came: %s", i, records[i].Raw)
			}
		}
	}
}

// TestForwardIDs checks that a record has the same ID in whatever batch and order it comes,
// and is in the events of each batch once. The ID is the one that Relay gives.
func TestForwardIDs(t *testing.T) {
	var records []string
	for i := range 300 {
		records = append(records, failure(i))
	}
	want := map[string]bool{}
	for _, raw := range Relay([][]byte{message(records...)}).Events {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		want[e.ID] = true
	}
	random := rand.New(rand.NewPCG(1, 2))
	for trial := range 50 {
		random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		got := map[string]bool{}
		for rest := records; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(200))
			f := Forward([][]byte{message(rest[:n]...), message(rest[:n/2]...)}, Wanted{"Connections": nil})
			for _, found := range forwarded(t, f) {
				for _, r := range found {
					got[r.ID] = true
				}
			}
			if f.Records["Connections"] != n || f.Repeated != n/2 {
				t.Fatalf("trial %d: %d records and %d repeated of %d", trial, f.Records["Connections"], f.Repeated, n)
			}
			rest = rest[n:]
		}
		if !maps.Equal(got, want) {
			t.Fatalf("trial %d: %d ids, and %d are wanted", trial, len(got), len(want))
		}
	}
	a, b := Forward([][]byte{message(records...)}, Wanted{"Connections": nil}), Forward([][]byte{message(records...)}, Wanted{"Connections": nil})
	if diff := cmp.Diff(a.Events, b.Events); diff != "" {
		t.Errorf("the same batch gives other events:\n%s", diff)
	}
}

// TestForwardLarge checks that large records are in events of their own, and that what
// Event Grid does not take is told. Characters that the library escapes count six times.
func TestForwardLarge(t *testing.T) {
	padded := func(n int, with string, second int) string {
		return logLine("HUB-A", "DirectMethods", "send", second, `,\"x\":\"`+strings.Repeat(with, n)+`\"`)
	}
	small := logLine("HUB-A", "DirectMethods", "send", 0, "")
	for name, test := range map[string]struct {
		records         []string
		events, refused int
	}{
		"two that fit":               {[]string{padded(30_000, "x", 1), padded(30_000, "x", 2)}, 1, 0},
		"two that do not":            {[]string{padded(32_000, "x", 1), padded(32_000, "x", 2)}, 2, 0},
		"escapes":                    {[]string{padded(6_000, "<", 1), padded(6_000, "\u2028", 2)}, 2, 0},
		"a large one":                {[]string{small, padded(900_000, "x", 1), small, padded(1, "x", 2)}, 3, 0},
		"one that is too large":      {[]string{small, padded(990_000, "x", 1), padded(1, "x", 2)}, 2, 1},
		"one whose escapes are":      {[]string{padded(170_000, "&", 1)}, 0, 1},
		"several that are too large": {[]string{padded(990_000, "x", 1), padded(990_000, "y", 1)}, 0, 2},
	} {
		f := Forward([][]byte{message(test.records...)}, Wanted{"DirectMethods": nil})
		forwarded(t, f)
		if len(f.Events) != test.events || len(f.Unreadable) != test.refused {
			t.Errorf("%s: %d events, %d refused; want %d and %d", name, len(f.Events), len(f.Unreadable), test.events, test.refused)
		}
		for _, u := range f.Unreadable {
			if !strings.Contains(u.Err.Error(), "and Event Grid takes 990000") || !slices.Contains(test.records, string(u.Raw)) {
				t.Errorf("%s: %v", name, u.Err)
			}
		}
	}
}

func TestForwardUnreadable(t *testing.T) {
	good := logLine("HUB-A", "Routes", "endpointUnhealthy", 1, "")
	for want, wrong := range map[string]string{
		"record: time: missing or empty":         strings.Replace(good, "2026-02-01T10:00:01Z", "", 1),
		`record: resource id "": does not begin`: strings.Replace(good, forwardHub+"HUB-A", "", 1),
		"is not an IoT hub":                      strings.Replace(good, "IOTHUBS", "PROVISIONINGSERVICES", 1),
		"objects and arrays inside each other":   strings.Replace(good, `"level"`, `"deep":`+strings.Repeat("[", mostDepth)+strings.Repeat("]", mostDepth)+`,"level"`, 1),
	} {
		f := Forward([][]byte{message(good), message(wrong, good)}, Wanted{"Routes": nil})
		forwarded(t, f)
		if len(f.Unreadable) != 1 || f.Records["Routes"] != 1 {
			t.Errorf("%s: records %v, unreadable %+v", want, f.Records, f.Unreadable)
			continue
		}
		if u := f.Unreadable[0]; u.Message != 1 || string(u.Raw) != wrong || u.Records != 1 || !strings.Contains(u.Err.Error(), want) {
			t.Errorf("%s: message %d, %d records: %v", want, u.Message, u.Records, u.Err)
		}
		if f := Forward([][]byte{message(wrong)}, Wanted{"Connections": nil}); len(f.Unreadable) > 0 {
			t.Errorf("%s: it is told of a record that is not wanted", want)
		}
	}
	nowhere := strings.Replace(good, forwardHub, "", 1)
	var many []string
	for i := range 9 {
		many = append(many, strings.Replace(nowhere, "10:00:01", fmt.Sprintf("10:00:%02d", i), 1))
	}
	f := Forward([][]byte{message(append(many, good)...)}, Wanted{"Routes": nil})
	if len(f.Unreadable) != 1 || f.Unreadable[0].Records != 9 || string(f.Unreadable[0].Raw) != string(message(many...)) || f.Records["Routes"] != 1 {
		t.Errorf("many: records %v, unreadable %+v", f.Records, f.Unreadable)
	}
	// Stage tells of what is no record.
	f = Forward([][]byte{[]byte(`{"records":[7,` + good + `,{"metricName":"m"},{"category":"Routes","category":"Routes"}]}`), []byte("gibberish")}, Wanted{"Routes": nil})
	if len(f.Unreadable) > 0 || f.Records["Routes"] != 1 {
		t.Errorf("no records: %v, unreadable %+v", f.Records, f.Unreadable)
	}
}

// TestForwardKeepsNoCredential checks that credentials are taken out, and names are not.
func TestForwardKeepsNoCredential(t *testing.T) {
	const sas = "SharedAccessSignature sr=contoso&sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU&se=1"
	const name = "eyJhbGciOi.one.1"
	raw := strings.NewReplacer("dev-1", name, "Information", sas).Replace(logLine("HUB-A", "Routes", "endpointUnhealthy", 1, `,\"blobUri\":\"https://contoso.example/x?sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU\"`))
	f := Forward([][]byte{message(raw)}, Wanted{"Routes": nil})
	forwarded(t, f)
	if s := fmt.Sprintf("%s", f.Events); strings.Contains(s, "U0VDUkVU") || strings.Count(s, "REDACTED-") != 2 || !strings.Contains(s, name) {
		t.Errorf("%s", s)
	}
}

// TestForwardOddBytes checks that bytes that are not Unicode are replaced, and hide nothing.
func TestForwardOddBytes(t *testing.T) {
	f := Forward([][]byte{message(logLine("HUB-A", "Routes", "endpointUnhealthy", 1, "\xff"), logLine("HUB-A", "Routes", "endpointUnhealthy", 2, `\ud800`))}, Wanted{"Routes": nil})
	forwarded(t, f)
	if f.Records["Routes"] != 2 || len(f.Unreadable) > 0 {
		t.Errorf("records %v, unreadable %+v", f.Records, f.Unreadable)
	}
}

// FuzzForward checks that no message makes events that cannot be read, or that are too
// large.
func FuzzForward(f *testing.F) {
	f.Add([]byte(message(logLine("HUB-A", "Routes", "x", 1, ""), success(1), failure(1))))
	f.Add([]byte(logLine("HUB-A", "Routes", "x", 1, "\xff<")))
	want := Wanted{}
	for _, category := range event.LogCategories {
		want[category] = nil
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out := Forward([][]byte{b, b}, want)
		forwarded(t, out)
		for _, u := range out.Unreadable {
			if u.Err == nil || len(u.Raw) == 0 || u.Records == 0 {
				t.Errorf("unreadable %+v", u)
			}
		}
	})
}

func BenchmarkForward(b *testing.B) {
	var batch [][]byte
	size := 0
	for m := range 8 {
		var records []string
		for n := range 100 {
			records = append(records, success(100*m+n))
		}
		batch = append(batch, message(records...))
		size += len(batch[m])
	}
	for name, want := range map[string]Wanted{
		"nothing": nil, "another category": {"Routes": nil}, "all": {"Connections": nil}, "another operation": {"Connections": {"devicedisconnect": true}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				Forward(batch, want)
			}
		})
	}
}
