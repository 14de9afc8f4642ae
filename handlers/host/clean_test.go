package host

import (
	"strings"
	"testing"
)

// TestClean checks that a secret does not survive the cut, wherever it falls, in
// any part that is worth something.
func TestClean(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJNQVJLRVItY2xhaW1zIn0.U0VDUkVULXNpZ25hdHVyZQ"
	for before := 3900; before < 4010; before++ {
		got := clean(strings.Repeat("x", before-1) + " " + token + " " + strings.Repeat("y", 200))
		if strings.Contains(got, "eyJzd") {
			t.Errorf("with %d bytes before it a token leaves its claims: %s", before, got[before:])
		}
		if len(got) > 4010 {
			t.Errorf("with %d bytes before it the string has %d", before, len(got))
		}
	}
	if got := clean("a\xffb"); got != "a\ufffdb" {
		t.Errorf("clean of invalid UTF-8 is %q", got)
	}
}
