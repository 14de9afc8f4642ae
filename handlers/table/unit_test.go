package table

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
)

// occurred returns one occurrence of an alert on a certificate of hub, in event
// id at a time. Occurrences that differ only in id and time are one alert.
func occurred(hub, id string, at time.Time) alert.Occurrence {
	h := alert.Hub{
		Name:           hub,
		ResourceID:     "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/" + hub,
		SubscriptionID: "00000000-0000-0000-0000-000000000001",
	}
	f := alert.Finding{
		Hub:            h,
		Entity:         alert.Entity{Type: alert.Certificate, Name: "root-ca"},
		Actor:          "alice@contoso.example",
		ActorIPAddress: "203.0.113.7",
		CorrelationID:  "correlation of " + id,
		Message:        "Certificate root-ca was added in event " + id + ".",
		Confidence:     alert.Stated,
		Properties:     map[string]string{"ChangeKind": "created"},
	}
	return alert.Occurrence{
		ID:          alert.ID("IoT_CertificateSuccessfullyAddedToHub", f.Hub, f.Entity, f.Actor, at),
		Detector:    "CertificateAdded",
		Type:        "IoT_CertificateSuccessfullyAddedToHub",
		DisplayName: "New certificate added to an IoT Hub",
		Severity:    alert.Medium,
		Remediation: []string{"Ask the actor.", "Delete the certificate."},
		Finding:     f,
		Event: alert.Event{
			Source: "/subscriptions/00000000-0000-0000-0000-000000000001", ID: id, Time: at,
			Raw: []byte(fmt.Sprintf(`{"id":%q}`, id)),
		},
	}
}

var noon = time.Date(2026, 2, 1, 12, 0, 0, 123456700, time.UTC)

func TestKeysSortNewestDayFirst(t *testing.T) {
	var keys []string
	for _, at := range []time.Time{noon.AddDate(1, 0, 0), noon.AddDate(0, 1, 0), noon.AddDate(0, 0, 1), noon, noon.AddDate(-100, 0, 0)} {
		keys = append(keys, partitionKey(occurred("contoso-hub", "1", at)))
	}
	if !slices.IsSorted(keys) {
		t.Errorf("partitions from the newest day to the oldest are %q, want them in order", keys)
	}
	late := time.Date(2026, 2, 1, 23, 59, 59, 0, time.FixedZone("", -3600))
	if got, want := partitionKey(occurred("Contoso-Hub", "1", late)), keys[2]; got != want {
		t.Errorf("an event of the next UTC day on the hub in other letters is in partition %q, want %q", got, want)
	}
}

func TestKeyPartsNeverCollide(t *testing.T) {
	long := strings.Repeat("x", 500)
	names := []string{
		"", "hub", "hub|", "hub}", "hub~", "hub~7c", "hub/", `hub\`, "hub#", "hub?", "hub%", "hub'", "hub''", "hub\x00",
		"hub\x7f", "hub\u0085", "hüb", "hub ", "hub\xff", long, long + "y", long[:200], "HUB",
	}
	seen := map[string]string{}
	for _, name := range names {
		part := escape(name)
		if other, ok := seen[part]; ok {
			t.Errorf("%q and %q both give the key part %q", name, other, part)
		}
		seen[part] = name
		if len(part) > 300 {
			t.Errorf("%q gives a key part of %d characters", name, len(part))
		}
		if i := strings.IndexFunc(part, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/\#?%'|}`, r) }); i >= 0 {
			t.Errorf("%q gives the key part %q, which a key may not hold", name, part)
		}
	}
}

func TestColumn(t *testing.T) {
	emoji := strings.Repeat("😀", maxText)
	for name, test := range map[string]struct{ in, want string }{
		"short":           {"root-ca", "root-ca"},
		"exactly":         {strings.Repeat("x", maxText), strings.Repeat("x", maxText)},
		"too long":        {strings.Repeat("x", maxText+1), strings.Repeat("x", maxText-1) + cutMark},
		"surrogate pairs": {emoji, emoji[:(maxText/2-1)*4] + cutMark},
		"hidden":          {"a\u202eb\x00", `a\u202eb\u0000`},
		"not UTF-8":       {"a\xffb", "a\uFFFDb"},
	} {
		got := column(test.in)
		if got != test.want {
			t.Errorf("%s: column has %d bytes, want %d", name, len(got), len(test.want))
		}
		if n := len(utf16.Encode([]rune(got))); n > 32768 {
			t.Errorf("%s: column has %d UTF-16 units, more than Table Storage takes", name, n)
		}
	}
}

// TestRowDependsOnEventsAlone adds the same occurrences in many orders.
func TestRowDependsOnEventsAlone(t *testing.T) {
	var rows []Row
	for i := range 8 {
		a := occurred("contoso-hub", fmt.Sprint(i), noon.Add(time.Duration(i/2)*time.Minute)) // two at each time
		rows = append(rows, newRow(a, noon))
	}
	fold := func() Row {
		sum := rows[0]
		for _, r := range rows[1:] {
			sum = sum.add(r)
		}
		return sum
	}
	want := fold()
	if want.Occurrences != 8 || want.StartTimeUtc != "2026-02-01T12:00:00.1234567Z" || want.EndTimeUtc != "2026-02-01T12:03:00.1234567Z" {
		t.Fatalf("the row has %d occurrences from %s to %s", want.Occurrences, want.StartTimeUtc, want.EndTimeUtc)
	}
	for range 100 {
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		if diff := cmp.Diff(want, fold(), cmp.AllowUnexported(Row{})); diff != "" {
			t.Fatalf("another order gives another row (-want +got):\n%s", diff)
		}
	}
}

