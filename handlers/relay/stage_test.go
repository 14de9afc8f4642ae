package relay

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/event"
	"hubwatch/handlers/verdict"
)

// stageTime is an hour after the records of this package's tests.
var stageTime = time.Date(2026, 2, 1, 11, 0, 0, 0, time.UTC)

// unpack returns what the rows hold, and checks that each fits into an entity and has a
// key of its own.
func unpack(t testing.TB, rows []verdict.Staged) (facts map[verdict.Fact]int, raw map[uint64]string) {
	t.Helper()
	facts, raw = map[verdict.Fact]int{}, map[uint64]string{}
	keys := map[string]bool{}
	for _, row := range rows {
		key := fmt.Sprint(row.Place, row.Key)
		if size := len(row.Connects) + len(row.Expiries) + len(row.Refusals) + len(row.Records); size > 1<<20-1<<12 || len(row.Key) != 32 || keys[key] {
			t.Errorf("row %s has %d bytes, or is there twice", key, size)
		}
		keys[key] = true
		of, err := row.Facts()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range of {
			facts[f]++
		}
		for e, err := range row.Failures() {
			if err != nil {
				t.Fatal(err)
			}
			raw[e.Record] = string(e.Raw)
			facts[e.Fact]--
			if verdict.BucketOf(time.Unix(e.Second, 0)) != row.Bucket {
				t.Errorf("row %s holds %+v", key, e.Fact)
			}
		}
	}
	for f, n := range facts {
		if want := f.Sign == connection.Connect; (n > 0) != want {
			t.Errorf("%+v: the facts and the records of its rows differ by %d", f, n)
		}
	}
	return facts, raw
}

func TestStage(t *testing.T) {
	const token = "SharedAccessSignature sr=contoso&sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU&se=1"
	refused := record("deviceConnect", `"level":"Error","resultType":"401003","resultDescription":"token is expired: `+token+`"`, `{"deviceId":"dev-3","moduleId":"mod-1"}`)
	later := strings.Replace(success(4), "10:00:00", "10:10:00.75", 1)
	m := message(failure(1), success(1), success(1), refused, failure(1), later, success(2),
		record("deviceDisconnect", `"resultType":"404104"`, `{"deviceId":"dev-1"}`), `{"metricName":"x"}`, `7`, record("deviceConnect", `"level":"x"`, `{}`),
		strings.Replace(success(5), "IOTHUBS", "PROVISIONINGSERVICES", 1))
	got := Stage([][]byte{m}, verdict.Defaults(), stageTime)
	if got.Expiries != 1 || got.Refused[connection.TokenExpired] != 1 || len(got.Refused) != 1 || got.Repeated != 1 || got.Untimely != 0 || len(got.Unreadable) != 1 {
		t.Errorf("counts: %+v", got)
	}
	if diff := cmp.Diff(map[connection.Reason]int{connection.Connected: 6, connection.ClosedRemotely: 1, connection.IsMetric: 1}, got.PassedOver); diff != "" {
		t.Errorf("passed over (-want +got):\n%s", diff)
	}
	facts, raw := unpack(t, got.Rows)
	device := func(id, module string) connection.DeviceKey {
		return (&connection.Record{DeviceID: id, ModuleID: module}).DeviceKey()
	}
	second := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC).Unix()
	address := (&connection.Record{MaskedIPAddress: "203.0.113.XXX"}).AddressKey()
	want := map[verdict.Fact]int{
		{Device: device("dev-1", ""), Second: second, Address: address, Sign: connection.Connect}:       1,
		{Device: device("dev-2", ""), Second: second, Address: address, Sign: connection.Connect}:       1,
		{Device: device("dev-4", ""), Second: second + 600, Address: address, Sign: connection.Connect}: 1,
	}
	var records []string
	for f := range facts {
		if f.Sign != connection.Connect {
			records = append(records, raw[f.Record])
			f.Record = 0
		}
		if f.Sign == connection.Connect && want[f] == 0 || f.Sign == connection.Expiry && f != (verdict.Fact{Device: device("dev-1", ""), Second: second, Address: address, Sign: connection.Expiry}) ||
			f.Sign == connection.Refused && f != (verdict.Fact{Device: device("dev-3", "mod-1"), Second: second, Sign: connection.Refused, Cause: connection.TokenExpired}) {
			t.Errorf("staged %+v", f)
		}
	}
	if len(facts) != 5 || len(records) != 2 {
		t.Errorf("%d facts and %d records", len(facts), len(records))
	}
	for _, r := range records {
		if r != failure(1) && (!strings.Contains(r, "dev-3") || !strings.Contains(r, "token is expired: SharedAccessSignature") || strings.Contains(r, "U0VDUkVU")) {
			t.Errorf("kept as it should not be: %s", r)
		}
	}
	for _, row := range got.Rows {
		if row.Hub != "contoso-hub" || !strings.HasSuffix(row.HubID, "/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB") {
			t.Errorf("a row of hub %q, %q", row.Hub, row.HubID)
		}
	}
	b := verdict.BucketOf(time.Unix(second, 0))
	marked := map[verdict.Mark]bool{}
	for _, mark := range got.Marks {
		marked[mark] = true
	}
	for _, want := range []verdict.Mark{{Place: verdict.Place{Hub: "contoso-hub", Bucket: b}, Level: verdict.Open}, {Place: verdict.Place{Hub: "contoso-hub", Bucket: b}, Level: verdict.Graced}, {Place: verdict.Place{Hub: "contoso-hub", Bucket: b - 9}, Level: verdict.Settled}} {
		if !marked[want] {
			t.Errorf("mark %+v is missing: %v", want, got.Marks)
		}
	}
}

