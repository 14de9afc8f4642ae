package host_test

import (
	"context"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/host"
)

// nested returns a value of as many arrays inside each other.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// illegible is what the host cannot read, by a part of what Legible says of it, and
// beside it what is nearly the same and legible. Each value was looked up in the
// sources of Json.NET.
var illegible = map[string]struct{ no, yes string }{
	"more than 61 objects and arrays": {nested(62), nested(61)},
	"an integer of 381 characters":    {strings.Repeat("9", 381), strings.Repeat("9", 380)},
	"at most 380 are read":            {"-" + strings.Repeat("9", 380), strings.Repeat("1", 400) + "e-200"},
	"too large for 64 bits":           {"1e309", "1e308"},
	"is too large":                    {"-1E99999999999999999999", "1e-99999999999999999999"},
	"taken for a time":                {`"/Date(9223372036854775807)/"`, `"/Date(1) /"`},
	"is taken for":                    {`"\u002fDate(-99999999999999999+0100)\/"`, `" /Date(99999999999999999)/"`},
	"may not exist":                   {`"9999-12-31T24:00:00Z"`, `"9999-12-31T23:59:59.9999999Z"`},
	"time which may":                  {`{"/Date(1)/":"9999-12-31T24:00:00"}`, `{"/Date(99999999999999999)/":1,"9999-12-31T24:00:00":null}`},
	`"/a~1b/2/c"`:                     {`{"a/b":[1,2,{"c":1e400}]}`, `{"a/b":[1,2,{"c":true}],"a/b":"\ud800"}`},
}

// TestLegible checks what the host can read and what it cannot, alone and inside of
// something.
func TestLegible(t *testing.T) {
	for says, test := range illegible {
		for _, around := range []string{"?", `[1,?]`, `{"a":[{"b":?}],"c":0}`} {
			if around != "?" && strings.HasPrefix(test.yes, "[[") {
				continue // one more is too deep
			}
			if err := host.Legible(jsontext.Value(strings.Replace(around, "?", test.no, 1))); err == nil || around == "?" && !strings.Contains(err.Error(), says) {
				t.Errorf("%.40s in %s: error %v, want one that says %q", test.no, around, err, says)
			} else if len(err.Error()) > 300 {
				t.Errorf("%.40s in %s: an error of %d characters", test.no, around, len(err.Error()))
			}
			if err := host.Legible(jsontext.Value(strings.Replace(around, "?", test.yes, 1))); err != nil {
				t.Errorf("%.40s in %s: %v", test.yes, around, err)
			}
		}
	}
	if err := host.Legible(jsontext.Value(`{"a":`)); err == nil {
		t.Error("a value that ends too early is legible")
	}
}

// TestAnswerIsLegible checks that no function answers 200 with an output that the host
// cannot read, which would fail the invocation without a word about the cause.
func TestAnswerIsLegible(t *testing.T) {
	for says, test := range illegible {
		var output jsontext.Value
		r := newRigOf(t, &fakeStore{}, host.Limits{}, function("Writer", func(context.Context, host.Invocation) (host.Outcome, error) {
			return host.Outcome{Events: 1, Outputs: map[string]jsontext.Value{"binding": output}}, nil
		}))
		output = jsontext.Value(`[` + test.no + `]`)
		if got := r.post(t, "Writer", envelope("{}")); got.status != 500 || !strings.Contains(got.err, "answer: output binding: ") {
			t.Errorf("%s: status %d with the error %q, want 500 that says so", says, got.status, got.err)
		}
		if strings.Contains(test.yes, `"a/b":"`) {
			continue // no answer has a member twice
		}
		output = jsontext.Value(`[` + test.yes + `]`)
		if got := r.post(t, "Writer", envelope("{}")); got.status != 200 {
			t.Errorf("%.40s: status %d: %s", test.yes, got.status, got.err)
		}
	}
}
