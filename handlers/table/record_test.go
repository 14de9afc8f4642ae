package table

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

// TestOutcomes records occurrences step by step and checks the outcome of each.
func TestOutcomes(t *testing.T) {
	of := func(ids ...string) (occurrences []alert.Occurrence) {
		for _, id := range ids {
			occurrences = append(occurrences, occurred("contoso-hub", id, noon))
		}
		return occurrences
	}
	elsewhere := occurred("contoso-hub-west", "1", noon)
	set := func(status string) func(*testing.T, *Alerts) {
		return func(t *testing.T, s *Alerts) { merge(t, s, of("1")[0], map[string]any{"Status": status}) }
	}
	s := open(t, emulator(t).ConnectionString())
	for _, step := range []struct {
		name   string
		before func(*testing.T, *Alerts)
		record []alert.Occurrence
		want   []alert.Outcome
		chance bool // decides which of the occurrences was written first
	}{
		{"nothing", nil, nil, []alert.Outcome{}, false},
		{"a new alert of five events", nil, of("1", "2", "3", "4", "5"), []alert.Outcome{alert.New, alert.Counted, alert.Counted, alert.Counted, alert.Counted}, true},
		{"all five again", nil, of("5", "4", "3", "2", "1"), []alert.Outcome{alert.Known, alert.Known, alert.Known, alert.Known, alert.Known}, false},
		{"one that is known and one that is not", nil, of("1", "6"), []alert.Outcome{alert.Known, alert.Counted}, false},
		{"one event twice", nil, of("7", "7"), []alert.Outcome{alert.Counted, alert.Known}, false},
		{"a known event of a closed alert", set("Resolved"), of("1"), []alert.Outcome{alert.Known}, false},
		{"two new events of a closed alert", nil, of("8", "9"), []alert.Outcome{alert.Counted, alert.Reopened}, true},
		{"of an alert that was closed in other letters", set("dismissed"), of("10"), []alert.Outcome{alert.Reopened}, false},
		{"of an alert that somebody looks at", set("InProgress"), of("11"), []alert.Outcome{alert.Counted}, false},
		{"of an alert with a status of one's own", set("under review"), of("12"), []alert.Outcome{alert.Counted}, false},
		{"of two alerts", nil, []alert.Occurrence{of("13")[0], elsewhere, of("1")[0]}, []alert.Outcome{alert.Counted, alert.New, alert.Known}, false},
	} {
		if step.before != nil {
			step.before(t, s)
		}
		got := put(t, s, step.record...)
		if step.chance {
			slices.Sort(got)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: outcomes (-want +got):\n%s", step.name, diff)
		}
	}
	if a := list(t, s, alert.Query{Hub: "contoso-hub"})[0]; a.Occurrences != 13 || a.Status != "under review" {
		t.Errorf("the alert has %d occurrences and is %s, want 13 and under review", a.Occurrences, a.Status)
	}
}

// TestRejectedHidesNothing records three occurrences at once: one is stored, one
// is rejected, and one fails because there is not a time left.
func TestRejectedHidesNothing(t *testing.T) {
	connection := answering(t, func(body string) int {
		switch {
		case strings.Contains(body, "impossible"):
			return http.StatusBadRequest
		case strings.Contains(body, "untimely"):
			return http.StatusServiceUnavailable
		}
		return 0
	})
	s := open(t, connection)
	recorded, err := s.Record(t.Context(), occurred("hub1", "1", noon), occurred("hub2", "impossible", noon), occurred("hub3", "untimely", noon))
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("error %v, want one that says 503", err)
	}
	var outcomes []alert.Outcome
	for _, r := range recorded {
		outcomes = append(outcomes, r.Outcome)
	}
	if diff := cmp.Diff([]alert.Outcome{alert.New, alert.Rejected, 0}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if err := recorded[1].Err; err == nil || !strings.Contains(err.Error(), "400") || recorded[0].Err != nil {
		t.Errorf("it is rejected because of %v, want one that says 400", err)
	}
}

// TestRowsAreMadeOnce checks that the rows of an occurrence are not made again if
// they have to be sent again, because somebody else wrote the alert meanwhile.
func TestRowsAreMadeOnce(t *testing.T) {
	other := open(t, emulator(t).ConnectionString())
	put(t, other, occurred("contoso-hub", "0", noon))
	var mu sync.Mutex
	transactions, forms := 0, map[string]bool{}
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if !strings.HasSuffix(r.URL.Path, "$batch") {
			return azurite.Pass
		}
		mu.Lock()
		defer mu.Unlock()
		_, evidence, ok := strings.Cut(read(t, r), `"EventId"`)
		if !ok {
			return azurite.Pass // the index of days
		}
		evidence, _, _ = strings.Cut(evidence, "\n")
		evidence = strings.ReplaceAll(evidence, `"Raised":0,`, "") // if it is the first
		forms[evidence] = true
		if transactions++; transactions <= 3 {
			put(t, other, occurred("contoso-hub", fmt.Sprint("other ", transactions), noon))
		}
		return azurite.Pass
	})
	s := again(t, other, connection)
	made := 0
	s.now = func() time.Time { made++; return noon }
	if got := put(t, s, occurred("contoso-hub", "1", noon)); got[0] != alert.Counted {
		t.Errorf("the outcome is %v, want it counted", got[0])
	}
	mu.Lock()
	defer mu.Unlock()
	if transactions != 4 || made != 1 || len(forms) != 1 {
		t.Errorf("%d transactions with %d forms of the evidence, rows made %d times: want 4, 1 and once", transactions, len(forms), made)
	}
	if a := list(t, other, alert.Query{})[0]; a.Occurrences != 5 {
		t.Errorf("%d occurrences, want 5", a.Occurrences)
	}
}