// TestStageRedactsAll checks that credentials are taken out of a record wherever they stand:
// also in a document inside another string than the one that the decoder has read.
func TestStageRedactsAll(t *testing.T) {
	const credential = "SharedAccessKey=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU"
	clean := `{"deviceId":"dev-1","authType":"{\"type\":\"sas\"}"}`
	document := fmt.Sprintf("%q", `{"deviceId":"dev-1","x":"`+credential+`"}`)
	for _, r := range []string{
		record("deviceConnect", `"resultType":"401003","resultDescription":`+document, clean),
		record("deviceConnect", `"resultType":"401003","resultDescription":`+document, `{"deviceId":"dev-1"}`),
		record("deviceConnect", `"resultType":"401003","x":["a",`+document+`]`, clean),
		record("deviceConnect", `"resultType":"401003"`, strings.Replace(clean, "sas", credential, 1)),
		strings.Replace(record("deviceConnect", `"resultType":"401003"`, clean), `"properties":`, `"other":`+document+`,"properties":`, 1),
	} {
		// A record without credentials goes first, so that something is left of it.
		staging := Stage([][]byte{message(record("deviceConnect", `"resultType":"401003"`, clean), r)}, verdict.Defaults(), stageTime)
		facts, raw := unpack(t, staging.Rows)
		if len(facts) != 2 || strings.Contains(fmt.Sprint(raw), "U0VDUkVU") {
			t.Errorf("%s is kept as %v", r, raw)
		}
	}
}

// TestStageMarks compares the marks of a message with those of each of its facts.
func TestStageMarks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	settings := verdict.Defaults()
	settings.RenewalGrace, settings.MissingAfter = 7*time.Minute, 73*time.Minute // no multiples of a bucket
	for range 200 {
		var records []string
		for i := range 1 + r.IntN(6) {
			one := []string{failure(i), success(i), record("deviceConnect", `"resultType":"401003"`, fmt.Sprintf(`{"deviceId":"dev-%d","authType":"sas"}`, i))}[r.IntN(3)]
			records = append(records, strings.Replace(one, "10:00:00", fmt.Sprintf("10:%02d:%02d", r.IntN(10), r.IntN(60)), 1))
		}
		got := Stage([][]byte{message(records...)}, settings, stageTime)
		facts, _ := unpack(t, got.Rows)
		want := map[verdict.Mark]bool{}
		for f := range facts {
			settings.Marks(want, "contoso-hub", f.Sign, f.Second, f.Second)
		}
		for _, mark := range got.Marks {
			if !want[mark] {
				t.Errorf("mark %+v is of no fact", mark)
			}
			delete(want, mark)
		}
		if len(want) > 0 {
			t.Errorf("marks are missing: %v", want)
		}
	}
}

