package verdict

import (
	"cmp"
	"maps"
	"slices"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/secret"
)

// Bounds of the sentences that are told.
const (
	MostSentences = 8   // different ones of a bucket, or of a batch of messages
	MostSentence  = 200 // characters of each
)

// OtherSentences is the name of those that are too many.
const OtherSentences = "(other sentences)"

// Sentence returns the sentence of r that no rule knows, fit for a log: one line
// without credentials and invisible characters, cut where it is long. Credentials are
// taken out of the record's own texts, before they become lower case: some are known
// by their capital letters.
func Sentence(r connection.Record) string {
	texts := make([]string, len(r.Texts))
	for i, text := range r.Texts {
		texts[i] = secret.RedactString(text)
	}
	r.Texts = texts
	visible := secret.Visible(connection.Classify(r).Unknown)
	if runes := []rune(visible); len(runes) > MostSentence {
		return string(runes[:MostSentence-1]) + "…"
	}
	return visible
}

// unknown counts the sentences of the unclassified refusals among entries, each record
// once. Its error says that an entry is not a record.
func unknown(entries []Entry) (map[string]int, error) {
	facts := make([]Fact, len(entries))
	for i, e := range entries {
		facts[i] = e.Fact
	}
	known, counted := distinct(facts), map[identity]bool{}
	sentences := map[string]int{}
	for _, e := range entries {
		i := e.identity()
		if counted[i] || known[i].Sign != connection.Refused || known[i].Cause != connection.Unclassified {
			continue
		}
		counted[i] = true
		r, err := connection.DecodeRecord(e.Raw)
		if err != nil {
			return nil, err
		}
		if s := Sentence(r); s != "" {
			sentences[s]++
		}
	}
	return bounded(sentences), nil
}

// distinct returns the facts of different records, of one record the one with the highest rank.
func distinct(facts []Fact) map[identity]Fact {
	known := make(map[identity]Fact, len(facts))
	for _, f := range facts {
		i := f.identity()
		if old, ok := known[i]; !ok || old.rank() < f.rank() {
			known[i] = f
		}
	}
	return known
}

// bounded returns the most frequent sentences, and how often there were others.
func bounded(sentences map[string]int) map[string]int {
	order := slices.SortedFunc(maps.Keys(sentences), func(a, b string) int {
		return cmp.Or(cmp.Compare(sentences[b], sentences[a]), cmp.Compare(a, b))
	})
	order = slices.DeleteFunc(order, func(s string) bool { return s == OtherSentences })
	for _, s := range order[min(len(order), MostSentences):] {
		sentences[OtherSentences] += sentences[s]
		delete(sentences, s)
	}
	return sentences
}

// sum returns how many sentences are counted.
func sum(sentences map[string]int) (n int) {
	for _, of := range sentences {
		n += of
	}
	return n
}