func TestClosedAlertBecomesActiveAgain(t *testing.T) {
	for status, want := range map[alert.Status]alert.Status{
		alert.Active: alert.Active, alert.InProgress: alert.InProgress, alert.Resolved: alert.Active, alert.Dismissed: alert.Active,
	} {
		r := newRow(occurred("contoso-hub", "1", noon), noon)
		r.Status = string(status)
		if got := r.add(newRow(occurred("contoso-hub", "2", noon), noon)).Status; got != string(want) {
			t.Errorf("after another occurrence %s becomes %s, want %s", status, got, want)
		}
	}
}

// TestEvidenceIsHashedAsItCame checks that a person who has the original of an
// event can recognize its row, although the row has no secrets.
func TestEvidenceIsHashedAsItCame(t *testing.T) {
	raw := []byte(`{"id":"event-1","data":{"url":"https://contoso.example/?sv=1&sig=c2VjcmV0"}}`)
	e := newEvidence(alert.Occurrence{Event: alert.Event{ID: "event-1", Raw: raw}})
	if e.RawEventSha256 != sha256Hex(raw) || e.RawEvent != strings.Replace(string(raw), "sig=c2VjcmV0", clean("sig=c2VjcmV0"), 1) {
		t.Errorf("the evidence has %s and the hash %s, want it without the secret and the hash %s", e.RawEvent, e.RawEventSha256, sha256Hex(raw))
	}
}

func TestEvidenceIsNoAlert(t *testing.T) {
	entity, err := json.Marshal(newEvidence(occurred("contoso-hub", "1", noon)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{`"AlertType"`, `"Severity"`} {
		if strings.Contains(string(entity), c) {
			t.Errorf("the evidence row has a column %s, so that a reader who filters on it takes it for an alert:\n%s", c, entity)
		}
	}
}

// TestBurstStaysWithinPartition writes a burst of transactions of two entities into
// one partition, as changes and as failures at once, and counts, on a clock of its
// own, what goes out in any second.
func TestBurstStaysWithinPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := &Alerts{limiter: newLimiter(changesPerSecond)}
		var mu sync.Mutex
		var times []time.Time
		var group sync.WaitGroup
		for a, n := range map[*Alerts]int{changes: 2000, changes.Failures(): 10000} {
			group.Go(func() {
				start := time.Now()
				for range n {
					if err := a.limiter.wait(context.Background(), "contoso-hub|79739798", 2); err != nil {
						t.Error(err)
					}
					mu.Lock()
					times = append(times, time.Now())
					mu.Unlock()
				}
				if took := time.Since(start); took > 14*time.Second {
					t.Errorf("%d entities took %v, want about 13 s: the limit is needlessly low", 2*n, took)
				}
			})
		}
		group.Wait()
		most, first := 0, 0
		for i, at := range times {
			for at.Sub(times[first]) >= time.Second {
				first++
			}
			most = max(most, 2*(i-first+1))
		}
		if most > 2000 {
			t.Errorf("%d entities in one second, a partition takes 2,000", most)
		}
	})
}

// TestFailuresDoNotSlowChanges checks that a change is written at once while failures
// of devices wait for their share of the same partition.
func TestFailuresDoNotSlowChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partition = "contoso-hub|79739798"
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		changes := &Alerts{limiter: newLimiter(changesPerSecond)}
		failures := changes.Failures()
		for range 600 {
			go func() {
				for failures.limiter.wait(ctx, partition, 2) == nil {
				}
			}()
		}
		<-time.After(10 * time.Second)
		start := time.Now()
		if err := changes.limiter.wait(ctx, partition, 2); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("a change waits for %v", took)
		}
	})
}

func TestLimiterForgetsIdlePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(changesPerSecond)
		for day := range 1000 {
			if err := l.wait(context.Background(), fmt.Sprint("contoso-hub|", day), 2); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second) // on the clock of the test
		}
		if n := len(l.partitions); n > 2 {
			t.Errorf("the limiter remembers %d partitions that nobody writes to", n)
		}
	})
}

func TestLimiterRespectsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(changesPerSecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var err error
		for n := 0; err == nil && n < 10000; n++ {
			err = l.wait(ctx, "contoso-hub|79739798", 100)
		}
		if err == nil {
			t.Error("a wait beyond the deadline was granted")
		}
	})
}

// BenchmarkRows makes the rows of an occurrence: that of its alert, that of its evidence, and both as
// they are sent.
func BenchmarkRows(b *testing.B) {
	o := occurred("contoso-hub", "1", noon)
	var a Alerts
	a.now = func() time.Time { return noon }
	for _, bench := range []struct {
		name string
		make func() error
	}{
		{"alert", func() error { _, err := newRow(o, noon).entity(); return err }},
		{"evidence", func() error { _, err := json.Marshal(newEvidence(o)); return err }},
		{"prepare", func() error { _, err := a.prepare(o); return err }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.make(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvidenceKey derives the row key of evidence from the identity of its event.
func BenchmarkEvidenceKey(b *testing.B) {
	o := occurred("contoso-hub", "1", noon)
	b.ReportAllocs()
	for b.Loop() {
		evidenceKey(o)
	}
}