// TestStageTimes checks that records of any past time are staged, those of the future are
// not, and that failed connections of such a time do not disappear.
func TestStageTimes(t *testing.T) {
	at := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now    time.Time
		staged bool
	}{
		{at.AddDate(10, 0, 0), true},
		{at.Add(-24 * time.Hour), true}, {at.Add(-24*time.Hour - 1), false},
	} {
		got := Stage([][]byte{message(failure(1), success(1))}, verdict.Defaults(), c.now)
		facts, _ := unpack(t, got.Rows)
		if c.staged && (len(facts) != 2 || got.Untimely != 0 || len(got.Unreadable) != 0) || !c.staged && (len(got.Rows)+len(got.Marks) != 0 || got.Untimely != 1 || len(got.Unreadable) != 1 || got.Unreadable[0].Records != 1) {
			t.Errorf("at %s: %+v", c.now, got)
		}
	}
}

// TestStageNeedsWhatIsKept checks that a record whose meaning is in a credential is not
// staged with a cause that what is kept does not show.
func TestStageNeedsWhatIsKept(t *testing.T) {
	for text, staged := range map[string]bool{"the token is expired": true, "password: token is expired": false} {
		r := record("deviceUpdate", fmt.Sprintf(`"resultDescription":%q`, text), `{"deviceId":"dev-1"}`)
		got := Stage([][]byte{message(r)}, verdict.Defaults(), stageTime)
		if len(got.Refused) != len(got.Rows) || len(got.Rows)+len(got.Unreadable) != 1 || (len(got.Rows) == 1) != staged {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// TestStageBounds checks that rows fit into an entity, whatever a message of a megabyte
// holds, and that no record is lost.
func TestStageBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) string { // that cannot be deflated
		b := make([]byte, n/2)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return hex.EncodeToString(b)
	}
	large := func(i, n int) string {
		return strings.Replace(failure(i), `"level"`, `"x":"`+noise(n)+`","level"`, 1)
	}
	for name, records := range map[string][]string{
		"two of 400 KB":    {large(1, 400_000), large(2, 400_000)},
		"one of 500 KB":    {large(1, 500_000)},
		"fifty of 60 KB":   largeRecords(large),
		"many connections": manyConnections(),
	} {
		got := Stage([][]byte{message(records...)}, verdict.Defaults(), stageTime)
		if facts, _ := unpack(t, got.Rows); len(facts) != len(records) || len(got.Unreadable) != 0 {
			t.Errorf("%s: %d of %d records in %d rows, unreadable %d", name, len(facts), len(records), len(got.Rows), len(got.Unreadable))
		}
	}
	tooLarge := large(1, 600_000)
	got := Stage([][]byte{message(tooLarge, failure(2))}, verdict.Defaults(), stageTime)
	if facts, _ := unpack(t, got.Rows); len(facts) != 1 || len(got.Unreadable) != 1 || string(got.Unreadable[0].Raw) != tooLarge {
		t.Errorf("a record of 600 KB: %d staged, %d unreadable", len(facts), len(got.Unreadable))
	}
}

// largeRecords are more records than a row has room for.
func largeRecords(large func(i, n int) string) (records []string) {
	for i := range 50 {
		records = append(records, large(i, 60_000))
	}
	return records
}

// manyConnections are more connections than a message has room for.
func manyConnections() (records []string) {
	for i := range 20_000 {
		records = append(records, success(i))
	}
	return records
}

// TestStageAnySplit checks that the same records give the same facts, however they are
// put into messages, and that a message gives the same rows in any batch.
func TestStageAnySplit(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var records []string
	for i := range 60 {
		one := []string{failure(i % 20), success(i % 30), record("deviceConnect", `"resultType":"401003"`, fmt.Sprintf(`{"deviceId":"dev-%d","authType":"sas"}`, i))}[i%3]
		records = append(records, strings.Replace(one, "10:00:00", fmt.Sprintf("10:%02d:00", r.IntN(40)), 1))
	}
	want, _ := unpack(t, Stage([][]byte{message(records...)}, verdict.Defaults(), stageTime).Rows)
	for range 50 {
		r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		var messages [][]byte
		alone := map[string]bool{}
		for rest := records; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			m := message(rest[:n]...)
			messages = append(messages, m, m)
			rest = rest[n:]
			for _, row := range Stage([][]byte{m}, verdict.Defaults(), stageTime).Rows {
				alone[fmt.Sprint(row.Place, row.Key)] = true
			}
		}
		facts := map[verdict.Fact]bool{}
		for _, row := range Stage(messages, verdict.Defaults(), stageTime.Add(time.Hour)).Rows {
			if !alone[fmt.Sprint(row.Place, row.Key)] {
				t.Errorf("row %s of %v is not one of its message", row.Key, row.Place)
			}
			of, err := row.Facts()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range of {
				facts[f] = true
			}
		}
		if len(facts) != len(want) {
			t.Fatalf("%d facts, want %d", len(facts), len(want))
		}
		for f := range want {
			if !facts[f] {
				t.Fatalf("%+v is missing", f)
			}
		}
	}
}

