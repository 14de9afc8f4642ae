package verdict

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"hubwatch/handlers/connection"
)

// TestUnknown checks that each record of an unclassified refusal counts once, in whatever
// rows it was staged, that one which a later version of the rules knows does not, and that
// the most frequent sentences are told.
func TestUnknown(t *testing.T) {
	var entries []Entry
	add := func(record uint64, text string, cause connection.Cause) {
		f := Fact{Device: device(1), Second: 60, Sign: connection.Refused, Cause: cause, Record: record}
		entries = append(entries, Entry{f, fmt.Appendf(nil, `{"time":"1970-01-01T00:01:00Z","category":"Connections","operationName":"deviceConnect","level":"Error","resultType":"401003","resultDescription":%q,"properties":{"deviceId":"dev-1","authType":"sas"}}`, text)})
	}
	record := uint64(0)
	for n := range 12 {
		for range n + 1 {
			record++
			add(record, strings.Repeat("moon ", n+1)+"is in the way", connection.Unclassified)
		}
	}
	add(1, "moon is in the way", connection.TokenInvalid)
	got, err := counted(append(entries, entries...))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{OtherSentences: 2 + 3 + 4}
	for n := 4; n < 12; n++ {
		want[strings.Repeat("moon ", n+1)+"is in the way"] = n + 1
	}
	if !maps.Equal(got, want) {
		t.Errorf("have %v, want %v", got, want)
	}
	entries[0].Raw, entries[0].Cause = []byte(`7`), connection.Unclassified
	if got, err := counted(entries[:1]); err == nil {
		t.Errorf("of what is no record: %v", got)
	}
	// As many different sentences as somebody makes do not fill the memory.
	entries = nil
	for n := range mostCounted + 100 {
		add(uint64(n+1), fmt.Sprint("moon ", n, " is in the way"), connection.Unclassified)
	}
	if got, err := counted(entries); err != nil || len(got) != MostSentences+1 || got[OtherSentences] != len(entries)-MostSentences {
		t.Errorf("of %d different ones: %v, %v", len(entries), got, err)
	}
}

// counted returns the sentences of entries that no rule knows, as Row.Unknown has them.
func counted(entries []Entry) (map[string]int, error) {
	var facts []Fact
	for _, e := range entries {
		facts = append(facts, e.Fact)
	}
	s := sentences{left: Defaults().derive(0, facts, Open).unclassified, counts: map[string]int{}}
	for _, e := range entries {
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	return bounded(s.counts), nil
}
