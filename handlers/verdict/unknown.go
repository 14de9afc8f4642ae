package verdict

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

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

// refusal stands for the identity of a refusal, in a fifth of the memory. Within a process it is
// the same for the same one, and nobody can make two of which it is.
type refusal uint64

var seed = maphash.MakeSeed()

func (f Fact) refusal() refusal { return refusal(maphash.Comparable(seed, f.identity())) }

// sentences counts those of the refusals in left, each once: what was staged twice, and what
// a later version of the rules knows, is not there any more.
type sentences struct {
	left    map[refusal]bool
	counts  map[string]int
	decoder connection.Decoder
}

// mostCounted bounds how many different sentences are in memory. Those beyond count as
// OtherSentences.
const mostCounted = 1_000

// add counts the sentence of an entry. Its error says that the entry is not a record.
func (s *sentences) add(e Entry) error {
	if e.Sign != connection.Refused || e.Cause != connection.Unclassified {
		return nil
	}
	of := e.refusal()
	if !s.left[of] {
		return nil
	}
	delete(s.left, of)
	r, err := s.decoder.Decode(e.Raw)
	if err != nil {
		return err
	}
	text := Sentence(r)
	if text == "" {
		return nil
	}
	if _, known := s.counts[text]; !known {
		if text = strings.Clone(text); len(s.counts) >= mostCounted { // r is good until the next one
			text = OtherSentences
		}
	}
	s.counts[text]++
	return nil
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