// FuzzStage checks that each record of any message is staged, counted or unreadable, and
// that rows can be read again.
func FuzzStage(f *testing.F) {
	for _, name := range caseFiles(f) {
		_, messages := readCase(f, name)
		for _, m := range messages {
			f.Add(m)
		}
	}
	f.Add(message(failure(1), success(2)))
	f.Fuzz(func(t *testing.T, m []byte) {
		got := Stage([][]byte{m, m}, verdict.Defaults(), stageTime)
		_, raw := unpack(t, got.Rows[:len(got.Rows)/2])
		if got.Expiries+len(got.Refused) > 0 && len(raw) == 0 || len(got.Rows) > 0 && len(got.Marks) == 0 {
			t.Errorf("%d records, %d marks of %+v", len(raw), len(got.Marks), got)
		}
		events := Relay([][]byte{m})
		staged, unreadable := 2*len(events.Events), 0
		for _, u := range got.Unreadable {
			unreadable += u.Records
		}
		n := got.Expiries
		for _, of := range got.Refused {
			n += of
		}
		before := 0
		for _, u := range events.Unreadable {
			before += 2 * u.Records
		}
		if have, want := n+unreadable+got.Repeated, staged+before+2*events.Repeated; have != want {
			t.Errorf("%d records of failed connections are accounted for, and %d by the relay", have, want)
		}
	})
}

// TestStageKeepsNoPartOfAMessage overwrites the messages after they were staged: what is staged
// and what is told stays as it is.
func TestStageKeepsNoPartOfAMessage(t *testing.T) {
	unknown := record("deviceConnect", `"resultType":"401003","resultDescription":"The moon is in the way."`, `{"deviceId":"dev-9","authType":"sas"}`)
	messages := [][]byte{message(failure(1), success(1), unknown), message(failure(2), success(3))}
	staging := Stage(messages, verdict.Defaults(), stageTime)
	tell := func() string {
		return fmt.Sprintf("%v %v %v %v %v", staging.Rows, staging.Marks, staging.Unknown, staging.Heard, staging.Refused)
	}
	before := tell()
	for _, m := range messages {
		for i := range m {
			m[i] = 'x'
		}
	}
	if after := tell(); after != before || len(staging.Unknown) == 0 || len(staging.Rows) == 0 {
		t.Errorf("before and after:\n%s\n%s", before, after)
	}
}

// TestWorkersAreUsedAgain stages and relays batches, each with a worker that has read others
// before and with a new one: the results are the same, and stay as they are when the worker
// reads the next batch.
func TestWorkersAreUsedAgain(t *testing.T) {
	var batches [][][]byte
	for _, name := range caseFiles(t) {
		_, messages := readCase(t, name)
		batches = append(batches, messages)
	}
	other := strings.ReplaceAll(strings.ReplaceAll(failure(1), "CONTOSO-HUB", "CONTOSO-HUB-2"), "203.0.113.XXX", "192.0.2.XXX")
	secret := strings.Replace(failure(2), "IotHubUnauthorized", "SharedAccessSignature sr=contoso&sig=U0VDUkVUU0VDUkVUU0VDUkVUU0VDUkVU&se=1", 1)
	unknown := record("deviceConnect", `"resultType":"401003","resultDescription":"The moon is in the way."`, `{"deviceId":"dev-9","authType":"sas"}`)
	var buckets, many []string
	for i := range 40 {
		buckets = append(buckets, strings.Replace(failure(i), "10:00:00", fmt.Sprintf("%02d:00:00", i%10), 1))
	}
	for i := range mostRecords + 2 {
		many = append(many, failure(i))
	}
	batches = append(batches,
		[][]byte{message(failure(1), success(1), failure(1))},
		[][]byte{message(failure(1), success(1)), message(other), message(secret)},
		[][]byte{message(secret, unknown, success(2)), []byte(`{"records":[`)},
		[][]byte{message(strings.Replace(failure(1), "10:00:00", "09:59:59", 1), other)},
		[][]byte{message(append(manyConnections()[:4_000], strings.Replace(failure(1), "IotHubUnauthorized", strings.Repeat("x", 100_000), 1))...)},
		[][]byte{message(buckets...)},
		[][]byte{message(many...)},
	)
	tell := func(staging Staging, result Result) string { return fmt.Sprintf("%+v\n%+v", staging, result) }
	want := make([]string, len(batches))
	for i, batch := range batches {
		fresh := func() *worker { return workers.New().(*worker) }
		want[i] = tell(fresh().stage(batch, verdict.Defaults(), stageTime), fresh().relay(batch))
	}
	r := rand.New(rand.NewPCG(3, 3))
	w := workers.New().(*worker)
	var staging Staging
	var result Result
	last := -1
	for range 100 {
		i := r.IntN(len(batches))
		if r.IntN(4) > 0 {
			i = len(batches) - 1 - r.IntN(7)
		}
		nextStaging := w.stage(batches[i], verdict.Defaults(), stageTime)
		w.forget()
		nextResult := w.relay(batches[i])
		w.forget()
		if last >= 0 && tell(staging, result) != want[last] {
			t.Fatalf("batch %d has changed what became of batch %d", i, last)
		}
		staging, result, last = nextStaging, nextResult, i
		if got := tell(staging, result); got != want[i] {
			t.Fatalf("batch %d with a worker that was used: %s\n\nwant %s", i, event.Shorten(got), event.Shorten(want[i]))
		}
		for _, g := range w.places.list[:cap(w.places.list)] {
			if g.place != (verdict.Place{}) || cap(g.connects) > mostBytesOf || cap(g.failures) > mostRecords {
				t.Fatalf("%+v is kept", g)
			}
			for _, e := range g.failures[:cap(g.failures)] {
				if e.Raw != nil {
					t.Fatalf("the record %s is kept", e.Raw)
				}
			}
		}
		if n := cap(w.places.list); n > mostOfPlaces || w.failed.raw != nil || len(w.seen) > 0 || cap(w.canonical) > mostBytesOf {
			t.Fatalf("%d places, the record %s, and %d bytes are kept", n, w.failed.raw, cap(w.canonical))
		}
	}
}

// TestAllocationsOfStaging counts what a worker that was used takes from the heap for eight
// messages of a hundred records each, of which one is of a failed connection: some pieces for
// each message, and none for a connection.
func TestAllocationsOfStaging(t *testing.T) {
	var batch [][]byte
	for i := range 8 {
		records := []string{failure(i)}
		for n := range 99 {
			records = append(records, success(100*i+n))
		}
		batch = append(batch, message(records...))
	}
	w := workers.New().(*worker)
	got := testing.AllocsPerRun(10, func() {
		w.stage(batch, verdict.Defaults(), stageTime)
		w.forget()
	})
	if most := 90.0; got > most {
		t.Errorf("%v allocations for %d messages, want %v at most", got, len(batch), most)
	}
	t.Logf("%v allocations", got)
}
